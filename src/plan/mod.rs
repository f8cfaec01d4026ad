//! The plan: one cutover as a value. TOML → resolved (variables in, positions kept) → checked → never changed again.
//!
//! `checked` is the plan that everybody else sees. `file` makes it of a `source`: `reader` and `table` read values with
//! their places and collect `problem`s, `sides databases web datasets file_sets switches probes phases` read the parts, `check` holds the
//! rules between them, `starter` has new plans. Must never enter: anything that opens a connection.

mod backups;
mod bytes;
mod check;
mod checked;
mod databases;
mod datasets;
mod digest;
pub mod duration;
mod fields;
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

pub use checked::{
    Auth, BackupsPlan, BlobPlan, BucketEnd, BucketPlan, CommandPlan, Compression, ConflictPolicy, DatabaseAddress,
    DatasetPlan, DeleteShape, DnsRecord, FieldsPlan, FileSetPlan, FlowStep, FollowPlan, HttpPlan, KEYS,
    LocalStoragePlan, LookupPlan, MigrationPlan, NextAs, ObservePlan, OnConflict, OnExisting, OnHangup, Op, Outcomes,
    Pagination, Parameters, PartsPlan, PhasePlan, Plan, PowerDnsPlan, Preset, ProbeKind, ProbePlan, ProbeUse, RECORDS,
    ReadShape, RequestPlan, RollbackPlan, RuleAction, RulePlan, Sending, SetPlan, StorePlan, SwitchPlan, Window,
    WriteShape,
};
pub use file::{load, parse};
pub use problem::{Problem, Problems};
pub use source::Source;
pub use starter::{STARTERS, starter};
pub use write_back::{TableName, WriteBackPlan};

#[cfg(test)]
mod tests;
