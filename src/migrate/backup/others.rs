//! Removes from a target what its backup does not have.
//!
//! The backup is in the order in which the store gave it, so a page of the target is looked for in a window of the
//! backup's keys that moves along. What is not found there is only suspected, and kept in the ledger; then the whole
//! backup is read once more against the suspects. Only who is in no row of it is removed, whatever the store's order.

use super::{Backup, Manifest, after::copies, read::Rows, restore::at_once, target::Target};
use crate::{
    error::Result,
    migrate::lane::Which,
    model::{Key, LaneId, Timestamp},
    ports::{Cursor, ItemVerdict, VerdictQuery, VerdictRow},
};
use futures::StreamExt as _;
use std::{
    collections::{HashMap, VecDeque},
    pin::pin,
};

/// Keys of the backup that a page of the target is looked for in.
const WINDOW: usize = 50_000;

/// Keys of the backup with their places in it, the oldest ones gone.
#[derive(Default)]
struct Window {
    keys: HashMap<String, usize>,
    order: VecDeque<String>,
    /// Keys that came so far.
    came: usize,
    /// The place behind which the target stands about now.
    at: usize,
}

impl Window {
    /// More of the backup is wanted.
    fn is_short(&self) -> bool {
        self.came < self.at + WINDOW / 2
    }

    fn push(&mut self, key: String) {
        self.came += 1;
        self.keys.insert(key.clone(), self.came);
        self.order.push_back(key);
        if self.order.len() > WINDOW
            && let Some(oldest) = self.order.pop_front()
        {
            self.keys.remove(&oldest);
        }
    }

    /// Those of a page's keys that are not in it.
    fn without(&mut self, page: Vec<Key>) -> Vec<Key> {
        let (mut alone, mut last) = (Vec::new(), None);
        for key in page {
            match self.keys.get(&key.0) {
                Some(place) => last = last.max(Some(*place)),
                None => alone.push(key),
            }
        }
        // Nothing of the page is here: perhaps all that is here is gone from the target.
        self.at = last.unwrap_or(self.at + WINDOW / 2).max(self.at);
        alone
    }
}

/// Which of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Others {
    /// All, whoever wrote them.
    All,
    /// Those that are what a legacy record becomes: the run's.
    Copies,
}

/// Removes these of them; how many.
pub(super) async fn remove(target: &Target<'_>, backup: &Backup, manifest: &Manifest, which: Others) -> Result<u64> {
    let lane = target.lane;
    // No lane of the plan has such a name: datasets have no dash in theirs.
    let suspects = LaneId::new(format!("{}-backup", backup.dataset));
    lane.once("forget earlier suspects", lane.cx.work.forget_verdicts(&suspects)).await?;
    if suspect(target, backup, manifest, &suspects).await? > 0 {
        acquit(target, backup, manifest, &suspects).await?;
    }
    let removed = delete(target, &suspects, which).await?;
    lane.once("forget suspects", lane.cx.work.forget_verdicts(&suspects)).await?;
    Ok(removed)
}

/// Finds rows of the target that the window of the backup does not have.
async fn suspect(target: &Target<'_>, backup: &Backup, manifest: &Manifest, suspects: &LaneId) -> Result<u64> {
    let (lane, cx) = (target.lane, target.lane.cx);
    let (mut rows, mut ended) = (Rows::new(backup, manifest), false);
    let (mut window, mut found, mut looked) = (Window::default(), 0, 0_u64);
    let limit = cx.plan.migration.batch_records;
    let mut pages = pin!(lane.pages(target.side, Which::All, Cursor::START, limit));
    while let Some(read) = pages.next().await {
        let records = read?.page.records;
        while !ended && window.is_short() {
            match rows.some(at_once(cx)).await? {
                Some(some) => some.iter().filter_map(|row| row.key(&manifest.key)).for_each(|key| window.push(key.0)),
                None => ended = true,
            }
        }
        looked += records.len() as u64;
        let keys = records.iter().filter_map(|record| record.key(&target.side.set.key)).collect();
        let alone = window.without(keys).into_iter().map(|key| verdict(suspects, key.0, ItemVerdict::OnlyInTarget));
        let alone: Vec<VerdictRow> = alone.collect();
        found += alone.len() as u64;
        if !alone.is_empty() {
            lane.once("keep suspects", cx.work.judge(&alone)).await?;
        }
        cx.report.note(None, format!("{}: {looked} rows looked at, {found} perhaps not in the backup", lane.id));
        cx.signals.breathe().await?;
    }
    Ok(found)
}

/// Takes those back that are in the backup after all.
async fn acquit(target: &Target<'_>, backup: &Backup, manifest: &Manifest, suspects: &LaneId) -> Result<()> {
    let (lane, cx) = (target.lane, target.lane.cx);
    let mut rows = Rows::new(backup, manifest);
    while let Some(some) = rows.some(at_once(cx)).await? {
        let keys: Vec<String> = some.iter().filter_map(|row| row.key(&manifest.key)).map(|key| key.0).collect();
        let limit = u32::try_from(keys.len()).unwrap_or(u32::MAX);
        let query = VerdictQuery { keys, limit, ..VerdictQuery::default() };
        let known = lane.once("ask the ledger for suspects", cx.work.verdicts(suspects, &query)).await?;
        let known: Vec<VerdictRow> =
            known.into_iter().map(|row| verdict(suspects, row.key, ItemVerdict::Same)).collect();
        if !known.is_empty() {
            lane.once("keep suspects", cx.work.judge(&known)).await?;
        }
        cx.signals.breathe().await?;
    }
    Ok(())
}

async fn delete(target: &Target<'_>, suspects: &LaneId, which: Others) -> Result<u64> {
    let (lane, cx, side) = (target.lane, target.lane.cx, target.side);
    let limit = cx.plan.migration.batch_records;
    let mut query = VerdictQuery { verdicts: vec![ItemVerdict::OnlyInTarget], limit, ..VerdictQuery::default() };
    let doing = format!("remove rows of {} in {} that are not in the backup", side.set.name, side.name);
    let mut removed = 0;
    loop {
        let rows = lane.once("ask the ledger for suspects", cx.work.verdicts(suspects, &query)).await?;
        let Some(last) = rows.last() else { return Ok(removed) };
        query.after = Some(last.key.clone());
        let mut keys: Vec<Key> = rows.iter().map(|row| Key(row.key.clone())).collect();
        if which == Others::Copies {
            let found = lane.fetch(side, &keys).await?;
            keys = copies(lane, &found, false).await?.into_iter().map(Key).collect();
        }
        if keys.is_empty() {
            continue;
        }
        lane.call(&doing, || side.store.delete(&side.set, &keys)).await?;
        removed += keys.len() as u64;
        cx.report.note(None, format!("{}: {removed} rows removed that are not in the backup", lane.id));
        cx.signals.breathe().await?;
    }
}

fn verdict(lane: &LaneId, key: String, verdict: ItemVerdict) -> VerdictRow {
    VerdictRow { lane: lane.clone(), key, verdict, detail: String::new(), at: Timestamp::now() }
}
