//! Moves one batch of records: looks at what stands there, saves the intent, writes, saves what came out, reads back.

use super::intent::{self, Entry, Known, Planned};
use crate::{
    error::{Fault, FaultKind, Result},
    migrate::{
        lane::{Lane, by_key},
        meter::Part,
        undo,
    },
    model::{BatchId, BatchProgress, BatchState, ItemState, Key, Record, Timestamp},
    ports::{BatchRow, ItemRow, WriteOutcome},
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
    first_failure: Mutex<Option<String>>,
}

/// A batch under way.
struct Run<'j> {
    job: &'j Job,
    entries: Vec<Entry<'j>>,
    bytes: u64,
    started: Timestamp,
    attempt: u32,
}

impl<'a> Mover<'a> {
    /// A mover whose next batch has the number after this one.
    pub(crate) const fn new(lane: &'a Lane<'a>, last_number: u64) -> Self {
        Self { lane, last_number: AtomicU64::new(last_number), first_failure: Mutex::new(None) }
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
        self.lane.pace.rows(run.entries.len() as u64, run.bytes, &self.lane.cx.signals).await?;
        loop {
            run.attempt += 1;
            self.lane.meter.batch(true, || self.progress(&run, BatchState::Running, &[], ""));
            match self.attempt(&run).await {
                Ok(items) => {
                    self.lane.meter.last_batch(self.progress(&run, BatchState::Done, &items, "")).await;
                    return Ok(());
                }
                Err(fault) if self.lane.tries_again(&fault, run.attempt) => {
                    self.lane.meter.batch(true, || self.progress(&run, BatchState::Retrying, &[], &fault.chain()));
                    self.lane.wait_after(&fault, run.attempt).await?;
                }
                Err(fault) => return self.give_up(&run, fault).await,
            }
        }
    }

    async fn give_up(&self, run: &Run<'_>, fault: Fault) -> Result<()> {
        if fault.kind != FaultKind::Cancelled {
            let row = self.row(run, BatchState::Failed, &[], &fault.chain());
            if fault.kind != FaultKind::Ledger {
                self.lane.once("save a batch", self.lane.cx.work.save(&row, &[])).await?;
            }
            self.lane.meter.last_batch(self.progress(run, BatchState::Failed, &[], &fault.chain())).await;
        }
        Err(fault)
    }

    /// Maps the records; of two with the same key the later one counts.
    async fn prepare<'j>(&self, job: &'j Job) -> Result<Run<'j>> {
        let mut entries: BTreeMap<String, Entry<'j>> = BTreeMap::new();
        let mut bytes = 0;
        let mapped = self.lane.mapped(&job.records).await?;
        for (place, (record, mapped)) in job.records.iter().zip(mapped).enumerate() {
            let key = match self.lane.mapping.key(record) {
                Some(key) => key.0,
                None => format!("{NO_KEY}{}/{}", self.name(job.number), place + 1),
            };
            if let Ok(Some(mapped)) = &mapped {
                bytes += mapped.to_json().to_string().len() as u64;
            }
            entries.insert(key.clone(), Entry { key, record, mapped });
        }
        Ok(Run { job, entries: entries.into_values().collect(), bytes, started: Timestamp::now(), attempt: 0 })
    }

    async fn attempt(&self, run: &Run<'_>) -> Result<Vec<ItemRow>> {
        let (lane, work) = (self.lane, &self.lane.cx.work);
        let keys: Vec<String> = run.entries.iter().map(|entry| entry.key.clone()).collect();
        let prior = lane.items_of(keys.clone()).await?;
        let standing = self.standing(&keys, &prior).await?;
        self.expel(run, &prior).await?;
        let kinds = lane.kinds().await?;
        let planned = run.entries.iter().map(|entry| {
            let (prior, standing) = (prior.get(&entry.key), standing.get(&entry.key));
            let policy = &lane.dataset.on_conflict;
            let planned = Known { lane: &lane.id, batch: self.name(run.job.number), policy, kinds, prior, standing };
            let Planned { item, written } = intent::plan(entry, planned);
            (item, written)
        });
        let (mut items, written): (Vec<ItemRow>, Vec<Option<Record>>) = planned.unzip();
        let intent = self.row(run, BatchState::Running, &items, "");
        lane.once("save a batch's intent", work.save(&intent, &items)).await?;
        turned(lane, items.iter().map(|item| (prior.get(&item.key).map(|row| row.state), item.state)));

        let intended: Vec<ItemState> = items.iter().map(|item| item.state).collect();
        self.write(run, &mut items, &written).await?;
        let row = self.row(run, BatchState::Done, &items, "");
        lane.once("save a batch", work.save(&row, &items)).await?;
        turned(lane, intended.into_iter().map(Some).zip(items.iter().map(|item| item.state)));
        let first = items.iter().find(|item| item.state == ItemState::Failed);
        if let Some(item) = first {
            let mut kept = self.first_failure.lock().unwrap_or_else(PoisonError::into_inner);
            kept.get_or_insert_with(|| format!("{}: {}", item.key, item.reason));
        }
        lane.moved(items.len() as u64, run.bytes);
        lane.meter.landed(run.bytes);
        self.read_back(&mut items, &written).await?;
        Ok(items)
    }

    /// Takes back what was copied of records that the filter leaves out by now.
    async fn expel(&self, run: &Run<'_>, prior: &BTreeMap<String, ItemRow>) -> Result<()> {
        let out = run.entries.iter().filter(|entry| matches!(entry.mapped, Ok(None)));
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

    /// Writes what is to be written and puts each record's outcome into its item.
    async fn write(&self, run: &Run<'_>, items: &mut [ItemRow], written: &[Option<Record>]) -> Result<()> {
        let good = written.iter().enumerate().filter_map(|(place, record)| Some((place, record.clone()?)));
        let (places, records): (Vec<usize>, Vec<Record>) = good.unzip();
        let outcomes = write_isolating(self.lane, &self.lane.new, &records).await?;
        for (place, outcome) in places.into_iter().zip(outcomes) {
            match outcome {
                WriteOutcome::Created | WriteOutcome::Updated => items[place].state = ItemState::Copied,
                WriteOutcome::Rejected(reason) => {
                    intent::fail(&mut items[place], run.entries[place].record, &reason);
                }
            }
        }
        Ok(())
    }

    /// Reads the batch back and marks what is equal. What is not stays `Copied` for the verification to judge: here a
    /// difference may still be somebody's write in between.
    async fn read_back(&self, items: &mut [ItemRow], written: &[Option<Record>]) -> Result<()> {
        let lane = self.lane;
        let copied: Vec<Key> =
            items.iter().filter(|item| item.state == ItemState::Copied).map(|item| Key(item.key.clone())).collect();
        if copied.is_empty() {
            return Ok(());
        }
        let rows = match lane.once("read a batch back", lane.new.store.fetch(&lane.new.set, &copied)).await {
            Ok(rows) => by_key(rows, &lane.new.set.key),
            // The batch is written and in the ledger; a reader that stumbles is no reason to write it again.
            Err(fault) if fault.kind != FaultKind::Cancelled => return Ok(()),
            Err(fault) => return Err(fault),
        };
        lane.meter.did(Part::Verified, copied.len() as u64);
        let kinds = lane.kinds().await?;
        let mut same = Vec::new();
        for (written, item) in written.iter().zip(items.iter_mut()) {
            if let (ItemState::Copied, Some(written)) = (item.state, written)
                && kinds.holds(rows.get(&item.key), written)
            {
                item.state = ItemState::Verified;
                same.push(item.key.clone());
            }
        }
        lane.once("mark items", lane.cx.work.mark(&lane.id, &same, ItemState::Verified, "")).await?;
        for _ in &same {
            lane.meter.turned(Some(ItemState::Copied), ItemState::Verified);
        }
        lane.meter.offer();
        Ok(())
    }

    /// The name of the lane's batch of this number.
    pub(crate) fn name(&self, number: u64) -> BatchId {
        BatchId::new(format!("{}-{number:04}", self.lane.id))
    }

    fn row(&self, run: &Run<'_>, state: BatchState, items: &[ItemRow], error: &str) -> BatchRow {
        let failed = items.iter().filter(|item| item.state == ItemState::Failed).count() as u64;
        let base = run.job.base.as_ref();
        let count = run.entries.len() as u64;
        BatchRow {
            batch: self.name(run.job.number),
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

    fn progress(&self, run: &Run<'_>, state: BatchState, items: &[ItemRow], error: &str) -> BatchProgress {
        let row = self.row(run, state, items, error);
        let done = items.iter().filter(|item| item.state != ItemState::Pending).count() as u64;
        let (done, bytes) = if state == BatchState::Done { (row.items, row.bytes) } else { (done, 0) };
        BatchRow { bytes, attempts: run.attempt.max(1), ..row }.into_progress(done)
    }
}

fn turned(lane: &Lane<'_>, moves: impl Iterator<Item = (Option<ItemState>, ItemState)>) {
    for (from, to) in moves {
        lane.meter.turned(from, to);
    }
    lane.meter.offer();
}

/// Writes records to a side. A batch that is refused as a whole is halved until the record that cannot be taken stands
/// alone, so that one poison row does not hold back the others.
///
/// # Errors
/// Anything but `Refused`; `Garbage` if the answer does not name every record.
pub(crate) async fn write_isolating(
    lane: &Lane<'_>,
    side: &crate::migrate::lane::Side,
    records: &[Record],
) -> Result<Vec<WriteOutcome>> {
    let mut outcomes = vec![WriteOutcome::Created; records.len()];
    let mut ranges = Vec::new();
    ranges.push(0..records.len());
    let doing = format!("write {} to {}", side.set.name, side.name);
    while let Some(range) = ranges.pop() {
        if range.is_empty() {
            continue;
        }
        match lane.once(&doing, side.store.write(&side.set, &records[range.clone()])).await {
            Ok(list) if list.len() == range.len() => {
                lane.meter.did(Part::Written, range.len() as u64);
                for (place, outcome) in range.zip(list) {
                    outcomes[place] = outcome;
                }
            }
            Ok(list) => {
                let detail = format!("{} records sent, {} answered", range.len(), list.len());
                return Err(Fault::new(FaultKind::Garbage, doing).detail(detail));
            }
            Err(fault) if fault.kind == FaultKind::Refused && range.len() > 1 => {
                let middle = usize::midpoint(range.start, range.end);
                ranges.extend([middle..range.end, range.start..middle]);
            }
            Err(fault) if fault.kind == FaultKind::Refused => {
                outcomes[range.start] = WriteOutcome::Rejected(fault.chain());
            }
            Err(fault) => return Err(fault),
        }
    }
    Ok(outcomes)
}
