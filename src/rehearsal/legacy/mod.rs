//! The legacy app: what its users see, the media, the maintenance switch, and the extraction endpoints.

mod migration;
mod tables;

use super::{
    app::{self, App, Refusal, bearer},
    faults::{FaultyServer, strike},
    kept::Kept,
};
use axum::{
    Json, Router,
    body::Bytes,
    extract::{Path, Request, State},
    http::{StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use sqlx::SqlitePool;
use std::{path::PathBuf, sync::Arc};

/// How much the legacy app lets its users do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Mode {
    /// Everything.
    Off,
    /// Reading; the page says that work is going on.
    ReadOnly,
    /// Reading; writing is refused for as long as it takes.
    On,
}

impl Mode {
    const fn word(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::ReadOnly => "read-only",
            Self::On => "on",
        }
    }
}

/// The mode, and what users were told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ModeState {
    pub(super) mode: Mode,
    pub(super) announced: Vec<String>,
}

impl ModeState {
    pub(super) const fn fresh() -> Self {
        Self { mode: Mode::Off, announced: Vec::new() }
    }
}

/// What the legacy app is made of.
pub(super) struct Legacy {
    pub(super) pool: SqlitePool,
    pub(super) media: PathBuf,
    pub(super) token: String,
    pub(super) mode: Arc<Kept<ModeState>>,
    pub(super) server: FaultyServer,
}

type Shared = State<Arc<Legacy>>;

/// All routes of the legacy app.
pub(super) fn router(legacy: Arc<Legacy>, app: Arc<App>) -> Router {
    let guarded = migration::router()
        .route("/admin/announce", post(announce))
        .route("/admin/maintenance/enable", post(|state: Shared| turn(state, Mode::On)))
        .route("/admin/maintenance/read-only", post(|state: Shared| turn(state, Mode::ReadOnly)))
        .route("/admin/maintenance/disable", post(|state: Shared| turn(state, Mode::Off)))
        .route("/admin/maintenance/status", get(status))
        .layer(middleware::from_fn_with_state(Arc::clone(&legacy), needs_token));
    let open = Router::new().route("/media/{*path}", get(media));
    let server = legacy.server.clone();
    let all = guarded.merge(open).with_state(legacy).merge(app::router(app));
    all.layer(middleware::from_fn_with_state(server, strike))
}

async fn needs_token(State(legacy): Shared, request: Request, next: Next) -> Response {
    if bearer(request.headers()) == Some(legacy.token.as_str()) {
        next.run(request).await
    } else {
        let mut answer = Refusal::new(StatusCode::UNAUTHORIZED, "Invalid token.").into_response();
        answer.headers_mut().insert(header::WWW_AUTHENTICATE, header::HeaderValue::from_static("Token"));
        answer
    }
}

async fn announce(State(legacy): Shared, body: Bytes) -> app::Answer {
    let text = String::from_utf8_lossy(&body).chars().take(2000).collect();
    let kept = legacy.mode.change(|state| {
        // The last few are enough to see that users were told.
        state.announced.push(text);
        let surplus = state.announced.len().saturating_sub(20);
        state.announced.drain(..surplus);
    });
    kept.await.map_err(|fault| Refusal::broken("the announcement could not be kept", fault.chain()))?;
    Ok(Json(json!({ "announced": true })).into_response())
}

async fn turn(State(legacy): Shared, to: Mode) -> app::Answer {
    // Waits for the writes under way: once it answers, none of them can still succeed.
    let turned = legacy.mode.change(|state| state.mode = to).await;
    turned.map_err(|fault| Refusal::broken("the mode could not be kept", fault.chain()))?;
    legacy.server.faults.moment(|moment| moment.maintenance = to != Mode::Off);
    Ok(Json(mode_json(to)).into_response())
}

async fn status(State(legacy): Shared) -> Response {
    Json(mode_json(legacy.mode.read().await.mode)).into_response()
}

fn mode_json(mode: Mode) -> serde_json::Value {
    json!({ "enabled": mode == Mode::On, "read_only": mode == Mode::ReadOnly, "mode": mode.word() })
}

async fn media(State(legacy): Shared, Path(path): Path<String>) -> app::Answer {
    let place = app::inside(&legacy.media, &path).ok_or_else(Refusal::not_found)?;
    let bytes = tokio::fs::read(place).await.map_err(|_| Refusal::not_found())?;
    Ok(([(header::CONTENT_TYPE, "application/octet-stream")], bytes).into_response())
}
