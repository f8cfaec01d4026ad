//! What every bucket promises, held against a folder here and against S3 servers next door.

use bytes::Bytes;
use cutover::{
    adapters::blobs::FolderBucket,
    error::{Fault, FaultKind, Result},
    model::Digest,
    ports::{BlobBody, BlobMeta, BlobStore, Put},
};
use futures::{StreamExt, TryStreamExt, stream};
use std::collections::BTreeSet;

pub(crate) const MIB: usize = 1024 * 1024;

pub(crate) fn content(length: usize) -> Vec<u8> {
    (0..length).map(|n| u8::try_from((n * 31 + n / 251) % 256).unwrap()).collect()
}

/// A body of these pieces.
fn made_of(size: usize, pieces: Vec<Result<Bytes>>) -> BlobBody {
    let (version, meta, bytes) = (None, BlobMeta::default(), stream::iter(pieces).boxed());
    BlobBody { size: size as u64, version, meta, bytes }
}

pub(crate) fn body(content: &[u8]) -> BlobBody {
    let pieces = content.chunks(100_000).map(|piece| Ok(Bytes::copy_from_slice(piece)));
    made_of(content.len(), pieces.collect())
}

/// A body whose source breaks after these bytes.
pub(crate) fn broken(content: &[u8], size: usize) -> BlobBody {
    let first = Ok(Bytes::copy_from_slice(content));
    made_of(size, vec![first, Err(Fault::new(FaultKind::Changed, "read the source"))])
}

/// To be stored without metadata, with this SHA-256.
pub(crate) fn as_is(sha256: Option<Digest>) -> Put {
    Put { sha256, ..Put::default() }
}

pub(crate) async fn read(bucket: &dyn BlobStore, key: &str, from: u64) -> Result<Vec<u8>> {
    let body = bucket.open(key, from).await?;
    let pieces: Vec<Bytes> = body.bytes.try_collect().await?;
    Ok(pieces.concat())
}

pub(crate) async fn put(bucket: &dyn BlobStore, key: &str, content: &[u8]) {
    let info = bucket.put(key, body(content), &as_is(Some(Digest::of(content)))).await.unwrap();
    assert_eq!((info.key.as_str(), info.size), (key, content.len() as u64));
    assert!(info.sha256.is_none_or(|held| held == Digest::of(content)));
}

pub(crate) async fn conforms(bucket: &dyn BlobStore) {
    let meta = BlobMeta {
        content_type: Some("text/csv".into()),
        user: [("name".to_owned(), "größe.csv".to_owned())].into(),
        ..BlobMeta::default()
    };
    assert_eq!(bucket.list("", None, 10).await.unwrap().blobs, []);
    assert_eq!(bucket.head("a/b").await.unwrap(), None);
    assert_eq!(bucket.open("a/b", 0).await.err().unwrap().kind, FaultKind::NotFound);
    bucket.delete("a/b").await.unwrap();

    for length in [0, 1, 5, 70_000, 3 * MIB] {
        let wanted = content(length);
        let info = bucket
            .put("a/b", body(&wanted), &Put { sha256: Some(Digest::of(&wanted)), meta: meta.clone(), only_new: false })
            .await
            .unwrap();
        assert_eq!(info.size, length as u64);
        assert_eq!(bucket.head("a/b").await.unwrap().unwrap().size, length as u64);
        assert_eq!(bucket.open("a/b", 0).await.unwrap().size, length as u64);
        assert!(read(bucket, "a/b", 0).await.unwrap() == wanted, "{length} bytes come back as they went");
    }
    let wanted = content(3 * MIB);
    for from in [1, MIB, 3 * MIB - 1, 3 * MIB] {
        assert!(read(bucket, "a/b", from as u64).await.unwrap() == wanted[from..], "from byte {from}");
        assert_eq!(bucket.open("a/b", from as u64).await.unwrap().size, wanted.len() as u64, "of the whole blob");
    }

    let without = bucket.put("plain", body(b"hello"), &as_is(None)).await.unwrap();
    assert!(without.sha256.is_none_or(|held| held == Digest::of(b"hello")));

    let wrong = [
        (body(b"other"), Some(Digest::of(b"hello")), FaultKind::Mismatch),
        (BlobBody { size: 9, ..body(b"short") }, None, FaultKind::Mismatch),
        (BlobBody { size: 3, ..body(b"longer") }, None, FaultKind::Mismatch),
        (broken(b"hel", 5), None, FaultKind::Changed),
    ];
    for (body, sha256, kind) in wrong {
        let fault = bucket.put("plain", body, &as_is(sha256)).await.unwrap_err();
        assert_eq!(fault.kind, kind, "{}", fault.chain());
        assert_eq!(read(bucket, "plain", 0).await.unwrap(), b"hello", "the old blob is untouched");
    }

    for bad in ["", "/x", "../x", "a/../../x", "a//b"] {
        let refused = bucket.put(bad, body(b"x"), &as_is(None)).await.unwrap_err();
        assert_eq!(refused.kind, FaultKind::Refused, "{bad:?}");
        assert_eq!(bucket.open(bad, 0).await.err().unwrap().kind, FaultKind::Refused, "{bad:?}");
        assert_eq!(bucket.head(bad).await.unwrap_err().kind, FaultKind::Refused, "{bad:?}");
        assert_eq!(bucket.delete(bad).await.unwrap_err().kind, FaultKind::Refused, "{bad:?}");
    }

    let keys = [
        "users/1/1/a b.csv",
        "users/1/10/ä.csv",
        "users/1/2/c&d=e+f%20.csv",
        "users/1.txt",
        "users/2/x",
        "usersx",
        "z",
    ];
    for key in keys {
        put(bucket, key, key.as_bytes()).await;
        assert_eq!(read(bucket, key, 0).await.unwrap(), key.as_bytes(), "{key}");
    }
    let sorted: Vec<&str> = keys.iter().copied().collect::<BTreeSet<_>>().into_iter().collect();
    for limit in [1, 2, 3, 100] {
        assert_eq!(listed(bucket, "users", limit).await, sorted[..sorted.len() - 1], "pages of {limit}");
        assert_eq!(listed(bucket, "users/1/", limit).await, sorted[1..4], "pages of {limit}");
        assert_eq!(listed(bucket, "users/1/1", limit).await, sorted[1..3], "a prefix need not be a folder");
        assert_eq!(listed(bucket, "nothing", limit).await, Vec::<String>::new());
    }
    bucket.delete("z").await.unwrap();
    bucket.delete("z").await.unwrap();
    assert_eq!(bucket.head("z").await.unwrap(), None);
}

async fn listed(bucket: &dyn BlobStore, prefix: &str, limit: u32) -> Vec<String> {
    let (mut keys, mut from) = (Vec::new(), None);
    loop {
        let page = bucket.list(prefix, from.as_deref(), limit).await.unwrap();
        assert!(page.blobs.len() <= limit as usize);
        keys.extend(page.blobs.into_iter().map(|blob| blob.key));
        match page.next {
            Some(next) => from = Some(next),
            None => return keys,
        }
    }
}

#[tokio::test]
async fn a_folder_conforms() {
    let folder = tempfile::tempdir().unwrap();
    conforms(&FolderBucket::new("media", folder.path())).await;
    let bucket = FolderBucket::new("media", &folder.path().join("missing"));
    assert_eq!(bucket.list("", None, 1).await.unwrap_err().kind, FaultKind::NotFound);
}

#[tokio::test]
async fn links_out_of_the_folder_pipes_and_folders_are_refused_by_name() {
    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("secret"), "secret").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    std::os::unix::fs::symlink(outside.path().join("secret"), root.join("out")).unwrap();
    std::os::unix::fs::symlink(outside.path(), root.join("outdir")).unwrap();
    std::os::unix::fs::symlink(root.join("real"), root.join("in")).unwrap();
    std::fs::write(root.join("real"), "real").unwrap();
    std::fs::create_dir(root.join("dir")).unwrap();
    let made = std::process::Command::new("mkfifo").arg(root.join("pipe")).status().unwrap();
    assert!(made.success());
    let bucket = FolderBucket::new("media", root);
    for (key, word) in [("out", "link"), ("outdir/secret", "link"), ("pipe", "pipe"), ("dir", "folder")] {
        let fault = bucket.open(key, 0).await.err().unwrap();
        assert_eq!(fault.kind, FaultKind::Refused, "{key}");
        assert!(fault.chain().contains(word) && fault.chain().contains(key), "{}", fault.chain());
    }
    let fault = bucket.put("outdir/new", body(b"x"), &as_is(None)).await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Refused);
    assert!(!outside.path().join("new").exists());
    assert_eq!(read(&bucket, "in", 0).await.unwrap(), b"real", "a link that stays inside is followed");
    assert_eq!(listed(&bucket, "", 100).await, ["in", "real"]);
}

type Change = fn(&std::path::Path);

#[tokio::test]
async fn a_file_that_changes_while_it_is_read_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let bucket = FolderBucket::new("media", folder.path());
    let path = folder.path().join("x");
    let changes: [(&str, Change); 3] = [
        ("cut", |path| std::fs::write(path, "short").unwrap()),
        ("grown", |path| std::fs::write(path, content(3 * MIB)).unwrap()),
        ("removed", |path| std::fs::remove_file(path).unwrap()),
    ];
    for (what, change) in changes {
        std::fs::write(&path, content(2 * MIB)).unwrap();
        let mut body = bucket.open("x", 0).await.unwrap().bytes;
        body.try_next().await.unwrap().unwrap();
        change(&path);
        let rest: Result<Vec<Bytes>> = body.try_collect().await;
        assert_eq!(rest.unwrap_err().kind, FaultKind::Changed, "{what}");
    }
}

#[tokio::test]
async fn an_unfinished_file_disappears() {
    let folder = tempfile::tempdir().unwrap();
    let bucket = FolderBucket::new("media", folder.path());
    let bytes = stream::iter([Ok(Bytes::from("abc"))]).chain(stream::pending()).boxed();
    let how = as_is(None);
    let mut put = bucket.put("a/b", BlobBody { bytes, ..body(b"0123456789") }, &how);
    let written = async {
        while listing(&folder.path().join("a")).is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        _ = &mut put => panic!("it has no end"),
        () = written => {}
    }
    assert_eq!(listed(&bucket, "", 10).await, Vec::<String>::new(), "not listed either");
    drop(put);
    assert_eq!(listing(&folder.path().join("a")), Vec::<String>::new());
}

fn listing(folder: &std::path::Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect()
}
