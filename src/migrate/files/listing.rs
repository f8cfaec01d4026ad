//! The listing: what the source has, written into the ledger as batches of pending files, ahead of the copying.
//!
//! The ledger is the queue between the two, so that memory stays small however far the listing is ahead. How far it is
//! stands in the ledger in the same breath as the batches, so that a process that takes over lists on from there.

use super::{FileEntry, FileFacts, FileLane, KEPT, KEY_IN_USE, NO_KEY, source::Listed};
use crate::{
    error::{FaultKind, Result},
    migrate::{
        lane::Which,
        records::{GONE, watermark_of},
    },
    model::{BatchId, BatchState, ItemState},
    ports::{BatchRow, Cursor, ItemRow},
};
use futures::{StreamExt, TryStreamExt, stream::FuturesOrdered};
use serde_json::json;
use std::{
    collections::BTreeMap,
    pin::pin,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
};
use tokio::sync::Notify;

/// Pages that are on their way into the ledger while the next one is made ready.
const PAGES_AT_ONCE: usize = 2;

/// Lists a lane's files.
pub(crate) struct Lister<'a> {
    files: &'a FileLane<'a>,
    /// The highest batch number in use.
    last_number: AtomicU64,
    ended: AtomicBool,
    /// The ledger has none of the files that are being listed.
    knows_nothing: AtomicBool,
    more: Notify,
}

/// How far the listing is.
enum Standing {
    At(Cursor),
    Ended,
}

impl<'a> Lister<'a> {
    /// Goes on where the ledger says.
    ///
    /// # Errors
    /// What the ledger says.
    pub(crate) async fn new(files: &'a FileLane<'a>) -> Result<Self> {
        let last =
            files.lane.once("ask the ledger for batches", files.lane.cx.work.last_number(&files.lane.id)).await?;
        Ok(Self {
            files,
            last_number: AtomicU64::new(last),
            ended: AtomicBool::new(false),
            knows_nothing: AtomicBool::new(false),
            more: Notify::new(),
        })
    }

    /// The lane.
    pub(crate) const fn files(&self) -> &'a FileLane<'a> {
        self.files
    }

    /// Whether nothing more will come.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// Waits until more has come, or nothing more will.
    pub(crate) fn more(&self) -> tokio::sync::futures::Notified<'_> {
        self.more.notified()
    }

    /// The main pass over all files of the source, from where it was left.
    ///
    /// # Errors
    /// What the source says after all attempts; `Cancelled` when stopped.
    pub(crate) async fn list_all(&self) -> Result<()> {
        let listed = self.list_from().await;
        self.ended.store(true, Ordering::Release);
        self.more.notify_waiters();
        self.more.notify_one();
        self.files.lane.meter.set_listing(false);
        listed?;
        self.files.lane.meter.set_total(Some(self.files.lane.meter.tally().items()));
        Ok(())
    }

    async fn list_from(&self) -> Result<()> {
        let lane = &self.files.lane;
        let Standing::At(from) = self.standing().await? else { return Ok(()) };
        lane.meter.set_listing(true);
        // Of a bucket that is listed for the first time nothing comes twice, and nothing is known.
        self.knows_nothing.store(self.files.is_listing() && lane.meter.tally().items() == 0, Ordering::Relaxed);
        // Two pages of records may speak of the same file: the first one is known before the second is looked at.
        let at_once = if self.files.is_listing() { PAGES_AT_ONCE } else { 1 };
        let held = self.files.held_back().await?;
        let mut writing = FuturesOrdered::new();
        let mut pages = pin!(self.files.listed(Which::All, from));
        while let Some(listed) = pages.next().await {
            let Listed { entries, standing, as_of } = listed?;
            if let Some(mark) = watermark_of(as_of, self.files.overlap(), held)
                && lane.noted("watermark").await?.is_none()
            {
                lane.note("watermark", &mark.to_string().into()).await?;
            }
            writing.push_back(self.enlist(entries, standing));
            if writing.len() >= at_once {
                writing.try_next().await?;
            }
            lane.meter.offer();
            lane.cx.signals.hold().await?;
        }
        while writing.try_next().await?.is_some() {}
        self.knows_nothing.store(false, Ordering::Relaxed);
        lane.note("listing", &json!({ "ended": true })).await
    }

    async fn standing(&self) -> Result<Standing> {
        let Some(noted) = self.files.lane.noted("listing").await? else { return Ok(Standing::At(Cursor::START)) };
        Ok(match noted.get("at").and_then(serde_json::Value::as_str) {
            Some(at) => Standing::At(Cursor(Some(at.to_owned()))),
            None => Standing::Ended,
        })
    }

    /// Writes these files into the ledger as pending, those that the target does not hold as they are
    /// now; gives how many. Two records that give the same key would overwrite each other: the second is an item of its
    /// own that has failed.
    ///
    /// # Errors
    /// What the ledger or, for a changed row without checksum, the source says.
    pub(crate) async fn enlist(&self, found: Vec<FileEntry>, standing: Option<serde_json::Value>) -> Result<u64> {
        let lane = &self.files.lane;
        let mut entries: BTreeMap<String, FileEntry> = BTreeMap::new();
        for entry in found {
            let entry = match entries.get(&entry.key) {
                Some(first) if first.path != entry.path => in_use(entry, &first.path),
                _ => entry,
            };
            entries.insert(entry.key.clone(), entry);
        }
        let mut known = BTreeMap::new();
        if !self.knows_nothing.load(Ordering::Relaxed) {
            known = lane.items_of(entries.keys().cloned().collect()).await?;
        }
        let mut items = Vec::new();
        for (key, mut entry) in entries {
            let mut item = known.remove(&key);
            if let Some(other) = item.as_ref().filter(|item| is_anothers(item, &entry)) {
                entry = in_use(entry, &other.source);
                item = lane.items_of(vec![entry.key.clone()]).await?.remove(&entry.key);
            }
            if self.is_fresh(&entry, item.as_ref()).await? {
                items.push((entry, item));
            }
        }
        let count = items.len() as u64;
        self.save(items, standing).await?;
        Ok(count)
    }

    /// Whether the target does not hold the bytes as they are now. Where neither the row nor the bucket says, the source
    /// is read to know.
    async fn is_fresh(&self, entry: &FileEntry, item: Option<&ItemRow>) -> Result<bool> {
        let Some(item) = item else { return Ok(true) };
        let facts = FileFacts::of(item);
        if item.source != entry.path && !item.source.is_empty() {
            return Ok(true);
        }
        let newer = entry.facts.is_newer_than(&facts);
        Ok(match (item.state, entry.facts.sha256) {
            (ItemState::Pending | ItemState::Copying, _) => !facts.says_the_same(&entry.facts),
            (ItemState::Failed | ItemState::Conflicting, _) => {
                item.state == ItemState::Failed && (newer || !facts.says_the_same(&entry.facts))
            }
            (ItemState::Skipped, _) if item.is_left_out() => false,
            (ItemState::Skipped, _) if item.reason == GONE || item.reason == KEPT => true,
            (ItemState::Lost, _) => true,
            (_, Some(wanted)) => item.digest != Some(wanted),
            (ItemState::Skipped, None) => newer || item.digest.is_none(),
            (ItemState::Copied | ItemState::Verified, None) if entry.facts.version.is_some() => newer,
            (ItemState::Copied | ItemState::Verified, None) => self.changed_at_source(entry, item, &facts).await?,
        })
    }

    async fn changed_at_source(&self, entry: &FileEntry, item: &ItemRow, facts: &FileFacts) -> Result<bool> {
        let (files, lane) = (self.files, &self.files.lane);
        let doing = format!("look at {} again", entry.path);
        let now = lane.call(&doing, || files.old.head(&entry.path)).await?;
        if let (Some(copied), Some(now)) = (&facts.version, now.as_ref().and_then(|now| now.version.as_ref())) {
            return Ok(copied != now);
        }
        let read = lane.call(&doing, || files.gear.hash(files.old.as_ref(), &entry.path)).await?;
        Ok(read.map(|(_, digest)| digest) != item.digest)
    }

    async fn save(&self, found: Vec<(FileEntry, Option<ItemRow>)>, standing: Option<serde_json::Value>) -> Result<()> {
        let lane = &self.files.lane;
        let migration = &lane.cx.plan.migration;
        let (mut batches, mut items): (Vec<BatchRow>, Vec<ItemRow>) = (Vec::new(), Vec::new());
        let mut turned = Vec::new();
        for (entry, known) in found {
            let size = entry.facts.size.unwrap_or(0);
            let full = batches.last().is_none_or(|batch| {
                batch.items >= u64::from(migration.batch_files)
                    || (batch.items > 0 && batch.bytes + size > migration.batch_bytes)
            });
            if full {
                let number = self.last_number.fetch_add(1, Ordering::Relaxed) + 1;
                batches.push(self.batch(number));
            }
            let Some(batch) = batches.last_mut() else { continue };
            batch.items += 1;
            batch.bytes += size;
            let from = known.as_ref().map(|known| known.state);
            let item = self.item(entry, known, batch);
            batch.failed += u64::from(item.state == ItemState::Failed);
            turned.push((from, item.state));
            items.push(item);
        }
        for batch in &mut batches {
            // What was listed is not what was moved.
            batch.bytes = 0;
        }
        if batches.is_empty() && standing.is_none() {
            return Ok(());
        }
        let name = format!("listing:{}", lane.id);
        let note: Vec<_> = standing.as_ref().map(|standing| (name.as_str(), standing)).into_iter().collect();
        lane.once("write the listing", lane.cx.work.enlist(&batches, &items, &note)).await?;
        for (from, to) in turned {
            lane.meter.turned(from, to);
        }
        self.more.notify_one();
        Ok(())
    }

    fn batch(&self, number: u64) -> BatchRow {
        let lane = &self.files.lane;
        BatchRow {
            batch: BatchId::new(format!("{}-{number:04}", lane.id)),
            lane: lane.id.clone(),
            kind: lane.kind,
            number,
            state: BatchState::Pending,
            from: None,
            next: None,
            items: 0,
            failed: 0,
            bytes: 0,
            attempts: 0,
            error: String::new(),
            started: None,
            finished: None,
        }
    }

    /// What kind of fault a flaw is: a record's, or what a bucket does not give.
    const fn flawed(&self) -> FaultKind {
        if self.files.is_listing() { FaultKind::Refused } else { FaultKind::Unmet }
    }

    /// The item as pending, or as failed if its row says nonsense; what the run did to it so far stays known.
    fn item(&self, entry: FileEntry, known: Option<ItemRow>, batch: &BatchRow) -> ItemRow {
        let was_left_out = known.as_ref().is_some_and(|known| known.state == ItemState::Skipped);
        let before = known.as_ref().and_then(|known| known.before.clone());
        let known = known.filter(|_| !was_left_out);
        ItemRow {
            lane: self.files.lane.id.clone(),
            key: entry.key,
            batch: batch.batch.clone(),
            state: if entry.facts.flaw.is_some() { ItemState::Failed } else { ItemState::Pending },
            source: entry.path,
            digest: known.as_ref().and_then(|known| known.digest),
            bytes: 0,
            attempts: known.map_or(0, |known| known.attempts),
            error: entry.facts.flaw.as_ref().map(|_| self.flawed()),
            reason: entry.facts.flaw.clone().unwrap_or_default(),
            facts: entry.facts.to_json(),
            before,
        }
    }
}

/// The item is of another record that gave the same key for another file.
pub(super) fn is_anothers(item: &ItemRow, entry: &FileEntry) -> bool {
    let facts = FileFacts::of(item);
    let same_record = facts.record.is_none() || facts.record == entry.facts.record;
    item.source != entry.path && !same_record && item.reason != GONE && !item.key.starts_with(NO_KEY)
}

/// The entry under a name of its own, since its key is taken.
pub(super) fn in_use(mut entry: FileEntry, by: &str) -> FileEntry {
    entry.facts.flaw = Some(format!("the same key as {by}"));
    entry.key = format!("{KEY_IN_USE}{}: {}", entry.key, entry.path);
    entry
}
