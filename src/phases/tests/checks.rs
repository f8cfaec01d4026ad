//! Everything that looks and judges.

use super::{kind, names};
use crate::{
    engine::Unmet,
    error::FaultKind,
    migrate::world::loose,
    model::{Mode, Phase, StepState, Verdict},
    phases::testing::{FakeProbe, World, request},
    plan::{BucketPlan, PartsPlan, ProbeUse},
    ports::{Work as _, fakes::Mishap},
};
use serde_json::json;
use std::{sync::Arc, time::Duration};

/// Something that breaks a world.
type Harm = fn(&World);
/// The same with what it needs.
type Does<'a> = &'a dyn Fn(&World);

fn fill(world: &World) {
    let bytes = b"hello";
    let sha256 = crate::model::Digest::of(bytes).to_hex();
    for id in 1..=7 {
        world.legacy.put("users", json!({ "id": id, "updated_at": "" }));
        let file = json!({ "id": id, "user_id": id, "path": format!("f{id}"), "size": 5, "checksum": sha256, "updated_at": "" });
        world.legacy.put("files", file);
        world.media.put_bytes(&format!("f{id}"), &bytes[..]);
    }
}

#[tokio::test]
async fn a_whole_source_passes() {
    let world = World::new();
    fill(&world);
    let (done, _) = world.go(Phase::Validation, "records").await.unwrap();
    assert_eq!(names(&done.checks, Verdict::Pass), ["users keys", "files keys", "files references"]);
    let (done, _) = world.go(Phase::Validation, "files").await.unwrap();
    assert_eq!(done.checks[0].value, "7 files, 35 B, 7 hashed");
}

#[tokio::test]
async fn files_of_which_no_record_speaks_are_looked_at_too() {
    let mut world = World::new();
    world.plan.datasets.clear();
    world.plan.file_sets.push(loose());
    let r2 = BucketPlan::S3 {
        endpoint: "http://127.0.0.1:1".parse().unwrap(),
        bucket: "r2".into(),
        region: "auto".into(),
        access_key: "key".into(),
        secret_key: "secret".into(),
        path_style: true,
        timeout: Duration::from_secs(1),
        parts: PartsPlan { above: 1, size: 1 },
    };
    world.plan.buckets.insert("r2".into(), r2);
    (0..300).for_each(|id| world.media.put_bytes(&format!("uploads/{id}"), "hello"));
    let (done, _) = world.go(Phase::Validation, "files").await.unwrap();
    assert_eq!(
        (done.checks[0].name.as_str(), done.checks[0].value.as_str()),
        ("loose files", "300 files, 1.5 kB, 200 opened")
    );
    // One byte more than the new bucket takes.
    let long = format!("uploads/{}", "x".repeat(1025 - "store/".len()));
    let harms: [(Does<'_>, &str); 3] = [
        (&|world| world.media.put_odd("uploads/pipe", "a pipe"), "1 of 301 wrong: uploads/pipe: a pipe"),
        (&|world| world.media.put_bytes(&long, "x"), "its new key has 1025 bytes, the bucket takes 1024"),
        (&|world| world.trouble.on("media.open", 3, Mishap::Fail(FaultKind::Permission)), "1 of 300 wrong: uploads/"),
    ];
    for (harm, wanted) in harms {
        world.media.clear_odd();
        world.media.remove(&long);
        harm(&world);
        world.plan.migration.max_failures = 0;
        let checks = Unmet::checks(&world.go(Phase::Validation, "files").await.expect_err("not whole"));
        assert!(checks[0].value.contains(wanted), "{checks:?}");
        world.plan.migration.max_failures = 1;
    }
}

#[tokio::test]
async fn what_is_broken_in_the_source_is_named() {
    let world = World::new();
    fill(&world);
    world.legacy.remove("users", "3");
    let fault = world.go(Phase::Validation, "records").await.expect_err("dangling");
    let checks = Unmet::checks(&fault);
    assert_eq!(names(&checks, Verdict::Fail), ["files references"]);
    assert_eq!(checks.last().unwrap().value, "1 lead nowhere: 3 has user_id 3");

    let harms: [(Harm, &str); 3] = [
        (|world| world.media.remove("f2"), "1 of 7 wrong: 2: f2 is missing"),
        (|world| world.media.put_bytes("f2", &b"longer"[..]), "1 of 7 wrong: 2: f2 has 6 bytes, its record says 5"),
        (
            |world| world.media.put_bytes("f2", &b"other"[..]),
            "1 of 7 wrong: 2: the bytes of f2 are not those its record names",
        ),
    ];
    for (harm, wanted) in harms {
        let mut world = World::new();
        fill(&world);
        harm(&world);
        let fault = world.go(Phase::Validation, "files").await.expect_err("wrong");
        assert_eq!(Unmet::checks(&fault)[0].value, wanted);
        world.plan.migration.max_failures = 1;
        world.go(Phase::Validation, "files").await.expect("as many as the plan allows");
    }
}

#[tokio::test]
async fn objects_kept_aside_by_an_earlier_run_stop_this_one() {
    let world = World::new();
    fill(&world);
    world.new.put("users", json!({ "id": 99 }));
    let (done, _) = world.go(Phase::Preparation, "leftovers").await.unwrap();
    assert_eq!(done.checks[1].value, "1 of 1 rows are not on the legacy side; they stay");
    world.r2.put_bytes(".cutover-aside/x", &b"old"[..]);
    let fault = world.go(Phase::Preparation, "leftovers").await.expect_err("left over");
    assert_eq!(names(&Unmet::checks(&fault), Verdict::Fail), ["kept aside in r2"]);
}

#[tokio::test]
async fn everything_is_reached_in_preparation() {
    let mut world = World::new();
    fill(&world);
    world.probe("live", ProbeUse::Watch, &FakeProbe::new(&[Verdict::Unknown]));
    for step in ["environment", "stores", "switches", "probes", "counts"] {
        let (done, undo) = world.go(Phase::Preparation, step).await.unwrap();
        assert!(undo.is_null() && names(&done.checks, Verdict::Pass).len() == done.checks.len(), "{step}: {done:?}");
    }
    assert_eq!(world.work.noted("counted/users").await.unwrap(), Some(json!(7)));
    assert_eq!(world.work.noted("before/dns").await.unwrap(), Some(json!("old")));
    world.maintenance.set("api", None);
    assert_eq!(kind(world.go(Phase::Preparation, "switches").await), FaultKind::Unmet);
}

#[tokio::test]
async fn plain_connections_stop_production_only() {
    use crate::model::Environment;
    for (environment, url, passes) in [
        (Environment::Production, "http://127.0.0.1:4000/x", true),
        (Environment::Production, "http://[::1]:4000/x", true),
        (Environment::Production, "http://localhost/x", true),
        (Environment::Production, "https://example.org/x", true),
        (Environment::Production, "http://example.org/x", false),
        (Environment::Staging, "http://10.0.0.1/x", false),
        (Environment::Rehearsal, "http://example.org/x", true),
    ] {
        let mut world = World::new();
        world.plan.environment = environment;
        world.plan.announce.push(request(url));
        assert_eq!(world.go(Phase::Validation, "security").await.is_ok(), passes, "{environment:?} {url}");
    }
    let mut world = World::new();
    world.plan.dns.as_mut().unwrap().api_key = "  ".into();
    let fault = world.go(Phase::Validation, "security").await.expect_err("empty");
    assert_eq!(names(&Unmet::checks(&fault), Verdict::Fail), ["credentials"]);
}

#[tokio::test]
async fn monitoring_forgives_one_failed_journey_and_not_two_in_a_row() {
    use Verdict::{Fail, Pass};
    for (verdicts, passes) in [(&[Pass][..], true), (&[Pass, Fail, Pass], true), (&[Fail, Fail, Pass], false)] {
        let mut world = World::new();
        let probe = FakeProbe::new(verdicts);
        world.probe("journey", ProbeUse::After, &probe);
        let told = world.plan.phases.get_mut(&Phase::Monitoring).unwrap();
        (told.duration, told.every) = (Duration::from_millis(400), Duration::from_millis(1));
        let result = world.go(Phase::Monitoring, "watch").await;
        assert_eq!(result.is_ok(), passes, "{verdicts:?}: {result:?}");
        assert!(probe.calls().len() >= 2);
    }
}

#[tokio::test]
async fn monitoring_goes_on_where_the_last_process_left_it() {
    let mut world = World::new();
    world.plan.phases.get_mut(&Phase::Monitoring).unwrap().duration = Duration::from_hours(1);
    world.work.note("monitoring/watched_ms", &json!(3_600_000)).await.unwrap();
    world.go(Phase::Monitoring, "watch").await.unwrap();
}

#[tokio::test]
async fn slow_journeys_fail_the_performance_check() {
    for (ms, passes) in [(20.0, true), (1000.0, true), (1001.0, false)] {
        let mut world = World::new();
        world.probe("journey", ProbeUse::After, &FakeProbe::slow(ms));
        assert_eq!(world.go(Phase::PostValidation, "performance").await.is_ok(), passes, "{ms}");
    }
}

#[tokio::test]
async fn a_rollback_ends_only_where_it_began() {
    let validated = async |world: &World| crate::phases::rollback::legacy_validated(&world.cx()).await;
    let mut world = World::new();
    fill(&world);
    world.probe("legacy-login", ProbeUse::Legacy, &FakeProbe::new(&[Verdict::Fail, Verdict::Pass]));
    world.go(Phase::Preparation, "switches").await.unwrap();
    world.go(Phase::Preparation, "counts").await.unwrap();
    let done = validated(&world).await.unwrap();
    let wanted = [
        "maintenance as before",
        "dns as before",
        "deployment as before",
        "legacy-login",
        "users on the legacy side",
        "files on the legacy side",
    ];
    assert_eq!(names(&done.checks, Verdict::Pass), wanted);

    let failing = async |world: &World| {
        let fault = validated(world).await.expect_err("not as before");
        Unmet::checks(&fault)
            .into_iter()
            .filter(|check| check.verdict == Verdict::Fail)
            .map(|c| c.name)
            .collect::<Vec<_>>()
    };
    world.maintenance.set("api", Some("on"));
    assert_eq!(failing(&world).await, ["maintenance as before"]);
    world.maintenance.set("api", Some("off"));
    world.dns.set("10.0.0.2:53", Some("target"));
    assert_eq!(failing(&world).await, ["dns as before"]);
    world.dns.set("10.0.0.2:53", Some("old"));
    world.legacy.remove("users", "1");
    assert_eq!(failing(&world).await, ["users on the legacy side"]);
    crate::phases::rollback::forget(&world.cx(), "users", 1).await.unwrap();
    validated(&world).await.unwrap();
}

#[tokio::test]
async fn the_report_is_written_and_replaced() {
    let world = World::new();
    for _ in 0..2 {
        let script = crate::phases::script(&Arc::new(world.plan.clone()), Mode::Live);
        let mut view = crate::phases::truth::tests::view(&world.plan);
        crate::phases::truth::tests::put(&mut view, "cleanup/report", StepState::Intended);
        script.surroundings.truth(&world.cx(), &view).await;
        let report = script.phases[8].steps.last().unwrap();
        report.apply(&world.cx()).await.unwrap();
    }
    let read = |name: &str| std::fs::read_to_string(world.folder.path().join(name)).unwrap();
    let page = read("report.md");
    for part in ["# Cutover of test", "| Data migration |", "| users |", "## Conflicts"] {
        assert!(page.contains(part), "{part} in {page}");
    }
    let json: serde_json::Value = serde_json::from_str(&read("report.json")).unwrap();
    assert_eq!(json["phases"].as_array().unwrap().len(), 9);
}
