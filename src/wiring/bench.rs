//! A run's parts without an engine: for commands that read its ledger, compare both sides, or move a part of it while
//! nobody else does.

use crate::{
    engine::{PauseGate, Reporter, Signals, StepContext, fold, view::RunView},
    error::{Fault, FaultKind, Result},
    event::{Event, EventKind},
    ledger::{Ledger, RunLock},
    model::{StepId, Timestamp},
    plan::Plan,
    ports::{Journal, Ports, RunSummary, Work},
};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Progress that may wait to be read; more is dropped, since a later one replaces it.
const PROGRESS: usize = 64;

/// The newest run's work tables, for whoever only reads.
pub struct Reads {
    /// Which run.
    pub run: RunSummary,
    /// Its work tables.
    pub work: Arc<dyn Work>,
    ledger: Ledger,
}

impl Reads {
    /// The run as the list of runs shows it now.
    ///
    /// # Errors
    /// `Ledger` if it cannot be read.
    pub async fn look_again(&self) -> Result<Option<RunSummary>> {
        Ok(self.ledger.journal().runs().await?.into_iter().find(|run| run.run == self.run.run))
    }

    /// Closes the ledger.
    pub async fn close(self) {
        self.ledger.close().await;
    }
}

/// Opens the newest run in the plan's folder for reading. Makes nothing.
///
/// # Errors
/// `Illegal` if there is none; `Ledger` if it cannot be read.
pub async fn reads(home: &Path) -> Result<Reads> {
    let none = || Fault::new(FaultKind::Illegal, "find a run").detail(format!("{} holds none yet", home.display()));
    if !Ledger::exists(home) {
        return Err(none());
    }
    let ledger = Ledger::open(home).await?;
    let run = ledger.journal().runs().await?.into_iter().next().ok_or_else(none)?;
    Ok(Reads { work: ledger.work(&run.run), run, ledger })
}

/// What a command works with.
pub struct Bench {
    /// What steps are given too.
    pub cx: StepContext,
    /// The run as its journal tells it.
    pub view: RunView,
    /// What the work says of itself, until somebody takes it.
    pub progress: Option<mpsc::Receiver<EventKind>>,
    journal: Arc<dyn Journal>,
    ledger: Ledger,
    // Nobody pauses a command, but a gate that is gone would stop it.
    _gate: PauseGate,
    _lock: Option<RunLock>,
}

impl Bench {
    /// Writes a decision into the run's journal. Only for who has the lock.
    ///
    /// # Errors
    /// `Ledger` if it cannot be appended.
    pub async fn record(&mut self, kind: EventKind) -> Result<()> {
        let event = Event { seq: self.view.seq + 1, at: Timestamp::now(), kind };
        self.journal.append(&self.view.run, std::slice::from_ref(&event)).await?;
        self.view.apply(&event);
        Ok(())
    }

    /// Closes the ledger and gives the lock back.
    pub async fn close(self) {
        self.ledger.close().await;
    }
}

/// Lays the newest run's parts out. With `alone`, which says what for, takes the lock first: nobody else may be at work.
///
/// # Errors
/// `Locked` if another process has the lock; `Illegal` if there is no run, or alone with another plan than the run was
/// laid out from; `Ledger` and `Plan`.
pub async fn bench(plan: Arc<Plan>, data: &Path, alone: Option<&str>) -> Result<Bench> {
    let home = super::home(data, &plan.name);
    let doing = "find a run";
    if !Ledger::exists(&home) {
        return Err(Fault::new(FaultKind::Illegal, doing).detail(format!("plan `{}` has none yet", plan.name)));
    }
    let lock = alone.map(|what| RunLock::take(&home, what)).transpose()?;
    let Reads { run, work, ledger } = reads(&home).await?;
    let journal = ledger.journal();
    let view = fold::fold(&journal.load(&run.run).await?)
        .ok_or_else(|| Fault::new(FaultKind::Ledger, doing).detail("its journal does not begin with a run"))?;
    if alone.is_some() && view.plan_digest != plan.digest {
        let fault = Fault::new(FaultKind::Illegal, "change a part of the run");
        return Err(fault.detail("the plan has changed since the run began: put the old plan back"));
    }
    let folder = home.join("runs").join(run.run.as_str());
    let (to, progress) = mpsc::channel(PROGRESS);
    let Bystander { cx, gate } = Bystander::reporting(&plan, super::ports_in(&plan, &home)?, work, folder, to);
    Ok(Bench { cx, view, progress: Some(progress), journal, ledger, _gate: gate, _lock: lock })
}

/// What somebody works with who only reads, beside an engine.
pub struct Bystander {
    /// What steps are given too.
    pub cx: StepContext,
    // Nobody pauses a reader, but a gate that is gone would stop it.
    gate: PauseGate,
}

impl Bystander {
    /// Over connections of its own; nobody hears of its progress.
    ///
    /// # Errors
    /// As [`super::ports()`].
    pub(super) fn new(plan: &Arc<Plan>, work: Arc<dyn Work>, folder: PathBuf) -> Result<Self> {
        Ok(Self::reporting(plan, super::ports(plan)?, work, folder, mpsc::channel(1).0))
    }

    fn reporting(
        plan: &Arc<Plan>,
        ports: Ports,
        work: Arc<dyn Work>,
        folder: PathBuf,
        to: mpsc::Sender<EventKind>,
    ) -> Self {
        let (signals, gate) = Signals::new(CancellationToken::new());
        let report = Reporter::new(StepId::new("command"), to);
        Self { cx: StepContext { ports, plan: Arc::clone(plan), work, signals, report, folder }, gate }
    }
}
