//! Transactions on a few kept connections.
//!
//! Settings go into each transaction, not into the session, so that it works through a pooler as well; they fix the text
//! in which the server writes every value.

use super::super::sql::kept::Kept;
use crate::{
    adapters::postgres::{self, fault},
    error::Result,
    model::Timestamp,
};
use secrecy::SecretString;
use sqlx::{AssertSqlSafe, ConnectOptions as _, PgConnection, Row as _, postgres::PgConnectOptions};
use std::time::Duration;
use tokio::sync::SemaphorePermit;

/// A row that somebody else holds is not waited for longer than this.
const LONGEST_LOCK: Duration = Duration::from_secs(10);
/// The text of every value, whatever the server, the database or the role would have.
const TEXTS: &str = "SET LOCAL TimeZone = 'UTC'; SET LOCAL DateStyle = 'ISO, YMD'; SET LOCAL IntervalStyle = 'iso_8601'; \
    SET LOCAL extra_float_digits = 3; SET LOCAL bytea_output = 'hex'; SET LOCAL lc_monetary = 'C'; \
    SET LOCAL standard_conforming_strings = on; SET LOCAL client_min_messages = error";

/// The connections to one database.
pub(super) struct Sessions {
    options: PgConnectOptions,
    pub(super) kept: Kept<PgConnection>,
}

/// A transaction. Dropped before its end, it is gone together with its connection.
pub(super) struct Session<'s> {
    sessions: &'s Sessions,
    pub(super) connection: PgConnection,
    /// The server's clock when it began.
    pub(super) clock: Option<Timestamp>,
    _room: SemaphorePermit<'s>,
}

impl Sessions {
    pub(super) fn new(doing: &str, url: &SecretString, timeout: Duration) -> Result<Self> {
        Ok(Self { options: postgres::options(doing, url)?, kept: Kept::new(timeout) })
    }

    /// Begins a transaction that reads, or one that writes.
    pub(super) async fn begin(&self, doing: &str, writes: bool) -> Result<Session<'_>> {
        let room = self.kept.room(doing).await?;
        while let Some(mut connection) = self.kept.take() {
            if let Ok(clock) = self.open(&mut connection, writes).await {
                return Ok(Session { sessions: self, connection, clock, _room: room });
            }
        }
        let wrong = |error| fault(doing, error);
        let mut connection = Box::pin(self.options.connect()).await.map_err(wrong)?;
        let clock = self.open(&mut connection, writes).await.map_err(wrong)?;
        Ok(Session { sessions: self, connection, clock, _room: room })
    }

    async fn open(&self, connection: &mut PgConnection, writes: bool) -> Result<Option<Timestamp>, sqlx::Error> {
        let mode = if writes { "" } else { " READ ONLY" };
        let lock = LONGEST_LOCK.min(self.kept.timeout() / 2);
        let begin = format!(
            "BEGIN ISOLATION LEVEL READ COMMITTED{mode}; SET LOCAL statement_timeout = {}; SET LOCAL lock_timeout = {}; \
             {TEXTS}; SELECT to_char(clock_timestamp(), 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')",
            self.kept.timeout().as_millis().max(1),
            lock.as_millis().max(1),
        );
        let rows = sqlx::raw_sql(AssertSqlSafe(begin)).fetch_all(connection).await?;
        let said: Option<String> = rows.first().map(|row| row.try_get(0)).transpose()?;
        Ok(said.and_then(|said| said.parse().ok()))
    }
}

impl Session<'_> {
    /// Ends the transaction and keeps the connection. After an error nobody knows whether it was committed.
    pub(super) async fn end(mut self, doing: &str) -> Result<()> {
        self.run(doing, "COMMIT").await?;
        self.sessions.kept.keep(self.connection);
        Ok(())
    }

    /// Ends the transaction as if it had not been, and keeps the connection.
    pub(super) async fn undo(mut self, doing: &str) -> Result<()> {
        self.run(doing, "ROLLBACK").await?;
        self.sessions.kept.keep(self.connection);
        Ok(())
    }

    /// Runs statements of our own making.
    pub(super) async fn run(&mut self, doing: &str, sql: &str) -> Result<()> {
        let statement = sqlx::raw_sql(AssertSqlSafe(sql.to_owned()));
        statement.execute(&mut self.connection).await.map_err(|error| fault(doing, error))?;
        Ok(())
    }
}
