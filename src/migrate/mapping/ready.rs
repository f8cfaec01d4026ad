//! A mapping made ready for many records: its expressions are parsed once, and of each record an expression is given only
//! the fields that it may ask for.

use super::{
    Found, Mapping,
    express::{absent, context, explain},
};
use crate::{
    error::Result,
    model::{Record, Value},
};
use minijinja::Expression;
use std::collections::BTreeMap;

/// A mapping that was made ready.
pub struct Ready<'m> {
    mapping: &'m Mapping,
    filter: Option<Formula<'m>>,
    computed: Vec<Formula<'m>>,
}

/// A parsed expression.
struct Formula<'m> {
    /// What it is for, to begin a sentence with.
    what: String,
    /// The field that it computes; empty for the filter.
    field: &'m str,
    text: &'m str,
    parsed: Expression<'m, 'm>,
    /// It joins texts, to which a null counts as an empty one.
    joins: bool,
}

impl Mapping {
    /// The mapping, ready for many records.
    ///
    /// # Errors
    /// [`FaultKind::Refused`](crate::error::FaultKind::Refused) if an expression cannot be parsed, which [`Mapping::new`]
    /// has tried before.
    pub fn ready(&self) -> Result<Ready<'_>> {
        let computed = self.computed.iter().map(|(field, text)| self.formula(format!("field `{field}`"), field, text));
        Ok(Ready { mapping: self, filter: self.ready_filter()?, computed: computed.collect::<Result<_>>()? })
    }

    /// One legacy record as the new side shall hold it, as [`Ready::forward`] says.
    ///
    /// # Errors
    /// As [`Ready::forward`].
    pub fn forward(&self, record: &Record, found: &Found) -> Result<Option<Record>> {
        self.ready()?.forward(record, found)
    }

    /// Whether the filter lets this legacy record move.
    ///
    /// # Errors
    /// [`FaultKind::Refused`](crate::error::FaultKind::Refused) if the filter cannot be computed for it.
    pub fn fits(&self, record: &Record) -> Result<bool> {
        let Some(filter) = self.ready_filter()? else { return Ok(true) };
        Ok(filter.value(self, record)?.is_true())
    }

    fn ready_filter(&self) -> Result<Option<Formula<'_>>> {
        let filter = self.fields.filter.as_ref();
        filter.map(|text| self.formula("the filter".to_owned(), "", text)).transpose()
    }

    fn formula<'m>(&'m self, what: String, field: &'m str, text: &'m str) -> Result<Formula<'m>> {
        let parsed = self.env.compile_expression(text).map_err(|error| self.refused(&format!("{what}: {error}")))?;
        // The filter asks for a null as such.
        let joins = !field.is_empty() && text.contains('~');
        Ok(Formula { what, field, text, parsed, joins })
    }
}

impl Ready<'_> {
    /// The legacy record as the new side shall hold it; `None` if the filter leaves it out. `found` has what the other
    /// datasets hold under the keys that this record names.
    ///
    /// # Errors
    /// [`FaultKind::Refused`](crate::error::FaultKind::Refused) naming the field that could not be computed or found, or
    /// the key if the record has none.
    pub fn forward(&self, record: &Record, found: &Found) -> Result<Option<Record>> {
        let mapping = self.mapping;
        if matches!(record.get(&mapping.key), None | Some(Value::Null)) {
            return Err(mapping.refused(&format!("the record has no `{}`", mapping.key)));
        }
        if !self.fits(record)? {
            return Ok(None);
        }
        let mut out = mapping.carried(record);
        out.extend(self.add(record, found)?);
        Ok(Some(Record(out)))
    }

    /// The fields that the new side has beside those that are carried: constant, looked up, computed. `None` if the filter
    /// leaves the record out. The record needs only the fields that [`Mapping::expressions`] and look-ups speak of.
    ///
    /// # Errors
    /// As [`Self::forward`].
    pub fn made(&self, record: &Record, found: &Found) -> Result<Option<BTreeMap<String, Value>>> {
        if self.fits(record)? { self.add(record, found).map(Some) } else { Ok(None) }
    }

    fn fits(&self, record: &Record) -> Result<bool> {
        match &self.filter {
            Some(filter) => Ok(filter.value(self.mapping, record)?.is_true()),
            None => Ok(true),
        }
    }

    fn add(&self, record: &Record, found: &Found) -> Result<BTreeMap<String, Value>> {
        let mapping = self.mapping;
        let mut out = mapping.constants.clone();
        for field in mapping.fields.lookup.keys() {
            out.insert(field.clone(), mapping.found(field, record, found)?);
        }
        for formula in &self.computed {
            let value = formula.value(mapping, record)?;
            let value = match value.as_str() {
                Some(text) => Value::Text(text.to_owned()),
                None => Value::from_json(
                    serde_json::to_value(&value)
                        .map_err(|error| mapping.refused(&format!("{}: {error}", formula.what)))?,
                ),
            };
            out.insert(formula.field.to_owned(), value);
        }
        Ok(out)
    }
}

impl Formula<'_> {
    /// What it says of this record.
    fn value(&self, mapping: &Mapping, record: &Record) -> Result<minijinja::Value> {
        let missing = || absent(self.parsed.undeclared_variables(false), record);
        let wrong = |why: &str| mapping.refused(&format!("{}: {why}", self.what));
        let fields = context(self.text, record, self.joins);
        let value = self.parsed.eval(fields).map_err(|error| wrong(&explain(&error, &missing())))?;
        if value.is_undefined() {
            return Err(wrong(&format!("`{}` is not there", missing().join("`, `"))));
        }
        Ok(value)
    }
}

impl Mapping {
    /// The fields that travel as they are, under their names on the new side.
    fn carried(&self, record: &Record) -> BTreeMap<String, Value> {
        if self.dropped.is_empty() && self.renamed.is_empty() {
            return record.0.clone();
        }
        let carried = record.0.iter().filter(|(field, _)| !self.dropped.contains(*field));
        carried.map(|(field, value)| (self.name_there(field).to_owned(), value.clone())).collect()
    }

    /// What the other dataset holds for a field that is looked up.
    fn found(&self, field: &str, record: &Record, found: &Found) -> Result<Value> {
        let Some(lookup) = self.fields.lookup.get(field) else { return Ok(Value::Null) };
        match record.key(&lookup.by) {
            None if record.get(&lookup.by).is_none() => {
                Err(self.refused(&format!("field `{field}`: `{}` is not there", lookup.by)))
            }
            None => Ok(Value::Null),
            Some(key) => found.get(field).and_then(|found| found.get(&key.0)).cloned().flatten().ok_or_else(|| {
                let (dataset, wanted) = (&lookup.dataset, &lookup.field);
                self.refused(&format!("field `{field}`: `{dataset}` has no {wanted} under the key {key}"))
            }),
        }
    }
}
