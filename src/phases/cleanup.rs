//! Phase 9, cleanup: behind the commit. The legacy side is left so that nobody can write there unseen, what the run kept
//! for its way back is removed, and the report is written.
//!
//! The legacy maintenance is **not** turned off: a client with an old address would go on writing where nobody reads any
//! more, and nobody would notice. It ends at `read-only` if the switch knows that, so that late readers are still served,
//! otherwise it stays `on`. Nothing here is undone: the commit was the decision not to go back.

use crate::{
    engine::{StepContext, StepDone},
    error::Result,
    migrate::marker,
    model::Phase,
    phases::{
        Entry,
        examine::{Examine, count},
        maintenance,
        report::{self, LastView},
        turn::turn_and_wait,
    },
    plan::Plan,
    ports::Position,
};

const PHASE: Phase = Phase::Cleanup;

/// The steps the plan gives cause for.
pub(super) fn steps(plan: &Plan, last_view: &LastView) -> Vec<Entry> {
    let mut steps = Vec::new();
    if plan.maintenance.is_some() {
        steps.push(Entry::acts(Examine::new(PHASE, "legacy", "Leave the legacy side closed for writes", |cx| {
            Box::pin(close_legacy(cx))
        })));
    }
    if plan.moves_data() {
        steps.push(Entry::acts(Examine::new(PHASE, "leftovers", "Remove what was kept for the way back", |cx| {
            Box::pin(clear(cx))
        })));
    }
    let last_view = last_view.clone();
    steps.push(Entry::looks(Examine::new(PHASE, report::STEP, "Write the report", move |cx| {
        let last_view = last_view.clone();
        Box::pin(async move { report::write(cx, &last_view).await })
    })));
    steps
}

async fn close_legacy(cx: &StepContext) -> Result<StepDone> {
    let read_only = cx.plan.maintenance.as_ref().is_some_and(|switch| maintenance::has(switch, maintenance::READ_ONLY));
    let to = Position::new(if read_only { maintenance::READ_ONLY } else { maintenance::ON });
    turn_and_wait(cx, maintenance::SWITCH, &to, maintenance::PATIENCE).await?;
    Ok(StepDone::new(format!("the legacy side stays {to}: late clients must not write where nobody reads")))
}

async fn clear(cx: &StepContext) -> Result<StepDone> {
    let removed = marker::clear_aside(cx).await?;
    Ok(StepDone::new(format!("{} removed", count(removed, "object"))))
}
