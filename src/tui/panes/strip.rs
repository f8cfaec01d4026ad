//! For screens too small for all panes: the phases as a strip, and the panes as tabs.

use super::{
    super::{
        model::Model,
        pen::{cells, put},
        say,
        theme::Role,
    },
    Pane,
};
use crate::model::PhaseState;
use ratatui::{buffer::Buffer, layout::Rect, text::Span};

/// Draws the phases as `✓1 ✓2 ►3 …` and the phase under way with its gauge.
pub(crate) fn draw(model: &Model, buf: &mut Buffer, area: Rect) {
    let pen = &model.pen;
    let view = model.shown();
    let mut spans = Vec::new();
    for phase in &view.phases {
        let sign = say::phase(phase.state, &pen.glyphs);
        spans.push(pen.span(sign.role, format!(" {}{}", sign.glyph, phase.phase.number())));
    }
    if let Some(rollback) = &view.rollback {
        let stage = rollback.stage.map_or("done", |stage| stage.title());
        spans.push(pen.span(Role::Warn, format!("   way back {}/5 {stage}", rollback.done.len())));
    } else {
        let phase = view.phase(view.phase);
        let sign = say::phase(phase.state, &pen.glyphs);
        let gauge = usize::from(area.width).saturating_sub(27 + 2 + 15 + 1 + 5 + 2).clamp(6, 30);
        spans.push(pen.span(Role::Active, format!("  {} ", phase.phase.title())));
        if phase.state == PhaseState::Running {
            spans.push(pen.span(sign.role, pen.gauge(phase.ratio(), gauge)));
            spans.push(pen.span(sign.role, format!(" {}", say::percent(phase.ratio()))));
        } else {
            spans.push(pen.span(sign.role, sign.word));
        }
    }
    put(buf, area, 0, spans);
}

/// Draws the tabs.
pub(crate) fn tabs(model: &Model, buf: &mut Buffer, area: Rect) {
    let pen = &model.pen;
    let mut spans: Vec<Span<'static>> = Vec::new();
    let mut used = 0;
    for pane in Pane::ALL {
        let here = model.focus == pane;
        let text =
            if here { format!(" [{} {}]", pane as u8, pane.tab()) } else { format!("  {} {}", pane as u8, pane.tab()) };
        used += cells(&text);
        if used > usize::from(area.width) {
            break;
        }
        spans.push(pen.span(if here { Role::Active } else { Role::Faint }, text));
    }
    put(buf, area, 0, spans);
}
