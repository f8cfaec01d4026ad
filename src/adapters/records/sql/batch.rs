//! A batch in statements: records of the same fields go together, and what the database refuses is halved until it
//! stands alone.

use crate::{
    error::{Fault, FaultKind, Result},
    model::{Record, Value},
    ports::WriteOutcome,
};
use async_trait::async_trait;
use std::collections::HashSet;

use super::{Column, Table};

/// A record whose values have the form of their columns.
#[derive(Debug)]
pub(in super::super) struct Row {
    /// Which of the batch's records it is.
    pub(in super::super) index: usize,
    /// By the group's columns.
    pub(in super::super) values: Vec<Value>,
}

/// Records with the same fields and each key once: they fit into one statement.
pub(in super::super) struct Group<'t> {
    pub(in super::super) columns: Vec<&'t Column>,
    /// Where the key stands among the columns.
    pub(in super::super) key: usize,
    pub(in super::super) rows: Vec<Row>,
}

/// The batch in groups that are to be written one after the other, and what became of the records that no group has.
pub(in super::super) fn groups<'t>(
    table: &'t Table,
    key: &str,
    records: &[Record],
) -> (Vec<Group<'t>>, Vec<Option<WriteOutcome>>) {
    let mut groups: Vec<Group<'t>> = Vec::new();
    let mut seen = HashSet::new();
    let mut outcomes = Vec::with_capacity(records.len());
    for (index, record) in records.iter().enumerate() {
        let Some(text) = record.key(key) else {
            outcomes.push(Some(WriteOutcome::Rejected(format!("it has no {key}"))));
            continue;
        };
        let same = |group: &Group<'_>| {
            group.columns.len() == record.0.len()
                && group.columns.iter().all(|column| record.0.contains_key(&column.field.name))
        };
        if !groups.last().is_some_and(same) || seen.contains(&text) {
            let columns: Vec<_> = table.columns.iter().filter(|c| record.0.contains_key(&c.field.name)).collect();
            let at = columns.iter().position(|column| column.field.name == key).unwrap_or_default();
            groups.push(Group { columns, key: at, rows: Vec::new() });
            seen.clear();
        }
        let Some(group) = groups.last_mut() else { continue };
        let value = |column: &&Column| {
            let name = &column.field.name;
            column.taken(record.get(name).unwrap_or(&Value::Null)).map_err(|why| format!("{name}: {why}"))
        };
        match group.columns.iter().map(value).collect() {
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
    fn fitting(&self, group: &Group<'_>, rows: &[Row]) -> usize;

    /// Writes these rows, or none of them.
    async fn attempt(&mut self, group: &Group<'_>, rows: &[Row]) -> Result<Attempt>;
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
