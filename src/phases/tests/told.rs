//! The legacy table that is told: looked at, told, told once more, and cleared.

use crate::{
    engine::{Checked, Unmet},
    error::FaultKind,
    model::{Mode, Phase, Verdict},
    phases::testing::World,
    plan::{TableName, WriteBackPlan},
    ports::fakes::{FakeTable, Mishap, Trouble},
};
use serde_json::json;
use std::{sync::Arc, time::Duration};

/// A world with so many files and a table that is told of them.
fn world(count: u32) -> (World, Arc<Trouble>, Arc<FakeTable>) {
    let mut world = World::new();
    for id in 1..=count {
        world.legacy.put("files", json!({ "id": id, "path": format!("f{id}"), "updated_at": "" }));
        world.media.put_bytes(&format!("f{id}"), "hello");
    }
    world.plan.datasets[1].blob.as_mut().unwrap().write_back = Some(WriteBackPlan {
        url: "postgres://u:p@db.test/d".into(),
        host: "db.test".into(),
        encrypted: false,
        table: TableName { schema: None, name: "saved".into() },
        key: "id".into(),
        timeout: Duration::from_secs(1),
    });
    let trouble = Trouble::none();
    let table = FakeTable::new((1..=count + 5).map(|id| id.to_string()), &trouble);
    world.ports.write_backs.insert("files".into(), table.clone());
    (world, trouble, table)
}

fn told(table: &FakeTable) -> usize {
    table.rows().values().flatten().count()
}

#[tokio::test]
async fn it_is_told_after_the_comparison_and_before_anything_is_taken_back() {
    let (world, trouble, table) = world(5);
    assert_eq!(
        world.outline(Phase::DataMigration),
        ["users", "users-verify", "files", "files-content", "files-verify", "files-write-back", "way-back"]
    );
    assert_eq!(world.outline(Phase::PostValidation).last().map(String::as_str), Some("files-write-back"));
    let (done, _) = world.go(Phase::Preparation, "write-back").await.unwrap();
    assert_eq!(done.checks[0].name, "write-back table of files");
    assert_eq!(done.checks[0].value, "saved answers; will be given r2_key, migrated_at");
    assert_eq!(trouble.calls_of("table.prepare"), 0, "looking changes nothing");
    for step in ["files", "files-content", "files-verify"] {
        world.go(Phase::DataMigration, step).await.unwrap();
    }
    let (done, undo) = world.go(Phase::DataMigration, "files-write-back").await.unwrap();
    assert_eq!((done.checks[0].name.as_str(), done.checks[0].value.as_str()), ("write-back of files", "5 of 5 rows"));
    assert_eq!(undo, json!({ "table": "saved" }));
    // A file that comes late is told by the phase after.
    world.legacy.put("files", json!({ "id": 6, "path": "f6", "updated_at": "" }));
    world.media.put_bytes("f6", "late");
    world.go(Phase::DataMigration, "files-content").await.unwrap();
    let (done, note) = world.go(Phase::PostValidation, "files-write-back").await.unwrap();
    assert_eq!((done.checks[0].value.as_str(), table.touched()), ("6 of 6 rows", 6));
    assert!(note.is_null());
    assert_eq!(told(&table), 6);
    world.step(Phase::DataMigration, "files-write-back").undo(&world.cx(), &undo).await.unwrap();
    assert_eq!(told(&table), 0);
}

#[tokio::test]
async fn a_table_out_of_reach_or_in_the_clear_is_seen_before_anything_begins() {
    let (world, trouble, _) = world(1);
    trouble.always("table.inspect", Mishap::Fail(FaultKind::Unauthorized));
    let fault = world.go(Phase::Preparation, "write-back").await.unwrap_err();
    assert_eq!((fault.kind, Unmet::checks(&fault)[0].verdict), (FaultKind::Unmet, Verdict::Fail));
    let seen = |world: &World| {
        let (world, step) = (world.cx(), world.step(Phase::Validation, "security"));
        async move { step.apply(&world).await.unwrap().checks[0].value.clone() }
    };
    assert_eq!(seen(&world).await, "without TLS: db.test");
    let (mut safe, ..) = self::world(1);
    safe.plan.datasets[1].blob.as_mut().unwrap().write_back.as_mut().unwrap().encrypted = true;
    assert_eq!(seen(&safe).await, "TLS, or this machine only");
}

#[tokio::test]
async fn a_dry_run_looks_at_the_table_and_tells_nothing() {
    let (world, trouble, _) = world(1);
    let script = crate::phases::script(&Arc::new(world.plan.clone()), Mode::DryRun);
    for step in script.phases.iter().flat_map(|phase| &phase.steps) {
        if step.id().as_str().ends_with("write-back")
            && let Checked::Needed { .. } = step.check(&world.cx()).await.unwrap()
        {
            step.apply(&world.cx()).await.unwrap();
        }
    }
    assert_eq!(trouble.calls_of("table.inspect"), 1);
    assert_eq!((trouble.calls_of("table.prepare"), trouble.calls_of("table.fill")), (0, 0));
}
