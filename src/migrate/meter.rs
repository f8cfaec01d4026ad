//! How far a lane is, and how fast: the one place that turns work into `LaneProgress` and `BatchProgress`.
//!
//! Sends at most ten times a second; the last word of a lane or batch waits for room. Must never enter: ports.

use crate::{
    engine::Reporter,
    error::FaultKind,
    event::EventKind,
    model::{BatchProgress, Follow, ItemState, LaneId, LaneKind, LaneProgress, LaneStage, SlowItem, Tally},
};
use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// Shortest time between two progress messages of one lane.
const EVERY: Duration = Duration::from_millis(100);
/// Rates are taken over this time.
const WINDOW: Duration = Duration::from_secs(5);

struct State {
    progress: LaneProgress,
    moved: VecDeque<(Instant, u64, u64)>,
    sent: Option<Instant>,
    batch_sent: Option<Instant>,
    slowed: String,
    /// The sums are the ledger's. Until then nothing is sent: it would show an empty lane.
    in_the_know: bool,
}

/// A lane's meter.
pub(crate) struct Meter {
    to: Reporter,
    state: Mutex<State>,
}

impl Meter {
    /// A meter at rest.
    pub(crate) fn new(to: Reporter, lane: LaneId, kind: LaneKind, stage: LaneStage, concurrency: u32) -> Self {
        let progress = LaneProgress { concurrency, ..LaneProgress::new(lane, kind, stage) };
        let inner = State {
            progress,
            moved: VecDeque::new(),
            sent: None,
            batch_sent: None,
            slowed: String::new(),
            in_the_know: false,
        };
        Self { to, state: Mutex::new(inner) }
    }

    /// The sums as the ledger has them.
    pub(crate) fn set_tally(&self, tally: Tally) {
        let mut state = self.lock();
        state.progress.tally = tally;
        state.in_the_know = true;
    }

    /// The sums so far.
    pub(crate) fn tally(&self) -> Tally {
        self.lock().progress.tally
    }

    /// The number of items in the source.
    pub(crate) fn set_total(&self, total: Option<u64>) {
        if total.is_some() {
            self.lock().progress.total = total;
        }
    }

    /// How the lane follows its source.
    pub(crate) fn set_follow(&self, follow: &Follow) {
        self.lock().progress.follow = Some(follow.clone());
    }

    /// Whether more items than are known may come.
    pub(crate) fn set_listing(&self, listing: bool) {
        self.lock().progress.listing = listing;
    }

    /// Failed items by kind.
    pub(crate) fn set_errors(&self, errors: Vec<(FaultKind, u64)>) {
        self.lock().progress.errors = errors;
    }

    /// Failed items by kind, and what has been under way for longest.
    pub(crate) fn set_trouble(&self, errors: Vec<(FaultKind, u64)>, slow: Vec<SlowItem>) {
        let mut state = self.lock();
        state.progress.errors = errors;
        state.progress.slow = slow;
    }

    /// How many are worked on at once.
    pub(crate) fn set_concurrency(&self, concurrency: usize) {
        self.lock().progress.concurrency = u32::try_from(concurrency).unwrap_or(u32::MAX);
    }

    /// Why the lane is slower than it could be; empty when it is not.
    pub(crate) fn throttle(&self, why: impl Into<String>) {
        self.lock().progress.throttle = why.into();
        self.offer();
    }

    /// Why the lane is slower than it could be for longer than a wait; a wait's reason goes before it.
    pub(crate) fn slowed(&self, why: String) {
        self.lock().slowed = why;
    }

    /// An item went from one state to another; `None` if it was not known before.
    pub(crate) fn turned(&self, from: Option<ItemState>, to: ItemState) {
        self.turned_all(from, to, 1);
    }

    /// So many items went from one state to another.
    pub(crate) fn turned_all(&self, from: Option<ItemState>, to: ItemState, count: u64) {
        let mut state = self.lock();
        if let Some(from) = from {
            state.progress.tally.take(from, count);
        }
        state.progress.tally.add(to, count);
    }

    /// The number of items in the source, as far as it is known.
    pub(crate) fn total(&self) -> Option<u64> {
        self.lock().progress.total
    }

    /// One more file was compared.
    pub(crate) fn compared(&self) {
        self.lock().progress.compared += 1;
    }

    /// Payload of items that are done now.
    pub(crate) fn landed(&self, bytes: u64) {
        self.lock().progress.tally.bytes += bytes;
    }

    /// So many items and bytes were moved just now; feeds the rates.
    pub(crate) fn moved(&self, items: u64, bytes: u64) {
        let mut state = self.lock();
        let now = Instant::now();
        state.moved.push_back((now, items, bytes));
        // Streams come in small pieces: neighbours within the sending interval are one point.
        if let [.., (before, more_items, more_bytes), _] = state.moved.make_contiguous()
            && now.duration_since(*before) < EVERY
        {
            *more_items += items;
            *more_bytes += bytes;
            state.moved.pop_back();
        }
        drop(state);
        self.offer();
    }

    /// Sends the progress unless that was done just now.
    pub(crate) fn offer(&self) {
        let mut state = self.lock();
        let now = Instant::now();
        if !state.in_the_know || state.sent.is_some_and(|sent| now.duration_since(sent) < EVERY) {
            return;
        }
        state.sent = Some(now);
        measure(&mut state, now);
        let mut progress = state.progress.clone();
        if progress.throttle.is_empty() {
            progress.throttle.clone_from(&state.slowed);
        }
        self.to.lane(progress);
        if let Some((ratio, note)) = standing(&state.progress) {
            self.to.note(Some(ratio), note);
        }
    }

    /// Sends a batch's progress; of batches that are only a bit further, at most ten a second.
    pub(crate) fn batch(&self, turning_point: bool, progress: impl FnOnce() -> BatchProgress) {
        {
            let mut state = self.lock();
            let now = Instant::now();
            if !turning_point && state.batch_sent.is_some_and(|sent| now.duration_since(sent) < EVERY) {
                return;
            }
            state.batch_sent = Some(now);
        }
        self.to.batch(progress());
    }

    /// Sends a batch's last word.
    pub(crate) async fn last_batch(&self, progress: BatchProgress) {
        self.to.last(EventKind::BatchMoved { progress }).await;
    }

    /// The lane comes to rest in this stage: its last word.
    pub(crate) async fn rest(&self, stage: LaneStage) {
        let progress = {
            let mut inner = self.lock();
            inner.moved.clear();
            inner.progress.stage = stage;
            inner.progress.throttle.clear();
            inner.progress.slow.clear();
            inner.progress.listing = false;
            inner.progress.items_per_s = 0.0;
            inner.progress.bytes_per_s = 0.0;
            inner.progress.clone()
        };
        self.to.last(EventKind::LaneMoved { progress }).await;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How far the lane's step is, for the phase's gauge: a copied item is half the work, one that has ended all of it.
/// `None` while the source has not said how much there is, and on the way back.
#[expect(clippy::cast_precision_loss, reason = "for a gauge")]
fn standing(progress: &LaneProgress) -> Option<(f64, String)> {
    let total = progress.total.filter(|total| *total > 0)?;
    let (doing, done) = match progress.stage {
        LaneStage::Copying => ("copied", progress.tally.copied + progress.tally.ended()),
        LaneStage::Verifying => ("verified", progress.tally.ended()),
        _ => return None,
    };
    let worth = progress.tally.copied as f64 / 2.0 + progress.tally.ended() as f64;
    Some(((worth / total as f64).min(1.0), format!("{done} of {total} {doing}")))
}

#[expect(clippy::cast_precision_loss, reason = "a rate on a screen needs no sixteen digits")]
fn measure(state: &mut State, now: Instant) {
    while state.moved.front().is_some_and(|(at, ..)| now.duration_since(*at) > WINDOW) {
        state.moved.pop_front();
    }
    let (items, bytes) = state.moved.iter().fold((0, 0), |(i, b), (_, items, bytes)| (i + items, b + bytes));
    let first = state.moved.front().map_or(now, |(at, ..)| *at);
    let span = now.duration_since(first).max(EVERY * 5).as_secs_f64();
    state.progress.items_per_s = items as f64 / span;
    state.progress.bytes_per_s = bytes as f64 / span;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::StepId;
    use tokio::sync::mpsc;

    #[tokio::test]
    async fn sends_seldom_and_ends_with_the_truth() {
        let (to, mut from) = mpsc::channel(64);
        let lane = LaneId::new("users");
        let reporter = Reporter::new(StepId::new("data_migration/users"), to);
        let meter = Meter::new(reporter, lane, LaneKind::Records, LaneStage::Copying, 4);
        meter.set_tally(Tally::default());
        for _ in 0..1000 {
            meter.turned(None, ItemState::Pending);
            meter.turned(Some(ItemState::Pending), ItemState::Copied);
            meter.moved(1, 10);
        }
        meter.rest(LaneStage::Done).await;
        drop(meter);
        let mut all = Vec::new();
        while let Some(EventKind::LaneMoved { progress }) = from.recv().await {
            all.push(progress);
        }
        assert!(all.len() < 60, "{}", all.len());
        let last = all.last().unwrap();
        assert_eq!((last.stage, last.tally.copied, last.tally.pending), (LaneStage::Done, 1000, 0));
    }
}
