//! The seams: everything outside the process is reached through these traits, and through nothing else.
//!
//! Legacy and new side implement the same traits, so every pipeline runs in either direction. Traits and their values
//! only; adapters live in `adapters`, the ledger's in `ledger`, and `wiring` alone knows which is which.
//!
//! Common to all ports: methods may be called from many tasks at once; dropping a returned future cancels the call, and
//! a cancelled or failed write **may have happened** (the caller asks again or repeats it, so writes are idempotent);
//! a fault's kind says whether repeating can help; every call ends by itself within the adapter's timeout.

mod blobs;
mod blocks;
#[cfg(test)]
pub(crate) mod fakes;
mod journal;
mod probe;
mod records;
mod switch;
mod work;
mod write_back;

pub use blobs::{
    BlobBody, BlobInfo, BlobMeta, BlobPage, BlobStore, Found, PartLimits, PartSent, PartStore, PartsDigest, Put,
    Unfinished, scan_by_pages,
};
pub use blocks::{
    ABSENT_CELL, Block, BlockCell, BlockPage, BlockSource, BlockStore, Dialect, Form, Inserted, NULL_CELL, Shape,
    StretchDigest, plain_text, push_cell, push_text,
};
pub use journal::{Journal, RunSummary};
pub use probe::{Measurement, Probe, Reading};
pub use records::{Cursor, Link, OpenTransactions, Page, RecordStore, SetInfo, SetRef, WriteOutcome};
pub use switch::{Observation, Position, Switch, Witness};
pub(crate) use work::{ASKS, KEPT};
pub use work::{
    BatchQuery, BatchRow, ConflictRow, ItemQuery, ItemRow, RecordBlock, UploadRow, VerdictQuery, VerdictRow, Work,
};
pub use write_back::{ClearedPage, MigratedFile, WriteBack};

pub use crate::model::ItemVerdict;

use crate::error::{Fault, FaultKind, Result};
use std::{collections::BTreeMap, sync::Arc};

/// Every port of one plan, by the names the plan gives them.
#[derive(Clone, Default)]
pub struct Ports {
    /// Stores by name.
    pub stores: BTreeMap<String, Arc<dyn RecordStore>>,
    /// Buckets by name.
    pub buckets: BTreeMap<String, Arc<dyn BlobStore>>,
    /// Switches by name: `maintenance`, `release`, `deployment`, `dns`.
    pub switches: BTreeMap<String, Arc<dyn Switch>>,
    /// Probes by name.
    pub probes: BTreeMap<String, Arc<dyn Probe>>,
    /// Legacy tables that are told which files have moved, by dataset.
    pub write_backs: BTreeMap<String, Arc<dyn WriteBack>>,
    /// Where backups are kept, if that is known: it always is for a run.
    pub backups: Option<BackupPlace>,
}

/// Where backups are kept.
#[derive(Clone)]
pub struct BackupPlace {
    /// A bucket, or a folder as one.
    pub bucket: Arc<dyn BlobStore>,
    /// How the keys of backups begin there; empty, or with a slash at its end.
    pub prefix: String,
    /// In words: `the folder /mnt/backups`.
    pub told: String,
}

impl Ports {
    /// The store of this name.
    ///
    /// # Errors
    /// [`FaultKind::Plan`] if the plan names no such store.
    pub fn store(&self, name: &str) -> Result<Arc<dyn RecordStore>> {
        find(&self.stores, "store", name)
    }
    /// The bucket of this name.
    ///
    /// # Errors
    /// [`FaultKind::Plan`] if the plan names no such bucket.
    pub fn bucket(&self, name: &str) -> Result<Arc<dyn BlobStore>> {
        find(&self.buckets, "bucket", name)
    }
    /// The switch of this name, if the plan has it.
    #[must_use]
    pub fn switch(&self, name: &str) -> Option<Arc<dyn Switch>> {
        self.switches.get(name).cloned()
    }
    /// The probe of this name.
    ///
    /// # Errors
    /// [`FaultKind::Plan`] if the plan names no such probe.
    pub fn probe(&self, name: &str) -> Result<Arc<dyn Probe>> {
        find(&self.probes, "probe", name)
    }
    /// Where backups are kept.
    ///
    /// # Errors
    /// [`FaultKind::Plan`] if nobody said.
    pub fn backups(&self) -> Result<&BackupPlace> {
        self.backups.as_ref().ok_or_else(|| Fault::new(FaultKind::Plan, "find the place for backups"))
    }
    /// The table that is told which files of this dataset have moved.
    ///
    /// # Errors
    /// [`FaultKind::Plan`] if the plan names no such table.
    pub fn write_back(&self, dataset: &str) -> Result<Arc<dyn WriteBack>> {
        find(&self.write_backs, "write-back of the dataset", dataset)
    }
}

fn find<T: ?Sized>(map: &BTreeMap<String, Arc<T>>, what: &str, name: &str) -> Result<Arc<T>> {
    map.get(name).cloned().ok_or_else(|| Fault::new(FaultKind::Plan, format!("find the {what} `{name}` in the plan")))
}
