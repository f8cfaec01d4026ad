//! A batch in statements: records of the same fields go together, and what the database refuses is halved until it
//! stands alone.

use crate::{
    error::{Fault, FaultKind, Result},
    model::{Record, Value},
    ports::WriteOutcome,
};
use async_trait::async_trait;
use std::{borrow::Cow, collections::HashSet};

use super::{Column, Table};

/// A record whose values have the form of their columns.
#[derive(Debug)]
pub(in super::super) struct Row<'r> {
    /// Which of the batch's records it is.
    pub(in super::super) index: usize,
    /// By the group's columns.
    pub(in super::super) values: Vec<Cow<'r, Value>>,
}

/// Records with the same fields and each key once: they fit into one statement.
pub(in super::super) struct Group<'t> {
    pub(in super::super) columns: Vec<&'t Column>,
    /// Where the key stands among the columns.
    pub(in super::super) key: usize,
    pub(in super::super) rows: Vec<Row<'t>>,
    /// Where each field of a record stands among the columns.
    order: Vec<usize>,
}

impl<'t> Group<'t> {
    /// A group of records with the fields of this one.
    fn new(table: &'t Table, key: &str, record: &Record) -> Self {
        let columns: Vec<_> = table.columns.iter().filter(|c| record.0.contains_key(&c.field.name)).collect();
        let place = |name: &str| columns.iter().position(|column| column.field.name == name);
        let order = record.0.keys().filter_map(|name| place(name)).collect();
        Self { key: place(key).unwrap_or_default(), columns, rows: Vec::new(), order }
    }

    /// The record has the fields of this group.
    fn fits(&self, record: &Record) -> bool {
        record.0.len() == self.order.len()
            && record.0.keys().zip(&self.order).all(|(name, place)| self.columns[*place].field.name == *name)
    }

    /// The record's values in the order of the columns, or which of them does not fit and why.
    fn values(&self, record: &'t Record) -> Result<Vec<Cow<'t, Value>>, String> {
        let mut values = vec![Cow::Owned(Value::Null); self.columns.len()];
        for ((name, value), place) in record.0.iter().zip(&self.order) {
            values[*place] = self.columns[*place].taken(value).map_err(|why| format!("{name}: {why}"))?;
        }
        Ok(values)
    }
}

/// The batch in groups that are to be written one after the other, and what became of the records that no group has.
pub(in super::super) fn groups<'t>(
    table: &'t Table,
    key: &str,
    records: &'t [Record],
) -> (Vec<Group<'t>>, Vec<Option<WriteOutcome>>) {
    let mut groups: Vec<Group<'t>> = Vec::new();
    let mut seen = HashSet::new();
    let mut outcomes = Vec::with_capacity(records.len());
    for (index, record) in records.iter().enumerate() {
        let Some(text) = record.key(key) else {
            outcomes.push(Some(WriteOutcome::Rejected(format!("it has no {key}"))));
            continue;
        };
        if !groups.last().is_some_and(|group| group.fits(record)) || seen.contains(&text) {
            groups.push(Group::new(table, key, record));
            seen.clear();
        }
        let Some(group) = groups.last_mut() else { continue };
        match group.values(record) {
            Ok(values) => {
                seen.insert(text);
                group.rows.push(Row { index, values });
                outcomes.push(None);
            }
            Err(why) => outcomes.push(Some(WriteOutcome::Rejected(why))),
        }
    }
    groups.retain(|group| !group.rows.is_empty());
    (groups, outcomes)
}

/// What became of an attempt to write some rows at once.
pub(in super::super) enum Attempt {
    /// All are there; for each whether it is new.
    Written(Vec<bool>),
    /// None is there, for this reason, which lies in the rows.
    Refused(String),
}

/// A place that takes rows, in a transaction or not. An attempt that was refused leaves no trace.
#[async_trait]
pub(in super::super) trait Writer: Send {
    /// How many rows from the first of these go into one attempt; at least one.
    fn fitting(&self, group: &Group<'_>, rows: &[Row<'_>]) -> usize;

    /// Writes these rows, or none of them.
    async fn attempt(&mut self, group: &Group<'_>, rows: &[Row<'_>]) -> Result<Attempt>;
}

/// Writes the group; what is refused is halved until the rows stand alone that are to blame.
pub(in super::super) async fn write(
    writer: &mut dyn Writer,
    group: &Group<'_>,
    outcomes: &mut [Option<WriteOutcome>],
) -> Result<()> {
    let mut waiting = Vec::new();
    let mut rest = group.rows.as_slice();
    while !rest.is_empty() {
        let (now, later) = rest.split_at(writer.fitting(group, rest).clamp(1, rest.len()));
        waiting.push(now);
        rest = later;
    }
    waiting.reverse();
    while let Some(rows) = waiting.pop() {
        match writer.attempt(group, rows).await? {
            Attempt::Written(new) => {
                for (row, new) in rows.iter().zip(new) {
                    outcomes[row.index] = Some(if new { WriteOutcome::Created } else { WriteOutcome::Updated });
                }
            }
            Attempt::Refused(why) if rows.len() == 1 => {
                outcomes[rows[0].index] = Some(WriteOutcome::Rejected(why));
            }
            Attempt::Refused(_) => {
                let (first, second) = rows.split_at(rows.len() / 2);
                waiting.extend([second, first]);
            }
        }
    }
    Ok(())
}

/// What became of every record.
pub(in super::super) fn finished(doing: &str, outcomes: Vec<Option<WriteOutcome>>) -> Result<Vec<WriteOutcome>> {
    let unsaid = || Fault::new(FaultKind::Internal, doing).detail("a record was neither written nor refused");
    outcomes.into_iter().map(|outcome| outcome.ok_or_else(unsaid)).collect()
}
