use super::{VerifyLevel, copy, verify};
use crate::{
    error::FaultKind,
    migrate::{
        undo_files,
        world::{World, blob_key, file, files},
    },
    model::{ItemState, LaneId},
    plan::{BlobPlan, DatasetPlan},
    ports::fakes::{FakeBucket, Mishap},
};
use proptest::prelude::*;
use serde_json::json;
use std::collections::BTreeMap;

fn lane() -> LaneId {
    LaneId::new("files-content")
}

/// A world in which three objects stand in the new bucket: one the same as the source's, one different, one besides.
fn world(count: u32) -> World {
    let world = World::new(0, count);
    world.r2.put_bytes(&blob_key(2), super::super::world::bytes(2));
    world.r2.put_bytes(&blob_key(3), "something else");
    world.r2.put_bytes("other/object", "not ours");
    world
}

/// The same files without checksum and size in the row.
fn bare() -> DatasetPlan {
    let blob = files().blob.map(|blob| BlobPlan { sha256: None, size: None, ..blob });
    DatasetPlan { blob, ..files() }
}

#[tokio::test]
async fn copies_verifies_and_undoes_exactly() {
    for dataset in [files(), bare()] {
        for plain in [false, true] {
            let mut world = world(9);
            if plain {
                let bucket = FakeBucket::plain("r2", &world.trouble);
                world.r2.blobs().into_iter().for_each(|(key, bytes)| bucket.put_bytes(&key, bytes));
                world.r2 = bucket;
            }
            let original = world.r2.blobs();
            copy(&world.start(), &dataset).await.unwrap();
            world.assert_files_arrived();
            let states = BTreeMap::from([("Skipped".into(), 1), ("Verified".into(), 8)]);
            assert_eq!(world.states("files-content"), states);
            let found = verify(&world.start(), &dataset, VerifyLevel::Checksum).await.unwrap();
            assert!(found.is_same() && found.source == 9, "{found:?}");
            assert_eq!(world.states("files-content"), states);
            // Nothing is moved twice.
            let puts = world.trouble.calls_of("r2.put");
            copy(&world.start(), &dataset).await.unwrap();
            assert_eq!(world.trouble.calls_of("r2.put"), puts);
            undo_files(&world.start(), &dataset).await.unwrap();
            assert_eq!(world.r2.blobs(), original);
            undo_files(&world.start(), &dataset).await.unwrap();
            assert_eq!(world.r2.blobs(), original);
        }
    }
}

#[tokio::test]
async fn bad_files_fail_alone_and_say_why() {
    let mut world = world(8);
    world.plan.migration.max_failures = 4;
    world.media.remove("media/1.csv");
    world.media.put_bytes("media/4.csv", "x".repeat(super::super::world::bytes(4).len()));
    world.media.put_bytes("media/5.csv", "shorter");
    let mut escaping = file(6);
    escaping["file_name"] = json!("../../etc/passwd");
    world.old.put("files", escaping);
    copy(&world.start(), &files()).await.unwrap();
    let items = world.work.all(&lane());
    assert_eq!(items[&blob_key(1)].reason, "missing");
    assert_eq!(items[&blob_key(4)].reason, "checksum differs from the row");
    assert!(items[&blob_key(5)].reason.starts_with("size differs from the row: 7 instead of"), "{items:?}");
    assert_eq!(
        world.states("files-content"),
        BTreeMap::from([("Failed".into(), 4), ("Skipped".into(), 1), ("Verified".into(), 3)])
    );
    assert!(!world.r2.blobs().contains_key(&blob_key(4)));
    let found = verify(&world.start(), &files(), VerifyLevel::Checksum).await.unwrap();
    assert_eq!((found.same, found.missing + found.different), (4, 4), "{found:?}");
    world.plan.migration.max_failures = 0;
    assert_eq!(copy(&world.start(), &files()).await.unwrap_err().kind, FaultKind::Unmet);
    // Mended at the source, a retry carries them.
    for id in [1, 4, 5, 6] {
        world.add_file(id);
    }
    copy(&world.start(), &files()).await.unwrap();
    world.assert_files_arrived();
}

#[tokio::test]
async fn trouble_on_the_way_is_waited_out() {
    for (call, mishap) in [
        ("media.open", Mishap::Cut),
        ("media.open", Mishap::Corrupt),
        ("media.open", Mishap::Fail(FaultKind::Server)),
        ("r2.put", Mishap::Corrupt),
        ("r2.put", Mishap::Lost(FaultKind::Timeout)),
        ("r2.put", Mishap::Fail(FaultKind::Throttled)),
        ("r2.head", Mishap::Fail(FaultKind::Unreachable)),
    ] {
        for dataset in [files(), bare()] {
            let world = world(6);
            let cx = world.start();
            if mishap == Mishap::Corrupt && call == "media.open" && dataset.blob.as_ref().unwrap().sha256.is_none() {
                // Nobody can know: there is no second opinion on what was read.
                continue;
            }
            world.trouble.on(call, 1, mishap);
            world.trouble.on(call, 3, mishap);
            copy(&cx, &dataset).await.unwrap_or_else(|fault| panic!("{call} {mishap:?}: {}", fault.chain()));
            world.assert_files_arrived();
            assert!(verify(&world.start(), &dataset, VerifyLevel::Checksum).await.unwrap().is_same());
        }
    }
}

#[tokio::test]
async fn a_bucket_that_stays_away_fails_the_lane() {
    let world = world(6);
    let cx = world.start();
    world.trouble.always("r2.put", Mishap::Fail(FaultKind::Unreachable));
    assert_eq!(copy(&cx, &files()).await.unwrap_err().kind, FaultKind::Unreachable);
    copy(&world.start(), &files()).await.unwrap();
    world.assert_files_arrived();
}

#[tokio::test]
async fn late_files_are_carried_and_gone_ones_taken_back() {
    let world = world(6);
    let cx = world.start();
    super::super::records::copy(&cx, &files()).await.unwrap();
    copy(&cx, &files()).await.unwrap();
    world.add_file(20);
    world.media.put_bytes("media/5.csv", "new content");
    let mut changed = file(5);
    changed["size"] = json!(11);
    changed["checksum"] = json!(crate::model::Digest::of(b"new content").to_hex());
    world.old.put("files", changed);
    world.old.remove("files", "4");
    world.old.remove("files", "3");
    super::super::records::copy(&cx, &files()).await.unwrap();
    copy(&cx, &files()).await.unwrap();
    world.assert_files_arrived();
    assert!(!world.r2.blobs().contains_key(&blob_key(4)));
    assert_eq!(world.r2.blobs()[&blob_key(3)], "something else");
    assert!(verify(&world.start(), &files(), VerifyLevel::Checksum).await.unwrap().is_same());
}

#[tokio::test]
async fn what_travels_with_a_file_arrives_with_the_mark_of_the_run() {
    let mut world = World::new(0, 6);
    let dataset = DatasetPlan {
        blob: files().blob.map(|blob| BlobPlan { content_type: Some("kind".into()), ..blob }),
        ..files()
    };
    world.plan.datasets = vec![dataset.clone()];
    let mut typed = file(1);
    typed["kind"] = json!("text/csv");
    world.old.put("files", typed);
    copy(&world.start(), &dataset).await.unwrap();
    let meta = world.r2.meta_of(&blob_key(1)).unwrap();
    assert_eq!(meta.content_type.as_deref(), Some("text/csv"));
    assert_eq!(meta.user.get("cutover-run").map(String::as_str), Some("run-1"));
}

async fn killed(world: &World, call: u64, mishap: Mishap, undo: bool) {
    let cx = world.start();
    world.trouble.at(call, mishap);
    let ended = if undo { undo_files(&cx, &files()).await } else { copy(&cx, &files()).await };
    if let Err(fault) = ended {
        assert_eq!(fault.kind, FaultKind::Cancelled, "{}", fault.chain());
    }
}

#[tokio::test]
async fn killed_at_every_call_it_arrives_and_goes_back() {
    let calls = {
        let world = world(5);
        copy(&world.start(), &files()).await.unwrap();
        world.trouble.calls()
    };
    for call in 1..=calls {
        for mishap in [Mishap::Crash, Mishap::CrashAfter] {
            let world = world(5);
            let original = world.r2.blobs();
            killed(&world, call, mishap, false).await;
            copy(&world.start(), &files()).await.unwrap();
            world.assert_files_arrived();
            let found = verify(&world.start(), &files(), VerifyLevel::Checksum).await.unwrap();
            assert!(found.is_same(), "killed at {call}: {found:?}");
            let items = world.work.all(&lane());
            assert_eq!(items.len(), 5);
            assert!(items.values().all(|item| matches!(item.state, ItemState::Verified | ItemState::Skipped)));
            killed(&world, call % 14 + 1, mishap, true).await;
            undo_files(&world.start(), &files()).await.unwrap();
            assert_eq!(world.r2.blobs(), original, "killed at {call} {mishap:?}");
            assert_eq!(world.r2.uploads(), 0, "killed at {call} {mishap:?}: an upload was left open");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn killed_again_and_again_nothing_is_lost(kills in prop::collection::vec((1_u64..60, any::<bool>(), any::<bool>()), 0..8)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let world = world(7);
            let original = world.r2.blobs();
            for (call, after, undo) in kills {
                killed(&world, call, if after { Mishap::CrashAfter } else { Mishap::Crash }, undo).await;
            }
            // Whatever an undo had begun, it is finished before anybody goes forward again.
            undo_files(&world.start(), &files()).await.unwrap();
            assert_eq!(world.r2.blobs(), original);
            copy(&world.start(), &files()).await.unwrap();
            world.assert_files_arrived();
            assert!(verify(&world.start(), &files(), VerifyLevel::Checksum).await.unwrap().is_same());
            undo_files(&world.start(), &files()).await.unwrap();
            assert_eq!(world.r2.blobs(), original);
        });
    }
}
