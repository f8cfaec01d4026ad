//! Input → effects. Pure and synchronous: the dispatcher performs what comes out, in order, after the decisions among
//! it are in the journal.
//!
//! Two halves: [`decide`] answers one input; [`advance()`] says what a run does by itself when nothing is in flight. Both
//! look only at the view, so a recovered run goes on exactly as a live one.

mod advance;
mod orders;
#[cfg(test)]
mod tests;

pub use advance::advance;

use crate::{
    command::Order,
    engine::{gate, view::RunView},
    error::{Fault, FaultKind},
    event::{EventKind, UndoNote},
    model::{
        Actor, AlertId, BatchId, Check, CommandId, Fact, LaneId, LaneProgress, LaneStage, Limits, Mending, Outcome,
        PauseDepth, Phase, RunState, Severity, StepId, Tally, Timestamp,
    },
    watch::Finding,
};
use crate::{
    command::Refusal,
    engine::{
        files::FilesChanged,
        step::{StepDone, Unmet},
    },
    plan::RuleAction,
};
use std::time::Duration;

/// The source of the alert that nothing follows.
pub const FOLLOWER: &str = "follow";

/// What the rules need to know beside the view; fixed for the life of an engine but for `hold`.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "four independent yes-or-no settings, each named where it is set")]
pub struct Policy {
    /// Takes every gate whose checks all pass.
    pub approve_all: bool,
    /// Somebody is there to decide: a stopped, failed or stuck run waits for an order instead of ending the engine.
    pub hold: bool,
    /// A step that fails for good rolls back by itself.
    pub rollback_on_failure: bool,
    /// An emergency stop rolls back by itself.
    pub rollback_on_stop: bool,
    /// Time to veto an automatic rollback.
    pub veto: Duration,
    /// How long a gate may stay closed under `approve_all`.
    pub gate_timeout: Duration,
}

/// What is in flight: at most one piece of the run's own work at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Flight {
    /// A step.
    Step(StepId),
    /// An undo.
    Undo(StepId),
    /// The last stage of a rollback.
    LegacyValidation,
    /// What a person ordered about records.
    Mend(Box<Mend>),
}

/// What is to be done about records of a lane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mend {
    /// The order.
    pub id: CommandId,
    /// Who gave it.
    pub by: Actor,
    /// Of which lane.
    pub lane: LaneId,
    /// What.
    pub what: Mending,
    /// Users work on the new side.
    pub live: bool,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Mended {
    /// In one line.
    pub summary: String,
    /// The lane's sums now.
    pub tally: Tally,
    /// Its failed items by the kind of their error now.
    pub errors: Vec<(FaultKind, u64)>,
}

/// Something that reached the dispatcher.
#[derive(Debug)]
pub enum Input {
    /// Somebody asked for something.
    Order(CommandId, Order),
    /// The step in flight looks at the world.
    StepStarted(StepId, u32),
    /// The step in flight is about to change the world.
    StepIntends(StepId, String, UndoNote),
    /// What was in flight ended.
    Landed(Flight, Result<StepDone, Fault>),
    /// What was ordered about records, and was in flight, ended.
    Mended(Mend, Result<Mended, Fault>),
    /// What is in flight has drained and waits for the pause to end.
    Drained,
    /// The open gate's evidence was measured.
    Evidence(Phase, Vec<Check>),
    /// The truth line was looked at.
    Truth(Vec<Fact>),
    /// The watch found something.
    Found(Finding),
    /// The maintenance was turned by hand.
    MaintenanceTurned(CommandId, Actor, bool, Result<(), Fault>),
    /// An order about single files was carried out on the work tables.
    FilesChanged(CommandId, Result<FilesChanged, Fault>),
    /// What follows the source went round, or could not.
    Followed(Result<(), Fault>),
    /// What follows the source has left.
    FollowerLeft,
    /// Time passed.
    Tick,
}

impl Input {
    /// What was in flight no longer is.
    #[must_use]
    pub const fn lands(&self) -> bool {
        matches!(self, Self::Landed(..) | Self::Mended(..))
    }
}

/// What the dispatcher shall do.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Journal (if it is a decision), fold and publish it.
    Emit(EventKind),
    /// Answer an order.
    Reply(CommandId, Result<(), Refusal>),
    /// Put a step in flight.
    Step(StepId),
    /// Put an undo in flight.
    Undo(StepId, UndoNote),
    /// Put the last stage of a rollback in flight.
    ValidateLegacy,
    /// Put what is ordered about records in flight.
    Mend(Mend),
    /// Drop what is in flight, now.
    Drop,
    /// Ask what is in flight to drain, or let it go on.
    Pause(Option<PauseDepth>),
    /// Turn the maintenance by hand.
    Maintenance(CommandId, Actor, bool),
    /// More or fewer at once.
    Concurrency(LaneId, i32),
    /// How fast a lane may be.
    Limit(LaneId, Limits),
    /// Open the failed files of a batch again.
    RetryFiles(CommandId, LaneId, BatchId),
    /// Leave a file out.
    ExcludeFile(CommandId, Exclusion),
    /// Measure the open gate's evidence.
    Measure(Phase),
    /// The engine's part is over.
    End(Outcome),
}

/// A file to be left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exclusion {
    /// Of which lane.
    pub lane: LaneId,
    /// Its key in the target.
    pub key: String,
    /// Who.
    pub by: Actor,
    /// Why.
    pub reason: String,
    /// Nothing of the lane moves now: also a file may be left out that waits to be moved.
    pub still: bool,
}

/// What one input leads to.
#[must_use]
pub fn decide(view: &RunView, policy: &Policy, flight: Option<&Flight>, input: &Input, now: Timestamp) -> Vec<Effect> {
    match input {
        Input::Order(id, order) => orders::order(view, flight, *id, order, now),
        Input::StepStarted(step, attempt) => emit(EventKind::StepStarted { step: step.clone(), attempt: *attempt }),
        Input::StepIntends(step, intent, undo) => {
            emit(EventKind::StepIntended { step: step.clone(), intent: intent.clone(), undo: undo.clone() })
        }
        Input::Landed(flight, result) => landed(view, policy, flight, result, now),
        Input::Mended(mend, result) => mended(view, mend, result),
        Input::Drained if view.state == RunState::Pausing => emit(EventKind::Paused),
        Input::Drained | Input::FollowerLeft => Vec::new(),
        Input::Evidence(phase, checks) => evidence(view, policy, *phase, checks, now),
        Input::Truth(facts) => facts.iter().map(|fact| Effect::Emit(truth(view, fact))).collect(),
        Input::Found(finding) => found(view, policy, finding, now),
        Input::MaintenanceTurned(id, by, on, result) => match result {
            Ok(()) => vec![
                Effect::Emit(EventKind::MaintenanceTurned { on: *on, by: by.clone() }),
                Effect::Emit(EventKind::CommandEffective { id: *id }),
            ],
            Err(fault) => emit(EventKind::CommandFailed { id: *id, error: fault.advice() }),
        },
        Input::FilesChanged(id, Ok(changed)) => files_changed(view, *id, changed),
        Input::FilesChanged(id, Err(fault)) => {
            // A refusal is for whoever gave the order, who knows what was asked.
            let refused = fault.kind == FaultKind::Illegal;
            let error = if refused { fault.detail.clone() } else { fault.chain() };
            emit(EventKind::CommandFailed { id: *id, error })
        }
        Input::Followed(Ok(())) => clear(view, FOLLOWER),
        Input::Followed(Err(_)) if is_open(view, FOLLOWER) => Vec::new(),
        Input::Followed(Err(fault)) => {
            let text = format!("cannot follow the source, and tries again: {}", fault.chain());
            vec![raise(view, Severity::Warning, FOLLOWER, text)]
        }
        Input::Tick => tick(view, policy, now),
    }
}

/// The lane's sums come from the ledger, unless the lane is under way and counts by itself ([`Signals::by_hand`] tells it).
///
/// [`Signals::by_hand`]: super::Signals::by_hand
fn files_changed(view: &RunView, id: CommandId, changed: &FilesChanged) -> Vec<Effect> {
    let mut effects: Vec<Effect> = changed.events.iter().cloned().map(Effect::Emit).collect();
    let lane = view.lanes.iter().find(|lane| lane.lane == changed.lane);
    if let Some(lane) = lane.filter(|lane| !matches!(lane.stage, LaneStage::Copying | LaneStage::Verifying)) {
        let (tally, errors) = (changed.tally, changed.errors.clone());
        effects.push(Effect::Emit(EventKind::LaneMoved { progress: LaneProgress { tally, errors, ..lane.clone() } }));
    }
    effects.push(Effect::Emit(EventKind::CommandEffective { id }));
    effects
}

fn emit(kind: EventKind) -> Vec<Effect> {
    vec![Effect::Emit(kind)]
}

/// The failed thing in the words of the journal.
fn told(fault: &Fault) -> (FaultKind, String, String) {
    (fault.kind, fault.chain(), fault.kind.remedy().to_owned())
}

fn landed(
    view: &RunView,
    policy: &Policy,
    flight: &Flight,
    result: &Result<StepDone, Fault>,
    now: Timestamp,
) -> Vec<Effect> {
    let cancelled = matches!(result, Err(fault) if fault.kind == FaultKind::Cancelled);
    match (flight, result) {
        (Flight::Step(step) | Flight::Undo(step), _) if cancelled => {
            emit(EventKind::StepDropped { step: step.clone() })
        }
        // It lands as `Mended`.
        (Flight::Mend(_), _) => Vec::new(),
        (Flight::LegacyValidation, _) if cancelled => Vec::new(),
        (Flight::Step(step), Ok(done)) => {
            let (step, summary, checks) = (step.clone(), done.summary.clone(), done.checks.clone());
            // What it failed of before is mended: it must not keep a gate closed.
            let mended = clear(view, step.as_str());
            emit(EventKind::StepDone { step, summary, checks }).into_iter().chain(mended).collect()
        }
        (Flight::Step(step), Err(fault)) => step_failed(view, policy, step, fault, now),
        (Flight::Undo(step), Ok(done)) => {
            emit(EventKind::UndoDone { step: step.clone(), summary: done.summary.clone() })
        }
        (Flight::Undo(step), Err(fault)) => undo_failed(view, step.clone(), fault),
        (Flight::LegacyValidation, Ok(done)) => vec![
            Effect::Emit(EventKind::RollbackStageFinished {
                stage: crate::model::RollbackStage::LegacyValidated,
                summary: done.summary.clone(),
                checks: done.checks.clone(),
            }),
            Effect::Emit(EventKind::RolledBack),
        ],
        (Flight::LegacyValidation, Err(fault)) => undo_failed(view, StepId::new("rollback/legacy-validated"), fault),
    }
}

fn mended(view: &RunView, mend: &Mend, result: &Result<Mended, Fault>) -> Vec<Effect> {
    let failed = |error: String| emit(EventKind::CommandFailed { id: mend.id, error });
    let done = match result {
        Ok(done) => done,
        Err(fault) if fault.kind == FaultKind::Cancelled => {
            return failed("stopped half-way: what was done stays done, and it can be asked for again".into());
        }
        Err(fault) => return failed(fault.advice()),
    };
    let (lane, by, summary) = (mend.lane.clone(), mend.by.clone(), done.summary.clone());
    let mut effects = emit(if mend.what.only_looks() {
        EventKind::Compared { lane, by, summary }
    } else {
        EventKind::Repaired { lane, what: mend.what.words(), by, summary }
    });
    if let Some(known) = view.lanes.iter().find(|known| known.lane == mend.lane) {
        let (tally, errors) = (done.tally, done.errors.clone());
        effects.push(Effect::Emit(EventKind::LaneMoved { progress: LaneProgress { tally, errors, ..known.clone() } }));
    }
    effects.push(Effect::Emit(EventKind::CommandEffective { id: mend.id }));
    effects
}

fn undo_failed(view: &RunView, step: StepId, fault: &Fault) -> Vec<Effect> {
    let (kind, error, remedy) = told(fault);
    let text = format!("stuck: the undo of {step} failed: {error}");
    vec![
        Effect::Emit(EventKind::UndoFailed { step, fault: kind, error, remedy }),
        raise(view, Severity::Critical, "rollback", text),
    ]
}

fn step_failed(view: &RunView, policy: &Policy, step: &StepId, fault: &Fault, now: Timestamp) -> Vec<Effect> {
    let (kind, error, remedy) = told(fault);
    let reason = format!("{step}: {error}");
    let checks = Unmet::checks(fault);
    let mut effects = vec![
        Effect::Emit(EventKind::StepFailed { step: step.clone(), fault: kind, error, remedy, checks }),
        raise(view, Severity::Critical, step.as_str(), format!("failed: {}", fault.chain())),
    ];
    if policy.rollback_on_failure && view.committed.is_none() && !view.undo.is_empty() {
        effects.extend(open_veto(view, policy, "step failed", &reason, now));
    }
    effects
}

fn open_veto(view: &RunView, policy: &Policy, rule: &str, reason: &str, now: Timestamp) -> Option<Effect> {
    if view.veto.is_some() || view.rollback.is_some() || view.committed.is_some() {
        return None;
    }
    let deadline = now.checked_add(policy.veto).unwrap_or(now);
    Some(Effect::Emit(EventKind::VetoOpened { rule: rule.to_owned(), reason: reason.to_owned(), deadline }))
}

/// Raises an alert; its number follows the highest known one.
fn raise(view: &RunView, severity: Severity, source: &str, text: String) -> Effect {
    let id = AlertId(view.alerts.back().map_or(0, |alert| alert.id.0) + 1);
    Effect::Emit(EventKind::AlertRaised { id, severity, source: source.to_owned(), text })
}

/// Whether an alert of this source is open.
fn is_open(view: &RunView, source: &str) -> bool {
    view.alerts.iter().any(|alert| alert.source == source && alert.cleared.is_none())
}

/// Clears the open alerts of this source.
fn clear(view: &RunView, source: &str) -> Vec<Effect> {
    let open = view.alerts.iter().filter(|alert| alert.source == source && alert.cleared.is_none());
    open.map(|alert| Effect::Emit(EventKind::AlertCleared { id: alert.id })).collect()
}

fn evidence(view: &RunView, policy: &Policy, phase: Phase, checks: &[Check], now: Timestamp) -> Vec<Effect> {
    if view.gate.as_ref().is_none_or(|gate| gate.phase != phase) {
        return Vec::new();
    }
    let mut effects = emit(EventKind::GateMeasured { phase, checks: checks.to_vec() });
    if policy.approve_all && view.state == RunState::AtGate && gate::obstacles(checks, &[], now).is_empty() {
        effects.extend(orders::approved(phase, &Actor::engine("approve-all"), &[], checks));
    }
    effects
}

fn truth(view: &RunView, fact: &Fact) -> EventKind {
    let same = view.truth.get(&fact.aspect).is_some_and(|known| {
        known.intended == fact.intended && known.observed == fact.observed && known.detail == fact.detail
    });
    if same { EventKind::TruthSeen { aspect: fact.aspect } } else { EventKind::TruthChanged { fact: fact.clone() } }
}

fn found(view: &RunView, policy: &Policy, finding: &Finding, now: Timestamp) -> Vec<Effect> {
    match finding {
        Finding::Metric { metric, point } => emit(EventKind::MetricMeasured { metric: metric.clone(), point: *point }),
        Finding::Rule(state) => emit(EventKind::RuleEvaluated { state: state.clone() }),
        Finding::ProbeFailed { probe, .. } if is_open(view, &format!("probe {probe}")) => Vec::new(),
        Finding::ProbeFailed { probe, fault } => {
            vec![raise(view, Severity::Warning, &format!("probe {probe}"), format!("cannot measure {probe}: {fault}"))]
        }
        Finding::ProbeRecovered { probe } => clear(view, &format!("probe {probe}")),
        Finding::Cleared { rule } => clear(view, rule),
        Finding::Breached { rule, severity, action, reason } => {
            let mut effects = vec![raise(view, *severity, rule, reason.clone())];
            match action {
                RuleAction::Pause if view.state == RunState::Running => {
                    effects.push(Effect::Pause(Some(PauseDepth::AfterBatch)));
                    effects.push(Effect::Emit(EventKind::Pausing {
                        depth: PauseDepth::AfterBatch,
                        by: Actor::engine(rule.clone()),
                        reason: reason.clone(),
                    }));
                }
                RuleAction::Notify | RuleAction::Pause => {}
                RuleAction::Rollback => effects.extend(open_veto(view, policy, rule, reason, now)),
            }
            effects
        }
    }
}

fn tick(view: &RunView, policy: &Policy, now: Timestamp) -> Vec<Effect> {
    let mut effects: Vec<Effect> = ended(view).map(|id| Effect::Emit(EventKind::CommandEffective { id })).collect();
    if let Some(veto) = view.veto.as_ref().filter(|veto| now >= veto.deadline) {
        effects.push(Effect::Drop);
        effects.push(Effect::Pause(None));
        effects.push(Effect::Emit(EventKind::RollbackStarted {
            by: Actor::engine(veto.rule.clone()),
            reason: veto.reason.clone(),
            automatic: true,
        }));
    }
    if let Some(late) = late_gate(view, policy, now) {
        effects.extend(late);
    }
    effects
}

/// Under `approve_all` a gate that stays closed too long ends the attempt: nobody is there to look at it.
fn late_gate(view: &RunView, policy: &Policy, now: Timestamp) -> Option<Vec<Effect>> {
    let gate = view.gate.as_ref().filter(|_| policy.approve_all && view.state == RunState::AtGate)?;
    let waited = Duration::try_from(now.duration_since(gate.opened)).unwrap_or_default();
    if waited < policy.gate_timeout || view.veto.is_some() {
        return None;
    }
    let why = gate::obstacles(&gate.checks, &[], now).join("; ");
    let reason = format!("the gate before {} stayed closed for {} s: {why}", gate.phase, waited.as_secs());
    if view.undo.is_empty() {
        let outcome = Outcome::Blocked;
        return Some(vec![Effect::Emit(EventKind::RunFinished { outcome, reason }), Effect::End(outcome)]);
    }
    Some(vec![Effect::Emit(EventKind::RollbackStarted { by: Actor::engine("gate timeout"), reason, automatic: true })])
}

/// Commands whose effect has come about.
fn ended(view: &RunView) -> impl Iterator<Item = CommandId> + '_ {
    use crate::{command::Command as C, engine::view::CommandState};
    view.commands.iter().filter(|command| command.state == CommandState::Accepted).filter_map(|command| {
        let there = match command.order {
            C::Pause { .. } => view.state != RunState::Pausing,
            C::EmergencyStop { .. } => view.state != RunState::Stopping,
            C::Rollback { .. } => view.state == RunState::RolledBack,
            C::Maintenance { .. } | C::RetryFiles { .. } | C::ExcludeFile { .. } | C::Mend { .. } => false,
            _ => true,
        };
        there.then_some(command.id)
    })
}
