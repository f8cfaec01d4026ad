//! The files of a set, new side → legacy side. Two walks: over what stands in the new bucket, for what users created or
//! changed there, and over the ledger's items, for what they deleted. A file is known as unchanged by the digest of what
//! was copied.
//!
//! Bytes have no time of change that two buckets agree on, so `newest wins` is for a person, as `manual` is: the legacy
//! file stays as it is, and the new one is laid beside it under `<key>.cutover-new`. Order of writes: bytes, then the
//! ledger.

use super::{SyncReport, conflict::Resolution, sets::Sides};
use crate::{
    engine::StepContext,
    error::{Fault, FaultKind, Result},
    migrate::{
        files::{
            FileLane,
            transfer::{Haul, Sent, Wanted, Way},
        },
        pump::some_at_a_time,
        records::{Standing, fingerprint},
    },
    model::{Digest, ItemState, LaneStage, Timestamp},
    plan::FileSetPlan,
    ports::{BlobInfo, ItemQuery, ItemRow},
};
use futures::StreamExt;
use std::{collections::HashSet, pin::pin, sync::Arc};

/// How the key of a new file ends that is laid beside a legacy one.
const BESIDE: &str = ".cutover-new";
/// Items looked at together.
const TOGETHER: u32 = 500;
/// Files looked at or carried at the same time.
const AT_ONCE: usize = 16;

/// Carries back one file set.
pub(super) async fn run(cx: &StepContext, set: &FileSetPlan) -> Result<SyncReport> {
    let files = FileLane::of_set(cx, set, LaneStage::Undoing)?;
    let lane = &files.lane;
    let mut report = SyncReport::new(lane.id.clone());
    // Once files are being taken back, an absent one says nothing about what users did.
    if lane.noted("undoing").await?.is_none() && lane.noted("standing").await?.is_some() {
        lane.take_stock().await?;
        let sides = Sides::load(&files).await?;
        let mut carrier = Carrier { files: &files, sides, set, seen: HashSet::new(), deletions: Vec::new(), report };
        carrier.all().await?;
        report = carrier.report;
    }
    report.conclude("carried back", Timestamp::now());
    Ok(report)
}

/// What users did to a file.
enum Done {
    /// Nothing; or the legacy side has the same already.
    Nothing,
    /// The legacy side has it now, or had it already: to be kept as that.
    Settled(ItemRow, Option<u64>),
    /// Both sides have changed it: to be kept as that, with its sizes there and here.
    Conflict(ItemRow, Option<u64>, u64),
}

struct Carrier<'a> {
    files: &'a FileLane<'a>,
    sides: Sides<'a>,
    set: &'a FileSetPlan,
    /// Eight bytes of each key on the new side.
    seen: HashSet<u64>,
    deletions: Vec<ItemRow>,
    report: SyncReport,
}

impl Carrier<'_> {
    async fn all(&mut self) -> Result<()> {
        let (files, lane) = (self.files, &self.files.lane);
        let standing = Standing::load(lane).await?;
        let mut pages = pin!(files.arrived(self.set));
        while let Some(page) = pages.next().await {
            self.present(page?, &standing).await?;
            self.tell().await?;
        }
        let query = ItemQuery { states: vec![ItemState::Verified], limit: TOGETHER, ..ItemQuery::default() };
        let mut items = pin!(lane.items(&query));
        while let Some(items) = items.next().await {
            self.absent(items?).await?;
            self.tell().await?;
        }
        self.delete().await
    }

    async fn tell(&self) -> Result<()> {
        self.files.lane.cx.report.note(None, format!("{}: {}", self.files.lane.id, self.report.summary()));
        self.files.lane.cx.signals.breathe().await
    }

    /// What is to be done about files that are there.
    async fn present(&mut self, blobs: Vec<BlobInfo>, standing: &Standing) -> Result<()> {
        self.seen.extend(blobs.iter().map(|blob| fingerprint(&blob.key)));
        let mut items = self.files.lane.items_of(blobs.iter().map(|blob| blob.key.clone()).collect()).await?;
        let mut work = Vec::new();
        for blob in blobs {
            let item = items.remove(&blob.key);
            // What stood there before the run, and was not the same, is nobody's to carry.
            if item.is_none() && standing.has(&blob.key) {
                continue;
            }
            // Of what both sides created the ledger has a conflict and not what was copied.
            work.push((blob, item.filter(|item| item.digest.is_some())));
        }
        self.report.checked += work.len() as u64;
        let this = &*self;
        let looked = work.into_iter().map(|(blob, item)| async move {
            match item {
                Some(item) => this.known(item, &blob).await.map(|done| (false, done)),
                None => this.created(&blob).await.map(|done| (true, done)),
            }
        });
        let all = some_at_a_time(AT_ONCE, looked.collect()).await?;
        let (mut settled, mut adopted) = (Vec::new(), Vec::new());
        for (is_new, done) in all {
            let item = match done {
                Done::Nothing => continue,
                Done::Settled(item, carried) => {
                    if let Some(bytes) = carried {
                        *(if is_new { &mut self.report.created } else { &mut self.report.updated }) += 1;
                        self.report.files += 1;
                        self.report.bytes += bytes;
                    }
                    item
                }
                Done::Conflict(mut item, legacy, new) => {
                    let resolution = if is_new { Resolution::Open } else { self.sides.resolve() };
                    self.sides.conflict(&mut self.report, &item, legacy, Some(new), resolution).await?;
                    item.state = if resolution == Resolution::Open { ItemState::Conflicting } else { item.state };
                    item
                }
            };
            if is_new {
                adopted.push(item);
            } else {
                settled.push(item);
            }
        }
        self.sides.keep.settled(settled).await?;
        self.sides.keep.adopted(adopted).await
    }

    /// A file that the run copied, or found there already.
    async fn known(&self, mut item: ItemRow, blob: &BlobInfo) -> Result<Done> {
        let files = self.files;
        let Some(copied) = item.digest else { return Ok(Done::Nothing) };
        if !matches!(item.state, ItemState::Verified | ItemState::Skipped | ItemState::Conflicting) {
            return Ok(Done::Nothing);
        }
        let Some(info) = self.sides.head_new(&blob.key).await? else { return Ok(Done::Nothing) };
        if info.size == item.bytes && files.holds(&info, copied, Some(&item)).await? {
            return Ok(Done::Nothing);
        }
        let Some((size, now)) = self.sides.hash_new(&blob.key).await? else { return Ok(Done::Nothing) };
        let legacy = self.sides.legacy(&item.source).await?;
        let (untouched, same) = match &legacy {
            None => (false, false),
            Some(_) if self.sides.as_copied(&item, legacy.as_ref()).await? => (true, now == copied),
            Some(_) => (false, self.sides.hash_old(&item.source).await? == Some((size, now))),
        };
        (item.digest, item.bytes) = (Some(now), size);
        if same {
            return Ok(Done::Settled(item, None));
        }
        if untouched {
            self.send(&item.key, &item.source, now).await?;
            return Ok(Done::Settled(item, Some(size)));
        }
        match self.sides.resolve() {
            Resolution::New => self.send(&item.key, &item.source, now).await?,
            Resolution::Open => self.send(&item.key, &format!("{}{BESIDE}", item.source), now).await?,
            Resolution::Legacy => {}
        }
        Ok(Done::Conflict(item, legacy.map(|info| info.size), size))
    }

    /// A file that the run does not know. It becomes the run's own, so that its undo removes it.
    async fn created(&self, blob: &BlobInfo) -> Result<Done> {
        let Some(rest) = blob.key.strip_prefix(&self.set.to.prefix) else { return Ok(Done::Nothing) };
        let path = format!("{}{rest}", self.set.from.prefix);
        let Some((size, digest)) = self.sides.hash_new(&blob.key).await? else { return Ok(Done::Nothing) };
        let mut item = self.sides.keep.item(&blob.key, ItemState::Verified);
        (item.source, item.digest, item.bytes) = (path.clone(), Some(digest), size);
        let Some(legacy) = self.sides.legacy(&path).await? else {
            self.send(&blob.key, &path, digest).await?;
            return Ok(Done::Settled(item, Some(size)));
        };
        if legacy.size == size && self.sides.hash_old(&path).await? == Some((size, digest)) {
            return Ok(Done::Settled(item, None));
        }
        // Created on both sides: no policy lets one swallow the other.
        self.send(&blob.key, &format!("{path}{BESIDE}"), digest).await?;
        Ok(Done::Conflict(item, Some(legacy.size), size))
    }

    /// What is to be done about files that the run saw arrive and that are not there any more: users deleted them.
    async fn absent(&mut self, items: Vec<ItemRow>) -> Result<()> {
        for item in items {
            if self.seen.contains(&fingerprint(&item.key)) || self.sides.head_new(&item.key).await?.is_some() {
                continue;
            }
            self.report.checked += 1;
            let legacy = self.sides.legacy(&item.source).await?;
            if legacy.is_none() {
                continue;
            }
            if self.sides.as_copied(&item, legacy.as_ref()).await? {
                self.deletions.push(item);
                continue;
            }
            let resolution = self.sides.resolve();
            self.sides.conflict(&mut self.report, &item, legacy.map(|info| info.size), None, resolution).await?;
            match resolution {
                Resolution::New => self.deletions.push(item),
                Resolution::Legacy => {}
                Resolution::Open => self.sides.keep.open(&item).await?,
            }
        }
        Ok(())
    }

    /// Deletes on the legacy side what users deleted on the new side, unless that is so much that a loss explains it
    /// better.
    async fn delete(&mut self) -> Result<()> {
        let (deleted, of) = (self.deletions.len() as u64, self.report.checked);
        if super::looks_like_a_loss(deleted, of) {
            self.report.kept = deleted;
            return Ok(());
        }
        let (files, lane) = (self.files, &self.files.lane);
        for item in &self.deletions {
            let doing = format!("delete {}", item.source);
            lane.call(&doing, || files.old.delete(&item.source)).await?;
            self.report.deleted += 1;
            lane.cx.signals.breathe().await?;
        }
        Ok(())
    }

    async fn send(&self, key: &str, path: &str, digest: Digest) -> Result<()> {
        let files = self.files;
        let way = Way {
            from: Arc::clone(&files.new),
            from_key: key.to_owned(),
            to: Arc::clone(&files.old),
            to_key: path.to_owned(),
        };
        let haul = Haul::new(way, Wanted { sha256: Some(digest), size: None });
        let doing = format!("carry {key} back to {path}");
        match files.lane.call(&doing, || files.gear.transfer(&haul)).await? {
            Sent::Proven(_) => Ok(()),
            Sent::Bad { kind: _, why } => Err(Fault::new(FaultKind::Unmet, doing).detail(why)),
        }
    }
}
