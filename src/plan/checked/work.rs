//! How the phases, the migration and the way back go about it. Read by `phases`.
//! Must never enter: how it is read from a file.

use super::BucketEnd;
use crate::model::{LaneKind, Limits};
use std::path::PathBuf;
use std::time::Duration;

/// What a phase is told.
#[derive(Debug, Clone)]
pub struct PhasePlan {
    /// False: left out.
    pub enabled: bool,
    /// A person decides before it begins.
    pub gate: bool,
    /// Programs run before its own steps.
    pub before: Vec<CommandPlan>,
    /// Programs run after them.
    pub after: Vec<CommandPlan>,
    /// How long it is expected to take, for the forecast.
    pub expected: Option<Duration>,
    /// Monitoring: for how long. Others: unused.
    pub duration: Duration,
    /// Monitoring: how often rules are evaluated.
    pub every: Duration,
}

/// A program that a phase runs as a step of its own.
#[derive(Debug, Clone)]
pub struct CommandPlan {
    /// Its name, unique in the phase.
    pub name: String,
    /// Program and arguments.
    pub run: Vec<String>,
    /// Program and arguments that undo it, if anything does.
    pub undo: Option<Vec<String>>,
    /// Longest run.
    pub timeout: Duration,
}

/// How the data moves.
#[derive(Debug, Clone)]
pub struct MigrationPlan {
    /// Records in a batch.
    pub batch_records: u32,
    /// Files in a batch.
    pub batch_files: u32,
    /// Bytes of the files in a batch; a longer file is a batch of its own.
    pub batch_bytes: u64,
    /// Batches of records at the same time, per lane; files at the same time are four times that to begin with.
    pub concurrency: u32,
    /// Attempts per batch.
    pub attempts: u32,
    /// First wait between attempts; doubles, with jitter, up to 30 s.
    pub backoff: Duration,
    /// Records or files that may fail before the lane fails.
    pub max_failures: u64,
    /// The same as a share of the lane's items, from 0 to 1; where the plan gives one it counts instead.
    pub max_failed_share: Option<f64>,
    /// False: the first record or file that cannot be moved ends its lane. Datasets may say otherwise.
    pub continue_on_error: bool,
    /// Where backups are kept.
    pub backups: BackupsPlan,
    /// Who wins where both sides changed a record.
    pub conflicts: ConflictPolicy,
    /// Longest wait between reads of the source for a slower, watchable run; zero in production.
    pub pace: Duration,
    /// Copy before the maintenance, and follow the source until then; `None`: copy during the maintenance.
    pub follow: Option<FollowPlan>,
    /// What happens to a file that already stands where one is to go.
    pub on_existing: OnExisting,
    /// Most bytes per second of a lane; `None` for as many as go.
    pub limit_bytes_per_s: Option<u64>,
    /// Most rows per second of a lane of records; `None` for as many as go.
    pub limit_rows_per_s: Option<u64>,
    /// Most requests per second of a lane of files; `None` for as many as go.
    pub limit_requests_per_s: Option<u64>,
}

impl MigrationPlan {
    /// How fast a lane of this kind may be until somebody says otherwise.
    #[must_use]
    pub const fn limits(&self, kind: LaneKind) -> Limits {
        let (requests_per_s, rows_per_s) = match kind {
            LaneKind::Files => (self.limit_requests_per_s, None),
            LaneKind::Records => (None, self.limit_rows_per_s),
        };
        Limits { bytes_per_s: self.limit_bytes_per_s, requests_per_s, rows_per_s }
    }

    /// How many items of so many may fail; `None` while that depends on a number that nobody knows yet.
    #[must_use]
    #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share")]
    pub fn may_fail(&self, of: Option<u64>) -> Option<u64> {
        match self.max_failed_share {
            None => Some(self.max_failures),
            Some(share) => of.map(|items| (items as f64 * share).floor() as u64),
        }
    }
}

/// Where backups are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BackupsPlan {
    /// Beside the ledger.
    Beside,
    /// In this folder, made absolute against the plan's folder.
    Folder(PathBuf),
    /// In a bucket of the plan, under a prefix that ends with a slash.
    Bucket(BucketEnd),
}

/// How lanes follow their source between the copy and the drain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FollowPlan {
    /// Wait between two rounds of passes over what changed.
    pub every: Duration,
    /// How often everything that was carried is asked for again: what is gone, what changed without a new timestamp.
    pub sweep: Duration,
}

/// What happens to an object that stands under a key that the run needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnExisting {
    /// The same length and SHA-256: left alone. Otherwise overwritten, kept aside until the commit.
    SkipSame,
    /// Overwritten, kept aside until the commit.
    Overwrite,
    /// The file fails.
    Fail,
}

/// Who wins where both sides changed a record (source: the seeds' four strategies).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConflictPolicy {
    /// The legacy side.
    LegacyWins,
    /// The new side.
    NewWins,
    /// The later `updated`.
    NewestWins,
    /// Nobody: kept for a person, neither side is changed.
    Manual,
}

/// When and how to go back.
#[derive(Debug, Clone)]
pub struct RollbackPlan {
    /// A step that fails for good rolls back by itself, after the veto window.
    pub on_failure: bool,
    /// How long a person may say no to an automatic rollback.
    pub veto: Duration,
    /// An emergency stop rolls back by itself instead of holding.
    pub on_stop: bool,
    /// How long a gate may stay closed under `--approve-all` before the run gives up.
    pub gate_timeout: Duration,
    /// From which age on a gate's evidence is stale.
    pub evidence_max_age: Duration,
}
