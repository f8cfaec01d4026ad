//! What a gate is told of lanes that follow.

use super::{Standing, followed, forecast};
use crate::{
    model::{Follow, LaneId, Sweep, Timestamp, Verdict},
    plan::FollowPlan,
};
use std::time::Duration;

const PLAN: FollowPlan = FollowPlan { every: Duration::from_secs(10), sweep: Duration::from_secs(600) };

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_000_000 + second).unwrap()
}

/// A lane with these passes: when each began, how many seconds it took, what it carried.
fn lane(passes: &[(i64, u64, u64)]) -> Standing {
    let mut follow = Follow::from(at(0));
    for (began, took, carried) in passes {
        follow.passed(at(*began), Duration::from_secs(*took), *carried);
    }
    Standing { lane: LaneId::new("users"), follow, listed: false }
}

fn told(lane: &Standing, failed: u64, now: i64) -> (Verdict, String) {
    let check = followed(lane, PLAN, (failed, 2), at(now));
    assert_eq!(check.name, "users followed");
    (check.verdict, check.value)
}

#[test]
fn a_lane_that_keeps_up_is_go() {
    let lane = lane(&[(10, 1, 30), (21, 1, 12)]);
    let said = "4s behind, 12 changed in the last pass, 2.0/s change and 21.0/s can be carried";
    assert_eq!(told(&lane, 2, 25), (Verdict::Pass, said.into()));
}

#[test]
fn what_was_not_measured_is_not_known() {
    assert_eq!(told(&lane(&[]), 0, 3).0, Verdict::Unknown);
    assert_eq!(told(&lane(&[(10, 1, 30)]), 0, 12).0, Verdict::Unknown);
    let listed = Standing { listed: true, ..lane(&[(10, 1, 30)]) };
    assert_eq!(told(&listed, 0, 300).0, Verdict::Pass, "a bucket is listed as seldom as everything is swept");
}

#[test]
fn a_source_that_is_faster_than_the_lane_is_said_to_be() {
    let (verdict, value) = told(&lane(&[(10, 20, 100), (31, 42, 210), (74, 86, 430), (161, 174, 870)]), 0, 340);
    assert_eq!(verdict, Verdict::Fail);
    assert!(value.starts_with("does not keep up: "), "{value}");
}

#[test]
fn a_lane_that_fails_stands_still_or_lost_too_much_is_no_go() {
    let mut failing = lane(&[(10, 1, 3), (21, 1, 1)]);
    failing.follow.failed(at(30), "read users from old: no answer".into());
    assert_eq!(told(&failing, 0, 90), (Verdict::Fail, "failing for 1m: read users from old: no answer".into()));
    let still = lane(&[(10, 1, 3), (21, 1, 1)]);
    assert!(told(&still, 0, 500).1.starts_with("stands still: 7m59s behind"), "{:?}", told(&still, 0, 500));
    assert!(told(&still, 3, 25).1.starts_with("3 failed; "), "{:?}", told(&still, 3, 25));
}

#[test]
fn the_drain_is_forecast_as_a_range_or_not_at_all() {
    let mut users = lane(&[(10, 1, 3), (21, 1, 1)]);
    assert_eq!(forecast(std::slice::from_ref(&users), at(22)).verdict, Verdict::Unknown);
    users.follow.swept = Some(Sweep { took_ms: 2000, ..Sweep::new(at(12)) });
    let bucket = Standing { listed: true, ..lane(&[]) };
    let check = forecast(&[users, bucket], at(22));
    assert_eq!((check.verdict, check.value.as_str()), (Verdict::Pass, "2.0 to 8.0 s, then both sides are compared",));
}
