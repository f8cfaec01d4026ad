//! The promises of `RecordStore`, one by one.

use super::{
    all, from, keys, numbers, record, set,
    sides::{self, Side},
    text,
};
use cutover::{
    error::FaultKind,
    model::{Key, Record, Value},
    ports::{Cursor, Link, SetRef, WriteOutcome},
};
use serde_json::json;
use std::collections::BTreeSet;

const ITEMS: &str = "id {key}, name {text} NOT NULL, active {bool}, score {float}, note {text}, definition {json}, \
    updated_at {timestamp}";

fn item(id: i64) -> Record {
    let mut item = record(json!({
        "id": id, "name": format!("näme '{id}\" \\ \u{1F600}"), "active": id % 2 == 0, "score": 0.5, "note": null,
        "updated_at": format!("2026-11-20T00:00:{:02}Z", id % 60),
    }));
    item.0.insert("definition".into(), Value::Json(json!({"b": [1, 2.5, null], "a": {"ä": true}})));
    item
}

fn items(ids: impl IntoIterator<Item = i64>) -> Vec<Record> {
    ids.into_iter().map(item).collect()
}

async fn conforms(side: &Side) {
    pages_and_writes(side).await;
    changes(side).await;
    rows_that_come_and_go(side).await;
    refusals(side).await;
    parts(side).await;
    keys_that_are_texts(side).await;
    long_rows(side).await;
    what_is_not_there(side).await;
    counted_keys(side).await;
    what_refers_is_told(side).await;
}

async fn pages_and_writes(side: &Side) {
    side.table("items", ITEMS);
    let (store, set) = (side.store.as_ref(), &set("items"));
    let empty = store.describe(set).await.unwrap();
    assert_eq!((empty.count, empty.writable), (Some(0), true));
    assert_eq!(all(store, set).await, []);
    assert_eq!(store.write(set, &[]).await.unwrap(), []);

    let given = items(1..=60);
    assert_eq!(store.write(set, &given).await.unwrap(), vec![WriteOutcome::Created; 60]);
    assert_eq!(store.write(set, &given).await.unwrap(), vec![WriteOutcome::Updated; 60], "a repeat changes nothing");
    let mixed = items([59, 61, 60]);
    let outcomes = [WriteOutcome::Updated, WriteOutcome::Created, WriteOutcome::Updated];
    assert_eq!(store.write(set, &mixed).await.unwrap(), outcomes);
    let given = items(1..=61);
    let known = store.describe(set).await.unwrap();
    assert_eq!(known.count, Some(61));
    let field = |name: &str| known.field(name).unwrap().clone();
    assert!(!field("name").nullable && field("note").nullable && !field("name").filled && !field("name").computed);
    for limit in [1, 7, 61, 400] {
        assert_eq!(from(store, set, Cursor::START, limit).await, given, "pages of {limit}");
    }
    assert!(store.read(set, &Cursor::START, 1).await.unwrap().as_of.is_some());

    let some = store.fetch(set, &numbers([3, 99, 21])).await.unwrap();
    assert_eq!(keys(&some).into_iter().collect::<BTreeSet<_>>(), numbers([3, 21]).into_iter().collect());
    assert_eq!(store.fetch(set, &[]).await.unwrap(), []);
    let strange = ["x", "003", " 3", "3.0", "99999999999999999999", "'"].map(|key| Key(key.into()));
    assert_eq!(store.fetch(set, &strange).await.unwrap(), [], "no other text is the key 3");
    let many = store.fetch(set, &numbers(1..=3000)).await.unwrap();
    assert_eq!(many.len(), 61, "more keys than fit into one question");

    let part = [record(json!({"id": 5, "note": "only this"}))];
    assert_eq!(store.write(set, &part).await.unwrap(), [WriteOutcome::Updated]);
    let mut wanted = item(5);
    wanted.0.insert("note".into(), text("only this"));
    assert_eq!(store.fetch(set, &numbers([5])).await.unwrap(), [wanted.clone()], "other fields stay");
    assert_eq!(store.write(set, &[record(json!({"id": 5}))]).await.unwrap(), [WriteOutcome::Updated]);
    assert_eq!(store.fetch(set, &numbers([5])).await.unwrap(), [wanted], "a key alone changes nothing");
    let twice = [item(70), item(70), record(json!({"id": 70, "note": ""}))];
    let outcomes = [WriteOutcome::Created, WriteOutcome::Updated, WriteOutcome::Updated];
    assert_eq!(store.write(set, &twice).await.unwrap(), outcomes, "one record three times in a batch");
    assert_eq!(store.fetch(set, &numbers([70])).await.unwrap()[0].get("note"), Some(&text("")), "empty is not null");

    store.delete(set, &numbers([70, 777])).await.unwrap();
    store.delete(set, &numbers([70])).await.unwrap();
    store.delete(set, &[]).await.unwrap();
    assert_eq!(keys(&all(store, set).await), numbers(1..=61));
    store.delete(set, &numbers(1..=3000)).await.unwrap();
    assert_eq!(store.describe(set).await.unwrap().count, Some(0));
}

async fn changes(side: &Side) {
    let (store, set) = (side.store.as_ref(), &set("items"));
    store.write(set, &items(1..=25)).await.unwrap();
    store.write(set, &[record(json!({"id": 40, "name": "nobody knows when", "updated_at": null}))]).await.unwrap();
    let since = "2026-11-20T00:00:20Z".parse().unwrap();
    let (mut changed, mut from) = (Vec::new(), Cursor::START);
    loop {
        let page = store.changes(set, since, &from, 4).await.unwrap();
        assert_eq!(page.total, None, "a part is not the whole set");
        changed.extend(page.records);
        match page.next {
            Some(next) => from = next,
            None => break,
        }
    }
    assert_eq!(keys(&changed), numbers((20..=25).chain([40])), "the bound is inclusive, and no time is no proof");
    let timeless = SetRef { updated: None, ..set.clone() };
    assert_eq!(store.changes(&timeless, since, &Cursor::START, 4).await.unwrap_err().kind, FaultKind::Plan);
    store.delete(set, &numbers(1..=40)).await.unwrap();
}

async fn rows_that_come_and_go(side: &Side) {
    let (store, set) = (side.store.as_ref(), &set("items"));
    store.write(set, &items((1..=50).map(|id| id * 10))).await.unwrap();
    let first = store.read(set, &Cursor::START, 5).await.unwrap();
    store.delete(set, &numbers((1..=12).map(|id| id * 10))).await.unwrap();
    store.write(set, &items((1..=40).map(|id| id * 10 + 3))).await.unwrap();
    let mut seen: BTreeSet<Key> = keys(&first.records).into_iter().collect();
    let mut from = first.next;
    while let Some(next) = from {
        let page = store.read(set, &next, 5).await.unwrap();
        seen.extend(keys(&page.records));
        from = page.next;
    }
    assert!(numbers((13..=50).map(|id| id * 10)).iter().all(|key| seen.contains(key)), "none that stayed is skipped");
    store.delete(set, &numbers(1..=600)).await.unwrap();
}

async fn refusals(side: &Side) {
    let (store, set) = (side.store.as_ref(), &set("items"));
    let mut given = items(1..=100);
    given[36].0.insert("name".into(), Value::Null);
    given[77].0.remove("name");
    given[99].0.remove("id");
    let outcomes = store.write(set, &given).await.unwrap();
    for (n, outcome) in outcomes.iter().enumerate() {
        match (n, outcome) {
            (36 | 77 | 99, WriteOutcome::Rejected(why)) => assert!(!why.is_empty()),
            (36 | 77 | 99, other) => panic!("{n}: {other:?}"),
            (_, outcome) => assert_eq!(*outcome, WriteOutcome::Created, "{n}"),
        }
    }
    assert_eq!(all(store, set).await.len(), 97);
    let strange = record(json!({"id": 200, "name": "x", "colour": "red", "size": 1}));
    let fault = store.write(set, &[item(201), strange]).await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Refused);
    assert!(fault.chain().contains("colour, size"), "{}", fault.chain());
    assert_eq!(store.fetch(set, &numbers([201])).await.unwrap(), [], "nothing is written");
    store.delete(set, &numbers(1..=100)).await.unwrap();

    side.table("unique_names", "id {key}, name {varchar} UNIQUE, updated_at {timestamp}");
    let set = &super::set("unique_names");
    let row = |id: i64, name: &str| record(json!({"id": id, "name": name}));
    store.write(set, &[row(1, "a"), row(2, "b")]).await.unwrap();
    let outcomes = store.write(set, &[row(3, "a"), row(4, "c"), row(2, "b")]).await.unwrap();
    assert!(matches!(outcomes[0], WriteOutcome::Rejected(_)), "another row has that name: {outcomes:?}");
    assert_eq!(outcomes[1..], [WriteOutcome::Created, WriteOutcome::Updated]);
    let read = all(store, set).await;
    assert_eq!(keys(&read), numbers([1, 2, 4]), "and keeps its key");
}

async fn parts(side: &Side) {
    let (store, set) = (side.store.as_ref(), &set("items"));
    for ids in [vec![], vec![5], (1..=500).map(|id| id * 7).collect::<Vec<i64>>()] {
        store.write(set, &items(ids.clone())).await.unwrap();
        for parts in [1, 2, 7] {
            let mut seen = Vec::new();
            let cursors = store.split(set, parts).await.unwrap();
            assert!((1..=parts as usize + 1).contains(&cursors.len()), "{cursors:?}");
            for cursor in cursors {
                seen.extend(keys(&from(store, set, cursor, 50).await));
            }
            assert_eq!(seen, numbers(ids.clone()), "the parts are the whole, each row once");
        }
        if let Some(last) = ids.last().filter(|_| ids.len() == 1) {
            store.delete(set, &numbers([*last])).await.unwrap();
        }
    }
    assert!(store.split(set, 4).await.unwrap().len() > 1, "{} parts a set", side.name);
    store.delete(set, &numbers(1..=3500)).await.unwrap();
}

async fn keys_that_are_texts(side: &Side) {
    side.table("texts", "id {text key}, name {text}, updated_at {timestamp}");
    let (store, set) = (side.store.as_ref(), &set("texts"));
    let ids = ["", "007", "7", "A", "a", "a b", "it's", "x'; DROP TABLE texts; --", "\"", "\\", "ä", "\u{1F600}"];
    let rows: Vec<Record> = ids.iter().map(|id| record(json!({"id": id, "name": *id, "updated_at": null}))).collect();
    assert_eq!(store.write(set, &rows).await.unwrap(), vec![WriteOutcome::Created; ids.len()], "{}", side.name);
    assert_eq!(store.write(set, &rows).await.unwrap(), vec![WriteOutcome::Updated; ids.len()]);
    for limit in [1, 5, 100] {
        let read: BTreeSet<Key> = keys(&from(store, set, Cursor::START, limit).await).into_iter().collect();
        assert_eq!(read, ids.iter().map(|id| Key((*id).to_owned())).collect(), "{} in pages of {limit}", side.name);
    }
    let parts = store.split(set, 3).await.unwrap();
    let mut read = Vec::new();
    for part in parts {
        read.extend(keys(&from(store, set, part, 2).await));
    }
    assert_eq!(read.len(), ids.len());
    for (id, row) in ids.iter().zip(&rows) {
        let one = store.fetch(set, &[Key((*id).to_owned())]).await.unwrap();
        assert_eq!(one, std::slice::from_ref(row), "{id:?}");
    }
    store.delete(set, &["007", "a"].map(|id| Key(id.into()))).await.unwrap();
    assert_eq!(all(store, set).await.len(), ids.len() - 2, "{}: 7 and A stay", side.name);
}

async fn long_rows(side: &Side) {
    let (store, set) = (side.store.as_ref(), &set("items"));
    let long = side.longest;
    let rows: Vec<Record> = (1..=4)
        .map(|id| {
            let mut row = item(id);
            row.0.insert("note".into(), Value::Text("lang ü ".repeat(long / 8)));
            row
        })
        .collect();
    assert_eq!(store.write(set, &rows).await.unwrap(), vec![WriteOutcome::Created; 4], "{}", side.name);
    assert_eq!(all(store, set).await, rows, "rows of {long} bytes");
    store.delete(set, &numbers(1..=4)).await.unwrap();
}

async fn what_is_not_there(side: &Side) {
    let store = side.store.as_ref();
    assert_eq!(store.describe(&set("nothing")).await.unwrap_err().kind, FaultKind::NotFound);
    let other = SetRef { key: "name".into(), ..set("items") };
    let fault = store.describe(&other).await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Refused);
    assert!(fault.chain().contains("not unique"), "{}", fault.chain());
    let other = SetRef { key: "nowhere".into(), ..set("items") };
    assert!(store.describe(&other).await.is_err());
}

/// The store hands out the next number itself once the rows are there.
/// What refers to another set is told, and somebody in a hurry is told as much, with a number that is counted while the
/// rows are few.
async fn what_refers_is_told(side: &Side) {
    side.table("owner", "id {key}, name {text}");
    side.table("owned", "id {key}, owner_id {int}, other {int}, FOREIGN KEY (owner_id) REFERENCES owner (id)");
    let set = |name: &str| SetRef { updated: None, ..super::set(name) };
    side.store.write(&set("owner"), &[record(json!({"id": 1, "name": "x"}))]).await.unwrap();
    side.store.write(&set("owned"), &[record(json!({"id": 1, "owner_id": 1, "other": 9}))]).await.unwrap();
    let info = side.store.describe(&set("owned")).await.unwrap();
    let link = Link { field: "owner_id".into(), set: "owner".into(), key: "id".into() };
    assert_eq!(info.links, [link], "{}", side.name);
    let sketch = side.store.sketch(&set("owned")).await.unwrap();
    assert_eq!((sketch.count, sketch.estimated), (Some(1), false), "{}", side.name);
    assert_eq!((sketch.fields, sketch.links), (info.fields, info.links), "{}", side.name);
    assert!(side.store.describe(&set("owner")).await.unwrap().links.is_empty(), "{}", side.name);
}

async fn counted_keys(side: &Side) {
    side.table("counted", "id {counted}, name {text}, updated_at {timestamp}");
    let (store, set) = (side.store.as_ref(), &set("counted"));
    assert!(store.describe(set).await.unwrap().field("id").unwrap().filled, "{}", side.name);
    store.settle(set).await.unwrap();
    let rows: Vec<Record> = (1..=30).map(|id| record(json!({"id": id * 3, "name": "x", "updated_at": null}))).collect();
    store.write(set, &rows).await.unwrap();
    store.settle(set).await.unwrap();
    assert_eq!(store.settle(set).await.unwrap(), None, "{}: a repeat does nothing", side.name);
    (side.sql)("INSERT INTO counted (name) VALUES ('next')");
    assert_eq!(keys(&all(store, set).await).last(), Some(&Key("91".into())), "{}", side.name);
}

#[tokio::test]
async fn postgres_conforms() {
    conforms(&sides::postgres().await).await;
}

#[tokio::test]
async fn mysql_conforms() {
    conforms(&sides::mysql().await).await;
}

#[tokio::test]
async fn sqlite_conforms() {
    conforms(&sides::sqlite().await).await;
}

#[tokio::test]
async fn d1_conforms() {
    conforms(&sides::d1().await).await;
}
