//! A value in the form of the kind of field that takes it, or why that field cannot hold it exactly.

use super::times;
use crate::model::{Decimal, Kind, Value, text};
use std::str::FromStr as _;

/// Numbers that are none, as texts.
const NO_NUMBERS: [&str; 3] = ["NaN", "Infinity", "-Infinity"];

/// The value in its kind's form.
///
/// # Errors
/// Says why the field cannot hold the value exactly.
pub(in super::super) fn taken(kind: &Kind, value: &Value) -> Result<Value, String> {
    let none = |what: &str| format!("`{}` is no {what}", text::clean(&value.to_text(), 60));
    match (kind, value) {
        (_, Value::Null) => Ok(Value::Null),
        (Kind::Any, value) => Ok(value.clone()),
        (Kind::Bool, value) => match value {
            Value::Bool(yes) => Ok(Value::Bool(*yes)),
            Value::Int(number @ (0 | 1)) => Ok(Value::Bool(*number == 1)),
            Value::Text(text) if text == "true" || text == "false" => Ok(Value::Bool(text == "true")),
            _ => Err(none("yes or no")),
        },
        (Kind::Int { bits, signed }, value) => int(*bits, *signed, value).ok_or_else(|| {
            none(&format!("whole number of {bits} bits{}", if *signed { "" } else { " without a sign" }))
        }),
        (Kind::Float { bits }, value) => {
            float(*bits, value).ok_or_else(|| none(&format!("number of {bits} binary digits")))
        }
        (Kind::Decimal { digits, scale }, value) => decimal(*digits, *scale, value),
        (Kind::Text { max, nul }, value) => words(*max, *nul, value),
        (Kind::Bytes { max }, value) => bytes(value).ok_or_else(|| none("bytes")).and_then(|bytes| match max {
            Some(max) if bytes.len() as u64 > *max => Err(format!("{} bytes, {max} fit", bytes.len())),
            _ => Ok(Value::Bytes(bytes)),
        }),
        (Kind::Date | Kind::Time { .. } | Kind::Timestamp { .. }, value) => moment(kind, value),
        (Kind::Uuid, Value::Text(said)) => {
            uuid::Uuid::from_str(said).map(|uuid| Value::Text(uuid.hyphenated().to_string())).map_err(|_| none("UUID"))
        }
        (Kind::Uuid, _) => Err(none("UUID")),
        (Kind::Json, value) => Ok(Value::Json(value.to_json())),
        (Kind::List(of), value) => list(of, value),
    }
}

fn int(bits: u8, signed: bool, value: &Value) -> Option<Value> {
    let number: i128 = match value {
        Value::Int(number) => (*number).into(),
        Value::Decimal(number) => number.as_str().parse().ok()?,
        Value::Text(text) => Decimal::parse(text)?.as_str().parse().ok()?,
        Value::Json(serde_json::Value::Number(number)) => number.to_string().parse().ok()?,
        _ => return None,
    };
    let bits = u32::from(bits.clamp(1, 64));
    let (least, most) =
        if signed { (-(1_i128 << (bits - 1)), (1_i128 << (bits - 1)) - 1) } else { (0, (1_i128 << bits) - 1) };
    (least..=most).contains(&number).then(|| {
        i64::try_from(number)
            .map_or_else(|_| Decimal::parse(&number.to_string()).map_or(Value::Null, Value::Decimal), Value::Int)
    })
}

fn float(bits: u8, value: &Value) -> Option<Value> {
    let number = match value {
        Value::Float(number) => *number,
        Value::Text(text) if NO_NUMBERS.contains(&text.as_str()) => return Some(Value::Text(text.clone())),
        Value::Int(_) | Value::Decimal(_) | Value::Text(_) => {
            let said = Decimal::parse(&value.to_text())?;
            let number: f64 = said.as_str().parse().ok()?;
            // The shortest text of the number is the one that was said, so no digit is lost.
            (Decimal::parse(&format!("{number:e}"))? == said).then_some(number)?
        }
        _ => return None,
    };
    #[expect(clippy::cast_possible_truncation, clippy::float_cmp, reason = "whether it is cut is the question")]
    let fits = bits == 64 || f64::from(number as f32) == number;
    (fits && number.is_finite()).then_some(Value::Float(number))
}

fn decimal(digits: Option<u16>, scale: Option<u16>, value: &Value) -> Result<Value, String> {
    let said = match value {
        Value::Float(number) => Decimal::parse(&format!("{number:e}")),
        Value::Text(text) if NO_NUMBERS.contains(&text.as_str()) && digits.is_none() => return Ok(value.clone()),
        Value::Int(_) | Value::Text(_) => Decimal::parse(&value.to_text()),
        Value::Decimal(number) => Some(number.clone()),
        Value::Json(serde_json::Value::Number(number)) => Decimal::parse(&number.to_string()),
        _ => None,
    };
    let Some(number) = said else {
        return Err(format!("`{}` is no decimal number", text::clean(&value.to_text(), 60)));
    };
    let (before, behind) = number.widths();
    let room = |digits: u16| usize::from(digits.saturating_sub(scale.unwrap_or_default()));
    if scale.is_some_and(|scale| behind > usize::from(scale)) || digits.is_some_and(|digits| before > room(digits)) {
        let shape = |number: Option<u16>| number.map_or_else(|| "any".to_owned(), |number| number.to_string());
        let shown = text::clean(number.as_str(), 60);
        return Err(format!("{shown} has more digits than ({},{}) keeps", shape(digits), shape(scale)));
    }
    Ok(Value::Decimal(number))
}

fn words(max: Option<u64>, nul: bool, value: &Value) -> Result<Value, String> {
    let text = match value {
        Value::Text(text) => text.clone(),
        other => other.to_text(),
    };
    if !nul && text.contains('\0') {
        return Err("it holds the character NUL, which this column cannot keep".into());
    }
    if let Some(max) = max
        && text.len() as u64 > max
        && text.chars().count() as u64 > max
    {
        return Err(format!("{} characters, {max} fit", text.chars().count()));
    }
    Ok(Value::Text(text))
}

/// The bytes that a value is: bytes, or their text.
pub(in super::super) fn bytes(value: &Value) -> Option<Vec<u8>> {
    match value {
        Value::Bytes(bytes) => Some(bytes.clone()),
        Value::Text(text) => hex::decode(text.strip_prefix("\\x")?).ok(),
        _ => None,
    }
}

fn moment(kind: &Kind, value: &Value) -> Result<Value, String> {
    let Value::Text(said) = value else {
        return Err(format!("`{}` is no date or time", text::clean(&value.to_text(), 60)));
    };
    let (read, fraction, what) = match kind {
        Kind::Date => (times::date(said), 0, "date"),
        Kind::Time { fraction } => (times::time(said), *fraction, "time of day"),
        Kind::Timestamp { zone: true, fraction } => {
            (times::timestamp(said, true), *fraction, "point in time with its offset")
        }
        Kind::Timestamp { fraction, .. } => {
            (times::timestamp(said, false), *fraction, "day and time without an offset")
        }
        _ => (None, 0, "time"),
    };
    let Some(time) = read else { return Err(format!("`{}` is no {what}", text::clean(said, 60))) };
    if times::fraction(&time) > usize::from(fraction) {
        return Err(format!("{time} has a finer fraction than the {fraction} digits that are kept"));
    }
    Ok(Value::Text(time))
}

fn list(of: &Kind, value: &Value) -> Result<Value, String> {
    let parsed;
    let items = match value {
        Value::Json(serde_json::Value::Array(items)) => items,
        Value::Text(text) => {
            parsed = serde_json::from_str::<Vec<serde_json::Value>>(text).map_err(|_| "it is no list".to_owned())?;
            &parsed
        }
        _ => return Err("it is no list".into()),
    };
    let item = |item: &serde_json::Value| match item {
        // A list in a list is a table of one kind.
        serde_json::Value::Array(_) if !matches!(of, Kind::Json | Kind::Any) => list(of, &Value::Json(item.clone())),
        _ => taken(of, &Value::from_json(item.clone())),
    };
    let items = items.iter().map(|one| item(one).map(|value| value.to_json()));
    Ok(Value::Json(items.collect::<Result<Vec<_>, _>>()?.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn number(text: &str) -> Value {
        Value::Decimal(Decimal::parse(text).unwrap())
    }

    #[test]
    fn a_value_is_taken_exactly_or_not_at_all() {
        let text = |text: &str| Value::Text(text.into());
        let int = |bits, signed| Kind::Int { bits, signed };
        let decimal = |digits, scale| Kind::Decimal { digits: Some(digits), scale: Some(scale) };
        let stamp = |zone, fraction| Kind::Timestamp { zone, fraction };
        for (kind, given, wanted) in [
            (int(64, true), text("-9223372036854775808"), Some(Value::Int(i64::MIN))),
            (int(64, false), text("18446744073709551615"), Some(number("18446744073709551615"))),
            (int(64, false), Value::Int(-1), None),
            (int(8, true), Value::Int(128), None),
            (int(32, true), text("1.5"), None),
            (Kind::Float { bits: 64 }, text("0.1"), Some(Value::Float(0.1))),
            (Kind::Float { bits: 64 }, text("0.1000000000000000000001"), None),
            (Kind::Float { bits: 64 }, Value::Int(9_007_199_254_740_993), None),
            (Kind::Float { bits: 32 }, Value::Float(0.1), None),
            (Kind::Float { bits: 32 }, Value::Float(0.5), Some(Value::Float(0.5))),
            (Kind::Float { bits: 64 }, text("NaN"), Some(text("NaN"))),
            (decimal(5, 2), text("123.45"), Some(number("123.45"))),
            (decimal(5, 2), text("1234.5"), None),
            (decimal(5, 2), text("1.234"), None),
            (decimal(5, 2), Value::Float(19.99), Some(number("19.99"))),
            (Kind::Text { max: Some(2), nul: false }, text("äö"), Some(text("äö"))),
            (Kind::Text { max: Some(2), nul: false }, text("abc"), None),
            (Kind::Text { max: None, nul: false }, text("a\0b"), None),
            (Kind::Bytes { max: Some(2) }, text("\\x00ff"), Some(Value::Bytes(vec![0, 255]))),
            (Kind::Bytes { max: Some(1) }, text("\\x00ff"), None),
            (Kind::Bytes { max: None }, text("ff"), None),
            (stamp(true, 6), text("2024-02-29T12:00:00.123456Z"), Some(text("2024-02-29T12:00:00.123456Z"))),
            (stamp(true, 3), text("2024-02-29T12:00:00.123456Z"), None),
            (stamp(true, 6), text("2024-02-29T12:00:00"), None),
            (
                Kind::Uuid,
                text("A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11"),
                Some(text("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11")),
            ),
            (Kind::Json, text("x"), Some(Value::Json(json!("x")))),
            (Kind::List(Box::new(int(16, true))), Value::Json(json!([1, null])), Some(Value::Json(json!([1, null])))),
            (Kind::List(Box::new(int(16, true))), Value::Json(json!([70000])), None),
            (Kind::Bool, Value::Int(2), None),
        ] {
            assert_eq!(taken(&kind, &given).ok(), wanted, "{given:?} into {kind:?}");
        }
    }
}
