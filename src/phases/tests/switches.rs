//! Everything that turns a switch, or waits for one.

use super::{DEPLOYMENT, DNS, MAINTENANCE, kind, names};
use crate::{
    engine::{Checked, Unmet},
    error::FaultKind,
    event::UndoNote,
    model::{Phase, Verdict},
    phases::{
        testing::{FakeProbe, FakeSwitch, World, request},
        turn::{Colours, colours, short_lived},
    },
    plan::ProbeUse,
    ports::Position,
};
use serde_json::json;
use std::{collections::BTreeMap, time::Duration};

#[tokio::test]
async fn maintenance_goes_by_way_of_read_only_and_back_the_same_way() {
    let world = World::new();
    let (_, first) = world.go(MAINTENANCE, "read-only").await.unwrap();
    assert_eq!(world.maintenance.at(), "read-only");
    let (_, second) = world.go(MAINTENANCE, "on").await.unwrap();
    assert_eq!((world.maintenance.at().as_str(), &second), ("on", &json!({ "before": "read-only" })));

    world.step(MAINTENANCE, "on").undo(&world.cx(), &second).await.unwrap();
    assert_eq!(world.maintenance.at(), "read-only");
    let read_only = world.step(MAINTENANCE, "read-only");
    read_only.undo(&world.cx(), &first).await.unwrap();
    // Again, as after a kill between the undo and its word in the journal.
    read_only.undo(&world.cx(), &first).await.unwrap();
    assert_eq!(world.maintenance.turned(), ["read-only", "on", "read-only", "off"]);
}

#[tokio::test]
async fn a_switch_turned_by_a_run_that_died_goes_back_to_where_it_was_before() {
    let world = World::new();
    let on = world.step(MAINTENANCE, "on");
    let Checked::Needed { undo, .. } = on.check(&world.cx()).await.unwrap() else { panic!("nothing to do") };
    on.apply(&world.cx()).await.unwrap();
    // Dead here; the next process begins at check, and sees its own doing.
    let Checked::Needed { undo: again, .. } = on.check(&world.cx()).await.unwrap() else { panic!("taken for given") };
    assert_eq!((&undo, &again), (&json!({ "before": "off" }), &json!({ "before": "off" })));
    on.apply(&world.cx()).await.unwrap();
    on.settle(&world.cx()).await.unwrap();
    on.undo(&world.cx(), &undo).await.unwrap();
    assert_eq!(world.maintenance.at(), "off");
}

#[tokio::test]
async fn a_switch_that_stood_there_all_along_is_left_alone() {
    let world = World::new();
    world.maintenance.set("api", Some("on"));
    for step in ["read-only", "on"] {
        let (_, undo) = world.go(MAINTENANCE, step).await.unwrap();
        assert_eq!(undo, UndoNote::Null, "{step}");
    }
    assert!(world.maintenance.turned().is_empty());
}

#[tokio::test]
async fn a_hand_on_the_maintenance_during_the_run_does_not_hide_the_state_before_it() {
    let world = World::new();
    world.go(Phase::Preparation, "switches").await.unwrap();
    world.maintenance.set("api", Some("on"));
    let (_, undo) = world.go(MAINTENANCE, "read-only").await.unwrap();
    assert_eq!(undo, UndoNote::Null, "severer is as good");
    let (_, undo) = world.go(MAINTENANCE, "on").await.unwrap();
    world.step(MAINTENANCE, "on").undo(&world.cx(), &undo).await.unwrap();
    assert_eq!(world.maintenance.at(), "off");
}

#[tokio::test]
async fn a_switch_nobody_can_see_is_not_touched() {
    let world = World::new();
    world.maintenance.set("api", None);
    assert_eq!(kind(world.go(MAINTENANCE, "on").await), FaultKind::Unmet);
    assert!(world.maintenance.turned().is_empty());
}

#[tokio::test]
async fn settling_waits_for_a_slow_switch_and_forgives_a_lost_look() {
    let world = World::new();
    let on = world.step(MAINTENANCE, "on");
    on.check(&world.cx()).await.unwrap();
    world.maintenance.lag(2);
    on.apply(&world.cx()).await.unwrap();
    world.maintenance.fail(FaultKind::Timeout);
    on.settle(&world.cx()).await.unwrap();
    assert_eq!(world.maintenance.at(), "on");
    assert!(world.notes().iter().any(|note| note.contains("stands at off")));
}

#[tokio::test]
async fn settling_gives_up_in_the_end_and_says_where_it_stands() {
    let mut world = World::new();
    world.plan.dns.as_mut().unwrap().propagation = Duration::ZERO;
    let change = world.step(DNS, "change");
    change.check(&world.cx()).await.unwrap();
    change.apply(&world.cx()).await.unwrap();
    let fault = change.settle(&world.cx()).await.expect_err("too slow");
    assert_eq!((fault.kind, fault.detail.as_str()), (FaultKind::Unmet, "0 of 2 resolvers"));
}

#[tokio::test]
async fn a_stop_ends_the_wait_at_once() {
    let world = World::new();
    let on = world.step(MAINTENANCE, "on");
    on.check(&world.cx()).await.unwrap();
    world.maintenance.lag(1_000_000);
    on.apply(&world.cx()).await.unwrap();
    let cx = world.cx();
    let (result, ()) = tokio::join!(on.settle(&cx), async { world.stop.cancel() });
    assert_eq!(kind(result), FaultKind::Cancelled);
}

#[tokio::test]
async fn writes_must_really_be_refused_by_a_side_that_is_alive() {
    for (verdict, passes) in [(Verdict::Fail, true), (Verdict::Pass, false), (Verdict::Unknown, false)] {
        let mut world = World::new();
        world.probe("write", ProbeUse::WriteRefused, &FakeProbe::new(&[verdict]));
        assert_eq!(world.go(MAINTENANCE, "writes-refused").await.is_ok(), passes, "{verdict:?}");
    }
    let mut dead = World::new();
    dead.probe("write", ProbeUse::WriteRefused, &FakeProbe::new(&[Verdict::Fail]));
    dead.ports.stores.remove("legacy");
    let fault = dead.go(MAINTENANCE, "writes-refused").await.expect_err("a dead server proves nothing");
    assert_eq!(names(&Unmet::checks(&fault), Verdict::Fail), ["legacy still answers"]);
}

#[tokio::test]
async fn users_are_told_once() {
    let mut world = World::new();
    world.plan.announce.push(request("http://127.0.0.1:1/announce"));
    let probe = FakeProbe::new(&[Verdict::Pass]);
    world.ports.probes.insert("announce".into(), probe.clone());
    world.go(MAINTENANCE, "announce").await.unwrap();
    world.go(MAINTENANCE, "announce").await.unwrap();
    assert_eq!(probe.calls().len(), 1);
}

#[tokio::test]
async fn the_new_colour_stays_the_new_colour_once_it_is_active() {
    let world = World::new();
    let (_, released) = world.go(DEPLOYMENT, "release").await.unwrap();
    let (_, activated) = world.go(DEPLOYMENT, "activate").await.unwrap();
    assert_eq!((world.release.at(), world.deployment.at()), ("green".into(), "green".into()));
    let wanted = Colours { old: Position::new("blue"), new: Position::new("green") };
    assert_eq!(colours(&world.cx()).await.unwrap(), wanted);
    // A process that died after the activation sees green active and must not take blue for the new one.
    world.go(DEPLOYMENT, "activate").await.unwrap();
    assert_eq!(world.deployment.turned(), ["green", "green"]);
    world.step(DEPLOYMENT, "activate").undo(&world.cx(), &activated).await.unwrap();
    world.step(DEPLOYMENT, "release").undo(&world.cx(), &released).await.unwrap();
    assert_eq!((world.release.at(), world.deployment.at()), ("none".into(), "blue".into()));
}

#[tokio::test]
async fn the_inactive_colour_is_the_one_that_is_walked() {
    let mut world = World::new();
    let probe = FakeProbe::new(&[Verdict::Fail, Verdict::Pass]);
    world.probe("inactive", ProbeUse::Inactive, &probe);
    let (done, _) = world.go(DEPLOYMENT, "journeys").await.unwrap();
    let green = BTreeMap::from([("colour".to_owned(), "green".to_owned())]);
    assert_eq!(probe.calls(), [green.clone(), green]);
    assert_eq!(done.checks[0].value, "as ordered, attempt 2");
}

#[tokio::test]
async fn names_move_when_every_resolver_says_so_and_move_back() {
    let world = World::new();
    let (_, undo) = world.go(DNS, "change").await.unwrap();
    assert_eq!(undo, json!({ "before": "old" }));
    let notes = world.notes();
    assert!(notes.iter().any(|note| note.contains("1 of 2 resolvers")), "{notes:?}");
    world.step(DNS, "change").undo(&world.cx(), &undo).await.unwrap();
    assert_eq!((world.dns.at().as_str(), world.dns.turned()), ("old", vec!["target".into(), "old".into()]));
}

#[tokio::test]
async fn a_resolver_that_is_silent_stops_the_change_before_it_begins() {
    let world = World::new();
    world.go(DNS, "plan").await.unwrap();
    world.dns.set("10.0.0.2:53", None);
    let fault = world.go(DNS, "plan").await.expect_err("silent");
    assert_eq!(names(&Unmet::checks(&fault), Verdict::Fail), ["resolvers"]);
    assert!(fault.detail.contains("10.0.0.2:53"));
}

#[test]
fn only_times_to_live_that_are_too_long_are_cut() {
    let target = Position::new("api.test A 30 127.0.0.2\nwww.test CNAME 60 new.test");
    let table = [
        ("api.test A 300 127.0.0.1", "api.test A 30 127.0.0.1"),
        ("api.test A 10 127.0.0.1", "api.test A 10 127.0.0.1"),
        ("api.test A ? 127.0.0.1", "api.test A ? 127.0.0.1"),
        ("api.test A none", "api.test A none"),
        (
            "api.test A 300 127.0.0.1\nwww.test CNAME 3600 old.test",
            "api.test A 30 127.0.0.1\nwww.test CNAME 60 old.test",
        ),
        ("other.test A 300 127.0.0.1", "other.test A 300 127.0.0.1"),
        ("anything else", "anything else"),
    ];
    for (now, wanted) in table {
        assert_eq!(short_lived(&Position::new(now), &target).0, wanted);
    }
}

#[tokio::test]
async fn the_time_to_live_is_lowered_early_and_restored() {
    let mut world = World::new();
    let (old, short) = ("api.test A 300 127.0.0.1", "api.test A 30 127.0.0.1");
    world.dns = FakeSwitch::with_witnesses(&[], Some("api.test A 30 127.0.0.2"), &[("api", Some(old))]);
    world.ports.switches.insert("dns".into(), world.dns.clone());
    let (_, lowered) = world.go(Phase::Preparation, "lower-ttl").await.unwrap();
    assert_eq!((world.dns.at().as_str(), &lowered), (short, &json!({ "before": old })));
    let (_, moved) = world.go(DNS, "change").await.unwrap();
    assert_eq!(moved, json!({ "before": short }));
    world.step(DNS, "change").undo(&world.cx(), &moved).await.unwrap();
    world.step(Phase::Preparation, "lower-ttl").undo(&world.cx(), &lowered).await.unwrap();
    assert_eq!(world.dns.at(), old);
}

#[tokio::test]
async fn the_legacy_side_stays_closed_behind_the_commit() {
    let mut world = World::new();
    world.maintenance.set("api", Some("on"));
    world.go(Phase::Cleanup, "legacy").await.unwrap();
    assert_eq!(world.maintenance.at(), "read-only");
    let Some(crate::plan::SwitchPlan::Http { turn, .. }) = &mut world.plan.maintenance else { panic!("http") };
    turn.retain(|(position, _)| position != "read-only");
    world.maintenance.set("api", Some("off"));
    world.go(Phase::Cleanup, "legacy").await.unwrap();
    assert_eq!(world.maintenance.at(), "on");
}
