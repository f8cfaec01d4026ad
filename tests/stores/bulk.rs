//! The promises of `BlockSource` and `BlockStore`, held against every store that moves rows in bulk.

use super::{
    all, keys, numbers, set,
    sides::{Side, item},
    text,
};
use cutover::{
    model::{Record, Value},
    ports::{Block, BlockCell, BlockSource, BlockStore, Cursor, Form, Inserted, SetRef, StretchDigest},
};

/// As many bytes as anybody wants.
const MANY: usize = 1 << 30;

/// The rows of a block.
pub(crate) fn rows(block: &Block) -> Vec<Record> {
    let mut cells = Vec::new();
    let row = |row| {
        block.cells(row, &mut cells).unwrap();
        let there = cells.iter().enumerate().filter(|(_, cell)| **cell != BlockCell::Absent);
        let value = |(at, cell): (usize, &BlockCell<'_>)| {
            (block.columns[at].name.clone(), block.value(at, *cell).unwrap_or_else(|why| panic!("{why}")))
        };
        Record(there.map(value).collect())
    };
    block.iter().map(row).collect()
}

/// What cells tell is the text of their values.
pub(crate) fn tells(block: &Block) {
    let mut cells = Vec::new();
    for row in block.iter() {
        block.cells(row, &mut cells).unwrap();
        for (at, cell) in cells.iter().enumerate() {
            let (field, mut told) = (&block.columns[at], b"before".to_vec());
            let BlockCell::Said(said) = *cell else { continue };
            let value = block.value(at, *cell).unwrap();
            if block.dialect.tell(&field.kind, said, &mut told) {
                assert_eq!(String::from_utf8(told).unwrap(), format!("before{}", value.to_text()), "{}", field.name);
            } else {
                assert_eq!(told, b"before", "{}", field.name);
            }
        }
    }
}

/// The forms in which the store hands the rows of this set over.
async fn forms(blocks: &dyn BlockSource, set: &SetRef) -> Vec<Form> {
    let own = blocks.shape(set).await.unwrap().types.map(|_| Form::Own);
    [Form::Text].into_iter().chain(own).collect()
}

/// Everything from this cursor on.
async fn from(side: &Side, from: Cursor, most: u32, bytes: usize) -> Vec<Record> {
    let blocks = side.store.block_source().unwrap();
    let mut all: Option<Vec<Record>> = None;
    for form in forms(blocks, &side.items.set).await {
        let read = read(side, from.clone(), (most, bytes), form).await;
        let first = all.get_or_insert_with(|| read.clone());
        assert_eq!(*first, read, "{} says the same in each form", side.name);
    }
    all.unwrap_or_default()
}

async fn read(side: &Side, mut from: Cursor, (most, bytes): (u32, usize), form: Form) -> Vec<Record> {
    let blocks = side.store.block_source().unwrap();
    let mut read = Vec::new();
    loop {
        let page = blocks.read_block(&side.items.set, &from, most, bytes, form).await.unwrap();
        assert!(page.block.rows() <= most as usize, "{}", side.name);
        assert!(page.as_of.is_some(), "{} says what time it is", side.name);
        tells(&page.block);
        read.extend(rows(&page.block));
        match page.next {
            Some(next) => from = next,
            None => return read,
        }
    }
}

/// What a store that gives rows in bulk promises: those that it gives one by one, in the same order, from the same cursors.
pub(crate) async fn gives_in_bulk(side: &Side) {
    let Some(source) = side.store.block_source() else { return };
    let (store, items) = (side.store.as_ref(), &side.items.set);
    assert_eq!(from(side, Cursor::START, 10, MANY).await, []);
    let ids: Vec<i64> = (1..=90).collect();
    side.put(&ids).await;
    let wanted = all(store, items).await;
    assert_eq!(source.shape(items).await.unwrap().columns[0].name, items.key, "{}: the key is first", side.name);
    for most in [7, 90, 1000] {
        assert_eq!(from(side, Cursor::START, most, MANY).await, wanted, "{} by {most}", side.name);
    }
    let first = store.read(items, &Cursor::START, 10).await.unwrap();
    let rest = from(side, first.next.unwrap(), 50, MANY).await;
    assert!(wanted.ends_with(&rest) && rest.len() >= wanted.len() - 10, "{}: one kind of cursor", side.name);
    side.remove(&ids).await;
}

/// Everything that is promised; of a store that does not move rows in bulk nothing is.
pub(crate) async fn moves_in_bulk(side: &Side) {
    let Some(blocks) = side.store.blocks() else { return };
    let (store, items) = (side.store.as_ref(), &side.items.set);
    assert!(blocks.is_free(items, &Cursor::START).await.unwrap());
    assert_eq!(from(side, Cursor::START, 10, MANY).await, []);
    let ids: Vec<i64> = (1..=300).collect();
    side.put(&ids).await;
    let wanted = side.items(ids.clone());
    assert_eq!(blocks.shape(items).await.unwrap().columns[0].name, "id", "{}: the key is first", side.name);
    for (most, bytes) in [(1, MANY), (7, MANY), (300, MANY), (1000, MANY), (1000, 2000)] {
        assert_eq!(from(side, Cursor::START, most, bytes).await, wanted, "{} by {most} and {bytes}", side.name);
    }
    let first = store.read(items, &Cursor::START, 10).await.unwrap();
    assert_eq!(from(side, first.next.unwrap(), 50, MANY).await, wanted[10..], "{}: one kind of cursor", side.name);
    let mut parts = Vec::new();
    for cursor in store.split(items, 4).await.unwrap() {
        parts.extend(from(side, cursor, 50, MANY).await);
    }
    assert_eq!(parts, wanted, "{}: the parts are the whole", side.name);
    stretches(side, blocks).await;
    side.table("copies", super::conforms::ITEMS);
    for form in forms(blocks, items).await {
        insertions(side, blocks, &wanted, form).await;
    }
    side.remove(&ids).await;
}

async fn stretches(side: &Side, blocks: &dyn BlockStore) {
    let items = &side.items.set;
    let first = blocks.read_block(items, &Cursor::START, 100, MANY, Form::Text).await.unwrap();
    let stretch = blocks.stretch(&Cursor::START, first.next.as_ref()).unwrap();
    assert_eq!(from(side, stretch.clone(), 30, MANY).await.len(), 100, "{}", side.name);
    assert!(!blocks.is_free(items, &stretch).await.unwrap(), "{}", side.name);
    let fetched = blocks.fetch_block(items, &numbers([7, 999, 50])).await.unwrap();
    let mut fetched = rows(&fetched);
    fetched.sort_by_key(|row| row.key("id").unwrap().0.len());
    assert_eq!(fetched, side.items([7, 50]), "{}", side.name);
    assert!(blocks.stands(items, &first.block).await.unwrap(), "{}", side.name);
    side.table("empty", super::conforms::ITEMS);
    assert!(!blocks.stands(&set("empty"), &first.block).await.unwrap(), "{}", side.name);
    side.store.write(&set("empty"), &[item(300), item(77)]).await.unwrap();
    assert!(blocks.stands(&set("empty"), &first.block).await.unwrap(), "{}", side.name);
    side.store.delete(&set("empty"), &numbers([77])).await.unwrap();
    assert!(!blocks.stands(&set("empty"), &first.block).await.unwrap(), "{}: 300 is beyond", side.name);
    let columns = ["id", "name"].map(str::to_owned);
    if let Some(whole) = blocks.digest(items, &columns, &Cursor::START).await.unwrap() {
        assert_eq!(whole.rows, 300, "{}", side.name);
        digests(side, blocks, &stretch, &whole).await;
    }
}

async fn digests(side: &Side, blocks: &dyn BlockStore, stretch: &Cursor, whole: &StretchDigest) {
    let items = &side.items.set;
    let columns = ["id", "name"].map(str::to_owned);
    let digest = async || blocks.digest(items, &columns, stretch).await.unwrap().unwrap();
    let before = digest().await;
    assert_eq!((before.rows, before == *whole), (100, false), "{}", side.name);
    // Beyond the stretch, and in a column that does not count.
    for (id, field) in [(200, "name"), (50, "note")] {
        let change = Record([("id".into(), Value::Int(id)), (field.into(), text("changed"))].into());
        side.store.write(items, &[change]).await.unwrap();
        assert_eq!(digest().await, before, "{}: {id} {field}", side.name);
    }
    let change = Record([("id".into(), Value::Int(50)), ("name".into(), text("changed"))].into());
    side.store.write(items, &[change]).await.unwrap();
    assert_ne!(digest().await, before, "{}", side.name);
    side.put(&[50, 200]).await;
    side.store.delete(items, &numbers([7])).await.unwrap();
    assert_eq!(digest().await.rows, 99, "{}", side.name);
    side.put(&[7]).await;
    assert_eq!(digest().await, before, "{}", side.name);
}

async fn insertions(side: &Side, blocks: &dyn BlockStore, wanted: &[Record], form: Form) {
    let (store, copies) = (side.store.as_ref(), &set("copies"));
    let block = blocks.read_block(&side.items.set, &Cursor::START, 1000, MANY, form).await.unwrap().block;
    store.write(copies, &[item(200)]).await.unwrap();
    let refused = blocks.insert_block(copies, &block).await.unwrap();
    assert!(matches!(&refused, Inserted::None(why) if !why.is_empty()), "{}: {refused:?}", side.name);
    assert_eq!(keys(&all(store, copies).await), numbers([200]), "{}: all or none", side.name);
    store.delete(copies, &numbers([200])).await.unwrap();
    assert_eq!(blocks.insert_block(copies, &block).await.unwrap(), Inserted::All, "{}", side.name);
    assert_eq!(all(store, copies).await, wanted, "{}", side.name);
    let again = blocks.insert_block(copies, &block).await.unwrap();
    assert!(matches!(again, Inserted::None(_)), "{}: {again:?}", side.name);
    assert_eq!(all(store, copies).await, wanted, "{}: never changes a row", side.name);
    let columns: Vec<String> = block.columns.iter().map(|field| field.name.clone()).collect();
    let here = blocks.digest(&side.items.set, &columns, &Cursor::START).await.unwrap();
    let there = blocks.digest(copies, &columns, &Cursor::START).await.unwrap();
    assert_eq!(here, there, "{}: equal rows, equal digests", side.name);
    store.delete(copies, &keys(wanted)).await.unwrap();
}
