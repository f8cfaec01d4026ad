//! What the console is told once, before it starts.

use super::{glyphs::GlyphChoice, reader::Reader, theme::ThemeChoice};
use crate::{
    event::Event,
    model::{Actor, LaneKind, Limits, Timestamp},
    plan::{OnHangup, Plan},
};
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};

/// What the console is told once.
#[derive(Debug, Clone)]
pub struct Setup {
    /// Who sits here.
    pub actor: Actor,
    /// Colours.
    pub theme: ThemeChoice,
    /// Signs.
    pub glyphs: GlyphChoice,
    /// Clicks and wheel; off by default, since it takes selecting text away from the terminal.
    pub mouse: bool,
    /// Where log lines come from.
    pub log: LogSource,
    /// How long steering stays armed after the last command.
    pub arm_for: Duration,
    /// What the plan says about the far ends of some commands, for the dialogs.
    pub preview: Preview,
    /// What happened before this console came, oldest first.
    pub history: Vec<Arc<Event>>,
    /// Where single records and files are read; without it only what the view has is shown.
    pub reader: Option<Arc<dyn Reader>>,
}

/// What dialogs say about commands before they are given.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Preview {
    /// An emergency stop rolls back by itself instead of holding.
    pub stop_rolls_back: bool,
    /// A vanished console pauses the run instead of letting it go on.
    pub hangup_pauses: bool,
    /// How long a person may say no to an automatic rollback.
    pub veto: Duration,
    /// How fast lanes of files may be until somebody says otherwise.
    pub limits: Limits,
    /// The same of lanes of records.
    pub record_limits: Limits,
}

/// Where log lines come from.
#[derive(Debug, Clone)]
pub enum LogSource {
    /// `tui-logger`, which the program's `tracing` feeds.
    Tracing,
    /// These lines, newest last.
    Lines(Arc<Mutex<VecDeque<LogLine>>>),
}

/// One line of an injected log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// When.
    pub at: Timestamp,
    /// How loud.
    pub level: tracing::Level,
    /// Which part of the program.
    pub target: String,
    /// What.
    pub text: String,
}

impl Setup {
    /// The console of this plan for this person, everything else as usual.
    #[must_use]
    pub fn new(plan: &Plan, actor: Actor) -> Self {
        Self {
            actor,
            theme: ThemeChoice::Auto,
            glyphs: GlyphChoice::Auto,
            mouse: false,
            log: LogSource::Tracing,
            arm_for: Duration::from_mins(10),
            preview: Preview {
                stop_rolls_back: plan.rollback.on_stop,
                hangup_pauses: plan.on_hangup == OnHangup::Pause,
                veto: plan.rollback.veto,
                limits: plan.migration.limits(LaneKind::Files),
                record_limits: plan.migration.limits(LaneKind::Records),
            },
            history: Vec::new(),
            reader: None,
        }
    }
}

/// How the screen was left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Left {
    /// By a person; the run goes on and wants plain mode.
    Detached,
    /// By a person, after the run had ended.
    Ended,
    /// The terminal is gone, or somebody asked this process to end.
    HangUp(Signal),
}

/// Why the screen had to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// The terminal hung up (SIGHUP, or its end was closed).
    Hup,
    /// SIGTERM.
    Term,
}

impl Signal {
    /// The signal's number; the exit code is 128 more.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Hup => 1,
            Self::Term => 15,
        }
    }
}
