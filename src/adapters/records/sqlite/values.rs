//! Values into columns and out of them.
//!
//! SQLite keeps what it is given whatever the column's declared type, so the declared type decides only where two of our
//! values look alike in the file: a number in a `BOOLEAN` column is yes or no, a text in a `JSON` column is a document.
//! A text that is written to a `JSON` column becomes a JSON string, so that whoever reads the column finds JSON.

use super::{Prepared, faults::fault, schema::Column};
use crate::{
    error::{Fault, FaultKind, Result},
    model::{Key, Value},
};
use sqlx::{Decode, Row as _, TypeInfo as _, ValueRef as _, sqlite::SqliteRow};

/// What a column is declared to hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Bool,
    Int,
    Text,
    Json,
    /// Numbers with a fraction, dates and everything that reads back as it was written.
    Other,
}

impl Kind {
    /// The kind that a declared type stands for.
    pub(super) fn declared(declared: &str) -> Self {
        let declared = declared.to_uppercase();
        let has = |part: &str| declared.contains(part);
        if has("BOOL") {
            Self::Bool
        } else if has("JSON") {
            Self::Json
        } else if has("INT") {
            Self::Int
        } else if has("CHAR") || has("CLOB") || has("TEXT") {
            Self::Text
        } else {
            Self::Other
        }
    }
}

/// The statement with one more value, for a column of this kind.
pub(super) fn bind(query: Prepared, value: &Value, kind: Kind) -> Prepared {
    match value {
        Value::Text(text) if kind == Kind::Json => query.bind(serde_json::Value::from(text.as_str()).to_string()),
        value => bind_plain(query, value),
    }
}

/// The statement with one more value as it is.
pub(super) fn bind_plain(query: Prepared, value: &Value) -> Prepared {
    match value {
        Value::Null => query.bind(None::<String>),
        Value::Bool(yes) => query.bind(i64::from(*yes)),
        Value::Int(number) => query.bind(*number),
        Value::Float(number) => query.bind(*number),
        Value::Text(text) => query.bind(text.clone()),
        Value::Bytes(bytes) => query.bind(bytes.clone()),
        Value::Decimal(_) | Value::Json(_) => query.bind(value.to_text()),
    }
}

/// The statement with a key, which may be a number that was written as text.
pub(super) fn bind_key(query: Prepared, key: &Key, kind: Kind) -> Prepared {
    match key.0.parse::<i64>() {
        Ok(number) if kind != Kind::Text && number.to_string() == key.0 => query.bind(number),
        _ => query.bind(key.0.clone()),
    }
}

/// The value in this column of a row.
pub(super) fn read(doing: &str, row: &SqliteRow, index: usize, column: &Column) -> Result<Value> {
    let raw = row.try_get_raw(index).map_err(|error| fault(doing, error))?;
    if raw.is_null() {
        return Ok(Value::Null);
    }
    // For a value that is there SQLite says how it is kept, not how the column was declared.
    let kept = raw.type_info().name().to_owned();
    let wrong = |error| fault(doing, sqlx::Error::Decode(error));
    Ok(match kept.as_str() {
        "INTEGER" => {
            let number = <i64 as Decode<sqlx::Sqlite>>::decode(raw).map_err(wrong)?;
            match (column.kind, number) {
                (Kind::Bool, 0 | 1) => Value::Bool(number == 1),
                _ => Value::Int(number),
            }
        }
        "REAL" => Value::Float(<f64 as Decode<sqlx::Sqlite>>::decode(raw).map_err(wrong)?),
        "TEXT" => {
            let text = <String as Decode<sqlx::Sqlite>>::decode(raw).map_err(wrong)?;
            match column.kind {
                Kind::Json => serde_json::from_str(&text).map_or(Value::Text(text), Value::from_json),
                _ => Value::Text(text),
            }
        }
        _ => {
            let detail = format!("column {} holds raw bytes, which cannot travel in a record", column.name);
            return Err(Fault::new(FaultKind::Refused, doing).detail(detail));
        }
    })
}
