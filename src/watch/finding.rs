//! What the watch tells the engine.

use crate::{
    model::{MetricPoint, RuleState, Severity},
    plan::RuleAction,
};

/// Something the watch found.
#[derive(Debug, Clone, PartialEq)]
pub enum Finding {
    /// A metric was measured.
    Metric {
        /// Which.
        metric: String,
        /// The point.
        point: MetricPoint,
    },
    /// A rule was evaluated.
    Rule(RuleState),
    /// A rule used up its budget; once per onset.
    Breached {
        /// Which rule.
        rule: String,
        /// How loud.
        severity: Severity,
        /// What it asks for.
        action: RuleAction,
        /// Value, limit and window in one line.
        reason: String,
    },
    /// A breached rule is back within its limit.
    Cleared {
        /// Which rule.
        rule: String,
    },
    /// A probe cannot measure; once per onset.
    ProbeFailed {
        /// Which probe.
        probe: String,
        /// Why, in one line.
        fault: String,
    },
    /// A probe measures again.
    ProbeRecovered {
        /// Which probe.
        probe: String,
    },
}
