//! Stores that are reached over HTTP, against a real Django with Django REST framework and against servers that misbehave;
//! and browser exports.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod copying;
mod django;
mod exports;
mod hostile;
mod reading;
mod server;
#[path = "../tools/step.rs"]
mod step;
mod writing;

use cutover::{
    adapters::records::HttpStore,
    model::{Key, Record},
    plan::{Auth, HttpPlan, Pagination, Preset},
    ports::{Cursor, RecordStore, SetRef},
};
use std::{fmt::Display, time::Duration};
use url::Url;

/// Long enough for a loaded machine.
const PATIENCE: Duration = Duration::from_secs(60);

fn plan(endpoint: &Url, auth: Auth, pagination: Pagination) -> HttpPlan {
    HttpPlan { pagination, timeout: PATIENCE, ..HttpPlan::new(Preset::DjangoRest, endpoint.clone(), auth) }
}

fn store(plan: HttpPlan) -> HttpStore {
    HttpStore::new("django", plan).unwrap()
}

fn set(name: &str) -> SetRef {
    SetRef { name: name.to_owned(), key: "id".to_owned(), updated: Some("updated_at".to_owned()) }
}

fn key(text: impl Display) -> Key {
    Key(text.to_string())
}

fn keys(records: &[Record]) -> Vec<Key> {
    records.iter().map(|record| record.key("id").unwrap()).collect()
}

fn numbers(of: impl IntoIterator<Item = i64>) -> Vec<Key> {
    of.into_iter().map(key).collect()
}

/// All records by following the cursors.
async fn all(store: &dyn RecordStore, set: &SetRef, limit: u32) -> Vec<Record> {
    let (mut records, mut from) = (Vec::new(), Cursor::START);
    loop {
        let page = store.read(set, &from, limit).await.unwrap_or_else(|fault| panic!("{}", fault.chain()));
        assert!(page.records.len() <= limit as usize);
        records.extend(page.records);
        match page.next {
            Some(next) => from = next,
            None => return records,
        }
    }
}
