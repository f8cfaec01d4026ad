//! Puts one run together: lock, ledger, ports, phases, engine.
//!
//! The plan's folder in the data directory holds `lock`, `ledger.db`, `control.sock`, `runs/<run>/` with the report of each
//! run, and `backups` unless the plan keeps them elsewhere.

use crate::{
    engine::{Engine, Parts, Start, start},
    error::{Fault, FaultKind, Result},
    ledger::{Ledger, RunLock},
    model::{Actor, Mode, Outcome, RunId},
    phases,
    plan::Plan,
    ports::{Journal, RunSummary},
    wiring::Bystander,
};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

/// What is asked for.
pub struct Request {
    /// The plan.
    pub plan: Arc<Plan>,
    /// What a new run may touch; an unfinished one keeps what it was laid out with.
    pub mode: Mode,
    /// The data directory; the plan's folder is made in it.
    pub data: PathBuf,
    /// Who asks.
    pub by: Actor,
    /// A new run, or which way on with the unfinished one.
    pub start: Start,
    /// Takes every gate whose checks all pass.
    pub approve_all: bool,
    /// Somebody is there to decide.
    pub hold: bool,
    /// Goes on although the plan is not the one that the run was laid out from.
    pub other_plan: bool,
}

/// A run under way.
pub struct Running {
    /// The engine.
    pub engine: Engine,
    /// What must live as long as it.
    pub kept: Kept,
}

/// What must live as long as an engine: ledger and lock; and where things are.
pub struct Kept {
    /// Which run.
    pub run: RunId,
    /// The plan's folder.
    pub home: PathBuf,
    /// The run's own folder.
    pub folder: PathBuf,
    ledger: Ledger,
    lock: RunLock,
}

impl Kept {
    /// The journal, for a reader that fell behind the engine's events.
    #[must_use]
    pub fn journal(&self) -> Arc<dyn Journal> {
        self.ledger.journal()
    }

    /// What a reader beside the engine works with, over connections of its own.
    ///
    /// # Errors
    /// `Plan` and `Internal`, as the engine's own ports.
    pub fn bystander(&self, plan: &Arc<Plan>) -> Result<Bystander> {
        Bystander::new(plan, self.ledger.work(&self.run), self.folder.clone())
    }

    /// Closes the ledger and gives the lock back. To be called once the engine's part is over.
    pub async fn close(self) {
        self.ledger.close().await;
        drop(self.lock);
    }
}

impl Running {
    /// Waits until the engine's part is over, then closes what was kept for it.
    ///
    /// # Errors
    /// What the engine says.
    pub async fn finished(self) -> Result<Outcome> {
        let outcome = self.engine.finished().await;
        self.kept.close().await;
        outcome
    }
}

/// The plan's folder in the data directory.
#[must_use]
pub fn home(data: &Path, plan: &str) -> PathBuf {
    data.join(plan)
}

/// The newest run that was begun and neither completed, rolled back nor blocked.
#[must_use]
pub fn unfinished(runs: &[RunSummary]) -> Option<&RunSummary> {
    let over = |outcome| matches!(outcome, Some(Outcome::Completed | Outcome::RolledBack | Outcome::Blocked));
    runs.first().filter(|run| !over(run.outcome))
}

/// Starts an engine for what is asked.
///
/// # Errors
/// `Locked` if another process has the plan's folder; `Illegal` if there is an unfinished run and a new one is asked
/// for, or the other way round, or the plan is another one; `Ledger`, `Plan` and what starting the engine says.
pub async fn run(request: Request) -> Result<Running> {
    let home = home(&request.data, &request.plan.name);
    let lock = RunLock::take(&home, &format!("cutover run of plan {}", request.plan.name))?;
    let ledger = Ledger::open(&home).await?;
    let journal = ledger.journal();
    let runs = journal.runs().await?;
    let run = choose(&request, unfinished(&runs))?;
    let mode = match request.start {
        Start::New => request.mode,
        // What a run may touch was decided when it was laid out: a dry run never becomes a live one.
        _ => laid_out(&request, &journal.load(&run).await?)?,
    };
    let folder = home.join("runs").join(run.as_str());
    std::fs::create_dir_all(&folder).map_err(|error| {
        Fault::new(FaultKind::Permission, format!("make the folder {}", folder.display())).source(error)
    })?;
    let engine = start(Parts {
        script: phases::script(&request.plan, mode),
        ports: super::ports_in(&request.plan, &home)?,
        plan: request.plan,
        mode,
        work: ledger.work(&run),
        run: run.clone(),
        journal,
        folder: folder.clone(),
        by: request.by,
        start: request.start,
        approve_all: request.approve_all,
        hold: request.hold,
    })
    .await?;
    Ok(Running { engine, kept: Kept { run, home, folder, ledger, lock } })
}

fn choose(request: &Request, unfinished: Option<&RunSummary>) -> Result<RunId> {
    let illegal = |doing: &str, detail: String| Fault::new(FaultKind::Illegal, doing).detail(detail);
    match (&request.start, unfinished) {
        (Start::New, None) => Ok(RunId::new(uuid::Uuid::now_v7().to_string())),
        (Start::New, Some(run)) => Err(illegal(
            "start a new run",
            format!(
                "the run of {} is unfinished: go on with `cutover resume`, or go back with `cutover rollback`",
                run.started.strftime("%F %T UTC")
            ),
        )),
        (_, Some(run)) => Ok(run.run.clone()),
        (_, None) => Err(illegal("go on with a run", format!("plan `{}` has no unfinished run", request.plan.name))),
    }
}

/// How the run was laid out, if it was from this plan.
fn laid_out(request: &Request, history: &[crate::event::Event]) -> Result<Mode> {
    let illegal = |detail: &str| Fault::new(FaultKind::Illegal, "go on with the run").detail(detail);
    let view = crate::engine::fold::fold(history).ok_or_else(|| illegal("its journal does not begin with a run"))?;
    if view.plan_digest != request.plan.digest && !request.other_plan {
        return Err(illegal(
            "the plan has changed since the run began: put the old plan back, or say --plan-changed-ok if the change \
             is meant",
        ));
    }
    Ok(view.mode)
}
