//! One migration on the disk: a folder of files, a table that speaks of them, a plan that moves them to an S3 server.

use crate::server::Server;
use sqlx::{Connection as _, SqliteConnection, sqlite::SqliteConnectOptions};
use std::{
    fs,
    path::{Path, PathBuf},
};
use tempfile::TempDir;

pub(crate) const KIB: usize = 1024;
pub(crate) const MIB: usize = 1024 * KIB;

/// What a row says.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) path: String,
    pub(crate) key: String,
    pub(crate) sha256: Option<String>,
    pub(crate) size: Option<i64>,
}

/// A row that says nothing of the content.
pub(crate) fn row(path: impl Into<String>, key: impl Into<String>) -> Row {
    Row { path: path.into(), key: key.into(), sha256: None, size: None }
}

/// Seeded content: the same for the same seed and length.
pub(crate) fn content(seed: u64, length: usize) -> Vec<u8> {
    use rand::{RngCore as _, SeedableRng as _};
    let mut content = vec![0; length];
    rand::rngs::SmallRng::seed_from_u64(seed).fill_bytes(&mut content);
    content
}

/// What of the plan a test chooses.
#[derive(Debug, Clone, Default)]
pub(crate) struct Choices<'a> {
    /// Lines of the target bucket.
    pub(crate) bucket: &'a str,
    /// Lines of `[migration]`.
    pub(crate) migration: &'a str,
}

pub(crate) struct World {
    folder: TempDir,
}

impl World {
    /// A source with these rows and no files yet, and a plan for this server.
    pub(crate) async fn new(endpoint: &str, choices: &Choices<'_>, rows: &[Row]) -> Self {
        let world = Self { folder: tempfile::tempdir().unwrap() };
        fs::create_dir_all(world.media()).unwrap();
        world.write_plan(endpoint, choices);
        for file in ["old.db", "new.db"] {
            let mut sql = world.sql(file).await;
            let table = "CREATE TABLE files (id INTEGER PRIMARY KEY, path TEXT NOT NULL, key TEXT NOT NULL, \
                sha256 TEXT, size INTEGER)";
            sqlx::raw_sql(table).execute(&mut sql).await.unwrap();
            sql.close().await.unwrap();
        }
        let mut sql = world.sql("old.db").await;
        for row in rows {
            sqlx::query("INSERT INTO files (path, key, sha256, size) VALUES ($1, $2, $3, $4)")
                .bind(&row.path)
                .bind(&row.key)
                .bind(&row.sha256)
                .bind(row.size)
                .execute(&mut sql)
                .await
                .unwrap();
        }
        sql.close().await.unwrap();
        world
    }

    async fn sql(&self, file: &str) -> SqliteConnection {
        let options = SqliteConnectOptions::new().filename(self.path().join(file)).create_if_missing(true);
        SqliteConnection::connect_with(&options).await.unwrap()
    }

    /// The n-th row, from 0, says this now.
    pub(crate) async fn say(&self, place: usize, row: &Row) {
        let mut sql = self.sql("old.db").await;
        sqlx::query("UPDATE files SET path = $1, key = $2, sha256 = $3, size = $4 WHERE id = $5")
            .bind(&row.path)
            .bind(&row.key)
            .bind(&row.sha256)
            .bind(row.size)
            .bind(i64::try_from(place).unwrap() + 1)
            .execute(&mut sql)
            .await
            .unwrap();
        sql.close().await.unwrap();
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn media(&self) -> PathBuf {
        self.path().join("media")
    }

    /// Puts a file into the source.
    pub(crate) fn put(&self, name: &str, content: &[u8]) {
        let path = self.media().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// Nothing was ever copied.
    pub(crate) fn forget(&self) {
        fs::remove_dir_all(self.path().join("run")).unwrap();
    }

    fn write_plan(&self, endpoint: &str, choices: &Choices<'_>) {
        let Choices { bucket, migration } = choices;
        let (name, access, secret) = (Server::BUCKET, Server::ACCESS, Server::SECRET);
        let plan = format!(
            r#"
name = "files"
environment = "development"
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
kind = "s3"
endpoint = "{endpoint}"
bucket = "{name}"
region = "us-east-1"
access_key = "{access}"
secret_key = "{secret}"
# The shortest that s3s-fs takes.
parts_above = "5MiB"
part_size = "5MiB"
{bucket}
[migration]
backoff = "5ms"
{migration}
[[dataset]]
name = "files"
from = {{ store = "old", table = "files" }}
to = {{ store = "new", table = "files" }}
key = "id"
blob = {{ from = "media", path = "path", to = "r2", key = "{{{{ key }}}}", sha256 = "sha256", size = "size" }}
"#
        );
        fs::write(self.path().join("cutover.toml"), plan).unwrap();
    }
}
