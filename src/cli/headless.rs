//! A run without a screen: its events as lines, and the signals that take the place of keys.
//!
//! No decision is lost: a printer that fell behind the engine's events reads the journal. The last line is always
//! `run_finished`.

use super::{
    desk::Front,
    last_line,
    print::{err, out},
    status,
};
use crate::{
    command::Command,
    engine::{Engine, Handle},
    error::Result,
    event::{Event, EventKind},
    model::{Actor, LaneId, LaneProgress, LaneStage, Outcome, PauseDepth, Phase, Timestamp, Via, text},
    plan::OnHangup,
    ports::Journal,
    wiring::Kept,
};
use std::{
    collections::HashMap,
    fmt::Write as _,
    io,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::broadcast::{self, error::RecvError},
};

/// A lane that only moves on is told of this often.
const LANE_EVERY: Duration = Duration::from_secs(5);

/// How a run ended, as far as this process saw it.
pub(super) struct Ended {
    pub(super) outcome: Outcome,
    /// The process's exit code.
    pub(super) code: u8,
}

/// Prints events, each decision exactly once.
pub(super) struct Printer {
    front: Front,
    last: u64,
    finished: Option<Arc<Event>>,
    lanes: HashMap<LaneId, (LaneStage, Instant)>,
}

impl Printer {
    /// A printer for an engine that began with `opening`.
    pub(super) fn new(front: Front, opening: &[Arc<Event>]) -> Self {
        let last = opening.first().map_or(0, |first| first.seq.saturating_sub(1));
        let mut printer = Self { front, last, finished: None, lanes: HashMap::new() };
        for event in opening {
            printer.decision(event);
        }
        printer
    }

    /// A printer that begins after the decision of this number.
    pub(super) fn after(front: Front, last: u64) -> Self {
        Self { front, last, finished: None, lanes: HashMap::new() }
    }

    /// Prints an event; false if decisions before it are missing.
    pub(super) fn take(&mut self, event: &Arc<Event>) -> bool {
        if !event.kind.is_decision() {
            // Progress has the number of the decision before it. What is older than the last decision told is old news.
            if event.seq == self.last {
                self.progress(event);
            }
            return event.seq <= self.last;
        }
        if event.seq > self.last + 1 {
            return false;
        }
        self.decision(event);
        true
    }

    fn decision(&mut self, event: &Arc<Event>) {
        if event.seq <= self.last {
            return;
        }
        self.last = event.seq;
        if matches!(event.kind, EventKind::RunFinished { .. }) {
            // Kept for the very end, whatever progress is still on its way.
            self.finished = Some(event.clone());
            return;
        }
        match self.front {
            Front::Json => json(event),
            _ if matches!(event.kind, EventKind::CommandEffective { .. }) => {}
            _ => line(event, &event.kind.sentence()),
        }
        if let (EventKind::GateOpened { phase }, false) = (&event.kind, self.front == Front::Json) {
            out(how_to_pass(*phase));
        }
    }

    fn progress(&mut self, event: &Event) {
        match (&event.kind, self.front) {
            (_, Front::Json) => json(event),
            (EventKind::LaneMoved { progress }, _) if self.is_news(progress) => line(event, &lane(progress)),
            _ => {}
        }
    }

    fn is_news(&mut self, progress: &LaneProgress) -> bool {
        let now = Instant::now();
        let told = self.lanes.get(&progress.lane);
        let news = told.is_none_or(|(stage, at)| *stage != progress.stage || now.duration_since(*at) >= LANE_EVERY);
        if news {
            self.lanes.insert(progress.lane.clone(), (progress.stage, now));
        }
        news
    }

    /// What the journal has and was not printed.
    async fn catch_up(&mut self, journal: &dyn Journal, kept: &Kept) {
        match journal.load(&kept.run).await {
            Ok(events) => events.into_iter().for_each(|event| self.decision(&Arc::new(event))),
            Err(fault) => tracing::warn!("lines are missing: {}", fault.advice()),
        }
    }

    /// The engine's last word, if it was heard.
    pub(super) fn last(&self) {
        if let Some(event) = &self.finished {
            match self.front {
                Front::Json => json(event),
                _ => line(event, &event.kind.sentence()),
            }
        }
    }

    /// A program reads the last line, a person the sentence on standard error.
    fn last_in_json(&self, outcome: Outcome) {
        let reason =
            if let Some(EventKind::RunFinished { reason, .. }) = self.finished.as_ref().map(|event| &event.kind) {
                reason.as_str()
            } else {
                out(last_line(outcome, String::new()));
                ""
            };
        if outcome != Outcome::Completed {
            err(format!("cutover: {}, {}", outcome.word().replace('_', " "), text::clean(reason, 400)));
        }
    }

    /// The last line.
    fn finish(&self, ended: &Result<Outcome>) -> Ended {
        match ended {
            Ok(outcome) => {
                self.last();
                if self.front == Front::Json {
                    self.last_in_json(*outcome);
                }
                Ended { outcome: *outcome, code: outcome.exit_code() }
            }
            Err(fault) => {
                if self.front == Front::Json {
                    out(last_line(Outcome::Failed, fault.advice()));
                }
                err(format!("cutover: {}", fault.advice()));
                let code = if fault.kind.exit_code() == 1 { 1 } else { Outcome::Failed.exit_code() };
                Ended { outcome: Outcome::Failed, code }
            }
        }
    }
}

fn json(event: &Event) {
    match serde_json::to_string(event) {
        Ok(text) => out(text),
        Err(error) => tracing::error!("event {} is not JSON: {error}", event.seq),
    }
}

fn line(event: &Event, sentence: &str) {
    out(format!("{} {sentence}", event.at.strftime("%H:%M:%SZ")));
}

fn lane(progress: &LaneProgress) -> String {
    let LaneProgress { lane, stage, total, tally, throttle, .. } = progress;
    let total = total.map_or_else(|| "?".into(), |total| total.to_string());
    let copied = tally.copied + tally.ended();
    let mut text = match stage {
        LaneStage::Waiting => format!("lane {lane}: waits"),
        LaneStage::Copying => format!("lane {lane}: {copied} of {total} copied"),
        LaneStage::Following => format!("lane {lane}: {}", status::followed(progress, Timestamp::now())),
        LaneStage::Verifying => format!("lane {lane}: {} of {total} verified", tally.verified),
        LaneStage::Done => format!("lane {lane}: done, {} of {total} verified", tally.verified),
        LaneStage::Failed => format!("lane {lane}: FAILED after {copied} of {total}"),
        LaneStage::Undoing => format!("lane {lane}: going back"),
        LaneStage::Undone => format!("lane {lane}: undone"),
    };
    for (count, what) in [(tally.skipped, "skipped"), (tally.failed, "failed"), (tally.conflicting, "conflicting")] {
        if count > 0 {
            let _infallible = write!(text, ", {count} {what}");
        }
    }
    if !throttle.is_empty() {
        let _infallible = write!(text, ", {}", text::clean(throttle, 100));
    }
    text
}

fn how_to_pass(phase: Phase) -> String {
    format!("          go with `cutover approve {0}`, no-go with `cutover refuse {0} --reason …`", phase.name())
}

/// Signals that concern a run without a screen.
struct Signals {
    int: Signal,
    term: Signal,
    hup: Signal,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    Stop(&'static str),
    HangUp,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            int: signal(SignalKind::interrupt())?,
            term: signal(SignalKind::terminate())?,
            hup: signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> Asked {
        // A signal stream never ends while the runtime lives.
        tokio::select! {
            _ = self.int.recv() => Asked::Stop("SIGINT"),
            _ = self.term.recv() => Asked::Stop("SIGTERM"),
            _ = self.hup.recv() => Asked::HangUp,
        }
    }
}

/// Shows the run until the engine's part is over. The first SIGINT or SIGTERM is an emergency stop, the second ends the
/// process at once; a hang-up does what the plan says.
///
/// # Errors
/// If signals cannot be had, before anything was shown.
pub(super) async fn follow(engine: Engine, kept: &Kept, mut printer: Printer, on_hangup: OnHangup) -> Result<Ended> {
    let mut signals = Signals::new().map_err(|error| {
        crate::error::Fault::new(crate::error::FaultKind::Internal, "listen for signals").detail(error.to_string())
    })?;
    let journal = kept.journal();
    let handle = engine.handle.clone();
    let mut events = handle.subscribe();
    // What happened between the start and the subscription.
    printer.catch_up(journal.as_ref(), kept).await;
    let finished = engine.finished();
    tokio::pin!(finished);
    let mut stops = 0;
    let ended = loop {
        tokio::select! {
            biased;
            asked = signals.next() => {
                if matches!(asked, Asked::Stop(_)) {
                    stops += 1;
                }
                if stops > 1 {
                    leave_at_once(printer.front);
                }
                // Beside the loop: a second signal must be heard even if the engine does not answer.
                tokio::spawn(act(handle.clone(), asked, on_hangup, printer.front));
            }
            event = events.recv() => hear(&mut printer, event, journal.as_ref(), kept).await,
            ended = &mut finished => break ended,
        }
    };
    while let Ok(event) = events.try_recv() {
        hear(&mut printer, Ok(event), journal.as_ref(), kept).await;
    }
    printer.catch_up(journal.as_ref(), kept).await;
    Ok(printer.finish(&ended))
}

async fn hear(
    printer: &mut Printer,
    event: Result<Arc<Event>, broadcast::error::RecvError>,
    journal: &dyn Journal,
    kept: &Kept,
) {
    match event {
        Ok(event) => {
            if !printer.take(&event) {
                printer.catch_up(journal, kept).await;
            }
        }
        Err(RecvError::Lagged(lost)) => {
            tracing::warn!("{lost} events came too fast to be printed; decisions among them follow");
            printer.catch_up(journal, kept).await;
        }
        // The engine's own end is heard elsewhere.
        Err(RecvError::Closed) => std::future::pending().await,
    }
}

async fn act(handle: Handle, asked: Asked, on_hangup: OnHangup, front: Front) {
    let (name, command) = match (asked, on_hangup) {
        (Asked::Stop(signal), _) => (signal, Command::EmergencyStop { reason: signal.into() }),
        (Asked::HangUp, OnHangup::Continue) => return,
        (Asked::HangUp, OnHangup::Pause) => {
            ("SIGHUP", Command::Pause { depth: PauseDepth::AfterBatch, reason: "the terminal hung up".into() })
        }
    };
    let by = Actor { name: crate::ledger::user(), via: Via::Signal };
    if let Err(refusal) = handle.order(by, command).await {
        let say = format!("{name}: {}; once more ends this process", refusal.why);
        if front == Front::Json { err(say) } else { out(say) }
    }
}

/// The journal has everything that matters; `cutover resume` goes on from there.
fn leave_at_once(front: Front) -> ! {
    if front == Front::Json {
        out(last_line(Outcome::Stopped, "ended at once by a second signal; `cutover resume` goes on".into()));
    } else {
        err("cutover: ended at once; `cutover resume` goes on");
    }
    std::process::exit(i32::from(Outcome::Stopped.exit_code()))
}
