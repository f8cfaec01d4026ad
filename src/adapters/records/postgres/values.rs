//! Values into the text that `PostgreSQL` reads and writes under the settings of our sessions, and out of it.

use super::times;
use crate::model::{Decimal, Kind, Value, document};
use serde_json::Value as Json;
use std::borrow::Cow;

/// The kind that a type of the catalog stands for. `modifier` is its length or precision as the catalog has it, `of` the
/// type of an array's elements.
pub(super) fn kind(name: &str, modifier: i32, of: Option<&str>) -> Kind {
    if let Some(of) = of {
        return Kind::List(Box::new(kind(of, modifier, None)));
    }
    let fraction = u8::try_from(modifier).unwrap_or(6);
    // The modifier of a text is its length and four more, that of a number its digits and scale and four more.
    let length = u64::try_from(modifier - 4).ok();
    match name {
        "bool" => Kind::Bool,
        "int2" => Kind::Int { bits: 16, signed: true },
        "int4" => Kind::Int { bits: 32, signed: true },
        "int8" => Kind::Int { bits: 64, signed: true },
        "oid" => Kind::Int { bits: 32, signed: false },
        "float4" => Kind::Float { bits: 32 },
        "float8" => Kind::Float { bits: 64 },
        "numeric" => numeric(modifier),
        "bytea" => Kind::Bytes { max: None },
        "date" => Kind::Date,
        "time" => Kind::Time { fraction },
        "timestamp" => Kind::Timestamp { zone: false, fraction },
        "timestamptz" => Kind::Timestamp { zone: true, fraction },
        "uuid" => Kind::Uuid,
        "json" | "jsonb" => Kind::Json,
        "varchar" | "bpchar" => Kind::Text { max: length, nul: false },
        _ => Kind::Text { max: None, nul: false },
    }
}

fn numeric(modifier: i32) -> Kind {
    if modifier < 4 {
        return Kind::Decimal { digits: None, scale: None };
    }
    let (digits, scale) = ((modifier - 4) >> 16, (modifier - 4) & 0x7ff);
    // Eleven bits, of which one is the sign: a number can be kept in tens and hundreds only.
    let scale = if scale >= 0x400 { scale - 0x800 } else { scale };
    let small = |number: i32| u16::try_from(number).ok();
    Kind::Decimal { digits: small(digits - scale.min(0)), scale: small(scale.max(0)) }
}

/// The value that the server's text says.
///
/// # Errors
/// Says why it cannot be carried exactly.
pub(super) fn read(kind: &Kind, text: Cow<'_, str>) -> Result<Value, String> {
    let wrong = |text: &str| format!("`{text}` is no {kind:?}");
    Ok(match kind {
        Kind::Bool => Value::Bool(&*text == "t" || &*text == "true"),
        Kind::Int { .. } => Value::Int(text.parse().map_err(|_| wrong(&text))?),
        Kind::Float { bits } => {
            // A short number is the one nearest to its text among the short ones.
            let number = match bits {
                32 => text.parse::<f32>().map(f64::from),
                _ => text.parse::<f64>(),
            };
            match number {
                Ok(number) if number.is_finite() => Value::Float(number),
                _ => Value::Text(text.into_owned()),
            }
        }
        Kind::Decimal { .. } => Decimal::parse(&text).map_or_else(|| Value::Text(text.into_owned()), Value::Decimal),
        Kind::Bytes { .. } => {
            let digits = text.strip_prefix("\\x").ok_or_else(|| wrong("bytes"))?;
            Value::Bytes(hex::decode(digits).map_err(|_| wrong("bytes"))?)
        }
        Kind::Date | Kind::Time { .. } | Kind::Timestamp { .. } => {
            let said = times::from_postgres(&text).ok_or_else(|| wrong(&text))?;
            kind.take(Value::Text(said)).map_err(|misfit| misfit.to_string())?
        }
        Kind::Json => Value::Json(document::parse(&text)?),
        Kind::List(of) => Value::Json(array(of, &text)?),
        Kind::Text { .. } | Kind::Uuid | Kind::Any => Value::Text(text.into_owned()),
    })
}

/// The text of a value that has its kind's form; `None` for null.
pub(super) fn write<'v>(kind: &Kind, value: &'v Value) -> Option<Cow<'v, str>> {
    Some(match value {
        Value::Null => return None,
        Value::Bool(yes) => Cow::Borrowed(if *yes { "t" } else { "f" }),
        Value::Int(number) => number.to_string().into(),
        Value::Float(number) => format!("{number:e}").into(),
        Value::Decimal(number) => number.as_str().into(),
        Value::Text(text) if matches!(kind, Kind::Date | Kind::Timestamp { .. }) => times::to_postgres(text).into(),
        Value::Text(text) => text.as_str().into(),
        Value::Bytes(bytes) => format!("\\x{}", hex::encode(bytes)).into(),
        Value::Json(Json::Array(items)) if let Kind::List(of) = kind => braced(of, items).into(),
        Value::Json(json) => json.to_string().into(),
    })
}

/// A list as the server reads it: every element in quotes.
fn braced(of: &Kind, items: &[Json]) -> String {
    let one = |item: &Json| match item {
        Json::Null => "NULL".to_owned(),
        Json::Array(items) if !matches!(of, Kind::Json) => braced(of, items),
        item => {
            let value = match of {
                Kind::Json => Value::Json(item.clone()),
                _ => Value::from_json(item.clone()),
            };
            let text = write(of, &value).unwrap_or_default();
            format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
        }
    };
    format!("{{{}}}", items.iter().map(one).collect::<Vec<_>>().join(","))
}

/// The list that the server's text says.
fn array(of: &Kind, text: &str) -> Result<Json, String> {
    if text.starts_with('[') {
        return Err("a list that does not begin at 1 cannot be carried".into());
    }
    let mut letters = text.chars().peekable();
    let list = items(of, &mut letters)?;
    if letters.next().is_some() { Err(format!("`{text}` is no list")) } else { Ok(list) }
}

fn items(of: &Kind, letters: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Result<Json, String> {
    let cut = || "a list is cut short".to_owned();
    if letters.next() != Some('{') {
        return Err(cut());
    }
    let mut list = Vec::new();
    loop {
        match letters.peek().copied().ok_or_else(cut)? {
            '}' => {
                letters.next();
                return Ok(list.into());
            }
            ',' => {
                letters.next();
            }
            '{' => list.push(items(of, letters)?),
            first => {
                let quoted = first == '"';
                let text = item(quoted, letters).ok_or_else(cut)?;
                list.push(match text.as_str() {
                    "NULL" if !quoted => Json::Null,
                    _ => read(of, text.into())?.to_json(),
                });
            }
        }
    }
}

fn item(quoted: bool, letters: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<String> {
    let mut text = String::new();
    if quoted {
        letters.next();
    }
    loop {
        match letters.peek()? {
            '"' if quoted => {
                letters.next();
                return Some(text);
            }
            ',' | '}' if !quoted => return Some(text),
            _ => match letters.next()? {
                '\\' => text.push(letters.next()?),
                letter => text.push(letter),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn types_of_the_catalog_become_kinds() {
        let numeric = |digits: i32, scale: i32| ((digits << 16) | (scale & 0x7ff)) + 4;
        let decimal = |digits, scale| Kind::Decimal { digits, scale };
        assert_eq!(kind("numeric", -1, None), decimal(None, None));
        assert_eq!(kind("numeric", numeric(10, 2), None), decimal(Some(10), Some(2)));
        assert_eq!(kind("numeric", numeric(3, -2), None), decimal(Some(5), Some(0)));
        assert_eq!(kind("varchar", 259, None), Kind::Text { max: Some(255), nul: false });
        assert_eq!(kind("timestamptz", 3, None), Kind::Timestamp { zone: true, fraction: 3 });
        assert_eq!(kind("_int4", -1, Some("int4")), Kind::List(Box::new(Kind::Int { bits: 32, signed: true })));
        assert_eq!(kind("mood", -1, None), Kind::Text { max: None, nul: false });
    }

    #[test]
    fn lists_survive_both_ways() {
        let text = Kind::Text { max: None, nul: false };
        let list = Kind::List(Box::new(text));
        for json in [json!([]), json!(["a", null, "NULL", "", "x,\"y\\ }{"]), json!([["a", "b"], ["c", null]])] {
            let value = Value::Json(json);
            let written = write(&list, &value).unwrap().into_owned();
            assert_eq!(read(&list, written.as_str().into()).unwrap(), value, "{written}");
        }
        let numbers = Kind::List(Box::new(Kind::Decimal { digits: None, scale: None }));
        assert_eq!(read(&numbers, "{1.50,-2}".into()).unwrap(), Value::Json(json!(["1.5", "-2"])));
        for wrong in ["{1", "[0:1]={1,2}", "{1}}", "1"] {
            assert!(read(&numbers, wrong.into()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn short_numbers_keep_their_bits() {
        let short = Kind::Float { bits: 32 };
        let Value::Float(number) = read(&short, "1.1".into()).unwrap() else { panic!() };
        assert_eq!(number.to_bits(), f64::from(1.1_f32).to_bits());
        let written = write(&short, &Value::Float(number)).unwrap().into_owned();
        assert_eq!(written.parse::<f32>().unwrap().to_bits(), 1.1_f32.to_bits());
        assert_eq!(read(&short, "-Infinity".into()).unwrap(), Value::Text("-Infinity".into()));
    }
}
