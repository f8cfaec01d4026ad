//! The files of a set, legacy side → new side, after the switch: what the legacy side still took. Two walks: over what
//! stands in the legacy bucket, for what was created or changed there, and over the ledger's items, for what was deleted.
//! What only the legacy side did goes through the same batches as the copy; where users did something on the new side
//! too, the plan's policy decides.

use super::{SyncReport, conflict::Resolution, sets::Sides};
use crate::{
    engine::StepContext,
    error::Result,
    migrate::{
        files::{FileEntry, FileFacts, FileLane, KEPT, is_nameless, mover::carry, passes::gone_for_sure},
        lane::Which,
        pump::some_at_a_time,
        records::{GONE, Standing, fingerprint},
        undo,
    },
    model::{ItemState, LaneStage, Timestamp},
    plan::FileSetPlan,
    ports::{Cursor, ItemQuery, ItemRow},
};
use futures::StreamExt;
use std::{collections::HashSet, pin::pin};

/// Items looked at together.
const TOGETHER: u32 = 500;
/// Files looked at at the same time.
const AT_ONCE: usize = 16;

/// Settles one file set; `None` if nothing came late.
pub(super) async fn run(cx: &StepContext, set: &FileSetPlan) -> Result<Option<SyncReport>> {
    let files = FileLane::of_set(cx, set, LaneStage::Verifying)?;
    let lane = &files.lane;
    if lane.noted("undoing").await?.is_some() || lane.noted("standing").await?.is_none() {
        return Ok(None);
    }
    lane.take_stock().await?;
    let standing = Standing::load(lane).await?;
    let sides = Sides::load(&files).await?;
    let report = SyncReport::new(lane.id.clone());
    let mut settler =
        Settler { files: &files, sides, standing, seen: HashSet::new(), known: 0, gone: Vec::new(), report };
    let settled = settler.all().await;
    let mut report = settler.report;
    lane.come_to_rest(settled).await?;
    if report.found() == 0 {
        return Ok(None);
    }
    report.conclude("late changes settled", Timestamp::now());
    Ok(Some(report))
}

/// What became of a file since it was copied.
enum Late {
    /// Nothing that matters.
    Nothing,
    /// Created on the legacy side alone.
    Created,
    /// Changed on the legacy side alone.
    Changed,
    /// Both sides have the same new content: to be kept as that.
    Same(ItemRow),
    /// Created on both sides, with the lengths there and here.
    CreatedTwice(u64, u64),
    /// Changed on both sides: as the legacy side is now, and the length on the new side.
    Both(ItemRow, Option<u64>),
}

struct Settler<'a> {
    files: &'a FileLane<'a>,
    sides: Sides<'a>,
    standing: Standing,
    /// Eight bytes of the key of each legacy file.
    seen: HashSet<u64>,
    /// Files of the legacy side that the run knows.
    known: u64,
    /// Those of them that were deleted there.
    gone: Vec<ItemRow>,
    report: SyncReport,
}

impl Settler<'_> {
    async fn all(&mut self) -> Result<()> {
        let (files, lane) = (self.files, &self.files.lane);
        let mut pages = pin!(files.listed(Which::All, Cursor::START));
        while let Some(listed) = pages.next().await {
            for entries in listed?.entries.chunks(TOGETHER as usize) {
                self.present(entries.to_vec()).await?;
            }
            lane.cx.signals.breathe().await?;
        }
        let states = vec![ItemState::Copied, ItemState::Verified, ItemState::Skipped];
        let query = ItemQuery { states, limit: TOGETHER, ..ItemQuery::default() };
        let mut items = pin!(lane.items(&query));
        while let Some(items) = items.next().await {
            self.absent(items?).await?;
            lane.cx.signals.breathe().await?;
        }
        self.take_back().await
    }

    /// What is to be done about files that stand on the legacy side.
    async fn present(&mut self, entries: Vec<FileEntry>) -> Result<()> {
        let lane = &self.files.lane;
        self.seen.extend(entries.iter().map(|entry| fingerprint(&entry.key)));
        self.report.checked += entries.len() as u64;
        let items = lane.items_of(entries.iter().map(|entry| entry.key.clone()).collect()).await?;
        let (this, known) = (&*self, &items);
        let judged = entries.into_iter().map(|entry| async move {
            let judged = this.judge(&entry, known.get(&entry.key)).await?;
            Ok((entry, judged))
        });
        let judged = some_at_a_time(AT_ONCE, judged.collect()).await?;
        let (mut forward, mut settled, mut adopted) = (Vec::new(), Vec::new(), Vec::new());
        for (entry, late) in judged {
            match late {
                Late::Nothing => {}
                Late::Created => {
                    self.report.created += 1;
                    forward.push(entry);
                }
                Late::Changed => {
                    self.report.updated += 1;
                    forward.push(entry);
                }
                Late::Same(item) => settled.push(item),
                Late::CreatedTwice(legacy, new) => {
                    let mut item = self.sides.keep.item(&entry.key, ItemState::Conflicting);
                    // The run wrote nothing there: its undo shall leave alone what users have.
                    (item.source, item.attempts) = (entry.path, 0);
                    item.reason = "created on both sides".into();
                    self.sides.conflict(&mut self.report, &item, Some(legacy), Some(new), Resolution::Open).await?;
                    adopted.push(item);
                }
                Late::Both(item, new) => {
                    let resolution = self.sides.resolve();
                    self.sides.conflict(&mut self.report, &item, Some(item.bytes), new, resolution).await?;
                    match resolution {
                        Resolution::Legacy => forward.push(entry),
                        // The legacy file as it is now has been weighed: it is late no more.
                        Resolution::New => settled.push(item),
                        Resolution::Open => self.sides.keep.open(&item).await?,
                    }
                }
            }
        }
        self.known += items.len() as u64;
        self.sides.keep.settled(settled).await?;
        self.sides.keep.adopted(adopted).await?;
        if forward.is_empty() {
            return Ok(());
        }
        let (count, bytes) = carry(self.files, forward).await?;
        self.report.files += count;
        self.report.bytes += bytes;
        // The copy has made batches of its own.
        self.sides.keep.refresh().await
    }

    async fn judge(&self, entry: &FileEntry, item: Option<&ItemRow>) -> Result<Late> {
        let Some(item) = item.filter(|item| item.reason != GONE && item.reason != KEPT) else {
            return self.created(entry).await;
        };
        let settled = matches!(item.state, ItemState::Copied | ItemState::Verified | ItemState::Skipped);
        let facts = FileFacts::of(item);
        if item.is_left_out() || item.state == ItemState::Conflicting || is_nameless(item) {
            return Ok(Late::Nothing);
        }
        if !settled {
            // What failed for what it was may arrive as it is now.
            let changed = item.state == ItemState::Failed && entry.facts.is_newer_than(&facts);
            return Ok(if changed { Late::Changed } else { Late::Nothing });
        }
        if entry.facts.version.is_some() && !entry.facts.is_newer_than(&facts) {
            return Ok(Late::Nothing);
        }
        let Some((size, now)) = self.sides.hash_old(&item.source).await? else { return Ok(Late::Nothing) };
        let (copied, bytes) = (item.digest, item.bytes);
        let mut facts = facts;
        facts.version.clone_from(&entry.facts.version);
        facts.size = Some(size);
        let item = ItemRow { digest: Some(now), bytes: size, facts: facts.to_json(), ..item.clone() };
        if copied == Some(now) {
            // Written again as it was.
            return Ok(Late::Same(item));
        }
        let Some(info) = self.sides.head_new(&entry.key).await? else { return Ok(Late::Both(item, None)) };
        let before = ItemRow { digest: copied, bytes, ..item.clone() };
        if self.holds(&info, &before).await? {
            return Ok(Late::Changed);
        }
        let new = self.sides.hash_new(&entry.key).await?;
        if new == Some((size, now)) {
            return Ok(Late::Same(item));
        }
        Ok(Late::Both(item, new.map(|(size, _)| size)))
    }

    /// A file that the run does not know.
    async fn created(&self, entry: &FileEntry) -> Result<Late> {
        if entry.facts.flaw.is_some() || self.standing.has(&entry.key) {
            return Ok(Late::Created);
        }
        let Some((size, new)) = self.sides.hash_new(&entry.key).await? else { return Ok(Late::Created) };
        let Some((legacy, digest)) = self.sides.hash_old(&entry.path).await? else { return Ok(Late::Nothing) };
        // The same on both sides is found to be there already when it is carried.
        Ok(if digest == new { Late::Created } else { Late::CreatedTwice(legacy, size) })
    }

    /// Whether the new side has what the run put there.
    async fn holds(&self, info: &crate::ports::BlobInfo, item: &ItemRow) -> Result<bool> {
        let Some(copied) = item.digest else { return Ok(false) };
        Ok(info.size == item.bytes && self.files.holds(info, copied, Some(item)).await?)
    }

    /// What is to be done about files that do not stand on the legacy side any more.
    async fn absent(&mut self, mut items: Vec<ItemRow>) -> Result<()> {
        items.retain(|item| {
            let ended = item.reason == GONE || item.reason == KEPT || item.is_left_out();
            !ended && !is_nameless(item) && !self.seen.contains(&fingerprint(&item.key))
        });
        for item in gone_for_sure(self.files, items).await? {
            self.known += 1;
            let info = self.sides.head_new(&item.key).await?;
            let as_copied = match &info {
                Some(info) => self.holds(info, &item).await?,
                None => true,
            };
            if as_copied {
                self.gone.push(item);
                continue;
            }
            let resolution = self.sides.resolve();
            self.sides.conflict(&mut self.report, &item, None, info.map(|info| info.size), resolution).await?;
            match resolution {
                Resolution::Legacy => self.gone.push(item),
                Resolution::New => self.sides.keep.kept(&item).await?,
                Resolution::Open => self.sides.keep.open(&item).await?,
            }
        }
        Ok(())
    }

    /// Deletes on the new side what was deleted on the legacy side, unless that is so much that a loss explains it
    /// better: a disk that is not mounted looks like an empty one.
    async fn take_back(&mut self) -> Result<()> {
        let gone = self.gone.len() as u64;
        if gone > 0 && super::looks_like_a_loss(gone, self.known) {
            self.report.kept = gone;
            return Ok(());
        }
        for items in self.gone.chunks(TOGETHER as usize) {
            undo::take_back_gone_files(self.files, items).await?;
            self.report.deleted += items.len() as u64;
            self.files.lane.cx.signals.breathe().await?;
        }
        Ok(())
    }
}
