//! A table of the same shape beside another one, for a backup to be restored into: made by the statement that made the
//! other one, under a name of its own. SQLite keeps that statement as `CREATE TABLE`, a blank, the name and the rest.
//! Must never enter: a statement that names the table itself.

use super::{
    super::sql,
    LiteStore,
    engine::{Cell, Engine, Ran, Statement},
    schema::quoted,
};
use crate::{error::Result, ports::SetRef};

/// How SQLite keeps the statement of a table.
const MADE: &str = "CREATE TABLE ";

#[expect(private_bounds, reason = "who runs the statements concerns nobody outside")]
impl<E: Engine> LiteStore<E> {
    pub(super) async fn make_scratch(&self, set: &SetRef) -> Result<Option<SetRef>> {
        let doing = format!("make a scratch table for {} in {}", set.name, self.engine.name());
        self.call(set, async {
            let table = self.table(&doing, set).await?;
            let key = table.key(&doing, &set.key)?;
            let ask = Statement::ask(["sql"], " FROM sqlite_schema WHERE type = 'table' AND name = ")
                .with(Cell::Text(table.name.clone()));
            let made = self.engine.read(&doing, ask, None).await?.rows.into_iter().flatten().next();
            let Some(rest) = made.as_ref().and_then(Cell::text).and_then(behind_the_name) else { return Ok(None) };
            let name = scratch(&table.place, &table.name);
            let mut statements = vec![
                Statement::act(format!("DROP TABLE IF EXISTS {}", quoted(&name))),
                Statement::act(format!("{MADE}{}{rest}", quoted(&name))),
            ];
            // The table's own may be an index beside it.
            let index = format!(
                "CREATE UNIQUE INDEX {} ON {} ({})",
                quoted(&format!("{name}_key")),
                quoted(&name),
                quoted(&key.field.name)
            );
            statements.push(Statement::act(index));
            self.act(&doing, statements).await?;
            self.looks.forget(&name);
            Ok(Some(SetRef { name, ..set.clone() }))
        })
        .await
    }

    pub(super) async fn drop_scratch(&self, set: &SetRef) -> Result<bool> {
        let doing = format!("remove the scratch table for {} in {}", set.name, self.engine.name());
        self.call(set, async {
            let table = self.table(&doing, set).await?;
            let name = scratch(&table.place, &table.name);
            let ask = Statement::ask(["1"], " FROM sqlite_schema WHERE type = 'table' AND name = ")
                .with(Cell::Text(name.clone()));
            let there = !self.engine.read(&doing, ask, None).await?.rows.is_empty();
            if there {
                self.act(&doing, vec![Statement::act(format!("DROP TABLE IF EXISTS {}", quoted(&name)))]).await?;
                self.looks.forget(&name);
            }
            Ok(there)
        })
        .await
    }

    async fn act(&self, doing: &str, statements: Vec<Statement>) -> Result<()> {
        let mut writing = self.engine.write(doing).await?;
        if let Ran::Refused(why) = writing.run(doing, statements).await? {
            return Err(sql::refused(doing, why));
        }
        writing.end(doing).await
    }
}

fn scratch(place: &str, name: &str) -> String {
    sql::scratch(place, name)
}

/// What follows the table's name in the statement that made it; `None` for anything but a plain table.
fn behind_the_name(made: &str) -> Option<&str> {
    let named = made.strip_prefix(MADE)?;
    let first = named.chars().next()?;
    let close = match first {
        '"' | '`' | '\'' => first,
        '[' => ']',
        _ => return named.find(|c: char| c.is_whitespace() || c == '(').map(|end| &named[end..]),
    };
    let mut rest = &named[1..];
    loop {
        let (_, after) = rest.split_once(close)?;
        // Twice is once inside; brackets know no such thing.
        match after.strip_prefix(close).filter(|_| close != ']') {
            Some(more) => rest = more,
            None => return Some(after),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::behind_the_name;

    #[test]
    fn a_name_ends_where_it_ends() {
        for (made, rest) in [
            ("CREATE TABLE users (id INTEGER)", Some(" (id INTEGER)")),
            ("CREATE TABLE users(id)", Some("(id)")),
            ("CREATE TABLE \"my \"\"users\"\"\"(id)", Some("(id)")),
            ("CREATE TABLE [my (users)] (id)", Some(" (id)")),
            ("CREATE TABLE `a``b` (id)", Some(" (id)")),
            ("CREATE TABLE 'x'(id)", Some("(id)")),
            ("CREATE VIRTUAL TABLE t USING fts5(x)", None),
            ("CREATE TABLE \"open", None),
        ] {
            assert_eq!(behind_the_name(made), rest, "{made}");
        }
    }
}
