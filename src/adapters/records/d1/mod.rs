//! Cloudflare's D1 over its HTTP query API.
//!
//! The answers are JSON as JavaScript writes it, whose numbers are binary: so whole numbers come as texts (`i…`), and so
//! that they can be told from texts those come with a letter as well (`t…`); what is left a number is one with a binary
//! fraction. Whole numbers and short bytes stand in the statement itself, since a parameter that is a number would be
//! rounded; only texts and binary fractions are parameters. An attempt is one request, which D1 does as a whole or not
//! at all (source: developers.cloudflare.com/d1/platform/limits and /api/resources/d1).

use super::lite::{
    LiteStore,
    engine::{Answered, Cell, Cells, Engine, Limits, Ran, Statement, Writing},
};
use crate::{
    adapters::http::{Answer, Call, Client},
    error::{Fault, FaultKind, Result},
    model::text,
    plan::Auth,
};
use async_trait::async_trait;
use reqwest::Method;
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::{Value as Json, json, value::RawValue};
use std::{
    collections::HashMap,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};
use url::Url;

/// Bytes that stand in a statement itself.
const SHORT: usize = 256;
/// Bytes of an answer that is asked for: the service holds it in memory as a whole.
const PAGE_BYTES: usize = 4 << 20;

/// Records in D1.
pub type D1Store = LiteStore<D1>;

impl D1Store {
    /// The store of this name in the plan: the database with this id, of this account, behind the API at `endpoint`
    /// (`https://api.cloudflare.com/client/v4`). Talks to nobody.
    ///
    /// # Errors
    /// `Plan` if no address can be made of these, `Internal` if this machine cannot make an HTTP client.
    pub fn new(
        name: &str,
        endpoint: &Url,
        account: &str,
        database: &str,
        token: &SecretString,
        timeout: Duration,
    ) -> Result<Self> {
        let doing = format!("make the address of the store {name}");
        let mut url = endpoint.clone();
        url.path_segments_mut()
            .map_err(|()| Fault::new(FaultKind::Plan, doing))?
            .pop_if_empty()
            .extend(["accounts", account, "d1", "database", database, "query"]);
        let auth = Auth::Token { scheme: "Bearer".into(), token: token.clone() };
        let client = Client::new(timeout, None)?;
        Ok(Self::of(D1 { name: name.to_owned(), url, auth, client, row: AtomicUsize::new(PAGE_BYTES / 100) }))
    }
}

/// A database of D1.
#[derive(Debug)]
pub struct D1 {
    name: String,
    url: Url,
    auth: Auth,
    client: Client,
    /// About how many bytes a row takes: as the last page showed.
    row: AtomicUsize,
}

#[async_trait]
impl Engine for D1 {
    fn name(&self) -> &str {
        &self.name
    }

    fn limits(&self) -> Limits {
        // 100 parameters and 100 kB a statement; a row of 2 MB has room in a request.
        Limits { cells: 100, bytes: 90_000, attempt: 1 << 20 }
    }

    fn is_writable(&self) -> bool {
        // Nobody can tell without writing, and refusing here would block a token that may.
        true
    }

    fn is_one_write(&self) -> bool {
        false
    }

    fn page(&self, limit: u32) -> u32 {
        let rows = PAGE_BYTES / self.row.load(Ordering::Relaxed).max(1);
        u32::try_from(rows).unwrap_or(u32::MAX).clamp(1, limit)
    }

    async fn read(&self, doing: &str, statement: Statement, most: Option<usize>) -> Result<Answered> {
        let columns = statement.columns.len();
        let asked = async { self.ask(doing, &rendered(statement)).await?.success(doing) };
        let answer = asked.await.inspect_err(|_| {
            // Perhaps it was too much at once: a page that is asked for again is a smaller one.
            if most.is_some() {
                let row = self.row.load(Ordering::Relaxed);
                self.row.store((row * 4).min(PAGE_BYTES), Ordering::Relaxed);
            }
        })?;
        let rows = answers(doing, &answer, &[columns])?.pop().unwrap_or_default();
        if let Some(each) = answer.body.len().checked_div(rows.len()).filter(|_| most.is_some()) {
            self.row.store(each.max(16), Ordering::Relaxed);
        }
        // What changed while the answer was made may not be in it, so the watermark lies before the asking.
        let took = jiff::SignedDuration::try_from(answer.took).unwrap_or_default();
        let as_of = answer.date().and_then(|date| date.checked_sub(took).ok());
        Ok(Answered { rows, whole: true, as_of })
    }

    async fn write(&self, _doing: &str) -> Result<Box<dyn Writing + '_>> {
        Ok(Box::new(Requests(self)))
    }
}

/// A write: each attempt is durable with its answer.
struct Requests<'d>(&'d D1);

#[async_trait]
impl Writing for Requests<'_> {
    async fn run(&mut self, doing: &str, statements: Vec<Statement>) -> Result<Ran> {
        let columns: Vec<usize> = statements.iter().map(|statement| statement.columns.len()).collect();
        let batch: Vec<Json> = statements.into_iter().map(rendered).collect();
        let answer = self.0.ask(doing, &json!({ "batch": batch })).await?;
        match refusal(&answer) {
            Some(why) => Ok(Ran::Refused(why)),
            None => answers(doing, &answer.success(doing)?, &columns).map(Ran::Done),
        }
    }

    async fn end(self: Box<Self>, _doing: &str) -> Result<()> {
        Ok(())
    }
}

impl D1 {
    async fn ask(&self, doing: &str, body: &Json) -> Result<Answer> {
        let call = Call::new(Method::POST, self.url.clone()).auth(doing, &self.auth)?.json(body);
        self.client.send(doing, call).await
    }
}

/// Why the database refused rows on their own merits, if that is what the answer says.
fn refusal(answer: &Answer) -> Option<String> {
    let said: Json = serde_json::from_slice(&answer.body).ok()?;
    let why = said.pointer("/errors/0/message")?.as_str()?;
    let merits =
        ["SQLITE_CONSTRAINT", "constraint failed", "SQLITE_MISMATCH", "datatype mismatch", "SQLITE_TOOBIG", "too big"];
    merits.iter().any(|sign| why.contains(sign)).then(|| text::clean(&answer.scrub(why), 300))
}

/// The statement as the API takes it.
fn rendered(statement: Statement) -> Json {
    let mut sql = String::new();
    if !statement.columns.is_empty() {
        let columns: Vec<String> = statement.columns.iter().enumerate().map(|(n, column)| told(column, n)).collect();
        sql = format!("SELECT {}", columns.join(", "));
    }
    let mut params: Vec<Json> = Vec::new();
    sql.push_str(&statement.filled(|sql, cell| match cell {
        Cell::Null => sql.push_str("NULL"),
        Cell::Int(number) => sql.push_str(&number.to_string()),
        Cell::Real(number) if number.is_infinite() => {
            sql.push_str(if number > 0.0 { "9e999" } else { "-9e999" });
        }
        Cell::Real(number) => {
            params.push(number.into());
            sql.push_str("CAST(? AS REAL)");
        }
        Cell::Text(text) => {
            params.push(text.into());
            sql.push('?');
        }
        Cell::Blob(bytes) if bytes.len() <= SHORT => {
            for part in ["x'", &hex::encode(bytes), "'"] {
                sql.push_str(part);
            }
        }
        Cell::Blob(bytes) => {
            params.push(hex::encode(bytes).into());
            sql.push_str("unhex(?)");
        }
    }));
    json!({ "sql": sql, "params": params })
}

/// An expression so that JSON tells what kind of value it has and rounds none.
fn told(column: &str, n: usize) -> String {
    format!(
        "CASE typeof({column}) WHEN 'integer' THEN 'i' || ({column}) WHEN 'text' THEN 't' || ({column}) \
         WHEN 'real' THEN CASE WHEN abs({column}) > 1.7976931348623157e308 THEN 'r' || ({column}) ELSE {column} END \
         ELSE {column} END AS c{n}"
    )
}

/// What the API answers.
#[derive(Deserialize)]
struct Said<'a> {
    #[serde(borrow)]
    result: Vec<Done<'a>>,
}

/// What became of a statement.
#[derive(Deserialize)]
struct Done<'a> {
    #[serde(borrow, default)]
    results: Vec<HashMap<String, &'a RawValue>>,
}

/// The rows of each statement, of which each has so many columns.
fn answers(doing: &str, answer: &Answer, columns: &[usize]) -> Result<Vec<Vec<Cells>>> {
    let garbage = |what: &str| {
        Fault::new(FaultKind::Garbage, doing).detail(format!("{what}; the answer begins: {}", answer.excerpt()))
    };
    let said: Said<'_> = serde_json::from_slice(&answer.body).map_err(|error| garbage(&error.to_string()))?;
    if said.result.len() != columns.len() {
        return Err(garbage("it does not speak of each statement"));
    }
    let row = |row: &HashMap<String, &RawValue>, count: usize| {
        let field = |n: usize| {
            let field = row.get(&format!("c{n}"));
            field
                .and_then(|said| cell(said))
                .ok_or_else(|| garbage("a row lacks a column, or has it in a form of its own"))
        };
        (0..count).map(field).collect::<Result<Cells>>()
    };
    let rows = |(done, count): (&Done<'_>, &usize)| done.results.iter().map(|one| row(one, *count)).collect();
    said.result.iter().zip(columns).map(rows).collect()
}

/// What [`told`] tells.
fn cell(said: &RawValue) -> Option<Cell> {
    let text = said.get();
    match text.as_bytes().first()? {
        b'n' => Some(Cell::Null),
        b'[' => serde_json::from_str(text).ok().map(Cell::Blob),
        b'"' => {
            let text: String = serde_json::from_str(text).ok()?;
            match (text.get(..1)?, &text[1..]) {
                ("t", text) => Some(Cell::Text(text.to_owned())),
                ("i", number) => number.parse().ok().map(Cell::Int),
                ("r", number) => {
                    Some(Cell::Real(if number.starts_with('-') { f64::NEG_INFINITY } else { f64::INFINITY }))
                }
                _ => None,
            }
        }
        // The usual reader would take a long number for one of its neighbours.
        _ => text.parse().ok().map(Cell::Real),
    }
}
