//! Random rows through every pair of stores, in a lane forward and by a rollback backward, with the conversions that a run
//! makes.

use super::{
    all, assert_same,
    kinds::kind,
    lanes::Way,
    sides::{Can, SIDES, Side},
    web_sides,
};
use cutover::{
    model::{Decimal, Kind, Record, Value},
    ports::{SetRef, WriteOutcome},
    sync,
};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use serde_json::json;

/// Rows of one journey.
const ROWS: i64 = 40;

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

/// Random rows for these words, as the fields `c0`, `c1` and so on.
fn rows(random: &mut StdRng, words: &[&str]) -> Vec<Record> {
    let row = |id: i64| {
        let fields = (0..).zip(words).map(|(n, word)| (format!("c{n}"), value(random, word)));
        Record(fields.chain([("id".to_owned(), Value::Int(id))]).collect())
    };
    (1..=ROWS).map(row).collect()
}

/// The rows of a side, in the form of these words where the side does not know what its fields hold.
async fn read(side: &Side, set: &SetRef, words: &[&str]) -> Vec<Record> {
    let mut rows = all(side.store.as_ref(), set).await;
    if side.can < Can::Tell {
        let kinds: Vec<Kind> = words.iter().map(|word| Kind::parse(kind(word)).unwrap()).collect();
        for row in &mut rows {
            for (n, kind) in kinds.iter().enumerate() {
                for name in [format!("c{n}"), format!("d{n}")] {
                    let Some(value) = row.0.get_mut(&name) else { continue };
                    *value = kind.take(value.clone()).unwrap_or_else(|misfit| panic!("{name}: {misfit}"));
                }
            }
        }
    }
    rows
}

/// The rows with the name that their first field has on the other side.
fn renamed(rows: &[Record]) -> Vec<Record> {
    let rename = |(name, value): (&String, &Value)| (name.replace("c0", "d0"), value.clone());
    rows.iter().map(|row| Record(row.0.iter().map(rename).collect())).collect()
}

/// Random rows move in a lane, and then other ones move back over them.
async fn journey(random: &mut StdRng, number: usize, here: &Side, there: &Side) {
    let words: Vec<&str> =
        WORDS.into_iter().filter(|word| here.holds(word).is_some() && there.holds(word).is_some()).collect();
    let name = format!("journey{number}");
    for (side, first) in [(here, "c0"), (there, "d0")] {
        let column = |(n, word)| if n == 0 { format!("{first} {{{word}}}") } else { format!("c{n} {{{word}}}") };
        let columns: Vec<String> = (0..).zip(&words).map(column).collect();
        side.table(&name, &format!("id {{key}}, {}", columns.join(", ")));
    }
    let when = format!("from {} to {}", here.name, there.name);
    let way = lane(&name, here, there, &words).await;
    let (cx, dataset) = way.step(0);
    let (from, to) = (here.set(&name), there.set(&name));

    let forward = rows(random, &words);
    let created = vec![WriteOutcome::Created; forward.len()];
    assert_eq!(here.store.write(&from, &forward).await.unwrap(), created, "into {}", here.name);
    assert_same(&read(here, &from, &words).await, &forward, &format!("out of {}", here.name));
    way.copied_and_compared(0).await;
    assert_same(&read(there, &to, &words).await, &renamed(&forward), &when);

    // People change every row on the new side, and a rollback carries it back.
    let backward = rows(random, &words);
    let updated = vec![WriteOutcome::Updated; backward.len()];
    assert_eq!(there.store.write(&to, &renamed(&backward)).await.unwrap(), updated, "into {}", there.name);
    let report = sync::reverse(&cx, dataset).await.unwrap_or_else(|fault| panic!("{when}: {}", fault.chain()));
    assert_eq!((report.open, report.stranded.len()), (0, 0), "{when} and back: {report:?}");
    assert_same(&read(here, &from, &words).await, &backward, &format!("{when} and back"));
    assert_same(&read(there, &to, &words).await, &renamed(&backward), &format!("{when} and back"));
    way.ledger.close().await;
}

/// The lane of this journey. Where a side does not say what its fields hold, the plan does.
async fn lane(name: &str, here: &Side, there: &Side, words: &[&str]) -> Way {
    let place = |side: &Side| format!("{} = \"{}\"", side.plan.1, (side.place)(name));
    let field = |n: usize| if n == 0 { "d0".to_owned() } else { format!("c{n}") };
    let kinds: Vec<String> =
        words.iter().enumerate().map(|(n, word)| format!("{} = \"{}\"", field(n), kind(word))).collect();
    let kinds =
        if here.can.min(there.can) < Can::Tell { format!("type = {{ {} }}", kinds.join(", ")) } else { String::new() };
    let more = format!(
        "[migration]\nbatch_records = 25\n[[dataset]]\nname = \"{name}\"\nkey = \"id\"\nrename = {{ c0 = \"d0\" }}\n\
         from = {{ store = \"old\", {} }}\nto = {{ store = \"new\", {} }}\n{kinds}\n",
        place(here),
        place(there)
    );
    Way::new(&here.plan.0, &there.plan.0, &more).await
}

fn seeded() -> StdRng {
    let seed: u64 = std::env::var("CUTOVER_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(rand::random);
    println!("CUTOVER_SEED={seed}");
    StdRng::seed_from_u64(seed)
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_survive_every_pair_of_stores_in_either_direction() {
    let mut random = seeded();
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

#[tokio::test(flavor = "multi_thread")]
async fn what_browsers_kept_arrives_in_every_store() {
    let mut random = seeded();
    let browsers = web_sides::local_storage().await;
    let ids: Vec<i64> = (1..=ROWS).filter(|_| random.random_bool(0.7)).collect();
    browsers.put(&ids).await;
    let sort = |mut rows: Vec<Record>| {
        rows.sort_by_key(|row| row.key("id"));
        rows
    };
    for side in SIDES {
        let there = side().await;
        let columns = "id {text key}, user_id {int}, storage_key {text}, value {json}, version {int}, size {int}, \
            exported_at {timestamp}";
        there.table("settings", columns);
        let kinds = "type = { value = \"json\", exported_at = \"timestamptz\" }";
        let more = format!(
            "[[dataset]]\nname = \"settings\"\nkey = \"id\"\nupdated = \"exported_at\"\n\
             from = {{ store = \"old\", keys = \"settings\" }}\nto = {{ store = \"new\", {} = \"{}\" }}\n{}\n",
            there.plan.1,
            (there.place)("settings"),
            if there.can < Can::Tell { kinds } else { "" }
        );
        let way = Way::new(&browsers.plan.0, &there.plan.0, &more).await;
        way.copied_and_compared(0).await;
        let arrived = all(there.store.as_ref(), &there.set("settings")).await;
        assert_same(&sort(arrived), &sort(browsers.items(ids.clone())), there.name);
        way.ledger.close().await;
    }
}
