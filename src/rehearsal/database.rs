//! The two databases of the world, each a SQLite file in WAL mode so that others may read beside the apps.

use crate::error::{Fault, FaultKind, Result};
use sqlx::{
    AssertSqlSafe, SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use std::{path::Path, time::Duration};

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Legacy,
    New,
}

impl Side {
    /// Fields of the users table that the other side does not have.
    const fn name_column(self) -> &'static str {
        match self {
            Self::Legacy => "",
            Self::New => "name TEXT NOT NULL DEFAULT '',",
        }
    }

    /// The word in answers, metrics and the list of acknowledged writes.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Legacy => "legacy",
            Self::New => "new",
        }
    }
}

/// Now, as both apps write it: fixed width, so that times compare as text.
pub(super) fn now_text() -> String {
    time_text(jiff::Timestamp::now())
}

/// A time as both apps write it.
pub(super) fn time_text(at: jiff::Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string()
}

/// Opens the database, making it and its tables if they are not there.
pub(super) async fn open(path: &Path, side: Side) -> Result<SqlitePool> {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Normal)
        .busy_timeout(Duration::from_secs(15));
    let doing = || format!("open the database {}", path.display());
    let pool = SqlitePoolOptions::new()
        .max_connections(6)
        .acquire_timeout(Duration::from_secs(15))
        .connect_with(options)
        .await
        .map_err(|error| Fault::new(FaultKind::Disk, doing()).source(error))?;
    let tables = format!(
        "CREATE TABLE IF NOT EXISTS users (
            id INTEGER PRIMARY KEY AUTOINCREMENT, username TEXT NOT NULL UNIQUE, email TEXT NOT NULL DEFAULT '',
            first_name TEXT NOT NULL DEFAULT '', last_name TEXT NOT NULL DEFAULT '', {}
            password_hash TEXT NOT NULL DEFAULT '', created_at TEXT NOT NULL, updated_at TEXT NOT NULL);
        CREATE TABLE IF NOT EXISTS files (
            id INTEGER PRIMARY KEY AUTOINCREMENT, user_id INTEGER NOT NULL, file_name TEXT NOT NULL,
            file_path TEXT NOT NULL UNIQUE, size INTEGER NOT NULL, checksum TEXT NOT NULL, mime_type TEXT NOT NULL,
            created_at TEXT NOT NULL, updated_at TEXT NOT NULL);
        CREATE TABLE IF NOT EXISTS filters (
            id INTEGER PRIMARY KEY AUTOINCREMENT, user_id INTEGER NOT NULL, name TEXT NOT NULL,
            definition JSON NOT NULL DEFAULT '{{}}', created_at TEXT NOT NULL, updated_at TEXT NOT NULL);
        CREATE TABLE IF NOT EXISTS tokens (token TEXT PRIMARY KEY, user_id INTEGER NOT NULL, kind TEXT NOT NULL);
        CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, answer TEXT NOT NULL);
        CREATE INDEX IF NOT EXISTS users_updated ON users (updated_at, id);
        CREATE INDEX IF NOT EXISTS files_updated ON files (updated_at, id);
        CREATE INDEX IF NOT EXISTS files_user ON files (user_id);
        CREATE INDEX IF NOT EXISTS filters_updated ON filters (updated_at, id);
        CREATE INDEX IF NOT EXISTS filters_user ON filters (user_id);",
        side.name_column()
    );
    sqlx::raw_sql(AssertSqlSafe(tables))
        .execute(&pool)
        .await
        .map_err(|error| Fault::new(FaultKind::Disk, doing()).source(error))?;
    Ok(pool)
}

/// Takes the next id of a table before its row exists, so that the bytes can be stored before the row says so.
pub(super) async fn next_id(pool: &SqlitePool, table: &'static str) -> Result<i64, sqlx::Error> {
    let mut tx = pool.begin_with("BEGIN IMMEDIATE").await?;
    let taken: Option<i64> =
        sqlx::query_scalar("UPDATE sqlite_sequence SET seq = seq + 1 WHERE name = $1 RETURNING seq")
            .bind(table)
            .fetch_optional(&mut *tx)
            .await?;
    let id = if let Some(id) = taken {
        id
    } else {
        sqlx::query("INSERT INTO sqlite_sequence (name, seq) VALUES ($1, 1)").bind(table).execute(&mut *tx).await?;
        1
    };
    tx.commit().await?;
    Ok(id)
}
