//! What a REST endpoint promises as a record store, and what only a SQLite file has. What every store behind SQL promises
//! is held in `tests/stores`.

use super::{
    PATIENCE, django,
    doubles::{Legacy, TOKEN},
    items, key, record, text, token,
};
use cutover::{
    adapters::records::{HttpStore, SqliteStore},
    error::FaultKind,
    model::{Key, Record, Value},
    plan::Pagination,
    ports::{Cursor, RecordStore, SetRef, WriteOutcome},
};
use proptest::{prelude::*, test_runner::TestRunner};
use serde_json::json;
use sqlx::{AssertSqlSafe, Connection, SqliteConnection};
use std::{collections::BTreeSet, path::PathBuf};
use tempfile::TempDir;
use url::Url;

const ITEMS: &str = "CREATE TABLE items (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL, active BOOLEAN, score REAL, note TEXT, definition JSON,
    updated_at TEXT)";

struct Sqlite {
    store: SqliteStore,
    path: PathBuf,
    _folder: TempDir,
}

async fn sqlite(schema: &str) -> Sqlite {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("new.db");
    std::fs::File::create(&path).unwrap();
    let made = Sqlite { store: SqliteStore::new("d1", &path), path, _folder: folder };
    made.run(schema).await;
    made
}

impl Sqlite {
    async fn run(&self, sql: &str) {
        let mut connection = SqliteConnection::connect(&format!("sqlite://{}", self.path.display())).await.unwrap();
        sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    }
}

fn rest(endpoint: Url, pagination: Pagination) -> HttpStore {
    django(endpoint, token(TOKEN), pagination, PATIENCE)
}

fn item(id: i64) -> Record {
    record(json!({
        "id": id, "name": format!("näme '{id}\" \u{1F600}"), "active": id % 2 == 0, "score": 0.5, "note": null,
        "definition": {"b": [1, 2.5, null], "a": {"ä": true}}, "updated_at": format!("2026-11-20T00:00:{:02}Z", id % 60),
    }))
}

/// All records and the number of pages, by following the cursors.
async fn all(store: &dyn RecordStore, set: &SetRef, limit: u32) -> (Vec<Record>, usize) {
    let (mut records, mut pages, mut from) = (Vec::new(), 0, Cursor::START);
    loop {
        let page = store.read(set, &from, limit).await.unwrap();
        assert!(page.records.len() <= limit as usize);
        assert!(page.as_of.is_some());
        pages += 1;
        records.extend(page.records);
        match page.next {
            Some(next) => from = next,
            None => return (records, pages),
        }
    }
}

fn keys(records: &[Record]) -> Vec<Key> {
    records.iter().map(|record| record.key("id").unwrap()).collect()
}

fn numbers(of: impl IntoIterator<Item = i64>) -> Vec<Key> {
    of.into_iter().map(key).collect()
}

async fn conforms(store: &dyn RecordStore, set: &SetRef) {
    let empty = store.describe(set).await.unwrap();
    assert_eq!((empty.count, empty.writable), (Some(0), true));
    assert_eq!(all(store, set, 5).await.0, []);
    assert_eq!(store.write(set, &[]).await.unwrap(), []);

    let items: Vec<Record> = (1..=25).map(item).collect();
    assert_eq!(store.write(set, &items).await.unwrap(), vec![WriteOutcome::Created; 25]);
    assert_eq!(store.write(set, &items).await.unwrap(), vec![WriteOutcome::Updated; 25]);
    assert_eq!(store.describe(set).await.unwrap().count, Some(25));
    assert!(store.describe(set).await.unwrap().field("name").is_some());
    assert_eq!(store.read(set, &Cursor::START, 3).await.unwrap().total, Some(25));
    for limit in [1, 7, 25, 400] {
        let (read, _) = all(store, set, limit).await;
        assert_eq!(read, items, "pages of {limit}: every record once, in order, value by value");
    }

    let some = store.fetch(set, &numbers([3, 99, 21])).await.unwrap();
    assert_eq!(keys(&some).into_iter().collect::<BTreeSet<_>>(), numbers([3, 21]).into_iter().collect());
    assert_eq!(store.fetch(set, &[]).await.unwrap(), []);
    let many = store.fetch(set, &numbers(1..=1500)).await.unwrap();
    assert_eq!(many.len(), 25, "more keys than fit into one question");

    let mixed = [item(30), record(json!({"id": 31, "name": null})), item(32)];
    let outcomes = store.write(set, &mixed).await.unwrap();
    assert_eq!((&outcomes[0], &outcomes[2]), (&WriteOutcome::Created, &WriteOutcome::Created));
    assert!(matches!(&outcomes[1], WriteOutcome::Rejected(why) if why.to_lowercase().contains("null")), "{outcomes:?}");
    assert_eq!(keys(&store.fetch(set, &numbers([30, 31, 32])).await.unwrap()), numbers([30, 32]));

    let part = [record(json!({"id": 5, "note": "only this"}))];
    assert_eq!(store.write(set, &part).await.unwrap(), [WriteOutcome::Updated]);
    let mut wanted = item(5);
    wanted.0.insert("note".into(), text("only this"));
    assert_eq!(store.fetch(set, &numbers([5])).await.unwrap(), [wanted], "other fields stay");

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
    assert_eq!(keys(&changed), numbers((20..=25).chain([30, 32])), "the bound is inclusive");
    let timeless = SetRef { updated: None, ..set.clone() };
    assert_eq!(store.changes(&timeless, since, &Cursor::START, 4).await.unwrap_err().kind, FaultKind::Plan);

    store.delete(set, &numbers([30, 32, 777])).await.unwrap();
    store.delete(set, &numbers([30, 32])).await.unwrap();
    store.delete(set, &[]).await.unwrap();
    assert_eq!(keys(&all(store, set, 10).await.0), numbers(1..=25));

    // Rows vanish in front of the reader while it reads.
    let first = store.read(set, &Cursor::START, 5).await.unwrap();
    store.delete(set, &numbers(1..=12)).await.unwrap();
    let mut seen: BTreeSet<Key> = keys(&first.records).into_iter().collect();
    let mut from = first.next;
    while let Some(next) = from {
        let page = store.read(set, &next, 5).await.unwrap();
        seen.extend(keys(&page.records));
        from = page.next;
    }
    assert!(numbers(13..=25).iter().all(|key| seen.contains(key)), "none that stayed is skipped: {seen:?}");

    let missing = SetRef { name: format!("{}nothing", set.name), ..set.clone() };
    assert_eq!(store.describe(&missing).await.unwrap_err().kind, FaultKind::NotFound);
}

#[tokio::test]
async fn a_rest_endpoint_conforms() {
    let (legacy, endpoint) = Legacy::start().await;
    conforms(&rest(endpoint, Pagination::PageNumber), &items("/api/items/")).await;
    let keys = legacy.keys.lock().unwrap();
    assert_eq!(keys.iter().collect::<BTreeSet<_>>().len(), keys.len(), "an equal write later is a write of its own");
    assert_eq!(keys[0][..64], keys[1][..64], "and still begins with the hash of its body");
}

#[tokio::test]
async fn an_endpoint_that_gives_everything_at_once_is_read_in_pages() {
    let (legacy, endpoint) = Legacy::start().await;
    for id in 1..=23 {
        let serde_json::Value::Object(row) = item(id).to_json() else { unreachable!() };
        legacy.rows.lock().unwrap().insert(id, row);
    }
    for pagination in [Pagination::None, Pagination::PageNumber, Pagination::LimitOffset, Pagination::LinkHeader] {
        let store = rest(endpoint.clone(), pagination);
        let (read, _) = all(&store, &items("/api/plain/"), 10).await;
        let mut read = keys(&read);
        read.sort_by_key(|key| key.0.parse::<i64>().unwrap());
        assert_eq!(read, numbers(1..=23), "{pagination:?}: each once");
    }
}

#[tokio::test]
async fn a_wrong_token_is_unauthorized_and_never_shown() {
    let (_legacy, endpoint) = Legacy::start().await;
    let secret = "very-secret-and-wrong";
    let store = django(endpoint, token(secret), Pagination::PageNumber, PATIENCE);
    let fault = store.describe(&items("/api/items/")).await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Unauthorized);
    assert!(fault.chain().contains("who is `***`?"), "{}", fault.chain());
    assert!(!format!("{fault:?} {}", fault.chain()).contains(secret));
    assert!(!format!("{store:?}").contains(secret));
}

#[tokio::test]
async fn a_sqlite_file_that_is_not_there_is_not_made() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("missing.db");
    let store = SqliteStore::new("d1", &path);
    assert_eq!(store.describe(&items("items")).await.unwrap_err().kind, FaultKind::NotFound);
    assert_eq!(store.write(&items("items"), &[item(1)]).await.unwrap_err().kind, FaultKind::NotFound);
    assert!(!path.exists());
}

#[tokio::test]
async fn a_file_that_is_no_database_is_said_to_be_none() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("text.db");
    std::fs::write(&path, "hello, this is a text and no database at all".repeat(100)).unwrap();
    let fault = SqliteStore::new("d1", &path).describe(&items("items")).await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Refused);
    assert!(fault.chain().contains("not a database"), "{}", fault.chain());
}

#[tokio::test]
async fn fields_without_a_column_are_named_and_nothing_is_written() {
    let db = sqlite(ITEMS).await;
    let strange = record(json!({"id": 2, "name": "x", "colour": "red", "size": 1}));
    let fault = db.store.write(&items("items"), &[item(1), strange]).await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Refused);
    assert!(fault.chain().contains("colour, size"), "{}", fault.chain());
    assert_eq!(db.store.describe(&items("items")).await.unwrap().count, Some(0));
}

#[tokio::test]
async fn a_key_that_is_not_unique_is_refused() {
    let db = sqlite("CREATE TABLE items (id INTEGER, name TEXT); CREATE VIEW seen AS SELECT * FROM items").await;
    let fault = db.store.describe(&items("items")).await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Unmet);
    assert!(fault.chain().contains("not unique"), "{}", fault.chain());
    db.run("CREATE UNIQUE INDEX one ON items (id)").await;
    assert!(db.store.describe(&items("items")).await.unwrap().writable);
    assert!(!db.store.describe(&items("seen")).await.unwrap().writable, "a view can only be read");
}

#[tokio::test]
async fn text_keys_and_odd_names_are_kept_apart_from_sql() {
    let db = sqlite("CREATE TABLE \"odd \"\" table\" (\"the key\" TEXT PRIMARY KEY, \"select\" TEXT)").await;
    let set = SetRef { name: "odd \" table".into(), key: "the key".into(), updated: None };
    let rows: Vec<Record> = ["7", "007", "x'; DROP TABLE items; --", "ä"]
        .into_iter()
        .map(|key| record(json!({"the key": key, "select": "s"})))
        .collect();
    assert_eq!(db.store.write(&set, &rows).await.unwrap(), vec![WriteOutcome::Created; 4]);
    let (read, pages) = all(&db.store, &set, 2).await;
    assert_eq!((read.len(), pages), (4, 2));
    let one = db.store.fetch(&set, &[key("7")]).await.unwrap();
    assert_eq!(one, [rows[0].clone()], "7 is not 007");
    db.store.delete(&set, &[key("007")]).await.unwrap();
    assert_eq!(db.store.describe(&set).await.unwrap().count, Some(3));
}

#[tokio::test]
async fn a_foreign_key_that_leads_nowhere_rejects_one_record() {
    let db = sqlite(
        "CREATE TABLE users (id INTEGER PRIMARY KEY);
         CREATE TABLE files (id INTEGER PRIMARY KEY, user_id INTEGER NOT NULL REFERENCES users (id));
         INSERT INTO users VALUES (1)",
    )
    .await;
    let rows = [record(json!({"id": 1, "user_id": 1})), record(json!({"id": 2, "user_id": 9}))];
    let outcomes = db.store.write(&items("files"), &rows).await.unwrap();
    assert_eq!(outcomes[0], WriteOutcome::Created);
    assert!(matches!(&outcomes[1], WriteOutcome::Rejected(why) if why.contains("FOREIGN KEY")), "{outcomes:?}");
}

#[tokio::test]
async fn texts_in_json_columns_stay_texts() {
    let db = sqlite(ITEMS).await;
    for definition in [json!("plain"), json!("123"), json!("{\"a\":1}"), json!([1, "2"]), json!(null), json!(5)] {
        // A text by itself that is an object's or a list's is that document.
        let mut row = record(json!({"id": 1, "name": "x"}));
        row.0.insert("definition".into(), Value::Json(definition.clone()));
        db.store.write(&items("items"), std::slice::from_ref(&row)).await.unwrap();
        let read = db.store.fetch(&items("items"), &[key(1)]).await.unwrap();
        assert_eq!(read[0].get("definition").map(Value::to_json), Some(definition));
    }
}

#[tokio::test]
async fn a_text_that_is_no_utf_8_is_refused() {
    let db = sqlite(ITEMS).await;
    db.run("INSERT INTO items (id, name) VALUES (1, CAST(x'66ff' AS TEXT))").await;
    let fault = db.store.read(&items("items"), &Cursor::START, 10).await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Refused);
    assert!(fault.chain().contains("utf-8"), "{}", fault.chain());
}

#[tokio::test]
async fn times_are_compared_as_times() {
    let db = sqlite(ITEMS).await;
    let times = [
        (1, "2026-11-20T11:59:59.999Z", false),
        (2, "2026-11-20T12:00:00Z", true),
        (3, "2026-11-20T12:00:00.000001Z", true),
        (4, "2026-11-20T12:59:59+01:00", false),
        (5, "2026-11-20T13:00:01+01:00", true),
        (6, "2026-11-20 12:00:01", true),
        (7, "2026-11-20 11:00:01", false),
        (8, "yesterday", true),
    ];
    for (id, at, _) in times {
        let row = record(json!({"id": id, "name": "x", "updated_at": at}));
        db.store.write(&items("items"), &[row]).await.unwrap();
    }
    db.run("INSERT INTO items (id, name) VALUES (9, 'no time')").await;
    // The bound is cut to its second: what changed just before it in the same second is in as well.
    let since = "2026-11-20T12:00:00.7Z".parse().unwrap();
    let page = db.store.changes(&items("items"), since, &Cursor::START, 100).await.unwrap();
    let wanted = times.iter().filter(|(_, _, changed)| *changed).map(|(id, ..)| *id).chain([9]);
    assert_eq!(keys(&page.records), numbers(wanted));
}

#[tokio::test]
async fn another_writer_is_waited_for_and_seen() {
    let db = sqlite(ITEMS).await;
    db.store.write(&items("items"), &[item(1)]).await.unwrap();
    db.run("UPDATE items SET note = 'by another', active = 1, definition = '[1]' WHERE id = 1").await;
    let read = db.store.fetch(&items("items"), &[key(1)]).await.unwrap();
    assert_eq!(read[0].get("note"), Some(&text("by another")));
    assert_eq!(read[0].get("active"), Some(&Value::Bool(true)));
    assert_eq!(read[0].get("definition"), Some(&Value::Json(json!([1]))));
}

#[test]
fn any_mix_of_page_sizes_gives_every_record_once() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let db = runtime.block_on(sqlite(ITEMS));
    let set = items("items");
    let mut runner = TestRunner::new(ProptestConfig::with_cases(32));
    let strategy = (prop::collection::btree_set(any::<i64>(), 0..40), prop::collection::vec(1_u32..9, 1..6));
    runner
        .run(&strategy, |(ids, limits)| {
            runtime.block_on(async {
                let old = all(&db.store, &set, 1000).await.0;
                db.store.delete(&set, &keys(&old)).await.unwrap();
                let rows: Vec<Record> = ids.iter().map(|id| record(json!({"id": id, "name": "x"}))).collect();
                db.store.write(&set, &rows).await.unwrap();
                let (mut seen, mut from) = (Vec::new(), Cursor::START);
                for limit in limits.iter().cycle() {
                    let page = db.store.read(&set, &from, *limit).await.unwrap();
                    seen.extend(keys(&page.records));
                    match page.next {
                        Some(next) => from = next,
                        None => break,
                    }
                }
                prop_assert_eq!(seen, numbers(ids.iter().copied()));
                Ok(())
            })
        })
        .unwrap();
}
