//! What a mover has under way: batches with their sums, files with how far they are, and which faults are a file's own.
//! Must never enter: a bucket, the ledger.

use super::existing::Decision;
use crate::{
    error::{FaultKind, Result},
    model::{BatchProgress, BatchState, ItemState, SlowItem, Timestamp},
    ports::{BatchRow, ItemRow},
};
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// From when on a file is slow, and how many are named.
const SLOW: (Duration, usize) = (Duration::from_secs(3), 5);

/// A file under way.
pub(super) struct Flight {
    pub(super) size: u64,
    pub(super) moved: Arc<AtomicU64>,
    pub(super) since: Instant,
}

/// A batch under way.
pub(super) struct Run {
    pub(super) row: BatchRow,
    pub(super) sums: Mutex<Sums>,
}

#[derive(Default)]
pub(super) struct Sums {
    pub(super) done: u64,
    pub(super) failed: u64,
    pub(super) bytes: u64,
    pub(super) attempt: u32,
    pub(super) unsaved: Vec<ItemRow>,
}

/// The content of a lock, whoever died with it.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Run {
    /// As the ledger keeps it.
    pub(super) fn row(&self, state: BatchState, error: &str) -> BatchRow {
        let sums = lock(&self.sums);
        BatchRow {
            state,
            failed: sums.failed,
            bytes: self.row.bytes + sums.bytes,
            error: error.into(),
            finished: matches!(state, BatchState::Done | BatchState::Failed).then(Timestamp::now),
            ..self.row.clone()
        }
    }

    /// As the screen shows it.
    pub(super) fn progress(&self, state: BatchState, error: &str) -> BatchProgress {
        let row = self.row(state, error);
        let sums = lock(&self.sums);
        let done = if state == BatchState::Done { row.items } else { sums.done };
        BatchRow { attempts: sums.attempt, ..row }.into_progress(done)
    }
}

/// The files that have been under way for longest.
pub(super) fn slow(flights: &BTreeMap<String, Flight>) -> Vec<SlowItem> {
    let mut slow: Vec<SlowItem> = flights
        .iter()
        .filter(|(_, flight)| flight.since.elapsed() >= SLOW.0)
        .map(|(key, flight)| SlowItem {
            key: key.clone(),
            size: flight.size,
            moved: flight.moved.load(Ordering::Relaxed),
            seconds: flight.since.elapsed().as_secs(),
        })
        .collect();
    slow.sort_by_key(|item| std::cmp::Reverse(item.seconds));
    slow.truncate(SLOW.1);
    slow
}

/// Whether this is wrong with one file rather than with a whole side.
pub(super) const fn is_the_files(kind: FaultKind) -> bool {
    matches!(
        kind,
        FaultKind::Garbage
            | FaultKind::Changed
            | FaultKind::Mismatch
            | FaultKind::Server
            | FaultKind::Timeout
            | FaultKind::Throttled
            | FaultKind::Permission
            | FaultKind::Refused
            | FaultKind::NotFound
    )
}

/// A decision that failed for what is wrong with one file ends that file: a key that the bucket refuses to look at, a
/// source that cannot be read. The others go on.
pub(super) fn failed_alone(item: ItemRow, decision: Result<Decision>) -> Result<Decision> {
    use FaultKind::{Changed, Garbage, Mismatch, NotFound, Permission, Refused};
    match decision {
        Err(fault) if matches!(fault.kind, Changed | Garbage | Mismatch | NotFound | Permission | Refused) => {
            let (error, reason) = (Some(fault.kind), fault.chain());
            Ok(Decision::Ended(ItemRow { state: ItemState::Failed, error, reason, ..item }))
        }
        decision => decision,
    }
}
