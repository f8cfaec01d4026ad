//! How a fault strikes a server: middleware around all of its routes.

use super::{FaultTarget, FaultWork, Faults};
use axum::{
    body::{Body, Bytes},
    extract::{Request, State},
    http::{HeaderValue, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use http_body_util::BodyExt;
use std::{fmt, sync::Arc, time::Duration};

/// Mark of a response that is never sent: the connection is dropped instead.
#[derive(Debug, Clone, Copy)]
pub(in crate::rehearsal) struct Dropped;

impl fmt::Display for Dropped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("dropped on purpose")
    }
}

impl std::error::Error for Dropped {}

/// Which version of the new app serves a request; set by the platform before the faults see it.
#[derive(Debug, Clone, Copy)]
pub(in crate::rehearsal) struct ServedVersion(pub(in crate::rehearsal) &'static str);

/// The faults of one server.
#[derive(Clone)]
pub(in crate::rehearsal) struct FaultyServer {
    pub(in crate::rehearsal) faults: Arc<Faults>,
    pub(in crate::rehearsal) target: FaultTarget,
    /// How long it thinks before each answer, on average.
    pub(in crate::rehearsal) think: Duration,
}

/// Middleware: lets faults strike the requests of a server.
pub(in crate::rehearsal) async fn strike(State(server): State<FaultyServer>, request: Request, next: Next) -> Response {
    let uri = request.uri();
    let path = uri.path().to_owned();
    let target = if path.starts_with("/media/") && server.target == FaultTarget::LegacyApi {
        FaultTarget::Media
    } else {
        server.target
    };
    // For an object every request about it is the same one; for pages the query tells them apart.
    let key = match (server.target, uri.query()) {
        (FaultTarget::S3, _) | (_, None) => path.clone(),
        (_, Some(query)) => format!("{path}?{query}"),
    };
    let version = request.extensions().get::<ServedVersion>().map_or("", |version| version.0);
    let strike = server.faults.throw(target, &path, &key, version);
    // Mostly a little less than the average, sometimes much more, as servers are.
    let think = server.think.mul_f64(-rand::random_range(0.02_f64..1.0).ln());
    let delay = strike.delay + think;
    if !delay.is_zero() {
        tokio::time::sleep(delay).await;
    }
    match strike.work {
        None | Some((FaultWork::Latency | FaultWork::Frozen, _)) => next.run(request).await,
        Some((FaultWork::Error, _)) => {
            consume(request).await;
            (StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error").into_response()
        }
        Some((FaultWork::Throttle, wait)) => {
            consume(request).await;
            throttled(target, wait)
        }
        Some((FaultWork::Cut, _)) => cut(next.run(request).await).await,
        Some((FaultWork::Lost, _)) => {
            let _never_sent = next.run(request).await;
            dropped()
        }
        Some((FaultWork::Stall, wait)) => {
            tokio::time::sleep(wait).await;
            dropped()
        }
    }
}

/// Reads what the client still sends, so that it sees our answer rather than a reset.
async fn consume(request: Request) {
    let mut body = request.into_body();
    while let Some(Ok(_)) = body.frame().await {}
}

fn throttled(target: FaultTarget, wait: Duration) -> Response {
    let seconds = HeaderValue::from(wait.as_secs().max(u64::from(wait.subsec_nanos() > 0)));
    let mut answer = if target == FaultTarget::S3 {
        let text = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>SlowDown</Code>\
                    <Message>Please reduce your request rate.</Message></Error>";
        (StatusCode::SERVICE_UNAVAILABLE, [(header::CONTENT_TYPE, "application/xml")], text).into_response()
    } else {
        (StatusCode::TOO_MANY_REQUESTS, "{\"detail\":\"Request was throttled.\"}").into_response()
    };
    answer.headers_mut().insert(header::RETRY_AFTER, seconds);
    answer
}

async fn cut(answer: Response) -> Response {
    let (mut parts, body) = answer.into_parts();
    let Ok(whole) = body.collect().await else { return dropped() };
    let whole: Bytes = whole.to_bytes();
    if whole.len() < 2 {
        return dropped();
    }
    parts.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(whole.len()));
    let half = whole.slice(..whole.len() / 2);
    let pieces = [Ok(half), Err(std::io::Error::other(Dropped))];
    Response::from_parts(parts, Body::from_stream(futures::stream::iter(pieces)))
}

fn dropped() -> Response {
    let mut answer = StatusCode::INTERNAL_SERVER_ERROR.into_response();
    answer.extensions_mut().insert(Dropped);
    answer
}
