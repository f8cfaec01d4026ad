//! A batch into a table.
//!
//! New rows go in by `COPY`, the fastest way there is, as long as none of them is there already; otherwise by one
//! `INSERT … ON CONFLICT` whose rows come as arrays of text. Records that are no whole rows are updated first, and only
//! what was not there is inserted: an upsert would be refused for the columns that they do not have. Every attempt stands
//! behind the savepoint `attempt`.

use super::{
    super::sql::{
        Column, Table,
        batch::{Attempt, Group, Row, Writer},
    },
    session::Session,
    values,
};
use crate::{
    adapters::postgres::{fault, quoted, rejection},
    error::Result,
    ports::push_cell,
};
use async_trait::async_trait;
use sqlx::{AssertSqlSafe, Row as _};
use std::collections::HashSet;

/// Fewer rows are not worth an attempt that may fail.
const WORTH_A_COPY: usize = 20;
/// Text in one statement: the server keeps it several times over.
const MOST_BYTES: usize = 32 << 20;

/// Rows by columns, as text.
type Texts = Vec<Vec<Option<String>>>;

pub(super) struct PostgresWriter<'a, 's> {
    pub(super) doing: &'a str,
    pub(super) table: &'a Table,
    pub(super) session: Session<'s>,
    /// The rows are likely new.
    pub(super) fresh: bool,
}

impl PostgresWriter<'_, '_> {
    /// What was done stays, whatever becomes of the next attempt.
    async fn stays(&mut self) -> Result<()> {
        self.session.run(self.doing, "RELEASE SAVEPOINT attempt; SAVEPOINT attempt").await
    }

    async fn back(&mut self) -> Result<()> {
        self.session.run(self.doing, "ROLLBACK TO SAVEPOINT attempt").await
    }

    /// Copies the rows, if all of them are new.
    async fn copy(&mut self, group: &Group<'_>, rows: &[Row<'_>]) -> Result<bool> {
        let names: Vec<String> = group.columns.iter().map(|column| quoted(&column.field.name)).collect();
        let statement = format!("COPY {} ({}) FROM STDIN", self.table.place, names.join(", "));
        let mut lines = Vec::new();
        for row in rows {
            for (at, (column, value)) in group.columns.iter().zip(&row.values).enumerate() {
                if at > 0 {
                    lines.push(b'\t');
                }
                push_cell(&mut lines, values::write(&column.field.kind, value).as_deref());
            }
            lines.push(b'\n');
        }
        let copied = async {
            let mut copy = self.session.connection.copy_in_raw(&statement).await?;
            copy.send(lines).await?;
            copy.finish().await
        };
        match copied.await {
            // A trigger may have kept some out.
            Ok(count) if count == rows.len() as u64 => return Ok(true),
            Ok(_) | Err(sqlx::Error::Database(_)) => {}
            Err(error) => return Err(fault(self.doing, error)),
        }
        self.back().await?;
        Ok(false)
    }

    /// Upserts rows that are whole: for each whether it is new.
    async fn upsert(&mut self, group: &Group<'_>, rows: &[&Row<'_>]) -> Result<Vec<bool>, sqlx::Error> {
        let key = quoted(&group.columns[group.key].field.name);
        let place = &self.table.place;
        let mut sets: Vec<String> = others(group).map(|column| set(column, "excluded")).collect();
        if sets.is_empty() {
            sets.push(format!("{key} = excluded.{key}"));
        }
        let names: Vec<String> = group.columns.iter().map(|column| quoted(&column.field.name)).collect();
        let values: Vec<String> =
            (1..).zip(&group.columns).map(|(n, column)| format!("g.c{n}::{}", column.sql)).collect();
        let sql = format!(
            "INSERT INTO {place} AS t ({}) OVERRIDING SYSTEM VALUE SELECT {} FROM {} ORDER BY g.n \
             ON CONFLICT ({key}) DO UPDATE SET {} \
             RETURNING NOT EXISTS (SELECT FROM {place} AS was WHERE was.{key} = t.{key})",
            names.join(", "),
            values.join(", "),
            given(group),
            sets.join(", "),
        );
        let mut query = sqlx::query(AssertSqlSafe(sql));
        for texts in texts(group, rows) {
            query = query.bind(texts);
        }
        query.fetch_all(&mut self.session.connection).await?.iter().map(|row| row.try_get(0)).collect()
    }

    /// Updates the rows that are there: which of them were.
    async fn update(&mut self, group: &Group<'_>, rows: &[&Row<'_>]) -> Result<HashSet<usize>, sqlx::Error> {
        let column = group.columns[group.key];
        let key = quoted(&column.field.name);
        let mut sets: Vec<String> = (1..)
            .zip(&group.columns)
            .filter(|(_, other)| other.field.name != column.field.name)
            .map(|(n, column)| format!("{} = g.c{n}::{}", quoted(&column.field.name), column.sql))
            .collect();
        if sets.is_empty() {
            sets.push(format!("{key} = t.{key}"));
        }
        let sql = format!(
            "UPDATE {} AS t SET {} FROM {} WHERE t.{key} = g.c{}::{} RETURNING g.n",
            self.table.place,
            sets.join(", "),
            given(group),
            group.key + 1,
            column.sql,
        );
        let mut query = sqlx::query(AssertSqlSafe(sql));
        for texts in texts(group, rows) {
            query = query.bind(texts);
        }
        let rows = query.fetch_all(&mut self.session.connection).await?;
        rows.iter().map(|row| Ok(usize::try_from(row.try_get::<i64, _>(0)?).unwrap_or_default() - 1)).collect()
    }

    /// The attempt in one statement, or in two if the records are no whole rows.
    async fn statements(&mut self, group: &Group<'_>, rows: &[Row<'_>]) -> Result<Vec<bool>, sqlx::Error> {
        let all: Vec<&Row<'_>> = rows.iter().collect();
        if self.table.is_whole(&group.columns) {
            return self.upsert(group, &all).await;
        }
        let there = self.update(group, &all).await?;
        let missing: Vec<&Row<'_>> =
            all.into_iter().enumerate().filter(|(n, _)| !there.contains(n)).map(|(_, row)| row).collect();
        if !missing.is_empty() && self.upsert(group, &missing).await?.len() < missing.len() {
            return Ok(Vec::new());
        }
        Ok((0..rows.len()).map(|n| !there.contains(&n)).collect())
    }
}

#[async_trait]
impl Writer for PostgresWriter<'_, '_> {
    fn fitting(&self, _group: &Group<'_>, rows: &[Row<'_>]) -> usize {
        let mut bytes = 0;
        let fits = |row: &&Row<'_>| {
            bytes += row.values.iter().map(|value| super::super::sql::weight(value)).sum::<usize>();
            bytes <= MOST_BYTES
        };
        rows.iter().take_while(fits).count()
    }

    async fn attempt(&mut self, group: &Group<'_>, rows: &[Row<'_>]) -> Result<Attempt> {
        if self.fresh && rows.len() >= WORTH_A_COPY {
            if self.copy(group, rows).await? {
                self.stays().await?;
                return Ok(Attempt::Written(vec![true; rows.len()]));
            }
            self.fresh = false;
        }
        let why = match self.statements(group, rows).await {
            Ok(new) if new.len() == rows.len() => {
                self.stays().await?;
                return Ok(Attempt::Written(new));
            }
            Ok(_) => "a trigger or rule of the table kept it out".to_owned(),
            Err(error) => rejection(self.doing, error)?,
        };
        self.back().await?;
        Ok(Attempt::Refused(why))
    }
}

/// The columns of the group without the key.
fn others<'g>(group: &'g Group<'_>) -> impl Iterator<Item = &'g Column> {
    let key = &group.columns[group.key].field.name;
    group.columns.iter().copied().filter(move |column| &column.field.name != key)
}

fn set(column: &Column, from: &str) -> String {
    let name = quoted(&column.field.name);
    format!("{name} = {from}.{name}")
}

/// The rows of a group as a table `g` of texts, with the number of each.
fn given(group: &Group<'_>) -> String {
    let count = group.columns.len();
    let arrays: Vec<String> = (1..=count).map(|n| format!("${n}::text[]")).collect();
    let names: Vec<String> = (1..=count).map(|n| format!("c{n}")).collect();
    format!("unnest({}) WITH ORDINALITY AS g({}, n)", arrays.join(", "), names.join(", "))
}

/// The texts of the rows, by columns.
fn texts(group: &Group<'_>, rows: &[&Row<'_>]) -> Texts {
    let column = |(at, column): (usize, &&Column)| {
        let text =
            |row: &&Row<'_>| values::write(&column.field.kind, &row.values[at]).map(std::borrow::Cow::into_owned);
        rows.iter().map(text).collect()
    };
    group.columns.iter().enumerate().map(column).collect()
}
