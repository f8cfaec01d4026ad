//! Each step against a world in memory: forward, half-way and again, and back to where it was.

mod checks;
mod outline;
mod switches;
mod told;

use crate::{
    error::{Fault, FaultKind},
    model::{Check, Phase, Verdict},
};

const MAINTENANCE: Phase = Phase::Maintenance;
const DEPLOYMENT: Phase = Phase::Deployment;
const DNS: Phase = Phase::DnsCutover;

/// Names of the checks with this verdict.
fn names(checks: &[Check], verdict: Verdict) -> Vec<&str> {
    checks.iter().filter(|check| check.verdict == verdict).map(|check| check.name.as_str()).collect()
}

fn kind<T: std::fmt::Debug>(result: Result<T, Fault>) -> FaultKind {
    result.expect_err("a fault").kind
}
