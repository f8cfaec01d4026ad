//! A side as it is held against a backup: which rows are not as the backup has them, and those rows written there.
//!
//! Must never enter: whether a row may be written.

use super::row;
use crate::{
    error::{Fault, FaultKind, Result},
    migrate::{
        lane::{Lane, Side},
        records::write_isolating,
    },
    model::{Key, Record, text::clean},
    ports::WriteOutcome,
};
use std::collections::{BTreeMap, BTreeSet};

/// A side, and what it says of itself.
pub(super) struct Target<'a> {
    pub(super) lane: &'a Lane<'a>,
    pub(super) side: &'a Side,
    /// Fields that the store computes: they come by themselves, and it refuses a value for them.
    computed: BTreeSet<String>,
    writable: bool,
}

/// A row that is not as the backup has it.
pub(super) struct Wrong {
    pub(super) key: String,
    /// In the backup.
    pub(super) kept: Record,
    /// In the target, if it is there.
    pub(super) found: Option<Record>,
}

/// A row that could not be put back, and why.
#[derive(Debug, Clone)]
pub(super) struct Unfit {
    pub(super) key: String,
    pub(super) why: String,
    /// It is not there at all.
    pub(super) missing: bool,
}

impl<'a> Target<'a> {
    pub(super) async fn new(lane: &'a Lane<'a>, side: &'a Side) -> Result<Self> {
        let doing = format!("look at {} in {}", side.set.name, side.name);
        let info = lane.call(&doing, || side.store.describe(&side.set)).await?;
        let computed = info.fields.into_iter().filter(|field| field.computed).map(|field| field.name);
        Ok(Self { lane, side, computed: computed.collect(), writable: info.writable })
    }

    /// That it takes writes, before the first one is tried.
    pub(super) fn takes_writes(&self) -> Result<()> {
        if self.writable {
            return Ok(());
        }
        let doing = format!("restore {} in {}", self.side.set.name, self.side.name);
        Err(Fault::new(FaultKind::Refused, doing).detail("it takes no writes: it or this credential may only read"))
    }

    /// Those of these rows that are not there as the backup has them. Of two with the same key the later one counts.
    pub(super) async fn wrong(&self, rows: Vec<Record>) -> Result<Vec<Wrong>> {
        let field = &self.side.set.key;
        let rows: BTreeMap<String, Record> =
            rows.into_iter().filter_map(|row| Some((row.key(field)?.0, row))).collect();
        let keys: Vec<Key> = rows.keys().map(|key| Key(key.clone())).collect();
        let mut found = self.lane.fetch(self.side, &keys).await?;
        let wrong = rows.into_iter().filter_map(|(key, kept)| {
            let found = found.remove(&key);
            let same = found.as_ref().is_some_and(|found| row::is_same(&kept, found));
            (!same).then_some(Wrong { key, kept, found })
        });
        Ok(wrong.collect())
    }

    /// Writes these rows as the backup has them and reads them back: those that are not so afterwards.
    pub(super) async fn put(&self, rows: Vec<Record>) -> Result<Vec<Unfit>> {
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let given: Vec<Record> = rows.iter().map(|row| self.given(row)).collect();
        let doing = format!("restore {} in {}", self.side.set.name, self.side.name);
        let outcomes = self.lane.call(&doing, || write_isolating(self.lane, self.side, &given)).await?;
        let field = &self.side.set.key;
        let refused: BTreeMap<String, String> = rows
            .iter()
            .zip(outcomes)
            .filter_map(|(row, outcome)| match outcome {
                WriteOutcome::Rejected(why) => Some((row.key(field)?.0, why)),
                WriteOutcome::Created | WriteOutcome::Updated => None,
            })
            .collect();
        let unfit = self.wrong(rows).await?.into_iter().map(|wrong| {
            let why = refused.get(&wrong.key).cloned().unwrap_or_else(|| wrong.differences());
            Unfit { why: clean(&why, 300), missing: wrong.found.is_none(), key: wrong.key }
        });
        Ok(unfit.collect())
    }

    fn given(&self, row: &Record) -> Record {
        let given = row.0.iter().filter(|(field, _)| !self.computed.contains(*field));
        Record(given.map(|(field, value)| (field.clone(), value.clone())).collect())
    }
}

impl Wrong {
    /// In words.
    pub(super) fn differences(&self) -> String {
        let Some(found) = &self.found else { return "it is not there".into() };
        let differs = self.kept.0.iter().filter(|(field, value)| found.get(field) != Some(*value));
        format!("it differs in {}", differs.map(|(field, _)| field.as_str()).collect::<Vec<_>>().join(", "))
    }
}
