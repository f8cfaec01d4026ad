//! What an answer says and what a request brings, by the places and templates of the plan. Pure: bytes in, values out.
//!
//! An answer is walked once for its outline and its rows, and each value once more (`exact`). Must never enter: sending,
//! and which page comes next.

use super::spot::Keyed;
use crate::{
    adapters::{
        records::exact,
        template::{Values, render},
    },
    error::{Fault, FaultKind, Result},
    model::{Key, Record, Value, text},
    plan::{Outcomes, ReadShape, Sending, WriteShape},
    ports::WriteOutcome,
};
use serde::{
    Deserialize as _, Deserializer,
    de::{DeserializeSeed, MapAccess, Visitor},
};
use serde_json::{Value as Json, value::RawValue};
use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    marker::PhantomData,
};

/// A form in which rows are read.
pub(super) trait Row: Keyed + Sized {
    /// The rows of a list.
    fn list<'de, D: Deserializer<'de>>(list: D, key: &str) -> Result<Vec<Self>, D::Error>;
}

impl Row for Record {
    fn list<'de, D: Deserializer<'de>>(list: D, _key: &str) -> Result<Vec<Self>, D::Error> {
        let rows: Vec<exact::Row> = Vec::deserialize(list)?;
        Ok(rows.into_iter().map(|exact::Row(record)| record).collect())
    }
}

/// What a page says.
#[derive(Debug)]
pub(super) struct Sheet<R> {
    pub(super) rows: Vec<R>,
    pub(super) next: Next,
    pub(super) total: Option<u64>,
    pub(super) gone: Vec<Key>,
}

/// How a page says that one follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Next {
    /// It says nothing of it.
    Unsaid,
    /// None does.
    End,
    /// One does; here or so it is found.
    More(String),
}

/// The page in this body; a sentence if it is none.
pub(super) fn sheet<R: Row>(shape: &ReadShape, key: &str, body: &[u8]) -> Result<Sheet<R>, String> {
    let text = std::str::from_utf8(body).map_err(|error| {
        let good = error.valid_up_to();
        let near = &body[good.saturating_sub(20)..body.len().min(good + 20)];
        format!("text that is no UTF-8 at byte {}, near: {}", good + 1, text::clean(&String::from_utf8_lossy(near), 40))
    })?;
    if text.trim_start().starts_with('[') {
        let rows = rows(text, key)?;
        return Ok(Sheet { rows, next: Next::Unsaid, total: None, gone: Vec::new() });
    }
    let (fields, rows) = match at_once(text, &shape.rows, key) {
        Some(whole) => whole,
        None => step_by_step(text, &shape.rows, key)?,
    };
    let next = match at(&fields, &shape.next)? {
        None => Next::Unsaid,
        Some(said) => match json(said)? {
            Json::Null | Json::Bool(false) => Next::End,
            Json::String(text) if text.is_empty() => Next::End,
            said => Next::More(Value::from_json(said).to_text()),
        },
    };
    let total = at(&fields, &shape.total)?.and_then(|total| total.parse().ok());
    let gone = match at(&fields, &shape.deleted)?.filter(|list| list.starts_with('[')) {
        Some(list) => tombs(list, key)?,
        None => Vec::new(),
    };
    Ok(Sheet { rows, next, total, gone })
}

type Outline<'a> = BTreeMap<String, &'a RawValue>;

/// The outline and the rows in one walk, where the list stands right below the answer; `None` if they are not there, or
/// anything is wrong.
fn at_once<'a, R: Row>(text: &'a str, list: &str, key: &str) -> Option<(Outline<'a>, Vec<R>)> {
    let list = list.strip_prefix('/').filter(|name| !name.contains(['/', '~']))?;
    let mut reader = serde_json::Deserializer::from_str(text);
    let (fields, rows) = reader.deserialize_map(Whole { list, key, rows: PhantomData }).ok()?;
    reader.end().ok()?;
    Some((fields, rows?))
}

/// The same in two walks: whatever is wrong is said.
fn step_by_step<'a, R: Row>(text: &'a str, list: &str, key: &str) -> Result<(Outline<'a>, Vec<R>), String> {
    let fields = outline(text)?;
    let Some(found) = at(&fields, list)?.filter(|found| found.starts_with('[')) else {
        return Err(format!("no list of rows at `{list}`"));
    };
    let rows = rows(found, key)?;
    Ok((fields, rows))
}

/// An answer with its list of rows under this name.
struct Whole<'k, R> {
    list: &'k str,
    key: &'k str,
    rows: PhantomData<R>,
}

impl<'de, R: Row> Visitor<'de> for Whole<'_, R> {
    type Value = (Outline<'de>, Option<Vec<R>>);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let (mut fields, mut rows) = (Outline::new(), None);
        while let Some(name) = map.next_key::<String>()? {
            if name == self.list {
                rows = Some(map.next_value_seed(List { key: self.key, rows: PhantomData })?);
            } else {
                fields.insert(name, map.next_value()?);
            }
        }
        Ok((fields, rows))
    }
}

struct List<'k, R> {
    key: &'k str,
    rows: PhantomData<R>,
}

impl<'de, R: Row> DeserializeSeed<'de> for List<'_, R> {
    type Value = Vec<R>;

    fn deserialize<D: Deserializer<'de>>(self, list: D) -> Result<Vec<R>, D::Error> {
        R::list(list, self.key)
    }
}

fn outline(text: &str) -> Result<Outline<'_>, String> {
    let neither = !text.trim_start().starts_with('{');
    match serde_json::from_str(text) {
        Ok(fields) => Ok(fields),
        Err(error) if neither && serde_json::from_str::<&RawValue>(text).is_ok() => {
            Err(format!("neither an object nor a list: {error}"))
        }
        Err(error) => Err(no_json(text, &error)),
    }
}

/// What stands at this pointer, as text.
fn at<'a>(fields: &Outline<'a>, pointer: &str) -> Result<Option<&'a str>, String> {
    let Some(pointer) = pointer.strip_prefix('/') else { return Ok(None) };
    let (name, rest) = pointer.find('/').map_or((pointer, ""), |slash| pointer.split_at(slash));
    let Some(here) = fields.get(&name.replace("~1", "/").replace("~0", "~")).map(|raw| raw.get()) else {
        return Ok(None);
    };
    match here {
        _ if rest.is_empty() => Ok(Some(here)),
        object if object.starts_with('{') => at(&outline(object)?, rest),
        _ => Ok(None),
    }
}

fn rows<R: Row>(list: &str, key: &str) -> Result<Vec<R>, String> {
    let mut reader = serde_json::Deserializer::from_str(list);
    let rows = R::list(&mut reader, key).and_then(|rows| reader.end().map(|()| rows));
    rows.map_err(|error| no_json(list, &error))
}

fn json(text: &str) -> Result<Json, String> {
    serde_json::from_str(text).map_err(|error| no_json(text, &error))
}

/// Keys that were deleted: themselves, or the key's field of objects.
fn tombs(list: &str, key: &str) -> Result<Vec<Key>, String> {
    let items: Vec<&RawValue> = serde_json::from_str(list).map_err(|error| no_json(list, &error))?;
    items
        .into_iter()
        .map(|item| {
            let said = match exact::value(item.get()) {
                Ok(Value::Json(Json::Object(mut fields))) => fields.remove(key).map(Value::from_json),
                Ok(Value::Json(_) | Value::Null) => None,
                Ok(value) => Some(value),
                Err(why) => return Err(format!("among the deleted keys {why}")),
            };
            let said = said.filter(|said| *said != Value::Null).map(|said| Key(said.to_text()));
            said.ok_or_else(|| format!("among the deleted keys {}, which is none", text::clean(item.get(), 60)))
        })
        .collect()
}

/// What a text is that should have been JSON.
fn no_json(text: &str, error: &serde_json::Error) -> String {
    let begins = text.trim_start();
    if begins.is_empty() {
        return "nothing at all where JSON should be".to_owned();
    }
    if begins.starts_with('<') {
        return "HTML or XML where JSON should be: a page for signing in, or another server's".to_owned();
    }
    if error.is_eof() {
        return format!("JSON that ends in the middle, after {} bytes", text.len());
    }
    if error.is_data() {
        return error.to_string();
    }
    let line: usize = text.split_inclusive('\n').take(error.line().saturating_sub(1)).map(str::len).sum();
    let about = line + error.column().saturating_sub(1);
    // The parser stops at the first letter that does not fit, or the one behind it.
    let near = text.get(about.saturating_sub(2)..).or_else(|| text.get(about.saturating_sub(3)..)).unwrap_or_default();
    let near: String = near.chars().take(12).collect();
    match ["NaN", "Infinity"].into_iter().find(|word| near.contains(word)) {
        Some(word) => {
            format!("the number `{word}`, which JSON does not have (line {}, column {})", error.line(), error.column())
        }
        None => format!("no JSON: {error}"),
    }
}

/// A request's address and the body around its list.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) method: String,
    path: String,
    before: String,
    after: String,
}

impl Outgoing {
    /// The request that the plan describes; `hole` stands for the list in its body.
    pub(super) fn new(plan: &Sending, hole: &str) -> Self {
        let body = plan.body.to_string();
        let hole = Json::from(hole).to_string();
        let (before, after) = body.split_once(&hole).unwrap_or((&body, ""));
        Self { method: plan.method.clone(), path: plan.path.clone(), before: before.into(), after: after.into() }
    }

    /// The path of this request for a set.
    pub(super) fn path(&self, set: &str) -> Result<String> {
        let values = Values::from([("path".to_owned(), set.trim_end_matches('/').to_owned())]);
        render(&self.path, &values)
    }

    /// The body with these records.
    pub(super) fn records(&self, records: &[&Record]) -> serde_json::Result<Vec<u8>> {
        self.body(records, |out, record| exact::write(out, record))
    }

    /// The body with these keys, as the endpoint wrote them in its rows: whole numbers are numbers again.
    pub(super) fn keys(&self, keys: &[Key]) -> serde_json::Result<Vec<u8>> {
        self.body(keys, |out, key| match key.0.parse::<i64>() {
            Ok(number) if number.to_string() == key.0 => serde_json::to_writer(out, &number),
            _ => serde_json::to_writer(out, &key.0),
        })
    }

    fn body<T>(
        &self,
        items: &[T],
        write: impl Fn(&mut Vec<u8>, &T) -> serde_json::Result<()>,
    ) -> serde_json::Result<Vec<u8>> {
        let mut out = Vec::with_capacity(self.before.len() + self.after.len() + 64 * items.len());
        out.extend_from_slice(self.before.as_bytes());
        out.push(b'[');
        for (place, item) in items.iter().enumerate() {
            if place > 0 {
                out.push(b',');
            }
            write(&mut out, item)?;
        }
        out.push(b']');
        out.extend_from_slice(self.after.as_bytes());
        Ok(out)
    }
}

/// What the endpoint says became of these records.
pub(super) fn outcomes(doing: &str, shape: &WriteShape, said: &Json, sent: &[Key]) -> Result<Vec<WriteOutcome>> {
    match &shape.outcomes {
        Outcomes::Each { at, .. } => {
            let said = said.pointer(at).and_then(Json::as_array).map(Vec::as_slice).unwrap_or_default();
            if said.len() != sent.len() {
                let detail = format!("the answer speaks of {} records, {} were sent", said.len(), sent.len());
                return Err(Fault::new(FaultKind::Garbage, doing).detail(detail));
            }
            said.iter().zip(sent).map(|(said, key)| outcome(doing, shape, said, key)).collect()
        }
        Outcomes::Errors { at } => refused(doing, shape, said.pointer(at), sent),
    }
}

fn outcome(doing: &str, shape: &WriteShape, said: &Json, ours: &Key) -> Result<WriteOutcome> {
    let Outcomes::Each { status, created, updated, rejected, .. } = &shape.outcomes else {
        return Err(Fault::new(FaultKind::Internal, doing));
    };
    let garbage = |what: String| Fault::new(FaultKind::Garbage, doing).detail(what);
    if let Some(theirs) = key_in(said, &shape.key).filter(|theirs| theirs != ours) {
        return Err(garbage(format!("the answer speaks of {theirs} where {ours} was sent")));
    }
    let word = said.pointer(status).map(|word| Value::from_json(word.clone()).to_text());
    let is = |words: &[String]| word.as_ref().is_some_and(|word| words.contains(word));
    if is(created) {
        Ok(WriteOutcome::Created)
    } else if is(updated) {
        Ok(WriteOutcome::Updated)
    } else if is(rejected) {
        Ok(WriteOutcome::Rejected(reason(said.pointer(&shape.error))))
    } else {
        Err(garbage(format!("the answer gives {word:?} as what became of a record")))
    }
}

/// From a list of the refused alone: entries with key and reason, or an object from key to reason.
fn refused(doing: &str, shape: &WriteShape, said: Option<&Json>, sent: &[Key]) -> Result<Vec<WriteOutcome>> {
    let garbage = |what: String| Fault::new(FaultKind::Garbage, doing).detail(what);
    let mut reasons: HashMap<Key, String> = match said {
        None | Some(Json::Null) => HashMap::new(),
        Some(Json::Object(by_key)) => by_key.iter().map(|(key, why)| (Key(key.clone()), reason(Some(why)))).collect(),
        Some(Json::Array(entries)) => entries
            .iter()
            .map(|entry| {
                let key = key_in(entry, &shape.key)
                    .ok_or_else(|| garbage("the answer refuses a record without naming its key".into()))?;
                Ok((key, reason(entry.pointer(&shape.error))))
            })
            .collect::<Result<_>>()?,
        Some(_) => return Err(garbage("the answer has no list of refused records where the plan says".into())),
    };
    let outcome = |key: &Key| match reasons.remove(key) {
        Some(why) => WriteOutcome::Rejected(why),
        None => WriteOutcome::Updated,
    };
    let outcomes = sent.iter().map(outcome).collect();
    match reasons.keys().next() {
        Some(key) => Err(garbage(format!("the answer refuses {key}, which was not sent"))),
        None => Ok(outcomes),
    }
}

fn key_in(entry: &Json, pointer: &str) -> Option<Key> {
    entry.pointer(pointer).filter(|key| !key.is_null()).map(|key| Key(Value::from_json(key.clone()).to_text()))
}

fn reason(said: Option<&Json>) -> String {
    text::clean(&said.map_or_else(String::new, |why| Value::from_json(why.clone()).to_text()), 300)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Auth, HttpPlan, Preset, RECORDS};
    use serde_json::json;
    use url::Url;

    fn plan(preset: Preset) -> HttpPlan {
        HttpPlan::new(preset, Url::parse("http://localhost").unwrap(), Auth::None)
    }

    fn read(preset: Preset, body: &[u8]) -> Result<Sheet<Record>, String> {
        sheet(&plan(preset).read, "id", body)
    }

    #[test]
    fn pages_of_both_presets() {
        let django =
            read(Preset::DjangoRest, br#"{"count": 3, "next": "http://h/?page=2", "results": [{"id": 1}]}"#).unwrap();
        assert_eq!((django.total, django.next, django.rows.len()), (Some(3), Next::More("http://h/?page=2".into()), 1));
        let workers =
            br#"{"success": true, "result": [{"id": 1}], "result_info": {"cursor": "x", "deleted": [7, {"id": "a"}]}}"#;
        let workers = read(Preset::WorkersApi, workers).unwrap();
        assert_eq!((workers.next, workers.gone), (Next::More("x".into()), vec![Key("7".into()), Key("a".into())]));
        let bare = read(Preset::WorkersApi, b" [{\"id\": 1}, {\"id\": 2}]").unwrap();
        assert_eq!((bare.next, bare.rows.len()), (Next::Unsaid, 2));
        for end in ["null", "\"\"", "false"] {
            let body = format!("{{\"next\": {end}, \"results\": []}}");
            assert_eq!(read(Preset::DjangoRest, body.as_bytes()).unwrap().next, Next::End);
        }
        let deep = ReadShape { rows: "/a~1b/c~0d".into(), ..plan(Preset::DjangoRest).read };
        assert_eq!(sheet::<Record>(&deep, "id", br#"{"a/b": {"c~d": [{"id": 1}]}}"#).unwrap().rows.len(), 1);
    }

    #[test]
    fn what_is_no_page_says_what_it_is() {
        for (body, says) in [
            (&b""[..], "nothing at all"),
            (b"  \n", "nothing at all"),
            (b"<!doctype html><title>Sign in</title>", "HTML"),
            (br#"{"results": [{"id": 1"#, "ends in the middle, after 21 bytes"),
            (br#"[{"id": 1}, {"id""#, "ends in the middle"),
            (br#"{"results": [{"id": 1, "x": NaN}]}"#, "`NaN`"),
            (br#"[{"id": 1, "x": -Infinity}]"#, "`Infinity`"),
            (b"{\"results\": [{\"id\": \"\xff\"}]}", "no UTF-8 at byte 22"),
            (b"42", "neither an object nor a list"),
            (b"{\"rows\": []}", "no list of rows at `/results`"),
            (b"{\"results\": {}}", "no list of rows"),
            (b"{\"results\": [1]}", "an object for each row"),
            (br#"{"results": [{"id": 1, "d": [1e999]}]}"#, "the field `d` holds a document with the number 1e999"),
            (b"{\"results\": [,]}", "no JSON"),
        ] {
            let why = read(Preset::DjangoRest, body).unwrap_err();
            assert!(why.contains(says), "{}: {why}", String::from_utf8_lossy(body));
        }
    }

    #[test]
    fn a_body_is_filled_in() {
        let sending = Sending {
            method: "PUT".into(),
            path: "{{ path }}/many".into(),
            body: json!({"data": {"rows": RECORDS}, "x": 1}),
        };
        let outgoing = Outgoing::new(&sending, RECORDS);
        let record = Record::from_json(json!({"id": 1, "t": "{{ records }}"})).unwrap();
        let body: Json = serde_json::from_slice(&outgoing.records(&[&record, &record]).unwrap()).unwrap();
        assert_eq!(
            body,
            json!({"data": {"rows": [{"id": 1, "t": "{{ records }}"}, {"id": 1, "t": "{{ records }}"}]}, "x": 1})
        );
        assert_eq!(outgoing.path("/api/users/").unwrap(), "/api/users/many");
        let keys = Outgoing::new(&plan(Preset::DjangoRest).delete.send, crate::plan::KEYS);
        let keys = keys.keys(&[Key("7".into()), Key("007".into())]).unwrap();
        assert_eq!(serde_json::from_slice::<Json>(&keys).unwrap(), json!({"keys": [7, "007"]}));
    }

    #[test]
    fn outcomes_by_entry_and_by_refusal() {
        let sent = ["1", "2"].map(|key| Key(key.into()));
        let each = plan(Preset::DjangoRest).write;
        let said = json!({"results": [{"key": 1, "status": "created"}, {"key": 2, "status": "rejected", "error": {"name": "no"}}]});
        let rejected = WriteOutcome::Rejected("{\"name\":\"no\"}".into());
        assert_eq!(outcomes("w", &each, &said, &sent).unwrap(), [WriteOutcome::Created, rejected.clone()]);
        let errors = WriteShape { outcomes: Outcomes::Errors { at: "/errors".into() }, ..each };
        let said = json!({"errors": [{"key": "2", "error": {"name": "no"}}]});
        assert_eq!(outcomes("w", &errors, &said, &sent).unwrap(), [WriteOutcome::Updated, rejected.clone()]);
        let said = json!({"errors": {"2": {"name": "no"}}});
        assert_eq!(outcomes("w", &errors, &said, &sent).unwrap(), [WriteOutcome::Updated, rejected]);
        assert_eq!(outcomes("w", &errors, &json!({}), &sent).unwrap(), vec![WriteOutcome::Updated; 2]);
        for wrong in [json!({"errors": {"9": "no"}}), json!({"errors": [{"error": "no"}]}), json!({"errors": 1})] {
            assert_eq!(outcomes("w", &errors, &wrong, &sent).unwrap_err().kind, FaultKind::Garbage, "{wrong}");
        }
    }
}
