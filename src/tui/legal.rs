//! What the console may do now: the engine's table of legal moves, and the lock of this screen on top of it.

use super::{
    keys::{Act, Binding, Kind},
    mending,
    model::Model,
    panes::batches,
};
use crate::{
    command::{Command, Refusal},
    model::{Limits, PauseDepth},
};

pub(crate) use crate::engine::legal::legal;

/// A refusal as one sentence.
pub(crate) fn sentence(refusal: &Refusal) -> String {
    if refusal.legal_when.is_empty() {
        refusal.why.clone()
    } else {
        format!("{}; possible {}", refusal.why, refusal.legal_when)
    }
}

/// Whether a key's command is possible now, and why not. Looking always is.
pub(crate) fn possible(model: &Model, binding: &Binding) -> Result<(), String> {
    if let Some(why) = illegal(model, binding.act) {
        return Err(why);
    }
    if binding.kind == Kind::Steer && !model.armed() {
        return Err("steering is not armed: T arms it".into());
    }
    Ok(())
}

/// The same for a command that no key of the board gives; it steers.
pub(crate) fn possible_command(model: &Model, command: &Command) -> Result<(), String> {
    if model.gone {
        return Err("the engine has ended".into());
    }
    legal(&model.view, command, model.moment.wall).map_err(|refusal| sentence(&refusal))?;
    if model.armed() { Ok(()) } else { Err("steering is not armed: T arms it".into()) }
}

/// Why the engine would not do this now, lock or no lock.
pub(crate) fn illegal(model: &Model, act: Act) -> Option<String> {
    match sample(model, act) {
        Some(_) if model.gone => Some("the engine has ended".into()),
        Some(command) => legal(&model.view, &command, model.moment.wall).err().map(|refusal| sentence(&refusal)),
        None => nothing_to(model, act).map(str::to_owned),
    }
}

/// The command a key would lead to, with reasons that a dialog would ask for.
fn sample(model: &Model, act: Act) -> Option<Command> {
    let view = &model.view;
    let reason = || "asked at the console".to_owned();
    Some(match act {
        Act::Pause if legal(view, &Command::Resume, model.moment.wall).is_ok() => Command::Resume,
        Act::Pause => Command::Pause { depth: PauseDepth::Now, reason: reason() },
        Act::Gate => Command::Refuse { phase: view.gate.as_ref().map_or(view.phase, |g| g.phase), reason: reason() },
        Act::Maintenance => Command::Maintenance { on: view.maintenance_since.is_none() },
        Act::Rollback => Command::Rollback { reason: reason() },
        Act::Stop => Command::EmergencyStop { reason: reason() },
        Act::Keep => Command::Keep { reason: reason() },
        Act::Retry => Command::Retry,
        Act::More => Command::Concurrency { lane: batches::lane_in_focus(model)?, by: 1 },
        Act::Less => Command::Concurrency { lane: batches::lane_in_focus(model)?, by: -1 },
        Act::Limit => Command::Limit { lane: batches::lane_in_focus(model)?, limits: Limits::default() },
        Act::Acknowledge => Command::Acknowledge { alert: super::panes::alerts::selected(model)?.id },
        _ => return None,
    })
}

fn nothing_to(model: &Model, act: Act) -> Option<&'static str> {
    match act {
        Act::More | Act::Less | Act::Limit => Some("no lane is in focus: select one in pane 2"),
        Act::Acknowledge => Some("no alert is in focus"),
        Act::DeadLetters | Act::Differences if mending::lane(model).is_none() => Some("no lane of records has begun"),
        Act::Gates if model.view.gate.is_none() => Some("no gate is open"),
        _ => None,
    }
}
