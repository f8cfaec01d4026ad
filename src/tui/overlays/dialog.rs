//! The one dialog for everything that asks before it gives a command: choices, text fields, a moment of deafness.
//!
//! Friction is small towards safety and large towards risk: the first choice always leaves things as they are unless
//! the command is the safe way, and risky commands want a word typed. What each dialog says is made in `make`.

use super::{
    super::{legal, model::Model, pen::put, theme::Role},
    ARMING, centred,
    field::Field,
    make::Make,
    window,
};
use crate::{command::Command, tui::input::Weight};
use crossterm::event::{KeyCode, KeyEvent};
use ratatui::{buffer::Buffer, layout::Rect};
use std::time::Duration;

/// A choice of a dialog.
#[derive(Debug, Clone)]
pub(crate) struct Choice {
    pub(crate) label: String,
    pub(crate) does: Does,
    /// Indices of the fields that must be right.
    pub(crate) needs: Vec<usize>,
    /// It steers, so it needs the lock.
    pub(crate) lock: bool,
}

/// What a choice does.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Does {
    /// Closes the dialog.
    Nothing,
    /// Gives a command.
    Order(Make),
    /// Arms steering.
    Arm,
    /// Leaves the screen although a command is unfinished.
    Leave,
}

/// A dialog.
#[derive(Debug, Clone)]
pub(crate) struct Dialog {
    pub(crate) title: String,
    pub(crate) danger: bool,
    pub(crate) text: Vec<(Role, String)>,
    pub(crate) fields: Vec<Field>,
    pub(crate) choices: Vec<Choice>,
    pub(crate) chosen: usize,
    /// A field, or behind the last one the choices.
    pub(crate) focus: usize,
    pub(crate) armed_at: Duration,
    pub(crate) note: Option<(Role, String)>,
    pub(crate) hint: &'static str,
}

/// What a key led to.
#[derive(Debug, PartialEq)]
pub(crate) enum Outcome {
    Stay,
    Close,
    Order(Command),
    Arm,
    Leave,
}

impl Dialog {
    /// Handles a key. `model` is only read: for the lock, the clock and the legal table.
    pub(crate) fn key(&mut self, model: &Model, key: &KeyEvent, weight: Weight) -> Outcome {
        if key.code == KeyCode::Esc {
            return Outcome::Close;
        }
        if let Weight::Light(why) = weight {
            // Half a pasted word must not be left for the next key to complete.
            self.fields.iter_mut().for_each(Field::clear);
            self.rearm(model, why);
            return Outcome::Stay;
        }
        match key.code {
            KeyCode::Tab => self.focus = (self.focus + 1) % self.stops(),
            KeyCode::BackTab => self.focus = (self.focus + self.stops() - 1) % self.stops(),
            KeyCode::Enter => return self.enter(model),
            _ => {
                self.note = None;
                let typed = self.fields.get_mut(self.focus).is_some_and(|field| field.key(key));
                if !typed {
                    self.choose(key.code);
                }
            }
        }
        Outcome::Stay
    }

    fn stops(&self) -> usize {
        (self.fields.len() + usize::from(self.choices.len() > 1)).max(1)
    }

    fn choose(&mut self, code: KeyCode) {
        let last = self.choices.len().saturating_sub(1);
        match code {
            KeyCode::Left | KeyCode::Up => self.chosen = self.chosen.saturating_sub(1),
            KeyCode::Right | KeyCode::Down => self.chosen = (self.chosen + 1).min(last),
            _ => {}
        }
    }

    fn rearm(&mut self, model: &Model, why: &str) {
        self.armed_at = model.moment.mono + ARMING;
        self.note = Some((Role::Warn, format!("not taken: {why}")));
    }

    fn enter(&mut self, model: &Model) -> Outcome {
        if model.moment.mono < self.armed_at {
            self.rearm(model, "the dialog was not armed yet, once more in a moment");
            return Outcome::Stay;
        }
        let Some(choice) = self.choices.get(self.chosen).cloned() else { return Outcome::Close };
        for index in &choice.needs {
            if let Some(missing) = self.fields.get(*index).and_then(Field::missing) {
                self.focus = *index;
                self.note = Some((Role::Warn, format!("not yet: {missing}")));
                return Outcome::Stay;
            }
        }
        if choice.lock && !model.armed() {
            self.note = Some((Role::Warn, "steering is not armed: Esc, then T arms it".into()));
            return Outcome::Stay;
        }
        match choice.does {
            Does::Nothing => Outcome::Close,
            Does::Arm => Outcome::Arm,
            Does::Leave => Outcome::Leave,
            Does::Order(make) => {
                let command = make.command(&self.fields);
                match legal::legal(&model.view, &command, model.moment.wall) {
                    Ok(()) => Outcome::Order(command),
                    Err(refusal) => {
                        self.note = Some((Role::Crit, legal::sentence(&refusal)));
                        Outcome::Stay
                    }
                }
            }
        }
    }
}

/// Draws the dialog in the middle, or over all of a small screen.
pub(crate) fn draw(model: &Model, dialog: &Dialog, buf: &mut Buffer, area: Rect) {
    let pen = &model.pen;
    let width = 76.min(area.width);
    let room = usize::from(width.saturating_sub(2));
    let text: Vec<(Role, String)> = dialog
        .text
        .iter()
        .flat_map(|(role, text)| pen.wrap(text, room, 6).into_iter().map(|line| (*role, line)))
        .collect();
    let shows_choices = dialog.choices.len() > 1;
    let rows = text.len() + dialog.fields.len() + if shows_choices { dialog.choices.len() + 1 } else { 0 } + 2;
    let height = u16::try_from(rows + 2).unwrap_or(u16::MAX);
    let role = if dialog.danger { Role::Danger } else { Role::Title };
    let badge = model.view.environment.badge();
    let inner = window(
        pen,
        buf,
        centred(area, width, height),
        vec![pen.span(role, &dialog.title)],
        vec![pen.span(Role::Badge, badge)],
        dialog.hint,
    );
    let below = rows - text.len();
    let room_for_text = usize::from(inner.height).saturating_sub(below);
    let mut row = 0;
    for (role, line) in text.into_iter().take(room_for_text) {
        put(buf, inner, row, vec![pen.span(role, line)]);
        row += 1;
    }
    for (index, field) in dialog.fields.iter().enumerate() {
        let mut spans = field.spans(pen, dialog.focus == index, room.saturating_sub(2));
        if field.missing().is_none() && field.need != super::field::Need::Nothing {
            spans.push(pen.span(Role::Ok, format!(" {}", pen.glyphs.ok)));
        }
        put(buf, inner, row, spans);
        row += 1;
    }
    if shows_choices {
        row += 1;
        for (index, choice) in dialog.choices.iter().enumerate() {
            let chosen = index == dialog.chosen;
            let mark = if chosen { pen.glyphs.cursor } else { " " };
            let role = if chosen { Role::Selected } else { Role::Text };
            put(buf, inner, row, vec![pen.span(role, pen.cut(&format!("{mark} {} ", choice.label), room))]);
            row += 1;
        }
    }
    let last = inner.height.saturating_sub(1);
    put(buf, inner, last.max(row.min(last)), vec![status(model, dialog, room)]);
}

fn status(model: &Model, dialog: &Dialog, room: usize) -> ratatui::text::Span<'static> {
    let pen = &model.pen;
    if let Some((role, note)) = &dialog.note {
        return pen.span(*role, pen.cut(note, room));
    }
    if model.moment.mono < dialog.armed_at {
        return pen.span(Role::Faint, "arming ...");
    }
    let mut needed = dialog.choices.get(dialog.chosen).into_iter().flat_map(|choice| &choice.needs);
    match needed.find_map(|index| dialog.fields.get(*index)?.missing()) {
        Some(missing) => pen.span(Role::Faint, pen.cut(&format!("not yet: {missing}"), room)),
        None => pen.span(Role::Ok, "Enter does it; key repeat and paste do not count"),
    }
}

/// Draws what the too-small notice shows of the dialog: one line to type into, one to say what happens.
pub(crate) fn draw_small(model: &Model, dialog: &Dialog, buf: &mut Buffer, area: Rect, row: u16) {
    let pen = &model.pen;
    let room = usize::from(area.width);
    let title = pen.cut(&format!("{}: Enter does it, Esc not", dialog.title), room);
    put(buf, area, row, vec![pen.span(if dialog.danger { Role::Danger } else { Role::Title }, title)]);
    let line = match (dialog.fields.iter().find(|field| field.missing().is_some()), dialog.choices.get(dialog.chosen)) {
        (Some(field), _) => field.spans(pen, true, room),
        (None, Some(choice)) => vec![pen.span(Role::Selected, pen.cut(&choice.label, room))],
        (None, None) => Vec::new(),
    };
    put(buf, area, row + 1, line);
    let said = dialog.note.as_ref().map_or("", |(_, note)| note.as_str());
    put(buf, area, row + 2, vec![pen.span(Role::Warn, pen.cut(said, room))]);
}
