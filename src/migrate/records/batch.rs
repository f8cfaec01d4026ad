//! Moves one batch of records: looks at what stands there, saves the intent, writes, reads back, saves what came out.

use super::{
    intent::{self, Known, Planned},
    isolate::write_isolating,
    sheet::{End, Kept, Sheet, fresh},
};
use crate::{
    error::{Fault, FaultKind, Result},
    migrate::{
        convert::Mapped,
        lane::{Lane, by_key},
        meter::Part,
        undo,
    },
    model::{BatchId, BatchProgress, BatchState, ItemState, Key, Record, Timestamp},
    ports::{BatchQuery, BatchRow, ItemRow, RecordBlock, WriteOutcome},
};
use std::{
    collections::BTreeMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

/// How the name of an item begins whose record has no key; the batch and the place in it follow.
pub(crate) const NO_KEY: &str = "(no key) ";

/// Bytes of a key, at most, of a record that is kept together with others.
const LONGEST_KEY: usize = 1024;
/// Rows that are read back at once.
const READ_BACK: usize = 1000;
/// While batches of so many bytes are under way no further one begins: in memory a record takes many times its text.
pub(crate) const HELD: u64 = 2 << 20;

/// Records to be moved as one batch.
pub(crate) struct Job {
    /// The batch's number.
    pub(crate) number: u64,
    /// Where the source was read.
    pub(crate) from: Option<String>,
    /// Where it is read on.
    pub(crate) next: Option<String>,
    /// The records as the source has them.
    pub(crate) records: Vec<Record>,
    /// The batch as it stands, if only some of its records are moved again.
    pub(crate) base: Option<BatchRow>,
}

/// Moves batches of one lane.
pub(crate) struct Mover<'a> {
    /// The lane.
    pub(crate) lane: &'a Lane<'a>,
    /// The highest batch number in use.
    pub(crate) last_number: AtomicU64,
    /// Bytes of the records in all batches under way.
    held: AtomicU64,
    first_failure: Mutex<Option<String>>,
}

/// The bytes of a batch under way.
pub(crate) struct Held<'m> {
    all: &'m AtomicU64,
    bytes: u64,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.all.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// A record on its way.
struct Entry<'j> {
    /// Its key, or the name of its item if it has none.
    key: String,
    /// As the source has it.
    record: &'j Record,
    /// As the target shall have it, until that is planned.
    mapped: Option<Mapped>,
}

/// A batch under way.
struct Run<'j> {
    job: &'j Job,
    batch: BatchId,
    entries: Vec<Entry<'j>>,
    bytes: u64,
    started: Timestamp,
    attempt: u32,
    /// What it is about to do, once the ledger has it.
    sheet: Option<Sheet>,
}

impl<'a> Mover<'a> {
    /// A mover whose next batch has the number after this one.
    pub(crate) const fn new(lane: &'a Lane<'a>, last_number: u64) -> Self {
        let (last_number, held) = (AtomicU64::new(last_number), AtomicU64::new(0));
        Self { lane, last_number, held, first_failure: Mutex::new(None) }
    }

    /// Batches that may be worked on at once now: as many as the lane has room for, none while those under way hold so
    /// many bytes.
    pub(crate) fn room(&self, held: u64) -> usize {
        let room = self.lane.room();
        if self.held.load(Ordering::Relaxed) < held { room } else { 0 }
    }

    /// Counts a batch of so many bytes as under way.
    pub(crate) fn hold(&self, bytes: u64) -> Held<'_> {
        self.held.fetch_add(bytes, Ordering::Relaxed);
        Held { all: &self.held, bytes }
    }

    /// A number for a batch besides the main pass.
    pub(crate) fn next_number(&self) -> u64 {
        self.last_number.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// # Errors
    /// `Unmet` when more records failed than may.
    pub(crate) fn within_limits(&self) -> Result<()> {
        let first = self.first_failure.lock().unwrap_or_else(PoisonError::into_inner).clone();
        super::too_many(self.lane, self.lane.meter.tally().failed, first.as_deref())
    }

    /// Moves a batch, with all its attempts.
    ///
    /// # Errors
    /// The fault of the last attempt; `Unmet` when too many records of the lane failed by now; `Cancelled`.
    pub(crate) async fn move_batch(&self, job: Job) -> Result<()> {
        self.redo_batch(job).await?;
        self.within_limits()
    }

    /// The same without judging how many failed so far.
    ///
    /// # Errors
    /// The fault of the last attempt; `Cancelled`.
    pub(crate) async fn redo_batch(&self, job: Job) -> Result<()> {
        let mut run = self.prepare(&job).await?;
        let _held = self.hold(run.bytes);
        self.attempts(&mut run).await
    }

    async fn attempts(&self, run: &mut Run<'_>) -> Result<()> {
        self.lane.pace.rows(run.entries.len() as u64, run.bytes, &self.lane.cx.signals).await?;
        loop {
            run.attempt += 1;
            self.lane.meter.batch(true, || self.progress(run, BatchState::Running, 0, ""));
            match self.attempt(run).await {
                Ok(failed) => {
                    self.lane.meter.last_batch(self.progress(run, BatchState::Done, failed, "")).await;
                    return Ok(());
                }
                Err(fault) if self.lane.tries_again(&fault, run.attempt) => {
                    self.lane.meter.batch(true, || self.progress(run, BatchState::Retrying, 0, &fault.chain()));
                    self.lane.wait_after(&fault, run.attempt).await?;
                }
                Err(fault) => return self.give_up(run, fault).await,
            }
        }
    }

    async fn give_up(&self, run: &Run<'_>, fault: Fault) -> Result<()> {
        if fault.kind != FaultKind::Cancelled {
            let row = self.row(run, BatchState::Failed, 0, &fault.chain());
            if fault.kind != FaultKind::Ledger {
                self.lane.once("save a batch", self.lane.cx.work.save(&row, &[])).await?;
            }
            self.lane.meter.last_batch(self.progress(run, BatchState::Failed, 0, &fault.chain())).await;
        }
        Err(fault)
    }

    /// Maps the records; of two with the same key the later one counts.
    async fn prepare<'j>(&self, job: &'j Job) -> Result<Run<'j>> {
        let mut entries: BTreeMap<String, Entry<'j>> = BTreeMap::new();
        let mut bytes = 0;
        let batch = self.name(job.number);
        let mapped = self.lane.mapped(&job.records).await?;
        for (place, (record, mapped)) in job.records.iter().zip(mapped).enumerate() {
            let key = match self.lane.mapping.key(record) {
                Some(key) => key.0,
                None => format!("{NO_KEY}{batch}/{}", place + 1),
            };
            if let Ok(Some(mapped)) = &mapped {
                bytes += mapped.weight();
            }
            entries.insert(key.clone(), Entry { key, record, mapped: Some(mapped) });
        }
        let (entries, started) = (entries.into_values().collect(), Timestamp::now());
        Ok(Run { job, batch, entries, bytes, started, attempt: 0, sheet: None })
    }

    /// One attempt; how many records failed. What was intended stays intended in the next one.
    async fn attempt(&self, run: &mut Run<'_>) -> Result<u64> {
        let sheet = match run.sheet.take() {
            Some(sheet) => sheet,
            None => self.intend(run).await?,
        };
        let done = self.carry_out(run, &sheet).await;
        run.sheet = Some(sheet);
        done
    }

    /// Says in the ledger what is about to be done, with what undo needs.
    async fn intend(&self, run: &mut Run<'_>) -> Result<Sheet> {
        let (lane, work) = (self.lane, &self.lane.cx.work);
        let keys: Vec<String> = run.entries.iter().map(|entry| entry.key.clone()).collect();
        let prior = lane.items_of(keys.clone()).await?;
        let standing = self.standing(&keys, &prior).await?;
        self.expel(run, &prior).await?;
        let kinds = lane.kinds().await?;
        // A batch that was begun before may have a block, of which some records are told by themselves since.
        let query = BatchQuery { batch: Some(run.batch.clone()), limit: 1, ..BatchQuery::default() };
        let begun = lane.once("ask the ledger for a batch", work.batch_page(&query)).await?;
        let in_block = run.job.base.is_none() && begun.is_empty();
        let mut sheet = Sheet::default();
        for (at, entry) in run.entries.iter_mut().enumerate() {
            let Some(mapped) = entry.mapped.take() else {
                return Err(Fault::new(FaultKind::Internal, format!("plan the batch {} twice", run.batch)));
            };
            let (prior, standing) = (prior.get(&entry.key), standing.get(&entry.key));
            let policy = &lane.dataset.on_conflict;
            let known = Known { lane: &lane.id, batch: &run.batch, policy, kinds, prior, standing };
            let (kept, written) = match intent::plan(&entry.key, entry.record, mapped, &known) {
                Planned::Fresh { digest, written } if in_block && entry.key.len() <= LONGEST_KEY => {
                    sheet.block.push((entry.key.clone(), digest));
                    (Kept::Block(sheet.block.len() - 1), Some(written))
                }
                Planned::Fresh { digest, written } => {
                    sheet.items.push(fresh(&lane.id, &run.batch, &entry.key, digest));
                    (Kept::Item(sheet.items.len() - 1), Some(written))
                }
                Planned::Alone { item, written } => {
                    sheet.items.push(*item);
                    (Kept::Item(sheet.items.len() - 1), written)
                }
            };
            if let Some(written) = written {
                sheet.written.push(written);
                sheet.places.push((at, kept));
            }
        }
        let row = self.row(run, BatchState::Running, failed(&sheet.items), "");
        let block = RecordBlock { state: ItemState::Pending, records: std::mem::take(&mut sheet.block) };
        if !block.records.is_empty()
            && lane.once("save a batch's intent", work.save_block(&row, &block, &sheet.items)).await?
        {
            sheet.block = block.records;
        } else {
            sheet.part(&lane.id, &run.batch, block.records);
            lane.once("save a batch's intent", work.save(&row, &sheet.items)).await?;
        }
        self.note_failures(&sheet.items);
        for item in &sheet.items {
            lane.meter.turned(prior.get(&item.key).map(|row| row.state), item.state);
        }
        lane.meter.turned_all(None, ItemState::Pending, sheet.block.len() as u64);
        lane.meter.offer();
        Ok(sheet)
    }

    /// Writes, reads back and says in the ledger what came out; how many records failed.
    async fn carry_out(&self, run: &Run<'_>, sheet: &Sheet) -> Result<u64> {
        let (lane, work) = (self.lane, &self.lane.cx.work);
        let outcomes = write_isolating(lane, &lane.new, &sheet.written).await?;
        let ends = self.read_back(run, sheet, outcomes).await?;
        let verified = ends.iter().any(|end| matches!(end, End::Verified));
        let common = if verified { ItemState::Verified } else { ItemState::Copied };
        let mut items = sheet.items.clone();
        let mut together = 0;
        for ((entry, kept), end) in sheet.places.iter().zip(ends) {
            let state = end.state();
            let item = match *kept {
                Kept::Block(_) if state == common => {
                    together += 1;
                    continue;
                }
                Kept::Block(at) => {
                    let (key, digest) = &sheet.block[at];
                    items.push(fresh(&lane.id, &run.batch, key, *digest));
                    items.last_mut()
                }
                Kept::Item(at) => items.get_mut(at),
            };
            let Some(item) = item else { continue };
            match end {
                End::Rejected(reason) => intent::fail(item, run.entries[*entry].record, &reason),
                End::Copied | End::Verified => item.state = state,
            }
        }
        let failed = failed(&items);
        let done = self.row(run, BatchState::Done, failed, "");
        if sheet.block.is_empty() {
            lane.once("save a batch", work.save(&done, &items)).await?;
        } else {
            if !items.is_empty() {
                let row = self.row(run, BatchState::Running, failed, "");
                lane.once("save a batch", work.save(&row, &items)).await?;
            }
            if !lane.once("save a batch", work.move_block(&done, common)).await? {
                let lost = Fault::new(FaultKind::Internal, format!("save the batch {}", run.batch));
                return Err(lost.detail("the ledger does not have its records"));
            }
        }
        self.note_failures(&items);
        let pending = std::iter::repeat(ItemState::Pending);
        let intended = sheet.items.iter().map(|item| item.state).chain(pending);
        for (from, to) in intended.zip(&items).filter(|(from, item)| *from != item.state) {
            lane.meter.turned(Some(from), to.state);
        }
        lane.meter.turned_all(Some(ItemState::Pending), common, together);
        lane.moved(run.entries.len() as u64, run.bytes);
        lane.meter.landed(run.bytes);
        lane.meter.offer();
        Ok(failed)
    }

    /// Takes back what was copied of records that the filter leaves out by now.
    async fn expel(&self, run: &Run<'_>, prior: &BTreeMap<String, ItemRow>) -> Result<()> {
        let out = run.entries.iter().filter(|entry| matches!(entry.mapped, Some(Ok(None))));
        let written = out.filter_map(|entry| prior.get(&entry.key)).filter(|item| item.state != ItemState::Skipped);
        let written: Vec<ItemRow> = written.cloned().collect();
        undo::take_back_records(self.lane, &written).await.map(|_| ())
    }

    /// What stands in the target under the keys that the run has not seen before: the images that undo restores.
    async fn standing(&self, keys: &[String], prior: &BTreeMap<String, ItemRow>) -> Result<BTreeMap<String, Record>> {
        let unseen: Vec<Key> = keys
            .iter()
            .filter(|key| !prior.contains_key(*key) && !key.starts_with(NO_KEY))
            .map(|key| Key(key.clone()))
            .collect();
        if unseen.is_empty() {
            return Ok(BTreeMap::new());
        }
        let new = &self.lane.new;
        let rows = self.lane.once("fetch what stands in the target", new.store.fetch(&new.set, &unseen)).await?;
        Ok(by_key(rows, &new.set.key))
    }

    /// Reads the batch back: what became of each record that was written. What is not equal stays `Copied` for the
    /// verification to judge: here a difference may still be somebody's write in between.
    async fn read_back(&self, run: &Run<'_>, sheet: &Sheet, outcomes: Vec<WriteOutcome>) -> Result<Vec<End>> {
        let (lane, new) = (self.lane, &self.lane.new);
        let kinds = lane.kinds().await?;
        let mut ends: Vec<End> = outcomes
            .into_iter()
            .map(|outcome| match outcome {
                WriteOutcome::Created | WriteOutcome::Updated => End::Copied,
                WriteOutcome::Rejected(reason) => End::Rejected(reason),
            })
            .collect();
        let copied: Vec<usize> = (0..ends.len()).filter(|at| matches!(ends[*at], End::Copied)).collect();
        let key = |at: usize| &run.entries[sheet.places[at].0].key;
        for some in copied.chunks(READ_BACK) {
            let keys: Vec<Key> = some.iter().map(|at| Key(key(*at).clone())).collect();
            let rows = match lane.once("read a batch back", new.store.fetch(&new.set, &keys)).await {
                Ok(rows) => by_key(rows, &new.set.key),
                // The batch is written; a reader that stumbles is no reason to write it again.
                Err(fault) if fault.kind != FaultKind::Cancelled => return Ok(ends),
                Err(fault) => return Err(fault),
            };
            lane.meter.did(Part::Verified, some.len() as u64);
            for at in some {
                if kinds.holds(rows.get(key(*at)), &sheet.written[*at]) {
                    ends[*at] = End::Verified;
                }
            }
        }
        Ok(ends)
    }

    fn note_failures(&self, items: &[ItemRow]) {
        if let Some(item) = items.iter().find(|item| item.state == ItemState::Failed) {
            let mut kept = self.first_failure.lock().unwrap_or_else(PoisonError::into_inner);
            kept.get_or_insert_with(|| format!("{}: {}", item.key, item.reason));
        }
    }

    /// The name of the lane's batch of this number.
    pub(crate) fn name(&self, number: u64) -> BatchId {
        BatchId::new(format!("{}-{number:04}", self.lane.id))
    }

    fn row(&self, run: &Run<'_>, state: BatchState, failed: u64, error: &str) -> BatchRow {
        let base = run.job.base.as_ref();
        let count = run.entries.len() as u64;
        BatchRow {
            batch: run.batch.clone(),
            lane: self.lane.id.clone(),
            kind: self.lane.kind,
            number: run.job.number,
            state,
            from: run.job.from.clone(),
            next: run.job.next.clone(),
            items: base.map_or(count, |base| base.items.max(count)),
            failed,
            bytes: base.map_or(run.bytes, |base| base.bytes.max(run.bytes)),
            attempts: base.map_or(0, |base| base.attempts) + run.attempt,
            error: error.into(),
            started: Some(base.and_then(|base| base.started).unwrap_or(run.started)),
            finished: matches!(state, BatchState::Done | BatchState::Failed).then(Timestamp::now),
        }
    }

    fn progress(&self, run: &Run<'_>, state: BatchState, failed: u64, error: &str) -> BatchProgress {
        let row = self.row(run, state, failed, error);
        let (done, bytes) = if state == BatchState::Done { (row.items, row.bytes) } else { (0, 0) };
        BatchRow { bytes, attempts: run.attempt.max(1), ..row }.into_progress(done)
    }
}

fn failed(items: &[ItemRow]) -> u64 {
    items.iter().filter(|item| item.state == ItemState::Failed).count() as u64
}
