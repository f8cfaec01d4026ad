//! Brings a target back to what a backup has, by a person's order. A look says before what that would be.
//!
//! Every row is compared before it is written, so that a restore that was cut off goes on by being called again: what is
//! as it was is left alone. Must never enter: whether the run's state allows it.

use super::{
    Backup, Manifest,
    others::{self, Others},
    read::{Rows, check},
    target::{Target, Unfit},
};
use crate::{
    engine::StepContext,
    error::{Fault, FaultKind, Result},
    migrate::lane::Lane,
    model::{LaneKind, LaneStage},
    plan::DatasetPlan,
};
use serde::Serialize;

/// Keys that are shown.
const SHOWN: usize = 10;

/// What a restore would do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Outlook {
    /// Rows in the backup.
    pub rows: u64,
    /// Rows that are as the backup has them.
    pub same: u64,
    /// Rows that are not there: they would be put back.
    pub missing: u64,
    /// Rows that are otherwise: they would be overwritten.
    pub differs: u64,
    /// Rows that the backup does not have.
    pub others: u64,
    /// The first rows that are not as the backup has them, and how.
    pub first: Vec<String>,
}

/// What a restore came to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Restored {
    /// Rows in the backup.
    pub rows: u64,
    /// Rows that were missing and are there again.
    pub put_back: u64,
    /// Rows that were otherwise and are as the backup has them again.
    pub overwritten: u64,
    /// Rows removed that the backup does not have.
    pub removed: u64,
    /// Rows left that the backup does not have.
    pub others: u64,
    /// Rows that could not be put back.
    pub left: u64,
    /// The first of those, and why.
    pub first: String,
}

/// Says what a restore of this backup would do. Changes nothing.
///
/// # Errors
/// `NotFound` if there is no such backup; `Mismatch` if it is hurt; `Refused` if it is of another set; what the store or
/// the place says after all attempts; `Cancelled` when stopped.
pub async fn outlook(cx: &StepContext, dataset: &DatasetPlan, backup: &Backup) -> Result<Outlook> {
    let lane = Lane::new(cx, dataset, LaneKind::Records, LaneStage::Waiting)?;
    let manifest = fitting(&lane, backup).await?;
    let target = Target::new(&lane, &lane.new).await?;
    let mut found = Outlook { rows: manifest.rows, ..Outlook::default() };
    let mut rows = Rows::new(backup, &manifest);
    while let Some(some) = rows.some(at_once(cx)).await? {
        let count = some.len() as u64;
        let wrong = target.wrong(some).await?;
        found.same += count.saturating_sub(wrong.len() as u64);
        for one in wrong {
            *(if one.found.is_some() { &mut found.differs } else { &mut found.missing }) += 1;
            if found.first.len() < SHOWN {
                found.first.push(format!("{}: {}", one.key, one.differences()));
            }
        }
        super::progress(cx, "compares", &dataset.name, rows.given, Some(manifest.rows));
        cx.signals.breathe().await?;
    }
    found.others = lane.count(&lane.new).await?.saturating_sub(found.same + found.differs);
    Ok(found)
}

/// Makes the target what the backup has: puts back what is missing and overwrites what is otherwise. What the backup does
/// not have stays, unless it is to be removed. The backup is checked as a whole before the first write.
///
/// # Errors
/// As [`outlook`]; `Refused` also if the target takes no writes. It can be called again and goes on.
pub async fn restore(
    cx: &StepContext,
    dataset: &DatasetPlan,
    backup: &Backup,
    remove_others: bool,
) -> Result<Restored> {
    let lane = Lane::new(cx, dataset, LaneKind::Records, LaneStage::Waiting)?;
    fitting(&lane, backup).await?;
    let target = Target::new(&lane, &lane.new).await?;
    target.takes_writes()?;
    let manifest = check(backup).await?;
    let mut done = Restored { rows: manifest.rows, ..Restored::default() };
    let mut left = put_back(&target, backup, &manifest, &mut done).await?;
    if remove_others && left.others(&lane, &manifest).await? > 0 {
        done.removed = others::remove(&target, backup, &manifest, Others::All).await?;
    }
    // A value that must be unique may have been held by a row that is gone by now, or is as it was.
    while left.rows > 0 {
        let again = put_back(&target, backup, &manifest, &mut done).await?;
        let stuck = again.rows >= left.rows;
        left = again;
        if stuck {
            break;
        }
    }
    done.others = left.others(&lane, &manifest).await?;
    done.left = left.rows;
    done.first = left.first.map(|unfit| format!("{}: {}", unfit.key, unfit.why)).unwrap_or_default();
    Ok(done)
}

/// Rows that could not be put back.
#[derive(Default)]
struct Left {
    rows: u64,
    /// Those of them that are not there at all.
    missing: u64,
    first: Option<Unfit>,
}

impl Left {
    /// Rows of the target that the backup does not have.
    async fn others(&self, lane: &Lane<'_>, manifest: &Manifest) -> Result<u64> {
        let present = manifest.rows.saturating_sub(self.missing);
        Ok(lane.count(&lane.new).await?.saturating_sub(present))
    }
}

async fn put_back(target: &Target<'_>, backup: &Backup, manifest: &Manifest, done: &mut Restored) -> Result<Left> {
    let cx = target.lane.cx;
    let mut left = Left::default();
    let mut rows = Rows::new(backup, manifest);
    while let Some(some) = rows.some(at_once(cx)).await? {
        let wrong = target.wrong(some).await?;
        let missing = wrong.iter().filter(|one| one.found.is_none()).count() as u64;
        let differs = wrong.len() as u64 - missing;
        let unfit = target.put(wrong.into_iter().map(|one| one.kept).collect()).await?;
        let still = unfit.iter().filter(|unfit| unfit.missing).count() as u64;
        done.put_back += missing.saturating_sub(still);
        done.overwritten += differs.saturating_sub(unfit.len() as u64 - still);
        left.rows += unfit.len() as u64;
        left.missing += still;
        left.first = left.first.or(unfit.into_iter().next());
        super::progress(cx, "restores", &backup.dataset, rows.given, Some(manifest.rows));
        cx.signals.breathe().await?;
    }
    Ok(left)
}

/// The manifest, if the backup is of the set that the dataset moves to.
async fn fitting(lane: &Lane<'_>, backup: &Backup) -> Result<Manifest> {
    let manifest = backup.manifest().await?;
    let (set, there) = (&lane.new.set, (&manifest.store, &manifest.set, &manifest.key));
    if there == (&lane.new.name, &set.name, &set.key) {
        return Ok(manifest);
    }
    let Manifest { store, set: of, key, .. } = &manifest;
    let detail = format!(
        "it is of {of} in {store} by {key}, and the plan moves {} to {} in {} by {}",
        backup.dataset, set.name, lane.new.name, set.key
    );
    Err(Fault::new(FaultKind::Refused, format!("restore {}", backup.told())).detail(detail))
}

/// Rows that are looked at together.
pub(super) fn at_once(cx: &StepContext) -> usize {
    usize::try_from(cx.plan.migration.batch_records).unwrap_or(usize::MAX)
}
