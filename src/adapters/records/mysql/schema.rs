//! What a table looks like, as the server's catalog says.

use super::{
    super::sql,
    session::{Session, text},
    values::{Declared, push},
};
use crate::{
    error::{Fault, FaultKind, Result},
    model::{Field, Kind, Value},
    ports::Link,
};
use sqlx::mysql::MySqlRow;

/// An identifier as SQL takes it whatever it holds.
pub(super) fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

fn literal(text: &str) -> String {
    let mut sql = String::new();
    push(&mut sql, &Kind::Any, &Value::Text(text.to_owned()));
    sql
}

/// The table of this name as a statement takes it.
pub(super) fn place(name: &str) -> String {
    name.split_once('.').map_or_else(|| quoted(name), |(a, b)| format!("{}.{}", quoted(a), quoted(b)))
}

/// Whether there is a table of this name.
pub(super) async fn is_there(doing: &str, session: &mut Session<'_>, name: &str) -> Result<bool> {
    let (_, which) = which(name);
    let sql = format!("SELECT 1 FROM information_schema.tables WHERE {which}");
    Ok(!session.rows(doing, &sql).await?.is_empty())
}

/// The table of this name, in the address's database unless the name says another (`database.table`).
pub(super) async fn discover(doing: &str, session: &mut Session<'_>, name: &str) -> Result<sql::Table> {
    let (schema, which) = which(name);
    let place = place(name);
    let found = session
        .rows(
            doing,
            &format!(
                "SELECT table_type, @@global.read_only, version(), EXISTS (\
                    SELECT 1 FROM information_schema.user_privileges WHERE privilege_type = 'INSERT' \
                    UNION ALL SELECT 1 FROM information_schema.schema_privileges \
                        WHERE privilege_type = 'INSERT' AND {schema} LIKE table_schema \
                    UNION ALL SELECT 1 FROM information_schema.table_privileges WHERE privilege_type = 'INSERT' AND {which}) \
                 FROM information_schema.tables WHERE {which}"
            ),
        )
        .await?;
    let Some(found) = found.first() else {
        let detail = format!("there is no table {name}, or none that this user may know of");
        return Err(Fault::new(FaultKind::NotFound, doing).detail(detail));
    };
    let view = text(found, 0).is_none_or(|kind| !kind.contains("BASE TABLE"));
    let writable = !view && text(found, 1).as_deref() == Some("0") && text(found, 3).as_deref() == Some("1");
    // A document is a text there, with a check that it is one.
    let checks = if text(found, 2).is_some_and(|version| version.contains("MariaDB")) {
        let which = which.replace("table_schema", "constraint_schema");
        let sql = format!("SELECT check_clause FROM information_schema.check_constraints WHERE {which}");
        session.rows(doing, &sql).await?.iter().filter_map(|row| text(row, 0)).collect()
    } else {
        Vec::new()
    };
    let columns = session
        .rows(
            doing,
            &format!(
                "SELECT c.column_name, c.data_type, c.column_type, c.is_nullable, c.column_default, c.extra, \
                    c.generation_expression, c.character_maximum_length, c.numeric_precision, c.numeric_scale, \
                    c.datetime_precision, EXISTS (SELECT 1 FROM information_schema.statistics AS s \
                        WHERE s.table_schema = c.table_schema AND s.table_name = c.table_name AND s.non_unique = 0 \
                        GROUP BY s.index_name HAVING count(*) = 1 AND max(s.column_name) = c.column_name \
                            AND max(s.sub_part) IS NULL) \
                 FROM information_schema.columns AS c WHERE {} ORDER BY c.ordinal_position",
                which.replace("table_", "c.table_")
            ),
        )
        .await?;
    let columns = columns.iter().map(|row| column(row, &checks)).collect();
    let links = links(doing, session, &which).await?;
    Ok(sql::Table { name: name.to_owned(), place, columns, view, writable, links })
}

/// The database of this table in a statement, and what holds for the catalog's rows of the table.
fn which(name: &str) -> (String, String) {
    let (schema, table) =
        name.split_once('.').map_or(("database()".to_owned(), name), |(schema, table)| (literal(schema), table));
    let which = format!("table_schema = {schema} AND table_name = {}", literal(table));
    (schema, which)
}

/// The table's foreign keys of one column.
async fn links(doing: &str, session: &mut Session<'_>, which: &str) -> Result<Vec<Link>> {
    let sql = format!(
        "SELECT max(column_name), \
            CASE WHEN max(referenced_table_schema) = database() THEN max(referenced_table_name) \
                ELSE concat(max(referenced_table_schema), '.', max(referenced_table_name)) END, \
            max(referenced_column_name) \
         FROM information_schema.key_column_usage WHERE {which} AND referenced_table_name IS NOT NULL \
         GROUP BY constraint_name HAVING count(*) = 1 ORDER BY 1"
    );
    let link = |row: &MySqlRow| Some(Link { field: text(row, 0)?, set: text(row, 1)?, key: text(row, 2)? });
    Ok(session.rows(doing, &sql).await?.iter().filter_map(link).collect())
}

/// How many rows the server's statistics say that the table has.
pub(super) async fn about(doing: &str, session: &mut Session<'_>, name: &str) -> Result<Option<u64>> {
    let sql = format!("SELECT table_rows FROM information_schema.tables WHERE {}", which(name).1);
    let rows = session.rows(doing, &sql).await?;
    Ok(rows.first().and_then(|row| text(row, 0)).and_then(|rows| rows.parse().ok()))
}

fn column(row: &MySqlRow, checks: &[String]) -> sql::Column {
    let said = |at| text(row, at).unwrap_or_default();
    let number = |at| text(row, at).and_then(|number| number.parse().ok());
    let (name, sql) = (said(0), said(1));
    let check = format!("json_valid({})", quoted(&name));
    let kind = Declared {
        name: &sql,
        whole: &said(2),
        length: number(7),
        digits: number(8),
        scale: number(9),
        fraction: number(10),
        document: checks.contains(&check),
    }
    .kind();
    // MariaDB writes `NULL` where a column's default is that.
    let default = text(row, 4).is_some_and(|default| default != "NULL");
    let field = Field {
        nullable: said(3) == "YES",
        filled: default || said(5).contains("auto_increment"),
        computed: !said(6).is_empty(),
        name,
        kind,
    };
    let padded = matches!(sql.as_str(), "char" | "binary");
    sql::Column { field, sql, unique: said(11) == "1", padded }
}
