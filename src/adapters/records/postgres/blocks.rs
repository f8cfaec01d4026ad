//! Rows in bulk: what `COPY` writes is handed over as it is, and goes in as it is.
//!
//! Neighbours: `values` knows the text of one value, the page's room (`mod`) how a stretch is asked for. Must never enter: an
//! `UPDATE`; a row that stands there is somebody else's.

use super::{
    super::sql::{Column, span::Span},
    PostgresStore, any_within, exists, keyless,
    own::{self, OwnRows},
    query::{among, between, bounds, select, told as told_column},
    session::Session,
    told, values,
};
use crate::{
    adapters::postgres::{fault, quoted, rejection},
    error::{Fault, FaultKind, Result},
    model::{Key, Kind, Value},
    ports::{
        Block, BlockPage, BlockSource, BlockStore, Cursor, Dialect, Form, Inserted, SetRef, Shape, StretchDigest,
        plain_text, push_cell, push_text,
    },
};
use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::TryStreamExt as _;
use memchr::memchr_iter;
use sqlx::{AssertSqlSafe, Row as _};
use std::borrow::Cow;

/// Reads rows until there are more rows or bytes than asked for.
async fn rows(
    doing: &str,
    session: &mut Session<'_>,
    sql: &str,
    form: Form,
    (rows, bytes): (usize, usize),
) -> Result<Rows> {
    let wrong = |error| fault(doing, error);
    let garbage = |why| Fault::new(FaultKind::Garbage, doing).detail(why);
    let statement = format!("COPY ({sql}) TO STDOUT{}", options(form));
    let mut pieces = session.connection.copy_out_raw(&statement).await.map_err(wrong)?;
    let mut coming = Coming::new(form);
    let (mut ends, mut whole) = (Vec::new(), true);
    while let Some(piece) = pieces.try_next().await.map_err(wrong)? {
        coming.take(&piece, &mut ends).map_err(garbage)?;
        if coming.len() > bytes && !ends.is_empty() && ends.len() <= rows {
            whole = false;
            break;
        }
    }
    Ok(Rows { form, bytes: coming.into_bytes(), ends, whole })
}

const fn options(form: Form) -> &'static str {
    match form {
        Form::Text => "",
        Form::Own => " (FORMAT binary)",
    }
}

/// Rows as they come.
enum Coming {
    Lines(BytesMut),
    Own(own::Coming),
}

impl Coming {
    fn new(form: Form) -> Self {
        match form {
            Form::Text => Self::Lines(BytesMut::new()),
            Form::Own => Self::Own(own::Coming::default()),
        }
    }

    /// Takes a piece, and says where the rows end that it completes.
    fn take(&mut self, piece: &[u8], ends: &mut Vec<u32>) -> std::result::Result<(), String> {
        let text = match self {
            Self::Own(own) => return own.take(piece, ends),
            Self::Lines(text) => text,
        };
        let before = text.len();
        text.extend_from_slice(piece);
        for at in memchr_iter(b'\n', piece) {
            let end = u32::try_from(before + at + 1);
            ends.push(end.map_err(|_| "a page of more than 4 GiB: ask for fewer rows")?);
        }
        Ok(())
    }

    fn len(&self) -> usize {
        match self {
            Self::Lines(text) => text.len(),
            Self::Own(own) => own.len(),
        }
    }

    fn into_bytes(self) -> BytesMut {
        match self {
            Self::Lines(text) => text,
            Self::Own(own) => own.into_bytes(),
        }
    }
}

/// Rows that came.
struct Rows {
    form: Form,
    bytes: BytesMut,
    ends: Vec<u32>,
    /// There were no more; otherwise the connection is in the middle of them.
    whole: bool,
}

fn block(columns: &[&Column], rows: Rows) -> Block {
    let dialect: &'static dyn Dialect = match rows.form {
        Form::Text => &TextRows,
        Form::Own => &OwnRows,
    };
    let columns = columns.iter().map(|column| column.field.clone()).collect();
    Block { dialect, columns, bytes: rows.bytes.freeze(), ends: rows.ends }
}

/// The value that a line's cell says.
///
/// # Errors
/// In words why it cannot be carried exactly.
pub(super) fn read(kind: &Kind, said: &[u8]) -> std::result::Result<Value, String> {
    let no_utf8 = "it holds no UTF-8";
    let text = match plain_text(said) {
        Cow::Borrowed(bytes) => Cow::Borrowed(std::str::from_utf8(bytes).map_err(|_| no_utf8)?),
        Cow::Owned(bytes) => Cow::Owned(String::from_utf8(bytes).map_err(|_| no_utf8)?),
    };
    values::read(kind, text)
}

/// Lines as the server writes them.
struct TextRows;

impl Dialect for TextRows {
    fn name(&self) -> &'static str {
        "postgres"
    }

    fn value(&self, kind: &Kind, said: &[u8]) -> std::result::Result<Value, String> {
        read(kind, said)
    }

    fn tell(&self, kind: &Kind, said: &[u8], text: &mut Vec<u8>) -> bool {
        told::tell(kind, &plain_text(said), text)
    }
}

impl PostgresStore {
    async fn block_page(
        &self,
        doing: &str,
        set: &SetRef,
        from: &Cursor,
        form: Form,
        (most, bytes): (u32, usize),
    ) -> Result<BlockPage> {
        let total = if *from == Cursor::START { self.total(doing, set).await? } else { None };
        let mut session = self.sessions.begin(doing, false).await?;
        let table = self.table(doing, &mut session, set).await?;
        let key = table.key(doing, &set.key)?;
        let columns = table.key_first(key);
        let span = Span::parse(doing, from)?;
        if span.after.is_none() && key.field.nullable {
            keyless(doing, &mut session, &table, key).await?;
        }
        let limit = usize::try_from(most.max(1)).unwrap_or(usize::MAX);
        let sql = format!(
            "{}{} ORDER BY {} LIMIT {}",
            select(&columns, &table.place),
            bounds(key, &span),
            quoted(&key.field.name),
            limit.saturating_add(1)
        );
        let mut rows = rows(doing, &mut session, &sql, form, (limit, bytes)).await?;
        let as_of = session.clock;
        if rows.whole {
            session.end(doing).await?;
        }
        let more = rows.ends.len() > limit || !rows.whole;
        rows.ends.truncate(limit);
        rows.bytes.truncate(rows.ends.last().map_or(0, |end| *end as usize));
        let block = block(&columns, rows);
        let last = block.iter().last().filter(|_| more);
        let last = block.keys(last.into_iter()).map_err(|why| Fault::new(FaultKind::Garbage, doing).detail(why))?;
        let next = last.first().map(|key| span.behind(key.to_text()).cursor());
        Ok(BlockPage { block, next, total, as_of })
    }

    async fn insert(&self, doing: &str, set: &SetRef, block: &Block) -> Result<Inserted> {
        let mut session = self.sessions.begin(doing, true).await?;
        let table = self.table(doing, &mut session, set).await?;
        table.key(doing, &set.key)?;
        let names: Vec<String> = block.columns.iter().map(|column| quoted(&column.name)).collect();
        let form = if block.dialect.name() == OwnRows.name() { Form::Own } else { Form::Text };
        let statement = format!("COPY {} ({}) FROM STDIN{}", table.place, names.join(", "), options(form));
        let copied = async {
            let mut copy = session.connection.copy_in_raw(&statement).await?;
            if form == Form::Own {
                copy.send(own::HEADER).await?;
            }
            for part in chunks(&block.bytes) {
                copy.send(part).await?;
            }
            if form == Form::Own {
                copy.send(own::TRAILER).await?;
            }
            copy.finish().await
        };
        match copied.await {
            Ok(count) if count == block.rows() as u64 => {
                session.end(doing).await?;
                Ok(Inserted::All)
            }
            Ok(count) => {
                session.undo(doing).await?;
                Ok(Inserted::None(format!("{count} of {} rows went in: a trigger keeps some out", block.rows())))
            }
            Err(error) => {
                let why = rejection(doing, error)?;
                session.undo(doing).await?;
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

/// Rows in parts that the driver need not keep twice as a whole.
fn chunks(rows: &Bytes) -> impl Iterator<Item = Bytes> {
    const CHUNK: usize = 64 * 1024;
    (0..rows.len()).step_by(CHUNK).map(|from| rows.slice(from..rows.len().min(from + CHUNK)))
}

#[async_trait]
impl BlockSource for PostgresStore {
    fn dialect(&self) -> &'static dyn Dialect {
        &TextRows
    }

    async fn shape(&self, set: &SetRef) -> Result<Shape> {
        let doing = format!("look at {} in {}", set.name, self.name);
        self.call(&doing, set, async {
            let mut session = self.sessions.begin(&doing, false).await?;
            let table = self.look(&doing, &mut session, set).await?;
            session.end(&doing).await?;
            let key = table.key(&doing, &set.key)?;
            Ok(Shape { types: own::types(&table.key_first(key)), ..table.shape(&doing, &set.key)? })
        })
        .await
    }

    async fn read_block(&self, set: &SetRef, from: &Cursor, rows: u32, bytes: usize, form: Form) -> Result<BlockPage> {
        let doing = format!("read {} from {}", set.name, self.name);
        self.call(&doing, set, Box::pin(self.block_page(&doing, set, from, form, (rows, bytes)))).await
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
            let keys = block.keys(block.iter()).map_err(|why| Fault::new(FaultKind::Garbage, &*doing).detail(why))?;
            let near = match between(key, &keys) {
                Some(between) => any_within(&doing, &mut session, &table, key, &between).await?,
                None => true,
            };
            let keys: Vec<Key> = keys.iter().map(|key| Key(key.to_text())).collect();
            let stands = near && exists(&doing, &mut session, &table, &among(key, &keys)).await?;
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
            let rows = rows(&doing, &mut session, &sql, Form::Text, (usize::MAX, usize::MAX)).await?;
            session.end(&doing).await?;
            Ok(block(&columns, rows))
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
