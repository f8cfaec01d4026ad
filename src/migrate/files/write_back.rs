//! Tells the legacy table which files have moved, and takes that back.
//!
//! Forward it goes over the source's records once more, because a row is told by its record's key and the ledger knows
//! files only by their keys: page by page, in batches of the plan's size, noting how far it came. Only what the ledger
//! holds as proven is told. Backward it needs neither records nor ledger: the rows bear the run's mark. Must never enter:
//! copying, comparing, SQL.

use super::FileLane;
use crate::{
    engine::{StepContext, StepDone, Unmet},
    error::{Fault, FaultKind, Result},
    migrate::lane::Which,
    model::{BatchId, Check, ItemState, LaneStage, Record, Timestamp, Verdict},
    plan::{DatasetPlan, WriteBackPlan},
    ports::{Cursor, ItemRow, MigratedFile, WriteBack},
};
use futures::StreamExt as _;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, pin::pin};

/// How far the telling came.
const TOLD: &str = "told";
/// How far the taking back came.
const CLEARED: &str = "untold";
/// Records without a row that are named.
const NAMED: usize = 5;

/// How far a pass came, as the ledger keeps it.
#[derive(Debug, Default, Serialize, Deserialize)]
struct SoFar {
    /// Where the source is read on.
    next: Option<String>,
    /// Records whose file has moved.
    moved: u64,
    /// Those of them that the table has no row for.
    without_row: u64,
    /// The first of these.
    first: Vec<String>,
}

/// The table of the dataset and what the plan says of it.
fn table<'a>(files: &FileLane<'a>) -> Result<(std::sync::Arc<dyn WriteBack>, &'a WriteBackPlan)> {
    let (lane, blob) = files.dataset()?;
    let name = &lane.dataset.name;
    let missing = || Fault::new(FaultKind::Plan, format!("write back for `{name}`")).detail("it has no `write_back`");
    let plan = blob.write_back.as_ref().ok_or_else(missing)?;
    Ok((files.lane.cx.ports.write_back(name)?, plan))
}

/// Tells the legacy table of each file of the dataset that is proven to be in the new bucket: copied and verified, or
/// found there already. Adds the columns that the table lacks. Goes on where an earlier call was cut.
///
/// # Errors
/// `Plan` if the dataset has no write-back; `Unmet` when more than `max_failures` records have no row in the table; the
/// fault of the last attempt when the database stays away; `Cancelled` when stopped.
pub async fn write_back(cx: &StepContext, dataset: &DatasetPlan) -> Result<StepDone> {
    let files = FileLane::new(cx, dataset, LaneStage::Done)?;
    let (port, plan) = table(&files)?;
    let (records, _) = files.dataset()?;
    let lane = &files.lane;
    // Whatever an undo had begun, all rows are told again from here on.
    lane.note(CLEARED, &serde_json::Value::Null).await?;
    let added = lane.call(&format!("prepare {}", plan.table), || port.prepare()).await?;
    let noted = lane.noted(TOLD).await?;
    let mut so_far: SoFar = noted.and_then(|noted| serde_json::from_value(noted).ok()).unwrap_or_default();
    let tally = lane.once("ask the ledger for sums", cx.work.tally(&lane.id)).await?;
    let ended = batch_ends(&files).await?;
    let from = Cursor(so_far.next.clone());
    let mut pages = pin!(lane.pages(&records.old, Which::All, from, cx.plan.migration.batch_records));
    while let Some(read) = pages.next().await {
        let page = read?.page;
        let moved = proven(&files, &page.records, &ended).await?;
        if !moved.is_empty() {
            let doing = format!("tell {}", plan.table);
            let without = lane.call(&doing, || port.fill(cx.work.run(), &moved)).await?;
            so_far.moved += moved.len() as u64;
            so_far.without_row += without.len() as u64;
            let room = NAMED.saturating_sub(so_far.first.len());
            so_far.first.extend(without.into_iter().take(room));
        }
        if let Some(Cursor(next)) = page.next {
            so_far.next = next;
            lane.note(TOLD, &serde_json::json!(so_far)).await?;
        }
        #[expect(clippy::cast_precision_loss, reason = "a gauge on a screen")]
        let ratio = (tally.items() > 0).then(|| (so_far.moved as f64 / tally.items() as f64).min(1.0));
        cx.report.note(ratio, format!("{} rows of {} told", so_far.moved - so_far.without_row, plan.table));
        cx.signals.breathe().await?;
    }
    lane.note(TOLD, &serde_json::Value::Null).await?;
    conclude(&files, plan, &so_far, &added)
}

fn conclude(files: &FileLane<'_>, plan: &WriteBackPlan, so_far: &SoFar, added: &[String]) -> Result<StepDone> {
    let lane = &files.lane;
    let allowed = lane.cx.plan.may_fail(&lane.id, Some(so_far.moved)).unwrap_or_default();
    let value = format!("{} of {} rows", so_far.moved - so_far.without_row, so_far.moved);
    let passed = so_far.without_row <= allowed;
    let verdict = if passed { Verdict::Pass } else { Verdict::Fail };
    let name = format!("write-back of {}", files.dataset()?.0.dataset.name);
    let mut check =
        Check::new(name, verdict, &value, Timestamp::now()).limit(format!("at most {allowed} without a row"));
    if so_far.without_row > 0 {
        let first = so_far.first.join(", ");
        check = check.remedy(format!("{} has no row for {first}: see that the plan names the right one", plan.table));
    }
    if !passed {
        return Err(Unmet::fault(format!("tell {} of every file", plan.table), vec![check]));
    }
    let added = if added.is_empty() { String::new() } else { format!(", added {}", added.join(", ")) };
    Ok(StepDone::new(format!("{value} of {} told{added}", plan.table)).checks(vec![check]))
}

/// When each batch of the lane ended. Does not change any more: a file told twice is told the same.
async fn batch_ends(files: &FileLane<'_>) -> Result<BTreeMap<BatchId, Timestamp>> {
    let lane = &files.lane;
    let rows = lane.once("ask the ledger for batches", lane.cx.work.batches(Some(&lane.id))).await?;
    Ok(rows.into_iter().filter_map(|row| Some((row.batch, row.finished.or(row.started)?))).collect())
}

/// Those of the records whose files are proven to be in the new bucket, each key once.
async fn proven(
    files: &FileLane<'_>,
    records: &[Record],
    ended: &BTreeMap<BatchId, Timestamp>,
) -> Result<Vec<MigratedFile>> {
    let (lane, _) = files.dataset()?;
    let entries: Vec<_> =
        records.iter().filter_map(|record| Some((lane.mapping.key(record)?, files.entry(record)?))).collect();
    let items = lane.items_of(entries.iter().map(|(_, entry)| entry.key.clone()).collect()).await?;
    let mut moved = BTreeMap::new();
    for (id, entry) in entries {
        // Of two records that give the same key, only one has its file there.
        let item = items.get(&entry.key).filter(|item| is_proven(item) && item.source == entry.path);
        let Some((item, sha256)) = item.and_then(|item| Some((item, item.digest?))) else { continue };
        let Some(at) = ended.get(&item.batch).copied() else { continue };
        let file = MigratedFile { id: id.0.clone(), key: item.key.clone(), at, batch: item.batch.clone(), sha256 };
        moved.insert(id.0, file);
    }
    Ok(moved.into_values().collect())
}

fn is_proven(item: &ItemRow) -> bool {
    match item.state {
        ItemState::Verified => true,
        ItemState::Skipped => item.reason == super::existing::ALREADY_THERE,
        _ => false,
    }
}

/// Takes back what the run told the legacy table; nothing to do for a dataset without a write-back. The columns stay.
/// Goes on where an earlier call was cut.
///
/// # Errors
/// What the database says after all attempts; `Cancelled` when stopped.
pub async fn clear_write_back(cx: &StepContext, dataset: &DatasetPlan) -> Result<StepDone> {
    if dataset.blob.as_ref().is_none_or(|blob| blob.write_back.is_none()) {
        return Ok(StepDone::new("nothing to take back: the dataset has no write-back"));
    }
    let files = FileLane::new(cx, dataset, LaneStage::Undoing)?;
    let (port, plan) = table(&files)?;
    let lane = &files.lane;
    // Going forward again begins at the beginning.
    lane.note(TOLD, &serde_json::Value::Null).await?;
    let mut after = lane.noted(CLEARED).await?.and_then(|key| key.as_str().map(str::to_owned));
    let doing = format!("clear what was told {}", plan.table);
    let mut rows = 0;
    loop {
        let limit = cx.plan.migration.batch_records;
        let page = lane.call(&doing, || port.clear(cx.work.run(), after.as_deref(), limit)).await?;
        rows += page.rows;
        cx.report.note(None, format!("{rows} rows of {} cleared", plan.table));
        let Some(next) = page.next else { break };
        lane.note(CLEARED, &next.as_str().into()).await?;
        after = Some(next);
        cx.signals.breathe().await?;
    }
    lane.note(CLEARED, &serde_json::Value::Null).await?;
    Ok(StepDone::new(format!("{rows} rows of {} cleared", plan.table)))
}

#[cfg(test)]
#[path = "write_back_tests.rs"]
mod tests;
