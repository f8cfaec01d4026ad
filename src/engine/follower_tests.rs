//! What goes on beside the steps: when it is at work, how it leaves, and that nobody meets it afterwards.

use super::{
    follower::{Follower, may_finish, wanted},
    tests::{Night, somebody, until},
};
use crate::{
    command::Command,
    engine::{Engine, Start, StepContext, decide, view::RunView},
    error::{Fault, FaultKind, Result},
    model::{Outcome, PauseDepth, Phase, RunState, StepId, StepState},
};
use async_trait::async_trait;
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::sync::watch;

const LONG: Duration = Duration::from_secs(20);

/// Counts its rounds, and can fail or hang in them.
#[derive(Default)]
struct Counts {
    rounds: watch::Sender<u32>,
    busy: AtomicBool,
    fail: AtomicBool,
    hang: AtomicBool,
    panic: AtomicBool,
}

/// Says when a round is left, however it is.
struct Busy<'a>(&'a AtomicBool);

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::SeqCst);
    }
}

#[async_trait]
impl Follower for Counts {
    fn after(&self) -> StepId {
        StepId::new("validation/2")
    }
    fn until(&self) -> Phase {
        Phase::DataMigration
    }
    fn every(&self) -> Duration {
        Duration::from_millis(1)
    }
    async fn round(&self, cx: &StepContext) -> Result<()> {
        self.busy.store(true, Ordering::SeqCst);
        let _busy = Busy(&self.busy);
        self.rounds.send_modify(|rounds| *rounds += 1);
        assert!(!self.panic.load(Ordering::SeqCst), "as ordered");
        if self.hang.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        for _ in 0..3 {
            cx.signals.breathe().await?;
            tokio::task::yield_now().await;
        }
        if self.fail.load(Ordering::SeqCst) {
            Err(Fault::new(FaultKind::Unreachable, "ask the source"))
        } else {
            Ok(())
        }
    }
}

impl Counts {
    fn rounds(&self) -> u32 {
        *self.rounds.borrow()
    }

    /// Waits until so many more rounds have begun.
    async fn goes_on(&self, rounds: u32) {
        let all = self.rounds() + rounds;
        let mut began = self.rounds.subscribe();
        tokio::time::timeout(LONG, began.wait_for(|rounds| *rounds >= all))
            .await
            .expect("it goes round")
            .expect("it lives");
    }

    fn assert_left(&self) {
        assert!(!self.busy.load(Ordering::SeqCst), "it is still at work");
    }
}

fn night() -> (Night, Arc<Counts>) {
    let counts = Arc::new(Counts::default());
    let mut night = Night::new();
    night.follower = Some(counts.clone());
    (night, counts)
}

fn at_gate(view: &RunView) -> bool {
    view.state == RunState::AtGate && view.gate.as_ref().is_some_and(|gate| gate.phase == Phase::Maintenance)
}

/// Go at this gate, once its evidence is there.
async fn go(engine: &Engine, phase: Phase) {
    let measured =
        |view: &RunView| view.gate.as_ref().is_some_and(|gate| gate.phase == phase && !gate.checks.is_empty());
    until(engine, "evidence", measured).await;
    engine.handle.order(somebody(), Command::Approve { phase, waive: Vec::new() }).await.unwrap();
}

#[tokio::test]
async fn it_goes_on_while_the_gate_waits_and_has_left_when_the_next_phase_begins() {
    let (night, counts) = night();
    let engine = night.start(Start::New, false, true).await.unwrap();
    until(&engine, "the gate", at_gate).await;
    counts.goes_on(3).await;
    go(&engine, Phase::Maintenance).await;
    let view = until(&engine, "the drain", |view| view.phase(Phase::DataMigration).started.is_some()).await;
    assert!(!wanted(&view, &counts.after(), counts.until()));
    until(&engine, "its first step", |view| {
        view.step(&StepId::new("data_migration/1")).is_some_and(|step| step.state != StepState::Pending)
    })
    .await;
    counts.assert_left();
    let rounds = counts.rounds();
    go(&engine, Phase::Cleanup).await;
    assert_eq!(engine.finished().await.unwrap(), Outcome::Completed);
    assert_eq!(counts.rounds(), rounds);
}

#[tokio::test]
async fn a_pause_waits_for_it_and_a_resume_sets_it_going_again() {
    for depth in [PauseDepth::AfterStep, PauseDepth::AfterBatch, PauseDepth::Now] {
        let (night, counts) = night();
        let engine = night.start(Start::New, false, true).await.unwrap();
        until(&engine, "the gate", at_gate).await;
        counts.goes_on(3).await;
        engine.handle.order(somebody(), Command::Pause { depth, reason: "look".into() }).await.unwrap();
        until(&engine, "paused", |view| view.state == RunState::Paused).await;
        counts.assert_left();
        let rounds = counts.rounds();
        engine.handle.order(somebody(), Command::Resume).await.unwrap();
        until(&engine, "the gate again", at_gate).await;
        counts.goes_on(3).await;
        assert!(counts.rounds() > rounds, "{depth:?}");
    }
}

#[tokio::test]
async fn an_emergency_stop_cuts_it_even_if_it_hangs() {
    let (night, counts) = night();
    counts.hang.store(true, Ordering::SeqCst);
    let engine = night.start(Start::New, false, true).await.unwrap();
    until(&engine, "the gate", at_gate).await;
    let mut began = counts.rounds.subscribe();
    tokio::time::timeout(LONG, began.wait_for(|rounds| *rounds > 0)).await.unwrap().unwrap();
    engine.handle.order(somebody(), Command::EmergencyStop { reason: "drill".into() }).await.unwrap();
    until(&engine, "stopped", |view| view.state == RunState::Stopped).await;
    counts.assert_left();
    counts.hang.store(false, Ordering::SeqCst);
    engine.handle.order(somebody(), Command::Resume).await.unwrap();
    counts.goes_on(3).await;
}

#[tokio::test]
async fn a_rollback_cuts_it_before_anything_is_undone() {
    let (night, counts) = night();
    let engine = night.start(Start::New, false, true).await.unwrap();
    until(&engine, "the gate", at_gate).await;
    counts.goes_on(3).await;
    engine.handle.order(somebody(), Command::Rollback { reason: "drill".into() }).await.unwrap();
    until(&engine, "an undo", |view| view.rollback.as_ref().is_some_and(|rollback| rollback.stage.is_some())).await;
    counts.assert_left();
    let rounds = counts.rounds();
    assert_eq!(engine.finished().await.unwrap(), Outcome::RolledBack);
    assert_eq!(counts.rounds(), rounds);
}

#[tokio::test]
async fn a_fault_is_heard_and_tried_again_until_it_is_mended() {
    let (night, counts) = night();
    counts.fail.store(true, Ordering::SeqCst);
    let engine = night.start(Start::New, false, true).await.unwrap();
    let open = |view: &RunView| {
        view.alerts.iter().filter(|alert| alert.source == decide::FOLLOWER && alert.cleared.is_none()).count()
    };
    let view = until(&engine, "the alert", |view| open(view) == 1).await;
    assert!(view.alerts.back().is_some_and(|alert| alert.text.contains("ask the source")), "{:?}", view.alerts);
    counts.goes_on(3).await;
    assert_eq!(open(&engine.handle.view()), 1, "once per onset");
    counts.fail.store(false, Ordering::SeqCst);
    until(&engine, "it is mended", |view| open(view) == 0).await;
    // A mistake in a round is a round that failed.
    counts.panic.store(true, Ordering::SeqCst);
    until(&engine, "the alert", |view| open(view) == 1).await;
    counts.panic.store(false, Ordering::SeqCst);
    until(&engine, "it is mended", |view| open(view) == 0).await;
}

#[tokio::test]
async fn an_engine_that_takes_the_run_over_goes_on_with_it() {
    let (night, counts) = night();
    let engine = night.start(Start::New, false, true).await.unwrap();
    let view = until(&engine, "the gate", at_gate).await;
    assert!(may_finish(&view) && wanted(&view, &counts.after(), counts.until()));
    *night.journal.room.lock().unwrap() = Some(0);
    // Nothing can be written down any more: the engine ends, and with it what it owns.
    let order = engine.handle.order(somebody(), Command::Pause { depth: PauseDepth::Now, reason: "x".into() });
    let _engine_gone = order.await;
    assert_eq!(engine.finished().await.unwrap_err().kind, FaultKind::Ledger);
    *night.journal.room.lock().unwrap() = None;
    let engine = night.start(Start::Resume, false, true).await.unwrap();
    until(&engine, "the gate", at_gate).await;
    counts.goes_on(3).await;
}
