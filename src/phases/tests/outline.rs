//! Which steps there are, and those that are programs.

use super::{DEPLOYMENT, DNS, MAINTENANCE, kind};
use crate::{
    engine::Checked,
    error::FaultKind,
    migrate::world::loose,
    model::{Mode, Phase, Verdict},
    phases::testing::{FakeProbe, World, request},
    plan::{BackupsPlan, BucketEnd, CommandPlan, ProbeUse},
};
use serde_json::json;
use std::{sync::Arc, time::Duration};

#[test]
fn the_outline_names_what_the_plan_gives_cause_for_and_nothing_else() {
    let mut world = World::new();
    let pass = FakeProbe::new(&[Verdict::Pass]);
    for (name, wanted) in [
        ("live", ProbeUse::Watch),
        ("stage", ProbeUse::Staging),
        ("write", ProbeUse::WriteRefused),
        ("inactive", ProbeUse::Inactive),
        ("login-journey", ProbeUse::After),
        ("upload", ProbeUse::After),
        ("filters", ProbeUse::After),
    ] {
        world.probe(name, wanted, &pass);
    }
    world.plan.announce.push(request("http://127.0.0.1:1/announce"));
    let all: [(Phase, &[&str]); 9] = [
        (
            Phase::Preparation,
            &[
                "environment",
                "stores",
                "buckets",
                "switches",
                "probes",
                "leftovers",
                "counts",
                "backup",
                "restore",
                "preview",
                "lower-ttl",
            ],
        ),
        (Phase::Validation, &["records", "files", "target", "security", "staging", "way-back"]),
        (MAINTENANCE, &["announce", "read-only", "on", "writes-refused", "counts"]),
        (Phase::DataMigration, &["users", "users-verify", "files", "files-content", "files-verify", "way-back"]),
        (DEPLOYMENT, &["release", "journeys", "activate"]),
        (DNS, &["plan", "change"]),
        (
            Phase::PostValidation,
            &["authentication", "file-operations", "journeys", "late-changes", "integrity", "performance", "accounted"],
        ),
        (Phase::Monitoring, &["watch", "late-changes"]),
        (Phase::Cleanup, &["legacy", "leftovers", "report"]),
    ];
    // `buckets` come from the ports' plan side; the fake plan names none.
    world
        .plan
        .buckets
        .insert("media".into(), crate::plan::BucketPlan::Filesystem { root: world.folder.path().to_path_buf() });
    for (phase, wanted) in all {
        assert_eq!(world.outline(phase), wanted, "{phase}");
    }

    let mut bare = World::new();
    bare.plan.datasets.clear();
    (bare.plan.maintenance, bare.plan.deployment, bare.plan.release, bare.plan.dns) = (None, None, None, None);
    bare.plan.phases.get_mut(&Phase::Monitoring).unwrap().enabled = false;
    let bare_outline: Vec<Vec<String>> = Phase::ALL.into_iter().map(|phase| bare.outline(phase)).collect();
    assert_eq!(
        bare_outline,
        [vec!["environment"], vec!["security"], vec![], vec![], vec![], vec![], vec![], vec![], vec!["report"]]
    );
    bare.plan.file_sets.push(loose());
    for (phase, wanted) in [
        (Phase::Preparation, ["environment", "leftovers", "preview"].as_slice()),
        (Phase::Validation, &["files", "target", "security", "way-back"]),
        (Phase::DataMigration, &["loose", "loose-verify", "way-back"]),
        (Phase::PostValidation, &["late-changes", "accounted"]),
        (Phase::Cleanup, &["leftovers", "report"]),
    ] {
        assert_eq!(bare.outline(phase), wanted, "{phase}");
    }
}

#[tokio::test]
async fn a_file_set_moves_and_what_users_did_with_it_goes_back() {
    let mut world = World::new();
    world.plan.datasets.clear();
    world.plan.file_sets.push(loose());
    world.media.put_bytes("uploads/a", "a");
    for (phase, name) in [
        (Phase::Preparation, "preview"),
        (Phase::Validation, "files"),
        (Phase::Validation, "way-back"),
        (Phase::DataMigration, "loose"),
        (Phase::DataMigration, "loose-verify"),
        (Phase::PostValidation, "accounted"),
    ] {
        world.step(phase, name).apply(&world.cx()).await.unwrap_or_else(|fault| panic!("{name}: {}", fault.chain()));
    }
    world.r2.put_bytes("store/b", "by a user");
    for name in ["way-back", "loose"] {
        let step = world.step(Phase::DataMigration, name);
        step.undo(&world.cx(), &serde_json::Value::Null).await.unwrap();
    }
    assert_eq!(world.media.blobs().into_keys().collect::<Vec<_>>(), ["uploads/a", "uploads/b"]);
    assert!(world.r2.blobs().is_empty());
}

#[test]
fn step_names_are_unique() {
    let mut world = World::new();
    let command = |name: &str| CommandPlan {
        name: name.into(),
        run: vec!["true".into()],
        undo: None,
        timeout: Duration::from_secs(5),
    };
    for told in world.plan.phases.values_mut() {
        told.before.push(command("warm"));
        told.after.push(command("warm"));
    }
    let script = crate::phases::script(&Arc::new(world.plan.clone()), Mode::Live);
    let mut ids: Vec<_> = script.phases.iter().flat_map(|phase| &phase.steps).map(|step| step.id()).collect();
    let count = ids.len();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), count);
}

#[tokio::test]
async fn a_program_runs_and_is_undone_by_its_counterpart() {
    let mut world = World::new();
    let file = world.folder.path().join("warm");
    let touch = |program: &str| vec![program.to_owned(), file.display().to_string()];
    let told = world.plan.phases.get_mut(&Phase::Monitoring).unwrap();
    told.before.push(CommandPlan {
        name: "warm".into(),
        run: touch("touch"),
        undo: Some(touch("rm")),
        timeout: Duration::from_secs(10),
    });
    let (_, undo) = world.go(Phase::Monitoring, "before-warm").await.unwrap();
    assert!(file.exists() && !undo.is_null());
    world.step(Phase::Monitoring, "before-warm").undo(&world.cx(), &undo).await.unwrap();
    assert!(!file.exists());
}

#[tokio::test]
async fn a_program_that_fails_hangs_or_is_not_there_is_a_fault() {
    let table: [(&[&str], u64, FaultKind); 3] = [
        (&["sh", "-c", "echo bad >&2; exit 3"], 10_000, FaultKind::Refused),
        (&["sleep", "600"], 20, FaultKind::Timeout),
        (&["/no/such/program"], 10_000, FaultKind::NotFound),
    ];
    for (run, limit, wanted) in table {
        let mut world = World::new();
        world.plan.phases.get_mut(&DNS).unwrap().after.push(CommandPlan {
            name: "x".into(),
            run: run.iter().map(|word| (*word).to_owned()).collect(),
            undo: None,
            timeout: Duration::from_millis(limit),
        });
        assert_eq!(kind(world.go(DNS, "after-x").await), wanted, "{run:?}");
    }
}

#[tokio::test]
async fn a_dry_run_keeps_backups_on_this_machine_only_and_makes_nothing_in_a_store() {
    let mut world = World::new();
    world.new.put("users", json!({"id": 1}));
    for (in_bucket, kept) in [(true, 0), (false, 1)] {
        if in_bucket {
            let end = BucketEnd { bucket: "r2".into(), prefix: "kept/".into() };
            world.plan.migration.backups = BackupsPlan::Bucket(end);
        } else {
            world.plan.migration.backups = BackupsPlan::Beside;
        }
        let script = crate::phases::script(&Arc::new(world.plan.clone()), Mode::DryRun);
        for name in ["backup", "restore"] {
            let id = crate::phases::id(Phase::Preparation, name);
            let step = script.phases[0].steps.iter().find(|step| step.id() == id).unwrap();
            let done = match step.check(&world.cx()).await.unwrap() {
                Checked::Already(done) => done,
                Checked::Needed { .. } => step.apply(&world.cx()).await.unwrap(),
            };
            let read = done.checks.iter().any(|check| check.value.contains("a dry run makes nothing in a store"));
            assert_eq!(read, name == "restore" && !in_bucket, "{done:?}");
        }
        assert_eq!(world.trouble.calls_of("backups.put").min(1), kept);
    }
    assert_eq!((world.trouble.calls_of("new.scratch"), world.trouble.calls_of("new.write")), (0, 0));
}

#[tokio::test]
async fn a_dry_run_looks_and_touches_nothing() {
    let world = World::new();
    let script = crate::phases::script(&Arc::new(world.plan.clone()), Mode::DryRun);
    for step in script.phases.iter().filter(|one| one.phase >= MAINTENANCE).flat_map(|one| &one.steps) {
        if let Checked::Needed { .. } = step.check(&world.cx()).await.unwrap() {
            assert!(["dns_cutover/plan", "cleanup/report"].contains(&step.id().as_str()), "{}", step.id());
        }
    }
    for switch in [&world.maintenance, &world.release, &world.deployment, &world.dns] {
        assert!(switch.turned().is_empty());
    }
}
