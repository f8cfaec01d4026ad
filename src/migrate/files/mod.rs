//! The bytes behind a dataset's records, or under a prefix of a bucket: listed, copied in one pass with their SHA-256,
//! caught up, verified, taken back.
//!
//! `source` says which files there are.
//! `listing` writes what the source has into the ledger; `mover` moves what the ledger says is open, batch by batch (`underway`);
//! both run at the same time. `transfer` moves one blob and proves it, in `parts` if it is long; `existing` decides about
//! objects that stand in the target already; `verify` compares in a run and `audit` for a person; `batches` does one
//! batch; `follow` what changes until the drain; `write_back` tells the legacy table. How many files move at once says the
//! lane's pace. A blob that stood in the target under a key that the run needs is kept aside before it is overwritten, and
//! comes back from there.

mod audit;
mod batches;
mod compare;
mod existing;
mod facts;
pub(crate) mod follow;
mod listing;
pub(crate) mod mover;
mod parts;
pub(crate) mod passes;
mod source;
pub(crate) mod transfer;
mod underway;
mod verify;
mod write_back;

pub use audit::{Audit, audit, audited};
pub use batches::{Back, retry, take_back};
pub use compare::VerifyLevel;
pub(crate) use existing::ALREADY_THERE;
pub(crate) use facts::{FileEntry, FileFacts};
pub(crate) use mover::is_nameless;
pub(crate) use source::Source;
pub use verify::{verify, verify_set};
pub use write_back::{clear_write_back, write_back};

use super::{
    lane::{Lane, Track, Which},
    records::may_fail,
    undo::{self, Undone},
    verified::counted,
};
use crate::{
    engine::{StepContext, StepDone},
    error::{Fault, FaultKind, Result},
    model::{Check, Digest, ItemState, LaneKind, LaneStage, Record, Timestamp, Verdict},
    plan::{DatasetPlan, FileSetPlan},
    ports::{BlobMeta, BlobStore, ItemRow},
};
use futures::StreamExt;
use listing::Lister;
use mover::Mover;
use std::{pin::pin, sync::Arc};
use transfer::{Gear, Haul, MARK, Sent, Wanted, Way};

/// How the name of an item begins whose record gives no key; its path follows.
const NO_KEY: &str = "(no key) ";
/// How the name of an item begins that stands in the legacy bucket and cannot be moved; its name there follows.
pub(crate) const NO_BLOB: &str = "(no file) ";
/// How the name of an item begins whose record gives the key of another one; key and path follow.
const KEY_IN_USE: &str = "(key in use) ";
/// The reason of items whose file is gone from the source, and that users changed in the target before that was seen.
pub(crate) const KEPT: &str = "gone from the source, and kept as users changed it";

/// Objects listed at once when what was kept aside is cleared.
const CLEARED_AT_ONCE: u32 = 200;
/// Where objects are kept aside that the run overwrites; run, lane and key follow.
pub(crate) const ASIDE: &str = ".cutover-aside";
/// Where a bucket is asked what it guards.
const PROBE: &str = ".cutover-marker";
/// Files at once that one batch is reckoned to keep busy: fewer than it has, since a batch stands still while the ledger
/// takes its intents and its ends, and those waits shall leave no place empty.
const FILES_OF_A_BATCH: usize = 4;

/// Moves the bytes behind the dataset's records (lane `<name>-content`), SHA-256 in one pass, checked against the row,
/// what was sent and what the target reports. Files that are there already are not moved again.
///
/// # Errors
/// `Plan` if the dataset has no blob; `Unmet` when more than `max_failures` files failed; the fault of the last attempt
/// when a server stays away; `Cancelled` when stopped.
pub async fn copy(cx: &StepContext, dataset: &DatasetPlan) -> Result<StepDone> {
    let files = FileLane::new(cx, dataset, LaneStage::Copying)?;
    let result = copy_all(&files).await;
    files.lane.conclude(LaneStage::Verifying, result).await
}

/// Moves what the legacy bucket holds under the set's prefix (lane `<name>`) under that of the new side. What cannot be
/// moved (a pipe, a name that is no text) is an item that has failed and says why.
///
/// # Errors
/// As [`copy`].
pub async fn copy_set(cx: &StepContext, set: &FileSetPlan) -> Result<StepDone> {
    let files = FileLane::of_set(cx, set, LaneStage::Copying)?;
    let result = copy_all(&files).await;
    files.lane.conclude(LaneStage::Verifying, result).await
}

/// The same after a comparison found that files are missing: asks all records again, because one may have come with a time
/// of long ago.
///
/// # Errors
/// As [`copy`].
pub async fn copy_again(cx: &StepContext, dataset: &DatasetPlan) -> Result<StepDone> {
    let files = FileLane::new(cx, dataset, LaneStage::Copying)?;
    files.lane.note("listing", &serde_json::Value::Null).await?;
    let result = copy_all(&files).await;
    files.lane.conclude(LaneStage::Verifying, result).await
}

async fn copy_all(files: &FileLane<'_>) -> Result<StepDone> {
    let lane = &files.lane;
    undo::finish_begun(Undone::Files(files)).await?;
    batches::finish_begun(files).await?;
    // Until the listing says that it has ended, nobody knows the whole.
    lane.meter.set_listing(true);
    lane.take_stock().await?;
    if let Source::Listing(set) = &files.source {
        note_standing(files, set).await?;
    }
    let lister = Lister::new(files).await?;
    passes::drop_failed(files).await?;
    passes::reopen(files).await?;
    // What was opened again has not failed: the mover counts from here.
    let mover = Mover::new(files).await?;
    lane.take_stock().await?;
    futures::try_join!(lister.list_all(), mover.drain(&lister))?;
    let seen = passes::catch_up(&lister, &mover).await?;
    mover.move_reopened().await?;
    if files.is_listing() {
        passes::drop_gone_from(files, seen).await?;
    } else {
        passes::drop_gone(files).await?;
    }
    lane.take_stock().await?;
    let tally = lane.meter.tally();
    mover.within_limits()?;
    let besides = counted(&[(tally.skipped, "skipped"), (tally.failed, "failed")]);
    let count = tally.copied + tally.verified;
    let summary = format!("{count} files of {} copied, {} bytes{besides}", lane.id, tally.bytes);
    let verdict = if tally.open() == 0 { Verdict::Pass } else { Verdict::Fail };
    let check = Check::new(format!("{} copied", lane.id), verdict, summary.clone(), Timestamp::now())
        .limit(format!("at most {} failed, none pending", may_fail(lane).unwrap_or_default()));
    Ok(StepDone::new(summary).checks(vec![check]))
}

/// Keeps the keys of the objects that stand where the set goes before the run writes its first one: they are nobody's to
/// carry back. Chunked, because nobody knows how many there are.
async fn note_standing(files: &FileLane<'_>, set: &FileSetPlan) -> Result<()> {
    let lane = &files.lane;
    if lane.noted("standing").await?.is_some() {
        return Ok(());
    }
    let mut chunks = 0_u64;
    let mut pages = pin!(files.arrived(set));
    while let Some(page) = pages.next().await {
        let keys: Vec<String> = page?.into_iter().map(|blob| blob.key).collect();
        if !keys.is_empty() {
            chunks += 1;
            lane.note(&format!("standing-{chunks}"), &keys.into()).await?;
        }
    }
    lane.note("standing", &chunks.into()).await
}

/// Whose files a lane moves.
#[derive(Debug, Clone, Copy)]
pub enum FilesOf<'a> {
    /// Those behind a dataset's records.
    Dataset(&'a DatasetPlan),
    /// Those under a prefix.
    Set(&'a FileSetPlan),
}

impl<'a> From<&'a DatasetPlan> for FilesOf<'a> {
    fn from(dataset: &'a DatasetPlan) -> Self {
        Self::Dataset(dataset)
    }
}

impl<'a> From<&'a FileSetPlan> for FilesOf<'a> {
    fn from(set: &'a FileSetPlan) -> Self {
        Self::Set(set)
    }
}

/// A lane of files.
pub(crate) struct FileLane<'a> {
    /// The lane.
    pub(crate) lane: Track<'a>,
    /// Where it learns which files there are.
    pub(crate) source: Source<'a>,
    /// The new bucket's name in the plan.
    pub(crate) to: &'a str,
    /// The legacy bucket.
    pub(crate) old: Arc<dyn BlobStore>,
    /// The new bucket.
    pub(crate) new: Arc<dyn BlobStore>,
    /// What blobs are moved with.
    pub(crate) gear: Arc<Gear>,
}

impl<'a> FileLane<'a> {
    /// The lane of the dataset's files, beginning in this stage.
    ///
    /// # Errors
    /// `Plan` if the dataset has no files, or a bucket is unknown.
    pub(crate) fn new(cx: &'a StepContext, dataset: &'a DatasetPlan, stage: LaneStage) -> Result<Self> {
        let plan = dataset.blob.as_ref().ok_or_else(|| {
            Fault::new(FaultKind::Plan, format!("move the files of `{}`", dataset.name)).detail("it has no `blob`")
        })?;
        let lane = Lane::new(cx, dataset, LaneKind::Files, stage)?;
        let track = (*lane).clone();
        Self::with(track, Source::Records { lane: Box::new(lane), blob: plan }, &plan.from, &plan.to)
    }

    /// The lane of these files, beginning in this stage.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub(crate) fn of(cx: &'a StepContext, files: FilesOf<'a>, stage: LaneStage) -> Result<Self> {
        match files {
            FilesOf::Dataset(dataset) => Self::new(cx, dataset, stage),
            FilesOf::Set(set) => Self::of_set(cx, set, stage),
        }
    }

    /// The lane of the file set, beginning in this stage.
    ///
    /// # Errors
    /// `Plan` if a bucket is unknown.
    pub(crate) fn of_set(cx: &'a StepContext, set: &'a FileSetPlan, stage: LaneStage) -> Result<Self> {
        let lane = Track::new(cx, set.lane(), LaneKind::Files, stage);
        Self::with(lane, Source::Listing(set), &set.from.bucket, &set.to.bucket)
    }

    fn with(lane: Track<'a>, source: Source<'a>, from: &str, to: &'a str) -> Result<Self> {
        let cx = lane.cx;
        let gear = Arc::new(Gear {
            signals: cx.signals.clone(),
            meter: Arc::clone(&lane.meter),
            pace: Arc::clone(&lane.pace),
            work: Arc::clone(&cx.work),
            lane: lane.id.clone(),
            migration: cx.plan.migration.clone(),
        });
        Ok(Self { lane, source, to, old: cx.ports.bucket(from)?, new: cx.ports.bucket(to)?, gear })
    }

    /// Follows the pace; gives how many batches or pages may be worked on at once.
    fn room(&self) -> usize {
        self.lane.room().div_ceil(FILES_OF_A_BATCH) + 1
    }

    /// What these records say about their files.
    pub(crate) fn entries(&self, records: &[Record]) -> Vec<FileEntry> {
        records.iter().filter_map(|record| self.entry(record)).collect()
    }

    /// What this record says about its file; `None` if there is no file behind it, or the filter leaves the record out.
    pub(crate) fn entry(&self, record: &Record) -> Option<FileEntry> {
        let Source::Records { lane, blob } = &self.source else { return None };
        // A filter that cannot be computed fails with its record.
        if matches!(lane.mapping.fits(record), Ok(false)) {
            return None;
        }
        let path = record.text(&blob.path).filter(|path| !path.is_empty())?;
        let text = |field: &Option<String>| record.text(field.as_deref()?).filter(|text| !text.is_empty());
        let mut flaw = None;
        let sha256 = text(&blob.sha256).and_then(|found| {
            let digest = Digest::from_hex(found.trim().trim_start_matches("sha256:"));
            if digest.is_none() {
                flaw = Some("the row's checksum is no SHA-256".to_string());
            }
            digest
        });
        let size = text(&blob.size).and_then(|found| {
            let size = found.parse().ok();
            if size.is_none() {
                flaw = Some("the row's size is no number".to_string());
            }
            size
        });
        let key = lane.mapping.blob_key(record).unwrap_or_else(|fault| {
            flaw = Some(fault.detail);
            format!("{NO_KEY}{path}")
        });
        let meta = BlobMeta { content_type: text(&blob.content_type), ..BlobMeta::default() };
        let record = lane.mapping.key(record).map(|key| key.0);
        Some(FileEntry { key, path, facts: FileFacts { record, sha256, size, meta, flaw, ..FileFacts::default() } })
    }

    /// Whether the target refuses to overwrite when told so.
    pub(crate) async fn guards_new(&self) -> Result<bool> {
        let key = format!("{PROBE}/{}-guard", self.lane.cx.work.run());
        let doing = format!("try a guarded write in {}", self.to);
        self.lane.call(&doing, || self.new.guards_new(&key)).await
    }

    /// The haul that brings this item's file to the target.
    fn haul(&self, item: &ItemRow, facts: &FileFacts) -> Haul {
        // A bucket only says how long a file was when it was listed.
        let size = facts.size.filter(|_| !self.is_listing());
        let wanted = Wanted { sha256: facts.sha256, size };
        let way = Way {
            from: Arc::clone(&self.old),
            from_key: item.source.clone(),
            to: Arc::clone(&self.new),
            to_key: item.key.clone(),
        };
        let mut haul = Haul::new(way, wanted);
        haul.meta = facts.meta.clone();
        haul.meta.user.insert(MARK.into(), self.lane.cx.work.run().to_string());
        haul
    }

    /// Where the object of this key is kept aside.
    pub(crate) fn aside(&self, key: &str) -> String {
        format!("{}{key}", self.aside_prefix())
    }

    /// Where this lane keeps objects aside.
    fn aside_prefix(&self) -> String {
        format!("{ASIDE}/{}/{}/", self.lane.cx.work.run(), self.lane.id)
    }

    /// Moves a blob within the new bucket, with all attempts.
    async fn move_within(&self, from: &str, to: &str, wanted: Wanted, doing: &str) -> Result<()> {
        let way = Way {
            from: Arc::clone(&self.new),
            from_key: from.to_owned(),
            to: Arc::clone(&self.new),
            to_key: to.to_owned(),
        };
        let haul = Haul::new(way, wanted);
        match self.lane.call(doing, || self.gear.transfer(&haul)).await? {
            Sent::Proven(_) => Ok(()),
            Sent::Bad { kind, why } => Err(Fault::new(kind, doing).detail(why)),
        }
    }

    /// Deletes everything that this lane kept aside; gives how many objects that were.
    ///
    /// # Errors
    /// What the bucket says after all attempts; `Cancelled` when stopped.
    pub(crate) async fn clear_aside(&self) -> Result<u64> {
        let (lane, prefix) = (&self.lane, self.aside_prefix());
        let doing = format!("clear {prefix} in {}", self.to);
        let (mut count, mut from) = (0, None::<String>);
        loop {
            let page = lane.call(&doing, || self.new.list(&prefix, from.as_deref(), CLEARED_AT_ONCE)).await?;
            for blob in page.blobs {
                lane.call(&doing, || self.new.delete(&blob.key)).await?;
                count += 1;
            }
            match page.next {
                Some(next) => from = Some(next),
                None => return Ok(count),
            }
        }
    }

    /// Throws away every upload in parts that this lane began and did not finish.
    ///
    /// # Errors
    /// What the bucket or the ledger says after all attempts; `Cancelled` when stopped.
    pub(crate) async fn abandon_uploads(&self) -> Result<u64> {
        let lane = &self.lane;
        let mut count = 0;
        loop {
            let open = lane.once("ask the ledger for uploads", lane.cx.work.uploads(&lane.id, None, 100)).await?;
            if open.is_empty() {
                return Ok(count);
            }
            for upload in open {
                let doing = format!("abandon the upload of {} in {}", upload.key, self.to);
                lane.call(&doing, || parts::abandon(&self.gear, self.new.as_ref(), &upload.key)).await?;
                count += 1;
            }
        }
    }

    async fn delete_own(&self, key: &str, acknowledged: bool) -> Result<()> {
        // What was not acknowledged may be somebody else's who was faster.
        if !acknowledged && !self.is_ours(key).await? {
            return Ok(());
        }
        let doing = format!("delete {key} from {}", self.to);
        self.lane.call(&doing, || self.new.delete(key)).await
    }

    /// Takes one file back: deletes what the run created, brings back what it overwrote. If nothing was kept aside,
    /// nothing was overwritten yet, or it is back already.
    pub(crate) async fn take_back(&self, item: &ItemRow) -> Result<()> {
        let lane = &self.lane;
        let Some(aside) = item.before.as_ref().and_then(serde_json::Value::as_str) else {
            let acknowledged = has_arrived(item.state) || item.digest.is_some();
            return match self.delete_own(&item.key, acknowledged).await {
                // Never stored: the bucket refuses to hear of such a key.
                Err(fault) if fault.kind == FaultKind::Refused && !acknowledged => Ok(()),
                done => done,
            };
        };
        let doing = format!("restore {} in {}", item.key, self.to);
        let Some(kept) = lane.call(&doing, || self.new.head(aside)).await? else { return Ok(()) };
        let wanted = Wanted { sha256: kept.sha256, size: Some(kept.size) };
        self.move_within(aside, &item.key, wanted, &doing).await?;
        lane.call(&doing, || self.new.delete(aside)).await
    }
}

/// Whether the item's bytes are in the target, as far as the ledger knows.
pub(crate) const fn has_arrived(state: ItemState) -> bool {
    matches!(state, ItemState::Copied | ItemState::Verified)
}

#[cfg(test)]
mod set_tests;
#[cfg(test)]
mod tests;
