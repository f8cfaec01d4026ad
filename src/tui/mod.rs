//! The console: watches and steers a run full screen.
//!
//! Elm style. `update` takes messages into the `model` and says what is to be done; `draw` shows the model and decides
//! nothing; `run` is the loop between terminal, engine and clock. `panes` are the board, `overlays` lie over it,
//! `keys` is the one table of keys, `reader` what is asked of single records and files, `guard` holds the terminal's modes.
//!
//! Sees the engine's handle, its view and its table of legal moves, the plan and the words; nothing else.

mod board;
mod draw;
mod far;
mod filter;
mod forecast;
mod glyphs;
mod guard;
mod input;
mod keys;
mod layout;
mod legal;
mod look;
mod mending;
mod model;
mod overlays;
mod pages;
mod panes;
mod pen;
mod reader;
mod run;
mod say;
mod setup;
mod speed;
mod steer;
mod theme;
mod update;

#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod tests;

pub use board::Board;
pub use glyphs::GlyphChoice;
pub use guard::size;
pub use model::Moment;
pub use reader::{
    Ask, Compared, DifferenceLine, DifferencePage, DifferencesAsk, Exported, FieldLine, ItemLine, ItemPage, LetterLine,
    LetterPage, LettersAsk, PageAsk, PageOf, PageStart, Reader, RecordAsk, SideFields, Sides, Standing, Told,
};
pub use run::{picture, run};
pub use setup::{Left, LogLine, LogSource, Preview, Setup, Signal};
pub use theme::ThemeChoice;
