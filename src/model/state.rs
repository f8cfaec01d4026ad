//! The states a run, a phase and a step can be in.

use serde::{Deserialize, Serialize};
use std::fmt;

/// The state of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RunState {
    /// Laid out, nothing begun.
    Ready,
    /// A step is under way.
    Running,
    /// Asked to pause; something still drains.
    Pausing,
    /// Drained; nothing moves.
    Paused,
    /// Waits for a person's go or no-go.
    AtGate,
    /// Emergency stop asked; writers are being cut.
    Stopping,
    /// Cut. Holds until resumed or rolled back.
    Stopped,
    /// The undo stack is being worked off.
    RollingBack,
    /// Everything undone, the legacy side validated. An end.
    RolledBack,
    /// An undo failed and needs a person.
    Stuck,
    /// Past the commit: the rest finishes by itself.
    Committing,
    /// Done. An end.
    Completed,
    /// A step failed; holds until retried, skipped or rolled back.
    Failed,
}

impl RunState {
    /// Every state, for tables and tests.
    pub const ALL: [Self; 13] = [
        Self::Ready,
        Self::Running,
        Self::Pausing,
        Self::Paused,
        Self::AtGate,
        Self::Stopping,
        Self::Stopped,
        Self::RollingBack,
        Self::RolledBack,
        Self::Stuck,
        Self::Committing,
        Self::Completed,
        Self::Failed,
    ];

    /// The word on screen and in JSON.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Running => "running",
            Self::Pausing => "pausing",
            Self::Paused => "paused",
            Self::AtGate => "at-gate",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
            Self::RollingBack => "rolling-back",
            Self::RolledBack => "rolled-back",
            Self::Stuck => "stuck",
            Self::Committing => "committing",
            Self::Completed => "completed",
            Self::Failed => "failed",
        }
    }

    /// No command can move the run any more.
    #[must_use]
    pub const fn is_end(self) -> bool {
        matches!(self, Self::RolledBack | Self::Completed)
    }
}

impl fmt::Display for RunState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

/// How a run, or one engine's part of it, ended. Exit codes hang on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// All phases done and committed.
    Completed,
    /// Everything undone.
    RolledBack,
    /// A person stopped it; it can be resumed or rolled back.
    Stopped,
    /// A step failed and the run holds; it can be retried or rolled back.
    Failed,
    /// An undo failed; a person is needed.
    Stuck,
    /// Refused before anything changed.
    Blocked,
}

impl Outcome {
    /// The process's exit code.
    #[must_use]
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Completed => 0,
            Self::RolledBack | Self::Failed => 3,
            Self::Stopped => 4,
            Self::Stuck => 5,
            Self::Blocked => 6,
        }
    }

    /// The word in JSON.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::RolledBack => "rolled_back",
            Self::Stopped => "stopped",
            Self::Failed => "failed",
            Self::Stuck => "stuck",
            Self::Blocked => "blocked",
        }
    }
}

/// What a run may touch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Inside the embedded world.
    Rehearsal,
    /// Real sources, nothing written.
    DryRun,
    /// The real thing.
    Live,
}

/// Where the plan acts; `Production` arms the lock and the badge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Environment {
    /// Real users.
    Production,
    /// A copy.
    Staging,
    /// A developer's machine.
    Development,
    /// The embedded world.
    Rehearsal,
}

impl Environment {
    /// The word on the badge.
    #[must_use]
    pub const fn badge(self) -> &'static str {
        match self {
            Self::Production => "PROD",
            Self::Staging => "STAGING",
            Self::Development => "DEV",
            Self::Rehearsal => "REHEARSAL",
        }
    }
}

/// How deep a pause cuts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PauseDepth {
    /// Batches under way finish, no new one begins.
    AfterBatch,
    /// The step under way finishes.
    AfterStep,
    /// Work under way is dropped; resuming asks the world what really happened.
    Now,
}

/// The state of a phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PhaseState {
    /// Turned off in the plan.
    Off,
    /// Not begun.
    Pending,
    /// Its gate is open.
    AtGate,
    /// Steps under way.
    Running,
    /// All steps done.
    Done,
    /// A step failed.
    Failed,
    /// Was begun, and has been undone.
    Undone,
}

/// The state of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepState {
    /// Not begun.
    Pending,
    /// Begun: looks at the world, has not yet changed anything.
    Checking,
    /// The intent is journalled; the world may have changed.
    Intended,
    /// Done and observed.
    Done,
    /// Failed for good.
    Failed,
    /// A person skipped it with a reason.
    Skipped,
    /// Being undone.
    Undoing,
    /// Undone and observed.
    Undone,
    /// The undo failed.
    Stuck,
}
