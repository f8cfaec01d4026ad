use super::reverse_set;
use crate::{
    migrate::{
        files::copy_set,
        undo_set,
        world::{World, loose},
    },
    model::Verdict,
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
