//! New side → legacy side. Two walks: over the items that the run copied, for what was changed or deleted since, and
//! over the new side's rows, for what was created. A row is known as unchanged by the digest of what was copied.
//!
//! Order of writes: bytes, then the record, then the ledger. A process that dies between any two finds the same work
//! again, and the legacy side already equal.

use super::{
    SyncReport,
    conflict::Resolution,
    files_back::{Bytes, FilesBack},
    keep::Keep,
    shape::Shape,
};
use crate::{
    engine::StepContext,
    error::{Fault, FaultKind, Result},
    migrate::{
        compare::{Kinds, shaped},
        convert::Mapped,
        files::FileLane,
        lane::{Lane, Which},
        records::{Standing, batch::NO_KEY, write_isolating},
    },
    model::{Check, Digest, ItemState, Key, LaneKind, LaneStage, Record, Timestamp, Value, Verdict},
    plan::{DatasetPlan, StorePlan},
    ports::{Cursor, ItemQuery, ItemRow, WriteOutcome},
};
use futures::StreamExt;
use std::{collections::BTreeMap, pin::pin};

/// Carries back one dataset.
pub(super) async fn run(cx: &StepContext, dataset: &DatasetPlan) -> Result<SyncReport> {
    let lane = Lane::new(cx, dataset, LaneKind::Records, LaneStage::Undoing)?;
    // Once rows are being taken back, an absent row says nothing about what users did.
    if lane.noted("undoing").await?.is_some() || lane.noted("standing").await?.is_none() {
        let mut report = SyncReport::new(lane.id.clone());
        report.conclude("carried back", Timestamp::now());
        return Ok(report);
    }
    if cx.plan.stores.get(&dataset.from.store).is_some_and(StorePlan::is_only_read) {
        let mut report = SyncReport::new(lane.id.clone());
        let value = format!("{} is only read: what users did on the new side stays there", dataset.from.store);
        report.checks.push(Check::new(format!("{} carried back", lane.id), Verdict::Pass, value, Timestamp::now()));
        return Ok(report);
    }
    let files = match dataset.blob {
        Some(_) => Some(FileLane::new(cx, dataset, LaneStage::Undoing)?),
        None => None,
    };
    let blobs = match &files {
        Some(files) => Some(FilesBack::load(files).await?),
        None => None,
    };
    let mut carrier = Carrier {
        keep: Keep::load(&lane, Some(&lane.mapping)).await?,
        kinds: lane.kinds().await?,
        lane: &lane,
        blobs,
        shape: super::look_at(&lane).await?,
        deletions: Vec::new(),
        report: SyncReport::new(lane.id.clone()),
    };
    let result = carrier.all().await;
    let mut report = carrier.report;
    result?;
    report.conclude("carried back", Timestamp::now());
    Ok(report)
}

/// A row that the run copied, and what it was copied from as it is now.
struct Seen {
    row: Record,
    legacy: Option<Record>,
    /// What that becomes.
    mapped: Option<Record>,
}

/// A row on its way back.
struct Carry {
    row: Record,
    legacy: Option<Record>,
    /// As it is saved once the row has arrived.
    item: ItemRow,
    /// The run did not know it.
    is_new: bool,
}

struct Carrier<'a> {
    lane: &'a Lane<'a>,
    kinds: &'a Kinds,
    blobs: Option<FilesBack<'a>>,
    keep: Keep<'a>,
    shape: Shape,
    deletions: Vec<Key>,
    report: SyncReport,
}

impl Carrier<'_> {
    async fn all(&mut self) -> Result<()> {
        let lane = self.lane;
        lane.take_stock().await?;
        let limit = lane.cx.plan.migration.batch_records;
        let states = vec![ItemState::Copied, ItemState::Verified, ItemState::Failed, ItemState::Conflicting];
        let query = ItemQuery { states, limit, ..ItemQuery::default() };
        let mut items = pin!(lane.items(&query));
        while let Some(items) = items.next().await {
            self.known(items?).await?;
            self.tell().await?;
        }
        self.delete().await?;
        let standing = Standing::load(lane).await?;
        let mut pages = pin!(lane.pages(&lane.new, Which::All, Cursor::START, limit));
        while let Some(read) = pages.next().await {
            self.unknown(read?.page.records, &standing).await?;
            self.tell().await?;
        }
        Ok(())
    }

    async fn tell(&self) -> Result<()> {
        self.lane.cx.report.note(None, format!("{}: {}", self.lane.id, self.report.summary()));
        self.lane.cx.signals.breathe().await
    }

    /// Rows that the run copied: changed, deleted, or as they were.
    async fn known(&mut self, mut items: Vec<ItemRow>) -> Result<()> {
        items.retain(|item| item.attempts > 0 && !item.key.starts_with(NO_KEY));
        let keys: Vec<Key> = items.iter().map(|item| Key(item.key.clone())).collect();
        let mut rows = self.lane.fetch(&self.lane.new, &keys).await?;
        let mut old = self.lane.fetch(&self.lane.old, &keys).await?;
        self.report.checked += items.len() as u64;
        self.lane.meter.moved(items.len() as u64, 0);
        let all = self.lane.mapped(old.values()).await?;
        let mut mapped: BTreeMap<String, Mapped> = old.keys().cloned().zip(all).collect();
        let (mut carries, mut settled) = (Vec::new(), Vec::new());
        for item in items {
            let legacy = old.remove(&item.key);
            let mapped = mapped.remove(&item.key).and_then(Mapped::ok).flatten();
            let mapped = mapped.map(|mapped| self.lane.wanted(mapped, Some(&item)));
            match rows.remove(&item.key) {
                Some(row) => {
                    let seen = Seen { row, legacy, mapped };
                    self.present(item, seen, &mut carries, &mut settled).await?;
                }
                None => self.absent(&item, legacy, mapped.as_ref()).await?,
            }
        }
        self.carry(carries).await?;
        self.keep.settled(settled).await
    }

    /// What is to be done about a row that is there.
    async fn present(
        &mut self,
        mut item: ItemRow,
        seen: Seen,
        carries: &mut Vec<Carry>,
        settled: &mut Vec<ItemRow>,
    ) -> Result<()> {
        let Seen { row, legacy, mapped } = seen;
        let now = self.digest(&row, mapped.as_ref());
        if item.digest == Some(now) || !self.is_users_doing(&item, &row, mapped.as_ref()) {
            return Ok(());
        }
        let untouched = mapped.as_ref().is_some_and(|mapped| item.digest == Some(self.kinds.digest(mapped)));
        if let Some(legacy) = legacy.as_ref().filter(|legacy| self.same(&row, legacy)) {
            if untouched {
                self.stranded(&item.key, mapped.as_ref(), legacy, &row).await?;
            }
            item.digest = Some(now);
            settled.push(item);
            return Ok(());
        }
        let resolution = if untouched {
            Resolution::New
        } else if item.digest.is_none() {
            // Created on both sides: two records that happen to have the same key. No policy lets one swallow the other.
            self.keep.conflict(&item.key, legacy.as_ref(), Some(&row), "").await?;
            self.count(Resolution::Open);
            Resolution::Open
        } else {
            let (resolution, words) = self.keep.resolve(legacy.as_ref(), Some(&row));
            self.keep.conflict(&item.key, legacy.as_ref(), Some(&row), words).await?;
            self.count(resolution);
            resolution
        };
        match resolution {
            Resolution::New => {
                item.digest = Some(now);
                item.state = ItemState::Verified;
                item.reason = String::new();
                carries.push(Carry { row, legacy, item, is_new: false });
            }
            Resolution::Legacy => {
                item.digest = Some(now);
                settled.push(item);
            }
            Resolution::Open => self.keep.open(&item).await?,
        }
        Ok(())
    }

    fn digest(&self, row: &Record, mapped: Option<&Record>) -> Digest {
        match mapped {
            Some(mapped) => self.kinds.digest(&shaped(row, mapped)),
            None => self.kinds.digest(&self.shape.written(row)),
        }
    }

    /// Whether the legacy record already says what this row says. Bytes whose path was taken went under their key of
    /// the new bucket: that path is the row's too.
    fn same(&self, row: &Record, legacy: &Record) -> bool {
        let mapping = &self.lane.mapping;
        let path = self.lane.dataset.blob.as_ref().map(|blob| blob.path.as_str());
        let moved = path.and_then(|path| {
            let held = legacy.text(path)?;
            let key = mapping.blob_key(&mapping.as_legacy(row)).ok()?;
            (key == held).then(|| (mapping.name_there(path).to_string(), Value::Text(held)))
        });
        match moved {
            Some((path, held)) => {
                let mut row = row.clone();
                row.0.insert(path, held);
                self.shape.same(mapping, &row, legacy)
            }
            None => self.shape.same(mapping, row, legacy),
        }
    }

    fn count(&mut self, resolution: Resolution) {
        if resolution == Resolution::Open {
            self.report.open += 1;
        } else {
            self.report.resolved += 1;
        }
    }

    /// Whether a row that is not what was copied was changed by a user. Not if it is what stood there before the run;
    /// and where the run itself never saw its row arrive whole, only if the row says that it changed since.
    fn is_users_doing(&self, item: &ItemRow, row: &Record, mapped: Option<&Record>) -> bool {
        let before = item.before.clone().and_then(Record::from_json);
        if before.is_some_and(|before| self.kinds.digest(&before) == self.kinds.digest(row)) {
            return false;
        }
        if matches!(item.state, ItemState::Verified | ItemState::Conflicting) {
            return true;
        }
        let time = |record: &Record| record.text(self.lane.mapping.updated_there()?);
        mapped.is_some_and(|mapped| time(row).is_some() && time(row) != time(mapped))
    }

    /// A change that no field carries back: kept with both versions, and said.
    async fn stranded(&mut self, key: &str, mapped: Option<&Record>, legacy: &Record, row: &Record) -> Result<()> {
        let mut fields = mapped.map_or_else(Vec::new, |mapped| self.kinds.differing(mapped, row));
        fields.retain(|field| Some(field.as_str()) != self.lane.mapping.updated_there());
        if fields.is_empty() {
            return Ok(());
        }
        let words = format!("no way back for {}", fields.join(", "));
        self.keep.conflict(key, Some(legacy), Some(row), &words).await?;
        self.report.stranded.push(format!("{key}: {words}"));
        Ok(())
    }

    /// What is to be done about a row that is gone on the new side. Only of a row that was seen there this means that
    /// somebody deleted it.
    async fn absent(&mut self, item: &ItemRow, legacy: Option<Record>, mapped: Option<&Record>) -> Result<()> {
        let Some(legacy) = legacy.filter(|_| matches!(item.state, ItemState::Verified | ItemState::Conflicting)) else {
            return Ok(());
        };
        if mapped.is_some_and(|mapped| item.digest == Some(self.kinds.digest(mapped))) {
            self.deletions.push(Key(item.key.clone()));
            return Ok(());
        }
        let (resolution, words) = self.keep.resolve(Some(&legacy), None);
        self.keep.conflict(&item.key, Some(&legacy), None, words).await?;
        self.count(resolution);
        match resolution {
            Resolution::New => self.deletions.push(Key(item.key.clone())),
            Resolution::Legacy => {}
            Resolution::Open => self.keep.open(item).await?,
        }
        Ok(())
    }

    /// Deletes on the legacy side what users deleted on the new side, unless that is so much that a loss explains it
    /// better.
    async fn delete(&mut self) -> Result<()> {
        let (deleted, of) = (self.deletions.len() as u64, self.report.checked);
        if super::looks_like_a_loss(deleted, of) {
            self.report.kept = deleted;
            return Ok(());
        }
        let old = &self.lane.old;
        let doing = format!("delete from {} in {}", old.set.name, old.name);
        let limit = self.lane.cx.plan.migration.batch_records.max(1) as usize;
        for keys in self.deletions.chunks(limit) {
            self.lane.call(&doing, || old.store.delete(&old.set, keys)).await?;
            self.report.deleted += keys.len() as u64;
            self.lane.cx.signals.breathe().await?;
        }
        Ok(())
    }

    /// Rows that the run does not know: created by users since.
    async fn unknown(&mut self, records: Vec<Record>, standing: &Standing) -> Result<()> {
        let mut rows = crate::migrate::lane::by_key(records, self.lane.mapping.key_field());
        let items = self.lane.items_of(rows.keys().cloned().collect()).await?;
        rows.retain(|key, _| !items.contains_key(key) && !standing.has(key));
        let keys: Vec<Key> = rows.keys().cloned().map(Key).collect();
        let mut old = self.lane.fetch(&self.lane.old, &keys).await?;
        self.report.checked += rows.len() as u64;
        let (mut carries, mut adopted) = (Vec::new(), Vec::new());
        for (key, row) in rows {
            let legacy = old.remove(&key);
            let arrived = legacy.as_ref().is_some_and(|legacy| self.same(&row, legacy));
            if legacy.is_some() && !arrived {
                // Two records that happen to have the same key: no policy may let one swallow the other.
                self.keep.conflict(&key, legacy.as_ref(), Some(&row), "").await?;
                self.report.open += 1;
                adopted.push(self.keep.item(&key, ItemState::Conflicting));
                continue;
            }
            let mut item = self.keep.item(&key, ItemState::Verified);
            item.digest = Some(self.digest(&row, None));
            if arrived {
                adopted.push(item);
            } else {
                carries.push(Carry { row, legacy, item, is_new: true });
            }
        }
        self.carry(carries).await?;
        self.keep.adopted(adopted).await
    }

    /// Brings rows to the legacy side: bytes, then records, then the ledger.
    async fn carry(&mut self, carries: Vec<Carry>) -> Result<()> {
        if carries.is_empty() {
            return Ok(());
        }
        let lane = self.lane;
        let (mut records, mut fitting, mut refused) = (Vec::new(), Vec::new(), None);
        for carry in carries {
            // A side that does not know what its fields hold gives a value as it came; the plan may know its one form.
            let row = self.kinds.take(carry.row.clone()).unwrap_or_else(|_| carry.row.clone());
            match self.shape.back(&lane.mapping, &row, carry.legacy.as_ref()) {
                Ok(mut record) => {
                    self.bytes(&carry, &mut record).await?;
                    records.push(record);
                    fitting.push(carry);
                }
                Err(why) => drop(refused.get_or_insert_with(|| format!("{}: {why}", carry.item.key))),
            }
        }
        let doing = format!("carry {} back to {}", lane.old.set.name, lane.old.name);
        let outcomes = lane.call(&doing, || write_isolating(lane, &lane.old, &records)).await?;
        let mut arrived = Vec::new();
        for (carry, outcome) in fitting.into_iter().zip(outcomes) {
            match outcome {
                WriteOutcome::Rejected(why) => {
                    refused.get_or_insert_with(|| format!("{}: {why}", carry.item.key));
                }
                WriteOutcome::Created | WriteOutcome::Updated => arrived.push(carry),
            }
        }
        let (new, known): (Vec<Carry>, Vec<Carry>) = arrived.into_iter().partition(|carry| carry.is_new);
        self.report.created += new.len() as u64;
        self.report.updated += known.len() as u64;
        self.keep.adopted(new.into_iter().map(|carry| carry.item).collect()).await?;
        self.keep.settled(known.into_iter().map(|carry| carry.item).collect()).await?;
        match refused {
            Some(refused) => Err(Fault::new(FaultKind::Unmet, doing).detail(refused)),
            None => Ok(()),
        }
    }

    async fn bytes(&mut self, carry: &Carry, record: &mut Record) -> Result<()> {
        let Some(blobs) = &mut self.blobs else { return Ok(()) };
        match blobs.carry(&carry.row, carry.legacy.as_ref(), record).await? {
            Bytes::Carried(bytes) => {
                self.report.files += 1;
                self.report.bytes += bytes;
            }
            Bytes::Absent if carry.is_new => {
                self.report.stranded.push(format!("{}: its bytes are not in the new bucket", carry.item.key));
            }
            Bytes::Same | Bytes::Absent => {}
        }
        Ok(())
    }
}
