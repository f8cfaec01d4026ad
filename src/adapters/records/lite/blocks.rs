//! Rows in bulk, out of a file and into it: one transaction for a whole block, so that it goes in as one or not at all.
//!
//! A cell is a letter for the form of its value and the value's text. What a column would keep otherwise than it was given
//! is found before the first statement, and refuses the block. Must never enter: an upsert; a row that stands there is
//! somebody else's.

use super::{
    super::sql::{Column, Table, span::Span},
    LiteStore,
    engine::{Cells, Engine, Ran, Statement},
    schema::quoted,
    select, values, wanted,
};
use crate::{
    error::{Fault, FaultKind, Result},
    model::{Decimal, Field, Key, Kind, Value, document},
    ports::{
        Block, BlockPage, BlockSource, BlockStore, Cursor, Inserted, NULL_CELL, RecordStore as _, SetRef,
        StretchDigest, cell_text, push_cell,
    },
};
use async_trait::async_trait;
use std::sync::Arc;

/// Rows of a statement: always the same statement, which is as long as it is cheap.
const ROWS: usize = 100;

/// The letter for the form of a value; none for null.
const fn letter(value: &Value) -> Option<u8> {
    Some(match value {
        Value::Null => return None,
        Value::Bool(_) => b'b',
        Value::Int(_) => b'i',
        Value::Float(_) => b'f',
        Value::Decimal(_) => b'd',
        Value::Text(_) => b't',
        Value::Bytes(_) => b'x',
        Value::Json(_) => b'j',
    })
}

fn push(line: &mut Vec<u8>, value: &Value) {
    let Some(letter) = letter(value) else { return line.extend_from_slice(NULL_CELL) };
    line.push(letter);
    match value {
        Value::Text(text) => push_cell(line, Some(text)),
        value => push_cell(line, Some(&value.to_text())),
    }
}

/// The value that a cell says.
fn read(cell: &[u8]) -> Option<Value> {
    if cell == NULL_CELL {
        return Some(Value::Null);
    }
    let (letter, rest) = cell.split_first()?;
    let text = cell_text(rest)?;
    let text = std::str::from_utf8(&text).ok()?;
    Some(match letter {
        b'b' => Value::Bool(text == "true"),
        b'i' => Value::Int(text.parse().ok()?),
        b'f' => Value::Float(text.parse().ok()?),
        b'd' => Value::Decimal(Decimal::parse(text)?),
        b't' => Value::Text(text.to_owned()),
        b'x' => Value::Bytes(hex::decode(text.strip_prefix("\\x")?).ok()?),
        b'j' => Value::Json(document::parse(text).ok()?),
        _ => return None,
    })
}

/// Whether a value of this letter has this kind's form, so that its text is the one by which it is compared.
const fn is_form_of(letter: u8, kind: &Kind) -> bool {
    matches!(
        (letter, kind),
        (b'b', Kind::Bool)
            | (b'i', Kind::Int { .. })
            | (b'f', Kind::Float { .. })
            | (b'd', Kind::Decimal { .. })
            | (b't', Kind::Text { .. })
            | (b'x', Kind::Bytes { .. })
            | (b'j', Kind::Json)
    )
}

#[expect(private_bounds, reason = "who runs the statements concerns nobody outside")]
impl<E: Engine> LiteStore<E> {
    /// The statements that insert these lines, or why they cannot go as they are.
    fn inserts(&self, doing: &str, table: &Table, block: &Block) -> Result<std::result::Result<Vec<Statement>, String>> {
        let columns = block.columns.iter().map(|field| table.column(doing, &field.name)).collect::<Result<Vec<_>>>()?;
        let names: Vec<String> = columns.iter().map(|column| quoted(&column.field.name)).collect();
        let begins = format!("INSERT INTO {} ({}) VALUES ", table.place, names.join(", "));
        let most = (self.engine.limits().cells / columns.len().max(1)).clamp(1, ROWS);
        let mut statements = Vec::with_capacity(block.rows() / most + 1);
        let mut lines = block.iter().peekable();
        while lines.peek().is_some() {
            let mut insert = Statement::act(begins.as_str());
            for (n, line) in lines.by_ref().take(most).enumerate() {
                insert.text(if n > 0 { ", (" } else { "(" });
                match cells(&columns, line) {
                    Ok(cells) => insert.cells(cells),
                    Err(why) => return Ok(Err(why)),
                }
                insert.text(")");
            }
            statements.push(insert);
        }
        Ok(Ok(statements))
    }

    async fn insert(&self, doing: &str, set: &SetRef, block: &Block) -> Result<Inserted> {
        let table = self.table(doing, set).await?;
        table.key(doing, &set.key)?;
        let statements = match self.inserts(doing, &table, block)? {
            Ok(statements) => statements,
            Err(why) => return Ok(Inserted::None(why)),
        };
        let mut writing = self.engine.write(doing).await?;
        if let Ran::Refused(why) = writing.run(doing, statements).await? {
            return Ok(Inserted::None(why));
        }
        writing.end(doing).await?;
        Ok(Inserted::All)
    }

    /// Whether there is a row for which this holds.
    async fn any(&self, doing: &str, table: &Table, holds: Statement) -> Result<bool> {
        let mut ask = Statement::ask(["1"], format!(" FROM {} WHERE 1", table.place));
        ask.statement(holds);
        Ok(!self.engine.read(doing, ask.then(" LIMIT 1"), None).await?.rows.is_empty())
    }
}

/// What a line's values are in the file.
fn cells(columns: &[&Column], line: &[u8]) -> std::result::Result<Cells, String> {
    let mut cells = Vec::with_capacity(columns.len());
    for (column, said) in columns.iter().zip(line.split(|byte| *byte == b'\t')) {
        let name = &column.field.name;
        let value = read(said).ok_or_else(|| format!("{name}: a cell that says no value"))?;
        cells.push(values::kept(column, value).map_err(|why| format!("{name}: {why}"))?);
    }
    if cells.len() == columns.len() { Ok(cells) } else { Err("a line is cut short".into()) }
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
            push(&mut lines, &value.map_err(|why| wrong(format!("column {}: {why}", column.field.name)))?);
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
            let columns = table.key_first(key);
            let (mut lines, mut ends) = (Vec::new(), Vec::with_capacity(page.records.len()));
            for record in &page.records {
                for (n, column) in columns.iter().enumerate() {
                    if n > 0 {
                        lines.push(b'\t');
                    }
                    push(&mut lines, record.get(&column.field.name).unwrap_or(&Value::Null));
                }
                lines.push(b'\n');
                let long = |_| Fault::new(FaultKind::Refused, &*doing).detail("a page of more than 4 GiB");
                ends.push(u32::try_from(lines.len()).map_err(long)?);
            }
            let columns = columns.iter().map(|column| column.field.clone()).collect();
            let block = Block { columns, lines: lines.into(), ends };
            Ok(BlockPage { block, next: page.next, total: page.total, as_of: page.as_of })
        })
        .await
    }

    fn value(&self, _kind: &Kind, cell: &[u8]) -> std::result::Result<Value, String> {
        read(cell).ok_or_else(|| "a cell that says no value".to_owned())
    }

    fn tell(&self, kind: &Kind, cell: &[u8], text: &mut Vec<u8>) -> bool {
        let Some((letter, rest)) = cell.split_first() else { return false };
        let said = cell_text(rest).filter(|_| is_form_of(*letter, kind));
        said.is_some_and(|said| {
            text.extend_from_slice(&said);
            true
        })
    }
}

#[async_trait]
impl<E: Engine> BlockStore for LiteStore<E> {
    async fn insert_block(&self, set: &SetRef, block: &Block) -> Result<Inserted> {
        let doing = format!("write {} records to {} in {}", block.rows(), set.name, self.engine.name());
        self.call(set, self.insert(&doing, set, block)).await
    }

    async fn stands(&self, set: &SetRef, keys: &[Key]) -> Result<bool> {
        let doing = format!("look for rows of {} in {}", set.name, self.engine.name());
        self.call(set, async {
            let table = self.table(&doing, set).await?;
            let key = table.key(&doing, &set.key)?;
            for keys in wanted(key, keys, self.engine.limits().cells) {
                let mut among = Statement::act(format!(" AND {} IN (", quoted(&key.field.name)));
                among.cells(keys);
                if self.any(&doing, &table, among.then(")")).await? {
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
            for keys in wanted(key, keys, self.engine.limits().cells) {
                let mut ask = select(&columns, &table).then(&format!(" WHERE {} IN (", quoted(&key.field.name)));
                ask.cells(keys);
                rows.extend(self.engine.read(&doing, ask.then(")"), None).await?.rows);
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
        push(line, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_value_survives_a_cell() {
        let all = [
            Value::Null,
            Value::Bool(true),
            Value::Int(i64::MIN),
            Value::Float(0.1 + 0.2),
            Value::Float(-1e300),
            Value::Decimal(Decimal::parse("-12345678901234567890.5").unwrap()),
            Value::Text("\\N\ta\nü\0".into()),
            Value::Text(String::new()),
            Value::Bytes(vec![0, 255]),
            Value::Json(json!({"b": [1, 2.5, null], "a": "\t\\"})),
        ];
        for value in all {
            let mut cell = Vec::new();
            push(&mut cell, &value);
            assert!(!cell.contains(&b'\t') && !cell.contains(&b'\n'));
            assert_eq!(read(&cell), Some(value));
        }
        for wrong in [&b""[..], b"i", b"ix", b"q1", b"x\\x0", b"\\A"] {
            assert_eq!(read(wrong), None, "{wrong:?}");
        }
    }
}
