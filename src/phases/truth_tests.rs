//! The truth line as tables.

use super::{Seen, acts, facts, intended};
use crate::{
    command::Command,
    engine::view::{CommandState, CommandView, RunView},
    event::{Event, EventKind, PhaseOutline, StepOutline},
    model::{Actor, Aspect, CommandId, Environment, Mode, Phase, RunId, StepId, StepState, Timestamp},
    phases::{script, testing::World},
    plan::Plan,
};
use serde_json::json;
use std::sync::Arc;

/// A run of this plan that was just laid out.
pub(crate) fn view(plan: &Plan) -> RunView {
    view_of(plan, Mode::Live)
}

fn view_of(plan: &Plan, mode: Mode) -> RunView {
    let script = script(&Arc::new(plan.clone()), mode);
    let phases = script.phases.iter().map(|phase| PhaseOutline {
        phase: phase.phase,
        enabled: true,
        gate: false,
        steps: phase.steps.iter().map(|step| StepOutline { id: step.id(), title: step.title() }).collect(),
        expected_s: None,
    });
    let event = Event {
        seq: 1,
        at: Timestamp::UNIX_EPOCH,
        kind: EventKind::RunStarted {
            run: RunId::new("run-1"),
            plan: plan.name.clone(),
            plan_digest: String::new(),
            environment: Environment::Development,
            mode,
            phases: phases.collect(),
            by: Actor::engine("test"),
        },
    };
    crate::engine::fold::begin(&event).expect("a view")
}

/// Puts a step into this state.
pub(crate) fn put(view: &mut RunView, step: &str, state: StepState) {
    let id = StepId::new(step);
    let found = view.phases.iter_mut().flat_map(|phase| &mut phase.steps).find(|one| one.id == id);
    found.unwrap_or_else(|| panic!("no step {step}")).state = state;
}

fn says(view: &RunView) -> [String; 4] {
    let all = intended(view);
    Aspect::ALL.map(|aspect| all.get(&aspect).cloned().unwrap_or_else(|| "-".into()))
}

#[test]
fn intended_follows_the_steps() {
    use StepState::{Done, Intended, Undoing, Undone};
    let world = World::new();
    let mut view = view(&world.plan);
    let table = [
        (None, ["legacy", "legacy", "legacy", "legacy"]),
        (Some(("maintenance/read-only", Intended)), ["read-only", "legacy", "legacy", "legacy"]),
        (Some(("maintenance/read-only", Done)), ["read-only", "legacy", "legacy", "legacy"]),
        (Some(("maintenance/on", Intended)), ["refused", "legacy", "legacy", "legacy"]),
        (Some(("maintenance/on", Done)), ["refused", "legacy", "legacy", "legacy"]),
        (Some(("deployment/activate", Done)), ["refused", "legacy", "legacy", "legacy"]),
        (Some(("dns_cutover/change", Intended)), ["new", "new", "new", "new"]),
        (Some(("dns_cutover/change", Done)), ["new", "new", "new", "new"]),
        (Some(("dns_cutover/change", Undoing)), ["refused", "legacy", "legacy", "legacy"]),
        (Some(("dns_cutover/change", Undone)), ["refused", "legacy", "legacy", "legacy"]),
        (Some(("maintenance/on", Undoing)), ["read-only", "legacy", "legacy", "legacy"]),
        (Some(("maintenance/read-only", Undoing)), ["legacy", "legacy", "legacy", "legacy"]),
    ];
    for (change, wanted) in table {
        if let Some((step, state)) = change {
            put(&mut view, step, state);
        }
        assert_eq!(says(&view), wanted, "{change:?}");
    }
}

#[test]
fn without_names_the_active_colour_decides() {
    let mut world = World::new();
    world.plan.dns = None;
    let mut view = view(&world.plan);
    assert_eq!(says(&view), ["legacy", "legacy", "legacy", "-"]);
    put(&mut view, "deployment/activate", StepState::Done);
    assert_eq!(says(&view), ["new", "new", "new", "-"]);
}

#[test]
fn a_dry_run_intends_nothing() {
    let world = World::new();
    let mut view = view_of(&world.plan, Mode::DryRun);
    put(&mut view, "maintenance/on", StepState::Done);
    put(&mut view, "dns_cutover/change", StepState::Done);
    assert_eq!(says(&view), ["legacy", "legacy", "legacy", "legacy"]);
}

#[test]
fn what_a_dead_process_began_still_counts() {
    let world = World::new();
    let mut view = view(&world.plan);
    put(&mut view, "dns_cutover/change", StepState::Pending);
    assert!(!acts(&view, Phase::DnsCutover, "change"));
    view.undo.push(crate::engine::view::UndoEntry {
        step: StepId::new("dns_cutover/change"),
        phase: Phase::DnsCutover,
        note: json!({}),
    });
    for (state, wanted) in
        [(StepState::Pending, true), (StepState::Checking, true), (StepState::Failed, true), (StepState::Stuck, false)]
    {
        put(&mut view, "dns_cutover/change", state);
        assert_eq!(acts(&view, Phase::DnsCutover, "change"), wanted, "{state:?}");
    }
}

#[test]
fn a_hand_on_the_maintenance_counts_until_the_steps_come() {
    let world = World::new();
    let mut view = view(&world.plan);
    let at = |second| Timestamp::from_second(second).unwrap();
    let by_hand = |on, second| {
        Arc::new(CommandView {
            id: CommandId(1),
            by: Actor::engine("ada"),
            order: Command::Maintenance { on },
            accepted: at(second),
            ended: Some(at(second)),
            state: CommandState::Effective,
        })
    };
    view.commands.push_back(by_hand(true, 10));
    assert_eq!(says(&view)[0], "refused");
    view.commands.push_back(by_hand(false, 20));
    assert_eq!(says(&view)[0], "legacy");
    view.phases[2].started = Some(at(30));
    put(&mut view, "maintenance/on", StepState::Done);
    assert_eq!(says(&view)[0], "refused");
    view.commands.push_back(by_hand(false, 40));
    assert_eq!(says(&view)[0], "legacy");
}

#[tokio::test]
async fn observed_is_what_the_switches_say() {
    let world = World::new();
    let view = view(&world.plan);
    let line = async || {
        let seen = super::look(&world.cx()).await;
        let facts = facts(&world.plan, &view, &seen, Timestamp::UNIX_EPOCH);
        let cell = |aspect| {
            let fact = facts.iter().find(|fact| fact.aspect == aspect).expect("four cells");
            let observed = fact.observed.clone().unwrap_or_else(|| "?".into());
            if fact.detail.is_empty() { observed } else { format!("{observed} ({})", fact.detail) }
        };
        Aspect::ALL.map(cell)
    };
    assert_eq!(line().await, ["legacy", "legacy", "legacy", "legacy"]);
    world.maintenance.set("api", Some("read-only"));
    assert_eq!(line().await[0], "read-only");
    world.maintenance.set("api", Some("on"));
    assert_eq!(line().await[0], "refused");
    world.maintenance.set("api", None);
    assert_eq!(line().await, ["?", "legacy", "legacy", "legacy"]);
    world.maintenance.set("api", Some("on"));
    world.dns.set("10.0.0.1:53", Some("target"));
    assert_eq!(line().await, ["mixed", "mixed", "mixed", "mixed (1 of 2 resolvers new)"]);
    world.dns.set("10.0.0.1:53", None);
    assert_eq!(line().await, ["refused", "legacy", "legacy", "legacy (1 did not answer)"]);
    for who in ["api", "10.0.0.1:53", "10.0.0.2:53"] {
        world.dns.set(who, Some("target"));
    }
    assert_eq!(line().await, ["new", "new", "new", "new"]);
    for who in ["api", "10.0.0.1:53", "10.0.0.2:53"] {
        world.dns.set(who, None);
    }
    assert_eq!(line().await, ["?", "?", "?", "? (nobody answers)"]);
}

#[test]
fn a_world_that_says_nothing_is_unknown() {
    let world = World::new();
    let line = facts(&world.plan, &view(&world.plan), &Seen::default(), Timestamp::UNIX_EPOCH);
    assert!(line.iter().all(|fact| fact.observed.is_none() && !fact.agrees()));
}
