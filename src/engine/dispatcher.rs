//! The loop that owns the truth of a run. Everything that can change it arrives here and is taken one after the other:
//! decide (pure), fold, append to the journal (all decisions of one round in one transaction), publish, perform.
//!
//! Orders come before the work's own reports, and those before progress, so a flood of progress delays nobody's stop.

use crate::{
    engine::{
        decide::{self, Effect, Flight, Input, Policy},
        executor::{self, Inbox, Message},
        files,
        follower::{self, Following},
        handle::{Envelope, Receipt},
        script::Script,
        step::{PauseGate, Reporter, StepContext},
        view::RunView,
    },
    error::{Fault, FaultKind, Result},
    event::{Event, EventKind},
    model::{CommandId, Mending, Outcome, Phase, RunState, StepId, Timestamp},
    ports::Journal,
    watch::Finding,
};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};
use tokio::{
    sync::{broadcast, mpsc, oneshot, watch},
    time::MissedTickBehavior,
};
use tokio_util::sync::CancellationToken;

/// How often time is looked at.
const TICK: Duration = Duration::from_millis(100);
/// How often readers get a new view for the sake of progress alone.
const PUBLISH: Duration = Duration::from_millis(50);
/// How often an open gate's evidence is measured.
const EVIDENCE_EVERY: Duration = Duration::from_secs(2);
/// How often the truth line is looked at.
const TRUTH_EVERY: Duration = Duration::from_secs(1);
/// A cut without an order behind it (its sender died in between) is forgotten after this.
const CUT_WITHOUT_ORDER: Duration = Duration::from_secs(2);
/// Messages taken in one round, so that one journal transaction serves many.
const ROUND: usize = 256;

/// Where the loop's inputs come from and where its outputs go.
pub(super) struct Wires {
    pub(super) orders: mpsc::Receiver<Envelope>,
    pub(super) inbox: mpsc::Receiver<Message>,
    pub(super) inbox_in: Inbox,
    pub(super) progress: mpsc::Receiver<EventKind>,
    pub(super) progress_in: mpsc::Sender<EventKind>,
    pub(super) findings: mpsc::Receiver<Finding>,
    pub(super) phase: watch::Sender<Option<Phase>>,
    pub(super) view: watch::Sender<Arc<RunView>>,
    pub(super) events: broadcast::Sender<Arc<Event>>,
    pub(super) stop: Arc<Mutex<CancellationToken>>,
    pub(super) hold: watch::Receiver<bool>,
}

/// The loop's state beside the view.
pub(super) struct Dispatcher {
    pub(super) view: RunView,
    pub(super) policy: Policy,
    pub(super) script: Script,
    pub(super) journal: Arc<dyn Journal>,
    pub(super) cx: StepContext,
    pub(super) gate: PauseGate,
    pub(super) wires: Wires,
    pub(super) state: Inner,
}

/// What the loop remembers between rounds.
#[derive(Default)]
pub(super) struct Inner {
    flight: Option<(Flight, CancellationToken)>,
    following: Option<Following>,
    replies: HashMap<CommandId, oneshot::Sender<Result<Receipt, crate::command::Refusal>>>,
    fresh: Vec<Event>,
    journalled: Vec<oneshot::Sender<()>>,
    performing: Vec<Effect>,
    published: Option<Instant>,
    dirty: bool,
    measuring: bool,
    measured: Option<Instant>,
    looking: bool,
    looked: Option<Instant>,
    cut: Option<Instant>,
    ended: Option<Outcome>,
}

impl Dispatcher {
    /// Runs until the engine's part is over.
    ///
    /// # Errors
    /// `Ledger` when the journal cannot append: every writer is cut first.
    pub(super) async fn run(mut self) -> Result<Outcome> {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let result = self.rounds(&mut ticks).await;
        self.token().cancel();
        if let Err(fault) = &result {
            tracing::error!("{}", fault.advice());
            self.view.state = RunState::Failed;
            self.view.reason = fault.advice();
        }
        self.wires.view.send_replace(Arc::new(self.view.clone()));
        result
    }

    async fn rounds(&mut self, ticks: &mut tokio::time::Interval) -> Result<Outcome> {
        self.flush().await?;
        loop {
            self.go_on().await?;
            if let Some(outcome) = self.state.ended {
                return Ok(outcome);
            }
            tokio::select! {
                biased;
                Some(envelope) = self.wires.orders.recv() => self.take_order(envelope),
                Some(message) = self.wires.inbox.recv() => self.take_messages(message),
                // What follows the source has to drain as well.
                Some(()) = self.gate.drained.recv(), if self.state.following.is_none() => self.take(&Input::Drained),
                Some(finding) = self.wires.findings.recv() => self.take(&Input::Found(finding)),
                _ = ticks.tick() => self.tick(),
                Some(kind) = self.wires.progress.recv() => self.take_progress(kind),
            }
            self.flush().await?;
        }
    }

    /// Moves on by itself for as long as nothing is in flight.
    async fn go_on(&mut self) -> Result<()> {
        self.policy.hold = *self.wires.hold.borrow();
        self.mind_follower();
        while self.state.flight.is_none() && self.state.ended.is_none() && !self.is_cut() && !self.is_left_by_follower()
        {
            let effects = decide::advance(&self.view, &self.policy);
            if effects.is_empty() {
                break;
            }
            self.enact(effects);
            self.flush().await?;
            self.mind_follower();
        }
        Ok(())
    }

    /// Sets what follows the source to work, or tells it to leave, as the view says.
    fn mind_follower(&mut self) {
        let Some(follower) = self.script.follower.clone() else { return };
        let wanted = follower::wanted(&self.view, &follower.after(), follower.until());
        if let Some(following) = &mut self.state.following {
            if !wanted && !following.is_leaving() {
                following.leave(follower::may_finish(&self.view));
            }
        } else if wanted && self.state.ended.is_none() && !self.token().is_cancelled() {
            let mut cx = self.cx.clone();
            cx.report = Reporter::new(StepId::new(decide::FOLLOWER), self.wires.progress_in.clone());
            let (stop, inbox) = (self.token().child_token(), self.wires.inbox_in.clone());
            self.state.following = Some(Following::begin(follower, &cx, stop, inbox));
        }
    }

    /// What follows the source is on its way out: until it has left nothing begins, and nothing is said to have ended.
    fn is_left_by_follower(&self) -> bool {
        self.state.following.as_ref().is_some_and(Following::is_leaving)
    }

    /// The writers were cut, and the order that did it has not been read yet: nothing new may begin.
    fn is_cut(&mut self) -> bool {
        let holds = matches!(self.view.state, RunState::Stopping | RunState::Stopped);
        if holds || !self.token().is_cancelled() {
            self.state.cut = None;
            return false;
        }
        let since = *self.state.cut.get_or_insert_with(Instant::now);
        if since.elapsed() < CUT_WITHOUT_ORDER {
            return true;
        }
        self.renew();
        false
    }

    fn token(&self) -> CancellationToken {
        self.wires.stop.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn renew(&mut self) {
        self.state.cut = None;
        *self.wires.stop.lock().unwrap_or_else(PoisonError::into_inner) = CancellationToken::new();
    }

    fn take_order(&mut self, envelope: Envelope) {
        let id = CommandId(self.view.commands.back().map_or(0, |command| command.id.0) + 1);
        self.state.replies.insert(id, envelope.reply);
        self.take(&Input::Order(id, envelope.order));
    }

    fn take_messages(&mut self, first: Message) {
        let mut next = Some(first);
        for _ in 0..ROUND {
            let Some(message) = next else { return };
            self.take_message(message);
            next = self.wires.inbox.try_recv().ok();
        }
        if let Some(message) = next {
            self.take_message(message);
        }
    }

    fn take_message(&mut self, message: Message) {
        match &message.input {
            input if input.lands() => self.state.flight = None,
            Input::FollowerLeft => self.state.following = None,
            Input::Evidence(..) => {
                self.state.measuring = false;
                self.state.measured = Some(Instant::now());
            }
            Input::Truth(_) => {
                self.state.looking = false;
                self.state.looked = Some(Instant::now());
            }
            _ => {}
        }
        self.take(&message.input);
        self.state.journalled.extend(message.journalled);
    }

    fn take_progress(&mut self, first: EventKind) {
        let mut next = Some(first);
        for _ in 0..ROUND {
            let Some(kind) = next else { return };
            self.emit(kind);
            next = self.wires.progress.try_recv().ok();
        }
        if let Some(kind) = next {
            self.emit(kind);
        }
    }

    fn take(&mut self, input: &Input) {
        let flight = self.state.flight.as_ref().map(|(flight, _)| flight);
        let effects = decide::decide(&self.view, &self.policy, flight, input, Timestamp::now());
        self.enact(effects);
    }

    fn enact(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Emit(kind) => self.emit(kind),
                // Cutting waits for nothing, not even for the journal.
                Effect::Drop => self.drop_flight(),
                other => self.state.performing.push(other),
            }
        }
    }

    fn emit(&mut self, kind: EventKind) {
        let goes_on = matches!(kind, EventKind::Resumed { .. } | EventKind::RollbackStarted { .. });
        if goes_on && self.state.flight.is_none() && self.token().is_cancelled() {
            self.renew();
        }
        let seq = self.view.seq + u64::from(kind.is_decision());
        let event = Event { seq, at: Timestamp::now(), kind };
        self.view.apply(&event);
        self.state.fresh.push(event);
        self.state.dirty = true;
    }

    fn drop_flight(&mut self) {
        if let Some((_, token)) = &self.state.flight {
            token.cancel();
        }
        if let Some(following) = &mut self.state.following {
            following.cut();
        }
    }

    /// Journal, publish, perform: in this order.
    async fn flush(&mut self) -> Result<()> {
        let fresh = std::mem::take(&mut self.state.fresh);
        let decisions: Vec<Event> = fresh.iter().filter(|event| event.kind.is_decision()).cloned().collect();
        if !decisions.is_empty() {
            self.journal.append(&self.view.run, &decisions).await?;
        }
        for event in fresh {
            log(&event);
            // No subscriber is no loss: the view has everything.
            let _no_subscriber = self.wires.events.send(Arc::new(event));
        }
        self.publish(!decisions.is_empty());
        for journalled in self.state.journalled.drain(..) {
            // A step that was dropped while it waited for this word does not need it any more.
            let _step_dropped = journalled.send(());
        }
        for effect in std::mem::take(&mut self.state.performing) {
            self.perform(effect)?;
        }
        Ok(())
    }

    fn publish(&mut self, at_once: bool) {
        let due = self.state.published.is_none_or(|last| last.elapsed() >= PUBLISH);
        if self.state.dirty && (at_once || due) {
            self.state.dirty = false;
            self.state.published = Some(Instant::now());
            let under_way = matches!(self.view.state, RunState::Running | RunState::AtGate | RunState::Paused);
            self.wires.phase.send_if_modified(|phase| {
                // While a person ponders at a gate, the phase before it is the one that is being lived in.
                let lived_in = |gate: &crate::engine::view::GateView| {
                    Phase::ALL[..gate.phase.number() - 1]
                        .iter()
                        .rev()
                        .copied()
                        .find(|phase| self.view.phase(*phase).started.is_some())
                };
                let now_in = self.view.gate.as_ref().and_then(lived_in).unwrap_or(self.view.phase);
                let next = under_way.then_some(now_in);
                std::mem::replace(phase, next) != next
            });
            self.wires.view.send_replace(Arc::new(self.view.clone()));
        }
    }

    fn perform(&mut self, effect: Effect) -> Result<()> {
        match effect {
            Effect::Emit(_) | Effect::Drop => {}
            Effect::Reply(id, answer) => {
                if let Some(reply) = self.state.replies.remove(&id) {
                    // A front that went away does not need the answer; the journal has it.
                    let _front_gone = reply.send(answer.map(|()| Receipt { id }));
                }
            }
            Effect::Step(id) => {
                let step = self.find(&id)?;
                let cx = self.context(&id, Flight::Step(id.clone()));
                executor::step(step, cx, self.wires.inbox_in.clone());
            }
            Effect::Undo(id, note) => {
                let step = self.find(&id)?;
                let cx = self.context(&id, Flight::Undo(id.clone()));
                executor::undo(step, note, cx, self.wires.inbox_in.clone());
            }
            Effect::ValidateLegacy => {
                let cx = self.context(&StepId::new("rollback/legacy-validated"), Flight::LegacyValidation);
                executor::validate_legacy(self.script.surroundings.clone(), cx, self.wires.inbox_in.clone());
            }
            Effect::Mend(mend) if self.state.following.is_some() => {
                let fault = Fault::new(FaultKind::Illegal, format!("mend records of {}", mend.lane));
                let fault = fault.detail("what follows the source is still at work: ask again in a moment");
                self.take(&Input::Mended(mend, Err(fault)));
            }
            Effect::Mend(mend) => {
                let cx = self.context(&Mending::step(&mend.lane), Flight::Mend(Box::new(mend.clone())));
                let inbox = self.wires.inbox_in.clone();
                executor::mend(self.script.surroundings.clone(), mend, cx, &self.wires.progress_in, inbox);
            }
            Effect::Pause(depth) => {
                self.gate.pause.send_replace(depth);
            }
            Effect::Maintenance(id, by, on) => {
                let (cx, surroundings) = self.aside();
                let inbox = self.wires.inbox_in.clone();
                tokio::spawn(async move {
                    let result = surroundings.turn_maintenance(&cx, on).await;
                    inbox.tell(Input::MaintenanceTurned(id, by, on, result)).await;
                });
            }
            Effect::Concurrency(lane, by) => self.gate.tune(lane, |tuning| tuning.by += by),
            Effect::Limit(lane, limits) => self.gate.tune(lane, |tuning| tuning.limits = Some(limits)),
            Effect::RetryFiles(id, lane, batch) => {
                let (work, hands, inbox) = (self.cx.work.clone(), self.gate.hands(), self.wires.inbox_in.clone());
                tokio::spawn(async move {
                    let changed = files::retry(work.as_ref(), &hands, &lane, &batch).await;
                    inbox.tell(Input::FilesChanged(id, changed)).await;
                });
            }
            Effect::ExcludeFile(id, exclusion) => {
                let (work, hands, inbox) = (self.cx.work.clone(), self.gate.hands(), self.wires.inbox_in.clone());
                tokio::spawn(async move {
                    let changed = files::exclude(work.as_ref(), &hands, exclusion).await;
                    inbox.tell(Input::FilesChanged(id, changed)).await;
                });
            }
            Effect::Measure(phase) => self.measure(phase),
            Effect::End(outcome) => self.state.ended = Some(outcome),
        }
        Ok(())
    }

    fn find(&self, id: &StepId) -> Result<Arc<dyn crate::engine::step::Step>> {
        self.script.phases.iter().flat_map(|phase| &phase.steps).find(|step| &step.id() == id).cloned().ok_or_else(
            || {
                Fault::new(FaultKind::Plan, format!("find the step `{id}`"))
                    .detail("the journal names a step that this plan does not have")
            },
        )
    }

    /// A context for what goes in flight, and the note that it does.
    fn context(&mut self, id: &StepId, flight: Flight) -> StepContext {
        if self.token().is_cancelled() {
            self.renew();
        }
        let token = self.token().child_token();
        self.state.flight = Some((flight, token.clone()));
        let mut cx = self.cx.clone();
        cx.signals.stop = token;
        cx.report = Reporter::new(id.clone(), self.wires.progress_in.clone());
        cx
    }

    /// A context for what runs beside the flight and is not stopped with it.
    fn aside(&self) -> (StepContext, Arc<dyn crate::engine::script::Surroundings>) {
        (self.cx.clone(), self.script.surroundings.clone())
    }

    fn measure(&mut self, phase: Phase) {
        if std::mem::replace(&mut self.state.measuring, true) {
            return;
        }
        let (cx, surroundings) = self.aside();
        let (view, inbox) = (self.view.clone(), self.wires.inbox_in.clone());
        tokio::spawn(async move {
            let checks = surroundings.evidence(&cx, &view, phase).await;
            inbox.tell(Input::Evidence(phase, checks)).await;
        });
    }

    fn tick(&mut self) {
        self.take(&Input::Tick);
        let due = |last: Option<Instant>, every: Duration| last.is_none_or(|last| last.elapsed() >= every);
        let open = self.view.gate.as_ref().map(|gate| gate.phase);
        if let Some(phase) = open.filter(|_| due(self.state.measured, EVIDENCE_EVERY)) {
            self.measure(phase);
        }
        if due(self.state.looked, TRUTH_EVERY) && !std::mem::replace(&mut self.state.looking, true) {
            let (cx, surroundings) = self.aside();
            let (view, inbox) = (self.view.clone(), self.wires.inbox_in.clone());
            tokio::spawn(async move {
                let facts = surroundings.truth(&cx, &view).await;
                inbox.tell(Input::Truth(facts)).await;
            });
        }
    }
}

/// Decisions also go to the log, in one sentence, for those who read that.
fn log(event: &Event) {
    let seq = event.seq;
    match &event.kind {
        EventKind::StepFailed { .. } | EventKind::UndoFailed { .. } | EventKind::EmergencyStop { .. } => {
            tracing::error!(target: "cutover::run", seq, "{}", event.kind.sentence());
        }
        EventKind::AlertRaised { .. } | EventKind::VetoOpened { .. } | EventKind::RollbackStarted { .. } => {
            tracing::warn!(target: "cutover::run", seq, "{}", event.kind.sentence());
        }
        kind if kind.is_decision() => tracing::info!(target: "cutover::run", seq, "{}", kind.sentence()),
        _ => {}
    }
}
