//! The store in memory as one that moves rows in bulk: cells are JSON.

use super::records::{FakeStore, order, page, stretch};
use crate::{
    error::Result,
    model::{Digest, Field, Key, Kind, Record, Value},
    ports::{
        Block, BlockPage, BlockSource, BlockStore, Cursor, Dialect, Form, Inserted, SetRef, Shape, StretchDigest,
        plain_text, push_cell,
    },
};
use async_trait::async_trait;
use std::sync::Arc;

fn key_first(fields: &[Field], key: &str) -> Arc<[Field]> {
    let (first, others): (Vec<&Field>, Vec<&Field>) = fields.iter().partition(|field| field.name == key);
    first.into_iter().chain(others).cloned().collect()
}

fn line(record: &Record, columns: &[Field], text: &mut Vec<u8>) {
    for (n, field) in columns.iter().enumerate() {
        if n > 0 {
            text.push(b'\t');
        }
        let value = record.get(&field.name).filter(|value| **value != Value::Null);
        push_cell(text, value.map(|value| value.to_json().to_string()).as_deref());
    }
    text.push(b'\n');
}

fn block(dialect: &'static dyn Dialect, columns: Arc<[Field]>, records: &[&Record]) -> Block {
    let (mut bytes, mut ends) = (Vec::new(), Vec::new());
    for record in records {
        line(record, &columns, &mut bytes);
        ends.push(u32::try_from(bytes.len()).expect("fits"));
    }
    Block { dialect, columns, bytes: bytes.into(), ends }
}

/// Lines of JSON, in a dialect of this name.
#[derive(PartialEq, Eq)]
pub(super) struct JsonCells(pub(super) &'static str);

impl Dialect for JsonCells {
    fn name(&self) -> &'static str {
        self.0
    }

    fn value(&self, _kind: &Kind, said: &[u8]) -> std::result::Result<Value, String> {
        let json = serde_json::from_slice(&plain_text(said)).map_err(|error| error.to_string())?;
        // As a database that cannot say a value: its record goes alone, and says why.
        if json == "unreadable" { Err("it cannot be read".into()) } else { Ok(Value::from_json(json)) }
    }

    fn tell(&self, _kind: &Kind, said: &[u8], text: &mut Vec<u8>) -> bool {
        // Whole numbers look the same in both forms.
        let whole = said.len() < 16 && said.iter().all(u8::is_ascii_digit) && (said.len() == 1 || said[0] != b'0');
        if whole {
            text.extend_from_slice(said);
        }
        whole
    }
}

#[async_trait]
impl BlockSource for FakeStore {
    fn dialect(&self) -> &'static dyn Dialect {
        self.bulk.expect("a store that moves rows in bulk")
    }

    async fn shape(&self, set: &SetRef) -> Result<Shape> {
        self.around("shape", |sets| {
            let columns = key_first(sets.fields(&set.name), &set.key);
            Ok(Shape { columns, types: None })
        })
        .await
    }

    async fn read_block(
        &self,
        set: &SetRef,
        from: &Cursor,
        rows: u32,
        _bytes: usize,
        _form: Form,
    ) -> Result<BlockPage> {
        self.around("read_block", |sets| {
            let columns = key_first(sets.fields(&set.name), &set.key);
            let page = page(sets, &set.name, from, rows, |_| true);
            let block = block(self.dialect(), columns, &page.records.iter().collect::<Vec<_>>());
            Ok(BlockPage { block, next: page.next, total: page.total, as_of: page.as_of })
        })
        .await
    }
}

#[async_trait]
impl BlockStore for FakeStore {
    async fn insert_block(&self, set: &SetRef, block: &Block) -> Result<Inserted> {
        self.around("insert_block", |sets| {
            let (mut records, mut cells) = (Vec::new(), Vec::new());
            for row in block.iter() {
                block.cells(row, &mut cells).unwrap();
                let field = |(at, field): (usize, &Field)| (field.name.clone(), block.value(at, cells[at]).unwrap());
                records.push(Record(block.columns.iter().enumerate().map(field).collect()));
            }
            let keys: Vec<Key> = records.iter().filter_map(|record| record.key(&set.key)).collect();
            if keys.iter().any(|key| sets.is_poison(key)) {
                return Ok(Inserted::None("poison".into()));
            }
            let rows = sets.rows_mut(&set.name);
            if keys.iter().any(|key| rows.contains_key(&order(key))) {
                return Ok(Inserted::None("a row of this key stands there".into()));
            }
            rows.extend(keys.iter().map(order).zip(records));
            Ok(Inserted::All)
        })
        .await
    }

    async fn stands(&self, set: &SetRef, block: &Block) -> Result<bool> {
        self.around("stands", |sets| {
            let rows = sets.rows_mut(&set.name);
            let keys = block.keys(block.iter()).unwrap();
            Ok(keys.iter().any(|key| rows.contains_key(&order(&Key(key.to_text())))))
        })
        .await
    }

    async fn fetch_block(&self, set: &SetRef, keys: &[Key]) -> Result<Block> {
        self.around("fetch_block", |sets| {
            let columns = key_first(sets.fields(&set.name), &set.key);
            let rows = sets.rows_mut(&set.name);
            let records: Vec<&Record> = keys.iter().filter_map(|key| rows.get(&order(key))).collect();
            Ok(block(self.dialect(), columns, &records))
        })
        .await
    }

    async fn is_free(&self, set: &SetRef, stretch: &Cursor) -> Result<bool> {
        self.around("is_free", |sets| Ok(page(sets, &set.name, stretch, 1, |_| true).records.is_empty())).await
    }

    fn stretch(&self, from: &Cursor, next: Option<&Cursor>) -> Result<Cursor> {
        Ok(stretch(from, next))
    }

    async fn digest(&self, set: &SetRef, columns: &[String], stretch: &Cursor) -> Result<Option<StretchDigest>> {
        self.around("digest", |sets| {
            let page = page(sets, &set.name, stretch, u32::MAX, |_| true);
            let columns: Vec<Field> = columns.iter().map(Field::named).collect();
            let mut text = Vec::new();
            page.records.iter().for_each(|record| line(record, &columns, &mut text));
            Ok(Some(StretchDigest { rows: page.records.len() as u64, digest: Digest::of(&text).to_hex() }))
        })
        .await
    }

    fn told_cell(&self, _kind: &Kind, _text: &[u8], _line: &mut Vec<u8>) -> bool {
        false
    }

    fn cell(&self, _kind: &Kind, value: &Value, line: &mut Vec<u8>) {
        let value = Some(value).filter(|value| **value != Value::Null);
        push_cell(line, value.map(|value| value.to_json().to_string()).as_deref());
    }
}
