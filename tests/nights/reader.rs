//! The independent reader: opens both databases and both folders itself and says what differs. It shares no code with
//! the program under test; what the plan computes on the way is written down here a second time, on purpose.

use sha2::{Digest as _, Sha256};
use sqlx::{Column as _, Row as _, SqlitePool, sqlite::SqliteConnectOptions};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

pub(crate) type Row = BTreeMap<String, String>;
pub(crate) type Table = BTreeMap<i64, Row>;

const TABLES: [&str; 3] = ["users", "files", "filters"];

/// One side's rows at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rows(pub(crate) BTreeMap<&'static str, Table>);

/// The folder a world keeps its data in.
#[derive(Debug, Clone)]
pub(crate) struct Places {
    pub(crate) dir: PathBuf,
}

impl Places {
    pub(crate) fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }
    pub(crate) async fn legacy(&self) -> Rows {
        rows(&self.dir.join("legacy.db")).await
    }
    pub(crate) async fn new_side(&self) -> Rows {
        rows(&self.dir.join("new.db")).await
    }
    fn media(&self) -> PathBuf {
        self.dir.join("media")
    }
    fn bucket(&self) -> PathBuf {
        self.dir.join("objects").join("list-cutter")
    }

    /// Every object in the bucket by key, with the SHA-256 of its bytes.
    pub(crate) fn objects(&self) -> BTreeMap<String, String> {
        let mut found = BTreeMap::new();
        walk(&self.bucket(), &self.bucket(), &mut found);
        found
    }

    /// Writes that users got a success answer for.
    pub(crate) fn acknowledged(&self) -> Vec<serde_json::Value> {
        let text = std::fs::read_to_string(self.dir.join("acknowledged.jsonl")).unwrap_or_default();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }
}

async fn rows(path: &Path) -> Rows {
    let pool = SqlitePool::connect_with(SqliteConnectOptions::new().filename(path).read_only(true))
        .await
        .unwrap_or_else(|error| panic!("cannot open {}: {error}", path.display()));
    let mut tables = BTreeMap::new();
    for table in TABLES {
        let read = sqlx::query(sqlx::AssertSqlSafe(format!("SELECT * FROM {table}"))).fetch_all(&pool).await.unwrap();
        let read = read.iter().map(|row| {
            let fields: Row = row
                .columns()
                .iter()
                .map(|column| {
                    let value = row
                        .try_get::<String, _>(column.ordinal())
                        .or_else(|_| row.try_get::<i64, _>(column.ordinal()).map(|number| number.to_string()))
                        .unwrap_or_else(|error| panic!("{table}.{}: {error}", column.name()));
                    (column.name().to_owned(), value)
                })
                .collect();
            (fields["id"].parse().unwrap(), fields)
        });
        tables.insert(table, read.collect());
    }
    pool.close().await;
    Rows(tables)
}

fn walk(root: &Path, dir: &Path, found: &mut BTreeMap<String, String>) {
    let Ok(entries) = std::fs::read_dir(dir) else { return };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() {
            walk(root, &path, found);
        } else {
            let key = path.strip_prefix(root).unwrap().to_string_lossy().into_owned();
            found.insert(key, sha256(&path));
        }
    }
}

fn sha256(path: &Path) -> String {
    hex::encode(Sha256::digest(std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))))
}

/// What a legacy row must look like on the new side.
fn carried(table: &str, legacy: &Row) -> Row {
    let mut row = legacy.clone();
    if table == "users" {
        row.insert("email".into(), legacy["email"].to_lowercase());
        row.insert("name".into(), format!("{} {}", legacy["first_name"], legacy["last_name"]));
    }
    row
}

/// JSON with another order of keys or other blanks is the same JSON.
fn same(field: &str, left: &str, right: &str) -> bool {
    let json = |text: &str| serde_json::from_str::<serde_json::Value>(text).ok();
    left == right || (field == "definition" && json(left).is_some() && json(left) == json(right))
}

/// Every legacy row stands on the new side as the plan says, and every legacy file's bytes stand in the bucket.
/// Rows that only the new side has must have been acknowledged there, or be marked as a probe's own.
pub(crate) async fn assert_everything_arrived(places: &Places) {
    let (legacy, new) = (places.legacy().await, places.new_side().await);
    let objects = places.objects();
    let mut wrong = Vec::new();
    for table in TABLES {
        for (id, row) in &legacy.0[table] {
            let wanted = carried(table, row);
            match new.0[table].get(id) {
                None => wrong.push(format!("{table} {id} is missing on the new side")),
                Some(found) => {
                    for (field, value) in &wanted {
                        let stands = found.get(field).map_or("", String::as_str);
                        if !same(field, value, stands) {
                            wrong.push(format!("{table} {id}.{field}: {value:?} became {stands:?}"));
                        }
                    }
                }
            }
        }
    }
    for (id, row) in &legacy.0["files"] {
        let key = format!("users/{}/{id}/{}", row["user_id"], row["file_name"]);
        let wanted = sha256(&places.media().join(&row["file_path"]));
        match objects.get(&key) {
            None => wrong.push(format!("file {id}: no object {key:?}")),
            Some(found) if *found != wanted => wrong.push(format!("file {id}: {key:?} has other bytes")),
            Some(_) => {}
        }
    }
    assert!(wrong.is_empty(), "{} differences:\n{}", wrong.len(), wrong[..wrong.len().min(20)].join("\n"));
    assert!(!legacy.0["users"].is_empty() && !legacy.0["files"].is_empty(), "an empty world proves nothing");
}

/// The legacy side has every row it had before, unchanged, with its bytes; every write that a user was told had worked,
/// on whichever side; and the new side has nothing left of the run.
pub(crate) async fn assert_back_as_before(places: &Places, before: &Rows, objects_before: &BTreeSet<String>) {
    // First what users were told, then what stands: users go on writing while this reads.
    let acknowledged = places.acknowledged();
    let legacy = places.legacy().await;
    let mut wrong = Vec::new();
    for table in TABLES {
        for (id, row) in &before.0[table] {
            if legacy.0[table].get(id) != Some(row) {
                wrong.push(format!("{table} {id}: {row:?} became {:?}", legacy.0[table].get(id)));
            }
        }
    }
    for row in legacy.0["files"].values() {
        let path = places.media().join(&row["file_path"]);
        if !path.is_file() {
            wrong.push(format!("file {}: {} is not there", row["id"], path.display()));
        } else if sha256(&path) != row["checksum"] {
            wrong.push(format!("file {}: {} has other bytes than its row says", row["id"], path.display()));
        }
    }
    wrong.extend(lost(&acknowledged, &legacy));
    let left: Vec<String> = places.objects().into_keys().filter(|key| !objects_before.contains(key)).collect();
    if !left.is_empty() {
        wrong.push(format!("{} objects of the run are left: {:?}", left.len(), &left[..left.len().min(3)]));
    }
    assert!(wrong.is_empty(), "{} differences:\n{}", wrong.len(), wrong[..wrong.len().min(20)].join("\n"));
}

/// Acknowledged writes that the new side does not have.
pub(crate) async fn lost_on_the_new_side(places: &Places) -> Vec<String> {
    let acknowledged = places.acknowledged();
    lost(&acknowledged, &places.new_side().await)
}

fn lost(acknowledged: &[serde_json::Value], side: &Rows) -> Vec<String> {
    let has = |table: &str, field: &str, value: &str| side.0[table].values().any(|row| row[field] == value);
    acknowledged
        .iter()
        .filter(|write| {
            let name = write["name"].as_str().unwrap();
            match write["what"].as_str().unwrap() {
                "user" => !has("users", "username", name),
                "file" => !has("files", "checksum", write["sha256"].as_str().unwrap()),
                "filter" => !has("filters", "name", name),
                other => panic!("unknown kind of write: {other}"),
            }
        })
        .map(|write| format!("lost: {write}"))
        .collect()
}
