//! What an endpoint may answer that no endpoint should, and pages that shift while they are read.

use super::{
    all, key, keys, numbers, plan,
    server::{Asked, Server},
    set, store,
};
use axum::{
    body::Body,
    http::{StatusCode, header},
    response::{IntoResponse as _, Response},
};
use cutover::{
    error::{Fault, FaultKind},
    model::{Decimal, Key, Record, Value},
    plan::{Auth, Compression, HttpPlan, NextAs, Outcomes, Pagination, Preset},
    ports::{Cursor, Page, RecordStore, WriteOutcome},
};
use serde_json::{Value as Json, json};
use std::{
    collections::BTreeSet,
    io::Read as _,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};
use url::Url;

fn says(body: impl Into<Body>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], body.into()).into_response()
}

fn rest(endpoint: &Url, pagination: Pagination) -> HttpPlan {
    plan(endpoint, Auth::None, pagination)
}

async fn read(plan: HttpPlan) -> Result<Page, Fault> {
    store(plan).read(&set("/rows/"), &Cursor::START, 10).await
}

#[tokio::test]
async fn what_is_no_page_is_garbage_and_shown() {
    let bodies: [(&[u8], &str); 12] = [
        (b"<html><body>Sign in to go on</body></html>", "HTML"),
        (b"", "nothing at all"),
        (b"{\"count\": 2, \"results\": [{\"id\": 1, \"na", "ends in the middle"),
        (b"{\"results\": [{\"id\": 1, \"x\": \"a\xff\"}]}", "no UTF-8"),
        (b"{\"results\": [{\"id\": 1, \"x\": NaN}]}", "`NaN`"),
        (b"{\"results\": [{\"id\": 1, \"x\": Infinity}]}", "`Infinity`"),
        (b"{\"results\": [{\"id\": 1, \"x\": -Infinity}]}", "`Infinity`"),
        (b"{\"results\": [1]}", "an object for each row"),
        (b"{\"rows\": []}", "no list of rows at `/results`"),
        (b"42", "neither an object nor a list"),
        (b"{\"next\": \"x\", \"results\": []}", "an empty page"),
        (b"\x1b[31m\xe2\x80\xae", "no JSON"),
    ];
    let server = Server::that(move |asked| {
        let place: usize = asked.path.trim_matches('/').parse().unwrap();
        says(bodies[place].0)
    })
    .await;
    let store = store(rest(&server.endpoint, Pagination::PageNumber));
    for (place, (body, why)) in bodies.iter().enumerate() {
        let fault = store.read(&set(&format!("/{place}/")), &Cursor::START, 5).await.unwrap_err();
        let said = fault.chain();
        assert!(fault.kind == FaultKind::Garbage && said.contains(why), "{}: {said}", String::from_utf8_lossy(body));
        assert!(!said.contains(['\u{1b}', '\u{202e}']), "{said}");
    }
    let shown = store.read(&set("/0/"), &Cursor::START, 5).await.unwrap_err().advice();
    assert!(shown.contains("Sign in to go on"), "{shown}");
}

#[tokio::test]
async fn every_digit_arrives() {
    let body = r#"[{"id": 9007199254740993, "a": 9223372036854775808, "b": 0.1234567890123456789, "c": 1e2, "d": 123456789012345678901234567890,
        "e": {"n": 9007199254740993, "f": 0.1}, "f": -0.30000000000000004}]"#;
    let server = Server::that(move |_| says(body)).await;
    let page = read(rest(&server.endpoint, Pagination::None)).await.unwrap();
    let row = &page.records[0];
    let decimal = |text: &str| Value::Decimal(Decimal::parse(text).unwrap());
    for (field, wanted) in [
        ("id", Value::Int(9_007_199_254_740_993)),
        ("a", decimal("9223372036854775808")),
        ("b", decimal("0.1234567890123456789")),
        ("c", Value::Float(100.0)),
        ("d", decimal("123456789012345678901234567890")),
        ("e", Value::Json(json!({"n": 9_007_199_254_740_993_i64, "f": 0.1}))),
        ("f", Value::Float(-0.300_000_000_000_000_04)),
    ] {
        assert_eq!(row.get(field), Some(&wanted), "{field}");
    }
    let server = Server::that(|_| says(r#"[{"id": 1, "e": [0.1234567890123456789]}]"#)).await;
    let fault = read(rest(&server.endpoint, Pagination::None)).await.unwrap_err();
    assert!(
        fault.chain().contains("the field `e` holds a document with the number 0.1234567890123456789"),
        "{}",
        fault.chain()
    );
}

#[tokio::test]
async fn a_link_leads_nowhere_else_and_not_back() {
    for (next, kind, why) in [
        ("http://evil.example/rows/?cursor=2", FaultKind::Refused, "http://evil.example"),
        ("https://127.0.0.1/rows/?cursor=2", FaultKind::Refused, "https://127.0.0.1"),
        ("//evil.example/rows/", FaultKind::Refused, "evil.example"),
        ("file:///etc/passwd", FaultKind::Refused, "not http://127.0.0.1"),
        ("/rows/?page_size=10", FaultKind::Garbage, "this page again"),
    ] {
        let server = Server::that(move |asked| {
            if asked.path != "/rows/" {
                return StatusCode::NOT_FOUND.into_response();
            }
            let link = [(header::LINK, format!("<{next}>; rel=\"next\""))];
            (link, says(json!({"next": next, "results": [{"id": 1}]}).to_string())).into_response()
        })
        .await;
        for pagination in [Pagination::Cursor, Pagination::LinkHeader] {
            let fault = read(rest(&server.endpoint, pagination)).await.unwrap_err();
            assert!(fault.kind == kind && fault.chain().contains(why), "{next} by {pagination:?}: {}", fault.chain());
        }
        // Numbered pages and offsets follow no link at all.
        for pagination in [Pagination::PageNumber, Pagination::LimitOffset] {
            assert!(read(rest(&server.endpoint, pagination)).await.unwrap().next.is_some());
        }
        assert!(server.asked().iter().all(|asked| asked.path == "/rows/"));
    }
    let server = Server::that(|_| says(r#"{"result": [{"id": 1}], "result_info": {"cursor": "same"}}"#)).await;
    let plan = HttpPlan::new(Preset::WorkersApi, server.endpoint.clone(), Auth::None);
    let first = read(plan.clone()).await.unwrap().next.unwrap();
    let fault = store(plan).read(&set("/rows/"), &first, 10).await.unwrap_err();
    assert!(fault.kind == FaultKind::Garbage && fault.chain().contains("this page again"), "{}", fault.chain());
}

#[tokio::test]
async fn the_wait_that_is_asked_for_and_a_cut_answer() {
    let server = Server::that(|asked| match asked.path.as_str() {
        "/seconds/" => (StatusCode::TOO_MANY_REQUESTS, [(header::RETRY_AFTER, "7")]).into_response(),
        "/date/" => {
            let at = [
                (header::DATE, "Sat, 21 Nov 2026 01:00:00 GMT"),
                (header::RETRY_AFTER, "Sat, 21 Nov 2026 01:00:30 GMT"),
            ];
            (StatusCode::TOO_MANY_REQUESTS, at).into_response()
        }
        other => panic!("{other}"),
    })
    .await;
    let cut = cut_server().await;
    for (endpoint, path, kind, wait) in [
        (&server.endpoint, "/seconds/", FaultKind::Throttled, Some(7)),
        (&server.endpoint, "/date/", FaultKind::Throttled, Some(30)),
        (&cut, "/cut/", FaultKind::Garbage, None),
    ] {
        let store = store(rest(endpoint, Pagination::Cursor));
        let fault = store.read(&set(path), &Cursor::START, 10).await.unwrap_err();
        assert_eq!((fault.kind, fault.retry_after), (kind, wait.map(Duration::from_secs)), "{path}: {}", fault.chain());
        assert!(fault.kind.is_retryable());
    }
}

/// Says more than it sends, and breaks off in mid-body.
async fn cut_server() -> Url {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = Url::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let mut request = [0; 4096];
            let _came = socket.read(&mut request).await;
            let _gone =
                socket.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{\"results\": [{\"id\"").await;
            let _gone = socket.shutdown().await;
        }
    });
    endpoint
}

/// A table that is served in every way of paging; a test changes it between two requests.
#[derive(Clone)]
struct Table {
    rows: Arc<Mutex<Vec<i64>>>,
    /// The server's own page size, whatever is asked for.
    fixed: Option<usize>,
}

impl Table {
    fn of(rows: impl IntoIterator<Item = i64>) -> Self {
        Self { rows: Arc::new(Mutex::new(rows.into_iter().collect())), fixed: None }
    }

    fn page(&self, asked: &Asked) -> Response {
        let rows = self.rows.lock().unwrap();
        let row = |id: &i64| json!({ "id": id });
        if asked.parameter("offset").is_some() {
            let (offset, limit) = (asked.number_in("offset", 0), asked.number_in("limit", 10));
            let results: Vec<Json> = rows.iter().skip(offset).take(limit).map(row).collect();
            let next = (offset + limit < rows.len()).then_some("more");
            return says(json!({"count": rows.len(), "next": next, "results": results}).to_string());
        }
        let (page, size) = (asked.number_in("page", 1), self.fixed.unwrap_or(asked.number_in("page_size", 10)));
        if page > rows.len().div_ceil(size).max(1) {
            return (StatusCode::NOT_FOUND, "{\"detail\": \"Invalid page.\"}").into_response();
        }
        let results: Vec<Json> = rows.iter().skip((page - 1) * size).take(size).map(row).collect();
        let next = (page * size < rows.len()).then_some("more");
        says(json!({"count": rows.len(), "next": next, "results": results}).to_string())
    }
}

#[tokio::test]
async fn pages_that_shift_lose_nothing() {
    // What happens after a page was read: so many rows vanish at the front, so many come, at which end.
    let happens = [(1, 1, true), (7, 7, true), (35, 35, true), (0, 9, false), (5, 5, false), (12, 0, true)];
    for (fixed, pagination) in
        [(None, Pagination::PageNumber), (None, Pagination::LimitOffset), (Some(6), Pagination::PageNumber)]
    {
        for (at, (vanish, come, behind)) in happens.into_iter().enumerate() {
            for when in 1..6 {
                let table = Table { fixed, ..Table::of(0..100) };
                let server = Server::that({
                    let table = table.clone();
                    move |asked| table.page(asked)
                })
                .await;
                let store = store(rest(&server.endpoint, pagination));
                let (mut seen, mut from, mut round) = (BTreeSet::new(), Cursor::START, 0);
                loop {
                    let page = store.read(&set("/rows/"), &from, 10).await.unwrap();
                    seen.extend(keys(&page.records));
                    round += 1;
                    assert!(round < 100, "it never ends");
                    if round == when {
                        let mut rows = table.rows.lock().unwrap();
                        rows.drain(..vanish);
                        // Where single rows cannot be asked for, rows that come hide those that go.
                        let come = if fixed.is_some() && vanish > 0 { 0 } else { come };
                        let new = (0..come).map(|n| 1000 + n);
                        if behind { rows.extend(new) } else { rows.splice(..0, new.map(|n| -n)).for_each(drop) }
                    }
                    match page.next {
                        Some(next) => from = next,
                        None => break,
                    }
                }
                let stayed: BTreeSet<Key> = numbers(i64::try_from(vanish).unwrap()..100).into_iter().collect();
                let lost: Vec<&Key> = stayed.difference(&seen).collect();
                assert!(lost.is_empty(), "{pagination:?}, size {fixed:?}, case {at} after page {when}: {lost:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_count_that_changes_all_the_time_ends_all_the_same() {
    for pagination in [Pagination::PageNumber, Pagination::LimitOffset] {
        let table = Table::of(0..200);
        let server = Server::that({
            let table = table.clone();
            move |asked| {
                let answer = table.page(asked);
                let mut rows = table.rows.lock().unwrap();
                // One row goes and one comes with each request, until the front is used up.
                if asked.number < 60 {
                    rows.remove(0);
                    rows.push(10_000 + i64::try_from(asked.number).unwrap());
                }
                answer
            }
        })
        .await;
        let seen: BTreeSet<Key> =
            keys(&all(&store(rest(&server.endpoint, pagination)), &set("/rows/"), 20).await).into_iter().collect();
        let lost: Vec<Key> = numbers(60..200).into_iter().filter(|key| !seen.contains(key)).collect();
        assert!(lost.is_empty(), "{pagination:?}: {lost:?}");
    }
}

#[tokio::test]
async fn long_rows_come_in_smaller_pages() {
    const MIB: usize = 1 << 20;
    let server = Server::that(|asked| {
        let (page, size) = (asked.number_in("page", 1), asked.number_in("page_size", 10));
        let (offset, limit) = (asked.number_in("offset", (page - 1) * size), asked.number_in("limit", size));
        let rows: Vec<String> = (offset..(offset + limit).min(12))
            .map(|id| {
                format!("{{\"id\": {id}, \"text\": \"{}\"}}", "x".repeat(if id == 7 { 10 * MIB } else { 2 * MIB }))
            })
            .collect();
        let next = if offset + limit < 12 { "\"more\"" } else { "null" };
        says(format!("{{\"next\": {next}, \"results\": [{}]}}", rows.join(",")))
    })
    .await;
    for pagination in [Pagination::PageNumber, Pagination::LimitOffset] {
        let plan = HttpPlan { max_answer: 13 * MIB as u64, ..rest(&server.endpoint, pagination) };
        let read = all(&store(plan), &set("/rows/"), 10).await;
        let lengths: std::collections::BTreeMap<Key, usize> =
            read.iter().map(|row| (row.key("id").unwrap(), row.text("text").unwrap().len())).collect();
        assert_eq!(lengths.len(), 12, "{pagination:?}");
        assert_eq!(lengths[&key(7)], 10 * MIB);
    }
    let tight = HttpPlan { max_answer: 5 * MIB as u64, ..rest(&server.endpoint, Pagination::LimitOffset) };
    let store = store(tight);
    let mut from = Cursor::START;
    let fault = loop {
        match store.read(&set("/rows/"), &from, 10).await {
            Ok(page) => from = page.next.unwrap(),
            Err(fault) => break fault,
        }
    };
    assert!(fault.kind == FaultKind::Refused && fault.chain().contains("max_answer"), "{}", fault.chain());
}

#[tokio::test]
async fn packed_bodies_go_and_come() {
    let server = Server::that(|asked| {
        let body = match asked.headers.get(header::CONTENT_ENCODING).map(|how| how.to_str().unwrap()) {
            Some("zstd") => zstd::decode_all(&asked.body[..]).unwrap(),
            Some("gzip") => {
                let mut plain = Vec::new();
                flate2::read::GzDecoder::new(&asked.body[..]).read_to_end(&mut plain).unwrap();
                plain
            }
            _ => asked.body.to_vec(),
        };
        let said: Json = serde_json::from_slice(&body).unwrap();
        let results: Vec<Json> = said["records"]
            .as_array()
            .unwrap()
            .iter()
            .map(|row| json!({"key": row["id"], "status": "created"}))
            .collect();
        let answer = zstd::encode_all(json!({"results": results}).to_string().as_bytes(), 1).unwrap();
        ([(header::CONTENT_ENCODING, "zstd")], answer).into_response()
    })
    .await;
    let rows: Vec<Record> =
        (0..500).map(|id| Record::from_json(json!({"id": id, "text": "näme".repeat(20)})).unwrap()).collect();
    for compress in [Compression::None, Compression::Gzip, Compression::Zstd] {
        let store = store(HttpPlan { compress, ..rest(&server.endpoint, Pagination::None) });
        assert_eq!(store.write(&set("/rows/"), &rows).await.unwrap(), vec![WriteOutcome::Created; 500]);
    }
    let asked = server.asked();
    assert!(asked[1].body.len() * 5 < asked[0].body.len() && asked[2].body.len() * 5 < asked[0].body.len());
    let marks: BTreeSet<_> = asked.iter().map(|asked| asked.headers["idempotency-key"].clone()).collect();
    assert_eq!(marks.len(), 3, "each request has its own");
}

#[tokio::test]
async fn an_etag_spares_the_transfer_within_its_room() {
    let server = Server::that(|asked| {
        let tag = format!("\"{}\"", asked.parameter("page").unwrap());
        if asked.headers.get(header::IF_NONE_MATCH).is_some_and(|known| known.to_str().unwrap() == tag) {
            return StatusCode::NOT_MODIFIED.into_response();
        }
        let page = asked.number_in("page", 1);
        let next = (page < 10).then_some("more");
        let body = json!({"next": next, "results": [{"id": page, "text": "x".repeat(10_000)}]}).to_string();
        ([(header::ETAG, tag)], says(body)).into_response()
    })
    .await;
    for (cache, spared) in [(0, 0), (1 << 20, 10)] {
        let before = server.asked().len();
        let store = store(HttpPlan { cache, ..rest(&server.endpoint, Pagination::PageNumber) });
        let once = all(&store, &set("/rows/"), 1).await;
        let first = server.asked().len() - before;
        assert_eq!(all(&store, &set("/rows/"), 1).await, once);
        let again: Vec<Asked> = server.asked().split_off(before + first);
        let sent = again.iter().filter(|asked| asked.headers.contains_key(header::IF_NONE_MATCH)).count();
        assert!(sent >= spared && (spared > 0 || sent == 0), "{sent} of {}", again.len());
    }
}

#[tokio::test]
async fn an_api_of_another_shape_is_said_in_the_plan() {
    let server = Server::that(|asked| match (asked.method.as_str(), asked.path.as_str()) {
        ("GET", "/v1/people") => {
            let from =
                asked.parameter("after").map_or(0, |token| token.strip_prefix("t").unwrap().parse::<i64>().unwrap());
            let items: Vec<Json> = (from..(from + 3).min(8)).map(|id| json!({ "id": id })).collect();
            let next = (from + 3 < 8).then(|| format!("t{}", from + 3));
            let deleted = asked.parameter("since").map(|_| json!([{"id": 99}, 98]));
            says(json!({"data": {"items": items}, "page": {"after": next, "all": 8}, "tombs": deleted}).to_string())
        }
        ("PUT", "/v1/people/batch") => {
            let said: Json = serde_json::from_slice(&asked.body).unwrap();
            assert_eq!(said["rows"].as_array().unwrap().len(), 2);
            assert_eq!(asked.headers["x-request-id"].len(), 97);
            says(json!({"errors": [{"row": {"id": 2}, "why": "taken"}]}).to_string())
        }
        ("DELETE", "/v1/people/batch") => StatusCode::NO_CONTENT.into_response(),
        other => panic!("{other:?}"),
    })
    .await;
    let mut plan = HttpPlan::new(Preset::WorkersApi, server.endpoint.clone(), Auth::None);
    plan.read.rows = "/data/items".into();
    plan.read.next = "/page/after".into();
    plan.read.total = "/page/all".into();
    plan.read.deleted = "/tombs".into();
    plan.read.next_as = NextAs::Token;
    plan.read.parameters.cursor = "after".into();
    plan.read.parameters.updated_since = "since".into();
    plan.write.send.method = "PUT".into();
    plan.write.send.path = "{{ path }}/batch".into();
    plan.write.send.body = json!({"rows": "{{ records }}"});
    plan.write.outcomes = Outcomes::Errors { at: "/errors".into() };
    plan.write.key = "/row/id".into();
    plan.write.error = "/why".into();
    plan.write.idempotency_header = "x-request-id".into();
    plan.delete.send.method = "DELETE".into();
    plan.delete.send.path = "{{ path }}/batch".into();
    plan.delete.deleted = String::new();
    let store = store(plan);
    let people = set("/v1/people");
    assert_eq!(keys(&all(&store, &people, 2).await), numbers(0..8));
    assert_eq!(store.describe(&people).await.unwrap().count, Some(8));
    let changes = store.changes(&people, "2026-11-20T00:00:00Z".parse().unwrap(), &Cursor::START, 5).await.unwrap();
    assert_eq!(changes.gone, [key(99), key(98)]);
    let rows: Vec<Record> = (1..3).map(|id| Record::from_json(json!({ "id": id })).unwrap()).collect();
    let outcomes = store.write(&people, &rows).await.unwrap();
    assert_eq!(outcomes, [WriteOutcome::Updated, WriteOutcome::Rejected("taken".into())]);
    store.delete(&people, &numbers([1])).await.unwrap();
}
