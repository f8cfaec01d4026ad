//! Where a plan's text comes from, and how `${VAR}` in its values becomes what the environment says.
//!
//! Variables are put in after parsing and only into text values, so positions stay those of the file and a value can
//! never change the plan's shape. Must never enter: the checked plan.

use std::path::Path;

/// A plan's text and what it is read against.
#[derive(Clone, Copy)]
pub struct Source<'a> {
    /// The file's name in messages.
    pub name: &'a str,
    /// Its text.
    pub text: &'a str,
    /// Relative paths in the plan begin here.
    pub base: &'a Path,
    /// The environment: a variable's value, if it is set.
    pub env: &'a dyn Fn(&str) -> Option<String>,
}

/// A text value after its variables were put in.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Resolved {
    /// The value.
    pub(super) text: String,
    /// Some of it was written in the plan itself, be it as the default of a variable.
    pub(super) literal: bool,
}

/// What is wrong with a `${…}`.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum BadVariable {
    /// Not set, or set to nothing.
    Missing(String),
    /// No closing brace.
    Open,
    /// Not the name of a variable.
    Name(String),
}

/// Puts variables into a text: `${VAR}`, `${VAR:-default}` (also if `VAR` is empty), `$$` for one `$`; any other `$`
/// stands for itself.
pub(super) fn resolve(text: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<Resolved, Vec<BadVariable>> {
    let mut out = Resolved::default();
    let mut bad = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        let (before, tail) = rest.split_at(at);
        out.write(before);
        if let Some(inner) = tail.strip_prefix("${") {
            let Some(end) = inner.find('}') else {
                bad.push(BadVariable::Open);
                rest = "";
                break;
            };
            match variable(&inner[..end], env) {
                Ok((value, true)) => out.write(&value),
                Ok((value, false)) => out.text.push_str(&value),
                Err(mistake) => bad.push(mistake),
            }
            rest = &inner[end + 1..];
        } else {
            out.write("$");
            rest = tail.strip_prefix("$$").unwrap_or(&tail[1..]);
        }
    }
    out.write(rest);
    if bad.is_empty() { Ok(out) } else { Err(bad) }
}

impl Resolved {
    fn write(&mut self, text: &str) {
        self.literal |= !text.is_empty();
        self.text.push_str(text);
    }
}

/// The value of what stands between the braces, and whether the plan itself wrote it.
fn variable(inner: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<(String, bool), BadVariable> {
    let (name, default) = inner.split_once(":-").map_or((inner, None), |(name, default)| (name, Some(default)));
    let mut chars = name.chars();
    let good = chars.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && chars.all(|c| c.is_ascii_alphanumeric() || c == '_');
    if !good {
        return Err(BadVariable::Name(name.into()));
    }
    match (env(name).filter(|value| !value.is_empty()), default) {
        (Some(value), _) => Ok((value, false)),
        (None, Some(default)) => Ok((default.into(), true)),
        (None, None) => Err(BadVariable::Missing(name.into())),
    }
}

/// Line and column of a byte offset, both from 1, the column in characters.
pub(super) fn position(text: &str, offset: usize) -> (usize, usize) {
    let mut offset = offset.min(text.len());
    while !text.is_char_boundary(offset) {
        offset -= 1;
    }
    let before = &text[..offset];
    let start = before.rfind('\n').map_or(0, |at| at + 1);
    (before.matches('\n').count() + 1, before[start..].chars().count() + 1)
}

#[cfg(test)]
mod tests {
    use super::{BadVariable, Resolved, position, resolve};

    fn env(name: &str) -> Option<String> {
        match name {
            "HOST" => Some("h".into()),
            "EMPTY" => Some(String::new()),
            _ => None,
        }
    }

    #[test]
    fn variables_are_put_in() {
        for (text, value, literal) in [
            ("plain", "plain", true),
            ("${HOST}", "h", false),
            ("${HOST}${HOST}", "hh", false),
            ("a${HOST}b", "ahb", true),
            ("${NONE:-d}", "d", true),
            ("${NONE:-}", "", false),
            ("${EMPTY:-d}", "d", true),
            ("${HOST:-d}", "h", false),
            ("$${HOST}", "${HOST}", true),
            ("$.token", "$.token", true),
            ("cost $", "cost $", true),
            ("{{ x }}${HOST}", "{{ x }}h", true),
        ] {
            assert_eq!(resolve(text, &env), Ok(Resolved { text: value.into(), literal }), "{text}");
        }
    }

    #[test]
    fn bad_variables_are_named() {
        for (text, bad) in [
            ("${NONE}", BadVariable::Missing("NONE".into())),
            ("${EMPTY}", BadVariable::Missing("EMPTY".into())),
            ("x${HOST", BadVariable::Open),
            ("${A B}", BadVariable::Name("A B".into())),
            ("${}", BadVariable::Name(String::new())),
        ] {
            assert_eq!(resolve(text, &env), Err(vec![bad]), "{text}");
        }
    }

    #[test]
    fn positions_count_characters() {
        assert_eq!(position("aß\nxy", 0), (1, 1));
        assert_eq!(position("aß\nxy", 3), (1, 3));
        assert_eq!(position("aß\nxy", 4), (2, 1));
        assert_eq!(position("aß\nxy", 99), (2, 3));
        assert_eq!(position("aß", 2), (1, 2), "inside a character counts as before it");
    }
}
