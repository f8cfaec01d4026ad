//! From the emergency-stop order to the last write, under a flood of progress and with many writers at full load.

use crate::figures::print;
use async_trait::async_trait;
use cutover::{
    command::Command,
    engine::{
        Checked, Parts, PhaseScript, Script, Start, Step, StepContext, StepDone, Surroundings, start, view::RunView,
    },
    error::{Fault, Result},
    event::UndoNote,
    ledger::Ledger,
    model::{
        Actor, BatchId, BatchProgress, BatchState, Check, Fact, LaneId, Mending, Mode, Outcome, Phase, RunId, RunState,
        StepId, Timestamp, Verdict, Via,
    },
    plan::{self, Source},
    ports::Ports,
};
use std::{
    path::Path,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};
use tokio::task::JoinSet;

const ROUNDS: usize = 100;
const WRITERS: usize = 32;

pub(crate) const PLAN: &str = r#"
name = "bench"
environment = "development"
[stores.from]
kind = "sqlite"
path = "from.db"
[stores.to]
kind = "sqlite"
path = "to.db"
[[dataset]]
name = "users"
from = { store = "from", table = "users" }
to = { store = "to", table = "users" }
key = "id"
"#;

/// Writers that write and report as fast as they can until they are stopped.
struct Flood {
    last_write: Arc<Mutex<Instant>>,
}

#[async_trait]
impl Step for Flood {
    fn id(&self) -> StepId {
        StepId::new("data_migration/flood")
    }
    fn title(&self) -> String {
        "writes as fast as it can".into()
    }
    async fn check(&self, _cx: &StepContext) -> Result<Checked> {
        Ok(Checked::Needed { intent: "write".into(), undo: serde_json::json!("clean") })
    }
    async fn apply(&self, cx: &StepContext) -> Result<StepDone> {
        let mut writers = JoinSet::new();
        for number in 0..WRITERS {
            let (cx, last_write) = (cx.clone(), self.last_write.clone());
            writers.spawn(async move {
                let mut done = 0;
                loop {
                    let write = async {
                        tokio::time::sleep(Duration::from_millis(1)).await;
                        *last_write.lock().expect("no writer panics") = Instant::now();
                        Ok(())
                    };
                    if cx.signals.unless_stopped("write", write).await.is_err() {
                        return;
                    }
                    done += 1;
                    for _ in 0..16 {
                        cx.report.batch(progress(number, done));
                    }
                }
            });
        }
        while writers.join_next().await.is_some() {}
        Err(Fault::cancelled("write"))
    }
    async fn undo(&self, _cx: &StepContext, _note: &UndoNote) -> Result<StepDone> {
        Ok(StepDone::new("clean"))
    }
}

fn progress(number: usize, done: u64) -> BatchProgress {
    BatchProgress {
        batch: BatchId::new(format!("users-{number:04}")),
        lane: LaneId::new("users"),
        state: BatchState::Running,
        items: 1_000_000,
        done,
        failed: 0,
        bytes: 0,
        attempt: 1,
        started: Some(Timestamp::now()),
        finished: None,
        error: String::new(),
    }
}

struct Calm;

#[async_trait]
impl Surroundings for Calm {
    async fn evidence(&self, _cx: &StepContext, _view: &RunView, _phase: Phase) -> Vec<Check> {
        vec![Check::new("ready", Verdict::Pass, "yes", Timestamp::now())]
    }
    async fn truth(&self, _cx: &StepContext, _view: &RunView) -> Vec<Fact> {
        Vec::new()
    }
    async fn legacy_validated(&self, _cx: &StepContext) -> Result<StepDone> {
        Ok(StepDone::new("works"))
    }
    async fn turn_maintenance(&self, _cx: &StepContext, _on: bool) -> Result<()> {
        Ok(())
    }
    async fn mend(&self, _cx: &StepContext, _lane: &LaneId, _what: &Mending, _live: bool) -> Result<StepDone> {
        Ok(StepDone::new("mended"))
    }
}

/// Runs, floods, stops; a round each.
pub(crate) async fn stops() {
    let mut last_writes = Vec::new();
    let mut stopped = Vec::new();
    for _ in 0..ROUNDS {
        let (to_last_write, to_stopped) = round().await;
        last_writes.push(to_last_write);
        stopped.push(to_stopped);
    }
    print(&format!("emergency stop to the last of {WRITERS} writers' writes"), last_writes, "p99 < 50 ms");
    print("emergency stop to `stopped` in journal and view", stopped, "-");
}

async fn round() -> (Duration, Duration) {
    let folder = tempfile::tempdir().expect("a scratch folder");
    let ledger = Ledger::open(folder.path()).await.expect("a new ledger opens");
    let source = Source { name: "bench.toml", text: PLAN, base: Path::new("."), env: &|_| None };
    let plan = Arc::new(plan::parse(&source).unwrap_or_else(|problems| panic!("{problems}")));
    let last_write = Arc::new(Mutex::new(Instant::now()));
    let phases = Phase::ALL.map(|phase| {
        let flood = Arc::new(Flood { last_write: last_write.clone() }) as Arc<dyn Step>;
        PhaseScript { phase, steps: if phase == Phase::DataMigration { vec![flood] } else { Vec::new() } }
    });
    let run = RunId::new("bench");
    let engine = start(Parts {
        plan,
        mode: Mode::Rehearsal,
        run: run.clone(),
        script: Script { phases: phases.into(), surroundings: Arc::new(Calm), follower: None },
        ports: Ports::default(),
        journal: ledger.journal(),
        work: ledger.work(&run),
        folder: folder.path().to_owned(),
        by: Actor::engine("bench"),
        start: Start::New,
        approve_all: true,
        hold: false,
    })
    .await
    .expect("the engine starts");
    let mut views = engine.handle.watch();
    let flooded = |view: &Arc<RunView>| view.batches.values().any(|batch| batch.progress.done > 20);
    views.wait_for(flooded).await.expect("the flood rises");
    let by = Actor { name: "bench".into(), via: Via::Console };
    let ordered = Instant::now();
    let order = engine.handle.order(by, Command::EmergencyStop { reason: "measured".into() });
    order.await.expect("a stop is legal while the run moves");
    let stopped = |view: &Arc<RunView>| view.state == RunState::Stopped;
    views.wait_for(stopped).await.expect("the engine says stopped");
    let to_stopped = ordered.elapsed();
    assert_eq!(engine.finished().await.expect("the journal appends"), Outcome::Stopped);
    let last = *last_write.lock().expect("no writer panics");
    ledger.close().await;
    (last.saturating_duration_since(ordered), to_stopped)
}
