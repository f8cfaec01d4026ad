//! Rows in bulk: what `COPY` writes is handed over as it is, and goes in as it is.
//!
//! Neighbours: `values` knows the text of one value, the page's room (`mod`) how a stretch is asked for. Must never enter: an
//! `UPDATE`; a row that stands there is somebody else's.

use super::{
    super::sql::{Column, span::Span},
    PostgresStore, any_within, exists, keyless,
    query::{among, between, bounds, select, told as told_column},
    session::Session,
    told, values,
};
use crate::{
    adapters::postgres::{fault, quoted, rejection},
    error::{Fault, FaultKind, Result},
    model::{Field, Key, Kind, Value},
    ports::{
        Block, BlockPage, BlockSource, BlockStore, Cursor, Inserted, SetRef, StretchDigest, cell_text, push_cell,
        push_text,
    },
};
use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::TryStreamExt as _;
use sqlx::{AssertSqlSafe, Row as _};
use std::{borrow::Cow, sync::Arc};

/// Reads lines until there are more rows or bytes than asked for.
async fn lines(doing: &str, session: &mut Session<'_>, sql: &str, rows: usize, bytes: usize) -> Result<Lines> {
    let wrong = |error| fault(doing, error);
    let statement = format!("COPY ({sql}) TO STDOUT");
    let mut coming = session.connection.copy_out_raw(&statement).await.map_err(wrong)?;
    let mut lines = Lines { text: BytesMut::new(), ends: Vec::new(), whole: true };
    while let Some(piece) = coming.try_next().await.map_err(wrong)? {
        let before = lines.text.len();
        lines.text.extend_from_slice(&piece);
        let ends = piece.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| before + at + 1);
        for end in ends {
            let end = u32::try_from(end).map_err(|_| {
                Fault::new(FaultKind::Garbage, doing).detail("a page of more than 4 GiB: ask for fewer rows")
            })?;
            lines.ends.push(end);
        }
        if lines.text.len() > bytes && !lines.ends.is_empty() && lines.ends.len() <= rows {
            lines.whole = false;
            break;
        }
    }
    Ok(lines)
}

/// Lines that came.
struct Lines {
    text: BytesMut,
    ends: Vec<u32>,
    /// There were no more; otherwise the connection is in the middle of them.
    whole: bool,
}

fn block(columns: &[&Column], lines: Lines) -> Block {
    let columns = columns.iter().map(|column| column.field.clone()).collect();
    Block { columns, lines: lines.text.freeze(), ends: lines.ends }
}

impl PostgresStore {
    async fn block_page(&self, doing: &str, set: &SetRef, from: &Cursor, rows: u32, bytes: usize) -> Result<BlockPage> {
        let total = if *from == Cursor::START { self.total(doing, set).await? } else { None };
        let mut session = self.sessions.begin(doing, false).await?;
        let table = self.table(doing, &mut session, set).await?;
        let key = table.key(doing, &set.key)?;
        let columns = table.key_first(key);
        let span = Span::parse(doing, from)?;
        if span.after.is_none() && key.field.nullable {
            keyless(doing, &mut session, &table, key).await?;
        }
        let limit = usize::try_from(rows.max(1)).unwrap_or(usize::MAX);
        let sql = format!(
            "{}{} ORDER BY {} LIMIT {}",
            select(&columns, &table.place),
            bounds(key, &span),
            quoted(&key.field.name),
            limit.saturating_add(1)
        );
        let mut lines = lines(doing, &mut session, &sql, limit, bytes).await?;
        let as_of = session.clock;
        if lines.whole {
            session.end(doing).await?;
        }
        let more = lines.ends.len() > limit || !lines.whole;
        lines.ends.truncate(limit);
        lines.text.truncate(lines.ends.last().map_or(0, |end| *end as usize));
        let block = block(&columns, lines);
        let next = if more { self.behind(doing, &span, key, &block)? } else { None };
        Ok(BlockPage { block, next, total, as_of })
    }

    /// Only the rows with the keys of these lines.
    fn among(&self, doing: &str, key: &Column, block: &Block) -> Result<String> {
        let of = |cell: &[u8]| self.value(&key.field.kind, cell).map(|value| Key(value.to_text()));
        let keys: std::result::Result<Vec<Key>, String> = block.keys().map(of).collect();
        Ok(among(key, &keys.map_err(|why| Fault::new(FaultKind::Garbage, doing).detail(why))?))
    }

    /// Where the page behind this block begins.
    fn behind(&self, doing: &str, span: &Span, key: &Column, block: &Block) -> Result<Option<Cursor>> {
        let Some(last) = block.iter().last() else { return Ok(None) };
        let cell = last.split(|byte| *byte == b'\t').next().unwrap_or_default();
        let value = self.value(&key.field.kind, cell);
        let value = value.map_err(|why| Fault::new(FaultKind::Garbage, doing).detail(why))?;
        Ok(Some(span.behind(value.to_text()).cursor()))
    }

    async fn insert(&self, doing: &str, set: &SetRef, block: &Block) -> Result<Inserted> {
        let mut session = self.sessions.begin(doing, true).await?;
        let table = self.table(doing, &mut session, set).await?;
        table.key(doing, &set.key)?;
        let names: Vec<String> = block.columns.iter().map(|column| quoted(&column.name)).collect();
        let statement = format!("COPY {} ({}) FROM STDIN", table.place, names.join(", "));
        let copied = async {
            let mut copy = session.connection.copy_in_raw(&statement).await?;
            for part in chunks(&block.lines) {
                copy.send(part).await?;
            }
            copy.finish().await
        };
        match copied.await {
            Ok(count) if count == block.rows() as u64 => {
                session.end(doing).await?;
                Ok(Inserted::All)
            }
            Ok(count) => {
                session.run(doing, "ROLLBACK TO SAVEPOINT attempt").await?;
                session.end(doing).await?;
                Ok(Inserted::None(format!("{count} of {} rows went in: a trigger keeps some out", block.rows())))
            }
            Err(error) => {
                let why = rejection(doing, error)?;
                session.run(doing, "ROLLBACK TO SAVEPOINT attempt").await?;
                session.end(doing).await?;
                Ok(Inserted::None(why))
            }
        }
    }

    async fn stretch_digest(
        &self,
        doing: &str,
        set: &SetRef,
        columns: &[String],
        stretch: &Cursor,
    ) -> Result<StretchDigest> {
        let mut session = self.sessions.begin(doing, false).await?;
        let table = self.table(doing, &mut session, set).await?;
        let key = table.key(doing, &set.key)?;
        let named = columns.iter().map(|name| table.column(doing, name)).collect::<Result<Vec<_>>>()?;
        let span = Span::parse(doing, stretch)?;
        // Two hashes of 64 bits with different seeds, each row's text made once: OFFSET keeps it from being made twice.
        let sql = format!(
            "SELECT count(*), coalesce(sum(hashtextextended(r.t, 1)), 0)::text, \
             coalesce(sum(hashtextextended(r.t, 2)), 0)::text \
             FROM (SELECT (ROW({})::text) COLLATE \"C\" AS t FROM {}{} OFFSET 0) AS r",
            named.iter().map(|column| told_column(column)).collect::<Vec<_>>().join(", "),
            table.place,
            bounds(key, &span),
        );
        let wrong = |error| fault(doing, error);
        let row = sqlx::query(AssertSqlSafe(sql)).fetch_one(&mut session.connection).await.map_err(wrong)?;
        let (rows, one, two): (i64, String, String) =
            (row.try_get(0).map_err(wrong)?, row.try_get(1).map_err(wrong)?, row.try_get(2).map_err(wrong)?);
        session.end(doing).await?;
        Ok(StretchDigest { rows: rows.unsigned_abs(), digest: format!("{one}/{two}") })
    }
}

/// A large text in parts that the driver need not keep twice as a whole.
fn chunks(lines: &Bytes) -> impl Iterator<Item = Bytes> {
    const CHUNK: usize = 64 * 1024;
    (0..lines.len()).step_by(CHUNK).map(|from| lines.slice(from..lines.len().min(from + CHUNK)))
}

#[async_trait]
impl BlockSource for PostgresStore {
    fn dialect(&self) -> &'static str {
        "postgres"
    }

    async fn shape(&self, set: &SetRef) -> Result<Arc<[Field]>> {
        let doing = format!("look at {} in {}", set.name, self.name);
        self.call(&doing, set, async {
            let mut session = self.sessions.begin(&doing, false).await?;
            let table = self.look(&doing, &mut session, set).await?;
            session.end(&doing).await?;
            let key = table.key(&doing, &set.key)?;
            Ok(table.key_first(key).into_iter().map(|column| column.field.clone()).collect())
        })
        .await
    }

    async fn read_block(&self, set: &SetRef, from: &Cursor, rows: u32, bytes: usize) -> Result<BlockPage> {
        let doing = format!("read {} from {}", set.name, self.name);
        self.call(&doing, set, Box::pin(self.block_page(&doing, set, from, rows, bytes))).await
    }

    fn value(&self, kind: &Kind, cell: &[u8]) -> std::result::Result<Value, String> {
        let no_utf8 = |_| "it holds no UTF-8".to_owned();
        let text = match cell_text(cell) {
            None => return Ok(Value::Null),
            Some(Cow::Borrowed(bytes)) => Cow::Borrowed(std::str::from_utf8(bytes).map_err(no_utf8)?),
            Some(Cow::Owned(bytes)) => {
                Cow::Owned(String::from_utf8(bytes).map_err(|error| no_utf8(error.utf8_error()))?)
            }
        };
        values::read(kind, text)
    }

    fn tell(&self, kind: &Kind, cell: &[u8], text: &mut Vec<u8>) -> bool {
        cell_text(cell).is_some_and(|said| told::tell(kind, &said, text))
    }
}

#[async_trait]
impl BlockStore for PostgresStore {
    async fn insert_block(&self, set: &SetRef, block: &Block) -> Result<Inserted> {
        let doing = format!("write {} records to {} in {}", block.rows(), set.name, self.name);
        self.call(&doing, set, self.insert(&doing, set, block)).await
    }

    async fn stands(&self, set: &SetRef, block: &Block) -> Result<bool> {
        let doing = format!("look for rows of {} in {}", set.name, self.name);
        self.call(&doing, set, async {
            let mut session = self.sessions.begin(&doing, false).await?;
            let table = self.table(&doing, &mut session, set).await?;
            let key = table.key(&doing, &set.key)?;
            let between = match between(key, block) {
                Some(between) => any_within(&doing, &mut session, &table, key, &between).await?,
                None => true,
            };
            let stands = between && exists(&doing, &mut session, &table, &self.among(&doing, key, block)?).await?;
            session.end(&doing).await?;
            Ok(stands)
        })
        .await
    }

    async fn fetch_block(&self, set: &SetRef, keys: &[Key]) -> Result<Block> {
        let doing = format!("fetch {} rows of {} from {}", keys.len(), set.name, self.name);
        self.call(&doing, set, async {
            let mut session = self.sessions.begin(&doing, false).await?;
            let table = self.table(&doing, &mut session, set).await?;
            let key = table.key(&doing, &set.key)?;
            let columns = table.key_first(key);
            let sql = format!("{}{}", select(&columns, &table.place), among(key, keys));
            let lines = lines(&doing, &mut session, &sql, usize::MAX, usize::MAX).await?;
            session.end(&doing).await?;
            Ok(block(&columns, lines))
        })
        .await
    }

    async fn is_free(&self, set: &SetRef, stretch: &Cursor) -> Result<bool> {
        let doing = format!("look for rows of {} in {}", set.name, self.name);
        self.call(&doing, set, async {
            let mut session = self.sessions.begin(&doing, false).await?;
            let table = self.table(&doing, &mut session, set).await?;
            let key = table.key(&doing, &set.key)?;
            let bounds = bounds(key, &Span::parse(&doing, stretch)?);
            let stands = any_within(&doing, &mut session, &table, key, &bounds).await?;
            session.end(&doing).await?;
            Ok(!stands)
        })
        .await
    }

    fn stretch(&self, from: &Cursor, next: Option<&Cursor>) -> Result<Cursor> {
        Span::between(from, next)
    }

    async fn digest(&self, set: &SetRef, columns: &[String], stretch: &Cursor) -> Result<Option<StretchDigest>> {
        let doing = format!("digest {} in {}", set.name, self.name);
        self.call(&doing, set, self.stretch_digest(&doing, set, columns, stretch)).await.map(Some)
    }

    fn cell(&self, kind: &Kind, value: &Value, line: &mut Vec<u8>) {
        push_cell(line, values::write(kind, value).as_deref());
    }

    /// The server reads all of these as they are told.
    fn told_cell(&self, kind: &Kind, text: &[u8], line: &mut Vec<u8>) -> bool {
        let same = matches!(
            kind,
            Kind::Bool | Kind::Int { .. } | Kind::Decimal { .. } | Kind::Text { .. } | Kind::Uuid | Kind::Json
        );
        if same {
            push_text(line, text);
        }
        same
    }
}
