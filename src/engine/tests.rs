//! The loop with real tasks: scripted steps on a small world, a journal that can fail, engines that die and are followed.

use crate::{
    command::Command,
    engine::{
        Checked, Engine, Follower, Parts, PhaseScript, Script, Start, Step, StepContext, StepDone, Surroundings, fold,
        start, view::RunView,
    },
    error::{Fault, FaultKind, Result},
    event::{Event, UndoNote},
    model::{
        Actor, Check, Fact, LaneId, Mending, Mode, Outcome, PauseDepth, Phase, RunId, RunState, StepId, Timestamp,
        Verdict, Via,
    },
    plan::Plan,
    ports::{
        Journal, Ports, RunSummary,
        fakes::{self, FakeWork, Trouble},
    },
};
use async_trait::async_trait;
use serde_json::json;
use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

/// What the steps act on: the set of things turned on.
#[derive(Default)]
struct World {
    on: Mutex<BTreeSet<StepId>>,
    writes: AtomicU64,
    hang: AtomicBool,
    fail: Mutex<Option<StepId>>,
}

struct Turn {
    id: StepId,
    world: Arc<World>,
}

#[async_trait]
impl Step for Turn {
    fn id(&self) -> StepId {
        self.id.clone()
    }
    fn title(&self) -> String {
        "turns a thing on".into()
    }
    async fn check(&self, _cx: &StepContext) -> Result<Checked> {
        if self.world.on.lock().unwrap().contains(&self.id) {
            return Ok(Checked::Already(StepDone::new("was on already")));
        }
        Ok(Checked::Needed { intent: "turn it on".into(), undo: json!("off") })
    }
    async fn apply(&self, cx: &StepContext) -> Result<StepDone> {
        if self.world.fail.lock().unwrap().as_ref() == Some(&self.id) {
            return Err(Fault::new(FaultKind::Unmet, "turn it on"));
        }
        for _ in 0..3 {
            cx.signals.breathe().await?;
            tokio::task::yield_now().await;
        }
        if self.world.hang.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        self.world.on.lock().unwrap().insert(self.id.clone());
        self.world.writes.fetch_add(1, Ordering::SeqCst);
        Ok(StepDone::new("on"))
    }
    async fn undo(&self, _cx: &StepContext, note: &UndoNote) -> Result<StepDone> {
        assert_eq!(note, &json!("off"));
        tokio::task::yield_now().await;
        self.world.on.lock().unwrap().remove(&self.id);
        Ok(StepDone::new("off again"))
    }
}

struct Calm {
    verdict: Mutex<Verdict>,
}

#[async_trait]
impl Surroundings for Calm {
    async fn evidence(&self, _cx: &StepContext, _view: &RunView, _phase: Phase) -> Vec<Check> {
        vec![Check::new("rows equal", *self.verdict.lock().unwrap(), "1 of 1", Timestamp::now())]
    }
    async fn truth(&self, _cx: &StepContext, _view: &RunView) -> Vec<Fact> {
        Vec::new()
    }
    async fn legacy_validated(&self, _cx: &StepContext) -> Result<StepDone> {
        Ok(StepDone::new("legacy works"))
    }
    async fn turn_maintenance(&self, _cx: &StepContext, _on: bool) -> Result<()> {
        Ok(())
    }
    async fn mend(&self, _cx: &StepContext, _lane: &LaneId, _what: &Mending, _live: bool) -> Result<StepDone> {
        Ok(StepDone::new("mended"))
    }
}

/// A journal in memory that stops appending after so many events, like a process that is killed there.
#[derive(Default)]
pub(super) struct Memory {
    events: Mutex<Vec<Event>>,
    pub(super) room: Mutex<Option<usize>>,
}

#[async_trait]
impl Journal for Memory {
    async fn append(&self, _run: &RunId, events: &[Event]) -> Result<()> {
        let mut kept = self.events.lock().unwrap();
        for event in events {
            assert_eq!(event.seq, kept.len() as u64 + 1, "no gap");
            if self.room.lock().unwrap().is_some_and(|room| kept.len() >= room) {
                return Err(Fault::new(FaultKind::Ledger, "append to the journal").detail("no space left"));
            }
            kept.push(event.clone());
        }
        Ok(())
    }
    async fn load(&self, _run: &RunId) -> Result<Vec<Event>> {
        Ok(self.events.lock().unwrap().clone())
    }
    async fn runs(&self) -> Result<Vec<RunSummary>> {
        Ok(Vec::new())
    }
}

pub(super) struct Night {
    world: Arc<World>,
    pub(super) journal: Arc<Memory>,
    calm: Arc<Calm>,
    plan: Arc<Plan>,
    pub(super) follower: Option<Arc<dyn Follower>>,
}

impl Night {
    pub(super) fn new() -> Self {
        let mut plan = fakes::plan(Vec::new());
        for phase in [Phase::Maintenance, Phase::Cleanup] {
            plan.phases.get_mut(&phase).unwrap().gate = true;
        }
        plan.rollback.on_failure = true;
        Self {
            world: Arc::default(),
            journal: Arc::default(),
            calm: Arc::new(Calm { verdict: Mutex::new(Verdict::Pass) }),
            plan: Arc::new(plan),
            follower: None,
        }
    }

    pub(super) async fn start(&self, how: Start, approve_all: bool, hold: bool) -> Result<Engine> {
        let phases = Phase::ALL.map(|phase| PhaseScript {
            phase,
            steps: (1..=2)
                .map(|n| {
                    let id = StepId::new(format!("{}/{n}", phase.name()));
                    Arc::new(Turn { id, world: self.world.clone() }) as Arc<dyn Step>
                })
                .collect(),
        });
        start(Parts {
            plan: self.plan.clone(),
            mode: Mode::Rehearsal,
            run: RunId::new("r"),
            script: Script { phases: phases.into(), surroundings: self.calm.clone(), follower: self.follower.clone() },
            ports: Ports::default(),
            journal: self.journal.clone(),
            work: FakeWork::new(&Trouble::none()),
            folder: std::env::temp_dir(),
            by: somebody(),
            start: how,
            approve_all,
            hold,
        })
        .await
    }
}

pub(super) fn somebody() -> Actor {
    Actor { name: "ada".into(), via: Via::Console }
}

pub(super) async fn until(engine: &Engine, what: &str, holds: impl Fn(&RunView) -> bool) -> Arc<RunView> {
    let mut views = engine.handle.watch();
    let waited = tokio::time::timeout(std::time::Duration::from_secs(20), views.wait_for(|view| holds(view))).await;
    let state = engine.handle.view().state;
    waited.unwrap_or_else(|_| panic!("never saw: {what}; the run is {state}")).unwrap().clone()
}

#[tokio::test]
async fn an_unattended_run_completes_and_its_journal_tells_all_of_it() {
    let night = Night::new();
    let engine = night.start(Start::New, true, false).await.unwrap();
    let handle = engine.handle.clone();
    assert_eq!(engine.finished().await.unwrap(), Outcome::Completed);
    assert_eq!(night.world.on.lock().unwrap().len(), 18);
    let view = handle.view();
    let folded = fold::fold(&night.journal.load(&RunId::new("r")).await.unwrap()).unwrap();
    assert_eq!((folded.state, folded.seq), (RunState::Completed, view.seq));
}

#[tokio::test]
async fn an_engine_killed_after_any_event_is_followed_to_the_same_end() {
    let mut room = 1;
    loop {
        let night = Night::new();
        *night.journal.room.lock().unwrap() = Some(room);
        let ended = night.start(Start::New, true, false).await.unwrap().finished().await;
        *night.journal.room.lock().unwrap() = None;
        if ended.is_ok() {
            assert!(room > 70, "the whole run was killed through");
            return;
        }
        assert_eq!(ended.unwrap_err().kind, FaultKind::Ledger);
        let on_before = night.world.on.lock().unwrap().len();
        let engine = night.start(Start::Resume, true, false).await.unwrap();
        assert_eq!(engine.finished().await.unwrap(), Outcome::Completed, "killed after event {room}");
        assert_eq!(night.world.on.lock().unwrap().len(), 18, "killed after event {room}, {on_before} were on");
        assert_eq!(night.world.writes.load(Ordering::SeqCst), 18, "nothing was done twice");
        room += 1;
    }
}

#[tokio::test]
async fn an_engine_killed_after_any_event_can_be_rolled_back_to_the_start() {
    for room in (2..70).step_by(3) {
        let night = Night::new();
        *night.journal.room.lock().unwrap() = Some(room);
        let died = night.start(Start::New, true, false).await.unwrap().finished().await;
        assert!(died.is_err());
        *night.journal.room.lock().unwrap() = None;
        let engine = match night.start(Start::Rollback { reason: "drill".into() }, true, false).await {
            Ok(engine) => engine,
            Err(fault) => {
                let view = fold::fold(&night.journal.load(&RunId::new("r")).await.unwrap()).unwrap();
                assert!(view.committed.is_some(), "only the commit forbids it: {}", fault.chain());
                continue;
            }
        };
        assert_eq!(engine.finished().await.unwrap(), Outcome::RolledBack, "killed after event {room}");
        assert!(night.world.on.lock().unwrap().is_empty(), "killed after event {room}");
    }
}

#[tokio::test]
async fn an_emergency_stop_cuts_work_that_hangs_and_the_run_can_go_on() {
    let night = Night::new();
    night.world.hang.store(true, Ordering::SeqCst);
    let engine = night.start(Start::New, true, true).await.unwrap();
    until(&engine, "a step under way", |view| !view.undo.is_empty()).await;
    engine.handle.order(somebody(), Command::EmergencyStop { reason: "drill".into() }).await.unwrap();
    let view = until(&engine, "stopped", |view| view.state == RunState::Stopped).await;
    assert!(view.reason.contains("ada"), "{}", view.reason);
    night.world.hang.store(false, Ordering::SeqCst);
    engine.handle.order(somebody(), Command::Resume).await.unwrap();
    assert_eq!(engine.finished().await.unwrap(), Outcome::Completed);
}

#[tokio::test]
async fn an_emergency_stop_can_be_rolled_back() {
    let night = Night::new();
    let engine = night.start(Start::New, false, true).await.unwrap();
    until(&engine, "the gate", |view| view.state == RunState::AtGate).await;
    engine.handle.order(somebody(), Command::EmergencyStop { reason: "drill".into() }).await.unwrap();
    until(&engine, "stopped", |view| view.state == RunState::Stopped).await;
    engine.handle.order(somebody(), Command::Rollback { reason: "drill".into() }).await.unwrap();
    assert_eq!(engine.finished().await.unwrap(), Outcome::RolledBack);
    assert!(night.world.on.lock().unwrap().is_empty());
}

#[tokio::test]
async fn pausing_is_not_paused_and_each_depth_ends_in_paused() {
    for depth in [PauseDepth::AfterStep, PauseDepth::AfterBatch, PauseDepth::Now] {
        let night = Night::new();
        let engine = night.start(Start::New, true, true).await.unwrap();
        let pause = Command::Pause { depth, reason: "look".into() };
        engine.handle.order(somebody(), pause).await.unwrap();
        let view = until(&engine, "paused", |view| view.state == RunState::Paused).await;
        assert!(view.reason.contains("look"), "{depth:?}: {}", view.reason);
        engine.handle.order(somebody(), Command::Resume).await.unwrap();
        assert_eq!(engine.finished().await.unwrap(), Outcome::Completed, "{depth:?}");
        assert_eq!(night.world.on.lock().unwrap().len(), 18);
    }
}

#[tokio::test]
async fn a_gate_stays_closed_until_its_evidence_passes_and_a_no_go_pauses() {
    let night = Night::new();
    *night.calm.verdict.lock().unwrap() = Verdict::Unknown;
    let engine = night.start(Start::New, false, true).await.unwrap();
    let measured = |view: &RunView| view.gate.as_ref().is_some_and(|gate| !gate.checks.is_empty());
    until(&engine, "evidence", measured).await;
    let go = Command::Approve { phase: Phase::Maintenance, waive: Vec::new() };
    let refusal = engine.handle.order(somebody(), go.clone()).await.unwrap_err();
    assert!(refusal.why.contains("not known"), "{refusal:?}");
    let no_go = Command::Refuse { phase: Phase::Maintenance, reason: "not tonight".into() };
    engine.handle.order(somebody(), no_go).await.unwrap();
    until(&engine, "paused", |view| view.state == RunState::Paused).await;
    *night.calm.verdict.lock().unwrap() = Verdict::Pass;
    engine.handle.order(somebody(), Command::Resume).await.unwrap();
    until(&engine, "fresh evidence", |view| {
        view.gate.as_ref().is_some_and(|gate| gate.checks.iter().any(|check| check.verdict == Verdict::Pass))
    })
    .await;
    engine.handle.order(somebody(), go).await.unwrap();
    until(&engine, "the next phase", |view| view.phase(Phase::Maintenance).started.is_some()).await;
}

#[tokio::test]
async fn a_failed_step_rolls_back_by_itself_after_the_veto() {
    let night = Night::new();
    *night.world.fail.lock().unwrap() = Some(StepId::new("deployment/2"));
    let engine = night.start(Start::New, true, false).await.unwrap();
    let handle = engine.handle.clone();
    assert_eq!(engine.finished().await.unwrap(), Outcome::RolledBack);
    assert!(handle.view().rollback.as_ref().is_some_and(|rollback| rollback.automatic));
    assert!(night.world.on.lock().unwrap().is_empty());
}
