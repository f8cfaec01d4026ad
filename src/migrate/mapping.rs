//! What a record becomes on the other side: renamed, computed and dropped fields, and the key of the bytes behind it.
//!
//! Pure: a mapping is built from the plan once and knows no store. Must never enter: ports, clocks, randomness.

use crate::{
    error::{Fault, FaultKind, Result},
    model::{Key, Record, Value},
    plan::DatasetPlan,
};
use minijinja::{Environment, UndefinedBehavior};
use std::collections::{BTreeMap, BTreeSet};

/// The name of the key template within the environment.
const BLOB_KEY: &str = "blob key";

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
    blob_key: Option<String>,
    env: Environment<'static>,
}

impl Mapping {
    /// The mapping of this dataset.
    ///
    /// # Errors
    /// [`FaultKind::Plan`] if an expression or the key template cannot be parsed, or if the key field is computed or
    /// dropped: both sides must know a record by the same key.
    pub fn new(dataset: &DatasetPlan) -> Result<Self> {
        let wrong =
            |what: String| Fault::new(FaultKind::Plan, format!("use the mapping of `{}`", dataset.name)).detail(what);
        let mut env = environment();
        for (field, expression) in &dataset.map {
            env.compile_expression(expression).map_err(|error| wrong(format!("field `{field}`: {error}")))?;
        }
        if let Some(blob) = &dataset.blob {
            // Parsed once: it is rendered for every file.
            env.add_template_owned(BLOB_KEY, blob.key.clone()).map_err(|error| wrong(format!("blob key: {error}")))?;
        }
        if dataset.map.contains_key(&dataset.key) || dataset.drop.contains(&dataset.key) {
            return Err(wrong(format!("the key field `{}` can be neither computed nor dropped", dataset.key)));
        }
        Ok(Self {
            name: dataset.name.clone(),
            key: dataset.key.clone(),
            updated: dataset.updated.clone(),
            computed: dataset.map.clone(),
            dropped: dataset.drop.iter().cloned().collect(),
            back: dataset.back.as_ref().map(|fields| fields.iter().cloned().collect()),
            blob_key: dataset.blob.as_ref().map(|blob| blob.key.clone()),
            env,
        })
    }

    /// The legacy record as the new side shall hold it.
    ///
    /// # Errors
    /// [`FaultKind::Refused`] naming the field that could not be computed, or the key if the record has none.
    pub fn forward(&self, record: &Record) -> Result<Record> {
        if record.key(&self.key).is_none() {
            return Err(self.refused(&format!("the record has no `{}`", self.key)));
        }
        let mut out: BTreeMap<String, Value> =
            record.0.iter().filter(|(field, _)| !self.dropped.contains(*field)).map(clone_pair).collect();
        if !self.computed.is_empty() {
            let plain = context(record, false);
            let mut joined = None;
            for (field, expression) in &self.computed {
                let fields = if expression.contains('~') {
                    joined.get_or_insert_with(|| context(record, true)).clone()
                } else {
                    plain.clone()
                };
                out.insert(field.clone(), self.compute(field, expression, fields, record)?);
            }
        }
        Ok(Record(out))
    }

    /// The fields of a record of the new side that are carried back to the legacy side, with its key. A field that the
    /// record does not have is left out, so a write leaves it as it is there.
    #[must_use]
    pub fn back(&self, record: &Record) -> Record {
        Record(record.0.iter().filter(|(field, _)| self.is_carried_back(field)).map(clone_pair).collect())
    }

    /// Whether this field of the new side is carried back.
    #[must_use]
    pub fn is_carried_back(&self, field: &str) -> bool {
        field == self.key
            || match &self.back {
                Some(fields) => fields.contains(field),
                None => !self.computed.contains_key(field) && !self.dropped.contains(field),
            }
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
        let render = |parsed: minijinja::Template<'_, '_>| parsed.render(context(record, true));
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

    /// The name of the field that says when a record changed last.
    #[must_use]
    pub fn updated_field(&self) -> Option<&str> {
        self.updated.as_deref()
    }

    fn compute(&self, field: &str, expression: &str, fields: minijinja::Value, record: &Record) -> Result<Value> {
        let missing = || self.missing_in_expression(expression, record);
        let wrong = |why: &str| self.refused(&format!("field `{field}`: {why}"));
        let compiled = self.env.compile_expression(expression).map_err(|error| wrong(&error.to_string()))?;
        let value = compiled.eval(fields).map_err(|error| wrong(&explain(&error, &missing())))?;
        if value.is_undefined() {
            return Err(wrong(&format!("`{}` is not there", missing().join("`, `"))));
        }
        let json = serde_json::to_value(&value).map_err(|error| wrong(&error.to_string()))?;
        Ok(Value::from_json(json))
    }

    fn missing_in_expression(&self, expression: &str, record: &Record) -> Vec<String> {
        let names = self.env.compile_expression(expression).map(|compiled| compiled.undeclared_variables(false));
        absent(names.unwrap_or_default(), record)
    }

    fn missing_in_template(&self, template: &str, record: &Record) -> Vec<String> {
        let names = self.env.template_from_str(template).map(|compiled| compiled.undeclared_variables(false));
        absent(names.unwrap_or_default(), record)
    }

    fn refused(&self, why: &str) -> Fault {
        Fault::new(FaultKind::Refused, format!("map a record of `{}`", self.name)).detail(why)
    }
}

/// Why an expression failed: most likely a field that is not there.
fn explain(error: &minijinja::Error, missing: &[String]) -> String {
    if missing.is_empty() { error.to_string() } else { format!("`{}` is not there", missing.join("`, `")) }
}

fn clone_pair((field, value): (&String, &Value)) -> (String, Value) {
    (field.clone(), value.clone())
}

fn absent(names: impl IntoIterator<Item = String>, record: &Record) -> Vec<String> {
    let sorted: BTreeSet<String> = names.into_iter().filter(|name| record.get(name).is_none()).collect();
    sorted.into_iter().collect()
}

/// The record's fields as an expression sees them.
fn context(record: &Record, null_is_empty: bool) -> minijinja::Value {
    let fields = record.0.iter().map(|(field, value)| {
        let value = match value {
            Value::Null if null_is_empty => minijinja::Value::from(""),
            other => minijinja::Value::from_serialize(other.to_json()),
        };
        (field.clone(), value)
    });
    fields.collect::<BTreeMap<_, _>>().into()
}

/// The expression language, strict about fields that are not there, with text filters that leave a null alone.
fn environment() -> Environment<'static> {
    use minijinja::Value as Any;
    fn unless_null(value: &Any, filter: impl FnOnce(&Any) -> Any) -> Result<Any, minijinja::Error> {
        if value.is_undefined() {
            return Err(minijinja::ErrorKind::UndefinedError.into());
        }
        Ok(if value.is_none() { Any::from(()) } else { filter(value) })
    }
    fn text(value: &Any) -> String {
        value.as_str().map_or_else(|| value.to_string(), str::to_string)
    }
    fn capital(text: &str) -> String {
        let mut chars = text.chars();
        chars
            .next()
            .map_or_else(String::new, |first| first.to_uppercase().chain(chars.flat_map(char::to_lowercase)).collect())
    }
    let mut env = Environment::new();
    env.set_undefined_behavior(UndefinedBehavior::Strict);
    env.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    env.add_filter("lower", |value: Any| unless_null(&value, |v| text(v).to_lowercase().into()));
    env.add_filter("upper", |value: Any| unless_null(&value, |v| text(v).to_uppercase().into()));
    env.add_filter("capitalize", |value: Any| unless_null(&value, |v| capital(&text(v)).into()));
    env.add_filter("title", |value: Any| {
        unless_null(&value, |v| text(v).split_inclusive(char::is_whitespace).map(capital).collect::<String>().into())
    });
    env.add_filter("trim", |value: Any, chars: Option<String>| {
        unless_null(&value, |v| match &chars {
            Some(chars) => text(v).trim_matches(|c| chars.contains(c)).into(),
            None => text(v).trim().into(),
        })
    });
    env.add_filter("replace", |value: Any, from: String, to: String| {
        unless_null(&value, |v| text(v).replace(&from, &to).into())
    });
    env
}

#[cfg(test)]
#[path = "mapping_tests.rs"]
mod tests;
