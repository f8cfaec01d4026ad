//! The port to rows in bulk, for stores that can hand over many at once in a text of their own.
//!
//! Two stores of the same dialect understand each other's text, so that what nobody changes need not be taken apart; between
//! dialects every cell is read and written anew. What is beside this port goes through [`RecordStore`](super::RecordStore),
//! which every store has.

use super::{Cursor, SetRef};
use crate::{
    error::Result,
    model::{Field, Key, Kind, Timestamp, Value},
};
use async_trait::async_trait;
use bytes::Bytes;
use std::{borrow::Cow, sync::Arc};

/// Rows as text: a row a line, its cells parted by tabs, `\N` for null, a backslash before what would part otherwise. Both
/// `PostgreSQL` (`COPY`) and `MySQL` (`LOAD DATA`) read and write this form.
#[derive(Debug, Clone)]
pub struct Block {
    /// What each cell of a line is. The first one is the key.
    pub columns: Arc<[Field]>,
    /// The lines, each with its end.
    pub lines: Bytes,
    /// Where each line ends, its end of line included.
    pub ends: Vec<u32>,
}

impl Block {
    /// How many rows there are.
    #[must_use]
    pub const fn rows(&self) -> usize {
        self.ends.len()
    }

    /// The cells of the keys.
    pub fn keys(&self) -> impl Iterator<Item = &[u8]> {
        self.iter().map(|line| line.split(|byte| *byte == b'\t').next().unwrap_or_default())
    }

    /// The lines, without their ends.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let mut from = 0;
        self.ends.iter().map(move |end| {
            let end = *end as usize;
            let line = &self.lines[from..end.saturating_sub(1).max(from)];
            from = end;
            line
        })
    }
}

/// A page of rows in bulk.
#[derive(Debug, Clone)]
pub struct BlockPage {
    /// The rows, in the order of the key.
    pub block: Block,
    /// Where the next page begins; `None` at the end.
    pub next: Option<Cursor>,
    /// Number of rows in the whole set, if it was asked from the start and can be told.
    pub total: Option<u64>,
    /// The store's clock before it read.
    pub as_of: Option<Timestamp>,
}

/// What became of rows that were to be inserted together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Inserted {
    /// All are there and were not before.
    All,
    /// None is there by this call: one of them stood there already, or was refused, for this reason.
    None(String),
}

/// What stands in a stretch of a set, in two numbers that can be compared between stores of one dialect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StretchDigest {
    /// Rows.
    pub rows: u64,
    /// Over every cell of the named columns of every row, whatever their order.
    pub digest: String,
}

/// A store that gives rows in bulk. The contract of [`RecordStore`](super::RecordStore) holds: order, cancelling, errors.
#[async_trait]
pub trait BlockSource: Send + Sync {
    /// Which text it speaks. Lines, cells and digests of one dialect mean the same in every store that speaks it, and so do
    /// cursors if the store is a [`BlockStore`].
    fn dialect(&self) -> &'static str;

    /// The columns of the set, the key first, as [`Self::read_block`] gives them for most pages; empty if that cannot be
    /// told.
    async fn shape(&self, set: &SetRef) -> Result<Arc<[Field]>>;

    /// At most so many rows, and about so many bytes, from a cursor of [`RecordStore::read`](super::RecordStore::read) or
    /// [`split`](super::RecordStore::split), with the same promises.
    async fn read_block(&self, set: &SetRef, from: &Cursor, rows: u32, bytes: usize) -> Result<BlockPage>;

    /// The value of a cell of this kind, which is not [`ABSENT_CELL`].
    ///
    /// # Errors
    /// In words why it cannot be carried exactly.
    fn value(&self, kind: &Kind, cell: &[u8]) -> std::result::Result<Value, String>;

    /// Goes on with the text of a cell that is not null, as [`Value::to_text`] has it of the [`Self::value`] in the form of
    /// this kind, if that can be told without taking the cell apart. `false` if not: then nothing was added. The kind is
    /// the column's; of a column of the kind `Any` any kind can be asked for.
    fn tell(&self, kind: &Kind, cell: &[u8], text: &mut Vec<u8>) -> bool;
}

/// A store that takes rows in bulk too, and knows its rows by stretches of their keys.
#[async_trait]
pub trait BlockStore: BlockSource {
    /// Inserts all rows, or none. `All` means durable on the other side. Never changes a row that stands there. Columns are
    /// those of the block; the set may have more.
    async fn insert_block(&self, set: &SetRef, block: &Block) -> Result<Inserted>;

    /// Whether a row with the key of one of these lines stands in the set.
    async fn stands(&self, set: &SetRef, block: &Block) -> Result<bool>;

    /// The rows of these keys, in whichever order; a key that is not there is missing.
    async fn fetch_block(&self, set: &SetRef, keys: &[Key]) -> Result<Block>;

    /// Whether nothing stands in the stretch that this cursor reads.
    async fn is_free(&self, set: &SetRef, stretch: &Cursor) -> Result<bool>;

    /// A cursor that reads from `from` up to where `next` goes on, or to the end of `from`'s part.
    ///
    /// # Errors
    /// `Internal` if one of them is no cursor of this store.
    fn stretch(&self, from: &Cursor, next: Option<&Cursor>) -> Result<Cursor>;

    /// What stands in the stretch that this cursor reads. Only these columns count, in this order. `None` if the store
    /// cannot say without giving the rows.
    async fn digest(&self, set: &SetRef, columns: &[String], stretch: &Cursor) -> Result<Option<StretchDigest>>;

    /// Writes the cell of a value that has the form of this kind.
    fn cell(&self, kind: &Kind, value: &Value, line: &mut Vec<u8>);

    /// Writes the cell of the value of this kind that has this text, if the text says all. `false` if not: then nothing was
    /// written.
    fn told_cell(&self, kind: &Kind, text: &[u8], line: &mut Vec<u8>) -> bool;
}

/// The cell that stands for null.
pub const NULL_CELL: &[u8] = b"\\N";

/// The cell of a field that a row does not have, in stores where rows are not all alike.
pub const ABSENT_CELL: &[u8] = b"\\A";

/// A cell's text without what was put before its letters; `None` for null.
#[must_use]
pub fn cell_text(cell: &[u8]) -> Option<Cow<'_, [u8]>> {
    match cell {
        NULL_CELL => None,
        plain if !plain.contains(&b'\\') => Some(Cow::Borrowed(plain)),
        escaped => Some(Cow::Owned(unescaped(escaped))),
    }
}

fn unescaped(cell: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(cell.len());
    let mut bytes = cell.iter();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'\\' => match bytes.next() {
                Some(b'b') => 8,
                Some(b'f') => 12,
                Some(b'n') => b'\n',
                Some(b'r') => b'\r',
                Some(b't') => b'\t',
                Some(b'v') => 11,
                Some(other) => *other,
                None => b'\\',
            },
            byte => *byte,
        });
    }
    out
}

/// Writes a text as a cell; `None` as null.
pub fn push_cell(line: &mut Vec<u8>, text: Option<&str>) {
    match text {
        Some(text) => push_text(line, text.as_bytes()),
        None => line.extend_from_slice(NULL_CELL),
    }
}

/// Writes a text as a cell.
pub fn push_text(line: &mut Vec<u8>, text: &[u8]) {
    let mut rest = text;
    while let Some(at) = rest.iter().position(|byte| matches!(byte, b'\\' | b'\n' | b'\r' | b'\t')) {
        line.extend_from_slice(&rest[..at]);
        let letter = match rest[at] {
            b'\n' => b'n',
            b'\r' => b'r',
            b'\t' => b't',
            other => other,
        };
        line.extend_from_slice(&[b'\\', letter]);
        rest = &rest[at + 1..];
    }
    line.extend_from_slice(rest);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_survives() {
        let texts = [Some("a\tb\\N\n\r\\.x"), None, Some(""), Some("\\N"), Some("ü\u{8}\u{b}\u{c}")];
        let mut line = Vec::new();
        for (n, text) in texts.iter().enumerate() {
            if n > 0 {
                line.push(b'\t');
            }
            push_cell(&mut line, *text);
        }
        assert!(!line.contains(&b'\n'));
        let cells = line.split(|byte| *byte == b'\t');
        let read: Vec<_> =
            cells.map(|cell| cell_text(cell).map(|c| String::from_utf8(c.into_owned()).unwrap())).collect();
        assert_eq!(read, texts.map(|text| text.map(ToOwned::to_owned)));
        assert_eq!(cell_text(b"\\b\\f\\v").as_deref(), Some(&[8_u8, 12, 11][..]));
    }

    #[test]
    fn lines_of_a_block() {
        let block = Block { columns: Arc::from([]), lines: Bytes::from_static(b"1\ta\n\n2\tb\n"), ends: vec![4, 5, 9] };
        assert_eq!(block.iter().collect::<Vec<_>>(), [&b"1\ta"[..], b"", b"2\tb"]);
        assert_eq!(block.rows(), 3);
    }
}
