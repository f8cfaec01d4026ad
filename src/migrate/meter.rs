//! How far a lane is, and how fast: the one place that turns work into `LaneProgress` and `BatchProgress`.
//!
//! Sends at most ten times a second; the last word of a lane or batch waits for room. Must never enter: ports.

use crate::{
    engine::Reporter,
    error::FaultKind,
    event::EventKind,
    model::{BatchProgress, Follow, ItemState, LaneId, LaneKind, LaneProgress, LaneStage, SlowItem, Speeds, Tally},
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

/// A part of a lane's work that has a speed of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// Records read, from either side.
    Read,
    /// Records brought into the form of the other side.
    Mapped,
    /// Records written and acknowledged.
    Written,
    /// Records compared with the other side.
    Verified,
}

/// What was done lately.
#[derive(Debug, Default)]
struct Lately(VecDeque<(Instant, u64)>);

impl Lately {
    fn add(&mut self, now: Instant, count: u64) {
        match self.0.back_mut() {
            // What comes in small pieces within the sending interval is one point.
            Some((at, sum)) if now.duration_since(*at) < EVERY => *sum += count,
            _ => self.0.push_back((now, count)),
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "a rate on a screen needs no sixteen digits")]
    fn per_s(&mut self, now: Instant) -> f64 {
        while self.0.front().is_some_and(|(at, _)| now.duration_since(*at) > WINDOW) {
            self.0.pop_front();
        }
        let Some((first, _)) = self.0.front() else { return 0.0 };
        let span = now.duration_since(*first).max(EVERY * 5).as_secs_f64();
        self.0.iter().map(|(_, count)| count).sum::<u64>() as f64 / span
    }
}

/// The recent past of a lane.
#[derive(Debug, Default)]
struct Past {
    items: Lately,
    bytes: Lately,
    read: Lately,
    mapped: Lately,
    written: Lately,
    verified: Lately,
}

impl Past {
    fn of(&mut self, part: Part) -> &mut Lately {
        match part {
            Part::Read => &mut self.read,
            Part::Mapped => &mut self.mapped,
            Part::Written => &mut self.written,
            Part::Verified => &mut self.verified,
        }
    }
}

struct State {
    progress: LaneProgress,
    past: Past,
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
            past: Past::default(),
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

    /// The number of items in the source, as far as anybody knows: while they are still listed nobody does.
    pub(crate) fn whole(&self) -> Option<u64> {
        let state = self.lock();
        let progress = &state.progress;
        progress.total.or_else(|| (!progress.listing).then(|| progress.tally.items()))
    }

    /// How the lane follows its source.
    pub(crate) fn set_follow(&self, follow: &Follow) {
        self.lock().progress.follow = Some(Box::new(follow.clone()));
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

    /// A part of the work was done for so many records just now; feeds that part's rate.
    pub(crate) fn did(&self, part: Part, count: u64) {
        self.lock().past.of(part).add(Instant::now(), count);
    }

    /// So many items and bytes were moved just now; feeds the rates.
    pub(crate) fn moved(&self, items: u64, bytes: u64) {
        let mut state = self.lock();
        let now = Instant::now();
        state.past.items.add(now, items);
        state.past.bytes.add(now, bytes);
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
            inner.past = Past::default();
            inner.progress.stage = stage;
            inner.progress.throttle.clear();
            inner.progress.slow.clear();
            inner.progress.listing = false;
            inner.progress.items_per_s = 0.0;
            inner.progress.bytes_per_s = 0.0;
            inner.progress.speeds = Speeds::ZERO;
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

fn measure(state: &mut State, now: Instant) {
    let State { progress, past, .. } = state;
    progress.items_per_s = past.items.per_s(now);
    progress.bytes_per_s = past.bytes.per_s(now);
    progress.speeds = Speeds {
        read: past.read.per_s(now),
        mapped: past.mapped.per_s(now),
        written: past.written.per_s(now),
        verified: past.verified.per_s(now),
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::StepId;
    use tokio::sync::mpsc;

    #[test]
    fn each_part_has_its_own_speed_over_a_short_past() {
        let began = Instant::now();
        let mut past = Past::default();
        for tenth in 0..20 {
            let now = began + EVERY * tenth;
            past.of(Part::Read).add(now, 100);
            past.of(Part::Written).add(now, 10);
        }
        let now = began + EVERY * 20;
        let told = [Part::Read, Part::Written, Part::Verified].map(|part| format!("{:.0}", past.of(part).per_s(now)));
        assert_eq!(told, ["1000", "100", "0"]);
        let later = now + WINDOW * 2;
        assert_eq!((format!("{:.0}", past.of(Part::Read).per_s(later)).as_str(), past.read.0.len()), ("0", 0));
    }

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
