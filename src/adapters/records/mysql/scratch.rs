//! A table of the same shape beside another one, for a backup to be restored into. The server makes it with columns,
//! checks and indexes, and without foreign keys and triggers. Must never enter: a statement that names the table itself as
//! anything but the shape of this one.

use super::{MySqlStore, faults::fault, schema, session::Session};
use crate::{adapters::records::sql, error::Result, ports::SetRef};

impl MySqlStore {
    pub(super) async fn make_scratch(&self, set: &SetRef) -> Result<Option<SetRef>> {
        let doing = format!("make a scratch table for {} in {}", set.name, self.name);
        self.call(&doing, set, async {
            let mut session = self.sessions.begin(&doing, true).await?;
            let table = self.table(&doing, &mut session, set).await?;
            if table.view {
                session.end(&doing).await?;
                return Ok(None);
            }
            let name = scratch(set);
            remove(&doing, &mut session, &name).await?;
            let make = format!("CREATE TABLE {} LIKE {}", schema::place(&name), table.place);
            session.run(&make).await.map_err(|error| fault(&doing, error))?;
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
            let name = scratch(set);
            let there = remove(&doing, &mut session, &name).await?;
            session.end(&doing).await?;
            self.looks.forget(&name);
            Ok(there)
        })
        .await
    }
}

/// Its name as a set: in the database of the table.
fn scratch(set: &SetRef) -> String {
    let (schema, table) = set.name.split_once('.').map_or((None, set.name.as_str()), |(a, b)| (Some(a), b));
    let name = sql::scratch(&schema::place(&set.name), table);
    schema.map_or_else(|| name.clone(), |schema| format!("{schema}.{name}"))
}

/// Removes a scratch table, if it is there.
async fn remove(doing: &str, session: &mut Session<'_>, name: &str) -> Result<bool> {
    let wrong = |error| fault(doing, error);
    let there = schema::is_there(doing, session, name).await?;
    if there {
        session.run(&format!("DROP TABLE {}", schema::place(name))).await.map_err(wrong)?;
    }
    Ok(there)
}
