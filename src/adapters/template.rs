//! Texts with values put in: minijinja over plain names.
//!
//! Must never enter: loops over remote data or files; a template sees the values it is given and nothing else.

use crate::error::{Fault, FaultKind, Result};
use minijinja::{Environment, UndefinedBehavior};
use std::collections::BTreeMap;

/// The values a template may name.
pub(crate) type Values = BTreeMap<String, String>;

/// The text with its values put in. A name without a value is a fault, never an empty text.
pub(crate) fn render(text: &str, values: &Values) -> Result<String> {
    if !text.contains("{{") && !text.contains("{%") {
        return Ok(text.to_owned());
    }
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    // The error names the place in the template; the values themselves stay out of it.
    environment
        .render_str(text, values)
        .map_err(|error| Fault::new(FaultKind::Plan, format!("fill in `{text}`")).detail(error.to_string()))
}

/// The document with the values put into each of its texts.
pub(crate) fn render_json(json: &serde_json::Value, values: &Values) -> Result<serde_json::Value> {
    use serde_json::Value;
    Ok(match json {
        Value::String(text) => Value::String(render(text, values)?),
        Value::Array(items) => Value::Array(items.iter().map(|item| render_json(item, values)).collect::<Result<_>>()?),
        Value::Object(fields) => Value::Object(
            fields
                .iter()
                .map(|(name, value)| Ok((name.clone(), render_json(value, values)?)))
                .collect::<Result<serde_json::Map<_, _>>>()?,
        ),
        other => other.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_go_in_and_a_missing_one_is_a_fault() {
        let values = Values::from([("token".to_owned(), "abc".to_owned())]);
        assert_eq!(render("no braces", &values).unwrap(), "no braces");
        assert_eq!(render("t={{ token }}", &values).unwrap(), "t=abc");
        assert_eq!(render("{{ nothing }}", &values).unwrap_err().kind, FaultKind::Plan);
        assert_eq!(
            render_json(&json!({"a": ["{{ token }}", 1, null]}), &values).unwrap(),
            json!({"a": ["abc", 1, null]})
        );
    }
}
