//! Follow mode: everything is copied before the maintenance, then what changes in the source is carried again and again
//! until the drain, which under maintenance is short.
//!
//! The shape is that of the tools that do this over a log (`VReplication`, gh-ost, `pgcopydb follow`): copy, catch up, drain,
//! prove. Here changes are asked for by their timestamps, so three things take the log's place: an overlap (a transaction is
//! seen after the time it wrote down), a sweep over everything that was carried (deletions, and changes without a new
//! timestamp), and the comparison of both sides after the drain, which trusts no timestamp at all.
//!
//! A round is one pass over every lane, parents before children, and a piece of a sweep, children before parents, so that
//! the target's foreign keys hold. Every part is idempotent and knows from the ledger where it is: a round that was cut is
//! begun again. Neighbours: `records::follow` and `files::follow` do one lane; the engine says when. Must never enter: when.

use super::{
    files::{self, FilesOf},
    lane::{Lane, Track},
    records::{
        self,
        follow::{FOLLOW, keep, kept},
        passes::Passed,
    },
    undo::{undo_files, undo_records, undo_set},
    verified::counted,
};
use crate::{
    engine::{StepContext, StepDone, Unmet},
    error::{Fault, Result},
    model::{Between, Check, Follow, Key, LaneId, LaneKind, LaneStage, Sweep, Timestamp, Verdict},
    plan::{DatasetPlan, FollowPlan},
};
use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

/// Longest wait of the drain for transactions that are open in the source.
const OPEN_FOR: Duration = Duration::from_mins(1);
/// How often it looks whether they have ended.
const LOOK_AGAIN: Duration = Duration::from_millis(200);
/// Passes of the drain over one lane before the rest is left to the lane's own step: somebody still writes.
const PASSES: u32 = 8;

/// Copies everything once, in the order in which lanes depend on each other, while the source is in use.
///
/// # Errors
/// As for a lane's copy. It can be called again and goes on.
pub async fn copy_ahead(cx: &StepContext) -> Result<StepDone> {
    let cx = &lenient(cx);
    let mut all = StepDone::default();
    for dataset in &cx.plan.datasets {
        begin(&Track::new(cx, dataset.lane(), LaneKind::Records, LaneStage::Copying)).await?;
        add(&mut all, records::copy(cx, dataset).await?);
        if dataset.blob.is_some() {
            begin(&Track::new(cx, dataset.blob_lane(), LaneKind::Files, LaneStage::Copying)).await?;
            add(&mut all, files::copy(cx, dataset).await?);
        }
    }
    for set in &cx.plan.file_sets {
        begin(&Track::new(cx, set.lane(), LaneKind::Files, LaneStage::Copying)).await?;
        add(&mut all, files::copy_set(cx, set).await?);
    }
    Ok(all)
}

/// Until the drain a record that fails is no verdict: it may have been deleted, or be about to be written, while its lane
/// looked. It is tried again, and the gate says how many there are; the lanes' own steps judge in the end.
fn lenient(cx: &StepContext) -> StepContext {
    let mut plan = (*cx.plan).clone();
    (plan.migration.max_failures, plan.migration.max_failed_share) = (u64::MAX, None);
    plan.migration.continue_on_error = true;
    plan.datasets.iter_mut().for_each(|dataset| dataset.continue_on_error = None);
    StepContext { plan: Arc::new(plan), ..cx.clone() }
}

/// Keeps when the copy of a lane began: what changed since then is what has to be carried.
async fn begin(lane: &Track<'_>) -> Result<()> {
    if kept(lane).await?.is_some() {
        return Ok(());
    }
    keep(lane, &Follow::from(Timestamp::now())).await
}

fn add(all: &mut StepDone, one: StepDone) {
    if !all.summary.is_empty() {
        all.summary.push_str("; ");
    }
    all.summary.push_str(&one.summary);
    all.checks.extend(one.checks);
}

/// One round. A lane that fails holds back only those that need it; the first fault is given at the end.
///
/// # Errors
/// The first fault; `Cancelled` at once when stopped.
pub async fn round(cx: &StepContext, plan: FollowPlan) -> Result<()> {
    let cx = &lenient(cx);
    let mut round = Round { cx, plan, failed: BTreeSet::new(), first: None };
    let began = Instant::now();
    let told = round.passes().await?;
    // Passes that take long must not starve the sweeps: these may take as long.
    let room = plan.every.max(began.elapsed());
    for (dataset, keys) in told.into_iter().rev() {
        let taken_back = records::follow::take_told_back(cx, dataset, keys).await;
        round.note(&dataset.name, taken_back)?;
    }
    round.sweeps(room).await?;
    round.first.map_or(Ok(()), Err)
}

struct Round<'a> {
    cx: &'a StepContext,
    plan: FollowPlan,
    /// Datasets and file sets that failed in this round, or need one that did.
    failed: BTreeSet<&'a str>,
    first: Option<Fault>,
}

impl<'a> Round<'a> {
    /// Notes a lane's fault; only a stop goes on.
    fn note<T>(&mut self, name: &'a str, result: Result<T>) -> Result<Option<T>> {
        match result {
            Ok(done) => Ok(Some(done)),
            Err(fault) if self.cx.signals.stop.is_cancelled() => Err(fault),
            Err(fault) => {
                self.failed.insert(name);
                self.first.get_or_insert(fault);
                Ok(None)
            }
        }
    }

    async fn passes(&mut self) -> Result<Vec<(&'a DatasetPlan, Vec<Key>)>> {
        let cx = self.cx;
        let mut told = Vec::new();
        for dataset in &cx.plan.datasets {
            if dataset.needs.iter().any(|needed| self.failed.contains(needed.as_str())) {
                self.failed.insert(&dataset.name);
                continue;
            }
            let passed = records::follow::pass(cx, dataset).await;
            let Some(Passed { told: keys, .. }) = self.note(&dataset.name, passed)? else { continue };
            told.push((dataset, keys));
            if dataset.blob.is_some() {
                let files = FilesOf::Dataset(dataset);
                let whole = self.is_due(&dataset.blob_lane(), Timestamp::now()).await?;
                let passed = files::follow::follow(cx, files, whole).await;
                self.note(&dataset.name, passed)?;
            }
        }
        for set in &cx.plan.file_sets {
            // A bucket can only be listed as a whole.
            if self.is_due(&set.lane(), Timestamp::now()).await? {
                let passed = files::follow::follow(cx, FilesOf::Set(set), true).await;
                self.note(&set.name, passed)?;
            }
        }
        Ok(told)
    }

    /// Sweeps for about as long as the round may then wait.
    async fn sweeps(&mut self, room: Duration) -> Result<()> {
        let began = Instant::now();
        for _ in &self.cx.plan.datasets {
            let Some(left) = room.checked_sub(began.elapsed()) else { break };
            let Some(dataset) = self.next_to_sweep(Timestamp::now()).await? else { break };
            let swept = records::follow::sweep(self.cx, dataset, Some(left)).await;
            if !matches!(self.note(&dataset.name, swept)?, Some(Some(_))) {
                // A parent whose child was not asked for yet may still be needed.
                break;
            }
        }
        Ok(())
    }

    /// Whose turn it is: a sweep that was begun goes on, then the lane that was swept longest ago, children before parents. So
    /// each has its turn, also where all of them take longer than the time between two sweeps.
    async fn next_to_sweep(&self, now: Timestamp) -> Result<Option<&'a DatasetPlan>> {
        let cx = self.cx;
        let mut turn: Option<(Option<Timestamp>, &'a DatasetPlan)> = None;
        for dataset in cx.plan.datasets.iter().rev().filter(|dataset| !self.failed.contains(dataset.name.as_str())) {
            let follow = of(cx, &dataset.lane()).await?.unwrap_or_default();
            if follow.sweeping.is_some() {
                return Ok(Some(dataset));
            }
            let last = follow.swept.map(|swept| swept.began);
            if turn.is_none_or(|(oldest, _)| last < oldest) {
                turn = Some((last, dataset));
            }
        }
        let due = |last: Timestamp| last.checked_add(self.plan.sweep).is_ok_and(|next| next <= now);
        Ok(turn.filter(|(last, _)| last.is_none_or(due)).map(|(_, dataset)| dataset))
    }

    /// Whether a lane of files is to be listed as a whole.
    async fn is_due(&self, lane: &LaneId, now: Timestamp) -> Result<bool> {
        let follow = of(self.cx, lane).await?.unwrap_or_default();
        let next = follow.swept.and_then(|swept| swept.began.checked_add(self.plan.sweep).ok());
        Ok(next.is_none_or(|next| next <= now))
    }
}

/// What is known of how a lane follows.
async fn of(cx: &StepContext, lane: &LaneId) -> Result<Option<Follow>> {
    kept(&Track::new(cx, lane.clone(), LaneKind::Records, LaneStage::Following)).await
}

/// How a lane follows.
#[derive(Debug, Clone, PartialEq)]
pub struct Standing {
    /// Which.
    pub lane: LaneId,
    /// What was measured.
    pub follow: Follow,
    /// A bucket that is listed as a whole: as seldom as everything is swept, and once more by its own step after the drain.
    pub listed: bool,
}

/// How each lane follows, in the order in which they move.
///
/// # Errors
/// What the ledger says.
pub async fn standing(cx: &StepContext) -> Result<Vec<Standing>> {
    let mut all = Vec::new();
    for (lane, _) in cx.plan.lanes() {
        let follow = of(cx, &lane).await?.unwrap_or_default();
        let listed = cx.plan.file_sets.iter().any(|set| set.lane() == lane);
        all.push(Standing { lane, follow, listed });
    }
    Ok(all)
}

/// How long the drain of all lanes takes, if it begins now; `None` while that was not measured yet.
#[must_use]
pub fn forecast(standing: &[Standing], now: Timestamp) -> Option<Between> {
    standing.iter().filter(|lane| !lane.listed).map(|lane| lane.follow.drain(now)).sum()
}

/// The last passes, now that nobody writes, and a whole sweep: afterwards both sides hold the same, which the lanes' own
/// steps prove.
///
/// # Errors
/// As [`round`]. It can be called again.
pub async fn drain(cx: &StepContext) -> Result<StepDone> {
    let cx = &lenient(cx);
    let began = Instant::now();
    let forecast = forecast(&standing(cx).await?, Timestamp::now());
    nobody_writes(cx).await?;
    let mut carried = 0;
    for _ in 0..PASSES {
        let (mut brought, mut told) = (0, Vec::new());
        for dataset in &cx.plan.datasets {
            let passed = records::follow::pass(cx, dataset).await?;
            brought += passed.brought;
            told.push((dataset, passed.told));
        }
        for (dataset, keys) in told.into_iter().rev() {
            records::follow::take_told_back(cx, dataset, keys).await?;
        }
        carried += brought;
        if brought == 0 {
            break;
        }
        cx.report.note(None, format!("{carried} changes carried"));
    }
    let (mut gone, mut changed) = (0, 0);
    for dataset in cx.plan.datasets.iter().rev() {
        cx.report.note(None, format!("asks for every record of {}", dataset.name));
        let swept = records::follow::sweep(cx, dataset, None).await?;
        gone += swept.as_ref().map_or(0, |swept: &Sweep| swept.gone);
        changed += swept.as_ref().map_or(0, |swept: &Sweep| swept.changed);
    }
    for (lane, kind) in cx.plan.lanes() {
        Track::new(cx, lane, kind, LaneStage::Following).note(FOLLOW, &serde_json::Value::Null).await?;
    }
    Ok(drained(carried, gone, changed, began.elapsed(), forecast))
}

/// Waits until no transaction has something written that nobody sees yet: it would be seen after the last look.
async fn nobody_writes(cx: &StepContext) -> Result<()> {
    let began = Instant::now();
    for dataset in &cx.plan.datasets {
        let lane = Lane::new(cx, dataset, LaneKind::Records, LaneStage::Following)?;
        let doing = format!("ask {} for open transactions", lane.old.name);
        loop {
            let open = lane.call(&doing, || lane.old.store.open_transactions(&lane.old.set)).await?;
            let Some(since) = open.writing else { break };
            let value = format!("one that began at {} has written", since.strftime("%F %TZ"));
            if began.elapsed() > OPEN_FOR {
                let check = Check::new(
                    format!("open transactions of {}", lane.old.name),
                    Verdict::Fail,
                    value,
                    Timestamp::now(),
                )
                .limit("none")
                .remedy("end that session of the source, or the job behind it, then retry");
                return Err(Unmet::fault("drain", vec![check]));
            }
            cx.report.note(None, format!("waits for a transaction of {}: {value}", lane.old.name));
            cx.signals.wait(LOOK_AGAIN).await?;
            cx.signals.breathe().await?;
        }
    }
    Ok(())
}

fn drained(carried: u64, gone: u64, changed: u64, took: Duration, forecast: Option<Between>) -> StepDone {
    let besides = counted(&[(gone, "gone from the source"), (changed, "changed without a new timestamp")]);
    let took = format!("{:.1} s", took.as_secs_f64());
    let forecast = forecast.map_or_else(String::new, |Between { low, high }| {
        format!(" (forecast {:.1} to {:.1} s)", low.as_secs_f64(), high.as_secs_f64())
    });
    let summary = format!("{carried} changes carried{besides} in {took}{forecast}");
    let check = Check::new("drain", Verdict::Pass, summary.clone(), Timestamp::now());
    StepDone::new(summary).checks(vec![check])
}

/// Takes back everything that was copied, files before the records that speak of them, children before parents. What a lane's
/// own step has taken back already is not there any more.
///
/// # Errors
/// As for a lane's undo. It can be called again and goes on.
pub async fn take_back(cx: &StepContext) -> Result<StepDone> {
    let mut all = StepDone::default();
    for set in cx.plan.file_sets.iter().rev() {
        add(&mut all, undo_set(cx, set).await?);
    }
    for dataset in cx.plan.datasets.iter().rev() {
        if dataset.blob.is_some() {
            add(&mut all, undo_files(cx, dataset).await?);
        }
        add(&mut all, undo_records(cx, dataset).await?);
    }
    Ok(all)
}

#[cfg(test)]
mod tests;
