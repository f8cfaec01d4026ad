//! The three tables as the extraction endpoints see them: which columns there are and what may be in them.

use serde_json::{Map, Value};
use sqlx::{Row, Sqlite, query::Query, sqlite::SqliteArguments, sqlite::SqliteRow};

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Column {
    Int,
    Text,
    Json,
}

/// A table of the legacy app.
#[derive(Debug, Clone, Copy)]
pub(super) struct Table {
    pub(super) name: &'static str,
    pub(super) columns: &'static [(&'static str, Column)],
}

use Column::{Int, Json, Text};

/// All tables that can be extracted.
pub(super) const TABLES: [Table; 3] = [
    Table {
        name: "users",
        columns: &[
            ("id", Int),
            ("username", Text),
            ("email", Text),
            ("first_name", Text),
            ("last_name", Text),
            ("password_hash", Text),
            ("created_at", Text),
            ("updated_at", Text),
        ],
    },
    Table {
        name: "files",
        columns: &[
            ("id", Int),
            ("user_id", Int),
            ("file_name", Text),
            ("file_path", Text),
            ("size", Int),
            ("checksum", Text),
            ("mime_type", Text),
            ("created_at", Text),
            ("updated_at", Text),
        ],
    },
    Table {
        name: "filters",
        columns: &[
            ("id", Int),
            ("user_id", Int),
            ("name", Text),
            ("definition", Json),
            ("created_at", Text),
            ("updated_at", Text),
        ],
    },
];

impl Table {
    pub(super) fn named(name: &str) -> Option<Self> {
        TABLES.into_iter().find(|table| table.name == name)
    }

    /// A row as the endpoint shows it.
    pub(super) fn row(self, row: &SqliteRow) -> Value {
        let field = |(name, column): &(&'static str, Column)| {
            let value = match column {
                Int => row.get::<i64, _>(*name).into(),
                Text => row.get::<String, _>(*name).into(),
                // A text that is no JSON is shown as the text it is.
                Json => {
                    let text: String = row.get(*name);
                    serde_json::from_str(&text).unwrap_or(Value::String(text))
                }
            };
            ((*name).to_owned(), value)
        };
        Value::Object(self.columns.iter().map(field).collect())
    }
}

/// A value that fits its column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Bound {
    Int(i64),
    Text(String),
}

impl Bound {
    pub(super) fn to<'q>(&'q self, query: Query<'q, Sqlite, SqliteArguments>) -> Query<'q, Sqlite, SqliteArguments> {
        match self {
            Self::Int(number) => query.bind(*number),
            Self::Text(text) => query.bind(text.as_str()),
        }
    }
}

/// The values of a record by column, or why it cannot be taken. The key comes first.
pub(super) fn fit(table: Table, record: &Map<String, Value>) -> Result<Vec<(&'static str, Bound)>, String> {
    let mut fields = Vec::with_capacity(record.len());
    for (name, value) in record {
        let Some((name, column)) = table.columns.iter().find(|(known, _)| known == name) else {
            return Err(format!("{} has no field `{name}`", table.name));
        };
        let bound = match (column, value) {
            (Int, Value::Number(number)) => number.as_i64().map(Bound::Int),
            (Text, Value::String(text)) => Some(Bound::Text(text.clone())),
            (Json, value) => Some(Bound::Text(value.to_string())),
            _ => None,
        };
        let bound = bound.ok_or_else(|| format!("`{name}` does not take {value}"))?;
        fields.push((*name, bound));
    }
    fields.sort_by_key(|(name, _)| *name != "id");
    match fields.first() {
        Some(("id", Bound::Int(_))) => Ok(fields),
        _ => Err("`id` is needed".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_record_fits_or_says_why() {
        let table = Table::named("filters").unwrap();
        let fits = |record: Value| fit(table, record.as_object().unwrap());
        let fields = fits(json!({ "definition": {"a": 1}, "id": 4 })).unwrap();
        assert_eq!(fields[0], ("id", Bound::Int(4)));
        assert_eq!(fields[1], ("definition", Bound::Text("{\"a\":1}".into())));
        assert!(fits(json!({ "name": "x" })).unwrap_err().contains("id"));
        assert!(fits(json!({ "id": "4" })).unwrap_err().contains("id"));
        assert!(fits(json!({ "id": 4, "colour": "x" })).unwrap_err().contains("colour"));
    }
}
