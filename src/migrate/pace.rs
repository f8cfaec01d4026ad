//! How much of a lane at once, and how fast: adapts by itself, by hand, and to what the other side asks for. One for
//! every lane: a lane of files counts files, a lane of records batches.
//!
//! `rule` says how much; `Pace` holds work back. Must never enter: ports, the ledger.

mod rule;

use crate::{
    engine::{Signals, Tuning},
    error::{Fault, FaultKind, Result},
    model::{LaneKind, Limits, text},
    plan::MigrationPlan,
};
use rule::{Schedule, Stretch, Tuner, Unit};
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// How long a stretch is.
const STRETCH: Duration = Duration::from_millis(500);
/// Whoever waits for its turn looks this often whether that still holds.
const LOOK_UP: Duration = Duration::from_millis(50);
/// Characters of what the other side said that are told.
const SAID: usize = 100;
/// Bytes that may wait in memory, over all files and parts of a lane.
pub(crate) const MEMORY: u64 = 32 << 20;
/// The unit in which memory is given out.
const GRAIN: u64 = 4096;

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
