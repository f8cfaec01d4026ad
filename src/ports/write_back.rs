//! The port to the legacy table that is told which of its files have moved.

use crate::{
    error::Result,
    model::{BatchId, Digest, RunId, Timestamp},
};
use async_trait::async_trait;

/// A file that was copied and proven, as the legacy table is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MigratedFile {
    /// The key of the record it belongs to.
    pub id: String,
    /// Its key in the new bucket.
    pub key: String,
    /// When it had moved. Must be the same whenever the same move is told again.
    pub at: Timestamp,
    /// The batch that moved it.
    pub batch: BatchId,
    /// SHA-256 of its bytes.
    pub sha256: Digest,
}

/// A stretch of the table that was cleared.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClearedPage {
    /// Rows that held the run's marks and hold none now.
    pub rows: u64,
    /// The key to go on after; `None` at the end.
    pub next: Option<String>,
}

/// A port to one table with one row per record. A row that was told holds five values: `r2_key` (the file's key in the
/// new bucket), `migrated_at`, `migration_status` (`completed`), `migration_batch_id` (the run and the batch, with a slash
/// between: the **mark** by which a run knows its own rows) and `checksum` (SHA-256 in hexadecimal).
///
/// The table belongs to an application that is in use. Every call is one short transaction that waits for no lock longer
/// than a moment (`Timeout`, and nothing was written). A row that holds the values already is not touched, so that
/// triggers and replicas see nothing of a repetition. Values of an earlier migration are replaced, and not brought back
/// by [`Self::clear`]. A `checksum` that [`Self::prepare`] did not add is the application's own: only an empty one is
/// filled in, and it is never cleared.
///
/// `NotFound`: no such table or key column. `Unauthorized`: the role may not read, change or extend it. `Refused`: what
/// stands there cannot be used (a view, a key that is not unique, a column of another type, a server that takes no
/// writes). Each names the table, and the column if it is about one.
#[async_trait]
pub trait WriteBack: Send + Sync {
    /// Looks whether the table can be told, and says which columns [`Self::prepare`] would add. Changes nothing. Also the
    /// reachability and credential check.
    async fn inspect(&self) -> Result<Vec<String>>;

    /// Adds the columns that are missing, and says which. Without any missing nothing is changed.
    async fn prepare(&self) -> Result<Vec<String>>;

    /// Tells the rows of these records, all or none; each `id` once. Gives those ids that no row has. An `id` that the
    /// key's type cannot hold is `Refused`.
    async fn fill(&self, run: &RunId, files: &[MigratedFile]) -> Result<Vec<String>>;

    /// Takes back what the run told: among the `limit` rows after the key `after`, in the key's order, sets the values to
    /// NULL where the mark is the run's. The columns stay; a table without them has nothing to clear.
    async fn clear(&self, run: &RunId, after: Option<&str>, limit: u32) -> Result<ClearedPage>;
}
