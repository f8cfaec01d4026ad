//! What the keys that steer do: they open a dialog or say why they are off; the lock; leaving and suspending. Part of
//! `update`, and as pure.

use super::{
    input::Weight,
    keys::{self, Act, Kind},
    legal, look,
    model::{Model, Nudge},
    overlays::{Overlay, batch::Detail, dialog::Dialog, gate, make},
    panes::{alerts, batches},
    setup::Left,
    theme::Role,
    update::Action,
};
use crate::{
    command::Command,
    model::{Environment, ItemState, RunState},
};
use std::time::Duration;

/// A nudge waits for so much silence.
const SILENCE: Duration = Duration::from_millis(40);
/// The second Ctrl-Z must come within this time.
const SUSPEND: Duration = Duration::from_secs(3);

/// Does what a key of the board (or a line of the palette) says.
pub(crate) fn run(model: &mut Model, act: Act, weight: Weight) -> Vec<Action> {
    let kind = keys::of(act).map_or(Kind::Look, |binding| binding.kind);
    if let (Weight::Light(why), Kind::Steer | Kind::Safe) = (weight, kind) {
        model.say(Role::Warn, format!("not taken: {why}"));
        return Vec::new();
    }
    match act {
        Act::Leave | Act::LeaveFrame => return leaving(model, act == Act::LeaveFrame).into_iter().collect(),
        Act::Redraw => return vec![Action::Redraw],
        Act::Suspend => return suspend(model),
        Act::Copy => return look::selected_text(model).map(Action::Copy).into_iter().collect(),
        Act::Lock => lock(model, weight),
        _ if matches!(kind, Kind::Steer | Kind::Safe) => steer(model, act),
        _ => look::look(model, act, open_gate),
    }
    Vec::new()
}

/// Opens the dialog of a command, or says why it is off.
fn steer(model: &mut Model, act: Act) {
    if let Some(binding) = keys::of(act)
        && let Err(why) = legal::possible(model, binding)
    {
        let key = binding.keys.first().map_or_else(String::new, |chord| chord.name());
        model.say(Role::Warn, format!("{key} is off: {why}"));
        return;
    }
    let made = match act {
        Act::Pause => make::pause(model),
        Act::Stop => make::stop(model),
        Act::Rollback => make::rollback(model),
        Act::Maintenance => make::maintenance(model),
        Act::Keep => make::keep(model),
        Act::Retry => make::retry(model),
        Act::Limit => match batches::lane_in_focus(model) {
            Some(lane) => make::limit(model, &lane),
            None => return,
        },
        Act::Gate => return open_gate(model),
        Act::More | Act::Less => return nudged(model, if act == Act::More { 1 } else { -1 }),
        Act::Acknowledge => {
            if let Some(alert) = alerts::selected(model) {
                later(model, Command::Acknowledge { alert: alert.id });
            }
            return;
        }
        _ => return,
    };
    model.overlay = Some(Overlay::Dialog(Box::new(made)));
}

/// The dialog that opens a batch's failed files again, or a word on why there is none.
pub(crate) fn retry_files(model: &mut Model, open: &Detail, weight: Weight) -> Option<Dialog> {
    let (lane, batch) = (open.lane.clone(), open.id.clone());
    let command = Command::RetryFiles { lane: lane.clone(), batch: batch.clone() };
    may(model, "R", &command, weight).then(|| make::retry_files(model, &lane, &batch))
}

/// The dialog that leaves the selected file out, or a word on why there is none.
pub(crate) fn leave_out(model: &mut Model, open: &Detail, weight: Weight) -> Option<Dialog> {
    let Some(item) = open.pages.selected() else {
        model.say(Role::Warn, "X is off: no file is selected");
        return None;
    };
    if !matches!(item.state, ItemState::Failed | ItemState::Pending) {
        model.say(Role::Warn, "X is off: only a file that failed or was not touched yet can be left out");
        return None;
    }
    let lane = open.lane.clone();
    let reason = "asked at the console".to_owned();
    let command = Command::ExcludeFile { lane: lane.clone(), key: item.key.clone(), reason };
    may(model, "X", &command, weight).then(|| make::exclude(model, &lane, &item.key, &item.reason))
}

/// Whether a key of a detail or list may open its dialog; if not, says why.
pub(crate) fn may(model: &mut Model, key: &str, command: &Command, weight: Weight) -> bool {
    let why = match weight {
        Weight::Light(why) => Some(why.to_owned()),
        Weight::Full => legal::possible_command(model, command).err(),
    };
    if let Some(why) = &why {
        model.say(Role::Warn, format!("{key} is off: {why}"));
    }
    why.is_none()
}

fn nudged(model: &mut Model, by: i32) {
    if let Some(lane) = batches::lane_in_focus(model) {
        later(model, Command::Concurrency { lane, by });
    }
}

fn later(model: &mut Model, command: Command) {
    model.nudge = Some(Nudge { command, due: model.moment.mono + SILENCE });
}

fn open_gate(model: &mut Model) {
    match &model.view.gate {
        Some(open) => {
            let made = gate::Gate::new(open, model.moment.wall, model.moment.mono);
            model.overlay = Some(Overlay::Gate(Box::new(made)));
        }
        None => model.say(Role::Faint, "no gate is open"),
    }
}

fn lock(model: &mut Model, weight: Weight) {
    if let Weight::Light(why) = weight {
        model.say(Role::Warn, format!("not taken: {why}"));
    } else if model.armed() {
        disarm(model);
    } else if model.view.environment == Environment::Production {
        model.overlay = Some(Overlay::Dialog(Box::new(make::arm(model))));
    } else {
        arm(model);
    }
}

pub(crate) fn arm(model: &mut Model) {
    model.armed_until = Some(model.moment.mono + model.arm_for);
    let minutes = model.arm_for.as_secs() / 60;
    model.say(Role::Active, format!("steering is armed for {minutes} min after the last command; T disarms"));
}

pub(crate) fn disarm(model: &mut Model) {
    model.armed_until = None;
    model.say(Role::Text, "steering is disarmed: WATCH");
}

fn leaving(model: &mut Model, picture: bool) -> Option<Action> {
    let unfinished = model.unfinished().map(|sent| sent.name);
    match unfinished {
        Some(name) if !model.gone && model.view.outcome.is_none() => {
            model.overlay = Some(Overlay::Dialog(Box::new(make::leave(model, name))));
            None
        }
        _ => Some(leave(model, picture)),
    }
}

pub(crate) fn leave(model: &Model, picture: bool) -> Action {
    let ended = model.view.outcome.is_some();
    Action::Leave { left: if ended { Left::Ended } else { Left::Detached }, picture }
}

/// The engine lives in this process: suspending it stops a run in mid-flight, so a moving run asks for it twice.
fn suspend(model: &mut Model) -> Vec<Action> {
    let moves = matches!(
        model.view.state,
        RunState::Running | RunState::Pausing | RunState::RollingBack | RunState::Committing | RunState::Stopping
    );
    if moves && model.view.outcome.is_none() && model.suspend_until < model.moment.mono {
        model.suspend_until = model.moment.mono + SUSPEND;
        model.say(Role::Warn, "the run would stand still too: Ctrl-Z again does it, q leaves and lets it go on");
        return Vec::new();
    }
    model.suspend_until = Duration::ZERO;
    vec![Action::Suspend]
}
