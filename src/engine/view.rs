//! The state of a run as everybody sees it: what `fold` makes of the events, and nothing else.
//!
//! Cheap to clone (lists that grow long are shared), because each reader gets its own.

use crate::{
    command::Command,
    event::UndoNote,
    model::{
        Actor, AlertId, Aspect, BatchId, BatchProgress, BatchState, Check, CommandId, Environment, Fact, LaneId,
        LaneProgress, MetricPoint, Mode, Outcome, PauseDepth, Phase, PhaseState, RollbackStage, RuleState, RunId,
        RunState, Severity, StepId, StepState, Timestamp, Waiver,
    },
};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

/// Points kept per metric: 20 minutes at one per second.
pub const SERIES_POINTS: usize = 1200;
/// Batches kept, as far as that is possible without one that has not ended well. The ledger has them all.
pub const BATCHES_KEPT: usize = 10_000;
/// Throughput points kept per batch.
pub const BATCH_POINTS: usize = 12;
/// Commands kept for the status line and the history.
pub const COMMANDS_KEPT: usize = 200;
/// Alerts kept.
pub const ALERTS_KEPT: usize = 500;

/// A run, now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunView {
    /// Its name.
    pub run: RunId,
    /// The plan's name.
    pub plan: String,
    /// Digest of the plan it was laid out from.
    pub plan_digest: String,
    /// Where it acts.
    pub environment: Environment,
    /// What it may touch.
    pub mode: Mode,
    /// Number of the last decision.
    pub seq: u64,
    /// When the last event happened.
    pub at: Timestamp,
    /// When it was laid out.
    pub started: Timestamp,
    /// Its state.
    pub state: RunState,
    /// Why it is in that state, in one line (`paused by ada: check r2`); empty if the state says all.
    pub reason: String,
    /// Since when it is in that state.
    pub since: Timestamp,
    /// How this engine's part ended.
    pub outcome: Option<Outcome>,
    /// The phase under way or next.
    pub phase: Phase,
    /// All nine.
    pub phases: Vec<PhaseView>,
    /// The open gate.
    pub gate: Option<GateView>,
    /// What rollback would undo, oldest first.
    pub undo: Vec<UndoEntry>,
    /// When the point of no return was passed.
    pub committed: Option<Timestamp>,
    /// The rollback, once begun.
    pub rollback: Option<RollbackView>,
    /// The automatic rollback that counts down.
    pub veto: Option<VetoView>,
    /// The pause asked for.
    pub pause: Option<PauseView>,
    /// Since when the legacy side is held in maintenance, by the run or by hand.
    pub maintenance_since: Option<Timestamp>,
    /// The truth line.
    pub truth: BTreeMap<Aspect, Fact>,
    /// When each cell was looked at last.
    pub truth_seen: BTreeMap<Aspect, Timestamp>,
    /// Lanes in plan order.
    pub lanes: Vec<LaneProgress>,
    /// Batches by name.
    pub batches: BTreeMap<BatchId, Arc<BatchView>>,
    /// Series by metric.
    pub series: BTreeMap<String, Arc<VecDeque<MetricPoint>>>,
    /// Rules by name.
    pub rules: BTreeMap<String, RuleState>,
    /// Alerts, oldest first.
    pub alerts: VecDeque<Arc<AlertView>>,
    /// Commands, oldest first.
    pub commands: VecDeque<Arc<CommandView>>,
    /// Skipped steps and waived checks with their reasons: shown until the end.
    pub exceptions: Vec<String>,
    /// The records that are being mended, or compared, by a person's order.
    #[serde(default)]
    pub mending: Option<MendingView>,
}

/// Records that are being mended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MendingView {
    /// The order.
    pub order: CommandId,
    /// Of which lane.
    pub lane: LaneId,
    /// How far it is, in a few words; empty at first.
    pub note: String,
}

/// A phase, now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PhaseView {
    /// Which.
    pub phase: Phase,
    /// Its state.
    pub state: PhaseState,
    /// A person decides before it begins.
    pub gate: bool,
    /// The gate was approved.
    pub approved: bool,
    /// When it began.
    pub started: Option<Timestamp>,
    /// When it was done.
    pub finished: Option<Timestamp>,
    /// How long it is expected to take, in seconds.
    pub expected_s: Option<f64>,
    /// Its steps in order.
    pub steps: Vec<StepView>,
}

impl PhaseView {
    /// How much is done, 0 to 1: steps done, plus the part of the step under way where that is known.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a phase has a handful of steps")]
    pub fn ratio(&self) -> f64 {
        if self.state == PhaseState::Done {
            return 1.0;
        }
        let done: f64 = self
            .steps
            .iter()
            .map(|step| match step.state {
                StepState::Done | StepState::Skipped => 1.0,
                StepState::Intended | StepState::Checking => step.ratio.unwrap_or(0.0).clamp(0.0, 1.0),
                _ => 0.0,
            })
            .sum();
        if self.steps.is_empty() { 0.0 } else { done / self.steps.len() as f64 }
    }
}

/// A step, now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepView {
    /// Which.
    pub id: StepId,
    /// What it does.
    pub title: String,
    /// Its state.
    pub state: StepState,
    /// Attempts so far.
    pub attempt: u32,
    /// How much is done, if known.
    pub ratio: Option<f64>,
    /// What it is doing, what it brought, or why it failed.
    pub note: String,
    /// The checks it made.
    pub checks: Vec<Check>,
}

/// The open gate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GateView {
    /// The phase behind it.
    pub phase: Phase,
    /// Since when it is open.
    pub opened: Timestamp,
    /// The evidence; empty until first measured.
    pub checks: Vec<Check>,
    /// A no-go and its reason, until resumed.
    pub refused: Option<String>,
    /// What was waived.
    pub waived: Vec<Waiver>,
}

/// One entry of the undo stack.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UndoEntry {
    /// The step.
    pub step: StepId,
    /// Its phase.
    pub phase: Phase,
    /// What undoing needs.
    pub note: UndoNote,
}

/// A rollback under way or done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RollbackView {
    /// Who, or which rule.
    pub by: Actor,
    /// Why.
    pub reason: String,
    /// No person asked for it.
    pub automatic: bool,
    /// When it began.
    pub started: Timestamp,
    /// The stage under way.
    pub stage: Option<RollbackStage>,
    /// Stages done, each with what came out.
    pub done: Vec<(RollbackStage, String)>,
}

/// An automatic rollback that counts down.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VetoView {
    /// Which rule, or `step failed`.
    pub rule: String,
    /// Why.
    pub reason: String,
    /// When it rolls back unless kept.
    pub deadline: Timestamp,
}

/// A pause asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PauseView {
    /// How deep.
    pub depth: PauseDepth,
    /// Who.
    pub by: Actor,
    /// Why.
    pub reason: String,
}

/// A batch, now, with its recent throughput.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BatchView {
    /// Its progress.
    pub progress: BatchProgress,
    /// Items per second at the last moments it moved, oldest first.
    pub rates: VecDeque<f32>,
    /// When it moved last.
    pub moved: Timestamp,
}

impl BatchView {
    /// Worked on now.
    #[must_use]
    pub const fn is_live(&self) -> bool {
        matches!(self.progress.state, BatchState::Running | BatchState::Retrying)
    }
}

/// An alert.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AlertView {
    /// Its number.
    pub id: AlertId,
    /// How loud.
    pub severity: Severity,
    /// Who raised it.
    pub source: String,
    /// What is wrong.
    pub text: String,
    /// Since when.
    pub at: Timestamp,
    /// Who has seen it.
    pub acknowledged: Option<Actor>,
    /// When its cause went away.
    pub cleared: Option<Timestamp>,
}

/// Where a command stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CommandState {
    /// Taken.
    Accepted,
    /// Has had its effect.
    Effective,
    /// Could not have its effect.
    Failed(String),
}

/// A command given to the engine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CommandView {
    /// Its number.
    pub id: CommandId,
    /// Who gave it.
    pub by: Actor,
    /// What was asked.
    pub order: Command,
    /// When it was taken.
    pub accepted: Timestamp,
    /// When it ended.
    pub ended: Option<Timestamp>,
    /// Where it stands.
    pub state: CommandState,
}

impl RunView {
    /// The phase's entry.
    #[must_use]
    pub fn phase(&self, phase: Phase) -> &PhaseView {
        // All nine are laid out in order by `run_started`, which is the only way to make a view.
        &self.phases[phase.number() - 1]
    }

    /// The step of this name.
    #[must_use]
    pub fn step(&self, id: &StepId) -> Option<&StepView> {
        self.phases.iter().flat_map(|phase| &phase.steps).find(|step| &step.id == id)
    }

    /// The step that failed and holds the run.
    #[must_use]
    pub fn failed_step(&self) -> Option<&StepView> {
        self.phases.iter().flat_map(|phase| &phase.steps).find(|step| step.state == StepState::Failed)
    }

    /// The step under way.
    #[must_use]
    pub fn current_step(&self) -> Option<&StepView> {
        self.phases
            .iter()
            .flat_map(|phase| &phase.steps)
            .find(|step| matches!(step.state, StepState::Checking | StepState::Intended | StepState::Undoing))
    }

    /// The state that going on leads to, whatever the run holds in now.
    #[must_use]
    pub const fn going_on(&self) -> RunState {
        if self.rollback.is_some() {
            RunState::RollingBack
        } else if self.committed.is_some() {
            RunState::Committing
        } else if self.gate.is_some() {
            RunState::AtGate
        } else {
            RunState::Running
        }
    }

    /// Overall progress, 0 to 1, by the phases' shares.
    #[must_use]
    pub fn ratio(&self) -> f64 {
        self.phases
            .iter()
            .map(|phase| {
                let (from, to) = phase.phase.share();
                let share = f64::from(to - from) / 100.0;
                if phase.state == PhaseState::Off { share } else { share * phase.ratio() }
            })
            .sum()
    }
}
