//! A batch into a table: one statement for many rows.
//!
//! `ON DUPLICATE KEY UPDATE` changes whichever row has any unique value of the new one. So the first thing that it sets is
//! the key, to itself if the row found is the one meant (to the byte: `A` is not `a`), and otherwise to something that is
//! an error. A statement that fails is taken back by itself.

use super::{
    super::sql::{
        Table,
        batch::{Attempt, Group, Row, Writer},
        weight,
    },
    faults::{fault, rejection},
    schema::quoted,
    session::{Session, text},
    values::{push, put},
};
use crate::error::Result;
use async_trait::async_trait;
use std::collections::HashSet;

/// Bytes of a statement with several rows.
const MOST_BYTES: usize = 2 << 20;
/// Rows of a statement: the server keeps it several times over.
const MOST_ROWS: usize = 2000;

pub(super) struct MySqlWriter<'a, 's> {
    pub(super) doing: &'a str,
    pub(super) table: &'a Table,
    pub(super) session: Session<'s>,
}

impl MySqlWriter<'_, '_> {
    /// Keys of these rows that are there.
    async fn there(&mut self, group: &Group<'_>, rows: &[Row<'_>]) -> Result<HashSet<String>> {
        let column = group.columns[group.key];
        let key = quoted(&column.field.name);
        let mut sql = format!("SELECT {key} FROM {} WHERE {key} IN (", self.table.place);
        for (n, row) in rows.iter().enumerate() {
            sql.push_str(if n > 0 { ", " } else { "" });
            push(&mut sql, &column.field.kind, &row.values[group.key]);
        }
        sql.push(')');
        let mut there = HashSet::new();
        for row in self.session.rows(self.doing, &sql).await? {
            let Some(raw) = super::session::raw(&row, 0).map_err(|error| fault(self.doing, error))? else { continue };
            let value = super::values::read(&column.field.kind, raw);
            there.insert(value.map_or_else(|_| text(&row, 0).unwrap_or_default(), |value| value.to_text()));
        }
        Ok(there)
    }

    /// One statement for rows that are whole, or that are new.
    fn upsert(&self, group: &Group<'_>, rows: &[Row<'_>]) -> String {
        let names: Vec<String> = group.columns.iter().map(|column| quoted(&column.field.name)).collect();
        let mut sql = format!("INSERT INTO {} ({}) VALUES ", self.table.place, names.join(", "));
        for (n, row) in rows.iter().enumerate() {
            sql.push_str(if n > 0 { ", (" } else { "(" });
            for (at, (column, value)) in group.columns.iter().zip(&row.values).enumerate() {
                sql.push_str(if at > 0 { ", " } else { "" });
                push(&mut sql, &column.field.kind, value);
            }
            sql.push(')');
        }
        let key = &names[group.key];
        put(
            &mut sql,
            format_args!(
                " ON DUPLICATE KEY UPDATE {key} = IF(BINARY {key} <=> BINARY VALUES({key}), {key}, (SELECT 1 UNION SELECT 2))"
            ),
        );
        for (_, name) in names.iter().enumerate().filter(|(at, _)| *at != group.key) {
            put(&mut sql, format_args!(", {name} = VALUES({name})"));
        }
        sql
    }

    /// A statement for a row that is there, whose other columns stay.
    fn update(&self, group: &Group<'_>, row: &Row<'_>) -> Option<String> {
        let mut sql = format!("UPDATE {} SET ", self.table.place);
        let others = || group.columns.iter().zip(&row.values).enumerate().filter(|(at, _)| *at != group.key);
        for (n, (_, (column, value))) in others().enumerate() {
            sql.push_str(if n > 0 { ", " } else { "" });
            put(&mut sql, format_args!("{} = ", quoted(&column.field.name)));
            push(&mut sql, &column.field.kind, value);
        }
        let column = group.columns[group.key];
        put(&mut sql, format_args!(" WHERE {} = ", quoted(&column.field.name)));
        push(&mut sql, &column.field.kind, &row.values[group.key]);
        others().next().map(|_| sql)
    }

    async fn statements(
        &mut self,
        group: &Group<'_>,
        rows: &[Row<'_>],
        there: &HashSet<String>,
    ) -> Result<(), sqlx::Error> {
        let is_there = |row: &Row<'_>| there.contains(&row.values[group.key].to_text());
        if rows.len() == 1 && is_there(&rows[0]) && !self.table.is_whole(&group.columns) {
            return match self.update(group, &rows[0]) {
                Some(sql) => self.session.run(&sql).await,
                None => Ok(()),
            };
        }
        self.session.run(&self.upsert(group, rows)).await
    }
}

#[async_trait]
impl Writer for MySqlWriter<'_, '_> {
    fn fitting(&self, group: &Group<'_>, rows: &[Row<'_>]) -> usize {
        if !self.table.is_whole(&group.columns) {
            return 1;
        }
        let mut bytes = 0;
        let most = MOST_BYTES.min(self.session.packet() / 4);
        let fits = |row: &&Row<'_>| {
            bytes += row.values.iter().map(|value| weight(value) + 4).sum::<usize>();
            bytes <= most
        };
        rows.iter().take(MOST_ROWS).take_while(fits).count()
    }

    async fn attempt(&mut self, group: &Group<'_>, rows: &[Row<'_>]) -> Result<Attempt> {
        if rows.len() == 1
            && rows[0].values.iter().map(|value| weight(value)).sum::<usize>() + 4096 > self.session.packet()
        {
            return Ok(Attempt::Refused(format!(
                "longer than the {} bytes of the server's max_allowed_packet",
                self.session.packet()
            )));
        }
        let there = self.there(group, rows).await?;
        match self.statements(group, rows, &there).await {
            Ok(()) => {
                Ok(Attempt::Written(rows.iter().map(|row| !there.contains(&row.values[group.key].to_text())).collect()))
            }
            Err(error) => rejection(self.doing, error).map(Attempt::Refused),
        }
    }
}
