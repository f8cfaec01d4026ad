//! What else must move besides the main pass: what changed meanwhile, what an earlier attempt left behind, and what is
//! gone from the source.

use super::{
    batch::{HELD, Job, Mover, NO_KEY},
    judge, pump, watermark, watermark_of,
};
use crate::{
    error::Result,
    migrate::{
        convert::{FILTERED, Mapped},
        lane::{Lane, ReadPage, Side, Track, Which, by_key},
        undo,
    },
    model::{BatchState, ItemState, Key, Record, Timestamp},
    ports::{BatchRow, Cursor, ItemQuery, ItemRow},
};
use futures::{StreamExt, stream};
use std::{
    collections::{BTreeMap, BTreeSet},
    pin::pin,
    sync::{
        Mutex, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

/// Passes over the changes before the lane leaves the rest to a later one: the source is written faster than it is read.
const PASSES: u32 = 8;
/// The reason of items whose record is no longer in the source.
pub(crate) const GONE: &str = "gone from the source";

/// Keys of deleted records that are kept until a pass is over. Of more than these a look at all items finds the rest.
const TOLD: usize = 10_000;

/// What a pass reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// What changed since the watermark, as far as timestamps tell. Everything where they tell nothing.
    Changes,
    /// Everything.
    Everything,
}

/// What a pass brought.
#[derive(Debug, Default)]
pub(crate) struct Passed {
    /// Records that the target did not hold as they are now.
    pub(crate) brought: u64,
    /// Keys that the source says were deleted: some of them, if there are very many.
    pub(crate) told: Vec<Key>,
}

/// Carries what changed in the source since the watermark, pass after pass, until one brings nothing new. Without a
/// field that says when a record changed, each pass reads the whole source.
pub(super) async fn catch_up(mover: &Mover<'_>, first: Reach) -> Result<()> {
    let mut reach = first;
    for _ in 0..PASSES {
        let passed = pass(mover, reach).await?;
        drop_told(mover.lane, passed.told).await?;
        if passed.brought == 0 {
            break;
        }
        reach = Reach::Changes;
    }
    Ok(())
}

/// One pass. Its own first page becomes the next watermark, once all of it is carried.
pub(crate) async fn pass(mover: &Mover<'_>, reach: Reach) -> Result<Passed> {
    let lane = mover.lane;
    let tells = reach == Reach::Changes && lane.old.set.updated.is_some();
    let held = held_back(lane, &lane.old).await?;
    let since = watermark(lane).await?.filter(|_| tells);
    let which = since.map_or(Which::All, Which::Since);
    let limit = lane.compared_at_once();
    let pages = lane.pages(&lane.old, which, Cursor::START, limit);
    let brought = AtomicU64::new(0);
    let told = Mutex::new(Vec::new());
    let next_mark = OnceLock::new();
    let jobs = stream::unfold(Box::pin(pages), |mut pages| async {
        loop {
            let job = match pages.next().await? {
                Ok(read) => {
                    let _mark = next_mark.get_or_init(|| watermark_of(read.page.as_of, lane.dataset.overlap, held));
                    {
                        let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
                        let room = TOLD.saturating_sub(told.len());
                        told.extend(read.page.gone.iter().take(room).cloned());
                    }
                    fresh(mover, read).await
                }
                Err(fault) => Err(fault),
            };
            if let Some(job) = job.transpose() {
                return Some((job, pages));
            }
        }
    });
    pump(
        lane,
        jobs,
        || mover.room(HELD),
        |job: Job| {
            brought.fetch_add(job.records.len() as u64, Ordering::Relaxed);
            mover.move_batch(job)
        },
    )
    .await?;
    if let Some(mark) = next_mark.into_inner().flatten() {
        lane.note("watermark", &mark.to_string().into()).await?;
    }
    Ok(Passed { brought: brought.into_inner(), told: told.into_inner().unwrap_or_else(PoisonError::into_inner) })
}

/// Since when a transaction of a side is open, if one is: its changes bear that time. Asked before anything is read.
pub(crate) async fn held_back(lane: &Lane<'_>, side: &Side) -> Result<Option<Timestamp>> {
    if side.set.updated.is_none() {
        return Ok(None);
    }
    let doing = format!("ask {} for open transactions", side.name);
    Ok(lane.call(&doing, || side.store.open_transactions(&side.set)).await?.oldest)
}

/// Takes back what the source says was deleted, once it is seen not to be there; gives how many.
pub(crate) async fn drop_told(lane: &Lane<'_>, told: Vec<Key>) -> Result<u64> {
    let together = usize::try_from(lane.cx.plan.migration.batch_records).unwrap_or(1).max(1);
    let mut gone = 0;
    for keys in told.chunks(together) {
        let mut items: Vec<ItemRow> =
            lane.items_of(keys.iter().map(|key| key.0.clone()).collect()).await?.into_values().collect();
        items.retain(may_go);
        gone += drop_missing(lane, items).await?;
    }
    Ok(gone)
}

/// Takes those of these items back that the source does not have any more; gives how many.
pub(super) async fn drop_missing(lane: &Lane<'_>, mut items: Vec<ItemRow>) -> Result<u64> {
    let keys: Vec<Key> = items.iter().map(|item| Key(item.key.clone())).collect();
    let found = lane.fetch(&lane.old, &keys).await?;
    items.retain(|item| !found.contains_key(&item.key));
    undo::take_back_gone(lane, &items).await?;
    Ok(items.len() as u64)
}

/// Whether an item is one to be taken back if the source does not have it.
pub(super) fn may_go(item: &ItemRow) -> bool {
    !item.key.starts_with(NO_KEY) && (item.state != ItemState::Skipped || item.reason == FILTERED)
}

/// The records of a page that the target does not hold as they are now, as an extra batch.
async fn fresh(mover: &Mover<'_>, read: ReadPage) -> Result<Option<Job>> {
    let lane = mover.lane;
    let page = by_key(read.page.records, lane.mapping.key_field());
    let keys: Vec<Key> = page.keys().cloned().map(Key).collect();
    let rows = lane.fetch(&lane.new, &keys).await?;
    let items = lane.items_of(page.keys().cloned().collect()).await?;
    let mapped = judge::wanted(lane, &page, &items).await?;
    let kinds = lane.kinds().await?;
    let is_fresh = |key: &str, mapped: &Mapped| {
        if items.get(key).is_some_and(|item| item.is_left_out() || item.is_kept()) {
            return false;
        }
        match (items.get(key).map(|item| (item.state, item.digest)), mapped) {
            (Some((ItemState::Conflicting, _)), _) | (Some((ItemState::Failed, None)), Err(_)) => false,
            // Refused once, and not changed since.
            (Some((ItemState::Failed, Some(tried))), Ok(Some(mapped))) => tried != kinds.digest(mapped),
            (Some((ItemState::Copied | ItemState::Verified, _)), Ok(Some(mapped))) => {
                !kinds.holds(rows.get(key), mapped)
            }
            (Some((ItemState::Skipped, _)), Ok(None)) => items.get(key).is_none_or(|item| item.reason != FILTERED),
            _ => true,
        }
    };
    let records: Vec<Record> = page
        .iter()
        .zip(&mapped)
        .filter(|((key, _), mapped)| is_fresh(key, mapped))
        .map(|((_, record), _)| record.clone())
        .collect();
    if records.is_empty() {
        return Ok(None);
    }
    Ok(Some(Job { number: mover.next_number(), from: None, next: None, records, base: None }))
}

/// Moves again what an earlier attempt left in these states, in the batches it belongs to. Records that are gone from
/// the source meanwhile are taken back.
pub(super) async fn redo(mover: &Mover<'_>, states: &[ItemState]) -> Result<()> {
    let lane = mover.lane;
    let limit = lane.cx.plan.migration.batch_records;
    let query = ItemQuery { states: states.to_vec(), limit, ..ItemQuery::default() };
    let mut batches: Option<BTreeMap<_, BatchRow>> = None;
    let mut pages = pin!(lane.items(&query));
    while let Some(items) = pages.next().await {
        let items = items?;
        if batches.is_none() {
            let rows = lane.once("ask the ledger for batches", lane.cx.work.batches(Some(&lane.id))).await?;
            batches = Some(rows.into_iter().map(|row| (row.batch.clone(), row)).collect());
        }
        let names: BTreeSet<_> = items.iter().map(|item| item.batch.clone()).collect();
        for name in names {
            let Some(row) = batches.as_ref().and_then(|rows| rows.get(&name)) else { continue };
            let (keyless, of_batch): (Vec<_>, Vec<_>) =
                items.iter().filter(|item| item.batch == name).cloned().partition(|item| item.key.starts_with(NO_KEY));
            if !keyless.is_empty() {
                reread(mover, row, &keyless).await?;
            }
            let keys: Vec<Key> = of_batch.iter().map(|item| Key(item.key.clone())).collect();
            let found = lane.fetch(&lane.old, &keys).await?;
            let gone: Vec<_> = of_batch.into_iter().filter(|item| !found.contains_key(&item.key)).collect();
            undo::take_back_gone(lane, &gone).await?;
            lane.cx.signals.breathe().await?;
            if !found.is_empty() {
                let job = Job {
                    number: row.number,
                    from: row.from.clone(),
                    next: row.next.clone(),
                    records: found.into_values().collect(),
                    base: Some(row.clone()),
                };
                // Whether too many failed is judged when everything had its chance.
                mover.redo_batch(job).await?;
            }
        }
    }
    Ok(())
}

/// Moves a whole page again in which records had no key: those that still have none fail anew.
async fn reread(mover: &Mover<'_>, row: &BatchRow, keyless: &[ItemRow]) -> Result<()> {
    let lane = mover.lane;
    undo::mark_gone(lane, keyless).await?;
    let from = Cursor(row.from.clone());
    let limit = lane.cx.plan.migration.batch_records;
    if let Some(read) = pin!(lane.pages(&lane.old, Which::All, from, limit)).next().await {
        let records = read?.page.records;
        let (from, next, base) = (row.from.clone(), row.next.clone(), Some(row.clone()));
        mover.redo_batch(Job { number: row.number, from, next, records, base }).await?;
    }
    Ok(())
}

/// Takes records back that were deleted in the source after they were copied. Only looks when the counts say that there
/// are any: then every item is asked for. `counted`: what the source held at some time after the main pass; it is counted
/// again if there are more items than that.
pub(super) async fn drop_gone(mover: &Mover<'_>, counted: u64) -> Result<()> {
    let lane = mover.lane;
    lane.take_stock().await?;
    let tally = lane.meter.tally();
    let there = tally.items() - gone_before(lane, tally.skipped).await?;
    let count = if there <= counted { counted } else { lane.count(&lane.old).await? };
    lane.meter.set_total(Some(count));
    if there <= count {
        return Ok(());
    }
    let states =
        vec![ItemState::Copied, ItemState::Verified, ItemState::Failed, ItemState::Conflicting, ItemState::Skipped];
    let query = ItemQuery { states, limit: lane.cx.plan.migration.batch_records, ..ItemQuery::default() };
    let mut pages = pin!(lane.items(&query));
    while let Some(items) = pages.next().await {
        let mut items = items?;
        items.retain(may_go);
        drop_missing(lane, items).await?;
        lane.cx.signals.breathe().await?;
    }
    Ok(())
}

/// How many of the skipped items are known to be gone from the source; the others are still there.
pub(crate) async fn gone_before(lane: &Track<'_>, skipped: u64) -> Result<u64> {
    if skipped == 0 {
        return Ok(0);
    }
    let states = vec![ItemState::Skipped];
    let query = ItemQuery { states, limit: lane.cx.plan.migration.batch_records, ..ItemQuery::default() };
    let mut pages = pin!(lane.items(&query));
    let mut gone = 0;
    while let Some(items) = pages.next().await {
        gone += items?.iter().filter(|item| item.reason == GONE).count() as u64;
    }
    Ok(gone)
}

/// Ends the batches that an earlier process left open and whose items have all moved on, in whichever batch.
pub(super) async fn tidy(mover: &Mover<'_>) -> Result<()> {
    let lane = mover.lane;
    let rows = lane.once("ask the ledger for batches", lane.cx.work.batches(Some(&lane.id))).await?;
    for row in rows.into_iter().filter(|row| row.state != BatchState::Done) {
        let done = BatchRow { state: BatchState::Done, error: String::new(), finished: Some(Timestamp::now()), ..row };
        lane.once("save a batch", lane.cx.work.save(&done, &[])).await?;
    }
    Ok(())
}
