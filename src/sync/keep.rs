//! What a synchronisation writes into the ledger: conflicts with both versions, and the digest that was settled.

use super::conflict::Resolution;
use crate::{
    error::Result,
    migrate::{Mapping, lane::Track},
    model::{BatchId, BatchState, ItemState, LaneKind, Record, Timestamp},
    ports::{BatchRow, ConflictRow, ItemRow},
};
use std::collections::{BTreeMap, BTreeSet};

/// The ledger's side of a synchronisation of one lane.
pub(super) struct Keep<'a> {
    lane: &'a Track<'a>,
    /// How the records travel, if they do.
    mapping: Option<&'a Mapping>,
    batches: BTreeMap<BatchId, BatchRow>,
    last_number: u64,
    /// Conflicts that somebody decided already, by key.
    decided: BTreeSet<String>,
}

impl<'a> Keep<'a> {
    /// With the batches and conflicts that the ledger knows.
    pub(super) async fn load(lane: &'a Track<'a>, mapping: Option<&'a Mapping>) -> Result<Self> {
        let work = &lane.cx.work;
        let rows = lane.once("ask the ledger for batches", work.batches(Some(&lane.id))).await?;
        let conflicts = lane.once("ask the ledger for conflicts", work.conflicts()).await?;
        Ok(Self {
            lane,
            mapping,
            last_number: rows.last().map_or(0, |row| row.number),
            batches: rows.into_iter().map(|row| (row.batch.clone(), row)).collect(),
            decided: conflicts
                .into_iter()
                .filter(|row| row.lane == lane.id && !row.resolution.is_empty())
                .map(|row| row.key)
                .collect(),
        })
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

    /// Saves items as settled, each in its batch.
    pub(super) async fn settled(&self, items: Vec<ItemRow>) -> Result<()> {
        let mut by_batch: BTreeMap<BatchId, Vec<ItemRow>> = BTreeMap::new();
        for item in items {
            by_batch.entry(item.batch.clone()).or_default().push(item);
        }
        for (name, items) in by_batch {
            if let Some(row) = self.batches.get(&name) {
                self.lane.once("save a batch", self.lane.cx.work.save(row, &items)).await?;
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
            batch: batch.clone(),
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
        self.lane.once("save a batch", self.lane.cx.work.save(&row, &items)).await?;
        self.batches.insert(batch, row);
        Ok(())
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
