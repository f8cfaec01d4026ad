//! Cumulative counters in a JSON document, brought as the difference to the last reading.
//!
//! The first measurement brings zero, since nobody knows over what time its counts came. A counter that is lower than
//! before began anew: then all that it counts since is the difference.

use super::{filled_in, measured};
use crate::{
    adapters::http::Client,
    error::{Fault, FaultKind, Result},
    model::Verdict,
    plan::RequestPlan,
    ports::{Measurement, Probe, Reading},
};
use async_trait::async_trait;
use serde_json::Value as Json;
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Mutex, PoisonError},
    time::Duration,
};

/// Where the counters stand in the document, as JSON pointers.
#[derive(Debug, Clone)]
pub struct Pointers {
    /// The number of requests.
    pub total: String,
    /// The number of failed ones.
    pub failed: String,
    /// A list of `[upper bound in ms, count]`, if there is one.
    pub latency: Option<String>,
}

/// Cumulative counters.
#[derive(Debug)]
pub struct CountersProbe {
    name: String,
    request: RequestPlan,
    pointers: Pointers,
    client: Client,
    last: Mutex<Option<Counts>>,
}

#[derive(Debug, Clone, Default, PartialEq)]
struct Counts {
    total: u64,
    failed: u64,
    /// Upper bound in milliseconds and count, in the document's order.
    latency: Vec<(f64, u64)>,
}

impl Counts {
    /// What came since `last`.
    fn since(&self, last: &Self) -> Self {
        let bucket = |upper: f64| last.latency.iter().find(|(bound, _)| bound.total_cmp(&upper).is_eq());
        Self {
            total: gained(self.total, last.total),
            failed: gained(self.failed, last.failed),
            latency: self
                .latency
                .iter()
                .map(|(upper, count)| (*upper, gained(*count, bucket(*upper).map_or(0, |(_, count)| *count))))
                .filter(|(_, count)| *count > 0)
                .collect(),
        }
    }
}

const fn gained(now: u64, last: u64) -> u64 {
    if now >= last { now - last } else { now }
}

impl CountersProbe {
    /// The probe of this name in the plan.
    ///
    /// # Errors
    /// If no HTTP client can be made on this machine.
    pub fn new(
        name: &str,
        request: &RequestPlan,
        pointers: Pointers,
        timeout: Duration,
        resolver: Option<SocketAddr>,
    ) -> Result<Self> {
        Ok(Self {
            name: name.to_owned(),
            request: request.clone(),
            pointers,
            client: Client::new(timeout, resolver)?,
            last: Mutex::new(None),
        })
    }

    fn counts(&self, doing: &str, document: &Json) -> Result<Counts> {
        let garbage = |pointer: &str, what: &str| {
            Fault::new(FaultKind::Garbage, doing).detail(format!("there is no {what} at {pointer}"))
        };
        let number = |pointer: &str| {
            document.pointer(pointer).and_then(Json::as_u64).ok_or_else(|| garbage(pointer, "whole number"))
        };
        let latency = match &self.pointers.latency {
            None => Vec::new(),
            Some(pointer) => document
                .pointer(pointer)
                .and_then(Json::as_array)
                .and_then(|buckets| histogram(buckets))
                .ok_or_else(|| garbage(pointer, "list of [upper bound in ms, count]"))?,
        };
        Ok(Counts { total: number(&self.pointers.total)?, failed: number(&self.pointers.failed)?, latency })
    }
}

/// The buckets; one without an upper bound counts as the highest bound there is.
fn histogram(buckets: &[Json]) -> Option<Vec<(f64, u64)>> {
    let bound = |bucket: &Json| bucket.get(0).and_then(Json::as_f64);
    let highest = buckets.iter().filter_map(bound).fold(0.0, f64::max);
    buckets.iter().map(|bucket| Some((bound(bucket).unwrap_or(highest), bucket.get(1)?.as_u64()?))).collect()
}

#[async_trait]
impl Probe for CountersProbe {
    async fn measure(&self, vars: &BTreeMap<String, String>) -> Result<Measurement> {
        let doing = format!("read the counters of {}", self.name);
        let call = filled_in(&doing, &self.request, vars)?;
        let answer = self.client.send(&doing, call).await?.success(&doing)?;
        let now = self.counts(&doing, &answer.json(&doing)?)?;
        let gained = {
            let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
            last.replace(now.clone()).map_or_else(Counts::default, |last| now.since(&last))
        };
        let detail = format!("{} requests, {} failed", gained.total, gained.failed);
        let Counts { total, failed, latency } = gained;
        Ok(measured(Verdict::Unknown, &detail, vec![Reading::Requests { total, failed, latency }]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn counts(total: u64, failed: u64, latency: &[(f64, u64)]) -> Counts {
        Counts { total, failed, latency: latency.to_vec() }
    }

    #[test]
    fn differences_survive_a_reset() {
        let before = counts(100, 5, &[(10.0, 90), (50.0, 10)]);
        assert_eq!(counts(130, 6, &[(10.0, 110), (50.0, 20)]).since(&before), counts(30, 1, &[(10.0, 20), (50.0, 10)]));
        assert_eq!(counts(7, 0, &[(10.0, 7), (50.0, 0)]).since(&before), counts(7, 0, &[(10.0, 7)]));
        assert_eq!(before.since(&before), counts(0, 0, &[]));
    }

    #[test]
    fn an_open_bucket_counts_as_the_highest_bound() {
        let buckets = [json!([10, 1]), json!([50.5, 2]), json!([null, 3])];
        assert_eq!(histogram(&buckets), Some(vec![(10.0, 1), (50.5, 2), (50.5, 3)]));
        assert_eq!(histogram(&[json!({"le": 10})]), None);
    }
}
