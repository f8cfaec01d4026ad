//! Records in a `PostgreSQL` database.
//!
//! Everything is read by `COPY … TO STDOUT` in the text that the server writes under fixed settings (`session`), and
//! written by `write`; `values` translates between that text and our values (`times` the years far away), `blocks` hands
//! over many rows as they are (`own` in the server's own form), `schema` asks the catalog. Pages go along the key, so a page costs the same at the end of a table as at its start. Must never
//! enter: a text of the server that a value was not made of.

mod blocks;
mod own;
mod query;
mod schema;
mod scratch;
mod sequences;
mod session;
mod times;
mod told;
mod values;
mod write;

use super::sql::{self, Column, Looks, Table, batch, span::Span};
use crate::{
    adapters::postgres::{fault, quoted},
    error::{Fault, FaultKind, Result},
    model::{Key, Record, Timestamp, Value},
    ports::{
        BlockCell, BlockSource, BlockStore, Cursor, OpenTransactions, Page, RecordStore, SetInfo, SetRef, WriteOutcome,
    },
};
use async_trait::async_trait;
use futures::TryStreamExt as _;
use query::{all_of, among, bounds, changed};
use secrecy::SecretString;
use session::{Session, Sessions};
use sqlx::{AssertSqlSafe, Row as _};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use write::PostgresWriter;

/// When the oldest transaction of somebody else began, and the oldest that has written.
const OPEN: &str = "SELECT to_char(min(xact_start), 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"'), \
    to_char(min(xact_start) FILTER (WHERE backend_xid IS NOT NULL), 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"') \
    FROM pg_stat_activity \
    WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'";
/// Pages of 8 KiB that are looked at to find even parts.
const SAMPLE: i64 = 500;

/// A `PostgreSQL` database.
pub struct PostgresStore {
    name: String,
    schema: Option<String>,
    sessions: Sessions,
    looks: Looks,
    /// What is written is likely new: until a row was there already.
    fresh: AtomicBool,
}

impl PostgresStore {
    /// The store of this name in the plan, at this address; tables are looked for in `schema` first, if it is given.
    /// Talks to nobody. Every call takes at most `timeout`.
    ///
    /// # Errors
    /// `Plan` if the address cannot be used.
    pub fn new(name: &str, url: &SecretString, schema: Option<&str>, timeout: Duration) -> Result<Self> {
        let sessions = Sessions::new(&format!("read the address of the store {name}"), url, timeout)?;
        Ok(Self {
            name: name.to_owned(),
            schema: schema.map(ToOwned::to_owned),
            sessions,
            looks: Looks::default(),
            fresh: AtomicBool::new(true),
        })
    }

    async fn table(&self, doing: &str, session: &mut Session<'_>, set: &SetRef) -> Result<Arc<Table>> {
        if let Some(table) = self.looks.get(&set.name) {
            return Ok(table);
        }
        self.look(doing, session, set).await
    }

    async fn look(&self, doing: &str, session: &mut Session<'_>, set: &SetRef) -> Result<Arc<Table>> {
        let table = schema::discover(doing, session, self.schema.as_deref(), &set.name).await?;
        Ok(self.looks.keep(&set.name, table))
    }

    /// Does this within the timeout; after a failure nothing is taken for known.
    async fn call<T>(&self, doing: &str, set: &SetRef, work: impl Future<Output = Result<T>>) -> Result<T> {
        let done = self.sessions.kept.within(doing, work).await;
        if done.is_err() {
            self.looks.forget(&set.name);
        }
        done
    }

    async fn total(&self, doing: &str, set: &SetRef) -> Result<Option<u64>> {
        let mut session = self.sessions.begin(doing, false).await?;
        let table = self.table(doing, &mut session, set).await?;
        session.end(doing).await?;
        self.count(doing, &table, "").await
    }

    /// How many rows there are that this filter lets through, if that can be said in a part of the time that the call has.
    async fn count(&self, doing: &str, table: &Table, filter: &str) -> Result<Option<u64>> {
        let count = async {
            let mut session = self.sessions.begin(doing, false).await?;
            let sql = format!("SELECT count(*) FROM {}{filter}", table.place);
            let row = sqlx::query(AssertSqlSafe(sql)).fetch_one(&mut session.connection).await;
            let count: i64 = row.and_then(|row| row.try_get(0)).map_err(|error| fault(doing, error))?;
            session.end(doing).await?;
            Ok(count.unsigned_abs())
        };
        self.sessions.kept.soon(count).await
    }

    /// A page along the key, of the rows for which `only` holds.
    async fn page(&self, doing: &str, set: &SetRef, only: Only<'_>, from: &Cursor, limit: u32) -> Result<Page> {
        let total = match only {
            Only::All if *from == Cursor::START => self.total(doing, set).await?,
            _ => None,
        };
        let mut session = self.sessions.begin(doing, false).await?;
        let table = self.table(doing, &mut session, set).await?;
        let key = table.key(doing, &set.key)?;
        let span = Span::parse(doing, from)?;
        if span.after.is_none() && key.field.nullable {
            keyless(doing, &mut session, &table, key).await?;
        }
        let name = quoted(&key.field.name);
        let mut filter = bounds(key, &span);
        if let Only::Since(updated, since) = only {
            filter.push_str(if filter.is_empty() { " WHERE " } else { " AND " });
            filter.push_str(&changed(doing, table.column(doing, updated)?, since)?);
        }
        let limit = usize::try_from(limit.max(1)).unwrap_or(usize::MAX);
        // One row more than asked for tells whether this is the end.
        let sql = format!("{}{filter} ORDER BY {name} LIMIT {}", all_of(&table), limit.saturating_add(1));
        let mut rows = rows(doing, &mut session, &table, &sql, sql::PAGE_BYTES).await?;
        let as_of = session.clock;
        if rows.whole {
            session.end(doing).await?;
        }
        let more = rows.records.len() > limit || !rows.whole;
        rows.records.truncate(limit);
        let last = rows.records.last().filter(|_| more).and_then(|last| last.key(&key.field.name));
        Ok(Page {
            next: last.map(|last| span.behind(last.0).cursor()),
            records: rows.records,
            total,
            as_of,
            gone: Vec::new(),
        })
    }
}

/// Which rows a page has.
#[derive(Clone, Copy)]
enum Only<'a> {
    All,
    /// Those whose time in this column is not before this one.
    Since(&'a str, Timestamp),
}

/// Rows that came.
struct Rows {
    records: Vec<Record>,
    /// There were no more; otherwise the connection is in the middle of them.
    whole: bool,
}

async fn rows(doing: &str, session: &mut Session<'_>, table: &Table, sql: &str, most: usize) -> Result<Rows> {
    let wrong = |error| fault(doing, error);
    let statement = format!("COPY ({sql}) TO STDOUT");
    let mut coming = session.connection.copy_out_raw(&statement).await.map_err(wrong)?;
    let (mut records, mut bytes, mut line) = (Vec::new(), 0, Vec::new());
    while let Some(piece) = coming.try_next().await.map_err(wrong)? {
        bytes += piece.len();
        // The server sends a line in a message of its own, but does not promise to.
        let mut rest = &piece[..];
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            if line.is_empty() {
                records.push(record(doing, table, &rest[..end])?);
            } else {
                line.extend_from_slice(&rest[..end]);
                records.push(record(doing, table, &line)?);
                line.clear();
            }
            rest = &rest[end + 1..];
        }
        line.extend_from_slice(rest);
        if bytes > most && !records.is_empty() && line.is_empty() {
            return Ok(Rows { records, whole: false });
        }
    }
    Ok(Rows { records, whole: true })
}

fn record(doing: &str, table: &Table, line: &[u8]) -> Result<Record> {
    let garbage = |what: String| Fault::new(FaultKind::Garbage, doing).detail(what);
    let mut columns = table.columns.iter();
    let mut fields = std::collections::BTreeMap::new();
    for cell in line.split(|byte| *byte == b'\t').map(BlockCell::in_line) {
        let Some(column) = columns.next() else { return Err(garbage("a line has too many columns".into())) };
        let name = &column.field.name;
        let value = match cell {
            BlockCell::Null | BlockCell::Absent => Value::Null,
            BlockCell::Said(said) => blocks::read(&column.field.kind, said)
                .map_err(|why| sql::refused(doing, format!("column {name} of {}: {why}", table.name)))?,
        };
        fields.insert(name.clone(), value);
    }
    if columns.next().is_some() {
        return Err(garbage("a line has too few columns".into()));
    }
    Ok(Record(fields))
}

/// Says that a row has no key, if there is one: such a row stands behind every page.
async fn keyless(doing: &str, session: &mut Session<'_>, table: &Table, key: &Column) -> Result<()> {
    let none = format!(" WHERE {} IS NULL", quoted(&key.field.name));
    if exists(doing, session, table, &none).await? {
        return Err(sql::without_key(doing, table, &key.field.name));
    }
    Ok(())
}

/// Whether a row has a key within these bounds. Asked in the order of the key: a server without statistics would read a whole
/// table that was just filled.
async fn any_within(doing: &str, session: &mut Session<'_>, table: &Table, key: &Column, bounds: &str) -> Result<bool> {
    let sql = format!("SELECT FROM {}{bounds} ORDER BY {} LIMIT 1", table.place, quoted(&key.field.name));
    let row = sqlx::query(AssertSqlSafe(sql)).fetch_optional(&mut session.connection).await;
    row.map(|row| row.is_some()).map_err(|error| fault(doing, error))
}

/// Whether there is a row of those that this filter leaves.
async fn exists(doing: &str, session: &mut Session<'_>, table: &Table, filter: &str) -> Result<bool> {
    let sql = format!("SELECT EXISTS (SELECT FROM {}{filter})", table.place);
    let row = sqlx::query(AssertSqlSafe(sql)).fetch_one(&mut session.connection).await;
    row.and_then(|row| row.try_get(0)).map_err(|error| fault(doing, error))
}

#[async_trait]
impl RecordStore for PostgresStore {
    async fn describe(&self, set: &SetRef) -> Result<SetInfo> {
        let doing = format!("look at {} in {}", set.name, self.name);
        self.call(&doing, set, async {
            let mut session = self.sessions.begin(&doing, false).await?;
            let table = self.look(&doing, &mut session, set).await?;
            table.key(&doing, &set.key)?;
            session.end(&doing).await?;
            let count = Box::pin(self.count(&doing, &table, "")).await?;
            Ok(table.info(count))
        })
        .await
    }

    async fn sketch(&self, set: &SetRef) -> Result<SetInfo> {
        let doing = format!("look at {} in {}", set.name, self.name);
        self.call(&doing, set, async {
            let mut session = self.sessions.begin(&doing, false).await?;
            let table = self.look(&doing, &mut session, set).await?;
            table.key(&doing, &set.key)?;
            let about = schema::about(&doing, &mut session, &table).await?;
            session.end(&doing).await?;
            match about.filter(|about| *about > sql::FEW) {
                Some(about) => Ok(SetInfo { estimated: true, ..table.info(Some(about)) }),
                None => Ok(table.info(Box::pin(self.count(&doing, &table, "")).await?)),
            }
        })
        .await
    }

    async fn read(&self, set: &SetRef, from: &Cursor, limit: u32) -> Result<Page> {
        let doing = format!("read {} from {}", set.name, self.name);
        self.call(&doing, set, Box::pin(self.page(&doing, set, Only::All, from, limit))).await
    }

    fn block_source(&self) -> Option<&dyn BlockSource> {
        Some(self)
    }

    fn blocks(&self) -> Option<&dyn BlockStore> {
        Some(self)
    }

    /// The parts end at even places in a sample of the table's pages.
    async fn split(&self, set: &SetRef, parts: u32) -> Result<Vec<Cursor>> {
        let doing = format!("part {} in {}", set.name, self.name);
        self.call(&doing, set, async {
            let mut session = self.sessions.begin(&doing, false).await?;
            let table = self.table(&doing, &mut session, set).await?;
            let key = table.key(&doing, &set.key)?;
            let ends = if table.view || parts < 2 {
                Vec::new()
            } else {
                ends(&doing, &mut session, &table, key, parts).await?
            };
            session.end(&doing).await?;
            Ok(Span::parts(ends))
        })
        .await
    }

    async fn changes(&self, set: &SetRef, since: Timestamp, from: &Cursor, limit: u32) -> Result<Page> {
        let doing = format!("read changes since {since} of {} from {}", set.name, self.name);
        let updated = sql::updated(&doing, set.updated.as_ref())?;
        self.call(&doing, set, Box::pin(self.page(&doing, set, Only::Since(updated, since), from, limit))).await
    }

    async fn count_changes(&self, set: &SetRef, since: Timestamp) -> Result<Option<u64>> {
        let doing = format!("count changes since {since} of {} in {}", set.name, self.name);
        let updated = sql::updated(&doing, set.updated.as_ref())?;
        self.call(&doing, set, async {
            let mut session = self.sessions.begin(&doing, false).await?;
            let table = self.table(&doing, &mut session, set).await?;
            session.end(&doing).await?;
            let only = changed(&doing, table.column(&doing, updated)?, since)?;
            self.count(&doing, &table, &format!(" WHERE {only}")).await
        })
        .await
    }

    /// A role that may not see other roles' sessions sees only when its own began.
    async fn open_transactions(&self, set: &SetRef) -> Result<OpenTransactions> {
        let doing = format!("ask {} for open transactions", self.name);
        self.call(&doing, set, async {
            let mut session = self.sessions.begin(&doing, false).await?;
            let wrong = |error| fault(&doing, error);
            let row = sqlx::query(OPEN).fetch_one(&mut session.connection).await.map_err(wrong)?;
            session.end(&doing).await?;
            let began = |at: usize| -> Result<Option<Timestamp>> {
                let text: Option<String> = row.try_get(at).map_err(wrong)?;
                Ok(text.and_then(|text| text.parse().ok()))
            };
            Ok(OpenTransactions { oldest: began(0)?, writing: began(1)? })
        })
        .await
    }

    async fn fetch(&self, set: &SetRef, keys: &[Key]) -> Result<Vec<Record>> {
        let doing = format!("fetch {} records of {} from {}", keys.len(), set.name, self.name);
        self.call(&doing, set, async {
            let mut session = self.sessions.begin(&doing, false).await?;
            let table = self.table(&doing, &mut session, set).await?;
            let key = table.key(&doing, &set.key)?;
            let sql = format!("{}{}", all_of(&table), among(key, keys));
            let rows = rows(&doing, &mut session, &table, &sql, usize::MAX).await?;
            session.end(&doing).await?;
            Ok(rows.records)
        })
        .await
    }

    async fn write(&self, set: &SetRef, records: &[Record]) -> Result<Vec<WriteOutcome>> {
        let doing = format!("write {} records to {} in {}", records.len(), set.name, self.name);
        if records.is_empty() {
            return Ok(Vec::new());
        }
        self.call(&doing, set, async {
            let mut session = self.sessions.begin(&doing, true).await?;
            session.run(&doing, "SAVEPOINT attempt").await?;
            let table = self.table(&doing, &mut session, set).await?;
            table.key(&doing, &set.key)?;
            table.takes(&doing, records)?;
            let (groups, mut outcomes) = batch::groups(&table, &set.key, records);
            let fresh = self.fresh.load(Ordering::Relaxed);
            let mut writer = PostgresWriter { doing: &doing, table: &table, session, fresh };
            for group in &groups {
                batch::write(&mut writer, group, &mut outcomes).await?;
            }
            writer.session.end(&doing).await?;
            // Once everything was new, the next rows are likely new as well.
            let all_new = outcomes.iter().all(|outcome| *outcome == Some(WriteOutcome::Created));
            self.fresh.store(all_new, Ordering::Relaxed);
            batch::finished(&doing, outcomes)
        })
        .await
    }

    async fn delete(&self, set: &SetRef, keys: &[Key]) -> Result<()> {
        let doing = format!("delete {} records of {} in {}", keys.len(), set.name, self.name);
        self.call(&doing, set, async {
            let mut session = self.sessions.begin(&doing, true).await?;
            let table = self.table(&doing, &mut session, set).await?;
            let key = table.key(&doing, &set.key)?;
            let sql = format!("DELETE FROM {}{}", table.place, among(key, keys));
            session.run(&doing, &sql).await?;
            session.end(&doing).await
        })
        .await
    }

    async fn settle(&self, set: &SetRef) -> Result<Option<String>> {
        let doing = format!("set the sequences of {} in {}", set.name, self.name);
        self.call(&doing, set, async {
            let mut session = self.sessions.begin(&doing, true).await?;
            let table = self.look(&doing, &mut session, set).await?;
            let done = sequences::settle(&doing, &mut session, &table).await?;
            session.end(&doing).await?;
            Ok(done)
        })
        .await
    }

    async fn scratch(&self, set: &SetRef) -> Result<Option<SetRef>> {
        self.make_scratch(set).await
    }

    async fn discard(&self, set: &SetRef) -> Result<bool> {
        self.drop_scratch(set).await
    }
}

/// Keys at which about so many even parts end.
async fn ends(doing: &str, session: &mut Session<'_>, table: &Table, key: &Column, parts: u32) -> Result<Vec<String>> {
    let shares: Vec<String> = (1..parts).map(|n| (f64::from(n) / f64::from(parts)).to_string()).collect();
    let key = quoted(&key.field.name);
    // A table without partitions is no tree.
    let size = format!(
        "SELECT (greatest(pg_relation_size(t), coalesce((SELECT sum(pg_relation_size(relid)) \
            FROM pg_partition_tree(t) WHERE isleaf), 0), 1) / 8192)::bigint FROM (SELECT '{}'::regclass AS t) AS it",
        table.place.replace('\'', "''")
    );
    let wrong = |error| fault(doing, error);
    let row = sqlx::query(AssertSqlSafe(size)).fetch_one(&mut session.connection).await.map_err(wrong)?;
    let pages: i64 = row.try_get(0).map_err(wrong)?;
    #[expect(clippy::cast_precision_loss, reason = "a share")]
    let percent = (100.0 * SAMPLE as f64 / pages.max(1) as f64).clamp(0.0001, 100.0);
    let sql = format!(
        "SELECT coalesce(percentile_disc(ARRAY[{}]::float8[]) WITHIN GROUP (ORDER BY s.k)::text[], '{{}}') \
         FROM (SELECT {key} AS k FROM {} TABLESAMPLE SYSTEM ({percent})) AS s",
        shares.join(", "),
        table.place,
    );
    let row = sqlx::query(AssertSqlSafe(sql)).fetch_one(&mut session.connection).await.map_err(wrong)?;
    let ends: Vec<Option<String>> = row.try_get(0).map_err(wrong)?;
    Ok(ends.into_iter().flatten().collect())
}
