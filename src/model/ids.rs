//! Names of things. Each is its own type so that a lane can never be passed for a batch.

use serde::{Deserialize, Serialize};
use std::fmt;

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// Takes the text as the name.
            pub fn new(text: impl Into<String>) -> Self {
                Self(text.into())
            }
            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
    };
}

name_type!(
    /// One run of one plan; a time-ordered UUID (version 7) in practice.
    RunId
);
name_type!(
    /// A lane: the dataset's name for records (`files`), with `-content` behind it for the bytes (`files-content`).
    LaneId
);
name_type!(
    /// A batch, unique in its run: lane, dash, number from 1 (`users-0003`).
    BatchId
);
name_type!(
    /// A step, unique in its plan: phase name, slash, step name (`maintenance/writes-refused`).
    StepId
);

/// A command's number in its run, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CommandId(pub u64);

/// An alert's number in its run, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AlertId(pub u64);

/// Through which door an actor came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Via {
    /// The full-screen console.
    Console,
    /// A command in another terminal, over the control socket.
    Cli,
    /// A rule or a flag such as `--approve-all`: nobody pressed anything.
    Engine,
    /// A signal from the operating system.
    Signal,
}

/// Who asked for something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor {
    /// User name, or the rule's name for the engine itself.
    pub name: String,
    /// The door.
    pub via: Via,
}

impl Actor {
    /// The engine acting by itself, under the name of the rule or flag that made it.
    pub fn engine(name: impl Into<String>) -> Self {
        Self { name: name.into(), via: Via::Engine }
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.name)
    }
}
