//! Values into the text of a statement and out of the text that the server answers with.

use super::super::sql::Column;
use crate::model::{Decimal, Kind, Value, document};
use std::fmt::{self, Write as _};

/// What the catalog says of a column's type.
pub(super) struct Declared<'c> {
    /// Its name without lengths.
    pub(super) name: &'c str,
    /// With lengths and all.
    pub(super) whole: &'c str,
    pub(super) length: Option<u64>,
    pub(super) digits: Option<u64>,
    pub(super) scale: Option<u64>,
    pub(super) fraction: Option<u64>,
    /// It is a text that must be a document.
    pub(super) document: bool,
}

impl Declared<'_> {
    /// The kind that it stands for.
    pub(super) fn kind(&self) -> Kind {
        let int = |bits| Kind::Int { bits, signed: !self.whole.contains("unsigned") };
        let small = |number: Option<u64>| number.and_then(|number| u16::try_from(number).ok());
        let fraction = self.fraction.and_then(|digits| u8::try_from(digits).ok()).unwrap_or_default();
        match self.name {
            _ if self.document => Kind::Json,
            "tinyint" if self.whole.starts_with("tinyint(1)") && !self.whole.contains("unsigned") => Kind::Bool,
            "tinyint" => int(8),
            "smallint" => int(16),
            "mediumint" => int(24),
            "int" => int(32),
            "bigint" => int(64),
            "bit" => Kind::Int { bits: 64, signed: false },
            "year" => Kind::Int { bits: 16, signed: false },
            "float" => Kind::Float { bits: 32 },
            "double" => Kind::Float { bits: 64 },
            "decimal" => Kind::Decimal { digits: small(self.digits), scale: small(self.scale) },
            "date" => Kind::Date,
            "time" => Kind::Time { fraction },
            "datetime" => Kind::Timestamp { zone: false, fraction },
            "timestamp" => Kind::Timestamp { zone: true, fraction },
            "uuid" => Kind::Uuid,
            "json" => Kind::Json,
            name if name.ends_with("blob") || name.ends_with("binary") => Kind::Bytes { max: self.length },
            _ => Kind::Text { max: self.length, nul: true },
        }
    }
}

/// How a statement reads this column: so that nothing is rounded on the way.
pub(super) fn expression(column: &Column, name: &str) -> String {
    match column.sql.as_str() {
        // A short number is shown with six digits, unless it is made a long one.
        "float" => format!("{name} + 0e0"),
        "bit" => format!("{name} + 0"),
        _ => name.to_owned(),
    }
}

/// The value that the server's text says; a text that is no value of the kind stays as it is kept (`0000-00-00`).
///
/// # Errors
/// Says why it cannot be carried exactly.
pub(super) fn read(kind: &Kind, raw: &[u8]) -> Result<Value, String> {
    if matches!(kind, Kind::Bytes { .. }) {
        return Ok(Value::Bytes(raw.to_vec()));
    }
    let text = std::str::from_utf8(raw).map_err(|_| "it holds no UTF-8".to_owned())?;
    let kept = || Value::Text(text.to_owned());
    Ok(match kind {
        Kind::Bool => match text {
            "0" | "1" => Value::Bool(text == "1"),
            _ => text.parse().map_or_else(|_| kept(), Value::Int),
        },
        Kind::Int { .. } => match text.parse() {
            Ok(number) => Value::Int(number),
            Err(_) => Decimal::parse(text).map_or_else(kept, Value::Decimal),
        },
        Kind::Float { .. } => text.parse().map_or_else(|_| kept(), Value::Float),
        Kind::Decimal { .. } => Decimal::parse(text).map_or_else(kept, Value::Decimal),
        // The session's clock is UTC, which is also what a time without a zone is taken for.
        Kind::Date | Kind::Time { .. } | Kind::Timestamp { .. } => kind.take(kept()).unwrap_or_else(|_| kept()),
        Kind::Json => Value::Json(document::parse(text)?),
        _ => kept(),
    })
}

/// Goes on with this text.
pub(super) fn put(sql: &mut String, text: fmt::Arguments<'_>) {
    let _infallible = sql.write_fmt(text);
}

fn quote(sql: &mut String, text: &str) {
    put(sql, format_args!("'{}'", text.replace('\'', "''")));
}

/// The text of a statement for a value that has its kind's form. Backslashes mean nothing in our sessions.
pub(super) fn push(sql: &mut String, kind: &Kind, value: &Value) {
    match value {
        Value::Null => sql.push_str("NULL"),
        Value::Bool(yes) => sql.push(if *yes { '1' } else { '0' }),
        Value::Int(number) => sql.push_str(&number.to_string()),
        Value::Float(number) => put(sql, format_args!("{number:e}")),
        Value::Decimal(number) => sql.push_str(number.as_str()),
        Value::Text(text) if matches!(kind, Kind::Timestamp { .. }) => {
            quote(sql, &text.trim_end_matches('Z').replacen('T', " ", 1));
        }
        Value::Text(text) => quote(sql, text),
        Value::Bytes(bytes) => {
            put(sql, format_args!("x'{}'", hex::encode(bytes)));
        }
        Value::Json(json) => quote(sql, &json.to_string()),
    }
}
