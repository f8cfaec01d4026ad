//! When two records are the same: by the kinds of a side's fields where it says them, and where it does not, as every
//! store could keep the value.
//!
//! A record's digest is BLAKE3 and not the SHA-256 of files: nobody else ever makes one, there is one for every row, and
//! on machines without instructions for SHA-256 it takes a sixth of the time.

use crate::model::{Digest, Field, Kind, Record, Value, text};
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

    /// BLAKE3 over the names and the texts of all fields. Two records of the same fields have the same digest exactly if
    /// [`Self::differing`] finds nothing.
    pub(crate) fn digest(&self, record: &Record) -> Digest {
        let mut texts = Texts::default();
        for (field, value) in &record.0 {
            texts.push(self.canonical(field, value).as_deref().map(str::as_bytes));
        }
        texts.digest(&Names::new(record.0.keys().map(String::as_str)))
    }

    /// Goes on with the text by which values of this field are compared.
    pub(crate) fn push(&self, field: &str, value: &Value, texts: &mut Texts) {
        texts.push(self.canonical(field, value).as_deref().map(str::as_bytes));
    }

    /// The same for a value as [`Self::take_one`] gave it.
    pub(crate) fn push_taken(&self, field: &str, value: &Value, texts: &mut Texts) {
        match (self.0.get(field), value) {
            (_, Value::Null) => texts.push(None),
            (Some(_), Value::Text(text)) => texts.push(Some(text.as_bytes())),
            (Some(_), value) => texts.push(Some(value.to_text().as_bytes())),
            (None, value) => self.push(field, value, texts),
        }
    }
}

/// The names of a record's fields: the key of every digest of such a record.
#[derive(Debug, Clone)]
pub(crate) struct Names([u8; 32]);

impl Names {
    /// These, in their own order: that of a [`Record`]'s fields.
    pub(crate) fn new<'f>(names: impl Iterator<Item = &'f str>) -> Self {
        let mut texts = Texts::default();
        names.for_each(|name| texts.push(Some(name.as_bytes())));
        Self(*blake3::hash(&texts.0).as_bytes())
    }
}

/// What a record's digest is made of: the texts of its fields in the order of their names, each behind its length.
#[derive(Debug, Default)]
pub(crate) struct Texts(Vec<u8>);

impl Texts {
    /// A length that no text has.
    const NULL: u32 = u32::MAX;

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// The text of the next field; `None` for null.
    pub(crate) fn push(&mut self, text: Option<&[u8]>) {
        // No text comes near to 4 GiB: a page of records is cut long before.
        let length = text.map_or(Self::NULL, |text| u32::try_from(text.len()).unwrap_or(Self::NULL - 1));
        self.0.extend_from_slice(&length.to_le_bytes());
        self.0.extend_from_slice(text.unwrap_or_default());
    }

    /// The text of the next field, as `tell` writes it at the end; `false`, and nothing is added, where that does not.
    pub(crate) fn told(&mut self, tell: impl FnOnce(&mut Vec<u8>) -> bool) -> bool {
        let begins = self.0.len();
        self.0.extend_from_slice(&[0; Self::NULL.to_le_bytes().len()]);
        let text = self.0.len();
        let told = tell(&mut self.0);
        if told {
            let length = u32::try_from(self.0.len() - text).unwrap_or(Self::NULL - 1);
            self.0[begins..text].copy_from_slice(&length.to_le_bytes());
        } else {
            self.0.truncate(begins);
        }
        told
    }

    /// The digest of the record with these texts.
    pub(crate) fn digest(&self, names: &Names) -> Digest {
        Digest(*blake3::keyed_hash(&names.0, &self.0).as_bytes())
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
