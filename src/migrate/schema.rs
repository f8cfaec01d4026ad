//! Whether a dataset's mapping fits what both sides say of their fields, before a record was read. Pure.
//!
//! A side that names fields without saying what they hold may name them from one record: what is missing there is only a
//! warning. Must never enter: ports.

#[cfg(test)]
mod tests;

use super::mapping::Mapping;
use crate::{
    model::{Field, Kind, text::clean},
    plan::DatasetPlan,
};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// What both sides say of a dataset's fields; empty where one says nothing.
#[derive(Debug, Clone, Copy)]
pub struct Schemas<'s> {
    /// The legacy side's.
    pub source: &'s [Field],
    /// The new side's.
    pub target: &'s [Field],
    /// The new side's of the datasets that are looked into, by name.
    pub others: &'s BTreeMap<String, Vec<Field>>,
}

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Findings {
    /// No record, or not every one, could be moved.
    pub blockers: Vec<String>,
    /// Some records may not be moved, or not as one might expect.
    pub warnings: Vec<String>,
    /// What would be better.
    pub recommendations: Vec<String>,
}

/// A field of the new side that a record will have.
struct Made<'s> {
    name: String,
    /// The legacy field it is carried from as it is, as far as that is known.
    from: Option<&'s Field>,
}

/// Holds the mapping of a dataset against what both sides say.
#[must_use]
pub fn check(dataset: &DatasetPlan, mapping: &Mapping, schemas: Schemas<'_>) -> Findings {
    let mut findings = Findings::default();
    if !schemas.source.is_empty() {
        source(dataset, mapping, schemas.source, &mut findings);
    }
    if !schemas.target.is_empty() {
        target(dataset, mapping, schemas, &mut findings);
    }
    for (field, lookup) in &dataset.fields.lookup {
        let other = schemas.others.get(&lookup.dataset).filter(|fields| !fields.is_empty());
        if let Some(other) = other.filter(|other| find(other, &lookup.field).is_none()) {
            let what = format!("`{}` looks up `{}`", shown(field), shown(&lookup.field));
            findings.lacks(other, format!("{what}, which `{}` does not have on the new side", lookup.dataset));
        }
    }
    if dataset.updated.is_none() {
        let advice =
            "say in `updated` which field tells when a record changed: without one every pass reads all records";
        findings.recommendations.push(advice.to_owned());
    }
    findings
}

impl Findings {
    /// These as well.
    pub(crate) fn add(&mut self, others: Self) {
        self.blockers.extend(others.blockers);
        self.warnings.extend(others.warnings);
        self.recommendations.extend(others.recommendations);
    }

    /// Something is not there: certain only from a side that says what its fields hold.
    fn lacks(&mut self, side: &[Field], what: String) {
        let certain = side.iter().any(|field| field.kind != Kind::Any);
        if certain { self.blockers.push(what) } else { self.warnings.push(what) }
    }

    /// A kind that must become another.
    fn narrow(&mut self, name: &str, to: &Kind, from: &Kind) {
        let Some(why) = to.narrows(from) else { return };
        let what = format!("`{}` ({from}) becomes {to}: {why}", shown(name));
        if to.excludes(from) { self.blockers.push(what) } else { self.warnings.push(what) }
    }
}

fn shown(name: &str) -> String {
    clean(name, 60)
}

fn find<'f>(fields: &'f [Field], name: &str) -> Option<&'f Field> {
    fields.iter().find(|field| field.name == name)
}

/// Every legacy field that the plan speaks of must be there.
fn source(dataset: &DatasetPlan, mapping: &Mapping, source: &[Field], findings: &mut Findings) {
    let mut wanted: Vec<(String, String)> = vec![("key".into(), dataset.key.clone())];
    let mut want = |what: &str, name: Option<&String>| {
        wanted.extend(name.map(|name| (what.to_owned(), name.clone())));
    };
    want("updated", dataset.updated.as_ref());
    for name in dataset.fields.rename.keys() {
        want("rename", Some(name));
    }
    for (field, lookup) in &dataset.fields.lookup {
        want(&format!("the lookup of `{}`", shown(field)), Some(&lookup.by));
    }
    if let Some(blob) = &dataset.blob {
        want("blob.path", Some(&blob.path));
        want("blob.sha256", blob.sha256.as_ref());
        want("blob.size", blob.size.as_ref());
        want("blob.content_type", blob.content_type.as_ref());
    }
    for (what, names) in mapping.names() {
        for name in names {
            want(&what, Some(&name));
        }
    }
    let mut told = BTreeSet::new();
    for (what, name) in wanted {
        if find(source, &name).is_none() && told.insert((what.clone(), name.clone())) {
            findings.lacks(source, format!("{what}: the legacy side has no field `{}`", shown(&name)));
        }
    }
    for name in dataset.drop.iter().filter(|name| find(source, name).is_none()) {
        let what = format!("drop: the legacy side has no field `{}`", shown(name));
        findings.recommendations.push(what);
    }
}

/// What is made must have its place, and what must be filled must be made.
fn target(dataset: &DatasetPlan, mapping: &Mapping, schemas: Schemas<'_>, findings: &mut Findings) {
    let made = made(dataset, mapping, schemas.source);
    for field in &made {
        let Some(there) = find(schemas.target, &field.name) else {
            let what =
                format!("the new side has no field `{}`: drop it, rename it, or add it there", shown(&field.name));
            findings.lacks(schemas.target, what);
            continue;
        };
        if there.computed {
            let what = format!("the new side computes `{}` itself: drop it", shown(&field.name));
            findings.blockers.push(what);
            continue;
        }
        let planned = dataset.fields.kinds.get(&field.name);
        let said = planned.or_else(|| field.from.map(|from| &from.kind));
        if let Some(said) = said {
            findings.narrow(&field.name, &there.kind, said);
        }
        if field.from.is_some_and(|from| from.nullable) && !there.nullable && there.kind != Kind::Any {
            let what = format!("`{}` may be null on the legacy side and not on the new one", shown(&field.name));
            findings.warnings.push(what);
        }
    }
    keys(dataset, schemas, findings);
    // Without the legacy side's fields nobody knows what is carried.
    if schemas.source.is_empty() {
        return;
    }
    let names: BTreeSet<&str> = made.iter().map(|field| field.name.as_str()).collect();
    for there in schemas.target {
        let must = !there.nullable && !there.filled && !there.computed;
        if must && !names.contains(there.name.as_str()) {
            let what = format!("`{}` may not be null on the new side, and nothing fills it", shown(&there.name));
            findings.lacks(schemas.source, format!("{what}: a `constant`, or an expression in `map`"));
        }
    }
}

/// What a record will have on the new side, as far as that is known.
fn made<'s>(dataset: &DatasetPlan, mapping: &Mapping, source: &'s [Field]) -> Vec<Made<'s>> {
    let fields = &dataset.fields;
    let own: BTreeSet<&String> = dataset.map.keys().chain(fields.constant.keys()).chain(fields.lookup.keys()).collect();
    let carried = source.iter().filter(|field| !dataset.drop.contains(&field.name));
    let carried = carried.map(|field| Made { name: mapping.name_there(&field.name).to_owned(), from: Some(field) });
    let mut made: Vec<Made<'_>> = carried.filter(|field| !own.contains(&field.name)).collect();
    made.extend(own.into_iter().map(|name| Made { name: name.clone(), from: None }));
    made
}

/// A key that two kinds write differently finds nothing on the other side.
fn keys(dataset: &DatasetPlan, schemas: Schemas<'_>, findings: &mut Findings) {
    let kind = |fields| find(fields, &dataset.key).map(|field| &field.kind).filter(|kind| **kind != Kind::Any);
    let (Some(here), Some(there)) = (kind(schemas.source), kind(schemas.target)) else { return };
    let alike = std::mem::discriminant(here) == std::mem::discriminant(there);
    if !alike && !there.excludes(here) {
        let what = format!("the key `{}` is {here} on the legacy side and {there} on the new one", shown(&dataset.key));
        findings.warnings.push(format!("{what}: a record whose key is not written alike on both fails"));
    }
}
