//! What a batch is about to do with each of its records, before anything is written: the item that the ledger keeps of it,
//! and what goes to the target. Pure.

use super::standing::{self, Decision};
use crate::{
    migrate::{
        compare::Kinds,
        convert::{FILTERED, Mapped},
    },
    model::{BatchId, Digest, ItemState, LaneId, Record},
    plan::OnConflict,
    ports::ItemRow,
};

/// A record by what the ledger and the target know of it.
pub(super) enum Planned {
    /// Nobody knows of it: it is written, and kept together with others like it.
    Fresh { digest: Digest, written: Record },
    /// As the ledger keeps it by itself before the write, and what is written; `None` if nothing is.
    Alone { item: Box<ItemRow>, written: Option<Record> },
}

/// What is known besides the record.
pub(super) struct Known<'a> {
    pub(super) lane: &'a LaneId,
    pub(super) batch: &'a BatchId,
    pub(super) policy: &'a OnConflict,
    /// What the target's fields hold.
    pub(super) kinds: &'a Kinds,
    /// What the ledger has of it.
    pub(super) prior: Option<&'a ItemRow>,
    /// What stands in the target, if the ledger has nothing.
    pub(super) standing: Option<&'a Record>,
}

/// Plans what becomes of a record of this key. `record`: as the source has it.
pub(super) fn plan(key: &str, record: &Record, mapped: Mapped, known: &Known<'_>) -> Planned {
    let prior = known.prior;
    let alone = |item: ItemRow, written| Planned::Alone { item: Box::new(item), written };
    if let Some(item) = prior.filter(|prior| prior.is_left_out() || prior.is_kept()) {
        return alone(item.clone(), None);
    }
    let mapped = match (mapped, prior, known.standing) {
        (Ok(Some(written)), None, None) => return Planned::Fresh { digest: known.kinds.digest(&written), written },
        (mapped, ..) => mapped,
    };
    let before = prior.map_or_else(|| known.standing.map(Record::to_json), |prior| prior.before.clone());
    let mut item = ItemRow {
        attempts: prior.map_or(0, |prior| prior.attempts),
        before,
        ..ItemRow::record(known.lane, known.batch, ItemState::Pending, key.to_owned())
    };
    let mapped = match mapped {
        Ok(Some(mapped)) => mapped,
        Ok(None) => {
            item.state = ItemState::Skipped;
            item.reason = FILTERED.into();
            return alone(item, None);
        }
        Err(reason) => {
            fail(&mut item, record, &reason);
            return alone(item, None);
        }
    };
    let stood = item.before.clone().and_then(Record::from_json);
    match standing::decide(known.policy, known.kinds, mapped, stood.as_ref(), prior.is_some_and(is_decided)) {
        Decision::Write(written) => {
            item.digest = Some(known.kinds.digest(&written));
            item.attempts += 1;
            alone(item, Some(written))
        }
        Decision::Keep(reason) => {
            item.state = ItemState::Skipped;
            item.reason = reason.into();
            item.before = None;
            alone(item, None)
        }
        Decision::Ask(reason) => {
            fail(&mut item, record, &reason);
            alone(item, None)
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
