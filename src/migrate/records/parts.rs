//! The main pass over a source, in parts that are read side by side where the store can part a set by its key.
//!
//! Every page is a batch, and a batch knows where it was read and where the next one begins: from each part's beginning the
//! finished batches are a chain, and the pass goes on where it ends. Which parts there are is kept in the ledger before the
//! first page. Must never enter: what becomes of a page.

use super::{batch::Mover, passes::held_back, watermark_of};
use crate::{
    error::{Fault, Result},
    migrate::lane::{Lane, Paged},
    model::{BatchState, Timestamp},
    ports::{BatchRow, Cursor},
};
use futures::{
    Stream, StreamExt as _,
    stream::{self, BoxStream},
};
use std::collections::HashMap;

/// Pages that a part should have at least, to be worth a reader of its own.
const WORTH: u64 = 8;

/// A page of the main pass, to be moved as a batch.
pub(super) struct Found<P> {
    /// The batch's number.
    pub(super) number: u64,
    /// An earlier process may have moved some of it.
    pub(super) known: bool,
    /// Where it was read.
    pub(super) from: Cursor,
    /// What came.
    pub(super) page: P,
}

/// The parts of a lane's source.
pub(super) struct Parts {
    /// Where each begins.
    starts: Vec<Cursor>,
    /// Batches of the pass by where they were read.
    batches: HashMap<Cursor, BatchRow>,
    /// An earlier process was here.
    resumed: bool,
}

impl Parts {
    /// The parts as the ledger has them, with these batches of the lane; chosen now if it has none.
    pub(super) async fn load(lane: &Lane<'_>, rows: &[BatchRow]) -> Result<Self> {
        let noted = lane.noted("parts").await?;
        let noted: Option<Vec<Option<String>>> = noted.and_then(|list| serde_json::from_value(list).ok());
        let starts = match noted {
            Some(list) => list.into_iter().map(Cursor).collect(),
            // Batches without parts: one part is what they were read from.
            None if !rows.is_empty() => vec![Cursor::START],
            None => choose(lane).await?,
        };
        Ok(Self::new(starts, rows))
    }

    fn new(starts: Vec<Cursor>, rows: &[BatchRow]) -> Self {
        let mut batches = HashMap::new();
        for row in rows {
            // Batches beside the pass were read nowhere; the first of the pass was read at the beginning.
            if row.from.is_some() || row.number == 1 {
                batches.insert(Cursor(row.from.clone()), row.clone());
            }
        }
        Self { starts, batches, resumed: !rows.is_empty() }
    }

    /// How many there are: the numbers up to this one belong to their first batches.
    pub(super) fn count(&self) -> u64 {
        self.starts.len() as u64
    }

    /// The finished batches of each part, one after the other, and where its pass goes on; `None` if it came to its end.
    fn chain(&self, start: &Cursor) -> (Vec<&BatchRow>, Option<Cursor>) {
        let (mut done, mut at) = (Vec::new(), start.clone());
        loop {
            match self.batches.get(&at).filter(|row| row.state == BatchState::Done) {
                None => return (done, Some(at)),
                Some(row) => {
                    done.push(row);
                    let Some(next) = row.next.clone() else { return (done, None) };
                    at = Cursor(Some(next));
                }
            }
        }
    }

    /// Where the pass goes on.
    pub(super) fn open(&self) -> Vec<Cursor> {
        self.starts.iter().filter_map(|start| self.chain(start).1).collect()
    }

    /// All batches of the pass, if it came to its end: together they are the whole set, each a stretch of it.
    pub(super) fn stretches(&self) -> Option<Vec<BatchRow>> {
        let mut all = Vec::new();
        for start in &self.starts {
            let (done, rest) = self.chain(start);
            if rest.is_some() {
                return None;
            }
            all.extend(done.into_iter().cloned());
        }
        Some(all)
    }

    /// The number of the batch that is read here.
    fn number(&self, mover: &Mover<'_>, from: &Cursor) -> u64 {
        let known = self.batches.get(from).map(|row| row.number);
        let first = || self.starts.iter().position(|start| start == from).map(|at| at as u64 + 1);
        known.or_else(first).unwrap_or_else(|| mover.next_number())
    }

    /// The pages that are still to be moved. The clock before the very first page becomes the watermark.
    ///
    /// # Errors
    /// What the source or the ledger says.
    pub(super) async fn pages<'s, P, S>(
        &'s self,
        mover: &'s Mover<'_>,
        read: impl Fn(Cursor) -> S,
    ) -> Result<impl Stream<Item = Result<Found<P>>> + 's>
    where
        P: Paged + Send + 's,
        S: Stream<Item = Result<(Cursor, P)>> + Send + 's,
    {
        let lane = mover.lane;
        let mut parts: Vec<BoxStream<'s, Result<(Cursor, P)>>> =
            self.open().into_iter().map(|from| read(from).boxed()).collect();
        let held = held_back(lane, &lane.old).await?;
        let first = match parts.first_mut() {
            Some(part) => part.next().await,
            None => None,
        };
        if let Some(Ok((_, page))) = &first {
            note_watermark(lane, watermark_of(page.as_of(), lane.dataset.overlap, held)).await?;
            lane.meter.set_total(page.total());
        }
        let found = |read: Result<(Cursor, P)>| {
            let (from, page) = read?;
            Ok(Found { number: self.number(mover, &from), known: self.resumed, from, page })
        };
        Ok(stream::iter(first).chain(stream::select_all(parts)).map(found).then(|found| async {
            let pace = lane.cx.plan.migration.pace;
            if !pace.is_zero() {
                lane.cx.signals.wait(pace).await?;
            }
            found
        }))
    }
}

/// Parts the source, and keeps how.
async fn choose(lane: &Lane<'_>) -> Result<Vec<Cursor>> {
    let migration = &lane.cx.plan.migration;
    let total = lane.meter.total().unwrap_or(0);
    let worth = total / (u64::from(migration.batch_records) * WORTH).max(1);
    // A database gives rows about twice as fast as it takes them, and those that come in order cost it less.
    let readers = migration.concurrency.div_ceil(2);
    let parts = u32::try_from(worth.min(u64::from(readers))).unwrap_or(1);
    let starts = if parts < 2 {
        vec![Cursor::START]
    } else {
        let doing = format!("part {} in {}", lane.old.set.name, lane.old.name);
        lane.call(&doing, || lane.old.store.split(&lane.old.set, parts)).await?
    };
    let list: Vec<_> = starts.iter().map(|start| start.0.clone()).collect();
    let list = serde_json::to_value(list)
        .map_err(|error| Fault::new(crate::error::FaultKind::Internal, "write down the parts").source(error))?;
    lane.note("parts", &list).await?;
    Ok(starts)
}

/// Keeps the first watermark of the lane.
async fn note_watermark(lane: &Lane<'_>, mark: Option<Timestamp>) -> Result<()> {
    match mark {
        Some(mark) if lane.noted("watermark").await?.is_none() => {
            lane.note("watermark", &mark.to_string().into()).await
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::fakes::batch;

    fn row(number: u64, from: Option<&str>, next: Option<&str>, state: BatchState) -> BatchRow {
        let (from, next) = (from.map(ToOwned::to_owned), next.map(ToOwned::to_owned));
        BatchRow { state, from, next, items: 1, ..batch(number) }
    }

    #[test]
    fn each_part_goes_on_where_its_chain_ends() {
        use BatchState::{Done, Running};
        let starts = vec![Cursor::START, Cursor(Some("m".into()))];
        let parts = Parts::new(starts.clone(), &[]);
        assert_eq!(parts.open(), starts);
        assert!(!parts.resumed);
        let mut rows = vec![
            row(1, None, Some("b"), Done),
            row(2, Some("m"), Some("p"), Done),
            row(3, Some("b"), Some("c"), Running),
            row(4, Some("p"), None, Done),
            row(5, Some("c"), None, Done),
            // What changed meanwhile, beside the pass.
            row(6, None, None, Done),
        ];
        let parts = Parts::new(starts.clone(), &rows);
        assert_eq!(parts.open(), [Cursor(Some("b".into()))]);
        assert!(parts.stretches().is_none());
        rows[2].state = Done;
        let parts = Parts::new(starts, &rows);
        assert!(parts.open().is_empty());
        let numbers: Vec<u64> = parts.stretches().unwrap().iter().map(|row| row.number).collect();
        assert_eq!(numbers, [1, 3, 5, 2, 4]);
    }
}
