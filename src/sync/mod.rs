//! Carries changes between the sides and decides conflicts.
//!
//! Neighbours: `migrate` moved the data and wrote down the digest of each record as it was copied; that digest tells
//! which side changed since. Must never enter: drivers and screens.

pub mod conflict;
mod drift;
mod files_back;
mod keep;
mod reverse;
mod sets;
mod sets_back;
mod sets_late;
mod shape;

use crate::{
    engine::StepContext,
    error::Result,
    migrate::{lane::Lane, verified::counted},
    model::{Check, LaneId, Timestamp, Verdict},
    plan::{DatasetPlan, FileSetPlan},
    ports::Cursor,
};
use serde::{Deserialize, Serialize};
use shape::Shape;

/// What a synchronisation did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SyncReport {
    /// The dataset's lane.
    pub lane: LaneId,
    /// Records looked at.
    pub checked: u64,
    /// Records that were changed on the side they were carried to.
    pub updated: u64,
    /// Records that were created there.
    pub created: u64,
    /// Records that were deleted there.
    pub deleted: u64,
    /// Files carried.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Conflicts that the policy decided.
    pub resolved: u64,
    /// Conflicts left to a person; neither side was changed.
    pub open: u64,
    /// Changes that have no way across, by key: a computed field changed on the new side, bytes that are not there. Each
    /// record stands in the ledger with both versions.
    pub stranded: Vec<String>,
    /// Items absent on the one side that were kept on the other, because so many are more likely a loss than the work of
    /// users.
    pub kept: u64,
    /// The same as evidence.
    pub checks: Vec<Check>,
}

/// A legacy record that changed after it was copied.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Drift {
    /// Its key.
    pub key: String,
    /// What happened.
    pub kind: DriftKind,
    /// The fields that differ between the sides now.
    pub fields: Vec<String>,
}

/// What happened to a record since it was copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DriftKind {
    /// Created on the legacy side.
    Created,
    /// Changed on the legacy side alone.
    Legacy,
    /// Changed on both sides.
    Both,
    /// Deleted on the legacy side.
    Deleted,
}

impl SyncReport {
    const fn new(lane: LaneId) -> Self {
        Self {
            lane,
            checked: 0,
            updated: 0,
            created: 0,
            deleted: 0,
            files: 0,
            bytes: 0,
            resolved: 0,
            open: 0,
            stranded: Vec::new(),
            kept: 0,
            checks: Vec::new(),
        }
    }

    /// What there was to be done.
    #[must_use]
    pub const fn found(&self) -> u64 {
        self.updated + self.created + self.deleted + self.resolved + self.open + self.kept
    }

    /// In one line.
    #[must_use]
    pub fn summary(&self) -> String {
        let counts = counted(&[
            (self.updated, "updated"),
            (self.created, "created"),
            (self.deleted, "deleted"),
            (self.files, "files"),
            (self.resolved, "conflicts decided"),
            (self.open, "conflicts open"),
            (self.stranded.len() as u64, "without a way across"),
            (self.kept, "absent and kept"),
        ]);
        format!("{} looked at{counts}", self.checked)
    }

    /// Writes the counts down as evidence.
    fn conclude(&mut self, name: &str, at: Timestamp) {
        let good = self.open == 0 && self.stranded.is_empty() && self.kept == 0;
        let verdict = if good { Verdict::Pass } else { Verdict::Fail };
        let mut check = Check::new(format!("{} {name}", self.lane), verdict, self.summary(), at)
            .limit("no conflict open, nothing without a way across");
        if !good {
            let first = self.stranded.first().map(|key| format!(", first {key}")).unwrap_or_default();
            let remedy = match self.kept {
                0 => format!("both versions stand in the ledger: decide them by hand{first}"),
                kept => {
                    format!("{kept} absent at once look like a loss: see that the whole store is there, then retry")
                }
            };
            check = check.remedy(remedy);
        }
        self.checks = vec![check];
    }
}

/// New side → legacy side: carries back every record that was created, changed or deleted on the new side since it was
/// copied, with its bytes. Where the legacy record changed too, the plan's policy decides; a conflict is always kept in
/// the ledger with both versions. Nothing is done for a lane whose undo has begun, or that never began.
///
/// # Errors
/// `Unmet` if the legacy side refuses a record; what a port says after all attempts; `Cancelled` when stopped.
pub async fn reverse(cx: &StepContext, dataset: &DatasetPlan) -> Result<SyncReport> {
    reverse::run(cx, dataset).await
}

/// New side → legacy side for a file set: carries back every file that users created, changed or deleted under the set's
/// new prefix since it was copied. Where the legacy file changed too, the plan's policy decides; left to a person, the new
/// file is laid beside the legacy one under `<key>.cutover-new`. A conflict is always kept in the ledger. Nothing is done
/// for a lane whose undo has begun, or that never began.
///
/// # Errors
/// `Unmet` if the legacy bucket refuses a file; what a bucket says after all attempts; `Cancelled` when stopped.
pub async fn reverse_set(cx: &StepContext, set: &FileSetPlan) -> Result<SyncReport> {
    sets_back::run(cx, set).await
}

/// Whether so many deletions among so many are more likely a loss than the work of users.
const fn looks_like_a_loss(deleted: u64, of: u64) -> bool {
    deleted == of || (deleted > 3 && deleted * 10 > of * 3)
}

/// Legacy records that changed after they were copied: at most 1,000. Changes nothing.
///
/// # Errors
/// What a port says after all attempts; `Cancelled` when stopped.
pub async fn drift(cx: &StepContext, dataset: &DatasetPlan) -> Result<Vec<Drift>> {
    drift::list(cx, dataset).await
}

/// Settles the drift: carries forward what only the legacy side changed, created or deleted, with its bytes, and lets
/// the policy decide where both did.
///
/// # Errors
/// As [`reverse()`].
pub async fn settle(cx: &StepContext, dataset: &DatasetPlan) -> Result<SyncReport> {
    drift::settle(cx, dataset).await
}

/// The same for a file set: carries forward what only the legacy side created, changed or deleted under the set's prefix,
/// and lets the policy decide where users did something on the new side too; what both sides created is always left to a
/// person. `None` if nothing came late.
///
/// # Errors
/// As [`reverse_set`].
pub async fn settle_set(cx: &StepContext, set: &FileSetPlan) -> Result<Option<SyncReport>> {
    sets_late::run(cx, set).await
}

/// Legacy records looked at to learn what they look like.
const SAMPLE: u32 = 50;

/// What the legacy side's records look like.
async fn look_at(lane: &Lane<'_>) -> Result<Shape> {
    let old = &lane.old;
    let doing = format!("look at {} in {}", old.set.name, old.name);
    let info = lane.call(&doing, || old.store.describe(&old.set)).await?;
    let sample = lane.call(&doing, || old.store.read(&old.set, &Cursor::START, SAMPLE)).await?;
    let mapped = lane.mapped(&sample.records).await?;
    Ok(Shape::learn(info.fields, &sample.records, mapped))
}

#[cfg(test)]
mod sets_tests;
#[cfg(test)]
mod tests;
