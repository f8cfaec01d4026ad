//! The board as a still: what a console of some size would show of a view, without a terminal. For pictures in
//! documents and for measuring how long a frame takes.

use super::{
    ThemeChoice, draw,
    glyphs::Glyphs,
    model::{Model, Moment},
    pen::Pen,
    setup::Setup,
    theme::{Depth, Theme},
};
use crate::engine::view::RunView;
use ratatui::{buffer::Buffer, layout::Size};
use std::sync::Arc;

/// A console that stands still.
pub struct Board {
    model: Model,
}

impl Board {
    /// A console of this size over this view at this moment, in a theme with all colours.
    #[must_use]
    pub fn new(setup: Setup, theme: ThemeChoice, view: Arc<RunView>, size: Size, moment: Moment) -> Self {
        let pen = Pen { theme: Theme::choose(theme, Depth::True), glyphs: Glyphs::choose(setup.glyphs, true) };
        Self { model: Model::new(setup, pen, view, size, moment) }
    }

    /// Another moment, and the view as it is then.
    pub fn goes_on(&mut self, view: Arc<RunView>, moment: Moment) {
        self.model.view = view;
        self.model.moment = moment;
        self.model.heard = moment.mono;
    }

    /// Draws it.
    pub fn draw(&self, buffer: &mut Buffer) {
        draw::screen(&self.model, buffer, buffer.area);
    }
}
