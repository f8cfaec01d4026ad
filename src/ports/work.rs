//! The port to the work tables: the progress of millions of records and files, which never goes through the journal.

use super::PartSent;
use crate::{
    error::{FaultKind, Result},
    model::{
        BatchId, BatchProgress, BatchState, Digest, ItemState, ItemVerdict, LaneId, LaneKind, RunId, Tally, Timestamp,
    },
};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};

/// A batch as the ledger keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchRow {
    /// Its name.
    pub batch: BatchId,
    /// Its lane.
    pub lane: LaneId,
    /// What it moves.
    pub kind: LaneKind,
    /// Its number in the lane, from 1 without gaps.
    pub number: u64,
    /// Where it stands.
    pub state: BatchState,
    /// Where the source is read to get it again; `None` for the beginning.
    pub from: Option<String>,
    /// Where the batch after it begins; `None` at the end of the source, or while that is not known.
    pub next: Option<String>,
    /// Items in it.
    pub items: u64,
    /// Items that failed.
    pub failed: u64,
    /// Payload bytes.
    pub bytes: u64,
    /// Attempts so far.
    pub attempts: u32,
    /// The last error; empty if there was none.
    pub error: String,
    /// When its first attempt began.
    pub started: Option<Timestamp>,
    /// When it ended.
    pub finished: Option<Timestamp>,
}

impl BatchRow {
    /// The batch as progress, with so many items through.
    #[must_use]
    pub fn into_progress(self, done: u64) -> BatchProgress {
        BatchProgress {
            batch: self.batch,
            lane: self.lane,
            state: self.state,
            items: self.items,
            done,
            failed: self.failed,
            bytes: self.bytes,
            attempt: self.attempts,
            started: self.started,
            finished: self.finished,
            error: self.error,
        }
    }
}

/// A record or a file as the ledger keeps it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ItemRow {
    /// Its lane.
    pub lane: LaneId,
    /// The record's key, or the blob's key on the target.
    pub key: String,
    /// The batch that moves it.
    pub batch: BatchId,
    /// Where it stands.
    pub state: ItemState,
    /// For a file: its key in the source bucket. For a record: empty.
    pub source: String,
    /// SHA-256 of the record as written, or of the file's bytes.
    pub digest: Option<Digest>,
    /// For a file: its bytes. For a record: 0.
    pub bytes: u64,
    /// Attempts so far.
    pub attempts: u32,
    /// The kind of its last error, if it failed.
    pub error: Option<FaultKind>,
    /// Why it was skipped, failed or conflicts; empty otherwise.
    pub reason: String,
    /// For a file: what the listing said of it, as the lane wrote it. For a record that failed: the record as the source
    /// had it, under `row`.
    pub facts: Option<serde_json::Value>,
    /// What stood in the target under this key before the run wrote it: the record as JSON, or for a file the key under
    /// which the overwritten object is kept aside. `None`: nothing stood there, the run created it.
    pub before: Option<serde_json::Value>,
}

/// The records of a batch that all fare alike: kept as one entry, and told as items like any other. Of each is known that
/// nothing stood in the target under its key before the run, and that it was written at most once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordBlock {
    /// Where all of them stand.
    pub state: ItemState,
    /// Key and SHA-256 as written, of each. No key twice.
    pub records: Vec<(String, Digest)>,
}

/// How the reason of an item begins that a person left out.
const LEFT_OUT: &str = "left out by ";
/// The reason of a record that stood in the target before and is kept as it is there.
pub(crate) const KEPT: &str = "stood there before, kept as it was";
/// How the reason of a record begins that stood in the target before, as long as nobody has decided about it.
pub(crate) const ASKS: &str = "stood there before";

impl ItemRow {
    /// A record of this batch of which nothing is known yet.
    #[must_use]
    pub fn record(lane: &LaneId, batch: &BatchId, state: ItemState, key: String) -> Self {
        Self {
            lane: lane.clone(),
            key,
            batch: batch.clone(),
            state,
            source: String::new(),
            digest: None,
            bytes: 0,
            attempts: 0,
            error: None,
            reason: String::new(),
            facts: None,
            before: None,
        }
    }

    /// A record of this batch that stands in a block.
    #[must_use]
    pub fn in_block(lane: &LaneId, batch: &BatchId, state: ItemState, key: String, digest: Digest) -> Self {
        Self { digest: Some(digest), attempts: 1, ..Self::record(lane, batch, state, key) }
    }

    /// The reason kept of an item that a person leaves out.
    #[must_use]
    pub fn left_out_by(name: &str, reason: &str) -> String {
        format!("{LEFT_OUT}{name}: {reason}")
    }

    /// It stood in the target before and is kept as it is there: it is neither moved nor missed.
    #[must_use]
    pub fn is_kept(&self) -> bool {
        self.state == ItemState::Skipped && self.reason == KEPT
    }

    /// It stood in the target before, differs, and waits for a person to decide.
    #[must_use]
    pub fn asks(&self) -> bool {
        self.state == ItemState::Failed && self.reason.starts_with(ASKS)
    }

    /// A person left it out: it is neither moved nor missed.
    #[must_use]
    pub fn is_left_out(&self) -> bool {
        self.state == ItemState::Skipped && self.reason.starts_with(LEFT_OUT)
    }
}

/// Which items to list.
#[derive(Debug, Clone, Default)]
pub struct ItemQuery {
    /// Only of this lane.
    pub lane: Option<LaneId>,
    /// Only of this batch.
    pub batch: Option<BatchId>,
    /// Only in these states; empty for all.
    pub states: Vec<ItemState>,
    /// Only these keys; empty for all. At most a few thousand.
    pub keys: Vec<String>,
    /// Only with a last error of this kind.
    pub error: Option<FaultKind>,
    /// Only with this text in the key or the source, taken literally; ASCII letters match in either case.
    pub text: Option<String>,
    /// Only keys greater than this one: the cursor, since items come in key order.
    pub after: Option<String>,
    /// At most this many.
    pub limit: u32,
}

/// Which batches to list.
#[derive(Debug, Clone, Default)]
pub struct BatchQuery {
    /// Only of this lane.
    pub lane: Option<LaneId>,
    /// Only this one.
    pub batch: Option<BatchId>,
    /// Only in these states; empty for all.
    pub states: Vec<BatchState>,
    /// Only numbers greater than this one: the cursor within a lane.
    pub after: u64,
    /// At most this many.
    pub limit: u32,
}

/// A long file on its way up in parts, and the parts that have arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadRow {
    /// Its lane.
    pub lane: LaneId,
    /// The item's key.
    pub key: String,
    /// The server's name for the upload; empty from just before it is asked for until it has answered.
    pub upload: String,
    /// The version of the source that the parts were read from.
    pub version: Option<String>,
    /// Bytes of the whole file.
    pub size: u64,
    /// Bytes of one part.
    pub part_size: u64,
    /// The parts that the server has, by number.
    pub parts: Vec<PartSent>,
}

/// What a comparison found of a record or a file, as the ledger keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerdictRow {
    /// Its lane.
    pub lane: LaneId,
    /// A record's key, or a file's key in the target.
    pub key: String,
    /// What was found.
    pub verdict: ItemVerdict,
    /// In words, if it is not the same.
    pub detail: String,
    /// When.
    pub at: Timestamp,
}

/// Which verdicts to list.
#[derive(Debug, Clone, Default)]
pub struct VerdictQuery {
    /// Only these; empty for all.
    pub verdicts: Vec<ItemVerdict>,
    /// Only of these keys; empty for all. At most a few thousand.
    pub keys: Vec<String>,
    /// Only keys greater than this one: the cursor, since verdicts come in key order.
    pub after: Option<String>,
    /// At most this many.
    pub limit: u32,
}

/// A record changed on both sides.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ConflictRow {
    /// The dataset's lane.
    pub lane: LaneId,
    /// The record.
    pub key: String,
    /// The record on the legacy side.
    pub legacy: serde_json::Value,
    /// The record on the new side.
    pub new: serde_json::Value,
    /// How it was decided (`newest wins: new`), or empty while it is open.
    pub resolution: String,
    /// When it was found.
    pub at: Timestamp,
}

/// The port to the work tables of one run. Every method is one transaction, durable unless it says otherwise; concurrent
/// callers are grouped.
#[async_trait]
pub trait Work: Send + Sync {
    /// Which run these tables belong to.
    fn run(&self) -> &RunId;

    /// Writes a batch and its items in one transaction, replacing rows of the same names. A record's `before` is
    /// what its first write says, also if that is nothing; a file is listed before anybody looks at the target, and its
    /// `before` is the first one that is something. A later write cannot change what stood there before the run, until
    /// the item is `reset`.
    async fn save(&self, batch: &BatchRow, items: &[ItemRow]) -> Result<()>;

    /// Writes a batch with its records as one block, and with the items of those that do not fare like the others, in one
    /// transaction. No record of the block may be known to the lane. `false`, and nothing is written, if keys of many other
    /// blocks lie between these (they come in no order): such records are found only if they are kept one by one.
    async fn save_block(&self, batch: &BatchRow, block: &RecordBlock, items: &[ItemRow]) -> Result<bool>;

    /// Writes a batch whose records stand in a block, and where those of them stand that were not told of by themselves
    /// since. `false` if the batch has no block: then nothing is written.
    async fn move_block(&self, batch: &BatchRow, state: ItemState) -> Result<bool>;

    /// Writes batches with their items, and notes (name, value), in one transaction; otherwise as [`Self::save`]. For
    /// what only repeats work if it is lost (what was listed, how files ended): nobody's death loses it, but a machine
    /// without power may lose it together with everything that was written after it, back to the last durable write.
    async fn enlist(&self, batches: &[BatchRow], items: &[ItemRow], notes: &[(&str, &serde_json::Value)])
    -> Result<()>;

    /// The lanes that have batches, by name, and what they move.
    async fn lanes(&self) -> Result<Vec<(LaneId, LaneKind)>>;

    /// The batches of a lane by number, or of all lanes.
    async fn batches(&self, lane: Option<&LaneId>) -> Result<Vec<BatchRow>>;

    /// The highest number of a batch of a lane; 0 if it has none.
    async fn last_number(&self, lane: &LaneId) -> Result<u64>;

    /// Batches by lane and number.
    async fn batch_page(&self, query: &BatchQuery) -> Result<Vec<BatchRow>>;

    /// Items in key order.
    async fn items(&self, query: &ItemQuery) -> Result<Vec<ItemRow>>;

    /// Sets the state and reason of these items of a lane.
    async fn mark(&self, lane: &LaneId, keys: &[String], state: ItemState, reason: &str) -> Result<()>;

    /// Sets these items of a lane back to where they were before the run touched them: pending, without attempts,
    /// error, digest and `before`.
    async fn reset(&self, lane: &LaneId, keys: &[String]) -> Result<()>;

    /// The sums of a lane.
    async fn tally(&self, lane: &LaneId) -> Result<Tally>;

    /// The sums of a batch.
    async fn batch_tally(&self, batch: &BatchId) -> Result<Tally>;

    /// Those of these keys of the source bucket that a file of the lane is read from.
    async fn sources_known(&self, lane: &LaneId, sources: &[String]) -> Result<Vec<String>>;

    /// How many items of a lane failed, by the kind of their error, the most frequent first.
    async fn errors(&self, lane: &LaneId) -> Result<Vec<(FaultKind, u64)>>;

    /// Forgets all batches and items of a lane, after it was undone.
    async fn forget(&self, lane: &LaneId) -> Result<()>;

    /// Keeps a small value under a name (a watermark, a marker's key), replacing an earlier one.
    async fn note(&self, name: &str, value: &serde_json::Value) -> Result<()>;

    /// The value kept under a name.
    async fn noted(&self, name: &str) -> Result<Option<serde_json::Value>>;

    /// Keeps that an upload in parts was begun, replacing an earlier one of the same item and its parts.
    async fn begin_upload(&self, row: &UploadRow) -> Result<()>;

    /// Keeps that a part has arrived.
    async fn add_part(&self, lane: &LaneId, key: &str, part: &PartSent) -> Result<()>;

    /// Uploads in parts of a lane in key order, after this key.
    async fn uploads(&self, lane: &LaneId, after: Option<&str>, limit: u32) -> Result<Vec<UploadRow>>;

    /// The upload of an item.
    async fn upload(&self, lane: &LaneId, key: &str) -> Result<Option<UploadRow>>;

    /// Forgets an upload and its parts: it was finished or abandoned.
    async fn end_upload(&self, lane: &LaneId, key: &str) -> Result<()>;

    /// Keeps verdicts, replacing earlier ones of the same files; as durable as [`Self::enlist`].
    async fn judge(&self, rows: &[VerdictRow]) -> Result<()>;

    /// Verdicts of a lane in key order.
    async fn verdicts(&self, lane: &LaneId, query: &VerdictQuery) -> Result<Vec<VerdictRow>>;

    /// How many verdicts of each kind a lane has.
    async fn verdict_sums(&self, lane: &LaneId) -> Result<Vec<(ItemVerdict, u64)>>;

    /// Forgets the verdicts of a lane, before a new comparison.
    async fn forget_verdicts(&self, lane: &LaneId) -> Result<()>;

    /// Keeps a conflict, replacing an earlier one of the same record.
    async fn conflict(&self, row: &ConflictRow) -> Result<()>;

    /// All conflicts.
    async fn conflicts(&self) -> Result<Vec<ConflictRow>>;
}
