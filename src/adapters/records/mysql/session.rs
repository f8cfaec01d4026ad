//! Transactions on a few kept connections, whose settings fix the text in which the server writes every value.

use super::{super::sql::kept::Kept, faults::fault};
use crate::{
    error::{Fault, FaultKind, Result},
    model::Timestamp,
};
use secrecy::{ExposeSecret as _, SecretString};
use sqlx::{
    AssertSqlSafe, ConnectOptions as _, MySqlConnection, Row as _,
    mysql::{MySqlConnectOptions, MySqlRow},
};
use std::time::Duration;
use tokio::sync::SemaphorePermit;

/// Values are kept exactly or refused, zero is a key like any other, a backslash is a backslash. Other transactions are
/// not held up by what we only looked at.
const SETTINGS: &str = "SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_BACKSLASH_ESCAPES,NO_AUTO_VALUE_ON_ZERO,\
    NO_ENGINE_SUBSTITUTION,ERROR_FOR_DIVISION_BY_ZERO', SESSION time_zone = '+00:00', SESSION innodb_lock_wait_timeout = 10; \
    SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED; SELECT @@max_allowed_packet";

/// A connection, with what its server takes.
pub(super) struct Line {
    connection: MySqlConnection,
    /// Bytes of the longest statement.
    packet: usize,
}

/// The connections to one database.
pub(super) struct Sessions {
    options: MySqlConnectOptions,
    pub(super) kept: Kept<Line>,
}

/// A transaction. Dropped before its end, it is gone together with its connection.
pub(super) struct Session<'s> {
    sessions: &'s Sessions,
    line: Line,
    /// The server's clock when it began.
    pub(super) clock: Option<Timestamp>,
    _room: SemaphorePermit<'s>,
}

impl Sessions {
    pub(super) fn new(doing: &str, url: &SecretString, timeout: Duration) -> Result<Self> {
        // Why it cannot be read would repeat a part of it.
        let options: MySqlConnectOptions =
            url.expose_secret().parse().map_err(|_secret: sqlx::Error| Fault::new(FaultKind::Plan, doing))?;
        let options = options.statement_cache_capacity(0).disable_statement_logging();
        Ok(Self { options, kept: Kept::new(timeout) })
    }

    /// Begins a transaction.
    pub(super) async fn begin(&self, doing: &str, writes: bool) -> Result<Session<'_>> {
        let room = self.kept.room(doing).await?;
        while let Some(mut line) = self.kept.take() {
            if let Ok(clock) = open(&mut line.connection, writes).await {
                return Ok(Session { sessions: self, line, clock, _room: room });
            }
        }
        let wrong = |error| fault(doing, error);
        let mut connection = Box::pin(self.options.connect()).await.map_err(wrong)?;
        let rows = sqlx::raw_sql(SETTINGS).fetch_all(&mut connection).await.map_err(wrong)?;
        let said = rows.last().and_then(|row| text(row, 0)).and_then(|said| said.parse().ok());
        let clock = open(&mut connection, writes).await.map_err(wrong)?;
        let line = Line { connection, packet: said.unwrap_or(1 << 20) };
        Ok(Session { sessions: self, line, clock, _room: room })
    }
}

async fn open(connection: &mut MySqlConnection, writes: bool) -> Result<Option<Timestamp>, sqlx::Error> {
    let mode = if writes { "READ WRITE" } else { "READ ONLY" };
    let begin = format!("START TRANSACTION {mode}; SELECT date_format(utc_timestamp(6), '%Y-%m-%dT%H:%i:%s.%fZ')");
    let rows = sqlx::raw_sql(AssertSqlSafe(begin)).fetch_all(connection).await?;
    Ok(rows.last().and_then(|row| text(row, 0)).and_then(|said| said.parse().ok()))
}

impl Session<'_> {
    /// Ends the transaction and keeps the connection. After an error nobody knows whether it was committed.
    pub(super) async fn end(mut self, doing: &str) -> Result<()> {
        self.run("COMMIT").await.map_err(|error| fault(doing, error))?;
        self.sessions.kept.keep(self.line);
        Ok(())
    }

    /// Bytes of the longest statement that the server takes.
    pub(super) const fn packet(&self) -> usize {
        self.line.packet
    }

    pub(super) const fn connection(&mut self) -> &mut MySqlConnection {
        &mut self.line.connection
    }

    /// Runs a statement of our own making.
    pub(super) async fn run(&mut self, sql: &str) -> Result<(), sqlx::Error> {
        sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(self.connection()).await.map(drop)
    }

    /// The rows that a statement of our own making answers with.
    pub(super) async fn rows(&mut self, doing: &str, sql: &str) -> Result<Vec<MySqlRow>> {
        let asked = sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).fetch_all(self.connection()).await;
        asked.map_err(|error| fault(doing, error))
    }
}

/// What a column of a row says, as the server wrote it; `None` for null.
pub(super) fn raw(row: &MySqlRow, at: usize) -> Result<Option<&[u8]>, sqlx::Error> {
    row.try_get_unchecked(at)
}

/// The same as a text, where the statement makes sure that it is one.
pub(super) fn text(row: &MySqlRow, at: usize) -> Option<String> {
    raw(row, at).ok().flatten().map(|raw| String::from_utf8_lossy(raw).into_owned())
}
