//! A lane of files between the copy ahead and the drain: the files of records that changed, and now and then all of them.
//!
//! Must never enter: waiting, and which lane has its turn.

use super::{FileLane, FilesOf, Lister, Mover, copy_all, passes};
use crate::{
    engine::StepContext,
    error::Result,
    migrate::records::follow::{at_rest, keep, kept},
    model::{Follow, LaneStage, Sweep, Timestamp},
};
use std::time::Instant;

/// Carries what changed since the last pass. `whole`: lists everything again, tries again what failed and takes back what
/// is gone.
///
/// # Errors
/// The fault of the last attempt, which is kept as what keeps the lane from following; `Cancelled` when stopped.
pub(crate) async fn follow(cx: &StepContext, of: FilesOf<'_>, whole: bool) -> Result<()> {
    let files = FileLane::of(cx, of, LaneStage::Following)?;
    let mut follow = kept(&files.lane).await?.unwrap_or_default();
    files.lane.meter.set_follow(&follow);
    let result = pass(&files, &mut follow, whole).await;
    at_rest(&files.lane, follow, result).await
}

async fn pass(files: &FileLane<'_>, follow: &mut Follow, whole: bool) -> Result<()> {
    let (began, clock) = (Timestamp::now(), Instant::now());
    let carried = if whole {
        let before =
            files.lane.once("ask the ledger for sums", files.lane.cx.work.tally(&files.lane.id)).await?.items();
        copy_all(files).await?;
        files.lane.meter.tally().items().saturating_sub(before)
    } else {
        changes(files).await?
    };
    let took = clock.elapsed();
    if whole {
        let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        let looked = files.lane.meter.tally().items();
        follow.swept = Some(Sweep { took_ms, looked, ..Sweep::new(began) });
    }
    follow.passed(began, took, carried);
    keep(&files.lane, follow).await
}

async fn changes(files: &FileLane<'_>) -> Result<u64> {
    files.lane.take_stock().await?;
    let lister = Lister::new(files).await?;
    let mover = Mover::new(files).await?;
    // Ended long ago, unless what a whole pass had opened again was cut short.
    futures::try_join!(lister.list_all(), mover.drain(&lister))?;
    let brought = passes::pass(&lister, &mover).await?.brought;
    files.lane.take_stock().await?;
    mover.within_limits()?;
    Ok(brought)
}
