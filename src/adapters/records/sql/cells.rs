//! Values as cells, for databases that have no text of their own for whole rows: a letter for the form of a value, and the
//! value's text behind it. Pure.

use crate::{
    model::{Decimal, Field, Kind, Value, document},
    ports::{Block, BlockPage, Dialect, NULL_CELL, Page, plain_text, push_cell, push_text},
};
use std::{borrow::Borrow, sync::Arc};

/// The letter for the form of a value; none for null.
const fn letter(value: &Value) -> Option<u8> {
    Some(match value {
        Value::Null => return None,
        Value::Bool(_) => b'b',
        Value::Int(_) => b'i',
        Value::Float(_) => b'f',
        Value::Decimal(_) => b'd',
        Value::Text(_) => b't',
        Value::Bytes(_) => b'x',
        Value::Json(_) => b'j',
    })
}

/// The letter of the values of this kind; none where they can have several forms.
const fn letter_of(kind: &Kind) -> Option<u8> {
    Some(match kind {
        Kind::Bool => b'b',
        Kind::Int { .. } => b'i',
        Kind::Float { .. } => b'f',
        Kind::Decimal { .. } => b'd',
        Kind::Text { .. } => b't',
        Kind::Bytes { .. } => b'x',
        Kind::Json => b'j',
        _ => return None,
    })
}

/// Writes the cell of a value.
pub(in super::super) fn push(line: &mut Vec<u8>, value: &Value) {
    let Some(letter) = letter(value) else { return line.extend_from_slice(NULL_CELL) };
    line.push(letter);
    match value {
        Value::Text(text) => push_cell(line, Some(text)),
        value => push_cell(line, Some(&value.to_text())),
    }
}

/// Writes the cell of the value of this kind that has this text; `false` if the text does not say all.
pub(in super::super) fn push_told(line: &mut Vec<u8>, kind: &Kind, text: &[u8]) -> bool {
    let Some(letter) = letter_of(kind) else { return false };
    line.push(letter);
    push_text(line, text);
    true
}

/// The value that a cell says.
///
/// # Errors
/// In words: it says none.
pub(in super::super) fn read(said: &[u8]) -> Result<Value, String> {
    value(said).ok_or_else(|| "a cell that says no value".to_owned())
}

fn value(said: &[u8]) -> Option<Value> {
    let (letter, rest) = said.split_first()?;
    let text = plain_text(rest);
    let text = std::str::from_utf8(&text).ok()?;
    Some(match letter {
        b'b' => Value::Bool(text == "true"),
        b'i' => Value::Int(text.parse().ok()?),
        b'f' => Value::Float(text.parse().ok()?),
        b'd' => Value::Decimal(Decimal::parse(text)?),
        b't' => Value::Text(text.to_owned()),
        b'x' => Value::Bytes(hex::decode(text.strip_prefix("\\x")?).ok()?),
        b'j' => Value::Json(document::parse(text).ok()?),
        _ => return None,
    })
}

/// Goes on with the text of a cell, if its value has this kind's form; `false` otherwise.
fn tell(kind: &Kind, said: &[u8], text: &mut Vec<u8>) -> bool {
    match said.split_first() {
        Some((letter, rest)) if letter_of(kind) == Some(*letter) => {
            text.extend_from_slice(&plain_text(rest));
            true
        }
        _ => false,
    }
}

/// The text of a list or an object.
pub(in super::super) fn document_text(cell: &[u8]) -> Option<String> {
    let text = cell.strip_prefix(b"j").filter(|text| text.starts_with(b"{") || text.starts_with(b"["))?;
    String::from_utf8(plain_text(text).into_owned()).ok()
}

/// Lines of such cells, in a dialect of this name.
#[derive(Debug)]
pub(in super::super) struct Lettered(pub(in super::super) &'static str);

impl Dialect for Lettered {
    fn name(&self) -> &'static str {
        self.0
    }

    fn value(&self, _kind: &Kind, said: &[u8]) -> Result<Value, String> {
        read(said)
    }

    fn tell(&self, kind: &Kind, said: &[u8], text: &mut Vec<u8>) -> bool {
        tell(kind, said, text)
    }
}

impl Lettered {
    /// A page of records as a block with these columns.
    ///
    /// # Errors
    /// In words: there is more than a block can hold.
    pub(in super::super) fn page(&'static self, columns: &Arc<[Field]>, page: &Page) -> Result<BlockPage, String> {
        let rows = page.records.iter().map(|record| {
            columns.iter().map(|column| Ok::<_, String>(record.get(&column.name).unwrap_or(&Value::Null)))
        });
        let block = self.block(Arc::clone(columns), rows)?;
        Ok(BlockPage { block, next: page.next.clone(), total: page.total, as_of: page.as_of })
    }

    /// Rows as a block with these columns.
    ///
    /// # Errors
    /// In words: what a value says, or there is more than a block can hold.
    pub(in super::super) fn block<R, V>(
        &'static self,
        columns: Arc<[Field]>,
        rows: impl Iterator<Item = R>,
    ) -> Result<Block, String>
    where
        R: Iterator<Item = Result<V, String>>,
        V: Borrow<Value>,
    {
        let (mut bytes, mut ends) = (Vec::new(), Vec::new());
        for row in rows {
            for (n, value) in row.enumerate() {
                if n > 0 {
                    bytes.push(b'\t');
                }
                push(&mut bytes, value?.borrow());
            }
            bytes.push(b'\n');
            ends.push(u32::try_from(bytes.len()).map_err(|_| "a page of more than 4 GiB")?);
        }
        Ok(Block { dialect: self, columns, bytes: bytes.into(), ends })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_value_survives_a_cell() {
        let all = [
            (Value::Null, Kind::Bool),
            (Value::Bool(true), Kind::Bool),
            (Value::Int(i64::MIN), Kind::Int { bits: 64, signed: true }),
            (Value::Float(0.1 + 0.2), Kind::Float { bits: 64 }),
            (Value::Float(-1e300), Kind::Float { bits: 64 }),
            (
                Value::Decimal(Decimal::parse("-12345678901234567890.5").unwrap()),
                Kind::Decimal { digits: None, scale: None },
            ),
            (Value::Text("\\N\ta\nü\0".into()), Kind::Text { max: None, nul: true }),
            (Value::Text(String::new()), Kind::Text { max: None, nul: true }),
            (Value::Bytes(vec![0, 255]), Kind::Bytes { max: None }),
            (Value::Json(json!({"b": [1, 2.5, null], "a": "\t\\"})), Kind::Json),
        ];
        for (value, kind) in all {
            let mut cell = Vec::new();
            push(&mut cell, &value);
            assert!(!cell.contains(&b'\t') && !cell.contains(&b'\n'));
            let (mut text, mut again) = (Vec::new(), Vec::new());
            if value == Value::Null {
                assert_eq!(cell, NULL_CELL);
            } else {
                assert_eq!(read(&cell).unwrap(), value);
                assert!(tell(&kind, &cell, &mut text) && push_told(&mut again, &kind, &text));
                assert_eq!((String::from_utf8(text).unwrap(), again), (value.to_text(), cell));
            }
        }
        for wrong in [&b""[..], b"i", b"ix", b"q1", b"x\\x0", b"\\A"] {
            assert!(read(wrong).is_err(), "{wrong:?}");
        }
        assert!(!tell(&Kind::Bool, b"i1", &mut Vec::new()));
    }
}
