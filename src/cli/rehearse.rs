//! Rehearsals: a world on this machine, its plan, and a run of it; or the world alone.

use super::{
    Trouble,
    args::WorldArgs,
    desk::{Desk, Front},
    print::{err, out},
    runs::{self, Way},
};
use crate::{
    engine::Start,
    error::{Fault, FaultKind},
    ledger::RunLock,
    model::{Mode, Outcome},
    plan::{self, Plan, Source},
    rehearsal::{Scenario, World},
    wiring,
};
use std::{
    fs::{self, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
};
use tokio::signal::unix::{SignalKind, signal};

/// The plan's file in a rehearsal's folder.
const PLAN: &str = "cutover.toml";
/// The data directory in a rehearsal's folder.
const DATA: &str = "data";
/// How the plan of a world begins: such a file may be replaced, any other may not.
const MARK: &str = "# A rehearsal ";

/// A rehearsal's folder.
struct Folder {
    path: PathBuf,
    /// Goes away after a clean end.
    passing: bool,
}

impl Folder {
    fn open(keep: Option<&Path>) -> Result<Self, Trouble> {
        let passing = keep.is_none();
        let path = keep.map_or_else(
            || std::env::temp_dir().join(format!("cutover-rehearsal-{}", uuid::Uuid::now_v7().simple())),
            Path::to_path_buf,
        );
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&path).map_err(|error| disk("make", &path, &error))?;
        let path = path.canonicalize().map_err(|error| disk("find", &path, &error))?;
        Ok(Self { path, passing })
    }

    /// Takes the folder away unless somebody wants it: to keep it was asked, or a run in it did not end cleanly.
    fn leave(self, unfinished: bool) {
        let path = self.path.display();
        if self.passing && !unfinished {
            if let Err(error) = fs::remove_dir_all(&self.path) {
                err(format!("cutover: {path} could not be removed: {error}"));
            }
            return;
        }
        err(format!("the rehearsal's databases, files and ledger are in {path}"));
        if unfinished {
            err(format!("`cutover rehearse --keep {path}` goes on with it"));
        }
    }
}

fn disk(verb: &str, path: &Path, error: &io::Error) -> Trouble {
    let kind = match error.kind() {
        io::ErrorKind::PermissionDenied => FaultKind::Permission,
        _ => FaultKind::Disk,
    };
    Fault::new(kind, format!("{verb} {}", path.display())).detail(error.to_string()).into()
}

/// `cutover rehearse`.
pub(super) async fn rehearse(desk: &Desk, args: &WorldArgs) -> Result<u8, Trouble> {
    let scenario = scenario(args)?;
    let folder = Folder::open(args.keep.as_deref())?;
    // Two worlds in one folder would write over each other.
    let _lock = RunLock::take(&folder.path, "cutover rehearse")?;
    let data = folder.path.join(DATA);
    let (outcome, code) = match in_world(desk, scenario, &folder, &data).await {
        Ok(ended) => ended,
        Err(trouble) => {
            // Nothing ran in it now; what an earlier run left in a folder of its own stays as it was.
            if folder.passing {
                folder.leave(false);
            }
            return Err(trouble);
        }
    };
    folder.leave(matches!(outcome, Outcome::Stopped | Outcome::Failed | Outcome::Stuck));
    Ok(code)
}

async fn in_world(desk: &Desk, scenario: Scenario, folder: &Folder, data: &Path) -> Result<(Outcome, u8), Trouble> {
    let world = World::start(scenario, &folder.path).await?;
    let text = world.plan_text();
    let file = folder.path.join(PLAN);
    write(&file, &text)?;
    let plan = Arc::new(parse(&file, &text, &folder.path)?);
    let start = way_on(&wiring::home(data, &plan.name), &folder.path).await?;
    if desk.front == Front::Plain {
        out(format!("rehearsal `{}`: {}", world.scenario.name, world.scenario.about));
        out(format!("from another terminal: cutover --plan {} --data-dir {} status", file.display(), data.display()));
    }
    let way = Way { plan, mode: Mode::Rehearsal, data: data.to_path_buf(), start, other_plan: false };
    let ended = runs::drive_to_end(desk, way).await;
    world.stop().await;
    let ended = ended?;
    Ok((ended.outcome, ended.code))
}

/// A folder that holds an unfinished rehearsal goes on with it; one whose rehearsal is over cannot begin another.
async fn way_on(home: &Path, folder: &Path) -> Result<Start, Trouble> {
    let before = runs::runs(home).await?;
    match before.first().map(|last| last.outcome) {
        None | Some(Some(Outcome::RolledBack | Outcome::Blocked)) => Ok(Start::New),
        Some(Some(Outcome::Completed)) => {
            Err(Trouble::Usage(format!("the rehearsal in {} is completed: name an empty folder", folder.display())))
        }
        Some(_) => Ok(Start::Resume),
    }
}

/// `cutover world`.
pub(super) async fn world(desk: &Desk, args: &WorldArgs) -> Result<u8, Trouble> {
    let scenario = scenario(args)?;
    let file = &desk.settings.plan;
    if fs::read_to_string(file).is_ok_and(|text| !text.starts_with(MARK)) {
        return Err(Trouble::Usage(format!(
            "{} is a plan that no rehearsal wrote: name another file with --plan",
            file.display()
        )));
    }
    // Before the servers answer, a signal ends the process as usual; from here on it ends them in order.
    let signals = |kind| signal(kind).map_err(|error| super::internal("listen for signals", error.to_string()));
    let (mut int, mut term) = (signals(SignalKind::interrupt())?, signals(SignalKind::terminate())?);
    let mut hup = signals(SignalKind::hangup())?;
    let folder = Folder::open(args.keep.as_deref())?;
    // Two worlds in one folder would write over each other.
    let lock = RunLock::take(&folder.path, "cutover world")?;
    let world = World::start(scenario, &folder.path).await?;
    write(file, &world.plan_text())?;
    if desk.settings.json {
        out(serde_json::json!({ "kind": "world_ready", "plan": file, "dir": folder.path }).to_string());
    } else {
        out(format!("world `{}` is ready: {}", world.scenario.name, world.scenario.about));
        out(format!("its plan is {}, its data in {}", file.display(), folder.path.display()));
        out(format!("begin in another terminal with `cutover --plan {} run`; Ctrl-C ends the world", file.display()));
    }
    tokio::select! {
        _ = int.recv() => {}
        _ = term.recv() => {}
        _ = hup.recv() => {}
    }
    world.stop().await;
    drop(lock);
    folder.leave(false);
    Ok(0)
}

fn scenario(args: &WorldArgs) -> Result<Scenario, Trouble> {
    let name = &args.scenario;
    let scenario = match Scenario::named(name) {
        Some(scenario) => scenario,
        None if Path::new(name).is_file() => Scenario::load(Path::new(name))?,
        None => {
            let known: Vec<_> = Scenario::names().collect();
            return Err(Trouble::Usage(format!(
                "there is no scenario `{name}`: write {}, or the path of a TOML file",
                known.join(", ")
            )));
        }
    };
    Ok(scenario.with(&args.overrides())?)
}

/// Writes the plan whole, readable by this user only: there are credentials in it.
fn write(path: &Path, text: &str) -> Result<(), Trouble> {
    let beside = path.with_extension("toml.new");
    let write = || -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&beside, path)
    };
    write().map_err(|error| disk("write", path, &error))
}

fn parse(path: &Path, text: &str, base: &Path) -> Result<Plan, Trouble> {
    let name = path.display().to_string();
    Ok(plan::parse(&Source { name: &name, text, base, env: &|name| std::env::var(name).ok() })?)
}
