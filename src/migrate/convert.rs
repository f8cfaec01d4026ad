//! What a lane's records become on the new side: mapped, with what other datasets hold, in the kinds of the target.
//!
//! The target is asked once per lane what its fields hold. Looked-up values are kept for a while: they are keys that the
//! new side gave out, which do not change. Must never enter: a write.

use super::{
    compare::Kinds,
    lane::{Lane, Side},
    mapping::{Found, Ready},
    meter::Part,
};
use crate::{
    engine::StepContext,
    error::{Fault, FaultKind, Result},
    model::{Field, Key, Record, Value, text},
    plan::DatasetPlan,
};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Mutex, PoisonError},
};

/// A record as the new side shall hold it; `None` if the filter leaves it out; in words why it cannot be moved.
pub(crate) type Mapped = std::result::Result<Option<Record>, String>;

/// The reason of items whose record the filter leaves out.
pub(crate) const FILTERED: &str = "does not fit the filter";
/// Characters of a reason.
const REASON: usize = 300;
/// Looked-up values of a field that are kept, twice.
const KEPT: usize = 10_000;

/// Where the values of a field are looked up.
pub(super) struct Lookup {
    /// The field of the new side.
    field: String,
    /// The legacy field that holds the other record's key.
    by: String,
    /// The other dataset on the new side.
    side: Side,
    /// The field there.
    wanted: String,
    known: Mutex<Known>,
}

/// Values by key, the younger ones and those before them: bounded, and what is asked for again stays.
#[derive(Default)]
struct Known {
    young: HashMap<String, Value>,
    old: HashMap<String, Value>,
}

impl Known {
    fn get(&mut self, key: &str) -> Option<Value> {
        if let Some(value) = self.young.get(key) {
            return Some(value.clone());
        }
        let value = self.old.remove(key)?;
        self.put(key.to_owned(), value.clone());
        Some(value)
    }

    fn put(&mut self, key: String, value: Value) {
        if self.young.len() >= KEPT {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, value);
    }
}

impl Lookup {
    /// All that the dataset's plan says.
    ///
    /// # Errors
    /// `Plan` if a dataset or its store is unknown.
    pub(super) fn all(cx: &StepContext, dataset: &DatasetPlan) -> Result<Vec<Self>> {
        let lookup = |(field, plan): (&String, &crate::plan::LookupPlan)| {
            let other = cx.plan.datasets.iter().find(|other| other.name == plan.dataset).ok_or_else(|| {
                Fault::new(FaultKind::Plan, format!("look up `{field}`"))
                    .detail(format!("there is no dataset `{}`", plan.dataset))
            })?;
            let side = Side::new(cx, &other.to, &other.key, None)?;
            let (by, wanted) = (plan.by.clone(), plan.field.clone());
            Ok(Self { field: field.clone(), by, side, wanted, known: Mutex::default() })
        };
        dataset.fields.lookup.iter().map(lookup).collect()
    }

    /// What is kept for these keys.
    fn known(&self, keys: &BTreeSet<String>) -> BTreeMap<String, Option<Value>> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        keys.iter().filter_map(|key| Some((key.clone(), Some(known.get(key)?)))).collect()
    }

    /// Only what is there is kept: what is not may come.
    fn keep(&self, rows: &BTreeMap<String, Record>) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        for (key, row) in rows {
            if let Some(value) = row.get(&self.wanted) {
                known.put(key.clone(), value.clone());
            }
        }
    }
}

impl Lane<'_> {
    /// What the fields of the new side hold, as far as it or the plan says.
    ///
    /// # Errors
    /// What the store says after all attempts; `Cancelled`.
    pub(crate) async fn kinds(&self) -> Result<&Kinds> {
        let ask = || async {
            let doing = format!("describe {} in {}", self.new.set.name, self.new.name);
            let info = self.call(&doing, || self.new.store.describe(&self.new.set)).await?;
            Ok(Kinds::new(&info.fields, &self.dataset.fields.kinds))
        };
        self.kinds.get_or_try_init(ask).await
    }

    /// Somebody asked the new side for its fields already.
    pub(super) async fn learn(&self, fields: &[Field]) {
        let known = || async { Kinds::new(fields, &self.dataset.fields.kinds) };
        self.kinds.get_or_init(known).await;
    }

    /// What these legacy records become, in their order.
    ///
    /// # Errors
    /// What a store says after all attempts; `Cancelled`. A record that cannot be moved is in the answer.
    pub(crate) async fn mapped<'r>(
        &self,
        records: impl IntoIterator<Item = &'r Record> + Clone + Send,
    ) -> Result<Vec<Mapped>> {
        let kinds = self.kinds().await?;
        let mut found = Found::new();
        for lookup in &self.lookups {
            let keys: BTreeSet<String> =
                records.clone().into_iter().filter_map(|record| record.key(&lookup.by)).map(|key| key.0).collect();
            found.insert(lookup.field.clone(), self.look_up(lookup, &keys).await?);
        }
        let ready = self.mapping.ready()?;
        let converted = records.into_iter().map(|record| self.convert(&ready, record, kinds, &found));
        let mapped: Vec<Mapped> = converted.collect();
        self.meter.did(Part::Mapped, mapped.len() as u64);
        Ok(mapped)
    }

    /// What one legacy record becomes.
    ///
    /// # Errors
    /// As [`Self::mapped`].
    pub(crate) async fn mapped_one(&self, record: &Record) -> Result<Mapped> {
        let mapped = self.mapped([record]).await?.pop();
        mapped.ok_or_else(|| Fault::new(FaultKind::Internal, "map a record"))
    }

    fn convert(&self, ready: &Ready<'_>, record: &Record, kinds: &Kinds, found: &Found) -> Mapped {
        let cleaned = |why: String| text::clean(&why, REASON);
        let Some(mapped) = ready.forward(record, found).map_err(|fault| cleaned(fault.detail))? else {
            return Ok(None);
        };
        let taken = kinds.take(mapped).map_err(cleaned)?;
        let key = self.mapping.key_field();
        if record.get(key) == taken.get(key) {
            return Ok(Some(taken));
        }
        let (here, there) = (self.mapping.key(record), self.mapping.key(&taken));
        if here != there {
            let shown = |key: Option<Key>| key.map_or_else(String::new, |key| text::clean(&key.0, 60));
            let (here, there) = (shown(here), shown(there));
            return Err(format!("the key `{here}` would be `{there}` there: both sides must write it alike"));
        }
        Ok(Some(taken))
    }

    async fn look_up(&self, lookup: &Lookup, keys: &BTreeSet<String>) -> Result<BTreeMap<String, Option<Value>>> {
        let mut found = lookup.known(keys);
        let unknown: Vec<Key> = keys.iter().filter(|key| !found.contains_key(*key)).cloned().map(Key).collect();
        let rows = self.fetch(&lookup.side, &unknown).await?;
        lookup.keep(&rows);
        found.extend(rows.into_iter().map(|(key, row)| (key, row.get(&lookup.wanted).cloned())));
        Ok(found)
    }
}
