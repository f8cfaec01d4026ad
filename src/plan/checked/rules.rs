//! What is watched, and what happens when it is breached. Read by `probes`.
//! Must never enter: how it is read from a file.

use crate::model::{Phase, Severity};
use std::time::Duration;

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
