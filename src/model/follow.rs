//! How far a lane that follows its source is behind it, whether it keeps up, and how long the drain will take.
//!
//! All times are this machine's: how far a lane is behind is the time since it began the last pass that it finished, which
//! no skew between clocks can make longer or shorter. Must never enter: the source's clock, which only asks for changes.

use super::Timestamp;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Passes kept: what is said of the speed is said of these.
const KEPT: usize = 8;
/// Passes before anything is said of the speed: the first one also carries what changed during the copy.
const ENOUGH: usize = 2;
/// However slow the passes are, a lane that is further behind than so many times what lay between them stands still.
const PATIENCE: u32 = 3;
/// And it is never said to stand still before this.
const SHORTEST_PATIENCE: Duration = Duration::from_secs(10);

/// One pass over what changed in the source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pass {
    /// When it began.
    pub began: Timestamp,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
    /// How much of the source's life it covered, in milliseconds: since the pass before it began.
    pub covered_ms: u64,
    /// Changes it carried.
    pub carried: u64,
}

/// A walk over everything that was carried, which asks the source for each: what is gone, and what changed although its
/// timestamp does not say so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sweep {
    /// When it began.
    pub began: Timestamp,
    /// Up to which key it is, while it is under way.
    pub after: Option<String>,
    /// How long it was at work, in milliseconds.
    pub took_ms: u64,
    /// Items asked for.
    pub looked: u64,
    /// Of these: gone from the source, and taken back.
    pub gone: u64,
    /// Of these: not as they were carried, and moved again.
    pub changed: u64,
}

impl Sweep {
    /// At its beginning.
    #[must_use]
    pub const fn new(began: Timestamp) -> Self {
        Self { began, after: None, took_ms: 0, looked: 0, gone: 0, changed: 0 }
    }
}

/// Why nothing is carried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failing {
    /// Since when.
    pub since: Timestamp,
    /// The last fault, in one line.
    pub why: String,
}

/// A time that is between these.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Between {
    /// At least.
    pub low: Duration,
    /// At most, as far as anybody can tell.
    pub high: Duration,
}

impl std::iter::Sum for Between {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |sum, one| Self { low: sum.low + one.low, high: sum.high + one.high })
    }
}

/// How a lane follows its source. Complete in itself: a later one replaces an earlier one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Follow {
    /// What the source held at this time has arrived; `None` before the copy began.
    pub carried_to: Option<Timestamp>,
    /// Changes that waited when the last pass began, where the store can count them.
    pub waiting: Option<u64>,
    /// The last passes, oldest first.
    pub passes: Vec<Pass>,
    /// The last whole sweep.
    pub swept: Option<Sweep>,
    /// The sweep under way.
    pub sweeping: Option<Sweep>,
    /// What keeps it from following, if anything does.
    pub failing: Option<Failing>,
}

impl Follow {
    /// A lane whose copy begins now.
    #[must_use]
    pub fn from(began: Timestamp) -> Self {
        Self { carried_to: Some(began), ..Self::default() }
    }

    /// A pass was finished.
    pub fn passed(&mut self, began: Timestamp, took: Duration, carried: u64) {
        let took_ms = millis(took);
        let covered = self.carried_to.map_or(took_ms, |before| millis(since(before, began)));
        // The first one follows a copy, however short that was: only from the second on does a pass answer for the one before.
        let covered_ms = if self.passes.is_empty() { covered.max(took_ms) } else { covered };
        self.passes.push(Pass { began, took_ms, covered_ms, carried });
        let surplus = self.passes.len().saturating_sub(KEPT);
        self.passes.drain(..surplus);
        self.carried_to = Some(began);
        self.failing = None;
    }

    /// Something kept it from following; the beginning of that is kept.
    pub fn failed(&mut self, now: Timestamp, why: String) {
        let since = self.failing.as_ref().map_or(now, |failing| failing.since);
        self.failing = Some(Failing { since, why });
    }

    /// How far it is behind: what changed in the source since then may not have arrived.
    #[must_use]
    pub fn lag(&self, now: Timestamp) -> Option<Duration> {
        self.carried_to.map(|to| since(to, now))
    }

    /// Changes in the last pass, and those that waited for it if more are known.
    #[must_use]
    pub fn records(&self) -> Option<u64> {
        let last = self.passes.last().map(|pass| pass.carried);
        self.waiting.max(last)
    }

    /// Changes in the source per second.
    #[must_use]
    pub fn changes_per_s(&self) -> Option<f64> {
        let (carried, covered, _) = self.sums()?;
        (covered > 0).then(|| per_second(carried, covered))
    }

    /// Changes that are carried per second while a pass runs; `None` if nothing changed.
    #[must_use]
    pub fn carried_per_s(&self) -> Option<f64> {
        let (carried, _, took) = self.sums()?;
        (carried > 0 && took > 0).then(|| per_second(carried, took))
    }

    fn sums(&self) -> Option<(u64, u64, u64)> {
        if self.passes.len() < ENOUGH {
            return None;
        }
        let sum = |of: fn(&Pass) -> u64| self.passes.iter().map(of).sum();
        Some((sum(|pass| pass.carried), sum(|pass| pass.covered_ms), sum(|pass| pass.took_ms)))
    }

    /// How much longer it takes to carry what changed in a time than that time: at 1 or more every pass has more to carry
    /// than the one before it, and the lane never arrives.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a ratio")]
    pub fn load(&self) -> Option<f64> {
        let (_, covered, took) = self.sums()?;
        (covered > 0).then(|| took as f64 / covered as f64)
    }

    /// Whether it keeps up with its source; `None` while nobody can tell.
    #[must_use]
    pub fn keeps_up(&self) -> Option<bool> {
        self.load().map(|load| load < 1.0)
    }

    /// How far behind a lane may be that passes as often as this before it must be said that it stands still. Other lanes
    /// have their turn between two passes; the first one covers the copy, which says nothing.
    #[must_use]
    pub fn patience(&self, every: Duration) -> Duration {
        let between = self.passes.iter().skip(1).map(|pass| pass.covered_ms).max();
        let usual = Duration::from_millis(between.unwrap_or_default()).max(every + self.longest());
        usual.saturating_mul(PATIENCE).max(SHORTEST_PATIENCE)
    }

    fn longest(&self) -> Duration {
        let longest = self.passes.iter().map(|pass| pass.took_ms).max();
        Duration::from_millis(longest.unwrap_or_default())
    }

    /// How long the drain of this lane will take: a pass over what changed up to now, one that finds nothing more, and a
    /// whole sweep. `None` while one of them was not measured yet.
    #[must_use]
    pub fn drain(&self, now: Timestamp) -> Option<Between> {
        let (load, lag) = (self.load()?, self.lag(now)?);
        let shortest = Duration::from_millis(self.passes.iter().map(|pass| pass.took_ms).min()?);
        let sweep = Duration::from_millis(self.swept.as_ref()?.took_ms);
        let behind = lag.mul_f64(load.min(10.0)).max(self.longest());
        Some(Between { low: shortest + sweep / 2, high: (behind + self.longest() + sweep) * 2 })
    }
}

fn since(then: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(then)).unwrap_or_default()
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[expect(clippy::cast_precision_loss, reason = "a rate")]
fn per_second(count: u64, ms: u64) -> f64 {
    count as f64 * 1000.0 / ms as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_000_000 + second).unwrap()
    }

    /// A lane that passed so often: when each pass began, how long it took, what it carried.
    fn followed(passes: &[(i64, u64, u64)]) -> Follow {
        let mut follow = Follow::from(at(0));
        for (began, took, carried) in passes {
            follow.passed(at(*began), Duration::from_secs(*took), *carried);
        }
        follow
    }

    #[test]
    fn the_lag_is_the_time_since_the_last_pass_that_was_finished_began() {
        let mut follow = followed(&[(10, 1, 5), (20, 2, 7)]);
        assert_eq!(follow.lag(at(27)), Some(Duration::from_secs(7)));
        follow.failed(at(30), "no answer".into());
        follow.failed(at(40), "still no answer".into());
        assert_eq!(follow.failing.as_ref().map(|failing| failing.since), Some(at(30)));
        assert_eq!(follow.lag(at(50)), Some(Duration::from_secs(30)), "what failed carried nothing");
        follow.passed(at(50), Duration::from_secs(1), 0);
        assert_eq!((follow.lag(at(50)), follow.failing), (Some(Duration::ZERO), None));
        assert_eq!(follow.passes.last().map(|pass| pass.covered_ms), Some(30_000));
        assert_eq!(Follow::default().lag(at(1)), None);
    }

    #[test]
    fn nothing_is_said_of_the_speed_after_one_pass() {
        let follow = followed(&[(10, 1, 5)]);
        assert_eq!((follow.load(), follow.keeps_up(), follow.changes_per_s()), (None, None, None));
        assert_eq!(follow.drain(at(12)), None);
    }

    #[test]
    fn a_source_that_is_slower_than_the_lane_is_kept_up_with() {
        let follow = followed(&[(10, 1, 20), (20, 1, 20), (30, 1, 20)]);
        assert_eq!((follow.changes_per_s(), follow.carried_per_s()), (Some(2.0), Some(20.0)));
        assert_eq!(follow.keeps_up(), Some(true));
        // However long a pass takes: as long as it does not grow the lag does not either.
        assert_eq!(followed(&[(10, 55, 0), (75, 55, 0), (140, 55, 0)]).keeps_up(), Some(true));
    }

    #[test]
    fn a_source_that_is_faster_is_not() {
        let follow = followed(&[(10, 20, 100), (31, 42, 210), (74, 86, 430), (161, 174, 870)]);
        assert!(follow.load().unwrap() > 1.5, "{:?}", follow.load());
        assert_eq!(follow.keeps_up(), Some(false));
    }

    #[test]
    fn only_the_last_passes_count() {
        let mut passes: Vec<_> = (1..=20).map(|n| (n * 100, 200, 1000)).collect();
        passes.extend((21..=28).map(|n| (n * 100, 1, 10)));
        let follow = followed(&passes);
        assert_eq!((follow.passes.len(), follow.keeps_up()), (KEPT, Some(true)));
    }

    #[test]
    fn the_drain_is_forecast_once_everything_in_it_was_measured() {
        let mut follow = followed(&[(10, 1, 20), (20, 2, 20)]);
        assert_eq!(follow.drain(at(21)), None, "no sweep yet");
        follow.swept = Some(Sweep { took_ms: 4_000, ..Sweep::new(at(5)) });
        let soon = follow.drain(at(22)).unwrap();
        assert_eq!((soon.low, soon.high), (Duration::from_secs(3), Duration::from_secs(16)));
        let late = follow.drain(at(200)).unwrap();
        assert!(late.high > soon.high && late.low == soon.low, "{late:?}");
        let both: Between = [soon, late].into_iter().sum();
        assert_eq!(both.low, Duration::from_secs(6));
    }

    #[test]
    fn patience_grows_with_the_passes() {
        let every = Duration::from_secs(10);
        assert_eq!(Follow::default().patience(every), Duration::from_secs(30));
        assert_eq!(followed(&[(500, 60, 1)]).patience(every), Duration::from_secs(210));
        assert_eq!(followed(&[(500, 60, 1), (600, 60, 1)]).patience(every), Duration::from_secs(300));
        assert_eq!(Follow::default().patience(Duration::from_millis(50)), SHORTEST_PATIENCE);
    }
}
