//! What a comparison of both sides found.

use crate::model::{Check, LaneId, Timestamp, Verdict};
use serde::{Deserialize, Serialize};

/// Differences listed in full; more are only counted.
pub(crate) const DIFFERENCES_LISTED: usize = 50;

/// One thing that is not the same on both sides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// The record's key, or the file's key on the new side.
    pub key: String,
    /// In one line: `missing`, `extra`, or which fields differ.
    pub what: String,
}

/// What a comparison of both sides of a lane found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Verified {
    /// Which lane.
    pub lane: LaneId,
    /// Items in the source.
    pub source: u64,
    /// Equal on both sides.
    pub same: u64,
    /// In the source, not in the target.
    pub missing: u64,
    /// On both sides, not equal, and still so when read again.
    pub different: u64,
    /// In the target and not in the source, although nothing of the kind stood there before the run.
    pub extra: u64,
    /// Of the missing, different and extra: those that the source wrote or deleted after they were copied. Copying again
    /// mends them.
    #[serde(default)]
    pub late: u64,
    /// Stood in the target before the run, and are not in the source: left alone.
    pub standing: u64,
    /// Files that a person left out: not missed.
    #[serde(default)]
    pub left_out: u64,
    /// Changed, created or deleted on the new side since; only counted by `verify_live`.
    pub moved_on: u64,
    /// Were unequal at the first look and equal, or different in another way, at the second: somebody writes.
    pub moving: u64,
    /// The first 50 differences.
    pub first: Vec<Difference>,
    /// The same as evidence.
    pub checks: Vec<Check>,
}

impl Verified {
    /// Nothing seen yet.
    #[must_use]
    pub const fn new(lane: LaneId) -> Self {
        Self {
            lane,
            source: 0,
            same: 0,
            missing: 0,
            different: 0,
            extra: 0,
            late: 0,
            standing: 0,
            left_out: 0,
            moved_on: 0,
            moving: 0,
            first: Vec::new(),
            checks: Vec::new(),
        }
    }

    /// Nothing is missing, different or extra.
    #[must_use]
    pub const fn is_same(&self) -> bool {
        self.missing == 0 && self.different == 0 && self.extra == 0
    }

    /// In one line, for the step's summary.
    #[must_use]
    pub fn summary(&self) -> String {
        let besides = counted(&[
            (self.missing, "missing"),
            (self.different, "different"),
            (self.extra, "extra"),
            (self.left_out, "left out by hand"),
            (self.moved_on, "changed on the new side since"),
            (self.standing, "stood there before"),
        ]);
        format!("{} of {} the same{besides}", self.same, self.source)
    }

    /// Notes a difference, if there is room.
    pub(crate) fn differs(&mut self, key: impl Into<String>, what: impl Into<String>) {
        if self.first.len() < DIFFERENCES_LISTED {
            self.first.push(Difference { key: key.into(), what: what.into() });
        }
    }

    /// Writes the counts down as evidence.
    pub(crate) fn conclude(&mut self, at: Timestamp) {
        let verdict = if self.is_same() { Verdict::Pass } else { Verdict::Fail };
        let mut check = Check::new(format!("{} same on both sides", self.lane), verdict, self.summary(), at)
            .limit("none missing, different or extra");
        if let Some(first) = self.first.first().filter(|_| verdict == Verdict::Fail) {
            check = check.remedy(format!("{}: {}; copy the lane again, or look at the record", first.key, first.what));
        }
        self.checks = vec![check];
    }
}

/// `, 3 missing, 1 extra`: what there is any of, to be put behind a sentence.
pub(crate) fn counted(counts: &[(u64, &str)]) -> String {
    let said: Vec<String> =
        counts.iter().filter(|(count, _)| *count > 0).map(|(count, word)| format!(", {count} {word}")).collect();
    said.concat()
}
