//! What a batch is about to do with each of its records, before anything is written: the item that the ledger keeps of it,
//! and what goes to the target. Pure.

use super::standing::{self, Decision};
use crate::{
    migrate::{
        compare::Kinds,
        convert::{FILTERED, Mapped},
    },
    model::{BatchId, ItemState, LaneId, Record},
    plan::OnConflict,
    ports::ItemRow,
};

/// A record on its way.
pub(super) struct Entry<'j> {
    /// Its key, or the name of its item if it has none.
    pub(super) key: String,
    /// As the source has it.
    pub(super) record: &'j Record,
    /// As the target shall have it.
    pub(super) mapped: Mapped,
}

/// A record by what the ledger and the target know of it.
pub(super) struct Planned {
    /// As the ledger keeps it before the write.
    pub(super) item: ItemRow,
    /// What is written; `None` if nothing is.
    pub(super) written: Option<Record>,
}

/// What is known besides the record.
pub(super) struct Known<'a> {
    pub(super) lane: &'a LaneId,
    pub(super) batch: BatchId,
    pub(super) policy: &'a OnConflict,
    /// What the target's fields hold.
    pub(super) kinds: &'a Kinds,
    /// What the ledger has of it.
    pub(super) prior: Option<&'a ItemRow>,
    /// What stands in the target, if the ledger has nothing.
    pub(super) standing: Option<&'a Record>,
}

/// Plans one record.
pub(super) fn plan(entry: &Entry<'_>, known: Known<'_>) -> Planned {
    let prior = known.prior;
    if let Some(item) = prior.filter(|prior| prior.is_left_out() || prior.is_kept()) {
        return Planned { item: item.clone(), written: None };
    }
    let before = prior.map_or_else(|| known.standing.map(Record::to_json), |prior| prior.before.clone());
    let mut item = ItemRow {
        attempts: prior.map_or(0, |prior| prior.attempts),
        before,
        ..ItemRow::record(known.lane, &known.batch, ItemState::Pending, entry.key.clone())
    };
    let mapped = match &entry.mapped {
        Ok(Some(mapped)) => mapped,
        Ok(None) => {
            item.state = ItemState::Skipped;
            item.reason = FILTERED.into();
            return Planned { item, written: None };
        }
        Err(reason) => {
            fail(&mut item, entry.record, reason);
            return Planned { item, written: None };
        }
    };
    let stood = item.before.clone().and_then(Record::from_json);
    match standing::decide(known.policy, known.kinds, mapped, stood.as_ref(), prior.is_some_and(is_decided)) {
        Decision::Write(record) => {
            item.digest = Some(known.kinds.digest(&record));
            item.attempts += 1;
            Planned { item, written: Some(record) }
        }
        Decision::Keep(reason) => {
            item.state = ItemState::Skipped;
            item.reason = reason.into();
            item.before = None;
            Planned { item, written: None }
        }
        Decision::Ask(reason) => {
            fail(&mut item, entry.record, &reason);
            Planned { item, written: None }
        }
    }
}

/// The item of a record that failed: why, and the record as the source had it, so that it can be looked at, exported and
/// mended.
pub(super) fn fail(item: &mut ItemRow, record: &Record, reason: &str) {
    item.state = ItemState::Failed;
    item.reason = crate::model::text::clean(reason, 300);
    item.facts = Some(serde_json::json!({ "row": record.to_json() }));
}

/// The name under which an item keeps that a person let it be overwritten.
pub(super) const OVERWRITE: &str = "overwrite";

/// A person let it be overwritten, or it was written once already.
fn is_decided(prior: &ItemRow) -> bool {
    let said = prior.facts.as_ref().and_then(|facts| facts.get(OVERWRITE)).and_then(serde_json::Value::as_bool);
    prior.attempts > 0 || said == Some(true)
}
