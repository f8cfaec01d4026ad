//! JSON documents as others keep them: their numbers can have more digits than a document in memory, and most are so plain
//! that their canonical text can be told without one.
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

/// Goes on with the document's text as [`Value::to_text`](super::Value::to_text) has it of what [`parse`] reads, if it is a
/// plain one: no letter with a backslash, no long or odd number, no name twice. `false` otherwise: then nothing was added.
pub fn tell(text: &str, out: &mut Vec<u8>) -> bool {
    let begins = out.len();
    let mut rest = Plain { text: text.as_bytes(), at: 0 };
    let told = rest.value(out, DEEPEST).is_some() && rest.next().is_none();
    if !told {
        out.truncate(begins);
    }
    told
}

/// Lists and objects within each other, at most, in a plain document.
const DEEPEST: u32 = 64;

/// What is still to be read of a plain document. Everything gives `None` where it is not plain.
struct Plain<'t> {
    text: &'t [u8],
    at: usize,
}

impl Plain<'_> {
    /// The next byte that is no blank; it is not taken.
    fn next(&mut self) -> Option<u8> {
        let blank = |byte: &&u8| matches!(**byte, b' ' | b'\n' | b'\r' | b'\t');
        self.at += self.text.get(self.at..)?.iter().take_while(blank).count();
        self.text.get(self.at).copied()
    }

    fn take(&mut self, wanted: u8) -> Option<()> {
        (self.next()? == wanted).then(|| self.at += 1)
    }

    fn value(&mut self, out: &mut Vec<u8>, deep: u32) -> Option<()> {
        match self.next()? {
            b'{' => self.object(out, deep.checked_sub(1)?),
            b'[' => self.list(out, deep.checked_sub(1)?),
            b'"' => self.string(out),
            b'-' | b'0'..=b'9' => self.number(out),
            _ => {
                let rest = &self.text[self.at..];
                let word = [&b"true"[..], b"false", b"null"].into_iter().find(|word| rest.starts_with(word))?;
                self.at += word.len();
                out.extend_from_slice(word);
                Some(())
            }
        }
    }

    /// A string, with its quotes.
    fn string(&mut self, out: &mut Vec<u8>) -> Option<()> {
        self.take(b'"')?;
        let rest = &self.text[self.at..];
        let length = rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..b' '))?;
        if rest[length] != b'"' {
            return None;
        }
        out.push(b'"');
        out.extend_from_slice(&rest[..=length]);
        self.at += length + 1;
        Some(())
    }

    /// A number whose text is the shortest one of its value: at most fifteen digits, and none that say nothing.
    fn number(&mut self, out: &mut Vec<u8>) -> Option<()> {
        let rest = &self.text[self.at..];
        let in_number = |byte: &&u8| matches!(**byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E');
        let length = rest.iter().take_while(in_number).count();
        let text = &rest[..length];
        let digits = text.strip_prefix(b"-").unwrap_or(text);
        let point = digits.iter().position(|byte| *byte == b'.');
        let (whole, fraction) = digits.split_at(point.unwrap_or(digits.len()));
        let plain = match (whole, fraction) {
            (b"0", []) => text.len() == 1,
            ([b'1'..=b'9', ..], []) => true,
            (b"0", [_, b'1'..=b'9', ..]) | ([b'1'..=b'9', ..], [_, _, ..]) => fraction.last() != Some(&b'0'),
            _ => false,
        };
        let decimal = whole.iter().chain(fraction.iter().skip(1)).all(u8::is_ascii_digit);
        if !plain || !decimal || digits.len() > 15 {
            return None;
        }
        out.extend_from_slice(text);
        self.at += length;
        Some(())
    }

    fn list(&mut self, out: &mut Vec<u8>, deep: u32) -> Option<()> {
        self.take(b'[')?;
        out.push(b'[');
        if self.take(b']').is_none() {
            loop {
                self.value(out, deep)?;
                if self.take(b',').is_none() {
                    break;
                }
                out.push(b',');
            }
            self.take(b']')?;
        }
        out.push(b']');
        Some(())
    }

    fn object(&mut self, out: &mut Vec<u8>, deep: u32) -> Option<()> {
        self.take(b'{')?;
        out.push(b'{');
        let begins = out.len();
        // Where each field's name ends and its value does.
        let mut ends: Vec<(usize, usize)> = Vec::new();
        if self.take(b'}').is_none() {
            loop {
                self.next().filter(|byte| *byte == b'"')?;
                self.string(out)?;
                let name = out.len();
                self.take(b':')?;
                out.push(b':');
                self.value(out, deep)?;
                ends.push((name, out.len()));
                if self.take(b',').is_none() {
                    break;
                }
                out.push(b',');
            }
            self.take(b'}')?;
        }
        if ends.len() > 1 {
            in_order(out, begins, &ends)?;
        }
        out.push(b'}');
        Some(())
    }
}

/// Brings the fields that stand behind `begins`, parted by commas, in the order of their names. `None` if two have the same.
fn in_order(out: &mut Vec<u8>, begins: usize, ends: &[(usize, usize)]) -> Option<()> {
    let starts = std::iter::once(begins).chain(ends.iter().map(|(_, end)| end + 1));
    // Without its last quote, a name is not behind one that goes on where it ends.
    let field = |(start, (name, end)): (usize, &(usize, usize))| (start..name - 1, start..*end);
    let mut fields: Vec<_> = starts.zip(ends).map(field).collect();
    if fields.windows(2).all(|pair| out[pair[0].0.clone()] < out[pair[1].0.clone()]) {
        return Some(());
    }
    fields.sort_by(|one, other| out[one.0.clone()].cmp(&out[other.0.clone()]));
    if fields.windows(2).any(|pair| out[pair[0].0.clone()] == out[pair[1].0.clone()]) {
        return None;
    }
    let mut sorted = Vec::with_capacity(out.len() - begins);
    for (_, whole) in fields {
        if !sorted.is_empty() {
            sorted.push(b',');
        }
        sorted.extend_from_slice(&out[whole]);
    }
    out.truncate(begins);
    out.extend_from_slice(&sorted);
    Some(())
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
