//! What an event says to a person, in one line: the same words in plain mode, in the history and in reports.

use super::EventKind as E;
use crate::model::{BatchId, LaneId, text::clean};

/// Longest sentence in characters.
const LONGEST: usize = 400;

impl E {
    /// What happened, in one line without anything a terminal could act on.
    #[must_use]
    pub fn sentence(&self) -> String {
        let said = run(self).or_else(|| step(self)).or_else(|| order(self)).unwrap_or_else(|| seen(self));
        clean(said.trim_end(), LONGEST)
    }
}

fn run(kind: &E) -> Option<String> {
    Some(match kind {
        E::RunStarted { run, plan, by, .. } => format!("run {run} of {plan} laid out by {by}"),
        E::RunRecovered { by } => format!("run taken over by {by}"),
        E::RunFinished { outcome, reason } if reason.is_empty() => format!("run ended: {}", outcome.word()),
        E::RunFinished { outcome, reason } => format!("run ended: {}, {reason}", outcome.word()),
        E::PhaseStarted { phase } => format!("phase {} of 9, {phase}: began", phase.number()),
        E::PhaseFinished { phase } => format!("phase {} of 9, {phase}: done", phase.number()),
        E::GateOpened { phase } => format!("gate before {phase}: open, waits for go or no-go"),
        E::GateMeasured { phase, checks } => format!("gate before {phase}: {} checks measured", checks.len()),
        E::GateApproved { phase, by, waived, .. } if waived.is_empty() => format!("gate before {phase}: GO by {by}"),
        E::GateApproved { phase, by, waived, .. } => {
            let waived: Vec<String> = waived.iter().map(|w| format!("{} ({})", w.check, w.reason)).collect();
            format!("gate before {phase}: GO by {by}, waived {}", waived.join(", "))
        }
        E::GateRefused { phase, by, reason } => format!("gate before {phase}: NO-GO by {by}: {reason}"),
        E::Committed { by } => format!("COMMITTED by {by}: no way back from here"),
        _ => return None,
    })
}

fn step(kind: &E) -> Option<String> {
    Some(match kind {
        E::StepStarted { step, attempt: 1 } => format!("{step}: looks"),
        E::StepStarted { step, attempt } => format!("{step}: looks, attempt {attempt}"),
        E::StepIntended { step, intent, .. } => format!("{step}: about to {intent}"),
        E::StepDone { step, summary, .. } => format!("{step}: done, {summary}"),
        E::StepFailed { step, error, remedy, .. } => format!("{step}: FAILED, {error}; {remedy}"),
        E::StepDropped { step } => format!("{step}: dropped, the next attempt asks the world"),
        E::StepSkipped { step, by, reason } => format!("{step}: SKIPPED by {by}: {reason}"),
        E::UndoStarted { step } => format!("{step}: undo began"),
        E::UndoDone { step, summary } => format!("{step}: undone, {summary}"),
        E::UndoFailed { step, error, remedy, .. } => format!("{step}: UNDO FAILED, {error}; {remedy}"),
        E::StepMoved { step, note, .. } => format!("{step}: {note}"),
        _ => return None,
    })
}

fn order(kind: &E) -> Option<String> {
    Some(match kind {
        E::CommandAccepted { id, by, order } => format!("command {} of {by}: {}", id.0, order.name()),
        E::CommandEffective { id } => format!("command {}: effective", id.0),
        E::CommandFailed { id, error } => format!("command {}: FAILED, {error}", id.0),
        E::Pausing { by, reason, .. } => format!("pausing, asked by {by}: {reason}"),
        E::Paused => "paused: everything has drained".into(),
        E::Resumed { by } => format!("resumed by {by}"),
        E::EmergencyStop { by, reason } => format!("EMERGENCY STOP by {by}: {reason}"),
        E::Stopped => "stopped: every writer is cut".into(),
        E::VetoOpened { rule, reason, deadline } => {
            format!("ROLLBACK at {} unless kept: {rule}, {reason}", deadline.strftime("%H:%M:%SZ"))
        }
        E::VetoUsed { by, reason } => format!("kept going by {by}: {reason}"),
        E::RollbackStarted { by, reason, automatic: true } => format!("ROLLBACK, automatic by {by}: {reason}"),
        E::RollbackStarted { by, reason, automatic: false } => format!("ROLLBACK by {by}: {reason}"),
        E::RollbackStageStarted { stage } => format!("rollback, {}: began", stage.title()),
        E::RollbackStageFinished { stage, summary, .. } => format!("rollback, {}: done, {summary}", stage.title()),
        E::RolledBack => "rolled back: the legacy side is validated".into(),
        E::FileExcluded { lane, key, by, reason } => format!("{lane}: {key} LEFT OUT by {by}: {reason}"),
        E::TakeBackStarted { lane, batch, by, .. } => {
            format!("{}: being taken back by {by}", part(lane, batch.as_ref()))
        }
        E::TakenBack { lane, batch, by, summary } => {
            format!("{}: taken back by {by}, {summary}", part(lane, batch.as_ref()))
        }
        E::BatchRetried { batch, by, .. } => format!("batch {batch}: moved again by {by}"),
        E::RepairStarted { lane, what, by } => format!("{lane}: {what} being mended by {by}"),
        E::Repaired { lane, what, by, summary } => format!("{lane}: {what} mended by {by}, {summary}"),
        E::Compared { lane, by, summary } => format!("{lane}: compared by {by}, {summary}"),
        E::RestoreStarted { dataset, from, remove_others, by } => {
            let others = if *remove_others { ", other rows REMOVED" } else { "" };
            format!("{dataset}: being restored from the backup of run {from} by {by}{others}")
        }
        E::Restored { dataset, from, by, summary } => {
            format!("{dataset}: restored from the backup of run {from} by {by}, {summary}")
        }
        E::MaintenanceTurned { on, by } => format!("maintenance turned {} by {by}", if *on { "on" } else { "off" }),
        _ => return None,
    })
}

fn part(lane: &LaneId, batch: Option<&BatchId>) -> String {
    batch.map_or_else(|| format!("lane {lane}"), |batch| format!("batch {batch}"))
}

fn seen(kind: &E) -> String {
    match kind {
        E::TruthChanged { fact } => {
            let observed = fact.observed.as_deref().unwrap_or("unknown");
            match (fact.agrees(), fact.detail.as_str()) {
                (true, _) => format!("{}: {observed}", fact.aspect.word()),
                (false, "") => format!("{}: intended {}, observed {observed}", fact.aspect.word(), fact.intended),
                (false, detail) => {
                    format!("{}: intended {}, observed {observed} ({detail})", fact.aspect.word(), fact.intended)
                }
            }
        }
        E::AlertRaised { source, text, .. } => format!("ALERT {source}: {text}"),
        E::AlertAcknowledged { id, by } => format!("alert {} seen by {by}", id.0),
        E::AlertCleared { id } => format!("alert {} cleared", id.0),
        E::LaneMoved { progress } => {
            let (tally, total) = (&progress.tally, progress.total.map_or("?".into(), |total| total.to_string()));
            format!("lane {}: {} of {total} done, {} failed", progress.lane, tally.ended(), tally.failed)
        }
        E::BatchMoved { progress } => format!("batch {}: {} of {}", progress.batch, progress.done, progress.items),
        E::MetricMeasured { metric, point } => match point.value {
            Some(value) => format!("{metric}: {value} from {} samples", point.samples),
            None => format!("{metric}: no samples"),
        },
        E::RuleEvaluated { state } => {
            format!("rule {}: {} of {} breaches used", state.rule, state.breaches, state.budget)
        }
        E::TruthSeen { aspect } => format!("{}: seen again", aspect.word()),
        // All others were said by the functions before.
        _ => String::new(),
    }
}
