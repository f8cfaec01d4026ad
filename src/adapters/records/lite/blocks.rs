//! Rows in bulk, out of a file and into it: one transaction for a whole block, so that it goes in as one or not at all.
//!
//! What a column would keep otherwise than it was given refuses the block.
//! Neighbours: `cells` of `sql` has the form of a line. Must never enter: an upsert; a row that stands there is
//! somebody else's.

use super::{
    super::sql::{
        self, Column, Table,
        cells::{self, Lettered},
        span::Span,
    },
    LiteStore,
    engine::{Cell, Cells, Engine, Ran, Statement},
    schema::quoted,
    select, values, wanted,
};
use crate::{
    error::Result,
    model::{Key, Kind, Value},
    ports::{
        Block, BlockCell, BlockPage, BlockSource, BlockStore, Cursor, Dialect, Form, Inserted, RecordStore as _,
        SetRef, Shape, StretchDigest,
    },
};
use async_trait::async_trait;

/// Rows of a statement: always the same statement, which is as long as it is cheap.
const ROWS: usize = 100;
static LINES: Lettered = Lettered("sqlite");
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
                match insert(&begins, &columns, block, lines.by_ref().take(most)) {
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
    block: &Block,
    lines: impl Iterator<Item = &'l [u8]>,
) -> std::result::Result<Statement, String> {
    let mut insert = Statement::act(begins);
    let mut said = Vec::with_capacity(columns.len());
    for (n, line) in lines.enumerate() {
        block.cells(line, &mut said)?;
        insert.text(if n > 0 { ", (" } else { "(" });
        insert.cells(kept(columns, &said)?);
        insert.text(")");
    }
    Ok(insert)
}

/// What the values of a line's cells are in the file.
fn kept(columns: &[&Column], cells: &[BlockCell<'_>]) -> std::result::Result<Cells, String> {
    let one = |(column, cell): (&&Column, &BlockCell<'_>)| {
        let value = match cell {
            BlockCell::Said(said) => match cells::document_text(said) {
                Some(text) => return Ok(Cell::Text(text)),
                None => cells::read(said),
            },
            BlockCell::Null => Ok(Value::Null),
            BlockCell::Absent => Err("it is not there".into()),
        };
        value.and_then(|value| values::kept(column, value)).map_err(|why| format!("{}: {why}", column.field.name))
    };
    columns.iter().zip(cells).map(one).collect()
}

#[async_trait]
impl<E: Engine> BlockSource for LiteStore<E> {
    fn dialect(&self) -> &'static dyn Dialect {
        &LINES
    }

    async fn shape(&self, set: &SetRef) -> Result<Shape> {
        let doing = format!("look at {} in {}", set.name, self.engine.name());
        self.looks.forget(&set.name);
        self.call(set, async { self.table(&doing, set).await?.shape(&doing, &set.key) }).await
    }

    async fn read_block(
        &self,
        set: &SetRef,
        from: &Cursor,
        rows: u32,
        _bytes: usize,
        _form: Form,
    ) -> Result<BlockPage> {
        let doing = format!("read {} from {}", set.name, self.engine.name());
        let page = self.read(set, from, rows).await?;
        let shape = self.call(set, async { self.table(&doing, set).await?.shape(&doing, &set.key) }).await?;
        LINES.page(&shape.columns, &page).map_err(|why| sql::refused(&doing, why))
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
            let keys = block.keys(block.iter()).map_err(|why| sql::refused(&doing, why))?;
            let keys: Vec<Cell> = keys.iter().map(|value| values::key(key, &value.to_text())).collect();
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
            let fields = columns.iter().map(|column| column.field.clone()).collect();
            let read = |(column, cell): (&&Column, Cell)| {
                let name = &column.field.name;
                values::read(&column.field.kind, cell).map_err(|why| format!("column {name}: {why}"))
            };
            let rows = rows.into_iter().map(|row| columns.iter().zip(row).map(read));
            LINES.block(fields, rows).map_err(|why| sql::refused(&doing, why))
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
