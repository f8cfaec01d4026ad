use super::{retry, take_back};
use crate::{
    error::FaultKind,
    migrate::{
        files::{VerifyLevel, copy, verify},
        undo_files,
        world::{World, blob_key, bytes, files},
    },
    model::{BatchId, BatchState, ItemState, LaneId},
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
