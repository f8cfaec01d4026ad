//! Mends what a comparison found or a copy had to leave: by a person's order, one class of differences at a time, through
//! the same batches as the copy, so that it is accounted for and can be taken back like everything else.
//!
//! Neighbours: `audit` found the differences, `batch` writes. Must never enter: deleting a row that the run did not write.

use super::{
    audit,
    batch::{Job, Mover, NO_KEY},
    intent::OVERWRITE,
    judge::{self, Judged},
    passes,
};
use crate::{
    engine::StepContext,
    error::Result,
    migrate::{lane::Lane, undo},
    model::{ItemState, Key, LaneKind, LaneStage, Mending, Record, Take, Timestamp, text},
    plan::DatasetPlan,
    ports::{ItemQuery, ItemRow, ItemVerdict, KEPT, VerdictQuery, VerdictRow},
};
use futures::StreamExt;
use serde::Serialize;
use std::{collections::BTreeMap, fmt, pin::pin};

/// What a repair came to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Repair {
    /// Found the same on both sides afterwards.
    pub mended: u64,
    /// Still not the same; each is still in the list.
    pub left: u64,
    /// The first of those and why, if there are any.
    pub first: String,
}

impl fmt::Display for Repair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} mended, {} left", self.mended, self.left)?;
        if self.first.is_empty() { Ok(()) } else { write!(f, ", first {}", text::clean(&self.first, 300)) }
    }
}

impl Repair {
    fn leaves(&mut self, key: &str, why: &str) {
        self.left += 1;
        if self.first.is_empty() {
            self.first = format!("{key}: {why}");
        }
    }
}

/// Makes the records of one verdict of the last comparison (those of these keys, or all) the same on both sides, as the
/// source has them. A row that only the target has is deleted if the run wrote it; any other is left alone, whoever asks.
///
/// # Errors
/// What a port says after all attempts; `Cancelled` when stopped. It can be called again and goes on.
pub async fn repair(cx: &StepContext, dataset: &DatasetPlan, verdict: ItemVerdict, keys: &[String]) -> Result<Repair> {
    let lane = Lane::new(cx, dataset, LaneKind::Records, LaneStage::Copying)?;
    lane.take_stock().await?;
    let mover = mover(&lane).await?;
    let limit = cx.plan.migration.batch_records;
    let mut query = VerdictQuery { verdicts: vec![verdict], keys: keys.to_vec(), limit, ..VerdictQuery::default() };
    let mut done = Repair::default();
    loop {
        let rows = lane.once("ask the ledger for verdicts", cx.work.verdicts(&lane.id, &query)).await?;
        let Some(last) = rows.last() else { break };
        query.after = Some(last.key.clone());
        let rows: BTreeMap<String, VerdictRow> = rows.into_iter().map(|row| (row.key.clone(), row)).collect();
        if verdict == ItemVerdict::OnlyInTarget {
            delete(&lane, rows, &mut done).await?;
        } else {
            move_again(&mover, rows, &mut done).await?;
        }
        cx.report.note(None, format!("{}: {} mended, {} left", lane.id, done.mended, done.left));
        cx.signals.breathe().await?;
    }
    lane.take_stock().await?;
    Ok(done)
}

/// Does what a person orders about records of the dataset's lane, and says in a line what came out.
///
/// # Errors
/// As [`repair`].
pub async fn mend(cx: &StepContext, dataset: &DatasetPlan, what: &Mending, live: bool) -> Result<String> {
    let done = match what {
        Mending::Retry { keys } => retry_failed(cx, dataset, keys).await?,
        Mending::Decide { keys, take } => decide(cx, dataset, keys, *take).await?,
        Mending::Repair { verdict, keys } => repair(cx, dataset, *verdict, keys).await?,
        Mending::Compare => {
            let found = audit(cx, dataset, live, false).await?;
            return Ok(format!(
                "{} same, {} different, {} missing, {} extra, {} moving",
                found.same, found.differs, found.only_in_source, found.only_in_target, found.moving
            ));
        }
    };
    Ok(done.to_string())
}

/// Moves again what failed in the lane (the records of these keys, or all), and says how many of them still do.
///
/// # Errors
/// As [`repair`].
pub async fn retry_failed(cx: &StepContext, dataset: &DatasetPlan, keys: &[String]) -> Result<Repair> {
    let lane = Lane::new(cx, dataset, LaneKind::Records, LaneStage::Copying)?;
    lane.take_stock().await?;
    if !keys.is_empty() {
        return retry_some(&lane, keys).await;
    }
    let before = lane.meter.tally().failed;
    passes::redo(&mover(&lane).await?, &[ItemState::Failed]).await?;
    lane.take_stock().await?;
    let left = lane.meter.tally().failed;
    Ok(Repair { mended: before.saturating_sub(left), left, first: String::new() })
}

async fn retry_some(lane: &Lane<'_>, keys: &[String]) -> Result<Repair> {
    let mut done = Repair::default();
    let mut failed = lane.items_of(keys.to_vec()).await?;
    failed.retain(|_, item| item.state == ItemState::Failed);
    let with_key: Vec<Key> = failed.keys().filter(|key| !key.starts_with(NO_KEY)).map(|key| Key(key.clone())).collect();
    let found = lane.fetch(&lane.old, &with_key).await?;
    let gone = |item: &&ItemRow| !item.key.starts_with(NO_KEY) && !found.contains_key(&item.key);
    undo::take_back_gone(lane, &failed.values().filter(gone).cloned().collect::<Vec<_>>()).await?;
    if !found.is_empty() {
        let records = found.into_values().collect();
        let mover = mover(lane).await?;
        let job = Job { number: mover.next_number(), from: None, next: None, records, base: None };
        mover.redo_batch(job).await?;
    }
    let now = lane.items_of(failed.keys().cloned().collect()).await?;
    for key in failed.keys() {
        match now.get(key) {
            Some(item) if key.starts_with(NO_KEY) => {
                done.leaves(key, &format!("{}; without a key only all can be tried again", item.reason));
            }
            Some(item) if item.state == ItemState::Failed => done.leaves(key, &item.reason),
            _ => done.mended += 1,
        }
    }
    lane.take_stock().await?;
    Ok(done)
}

/// Decides about the records of the lane that wait for a person because they stood in the target before: those of these
/// keys, or all.
///
/// # Errors
/// As [`repair`].
pub async fn decide(cx: &StepContext, dataset: &DatasetPlan, keys: &[String], take: Take) -> Result<Repair> {
    let lane = Lane::new(cx, dataset, LaneKind::Records, LaneStage::Copying)?;
    let limit = cx.plan.migration.batch_records;
    let query = ItemQuery { states: vec![ItemState::Failed], limit, ..ItemQuery::default() };
    let mut decided = 0;
    {
        let mut pages = pin!(lane.items(&query));
        while let Some(items) = pages.next().await {
            let mut items = items?;
            items.retain(|item| item.asks() && (keys.is_empty() || keys.contains(&item.key)));
            decided += items.len() as u64;
            let names: Vec<String> = items.iter().map(|item| item.key.clone()).collect();
            if take == Take::Target {
                lane.once("mark items", cx.work.mark(&lane.id, &names, ItemState::Skipped, KEPT)).await?;
                continue;
            }
            for item in &mut items {
                if let Some(facts) = item.facts.as_mut().and_then(serde_json::Value::as_object_mut) {
                    facts.insert(OVERWRITE.into(), true.into());
                }
            }
            lane.once("save what was decided", cx.work.enlist(&[], &items, &[])).await?;
        }
    }
    if take == Take::Target || decided == 0 {
        return Ok(Repair { mended: decided, ..Repair::default() });
    }
    drop(lane);
    retry_failed(cx, dataset, keys).await
}

async fn mover<'l>(lane: &'l Lane<'_>) -> Result<Mover<'l>> {
    let last = lane.once("ask the ledger for batches", lane.cx.work.last_number(&lane.id)).await?;
    Ok(Mover::new(lane, last))
}

async fn move_again(mover: &Mover<'_>, mut rows: BTreeMap<String, VerdictRow>, done: &mut Repair) -> Result<()> {
    let lane = mover.lane;
    let keys: Vec<Key> = rows.keys().filter(|key| !key.starts_with(NO_KEY)).map(|key| Key(key.clone())).collect();
    let found: Vec<Record> = lane.fetch(&lane.old, &keys).await?.into_values().collect();
    if !found.is_empty() {
        let job = Job { number: mover.next_number(), from: None, next: None, records: found.clone(), base: None };
        mover.redo_batch(job).await?;
    }
    let mut mended = Vec::new();
    for (key, judged, item) in judge::page(lane, false, found).await?.records {
        let Some(row) = rows.remove(&key) else { continue };
        match judged {
            Judged::Same | Judged::LeftOut | Judged::Kept => mended.push(same(row)),
            Judged::Missing { .. } => done.leaves(&key, &reason(item.as_ref(), "still missing")),
            Judged::Different { fields, .. } | Judged::Moving { fields } => {
                done.leaves(&key, &reason(item.as_ref(), &format!("still differs in {}", fields.join(", "))));
            }
            Judged::MovedOn => {}
        }
    }
    for key in rows.keys() {
        done.leaves(key, "no longer in the source: compare again");
    }
    keep(lane, mended, done).await
}

async fn delete(lane: &Lane<'_>, mut rows: BTreeMap<String, VerdictRow>, done: &mut Repair) -> Result<()> {
    let keys: Vec<Key> = rows.keys().map(|key| Key(key.clone())).collect();
    for key in lane.fetch(&lane.old, &keys).await?.keys() {
        rows.remove(key);
        done.leaves(key, "in the source again: compare again");
    }
    let mut items = lane.items_of(rows.keys().cloned().collect()).await?;
    items.retain(|_, item| item.attempts > 0 && item.state != ItemState::Skipped);
    let items: Vec<ItemRow> = items.into_values().collect();
    undo::take_back_gone(lane, &items).await?;
    let mended = items.iter().filter_map(|item| rows.remove(&item.key)).map(same).collect();
    for key in rows.keys() {
        done.leaves(key, "the run did not write it, so it is not the run's to delete");
    }
    keep(lane, mended, done).await
}

async fn keep(lane: &Lane<'_>, mended: Vec<VerdictRow>, done: &mut Repair) -> Result<()> {
    done.mended += mended.len() as u64;
    if mended.is_empty() {
        return Ok(());
    }
    lane.once("keep verdicts", lane.cx.work.judge(&mended)).await
}

fn same(row: VerdictRow) -> VerdictRow {
    VerdictRow { verdict: ItemVerdict::Same, detail: String::new(), at: Timestamp::now(), ..row }
}

fn reason(item: Option<&ItemRow>, otherwise: &str) -> String {
    item.map(|item| item.reason.as_str()).filter(|reason| !reason.is_empty()).unwrap_or(otherwise).to_owned()
}
