//! A night in this process: a world, and engines that come and go on its plan.

use crate::reader::{Places, Rows};
use cutover::{
    command::Command,
    engine::{Handle, Start, view::RunView},
    model::{Actor, Mode, Outcome, Phase, Via},
    plan::{self, Plan, Source},
    rehearsal::{Overrides, Scenario, World},
    wiring::{self, Request, Running},
};
use std::{collections::BTreeSet, path::Path, sync::Arc, time::Duration};
use tempfile::TempDir;

/// Longest a night may take; only a hung one reaches it.
const PATIENCE: Duration = Duration::from_secs(120);

/// Longest that an answer may take on average.
const SLOWEST_MS: f64 = 20_000.0;

pub(crate) struct Night {
    pub(crate) world: World,
    pub(crate) places: Places,
    pub(crate) before: Rows,
    pub(crate) objects_before: BTreeSet<String>,
    plan: Arc<Plan>,
    folder: TempDir,
}

pub(crate) fn scenario(name: &str) -> Scenario {
    let small = Overrides { users: Some(30), files: Some(40), bytes: Some(4096), speed: Some(20.0), seed: None };
    let mut scenario = Scenario::named(name).unwrap_or_else(|| panic!("no scenario {name}")).with(&small).unwrap();
    // How fast a machine answers that runs other tests beside this one is nobody's concern here.
    (scenario.plan.p95_ms, scenario.plan.mean_ms) = (SLOWEST_MS, SLOWEST_MS);
    scenario
}

impl Night {
    pub(crate) async fn new(scenario: Scenario) -> Self {
        Self::with_plan(scenario, |text| text).await
    }

    /// A night on the world's plan as this makes it.
    pub(crate) async fn with_plan(scenario: Scenario, written: impl FnOnce(String) -> String) -> Self {
        println!("scenario {} with seed {}", scenario.name, scenario.seed);
        let folder = tempfile::tempdir().unwrap();
        let world = World::start(scenario, &folder.path().join("world")).await.unwrap();
        let text = written(world.plan_text());
        let source = Source { name: "cutover.toml", text: &text, base: folder.path(), env: &|_| None };
        let plan = plan::parse(&source).unwrap_or_else(|problems| panic!("{problems}"));
        let places = Places::new(world.dir());
        let before = places.legacy().await;
        let objects_before = places.objects().into_keys().collect();
        Self { world, places, before, objects_before, plan: Arc::new(plan), folder }
    }

    pub(crate) async fn start(&self, start: Start, approve_all: bool, hold: bool) -> Running {
        let request = Request {
            plan: self.plan.clone(),
            mode: Mode::Rehearsal,
            data: self.data().to_owned(),
            by: somebody(),
            start,
            approve_all,
            hold,
            other_plan: false,
        };
        wiring::run(request).await.unwrap_or_else(|fault| panic!("{}", fault.advice()))
    }

    pub(crate) fn data(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) async fn over(self) {
        self.world.stop().await;
    }
}

pub(crate) fn somebody() -> Actor {
    Actor { name: "ada".into(), via: Via::Console }
}

/// Waits until the run is as `holds` says.
pub(crate) async fn until(handle: &Handle, what: &str, holds: impl Fn(&RunView) -> bool) -> Arc<RunView> {
    let mut views = handle.watch();
    let waited = tokio::time::timeout(PATIENCE, views.wait_for(|view| holds(view))).await;
    if let Ok(Ok(view)) = waited {
        return view.clone();
    }
    let view = handle.view();
    panic!("never saw: {what}; the run is {} ({}) in {}", view.state, view.reason, view.phase)
}

/// Lets the engine run to its end.
pub(crate) async fn finished(running: Running) -> (Outcome, Arc<RunView>) {
    let handle = running.engine.handle.clone();
    let Ok(outcome) = tokio::time::timeout(PATIENCE, running.finished()).await else {
        let view = handle.view();
        let step = view.current_step();
        panic!("never ended; the run is {} ({}) in {}: {step:?}", view.state, view.reason, view.phase)
    };
    let outcome = outcome.unwrap_or_else(|fault| panic!("{}", fault.advice()));
    let view = handle.view();
    println!("{outcome:?}: {}", view.reason);
    (outcome, view)
}

/// Waits until `phase` has something under way that could be undone, or its first step is at work.
pub(crate) async fn inside(handle: &Handle, phase: Phase) {
    until(handle, &format!("inside {phase}"), |view| view.phase(phase).started.is_some()).await;
}

pub(crate) async fn order(handle: &Handle, command: Command) {
    handle.order(somebody(), command).await.unwrap_or_else(|refusal| panic!("{refusal:?}"));
}
