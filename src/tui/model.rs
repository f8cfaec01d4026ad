//! What the console knows: the run's view as it came last, and everything about the screen itself. `update` is the only
//! one who changes it; drawing only reads.

use super::{
    filter::{Filter, Typing},
    input::Judge,
    overlays::Overlay,
    panes::Pane,
    pen::Pen,
    setup::{LogSource, Preview, Setup},
    theme::Role,
};
use crate::{
    command::Refusal,
    engine::view::RunView,
    event::Event,
    model::{Actor, AlertId, BatchId, CommandId, LaneId, Timestamp},
};
use ratatui::layout::Size;
use std::{collections::VecDeque, sync::Arc, time::Duration};

/// Now, on both clocks: the wall for ages of what the engine says, the monotonic one for keys and dialogs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// The wall clock.
    pub wall: Timestamp,
    /// Time since the console began.
    pub mono: Duration,
}

/// Minutes that the charts can show; a series holds no more than the last of them.
pub(crate) const WINDOWS: [u16; 4] = [2, 5, 10, 20];
/// Decisions kept for the history.
const HISTORY: usize = 5000;
/// After this time without an answer a command's fate is unknown.
const ANSWER: Duration = Duration::from_secs(5);
/// From this age on the view is stale.
pub(crate) const STALE: Duration = Duration::from_secs(15);

/// A command on its way to the engine.
#[derive(Debug, Clone)]
pub(crate) struct Sent {
    pub(crate) ticket: u64,
    pub(crate) name: &'static str,
    pub(crate) at: Duration,
    pub(crate) answer: Option<Result<CommandId, Refusal>>,
}

/// A word in the status line.
#[derive(Debug, Clone)]
pub(crate) struct Note {
    pub(crate) role: Role,
    pub(crate) text: String,
    pub(crate) until: Duration,
}

/// What is selected among lanes and batches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Row {
    Lane(LaneId),
    Batch(BatchId),
}

/// A change by one that waits for a moment of silence, so that a paste or a held key changes nothing.
#[derive(Debug, Clone)]
pub(crate) struct Nudge {
    pub(crate) command: crate::command::Command,
    pub(crate) due: Duration,
}

/// Everything the console knows.
pub(crate) struct Model {
    pub(crate) pen: Pen,
    pub(crate) actor: Actor,
    pub(crate) log: LogSource,
    pub(crate) log_state: tui_logger::TuiWidgetState,
    pub(crate) preview: Preview,
    pub(crate) arm_for: Duration,
    pub(crate) moment: Moment,
    pub(crate) size: Size,
    /// The run as it is.
    pub(crate) view: Arc<RunView>,
    /// The run as it was when the view was held.
    pub(crate) held: Option<Arc<RunView>>,
    /// When the view came last.
    pub(crate) heard: Duration,
    /// The engine's end of the view is closed.
    pub(crate) gone: bool,
    pub(crate) focus: Pane,
    pub(crate) zoom: bool,
    /// Minutes that the charts show; `None`: as many as the run is old.
    pub(crate) window: Option<u16>,
    pub(crate) row: Option<Row>,
    pub(crate) alert: Option<AlertId>,
    /// The selected phase, or none for the one under way.
    pub(crate) phase_row: Option<usize>,
    pub(crate) overlay: Option<Overlay>,
    /// What the overlay was opened from, and what comes back when it closes.
    pub(crate) beneath: Option<Overlay>,
    pub(crate) batch_filter: Filter,
    pub(crate) log_filter: Filter,
    pub(crate) typing: Option<Typing>,
    /// Steering is armed until then.
    pub(crate) armed_until: Option<Duration>,
    pub(crate) sent: VecDeque<Sent>,
    pub(crate) tickets: u64,
    pub(crate) note: Option<Note>,
    pub(crate) judge: Judge,
    pub(crate) nudge: Option<Nudge>,
    pub(crate) history: VecDeque<Arc<Event>>,
    /// Parts of the engine that broke, in their own words.
    pub(crate) broken: Vec<String>,
    /// Ctrl-Z was pressed once while the run moves; a second one until then suspends.
    pub(crate) suspend_until: Duration,
}

impl Model {
    pub(crate) fn new(setup: Setup, pen: Pen, view: Arc<RunView>, size: Size, moment: Moment) -> Self {
        Self {
            pen,
            actor: setup.actor,
            log: setup.log,
            log_state: tui_logger::TuiWidgetState::new(),
            preview: setup.preview,
            arm_for: setup.arm_for,
            moment,
            size,
            view,
            held: None,
            heard: moment.mono,
            gone: false,
            focus: Pane::Batches,
            zoom: false,
            window: None,
            row: None,
            alert: None,
            phase_row: None,
            overlay: None,
            beneath: None,
            batch_filter: Filter::default(),
            log_filter: Filter::default(),
            typing: None,
            armed_until: None,
            sent: VecDeque::new(),
            tickets: 0,
            note: None,
            judge: Judge::default(),
            nudge: None,
            history: setup.history.into_iter().filter(|event| event.kind.is_decision()).collect(),
            broken: Vec::new(),
            suspend_until: Duration::ZERO,
        }
    }

    /// The view that is drawn.
    pub(crate) fn shown(&self) -> &RunView {
        self.held.as_deref().unwrap_or(&self.view)
    }

    /// Steering is armed.
    pub(crate) fn armed(&self) -> bool {
        self.armed_until.is_some_and(|until| until > self.moment.mono)
    }

    /// Minutes that the charts show.
    pub(crate) fn minutes(&self) -> u16 {
        let old = super::say::between(self.view.started, self.moment.wall).as_secs() / 60;
        self.window.unwrap_or_else(|| WINDOWS.into_iter().find(|m| u64::from(*m) > old).unwrap_or(WINDOWS[3]))
    }

    /// How old the view is.
    pub(crate) fn age(&self) -> Duration {
        self.moment.mono.saturating_sub(self.heard)
    }

    /// Says something in the status line for a while.
    pub(crate) fn say(&mut self, role: Role, text: impl Into<String>) {
        self.note = Some(Note { role, text: text.into(), until: self.moment.mono + Duration::from_secs(6) });
    }

    /// Keeps a decision for the history.
    pub(crate) fn remember(&mut self, event: Arc<Event>) {
        if self.history.len() == HISTORY {
            self.history.pop_front();
        }
        self.history.push_back(event);
    }

    /// A command of this screen that the engine has not ended yet.
    pub(crate) fn unfinished(&self) -> Option<&Sent> {
        use crate::engine::view::CommandState;
        self.sent.iter().rev().find(|sent| match &sent.answer {
            None => true,
            Some(Ok(id)) => self.view.commands.iter().any(|c| c.id == *id && matches!(c.state, CommandState::Accepted)),
            Some(Err(_)) => false,
        })
    }

    /// No answer came in time: nobody knows what became of it.
    pub(crate) fn is_lost(&self, sent: &Sent) -> bool {
        sent.answer.is_none() && self.moment.mono.saturating_sub(sent.at) > ANSWER
    }

    /// When something changes on screen without anything coming in: a dialog is armed, a note fades, a nudge is due.
    pub(crate) fn next_wake(&self) -> Option<Duration> {
        let times = [
            self.nudge.as_ref().map(|nudge| nudge.due),
            self.note.as_ref().map(|note| note.until),
            self.overlay.as_ref().and_then(Overlay::armed_at),
            self.armed_until,
        ];
        times.into_iter().flatten().filter(|at| *at > self.moment.mono).min()
    }
}
