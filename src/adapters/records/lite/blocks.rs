//! Rows in bulk, out of a file and into it: one transaction for a whole block, so that it goes in as one or not at all.
//!
//! What a column would keep otherwise than it was given refuses the block.
//! Neighbours: `cells` of `sql` has the form of a line. Must never enter: an upsert; a row that stands there is
//! somebody else's.

use super::{
    super::sql::{self, Column, Table, cells, span::Span},
    LiteStore,
    engine::{Cell, Cells, Engine, Ran, Statement},
    schema::quoted,
    select, values, wanted,
};
use crate::{
    error::{Fault, FaultKind, Result},
    model::{Field, Key, Kind, Value},
    ports::{Block, BlockPage, BlockSource, BlockStore, Cursor, Inserted, RecordStore as _, SetRef, StretchDigest},
};
use async_trait::async_trait;
use std::sync::Arc;

/// Rows of a statement: always the same statement, which is as long as it is cheap.
const ROWS: usize = 100;
/// Statements that are made ahead: values take several times the room of their text.
const STATEMENTS: usize = 10;

#[expect(private_bounds, reason = "who runs the statements concerns nobody outside")]
impl<E: Engine> LiteStore<E> {
    async fn insert(&self, doing: &str, set: &SetRef, block: &Block) -> Result<Inserted> {
        let table = self.table(doing, set).await?;
        table.key(doing, &set.key)?;
        let columns = block.columns.iter().map(|field| table.column(doing, &field.name)).collect::<Result<Vec<_>>>()?;
        let names: Vec<String> = columns.iter().map(|column| quoted(&column.field.name)).collect();
        let begins = format!("INSERT INTO {} ({}) VALUES ", table.place, names.join(", "));
        let most = (self.engine.limits().cells / columns.len().max(1)).clamp(1, ROWS);
        let mut writing = self.engine.write(doing).await?;
        let mut lines = block.iter().peekable();
        while lines.peek().is_some() {
            let mut statements = Vec::with_capacity(STATEMENTS);
            while lines.peek().is_some() && statements.len() < STATEMENTS {
                match insert(&begins, &columns, lines.by_ref().take(most)) {
                    Ok(statement) => statements.push(statement),
                    // Without its end the write leaves nothing.
                    Err(why) => return Ok(Inserted::None(why)),
                }
            }
            if let Ran::Refused(why) = writing.run(doing, statements).await? {
                return Ok(Inserted::None(why));
            }
        }
        writing.end(doing).await?;
        Ok(Inserted::All)
    }

    /// What holds for the rows of these keys. As one value, wherever JSON can say them: a statement with thousands of
    /// values is prepared anew each time.
    fn among(&self, key: &Column, keys: &[Cell]) -> Vec<Statement> {
        let name = quoted(&key.field.name);
        let plain = |cell: &Cell| match cell {
            Cell::Int(number) => Some(serde_json::Value::from(*number)),
            Cell::Text(text) if !text.contains('\0') => Some(text.as_str().into()),
            _ => None,
        };
        if let Some(list) = keys.iter().map(plain).collect::<Option<Vec<_>>>() {
            let list = Cell::Text(serde_json::Value::from(list).to_string());
            let among = Statement::act(format!("{name} IN (SELECT value FROM json_each(")).with(list);
            return vec![among.then("))")];
        }
        let some = keys.chunks(self.engine.limits().cells).map(|keys| {
            let mut among = Statement::act(format!("{name} IN ("));
            among.cells(keys.iter().cloned());
            among.then(")")
        });
        some.collect()
    }

    /// Whether there is a row for which this holds.
    async fn any(&self, doing: &str, table: &Table, holds: Statement) -> Result<bool> {
        let mut ask = Statement::ask(["1"], format!(" FROM {} WHERE 1", table.place));
        ask.statement(holds);
        Ok(!self.engine.read(doing, ask.then(" LIMIT 1"), None).await?.rows.is_empty())
    }
}

/// The statement that inserts these lines, or why they cannot go as they are.
fn insert<'l>(
    begins: &str,
    columns: &[&Column],
    lines: impl Iterator<Item = &'l [u8]>,
) -> std::result::Result<Statement, String> {
    let mut insert = Statement::act(begins);
    for (n, line) in lines.enumerate() {
        insert.text(if n > 0 { ", (" } else { "(" });
        insert.cells(kept(columns, line)?);
        insert.text(")");
    }
    Ok(insert)
}

/// What a line's values are in the file.
fn kept(columns: &[&Column], line: &[u8]) -> std::result::Result<Cells, String> {
    let mut kept = Vec::with_capacity(columns.len());
    for (column, said) in columns.iter().zip(line.split(|byte| *byte == b'\t')) {
        let name = &column.field.name;
        if let Some(text) = cells::document_text(said) {
            kept.push(Cell::Text(text));
            continue;
        }
        let cell = cells::read(said).and_then(|value| values::kept(column, value));
        kept.push(cell.map_err(|why| format!("{name}: {why}"))?);
    }
    if kept.len() == columns.len() { Ok(kept) } else { Err("a line is cut short".into()) }
}

/// The rows that were read, as lines.
fn lines(doing: &str, columns: &[&Column], rows: Vec<Cells>) -> Result<Block> {
    let wrong = |why: String| Fault::new(FaultKind::Refused, doing).detail(why);
    let (mut lines, mut ends) = (Vec::new(), Vec::with_capacity(rows.len()));
    for row in rows {
        for (n, (column, cell)) in columns.iter().zip(row).enumerate() {
            if n > 0 {
                lines.push(b'\t');
            }
            let value = values::read(&column.field.kind, cell);
            cells::push(&mut lines, &value.map_err(|why| wrong(format!("column {}: {why}", column.field.name)))?);
        }
        lines.push(b'\n');
        ends.push(u32::try_from(lines.len()).map_err(|_| wrong("a page of more than 4 GiB".into()))?);
    }
    Ok(Block { columns: columns.iter().map(|column| column.field.clone()).collect(), lines: lines.into(), ends })
}

#[async_trait]
impl<E: Engine> BlockSource for LiteStore<E> {
    fn dialect(&self) -> &'static str {
        "sqlite"
    }

    async fn shape(&self, set: &SetRef) -> Result<Arc<[Field]>> {
        let doing = format!("look at {} in {}", set.name, self.engine.name());
        self.looks.forget(&set.name);
        self.call(set, async {
            let table = self.table(&doing, set).await?;
            let key = table.key(&doing, &set.key)?;
            Ok(table.key_first(key).into_iter().map(|column| column.field.clone()).collect())
        })
        .await
    }

    async fn read_block(&self, set: &SetRef, from: &Cursor, rows: u32, _bytes: usize) -> Result<BlockPage> {
        let doing = format!("read {} from {}", set.name, self.engine.name());
        let page = self.read(set, from, rows).await?;
        self.call(set, async {
            let table = self.table(&doing, set).await?;
            let key = table.key(&doing, &set.key)?;
            let columns = table.key_first(key).into_iter().map(|column| column.field.clone()).collect();
            let long = |why: String| Fault::new(FaultKind::Refused, &*doing).detail(why);
            let block = cells::lines(columns, &page.records).map_err(long)?;
            Ok(BlockPage { block, next: page.next, total: page.total, as_of: page.as_of })
        })
        .await
    }

    fn value(&self, _kind: &Kind, cell: &[u8]) -> std::result::Result<Value, String> {
        cells::read(cell)
    }

    fn tell(&self, kind: &Kind, cell: &[u8], text: &mut Vec<u8>) -> bool {
        cells::tell(kind, cell, text)
    }
}

#[async_trait]
impl<E: Engine> BlockStore for LiteStore<E> {
    async fn insert_block(&self, set: &SetRef, block: &Block) -> Result<Inserted> {
        let doing = format!("write {} records to {} in {}", block.rows(), set.name, self.engine.name());
        self.call(set, self.insert(&doing, set, block)).await
    }

    async fn stands(&self, set: &SetRef, block: &Block) -> Result<bool> {
        let doing = format!("look for rows of {} in {}", set.name, self.engine.name());
        self.call(set, async {
            let table = self.table(&doing, set).await?;
            let key = table.key(&doing, &set.key)?;
            let cell = |said: &[u8]| cells::read(said).map(|value| values::key(key, &value.to_text()));
            let keys: Vec<Cell> = block
                .keys()
                .map(cell)
                .collect::<std::result::Result<_, _>>()
                .map_err(|why| sql::refused(&doing, why))?;
            let numbers = || keys.iter().filter_map(Cell::int);
            if let (Kind::Int { .. }, Some(least), Some(most)) = (&key.field.kind, numbers().min(), numbers().max()) {
                let between = Statement::act(format!(" AND {} BETWEEN ", quoted(&key.field.name)));
                let between = between.with(Cell::Int(least)).then(" AND ").with(Cell::Int(most));
                if !self.any(&doing, &table, between).await? {
                    return Ok(false);
                }
            }
            for among in self.among(key, &keys) {
                let holds = Statement::act(" AND ").and(among);
                if self.any(&doing, &table, holds).await? {
                    return Ok(true);
                }
            }
            Ok(false)
        })
        .await
    }

    async fn fetch_block(&self, set: &SetRef, keys: &[Key]) -> Result<Block> {
        let doing = format!("fetch {} rows of {} from {}", keys.len(), set.name, self.engine.name());
        self.call(set, async {
            let table = self.table(&doing, set).await?;
            let key = table.key(&doing, &set.key)?;
            let columns = table.key_first(key);
            let mut rows = Vec::with_capacity(keys.len());
            let keys = wanted(key, keys, usize::MAX).concat();
            for among in self.among(key, &keys) {
                let ask = select(&columns, &table).then(" WHERE ").and(among);
                rows.extend(self.engine.read(&doing, ask, None).await?.rows);
            }
            lines(&doing, &columns, rows)
        })
        .await
    }

    async fn is_free(&self, set: &SetRef, stretch: &Cursor) -> Result<bool> {
        let doing = format!("look for rows of {} in {}", set.name, self.engine.name());
        self.call(set, async {
            let table = self.table(&doing, set).await?;
            let key = table.key(&doing, &set.key)?;
            let bounds = super::bounds(key, &Span::parse(&doing, stretch)?);
            Ok(!self.any(&doing, &table, bounds).await?)
        })
        .await
    }

    fn stretch(&self, from: &Cursor, next: Option<&Cursor>) -> Result<Cursor> {
        Span::between(from, next)
    }

    /// It has no function that would sum up texts.
    async fn digest(&self, _set: &SetRef, _columns: &[String], _stretch: &Cursor) -> Result<Option<StretchDigest>> {
        Ok(None)
    }

    fn cell(&self, _kind: &Kind, value: &Value, line: &mut Vec<u8>) {
        cells::push(line, value);
    }

    fn told_cell(&self, kind: &Kind, text: &[u8], line: &mut Vec<u8>) -> bool {
        cells::push_told(line, kind, text)
    }
}
