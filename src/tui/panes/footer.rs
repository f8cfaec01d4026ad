//! The last two lines: what the last command came to, and the keys, from the key table.

use super::super::{
    filter::Typing,
    keys::{Act, BOARD, Kind},
    layout::is_full,
    legal,
    model::{Model, Sent},
    overlays::Overlay,
    pen::{cells, put, put_right},
    say,
    theme::Role,
};
use crate::{engine::view::CommandState, model::RunState};
use ratatui::{
    buffer::Buffer,
    layout::Rect,
    text::Span,
    widgets::{Clear, Widget},
};
use std::time::Duration;

/// From this age on an ended command is of the past.
const PAST: Duration = Duration::from_secs(15);

/// Draws the status line: what was said last on the left, the life of the last command on the right.
pub(crate) fn status(model: &Model, buf: &mut Buffer, area: Rect) {
    let pen = &model.pen;
    let room = usize::from(area.width);
    let life = life(model);
    // What the hint says is about the board's keys; in a detail some of them mean something else.
    let detail = matches!(model.overlay, Some(Overlay::Lane { .. } | Overlay::Batch(_)));
    let most = if detail { room } else { room / 2 };
    let life_width = life.as_ref().map_or(0, |(_, text)| cells(text).min(most));
    let note = model.note.as_ref().filter(|note| note.until > model.moment.mono);
    let (role, text) = match note {
        Some(note) => (note.role, note.text.clone()),
        None if detail => (Role::Text, String::new()),
        None => hint(model),
    };
    let life_width = if note.is_some() { life_width.min(room / 2) } else { life_width };
    put(buf, area, 0, vec![pen.span(role, pen.cut(&format!(" > {text}"), room.saturating_sub(life_width + 1)))]);
    if let Some((role, text)) = life {
        put_right(buf, area, 0, vec![pen.span(role, pen.cut(&text, life_width))]);
    }
}

/// Draws a filter that is being typed in the place of the status line.
pub(crate) fn typing(model: &Model, typing: &Typing, buf: &mut Buffer, area: Rect) {
    let pen = &model.pen;
    let room = usize::from(area.width);
    Clear.render(area.intersection(buf.area), buf);
    let mut spans = typing.field.spans(pen, true, (room / 3).max(16));
    spans.push(pen.span(Role::Faint, "  !not  =whole  Enter keeps  Esc off"));
    put(buf, area, 0, spans);
}

/// What to do next, where nothing else is to be said.
fn hint(model: &Model) -> (Role, String) {
    use RunState as S;
    let arm = if model.armed() { "" } else { "T arms steering, then " };
    match model.view.state {
        S::AtGate => (Role::Wait, format!("waits for your go or no-go: {arm}G decides (g looks)")),
        S::Paused | S::Stopped => (Role::Wait, format!("holds: {arm}P resumes, B rolls back")),
        S::Failed => (Role::Crit, format!("a step failed: {arm}R retries or skips, B rolls back")),
        S::Stuck => (Role::Crit, format!("an undo failed: mend it, {arm}R retries")),
        S::RolledBack | S::Completed => (Role::Ok, "the run has ended: q leaves".into()),
        _ if !is_full(Rect::new(0, 0, model.size.width, model.size.height))
            && let Some(doing) = super::phases::under_way(model) =>
        {
            doing
        }
        _ if model.armed() => (Role::Text, "steering is armed".into()),
        _ => (Role::Faint, "WATCH: T arms steering; P pauses and ! stops at any time".into()),
    }
}

/// The life of the last command given here or elsewhere.
fn life(model: &Model) -> Option<(Role, String)> {
    let g = &model.pen.glyphs;
    if let Some(sent) = model.sent.back() {
        match &sent.answer {
            None if model.is_lost(sent) => {
                return Some((Role::Stale, format!("{} {} unknown: no answer", g.unknown, sent.name)));
            }
            None => return Some((Role::Wait, format!("{} {} sent", g.sent, sent.name))),
            Some(Err(refusal)) if is_newest(model, sent) => {
                return Some((Role::Crit, format!("{} {} refused: {}", g.crit, sent.name, legal::sentence(refusal))));
            }
            Some(_) => {}
        }
    }
    let command = model.view.commands.back()?;
    // On a narrow screen a command of the past gives way to what is to be done next.
    let past = command.ended.is_some_and(|at| say::between(at, model.moment.wall) > PAST);
    if past && model.size.width < 100 {
        return None;
    }
    let head = format!("#{} {} by {}", command.id.0, command.order.name(), command.by);
    let took = |until| format!("{:.1}s", say::between(command.accepted, until).as_secs_f64());
    Some(match (&command.state, command.ended) {
        (CommandState::Accepted, _) => {
            (Role::Wait, format!("{} {head}: accepted, {}", g.wait, took(model.moment.wall)))
        }
        (CommandState::Effective, Some(at)) => (Role::Ok, format!("{} {head}: effective in {}", g.ok, took(at))),
        (CommandState::Effective, None) => (Role::Ok, format!("{} {head}: effective", g.ok)),
        (CommandState::Failed(why), _) => (Role::Crit, format!("{} {head}: failed: {why}", g.crit)),
    })
}

/// A refusal is shown until a later command, from anywhere, was taken.
fn is_newest(model: &Model, sent: &Sent) -> bool {
    let since = model.moment.mono.saturating_sub(sent.at);
    model.view.commands.back().is_none_or(|command| say::between(command.accepted, model.moment.wall) > since)
}

/// Draws the keys: as many as fit, help always, what is not possible now greyed.
pub(crate) fn draw(model: &Model, buf: &mut Buffer, area: Rect) {
    let pen = &model.pen;
    let leave = " q leave ";
    let room = usize::from(area.width).saturating_sub(cells(leave));
    let mut spans: Vec<Span<'static>> = Vec::new();
    let mut used = 0;
    for binding in BOARD.iter().filter(|b| !b.short.is_empty() && b.short != "leave") {
        let key = binding.keys.first().map_or_else(String::new, |chord| chord.name());
        let holds = matches!(model.view.state, RunState::Paused | RunState::Stopped);
        let short = match binding.act {
            Act::Pause if holds => "resume",
            Act::Lock if model.armed() => "disarm",
            _ => binding.short,
        };
        let width = cells(&key) + short.len() + 3;
        if used + width > room {
            continue;
        }
        used += width;
        // The lock greys nothing here: T stands beside it and the hint line says so.
        let off = match binding.kind {
            Kind::Look | Kind::Screen => false,
            Kind::Steer | Kind::Safe => legal::illegal(model, binding.act).is_some(),
        };
        let (key_role, text_role) = if off { (Role::Pending, Role::Pending) } else { (Role::Key, Role::Text) };
        spans.push(pen.span(key_role, format!(" {key}")));
        spans.push(pen.span(text_role, format!(" {short} ")));
    }
    put(buf, area, 0, spans);
    put_right(buf, area, 0, vec![pen.span(Role::Key, " q"), pen.span(Role::Text, " leave ")]);
}
