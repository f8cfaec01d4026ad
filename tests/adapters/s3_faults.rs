//! The S3 bucket against connections that break and servers that do not keep to the protocol.

use super::{
    PATIENCE,
    blobs::{MIB, as_is, body, content, put, read},
    doubles::{Objects, closed_port, raw_server, serve, silent_server},
    s3::{at, s3},
};
use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, Method, StatusCode},
    response::{IntoResponse, Response},
};
use cutover::{
    error::FaultKind,
    model::Digest,
    ports::{BlobStore, PartSent},
};
use futures::TryStreamExt as _;
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use url::Url;

#[tokio::test]
async fn what_goes_wrong_with_s3_is_told_apart() {
    let objects = Objects::start().await;
    let wrong_secret = s3(&objects.endpoint, "not-the-secret", PATIENCE);
    let fault = wrong_secret.list("", None, 1).await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Unauthorized, "{}", fault.chain());
    assert!(!fault.chain().contains("not-the-secret"));
    assert!(!format!("{wrong_secret:?}").contains("not-the-secret"));

    let gone = url(closed_port().await);
    for fault in [at(&gone).head("x").await.unwrap_err(), at(&gone).guards_new("x").await.unwrap_err()] {
        assert_eq!(fault.kind, FaultKind::Unreachable, "{}", fault.chain());
    }

    let silent = s3(&url(silent_server().await), Objects::SECRET, Duration::from_millis(300));
    let long = content(9 * MIB);
    for fault in [silent.head("x").await.unwrap_err(), silent.put("x", body(&long), &as_is(None)).await.unwrap_err()] {
        assert_eq!(fault.kind, FaultKind::Timeout, "{}", fault.chain());
    }
}

fn url(at: std::net::SocketAddr) -> Url {
    Url::parse(&format!("http://{at}")).unwrap()
}

/// Stands before a server and closes each connection that has a limit once it has brought so many bytes.
async fn cutting(server: &Url, limits: &[usize]) -> Url {
    let server = format!("127.0.0.1:{}", server.port().unwrap());
    let mut limits: VecDeque<usize> = limits.iter().copied().collect();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            let (limit, server) = (limits.pop_front().unwrap_or(usize::MAX), server.clone());
            tokio::spawn(async move {
                let far = TcpStream::connect(server).await.unwrap();
                let ((mut near_read, mut near_write), (far_read, mut far_write)) =
                    (near.into_split(), far.into_split());
                let mut answers = far_read.take(limit as u64);
                tokio::select! {
                    _gone = tokio::io::copy(&mut near_read, &mut far_write) => {}
                    _gone = tokio::io::copy(&mut answers, &mut near_write) => {}
                }
                let _gone = near_write.shutdown().await;
            });
        }
    });
    url(at)
}

#[tokio::test]
async fn a_body_that_is_cut_is_read_on_three_times() {
    let objects = Objects::start().await;
    let wanted = content(3 * MIB);
    put(&at(&objects.endpoint), "x", &wanted).await;
    for (cuts, from, whole) in [
        (vec![MIB], 0, true),
        (vec![MIB, 5000, MIB / 2], 0, true),
        (vec![MIB, 5000, MIB / 2, 5000], 0, false),
        (vec![MIB], 1000, true),
    ] {
        // Looking at the size takes no connection of its own, since the first one is kept.
        let bucket = at(&cutting(&objects.endpoint, &cuts).await);
        match read(&bucket, "x", from as u64).await {
            Ok(got) => assert!(whole && got == wanted[from..], "{cuts:?}"),
            Err(fault) => assert!(!whole && fault.kind == FaultKind::Garbage, "{cuts:?} {}", fault.chain()),
        }
    }
}

#[tokio::test]
async fn a_blob_that_changed_is_not_read_on() {
    let objects = Objects::start().await;
    let straight = at(&objects.endpoint);
    for removed in [false, true] {
        put(&straight, "x", &content(3 * MIB)).await;
        let bucket = at(&cutting(&objects.endpoint, &[MIB]).await);
        let mut body = bucket.open("x", 0).await.unwrap().bytes;
        body.try_next().await.unwrap().unwrap();
        if removed {
            straight.delete("x").await.unwrap();
        } else {
            put(&straight, "x", &vec![1; 3 * MIB]).await;
        }
        let rest: Result<Vec<_>, _> = body.try_collect().await;
        assert_eq!(rest.unwrap_err().kind, FaultKind::Changed, "removed: {removed}");
    }
}

/// A server of one blob that knows the SHA-256 before a body, and has its own way with a framed one.
#[derive(Clone)]
struct Careless {
    /// What it answers to frames.
    frames: StatusCode,
    held: Arc<Mutex<Vec<u8>>>,
}

impl Careless {
    async fn start(frames: StatusCode) -> (Self, Url) {
        let double = Self { frames, held: Arc::default() };
        let router = Router::new().fallback(Self::answer).with_state(double.clone());
        (double, url(serve(router.layer(axum::extract::DefaultBodyLimit::disable())).await))
    }

    async fn answer(State(double): State<Self>, method: Method, headers: HeaderMap, body: Bytes) -> Response {
        if method == Method::HEAD {
            return ([("etag", "\"1\"")], double.held.lock().unwrap().clone()).into_response();
        }
        if let Some(sha256) = headers.get("x-amz-checksum-sha256") {
            *double.held.lock().unwrap() = body.to_vec();
            return ([("etag", "\"1\"".parse().unwrap()), ("x-amz-checksum-sha256", sha256.clone())]).into_response();
        }
        let framed = headers.contains_key("x-amz-trailer");
        if !framed || double.frames.is_success() {
            *double.held.lock().unwrap() = body.to_vec();
            return [("etag", "\"1\"")].into_response();
        }
        double.frames.into_response()
    }
}

#[tokio::test]
async fn frames_go_only_where_checksums_are_known_and_never_count_unchecked() {
    let long = content(9 * MIB);
    // Stores the frames as if they were content.
    let (careless, endpoint) = Careless::start(StatusCode::OK).await;
    let bucket = at(&endpoint);
    let plain = bucket.put("x", body(&long), &as_is(None)).await.unwrap();
    assert_eq!((plain.sha256, careless.held.lock().unwrap().len()), (None, long.len()), "nothing was shown yet");
    let known = bucket.put("x", body(b"hello"), &as_is(None)).await.unwrap();
    assert_eq!(known.sha256, Some(Digest::of(b"hello")));
    let fault = bucket.put("x", body(&long), &as_is(None)).await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Mismatch, "{}", fault.chain());
    assert!(careless.held.lock().unwrap().len() > long.len());
    bucket.put("x", body(&long), &as_is(None)).await.unwrap();
    assert!(*careless.held.lock().unwrap() == long, "the next try goes without frames");

    for status in [StatusCode::NOT_IMPLEMENTED, StatusCode::BAD_REQUEST, StatusCode::LENGTH_REQUIRED] {
        let (careless, endpoint) = Careless::start(status).await;
        let bucket = at(&endpoint);
        bucket.put("x", body(b"hello"), &as_is(None)).await.unwrap();
        let fault = bucket.put("x", body(&long), &as_is(None)).await.unwrap_err();
        assert!(fault.kind.is_retryable(), "{status} {}", fault.chain());
        assert!(*careless.held.lock().unwrap() == b"hello");
        bucket.put("x", body(&long), &as_is(None)).await.unwrap();
        assert!(*careless.held.lock().unwrap() == long, "{status}");
    }
}

#[tokio::test]
async fn a_good_status_alone_is_no_success() {
    let error = b"HTTP/1.1 200 OK\r\nContent-Type: application/xml\r\nContent-Length: 87\r\n\r\n\
        <Error><Code>InternalError</Code><Message>We encountered an error.</Message></Error>\n\n\n";
    let part = PartSent { number: 1, tag: "x".into(), sha256: Digest::of(b"x"), size: 1 };
    let bucket = at(&url(raw_server(error).await));
    let fault = bucket.in_parts().unwrap().finish("x", "upload", &[part], false).await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Server, "{}", fault.chain());

    let bucket = at(&url(raw_server(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await));
    let fault = bucket.put("x", body(b"hello"), &as_is(None)).await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Garbage, "{}", fault.chain());

    let other = b"HTTP/1.1 200 OK\r\nETag: \"1\"\r\nContent-Length: 0\r\n\
        x-amz-checksum-sha256: 2SmKENGwc1g33EvYXaxkGw887yekfl1TpU8vP1svz/o=\r\n\r\n";
    let bucket = at(&url(raw_server(other).await));
    let fault = bucket.put("x", body(b"hello"), &as_is(None)).await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Mismatch, "{}", fault.chain());
}
