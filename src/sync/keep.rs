//! What a synchronisation writes into the ledger: conflicts with both versions, and the digest that was settled.

use super::conflict::Resolution;
use crate::{
    error::Result,
    migrate::{Mapping, files::KEPT, lane::Track},
    model::{BatchId, BatchState, ItemState, LaneKind, Record, Timestamp},
    ports::{BatchQuery, BatchRow, ConflictRow, ItemRow},
};
use std::collections::{BTreeMap, BTreeSet};

/// The ledger's side of a synchronisation of one lane.
pub(super) struct Keep<'a> {
    lane: &'a Track<'a>,
    /// How the records travel, if they do.
    mapping: Option<&'a Mapping>,
    last_number: u64,
    /// Conflicts that somebody decided already, by key.
    decided: BTreeSet<String>,
}

impl<'a> Keep<'a> {
    /// With the conflicts that the ledger knows.
    pub(super) async fn load(lane: &'a Track<'a>, mapping: Option<&'a Mapping>) -> Result<Self> {
        let conflicts = lane.once("ask the ledger for conflicts", lane.cx.work.conflicts()).await?;
        let decided =
            conflicts.into_iter().filter(|row| row.lane == lane.id && !row.resolution.is_empty()).map(|row| row.key);
        let mut keep = Self { lane, mapping, last_number: 0, decided: decided.collect() };
        keep.refresh().await?;
        Ok(keep)
    }

    /// Learns of the batches that others have made meanwhile.
    pub(super) async fn refresh(&mut self) -> Result<()> {
        let work = &self.lane.cx.work;
        self.last_number = self.lane.once("ask the ledger for batches", work.last_number(&self.lane.id)).await?;
        Ok(())
    }

    /// Keeps a conflict with both versions; a decision once made is not opened again.
    pub(super) async fn conflict(
        &self,
        key: &str,
        legacy: Option<&Record>,
        new: Option<&Record>,
        resolution: &str,
    ) -> Result<()> {
        if resolution.is_empty() && self.decided.contains(key) {
            return Ok(());
        }
        let json = |record: Option<&Record>| record.map_or(serde_json::Value::Null, Record::to_json);
        let row = ConflictRow {
            lane: self.lane.id.clone(),
            key: key.into(),
            legacy: json(legacy),
            new: json(new),
            resolution: resolution.into(),
            at: Timestamp::now(),
        };
        self.lane.once("keep a conflict", self.lane.cx.work.conflict(&row)).await
    }

    /// Marks an item as waiting for a person.
    pub(super) async fn open(&self, item: &ItemRow) -> Result<()> {
        let keys = [item.key.clone()];
        let reason = "changed on both sides";
        let mark = self.lane.cx.work.mark(&self.lane.id, &keys, ItemState::Conflicting, reason);
        self.lane.once("mark items", mark).await
    }

    /// Ends an item whose source is gone and whose new side users changed: it stays there as theirs.
    pub(super) async fn kept(&self, item: &ItemRow) -> Result<()> {
        let keys = [item.key.clone()];
        let mark = self.lane.cx.work.mark(&self.lane.id, &keys, ItemState::Skipped, KEPT);
        self.lane.once("mark items", mark).await
    }

    /// Saves items as settled, each in its batch.
    pub(super) async fn settled(&self, items: Vec<ItemRow>) -> Result<()> {
        let mut by_batch: BTreeMap<BatchId, Vec<ItemRow>> = BTreeMap::new();
        for item in items {
            by_batch.entry(item.batch.clone()).or_default().push(item);
        }
        let (lane, work) = (self.lane, &self.lane.cx.work);
        for (name, items) in by_batch {
            let query =
                BatchQuery { lane: Some(lane.id.clone()), batch: Some(name), limit: 1, ..BatchQuery::default() };
            let rows = lane.once("ask the ledger for batches", work.batch_page(&query)).await?;
            if let Some(row) = rows.first() {
                lane.once("save a batch", work.save(row, &items)).await?;
            }
        }
        Ok(())
    }

    /// Saves items that the run did not know, as an extra batch: rows and objects that users created on the new side
    /// belong to the run from now on, so that its undo leaves nothing behind.
    pub(super) async fn adopted(&mut self, mut items: Vec<ItemRow>) -> Result<()> {
        if items.is_empty() {
            return Ok(());
        }
        self.last_number += 1;
        let batch = BatchId::new(format!("{}-{:04}", self.lane.id, self.last_number));
        for item in &mut items {
            item.batch = batch.clone();
        }
        let now = Timestamp::now();
        let row = BatchRow {
            batch,
            lane: self.lane.id.clone(),
            kind: self.lane.kind,
            number: self.last_number,
            state: BatchState::Done,
            from: None,
            next: None,
            items: items.len() as u64,
            failed: 0,
            bytes: items.iter().map(|item| item.bytes).sum(),
            attempts: 1,
            error: String::new(),
            started: Some(now),
            finished: Some(now),
        };
        self.lane.once("save a batch", self.lane.cx.work.save(&row, &items)).await
    }

    /// An item for something that users created on the new side.
    pub(super) fn item(&self, key: &str, state: ItemState) -> ItemRow {
        ItemRow {
            lane: self.lane.id.clone(),
            key: key.into(),
            batch: BatchId::new(""),
            state,
            source: String::new(),
            digest: None,
            bytes: 0,
            attempts: 1,
            error: None,
            facts: None,
            reason: match (state, self.lane.kind) {
                (ItemState::Conflicting, LaneKind::Records) => "created on both sides".into(),
                _ => String::new(),
            },
            before: None,
        }
    }

    /// How a conflict is decided by the plan's policy; a record that is not there has no time.
    pub(super) fn resolve(&self, legacy: Option<&Record>, new: Option<&Record>) -> (Resolution, &'static str) {
        let policy = self.lane.cx.plan.migration.conflicts;
        let nothing = Record::default();
        let renamed = new.and_then(|new| Some(self.mapping?.as_legacy(new)));
        let (legacy, new) = (legacy.unwrap_or(&nothing), renamed.as_ref().or(new).unwrap_or(&nothing));
        let updated = self.mapping.and_then(Mapping::updated_field);
        let resolution = super::conflict::resolve(policy, legacy, new, updated);
        (resolution, resolution.words(policy))
    }
}
