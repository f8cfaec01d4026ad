//! The new app: one edge address, two colours behind it, and the control that releases and activates them.
//!
//! A colour serves version 2 once the release switch put it there; until then it has version 1, a preview that reads
//! and refuses writes. Turning the active colour back is therefore also the fence that ends writing on the new side.

use super::{
    app::{self, App, Refusal, Serving, bearer},
    faults::{FaultyServer, ServedVersion, strike},
    kept::Kept,
};
use axum::{
    Json, Router,
    extract::{Path, Request, State},
    http::{HeaderName, HeaderValue, StatusCode},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::sync::Arc;

const COLOURS: [&str; 2] = ["blue", "green"];

/// Which colour is active and which one has the new version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Colours {
    pub(super) active: String,
    pub(super) release: String,
}

impl Colours {
    pub(super) fn fresh() -> Self {
        Self { active: "blue".to_owned(), release: "none".to_owned() }
    }
}

#[derive(Clone)]
struct Chooser {
    colours: Arc<Kept<Colours>>,
    by_name: Option<&'static str>,
}

/// The edge: the active colour for everybody, and each colour by name under `/__colour/`.
pub(super) fn edge(app: &Arc<App>, colours: &Arc<Kept<Colours>>, server: &FaultyServer) -> Router {
    let router = |by_name| {
        let chooser = Chooser { colours: Arc::clone(colours), by_name };
        app::router(Arc::clone(app))
            .layer(middleware::from_fn_with_state(server.clone(), strike))
            .layer(middleware::from_fn_with_state(chooser, choose))
    };
    COLOURS
        .into_iter()
        .fold(router(None), |edge, colour| edge.nest(&format!("/__colour/{colour}"), router(Some(colour))))
}

async fn choose(State(chooser): State<Chooser>, mut request: Request, next: Next) -> Response {
    let (colour, released) = {
        let colours = chooser.colours.read().await;
        let active = COLOURS.into_iter().find(|colour| *colour == colours.active).unwrap_or(COLOURS[0]);
        let colour = chooser.by_name.unwrap_or(active);
        (colour, colours.release == colour)
    };
    if chooser.by_name.is_some() && !released {
        return Refusal::new(StatusCode::NOT_FOUND, format!("{colour} has no release")).into_response();
    }
    let version = if released { "v2" } else { "v1" };
    request.extensions_mut().insert(Serving { colour, by_name: chooser.by_name.is_some() });
    request.extensions_mut().insert(ServedVersion(version));
    let mut answer = next.run(request).await;
    let headers = answer.headers_mut();
    headers.insert(HeaderName::from_static("x-colour"), HeaderValue::from_static(colour));
    headers.insert(HeaderName::from_static("x-version"), HeaderValue::from_static(version));
    answer
}

#[derive(Clone)]
struct Control {
    colours: Arc<Kept<Colours>>,
    token: Arc<str>,
}

/// The control API of the platform.
pub(super) fn control(colours: Arc<Kept<Colours>>, token: &str) -> Router {
    let control = Control { colours, token: token.into() };
    Router::new()
        .route("/control/status", get(status))
        .route("/control/release/{colour}", post(release))
        .route("/control/activate/{colour}", post(activate))
        .layer(middleware::from_fn_with_state(control.clone(), needs_token))
        .with_state(control)
}

async fn needs_token(State(control): State<Control>, request: Request, next: Next) -> Response {
    if bearer(request.headers()) == Some(&*control.token) {
        next.run(request).await
    } else {
        Refusal::new(StatusCode::UNAUTHORIZED, "Invalid token.").into_response()
    }
}

fn colours_json(colours: &Colours) -> Response {
    Json(json!({ "active": colours.active, "release": colours.release })).into_response()
}

async fn status(State(control): State<Control>) -> Response {
    colours_json(&*control.colours.read().await)
}

async fn release(State(control): State<Control>, Path(colour): Path<String>) -> app::Answer {
    if colour != "none" && !COLOURS.contains(&colour.as_str()) {
        return Err(Refusal::not_found());
    }
    turn(&control, |colours| colours.release = colour).await
}

async fn activate(State(control): State<Control>, Path(colour): Path<String>) -> app::Answer {
    if !COLOURS.contains(&colour.as_str()) {
        return Err(Refusal::not_found());
    }
    turn(&control, |colours| colours.active = colour).await
}

async fn turn(control: &Control, change: impl FnOnce(&mut Colours)) -> app::Answer {
    // Waits for the writes under way, so that none of them is acknowledged after the turn.
    let turned = control.colours.change(|colours| {
        change(colours);
        colours.clone()
    });
    let colours = turned.await.map_err(|fault| Refusal::broken("the colours could not be kept", fault.chain()))?;
    Ok(colours_json(&colours))
}
