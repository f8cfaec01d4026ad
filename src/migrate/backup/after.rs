//! After a rollback: the target is held against the backup from before the run, row by row.
//!
//! Undoing the lanes works from the ledger's items. What it could not take back, because items were lost or what stood
//! before was not kept, shows here: a row that is missing, one that still has what the run wrote, one that the backup does
//! not have and that is a copy of a legacy record. The first two are put back, after the row that is overwritten was kept
//! in the ledger; the third is removed, since the legacy side has it. Whatever is otherwise without that is somebody else's
//! work on the new side: it is left alone and counted. Must never enter: a step's order.

use super::{
    Backup, Manifest,
    others::{self, Others},
    read::Rows,
    restore::at_once,
    target::{Target, Unfit, Wrong},
};
use crate::{
    engine::StepContext,
    error::{FaultKind, Result},
    migrate::{lane::Lane, records, verified::counted},
    model::{Check, Key, LaneKind, LaneStage, Record, Timestamp, Verdict},
    plan::{DatasetPlan, OnConflict},
    ports::ConflictRow,
};
use std::collections::{BTreeMap, BTreeSet};

/// What a conflict says of a row that was overwritten from the backup.
const PUT_BACK: &str = "put back from the backup";

/// A dataset's backup, and the lane beside it.
struct Compared<'a> {
    lane: Lane<'a>,
    backup: Backup,
    manifest: Manifest,
}

/// What was found of a dataset.
#[derive(Default)]
struct Found {
    rows: u64,
    wrong: u64,
    missing: u64,
    put_back: u64,
    /// Otherwise, and not the run's doing.
    theirs: u64,
    /// Not in the backup.
    others: u64,
    /// Removed of those: copies of legacy records.
    removed: u64,
    left: u64,
    /// The first of those that are left.
    first: Option<Unfit>,
}

/// The checks that the target of every dataset that the run wrote to is as it was before: equal to the backup in each row
/// that nobody else changed since. What the run left otherwise is put right.
///
/// # Errors
/// `Cancelled` when stopped; `Ledger`. All else is in the checks: `Fail` if a target is not as it was and could not be put
/// right, or if a server stays away; `Unknown` if a backup is lost or hurt, which nobody can mend.
pub async fn compare_after_rollback(cx: &StepContext) -> Result<Vec<Check>> {
    let mut all = Vec::new();
    for dataset in &cx.plan.datasets {
        if super::is_written(cx, dataset).await? {
            all.push((dataset, both(cx, dataset).await));
        }
    }
    // Rows go in the opposite order, since those of a later dataset may refer to those of an earlier one.
    let mut removed = 0;
    for (_, one) in all.iter_mut().rev() {
        if let Ok((compared, found)) = one
            && found.others > 0
        {
            match remove_copies(compared).await {
                Ok(count) => {
                    found.removed = count;
                    found.others -= count;
                    removed += count;
                }
                Err(fault) => *one = Err(fault),
            }
        }
    }
    for (_, one) in &mut all {
        // A value that must be unique may have been held by a row that is gone now.
        if let Ok((compared, found)) = one
            && found.left > 0
            && removed > 0
        {
            match again(compared, found).await {
                Ok(better) => *found = better,
                Err(fault) => *one = Err(fault),
            }
        }
    }
    all.into_iter().map(|(dataset, one)| check(dataset, one.map(|(_, found)| found))).collect()
}

async fn both<'a>(cx: &'a StepContext, dataset: &'a DatasetPlan) -> Result<(Compared<'a>, Found)> {
    let backup = Backup::of(cx, &dataset.name)?;
    let manifest = backup.manifest().await?;
    let compared = Compared { lane: Lane::new(cx, dataset, LaneKind::Records, LaneStage::Undone)?, backup, manifest };
    let found = compare(&compared).await?;
    Ok((compared, found))
}

async fn again(compared: &Compared<'_>, first: &Found) -> Result<Found> {
    let second = compare(compared).await?;
    Ok(Found {
        put_back: first.put_back + second.put_back,
        wrong: first.put_back + second.wrong,
        removed: first.removed,
        ..second
    })
}

/// Compares every row of the backup and puts back what the run left otherwise.
async fn compare(compared: &Compared<'_>) -> Result<Found> {
    let Compared { lane, backup, manifest } = compared;
    let target = Target::new(lane, &lane.new).await?;
    let mut found = Found { rows: manifest.rows, ..Found::default() };
    let mut rows = Rows::new(backup, manifest);
    while let Some(some) = rows.some(at_once(lane.cx)).await? {
        let wrong = target.wrong(some).await?;
        found.look_at(&target, wrong).await?;
        super::progress(lane.cx, "compares with the backup of", &backup.dataset, rows.given, Some(manifest.rows));
        lane.cx.signals.breathe().await?;
    }
    let present = manifest.rows.saturating_sub(found.missing);
    found.others = lane.count(&lane.new).await?.saturating_sub(present);
    Ok(found)
}

impl Found {
    async fn look_at(&mut self, target: &Target<'_>, wrong: Vec<Wrong>) -> Result<()> {
        if wrong.is_empty() {
            return Ok(());
        }
        self.wrong += wrong.len() as u64;
        let own = runs_own(target.lane, &wrong).await?;
        let (ours, theirs): (Vec<Wrong>, Vec<Wrong>) =
            wrong.into_iter().partition(|one| one.found.is_none() || own.contains(&one.key));
        self.theirs += theirs.len() as u64;
        if ours.is_empty() {
            return Ok(());
        }
        target.takes_writes()?;
        for one in &ours {
            keep(target.lane, one).await?;
        }
        let count = ours.len() as u64;
        let unfit = target.put(ours.into_iter().map(|one| one.kept).collect()).await?;
        self.put_back += count - unfit.len() as u64;
        self.missing += unfit.iter().filter(|unfit| unfit.missing).count() as u64;
        self.left += unfit.len() as u64;
        self.first = self.first.take().or(unfit.into_iter().next());
        Ok(())
    }
}

/// The keys of those rows that still have what the run wrote, or what its undo made of the row before.
async fn runs_own(lane: &Lane<'_>, wrong: &[Wrong]) -> Result<BTreeSet<String>> {
    let kinds = lane.kinds().await?;
    let there = wrong.iter().filter_map(|one| Some((one.key.clone(), one.found.clone()?))).collect();
    let mut own = copies(lane, &there, true).await?;
    for one in wrong {
        // The ledger keeps rows as JSON, which blurs what only a typed form tells apart.
        let blurred = Record::from_json(one.kept.to_json());
        if blurred.is_some_and(|blurred| kinds.holds(one.found.as_ref(), &blurred)) {
            own.insert(one.key.clone());
        }
    }
    Ok(own)
}

/// The keys of those rows that are what the run makes of their legacy records. `stood`: they were there before, so that the
/// plan says what is written over them.
pub(super) async fn copies(lane: &Lane<'_>, rows: &BTreeMap<String, Record>, stood: bool) -> Result<BTreeSet<String>> {
    let mut copies = BTreeSet::new();
    let kept: &[String] = match &lane.dataset.on_conflict {
        OnConflict::Skip if stood => return Ok(copies),
        OnConflict::Merge { keep } if stood => keep,
        _ => &[],
    };
    let kinds = lane.kinds().await?;
    let keys: Vec<Key> = rows.keys().cloned().map(Key).collect();
    for (key, record) in lane.fetch(&lane.old, &keys).await? {
        if let Ok(Some(mapped)) = lane.mapped_one(&record).await?
            && kinds.holds(rows.get(&key), &records::merged(&mapped, kept))
        {
            copies.insert(key);
        }
    }
    Ok(copies)
}

/// Removes rows that the backup does not have and the legacy side does; how many.
async fn remove_copies(compared: &Compared<'_>) -> Result<u64> {
    let Compared { lane, backup, manifest } = compared;
    let target = Target::new(lane, &lane.new).await?;
    others::remove(&target, backup, manifest, Others::Copies).await
}

/// A row that is about to be overwritten is kept.
async fn keep(lane: &Lane<'_>, one: &Wrong) -> Result<()> {
    let Some(found) = &one.found else { return Ok(()) };
    let row = ConflictRow {
        lane: lane.id.clone(),
        key: one.key.clone(),
        legacy: one.kept.to_json(),
        new: found.to_json(),
        resolution: PUT_BACK.into(),
        at: Timestamp::now(),
    };
    lane.once("keep a row that is overwritten", lane.cx.work.conflict(&row)).await
}

fn check(dataset: &DatasetPlan, found: Result<Found>) -> Result<Check> {
    let (verdict, value, remedy) = match found {
        Ok(found) => said(&dataset.name, &found),
        Err(fault) if matches!(fault.kind, FaultKind::Cancelled | FaultKind::Ledger) => return Err(fault),
        Err(fault) if matches!(fault.kind, FaultKind::NotFound | FaultKind::Mismatch) => {
            let remedy = "compare by hand: the lanes were undone by the ledger, and nothing else proves it";
            (Verdict::Unknown, fault.chain(), remedy.to_owned())
        }
        Err(fault) => (Verdict::Fail, fault.chain(), fault.kind.remedy().to_owned()),
    };
    let check = Check::new(format!("{} as in the backup", dataset.name), verdict, value, Timestamp::now())
        .limit("every row of the backup");
    Ok(if verdict == Verdict::Pass { check } else { check.remedy(remedy) })
}

fn said(dataset: &str, found: &Found) -> (Verdict, String, String) {
    let same = found.rows.saturating_sub(found.wrong);
    let besides = counted(&[
        (found.put_back, "put back from it"),
        (found.removed, "that the run left removed"),
        (found.theirs, "changed since by others and left alone"),
        (found.others, "created since and left alone"),
        (found.left, "not as before"),
    ]);
    let value = format!("{same} of {} rows the same{besides}", found.rows);
    match &found.first {
        None => (Verdict::Pass, value, String::new()),
        Some(unfit) => {
            let remedy = format!("look with `cutover restore --dataset {dataset}`, mend it, then `cutover resume`");
            (Verdict::Fail, format!("{value}, first {}: {}", unfit.key, unfit.why), remedy)
        }
    }
}
