//! A switch that is turned and observed by programs.

use super::{Aim, no_way_to, single};
use crate::{
    adapters::process::{self, Ended},
    error::{Fault, FaultKind, Result},
    model::text,
    ports::{Observation, Position, Switch},
};
use async_trait::async_trait;
use std::{collections::BTreeMap, time::Duration};

/// A switch behind two programs.
#[derive(Debug)]
pub struct CommandSwitch {
    name: String,
    aim: Aim,
    turn: Vec<(Position, Vec<String>)>,
    observe: Vec<String>,
    timeout: Duration,
}

impl CommandSwitch {
    /// The switch of this name in the plan, its positions from the mildest to the severest.
    #[must_use]
    pub fn new(name: &str, aim: Aim, turn: &[(String, Vec<String>)], observe: &[String], timeout: Duration) -> Self {
        Self {
            name: name.to_owned(),
            aim,
            turn: turn.iter().map(|(name, words)| (Position::new(name), words.clone())).collect(),
            observe: observe.to_vec(),
            timeout,
        }
    }

    async fn run(&self, doing: &str, words: &[String]) -> Result<Ended> {
        let ended = process::run(doing, words, &BTreeMap::new(), self.timeout).await?;
        if ended.status.success() {
            return Ok(ended);
        }
        Err(Fault::new(FaultKind::Refused, doing).detail(format!("{}: {}", ended.how(), ended.errors)))
    }
}

#[async_trait]
impl Switch for CommandSwitch {
    fn target(&self) -> Option<Position> {
        self.aim.at(&self.positions())
    }

    fn positions(&self) -> Vec<Position> {
        self.turn.iter().map(|(position, _)| position.clone()).collect()
    }

    async fn observe(&self) -> Result<Observation> {
        let doing = format!("ask where the {} switch stands", self.name);
        let said = text::clean(&self.run(&doing, &self.observe).await?.output, 200);
        if said.is_empty() {
            return Err(Fault::new(FaultKind::Garbage, doing).detail("the program wrote nothing"));
        }
        Ok(single("command", Position(said)))
    }

    async fn turn(&self, to: &Position) -> Result<()> {
        let doing = format!("turn the {} switch to {to}", self.name);
        let Some((_, words)) = self.turn.iter().find(|(position, _)| position == to) else {
            return Err(no_way_to(&doing, to));
        };
        self.run(&doing, words).await.map(drop)
    }
}
