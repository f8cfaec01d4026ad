//! Records and their values, and the digest by which two sides compare them.
//!
//! A value is what a store can hold, not what a wire format can: adapters translate at their edge.

use super::Decimal;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::{collections::BTreeMap, fmt, io};

/// One value of a record. Which form a value of which kind of field takes says [`Kind`](super::Kind)'s room.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Nothing; not the same as an empty text.
    Null,
    /// Yes or no.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A binary floating-point number.
    Float(f64),
    /// An exact number that is no whole number of 64 bits.
    Decimal(Decimal),
    /// Unicode text, and dates, times and identifiers.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
    /// A list or an object; the order of an object's keys carries no meaning.
    Json(serde_json::Value),
}

impl Value {
    /// The value a JSON document stands for. Whole numbers beyond 64 bits stay JSON, so that no digit is lost.
    #[must_use]
    pub fn from_json(json: serde_json::Value) -> Self {
        match json {
            serde_json::Value::Null => Self::Null,
            serde_json::Value::Bool(b) => Self::Bool(b),
            serde_json::Value::Number(n) => match (n.as_i64(), n.as_f64()) {
                (Some(i), _) => Self::Int(i),
                (None, Some(f)) if n.is_f64() => Self::Float(f),
                _ => Self::Json(serde_json::Value::Number(n)),
            },
            serde_json::Value::String(s) => Self::Text(s),
            other => Self::Json(other),
        }
    }

    /// The value as a JSON document. JSON has neither exact decimals nor bytes: they become their text, which every store
    /// takes for a field of that kind.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        match self {
            Self::Null => serde_json::Value::Null,
            Self::Bool(b) => (*b).into(),
            Self::Int(i) => (*i).into(),
            Self::Float(f) => serde_json::Number::from_f64(*f).map_or(serde_json::Value::Null, Into::into),
            Self::Decimal(d) => d.as_str().into(),
            Self::Text(s) => s.clone().into(),
            Self::Bytes(b) => format!("\\x{}", hex::encode(b)).into(),
            Self::Json(j) => j.clone(),
        }
    }

    /// The value as a person reads it and as a key is compared: text without quotes, JSON in canonical order.
    #[must_use]
    pub fn to_text(&self) -> String {
        match self {
            Self::Null => "null".to_owned(),
            Self::Bool(b) => b.to_string(),
            Self::Int(i) => i.to_string(),
            Self::Float(_) => self.to_json().to_string(),
            Self::Text(s) => s.clone(),
            Self::Decimal(d) => d.to_string(),
            Self::Bytes(b) => format!("\\x{}", hex::encode(b)),
            Self::Json(json) => canonical(json),
        }
    }
}

impl Serialize for Value {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Bool(b) => serializer.serialize_bool(*b),
            Self::Int(i) => serializer.serialize_i64(*i),
            Self::Text(s) => serializer.serialize_str(s),
            Self::Decimal(d) => serializer.serialize_str(d.as_str()),
            Self::Json(json) => json.serialize(serializer),
            Self::Null | Self::Float(_) | Self::Bytes(_) => self.to_json().serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        serde_json::Value::deserialize(deserializer).map(Self::from_json)
    }
}

/// JSON text with object keys sorted, so that equal documents have equal text.
fn canonical(json: &serde_json::Value) -> String {
    let mut text = String::new();
    write_canonical(json, &mut text);
    text
}

fn write_canonical(json: &serde_json::Value, text: &mut String) {
    match json {
        serde_json::Value::Object(map) => {
            let mut fields: Vec<_> = map.iter().collect();
            fields.sort_unstable_by_key(|(name, _)| *name);
            text.push('{');
            for (place, (name, value)) in fields.into_iter().enumerate() {
                text.push_str(if place > 0 { "," } else { "" });
                quote(name, text);
                text.push(':');
                write_canonical(value, text);
            }
            text.push('}');
        }
        serde_json::Value::Array(items) => {
            text.push('[');
            for (place, item) in items.iter().enumerate() {
                text.push_str(if place > 0 { "," } else { "" });
                write_canonical(item, text);
            }
            text.push(']');
        }
        serde_json::Value::String(said) => quote(said, text),
        other => text.push_str(&other.to_string()),
    }
}

/// Goes on with this as a JSON text.
fn quote(said: &str, text: &mut String) {
    if said.bytes().all(|byte| byte >= b' ' && byte != b'"' && byte != b'\\') {
        text.push('"');
        text.push_str(said);
        text.push('"');
    } else {
        text.push_str(&serde_json::Value::from(said).to_string());
    }
}

/// A record's key, as canonical text: two keys are the same record exactly if their texts are equal.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Key(pub String);

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// One record: fields by name.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Record(pub BTreeMap<String, Value>);

impl Record {
    /// The value of a field, if the record has it.
    #[must_use]
    pub fn get(&self, field: &str) -> Option<&Value> {
        self.0.get(field)
    }

    /// The record's key; `None` if the field is missing or null.
    #[must_use]
    pub fn key(&self, field: &str) -> Option<Key> {
        match self.get(field) {
            None | Some(Value::Null) => None,
            Some(value) => Some(Key(value.to_text())),
        }
    }

    /// The field as text; `None` if missing or null.
    #[must_use]
    pub fn text(&self, field: &str) -> Option<String> {
        self.key(field).map(|key| key.0)
    }

    /// The record as a JSON object.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        self.0.iter().map(|(name, value)| (name.clone(), value.to_json())).collect::<serde_json::Map<_, _>>().into()
    }

    /// The record a JSON object stands for; `None` for any other document.
    #[must_use]
    pub fn from_json(json: serde_json::Value) -> Option<Self> {
        match json {
            serde_json::Value::Object(map) => {
                Some(Self(map.into_iter().map(|(name, value)| (name, Value::from_json(value))).collect()))
            }
            _ => None,
        }
    }

    /// Bytes of the record as a JSON text.
    #[must_use]
    pub fn weight(&self) -> u64 {
        let mut count = Count(0);
        // Counting does not fail, and neither does a value of ours.
        let _counted = serde_json::to_writer(&mut count, self);
        count.0
    }

    /// SHA-256 over the canonical text of all fields, in field order.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest(Sha256::digest(canonical(&self.to_json()).as_bytes()).into())
    }
}

/// Counts what is written.
struct Count(u64);

impl io::Write for Count {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A digest of 256 bits: SHA-256 of bytes, BLAKE3 of records.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// SHA-256 of these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// The digest written as 64 hexadecimal digits; `None` for any other text.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).ok().map(|()| Self(bytes))
    }

    /// 64 lower-case hexadecimal digits.
    #[must_use]
    pub fn to_hex(self) -> String {
        hex::encode(self.0)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_hex())
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.to_hex())
    }
}

impl Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.to_hex())
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::from_hex(&text).ok_or_else(|| serde::de::Error::custom("a SHA-256 is 64 hexadecimal digits"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_float_survives_the_text_of_a_document(bits: u64) {
            let number = f64::from_bits(bits);
            prop_assume!(number.is_finite());
            for value in [Value::Float(number), Value::Json(serde_json::json!([{ "n": number }]))] {
                let text = value.to_json().to_string();
                let read = Value::from_json(serde_json::from_str(&text).expect("a document"));
                prop_assert_eq!(read, value, "{}", text);
            }
        }
    }
}
