use super::{retry, take_back};
use crate::{
    engine::{decide::Exclusion, files as orders},
    error::FaultKind,
    migrate::{
        account,
        files::{FileLane, VerifyLevel, copy, copy_all, verify},
        undo_files,
        world::{World, blob_key, bytes, files},
    },
    model::{Actor, BatchId, BatchState, ItemState, LaneId, LaneStage, Verdict, Via},
    ports::{BatchQuery, Work, fakes::Mishap},
};
use bytes::Bytes;
use std::collections::BTreeMap;

fn lane() -> LaneId {
    LaneId::new("files-content")
}

/// Nine files; in the new bucket stand one that is the same, one that differs, and one besides.
fn world() -> World {
    let world = World::new(0, 9);
    world.r2.put_bytes(&blob_key(2), bytes(2));
    world.r2.put_bytes(&blob_key(3), "something else");
    world.r2.put_bytes("other/object", "not ours");
    world
}

/// The batch of the object that was overwritten.
fn batch(world: &World) -> BatchId {
    world.work.all(&lane())[&blob_key(3)].batch.clone()
}

/// What the new bucket shows to others.
fn shown(world: &World) -> BTreeMap<String, Bytes> {
    world.r2.blobs().into_iter().filter(|(key, _)| !key.starts_with(".cutover-")).collect()
}

async fn state(world: &World, batch: &BatchId) -> BatchState {
    let query = BatchQuery { batch: Some(batch.clone()), limit: 1, ..BatchQuery::default() };
    world.work.batch_page(&query).await.unwrap()[0].state
}

#[tokio::test]
async fn a_batch_goes_back_alone_and_comes_again() {
    let world = world();
    let original = shown(&world);
    copy(&world.start(), &files()).await.unwrap();
    let arrived = shown(&world);
    let batch = batch(&world);
    let back = take_back(&world.start(), &files(), Some(&batch)).await.unwrap();
    assert_eq!((back.restored, back.pending), (1, 2));
    let mine = |key: &String| world.work.all(&lane()).get(key).is_some_and(|item| item.batch == batch);
    let mut expected = arrived.clone();
    expected.retain(|key, _| !mine(key));
    expected.extend(original.clone().into_iter().filter(|(key, _)| mine(key)));
    assert_eq!(shown(&world), expected);
    assert_eq!(state(&world, &batch).await, BatchState::Undone);
    // Again does nothing more.
    let again = take_back(&world.start(), &files(), Some(&batch)).await.unwrap();
    assert_eq!((again.deleted, again.restored), (0, 0));
    assert_eq!(shown(&world), expected);

    let opened = world.trouble.calls_of("media.open");
    let tally = retry(&world.start(), &files(), &batch).await.unwrap();
    assert_eq!((tally.verified, tally.items()), (2, 2));
    // The one that is overwritten is opened twice: it is met only when it is written.
    assert_eq!(world.trouble.calls_of("media.open") - opened, 3, "only this batch");
    assert_eq!(shown(&world), arrived);
    let wrong = retry(&world.start(), &files(), &BatchId::new("files-content-0099")).await.unwrap_err();
    assert_eq!(wrong.kind, FaultKind::NotFound);
    undo_files(&world.start(), &files()).await.unwrap();
    assert_eq!(world.r2.blobs(), original);
}

#[tokio::test]
async fn a_whole_lane_goes_back_and_stays_listed() {
    let world = world();
    let original = world.r2.blobs();
    copy(&world.start(), &files()).await.unwrap();
    let back = take_back(&world.start(), &files(), None).await.unwrap();
    assert_eq!((back.deleted, back.restored, back.pending), (7, 1, 9));
    assert_eq!(world.r2.blobs(), original);
    assert_eq!(world.states("files-content"), BTreeMap::from([("Pending".into(), 9)]));
    copy(&world.start(), &files()).await.unwrap();
    world.assert_files_arrived();
}

#[tokio::test]
async fn killed_at_every_call_a_batch_goes_back_or_comes_again() {
    let calls = {
        let world = world();
        copy(&world.start(), &files()).await.unwrap();
        let before = world.trouble.calls();
        take_back(&world.start(), &files(), Some(&batch(&world))).await.unwrap();
        world.trouble.calls() - before
    };
    for call in 1..=calls {
        for mishap in [Mishap::Crash, Mishap::CrashAfter] {
            for forward in [false, true] {
                let world = world();
                let original = world.r2.blobs();
                copy(&world.start(), &files()).await.unwrap();
                let (arrived, batch) = (shown(&world), batch(&world));
                let cx = world.start();
                world.trouble.at(call, mishap);
                if let Err(fault) = take_back(&cx, &files(), Some(&batch)).await {
                    assert_eq!(fault.kind, FaultKind::Cancelled, "{}", fault.chain());
                }
                if !forward {
                    take_back(&world.start(), &files(), Some(&batch)).await.unwrap();
                    assert_eq!(shown(&world)[&blob_key(3)], "something else", "killed at {call} {mishap:?}");
                    assert_eq!(shown(&world).len(), arrived.len() - 1, "killed at {call} {mishap:?}");
                    assert_eq!(state(&world, &batch).await, BatchState::Undone);
                }
                copy(&world.start(), &files()).await.unwrap();
                assert_eq!(shown(&world), arrived, "killed at {call} {mishap:?}");
                assert!(verify(&world.start(), &files(), VerifyLevel::Checksum).await.unwrap().is_same());
                undo_files(&world.start(), &files()).await.unwrap();
                assert_eq!(world.r2.blobs(), original, "killed at {call} {mishap:?}");
            }
        }
    }
}

#[tokio::test]
async fn what_failed_is_moved_again_however_often_it_is_killed() {
    let mut world = world();
    world.plan.migration.max_failures = 9;
    for id in [3, 4, 8] {
        world.media.remove(&format!("media/{id}.csv"));
    }
    copy(&world.start(), &files()).await.unwrap();
    let batch = batch(&world);
    for id in [3, 4, 8] {
        world.add_file(id);
    }
    for call in 1..40 {
        let cx = world.start();
        world.trouble.at(call, if call % 2 == 0 { Mishap::Crash } else { Mishap::CrashAfter });
        if let Err(fault) = retry(&cx, &files(), &batch).await {
            assert_eq!(fault.kind, FaultKind::Cancelled, "{}", fault.chain());
        }
    }
    retry(&world.start(), &files(), &batch).await.unwrap();
    let items = world.work.all(&lane());
    let failed: Vec<_> = items.values().filter(|item| item.state == ItemState::Failed).collect();
    assert!(failed.iter().all(|item| item.batch != batch) && !failed.is_empty(), "{failed:?}");
    assert!(items.values().filter(|item| item.batch == batch).all(|item| item.state == ItemState::Verified));
}

/// Waits until the ledger has the file in this state.
async fn until(world: &World, key: &str, state: ItemState) {
    while world.work.all(&lane()).get(key).is_none_or(|item| item.state != state) {
        tokio::task::yield_now().await;
    }
}

fn left_out(key: &str) -> Exclusion {
    let by = Actor { name: "ada".into(), via: Via::Console };
    Exclusion { lane: lane(), key: key.into(), by, reason: "legal hold".into(), still: false }
}

#[tokio::test]
async fn what_people_turn_while_the_listing_runs_counts_at_once() {
    let mut world = World::new(0, 9);
    world.plan.migration.max_failures = 9;
    (1..=2).for_each(|id| world.media.remove(&format!("media/{id}.csv")));
    let cx = world.start();
    let hands = world.gate().hands();
    // Three records to a page: the second page comes when it is told to.
    world.trouble.on("old.read", 2, Mishap::Hold);
    let files_ = files();
    let lane_ = FileLane::new(&cx, &files_, LaneStage::Copying).unwrap();
    let by_hand = async {
        until(&world, &blob_key(3), ItemState::Verified).await;
        let tally = lane_.lane.meter.tally();
        assert_eq!((tally.failed, tally.verified, tally.items()), (2, 1, 3));
        world.add_file(1);
        let batch = world.work.all(&lane())[&blob_key(1)].batch.clone();
        orders::exclude(world.work.as_ref(), &hands, left_out(&blob_key(2))).await.unwrap();
        orders::retry(world.work.as_ref(), &hands, &lane(), &batch).await.unwrap();
        while lane_.lane.meter.tally().failed > 0 {
            tokio::task::yield_now().await;
        }
        let tally = lane_.lane.meter.tally();
        // It may move at once, or wait for the listing.
        assert_eq!((tally.failed, tally.skipped, tally.verified + tally.open(), tally.items()), (0, 1, 2, 3));
        world.trouble.release();
    };
    let (copied, ()) = tokio::join!(copy_all(&lane_), by_hand);
    copied.unwrap();
    assert_eq!(world.states("files-content"), BTreeMap::from([("Skipped".into(), 1), ("Verified".into(), 8)]));
}

#[tokio::test]
async fn what_is_opened_again_once_the_main_pass_is_over_still_moves() {
    let mut world = World::new(0, 5);
    world.plan.migration.max_failures = 1;
    world.media.remove("media/1.csv");
    let cx = world.start();
    let hands = world.gate().hands();
    // The pass over what changed meanwhile: everything that was listed has been moved, or has failed.
    world.trouble.on("old.changes", 1, Mishap::Hold);
    let by_hand = async {
        until(&world, &blob_key(1), ItemState::Failed).await;
        while world.trouble.calls_of("old.changes") == 0 {
            tokio::task::yield_now().await;
        }
        // Nobody changes the record: only the order brings the file.
        world.media.put_bytes("media/1.csv", bytes(1));
        let batch = world.work.all(&lane())[&blob_key(1)].batch.clone();
        orders::retry(world.work.as_ref(), &hands, &lane(), &batch).await.unwrap();
        world.trouble.release();
    };
    let files_ = files();
    let (copied, ()) = tokio::join!(copy(&cx, &files_), by_hand);
    copied.unwrap();
    world.assert_files_arrived();
    assert_eq!(world.states("files-content"), BTreeMap::from([("Verified".into(), 5)]));
}

#[tokio::test]
async fn a_file_left_out_is_neither_moved_nor_missed_nor_taken_back() {
    let mut world = World::new(0, 6);
    world.plan.migration.max_failures = 2;
    world.r2.put_bytes(&blob_key(2), "not ours");
    (1..=2).for_each(|id| world.media.remove(&format!("media/{id}.csv")));
    let original = world.r2.blobs();
    copy(&world.start(), &files()).await.unwrap();
    let cx = world.start();
    let hands = world.gate().hands();
    for id in 1..=2 {
        orders::exclude(cx.work.as_ref(), &hands, left_out(&blob_key(id))).await.unwrap();
        // What was wrong with it is mended, and it stays left out.
        world.add_file(id);
    }
    world.plan.migration.max_failures = 0;
    copy(&world.start(), &files()).await.unwrap();
    let states = BTreeMap::from([("Skipped".into(), 2), ("Verified".into(), 4)]);
    assert_eq!(world.states("files-content"), states);
    assert!(!world.r2.blobs().contains_key(&blob_key(1)), "not listed again");
    let found = verify(&world.start(), &files(), VerifyLevel::Content).await.unwrap();
    assert!(found.is_same(), "{found:?}");
    assert_eq!((found.source, found.same, found.left_out), (6, 4, 2));
    assert_eq!(world.states("files-content"), states);
    let checks = account(&world.start()).await.unwrap();
    let files_check = checks.iter().find(|check| check.name.starts_with("files-content")).unwrap();
    assert_eq!(files_check.verdict, Verdict::Pass, "{files_check:?}");
    undo_files(&world.start(), &files()).await.unwrap();
    assert_eq!(world.r2.blobs(), original);
}
