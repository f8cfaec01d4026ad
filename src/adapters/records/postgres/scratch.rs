//! A table of the same shape beside another one, for a backup to be restored into. Nothing of it is logged: it does not
//! outlive a crash of the server, and need not. Must never enter: a statement that names the table itself as anything but
//! the shape of this one.

use super::{PostgresStore, schema, session::Session};
use crate::{
    adapters::{
        postgres::{fault, quoted},
        records::sql,
    },
    error::Result,
    plan::TableName,
    ports::SetRef,
};
use sqlx::Row as _;

impl PostgresStore {
    pub(super) async fn make_scratch(&self, set: &SetRef) -> Result<Option<SetRef>> {
        let doing = format!("make a scratch table for {} in {}", set.name, self.name);
        self.call(&doing, set, async {
            let mut session = self.sessions.begin(&doing, true).await?;
            let table = self.look(&doing, &mut session, set).await?;
            if table.view {
                session.end(&doing).await?;
                return Ok(None);
            }
            let (name, place) = self.scratch_of(set);
            remove(&doing, &mut session, &place).await?;
            // Without its defaults: one of them would count the table's own sequence up.
            let make = format!(
                "CREATE UNLOGGED TABLE {place} (LIKE {} INCLUDING CONSTRAINTS INCLUDING GENERATED INCLUDING IDENTITY \
                 INCLUDING INDEXES)",
                table.place
            );
            session.run(&doing, &make).await?;
            session.end(&doing).await?;
            self.looks.forget(&name);
            Ok(Some(SetRef { name, ..set.clone() }))
        })
        .await
    }

    pub(super) async fn drop_scratch(&self, set: &SetRef) -> Result<bool> {
        let doing = format!("remove the scratch table for {} in {}", set.name, self.name);
        self.call(&doing, set, async {
            let mut session = self.sessions.begin(&doing, true).await?;
            let (name, place) = self.scratch_of(set);
            let there = remove(&doing, &mut session, &place).await?;
            session.end(&doing).await?;
            self.looks.forget(&name);
            Ok(there)
        })
        .await
    }

    /// Its name as a set, and as a statement takes it: in the schema of the table.
    fn scratch_of(&self, set: &SetRef) -> (String, String) {
        let of = schema::named(&set.name);
        let place = schema::place(&of, self.schema.as_deref());
        let scratch = TableName { schema: of.schema, name: sql::scratch(&place, &of.name) };
        let name = match &scratch.schema {
            Some(schema) => format!("{}.{}", quoted(schema), scratch.name),
            None => scratch.name.clone(),
        };
        (name, schema::place(&scratch, self.schema.as_deref()))
    }
}

/// Removes a scratch table, if it is there.
async fn remove(doing: &str, session: &mut Session<'_>, place: &str) -> Result<bool> {
    let found = sqlx::query("SELECT to_regclass($1) IS NOT NULL").bind(place).fetch_one(&mut session.connection).await;
    let there: bool = found.and_then(|row| row.try_get(0)).map_err(|error| fault(doing, error))?;
    if there {
        session.run(doing, &format!("DROP TABLE {place}")).await?;
    }
    Ok(there)
}
