//! What a person (or a flag on their behalf) can ask the engine to do. The same words serve keys, the command line and
//! the control socket, and one table (`engine::legal`) says when each is possible.

use crate::model::{Actor, AlertId, BatchId, LaneId, Limits, Mending, PauseDepth, Phase, StepId, Waiver};
use serde::{Deserialize, Serialize};

/// One thing asked of the engine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case")]
pub enum Command {
    /// Stop beginning new work, as deep as said.
    Pause {
        /// How deep.
        depth: PauseDepth,
        /// Why, for the header and the journal.
        reason: String,
    },
    /// Go on after a pause, a no-go, a stop or an engine that died.
    Resume,
    /// Go through the gate before `phase`.
    Approve {
        /// Which gate; must be the open one.
        phase: Phase,
        /// Checks that shall not count, each with a reason.
        waive: Vec<Waiver>,
    },
    /// Do not go through the gate before `phase`; the run pauses there.
    Refuse {
        /// Which gate; must be the open one.
        phase: Phase,
        /// Why.
        reason: String,
    },
    /// Work off the undo stack.
    Rollback {
        /// Why.
        reason: String,
    },
    /// Cut every writer now.
    EmergencyStop {
        /// Why.
        reason: String,
    },
    /// Veto the automatic rollback that is counting down.
    Keep {
        /// Why.
        reason: String,
    },
    /// Try the failed step, or the stuck undo, again.
    Retry,
    /// Do not do the failed step; its risk stays on screen until the end.
    Skip {
        /// Which step; must be the failed one.
        step: StepId,
        /// Why.
        reason: String,
    },
    /// Turn the maintenance on or off by hand.
    Maintenance {
        /// On or off.
        on: bool,
    },
    /// Seen; stop shouting.
    Acknowledge {
        /// Which alert.
        alert: AlertId,
    },
    /// Work on more or fewer at once: batches of a lane of records, files of a lane of files. From then on the lane of
    /// files no longer adapts by itself.
    Concurrency {
        /// Which lane.
        lane: LaneId,
        /// By how many. Beside an order's own `by` it needs a name of its own; earlier journals have it under that.
        #[serde(rename = "change", alias = "by")]
        by: i32,
    },
    /// Be slower, or as fast as possible again.
    Limit {
        /// Which lane.
        lane: LaneId,
        /// How fast it may be.
        limits: Limits,
    },
    /// Open the failed files of a batch again. A lane that is copying takes them up by itself; otherwise the next retry
    /// of its step does.
    RetryFiles {
        /// Which lane.
        lane: LaneId,
        /// Which batch of it.
        batch: BatchId,
    },
    /// Have something done about records of a lane, or both sides of it compared. Nothing else moves meanwhile.
    Mend {
        /// Which lane.
        lane: LaneId,
        /// What.
        what: Mending,
    },
    /// Leave a file or a record out that failed, or a file that was not touched yet; it stays on record until the end.
    ExcludeFile {
        /// Which lane.
        lane: LaneId,
        /// Its key in the target.
        key: String,
        /// Why.
        reason: String,
    },
}

impl Command {
    /// The command's name in the palette, the journal and the command line.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Pause { .. } => "pause",
            Self::Resume => "resume",
            Self::Approve { .. } => "approve",
            Self::Refuse { .. } => "refuse",
            Self::Rollback { .. } => "roll back",
            Self::EmergencyStop { .. } => "emergency stop",
            Self::Keep { .. } => "keep going",
            Self::Retry => "retry",
            Self::Skip { .. } => "skip",
            Self::Maintenance { .. } => "maintenance",
            Self::Acknowledge { .. } => "acknowledge",
            Self::Concurrency { .. } => "concurrency",
            Self::Limit { .. } => "limit",
            Self::RetryFiles { .. } => "retry files",
            Self::ExcludeFile { .. } => "leave out",
            Self::Mend { what: Mending::Retry { .. }, .. } => "retry dead letters",
            Self::Mend { what: Mending::Decide { .. }, .. } => "decide",
            Self::Mend { what: Mending::Repair { .. }, .. } => "repair",
            Self::Mend { what: Mending::Compare, .. } => "compare",
        }
    }
}

/// A command and who gave it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// Who.
    pub by: Actor,
    /// What.
    #[serde(flatten)]
    pub command: Command,
}

/// The engine's no: why, and when it would be a yes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// Why not now (`nothing is paused`).
    pub why: String,
    /// When it becomes legal (`when the run is paused`); empty if never.
    pub legal_when: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Take, Via};

    #[test]
    fn every_order_that_names_a_lane_travels() {
        let by = Actor { name: "ada".into(), via: Via::Cli };
        let lane = LaneId::new("files-content");
        let limits = Limits { bytes_per_s: Some(1), ..Limits::default() };
        let what = Mending::Decide { keys: vec!["7".into()], take: Take::Target };
        for command in [
            Command::Concurrency { lane: lane.clone(), by: -4 },
            Command::Limit { lane: lane.clone(), limits },
            Command::Mend { lane: lane.clone(), what },
            Command::Mend { lane: lane.clone(), what: Mending::Compare },
        ] {
            let order = Order { by: by.clone(), command };
            let text = serde_json::to_string(&order).unwrap();
            assert_eq!(serde_json::from_str::<Order>(&text).unwrap(), order, "{text}");
        }
        let earlier = r#"{"command":"concurrency","lane":"files-content","by":2}"#;
        assert_eq!(serde_json::from_str::<Command>(earlier).unwrap(), Command::Concurrency { lane, by: 2 });
    }
}
