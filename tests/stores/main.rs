//! What every store of records promises, held against every store there is.
//!
//! `sides` and `web_sides` start the stores: one entry there puts a store under everything here. `conforms` and `bulk` hold
//! the promises one by one, `kinds` carries values of every kind to their extremes, `pairs` carries random rows between any
//! two stores. `lanes` has whole lanes, `follow` lanes that follow, `troubles` and `oddities` what they meet, and `kills`
//! kills them, in the lives of `lives`. `proxy` breaks connections. What only one store has is in a file of its own.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod backups;
mod bulk;
mod conforms;
mod d1;
mod d1_server;
#[expect(dead_code, reason = "other tests ask more of it")]
#[path = "../web/django.rs"]
mod django;
mod follow;
mod kills;
mod kinds;
mod lanes;
mod lives;
mod mariadb_server;
mod mysql;
mod oddities;
mod pairs;
mod postgres;
#[path = "../postgres/server.rs"]
mod postgres_server;
mod proxy;
mod sides;
#[path = "../tools/step.rs"]
mod step;
mod troubles;
#[expect(dead_code, reason = "other tests ask more of it")]
#[path = "../web/server.rs"]
mod web_server;
mod web_sides;
mod wire;

use cutover::{
    model::{Key, Record, Value},
    ports::{Cursor, RecordStore, SetRef},
};

fn set(name: &str) -> SetRef {
    SetRef { name: name.into(), key: "id".into(), updated: Some("updated_at".into()) }
}

fn record(json: serde_json::Value) -> Record {
    Record::from_json(json).unwrap()
}

fn text(text: &str) -> Value {
    Value::Text(text.into())
}

fn keys(records: &[Record]) -> Vec<Key> {
    records.iter().map(|record| record.key("id").unwrap()).collect()
}

fn numbers(of: impl IntoIterator<Item = i64>) -> Vec<Key> {
    of.into_iter().map(|id| Key(id.to_string())).collect()
}

/// Everything from this cursor on.
async fn from(store: &dyn RecordStore, set: &SetRef, mut from: Cursor, limit: u32) -> Vec<Record> {
    let mut records = Vec::new();
    loop {
        let page = store.read(set, &from, limit).await.unwrap();
        assert!(page.records.len() <= limit as usize);
        records.extend(page.records);
        match page.next {
            Some(next) => from = next,
            None => return records,
        }
    }
}

async fn all(store: &dyn RecordStore, set: &SetRef) -> Vec<Record> {
    from(store, set, Cursor::START, 1000).await
}

/// The same records in the same order; shows the first value that is not, there may be many.
fn assert_same(found: &[Record], wanted: &[Record], when: &str) {
    for (found, wanted) in found.iter().zip(wanted) {
        for (name, value) in &wanted.0 {
            assert_eq!(found.get(name), Some(value), "{when}: `{name}` of {:?}", wanted.get("id"));
        }
        assert_eq!(found, wanted, "{when}");
    }
    assert_eq!(found.len(), wanted.len(), "{when}");
}
