//! Compares a stretch of a set on both sides without taking records apart: by what both databases say of it in two numbers,
//! and where these differ or the mapping changes something, by the digest of every row.
//!
//! Only finds what is the same; whatever is not, is left to be looked at record by record (`judge`). Neighbours: `verify` and
//! `audit` ask, `parts` says which stretches there are. Must never enter: a verdict that something differs.

use super::{
    bulk::{Bulk, Columns, aside, records},
    parts::Parts,
};
use crate::{
    error::{Fault, FaultKind, Result},
    migrate::lane::Lane,
    model::{Digest, Key, Record},
    ports::{BatchRow, Block, BlockPage, Cursor},
};
use futures::{Stream, StreamExt as _};
use std::{
    collections::{HashMap, HashSet},
    pin::pin,
    sync::Arc,
};

/// Rows that are fetched at once.
const FETCHED: usize = 1000;

/// What a stretch has on both sides.
#[derive(Debug, Default)]
pub(super) struct Compared {
    /// Records that are the same.
    pub(super) same: u64,
    /// Records that the filter leaves out, and that are not there.
    pub(super) left_out: u64,
    /// Keys of the source's records that have to be looked at.
    pub(super) doubtful: Vec<Key>,
    /// Records of pages that say more than keys do: one has no key, two have the same, or one cannot be carried.
    pub(super) odd: Vec<Record>,
}

/// A lane in stretches.
pub(super) struct Stretches<'a> {
    bulk: Bulk<'a>,
    lane: &'a Lane<'a>,
    /// The batches of the main pass: together the whole set.
    pub(super) batches: Vec<BatchRow>,
}

impl<'a> Stretches<'a> {
    /// The lane in stretches; `None` if it can only be compared record by record, or has not been copied.
    ///
    /// # Errors
    /// What a store or the ledger says; `Cancelled`.
    pub(super) async fn of(lane: &'a Lane<'a>) -> Result<Option<Self>> {
        // Only a store that takes rows too knows a page again by its keys.
        if lane.old.store.blocks().is_none() {
            return Ok(None);
        }
        let Some(bulk) = Bulk::of(lane).await? else { return Ok(None) };
        let rows = lane.once("ask the ledger for batches", lane.cx.work.batches(Some(&lane.id))).await?;
        if rows.is_empty() {
            return Ok(None);
        }
        let batches = Parts::load(lane, &rows).await?.stretches();
        Ok(batches.map(|batches| Self { bulk, lane, batches }))
    }

    /// The lane in pages of its source, whatever batches it was moved in; `None` if it can only be compared record by record.
    ///
    /// # Errors
    /// As [`Self::of`].
    pub(super) async fn page_by_page(lane: &'a Lane<'a>) -> Result<Option<Self>> {
        let bulk = Bulk::of(lane).await?;
        Ok(bulk.map(|bulk| Self { bulk, lane, batches: Vec::new() }))
    }

    /// The pages of the source.
    pub(super) fn pages(&self) -> impl Stream<Item = Result<(Cursor, BlockPage)>> + '_ {
        self.bulk.pages(&self.lane.old, Cursor::START)
    }

    /// Compares a page of the source with what stands in its place.
    ///
    /// # Errors
    /// What a store says after all attempts; `Cancelled`.
    pub(super) async fn compare_page(&self, (from, page): (Cursor, BlockPage)) -> Result<Compared> {
        let mut all = Compared::default();
        self.page(&from, page.next.as_ref(), page.block, &mut all).await?;
        Ok(all)
    }

    /// Compares the stretch of a batch.
    ///
    /// # Errors
    /// What a store says after all attempts; `Cancelled`.
    pub(super) async fn compare(&self, batch: &BatchRow) -> Result<Compared> {
        let from = Cursor(batch.from.clone());
        let next = batch.next.clone().map(|next| Cursor(Some(next)));
        if self.bulk.columns.is_plain()
            && let Some(same) = self.digests(&from, next.as_ref()).await?
        {
            return Ok(Compared { same, ..Compared::default() });
        }
        let old = Bulk::store(&self.lane.old)?;
        let stretch = old.stretch(&from, next.as_ref())?;
        let mut pages = pin!(self.bulk.pages(&self.lane.old, stretch));
        let mut all = Compared::default();
        while let Some(read) = pages.next().await {
            let (from, page) = read?;
            self.page(&from, page.next.as_ref(), page.block, &mut all).await?;
        }
        Ok(all)
    }

    /// How many rows the stretch has, if both sides say the same of it.
    async fn digests(&self, from: &Cursor, next: Option<&Cursor>) -> Result<Option<u64>> {
        let names = self.bulk.columns.names();
        let one = |side: &'a crate::migrate::lane::Side| {
            let names = &names;
            async move {
                let store = Bulk::store(side)?;
                let stretch = store.stretch(from, next)?;
                let doing = format!("digest {} in {}", side.set.name, side.name);
                self.lane.call(&doing, || store.digest(&side.set, names, &stretch)).await
            }
        };
        let (old, new) = futures::try_join!(one(&self.lane.old), one(&self.lane.new))?;
        Ok(old.filter(|old| new.as_ref() == Some(old)).map(|both| both.rows))
    }

    /// Compares a page of the source with what stands in its place.
    async fn page(&self, from: &Cursor, next: Option<&Cursor>, block: Block, all: &mut Compared) -> Result<()> {
        let columns = Arc::clone(&self.bulk.columns);
        let read = format!("read {} from {}", self.lane.old.set.name, self.lane.old.name);
        let wanted = aside(move || Wanted::of(&columns, &block)).await?;
        let mut wanted = wanted.map_err(|why| Fault::new(FaultKind::Refused, read).detail(why))?;
        let new = &self.lane.new;
        let store = Bulk::store(new)?;
        if self.bulk.columns.is_alike() {
            let mut pages = pin!(self.bulk.pages(new, store.stretch(from, next)?));
            while let Some(read) = pages.next().await {
                wanted = self.meet(wanted, read?.1.block).await?;
            }
        } else {
            let keys: Vec<Key> = wanted.records.keys().chain(&wanted.left_out).cloned().map(Key).collect();
            let doing = format!("fetch records of {} from {}", new.set.name, new.name);
            for keys in keys.chunks(FETCHED) {
                let block = self.lane.call(&doing, || store.fetch_block(&new.set, keys)).await?;
                wanted = self.meet(wanted, block).await?;
            }
        }
        all.same += wanted.same;
        all.left_out += wanted.left_out.len() as u64;
        all.odd.extend(wanted.odd);
        all.doubtful.extend(wanted.doubtful);
        all.doubtful.extend(wanted.records.into_keys().map(Key));
        Ok(())
    }

    async fn meet(&self, mut wanted: Wanted, block: Block) -> Result<Wanted> {
        let columns = Arc::clone(&self.bulk.columns);
        aside(move || {
            wanted.meet(&columns, &block);
            wanted
        })
        .await
    }
}

/// What the target is to have of a page.
#[derive(Default)]
struct Wanted {
    records: HashMap<String, Digest>,
    left_out: HashSet<String>,
    doubtful: Vec<Key>,
    odd: Vec<Record>,
    same: u64,
}

impl Wanted {
    /// Of these lines of the source, if all can be carried and each has a key of its own.
    fn of(columns: &Columns, block: &Block) -> std::result::Result<Self, String> {
        if let Ok(carried) = columns.carry(block) {
            let records: HashMap<String, Digest> = carried.records.into_iter().collect();
            let left_out: HashSet<String> = carried.left_out.into_iter().collect();
            let all = records.len() + left_out.len();
            if all == block.rows() && left_out.iter().all(|key| !records.contains_key(key)) {
                return Ok(Self { records, left_out, ..Self::default() });
            }
        }
        Ok(Self { odd: records(block)?, ..Self::default() })
    }

    /// These lines stand in the target.
    fn meet(&mut self, columns: &Columns, block: &Block) {
        // What cannot be read stays wanted, and is looked at.
        for (key, digest) in columns.standing(block).unwrap_or_default() {
            if self.left_out.remove(&key) {
                self.doubtful.push(Key(key));
            } else if self.records.get(&key) == Some(&digest) {
                self.records.remove(&key);
                self.same += 1;
            }
        }
    }
}
