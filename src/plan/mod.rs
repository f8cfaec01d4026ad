//! The plan: one cutover as a value. TOML → resolved (variables in, positions kept) → checked → never changed again.
//!
//! This file holds the checked plan, which is what everybody else sees. `file` makes it of a `source`: `reader` and
//! `table` read values with their places and collect `problem`s, `sides web datasets file_sets switches probes phases` read the parts,
//! `check` holds the rules between them, `starter` has new plans. Must never enter: anything that opens a connection.

mod bytes;
mod check;
mod datasets;
mod digest;
pub mod duration;
mod file;
mod file_sets;
mod limits;
mod phases;
mod probes;
mod problem;
mod reader;
mod request;
mod sides;
mod source;
mod starter;
mod switches;
mod table;
mod template;
mod web;
mod write_back;

pub use file::{load, parse};
pub use problem::{Problem, Problems};
pub use source::Source;
pub use starter::{STARTERS, starter};
pub use web::{
    Compression, DeleteShape, HttpPlan, KEYS, LocalStoragePlan, NextAs, Outcomes, Pagination, Parameters, Preset, RECORDS,
    ReadShape, Sending, WriteShape,
};
pub use write_back::{TableName, WriteBackPlan};

use crate::model::{Environment, LaneId, LaneKind, Phase, Severity, Timestamp};
use secrecy::SecretString;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    time::Duration,
};
use url::Url;

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

/// How requests prove who sends them.
#[derive(Debug, Clone)]
pub enum Auth {
    /// Not at all.
    None,
    /// `Authorization: <scheme> <token>`.
    Token {
        /// `Token` for Django REST, `Bearer` for Workers.
        scheme: String,
        /// The token.
        token: SecretString,
    },
    /// `Authorization: Basic …`.
    Basic {
        /// Name of the user.
        user: String,
        /// Password.
        password: SecretString,
    },
    /// `<name>: <token>`.
    Header {
        /// Name of the header.
        name: String,
        /// Its value.
        token: SecretString,
    },
}

/// A store.
#[derive(Debug, Clone)]
pub enum StorePlan {
    /// A REST endpoint.
    Http(Box<HttpPlan>),
    /// Browser exports.
    LocalStorage(LocalStoragePlan),
    /// A SQLite file.
    Sqlite {
        /// Its path, made absolute against the plan's folder.
        path: PathBuf,
    },
}

/// A bucket.
#[derive(Debug, Clone)]
pub enum BucketPlan {
    /// A folder.
    Filesystem {
        /// Its path, made absolute against the plan's folder.
        root: PathBuf,
    },
    /// Any S3 server.
    S3 {
        /// Base address.
        endpoint: Url,
        /// The bucket's name.
        bucket: String,
        /// Region; `auto` for R2.
        region: String,
        /// Access key.
        access_key: SecretString,
        /// Secret key.
        secret_key: SecretString,
        /// `http://host/bucket/key` rather than `http://bucket.host/key`.
        path_style: bool,
        /// Longest wait for one answer.
        timeout: Duration,
        /// How long blobs are cut.
        parts: PartsPlan,
    },
    /// An HTTP server with files, each at an address of its own: only ever a dataset's legacy side.
    Http {
        /// Base address; keys are paths below it.
        endpoint: Url,
        /// Credential.
        auth: Auth,
        /// Longest wait for one answer, and for each piece of a file.
        timeout: Duration,
        /// It takes `PUT` and `DELETE`, so that files can be carried back.
        writable: bool,
    },
}

impl BucketPlan {
    /// It can say what is in it.
    #[must_use]
    pub const fn is_listable(&self) -> bool {
        !matches!(self, Self::Http { .. })
    }
}

/// How long blobs are cut for an S3 server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartsPlan {
    /// A blob longer than this goes up in parts, in bytes.
    pub above: u64,
    /// Length of a part in bytes.
    pub size: u64,
}

/// Where a dataset's records stand.
#[derive(Debug, Clone)]
pub struct SetPlan {
    /// Name of the store.
    pub store: String,
    /// Table, or path.
    pub name: String,
}

/// A dataset.
#[derive(Debug, Clone)]
pub struct DatasetPlan {
    /// Its name (`[a-z0-9_]+`).
    pub name: String,
    /// Datasets whose records this one refers to; they move first.
    pub needs: Vec<String>,
    /// The legacy side.
    pub from: SetPlan,
    /// The new side.
    pub to: SetPlan,
    /// The field that identifies a record on both sides.
    pub key: String,
    /// The field that says when a record changed last; needed for carrying changes back.
    pub updated: Option<String>,
    /// Fields computed on the way to the new side: field → minijinja expression over the record's fields. A field not
    /// named here is carried as it is.
    pub map: BTreeMap<String, String>,
    /// Fields left out on the way to the new side.
    pub drop: Vec<String>,
    /// Fields that are carried back to the legacy side; `None`: all fields that are neither computed nor dropped.
    pub back: Option<Vec<String>>,
    /// The bytes behind each record.
    pub blob: Option<BlobPlan>,
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

impl DatasetPlan {
    /// The lane of its records.
    #[must_use]
    pub fn lane(&self) -> LaneId {
        LaneId::new(self.name.clone())
    }
    /// The lane of its bytes.
    #[must_use]
    pub fn blob_lane(&self) -> LaneId {
        LaneId::new(format!("{}-content", self.name))
    }
}

/// The bytes behind a dataset's records.
#[derive(Debug, Clone)]
pub struct BlobPlan {
    /// Bucket on the legacy side.
    pub from: String,
    /// The record's field that holds the key in it.
    pub path: String,
    /// Bucket on the new side.
    pub to: String,
    /// The key in it: a minijinja template over the record's fields.
    pub key: String,
    /// The record's field with the expected SHA-256, if it has one.
    pub sha256: Option<String>,
    /// The record's field with the expected length, if it has one.
    pub size: Option<String>,
    /// The record's field with the MIME type, if it has one.
    pub content_type: Option<String>,
    /// The legacy table that is told what has moved.
    pub write_back: Option<WriteBackPlan>,
}

/// Bytes that no record speaks of: everything under a prefix moves under another one, the rest of its key unchanged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileSetPlan {
    /// Its name (`[a-z0-9_]+`), also of its lane; no dataset has it.
    pub name: String,
    /// The legacy side; its bucket can be listed.
    pub from: BucketEnd,
    /// The new side.
    pub to: BucketEnd,
}

impl FileSetPlan {
    /// Its lane.
    #[must_use]
    pub fn lane(&self) -> LaneId {
        LaneId::new(self.name.clone())
    }
}

/// A place in a bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BucketEnd {
    /// Name of the bucket.
    pub bucket: String,
    /// How the keys there begin; empty for the whole bucket.
    pub prefix: String,
}

/// One HTTP request of a switch or a flow.
#[derive(Debug, Clone)]
pub struct RequestPlan {
    /// `GET`, `POST`, `PUT`, `PATCH`, `DELETE`.
    pub method: String,
    /// Address; in a flow a minijinja template over the captures.
    pub url: String,
    /// Credential.
    pub auth: Auth,
    /// JSON body; in a flow its texts are minijinja templates.
    pub body: Option<serde_json::Value>,
}

/// Where a position stands in a JSON answer.
#[derive(Debug, Clone)]
pub struct ObservePlan {
    /// The request.
    pub request: RequestPlan,
    /// JSON pointer to the position: a text is the position itself, `true` is `on`, `false` is `off`.
    pub pointer: String,
}

/// A maintenance or deployment switch.
#[derive(Debug, Clone)]
pub enum SwitchPlan {
    /// Turned by requests.
    Http {
        /// Position name → the requests that turn it there, in order, from the mildest position to the severest.
        turn: Vec<(String, Vec<RequestPlan>)>,
        /// How it is observed.
        observe: ObservePlan,
        /// Longest wait for one answer.
        timeout: Duration,
    },
    /// Turned by programs.
    Command {
        /// Position name → program and arguments.
        turn: Vec<(String, Vec<String>)>,
        /// Program whose standard output, trimmed, is the position.
        observe: Vec<String>,
        /// Longest run of one program.
        timeout: Duration,
    },
}

/// A record of the DNS switch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DnsRecord {
    /// Full name without the last dot.
    pub name: String,
    /// `A`, `AAAA` or `CNAME`.
    pub kind: String,
    /// What it shall point to.
    pub value: String,
    /// Time to live.
    pub ttl: Duration,
}

/// The DNS switch over `PowerDNS`'s REST API.
#[derive(Debug, Clone)]
pub struct PowerDnsPlan {
    /// Base address (`http://127.0.0.1:8081`).
    pub endpoint: Url,
    /// Value of `X-API-Key`.
    pub api_key: SecretString,
    /// Server id; `localhost` for an ordinary `PowerDNS`.
    pub server: String,
    /// The zone, without the last dot.
    pub zone: String,
    /// What shall change.
    pub records: Vec<DnsRecord>,
    /// Resolvers that must all answer the new value, as `address:port`.
    pub resolvers: Vec<std::net::SocketAddr>,
    /// Refuse if more than this ratio of the zone's record sets would change (source: octoDNS, 0.3 from 10 up).
    pub guard: f64,
    /// Longest wait for one answer.
    pub timeout: Duration,
    /// Longest wait for all resolvers.
    pub propagation: Duration,
}

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

/// Which way a limit cuts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    /// Breached above the limit.
    Above,
    /// Breached below the limit.
    Below,
}

/// What a rule does once its budget is used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RuleAction {
    /// An alert.
    Notify,
    /// An alert and a pause.
    Pause,
    /// An alert and, after the veto window, a rollback.
    Rollback,
}

/// A watch rule.
#[derive(Debug, Clone)]
pub struct RulePlan {
    /// Its name; by default metric and limit.
    pub name: String,
    /// `error_rate` (a ratio), `p95` and `mean` (milliseconds), or a gauge's name.
    pub metric: String,
    /// Which way.
    pub op: Op,
    /// The limit.
    pub limit: f64,
    /// Over which time.
    pub window: Duration,
    /// Evaluations in a row that may breach before it acts (source: Flagger's threshold).
    pub budget: u32,
    /// Samples needed in the window for a verdict; fewer is `Unknown`.
    pub min_samples: u64,
    /// How loud.
    pub severity: Severity,
    /// What it does.
    pub action: RuleAction,
    /// In which phases it may act.
    pub phases: Vec<Phase>,
}

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
    /// Folder for backups, made absolute against the plan's folder; `None`: in the run's folder.
    pub backups: Option<PathBuf>,
    /// Who wins where both sides changed a record.
    pub conflicts: ConflictPolicy,
    /// Longest wait between reads of the source for a slower, watchable run; zero in production.
    pub pace: Duration,
    /// What happens to a file that already stands where one is to go.
    pub on_existing: OnExisting,
    /// Most bytes per second of a lane of files; `None` for as many as go.
    pub limit_bytes_per_s: Option<u64>,
    /// Most requests per second of a lane of files; `None` for as many as go.
    pub limit_requests_per_s: Option<u64>,
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

#[cfg(test)]
mod tests;
