//! One error for everything that can go wrong while doing something: a kind, what was being done, and the source.
//!
//! The kind is what the program acts on: the tables below map it to a retry, an operator's remedy and an exit code, so
//! that no caller looks into texts. `Display` never repeats the source; [`Fault::chain`] prints the whole chain.
//! Nothing secret may be put into a fault: it travels to the journal, the log and the screen.

use crate::model::text;
use serde::{Deserialize, Serialize};
use std::{error::Error, fmt, time::Duration};

/// What kind of thing went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// No connection: refused, reset, name not found.
    Unreachable,
    /// No answer in time.
    Timeout,
    /// Asked to slow down (429, 503 with Retry-After, `SlowDown`).
    Throttled,
    /// Credential missing, wrong or too weak (401, 403).
    Unauthorized,
    /// The thing asked for is not there (404).
    NotFound,
    /// The other side understood and said no (other 4xx, constraint violated).
    Refused,
    /// Something stands there already (412, a unique key).
    Exists,
    /// The other side broke (5xx).
    Server,
    /// The answer makes no sense: not JSON, wrong shape, cut short.
    Garbage,
    /// Bytes or rows are not what they should be.
    Mismatch,
    /// The source changed while it was read.
    Changed,
    /// No permission on this machine.
    Permission,
    /// Disk full or broken on this machine.
    Disk,
    /// The ledger cannot append; nothing may go on.
    Ledger,
    /// The plan is wrong.
    Plan,
    /// Somebody else holds the run.
    Locked,
    /// Not legal in this state.
    Illegal,
    /// A condition that must hold does not (a check failed).
    Unmet,
    /// Stopped by a person or a signal.
    Cancelled,
    /// A mistake in this program.
    Internal,
}

impl FaultKind {
    /// Trying again may help.
    #[must_use]
    pub const fn is_retryable(self) -> bool {
        matches!(
            self,
            Self::Unreachable | Self::Timeout | Self::Throttled | Self::Server | Self::Garbage | Self::Changed
        )
    }

    /// What a person can do about it.
    #[must_use]
    pub const fn remedy(self) -> &'static str {
        match self {
            Self::Unreachable => "check that the server runs and that the address in the plan is right",
            Self::Timeout => "the server does not answer in time: look at its load, or raise the timeout in the plan",
            Self::Throttled => "the server asks for a slower pace: lower the lane's concurrency",
            Self::Unauthorized => "check the credential: its value, its scope and when it expires",
            Self::NotFound => "check the path or the name in the plan, and that the thing exists",
            Self::Refused => "the server refused this on its merits: read its answer and mend the data or the plan",
            Self::Exists => "something stands there already: look at it, then choose what happens to it in the plan",
            Self::Server => "the server failed: look at its log, then retry",
            Self::Garbage => "the answer is not what this address should give: check that the plan names the right one",
            Self::Mismatch => "source and target differ: list the differences, then copy those again",
            Self::Changed => "the source changed while it was read: see that writes are really refused, then retry",
            Self::Permission => "give this user the right to read or write that path",
            Self::Disk => "free some space on this machine, then resume",
            Self::Ledger => "the ledger cannot be written: free space or mend its folder, then resume",
            Self::Plan => "mend the plan and run `cutover check`",
            Self::Locked => "watch that run with `cutover status`, or end the process that holds the lock",
            Self::Illegal => "see `cutover status` for what is possible now",
            Self::Unmet => "mend what the check names, then retry",
            Self::Cancelled => "resume or roll back when you are ready",
            Self::Internal => "this is a mistake in cutover: keep the ledger and report it",
        }
    }

    /// The exit code of a command that ends with this fault.
    #[must_use]
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Plan => 2,
            Self::Cancelled => 4,
            Self::Internal => 1,
            _ => 6,
        }
    }

    /// The word in JSON and in histograms.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::Timeout => "timeout",
            Self::Throttled => "throttled",
            Self::Unauthorized => "unauthorized",
            Self::NotFound => "not_found",
            Self::Refused => "refused",
            Self::Exists => "exists",
            Self::Server => "server",
            Self::Garbage => "garbage",
            Self::Mismatch => "mismatch",
            Self::Changed => "changed",
            Self::Permission => "permission",
            Self::Disk => "disk",
            Self::Ledger => "ledger",
            Self::Plan => "plan",
            Self::Locked => "locked",
            Self::Illegal => "illegal",
            Self::Unmet => "unmet",
            Self::Cancelled => "cancelled",
            Self::Internal => "internal",
        }
    }
}

/// Something went wrong: kind, what was being done (a fragment that fits after "failed to"), detail, source.
#[derive(Debug)]
pub struct Fault {
    /// What kind of thing.
    pub kind: FaultKind,
    /// What was being done, with where: `read page 3 of /api/migration/users/ from django`.
    pub doing: String,
    /// What came back, cleaned of anything a terminal could act on.
    pub detail: String,
    /// How long the other side asked us to wait.
    pub retry_after: Option<Duration>,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl Fault {
    /// A fault of this kind while doing this.
    pub fn new(kind: FaultKind, doing: impl Into<String>) -> Self {
        Self { kind, doing: doing.into(), detail: String::new(), retry_after: None, source: None }
    }

    /// The same with what came back; cut to 300 characters and cleaned.
    #[must_use]
    pub fn detail(mut self, detail: impl AsRef<str>) -> Self {
        self.detail = text::clean(detail.as_ref(), 300);
        self
    }

    /// The same with the error underneath.
    #[must_use]
    pub fn source(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// The same with the wait that the other side asked for.
    #[must_use]
    pub const fn retry_after(mut self, wait: Option<Duration>) -> Self {
        self.retry_after = wait;
        self
    }

    /// The work was cut by a person or a signal.
    #[must_use]
    pub fn cancelled(doing: impl Into<String>) -> Self {
        Self::new(FaultKind::Cancelled, doing)
    }

    /// The fault and all its sources in one line, cleaned.
    #[must_use]
    pub fn chain(&self) -> String {
        let mut line = self.to_string();
        let mut next = Error::source(self);
        while let Some(error) = next {
            let cause = text::clean(&error.to_string(), 200);
            if !cause.is_empty() && !line.contains(&cause) {
                line.push_str(": ");
                line.push_str(&cause);
            }
            next = error.source();
        }
        line
    }

    /// One sentence for a person: what failed and what to do.
    #[must_use]
    pub fn advice(&self) -> String {
        format!("could not {}; {}", self.chain(), self.kind.remedy())
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.doing)?;
        if !self.detail.is_empty() {
            write!(f, ": {}", self.detail)?;
        }
        Ok(())
    }
}

impl Error for Fault {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn Error + 'static))
    }
}

/// The result of doing something that can fail.
pub type Result<T, E = Fault> = std::result::Result<T, E>;
