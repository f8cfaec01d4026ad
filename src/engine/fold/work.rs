//! What the steps' events change: steps, their phases, the undo stack and the way back.

use crate::{
    engine::view::{RollbackView, RunView, StepView, UndoEntry, VetoView},
    event::EventKind,
    model::{Check, Mending, Phase, PhaseState, RunState, StepId, StepState, Timestamp},
};

impl RunView {
    fn step_mut(&mut self, id: &StepId) -> Option<&mut StepView> {
        self.phases.iter_mut().flat_map(|phase| &mut phase.steps).find(|step| &step.id == id)
    }

    fn phase_of(&self, id: &StepId) -> Option<Phase> {
        self.phases.iter().find(|phase| phase.steps.iter().any(|step| &step.id == id)).map(|phase| phase.phase)
    }

    fn move_step(&mut self, id: &StepId, state: StepState, note: &str, checks: &[Check]) {
        if let Some(step) = self.step_mut(id) {
            step.state = state;
            note.clone_into(&mut step.note);
            if !checks.is_empty() {
                step.checks = checks.to_vec();
            }
        }
    }

    pub(super) fn apply_step(&mut self, at: Timestamp, kind: &EventKind) {
        match kind {
            EventKind::StepStarted { step, attempt } => {
                self.move_step(step, StepState::Checking, "", &[]);
                if let Some(step) = self.step_mut(step) {
                    step.attempt = *attempt;
                    step.ratio = None;
                }
            }
            EventKind::StepIntended { step, intent, undo } => {
                self.move_step(step, StepState::Intended, intent, &[]);
                let known = self.undo.iter().any(|entry| &entry.step == step);
                let takes_back = !undo.is_null() && self.committed.is_none();
                if let (false, true, Some(phase)) = (known, takes_back, self.phase_of(step)) {
                    self.undo.push(UndoEntry { step: step.clone(), phase, note: undo.clone() });
                }
            }
            EventKind::StepDone { step, summary, checks } => self.move_step(step, StepState::Done, summary, checks),
            EventKind::StepFailed { step, error, checks, .. } => {
                self.move_step(step, StepState::Failed, error, checks);
                if let Some(phase) = self.phase_of(step) {
                    self.phase_mut(phase).state = PhaseState::Failed;
                }
                self.set(at, RunState::Failed, format!("{step}: {error}"));
            }
            EventKind::StepDropped { step } => {
                let undoing = self.step(step).is_some_and(|step| step.state == StepState::Undoing);
                let state = if undoing { StepState::Done } else { StepState::Pending };
                self.move_step(step, state, "dropped half-way", &[]);
            }
            EventKind::StepSkipped { step, by, reason } => {
                self.move_step(step, StepState::Skipped, &format!("skipped by {by}: {reason}"), &[]);
                if let Some(phase) = self.phase_of(step) {
                    self.phase_mut(phase).state = PhaseState::Running;
                }
                self.exceptions.push(format!("skipped by {by}: {step} ({reason})"));
                self.veto = None;
                self.set(at, self.going_on(), format!("{step} skipped by {by}"));
            }
            EventKind::StepMoved { step, ratio, note } => {
                if let Some(mending) = self.mending.as_mut().filter(|mending| Mending::step(&mending.lane) == *step) {
                    mending.note.clone_from(note);
                } else if let Some(step) = self.step_mut(step) {
                    step.ratio = *ratio;
                    step.note.clone_from(note);
                }
            }
            _ => {}
        }
    }

    pub(super) fn apply_rollback(&mut self, at: Timestamp, kind: &EventKind) {
        match kind {
            EventKind::VetoOpened { rule, reason, deadline } => {
                self.veto = Some(VetoView { rule: rule.clone(), reason: reason.clone(), deadline: *deadline });
            }
            EventKind::VetoUsed { by, reason } => {
                self.veto = None;
                self.exceptions.push(format!("automatic rollback vetoed by {by}: {reason}"));
            }
            EventKind::RollbackStarted { by, reason, automatic } => {
                self.veto = None;
                self.gate = None;
                self.pause = None;
                self.rollback = Some(RollbackView {
                    by: by.clone(),
                    reason: reason.clone(),
                    automatic: *automatic,
                    started: at,
                    stage: None,
                    done: Vec::new(),
                });
                let how = if *automatic { "automatic" } else { "ordered" };
                self.set(at, RunState::RollingBack, format!("{how} by {by}: {reason}"));
            }
            EventKind::RollbackStageStarted { stage } => {
                if let Some(rollback) = &mut self.rollback {
                    rollback.stage = Some(*stage);
                }
            }
            EventKind::RollbackStageFinished { stage, summary, .. } => {
                if let Some(rollback) = &mut self.rollback {
                    rollback.done.push((*stage, summary.clone()));
                }
            }
            EventKind::UndoStarted { step } => self.move_step(step, StepState::Undoing, "being undone", &[]),
            EventKind::UndoDone { step, summary } => {
                self.undo.retain(|entry| &entry.step != step);
                self.move_step(step, StepState::Undone, summary, &[]);
                if let Some(phase) = self.phase_of(step) {
                    let left = self.undo.iter().any(|entry| entry.phase == phase);
                    self.phase_mut(phase).state = if left { PhaseState::Running } else { PhaseState::Undone };
                    if phase == Phase::Maintenance && !left {
                        self.maintenance_since = None;
                    }
                }
            }
            EventKind::UndoFailed { step, error, .. } => {
                self.move_step(step, StepState::Stuck, error, &[]);
                self.set(at, RunState::Stuck, format!("undo of {step}: {error}"));
            }
            EventKind::RolledBack => {
                for phase in &mut self.phases {
                    if phase.started.is_some() || phase.state == PhaseState::AtGate {
                        phase.state = if phase.started.is_some() { PhaseState::Undone } else { PhaseState::Pending };
                    }
                }
                self.set(at, RunState::RolledBack, "");
            }
            _ => {}
        }
    }

    /// A step that was done is to be done again before anything that comes after its phase.
    pub(super) fn do_again(&mut self, id: &StepId) {
        let Some(phase) = self.phase_of(id) else { return };
        let Some(step) = self.step_mut(id).filter(|step| step.state == StepState::Done) else { return };
        step.state = StepState::Pending;
        step.ratio = None;
        let entry = self.phase_mut(phase);
        if entry.state == PhaseState::Done {
            entry.state = PhaseState::Running;
            entry.finished = None;
        }
        self.phase = self.phase.min(phase);
        // A gate further on was opened on evidence that no longer holds.
        if let Some(gate) = self.gate.take_if(|gate| gate.phase > phase) {
            self.phase_mut(gate.phase).state = PhaseState::Pending;
        }
    }
}
