//! What a record becomes on the other side: renamed, computed, looked-up, constant and dropped fields, whether it moves at
//! all, and the key of the bytes behind it.
//!
//! Pure: a mapping is built from the plan once and knows no store; what it looks up in another dataset it is given.
//! `express` is the language of the expressions, `ready` takes records forward. Must never enter: ports, clocks, randomness.

mod express;
mod ready;
#[cfg(test)]
mod tests;

use crate::{
    error::{Fault, FaultKind, Result},
    model::{Key, Record, Value},
    plan::{DatasetPlan, FieldsPlan},
};
use express::{absent, environment, explain, whole};
use minijinja::Environment;
use std::collections::{BTreeMap, BTreeSet};

pub use ready::Ready;

/// The name of the key template within the environment.
const BLOB_KEY: &str = "blob key";

/// What the other datasets hold for the fields that are looked up, by field and key there; `None` for a key that they do
/// not have.
pub type Found = BTreeMap<String, BTreeMap<String, Option<Value>>>;

/// How the records of one dataset travel, in both directions.
///
/// Expressions are minijinja over the legacy record's fields. A field that does not exist is an error that names it. A
/// null stays null through the text filters (`lower`, `upper`, `title`, `capitalize`, `trim`, `replace`), and counts as
/// empty text where an expression joins texts with `~`, so that no record ever says "none".
#[derive(Debug, Clone)]
pub struct Mapping {
    name: String,
    key: String,
    updated: Option<String>,
    computed: BTreeMap<String, String>,
    dropped: BTreeSet<String>,
    back: Option<BTreeSet<String>>,
    constants: BTreeMap<String, Value>,
    fields: FieldsPlan,
    /// Legacy names by those of the new side.
    renamed: BTreeMap<String, String>,
    blob_key: Option<String>,
    env: Environment<'static>,
}

impl Mapping {
    /// The mapping of this dataset.
    ///
    /// # Errors
    /// [`FaultKind::Plan`] if an expression or the key template cannot be parsed, or if the key field is computed,
    /// renamed or dropped: both sides must know a record by the same key.
    pub fn new(dataset: &DatasetPlan) -> Result<Self> {
        let wrong =
            |what: String| Fault::new(FaultKind::Plan, format!("use the mapping of `{}`", dataset.name)).detail(what);
        let mut env = environment();
        let expressions = dataset.map.iter().map(|(field, text)| (format!("field `{field}`"), text));
        let filter = dataset.fields.filter.iter().map(|text| ("the filter".to_owned(), text));
        for (what, expression) in expressions.chain(filter) {
            env.compile_expression(expression).map_err(|error| wrong(format!("{what}: {error}")))?;
        }
        if let Some(blob) = &dataset.blob {
            // Parsed once: it is rendered for every file.
            env.add_template_owned(BLOB_KEY, blob.key.clone()).map_err(|error| wrong(format!("blob key: {error}")))?;
        }
        let fields = dataset.fields.clone();
        let key = &dataset.key;
        let made = |field: &String| {
            dataset.map.contains_key(field) || fields.constant.contains_key(field) || fields.lookup.contains_key(field)
        };
        let renamed = fields.rename.contains_key(key) || fields.rename.values().any(|name| name == key);
        if made(key) || renamed || dataset.drop.contains(key) {
            return Err(wrong(format!("the key field `{key}` can be neither computed nor renamed nor dropped")));
        }
        Ok(Self {
            name: dataset.name.clone(),
            key: dataset.key.clone(),
            updated: dataset.updated.clone(),
            computed: dataset.map.clone(),
            dropped: dataset.drop.iter().cloned().collect(),
            back: dataset.back.as_ref().map(|fields| fields.iter().cloned().collect()),
            constants: fields.constant.iter().map(|(field, json)| (field.clone(), from_plan(json))).collect(),
            renamed: fields.rename.iter().map(|(old, new)| (new.clone(), old.clone())).collect(),
            fields,
            blob_key: dataset.blob.as_ref().map(|blob| blob.key.clone()),
            env,
        })
    }

    /// Whether there is anything to be made or filtered.
    #[must_use]
    pub fn makes(&self) -> bool {
        self.has_filter() || !(self.computed.is_empty() && self.constants.is_empty() && self.fields.lookup.is_empty())
    }

    /// The texts of all expressions.
    pub fn expressions(&self) -> impl Iterator<Item = &String> {
        self.computed.values().chain(&self.fields.filter)
    }

    /// Whether some records stay behind.
    #[must_use]
    pub const fn has_filter(&self) -> bool {
        self.fields.filter.is_some()
    }

    /// The fields of a record of the new side that are carried back to the legacy side, under their names there, with its
    /// key. A field that the record does not have is left out, so a write leaves it as it is there.
    #[must_use]
    pub fn back(&self, record: &Record) -> Record {
        let carried = record.0.iter().filter(|(field, _)| self.is_carried_back(field));
        Record(carried.map(|(field, value)| (self.name_here(field).to_owned(), value.clone())).collect())
    }

    /// The fields of a legacy record that a row of the new side would bring back.
    #[must_use]
    pub fn comes_back(&self, legacy: &Record) -> Record {
        let back = legacy.0.iter().filter(|(field, _)| self.is_carried_back(self.name_there(field)));
        Record(back.map(clone_pair).collect())
    }

    /// The record of the new side with its renamed fields under their legacy names, for what speaks of legacy fields.
    #[must_use]
    pub fn as_legacy(&self, record: &Record) -> Record {
        Record(record.0.iter().map(|(field, value)| (self.name_here(field).to_owned(), value.clone())).collect())
    }

    /// Whether this field of the new side is carried back.
    #[must_use]
    pub fn is_carried_back(&self, field: &str) -> bool {
        if let Some(fields) = &self.back {
            return field == self.key || fields.contains(field);
        }
        let made = self.computed.contains_key(field)
            || self.constants.contains_key(field)
            || self.fields.lookup.contains_key(field);
        // The new side's own field of a name that the legacy side uses for another one.
        let taken = self.fields.rename.contains_key(field) && !self.renamed.contains_key(field);
        !made && !taken && !self.dropped.contains(self.name_here(field))
    }

    /// What the new side calls a legacy field.
    #[must_use]
    pub fn name_there<'s>(&'s self, field: &'s str) -> &'s str {
        self.fields.rename.get(field).map_or(field, String::as_str)
    }

    /// What the legacy side calls a field of the new side.
    fn name_here<'s>(&'s self, field: &'s str) -> &'s str {
        self.renamed.get(field).map_or(field, String::as_str)
    }

    /// The key of the record's bytes in the new bucket.
    ///
    /// # Errors
    /// [`FaultKind::Refused`] if a field is missing, or if what comes out is no key: empty, beginning with `/`, or with
    /// an empty part or `.` or `..` as a part.
    pub fn blob_key(&self, record: &Record) -> Result<String> {
        let template = self.blob_key.as_deref().ok_or_else(|| {
            Fault::new(FaultKind::Plan, format!("find the bytes of `{}`", self.name)).detail("the dataset has no blob")
        })?;
        let render = |parsed: minijinja::Template<'_, '_>| parsed.render(whole(record));
        let key = self.env.get_template(BLOB_KEY).and_then(render).map_err(|error| {
            self.refused(&format!("blob key: {}", explain(&error, &self.missing_in_template(template, record))))
        })?;
        let bad_part = |part: &str| part.is_empty() || part == "." || part == "..";
        if key.split('/').any(bad_part) || key.contains('\0') {
            return Err(self.refused(&format!("`{key}` is no blob key")));
        }
        Ok(key)
    }

    /// The record's key on both sides.
    #[must_use]
    pub fn key(&self, record: &Record) -> Option<Key> {
        record.key(&self.key)
    }

    /// The name of the key field.
    #[must_use]
    pub fn key_field(&self) -> &str {
        &self.key
    }

    /// The legacy side's name of the field that says when a record changed last.
    #[must_use]
    pub fn updated_field(&self) -> Option<&str> {
        self.updated.as_deref()
    }

    /// The new side's name of that field.
    #[must_use]
    pub fn updated_there(&self) -> Option<&str> {
        self.updated.as_deref().map(|field| self.name_there(field))
    }

    /// Which legacy fields each expression needs, by what it is for. One that gives a default for a field that is not
    /// there needs none.
    #[must_use]
    pub fn names(&self) -> Vec<(String, BTreeSet<String>)> {
        let expressions = self.computed.iter().map(|(field, text)| (format!("field `{field}`"), text));
        let filter = self.fields.filter.iter().map(|text| ("the filter".to_owned(), text));
        let names = |text: &String| -> BTreeSet<String> {
            if text.contains("default") || text.contains("defined") {
                return BTreeSet::new();
            }
            let names = self.env.compile_expression(text).map(|compiled| compiled.undeclared_variables(false));
            let names = names.unwrap_or_default().into_iter();
            // `range` and the like are the language's own.
            names.filter(|name| !self.env.globals().any(|(global, _)| global == name)).collect()
        };
        expressions.chain(filter).map(|(what, text)| (what, names(text))).collect()
    }

    /// What stands in for what cannot be looked up yet, because the other dataset has not moved: a null for every key.
    #[must_use]
    pub fn unfound(&self, records: &[Record]) -> Found {
        let keys =
            |by: &str| records.iter().filter_map(|record| Some((record.key(by)?.0, Some(Value::Null)))).collect();
        self.fields.lookup.iter().map(|(field, lookup)| (field.clone(), keys(&lookup.by))).collect()
    }

    fn missing_in_template(&self, template: &str, record: &Record) -> Vec<String> {
        let names = self.env.template_from_str(template).map(|compiled| compiled.undeclared_variables(false));
        absent(names.unwrap_or_default(), record)
    }

    fn refused(&self, why: &str) -> Fault {
        Fault::new(FaultKind::Refused, format!("map a record of `{}`", self.name)).detail(why)
    }
}

/// A constant as the plan has it.
fn from_plan(json: &serde_json::Value) -> Value {
    Value::from_json(json.clone())
}

fn clone_pair((field, value): (&String, &Value)) -> (String, Value) {
    (field.clone(), value.clone())
}
