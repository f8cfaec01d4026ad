//! What the keys that look and move do, and the mouse. Nothing here can give a command. Part of `update`, and as pure.

use super::{
    filter::{Filter, Narrowed, Typing},
    keys::Act,
    layout, mending,
    model::{Model, Row, WINDOWS},
    overlays::{Overlay, batch::Detail, lane, palette},
    panes::{Pane, alerts, batches, phases},
};
use crate::model::LaneId;
use crossterm::event::{MouseEvent, MouseEventKind};
use ratatui::layout::Rect;
use std::sync::Arc;

/// Does what a looking key says; `gate` opens the gate's evidence.
pub(crate) fn look(model: &mut Model, act: Act, gate: fn(&mut Model)) {
    match act {
        Act::Help => model.overlay = Some(Overlay::Help { scroll: 0 }),
        Act::Palette => model.overlay = Some(Overlay::Palette(Box::new(palette::Palette::new()))),
        Act::Gates => gate(model),
        Act::History => model.overlay = Some(Overlay::History { back: 0 }),
        Act::Log => model.overlay = Some(Overlay::Log { scroll: 0 }),
        Act::DeadLetters | Act::Differences => mending::open(model, act, None),
        Act::Filter => filter(model),
        Act::Zoom => model.zoom = !model.zoom,
        Act::Window => {
            let now = model.minutes();
            model.window = Some(WINDOWS.into_iter().find(|minutes| *minutes > now).unwrap_or(WINDOWS[0]));
        }
        Act::Hold => model.held = if model.held.is_some() { None } else { Some(Arc::clone(&model.view)) },
        Act::Pane(n) => focus(model, usize::from(n).saturating_sub(1)),
        Act::NextPane => focus(model, model.focus as usize),
        Act::PrevPane => focus(model, model.focus as usize + Pane::ALL.len() - 2),
        Act::Open => open(model),
        Act::Back => back(model),
        Act::Up | Act::Down | Act::PageUp | Act::PageDown | Act::First | Act::Last => moved(model, act),
        _ => {}
    }
}

fn focus(model: &mut Model, index: usize) {
    model.focus = Pane::ALL[index % Pane::ALL.len()];
}

/// Begins a filter: of the log where that has the focus, else of the batches.
fn filter(model: &mut Model) {
    let what = if model.focus == Pane::Log { Narrowed::Log } else { Narrowed::Batches };
    if what == Narrowed::Batches {
        model.focus = Pane::Batches;
    }
    model.typing = Some(Typing::new(what));
}

/// The board with the batches of one lane.
pub(crate) fn batches_of(model: &mut Model, lane: &LaneId) {
    model.batch_filter = Filter::new(&format!("={lane}"));
    model.focus = Pane::Batches;
    model.row = batches::rows(model).into_iter().find(|row| matches!(row, Row::Batch(_)));
}

/// How far a lane's detail can be scrolled at most.
pub(crate) fn lane_lines(model: &Model, id: &LaneId) -> usize {
    let room = usize::from(model.size.width.saturating_sub(2));
    let found = model.shown().lanes.iter().find(|lane| &lane.lane == id);
    found.map_or(0, |found| lane::lines(model, found, room).len())
}

/// One level up: out of the zoom, out of the hold, out of a filter, out of a selection.
fn back(model: &mut Model) {
    if model.zoom {
        model.zoom = false;
    } else if model.held.is_some() {
        model.held = None;
    } else if model.focus == Pane::Log && !model.log_filter.is_off() {
        model.log_filter = Filter::default();
    } else if model.focus == Pane::Batches && !model.batch_filter.is_off() {
        model.batch_filter = Filter::default();
    } else {
        model.row = None;
        model.phase_row = None;
        model.alert = None;
    }
}

fn open(model: &mut Model) {
    model.overlay = match model.focus {
        Pane::Phases => Some(Overlay::Phase { phase: phases::selected(model), scroll: 0 }),
        Pane::Log => Some(Overlay::Log { scroll: 0 }),
        Pane::Batches => match &model.row {
            Some(Row::Batch(id)) => model
                .shown()
                .batches
                .get(id)
                .map(|batch| Overlay::Batch(Box::new(Detail::new(id.clone(), batch.progress.lane.clone())))),
            Some(Row::Lane(lane)) => Some(Overlay::Lane { lane: lane.clone(), scroll: 0 }),
            None => None,
        },
        Pane::Errors | Pane::Latency | Pane::Alerts => {
            model.zoom = !model.zoom;
            None
        }
    };
}

fn moved(model: &mut Model, act: Act) {
    let step = |at: Option<usize>, all: usize| -> Option<usize> {
        let last = all.checked_sub(1)?;
        match at {
            None if matches!(act, Act::Last) => Some(last),
            None => Some(0),
            Some(at) => scrolled(Some(act), at, last, 8),
        }
    };
    match model.focus {
        Pane::Phases => model.phase_row = step(Some(phases::selected(model).number() - 1), 9),
        Pane::Batches => {
            let rows = batches::rows(model);
            let at = model.row.as_ref().and_then(|row| rows.iter().position(|known| known == row));
            model.row = step(at, rows.len()).and_then(|at| rows.get(at).cloned());
        }
        Pane::Alerts => {
            let all = alerts::sorted(model);
            let at = model.alert.and_then(|id| all.iter().position(|alert| alert.id == id)).unwrap_or(0);
            model.alert = step(Some(at), all.len()).and_then(|at| all.get(at)).map(|alert| alert.id);
        }
        Pane::Errors | Pane::Latency | Pane::Log => {}
    }
}

/// The selected line, for the clipboard.
pub(crate) fn selected_text(model: &Model) -> Option<String> {
    Some(match model.focus {
        Pane::Batches => match model.row.as_ref()? {
            Row::Batch(id) => format!("{id} {}", model.view.batches.get(id).map_or("", |b| b.progress.error.as_str())),
            Row::Lane(id) => id.to_string(),
        },
        Pane::Alerts => {
            let alert = alerts::selected(model)?;
            format!("{} {}: {}", alert.at, alert.source, alert.text)
        }
        Pane::Phases => {
            let phase = model.shown().phase(phases::selected(model));
            let notes: Vec<String> = phase.steps.iter().map(|step| format!("{}: {}", step.id, step.note)).collect();
            notes.join("\n")
        }
        _ => format!("{} {}: {}", model.view.plan, model.view.state, model.view.reason),
    })
}

/// The mouse only looks: a click gives a pane the focus, the wheel moves; in dialogs it does nothing.
pub(crate) fn mouse(model: &mut Model, event: MouseEvent) {
    let area = Rect::new(0, 0, model.size.width, model.size.height);
    if model.overlay.is_some() || layout::is_small(area) {
        return;
    }
    match event.kind {
        MouseEventKind::Down(_) => {
            let banners = u16::try_from(super::panes::banner::lines(model).len()).unwrap_or(0);
            let places = layout::board(area, banners, model.focus, model.zoom);
            let hit = places.panes.iter().find(|(_, place)| place.contains((event.column, event.row).into()));
            if let Some((pane, _)) = hit {
                model.focus = *pane;
            }
        }
        MouseEventKind::ScrollUp => moved(model, Act::Up),
        MouseEventKind::ScrollDown => moved(model, Act::Down),
        _ => {}
    }
}

/// Lines of a page.
pub(crate) fn page(model: &Model) -> usize {
    usize::from(model.size.height.saturating_sub(4)).max(1)
}

/// Where a list stands after a key; `None` closes it.
pub(crate) fn scrolled(act: Option<Act>, at: usize, most: usize, page: usize) -> Option<usize> {
    Some(match act {
        Some(Act::Back | Act::Leave) => return None,
        Some(Act::Up) => at.saturating_sub(1),
        Some(Act::Down) => (at + 1).min(most),
        Some(Act::PageUp) => at.saturating_sub(page),
        Some(Act::PageDown) => (at + page).min(most),
        Some(Act::First) => 0,
        Some(Act::Last) => most,
        _ => at,
    })
}

/// The same for a list that is followed at its end.
pub(crate) fn scrolled_back(act: Option<Act>, back: usize, most: usize, page: usize) -> Option<usize> {
    let turned = act.map(|act| match act {
        Act::Up => Act::Down,
        Act::Down => Act::Up,
        Act::PageUp => Act::PageDown,
        Act::PageDown => Act::PageUp,
        Act::First => Act::Last,
        Act::Last => Act::First,
        other => other,
    });
    scrolled(turned, back, most, page)
}

/// Moves `tui-logger`'s own window.
pub(crate) fn log_moved(model: &Model, act: Option<Act>) {
    use tui_logger::TuiWidgetEvent as Move;
    match act {
        Some(Act::Up | Act::PageUp | Act::First) => model.log_state.transition(Move::PrevPageKey),
        Some(Act::Down | Act::PageDown) => model.log_state.transition(Move::NextPageKey),
        Some(Act::Last | Act::Back | Act::Leave) => model.log_state.transition(Move::EscapeKey),
        _ => {}
    }
}
