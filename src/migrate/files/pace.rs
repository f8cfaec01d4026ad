//! How many files at once, and how fast: adapts by itself, by hand, and to what the other side asks for.
//!
//! `Tuner` is the rule and knows no clock: it is told what a stretch of time brought and says how many at once from now
//! on. It grows while growing pays, and halves when the other side asks to slow down or stops answering (additive
//! increase, multiplicative decrease, as TCP does). `Pace` holds files back. The limits per second are a schedule of
//! departures (GCRA): a limiter from a library would have to be thrown away on every change of its rate, with what it
//! knows of the last second. Must never enter: ports, the ledger.

use crate::{
    engine::{Signals, Tuning},
    error::{FaultKind, Result},
    model::Limits,
};
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// Never more at once than this.
const MOST: usize = 128;
/// How long a stretch is.
const STRETCH: Duration = Duration::from_millis(500);
/// Stretches without growth after the other side asked to slow down.
const REST: u32 = 10;
/// What moving one file is worth in bytes: small files cost requests, not bytes.
const FILE_WORTH: u64 = 128 * 1024;
/// Bytes that may wait in memory, over all files and parts of a lane.
pub(crate) const MEMORY: u64 = 32 << 20;
/// The unit in which memory is given out.
const GRAIN: u64 = 4096;

/// The rule: how many at once.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Tuner {
    limit: usize,
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
    /// Files that ended in it.
    pub(crate) files: u64,
    /// Bytes that moved in it.
    pub(crate) bytes: u64,
    /// At some time all that may were at work.
    pub(crate) full: bool,
}

impl Tuner {
    /// Begins with so many.
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit: limit.clamp(1, MOST), best: 0.0, rest: 0, grew: false, why: String::new() }
    }

    /// How many at once.
    pub(crate) const fn limit(&self) -> usize {
        self.limit
    }

    /// Why it is fewer than it could be; empty if it is not.
    pub(crate) fn why(&self) -> &str {
        &self.why
    }

    /// The other side asked to slow down, or did not answer in time.
    pub(crate) fn trouble(&mut self, kind: FaultKind) {
        // Many requests fail together: they are one piece of news.
        if self.rest < REST {
            self.limit = (self.limit / 2).max(1);
            self.why = format!("{} at once after `{}`", self.limit, kind.word());
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
        let rate = (brought.bytes + brought.files * FILE_WORTH) as f64 / brought.seconds;
        if rate > self.best * 1.05 {
            self.best = rate;
            self.limit = (self.limit + (self.limit / 4).max(1)).min(MOST);
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
}

impl State {
    fn limit(&self) -> usize {
        self.by_hand.unwrap_or_else(|| self.tuner.limit())
    }
}

/// Holds files back until they may go.
pub(crate) struct Pace {
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
    /// Begins with so many at once, and the plan's limits.
    pub(crate) fn new(planned: usize, limits: Limits) -> Arc<Self> {
        let mut state = State {
            tuner: Tuner::new(planned),
            by_hand: None,
            busy: 0,
            began: Instant::now(),
            brought: Stretch::default(),
            bytes: Schedule::default(),
            requests: Schedule::default(),
        };
        state.bytes.set(limits.bytes_per_s);
        state.requests.set(limits.requests_per_s);
        let memory = Arc::new(Semaphore::new(usize::try_from(MEMORY / GRAIN).unwrap_or(1)));
        Arc::new(Self { planned, limits, state: Mutex::new(state), room: Notify::new(), memory })
    }

    /// Does as people changed it; gives how many at once now, and why it is slower than it could be.
    pub(crate) fn follow(&self, tuning: Tuning) -> (usize, String) {
        let mut state = self.lock();
        let before = state.limit();
        let by_hand = self.planned.saturating_add_signed(isize::try_from(tuning.by).unwrap_or(0)).clamp(1, MOST);
        state.by_hand = (tuning.by != 0).then_some(by_hand);
        let limits = tuning.limits.unwrap_or(self.limits);
        state.bytes.set(limits.bytes_per_s);
        state.requests.set(limits.requests_per_s);
        let mut why: Vec<String> = Vec::new();
        why.extend(limits.bytes_per_s.map(|limit| format!("limit {}/s", bytes_in_words(limit))));
        why.extend(limits.requests_per_s.map(|limit| format!("limit {limit} requests/s")));
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

    /// Waits until so many bytes may move.
    pub(crate) async fn bytes(&self, bytes: u64) {
        let wait = self.lock().bytes.wait(bytes, Instant::now());
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
    }

    /// So much has moved.
    pub(crate) fn moved(&self, files: u64, bytes: u64) {
        let mut state = self.lock();
        state.brought.files += files;
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

    /// A request ended badly.
    pub(crate) fn trouble(&self, kind: FaultKind) {
        if matches!(kind, FaultKind::Throttled | FaultKind::Timeout) {
            self.lock().tuner.trouble(kind);
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

    fn brought(bytes: u64) -> Stretch {
        Stretch { seconds: 1.0, files: 0, bytes, full: true }
    }

    #[test]
    fn grows_while_it_pays_and_halves_on_trouble() {
        let mut tuner = Tuner::new(16);
        // A server that is saturated at 40 at once.
        for _ in 0..200 {
            let rate = tuner.limit().min(40) as u64 * 1_000_000;
            tuner.stretch(brought(rate));
        }
        assert!((32..=60).contains(&tuner.limit()), "{}", tuner.limit());
        let before = tuner.limit();
        for _ in 0..5 {
            tuner.trouble(FaultKind::Throttled);
        }
        assert_eq!(tuner.limit(), before / 2, "what fails together counts once");
        assert!(tuner.why().contains("throttled"));
        for _ in 0..200 {
            tuner.stretch(brought(tuner.limit().min(40) as u64 * 1_000_000));
        }
        assert!(tuner.limit() >= 32 && tuner.why().is_empty());
    }

    #[test]
    fn never_below_one_and_never_without_bound() {
        let mut tuner = Tuner::new(3);
        for _ in 0..50 {
            tuner.trouble(FaultKind::Timeout);
            (0..=REST).for_each(|_| tuner.stretch(Stretch::default()));
        }
        assert_eq!(tuner.limit(), 1);
        let mut tuner = Tuner::new(3);
        (1..500).for_each(|n| tuner.stretch(brought(n * n * 1_000_000)));
        assert_eq!(tuner.limit(), MOST);
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
        let pace = Pace::new(2, Limits::default());
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
}
