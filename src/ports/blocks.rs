//! The port to rows in bulk, for stores that can hand over many at once as they write them down.
//!
//! Two stores of the same dialect understand each other's rows, so that what nobody changes need not be taken apart; between
//! dialects every cell is read and written anew. What is beside this port goes through [`RecordStore`](super::RecordStore),
//! which every store has.

use super::{Cursor, SetRef};
use crate::{
    error::Result,
    model::{Field, Key, Kind, Timestamp, Value},
};
use async_trait::async_trait;
use bytes::Bytes;
use memchr::memchr_iter;
use std::{borrow::Cow, sync::Arc};

/// A cell of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlockCell<'r> {
    /// Null.
    Null,
    /// The row does not have this field, in stores where rows are not all alike.
    Absent,
    /// What says the value.
    Said(&'r [u8]),
}

impl<'r> BlockCell<'r> {
    /// A cell of a line.
    #[must_use]
    pub const fn in_line(cell: &'r [u8]) -> Self {
        match cell {
            NULL_CELL => Self::Null,
            ABSENT_CELL => Self::Absent,
            said => Self::Said(said),
        }
    }
}

/// How rows are written down. Rows of dialects of one name mean the same, and so do cursors of the stores that speak it if
/// they take blocks.
pub trait Dialect: Send + Sync {
    /// Its name.
    fn name(&self) -> &'static str;

    /// The cells of a row. Unless told otherwise a row is a line: its cells are parted by tabs, `\N` is null and `\A` absent, a
    /// backslash stands before what would part otherwise. `PostgreSQL` (`COPY`) and `MySQL` (`LOAD DATA`) write this form.
    ///
    /// # Errors
    /// In words: the row is cut short.
    fn cells<'r>(&self, row: &'r [u8], cells: &mut Vec<BlockCell<'r>>) -> std::result::Result<(), String> {
        let line = row.strip_suffix(b"\n").ok_or("a line without its end")?;
        let mut from = 0;
        let parts = memchr_iter(b'\t', line).map(|at| &line[std::mem::replace(&mut from, at + 1)..at]);
        cells.extend(parts.map(BlockCell::in_line));
        cells.push(BlockCell::in_line(&line[from..]));
        Ok(())
    }

    /// The value that is said, in a column of this kind.
    ///
    /// # Errors
    /// In words why it cannot be carried exactly.
    fn value(&self, kind: &Kind, said: &[u8]) -> std::result::Result<Value, String>;

    /// Goes on with the text that [`Value::to_text`] has of the [`Self::value`] in the form of this kind, if that can be told
    /// without taking it apart. `false` if not: then nothing was added. The kind is the column's; of a column of the kind
    /// `Any` any kind can be asked for.
    fn tell(&self, kind: &Kind, said: &[u8], text: &mut Vec<u8>) -> bool;
}

/// Rows as a store wrote them down.
#[derive(Clone)]
pub struct Block {
    /// How they are written.
    pub dialect: &'static dyn Dialect,
    /// What each cell of a row is. The first one is the key.
    pub columns: Arc<[Field]>,
    /// The rows, one behind the other.
    pub bytes: Bytes,
    /// Where each row ends.
    pub ends: Vec<u32>,
}

impl Block {
    /// How many rows there are.
    #[must_use]
    pub const fn rows(&self) -> usize {
        self.ends.len()
    }

    /// The rows, each with its end.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let mut from = 0;
        self.ends.iter().map(move |end| &self.bytes[std::mem::replace(&mut from, *end as usize)..*end as usize])
    }

    /// The cells of one of the rows, in place of those that were there.
    ///
    /// # Errors
    /// In words: it has not as many as there are columns.
    pub fn cells<'r>(&self, row: &'r [u8], cells: &mut Vec<BlockCell<'r>>) -> std::result::Result<(), String> {
        cells.clear();
        self.dialect.cells(row, cells)?;
        if cells.len() == self.columns.len() {
            Ok(())
        } else {
            Err("a row has not as many cells as there are columns".into())
        }
    }

    /// The value of a column's cell.
    ///
    /// # Errors
    /// In words why it cannot be carried exactly.
    pub fn value(&self, column: usize, cell: BlockCell<'_>) -> std::result::Result<Value, String> {
        let field = &self.columns[column];
        let value = match cell {
            BlockCell::Null => Ok(Value::Null),
            BlockCell::Absent => Err("is not there".to_owned()),
            BlockCell::Said(said) => self.dialect.value(&field.kind, said),
        };
        value.map_err(|why| format!("field `{}`: {why}", field.name))
    }

    /// The keys of these rows.
    ///
    /// # Errors
    /// In words what of one cannot be read.
    pub fn keys<'b>(&'b self, rows: impl Iterator<Item = &'b [u8]>) -> std::result::Result<Vec<Value>, String> {
        let mut cells = Vec::with_capacity(self.columns.len());
        let key = |row| {
            self.cells(row, &mut cells)?;
            self.value(0, cells[0])
        };
        rows.map(key).collect()
    }
}

/// In which form rows are handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// In the dialect of the store, in which cells can be written too.
    Text,
    /// In the form that the store itself keeps values in, which only goes whole into a store of the same kind.
    Own,
}

/// What a set looks like to whoever moves it in bulk.
#[derive(Debug, Clone, Default)]
pub struct Shape {
    /// The columns, the key first, as pages have them for the most part; none if that cannot be told.
    pub columns: Arc<[Field]>,
    /// What the store itself calls the type of each of them, if rows can be handed over in its own form. Where two sides have
    /// the same for each column, what one hands over so the other one takes.
    pub types: Option<Arc<[String]>>,
}

impl Shape {
    /// Columns that are handed over as text only.
    pub fn of(columns: impl IntoIterator<Item = Field>) -> Self {
        Self { columns: columns.into_iter().collect(), types: None }
    }
}

/// A page of rows in bulk.
#[derive(Clone)]
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
    /// How it writes rows in [`Form::Text`].
    fn dialect(&self) -> &'static dyn Dialect;

    /// What the set looks like.
    async fn shape(&self, set: &SetRef) -> Result<Shape>;

    /// At most so many rows, and about so many bytes, from a cursor of [`RecordStore::read`](super::RecordStore::read) or
    /// [`split`](super::RecordStore::split), with the same promises. In its own form only if the shape has `types`.
    async fn read_block(&self, set: &SetRef, from: &Cursor, rows: u32, bytes: usize, form: Form) -> Result<BlockPage>;
}

/// A store that takes rows in bulk too, and knows its rows by stretches of their keys.
#[async_trait]
pub trait BlockStore: BlockSource {
    /// Inserts all rows, or none, of its own dialect or form. `All` means durable on the other side. Never changes a row that
    /// stands there. Columns are those of the block; the set may have more.
    async fn insert_block(&self, set: &SetRef, block: &Block) -> Result<Inserted>;

    /// Whether a row with the key of one of these stands in the set.
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

    /// Writes the cell of a value that has the form of this kind, in its dialect.
    fn cell(&self, kind: &Kind, value: &Value, line: &mut Vec<u8>);

    /// Writes the cell of the value of this kind that has this text, if the text says all. `false` if not: then nothing was
    /// written.
    fn told_cell(&self, kind: &Kind, text: &[u8], line: &mut Vec<u8>) -> bool;
}

/// The cell of a line that stands for null.
pub const NULL_CELL: &[u8] = b"\\N";

/// The cell of a line for a field that a row does not have.
pub const ABSENT_CELL: &[u8] = b"\\A";

/// What a line's cell says, without what was put before its letters.
#[must_use]
pub fn plain_text(said: &[u8]) -> Cow<'_, [u8]> {
    if said.contains(&b'\\') { Cow::Owned(unescaped(said)) } else { Cow::Borrowed(said) }
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
        let read = cells.map(|cell| match BlockCell::in_line(cell) {
            BlockCell::Said(said) => Some(String::from_utf8(plain_text(said).into_owned()).unwrap()),
            _ => None,
        });
        assert_eq!(read.collect::<Vec<_>>(), texts.map(|text| text.map(ToOwned::to_owned)));
        assert_eq!(&*plain_text(b"\\b\\f\\v"), [8_u8, 12, 11]);
    }

    struct Letters;

    impl Dialect for Letters {
        fn name(&self) -> &'static str {
            "letters"
        }

        fn value(&self, _kind: &Kind, said: &[u8]) -> std::result::Result<Value, String> {
            Ok(Value::Text(String::from_utf8(said.to_vec()).unwrap()))
        }

        fn tell(&self, _kind: &Kind, _said: &[u8], _text: &mut Vec<u8>) -> bool {
            false
        }
    }

    #[test]
    fn rows_of_a_block() {
        let columns = Arc::from([Field::named("id"), Field::named("name")]);
        let bytes = Bytes::from_static(b"1\ta\n\\N\t\\A\n2\n2");
        let block = Block { dialect: &Letters, columns, bytes, ends: vec![4, 10, 12, 13] };
        let rows: Vec<&[u8]> = block.iter().collect();
        assert_eq!(rows, [&b"1\ta\n"[..], b"\\N\t\\A\n", b"2\n", b"2"]);
        let mut cells = Vec::new();
        block.cells(rows[0], &mut cells).unwrap();
        assert_eq!(cells, [BlockCell::Said(b"1"), BlockCell::Said(b"a")]);
        block.cells(rows[1], &mut cells).unwrap();
        assert_eq!(cells, [BlockCell::Null, BlockCell::Absent]);
        assert!(block.cells(rows[2], &mut cells).is_err() && block.cells(rows[3], &mut cells).is_err());
        assert_eq!(block.keys(block.iter().take(2)).unwrap(), [Value::Text("1".into()), Value::Null]);
        assert_eq!(block.value(1, BlockCell::Absent).unwrap_err(), "field `name`: is not there");
    }
}
