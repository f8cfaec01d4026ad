//! The ledger: the journal and the work tables of one plan, in one SQLite file.
//!
//! One connection writes: callers hand their operation to `writer`, which groups what waits into one transaction, and
//! hear back once it is durable. A few other connections only read. `journal` and `work` are the two ports, `lock` keeps
//! a second engine off the same plan, `rows` turns rows into words and back.
//!
//! Neighbours: `ports` above, SQLite below. Must never enter: anything that knows what the rows mean.

#[cfg(test)]
mod block_tests;
mod blocks;
mod fault;
mod files;
mod journal;
mod lock;
mod rows;
mod sql;
#[cfg(test)]
mod tests;
mod work;
mod writer;

pub use lock::{Holder, RunLock, user};

use crate::{
    error::{Fault, FaultKind, Result},
    model::RunId,
    ports::{Journal, Work},
};
use fault::broken;
use sqlx::{
    ConnectOptions as _, Connection as _, SqliteConnection, SqlitePool,
    migrate::Migrator,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use writer::Writer;

/// The ledger's file in its folder.
pub const FILE: &str = "ledger.db";

/// Connections that read.
const READERS: u32 = 3;
/// What the connection that writes keeps in memory, in KiB (SQLite counts those below zero).
const CACHE: &str = "-8192";
/// Pages of 4 KiB in the write-ahead log before they are folded into the file. A page that is written again and again, as
/// those of an index are, is folded once.
const LOG: &str = "4000";
/// How long a connection waits for another process's transaction.
const BUSY: Duration = Duration::from_secs(5);

static MIGRATIONS: Migrator = sqlx::migrate!("assets/migrations");

/// The ledger of one plan. Cheap to clone; closed when the last clone and all ports made from it are gone.
#[derive(Clone)]
pub struct Ledger {
    path: Arc<Path>,
    writer: Writer,
    readers: SqlitePool,
}

impl Ledger {
    /// Opens the ledger in this folder; makes both if they are missing, readable by this user only.
    ///
    /// # Errors
    /// `Permission` if the folder may not be made, `Ledger` if the file cannot be opened, is damaged, or was written by
    /// a newer version.
    pub async fn open(dir: &Path) -> Result<Self> {
        Self::open_limited(dir, None).await
    }

    /// True if there is a ledger in this folder.
    #[must_use]
    pub fn exists(dir: &Path) -> bool {
        dir.join(FILE).is_file()
    }

    async fn open_limited(dir: &Path, max_pages: Option<u32>) -> Result<Self> {
        let path = make_file(dir)?;
        let options = SqliteConnectOptions::new()
            .filename(&path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(BUSY)
            .statement_cache_capacity(64)
            .disable_statement_logging();
        let writing = options.clone().pragma("cache_size", CACHE).pragma("wal_autocheckpoint", LOG);
        let mut connection: SqliteConnection =
            writing.connect().await.map_err(|error| broken(&path, "open", &error))?;
        MIGRATIONS.run(&mut connection).await.map_err(|error| fault::migration(&path, error))?;
        if let Some(pages) = max_pages {
            let pragma = format!("PRAGMA max_page_count = {pages}");
            sqlx::raw_sql(sqlx::AssertSqlSafe(pragma))
                .execute(&mut connection)
                .await
                .map_err(|error| broken(&path, "open", &error))?;
        }
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS)
            .acquire_timeout(BUSY * 2)
            .connect_lazy_with(options.pragma("query_only", "on"));
        let path: Arc<Path> = path.into();
        Ok(Self { writer: Writer::start(connection, path.clone()), path, readers })
    }

    /// Where the file stands.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The port to the journal.
    #[must_use]
    pub fn journal(&self) -> Arc<dyn Journal> {
        Arc::new(journal::SqliteJournal::new(self.clone()))
    }

    /// The port to the work tables of a run.
    #[must_use]
    pub fn work(&self, run: &RunId) -> Arc<dyn Work> {
        Arc::new(work::SqliteWork::new(self.clone(), run.clone()))
    }

    /// Waits until everything handed over is written, and folds the write-ahead log into the file. What is handed over
    /// afterwards, through any clone, fails.
    pub async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}

/// Makes the folder (0700) and the file in it (0600; SQLite gives its side files the same rights).
fn make_file(dir: &Path) -> Result<PathBuf> {
    let fault = |what: &str, at: &Path, error: &io::Error| {
        let kind = match error.kind() {
            io::ErrorKind::PermissionDenied => FaultKind::Permission,
            _ => FaultKind::Ledger,
        };
        Fault::new(kind, format!("make the ledger's {what} {}", at.display())).detail(error.to_string())
    };
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(|error| fault("folder", dir, &error))?;
    let path = dir.join(FILE);
    fs::OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(&path)
        .map_err(|error| fault("file", &path, &error))?;
    Ok(path)
}

/// Closes a connection for good; used by the writer at its end.
async fn close(connection: SqliteConnection, path: &Path) {
    if let Err(error) = connection.close().await {
        tracing::warn!("could not close the ledger {}: {error}", path.display());
    }
}
