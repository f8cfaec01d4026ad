//! The records of a dataset: copied, caught up with what changes meanwhile, verified.
//!
//! `batch` moves one batch, `passes` finds what else must move, `judge` compares a page, `verify` and `audit` all of them
//! (for the run, and for a person who asks), `sides` lays one record open, `repair` mends. What the order of writes to the
//! ledger guarantees: an item's `before` is durable before the target is touched, and a batch is `Done` only after the
//! target has acknowledged it, so that a process that dies anywhere is resumed without loss.

mod audit;
pub(crate) mod batch;
mod intent;
mod judge;
pub(crate) mod passes;
mod repair;
mod sides;
mod standing;
mod verify;

pub use audit::{RecordAudit, audit, audited};
pub(crate) use passes::{GONE, gone_before};
pub use repair::{Repair, decide, mend, repair, retry_failed};
pub use sides::{BothSides, FieldPair, Seen, both_sides};
pub(crate) use standing::merged;
pub(crate) use verify::{Standing, fingerprint};
pub use verify::{verify, verify_live};

use super::{
    lane::{Lane, Track, Which},
    pump::pump,
    undo,
    verified::counted,
};
use crate::{
    engine::{StepContext, StepDone},
    error::{Fault, FaultKind, Result},
    model::{BatchState, Check, ItemState, LaneKind, LaneStage, Timestamp, Verdict},
    plan::DatasetPlan,
    ports::{BatchRow, Cursor},
};
use batch::{Job, Mover};
use futures::{Stream, StreamExt, stream};
use std::{sync::atomic::Ordering, time::Duration};

/// How far before the store's own clock a watermark is set: its answer has whole seconds, and a transaction may commit
/// a moment after the time it wrote down.
const OVERLAP: Duration = Duration::from_secs(2);
/// The same where the store does not say what time it is, and this machine's clock must do.
const OVERLAP_UNSAID: Duration = Duration::from_mins(1);

/// Moves the dataset's records to the new side, then carries what changed meanwhile until nothing new comes. Each batch
/// is read back right after it was written.
///
/// # Errors
/// `Unmet` when more than `max_failures` records failed; the fault of the last attempt when a server stays away;
/// `Cancelled` when stopped. In every case it can be called again and goes on where it was.
pub async fn copy(cx: &StepContext, dataset: &DatasetPlan) -> Result<StepDone> {
    let lane = Lane::new(cx, dataset, LaneKind::Records, LaneStage::Copying)?;
    let result = copy_all(&lane).await;
    lane.conclude(LaneStage::Verifying, result).await
}

async fn copy_all(lane: &Lane<'_>) -> Result<StepDone> {
    undo::finish_begun(undo::Undone::Records(lane)).await?;
    lane.take_stock().await?;
    lane.meter.set_total(Some(lane.count(&lane.old).await?));
    lane.meter.offer();
    note_standing(lane).await?;
    let rows = lane.once("ask the ledger for batches", lane.cx.work.batches(Some(&lane.id))).await?;
    let mover = Mover::new(lane, rows.last().map_or(0, |row| row.number));
    passes::redo(&mover, &[ItemState::Failed]).await?;
    let start = Start::after(&rows);
    if let Some(from) = start.from {
        pump(lane, main_jobs(&mover, from, start.done), || lane.room(), |job| mover.move_batch(job)).await?;
    }
    passes::catch_up(&mover).await?;
    passes::redo(&mover, &[ItemState::Pending]).await?;
    passes::drop_gone(&mover).await?;
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

/// Where the main pass goes on: after the last batch of the unbroken row of finished ones.
pub(crate) struct Start {
    /// The last finished batch.
    pub(crate) done: u64,
    /// Where to read on; `None` if the source was read to its end.
    pub(crate) from: Option<Cursor>,
}

impl Start {
    /// From these batches of the lane, in order of their numbers.
    pub(crate) fn after(rows: &[BatchRow]) -> Self {
        let mut start = Self { done: 0, from: Some(Cursor::START) };
        for row in rows {
            if row.number != start.done + 1 || row.state != BatchState::Done || start.from.is_none() {
                break;
            }
            start = Self { done: row.number, from: row.next.clone().map(|next| Cursor(Some(next))) };
        }
        start
    }
}

/// The main pass: each page of the source is a batch. The first page's clock becomes the watermark.
fn main_jobs<'s>(mover: &'s Mover<'_>, from: Cursor, done: u64) -> impl Stream<Item = Result<Job>> + 's {
    let lane = mover.lane;
    let migration = &lane.cx.plan.migration;
    let pages = Box::pin(lane.pages(&lane.old, Which::All, from, migration.batch_records));
    stream::try_unfold((pages, done), move |(mut pages, number)| async move {
        if !migration.pace.is_zero() {
            lane.cx.signals.wait(migration.pace).await?;
        }
        let asked = Timestamp::now();
        let Some(read) = pages.next().await.transpose()? else { return Ok(None) };
        note_watermark(lane, read.page.as_of, asked).await?;
        lane.meter.set_total(read.page.total);
        let number = number + 1;
        mover.last_number.fetch_max(number, Ordering::Relaxed);
        let job = Job {
            number,
            from: read.from.0,
            next: read.page.next.and_then(|next| next.0),
            records: read.page.records,
            base: None,
        };
        Ok(Some((job, (pages, number))))
    })
}

/// The watermark that a read which began at `asked` and brought `as_of` stands for.
pub(crate) fn watermark_of(as_of: Option<Timestamp>, asked: Timestamp) -> Timestamp {
    let (at, overlap) = as_of.map_or((asked, OVERLAP_UNSAID), |at| (at, OVERLAP));
    at.saturating_sub(overlap).unwrap_or(Timestamp::MIN)
}

/// Keeps the first watermark of the lane.
async fn note_watermark(lane: &Lane<'_>, as_of: Option<Timestamp>, asked: Timestamp) -> Result<()> {
    if lane.noted("watermark").await?.is_none() {
        lane.note("watermark", &watermark_of(as_of, asked).to_string().into()).await?;
    }
    Ok(())
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
mod fields_tests;
#[cfg(test)]
mod pace_tests;
#[cfg(test)]
mod tests;
