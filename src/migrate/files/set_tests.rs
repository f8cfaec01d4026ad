use super::{VerifyLevel, copy_set, verify_set};
use crate::{
    error::FaultKind,
    migrate::{
        account, undo_set,
        world::{World, bytes, loose},
    },
    model::{ItemState, LaneId, Verdict},
    ports::fakes::Mishap,
};
use bytes::Bytes;
use std::collections::BTreeMap;

fn path(id: u32) -> String {
    format!("uploads/{}/ü {id}.bin", id % 3)
}

fn key(id: u32) -> String {
    format!("store/{}/ü {id}.bin", id % 3)
}

/// So many files, others beside them on both sides, and in the target one the same and one different already.
fn world(count: u32) -> World {
    let mut world = World::new(0, 0);
    (1..=count).for_each(|id| world.media.put_bytes(&path(id), bytes(id)));
    world.media.put_bytes("elsewhere/1", "not of the set");
    world.media.put_bytes("uploads.txt", "not of the set");
    world.r2.put_bytes(&key(2), bytes(2));
    world.r2.put_bytes(&key(3), "something else");
    world.r2.put_bytes("store/before", "not ours");
    world.r2.put_bytes("other/object", "not ours");
    world.plan.datasets.clear();
    world.plan.file_sets = vec![loose()];
    world
}

/// What the set brings, by its key in the target.
fn wanted(world: &World) -> BTreeMap<String, Bytes> {
    let blobs = world.media.blobs().into_iter();
    blobs.filter_map(|(path, bytes)| Some((format!("store/{}", path.strip_prefix("uploads/")?), bytes))).collect()
}

fn assert_arrived(world: &World) {
    let r2 = world.r2.blobs();
    for (key, bytes) in wanted(world) {
        assert_eq!(r2.get(&key), Some(&bytes), "{key}");
    }
    assert_eq!(r2["store/before"], "not ours");
}

async fn assert_same(world: &World) {
    let found = verify_set(&world.start(), &loose(), VerifyLevel::Checksum).await.unwrap();
    assert!(found.is_same() && found.source == wanted(world).len() as u64, "{found:?}");
    let checks = account(&world.start()).await.unwrap();
    assert!(checks.iter().all(|check| check.verdict == Verdict::Pass), "{checks:?}");
}

#[tokio::test]
async fn copies_verifies_and_undoes_exactly() {
    let world = world(9);
    let original = world.r2.blobs();
    copy_set(&world.start(), &loose()).await.unwrap();
    assert_arrived(&world);
    assert_same(&world).await;
    let states = BTreeMap::from([("Skipped".into(), 1), ("Verified".into(), 8)]);
    assert_eq!(world.states("loose"), states);
    // Nothing is moved twice.
    let puts = world.trouble.calls_of("r2.put");
    copy_set(&world.start(), &loose()).await.unwrap();
    assert_eq!(world.trouble.calls_of("r2.put"), puts);
    // What was there already stays there, whatever becomes of the source.
    world.media.remove(&path(2));
    copy_set(&world.start(), &loose()).await.unwrap();
    assert_same(&world).await;
    undo_set(&world.start(), &loose()).await.unwrap();
    assert_eq!(world.r2.blobs(), original);
    undo_set(&world.start(), &loose()).await.unwrap();
    assert_eq!(world.r2.blobs(), original);
}

#[tokio::test]
async fn late_changed_and_gone_files_are_followed() {
    let world = world(9);
    let original = world.r2.blobs();
    copy_set(&world.start(), &loose()).await.unwrap();
    world.media.put_bytes(&path(20), bytes(20));
    world.media.put_bytes(&path(5), "changed meanwhile");
    world.media.put_bytes(&path(2), "what was the same is not");
    world.media.put_bytes(&path(6), bytes(6));
    world.media.remove(&path(4));
    world.media.remove(&path(3));
    let found = verify_set(&world.start(), &loose(), VerifyLevel::Checksum).await.unwrap();
    assert_eq!((found.missing, found.different, found.extra, found.late), (1, 2, 1, 4), "{found:?}");
    copy_set(&world.start(), &loose()).await.unwrap();
    assert_arrived(&world);
    assert!(!world.r2.blobs().contains_key(&key(4)));
    assert_eq!(world.r2.blobs()[&key(3)], "something else");
    assert_same(&world).await;
    undo_set(&world.start(), &loose()).await.unwrap();
    assert_eq!(world.r2.blobs(), original);
}

#[tokio::test]
async fn what_is_no_file_fails_alone_and_says_why() {
    let mut world = world(6);
    for name in ["uploads/pipe", "uploads/b\u{fffd}d", "uploads/b\u{fffd}d"] {
        world.media.put_odd(name, "a pipe");
    }
    assert_eq!(copy_set(&world.start(), &loose()).await.unwrap_err().kind, FaultKind::Unmet);
    world.plan.migration.max_failures = 2;
    copy_set(&world.start(), &loose()).await.unwrap();
    assert_arrived(&world);
    let items = world.work.all(&LaneId::new("loose"));
    let odd = &items["(no file) uploads/pipe"];
    assert_eq!((odd.state, odd.error, odd.reason.as_str()), (ItemState::Failed, Some(FaultKind::Refused), "a pipe"));
    let checks = account(&world.start()).await.unwrap();
    assert_eq!(checks[0].verdict, Verdict::Pass, "{checks:?}");
    assert!(checks[0].remedy.contains("uploads/pipe (a pipe)"), "{checks:?}");
    world.media.clear_odd();
    world.plan.migration.max_failures = 0;
    copy_set(&world.start(), &loose()).await.unwrap();
    assert_same(&world).await;
}

#[tokio::test]
async fn files_that_go_or_grow_while_they_are_moved_are_no_failures() {
    let world = world(6);
    let cx = world.start();
    world.trouble.on("media.open", 2, Mishap::Fail(FaultKind::NotFound));
    copy_set(&cx, &loose()).await.unwrap();
    assert_arrived(&world);
    assert_same(&world).await;
}

async fn killed(world: &World, call: u64, mishap: Mishap, undo: bool) {
    let cx = world.start();
    world.trouble.at(call, mishap);
    let ended = if undo { undo_set(&cx, &loose()).await } else { copy_set(&cx, &loose()).await };
    if let Err(fault) = ended {
        assert_eq!(fault.kind, FaultKind::Cancelled, "{}", fault.chain());
    }
}

#[tokio::test]
async fn killed_at_every_call_it_arrives_and_goes_back() {
    let calls = {
        let world = world(5);
        copy_set(&world.start(), &loose()).await.unwrap();
        world.trouble.calls()
    };
    for call in 1..=calls {
        for mishap in [Mishap::Crash, Mishap::CrashAfter] {
            let world = world(5);
            let original = world.r2.blobs();
            killed(&world, call, mishap, false).await;
            copy_set(&world.start(), &loose()).await.unwrap();
            assert_arrived(&world);
            assert_same(&world).await;
            assert_eq!(world.work.all(&LaneId::new("loose")).len(), 5);
            killed(&world, call % 14 + 1, mishap, true).await;
            undo_set(&world.start(), &loose()).await.unwrap();
            assert_eq!(world.r2.blobs(), original, "killed at {call} {mishap:?}");
        }
    }
}
