//! A rollback started in every phase.

use crate::{
    reader::assert_back_as_before,
    stage::{Night, finished, inside, order, scenario},
};
use cutover::{
    command::Command,
    engine::Start,
    model::{Outcome, Phase},
};

async fn rolled_back_in(phase: Phase) {
    let night = Night::new(scenario("calm")).await;
    let running = night.start(Start::New, true, true).await;
    let handle = running.engine.handle.clone();
    inside(&handle, phase).await;
    order(&handle, Command::Rollback { reason: format!("drill in {phase}") }).await;
    let (outcome, view) = finished(running).await;
    assert_eq!(outcome, Outcome::RolledBack, "{}", view.reason);
    assert_eq!(view.rollback.as_ref().map(|rollback| rollback.done.len()), Some(5), "five named stages");
    assert_back_as_before(&night.places, &night.before, &night.objects_before).await;
    night.over().await;
}

macro_rules! in_phase {
    ($($name:ident => $phase:ident),* $(,)?) => {$(
        #[tokio::test(flavor = "multi_thread")]
        async fn $name() {
            rolled_back_in(Phase::$phase).await;
        }
    )*};
}

// Past the commit, in the cleanup, there is no rollback; `stop` proves that it is refused.
in_phase! {
    rolled_back_in_preparation => Preparation,
    rolled_back_in_validation => Validation,
    rolled_back_in_maintenance => Maintenance,
    rolled_back_in_data_migration => DataMigration,
    rolled_back_in_deployment => Deployment,
    rolled_back_in_dns_cutover => DnsCutover,
    rolled_back_in_post_validation => PostValidation,
    rolled_back_in_monitoring => Monitoring,
}
