//! Begins runs and goes on with unfinished ones.

use super::{
    Trouble, console,
    desk::{Desk, Front},
    headless::{self, Ended, Printer},
    orders,
    print::{ask, out},
};
use crate::{
    api,
    command::Command,
    engine::Start,
    error::{Fault, FaultKind},
    ledger::{Ledger, RunLock},
    model::{Mode, Outcome},
    plan::Plan,
    ports::RunSummary,
    wiring::{self, Request},
};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};
use tokio_util::sync::CancellationToken;

/// What to run, and which way.
pub(super) struct Way {
    pub(super) plan: Arc<Plan>,
    pub(super) mode: Mode,
    pub(super) data: PathBuf,
    pub(super) start: Start,
    /// Goes on although the plan has changed.
    pub(super) other_plan: bool,
}

/// `cutover` alone: the console on the plan in this folder, or how to begin.
pub(super) async fn open(desk: &Desk) -> Result<u8, Trouble> {
    // A program is told what is wrong, a person how to begin.
    if desk.front != Front::Json && !desk.settings.plan.exists() {
        out(START);
        return Ok(0);
    }
    let plan = desk.plan()?;
    let data = desk.data()?;
    let home = wiring::home(&data, &plan.name);
    if RunLock::holder(&home).is_some() {
        return super::status::status(desk).await;
    }
    if let Some(last) = unfinished(&home).await? {
        return offer(desk, plan, data, &last).await;
    }
    let begin = format!("Begin a run of {} ({})?", plan.name, plan.environment.badge());
    if desk.front == Front::Console && !desk.settings.yes {
        super::preview::beforehand(&plan).await?;
    }
    if desk.settings.yes || (desk.front == Front::Console && ask(&begin)) {
        return drive(desk, Way { plan, mode: Mode::Live, data, start: Start::New, other_plan: false }).await;
    }
    let advice = format!("{} is a plan for {}: begin with `cutover run`", desk.settings.plan.display(), plan.name);
    if desk.front == Front::Json {
        return Err(Trouble::Usage(advice));
    }
    out(advice);
    Ok(0)
}

const START: &str = "\
cutover runs a production cutover from a full-screen console, and can always go back.

  cutover rehearse          a whole cutover on this machine, in a world of its own
  cutover init              writes a commented plan to cutover.toml
  cutover check             tells every mistake in the plan at once
  cutover preview           says what a run would do; changes nothing
  cutover run               begins a run
  cutover help              everything else";

/// `cutover run`.
pub(super) async fn run(desk: &Desk, dry_run: bool) -> Result<u8, Trouble> {
    let plan = desk.plan()?;
    let data = desk.data()?;
    if desk.front == Front::Console
        && let Some(last) = unfinished(&wiring::home(&data, &plan.name)).await?
    {
        return offer(desk, plan, data, &last).await;
    }
    let mode = if dry_run { Mode::DryRun } else { Mode::Live };
    drive(desk, Way { plan, mode, data, start: Start::New, other_plan: false }).await
}

/// An unfinished run is in the way: says so and offers to go on with it.
async fn offer(desk: &Desk, plan: Arc<Plan>, data: PathBuf, last: &RunSummary) -> Result<u8, Trouble> {
    let began = last.started.strftime("%F %H:%MZ");
    let question = format!("The run of {} that began {began} is unfinished. Go on with it?", plan.name);
    if desk.front == Front::Console && (desk.settings.yes || ask(&question)) {
        return drive(desk, Way { plan, mode: Mode::Live, data, start: Start::Resume, other_plan: false }).await;
    }
    let fault = Fault::new(FaultKind::Illegal, format!("begin a run of {}", plan.name)).detail(format!(
        "its run of {began} is unfinished: go on with `cutover resume`, or go back with `cutover rollback --reason …`"
    ));
    Err(fault.into())
}

/// `cutover resume`: an engine in another process goes on; without one, this process takes the run over.
pub(super) async fn resume(desk: &Desk, other_plan: bool) -> Result<u8, Trouble> {
    if RunLock::holder(&desk.home()?).is_some() {
        return orders::give(desk, Command::Resume).await;
    }
    let (plan, data) = (desk.plan()?, desk.data()?);
    drive(desk, Way { plan, mode: Mode::Live, data, start: Start::Resume, other_plan }).await
}

/// `cutover rollback`: likewise.
pub(super) async fn rollback(desk: &Desk, reason: String, other_plan: bool) -> Result<u8, Trouble> {
    if RunLock::holder(&desk.home()?).is_some() {
        return orders::give(desk, Command::Rollback { reason }).await;
    }
    let (plan, data) = (desk.plan()?, desk.data()?);
    drive(desk, Way { plan, mode: Mode::Live, data, start: Start::Rollback { reason }, other_plan }).await
}

/// The newest run in the plan's folder, if it is unfinished. Makes nothing.
pub(super) async fn unfinished(home: &Path) -> Result<Option<RunSummary>, Trouble> {
    Ok(wiring::unfinished(&runs(home).await?).cloned())
}

/// All runs in the plan's folder, the newest first. Makes nothing.
pub(super) async fn runs(home: &Path) -> Result<Vec<RunSummary>, Trouble> {
    if !Ledger::exists(home) {
        return Ok(Vec::new());
    }
    let ledger = Ledger::open(home).await?;
    let runs = ledger.journal().runs().await;
    ledger.close().await;
    Ok(runs?)
}

/// Runs it, to the end of this engine's part.
pub(super) async fn drive(desk: &Desk, way: Way) -> Result<u8, Trouble> {
    Ok(drive_to_end(desk, way).await?.code)
}

/// The same, and says how it ended.
pub(super) async fn drive_to_end(desk: &Desk, way: Way) -> Result<Ended, Trouble> {
    let plan = way.plan.clone();
    let running = wiring::run(Request {
        plan: way.plan,
        mode: way.mode,
        data: way.data,
        by: desk.actor.clone(),
        start: way.start,
        approve_all: desk.settings.approve_all,
        hold: desk.front == Front::Console,
        other_plan: way.other_plan,
    })
    .await?;
    let (engine, kept) = (running.engine, running.kept);
    if let Err(fault) = desk.log.to_folder(&kept.folder) {
        // The run is worth more than its log.
        super::print::err(format!("cutover: {}", fault.advice()));
    }
    let over = CancellationToken::new();
    let door = api::serve(&Desk::socket(&kept.home), engine.handle.clone(), over.clone());
    if let Err(fault) = &door {
        // Without the door no other terminal could stop the run; this one still can.
        super::print::err(format!("cutover: {}", fault.advice()));
        tracing::error!("{}", fault.advice());
    }
    let ended = match desk.front {
        Front::Console => console::show(desk, &plan, engine, &kept).await,
        front => {
            let printer = Printer::new(front, engine.handle.opening());
            headless::follow(engine, &kept, printer, plan.on_hangup).await
        }
    };
    over.cancel();
    if let Ok(door) = door
        && let Err(error) = door.await
    {
        tracing::error!("the control socket broke: {error}");
    }
    if desk.front != Front::Json
        && let Ok(ended) = &ended
    {
        tell_next(ended, &kept, way.mode);
    }
    kept.close().await;
    Ok(ended?)
}

/// What a person can do now.
fn tell_next(ended: &Ended, kept: &wiring::Kept, mode: Mode) {
    let next = match ended.outcome {
        Outcome::Completed => "everything is committed",
        Outcome::RolledBack => "the legacy side serves as before",
        _ if mode == Mode::Rehearsal => "the rehearsal can go on",
        Outcome::Stopped | Outcome::Failed | Outcome::Stuck => {
            "go on with `cutover resume`, or go back with `cutover rollback --reason …`"
        }
        Outcome::Blocked => "nothing was changed; mend what is named above and begin again",
    };
    let outcome = ended.outcome.word().replace('_', " ");
    match mode {
        // A rehearsal says itself what becomes of its folder.
        Mode::Rehearsal => out(format!("{outcome}: {next}")),
        _ => out(format!("{outcome}: {next} (log and report in {})", kept.folder.display())),
    }
}
