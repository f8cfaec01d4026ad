//! What a run does by itself when nothing is in flight.

use super::{Effect, Policy, emit};
use crate::{
    engine::view::{PhaseView, RunView},
    event::EventKind,
    model::{Actor, Outcome, PhaseState, RollbackStage, RunState, StepState},
};

/// The next move of a run in which nothing is in flight. Empty: it waits for an order, or is over. To be asked again
/// after each move until it is empty.
#[must_use]
pub fn advance(view: &RunView, policy: &Policy) -> Vec<Effect> {
    if view.outcome.is_some() {
        return Vec::new();
    }
    match view.state {
        RunState::Ready | RunState::Running | RunState::Committing => forward(view),
        RunState::RollingBack => back(view),
        RunState::Pausing => emit(EventKind::Paused),
        RunState::Stopping => emit(EventKind::Stopped),
        RunState::Stopped if policy.rollback_on_stop && view.committed.is_none() && view.rollback.is_none() => {
            emit(EventKind::RollbackStarted {
                by: Actor::engine("plan: rollback.on_stop"),
                reason: view.reason.clone(),
                automatic: true,
            })
        }
        RunState::Stopped => held(view, policy, Outcome::Stopped),
        RunState::Stuck => held(view, policy, Outcome::Stuck),
        RunState::Failed if view.veto.is_some() => Vec::new(),
        RunState::Failed if view.undo.is_empty() && view.committed.is_none() => held(view, policy, Outcome::Blocked),
        RunState::Failed => held(view, policy, Outcome::Failed),
        RunState::RolledBack => finish(Outcome::RolledBack, rolled_back_because(view)),
        RunState::AtGate | RunState::Paused | RunState::Completed => Vec::new(),
    }
}

fn rolled_back_because(view: &RunView) -> String {
    view.rollback.as_ref().map(|rollback| format!("{}: {}", rollback.by, rollback.reason)).unwrap_or_default()
}

/// Waits for an order while somebody is there to give one; otherwise the engine's part is over.
fn held(view: &RunView, policy: &Policy, outcome: Outcome) -> Vec<Effect> {
    if policy.hold { Vec::new() } else { finish(outcome, view.reason.clone()) }
}

fn finish(outcome: Outcome, reason: String) -> Vec<Effect> {
    vec![Effect::Emit(EventKind::RunFinished { outcome, reason }), Effect::End(outcome)]
}

fn forward(view: &RunView) -> Vec<Effect> {
    let unfinished = |phase: &&PhaseView| !matches!(phase.state, PhaseState::Off | PhaseState::Done);
    let Some(phase) = view.phases.iter().find(unfinished) else {
        return finish(Outcome::Completed, String::new());
    };
    match phase.state {
        PhaseState::Running => match phase.steps.iter().find(|step| step.state == StepState::Pending) {
            Some(step) => vec![Effect::Step(step.id.clone())],
            None => emit(EventKind::PhaseFinished { phase: phase.phase }),
        },
        _ if phase.gate && !phase.approved => {
            vec![Effect::Emit(EventKind::GateOpened { phase: phase.phase }), Effect::Measure(phase.phase)]
        }
        _ if phase.phase == crate::model::Phase::Cleanup && view.committed.is_none() => {
            emit(EventKind::Committed { by: Actor::engine("plan: no gate before cleanup") })
        }
        _ => emit(EventKind::PhaseStarted { phase: phase.phase }),
    }
}

fn back(view: &RunView) -> Vec<Effect> {
    let Some(rollback) = &view.rollback else {
        return Vec::new();
    };
    let done = |stage: RollbackStage| rollback.done.iter().any(|(done, _)| *done == stage);
    let Some(stage) = RollbackStage::ALL.into_iter().find(|stage| !done(*stage)) else {
        return emit(EventKind::RolledBack);
    };
    if rollback.stage != Some(stage) {
        return emit(EventKind::RollbackStageStarted { stage });
    }
    if stage == RollbackStage::LegacyValidated {
        return vec![Effect::ValidateLegacy];
    }
    // The stack is worked off from its top; an entry of an earlier stage than its neighbours (a program that a phase
    // runs) is undone with them, since the order of undoing matters more than the name of the stage.
    match view.undo.last().filter(|entry| entry.phase.rollback_stage() <= stage) {
        Some(entry) => vec![
            Effect::Emit(EventKind::UndoStarted { step: entry.step.clone() }),
            Effect::Undo(entry.step.clone(), entry.note.clone()),
        ],
        None => emit(EventKind::RollbackStageFinished { stage, summary: undone_in(view, stage), checks: Vec::new() }),
    }
}

fn undone_in(view: &RunView, stage: RollbackStage) -> String {
    let undone: Vec<&str> = view
        .phases
        .iter()
        .filter(|phase| phase.phase.rollback_stage() == stage)
        .flat_map(|phase| &phase.steps)
        .filter(|step| step.state == StepState::Undone)
        .map(|step| step.note.as_str())
        .collect();
    if undone.is_empty() { "nothing to undo".to_owned() } else { undone.join("; ") }
}
