use super::{reverse_set, settle_set};
use crate::{
    migrate::{
        account,
        files::{VerifyLevel, copy_set, verify_set},
        undo_set,
        world::{World, loose},
    },
    model::{ItemState, LaneId, Verdict},
    plan::ConflictPolicy,
};

/// Ten files that have moved, one that stood on the new side before.
async fn moved() -> World {
    let mut world = World::new(0, 0);
    world.plan.datasets.clear();
    world.plan.file_sets = vec![loose()];
    (0..10).for_each(|id| world.media.put_bytes(&format!("uploads/{id}"), format!("file {id}")));
    world.r2.put_bytes("store/before", "not ours");
    copy_set(&world.start(), &loose()).await.unwrap();
    world
}

#[tokio::test]
async fn what_users_did_on_the_new_side_is_carried_back() {
    let world = moved().await;
    world.r2.put_bytes("store/1", "changed by a user");
    world.r2.put_bytes("store/new/1", "created by a user");
    world.r2.put_bytes(".cutover-aside/x", "the program's own");
    world.r2.remove("store/2");
    let mut wanted = world.media.blobs();
    wanted.insert("uploads/1".into(), "changed by a user".into());
    wanted.insert("uploads/new/1".into(), "created by a user".into());
    wanted.remove("uploads/2");
    let report = reverse_set(&world.start(), &loose()).await.unwrap();
    assert_eq!((report.updated, report.created, report.deleted, report.files), (1, 1, 1, 2), "{report:?}");
    assert_eq!(report.checks[0].verdict, Verdict::Pass);
    assert_eq!(world.media.blobs(), wanted);
    let again = reverse_set(&world.start(), &loose()).await.unwrap();
    assert_eq!((again.updated, again.created, again.deleted, again.open), (0, 0, 0, 0), "{again:?}");
    undo_set(&world.start(), &loose()).await.unwrap();
    world.r2.remove(".cutover-aside/x");
    assert_eq!(world.r2.blobs().into_keys().collect::<Vec<_>>(), ["store/before"]);
    // Nothing is carried once it is taken back.
    reverse_set(&world.start(), &loose()).await.unwrap();
    assert_eq!(world.media.blobs(), wanted);
}

#[tokio::test]
async fn what_both_sides_did_is_decided_by_the_policy() {
    for (policy, kept, beside) in [
        (ConflictPolicy::LegacyWins, Some("legacy"), None),
        (ConflictPolicy::NewWins, Some("new"), None),
        (ConflictPolicy::Manual, Some("legacy"), Some("new")),
        (ConflictPolicy::NewestWins, Some("legacy"), Some("new")),
    ] {
        let mut world = moved().await;
        world.plan.migration.conflicts = policy;
        world.media.put_bytes("uploads/1", "legacy");
        world.r2.put_bytes("store/1", "new");
        world.media.put_bytes("uploads/2", "legacy");
        world.r2.remove("store/2");
        // Created on both sides: no policy decides that.
        world.media.put_bytes("uploads/a", "legacy");
        world.r2.put_bytes("store/a", "new");
        let report = reverse_set(&world.start(), &loose()).await.unwrap();
        let open = if beside.is_some() { 3 } else { 1 };
        assert_eq!((report.open, report.resolved), (open, 3 - open), "{policy:?} {report:?}");
        let media = world.media.blobs();
        let text = |key: &str| media.get(key).map(|bytes| String::from_utf8_lossy(bytes).into_owned());
        assert_eq!(text("uploads/1").as_deref(), kept, "{policy:?}");
        assert_eq!(text("uploads/1.cutover-new").as_deref(), beside, "{policy:?}");
        assert_eq!(text("uploads/2").is_some(), policy != ConflictPolicy::NewWins, "{policy:?}");
        assert_eq!(text("uploads/a").as_deref(), Some("legacy"));
        assert_eq!(text("uploads/a.cutover-new").as_deref(), Some("new"));
        undo_set(&world.start(), &loose()).await.unwrap();
        assert_eq!(world.r2.blobs().into_keys().collect::<Vec<_>>(), ["store/before"], "{policy:?}");
    }
}

#[tokio::test]
async fn a_new_side_that_lost_everything_takes_nothing_with_it() {
    let world = moved().await;
    let before = world.media.blobs();
    (0..10).for_each(|id| world.r2.remove(&format!("store/{id}")));
    let report = reverse_set(&world.start(), &loose()).await.unwrap();
    assert_eq!((report.deleted, report.kept), (0, 10), "{report:?}");
    assert_eq!(world.media.blobs(), before);
}

async fn accounted(world: &World) -> bool {
    account(&world.start()).await.unwrap().iter().all(|check| check.verdict == Verdict::Pass)
}

#[tokio::test]
async fn what_the_legacy_side_still_took_is_carried_forward() {
    let world = moved().await;
    let before = world.media.blobs();
    assert!(settle_set(&world.start(), &loose()).await.unwrap().is_none(), "nothing came late");
    world.media.put_bytes("uploads/1", "changed late");
    world.media.put_bytes("uploads/2", before["uploads/2"].clone());
    world.media.put_bytes("uploads/late/1", "created late");
    assert!(!accounted(&world).await);
    world.media.remove("uploads/3");
    let report = settle_set(&world.start(), &loose()).await.unwrap().unwrap();
    assert_eq!((report.created, report.updated, report.deleted, report.files), (1, 1, 1, 2), "{report:?}");
    assert_eq!(report.checks[0].verdict, Verdict::Pass);
    assert!(accounted(&world).await);
    let r2 = world.r2.blobs();
    for (path, bytes) in world.media.blobs() {
        assert_eq!(r2.get(&path.replace("uploads/", "store/")), Some(&bytes), "{path}");
    }
    assert!(!r2.contains_key("store/3"));
    assert!(settle_set(&world.start(), &loose()).await.unwrap().is_none(), "it is settled");
    assert!(verify_set(&world.start(), &loose(), VerifyLevel::Checksum).await.unwrap().is_same());
    undo_set(&world.start(), &loose()).await.unwrap();
    assert_eq!(world.r2.blobs().into_keys().collect::<Vec<_>>(), ["store/before"]);
    assert!(settle_set(&world.start(), &loose()).await.unwrap().is_none(), "nothing moves once it is taken back");
}

#[tokio::test]
async fn what_came_late_on_both_sides_is_decided_by_the_policy() {
    for policy in [ConflictPolicy::LegacyWins, ConflictPolicy::NewWins, ConflictPolicy::Manual] {
        let mut world = moved().await;
        world.plan.migration.conflicts = policy;
        let both = |name: &str, legacy: &str, new: &str| {
            world.media.put_bytes(&format!("uploads/{name}"), legacy.to_owned());
            world.r2.put_bytes(&format!("store/{name}"), new.to_owned());
        };
        both("1", "legacy", "new");
        both("2", "the same", "the same");
        // Deleted there, changed here; changed there, deleted here.
        world.media.remove("uploads/3");
        world.r2.put_bytes("store/3", "new");
        world.media.put_bytes("uploads/4", "legacy");
        world.r2.remove("store/4");
        // Created on both sides: no policy decides that.
        both("a", "legacy", "new");
        world.r2.put_bytes("store/new", "by a user");
        let report = settle_set(&world.start(), &loose()).await.unwrap().unwrap();
        let open = if policy == ConflictPolicy::Manual { 4 } else { 1 };
        assert_eq!((report.open, report.resolved), (open, 4 - open), "{policy:?} {report:?}");
        assert_eq!(report.checks[0].verdict, Verdict::Fail);
        let r2 = world.r2.blobs();
        let text =
            |name: &str| r2.get(&format!("store/{name}")).map(|bytes| String::from_utf8_lossy(bytes).into_owned());
        let legacy = policy == ConflictPolicy::LegacyWins;
        assert_eq!(text("1").as_deref(), Some(if legacy { "legacy" } else { "new" }), "{policy:?}");
        assert_eq!(text("2").as_deref(), Some("the same"));
        assert_eq!(text("3").as_deref(), (!legacy).then_some("new"), "{policy:?}");
        assert_eq!(text("4").as_deref(), legacy.then_some("legacy"), "{policy:?}");
        assert_eq!(text("a").as_deref(), Some("new"));
        let item = &world.work.all(&LaneId::new("loose"))["store/a"];
        assert_eq!((item.state, item.reason.as_str()), (ItemState::Conflicting, "created on both sides"));
        // What a person left to itself stays open; nothing is done twice.
        let puts = world.trouble.calls_of("r2.put");
        settle_set(&world.start(), &loose()).await.unwrap();
        assert_eq!((world.r2.blobs(), world.trouble.calls_of("r2.put")), (r2, puts), "{policy:?}");
        if policy != ConflictPolicy::Manual {
            let lane = account(&world.start()).await.unwrap().swap_remove(0);
            assert_eq!(lane.verdict, Verdict::Pass, "{lane:?}");
        }
        // Nothing that users did is lost on the way back, and nothing of the run stays.
        reverse_set(&world.start(), &loose()).await.unwrap();
        let media = world.media.blobs();
        assert_eq!(media["uploads/new"], "by a user");
        assert_eq!((&media["uploads/a"], &media["uploads/a.cutover-new"]), (&"legacy".into(), &"new".into()));
        if policy == ConflictPolicy::NewWins {
            assert_eq!((&media["uploads/1"], &media["uploads/3"]), (&"new".into(), &"new".into()));
        }
        undo_set(&world.start(), &loose()).await.unwrap();
        assert_eq!(world.r2.blobs().into_keys().collect::<Vec<_>>(), ["store/before"], "{policy:?}");
    }
}

#[tokio::test]
async fn a_legacy_side_that_lost_everything_takes_nothing_with_it() {
    let world = moved().await;
    let before = world.r2.blobs();
    (0..10).for_each(|id| world.media.remove(&format!("uploads/{id}")));
    let report = settle_set(&world.start(), &loose()).await.unwrap().unwrap();
    assert_eq!((report.deleted, report.kept), (0, 10), "{report:?}");
    assert_eq!(report.checks[0].verdict, Verdict::Fail);
    assert!(report.checks[0].remedy.contains("look like a loss"), "{report:?}");
    assert_eq!(world.r2.blobs(), before);
}
