//! Makes the dialogs: what each says, what it offers, and which command comes out of it. Pure.

use super::{
    ARMING,
    dialog::{Choice, Dialog, Does},
    field::{Field, Need},
};
use crate::{
    command::Command,
    model::{BatchId, LaneId, LaneKind, LaneStage, Limits, Mending, PauseDepth, RunState, StepId},
    tui::{model::Model, say, speed, theme::Role},
};

/// Which command a choice gives; reasons come from the dialog's fields.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Make {
    Pause(PauseDepth),
    Resume,
    Rollback,
    Stop,
    Keep,
    Retry,
    Skip(StepId),
    Maintenance(bool),
    /// The lane, and the limits that stay if the field says none.
    Limit(LaneId, Limits),
    RetryFiles(LaneId, BatchId),
    Exclude(LaneId, String),
    Mend(LaneId, Mending),
}

impl Make {
    /// The command, with what was typed.
    pub(crate) fn command(&self, fields: &[Field]) -> Command {
        let typed = |index: usize| fields.get(index).map_or("", |field| field.text().trim()).to_owned();
        let or = |reason: String, usual: &str| if reason.is_empty() { usual.to_owned() } else { reason };
        match self {
            Self::Pause(depth) => Command::Pause { depth: *depth, reason: or(typed(0), "from the console") },
            Self::Resume => Command::Resume,
            Self::Rollback => Command::Rollback { reason: typed(1) },
            Self::Stop => Command::EmergencyStop { reason: or(typed(1), "from the console") },
            Self::Keep => Command::Keep { reason: or(typed(0), "from the console") },
            Self::Retry => Command::Retry,
            Self::Skip(step) => Command::Skip { step: step.clone(), reason: typed(0) },
            Self::Maintenance(on) => Command::Maintenance { on: *on },
            Self::Limit(lane, now) => {
                Command::Limit { lane: lane.clone(), limits: speed::parse(&typed(0)).unwrap_or(*now) }
            }
            Self::RetryFiles(lane, batch) => Command::RetryFiles { lane: lane.clone(), batch: batch.clone() },
            Self::Mend(lane, what) => Command::Mend { lane: lane.clone(), what: what.clone() },
            Self::Exclude(lane, key) => Command::ExcludeFile { lane: lane.clone(), key: key.clone(), reason: typed(0) },
        }
    }
}

pub(crate) const TYPED: &str = "Esc leave it (default)  Tab next field  Enter do it";
const CHOSEN: &str = "Esc leave it  Up/Down choose  Enter do it";

pub(crate) fn choice(label: impl Into<String>, does: Does) -> Choice {
    Choice { label: label.into(), does, needs: Vec::new(), lock: false }
}

pub(crate) fn steering(label: impl Into<String>, make: Make) -> Choice {
    Choice { lock: true, ..choice(label, Does::Order(make)) }
}

pub(crate) fn dialog(model: &Model, title: impl Into<String>) -> Dialog {
    Dialog {
        title: title.into(),
        danger: false,
        text: Vec::new(),
        fields: Vec::new(),
        choices: Vec::new(),
        chosen: 0,
        focus: 0,
        armed_at: model.moment.mono + ARMING,
        note: None,
        hint: CHOSEN,
    }
}

pub(crate) fn text(role: Role, line: impl Into<String>) -> (Role, String) {
    (role, line.into())
}

/// Pause in three depths, or resume, whichever is possible.
pub(crate) fn pause(model: &Model) -> Dialog {
    let state = model.view.state;
    let holds = matches!(state, RunState::Paused | RunState::Stopped);
    let mut made = dialog(model, if holds { "Resume?" } else { "Pause" });
    let depths = [
        ("after the batch: what is under way finishes, nothing new begins", PauseDepth::AfterBatch),
        ("after the step: the step under way finishes", PauseDepth::AfterStep),
        ("now: work under way is dropped; resuming asks the world what really happened", PauseDepth::Now),
    ];
    if holds {
        made.text.push(text(Role::Text, format!("The run is {state}: {}", model.view.reason)));
        made.text.push(text(Role::Text, "Before it goes on, the world is looked at again."));
        made.choices = vec![choice(format!("stay {state}"), Does::Nothing), steering("resume", Make::Resume)];
    } else {
        let said = "Safe and reversible; needs no lock. Paused means drained: what still drains is shown until then.";
        made.text.push(text(Role::Text, said));
        if state == RunState::Pausing {
            made.choices.push(choice("leave it pausing", Does::Nothing));
        }
        made.choices.extend(depths.map(|(label, depth)| choice(label, Does::Order(Make::Pause(depth)))));
        if state == RunState::Pausing {
            made.choices.push(steering("go on after all", Make::Resume));
        }
        made.fields.push(Field::new("Reason (Tab)", Need::Nothing));
        made.focus = 1;
    }
    made
}

/// Roll back: type the plan's name and a reason.
pub(crate) fn rollback(model: &Model) -> Dialog {
    let view = &model.view;
    let mut made = dialog(model, format!("ROLL BACK {}", view.plan));
    made.danger = true;
    made.hint = TYPED;
    let undone: Vec<&str> = view.undo.iter().rev().map(|entry| entry.step.as_str()).collect();
    made.text = vec![
        text(Role::Text, "DNS back, deployment back, data synced back, maintenance off, legacy validated."),
        text(Role::Text, "What users wrote on the new side is carried back to the legacy side."),
        text(Role::Text, format!("From phase {}, {}.", view.phase.number(), view.phase)),
        text(Role::Faint, format!("Undoes {} steps: {}.", undone.len(), undone.join(", "))),
        text(Role::Wait, "Possible until the commit before Cleanup."),
        text(Role::Text, ""),
    ];
    made.fields = vec![
        Field::new("Type the plan's name:", Need::Exactly(view.plan.clone())),
        Field::new("Reason for the audit:", Need::Letters(1)),
    ];
    made.choices = vec![Choice { needs: vec![0, 1], ..steering("roll back", Make::Rollback) }];
    made
}

/// Emergency stop: type STOP.
pub(crate) fn stop(model: &Model) -> Dialog {
    let mut made = dialog(model, "!! EMERGENCY STOP !!");
    made.danger = true;
    made.hint = "Esc cancel  Tab reason  Enter stop";
    let after = if model.preview.stop_rolls_back {
        "After: the plan rolls back by itself."
    } else {
        "After: STOPPED, holds. Resume or roll back by hand."
    };
    made.text = vec![
        text(Role::Text, "Cuts every writer now, no drain. Half-done batches are checked on resume."),
        text(Role::Text, after),
        text(Role::Faint, "No lock needed. From another terminal: cutover stop"),
        text(Role::Text, ""),
    ];
    made.fields =
        vec![Field::new("Type STOP:", Need::Exactly("STOP".into())), Field::new("Reason (optional):", Need::Nothing)];
    made.choices = vec![Choice { needs: vec![0], ..choice("stop", Does::Order(Make::Stop)) }];
    made
}

/// The maintenance by hand.
pub(crate) fn maintenance(model: &Model) -> Dialog {
    let on = model.view.maintenance_since.is_none();
    let mut made = dialog(model, if on { "Maintenance ON?" } else { "Maintenance OFF?" });
    made.danger = on;
    made.text.push(text(
        Role::Text,
        if on {
            "Users can no longer write until it is turned off again. Announcements are not sent."
        } else {
            "Users can write again; the legacy side must be the one that takes their writes."
        },
    ));
    let (stay, turn) = if on { ("leave it off", "turn it on") } else { ("leave it on", "turn it off") };
    made.choices = vec![choice(stay, Does::Nothing), steering(turn, Make::Maintenance(on))];
    made
}

/// Keep going although a rule counts down to a rollback. The countdown leaves no time to make somebody type.
pub(crate) fn keep(model: &Model) -> Dialog {
    let mut made = dialog(model, "Keep going?");
    made.danger = true;
    made.hint = TYPED;
    if let Some(veto) = &model.view.veto {
        made.text.push(text(Role::Crit, format!("{}: {}", veto.rule, veto.reason)));
        made.text.push(text(Role::Text, format!("Rolls back at {} unless kept.", say::time_of_day(veto.deadline))));
    }
    made.text.push(text(Role::Text, "The veto and its reason stay in the journal."));
    made.fields = vec![Field::new("Reason (optional):", Need::Nothing)];
    made.choices = vec![steering("keep going", Make::Keep)];
    made
}

/// Retry or skip the failed step, or retry the stuck undo.
pub(crate) fn retry(model: &Model) -> Dialog {
    let view = &model.view;
    let stuck = view.state == RunState::Stuck;
    let mut made = dialog(model, if stuck { "Retry the undo?" } else { "Retry?" });
    made.choices = vec![choice("leave it", Does::Nothing), steering("retry", Make::Retry)];
    if let Some(step) = view.failed_step() {
        made.text.push(text(Role::Crit, format!("{} failed, attempt {}", step.id, step.attempt)));
        made.text.push(text(Role::Text, step.note.clone()));
        made.choices.push(Choice {
            needs: vec![0],
            ..steering("skip it: its risk stays on screen until the end", Make::Skip(step.id.clone()))
        });
        made.fields.push(Field::new("Reason, to skip (Tab):", Need::Letters(10)));
        made.focus = 1;
    } else {
        made.text.push(text(Role::Crit, view.reason.clone()));
    }
    made
}

/// Arm steering where real users are.
pub(crate) fn arm(model: &Model) -> Dialog {
    let mut made = dialog(model, "Arm steering?");
    made.text = vec![
        text(Role::Text, format!("This is {} and acts on real users.", model.view.environment.badge())),
        text(Role::Text, format!("Armed for {} after the last command, then WATCH again.", say::clock(model.arm_for))),
    ];
    made.choices = vec![choice("arm", Does::Arm), choice("stay in WATCH", Does::Nothing)];
    made
}

/// Leave although a command is unfinished.
pub(crate) fn leave(model: &Model, name: &str) -> Dialog {
    let mut made = dialog(model, "Leave the screen?");
    made.text = vec![
        text(Role::Warn, format!("`{name}` has not had its effect yet.")),
        text(Role::Text, "The run goes on in plain mode in this terminal."),
    ];
    made.choices = vec![choice("leave", Does::Leave), choice("stay", Does::Nothing)];
    made
}

/// How fast a lane may be.
pub(crate) fn limit(model: &Model, lane: &LaneId) -> Dialog {
    let now = super::lane::limits(model, lane);
    let of_records = model.view.lanes.iter().any(|known| &known.lane == lane && known.kind == LaneKind::Records);
    let other = if of_records { "500 rows/s" } else { "50 req/s" };
    let mut made = dialog(model, format!("Limits of {lane}"));
    made.hint = TYPED;
    made.text = vec![
        text(Role::Text, format!("Now: {}.", speed::words(&now))),
        text(Role::Text, format!("What is typed replaces them: 10MiB/s, {other}, both with a comma, or off.")),
        text(Role::Faint, "Holds until this engine ends; the plan's limits come back with the next one."),
        text(Role::Text, ""),
    ];
    made.fields = vec![Field::new("Limits:", Need::Limits)];
    made.choices = vec![Choice { needs: vec![0], ..steering("set them", Make::Limit(lane.clone(), now)) }];
    made
}

/// Open the failed files of a batch again.
pub(crate) fn retry_files(model: &Model, lane: &LaneId, batch: &BatchId) -> Dialog {
    let mut made = dialog(model, "Retry the failed files?");
    let copies = model.view.lanes.iter().any(|known| &known.lane == lane && known.stage == LaneStage::Copying);
    let when = if copies {
        "The lane is copying: it takes them up before it ends."
    } else {
        "The lane is not copying: they move when its step is tried again (R on the board)."
    };
    let failed = model.view.batches.get(batch).map_or(0, |batch| batch.progress.failed);
    made.text = vec![
        text(Role::Text, format!("{batch}: {failed} failed. They wait again, with all their attempts.")),
        text(Role::Wait, when),
        text(Role::Faint, "Files whose record is flawed stay failed until the record is mended."),
    ];
    made.choices = vec![
        choice("leave them", Does::Nothing),
        steering("retry them", Make::RetryFiles(lane.clone(), batch.clone())),
    ];
    made
}

/// Leave a file out.
pub(crate) fn exclude(model: &Model, lane: &LaneId, key: &str, why: &str) -> Dialog {
    let mut made = dialog(model, "LEAVE THIS FILE OUT?");
    made.danger = true;
    made.hint = TYPED;
    made.text = vec![
        text(Role::Text, key),
        text(Role::Crit, why),
        text(Role::Text, "It will not be on the new side, and no comparison will miss it."),
        text(Role::Wait, "Your name and reason stand in the journal, the report and on screen until the end."),
        text(Role::Text, ""),
    ];
    made.fields = vec![Field::new("Reason for the audit:", Need::Letters(10))];
    made.choices =
        vec![Choice { needs: vec![0], ..steering("leave it out", Make::Exclude(lane.clone(), key.to_owned())) }];
    made
}
