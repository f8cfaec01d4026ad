//! A REST endpoint as Django's is: numbered pages, bulk upsert, delete, and some bad manners on other paths.

use super::serve;
use axum::{
    Json, Router,
    body::Bytes,
    extract::{Query, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde_json::{Map, Value, json};
use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex},
};
use url::Url;

pub(crate) const TOKEN: &str = "s3cr3t-t0ken";
/// The server's own limit of a page.
const MOST: usize = 10;

type Rows = BTreeMap<i64, Map<String, Value>>;

#[derive(Clone, Default)]
pub(crate) struct Legacy {
    pub(crate) rows: Arc<Mutex<Rows>>,
    pub(crate) keys: Arc<Mutex<Vec<String>>>,
}

impl Legacy {
    pub(crate) async fn start() -> (Self, Url) {
        let legacy = Self::default();
        let router = Router::new()
            .route("/api/items/", get(page))
            .route("/api/items/bulk/", post(bulk))
            .route("/api/items/delete/", post(delete))
            .route("/api/plain/", get(plain))
            .with_state(legacy.clone());
        let at = serve(router).await;
        (legacy, Url::parse(&format!("http://{at}")).unwrap())
    }
}

fn refused(headers: &HeaderMap) -> Option<Response> {
    let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let wanted = format!("Token {TOKEN}");
    (given != wanted).then(|| (StatusCode::UNAUTHORIZED, format!("who is `{given}`?")).into_response())
}

fn selected(rows: &Rows, query: &HashMap<String, String>) -> Vec<Value> {
    let ids: Option<Vec<i64>> = query.get("ids").map(|ids| ids.split(',').filter_map(|id| id.parse().ok()).collect());
    let since = query.get("updated_since");
    rows.iter()
        .filter(|(id, _)| ids.as_ref().is_none_or(|ids| ids.contains(id)))
        .filter(|(_, row)| since.is_none_or(|since| row.get("updated_at").and_then(Value::as_str) >= Some(since)))
        .map(|(_, row)| row.clone().into())
        .collect()
}

async fn page(
    State(legacy): State<Legacy>,
    Query(query): Query<HashMap<String, String>>,
    headers: HeaderMap,
) -> Response {
    if let Some(refused) = refused(&headers) {
        return refused;
    }
    let rows = selected(&legacy.rows.lock().unwrap(), &query);
    let number = |name: &str, or: usize| query.get(name).and_then(|text| text.parse().ok()).unwrap_or(or);
    let (page, size) = (number("page", 1), number("page_size", MOST).clamp(1, MOST));
    let pages = rows.len().div_ceil(size).max(1);
    if page == 0 || page > pages {
        return (StatusCode::NOT_FOUND, Json(json!({"detail": "Invalid page."}))).into_response();
    }
    let next = (page < pages).then(|| format!("http://evil.example/?page={}", page + 1));
    let results: Vec<_> = rows.iter().skip((page - 1) * size).take(size).collect();
    Json(json!({"count": rows.len(), "next": next, "previous": null, "results": results})).into_response()
}

async fn plain(State(legacy): State<Legacy>, Query(query): Query<HashMap<String, String>>) -> Response {
    let mut rows = selected(&legacy.rows.lock().unwrap(), &query);
    rows.reverse();
    Json(rows).into_response()
}

async fn bulk(State(legacy): State<Legacy>, headers: HeaderMap, body: Bytes) -> Response {
    if let Some(refused) = refused(&headers) {
        return refused;
    }
    let key = headers["idempotency-key"].to_str().unwrap().to_owned();
    legacy.keys.lock().unwrap().push(key);
    let body: Value = serde_json::from_slice(&body).unwrap();
    let mut rows = legacy.rows.lock().unwrap();
    let results: Vec<Value> = body["records"]
        .as_array()
        .unwrap()
        .iter()
        .map(|record| {
            let record = record.as_object().unwrap();
            let id = record["id"].as_i64().unwrap();
            let there = rows.contains_key(&id);
            if record.get("name").map_or(!there, Value::is_null) {
                return json!({"key": id, "status": "rejected", "error": "name may not be null"});
            }
            rows.entry(id).or_default().extend(record.clone());
            json!({"key": id, "status": if there { "updated" } else { "created" }})
        })
        .collect();
    Json(json!({ "results": results })).into_response()
}

async fn delete(State(legacy): State<Legacy>, headers: HeaderMap, Json(body): Json<Value>) -> Response {
    if let Some(refused) = refused(&headers) {
        return refused;
    }
    let mut rows = legacy.rows.lock().unwrap();
    let deleted =
        body["keys"].as_array().unwrap().iter().filter(|key| rows.remove(&key.as_i64().unwrap()).is_some()).count();
    Json(json!({ "deleted": deleted })).into_response()
}
