//! What a table looks like, as SQLite itself says.

use super::{
    super::sql,
    engine::{Cell, Cells, Engine, Statement},
    values,
};
use crate::{
    error::{Fault, FaultKind, Result},
    model::Field,
    ports::Link,
};
use std::collections::BTreeSet;

/// An identifier as SQL takes it whatever it holds.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// The table of this name.
pub(super) async fn discover(doing: &str, engine: &dyn Engine, name: &str) -> Result<sql::Table> {
    let named = Statement::ask(["name", "type"], " FROM sqlite_schema WHERE name = ")
        .with(Cell::Text(name.to_owned()))
        .then(" COLLATE NOCASE AND type IN ('table', 'view')");
    let found = engine.read(doing, named, None).await?.rows.into_iter().next();
    let found = found.as_deref().and_then(|row| Some((row.first()?.text()?.to_owned(), row.get(1)?.text()? == "view")));
    let Some((name, view)) = found else {
        return Err(Fault::new(FaultKind::NotFound, doing).detail(format!("there is no table {name}")));
    };
    let of = || Cell::Text(name.clone());
    let asked = ["name", "type", "\"notnull\"", "dflt_value", "pk", "hidden"];
    let columns =
        Statement::ask(asked, " FROM pragma_table_xinfo(").with(of()).then(") WHERE hidden <> 1 ORDER BY cid");
    let columns = engine.read(doing, columns, None).await?.rows;
    let unique = Statement::ask(["max(i.name)"], " FROM pragma_index_list(").with(of()).then(
        ") AS l, pragma_index_info(l.name) AS i WHERE l.\"unique\" = 1 AND l.partial = 0 \
         GROUP BY l.name HAVING count(*) = 1 AND max(i.name) IS NOT NULL",
    );
    let unique = engine.read(doing, unique, None).await?.rows;
    let mut unique: BTreeSet<String> = unique.iter().filter_map(|row| Some(row.first()?.text()?.to_owned())).collect();
    let in_key = |row: &Cells| row.get(4).and_then(Cell::int).is_some_and(|place| place > 0);
    let primary: Vec<&Cells> = columns.iter().filter(|row| in_key(row)).collect();
    let mut counted = None;
    if let [only] = primary[..] {
        let text = |at: usize| only.get(at).and_then(Cell::text).unwrap_or_default();
        unique.insert(text(0).to_owned());
        counted = text(1).eq_ignore_ascii_case("INTEGER").then(|| text(0).to_owned());
    }
    let column = |row: &Cells| {
        let text = |at: usize| row.get(at).and_then(Cell::text).map(ToOwned::to_owned);
        let number = |at: usize| row.get(at).and_then(Cell::int).unwrap_or_default();
        let (name, declared) = (text(0).unwrap_or_default(), text(1).unwrap_or_default());
        let field = Field {
            kind: values::kind(&declared),
            nullable: number(2) == 0 && !in_key(row),
            filled: text(3).is_some() || counted.as_ref() == Some(&name),
            computed: number(5) > 1,
            name,
        };
        sql::Column { unique: unique.contains(&field.name), field, sql: declared, padded: false }
    };
    let columns = columns.iter().map(column).collect();
    let links = links(doing, engine, &name).await?;
    Ok(sql::Table { place: quoted(&name), name, columns, view, writable: !view && engine.is_writable(), links })
}

/// The table's foreign keys of one column. One that names no column refers to the other table's primary key.
async fn links(doing: &str, engine: &dyn Engine, name: &str) -> Result<Vec<Link>> {
    let asked = [
        "max(f.\"from\")",
        "max(f.\"table\")",
        "coalesce(max(f.\"to\"), (SELECT max(c.name) FROM pragma_table_info(f.\"table\") AS c WHERE c.pk > 0 HAVING count(*) = 1))",
    ];
    let asked = Statement::ask(asked, " FROM pragma_foreign_key_list(")
        .with(Cell::Text(name.to_owned()))
        .then(") AS f GROUP BY f.id HAVING count(*) = 1 ORDER BY 1");
    let text = |row: &Cells, at: usize| row.get(at).and_then(Cell::text).map(ToOwned::to_owned);
    let link = |row: &Cells| Some(Link { field: text(row, 0)?, set: text(row, 1)?, key: text(row, 2)? });
    Ok(engine.read(doing, asked, None).await?.rows.iter().filter_map(link).collect())
}
