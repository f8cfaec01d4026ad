//! Records in a SQLite file.
//!
//! Tables and columns are discovered, never assumed (`schema`); values travel by the column's declared type (`values`).
//! Reads go page by page along the key, so a page costs the same at the end of a table as at its start. A write is one
//! immediate transaction on the only writing connection; each record is first updated and, where nothing was there,
//! inserted. That tells `Created` from `Updated` truthfully, and a record with a part of the fields can be written over
//! an existing row whose other columns must not be null, which `INSERT … ON CONFLICT` refuses. SQLite takes back a
//! failed statement by itself, so a rejected record leaves no trace in the transaction that carries the others.
//!
//! A file that is not there is a fault: this adapter never makes one. Reading connections cannot write.

mod faults;
mod schema;
mod values;

use crate::{
    error::{Fault, FaultKind, Result},
    model::{Field, Key, Record, Timestamp, Value},
    ports::{Cursor, Page, RecordStore, SetInfo, SetRef, WriteOutcome},
};
use async_trait::async_trait;
use faults::{fault, rejection};
use schema::{Column, Table, quoted};
use sqlx::{
    AssertSqlSafe, Row as _, SqliteConnection, SqlitePool,
    query::Query,
    sqlite::{
        Sqlite, SqliteArguments, SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteRow,
        SqliteSynchronous,
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
/// Connections that read.
const READERS: u32 = 4;
/// Keys in one statement.
const KEYS_AT_ONCE: usize = 500;

/// A SQLite file.
#[derive(Debug)]
pub struct SqliteStore {
    name: String,
    path: PathBuf,
    readers: SqlitePool,
    writer: SqlitePool,
}

/// A statement with its values.
type Prepared = Query<'static, Sqlite, SqliteArguments>;

fn prepared(sql: String) -> Prepared {
    // Every identifier in these statements went through `quoted`, every value is bound.
    sqlx::query(AssertSqlSafe(sql))
}

impl SqliteStore {
    /// The store of this name in the plan. Opens nothing yet.
    #[must_use]
    pub fn new(name: &str, path: &Path) -> Self {
        let options =
            SqliteConnectOptions::new().filename(path).create_if_missing(false).foreign_keys(true).busy_timeout(BUSY);
        // Neither pool lets go of connections by time, so neither starts a task and both can be made anywhere.
        let pool = || SqlitePoolOptions::new().idle_timeout(None).max_lifetime(None).acquire_timeout(BUSY);
        let readers = pool().max_connections(READERS).connect_lazy_with(options.clone().pragma("query_only", "1"));
        let writer = pool()
            .max_connections(1)
            .connect_lazy_with(options.journal_mode(SqliteJournalMode::Wal).synchronous(SqliteSynchronous::Full));
        Self { name: name.to_owned(), path: path.to_owned(), readers, writer }
    }

    /// Does this within the longest time, if the file is there.
    async fn timely<T>(&self, doing: &str, work: impl Future<Output = Result<T>>) -> Result<T> {
        if !self.path.is_file() {
            let detail = format!("there is no file {}", self.path.display());
            return Err(Fault::new(FaultKind::NotFound, doing).detail(detail));
        }
        tokio::time::timeout(LONGEST, work).await.unwrap_or_else(|_| {
            Err(Fault::new(FaultKind::Timeout, doing).detail(format!("not done within {LONGEST:?}")))
        })
    }

    async fn table(&self, doing: &str, name: &str) -> Result<Table> {
        let mut connection = self.readers.acquire().await.map_err(|error| fault(doing, error))?;
        Table::discover(doing, &mut connection, name).await
    }

    /// A page along the key, of the rows for which `only` holds (an expression over `?1`, if there is one).
    async fn page(
        &self,
        doing: &str,
        set: &SetRef,
        only: Option<(&str, String)>,
        from: &Cursor,
        limit: u32,
    ) -> Result<Page> {
        let as_of = Timestamp::now();
        let table = self.table(doing, &set.name).await?;
        let key = table.key(doing, &set.key)?;
        let limit = limit.max(1);
        let mut wheres = Vec::new();
        let mut bound: Vec<Value> = Vec::new();
        if let Some((expression, value)) = only {
            bound.push(Value::Text(value));
            wheres.push(format!("({expression})"));
        }
        if let Some(text) = &from.0 {
            let json = serde_json::from_str(text).map_err(|error| {
                Fault::new(FaultKind::Internal, doing)
                    .detail(format!("the cursor `{text}` is unreadable"))
                    .source(error)
            })?;
            bound.push(Value::from_json(json));
            wheres.push(format!("{} > ?{}", quoted(&key.name), bound.len()));
        }
        let filter = if wheres.is_empty() { String::new() } else { format!(" WHERE {}", wheres.join(" AND ")) };
        // One row more than asked for tells whether this is the end.
        let sql = format!(
            "SELECT {} FROM {}{filter} ORDER BY {} LIMIT {}",
            table.column_list(),
            quoted(&table.name),
            quoted(&key.name),
            u64::from(limit) + 1
        );
        let query = bound.iter().fold(prepared(sql), |query, value| values::bind_plain(query, value));
        let rows = query.fetch_all(&self.readers).await.map_err(|error| fault(doing, error))?;
        let mut records = rows.iter().map(|row| record(doing, &table, row)).collect::<Result<Vec<_>>>()?;
        if records.iter().any(|record| record.key(&key.name).is_none()) {
            let detail = format!("a row of {} has no {}: such a row cannot be moved", table.name, key.name);
            return Err(Fault::new(FaultKind::Refused, doing).detail(detail));
        }
        let more = records.len() > usize::try_from(limit).unwrap_or(usize::MAX);
        records.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        let next = records
            .last()
            .filter(|_| more)
            .and_then(|last| last.get(&key.name))
            .map(|last| Cursor(Some(last.to_json().to_string())));
        let total = if from.0.is_none() && filter.is_empty() { Some(self.count(doing, &table).await?) } else { None };
        Ok(Page { records, next, total, as_of: Some(as_of), gone: Vec::new() })
    }

    async fn count(&self, doing: &str, table: &Table) -> Result<u64> {
        let sql = format!("SELECT count(*) FROM {}", quoted(&table.name));
        let row = prepared(sql).fetch_one(&self.readers).await.map_err(|error| fault(doing, error))?;
        let count: i64 = row.try_get(0).map_err(|error| fault(doing, error))?;
        Ok(u64::try_from(count).unwrap_or_default())
    }
}

/// A row as a record.
fn record(doing: &str, table: &Table, row: &SqliteRow) -> Result<Record> {
    table
        .columns
        .iter()
        .enumerate()
        .map(|(index, column)| Ok((column.name.clone(), values::read(doing, row, index, column)?)))
        .collect::<Result<_>>()
        .map(Record)
}

/// Writes one record: what became of it, or why nothing more can be written.
async fn upsert(
    doing: &str,
    connection: &mut SqliteConnection,
    table: &Table,
    key: &Column,
    record: &Record,
) -> Result<WriteOutcome> {
    let Some(value) = record.get(&key.name).filter(|value| **value != Value::Null) else {
        return Ok(WriteOutcome::Rejected(format!("it has no {}", key.name)));
    };
    let fields: Vec<(&Column, &Value)> =
        table.columns.iter().filter_map(|column| Some((column, record.get(&column.name)?))).collect();
    let numbered = |template: fn(&str, usize) -> String| {
        fields.iter().zip(1..).map(|((column, _), n)| template(&quoted(&column.name), n)).collect::<Vec<_>>().join(", ")
    };
    let bound = |sql: String| {
        fields.iter().fold(prepared(sql), |query, (column, value)| values::bind(query, value, column.kind))
    };
    let update = format!(
        "UPDATE {} SET {} WHERE {} = ?{}",
        quoted(&table.name),
        numbered(|name, n| format!("{name} = ?{n}")),
        quoted(&key.name),
        fields.len() + 1
    );
    let updated = values::bind(bound(update), value, key.kind).execute(&mut *connection).await;
    match updated {
        Ok(done) if done.rows_affected() > 0 => return Ok(WriteOutcome::Updated),
        Ok(_) => {}
        Err(error) => return rejection(doing, error).map(WriteOutcome::Rejected),
    }
    let insert = format!(
        "INSERT INTO {} ({}) VALUES ({})",
        quoted(&table.name),
        numbered(|name, _| name.to_owned()),
        numbered(|_, n| format!("?{n}"))
    );
    match bound(insert).execute(connection).await {
        Ok(_) => Ok(WriteOutcome::Created),
        Err(error) => rejection(doing, error).map(WriteOutcome::Rejected),
    }
}

#[async_trait]
impl RecordStore for SqliteStore {
    async fn describe(&self, set: &SetRef) -> Result<SetInfo> {
        let doing = format!("look at {} in {}", set.name, self.name);
        self.timely(&doing, async {
            let table = self.table(&doing, &set.name).await?;
            table.key(&doing, &set.key)?;
            let writable =
                !table.view && std::fs::metadata(&self.path).is_ok_and(|file| !file.permissions().readonly());
            let fields = table.columns.iter().map(|column| Field::named(&column.name)).collect();
            Ok(SetInfo { count: Some(self.count(&doing, &table).await?), fields, writable })
        })
        .await
    }

    async fn read(&self, set: &SetRef, from: &Cursor, limit: u32) -> Result<Page> {
        let doing = format!("read {} from {}", set.name, self.name);
        self.timely(&doing, self.page(&doing, set, None, from, limit)).await
    }

    /// Times are compared in whole seconds and in UTC, as SQLite's `datetime` reads them (RFC 3339 with any offset, with
    /// or without a fraction; numbers count as Unix seconds): what changed in the second of `since` is in, and so is a
    /// row whose time is missing or unreadable, since nobody can say that it did not change.
    async fn changes(&self, set: &SetRef, since: Timestamp, from: &Cursor, limit: u32) -> Result<Page> {
        let doing = format!("read changes since {since} of {} from {}", set.name, self.name);
        let Some(updated) = &set.updated else {
            return Err(Fault::new(FaultKind::Plan, doing).detail("the dataset names no `updated` field"));
        };
        self.timely(&doing, async {
            let column = self.table(&doing, &set.name).await?.column(&doing, updated)?.name.clone();
            let time = format!("datetime({}, 'auto')", quoted(&column));
            let only = format!("{time} IS NULL OR {time} >= datetime(?1)");
            let bound = since.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
            self.page(&doing, set, Some((&only, bound)), from, limit).await
        })
        .await
    }

    async fn fetch(&self, set: &SetRef, keys: &[Key]) -> Result<Vec<Record>> {
        let doing = format!("fetch {} records of {} from {}", keys.len(), set.name, self.name);
        self.timely(&doing, async {
            let table = self.table(&doing, &set.name).await?;
            let key = table.key(&doing, &set.key)?;
            let mut found = Vec::with_capacity(keys.len());
            for keys in keys.chunks(KEYS_AT_ONCE) {
                let sql = format!(
                    "SELECT {} FROM {} WHERE {} IN ({})",
                    table.column_list(),
                    quoted(&table.name),
                    quoted(&key.name),
                    places(keys.len())
                );
                let query = keys.iter().fold(prepared(sql), |query, wanted| values::bind_key(query, wanted, key.kind));
                let rows = query.fetch_all(&self.readers).await.map_err(|error| fault(&doing, error))?;
                for row in &rows {
                    found.push(record(&doing, &table, row)?);
                }
            }
            Ok(found)
        })
        .await
    }

    async fn write(&self, set: &SetRef, records: &[Record]) -> Result<Vec<WriteOutcome>> {
        let doing = format!("write {} records to {} in {}", records.len(), set.name, self.name);
        self.timely(&doing, async {
            let table = self.table(&doing, &set.name).await?;
            let key = table.key(&doing, &set.key)?;
            table.takes(&doing, records)?;
            let mut transaction =
                self.writer.begin_with("BEGIN IMMEDIATE").await.map_err(|error| fault(&doing, error))?;
            let mut outcomes = Vec::with_capacity(records.len());
            for record in records {
                outcomes.push(upsert(&doing, &mut transaction, &table, key, record).await?);
            }
            transaction.commit().await.map_err(|error| fault(&doing, error))?;
            Ok(outcomes)
        })
        .await
    }

    async fn delete(&self, set: &SetRef, keys: &[Key]) -> Result<()> {
        let doing = format!("delete {} records of {} in {}", keys.len(), set.name, self.name);
        self.timely(&doing, async {
            let table = self.table(&doing, &set.name).await?;
            let key = table.key(&doing, &set.key)?;
            let mut transaction =
                self.writer.begin_with("BEGIN IMMEDIATE").await.map_err(|error| fault(&doing, error))?;
            for keys in keys.chunks(KEYS_AT_ONCE) {
                let sql = format!(
                    "DELETE FROM {} WHERE {} IN ({})",
                    quoted(&table.name),
                    quoted(&key.name),
                    places(keys.len())
                );
                let query = keys.iter().fold(prepared(sql), |query, gone| values::bind_key(query, gone, key.kind));
                query.execute(&mut *transaction).await.map_err(|error| fault(&doing, error))?;
            }
            transaction.commit().await.map_err(|error| fault(&doing, error))
        })
        .await
    }
}

fn places(count: usize) -> String {
    (1..=count).map(|n| format!("?{n}")).collect::<Vec<_>>().join(", ")
}
