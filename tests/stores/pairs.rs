//! Random rows through every pair of stores, forward and backward.

use super::{
    all, numbers, set,
    sides::{SIDES, Side},
};
use cutover::{
    model::{Decimal, Record, Value},
    ports::WriteOutcome,
};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use serde_json::json;

/// Rows of one journey.
const ROWS: i64 = 60;

/// What random rows hold, as far as both stores have it.
const WORDS: [&str; 12] =
    ["bool", "int", "float", "small decimal", "text", "varchar", "bytes", "date", "time", "timestamp", "stamp", "json"];

fn letters(random: &mut StdRng, most: usize) -> String {
    const SOME: [char; 16] =
        ['a', 'Z', ' ', '\'', '"', '\\', '\n', '\t', '\r', ',', '{', '%', 'ä', '€', '\u{1F600}', '\u{301}'];
    let length = random.random_range(0..=most);
    (0..length)
        .map(|_| {
            if random.random_bool(0.7) {
                SOME[random.random_range(0..SOME.len())]
            } else {
                random.random_range('\u{1}'..'\u{ffff}')
            }
        })
        .collect()
}

fn day(random: &mut StdRng) -> String {
    format!(
        "{:04}-{:02}-{:02}",
        random.random_range(1000..=9999),
        random.random_range(1..=12),
        random.random_range(1..=28)
    )
}

fn clock(random: &mut StdRng) -> String {
    let whole = format!(
        "{:02}:{:02}:{:02}",
        random.random_range(0..24),
        random.random_range(0..60),
        random.random_range(0..60)
    );
    match random.random_range(0..3) {
        0 => whole,
        _ => format!("{whole}.{:06}", random.random_range(1..1_000_000)).trim_end_matches('0').to_owned(),
    }
}

fn document(random: &mut StdRng, depth: u32) -> serde_json::Value {
    match random.random_range(0..if depth > 2 { 5 } else { 7 }) {
        0 => json!(null),
        1 => json!(random.random::<bool>()),
        2 => json!(random.random::<i64>()),
        3 => json!(random.random_range(-1e6..1e6)),
        4 => json!(letters(random, 8)),
        5 => (0..random.random_range(0..4)).map(|_| document(random, depth + 1)).collect::<Vec<_>>().into(),
        _ => {
            let fields = (0..random.random_range(0..4))
                .map(|n| (format!("{n}{}", letters(random, 3)), document(random, depth + 1)));
            fields.collect::<serde_json::Map<_, _>>().into()
        }
    }
}

fn value(random: &mut StdRng, word: &str) -> Value {
    if random.random_bool(0.15) {
        return Value::Null;
    }
    match word {
        "bool" => Value::Bool(random.random()),
        "int" => Value::Int(if random.random() { random.random() } else { random.random_range(-9..9) }),
        "float" => loop {
            let number = f64::from_bits(random.random());
            if number.is_finite() && (number == 0.0 || number.abs() > f64::MIN_POSITIVE) {
                return Value::Float(number);
            }
        },
        "small decimal" => {
            let text = format!("{}.{:04}", random.random_range(-9_999_999..9_999_999), random.random_range(0..10_000));
            Value::Decimal(Decimal::parse(&text).unwrap())
        }
        "text" => Value::Text(letters(random, 200)),
        "varchar" => Value::Text(letters(random, 5)),
        "bytes" => Value::Bytes((0..random.random_range(0..60)).map(|_| random.random()).collect()),
        "date" => Value::Text(day(random)),
        "time" => Value::Text(clock(random)),
        "timestamp" => {
            Value::Text(format!("20{:02}{}T{}Z", random.random_range(0..30), &day(random)[4..], clock(random)))
        }
        "stamp" => Value::Text(format!("{}T{}", day(random), clock(random))),
        "json" => Value::Json(json!({ "it": document(random, 0) })),
        other => panic!("nobody knows what {other} holds"),
    }
}

async fn journey(random: &mut StdRng, number: usize, here: &Side, there: &Side) {
    let words: Vec<&str> =
        WORDS.into_iter().filter(|word| here.holds(word).is_some() && there.holds(word).is_some()).collect();
    let columns: String = (0..).zip(&words).map(|(n, word)| format!(", c{n} {{{word}}}")).collect();
    let name = format!("journey{number}");
    for side in [here, there] {
        side.table(&name, &format!("id {{key}}{columns}"));
    }
    let set = set(&name);
    let rows: Vec<Record> = (1..=ROWS)
        .map(|id| {
            let fields = (0..).zip(&words).map(|(n, word)| (format!("c{n}"), value(random, word)));
            Record(fields.chain([("id".to_owned(), Value::Int(id))]).collect())
        })
        .collect();
    let created = vec![WriteOutcome::Created; rows.len()];
    assert_eq!(here.store.write(&set, &rows).await.unwrap(), created, "into {}", here.name);
    let read = all(here.store.as_ref(), &set).await;
    assert_eq!(read, rows, "out of {}", here.name);
    assert_eq!(there.store.write(&set, &read).await.unwrap(), created, "from {} into {}", here.name, there.name);
    let arrived = all(there.store.as_ref(), &set).await;
    assert_eq!(arrived, rows, "from {} into {} and out of it", here.name, there.name);
    here.store.delete(&set, &numbers(1..=ROWS)).await.unwrap();
    assert_eq!(here.store.write(&set, &arrived).await.unwrap(), created, "back into {}", here.name);
    assert_eq!(all(here.store.as_ref(), &set).await, rows, "from {} over {} back", here.name, there.name);
}

#[tokio::test]
async fn rows_survive_every_pair_of_stores_in_either_direction() {
    let seed: u64 = std::env::var("CUTOVER_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(rand::random);
    println!("CUTOVER_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let mut sides = Vec::new();
    for side in SIDES {
        sides.push(side().await);
    }
    let mut number = 0;
    for here in &sides {
        for there in sides.iter().filter(|there| there.name != here.name) {
            number += 1;
            journey(&mut random, number, here, there).await;
        }
    }
}
