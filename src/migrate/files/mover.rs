//! Moves what the ledger says is open, batch by batch: decides about each file, saves the intents, moves some at once,
//! saves how they ended.
//!
//! What the order of writes to the ledger guarantees: a file is `Copying`, and what stood there before is kept aside and
//! noted, before the target is touched; so whoever takes over knows every object that may have been written.

use super::{
    FileEntry, FileFacts, FileLane, NO_KEY, batches,
    existing::Decision,
    listing::Lister,
    parts,
    transfer::{Haul, Proof, Sent},
    underway::{self, Flight, Run, Sums, failed_alone, is_the_files, lock},
};
use crate::{
    engine::ByHand,
    error::{Fault, FaultKind, Result},
    migrate::{
        pump::{pump, some_at_a_time},
        records::{GONE, too_many},
    },
    model::{BatchState, ItemState, Timestamp},
    ports::{BatchQuery, BatchRow, ItemQuery, ItemRow},
};
use futures::{Stream, stream};
use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tokio_util::task::AbortOnDropHandle;

/// States of a batch in which something may be left to do.
const OPEN: [BatchState; 5] =
    [BatchState::Pending, BatchState::Running, BatchState::Retrying, BatchState::Failed, BatchState::Undone];
/// Batches read from the ledger at once.
const BATCHES_AHEAD: u32 = 16;
/// Files of one batch worked on at once, as far as the pace allows.
const AT_ONCE: usize = 64;
/// Ended files that wait for being saved, at most.
const UNSAVED: usize = 64;
/// How often what people open again is looked for before the lane leaves it to a later attempt.
const REOPENED: u32 = 8;
/// A file longer than this is saved as soon as it has ended.
const SAVED_AT_ONCE: u64 = 16 << 20;

/// Moves the open batches of a lane of files.
pub(crate) struct Mover<'a> {
    files: &'a FileLane<'a>,
    /// Files moved by this mover, and their bytes.
    pub(crate) carried: (AtomicU64, AtomicU64),
    first_failure: Mutex<Option<String>>,
    errors: Mutex<BTreeMap<&'static str, (FaultKind, u64)>>,
    flights: Mutex<BTreeMap<String, Flight>>,
    /// What people had turned when it was counted last.
    by_hand: Mutex<Vec<ByHand>>,
}

fn by_word(errors: Vec<(FaultKind, u64)>) -> BTreeMap<&'static str, (FaultKind, u64)> {
    errors.into_iter().map(|(kind, sum)| (kind.word(), (kind, sum))).collect()
}

impl<'a> Mover<'a> {
    /// A mover that knows what failed before.
    ///
    /// # Errors
    /// What the ledger says.
    pub(crate) async fn new(files: &'a FileLane<'a>) -> Result<Self> {
        let lane = &files.lane;
        let errors = lane.once("ask the ledger for errors", lane.cx.work.errors(&lane.id)).await?;
        Ok(Self {
            files,
            carried: (AtomicU64::new(0), AtomicU64::new(0)),
            first_failure: Mutex::new(None),
            errors: Mutex::new(by_word(errors)),
            flights: Mutex::default(),
            by_hand: Mutex::new(lane.cx.signals.by_hand(&lane.id)),
        })
    }

    /// # Errors
    /// `Unmet` when more files failed than may.
    pub(crate) fn within_limits(&self) -> Result<()> {
        let first = lock(&self.first_failure).clone();
        too_many(&self.files.lane, self.files.lane.meter.tally().failed, first.as_deref())
    }

    /// Moves what is open until nothing is and the listing has ended.
    ///
    /// # Errors
    /// The fault of a file's last attempt, where it is the server's and not the file's; `Unmet` when too many files of
    /// the lane failed; `Cancelled`.
    pub(crate) async fn drain(&self, lister: &Lister<'_>) -> Result<()> {
        let signals = &self.files.lane.cx.signals;
        // What is listed has a higher number than everything before, so no batch is looked at twice.
        let after = AtomicU64::new(0);
        loop {
            let more = lister.more();
            // Asked before looking: what is listed after the last look is seen by another one.
            let last_look = lister.has_ended();
            self.move_after(&after).await?;
            if last_look {
                return Ok(());
            }
            tokio::select! {
                () = more => {}
                // A pause that begins while nothing is in flight is noticed here.
                () = tokio::time::sleep(Duration::from_millis(50)) => signals.breathe().await?,
                () = signals.stop.cancelled() => return Err(Fault::cancelled("move data")),
            }
        }
    }

    /// Moves what is open now.
    ///
    /// # Errors
    /// As [`Self::drain`].
    pub(crate) async fn move_open(&self) -> Result<()> {
        self.move_after(&AtomicU64::new(0)).await
    }

    /// Moves what is open now in the batches after this number, which becomes that of the last one.
    async fn move_after(&self, after: &AtomicU64) -> Result<()> {
        let room = || self.room();
        pump(&self.files.lane, self.open_batches(after), room, |row| async {
            self.move_batch(row).await?;
            self.within_limits()
        })
        .await
    }

    /// Moves what people opened again in batches that had ended, once nothing else moves.
    ///
    /// # Errors
    /// As [`Self::drain`].
    pub(super) async fn move_reopened(&self) -> Result<()> {
        let lane = &self.files.lane;
        for _ in 0..REOPENED {
            lane.take_stock().await?;
            if lane.meter.tally().open() == 0 {
                break;
            }
            let errors = lane.once("ask the ledger for errors", lane.cx.work.errors(&lane.id)).await?;
            *lock(&self.errors) = by_word(errors);
            *lock(&self.by_hand) = lane.cx.signals.by_hand(&lane.id);
            self.move_open().await?;
        }
        Ok(())
    }

    /// Follows the pace and says how many batches may be worked on at once.
    fn room(&self) -> usize {
        self.count_by_hand();
        self.files.lane.meter.set_trouble(self.errors(), underway::slow(&lock(&self.flights)));
        self.files.room()
    }

    /// Counts what people turned since the last look: the ledger has it already.
    fn count_by_hand(&self) {
        let lane = &self.files.lane;
        let now = lane.cx.signals.by_hand(&lane.id);
        let seen = std::mem::replace(&mut *lock(&self.by_hand), now.clone());
        let mut errors = lock(&self.errors);
        for turned in now {
            let same = |sum: &&ByHand| (sum.from, sum.error, sum.to) == (turned.from, turned.error, turned.to);
            let before = seen.iter().find(same).map_or(0, |sum| sum.count);
            for _ in before..turned.count {
                lane.meter.turned(Some(turned.from), turned.to);
                if let Some((_, sum)) = turned.error.and_then(|kind| errors.get_mut(kind.word())) {
                    *sum = sum.saturating_sub(1);
                }
            }
        }
    }

    fn open_batches<'s>(&'s self, after: &'s AtomicU64) -> impl Stream<Item = Result<BatchRow>> + 's {
        let lane = &self.files.lane;
        stream::try_unfold(VecDeque::new(), move |mut ahead| async move {
            if ahead.is_empty() {
                let (of, states, after) = (Some(lane.id.clone()), OPEN.to_vec(), after.load(Ordering::Relaxed));
                let query = BatchQuery { lane: of, states, after, limit: BATCHES_AHEAD, ..BatchQuery::default() };
                ahead = lane.once("ask the ledger for batches", lane.cx.work.batch_page(&query)).await?.into();
            }
            let Some(row): Option<BatchRow> = ahead.pop_front() else { return Ok(None) };
            after.store(row.number, Ordering::Relaxed);
            if !lane.cx.plan.migration.pace.is_zero() {
                lane.cx.signals.wait(lane.cx.plan.migration.pace).await?;
            }
            Ok(Some((row, ahead)))
        })
    }

    /// Moves what is open of a batch.
    ///
    /// # Errors
    /// As [`Self::drain`], without `Unmet`.
    pub(crate) async fn move_batch(&self, row: BatchRow) -> Result<()> {
        let meter = &self.files.lane.meter;
        let attempt = row.attempts + 1;
        let started = row.started.unwrap_or_else(Timestamp::now);
        let row = BatchRow { started: Some(started), finished: None, attempts: attempt, ..row };
        let run = Run { row, sums: Mutex::new(Sums { attempt, ..Sums::default() }) };
        meter.batch(true, || run.progress(BatchState::Running, ""));
        let ended = self.run(&run).await;
        match &ended {
            Ok(()) => meter.last_batch(run.progress(BatchState::Done, "")).await,
            Err(fault) if fault.kind == FaultKind::Cancelled => {}
            Err(fault) => {
                let why = fault.chain();
                if fault.kind != FaultKind::Ledger {
                    self.flush(&run, BatchState::Failed, &why).await?;
                }
                meter.last_batch(run.progress(BatchState::Failed, &why)).await;
            }
        }
        ended
    }

    async fn run(&self, run: &Run) -> Result<()> {
        let lane = &self.files.lane;
        let states = vec![ItemState::Pending, ItemState::Copying];
        let limit = u32::try_from(run.row.items).unwrap_or(u32::MAX).max(1);
        let batch = Some(run.row.batch.clone());
        let query = ItemQuery { lane: Some(lane.id.clone()), batch, states, limit, ..ItemQuery::default() };
        let items = lane.once("ask the ledger for items", lane.cx.work.items(&query)).await?;
        // Some of them may have been opened again a moment ago.
        self.count_by_hand();
        lock(&run.sums).done = run.row.items.saturating_sub(items.len() as u64);
        let before: Vec<ItemState> = items.iter().map(|item| item.state).collect();
        let decide = |(place, item): (usize, ItemRow)| async move { Ok((place, self.decide(item).await?)) };
        let decisions = some_at_a_time(AT_ONCE, items.into_iter().enumerate().map(decide).collect()).await?;
        let (mut intents, mut moves) = (Vec::new(), Vec::new());
        for (place, decision) in decisions {
            let item = match decision {
                Decision::Ended(item) => item,
                Decision::Move(mut item, only_new) => {
                    item.state = ItemState::Copying;
                    item.attempts += 1;
                    moves.push((item.clone(), only_new));
                    lane.meter.turned(before.get(place).copied(), ItemState::Copying);
                    intents.push(item);
                    continue;
                }
            };
            self.ended(run, before.get(place).copied(), item);
        }
        lock(&run.sums).unsaved.extend(intents);
        self.intend(run).await?;
        let moves = moves.into_iter().map(|(item, only_new)| self.move_one(run, item, only_new)).collect();
        some_at_a_time(AT_ONCE, moves).await?;
        self.flush(run, BatchState::Done, "").await
    }

    async fn decide(&self, item: ItemRow) -> Result<Decision> {
        let (files, facts) = (self.files, FileFacts::of(&item));
        // Whether the bucket guards is of a whole side: what goes wrong with that is no file's.
        files.guards_new().await?;
        if item.attempts == 0 && item.state == ItemState::Pending {
            return failed_alone(item.clone(), files.decide_new(item, &facts).await);
        }
        let decision = failed_alone(item.clone(), files.decide_again(item, &facts).await)?;
        if let Decision::Ended(ended) = &decision {
            // The process may have died between putting the parts together and saying so.
            self.end_upload(&ended.key).await?;
        }
        Ok(decision)
    }

    /// Throws away the upload in parts under this key, if one stands open.
    async fn end_upload(&self, key: &str) -> Result<()> {
        let files = self.files;
        let doing = format!("end the upload of {key}");
        files.lane.call(&doing, || parts::abandon(&files.gear, files.new.as_ref(), key)).await
    }

    /// Moves a file with all its attempts and keeps how it ended.
    async fn move_one(&self, run: &Run, mut item: ItemRow, mut only_new: bool) -> Result<()> {
        let (files, lane) = (self.files, &self.files.lane);
        let place = lane.once("wait for a place", async { Ok(files.gear.pace.place().await) }).await?;
        let mut facts = FileFacts::of(&item);
        let mut attempt = 1;
        let mut unsure = false;
        let sent = loop {
            let haul = Haul { only_new, ..files.haul(&item, &facts) };
            match self.fly(&item.key, haul).await {
                Ok(sent) => break sent,
                Err(fault) if fault.kind == FaultKind::Exists => {
                    // Only a write whose answer was lost can have been the run's own.
                    let known = item.clone();
                    let decision =
                        if unsure { files.decide_again(item, &facts).await } else { self.met(item, &facts).await };
                    match failed_alone(known, decision)? {
                        Decision::Ended(ended) => {
                            self.end_upload(&ended.key).await?;
                            return self.save_ended(run, ended).await;
                        }
                        Decision::Move(again, _) => {
                            item = ItemRow { state: ItemState::Copying, attempts: again.attempts.max(1), ..again };
                            only_new = false;
                            // What stood there must be known before it is overwritten.
                            lock(&run.sums).unsaved.push(item.clone());
                            self.intend(run).await?;
                        }
                    }
                    continue;
                }
                Err(fault) if lane.tries_again(&fault, attempt) => {
                    lane.meter.batch(false, || run.progress(BatchState::Retrying, &fault.chain()));
                    lane.wait_after(&fault, attempt).await?;
                }
                // However often it is tried, this file does not arrive: the others can.
                Err(fault) if is_the_files(fault.kind) => {
                    break Sent::Bad { kind: fault.kind, why: format!("{} after {attempt} attempts", fault.chain()) };
                }
                Err(fault) => return Err(fault),
            }
            unsure = true;
            attempt += 1;
            item.attempts += 1;
            let mut sums = lock(&run.sums);
            sums.attempt = sums.attempt.max(attempt);
        };
        match sent {
            Sent::Proven(Proof { size, digest, version, parts }) => {
                if parts.is_none() && item.attempts > 1 {
                    // It was longer when an earlier attempt began an upload.
                    self.end_upload(&item.key).await?;
                }
                item.state = ItemState::Verified;
                item.bytes = size;
                item.digest = Some(digest);
                if files.is_listing() {
                    facts.size = Some(size);
                    // A bucket that says nothing when a file is read said something when it was listed.
                    facts.version = version.or(facts.version);
                } else {
                    facts.version = version;
                }
                facts.parts = parts;
                item.facts = facts.to_json();
                self.carried.0.fetch_add(1, Ordering::Relaxed);
                self.carried.1.fetch_add(size, Ordering::Relaxed);
            }
            // Deleted since it was listed: there is nothing to be moved, and nobody who misses it.
            Sent::Bad { kind: FaultKind::NotFound, .. } if files.is_listing() => {
                parts::abandon(&files.gear, files.new.as_ref(), &item.key).await?;
                files.take_back(&item).await?;
                item.state = ItemState::Skipped;
                item.reason = GONE.into();
            }
            Sent::Bad { kind, why } => {
                self.end_upload(&item.key).await?;
                item.state = ItemState::Failed;
                item.error = Some(kind);
                item.reason = why;
            }
        }
        drop(place);
        files.gear.pace.moved(1, 0);
        self.save_ended(run, item).await
    }

    /// One attempt, in a task of its own, so that hashing uses all cores; dropping it ends it.
    async fn fly(&self, key: &str, haul: Haul) -> Result<Sent> {
        let flight =
            Flight { size: haul.wanted.size.unwrap_or(0), moved: Arc::clone(&haul.moved), since: Instant::now() };
        lock(&self.flights).insert(key.to_owned(), flight);
        let gear = Arc::clone(&self.files.gear);
        let task = AbortOnDropHandle::new(tokio::spawn(async move { gear.transfer(&haul).await }));
        let ended = task.await;
        lock(&self.flights).remove(key);
        ended.map_err(|error| Fault::new(FaultKind::Internal, format!("copy {key}")).source(error))?
    }

    async fn met(&self, item: ItemRow, facts: &FileFacts) -> Result<Decision> {
        let files = self.files;
        let doing = format!("look for {} in {}", item.key, files.to);
        match files.lane.call(&doing, || files.new.head(&item.key)).await? {
            Some(standing) => files.meet(item, facts, &standing).await,
            None => Ok(Decision::Move(item, false)),
        }
    }

    /// Keeps an item that has ended, in the sums and to be saved.
    fn ended(&self, run: &Run, from: Option<ItemState>, item: ItemRow) {
        self.files.lane.meter.turned(from, item.state);
        if item.state == ItemState::Verified {
            self.files.lane.meter.landed(item.bytes);
        }
        if item.state == ItemState::Failed {
            let kind = item.error.unwrap_or(FaultKind::Unmet);
            lock(&self.errors).entry(kind.word()).or_insert((kind, 0)).1 += 1;
            // At once: a lane that ends on it has no later moment.
            self.files.lane.meter.set_trouble(self.errors(), underway::slow(&lock(&self.flights)));
            tracing::warn!("{}: {} failed: {}", self.files.lane.id, item.key, item.reason);
            lock(&self.first_failure).get_or_insert_with(|| format!("{}: {}", item.key, item.reason));
        }
        let mut sums = lock(&run.sums);
        sums.done += 1;
        sums.bytes += if item.state == ItemState::Verified { item.bytes } else { 0 };
        sums.failed += u64::from(item.state == ItemState::Failed);
        sums.unsaved.push(item);
    }

    async fn save_ended(&self, run: &Run, item: ItemRow) -> Result<()> {
        let lane = &self.files.lane;
        let long = item.bytes > SAVED_AT_ONCE;
        self.ended(run, Some(ItemState::Copying), item);
        lane.meter.moved(1, 0);
        lane.meter.batch(false, || run.progress(BatchState::Running, ""));
        if long || lock(&run.sums).unsaved.len() >= UNSAVED {
            self.flush(run, BatchState::Running, "").await?;
        }
        Ok(())
    }

    /// Saves the batch and what has not been saved of it, before anything is touched that it speaks of.
    async fn intend(&self, run: &Run) -> Result<()> {
        let unsaved = std::mem::take(&mut lock(&run.sums).unsaved);
        let row = run.row(BatchState::Running, "");
        self.files.lane.once("save a batch", self.files.lane.cx.work.save(&row, &unsaved)).await
    }

    /// Saves the batch and how files ended. Whoever does not know it looks at the target again.
    async fn flush(&self, run: &Run, state: BatchState, error: &str) -> Result<()> {
        let unsaved = std::mem::take(&mut lock(&run.sums).unsaved);
        let rows = [run.row(state, error)];
        self.files.lane.once("save a batch", self.files.lane.cx.work.enlist(&rows, &unsaved, &[])).await
    }

    fn errors(&self) -> Vec<(FaultKind, u64)> {
        let mut errors: Vec<(FaultKind, u64)> =
            lock(&self.errors).values().copied().filter(|(_, sum)| *sum > 0).collect();
        errors.sort_by_key(|(_, sum)| std::cmp::Reverse(*sum));
        errors
    }
}

/// Moves these files if the target does not hold them as they are now. Gives files and bytes moved.
///
/// # Errors
/// As [`Mover::drain`].
pub(crate) async fn carry(files: &FileLane<'_>, entries: Vec<FileEntry>) -> Result<(u64, u64)> {
    batches::finish_begun(files).await?;
    files.lane.take_stock().await?;
    let lister = Lister::new(files).await?;
    let mover = Mover::new(files).await?;
    if lister.enlist(entries, None).await? > 0 {
        mover.move_open().await?;
    }
    Ok((mover.carried.0.into_inner(), mover.carried.1.into_inner()))
}

/// An item that is named after a flaw of its record.
pub(crate) fn is_nameless(item: &ItemRow) -> bool {
    [NO_KEY, super::KEY_IN_USE, super::NO_BLOB].iter().any(|mark| item.key.starts_with(mark))
}
