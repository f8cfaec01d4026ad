//! The expression language of a mapping: minijinja, strict about fields that are not there, careful with nulls.

use crate::model::{Record, Value};
use minijinja::{Environment, UndefinedBehavior};
use std::collections::{BTreeMap, BTreeSet};

/// Why an expression failed: most likely a field that is not there.
pub(super) fn explain(error: &minijinja::Error, missing: &[String]) -> String {
    if missing.is_empty() { error.to_string() } else { format!("`{}` is not there", missing.join("`, `")) }
}

/// Those of the names that the record has no field for, in order.
pub(super) fn absent(names: impl IntoIterator<Item = String>, record: &Record) -> Vec<String> {
    let sorted: BTreeSet<String> = names.into_iter().filter(|name| record.get(name).is_none()).collect();
    sorted.into_iter().collect()
}

/// Those of the record's fields whose names stand in the expression's text. The parsed expression does not name all that it
/// asks for.
pub(super) fn context(text: &str, record: &Record, null_is_empty: bool) -> minijinja::Value {
    let named = record.0.iter().filter(|(name, _)| text.contains(name.as_str()));
    named.map(|(name, value)| (name.as_str(), seen(value, null_is_empty))).collect::<BTreeMap<_, _>>().into()
}

/// All of the record's fields, a null as an empty text.
pub(super) fn whole(record: &Record) -> minijinja::Value {
    record.0.iter().map(|(name, value)| (name.as_str(), seen(value, true))).collect::<BTreeMap<_, _>>().into()
}

/// A value as an expression sees it.
fn seen(value: &Value, null_is_empty: bool) -> minijinja::Value {
    match value {
        Value::Null if null_is_empty => "".into(),
        Value::Null => ().into(),
        Value::Bool(yes) => (*yes).into(),
        Value::Int(number) => (*number).into(),
        Value::Text(text) => text.as_str().into(),
        other => minijinja::Value::from_serialize(other.to_json()),
    }
}

/// The expression language, strict about fields that are not there, with text filters that leave a null alone.
pub(super) fn environment() -> Environment<'static> {
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
