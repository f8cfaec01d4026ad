//! A target of every kind of column is backed up, proven, damaged and restored; what it was says the database itself, in
//! its own words and without this program.

use super::{
    kinds::extremes,
    postgres_server::Server,
    set,
    sides::{Can, PATIENCE, SIDES, Side},
    step,
};
use cutover::{
    adapters::records::PostgresStore,
    engine::StepContext,
    error::FaultKind,
    ledger::Ledger,
    migrate::backup::{self, Backup, How, Place},
    model::{Record, Value},
    plan::{self, Plan, Source},
    ports::{RecordStore, WriteOutcome},
    wiring,
};
use std::{path::Path, sync::Arc};
use tempfile::TempDir;

const PLAN: &str = r#"
name = "backups"
environment = "development"
[stores.old]
kind = "sqlite"
path = "old.db"
[stores.new]
kind = "sqlite"
path = "new.db"
[migration]
batch_records = 5
backups = "kept"
[[dataset]]
name = "everything"
from = { store = "old", table = "everything" }
to = { store = "new", table = "everything" }
key = "id"
"#;

/// What a step would be given, with this store as the target.
fn step_with(store: Arc<dyn RecordStore>, ledger: &Ledger, folder: &Path) -> StepContext {
    let source = Source { name: "cutover.toml", text: PLAN, base: folder, env: &|_| None };
    let plan: Arc<Plan> = Arc::new(plan::parse(&source).unwrap_or_else(|problems| panic!("{problems}")));
    let mut ports = wiring::ports_in(&plan, folder).unwrap_or_else(|fault| panic!("{}", fault.chain()));
    ports.stores.insert("new".into(), store);
    step::step(&plan, ports, ledger, "run", "everything", folder)
}

fn backup_of(cx: &StepContext) -> Backup {
    Place::new(&cx.plan, &cx.ports, &cx.signals).unwrap().backup(cx.work.run(), "everything")
}

/// A column for each kind that the side has, and one that its database computes.
fn columns(side: &Side) -> Vec<&'static str> {
    side.types.iter().map(|(word, _)| *word).filter(|word| !word.contains("key") && *word != "counted").collect()
}

async fn fill(side: &Side, words: &[&str]) -> usize {
    let all: Vec<String> = words.iter().enumerate().map(|(n, word)| format!("c{n} {{{word}}}, ")).collect();
    let all = all.concat();
    side.table("everything", &format!("id {{counted}}, {all}blank {{bool}} GENERATED ALWAYS AS (c0 IS NULL) STORED"));
    let values: Vec<Vec<Value>> =
        words.iter().map(|word| [Value::Null].into_iter().chain(extremes(word)).collect()).collect();
    let most = values.iter().map(Vec::len).max().unwrap() + 3;
    let rows: Vec<Record> = (0..most)
        .map(|row| {
            let id = ("id".to_owned(), Value::Int(i64::try_from(row).unwrap() + 1));
            let of = values.iter().enumerate().map(|(n, values)| (format!("c{n}"), values[row % values.len()].clone()));
            Record([id].into_iter().chain(of).collect())
        })
        .collect();
    let outcomes = side.store.write(&set("everything"), &rows).await.unwrap();
    assert_eq!(outcomes, vec![WriteOutcome::Created; most], "{}", side.name);
    most
}

/// Every column as the database itself shows it, in SQL.
fn shown(side: &Side, words: &[&str]) -> String {
    let show = |n: usize| match side.name {
        "postgres" => format!("c{n}::text"),
        "mysql" => format!("c{n}, hex(concat(c{n}, ''))"),
        _ => format!("quote(c{n})"),
    };
    let names = (0..words.len()).map(show).collect::<Vec<_>>().join(", ");
    format!("SELECT id, {names}, blank FROM everything")
}

/// The database compares: a row for each difference would break the check of the table that they are counted into.
fn same_as_witness(side: &Side, words: &[&str]) {
    let now = shown(side, words);
    for (one, other) in [(now.as_str(), "SELECT * FROM witness"), ("SELECT * FROM witness", now.as_str())] {
        (side.sql)(&format!("INSERT INTO verdict SELECT count(*) FROM ({one} EXCEPT {other}) AS differences"));
    }
}

fn no_scratch(side: &Side) {
    let from = match side.name {
        "postgres" | "mysql" => "information_schema.tables WHERE table_name",
        _ => "sqlite_schema WHERE name",
    };
    (side.sql)(&format!("INSERT INTO verdict SELECT count(*) FROM {from} LIKE 'cutover_scratch%'"));
}

async fn survives(side: &Side) {
    let folder = TempDir::new().unwrap();
    let ledger = Ledger::open(folder.path()).await.unwrap_or_else(|fault| panic!("{}", fault.chain()));
    let cx = step_with(Arc::clone(&side.store), &ledger, folder.path());
    let (words, dataset) = (columns(side), &cx.plan.datasets[0]);
    let rows = fill(side, &words).await as u64;
    (side.sql)("CREATE TABLE verdict (n int CHECK (n = 0))");
    (side.sql)(&format!("CREATE TABLE witness AS {}", numbered(&shown(side, &words))));
    same_as_witness(side, &words);

    // What an attempt that died left behind, with a row in it.
    let scratch = side.store.scratch(&set("everything")).await.unwrap().unwrap();
    assert!(scratch.name.contains("cutover_scratch"), "{}", scratch.name);
    side.store.write(&scratch, &[Record([("id".to_owned(), Value::Int(77))].into())]).await.unwrap();
    backup::take(&cx, dataset).await.unwrap_or_else(|fault| panic!("{}: {}", side.name, fault.chain()));
    let done = backup::prove(&cx, dataset, How::Restoring).await;
    let done = done.unwrap_or_else(|fault| panic!("{}: {}", side.name, fault.chain()));
    assert_eq!(done.checks[0].name, "backup of everything restored", "{}: {}", side.name, done.checks[0].value);
    no_scratch(side);
    same_as_witness(side, &words);
    assert!(!side.store.discard(&set("everything")).await.unwrap());

    let empty: Vec<String> = (0..words.len()).map(|n| format!("c{n} = NULL")).collect();
    (side.sql)("DELETE FROM everything WHERE id IN (3, 4, 5)");
    (side.sql)(&format!("UPDATE everything SET {} WHERE id = 2", empty.join(", ")));
    (side.sql)("INSERT INTO everything (id) VALUES (900), (901)");
    let kept = backup_of(&cx);
    let found = backup::outlook(&cx, dataset, &kept).await.unwrap_or_else(|fault| panic!("{}", fault.chain()));
    let counts = (found.rows, found.same, found.missing, found.differs, found.others);
    assert_eq!(counts, (rows, rows - 4, 3, 1, 2), "{}: {:?}", side.name, found.first);
    let done = backup::restore(&cx, dataset, &kept, true).await.unwrap_or_else(|fault| panic!("{}", fault.chain()));
    assert_eq!((done.put_back, done.overwritten, done.removed, done.left), (3, 1, 2, 0), "{}: {done:?}", side.name);
    same_as_witness(side, &words);

    (side.sql)("DELETE FROM everything");
    let done = backup::restore(&cx, dataset, &kept, false).await.unwrap_or_else(|fault| panic!("{}", fault.chain()));
    assert_eq!((done.put_back, done.others, done.left), (rows, 0, 0), "{}: {done:?}", side.name);
    same_as_witness(side, &words);
    ledger.close().await;
}

/// The same query with a name for each of its columns, so that a table can be made of it.
fn numbered(query: &str) -> String {
    let (columns, from) = query["SELECT ".len()..].split_once(" FROM ").unwrap();
    // No expression but `concat(x, '')` has a comma in it.
    let columns = columns.replace(", '')", "\u{1} '')");
    let named = columns.split(", ").enumerate().map(|(n, column)| format!("{column} AS w{n}"));
    format!("SELECT {} FROM {from}", named.collect::<Vec<_>>().join(", ")).replace('\u{1}', ",")
}

#[tokio::test]
async fn every_store_is_restored_as_it_was() {
    for side in SIDES {
        let side = side().await;
        if side.can >= Can::Tell {
            survives(&side).await;
        }
    }
}

#[tokio::test]
async fn a_role_that_may_not_make_tables_is_told_of_and_one_that_may_not_write_restores_nothing() {
    let server = Server::start();
    server.psql(
        "CREATE TABLE everything (id bigint PRIMARY KEY, name text); INSERT INTO everything VALUES (1, 'a'), (2, 'b'); \
         CREATE ROLE mover LOGIN PASSWORD 'secret'; GRANT SELECT, INSERT, UPDATE, DELETE ON everything TO mover",
    );
    let store = || Arc::new(PostgresStore::new("pg", &server.url("mover", "secret").into(), None, PATIENCE).unwrap());
    let folder = TempDir::new().unwrap();
    let ledger = Ledger::open(folder.path()).await.unwrap_or_else(|fault| panic!("{}", fault.chain()));
    let cx = step_with(store(), &ledger, folder.path());
    let dataset = &cx.plan.datasets[0];
    backup::take(&cx, dataset).await.unwrap_or_else(|fault| panic!("{}", fault.chain()));
    let done = backup::prove(&cx, dataset, How::Restoring).await.unwrap_or_else(|fault| panic!("{}", fault.chain()));
    let said = &done.checks[0];
    assert_eq!(said.name, "backup of everything read back");
    assert!(said.value.contains("not restored") && said.value.contains("permission denied"), "{}", said.value);

    server.psql("DELETE FROM everything WHERE id = 1; ALTER ROLE mover SET default_transaction_read_only = on");
    let cx = step_with(store(), &ledger, folder.path());
    let fault = backup::restore(&cx, dataset, &backup_of(&cx), false).await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Refused, "{}", fault.chain());
    assert!(fault.chain().contains("takes no writes"), "{}", fault.chain());
    assert_eq!(server.psql("SELECT count(*) FROM everything"), "1");
    ledger.close().await;
}

#[tokio::test]
async fn a_scratch_table_shares_nothing_with_the_real_one() {
    let server = Server::start();
    server.psql(
        "CREATE SCHEMA \"the App\"; CREATE TABLE \"the App\".owners (id int PRIMARY KEY); \
         CREATE TABLE \"the App\".\"every.thing\" (id serial PRIMARY KEY, owner int REFERENCES \"the App\".owners, \
            name varchar(20) NOT NULL UNIQUE CHECK (name <> '')); \
         CREATE FUNCTION cry() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'the trigger fired'; END $$; \
         INSERT INTO \"the App\".owners VALUES (1); INSERT INTO \"the App\".\"every.thing\" (owner, name) VALUES (1, 'a'); \
         CREATE TRIGGER cry BEFORE INSERT ON \"the App\".\"every.thing\" FOR EACH ROW EXECUTE FUNCTION cry()",
    );
    let store = PostgresStore::new("pg", &server.socket_url().into(), None, PATIENCE).unwrap();
    let real = set("\"the App\".\"every.thing\"");
    let scratch = store.scratch(&real).await.unwrap().unwrap();
    let row =
        |id: i64, owner: i64, name: &str| super::record(serde_json::json!({"id": id, "owner": owner, "name": name}));
    let outcomes =
        store.write(&scratch, &[row(1, 1, "a"), row(2, 99, "b"), row(3, 1, "a"), row(4, 1, "")]).await.unwrap();
    assert_eq!(outcomes[..2], [WriteOutcome::Created, WriteOutcome::Created], "no trigger, no reference");
    assert!(outcomes[2..].iter().all(|outcome| matches!(outcome, WriteOutcome::Rejected(_))), "{outcomes:?}");
    assert_eq!(server.psql("SELECT last_value FROM \"the App\".\"every.thing_id_seq\""), "1");
    assert!(store.discard(&real).await.unwrap() && !store.discard(&real).await.unwrap());
    assert_eq!(server.psql("SELECT count(*) FROM \"the App\".\"every.thing\""), "1");
}
