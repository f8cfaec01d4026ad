//! The one table of legal moves. Keys, palette, command line, socket and recovery all ask here, so a greyed key and a
//! refused command give the same reason. Pure.

use crate::{
    command::{Command, Refusal},
    engine::{
        gate,
        view::{RunView, StepView},
    },
    model::{
        LaneId, LaneKind, LaneProgress, LaneStage, Mode, PauseDepth, Phase, PhaseState, RunState, StepId,
        StepState as St, Timestamp, Waiver,
    },
};

/// Whether `command` is possible in this state of the run.
///
/// # Errors
/// Why not, and when it would be.
pub fn legal(view: &RunView, command: &Command, now: Timestamp) -> Result<(), Refusal> {
    use RunState as S;
    let state = view.state;
    if view.outcome.is_some() && !matches!(command, Command::Acknowledge { .. }) {
        return no("the run has ended", "");
    }
    match command {
        Command::Pause { depth, .. } => match state {
            S::Running | S::AtGate | S::RollingBack => Ok(()),
            S::Pausing if deeper(view, *depth) => Ok(()),
            S::Pausing => no("it is pausing already", "for a deeper pause"),
            S::Committing => no("past the commit the rest finishes by itself", ""),
            _ => no(format!("nothing moves: the run is {state}"), "while the run moves"),
        },
        Command::Resume => match state {
            S::Paused | S::Pausing | S::Stopped => Ok(()),
            S::Failed => no("a step failed", "use retry or skip, or roll back"),
            S::Stuck => no("an undo failed", "use retry"),
            _ => no("nothing is paused", "when the run is paused or stopped"),
        },
        Command::Approve { phase, waive } => approve(view, *phase, waive, now),
        Command::Refuse { phase, reason } => {
            open_gate(view, *phase)?;
            need_reason(reason)
        }
        Command::Rollback { reason } => match state {
            _ if view.committed.is_some() => no("the run is committed: there is no way back", ""),
            S::RollingBack | S::Stuck => no("it is rolling back already", ""),
            S::Ready | S::RolledBack | S::Completed => no(format!("the run is {state}"), "once the run has begun"),
            S::Stopping => no("writers are still being cut", "in a moment, when the run is stopped"),
            _ if view.rollback.is_some() => no("it is rolling back already", "resume it"),
            _ => need_reason(reason),
        },
        Command::EmergencyStop { .. } => match state {
            S::Stopping | S::Stopped => no("it is stopped already", ""),
            _ if view.committed.is_some() => no("past the commit the rest finishes by itself", ""),
            S::RolledBack | S::Completed => no(format!("the run is {state}"), ""),
            _ => Ok(()),
        },
        Command::Keep { .. } => {
            if view.veto.is_some() {
                Ok(())
            } else {
                no("no automatic rollback is counting down", "when a rule counts down")
            }
        }
        Command::Retry => match state {
            S::Failed | S::Stuck => Ok(()),
            _ => no("nothing has failed", "when a step or an undo has failed"),
        },
        Command::Skip { step, reason } => skip(view, step, reason),
        Command::Maintenance { .. } => match state {
            S::Paused | S::AtGate | S::Stopped | S::Failed => Ok(()),
            S::RolledBack | S::Completed => no(format!("the run is {state}"), ""),
            _ => no("the run itself is turning things", "while it is paused, stopped, failed or at a gate"),
        },
        Command::Acknowledge { alert } => match view.alerts.iter().find(|known| known.id == *alert) {
            Some(known) if known.acknowledged.is_none() => Ok(()),
            Some(_) => no("it is acknowledged already", ""),
            None => no("there is no such alert", ""),
        },
        Command::Concurrency { lane, .. } => begun(view, lane).map(|_| ()),
        Command::Limit { lane, limits } => match begun(view, lane)?.kind {
            LaneKind::Records if limits.requests_per_s.is_some() => {
                no(format!("`{lane}` moves records: its limits are rows and bytes per second"), "")
            }
            LaneKind::Files if limits.rows_per_s.is_some() => {
                no(format!("`{lane}` moves files: its limits are bytes and requests per second"), "")
            }
            _ => Ok(()),
        },
        Command::RetryFiles { lane, .. } => retry_files(view, lane),
        Command::Mend { lane, what } => mend(view, lane, what.only_looks()),
        Command::ExcludeFile { lane, reason, .. } => {
            match begun(view, lane)?.kind {
                LaneKind::Files => files(view, lane).map(|_| ())?,
                LaneKind::Records => mend(view, lane, false)?,
            }
            need_reason(reason)
        }
    }
}

fn no(why: impl Into<String>, legal_when: impl Into<String>) -> Result<(), Refusal> {
    Err(Refusal { why: why.into(), legal_when: legal_when.into() })
}

fn need_reason(reason: &str) -> Result<(), Refusal> {
    if reason.trim().is_empty() { no("it needs a reason", "with a reason, for the journal") } else { Ok(()) }
}

fn deeper(view: &RunView, depth: PauseDepth) -> bool {
    let rank = |depth: PauseDepth| match depth {
        PauseDepth::AfterStep => 0,
        PauseDepth::AfterBatch => 1,
        PauseDepth::Now => 2,
    };
    view.pause.as_ref().is_some_and(|pause| rank(depth) > rank(pause.depth))
}

fn open_gate(view: &RunView, phase: Phase) -> Result<&crate::engine::view::GateView, Refusal> {
    let refuse = |why: String, when: String| Refusal { why, legal_when: when };
    match &view.gate {
        None => Err(refuse("no gate is open".into(), "when the run waits at a gate".into())),
        Some(gate) if gate.phase != phase => {
            Err(refuse(format!("the open gate is the one before {}", gate.phase), "at its own gate".into()))
        }
        Some(_) if view.state != RunState::AtGate => {
            Err(refuse(format!("the run is {}", view.state), "after resuming".into()))
        }
        Some(gate) => Ok(gate),
    }
}

fn approve(view: &RunView, phase: Phase, waive: &[Waiver], now: Timestamp) -> Result<(), Refusal> {
    let gate = open_gate(view, phase)?;
    let obstacles = gate::obstacles(&gate.checks, waive, now);
    if obstacles.is_empty() {
        Ok(())
    } else {
        no(obstacles.join("; "), "when every check passes, or is waived with a reason of ten letters or more")
    }
}

/// The lane of files of this name, as long as single files of it may be decided about.
fn files<'a>(view: &'a RunView, lane: &LaneId) -> Result<&'a LaneProgress, Refusal> {
    let refuse = |why: String, when: &str| Refusal { why, legal_when: when.into() };
    if view.committed.is_some() {
        return Err(refuse("the run is committed: its files stay as they are".into(), ""));
    }
    if view.rollback.is_some() {
        return Err(refuse("the run goes back: every file is taken back".into(), ""));
    }
    let known = begun(view, lane)?;
    if known.kind == LaneKind::Files { Ok(known) } else { Err(refuse(format!("`{lane}` is no lane of files"), "")) }
}

/// The lane of this name, once it has begun.
fn begun<'a>(view: &'a RunView, lane: &LaneId) -> Result<&'a LaneProgress, Refusal> {
    view.lanes
        .iter()
        .find(|known| &known.lane == lane)
        .ok_or_else(|| Refusal { why: format!("no lane `{lane}` has begun"), legal_when: "when the lane moves".into() })
}

/// Whether records of the lane may be worked on by hand: nothing of the run is in flight that could work on them too.
fn mend(view: &RunView, lane: &LaneId, only_looks: bool) -> Result<(), Refusal> {
    use RunState as S;
    let known = begun(view, lane)?;
    if known.kind != LaneKind::Records {
        return no(format!("`{lane}` is no lane of records"), "");
    }
    if view.mode == Mode::DryRun {
        return no("a dry run writes nothing", "");
    }
    if let Some(mending) = &view.mending {
        return no(format!("records of {} are being worked on", mending.lane), "when that has ended");
    }
    if !only_looks {
        if view.committed.is_some() {
            return no("the run is committed: its records stay as they are", "");
        }
        if view.rollback.is_some() {
            return no("the run goes back: every record is taken back", "");
        }
        if view.phase(Phase::DnsCutover).started.is_some() {
            return no(
                "users may work on the new side since the DNS cutover: their records must not be overwritten",
                "",
            );
        }
    }
    if known.stage == LaneStage::Following && view.state == S::AtGate {
        return no("the lane follows its source", "once the run is paused, or the lane has drained");
    }
    let in_flight = |step: &StepView| matches!(step.state, St::Checking | St::Intended | St::Undoing);
    let moves = view.phases.iter().flat_map(|phase| &phase.steps).any(in_flight);
    match view.state {
        S::Paused | S::AtGate | S::Stopped | S::Failed if !moves => Ok(()),
        _ => no("the run itself is at work", "at a gate, after a failed step, or once it is paused `now`"),
    }
}

/// What is opened again must still be moved by somebody: the phase of the lane's step is not over.
fn retry_files(view: &RunView, lane: &LaneId) -> Result<(), Refusal> {
    files(view, lane)?;
    let step = format!("/{lane}");
    let over = view
        .phases
        .iter()
        .any(|phase| phase.state == PhaseState::Done && phase.steps.iter().any(|s| s.id.as_str().ends_with(&step)));
    if over { no("the phase that moves these files is over", "before it ends, or after rolling back") } else { Ok(()) }
}

fn skip(view: &RunView, step: &StepId, reason: &str) -> Result<(), Refusal> {
    match view.failed_step() {
        None => no("no step has failed", "when a step has failed"),
        Some(failed) if &failed.id != step => no(format!("the failed step is {}", failed.id), "for that one"),
        Some(_) if view.state != RunState::Failed => no(format!("the run is {}", view.state), "when it has failed"),
        Some(_) => need_reason(reason),
    }
}
