//! A folder and what people put into one: every kind of name, links, pipes, files that change under the reader.

use super::PATIENCE;
use bytes::Bytes;
use cutover::{
    adapters::blobs::FolderBucket,
    error::{FaultKind, Result},
    model::Digest,
    ports::{BlobBody, BlobMeta, BlobStore, Found, Put},
};
use futures::{StreamExt, TryStreamExt, stream};
use rand::{Rng, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs,
    os::unix::{ffi::OsStrExt, fs::PermissionsExt, fs::symlink, net::UnixListener, process::CommandExt},
    path::Path,
    process::Command,
    sync::Arc,
};

const MIB: usize = 1024 * 1024;

fn bucket(root: &Path) -> Arc<FolderBucket> {
    Arc::new(FolderBucket::new("media", root))
}

fn body(content: &[u8]) -> BlobBody {
    let pieces: Vec<Result<Bytes>> = content.chunks(100_000).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
    let bytes = stream::iter(pieces).boxed();
    BlobBody { size: content.len() as u64, version: None, meta: BlobMeta::default(), bytes }
}

async fn read(bucket: &FolderBucket, key: &str) -> Result<Vec<u8>> {
    let pieces: Vec<Bytes> = bucket.open(key, 0).await?.bytes.try_collect().await?;
    Ok(pieces.concat())
}

/// Everything a scan finds: lengths and versions by key, and what is odd by name.
#[derive(Debug, Default, PartialEq)]
struct Scanned {
    blobs: BTreeMap<String, (u64, Option<String>)>,
    odd: BTreeMap<String, String>,
}

async fn scan(bucket: &Arc<FolderBucket>, prefix: &str) -> Scanned {
    let pages: Vec<Vec<Found>> = Arc::clone(bucket).scan(prefix).try_collect().await.unwrap();
    let mut scanned = Scanned::default();
    for found in pages.into_iter().inspect(|page| assert!((1..=1000).contains(&page.len()))).flatten() {
        let twice = match found {
            Found::Blob(blob) => scanned.blobs.insert(blob.key, (blob.size, blob.version)).is_some(),
            Found::Odd { name, why } => scanned.odd.insert(name, why).is_some(),
        };
        assert!(!twice, "never twice");
    }
    scanned
}

async fn listed(bucket: &FolderBucket, prefix: &str) -> BTreeMap<String, (u64, Option<String>)> {
    let page = bucket.list(prefix, None, 100_000).await.unwrap();
    page.blobs.into_iter().map(|blob| (blob.key, (blob.size, blob.version))).collect()
}

#[tokio::test]
async fn whatever_is_text_is_a_key() {
    let folder = tempfile::tempdir().unwrap();
    let bucket = bucket(folder.path());
    let long = "x".repeat(255);
    let wide = "ä".repeat(127);
    // Together longer than a path may be in one call.
    let deep = vec!["d".repeat(50); 100].join("/");
    let keys = [
        "🦊 fox.csv",
        "caf\u{e9}.txt",
        "cafe\u{301}.txt",
        "a#?%&+'\"b",
        "%2e%2e/%00",
        " leading and trailing ",
        "-rf",
        "*?[x]\\y",
        "two\nlines\r\t",
        "\u{1b}[31mred",
        "\u{202e}gpj.exe",
        "...",
        "a/..b/.c",
        &long,
        &format!("{wide}/{wide}"),
        &format!("{deep}/end"),
    ];
    for key in keys {
        let put = bucket.put(key, body(key.as_bytes()), &Put::default()).await;
        let put = put.unwrap_or_else(|fault| panic!("{key:?}: {}", fault.chain()));
        assert_eq!(put.sha256, Some(Digest::of(key.as_bytes())));
        let opened = bucket.open(key, 0).await.unwrap();
        let head = bucket.head(key).await.unwrap().unwrap();
        assert_eq!((put.size, put.version.clone()), (opened.size, opened.version), "{key:?}");
        assert_eq!((put.size, put.version), (head.size, head.version), "{key:?}");
        assert_eq!(read(&bucket, key).await.unwrap(), key.as_bytes(), "{key:?}");
    }
    let scanned = scan(&bucket, "").await;
    assert_eq!(scanned.blobs.keys().map(String::as_str).collect::<Vec<_>>(), {
        let mut sorted = keys.to_vec();
        sorted.sort_unstable();
        sorted
    });
    assert_eq!(scanned.odd, BTreeMap::new());
    assert_eq!(scanned.blobs, listed(&bucket, "").await);
    for key in keys {
        bucket.delete(key).await.unwrap();
        assert_eq!(bucket.head(key).await.unwrap(), None);
    }
    let fault = bucket.put(&"x".repeat(256), body(b"x"), &Put::default()).await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Refused, "a name of 256 bytes: {}", fault.chain());
}

#[tokio::test]
async fn what_is_no_file_is_told_of_by_name_and_holds_nothing_up() {
    let (folder, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let root = folder.path();
    fs::write(outside.path().join("secret"), "secret").unwrap();
    fs::create_dir_all(root.join("dir/below")).unwrap();
    fs::write(root.join("dir/below/file"), "file").unwrap();
    fs::write(root.join("dir/.cutover-part-1"), "unfinished").unwrap();
    symlink(root.join("dir/below/file"), root.join("link")).unwrap();
    symlink("dir/below/file", root.join("short-link")).unwrap();
    symlink(outside.path().join("secret"), root.join("out")).unwrap();
    symlink("../../../../../../../../etc/passwd", root.join("dir/up")).unwrap();
    symlink("dir", root.join("dir-link")).unwrap();
    symlink(outside.path(), root.join("out-dir")).unwrap();
    symlink("nowhere", root.join("dangling")).unwrap();
    symlink("circle", root.join("circle")).unwrap();
    symlink("pipe", root.join("to-pipe")).unwrap();
    assert!(Command::new("mkfifo").arg(root.join("pipe")).status().unwrap().success());
    let _listening = UnixListener::bind(root.join("socket")).unwrap();
    fs::write(root.join(OsStr::from_bytes(b"caf\xe9.txt")), "latin").unwrap();
    fs::create_dir(root.join(OsStr::from_bytes(b"d\xe9p\xf4t"))).unwrap();
    let bucket = bucket(root);

    let scanned = tokio::time::timeout(PATIENCE, scan(&bucket, "")).await.expect("a pipe does not block a scan");
    assert_eq!(scanned.blobs.keys().collect::<Vec<_>>(), ["dir/below/file", "link", "short-link"]);
    assert_eq!(scanned.blobs, listed(&bucket, "").await);
    let out = format!("a link that leads out of {}", root.display());
    let odd = [
        ("caf\u{fffd}.txt", "its name is no text"),
        ("circle", "a link that leads nowhere but to links"),
        ("dangling", "a link that leads nowhere"),
        ("dir-link", "a link to a folder"),
        ("dir/up", &out),
        ("d\u{fffd}p\u{fffd}t", "its name is no text (with all that is in it)"),
        ("out", &out),
        ("out-dir", &out),
        ("pipe", "a pipe"),
        ("socket", "a socket"),
        ("to-pipe", "a link to a pipe"),
    ];
    let told: Vec<_> = scanned.odd.iter().map(|(name, why)| (name.as_str(), why.as_str())).collect();
    assert_eq!(told, odd);

    for key in ["circle", "dir", "dir-link", "dir/up", "out", "out-dir/secret", "pipe", "socket", "to-pipe"] {
        let opened = tokio::time::timeout(PATIENCE, bucket.open(key, 0)).await.expect("nothing blocks");
        assert_eq!(opened.err().unwrap().kind, FaultKind::Refused, "{key}");
        assert_eq!(bucket.head(key).await.unwrap_err().kind, FaultKind::Refused, "{key}");
        assert_eq!(bucket.delete(key).await.unwrap_err().kind, FaultKind::Refused, "{key}");
    }
    for key in ["dangling", "dir/below/file/x", "nothing"] {
        assert_eq!(bucket.open(key, 0).await.err().unwrap().kind, FaultKind::NotFound, "{key}");
        assert_eq!(bucket.head(key).await.unwrap(), None, "{key}");
    }
    for key in ["out-dir/new", "dir", "pipe", "dir/below/file/new"] {
        let fault = bucket.put(key, body(b"x"), &Put::default()).await.unwrap_err();
        assert_eq!(fault.kind, FaultKind::Refused, "{key}: {}", fault.chain());
    }
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 1, "nothing was written outside");
    bucket.put("dir-link/new", body(b"new"), &Put::default()).await.unwrap();
    assert_eq!(read(&bucket, "dir/new").await.unwrap(), b"new", "a link to a folder inside is a way to write");
    bucket.delete("link").await.unwrap();
    assert_eq!(read(&bucket, "dir/below/file").await.unwrap(), b"file", "of a link only the link goes");
}

#[tokio::test]
async fn a_scan_finds_what_a_listing_finds() {
    let seed = rand::random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let folder = tempfile::tempdir().unwrap();
    let bucket = bucket(folder.path());
    let parts = ["a", "b", "ab", "a.b", "a-b", "ä"];
    let mut dirs = vec![String::new()];
    for n in 0..400 {
        let within = dirs.choose(&mut random).unwrap().clone();
        let name = format!("{within}{}{n}", parts.choose(&mut random).unwrap());
        if random.random_bool(0.3) {
            fs::create_dir(folder.path().join(&name)).unwrap();
            dirs.push(name + "/");
        } else {
            fs::write(folder.path().join(&name), vec![0; random.random_range(0..50)]).unwrap();
        }
    }
    let mut prefixes: Vec<String> = dirs.iter().flat_map(|dir| [dir.clone(), format!("{dir}a")]).collect();
    prefixes.extend(["nothing", "nothing/", "../", "./", "/", "//", "a//", "a/../", "ä"].map(ToOwned::to_owned));
    for prefix in prefixes {
        assert_eq!(scan(&bucket, &prefix).await.blobs, listed(&bucket, &prefix).await, "prefix {prefix:?}");
    }
}

#[tokio::test]
async fn a_scan_says_what_it_could_not_look_into() {
    let (folder, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::create_dir(elsewhere.path().join("uploads")).unwrap();
    fs::write(elsewhere.path().join("uploads/x"), "x").unwrap();
    symlink(elsewhere.path(), folder.path().join("root")).unwrap();
    let through = bucket(&folder.path().join("root"));
    assert_eq!(scan(&through, "").await.blobs.len(), 1, "the root itself may be a link");
    let around = bucket(folder.path());
    for prefix in ["root/", "root/uploads/"] {
        let scanned = scan(&around, prefix).await;
        assert_eq!((scanned.blobs.len(), scanned.odd.len()), (0, 1), "not silently nothing: {prefix}");
    }
    let missing = bucket(&folder.path().join("missing"));
    let fault = missing.scan("").try_next().await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::NotFound, "{}", fault.chain());
    fs::write(folder.path().join("file"), "").unwrap();
    assert!(bucket(&folder.path().join("file")).scan("").try_next().await.is_err());
}

/// Root may read everything, so what cannot be read is looked at by a child of this test that is somebody else.
#[tokio::test]
async fn what_may_not_be_read_is_no_end() {
    const FOLDER: &str = "CUTOVER_TEST_FOLDER";
    if let Some(root) = std::env::var_os(FOLDER) {
        let bucket = bucket(Path::new(&root));
        let scanned = scan(&bucket, "").await;
        assert_eq!(scanned.blobs.keys().collect::<Vec<_>>(), ["after", "before", "shut-file"]);
        assert!(scanned.odd["shut"].starts_with("a folder that cannot be read ("), "{:?}", scanned.odd);
        for key in ["shut-file", "shut/inside"] {
            assert_eq!(bucket.open(key, 0).await.err().unwrap().kind, FaultKind::Permission, "{key}");
        }
        for key in ["shut/new", "new"] {
            let fault = bucket.put(key, body(b"x"), &Put::default()).await.unwrap_err();
            assert_eq!(fault.kind, FaultKind::Permission, "{key}: {}", fault.chain());
        }
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let mode = |path: &Path, mode: u32| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    for name in ["before", "shut-file", "after"] {
        fs::write(root.join(name), name).unwrap();
    }
    fs::create_dir(root.join("shut")).unwrap();
    fs::write(root.join("shut/inside"), "").unwrap();
    mode(&root.join("shut-file"), 0);
    mode(&root.join("shut"), 0);
    mode(root, 0o555);
    let mut child = Command::new("/proc/self/exe");
    child.args(["--exact", "folder::what_may_not_be_read_is_no_end", "--nocapture"]).env(FOLDER, root).current_dir("/");
    if fs::read_dir(root.join("shut")).is_ok() {
        child.uid(65534).gid(65534);
    }
    let done = child.output().unwrap();
    mode(root, 0o755);
    mode(&root.join("shut"), 0o755);
    let said = String::from_utf8_lossy(&done.stdout).into_owned() + &String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success() && said.contains("1 passed"), "{said}");
}

#[tokio::test]
async fn a_file_that_changes_under_the_reader_is_noticed() {
    type Change = fn(&Path);
    let folder = tempfile::tempdir().unwrap();
    let bucket = bucket(folder.path());
    let path = folder.path().join("x");
    let changes: [(&str, Change); 5] = [
        ("shorter", |path| fs::File::options().write(true).open(path).unwrap().set_len(300_000).unwrap()),
        ("longer", |path| fs::File::options().write(true).open(path).unwrap().set_len(9_000_000).unwrap()),
        ("another of the same length", |path| {
            fs::write(path.with_extension("new"), vec![2; 3 * MIB]).unwrap();
            fs::rename(path.with_extension("new"), path).unwrap();
        }),
        ("gone", |path| fs::remove_file(path).unwrap()),
        ("a folder", |path| {
            fs::remove_file(path).unwrap();
            fs::create_dir(path).unwrap();
        }),
    ];
    for (now, change) in changes {
        fs::write(&path, vec![1; 3 * MIB]).unwrap();
        let mut bytes = bucket.open("x", 5).await.unwrap().bytes;
        bytes.try_next().await.unwrap().unwrap();
        change(&path);
        let rest: Result<Vec<Bytes>> = bytes.try_collect().await;
        let kind = if now == "a folder" { FaultKind::Refused } else { FaultKind::Changed };
        assert_eq!(rest.unwrap_err().kind, kind, "{now}");
    }
}

#[tokio::test]
async fn a_version_stays_until_the_file_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let bucket = bucket(folder.path());
    let path = folder.path().join("a");
    let version = async || bucket.head("a").await.unwrap().unwrap().version.unwrap();
    bucket.put("a", body(b"one"), &Put::default()).await.unwrap();
    let first = version().await;
    fs::rename(&path, folder.path().join("b")).unwrap();
    fs::rename(folder.path().join("b"), &path).unwrap();
    assert_eq!(version().await, first, "a move and back changes nothing");
    bucket.put("a", body(b"one"), &Put::default()).await.unwrap();
    let second = version().await;
    assert_ne!(second, first);
    let long_ago = std::time::SystemTime::UNIX_EPOCH - std::time::Duration::from_millis(1500);
    fs::File::options().write(true).open(&path).unwrap().set_modified(long_ago).unwrap();
    assert_ne!(version().await, second);
}

#[tokio::test]
async fn a_guarded_write_replaces_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let bucket = bucket(folder.path());
    assert!(bucket.guards_new("probes/guard").await.unwrap());
    assert_eq!(scan(&bucket, "").await, Scanned::default(), "nothing is left of the try");
    let new = Put { only_new: true, ..Put::default() };
    bucket.put("a/b", body(b"first"), &new).await.unwrap();
    let fault = bucket.put("a/b", body(b"second"), &new).await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Exists);
    assert_eq!(read(&bucket, "a/b").await.unwrap(), b"first");
    symlink("nowhere", folder.path().join("link")).unwrap();
    assert_eq!(bucket.put("link", body(b"x"), &new).await.unwrap_err().kind, FaultKind::Exists);
    let contents: Vec<Vec<u8>> = (0..8).map(|n| vec![n; 200_000]).collect();
    let done = futures::future::join_all(contents.iter().map(|content| bucket.put("race", body(content), &new))).await;
    let won: Vec<usize> = (0..8).filter(|n| done[*n].is_ok()).collect();
    assert_eq!(won.len(), 1, "one of eight at once");
    assert_eq!(read(&bucket, "race").await.unwrap(), contents[won[0]]);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 4, "a, link, probes, race: nothing unfinished");
}
