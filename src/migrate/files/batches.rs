//! One batch of files, or all of them, by themselves: moved again, or taken back to where they were before the run.
//!
//! A part that is being taken back is noted before anything is touched, and whoever moves files of the lane finishes it
//! first: between taking an object back and setting its item back the ledger is not true.

use super::{FileFacts, FileLane, FilesOf, has_arrived, mover::Mover, mover::is_nameless, parts, passes};
use crate::{
    engine::StepContext,
    error::{Fault, FaultKind, Result},
    migrate::{
        records::GONE,
        undo::{self, UNDOING_PART},
    },
    model::{BatchId, BatchState, ItemState, LaneStage, Tally},
    ports::{BatchQuery, BatchRow, ItemQuery, ItemRow},
};
use futures::StreamExt;
use serde::Serialize;
use serde_json::{Value, json};
use std::pin::pin;

/// Batches opened or closed together.
const TOGETHER: u32 = 500;

/// What was taken back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Back {
    /// Objects that the run had created, deleted.
    pub deleted: u64,
    /// Objects that the run had overwritten, restored.
    pub restored: u64,
    /// Files that are pending again.
    pub pending: u64,
}

/// Opens what failed in this batch and moves what is open in it; gives how all of its files stand then.
///
/// # Errors
/// `NotFound` if the lane has no such batch; otherwise as `copy`, without `Unmet`.
pub async fn retry<'a>(cx: &'a StepContext, files: impl Into<FilesOf<'a>>, batch: &BatchId) -> Result<Tally> {
    let files = FileLane::of(cx, files.into(), LaneStage::Copying)?;
    let result = retry_in(&files, batch).await;
    files.lane.conclude(LaneStage::Waiting, result).await
}

async fn retry_in(files: &FileLane<'_>, batch: &BatchId) -> Result<Tally> {
    let lane = &files.lane;
    finish_begun(files).await?;
    find(files, batch).await?;
    let states = vec![ItemState::Failed, ItemState::Lost];
    let query = ItemQuery { batch: Some(batch.clone()), states, limit: TOGETHER, ..ItemQuery::default() };
    let mut pages = pin!(lane.items(&query));
    while let Some(items) = pages.next().await {
        let mut items = items?;
        items.retain(|item| !is_flawed(item));
        for item in &mut items {
            item.state = ItemState::Pending;
            item.error = None;
        }
        passes::reopen_batches(files, items).await?;
    }
    lane.take_stock().await?;
    Mover::new(files).await?.move_batch(find(files, batch).await?).await?;
    lane.once("ask the ledger for sums", lane.cx.work.batch_tally(batch)).await
}

async fn find(files: &FileLane<'_>, batch: &BatchId) -> Result<BatchRow> {
    let lane = &files.lane;
    let query =
        BatchQuery { lane: Some(lane.id.clone()), batch: Some(batch.clone()), limit: 1, ..BatchQuery::default() };
    let rows = lane.once("ask the ledger for batches", lane.cx.work.batch_page(&query)).await?;
    rows.into_iter().next().ok_or_else(|| {
        Fault::new(FaultKind::NotFound, format!("find batch {batch}")).detail(format!("lane {} has none such", lane.id))
    })
}

/// Only a mended record can help.
fn is_flawed(item: &ItemRow) -> bool {
    is_nameless(item) || FileFacts::of(item).flaw.is_some()
}

/// Takes back exactly what the run did in this batch, or in the whole lane: deletes what it created, restores what it
/// overwrote, and makes the files pending again. Others stay as they are.
///
/// # Errors
/// `NotFound` if the lane has no such batch; what the target says after all attempts; `Cancelled` when stopped. It can
/// be called again and goes on.
pub async fn take_back<'a>(
    cx: &'a StepContext,
    files: impl Into<FilesOf<'a>>,
    batch: Option<&BatchId>,
) -> Result<Back> {
    let files = FileLane::of(cx, files.into(), LaneStage::Undoing)?;
    let result = take_back_in(&files, batch).await;
    files.lane.conclude(LaneStage::Waiting, result).await
}

async fn take_back_in(files: &FileLane<'_>, batch: Option<&BatchId>) -> Result<Back> {
    finish_begun(files).await?;
    files.lane.take_stock().await?;
    if let Some(batch) = batch {
        find(files, batch).await?;
    }
    undo_part(files, batch).await
}

/// Finishes what an earlier process began to take back, before anybody goes forward again.
///
/// # Errors
/// As [`take_back`].
pub(super) async fn finish_begun(files: &FileLane<'_>) -> Result<()> {
    let begun = files.lane.noted(UNDOING_PART).await?;
    match begun {
        None => {}
        Some(Value::String(batch)) => drop(undo_part(files, Some(&BatchId::new(batch))).await?),
        Some(_) => drop(undo_part(files, None).await?),
    }
    Ok(())
}

async fn undo_part(files: &FileLane<'_>, batch: Option<&BatchId>) -> Result<Back> {
    let lane = &files.lane;
    lane.note(UNDOING_PART, &batch.map_or(json!(true), |batch| batch.as_str().into())).await?;
    // Before the items, so that whatever becomes pending stands in an open batch.
    close(files, batch).await?;
    let limit = lane.cx.plan.migration.batch_files;
    let query = ItemQuery { batch: batch.cloned(), limit, ..ItemQuery::default() };
    let mut back = Back::default();
    let mut pages = pin!(lane.items(&query));
    while let Some(items) = pages.next().await {
        let items = items?;
        let (deleted, restored) = undo::take_back_files(files, &items).await?;
        for item in items.iter().filter(|item| item.attempts > 0 && !has_arrived(item.state)) {
            let doing = format!("abandon the upload of {}", item.key);
            lane.call(&doing, || parts::abandon(&files.gear, files.new.as_ref(), &item.key)).await?;
        }
        let again = items.iter().filter(|item| item.reason != GONE && !is_flawed(item));
        let keys: Vec<String> = again.map(|item| item.key.clone()).collect();
        if !keys.is_empty() {
            lane.once("set files back", lane.cx.work.reset(&lane.id, &keys)).await?;
        }
        back.deleted += deleted;
        back.restored += restored;
        back.pending += keys.len() as u64;
        lane.cx.report.note(None, format!("{}: {} deleted, {} restored", lane.id, back.deleted, back.restored));
        lane.cx.signals.breathe().await?;
    }
    lane.note(UNDOING_PART, &Value::Null).await?;
    lane.take_stock().await?;
    Ok(back)
}

/// Marks the batches as undone; those that were never begun stay as they are.
async fn close(files: &FileLane<'_>, batch: Option<&BatchId>) -> Result<()> {
    let lane = &files.lane;
    let mut after = 0;
    loop {
        let (of, batch) = (Some(lane.id.clone()), batch.cloned());
        let query = BatchQuery { lane: of, batch, after, limit: TOGETHER, ..BatchQuery::default() };
        let rows = lane.once("ask the ledger for batches", lane.cx.work.batch_page(&query)).await?;
        let Some(last) = rows.last() else { return Ok(()) };
        after = last.number;
        let begun = rows.into_iter().filter(|row| row.attempts > 0);
        let undone = |row| BatchRow {
            state: BatchState::Undone,
            failed: 0,
            bytes: 0,
            error: String::new(),
            started: None,
            finished: None,
            ..row
        };
        let rows: Vec<BatchRow> = begun.map(undone).collect();
        if !rows.is_empty() {
            lane.once("save batches", lane.cx.work.enlist(&rows, &[], &[])).await?;
        }
    }
}

#[cfg(test)]
mod tests;
