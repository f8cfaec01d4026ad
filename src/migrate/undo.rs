//! Takes back exactly what the run did to the new side: deletes what it created, restores what it overwrote, and touches
//! nothing else.
//!
//! Works from the ledger's items alone, in key order, and notes how far it is; every part is idempotent.

use super::{
    files::FileLane,
    lane::{Lane, Track},
    pump::some_at_a_time,
    records::{batch::NO_KEY, follow::FOLLOW, write_isolating},
};
use crate::{
    engine::{StepContext, StepDone},
    error::{Fault, FaultKind, Result},
    model::{BatchProgress, BatchState, ItemState, Key, LaneKind, LaneStage, Record, Tally},
    plan::{DatasetPlan, FileSetPlan},
    ports::{BatchQuery, BatchRow, ItemQuery, ItemRow, WriteOutcome},
};
use futures::StreamExt;
use std::pin::pin;

/// The note of a part of a lane of files whose undo was begun.
pub(crate) const UNDOING_PART: &str = "undoing-part";
/// Batches told of at once.
const BATCHES: u32 = 500;
/// Files taken back at the same time.
const FILES_AT_ONCE: usize = 4;

/// Deletes the records that the run created, restores those it overwrote, and forgets the lane. Rows that the run never
/// touched stay. What was changed on the new side since must have been carried back before (`sync::reverse`).
///
/// # Errors
/// What the target says after all attempts; `Cancelled` when stopped. It can be called again and goes on.
pub async fn undo_records(cx: &StepContext, dataset: &DatasetPlan) -> Result<StepDone> {
    let lane = Lane::new(cx, dataset, LaneKind::Records, LaneStage::Undoing)?;
    let result = undo_lane(Undone::Records(&lane)).await;
    lane.conclude(LaneStage::Undone, result).await
}

/// The same for the bytes behind the records; nothing to do for a dataset without any.
///
/// # Errors
/// As [`undo_records`].
pub async fn undo_files(cx: &StepContext, dataset: &DatasetPlan) -> Result<StepDone> {
    if dataset.blob.is_none() {
        return Ok(StepDone::new("nothing to take back: the dataset has no files"));
    }
    let files = FileLane::new(cx, dataset, LaneStage::Undoing)?;
    let result = undo_lane(Undone::Files(&files)).await;
    files.lane.conclude(LaneStage::Undone, result).await
}

/// The same for a file set.
///
/// # Errors
/// As [`undo_records`].
pub async fn undo_set(cx: &StepContext, set: &FileSetPlan) -> Result<StepDone> {
    let files = FileLane::of_set(cx, set, LaneStage::Undoing)?;
    let result = undo_lane(Undone::Files(&files)).await;
    files.lane.conclude(LaneStage::Undone, result).await
}

/// What is taken back.
#[derive(Clone, Copy)]
pub(crate) enum Undone<'a> {
    /// Records.
    Records(&'a Lane<'a>),
    /// Files.
    Files(&'a FileLane<'a>),
}

impl<'a> Undone<'a> {
    fn track(self) -> &'a Track<'a> {
        match self {
            Self::Records(lane) => lane,
            Self::Files(files) => &files.lane,
        }
    }
}

async fn undo_lane(what: Undone<'_>) -> Result<StepDone> {
    let lane = what.track();
    lane.take_stock().await?;
    let total = lane.meter.tally().items();
    lane.meter.set_total(Some(total));
    // From here on an absent row is our doing: nobody may take it for a deletion by a user.
    lane.note("undoing", &true.into()).await?;
    let after = lane.noted("undone").await?.and_then(|key| key.as_str().map(str::to_string));
    let limit = match lane.kind {
        LaneKind::Records => lane.cx.plan.migration.batch_records,
        LaneKind::Files => lane.cx.plan.migration.batch_files,
    };
    let query = ItemQuery { after, limit, ..ItemQuery::default() };
    let (mut deleted, mut restored, mut seen) = (0, 0, 0_u64);
    let mut pages = pin!(lane.items(&query));
    while let Some(items) = pages.next().await {
        let items = items?;
        let (gone, back) = match what {
            Undone::Files(files) => take_back_files(files, &items).await?,
            Undone::Records(lane) => take_back_records(lane, &items).await?,
        };
        deleted += gone;
        restored += back;
        seen += items.len() as u64;
        if let Some(last) = items.last() {
            lane.note("undone", &last.key.clone().into()).await?;
        }
        lane.meter.moved(items.len() as u64, 0);
        #[expect(clippy::cast_precision_loss, reason = "a gauge on a screen")]
        let ratio = (total > 0).then(|| (seen as f64 / total as f64).min(1.0));
        lane.cx.report.note(ratio, format!("{}: {deleted} deleted, {restored} restored", lane.id));
        lane.cx.signals.breathe().await?;
    }
    if let Undone::Files(files) = what {
        files.abandon_uploads().await?;
        // A process may have died between keeping an object aside and saying so; that object was never overwritten.
        files.clear_aside().await?;
    }
    forget(lane).await?;
    Ok(StepDone::new(format!("{}: {deleted} deleted, {restored} restored as they were", lane.id)))
}

/// Finishes an undo that an earlier process began, before anybody goes forward again.
pub(crate) async fn finish_begun(what: Undone<'_>) -> Result<()> {
    if what.track().noted("undoing").await?.is_some() {
        undo_lane(what).await?;
    }
    Ok(())
}

/// Forgets the lane and everything noted about it. The order matters: while one item is known the undo can go on.
async fn forget(lane: &Track<'_>) -> Result<()> {
    let work = &lane.cx.work;
    let mut after = 0;
    loop {
        let query = BatchQuery { lane: Some(lane.id.clone()), after, limit: BATCHES, ..BatchQuery::default() };
        let rows = lane.once("ask the ledger for batches", work.batch_page(&query)).await?;
        let Some(last) = rows.last() else { break };
        after = last.number;
        for row in rows {
            lane.meter.batch(true, || undone(row));
        }
    }
    lane.once("forget a lane", work.forget(&lane.id)).await?;
    for what in ["standing", "watermark", "parts", "listing", FOLLOW, "undone", "undoing", UNDOING_PART] {
        lane.note(what, &serde_json::Value::Null).await?;
    }
    lane.meter.set_tally(Tally::default());
    Ok(())
}

fn undone(row: BatchRow) -> BatchProgress {
    let attempts = row.attempts.max(1);
    BatchRow { state: BatchState::Undone, failed: 0, bytes: 0, attempts, error: String::new(), ..row }.into_progress(0)
}

/// An item that the run may have written. One that was skipped, or never got as far as a write, is none; one that a
/// person left out may have failed half-way before, and one whose source is gone may stand there still.
fn was_written(item: &ItemRow) -> bool {
    let skipped = item.state == ItemState::Skipped && !item.is_left_out() && item.reason != super::files::KEPT;
    item.attempts > 0 && !skipped && !item.key.starts_with(NO_KEY)
}

/// Deletes and restores these records in the target; gives both counts.
pub(crate) async fn take_back_records(lane: &Lane<'_>, items: &[ItemRow]) -> Result<(u64, u64)> {
    let touched = || items.iter().filter(|item| was_written(item));
    let created: Vec<Key> = touched().filter(|item| item.before.is_none()).map(|item| Key(item.key.clone())).collect();
    let before: Vec<Record> = touched().filter_map(|item| Record::from_json(item.before.clone()?)).collect();
    let new = &lane.new;
    if !created.is_empty() {
        let doing = format!("delete from {} in {}", new.set.name, new.name);
        lane.call(&doing, || new.store.delete(&new.set, &created)).await?;
    }
    if !before.is_empty() {
        let doing = format!("restore {} in {}", new.set.name, new.name);
        let outcomes = lane.call(&doing, || write_isolating(lane, new, &before)).await?;
        let refused = before.iter().zip(&outcomes).find_map(|(row, outcome)| match outcome {
            WriteOutcome::Rejected(why) => Some(format!("{}: {why}", row.text(&new.set.key).unwrap_or_default())),
            _ => None,
        });
        if let Some(refused) = refused {
            return Err(Fault::new(FaultKind::Refused, doing).detail(refused));
        }
    }
    Ok((created.len() as u64, before.len() as u64))
}

/// Deletes and restores these files in the target; gives both counts.
pub(crate) async fn take_back_files(files: &FileLane<'_>, items: &[ItemRow]) -> Result<(u64, u64)> {
    let touched: Vec<&ItemRow> = items.iter().filter(|item| was_written(item)).collect();
    let created = touched.iter().filter(|item| item.before.is_none()).count();
    some_at_a_time(FILES_AT_ONCE, touched.iter().map(|item| files.take_back(item)).collect()).await?;
    Ok((created as u64, (touched.len() - created) as u64))
}

/// Takes back what was copied of records that are no longer in the source, and ends their items as skipped.
pub(crate) async fn take_back_gone(lane: &Lane<'_>, items: &[ItemRow]) -> Result<()> {
    if items.is_empty() {
        return Ok(());
    }
    take_back_records(lane, items).await?;
    mark_gone(lane, items).await
}

/// The same for files.
pub(crate) async fn take_back_gone_files(files: &FileLane<'_>, items: &[ItemRow]) -> Result<()> {
    if items.is_empty() {
        return Ok(());
    }
    take_back_files(files, items).await?;
    mark_gone(&files.lane, items).await
}

/// Ends these items as skipped: their records are no longer in the source as they were.
pub(crate) async fn mark_gone(lane: &Track<'_>, items: &[ItemRow]) -> Result<()> {
    let keys: Vec<String> = items.iter().map(|item| item.key.clone()).collect();
    let reason = super::records::GONE;
    lane.once("mark items", lane.cx.work.mark(&lane.id, &keys, ItemState::Skipped, reason)).await?;
    for item in items {
        lane.meter.turned(Some(item.state), ItemState::Skipped);
    }
    lane.meter.offer();
    Ok(())
}
