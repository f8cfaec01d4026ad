//! What a step is: the smallest thing that is done and undone, in four verbs, and what it gets to do them with.

use crate::{
    error::{Fault, FaultKind, Result},
    event::{EventKind, UndoNote},
    model::{BatchProgress, Check, ItemState, LaneId, LaneProgress, Limits, PauseDepth, StepId, Verdict},
    plan::Plan,
    ports::{Ports, Work},
};
use async_trait::async_trait;
use std::{collections::BTreeMap, fmt, path::PathBuf, sync::Arc};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

/// What a step found when it looked at the world.
#[derive(Debug, Clone, PartialEq)]
pub enum Checked {
    /// The world already is as the step would make it; nothing is to be done, and nothing to be undone.
    Already(StepDone),
    /// Something is to be done.
    Needed {
        /// What it is about to do, in one line, for the journal and the screen.
        intent: String,
        /// What undoing will need: the state observed **before** acting. Journalled before `apply` is called; a resumed
        /// run keeps the first one. `Null` if there is nothing to undo (a pure check).
        undo: UndoNote,
    },
}

/// What a step brought.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct StepDone {
    /// In one line.
    pub summary: String,
    /// The checks it made; they become evidence for later gates.
    pub checks: Vec<Check>,
}

impl StepDone {
    /// Done with this summary and no checks.
    pub fn new(summary: impl Into<String>) -> Self {
        Self { summary: summary.into(), checks: Vec::new() }
    }
    /// The same with these checks.
    #[must_use]
    pub fn checks(mut self, checks: Vec<Check>) -> Self {
        self.checks = checks;
        self
    }
}

/// The checks behind a fault of kind `Unmet`: travels as the fault's source, so that the engine can write them down with
/// the failure.
#[derive(Debug)]
pub struct Unmet(Vec<Check>);

impl Unmet {
    /// The fault of a step that did `doing` and found at least one of these checks not passing.
    #[must_use]
    pub fn fault(doing: impl Into<String>, checks: Vec<Check>) -> Fault {
        let unmet = Self(checks);
        Fault::new(FaultKind::Unmet, doing).detail(unmet.to_string()).source(unmet)
    }

    /// The checks a fault carries; empty for every other fault.
    #[must_use]
    pub fn checks(fault: &Fault) -> Vec<Check> {
        std::error::Error::source(fault)
            .and_then(|source| source.downcast_ref::<Self>())
            .map_or_else(Vec::new, |unmet| unmet.0.clone())
    }
}

impl fmt::Display for Unmet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut open = self.0.iter().filter(|check| check.verdict != Verdict::Pass);
        let Some(first) = open.next() else { return f.write_str("a check did not pass") };
        write!(f, "{}: {}", first.name, first.value)?;
        if !first.limit.is_empty() {
            write!(f, " (limit {})", first.limit)?;
        }
        match open.count() {
            0 => {}
            more => write!(f, ", and {more} more")?,
        }
        if first.remedy.is_empty() { Ok(()) } else { write!(f, "; {}", first.remedy) }
    }
}

impl std::error::Error for Unmet {}

/// A step. The engine calls `check`, journals the intent, calls `apply`, then `settle`. A run that died between any two
/// of these begins again at `check`, so **every verb is idempotent and asks the world, not its memory**; what must be
/// remembered stands in the work tables or the undo note. A step whose checks fail returns [`Unmet::fault`].
#[async_trait]
pub trait Step: Send + Sync {
    /// Its name, unique in the plan: `phase/step`.
    fn id(&self) -> StepId;

    /// What it does, in a few words, for the screen.
    fn title(&self) -> String;

    /// Looks at the world; changes nothing.
    async fn check(&self, cx: &StepContext) -> Result<Checked>;

    /// Changes the world. Every write ends soon after `cx.signals.stop` is cancelled; between two units of work it calls
    /// [`Signals::breathe`].
    async fn apply(&self, cx: &StepContext) -> Result<StepDone>;

    /// Waits until the world is seen to be as intended. The default has nothing to wait for.
    async fn settle(&self, _cx: &StepContext) -> Result<()> {
        Ok(())
    }

    /// Takes it back, given the note from before it acted. Also called for a step that was only half done. Idempotent.
    async fn undo(&self, cx: &StepContext, note: &UndoNote) -> Result<StepDone>;
}

/// What a step gets to work with.
#[derive(Clone)]
pub struct StepContext {
    /// The plan.
    pub plan: Arc<Plan>,
    /// Everything outside.
    pub ports: Ports,
    /// The work tables of this run.
    pub work: Arc<dyn Work>,
    /// Stop and pause.
    pub signals: Signals,
    /// Where progress goes.
    pub report: Reporter,
    /// The run's own folder for reports; exists.
    pub folder: PathBuf,
}

/// Stop and pause, as a step sees them.
#[derive(Clone)]
pub struct Signals {
    /// Cancelled on emergency stop and on a pause of depth `Now`: drop everything and return `Cancelled`.
    pub stop: CancellationToken,
    pause: watch::Receiver<Option<PauseDepth>>,
    drained: mpsc::Sender<()>,
    tuning: watch::Receiver<Arc<BTreeMap<LaneId, Tuning>>>,
    hands: watch::Receiver<Turns>,
}

/// What people turned, by lane, since the engine started.
type Turns = Arc<BTreeMap<LaneId, Vec<ByHand>>>;

/// Files that people turned from one state into another beside the lane's own work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ByHand {
    /// From this state.
    pub from: ItemState,
    /// With this kind of error, if they had failed.
    pub error: Option<FaultKind>,
    /// Into this one.
    pub to: ItemState,
    /// How many.
    pub count: u64,
}

/// Tells a lane under way what people turn beside it, right after the ledger has it.
#[derive(Clone)]
pub(crate) struct Hands(watch::Sender<Turns>);

impl Hands {
    /// Adds to what was turned before.
    pub(crate) fn turned(&self, lane: &LaneId, turned: &[ByHand]) {
        self.0.send_modify(|lanes| {
            let sums = Arc::make_mut(lanes).entry(lane.clone()).or_default();
            for one in turned {
                let same = |sum: &&mut ByHand| (sum.from, sum.error, sum.to) == (one.from, one.error, one.to);
                match sums.iter_mut().find(same) {
                    Some(sum) => sum.count += one.count,
                    None => sums.push(*one),
                }
            }
        });
    }
}

/// What people changed of a lane while it ran.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tuning {
    /// How many more (or fewer) at once than the plan says.
    pub by: i32,
    /// How fast it may be, instead of what the plan says.
    pub limits: Option<Limits>,
}

/// The engine's end of [`Signals`].
pub struct PauseGate {
    /// `Some` while a pause is asked for.
    pub pause: watch::Sender<Option<PauseDepth>>,
    /// A message for each time the step under way has drained and waits.
    pub drained: mpsc::Receiver<()>,
    tuning: watch::Sender<Arc<BTreeMap<LaneId, Tuning>>>,
    hands: Hands,
}

impl PauseGate {
    /// Changes what a lane may do from now on.
    pub fn tune(&self, lane: LaneId, change: impl FnOnce(&mut Tuning)) {
        self.tuning.send_modify(|lanes| change(Arc::make_mut(lanes).entry(lane).or_default()));
    }

    /// For whoever turns files beside the flight.
    pub(crate) fn hands(&self) -> Hands {
        self.hands.clone()
    }
}

impl Signals {
    /// A pair of both ends.
    #[must_use]
    pub fn new(stop: CancellationToken) -> (Self, PauseGate) {
        let (pause_in, pause) = watch::channel(None);
        // One message is enough: it says "drained", not how often.
        let (drained, drained_out) = mpsc::channel(1);
        let (tuning_in, tuning) = watch::channel(Arc::default());
        let (hands_in, hands) = watch::channel(Turns::default());
        let gate = PauseGate { pause: pause_in, drained: drained_out, tuning: tuning_in, hands: Hands(hands_in) };
        (Self { stop, pause, drained, tuning, hands }, gate)
    }

    /// The same for work that a person orders while the run is paused: only a stop ends it.
    #[must_use]
    pub fn unpaused(&self) -> Self {
        Self { pause: watch::channel(None).1, ..self.clone() }
    }

    /// The same for work beside a step: stopped and paused for itself, tuned like all work.
    pub(super) fn beside(
        &self,
        stop: CancellationToken,
    ) -> (Self, watch::Sender<Option<PauseDepth>>, mpsc::Receiver<()>) {
        let (pause_in, pause) = watch::channel(None);
        let (drained, drained_out) = mpsc::channel(1);
        let (tuning, hands) = (self.tuning.clone(), self.hands.clone());
        (Self { stop, pause, drained, tuning, hands }, pause_in, drained_out)
    }

    /// Waits for so long, or until a pause is asked for or the run is stopped.
    pub(super) async fn unless_pausing(&self, time: std::time::Duration) {
        let mut pause = self.pause.clone();
        tokio::select! {
            () = self.stop.cancelled() => {}
            // A gate that is gone pauses nobody any more.
            _asked = pause.wait_for(Option::is_some) => {}
            () = tokio::time::sleep(time) => {}
        }
    }

    /// True while work that can be held back between batches should not begin anything new.
    #[must_use]
    pub fn pausing(&self) -> bool {
        matches!(*self.pause.borrow(), Some(PauseDepth::AfterBatch | PauseDepth::Now))
    }

    /// To be called between two units of work **once nothing of this step is in flight**: returns at once while nothing
    /// is asked, otherwise says "drained" and waits until the run goes on.
    ///
    /// # Errors
    /// `Cancelled` if the run is stopped before or while it waits.
    pub async fn breathe(&self) -> Result<()> {
        let mut pause = self.pause.clone();
        loop {
            if self.stop.is_cancelled() {
                return Err(Fault::cancelled("go on"));
            }
            if !self.pausing() {
                return Ok(());
            }
            // Full means that the engine has not yet read the last one, which says the same.
            let _already_said = self.drained.try_send(());
            tokio::select! {
                () = self.stop.cancelled() => {}
                changed = pause.changed() => if changed.is_err() { return Err(Fault::cancelled("go on")) },
            }
        }
    }

    /// Waits while a pause is asked for, without saying that anything has drained: for work beside the one that says so.
    ///
    /// # Errors
    /// `Cancelled` if the run is stopped before or while it waits.
    pub async fn hold(&self) -> Result<()> {
        let mut pause = self.pause.clone();
        while self.pausing() {
            tokio::select! {
                () = self.stop.cancelled() => break,
                changed = pause.changed() => if changed.is_err() { break },
            }
        }
        if self.stop.is_cancelled() { Err(Fault::cancelled("go on")) } else { Ok(()) }
    }

    /// Runs `work` unless or until the run is stopped; then `work` is dropped.
    ///
    /// # Errors
    /// `Cancelled` when stopped; otherwise what `work` says.
    pub async fn unless_stopped<T>(&self, doing: &str, work: impl Future<Output = Result<T>>) -> Result<T> {
        tokio::select! {
            biased;
            () = self.stop.cancelled() => Err(Fault::cancelled(doing)),
            result = work => result,
        }
    }

    /// Waits, unless or until the run is stopped.
    ///
    /// # Errors
    /// `Cancelled` when stopped.
    pub async fn wait(&self, time: std::time::Duration) -> Result<()> {
        self.unless_stopped("wait", async {
            tokio::time::sleep(time).await;
            Ok(())
        })
        .await
    }

    /// What people turned in this lane since the engine started: sums that only grow.
    #[must_use]
    pub fn by_hand(&self, lane: &LaneId) -> Vec<ByHand> {
        self.hands.borrow().get(lane).cloned().unwrap_or_default()
    }

    /// What people changed of this lane.
    #[must_use]
    pub fn tuning(&self, lane: &LaneId) -> Tuning {
        self.tuning.borrow().get(lane).copied().unwrap_or_default()
    }
}

/// Where a step's progress goes. Never blocks and never fails: progress that finds no room is dropped, since a later one
/// replaces it; the last word of a lane or batch is therefore sent with the waiting form.
#[derive(Clone)]
pub struct Reporter {
    step: StepId,
    to: mpsc::Sender<EventKind>,
}

impl Reporter {
    /// A reporter for this step.
    #[must_use]
    pub const fn new(step: StepId, to: mpsc::Sender<EventKind>) -> Self {
        Self { step, to }
    }

    /// What the step is doing or waits for; `ratio` from 0 to 1 if known.
    pub fn note(&self, ratio: Option<f64>, note: impl Into<String>) {
        self.offer(EventKind::StepMoved { step: self.step.clone(), ratio, note: note.into() });
    }
    /// A lane moved on.
    pub fn lane(&self, progress: LaneProgress) {
        self.offer(EventKind::LaneMoved { progress });
    }
    /// A batch moved on.
    pub fn batch(&self, progress: BatchProgress) {
        self.offer(EventKind::BatchMoved { progress });
    }
    /// A lane or batch came to rest: waits for room, so that its last state is never lost.
    pub async fn last(&self, kind: EventKind) {
        // A closed channel means that the engine is gone, and with it everybody who could read this.
        let _engine_gone = self.to.send(kind).await;
    }

    fn offer(&self, kind: EventKind) {
        // Full means that newer progress will follow; see the type's contract.
        let _dropped = self.to.try_send(kind);
    }
}
