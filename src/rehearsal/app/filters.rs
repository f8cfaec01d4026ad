//! Saved filters, and what they are for: the lines of a file that match.

use super::{super::database::now_text, Answer, Refusal, Serving, Shared, User, files, json_body};
use axum::{
    Extension, Json,
    body::Bytes,
    extract::{Path, Query, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use serde_json::{Value, json};
use sqlx::{Row, sqlite::SqliteRow};

/// Most lines in one answer.
const MOST_LINES: usize = 200;

#[derive(Deserialize)]
pub(super) struct NewFilter {
    name: String,
    #[serde(default)]
    definition: Value,
}

#[derive(Deserialize)]
pub(super) struct Wanted {
    /// Apply to this file.
    file: Option<i64>,
    /// Keep lines with this text.
    #[serde(default)]
    contains: String,
}

fn row_json(row: &SqliteRow) -> Value {
    let (id, definition): (i64, String) = (row.get("id"), row.get("definition"));
    let definition: Value = serde_json::from_str(&definition).unwrap_or(Value::Null);
    json!({ "id": id, "name": row.get::<String, _>("name"), "definition": definition })
}

pub(super) async fn create(State(app): Shared, serving: Option<Extension<Serving>>, user: User, body: Bytes) -> Answer {
    let new: NewFilter = json_body(&body)?;
    if new.name.is_empty() || new.name.len() > 200 {
        return Err(Refusal::new(StatusCode::BAD_REQUEST, "a name of 1 to 200 bytes is needed"));
    }
    let _open = app.writing(serving.map(|serving| serving.0)).await?;
    let definition = if new.definition.is_null() { json!({}) } else { new.definition };
    let row = sqlx::query(
        "INSERT INTO filters (user_id, name, definition, created_at, updated_at) VALUES ($1, $2, $3, $4, $4)
         RETURNING *",
    )
    .bind(user.id)
    .bind(new.name)
    .bind(definition.to_string())
    .bind(now_text())
    .fetch_one(&app.pool)
    .await?;
    Ok((StatusCode::CREATED, Json(row_json(&row))).into_response())
}

/// The user's filters; with `file`, also the lines of that file that contain the text.
pub(super) async fn list(State(app): Shared, user: User, Query(wanted): Query<Wanted>) -> Answer {
    let rows = sqlx::query("SELECT * FROM filters WHERE user_id = $1 ORDER BY id LIMIT 1000")
        .bind(user.id)
        .fetch_all(&app.pool)
        .await?;
    let mut answer = json!({ "filters": rows.iter().map(row_json).collect::<Vec<_>>() });
    if let Some(file) = wanted.file {
        let (_, bytes) = files::bytes_of(&app, &user, file).await?;
        let text = String::from_utf8_lossy(&bytes);
        let mut lines = text.lines();
        let header = lines.next().unwrap_or_default();
        let hits: Vec<&str> = lines.filter(|line| line.contains(&wanted.contains)).take(MOST_LINES).collect();
        answer["header"] = header.into();
        answer["lines"] = hits.into();
    }
    Ok(Json(answer).into_response())
}

pub(super) async fn delete(
    State(app): Shared,
    serving: Option<Extension<Serving>>,
    user: User,
    Path(id): Path<i64>,
) -> Answer<Response> {
    let _open = app.writing(serving.map(|serving| serving.0)).await?;
    let done = sqlx::query("DELETE FROM filters WHERE id = $1 AND user_id = $2")
        .bind(id)
        .bind(user.id)
        .execute(&app.pool)
        .await?;
    if done.rows_affected() == 0 { Err(Refusal::not_found()) } else { Ok(StatusCode::NO_CONTENT.into_response()) }
}
