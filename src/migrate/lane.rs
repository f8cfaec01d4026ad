//! A lane under way: calls that can be stopped, are tried again and say why they are slow (`Track`), and with them the two
//! sides of a dataset (`Lane`).
//!
//! `convert` says what a record becomes on the new side. Neighbours: `records`, `files`, `undo` and `sync` work through it. Must never enter: what a batch does.

use super::{
    Mapping,
    compare::Kinds,
    convert::Lookup,
    meter::{Meter, Part},
    pace::Pace,
    retry,
};
use crate::{
    engine::StepContext,
    error::{Fault, FaultKind, Result},
    model::{Key, LaneId, LaneKind, LaneStage, Record, Timestamp},
    plan::{DatasetPlan, OnConflict, SetPlan},
    ports::{BlockPage, Cursor, ItemQuery, ItemRow, Page, RecordStore, SetRef},
};
use futures::{
    StreamExt as _,
    stream::{self, Stream},
};
use std::{
    collections::BTreeMap,
    ops::Deref,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};
use tokio::sync::OnceCell;

/// Records that are compared at once, at most.
const COMPARED: u32 = 1000;

/// One side of a dataset.
#[derive(Clone)]
pub(crate) struct Side {
    /// The store's name in the plan.
    pub(crate) name: String,
    /// The store.
    pub(crate) store: Arc<dyn RecordStore>,
    /// The set in it.
    pub(crate) set: SetRef,
}

impl Side {
    /// This set in its store.
    ///
    /// # Errors
    /// `Plan` if the store is unknown.
    pub(super) fn new(cx: &StepContext, plan: &SetPlan, key: &str, updated: Option<String>) -> Result<Self> {
        let set = SetRef { name: plan.name.clone(), key: key.to_owned(), updated };
        Ok(Self { name: plan.store.clone(), store: cx.ports.store(&plan.store)?, set })
    }
}

/// Which records of a side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Which {
    /// All.
    All,
    /// Those that changed at or after this time.
    Since(Timestamp),
}

/// A page, and the cursor it was read from.
pub(crate) struct ReadPage {
    /// Where it was read.
    pub(crate) from: Cursor,
    /// What came.
    pub(crate) page: Page,
}

impl ReadPage {
    /// Where it was read, and what came.
    pub(crate) fn into_parts(self) -> (Cursor, Page) {
        (self.from, self.page)
    }
}

/// A page of a walk along a set.
pub(crate) trait Paged {
    /// Where the next one begins.
    fn next(&self) -> Option<&Cursor>;
    /// The store's clock when it answered.
    fn as_of(&self) -> Option<Timestamp>;
    /// Number of records in the whole set, if the answer said so.
    fn total(&self) -> Option<u64>;
    /// Number of records on this page.
    fn rows(&self) -> u64;
}

impl Paged for Page {
    fn next(&self) -> Option<&Cursor> {
        self.next.as_ref()
    }

    fn as_of(&self) -> Option<Timestamp> {
        self.as_of
    }

    fn total(&self) -> Option<u64> {
        self.total
    }

    fn rows(&self) -> u64 {
        self.records.len() as u64
    }
}

impl Paged for BlockPage {
    fn next(&self) -> Option<&Cursor> {
        self.next.as_ref()
    }

    fn as_of(&self) -> Option<Timestamp> {
        self.as_of
    }

    fn total(&self) -> Option<u64> {
        self.total
    }

    fn rows(&self) -> u64 {
        self.block.rows() as u64
    }
}

/// What every lane has, whatever moves on it.
#[derive(Clone)]
pub(crate) struct Track<'a> {
    /// What the step was given.
    pub(crate) cx: &'a StepContext,
    /// The lane's name.
    pub(crate) id: LaneId,
    /// What moves.
    pub(crate) kind: LaneKind,
    /// Its progress.
    pub(crate) meter: Arc<Meter>,
    /// How much of it at once, and how fast.
    pub(crate) pace: Arc<Pace>,
    giving_up: Arc<AtomicBool>,
}

/// A lane of a dataset.
pub(crate) struct Lane<'a> {
    track: Track<'a>,
    /// The dataset.
    pub(crate) dataset: &'a DatasetPlan,
    /// How records travel.
    pub(crate) mapping: Mapping,
    /// The legacy side.
    pub(crate) old: Side,
    /// The new side.
    pub(crate) new: Side,
    /// What the new side's fields hold, once it was asked.
    pub(super) kinds: OnceCell<Kinds>,
    /// Where fields are looked up.
    pub(super) lookups: Vec<Lookup>,
}

impl<'a> Deref for Lane<'a> {
    type Target = Track<'a>;

    fn deref(&self) -> &Track<'a> {
        &self.track
    }
}

impl<'a> Lane<'a> {
    /// The lane of the dataset's records or files, beginning in this stage.
    ///
    /// # Errors
    /// `Plan` if a store is unknown or the mapping is wrong.
    pub(crate) fn new(cx: &'a StepContext, dataset: &'a DatasetPlan, kind: LaneKind, stage: LaneStage) -> Result<Self> {
        let id = match kind {
            LaneKind::Records => dataset.lane(),
            LaneKind::Files => dataset.blob_lane(),
        };
        let mapping = Mapping::new(dataset)?;
        let updated_there = mapping.updated_there().map(ToOwned::to_owned);
        Ok(Self {
            dataset,
            old: Side::new(cx, &dataset.from, &dataset.key, dataset.updated.clone())?,
            new: Side::new(cx, &dataset.to, &dataset.key, updated_there)?,
            kinds: OnceCell::new(),
            lookups: Lookup::all(cx, dataset)?,
            mapping,
            track: Track::new(cx, id, kind, stage),
        })
    }
}

impl Lane<'_> {
    /// What the target is to hold of a mapped record, by what the ledger knows of it.
    pub(crate) fn wanted(&self, mapped: Record, item: Option<&ItemRow>) -> Record {
        match &self.dataset.on_conflict {
            OnConflict::Merge { keep } if item.is_some_and(|item| item.before.is_some()) => {
                super::records::merged(&mapped, keep)
            }
            _ => mapped,
        }
    }
}

impl<'a> Track<'a> {
    /// The lane of this name, beginning in this stage.
    pub(crate) fn new(cx: &'a StepContext, id: LaneId, kind: LaneKind, stage: LaneStage) -> Self {
        let meter = Meter::new(cx.report.clone(), id.clone(), kind, stage, cx.plan.migration.concurrency);
        let pace = Pace::of(kind, &cx.plan.migration);
        Self { cx, id, kind, meter: Arc::new(meter), pace, giving_up: Arc::default() }
    }

    /// Follows the pace; gives how many batches of records, or files, may be worked on at once now.
    pub(crate) fn room(&self) -> usize {
        let (room, why) = self.pace.follow(self.cx.signals.tuning(&self.id));
        self.meter.set_concurrency(room);
        self.meter.slowed(why);
        room
    }

    /// So many items and bytes were moved just now.
    pub(crate) fn moved(&self, items: u64, bytes: u64) {
        self.meter.moved(items, bytes);
        self.pace.moved(items, bytes);
    }

    /// Records that are compared at once: in memory one takes many times its text, and it is there from both sides.
    pub(crate) fn compared_at_once(&self) -> u32 {
        self.cx.plan.migration.batch_records.min(COMPARED)
    }

    /// From now on nothing is tried again: the lane fails anyway.
    pub(crate) fn give_up(&self) {
        self.giving_up.store(true, Ordering::Relaxed);
    }

    /// Whether a call that ended like this after so many attempts is tried again.
    pub(crate) fn tries_again(&self, fault: &Fault, attempt: u32) -> bool {
        fault.kind.is_retryable()
            && attempt < self.cx.plan.migration.attempts.max(1)
            && !self.giving_up.load(Ordering::Relaxed)
    }

    /// Waits before the next attempt, saying why.
    pub(crate) async fn wait_after(&self, fault: &Fault, attempt: u32) -> Result<()> {
        self.pace.trouble(fault);
        let wait = retry::wait(fault, attempt, self.cx.plan.migration.backoff);
        self.meter.throttle(format!("{}, waits {:.1} s", fault, wait.as_secs_f64()));
        let waited = self.cx.signals.wait(wait).await;
        self.meter.throttle("");
        waited
    }

    /// A call that ends when the run is stopped.
    pub(crate) async fn once<T>(&self, doing: &str, call: impl Future<Output = Result<T>>) -> Result<T> {
        self.cx.signals.unless_stopped(doing, call).await
    }

    /// A call that ends when the run is stopped, and is tried again where that may help.
    pub(crate) async fn call<T, F>(&self, doing: &str, call: impl Fn() -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        let mut attempt = 1;
        loop {
            match self.once(doing, call()).await {
                Err(fault) if self.tries_again(&fault, attempt) => self.wait_after(&fault, attempt).await?,
                ended => return ended,
            }
            attempt += 1;
        }
    }

    /// The records of these keys on a side, by key.
    pub(crate) async fn fetch(&self, side: &Side, keys: &[Key]) -> Result<BTreeMap<String, Record>> {
        if keys.is_empty() {
            return Ok(BTreeMap::new());
        }
        let doing = format!("fetch records of {} from {}", side.set.name, side.name);
        let rows = self.call(&doing, || side.store.fetch(&side.set, keys)).await?;
        Ok(by_key(rows, &side.set.key))
    }

    /// Number of records on a side, counted page by page if the store cannot say.
    pub(crate) async fn count(&self, side: &Side) -> Result<u64> {
        let doing = format!("count {} in {}", side.set.name, side.name);
        let told = self.call(&doing, || side.store.describe(&side.set)).await?.count;
        if let Some(count) = told {
            return Ok(count);
        }
        let mut pages =
            std::pin::pin!(self.pages(side, Which::All, Cursor::START, self.cx.plan.migration.batch_records));
        let mut count = 0;
        while let Some(read) = pages.next().await {
            count += read?.page.records.len() as u64;
        }
        Ok(count)
    }

    /// The pages of a side from a cursor on, one read after the other, each tried again where that may help.
    pub(crate) fn pages<'s>(
        &'s self,
        side: &'s Side,
        which: Which,
        from: Cursor,
        limit: u32,
    ) -> impl Stream<Item = Result<ReadPage>> + 's {
        let doing = format!("read {} from {}", side.set.name, side.name);
        let read = move |from: Cursor| async move {
            match which {
                Which::All => side.store.read(&side.set, &from, limit).await,
                Which::Since(since) => side.store.changes(&side.set, since, &from, limit).await,
            }
        };
        self.walk(doing, from, read).map(|read| read.map(|(from, page)| ReadPage { from, page }))
    }

    /// Pages from a cursor on, one read after the other, each tried again where that may help, with where it was read.
    pub(crate) fn walk<'s, P, F>(
        &'s self,
        doing: String,
        from: Cursor,
        read: impl Fn(Cursor) -> F + 's,
    ) -> impl Stream<Item = Result<(Cursor, P)>> + 's
    where
        P: Paged + 's,
        F: Future<Output = Result<P>> + 's,
    {
        let walk = Some((from, Arc::new((doing, read))));
        stream::try_unfold(walk, move |walk| async move {
            let Some((from, call)) = walk else { return Ok(None) };
            let page = self.call(&call.0, || (call.1)(from.clone())).await?;
            if page.next() == Some(&from) {
                return Err(Fault::new(FaultKind::Garbage, call.0.as_str()).detail("the next page is this page again"));
            }
            self.meter.did(Part::Read, page.rows());
            let next = page.next().cloned().map(|next| (next, call));
            Ok(Some(((from, page), next)))
        })
    }

    /// What the ledger knows of these items of the lane, by key.
    pub(crate) async fn items_of(&self, keys: Vec<String>) -> Result<BTreeMap<String, ItemRow>> {
        if keys.is_empty() {
            return Ok(BTreeMap::new());
        }
        let limit = u32::try_from(keys.len()).unwrap_or(u32::MAX);
        let query = ItemQuery { lane: Some(self.id.clone()), keys, limit, ..ItemQuery::default() };
        let rows = self.once("ask the ledger for items", self.cx.work.items(&query)).await?;
        Ok(rows.into_iter().map(|row| (row.key.clone(), row)).collect())
    }

    /// All items of the lane that fit the query, page by page in key order.
    pub(crate) fn items<'s>(&'s self, query: &'s ItemQuery) -> impl Stream<Item = Result<Vec<ItemRow>>> + 's {
        stream::try_unfold(Some(query.after.clone()), move |after| async move {
            let Some(after) = after else { return Ok(None) };
            let query = ItemQuery { lane: Some(self.id.clone()), after, ..query.clone() };
            let rows = self.once("ask the ledger for items", self.cx.work.items(&query)).await?;
            let Some(last) = rows.last().map(|row| row.key.clone()) else { return Ok(None) };
            Ok(Some((rows, Some(Some(last)))))
        })
    }

    /// Keeps a small value of this lane.
    pub(crate) async fn note(&self, what: &str, value: &serde_json::Value) -> Result<()> {
        self.once("note in the ledger", self.cx.work.note(&format!("{what}:{}", self.id), value)).await
    }

    /// The value kept; `None` also if it was taken back.
    pub(crate) async fn noted(&self, what: &str) -> Result<Option<serde_json::Value>> {
        let value = self.once("ask the ledger", self.cx.work.noted(&format!("{what}:{}", self.id))).await?;
        Ok(value.filter(|value| !value.is_null()))
    }

    /// The sums, from the ledger to the meter.
    pub(crate) async fn take_stock(&self) -> Result<()> {
        let tally = self.once("ask the ledger for sums", self.cx.work.tally(&self.id)).await?;
        self.meter.set_tally(tally);
        if self.kind == LaneKind::Files && tally.failed > 0 {
            self.meter.set_errors(self.once("ask the ledger for errors", self.cx.work.errors(&self.id)).await?);
        }
        self.meter.offer();
        Ok(())
    }

    /// Ends work on a lane that was done before: its sums are the ledger's, and it is done again. What went wrong says the
    /// result.
    pub(crate) async fn come_to_rest(&self, result: Result<()>) -> Result<()> {
        result?;
        self.take_stock().await?;
        self.meter.set_total(Some(self.meter.tally().items()));
        self.meter.rest(LaneStage::Done).await;
        Ok(())
    }

    /// Passes a result on and sends the lane's last word: `stage` if all went well, `Failed` if not. A stop is no last
    /// word: the lane goes on later.
    pub(crate) async fn conclude<T>(&self, stage: LaneStage, result: Result<T>) -> Result<T> {
        match &result {
            Ok(_) => self.meter.rest(stage).await,
            Err(fault) if fault.kind == FaultKind::Cancelled => self.meter.offer(),
            Err(_) => self.meter.rest(LaneStage::Failed).await,
        }
        result
    }
}

/// Records by their key; those without one are left out.
pub(crate) fn by_key(records: Vec<Record>, field: &str) -> BTreeMap<String, Record> {
    records.into_iter().filter_map(|record| Some((record.key(field)?.0, record))).collect()
}
