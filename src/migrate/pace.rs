//! How much of a lane at once, and how fast: adapts by itself, by hand, and to what the other side asks for. One for
//! every lane: a lane of files counts files, a lane of records batches.
//!
//! `Tuner` is the rule and knows no clock: it is told what a stretch of time brought and says how many at once from now
//! on. It grows while growing pays, and halves when the other side asks to slow down or stops answering (additive
//! increase, multiplicative decrease, as TCP does). `Pace` holds work back. The limits per second are a schedule of
//! departures (GCRA): a limiter from a library would have to be thrown away on every change of its rate, with what it
//! knows of the last second. Must never enter: ports, the ledger.

use crate::{
    engine::{Signals, Tuning},
    error::{Fault, FaultKind, Result},
    model::{LaneKind, Limits, text},
    plan::MigrationPlan,
};
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// How long a stretch is.
const STRETCH: Duration = Duration::from_millis(500);
/// Stretches without growth after the other side asked to slow down.
const REST: u32 = 10;
/// Whoever waits for its turn looks this often whether that still holds.
const LOOK_UP: Duration = Duration::from_millis(50);
/// Characters of what the other side said that are told.
const SAID: usize = 100;
/// Bytes that may wait in memory, over all files and parts of a lane.
pub(crate) const MEMORY: u64 = 32 << 20;
/// The unit in which memory is given out.
const GRAIN: u64 = 4096;

/// What is worked on at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unit {
    /// At once to begin with, for each that the plan's `concurrency` says.
    per_planned: usize,
    /// The lane does not grow beyond this by itself.
    most: usize,
    /// A person may go as far as this.
    most_by_hand: usize,
    /// What moving one item is worth in bytes: small files cost requests, not bytes; of rows the bytes are often unknown.
    item_worth: u64,
}

impl Unit {
    /// Files, or parts of files.
    const FILES: Self = Self { per_planned: 4, most: 128, most_by_hand: 128, item_worth: 128 * 1024 };
    /// Batches of records. Each is held in memory, up to some MiB, so that there are fewer.
    const BATCHES: Self = Self { per_planned: 1, most: 8, most_by_hand: 64, item_worth: 256 };

    const fn of(kind: LaneKind) -> Self {
        match kind {
            LaneKind::Records => Self::BATCHES,
            LaneKind::Files => Self::FILES,
        }
    }
}

/// The rule: how many at once.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Tuner {
    unit: Unit,
    limit: usize,
    /// It grows to this by itself: as many as the plan says, if that is more than its own bound.
    most: usize,
    best: f64,
    rest: u32,
    grew: bool,
    why: String,
}

/// What a stretch of time brought.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Stretch {
    /// Seconds.
    pub(crate) seconds: f64,
    /// Items that ended in it.
    pub(crate) items: u64,
    /// Bytes that moved in it.
    pub(crate) bytes: u64,
    /// At some time all that may were at work.
    pub(crate) full: bool,
}

impl Tuner {
    /// Begins with so many.
    pub(crate) fn new(unit: Unit, limit: usize) -> Self {
        let limit = limit.clamp(1, unit.most_by_hand);
        Self { unit, limit, most: unit.most.max(limit), best: 0.0, rest: 0, grew: false, why: String::new() }
    }

    /// How many at once.
    pub(crate) const fn limit(&self) -> usize {
        self.limit
    }

    /// Why it is fewer than it could be; empty if it is not.
    pub(crate) fn why(&self) -> &str {
        &self.why
    }

    /// The other side asked to slow down, or did not answer in time; `said` is how.
    pub(crate) fn trouble(&mut self, said: &str) {
        // Many requests fail together: they are one piece of news.
        if self.rest < REST {
            self.limit = (self.limit / 2).max(1);
            self.why = format!("{} at once after {said}", self.limit);
        }
        (self.rest, self.best, self.grew) = (REST, 0.0, false);
    }

    /// A stretch is over.
    #[expect(clippy::cast_precision_loss, reason = "a rate to compare with another one")]
    pub(crate) fn stretch(&mut self, brought: Stretch) {
        if self.rest > 0 {
            self.rest -= 1;
            return;
        }
        if !brought.full || brought.seconds <= 0.0 {
            return;
        }
        let rate = (brought.bytes + brought.items * self.unit.item_worth) as f64 / brought.seconds;
        if rate > self.best * 1.05 {
            self.best = rate;
            self.limit = (self.limit + (self.limit / 4).max(1)).min(self.most);
            self.grew = true;
            self.why.clear();
        } else {
            if self.grew {
                // The last growth brought nothing: it is taken back.
                self.limit = (self.limit - self.limit / 5).max(1);
                self.grew = false;
            }
            // What was best once need not be possible any more.
            self.best *= 0.98;
        }
    }
}

/// Departures at a steady rate.
#[derive(Debug, Default)]
struct Schedule {
    per_s: Option<u64>,
    next: Option<Instant>,
}

impl Schedule {
    /// How long to wait before so much may leave.
    fn wait(&mut self, amount: u64, now: Instant) -> Duration {
        let Some(per_s) = self.per_s.filter(|per_s| *per_s > 0) else { return Duration::ZERO };
        let at = self.next.map_or(now, |next| next.max(now));
        #[expect(clippy::cast_precision_loss, reason = "seconds to wait need no sixteen digits")]
        let takes = Duration::from_secs_f64((amount as f64 / per_s as f64).min(86_400.0));
        self.next = Some(at + takes);
        at - now
    }

    fn set(&mut self, per_s: Option<u64>) {
        if self.per_s != per_s {
            (self.per_s, self.next) = (per_s, None);
        }
    }
}

struct State {
    tuner: Tuner,
    by_hand: Option<usize>,
    busy: usize,
    began: Instant,
    brought: Stretch,
    bytes: Schedule,
    requests: Schedule,
    rows: Schedule,
    /// Counts the changes of the limits.
    changes: u64,
}

impl State {
    fn limit(&self) -> usize {
        self.by_hand.unwrap_or_else(|| self.tuner.limit())
    }

    fn keep_to(&mut self, limits: Limits) {
        let before = (self.bytes.per_s, self.requests.per_s, self.rows.per_s);
        self.changes += u64::from(before != (limits.bytes_per_s, limits.requests_per_s, limits.rows_per_s));
        self.bytes.set(limits.bytes_per_s);
        self.requests.set(limits.requests_per_s);
        self.rows.set(limits.rows_per_s);
    }
}

/// Holds the work of a lane back until it may go.
pub(crate) struct Pace {
    unit: Unit,
    planned: usize,
    limits: Limits,
    state: Mutex<State>,
    room: Notify,
    memory: Arc<Semaphore>,
}

/// One file, or one part of a file, may move while this lives.
pub(crate) struct Place {
    pace: Arc<Pace>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.pace.lock().busy -= 1;
        self.pace.room.notify_one();
    }
}

impl Pace {
    /// The pace of a lane of this kind, as the plan says.
    pub(crate) fn of(kind: LaneKind, migration: &MigrationPlan) -> Arc<Self> {
        Self::new(Unit::of(kind), migration.concurrency, migration.limits(kind))
    }

    /// Begins with what the plan says.
    fn new(unit: Unit, concurrency: u32, limits: Limits) -> Arc<Self> {
        let planned = usize::try_from(concurrency).unwrap_or(1) * unit.per_planned;
        let mut state = State {
            tuner: Tuner::new(unit, planned),
            by_hand: None,
            busy: 0,
            began: Instant::now(),
            brought: Stretch::default(),
            bytes: Schedule::default(),
            requests: Schedule::default(),
            rows: Schedule::default(),
            changes: 0,
        };
        state.keep_to(limits);
        let memory = Arc::new(Semaphore::new(usize::try_from(MEMORY / GRAIN).unwrap_or(1)));
        Arc::new(Self { unit, planned, limits, state: Mutex::new(state), room: Notify::new(), memory })
    }

    /// Does as people changed it; gives how many at once now, and why it is slower than it could be.
    pub(crate) fn follow(&self, tuning: Tuning) -> (usize, String) {
        let mut state = self.lock();
        let before = state.limit();
        let by_hand = self.planned.saturating_add_signed(isize::try_from(tuning.by).unwrap_or(0));
        state.by_hand = (tuning.by != 0).then_some(by_hand.clamp(1, self.unit.most_by_hand));
        let limits = tuning.limits.unwrap_or(self.limits);
        state.keep_to(limits);
        let mut why: Vec<String> = Vec::new();
        why.extend(limits.bytes_per_s.map(|limit| format!("limit {}/s", bytes_in_words(limit))));
        why.extend(limits.requests_per_s.map(|limit| format!("limit {limit} requests/s")));
        why.extend(limits.rows_per_s.map(|limit| format!("limit {limit} rows/s")));
        match state.by_hand {
            Some(by_hand) => why.push(format!("{by_hand} at once by hand")),
            None if !state.tuner.why().is_empty() => why.push(state.tuner.why().to_owned()),
            None => {}
        }
        let limit = state.limit();
        drop(state);
        if limit > before {
            self.room.notify_waiters();
        }
        (limit, why.join(", "))
    }

    /// Waits for a place.
    pub(crate) async fn place(self: &Arc<Self>) -> Place {
        loop {
            let room = self.room.notified();
            {
                let mut state = self.lock();
                let limit = state.limit();
                if state.busy < limit {
                    state.busy += 1;
                    state.brought.full |= state.busy == limit;
                    return Place { pace: Arc::clone(self) };
                }
            }
            room.await;
        }
    }

    /// Waits until so many bytes may be kept in memory.
    pub(crate) async fn memory(&self, bytes: u64) -> Option<OwnedSemaphorePermit> {
        let grains = u32::try_from(bytes.min(MEMORY).div_ceil(GRAIN)).unwrap_or(1);
        // The semaphore is never closed.
        Arc::clone(&self.memory).acquire_many_owned(grains).await.ok()
    }

    /// Waits until another request may be sent.
    ///
    /// # Errors
    /// `Cancelled` when stopped.
    pub(crate) async fn request(&self, signals: &Signals) -> Result<()> {
        let wait = self.lock().requests.wait(1, Instant::now());
        if wait.is_zero() { Ok(()) } else { signals.wait(wait).await }
    }

    /// Waits until so many records of so many bytes may move. A pause ends the wait: a batch under way shall drain.
    ///
    /// # Errors
    /// `Cancelled` when stopped.
    pub(crate) async fn rows(&self, rows: u64, bytes: u64, signals: &Signals) -> Result<()> {
        let mut turn = None;
        loop {
            let due = {
                let (mut state, now) = (self.lock(), Instant::now());
                match turn {
                    // A limit that was changed meanwhile gives a new turn.
                    Some((due, changes)) if changes == state.changes => due,
                    _ => {
                        let due = now + state.rows.wait(rows, now).max(state.bytes.wait(bytes, now));
                        turn = Some((due, state.changes));
                        due
                    }
                }
            };
            let left = due.saturating_duration_since(Instant::now());
            if left.is_zero() || signals.pausing() {
                return Ok(());
            }
            signals.wait(left.min(LOOK_UP)).await?;
        }
    }

    /// All that may are at work, and more could be.
    pub(crate) fn crowded(&self) {
        self.lock().brought.full = true;
    }

    /// Waits until so many bytes may move.
    pub(crate) async fn bytes(&self, bytes: u64) {
        let wait = self.lock().bytes.wait(bytes, Instant::now());
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
    }

    /// So much has moved.
    pub(crate) fn moved(&self, items: u64, bytes: u64) {
        let mut state = self.lock();
        state.brought.items += items;
        state.brought.bytes += bytes;
        let elapsed = state.began.elapsed();
        if elapsed >= STRETCH {
            let brought = Stretch { seconds: elapsed.as_secs_f64(), ..state.brought };
            let before = state.limit();
            state.tuner.stretch(brought);
            (state.began, state.brought) = (Instant::now(), Stretch::default());
            let grew = state.limit() > before;
            drop(state);
            if grew {
                self.room.notify_waiters();
            }
        }
    }

    /// A request ended badly: only news of a side that has too much to do count, as being asked to slow down, no answer in
    /// time, a lock that did not come, a deadlock.
    pub(crate) fn trouble(&self, fault: &Fault) {
        if matches!(fault.kind, FaultKind::Throttled | FaultKind::Timeout) {
            let word = fault.kind.word();
            let said = match text::clean(&fault.detail, SAID) {
                said if said.is_empty() => format!("`{word}`"),
                said => format!("`{word}`: {said}"),
            };
            self.lock().tuner.trouble(&said);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn bytes_in_words(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} B"),
        1024..1_048_576 => format!("{} KiB", bytes / 1024),
        _ => format!("{} MiB", bytes / 1_048_576),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio_util::sync::CancellationToken;

    fn brought(bytes: u64) -> Stretch {
        Stretch { seconds: 1.0, items: 0, bytes, full: true }
    }

    #[test]
    fn grows_while_it_pays_and_halves_on_trouble() {
        // A server that is saturated at 40 files, or at 6 batches, at once.
        for (unit, begins, best, range) in [(Unit::FILES, 16, 40, 32..=60), (Unit::BATCHES, 4, 6, 5..=8)] {
            let mut tuner = Tuner::new(unit, begins);
            let serve = |tuner: &mut Tuner| {
                for _ in 0..200 {
                    let rate = tuner.limit().min(best) as u64 * 1_000_000;
                    tuner.stretch(brought(rate));
                }
            };
            serve(&mut tuner);
            assert!(range.contains(&tuner.limit()), "{unit:?}: {}", tuner.limit());
            let before = tuner.limit();
            for _ in 0..5 {
                tuner.trouble("`throttled`");
            }
            assert_eq!(tuner.limit(), before / 2, "what fails together counts once");
            assert!(tuner.why().contains("throttled"));
            serve(&mut tuner);
            assert!(range.contains(&tuner.limit()) && tuner.why().is_empty(), "{unit:?}: {}", tuner.limit());
        }
    }

    #[test]
    fn never_below_one_and_never_without_bound() {
        for unit in [Unit::FILES, Unit::BATCHES] {
            let mut tuner = Tuner::new(unit, 3);
            for _ in 0..50 {
                tuner.trouble("`timeout`");
                (0..=REST).for_each(|_| tuner.stretch(Stretch::default()));
            }
            assert_eq!(tuner.limit(), 1);
            let grows = |begins| {
                let mut tuner = Tuner::new(unit, begins);
                (1..500).for_each(|n| tuner.stretch(brought(n * n * 1_000_000)));
                tuner.limit()
            };
            assert_eq!(grows(3), unit.most);
            assert_eq!(grows(unit.most_by_hand), unit.most_by_hand, "a plan that says more keeps it");
        }
    }

    #[test]
    fn departures_keep_the_rate() {
        let mut schedule = Schedule { per_s: Some(1000), next: None };
        let now = Instant::now();
        let waits: Vec<u128> = (0..5).map(|_| schedule.wait(500, now).as_millis()).collect();
        assert_eq!(waits, [0, 500, 1000, 1500, 2000]);
        schedule.set(None);
        assert_eq!(schedule.wait(1 << 40, now), Duration::ZERO);
    }

    #[tokio::test]
    async fn a_place_is_free_again_when_it_is_left_and_more_by_hand() {
        let unit = Unit { per_planned: 1, ..Unit::FILES };
        let pace = Pace::new(unit, 2, Limits::default());
        let (first, _second) = (pace.place().await, pace.place().await);
        let mut third = Box::pin(pace.place());
        assert!(futures::poll!(&mut third).is_pending());
        drop(first);
        let _third = third.await;
        let mut fourth = Box::pin(pace.place());
        assert!(futures::poll!(&mut fourth).is_pending());
        let (limit, why) = pace.follow(Tuning { by: 1, limits: None });
        assert_eq!((limit, why.as_str()), (3, "3 at once by hand"));
        let _fourth = fourth.await;
    }

    #[tokio::test]
    async fn rows_wait_for_their_turn_until_the_limit_is_lifted_or_the_lane_drains() {
        let (signals, gate) = Signals::new(CancellationToken::new());
        let slow = Limits { rows_per_s: Some(1), ..Limits::default() };
        let pace = Pace::new(Unit::BATCHES, 2, slow);
        // The first leaves at once, the next would leave in a day.
        pace.rows(86_400, 0, &signals).await.unwrap();
        let mut lifted = Box::pin(pace.rows(1, 0, &signals));
        assert!(futures::poll!(&mut lifted).is_pending());
        let (_, why) = pace.follow(Tuning::default());
        assert_eq!(why, "limit 1 rows/s");
        pace.follow(Tuning { by: 0, limits: Some(Limits::default()) });
        lifted.await.unwrap();
        pace.follow(Tuning { by: 0, limits: Some(Limits { bytes_per_s: Some(1), ..Limits::default() }) });
        pace.rows(1, 86_400, &signals).await.unwrap();
        let mut drains = Box::pin(pace.rows(1, 1, &signals));
        assert!(futures::poll!(&mut drains).is_pending());
        gate.pause.send_replace(Some(crate::model::PauseDepth::AfterBatch));
        drains.await.unwrap();
        signals.stop.cancel();
        gate.pause.send_replace(None);
        assert_eq!(pace.rows(1, 1, &signals).await.unwrap_err().kind, FaultKind::Cancelled);
    }

    #[test]
    fn only_a_side_that_has_too_much_to_do_is_trouble() {
        let pace = Pace::new(Unit::BATCHES, 8, Limits::default());
        let fault = |kind, detail: &str| Fault::new(kind, "write").detail(detail);
        for kind in [FaultKind::Unreachable, FaultKind::Server, FaultKind::Garbage, FaultKind::Refused] {
            pace.trouble(&fault(kind, "no"));
        }
        assert_eq!(pace.follow(Tuning::default()), (8, String::new()));
        pace.trouble(&fault(FaultKind::Timeout, "deadlock detected (40P01)"));
        let why = "4 at once after `timeout`: deadlock detected (40P01)";
        assert_eq!(pace.follow(Tuning::default()), (4, why.into()));
    }
}
