//! JSON documents as others keep them: their numbers can have more digits than a document in memory.
//! Must never enter: whose document it is.

use super::Decimal;
use serde_json::{Number, Value as Json, value::RawValue};
use std::collections::BTreeMap;

/// The document that this text says.
///
/// # Errors
/// A fragment that fits after "holds": it is none, or a number in it would be rounded.
pub fn parse(text: &str) -> Result<Json, String> {
    let wrong = |error| format!("no JSON document: {error}");
    if numbers(text).all(is_plain) {
        return serde_json::from_str(text).map_err(wrong);
    }
    exact(serde_json::from_str(text).map_err(wrong)?)
}

/// The number that this text says.
///
/// # Errors
/// It would be rounded.
fn number(text: &str) -> Result<Number, String> {
    if let Ok(whole) = text.parse::<i64>() {
        return Ok(whole.into());
    }
    if let Ok(whole) = text.parse::<u64>() {
        return Ok(whole.into());
    }
    let read = text.parse().ok().and_then(Number::from_f64);
    let same = |number: &Number| Decimal::parse(&number.to_string()) == Decimal::parse(text);
    read.filter(same)
        .ok_or_else(|| format!("a document with the number {}, which would be rounded", &text[..text.len().min(60)]))
}

/// Reads a document part by part: the usual reader takes a long number for one of its neighbours.
fn exact(part: &RawValue) -> Result<Json, String> {
    let text = part.get();
    let wrong = |error| format!("no JSON document: {error}");
    match text.as_bytes().first() {
        Some(b'{') => {
            let fields: BTreeMap<String, &RawValue> = serde_json::from_str(text).map_err(wrong)?;
            let fields = fields.into_iter().map(|(name, part)| Ok((name, exact(part)?)));
            fields.collect::<Result<serde_json::Map<_, _>, String>>().map(Into::into)
        }
        Some(b'[') => {
            let items: Vec<&RawValue> = serde_json::from_str(text).map_err(wrong)?;
            items.into_iter().map(exact).collect::<Result<Vec<_>, _>>().map(Into::into)
        }
        Some(b'-' | b'0'..=b'9') => number(text).map(Into::into),
        _ => serde_json::from_str(text).map_err(wrong),
    }
}

/// The numbers of a well-formed document.
fn numbers(text: &str) -> impl Iterator<Item = &str> {
    let bytes = text.as_bytes();
    let mut at = 0;
    std::iter::from_fn(move || {
        while at < bytes.len() {
            match bytes[at] {
                b'"' => {
                    at += 1;
                    while at < bytes.len() && bytes[at] != b'"' {
                        at += if bytes[at] == b'\\' { 2 } else { 1 };
                    }
                }
                b'-' | b'0'..=b'9' => {
                    let begins = at;
                    while at < bytes.len() && b"+-.eE0123456789".contains(&bytes[at]) {
                        at += 1;
                    }
                    return text.get(begins..at);
                }
                _ => {}
            }
            at += 1;
        }
        None
    })
}

/// The usual reader takes it for what it is: fifteen digits are exact in any binary number that is not far out.
fn is_plain(number: &str) -> bool {
    number.len() <= 15 && !number.contains(['e', 'E'])
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_document_survives_or_is_refused() {
        assert_eq!(parse(r#"{"a":[1,"1e999 \" 12345678901234567890123",-0.5]}"#).unwrap()["a"][0], json!(1));
        assert_eq!(parse("18446744073709551615").unwrap(), json!(u64::MAX));
        assert_eq!(parse("0.1000000000000000055511151231257827").ok(), None);
        assert_eq!(parse("1e2").unwrap(), json!(100.0));
        assert_eq!(parse(r#"{"a": [-916349.3182948179]}"#).unwrap()["a"][0].to_string(), "-916349.3182948179");
        for wrong in ["[1, 123456789012345678901234567890]", "{\"a\": 0.12345678901234567890}", "{", "1e400"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
