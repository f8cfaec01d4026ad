//! Compares only what may have become different since the last whole comparison: records that changed on either side, that
//! were moved since, or that were not the same. What cannot be seen that way is said.
//!
//! Neighbours: `audit` compares whole and keeps how far it is; the verdicts of both are one list. Must never enter: a write
//! to either side.

use super::{
    Which,
    audit::{Auditor, RecordAudit, Stage, Standings, audit, audited, standings},
    batch::NO_KEY,
    judge,
    passes::held_back,
    verdicts,
    verify::Standing,
    watermark_of,
};
use crate::{
    engine::StepContext,
    error::{Fault, FaultKind, Result},
    migrate::lane::{Lane, Side, by_key},
    model::{Key, LaneKind, LaneStage, Record, Timestamp},
    plan::DatasetPlan,
    ports::{Cursor, ItemQuery, ItemVerdict, VerdictQuery, VerdictRow},
};
use futures::StreamExt;
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    pin::pin,
};

/// All that was not the same.
const DIFFERENT: [ItemVerdict; 5] = [
    ItemVerdict::Differs,
    ItemVerdict::Moving,
    ItemVerdict::OnlyInSource,
    ItemVerdict::OnlyInTarget,
    ItemVerdict::Error,
];

/// When a comparison began, by the clocks of both sides and of this machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Marks {
    source: Timestamp,
    target: Timestamp,
    here: Timestamp,
}

impl Marks {
    /// Now; `None` if the dataset has no field that says when a record changed, or a side does not say what time it is.
    pub(super) async fn take(lane: &Lane<'_>) -> Result<Option<Self>> {
        if lane.old.set.updated.is_none() || lane.new.set.updated.is_none() {
            return Ok(None);
        }
        let here = Timestamp::now();
        let (source, target) = (mark(lane, &lane.old).await?, mark(lane, &lane.new).await?);
        Ok(source.zip(target).map(|(source, target)| Self { source, target, here }))
    }
}

async fn mark(lane: &Lane<'_>, side: &Side) -> Result<Option<Timestamp>> {
    let held = held_back(lane, side).await?;
    let doing = format!("ask {} for its clock", side.name);
    let page = lane.call(&doing, || side.store.read(&side.set, &Cursor::START, 1)).await?;
    Ok(watermark_of(page.as_of, lane.dataset.overlap, held))
}

/// Compares what may have become different since the last whole comparison; whole where there is none, or where nothing
/// says when a record changed. What was not looked at is in the result's `reach`.
///
/// # Errors
/// As [`audit`].
pub async fn audit_since(cx: &StepContext, dataset: &DatasetPlan, live: bool) -> Result<RecordAudit> {
    let lane = Lane::new(cx, dataset, LaneKind::Records, LaneStage::Verifying)?;
    let begun = lane.once("ask the ledger", standings(cx.work.as_ref(), &lane.id)).await?;
    let begun = begun.filter(|begun| begun.stage == Stage::Done && dataset.updated.is_some());
    let Some((begun, marks)) = begun.and_then(|begun| Some((begun.clone(), begun.marks?))) else {
        let why = match dataset.updated {
            None => "everything was read: the dataset names no `updated` field that says when a record changed",
            Some(_) => "everything was read: there was no whole comparison before",
        };
        let found = audit(cx, dataset, live, false).await?;
        return Ok(RecordAudit { reach: why.to_owned(), ..found });
    };
    let next = Marks::take(&lane).await?;
    let standing = Standing::load(&lane).await?;
    let mut since = Since { lane: &lane, live, standing, compared: 0 };
    since.all(&marks).await?;
    let compared = since.compared;
    conclude(&lane, begun, &marks, next, compared).await?;
    let found = lane.once("ask the ledger for verdicts", audited(cx.work.as_ref(), &lane.id)).await?;
    found.ok_or_else(|| Fault::new(FaultKind::Internal, format!("find the verdicts of {}", lane.id)))
}

/// Keeps the sums: how many are the same follows from how many there are.
async fn conclude(lane: &Lane<'_>, begun: Standings, marks: &Marks, next: Option<Marks>, compared: u64) -> Result<()> {
    let sums = lane.once("ask the ledger for verdicts", lane.cx.work.verdict_sums(&lane.id)).await?;
    let sum = |of: ItemVerdict| sums.iter().find(|(verdict, _)| *verdict == of).map_or(0, |(_, sum)| *sum);
    let on_both = sum(ItemVerdict::Differs) + sum(ItemVerdict::Moving);
    let beside = on_both + sum(ItemVerdict::OnlyInSource) + begun.left_out + begun.moved_on;
    let same = lane.count(&lane.old).await?.saturating_sub(beside);
    let there = lane.count(&lane.new).await?;
    let expected = same + on_both + sum(ItemVerdict::OnlyInTarget) + begun.moved_on + begun.standing;
    let updated = lane.old.set.updated.as_deref().unwrap_or_default();
    let mut reach = format!(
        "{compared} records compared that changed since {}, were moved since or were not the same; the others are as they \
         were found then; a change that leaves `{updated}` as it was, and a deletion, are not seen",
        marks.here.strftime("%Y-%m-%d %H:%M:%SZ")
    );
    if there != expected {
        let counts = format!("; {there} rows on the new side, {expected} expected: compare whole (`--again`)");
        reach.push_str(&counts);
    }
    let same = same.saturating_sub(sum(ItemVerdict::Same));
    let now = Standings { same, marks: next, reach, ..begun };
    verdicts::sum_up(lane, &now).await
}

struct Since<'a> {
    lane: &'a Lane<'a>,
    live: bool,
    standing: Standing,
    compared: u64,
}

impl Since<'_> {
    async fn all(&mut self, marks: &Marks) -> Result<()> {
        let lane = self.lane;
        let limit = lane.compared_at_once();
        for (side, mark) in [(&lane.old, marks.source), (&lane.new, marks.target)] {
            let mut pages = pin!(lane.pages(side, Which::Since(mark), Cursor::START, limit));
            while let Some(read) = pages.next().await {
                let page = read?.page;
                let changed = page.records.iter().filter_map(|record| record.key(&side.set.key));
                self.compare(changed.chain(page.gone).collect()).await?;
            }
        }
        let batches = lane.once("ask the ledger for batches", lane.cx.work.batches(Some(&lane.id))).await?;
        for batch in batches.into_iter().filter(|batch| batch.finished.is_none_or(|at| at >= marks.here)) {
            let query = ItemQuery { batch: Some(batch.batch), limit, ..ItemQuery::default() };
            let mut pages = pin!(lane.items(&query));
            while let Some(items) = pages.next().await {
                let keys = items?.into_iter().map(|item| item.key).filter(|key| !key.starts_with(NO_KEY));
                self.compare(keys.map(Key).collect()).await?;
            }
        }
        let mut query = VerdictQuery { verdicts: DIFFERENT.to_vec(), limit, ..VerdictQuery::default() };
        loop {
            let rows = lane.once("ask the ledger for verdicts", lane.cx.work.verdicts(&lane.id, &query)).await?;
            let Some(last) = rows.last() else { return Ok(()) };
            query.after = Some(last.key.clone());
            self.compare(rows.into_iter().map(|row| Key(row.key)).collect()).await?;
        }
    }

    /// Compares the records of these keys, wherever they stand, and keeps what is found.
    async fn compare(&mut self, keys: BTreeSet<Key>) -> Result<()> {
        let lane = self.lane;
        if keys.is_empty() {
            return Ok(());
        }
        self.compared += keys.len() as u64;
        let keys: Vec<Key> = keys.into_iter().collect();
        let records = lane.fetch(&lane.old, &keys).await?;
        let elsewhere: Vec<Key> = keys.iter().filter(|key| !records.contains_key(&key.0)).cloned().collect();
        let judged = judge::page(lane, self.live, records.into_values().collect()).await?;
        let mut auditor = Auditor::new(lane, self.live, Standings::default());
        let mut rows = auditor.source(&judged, None);
        let there: BTreeMap<String, Record> = lane.fetch(&lane.new, &elsewhere).await?;
        let there: Vec<Record> = by_key(there.into_values().collect(), &lane.new.set.key).into_values().collect();
        let alone = judge::alone(lane, self.live, &self.standing, &there).await?;
        rows.extend(alone.extra.into_iter().map(|(key, late)| verdicts::extra(lane, key, late)));
        let told: BTreeSet<&str> = rows.iter().map(|row| row.key.as_str()).collect();
        let limit = u32::try_from(keys.len()).unwrap_or(u32::MAX);
        let known = keys.iter().map(|key| key.0.clone()).collect();
        let query = VerdictQuery { verdicts: DIFFERENT.to_vec(), keys: known, limit, ..VerdictQuery::default() };
        let before = lane.once("ask the ledger for verdicts", lane.cx.work.verdicts(&lane.id, &query)).await?;
        let at = Timestamp::now();
        let mended = before.into_iter().filter(|row| !told.contains(row.key.as_str()));
        let mended: Vec<VerdictRow> =
            mended.map(|row| VerdictRow { verdict: ItemVerdict::Same, detail: String::new(), at, ..row }).collect();
        rows.extend(mended);
        verdicts::keep(lane, &rows).await?;
        lane.cx.report.note(None, format!("{}: {} records compared", lane.id, self.compared));
        lane.cx.signals.breathe().await
    }
}
