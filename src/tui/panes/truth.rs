//! The line of truth: writes, reads, files and DNS, each intended against observed, with its age. A disagreement is the
//! loudest thing on the screen.

use super::super::{
    model::{Model, STALE},
    pen::{cells, put},
    say,
    theme::Role,
};
use crate::model::Aspect;
use ratatui::{buffer::Buffer, layout::Rect, text::Span};

/// Draws the line: cells side by side as they are if they fit, else the quiet ones give way to the loud ones.
pub(crate) fn draw(model: &Model, buf: &mut Buffer, area: Rect) {
    let pen = &model.pen;
    let wide = area.width >= 100;
    let parts: Vec<(Role, String)> = Aspect::ALL.into_iter().map(|aspect| cell(model, aspect, area.width)).collect();
    let label = if wide { " TRUTH " } else { " " };
    let room = usize::from(area.width).saturating_sub(cells(label) + parts.len());
    let mut widths: Vec<usize> = parts.iter().map(|(_, text)| cells(text)).collect();
    let quiet = |role: Role| matches!(role, Role::Ok | Role::Pending);
    // Quiet cells are cut to their aspect's word and sign at the least, loud ones share what is left.
    for loud in [false, true] {
        let mine: Vec<usize> = (0..parts.len()).filter(|i| quiet(parts[*i].0) != loud).collect();
        let over = widths.iter().sum::<usize>().saturating_sub(room);
        if over > 0 && !mine.is_empty() {
            let have: usize = mine.iter().map(|i| widths[*i]).sum();
            let share = have.saturating_sub(over) / mine.len();
            for i in mine {
                widths[i] = widths[i].min(share.max(if loud { 0 } else { 8 }));
            }
        }
    }
    let spare = room.saturating_sub(widths.iter().sum()) / parts.len().max(1);
    let mut spans = vec![pen.span(Role::Faint, label)];
    for ((role, text), width) in parts.into_iter().zip(widths) {
        spans.push(pen.span(role, pen.cut(&text, width)));
        let used = cells(&pen.cut(&text, width));
        spans.push(Span::raw(" ".repeat(width - used + 1 + spare.min(8))));
    }
    put(buf, area, 0, spans);
}

fn cell(model: &Model, aspect: Aspect, width: u16) -> (Role, String) {
    let pen = &model.pen;
    let view = model.shown();
    let word = match aspect {
        _ if width >= 80 => aspect.word(),
        Aspect::Writes => "wr",
        Aspect::Reads => "rd",
        Aspect::Files => "fl",
        Aspect::Dns => "dns",
    };
    let Some(fact) = view.truth.get(&aspect) else {
        return (Role::Pending, format!("{word} {} not seen yet", pen.glyphs.unknown));
    };
    let seen = view.truth_seen.get(&aspect).copied().unwrap_or(fact.at).max(fact.at);
    let old = say::between(seen, model.moment.wall);
    let age = if width >= 80 { format!(" {}", say::age(old)) } else { String::new() };
    let detail = if fact.detail.is_empty() { String::new() } else { format!(" ({})", fact.detail) };
    match &fact.observed {
        None => (Role::Stale, format!("{word} want {}, {} UNKNOWN{age}", fact.intended, pen.glyphs.unknown)),
        Some(observed) if !fact.agrees() => {
            (Role::Danger, format!("{word} want {} {} IS {observed}{age}{detail}", fact.intended, pen.glyphs.differs))
        }
        Some(observed) if old > STALE => (Role::Stale, format!("{word} {observed} {} STALE{age}", pen.glyphs.unknown)),
        Some(observed) => (Role::Ok, format!("{word} {observed} {}{age}{detail}", pen.glyphs.ok)),
    }
}
