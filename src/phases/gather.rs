//! Reading both sides for checks: which set a dataset is, how many records it holds, page after page.

use crate::{
    engine::StepContext,
    error::Result,
    model::Record,
    phases::examine::within,
    plan::DatasetPlan,
    ports::{Cursor, RecordStore, SetRef},
};
use std::{future::Future, sync::Arc, time::Duration};

/// Longest wait for one page; adapters have shorter limits of their own.
const PAGE: Duration = Duration::from_mins(2);
/// Longest wait between two attempts.
const LONGEST: Duration = Duration::from_secs(30);

/// A side of a dataset: its store and its set there.
pub(super) struct Side {
    /// The store's name.
    pub(super) name: String,
    /// The store.
    pub(super) store: Arc<dyn RecordStore>,
    /// The set in it.
    pub(super) set: SetRef,
}

/// The legacy side of a dataset.
pub(super) fn legacy(cx: &StepContext, dataset: &DatasetPlan) -> Result<Side> {
    side(cx, dataset, &dataset.from.store, &dataset.from.name)
}

/// The new side of a dataset.
pub(super) fn new(cx: &StepContext, dataset: &DatasetPlan) -> Result<Side> {
    side(cx, dataset, &dataset.to.store, &dataset.to.name)
}

fn side(cx: &StepContext, dataset: &DatasetPlan, store: &str, set: &str) -> Result<Side> {
    Ok(Side {
        name: store.to_owned(),
        store: cx.ports.store(store)?,
        set: SetRef { name: set.to_owned(), key: dataset.key.clone(), updated: dataset.updated.clone() },
    })
}

/// Asks again, as often and as far apart as the plan says, while asking again can help.
pub(super) async fn patiently<T, F>(cx: &StepContext, doing: &str, ask: impl Fn() -> F + Send + Sync) -> Result<T>
where
    F: Future<Output = Result<T>> + Send,
    T: Send,
{
    let mut wait = cx.plan.migration.backoff;
    let mut attempt = 1;
    loop {
        match cx.signals.unless_stopped(doing, within(PAGE, doing, ask())).await {
            Err(fault) if fault.kind.is_retryable() && attempt < cx.plan.migration.attempts => {
                cx.report.note(None, format!("asks again: {}", fault.chain()));
                cx.signals.wait(fault.retry_after.unwrap_or(wait).min(LONGEST)).await?;
                wait *= 2;
                attempt += 1;
            }
            result => return result,
        }
    }
}

/// How many records a side holds: what it says, or else counted.
pub(super) async fn records(cx: &StepContext, side: &Side) -> Result<u64> {
    let doing = format!("count {} in {}", side.set.name, side.name);
    if let Some(count) = patiently(cx, &doing, || side.store.describe(&side.set)).await?.count {
        return Ok(count);
    }
    let mut count = 0;
    let mut pages = Pages::new(cx, side);
    while let Some(records) = pages.next().await? {
        count += records.len() as u64;
    }
    Ok(count)
}

/// A side, page after page.
pub(super) struct Pages<'a> {
    cx: &'a StepContext,
    side: &'a Side,
    cursor: Option<Cursor>,
}

impl<'a> Pages<'a> {
    /// From the beginning.
    pub(super) const fn new(cx: &'a StepContext, side: &'a Side) -> Self {
        Self { cx, side, cursor: Some(Cursor::START) }
    }

    /// The next page; `None` at the end. Waits here while the run is paused.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<Record>>> {
        let Some(cursor) = self.cursor.take() else { return Ok(None) };
        self.cx.signals.breathe().await?;
        let (side, limit) = (self.side, self.cx.plan.migration.batch_records);
        let doing = format!("read {} from {}", side.set.name, side.name);
        let page = patiently(self.cx, &doing, || side.store.read(&side.set, &cursor, limit)).await?;
        self.cursor = page.next;
        Ok(Some(page.records))
    }
}
