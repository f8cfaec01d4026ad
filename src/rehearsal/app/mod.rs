//! What both apps offer their users: accounts, files, filters. The legacy app keeps bytes in a folder, the new one in a
//! bucket that it reaches over S3 like anybody else.
//!
//! Neighbours: `legacy` and `platform` mount this router. Must never enter: anything only one of them has.

mod accounts;
mod files;
mod filters;

use super::{
    database::Side,
    kept::Kept,
    legacy::{Mode, ModeState},
    platform::Colours,
};
pub(super) use files::inside;

use axum::{
    Extension, Json, Router,
    body::Bytes,
    extract::{DefaultBodyLimit, FromRequestParts, State},
    http::{HeaderMap, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde_json::json;
use sqlx::SqlitePool;
use std::{path::PathBuf, sync::Arc};
use tokio::sync::OwnedRwLockReadGuard;

/// Largest upload.
const LARGEST: usize = 256 << 20;

/// One app.
pub(super) struct App {
    pub(super) side: Side,
    pub(super) pool: SqlitePool,
    pub(super) blobs: Blobs,
    pub(super) gate: Gate,
}

/// Where an app keeps bytes.
pub(super) enum Blobs {
    /// In a folder, written first to a second one beside it so that a reader never sees half a file.
    Folder { root: PathBuf, beside: PathBuf },
    /// In a bucket.
    Bucket { client: aws_sdk_s3::Client, bucket: String },
}

/// What decides whether users may write.
pub(super) enum Gate {
    Legacy(Arc<Kept<ModeState>>),
    Platform(Arc<Kept<Colours>>),
    /// Nothing does: a staging copy.
    Open,
}

/// Proof that a write is let through; while it lives, nobody can close the gate.
#[expect(dead_code, reason = "the guards are held, never read")]
pub(super) enum WriteGuard {
    Legacy(OwnedRwLockReadGuard<ModeState>),
    Platform(OwnedRwLockReadGuard<Colours>),
    Open,
}

/// Which colour of the new app serves a request, and whether it was asked for by name.
#[derive(Debug, Clone, Copy)]
pub(super) struct Serving {
    pub(super) colour: &'static str,
    pub(super) by_name: bool,
}

/// An answer that is not a success.
#[derive(Debug)]
pub(super) struct Refusal(StatusCode, serde_json::Value);

impl Refusal {
    pub(super) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self(status, json!({ "detail": detail.into() }))
    }

    pub(super) fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "Not found.")
    }

    pub(super) fn broken(what: &str, error: impl std::fmt::Display) -> Self {
        tracing::warn!(%error, "rehearsal: {what}");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "Internal server error.")
    }

    fn maintenance(message: &str) -> Self {
        Self(StatusCode::SERVICE_UNAVAILABLE, json!({ "maintenance": true, "detail": message }))
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let wait = self.0 == StatusCode::SERVICE_UNAVAILABLE;
        let mut answer = (self.0, Json(self.1)).into_response();
        if wait {
            answer.headers_mut().insert(header::RETRY_AFTER, header::HeaderValue::from_static("30"));
        }
        answer
    }
}

impl From<sqlx::Error> for Refusal {
    fn from(error: sqlx::Error) -> Self {
        Self::broken("a query failed", error)
    }
}

pub(super) type Answer<T = Response> = Result<T, Refusal>;
pub(super) type Shared = State<Arc<App>>;

impl App {
    /// Lets a write through, or says why not. To be called once the whole request is there, and held until the answer
    /// is certain.
    pub(super) async fn writing(&self, serving: Option<Serving>) -> Result<WriteGuard, Refusal> {
        match &self.gate {
            Gate::Open => Ok(WriteGuard::Open),
            Gate::Legacy(mode) => {
                let guard = mode.hold().await;
                match guard.mode {
                    Mode::Off => Ok(WriteGuard::Legacy(guard)),
                    Mode::ReadOnly | Mode::On => {
                        Err(Refusal::maintenance("We are moving house. Reading works, writing will be back soon."))
                    }
                }
            }
            Gate::Platform(colours) => {
                let guard = colours.hold().await;
                let open = serving.is_some_and(|serving| {
                    guard.release == serving.colour && (serving.by_name || guard.active == serving.colour)
                });
                if open {
                    Ok(WriteGuard::Platform(guard))
                } else {
                    Err(Refusal::maintenance("The new platform is not open for writing."))
                }
            }
        }
    }
}

/// The signed-in user.
pub(super) struct User {
    pub(super) id: i64,
}

impl FromRequestParts<Arc<App>> for User {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Refusal> {
        let unknown =
            || Refusal::new(StatusCode::UNAUTHORIZED, "Authentication credentials were not provided or wrong.");
        let token = bearer(&parts.headers).ok_or_else(unknown)?;
        let id: Option<i64> = sqlx::query_scalar(
            "SELECT users.id FROM tokens JOIN users ON users.id = tokens.user_id WHERE token = $1 AND kind = 'access'",
        )
        .bind(token)
        .fetch_optional(&app.pool)
        .await?;
        id.map(|id| Self { id }).ok_or_else(unknown)
    }
}

/// The token of `Authorization: <scheme> <token>`.
pub(super) fn bearer(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ').map(|(_, token)| token.trim())
}

/// A JSON body, whatever content type it came with; anything else is a 400 with the reason.
pub(super) fn json_body<T: serde::de::DeserializeOwned>(body: &Bytes) -> Result<T, Refusal> {
    serde_json::from_slice(body).map_err(|error| Refusal::new(StatusCode::BAD_REQUEST, error.to_string()))
}

/// The users' routes.
pub(super) fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/", get(home))
        .route("/health", get(health))
        .route("/api/register", post(accounts::register))
        .route("/api/login", post(accounts::login))
        .route("/api/refresh", post(accounts::refresh))
        .route("/api/me", get(accounts::me).delete(accounts::leave))
        .route("/api/files", get(files::list).post(files::upload))
        .route("/api/files/{id}", get(files::show).delete(files::delete))
        .route("/api/files/{id}/content", get(files::content))
        .route("/api/filters", get(filters::list).post(filters::create))
        .route("/api/filters/{id}", axum::routing::delete(filters::delete))
        .layer(DefaultBodyLimit::max(LARGEST))
        .with_state(app)
}

async fn home(State(app): Shared, serving: Option<Extension<Serving>>) -> Response {
    let colour = serving.map_or("", |serving| serving.colour);
    let text =
        format!("<!doctype html><title>List Cutter</title><h1>List Cutter</h1><p>{} {colour}</p>", app.side.word());
    ([(header::CONTENT_TYPE, "text/html; charset=utf-8")], text).into_response()
}

async fn health(State(app): Shared, serving: Option<Extension<Serving>>) -> Answer {
    sqlx::query("SELECT 1").execute(&app.pool).await?;
    let colour = serving.map(|serving| serving.colour);
    Ok(Json(json!({ "status": "ok", "side": app.side.word(), "colour": colour })).into_response())
}
