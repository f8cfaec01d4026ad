//! The one place where the console changes its mind: a message in, the model changed, actions out. Pure: no clock, no
//! terminal, no engine. Rules of danger live here and in the dialogs: keys that look always work, keys that change the
//! run open a dialog, and a key of light weight (repeat, paste, burst) never does more than look.

use super::{
    filter::{Filter, Narrowed, Typing},
    input::Weight,
    keys::{self, Act},
    layout, look,
    look::{scrolled, scrolled_back},
    mending,
    model::{Model, Moment, Row, Sent},
    overlays::{Overlay, batch, dialog, gate, make, palette},
    reader::{Ask, Told},
    setup::Left,
    steer::{arm, disarm, leave, leave_out, retry_files, run},
    theme::Role,
};
use crate::{
    command::{Command, Refusal},
    engine::{Receipt, view::RunView},
    event::Event,
    model::{Environment, LaneId, LaneKind},
};
use crossterm::event::{KeyEvent, KeyEventKind, MouseEvent};
use ratatui::layout::{Rect, Size};
use std::sync::Arc;

/// What came in.
#[derive(Debug)]
pub(crate) enum Message {
    Key(KeyEvent),
    Paste,
    Mouse(MouseEvent),
    Resize(Size),
    Focus(bool),
    View(Arc<RunView>),
    Event(Arc<Event>),
    Answer {
        ticket: u64,
        answer: Result<Receipt, Refusal>,
    },
    EngineGone,
    /// An answer to what was asked.
    Told {
        ask: Ask,
        told: Result<Told, String>,
    },
    Broken(String),
    Continued,
    Tick,
}

/// What is to be done outside.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Action {
    Order {
        ticket: u64,
        command: Command,
    },
    Leave {
        left: Left,
        picture: bool,
    },
    Suspend,
    Redraw,
    Copy(String),
    /// Ask for single records or files.
    Ask(Ask),
}

/// Takes a message in.
pub(crate) fn update(model: &mut Model, message: Message, moment: Moment) -> Vec<Action> {
    model.moment = moment;
    let mut actions = nudge(model, &message);
    match message {
        Message::Key(key) if key.kind != KeyEventKind::Release => {
            let weight = model.judge.weigh(&key, moment.mono);
            actions.extend(pressed(model, key, weight));
        }
        Message::Key(_) | Message::Tick | Message::Focus(false) => {}
        Message::Paste => {
            model.judge.paste(moment.mono);
            model.say(Role::Faint, "a paste is not taken: type it");
        }
        Message::Mouse(event) => look::mouse(model, event),
        Message::Resize(size) => model.size = size,
        Message::Focus(true) => model.judge.focus(moment.mono),
        Message::View(view) => seen(model, view),
        Message::Event(event) => {
            mending::happened(model, &event.kind);
            model.remember(event);
        }
        Message::Answer { ticket, answer } => {
            if let Some(sent) = model.sent.iter_mut().find(|sent| sent.ticket == ticket) {
                sent.answer = Some(answer.map(|receipt| receipt.id));
            }
        }
        Message::EngineGone => model.gone = true,
        Message::Told { ask, told } => mending::hear(model, &ask, &told),
        Message::Broken(what) => model.broken.push(what),
        Message::Continued => {
            model.judge.focus(moment.mono);
            actions.push(Action::Redraw);
        }
    }
    if model.armed_until.is_some_and(|until| until <= moment.mono) {
        model.armed_until = None;
        model.say(Role::Wait, "steering has disarmed itself: WATCH");
    }
    actions.extend(mending::wants(model).into_iter().map(Action::Ask));
    actions
}

/// A nudge acts once nothing was pressed for a moment; any key before that takes it back.
fn nudge(model: &mut Model, message: &Message) -> Vec<Action> {
    match message {
        Message::Key(_) | Message::Paste => {
            if model.nudge.take().is_some() {
                model.say(Role::Warn, "not taken: keys came too fast");
            }
            Vec::new()
        }
        _ => match model.nudge.take_if(|nudge| nudge.due <= model.moment.mono) {
            Some(nudge) => vec![order(model, nudge.command)],
            None => Vec::new(),
        },
    }
}

fn seen(model: &mut Model, view: Arc<RunView>) {
    model.view = view;
    model.heard = model.moment.mono;
    let (wall, mono) = (model.moment.wall, model.moment.mono);
    if let Some(Overlay::Gate(gate)) = &mut model.overlay
        && gate.refresh(model.view.gate.as_ref(), wall, mono)
    {
        model.overlay = None;
        model.say(Role::Wait, "the gate is no longer open");
    }
}

pub(crate) fn order(model: &mut Model, command: Command) -> Action {
    let ticket = model.tickets;
    model.tickets += 1;
    let sent = Sent { ticket, name: command.name(), at: model.moment.mono, answer: None };
    if model.sent.len() == 64 {
        model.sent.pop_front();
    }
    model.sent.push_back(sent);
    model.note = None;
    if model.armed() {
        model.armed_until = Some(model.moment.mono + model.arm_for);
    }
    Action::Order { ticket, command }
}

fn pressed(model: &mut Model, key: KeyEvent, weight: Weight) -> Vec<Action> {
    let binding = keys::binding(&key);
    // Redrawing and leaving work everywhere, whatever lies over the board.
    let ctrl = key.modifiers.contains(crossterm::event::KeyModifiers::CONTROL);
    if let Some(binding) = binding
        && ctrl
        && matches!(binding.act, Act::Redraw | Act::Leave | Act::Suspend)
    {
        return run(model, binding.act, weight);
    }
    if layout::is_small(Rect::new(0, 0, model.size.width, model.size.height)) {
        return pressed_small(model, key, weight);
    }
    if let Some(typing) = model.typing.take() {
        typed(model, typing, &key);
        return Vec::new();
    }
    let Some(overlay) = model.overlay.take() else {
        return match binding {
            Some(binding) => run(model, binding.act, weight),
            None => Vec::new(),
        };
    };
    let actions = over(model, overlay, key, weight);
    if model.overlay.is_none() {
        model.overlay = model.beneath.take();
    }
    actions
}

/// A key for a filter: it narrows while it is typed. Nothing here can give a command.
fn typed(model: &mut Model, mut typing: Typing, key: &KeyEvent) {
    match key.code {
        crossterm::event::KeyCode::Enter => return,
        crossterm::event::KeyCode::Esc => typing.field.clear(),
        _ => {
            typing.field.key(key);
        }
    }
    let filter = Filter::new(typing.field.text());
    match typing.what {
        Narrowed::Batches => model.batch_filter = filter,
        Narrowed::Log => model.log_filter = filter,
    }
    model.typing = (key.code != crossterm::event::KeyCode::Esc).then_some(typing);
}

/// On a screen too small only pausing, stopping, leaving and redrawing act.
fn pressed_small(model: &mut Model, key: KeyEvent, weight: Weight) -> Vec<Action> {
    model.typing = None;
    if let Some(Overlay::Dialog(dialog)) = model.overlay.take() {
        return over(model, Overlay::Dialog(dialog), key, weight);
    }
    match keys::binding(&key).map(|binding| binding.act) {
        Some(act @ (Act::Pause | Act::Stop | Act::Leave)) => run(model, act, weight),
        _ => Vec::new(),
    }
}

/// A key while something lies over the board, which was taken out of the model.
fn over(model: &mut Model, overlay: Overlay, key: KeyEvent, weight: Weight) -> Vec<Action> {
    let act = keys::binding(&key).map(|binding| binding.act);
    match overlay {
        Overlay::Dialog(mut open) => {
            let outcome = open.key(model, &key, weight);
            match outcome {
                dialog::Outcome::Stay => model.overlay = Some(Overlay::Dialog(open)),
                dialog::Outcome::Close => {}
                dialog::Outcome::Order(command) => return vec![order(model, command)],
                dialog::Outcome::Arm => arm(model),
                dialog::Outcome::Leave => return vec![leave(model, false)],
            }
        }
        Overlay::Gate(mut open) => {
            let outcome = open.key(model, &key, weight);
            match outcome {
                gate::Outcome::Stay => model.overlay = Some(Overlay::Gate(open)),
                gate::Outcome::Close => {}
                gate::Outcome::Order(command) => return vec![order(model, command)],
                gate::Outcome::Arm if model.armed() => {
                    disarm(model);
                    model.overlay = Some(Overlay::Gate(open));
                }
                // Where real users are, arming asks first, and the gate is opened again afterwards.
                gate::Outcome::Arm if model.view.environment == Environment::Production => {
                    model.overlay = Some(Overlay::Dialog(Box::new(make::arm(model))));
                }
                gate::Outcome::Arm => {
                    arm(model);
                    model.overlay = Some(Overlay::Gate(open));
                }
            }
        }
        Overlay::Palette(mut open) => match open.key(&key) {
            palette::Outcome::Stay => model.overlay = Some(Overlay::Palette(open)),
            palette::Outcome::Close => {}
            palette::Outcome::Run(act) => return run(model, act, weight),
        },
        Overlay::Help { scroll } if act != Some(Act::Help) => {
            model.overlay = scrolled(act, scroll, 1000, look::page(model)).map(|scroll| Overlay::Help { scroll });
        }
        Overlay::Phase { phase, scroll } => {
            model.overlay =
                scrolled(act, scroll, 10_000, look::page(model)).map(|scroll| Overlay::Phase { phase, scroll });
        }
        Overlay::History { back } => {
            let most = model.history.len();
            model.overlay = scrolled_back(act, back, most, look::page(model)).map(|back| Overlay::History { back });
        }
        Overlay::Log { scroll } => {
            let scroll = if act == Some(Act::Filter) {
                model.typing = Some(Typing::new(Narrowed::Log));
                Some(0)
            } else {
                look::log_moved(model, act);
                scrolled_back(act, scroll, 10_000, look::page(model))
            };
            model.overlay = scroll.map(|scroll| Overlay::Log { scroll });
        }
        Overlay::Lane { lane, scroll } => return in_lane(model, lane, scroll, act, weight),
        Overlay::Batch(open) => return in_batch(model, open, &key, weight),
        Overlay::Letters(open) => return mending::in_letters(model, open, &key, weight),
        Overlay::Differences(open) => return mending::in_differences(model, open, &key, weight),
        Overlay::Help { .. } => {}
    }
    Vec::new()
}

/// A key in a lane's detail.
fn in_lane(model: &mut Model, lane: LaneId, scroll: usize, act: Option<Act>, weight: Weight) -> Vec<Action> {
    match act {
        Some(Act::Open) => look::batches_of(model, &lane),
        Some(act @ (Act::DeadLetters | Act::Differences)) => {
            if model.view.lanes.iter().any(|known| known.lane == lane && known.kind == LaneKind::Records) {
                mending::open(model, act, Some((lane, scroll)));
            } else {
                model.say(Role::Faint, "this lane moves files: its batches show what failed");
                model.overlay = Some(Overlay::Lane { lane, scroll });
            }
        }
        Some(act) if reaches_through(act) || matches!(act, Act::More | Act::Less | Act::Limit) => {
            model.row = Some(Row::Lane(lane.clone()));
            model.beneath = Some(Overlay::Lane { lane, scroll });
            return run(model, act, weight);
        }
        Some(Act::Copy) => {
            model.overlay = Some(Overlay::Lane { lane, scroll });
            return look::selected_text(model).map(Action::Copy).into_iter().collect();
        }
        _ => {
            let most = look::lane_lines(model, &lane);
            model.overlay =
                scrolled(act, scroll.min(most), most, look::page(model)).map(|scroll| Overlay::Lane { lane, scroll });
        }
    }
    Vec::new()
}

/// A key in a batch's detail.
fn in_batch(model: &mut Model, mut open: Box<batch::Detail>, key: &KeyEvent, weight: Weight) -> Vec<Action> {
    let act = keys::binding(key).map(|binding| binding.act);
    let mut actions = Vec::new();
    match act {
        Some(Act::Back | Act::Open | Act::Leave) => return actions,
        Some(Act::Copy) => {
            let line = open.pages.selected().map(|item| format!("{} {}", item.key, item.reason));
            actions.extend(line.or_else(|| look::selected_text(model)).map(|line| Action::Copy(line.trim().into())));
        }
        _ if keys::is_char(key, 'R') || keys::is_char(key, 'X') => {
            let made = if keys::is_char(key, 'R') {
                retry_files(model, &open, weight)
            } else {
                leave_out(model, &open, weight)
            };
            if let Some(dialog) = made {
                open.pages.read_again();
                model.overlay = Some(Overlay::Dialog(Box::new(dialog)));
                model.beneath = Some(Overlay::Batch(open));
                return actions;
            }
        }
        Some(act) if reaches_through(act) => {
            model.beneath = Some(Overlay::Batch(open));
            return run(model, act, weight);
        }
        Some(act) => open.pages.moved(act),
        None => {}
    }
    model.overlay = Some(Overlay::Batch(open));
    actions
}

/// Keys of the board that also work over the details and lists.
pub(crate) const fn reaches_through(act: Act) -> bool {
    matches!(act, Act::Help | Act::Pause | Act::Stop | Act::Lock)
}
