//! Everything that Django holds, moved into a SQLite file and compared by readers of both databases that know nothing of
//! this program.

use super::{
    django::{Django, FILES, FILTERS, MEMBERS},
    step::step,
};
use cutover::{
    ledger::Ledger,
    migrate::records,
    model::{Decimal, ItemState},
    plan,
    ports::{ItemQuery, ItemRow},
    wiring,
};
use serde_json::{Value as Json, json};
use sqlx::{AssertSqlSafe, Column as _, Connection as _, Row as _, SqliteConnection, TypeInfo as _, ValueRef as _};
use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

const TABLES: &str = "
    CREATE TABLE members (id INTEGER PRIMARY KEY, username TEXT, email TEXT, balance TEXT, points INTEGER, score REAL,
        active BOOLEAN, nickname TEXT, born TEXT, profile JSON, created_at TEXT, updated_at TEXT);
    CREATE TABLE files (id INTEGER PRIMARY KEY, member_id INTEGER REFERENCES members (id), name TEXT, size INTEGER, tag TEXT,
        note TEXT, created_at TEXT, updated_at TEXT);
    CREATE TABLE filters (id INTEGER PRIMARY KEY, member_id INTEGER REFERENCES members (id), name TEXT, definition JSON,
        created_at TEXT, updated_at TEXT);";

const SETS: [(&str, &str, i64); 3] =
    [("members", "shop_member", MEMBERS), ("files", "shop_file", FILES), ("filters", "shop_filter", FILTERS)];

fn plan_text(django: &Django, pagination: &str, way: &str) -> String {
    let endpoint = &django.endpoint;
    let mut text = format!(
        r#"
name = "shop"
environment = "development"
[stores.django]
kind = "http"
endpoint = "{endpoint}"
auth = {{ user = "admin", password = "{}" }}
pagination = "{pagination}"
[stores.new]
kind = "sqlite"
path = "new.db"
[migration]
batch_records = 40
"#,
        super::django::PASSWORD
    );
    for (name, ..) in SETS {
        let needs = if name == "members" { "" } else { "needs = [\"members\"]" };
        let dataset = format!(
            r#"
[[dataset]]
name = "{name}"
{needs}
from = {{ store = "django", path = "/api/{way}/{name}/" }}
to = {{ store = "new", table = "{name}" }}
key = "id"
updated = "updated_at"
"#
        );
        text.push_str(&dataset);
    }
    text
}

/// An empty SQLite file with these tables.
async fn target(folder: &Path, tables: &'static str) -> PathBuf {
    let new = folder.join("new.db");
    fs::File::create(&new).unwrap();
    let mut sql = SqliteConnection::connect(&format!("sqlite://{}", new.display())).await.unwrap();
    sqlx::raw_sql(tables).execute(&mut sql).await.unwrap();
    sql.close().await.unwrap();
    new
}

/// Copies and compares all datasets of the plan in this folder; gives the records that failed.
async fn migrate(folder: &Path) -> Vec<ItemRow> {
    let plan = Arc::new(plan::load(&folder.join("cutover.toml")).unwrap_or_else(|problems| panic!("{problems}")));
    let ledger = Ledger::open(folder).await.unwrap_or_else(|fault| panic!("{}", fault.chain()));
    let mut failed = Vec::new();
    for dataset in &plan.datasets {
        let ports = wiring::ports(&plan).unwrap_or_else(|fault| panic!("{}", fault.chain()));
        let cx = step(&plan, ports, &ledger, "run", &dataset.name, folder);
        records::copy(&cx, dataset).await.unwrap_or_else(|fault| panic!("{}: {}", dataset.name, fault.chain()));
        let found = records::verify(&cx, dataset).await.unwrap_or_else(|fault| panic!("{}", fault.chain()));
        let states = vec![ItemState::Failed];
        let now = cx.work.items(&ItemQuery { states, limit: 1000, ..ItemQuery::default() }).await.unwrap();
        assert!(found.first.len() <= now.len(), "{}: {:?}", dataset.name, found.first);
        failed = now;
    }
    ledger.close().await;
    failed
}

/// A column as a text that both databases have in common.
fn common(name: &str, text: &str) -> String {
    match name {
        "balance" => Decimal::parse(text).unwrap().to_string(),
        "score" => format!("{:?}", text.parse::<f64>().unwrap()),
        "profile" | "definition" => serde_json::from_str::<Json>(text).unwrap().to_string(),
        "created_at" | "updated_at" => {
            let text = text.replace(' ', "T");
            let zoned = if text.ends_with('Z') { text } else { format!("{text}Z") };
            zoned.parse::<cutover::model::Timestamp>().unwrap().to_string()
        }
        "tag" => text.replace('-', ""),
        _ => text.to_owned(),
    }
}

/// All rows of a table by column.
async fn rows(database: &Path, table: &str) -> Vec<Vec<(String, Option<String>)>> {
    let mut sql = SqliteConnection::connect(&format!("sqlite://{}", database.display())).await.unwrap();
    let query = format!("SELECT * FROM {table} ORDER BY id");
    let rows = sqlx::query(AssertSqlSafe(query)).fetch_all(&mut sql).await.unwrap();
    let cell = |row: &sqlx::sqlite::SqliteRow, place: usize| {
        let raw = row.try_get_raw(place).unwrap();
        let name = row.column(place).name().to_owned();
        let text = match raw.type_info().name() {
            _ if raw.is_null() => None,
            "INTEGER" | "BOOLEAN" => Some(row.get_unchecked::<i64, _>(place).to_string()),
            "REAL" => Some(format!("{:?}", row.get_unchecked::<f64, _>(place))),
            _ => Some(row.get_unchecked::<String, _>(place)),
        };
        let text = text.map(|text| common(&name, &text));
        (name, text)
    };
    let mut all: Vec<Vec<_>> = rows.iter().map(|row| (0..row.len()).map(|place| cell(row, place)).collect()).collect();
    for row in &mut all {
        row.sort();
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn all_of_django_arrives() {
    let django = Django::start();
    for (pagination, way) in [("cursor", "cursor"), ("limit-offset", "offset")] {
        let folder = tempfile::tempdir().unwrap();
        let new = target(folder.path(), TABLES).await;
        fs::write(folder.path().join("cutover.toml"), plan_text(&django, pagination, way)).unwrap();
        assert_eq!(migrate(folder.path()).await.len(), 0);
        for (name, table, count) in SETS {
            let (old, new) = (rows(&django.database(), table).await, rows(&new, name).await);
            assert_eq!(i64::try_from(old.len()).unwrap(), count);
            for (old, new) in old.iter().zip(&new) {
                assert_eq!(old, new, "{name} by {pagination}");
            }
            assert_eq!(old.len(), new.len(), "{name} by {pagination}");
        }
    }
}

const EXPORTS: &str = r#"
name = "browsers"
environment = "development"
[stores.browsers]
kind = "local-storage"
root = "exports"
[stores.new]
kind = "sqlite"
path = "new.db"
[migration]
batch_records = 7
max_failures = 100
[[dataset]]
name = "filters"
from = { store = "browsers", keys = "savedFilters[]" }
to = { store = "new", table = "filters" }
key = "id"
updated = "exported_at"
map = { name = "value.name" }
"#;

#[tokio::test(flavor = "multi_thread")]
async fn what_browsers_kept_arrives_and_what_is_broken_is_listed() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("exports");
    fs::create_dir(&root).unwrap();
    for user in 1..=30 {
        let filters: Vec<Json> =
            (0..3).map(|n| json!({"id": format!("f{n}"), "name": format!("n\u{e4}me {n}")})).collect();
        // Every tenth browser was closed while it wrote.
        let text = if user % 10 == 0 { "[{\"id\": ".to_owned() } else { json!(filters).to_string() };
        fs::write(root.join(format!("{user}.json")), json!({ "savedFilters": text }).to_string()).unwrap();
    }
    fs::write(folder.path().join("cutover.toml"), EXPORTS).unwrap();
    let tables =
        "CREATE TABLE filters (id TEXT PRIMARY KEY, user_id INTEGER, storage_key TEXT, value JSON, version INTEGER,
        size INTEGER, exported_at TEXT, name TEXT)";
    let new = target(folder.path(), tables).await;
    let failed = migrate(folder.path()).await;
    let keys: Vec<&str> = failed.iter().map(|item| item.key.as_str()).collect();
    assert_eq!(keys, ["10:savedFilters", "20:savedFilters", "30:savedFilters"]);
    let row = |item: &ItemRow| item.facts.as_ref().unwrap()["row"].clone();
    assert!(failed.iter().all(|item| row(item)["invalid"].as_str().unwrap().contains("no JSON")), "{failed:?}");
    assert!(failed.iter().all(|item| row(item)["raw"] == "[{\"id\": "), "{failed:?}");
    let rows = rows(&new, "filters").await;
    assert_eq!(rows.len(), 27 * 3);
    let first: Vec<&str> = rows[0].iter().filter_map(|(_, value)| value.as_deref()).collect();
    assert!(
        first.contains(&"11:savedFilters#f0") && first.contains(&"11") && first.contains(&"n\u{e4}me 0"),
        "{first:?}"
    );
}
