//! A row of a backup as a line of text, and back: JSON in which nothing is lost.
//!
//! What JSON says by itself stands as it is: null, yes and no, whole numbers of 64 bits, texts. What it would blur is told
//! by name: `{"float":"0.1"}`, `{"decimal":"1.50"}`, `{"bytes":"…"}` in base64, `{"json":…}` with the keys of objects in
//! order. So a person can read a backup without this program, and a value comes back as the one it was. Pure.
//! Must never enter: where lines are kept.

use crate::model::{Decimal, Record, Value, document};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::collections::BTreeMap;

/// A value that JSON has no form of its own for.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Told<'t> {
    Float(String),
    Decimal(String),
    Bytes(String),
    #[serde(borrow)]
    Json(&'t RawValue),
}

/// Writes the row behind what `line` holds, with a line's end.
pub(super) fn write(line: &mut Vec<u8>, row: &Record) {
    line.push(b'{');
    for (n, (field, value)) in row.0.iter().enumerate() {
        if n > 0 {
            line.push(b',');
        }
        quote(line, field);
        line.push(b':');
        put(line, value);
    }
    line.extend_from_slice(b"}\n");
}

fn put(line: &mut Vec<u8>, value: &Value) {
    let (name, told) = match value {
        Value::Null => return line.extend_from_slice(b"null"),
        Value::Bool(yes) => return line.extend_from_slice(if *yes { b"true" } else { b"false" }),
        Value::Int(number) => return line.extend_from_slice(number.to_string().as_bytes()),
        Value::Text(text) => return quote(line, text),
        // The shortest text that reads as the same number again.
        Value::Float(number) => ("float", format!("{number:?}")),
        Value::Decimal(number) => ("decimal", number.to_string()),
        Value::Bytes(bytes) => ("bytes", STANDARD.encode(bytes)),
        Value::Json(_) => {
            line.extend_from_slice(b"{\"json\":");
            line.extend_from_slice(value.to_text().as_bytes());
            return line.push(b'}');
        }
    };
    line.extend_from_slice(format!("{{\"{name}\":\"{told}\"}}").as_bytes());
}

fn quote(line: &mut Vec<u8>, text: &str) {
    line.extend_from_slice(serde_json::Value::from(text).to_string().as_bytes());
}

/// The row of a line.
///
/// # Errors
/// What is wrong with the line, in a few words.
pub(super) fn read(line: &[u8]) -> Result<Record, String> {
    let fields: BTreeMap<String, &RawValue> = serde_json::from_slice(line).map_err(|error| error.to_string())?;
    let value = |(field, raw): (String, &RawValue)| match take(raw.get()) {
        Ok(value) => Ok((field, value)),
        Err(why) => Err(format!("field {field}: {why}")),
    };
    fields.into_iter().map(value).collect::<Result<_, _>>().map(Record)
}

fn take(text: &str) -> Result<Value, String> {
    let wrong = |error: serde_json::Error| error.to_string();
    Ok(match text.as_bytes().first() {
        Some(b'n') => Value::Null,
        Some(b't') => Value::Bool(true),
        Some(b'f') => Value::Bool(false),
        Some(b'"') => Value::Text(serde_json::from_str(text).map_err(wrong)?),
        Some(b'{') => match serde_json::from_str(text).map_err(wrong)? {
            Told::Float(number) => Value::Float(number.parse().map_err(|_| format!("no number: {number}"))?),
            Told::Decimal(number) => {
                Value::Decimal(Decimal::parse(&number).ok_or_else(|| format!("no number: {number}"))?)
            }
            Told::Bytes(bytes) => Value::Bytes(STANDARD.decode(bytes).map_err(|error| error.to_string())?),
            Told::Json(document) => Value::Json(document::parse(document.get())?),
        },
        _ => Value::Int(text.parse().map_err(|_| format!("no whole number of 64 bits: {text}"))?),
    })
}

/// Whether the row that was found has all that the backup's row has, exactly. Columns that came later do not count.
pub(super) fn is_same(kept: &Record, found: &Record) -> bool {
    kept.0.iter().all(|(field, value)| found.get(field) == Some(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn there_and_back(row: &Record) -> Record {
        let mut line = Vec::new();
        write(&mut line, row);
        assert_eq!(line.iter().position(|byte| *byte == b'\n'), Some(line.len() - 1), "one line");
        read(&line).unwrap()
    }

    #[test]
    fn what_json_would_blur_is_told() {
        let decimal = |text: &str| Value::Decimal(Decimal::parse(text).unwrap());
        let row = Record(
            [
                ("a", Value::Null),
                ("b", Value::Json(json!(null))),
                ("c", Value::Int(i64::MIN)),
                ("d", decimal("18446744073709551616.000000000000000001")),
                ("e", Value::Float(0.1 + 0.2)),
                ("f", Value::Float(5e-324)),
                ("g", Value::Float(1.0)),
                ("h", Value::Text("{\"float\":\"1\"}\nNUL \0 \u{2028}".into())),
                ("i", Value::Bytes((0..=255).collect())),
                ("j", Value::Json(json!({"z": [1, -916_349.318_294_817_9, u64::MAX], "a": {"float": "1"}}))),
                ("k", Value::Json(json!("text"))),
                ("l ü\"", Value::Bool(false)),
            ]
            .map(|(field, value)| (field.to_owned(), value))
            .into(),
        );
        assert_eq!(there_and_back(&row), row);
        let mut line = Vec::new();
        write(&mut line, &Record([("x".to_owned(), Value::Float(-0.5))].into()));
        assert_eq!(String::from_utf8(line).unwrap(), "{\"x\":{\"float\":\"-0.5\"}}\n");
    }

    #[test]
    fn what_is_no_row_is_said() {
        for (line, why) in [
            ("", "EOF"),
            ("[1]", "expected"),
            ("{\"a\":1.5}", "no whole number"),
            ("{\"a\":{\"float\":\"x\"}}", "field a: no number"),
            ("{\"a\":{\"other\":\"x\"}}", "unknown variant"),
            ("{\"a\":{\"bytes\":\"%\"}}", "field a"),
        ] {
            let said = read(line.as_bytes()).unwrap_err();
            assert!(said.contains(why), "{line}: {said}");
        }
    }

    #[test]
    fn a_column_that_came_later_is_no_difference() {
        let row = |json| Record::from_json(json).unwrap();
        let kept = row(json!({"id": 1, "name": "x"}));
        assert!(is_same(&kept, &row(json!({"id": 1, "name": "x", "more": 2}))));
        assert!(!is_same(&kept, &row(json!({"id": 1, "name": "y"}))));
        assert!(!is_same(&kept, &row(json!({"id": 1}))));
    }

    proptest! {
        #[test]
        fn any_row_comes_back(floats in prop::collection::vec(any::<f64>(), 0..8), texts in prop::collection::vec(any::<String>(), 0..8),
            ints in prop::collection::vec(any::<i64>(), 0..8), bytes in prop::collection::vec(any::<Vec<u8>>(), 0..4)) {
            let finite = floats.iter().copied().filter(|number| number.is_finite());
            let document = json!({"numbers": finite.clone().collect::<Vec<f64>>(), "texts": texts});
            let values = finite.map(Value::Float)
                .chain(texts.iter().cloned().map(Value::Text))
                .chain(ints.into_iter().map(Value::Int))
                .chain(bytes.into_iter().map(Value::Bytes))
                .chain([Value::Json(document)]);
            let row = Record(values.enumerate().map(|(n, value)| (format!("f{n}"), value)).collect());
            prop_assert_eq!(there_and_back(&row), row);
        }
    }
}
