//! When a gate is go. Pure.

use crate::model::{Check, Timestamp, Verdict, Waiver};

/// Letters a waiver's reason needs.
pub const WAIVER_REASON: usize = 10;

/// What keeps a gate closed at `now`, one line each; empty means go. No evidence at all keeps it closed; a waived check
/// does not, if its waiver has a reason; stale evidence is `Unknown`, and `Unknown` is never `Pass`.
#[must_use]
pub fn obstacles(checks: &[Check], waived: &[Waiver], now: Timestamp) -> Vec<String> {
    if checks.is_empty() {
        return vec!["the evidence has not been measured yet".into()];
    }
    let is_waived = |check: &Check| {
        waived.iter().any(|waiver| waiver.check == check.name && waiver.reason.trim().chars().count() >= WAIVER_REASON)
    };
    checks
        .iter()
        .filter(|check| !is_waived(check))
        .filter_map(|check| match check.counts(now) {
            Verdict::Pass => None,
            Verdict::Fail => Some(format!("{}: {}", check.name, check.value)),
            Verdict::Unknown if check.verdict == Verdict::Unknown => {
                Some(format!("{}: not known ({})", check.name, check.value))
            }
            Verdict::Unknown => Some(format!("{}: stale, {} s old", check.name, check.age(now).as_secs())),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn only_fresh_passes_and_reasoned_waivers_open_a_gate() {
        let pass = Check::new("rows equal", Verdict::Pass, "412 of 412", at(100)).stale_after(Duration::from_secs(60));
        let fail = Check::new("lag", Verdict::Fail, "1.8 s", at(100));
        let unknown = Check::new("rehearsed", Verdict::Unknown, "no data", at(100));
        let waiver = |reason: &str| vec![Waiver { check: "lag".into(), reason: reason.into() }];
        assert_eq!(obstacles(&[], &[], at(100)).len(), 1);
        assert!(obstacles(std::slice::from_ref(&pass), &[], at(160)).is_empty());
        assert_eq!(obstacles(std::slice::from_ref(&pass), &[], at(161)), ["rows equal: stale, 61 s old"]);
        assert_eq!(obstacles(&[pass.clone(), fail.clone()], &[], at(101)), ["lag: 1.8 s"]);
        assert_eq!(obstacles(std::slice::from_ref(&fail), &waiver("too short"), at(101)).len(), 1);
        assert!(obstacles(&[pass, fail], &waiver("lag is from the backup job"), at(101)).is_empty());
        assert_eq!(obstacles(&[unknown], &[], at(101)), ["rehearsed: not known (no data)"]);
    }
}
