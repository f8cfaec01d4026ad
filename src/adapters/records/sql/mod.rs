//! What the stores behind SQL databases do alike: what a table is to them, where a page begins, which values are taken,
//! and how a batch is cut until the records that the database refuses stand alone.
//!
//! `span` is the cursor, `batch` groups and halves, `kept` holds connections. Neighbours: `postgres`, `mysql`, `lite`. Must
//! never enter: a statement of one dialect.

pub(super) mod batch;
pub(super) mod cells;
pub(super) mod kept;
pub(super) mod span;

use crate::{
    error::{Fault, FaultKind, Result},
    model::{Digest, Field, Key, Kind, Record, Value, text},
    ports::{Link, SetInfo, Shape},
};
use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Rows that are counted whoever is in a hurry.
pub(super) const FEW: u64 = 200_000;

/// A page ends early at about so many bytes of values: rows can be long.
pub(super) const PAGE_BYTES: usize = 16 << 20;

/// A column, as its database says.
#[derive(Debug, Clone)]
pub(super) struct Column {
    pub(super) field: Field,
    /// Its type, as a statement names it.
    pub(super) sql: String,
    /// It identifies a row by itself.
    pub(super) unique: bool,
    /// Its texts are filled up with blanks to their length and its bytes with zeros, which nobody can tell from given ones.
    pub(super) padded: bool,
}

/// A table or view.
#[derive(Debug, Clone)]
pub(super) struct Table {
    /// Its name as a person reads it.
    pub(super) name: String,
    /// Its name as a statement takes it.
    pub(super) place: String,
    pub(super) columns: Vec<Column>,
    /// A view can be read, but says nothing of what is unique in it.
    pub(super) view: bool,
    /// This credential may write to it.
    pub(super) writable: bool,
    /// Its foreign keys of one column.
    pub(super) links: Vec<Link>,
}

impl Column {
    /// The value in this column's form, or why the column cannot hold it exactly.
    pub(super) fn taken<'v>(&self, value: &'v Value) -> Result<Cow<'v, Value>, String> {
        let value = match (&self.field.kind, value) {
            // In this form already.
            (Kind::Any, _)
            | (Kind::Text { max: None, nul: true }, Value::Text(_))
            | (Kind::Json, Value::Json(_))
            | (_, Value::Null) => Cow::Borrowed(value),
            (kind, value) => Cow::Owned(kind.take(value.clone()).map_err(|misfit| misfit.to_string())?),
        };
        match (&*value, &self.field.kind) {
            (Value::Text(text), _) if self.padded && text.ends_with(' ') => {
                Err("blanks at its end would not be kept".into())
            }
            (Value::Bytes(bytes), Kind::Bytes { max: Some(max) }) if self.padded && bytes.len() as u64 != *max => {
                Err(format!("{} bytes would be filled up to {max}", bytes.len()))
            }
            _ => Ok(value),
        }
    }
}

impl Table {
    /// The column of this name.
    pub(super) fn column(&self, doing: &str, name: &str) -> Result<&Column> {
        let found = self.columns.iter().find(|column| column.field.name == name);
        found.ok_or_else(|| unfit(doing, format!("{} has no column {name}", self.name)))
    }

    /// All columns, this one first.
    pub(super) fn key_first<'t>(&'t self, key: &'t Column) -> Vec<&'t Column> {
        let others = self.columns.iter().filter(|column| column.field.name != key.field.name);
        std::iter::once(key).chain(others).collect()
    }

    /// What lanes in bulk see of it: all columns, the key first.
    ///
    /// # Errors
    /// As [`Self::key`].
    pub(super) fn shape(&self, doing: &str, key: &str) -> Result<Shape> {
        Ok(Shape::of(self.key_first(self.key(doing, key)?).into_iter().map(|column| column.field.clone())))
    }

    /// The column that identifies a row. Paging along a key that is not unique would skip rows, writing by it would
    /// change several at once.
    pub(super) fn key(&self, doing: &str, name: &str) -> Result<&Column> {
        let column = self.column(doing, name)?;
        if self.view || column.unique {
            return Ok(column);
        }
        Err(unfit(doing, format!("{name} is not unique in {}: give it a unique index", self.name)))
    }

    /// Says which fields of the records cannot be written, if there are any: they have no column, or one that is computed.
    pub(super) fn takes(&self, doing: &str, records: &[Record]) -> Result<()> {
        let mut fields: BTreeSet<&str> = BTreeSet::new();
        let mut before: Option<&Record> = None;
        for record in records {
            // Records of one set have the same fields as a rule.
            if before.is_none_or(|before| !before.0.keys().eq(record.0.keys())) {
                fields.extend(record.0.keys().map(String::as_str));
            }
            before = Some(record);
        }
        let column = |name: &str| self.columns.iter().find(|column| column.field.name == name);
        let wrong = |is_wrong: &dyn Fn(&str) -> bool| {
            let wrong = fields.iter().filter(|name| is_wrong(name));
            wrong.map(|name| text::clean(name, 60)).collect::<Vec<_>>().join(", ")
        };
        let unknown = wrong(&|name| column(name).is_none());
        if !unknown.is_empty() {
            return Err(refused(doing, format!("{} has no column for: {unknown}", self.name)));
        }
        let computed = wrong(&|name| column(name).is_some_and(|column| column.field.computed));
        if !computed.is_empty() {
            return Err(refused(doing, format!("{} computes by itself: {computed}", self.name)));
        }
        Ok(())
    }

    /// A record with these columns can be a new row.
    pub(super) fn is_whole(&self, columns: &[&Column]) -> bool {
        let given: BTreeSet<&str> = columns.iter().map(|column| column.field.name.as_str()).collect();
        let free = |field: &Field| field.nullable || field.filled || field.computed;
        self.columns.iter().all(|column| free(&column.field) || given.contains(column.field.name.as_str()))
    }

    /// What the table is to somebody who asks what the set looks like, with so many rows.
    pub(super) fn info(&self, count: Option<u64>) -> SetInfo {
        let fields = self.columns.iter().map(|column| column.field.clone()).collect();
        SetInfo { count, fields, writable: self.writable, links: self.links.clone(), ..SetInfo::default() }
    }
}

/// The table is not what it must be: no record is to blame, and none goes in until it was mended.
pub(super) fn unfit(doing: &str, detail: String) -> Fault {
    Fault::new(FaultKind::Unmet, doing).detail(detail)
}

/// The name of the scratch table of a table: it says what it is, no table of a user has it, and no database cuts it.
/// `place` is the table as a statement takes it, `name` its name alone.
pub(super) fn scratch(place: &str, name: &str) -> String {
    let sum = Digest::of(place.as_bytes()).to_hex();
    let plain = |c: &char| c.is_ascii_alphanumeric() || *c == '_';
    let name: String = name.chars().filter(plain).take(32).collect();
    format!("cutover_scratch_{}_{name}", &sum[..8])
}

/// A refusal on the data's merits.
pub(super) fn refused(doing: &str, detail: String) -> Fault {
    Fault::new(FaultKind::Refused, doing).detail(detail)
}

/// The field that the dataset names as the time of the last change.
pub(super) fn updated<'s>(doing: &str, named: Option<&'s String>) -> Result<&'s str> {
    let missing = || Fault::new(FaultKind::Plan, doing).detail("the dataset names no `updated` field");
    named.map(String::as_str).ok_or_else(missing)
}

/// Keys of which a row in this column could have one, in the column's form: a text that is no number is no row's key in
/// a column of numbers, and neither is a number that is written otherwise than the store writes it.
pub(super) fn possible(key: &Column, keys: &[Key]) -> Vec<Value> {
    let form = |wanted: &Key| {
        let value = key.field.kind.take(Value::Text(wanted.0.clone())).ok()?;
        (value.to_text() == wanted.0).then_some(value)
    };
    keys.iter().filter_map(form).collect()
}

/// A row without a key was found.
pub(super) fn without_key(doing: &str, table: &Table, key: &str) -> Fault {
    refused(doing, format!("a row of {} has no {key}: such a row cannot be moved", table.name))
}

/// What tables look like, kept for a moment: to look at each batch would cost more than to write it.
#[derive(Debug, Default)]
pub(super) struct Looks(Mutex<HashMap<String, (Instant, Arc<Table>)>>);

impl Looks {
    const FRESH: Duration = Duration::from_secs(5);

    pub(super) fn get(&self, name: &str) -> Option<Arc<Table>> {
        let looks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        looks.get(name).filter(|(at, _)| at.elapsed() < Self::FRESH).map(|(_, table)| Arc::clone(table))
    }

    pub(super) fn keep(&self, name: &str, table: Table) -> Arc<Table> {
        let table = Arc::new(table);
        let mut looks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        looks.insert(name.to_owned(), (Instant::now(), Arc::clone(&table)));
        table
    }

    /// After anything went wrong the table may look otherwise.
    pub(super) fn forget(&self, name: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
    }
}

/// About how many bytes a value takes on its way.
pub(super) fn weight(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) => 8,
        Value::Decimal(number) => number.as_str().len(),
        Value::Text(text) => text.len(),
        Value::Bytes(bytes) => bytes.len() * 2,
        Value::Json(json) => spread(json),
    }
}

fn spread(json: &serde_json::Value) -> usize {
    match json {
        serde_json::Value::String(text) => text.len() + 2,
        serde_json::Value::Array(items) => items.iter().map(spread).sum::<usize>() + 2,
        serde_json::Value::Object(fields) => {
            fields.iter().map(|(name, json)| name.len() + 4 + spread(json)).sum::<usize>() + 2
        }
        _ => 8,
    }
}
