//! The palette: every board command by name, ranked by what is typed, greyed with the reason where it is not possible.

use super::{
    super::{
        keys::{Act, BOARD, Binding, Kind},
        legal,
        model::Model,
        pen::{mark, put},
        theme::Role,
    },
    centred,
    field::{Field, Need},
    window,
};
use crossterm::event::{KeyCode, KeyEvent};
use nucleo_matcher::{
    Config, Matcher,
    pattern::{CaseMatching, Normalization, Pattern},
};
use ratatui::{buffer::Buffer, layout::Rect};

/// The palette.
#[derive(Debug, Clone)]
pub(crate) struct Palette {
    field: Field,
    selected: usize,
}

/// What a key led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Stay,
    Close,
    Run(Act),
}

impl Palette {
    pub(crate) fn new() -> Self {
        Self { field: Field::new(":", Need::Nothing), selected: 0 }
    }

    /// What matches, best first.
    pub(crate) fn found(&self) -> Vec<&'static Binding> {
        let pattern = Pattern::parse(self.field.text(), CaseMatching::Ignore, Normalization::Smart);
        let mut matcher = Matcher::new(Config::DEFAULT);
        let mut chars = Vec::new();
        let mut scored: Vec<(u32, usize, &Binding)> = listed()
            .enumerate()
            .filter_map(|(at, binding)| {
                let text = format!("{} {}", binding.short, binding.help);
                let score = pattern.score(nucleo_matcher::Utf32Str::new(&text, &mut chars), &mut matcher)?;
                Some((score, at, binding))
            })
            .collect();
        scored.sort_by_key(|(score, at, _)| (std::cmp::Reverse(*score), *at));
        scored.into_iter().map(|(.., binding)| binding).collect()
    }

    /// Handles a key. What Enter runs only opens a dialog or looks; the key's weight is judged there.
    pub(crate) fn key(&mut self, key: &KeyEvent) -> Outcome {
        let last = self.found().len().saturating_sub(1);
        match key.code {
            KeyCode::Esc => return Outcome::Close,
            KeyCode::Enter => {
                return self.found().get(self.selected).map_or(Outcome::Close, |binding| Outcome::Run(binding.act));
            }
            KeyCode::Up => self.selected = self.selected.saturating_sub(1),
            KeyCode::Down => self.selected = (self.selected + 1).min(last),
            _ => {
                if self.field.key(key) {
                    self.selected = 0;
                }
            }
        }
        Outcome::Stay
    }
}

/// What the palette lists: steering and screens; moving a cursor is no command.
fn listed() -> impl Iterator<Item = &'static Binding> {
    BOARD.iter().filter(|binding| {
        !matches!(
            binding.act,
            Act::Up
                | Act::Down
                | Act::PageUp
                | Act::PageDown
                | Act::First
                | Act::Last
                | Act::Open
                | Act::Back
                | Act::Palette
        )
    })
}

/// Draws the palette.
pub(crate) fn draw(model: &Model, palette: &Palette, buf: &mut Buffer, area: Rect) {
    let pen = &model.pen;
    let found = palette.found();
    let all = listed().count();
    let inner = window(
        pen,
        buf,
        centred(area, 90, 22),
        vec![pen.span(Role::Title, "Command palette")],
        vec![pen.span(Role::Faint, format!("{} of {all}", found.len()))],
        "Enter do it (asks where it must)  Esc close",
    );
    let room = usize::from(inner.width);
    put(buf, inner, 0, palette.field.spans(pen, true, room));
    let list = usize::from(inner.height.saturating_sub(1));
    let first = (palette.selected + 1).saturating_sub(list);
    for (row, (index, binding)) in (1u16..).zip(found.iter().enumerate().skip(first).take(list)) {
        let key = binding.keys.first().map_or_else(String::new, |chord| chord.name());
        let possible = legal::possible(model, binding);
        let role = if possible.is_ok() { Role::Text } else { Role::Pending };
        let mut text = format!("{} {}", pen.fit(&key, 7), binding.help);
        match possible {
            Err(why) => text = format!("{text}   off: {why}"),
            Ok(()) if matches!(binding.kind, Kind::Steer) => text.push_str("   (lock)"),
            Ok(()) => {}
        }
        let cursor = if index == palette.selected { pen.glyphs.cursor } else { " " };
        put(buf, inner, row, vec![pen.span(role, pen.fit(&format!("{cursor}{text}"), room))]);
        if index == palette.selected {
            mark(buf, inner, row, pen.style(Role::Selected));
        }
    }
}
