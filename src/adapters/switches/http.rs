//! A switch that is turned and observed by HTTP requests.

use super::{Aim, no_way_to, single};
use crate::{
    adapters::http::{Call, Client},
    error::{Fault, FaultKind, Result},
    model::text,
    plan::{ObservePlan, RequestPlan},
    ports::{Observation, Position, Switch},
};
use async_trait::async_trait;
use serde_json::Value as Json;
use std::time::Duration;

/// A switch behind an HTTP endpoint.
#[derive(Debug)]
pub struct HttpSwitch {
    name: String,
    aim: Aim,
    turn: Vec<(Position, Vec<RequestPlan>)>,
    observe: ObservePlan,
    client: Client,
}

impl HttpSwitch {
    /// The switch of this name in the plan, its positions from the mildest to the severest.
    ///
    /// # Errors
    /// If no HTTP client can be made on this machine.
    pub fn new(
        name: &str,
        aim: Aim,
        turn: &[(String, Vec<RequestPlan>)],
        observe: &ObservePlan,
        timeout: Duration,
    ) -> Result<Self> {
        Ok(Self {
            name: name.to_owned(),
            aim,
            turn: turn.iter().map(|(name, requests)| (Position::new(name), requests.clone())).collect(),
            observe: observe.clone(),
            client: Client::new(timeout, None)?,
        })
    }
}

#[async_trait]
impl Switch for HttpSwitch {
    fn target(&self) -> Option<Position> {
        self.aim.at(&self.positions())
    }

    fn positions(&self) -> Vec<Position> {
        self.turn.iter().map(|(position, _)| position.clone()).collect()
    }

    async fn observe(&self) -> Result<Observation> {
        let doing = format!("ask where the {} switch stands", self.name);
        let call = Call::planned(&doing, &self.observe.request)?;
        let answer = self.client.send(&doing, call).await?.success(&doing)?;
        let document = answer.json(&doing)?;
        let position = match document.pointer(&self.observe.pointer) {
            Some(Json::String(position)) => text::clean(position, 200),
            Some(Json::Bool(true)) => "on".to_owned(),
            Some(Json::Bool(false)) => "off".to_owned(),
            _ => {
                let detail = format!("there is no position at {} in: {}", self.observe.pointer, answer.excerpt());
                return Err(Fault::new(FaultKind::Garbage, doing).detail(detail));
            }
        };
        Ok(single("api", Position(position)))
    }

    async fn turn(&self, to: &Position) -> Result<()> {
        let doing = format!("turn the {} switch to {to}", self.name);
        let Some((_, requests)) = self.turn.iter().find(|(position, _)| position == to) else {
            return Err(no_way_to(&doing, to));
        };
        for request in requests {
            self.client.send(&doing, Call::planned(&doing, request)?).await?.success(&doing)?;
        }
        Ok(())
    }
}
