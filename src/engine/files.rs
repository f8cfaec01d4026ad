//! Orders about single files, carried out on the work tables beside the run's own work.
//!
//! Only items are touched that the work under way leaves alone: those that have ended, and, while nothing moves, those
//! that wait. Must never enter: a bucket, the run's state.

use super::{
    decide::Exclusion,
    step::{ByHand, Hands},
};
use crate::{
    error::{Fault, FaultKind, Result},
    event::EventKind,
    model::{BatchId, BatchProgress, BatchState, ItemState, LaneId, Tally},
    ports::{BatchQuery, BatchRow, ItemQuery, ItemRow, Work},
};

/// Items read together.
const TOGETHER: u32 = 500;

/// What an order about files came to.
#[derive(Debug, Clone, PartialEq)]
pub struct FilesChanged {
    /// What happened, for the journal and the screen.
    pub(crate) events: Vec<EventKind>,
    /// Which lane.
    pub(crate) lane: LaneId,
    /// Its sums now.
    pub(crate) tally: Tally,
    /// Its failed items by the kind of their error now.
    pub(crate) errors: Vec<(FaultKind, u64)>,
}

impl FilesChanged {
    async fn new(work: &dyn Work, lane: &LaneId, events: Vec<EventKind>) -> Result<Self> {
        Ok(Self { events, lane: lane.clone(), tally: work.tally(lane).await?, errors: work.errors(lane).await? })
    }
}

/// Makes the failed files of a batch pending again. Those that failed for a flaw of their record stay: they move once
/// the record is mended and the step tried again.
///
/// # Errors
/// `Illegal` if there is no such batch, it is under way, or nothing in it can be tried again; what the ledger says.
pub(crate) async fn retry(work: &dyn Work, hands: &Hands, lane: &LaneId, batch: &BatchId) -> Result<FilesChanged> {
    let illegal = |why: &str| Fault::new(FaultKind::Illegal, format!("open {batch} again")).detail(why);
    let row = find(work, lane, batch).await?.ok_or_else(|| illegal("the ledger has no such batch"))?;
    if !matches!(row.state, BatchState::Done | BatchState::Failed) {
        return Err(illegal("it is under way or waits to be moved: look again when it has ended"));
    }
    let (flawed, mut failed): (Vec<ItemRow>, Vec<ItemRow>) =
        failed_in(work, lane, batch).await?.into_iter().partition(is_flawed);
    if failed.is_empty() {
        return Err(illegal(if flawed.is_empty() {
            "no file of it has failed"
        } else {
            "its failed files have flawed records: mend those, then retry the step"
        }));
    }
    let mut turned = Vec::new();
    for item in &mut failed {
        let (from, error) = (item.state, item.error.take());
        turned.push(ByHand { from, error, to: ItemState::Pending, count: 1 });
        item.state = ItemState::Pending;
    }
    let left = flawed.len() as u64;
    let row = BatchRow { state: BatchState::Pending, finished: None, failed: left, error: String::new(), ..row };
    work.save(&row, &failed).await?;
    hands.turned(lane, &turned);
    let opened = failed.len() as u64;
    FilesChanged::new(work, lane, vec![EventKind::BatchMoved { progress: progress(row, opened) }]).await
}

/// Leaves a file out that failed, or that waits to be moved while nothing moves.
///
/// # Errors
/// `Illegal` if there is no such file or it is neither; what the ledger says.
pub(crate) async fn exclude(work: &dyn Work, hands: &Hands, exclusion: Exclusion) -> Result<FilesChanged> {
    let Exclusion { lane, key, by, reason, still } = exclusion;
    let illegal = |why: &str| Fault::new(FaultKind::Illegal, format!("leave {key} out")).detail(why);
    let query = ItemQuery { lane: Some(lane.clone()), keys: vec![key.clone()], limit: 1, ..ItemQuery::default() };
    let item = work.items(&query).await?.pop().ok_or_else(|| illegal("the ledger has no such file"))?;
    match item.state {
        ItemState::Failed => {}
        ItemState::Pending if still => {}
        ItemState::Pending => return Err(illegal("it may begin to move at any moment: pause the run first")),
        ItemState::Copying => return Err(illegal("it is being written")),
        ItemState::Copied | ItemState::Verified => return Err(illegal("it has arrived")),
        ItemState::Lost => return Err(illegal("it had arrived and was lost: open its batch again")),
        ItemState::Conflicting => return Err(illegal("it changed on both sides: decide the conflict")),
        ItemState::Skipped => return Err(illegal("it is left out already")),
    }
    let why = ItemRow::left_out_by(&by.name, reason.trim());
    work.mark(&lane, std::slice::from_ref(&key), ItemState::Skipped, &why).await?;
    let error = item.error.filter(|_| item.state == ItemState::Failed);
    hands.turned(&lane, &[ByHand { from: item.state, error, to: ItemState::Skipped, count: 1 }]);
    let mut events = vec![EventKind::FileExcluded { lane: lane.clone(), key, by, reason }];
    let ended = |row: &BatchRow| matches!(row.state, BatchState::Done | BatchState::Failed);
    if item.state == ItemState::Failed
        && let Some(row) = find(work, &lane, &item.batch).await?.filter(ended)
    {
        let row = BatchRow { failed: row.failed.saturating_sub(1), ..row };
        work.save(&row, &[]).await?;
        events.push(EventKind::BatchMoved { progress: progress(row, 0) });
    }
    FilesChanged::new(work, &lane, events).await
}

/// The batch of this name; its number stands at the name's end.
async fn find(work: &dyn Work, lane: &LaneId, batch: &BatchId) -> Result<Option<BatchRow>> {
    let number = batch.as_str().rsplit('-').next().and_then(|number| number.parse::<u64>().ok()).unwrap_or(1);
    let after = number.saturating_sub(1);
    let query = BatchQuery { lane: Some(lane.clone()), after, limit: 1, ..BatchQuery::default() };
    Ok(work.batch_page(&query).await?.into_iter().find(|row| row.batch == *batch))
}

async fn failed_in(work: &dyn Work, lane: &LaneId, batch: &BatchId) -> Result<Vec<ItemRow>> {
    let mut query = ItemQuery {
        lane: Some(lane.clone()),
        batch: Some(batch.clone()),
        states: vec![ItemState::Failed, ItemState::Lost],
        limit: TOGETHER,
        ..ItemQuery::default()
    };
    let mut failed = Vec::new();
    loop {
        let rows = work.items(&query).await?;
        let Some(last) = rows.last() else { return Ok(failed) };
        query.after = Some(last.key.clone());
        failed.extend(rows);
    }
}

/// It failed for what its record says, before anything was moved.
fn is_flawed(item: &ItemRow) -> bool {
    item.facts.as_ref().and_then(|facts| facts.get("flaw")).is_some_and(|flaw| !flaw.is_null())
}

fn progress(row: BatchRow, opened: u64) -> BatchProgress {
    BatchProgress {
        batch: row.batch,
        lane: row.lane,
        state: row.state,
        items: row.items,
        done: row.items.saturating_sub(opened),
        failed: row.failed,
        bytes: row.bytes,
        attempt: row.attempts,
        started: row.started,
        finished: row.finished,
        error: row.error,
    }
}

#[cfg(test)]
mod tests {
    use super::{Exclusion, Hands, exclude, retry};
    use crate::{
        engine::Signals,
        error::FaultKind,
        event::EventKind,
        model::{Actor, BatchId, BatchState, ItemState, LaneId, LaneKind, Via},
        ports::{
            BatchQuery, BatchRow, ItemRow, Work,
            fakes::{FakeWork, Trouble},
        },
    };
    use std::sync::Arc;
    use tokio_util::sync::CancellationToken;

    fn lane() -> LaneId {
        LaneId::new("files-content")
    }

    fn hands() -> Hands {
        Signals::new(CancellationToken::new()).1.hands()
    }

    fn item(key: &str, state: ItemState) -> ItemRow {
        ItemRow {
            lane: lane(),
            key: key.into(),
            batch: BatchId::new("files-content-0002"),
            state,
            source: key.into(),
            digest: None,
            bytes: 5,
            attempts: 3,
            error: (state == ItemState::Failed).then_some(FaultKind::Mismatch),
            reason: "its SHA-256 differs".into(),
            facts: None,
            before: None,
        }
    }

    async fn ledger(state: BatchState) -> Arc<FakeWork> {
        let work = FakeWork::new(&Trouble::none());
        let row = BatchRow {
            batch: BatchId::new("files-content-0002"),
            lane: lane(),
            kind: LaneKind::Files,
            number: 2,
            state,
            from: None,
            next: None,
            items: 4,
            failed: 2,
            bytes: 10,
            attempts: 1,
            error: String::new(),
            started: None,
            finished: None,
        };
        let mut flawed = item("flawed", ItemState::Failed);
        flawed.facts = Some(serde_json::json!({ "flaw": "the row's size is no number" }));
        let items = [
            item("bad", ItemState::Failed),
            item("good", ItemState::Verified),
            item("waits", ItemState::Pending),
            flawed,
        ];
        work.save(&row, &items).await.unwrap();
        work
    }

    #[tokio::test]
    async fn a_retry_opens_what_failed_and_leaves_what_is_flawed() {
        let work = ledger(BatchState::Done).await;
        let changed = retry(work.as_ref(), &hands(), &lane(), &BatchId::new("files-content-0002")).await.unwrap();
        let all = work.all(&lane());
        assert_eq!((all["bad"].state, all["bad"].error), (ItemState::Pending, None));
        assert_eq!(all["flawed"].state, ItemState::Failed);
        let row = work.batch_page(&BatchQuery { limit: 1, ..BatchQuery::default() }).await.unwrap().remove(0);
        assert_eq!((row.state, row.failed), (BatchState::Pending, 1));
        assert_eq!((changed.tally.pending, changed.tally.failed), (2, 1));
        let [EventKind::BatchMoved { progress }] = &changed.events[..] else { panic!("{:?}", changed.events) };
        assert_eq!((progress.done, progress.failed), (3, 1));
    }

    #[tokio::test]
    async fn a_batch_under_way_or_without_failures_is_not_opened() {
        for state in [BatchState::Pending, BatchState::Running, BatchState::Retrying] {
            let work = ledger(state).await;
            let fault = retry(work.as_ref(), &hands(), &lane(), &BatchId::new("files-content-0002")).await.unwrap_err();
            assert_eq!(fault.kind, FaultKind::Illegal);
        }
        let work = ledger(BatchState::Done).await;
        work.mark(&lane(), &["bad".into()], ItemState::Verified, "").await.unwrap();
        let fault = retry(work.as_ref(), &hands(), &lane(), &BatchId::new("files-content-0002")).await.unwrap_err();
        assert!(fault.chain().contains("flawed records"), "{}", fault.chain());
        let fault = retry(work.as_ref(), &hands(), &lane(), &BatchId::new("files-content-0001")).await.unwrap_err();
        assert!(fault.chain().contains("no such batch"), "{}", fault.chain());
    }

    #[tokio::test]
    async fn only_what_failed_or_waits_while_nothing_moves_is_left_out() {
        let work = ledger(BatchState::Done).await;
        let by = Actor { name: "ada".into(), via: Via::Console };
        let order = |key: &str, still| Exclusion {
            lane: lane(),
            key: key.into(),
            by: by.clone(),
            reason: "legal hold".into(),
            still,
        };
        let changed = exclude(work.as_ref(), &hands(), order("bad", false)).await.unwrap();
        let all = work.all(&lane());
        assert_eq!(all["bad"].reason, "left out by ada: legal hold");
        assert!(all["bad"].is_left_out());
        let [EventKind::FileExcluded { key, .. }, EventKind::BatchMoved { progress }] = &changed.events[..] else {
            panic!("{:?}", changed.events)
        };
        assert_eq!((key.as_str(), progress.failed), ("bad", 1));
        assert_eq!(changed.errors, [(FaultKind::Mismatch, 1)]);
        for (key, still) in [("waits", false), ("good", true), ("bad", true), ("unknown", true)] {
            let fault = exclude(work.as_ref(), &hands(), order(key, still)).await.unwrap_err();
            assert_eq!(fault.kind, FaultKind::Illegal, "{key}");
        }
        exclude(work.as_ref(), &hands(), order("waits", true)).await.unwrap();
    }
}
