//! Proves a backup: it is restored into a set made for it beside the real one, read back and compared row by row. Where
//! the store can make no such set the backup is read and understood, and the check says that this is all.

use super::{
    Backup, Manifest, Proof, Proven,
    read::{Rows, check},
    target::Target,
};
use crate::{
    engine::{StepContext, StepDone},
    error::{Fault, FaultKind, Result},
    migrate::lane::{Lane, Side},
    model::{Check, LaneKind, LaneStage, Timestamp, Verdict},
    plan::DatasetPlan,
    ports::SetRef,
};

/// How far a proof may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// Restored, where the store can.
    Restoring,
    /// Only read: nothing may be written, for this reason.
    Reading(&'static str),
}

/// Proves the dataset's backup of this run and says in a check how. What an earlier attempt left in the store goes first,
/// and what this one made goes afterwards.
///
/// # Errors
/// `Mismatch` if the backup is hurt or a row of it does not come back; `NotFound` if there is none; what the store or the
/// place says after all attempts; `Cancelled` when stopped. It can be called again and begins anew.
pub async fn prove(cx: &StepContext, dataset: &DatasetPlan, how: How) -> Result<StepDone> {
    let backup = Backup::of(cx, &dataset.name)?;
    let manifest = backup.manifest().await?;
    let lane = Lane::new(cx, dataset, LaneKind::Records, LaneStage::Waiting)?;
    let proof = match how {
        How::Reading(why) => Proof::Read(why.to_owned()),
        How::Restoring => restored(&lane, &backup, &manifest).await?,
    };
    if matches!(proof, Proof::Read(_)) {
        check(&backup).await?;
    }
    backup.keep_proof(&Proven { how: proof.clone(), at: Timestamp::now(), of: manifest.seal() }).await?;
    let (rows, name) = (manifest.rows, &dataset.name);
    let (what, value) = match proof {
        Proof::Restored => ("restored", format!("{rows} rows put into a scratch set, read back and equal")),
        Proof::Read(why) => ("read back", format!("{rows} rows read, checked and understood; not restored: {why}")),
    };
    let check = Check::new(format!("backup of {name} {what}"), Verdict::Pass, value.clone(), Timestamp::now())
        .limit("every row, exactly");
    Ok(StepDone::new(format!("{name}: {value}")).checks(vec![check]))
}

/// Restores into a scratch set, which goes in any case; or says why there is none.
async fn restored(lane: &Lane<'_>, backup: &Backup, manifest: &Manifest) -> Result<Proof> {
    let new = &lane.new;
    let doing = format!("make a scratch set beside {} in {}", new.set.name, new.name);
    if lane.call(&doing, || new.store.discard(&new.set)).await? {
        lane.cx.report.note(None, format!("{}: a scratch set of an earlier attempt is removed", lane.id));
    }
    let scratch = match lane.call(&doing, || new.store.scratch(&new.set)).await {
        Ok(Some(scratch)) => scratch,
        Ok(None) => return Ok(Proof::Read(format!("{} can make no set beside {}", new.name, new.set.name))),
        // It may not, or its table is of a kind that cannot be made again: no reason to stop, but to be told.
        Err(fault) if matches!(fault.kind, FaultKind::Refused | FaultKind::Unauthorized | FaultKind::Permission) => {
            return Ok(Proof::Read(fault.chain()));
        }
        Err(fault) => return Err(fault),
    };
    let filled = fill(lane, scratch, backup, manifest).await;
    let gone = lane.call(&doing, || new.store.discard(&new.set)).await;
    filled?;
    gone.map(|_| Proof::Restored)
}

async fn fill(lane: &Lane<'_>, scratch: SetRef, backup: &Backup, manifest: &Manifest) -> Result<()> {
    let side = Side { set: scratch, ..lane.new.clone() };
    let target = Target::new(lane, &side).await?;
    let doing = || format!("restore {} into {}", backup.told(), side.set.name);
    let most = super::restore::at_once(lane.cx);
    let mut rows = Rows::new(backup, manifest);
    while let Some(some) = rows.some(most).await? {
        if let Some(first) = target.put(some).await?.first() {
            let detail = format!("the row {} does not come back: {}", first.key, first.why);
            return Err(Fault::new(FaultKind::Mismatch, doing()).detail(detail));
        }
        super::progress(lane.cx, "proves the backup of", &backup.dataset, rows.given, Some(manifest.rows));
        lane.cx.signals.breathe().await?;
    }
    let count = lane.count(&side).await?;
    if count == manifest.rows {
        return Ok(());
    }
    let detail = format!("{count} rows came back, {} were written", manifest.rows);
    Err(Fault::new(FaultKind::Mismatch, doing()).detail(detail))
}
