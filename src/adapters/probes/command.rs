//! A program: exit code 0 passes; a number on its standard output becomes a gauge of the probe's name.

use super::{measured, verdict};
use crate::{
    adapters::process,
    error::{FaultKind, Result},
    model::Verdict,
    ports::{Measurement, Probe, Reading},
};
use async_trait::async_trait;
use std::{collections::BTreeMap, time::Duration};

/// A program. It finds the values of a measurement in its environment (`colour` as `CUTOVER_COLOUR`).
#[derive(Debug)]
pub struct CommandProbe {
    name: String,
    run: Vec<String>,
    timeout: Duration,
}

impl CommandProbe {
    /// The probe of this name in the plan.
    #[must_use]
    pub fn new(name: &str, run: &[String], timeout: Duration) -> Self {
        Self { name: name.to_owned(), run: run.to_vec(), timeout }
    }
}

#[async_trait]
impl Probe for CommandProbe {
    async fn measure(&self, vars: &BTreeMap<String, String>) -> Result<Measurement> {
        let doing = format!("measure {}", self.name);
        let ended = match process::run(&doing, &self.run, vars, self.timeout).await {
            Ok(ended) => ended,
            Err(fault) if fault.kind == FaultKind::Timeout => {
                return Ok(measured(Verdict::Fail, &fault.chain(), Vec::new()));
            }
            Err(fault) => return Err(fault),
        };
        let passed = ended.status.success();
        let value = ended.output.parse::<f64>().ok().filter(|value| value.is_finite());
        let readings = value.map(|value| Reading::Gauge { metric: self.name.clone(), value });
        let said = if passed || ended.errors.is_empty() { &ended.output } else { &ended.errors };
        Ok(measured(verdict(passed), &format!("{}: {said}", ended.how()), readings.into_iter().collect()))
    }
}
