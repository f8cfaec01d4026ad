//! What a record of the new side becomes on the legacy side. Pure: fields the legacy side knows, in the types it knows
//! them.

use crate::{
    migrate::{Mapping, compare::Kinds, convert::Mapped},
    model::{Field, Record, Value, text::clean},
};
use std::collections::{BTreeMap, BTreeSet};

/// Characters of a reason.
const REASON: usize = 300;

/// What the legacy side's records look like, learned from some of them.
#[derive(Debug, Clone, Default)]
pub(super) struct Shape {
    /// Every field it knows; empty if nobody could say.
    fields: BTreeSet<String>,
    /// What its fields hold, as far as the store says.
    kinds: Kinds,
    /// A value of each field, for its type where the store does not say.
    samples: BTreeMap<String, Value>,
    /// The fields that a record has once it was mapped forward.
    mapped: BTreeSet<String>,
}

impl Shape {
    /// From what the store says of its fields, and from some records with what they become.
    pub(super) fn learn(fields: Vec<Field>, records: &[Record], mapped: Vec<Mapped>) -> Self {
        let kinds = Kinds::new(&fields, &BTreeMap::new());
        let fields = fields.into_iter().map(|field| field.name).collect();
        let mut shape = Self { fields, kinds, ..Self::default() };
        for record in records {
            for (field, value) in &record.0 {
                shape.fields.insert(field.clone());
                if *value != Value::Null {
                    shape.samples.entry(field.clone()).or_insert_with(|| value.clone());
                }
            }
        }
        shape
            .mapped
            .extend(mapped.into_iter().filter_map(|mapped| mapped.ok()?).flat_map(|mapped| mapped.0.into_keys()));
        shape
    }

    /// The part of a row of the new side that the run wrote, as far as can be told without its legacy record.
    pub(super) fn written(&self, row: &Record) -> Record {
        if self.mapped.is_empty() {
            return row.clone();
        }
        Record(
            row.0
                .iter()
                .filter(|(field, _)| self.mapped.contains(*field))
                .map(|(field, value)| (field.clone(), value.clone()))
                .collect(),
        )
    }

    /// Whether the legacy side already holds what this row would bring. When it changed last does not count: a store
    /// may write that down by itself.
    pub(super) fn same(&self, mapping: &Mapping, row: &Record, legacy: &Record) -> bool {
        let updated = mapping.updated_field();
        mapping.back(row).0.iter().all(|(field, value)| {
            field == mapping.key_field()
                || Some(field.as_str()) == updated
                || !self.knows(field)
                || self.kinds.same(field, value, legacy.get(field).unwrap_or(&Value::Null))
        })
    }

    /// The legacy record with what this row brings; without a legacy record, a new one.
    ///
    /// # Errors
    /// The field that does not fit the legacy side exactly, its value, and why.
    pub(super) fn back(&self, mapping: &Mapping, row: &Record, legacy: Option<&Record>) -> Result<Record, String> {
        let mut record = legacy.cloned().unwrap_or_default();
        for (field, value) in mapping.back(row).0 {
            if !self.knows(&field) {
                continue;
            }
            let held = record.get(&field);
            if held.is_some_and(|held| self.kinds.same(&field, held, &value)) {
                continue;
            }
            if let Some(kind) = self.kinds.of(&field) {
                let wrong = |misfit| clean(&format!("field `{field}`: {misfit}"), REASON);
                record.0.insert(field.clone(), kind.take(value).map_err(wrong)?);
                continue;
            }
            let sample = held.filter(|held| **held != Value::Null).or_else(|| self.samples.get(&field));
            let value = sample.map_or_else(|| value.clone(), |sample| typed_like(&value, sample));
            record.0.insert(field, value);
        }
        Ok(record)
    }

    fn knows(&self, field: &str) -> bool {
        self.fields.is_empty() || self.fields.contains(field)
    }
}

/// The value in the type of a sample, where a store could not keep that type: 0 and 1 become no and yes, JSON as text
/// becomes JSON, a whole number a decimal one. Anything else stays as it is.
fn typed_like(value: &Value, sample: &Value) -> Value {
    match (value, sample) {
        (Value::Int(0), Value::Bool(_)) => Value::Bool(false),
        (Value::Int(1), Value::Bool(_)) => Value::Bool(true),
        (Value::Text(text), Value::Json(_)) => {
            serde_json::from_str(text).map_or_else(|_| value.clone(), Value::from_json)
        }
        #[expect(clippy::cast_precision_loss, reason = "a store that keeps decimals as whole numbers keeps small ones")]
        (Value::Int(number), Value::Float(_)) => Value::Float(*number as f64),
        (Value::Int(_) | Value::Float(_), Value::Text(_)) => Value::Text(value.to_text()),
        _ => value.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::migrate::{mapping::Found, world::users};
    use serde_json::json;

    fn record(json: serde_json::Value) -> Record {
        Record::from_json(json).unwrap()
    }

    #[test]
    fn comes_back_in_the_types_of_the_legacy_side() {
        let mapping = Mapping::new(&users()).unwrap();
        let sample =
            record(json!({"id": 1, "first": "A", "last": "B", "staff": true, "settings": {"a": 1}, "rate": 0.5,
            "zip": "01234", "secret": "x", "updated_at": "2026-01-01T00:00:00Z"}));
        let mapped = mapping.forward(&sample, &Found::new()).map_err(|fault| fault.detail);
        let shape = Shape::learn(vec![], std::slice::from_ref(&sample), vec![mapped]);
        let row =
            record(json!({"id": 9, "first": "C", "last": "D", "name": "C D", "staff": 0, "settings": "{\"a\":[2]}",
            "rate": 2, "zip": 99, "own": 1, "updated_at": "2026-01-02T00:00:00Z"}));
        assert_eq!(
            shape.back(&mapping, &row, None).unwrap(),
            record(json!({"id": 9, "first": "C", "last": "D", "staff": false, "settings": {"a": [2]}, "rate": 2.0,
                "zip": "99", "updated_at": "2026-01-02T00:00:00Z"}))
        );
        let kept = shape.back(&mapping, &row, Some(&sample)).unwrap();
        assert_eq!(kept.get("secret"), Some(&Value::Text("x".into())));
        assert!(!shape.same(&mapping, &row, &sample));
        assert!(shape.same(&mapping, &row, &kept));
        assert_eq!(shape.written(&row).get("own"), None);
    }
}
