//! The whole plan, its window, and what it says of itself. Its parts are beside this file; `file` makes it.
//! Must never enter: how it is read from a file.

use crate::model::{Environment, LaneId, LaneKind, Phase, Timestamp};
use crate::plan::{
    BucketPlan, DatasetPlan, FileSetPlan, FlowStep, MigrationPlan, PhasePlan, PowerDnsPlan, ProbeKind, ProbePlan,
    RequestPlan, RollbackPlan, RulePlan, StorePlan, SwitchPlan,
};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// A checked plan.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Its name; also the name of its folder in the data directory (`[a-z0-9._-]+`).
    pub name: String,
    /// Where it acts.
    pub environment: Environment,
    /// When it may begin a phase; `None` for any time.
    pub window: Option<Window>,
    /// SHA-256 of the plan's text after variables were put in, secrets excluded: two digests differ if the plan does.
    pub digest: String,
    /// Stores by name.
    pub stores: BTreeMap<String, StorePlan>,
    /// Buckets by name.
    pub buckets: BTreeMap<String, BucketPlan>,
    /// What moves, in the plan's order; `needs` never points forward.
    pub datasets: Vec<DatasetPlan>,
    /// Bytes that move and that no record speaks of, in the plan's order.
    pub file_sets: Vec<FileSetPlan>,
    /// The maintenance switch.
    pub maintenance: Option<SwitchPlan>,
    /// The deployment switch: its positions are the colours, the position is the active one.
    pub deployment: Option<SwitchPlan>,
    /// The release switch: its position is the colour that the new version was deployed to, or `none`.
    pub release: Option<SwitchPlan>,
    /// The DNS switch.
    pub dns: Option<PowerDnsPlan>,
    /// Requests that tell users of the maintenance before it begins.
    pub announce: Vec<RequestPlan>,
    /// Probes by name, in the plan's order.
    pub probes: Vec<ProbePlan>,
    /// Watch rules in the plan's order.
    pub rules: Vec<RulePlan>,
    /// What each phase is told; every phase has an entry.
    pub phases: BTreeMap<Phase, PhasePlan>,
    /// How the data moves.
    pub migration: MigrationPlan,
    /// When and how to go back.
    pub rollback: RollbackPlan,
    /// What the engine does when the console vanishes (a hang-up, a crash of the screen).
    pub on_hangup: OnHangup,
}

impl Plan {
    /// The announcement as a probe: a flow named `announce` of one step per request, which the ports hold beside the
    /// plan's own probes. `None` if nobody is to be told.
    #[must_use]
    pub fn announcement(&self) -> Option<ProbePlan> {
        let steps: Vec<FlowStep> = (1..)
            .zip(&self.announce)
            .map(|(number, request)| FlowStep {
                name: format!("announce-{number}"),
                request: request.clone(),
                upload: None,
                status: Vec::new(),
                capture: BTreeMap::new(),
                expect: Vec::new(),
                body: None,
            })
            .collect();
        (!steps.is_empty()).then(|| ProbePlan {
            name: "announce".into(),
            kind: ProbeKind::Flow { steps },
            uses: Vec::new(),
            resolver: None,
            every: Duration::from_mins(1),
            timeout: Duration::from_secs(10),
        })
    }
}

impl Plan {
    /// Its lanes and what moves on each, in the order in which they move.
    #[must_use]
    pub fn lanes(&self) -> Vec<(LaneId, LaneKind)> {
        let mut lanes = Vec::new();
        for dataset in &self.datasets {
            lanes.push((dataset.lane(), LaneKind::Records));
            if dataset.blob.is_some() {
                lanes.push((dataset.blob_lane(), LaneKind::Files));
            }
        }
        lanes.extend(self.file_sets.iter().map(|set| (set.lane(), LaneKind::Files)));
        lanes
    }

    /// Whether this lane goes on where a record or file cannot be moved.
    #[must_use]
    pub fn continues_on_error(&self, lane: &LaneId) -> bool {
        let of = |dataset: &&DatasetPlan| dataset.lane() == *lane || dataset.blob_lane() == *lane;
        let own = self.datasets.iter().find(of).and_then(|dataset| dataset.continue_on_error);
        own.unwrap_or(self.migration.continue_on_error)
    }

    /// How many of so many items of this lane may fail; `None` while that depends on a number that nobody knows yet.
    #[must_use]
    pub fn may_fail(&self, lane: &LaneId, of: Option<u64>) -> Option<u64> {
        if self.continues_on_error(lane) { self.migration.may_fail(of) } else { Some(0) }
    }

    /// Whether it moves anything.
    #[must_use]
    pub const fn moves_data(&self) -> bool {
        !self.datasets.is_empty() || !self.file_sets.is_empty()
    }

    /// The buckets of the new side that it moves files to, each once.
    #[must_use]
    pub fn new_buckets(&self) -> BTreeSet<&str> {
        let blobs = self.datasets.iter().filter_map(|dataset| dataset.blob.as_ref());
        blobs.map(|blob| blob.to.as_str()).chain(self.file_sets.iter().map(|set| set.to.bucket.as_str())).collect()
    }
}

/// When a run may begin a phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// From.
    pub opens: Timestamp,
    /// Until.
    pub closes: Timestamp,
}

/// What the engine does when the console vanishes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnHangup {
    /// Goes on without a screen.
    Continue,
    /// Pauses after the batch.
    Pause,
}
