//! Tables, roles and servers that cannot be told: each is refused in one sentence that names it, and no secret gets out.

use crate::{DJANGO, Server, TABLE, files, plan, run, table};
use cutover::{
    adapters::write_back::PostgresWriteBack,
    error::{Fault, FaultKind},
    ports::WriteBack,
};
use std::time::Duration;

#[tokio::test]
async fn columns_are_added_once_and_say_whose_they_are() {
    let server = Server::start();
    server.psql(DJANGO);
    let table = table(&server, TABLE, "id");
    let five = ["r2_key", "migrated_at", "migration_status", "migration_batch_id", "checksum"];
    assert_eq!(table.inspect().await.unwrap(), five);
    let columns = "SELECT attname, format_type(atttypid, atttypmod), col_description(attrelid, attnum) FROM pg_attribute \
        WHERE attrelid = 'list_app_savedlist'::regclass AND attnum > 4 ORDER BY attnum";
    assert_eq!(server.psql(columns), "", "looking changes nothing");
    assert_eq!(table.prepare().await.unwrap(), five);
    assert!(table.prepare().await.unwrap().is_empty());
    assert!(table.inspect().await.unwrap().is_empty());
    assert_eq!(
        server.psql(columns),
        "r2_key|text|added by cutover\nmigrated_at|timestamp with time zone|added by cutover\n\
         migration_status|text|added by cutover\nmigration_batch_id|text|added by cutover\n\
         checksum|text|added by cutover"
    );
}

/// What stands there, the plan's table and key, and what is then said.
const UNFIT: &[(&str, &str, &str, FaultKind, &str)] = &[
    ("", "no_such", "id", FaultKind::NotFound, "there is no table no_such"),
    ("", "no_schema.t", "id", FaultKind::NotFound, "there is no table no_schema.t"),
    ("CREATE TABLE t (pk int PRIMARY KEY)", "t", "id", FaultKind::NotFound, "t has no column id"),
    ("CREATE VIEW t AS SELECT 1 AS id", "t", "id", FaultKind::Refused, "t is no table that could be given columns"),
    (
        "CREATE TABLE t (id int); CREATE UNIQUE INDEX ON t (id) WHERE id > 0",
        "t",
        "id",
        FaultKind::Refused,
        "id is not unique in t: one file would be told to several rows",
    ),
    (
        "CREATE TABLE t (id int, of int, PRIMARY KEY (id, of))",
        "t",
        "id",
        FaultKind::Refused,
        "id is not unique in t: one file would be told to several rows",
    ),
    (
        "CREATE TABLE t (id int PRIMARY KEY, migrated_at date)",
        "t",
        "id",
        FaultKind::Refused,
        "the column migrated_at is date, not a timestamp, in t",
    ),
    (
        "CREATE TABLE t (id int PRIMARY KEY, checksum bytea)",
        "t",
        "id",
        FaultKind::Refused,
        "the column checksum is bytea, not text of 64 characters at least, in t",
    ),
    (
        "CREATE TABLE t (id int PRIMARY KEY, checksum varchar(32))",
        "t",
        "id",
        FaultKind::Refused,
        "the column checksum is character varying(32), not text of 64 characters at least, in t",
    ),
    (
        "CREATE TABLE t (id int PRIMARY KEY, migration_status text NOT NULL DEFAULT '')",
        "t",
        "id",
        FaultKind::Refused,
        "the column migration_status takes no NULL, which the way back needs, in t",
    ),
    (
        "CREATE TABLE t (id int PRIMARY KEY, checksum text UNIQUE)",
        "t",
        "checksum",
        FaultKind::Refused,
        "checksum is what every run writes, so it can be no key",
    ),
];

#[tokio::test]
async fn tables_that_cannot_be_told_are_refused_by_name() {
    let server = Server::start();
    for (stands, name, key, kind, said) in UNFIT {
        server.psql(&format!("BEGIN; DROP SCHEMA public CASCADE; CREATE SCHEMA public; {stands}; COMMIT"));
        let table = table(&server, name, key);
        for fault in [
            table.inspect().await.unwrap_err(),
            table.prepare().await.unwrap_err(),
            table.fill(&run(), &files([1])).await.unwrap_err(),
        ] {
            assert_eq!((fault.kind, fault.detail.as_str()), (*kind, *said), "{stands}");
            assert!(fault.doing.contains(&format!("{name} at 127.0.0.1")), "{}", fault.doing);
        }
    }
    server.psql("CREATE TABLE n (id int PRIMARY KEY)");
    let numbers = table(&server, "n", "id");
    numbers.prepare().await.unwrap();
    let fault = numbers.fill(&run(), &files(["1", "one"])).await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Refused);
    assert_eq!(fault.detail, "invalid input syntax for type integer: \"one\" (22P02)");
}

const SECRET: &str = "pass-WORD-7";

async fn fault_of(url: &str) -> Fault {
    let mut plan = plan(url, TABLE, "id");
    plan.timeout = Duration::from_secs(10);
    assert!(!format!("{plan:?}").contains(SECRET));
    let fault = match PostgresWriteBack::new(&plan) {
        Ok(table) => table.prepare().await.unwrap_err(),
        Err(fault) => fault,
    };
    let shown = format!("{fault} {fault:?} {} {}", fault.chain(), fault.advice());
    assert!(!shown.contains(SECRET) && !shown.contains("%40"), "{shown}");
    fault
}

#[tokio::test]
async fn roles_and_servers_that_cannot_are_told_apart_and_no_secret_gets_out() {
    let server = Server::start();
    server.psql(DJANGO);
    for (role, besides) in [
        ("owner", "ALTER TABLE list_app_savedlist OWNER TO owner"),
        ("stranger", "SELECT 1"),
        ("writer", "GRANT SELECT, UPDATE ON list_app_savedlist TO writer"),
        ("reader", "GRANT owner TO reader; ALTER ROLE reader SET default_transaction_read_only = on"),
    ] {
        server.psql(&format!("CREATE ROLE {role} LOGIN PASSWORD '{SECRET}@{role}'; {besides}"));
    }
    let url = |role: &str| server.url(role, &format!("{SECRET}%40{role}"));
    let closed = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().port()
    };
    for (url, kind, said) in [
        (
            url("stranger"),
            FaultKind::Unauthorized,
            "the role stranger may not read and change id of list_app_savedlist",
        ),
        (
            url("writer"),
            FaultKind::Unauthorized,
            "the role writer does not own list_app_savedlist, so it cannot add r2_key, migrated_at, migration_status, \
             migration_batch_id, checksum",
        ),
        (url("reader"), FaultKind::Refused, "the server takes no writes: it is a copy, or set to read only"),
        (
            server.url("owner", &format!("{SECRET}-wrong")),
            FaultKind::Unauthorized,
            "password authentication failed for user \"owner\" (28P01)",
        ),
        (
            server.url("nobody", SECRET),
            FaultKind::Unauthorized,
            "password authentication failed for user \"nobody\" (28P01)",
        ),
        (format!("{}x", url("owner")), FaultKind::NotFound, "database \"postgresx\" does not exist (3D000)"),
        (format!("postgres://owner:{SECRET}@127.0.0.1:{closed}/postgres"), FaultKind::Unreachable, ""),
        (
            format!("{}?sslmode=require", url("owner")),
            FaultKind::Refused,
            "no TLS with it: server does not support TLS",
        ),
        (format!("{}?sslmode={SECRET}", url("owner")), FaultKind::Plan, ""),
    ] {
        let fault = fault_of(&url).await;
        assert_eq!((fault.kind, fault.detail.as_str()), (kind, said), "{}", fault.chain());
    }
    let owner = PostgresWriteBack::new(&plan(&url("owner"), TABLE, "id")).unwrap();
    assert_eq!(owner.prepare().await.unwrap().len(), 5, "and the right password opens");
    // Once the columns are there, the right to change them is enough.
    let writer = PostgresWriteBack::new(&plan(&url("writer"), TABLE, "id")).unwrap();
    assert!(writer.prepare().await.unwrap().is_empty());
    assert_eq!(writer.fill(&run(), &files([1, 21])).await.unwrap(), ["21"]);
}

#[tokio::test]
async fn a_server_that_never_answers_is_not_waited_for() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let mut plan = plan(&format!("postgres://u:{SECRET}@127.0.0.1:{port}/d"), TABLE, "id");
    plan.timeout = Duration::from_millis(100);
    let fault = PostgresWriteBack::new(&plan).unwrap().inspect().await.unwrap_err();
    assert_eq!((fault.kind, fault.detail.as_str()), (FaultKind::Timeout, "no answer in 100ms"));
}

#[tokio::test]
async fn a_plan_names_the_table_and_its_port_talks_to_it() {
    let server = Server::start();
    server.psql("CREATE SCHEMA app; CREATE TABLE app.saved (no int PRIMARY KEY); INSERT INTO app.saved VALUES (7)");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cutover.toml");
    let text = format!(
        r#"
name = "told"
environment = "rehearsal"
[stores.old]
kind = "sqlite"
path = "old.db"
[stores.new]
kind = "sqlite"
path = "new.db"
[buckets.media]
kind = "filesystem"
root = "media"
[buckets.r2]
kind = "filesystem"
root = "r2"
[[dataset]]
name = "files"
from = {{ store = "old", table = "files" }}
to = {{ store = "new", table = "files" }}
key = "id"
[dataset.blob]
from = "media"
path = "file_path"
to = "r2"
key = "{{{{ id }}}}"
[dataset.blob.write_back]
url = "{}"
table = "app.saved"
key = "no"
"#,
        server.socket_url()
    );
    std::fs::write(&path, text).unwrap();
    let plan = cutover::plan::load(&path).unwrap_or_else(|problems| panic!("{}", problems.pretty()));
    let port = cutover::wiring::ports(&plan).unwrap().write_back("files").unwrap();
    port.prepare().await.unwrap();
    assert_eq!(port.fill(&run(), &files([7, 8])).await.unwrap(), ["8"]);
    assert_eq!(server.psql("SELECT no FROM app.saved WHERE migration_status = 'completed'"), "7");
}
