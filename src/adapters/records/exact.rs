//! Values out of JSON text, exactly as the text says them, and values into it. Pure.
//!
//! A JSON parser that makes numbers of 64 bits of everything would round what a database keeps exactly. So each field is
//! found as the text it is, and a number becomes the narrowest value that says the same: `Int`, `Float` if the text
//! survives it, else `Decimal`. Must never enter: where rows stand in an answer.

use crate::model::{Decimal, Record, Value, document};
use serde::{
    Deserialize, Deserializer,
    de::{Error as _, MapAccess, Visitor},
};
use serde_json::value::RawValue;
use std::{collections::BTreeMap, fmt};

/// Digits that every number of 64 binary digits keeps.
const SAFE_DIGITS: usize = 15;

/// A record as it stands in an answer.
pub(super) struct Row(pub(super) Record);

impl<'de> Deserialize<'de> for Row {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Fields)
    }
}

struct Fields;

impl<'de> Visitor<'de> for Fields {
    type Value = Row;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object for each row")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Row, A::Error> {
        let mut fields = BTreeMap::new();
        while let Some(name) = map.next_key::<String>()? {
            let raw: &RawValue = map.next_value()?;
            let value = value(raw.get()).map_err(|why| A::Error::custom(format!("the field `{name}` holds {why}")))?;
            fields.insert(name, value);
        }
        Ok(Row(Record(fields)))
    }
}

/// The value that a JSON text says; a fragment that fits after "holds" if nothing here can hold it.
pub(super) fn value(text: &str) -> Result<Value, String> {
    match text.as_bytes().first() {
        Some(b'n') => Ok(Value::Null),
        Some(b't') => Ok(Value::Bool(true)),
        Some(b'f') => Ok(Value::Bool(false)),
        Some(b'"') => match text.get(1..text.len() - 1) {
            Some(plain) if !plain.contains('\\') => Ok(Value::Text(plain.to_owned())),
            _ => serde_json::from_str(text).map(Value::Text).map_err(|error| format!("no text: {error}")),
        },
        Some(b'{' | b'[') => document::parse(text).map(Value::Json),
        _ => number(text).ok_or_else(|| "a number with more digits than any store keeps".to_owned()),
    }
}

fn number(text: &str) -> Option<Value> {
    if let Ok(whole) = text.parse() {
        return Some(Value::Int(whole));
    }
    match float(text) {
        Some(float) => Some(Value::Float(float)),
        None => Decimal::parse(text).map(Value::Decimal),
    }
}

/// The binary number that says the same as this text, for a text that is no whole number in digits alone.
fn float(text: &str) -> Option<f64> {
    let mut digits = 0;
    let (mut point, mut exponent) = (false, false);
    for byte in text.bytes() {
        match byte {
            b'0'..=b'9' => digits += 1,
            b'.' => point = true,
            b'e' | b'E' => exponent = true,
            _ => {}
        }
    }
    if !point && !exponent {
        return None;
    }
    let float: f64 = text.parse().ok()?;
    // Whoever writes a binary number writes its shortest text, as a rule in just this form.
    let survives = (digits <= SAFE_DIGITS && !exponent)
        || float.is_finite() && {
            // Of two shortest ones they take the one that ends evenly, which the formatter of the language does not.
            let shortest = Value::Float(float).to_text();
            shortest == text || Decimal::parse(text).is_some_and(|said| Decimal::parse(&shortest) == Some(said))
        };
    survives.then_some(float)
}

/// Writes a record as a JSON object.
pub(super) fn write(out: &mut Vec<u8>, record: &Record) -> serde_json::Result<()> {
    out.push(b'{');
    for (place, (name, value)) in record.0.iter().enumerate() {
        if place > 0 {
            out.push(b',');
        }
        serde_json::to_writer(&mut *out, name)?;
        out.push(b':');
        match value {
            Value::Text(text) => serde_json::to_writer(&mut *out, text)?,
            Value::Json(json) => serde_json::to_writer(&mut *out, json)?,
            value => serde_json::to_writer(&mut *out, &value.to_json())?,
        }
    }
    out.push(b'}');
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn decimal(text: &str) -> Value {
        Value::Decimal(Decimal::parse(text).unwrap())
    }

    #[test]
    fn a_number_is_what_its_text_says() {
        for (text, wanted) in [
            ("0", Value::Int(0)),
            ("-9223372036854775808", Value::Int(i64::MIN)),
            ("9007199254740993", Value::Int(9_007_199_254_740_993)),
            ("9223372036854775808", decimal("9223372036854775808")),
            ("-170141183460469231731687303715884105729", decimal("-170141183460469231731687303715884105729")),
            ("0.5", Value::Float(0.5)),
            ("1.0", Value::Float(1.0)),
            ("0.1", Value::Float(0.1)),
            ("1e2", Value::Float(100.0)),
            ("12345678901234567890.12", decimal("12345678901234567890.12")),
            ("0.1234567890123456789", decimal("0.1234567890123456789")),
            ("1e400", Decimal::parse("1e400").map(Value::Decimal).unwrap()),
            ("1.7976931348623157e308", Value::Float(f64::MAX)),
            ("0.30000000000000004", Value::Float(0.1 + 0.2)),
            ("117909971183574.12", Value::Float(117_909_971_183_574.12)),
            ("117909971183574.13", decimal("117909971183574.13")),
        ] {
            assert_eq!(value(text).unwrap(), wanted, "{text}");
        }
        assert!(value("1e99999999").unwrap_err().contains("digits"));
    }

    #[test]
    fn a_document_whose_numbers_would_be_rounded_is_named() {
        assert_eq!(
            value(r#"{"a": [1, 2.5, "1e999", 9007199254740993]}"#).unwrap(),
            Value::Json(json!({"a": [1, 2.5, "1e999", 9_007_199_254_740_993_i64]}))
        );
        assert_eq!(value("[18446744073709551615]").unwrap(), Value::Json(json!([u64::MAX])));
        for (text, number) in [
            ("[18446744073709551616]", "18446744073709551616"),
            (r#"{"\"": {"x": 0.1234567890123456789}}"#, "0.1234567890123456789"),
            ("[1e400]", "1e400"),
        ] {
            assert!(value(text).unwrap_err().contains(number), "{text}");
        }
    }

    #[test]
    fn texts_with_and_without_escapes() {
        assert_eq!(value(r#""näme""#).unwrap(), Value::Text("näme".into()));
        assert_eq!(value(r#""a\"\u0000\ud83d\ude00""#).unwrap(), Value::Text("a\"\0\u{1F600}".into()));
        assert_eq!(value(r#""""#).unwrap(), Value::Text(String::new()));
        assert!(value(r#""\ud83d""#).is_err(), "half a character");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(text in ".*", whole in any::<i64>(), float in any::<f64>().prop_filter("finite", |f| f.is_finite())) {
            let values = [Value::Text(text.clone()), Value::Int(whole), Value::Json(json!([text, whole])), Value::Float(float), Value::Null, Value::Bool(true)];
            let record = Record(values.into_iter().enumerate().map(|(place, value)| (format!("f\"{place}"), value)).collect());
            let mut out = Vec::new();
            write(&mut out, &record).unwrap();
            let Row(read) = serde_json::from_slice(&out).unwrap();
            prop_assert_eq!(read, record);
        }
    }
}
