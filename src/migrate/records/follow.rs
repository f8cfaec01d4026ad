//! One lane of records behind its source: a pass over what changed, a piece of a sweep, and what was measured of both.
//!
//! What is known of it stands in the ledger (the note `follow`), written once a pass or a piece is through, so that a
//! process that takes over knows how far behind the lane is and goes on from its watermark. `migrate::follow` says which
//! lane has its turn. Must never enter: waiting.

use super::{
    batch::Mover,
    passes::{self, Passed, Reach},
    sweep, watermark,
};
use crate::{
    engine::StepContext,
    error::{FaultKind, Result},
    migrate::lane::{Lane, Track},
    model::{Follow, ItemState, Key, LaneKind, LaneStage, Sweep, Timestamp},
    plan::DatasetPlan,
};
use std::time::{Duration, Instant};

/// Records that failed are tried again in every pass, as long as there are no more than these; then in every sweep.
const RETRIED: u64 = 500;
/// The note that says how a lane follows.
pub(crate) const FOLLOW: &str = "follow";

/// What is known of how the lane follows.
///
/// # Errors
/// What the ledger says.
pub(crate) async fn kept(lane: &Track<'_>) -> Result<Option<Follow>> {
    // One that this version cannot read says nothing; the next pass writes a new one.
    Ok(lane.noted(FOLLOW).await?.and_then(|noted| serde_json::from_value(noted).ok()))
}

/// Keeps it, and shows it.
///
/// # Errors
/// What the ledger says.
pub(crate) async fn keep(lane: &Track<'_>, follow: &Follow) -> Result<()> {
    lane.meter.set_follow(follow);
    lane.note(FOLLOW, &serde_json::json!(follow)).await
}

/// Carries what changed in the source since the last pass. What the source says was deleted is for the caller to take back,
/// once no lane needs it any more.
///
/// # Errors
/// The fault of the last attempt, which is kept as what keeps the lane from following; `Cancelled` when stopped.
pub(crate) async fn pass(cx: &StepContext, dataset: &DatasetPlan) -> Result<Passed> {
    let lane = Lane::new(cx, dataset, LaneKind::Records, LaneStage::Following)?;
    let mut follow = kept(&lane).await?.unwrap_or_default();
    let result = pass_over(&lane, &mut follow).await;
    at_rest(&lane, follow, result).await
}

async fn pass_over(lane: &Lane<'_>, follow: &mut Follow) -> Result<Passed> {
    lane.meter.set_follow(follow);
    lane.take_stock().await?;
    lane.meter.set_total(Some(lane.meter.tally().items()));
    let (began, clock) = (Timestamp::now(), Instant::now());
    follow.waiting = waiting(lane).await?;
    lane.meter.set_follow(follow);
    let mover = mover(lane).await?;
    let passed = passes::pass(&mover, Reach::Changes).await?;
    if (1..=RETRIED).contains(&lane.meter.tally().failed) {
        passes::redo(&mover, &[ItemState::Failed]).await?;
    }
    follow.passed(began, clock.elapsed(), passed.brought);
    keep(lane, follow).await?;
    Ok(passed)
}

/// Changes since the last pass began, if the store can count them.
async fn waiting(lane: &Lane<'_>) -> Result<Option<u64>> {
    let since = watermark(lane).await?.filter(|_| lane.old.set.updated.is_some());
    let Some(since) = since.and_then(|mark| mark.checked_add(lane.dataset.overlap).ok()) else { return Ok(None) };
    let (store, set) = (&lane.old.store, &lane.old.set);
    lane.call("count what changed", || store.count_changes(set, since)).await
}

/// Takes back what the source said was deleted.
///
/// # Errors
/// As [`pass`].
pub(crate) async fn take_told_back(cx: &StepContext, dataset: &DatasetPlan, told: Vec<Key>) -> Result<()> {
    if told.is_empty() {
        return Ok(());
    }
    let lane = Lane::new(cx, dataset, LaneKind::Records, LaneStage::Following)?;
    lane.take_stock().await?;
    let follow = kept(&lane).await?.unwrap_or_default();
    let result = passes::drop_told(&lane, told).await;
    at_rest(&lane, follow, result).await?;
    Ok(())
}

/// Goes on with the sweep of the lane for so long; without a time from its beginning to its end. Gives the sweep once it is
/// through.
///
/// # Errors
/// As [`pass`].
pub(crate) async fn sweep(cx: &StepContext, dataset: &DatasetPlan, most: Option<Duration>) -> Result<Option<Sweep>> {
    let lane = Lane::new(cx, dataset, LaneKind::Records, LaneStage::Following)?;
    let mut follow = kept(&lane).await?.unwrap_or_default();
    let result = sweep_on(&lane, &mut follow, most).await;
    at_rest(&lane, follow, result).await
}

async fn sweep_on(lane: &Lane<'_>, follow: &mut Follow, most: Option<Duration>) -> Result<Option<Sweep>> {
    lane.meter.set_follow(follow);
    lane.take_stock().await?;
    lane.meter.set_total(Some(lane.meter.tally().items()));
    let begun = follow.sweeping.take().filter(|_| most.is_some());
    let mut sweep = begun.unwrap_or_else(|| Sweep::new(Timestamp::now()));
    let mover = mover(lane).await?;
    if sweep.after.is_none() {
        passes::redo(&mover, &[ItemState::Failed]).await?;
    }
    let through = sweep::go_on(&mover, &mut sweep, most).await?;
    if through {
        sweep.after = None;
        follow.swept = Some(sweep.clone());
    } else {
        follow.sweeping = Some(sweep.clone());
    }
    keep(lane, follow).await?;
    Ok(through.then_some(sweep))
}

async fn mover<'l>(lane: &'l Lane<'_>) -> Result<Mover<'l>> {
    let last = lane.once("ask the ledger for batches", lane.cx.work.last_number(&lane.id)).await?;
    Ok(Mover::new(lane, last))
}

/// The lane's last word for now. A fault is kept as what keeps it from following; a stop is none.
///
/// # Errors
/// The result's own; what the ledger says.
pub(crate) async fn at_rest<T>(lane: &Track<'_>, mut follow: Follow, result: Result<T>) -> Result<T> {
    match &result {
        Err(fault) if fault.kind == FaultKind::Cancelled => lane.meter.offer(),
        Err(fault) => {
            follow.failed(Timestamp::now(), crate::model::text::clean(&fault.chain(), 300));
            // A ledger that cannot be written is the fault already.
            if fault.kind != FaultKind::Ledger {
                keep(lane, &follow).await?;
            }
            lane.meter.rest(LaneStage::Following).await;
        }
        Ok(_) => lane.meter.rest(LaneStage::Following).await,
    }
    result
}
