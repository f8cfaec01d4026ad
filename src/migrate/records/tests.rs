use super::{copy, verify, verify_live};
use crate::{
    error::FaultKind,
    migrate::{
        undo_records,
        world::{World, user, users},
    },
    model::{BatchState, ItemState, LaneId, PauseDepth, Value},
    plan::DatasetPlan,
    ports::{Work, fakes::Mishap},
};
use proptest::prelude::*;
use serde_json::json;
use std::{collections::BTreeMap, sync::Arc, time::Duration};

fn lane() -> LaneId {
    LaneId::new("users")
}

/// A world in which three rows stand on the new side already: one that will be overwritten, two that the run must not
/// touch.
fn world(count: u32) -> World {
    let world = World::new(count, 0);
    world.new.put("users", json!({"id": 2, "email": "was here", "own": true}));
    world.new.put("users", json!({"id": 900, "email": "not ours"}));
    world.new.put("users", json!({"id": 901, "email": "not ours either"}));
    world
}

#[tokio::test]
async fn copies_verifies_and_undoes_exactly() {
    let world = world(10);
    let original = world.new.rows("users");
    let cx = world.start();
    let done = copy(&cx, &users()).await.unwrap();
    assert!(done.summary.starts_with("10 records"), "{}", done.summary);
    world.assert_users_arrived();
    assert_eq!(world.states("users"), BTreeMap::from([("Verified".into(), 10)]));
    let found = verify(&cx, &users()).await.unwrap();
    assert!(found.is_same(), "{found:?}");
    assert_eq!((found.source, found.same, found.standing), (10, 10, 2));
    let row = world.new.row("users", "2").unwrap();
    assert_eq!((row.get("own"), row.get("secret")), (Some(&Value::Bool(true)), None));

    let cx = world.start();
    undo_records(&cx, &users()).await.unwrap();
    let mut restored = world.new.rows("users");
    // A store can only write fields, not remove them: what the run added to an overwritten row stays as it was added.
    let row = restored.get_mut("2").unwrap();
    row.0.retain(|field, _| original["2"].get(field).is_some());
    row.0.insert("own".into(), Value::Bool(true));
    assert_eq!(restored, original);
    assert!(world.states("users").is_empty());
    // Undone twice is undone; and the way forward is open again.
    undo_records(&cx, &users()).await.unwrap();
    copy(&cx, &users()).await.unwrap();
    world.assert_users_arrived();
}

#[tokio::test]
async fn an_empty_source_is_copied_at_once() {
    let world = World::new(0, 0);
    let cx = world.start();
    copy(&cx, &users()).await.unwrap();
    assert!(verify(&cx, &users()).await.unwrap().is_same());
}

#[tokio::test]
async fn poison_rows_fail_alone_and_a_retry_mends_them() {
    let mut world = world(10);
    world.new.poison("4");
    world.old.put("users", json!({"id": 5, "email": "no names", "updated_at": ""}));
    let fault = copy(&world.start(), &users()).await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Unmet);
    assert!(fault.detail.contains("poison") || fault.detail.contains("is not there"), "{}", fault.detail);
    world.plan.migration.max_failures = 2;
    copy(&world.start(), &users()).await.unwrap();
    let items = world.work.all(&lane());
    assert_eq!(world.states("users"), BTreeMap::from([("Failed".into(), 2), ("Verified".into(), 8)]));
    assert!(items["4"].reason.contains("poison") && items["5"].reason.contains("`first`"), "{items:?}");
    let found = verify(&world.start(), &users()).await.unwrap();
    assert_eq!((found.missing, found.different, found.same), (2, 0, 8));
    assert!(found.first.iter().any(|difference| difference.what.contains("poison")));
    world.new.heal();
    world.old.put("users", user(5));
    copy(&world.start(), &users()).await.unwrap();
    assert_eq!(world.states("users"), BTreeMap::from([("Verified".into(), 10)]));
    assert!(world.work.batches(None).await.unwrap().iter().all(|row| row.state == BatchState::Done && row.failed == 0));
}

#[tokio::test]
async fn a_batch_refused_as_a_whole_is_halved() {
    let world = World::new(3, 0);
    world.trouble.on("new.write", 1, Mishap::Fail(FaultKind::Refused));
    let cx = world.start();
    world.trouble.on("new.write", 1, Mishap::Fail(FaultKind::Refused));
    copy(&cx, &users()).await.unwrap();
    world.assert_users_arrived();
}

#[tokio::test]
async fn trouble_that_passes_is_waited_out() {
    for mishap in [
        Mishap::Fail(FaultKind::Server),
        Mishap::Lost(FaultKind::Timeout),
        Mishap::Throttled(Duration::from_millis(3)),
        Mishap::Fail(FaultKind::Garbage),
    ] {
        for call in ["old.read", "old.describe", "old.changes", "new.fetch", "new.write", "new.read"] {
            let world = world(7);
            let cx = world.start();
            for nth in 1..=3 {
                world.trouble.on(call, nth, mishap);
            }
            copy(&cx, &users()).await.unwrap_or_else(|fault| panic!("{call} {mishap:?}: {}", fault.chain()));
            world.assert_users_arrived();
            assert_eq!(world.work.all(&lane())["2"].before, Some(json!({"id": 2, "email": "was here", "own": true})));
            assert_eq!(world.work.all(&lane())["3"].before, None, "{call} {mishap:?}");
        }
    }
}

#[tokio::test]
async fn trouble_that_stays_fails_the_lane_and_says_so() {
    let world = world(7);
    let cx = world.start();
    world.trouble.always("new.write", Mishap::Fail(FaultKind::Unreachable));
    assert_eq!(copy(&cx, &users()).await.unwrap_err().kind, FaultKind::Unreachable);
    assert_eq!(world.trouble.calls_of("new.write") % 4, 0, "four attempts each");
    copy(&world.start(), &users()).await.unwrap();
    world.assert_users_arrived();
}

#[tokio::test]
async fn late_writes_and_deletions_are_carried() {
    let world = world(9);
    let cx = world.start();
    copy(&cx, &users()).await.unwrap();
    let before = world.new.written().len();
    world.old.put("users", json!({"id": 3, "first": "New", "last": "Name", "updated_at": ""}));
    world.old.put("users", user(20));
    world.old.remove("users", "7");
    world.old.remove("users", "2");
    copy(&cx, &users()).await.unwrap();
    world.assert_users_arrived();
    let mut written: Vec<String> = world.new.written().drain(before..).map(|key| key.0).collect();
    written.sort();
    assert_eq!(written, ["2", "20", "3"], "only what changed is written");
    assert_eq!(world.new.row("users", "7"), None);
    assert_eq!(world.new.row("users", "2").unwrap().text("email").unwrap(), "was here");
    let found = verify(&cx, &users()).await.unwrap();
    assert!(found.is_same(), "{found:?}");
    assert_eq!((found.source, found.standing), (8, 3));
    assert_eq!(world.states("users"), BTreeMap::from([("Skipped".into(), 2), ("Verified".into(), 8)]));
}

#[tokio::test]
async fn sets_without_a_change_field_are_caught_up_too() {
    let world = world(5);
    let dataset = DatasetPlan { updated: None, ..users() };
    let cx = world.start();
    copy(&cx, &dataset).await.unwrap();
    world.old.put("users", json!({"id": 3, "first": "New", "last": "Name"}));
    copy(&cx, &dataset).await.unwrap();
    world.assert_users_arrived();
}

/// Jobs that know nothing of the maintenance write to the source between copy and comparison.
#[tokio::test]
async fn a_difference_that_the_source_made_after_the_copy_is_told_apart() {
    let world = world(8);
    let cx = world.start();
    copy(&cx, &users()).await.unwrap();
    world.old.put("users", json!({"id": 3, "first": "Late", "last": "Name", "updated_at": ""}));
    world.old.put("users", user(20));
    world.old.remove("users", "7");
    world.new.put("users", json!({"id": 5, "email": "changed"}));
    let found = verify(&cx, &users()).await.unwrap();
    assert_eq!((found.missing, found.different, found.extra, found.late), (1, 2, 1, 3), "{found:?}");
    copy(&cx, &users()).await.unwrap();
    let found = verify(&cx, &users()).await.unwrap();
    assert_eq!((found.is_same(), found.late), (true, 0), "{found:?}");
}

#[tokio::test]
async fn verification_names_what_differs() {
    let world = world(8);
    let cx = world.start();
    copy(&cx, &users()).await.unwrap();
    world.new.put("users", json!({"id": 3, "email": "changed"}));
    world.new.remove("users", "4");
    world.new.put("users", json!({"id": 950, "email": "from nowhere"}));
    let live = verify_live(&cx, &users()).await.unwrap();
    assert_eq!((live.is_same(), live.moved_on, live.same), (true, 3, 6), "{live:?}");
    let found = verify(&cx, &users()).await.unwrap();
    assert_eq!((found.missing, found.different, found.extra, found.same, found.standing), (1, 1, 1, 6, 2), "{found:?}");
    assert_eq!(world.work.all(&lane())["4"].state, ItemState::Failed);
    assert!(world.work.all(&lane())["3"].reason.starts_with("differs in "));
    // Copying again mends both.
    copy(&cx, &users()).await.unwrap();
    world.assert_users_arrived();
}

#[tokio::test]
async fn a_pause_drains_and_a_stop_cuts() {
    let world = Arc::new(World::new(60, 0));
    let cx = world.start();
    let mut gate = world.gate();
    gate.pause.send(Some(PauseDepth::AfterBatch)).unwrap();
    let lane_task = tokio::spawn({
        let cx = cx.clone();
        async move { copy(&cx, &users()).await }
    });
    gate.drained.recv().await.unwrap();
    let calls = world.trouble.calls();
    turn_over().await;
    assert_eq!(world.trouble.calls(), calls, "nothing moves while paused");
    gate.pause.send(None).unwrap();
    while world.new.rows("users").is_empty() {
        tokio::task::yield_now().await;
    }
    cx.signals.stop.cancel();
    assert_eq!(lane_task.await.unwrap().unwrap_err().kind, FaultKind::Cancelled);
    let calls = world.trouble.calls();
    turn_over().await;
    assert_eq!(world.trouble.calls(), calls, "nothing is called after a stop");
    copy(&world.start(), &users()).await.unwrap();
    world.assert_users_arrived();
}

/// Lets everything else that could move, move.
async fn turn_over() {
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
}

/// Kills the run at the given calls, one process after the other, and lets the last one finish.
async fn killed_at(world: &World, kills: &[(u64, Mishap)], undo: bool) {
    for (call, mishap) in kills {
        let cx = world.start();
        world.trouble.at(*call, *mishap);
        let ended = if undo { undo_records(&cx, &users()).await } else { copy(&cx, &users()).await };
        if let Err(fault) = ended {
            assert_eq!(fault.kind, FaultKind::Cancelled, "{}", fault.chain());
        }
    }
    let cx = world.start();
    if undo {
        undo_records(&cx, &users()).await.unwrap();
    } else {
        copy(&cx, &users()).await.unwrap();
    }
}

#[tokio::test]
async fn killed_at_every_call_it_arrives_and_goes_back() {
    let calls = {
        let world = world(8);
        copy(&world.start(), &users()).await.unwrap();
        world.trouble.calls()
    };
    for call in 1..=calls {
        for mishap in [Mishap::Crash, Mishap::CrashAfter] {
            let world = world(8);
            let original = world.new.rows("users");
            killed_at(&world, &[(call, mishap)], false).await;
            world.assert_users_arrived();
            let found = verify(&world.start(), &users()).await.unwrap();
            assert!(found.is_same() && found.standing == 2, "killed at {call}: {found:?}");
            let items = world.work.all(&lane());
            assert_eq!(items.len(), 8);
            for (key, item) in items {
                assert_eq!(item.state, ItemState::Verified, "killed at {call}: {key}");
                assert_eq!(item.before.is_some(), key == "2", "killed at {call}: {key}");
            }
            killed_at(&world, &[(call % 12 + 1, mishap)], true).await;
            let after: Vec<String> = world.new.rows("users").into_keys().collect();
            assert_eq!(after, original.into_keys().collect::<Vec<_>>(), "killed at {call}");
            assert_eq!(world.new.row("users", "2").unwrap().text("email").unwrap(), "was here");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn killed_again_and_again_nothing_is_lost(
        kills in prop::collection::vec((1_u64..40, any::<bool>()), 0..6),
        changes in prop::collection::vec((1_u32..14, any::<bool>()), 0..6),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let world = world(10);
            let mut changes = changes.into_iter();
            for (call, after) in kills {
                killed_at_once(&world, call, after).await;
                match changes.next() {
                    Some((id, true)) => world.old.put("users", user(id)),
                    Some((id, false)) => world.old.remove("users", &id.to_string()),
                    None => {}
                }
            }
            copy(&world.start(), &users()).await.unwrap();
            world.assert_users_arrived();
            let found = verify(&world.start(), &users()).await.unwrap();
            assert!(found.is_same(), "{found:?}");
            undo_records(&world.start(), &users()).await.unwrap();
            let left: Vec<String> = world.new.rows("users").into_keys().collect();
            assert_eq!(left, ["2", "900", "901"]);
            assert_eq!(world.new.row("users", "2").unwrap().text("email").unwrap(), "was here");
        });
    }
}

async fn killed_at_once(world: &World, call: u64, after: bool) {
    let cx = world.start();
    world.trouble.at(call, if after { Mishap::CrashAfter } else { Mishap::Crash });
    if let Err(fault) = copy(&cx, &users()).await {
        assert_eq!(fault.kind, FaultKind::Cancelled, "{}", fault.chain());
    }
}

#[test]
fn a_step_may_hold_it() {
    fn is_send<T: Send>(_: T) {}
    let world = World::new(0, 0);
    let cx = world.start();
    let dataset = users();
    is_send(copy(&cx, &dataset));
    is_send(verify(&cx, &dataset));
    is_send(undo_records(&cx, &dataset));
    is_send(crate::migrate::files::copy(&cx, &dataset));
    is_send(crate::migrate::files::verify(&cx, &dataset, crate::migrate::files::VerifyLevel::Checksum));
}
