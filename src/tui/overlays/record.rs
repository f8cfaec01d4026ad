//! What the lists of single records share: one record that is open, rows that follow the eye, a value in full, and a line
//! of what is being mended.

use super::super::{model::Model, pen::put, theme::Role};
use crate::model::LaneId;
use ratatui::{buffer::Buffer, layout::Rect};
use unicode_width::UnicodeWidthChar;

/// Lines in which the selected field is shown in full, at most.
pub(crate) const FULL: u16 = 9;

/// A record that is open: its key, and what was found of it.
#[derive(Debug)]
pub(crate) struct Opened<T> {
    pub(crate) key: String,
    found: Option<Result<T, String>>,
    asked: bool,
    selected: usize,
}

impl<T> Opened<T> {
    pub(crate) const fn new(key: String) -> Self {
        Self { key, found: None, asked: false, selected: 0 }
    }

    /// The key to be asked for, once.
    pub(crate) fn wants(&mut self) -> Option<String> {
        (!std::mem::replace(&mut self.asked, true)).then(|| self.key.clone())
    }

    /// The answer came, if it is for this record.
    pub(crate) fn take(&mut self, key: &str, found: Result<T, String>) {
        if self.key == key {
            self.found = Some(found);
        }
    }

    /// Asks again: something was changed.
    pub(crate) const fn read_again(&mut self) {
        self.asked = false;
    }

    pub(crate) const fn found(&self) -> Option<&Result<T, String>> {
        self.found.as_ref()
    }

    /// The field the eye is on, of so many.
    pub(crate) const fn at(&self, fields: usize) -> usize {
        let last = fields.saturating_sub(1);
        if self.selected < last { self.selected } else { last }
    }

    /// Moves to another field.
    pub(crate) fn move_to(&mut self, field: usize) {
        self.selected = field;
    }
}

/// The rows of a table below its heading, scrolled so that the selected one is seen.
pub(crate) fn rows<L>(lines: &[L], selected: usize, table: Rect, mut each: impl FnMut(u16, bool, &L)) {
    let height = usize::from(table.height.saturating_sub(1));
    let first = (selected + 1).saturating_sub(height);
    for (row, (index, line)) in (1u16..).zip(lines.iter().enumerate().skip(first).take(height)) {
        each(row, index == selected, line);
    }
}

/// What stands where a list would: it is asked for, refused, or there is nothing.
pub(crate) fn instead(model: &Model, refused: Option<&str>, waits: bool, nothing: &str, buf: &mut Buffer, area: Rect) {
    let (role, text) = match refused {
        Some(why) => (Role::Crit, format!("no answer: {why}")),
        None if waits => (Role::Faint, "asking ...".to_owned()),
        None => (Role::Pending, nothing.to_owned()),
    };
    let lines = model.pen.wrap(&text, usize::from(area.width), 4);
    for (row, line) in (0..).zip(lines) {
        put(buf, area, row, vec![model.pen.span(role, line)]);
    }
}

/// A field in full: each side's value over as many lines as there is room for.
pub(crate) fn full(model: &Model, name: &str, values: &[(&str, Option<&String>)], buf: &mut Buffer, area: Rect) {
    let pen = &model.pen;
    let room = usize::from(area.width);
    put(buf, area, 0, vec![pen.span(Role::Title, pen.cut(name, room))]);
    let each = usize::from(area.height.saturating_sub(1)) / values.len().max(1);
    let mut row = 1;
    for (side, value) in values {
        let indent = if side.is_empty() { 0 } else { 8 };
        let lines = match value {
            Some(value) => chunks(&pen.clean(value), room.saturating_sub(indent), each),
            None => vec!["(no such field)".to_owned()],
        };
        let heads = std::iter::once(*side).chain(std::iter::repeat(""));
        for (head, line) in heads.zip(lines).take(each.max(1)) {
            put(
                buf,
                area,
                row,
                vec![
                    pen.span(Role::Faint, pen.fit(head, indent)),
                    pen.span(if value.is_some() { Role::Text } else { Role::Pending }, line),
                ],
            );
            row += 1;
        }
    }
}

/// The text in lines of at most so many cells, broken wherever they end: a value has no words.
fn chunks(text: &str, width: usize, most: usize) -> Vec<String> {
    let (mut lines, mut used) = (vec![String::new()], 0);
    for c in text.chars() {
        let wide = c.width().unwrap_or(0);
        if used + wide > width.max(2) {
            if lines.len() == most.max(1) {
                break;
            }
            lines.push(String::new());
            used = 0;
        }
        used += wide;
        if let Some(line) = lines.last_mut() {
            line.push(c);
        }
    }
    lines
}

/// Says what is being mended in this lane now; how many lines that took.
pub(crate) fn mending(model: &Model, lane: &LaneId, buf: &mut Buffer, inner: Rect) -> u16 {
    let Some(mending) = model.view.mending.as_ref().filter(|mending| &mending.lane == lane) else { return 0 };
    let pen = &model.pen;
    let note = if mending.note.is_empty() { "records of this lane" } else { mending.note.as_str() };
    let text = format!("{} being worked on: {note}", pen.glyphs.active);
    put(buf, inner, 0, vec![pen.span(Role::Active, pen.cut(&text, usize::from(inner.width)))]);
    1
}
