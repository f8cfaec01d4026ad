//! The extraction endpoints, and the two that write back: paged reading as Django REST does it, bulk upsert with an
//! idempotency key, and delete. They need the migration token and work in maintenance too.

use super::{
    super::{
        app::{Answer, Refusal, json_body},
        database::{now_text, time_text},
    },
    Legacy, Shared,
    tables::{Bound, Column, Table, fit},
};
use axum::{
    Json, Router,
    body::Bytes,
    extract::{Path, Query, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use sqlx::{AssertSqlSafe, Sqlite, Transaction, sqlite::SqliteRow};
use std::{fmt::Write as _, sync::Arc};

/// Rows in a page if the caller does not say.
const PAGE: u64 = 100;
/// Most rows in a page.
const MOST: u64 = 1000;

pub(super) fn router() -> Router<Arc<Legacy>> {
    Router::new()
        .route("/api/migration/{set}/", get(page))
        .route("/api/migration/{set}/bulk/", post(bulk))
        .route("/api/migration/{set}/delete/", post(delete))
        .layer(axum::extract::DefaultBodyLimit::max(64 << 20))
}

#[derive(Deserialize)]
struct Wanted {
    page: Option<u64>,
    page_size: Option<u64>,
    updated_since: Option<jiff::Timestamp>,
    ids: Option<String>,
}

fn table(name: &str) -> Result<Table, Refusal> {
    Table::named(name).ok_or_else(Refusal::not_found)
}

async fn page(
    State(legacy): Shared,
    Path(set): Path<String>,
    Query(wanted): Query<Wanted>,
    headers: HeaderMap,
) -> Answer<Response> {
    let table = table(&set)?;
    let size = wanted.page_size.unwrap_or(PAGE).clamp(1, MOST);
    let number = wanted.page.unwrap_or(1);
    let mut condition = String::from("1 = 1");
    if let Some(since) = wanted.updated_since {
        // Writing to a String cannot fail; the text holds digits and separators only.
        let _infallible = write!(condition, " AND updated_at >= '{}'", time_text(since));
    }
    if let Some(ids) = &wanted.ids {
        let ids: Result<Vec<i64>, _> = ids.split(',').filter(|id| !id.is_empty()).map(str::parse).collect();
        let ids =
            ids.map_err(|_| Refusal::new(StatusCode::BAD_REQUEST, "ids are whole numbers with commas between"))?;
        let ids = ids.iter().map(i64::to_string).collect::<Vec<_>>().join(",");
        let _infallible = write!(condition, " AND id IN ({ids})");
    }
    let sql = format!("SELECT COUNT(*) FROM {} WHERE {condition}", table.name);
    let count: i64 = sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&legacy.pool).await?;
    let count = u64::try_from(count).unwrap_or(0);
    let pages = count.div_ceil(size).max(1);
    if number == 0 || number > pages {
        return Err(Refusal::new(StatusCode::NOT_FOUND, "Invalid page."));
    }
    let offset = (number - 1) * size;
    let sql = format!("SELECT * FROM {} WHERE {condition} ORDER BY id LIMIT {size} OFFSET {offset}", table.name);
    let rows: Vec<SqliteRow> = sqlx::query(AssertSqlSafe(sql)).fetch_all(&legacy.pool).await?;
    let results: Vec<Value> = rows.iter().map(|row| table.row(row)).collect();
    let link = |to: u64| {
        let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or("localhost");
        let mut url = format!("http://{host}/api/migration/{set}/?page={to}&page_size={size}");
        if let Some(since) = wanted.updated_since {
            let _infallible = write!(url, "&updated_since={}", time_text(since));
        }
        if let Some(ids) = &wanted.ids {
            let _infallible = write!(url, "&ids={ids}");
        }
        url
    };
    let next = (number < pages).then(|| link(number + 1));
    let previous = (number > 1).then(|| link(number - 1));
    Ok(Json(json!({ "count": count, "next": next, "previous": previous, "results": results })).into_response())
}

#[derive(Deserialize)]
struct Bulk {
    records: Vec<Map<String, Value>>,
}

#[derive(Deserialize)]
struct Keys {
    keys: Vec<Value>,
}

async fn bulk(State(legacy): Shared, Path(set): Path<String>, headers: HeaderMap, body: Bytes) -> Answer<Response> {
    let table = table(&set)?;
    let bulk: Bulk = json_body(&body)?;
    let key = headers.get("idempotency-key").and_then(|key| key.to_str().ok());
    let key = key.map(|key| format!("{set}:{key}:{}", crate::model::Digest::of(&body)));
    let mut tx = legacy.pool.begin_with("BEGIN IMMEDIATE").await?;
    if let Some(key) = &key {
        let known: Option<String> =
            sqlx::query_scalar("SELECT answer FROM answers WHERE key = $1").bind(key).fetch_optional(&mut *tx).await?;
        if let Some(answer) = known {
            return Ok(([(header::CONTENT_TYPE, "application/json")], answer).into_response());
        }
    }
    let mut results = Vec::with_capacity(bulk.records.len());
    for record in &bulk.records {
        let id = record.get("id").cloned().unwrap_or(Value::Null);
        results.push(match upsert(&mut tx, table, record).await {
            Ok(true) => json!({ "key": id, "status": "updated" }),
            Ok(false) => json!({ "key": id, "status": "created" }),
            Err(reason) => json!({ "key": id, "status": "rejected", "error": reason }),
        });
    }
    let answer = json!({ "results": results }).to_string();
    if let Some(key) = key {
        let sql = "INSERT INTO answers (key, answer) VALUES ($1, $2)";
        sqlx::query(sql).bind(key).bind(&answer).execute(&mut *tx).await?;
    }
    tx.commit().await?;
    Ok(([(header::CONTENT_TYPE, "application/json")], answer).into_response())
}

/// Writes one record; true if it was there before. A record the database refuses does not hurt the others.
async fn upsert(tx: &mut Transaction<'_, Sqlite>, table: Table, record: &Map<String, Value>) -> Result<bool, String> {
    let mut fields = fit(table, record)?;
    let id = fields[0].1.clone();
    let sql = format!("SELECT 1 FROM {} WHERE id = $1", table.name);
    let there = id.to(sqlx::query(AssertSqlSafe(sql))).fetch_optional(&mut **tx).await;
    let there = there.map_err(|error| error.to_string())?.is_some();
    let sql = if there {
        let sets: Vec<String> = fields[1..].iter().enumerate().map(|(i, (n, _))| format!("{n} = ${}", i + 2)).collect();
        if sets.is_empty() {
            return Ok(true);
        }
        format!("UPDATE {} SET {} WHERE id = $1", table.name, sets.join(", "))
    } else {
        complete(table, &mut fields);
        let names: Vec<&str> = fields.iter().map(|(name, _)| *name).collect();
        let places: Vec<String> = (1..=fields.len()).map(|i| format!("${i}")).collect();
        format!("INSERT INTO {} ({}) VALUES ({})", table.name, names.join(", "), places.join(", "))
    };
    let query = fields.iter().fold(sqlx::query(AssertSqlSafe(sql)), |query, (_, value)| value.to(query));
    query.execute(&mut **tx).await.map(|_| there).map_err(|error| error.to_string())
}

/// Gives a new row what the caller left out.
fn complete(table: Table, fields: &mut Vec<(&'static str, Bound)>) {
    for (name, column) in table.columns {
        if fields.iter().any(|(given, _)| given == name) {
            continue;
        }
        let value = match (*name, column) {
            ("created_at" | "updated_at", _) => Bound::Text(now_text()),
            ("file_path", _) => Bound::Text(format!("uploads/restored/{}", uuid::Uuid::new_v4().simple())),
            (_, Column::Int) => Bound::Int(0),
            (_, Column::Text) => Bound::Text(String::new()),
            (_, Column::Json) => Bound::Text("{}".to_owned()),
        };
        fields.push((name, value));
    }
}

async fn delete(State(legacy): Shared, Path(set): Path<String>, body: Bytes) -> Answer<Response> {
    let table = table(&set)?;
    let keys: Keys = json_body(&body)?;
    let mut tx = legacy.pool.begin_with("BEGIN IMMEDIATE").await?;
    let mut deleted = 0;
    for key in &keys.keys {
        // A key may come as a number or as its text; one that is neither was never here.
        let id = key.as_i64().or_else(|| key.as_str().and_then(|text| text.parse().ok()));
        let Some(id) = id else { continue };
        let sql = format!("DELETE FROM {} WHERE id = $1", table.name);
        deleted += sqlx::query(AssertSqlSafe(sql)).bind(id).execute(&mut *tx).await?.rows_affected();
    }
    tx.commit().await?;
    Ok(Json(json!({ "deleted": deleted })).into_response())
}
