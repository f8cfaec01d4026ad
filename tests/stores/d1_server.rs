//! A server shaped like Cloudflare's D1 over a SQLite file: its query API, its limits, and numbers as JavaScript has them.

use axum::{
    Json, Router,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse as _, Response},
    routing::post,
};
use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};
use sqlx::{
    AssertSqlSafe, Column as _, ConnectOptions as _, Row as _, SqliteConnection, TypeInfo as _, ValueRef as _,
    sqlite::{SqliteConnectOptions, SqliteRow},
};
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};
use tempfile::TempDir;

/// Parameters of a statement, bytes of a statement, bytes of a value.
const LIMITS: (usize, usize, usize) = (100, 100_000, 2_000_000);

pub(crate) const TOKEN: &str = "token-of-d1";
pub(crate) const PATH: &str = "/client/v4/accounts/acc/d1/database/db/query";

/// A running server.
pub(crate) struct Server {
    folder: TempDir,
    pub(crate) at: SocketAddr,
    state: Arc<Shared>,
    task: tokio::task::JoinHandle<()>,
}

/// One statement, or several.
#[derive(Deserialize)]
struct Asked {
    #[serde(default)]
    batch: Vec<Statement>,
    sql: Option<String>,
    #[serde(default)]
    params: Vec<Box<RawValue>>,
}

#[derive(Deserialize)]
struct Statement {
    sql: String,
    #[serde(default)]
    params: Vec<Box<RawValue>>,
}

struct Shared {
    path: PathBuf,
    asked: AtomicUsize,
    /// What it answers to the next requests instead; `None`: it does what is asked and then loses the answer.
    trouble: Mutex<Vec<Option<(u16, &'static str, Value)>>>,
}

impl Server {
    pub(crate) async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("d1.db");
        let options = SqliteConnectOptions::new().filename(&path).create_if_missing(true);
        drop(options.connect().await.unwrap());
        let state = Arc::new(Shared { path, asked: AtomicUsize::new(0), trouble: Mutex::default() });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let app = Router::new().route(PATH, post(query)).with_state(Arc::clone(&state));
        let app = app.layer(axum::extract::DefaultBodyLimit::disable());
        let task = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { folder, at, state, task }
    }

    pub(crate) fn endpoint(&self) -> url::Url {
        format!("http://{}/client/v4", self.at).parse().unwrap()
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.folder.path().join("d1.db")
    }

    /// Requests so far.
    pub(crate) fn asked(&self) -> usize {
        self.state.asked.load(Ordering::SeqCst)
    }

    /// Answers the next request with this status, header `retry-after` and body.
    pub(crate) fn answer(&self, status: u16, retry_after: &'static str, body: Value) {
        self.state.trouble.lock().unwrap().push(Some((status, retry_after, body)));
    }

    /// Does what the next request asks and then answers as a gateway that lost the answer.
    pub(crate) fn lose_an_answer(&self) {
        self.state.trouble.lock().unwrap().push(None);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn query(State(state): State<Arc<Shared>>, headers: HeaderMap, asked: String) -> Response {
    state.asked.fetch_add(1, Ordering::SeqCst);
    if headers.get("authorization").is_none_or(|said| said != &format!("Bearer {TOKEN}")) {
        return fail(401, 10000, "Authentication error");
    }
    let trouble = state.trouble.lock().unwrap().pop();
    if let Some(Some((status, retry, body))) = &trouble {
        return (StatusCode::from_u16(*status).unwrap(), [("retry-after", *retry)], Json(body.clone())).into_response();
    }
    let statements = match serde_json::from_str(&asked) {
        Ok(Asked { sql: Some(sql), params, .. }) => vec![Statement { sql, params }],
        Ok(Asked { batch, .. }) => batch,
        Err(error) => return fail(400, 7400, &error.to_string()),
    };
    let done = run(&state.path, &statements).await;
    if trouble.is_some() {
        return fail(502, 7500, "the answer was lost");
    }
    match done {
        Ok(results) => {
            Json(json!({ "success": true, "errors": [], "messages": [], "result": results })).into_response()
        }
        Err(why) => fail(400, 7500, &why),
    }
}

fn fail(status: u16, code: u32, why: &str) -> Response {
    let body = json!({ "success": false, "errors": [{ "code": code, "message": why }], "messages": [], "result": [] });
    (StatusCode::from_u16(status).unwrap(), Json(body)).into_response()
}

/// All of the statements, or none.
async fn run(path: &Path, statements: &[Statement]) -> Result<Vec<Value>, String> {
    let options = SqliteConnectOptions::new().filename(path).foreign_keys(true).pragma("busy_timeout", "60000");
    let mut connection = options.connect().await.map_err(|error| error.to_string())?;
    let begin = |sql: &'static str| sqlx::query(sql);
    begin("BEGIN IMMEDIATE").execute(&mut connection).await.map_err(|error| error.to_string())?;
    let mut results = Vec::new();
    for statement in statements {
        // Without a commit the connection takes everything back.
        results.push(one(&mut connection, statement).await?);
    }
    begin("COMMIT").execute(&mut connection).await.map_err(|error| error.to_string())?;
    Ok(results)
}

async fn one(connection: &mut SqliteConnection, statement: &Statement) -> Result<Value, String> {
    let Statement { sql, params } = statement;
    if params.len() > LIMITS.0 {
        return Err("D1_ERROR: too many SQL variables: SQLITE_ERROR".into());
    }
    if sql.len() > LIMITS.1 {
        return Err("D1_ERROR: statement too long: SQLITE_TOOBIG".into());
    }
    let mut query = sqlx::query(AssertSqlSafe(sql.to_owned()));
    for param in params {
        query = match param.get().as_bytes()[0] {
            b'"' => match serde_json::from_str::<String>(param.get()).unwrap() {
                text if text.len() > LIMITS.2 => return Err("D1_ERROR: string or blob too big: SQLITE_TOOBIG".into()),
                text => query.bind(text),
            },
            b'n' => query.bind(None::<String>),
            // A number of JavaScript's, read as it reads them.
            b'-' | b'0'..=b'9' => query.bind(param.get().parse::<f64>().unwrap()),
            _ => return Err(format!("D1_TYPE_ERROR: {param}")),
        };
    }
    let rows = query.fetch_all(connection).await.map_err(|error| {
        let constraint = error.as_database_error().is_some_and(|error| error.message().contains("constraint failed"));
        format!("D1_ERROR: {error}: {}", if constraint { "SQLITE_CONSTRAINT" } else { "SQLITE_ERROR" })
    })?;
    let rows: Vec<Value> = rows.iter().map(row).collect();
    Ok(json!({ "success": true, "results": rows, "meta": { "duration": 0.1 } }))
}

fn row(row: &SqliteRow) -> Value {
    let cell = |at: usize| {
        let raw = row.try_get_raw(at).unwrap();
        match raw.type_info().name() {
            _ if raw.is_null() => Value::Null,
            // JavaScript has no other numbers.
            #[expect(clippy::cast_precision_loss, reason = "that is what it does")]
            "INTEGER" => script(row.get::<i64, _>(at) as f64),
            "REAL" => script(row.get(at)),
            "TEXT" => row.get::<String, _>(at).into(),
            _ => row.get::<Vec<u8>, _>(at).into(),
        }
    };
    row.columns()
        .iter()
        .map(|column| (column.name().to_owned(), cell(column.ordinal())))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

/// A number as JavaScript writes it.
fn script(number: f64) -> Value {
    if !number.is_finite() {
        return Value::Null;
    }
    #[expect(clippy::cast_possible_truncation, reason = "it has no fraction")]
    if number.fract() == 0.0 && number.abs() < 1e15 { json!(number as i64) } else { json!(number) }
}
