//! The notice on a screen too small to steer from: state, alarms, and the few keys that still act.

use super::super::{
    layout::LEAST,
    model::Model,
    overlays::{Overlay, dialog},
    pen::put,
    say,
    theme::Role,
};
use crate::model::Severity;
use ratatui::{buffer::Buffer, layout::Rect, widgets::Clear, widgets::Widget};

/// Draws the notice.
pub(crate) fn draw(model: &Model, buf: &mut Buffer, area: Rect) {
    let pen = &model.pen;
    let view = &model.view;
    Clear.render(area, buf);
    let state = say::run(view.state, &pen.glyphs);
    let open = |severity| view.alerts.iter().filter(move |a| a.severity == severity && a.cleared.is_none()).count();
    let maintenance = if view.maintenance_since.is_some() { "MAINT ON" } else { "MAINT off" };
    let room = usize::from(area.width);
    let lines = [
        (
            Role::Danger,
            format!(
                "[{}] {}x{}: too small, needs {}x{}",
                view.environment.badge(),
                area.width,
                area.height,
                LEAST.0,
                LEAST.1
            ),
        ),
        (state.role, format!("{} {} {} {}", state.glyph, state.word, view.phase.number(), say::percent(view.ratio()))),
        (
            Role::Text,
            format!(
                "{}{} {}{} {maintenance}",
                open(Severity::Critical),
                pen.glyphs.crit,
                open(Severity::Warning),
                pen.glyphs.warn
            ),
        ),
        (Role::Text, "P pause ! stop q leave Ctrl-L".into()),
        (Role::Faint, "every other key is ignored".into()),
    ];
    let mut row = 0;
    if let Some(Overlay::Dialog(open)) = &model.overlay {
        // State first, then the question: three lines are the least that a stop needs.
        let first = area.height.saturating_sub(3).min(2);
        for (role, text) in lines.iter().take(usize::from(first)) {
            put(buf, area, row, vec![pen.span(*role, pen.cut(text, room))]);
            row += 1;
        }
        dialog::draw_small(model, open, buf, area, row);
        return;
    }
    for (role, text) in lines {
        put(buf, area, row, vec![pen.span(role, pen.cut(&text, room))]);
        row += 1;
    }
}
