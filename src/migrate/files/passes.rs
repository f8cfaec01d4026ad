//! What else must move besides the main pass: what an earlier attempt left behind, files of records that changed, and
//! files whose records are gone.

use super::{
    FileFacts, FileLane, NO_BLOB, Which, has_arrived,
    listing::Lister,
    mover::{Mover, is_nameless},
    source::{Listed, Source},
};
use crate::{
    error::{FaultKind, Result},
    migrate::{
        records::{GONE, fingerprint, watermark, watermark_of},
        undo,
    },
    model::{BatchId, BatchState, ItemState},
    ports::{BatchQuery, BatchRow, Cursor, ItemQuery, ItemRow},
};
use futures::StreamExt;
use std::{
    collections::{BTreeMap, HashSet},
    pin::pin,
};

/// Passes over the changes before the lane leaves the rest to a later one.
const PASSES: u32 = 8;
/// Items looked at together.
const TOGETHER: u32 = 500;
/// Keys of the source that are kept in memory at once, about.
const SHARE: u64 = 1 << 20;

/// Makes what failed pending again, in the batches it belongs to. What failed for a flaw of its record is forgotten, and
/// the source is listed again: whoever still has the flaw fails anew, whoever was mended moves.
///
/// # Errors
/// What the ledger says.
pub(super) async fn reopen(files: &FileLane<'_>) -> Result<()> {
    let lane = &files.lane;
    let tally = lane.meter.tally();
    if tally.failed + tally.lost == 0 {
        return Ok(());
    }
    let query = ItemQuery { states: vec![ItemState::Failed, ItemState::Lost], limit: TOGETHER, ..ItemQuery::default() };
    let mut pages = pin!(lane.items(&query));
    let mut again = false;
    while let Some(items) = pages.next().await {
        let (flawed, mut failed): (Vec<ItemRow>, Vec<ItemRow>) =
            items?.into_iter().partition(|item| is_nameless(item) || FileFacts::of(item).flaw.is_some());
        again |= !flawed.is_empty();
        undo::take_back_gone_files(files, &flawed).await?;
        for item in &mut failed {
            item.state = ItemState::Pending;
            item.error = None;
        }
        reopen_batches(files, failed).await?;
    }
    if again {
        lane.note("listing", &serde_json::Value::Null).await?;
    }
    Ok(())
}

/// Saves pending items and opens the batches they belong to.
pub(super) async fn reopen_batches(files: &FileLane<'_>, items: Vec<ItemRow>) -> Result<()> {
    let lane = &files.lane;
    let mut by_batch: BTreeMap<BatchId, Vec<ItemRow>> = BTreeMap::new();
    for item in items {
        by_batch.entry(item.batch.clone()).or_default().push(item);
    }
    for (batch, items) in by_batch {
        let query = BatchQuery { batch: Some(batch), limit: 1, ..BatchQuery::default() };
        let rows = lane.once("ask the ledger for batches", lane.cx.work.batch_page(&query)).await?;
        if let Some(row) = rows.into_iter().next() {
            let row = BatchRow { state: BatchState::Pending, finished: None, ..row };
            lane.once("save a batch", lane.cx.work.save(&row, &items)).await?;
        }
    }
    Ok(())
}

/// Carries the files of records that changed since the watermark, pass after pass, until one brings nothing new. Of a
/// bucket, which is listed again for that, it gives how many files the last pass saw.
pub(super) async fn catch_up(lister: &Lister<'_>, mover: &Mover<'_>) -> Result<Option<u64>> {
    for _ in 0..PASSES {
        let Passed { seen, brought } = pass(lister, mover).await?;
        if brought == 0 {
            return Ok(lister.files().is_listing().then_some(seen));
        }
    }
    Ok(None)
}

/// What a pass found.
pub(super) struct Passed {
    /// Files of the source that it saw.
    seen: u64,
    /// Those that the target did not hold as they are now.
    pub(super) brought: u64,
}

/// One pass over what changed; over everything, where nothing says what did.
pub(super) async fn pass(lister: &Lister<'_>, mover: &Mover<'_>) -> Result<Passed> {
    let files = lister.files();
    let lane = &files.lane;
    let since = match &files.source {
        Source::Records { lane, .. } => watermark(lane).await?.filter(|_| lane.old.set.updated.is_some()),
        Source::Listing(_) => None,
    };
    let which = since.map_or(Which::All, Which::Since);
    let held = files.held_back().await?;
    let mut pages = pin!(files.listed(which, Cursor::START));
    let (mut seen, mut brought, mut next_mark) = (0, 0, None);
    while let Some(listed) = pages.next().await {
        let Listed { mut entries, as_of, .. } = listed?;
        next_mark.get_or_insert_with(|| watermark_of(as_of, files.overlap(), held));
        seen += entries.len() as u64;
        while !entries.is_empty() {
            // What the ledger knows of a file takes more memory than what the listing says.
            let rest = entries.split_off(entries.len().min(TOGETHER as usize));
            brought += lister.enlist(std::mem::replace(&mut entries, rest), None).await?;
        }
        lane.cx.signals.breathe().await?;
    }
    if brought > 0 {
        mover.move_open().await?;
    }
    if let Some(mark) = next_mark.flatten() {
        lane.note("watermark", &mark.to_string().into()).await?;
    }
    Ok(Passed { seen, brought })
}

/// Takes files back whose records were deleted in the source after they were copied. Only looks when the records' lane
/// says that there are any.
pub(crate) async fn drop_gone(files: &FileLane<'_>) -> Result<()> {
    let (lane, _) = files.dataset()?;
    let records = lane.once("ask the ledger for sums", lane.cx.work.tally(&lane.dataset.lane())).await?;
    if records.skipped == 0 && records.items() <= lane.count(&lane.old).await? {
        return Ok(());
    }
    drop_unknown(files).await
}

/// The same for a bucket of which the last pass saw so many files. Everything that it saw is an item: if there are as many
/// of them, none is gone.
pub(super) async fn drop_gone_from(files: &FileLane<'_>, seen: Option<u64>) -> Result<()> {
    let lane = &files.lane;
    let known = lane.once("ask the ledger for sums", lane.cx.work.tally(&lane.id)).await?.items();
    if seen == Some(known) { Ok(()) } else { drop_unknown(files).await }
}

/// Forgets what failed and no record asks for any more: whoever mends a record may give its file another key, and what
/// failed under the old one would fail for ever. Only looks if something failed.
pub(super) async fn drop_failed(files: &FileLane<'_>) -> Result<()> {
    if files.lane.meter.tally().failed == 0 || files.is_listing() {
        return Ok(());
    }
    drop_those(files, vec![ItemState::Failed]).await
}

/// Takes files back that the source does not have any more. Of what a listing did not bring the bucket is asked once more:
/// a folder that could not be read must not look like one that was emptied.
async fn drop_unknown(files: &FileLane<'_>) -> Result<()> {
    let states = vec![
        ItemState::Pending,
        ItemState::Copying,
        ItemState::Copied,
        ItemState::Verified,
        ItemState::Failed,
        ItemState::Lost,
        ItemState::Skipped,
    ];
    drop_those(files, states).await
}

/// Reads the source's keys once more, as often as it takes to keep few enough of them in memory at a time.
async fn drop_those(files: &FileLane<'_>, states: Vec<ItemState>) -> Result<()> {
    let known = files.lane.once("ask the ledger for sums", files.lane.cx.work.tally(&files.lane.id)).await?.items();
    let shares = known / SHARE + 1;
    for share in 0..shares {
        let is_in = |fingerprint: u64| fingerprint % shares == share;
        let keys = keys_of_source(files, is_in).await?;
        let query = ItemQuery { states: states.clone(), limit: TOGETHER, ..ItemQuery::default() };
        let mut pages = pin!(files.lane.items(&query));
        while let Some(items) = pages.next().await {
            let mut items = items?;
            items.retain(|item| {
                let fingerprint = fingerprint(&item.key);
                is_in(fingerprint) && !keys.contains(&fingerprint) && may_go(files, item)
            });
            if files.is_listing() {
                items = gone_for_sure(files, items).await?;
            }
            undo::take_back_gone_files(files, &items).await?;
            files.lane.cx.signals.breathe().await?;
        }
    }
    Ok(())
}

/// Fingerprints of those of the keys that the source asks for: eight bytes for each.
async fn keys_of_source(files: &FileLane<'_>, wanted: impl Fn(u64) -> bool) -> Result<HashSet<u64>> {
    let mut keys: HashSet<u64> = HashSet::new();
    let mut pages = pin!(files.listed(Which::All, Cursor::START));
    while let Some(listed) = pages.next().await {
        keys.extend(listed?.entries.iter().map(|entry| fingerprint(&entry.key)).filter(|key| wanted(*key)));
    }
    Ok(keys)
}

/// Whether an item that the source does not have is one to be taken back, or no longer counted.
fn may_go(files: &FileLane<'_>, item: &ItemRow) -> bool {
    let counts = match item.state {
        ItemState::Pending => true,
        // Left alone in the target, and no longer counted.
        ItemState::Skipped => item.reason != GONE,
        state => has_arrived(state) || item.attempts > 0,
    };
    let named = if files.is_listing() { item.key.starts_with(NO_BLOB) } else { is_nameless(item) };
    counts && !named
}

/// Those of the items whose files the bucket says it does not have.
///
/// # Errors
/// What the bucket says after all attempts.
pub(crate) async fn gone_for_sure(files: &FileLane<'_>, items: Vec<ItemRow>) -> Result<Vec<ItemRow>> {
    let mut gone = Vec::new();
    for item in items {
        let doing = format!("look for {} again", item.source);
        match files.lane.call(&doing, || files.old.head(&item.source)).await {
            Ok(None) => gone.push(item),
            Ok(Some(_)) => {}
            Err(fault) if matches!(fault.kind, FaultKind::Permission | FaultKind::Refused) => {}
            Err(fault) => return Err(fault),
        }
    }
    Ok(gone)
}
