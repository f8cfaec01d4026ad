//! What each kind of bad answer is told apart as.

use super::{
    PATIENCE, django,
    doubles::{closed_port, raw_server, serve, silent_server},
    items, token,
};
use axum::{
    Router,
    http::{HeaderMap, StatusCode, header},
    response::{Html, IntoResponse, Redirect, Response},
    routing::{any, get, post},
};
use cutover::{
    adapters::records::HttpStore,
    error::{Fault, FaultKind},
    plan::Pagination,
    ports::{Cursor, RecordStore},
};
use std::{net::SocketAddr, time::Duration};
use url::Url;

fn store(at: SocketAddr, timeout: Duration) -> HttpStore {
    let endpoint = Url::parse(&format!("http://{at}/")).unwrap();
    django(endpoint, token("tkn-123456"), Pagination::PageNumber, timeout)
}

async fn fault(at: SocketAddr, path: &str) -> Fault {
    store(at, PATIENCE).read(&items(path), &Cursor::START, 5).await.unwrap_err()
}

fn page(body: &'static str) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

fn with_wait(status: StatusCode, wait: &str) -> Response {
    (status, [(header::RETRY_AFTER, wait)], "slow down").into_response()
}

fn bad_manners() -> Router {
    Router::new()
        .route("/401", any(async || StatusCode::UNAUTHORIZED))
        .route(
            "/403",
            any(async |headers: HeaderMap| {
                let given = headers[header::AUTHORIZATION].to_str().unwrap().to_owned();
                (StatusCode::FORBIDDEN, format!("\u{1b}[31mno: {given}\u{202e}"))
            }),
        )
        .route("/400", any(async || (StatusCode::BAD_REQUEST, "what?")))
        .route("/408", any(async || StatusCode::REQUEST_TIMEOUT))
        .route("/429", any(async || with_wait(StatusCode::TOO_MANY_REQUESTS, "7")))
        .route("/429-bare", any(async || StatusCode::TOO_MANY_REQUESTS))
        .route(
            "/429-date",
            any(async || {
                let at = [
                    (header::DATE, "Sat, 21 Nov 2026 01:00:00 GMT"),
                    (header::RETRY_AFTER, "Sat, 21 Nov 2026 01:00:30 GMT"),
                ];
                (StatusCode::TOO_MANY_REQUESTS, at).into_response()
            }),
        )
        .route("/503", any(async || StatusCode::SERVICE_UNAVAILABLE))
        .route("/503-wait", any(async || with_wait(StatusCode::SERVICE_UNAVAILABLE, "2")))
        .route("/500", any(async || (StatusCode::INTERNAL_SERVER_ERROR, "oops")))
        .route("/html", any(async || Html("<html><body>Sign in</body></html>")))
        .route("/cut-json", any(async || page(r#"{"count": 2, "results": [{"id": 1"#)))
        .route("/no-results", any(async || page(r#"{"count": 2}"#)))
        .route("/number", any(async || page("42")))
        .route("/no-objects", any(async || page(r#"{"count": 1, "next": null, "results": [1]}"#)))
        .route("/endless", any(async || page(r#"{"count": 1, "next": "more", "results": []}"#)))
        .route("/elsewhere", get(async || Redirect::temporary("http://127.0.0.2:1/x")))
        .route("/here", get(async || Redirect::temporary("/good")))
        .route("/loop", get(async || Redirect::temporary("/loop")))
        .route("/good", get(async || page(r#"{"count": 0, "next": null, "results": []}"#)))
        .route("/bulk/bulk/", post(async || Redirect::to("/good")))
        .route("/few/bulk/", post(async || page(r#"{"results": []}"#)))
        .route("/other/bulk/", post(async || page(r#"{"results": [{"key": 2, "status": "created"}]}"#)))
        .route("/odd/bulk/", post(async || page(r#"{"results": [{"key": 1, "status": "perhaps"}]}"#)))
}

#[tokio::test]
async fn each_bad_answer_has_its_kind() {
    let at = serve(bad_manners()).await;
    let table = [
        ("401", FaultKind::Unauthorized),
        ("403", FaultKind::Unauthorized),
        ("404", FaultKind::NotFound),
        ("400", FaultKind::Refused),
        ("408", FaultKind::Timeout),
        ("429", FaultKind::Throttled),
        ("429-bare", FaultKind::Throttled),
        ("503", FaultKind::Server),
        ("503-wait", FaultKind::Throttled),
        ("500", FaultKind::Server),
        ("html", FaultKind::Garbage),
        ("cut-json", FaultKind::Garbage),
        ("no-results", FaultKind::Garbage),
        ("number", FaultKind::Garbage),
        ("no-objects", FaultKind::Garbage),
        ("endless", FaultKind::Garbage),
        ("elsewhere", FaultKind::Refused),
        ("loop", FaultKind::Refused),
    ];
    for (path, kind) in table {
        let fault = fault(at, path).await;
        assert_eq!(fault.kind, kind, "{path}: {}", fault.chain());
    }
    assert!(store(at, PATIENCE).read(&items("here"), &Cursor::START, 5).await.is_ok(), "same host: followed");
}

#[tokio::test]
async fn the_wait_that_is_asked_for_is_kept() {
    let at = serve(bad_manners()).await;
    let table = [("429", Some(7)), ("429-bare", None), ("429-date", Some(30)), ("503-wait", Some(2)), ("500", None)];
    for (path, wait) in table {
        assert_eq!(fault(at, path).await.retry_after, wait.map(Duration::from_secs), "{path}");
    }
}

#[tokio::test]
async fn an_answer_is_shown_defused_and_without_the_token() {
    let at = serve(bad_manners()).await;
    let shown = fault(at, "403").await.advice();
    assert!(shown.contains("no: ***"), "{shown}");
    assert!(!shown.contains("tkn-123456") && !shown.contains('\u{1b}') && !shown.contains('\u{202e}'), "{shown}");
    let shown = fault(at, "html").await.chain();
    assert!(shown.contains("Sign in"), "{shown}");
}

#[tokio::test]
async fn a_server_that_is_not_one_is_told_apart() {
    let dead = fault(closed_port().await, "x").await;
    assert_eq!(dead.kind, FaultKind::Unreachable, "{}", dead.chain());

    let silent = silent_server().await;
    let never = store(silent, Duration::from_millis(300)).read(&items("x"), &Cursor::START, 5).await.unwrap_err();
    assert_eq!(never.kind, FaultKind::Timeout, "{}", never.chain());

    let cut = fault(raw_server(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{\"results\": [").await, "x").await;
    assert_eq!(cut.kind, FaultKind::Garbage, "{}", cut.chain());

    let noise = fault(raw_server(b"SSH-2.0-OpenSSH_9.9\r\n\r\n").await, "x").await;
    assert_eq!(noise.kind, FaultKind::Garbage, "{}", noise.chain());

    let mute = fault(raw_server(b"").await, "x").await;
    assert_eq!(mute.kind, FaultKind::Unreachable, "{}", mute.chain());
}

#[tokio::test]
async fn a_write_is_believed_only_if_the_answer_speaks_of_it() {
    let at = serve(bad_manners()).await;
    let record = super::record(serde_json::json!({"id": 1}));
    for (path, kind) in [
        ("few", FaultKind::Garbage),
        ("other", FaultKind::Garbage),
        ("odd", FaultKind::Garbage),
        ("bulk", FaultKind::Refused),
    ] {
        let fault = store(at, PATIENCE).write(&items(path), std::slice::from_ref(&record)).await.unwrap_err();
        assert_eq!(fault.kind, kind, "{path}: {}", fault.chain());
    }
}
