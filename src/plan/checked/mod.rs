//! The checked plan, by subject; `plan` hands it on. Must never enter: how any of it is read from a file.

mod buckets;
mod lanes;
mod probes;
mod rules;
mod stores;
mod switches;
mod web;
mod whole;
mod work;

pub use buckets::{BucketEnd, BucketPlan, PartsPlan};
pub use lanes::{BlobPlan, DatasetPlan, FieldsPlan, FileSetPlan, LookupPlan, OnConflict, SetPlan};
pub use probes::{FlowStep, ProbeKind, ProbePlan, ProbeUse};
pub use rules::{Op, RuleAction, RulePlan};
pub use stores::{Auth, DatabaseAddress, StorePlan};
pub use switches::{DnsRecord, ObservePlan, PowerDnsPlan, RequestPlan, SwitchPlan};
pub use web::{
    Compression, DeleteShape, HttpPlan, KEYS, LocalStoragePlan, NextAs, Outcomes, Pagination, Parameters, Preset,
    RECORDS, ReadShape, Sending, WriteShape,
};
pub use whole::{OnHangup, Plan, Window};
pub use work::{
    BackupsPlan, CommandPlan, ConflictPolicy, FollowPlan, MigrationPlan, OnExisting, PhasePlan, RollbackPlan,
};
