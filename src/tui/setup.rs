//! What the console is told once, before it starts.

use super::{glyphs::GlyphChoice, theme::ThemeChoice};
use crate::{
    error::{FaultKind, Result},
    event::Event,
    model::{Actor, BatchId, ItemState, LaneId, Limits, Timestamp},
    plan::{OnHangup, Plan},
};
use async_trait::async_trait;
use std::{
    collections::VecDeque,
    fmt,
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
    /// Where the items of a batch are read; without it a batch's detail shows only what the view has.
    pub items: Option<Arc<dyn Items>>,
}

/// The items of a batch, page by page, those in trouble first. Only read.
#[async_trait]
pub trait Items: fmt::Debug + Send + Sync {
    /// The page that begins there.
    ///
    /// # Errors
    /// What the ledger says.
    async fn page(&self, ask: &PageAsk) -> Result<ItemPage>;
}

/// Which page is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageAsk {
    /// Of which lane.
    pub lane: LaneId,
    /// Of which batch.
    pub batch: BatchId,
    /// Where it begins.
    pub from: PageStart,
    /// At most so many items.
    pub limit: u32,
}

/// Where a page begins: items in trouble come before calm ones, each in key order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PageStart {
    /// Among the calm ones.
    pub calm: bool,
    /// Behind this key.
    pub after: Option<String>,
}

/// A page.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ItemPage {
    /// Its items.
    pub items: Vec<ItemLine>,
    /// Where the next one begins, if there is one.
    pub next: Option<PageStart>,
}

/// An item as it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ItemLine {
    /// Its key.
    pub key: String,
    /// Where it stands.
    pub state: ItemState,
    /// Its bytes.
    pub bytes: u64,
    /// Attempts so far.
    pub attempts: u32,
    /// The kind of its last error.
    pub error: Option<FaultKind>,
    /// Why it failed or was skipped.
    pub reason: String,
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
                limits: Limits {
                    bytes_per_s: plan.migration.limit_bytes_per_s,
                    requests_per_s: plan.migration.limit_requests_per_s,
                },
            },
            history: Vec::new(),
            items: None,
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
