//! What a gate gets to see.

use super::{Fresh, measure, rules};
use crate::{
    model::{Check, Phase, RuleState, StepId, StepState, Timestamp, Verdict},
    phases::{
        testing::{FakeProbe, World, request},
        truth::tests::{put, view},
    },
    plan::ProbeUse,
};
use std::time::Duration;

fn found<'a>(checks: &'a [Check], name: &str) -> Option<&'a Check> {
    checks.iter().find(|check| check.name == name)
}

fn with_checks(view: &mut crate::engine::view::RunView, step: &str, checks: Vec<Check>) {
    put(view, step, StepState::Done);
    let id = StepId::new(step);
    let step = view.phases.iter_mut().flat_map(|phase| &mut phase.steps).find(|one| one.id == id).unwrap();
    step.checks = checks;
}

#[tokio::test]
async fn before_anything_moved_everything_reachable_passes() {
    let world = World::new();
    world.go(Phase::Preparation, "switches").await.unwrap();
    let checks = measure(&world.cx(), &view(&world.plan), Phase::Maintenance, &Fresh::default()).await;
    let failing: Vec<&Check> = checks.iter().filter(|check| check.verdict != Verdict::Pass).collect();
    assert!(failing.is_empty(), "{failing:?}");
    for name in ["store legacy", "store new", "bucket r2", "maintenance observed", "dns observed", "way back"] {
        assert!(found(&checks, name).is_some_and(|check| check.max_age.is_some()), "{name}");
    }
    let mut names: Vec<&str> = checks.iter().map(|check| check.name.as_str()).collect();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count, "each name once");
}

#[tokio::test]
async fn a_switch_that_moved_by_itself_is_seen() {
    let world = World::new();
    world.go(Phase::Preparation, "switches").await.unwrap();
    let mut view = view(&world.plan);
    put(&mut view, "maintenance/on", StepState::Done);
    let evidence = async |view| measure(&world.cx(), view, Phase::DnsCutover, &Fresh::default()).await;
    let checks = evidence(&view).await;
    let check = found(&checks, "maintenance observed").unwrap();
    assert_eq!((check.verdict, check.value.as_str(), check.limit.as_str()), (Verdict::Fail, "off", "on"));
    world.maintenance.set("api", Some("on"));
    let checks = evidence(&view).await;
    assert_eq!(found(&checks, "maintenance observed").unwrap().verdict, Verdict::Pass);
}

#[tokio::test]
async fn durable_findings_are_carried_and_journeys_repeated_before_they_are_stale() {
    let mut world = World::new();
    let probe = FakeProbe::new(&[Verdict::Pass]);
    world.probe("journey", ProbeUse::After, &probe);
    let mut view = view(&world.plan);
    let age = world.plan.rollback.evidence_max_age;
    let now = Timestamp::now();
    let check = |name: &str, at| Check::new(name, Verdict::Pass, "as before", at);
    let hour_ago = now - Duration::from_hours(1);
    with_checks(&mut view, "preparation/restore", vec![check("backup proven", hour_ago)]);
    with_checks(&mut view, "post_validation/journeys", vec![check("journey", now).stale_after(age)]);
    with_checks(&mut view, "post_validation/performance", vec![check("unrepeatable", hour_ago).stale_after(age)]);
    with_checks(&mut view, "cleanup/report", vec![check("of a later phase", now)]);
    let fresh = Fresh::default();

    let checks = measure(&world.cx(), &view, Phase::Cleanup, &fresh).await;
    assert_eq!(found(&checks, "backup proven").unwrap().counts(now), Verdict::Pass);
    assert_eq!(found(&checks, "unrepeatable").unwrap().counts(now), Verdict::Unknown);
    assert!(found(&checks, "of a later phase").is_none());
    assert!(probe.calls().is_empty(), "young enough");

    with_checks(&mut view, "post_validation/journeys", vec![check("journey", hour_ago).stale_after(age)]);
    for _ in 0..2 {
        let checks = measure(&world.cx(), &view, Phase::Cleanup, &fresh).await;
        assert_eq!(found(&checks, "journey").unwrap().value, "as ordered");
    }
    assert_eq!(probe.calls().len(), 1, "the repeated one is kept");
}

/// Everything the steps found lies an hour back; nothing of it may keep a gate closed that can be measured again, and
/// nothing may be walked again that was about another moment.
#[tokio::test]
async fn nothing_goes_stale_that_can_be_measured() {
    let mut world = World::new();
    let once = FakeProbe::new(&[Verdict::Pass, Verdict::Fail]);
    let refused = FakeProbe::new(&[Verdict::Fail, Verdict::Pass]);
    let (live, inactive) = (FakeProbe::new(&[Verdict::Pass]), FakeProbe::new(&[Verdict::Pass, Verdict::Fail]));
    world.plan.announce.push(request("http://127.0.0.1:1/announce"));
    world.ports.probes.insert("announce".into(), FakeProbe::new(&[Verdict::Pass, Verdict::Fail]));
    world.probe("stage", ProbeUse::Staging, &once);
    world.probe("write", ProbeUse::WriteRefused, &refused);
    world.probe("dark", ProbeUse::Inactive, &inactive);
    world.probe("journey", ProbeUse::After, &live);
    let mut view = view(&world.plan);
    for (phase, names) in [
        (Phase::Preparation, &["environment", "stores", "switches", "leftovers", "counts", "lower-ttl"][..]),
        (Phase::Validation, &["records", "files", "target", "security", "staging"]),
        (Phase::Maintenance, &["announce", "read-only", "on", "writes-refused"]),
        (Phase::Deployment, &["release", "journeys", "activate"]),
        (Phase::DnsCutover, &["plan", "change"]),
        (Phase::PostValidation, &["journeys", "performance"]),
        (Phase::Monitoring, &["watch"]),
    ] {
        for name in names {
            let (done, _) = world.go(phase, name).await.unwrap();
            let age = |mut check: Check| {
                check.at -= Duration::from_hours(1);
                check
            };
            let step = format!("{}/{name}", phase.name());
            with_checks(&mut view, &step, done.checks.into_iter().map(age).collect());
        }
    }
    let checks = measure(&world.cx(), &view, Phase::Cleanup, &Fresh::default()).await;
    let now = Timestamp::now();
    let bad: Vec<&Check> = checks.iter().filter(|check| check.counts(now) != Verdict::Pass).collect();
    assert!(bad.is_empty(), "{bad:#?}");
}

#[tokio::test]
async fn a_skipped_step_brings_no_evidence() {
    let world = World::new();
    let mut view = view(&world.plan);
    let check = Check::new("of a skipped step", Verdict::Fail, "", Timestamp::now());
    with_checks(&mut view, "validation/files", vec![check]);
    put(&mut view, "validation/files", StepState::Skipped);
    let checks = measure(&world.cx(), &view, Phase::Maintenance, &Fresh::default()).await;
    assert!(found(&checks, "of a skipped step").is_none());
}

#[test]
fn rules_speak_only_with_enough_samples_but_must_speak_for_the_commit() {
    let world = World::new();
    let rule = |value, breaches, samples| RuleState {
        rule: "errors".into(),
        metric: "error_rate".into(),
        value,
        limit: 0.05,
        breaches,
        budget: 3,
        samples,
        min_samples: 20,
        armed: true,
    };
    let table = [
        (rule(Some(0.01), 0, 100), Some(Verdict::Pass), Some(Verdict::Pass)),
        (rule(Some(0.2), 1, 100), Some(Verdict::Fail), Some(Verdict::Fail)),
        (rule(Some(0.0), 0, 3), None, Some(Verdict::Unknown)),
        (rule(None, 0, 0), None, Some(Verdict::Unknown)),
    ];
    for (state, before, commit) in table {
        let mut view = view(&world.plan);
        view.rules.insert("errors".into(), state.clone());
        let says = |phase| rules(&view, phase, Timestamp::now()).first().map(|check| check.verdict);
        assert_eq!((says(Phase::Maintenance), says(Phase::Cleanup)), (before, commit), "{state:?}");
    }
}
