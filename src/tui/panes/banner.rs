//! Banners under the truth line: what cannot wait. At most two lines, loudest first.

use super::super::{model::Model, pen::put, say, theme::Role};
use ratatui::{buffer::Buffer, layout::Rect};

/// Lines that banners may take.
const MOST: usize = 2;

/// What must be said now.
pub(crate) fn lines(model: &Model) -> Vec<(Role, String)> {
    let pen = &model.pen;
    let view = &model.view;
    let mut out = Vec::new();
    if let Some(veto) = &view.veto {
        let left = say::between(model.moment.wall, veto.deadline);
        let key = if model.armed() { "K keeps going" } else { "T then K keeps going" };
        out.push((
            Role::Danger,
            format!("{} ROLLING BACK in {}s, {key}: {}, {}", pen.glyphs.crit, left.as_secs(), veto.rule, veto.reason),
        ));
    }
    if let Some(broken) = model.broken.last() {
        out.push((Role::Danger, format!("{} A PART OF THE ENGINE BROKE: {broken}", pen.glyphs.crit)));
    }
    if model.gone && view.outcome.is_none() {
        out.push((
            Role::Danger,
            format!("{} the engine is gone; nothing steers this run: q, then resume", pen.glyphs.crit),
        ));
    }
    if let Some(outcome) = view.outcome {
        let sign = say::run(view.state, &pen.glyphs);
        let text = format!("{} the run has ended: {}. q leaves", sign.glyph, outcome.word().replace('_', " "));
        out.push((sign.role, text));
    }
    if let Some(pause) = &view.pause
        && view.state == crate::model::RunState::Pausing
    {
        let live = view.batches.values().filter(|batch| batch.is_live()).count();
        let step = view.current_step().map_or_else(String::new, |step| format!(", {}", step.id));
        out.push((
            Role::Wait,
            format!("{} PAUSING ({}): {live} batches still drain{step}", pen.glyphs.wait, pause.reason),
        ));
    }
    if let Some(exception) = view.exceptions.last() {
        out.push((Role::Warn, format!("{} exception {}: {exception}", pen.glyphs.warn, view.exceptions.len())));
    }
    out.truncate(MOST);
    out
}

/// Draws the banners.
pub(crate) fn draw(model: &Model, buf: &mut Buffer, area: Rect) {
    let room = usize::from(area.width);
    for (row, (role, text)) in (0u16..).zip(lines(model)) {
        put(buf, area, row, vec![model.pen.span(role, model.pen.fit(&format!(" {text}"), room))]);
    }
}
