//! Media over HTTP: servers that cut, stall, change their mind, or do not know how long a file is.

use super::{
    PATIENCE,
    doubles::{Asked, Media, Said, closed_port, say, silent_server},
    token,
};
use bytes::Bytes;
use cutover::{
    adapters::blobs::HttpBucket,
    error::{Fault, FaultKind, Result},
    model::Digest,
    plan::Auth,
    ports::{BlobBody, BlobInfo, BlobMeta, BlobStore, Put},
};
use futures::{StreamExt, TryStreamExt, stream};
use std::{sync::Arc, time::Duration};
use url::Url;

/// Short, for what must run out.
const SHORT: Duration = Duration::from_millis(300);

fn content(length: usize) -> Vec<u8> {
    (0..length).map(|n| u8::try_from((n * 31 + n / 251) % 256).unwrap()).collect()
}

fn bucket(endpoint: &Url, timeout: Duration) -> HttpBucket {
    HttpBucket::new("web", endpoint.clone(), Auth::None, timeout, true).unwrap()
}

fn body(content: &[u8]) -> BlobBody {
    let pieces: Vec<Result<Bytes>> = content.chunks(1000).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
    let bytes = stream::iter(pieces).boxed();
    BlobBody { size: content.len() as u64, version: None, meta: BlobMeta::default(), bytes }
}

async fn read(bucket: &HttpBucket, key: &str, from: u64) -> Result<Vec<u8>> {
    let pieces: Vec<Bytes> = bucket.open(key, from).await?.bytes.try_collect().await?;
    Ok(pieces.concat())
}

async fn fails(bucket: &HttpBucket, kind: FaultKind, word: &str) {
    let fault = read(bucket, "a", 0).await.unwrap_err();
    assert_eq!(fault.kind, kind, "{}", fault.chain());
    assert!(fault.chain().contains(word), "{word} in: {}", fault.chain());
}

/// A part as a server with ranges gives it, of which at most `most` bytes really come.
fn part(asked: &Asked, all: &[u8], tag: &str, most: usize) -> Said {
    let headers = [("etag", tag), ("accept-ranges", "bytes")];
    let Some(from) = asked.from() else {
        return say("200 OK", &headers).sized(all.len()).only(&all[..most.min(all.len())]);
    };
    if from >= all.len() {
        return say("416 Range Not Satisfiable", &[("content-range", &format!("bytes */{}", all.len()))]).body(b"");
    }
    let range = format!("bytes {from}-{}/{}", all.len() - 1, all.len());
    let said = say("206 Partial Content", &[("etag", tag), ("content-range", &range)]);
    said.sized(all.len() - from).only(&all[from..(from + most).min(all.len())])
}

#[tokio::test]
async fn a_key_is_a_path_below_the_endpoint() {
    let keys =
        ["a/b.csv", "🦊/fox", "caf\u{e9}", "cafe\u{301}", "#?%&+'\"", "%2e%2e/x", "a b", "two\nlines\t", "a\\b", "..."];
    let server = Media::start(|asked, _| say("200 OK", &[]).body(asked.path.as_bytes())).await;
    let bucket = bucket(&server.endpoint, PATIENCE);
    for key in keys {
        let path = String::from_utf8(read(&bucket, key, 0).await.unwrap()).unwrap();
        let decoded: Vec<u8> = percent_encoding::percent_decode_str(&path).collect();
        assert_eq!(String::from_utf8(decoded).unwrap(), format!("/media/{key}"));
        assert!(path.bytes().all(|byte| byte.is_ascii_graphic() && !b"?#\\\"".contains(&byte)), "{path}");
    }
    for bad in ["", "/x", "../x", "a/../x", "a//b", "a/."] {
        assert_eq!(bucket.open(bad, 0).await.err().unwrap().kind, FaultKind::Refused, "{bad:?}");
        assert_eq!(bucket.head(bad).await.unwrap_err().kind, FaultKind::Refused, "{bad:?}");
    }
    assert_eq!(server.asked().len(), keys.len());
}

#[tokio::test]
async fn what_the_headers_say_travels_and_bytes_stay_as_they_are() {
    let headers = [
        ("content-type", "text/csv; charset=utf-8"),
        ("cache-control", "max-age=60"),
        ("content-disposition", "attachment; filename=\"größe.csv\""),
        ("content-encoding", "gzip"),
        ("content-language", "de"),
        ("last-modified", "Sat, 21 Nov 2026 01:00:00 GMT"),
    ];
    let zipped = b"\x1f\x8b\x08 no real gzip";
    let server = Media::start(move |_, _| say("200 OK", &headers).body(zipped)).await;
    let bucket = bucket(&server.endpoint, PATIENCE);
    let opened = bucket.open("a", 0).await.unwrap();
    let version = Some("Sat, 21 Nov 2026 01:00:00 GMT/16".to_owned());
    assert_eq!((opened.size, &opened.version), (16, &version));
    let meta = BlobMeta {
        content_type: Some(headers[0].1.into()),
        cache_control: Some(headers[1].1.into()),
        content_disposition: Some(headers[2].1.into()),
        content_encoding: Some("gzip".into()),
        content_language: Some("de".into()),
        ..BlobMeta::default()
    };
    assert_eq!(opened.meta, meta);
    assert_eq!(bucket.meta("a").await.unwrap(), Some(meta));
    assert_eq!(read(&bucket, "a", 0).await.unwrap(), zipped, "nothing is unpacked");
    let info = BlobInfo { key: "a".into(), size: 16, version, ..BlobInfo::default() };
    assert_eq!(bucket.head("a").await.unwrap(), Some(info));
    assert!(server.asked().iter().all(|asked| asked.header("accept-encoding") == "identity"));
}

#[tokio::test]
async fn any_byte_may_be_the_first_with_ranges_and_without() {
    let all = content(100_000);
    let (with, without) = (all.clone(), all.clone());
    let with = Media::start(move |asked, _| part(asked, &with, "\"1\"", usize::MAX / 2)).await;
    let without = Media::start(move |_, _| say("200 OK", &[]).body(&without)).await;
    for server in [with, without] {
        let bucket = bucket(&server.endpoint, PATIENCE);
        for from in [0, 1, 65_536, 99_999, 100_000] {
            let opened = bucket.open("a", from).await.unwrap();
            assert_eq!(opened.size, 100_000, "of the whole file");
            let pieces: Vec<Bytes> = opened.bytes.try_collect().await.unwrap();
            assert!(pieces.concat() == all[usize::try_from(from).unwrap()..], "from byte {from}");
        }
        assert_eq!(bucket.open("a", 100_001).await.err().unwrap().kind, FaultKind::Refused);
    }
}

#[tokio::test]
async fn a_cut_body_is_read_on() {
    let all = content(400_000);
    let given = all.clone();
    let server = Media::start(move |asked, _| part(asked, &given, "\"1\"", 100_000)).await;
    assert!(read(&bucket(&server.endpoint, PATIENCE), "a", 7).await.unwrap() == all[7..]);
    let asked = server.asked();
    assert_eq!(asked.iter().map(Asked::from).collect::<Vec<_>>(), [7, 100_007, 200_007, 300_007].map(Some));
    assert_eq!(asked.iter().map(|asked| asked.header("if-range")).collect::<Vec<_>>(), ["", "\"1\"", "\"1\"", "\"1\""]);

    let given = all.clone();
    let server = Media::start(move |asked, _| part(asked, &given, "\"1\"", 99_999)).await;
    fails(&bucket(&server.endpoint, PATIENCE), FaultKind::Garbage, "").await;
    assert_eq!(server.asked().len(), 4, "three times and no more");

    let given = all.clone();
    let stalls = Media::start(move |asked, n| {
        let said = part(asked, &given, "\"1\"", if n == 0 { 10 } else { usize::MAX / 2 });
        if n == 0 { said.hangs() } else { said }
    })
    .await;
    assert!(read(&bucket(&stalls.endpoint, SHORT), "a", 0).await.unwrap() == all, "and so is one that stalls");

    let given = all.clone();
    let busy = Media::start(move |asked, n| match n {
        1 => say("500 Internal Server Error", &[]).body(b"oops"),
        n => part(asked, &given, "\"1\"", if n == 0 { 10 } else { usize::MAX / 2 }),
    })
    .await;
    assert!(read(&bucket(&busy.endpoint, PATIENCE), "a", 0).await.unwrap() == all, "a bad answer between is no end");
}

type Then = fn(&[u8]) -> Said;

#[tokio::test]
async fn only_the_same_file_is_read_on() {
    let all = content(1000);
    let ranges = [("accept-ranges", "bytes"), ("etag", "\"1\"")];
    let first = move |headers: &[(&str, &str)]| say("200 OK", headers).sized(1000).only(&content(400));
    let table: [(&str, Then, FaultKind); 8] = [
        ("another one", |all| say("200 OK", &[("etag", "\"2\"")]).body(all), FaultKind::Changed),
        ("a longer one", |all| say("200 OK", &[("etag", "\"1\"")]).body(&[all, all].concat()), FaultKind::Changed),
        ("gone", |_| say("404 Not Found", &[]).body(b""), FaultKind::Changed),
        ("shorter", |_| say("416 Range Not Satisfiable", &[]).body(b""), FaultKind::Changed),
        (
            "a part of another one",
            |all| {
                let headers = [("etag", "\"2\""), ("content-range", "bytes 400-999/1000")];
                say("206 Partial Content", &headers).body(&all[400..])
            },
            FaultKind::Changed,
        ),
        ("the same from its beginning", |all| say("200 OK", &[("etag", "\"1\"")]).body(all), FaultKind::Garbage),
        (
            "another part",
            |all| {
                let headers = [("etag", "\"1\""), ("content-range", "bytes 300-999/1000")];
                say("206 Partial Content", &headers).body(&all[300..])
            },
            FaultKind::Garbage,
        ),
        ("throttled", |_| say("429 Too Many Requests", &[("retry-after", "7")]).body(b""), FaultKind::Throttled),
    ];
    for (what, then, kind) in table {
        let all = all.clone();
        let server = Media::start(move |_, n| if n == 0 { first(&ranges) } else { then(&all) }).await;
        let fault = read(&bucket(&server.endpoint, PATIENCE), "a", 0).await.unwrap_err();
        assert_eq!(fault.kind, kind, "{what}: {}", fault.chain());
        assert_eq!(server.asked().len(), 2, "{what}");
    }
    let unsure: [&[(&str, &str)]; 3] =
        [&[], &[("accept-ranges", "bytes")], &[("accept-ranges", "bytes"), ("etag", "W/\"1\"")]];
    for headers in unsure {
        let server = Media::start(move |_, _| first(headers)).await;
        fails(&bucket(&server.endpoint, PATIENCE), FaultKind::Garbage, "400 of 1000").await;
        assert_eq!(server.asked().len(), 1, "who cannot say that it is the same is not asked: {headers:?}");
    }
}

#[tokio::test]
async fn what_is_no_file_is_told_apart() {
    type Answer = fn(&Asked, usize) -> Said;
    let table: [(Answer, FaultKind, &str); 10] = [
        (|_, _| say("404 Not Found", &[]).body(b"no such page"), FaultKind::NotFound, "404"),
        (|_, _| say("410 Gone", &[]).body(b""), FaultKind::NotFound, "410"),
        (|_, _| say("401 Unauthorized", &[]).body(b"who?"), FaultKind::Unauthorized, "who?"),
        (|_, _| say("503 Service Unavailable", &[("retry-after", "7")]).body(b""), FaultKind::Throttled, "503"),
        (|_, _| say("500 Internal Server Error", &[]).body(b"oops"), FaultKind::Server, "oops"),
        (|_, _| say("204 No Content", &[]), FaultKind::Garbage, "204"),
        (|_, _| say("200 OK", &[]).only(b"as long as it lasts"), FaultKind::Garbage, "Content-Length"),
        (
            |_, _| say("200 OK", &[("transfer-encoding", "chunked")]).only(b"1\r\na\r\n0\r\n\r\n"),
            FaultKind::Garbage,
            "Content-Length",
        ),
        (|_, _| say("302 Found", &[("location", "/media/a")]).body(b""), FaultKind::Refused, "redirected more than"),
        (
            |_, _| say("302 Found", &[("location", "http://cdn.example/a?sign=abc")]).body(b""),
            FaultKind::Refused,
            "leads to another server, http://cdn.example, ",
        ),
    ];
    for (answer, kind, word) in table {
        let server = Media::start(answer).await;
        fails(&bucket(&server.endpoint, PATIENCE), kind, word).await;
    }
    let server = Media::start(|asked, _| match asked.path.as_str() {
        "/media/a" => say("301 Moved Permanently", &[("location", "/files/a")]).body(b""),
        _ => say("200 OK", &[]).body(b"moved"),
    })
    .await;
    assert_eq!(read(&bucket(&server.endpoint, PATIENCE), "a", 0).await.unwrap(), b"moved", "on the same server");
    let gone = Url::parse(&format!("http://{}", closed_port().await)).unwrap();
    fails(&bucket(&gone, PATIENCE), FaultKind::Unreachable, "").await;
    let silent = Url::parse(&format!("http://{}", silent_server().await)).unwrap();
    fails(&bucket(&silent, SHORT), FaultKind::Timeout, "").await;
    let stalls = Media::start(|_, _| say("200 OK", &[]).sized(10).only(b"half").hangs()).await;
    fails(&bucket(&stalls.endpoint, SHORT), FaultKind::Timeout, "no byte within").await;
}

#[tokio::test]
async fn a_server_without_head_is_asked_otherwise() {
    type Answer = fn(&Asked, usize) -> Said;
    let table: [(Answer, Option<u64>); 4] = [
        (|_, _| say("200 OK", &[]).body(b"four"), Some(4)),
        (
            |asked, _| match asked.method.as_str() {
                "HEAD" => say("405 Method Not Allowed", &[]).body(b""),
                _ => say("200 OK", &[]).sized(1 << 30).only(b"the beginning of much").hangs(),
            },
            Some(1 << 30),
        ),
        (
            |asked, _| match asked.method.as_str() {
                "HEAD" => say("200 OK", &[]),
                _ => say("200 OK", &[]).body(b"four"),
            },
            Some(4),
        ),
        (|_, _| say("404 Not Found", &[]).body(b""), None),
    ];
    for (answer, size) in table {
        let server = Media::start(answer).await;
        let bucket = bucket(&server.endpoint, PATIENCE);
        assert_eq!(bucket.head("a").await.unwrap().map(|info| info.size), size);
        assert_eq!(bucket.meta("a").await.unwrap().is_some(), size.is_some());
    }
    let server = Media::start(|_, _| say("403 Forbidden", &[]).body(b"")).await;
    assert_eq!(bucket(&server.endpoint, PATIENCE).head("a").await.unwrap_err().kind, FaultKind::Unauthorized);
}

#[tokio::test]
async fn it_cannot_be_listed_but_reached() {
    type Answer = fn(&Asked, usize) -> Said;
    let table: [(Answer, Option<FaultKind>); 7] = [
        (|_, _| say("200 OK", &[]).body(b"<html>"), None),
        (|_, _| say("403 Forbidden", &[]).body(b""), None),
        (|_, _| say("404 Not Found", &[]).body(b""), None),
        (|_, _| say("501 Not Implemented", &[]).body(b""), None),
        (|_, _| say("401 Unauthorized", &[]).body(b""), Some(FaultKind::Unauthorized)),
        (|_, _| say("429 Too Many Requests", &[]).body(b""), Some(FaultKind::Throttled)),
        (|_, _| say("502 Bad Gateway", &[]).body(b""), Some(FaultKind::Server)),
    ];
    for (answer, kind) in table {
        let server = Media::start(answer).await;
        let bucket = HttpBucket::new("web", server.endpoint.clone(), token("s3cr3t"), PATIENCE, false).unwrap();
        assert_eq!(bucket.reach().await.map_err(|fault| fault.kind), kind.map_or(Ok(None), Err));
        let asked = server.asked();
        assert_eq!((asked[0].method.as_str(), asked[0].path.as_str()), ("HEAD", "/media/"));
        assert_eq!(asked[0].header("authorization"), "Token s3cr3t");
        assert!(!format!("{bucket:?}").contains("s3cr3t"));
    }
    let nobody = Url::parse("http://127.0.0.1:9").unwrap();
    let bucket = Arc::new(bucket(&nobody, PATIENCE));
    assert_eq!(bucket.list("", None, 1).await.unwrap_err().kind, FaultKind::Refused);
    let scanned = Arc::clone(&bucket).scan("").try_next().await.unwrap_err();
    assert!(scanned.chain().contains("cannot be listed"), "{}", scanned.chain());
    assert!(!bucket.guards_new("x").await.unwrap());
}

#[tokio::test]
async fn a_write_is_whole_or_not_at_all() {
    let server = Media::start(|asked, _| match asked.method.as_str() {
        "DELETE" if asked.path.ends_with("gone") => say("404 Not Found", &[]).body(b""),
        "PUT" if asked.header("if-none-match") == "*" => say("412 Precondition Failed", &[]).body(b""),
        _ => say("201 Created", &[("etag", "\"1\"")]).body(b""),
    })
    .await;
    let bucket = bucket(&server.endpoint, PATIENCE);
    let all = content(100_000);
    let meta = BlobMeta {
        content_type: Some("text/csv".into()),
        content_disposition: Some("attachment; filename=\"größe.csv\"".into()),
        ..BlobMeta::default()
    };
    for content in [&all[..], b"x", b""] {
        let put = Put { sha256: Some(Digest::of(content)), meta: meta.clone(), only_new: false };
        let info = bucket.put("a/b", body(content), &put).await.unwrap();
        assert_eq!((info.size, info.version.as_deref()), (content.len() as u64, Some("\"1\"")));
        let asked = server.asked().pop().unwrap();
        assert!(asked.body == content);
        assert_eq!((asked.method.as_str(), asked.path.as_str()), ("PUT", "/media/a/b"));
        assert_eq!(asked.header("content-length"), content.len().to_string());
        assert_eq!(asked.header("content-type"), "text/csv");
        assert_eq!(asked.header("content-disposition"), "attachment; filename=\"größe.csv\"");
    }
    let new = Put { only_new: true, ..Put::default() };
    assert_eq!(bucket.put("a", body(b"x"), &new).await.unwrap_err().kind, FaultKind::Exists);
    bucket.delete("a").await.unwrap();
    bucket.delete("gone").await.unwrap();

    let before = server.asked().len();
    let broken = || {
        let pieces = [Ok(Bytes::from(vec![0; 50_000])), Err(Fault::new(FaultKind::Changed, "read the source"))];
        BlobBody { bytes: stream::iter(pieces).boxed(), ..body(&all) }
    };
    let wrong = [
        (body(&all), Some(Digest::of(b"else")), FaultKind::Mismatch),
        (body(b""), Some(Digest::of(b"else")), FaultKind::Mismatch),
        (BlobBody { size: 9, ..body(b"short") }, None, FaultKind::Mismatch),
        (BlobBody { size: 3, ..body(b"longer") }, None, FaultKind::Mismatch),
        (BlobBody { size: 0, ..body(b"longer") }, None, FaultKind::Mismatch),
        (broken(), None, FaultKind::Changed),
    ];
    for (body, sha256, kind) in wrong {
        let fault = bucket.put("a", body, &Put { sha256, ..Put::default() }).await.unwrap_err();
        assert_eq!(fault.kind, kind, "{}", fault.chain());
    }
    for asked in &server.asked()[before..] {
        assert!(asked.body.len().to_string() != asked.header("content-length"), "a wrong body never comes whole");
    }
    let silent = Url::parse(&format!("http://{}", silent_server().await)).unwrap();
    let slow = HttpBucket::new("web", silent, Auth::None, SHORT, true).unwrap();
    assert_eq!(slow.put("a", body(b"x"), &Put::default()).await.unwrap_err().kind, FaultKind::Timeout);
}

#[tokio::test]
async fn nothing_is_written_unless_the_plan_says_so() {
    let server = Media::start(|_, _| say("200 OK", &[]).body(b"")).await;
    let bucket = HttpBucket::new("web", server.endpoint.clone(), Auth::None, PATIENCE, false).unwrap();
    for fault in
        [bucket.put("a", body(b"x"), &Put::default()).await.unwrap_err(), bucket.delete("a").await.unwrap_err()]
    {
        assert_eq!(fault.kind, FaultKind::Refused);
        assert!(fault.chain().contains("writable = true"), "{}", fault.chain());
    }
    assert_eq!(server.asked().len(), 0);
}
