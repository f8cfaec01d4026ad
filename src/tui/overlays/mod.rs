//! What lies over the board, one at a time: dialogs that give commands, and screens that only show.

pub(crate) mod batch;
pub(crate) mod dialog;
pub(crate) mod differences;
pub(crate) mod field;
pub(crate) mod gate;
pub(crate) mod help;
pub(crate) mod history;
pub(crate) mod lane;
pub(crate) mod letters;
pub(crate) mod log;
pub(crate) mod make;
pub(crate) mod make_mending;
pub(crate) mod palette;
pub(crate) mod phase;
pub(crate) mod record;

use super::{model::Model, pen::Pen, theme::Role};
use crate::model::{LaneId, Phase};
use ratatui::{buffer::Buffer, layout::Rect, text::Span};
use std::time::Duration;

/// A dialog that gives a command is deaf for this long, so that a key meant for something else cannot be a yes.
pub(crate) const ARMING: Duration = Duration::from_millis(600);

/// What lies over the board.
#[derive(Debug)]
pub(crate) enum Overlay {
    /// Asks before it gives a command.
    Dialog(Box<dialog::Dialog>),
    /// The open gate.
    Gate(Box<gate::Gate>),
    /// The help.
    Help { scroll: usize },
    /// Find a command by name.
    Palette(Box<palette::Palette>),
    /// A lane.
    Lane { lane: LaneId, scroll: usize },
    /// A batch and its items.
    Batch(Box<batch::Detail>),
    /// The dead letters of a lane, or one of them.
    Letters(Box<letters::Letters>),
    /// What differs in a lane, or one record on both sides.
    Differences(Box<differences::Differences>),
    /// A phase, its steps and their checks.
    Phase { phase: Phase, scroll: usize },
    /// The whole log.
    Log { scroll: usize },
    /// What happened.
    History { back: usize },
}

impl Overlay {
    /// When it begins to listen, if it gives commands.
    pub(crate) fn armed_at(&self) -> Option<Duration> {
        match self {
            Self::Dialog(dialog) => Some(dialog.armed_at),
            Self::Gate(gate) => Some(gate.armed_at),
            _ => None,
        }
    }
}

/// Draws the overlay over `area`.
pub(crate) fn draw(model: &Model, buf: &mut Buffer, area: Rect) {
    match &model.overlay {
        None => {}
        Some(Overlay::Dialog(dialog)) => dialog::draw(model, dialog, buf, area),
        Some(Overlay::Gate(gate)) => gate::draw(model, gate, buf, area),
        Some(Overlay::Help { scroll }) => help::draw(model, *scroll, buf, area),
        Some(Overlay::Palette(palette)) => palette::draw(model, palette, buf, area),
        Some(Overlay::Lane { lane, scroll }) => lane::draw(model, lane, *scroll, buf, area),
        Some(Overlay::Batch(detail)) => batch::draw(model, detail, buf, area),
        Some(Overlay::Letters(letters)) => letters::draw(model, letters, buf, area),
        Some(Overlay::Differences(differences)) => differences::draw(model, differences, buf, area),
        Some(Overlay::Phase { phase, scroll }) => phase::draw(model, *phase, *scroll, buf, area),
        Some(Overlay::Log { scroll }) => log::draw(model, *scroll, buf, area),
        Some(Overlay::History { back }) => history::draw(model, *back, buf, area),
    }
}

/// A place in the middle of `area`, at most this large.
pub(crate) fn centred(area: Rect, width: u16, height: u16) -> Rect {
    let (width, height) = (width.min(area.width), height.min(area.height));
    Rect { x: area.x + (area.width - width) / 2, y: area.y + (area.height - height) / 2, width, height }
}

/// A window in the middle with title, badge and a hint at the bottom; the room inside is returned.
pub(crate) fn window(
    pen: &Pen,
    buf: &mut Buffer,
    area: Rect,
    title: Vec<Span<'static>>,
    right: Vec<Span<'static>>,
    hint: &str,
) -> Rect {
    let mut hints = vec![Span::raw(" ")];
    hints.push(pen.span(Role::Key, hint));
    hints.push(Span::raw(" "));
    let block = pen.frame(title, right, true).title_bottom(ratatui::text::Line::from(hints));
    super::pen::window(buf, area, block)
}
