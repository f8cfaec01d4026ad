//! Lays out a new run or takes over one that an earlier engine left, and starts the loop.

use crate::{
    engine::{
        decide::Policy,
        dispatcher::{Dispatcher, Inner, Wires},
        executor::Inbox,
        fold,
        handle::Handle,
        legal::legal,
        script::Script,
        step::{Reporter, Signals, StepContext},
        view::RunView,
    },
    error::{Fault, FaultKind, Result},
    event::{Event, EventKind, PhaseOutline, StepOutline},
    model::{
        Actor, BatchProgress, BatchState, Follow, LaneProgress, LaneStage, Mode, Outcome, RunId, StepId, Timestamp,
    },
    plan::Plan,
    ports::{BatchQuery, BatchRow, Journal, Ports, Work},
    watch,
};
use std::{
    path::PathBuf,
    sync::{Arc, Mutex},
};
use tokio::{
    sync::{broadcast, mpsc, watch as latest},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

/// How an engine begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// A new run.
    New,
    /// Goes on with the run that the journal holds.
    Resume,
    /// Takes over the run that the journal holds, and rolls it back.
    Rollback {
        /// Why.
        reason: String,
    },
}

/// What an engine is made of.
pub struct Parts {
    /// The plan.
    pub plan: Arc<Plan>,
    /// What may be touched.
    pub mode: Mode,
    /// The run's name.
    pub run: RunId,
    /// What to run.
    pub script: Script,
    /// Everything outside.
    pub ports: Ports,
    /// The journal.
    pub journal: Arc<dyn Journal>,
    /// The work tables of this run.
    pub work: Arc<dyn Work>,
    /// The run's own folder; exists.
    pub folder: PathBuf,
    /// Who starts it.
    pub by: Actor,
    /// New, or which way on.
    pub start: Start,
    /// Takes every gate whose checks all pass.
    pub approve_all: bool,
    /// Somebody is there to decide: holds in stopped, failed and stuck instead of ending.
    pub hold: bool,
}

/// A running engine.
pub struct Engine {
    /// What fronts hold.
    pub handle: Handle,
    task: JoinHandle<Result<Outcome>>,
    hold: latest::Sender<bool>,
}

impl Engine {
    /// Nobody is there any more to decide (or somebody is again): a run that holds then ends the engine.
    pub fn hold(&self, hold: bool) {
        self.hold.send_replace(hold);
    }

    /// Waits until the engine's part is over.
    ///
    /// # Errors
    /// `Ledger` when the journal could not append; `Internal` when the loop died.
    pub async fn finished(self) -> Result<Outcome> {
        self.task
            .await
            .unwrap_or_else(|error| Err(Fault::new(FaultKind::Internal, "run the engine").detail(error.to_string())))
    }
}

/// Starts an engine.
///
/// # Errors
/// `Ledger` if the journal cannot be read or written; `Illegal` if the run it holds cannot go the way asked for; `Plan`
/// if the journal names steps that the plan does not have.
pub async fn start(parts: Parts) -> Result<Engine> {
    let history = parts.journal.load(&parts.run).await?;
    let (mut view, fresh) = match fold::fold(&history) {
        None => lay_out(&parts)?,
        Some(view) => take_over(&parts, view)?,
    };
    parts.journal.append(&parts.run, &fresh).await?;
    if !history.is_empty() {
        recall(&parts.plan, parts.work.as_ref(), &mut view).await?;
    }
    Ok(launch(parts, view, fresh))
}

fn event(view: &mut RunView, kind: EventKind) -> Event {
    let event = Event { seq: view.seq + 1, at: Timestamp::now(), kind };
    view.apply(&event);
    event
}

fn lay_out(parts: &Parts) -> Result<(RunView, Vec<Event>)> {
    if parts.start != Start::New {
        return Err(Fault::new(FaultKind::Illegal, "go on with the run").detail("its journal is empty"));
    }
    let phases = parts.script.phases.iter().map(|script| {
        let plan = parts.plan.phases.get(&script.phase);
        PhaseOutline {
            phase: script.phase,
            enabled: plan.is_none_or(|plan| plan.enabled),
            gate: plan.is_some_and(|plan| plan.gate),
            steps: script.steps.iter().map(|step| StepOutline { id: step.id(), title: step.title() }).collect(),
            expected_s: plan.and_then(|plan| plan.expected).map(|expected| expected.as_secs_f64()),
        }
    });
    let kind = EventKind::RunStarted {
        run: parts.run.clone(),
        plan: parts.plan.name.clone(),
        plan_digest: parts.plan.digest.clone(),
        environment: parts.plan.environment,
        mode: parts.mode,
        phases: phases.collect(),
        by: parts.by.clone(),
    };
    let first = Event { seq: 1, at: Timestamp::now(), kind };
    let view = fold::begin(&first).ok_or_else(|| Fault::new(FaultKind::Internal, "lay out the run"))?;
    Ok((view, vec![first]))
}

fn take_over(parts: &Parts, mut view: RunView) -> Result<(RunView, Vec<Event>)> {
    let illegal = |detail: String| Fault::new(FaultKind::Illegal, "take over the run").detail(detail);
    if parts.start == Start::New {
        return Err(illegal("its journal is not empty".into()));
    }
    if view.state.is_end() {
        return Err(illegal(format!("it is {}", view.state)));
    }
    let mut fresh = vec![event(&mut view, EventKind::RunRecovered { by: parts.by.clone() })];
    if let (Start::Rollback { reason }, None) = (&parts.start, &view.rollback) {
        let order = crate::command::Command::Rollback { reason: reason.clone() };
        legal(&view, &order, Timestamp::now()).map_err(|refusal| illegal(refusal.why))?;
        let (by, reason) = (parts.by.clone(), reason.clone());
        fresh.push(event(&mut view, EventKind::RollbackStarted { by, reason, automatic: false }));
    }
    Ok((view, fresh))
}

/// Brings lanes and batches back into the view from the work tables: they are progress, so the journal has none.
///
/// # Errors
/// `Ledger` if they cannot be read.
pub async fn recall(plan: &Plan, work: &dyn Work, view: &mut RunView) -> Result<()> {
    for (lane, kind) in plan.lanes() {
        let tally = work.tally(&lane).await?;
        if tally.items() == 0 {
            continue;
        }
        let mut query = BatchQuery { lane: Some(lane.clone()), limit: 1000, ..BatchQuery::default() };
        loop {
            let rows = work.batch_page(&query).await?;
            let Some(last) = rows.last() else { break };
            query.after = last.number;
            for row in rows {
                progress(view, EventKind::BatchMoved { progress: batch_progress(row) });
            }
        }
        let stage = if tally.items() == tally.ended() { LaneStage::Done } else { LaneStage::Waiting };
        let errors = if tally.failed == 0 { Vec::new() } else { work.errors(&lane).await? };
        let noted = work.noted(&format!("follow:{lane}")).await?.filter(|noted| !noted.is_null());
        // One that this version cannot read says nothing.
        let follow: Option<Box<Follow>> = noted.and_then(|noted| serde_json::from_value(noted).ok());
        let stage = if follow.is_some() { LaneStage::Following } else { stage };
        let lane = LaneProgress { tally, errors, follow, ..LaneProgress::new(lane, kind, stage) };
        progress(view, EventKind::LaneMoved { progress: lane });
    }
    Ok(())
}

fn progress(view: &mut RunView, kind: EventKind) {
    let event = Event { seq: view.seq, at: Timestamp::now(), kind };
    view.apply(&event);
}

fn batch_progress(row: BatchRow) -> BatchProgress {
    let done = if row.state == BatchState::Done { row.items } else { 0 };
    // What an earlier engine left running is not running now.
    let state =
        if matches!(row.state, BatchState::Running | BatchState::Retrying) { BatchState::Pending } else { row.state };
    BatchRow { state, ..row }.into_progress(done)
}

fn launch(parts: Parts, view: RunView, fresh: Vec<Event>) -> Engine {
    let life = CancellationToken::new();
    let stop = Arc::new(Mutex::new(CancellationToken::new()));
    // Orders are few; work reports one step at a time; progress is merged by whoever reads it.
    let (orders_in, orders) = mpsc::channel(64);
    let (inbox_in, inbox) = mpsc::channel(256);
    let (progress_in, progress) = mpsc::channel(4096);
    let (findings_in, findings) = mpsc::channel(1024);
    let (phase_in, phase) = latest::channel(None);
    let (view_in, view_out) = latest::channel(Arc::new(view.clone()));
    let (events, _) = broadcast::channel(8192);
    let (hold, hold_out) = latest::channel(parts.hold);
    let (signals, gate) = Signals::new(life.clone());
    let handle =
        Handle::new(orders_in, stop.clone(), view_out, events.clone(), fresh.into_iter().map(Arc::new).collect());
    let cx = StepContext {
        plan: parts.plan.clone(),
        ports: parts.ports.clone(),
        work: parts.work,
        signals,
        report: Reporter::new(StepId::new("engine"), progress_in.clone()),
        folder: parts.folder,
    };
    let rollback = &parts.plan.rollback;
    let policy = Policy {
        approve_all: parts.approve_all,
        hold: parts.hold,
        rollback_on_failure: rollback.on_failure,
        rollback_on_stop: rollback.on_stop,
        veto: rollback.veto,
        gate_timeout: rollback.gate_timeout,
    };
    let watching = tokio::spawn(watch::run(parts.plan, parts.ports, phase, findings_in, life.clone()));
    let inbox_in = Inbox(inbox_in);
    let wires = Wires {
        orders,
        inbox,
        inbox_in,
        progress,
        progress_in,
        findings,
        phase: phase_in,
        view: view_in,
        events,
        stop,
        hold: hold_out,
    };
    let dispatcher = Dispatcher {
        view,
        policy,
        script: parts.script,
        journal: parts.journal,
        cx,
        gate,
        wires,
        state: Inner::default(),
    };
    let task = tokio::spawn(async move {
        let result = dispatcher.run().await;
        life.cancel();
        if let Err(error) = watching.await {
            tracing::error!(%error, "the watch ended badly");
        }
        result
    });
    Engine { handle, task, hold }
}
