//! Evidence: what was checked, what came out, and how old that is.

use super::Timestamp;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The answer of a check. `Unknown` (no data yet, too few samples, stale) is never `Pass`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Within its limit.
    Pass,
    /// Outside its limit.
    Fail,
    /// Not known.
    Unknown,
}

/// A person's decision to let one check not count.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiver {
    /// Name of the check.
    pub check: String,
    /// Why; at least ten characters.
    pub reason: String,
}

/// One line of evidence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// What was looked at; unique within its gate or step.
    pub name: String,
    /// What came out when it was measured.
    pub verdict: Verdict,
    /// The value found, as a person reads it.
    pub value: String,
    /// The limit it is held against, as a person reads it; empty if there is none.
    pub limit: String,
    /// When it was measured.
    pub at: Timestamp,
    /// From which age on the evidence is stale; `None` never.
    pub max_age: Option<Duration>,
    /// Why it failed and what to do; empty when it passed.
    pub remedy: String,
}

impl Check {
    /// A check with this verdict, measured at `at`, that never goes stale.
    pub fn new(name: impl Into<String>, verdict: Verdict, value: impl Into<String>, at: Timestamp) -> Self {
        Self {
            name: name.into(),
            verdict,
            value: value.into(),
            limit: String::new(),
            at,
            max_age: None,
            remedy: String::new(),
        }
    }

    /// The same with the limit it is held against.
    #[must_use]
    pub fn limit(mut self, limit: impl Into<String>) -> Self {
        self.limit = limit.into();
        self
    }

    /// The same, stale from this age on.
    #[must_use]
    pub fn stale_after(mut self, age: Duration) -> Self {
        self.max_age = Some(age);
        self
    }

    /// The same with advice for the person who reads it.
    #[must_use]
    pub fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = remedy.into();
        self
    }

    /// How old the evidence is at `now`; zero for evidence from the future.
    #[must_use]
    pub fn age(&self, now: Timestamp) -> Duration {
        Duration::try_from(now.duration_since(self.at)).unwrap_or_default()
    }

    /// The verdict as it counts at `now`: stale evidence is `Unknown`, whatever it said.
    #[must_use]
    pub fn counts(&self, now: Timestamp) -> Verdict {
        match self.max_age {
            Some(limit) if self.age(now) > limit => Verdict::Unknown,
            _ => self.verdict,
        }
    }
}
