//! The nine phases with their gauges, and what the step under way does; during a rollback the five stages of the way
//! back.

use super::{
    super::{
        model::Model,
        pen::{mark, put, window},
        say,
        theme::Role,
    },
    Pane, title,
};
use crate::{
    engine::view::{PhaseView, RollbackView, RunView},
    model::{Phase, PhaseState, RollbackStage, RunState},
};
use ratatui::{buffer::Buffer, layout::Rect, text::Span};

/// Draws the pane.
pub(crate) fn draw(model: &Model, buf: &mut Buffer, area: Rect) {
    let pen = &model.pen;
    let view = model.shown();
    let done = view.phases.iter().filter(|phase| matches!(phase.state, PhaseState::Done | PhaseState::Off)).count();
    let right = vec![pen.span(Role::Faint, format!("{done}/{}", view.phases.len()))];
    let block = pen.frame(title(model, Pane::Phases), right, model.focus == Pane::Phases);
    let inner = window(buf, area, block);
    match &view.rollback {
        Some(rollback) => way_back(model, view, rollback, buf, inner),
        None => nine(model, view, buf, inner),
    }
}

/// The phase that Enter opens.
pub(crate) fn selected(model: &Model) -> Phase {
    model.phase_row.and_then(|row| Phase::ALL.get(row).copied()).unwrap_or(model.shown().phase)
}

fn nine(model: &Model, view: &RunView, buf: &mut Buffer, inner: Rect) {
    let pen = &model.pen;
    let room = usize::from(inner.width);
    let chosen = selected(model).number() - 1;
    let first = (chosen + 1).saturating_sub(usize::from(inner.height));
    let mut row = 0;
    for phase in view.phases.iter().skip(first).take(usize::from(inner.height)) {
        put(buf, inner, row, line(model, view, phase, room));
        if model.focus == Pane::Phases && phase.phase.number() - 1 == chosen {
            mark(buf, Rect { width: inner.width.min(4), ..inner }, row, pen.style(Role::Selected));
        }
        row += 1;
    }
    if row < inner.height {
        for (offset, spans) in (0u16..).zip(doing(model, view, room, usize::from(inner.height - row))) {
            put(buf, inner, row + offset, spans);
        }
    }
}

fn line(model: &Model, view: &RunView, phase: &PhaseView, room: usize) -> Vec<Span<'static>> {
    let pen = &model.pen;
    let sign = say::phase(phase.state, &pen.glyphs);
    let now = model.moment.wall;
    let head = format!("{} {} ", sign.glyph, phase.phase.number());
    let name = pen.fit(phase.phase.title(), 15);
    let gauge = room.saturating_sub(4 + 15 + 1 + 5 + 13).clamp(4, 24);
    let tail = room.saturating_sub(4 + 15 + 1 + gauge + 5);
    let expected = phase.expected_s.map_or_else(String::new, |s| {
        format!("~{}", say::clock(std::time::Duration::try_from_secs_f64(s).unwrap_or_default()))
    });
    let took = phase.started.map(|at| say::clock(say::between(at, phase.finished.unwrap_or(now))));
    let text = match phase.state {
        PhaseState::Off => "off".into(),
        PhaseState::Pending if phase.phase == Phase::Cleanup => format!("commit {expected}"),
        PhaseState::Pending if phase.gate => format!("gate {expected}"),
        PhaseState::Pending => expected,
        PhaseState::AtGate => {
            let score = view.gate.as_ref().map(|gate| super::super::overlays::gate::score(gate, &gate.waived, now));
            score.map_or_else(|| "GATE".into(), |(passed, all)| format!("GATE {passed}/{all}"))
        }
        PhaseState::Running => format!("{} {expected}", took.unwrap_or_default()),
        PhaseState::Done => took.unwrap_or_default(),
        PhaseState::Failed => "FAILED".into(),
        PhaseState::Undone => "undone".into(),
    };
    let ratio = phase.ratio();
    let percent = match phase.state {
        PhaseState::Pending | PhaseState::Off | PhaseState::AtGate => "     ".into(),
        _ => pen.right(&say::percent(ratio), 5),
    };
    vec![
        pen.span(sign.role, head),
        pen.span(sign.role, name),
        Span::raw(" "),
        pen.span(sign.role, pen.gauge(ratio, gauge)),
        pen.span(sign.role, percent),
        pen.span(sign.role, pen.right(text.trim_end(), tail)),
    ]
}

/// The step under way, how far it is, and what it is doing.
pub(crate) fn under_way(model: &Model) -> Option<(Role, String)> {
    let step = model.shown().current_step()?;
    let note = if step.note.is_empty() { &step.title } else { &step.note };
    let ratio = step.ratio.map_or_else(String::new, |ratio| format!(" {}", say::percent(ratio)));
    let name = step.id.as_str().rsplit('/').next().unwrap_or_default();
    Some((Role::Active, format!("{} {name}{ratio}: {note}", model.pen.glyphs.active)))
}

/// What is being done or waited for, and where the way back ends.
fn doing(model: &Model, view: &RunView, room: usize, most: usize) -> Vec<Vec<Span<'static>>> {
    let pen = &model.pen;
    let mut out = Vec::new();
    if let Some(step) = view.failed_step() {
        out.push((Role::Crit, format!("{} {}: {}", pen.glyphs.crit, step.id, step.note)));
    } else if let Some(step) = under_way(model) {
        out.push(step);
    } else if view.state == RunState::AtGate {
        out.push((Role::Wait, format!("{} waits for a person: G decides", pen.glyphs.wait)));
    }
    if view.committed.is_none() {
        out.push((Role::Faint, "last point of return: the commit before 9".into()));
    }
    let mut lines: Vec<Vec<Span<'static>>> = Vec::new();
    for (role, text) in out {
        let left = most.saturating_sub(lines.len());
        let wrapped = if left > 2 { pen.wrap(&text, room, left - 1) } else { vec![pen.cut(&text, room)] };
        lines.extend(wrapped.into_iter().map(|line| vec![pen.span(role, line)]));
    }
    lines.truncate(most);
    lines
}

fn way_back(model: &Model, view: &RunView, rollback: &RollbackView, buf: &mut Buffer, inner: Rect) {
    let pen = &model.pen;
    let room = usize::from(inner.width);
    let mut lines: Vec<(Role, String)> = Vec::new();
    let who = if rollback.automatic { format!("rule {}", rollback.by) } else { rollback.by.to_string() };
    lines.push((Role::Warn, format!("{} WAY BACK, {who}: {}", pen.glyphs.undone, rollback.reason)));
    for stage in RollbackStage::ALL {
        let done = rollback.done.iter().find(|(known, _)| *known == stage);
        lines.push(match done {
            Some((_, summary)) => (Role::Ok, format!("{} {}: {summary}", pen.glyphs.ok, stage.title())),
            None if rollback.stage == Some(stage) && view.state == RunState::Stuck => {
                (Role::Crit, format!("{} {} STUCK: {}", pen.glyphs.crit, stage.title(), view.reason))
            }
            None if rollback.stage == Some(stage) => {
                let note = view.current_step().map_or("", |step| step.note.as_str());
                (Role::Active, format!("{} {} under way {note}", pen.glyphs.active, stage.title()))
            }
            None => (Role::Pending, format!("{} {}", pen.glyphs.pending, stage.title())),
        });
    }
    lines.push((Role::Text, format!("{} steps still to undo", view.undo.len())));
    let phases: Vec<String> = view
        .phases
        .iter()
        .map(|phase| format!("{}{}", say::phase(phase.state, &pen.glyphs).glyph, phase.phase.number()))
        .collect();
    lines.push((Role::Faint, format!("phases {}", phases.join(" "))));
    for (row, (role, text)) in (0u16..).zip(lines) {
        put(buf, inner, row, vec![pen.span(role, pen.cut(&text, room))]);
    }
}
