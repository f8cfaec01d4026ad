//! One request: its status and how long it took.

use super::{filled_in, is_finding, measured, milliseconds, verdict};
use crate::{
    adapters::http::Client,
    error::{FaultKind, Result},
    model::Verdict,
    plan::RequestPlan,
    ports::{Measurement, Probe, Reading},
};
use async_trait::async_trait;
use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

/// One request.
#[derive(Debug)]
pub struct HttpProbe {
    name: String,
    request: RequestPlan,
    status: Vec<u16>,
    client: Client,
    timeout: Duration,
}

impl HttpProbe {
    /// The probe of this name in the plan; an empty `status` passes 200 to 399.
    ///
    /// # Errors
    /// If no HTTP client can be made on this machine.
    pub fn new(
        name: &str,
        request: &RequestPlan,
        status: &[u16],
        timeout: Duration,
        resolver: Option<SocketAddr>,
    ) -> Result<Self> {
        Ok(Self {
            name: name.to_owned(),
            request: request.clone(),
            status: status.to_vec(),
            client: Client::new(timeout, resolver)?,
            timeout,
        })
    }
}

#[async_trait]
impl Probe for HttpProbe {
    async fn measure(&self, vars: &BTreeMap<String, String>) -> Result<Measurement> {
        let doing = format!("measure {}", self.name);
        let call = filled_in(&doing, &self.request, vars)?;
        let one = |failed: bool, latency| vec![Reading::Requests { total: 1, failed: u64::from(failed), latency }];
        match self.client.send(&doing, call).await {
            Ok(answer) => {
                let status = answer.status.as_u16();
                let passed =
                    if self.status.is_empty() { (200..400).contains(&status) } else { self.status.contains(&status) };
                let took = milliseconds(answer.took);
                let detail = if passed {
                    format!("HTTP {status} in {took:.0} ms")
                } else {
                    format!("HTTP {status} in {took:.0} ms: {}", answer.excerpt())
                };
                Ok(measured(verdict(passed), &detail, one(!passed, vec![(took, 1)])))
            }
            Err(fault) if is_finding(fault.kind) => {
                // Who waited the whole time was as slow as that; a refused connection has no latency.
                let waited = (fault.kind == FaultKind::Timeout).then(|| (milliseconds(self.timeout), 1));
                Ok(measured(Verdict::Fail, &fault.chain(), one(true, waited.into_iter().collect())))
            }
            Err(fault) => Err(fault),
        }
    }
}
