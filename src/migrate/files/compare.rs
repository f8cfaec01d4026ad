//! What a file is in the target, held against what it must be: one verdict.

use super::{FileEntry, FileFacts, FileLane};
use crate::{
    error::{FaultKind, Result},
    model::{Digest, text},
    ports::{BlobInfo, ItemRow, ItemVerdict},
};
use serde::{Deserialize, Serialize};

/// How closely a file is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VerifyLevel {
    /// What the target says it holds; read only where it does not say.
    Checksum,
    /// Every byte is read back.
    Content,
}

/// A verdict in words.
pub(super) struct Finding {
    /// The verdict.
    pub(super) verdict: ItemVerdict,
    /// In words, if it is not the same.
    pub(super) detail: String,
}

impl Finding {
    pub(super) fn new(verdict: ItemVerdict, detail: impl Into<String>) -> Self {
        Self { verdict, detail: detail.into() }
    }
}

impl FileLane<'_> {
    /// Compares one file. What it must be says the row, or what was copied.
    ///
    /// # Errors
    /// Only what is wrong with a whole side, and `Cancelled`; what is wrong with the file is a verdict.
    pub(super) async fn compare(
        &self,
        entry: &FileEntry,
        item: Option<&ItemRow>,
        level: VerifyLevel,
    ) -> Result<Finding> {
        match self.look(entry, item, level).await {
            Err(fault) if matches!(fault.kind, FaultKind::Unreachable | FaultKind::Unauthorized) => Err(fault),
            Err(fault) if matches!(fault.kind, FaultKind::Cancelled | FaultKind::Ledger) => Err(fault),
            Err(fault) => Ok(Finding::new(ItemVerdict::Error, text::clean(&fault.chain(), 300))),
            found => found,
        }
    }

    async fn look(&self, entry: &FileEntry, item: Option<&ItemRow>, level: VerifyLevel) -> Result<Finding> {
        if let Some(flaw) = &entry.facts.flaw {
            return Ok(Finding::new(ItemVerdict::Error, flaw));
        }
        let lane = &self.lane;
        let doing = format!("look for {} in {}", entry.key, self.to);
        let Some(info) = lane.call(&doing, || self.new.head(&entry.key)).await? else {
            let absent = lane.call(&doing, || self.old.head(&entry.path)).await?.is_none();
            let why = if absent { "missing on both sides" } else { "missing" };
            return Ok(Finding::new(ItemVerdict::OnlyInSource, why));
        };
        if entry.facts.size.is_some_and(|size| size != info.size) {
            return Ok(Finding::new(ItemVerdict::Differs, format!("has {} bytes", info.size)));
        }
        let Some(wanted) = self.wanted(entry, item).await? else {
            return Ok(Finding::new(ItemVerdict::OnlyInTarget, "the source has no such file"));
        };
        let same = match level {
            VerifyLevel::Checksum => self.holds(&info, wanted, item).await?,
            VerifyLevel::Content => self.read_back(&entry.key).await? == Some(wanted),
        };
        Ok(if same {
            Finding::new(ItemVerdict::Same, "")
        } else {
            Finding::new(ItemVerdict::Differs, "its SHA-256 differs")
        })
    }

    async fn wanted(&self, entry: &FileEntry, item: Option<&ItemRow>) -> Result<Option<Digest>> {
        let copied = item.filter(|item| !entry.facts.is_newer_than(&FileFacts::of(item))).and_then(|item| item.digest);
        if let Some(known) = entry.facts.sha256.or(copied) {
            return Ok(Some(known));
        }
        let doing = format!("read {}", entry.path);
        let read = self.lane.call(&doing, || self.gear.hash(self.old.as_ref(), &entry.path)).await?;
        Ok(read.map(|(_, digest)| digest))
    }

    /// Whether the target holds these bytes: what it says, or is read.
    ///
    /// # Errors
    /// What the bucket says after all attempts.
    pub(crate) async fn holds(&self, info: &BlobInfo, wanted: Digest, item: Option<&ItemRow>) -> Result<bool> {
        if let Some(held) = info.sha256 {
            return Ok(held == wanted);
        }
        let copied = item.filter(|item| item.digest == Some(wanted)).and_then(|item| FileFacts::of(item).parts);
        if let (Some(held), Some(copied)) = (info.parts, copied) {
            return Ok(held == copied);
        }
        Ok(self.read_back(&info.key).await? == Some(wanted))
    }

    async fn read_back(&self, key: &str) -> Result<Option<Digest>> {
        let doing = format!("read {key} back from {}", self.to);
        let read = self.lane.call(&doing, || self.gear.hash(self.new.as_ref(), key)).await?;
        Ok(read.map(|(_, digest)| digest))
    }
}
