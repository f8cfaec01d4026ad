//! DNS by PowerDNS's REST API, believed only once resolvers say the same.
//!
//! A position is the text of the plan's record sets (`sets` reads and writes it), one line each, sorted:
//! `api.list-cutter.test A 30 127.0.0.2` is a value with its time to live in seconds, `api.list-cutter.test A none` says
//! that there is no such record set.
//!
//! Only the API knows times to live: a resolver's count down, and caches cut them. So a resolver is held against the API
//! by name, type and values alone, and where these agree it is a witness for the API's own position. If the API is silent
//! it is held against the plan's target in the same way; what agrees with neither is shown with `?` for the time to live.
//! Turning to a `?` uses the time to live of the plan.

mod sets;

use crate::{
    adapters::{
        dns::NameServer,
        http::{Call, Client},
    },
    error::{Fault, FaultKind, Result},
    model::Timestamp,
    plan::PowerDnsPlan,
    ports::{Observation, Position, Switch, Witness},
};
use async_trait::async_trait;
use futures::future::join_all;
use reqwest::{Method, header::HeaderName};
use secrecy::SecretString;
use serde_json::Value as Json;
use sets::{Name, Sets, Ttl};
use std::net::SocketAddr;
use url::Url;

/// From this many record sets on the guard counts (source: octoDNS, `MIN_EXISTING_RECORDS`).
const GUARD_FROM: usize = 10;

/// The DNS switch.
#[derive(Debug)]
pub struct PowerDnsSwitch {
    zone: String,
    url: Url,
    api_key: SecretString,
    target: Sets,
    resolvers: Vec<(SocketAddr, NameServer)>,
    guard: f64,
    client: Client,
}

/// What the API says of a zone.
struct Zone {
    /// The plan's record sets.
    sets: Sets,
    /// Record sets in the whole zone.
    total: usize,
}

impl PowerDnsSwitch {
    /// The DNS switch of the plan. Asks nobody yet.
    ///
    /// # Errors
    /// `Plan` if a record cannot be one; `Internal` if no HTTP client can be made on this machine.
    pub fn new(plan: &PowerDnsPlan) -> Result<Self> {
        let base = plan.endpoint.as_str().trim_end_matches('/');
        let zone = plan.zone.trim_end_matches('.').to_lowercase();
        let url = Url::parse(&format!("{base}/api/v1/servers/{}/zones/{zone}.", plan.server))
            .map_err(|error| Fault::new(FaultKind::Plan, "find the DNS zone's address").source(error))?;
        Ok(Self {
            target: Sets::planned(&plan.records)?,
            zone,
            url,
            api_key: plan.api_key.clone(),
            resolvers: plan.resolvers.iter().map(|at| (*at, NameServer::new(*at, plan.timeout))).collect(),
            guard: plan.guard,
            client: Client::new(plan.timeout, None)?,
        })
    }

    fn call(&self, doing: &str, method: Method) -> Result<Call> {
        Call::new(method, self.url.clone()).secret_header(doing, HeaderName::from_static("x-api-key"), &self.api_key)
    }

    async fn zone(&self, doing: &str) -> Result<Zone> {
        let answer = self.client.send(doing, self.call(doing, Method::GET)?).await?.success(doing)?;
        let document = answer.json(doing)?;
        let Some(rrsets) = document.get("rrsets").and_then(Json::as_array) else {
            let detail = format!("the answer has no list `rrsets`; it begins: {}", answer.excerpt());
            return Err(Fault::new(FaultKind::Garbage, doing).detail(detail));
        };
        Ok(Zone { sets: self.target.found(doing, rrsets)?, total: rrsets.len() })
    }

    /// What one resolver says, by values alone; `None` if it did not answer everything.
    async fn resolved(&self, server: &NameServer) -> Option<Sets> {
        let asked = join_all(self.target.names().map(|name: &Name| async move {
            let values = server.lookup(&name.name, name.record_type()).await;
            match values {
                Ok(values) => Some((name.clone(), values)),
                Err(fault) => {
                    tracing::debug!("{}", fault.chain());
                    None
                }
            }
        }));
        asked.await.into_iter().collect::<Option<Vec<_>>>().map(Sets::resolved)
    }
}

#[async_trait]
impl Switch for PowerDnsSwitch {
    fn target(&self) -> Option<Position> {
        Some(self.target.position())
    }

    fn positions(&self) -> Vec<Position> {
        Vec::new()
    }

    async fn observe(&self) -> Result<Observation> {
        let doing = format!("ask where {} points", self.zone);
        let resolvers = join_all(self.resolvers.iter().map(|(_, server)| self.resolved(server)));
        let (api, resolved) = tokio::join!(self.zone(&doing), resolvers);
        let known: Vec<&Sets> =
            [api.as_ref().ok().map(|zone| &zone.sets), Some(&self.target)].into_iter().flatten().collect();
        let spoken = |seen: Sets| {
            known.iter().find(|sets| sets.same_values(&seen)).map_or_else(|| seen.position(), |sets| sets.position())
        };
        let voices = resolved.into_iter().map(|seen| seen.map(spoken)).collect::<Vec<_>>();
        let mut witnesses =
            vec![Witness { who: "api".to_owned(), position: api.as_ref().ok().map(|zone| zone.sets.position()) }];
        witnesses.extend(
            self.resolvers.iter().zip(voices).map(|((at, _), position)| Witness { who: at.to_string(), position }),
        );
        let mut said = witnesses.iter().filter_map(|witness| witness.position.as_ref());
        let first = match (said.next(), api) {
            (Some(first), _) => first.clone(),
            (None, Err(fault)) => return Err(fault),
            (None, Ok(_)) => return Err(Fault::new(FaultKind::Unreachable, doing)),
        };
        let agreed = said.all(|other| *other == first);
        Ok(Observation { position: agreed.then_some(first), witnesses, at: Timestamp::now() })
    }

    async fn turn(&self, to: &Position) -> Result<()> {
        let doing = format!("change the records of {}", self.zone);
        let wanted = Sets::parse(&doing, &to.0, &self.target)?;
        let zone = self.zone(&doing).await?;
        let changes = zone.sets.changes(&wanted);
        if changes.is_empty() {
            return Ok(());
        }
        #[expect(clippy::cast_precision_loss, reason = "a zone has far fewer than 2^52 record sets")]
        let ratio = changes.len() as f64 / zone.total.max(1) as f64;
        if zone.total >= GUARD_FROM && ratio > self.guard {
            let detail = format!(
                "{} of {} record sets would change, the plan's guard allows {:.0} %",
                changes.len(),
                zone.total,
                self.guard * 100.0
            );
            return Err(Fault::new(FaultKind::Refused, doing).detail(detail));
        }
        let body = serde_json::json!({ "rrsets": changes });
        self.client.send(&doing, self.call(&doing, Method::PATCH)?.json(&body)).await?.success(&doing)?;
        Ok(())
    }
}

/// The time to live in whole seconds.
fn seconds(ttl: std::time::Duration) -> Ttl {
    u32::try_from(ttl.as_secs()).unwrap_or(u32::MAX)
}
