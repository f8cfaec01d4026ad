//! How the clocks of both sides differ from this machine's, and from each other.
//!
//! What is carried goes by the source's own clock alone, so that no skew makes it miss a change; but "newest wins" compares
//! times that both sides wrote, and a person reads them. Must never enter: a watermark.

use crate::{
    engine::StepContext,
    error::Result,
    model::{Check, Timestamp, Verdict},
    phases::{
        examine::verdict,
        gather::{self, patiently},
    },
    plan::StorePlan,
    ports::Cursor,
};
use futures::future::join_all;
use jiff::SignedDuration;
use std::collections::BTreeMap;

/// Clocks that differ by more than this make "newest wins" a lottery.
const SKEW: SignedDuration = SignedDuration::from_secs(5);

/// A clock, read over a wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Reading {
    /// How far it is ahead of this machine's.
    ahead: SignedDuration,
    /// Give or take: nobody knows when, between the asking and the answer, it was read.
    give_or_take: SignedDuration,
}

impl Reading {
    /// From what it said between these two moments of this machine's clock.
    fn new(asked: Timestamp, said: Timestamp, heard: Timestamp) -> Self {
        let half = heard.duration_since(asked) / 2;
        let middle = asked.checked_add(half).unwrap_or(heard);
        Self { ahead: said.duration_since(middle), give_or_take: half }
    }

    /// How far it is ahead of this one.
    fn from(self, other: Self) -> Self {
        Self { ahead: self.ahead - other.ahead, give_or_take: self.give_or_take + other.give_or_take }
    }

    /// Near enough.
    fn is_good(self) -> bool {
        self.ahead.abs() <= SKEW
    }

    fn said(self, of: &str) -> String {
        let word = if self.ahead.is_negative() { "behind" } else { "ahead of" };
        let (far, sure) = (self.ahead.abs().as_secs_f64(), self.give_or_take.as_secs_f64());
        format!("{far:.1} s {word} {of}, give or take {sure:.1} s")
    }
}

/// A check for every store that has a clock of its own, and one for every pair that a dataset moves between.
pub(super) async fn check(cx: &StepContext) -> Vec<Check> {
    let mut stores = BTreeMap::new();
    for dataset in &cx.plan.datasets {
        for side in [gather::legacy(cx, dataset), gather::new(cx, dataset)].into_iter().flatten() {
            stores.entry(side.name.clone()).or_insert(side);
        }
    }
    // A file on this machine has this machine's clock.
    stores.retain(|name, _| cx.plan.stores.get(name).is_some_and(StorePlan::has_clock));
    let read = join_all(stores.into_iter().map(|(name, side)| async move {
        let doing = format!("ask {name} for its clock");
        let ask = || async {
            let asked = Timestamp::now();
            let said = side.store.read(&side.set, &Cursor::START, 1).await?.as_of;
            Ok(said.map(|said| Reading::new(asked, said, Timestamp::now())))
        };
        let reading = patiently(cx, &doing, ask).await;
        (name, reading)
    }))
    .await;
    let readings: BTreeMap<&str, Reading> =
        read.iter().filter_map(|(name, read)| Some((name.as_str(), (*read.as_ref().ok()?)?))).collect();
    let pairs = cx.plan.datasets.iter().map(|dataset| (dataset.from.store.as_str(), dataset.to.store.as_str()));
    let pairs: std::collections::BTreeSet<_> = pairs.filter(|(from, to)| from != to).collect();
    let between: Vec<Check> = pairs
        .into_iter()
        .filter_map(|(from, to)| Some(apart(from, to, *readings.get(from)?, *readings.get(to)?)))
        .collect();
    read.iter().map(|(name, read)| clock(name, read)).chain(between).collect()
}

fn apart(from: &str, to: &str, one: Reading, other: Reading) -> Check {
    let apart = one.from(other);
    judged(format!("clocks of {from} and {to}"), apart, &format!("{from} is "), to)
}

fn clock(store: &str, read: &Result<Option<Reading>>) -> Check {
    let name = format!("clock of {store}");
    match read {
        Ok(Some(reading)) => judged(name, *reading, "", "this machine"),
        Ok(None) => Check::new(name, Verdict::Unknown, "it does not say", Timestamp::now())
            .remedy("compare the clocks by hand, then waive this check"),
        Err(fault) => Check::new(name, Verdict::Fail, fault.chain(), Timestamp::now()).remedy(fault.kind.remedy()),
    }
}

fn judged(name: String, reading: Reading, who: &str, of: &str) -> Check {
    let value = format!("{who}{}", reading.said(of));
    verdict(name, reading.is_good(), value, "set both clocks by the same time server")
        .limit(format!("{} s", SKEW.as_secs()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Fault, FaultKind};

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millisecond(ms).unwrap()
    }

    #[test]
    fn a_clock_is_read_in_the_middle_of_the_asking() {
        let fast = Reading::new(at(1_000), at(4_200), at(1_400));
        assert_eq!((fast.ahead.as_millis(), fast.give_or_take.as_millis()), (3_000, 200));
        assert_eq!(fast.said("this machine"), "3.0 s ahead of this machine, give or take 0.2 s");
        let slow = Reading::new(at(10_000), at(7_000), at(10_000));
        assert_eq!(slow.said("this machine"), "3.0 s behind this machine, give or take 0.0 s");
        assert!(fast.is_good() && slow.is_good());
        let between = apart("django", "d1", fast, slow);
        assert_eq!(
            (between.verdict, between.value.as_str()),
            (Verdict::Fail, "django is 6.0 s ahead of d1, give or take 0.2 s",)
        );
    }

    #[test]
    fn a_clock_may_be_a_little_off() {
        let read = |ms: i64| Ok(Some(Reading::new(at(100_000), at(100_000 + ms), at(100_000))));
        let fault = Err(Fault::new(FaultKind::Timeout, "ask"));
        let table = [
            (read(0), Verdict::Pass),
            (read(-4_000), Verdict::Pass),
            (read(5_000), Verdict::Pass),
            (read(6_000), Verdict::Fail),
            (read(-3_600_000), Verdict::Fail),
            (Ok(None), Verdict::Unknown),
            (fault, Verdict::Fail),
        ];
        for (said, wanted) in table {
            assert_eq!(clock("django", &said).verdict, wanted);
        }
    }
}
