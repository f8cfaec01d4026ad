//! How far lanes, batches and rules are. These values travel often and are never journalled one by one.

use super::{BatchId, Follow, LaneId, Timestamp};
use crate::error::FaultKind;
use serde::{Deserialize, Serialize};

/// What a lane moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LaneKind {
    /// Records of a dataset.
    Records,
    /// The bytes behind a dataset's records.
    Files,
}

/// What a lane is doing now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LaneStage {
    /// Its turn has not come.
    Waiting,
    /// Moving.
    Copying,
    /// Copied, and carrying what changes in the source until the drain.
    Following,
    /// Comparing both sides.
    Verifying,
    /// Everything accounted for.
    Done,
    /// Given up.
    Failed,
    /// Going back: carrying changes to the legacy side, then removing what the run created.
    Undoing,
    /// Gone back.
    Undone,
}

/// The state of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BatchState {
    /// Known, not begun.
    Pending,
    /// Under way.
    Running,
    /// Waits before another attempt.
    Retrying,
    /// Acknowledged by the target and in the ledger.
    Done,
    /// Out of attempts.
    Failed,
    /// Taken back.
    Undone,
}

impl BatchState {
    /// The states of a batch that somebody works on.
    pub const LIVE: [Self; 2] = [Self::Running, Self::Retrying];

    /// Somebody works on it.
    #[must_use]
    pub fn is_live(self) -> bool {
        Self::LIVE.contains(&self)
    }
}

/// How a single record or file stands. Each must end as verified, skipped, failed, conflicting or lost; the sums must match the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ItemState {
    /// Known, not begun.
    Pending,
    /// A file that is being written, or was when the process ended: the target may hold it or not.
    Copying,
    /// Written and acknowledged, not yet compared.
    Copied,
    /// Read back from the target and equal.
    Verified,
    /// Left out on purpose; the reason stands beside it.
    Skipped,
    /// Could not be moved; the reason stands beside it.
    Failed,
    /// Changed on both sides.
    Conflicting,
    /// A file that was verified and is no longer in the target, which nobody was asked about.
    Lost,
}

/// The sums of a lane by item state. All counts are items; `bytes` are payload bytes moved.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Items in `Pending`.
    pub pending: u64,
    /// Items in `Copying`.
    #[serde(default)]
    pub copying: u64,
    /// Items in `Copied`.
    pub copied: u64,
    /// Items in `Verified`.
    pub verified: u64,
    /// Items in `Skipped`.
    pub skipped: u64,
    /// Items in `Failed`.
    pub failed: u64,
    /// Items in `Conflicting`.
    pub conflicting: u64,
    /// Items in `Lost`.
    #[serde(default)]
    pub lost: u64,
    /// Payload bytes moved.
    pub bytes: u64,
}

impl Tally {
    /// Nothing.
    pub const ZERO: Self = Self {
        pending: 0,
        copying: 0,
        copied: 0,
        verified: 0,
        skipped: 0,
        failed: 0,
        conflicting: 0,
        lost: 0,
        bytes: 0,
    };

    /// All items known.
    #[must_use]
    pub const fn items(&self) -> u64 {
        self.open() + self.copied + self.ended()
    }
    /// Items that the target may not hold yet.
    #[must_use]
    pub const fn open(&self) -> u64 {
        self.pending + self.copying
    }
    /// Items that have ended: verified, skipped, failed, conflicting or lost.
    #[must_use]
    pub const fn ended(&self) -> u64 {
        self.verified + self.skipped + self.failed + self.conflicting + self.lost
    }
    /// Counts one item of this state.
    pub const fn add(&mut self, state: ItemState, count: u64) {
        let sum = self.of(state);
        *sum = sum.saturating_add(count);
    }
    /// Takes so many items of this state away.
    pub const fn take(&mut self, state: ItemState, count: u64) {
        let sum = self.of(state);
        *sum = sum.saturating_sub(count);
    }
    const fn of(&mut self, state: ItemState) -> &mut u64 {
        match state {
            ItemState::Pending => &mut self.pending,
            ItemState::Copying => &mut self.copying,
            ItemState::Copied => &mut self.copied,
            ItemState::Verified => &mut self.verified,
            ItemState::Skipped => &mut self.skipped,
            ItemState::Failed => &mut self.failed,
            ItemState::Conflicting => &mut self.conflicting,
            ItemState::Lost => &mut self.lost,
        }
    }
}

/// A lane's progress, complete in itself: a later one replaces an earlier one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LaneProgress {
    /// Which lane.
    pub lane: LaneId,
    /// What it moves.
    pub kind: LaneKind,
    /// What it is doing.
    pub stage: LaneStage,
    /// Items in the source; `None` until the source has said.
    pub total: Option<u64>,
    /// The source is still being listed: more items than `tally` knows may come.
    #[serde(default)]
    pub listing: bool,
    /// The sums so far.
    pub tally: Tally,
    /// Files compared by the comparison under way, or by the last one.
    #[serde(default)]
    pub compared: u64,
    /// Items per second, recent; 0 when idle.
    pub items_per_s: f64,
    /// Bytes per second, recent; 0 when idle.
    pub bytes_per_s: f64,
    /// How fast each part of a lane of records is.
    #[serde(default)]
    pub speeds: Speeds,
    /// Batches of records, or files, worked on at the same time.
    pub concurrency: u32,
    /// Why it is slower than it could be (`429 from django, waits 2.0 s`); empty when it is not.
    pub throttle: String,
    /// Failed items by the kind of their error, the most frequent first.
    #[serde(default)]
    pub errors: Vec<(FaultKind, u64)>,
    /// What has been under way for longest, the slowest first; a few at most.
    #[serde(default)]
    pub slow: Vec<SlowItem>,
    /// How it follows its source, between the copy and the drain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub follow: Option<Box<Follow>>,
}

/// Records per second of each part of a lane's work, recent; 0 where nothing of the kind happens now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Speeds {
    /// Read, from either side.
    pub read: f64,
    /// Brought into the form of the other side.
    pub mapped: f64,
    /// Written and acknowledged.
    pub written: f64,
    /// Compared with the other side.
    pub verified: f64,
}

impl Speeds {
    /// At rest.
    pub const ZERO: Self = Self { read: 0.0, mapped: 0.0, written: 0.0, verified: 0.0 };
}

/// An item that has been under way for a while.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlowItem {
    /// Its key.
    pub key: String,
    /// Its length in bytes.
    pub size: u64,
    /// How much of it has moved.
    pub moved: u64,
    /// For how long, in seconds.
    pub seconds: u64,
}

impl LaneProgress {
    /// A lane of which nothing is known yet.
    #[must_use]
    pub const fn new(lane: LaneId, kind: LaneKind, stage: LaneStage) -> Self {
        Self {
            lane,
            kind,
            stage,
            total: None,
            listing: false,
            tally: Tally::ZERO,
            compared: 0,
            items_per_s: 0.0,
            bytes_per_s: 0.0,
            speeds: Speeds::ZERO,
            concurrency: 0,
            throttle: String::new(),
            errors: Vec::new(),
            slow: Vec::new(),
            follow: None,
        }
    }
}

/// How fast a lane may be, while it runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Payload bytes per second; `None`: as fast as it can.
    pub bytes_per_s: Option<u64>,
    /// Requests per second, of a lane of files; `None`: as many as it can.
    pub requests_per_s: Option<u64>,
    /// Rows per second, of a lane of records; `None`: as many as it can.
    #[serde(default)]
    pub rows_per_s: Option<u64>,
}

/// A batch's progress, complete in itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BatchProgress {
    /// Which batch.
    pub batch: BatchId,
    /// Its lane.
    pub lane: LaneId,
    /// Where it stands.
    pub state: BatchState,
    /// Items in it.
    pub items: u64,
    /// Items that have ended or are copied.
    pub done: u64,
    /// Items that failed.
    pub failed: u64,
    /// Payload bytes moved.
    pub bytes: u64,
    /// Attempt under way, from 1.
    pub attempt: u32,
    /// When the first attempt began.
    pub started: Option<Timestamp>,
    /// When it ended.
    pub finished: Option<Timestamp>,
    /// The last error in one line; empty if there was none.
    pub error: String,
}

/// One measured point of a metric's series.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct MetricPoint {
    /// When.
    pub at: Timestamp,
    /// How much; `None` is a gap (no samples), which is not zero.
    pub value: Option<f64>,
    /// How many samples stand behind it.
    pub samples: u64,
}

/// How loud an alert is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// For the record.
    Info,
    /// Look at it.
    Warning,
    /// Act.
    Critical,
}

/// A watch rule's standing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RuleState {
    /// The rule's name.
    pub rule: String,
    /// Its metric.
    pub metric: String,
    /// The value in its window; `None` without samples.
    pub value: Option<f64>,
    /// Its limit.
    pub limit: f64,
    /// Breaches counted in a row.
    pub breaches: u32,
    /// Breaches allowed before it acts.
    pub budget: u32,
    /// Samples in the window.
    pub samples: u64,
    /// Samples needed for a verdict.
    pub min_samples: u64,
    /// Armed in the phase under way: only then it may act.
    pub armed: bool,
}
