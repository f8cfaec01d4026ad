//! Records in SQLite's dialect, whoever runs the statements.
//!
//! Tables and columns are discovered, never assumed (`schema`); values travel by the column's declared type (`values`);
//! `write` upserts. Who runs the statements stands behind `engine`: a file (`sqlite`), or Cloudflare's servers (`d1`).
//! Pages go along the key, so a page costs the same at the end of a table as at its start.

mod blocks;
pub(super) mod engine;
mod schema;
mod scratch;
mod values;
mod write;

use super::sql::{
    self, Column, Looks, Table, batch,
    span::{Span, even},
};
use crate::{
    error::{Fault, FaultKind, Result},
    model::{Key, Kind, Record, Timestamp, Value},
    ports::{BlockSource, BlockStore, Cursor, Page, RecordStore, SetInfo, SetRef, WriteOutcome},
};
use async_trait::async_trait;
use engine::{Cell, Cells, Engine, Ran, Statement};
use schema::quoted;
use std::sync::Arc;
use write::LiteWriter;

/// Records in SQLite's dialect.
#[derive(Debug)]
pub struct LiteStore<E> {
    pub(super) engine: E,
    looks: Looks,
}

#[expect(private_bounds, reason = "who runs the statements concerns nobody outside")]
impl<E: Engine> LiteStore<E> {
    pub(super) fn of(engine: E) -> Self {
        Self { engine, looks: Looks::default() }
    }

    async fn table(&self, doing: &str, set: &SetRef) -> Result<Arc<Table>> {
        match self.looks.get(&set.name) {
            Some(table) => Ok(table),
            None => Ok(self.looks.keep(&set.name, schema::discover(doing, &self.engine, &set.name).await?)),
        }
    }

    /// After a failure nothing is taken for known.
    async fn call<T>(&self, set: &SetRef, work: impl Future<Output = Result<T>>) -> Result<T> {
        let done = work.await;
        if done.is_err() {
            self.looks.forget(&set.name);
        }
        done
    }

    /// A page along the key, of the rows for which `only` holds.
    async fn page(
        &self,
        doing: &str,
        set: &SetRef,
        only: Option<Statement>,
        from: &Cursor,
        limit: u32,
    ) -> Result<Page> {
        let table = self.table(doing, set).await?;
        let key = table.key(doing, &set.key)?;
        let span = Span::parse(doing, from)?;
        let whole = only.is_none() && *from == Cursor::START;
        let total = if whole { Some(self.count(doing, &table).await?) } else { None };
        let name = quoted(&key.field.name);
        if span.after.is_none() && key.field.nullable {
            let ask = Statement::ask(["1"], format!(" FROM {} WHERE {name} IS NULL LIMIT 1", table.place));
            if !self.engine.read(doing, ask, None).await?.rows.is_empty() {
                return Err(sql::without_key(doing, &table, &key.field.name));
            }
        }
        let mut ask = all_of(&table).then(" WHERE 1");
        if let Some(only) = only {
            ask.text(" AND ");
            ask.statement(only);
        }
        ask.statement(bounds(key, &span));
        let limit = self.engine.page(limit.max(1));
        // One row more than asked for tells whether this is the end.
        ask.text(&format!(" ORDER BY {name} LIMIT {}", u64::from(limit) + 1));
        let answered = self.engine.read(doing, ask, Some(sql::PAGE_BYTES)).await?;
        let mut records = records(doing, &table, answered.rows)?;
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let more = records.len() > limit || !answered.whole;
        records.truncate(limit);
        let last = records.last().filter(|_| more).and_then(|last| last.key(&key.field.name));
        let next = last.map(|last| span.behind(last.0).cursor());
        Ok(Page { records, next, total, as_of: answered.as_of, gone: Vec::new() })
    }

    async fn count(&self, doing: &str, table: &Table) -> Result<u64> {
        self.number(doing, Statement::ask(["count(*)"], format!(" FROM {}", table.place))).await
    }

    /// The count that this statement answers with.
    async fn number(&self, doing: &str, ask: Statement) -> Result<u64> {
        let rows = self.engine.read(doing, ask, None).await?.rows;
        let count = rows.first().and_then(|row| row.first()).and_then(Cell::int);
        count
            .and_then(|count| u64::try_from(count).ok())
            .ok_or_else(|| Fault::new(FaultKind::Garbage, doing).detail("a count that is no number"))
    }

    /// Keys at which about so many even parts end.
    async fn ends(&self, doing: &str, table: &Table, key: &Column, parts: u32) -> Result<Vec<String>> {
        let name = quoted(&key.field.name);
        let place = &table.place;
        if matches!(key.field.kind, Kind::Int { .. }) {
            let ask = Statement::ask([format!("min({name})"), format!("max({name})")], format!(" FROM {place}"));
            let rows = self.engine.read(doing, ask, None).await?.rows;
            let number = |at: usize| rows.first().and_then(|row| row.get(at)).and_then(Cell::int).map(i128::from);
            return Ok(number(0).zip(number(1)).map(|(least, most)| even(least, most, parts)).unwrap_or_default());
        }
        let rows = self.count(doing, table).await?;
        let mut ends = Vec::new();
        for n in 1..u64::from(parts) {
            let at = rows * n / u64::from(parts);
            let ask = Statement::ask([name.as_str()], format!(" FROM {place} ORDER BY {name} LIMIT 1 OFFSET {at}"));
            let found = self.engine.read(doing, ask, None).await?.rows.into_iter().flatten().next();
            let Some(end) = found.filter(|end| *end != Cell::Null) else { break };
            ends.push(values::read(&key.field.kind, end).map_err(|why| sql::refused(doing, why))?.to_text());
        }
        Ok(ends)
    }
}

/// Goes on with what holds for a row that changed at or after this moment, and for one that does not say when.
fn changed(ask: Statement, column: &Column, since: Timestamp) -> Statement {
    let time = format!("datetime({}, 'auto')", quoted(&column.field.name));
    ask.then(&format!("({time} IS NULL OR {time} >= datetime("))
        .with(Cell::Text(since.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()))
        .then("))")
}

fn all_of(table: &Table) -> Statement {
    select(&table.columns.iter().collect::<Vec<_>>(), table)
}

fn select(columns: &[&Column], table: &Table) -> Statement {
    Statement::ask(columns.iter().map(|column| quoted(&column.field.name)), format!(" FROM {}", table.place))
}

/// Goes on with what holds for the rows of this stretch of keys.
fn bounds(key: &Column, span: &Span) -> Statement {
    let name = quoted(&key.field.name);
    let ends = [(">", &span.after), ("<=", &span.upto)];
    let ends = ends.into_iter().filter_map(|(sign, text)| Some((sign, text.as_ref()?)));
    ends.fold(Statement::act(""), |holds, (sign, text)| {
        holds.then(&format!(" AND {name} {sign} ")).with(values::key(key, text))
    })
}

fn records(doing: &str, table: &Table, rows: Vec<Cells>) -> Result<Vec<Record>> {
    let value = |(column, cell): (&Column, Cell)| {
        let name = &column.field.name;
        let value = values::read(&column.field.kind, cell)
            .map_err(|why| sql::refused(doing, format!("column {name} of {}: {why}", table.name)))?;
        Ok((name.clone(), value))
    };
    rows.into_iter().map(|row| table.columns.iter().zip(row).map(value).collect::<Result<_>>().map(Record)).collect()
}

/// Keys of which a row could have one, in statements' worth.
fn wanted(key: &Column, keys: &[Key], most: usize) -> Vec<Vec<Cell>> {
    let cells: Vec<Cell> =
        sql::possible(key, keys).iter().map(|value: &Value| values::key(key, &value.to_text())).collect();
    cells.chunks(most).map(<[Cell]>::to_vec).collect()
}

#[async_trait]
impl<E: Engine> RecordStore for LiteStore<E> {
    async fn describe(&self, set: &SetRef) -> Result<SetInfo> {
        let doing = format!("look at {} in {}", set.name, self.engine.name());
        self.looks.forget(&set.name);
        self.call(set, async {
            let table = self.table(&doing, set).await?;
            table.key(&doing, &set.key)?;
            let count = self.count(&doing, &table).await?;
            Ok(table.info(Some(count)))
        })
        .await
    }

    async fn read(&self, set: &SetRef, from: &Cursor, limit: u32) -> Result<Page> {
        let doing = format!("read {} from {}", set.name, self.engine.name());
        self.call(set, self.page(&doing, set, None, from, limit)).await
    }

    fn block_source(&self) -> Option<&dyn BlockSource> {
        Some(self)
    }

    fn blocks(&self) -> Option<&dyn BlockStore> {
        self.engine.is_one_write().then_some(self)
    }

    /// Whole numbers are parted between the least and the greatest, other keys where the index says.
    async fn split(&self, set: &SetRef, parts: u32) -> Result<Vec<Cursor>> {
        let doing = format!("part {} in {}", set.name, self.engine.name());
        self.call(set, async {
            let table = self.table(&doing, set).await?;
            let key = table.key(&doing, &set.key)?;
            let ends = if table.view || parts < 2 { Vec::new() } else { self.ends(&doing, &table, key, parts).await? };
            Ok(Span::parts(ends))
        })
        .await
    }

    /// Times are compared in whole seconds and in UTC, as SQLite's `datetime` reads them (RFC 3339 with any offset, with
    /// or without a fraction; numbers count as Unix seconds): what changed in the second of `since` is in, and so is a
    /// row whose time is missing or unreadable, since nobody can say that it did not change.
    async fn changes(&self, set: &SetRef, since: Timestamp, from: &Cursor, limit: u32) -> Result<Page> {
        let doing = format!("read changes since {since} of {} from {}", set.name, self.engine.name());
        let updated = sql::updated(&doing, set.updated.as_ref())?;
        self.call(set, async {
            let table = self.table(&doing, set).await?;
            let only = changed(Statement::act(""), table.column(&doing, updated)?, since);
            self.page(&doing, set, Some(only), from, limit).await
        })
        .await
    }

    async fn count_changes(&self, set: &SetRef, since: Timestamp) -> Result<Option<u64>> {
        let doing = format!("count changes since {since} of {} in {}", set.name, self.engine.name());
        let updated = sql::updated(&doing, set.updated.as_ref())?;
        self.call(set, async {
            let table = self.table(&doing, set).await?;
            let all = Statement::ask(["count(*)"], format!(" FROM {} WHERE ", table.place));
            let ask = changed(all, table.column(&doing, updated)?, since);
            self.number(&doing, ask).await.map(Some)
        })
        .await
    }

    async fn fetch(&self, set: &SetRef, keys: &[Key]) -> Result<Vec<Record>> {
        let doing = format!("fetch {} records of {} from {}", keys.len(), set.name, self.engine.name());
        self.call(set, async {
            let table = self.table(&doing, set).await?;
            let key = table.key(&doing, &set.key)?;
            let mut found = Vec::new();
            for keys in wanted(key, keys, self.engine.limits().cells) {
                let mut ask = all_of(&table).then(&format!(" WHERE {} IN (", quoted(&key.field.name)));
                ask.cells(keys);
                let rows = self.engine.read(&doing, ask.then(")"), None).await?.rows;
                found.extend(records(&doing, &table, rows)?);
            }
            Ok(found)
        })
        .await
    }

    async fn write(&self, set: &SetRef, records: &[Record]) -> Result<Vec<WriteOutcome>> {
        let doing = format!("write {} records to {} in {}", records.len(), set.name, self.engine.name());
        if records.is_empty() {
            return Ok(Vec::new());
        }
        self.call(set, async {
            let table = self.table(&doing, set).await?;
            table.key(&doing, &set.key)?;
            table.takes(&doing, records)?;
            let (groups, mut outcomes) = batch::groups(&table, &set.key, records);
            let (writing, limits) = (self.engine.write(&doing).await?, self.engine.limits());
            let mut writer = LiteWriter { doing: &doing, table: &table, limits, writing };
            for group in &groups {
                batch::write(&mut writer, group, &mut outcomes).await?;
            }
            writer.writing.end(&doing).await?;
            batch::finished(&doing, outcomes)
        })
        .await
    }

    async fn delete(&self, set: &SetRef, keys: &[Key]) -> Result<()> {
        let doing = format!("delete {} records of {} in {}", keys.len(), set.name, self.engine.name());
        self.call(set, async {
            let table = self.table(&doing, set).await?;
            let key = table.key(&doing, &set.key)?;
            let keys = wanted(key, keys, self.engine.limits().cells);
            if keys.is_empty() {
                return Ok(());
            }
            let mut writing = self.engine.write(&doing).await?;
            for keys in keys {
                let statement = write::delete(&table, &key.field.name, keys);
                if let Ran::Refused(why) = writing.run(&doing, vec![statement]).await? {
                    return Err(sql::refused(&doing, why));
                }
            }
            writing.end(&doing).await
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
