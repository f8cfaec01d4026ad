//! A batch into a table.
//!
//! Which keys are there is asked together with the upsert, so that `Created` and `Updated` are true. Records that are no
//! whole rows are updated, and inserted where nothing was there: an upsert would be refused for the columns that they do
//! not have.

use super::{
    super::sql::{
        Table,
        batch::{Attempt, Group, Row, Writer},
    },
    engine::{Cell, Cells, Limits, Ran, Statement, Writing},
    schema::quoted,
    values,
};
use crate::error::{Fault, FaultKind, Result};
use async_trait::async_trait;
use std::collections::HashSet;

/// Rows of a statement: as many as make the statement itself cheap, and always the same statement.
const MOST_ROWS: usize = 100;

pub(super) struct LiteWriter<'a> {
    pub(super) doing: &'a str,
    pub(super) table: &'a Table,
    pub(super) limits: Limits,
    pub(super) writing: Box<dyn Writing + 'a>,
}

impl LiteWriter<'_> {
    /// The rows in pieces that fit into a statement, whose cells weigh `of` each.
    fn pieces<'r>(&self, rows: &'r [Cells], per_row: usize) -> Vec<&'r [Cells]> {
        let most = (self.limits.cells / per_row.max(1)).clamp(1, MOST_ROWS);
        let (mut pieces, mut begins, mut bytes) = (Vec::new(), 0, 0);
        for (at, row) in rows.iter().enumerate() {
            let weight = row.iter().map(|cell| cell.weight() + 16).sum::<usize>();
            if at > begins && (at - begins >= most || bytes + weight > self.limits.bytes) {
                pieces.push(&rows[begins..at]);
                (begins, bytes) = (at, 0);
            }
            bytes += weight;
        }
        pieces.push(&rows[begins..]);
        pieces
    }

    /// Asks which of the rows are there.
    fn ask(&self, group: &Group<'_>, rows: &[Cells]) -> Vec<Statement> {
        let name = quoted(&group.columns[group.key].field.name);
        let keys: Vec<Cells> = rows.iter().map(|row| vec![row[group.key].clone()]).collect();
        let ask = |keys: &[Cells]| {
            let mut ask = Statement::ask([name.as_str()], format!(" FROM {} WHERE {name} IN (", self.table.place));
            ask.cells(keys.iter().flatten().cloned());
            ask.then(")")
        };
        self.pieces(&keys, 1).into_iter().map(ask).collect()
    }

    /// Upserts whole rows.
    fn upsert(&self, group: &Group<'_>, rows: Vec<Cells>) -> Vec<Statement> {
        let names: Vec<String> = group.columns.iter().map(|column| quoted(&column.field.name)).collect();
        let key = &names[group.key];
        let sets: Vec<String> =
            names.iter().filter(|name| *name != key).map(|name| format!("{name} = excluded.{name}")).collect();
        let conflict = if sets.is_empty() { "NOTHING".to_owned() } else { format!("UPDATE SET {}", sets.join(", ")) };
        let pieces: Vec<usize> = self.pieces(&rows, names.len()).iter().map(|piece| piece.len()).collect();
        let mut rows = rows.into_iter();
        let upsert = |count: usize| {
            let mut upsert = Statement::act(format!("INSERT INTO {} ({}) VALUES ", self.table.place, names.join(", ")));
            for (n, row) in rows.by_ref().take(count).enumerate() {
                upsert.text(if n > 0 { ", (" } else { "(" });
                upsert.cells(row);
                upsert.text(")");
            }
            upsert.then(&format!(" ON CONFLICT ({key}) DO {conflict}"))
        };
        pieces.into_iter().map(upsert).collect()
    }

    /// Updates a row, and inserts it where it was not.
    fn update(&self, group: &Group<'_>, row: &Cells) -> Vec<Statement> {
        let names: Vec<String> = group.columns.iter().map(|column| quoted(&column.field.name)).collect();
        let (key, place) = (&names[group.key], &self.table.place);
        let mut update = Statement::act(format!("UPDATE {place} SET "));
        for (n, (name, cell)) in names.iter().zip(row).filter(|(name, _)| *name != key).enumerate() {
            update.text(&format!("{}{name} = ", if n > 0 { ", " } else { "" }));
            update.cell(cell.clone());
        }
        let update = update.then(&format!(" WHERE {key} = ")).with(row[group.key].clone());
        let mut insert = Statement::act(format!("INSERT INTO {place} ({}) SELECT ", names.join(", ")));
        insert.cells(row.iter().cloned());
        let insert = insert
            .then(&format!(" WHERE NOT EXISTS (SELECT 1 FROM {place} WHERE {key} = "))
            .with(row[group.key].clone())
            .then(")");
        if names.len() > 1 { vec![update, insert] } else { vec![insert] }
    }
}

#[async_trait]
impl Writer for LiteWriter<'_> {
    fn fitting(&self, _group: &Group<'_>, rows: &[Row<'_>]) -> usize {
        let mut bytes = 0;
        let fits = |row: &&Row<'_>| {
            bytes += row.values.iter().map(|value| super::super::sql::weight(value) + 16).sum::<usize>();
            bytes <= self.limits.attempt
        };
        rows.iter().take_while(fits).count()
    }

    async fn attempt(&mut self, group: &Group<'_>, rows: &[Row<'_>]) -> Result<Attempt> {
        let row = |row: &Row<'_>| {
            let pairs = group.columns.iter().zip(&row.values);
            pairs
                .map(|(column, value)| {
                    values::cell(column, value).map_err(|why| format!("{}: {why}", column.field.name))
                })
                .collect()
        };
        let cells: Vec<Cells> = match rows.iter().map(row).collect::<Result<_, String>>() {
            Ok(cells) => cells,
            Err(why) => return Ok(Attempt::Refused(why)),
        };
        let mut statements = self.ask(group, &cells);
        let asked = statements.len();
        if self.table.is_whole(&group.columns) {
            statements.extend(self.upsert(group, cells));
        } else {
            statements.extend(cells.iter().flat_map(|row| self.update(group, row)));
        }
        let answers = match self.writing.run(self.doing, statements).await? {
            Ran::Done(answers) => answers,
            Ran::Refused(why) => return Ok(Attempt::Refused(why)),
        };
        let kind = &group.columns[group.key].field.kind;
        let garbage = |why: String| Fault::new(FaultKind::Garbage, self.doing).detail(why);
        let mut there = HashSet::new();
        for cell in answers.into_iter().take(asked).flatten().flatten() {
            there.insert(values::read(kind, cell).map_err(garbage)?.to_text());
        }
        Ok(Attempt::Written(rows.iter().map(|row| !there.contains(&row.values[group.key].to_text())).collect()))
    }
}

/// The statement that deletes the rows of these keys.
pub(super) fn delete(table: &Table, key: &str, keys: impl IntoIterator<Item = Cell>) -> Statement {
    let mut delete = Statement::act(format!("DELETE FROM {} WHERE {} IN (", table.place, quoted(key)));
    delete.cells(keys);
    delete.then(")")
}
