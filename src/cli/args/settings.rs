//! What every command understands.

use clap::{Args, ValueEnum};
use std::path::PathBuf;

/// What every command understands.
#[derive(Debug, Clone, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag on the command line")]
pub(in crate::cli) struct Settings {
    /// The plan.
    #[arg(long, global = true, value_name = "FILE", default_value = "cutover.toml")]
    pub(in crate::cli) plan: PathBuf,
    /// Where ledgers are kept [default: this platform's data directory].
    #[arg(long, global = true, value_name = "DIR", env = "CUTOVER_DATA_DIR")]
    pub(in crate::cli) data_dir: Option<PathBuf>,
    /// No screen: one line per change. Also without a terminal, with TERM=dumb, and in CI.
    #[arg(long, global = true)]
    pub(in crate::cli) headless: bool,
    /// JSON instead of text; for a run: one event per line, the last is `run_finished`. Implies --headless.
    #[arg(long, global = true)]
    pub(in crate::cli) json: bool,
    /// Takes every gate whose checks all pass.
    #[arg(long, global = true)]
    pub(in crate::cli) approve_all: bool,
    /// Answers yes to what would be asked before a run begins.
    #[arg(long, short = 'y', global = true)]
    pub(in crate::cli) yes: bool,
    /// Log lines on standard error (in plain mode); `RUST_LOG` says which.
    #[arg(long, short = 'v', global = true)]
    pub(in crate::cli) verbose: bool,
    /// The console's colours.
    #[arg(long, global = true, value_enum, default_value_t, help_heading = "Console")]
    pub(in crate::cli) theme: Theme,
    /// Only ASCII signs.
    #[arg(long, global = true, help_heading = "Console")]
    pub(in crate::cli) ascii: bool,
    /// Colour at all; `NO_COLOR` is heeded.
    #[arg(long, global = true, value_enum, default_value_t, value_name = "WHEN", help_heading = "Console")]
    pub(in crate::cli) color: When,
    /// Clicks and wheel (takes selecting text away from the terminal).
    #[arg(long, global = true, help_heading = "Console")]
    pub(in crate::cli) mouse: bool,
}

/// A theme's name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum Theme {
    /// What the terminal can show.
    #[default]
    Auto,
    /// For dark backgrounds.
    Dark,
    /// For light backgrounds.
    Light,
    /// No colour.
    Mono,
    /// The sixteen colours of any terminal.
    Ansi16,
}

/// When to use colour.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum When {
    /// Where the terminal can.
    #[default]
    Auto,
    /// Even if it says it cannot.
    Always,
    /// Never.
    Never,
}
