//! The stores under test that are databases (`web_sides` has the others). A store is added by one function there or here,
//! and its name in `SIDES`.

use super::{d1_server, mariadb_server, postgres_server, record, web_sides};
use cutover::{
    adapters::records::{D1Store, MySqlStore, PostgresStore, SqliteStore},
    model::{Key, Record, Value},
    ports::{RecordStore, SetRef, WriteOutcome},
};
use serde_json::json;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Row as _, sqlite::SqliteConnectOptions};
use std::{any::Any, future::Future, path::Path, pin::Pin, sync::Arc, time::Duration};

/// Long enough for a slow, busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// What a column holds, in the words of these tests, and the type by which the store's database knows it.
pub(crate) type Types = &'static [(&'static str, &'static str)];

/// What can be held against a store; each holds what those before it do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Can {
    /// It can only be read.
    BeRead,
    /// It takes writes to the sets that it has.
    BeWritten,
    /// It can be given sets of any shape.
    BeShaped,
    /// It says what its fields hold, reads a set in parts, and takes no field that it does not have.
    Tell,
}

/// The set on which most promises are held, in a store's own words.
pub(crate) struct Items {
    pub(crate) set: SetRef,
    /// The record of this number. Records of growing numbers have growing times.
    pub(crate) item: fn(i64) -> Record,
    /// A text that may not be null.
    pub(crate) name: &'static str,
    /// A text that is written alone.
    pub(crate) note: &'static str,
}

/// Makes a set of this name with these columns.
type Make = Box<dyn Fn(&str, &str)>;
/// Makes items of these keys, or takes them away.
type Hand = Box<dyn Fn(&[i64], bool)>;

/// A store with a server of its own.
pub(crate) struct Side {
    pub(crate) name: &'static str,
    pub(crate) store: Arc<dyn RecordStore>,
    /// The store as a plan names it, and under which word it names a set.
    pub(crate) plan: (String, &'static str),
    pub(crate) can: Can,
    pub(crate) items: Items,
    pub(crate) types: Types,
    /// Its database holds anything in most columns.
    pub(crate) lenient: bool,
    /// Bytes of a long row.
    pub(crate) longest: usize,
    /// By which name the store knows a set.
    pub(crate) place: fn(&str) -> String,
    /// Makes a set with these columns.
    pub(crate) make: Make,
    /// Makes items, or takes them away, in a store that is only read.
    pub(crate) hand: Hand,
    /// Runs statements without the store.
    pub(crate) sql: Box<dyn Fn(&str)>,
    /// Lives as long as the store is used.
    pub(crate) _server: Box<dyn Any>,
}

impl Side {
    /// The type of a column that holds this; `None` if the database has none.
    pub(crate) fn holds(&self, word: &str) -> Option<&'static str> {
        self.types.iter().find(|(known, _)| *known == word).map(|(_, sql)| *sql)
    }

    /// The set of this name.
    pub(crate) fn set(&self, name: &str) -> SetRef {
        super::set(&(self.place)(name))
    }

    /// Makes a set. In `columns` every word between `{` and `}` stands for a type.
    pub(crate) fn table(&self, name: &str, columns: &str) {
        let mut columns = columns.to_owned();
        for (word, meant) in self.types {
            columns = columns.replace(&format!("{{{word}}}"), meant);
        }
        (self.make)(name, &columns);
    }

    /// The items of these numbers.
    pub(crate) fn items(&self, ids: impl IntoIterator<Item = i64>) -> Vec<Record> {
        ids.into_iter().map(self.items.item).collect()
    }

    /// Their keys.
    pub(crate) fn keys(&self, ids: impl IntoIterator<Item = i64>) -> Vec<Key> {
        super::keys(&self.items(ids))
    }

    /// Puts items there, by whichever way there is.
    pub(crate) async fn put(&self, ids: &[i64]) {
        if self.can == Can::BeRead {
            return (self.hand)(ids, true);
        }
        let outcomes = self.store.write(&self.items.set, &self.items(ids.iter().copied())).await.unwrap();
        assert!(outcomes.iter().all(|outcome| !matches!(outcome, WriteOutcome::Rejected(_))), "{outcomes:?}");
    }

    /// Takes items away.
    pub(crate) async fn remove(&self, ids: &[i64]) {
        if self.can == Can::BeRead {
            return (self.hand)(ids, false);
        }
        self.store.delete(&self.items.set, &self.keys(ids.iter().copied())).await.unwrap();
    }
}

/// An item as most stores have it.
pub(crate) fn item(id: i64) -> Record {
    let mut item = record(json!({
        "id": id, "name": format!("näme '{id}\" \\ \u{1F600}"), "active": id % 2 == 0, "score": 0.5, "note": null,
        "updated_at": format!("2026-11-20T00:00:{:02}Z", id % 60),
    }));
    item.0.insert("definition".into(), Value::Json(json!({"b": [1, 2.5, null], "a": {"ä": true}})));
    item
}

/// Items in a set of this name.
pub(crate) fn items(set: SetRef) -> Items {
    Items { set, item, name: "name", note: "note" }
}

/// A side whose store is a database.
fn database(
    name: &'static str,
    store: Arc<dyn RecordStore>,
    plan: String,
    types: Types,
    sql: impl Fn(&str) + Clone + 'static,
    server: Box<dyn Any>,
) -> Side {
    let run = sql.clone();
    Side {
        name,
        store,
        plan: (plan, "table"),
        can: Can::Tell,
        items: items(super::set("items")),
        types,
        lenient: false,
        longest: 10 << 20,
        place: str::to_owned,
        make: Box::new(move |name, columns| run(&format!("CREATE TABLE {name} ({columns})"))),
        hand: Box::new(|_, _| ()),
        sql: Box::new(sql),
        _server: server,
    }
}

type Making = Pin<Box<dyn Future<Output = Side>>>;

/// Every store that can be given rows of any shape.
pub(crate) const SIDES: &[fn() -> Making] = &[
    || Box::pin(sqlite()),
    || Box::pin(postgres()),
    || Box::pin(mysql()),
    || Box::pin(d1()),
    || Box::pin(web_sides::django("offset")),
];

pub(crate) async fn postgres() -> Side {
    let server = Arc::new(postgres_server::Server::start());
    let store = PostgresStore::new("pg", &server.socket_url().into(), None, PATIENCE).unwrap();
    let psql = Arc::clone(&server);
    let types = &[
        ("key", "bigint PRIMARY KEY"),
        ("text key", "text COLLATE \"C\" PRIMARY KEY"),
        ("counted", "bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY"),
        ("bool", "boolean"),
        ("int", "bigint"),
        ("small", "smallint"),
        ("float", "double precision"),
        ("any float", "double precision"),
        ("short float", "real"),
        ("any decimal", "numeric"),
        ("decimal", "numeric(50,15)"),
        ("small decimal", "numeric(12,4)"),
        ("text", "text"),
        ("varchar", "varchar(5)"),
        ("bytes", "bytea"),
        ("date", "date"),
        ("time", "time(6)"),
        ("timestamp", "timestamptz(6)"),
        ("stamp", "timestamp(6)"),
        ("millis", "timestamptz(3)"),
        ("far date", "date"),
        ("far timestamp", "timestamptz"),
        ("uuid", "uuid"),
        ("json", "jsonb"),
        ("list", "text[]"),
    ];
    let plan = format!("kind = \"postgres\"\nurl = \"{}\"", server.socket_url());
    let sql = move |sql: &str| drop(psql.psql(sql));
    database("postgres", Arc::new(store), plan, types, sql, Box::new(server))
}

pub(crate) async fn mysql() -> Side {
    let server = Arc::new(mariadb_server::Server::start());
    let store = MySqlStore::new("my", &server.socket_url().into(), PATIENCE).unwrap();
    let client = Arc::clone(&server);
    let types = &[
        ("key", "bigint PRIMARY KEY"),
        ("text key", "varchar(100) COLLATE utf8mb4_nopad_bin PRIMARY KEY"),
        ("counted", "bigint AUTO_INCREMENT PRIMARY KEY"),
        ("bool", "boolean"),
        ("int", "bigint"),
        ("uint", "bigint unsigned"),
        ("small", "smallint"),
        ("float", "double"),
        ("short float", "float"),
        ("decimal", "decimal(50,15)"),
        ("small decimal", "decimal(12,4)"),
        ("text", "longtext"),
        ("nul text", "text"),
        ("varchar", "varchar(5)"),
        ("bytes", "longblob"),
        ("date", "date"),
        ("time", "time(6)"),
        ("timestamp", "timestamp(6) NULL DEFAULT NULL"),
        ("millis", "timestamp(3) NULL DEFAULT NULL"),
        ("stamp", "datetime(6)"),
        ("uuid", "uuid"),
        ("json", "json"),
    ];
    let plan = format!("kind = \"mysql\"\nurl = \"{}\"", server.socket_url());
    let sql = move |sql: &str| drop(client.sql(sql));
    database("mysql", Arc::new(store), plan, types, sql, Box::new(server))
}

/// What a column of SQLite's holds; it takes most other things as well.
const LITE: Types = &[
    ("key", "INTEGER PRIMARY KEY"),
    ("text key", "TEXT NOT NULL PRIMARY KEY"),
    ("counted", "INTEGER PRIMARY KEY AUTOINCREMENT"),
    ("bool", "BOOLEAN"),
    ("int", "INTEGER"),
    ("float", "REAL"),
    ("small decimal", "DECIMAL(12,4)"),
    ("text", "TEXT"),
    ("nul text", "TEXT"),
    ("varchar", "VARCHAR(5)"),
    ("bytes", "BLOB"),
    ("date", "DATE"),
    ("far date", "DATE"),
    ("time", "TIME"),
    ("timestamp", "DATETIME"),
    ("far timestamp", "TEXT"),
    ("millis", "TIMESTAMP"),
    ("stamp", "DATETIME"),
    ("uuid", "UUID"),
    ("json", "JSON"),
];

/// What a SQLite file answers to statements: the first column of each row.
pub(crate) fn lite_rows(path: &Path, sql: &str) -> Vec<String> {
    let (path, sql) = (path.to_owned(), sql.to_owned());
    let run = async move {
        let options = SqliteConnectOptions::new().filename(path).pragma("busy_timeout", "60000");
        let mut connection = options.connect().await.unwrap();
        let rows = sqlx::raw_sql(AssertSqlSafe(sql)).fetch_all(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        rows.iter().map(|row| row.get_unchecked(0)).collect()
    };
    // The tests' own runtime must not be held up from within.
    std::thread::spawn(|| tokio::runtime::Runtime::new().unwrap().block_on(run)).join().unwrap()
}

pub(crate) async fn sqlite() -> Side {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("new.db");
    std::fs::File::create(&path).unwrap();
    let store = Arc::new(SqliteStore::new("lite", &path));
    let plan = format!("kind = \"sqlite\"\npath = \"{}\"", path.display());
    let sql = move |sql: &str| drop(lite_rows(&path, sql));
    Side { lenient: true, ..database("sqlite", store, plan, LITE, sql, Box::new(folder)) }
}

pub(crate) async fn d1() -> Side {
    let server = d1_server::Server::start().await;
    let token = d1_server::TOKEN;
    let store = Arc::new(D1Store::new("d1", &server.endpoint(), "acc", "db", &token.into(), PATIENCE).unwrap());
    let plan = format!(
        "kind = \"d1\"\naccount = \"acc\"\ndatabase = \"db\"\ntoken = \"{token}\"\nendpoint = \"{}\"",
        server.endpoint()
    );
    let path = server.file();
    let sql = move |sql: &str| drop(lite_rows(&path, sql));
    // It keeps no row of more than two million bytes.
    Side { lenient: true, longest: 1_900_000, ..database("d1", store, plan, LITE, sql, Box::new(server)) }
}
