//! The help, made from the key table: what each key does, and why not where it is off.

use super::{
    super::{
        keys::{BOARD, ELSEWHERE, Kind, Place},
        legal,
        model::Model,
        pen::put,
        theme::Role,
    },
    window,
};
use ratatui::{buffer::Buffer, layout::Rect, text::Span};

/// All lines of the help.
fn lines(model: &Model, room: usize) -> Vec<Vec<Span<'static>>> {
    let pen = &model.pen;
    let mut out = Vec::new();
    let groups = [
        ("STEERING (needs the lock: T arms)", Kind::Steer),
        ("TOWARDS SAFETY (no lock)", Kind::Safe),
        ("LOOK AND MOVE (changes nothing)", Kind::Look),
        ("THIS SCREEN", Kind::Screen),
    ];
    for (title, kind) in groups {
        out.push(vec![pen.span(Role::Title, title)]);
        for binding in BOARD.iter().filter(|binding| binding.kind == kind) {
            let keys: Vec<String> = binding.keys.iter().map(|chord| chord.name()).collect();
            let possible = legal::possible(model, binding);
            let role = if possible.is_ok() { Role::Text } else { Role::Pending };
            out.push(vec![
                pen.span(Role::Key, format!("  {} ", pen.fit(&keys.join(" "), 11))),
                pen.span(role, pen.cut(binding.help, room.saturating_sub(14))),
            ]);
            if let Err(why) = possible {
                let why = pen.cut(&format!("off: {why}"), room.saturating_sub(16));
                out.push(vec![pen.span(Role::Pending, format!("{}{why}", " ".repeat(16)))]);
            }
        }
    }
    let places = [
        ("IN A GATE", Place::Gate),
        ("IN A LANE", Place::Lane),
        ("IN A BATCH", Place::Batch),
        ("IN DEAD LETTERS", Place::Letters),
        ("IN DIFFERENCES", Place::Differences),
        ("IN A FILTER", Place::Filter),
        ("IN A DIALOG", Place::Dialog),
    ];
    for (title, place) in places {
        out.push(vec![pen.span(Role::Title, title)]);
        for (_, keys, help) in ELSEWHERE.iter().filter(|(known, ..)| *known == place) {
            let keys: Vec<String> = keys.iter().map(|chord| chord.name()).collect();
            out.push(vec![
                pen.span(Role::Key, format!("  {} ", pen.fit(&keys.join(" "), 19))),
                pen.span(Role::Text, pen.cut(help, room.saturating_sub(22))),
            ]);
        }
    }
    out.push(vec![pen.span(Role::Title, "SIGNS")]);
    let g = &pen.glyphs;
    out.push(vec![pen.span(
        Role::Text,
        pen.cut(
            &format!(
                "  {} done  {} under way  {} waits for a person  {} warning  {} failed  {} unknown or stale  {} pending",
                g.ok, g.active, g.wait, g.warn, g.crit, g.unknown, g.pending
            ),
            room,
        ),
    )]);
    out
}

/// Draws the help over the whole screen.
pub(crate) fn draw(model: &Model, scroll: usize, buf: &mut Buffer, area: Rect) {
    let pen = &model.pen;
    let inner = window(
        pen,
        buf,
        area,
        vec![pen.span(Role::Title, "Help")],
        vec![pen.span(Role::Faint, "Up/Down scroll")],
        "? help  Esc close",
    );
    let lines = lines(model, usize::from(inner.width));
    let first = scroll.min(lines.len().saturating_sub(usize::from(inner.height)));
    for (row, line) in (0..inner.height).zip(lines.into_iter().skip(first)) {
        put(buf, inner, row, line);
    }
}
