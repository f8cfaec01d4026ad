//! Proves that there is a way back before anybody goes forward.

use super::{
    lane::{Lane, by_key},
    retry::persist,
};
use crate::{
    engine::StepContext,
    error::{Fault, FaultKind, Result},
    migrate::{
        compare::Kinds,
        files::{ASIDE, FileLane, transfer},
    },
    model::{Check, Digest, LaneKind, LaneStage, Record, Timestamp, Verdict},
    plan::{DatasetPlan, StorePlan},
    ports::{BlobBody, BlobMeta, BlobStore, Cursor, Put, WriteOutcome},
};
use bytes::Bytes;
use futures::{StreamExt as _, stream};
use std::collections::BTreeSet;

/// Records looked at to find one that is not being written.
const LOOKED_AT: u32 = 50;
/// Where markers stand in a bucket; a run's own below it.
const MARKERS: &str = ".cutover-marker/";

/// A marker travels the reverse path for every dataset: one legacy record is written onto itself through the reverse
/// mapping and read back unchanged; a small object goes to the new bucket, from there to the legacy bucket, is read
/// there, and both are removed. An empty legacy set gives `Unknown`.
///
/// # Errors
/// Only `Cancelled`; what a server says is a check that failed.
pub async fn prove_way_back(cx: &StepContext) -> Result<Vec<Check>> {
    let mut checks = Vec::new();
    for dataset in &cx.plan.datasets {
        let name = format!("way back for {}", dataset.name);
        if cx.plan.stores.get(&dataset.from.store).is_some_and(StorePlan::is_only_read) {
            let value = format!("{} is only read: its records stay where they are", dataset.from.store);
            checks.push(Check::new(name, Verdict::Pass, value, Timestamp::now()));
        } else {
            checks.push(told(name, row_travels(cx, dataset).await)?);
        }
        if let Some(blob) = &dataset.blob {
            checks.push(told(
                format!("way back for files of {}", dataset.name),
                file_travels(cx, &blob.from, &blob.to).await,
            )?);
        }
    }
    for set in &cx.plan.file_sets {
        let (from, to) = (&set.from.bucket, &set.to.bucket);
        checks.push(told(format!("way back for files of {}", set.name), file_travels(cx, from, to).await)?);
    }
    Ok(checks)
}

/// A result as a check; only a stop stays an error.
fn told(name: String, result: Result<(Verdict, String)>) -> Result<Check> {
    match result {
        Ok((verdict, value)) => Ok(Check::new(name, verdict, value, Timestamp::now())),
        Err(fault) if fault.kind == FaultKind::Cancelled => Err(fault),
        Err(fault) => Ok(Check::new(name, Verdict::Fail, fault.chain(), Timestamp::now()).remedy(fault.kind.remedy())),
    }
}

async fn row_travels(cx: &StepContext, dataset: &DatasetPlan) -> Result<(Verdict, String)> {
    let lane = Lane::new(cx, dataset, LaneKind::Records, LaneStage::Waiting)?;
    let side = &lane.old;
    let doing = format!("write a record of {} onto itself", side.set.name);
    let page = lane.call(&doing, || side.store.read(&side.set, &Cursor::START, LOOKED_AT)).await?;
    // The one that was left alone for longest: the legacy side is in use, and nobody may be writing this one just now.
    let updated = |record: &Record| lane.mapping.updated_field().and_then(|field| record.text(field));
    let Some(record) = page.records.into_iter().min_by_key(updated) else {
        return Ok((Verdict::Unknown, "the legacy side has no record to try it with".into()));
    };
    let Some(key) = lane.mapping.key(&record) else {
        return Ok((Verdict::Fail, format!("the first record has no `{}`", lane.mapping.key_field())));
    };
    let marker = lane.mapping.comes_back(&record);
    let one = std::slice::from_ref(&marker);
    let outcomes = lane.call(&doing, || side.store.write(&side.set, one)).await?;
    if let Some(WriteOutcome::Rejected(why)) = outcomes.first() {
        return Ok((Verdict::Fail, format!("record {key} was refused: {why}")));
    }
    let keys = [key.clone()];
    let back = lane.call(&doing, || side.store.fetch(&side.set, &keys)).await?;
    Ok(match by_key(back, &side.set.key).get(&key.0) {
        Some(found) if Kinds::default().holds(Some(found), &record) => {
            (Verdict::Pass, format!("record {key} written onto itself and read back unchanged"))
        }
        Some(found) => (
            Verdict::Fail,
            format!("record {key} came back with other {}", Kinds::default().differing(&record, found).join(", ")),
        ),
        None => (Verdict::Fail, format!("record {key} is gone after it was written")),
    })
}

async fn file_travels(cx: &StepContext, from: &str, to: &str) -> Result<(Verdict, String)> {
    let (new, legacy) = (cx.ports.bucket(to)?, cx.ports.bucket(from)?);
    let key = format!("{MARKERS}{}", cx.work.run());
    let bytes = Bytes::from(format!("cutover marker of run {}\n", cx.work.run()));
    let digest = Digest::of(&bytes);
    let doing = "send a marker file the way back";
    let travelled = persist(cx, doing, || travel(cx, &*new, &*legacy, &key, bytes.clone())).await;
    for bucket in [&new, &legacy] {
        persist(cx, "remove a marker", || bucket.delete(&key)).await?;
    }
    Ok(match travelled? {
        Some(found) if found == digest => (Verdict::Pass, "a marker file went back and arrived whole".into()),
        _ => (Verdict::Fail, "a marker file arrived with other bytes".into()),
    })
}

async fn travel(
    cx: &StepContext,
    new: &dyn BlobStore,
    legacy: &dyn BlobStore,
    key: &str,
    bytes: Bytes,
) -> Result<Option<Digest>> {
    let (size, digest) = (bytes.len() as u64, Digest::of(&bytes));
    let bytes = stream::once(async move { Ok(bytes) }).boxed();
    let body = BlobBody { size, version: None, meta: BlobMeta::default(), bytes };
    let put = Put { sha256: Some(digest), ..Put::default() };
    new.put(key, body, &put).await?;
    let body = new.open(key, 0).await?;
    legacy.put(key, body, &put).await?;
    Ok(transfer::hash(&cx.signals, legacy, key).await?.map(|(_, digest)| digest))
}

/// Removes what the run kept beside the data: objects kept aside before they were overwritten, uploads in parts that
/// were never finished, and markers. For the
/// cleanup after the commit, when nothing can be restored any more.
///
/// # Errors
/// What a bucket says after all attempts; `Cancelled` when stopped.
pub async fn clear_aside(cx: &StepContext) -> Result<u64> {
    let run = cx.work.run();
    let mut removed = 0;
    let blobs = cx.plan.datasets.iter().filter_map(|dataset| dataset.blob.as_ref());
    let new = cx.plan.new_buckets();
    let sets = cx.plan.file_sets.iter().map(|set| set.from.bucket.as_str());
    let legacy: BTreeSet<&str> = blobs.map(|blob| blob.from.as_str()).chain(sets).collect();
    for name in &new {
        removed += clear(cx, name, &format!("{ASIDE}/{run}/")).await?;
    }
    for dataset in cx.plan.datasets.iter().filter(|dataset| dataset.blob.is_some()) {
        removed += FileLane::new(cx, dataset, LaneStage::Done)?.abandon_uploads().await?;
    }
    for set in &cx.plan.file_sets {
        removed += FileLane::of_set(cx, set, LaneStage::Done)?.abandon_uploads().await?;
    }
    // Looked up by name: not every legacy bucket can be listed.
    let marker = format!("{MARKERS}{run}");
    for name in new.union(&legacy) {
        let bucket = cx.ports.bucket(name)?;
        if persist(cx, "look for a marker", || bucket.head(&marker)).await?.is_some() {
            persist(cx, "remove a marker", || bucket.delete(&marker)).await?;
            removed += 1;
        }
    }
    Ok(removed)
}

async fn clear(cx: &StepContext, name: &str, prefix: &str) -> Result<u64> {
    let bucket = cx.ports.bucket(name)?;
    let (mut removed, mut from) = (0, None::<String>);
    loop {
        let page = persist(cx, "list what was kept aside", || bucket.list(prefix, from.as_deref(), 1000)).await?;
        for blob in page.blobs {
            if !blob.key.starts_with(prefix) {
                return Err(Fault::new(FaultKind::Garbage, format!("list {prefix} in {name}")).detail(blob.key));
            }
            persist(cx, "remove what was kept aside", || bucket.delete(&blob.key)).await?;
            removed += 1;
        }
        match page.next {
            Some(next) => from = Some(next),
            None => return Ok(removed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        migrate::world::{World, users},
        ports::fakes::Mishap,
    };

    #[tokio::test]
    async fn the_way_back_is_proven_and_leaves_no_trace() {
        let world = World::new(4, 3);
        let (rows, media) = (world.old.rows("users"), world.media.blobs());
        let cx = world.start();
        world.trouble.on("media.put", 1, Mishap::Fail(FaultKind::Server));
        let checks = prove_way_back(&cx).await.unwrap();
        assert_eq!(checks.len(), 3);
        assert!(checks.iter().all(|check| check.verdict == Verdict::Pass), "{checks:?}");
        assert_eq!((world.old.rows("users"), world.media.blobs()), (rows, media));
        assert!(world.r2.blobs().is_empty());
    }

    #[tokio::test]
    async fn a_way_that_is_shut_or_cannot_be_tried_is_said() {
        let mut world = World::new(0, 2);
        world.old.poison("1");
        world.old.poison("2");
        let cx = world.start();
        world.trouble.always("media.put", Mishap::Fail(FaultKind::Permission));
        let verdicts: Vec<Verdict> =
            prove_way_back(&cx).await.unwrap().into_iter().map(|check| check.verdict).collect();
        assert_eq!(verdicts, [Verdict::Unknown, Verdict::Fail, Verdict::Fail]);
        world.plan.datasets = vec![users()];
        let cx = world.start();
        cx.signals.stop.cancel();
        assert_eq!(prove_way_back(&cx).await.unwrap_err().kind, FaultKind::Cancelled);
    }

    #[tokio::test]
    async fn what_was_kept_aside_is_cleared_and_nothing_else() {
        let world = World::new(0, 0);
        world.r2.put_bytes(".cutover-aside/run-1/files-content/users/1", "old");
        world.r2.put_bytes(".cutover-aside/run-2/files-content/users/1", "another run's");
        world.r2.put_bytes("users/1", "new");
        assert_eq!(clear_aside(&world.start()).await.unwrap(), 1);
        assert_eq!(world.r2.blobs().len(), 2);
    }
}
