//! Both sides of a file set, looked at file by file, and what a synchronisation in either direction keeps of it. Must never
//! enter: which way something is carried.

use super::{SyncReport, conflict::Resolution, keep::Keep};
use crate::{
    error::Result,
    migrate::files::{FileFacts, FileLane},
    model::{Digest, Record, Value},
    plan::ConflictPolicy,
    ports::{BlobInfo, ItemRow},
};

/// Both sides of a file set.
pub(super) struct Sides<'a> {
    files: &'a FileLane<'a>,
    /// The ledger's side of it.
    pub(super) keep: Keep<'a>,
}

impl<'a> Sides<'a> {
    /// With what the ledger knows.
    pub(super) async fn load(files: &'a FileLane<'a>) -> Result<Self> {
        Ok(Self { files, keep: Keep::load(&files.lane, None).await? })
    }

    /// Keeps a conflict as what is known of both files: their lengths.
    pub(super) async fn conflict(
        &self,
        report: &mut SyncReport,
        item: &ItemRow,
        legacy: Option<u64>,
        new: Option<u64>,
        resolution: Resolution,
    ) -> Result<()> {
        let record = |key: &str, size: u64| {
            let fields = [("key", Value::Text(key.to_owned())), ("size", Value::Text(size.to_string()))];
            Record(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
        };
        let legacy = legacy.map(|size| record(&item.source, size));
        let new = new.map(|size| record(&item.key, size));
        let words = resolution.words(self.files.lane.cx.plan.migration.conflicts);
        if resolution == Resolution::Open {
            report.open += 1;
        } else {
            report.resolved += 1;
        }
        self.keep.conflict(&item.key, legacy.as_ref(), new.as_ref(), words).await
    }

    /// How a file is decided that both sides changed. Bytes have no time that two buckets agree on.
    pub(super) fn resolve(&self) -> Resolution {
        match self.files.lane.cx.plan.migration.conflicts {
            ConflictPolicy::LegacyWins => Resolution::Legacy,
            ConflictPolicy::NewWins => Resolution::New,
            ConflictPolicy::NewestWins | ConflictPolicy::Manual => Resolution::Open,
        }
    }

    /// What stands under this key on the new side.
    pub(super) async fn head_new(&self, key: &str) -> Result<Option<BlobInfo>> {
        let doing = format!("look for {key} in {}", self.files.to);
        self.files.lane.call(&doing, || self.files.new.head(key)).await
    }

    /// Length and SHA-256 of what stands there, read.
    pub(super) async fn hash_new(&self, key: &str) -> Result<Option<(u64, Digest)>> {
        let doing = format!("read {key} in {}", self.files.to);
        self.files.lane.call(&doing, || self.files.gear.hash(self.files.new.as_ref(), key)).await
    }

    /// What stands under this key on the legacy side.
    pub(super) async fn legacy(&self, path: &str) -> Result<Option<BlobInfo>> {
        let doing = format!("look for {path}");
        self.files.lane.call(&doing, || self.files.old.head(path)).await
    }

    /// Length and SHA-256 of what stands there, read.
    pub(super) async fn hash_old(&self, path: &str) -> Result<Option<(u64, Digest)>> {
        let doing = format!("read {path}");
        self.files.lane.call(&doing, || self.files.gear.hash(self.files.old.as_ref(), path)).await
    }

    /// Whether the legacy file is the one that was copied.
    pub(super) async fn as_copied(&self, item: &ItemRow, legacy: Option<&BlobInfo>) -> Result<bool> {
        let Some(legacy) = legacy else { return Ok(false) };
        if legacy.version.is_some() && legacy.version == FileFacts::of(item).version {
            return Ok(true);
        }
        Ok(self.hash_old(&item.source).await?.map(|(_, digest)| digest) == item.digest)
    }
}
