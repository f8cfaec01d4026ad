//! Phase 5, deployment: the new version goes to the colour nobody uses, proves itself there, and becomes the active one.
//!
//! The old colour keeps its version: going back is turning the switch. Which colour is which is decided once, from what
//! was active when the run first looked. Must never enter: what a deployment is made of.

use crate::{
    engine::{StepContext, StepDone},
    error::Result,
    model::Phase,
    phases::{
        Entry,
        examine::{Examine, judge},
        probing,
        turn::{Goal, Turn, colours},
    },
    plan::{Plan, ProbeUse},
};
use std::{collections::BTreeMap, time::Duration};

/// The switch whose position is the active colour.
pub(super) const SWITCH: &str = "deployment";
/// The switch whose position is the colour that got the new version.
pub(super) const RELEASE: &str = "release";

const PHASE: Phase = Phase::Deployment;
/// Longest wait for a version to be up.
const PATIENCE: Duration = Duration::from_mins(5);

/// The steps the plan gives cause for; none without a deployment switch, since then there are no colours.
pub(super) fn steps(plan: &Plan) -> Vec<Entry> {
    let mut steps = Vec::new();
    if plan.deployment.is_none() {
        return steps;
    }
    if plan.release.is_some() {
        let turn = (RELEASE, Goal::NewColour);
        steps.push(Entry::acts(Turn::new(PHASE, "release", "Deploy to the inactive colour", turn, PATIENCE)));
    }
    if probing::any(plan, ProbeUse::Inactive) {
        steps.push(Entry::acts(Examine::new(PHASE, "journeys", "Run the flows against the inactive colour", |cx| {
            Box::pin(journeys(cx))
        })));
    }
    let turn = (SWITCH, Goal::NewColour);
    steps.push(Entry::acts(Turn::new(PHASE, "activate", "Make the new colour active", turn, PATIENCE)));
    steps
}

async fn journeys(cx: &StepContext) -> Result<StepDone> {
    let colour = colours(cx).await?.new;
    let vars = BTreeMap::from([("colour".to_owned(), colour.0.clone())]);
    let (checks, _) = probing::all_pass(cx, probing::of_use(&cx.plan, ProbeUse::Inactive), &vars).await?;
    let summary = format!("{} passed on {colour}", checks.len());
    judge(&format!("run the flows against {colour}"), summary, checks)
}
