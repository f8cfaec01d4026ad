//! One phase in full: its steps, what they say, and the checks they made.

use super::{
    super::{model::Model, pen::put, say, theme::Role},
    gate::check_line,
    window,
};
use crate::model::Phase;
use ratatui::{buffer::Buffer, layout::Rect, text::Span};

/// Draws the phase over the whole screen.
pub(crate) fn draw(model: &Model, phase: Phase, scroll: usize, buf: &mut Buffer, area: Rect) {
    let pen = &model.pen;
    let view = model.shown();
    let shown = view.phase(phase);
    let sign = say::phase(shown.state, &pen.glyphs);
    let inner = window(
        pen,
        buf,
        area,
        vec![pen.span(Role::Title, format!("Phase {} {phase}", phase.number()))],
        vec![pen.span(sign.role, format!("{} {}", sign.glyph, sign.word))],
        "? help  Esc close  Up/Down scroll",
    );
    let room = usize::from(inner.width);
    let mut lines: Vec<Vec<Span<'static>>> = Vec::new();
    for step in &shown.steps {
        let sign = say::step(step.state, &pen.glyphs);
        let tries = if step.attempt > 1 { format!(" try {}", step.attempt) } else { String::new() };
        let name = step.id.as_str().rsplit('/').next().unwrap_or_default();
        lines.push(vec![
            pen.span(sign.role, format!("{} {} ", sign.glyph, pen.fit(sign.word, 8))),
            pen.span(Role::Active, format!("{} ", pen.cut(name, 26))),
            pen.span(Role::Text, pen.cut(&format!("{}{tries}", step.title), room.saturating_sub(38))),
        ]);
        for line in pen.wrap(&step.note, room.saturating_sub(4), 3) {
            lines.push(vec![pen.span(Role::Faint, format!("    {line}"))]);
        }
        for check in &step.checks {
            let mut spans = vec![Span::raw("    ")];
            spans.extend(check_line(model, check, &[], room.saturating_sub(4)));
            lines.push(spans);
        }
    }
    if lines.is_empty() {
        lines.push(vec![pen.span(Role::Pending, "this phase has no steps")]);
    }
    let first = scroll.min(lines.len().saturating_sub(usize::from(inner.height)));
    for (row, line) in (0..inner.height).zip(lines.into_iter().skip(first)) {
        put(buf, inner, row, line);
    }
}
