//! How fast a lane of records goes, and when it ends: its pace, its limits while it runs, and what a failed record does.

use super::copy;
use crate::{
    engine::Tuning,
    error::{Fault, FaultKind},
    migrate::{
        lane::Lane,
        world::{World, user, users},
    },
    model::{LaneId, LaneKind, LaneStage, Limits},
    ports::fakes::Mishap,
};
use std::time::Duration;

#[tokio::test]
async fn a_deadlock_halves_what_the_lane_does_at_once_and_says_why() {
    let mut world = World::new(1, 0);
    world.plan.migration.concurrency = 8;
    let (cx, dataset) = (world.start(), users());
    let lane = Lane::new(&cx, &dataset, LaneKind::Records, LaneStage::Copying).unwrap();
    assert_eq!(lane.room(), 8);
    let deadlock = Fault::new(FaultKind::Timeout, "write users").detail("deadlock detected (40P01)");
    lane.wait_after(&deadlock, 1).await.unwrap();
    lane.wait_after(&deadlock, 1).await.unwrap();
    assert_eq!(lane.room(), 4, "two batches that fail together are one piece of news");
    let (_, why) = lane.pace.follow(Tuning::default());
    assert_eq!(why, "4 at once after `timeout`: deadlock detected (40P01)");
    let gone = Fault::new(FaultKind::Unreachable, "write users");
    lane.wait_after(&gone, 1).await.unwrap();
    assert_eq!(lane.room(), 4, "a server that is away is not too busy");
    let gate = world.gate();
    gate.tune(lane.id.clone(), |tuning| tuning.by = 2);
    assert_eq!(lane.room(), 10, "a person decides against the lane");
    gate.tune(lane.id.clone(), |tuning| tuning.by = 100);
    assert_eq!(lane.room(), 64);
}

#[tokio::test]
async fn a_lane_slowed_by_its_server_still_brings_everything() {
    let mut world = World::new(40, 0);
    world.plan.migration.concurrency = 6;
    let cx = world.start();
    for call in [2, 3, 7] {
        world.trouble.on("new.write", call, Mishap::Throttled(Duration::from_millis(2)));
    }
    copy(&cx, &users()).await.unwrap();
    world.assert_users_arrived();
}

#[tokio::test]
async fn a_limit_holds_the_lane_until_a_person_lifts_it() {
    let mut world = World::new(100, 0);
    // By itself it would take a minute and a half.
    world.plan.migration.limit_rows_per_s = Some(1);
    let (cx, dataset) = (world.start(), users());
    let gate = world.gate();
    let lift = async {
        while world.new.written().is_empty() {
            tokio::task::yield_now().await;
        }
        assert!(world.new.written().len() <= 3 * 2, "one batch, and at most what the others had begun");
        gate.tune(LaneId::new("users"), |tuning| tuning.limits = Some(Limits::default()));
    };
    let (done, ()) = tokio::join!(copy(&cx, &dataset), lift);
    done.unwrap();
    world.assert_users_arrived();
}

#[tokio::test]
async fn without_continue_on_error_the_first_failed_record_ends_the_lane() {
    let mut world = World::new(10, 0);
    world.plan.migration.max_failures = 5;
    world.plan.migration.continue_on_error = false;
    world.new.poison("4");
    let fault = copy(&world.start(), &users()).await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Unmet);
    let said = "1 failed, and `continue_on_error = false` ends the lane at the first; first 4: ";
    assert!(fault.detail.starts_with(said), "{}", fault.detail);
    assert!(world.new.row("users", "10").is_none(), "what comes later does not move");
    world.new.heal();
    copy(&world.start(), &users()).await.unwrap();
    world.assert_users_arrived();
}

#[tokio::test]
async fn a_dataset_says_otherwise_than_the_plan() {
    let mut world = World::new(10, 0);
    world.plan.migration.max_failures = 5;
    world.plan.datasets[0].continue_on_error = Some(false);
    world.new.poison("4");
    assert_eq!(copy(&world.start(), &users()).await.unwrap_err().kind, FaultKind::Unmet);
    world.plan.migration.continue_on_error = false;
    world.plan.datasets[0].continue_on_error = Some(true);
    let done = copy(&world.start(), &users()).await.unwrap();
    assert!(done.summary.contains("1 failed"), "{}", done.summary);
}

#[tokio::test]
async fn a_share_may_fail_of_however_many_there_are() {
    let mut world = World::new(10, 0);
    world.plan.migration.max_failed_share = Some(0.1);
    world.new.poison("4");
    copy(&world.start(), &users()).await.unwrap();
    world.new.poison("7");
    world.old.put("users", user(7));
    let fault = copy(&world.start(), &users()).await.unwrap_err();
    assert!(fault.detail.starts_with("2 failed, 1 may"), "{}", fault.detail);
}
