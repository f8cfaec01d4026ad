//! Values of every kind, to their extremes.

use super::{
    all,
    sides::{self, Can, Side},
    text, web_sides,
};
use cutover::{
    model::{Decimal, Kind, Record, Value},
    ports::{SetRef, WriteOutcome},
};
use serde_json::json;

fn decimal(text: &str) -> Value {
    Value::Decimal(Decimal::parse(text).unwrap())
}

/// What a column of this word holds exactly.
pub(crate) fn extremes(word: &str) -> Vec<Value> {
    let texts = |texts: &[&str]| texts.iter().map(|one| text(one)).collect::<Vec<_>>();
    match word {
        "bool" => vec![Value::Bool(true), Value::Bool(false)],
        "int" => [0, -1, i64::MIN, i64::MAX, (1 << 53) + 1].map(Value::Int).to_vec(),
        "uint" => vec![Value::Int(0), Value::Int(i64::MAX), decimal("18446744073709551615")],
        "small" => [i64::from(i16::MIN), i64::from(i16::MAX)].map(Value::Int).to_vec(),
        "float" => [0.0, 0.1, -1.5, 1e300, f64::MAX, f64::MIN_POSITIVE, 1.0, 1e15, 0.1 + 0.2, 1.0 / 3.0]
            .map(Value::Float)
            .to_vec(),
        "any float" => texts(&["NaN", "Infinity", "-Infinity"]),
        "any decimal" => {
            let long = format!("{}.{}", "9".repeat(300), "1".repeat(90));
            [decimal(&long), decimal("1e-20"), text("NaN")].to_vec()
        }
        "short float" => [0.5, f64::from(1.1_f32), f64::from(f32::MAX)].map(Value::Float).to_vec(),
        "decimal" => ["0", "-0.000000000000001", "12345678901234567890123456789012345.123456789012345", "7"]
            .map(decimal)
            .to_vec(),
        "small decimal" => ["0", "19.99", "-12345678.1234", "100"].map(decimal).to_vec(),
        "text" => texts(&[
            "",
            " ",
            "NULL",
            "\\N",
            "\\",
            "a\tb\nc\r\u{8}\u{b}",
            "'\"`",
            "\u{1F600}\u{10FFFF}e\u{301}",
            "\u{feff}",
            "true",
            "1.50",
            "{}",
            "\\x00",
        ]),
        "nul text" => texts(&["a\0b", "\0"]),
        "varchar" => texts(&["", "äöüß\u{1F600}", "a  "]),
        "bytes" => vec![Value::Bytes(vec![]), Value::Bytes((0..=255).collect()), Value::Bytes(b"\\x".to_vec())],
        "date" => texts(&["1000-01-01", "1899-12-31", "2024-02-29", "9999-12-31"]),
        "far date" => texts(&["-0043-03-15", "0000-12-31", "+12024-02-29", "infinity", "-infinity"]),
        "time" => texts(&["00:00:00", "23:59:59.999999", "12:00:00.25"]),
        "timestamp" => texts(&["1999-12-31T23:59:59.999999Z", "2024-02-29T12:00:00Z", "2026-11-20T00:00:00.1Z"]),
        "far timestamp" => {
            texts(&["1883-11-18T12:03:58Z", "-0043-03-15T00:00:00.5Z", "+12024-02-29T12:00:00.000001Z", "infinity"])
        }
        "millis" => texts(&["2024-02-29T12:00:00.123Z"]),
        "stamp" => texts(&["1899-12-31T23:59:59.999999", "2024-02-29T12:00:00", "9999-12-31T23:59:59.999999"]),
        "uuid" => texts(&["a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "00000000-0000-0000-0000-000000000000"]),
        "json" => [
            json!({"b": [1, 2.5, null, "ü\u{1F600}\"\\"], "a": {}}),
            json!([]),
            json!("text"),
            json!(null),
            json!(true),
            json!(5),
            json!(i64::MAX),
            json!(-2.5),
        ]
        .map(Value::Json)
        .to_vec(),
        "list" => [json!([]), json!(["a", null, "NULL", "", "{,\"\\}"])].map(Value::Json).to_vec(),
        other => panic!("nobody knows what {other} holds"),
    }
}

/// What such a column cannot hold exactly: it must be rejected, never rounded, cut or turned into something else.
fn beyond(word: &str) -> Vec<Value> {
    match word {
        "int" => vec![decimal("9223372036854775808"), Value::Float(1.5), text("x")],
        "uint" => vec![Value::Int(-1), decimal("18446744073709551616")],
        "small" => vec![Value::Int(32768)],
        "short float" => vec![Value::Float(1.0 / 3.0)],
        "decimal" => vec![decimal("0.0000000000000001"), decimal("1e40")],
        "small decimal" => vec![decimal("1234567890123456.1")],
        "varchar" => vec![text("abcdef")],
        "date" => vec![text("2023-02-29"), text("2024-02-29T12:00:00")],
        "millis" => vec![text("2024-02-29T12:00:00.1234Z")],
        "stamp" => vec![text("yesterday")],
        "uuid" => vec![text("a0eebc99")],
        "bytes" => vec![text("zz")],
        _ => Vec::new(),
    }
}

/// What a column of this word holds, as a plan says it.
pub(crate) fn kind(word: &str) -> &'static str {
    match word {
        "bool" => "bool",
        "int" => "int64",
        "small" => "int16",
        "float" => "float64",
        "small decimal" => "decimal(12,4)",
        "text" => "text",
        "varchar" => "text(5)",
        "bytes" => "bytes",
        "date" => "date",
        "time" => "time(6)",
        "timestamp" => "timestamptz(6)",
        "stamp" => "timestamp(6)",
        "uuid" => "uuid",
        "json" => "json",
        other => panic!("nobody knows what {other} is in a plan"),
    }
}

/// Rows whose `value` is of this word, read from a store that may not know what its fields hold.
async fn read(side: &Side, set: &SetRef, word: &str) -> Vec<Record> {
    let mut rows = all(side.store.as_ref(), set).await;
    if side.can < Can::Tell {
        let kind = Kind::parse(kind(word)).unwrap();
        for value in rows.iter_mut().filter_map(|row| row.0.get_mut("value")) {
            *value = kind.take(value.clone()).unwrap();
        }
    }
    rows
}

fn row(id: i64, value: Value) -> Record {
    Record([("id".to_owned(), Value::Int(id)), ("value".to_owned(), value)].into())
}

async fn carries(side: &Side) {
    let store = side.store.as_ref();
    for (number, (word, sql)) in
        side.types.iter().enumerate().filter(|(_, (word, _))| !word.contains("key") && *word != "counted")
    {
        let name = format!("kind{number}");
        side.table(&name, &format!("id {{key}}, value {{{word}}}"));
        let set = side.set(&name);
        let mut values = vec![Value::Null];
        values.extend(extremes(word));
        if side.can < Can::Tell {
            // In JSON it is nothing else than a field that is null.
            values.retain(|value| !matches!(value, Value::Json(json) if json.is_null()));
        }
        let rows: Vec<Record> = (1..).zip(values).map(|(id, value)| row(id, value)).collect();
        let outcomes = store.write(&set, &rows).await.unwrap();
        assert_eq!(outcomes, vec![WriteOutcome::Created; rows.len()], "{} {sql}", side.name);
        assert_eq!(read(side, &set, word).await, rows, "{} {sql}", side.name);
        // The other way of writing, which is for rows that are there already.
        assert_eq!(store.write(&set, &rows).await.unwrap(), vec![WriteOutcome::Updated; rows.len()], "{}", side.name);
        assert_eq!(read(side, &set, word).await, rows, "{} {sql} again", side.name);
        // What came out of a JSON document or of the ledger goes in as it did before.
        let kind = store.describe(&set).await.unwrap().field("value").unwrap().kind.clone();
        let texts: Vec<Record> = rows.iter().map(|row| Record::from_json(row.to_json()).unwrap()).collect();
        if kind != Kind::Any
            && !rows.iter().any(|row| matches!(row.get("value"), Some(Value::Json(json)) if json.is_null()))
        {
            let outcomes = store.write(&set, &texts).await.unwrap();
            assert_eq!(outcomes, vec![WriteOutcome::Updated; rows.len()], "{} {sql}", side.name);
            assert_eq!(read(side, &set, word).await, rows, "{} {sql} by its text", side.name);
        }
        if !side.lenient {
            for value in beyond(word) {
                let shown = format!("{} {sql}: {value:?}", side.name);
                let outcomes = store.write(&set, &[row(100, value)]).await.unwrap();
                assert!(matches!(outcomes[0], WriteOutcome::Rejected(_)), "{shown}: {outcomes:?}");
            }
            assert_eq!(read(side, &set, word).await, rows, "{} {sql}: nothing rejected is there", side.name);
        }
    }
}

#[tokio::test]
async fn postgres_carries_every_kind() {
    carries(&sides::postgres().await).await;
}

#[tokio::test]
async fn mysql_carries_every_kind() {
    carries(&sides::mysql().await).await;
}

#[tokio::test]
async fn sqlite_carries_every_kind() {
    carries(&sides::sqlite().await).await;
}

#[tokio::test]
async fn d1_carries_every_kind() {
    carries(&sides::d1().await).await;
}

#[tokio::test]
async fn django_carries_every_kind_that_it_has() {
    carries(&web_sides::django("offset").await).await;
}
