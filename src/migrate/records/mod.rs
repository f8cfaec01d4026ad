//! The records of a dataset: copied, caught up with what changes meanwhile, verified.
//!
//! `parts` says what the main pass reads, `batch` moves one batch record by record and `bulk` as one, `passes` finds what else
//! must move, `follow` does so until the drain, with `sweep`; `judge` compares a page, `stretches` whole stretches, `verify` and
//! `audit` all of them (for the run, and for a person who asks), `since` what may have changed after that, and `verdicts` is what they keep; `sides` lays one
//! record open, `repair` mends. What the order of writes to the
//! ledger guarantees: an item's `before` is durable before the target is touched, and a batch is `Done` only after the
//! target has acknowledged it, so that a process that dies anywhere is resumed without loss.

mod audit;
pub(crate) mod batch;
pub(crate) mod bulk;
pub(crate) mod follow;
mod intent;
mod isolate;
mod judge;
mod parts;
pub(crate) mod passes;
mod repair;
mod sheet;
mod sides;
mod since;
mod standing;
mod stretches;
mod sweep;
mod verdicts;
mod verify;

pub use audit::{RecordAudit, audit, audited};
pub(crate) use isolate::write_isolating;
pub(crate) use passes::{GONE, gone_before};
pub use repair::{Repair, decide, mend, repair, retry_failed};
pub use sides::{BothSides, FieldPair, Seen, both_sides};
pub use since::audit_since;
pub(crate) use standing::merged;
pub(crate) use verify::{Standing, fingerprint};
pub use verify::{verify, verify_live};

use super::{
    agreed, backup,
    lane::{Lane, Track, Which},
    pump::pump,
    undo,
    verified::counted,
};
use crate::{
    engine::{StepContext, StepDone},
    error::{Fault, FaultKind, Result},
    model::{Check, ItemState, LaneKind, LaneStage, Timestamp, Verdict},
    plan::DatasetPlan,
    ports::{Cursor, Page},
};
use batch::{Job, Mover};
use bulk::Bulk;
use futures::StreamExt as _;
use parts::Parts;
use passes::Reach;
use std::time::Duration;

/// Moves the dataset's records to the new side, then carries what changed meanwhile until nothing new comes. A batch that
/// goes record by record is read back right after it was written; one in bulk is compared by [`fn@verify`].
///
/// # Errors
/// `Unmet` when a side changed since the check, or more than `max_failures` records failed; the fault of the last attempt
/// when a server stays away; `Cancelled` when stopped. In every case it can be called again and goes on where it was.
pub async fn copy(cx: &StepContext, dataset: &DatasetPlan) -> Result<StepDone> {
    let lane = Lane::new(cx, dataset, LaneKind::Records, LaneStage::Copying)?;
    let result = copy_all(&lane, Reach::Changes).await;
    lane.conclude(LaneStage::Verifying, result).await
}

/// The same after a comparison found that the source was written since: reads all of it again, because what was written may
/// bear a time of long ago, or the one it had before.
///
/// # Errors
/// As [`copy`].
pub async fn copy_again(cx: &StepContext, dataset: &DatasetPlan) -> Result<StepDone> {
    let lane = Lane::new(cx, dataset, LaneKind::Records, LaneStage::Copying)?;
    let result = copy_all(&lane, Reach::Everything).await;
    lane.conclude(LaneStage::Verifying, result).await
}

async fn copy_all(lane: &Lane<'_>, reach: Reach) -> Result<StepDone> {
    backup::note_written(lane.cx, lane.dataset).await?;
    undo::finish_begun(undo::Undone::Records(lane)).await?;
    let told = agreed::ensure(lane).await?;
    lane.take_stock().await?;
    let total = match told {
        Some(count) => count,
        None => lane.count(&lane.old).await?,
    };
    lane.meter.set_total(Some(total));
    lane.meter.offer();
    note_standing(lane).await?;
    let rows = lane.once("ask the ledger for batches", lane.cx.work.batches(Some(&lane.id))).await?;
    let parts = Parts::load(lane, &rows).await?;
    let mover = Mover::new(lane, rows.last().map_or(0, |row| row.number).max(parts.count()));
    passes::redo(&mover, &[ItemState::Failed]).await?;
    main_pass(&mover, &parts).await?;
    // Side by side: a large table takes long to count.
    let ((), counted) = futures::try_join!(passes::catch_up(&mover, reach), lane.count(&lane.old))?;
    passes::redo(&mover, &[ItemState::Pending]).await?;
    passes::drop_gone(&mover, counted).await?;
    passes::tidy(&mover).await?;
    lane.take_stock().await?;
    mover.within_limits()?;
    let new = &lane.new;
    let doing = format!("settle {} in {}", new.set.name, new.name);
    let settled = lane.call(&doing, || new.store.settle(&new.set)).await?;
    Ok(done(lane, settled.as_deref()))
}

/// `settled`: what the store brought in line besides the rows.
fn done(lane: &Lane<'_>, settled: Option<&str>) -> StepDone {
    let tally = lane.meter.tally();
    let moved = tally.copied + tally.verified;
    let besides = counted(&[(tally.failed, "failed")]);
    let summary = format!("{moved} records of {} copied, {} read back{besides}", lane.id, tally.verified);
    let summary = settled.map_or_else(|| summary.clone(), |settled| format!("{summary}; {settled}"));
    let verdict = if tally.pending == 0 { Verdict::Pass } else { Verdict::Fail };
    let check = Check::new(format!("{} copied", lane.id), verdict, summary.clone(), Timestamp::now())
        .limit(format!("at most {} failed, none pending", may_fail(lane).unwrap_or_default()));
    StepDone::new(summary).checks(vec![check])
}

/// Moves every page of the source that is not moved yet, in bulk where both sides can.
async fn main_pass(mover: &Mover<'_>, parts: &Parts) -> Result<()> {
    if parts.open().is_empty() {
        return Ok(());
    }
    let lane = mover.lane;
    if let Some(bulk) = Bulk::of(lane).await? {
        let pages = parts.pages(mover, |from| bulk.pages_to_move(from)).await?;
        return pump(lane, pages, || mover.room(bulk::HELD), |found| bulk.move_page(mover, found)).await;
    }
    let limit = lane.cx.plan.migration.batch_records;
    let read = |from| lane.pages(&lane.old, Which::All, from, limit).map(|read| Ok(read?.into_parts()));
    let jobs = parts.pages(mover, read).await?.map(|found: Result<parts::Found<Page>>| {
        let parts::Found { number, from, page, .. } = found?;
        Ok(Job { number, from: from.0, next: page.next.and_then(|next| next.0), records: page.records, base: None })
    });
    pump(lane, jobs, || mover.room(batch::HELD), |job| mover.move_batch(job)).await
}

/// A transaction that is open for longer holds no watermark back: it would make every pass read what changed since. What it
/// writes is found by a sweep and by the comparison.
const HELD: Duration = Duration::from_mins(15);

/// The watermark that a read stands for: the store's own clock when it answered, less the overlap, or when the oldest
/// transaction began that was open then. A store that does not say what time it is gives none, and every pass reads all of
/// it: no other clock can stand in for the one that writes the timestamps.
pub(crate) fn watermark_of(as_of: Option<Timestamp>, overlap: Duration, held: Option<Timestamp>) -> Option<Timestamp> {
    let before = |by: Duration| as_of.map(|at| at.saturating_sub(by).unwrap_or(Timestamp::MIN));
    let mark = before(overlap)?;
    let longest = mark.min(before(HELD)?);
    Some(held.map_or(mark, |held| held.clamp(longest, mark)))
}

/// From when on changes of the source have not been carried yet.
pub(crate) async fn watermark(lane: &Track<'_>) -> Result<Option<Timestamp>> {
    let noted = lane.noted("watermark").await?;
    Ok(noted.and_then(|value| value.as_str().and_then(|text| text.parse().ok())))
}

/// Keeps the keys of the rows that stand in the target before the run writes its first one: they are never the run's
/// to change, to carry back or to delete. Chunked, because nobody knows how many there are.
async fn note_standing(lane: &Lane<'_>) -> Result<()> {
    if lane.noted("standing").await?.is_some() {
        return Ok(());
    }
    let limit = lane.cx.plan.migration.batch_records;
    let mut chunks = 0_u64;
    let mut pages = std::pin::pin!(lane.pages(&lane.new, Which::All, Cursor::START, limit));
    while let Some(read) = pages.next().await {
        let records = read?.page.records;
        let keys: Vec<String> = records.iter().filter_map(|row| lane.mapping.key(row)).map(|key| key.0).collect();
        if !keys.is_empty() {
            chunks += 1;
            lane.note(&format!("standing-{chunks}"), &keys.into()).await?;
        }
    }
    lane.note("standing", &chunks.into()).await
}

/// How many items of the lane may fail, as far as that can be said yet.
pub(crate) fn may_fail(lane: &Track<'_>) -> Option<u64> {
    lane.cx.plan.may_fail(&lane.id, lane.meter.whole())
}

/// More failures than the plan allows.
pub(crate) fn too_many(lane: &Track<'_>, failed: u64, first: Option<&str>) -> Result<()> {
    let Some(limit) = may_fail(lane).filter(|limit| failed > *limit) else { return Ok(()) };
    let why = if lane.cx.plan.continues_on_error(&lane.id) {
        format!("{limit} may")
    } else {
        "and `continue_on_error = false` ends the lane at the first".to_owned()
    };
    let first = first.map(|first| format!("; first {first}")).unwrap_or_default();
    Err(Fault::new(FaultKind::Unmet, format!("move {}", lane.id)).detail(format!("{failed} failed, {why}{first}")))
}

#[cfg(test)]
mod audit_tests;
#[cfg(test)]
mod bulk_tests;
#[cfg(test)]
mod fields_tests;
#[cfg(test)]
mod pace_tests;
#[cfg(test)]
mod tests;
