//! Rows in bulk, out of the database: as a page has them, in cells that other stores read. Must never enter: a write.

use super::{
    super::sql::{self, cells::Lettered},
    MySqlStore,
};
use crate::{
    error::Result,
    ports::{BlockPage, BlockSource, Cursor, Dialect, Form, RecordStore as _, SetRef, Shape},
};
use async_trait::async_trait;

static LINES: Lettered = Lettered("mysql");

#[async_trait]
impl BlockSource for MySqlStore {
    fn dialect(&self) -> &'static dyn Dialect {
        &LINES
    }

    async fn shape(&self, set: &SetRef) -> Result<Shape> {
        let doing = format!("look at {} in {}", set.name, self.name);
        self.call(&doing, set, async {
            self.looks.forget(&set.name);
            let mut session = self.sessions.begin(&doing, false).await?;
            let table = self.table(&doing, &mut session, set).await?;
            session.end(&doing).await?;
            table.shape(&doing, &set.key)
        })
        .await
    }

    /// A page ends by the bytes of its records.
    async fn read_block(
        &self,
        set: &SetRef,
        from: &Cursor,
        rows: u32,
        _bytes: usize,
        _form: Form,
    ) -> Result<BlockPage> {
        let doing = format!("read {} from {}", set.name, self.name);
        let page = self.read(set, from, rows).await?;
        let shape = match self.looks.get(&set.name) {
            Some(table) => table.shape(&doing, &set.key)?,
            None => self.shape(set).await?,
        };
        LINES.page(&shape.columns, &page).map_err(|why| sql::refused(&doing, why))
    }
}
