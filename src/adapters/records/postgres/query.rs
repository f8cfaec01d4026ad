//! The texts of questions: which columns, which rows. Pure; every name goes through `quoted`, every value stands in quotes.

use super::{
    super::sql::{self, Column, Table, possible, span::Span},
    times, values,
};
use crate::{
    adapters::postgres::quoted,
    error::Result,
    model::{Key, Kind, Timestamp, Value},
};

/// Reads all columns, each as it is kept.
pub(super) fn all_of(table: &Table) -> String {
    select(&table.columns.iter().collect::<Vec<_>>(), &table.place)
}

pub(super) fn select(columns: &[&Column], place: &str) -> String {
    format!("SELECT {} FROM {place}", columns.iter().map(|column| told(column)).collect::<Vec<_>>().join(", "))
}

/// A column as it is read. Blanks that only fill a text up to its length are not kept, but told.
pub(super) fn told(column: &Column) -> String {
    let name = quoted(&column.field.name);
    if column.sql == "bpchar" { format!("{name}::text") } else { name }
}

/// Only the rows of this stretch of keys.
pub(super) fn bounds(key: &Column, span: &Span) -> String {
    let name = quoted(&key.field.name);
    let bound = |sign: &str, text: &String| format!("{name} {sign} {}", literal(key, text));
    let after = span.after.as_ref().map(|text| bound(">", text));
    let upto = span.upto.as_ref().map(|text| bound("<=", text));
    let bounds: Vec<String> = after.into_iter().chain(upto).collect();
    if bounds.is_empty() { String::new() } else { format!(" WHERE {}", bounds.join(" AND ")) }
}

/// A text as a value of this column. Every text stands in quotes, and backslashes mean nothing there.
fn literal(column: &Column, text: &str) -> String {
    let text = match column.field.kind {
        Kind::Date | Kind::Timestamp { .. } => times::to_postgres(text),
        _ => text.to_owned(),
    };
    format!("'{}'::{}", text.replace('\'', "''"), column.sql)
}

/// Several values of this column, as an array.
fn literals(column: &Column, values: &[Value]) -> String {
    let texts: Vec<_> = values.iter().map(|value| serde_json::Value::from(value.to_text())).collect();
    let list = Value::Json(texts.into());
    let text = values::write(&Kind::List(Box::new(column.field.kind.clone())), &list).unwrap_or_default();
    format!("'{}'::{}[]", text.replace('\'', "''"), column.sql)
}

/// Holds for a row that changed at or after this moment, and for one that does not say when.
pub(super) fn changed(doing: &str, column: &Column, since: Timestamp) -> Result<String> {
    let name = quoted(&column.field.name);
    // A column that keeps coarser times may have rounded a later one down to before `since`.
    let second = since.strftime("%Y-%m-%dT%H:%M:%S");
    let moment = match column.field.kind {
        Kind::Timestamp { zone: true, fraction: 6 } => format!("'{since}'::timestamptz"),
        Kind::Timestamp { zone: true, .. } | Kind::Text { .. } => format!("'{second}Z'::timestamptz"),
        // Without a zone it is taken for UTC, as everything here.
        Kind::Timestamp { fraction: 6, .. } => format!("'{}'::timestamp", since.strftime("%Y-%m-%dT%H:%M:%S%.f")),
        Kind::Timestamp { .. } => format!("'{second}'::timestamp"),
        Kind::Date => format!("'{}'::date", since.strftime("%Y-%m-%d")),
        Kind::Int { .. } | Kind::Float { .. } | Kind::Decimal { .. } => since.as_second().to_string(),
        _ => return Err(sql::refused(doing, format!("{name} holds no time"))),
    };
    let cast = if matches!(column.field.kind, Kind::Text { .. }) { "::timestamptz" } else { "" };
    Ok(format!("({name}{cast} >= {moment} OR {name} IS NULL)"))
}

/// Only the rows of these keys.
pub(super) fn among(key: &Column, keys: &[Key]) -> String {
    format!(" WHERE {} = ANY({})", quoted(&key.field.name), literals(key, &possible(key, keys)))
}

/// Only the rows from the least to the greatest of these keys, which are mostly none where nothing was copied yet. `None` if
/// the server may have an order of its own.
pub(super) fn between(key: &Column, keys: &[Value]) -> Option<String> {
    let numbers = || keys.iter().filter_map(|key| key.to_text().parse::<i64>().ok());
    let (least, most) = numbers().min().zip(numbers().max())?;
    let counted = matches!(key.field.kind, Kind::Int { .. });
    counted.then(|| format!(" WHERE {} BETWEEN {least} AND {most}", quoted(&key.field.name)))
}
