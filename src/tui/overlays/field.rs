//! A text field of a dialog, and what it takes to be right.

use super::super::{pen::Pen, theme::Role};
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::text::Span;
use tui_input::{Input, InputRequest};
use unicode_width::UnicodeWidthChar;

/// Characters a field takes.
const ROOM: usize = 200;

/// What must stand in a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Need {
    /// Exactly this.
    Exactly(String),
    /// At least so many characters.
    Letters(usize),
    /// Limits of a lane.
    Limits,
    /// Whatever, or nothing.
    Nothing,
}

/// A text field.
#[derive(Debug, Clone)]
pub(crate) struct Field {
    pub(crate) label: &'static str,
    pub(crate) need: Need,
    input: Input,
}

impl Field {
    pub(crate) fn new(label: &'static str, need: Need) -> Self {
        Self { label, need, input: Input::default() }
    }

    pub(crate) fn text(&self) -> &str {
        self.input.value()
    }

    pub(crate) fn clear(&mut self) {
        self.input.reset();
    }

    /// Why it is not right yet.
    pub(crate) fn missing(&self) -> Option<String> {
        let text = self.text().trim();
        match &self.need {
            Need::Exactly(wanted) if text == wanted => None,
            Need::Exactly(wanted) => Some(format!("type {wanted}")),
            Need::Letters(least) if text.chars().count() >= *least => None,
            Need::Letters(1) => Some("needs a reason".into()),
            Need::Letters(least) => Some(format!("needs a reason of {least} letters or more")),
            Need::Limits => super::super::speed::parse(text).err(),
            Need::Nothing => None,
        }
    }

    /// Types or edits; false if the key is none for a text field.
    pub(crate) fn key(&mut self, key: &KeyEvent) -> bool {
        let ctrl = key.modifiers.contains(KeyModifiers::CONTROL);
        let request = match key.code {
            KeyCode::Char('u') if ctrl => InputRequest::DeleteLine,
            KeyCode::Char('w') if ctrl => InputRequest::DeletePrevWord,
            KeyCode::Char('a') if ctrl => InputRequest::GoToStart,
            KeyCode::Char('e') if ctrl => InputRequest::GoToEnd,
            KeyCode::Char(c) if !ctrl && !c.is_control() => {
                if self.text().chars().count() >= ROOM {
                    return true;
                }
                InputRequest::InsertChar(c)
            }
            KeyCode::Backspace => InputRequest::DeletePrevChar,
            KeyCode::Delete => InputRequest::DeleteNextChar,
            KeyCode::Left => InputRequest::GoToPrevChar,
            KeyCode::Right => InputRequest::GoToNextChar,
            KeyCode::Home => InputRequest::GoToStart,
            KeyCode::End => InputRequest::GoToEnd,
            _ => return false,
        };
        // The answer only says whether anything changed.
        let _changed = self.input.handle(request);
        true
    }

    /// `Label [text____]` in `width` cells; the cursor is shown where the focus is.
    pub(crate) fn spans(&self, pen: &Pen, focused: bool, width: usize) -> Vec<Span<'static>> {
        let room = width.saturating_sub(super::super::pen::cells(self.label) + 3).clamp(4, 60);
        let scroll = self.input.visual_scroll(room);
        let (mut skipped, mut shown) = (0, String::new());
        for c in self.text().chars() {
            if skipped < scroll {
                skipped += c.width().unwrap_or(0);
            } else {
                shown.push(c);
            }
        }
        let at = self.input.visual_cursor().saturating_sub(scroll);
        let shown = pen.fit(&shown, room).replace(' ', "_");
        let head: String = shown.chars().take(at).collect();
        let cursor: String = shown.chars().skip(at).take(1).collect();
        let tail: String = shown.chars().skip(at + 1).collect();
        let role = if focused { Role::Active } else { Role::Pending };
        vec![
            pen.span(role, format!("{} [", self.label)),
            pen.span(role, head),
            pen.span(if focused { Role::Selected } else { role }, cursor),
            pen.span(role, tail),
            pen.span(role, "]"),
        ]
    }
}
