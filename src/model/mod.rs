//! The words of the program: plain values that every other room speaks in.
//!
//! Neighbours: everything looks down on this room, it looks at nothing but `error`.
//! Must never enter: I/O, async, clocks (`now` is always an argument), and anything a screen or a driver knows.

mod check;
mod decimal;
pub mod document;
mod follow;
mod ids;
mod kind;
mod mending;
mod phase;
mod progress;
mod state;
pub mod text;
mod truth;
mod value;

pub use check::{Check, Verdict, Waiver};
pub use decimal::Decimal;
pub use follow::{Between, Failing, Follow, Pass, Sweep};
pub use ids::{Actor, AlertId, BatchId, CommandId, LaneId, RunId, StepId, Via};
pub use kind::{Field, Kind, Misfit};
pub use mending::{ItemVerdict, Mending, Take};
pub use phase::{Phase, RollbackStage};
pub use progress::{
    BatchProgress, BatchState, ItemState, LaneKind, LaneProgress, LaneStage, Limits, MetricPoint, RuleState, Severity,
    SlowItem, Speeds, Tally,
};
pub use state::{Environment, Mode, Outcome, PauseDepth, PhaseState, RunState, StepState};
pub use truth::{Aspect, Fact};
pub use value::{Digest, Key, Record, Value};

/// A point in time, always UTC.
pub use jiff::Timestamp;
