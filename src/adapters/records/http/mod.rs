//! Records behind a REST endpoint: numbered pages, bulk upsert, delete.
//!
//! `GET {path}?page=N&page_size=M[&updated_since=T][&ids=1,2]`, `POST {path}bulk/`, `POST {path}delete/`. Pages are
//! followed by their number: the host in an answer's `next` is never trusted. Where to read on is `spot`'s affair.
//!
//! A write's `Idempotency-Key` is the SHA-256 of its body with something new behind it: it protects one call from being
//! performed twice on its way. The body's hash alone would let a server answer a later, equal write from its memory,
//! although the rows were changed or deleted in between. Repeating a call is harmless anyway, since it is an upsert.

mod spot;

use crate::{
    adapters::http::{Answer, Call, Client, Payload},
    error::{Fault, FaultKind, Result},
    model::{Digest, Field, Key, Record, Timestamp, Value, text},
    plan::{Auth, Pagination},
    ports::{Cursor, Page, RecordStore, SetInfo, SetRef, WriteOutcome},
};
use async_trait::async_trait;
use bytes::Bytes;
use reqwest::{Method, StatusCode, header::HeaderValue};
use serde_json::{Value as Json, json};
use spot::{PageSpot, Spot};
use std::{cmp::Ordering, collections::HashSet, time::Duration};
use url::Url;
use uuid::Uuid;

/// Keys in one request: an address must stay short enough for every server on the way.
const KEYS_AT_ONCE: usize = 100;

/// A REST endpoint.
#[derive(Debug)]
pub struct HttpStore {
    name: String,
    endpoint: Url,
    auth: Auth,
    pagination: Pagination,
    client: Client,
}

/// Rows as an endpoint gave them.
struct Rows {
    records: Vec<Record>,
    total: Option<u64>,
    /// The endpoint says that there are more pages.
    more: bool,
    /// A plain array: everything at once.
    whole: bool,
    as_of: Option<Timestamp>,
}

impl HttpStore {
    /// The store of this name in the plan. Connects to nothing yet.
    ///
    /// # Errors
    /// If no HTTP client can be made on this machine.
    pub fn new(name: &str, endpoint: Url, auth: Auth, pagination: Pagination, timeout: Duration) -> Result<Self> {
        Ok(Self { name: name.to_owned(), endpoint, auth, pagination, client: Client::new(timeout, None)? })
    }

    fn url(&self, doing: &str, path: &str, tail: &str) -> Result<Url> {
        let slash = if tail.is_empty() || path.ends_with('/') { "" } else { "/" };
        let base = self.endpoint.as_str().trim_end_matches('/');
        Url::parse(&format!("{base}/{}{slash}{tail}", path.trim_start_matches('/')))
            .map_err(|error| Fault::new(FaultKind::Plan, doing).source(error))
    }

    async fn get(&self, doing: &str, set: &SetRef, query: &[(&str, String)]) -> Result<Answer> {
        let mut url = self.url(doing, &set.name, "")?;
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        self.client.send(doing, Call::new(Method::GET, url).auth(doing, &self.auth)?).await
    }

    async fn post(&self, doing: &str, set: &SetRef, tail: &str, body: &Json) -> Result<Json> {
        let body = Bytes::from(body.to_string());
        let key = HeaderValue::from_str(&format!("{}-{}", Digest::of(&body), Uuid::new_v4().simple()))
            .map_err(|error| Fault::new(FaultKind::Internal, doing).source(error))?;
        let call = Call::new(Method::POST, self.url(doing, &set.name, tail)?)
            .auth(doing, &self.auth)?
            .header("idempotency-key", key)
            .payload(Payload::Json(body));
        self.client.send(doing, call).await?.success(doing)?.json(doing)
    }

    /// One page from `from`, of all rows or of those that `filter` asks for.
    async fn walk(
        &self,
        doing: &str,
        set: &SetRef,
        filter: &[(&str, String)],
        from: &Cursor,
        limit: u32,
    ) -> Result<Page> {
        let limit = limit.max(1);
        let spot = match (Spot::parse(from, limit)?, self.pagination) {
            (Spot::After(key), _) => return self.slice(doing, set, filter, Some(&key), limit).await,
            (Spot::Page(_), Pagination::None) => return self.slice(doing, set, filter, None, limit).await,
            (Spot::Page(spot), Pagination::PageNumber) => spot.within(limit),
        };
        let mut query = vec![("page", spot.page.to_string()), ("page_size", spot.asked.to_string())];
        query.extend_from_slice(filter);
        let answer = self.get(doing, set, &query).await?;
        if answer.status == StatusCode::NOT_FOUND && spot.page > 1 {
            // Behind the end. If rows should be here, some were deleted meanwhile: the page before knows how many.
            let rows_before = (spot.page - 1) * spot.given;
            let vanished = spot.count.is_some_and(|count| count > rows_before);
            let next = vanished.then(|| Spot::Page(spot.back(1)).cursor());
            return Ok(Page { next, ..Page::default() });
        }
        let rows = rows(doing, &answer.success(doing)?)?;
        if rows.whole {
            return Ok(cut(rows, &set.key, None, limit));
        }
        if rows.more && rows.records.is_empty() {
            return Err(Fault::new(FaultKind::Garbage, doing).detail("an empty page that says that more follow"));
        }
        let next = following(spot, &rows).map(|spot| Spot::Page(spot).cursor());
        Ok(Page { records: rows.records, next, total: rows.total, as_of: rows.as_of, gone: Vec::new() })
    }

    /// A part of an endpoint that always answers with everything.
    async fn slice(
        &self,
        doing: &str,
        set: &SetRef,
        filter: &[(&str, String)],
        after: Option<&Value>,
        limit: u32,
    ) -> Result<Page> {
        let rows = rows(doing, &self.get(doing, set, filter).await?.success(doing)?)?;
        Ok(cut(rows, &set.key, after, limit))
    }
}

/// The page after this one, if there is one.
fn following(spot: PageSpot, rows: &Rows) -> Option<PageSpot> {
    let came = u64::try_from(rows.records.len()).unwrap_or(u64::MAX);
    let given = if rows.more { came.max(1) } else { spot.given };
    let here = PageSpot { given, count: rows.total, ..spot };
    match (spot.count, rows.total) {
        (Some(was), Some(now)) if now < was && spot.page > 1 => Some(here.back(was - now)),
        _ if rows.more => Some(PageSpot { page: spot.page + 1, ..here }),
        _ => None,
    }
}

/// The next `limit` rows behind `after`, in key order.
fn cut(mut rows: Rows, key: &str, after: Option<&Value>, limit: u32) -> Page {
    let total = rows.total.or_else(|| u64::try_from(rows.records.len()).ok());
    let of = |record: &Record| record.get(key).cloned().unwrap_or(Value::Null);
    rows.records.sort_by(|a, b| by_key(&of(a), &of(b)));
    if let Some(after) = after {
        rows.records.retain(|record| by_key(&of(record), after) == Ordering::Greater);
    }
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = rows.records.len() > limit;
    rows.records.truncate(limit);
    let next = rows.records.last().filter(|_| more).map(|last| Spot::After(of(last)).cursor());
    Page { records: rows.records, next, total, as_of: rows.as_of, gone: Vec::new() }
}

/// Whole numbers in their order, everything else by its text, numbers first.
fn by_key(a: &Value, b: &Value) -> Ordering {
    match (a, b) {
        (Value::Int(a), Value::Int(b)) => a.cmp(b),
        (Value::Int(_), _) => Ordering::Less,
        (_, Value::Int(_)) => Ordering::Greater,
        (a, b) => a.to_text().cmp(&b.to_text()),
    }
}

/// The rows in an answer.
fn rows(doing: &str, answer: &Answer) -> Result<Rows> {
    let shape =
        |what: &str| Fault::new(FaultKind::Garbage, doing).detail(format!("{what}; it begins: {}", answer.excerpt()));
    let (items, total, more, whole) = match answer.json(doing)? {
        Json::Array(items) => (items, None, false, true),
        Json::Object(mut fields) => {
            let Some(Json::Array(items)) = fields.remove("results") else {
                return Err(shape("the answer has no list `results`"));
            };
            let more = fields.get("next").is_some_and(|next| !next.is_null());
            (items, fields.get("count").and_then(Json::as_u64), more, false)
        }
        _ => return Err(shape("the answer is neither a page nor a list")),
    };
    let records = items
        .into_iter()
        .map(|item| Record::from_json(item).ok_or_else(|| shape("a row is no object")))
        .collect::<Result<Vec<_>>>()?;
    // A row that changed while the answer was made may not be in it, so the watermark lies before the asking.
    let as_of = answer.date().and_then(|date| date.checked_sub(jiff::SignedDuration::try_from(answer.took).ok()?).ok());
    Ok(Rows { records, total, more, whole, as_of })
}

/// A key as the endpoint wrote it in its rows: whole numbers are numbers again.
fn key_json(key: &Key) -> Json {
    match key.0.parse::<i64>() {
        Ok(number) if number.to_string() == key.0 => number.into(),
        _ => key.0.clone().into(),
    }
}

/// What the endpoint says became of a record.
fn outcome(doing: &str, said: &Json, key: Option<&Key>) -> Result<WriteOutcome> {
    let garbage = |what: String| Fault::new(FaultKind::Garbage, doing).detail(what);
    if let (Some(theirs), Some(ours)) = (said.get("key").filter(|key| !key.is_null()), key) {
        let theirs = Value::from_json(theirs.clone()).to_text();
        if theirs != ours.0 {
            return Err(garbage(format!("the answer speaks of {theirs} where {ours} was sent")));
        }
    }
    match said.get("status").and_then(Json::as_str) {
        Some("created") => Ok(WriteOutcome::Created),
        Some("updated") => Ok(WriteOutcome::Updated),
        Some("rejected") => {
            let why = said.get("error").map_or_else(String::new, |why| Value::from_json(why.clone()).to_text());
            Ok(WriteOutcome::Rejected(text::clean(&why, 300)))
        }
        other => Err(garbage(format!("the answer gives {other:?} as what became of a record"))),
    }
}

#[async_trait]
impl RecordStore for HttpStore {
    async fn describe(&self, set: &SetRef) -> Result<SetInfo> {
        let doing = format!("look at {} in {}", set.name, self.name);
        let page = self.walk(&doing, set, &[], &Cursor::START, 1).await?;
        let fields = page.records.first().map(|record| record.0.keys().map(Field::named).collect()).unwrap_or_default();
        // Nobody can tell without writing, and refusing here would block an endpoint that takes writes.
        Ok(SetInfo { count: page.total, fields, writable: true })
    }

    async fn read(&self, set: &SetRef, from: &Cursor, limit: u32) -> Result<Page> {
        let at = from.0.as_deref().unwrap_or("the start");
        self.walk(&format!("read {} from {} at {at}", set.name, self.name), set, &[], from, limit).await
    }

    async fn changes(&self, set: &SetRef, since: Timestamp, from: &Cursor, limit: u32) -> Result<Page> {
        let doing = format!("read changes since {since} of {} from {}", set.name, self.name);
        if set.updated.is_none() {
            return Err(Fault::new(FaultKind::Plan, doing).detail("the dataset names no `updated` field"));
        }
        let page = self.walk(&doing, set, &[("updated_since", since.to_string())], from, limit).await?;
        // The endpoint counted what the filter left, not the whole set.
        Ok(Page { total: None, ..page })
    }

    async fn fetch(&self, set: &SetRef, keys: &[Key]) -> Result<Vec<Record>> {
        let mut found = Vec::with_capacity(keys.len());
        for keys in keys.chunks(KEYS_AT_ONCE) {
            let doing = format!("fetch {} records of {} from {}", keys.len(), set.name, self.name);
            let ids = keys.iter().map(|key| key.0.as_str()).collect::<Vec<_>>().join(",");
            let wanted: HashSet<&Key> = keys.iter().collect();
            let limit = u32::try_from(keys.len()).unwrap_or(u32::MAX);
            let mut from = Cursor::START;
            loop {
                let page = self.walk(&doing, set, &[("ids", ids.clone())], &from, limit).await?;
                // An endpoint that does not know the filter gives others as well.
                found.extend(
                    page.records.into_iter().filter(|r| r.key(&set.key).is_some_and(|key| wanted.contains(&key))),
                );
                match page.next {
                    Some(next) => from = next,
                    None => break,
                }
            }
        }
        Ok(found)
    }

    async fn write(&self, set: &SetRef, records: &[Record]) -> Result<Vec<WriteOutcome>> {
        if records.is_empty() {
            return Ok(Vec::new());
        }
        let doing = format!("write {} records to {} in {}", records.len(), set.name, self.name);
        let body = json!({ "records": records.iter().map(Record::to_json).collect::<Vec<_>>() });
        let answer = self.post(&doing, set, "bulk/", &body).await?;
        let said = answer.get("results").and_then(Json::as_array).map(Vec::as_slice).unwrap_or_default();
        if said.len() != records.len() {
            let detail = format!("the answer speaks of {} records, {} were sent", said.len(), records.len());
            return Err(Fault::new(FaultKind::Garbage, doing).detail(detail));
        }
        said.iter().zip(records).map(|(said, record)| outcome(&doing, said, record.key(&set.key).as_ref())).collect()
    }

    async fn delete(&self, set: &SetRef, keys: &[Key]) -> Result<()> {
        if keys.is_empty() {
            return Ok(());
        }
        let doing = format!("delete {} records of {} in {}", keys.len(), set.name, self.name);
        let body = json!({ "keys": keys.iter().map(key_json).collect::<Vec<_>>() });
        let answer = self.post(&doing, set, "delete/", &body).await?;
        match answer.get("deleted").and_then(Json::as_u64) {
            Some(_) => Ok(()),
            None => Err(Fault::new(FaultKind::Garbage, doing).detail("the answer does not say how many were deleted")),
        }
    }
}
