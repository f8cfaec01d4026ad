//! Follow mode as steps: everything copied ahead at the end of the validation, what changes carried until the data migration
//! begins, and the drain as its first step; and what the gates between them are shown of it.
//!
//! The step that copies ahead is also the one whose undo takes everything back, for whatever was carried since belongs to it.
//! The lanes' own steps come after the drain, find little left to do, and prove that both sides are the same; their undo
//! comes first in a rollback. Neighbours: `migrate::follow` does the work, the engine calls the rounds.

use crate::{
    engine::{Checked, Follower, Step, StepContext, StepDone, decide, view::RunView},
    error::Result,
    event::UndoNote,
    migrate::follow::{self, Standing},
    model::{Between, Check, Follow, LaneId, Mode, Phase, StepId, StepState, Timestamp, Verdict},
    phases::{
        Entry,
        examine::{Examine, verdict},
        id,
    },
    plan::{FollowPlan, Plan, duration},
};
use async_trait::async_trait;
use serde_json::json;
use std::{sync::Arc, time::Duration};

/// The step that copies ahead.
const AHEAD: &str = "copy-ahead";
/// The step that ends the following.
const DRAIN: &str = "drain";

/// The step at the end of the validation.
pub(super) fn ahead(plan: &Plan) -> Option<Entry> {
    follows(plan).map(|_| Entry::acts(CopyAhead))
}

/// The first step of the data migration.
pub(super) fn drain(plan: &Plan) -> Option<Entry> {
    follows(plan).map(|_| {
        let title = "Drain: carry what changed last";
        Entry::acts(Examine::new(Phase::DataMigration, DRAIN, title, |cx| Box::pin(follow::drain(cx))))
    })
}

/// What goes on between them.
pub(super) fn follower(plan: &Plan) -> Option<Arc<dyn Follower>> {
    follows(plan).map(|plan| Arc::new(Rounds(plan)) as Arc<dyn Follower>)
}

fn follows(plan: &Plan) -> Option<FollowPlan> {
    plan.migration.follow.filter(|_| plan.moves_data())
}

struct CopyAhead;

#[async_trait]
impl Step for CopyAhead {
    fn id(&self) -> StepId {
        id(Phase::Validation, AHEAD)
    }

    fn title(&self) -> String {
        "Copy ahead, while the source is in use".into()
    }

    /// Always something to be done, as for a lane.
    async fn check(&self, cx: &StepContext) -> Result<Checked> {
        let lanes: Vec<LaneId> = cx.plan.lanes().into_iter().map(|(lane, _)| lane).collect();
        let intent = "copy everything ahead of the maintenance, then carry what changes until the drain";
        Ok(Checked::Needed { intent: intent.into(), undo: json!({ "lanes": lanes }) })
    }

    async fn apply(&self, cx: &StepContext) -> Result<StepDone> {
        follow::copy_ahead(cx).await
    }

    async fn undo(&self, cx: &StepContext, _note: &UndoNote) -> Result<StepDone> {
        follow::take_back(cx).await
    }
}

struct Rounds(FollowPlan);

#[async_trait]
impl Follower for Rounds {
    fn after(&self) -> StepId {
        id(Phase::Validation, AHEAD)
    }

    fn until(&self) -> Phase {
        Phase::DataMigration
    }

    fn every(&self) -> Duration {
        self.0.every
    }

    async fn round(&self, cx: &StepContext) -> Result<()> {
        follow::round(cx, self.0).await
    }
}

/// What a gate is shown while lanes follow; nothing before and after.
pub(super) async fn evidence(cx: &StepContext, view: &RunView, phase: Phase) -> Result<Vec<Check>> {
    let Some(plan) = follows(&cx.plan) else { return Ok(Vec::new()) };
    let ahead = view.step(&id(Phase::Validation, AHEAD));
    let copied = ahead.is_some_and(|step| step.state == StepState::Done);
    let drained = view.phase(Phase::DataMigration).started.is_some();
    if !copied || drained || phase > Phase::DataMigration || view.mode == Mode::DryRun {
        return Ok(Vec::new());
    }
    let now = Timestamp::now();
    let standing = follow::standing(cx).await?;
    let mut checks = vec![alert(view)];
    for lane in &standing {
        let tally = cx.work.tally(&lane.lane).await?;
        let allowed = cx.plan.may_fail(&lane.lane, Some(tally.items())).unwrap_or_default();
        checks.push(followed(lane, plan, (tally.failed, allowed), now));
    }
    checks.push(forecast(&standing, now));
    Ok(checks)
}

/// Nothing keeps the rounds from being finished.
fn alert(view: &RunView) -> Check {
    let open = view.alerts.iter().find(|alert| alert.source == decide::FOLLOWER && alert.cleared.is_none());
    let value = open.map_or("nothing in its way", |alert| alert.text.as_str());
    verdict("following", open.is_none(), value, "mend what it names: it is tried again by itself")
}

/// One lane: that nothing keeps it, that it keeps up, and how far it is behind.
fn followed(lane: &Standing, plan: FollowPlan, (failed, may_fail): (u64, u64), now: Timestamp) -> Check {
    let follow = &lane.follow;
    // A bucket is only listed as often as everything is swept.
    let every = if lane.listed { plan.sweep } else { plan.every };
    let patience = follow.patience(every);
    let (verdict, value, remedy) = judged(lane, patience, (failed, may_fail), now);
    let check = Check::new(format!("{} followed", lane.lane), verdict, value, now)
        .limit(format!("keeps up, at most {} behind, {may_fail} failed", short(patience)));
    if remedy.is_empty() { check } else { check.remedy(remedy) }
}

fn judged(
    lane: &Standing,
    patience: Duration,
    (failed, may_fail): (u64, u64),
    now: Timestamp,
) -> (Verdict, String, &'static str) {
    let follow = &lane.follow;
    let said = said(follow, now);
    if let Some(failing) = &follow.failing {
        let value = format!("failing for {}: {}", short(age(failing.since, now)), failing.why);
        return (Verdict::Fail, value, "mend what it names: it is tried again by itself");
    }
    if failed > may_fail {
        let remedy =
            "see `cutover deadletters` or `cutover files`, and mend the source or the plan: they are tried again";
        return (Verdict::Fail, format!("{failed} failed; {said}"), remedy);
    }
    if follow.keeps_up() == Some(false) {
        let remedy =
            "raise the concurrency, index the field that says when a record changed, or wait for a quieter hour";
        return (Verdict::Fail, format!("does not keep up: {said}"), remedy);
    }
    if follow.lag(now).is_some_and(|lag| lag > patience) {
        return (Verdict::Fail, format!("stands still: {said}"), "see in the log what the last pass waits for");
    }
    match follow.keeps_up() {
        None if lane.listed && !follow.passes.is_empty() => (Verdict::Pass, said, ""),
        None => (Verdict::Unknown, format!("not measured yet: {said}"), "wait for two passes"),
        Some(_) => (Verdict::Pass, said, ""),
    }
}

/// How far behind, how much changed, and whether that is less than what can be carried.
pub(super) fn said(follow: &Follow, now: Timestamp) -> String {
    let behind = follow.lag(now).map_or_else(|| "not begun".to_owned(), |lag| format!("{} behind", short(lag)));
    let records = follow.records().map_or_else(String::new, |records| format!(", {records} changed in the last pass"));
    let rates = match (follow.changes_per_s(), follow.carried_per_s()) {
        (Some(changes), Some(carried)) => format!(", {changes:.1}/s change and {carried:.1}/s can be carried"),
        _ => String::new(),
    };
    format!("{behind}{records}{rates}")
}

/// How long the drain will take, under maintenance.
fn forecast(standing: &[Standing], now: Timestamp) -> Check {
    let name = "drain forecast";
    match follow::forecast(standing, now) {
        Some(Between { low, high }) => {
            let value =
                format!("{:.1} to {:.1} s, then both sides are compared", low.as_secs_f64(), high.as_secs_f64());
            Check::new(name, Verdict::Pass, value, now)
        }
        None => Check::new(name, Verdict::Unknown, "passes and sweep are not measured yet", now)
            .remedy("wait until every lane was swept once"),
    }
}

fn age(then: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(then)).unwrap_or_default()
}

/// In whole seconds.
fn short(time: Duration) -> String {
    duration::format(Duration::from_secs(time.as_secs()))
}

#[cfg(test)]
#[path = "follow_tests.rs"]
mod tests;
