//! What the engine asks besides running steps: evidence for a gate, the truth line, the last stage of a rollback, and the
//! maintenance turned and records mended by hand.

use crate::{
    engine::{StepContext, StepDone, Surroundings, view::RunView},
    error::{Fault, FaultKind, Result},
    migrate::records,
    model::{Check, Fact, LaneId, Mending, Phase, Timestamp},
    phases::{
        evidence::{self, Fresh},
        maintenance,
        report::LastView,
        rollback, truth,
        turn::turn_and_wait,
    },
    ports::Position,
};
use async_trait::async_trait;
use std::time::Duration;

/// Longest wait until the maintenance turned by hand is seen.
const PATIENCE: Duration = Duration::from_secs(20);

/// The answers for one plan.
pub(super) struct Around {
    last_view: LastView,
    fresh: Fresh,
}

impl Around {
    /// Leaves each view it is shown in `last_view`.
    pub(super) fn new(last_view: LastView) -> Self {
        Self { last_view, fresh: Fresh::default() }
    }
}

#[async_trait]
impl Surroundings for Around {
    async fn evidence(&self, cx: &StepContext, view: &RunView, phase: Phase) -> Vec<Check> {
        self.last_view.keep(view);
        evidence::measure(cx, view, phase, &self.fresh).await
    }

    async fn truth(&self, cx: &StepContext, view: &RunView) -> Vec<Fact> {
        self.last_view.keep(view);
        let seen = truth::look(cx).await;
        truth::facts(&cx.plan, view, &seen, Timestamp::now())
    }

    async fn legacy_validated(&self, cx: &StepContext) -> Result<StepDone> {
        rollback::legacy_validated(cx).await
    }

    async fn turn_maintenance(&self, cx: &StepContext, on: bool) -> Result<()> {
        let to = Position::new(if on { maintenance::ON } else { maintenance::OFF });
        turn_and_wait(cx, maintenance::SWITCH, &to, PATIENCE).await
    }

    async fn mend(&self, cx: &StepContext, lane: &LaneId, what: &Mending, live: bool) -> Result<StepDone> {
        let dataset = cx.plan.datasets.iter().find(|dataset| dataset.lane() == *lane);
        let dataset = dataset.ok_or_else(|| {
            Fault::new(FaultKind::Illegal, format!("mend records of {lane}")).detail("the plan has no such dataset")
        })?;
        records::mend(cx, dataset, what, live).await.map(StepDone::new)
    }
}
