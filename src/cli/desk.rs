//! What all commands need to know: who asks, where the ledgers are, which front a run gets, which plan is meant.

use super::{Trouble, args::Settings};
use crate::{
    api,
    error::{Fault, FaultKind},
    ledger,
    model::{Actor, Via},
    plan::{self, Plan},
    telemetry::{self, Beside, Log},
    wiring,
};
use std::{
    io::IsTerminal as _,
    path::{Path, PathBuf},
    sync::Arc,
};

/// What a run is shown on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Front {
    /// Full screen.
    Console,
    /// One line per change.
    Plain,
    /// One event per line.
    Json,
}

/// The command line's surroundings.
pub(super) struct Desk {
    pub(super) settings: Settings,
    /// Who sits here.
    pub(super) actor: Actor,
    /// What a run is shown on.
    pub(super) front: Front,
    /// Where log lines go.
    pub(super) log: Log,
}

impl Desk {
    /// Looks at flags, environment and terminal; starts logging.
    pub(super) fn new(settings: Settings) -> Self {
        let front = front(&settings);
        let verbose = settings.verbose || std::env::var_os("RUST_LOG").is_some();
        let beside = match front {
            Front::Console => Beside::Console,
            _ if verbose => Beside::Stderr,
            _ => Beside::Nothing,
        };
        let via = if front == Front::Console { Via::Console } else { Via::Cli };
        Self { settings, actor: Actor { name: ledger::user(), via }, front, log: telemetry::start(beside) }
    }

    /// Where ledgers are kept.
    pub(super) fn data(&self) -> Result<PathBuf, Trouble> {
        let dir = match &self.settings.data_dir {
            Some(dir) => dir.clone(),
            None => directories::ProjectDirs::from("", "", "cutover")
                .ok_or_else(|| Trouble::Usage("this user has no home directory: say --data-dir DIR".into()))?
                .data_dir()
                .to_path_buf(),
        };
        std::path::absolute(&dir)
            .map_err(|error| Trouble::Usage(format!("the data directory {} is no path: {error}", dir.display())))
    }

    /// The checked plan.
    pub(super) fn plan(&self) -> Result<Arc<Plan>, Trouble> {
        Ok(Arc::new(plan::load(&self.settings.plan)?))
    }

    /// The plan's folder in the data directory. Needs only the plan's name, so that a run can be watched and stopped
    /// from a terminal that has none of the plan's variables.
    pub(super) fn home(&self) -> Result<PathBuf, Trouble> {
        let name = match plain_name(&self.settings.plan) {
            Some(name) => name,
            None => self.plan()?.name.clone(),
        };
        Ok(wiring::home(&self.data()?, &name))
    }

    /// The control socket in the plan's folder.
    pub(super) fn socket(home: &Path) -> PathBuf {
        home.join(api::FILE)
    }

    /// A connection to the engine that runs the plan.
    pub(super) async fn engine(&self) -> Result<api::Client, Trouble> {
        let home = self.home()?;
        match api::Client::connect(&Self::socket(&home)).await {
            Err(fault) if fault.kind == FaultKind::NotFound => Err(no_engine(&home).into()),
            other => Ok(other?),
        }
    }
}

/// Nobody runs the plan, or somebody has the lock and does not listen yet.
fn no_engine(home: &Path) -> Fault {
    let plan = home.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let fault = Fault::new(FaultKind::Illegal, format!("reach the engine of plan `{plan}`"));
    match ledger::RunLock::holder(home) {
        Some(holder) => fault.detail(format!("process {} holds the plan but does not listen", holder.pid)),
        None => fault.detail(format!("none is running with its ledger in {}", home.display())),
    }
}

/// The plan's name, if it stands there as plain text.
fn plain_name(path: &Path) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    let table: toml::Table = text.parse().ok()?;
    let name = table.get("name")?.as_str()?;
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '_' | '-');
    (!name.is_empty() && !name.starts_with('.') && name.chars().all(plain)).then(|| name.to_owned())
}

fn front(settings: &Settings) -> Front {
    let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb" || term.is_empty());
    let terminal = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    if settings.json {
        Front::Json
    } else if settings.headless || dumb || !terminal || set("CI") {
        Front::Plain
    } else {
        Front::Console
    }
}
