//! Lanes between two stores that move rows in bulk: the same ends as record by record, also when they are killed.

use super::{audit, audited, copy, verify, verify_live};
use crate::{
    error::FaultKind,
    migrate::{
        undo_records,
        world::{World, user, users},
    },
    model::{ItemState, LaneId},
    plan::DatasetPlan,
    ports::{Work, fakes::Mishap},
};
use proptest::prelude::*;
use serde_json::json;
use std::collections::BTreeMap;

fn lane() -> LaneId {
    LaneId::new("users")
}

/// Nothing is computed or left out: lines go as they are.
fn plain() -> DatasetPlan {
    DatasetPlan { map: BTreeMap::new(), drop: vec![], ..users() }
}

/// Between stores of one dialect, and of two.
const BOTH: [fn(u32) -> World; 2] = [World::in_bulk, World::across];

/// A world in which three rows stand on the new side already.
fn world(made: fn(u32) -> World, count: u32) -> World {
    let world = made(count);
    world.new.put("users", json!({"id": 2, "email": "was here", "own": true}));
    world.new.put("users", json!({"id": 900, "email": "not ours"}));
    world.new.put("users", json!({"id": 901, "email": "not ours either"}));
    world
}

#[tokio::test]
async fn whole_pages_move_as_one_and_are_known_one_by_one() {
    for (dataset, made) in [users(), plain()].into_iter().flat_map(|dataset| BOTH.map(|made| (dataset.clone(), made))) {
        let world = made(40);
        let cx = world.start();
        copy(&cx, &dataset).await.unwrap();
        assert_eq!((world.trouble.calls_of("new.insert_block"), world.trouble.calls_of("new.write")), (14, 0));
        assert_eq!(world.states("users"), BTreeMap::from([("Copied".into(), 40)]));
        let fetched = world.trouble.calls_of("new.fetch");
        let found = verify(&cx, &dataset).await.unwrap();
        assert!(found.is_same(), "{found:?}");
        assert_eq!((found.source, found.same, world.trouble.calls_of("new.fetch") - fetched), (40, 40, 0));
        assert_eq!(world.states("users"), BTreeMap::from([("Verified".into(), 40)]));
        if dataset.map.is_empty() {
            assert_eq!(world.old.rows("users"), world.new.rows("users"));
        } else {
            world.assert_users_arrived();
            assert_eq!(world.new.row("users", "3").unwrap().text("name").unwrap(), "First3 Last3");
        }
        undo_records(&cx, &dataset).await.unwrap();
        assert!(world.new.rows("users").is_empty() && world.states("users").is_empty());
        copy(&cx, &dataset).await.unwrap();
        assert_eq!(world.new.rows("users").len(), 40);
    }
}

#[tokio::test]
async fn a_row_that_stood_there_is_kept_to_be_restored() {
    for (made, whole) in BOTH.into_iter().zip([1, 2]) {
        let world = world(made, 9);
        let cx = world.start();
        copy(&cx, &users()).await.unwrap();
        // Between two dialects only the keys themselves count, not what stands beside them.
        assert_eq!(world.trouble.calls_of("new.insert_block"), whole, "pages with rows go record by record");
        let items = world.work.all(&lane());
        assert_eq!(items["2"].before, Some(json!({"id": 2, "email": "was here", "own": true})));
        assert!(items.iter().all(|(key, item)| key == "2" || item.before.is_none()));
        let found = verify(&cx, &users()).await.unwrap();
        assert!(found.is_same() && found.standing == 2, "{found:?}");
        undo_records(&cx, &users()).await.unwrap();
        assert_eq!(world.new.rows("users").into_keys().collect::<Vec<_>>(), ["2", "900", "901"]);
        assert_eq!(world.new.row("users", "2").unwrap().text("email").unwrap(), "was here");
    }
}

#[tokio::test]
async fn what_cannot_go_as_one_goes_alone() {
    for made in BOTH {
        let mut world = made(12);
        world.plan.migration.max_failures = 2;
        world.new.poison("5");
        world.old.put("users", json!({"id": 8, "email": "no names", "first": null, "updated_at": ""}));
        let dataset = DatasetPlan { map: BTreeMap::from([("name".into(), "first[1:] ~ last".into())]), ..users() };
        copy(&world.start(), &dataset).await.unwrap();
        let items = world.work.all(&lane());
        assert!(items["5"].reason.contains("poison"), "{:?}", items["5"]);
        assert_eq!(items["4"].state, ItemState::Verified, "its neighbour was read back");
        assert_eq!(items["1"].state, ItemState::Copied, "it went with its page");
        let found = verify(&world.start(), &dataset).await.unwrap();
        assert!(found.missing >= 1 && found.same >= 10, "{found:?}");
    }
}

#[tokio::test]
async fn what_the_filter_leaves_out_is_counted() {
    for made in BOTH {
        let world = made(12);
        let mut dataset = users();
        dataset.fields.filter = Some("id % 4 != 0".into());
        let cx = world.start();
        copy(&cx, &dataset).await.unwrap();
        assert_eq!(world.states("users"), BTreeMap::from([("Copied".into(), 9), ("Skipped".into(), 3)]));
        let found = verify(&cx, &dataset).await.unwrap();
        assert!(found.is_same(), "{found:?}");
        assert_eq!((found.source, found.same, found.left_out), (12, 9, 3));
        world.new.put("users", user(4));
        let found = verify(&cx, &dataset).await.unwrap();
        assert_eq!((found.same, found.left_out), (9, 3), "{found:?}");
    }
}

#[tokio::test]
async fn differences_are_found_and_named() {
    for (dataset, made) in [users(), plain()].into_iter().flat_map(|dataset| BOTH.map(|made| (dataset.clone(), made))) {
        let world = made(20);
        let cx = world.start();
        copy(&cx, &dataset).await.unwrap();
        verify(&cx, &dataset).await.unwrap();
        let mut changed = world.new.row("users", "3").unwrap().to_json();
        changed["email"] = "changed".into();
        world.new.put("users", changed);
        world.new.remove("users", "14");
        world.new.put("users", json!({"id": 950, "email": "from nowhere"}));
        let live = verify_live(&cx, &dataset).await.unwrap();
        assert_eq!((live.is_same(), live.moved_on, live.same), (true, 3, 18), "{live:?}");
        let asked = audit(&cx, &dataset, false, true).await.unwrap();
        assert_eq!((asked.differs, asked.only_in_source, asked.only_in_target, asked.same), (1, 1, 1, 18), "{asked:?}");
        let found = verify(&cx, &dataset).await.unwrap();
        assert_eq!((found.missing, found.different, found.extra, found.same), (1, 1, 1, 18), "{found:?}");
        let kept = audited(world.work.as_ref(), &lane()).await.unwrap().unwrap();
        assert_eq!((kept.differs, kept.only_in_source, kept.only_in_target, kept.same), (1, 1, 1, 18), "{kept:?}");
        assert!(kept.complete);
        let items = world.work.all(&lane());
        assert_eq!((items["14"].state, items["3"].state), (ItemState::Failed, ItemState::Failed));
        assert!(items["3"].reason.starts_with("differs in email"), "{}", items["3"].reason);
        copy(&cx, &dataset).await.unwrap();
        world.new.remove("users", "950");
        assert!(verify(&cx, &dataset).await.unwrap().is_same());
        assert_eq!(world.states("users"), BTreeMap::from([("Verified".into(), 20)]));
    }
}

#[tokio::test]
async fn a_record_without_all_the_fields_arrives() {
    let world = World::across(12);
    world.old.put("users", json!({"id": 5, "first": "Only", "updated_at": ""}));
    let cx = world.start();
    copy(&cx, &plain()).await.unwrap();
    let found = verify(&cx, &plain()).await.unwrap();
    assert!(found.is_same() && found.same == 12, "{found:?}");
    assert_eq!(world.states("users"), BTreeMap::from([("Verified".into(), 12)]));
}

#[tokio::test]
async fn an_interrupted_comparison_goes_on() {
    let world = World::in_bulk(20);
    copy(&world.start(), &plain()).await.unwrap();
    let calls = world.trouble.calls();
    audit(&world.start(), &plain(), false, true).await.unwrap();
    let all = world.trouble.calls() - calls;
    for call in 1..=all {
        let cx = world.start();
        world.trouble.at(call, Mishap::Crash);
        let _cut = audit(&cx, &plain(), false, true).await;
        let found = audit(&world.start(), &plain(), false, false).await.unwrap();
        assert_eq!((found.same, found.complete, found.has_differences()), (20, true, false), "cut at {call}");
    }
}

#[tokio::test]
async fn a_lost_answer_is_no_second_row() {
    for made in BOTH {
        let world = made(9);
        let cx = world.start();
        world.trouble.on("new.insert_block", 2, Mishap::Lost(FaultKind::Timeout));
        world.trouble.on("new.insert_block", 3, Mishap::Fail(FaultKind::Unreachable));
        copy(&cx, &users()).await.unwrap();
        world.assert_users_arrived();
        assert!(verify(&cx, &users()).await.unwrap().is_same());
        undo_records(&cx, &users()).await.unwrap();
        assert!(world.new.rows("users").is_empty());
    }
}

async fn died(world: &World, call: u64, mishap: Mishap, undo: bool) {
    let cx = world.start();
    world.trouble.at(call, mishap);
    let ended = if undo { undo_records(&cx, &users()).await } else { copy(&cx, &users()).await };
    if let Err(fault) = ended {
        assert_eq!(fault.kind, FaultKind::Cancelled, "{}", fault.chain());
    }
}

#[tokio::test]
async fn killed_at_every_call_it_arrives_and_goes_back() {
    for made in BOTH {
        killed_at_every_call(made).await;
    }
}

async fn killed_at_every_call(made: fn(u32) -> World) {
    let calls = {
        let world = world(made, 14);
        copy(&world.start(), &users()).await.unwrap();
        world.trouble.calls()
    };
    for call in 1..=calls {
        for mishap in [Mishap::Crash, Mishap::CrashAfter] {
            let world = world(made, 14);
            died(&world, call, mishap, false).await;
            copy(&world.start(), &users()).await.unwrap();
            world.assert_users_arrived();
            let found = verify(&world.start(), &users()).await.unwrap();
            assert!(found.is_same() && found.standing == 2, "killed at {call}: {found:?}");
            let items = world.work.all(&lane());
            assert_eq!(items.len(), 14);
            for (key, item) in items {
                assert_eq!(item.state, ItemState::Verified, "killed at {call}: {key}");
                assert_eq!(item.before.is_some(), key == "2", "killed at {call}: {key}");
            }
            died(&world, call % 12 + 1, mishap, true).await;
            undo_records(&world.start(), &users()).await.unwrap();
            let after: Vec<String> = world.new.rows("users").into_keys().collect();
            assert_eq!(after, ["2", "900", "901"], "killed at {call}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn killed_again_and_again_nothing_is_lost(
        kills in prop::collection::vec((1_u64..60, any::<bool>()), 0..6),
        changes in prop::collection::vec((1_u32..34, any::<bool>()), 0..6),
        made in prop::sample::select(BOTH.to_vec()),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let world = world(made, 30);
            let mut changes = changes.into_iter();
            for (call, after) in kills {
                died(&world, call, if after { Mishap::CrashAfter } else { Mishap::Crash }, false).await;
                match changes.next() {
                    Some((id, true)) => world.old.put("users", user(id)),
                    Some((id, false)) => world.old.remove("users", &id.to_string()),
                    None => {}
                }
            }
            copy(&world.start(), &users()).await.unwrap();
            let found = verify(&world.start(), &users()).await.unwrap();
            assert!(found.is_same(), "{found:?}");
            world.assert_users_arrived();
            let tally = world.work.tally(&lane()).await.unwrap();
            assert_eq!((tally.open(), tally.copied), (0, 0), "{tally:?}");
            undo_records(&world.start(), &users()).await.unwrap();
            let left: Vec<String> = world.new.rows("users").into_keys().collect();
            assert_eq!(left, ["2", "900", "901"]);
            assert_eq!(world.new.row("users", "2").unwrap().text("email").unwrap(), "was here");
        });
    }
}
