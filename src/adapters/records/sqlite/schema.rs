//! What a table looks like, as SQLite itself says.

use super::{faults::fault, values::Kind};
use crate::{
    error::{Fault, FaultKind, Result},
    model::{Record, text},
};
use sqlx::{Row as _, SqliteConnection};
use std::collections::BTreeSet;

/// A column.
#[derive(Debug, Clone)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) kind: Kind,
}

/// A table or view.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) name: String,
    pub(super) columns: Vec<Column>,
    /// A view can be read but not written, and says nothing of what is unique in it.
    pub(super) view: bool,
    /// Columns that identify a row by themselves.
    unique: BTreeSet<String>,
}

impl Table {
    /// The table of this name.
    pub(super) async fn discover(doing: &str, connection: &mut SqliteConnection, name: &str) -> Result<Self> {
        let wrong = |error| fault(doing, error);
        let found = sqlx::query(
            "SELECT name, type FROM sqlite_schema WHERE name = ?1 COLLATE NOCASE AND type IN ('table', 'view')",
        )
        .bind(name.to_owned())
        .fetch_optional(&mut *connection)
        .await
        .map_err(wrong)?;
        let Some(found) = found else {
            return Err(Fault::new(FaultKind::NotFound, doing).detail(format!("there is no table {name}")));
        };
        let name: String = found.try_get(0).map_err(wrong)?;
        let view = found.try_get::<String, _>(1).map_err(wrong)? == "view";
        let rows = sqlx::query("SELECT name, type, pk FROM pragma_table_info(?1) ORDER BY cid")
            .bind(name.clone())
            .fetch_all(&mut *connection)
            .await
            .map_err(wrong)?;
        let (mut columns, mut primary) = (Vec::new(), Vec::new());
        for row in &rows {
            let column: String = row.try_get(0).map_err(wrong)?;
            if row.try_get::<i64, _>(2).map_err(wrong)? > 0 {
                primary.push(column.clone());
            }
            columns.push(Column { name: column, kind: Kind::declared(&row.try_get::<String, _>(1).map_err(wrong)?) });
        }
        let mut unique = unique_columns(doing, connection, &name).await?;
        if let [only] = primary.as_slice() {
            unique.insert(only.clone());
        }
        Ok(Self { name, columns, view, unique })
    }

    /// The column of this name.
    pub(super) fn column(&self, doing: &str, name: &str) -> Result<&Column> {
        self.columns
            .iter()
            .find(|column| column.name == name)
            .ok_or_else(|| self.refused(doing, format!("{} has no column {name}", self.name)))
    }

    /// The column that identifies a row. Paging along a key that is not unique would skip rows, writing by it would
    /// change several at once.
    pub(super) fn key(&self, doing: &str, name: &str) -> Result<&Column> {
        let column = self.column(doing, name)?;
        if self.view || self.unique.contains(name) {
            return Ok(column);
        }
        Err(self.refused(doing, format!("{name} is not unique in {}: give it a unique index", self.name)))
    }

    /// Says which fields of the records the table has no column for, if there are any.
    pub(super) fn takes(&self, doing: &str, records: &[Record]) -> Result<()> {
        let known: BTreeSet<&str> = self.columns.iter().map(|column| column.name.as_str()).collect();
        let unknown: BTreeSet<&str> = records
            .iter()
            .flat_map(|record| record.0.keys())
            .map(String::as_str)
            .filter(|field| !known.contains(field))
            .collect();
        if unknown.is_empty() {
            return Ok(());
        }
        let names = unknown.into_iter().map(|name| text::clean(name, 60)).collect::<Vec<_>>().join(", ");
        Err(self.refused(doing, format!("{} has no column for: {names}", self.name)))
    }

    /// All columns, for a statement.
    pub(super) fn column_list(&self) -> String {
        self.columns.iter().map(|column| quoted(&column.name)).collect::<Vec<_>>().join(", ")
    }

    #[expect(clippy::unused_self, reason = "reads as the table's own refusal at the call sites")]
    fn refused(&self, doing: &str, detail: String) -> Fault {
        Fault::new(FaultKind::Refused, doing).detail(detail)
    }
}

async fn unique_columns(doing: &str, connection: &mut SqliteConnection, table: &str) -> Result<BTreeSet<String>> {
    sqlx::query(
        "SELECT max(i.name) FROM pragma_index_list(?1) AS l, pragma_index_info(l.name) AS i \
         WHERE l.\"unique\" = 1 AND l.partial = 0 GROUP BY l.name HAVING count(*) = 1 AND max(i.name) IS NOT NULL",
    )
    .bind(table.to_owned())
    .fetch_all(connection)
    .await
    .map_err(|error| fault(doing, error))?
    .iter()
    .map(|row| row.try_get(0).map_err(|error| fault(doing, error)))
    .collect()
}

/// An identifier as SQL takes it whatever it holds.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
