//! Legacy side → new side, after the copy: what the legacy side still took is found by the digest of what was copied,
//! and settled. Goes through the same batches as the copy, so `before` and the sums stay right.

use super::{Drift, DriftKind, SyncReport, conflict::Resolution, keep::Keep, shape::Shape};
use crate::{
    engine::StepContext,
    error::Result,
    migrate::{
        compare::{Kinds, shaped},
        convert::{FILTERED, Mapped},
        files::{FileLane, mover::carry, passes::drop_gone},
        lane::{Lane, Which, by_key},
        records::{
            GONE, Standing,
            batch::{Job, Mover, NO_KEY},
            gone_before, watermark,
        },
        undo,
    },
    model::{ItemState, Key, LaneKind, LaneStage, Record, Timestamp},
    plan::DatasetPlan,
    ports::{Cursor, ItemQuery, ItemRow},
};
use futures::StreamExt;
use std::{collections::BTreeMap, pin::pin};

/// Drift listed at most.
const LISTED: usize = 1000;

/// A record that drifted, with everything a decision needs.
struct Found {
    drift: Drift,
    legacy: Option<Record>,
    new: Option<Record>,
    item: Option<ItemRow>,
}

struct Looker<'a> {
    lane: &'a Lane<'a>,
    kinds: &'a Kinds,
    standing: Standing,
    shape: Shape,
}

/// Lists the drift of one dataset.
pub(super) async fn list(cx: &StepContext, dataset: &DatasetPlan) -> Result<Vec<Drift>> {
    let lane = Lane::new(cx, dataset, LaneKind::Records, LaneStage::Verifying)?;
    let Some(which) = since(&lane).await? else { return Ok(Vec::new()) };
    let looker = Looker::new(&lane).await?;
    let mut drift = Vec::new();
    let limit = cx.plan.migration.batch_records;
    let mut pages = pin!(lane.pages(&lane.old, which, Cursor::START, limit));
    while let Some(read) = pages.next().await {
        drift.extend(looker.changed(read?.page.records).await?.into_iter().map(|found| found.drift));
        if drift.len() >= LISTED {
            break;
        }
        cx.signals.breathe().await?;
    }
    let created = drift.iter().filter(|drift| drift.kind == DriftKind::Created).count() as u64;
    if looker.some_are_gone(created).await? {
        let query = gone_query(limit);
        let mut items = pin!(lane.items(&query));
        while let Some(items) = items.next().await {
            drift.extend(looker.gone(items?).await?.into_iter().map(|found| found.drift));
            if drift.len() >= LISTED {
                break;
            }
        }
    }
    drift.truncate(LISTED);
    Ok(drift)
}

/// Settles the drift of one dataset.
pub(super) async fn settle(cx: &StepContext, dataset: &DatasetPlan) -> Result<SyncReport> {
    let lane = Lane::new(cx, dataset, LaneKind::Records, LaneStage::Verifying)?;
    let mut report = SyncReport::new(lane.id.clone());
    if let Some(which) = since(&lane).await? {
        let files = match dataset.blob {
            Some(_) => Some(FileLane::new(cx, dataset, LaneStage::Verifying)?),
            None => None,
        };
        lane.take_stock().await?;
        let settled = settle_all(&lane, files.as_ref(), which, &mut report).await;
        if let Some(files) = &files {
            files.lane.come_to_rest(Ok(())).await?;
        }
        lane.come_to_rest(settled).await?;
    }
    report.conclude("late changes settled", Timestamp::now());
    Ok(report)
}

/// Which legacy records to look at; `None` if nothing was copied, or is being taken back.
async fn since(lane: &Lane<'_>) -> Result<Option<Which>> {
    if lane.noted("undoing").await?.is_some() || lane.noted("standing").await?.is_none() {
        return Ok(None);
    }
    let mark = watermark(lane).await?.filter(|_| lane.old.set.updated.is_some());
    Ok(Some(mark.map_or(Which::All, Which::Since)))
}

async fn settle_all(
    lane: &Lane<'_>,
    files: Option<&FileLane<'_>>,
    which: Which,
    report: &mut SyncReport,
) -> Result<()> {
    let looker = Looker::new(lane).await?;
    let limit = lane.cx.plan.migration.batch_records;
    let mut pages = pin!(lane.pages(&lane.old, which, Cursor::START, limit));
    while let Some(read) = pages.next().await {
        let records = read?.page.records;
        report.checked += records.len() as u64;
        let found = looker.changed(records).await?;
        settle_found(lane, files, found, report).await?;
        lane.cx.signals.breathe().await?;
    }
    if looker.some_are_gone(0).await? {
        let query = gone_query(limit);
        let mut items = pin!(lane.items(&query));
        while let Some(items) = items.next().await {
            let found = looker.gone(items?).await?;
            settle_found(lane, files, found, report).await?;
            lane.cx.signals.breathe().await?;
        }
    }
    match files {
        Some(files) if report.deleted > 0 => drop_gone(files).await,
        _ => Ok(()),
    }
}

async fn settle_found(
    lane: &Lane<'_>,
    files: Option<&FileLane<'_>>,
    found: Vec<Found>,
    report: &mut SyncReport,
) -> Result<()> {
    if found.is_empty() {
        return Ok(());
    }
    let mut keep = Keep::load(lane, Some(&lane.mapping)).await?;
    let (mut forward, mut gone, mut settled) = (Vec::new(), Vec::new(), Vec::new());
    for mut found in found {
        let resolution = match found.drift.kind {
            DriftKind::Created => {
                report.created += 1;
                Resolution::Legacy
            }
            DriftKind::Legacy => {
                report.updated += 1;
                Resolution::Legacy
            }
            DriftKind::Deleted => {
                report.deleted += 1;
                Resolution::Legacy
            }
            // Two records that happen to have the same key: no policy lets one swallow the other.
            DriftKind::Both if found.item.is_none() => {
                keep.conflict(&found.drift.key, found.legacy.as_ref(), found.new.as_ref(), "").await?;
                keep.adopted(vec![keep.item(&found.drift.key, ItemState::Conflicting)]).await?;
                report.open += 1;
                Resolution::Open
            }
            DriftKind::Both => {
                let (resolution, words) = keep.resolve(found.legacy.as_ref(), found.new.as_ref());
                keep.conflict(&found.drift.key, found.legacy.as_ref(), found.new.as_ref(), words).await?;
                match resolution {
                    Resolution::Open => report.open += 1,
                    _ => report.resolved += 1,
                }
                resolution
            }
        };
        match (resolution, found.legacy, &mut found.item) {
            (Resolution::Legacy, Some(legacy), _) => forward.push(legacy),
            (Resolution::Legacy, None, Some(item)) => gone.push(item.clone()),
            // The legacy record as it is now has been weighed: it is no drift any more, and the new side's is the
            // one that a rollback carries back.
            (Resolution::New, Some(legacy), Some(item)) => {
                if let Ok(Some(mapped)) = lane.mapped_one(&legacy).await? {
                    let wanted = lane.wanted(mapped, Some(item));
                    item.digest = Some(lane.kinds().await?.digest(&wanted));
                    settled.push(item.clone());
                }
            }
            (Resolution::Open, _, Some(item)) => keep.open(item).await?,
            _ => {}
        }
    }
    keep.settled(settled).await?;
    undo::take_back_gone(lane, &gone).await?;
    if forward.is_empty() {
        return Ok(());
    }
    let last = lane.once("ask the ledger for batches", lane.cx.work.last_number(&lane.id)).await?;
    let mover = Mover::new(lane, last);
    let number = mover.next_number();
    mover.move_batch(Job { number, from: None, next: None, records: forward.clone(), base: None }).await?;
    if let Some(files) = files {
        let (count, bytes) = carry(files, files.entries(&forward)).await?;
        report.files += count;
        report.bytes += bytes;
    }
    Ok(())
}

fn gone_query(limit: u32) -> ItemQuery {
    ItemQuery { states: vec![ItemState::Copied, ItemState::Verified], limit, ..ItemQuery::default() }
}

impl<'a> Looker<'a> {
    async fn new(lane: &'a Lane<'a>) -> Result<Self> {
        Ok(Self {
            lane,
            kinds: lane.kinds().await?,
            standing: Standing::load(lane).await?,
            shape: super::look_at(lane).await?,
        })
    }

    /// Those of the legacy records that are not as they were copied.
    async fn changed(&self, records: Vec<Record>) -> Result<Vec<Found>> {
        let lane = self.lane;
        let page = by_key(records, lane.mapping.key_field());
        let keys: Vec<Key> = page.keys().cloned().map(Key).collect();
        let mut items = lane.items_of(page.keys().cloned().collect()).await?;
        let mut rows = lane.fetch(&lane.new, &keys).await?;
        let mapped = lane.mapped(page.values()).await?;
        let mut all = Vec::new();
        for ((key, legacy), mapped) in page.into_iter().zip(mapped) {
            let (item, new) = (items.remove(&key), rows.remove(&key));
            if let Some((kind, fields)) = self.judge(&key, &legacy, mapped, new.as_ref(), item.as_ref()) {
                all.push(Found { drift: Drift { key, kind, fields }, legacy: Some(legacy), new, item });
            }
        }
        Ok(all)
    }

    fn judge(
        &self,
        key: &str,
        legacy: &Record,
        mapped: Mapped,
        new: Option<&Record>,
        item: Option<&ItemRow>,
    ) -> Option<(DriftKind, Vec<String>)> {
        let mapped = match mapped {
            Ok(Some(mapped)) => self.lane.wanted(mapped, item),
            // What the filter leaves out now was copied when it still fitted, or is no drift.
            Ok(None) => {
                let copied = item.is_some_and(|item| item.state != ItemState::Skipped);
                return copied.then(|| (DriftKind::Legacy, vec![FILTERED.to_owned()]));
            }
            // What cannot be mapped failed when it was copied, or fails when it is carried: that is told there.
            Err(_) => legacy.clone(),
        };
        let fields = new.map_or_else(Vec::new, |new| self.kinds.differing(&mapped, new));
        let stands =
            |item: &&ItemRow| item.state != ItemState::Skipped || ![GONE, FILTERED].contains(&item.reason.as_str());
        let Some(item) = item.filter(stands) else {
            let users = new.is_some() && !self.standing.has(key);
            return Some((if users { DriftKind::Both } else { DriftKind::Created }, fields));
        };
        if item.digest == Some(self.kinds.digest(&mapped)) || item.state == ItemState::Failed && item.digest.is_none() {
            return None;
        }
        let Some(new) = new else { return Some((DriftKind::Both, fields)) };
        if fields.is_empty() {
            return None;
        }
        let as_copied = item.digest == Some(self.kinds.digest(&shaped(new, &mapped)));
        Some((if as_copied { DriftKind::Legacy } else { DriftKind::Both }, fields))
    }

    /// Whether the ledger knows more records than the legacy side has, besides those it does not know yet.
    async fn some_are_gone(&self, unknown: u64) -> Result<bool> {
        let tally = self.lane.once("ask the ledger for sums", self.lane.cx.work.tally(&self.lane.id)).await?;
        let gone = gone_before(self.lane, tally.skipped).await?;
        Ok(tally.items() - gone + unknown > self.lane.count(&self.lane.old).await?)
    }

    /// Those of the items whose legacy record is gone.
    async fn gone(&self, mut items: Vec<ItemRow>) -> Result<Vec<Found>> {
        let lane = self.lane;
        items.retain(|item| !item.key.starts_with(NO_KEY));
        let keys: Vec<Key> = items.iter().map(|item| Key(item.key.clone())).collect();
        let found: BTreeMap<String, Record> = lane.fetch(&lane.old, &keys).await?;
        items.retain(|item| !found.contains_key(&item.key));
        let keys: Vec<Key> = items.iter().map(|item| Key(item.key.clone())).collect();
        let mut rows = lane.fetch(&lane.new, &keys).await?;
        let judged = items.into_iter().map(|item| {
            let new = rows.remove(&item.key);
            let as_copied = new.as_ref().is_none_or(|row| item.digest == Some(self.digest(row)));
            let kind = if as_copied { DriftKind::Deleted } else { DriftKind::Both };
            let drift = Drift { key: item.key.clone(), kind, fields: Vec::new() };
            Found { drift, legacy: None, new, item: Some(item) }
        });
        Ok(judged.collect())
    }

    fn digest(&self, row: &Record) -> crate::model::Digest {
        self.kinds.digest(&self.shape.written(row))
    }
}
