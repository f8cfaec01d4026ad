//! A SQLite file on this machine.
//!
//! A write is one immediate transaction on the only writing connection; statements that were refused are taken back to
//! the savepoint before them, so that they leave no trace in the transaction that carries the others. A file that is not
//! there is a fault: this adapter never makes one. Reading connections cannot write.

mod faults;

use super::lite::{
    LiteStore,
    engine::{Answered, Cell, Cells, Engine, Limits, Ran, Statement, Writing},
};
use crate::{
    error::{Fault, FaultKind, Result},
    model::Timestamp,
};
use async_trait::async_trait;
use faults::{fault, rejection};
use futures::TryStreamExt as _;
use sqlx::{
    AssertSqlSafe, Decode, Row as _, Sqlite, SqliteConnection, SqlitePool, Transaction, TypeInfo as _, ValueRef as _,
    query::Query,
    sqlite::{
        SqliteArguments, SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteRow, SqliteSynchronous,
    },
};
use std::{
    path::{Path, PathBuf},
    time::Duration,
};

/// Longest wait for another process that writes.
const BUSY: Duration = Duration::from_secs(10);
/// Longest time for one call.
const LONGEST: Duration = Duration::from_mins(1);
/// Rows that a connection reads ahead: to wake somebody up for each costs more than to read it.
const ROWS_AHEAD: usize = 500;
/// Connections that read.
const READERS: u32 = 4;

/// Records in a SQLite file.
pub type SqliteStore = LiteStore<SqliteFile>;

impl SqliteStore {
    /// The store of this name in the plan. Opens nothing yet.
    #[must_use]
    pub fn new(name: &str, path: &Path) -> Self {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(false)
            .foreign_keys(true)
            .busy_timeout(BUSY)
            .row_buffer_size(ROWS_AHEAD);
        // Neither pool lets go of connections by time, so neither starts a task and both can be made anywhere.
        let pool = || SqlitePoolOptions::new().idle_timeout(None).max_lifetime(None).acquire_timeout(BUSY);
        let readers = pool().max_connections(READERS).connect_lazy_with(options.clone().pragma("query_only", "1"));
        let writer = pool()
            .max_connections(1)
            .connect_lazy_with(options.journal_mode(SqliteJournalMode::Wal).synchronous(SqliteSynchronous::Full));
        Self::of(SqliteFile { name: name.to_owned(), path: path.to_owned(), readers, writer })
    }
}

/// A SQLite file.
#[derive(Debug)]
pub struct SqliteFile {
    name: String,
    path: PathBuf,
    readers: SqlitePool,
    writer: SqlitePool,
}

impl SqliteFile {
    fn there(&self, doing: &str) -> Result<()> {
        if self.path.is_file() {
            return Ok(());
        }
        let detail = format!("there is no file {}", self.path.display());
        Err(Fault::new(FaultKind::NotFound, doing).detail(detail))
    }
}

#[async_trait]
impl Engine for SqliteFile {
    fn name(&self) -> &str {
        &self.name
    }

    fn limits(&self) -> Limits {
        Limits { cells: 16_000, bytes: 4 << 20, attempt: 64 << 20 }
    }

    fn is_writable(&self) -> bool {
        std::fs::metadata(&self.path).is_ok_and(|file| !file.permissions().readonly())
    }

    fn is_one_write(&self) -> bool {
        true
    }

    fn page(&self, limit: u32) -> u32 {
        limit
    }

    async fn read(&self, doing: &str, statement: Statement, most: Option<usize>) -> Result<Answered> {
        self.there(doing)?;
        let as_of = Some(Timestamp::now());
        timely(doing, async {
            let mut coming = prepared(statement).fetch(&self.readers);
            let (mut rows, mut bytes) = (Vec::new(), 0);
            while let Some(row) = coming.try_next().await.map_err(|error| fault(doing, error))? {
                if most.is_some_and(|most| bytes > most) {
                    return Ok(Answered { rows, whole: false, as_of });
                }
                let cells = cells(&row).map_err(|error| fault(doing, error))?;
                bytes += cells.iter().map(Cell::weight).sum::<usize>();
                rows.push(cells);
            }
            Ok(Answered { rows, whole: true, as_of })
        })
        .await
    }

    async fn write(&self, doing: &str) -> Result<Box<dyn Writing + '_>> {
        self.there(doing)?;
        let begun = timely(doing, async {
            self.writer.begin_with("BEGIN IMMEDIATE").await.map_err(|error| fault(doing, error))
        });
        Ok(Box::new(InFile(begun.await?)))
    }
}

/// Does this within the longest time.
async fn timely<T>(doing: &str, work: impl Future<Output = Result<T>>) -> Result<T> {
    let late = || Fault::new(FaultKind::Timeout, doing).detail(format!("not done within {LONGEST:?}"));
    tokio::time::timeout(LONGEST, work).await.unwrap_or_else(|_| Err(late()))
}

/// A transaction of the writing connection.
struct InFile<'f>(Transaction<'f, Sqlite>);

#[async_trait]
impl Writing for InFile<'_> {
    async fn run(&mut self, doing: &str, statements: Vec<Statement>) -> Result<Ran> {
        timely(doing, async {
            let connection = &mut *self.0;
            act(connection, "SAVEPOINT attempt").await.map_err(|error| fault(doing, error))?;
            let done = all(connection, statements).await;
            let after = if done.is_ok() { "RELEASE attempt" } else { "ROLLBACK TO attempt" };
            let back = act(connection, after).await;
            match done {
                // A fault ends the write, and with it the transaction.
                Err(error) => rejection(doing, error).map(Ran::Refused),
                Ok(rows) => back.map(|()| Ran::Done(rows)).map_err(|error| fault(doing, error)),
            }
        })
        .await
    }

    async fn end(self: Box<Self>, doing: &str) -> Result<()> {
        timely(doing, async { self.0.commit().await.map_err(|error| fault(doing, error)) }).await
    }
}

async fn act(connection: &mut SqliteConnection, sql: &'static str) -> Result<(), sqlx::Error> {
    sqlx::query(sql).execute(connection).await.map(drop)
}

async fn all(connection: &mut SqliteConnection, statements: Vec<Statement>) -> Result<Vec<Vec<Cells>>, sqlx::Error> {
    let mut answers = Vec::with_capacity(statements.len());
    for statement in statements {
        let rows = prepared(statement).fetch_all(&mut *connection).await?;
        answers.push(rows.iter().map(cells).collect::<Result<_, _>>()?);
    }
    Ok(answers)
}

/// The statement with its values bound.
fn prepared(mut statement: Statement) -> Query<'static, Sqlite, SqliteArguments> {
    let columns = std::mem::take(&mut statement.columns);
    let mut cells = Vec::new();
    let text = statement.filled(|text, cell| {
        text.push('?');
        cells.push(cell);
    });
    let text = if columns.is_empty() { text } else { format!("SELECT {}{text}", columns.join(", ")) };
    cells.into_iter().fold(sqlx::query(AssertSqlSafe(text)), |query, cell| match cell {
        Cell::Null => query.bind(None::<String>),
        Cell::Int(number) => query.bind(number),
        Cell::Real(number) => query.bind(number),
        Cell::Text(text) => query.bind(text),
        Cell::Blob(bytes) => query.bind(bytes),
    })
}

/// A row as it is kept: for a value that is there SQLite says how it is kept, not how its column was declared.
fn cells(row: &SqliteRow) -> Result<Cells, sqlx::Error> {
    let cell = |at: usize| {
        let raw = row.try_get_raw(at)?;
        if raw.is_null() {
            return Ok(Cell::Null);
        }
        let kept = raw.type_info().into_owned();
        let read = || {
            Ok(match kept.name() {
                "INTEGER" => Cell::Int(<i64 as Decode<Sqlite>>::decode(raw)?),
                "REAL" => Cell::Real(<f64 as Decode<Sqlite>>::decode(raw)?),
                "TEXT" => Cell::Text(<String as Decode<Sqlite>>::decode(raw)?),
                _ => Cell::Blob(<Vec<u8> as Decode<Sqlite>>::decode(raw)?),
            })
        };
        read().map_err(sqlx::Error::Decode)
    };
    (0..row.len()).map(cell).collect()
}
