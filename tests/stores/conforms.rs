//! The promises of `RecordStore`, one by one, each held against every store that can give it.

use super::{
    all,
    bulk::{gives_in_bulk, moves_in_bulk},
    from, keys, numbers, record,
    sides::{self, Can, Side},
    text, web_sides,
};
use cutover::{
    error::FaultKind,
    model::{Key, Record, Value},
    ports::{Cursor, Link, SetRef, WriteOutcome},
};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};

/// Columns of items.
pub(crate) const ITEMS: &str = "id {key}, name {text} NOT NULL, active {bool}, score {float}, note {text}, definition {json}, \
    updated_at {timestamp}";

/// What is promised to whoever reads.
async fn is_read(side: &Side) {
    side.table("items", ITEMS);
    pages(side).await;
    single_records(side).await;
    changes(side).await;
    rows_that_come_and_go(side).await;
    parts(side).await;
    gives_in_bulk(side).await;
    what_is_not_there(side).await;
}

async fn conforms(side: &Side) {
    is_read(side).await;
    if side.can == Can::BeRead {
        return only_reading(side).await;
    }
    writes(side).await;
    parts_of_records(side).await;
    deletions(side).await;
    refusals(side).await;
    long_rows(side).await;
    if side.can >= Can::BeShaped {
        keys_that_are_texts(side).await;
        values_that_are_unique(side).await;
        counted_keys(side).await;
    }
    if side.can >= Can::Tell {
        columns(side).await;
        what_refers_is_told(side).await;
    }
    moves_in_bulk(side).await;
}

/// Records by their key, each there once.
fn each_once(side: &Side, records: Vec<Record>) -> BTreeMap<Key, Record> {
    let count = records.len();
    let by_key: BTreeMap<_, _> = records.into_iter().map(|record| (record.key("id").unwrap(), record)).collect();
    assert_eq!(by_key.len(), count, "{}: each once", side.name);
    by_key
}

/// The same records on both sides; shows the first that are not, there may be many.
fn assert_same(found: &BTreeMap<Key, Record>, wanted: &BTreeMap<Key, Record>, when: &str) {
    let keys: BTreeSet<&Key> = found.keys().chain(wanted.keys()).collect();
    let differing = keys.into_iter().filter(|key| found.get(*key) != wanted.get(*key));
    let shown: Vec<_> = differing.take(3).map(|key| (key, found.get(key), wanted.get(key))).collect();
    assert!(shown.is_empty(), "{when}: found {}, wanted {}: {shown:?}", found.len(), wanted.len());
}

async fn pages(side: &Side) {
    let (store, set) = (side.store.as_ref(), &side.items.set);
    assert_eq!(all(store, set).await, [], "{}", side.name);
    let counts = store.describe(set).await.unwrap().count;
    assert!(counts.is_none_or(|count| count == 0), "{}: {counts:?}", side.name);
    let ids: Vec<i64> = (1..=61).collect();
    side.put(&ids).await;
    let known = store.describe(set).await.unwrap();
    assert_eq!((known.count, known.writable), (counts.map(|_| 61), side.can > Can::BeRead), "{}", side.name);
    assert!(known.field("id").is_some(), "{}", side.name);
    let wanted = each_once(side, side.items(ids.clone()));
    let mut order: Option<Vec<Key>> = None;
    for limit in [1, 7, 61, 400] {
        let read = from(store, set, Cursor::START, limit).await;
        let in_order = keys(&read);
        assert_same(&each_once(side, read), &wanted, &format!("{} in pages of {limit}", side.name));
        assert_eq!(*order.get_or_insert(in_order.clone()), in_order, "{} in pages of {limit}", side.name);
    }
    let page = store.read(set, &Cursor::START, 7).await.unwrap();
    assert!(page.as_of.is_some(), "{} says what time it is", side.name);
    assert!(page.total.is_none_or(|total| total == 61) && page.gone.is_empty(), "{}: {page:?}", side.name);
    // A cursor is good in another process, and for another size of page.
    let next = Cursor(page.next.unwrap().0);
    let rest = from(store, set, next, 100).await;
    assert_eq!(keys(&page.records).into_iter().chain(keys(&rest)).collect::<Vec<_>>(), order.unwrap());
    side.remove(&ids).await;
}

async fn single_records(side: &Side) {
    let (store, set) = (side.store.as_ref(), &side.items.set);
    let ids: Vec<i64> = (1..=61).collect();
    side.put(&ids).await;
    let some = store.fetch(set, &side.keys([3, 99, 21])).await.unwrap();
    assert_eq!(each_once(side, some), each_once(side, side.items([3, 21])), "{}", side.name);
    assert_eq!(store.fetch(set, &side.keys([99, 77])).await.unwrap(), [], "{}", side.name);
    assert_eq!(store.fetch(set, &[]).await.unwrap(), []);
    let strange = ["x", "003", " 3", "3.0", "99999999999999999999", "'", "3:"].map(|key| Key(key.into()));
    for key in strange.iter().map(std::slice::from_ref).chain([&strange[..]]) {
        match store.fetch(set, key).await {
            Ok(found) => assert_eq!(found, [], "{}: no other text is the key 3: {key:?}", side.name),
            // Whoever cannot ask for such a key says so: taken for absent, a row might be deleted elsewhere.
            Err(fault) => {
                assert!(side.can < Can::BeShaped && fault.kind == FaultKind::Refused, "{}", fault.chain());
            }
        }
    }
    let many = store.fetch(set, &side.keys(1..=3000)).await.unwrap();
    assert_eq!(many.len(), 61, "{}: more keys than fit into one question", side.name);
    side.remove(&ids).await;
}

async fn changes(side: &Side) {
    let (store, set) = (side.store.as_ref(), &side.items.set);
    let ids: Vec<i64> = (1..=25).collect();
    side.put(&ids).await;
    let mut wanted = side.keys(20..=25);
    if side.can >= Can::Tell {
        let timeless = record(json!({"id": 40, "name": "nobody knows when", "updated_at": null}));
        store.write(set, &[timeless]).await.unwrap();
        // No time is no proof that nothing changed.
        wanted.extend(numbers([40]));
    }
    let since = "2026-11-20T00:00:20Z".parse().unwrap();
    for limit in [1, 4, 100] {
        let (mut changed, mut from) = (Vec::new(), Cursor::START);
        loop {
            let page = store.changes(set, since, &from, limit).await.unwrap();
            assert_eq!(page.total, None, "a part is not the whole set");
            changed.extend(page.records);
            match page.next {
                Some(next) => from = next,
                None => break,
            }
        }
        let changed: BTreeSet<Key> = keys(&changed).into_iter().collect();
        assert_eq!(changed, wanted.iter().cloned().collect(), "{}: the bound is inclusive", side.name);
    }
    let counted = store.count_changes(set, since).await.unwrap();
    assert!(counted.is_none_or(|count| count == wanted.len() as u64), "{}: as many as it gives", side.name);
    assert!(counted.is_some() || side.can < Can::Tell, "{}", side.name);
    let never = "2027-01-01T00:00:00Z".parse().unwrap();
    let page = store.changes(set, never, &Cursor::START, 4).await.unwrap();
    assert_eq!(page.records.len(), usize::from(side.can >= Can::Tell), "{}: {page:?}", side.name);
    let timeless = SetRef { updated: None, ..set.clone() };
    assert_eq!(store.changes(&timeless, since, &Cursor::START, 4).await.unwrap_err().kind, FaultKind::Plan);
    side.remove(&[&ids[..], &[40]].concat()).await;
}

async fn rows_that_come_and_go(side: &Side) {
    let (store, set) = (side.store.as_ref(), &side.items.set);
    let of =
        |range: std::ops::RangeInclusive<i64>, more: i64| range.map(move |id| id * 10 + more).collect::<Vec<i64>>();
    side.put(&of(1..=50, 0)).await;
    let first = store.read(set, &Cursor::START, 5).await.unwrap();
    side.remove(&of(1..=12, 0)).await;
    side.put(&of(1..=40, 3)).await;
    let mut seen: BTreeSet<Key> = keys(&first.records).into_iter().collect();
    let (mut from, mut round) = (first.next, 0);
    while let Some(next) = from {
        let page = store.read(set, &next, 5).await.unwrap();
        seen.extend(keys(&page.records));
        from = page.next;
        round += 1;
        if round == 3 {
            // What was seen goes, and as many come behind everything.
            side.remove(&of(13..=16, 0)).await;
            side.put(&of(60..=63, 0)).await;
        }
        assert!(round < 200, "{}: it never ends", side.name);
    }
    let stayed = side.keys(of(17..=50, 0));
    let lost: Vec<&Key> = stayed.iter().filter(|key| !seen.contains(key)).collect();
    assert!(lost.is_empty(), "{}: none that stayed is skipped: {lost:?}", side.name);
    side.remove(&[of(1..=63, 0), of(1..=40, 3)].concat()).await;
    assert_eq!(all(store, set).await, [], "{}", side.name);
}

async fn parts(side: &Side) {
    let (store, set) = (side.store.as_ref(), &side.items.set);
    for ids in [vec![], vec![5], (1..=500).map(|id| id * 7).collect::<Vec<i64>>()] {
        side.put(&ids).await;
        for parts in [1, 2, 7] {
            let mut seen = Vec::new();
            let cursors = store.split(set, parts).await.unwrap();
            assert!((1..=parts as usize + 1).contains(&cursors.len()), "{cursors:?}");
            for cursor in cursors {
                seen.extend(from(store, set, cursor, 50).await);
            }
            let whole = each_once(side, side.items(ids.clone()));
            assert_same(&each_once(side, seen), &whole, &format!("{}: {parts} parts are the whole", side.name));
        }
        if ids.len() > 1 && side.can >= Can::Tell {
            assert!(store.split(set, 4).await.unwrap().len() > 1, "{} parts a set", side.name);
        }
        side.remove(&ids).await;
    }
}

async fn what_is_not_there(side: &Side) {
    let (store, nothing) = (side.store.as_ref(), side.set("nothing"));
    if side.can == Can::BeRead {
        // A set is a choice of keys, which nobody may have.
        assert_eq!(store.describe(&nothing).await.unwrap().count, Some(0));
    } else {
        assert_eq!(store.describe(&nothing).await.unwrap_err().kind, FaultKind::NotFound, "{}", side.name);
        assert!(store.read(&nothing, &Cursor::START, 5).await.is_err());
    }
}

async fn only_reading(side: &Side) {
    let (store, set) = (side.store.as_ref(), &side.items.set);
    side.put(&[1, 2]).await;
    for fault in [
        store.write(set, &side.items([2, 3])).await.unwrap_err(),
        store.delete(set, &side.keys([2])).await.unwrap_err(),
    ] {
        assert!(fault.kind == FaultKind::Refused && !fault.kind.is_retryable(), "{}", fault.chain());
    }
    assert_eq!(store.settle(set).await.unwrap(), None);
    assert_eq!(each_once(side, all(store, set).await), each_once(side, side.items([1, 2])));
}

async fn writes(side: &Side) {
    let (store, set) = (side.store.as_ref(), &side.items.set);
    assert_eq!(store.write(set, &[]).await.unwrap(), []);
    let given = side.items(1..=60);
    assert_eq!(store.write(set, &given).await.unwrap(), vec![WriteOutcome::Created; 60], "{}", side.name);
    assert_eq!(all(store, set).await, given, "{}", side.name);
    assert_eq!(store.write(set, &given).await.unwrap(), vec![WriteOutcome::Updated; 60]);
    assert_eq!(all(store, set).await, given, "{}: a repeat changes nothing", side.name);
    let outcomes = [WriteOutcome::Updated, WriteOutcome::Created, WriteOutcome::Updated];
    assert_eq!(store.write(set, &side.items([59, 61, 60])).await.unwrap(), outcomes, "{}", side.name);
    let twice = [side.items([70, 70]), vec![named(side, 70, &[(side.items.note, text(""))])]].concat();
    let outcomes = [WriteOutcome::Created, WriteOutcome::Updated, WriteOutcome::Updated];
    assert_eq!(store.write(set, &twice).await.unwrap(), outcomes, "{}: one record three times", side.name);
    let found = store.fetch(set, &numbers([70])).await.unwrap();
    assert_eq!(found[0].get(side.items.note), Some(&text("")), "{}: empty is not null", side.name);
    assert_eq!(all(store, set).await.len(), 62, "{}: nothing is doubled", side.name);
}

/// A record of this key and these fields alone.
fn named(side: &Side, id: i64, fields: &[(&str, Value)]) -> Record {
    let key = side.items([id])[0].get("id").unwrap().clone();
    let fields = fields.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
    Record(fields.chain([("id".to_owned(), key)]).collect())
}

async fn parts_of_records(side: &Side) {
    let (store, set) = (side.store.as_ref(), &side.items.set);
    let part = named(side, 5, &[(side.items.note, text("only this"))]);
    assert_eq!(store.write(set, &[part]).await.unwrap(), [WriteOutcome::Updated]);
    let mut wanted = side.items([5]);
    wanted[0].0.insert(side.items.note.into(), text("only this"));
    assert_eq!(store.fetch(set, &numbers([5])).await.unwrap(), wanted, "{}: other fields stay", side.name);
    assert_eq!(store.write(set, &[named(side, 5, &[])]).await.unwrap(), [WriteOutcome::Updated]);
    assert_eq!(store.fetch(set, &numbers([5])).await.unwrap(), wanted, "{}: a key alone changes nothing", side.name);
}

async fn deletions(side: &Side) {
    let (store, set) = (side.store.as_ref(), &side.items.set);
    store.delete(set, &numbers([70, 777])).await.unwrap();
    store.delete(set, &numbers([70])).await.unwrap();
    store.delete(set, &[]).await.unwrap();
    assert_eq!(keys(&all(store, set).await), numbers(1..=61), "{}", side.name);
    store.delete(set, &numbers(1..=3000)).await.unwrap();
    assert_eq!(all(store, set).await, [], "{}", side.name);
}

async fn refusals(side: &Side) {
    let (store, set) = (side.store.as_ref(), &side.items.set);
    let mut given = side.items(1..=100);
    given[36].0.insert(side.items.name.into(), Value::Null);
    given[99].0.remove("id");
    let mut bad = vec![36, 99];
    if side.can >= Can::BeShaped {
        given[77].0.remove(side.items.name);
        bad.push(77);
    }
    let outcomes = store.write(set, &given).await.unwrap();
    for (n, outcome) in outcomes.iter().enumerate() {
        match outcome {
            WriteOutcome::Rejected(why) => assert!(bad.contains(&n) && !why.is_empty(), "{}: {n}: {why}", side.name),
            WriteOutcome::Created => assert!(!bad.contains(&n), "{}: {n} is there", side.name),
            WriteOutcome::Updated => panic!("{}: {n} was not there", side.name),
        }
    }
    let good: Vec<i64> = (1..=100).filter(|id| !bad.contains(&usize::try_from(id - 1).unwrap())).collect();
    assert_eq!(each_once(side, all(store, set).await), each_once(side, side.items(good)), "{}", side.name);
    side.remove(&(1..=100).collect::<Vec<_>>()).await;
}

async fn long_rows(side: &Side) {
    let (store, set) = (side.store.as_ref(), &side.items.set);
    let long = side.longest;
    let mut rows = side.items(1..=4);
    for row in &mut rows {
        row.0.insert(side.items.note.into(), Value::Text("lang ü ".repeat(long / 8)));
    }
    assert_eq!(store.write(set, &rows).await.unwrap(), vec![WriteOutcome::Created; 4], "{}", side.name);
    assert_eq!(all(store, set).await, rows, "{}: rows of {long} bytes", side.name);
    side.remove(&[1, 2, 3, 4]).await;
}

async fn keys_that_are_texts(side: &Side) {
    side.table("texts", "id {text key}, name {text}, updated_at {timestamp}");
    let (store, set) = (side.store.as_ref(), &side.set("texts"));
    let ids = ["", "007", "7", "A", "a", "a b", "it's", "x'; DROP TABLE texts; --", "\"", "\\", "ä", "\u{1F600}"];
    let rows: Vec<Record> = ids.iter().map(|id| record(json!({"id": id, "name": *id, "updated_at": null}))).collect();
    assert_eq!(store.write(set, &rows).await.unwrap(), vec![WriteOutcome::Created; ids.len()], "{}", side.name);
    assert_eq!(store.write(set, &rows).await.unwrap(), vec![WriteOutcome::Updated; ids.len()]);
    let wanted = each_once(side, rows.clone());
    for limit in [1, 5, 100] {
        let read = from(store, set, Cursor::START, limit).await;
        assert_eq!(each_once(side, read), wanted, "{} in pages of {limit}", side.name);
    }
    let mut read = Vec::new();
    for part in store.split(set, 3).await.unwrap() {
        read.extend(from(store, set, part, 2).await);
    }
    assert_eq!(each_once(side, read), wanted, "{} in parts", side.name);
    for (id, row) in ids.iter().zip(&rows) {
        let one = store.fetch(set, &[Key((*id).to_owned())]).await.unwrap();
        assert_eq!(one, std::slice::from_ref(row), "{}: {id:?}", side.name);
    }
    store.delete(set, &["007", "a"].map(|id| Key(id.into()))).await.unwrap();
    assert_eq!(all(store, set).await.len(), ids.len() - 2, "{}: 7 and A stay", side.name);
}

async fn values_that_are_unique(side: &Side) {
    side.table("unique_names", "id {key}, name {varchar} UNIQUE, updated_at {timestamp}");
    let (store, set) = (side.store.as_ref(), &side.set("unique_names"));
    let row = |id: i64, name: &str| record(json!({"id": id, "name": name}));
    store.write(set, &[row(1, "a"), row(2, "b")]).await.unwrap();
    let outcomes = store.write(set, &[row(3, "a"), row(4, "c"), row(2, "b")]).await.unwrap();
    assert!(matches!(outcomes[0], WriteOutcome::Rejected(_)), "another row has that name: {outcomes:?}");
    assert_eq!(outcomes[1..], [WriteOutcome::Created, WriteOutcome::Updated]);
    assert_eq!(keys(&all(store, set).await), numbers([1, 2, 4]), "{}: and keeps its key", side.name);
}

/// What refers to another set is told, and somebody in a hurry is told as much, with a number that is counted while the
/// rows are few.
async fn what_refers_is_told(side: &Side) {
    side.table("owner", "id {key}, name {text}");
    side.table("owned", "id {key}, owner_id {int}, other {int}, FOREIGN KEY (owner_id) REFERENCES owner (id)");
    let set = |name: &str| SetRef { updated: None, ..side.set(name) };
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

/// The store hands out the next number itself once the rows are there.
async fn counted_keys(side: &Side) {
    side.table("counted", "id {counted}, name {text}, updated_at {timestamp}");
    let (store, set) = (side.store.as_ref(), &side.set("counted"));
    store.settle(set).await.unwrap();
    let rows: Vec<Record> = (1..=30).map(|id| record(json!({"id": id * 3, "name": "x", "updated_at": null}))).collect();
    store.write(set, &rows).await.unwrap();
    store.settle(set).await.unwrap();
    assert_eq!(store.settle(set).await.unwrap(), None, "{}: a repeat does nothing", side.name);
    (side.sql)("INSERT INTO counted (name) VALUES ('next')");
    assert_eq!(keys(&all(store, set).await).last(), Some(&Key("91".into())), "{}", side.name);
    if side.can >= Can::Tell {
        assert!(store.describe(set).await.unwrap().field("id").unwrap().filled, "{}", side.name);
    }
}

/// What a database knows of its columns.
async fn columns(side: &Side) {
    let (store, set) = (side.store.as_ref(), &side.items.set);
    let known = store.describe(set).await.unwrap();
    assert_eq!((known.count, known.writable), (Some(0), true));
    let field = |name: &str| known.field(name).unwrap().clone();
    assert!(!field("name").nullable && field("note").nullable && !field("name").filled && !field("name").computed);
    let strange = record(json!({"id": 200, "name": "x", "colour": "red", "size": 1}));
    let fault = store.write(set, &[side.items([201]), vec![strange]].concat()).await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Refused);
    assert!(fault.chain().contains("colour, size"), "{}", fault.chain());
    assert_eq!(store.fetch(set, &numbers([201])).await.unwrap(), [], "nothing is written");
    let other = SetRef { key: "name".into(), ..set.clone() };
    let fault = store.describe(&other).await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Unmet);
    assert!(fault.chain().contains("not unique"), "{}", fault.chain());
    let other = SetRef { key: "nowhere".into(), ..set.clone() };
    assert!(store.describe(&other).await.unwrap_err().chain().contains("no column nowhere"));
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

#[tokio::test]
async fn django_conforms() {
    conforms(&web_sides::django("offset").await).await;
}

#[tokio::test]
async fn django_is_read_in_numbered_pages() {
    is_read(&web_sides::django("numbered").await).await;
}

#[tokio::test]
async fn django_is_read_by_cursors() {
    is_read(&web_sides::django("cursor").await).await;
}

#[tokio::test]
async fn django_is_read_by_links() {
    is_read(&web_sides::django("linked").await).await;
}

#[tokio::test]
async fn the_legacy_application_conforms() {
    conforms(&web_sides::legacy().await).await;
}

#[tokio::test]
async fn local_storage_conforms_as_far_as_it_is_read() {
    conforms(&web_sides::local_storage().await).await;
}
