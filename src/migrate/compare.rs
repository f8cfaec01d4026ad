//! When two records are the same: by the kinds of a side's fields where it says them, and where it does not, as every
//! store could keep the value.

use crate::model::{Digest, Field, Kind, Record, Value, quote, text};
use std::{borrow::Cow, collections::BTreeMap};

/// What the fields of one side hold, as far as anybody says.
#[derive(Debug, Clone, Default)]
pub(crate) struct Kinds(BTreeMap<String, Kind>);

impl Kinds {
    /// From what a store says of its fields, and for the others from what the plan says.
    pub(crate) fn new(fields: &[Field], planned: &BTreeMap<String, Kind>) -> Self {
        let said = fields.iter().filter(|field| field.kind != Kind::Any);
        let mut kinds = planned.clone();
        kinds.extend(said.map(|field| (field.name.clone(), field.kind.clone())));
        Self(kinds)
    }

    /// The kind of this field, if anybody says it.
    pub(crate) fn of(&self, field: &str) -> Option<&Kind> {
        self.0.get(field)
    }

    /// The record in the form of these kinds.
    ///
    /// # Errors
    /// The field that does not fit, its value, and why.
    pub(crate) fn take(&self, mut record: Record) -> Result<Record, String> {
        for (field, value) in &mut record.0 {
            *value = self.take_one(field, std::mem::replace(value, Value::Null))?;
        }
        Ok(record)
    }

    /// The value in the form of this field's kind.
    ///
    /// # Errors
    /// As [`Self::take`].
    pub(crate) fn take_one(&self, field: &str, value: Value) -> Result<Value, String> {
        match self.0.get(field) {
            None => Ok(value),
            Some(kind) => kind.take(value).map_err(|misfit| format!("field `{}`: {misfit}", text::clean(field, 60))),
        }
    }

    /// The text by which values of this field are compared; `None` for null.
    fn canonical<'v>(&self, field: &str, value: &'v Value) -> Option<Cow<'v, str>> {
        match (self.0.get(field), value) {
            (_, Value::Null) => None,
            // Most values have their kind's form already, and their text is at hand.
            (Some(Kind::Text { max: None, nul: true }), Value::Text(text)) => Some(text.into()),
            (Some(Kind::Int { .. }) | None, Value::Int(number)) => Some(number.to_string().into()),
            (Some(Kind::Json), Value::Json(_)) => Some(value.to_text().into()),
            (Some(kind), value) => match kind.take(value.clone()) {
                Ok(Value::Null) => None,
                Ok(taken) => Some(taken.to_text().into()),
                // What does not fit its own kind was written by nobody who goes by it.
                Err(_) => canonical(value),
            },
            (None, value) => canonical(value),
        }
    }

    /// Whether these are the same in this field.
    pub(crate) fn same(&self, field: &str, one: &Value, other: &Value) -> bool {
        one == other || self.canonical(field, one) == self.canonical(field, other)
    }

    /// The fields of `wanted` in which `found` differs, by name. Fields that only `found` has do not count: the target
    /// may have more columns.
    pub(crate) fn differing(&self, wanted: &Record, found: &Record) -> Vec<String> {
        let differs =
            |(field, value): &(&String, &Value)| found.get(field).is_none_or(|other| !self.same(field, value, other));
        wanted.0.iter().filter(differs).map(|(field, _)| field.clone()).collect()
    }

    /// Whether the target holds this record.
    pub(crate) fn holds(&self, found: Option<&Record>, wanted: &Record) -> bool {
        let same = |(field, value): (&String, &Value)| {
            found.and_then(|found| found.get(field)).is_some_and(|other| self.same(field, value, other))
        };
        found.is_some() && wanted.0.iter().all(same)
    }

    /// SHA-256 over the texts of all fields. Two records of the same fields have the same digest exactly if
    /// [`Self::differing`] finds nothing.
    pub(crate) fn digest(&self, record: &Record) -> Digest {
        let mut text = String::with_capacity(512);
        for (field, value) in &record.0 {
            push_label(&mut text, field);
            self.push_value(&mut text, field, value);
        }
        Digest::of(text.as_bytes())
    }

    fn push_value(&self, text: &mut String, field: &str, value: &Value) {
        match self.canonical(field, value) {
            Some(value) => quote(&value, text),
            None => text.push_str("null"),
        }
        text.push('\n');
    }
}

fn push_label(text: &mut String, field: &str) {
    quote(field, text);
    text.push(':');
}

/// Makes the digests of many records of the same fields.
#[derive(Debug, Clone)]
pub(crate) struct Digester {
    /// Place, name and label of each field, in the order of the names.
    fields: Vec<(usize, String, String)>,
}

impl Digester {
    /// For records of these fields.
    pub(crate) fn new<'f>(fields: impl Iterator<Item = &'f str>) -> Self {
        let label = |field: &str| {
            let mut label = String::new();
            push_label(&mut label, field);
            label
        };
        let mut fields: Vec<_> = fields.enumerate().map(|(at, field)| (at, field.to_owned(), label(field))).collect();
        fields.sort_unstable_by(|one, other| one.1.cmp(&other.1));
        Self { fields }
    }

    /// What [`Kinds::digest`] makes of the record with these values, given in the order of the fields.
    pub(crate) fn digest(&self, kinds: &Kinds, values: &[Value]) -> Digest {
        let mut text = String::with_capacity(256);
        for (at, field, label) in &self.fields {
            text.push_str(label);
            kinds.push_value(&mut text, field, &values[*at]);
        }
        Digest::of(text.as_bytes())
    }
}

/// The fields of `found` that `shape` has too: the target's row without the columns that the run never writes.
#[must_use]
pub(crate) fn shaped(found: &Record, shape: &Record) -> Record {
    let kept = found.0.iter().filter(|(field, _)| shape.get(field).is_some());
    Record(kept.map(|(field, value)| (field.clone(), value.clone())).collect())
}

/// The value as every store can hold it; `None` for null. Equal texts mean equal values: yes and no are 1 and 0 (as
/// SQLite keeps them), a whole number is the same with or without a decimal point, and a JSON document is the same as
/// value and as text. Text is otherwise taken as it is: `007` is not 7.
#[must_use]
fn canonical(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::Null => None,
        Value::Bool(b) => Some(if *b { "1" } else { "0" }.into()),
        #[expect(clippy::cast_possible_truncation, reason = "whole and far inside 64 bits, by the guard")]
        Value::Float(f) if f.fract() == 0.0 && f.abs() < 9.0e15 => Some((*f as i64).to_string().into()),
        Value::Text(text) if text.starts_with(['{', '[']) => {
            Some(serde_json::from_str(text).map_or(text.into(), |json| Value::Json(json).to_text().into()))
        }
        Value::Text(text) => Some(text.into()),
        other => Some(other.to_text().into()),
    }
}
