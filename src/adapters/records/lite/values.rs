//! Values into cells and out of them, by what a column is declared to hold.
//!
//! SQLite keeps what it is given, except that a column of numbers turns a text that looks like one into it. So the
//! declared type decides where two values look alike in the file: a number in a `BOOLEAN` column is yes or no, a text in
//! a `JSON` column is a document. What a column would turn into something else is refused.

use super::{super::sql::Column, engine::Cell};
use crate::model::{Decimal, Kind, Value, document, text};

/// The kind that a declared type stands for.
pub(super) fn kind(declared: &str) -> Kind {
    let declared = declared.to_uppercase();
    let has = |part: &str| declared.contains(part);
    if has("BOOL") {
        Kind::Bool
    } else if has("JSON") {
        Kind::Json
    } else if has("INT") {
        Kind::Int { bits: 64, signed: true }
    } else if has("CHAR") || has("CLOB") || has("TEXT") {
        Kind::Text { max: None, nul: true }
    } else if has("BLOB") {
        Kind::Bytes { max: None }
    } else if has("REAL") || has("FLOA") || has("DOUB") {
        Kind::Float { bits: 64 }
    } else if has("DEC") || has("NUM") {
        // It becomes a binary number, of which fifteen digits are exact.
        Kind::Decimal { digits: Some(15), scale: None }
    } else {
        Kind::Any
    }
}

/// The column turns texts that look like numbers into numbers (source: sqlite.org/datatype3.html, section 3.1).
fn makes_numbers(declared: &str) -> bool {
    let has =
        |part: &str| declared.as_bytes().windows(part.len()).any(|some| some.eq_ignore_ascii_case(part.as_bytes()));
    has("INT") || !(has("CHAR") || has("CLOB") || has("TEXT") || has("BLOB") || declared.is_empty())
}

/// The cell for a value that has its kind's form.
///
/// # Errors
/// Says what the column would make of it.
pub(super) fn cell(column: &Column, value: &Value) -> Result<Cell, String> {
    let otherwise = |shown: &str| Err(format!("this column would keep {} otherwise", text::clean(shown, 60)));
    let numbers = || makes_numbers(&column.sql);
    Ok(match value {
        Value::Null => Cell::Null,
        Value::Bool(yes) => Cell::Int((*yes).into()),
        Value::Int(number) => Cell::Int(*number),
        Value::Float(number) => Cell::Real(*number),
        Value::Bytes(bytes) => Cell::Blob(bytes.clone()),
        Value::Text(text) => match (&column.field.kind, text.as_str()) {
            (Kind::Float { .. }, "Infinity") => Cell::Real(f64::INFINITY),
            (Kind::Float { .. }, "-Infinity") => Cell::Real(f64::NEG_INFINITY),
            (_, text) if may_be_number(text) && numbers() && Decimal::parse(text.trim()).is_some() => {
                return otherwise(&format!("the text `{text}`"));
            }
            _ => Cell::Text(text.clone()),
        },
        Value::Decimal(number) if !numbers() => Cell::Text(number.to_string()),
        Value::Decimal(number) => match (number.as_str().parse(), number.as_str().parse::<f64>()) {
            (Ok(whole), _) => Cell::Int(whole),
            // Fifteen digits come back out of every binary number.
            (_, Ok(real)) if number.as_str().len() <= 16 => Cell::Real(real),
            (_, Ok(real)) if Decimal::parse(&Value::Float(real).to_text()).as_ref() == Some(number) => Cell::Real(real),
            _ => return otherwise(number.as_str()),
        },
        Value::Json(serde_json::Value::Number(number)) if numbers() => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => Cell::Int(whole),
            (None, Some(real)) if number.is_f64() && real.fract() != 0.0 => Cell::Real(real),
            _ => return otherwise(&number.to_string()),
        },
        Value::Json(json) => Cell::Text(json.to_string()),
    })
}

/// The same for a value that nobody needs any more.
///
/// # Errors
/// As [`cell`].
pub(super) fn kept(column: &Column, value: Value) -> Result<Cell, String> {
    match value {
        Value::Text(text) if !may_be_number(&text) && !matches!(column.field.kind, Kind::Float { .. }) => {
            Ok(Cell::Text(text))
        }
        Value::Bytes(bytes) => Ok(Cell::Blob(bytes)),
        other => cell(column, &other),
    }
}

/// A number begins like this; most texts do not.
fn may_be_number(text: &str) -> bool {
    text.trim_start().starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.'))
}

/// The cell of a key, which is said as a text.
pub(super) fn key(column: &Column, said: &str) -> Cell {
    let number = || said.parse::<i64>().ok().filter(|number| number.to_string() == said);
    match column.field.kind {
        Kind::Text { .. } => Cell::Text(said.to_owned()),
        Kind::Bytes { .. } => match said.strip_prefix("\\x").map(hex::decode) {
            Some(Ok(bytes)) => Cell::Blob(bytes),
            _ => Cell::Text(said.to_owned()),
        },
        Kind::Bool => Cell::Int((said == "true").into()),
        _ => number().map_or_else(|| Cell::Text(said.to_owned()), Cell::Int),
    }
}

/// The value that a cell of this kind is; what is of another kind stays as it is kept.
///
/// # Errors
/// Says why it cannot be carried exactly.
pub(super) fn read(kind: &Kind, cell: Cell) -> Result<Value, String> {
    Ok(match (kind, cell) {
        (_, Cell::Null) => Value::Null,
        (Kind::Bool, Cell::Int(number @ (0 | 1))) => Value::Bool(number == 1),
        (Kind::Json, Cell::Int(number)) => Value::Json(number.into()),
        (Kind::Decimal { .. }, Cell::Int(number)) => decimal(&number.to_string()),
        (_, Cell::Int(number)) => Value::Int(number),
        (_, Cell::Real(number)) if number.is_infinite() => {
            Value::Text(if number > 0.0 { "Infinity" } else { "-Infinity" }.into())
        }
        (Kind::Json, Cell::Real(number)) => Value::Json(number.into()),
        (Kind::Decimal { .. }, Cell::Real(number)) => decimal(&Value::Float(number).to_text()),
        (_, Cell::Real(number)) => Value::Float(number),
        (Kind::Json, Cell::Text(text)) => match document::parse(&text) {
            Ok(json) => Value::Json(json),
            Err(why) if serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok() => return Err(why),
            Err(_) => Value::Text(text),
        },
        (_, Cell::Text(text)) => Value::Text(text),
        (_, Cell::Blob(bytes)) => Value::Bytes(bytes),
    })
}

fn decimal(text: &str) -> Value {
    Decimal::parse(text).map_or_else(|| Value::Text(text.to_owned()), Value::Decimal)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Field;

    #[test]
    fn what_a_column_would_change_is_refused() {
        let column = |declared: &str| Column {
            field: Field { kind: kind(declared), ..Field::named("it") },
            sql: declared.into(),
            unique: false,
            padded: false,
        };
        let text = |text: &str| Value::Text(text.into());
        let number = |text: &str| Value::Decimal(Decimal::parse(text).unwrap());
        for (declared, value, wanted) in [
            ("DATETIME", text("2026-11-20"), Some(Cell::Text("2026-11-20".into()))),
            ("DATETIME", text("007"), None),
            ("TEXT", text("007"), Some(Cell::Text("007".into()))),
            ("", text("007"), Some(Cell::Text("007".into()))),
            ("DECIMAL(10,2)", number("19.99"), Some(Cell::Real(19.99))),
            ("DECIMAL(10,2)", number("20"), Some(Cell::Int(20))),
            ("NUMERIC", number("0.12345678901234567890"), None),
            ("", number("0.12345678901234567890"), Some(Cell::Text("0.1234567890123456789".into()))),
            ("JSON", Value::Json(5.into()), Some(Cell::Int(5))),
            ("JSON", Value::Json(5.0.into()), None),
            ("JSON", Value::Json("x".into()), Some(Cell::Text("\"x\"".into()))),
            ("BOOLEAN", Value::Bool(true), Some(Cell::Int(1))),
            ("REAL", text("-Infinity"), Some(Cell::Real(f64::NEG_INFINITY))),
        ] {
            assert_eq!(cell(&column(declared), &value).ok(), wanted, "{value:?} into {declared}");
        }
    }
}
