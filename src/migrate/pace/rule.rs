//! The rules of a pace, which know no clock: they are told what a stretch of time brought and what is to leave.
//!
//! `Tuner` says how many at once. It grows while growing pays, and halves when the other side asks to slow down or stops
//! answering (additive increase, multiplicative decrease, as TCP does). `Schedule` says when: the limits per second are
//! departures at a steady rate (GCRA); a limiter from a library would have to be thrown away on every change of its rate,
//! with what it knows of the last second. Pure.

use crate::model::LaneKind;
use std::time::{Duration, Instant};

/// Stretches without growth after the other side asked to slow down.
const REST: u32 = 10;

/// What is worked on at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unit {
    /// At once to begin with, for each that the plan's `concurrency` says.
    pub(super) per_planned: usize,
    /// The lane does not grow beyond this by itself.
    pub(super) most: usize,
    /// A person may go as far as this.
    pub(super) most_by_hand: usize,
    /// What moving one item is worth in bytes: small files cost requests, not bytes; of rows the bytes are often unknown.
    pub(super) item_worth: u64,
}

impl Unit {
    /// Files, or parts of files.
    pub(super) const FILES: Self = Self { per_planned: 4, most: 128, most_by_hand: 128, item_worth: 128 * 1024 };
    /// Batches of records. Each is held in memory, up to some MiB, so that there are fewer.
    pub(super) const BATCHES: Self = Self { per_planned: 1, most: 8, most_by_hand: 64, item_worth: 256 };

    pub(super) const fn of(kind: LaneKind) -> Self {
        match kind {
            LaneKind::Records => Self::BATCHES,
            LaneKind::Files => Self::FILES,
        }
    }
}

/// The rule: how many at once.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Tuner {
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
pub(super) struct Stretch {
    /// Seconds.
    pub(super) seconds: f64,
    /// Items that ended in it.
    pub(super) items: u64,
    /// Bytes that moved in it.
    pub(super) bytes: u64,
    /// At some time all that may were at work.
    pub(super) full: bool,
}

impl Tuner {
    /// Begins with so many.
    pub(super) fn new(unit: Unit, limit: usize) -> Self {
        let limit = limit.clamp(1, unit.most_by_hand);
        Self { unit, limit, most: unit.most.max(limit), best: 0.0, rest: 0, grew: false, why: String::new() }
    }

    /// How many at once.
    pub(super) const fn limit(&self) -> usize {
        self.limit
    }

    /// Why it is fewer than it could be; empty if it is not.
    pub(super) fn why(&self) -> &str {
        &self.why
    }

    /// The other side asked to slow down, or did not answer in time; `said` is how.
    pub(super) fn trouble(&mut self, said: &str) {
        // Many requests fail together: they are one piece of news.
        if self.rest < REST {
            self.limit = (self.limit / 2).max(1);
            self.why = format!("{} at once after {said}", self.limit);
        }
        (self.rest, self.best, self.grew) = (REST, 0.0, false);
    }

    /// A stretch is over.
    #[expect(clippy::cast_precision_loss, reason = "a rate to compare with another one")]
    pub(super) fn stretch(&mut self, brought: Stretch) {
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
pub(super) struct Schedule {
    pub(super) per_s: Option<u64>,
    next: Option<Instant>,
}

impl Schedule {
    /// How long to wait before so much may leave.
    pub(super) fn wait(&mut self, amount: u64, now: Instant) -> Duration {
        let Some(per_s) = self.per_s.filter(|per_s| *per_s > 0) else { return Duration::ZERO };
        let at = self.next.map_or(now, |next| next.max(now));
        #[expect(clippy::cast_precision_loss, reason = "seconds to wait need no sixteen digits")]
        let takes = Duration::from_secs_f64((amount as f64 / per_s as f64).min(86_400.0));
        self.next = Some(at + takes);
        at - now
    }

    pub(super) fn set(&mut self, per_s: Option<u64>) {
        if self.per_s != per_s {
            (self.per_s, self.next) = (per_s, None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
