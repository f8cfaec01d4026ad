//! The line of truth: for each of the four things users feel, what is intended and what is observed.

use super::Timestamp;
use serde::{Deserialize, Serialize};

/// What the truth line speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Aspect {
    /// Where writes go, or that they are refused.
    Writes,
    /// Where reads go.
    Reads,
    /// Where file bytes are served from.
    Files,
    /// Where the names point.
    Dns,
}

impl Aspect {
    /// All four in the order of the line.
    pub const ALL: [Self; 4] = [Self::Writes, Self::Reads, Self::Files, Self::Dns];

    /// The word on screen.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Writes => "writes",
            Self::Reads => "reads",
            Self::Files => "files",
            Self::Dns => "dns",
        }
    }
}

/// One cell of the truth line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fact {
    /// Which cell.
    pub aspect: Aspect,
    /// What the engine wants it to be (`legacy`, `new`, `refused`, `read-only`, `moving`, …).
    pub intended: String,
    /// What the world says; `None` while nobody could be asked.
    pub observed: Option<String>,
    /// When the world was asked last.
    pub at: Timestamp,
    /// Who said what, if witnesses differ (`2 of 3 resolvers: 127.0.0.3`); else empty.
    pub detail: String,
}

impl Fact {
    /// Intended and observed are known and the same.
    #[must_use]
    pub fn agrees(&self) -> bool {
        self.observed.as_deref() == Some(self.intended.as_str())
    }
}
