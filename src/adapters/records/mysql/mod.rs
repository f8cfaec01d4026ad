//! Records in a database of `MySQL` or `MariaDB`.
//!
//! Statements go out as text and answers come as text, under settings that fix both (`session`); `values` translates,
//! `schema` asks the catalog, `write` upserts, `faults` says what an error means. Pages go along the key. Texts are
//! compared to the byte where it matters which row is meant, whatever the column's collation takes for equal. Must never
//! enter: a text of the server that a value was not made of.

mod blocks;
mod faults;
mod schema;
mod scratch;
mod session;
mod values;
mod write;

use super::sql::{
    self, Column, Looks, Table, batch,
    span::{Span, even},
};
use crate::{
    error::{Fault, FaultKind, Result},
    model::{Key, Kind, Record, Timestamp, Value},
    ports::{BlockSource, Cursor, Page, RecordStore, SetInfo, SetRef, WriteOutcome},
};
use async_trait::async_trait;
use faults::fault;
use futures::TryStreamExt as _;
use schema::quoted;
use secrecy::SecretString;
use session::{Session, Sessions};
use sqlx::{AssertSqlSafe, mysql::MySqlRow};
use std::{collections::HashSet, sync::Arc, time::Duration};
use write::MySqlWriter;

/// Keys in one statement.
const KEYS_AT_ONCE: usize = 2000;

/// A database of `MySQL` or `MariaDB`.
pub struct MySqlStore {
    name: String,
    sessions: Sessions,
    looks: Looks,
}

impl MySqlStore {
    /// The store of this name in the plan, at this address. Talks to nobody. Every call takes at most `timeout`.
    ///
    /// # Errors
    /// `Plan` if the address cannot be used.
    pub fn new(name: &str, url: &SecretString, timeout: Duration) -> Result<Self> {
        let sessions = Sessions::new(&format!("read the address of the store {name}"), url, timeout)?;
        Ok(Self { name: name.to_owned(), sessions, looks: Looks::default() })
    }

    async fn table(&self, doing: &str, session: &mut Session<'_>, set: &SetRef) -> Result<Arc<Table>> {
        match self.looks.get(&set.name) {
            Some(table) => Ok(table),
            None => Ok(self.looks.keep(&set.name, schema::discover(doing, session, &set.name).await?)),
        }
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
            let count = count(doing, &mut session, table, filter).await?;
            session.end(doing).await?;
            Ok(count)
        };
        self.sessions.kept.soon(count).await
    }

    /// A page along the key, of the rows that changed at or after `since`, if it is given.
    async fn page(
        &self,
        doing: &str,
        set: &SetRef,
        since: Option<(&str, Timestamp)>,
        from: &Cursor,
        limit: u32,
    ) -> Result<Page> {
        let whole = since.is_none() && *from == Cursor::START;
        let total = if whole { self.total(doing, set).await? } else { None };
        let mut session = self.sessions.begin(doing, false).await?;
        let table = self.table(doing, &mut session, set).await?;
        let key = table.key(doing, &set.key)?;
        let span = Span::parse(doing, from)?;
        let name = quoted(&key.field.name);
        if span.after.is_none() && key.field.nullable {
            let sql = format!("SELECT 1 FROM {} WHERE {name} IS NULL LIMIT 1", table.place);
            if !session.rows(doing, &sql).await?.is_empty() {
                return Err(sql::without_key(doing, &table, &key.field.name));
            }
        }
        let mut wheres = Vec::new();
        wheres.extend(span.after.as_ref().map(|text| format!("{name} > {}", literal(key, text))));
        wheres.extend(span.upto.as_ref().map(|text| format!("{name} <= {}", literal(key, text))));
        if let Some((updated, since)) = since {
            wheres.push(changed(doing, table.column(doing, updated)?, since)?);
        }
        let filter = if wheres.is_empty() { String::new() } else { format!(" WHERE {}", wheres.join(" AND ")) };
        let limit = usize::try_from(limit.max(1)).unwrap_or(usize::MAX);
        // One row more than asked for tells whether this is the end.
        let sql = format!("{}{filter} ORDER BY {name} LIMIT {}", select(&table), limit.saturating_add(1));
        let (mut records, all) = records(doing, &mut session, &table, &sql, sql::PAGE_BYTES).await?;
        let as_of = session.clock;
        if all {
            session.end(doing).await?;
        }
        let more = records.len() > limit || !all;
        records.truncate(limit);
        let last = records.last().filter(|_| more).and_then(|last| last.key(&key.field.name));
        Ok(Page { next: last.map(|last| span.behind(last.0).cursor()), records, total, as_of, gone: Vec::new() })
    }
}

/// The rows of a statement, and whether these were all: it ends early at so many bytes, in the middle of the answer.
async fn records(
    doing: &str,
    session: &mut Session<'_>,
    table: &Table,
    sql: &str,
    most: usize,
) -> Result<(Vec<Record>, bool)> {
    let mut coming = sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).fetch(session.connection());
    let (mut records, mut bytes) = (Vec::new(), 0);
    while let Some(row) = coming.try_next().await.map_err(|error| fault(doing, error))? {
        if bytes > most {
            return Ok((records, false));
        }
        let record = record(doing, table, &row)?;
        bytes += record.0.values().map(sql::weight).sum::<usize>();
        records.push(record);
    }
    Ok((records, true))
}

fn record(doing: &str, table: &Table, row: &MySqlRow) -> Result<Record> {
    let mut fields = std::collections::BTreeMap::new();
    for (at, column) in table.columns.iter().enumerate() {
        let name = &column.field.name;
        let value = match session::raw(row, at).map_err(|error| fault(doing, error))? {
            None => Value::Null,
            Some(raw) => values::read(&column.field.kind, raw)
                .map_err(|why| sql::refused(doing, format!("column {name} of {}: {why}", table.name)))?,
        };
        fields.insert(name.clone(), value);
    }
    Ok(Record(fields))
}

fn select(table: &Table) -> String {
    let columns = table.columns.iter().map(|column| values::expression(column, &quoted(&column.field.name)));
    format!("SELECT {} FROM {}", columns.collect::<Vec<_>>().join(", "), table.place)
}

async fn count(doing: &str, session: &mut Session<'_>, table: &Table, filter: &str) -> Result<u64> {
    let rows = session.rows(doing, &format!("SELECT count(*) FROM {}{filter}", table.place)).await?;
    let said = rows.first().and_then(|row| session::text(row, 0)).and_then(|count| count.parse().ok());
    said.ok_or_else(|| Fault::new(FaultKind::Garbage, doing).detail("a count that is no number"))
}

/// A text that was a value of this column, in a statement.
fn literal(column: &Column, text: &str) -> String {
    let mut sql = String::new();
    let kind = &column.field.kind;
    let value = kind.take(Value::Text(text.to_owned()));
    values::push(&mut sql, kind, &value.unwrap_or_else(|_| Value::Text(text.to_owned())));
    sql
}

/// Holds for the rows of these keys, to the byte.
fn among(key: &Column, wanted: &[Value]) -> String {
    let mut list = String::new();
    for (n, value) in wanted.iter().enumerate() {
        list.push_str(if n > 0 { ", " } else { "" });
        values::push(&mut list, &key.field.kind, value);
    }
    let name = quoted(&key.field.name);
    let mut only = format!("{name} IN ({list})");
    if matches!(key.field.kind, Kind::Text { .. }) {
        values::put(&mut only, format_args!(" AND BINARY {name} IN ({list})"));
    }
    only
}

/// Holds for a row that changed at or after this moment, and for one that does not say when.
fn changed(doing: &str, column: &Column, since: Timestamp) -> Result<String> {
    let name = quoted(&column.field.name);
    let moment = match column.field.kind {
        // A clock on a wall is taken for UTC, as everything here. What the column cannot hold would be rounded up.
        Kind::Timestamp { .. } | Kind::Text { .. } => format!("'{}'", since.strftime("%Y-%m-%d %H:%M:%S")),
        Kind::Date => format!("'{}'", since.strftime("%Y-%m-%d")),
        Kind::Int { .. } | Kind::Float { .. } | Kind::Decimal { .. } => since.as_second().to_string(),
        _ => return Err(sql::refused(doing, format!("{name} holds no time"))),
    };
    Ok(format!("({name} >= {moment} OR {name} IS NULL)"))
}

#[async_trait]
impl RecordStore for MySqlStore {
    async fn describe(&self, set: &SetRef) -> Result<SetInfo> {
        let doing = format!("look at {} in {}", set.name, self.name);
        self.looks.forget(&set.name);
        self.call(&doing, set, async {
            let mut session = self.sessions.begin(&doing, false).await?;
            let table = self.table(&doing, &mut session, set).await?;
            table.key(&doing, &set.key)?;
            session.end(&doing).await?;
            let count = Box::pin(self.count(&doing, &table, "")).await?;
            Ok(table.info(count))
        })
        .await
    }

    async fn sketch(&self, set: &SetRef) -> Result<SetInfo> {
        let doing = format!("look at {} in {}", set.name, self.name);
        self.looks.forget(&set.name);
        self.call(&doing, set, async {
            let mut session = self.sessions.begin(&doing, false).await?;
            let table = self.table(&doing, &mut session, set).await?;
            table.key(&doing, &set.key)?;
            let about = schema::about(&doing, &mut session, &set.name).await?;
            session.end(&doing).await?;
            match about.filter(|about| *about > sql::FEW) {
                Some(about) => Ok(SetInfo { estimated: true, ..table.info(Some(about)) }),
                None => Ok(table.info(Box::pin(self.count(&doing, &table, "")).await?)),
            }
        })
        .await
    }

    fn block_source(&self) -> Option<&dyn BlockSource> {
        Some(self)
    }

    async fn read(&self, set: &SetRef, from: &Cursor, limit: u32) -> Result<Page> {
        let doing = format!("read {} from {}", set.name, self.name);
        self.call(&doing, set, Box::pin(self.page(&doing, set, None, from, limit))).await
    }

    /// Whole numbers are parted between the least and the greatest, other keys where the index says.
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
        self.call(&doing, set, Box::pin(self.page(&doing, set, Some((updated, since)), from, limit))).await
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

    async fn fetch(&self, set: &SetRef, keys: &[Key]) -> Result<Vec<Record>> {
        let doing = format!("fetch {} records of {} from {}", keys.len(), set.name, self.name);
        self.call(&doing, set, async {
            let mut session = self.sessions.begin(&doing, false).await?;
            let table = self.table(&doing, &mut session, set).await?;
            let key = table.key(&doing, &set.key)?;
            let wanted: HashSet<&Key> = keys.iter().collect();
            let mut found = Vec::new();
            for keys in sql::possible(key, keys).chunks(KEYS_AT_ONCE) {
                let sql = format!("{} WHERE {}", select(&table), among(key, keys));
                found.extend(records(&doing, &mut session, &table, &sql, usize::MAX).await?.0);
            }
            session.end(&doing).await?;
            found.retain(|record| record.key(&set.key).is_some_and(|key| wanted.contains(&key)));
            Ok(found)
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
            let table = self.table(&doing, &mut session, set).await?;
            table.key(&doing, &set.key)?;
            table.takes(&doing, records)?;
            let (groups, mut outcomes) = batch::groups(&table, &set.key, records);
            let mut writer = MySqlWriter { doing: &doing, table: &table, session };
            for group in &groups {
                batch::write(&mut writer, group, &mut outcomes).await?;
            }
            writer.session.end(&doing).await?;
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
            for keys in sql::possible(key, keys).chunks(KEYS_AT_ONCE) {
                let sql = format!("DELETE FROM {} WHERE {}", table.place, among(key, keys));
                session.run(&sql).await.map_err(|error| fault(&doing, error))?;
            }
            session.end(&doing).await
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
    let name = quoted(&key.field.name);
    let place = &table.place;
    if matches!(key.field.kind, Kind::Int { .. }) {
        let rows = session.rows(doing, &format!("SELECT min({name}), max({name}) FROM {place}")).await?;
        let number = |at| rows.first().and_then(|row| session::text(row, at)).and_then(|text| text.parse().ok());
        return Ok(number(0).zip(number(1)).map(|(least, most)| even(least, most, parts)).unwrap_or_default());
    }
    let rows = count(doing, session, table, "").await?;
    let mut ends = Vec::new();
    for n in 1..u64::from(parts) {
        let at = rows * n / u64::from(parts);
        let sql = format!("SELECT {name} FROM {place} ORDER BY {name} LIMIT 1 OFFSET {at}");
        let found = session.rows(doing, &sql).await?;
        let Some(raw) = found.first().and_then(|row| session::raw(row, 0).ok().flatten()) else { break };
        let end = values::read(&key.field.kind, raw).map_err(|why| sql::refused(doing, why))?;
        ends.push(end.to_text());
    }
    Ok(ends)
}
