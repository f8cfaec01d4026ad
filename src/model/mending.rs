//! What a comparison finds of single records and files, and what a person may have done about records of a lane.

use super::LaneId;
use serde::{Deserialize, Serialize};

/// What a comparison found of a record or a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ItemVerdict {
    /// The same on both sides.
    Same,
    /// Other fields, other bytes.
    Differs,
    /// The target does not have it.
    OnlyInSource,
    /// The source does not have it.
    OnlyInTarget,
    /// Differs, and was changed again between two looks: somebody writes it right now.
    Moving,
    /// It could not be compared.
    Error,
    /// A field of it refers to a record that is not there.
    Dangling,
    /// Another record has the same key, or the same value where each may come once.
    Doubled,
    /// The file that it speaks of is not there.
    WithoutFile,
}

impl ItemVerdict {
    /// Those of records that a repair can do something about.
    pub const MENDABLE: [Self; 4] = [Self::Differs, Self::Moving, Self::OnlyInSource, Self::OnlyInTarget];

    /// The word on screen.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::Differs => "different",
            Self::OnlyInSource => "missing",
            Self::OnlyInTarget => "extra",
            Self::Moving => "moving",
            Self::Error => "not comparable",
            Self::Dangling => "dangling",
            Self::Doubled => "doubled",
            Self::WithoutFile => "without file",
        }
    }
}

/// Whose record stands, where both sides had one before the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Take {
    /// The source's: the target's is overwritten, and a rollback restores it.
    Source,
    /// The target's: it is kept as it is.
    Target,
}

/// What a person has done about records of a lane. Where `keys` is empty, all such records are meant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub enum Mending {
    /// Dead letters are moved again.
    Retry {
        /// Which.
        keys: Vec<String>,
    },
    /// Records that stood in the target before the run and wait for a person are decided about.
    Decide {
        /// Which.
        keys: Vec<String>,
        /// Whose record stands.
        take: Take,
    },
    /// Records that the last comparison found so are made the same on both sides, as the source has them.
    Repair {
        /// Found as what.
        verdict: ItemVerdict,
        /// Which.
        keys: Vec<String>,
    },
    /// Both sides are compared, to know what there is to mend.
    Compare,
}

impl Mending {
    /// It changes nothing on either side.
    #[must_use]
    pub const fn only_looks(&self) -> bool {
        matches!(self, Self::Compare)
    }

    /// The records that are meant, in words.
    #[must_use]
    pub fn words(&self) -> String {
        let some = |keys: &[String], what: String| match keys {
            [] => what,
            [key] => format!("record {key}, one of the {what},"),
            keys => format!("{} of the {what}", keys.len()),
        };
        match self {
            Self::Retry { keys } => some(keys, "dead letters".into()),
            Self::Decide { keys, take } => {
                let whose = match take {
                    Take::Source => "legacy",
                    Take::Target => "new",
                };
                some(keys, format!("records that stood there before, decided for the {whose} side,"))
            }
            Self::Repair { verdict, keys } => some(keys, format!("records found as {}", verdict.word())),
            Self::Compare => "both sides".into(),
        }
    }

    /// The step under whose name its progress travels; no phase has it.
    #[must_use]
    pub fn step(lane: &LaneId) -> super::StepId {
        super::StepId::new(format!("mending/{lane}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_journal_says_which_records() {
        let repair = |keys: &[&str]| Mending::Repair {
            verdict: ItemVerdict::OnlyInSource,
            keys: keys.iter().map(ToString::to_string).collect(),
        };
        assert_eq!(repair(&[]).words(), "records found as missing");
        assert_eq!(repair(&["7"]).words(), "record 7, one of the records found as missing,");
        assert_eq!(repair(&["7", "8"]).words(), "2 of the records found as missing");
    }
}
