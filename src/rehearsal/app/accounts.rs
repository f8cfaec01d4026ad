//! Register, log in, refresh, leave.

use super::{
    super::{
        database::{Side, now_text},
        seed,
    },
    Answer, App, Refusal, Serving, Shared, User, json_body,
};
use axum::{
    Extension, Json,
    body::Bytes,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use serde_json::json;
use sqlx::{AssertSqlSafe, Row};
use uuid::Uuid;

#[derive(Deserialize)]
pub(super) struct NewUser {
    username: String,
    password: String,
    #[serde(default)]
    email: String,
    #[serde(default)]
    first_name: String,
    #[serde(default)]
    last_name: String,
}

#[derive(Deserialize)]
pub(super) struct Login {
    username: String,
    password: String,
}

#[derive(Deserialize)]
pub(super) struct Refresh {
    refresh: String,
}

async fn token(app: &App, user: i64, kind: &str) -> Result<String, Refusal> {
    let token = Uuid::new_v4().simple().to_string();
    sqlx::query("INSERT INTO tokens (token, user_id, kind) VALUES ($1, $2, $3)")
        .bind(&token)
        .bind(user)
        .bind(kind)
        .execute(&app.pool)
        .await?;
    Ok(token)
}

async fn session(app: &App, status: StatusCode, id: i64, username: &str, email: &str) -> Answer {
    let (access, refresh) = (token(app, id, "access").await?, token(app, id, "refresh").await?);
    let body = json!({ "id": id, "username": username, "email": email, "token": access, "refresh": refresh });
    Ok((status, Json(body)).into_response())
}

pub(super) async fn register(State(app): Shared, serving: Option<Extension<Serving>>, body: Bytes) -> Answer {
    let new: NewUser = json_body(&body)?;
    if new.username.is_empty() || new.username.len() > 150 || new.password.is_empty() {
        return Err(Refusal::new(StatusCode::BAD_REQUEST, "username (1 to 150 bytes) and password are needed"));
    }
    let _open = app.writing(serving.map(|serving| serving.0)).await?;
    let hash = seed::hash_password(&Uuid::new_v4().simple().to_string()[..8], &new.password);
    let now = now_text();
    let (email, name) = match app.side {
        Side::Legacy => (new.email, None),
        // What the plan's map does to every migrated user, the new app does to every new one.
        Side::New => (new.email.to_lowercase(), Some(format!("{} {}", new.first_name, new.last_name))),
    };
    let (column, place) = if name.is_some() { (", name", ", $7") } else { ("", "") };
    let sql = format!(
        "INSERT INTO users (username, email, first_name, last_name, password_hash, created_at, updated_at{column})
         VALUES ($1, $2, $3, $4, $5, $6, $6{place}) RETURNING id"
    );
    let mut query = sqlx::query_scalar(AssertSqlSafe(sql))
        .bind(&new.username)
        .bind(&email)
        .bind(&new.first_name)
        .bind(&new.last_name)
        .bind(hash)
        .bind(now);
    if let Some(name) = name {
        query = query.bind(name);
    }
    let id: i64 = match query.fetch_one(&app.pool).await {
        Ok(id) => id,
        Err(error) if error.as_database_error().is_some_and(sqlx::error::DatabaseError::is_unique_violation) => {
            return Err(Refusal::new(StatusCode::CONFLICT, "A user with that username already exists."));
        }
        Err(error) => return Err(error.into()),
    };
    session(&app, StatusCode::CREATED, id, &new.username, &email).await
}

pub(super) async fn login(State(app): Shared, body: Bytes) -> Answer {
    let login: Login = json_body(&body)?;
    let row = sqlx::query("SELECT id, email, password_hash FROM users WHERE username = $1")
        .bind(&login.username)
        .fetch_optional(&app.pool)
        .await?;
    let row = row.filter(|row| seed::verify_password(row.get("password_hash"), &login.password));
    let Some(row) = row else {
        return Err(Refusal::new(StatusCode::UNAUTHORIZED, "No active account with these credentials."));
    };
    session(&app, StatusCode::OK, row.get("id"), &login.username, row.get("email")).await
}

pub(super) async fn refresh(State(app): Shared, body: Bytes) -> Answer {
    let refresh: Refresh = json_body(&body)?;
    let user: Option<i64> = sqlx::query_scalar("SELECT user_id FROM tokens WHERE token = $1 AND kind = 'refresh'")
        .bind(refresh.refresh)
        .fetch_optional(&app.pool)
        .await?;
    let Some(user) = user else {
        return Err(Refusal::new(StatusCode::UNAUTHORIZED, "Token is invalid or expired."));
    };
    Ok(Json(json!({ "token": token(&app, user, "access").await? })).into_response())
}

pub(super) async fn me(State(app): Shared, user: User) -> Answer {
    let row = sqlx::query("SELECT id, username, email, first_name, last_name FROM users WHERE id = $1")
        .bind(user.id)
        .fetch_one(&app.pool)
        .await?;
    let text = |field: &str| row.get::<String, _>(field);
    let body = json!({ "id": user.id, "username": text("username"), "email": text("email"),
        "first_name": text("first_name"), "last_name": text("last_name") });
    Ok(Json(body).into_response())
}

/// Deletes the account with everything in it.
pub(super) async fn leave(State(app): Shared, serving: Option<Extension<Serving>>, user: User) -> Answer<Response> {
    let _open = app.writing(serving.map(|serving| serving.0)).await?;
    let files = sqlx::query("SELECT id, file_name, file_path FROM files WHERE user_id = $1")
        .bind(user.id)
        .fetch_all(&app.pool)
        .await?;
    let mut tx = app.pool.begin_with("BEGIN IMMEDIATE").await?;
    for sql in [
        "DELETE FROM filters WHERE user_id = $1",
        "DELETE FROM files WHERE user_id = $1",
        "DELETE FROM tokens WHERE user_id = $1",
        "DELETE FROM users WHERE id = $1",
    ] {
        sqlx::query(sql).bind(user.id).execute(&mut *tx).await?;
    }
    tx.commit().await?;
    for file in files {
        app.blobs.remove(user.id, file.get("id"), file.get("file_name"), file.get("file_path")).await;
    }
    Ok(StatusCode::NO_CONTENT.into_response())
}
