//! What an order leads to, once the table of legal moves lets it through.

use super::{Effect, Exclusion, Flight, Mend};
use crate::{
    command::{Command, Order, Refusal},
    engine::{legal::legal, view::RunView},
    event::EventKind,
    model::{Actor, Check, CommandId, LaneId, LaneStage, PauseDepth, Phase, RunState, Timestamp, Waiver},
};

/// The effects of an order: its answer first, then what it brings about.
pub(super) fn order(
    view: &RunView,
    flight: Option<&Flight>,
    id: CommandId,
    order: &Order,
    now: Timestamp,
) -> Vec<Effect> {
    if let Err(refusal) = legal(view, &order.command, now) {
        return vec![Effect::Reply(id, Err(refusal))];
    }
    if flight.is_some() && matches!(order.command, Command::Mend { .. }) {
        // The view shows a step a moment later than it flies.
        let why = "the run itself is at work".to_owned();
        return vec![Effect::Reply(id, Err(Refusal { why, legal_when: "in a moment".into() }))];
    }
    let by = order.by.clone();
    let mut effects =
        vec![Effect::Emit(EventKind::CommandAccepted { id, by: by.clone(), order: order.command.clone() })];
    effects.extend(effects_of(view, flight, id, by, &order.command));
    effects.push(Effect::Reply(id, Ok(())));
    effects
}

/// The gate before `phase` was approved on these checks.
pub(super) fn approved(phase: Phase, by: &Actor, waived: &[Waiver], checks: &[Check]) -> Vec<Effect> {
    let mut effects = vec![Effect::Emit(EventKind::GateApproved {
        phase,
        by: by.clone(),
        waived: waived.to_vec(),
        checks: checks.to_vec(),
    })];
    if phase == Phase::Cleanup {
        effects.push(Effect::Emit(EventKind::Committed { by: by.clone() }));
    }
    effects
}

fn effects_of(view: &RunView, flight: Option<&Flight>, id: CommandId, by: Actor, command: &Command) -> Vec<Effect> {
    match command.clone() {
        Command::Pause { depth, reason } => pause(view, flight, depth, by, reason),
        Command::Resume | Command::Retry => vec![Effect::Emit(EventKind::Resumed { by }), Effect::Pause(None)],
        Command::Approve { phase, waive } => {
            let checks = view.gate.as_ref().map(|gate| gate.checks.clone()).unwrap_or_default();
            approved(phase, &by, &waive, &checks)
        }
        Command::Refuse { phase, reason } => vec![Effect::Emit(EventKind::GateRefused { phase, by, reason })],
        Command::Rollback { reason } => vec![
            Effect::Emit(EventKind::RollbackStarted { by, reason, automatic: false }),
            Effect::Drop,
            Effect::Pause(None),
        ],
        Command::EmergencyStop { reason } => {
            vec![Effect::Drop, Effect::Emit(EventKind::EmergencyStop { by, reason })]
        }
        Command::Keep { reason } => vec![Effect::Emit(EventKind::VetoUsed { by, reason })],
        Command::Skip { step, reason } => vec![Effect::Emit(EventKind::StepSkipped { step, by, reason })],
        Command::Maintenance { on } => vec![Effect::Maintenance(id, by, on)],
        Command::Acknowledge { alert } => vec![Effect::Emit(EventKind::AlertAcknowledged { id: alert, by })],
        Command::Concurrency { lane, by } => vec![Effect::Concurrency(lane, by)],
        Command::Limit { lane, limits } => vec![Effect::Limit(lane, limits)],
        Command::RetryFiles { lane, batch } => vec![Effect::RetryFiles(id, lane, batch)],
        Command::Mend { lane, what } => {
            let live = view.phase(Phase::DnsCutover).started.is_some();
            let begins = EventKind::RepairStarted { lane: lane.clone(), what: what.words(), by: by.clone() };
            let begins = (!what.only_looks()).then_some(Effect::Emit(begins));
            begins.into_iter().chain([Effect::Mend(Mend { id, by, lane, what, live })]).collect()
        }
        Command::ExcludeFile { lane, key, reason } => {
            let still = is_still(view, &lane);
            vec![Effect::ExcludeFile(id, Exclusion { lane, key, by, reason, still })]
        }
    }
}

/// Nothing of the lane moves now.
fn is_still(view: &RunView, lane: &LaneId) -> bool {
    use RunState as S;
    match view.lanes.iter().find(|known| &known.lane == lane).map(|known| known.stage) {
        Some(LaneStage::Copying) => matches!(view.state, S::Paused | S::Stopped | S::Failed | S::AtGate),
        // Also while a gate waits.
        Some(LaneStage::Following) => matches!(view.state, S::Paused | S::Stopped | S::Failed),
        _ => true,
    }
}

fn pause(view: &RunView, flight: Option<&Flight>, depth: PauseDepth, by: Actor, reason: String) -> Vec<Effect> {
    let mut effects = vec![Effect::Emit(EventKind::Pausing { depth, by, reason })];
    if flight.is_none() {
        // Nothing has to drain but what follows the source: `advance` says that the run is paused.
        return effects;
    }
    effects.push(Effect::Pause(Some(depth)));
    // An undo is never cut for a pause: half an undo is the worst place to rest.
    if depth == PauseDepth::Now && view.state != RunState::RollingBack {
        effects.push(Effect::Drop);
    }
    effects
}
