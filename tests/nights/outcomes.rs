//! The scenarios, each to its end.

use crate::{
    reader::{assert_back_as_before, assert_everything_arrived, lost_on_the_new_side},
    stage::{Night, finished, scenario},
};
use cutover::{
    engine::Start,
    model::{Outcome, Phase, PhaseState},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_calm_night_moves_every_row_and_byte_and_loses_no_write() {
    let night = Night::new(scenario("calm")).await;
    let (outcome, view) = finished(night.start(Start::New, true, false).await).await;
    assert_eq!(outcome, Outcome::Completed, "{}", view.reason);
    for phase in Phase::ALL {
        assert_eq!(view.phase(phase).state, PhaseState::Done, "{phase}");
        assert!(!view.phase(phase).steps.is_empty(), "{phase} has work to do");
    }
    for lane in &view.lanes {
        assert_eq!(lane.tally.items(), lane.tally.ended(), "{}: every item ends accounted for", lane.lane);
        assert_eq!(lane.tally.failed, 0, "{}", lane.lane);
    }
    assert_everything_arrived(&night.places).await;
    let lost = lost_on_the_new_side(&night.places).await;
    assert!(lost.is_empty(), "{lost:#?}");
    night.over().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flaky_night_still_moves_every_row_and_byte() {
    let night = Night::new(scenario("flaky")).await;
    let (outcome, view) = finished(night.start(Start::New, true, false).await).await;
    assert_eq!(outcome, Outcome::Completed, "{}", view.reason);
    assert_everything_arrived(&night.places).await;
    let lost = lost_on_the_new_side(&night.places).await;
    assert!(lost.is_empty(), "{lost:#?}");
    night.over().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_spike_after_the_switch_rolls_back_by_itself_and_loses_nothing() {
    let night = Night::new(scenario("error-spike")).await;
    let (outcome, view) = finished(night.start(Start::New, true, false).await).await;
    assert_eq!(outcome, Outcome::RolledBack, "{}", view.reason);
    assert!(view.rollback.as_ref().is_some_and(|rollback| rollback.automatic));
    assert_back_as_before(&night.places, &night.before, &night.objects_before).await;
    night.over().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_changed_on_both_sides_are_settled_and_accounted_for() {
    let night = Night::new(scenario("conflicts")).await;
    let (outcome, view) = finished(night.start(Start::New, true, false).await).await;
    assert_eq!(outcome, Outcome::Completed, "{}", view.reason);
    let lost = lost_on_the_new_side(&night.places).await;
    assert!(lost.is_empty(), "{lost:#?}");
    for lane in &view.lanes {
        assert_eq!(lane.tally.items(), lane.tally.ended(), "{}", lane.lane);
    }
    night.over().await;
}
