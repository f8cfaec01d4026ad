//! What the keys do in the lists of dead letters and of differences. Part of `update`, and as pure: lower-case keys look,
//! upper-case ones open a dialog or say why they are off.

use super::{
    input::Weight,
    keys::{self, Act},
    model::{Model, Row},
    overlays::{
        Overlay, dialog::Dialog, differences::Differences, letters::Letters, make_mending as make, record::Opened,
    },
    panes::batches,
    reader::{Ask, LetterLine, SideFields, Told},
    steer::{may, run},
    theme::Role,
    update::{Action, reaches_through},
};
use crate::{
    command::Command,
    event::EventKind,
    model::{LaneId, LaneKind, Mending},
};
use crossterm::event::KeyEvent;
use std::fmt::Write as _;

/// The lane of records that `d` and `u` open: the one in focus, else the first with dead letters, else the first.
pub(crate) fn lane(model: &Model) -> Option<LaneId> {
    let of_records = || model.view.lanes.iter().filter(|lane| lane.kind == LaneKind::Records);
    let focus = model.row.is_some().then(|| batches::lane_in_focus(model)).flatten();
    let focused = of_records().find(|lane| Some(&lane.lane) == focus.as_ref());
    let failed = || of_records().find(|lane| lane.tally.failed > 0);
    focused.or_else(failed).or_else(|| of_records().next()).map(|lane| lane.lane.clone())
}

/// Opens the list of dead letters, or of differences, over the board or over a lane's detail.
pub(crate) fn open(model: &mut Model, act: Act, over: Option<(LaneId, usize)>) {
    let (lane, under) = match over {
        Some((lane, scroll)) => (lane, Some(scroll)),
        None => match lane(model) {
            Some(lane) => (lane, None),
            None => return model.say(Role::Warn, "no lane of records has begun"),
        },
    };
    model.overlay = Some(list(act, lane, under));
}

fn list(act: Act, lane: LaneId, under: Option<usize>) -> Overlay {
    match act {
        Act::Differences => Overlay::Differences(Box::new(Differences::new(lane, under))),
        _ => Overlay::Letters(Box::new(Letters::new(lane, under))),
    }
}

/// One level up from a list: to the lane's detail it was opened from, or to the board.
fn up(model: &mut Model, lane: LaneId, under: Option<usize>) {
    if let Some(scroll) = under {
        model.row = Some(Row::Lane(lane.clone()));
        model.overlay = Some(Overlay::Lane { lane, scroll });
    }
}

/// The next lane of records after this one.
fn next_lane(model: &Model, lane: &LaneId, back: bool) -> Option<LaneId> {
    let lanes: Vec<&LaneId> =
        model.view.lanes.iter().filter(|lane| lane.kind == LaneKind::Records).map(|lane| &lane.lane).collect();
    let at = lanes.iter().position(|known| *known == lane)?;
    let step = if back { lanes.len() - 1 } else { 1 };
    lanes.get((at + step) % lanes.len()).map(|lane| (*lane).clone())
}

/// What is to be asked for the list that is open.
pub(crate) fn wants(model: &mut Model) -> Vec<Ask> {
    let now = model.moment.mono;
    match &mut model.overlay {
        Some(Overlay::Batch(open)) => open.wants(now).into_iter().collect(),
        Some(Overlay::Letters(open)) => open.wants(now),
        Some(Overlay::Differences(open)) => open.wants(now),
        _ => Vec::new(),
    }
}

/// An answer came: to the list that is open, or that lies beneath a dialog.
pub(crate) fn hear(model: &mut Model, ask: &Ask, told: &Result<Told, String>) {
    let now = model.moment.mono;
    let mut said = None;
    for overlay in model.overlay.iter_mut().chain(&mut model.beneath) {
        match overlay {
            Overlay::Batch(open) => open.hear(ask, told.clone(), now),
            Overlay::Letters(open) => said = said.or(open.hear(ask, told.clone(), now)),
            Overlay::Differences(open) => open.hear(ask, told.clone(), now),
            _ => {}
        }
    }
    if let Some((role, text)) = said {
        model.say(role, text);
    }
}

/// What is shown is read again once records have changed.
pub(crate) fn happened(model: &mut Model, kind: &EventKind) {
    let changed =
        matches!(kind, EventKind::Repaired { .. } | EventKind::Compared { .. } | EventKind::FileExcluded { .. });
    for overlay in model.overlay.iter_mut().chain(&mut model.beneath).filter(|_| changed) {
        match overlay {
            Overlay::Letters(open) => open.read_again(),
            Overlay::Differences(open) => open.read_again(),
            _ => {}
        }
    }
}

/// A key in the list of dead letters, or in one of them.
pub(crate) fn in_letters(model: &mut Model, mut open: Box<Letters>, key: &KeyEvent, weight: Weight) -> Vec<Action> {
    let act = keys::binding(key).map(|binding| binding.act);
    if keys::is_char(key, 'x') {
        if let Weight::Light(why) = weight {
            model.say(Role::Warn, format!("not taken: {why}"));
        } else if open.export() {
            model.say(Role::Faint, "writing a file ...");
        }
    } else if let Some(letter) = ["R", "D", "X"].iter().find(|name| keys::is_char(key, char_of(name))) {
        let Some(line) = open.letter().cloned() else {
            model.say(Role::Warn, format!("{letter} is off: no dead letter is selected"));
            model.overlay = Some(Overlay::Letters(open));
            return Vec::new();
        };
        if let Some(dialog) = letter_dialog(model, letter, &open.lane, &line, weight) {
            open.read_again();
            model.overlay = Some(Overlay::Dialog(Box::new(dialog)));
            model.beneath = Some(Overlay::Letters(open));
            return Vec::new();
        }
    } else {
        match act {
            Some(Act::Back | Act::Leave) if open.open.is_some() => open.open = None,
            Some(Act::Back | Act::Leave) => {
                up(model, open.lane.clone(), open.under);
                return Vec::new();
            }
            Some(act @ (Act::NextPane | Act::PrevPane)) if open.open.is_none() => {
                if let Some(lane) = next_lane(model, &open.lane, act == Act::PrevPane) {
                    open = Box::new(Letters::new(lane, open.under));
                }
            }
            Some(Act::Open) if open.open.is_none() => open.open(),
            Some(Act::Copy) => {
                let text = copied_letter(&open);
                model.overlay = Some(Overlay::Letters(open));
                return text.map(Action::Copy).into_iter().collect();
            }
            Some(act) if reaches_through(act) => {
                model.beneath = Some(Overlay::Letters(open));
                return run(model, act, weight);
            }
            Some(act) => match &mut open.open {
                Some(record) => {
                    let fields = record.found().map_or(0, |found| found.as_ref().map_or(0, Vec::len));
                    field_moved(record, act, fields);
                }
                None => open.pages.moved(act),
            },
            None => {}
        }
    }
    model.overlay = Some(Overlay::Letters(open));
    Vec::new()
}

fn char_of(name: &str) -> char {
    name.chars().next().unwrap_or(' ')
}

/// The dialog of a key in the dead letters, or a word on why there is none.
fn letter_dialog(model: &mut Model, key: &str, lane: &LaneId, letter: &LetterLine, weight: Weight) -> Option<Dialog> {
    let keys = vec![letter.key.clone()];
    let command = match key {
        "D" if !letter.asks => {
            model.say(Role::Warn, "D is off: this record did not stand on the new side before");
            return None;
        }
        "X" => Command::ExcludeFile {
            lane: lane.clone(),
            key: letter.key.clone(),
            reason: "asked at the console".to_owned(),
        },
        _ => Command::Mend { lane: lane.clone(), what: Mending::Retry { keys } },
    };
    if !may(model, key, &command, weight) {
        return None;
    }
    Some(match key {
        "R" => make::retry(model, lane, letter),
        "D" => make::decide(model, lane, letter),
        _ => make::leave_out(model, lane, letter),
    })
}

/// A key in the list of differences, or in a record on both sides.
pub(crate) fn in_differences(
    model: &mut Model,
    mut open: Box<Differences>,
    key: &KeyEvent,
    weight: Weight,
) -> Vec<Action> {
    let act = keys::binding(key).map(|binding| binding.act);
    let made = if keys::is_char(key, 'R') {
        repair_dialog(model, &open, weight)
    } else if keys::is_char(key, 'V') {
        let command = Command::Mend { lane: open.lane.clone(), what: Mending::Compare };
        may(model, "V", &command, weight).then(|| make::compare(model, &open.lane))
    } else {
        None
    };
    if let Some(dialog) = made {
        open.read_again();
        model.overlay = Some(Overlay::Dialog(Box::new(dialog)));
        model.beneath = Some(Overlay::Differences(open));
        return Vec::new();
    }
    match act {
        _ if keys::is_char(key, 'R') || keys::is_char(key, 'V') => {}
        _ if keys::is_char(key, 'c') && open.open.is_none() => open.next_class(),
        _ if keys::is_char(key, 'r') => open.read_again(),
        Some(Act::Back | Act::Leave) if open.open.is_some() => open.open = None,
        Some(Act::Back | Act::Leave) => {
            up(model, open.lane.clone(), open.under);
            return Vec::new();
        }
        Some(act @ (Act::NextPane | Act::PrevPane)) if open.open.is_none() => {
            if let Some(lane) = next_lane(model, &open.lane, act == Act::PrevPane) {
                open = Box::new(Differences::new(lane, open.under));
            }
        }
        Some(Act::Open) if open.open.is_none() => open.open(),
        Some(Act::Copy) => {
            let text = copied_difference(&open);
            model.overlay = Some(Overlay::Differences(open));
            return text.map(Action::Copy).into_iter().collect();
        }
        Some(act) if reaches_through(act) => {
            model.beneath = Some(Overlay::Differences(open));
            return run(model, act, weight);
        }
        Some(act) => match &mut open.open {
            Some(record) => {
                let fields = record.found().map_or(0, |found| found.as_ref().map_or(0, |sides| sides.fields.len()));
                field_moved(record, act, fields);
            }
            None => open.pages.moved(act),
        },
        None => {}
    }
    model.overlay = Some(Overlay::Differences(open));
    Vec::new()
}

fn repair_dialog(model: &mut Model, open: &Differences, weight: Weight) -> Option<Dialog> {
    let Some(line) = open.difference().cloned() else {
        model.say(Role::Warn, "R is off: no difference is selected");
        return None;
    };
    let what = Mending::Repair { verdict: line.class, keys: vec![line.key.clone()] };
    let command = Command::Mend { lane: open.lane.clone(), what };
    may(model, "R", &command, weight)
        .then(|| make::repair(model, &open.lane, &line.key, line.class, open.count(line.class)))
}

/// Moves the eye among the fields of a record.
fn field_moved<T>(record: &mut Opened<T>, act: Act, fields: usize) {
    let at = record.at(fields);
    let last = fields.saturating_sub(1);
    record.move_to(super::look::scrolled(Some(act), at, last, 8).unwrap_or(at));
}

fn copied_letter(open: &Letters) -> Option<String> {
    let line = open.letter()?;
    let mut out = format!("{} {}: {}", open.lane, line.key, line.reason);
    let fields = open.open.as_ref().and_then(|record| record.found()?.as_ref().ok());
    for field in fields.into_iter().flatten() {
        let _written = write!(out, "\n{}: {}", field.name, field.value);
    }
    Some(out)
}

fn copied_difference(open: &Differences) -> Option<String> {
    let line = open.difference()?;
    let mut out = format!("{} {} {}: {}", open.lane, line.key, line.class.word(), line.detail);
    let sides = open.open.as_ref().and_then(|record| record.found()?.as_ref().ok());
    let value = |text: &Option<String>| text.clone().unwrap_or_else(|| "(none)".into());
    for SideFields { name, legacy, new, differs } in sides.iter().flat_map(|sides| &sides.fields) {
        let sign = if *differs { "!=" } else { "=" };
        let _written = write!(out, "\n{name}: legacy {} {sign} new {}", value(legacy), value(new));
    }
    Some(out)
}
