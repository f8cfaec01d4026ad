//! The legacy table in `PostgreSQL` that is told which files have moved.
//!
//! `table` looks at the table and makes the statements; what all that speaks with `PostgreSQL` shares is beside this room.
//! One connection, kept between
//! calls and thrown away with any call that did not end well: what a dropped call left open dies with it. Settings go
//! into each transaction, not into the session, so that it works through a pooler as well. Must never enter: which file
//! belongs to which row, retries.

mod table;

use crate::{
    adapters::postgres::{self, fault},
    error::{Fault, FaultKind, Result},
    model::RunId,
    plan::WriteBackPlan,
    ports::{ClearedPage, MigratedFile, WriteBack},
};
use async_trait::async_trait;
use sqlx::{
    AssertSqlSafe, ConnectOptions as _, PgConnection, Row as _,
    postgres::{PgConnectOptions, PgRow},
};
use std::time::Duration;
use table::Table;
use tokio::sync::{Mutex, MutexGuard};

/// A row that a user holds is not waited for longer than this; nor than half of the timeout.
const LONGEST_LOCK: Duration = Duration::from_secs(3);

/// A table in `PostgreSQL`.
pub struct PostgresWriteBack {
    options: PgConnectOptions,
    plan: WriteBackPlan,
    kept: Mutex<Option<PgConnection>>,
}

impl PostgresWriteBack {
    /// The table of this plan. Talks to nobody.
    ///
    /// # Errors
    /// `Plan` if the address cannot be used.
    pub fn new(plan: &WriteBackPlan) -> Result<Self> {
        let options = postgres::options(&format!("read the address of the database of {}", plan.table), &plan.url)?;
        Ok(Self { options, plan: plan.clone(), kept: Mutex::default() })
    }

    fn doing(&self, what: &str) -> String {
        format!("{what} {} at {}", self.plan.table, self.plan.host)
    }

    /// Runs a call, but not longer than the plan's timeout.
    async fn within<T: Send>(&self, doing: &str, call: impl Future<Output = Result<T>> + Send) -> Result<T> {
        let limit = self.plan.timeout;
        tokio::time::timeout(limit, call).await.unwrap_or_else(|_late| {
            Err(Fault::new(FaultKind::Timeout, doing).detail(format!("no answer in {limit:?}")))
        })
    }

    /// Begins a transaction, on the kept connection if that still lives.
    async fn begin(&self, doing: &str) -> Result<Transaction<'_>> {
        let mut kept = self.kept.lock().await;
        if let Some(mut connection) = kept.take()
            && self.open(doing, &mut connection).await.is_ok()
        {
            return Ok(Transaction { kept, connection });
        }
        let mut connection = self.options.connect().await.map_err(|error| fault(doing, error))?;
        self.open(doing, &mut connection).await?;
        Ok(Transaction { kept, connection })
    }

    async fn open(&self, doing: &str, connection: &mut PgConnection) -> Result<()> {
        let lock = LONGEST_LOCK.min(self.plan.timeout / 2);
        let begin = format!(
            "BEGIN; SET LOCAL statement_timeout = {}; SET LOCAL lock_timeout = {}; SET LOCAL TimeZone = 'UTC'",
            self.plan.timeout.as_millis().max(1),
            lock.as_millis().max(1),
        );
        sqlx::raw_sql(AssertSqlSafe(begin)).execute(connection).await.map_err(|error| fault(doing, error))?;
        Ok(())
    }

    async fn look(&self, doing: &str, transaction: &mut Transaction<'_>) -> Result<Table> {
        Table::discover(doing, &mut transaction.connection, &self.plan.table, &self.plan.key).await
    }
}

/// A transaction. Dropped before it is committed, it is gone together with its connection.
struct Transaction<'a> {
    kept: MutexGuard<'a, Option<PgConnection>>,
    connection: PgConnection,
}

impl Transaction<'_> {
    async fn commit(mut self, doing: &str) -> Result<()> {
        sqlx::raw_sql("COMMIT").execute(&mut self.connection).await.map_err(|error| fault(doing, error))?;
        *self.kept = Some(self.connection);
        Ok(())
    }
}

#[async_trait]
impl WriteBack for PostgresWriteBack {
    async fn inspect(&self) -> Result<Vec<String>> {
        let doing = self.doing("look at the table");
        self.within(&doing, async {
            let mut transaction = self.begin(&doing).await?;
            let table = self.look(&doing, &mut transaction).await?;
            transaction.commit(&doing).await?;
            Ok(table.missing())
        })
        .await
    }

    async fn prepare(&self) -> Result<Vec<String>> {
        let doing = self.doing("add columns to");
        self.within(&doing, async {
            let mut transaction = self.begin(&doing).await?;
            let table = self.look(&doing, &mut transaction).await?;
            let missing = table.missing();
            // Even adding what is there already would lock the whole table.
            if !missing.is_empty() {
                let statements = AssertSqlSafe(table.extend());
                let added = sqlx::raw_sql(statements).execute(&mut transaction.connection).await;
                added.map_err(|error| fault(&doing, error))?;
            }
            transaction.commit(&doing).await?;
            Ok(missing)
        })
        .await
    }

    async fn fill(&self, run: &RunId, files: &[MigratedFile]) -> Result<Vec<String>> {
        let doing = self.doing("write into");
        self.within(&doing, async {
            let mut transaction = self.begin(&doing).await?;
            let table = self.look(&doing, &mut transaction).await?;
            table.complete(&doing)?;
            let column = |of: fn(&MigratedFile) -> String| files.iter().map(of).collect::<Vec<String>>();
            let marks: Vec<String> = files.iter().map(|file| format!("{}{}", mark(run), file.batch)).collect();
            let rows = sqlx::query(AssertSqlSafe(table.fill()))
                .bind(column(|file| file.id.clone()))
                .bind(column(|file| file.key.clone()))
                .bind(column(|file| file.at.to_string()))
                .bind(marks)
                .bind(column(|file| file.sha256.to_hex()))
                .fetch_all(&mut transaction.connection)
                .await
                .map_err(|error| fault(&doing, error))?;
            let ids: Result<_, sqlx::Error> = rows.iter().map(|row: &PgRow| row.try_get(0)).collect();
            let ids = ids.map_err(|error| fault(&doing, error))?;
            transaction.commit(&doing).await?;
            Ok(ids)
        })
        .await
    }

    async fn clear(&self, run: &RunId, after: Option<&str>, limit: u32) -> Result<ClearedPage> {
        let doing = self.doing("clear what was written into");
        self.within(&doing, async {
            let mut transaction = self.begin(&doing).await?;
            let table = self.look(&doing, &mut transaction).await?;
            let mut page = ClearedPage::default();
            if !table.never_told() {
                let row = sqlx::query(AssertSqlSafe(table.clear(after.is_some())))
                    .bind(mark(run))
                    .bind(i64::from(limit))
                    .bind(after.map(ToOwned::to_owned))
                    .fetch_one(&mut transaction.connection)
                    .await
                    .map_err(|error| fault(&doing, error))?;
                page = cleared(&row, limit).map_err(|error| fault(&doing, error))?;
            }
            transaction.commit(&doing).await?;
            Ok(page)
        })
        .await
    }
}

/// How the mark of every row begins that the run has told.
fn mark(run: &RunId) -> String {
    format!("{run}/")
}

fn cleared(row: &PgRow, limit: u32) -> Result<ClearedPage, sqlx::Error> {
    let (rows, seen): (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
    let last: Option<String> = row.try_get(2)?;
    Ok(ClearedPage { rows: rows.unsigned_abs(), next: last.filter(|_| seen >= i64::from(limit)) })
}
