//! When two records are the same, although a store could not keep the type of a value.

use crate::model::{Digest, Record, Value};

/// The value as every store can hold it; `None` for null. Equal texts mean equal values: yes and no are 1 and 0 (as
/// SQLite keeps them), a whole number is the same with or without a decimal point, and a JSON document is the same as
/// value and as text. Text is otherwise taken as it is: `007` is not 7.
#[must_use]
pub(crate) fn canonical(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::Bool(b) => Some(u8::from(*b).to_string()),
        #[expect(clippy::cast_possible_truncation, reason = "whole and far inside 64 bits, by the guard")]
        Value::Float(f) if f.fract() == 0.0 && f.abs() < 9.0e15 => Some((*f as i64).to_string()),
        Value::Text(text) if text.starts_with(['{', '[']) => {
            Some(serde_json::from_str(text).map_or_else(|_| text.clone(), |json| Value::Json(json).to_text()))
        }
        other => Some(other.to_text()),
    }
}

/// The fields of `wanted` in which `found` differs, by name. Fields that only `found` has do not count: the target may
/// have more columns.
#[must_use]
pub(crate) fn differing(wanted: &Record, found: &Record) -> Vec<String> {
    let differs =
        |(field, value): &(&String, &Value)| found.get(field).is_none_or(|other| canonical(other) != canonical(value));
    wanted.0.iter().filter(differs).map(|(field, _)| field.clone()).collect()
}

/// The fields of `found` that `shape` has too: the target's row without the columns that the run never writes.
#[must_use]
pub(crate) fn shaped(found: &Record, shape: &Record) -> Record {
    let kept = found.0.iter().filter(|(field, _)| shape.get(field).is_some());
    Record(kept.map(|(field, value)| (field.clone(), value.clone())).collect())
}

/// SHA-256 over the canonical texts of all fields. Two records of the same fields have the same digest exactly if
/// [`differing`] finds nothing.
#[must_use]
pub(crate) fn digest(record: &Record) -> Digest {
    let mut text = String::new();
    for (field, value) in &record.0 {
        let value = canonical(value).map_or(serde_json::Value::Null, Into::into);
        text.push_str(&serde_json::Value::from(field.as_str()).to_string());
        text.push(':');
        text.push_str(&value.to_string());
        text.push('\n');
    }
    Digest::of(text.as_bytes())
}
