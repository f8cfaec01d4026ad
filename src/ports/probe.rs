//! The port to a measurement.

use crate::{
    error::Result,
    model::{Timestamp, Verdict},
};
use async_trait::async_trait;
use std::collections::BTreeMap;

/// What one measurement found.
#[derive(Debug, Clone, PartialEq)]
pub struct Measurement {
    /// The probe's own judgement: a flow passed, a status was the expected one. `Unknown` if it only counts.
    pub verdict: Verdict,
    /// What was seen, in one line, cleaned.
    pub detail: String,
    /// The numbers.
    pub readings: Vec<Reading>,
    /// When.
    pub at: Timestamp,
}

/// A number a probe brought.
#[derive(Debug, Clone, PartialEq)]
pub enum Reading {
    /// Requests since the last measurement. Feeds the metrics `error_rate` (a ratio, 0 to 1), `p95` and `mean` (both
    /// milliseconds).
    Requests {
        /// How many.
        total: u64,
        /// How many of them failed.
        failed: u64,
        /// Latencies as (milliseconds, how many); for a histogram the bucket's upper bound.
        latency: Vec<(f64, u64)>,
    },
    /// A value at this moment, under a metric name of its own.
    Gauge {
        /// The metric.
        metric: String,
        /// The value.
        value: f64,
    },
}

/// A port to a measurement.
#[async_trait]
pub trait Probe: Send + Sync {
    /// Measures once. What the probe was built to find wrong (status 500, an assertion that fails, no answer) is a
    /// measurement with `Fail`, not an error; an error means that it could not measure at all. `vars` are the values its
    /// templates may use (`colour`: the colour under test).
    async fn measure(&self, vars: &BTreeMap<String, String>) -> Result<Measurement>;
}
