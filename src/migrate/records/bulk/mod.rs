//! Moves batches in bulk: a page of lines is read, changed where the mapping wants it or the sides speak different dialects,
//! and inserted as one, and the ledger keeps it as one block of keys and digests.
//!
//! Only what is new goes this way. Before the intent is written the target is seen to have nothing in the batch's stretch of
//! keys, or under its keys, and an insert never changes a row that stands there. Whatever does not fit (a row in the way, a record that cannot
//! be carried or is refused, records that an earlier process may have moved) goes record by record, as everything else
//! (`batch`), with the same end. Neighbours: `columns` knows the lines, `parts` what is read. Must never enter: a second way to judge a record.

mod columns;
mod underway;

pub(crate) use columns::{Columns, records};

use super::{
    batch::{Job, Mover},
    parts::Found,
};
use crate::{
    error::{Fault, FaultKind, Result},
    migrate::{
        convert::FILTERED,
        lane::{Lane, Side},
        meter::Part,
    },
    model::{BatchProgress, BatchState, Digest, ItemState, Timestamp},
    ports::{BatchRow, Block, BlockPage, BlockSource, BlockStore, Cursor, Form, Inserted, ItemRow, RecordBlock},
};
use columns::Carried;
use futures::Stream;
use std::sync::Arc;
use underway::{Taken, Underway};

/// A page ends early at about so many bytes.
pub(crate) const PAGE_BYTES: usize = 4 << 20;

/// While pages of so many bytes are under way no further one begins.
pub(crate) const HELD: u64 = 4 << 20;

/// A lane that moves in bulk.
pub(crate) struct Bulk<'a> {
    lane: &'a Lane<'a>,
    pub(crate) columns: Arc<Columns>,
    underway: Underway,
}

/// A batch under way.
struct Run<'j> {
    found: &'j Found<BlockPage>,
    /// As the target shall have it.
    block: Block,
    started: Timestamp,
    attempt: u32,
}

impl<'a> Bulk<'a> {
    /// The lane in bulk; `None` if its records must go one by one.
    ///
    /// # Errors
    /// What a store says after all attempts; `Cancelled`.
    pub(crate) async fn of(lane: &'a Lane<'a>) -> Result<Option<Self>> {
        let (Some(old), Some(new)) = (lane.old.store.block_source(), lane.new.store.blocks()) else { return Ok(None) };
        let source = lane.call("look at the source's columns", || old.shape(&lane.old.set)).await?;
        if source.columns.is_empty() {
            return Ok(None);
        }
        let target = lane.call("look at the target's columns", || new.shape(&lane.new.set)).await?;
        let sides = ((&*lane.old.store, &source), (Arc::clone(&lane.new.store), &target));
        let columns = Columns::new(lane.dataset, &lane.mapping, lane.kinds().await?, sides.0, sides.1);
        Ok(columns.map(|columns| Self { lane, columns: Arc::new(columns), underway: Underway::default() }))
    }

    /// A side's store as one that gives rows in bulk.
    fn source(side: &Side) -> Result<&dyn BlockSource> {
        side.store.block_source().ok_or_else(|| Fault::new(FaultKind::Internal, format!("read {} in bulk", side.name)))
    }

    /// A side's store as one that takes rows in bulk.
    pub(crate) fn store(side: &Side) -> Result<&dyn BlockStore> {
        side.store.blocks().ok_or_else(|| Fault::new(FaultKind::Internal, format!("move {} in bulk", side.name)))
    }

    /// The pages of a side from a cursor on, as text.
    pub(crate) fn pages<'s>(
        &'s self,
        side: &'s Side,
        from: Cursor,
    ) -> impl Stream<Item = Result<(Cursor, BlockPage)>> + 's {
        self.pages_as(Form::Text, side, from)
    }

    /// The pages of the source from a cursor on, as they are best moved.
    pub(crate) fn pages_to_move(&self, from: Cursor) -> impl Stream<Item = Result<(Cursor, BlockPage)>> + '_ {
        self.pages_as(self.columns.form(), &self.lane.old, from)
    }

    fn pages_as<'s>(
        &'s self,
        form: Form,
        side: &'s Side,
        from: Cursor,
    ) -> impl Stream<Item = Result<(Cursor, BlockPage)>> + 's {
        let doing = format!("read {} from {}", side.set.name, side.name);
        let rows = self.lane.cx.plan.migration.batch_records;
        self.lane.walk(doing, from, move |from| async move {
            Self::source(side)?.read_block(&side.set, &from, rows, PAGE_BYTES, form).await
        })
    }

    /// Moves a page as one batch.
    ///
    /// # Errors
    /// The fault of the last attempt; `Unmet` when too many records of the lane failed by now; `Cancelled`.
    pub(super) async fn move_page(&self, mover: &Mover<'_>, found: Found<BlockPage>) -> Result<()> {
        let lane = self.lane;
        let started = Timestamp::now();
        let _held = mover.hold(found.page.block.bytes.len() as u64);
        let (columns, block) = (Arc::clone(&self.columns), found.page.block.clone());
        let carried = aside(move || columns.carry(&block)).await?;
        lane.meter.did(Part::Mapped, found.page.block.rows() as u64);
        let taken = match &carried {
            Ok(carried) if !self.columns.is_alike() => Some(self.underway.take(carried.keys()).await),
            _ => None,
        };
        let each_once = taken.as_ref().is_none_or(Taken::is_each_once);
        let Some(carried) = self.fitting(&found, carried.ok().filter(|_| each_once)).await? else {
            return self.one_by_one(mover, found).await;
        };
        let Carried { block, records, left_out } = carried;
        let mut run = Run { found: &found, block, started, attempt: 1 };
        if !self.intend(mover, &run, records, &left_out).await? {
            return self.one_by_one(mover, found).await;
        }
        let Some(store) = lane.new.store.blocks() else { return Ok(()) };
        lane.pace.rows(run.block.rows() as u64, run.block.bytes.len() as u64, &lane.cx.signals).await?;
        let doing = format!("write {} to {}", lane.new.set.name, lane.new.name);
        loop {
            lane.meter.batch(true, || self.progress(mover, &run, BatchState::Running, ""));
            match lane.once(&doing, store.insert_block(&lane.new.set, &run.block)).await {
                Ok(Inserted::All) => return self.arrived(mover, &run).await,
                Ok(Inserted::None(why)) => {
                    tracing::debug!(batch = %mover.name(found.number), "goes record by record: {why}");
                    return self.one_by_one(mover, found).await;
                }
                Err(fault) if lane.tries_again(&fault, run.attempt) => {
                    lane.meter.batch(true, || self.progress(mover, &run, BatchState::Retrying, &fault.chain()));
                    lane.wait_after(&fault, run.attempt).await?;
                    run.attempt += 1;
                }
                Err(fault) => return self.give_up(mover, &run, fault).await,
            }
        }
    }

    /// The lines, if they can go as one: all can be carried, none is known, and nothing stands where they go.
    async fn fitting(&self, found: &Found<BlockPage>, carried: Option<Carried>) -> Result<Option<Carried>> {
        let lane = self.lane;
        let Some(carried) = carried.filter(|carried| !carried.records.is_empty()) else { return Ok(None) };
        if found.known && !lane.items_of(carried.keys().cloned().collect()).await?.is_empty() {
            return Ok(None);
        }
        let store = Self::store(&lane.new)?;
        let doing = format!("look at what stands in {} of {}", lane.new.set.name, lane.new.name);
        let free = if self.columns.is_alike() {
            let stretch = store.stretch(&found.from, found.page.next.as_ref())?;
            lane.call(&doing, || store.is_free(&lane.new.set, &stretch)).await?
        } else {
            !lane.call(&doing, || store.stands(&lane.new.set, &carried.block)).await?
        };
        Ok(free.then_some(carried))
    }

    /// Writes down what is about to be written; `false` if the ledger has to have these records one by one.
    async fn intend(
        &self,
        mover: &Mover<'_>,
        run: &Run<'_>,
        records: Vec<(String, Digest)>,
        left_out: &[String],
    ) -> Result<bool> {
        let lane = self.lane;
        let row = self.row(mover, run, BatchState::Running, "");
        let left_out = left_out.iter().map(|key| ItemRow {
            reason: FILTERED.into(),
            ..ItemRow::record(&lane.id, &row.batch, ItemState::Skipped, key.clone())
        });
        let left_out: Vec<ItemRow> = left_out.collect();
        let block = RecordBlock { state: ItemState::Pending, records };
        if !lane.once("save a batch's intent", lane.cx.work.save_block(&row, &block, &left_out)).await? {
            return Ok(false);
        }
        lane.meter.turned_all(None, ItemState::Skipped, left_out.len() as u64);
        lane.meter.turned_all(None, ItemState::Pending, block.records.len() as u64);
        lane.meter.offer();
        Ok(true)
    }

    async fn arrived(&self, mover: &Mover<'_>, run: &Run<'_>) -> Result<()> {
        let lane = self.lane;
        let row = self.row(mover, run, BatchState::Done, "");
        let saved = lane.once("save a batch", lane.cx.work.move_block(&row, ItemState::Copied)).await?;
        if !saved {
            return Err(Fault::new(FaultKind::Internal, format!("find the block of {}", row.batch)));
        }
        let (records, bytes) = (run.block.rows() as u64, row.bytes);
        lane.meter.turned_all(Some(ItemState::Pending), ItemState::Copied, records);
        lane.meter.did(Part::Written, records);
        lane.moved(row.items, bytes);
        lane.meter.landed(bytes);
        lane.meter.last_batch(self.progress(mover, run, BatchState::Done, "")).await;
        mover.within_limits()
    }

    async fn give_up(&self, mover: &Mover<'_>, run: &Run<'_>, fault: Fault) -> Result<()> {
        if !matches!(fault.kind, FaultKind::Cancelled | FaultKind::Ledger) {
            let row = self.row(mover, run, BatchState::Failed, &fault.chain());
            self.lane.once("save a batch", self.lane.cx.work.move_block(&row, ItemState::Pending)).await?;
            self.lane.meter.last_batch(self.progress(mover, run, BatchState::Failed, &fault.chain())).await;
        }
        Err(fault)
    }

    /// Moves a page as the records that it holds.
    async fn one_by_one(&self, mover: &Mover<'_>, found: Found<BlockPage>) -> Result<()> {
        let Found { number, from, page, .. } = found;
        let BlockPage { block, next, .. } = page;
        let records = records(&block).map_err(|why| {
            let doing = format!("read {} from {}", self.lane.old.set.name, self.lane.old.name);
            Fault::new(FaultKind::Refused, doing).detail(why)
        })?;
        drop(block);
        mover.move_batch(Job { number, from: from.0, next: next.and_then(|next| next.0), records, base: None }).await
    }

    fn row(&self, mover: &Mover<'_>, run: &Run<'_>, state: BatchState, error: &str) -> BatchRow {
        let Found { number, from, page, .. } = run.found;
        BatchRow {
            batch: mover.name(*number),
            lane: self.lane.id.clone(),
            kind: self.lane.kind,
            number: *number,
            state,
            from: from.0.clone(),
            next: page.next.clone().and_then(|next| next.0),
            items: page.block.rows() as u64,
            failed: 0,
            bytes: run.block.bytes.len() as u64,
            attempts: run.attempt,
            error: error.into(),
            started: Some(run.started),
            finished: matches!(state, BatchState::Done | BatchState::Failed).then(Timestamp::now),
        }
    }

    fn progress(&self, mover: &Mover<'_>, run: &Run<'_>, state: BatchState, error: &str) -> BatchProgress {
        let row = self.row(mover, run, state, error);
        let done = if state == BatchState::Done { row.items } else { 0 };
        row.into_progress(done)
    }
}

/// Does this beside the lane's own task, which goes on talking to both sides meanwhile.
pub(crate) async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Fault::new(FaultKind::Internal, "change a page of records").source(error))
}
