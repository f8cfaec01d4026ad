//! What is measured or walked through as a user would. Read by `probes`.
//! Must never enter: how it is read from a file.

use crate::plan::RequestPlan;
use std::collections::BTreeMap;
use std::time::Duration;

/// When a probe is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProbeUse {
    /// Measured all the time, feeds metrics.
    Watch,
    /// Run in validation: staging flows.
    Staging,
    /// Run in post-validation.
    After,
    /// Run at the end of a rollback against the legacy side.
    Legacy,
    /// Must fail while the maintenance is on: proves that a write really is refused.
    WriteRefused,
    /// Run against the inactive colour after it was deployed.
    Inactive,
}

/// A probe.
#[derive(Debug, Clone)]
pub struct ProbePlan {
    /// Its name.
    pub name: String,
    /// What it does.
    pub kind: ProbeKind,
    /// When it is used.
    pub uses: Vec<ProbeUse>,
    /// Resolves names by asking this server instead of the system.
    pub resolver: Option<std::net::SocketAddr>,
    /// How often, where it is measured all the time.
    pub every: Duration,
    /// Longest wait for one measurement.
    pub timeout: Duration,
}

/// What a probe does.
#[derive(Debug, Clone)]
pub enum ProbeKind {
    /// One request: its status and latency.
    Http {
        /// The request.
        request: RequestPlan,
        /// Statuses that pass; empty for 200–399.
        status: Vec<u16>,
    },
    /// Reads cumulative counters from a JSON document and brings the difference to the last reading.
    Counters {
        /// The request.
        request: RequestPlan,
        /// Pointer to the number of requests.
        total: String,
        /// Pointer to the number of failed ones.
        failed: String,
        /// Pointer to a list of `[upper bound in ms, count]`, if there is one.
        latency: Option<String>,
    },
    /// A user journey.
    Flow {
        /// Its steps in order.
        steps: Vec<FlowStep>,
    },
    /// A program: exit code 0 passes; a number on standard output becomes the gauge of the probe's name.
    Command {
        /// Program and arguments.
        run: Vec<String>,
    },
}

/// A step of a flow.
#[derive(Debug, Clone)]
pub struct FlowStep {
    /// Its name.
    pub name: String,
    /// The request; texts are minijinja templates over captures, with `random` (8 hex digits, new in each flow).
    pub request: RequestPlan,
    /// A file to send as multipart field `file` instead of a JSON body: (file name, content template).
    pub upload: Option<(String, String)>,
    /// Statuses that pass; empty for 200–299.
    pub status: Vec<u16>,
    /// Capture name → `JSONPath` into the answer; the first match is kept.
    pub capture: BTreeMap<String, String>,
    /// `JSONPath` → the value its first match must have (texts are templates).
    pub expect: Vec<(String, serde_json::Value)>,
    /// The answer's body must be exactly this (a template), if given.
    pub body: Option<String>,
}
