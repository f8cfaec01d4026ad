//! Lanes that follow: what timestamps tell and what they do not, deletions, clocks, faults, and death at any moment.

use super::{copy_ahead, drain, forecast, records, round, standing, take_back};
use crate::{
    engine::StepContext,
    error::FaultKind,
    migrate::world::{World, user, users},
    model::{Follow, LaneId, Timestamp},
    plan::{DatasetPlan, FollowPlan},
    ports::{OpenTransactions, Work, fakes::Mishap},
};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use serde_json::json;
use std::time::Duration;

/// Everything is swept in every round.
const OFTEN: FollowPlan = FollowPlan { every: Duration::from_secs(5), sweep: Duration::ZERO };
/// It is swept once, and then not again.
const SELDOM: FollowPlan = FollowPlan { every: Duration::from_secs(5), sweep: Duration::from_secs(3600) };

async fn ahead(world: &World) -> StepContext {
    let cx = world.start();
    copy_ahead(&cx).await.unwrap();
    cx
}

/// A user of this name with a time of long ago.
fn old_user(id: u32, name: &str) -> serde_json::Value {
    json!({"id": id, "first": name, "last": "Old", "updated_at": "1970-01-01T00:00:00Z"})
}

async fn follow_of(cx: &StepContext, lane: &str) -> Follow {
    let all = standing(cx).await.unwrap();
    all.into_iter().find(|one| one.lane == LaneId::new(lane)).unwrap().follow
}

async fn assert_same(world: &World) {
    let cx = world.start();
    for dataset in &cx.plan.datasets {
        let found = records::verify(&cx, dataset).await.unwrap();
        assert!(found.is_same(), "{found:?}");
    }
    world.assert_users_arrived();
}

#[tokio::test]
async fn what_changes_arrives_round_after_round() {
    let world = World::new(12, 4);
    let cx = ahead(&world).await;
    world.assert_users_arrived();
    for n in 0..3 {
        world.old.put("users", json!({"id": 3, "first": format!("Name{n}"), "last": "New", "updated_at": ""}));
        world.old.put("users", user(20 + n));
        world.add_file(10 + n);
        round(&cx, SELDOM).await.unwrap();
        world.assert_users_arrived();
        world.assert_files_arrived();
    }
    let follow = follow_of(&cx, "users").await;
    assert_eq!((follow.passes.len(), follow.keeps_up(), &follow.failing), (3, Some(true), &None));
    assert!(follow.passes.iter().all(|pass| pass.carried == 2), "{follow:?}");
    assert_eq!(follow.waiting, Some(2), "as the store counted them before the pass");
    assert!(forecast(&standing(&cx).await.unwrap(), Timestamp::now()).is_some());
    let done = drain(&cx).await.unwrap();
    assert!(done.summary.starts_with("0 changes carried in ") && done.summary.contains("forecast"), "{}", done.summary);
    assert_same(&world).await;
}

#[tokio::test]
async fn the_drain_carries_what_came_last_and_everything_goes_back() {
    let world = World::new(8, 3);
    let before = (world.new.rows("users"), world.r2.blobs());
    let cx = ahead(&world).await;
    world.old.put("users", user(30));
    world.old.remove("users", "2");
    world.old.put_as_it_is("users", old_user(4, "Untold"));
    let done = drain(&cx).await.unwrap();
    assert!(
        done.summary.starts_with("1 changes carried, 1 gone from the source, 1 changed without a new timestamp"),
        "{}",
        done.summary
    );
    assert_eq!(world.new.row("users", "2"), None);
    assert_same(&world).await;
    assert_eq!(follow_of(&cx, "users").await, Follow::default(), "it follows no more");
    take_back(&world.start()).await.unwrap();
    assert_eq!((world.new.rows("users"), world.r2.blobs()), before);
    take_back(&world.start()).await.unwrap();
}

/// A transaction writes its time when it begins, and is seen when it commits.
#[tokio::test]
async fn a_commit_within_the_overlap_is_carried_by_the_next_pass() {
    let world = World::new(6, 0);
    let cx = ahead(&world).await;
    let began = world.old.clock();
    world.old.put("users", user(20));
    records::follow::pass(&cx, &users()).await.unwrap();
    // Two seconds of overlap: this one began one second before the pass that did not see it.
    world
        .old
        .put_as_it_is("users", json!({"id": 5, "first": "Slow", "last": "Commit", "updated_at": began.to_string()}));
    assert_eq!(records::follow::pass(&cx, &users()).await.unwrap().brought, 1);
    world.assert_users_arrived();
}

/// Where the store tells of open transactions, no overlap has to be guessed.
#[tokio::test]
async fn an_open_transaction_holds_the_watermark_back_and_the_drain_waits_for_it() {
    let world = World::new(6, 0);
    let cx = ahead(&world).await;
    let began = world.old.clock();
    world.old.hold_open(OpenTransactions { oldest: Some(began), writing: Some(began) });
    for n in 0..5 {
        world.old.put("users", user(20 + n));
        records::follow::pass(&cx, &users()).await.unwrap();
    }
    let late = json!({"id": 5, "first": "Very", "last": "Slow", "updated_at": began.to_string()});
    let draining = tokio::spawn({
        let cx = cx.clone();
        async move { drain(&cx).await }
    });
    let asked = world.trouble.calls_of("old.open_transactions");
    while world.trouble.calls_of("old.open_transactions") == asked {
        tokio::task::yield_now().await;
    }
    let read = world.trouble.calls_of("old.changes");
    world.old.put_as_it_is("users", late);
    world.old.hold_open(OpenTransactions::default());
    let done = draining.await.unwrap().unwrap();
    assert!(done.summary.starts_with("1 changes carried in"), "by a pass, not by a sweep: {}", done.summary);
    assert!(world.trouble.calls_of("old.changes") > read);
    assert_same(&world).await;
}

#[tokio::test]
async fn a_commit_after_the_overlap_is_found_by_the_sweep() {
    let world = World::new(6, 0);
    let cx = ahead(&world).await;
    world.old.put_as_it_is("users", old_user(5, "Slow"));
    assert_eq!(records::follow::pass(&cx, &users()).await.unwrap().brought, 0, "no watermark reaches back so far");
    round(&cx, OFTEN).await.unwrap();
    world.assert_users_arrived();
    let swept = follow_of(&cx, "users").await.swept.unwrap();
    assert_eq!((swept.looked, swept.changed, swept.gone), (6, 1, 0));
}

/// A new row that bears a time of long ago is in no ledger: only the comparison of both sides sees it.
#[tokio::test]
async fn a_row_that_comes_with_an_old_time_is_found_by_the_comparison_and_carried() {
    let world = World::new(6, 0);
    let cx = ahead(&world).await;
    world.old.put_as_it_is("users", old_user(70, "Imported"));
    round(&cx, OFTEN).await.unwrap();
    drain(&cx).await.unwrap();
    let found = records::verify(&cx, &users()).await.unwrap();
    assert_eq!((found.missing, found.late), (1, 1), "{found:?}");
    records::copy_again(&cx, &users()).await.unwrap();
    assert_same(&world).await;
}

#[tokio::test]
async fn a_deletion_is_found_although_the_counts_agree() {
    let world = World::new(9, 0);
    let cx = ahead(&world).await;
    round(&cx, SELDOM).await.unwrap();
    world.old.remove("users", "5");
    world.old.put("users", user(40));
    round(&cx, SELDOM).await.unwrap();
    assert!(world.new.row("users", "5").is_some(), "its sweep has not come");
    round(&cx, OFTEN).await.unwrap();
    assert_eq!(world.new.row("users", "5"), None);
    world.assert_users_arrived();
    // And one that comes back is there again.
    world.old.put("users", user(5));
    round(&cx, SELDOM).await.unwrap();
    assert_same(&world).await;
}

#[tokio::test]
async fn a_tombstone_is_heeded_at_once_and_only_if_it_is_true() {
    let world = World::new(9, 0);
    world.old.keep_tombstones();
    let cx = ahead(&world).await;
    round(&cx, SELDOM).await.unwrap();
    world.old.remove("users", "5");
    world.old.remove("users", "6");
    world.old.put("users", user(6));
    round(&cx, SELDOM).await.unwrap();
    assert_eq!(world.new.row("users", "5"), None);
    assert_same(&world).await;
}

#[tokio::test]
async fn clocks_that_are_years_apart_miss_nothing_and_make_no_lag() {
    for year in ["1980-01-01T00:00:00Z", "2100-01-01T00:00:00Z"] {
        let world = World::new(6, 0);
        world.old.set_clock(year.parse().unwrap());
        let cx = ahead(&world).await;
        for n in 0..3 {
            world.old.put("users", user(20 + n));
            round(&cx, SELDOM).await.unwrap();
            world.assert_users_arrived();
        }
        let lag = follow_of(&cx, "users").await.lag(Timestamp::now()).unwrap();
        assert!(lag < Duration::from_secs(3600), "{year}: {lag:?}");
        let calls = world.trouble.calls_of("old.changes");
        assert!(calls > 0, "it asks for changes, not for everything");
    }
}

#[tokio::test]
async fn a_store_that_hides_its_clock_is_read_as_a_whole() {
    let world = World::new(6, 0);
    world.old.hide_clock();
    let cx = ahead(&world).await;
    world.old.put_as_it_is("users", old_user(5, "Hidden"));
    records::follow::pass(&cx, &users()).await.unwrap();
    world.assert_users_arrived();
    assert_eq!(world.trouble.calls_of("old.changes"), 0);
    assert_eq!(follow_of(&cx, "users").await.waiting, None);
}

#[tokio::test]
async fn sets_without_a_time_of_change_are_followed_too() {
    let mut world = World::new(6, 0);
    world.plan.datasets = vec![DatasetPlan { updated: None, ..users() }];
    let cx = ahead(&world).await;
    world.old.put("users", json!({"id": 3, "first": "New", "last": "Name"}));
    round(&cx, SELDOM).await.unwrap();
    world.assert_users_arrived();
}

#[tokio::test]
async fn a_fault_is_kept_until_a_pass_is_through() {
    let world = World::new(6, 2);
    let cx = ahead(&world).await;
    world.trouble.always("old.changes", Mishap::Fail(FaultKind::Unreachable));
    let fault = round(&cx, SELDOM).await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Unreachable);
    let failing = follow_of(&cx, "users").await.failing.unwrap();
    assert!(failing.why.contains("as ordered"), "{failing:?}");
    world.old.put("users", user(20));
    let cx = world.start();
    round(&cx, SELDOM).await.unwrap();
    assert_eq!(follow_of(&cx, "users").await.failing, None);
    world.assert_users_arrived();
}

#[tokio::test]
async fn rows_that_fail_are_tried_again_and_do_not_hold_back_the_others() {
    let world = World::new(6, 0);
    world.new.poison("4");
    let cx = ahead(&world).await;
    world.old.put("users", user(20));
    round(&cx, SELDOM).await.unwrap();
    assert!(world.new.row("users", "20").is_some());
    let failed = || async { world.work.tally(&LaneId::new("users")).await.unwrap().failed };
    assert_eq!(failed().await, 1);
    world.new.heal();
    round(&cx, SELDOM).await.unwrap();
    assert_eq!(failed().await, 0);
    world.assert_users_arrived();
}

/// Children first, and each in its turn, although a sweep of one takes longer than the time between two.
#[tokio::test]
async fn every_lane_is_swept_in_its_turn() {
    let world = World::new(20, 9);
    let cx = ahead(&world).await;
    let hasty = FollowPlan { every: Duration::from_millis(1), sweep: Duration::ZERO };
    for _ in 0..60 {
        round(&cx, hasty).await.unwrap();
    }
    for lane in ["users", "files"] {
        assert!(follow_of(&cx, lane).await.swept.is_some(), "{lane} never had its turn");
    }
}

#[tokio::test]
async fn a_sweep_goes_on_where_it_was() {
    let world = World::new(20, 0);
    let cx = ahead(&world).await;
    let dataset = users();
    let mut pieces = 0;
    // No time at all: a page in each piece.
    while records::follow::sweep(&cx, &dataset, Some(Duration::ZERO)).await.unwrap().is_none() {
        pieces += 1;
        assert!(pieces < 20, "it never ends");
    }
    let follow = follow_of(&cx, "users").await;
    assert_eq!((pieces, follow.swept.unwrap().looked, follow.sweeping), (7, 20, None));
}

/// Somebody changes the source in every way there is.
fn change(world: &World, random: &mut StdRng) {
    let id = random.random_range(1..24);
    match random.random_range(0..5) {
        0 => world.old.put("users", user(id)),
        1 => world.old.put(
            "users",
            json!({"id": id, "first": format!("F{}", random.random_range(0..99)), "last": "L", "updated_at": ""}),
        ),
        2 => world.old.remove("users", &id.to_string()),
        3 if world.old.row("users", &id.to_string()).is_some() => {
            world.old.put_as_it_is("users", old_user(id, "Untold"));
        }
        _ => world.add_file(random.random_range(1..9)),
    }
}

/// Killed at this many moments, one process after the other, while somebody writes: nothing is lost, nothing is left.
const KILLS: u32 = 200;

#[tokio::test]
async fn killed_at_any_moment_and_followed_nothing_is_lost() {
    let seed = std::env::var("CUTOVER_TEST_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(41);
    println!("seed {seed} (CUTOVER_TEST_SEED)");
    let mut random = StdRng::seed_from_u64(seed);
    let mut kills = 0;
    while kills < KILLS {
        let world = World::new(10, 4);
        let before = world.new.rows("users");
        for (stage, times) in [(0, 2), (1, 6), (2, 2)] {
            for _ in 0..times {
                let cx = world.start();
                let mishap = if random.random() { Mishap::Crash } else { Mishap::CrashAfter };
                world.trouble.at(random.random_range(1..60), mishap);
                let ended = match stage {
                    0 => copy_ahead(&cx).await.map(|_| ()),
                    1 => round(&cx, OFTEN).await,
                    _ => drain(&cx).await.map(|_| ()),
                };
                if let Err(fault) = ended {
                    assert_eq!(fault.kind, FaultKind::Cancelled, "{}", fault.chain());
                    kills += 1;
                }
                // Nobody writes any more once it drains.
                (0..if stage < 2 { 3 } else { 0 }).for_each(|_| change(&world, &mut random));
            }
            if stage == 0 {
                copy_ahead(&world.start()).await.unwrap();
            }
        }
        drain(&world.start()).await.unwrap();
        let cx = world.start();
        // As the lanes' own steps do: what only the comparison finds is carried, and compared again.
        for dataset in &cx.plan.datasets {
            records::copy(&cx, dataset).await.unwrap();
            if records::verify(&cx, dataset).await.unwrap().late > 0 {
                records::copy_again(&cx, dataset).await.unwrap();
            }
        }
        crate::migrate::files::copy(&cx, &cx.plan.datasets[1]).await.unwrap();
        assert_same(&world).await;
        world.assert_files_arrived();
        take_back(&world.start()).await.unwrap();
        assert_eq!(world.new.rows("users"), before);
        assert!(world.r2.blobs().is_empty());
    }
}

#[test]
fn the_engine_may_hold_it() {
    fn is_send<T: Send>(_: T) {}
    let world = World::new(0, 0);
    let cx = world.start();
    is_send(round(&cx, OFTEN));
    is_send(copy_ahead(&cx));
    is_send(drain(&cx));
    is_send(take_back(&cx));
}
