//! Nights in which everything is copied while users and a job go on writing, and the maintenance only drains.

use crate::{
    reader::{assert_back_as_before, assert_everything_arrived, lost_on_the_new_side},
    stage::{Night, finished, inside, order, scenario, somebody, until},
};
use cutover::{
    command::Command,
    engine::{Handle, Start, view::RunView},
    model::{Outcome, Phase, RunState, StepId, StepState, Verdict},
};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use sqlx::{SqlitePool, sqlite::SqliteConnectOptions};
use std::{collections::BTreeSet, time::Duration};

/// Rows of every table that the world begins with.
const ROWS: i64 = 30;
/// The job writes so often: users have their turn too.
const RHYTHM: Duration = Duration::from_millis(10);

/// A job that writes to the legacy database behind the application's back, in every way there is, until the maintenance.
struct Job {
    pool: SqlitePool,
    random: StdRng,
    /// Filters that it deleted.
    gone: BTreeSet<i64>,
    writes: u32,
}

impl Job {
    async fn new(night: &Night) -> Self {
        let seed = std::env::var("CUTOVER_TEST_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(77);
        println!("seed of the job {seed} (CUTOVER_TEST_SEED)");
        let file = night.places.dir.join("legacy.db");
        let options = SqliteConnectOptions::new().filename(file).busy_timeout(Duration::from_secs(20));
        let pool = SqlitePool::connect_with(options).await.unwrap();
        Self { pool, random: StdRng::seed_from_u64(seed), gone: BTreeSet::new(), writes: 0 }
    }

    /// Begins with the copy: before it, a record is written onto itself to prove the way back.
    async fn run(mut self, handle: Handle) -> Self {
        until(&handle, "the copy ahead", |view| {
            view.step(&StepId::new("validation/copy-ahead")).is_some_and(|step| step.state == StepState::Intended)
        })
        .await;
        let mut rhythm = tokio::time::interval(RHYTHM);
        while handle.view().phase(Phase::Maintenance).started.is_none() && handle.view().outcome.is_none() {
            rhythm.tick().await;
            self.write().await;
        }
        self.pool.close().await;
        self
    }

    async fn write(&mut self) {
        let id = self.random.random_range(1..=ROWS);
        // Taken before the transaction may begin, as an application does: it is seen later than it says.
        let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S.%6fZ");
        let name = format!("job {:08x}", self.random.random::<u32>());
        let sql = match self.random.random_range(0..10) {
            0..=3 => format!("UPDATE users SET last_name = '{name}', updated_at = '{now}' WHERE id = {id}"),
            4..=5 => format!("UPDATE filters SET name = '{name}', updated_at = '{now}' WHERE id = {id}"),
            // A hand that sets no time.
            6..=7 => format!("UPDATE users SET first_name = '{name}' WHERE id = {id}"),
            8 => format!(
                "INSERT INTO filters (user_id, name, created_at, updated_at) VALUES ({id}, '{name}', '{now}', '{now}')"
            ),
            _ => {
                self.gone.insert(id);
                format!("DELETE FROM filters WHERE id = {id}")
            }
        };
        let mut tx = self.pool.begin_with("BEGIN IMMEDIATE").await.unwrap();
        sqlx::query(sqlx::AssertSqlSafe(sql)).execute(&mut *tx).await.unwrap();
        tx.commit().await.unwrap();
        self.writes += 1;
    }
}

/// Go, as soon as every check passes.
async fn go(handle: &Handle, phase: Phase) -> std::sync::Arc<RunView> {
    loop {
        let view = until(handle, "a gate that is go", |view| {
            let gate = view.gate.as_ref().filter(|gate| gate.phase == phase);
            gate.is_some_and(|gate| {
                !gate.checks.is_empty() && gate.checks.iter().all(|check| check.verdict == Verdict::Pass)
            })
        })
        .await;
        // What passed a moment ago may not pass any more.
        if handle.order(somebody(), Command::Approve { phase, waive: Vec::new() }).await.is_ok() {
            return view;
        }
    }
}

/// How often a lane has been passed over.
fn passes(view: &RunView, lane: &str) -> usize {
    let lane = view.lanes.iter().find(|known| known.lane.as_str() == lane);
    lane.and_then(|lane| lane.follow.as_ref()).map_or(0, |follow| follow.passes.len())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_writes_until_the_maintenance_loses_nothing() {
    let night = Night::new(scenario("follow")).await;
    let running = night.start(Start::New, false, true).await;
    let handle = running.engine.handle.clone();
    let job = tokio::spawn(Job::new(&night).await.run(handle.clone()));
    until(&handle, "rounds", |view| passes(view, "users") > 3).await;
    let view = go(&handle, Phase::Maintenance).await;
    let checks = &view.gate.as_ref().unwrap().checks;
    let said = |name: &str| checks.iter().find(|check| check.name == name).map(|check| check.value.clone()).unwrap();
    println!("{}\n{}", said("users followed"), said("drain forecast"));
    assert!(said("users followed").contains(" behind, "), "{}", said("users followed"));
    assert!(said("drain forecast").contains(" to "), "{}", said("drain forecast"));
    for phase in [Phase::DnsCutover, Phase::Cleanup] {
        go(&handle, phase).await;
    }
    let job = job.await.unwrap();
    let (outcome, view) = finished(running).await;
    assert_eq!(outcome, Outcome::Completed, "{}", view.reason);
    println!("{} writes of the job, {} deletions", job.writes, job.gone.len());
    assert!(job.writes > 50 && !job.gone.is_empty(), "a job that hardly writes proves nothing");
    let drained = view.step(&StepId::new("data_migration/drain")).unwrap();
    println!("{}", drained.note);
    assert_eq!(drained.state, StepState::Done);
    for lane in &view.lanes {
        assert_eq!(lane.tally.items(), lane.tally.ended(), "{}: every item ends accounted for", lane.lane);
        assert_eq!(lane.tally.failed, 0, "{}", lane.lane);
    }
    assert_everything_arrived(&night.places).await;
    let (legacy, new) = (night.places.legacy().await, night.places.new_side().await);
    for id in job.gone.iter().filter(|id| !legacy.0["filters"].contains_key(id)) {
        assert!(!new.0["filters"].contains_key(id), "filter {id} was deleted and still stands on the new side");
    }
    let lost = lost_on_the_new_side(&night.places).await;
    assert!(lost.is_empty(), "{lost:#?}");
    night.over().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_carried_ahead_goes_back_before_and_after_the_maintenance() {
    for phase in [Phase::Maintenance, Phase::DataMigration, Phase::Monitoring] {
        let night = Night::new(scenario("follow")).await;
        let running = night.start(Start::New, true, true).await;
        let handle = running.engine.handle.clone();
        match phase {
            // At the gate, after a few rounds.
            Phase::Maintenance => {
                until(&handle, "rounds", |view| passes(view, "users") > 1).await;
            }
            _ => inside(&handle, phase).await,
        }
        order(&handle, Command::Rollback { reason: format!("drill in {phase}") }).await;
        let (outcome, view) = finished(running).await;
        assert_eq!(outcome, Outcome::RolledBack, "{}", view.reason);
        assert_back_as_before(&night.places, &night.before, &night.objects_before).await;
        night.over().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_night_that_follows_is_paused_stopped_and_goes_on() {
    let night = Night::new(scenario("follow")).await;
    let running = night.start(Start::New, true, true).await;
    let handle = running.engine.handle.clone();
    until(&handle, "a round", |view| passes(view, "users") > 0).await;
    order(&handle, Command::EmergencyStop { reason: "drill".into() }).await;
    until(&handle, "stopped", |view| view.state == RunState::Stopped).await;
    order(&handle, Command::Resume).await;
    let (outcome, view) = finished(running).await;
    assert_eq!(outcome, Outcome::Completed, "{}", view.reason);
    assert_everything_arrived(&night.places).await;
    let lost = lost_on_the_new_side(&night.places).await;
    assert!(lost.is_empty(), "{lost:#?}");
    night.over().await;
}
