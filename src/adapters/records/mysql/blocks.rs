//! Rows in bulk, out of the database: as a page has them, in cells that other stores read. Must never enter: a write.

use super::{super::sql::cells, MySqlStore};
use crate::{
    error::{Fault, FaultKind, Result},
    model::{Field, Kind, Value},
    ports::{BlockPage, BlockSource, Cursor, RecordStore as _, SetRef},
};
use async_trait::async_trait;
use std::sync::Arc;

#[async_trait]
impl BlockSource for MySqlStore {
    fn dialect(&self) -> &'static str {
        "mysql"
    }

    async fn shape(&self, set: &SetRef) -> Result<Arc<[Field]>> {
        let doing = format!("look at {} in {}", set.name, self.name);
        self.call(&doing, set, async {
            let mut session = self.sessions.begin(&doing, false).await?;
            let table = self.table(&doing, &mut session, set).await?;
            session.end(&doing).await?;
            Ok(table.key_first(table.key(&doing, &set.key)?).into_iter().map(|column| column.field.clone()).collect())
        })
        .await
    }

    /// A page ends by the bytes of its records.
    async fn read_block(&self, set: &SetRef, from: &Cursor, rows: u32, _bytes: usize) -> Result<BlockPage> {
        let page = self.read(set, from, rows).await?;
        let columns = self.shape(set).await?.to_vec();
        let block = cells::lines(columns, &page.records).map_err(|why| {
            Fault::new(FaultKind::Refused, format!("read {} from {}", set.name, self.name)).detail(why)
        })?;
        Ok(BlockPage { block, next: page.next, total: page.total, as_of: page.as_of })
    }

    fn value(&self, _kind: &Kind, cell: &[u8]) -> std::result::Result<Value, String> {
        cells::read(cell)
    }

    fn tell(&self, kind: &Kind, cell: &[u8], text: &mut Vec<u8>) -> bool {
        cells::tell(kind, cell, text)
    }
}
