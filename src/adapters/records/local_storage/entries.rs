//! Records out of a browser's export: one for each entry that is wanted, or one for each element of a list in it. Pure.
//!
//! | field | holds |
//! |---|---|
//! | `id` | user, colon, storage key; for an element also `#` and its own `id`, or its place if it has none |
//! | `user_id` | whose browser it was |
//! | `storage_key` | the key in the browser's storage |
//! | `value` | the document that the entry's text says; for a wrapped one what is in the wrapping |
//! | `version` | the number that the application wrote beside it (`{ "version": 2, "data": … }`), or null |
//! | `size` | bytes of the entry's text |
//! | `exported_at` | when the export was made, or null |
//!
//! An entry whose text is no JSON has no `value` but `raw`, its text, and `invalid`, why: a target without these columns
//! refuses it as one row, with this as the reason. Must never enter: where exports come from.

use super::super::exact;
use crate::model::{Record, Timestamp, Value, text::clean};
use serde_json::{Map, Value as Json, value::RawValue};

/// Which entries are wanted: `savedFilters`, `filters:*`, several with commas between; with `[]` behind it each element of
/// the list in an entry is a record of its own.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wanted(Vec<Pattern>);

#[derive(Debug, PartialEq, Eq)]
struct Pattern {
    key: String,
    elements: bool,
}

impl Wanted {
    pub(super) fn parse(text: &str) -> Self {
        let pattern = |part: &str| match part.strip_suffix("[]") {
            Some(key) => Pattern { key: key.to_owned(), elements: true },
            None => Pattern { key: part.to_owned(), elements: false },
        };
        Self(text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(pattern).collect())
    }

    fn pattern(&self, key: &str) -> Option<&Pattern> {
        self.0.iter().find(|pattern| matches(&pattern.key, key))
    }
}

/// `*` stands for any text.
fn matches(pattern: &str, key: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == key,
        Some((start, rest)) => key.strip_prefix(start).is_some_and(|tail| {
            tail.char_indices().map(|(at, _)| at).chain([tail.len()]).any(|at| matches(rest, &tail[at..]))
        }),
    }
}

/// A browser's export.
#[derive(Debug)]
pub(super) struct Export {
    user: String,
    items: Result<Map<String, Json>, (String, Value)>,
    pub(super) exported_at: Option<Timestamp>,
}

impl Export {
    /// The export in a file: an object from storage key to text, bare or under `items` beside `exported_at`.
    pub(super) fn parse(user: &str, bytes: Vec<u8>) -> Self {
        let broken =
            |why: String, raw: Value| Self { user: user.to_owned(), items: Err((why, raw)), exported_at: None };
        let text = match String::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => return broken(format!("the export is no text: {error}"), Value::Bytes(error.into_bytes())),
        };
        match serde_json::from_str(trimmed(&text)) {
            Ok(Json::Object(fields)) => Self::new(user.to_owned(), fields),
            Ok(_) => broken("the export is no object from storage key to text".into(), Value::Text(text)),
            Err(error) => broken(format!("the export is no JSON: {error}"), Value::Text(text)),
        }
    }

    fn new(user: String, mut fields: Map<String, Json>) -> Self {
        let wrapped = fields.get("items").is_some_and(Json::is_object);
        let at = fields.get("exported_at").and_then(Json::as_str).filter(|_| wrapped).and_then(|at| at.parse().ok());
        let items = match fields.remove("items") {
            Some(Json::Object(items)) => items,
            Some(text) => {
                fields.insert("items".into(), text);
                fields
            }
            None => fields,
        };
        Self { user, items: Ok(items), exported_at: at }
    }

    /// The export in a row of an endpoint: `user`, `items`, `exported_at`; `None` if it names no user.
    pub(super) fn of_row(row: &Record) -> Option<Self> {
        let user = row.text("user")?;
        let mut export = match row.get("items") {
            Some(Value::Json(Json::Object(items))) => Self { user, items: Ok(items.clone()), exported_at: None },
            Some(Value::Text(text)) => Self::parse(&user, text.clone().into_bytes()),
            other => {
                let raw = other.cloned().unwrap_or(Value::Null);
                Self { user, items: Err(("the export has no `items`".into(), raw)), exported_at: None }
            }
        };
        export.exported_at = row.text("exported_at").and_then(|at| at.parse().ok()).or(export.exported_at);
        Some(export)
    }

    /// The records of what is wanted, in the order of their ids, each once.
    pub(super) fn records(self, wanted: &Wanted) -> Vec<Record> {
        let Self { user, items, exported_at } = self;
        let base = |key: &str, size: usize| {
            let at = exported_at.map_or(Value::Null, |at| Value::Text(at.to_string()));
            let size = i64::try_from(size).map_or(Value::Null, Value::Int);
            let user_id = match user.parse::<i64>() {
                Ok(number) if number.to_string() == user => Value::Int(number),
                _ => Value::Text(user.clone()),
            };
            let id = Value::Text(format!("{}{key}", prefix(&user)));
            record([
                ("id", id),
                ("user_id", user_id),
                ("storage_key", Value::Text(key.into())),
                ("size", size),
                ("exported_at", at),
            ])
        };
        let items = match items {
            Ok(items) => items,
            Err((why, raw)) => return vec![refused(base("", raw.to_text().len()), &why, raw)],
        };
        let mut records = Vec::new();
        for (key, item) in items {
            let Some(pattern) = wanted.pattern(&key) else { continue };
            let (size, read) = match item {
                Json::String(text) => (text.len(), document(&text).map_err(|why| (why, Value::Text(text)))),
                parsed => (parsed.to_string().len(), Ok(parsed)),
            };
            let base = base(&key, size);
            match read.map(unwrapped) {
                Err((why, raw)) => records.push(refused(base, &why, raw)),
                Ok((version, Json::Array(elements))) if pattern.elements => {
                    records.extend(
                        elements.into_iter().enumerate().map(|(place, element)| one_of(&base, place, version, element)),
                    );
                }
                Ok((version, value)) => records.push(filled(base, version, value)),
            }
        }
        records.sort_by_cached_key(id_of);
        records.dedup_by_key(|record| id_of(record));
        records
    }
}

/// A record's id.
pub(super) fn id_of(record: &Record) -> String {
    record.text("id").unwrap_or_default()
}

/// What the ids of a user's entries begin with.
fn prefix(user: &str) -> String {
    format!("{}:", user.replace('%', "%25").replace(':', "%3A"))
}

/// Whose entry an id is.
pub(super) fn user_of(id: &str) -> Option<String> {
    Some(id.split_once(':')?.0.replace("%3A", ":").replace("%25", "%"))
}

fn record<const N: usize>(fields: [(&str, Value); N]) -> Record {
    Record(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

fn filled(mut base: Record, version: Option<i64>, value: Json) -> Record {
    base.0.insert("version".into(), version.map_or(Value::Null, Value::Int));
    base.0.insert("value".into(), Value::Json(value));
    base
}

fn refused(mut base: Record, why: &str, raw: Value) -> Record {
    base.0.insert("invalid".into(), Value::Text(clean(why, 200)));
    base.0.insert("raw".into(), raw);
    base
}

fn one_of(list: &Record, place: usize, version: Option<i64>, element: Json) -> Record {
    let own = ["id", "uuid", "key"].iter().find_map(|name| match element.get(name) {
        Some(Json::String(text)) if !text.is_empty() => Some(text.clone()),
        Some(Json::Number(number)) => Some(number.to_string()),
        _ => None,
    });
    let mut record = filled(list.clone(), version, element);
    let id = format!("{}#{}", id_of(list), own.unwrap_or_else(|| place.to_string()));
    record.0.insert("id".into(), Value::Text(id));
    record
}

fn trimmed(text: &str) -> &str {
    text.trim_matches(|c: char| c.is_whitespace() || c == '\u{feff}')
}

/// The document that an entry's text says, or why it says none.
fn document(text: &str) -> Result<Json, String> {
    let text = trimmed(text);
    if text.is_empty() {
        return Err("nothing".into());
    }
    serde_json::from_str::<&RawValue>(text).map_err(|error| format!("no JSON: {error}"))?;
    match exact::value(text)? {
        Value::Decimal(number) => Err(format!("the number {number}, which no JSON value keeps exactly")),
        value => Ok(value.to_json()),
    }
}

/// A document without the wrapping that says its version.
fn unwrapped(document: Json) -> (Option<i64>, Json) {
    let version = document.get("version").and_then(Json::as_i64);
    let Json::Object(mut fields) = document else { return (version, document) };
    let inner = ["data", "state", "value"].into_iter().find(|name| fields.contains_key(*name));
    match inner.filter(|_| version.is_some() && fields.len() == 2).and_then(|name| fields.remove(name)) {
        Some(inner) => (version, inner),
        None => (version, Json::Object(fields)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(user: &str, export: &Json, wanted: &str) -> Vec<Json> {
        let records = Export::parse(user, export.to_string().into_bytes()).records(&Wanted::parse(wanted));
        records.iter().map(Record::to_json).collect()
    }

    #[test]
    fn entries_become_records() {
        let export = json!({
            "savedFilters": " \u{feff}[{\"id\": 7, \"name\": \"a\"}, {\"name\": \"b\"}]\n",
            "settings": "{\"version\": 3, \"state\": {\"dark\": true}}",
            "theme": "dark",
            "other": "{}",
        });
        let all = read("17", &export, "savedFilters, settings, theme");
        assert_eq!(all.len(), 3);
        assert_eq!(all[0]["id"], "17:savedFilters");
        assert_eq!(all[0]["user_id"], 17);
        assert_eq!(all[0]["value"], json!([{"id": 7, "name": "a"}, {"name": "b"}]));
        assert_eq!((&all[1]["version"], &all[1]["value"]), (&json!(3), &json!({"dark": true})));
        assert_eq!((&all[2]["raw"], all[2].get("value")), (&json!("dark"), None));
        assert!(all[2]["invalid"].as_str().unwrap().contains("no JSON"));
        let each = read("a:b%", &json!({"items": export, "exported_at": "2026-11-20T12:00:00+01:00"}), "saved*[]");
        assert_eq!(
            each.iter().map(|row| row["id"].as_str().unwrap()).collect::<Vec<_>>(),
            ["a%3Ab%25:savedFilters#1", "a%3Ab%25:savedFilters#7"]
        );
        assert_eq!(each[1]["value"], json!({"id": 7, "name": "a"}));
        assert_eq!(each[1]["exported_at"], "2026-11-20T11:00:00Z");
        assert_eq!(user_of("a%3Ab%25:savedFilters#1").unwrap(), "a:b%");
    }

    #[test]
    fn nothing_is_lost_of_what_cannot_be_read() {
        for (bytes, why) in [(&b"{\"a\": "[..], "no JSON"), (b"[1]", "no object"), (b"\xff", "no text")] {
            let records = Export::parse("u", bytes.to_vec()).records(&Wanted::parse("*"));
            assert_eq!(records.len(), 1);
            assert!(records[0].text("invalid").unwrap().contains(why), "{records:?}");
            assert!(records[0].get("raw").is_some() && records[0].text("id").unwrap() == "u:");
        }
        for (text, why) in
            [("", "nothing"), ("NaN", "no JSON"), ("0.12345678901234567890", "exactly"), ("[1e999]", "1e999")]
        {
            let rows = read("u", &json!({"k": text}), "k");
            assert!(rows[0]["invalid"].as_str().unwrap().contains(why), "{rows:?}");
            assert_eq!(rows[0]["raw"], text);
        }
    }

    #[test]
    fn keys_are_chosen_by_pattern() {
        for (pattern, key, wanted) in [
            ("a", "a", true),
            ("a", "ab", false),
            ("*", "", true),
            ("a*", "abc", true),
            ("*c", "abc", true),
            ("a*c*e", "abcde", true),
            ("a*c*e", "abde", false),
            ("filters:*", "filters:ä", true),
        ] {
            assert_eq!(matches(pattern, key), wanted, "{pattern} {key}");
        }
    }
}
