//! Backups of what stands on the new side before the run touches it: taken, proven, compared with, restored.
//!
//! `row` is a row as a line, `manifest` what a backup says of itself, `place` where it is kept, `write` and `read` carry
//! rows there and back. `take` and `prove` are the run's; `restore` puts rows back and `others` removes what came since,
//! by a person's order; `after` holds a rolled back target against its backup; `target` is the side that all of them look
//! at. Memory is bounded by a block, whatever the number of rows. Must never enter: a store's own words.

mod after;
mod list;
mod manifest;
mod others;
mod place;
mod prove;
mod read;
mod restore;
mod row;
mod target;
#[cfg(test)]
mod tests;
mod write;

pub use after::compare_after_rollback;
pub use list::{Listed, State, list};
pub use manifest::{Block, Manifest, Proof, Proven};
pub use place::{Backup, Kept, Place};
pub use prove::{How, prove};
pub use read::check;
pub use restore::{Outlook, Restored, outlook, restore};

use super::lane::{Lane, Which};
use crate::{
    engine::{StepContext, StepDone},
    error::{Fault, FaultKind, Result},
    model::{LaneKind, LaneStage},
    plan::DatasetPlan,
    ports::Cursor,
};
use futures::StreamExt as _;
use std::pin::pin;
use write::Writer;

/// Backs up the dataset's whole target set. Durable on return. A backup of this run that is already there and whole is
/// kept: it is the one from before the run wrote anything. One that was cut off or hurt is taken anew, but only while the
/// run has not written: what stands there afterwards is no backup.
///
/// # Errors
/// What the store or the place of backups says after all attempts; `Mismatch` if it cannot be taken any more; `Cancelled`
/// when stopped.
pub async fn take(cx: &StepContext, dataset: &DatasetPlan) -> Result<StepDone> {
    let backup = Backup::of(cx, &dataset.name)?;
    let lost = match check(&backup).await {
        Ok(found) => return Ok(StepDone::new(format!("{}: backup of {} rows is there", dataset.name, found.rows))),
        Err(fault) if matches!(fault.kind, FaultKind::NotFound | FaultKind::Mismatch) => fault,
        Err(fault) => return Err(fault),
    };
    if is_written(cx, dataset).await? {
        let detail = "the run has written to the target since, so that it cannot be taken anew";
        return Err(Fault::new(FaultKind::Mismatch, format!("keep {}", backup.told())).detail(detail).source(lost));
    }
    backup.clear().await?;
    let lane = Lane::new(cx, dataset, LaneKind::Records, LaneStage::Waiting)?;
    let new = &lane.new;
    let doing = format!("back {} up", dataset.name);
    let info = lane.call(&doing, || new.store.describe(&new.set)).await?;
    let mut writer = Writer::new(&backup);
    let limit = cx.plan.migration.batch_records;
    let mut pages = pin!(lane.pages(new, Which::All, Cursor::START, limit));
    while let Some(read) = pages.next().await {
        for record in read?.page.records {
            if record.key(&new.set.key).is_none() {
                let detail = format!("a row of {} has no {}", new.set.name, new.set.key);
                return Err(Fault::new(FaultKind::Garbage, doing).detail(detail));
            }
            cx.signals.unless_stopped(&doing, writer.push(&record)).await?;
        }
        progress(cx, "backs up", &dataset.name, writer.rows(), info.count);
        cx.signals.breathe().await?;
    }
    let manifest = writer.finish(&cx.plan.name, new, info.fields).await?;
    let (rows, stored) = (manifest.rows, manifest.stored());
    Ok(StepDone::new(format!("{}: {rows} rows backed up, {stored} bytes in {}", dataset.name, backup.place.told())))
}

/// Says how far it is, in rows.
fn progress(cx: &StepContext, verb: &str, dataset: &str, rows: u64, of: Option<u64>) {
    #[expect(clippy::cast_precision_loss, reason = "a gauge on a screen")]
    let ratio = of.filter(|of| *of > 0).map(|of| (rows as f64 / of as f64).min(1.0));
    let of = of.map(|of| format!(" of {of}")).unwrap_or_default();
    cx.report.note(ratio, format!("{verb} {dataset}: {rows}{of} rows"));
}

fn written(dataset: &DatasetPlan) -> String {
    format!("written/{}", dataset.name)
}

/// Writes down that from here on the run may write to the dataset's target.
///
/// # Errors
/// `Ledger` if it cannot be kept; then nothing may be written.
pub async fn note_written(cx: &StepContext, dataset: &DatasetPlan) -> Result<()> {
    let (name, yes) = (written(dataset), true.into());
    cx.signals.unless_stopped("note that the run writes", cx.work.note(&name, &yes)).await
}

/// Whether the run may have written to the dataset's target.
///
/// # Errors
/// What the ledger says.
pub async fn is_written(cx: &StepContext, dataset: &DatasetPlan) -> Result<bool> {
    let name = written(dataset);
    let noted = cx.signals.unless_stopped("ask the ledger", cx.work.noted(&name)).await?;
    Ok(noted.is_some_and(|noted| noted == true))
}
