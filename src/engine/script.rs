//! What the engine is given to run: the phases' steps, and what else it asks of the phases.

use crate::{
    engine::{
        follower::Follower,
        step::{Step, StepContext, StepDone},
        view::RunView,
    },
    error::Result,
    model::{Check, Fact, LaneId, Mending, Phase},
};
use async_trait::async_trait;
use std::sync::Arc;

/// A phase's steps in order.
pub struct PhaseScript {
    /// Which phase.
    pub phase: Phase,
    /// Its steps; empty if the plan turned the phase off.
    pub steps: Vec<Arc<dyn Step>>,
}

/// Everything the engine runs. All nine phases in order.
pub struct Script {
    /// The phases.
    pub phases: Vec<PhaseScript>,
    /// What else the engine asks.
    pub surroundings: Arc<dyn Surroundings>,
    /// What goes on beside the steps, if anything does.
    pub follower: Option<Arc<dyn Follower>>,
}

/// What the engine asks of the phases besides running their steps. Each call ends by itself within seconds: a server
/// that does not answer is a check with `Unknown`, or a fact without `observed`.
#[async_trait]
pub trait Surroundings: Send + Sync {
    /// The evidence for going through the gate before `phase`: checks of the phases before it that still count (with
    /// the age they have), and what is measured anew. Never empty.
    async fn evidence(&self, cx: &StepContext, view: &RunView, phase: Phase) -> Vec<Check>;

    /// The truth line: for each aspect what the run intends at this point of `view`, and what the world says.
    async fn truth(&self, cx: &StepContext, view: &RunView) -> Vec<Fact>;

    /// The last stage of a rollback: proves that the legacy side does what users do.
    async fn legacy_validated(&self, cx: &StepContext) -> Result<StepDone>;

    /// Turns the maintenance on or off by hand and waits until that is observed.
    async fn turn_maintenance(&self, cx: &StepContext, on: bool) -> Result<()>;

    /// Does what a person orders about records of a lane; takes as long as that takes, and ends with `cx.signals.stop`. The
    /// summary says what came out. `live`: users work on the new side.
    async fn mend(&self, cx: &StepContext, lane: &LaneId, what: &Mending, live: bool) -> Result<StepDone>;
}
