//! Tests of the whole console.

mod bench;
mod board;
mod danger;
mod looped;
mod mending;
mod screens;

use super::{
    draw, fixtures,
    glyphs::{GlyphChoice, Glyphs},
    model::{Model, Moment},
    pen::Pen,
    reader::Ask,
    theme::{Depth, Theme, ThemeChoice},
    update::{Action, Message, update},
};
use crate::engine::view::RunView;
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::{
    buffer::Buffer,
    layout::{Rect, Size},
};
use std::{sync::Arc, time::Duration};

/// A model of this run at this size.
fn model(view: RunView, size: (u16, u16), theme: ThemeChoice, glyphs: GlyphChoice) -> Model {
    let pen = Pen { theme: Theme::choose(theme, Depth::True), glyphs: Glyphs::choose(glyphs, true) };
    Model::new(fixtures::setup(), pen, Arc::new(view), Size::new(size.0, size.1), moment(10_000))
}

fn dark(view: RunView, size: (u16, u16)) -> Model {
    model(view, size, ThemeChoice::Dark, GlyphChoice::Unicode)
}

/// So many milliseconds after the console began; the fixtures' now is at ten seconds.
fn moment(ms: u64) -> Moment {
    let wall = fixtures::now().checked_add(Duration::from_millis(ms.saturating_sub(10_000))).expect("in range");
    Moment { wall, mono: Duration::from_millis(ms) }
}

fn drawn(model: &Model) -> Buffer {
    let area = Rect::new(0, 0, model.size.width, model.size.height);
    let mut buffer = Buffer::empty(area);
    draw::screen(model, &mut buffer, area);
    buffer
}

fn text(model: &Model) -> String {
    super::run::text_of(&drawn(model))
}

fn key(c: char) -> KeyEvent {
    KeyEvent::new(KeyCode::Char(c), KeyModifiers::NONE)
}

fn code(code: KeyCode) -> KeyEvent {
    KeyEvent::new(code, KeyModifiers::NONE)
}

/// A person at the keyboard: each key a fifth of a second after the last.
struct Person {
    model: Model,
    ms: u64,
    actions: Vec<Action>,
    asked: Vec<Ask>,
}

impl Person {
    fn at(view: RunView) -> Self {
        Self { model: dark(view, (120, 36)), ms: 10_000, actions: Vec::new(), asked: Vec::new() }
    }

    fn says(&mut self, message: Message, after: u64) {
        self.ms += after;
        let actions = update(&mut self.model, message, moment(self.ms));
        for action in actions {
            match action {
                // Whoever is asked answers at once.
                Action::Ask(ask) => {
                    self.asked.push(ask.clone());
                    let told = fixtures::told(&ask);
                    let answer = Message::Told { ask, told };
                    self.actions.extend(update(&mut self.model, answer, moment(self.ms)));
                }
                other => self.actions.push(other),
            }
        }
    }

    fn keys(mut self, keys: &str) -> Self {
        for c in keys.chars() {
            let event = match c {
                '\n' => code(KeyCode::Enter),
                '\t' => code(KeyCode::Tab),
                '\x1b' => code(KeyCode::Esc),
                '↓' => code(KeyCode::Down),
                '⇟' => code(KeyCode::PageDown),
                '⇞' => code(KeyCode::PageUp),
                c => key(c),
            };
            self.says(Message::Key(event), 200);
        }
        self
    }

    fn waits(mut self, ms: u64) -> Self {
        self.says(Message::Tick, ms);
        self
    }

    /// With steering armed.
    fn armed(mut self) -> Self {
        self.model.armed_until = Some(Duration::from_secs(605));
        self
    }

    fn orders(&self) -> Vec<&crate::command::Command> {
        self.actions
            .iter()
            .filter_map(|action| match action {
                Action::Order { command, .. } => Some(command),
                _ => None,
            })
            .collect()
    }
}
