//! What a table looks like, as the server's catalog says.

use super::{super::sql, session::Session, values};
use crate::{
    adapters::postgres::{fault, quoted},
    error::{Fault, FaultKind, Result},
    model::Field,
    plan::TableName,
    ports::Link,
};
use sqlx::{AssertSqlSafe, PgConnection, Row as _, postgres::PgRow};

/// A table's name as its parts.
pub(super) fn named(name: &str) -> TableName {
    TableName::parse(name).unwrap_or_else(|| TableName { schema: None, name: name.to_owned() })
}

/// The table as a statement takes it, in this schema unless its name says another.
pub(super) fn place(table: &TableName, schema: Option<&str>) -> String {
    match table.schema.as_deref().or(schema) {
        Some(schema) => format!("{}.{}", quoted(schema), quoted(&table.name)),
        None => quoted(&table.name),
    }
}

/// The table of this name, in this schema unless the name says another.
pub(super) async fn discover(
    doing: &str,
    session: &mut Session<'_>,
    schema: Option<&str>,
    name: &str,
) -> Result<sql::Table> {
    let named = named(name);
    let place = place(&named, schema);
    let wrong = |error| fault(doing, error);
    let row = sqlx::query(
        "SELECT c.oid::bigint, c.relkind::text, NOT pg_is_in_recovery() \
            AND NOT current_setting('default_transaction_read_only')::boolean \
            AND has_any_column_privilege(c.oid, 'INSERT') AND has_any_column_privilege(c.oid, 'UPDATE') \
         FROM pg_class AS c WHERE c.oid = to_regclass($1)",
    )
    .bind(place.clone())
    .fetch_optional(&mut session.connection)
    .await
    .map_err(wrong)?;
    let Some(row) = row else {
        return Err(Fault::new(FaultKind::NotFound, doing).detail(format!("there is no table {named}")));
    };
    let read =
        || -> Result<(i64, String, bool), sqlx::Error> { Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?)) };
    let (oid, kind, writable) = read().map_err(wrong)?;
    let columns = columns(&mut session.connection, oid).await.map_err(wrong)?;
    let links = links(&mut session.connection, oid).await.map_err(wrong)?;
    let view = !matches!(kind.as_str(), "r" | "p");
    Ok(sql::Table { name: named.to_string(), place, columns, view, writable: writable && !view, links })
}

/// The table's foreign keys of one column. The other table is named as this connection would find it.
async fn links(connection: &mut PgConnection, table: i64) -> Result<Vec<Link>, sqlx::Error> {
    let rows = sqlx::query(
        "SELECT a.attname::text, CASE WHEN pg_table_is_visible(t.oid) THEN '' ELSE n.nspname || '.' END || t.relname, \
            o.attname::text \
         FROM pg_constraint AS c \
            JOIN pg_attribute AS a ON a.attrelid = c.conrelid AND a.attnum = c.conkey[1] \
            JOIN pg_class AS t ON t.oid = c.confrelid JOIN pg_namespace AS n ON n.oid = t.relnamespace \
            JOIN pg_attribute AS o ON o.attrelid = c.confrelid AND o.attnum = c.confkey[1] \
         WHERE c.contype = 'f' AND c.conrelid = $1::bigint::oid AND cardinality(c.conkey) = 1 ORDER BY 1",
    )
    .bind(table)
    .fetch_all(connection)
    .await?;
    let link = |row: &PgRow| Ok(Link { field: row.try_get(0)?, set: row.try_get(1)?, key: row.try_get(2)? });
    rows.iter().map(link).collect()
}

/// How many rows the planner expects in the table, from its statistics and from how long its files are now.
pub(super) async fn about(doing: &str, session: &mut Session<'_>, table: &sql::Table) -> Result<Option<u64>> {
    let sql = format!("EXPLAIN SELECT FROM {}", table.place);
    let row = sqlx::query(AssertSqlSafe(sql)).fetch_one(&mut session.connection).await;
    let plan: String = row.and_then(|row| row.try_get(0)).map_err(|error| fault(doing, error))?;
    let rows = plan.split_once(" rows=").and_then(|(_, rest)| rest.split(' ').next());
    Ok(rows.and_then(|rows| rows.parse().ok()))
}

async fn columns(connection: &mut PgConnection, table: i64) -> Result<Vec<sql::Column>, sqlx::Error> {
    // A domain is what it is made of; its own name serves in casts, so that its checks are held.
    let rows = sqlx::query(
        "WITH RECURSIVE c AS (\
            SELECT a.attnum, a.attname, a.atttypid AS declared, a.atttypid AS type, a.atttypmod AS modifier, a.attnotnull, \
                a.attidentity <> '' OR (a.atthasdef AND a.attgenerated = '') AS filled, a.attgenerated <> '' AS computed \
            FROM pg_attribute AS a WHERE a.attrelid = $1::bigint::oid AND a.attnum > 0 AND NOT a.attisdropped \
            UNION ALL \
            SELECT c.attnum, c.attname, c.declared, y.typbasetype, y.typtypmod, c.attnotnull OR y.typnotnull, \
                c.filled OR y.typdefault IS NOT NULL, c.computed \
            FROM c JOIN pg_type AS y ON y.oid = c.type AND y.typtype = 'd') \
         SELECT c.attname::text, format_type(c.declared, -1), y.typname::text, e.typname::text, c.modifier, \
            c.attnotnull, c.filled, c.computed, \
            EXISTS (SELECT FROM pg_index AS i WHERE i.indrelid = $1::bigint::oid AND i.indisunique AND i.indisvalid \
                AND i.indimmediate AND i.indpred IS NULL AND i.indnkeyatts = 1 AND i.indkey[0] = c.attnum) \
         FROM c JOIN pg_type AS y ON y.oid = c.type \
            LEFT JOIN pg_type AS e ON e.oid = y.typelem AND y.typcategory = 'A' \
         WHERE y.typtype <> 'd' ORDER BY c.attnum",
    )
    .bind(table)
    .fetch_all(connection)
    .await?;
    rows.iter().map(column).collect()
}

fn column(row: &PgRow) -> Result<sql::Column, sqlx::Error> {
    let (name, of): (String, Option<String>) = (row.try_get(2)?, row.try_get(3)?);
    Ok(sql::Column {
        field: Field {
            name: row.try_get(0)?,
            kind: values::kind(&name, row.try_get(4)?, of.as_deref()),
            nullable: !row.try_get::<bool, _>(5)?,
            filled: row.try_get(6)?,
            computed: row.try_get(7)?,
        },
        sql: row.try_get(1)?,
        unique: row.try_get(8)?,
        padded: name == "bpchar",
    })
}
