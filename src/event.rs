//! What happened: the product of the engine. The state of a run is nothing but the fold of its events
//! (`engine::fold`), so whatever a screen, a report or a recovery needs must stand in here.
//!
//! Two classes: **decisions** are journalled, numbered without gaps and never dropped; **progress** is not journalled
//! and a later one replaces an earlier one of the same thing.

mod sentence;

use crate::{
    command::Command,
    error::FaultKind,
    model::{
        Actor, AlertId, Aspect, BatchId, BatchProgress, Check, CommandId, Environment, Fact, LaneId, LaneProgress,
        MetricPoint, Mode, Outcome, PauseDepth, Phase, RollbackStage, RuleState, RunId, Severity, StepId, Timestamp,
        Waiver,
    },
};
use serde::{Deserialize, Serialize};

/// One event of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Number in the run's journal, from 1 without gaps; progress carries the number of the decision before it.
    pub seq: u64,
    /// When it happened.
    pub at: Timestamp,
    /// What happened.
    #[serde(flatten)]
    pub kind: EventKind,
}

/// A step as the plan lays it out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepOutline {
    /// Its name.
    pub id: StepId,
    /// What it does, in a few words.
    pub title: String,
}

/// A phase as the plan lays it out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PhaseOutline {
    /// Which phase.
    pub phase: Phase,
    /// False if the plan turned it off.
    pub enabled: bool,
    /// A person decides before it begins.
    pub gate: bool,
    /// Its steps in order.
    pub steps: Vec<StepOutline>,
    /// How long it is expected to take, in seconds, from the plan or earlier runs; `None` if nobody knows.
    pub expected_s: Option<f64>,
}

/// What a step needs to be undone, as the step wrote it before it acted. Only that step reads it.
pub type UndoNote = serde_json::Value;

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum EventKind {
    /// A run was laid out.
    RunStarted {
        /// Its name.
        run: RunId,
        /// The plan's name.
        plan: String,
        /// SHA-256 of the resolved plan, so that a resume with another plan is noticed.
        plan_digest: String,
        /// Where it acts.
        environment: Environment,
        /// What it may touch.
        mode: Mode,
        /// All nine phases in order.
        phases: Vec<PhaseOutline>,
        /// Who started it.
        by: Actor,
    },
    /// A new engine took over a run that an earlier one left.
    RunRecovered {
        /// Who started it.
        by: Actor,
    },
    /// This engine is done with the run. A stopped or failed run may be recovered later.
    RunFinished {
        /// How it ended.
        outcome: Outcome,
        /// In a sentence.
        reason: String,
    },

    /// A phase began.
    PhaseStarted {
        /// Which.
        phase: Phase,
    },
    /// All steps of a phase are done.
    PhaseFinished {
        /// Which.
        phase: Phase,
    },

    /// A person must decide before `phase`.
    GateOpened {
        /// Which gate.
        phase: Phase,
    },
    /// Progress: the evidence of the open gate was measured anew.
    GateMeasured {
        /// Which gate.
        phase: Phase,
        /// All of its checks.
        checks: Vec<Check>,
    },
    /// Go.
    GateApproved {
        /// Which gate.
        phase: Phase,
        /// Who.
        by: Actor,
        /// What was waived, and why.
        waived: Vec<Waiver>,
        /// The evidence it was approved on.
        checks: Vec<Check>,
    },
    /// No-go.
    GateRefused {
        /// Which gate.
        phase: Phase,
        /// Who.
        by: Actor,
        /// Why.
        reason: String,
    },

    /// A step looks at the world.
    StepStarted {
        /// Which.
        step: StepId,
        /// Attempt, from 1.
        attempt: u32,
    },
    /// A step is about to change the world.
    StepIntended {
        /// Which.
        step: StepId,
        /// What it is about to do.
        intent: String,
        /// What undoing needs.
        undo: UndoNote,
    },
    /// A step is done and the world was seen to agree.
    StepDone {
        /// Which.
        step: StepId,
        /// What came out, in one line.
        summary: String,
        /// The checks it made.
        checks: Vec<Check>,
    },
    /// A step failed for good.
    StepFailed {
        /// Which.
        step: StepId,
        /// What kind of thing went wrong.
        fault: FaultKind,
        /// In one line.
        error: String,
        /// What a person can do.
        remedy: String,
        /// The checks it made.
        checks: Vec<Check>,
    },
    /// A step was dropped by a pause or a stop; the next attempt asks the world.
    StepDropped {
        /// Which.
        step: StepId,
    },
    /// A person skipped a failed step.
    StepSkipped {
        /// Which.
        step: StepId,
        /// Who.
        by: Actor,
        /// Why.
        reason: String,
    },
    /// An undo is about to change the world.
    UndoStarted {
        /// Of which step.
        step: StepId,
    },
    /// An undo is done and observed.
    UndoDone {
        /// Of which step.
        step: StepId,
        /// What came out, in one line.
        summary: String,
    },
    /// An undo failed: stuck.
    UndoFailed {
        /// Of which step.
        step: StepId,
        /// What kind of thing went wrong.
        fault: FaultKind,
        /// In one line.
        error: String,
        /// What a person can do.
        remedy: String,
    },

    /// A command was taken.
    CommandAccepted {
        /// Its number.
        id: CommandId,
        /// Who gave it.
        by: Actor,
        /// What was asked.
        order: Command,
    },
    /// A command has had its effect.
    CommandEffective {
        /// Its number.
        id: CommandId,
    },
    /// A command could not have its effect.
    CommandFailed {
        /// Its number.
        id: CommandId,
        /// Why.
        error: String,
    },

    /// A pause was asked for; something still drains.
    Pausing {
        /// How deep.
        depth: PauseDepth,
        /// Who.
        by: Actor,
        /// Why.
        reason: String,
    },
    /// Drained.
    Paused,
    /// Going on.
    Resumed {
        /// Who.
        by: Actor,
    },
    /// Every writer is being cut.
    EmergencyStop {
        /// Who.
        by: Actor,
        /// Why.
        reason: String,
    },
    /// Every writer is cut.
    Stopped,

    /// A rule wants to roll back and counts down.
    VetoOpened {
        /// Which rule, or `step failed`.
        rule: String,
        /// Why, with value and limit.
        reason: String,
        /// When it rolls back unless kept.
        deadline: Timestamp,
    },
    /// A person kept the run going.
    VetoUsed {
        /// Who.
        by: Actor,
        /// Why.
        reason: String,
    },
    /// The undo stack is being worked off.
    RollbackStarted {
        /// Who, or which rule.
        by: Actor,
        /// Why.
        reason: String,
        /// No person asked for it.
        automatic: bool,
    },
    /// A stage of the rollback began.
    RollbackStageStarted {
        /// Which.
        stage: RollbackStage,
    },
    /// A stage of the rollback is done.
    RollbackStageFinished {
        /// Which.
        stage: RollbackStage,
        /// What came out, in one line.
        summary: String,
        /// What was checked.
        checks: Vec<Check>,
    },
    /// Everything undone, the legacy side validated.
    RolledBack,
    /// The point of no return was passed.
    Committed {
        /// Who decided.
        by: Actor,
    },

    /// A person takes back what the run did in a lane of files, or in one batch of it.
    TakeBackStarted {
        /// Which lane.
        lane: LaneId,
        /// Which batch; `None` for all of the lane.
        batch: Option<BatchId>,
        /// Who.
        by: Actor,
        /// The steps that have to be done again after it.
        again: Vec<StepId>,
    },
    /// It stands as it did before the run.
    TakenBack {
        /// Which lane.
        lane: LaneId,
        /// Which batch; `None` for all of the lane.
        batch: Option<BatchId>,
        /// Who.
        by: Actor,
        /// What came out, in one line.
        summary: String,
    },
    /// A person has what is open in a batch moved, without an engine.
    BatchRetried {
        /// Its lane.
        lane: LaneId,
        /// Which.
        batch: BatchId,
        /// Who.
        by: Actor,
    },
    /// A person has records of a lane mended.
    RepairStarted {
        /// Which lane.
        lane: LaneId,
        /// Which records, in words.
        what: String,
        /// Who.
        by: Actor,
    },
    /// They are mended, as far as they could be.
    Repaired {
        /// Which lane.
        lane: LaneId,
        /// Which records, in words.
        what: String,
        /// Who.
        by: Actor,
        /// What came out, in one line.
        summary: String,
    },
    /// Both sides of a lane of records were compared by a person's order.
    Compared {
        /// Which lane.
        lane: LaneId,
        /// Who.
        by: Actor,
        /// What came out, in one line.
        summary: String,
    },
    /// A person has a dataset of the new side restored from a backup.
    RestoreStarted {
        /// Which dataset.
        dataset: String,
        /// The run before whose first write the backup was taken.
        from: RunId,
        /// Rows that the backup does not have are removed.
        remove_others: bool,
        /// Who.
        by: Actor,
    },
    /// It is restored, as far as it could be.
    Restored {
        /// Which dataset.
        dataset: String,
        /// The run before whose first write the backup was taken.
        from: RunId,
        /// Who.
        by: Actor,
        /// What came out, in one line.
        summary: String,
    },
    /// The maintenance was turned by hand.
    MaintenanceTurned {
        /// On or off.
        on: bool,
        /// Who.
        by: Actor,
    },
    /// A person left a file out.
    FileExcluded {
        /// Of which lane.
        lane: LaneId,
        /// Its key in the target.
        key: String,
        /// Who.
        by: Actor,
        /// Why.
        reason: String,
    },
    /// Intended or observed changed in a cell of the truth line.
    TruthChanged {
        /// The cell as it is now.
        fact: Fact,
    },
    /// An alert fired.
    AlertRaised {
        /// Its number.
        id: AlertId,
        /// How loud.
        severity: Severity,
        /// Who raised it: a rule's name or a part of the program.
        source: String,
        /// What is wrong, in one line.
        text: String,
    },
    /// A person has seen an alert.
    AlertAcknowledged {
        /// Which.
        id: AlertId,
        /// Who.
        by: Actor,
    },
    /// The cause of an alert is gone.
    AlertCleared {
        /// Which.
        id: AlertId,
    },

    /// Progress: a lane.
    LaneMoved {
        /// The whole of it.
        progress: LaneProgress,
    },
    /// Progress: a batch.
    BatchMoved {
        /// The whole of it.
        progress: BatchProgress,
    },
    /// Progress: what the step under way is doing.
    StepMoved {
        /// Which.
        step: StepId,
        /// Done of the step, 0 to 1; `None` if nobody knows.
        ratio: Option<f64>,
        /// What it is doing or waits for, in a few words.
        note: String,
    },
    /// Progress: a metric was measured.
    MetricMeasured {
        /// Which metric.
        metric: String,
        /// The point.
        point: MetricPoint,
    },
    /// Progress: a rule was evaluated.
    RuleEvaluated {
        /// The whole of it.
        state: RuleState,
    },
    /// Progress: a cell of the truth line was looked at again and is as it was.
    TruthSeen {
        /// Which cell.
        aspect: Aspect,
    },
}

impl EventKind {
    /// True for what a person does with a run that may be over, and that leaves it as it is.
    #[must_use]
    pub const fn is_beside(&self) -> bool {
        matches!(self, Self::RestoreStarted { .. } | Self::Restored { .. })
    }

    /// True for what is journalled.
    #[must_use]
    pub const fn is_decision(&self) -> bool {
        !matches!(
            self,
            Self::GateMeasured { .. }
                | Self::LaneMoved { .. }
                | Self::BatchMoved { .. }
                | Self::StepMoved { .. }
                | Self::MetricMeasured { .. }
                | Self::RuleEvaluated { .. }
                | Self::TruthSeen { .. }
        )
    }
}
