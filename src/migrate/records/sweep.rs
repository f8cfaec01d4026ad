//! The sweep: asks the source for everything that the lane has carried, page after page of the ledger.
//!
//! Finds what no watermark can: records that are gone, and records that changed without a new timestamp, or with one that
//! became visible later than the overlap allows. Records that came with a timestamp of long ago are not in the ledger; for
//! them there is the comparison of both sides. One page is in memory at a time. Must never enter: how far behind a lane is.

use super::{
    batch::{Job, Mover},
    judge,
    passes::{drop_missing, may_go},
};
use crate::{
    error::Result,
    migrate::{
        compare::Kinds,
        convert::{FILTERED, Mapped},
    },
    model::{ItemState, Record, Sweep},
    ports::{ItemQuery, ItemRow},
};
use futures::StreamExt;
use std::{
    collections::BTreeMap,
    pin::pin,
    time::{Duration, Instant},
};

/// Goes on with a sweep for so long, page by page, or to its end if no time is given. True once it is through.
pub(super) async fn go_on(mover: &Mover<'_>, sweep: &mut Sweep, most: Option<Duration>) -> Result<bool> {
    let lane = mover.lane;
    let limit = lane.cx.plan.migration.batch_records;
    let (began, before) = (Instant::now(), sweep.took_ms);
    let query = ItemQuery { after: sweep.after.clone(), limit, ..ItemQuery::default() };
    let mut pages = pin!(lane.items(&query));
    while let Some(items) = pages.next().await {
        let items = items?;
        let last = items.last().map(|item| item.key.clone());
        let known: BTreeMap<String, ItemRow> =
            items.into_iter().filter(may_go).map(|item| (item.key.clone(), item)).collect();
        sweep.looked += known.len() as u64;
        page(mover, known, sweep).await?;
        sweep.after = last;
        sweep.took_ms = before + u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        if most.is_some_and(|most| began.elapsed() >= most) {
            return Ok(false);
        }
        lane.cx.signals.breathe().await?;
    }
    Ok(true)
}

async fn page(mover: &Mover<'_>, known: BTreeMap<String, ItemRow>, sweep: &mut Sweep) -> Result<()> {
    let lane = mover.lane;
    let keys: Vec<_> = known.keys().cloned().map(crate::model::Key).collect();
    let found = lane.fetch(&lane.old, &keys).await?;
    let mapped = judge::wanted(lane, &found, &known).await?;
    let kinds = lane.kinds().await?;
    let pairs = found.iter().zip(&mapped);
    let changed = pairs.filter(|((key, _), mapped)| known.get(*key).is_none_or(|item| is_other(kinds, item, mapped)));
    let records: Vec<Record> = changed.map(|((_, record), _)| record.clone()).collect();
    let gone: Vec<ItemRow> = known.into_values().filter(|item| !found.contains_key(&item.key)).collect();
    // Looked for once more: between two answers of the source a record may have come back.
    sweep.gone += drop_missing(lane, gone).await?;
    if !records.is_empty() {
        sweep.changed += records.len() as u64;
        mover.move_batch(Job { number: mover.next_number(), from: None, next: None, records, base: None }).await?;
    }
    Ok(())
}

/// Whether a record is not what was carried of it. What failed as it is now is not tried again here, and what waits for a
/// person goes on waiting.
fn is_other(kinds: &Kinds, item: &ItemRow, mapped: &Mapped) -> bool {
    if item.asks() {
        return false;
    }
    match (item.state, item.digest, mapped) {
        (ItemState::Conflicting, ..) | (ItemState::Failed, None, Err(_)) => false,
        (ItemState::Skipped, _, Ok(None)) => item.reason != FILTERED,
        (ItemState::Copied | ItemState::Verified | ItemState::Failed, Some(carried), Ok(Some(mapped))) => {
            carried != kinds.digest(mapped)
        }
        _ => true,
    }
}
