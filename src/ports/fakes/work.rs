//! The work tables in memory, with the contract's word on `before`.

use super::Trouble;
use crate::{
    error::{FaultKind, Result},
    model::{BatchId, BatchState, ItemState, LaneId, LaneKind, RunId, Tally},
    ports::{
        BatchQuery, BatchRow, ConflictRow, ItemQuery, ItemRow, ItemVerdict, PartSent, RecordBlock, UploadRow,
        VerdictQuery, VerdictRow, Work,
    },
};
use async_trait::async_trait;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

#[derive(Default)]
struct Tables {
    batches: BTreeMap<BatchId, BatchRow>,
    /// The keys of each block's records that have not been told of by themselves since.
    blocks: BTreeMap<BatchId, BTreeSet<String>>,
    items: BTreeMap<(LaneId, String), ItemRow>,
    notes: BTreeMap<String, serde_json::Value>,
    conflicts: BTreeMap<(LaneId, String), ConflictRow>,
    uploads: BTreeMap<(LaneId, String), UploadRow>,
    verdicts: BTreeMap<(LaneId, String), VerdictRow>,
}

impl Tables {
    fn save(&mut self, batches: &[BatchRow], items: &[ItemRow]) {
        for batch in batches {
            self.batches.insert(batch.batch.clone(), batch.clone());
        }
        for item in items {
            let key = (item.lane.clone(), item.key.clone());
            let mut row = item.clone();
            let files = batches.first().is_some_and(|batch| batch.kind == LaneKind::Files);
            if let Some(earlier) = self.items.get(&key).filter(|earlier| earlier.before.is_some() || !files) {
                row.before.clone_from(&earlier.before);
            }
            self.leave_blocks(&key.1);
            self.items.insert(key, row);
        }
    }

    fn leave_blocks(&mut self, key: &str) {
        for keys in self.blocks.values_mut() {
            keys.remove(key);
        }
    }

    fn tally(&self, wanted: impl Fn(&ItemRow) -> bool) -> Tally {
        let mut tally = Tally::default();
        for row in self.items.values().filter(|row| wanted(row)) {
            tally.add(row.state, 1);
            if matches!(row.state, ItemState::Copied | ItemState::Verified) {
                tally.bytes += row.bytes;
            }
        }
        tally
    }
}

fn contains(text: &str, part: &str) -> bool {
    text.to_ascii_lowercase().contains(&part.to_ascii_lowercase())
}

/// The work tables in memory.
pub(crate) struct FakeWork {
    run: RunId,
    trouble: Arc<Trouble>,
    tables: Mutex<Tables>,
}

impl FakeWork {
    /// Empty tables of a run.
    pub(crate) fn new(trouble: &Arc<Trouble>) -> Arc<Self> {
        Arc::new(Self { run: RunId::new("run-1"), trouble: Arc::clone(trouble), tables: Mutex::default() })
    }

    /// All items of a lane, by key.
    pub(crate) fn all(&self, lane: &LaneId) -> BTreeMap<String, ItemRow> {
        let tables = self.lock();
        tables.items.values().filter(|row| row.lane == *lane).map(|row| (row.key.clone(), row.clone())).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn around<T>(&self, method: &str, work: impl FnOnce(&mut Tables) -> T) -> Result<T> {
        self.trouble.around(&format!("work.{method}"), |_| Ok(work(&mut self.lock()))).await
    }
}

#[async_trait]
impl Work for FakeWork {
    fn run(&self) -> &RunId {
        &self.run
    }

    async fn save(&self, batch: &BatchRow, items: &[ItemRow]) -> Result<()> {
        self.around("save", |tables| tables.save(std::slice::from_ref(batch), items)).await
    }

    async fn save_block(&self, batch: &BatchRow, block: &RecordBlock, items: &[ItemRow]) -> Result<bool> {
        self.around("save_block", |tables| {
            tables.save(std::slice::from_ref(batch), items);
            for (key, digest) in &block.records {
                let item = ItemRow::in_block(&batch.lane, &batch.batch, block.state, key.clone(), *digest);
                assert!(tables.items.insert((batch.lane.clone(), key.clone()), item).is_none(), "{key} is known");
            }
            tables.blocks.insert(batch.batch.clone(), block.records.iter().map(|(key, _)| key.clone()).collect());
            true
        })
        .await
    }

    async fn move_block(&self, batch: &BatchRow, state: ItemState) -> Result<bool> {
        self.around("move_block", |tables| {
            let Some(keys) = tables.blocks.get(&batch.batch).cloned() else { return false };
            tables.save(std::slice::from_ref(batch), &[]);
            for key in keys {
                if let Some(row) = tables.items.get_mut(&(batch.lane.clone(), key)) {
                    row.state = state;
                }
            }
            true
        })
        .await
    }

    async fn enlist(
        &self,
        batches: &[BatchRow],
        items: &[ItemRow],
        notes: &[(&str, &serde_json::Value)],
    ) -> Result<()> {
        self.around("enlist", |tables| {
            tables.save(batches, items);
            tables.notes.extend(notes.iter().map(|(name, value)| ((*name).to_owned(), (*value).clone())));
        })
        .await
    }

    async fn last_number(&self, lane: &LaneId) -> Result<u64> {
        Ok(self.batches(Some(lane)).await?.last().map_or(0, |row| row.number))
    }

    async fn batch_page(&self, query: &BatchQuery) -> Result<Vec<BatchRow>> {
        let mut rows = self.batches(query.lane.as_ref()).await?;
        rows.retain(|row| query.batch.as_ref().is_none_or(|batch| row.batch == *batch));
        rows.retain(|row| row.number > query.after && (query.states.is_empty() || query.states.contains(&row.state)));
        rows.truncate(usize::try_from(query.limit).expect("fits"));
        Ok(rows)
    }

    async fn reset(&self, lane: &LaneId, keys: &[String]) -> Result<()> {
        self.around("reset", |tables| {
            for key in keys {
                if let Some(row) = tables.items.get_mut(&(lane.clone(), key.clone())) {
                    row.state = ItemState::Pending;
                    (row.attempts, row.digest, row.error, row.before) = (0, None, None, None);
                    row.reason.clear();
                }
            }
        })
        .await
    }

    async fn errors(&self, lane: &LaneId) -> Result<Vec<(FaultKind, u64)>> {
        self.around("errors", |tables| {
            let mut sums: Vec<(FaultKind, u64)> = Vec::new();
            let failed = tables.items.values().filter(|row| row.lane == *lane && row.state == ItemState::Failed);
            for kind in failed.map(|row| row.error.unwrap_or(FaultKind::Unmet)) {
                match sums.iter_mut().find(|(known, _)| *known == kind) {
                    Some((_, sum)) => *sum += 1,
                    None => sums.push((kind, 1)),
                }
            }
            sums.sort_by_key(|(_, sum)| std::cmp::Reverse(*sum));
            sums
        })
        .await
    }

    async fn begin_upload(&self, row: &UploadRow) -> Result<()> {
        self.around("begin_upload", |tables| {
            tables.uploads.insert((row.lane.clone(), row.key.clone()), row.clone());
        })
        .await
    }

    async fn add_part(&self, lane: &LaneId, key: &str, part: &PartSent) -> Result<()> {
        self.around("add_part", |tables| {
            if let Some(upload) = tables.uploads.get_mut(&(lane.clone(), key.to_owned())) {
                upload.parts.retain(|known| known.number != part.number);
                upload.parts.push(part.clone());
                upload.parts.sort_by_key(|part| part.number);
            }
        })
        .await
    }

    async fn uploads(&self, lane: &LaneId, after: Option<&str>, limit: u32) -> Result<Vec<UploadRow>> {
        self.around("uploads", |tables| {
            let of_lane = tables.uploads.values().filter(|row| row.lane == *lane);
            let behind = of_lane.filter(|row| after.is_none_or(|after| row.key.as_str() > after));
            behind.take(usize::try_from(limit).expect("fits")).cloned().collect()
        })
        .await
    }

    async fn upload(&self, lane: &LaneId, key: &str) -> Result<Option<UploadRow>> {
        self.around("upload", |tables| tables.uploads.get(&(lane.clone(), key.to_owned())).cloned()).await
    }

    async fn end_upload(&self, lane: &LaneId, key: &str) -> Result<()> {
        self.around("end_upload", |tables| {
            tables.uploads.remove(&(lane.clone(), key.to_owned()));
        })
        .await
    }

    async fn judge(&self, rows: &[VerdictRow]) -> Result<()> {
        self.around("judge", |tables| {
            tables.verdicts.extend(rows.iter().map(|row| ((row.lane.clone(), row.key.clone()), row.clone())));
        })
        .await
    }

    async fn verdicts(&self, lane: &LaneId, query: &VerdictQuery) -> Result<Vec<VerdictRow>> {
        self.around("verdicts", |tables| {
            let of_lane = tables.verdicts.values().filter(|row| row.lane == *lane);
            let wanted = of_lane.filter(|row| {
                query.after.as_ref().is_none_or(|after| row.key > *after)
                    && (query.verdicts.is_empty() || query.verdicts.contains(&row.verdict))
                    && (query.keys.is_empty() || query.keys.contains(&row.key))
            });
            wanted.take(usize::try_from(query.limit).expect("fits")).cloned().collect()
        })
        .await
    }

    async fn verdict_sums(&self, lane: &LaneId) -> Result<Vec<(ItemVerdict, u64)>> {
        self.around("verdict_sums", |tables| {
            let mut sums: BTreeMap<ItemVerdict, u64> = BTreeMap::new();
            for row in tables.verdicts.values().filter(|row| row.lane == *lane) {
                *sums.entry(row.verdict).or_default() += 1;
            }
            sums.into_iter().collect()
        })
        .await
    }

    async fn forget_verdicts(&self, lane: &LaneId) -> Result<()> {
        self.around("forget_verdicts", |tables| tables.verdicts.retain(|_, row| row.lane != *lane)).await
    }

    async fn lanes(&self) -> Result<Vec<(LaneId, LaneKind)>> {
        self.around("lanes", |tables| {
            let lanes: BTreeMap<_, _> = tables.batches.values().map(|row| (row.lane.clone(), row.kind)).collect();
            lanes.into_iter().collect()
        })
        .await
    }

    async fn batches(&self, lane: Option<&LaneId>) -> Result<Vec<BatchRow>> {
        self.around("batches", |tables| {
            let mut rows: Vec<_> =
                tables.batches.values().filter(|row| lane.is_none_or(|lane| row.lane == *lane)).cloned().collect();
            rows.sort_by(|a, b| (&a.lane, a.number).cmp(&(&b.lane, b.number)));
            rows
        })
        .await
    }

    async fn items(&self, query: &ItemQuery) -> Result<Vec<ItemRow>> {
        self.around("items", |tables| {
            let wanted = |row: &&ItemRow| {
                query.lane.as_ref().is_none_or(|lane| row.lane == *lane)
                    && query.batch.as_ref().is_none_or(|batch| row.batch == *batch)
                    && (query.states.is_empty() || query.states.contains(&row.state))
                    && (query.keys.is_empty() || query.keys.contains(&row.key))
                    && (query.error.is_none() || query.error == row.error)
                    && query.text.as_ref().is_none_or(|text| contains(&row.key, text) || contains(&row.source, text))
                    && query.after.as_ref().is_none_or(|after| row.key > *after)
            };
            let mut rows: Vec<ItemRow> = tables.items.values().filter(wanted).cloned().collect();
            rows.sort_by(|a, b| a.key.cmp(&b.key));
            rows.truncate(usize::try_from(query.limit).expect("fits"));
            rows
        })
        .await
    }

    async fn mark(&self, lane: &LaneId, keys: &[String], state: ItemState, reason: &str) -> Result<()> {
        self.around("mark", |tables| {
            for key in keys {
                tables.leave_blocks(key);
                if let Some(row) = tables.items.get_mut(&(lane.clone(), key.clone())) {
                    row.state = state;
                    row.reason = reason.into();
                }
            }
        })
        .await
    }

    async fn tally(&self, lane: &LaneId) -> Result<Tally> {
        self.around("tally", |tables| tables.tally(|row| row.lane == *lane)).await
    }

    async fn batch_tally(&self, batch: &BatchId) -> Result<Tally> {
        self.around("batch_tally", |tables| tables.tally(|row| row.batch == *batch)).await
    }

    async fn sources_known(&self, lane: &LaneId, sources: &[String]) -> Result<Vec<String>> {
        self.around("sources_known", |tables| {
            let known: BTreeSet<&String> =
                tables.items.values().filter(|row| row.lane == *lane).map(|row| &row.source).collect();
            sources.iter().filter(|source| known.contains(source)).cloned().collect()
        })
        .await
    }

    async fn forget(&self, lane: &LaneId) -> Result<()> {
        self.around("forget", |tables| {
            tables.batches.retain(|_, row| row.lane != *lane);
            let batches: BTreeSet<BatchId> = tables.batches.keys().cloned().collect();
            tables.blocks.retain(|batch, _| batches.contains(batch));
            tables.items.retain(|(of, _), _| of != lane);
            tables.uploads.retain(|(of, _), _| of != lane);
            tables.verdicts.retain(|(of, _), _| of != lane);
        })
        .await
    }

    async fn note(&self, name: &str, value: &serde_json::Value) -> Result<()> {
        self.around("note", |tables| {
            tables.notes.insert(name.into(), value.clone());
        })
        .await
    }

    async fn noted(&self, name: &str) -> Result<Option<serde_json::Value>> {
        self.around("noted", |tables| tables.notes.get(name).cloned()).await
    }

    async fn conflict(&self, row: &ConflictRow) -> Result<()> {
        self.around("conflict", |tables| {
            tables.conflicts.insert((row.lane.clone(), row.key.clone()), row.clone());
        })
        .await
    }

    async fn conflicts(&self) -> Result<Vec<ConflictRow>> {
        self.around("conflicts", |tables| tables.conflicts.values().cloned().collect()).await
    }
}

/// A finished batch of the lane `users` with this number and nothing in it.
pub(crate) fn batch(number: u64) -> BatchRow {
    BatchRow {
        batch: BatchId::new(format!("users-{number:04}")),
        lane: LaneId::new("users"),
        kind: LaneKind::Records,
        number,
        state: BatchState::Done,
        from: None,
        next: None,
        items: 0,
        failed: 0,
        bytes: 0,
        attempts: 1,
        error: String::new(),
        started: None,
        finished: None,
    }
}
