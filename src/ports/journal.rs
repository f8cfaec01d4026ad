//! The port to the journal: the append-only, hash-chained list of decisions.

use crate::{
    error::Result,
    event::Event,
    model::{RunId, Timestamp},
};
use async_trait::async_trait;

/// A run as the list of runs shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunSummary {
    /// Its name.
    pub run: RunId,
    /// The plan's name.
    pub plan: String,
    /// When it began.
    pub started: Timestamp,
    /// Decisions in its journal.
    pub events: u64,
    /// The outcome of its last `run_finished`, if that was its last event.
    pub outcome: Option<crate::model::Outcome>,
}

/// The port to the journal of one plan.
#[async_trait]
pub trait Journal: Send + Sync {
    /// Appends these events in order, in one durable transaction (group commit): `Ok` means that all survive a power
    /// cut, an error that none is there. `seq` must continue the run's journal without a gap; anything else is
    /// `Ledger`. Each row carries SHA-256 of the row before it and of its own text.
    async fn append(&self, run: &RunId, events: &[Event]) -> Result<()>;

    /// All events of a run in order. A broken chain, a gap or an unreadable row is `Ledger`, naming the first bad one.
    async fn load(&self, run: &RunId) -> Result<Vec<Event>>;

    /// All runs, the newest first.
    async fn runs(&self) -> Result<Vec<RunSummary>>;
}
