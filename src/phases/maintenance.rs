//! Phase 3, maintenance: users are told, then read-only, then writes are refused — and really are.
//!
//! Going back turns the switch to where it was observed before. Must never enter: what the switch is made of.

use crate::{
    engine::{StepContext, StepDone},
    error::Result,
    model::{Check, Phase, Timestamp, Verdict},
    phases::{
        Entry,
        examine::{Examine, judge, verdict},
        gather::patiently,
        preparation, probing,
        turn::{Goal, Turn},
    },
    plan::{Plan, ProbeUse, SwitchPlan},
    ports::{Measurement, SetRef},
};
use serde_json::json;
use std::{collections::BTreeMap, time::Duration};

/// The switch.
pub(super) const SWITCH: &str = "maintenance";
/// Reads go on, writes are refused in a friendly way.
pub(super) const READ_ONLY: &str = "read-only";
/// Nobody writes.
pub(super) const ON: &str = "on";
/// As every day.
pub(super) const OFF: &str = "off";
/// Longest wait until the legacy side shows it.
pub(super) const PATIENCE: Duration = Duration::from_mins(1);

const PHASE: Phase = Phase::Maintenance;

/// The steps the plan gives cause for.
pub(super) fn steps(plan: &Plan) -> Vec<Entry> {
    let mut steps = Vec::new();
    if plan.announcement().is_some() {
        steps.push(Entry::acts(Examine::new(PHASE, "announce", "Tell the users", |cx| Box::pin(announce(cx)))));
    }
    if let Some(switch) = &plan.maintenance {
        if has(switch, READ_ONLY) {
            let turn = (SWITCH, Goal::AtLeast(READ_ONLY));
            steps.push(Entry::acts(Turn::new(PHASE, "read-only", "Make the legacy side read-only", turn, PATIENCE)));
        }
        let turn = (SWITCH, Goal::At(ON));
        steps.push(Entry::acts(Turn::new(PHASE, "on", "Turn the maintenance on", turn, PATIENCE)));
    }
    if probing::any(plan, ProbeUse::WriteRefused) {
        steps.push(Entry::acts(Examine::new(PHASE, "writes-refused", "See a write refused", |cx| {
            Box::pin(writes_refused(cx))
        })));
    }
    if plan.maintenance.is_some() && !plan.datasets.is_empty() {
        steps.push(Entry::acts(Examine::new(PHASE, "counts", "Count once more, now that nobody writes", |cx| {
            Box::pin(counts(cx))
        })));
    }
    steps
}

/// What a rollback must find again at least. Counted anew, since users wrote and deleted until now.
async fn counts(cx: &StepContext) -> Result<StepDone> {
    let counts = preparation::count_legacy(cx).await?;
    let lines: Vec<String> =
        cx.plan.datasets.iter().zip(counts).map(|(dataset, count)| format!("{} {count}", dataset.name)).collect();
    Ok(StepDone::new(lines.join(", ")))
}

/// True if the switch knows this position.
pub(super) fn has(switch: &SwitchPlan, position: &str) -> bool {
    match switch {
        SwitchPlan::Http { turn, .. } => turn.iter().any(|(name, _)| name == position),
        SwitchPlan::Command { turn, .. } => turn.iter().any(|(name, _)| name == position),
    }
}

/// Tells once: a run that is resumed does not tell again.
async fn announce(cx: &StepContext) -> Result<StepDone> {
    if let Some(at) = cx.work.noted("announced").await? {
        return Ok(StepDone::new(format!("told at {}", at.as_str().unwrap_or("an earlier time"))));
    }
    let Some(flow) = cx.plan.announcement() else { return Ok(StepDone::new("nobody is to be told")) };
    let check = probing::passed(cx, &flow, &probing::measure(cx, &flow, &BTreeMap::new()).await)?;
    let done = judge("tell the users", format!("told {}", cx.plan.announce.len()), vec![check])?;
    cx.work.note("announced", &json!(Timestamp::now())).await?;
    Ok(done)
}

/// A write must be refused, by a side that is alive: a dead server refuses everything and proves nothing.
async fn writes_refused(cx: &StepContext) -> Result<StepDone> {
    let mut checks: Vec<Check> = alive(cx).await.into_iter().collect();
    for probe in probing::of_use(&cx.plan, ProbeUse::WriteRefused) {
        cx.signals.breathe().await?;
        let result = probing::measure(cx, probe, &BTreeMap::new()).await;
        let result = match result {
            Err(_) if cx.signals.stop.is_cancelled() => return result.map(|_| StepDone::default()),
            result => result,
        };
        checks.push(refused(&probe.name, &result).stale_after(cx.plan.rollback.evidence_max_age));
    }
    if checks.iter().any(|check| check.verdict != Verdict::Pass) {
        return Err(crate::engine::Unmet::fault("see every write refused", checks));
    }
    Ok(StepDone::new("writes are refused").checks(checks))
}

/// What the answer to a write says about its being refused.
pub(super) fn refused(probe: &str, result: &Result<Measurement>) -> Check {
    let name = format!("{probe} refused");
    match result {
        Ok(measured) => match measured.verdict {
            Verdict::Fail => Check::new(name, Verdict::Pass, &measured.detail, measured.at),
            Verdict::Pass => Check::new(name, Verdict::Fail, "the write went through", measured.at)
                .remedy("the maintenance does not hold this write: look at the legacy side, then retry"),
            Verdict::Unknown => Check::new(name, Verdict::Unknown, &measured.detail, measured.at)
                .remedy("the probe cannot tell: let it expect the status of a successful write"),
        },
        Err(fault) => Check::new(name, Verdict::Unknown, fault.chain(), Timestamp::now()).remedy(fault.kind.remedy()),
    }
}

/// The check that the legacy side answers at all; none without a dataset to ask for.
async fn alive(cx: &StepContext) -> Option<Check> {
    let name = "legacy still answers";
    let dataset = cx.plan.datasets.first()?;
    let set = SetRef { name: dataset.from.name.clone(), key: dataset.key.clone(), updated: dataset.updated.clone() };
    let ask = || async { cx.ports.store(&dataset.from.store)?.describe(&set).await };
    Some(match patiently(cx, "ask the legacy side", ask).await {
        Ok(_) => verdict(name, true, format!("{} answers", dataset.from.store), ""),
        Err(fault) => verdict(name, false, fault.chain(), fault.kind.remedy()),
    })
}
