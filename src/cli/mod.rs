//! The command line.
//!
//! `args` is what can be typed, `desk` what all commands need, `print` the way out. `runs` begins and goes on with runs,
//! `rehearse` does so in a world of its own, `headless` and `console` show them; `orders` reaches an engine in another
//! process, `status` looks at runs, `plans` at plans, `batches` and `files` at what a ledger holds, `in_place` where lines are drawn over; `verify` compares both
//! sides, `parts` moves or takes back a part of a run, `backups` lists backups and `restore` goes back to one. The top: may see everything; decides nothing about a run.

mod args;
mod backups;
mod batches;
mod console;
mod desk;
mod files;
mod headless;
mod in_place;
mod orders;
mod parts;
mod plans;
mod preview;
mod print;
mod rehearse;
mod repair;
mod restore;
mod runs;
mod shelf;
mod status;
mod verify;

use crate::{
    error::{Fault, FaultKind},
    event::{Event, EventKind},
    model::{Outcome, Timestamp},
    plan::Problems,
};
use args::{Cli, Verb};
use clap::Parser as _;
use desk::Desk;
use print::{err, out};
use std::{process::ExitCode, time::Duration};

/// Longest wait at the end for what still runs in the background.
const LAST_WAIT: Duration = Duration::from_secs(2);

/// What keeps a command from being done.
#[derive(Debug)]
enum Trouble {
    /// Something went wrong.
    Fault(Fault),
    /// The plan is wrong.
    Plan(Problems),
    /// The command line asks for something that cannot be.
    Usage(String),
    /// It could be, and is not done as things stand.
    Refused(String),
}

impl Trouble {
    const fn exit_code(&self) -> u8 {
        match self {
            Self::Fault(fault) => fault.kind.exit_code(),
            Self::Plan(_) | Self::Usage(_) => 2,
            Self::Refused(_) => FaultKind::Illegal.exit_code(),
        }
    }

    /// One sentence.
    fn sentence(&self) -> String {
        match self {
            Self::Fault(fault) => fault.advice(),
            Self::Plan(problems) => problems.to_string().replace('\n', "; "),
            Self::Usage(sentence) | Self::Refused(sentence) => sentence.clone(),
        }
    }

    /// For a person, on standard error.
    fn tell(&self) {
        match self {
            Self::Plan(problems) => err(problems.pretty().trim_end()),
            other => err(format!("cutover: {}", other.sentence())),
        }
    }

    /// The last line of a run that never began, for a program.
    fn run_finished(&self) -> String {
        let outcome = if self.exit_code() == 1 { Outcome::Failed } else { Outcome::Blocked };
        last_line(outcome, self.sentence())
    }
}

impl From<Fault> for Trouble {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<Problems> for Trouble {
    fn from(problems: Problems) -> Self {
        Self::Plan(problems)
    }
}

/// A `run_finished` that stands in no journal.
fn last_line(outcome: Outcome, reason: String) -> String {
    let event = Event { seq: 0, at: Timestamp::now(), kind: EventKind::RunFinished { outcome, reason } };
    serde_json::to_string(&event).unwrap_or_else(|_| r#"{"kind":"run_finished","outcome":"failed"}"#.into())
}

/// Does what the command line says.
#[must_use]
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are asked for; everything else is a mistake, which a program must hear of too.
            if error.use_stderr() && std::env::args().any(|arg| arg == "--json") {
                let line = error.to_string().lines().next().unwrap_or_default().to_owned();
                out(last_line(Outcome::Blocked, line));
            }
            let _reader_gone = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            err(format!("cutover: could not start: {error}"));
            return ExitCode::from(1);
        }
    };
    // A mistake in this program ends with its own exit code, not with the one of a panic.
    let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| runtime.block_on(dispatch(cli))));
    runtime.shutdown_timeout(LAST_WAIT);
    ExitCode::from(done.unwrap_or(1))
}

async fn dispatch(cli: Cli) -> u8 {
    let runs = match &cli.verb {
        None | Some(Verb::Rehearse(_) | Verb::Run { .. }) => true,
        Some(Verb::Resume { batch, .. }) => batch.is_none(),
        Some(Verb::Rollback(args)) => args.batch.is_none() && args.lane.is_none(),
        Some(_) => false,
    };
    let desk = Desk::new(cli.settings);
    match obey(&desk, cli.verb).await {
        Ok(code) => code,
        Err(trouble) => {
            if runs && desk.settings.json {
                out(trouble.run_finished());
            }
            trouble.tell();
            trouble.exit_code()
        }
    }
}

async fn obey(desk: &Desk, verb: Option<Verb>) -> Result<u8, Trouble> {
    match verb {
        None => runs::open(desk).await,
        Some(Verb::Rehearse(args)) => rehearse::rehearse(desk, &args).await,
        Some(Verb::World(args)) => rehearse::world(desk, &args).await,
        Some(Verb::Init { file }) => plans::init(desk, file),
        Some(Verb::Check { offline }) => plans::check(desk, offline).await,
        Some(Verb::Preview) => preview::preview(desk).await,
        Some(Verb::Run { dry_run }) => runs::run(desk, dry_run).await,
        Some(Verb::Resume { batch: Some(batch), .. }) => parts::resume(desk, &batch).await,
        Some(Verb::Resume { plan_changed_ok, .. }) => runs::resume(desk, plan_changed_ok).await,
        Some(Verb::Rollback(args)) => match (args.batch, args.lane) {
            (None, None) => runs::rollback(desk, args.reason.unwrap_or_default(), args.plan_changed_ok).await,
            (batch, lane) => parts::rollback(desk, batch.as_deref(), lane.as_deref()).await,
        },
        Some(Verb::Status) => status::status(desk).await,
        Some(Verb::Batches(args)) => batches::batches(desk, &args).await,
        Some(Verb::Files(args)) => files::files(desk, &args).await,
        Some(Verb::Manifest { lane }) => files::manifest(desk, lane.as_deref()).await,
        Some(Verb::Verify(args)) => verify::verify(desk, &args).await,
        Some(Verb::Repair(args)) => repair::repair(desk, &args).await,
        Some(Verb::Deadletters(args)) => repair::dead_letters(desk, &args).await,
        Some(Verb::Backups { check }) => backups::backups(desk, check).await,
        Some(Verb::Restore(args)) => restore::restore(desk, &args).await,
        Some(Verb::Limit { lane, bytes, requests, rows }) => {
            orders::limit(desk, lane, orders::Asked { bytes, requests, rows }).await
        }
        Some(Verb::Watch) => orders::watch(desk).await,
        Some(order) => orders::order(desk, order).await,
    }
}

/// A fault of this program itself.
fn internal(doing: &str, detail: impl AsRef<str>) -> Trouble {
    Fault::new(FaultKind::Internal, doing).detail(detail).into()
}
