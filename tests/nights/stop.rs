//! Emergency stops, followed by each way on.

use crate::{
    reader::{assert_back_as_before, assert_everything_arrived},
    stage::{Night, finished, inside, order, scenario, somebody, until},
};
use cutover::{
    command::Command,
    engine::Start,
    model::{Outcome, Phase, RunState},
};

async fn stopped_in(phase: Phase, night: &Night) -> cutover::wiring::Running {
    let running = night.start(Start::New, true, true).await;
    let handle = running.engine.handle.clone();
    inside(&handle, phase).await;
    order(&handle, Command::EmergencyStop { reason: "drill".into() }).await;
    until(&handle, "stopped", |view| view.state == RunState::Stopped).await;
    running
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_run_goes_on_to_the_same_end() {
    for phase in [Phase::DataMigration, Phase::DnsCutover] {
        let night = Night::new(scenario("calm")).await;
        let running = stopped_in(phase, &night).await;
        order(&running.engine.handle, Command::Resume).await;
        let (outcome, view) = finished(running).await;
        assert_eq!(outcome, Outcome::Completed, "{}", view.reason);
        assert_everything_arrived(&night.places).await;
        night.over().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_run_goes_back() {
    for phase in [Phase::DataMigration, Phase::Monitoring] {
        let night = Night::new(scenario("calm")).await;
        let running = stopped_in(phase, &night).await;
        order(&running.engine.handle, Command::Rollback { reason: "drill".into() }).await;
        let (outcome, view) = finished(running).await;
        assert_eq!(outcome, Outcome::RolledBack, "{}", view.reason);
        assert_back_as_before(&night.places, &night.before, &night.objects_before).await;
        night.over().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn past_the_commit_nothing_stops_or_turns_back() {
    let night = Night::new(scenario("calm")).await;
    let running = night.start(Start::New, true, true).await;
    let handle = running.engine.handle.clone();
    until(&handle, "the commit", |view| view.committed.is_some()).await;
    let refused = handle.order(somebody(), Command::Rollback { reason: "too late".into() }).await;
    assert!(refused.is_err(), "{refused:?}");
    let (outcome, _) = finished(running).await;
    assert_eq!(outcome, Outcome::Completed);
    assert_everything_arrived(&night.places).await;
    night.over().await;
}
