//! What was measured lately, and what a metric is over a window of it. Pure: `now` is always an argument.
//!
//! Readings are kept in slots, so that a day of measurements takes no more room than an hour of them.

use crate::ports::Reading;
use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};
use tokio::time::Instant;

/// Slots over the longest window.
const SLOTS: u32 = 600;

/// A metric's value over a window.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Sample {
    /// The value; `None` without samples, which is not zero.
    pub value: Option<f64>,
    /// How many samples stand behind it.
    pub samples: u64,
}

/// Which readings count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Readings that came after this.
    pub after: Instant,
    /// Readings that cover no time before this, if it is said.
    pub from: Option<Instant>,
}

/// Readings that came within a short time of each other.
#[derive(Debug)]
struct Slot {
    /// The earliest time that any of its readings covers.
    from: Instant,
    /// When the first of them came.
    first: Instant,
    /// When the last of them came.
    last: Instant,
    total: u64,
    failed: u64,
    /// Latencies in microseconds with their counts, and their exact sum in milliseconds.
    latency: BTreeMap<u64, u64>,
    latency_sum: f64,
    latency_count: u64,
}

/// The measurements of the last while.
#[derive(Debug)]
pub struct Readings {
    keep: Duration,
    slots: VecDeque<Slot>,
    gauges: BTreeMap<String, VecDeque<(Instant, f64)>>,
    cut: Option<Instant>,
}

impl Readings {
    /// Keeps what came within `keep`.
    #[must_use]
    pub const fn new(keep: Duration) -> Self {
        Self { keep, slots: VecDeque::new(), gauges: BTreeMap::new(), cut: None }
    }

    /// Separates what covers the time before `at` from what comes after: a rule was armed then.
    pub fn cut(&mut self, at: Instant) {
        self.cut = Some(at);
    }

    /// Adds a reading that came at `now` and covers the time since `from`.
    pub fn add(&mut self, from: Instant, now: Instant, reading: &Reading) {
        match reading {
            Reading::Requests { total, failed, latency } => {
                let slot = self.slot(from, now);
                slot.total = slot.total.saturating_add(*total);
                slot.failed = slot.failed.saturating_add(*failed);
                for (millis, count) in latency.iter().filter(|(millis, count)| millis.is_finite() && *count > 0) {
                    let known = slot.latency.entry(micros(*millis)).or_default();
                    *known = known.saturating_add(*count);
                    slot.latency_sum += millis.max(0.0) * float(*count);
                    slot.latency_count = slot.latency_count.saturating_add(*count);
                }
            }
            Reading::Gauge { metric, value } => {
                let series = self.gauges.entry(metric.clone()).or_default();
                series.push_back((now, *value));
                // A gauge is its last value; older ones only count as samples.
                while series.len() > SLOTS as usize {
                    series.pop_front();
                }
            }
        }
        self.forget(now);
    }

    fn slot(&mut self, from: Instant, now: Instant) -> &mut Slot {
        let width = self.keep / SLOTS;
        let cut = self.cut;
        let fits = |slot: &Slot| {
            let side = |from: Instant| cut.is_none_or(|cut| from >= cut);
            now.saturating_duration_since(slot.first) < width && side(slot.from) == side(from)
        };
        if !self.slots.back().is_some_and(fits) {
            self.slots.push_back(Slot {
                from,
                first: now,
                last: now,
                total: 0,
                failed: 0,
                latency: BTreeMap::new(),
                latency_sum: 0.0,
                latency_count: 0,
            });
        }
        // One was pushed if there was none.
        let last = self.slots.len() - 1;
        let slot = &mut self.slots[last];
        slot.from = slot.from.min(from);
        slot.last = now;
        slot
    }

    fn forget(&mut self, now: Instant) {
        let old = |at: Instant| now.saturating_duration_since(at) > self.keep;
        while self.slots.front().is_some_and(|slot| old(slot.last)) {
            self.slots.pop_front();
        }
        for series in self.gauges.values_mut() {
            while series.front().is_some_and(|(at, _)| old(*at)) {
                series.pop_front();
            }
        }
    }

    /// What this metric is over this span.
    #[must_use]
    pub fn sample(&self, metric: &str, span: Span) -> Sample {
        let slots = || {
            self.slots
                .iter()
                .filter(move |slot| slot.last > span.after && span.from.is_none_or(|from| slot.from >= from))
        };
        match metric {
            "error_rate" => {
                let (total, failed) =
                    slots().fold((0_u64, 0_u64), |(total, failed), slot| (total + slot.total, failed + slot.failed));
                let rate = (total > 0).then(|| float(failed.min(total)) / float(total));
                Sample { value: rate, samples: total }
            }
            "mean" => {
                let count = slots().map(|slot| slot.latency_count).sum();
                let sum: f64 = slots().map(|slot| slot.latency_sum).sum();
                Sample { value: (count > 0).then(|| sum / float(count)), samples: count }
            }
            "p95" => percentile_95(slots().map(|slot| &slot.latency)),
            gauge => {
                let series = self.gauges.get(gauge);
                let within = series
                    .into_iter()
                    .flatten()
                    .filter(|(at, _)| *at > span.after && span.from.is_none_or(|from| *at >= from));
                within.fold(Sample::default(), |sample, (_, value)| Sample {
                    value: Some(*value),
                    samples: sample.samples + 1,
                })
            }
        }
    }
}

/// The nearest-rank 95th percentile, exact to a microsecond.
fn percentile_95<'s>(slots: impl Iterator<Item = &'s BTreeMap<u64, u64>>) -> Sample {
    let mut all: BTreeMap<u64, u64> = BTreeMap::new();
    for (micros, count) in slots.flatten() {
        *all.entry(*micros).or_default() += count;
    }
    let samples: u64 = all.values().sum();
    // Rank from 1, rounded up, without leaving whole numbers.
    let rank = u64::try_from((u128::from(samples) * 95).div_ceil(100)).unwrap_or(u64::MAX);
    let mut seen = 0;
    let value = all.iter().find_map(|(micros, count)| {
        seen += count;
        (seen >= rank.max(1)).then(|| float(*micros) / 1000.0)
    });
    Sample { value, samples }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to what fits first")]
fn micros(millis: f64) -> u64 {
    (millis * 1000.0).round().clamp(0.0, 1e15) as u64
}

#[expect(clippy::cast_precision_loss, reason = "counts of a cutover are far below 2^52")]
const fn float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::{Readings, Sample, Span};
    use crate::ports::Reading;
    use std::time::Duration;
    use tokio::time::Instant;

    fn requests(total: u64, failed: u64, latency: &[(f64, u64)]) -> Reading {
        Reading::Requests { total, failed, latency: latency.to_vec() }
    }

    fn some(value: f64, samples: u64) -> Sample {
        Sample { value: Some(value), samples }
    }

    #[test]
    fn metrics_are_weighted_by_counts() {
        let (start, minute) = (Instant::now(), Duration::from_mins(1));
        let mut readings = Readings::new(minute);
        let all = Span { after: start, from: None };
        for metric in ["error_rate", "p95", "mean", "memory"] {
            assert_eq!(readings.sample(metric, all), Sample::default(), "{metric} without samples is no value");
        }
        let at = |seconds| start + Duration::from_secs(seconds);
        readings.add(start, at(1), &requests(90, 0, &[(10.0, 90)]));
        readings.add(at(1), at(2), &requests(10, 5, &[(100.0, 6), (500.0, 4)]));
        readings.add(at(2), at(2), &Reading::Gauge { metric: "memory".into(), value: 3.0 });
        readings.add(at(3), at(3), &Reading::Gauge { metric: "memory".into(), value: 7.0 });
        assert_eq!(readings.sample("error_rate", all), some(0.05, 100));
        assert_eq!(readings.sample("mean", all), some((900.0 + 600.0 + 2000.0) / 100.0, 100));
        assert_eq!(readings.sample("p95", all), some(100.0, 100), "the 95th of 100");
        assert_eq!(readings.sample("memory", all), some(7.0, 2));
        let late = Span { after: at(1), from: None };
        assert_eq!(readings.sample("error_rate", late), some(0.5, 10));
        assert_eq!(readings.sample("p95", late), some(500.0, 10));
    }

    #[test]
    fn zero_requests_are_no_samples() {
        let start = Instant::now();
        let mut readings = Readings::new(Duration::from_mins(1));
        readings.add(start, start + Duration::from_secs(1), &requests(0, 0, &[]));
        assert_eq!(readings.sample("error_rate", Span { after: start, from: None }), Sample::default());
    }

    #[test]
    fn what_covers_time_before_the_cut_does_not_count_after_it() {
        let start = Instant::now();
        // Slots of a second, so that only the cut can separate these.
        let mut readings = Readings::new(Duration::from_mins(10));
        let at = |millis| start + Duration::from_millis(millis);
        readings.add(start, at(100), &requests(10, 10, &[]));
        readings.cut(at(150));
        readings.add(at(100), at(200), &requests(10, 10, &[]));
        readings.add(at(200), at(300), &requests(10, 1, &[]));
        readings.add(at(300), at(400), &requests(10, 1, &[]));
        let armed = Span { after: start, from: Some(at(150)) };
        assert_eq!(readings.sample("error_rate", armed), some(0.1, 20));
        assert_eq!(readings.sample("error_rate", Span { after: start, from: None }), some(22.0 / 40.0, 40));
    }

    #[test]
    fn memory_is_bounded() {
        let start = Instant::now();
        let mut readings = Readings::new(Duration::from_mins(1));
        for step in 0..100_000_u32 {
            let now = start + Duration::from_millis(10) * step;
            readings.add(now, now, &requests(1, 0, &[(f64::from(step % 7), 1)]));
            readings.add(now, now, &Reading::Gauge { metric: "g".into(), value: 1.0 });
        }
        assert!(readings.slots.len() <= 602, "{}", readings.slots.len());
        assert!(readings.gauges["g"].len() <= 600);
    }

    #[test]
    fn hostile_numbers_do_no_harm() {
        let start = Instant::now();
        let mut readings = Readings::new(Duration::from_mins(1));
        let now = start + Duration::from_secs(1);
        readings.add(start, now, &requests(1, 5, &[(f64::NAN, 1), (-3.0, 1), (f64::INFINITY, 2), (1e300, 0)]));
        let all = Span { after: start, from: None };
        assert_eq!(readings.sample("error_rate", all), some(1.0, 1), "never above one");
        assert_eq!(readings.sample("p95", all), some(0.0, 1));
        assert_eq!(readings.sample("mean", all), some(0.0, 1));
    }
}
