//! The port to an outside control: maintenance, deployment, DNS.

use crate::{error::Result, model::Timestamp};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A position of a switch, in its own words: `off`, `read-only`, `on`; `blue`, `green`; for DNS the canonical text of
/// all records. Equal positions have equal text, and a position that was observed can be turned to again.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Position(pub String);

impl Position {
    /// The position of this name.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// One voice about where a switch stands: the control's own API, or a resolver that was asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Witness {
    /// Who says so (`api`, `127.0.0.1:5353`).
    pub who: String,
    /// What it says; `None` if it did not answer.
    pub position: Option<Position>,
}

/// What was seen when the world was asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observation {
    /// Where the switch stands, if all witnesses that answered agree and at least one did.
    pub position: Option<Position>,
    /// Every witness.
    pub witnesses: Vec<Witness>,
    /// When.
    pub at: Timestamp,
}

/// A port to an outside control. Turning is a request; **the engine waits until observed equals intended**.
#[async_trait]
pub trait Switch: Send + Sync {
    /// The position the plan wants the cutover to end in (`on` for maintenance, the new records for DNS); `None` if it
    /// depends on where it stands (deployment: the other colour).
    fn target(&self) -> Option<Position>;

    /// Every position this switch can be turned to by name, in order of severity; empty if they are free text.
    fn positions(&self) -> Vec<Position>;

    /// Asks the world. Never guesses: a witness that does not answer is in the list without a position. An error only if
    /// nobody could be asked at all.
    async fn observe(&self) -> Result<Observation>;

    /// Asks the control to go to `to`. Idempotent. `Ok` means accepted, not yet seen.
    async fn turn(&self, to: &Position) -> Result<()>;
}
