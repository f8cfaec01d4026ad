//! Events → state. The one place where a run's state changes; live, recovered, attached and replayed views all come
//! through here. Pure: the same events give the same view.

mod watch;
mod work;

use crate::{
    command::Command,
    engine::view::{
        COMMANDS_KEPT, CommandState, CommandView, GateView, MendingView, PauseView, PhaseView, RunView, StepView,
    },
    event::{Event, EventKind, PhaseOutline},
    model::{Actor, CommandId, Outcome, Phase, PhaseState, RunState, StepState, Timestamp},
};
use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

/// The view that a run's events make; `None` unless they begin with `run_started`.
pub fn fold<'a>(events: impl IntoIterator<Item = &'a Event>) -> Option<RunView> {
    let mut events = events.into_iter();
    let mut view = begin(events.next()?)?;
    for event in events {
        view.apply(event);
    }
    Some(view)
}

/// The view of a run that was just laid out; `None` for any other event.
#[must_use]
pub fn begin(event: &Event) -> Option<RunView> {
    let EventKind::RunStarted { run, plan, plan_digest, environment, mode, phases, .. } = &event.kind else {
        return None;
    };
    Some(RunView {
        run: run.clone(),
        plan: plan.clone(),
        plan_digest: plan_digest.clone(),
        environment: *environment,
        mode: *mode,
        seq: event.seq,
        at: event.at,
        started: event.at,
        state: RunState::Ready,
        reason: String::new(),
        since: event.at,
        outcome: None,
        phase: phases.iter().find(|phase| phase.enabled).map_or(Phase::Preparation, |phase| phase.phase),
        phases: phases.iter().map(phase_view).collect(),
        gate: None,
        undo: Vec::new(),
        committed: None,
        rollback: None,
        veto: None,
        pause: None,
        maintenance_since: None,
        truth: BTreeMap::new(),
        truth_seen: BTreeMap::new(),
        lanes: Vec::new(),
        batches: BTreeMap::new(),
        series: BTreeMap::new(),
        rules: BTreeMap::new(),
        alerts: VecDeque::new(),
        commands: VecDeque::new(),
        exceptions: Vec::new(),
        mending: None,
    })
}

fn phase_view(outline: &PhaseOutline) -> PhaseView {
    PhaseView {
        phase: outline.phase,
        state: if outline.enabled { PhaseState::Pending } else { PhaseState::Off },
        gate: outline.gate,
        approved: false,
        started: None,
        finished: None,
        expected_s: outline.expected_s,
        steps: outline
            .steps
            .iter()
            .map(|step| StepView {
                id: step.id.clone(),
                title: step.title.clone(),
                state: StepState::Pending,
                attempt: 0,
                ratio: None,
                note: String::new(),
                checks: Vec::new(),
            })
            .collect(),
    }
}

impl RunView {
    /// Takes one more event in.
    pub fn apply(&mut self, event: &Event) {
        self.seq = self.seq.max(event.seq);
        self.at = self.at.max(event.at);
        let at = event.at;
        match &event.kind {
            EventKind::RunStarted { .. } => {}
            EventKind::RunRecovered { by } => {
                // The engine that worked on it is gone.
                self.mending = None;
                self.go_on(at, by, "recovered");
            }
            EventKind::RunFinished { outcome, reason } => self.finish(at, *outcome, reason),
            EventKind::PhaseStarted { .. }
            | EventKind::PhaseFinished { .. }
            | EventKind::GateOpened { .. }
            | EventKind::GateMeasured { .. }
            | EventKind::GateApproved { .. }
            | EventKind::GateRefused { .. } => self.apply_phase(at, &event.kind),
            EventKind::StepStarted { .. }
            | EventKind::StepIntended { .. }
            | EventKind::StepDone { .. }
            | EventKind::StepFailed { .. }
            | EventKind::StepDropped { .. }
            | EventKind::StepSkipped { .. }
            | EventKind::StepMoved { .. } => self.apply_step(at, &event.kind),
            EventKind::UndoStarted { .. }
            | EventKind::UndoDone { .. }
            | EventKind::UndoFailed { .. }
            | EventKind::RollbackStarted { .. }
            | EventKind::RollbackStageStarted { .. }
            | EventKind::RollbackStageFinished { .. }
            | EventKind::RolledBack
            | EventKind::VetoOpened { .. }
            | EventKind::VetoUsed { .. } => self.apply_rollback(at, &event.kind),
            EventKind::CommandAccepted { .. }
            | EventKind::CommandEffective { .. }
            | EventKind::CommandFailed { .. }
            | EventKind::Pausing { .. }
            | EventKind::Paused
            | EventKind::Resumed { .. }
            | EventKind::EmergencyStop { .. }
            | EventKind::Stopped
            | EventKind::Committed { .. }
            | EventKind::TakeBackStarted { .. }
            | EventKind::TakenBack { .. }
            | EventKind::BatchRetried { .. }
            | EventKind::RepairStarted { .. }
            | EventKind::Repaired { .. }
            | EventKind::Compared { .. }
            | EventKind::RestoreStarted { .. }
            | EventKind::Restored { .. }
            | EventKind::MaintenanceTurned { .. }
            | EventKind::FileExcluded { .. } => self.apply_order(at, &event.kind),
            EventKind::TruthChanged { .. }
            | EventKind::TruthSeen { .. }
            | EventKind::AlertRaised { .. }
            | EventKind::AlertAcknowledged { .. }
            | EventKind::AlertCleared { .. }
            | EventKind::MetricMeasured { .. }
            | EventKind::RuleEvaluated { .. } => self.apply_watch(at, &event.kind),
            EventKind::LaneMoved { progress } => self.lane_moved(progress),
            EventKind::BatchMoved { progress } => self.batch_moved(at, progress),
        }
    }

    fn set(&mut self, at: Timestamp, state: RunState, reason: impl Into<String>) {
        if self.state != state {
            self.since = at;
        }
        self.state = state;
        self.reason = reason.into();
    }

    /// Whatever held the run is over: failed and dropped steps are to be tried again.
    fn go_on(&mut self, at: Timestamp, by: &Actor, how: &str) {
        if self.state.is_end() {
            return;
        }
        self.outcome = None;
        self.pause = None;
        for phase in &mut self.phases {
            if phase.state == PhaseState::Failed {
                phase.state = PhaseState::Running;
            }
            for step in &mut phase.steps {
                match step.state {
                    StepState::Failed | StepState::Checking | StepState::Intended => step.state = StepState::Pending,
                    StepState::Undoing | StepState::Stuck => step.state = StepState::Done,
                    _ => {}
                }
            }
        }
        if let Some(gate) = &mut self.gate {
            gate.refused = None;
            gate.checks.clear();
        }
        self.set(at, self.going_on(), format!("{how} by {by}"));
    }

    fn finish(&mut self, at: Timestamp, outcome: Outcome, reason: &str) {
        self.outcome = Some(outcome);
        match outcome {
            Outcome::Completed => self.set(at, RunState::Completed, reason),
            Outcome::RolledBack => self.set(at, RunState::RolledBack, reason),
            Outcome::Stopped | Outcome::Failed | Outcome::Stuck | Outcome::Blocked => {}
        }
    }

    fn phase_mut(&mut self, phase: Phase) -> &mut PhaseView {
        &mut self.phases[phase.number() - 1]
    }

    fn apply_phase(&mut self, at: Timestamp, kind: &EventKind) {
        match kind {
            EventKind::PhaseStarted { phase } => {
                self.phase = *phase;
                let entry = self.phase_mut(*phase);
                entry.state = PhaseState::Running;
                entry.started = Some(at);
                if self.committed.is_none() {
                    self.set(at, RunState::Running, "");
                }
            }
            EventKind::PhaseFinished { phase } => {
                let entry = self.phase_mut(*phase);
                entry.state = PhaseState::Done;
                entry.finished = Some(at);
                // Its badge stays on past the switch: until the cleanup the legacy side is held.
                match phase {
                    Phase::Maintenance => self.maintenance_since = Some(at),
                    Phase::Cleanup => self.maintenance_since = None,
                    _ => {}
                }
            }
            EventKind::GateOpened { phase } => {
                self.phase = *phase;
                self.phase_mut(*phase).state = PhaseState::AtGate;
                self.gate =
                    Some(GateView { phase: *phase, opened: at, checks: Vec::new(), refused: None, waived: Vec::new() });
                self.set(at, RunState::AtGate, format!("go or no-go before {phase}"));
            }
            EventKind::GateMeasured { phase, checks } => {
                if let Some(gate) = self.gate.as_mut().filter(|gate| gate.phase == *phase) {
                    gate.checks.clone_from(checks);
                }
            }
            EventKind::GateApproved { phase, by, waived, .. } => {
                self.gate = None;
                let entry = self.phase_mut(*phase);
                entry.approved = true;
                entry.state = PhaseState::Pending;
                for waiver in waived {
                    self.exceptions.push(format!("waived by {by}: {} ({})", waiver.check, waiver.reason));
                }
                self.set(at, RunState::Running, format!("go by {by}"));
            }
            EventKind::GateRefused { phase, by, reason } => {
                if let Some(gate) = &mut self.gate {
                    gate.refused = Some(reason.clone());
                }
                self.set(at, RunState::Paused, format!("no-go before {phase} by {by}: {reason}"));
            }
            _ => {}
        }
    }

    fn apply_order(&mut self, at: Timestamp, kind: &EventKind) {
        match kind {
            EventKind::CommandAccepted { id, by, order } => {
                if let Command::Mend { lane, .. } = order {
                    self.mending = Some(MendingView { order: *id, lane: lane.clone(), note: String::new() });
                }
                if self.commands.len() == COMMANDS_KEPT {
                    self.commands.pop_front();
                }
                self.commands.push_back(Arc::new(CommandView {
                    id: *id,
                    by: by.clone(),
                    order: order.clone(),
                    accepted: at,
                    ended: None,
                    state: CommandState::Accepted,
                }));
            }
            EventKind::CommandEffective { id } => self.end_command(at, *id, CommandState::Effective),
            EventKind::CommandFailed { id, error } => self.end_command(at, *id, CommandState::Failed(error.clone())),
            EventKind::Pausing { depth, by, reason } => {
                self.pause = Some(PauseView { depth: *depth, by: by.clone(), reason: reason.clone() });
                self.set(at, RunState::Pausing, format!("asked by {by}: {reason}"));
            }
            EventKind::Paused => {
                let reason = self.pause.as_ref().map(|pause| format!("paused by {}: {}", pause.by, pause.reason));
                self.set(at, RunState::Paused, reason.unwrap_or_default());
            }
            EventKind::Resumed { by } => self.go_on_live(at, by),
            EventKind::EmergencyStop { by, reason } => {
                self.veto = None;
                self.pause = None;
                self.set(at, RunState::Stopping, format!("emergency stop by {by}: {reason}"));
            }
            EventKind::Stopped => {
                let reason = self.reason.clone();
                self.set(at, RunState::Stopped, reason);
            }
            EventKind::Committed { by } => {
                self.committed = Some(at);
                self.veto = None;
                self.undo.clear();
                self.set(at, RunState::Committing, format!("committed by {by}"));
            }
            EventKind::TakeBackStarted { again, .. } => again.iter().for_each(|step| self.do_again(step)),
            EventKind::TakenBack { lane, batch, .. } => self.batches_undone(lane, batch.as_ref()),
            EventKind::MaintenanceTurned { on, by } => {
                self.maintenance_since = on.then_some(at);
                let word = if *on { "on" } else { "off" };
                self.exceptions.push(format!("maintenance turned {word} by hand by {by}"));
            }
            EventKind::Restored { dataset, by, summary, .. } => {
                self.exceptions.push(format!("{dataset} restored from a backup by {by}: {summary}"));
            }
            EventKind::FileExcluded { lane, key, by, reason } => {
                self.exceptions.push(format!("left out by {by}: {key} of {lane} ({reason})"));
            }
            _ => {}
        }
    }

    /// After a pause the step under way only waited, so it keeps its state; otherwise as after a recovery.
    fn go_on_live(&mut self, at: Timestamp, by: &Actor) {
        if matches!(self.state, RunState::Paused | RunState::Pausing) {
            self.pause = None;
            if let Some(gate) = &mut self.gate {
                gate.refused = None;
                gate.checks.clear();
            }
            self.set(at, self.going_on(), format!("resumed by {by}"));
        } else {
            self.veto = None;
            self.go_on(at, by, "resumed");
        }
    }

    fn end_command(&mut self, at: Timestamp, id: CommandId, state: CommandState) {
        self.mending.take_if(|mending| mending.order == id);
        if let Some(command) = self.commands.iter_mut().rev().find(|command| command.id == id) {
            let command = Arc::make_mut(command);
            command.ended = Some(at);
            command.state = state;
        }
    }
}
