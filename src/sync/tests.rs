use super::{Drift, DriftKind, drift, reverse, settle};
use crate::{
    error::FaultKind,
    migrate::{
        account, files as bytes, records, undo_files, undo_records,
        world::{World, blob_key, file, files, user, users},
    },
    model::{Record, Verdict},
    plan::{ConflictPolicy, DatasetPlan},
    ports::{Work, fakes::Mishap},
};
use serde_json::json;
use std::collections::BTreeMap;

/// Users in both sides' stores, as after a migration, and a row on the new side that was there before.
async fn migrated(count: u32, policy: ConflictPolicy) -> World {
    let mut world = World::new(count, 0);
    world.plan.migration.conflicts = policy;
    world.plan.datasets = vec![dataset()];
    world.new.put("users", json!({"id": 900, "email": "not ours"}));
    let cx = world.start();
    records::copy(&cx, &dataset()).await.unwrap();
    assert!(records::verify(&cx, &dataset()).await.unwrap().is_same());
    world
}

fn dataset() -> DatasetPlan {
    users()
}

/// A user changes fields of a row.
fn edit(store: &crate::ports::fakes::FakeStore, id: &str, fields: &[(&str, serde_json::Value)]) {
    let mut json = store.row("users", id).unwrap().to_json();
    for (field, value) in fields {
        json[*field] = value.clone();
    }
    store.put("users", json);
}

fn email(row: Option<Record>) -> String {
    row.unwrap().text("email").unwrap()
}

#[tokio::test]
async fn what_users_did_on_the_new_side_comes_back() {
    let world = migrated(12, ConflictPolicy::NewestWins).await;
    let untouched = world.old.row("users", "5");
    edit(&world.new, "3", &[("email", json!("changed@new")), ("staff", json!(1)), ("settings", json!("{\"x\":[1]}"))]);
    world.new.remove("users", "4");
    world.new.put(
        "users",
        json!({"id": 50, "first": "N", "last": "U", "name": "N U", "email": "created@new", "staff": 0,
            "settings": "{\"a\":1}", "own": 7, "updated_at": ""}),
    );
    let report = reverse(&world.start(), &dataset()).await.unwrap();
    assert_eq!((report.updated, report.created, report.deleted, report.open), (1, 1, 1, 0), "{report:?}");
    assert_eq!(report.checks[0].verdict, Verdict::Pass);
    let three = world.old.row("users", "3").unwrap().to_json();
    assert_eq!(three["email"], "changed@new");
    assert_eq!(
        (&three["staff"], &three["settings"], &three["secret"]),
        (&json!(true), &json!({"x": [1]}), &json!("s"))
    );
    assert_eq!(world.old.row("users", "4"), None);
    let created = world.old.row("users", "50").unwrap().to_json();
    assert_eq!(
        (&created["email"], &created["staff"], &created["settings"]),
        (&json!("created@new"), &json!(false), &json!({"a": 1}))
    );
    assert!(created.get("own").is_none() && created.get("name").is_none(), "{created}");
    assert_eq!(world.old.row("users", "5"), untouched);
    assert_eq!(world.old.row("users", "900"), None, "what stood there before is not the run's to carry");

    // Again: nothing is left to do, and nothing is done.
    let written = world.old.written().len();
    let again = reverse(&world.start(), &dataset()).await.unwrap();
    assert_eq!((again.updated, again.created, again.deleted), (0, 0, 0), "{again:?}");
    assert_eq!(world.old.written().len(), written);

    undo_records(&world.start(), &dataset()).await.unwrap();
    assert_eq!(world.new.rows("users").into_keys().collect::<Vec<_>>(), ["900"]);
    // After the undo nobody takes the empty side for deletions.
    let legacy = world.old.rows("users");
    reverse(&world.start(), &dataset()).await.unwrap();
    assert_eq!(world.old.rows("users"), legacy);
}

#[tokio::test]
async fn a_half_done_undo_or_a_lost_table_deletes_nothing() {
    let world = migrated(12, ConflictPolicy::NewWins).await;
    let legacy = world.old.rows("users");
    let cx = world.start();
    world.trouble.on("new.delete", 2, Mishap::Crash);
    assert_eq!(undo_records(&cx, &dataset()).await.unwrap_err().kind, FaultKind::Cancelled);
    reverse(&world.start(), &dataset()).await.unwrap();
    assert_eq!(world.old.rows("users"), legacy);

    for lost in [5, 12] {
        let world = migrated(12, ConflictPolicy::NewWins).await;
        (1..=lost).for_each(|id| world.new.remove("users", &id.to_string()));
        let report = reverse(&world.start(), &dataset()).await.unwrap();
        assert_eq!((report.deleted, report.kept, report.checks[0].verdict), (0, lost, Verdict::Fail));
        assert_eq!(world.old.rows("users").len(), 12);
    }
}

#[tokio::test]
async fn conflicts_are_decided_as_the_plan_says_and_always_kept() {
    for (policy, winner) in [
        (ConflictPolicy::LegacyWins, "legacy"),
        (ConflictPolicy::NewWins, "new"),
        (ConflictPolicy::NewestWins, "new"),
        (ConflictPolicy::Manual, "nobody"),
    ] {
        let world = migrated(6, policy).await;
        edit(&world.old, "2", &[("email", json!("legacy"))]);
        // The new side's clock runs from its own writes: make it the later one.
        for _ in 0..100 {
            edit(&world.new, "2", &[("email", json!("new"))]);
        }
        let report = reverse(&world.start(), &dataset()).await.unwrap();
        let expected = if winner == "new" { "new" } else { "legacy" };
        assert_eq!(email(world.old.row("users", "2")), expected, "{policy:?}");
        assert_eq!((report.open, report.resolved), if winner == "nobody" { (1, 0) } else { (0, 1) });
        let kept = world.work.conflicts().await.unwrap();
        assert_eq!((kept.len(), &kept[0].legacy["email"], &kept[0].new["email"]), (1, &json!("legacy"), &json!("new")));
        assert_eq!(kept[0].resolution.is_empty(), winner == "nobody");
        reverse(&world.start(), &dataset()).await.unwrap();
        assert_eq!(email(world.old.row("users", "2")), expected, "{policy:?}, again");
    }
}

#[tokio::test]
async fn two_records_under_one_key_and_changes_without_a_way_are_never_swallowed() {
    let world = migrated(6, ConflictPolicy::NewWins).await;
    world.old.put("users", user(60));
    world.new.put("users", json!({"id": 60, "first": "Other", "last": "One", "email": "other", "updated_at": ""}));
    edit(&world.new, "1", &[("name", json!("computed, then changed"))]);
    let report = reverse(&world.start(), &dataset()).await.unwrap();
    assert_eq!((report.open, report.stranded.len(), report.checks[0].verdict), (1, 1, Verdict::Fail), "{report:?}");
    assert_eq!(email(world.old.row("users", "60")), "U60@x.test");
    assert_eq!(world.work.conflicts().await.unwrap().len(), 2);
    reverse(&world.start(), &dataset()).await.unwrap();
    assert_eq!(email(world.old.row("users", "60")), "U60@x.test");
}

#[tokio::test]
async fn an_unfinished_copy_is_not_mistaken_for_users_work() {
    let calls = {
        let world = World::new(8, 0);
        records::copy(&world.start(), &dataset()).await.unwrap();
        world.trouble.calls()
    };
    for call in 1..=calls {
        let world = World::new(8, 0);
        world.new.put("users", json!({"id": 2, "email": "was here", "updated_at": ""}));
        let legacy = world.old.rows("users");
        let cx = world.start();
        world.trouble.at(call, Mishap::CrashAfter);
        let _killed = records::copy(&cx, &dataset()).await;
        reverse(&world.start(), &dataset()).await.unwrap();
        assert_eq!(world.old.rows("users"), legacy, "killed at {call}");
    }
}

#[tokio::test]
async fn refused_rows_are_told_and_the_others_arrive() {
    let world = migrated(6, ConflictPolicy::NewWins).await;
    edit(&world.new, "1", &[("email", json!("one"))]);
    edit(&world.new, "2", &[("email", json!("two"))]);
    world.old.poison("1");
    let fault = reverse(&world.start(), &dataset()).await.unwrap_err();
    assert_eq!((fault.kind, fault.detail.as_str()), (FaultKind::Unmet, "1: poison"));
    assert_eq!(email(world.old.row("users", "2")), "two");
    world.old.heal();
    reverse(&world.start(), &dataset()).await.unwrap();
    assert_eq!(email(world.old.row("users", "1")), "one");
}

/// Files on both sides, as after a migration; then a user uploads one and overwrites one on the new side.
async fn with_uploads() -> World {
    let mut world = World::new(0, 6);
    world.plan.datasets = vec![files()];
    let cx = world.start();
    records::copy(&cx, &files()).await.unwrap();
    bytes::copy(&cx, &files()).await.unwrap();
    records::verify(&cx, &files()).await.unwrap();
    bytes::verify(&cx, &files(), bytes::VerifyLevel::Checksum).await.unwrap();
    assert!(account(&cx).await.unwrap().iter().all(|check| check.verdict == Verdict::Pass));
    let mut upload = file(30);
    upload["file_path"] = json!("uploads/30.csv");
    world.new.put("files", upload);
    world.r2.put_bytes(&blob_key(30), crate::migrate::world::bytes(30));
    // A path that another file has on the legacy side.
    world.media.put_bytes("taken.csv", "somebody else's");
    let mut collides = file(31);
    collides["file_path"] = json!("taken.csv");
    world.new.put("files", collides);
    world.r2.put_bytes(&blob_key(31), crate::migrate::world::bytes(31));
    let mut changed = world.new.row("files", "2").unwrap().to_json();
    changed["size"] = json!(3);
    changed["checksum"] = json!(crate::model::Digest::of(b"new").to_hex());
    world.new.put("files", changed);
    world.r2.put_bytes(&blob_key(2), "new");
    world
}

fn assert_uploads_came_back(world: &World, why: &str) {
    let media = world.media.blobs();
    assert_eq!(media["uploads/30.csv"], crate::migrate::world::bytes(30), "{why}");
    assert_eq!(media["taken.csv"], "somebody else's", "{why}");
    assert_eq!(media["media/2.csv"], "new", "{why}");
    let path = world.old.row("files", "31").unwrap().text("file_path").unwrap();
    assert_eq!(media[&path], crate::migrate::world::bytes(31), "{why}");
    assert_eq!(world.old.row("files", "2").unwrap().text("size").unwrap(), "3", "{why}");
}

#[tokio::test]
async fn bytes_come_back_and_go_with_the_undo() {
    let world = with_uploads().await;
    let report = reverse(&world.start(), &files()).await.unwrap();
    assert_eq!((report.files, report.created, report.updated), (3, 2, 1), "{report:?}");
    assert_uploads_came_back(&world, "once");
    let again = reverse(&world.start(), &files()).await.unwrap();
    assert_eq!((again.files, again.created, again.updated), (0, 0, 0), "{again:?}");
    undo_files(&world.start(), &files()).await.unwrap();
    undo_records(&world.start(), &files()).await.unwrap();
    assert_eq!(world.r2.blobs(), BTreeMap::new());
    assert!(world.new.rows("files").is_empty());
}

#[tokio::test]
async fn killed_at_every_call_users_work_comes_back_whole() {
    let calls = {
        let world = with_uploads().await;
        let before = world.trouble.calls();
        reverse(&world.start(), &files()).await.unwrap();
        world.trouble.calls() - before
    };
    for call in 1..=calls {
        for mishap in [Mishap::Crash, Mishap::CrashAfter] {
            let world = with_uploads().await;
            let cx = world.start();
            world.trouble.at(call, mishap);
            assert_eq!(reverse(&cx, &files()).await.unwrap_err().kind, FaultKind::Cancelled);
            let report = reverse(&world.start(), &files()).await.unwrap();
            assert_eq!((report.open, report.resolved, report.deleted), (0, 0, 0), "killed at {call}");
            assert_uploads_came_back(&world, &format!("killed at {call}"));
            undo_files(&world.start(), &files()).await.unwrap();
            undo_records(&world.start(), &files()).await.unwrap();
            assert_eq!(
                (world.r2.blobs(), world.new.rows("files")),
                (BTreeMap::new(), BTreeMap::new()),
                "killed at {call}"
            );
        }
    }
}

#[tokio::test]
async fn late_changes_of_the_legacy_side_are_found_and_settled() {
    for (policy, winner) in
        [(ConflictPolicy::LegacyWins, "legacy"), (ConflictPolicy::NewWins, "new"), (ConflictPolicy::Manual, "new")]
    {
        let world = migrated(9, policy).await;
        assert!(drift(&world.start(), &dataset()).await.unwrap().is_empty());
        edit(&world.old, "2", &[("email", json!("late"))]);
        edit(&world.old, "3", &[("email", json!("legacy"))]);
        edit(&world.new, "3", &[("email", json!("new"))]);
        edit(&world.new, "5", &[("email", json!("only new"))]);
        world.old.put("users", user(40));
        world.old.remove("users", "7");
        let found: BTreeMap<String, DriftKind> = drift(&world.start(), &dataset())
            .await
            .unwrap()
            .into_iter()
            .map(|Drift { key, kind, .. }| (key, kind))
            .collect();
        let wanted =
            [("2", DriftKind::Legacy), ("3", DriftKind::Both), ("40", DriftKind::Created), ("7", DriftKind::Deleted)];
        assert_eq!(found, wanted.map(|(key, kind)| (key.to_string(), kind)).into());
        let report = settle(&world.start(), &dataset()).await.unwrap();
        assert_eq!((report.updated, report.created, report.deleted), (1, 1, 1), "{report:?}");
        assert_eq!(email(world.new.row("users", "2")), "late");
        assert_eq!(email(world.new.row("users", "3")), winner, "{policy:?}");
        assert_eq!(email(world.new.row("users", "5")), "only new");
        assert_eq!((world.new.row("users", "7"), world.new.row("users", "40").is_some()), (None, true));
        if policy != ConflictPolicy::Manual {
            assert!(drift(&world.start(), &dataset()).await.unwrap().is_empty(), "{policy:?}");
        }
        let live = records::verify_live(&world.start(), &dataset()).await.unwrap();
        assert!(live.is_same(), "{policy:?} {live:?}");
        let sums = account(&world.start()).await.unwrap();
        assert_eq!(sums[0].verdict, Verdict::Pass, "{sums:?}");
        // The way back still works from here.
        reverse(&world.start(), &dataset()).await.unwrap();
        assert_eq!(email(world.old.row("users", "5")), "only new");
        assert_eq!(
            email(world.old.row("users", "3")),
            if policy == ConflictPolicy::NewWins { "new" } else { "legacy" }
        );
        undo_records(&world.start(), &dataset()).await.unwrap();
        assert_eq!(world.new.rows("users").into_keys().collect::<Vec<_>>(), ["900"]);
    }
}

#[tokio::test]
async fn late_files_are_settled_with_their_bytes() {
    let mut world = World::new(0, 6);
    world.plan.datasets = vec![files()];
    let cx = world.start();
    records::copy(&cx, &files()).await.unwrap();
    bytes::copy(&cx, &files()).await.unwrap();
    world.add_file(11);
    world.old.remove("files", "5");
    let report = settle(&world.start(), &files()).await.unwrap();
    assert_eq!((report.created, report.deleted, report.files), (1, 1, 1), "{report:?}");
    world.assert_files_arrived();
    assert!(!world.r2.blobs().contains_key(&blob_key(5)));
    bytes::verify(&world.start(), &files(), bytes::VerifyLevel::Checksum).await.unwrap();
    records::verify(&world.start(), &files()).await.unwrap();
    let sums = account(&world.start()).await.unwrap();
    assert!(sums.iter().all(|check| check.verdict == Verdict::Pass), "{sums:?}");
}

#[test]
fn a_step_may_hold_it() {
    fn is_send<T: Send>(_: T) {}
    let world = World::new(0, 0);
    let cx = world.start();
    let dataset = dataset();
    is_send(reverse(&cx, &dataset));
    is_send(drift(&cx, &dataset));
    is_send(settle(&cx, &dataset));
}
