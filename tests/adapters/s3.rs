//! The S3 bucket against three servers: s3s in this process, rclone and moto in their own.

use super::{
    PATIENCE,
    blobs::{MIB, as_is, body, broken, conforms, content, put, read},
    doubles::Objects,
    foreign::Foreign,
};
use bytes::Bytes;
use cutover::{
    adapters::blobs::{S3Bucket, S3Settings},
    error::FaultKind,
    model::Digest,
    ports::{BlobBody, BlobMeta, BlobStore, PartLimits, PartSent, PartsDigest, Put},
};
use sha2::{Digest as _, Sha256};
use std::time::Duration;
use url::Url;

/// What a server knows. Nothing else may differ between them: all three keep all metadata, and say nothing of the SHA-256
/// over parts.
#[expect(clippy::struct_excessive_bools, reason = "a table")]
struct Knows {
    /// Says the SHA-256 of what it stored when it has stored it. (rclone says the one it was told, and only when it is
    /// asked later, even if it was a wrong one.)
    sha256: bool,
    /// Keeps `If-None-Match: *`.
    guards: bool,
    /// Takes a part of the same number again.
    replaces_parts: bool,
    /// Lists unfinished uploads.
    unfinished: bool,
    /// What comes of finishing an upload once more (one finishes it again), and whether one that is gone can be
    /// abandoned.
    no_upload: (Option<FaultKind>, bool),
}

const S3S: Knows = Knows {
    sha256: true,
    guards: true,
    replaces_parts: true,
    unfinished: false,
    no_upload: (Some(FaultKind::Unauthorized), false),
};
const RCLONE: Knows = Knows {
    sha256: false,
    guards: false,
    replaces_parts: false,
    unfinished: true,
    no_upload: (Some(FaultKind::NotFound), true),
};
const MOTO: Knows =
    Knows { sha256: false, guards: true, replaces_parts: true, unfinished: true, no_upload: (None, true) };

pub(crate) fn s3(endpoint: &Url, secret: &str, timeout: Duration) -> S3Bucket {
    let settings = S3Settings {
        endpoint: endpoint.clone(),
        bucket: Objects::BUCKET.into(),
        region: "us-east-1".into(),
        access_key: Objects::ACCESS.into(),
        secret_key: secret.into(),
        path_style: true,
        timeout,
        parts: PartLimits::default(),
    };
    S3Bucket::new("r2", &settings)
}

pub(crate) fn at(endpoint: &Url) -> S3Bucket {
    s3(endpoint, Objects::SECRET, PATIENCE)
}

/// Everything that is promised of an empty S3 bucket.
async fn keeps_its_promises(endpoint: &Url, knows: &Knows) {
    conforms(&at(endpoint)).await;
    says_what_it_holds(endpoint, knows).await;
    guards(endpoint, knows).await;
    brings_metadata_back(endpoint).await;
    takes_long_blobs(endpoint, knows).await;
    takes_parts(endpoint, knows).await;
}

async fn says_what_it_holds(endpoint: &Url, knows: &Knows) {
    let bucket = at(endpoint);
    let digest = Digest::of(b"hello");
    let stored = bucket.put("said", body(b"hello"), &as_is(Some(digest))).await.unwrap();
    assert_eq!(stored.sha256, knows.sha256.then_some(digest));
    let held = bucket.head("said").await.unwrap().unwrap();
    assert_eq!(held, stored, "HEAD says what PUT said");
    let opened = bucket.open("said", 0).await.unwrap();
    let rest = bucket.open("said", 5).await.unwrap();
    assert!(stored.version.is_some() && stored.version == opened.version && stored.version == rest.version);
    let listed = bucket.list("said", None, 1).await.unwrap().blobs;
    assert!(listed[0].version.is_none() || listed[0].version == stored.version, "{listed:?} {stored:?}");
    let other = bucket.put("said", body(b"other"), &as_is(None)).await.unwrap();
    assert_ne!(stored.version, other.version);
}

async fn guards(endpoint: &Url, knows: &Knows) {
    let bucket = at(endpoint);
    assert_eq!(bucket.guards_new("probe").await.unwrap(), knows.guards);
    assert_eq!(bucket.head("probe").await.unwrap(), None);
    let new = Put { only_new: true, ..Put::default() };
    for size in [1, 9 * MIB] {
        bucket.put("new", body(&content(size)), &new).await.unwrap();
        let again = bucket.put("new", body(&vec![1; size]), &new).await;
        assert_eq!(again.map_err(|fault| fault.kind).err(), knows.guards.then_some(FaultKind::Exists), "{size}");
        bucket.delete("new").await.unwrap();
    }
}

async fn brings_metadata_back(endpoint: &Url) {
    let bucket = at(endpoint);
    let all = BlobMeta {
        content_type: Some("text/csv; charset=utf-8".into()),
        cache_control: Some("no-cache, max-age=0".into()),
        content_disposition: Some("attachment; filename=\"a b.csv\"".into()),
        content_encoding: Some("gzip".into()),
        content_language: Some("de-AT".into()),
        user: [("name", "größe 5%.csv"), ("owner-id", " 7  8")].map(|(n, v)| (n.to_owned(), v.to_owned())).into(),
    };
    let bare = bucket.put("bare", body(b"x"), &as_is(None)).await.unwrap();
    assert_eq!(bucket.meta(&bare.key).await.unwrap().unwrap().user, [].into());
    for size in [5, 9 * MIB] {
        let wanted = content(size);
        bucket.put("meta", body(&wanted), &Put { meta: all.clone(), ..Put::default() }).await.unwrap();
        assert_eq!(bucket.meta("meta").await.unwrap().unwrap(), all);
        assert_eq!(bucket.open("meta", 0).await.unwrap().meta, all);
        assert_eq!(bucket.open("meta", 3).await.unwrap().meta, all);
        assert_eq!(bucket.open("meta", size as u64).await.unwrap().meta, all);
        assert!(read(&bucket, "meta", 0).await.unwrap() == wanted, "not unpacked on the way");
    }
    assert_eq!(bucket.meta("nothing").await.unwrap(), None);
}

async fn takes_long_blobs(endpoint: &Url, knows: &Knows) {
    let bucket = at(endpoint);
    put(&bucket, "big", b"was short").await;
    for size in [8 * MIB + 1, 17 * MIB + 5] {
        let wanted = content(size);
        let digest = Digest::of(&wanted);
        for known in [Some(digest), None] {
            let stored = bucket.put("big", body(&wanted), &as_is(known)).await.unwrap();
            assert_eq!((stored.size, stored.sha256), (size as u64, knows.sha256.then_some(digest)), "{known:?}");
            assert_eq!(bucket.head("big").await.unwrap().unwrap(), stored, "{known:?}");
            assert!(read(&bucket, "big", 0).await.unwrap() == wanted, "{size} {known:?}");
        }
    }
    let wanted = content(17 * MIB + 5);
    for known in [None, Some(Digest::of(&wanted))] {
        let wrong = [
            (body(&wanted), Some(Digest::of(b"else")), FaultKind::Mismatch),
            (BlobBody { size: 18 * MIB as u64, ..body(&wanted) }, known, FaultKind::Mismatch),
            (BlobBody { size: 9 * MIB as u64, ..body(&wanted) }, known, FaultKind::Mismatch),
            (broken(&wanted[..9 * MIB], 17 * MIB), known, FaultKind::Changed),
        ];
        for (number, (body, sha256, kind)) in wrong.into_iter().enumerate() {
            let fault = bucket.put("big", body, &as_is(sha256)).await.unwrap_err();
            assert_eq!(fault.kind, kind, "{number} {}", fault.chain());
            // The server may notice a little later that nothing more will come.
            assert!(read(&bucket, "big", 0).await.unwrap() == wanted, "{number} {known:?}");
        }
    }
}

async fn takes_parts(endpoint: &Url, knows: &Knows) {
    let bucket = at(endpoint);
    let store = bucket.in_parts().unwrap();
    let wanted = content(12 * MIB + 3);
    let cut: Vec<&[u8]> = wanted.chunks(5 * MIB).collect();
    let meta = BlobMeta { content_type: Some("text/csv".into()), ..BlobMeta::default() };

    let upload = store.begin("parts", &meta).await.unwrap();
    match store.unfinished("par").await {
        Ok(found) => assert!(found.len() == 1 && found[0].upload == upload && found[0].key == "parts", "{found:?}"),
        Err(fault) => assert!(!knows.unfinished && fault.kind == FaultKind::Refused, "{}", fault.chain()),
    }
    if knows.replaces_parts {
        store.send("parts", &upload, 1, Bytes::from_static(b"x"), Digest::of(b"x")).await.unwrap();
    }
    let mut sent: Vec<PartSent> = Vec::new();
    for (number, part) in [(3, cut[2]), (1, cut[0]), (2, cut[1])] {
        let (bytes, digest) = (Bytes::copy_from_slice(part), Digest::of(part));
        sent.push(store.send("parts", &upload, number, bytes, digest).await.unwrap());
    }
    assert_eq!(bucket.head("parts").await.unwrap(), None, "nothing is there before it is finished");
    let stored = store.finish("parts", &upload, &sent, false).await.unwrap();
    assert!(read(&bucket, "parts", 0).await.unwrap() == wanted);
    let mut hash = Sha256::new();
    for part in &cut {
        hash.update(Digest::of(part).0);
    }
    let digest = PartsDigest { sha256: Digest(hash.finalize().into()), count: 3 };
    let held = bucket.head("parts").await.unwrap().unwrap();
    assert_eq!(held, stored);
    assert_eq!((held.size, held.sha256), (wanted.len() as u64, None));
    assert!(held.parts.is_none_or(|said| said == digest), "none of the three says it");
    assert_eq!(bucket.meta("parts").await.unwrap().unwrap().content_type, meta.content_type);

    let gone = store.finish("parts", &upload, &sent, false).await.map_err(|fault| fault.kind).err();
    assert_eq!(gone, knows.no_upload.0);
    let upload = store.begin("parts", &meta).await.unwrap();
    let small = store.send("parts", &upload, 1, Bytes::from_static(b"x"), Digest::of(b"x")).await.unwrap();
    let exists = store.finish("parts", &upload, &[small], true).await.map_err(|fault| fault.kind).err();
    assert_eq!(exists, knows.guards.then_some(FaultKind::Exists));
    if exists.is_some() {
        store.abandon("parts", &upload).await.unwrap();
    }
    assert_eq!(store.abandon("parts", &upload).await.is_ok(), knows.no_upload.1);
    if knows.unfinished {
        assert_eq!(store.unfinished("").await.unwrap(), []);
    }
}

#[tokio::test]
async fn s3s_conforms() {
    let objects = Objects::start().await;
    keeps_its_promises(&objects.endpoint, &S3S).await;
    assert_eq!(objects.leftovers(), Vec::<std::path::PathBuf>::new());
}

#[tokio::test]
async fn rclone_conforms() {
    let server = Foreign::rclone(Objects::BUCKET, (Objects::ACCESS, Objects::SECRET), &[]).await;
    assert!(server.folder().is_dir());
    keeps_its_promises(&server.endpoint.parse().unwrap(), &RCLONE).await;
}

#[tokio::test]
async fn moto_conforms() {
    let server = Foreign::moto(Objects::BUCKET).await;
    keeps_its_promises(&server.endpoint.parse().unwrap(), &MOTO).await;
}
