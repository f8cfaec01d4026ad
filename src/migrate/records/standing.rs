//! What becomes of a record whose key stands in the target already, before the run wrote anything there. Pure.

use crate::{
    migrate::compare::Kinds,
    model::Record,
    plan::OnConflict,
    ports::{ASKS, KEPT},
};

/// What is done with a record.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Decision {
    /// Written, as this.
    Write(Record),
    /// Left as the target has it, for this reason.
    Keep(&'static str),
    /// Left until a person decides, for this reason.
    Ask(String),
}

/// Decides about a record that becomes `mapped`, while `standing` was there before the run. `decided`: a person said that
/// it is overwritten.
pub(super) fn decide(
    policy: &OnConflict,
    kinds: &Kinds,
    mapped: Record,
    standing: Option<&Record>,
    decided: bool,
) -> Decision {
    let Some(standing) = standing else { return Decision::Write(mapped) };
    match policy {
        OnConflict::Overwrite => Decision::Write(mapped),
        OnConflict::Skip => Decision::Keep(KEPT),
        OnConflict::Merge { keep } => Decision::Write(merged(&mapped, keep)),
        OnConflict::Ask => {
            let differing = if decided { Vec::new() } else { kinds.differing(&mapped, standing) };
            if differing.is_empty() {
                return Decision::Write(mapped);
            }
            Decision::Ask(format!("{ASKS}, and differs in {}", differing.join(", ")))
        }
    }
}

/// What is written over a row that stood there before: a write never changes other fields than those given, so that those
/// which are kept are left out of it.
pub(crate) fn merged(mapped: &Record, keep: &[String]) -> Record {
    let fields = mapped.0.iter().filter(|(field, _)| !keep.contains(field));
    Record(fields.map(|(field, value)| (field.clone(), value.clone())).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_table() {
        let kinds = Kinds::default();
        let record = |json| Record::from_json(json).unwrap();
        let mapped = record(json!({"id": 1, "name": "legacy", "seen": 3}));
        let other = record(json!({"id": 1, "name": "new", "seen": 3, "own": true}));
        let alike = record(json!({"id": 1, "name": "legacy", "seen": 3, "own": true}));
        let merge = OnConflict::Merge { keep: vec!["name".into()] };
        let written = Decision::Write(mapped.clone());
        for policy in [OnConflict::Overwrite, OnConflict::Skip, OnConflict::Ask, merge.clone()] {
            assert_eq!(decide(&policy, &kinds, mapped.clone(), None, false), written, "{policy:?}");
        }
        assert_eq!(decide(&OnConflict::Overwrite, &kinds, mapped.clone(), Some(&other), false), written);
        assert_eq!(decide(&OnConflict::Skip, &kinds, mapped.clone(), Some(&alike), false), Decision::Keep(KEPT));
        assert_eq!(decide(&OnConflict::Ask, &kinds, mapped.clone(), Some(&alike), false), written);
        assert_eq!(decide(&OnConflict::Ask, &kinds, mapped.clone(), Some(&other), true), written);
        let Decision::Ask(why) = decide(&OnConflict::Ask, &kinds, mapped.clone(), Some(&other), false) else {
            panic!("asks")
        };
        assert!(why.ends_with("differs in name"), "{why}");
        let part = record(json!({"id": 1, "seen": 3}));
        assert_eq!(decide(&merge, &kinds, mapped.clone(), Some(&other), false), Decision::Write(part));
    }
}
