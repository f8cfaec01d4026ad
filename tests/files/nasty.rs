//! One dataset whose rows speak of everything that people put into a folder and into a table. For each: whether it
//! arrives, or with which fault and why not; then the sources are mended, and the second copy brings the rest. A name
//! that is no text cannot stand in a row.

use crate::{
    foreign::Foreign,
    life::{Life, child, copy, items, said},
    reader::{Held, assert_same, file, held, sha256, tree},
    server::Server,
    world::{Choices, MIB, Row, World, content, row},
};
use cutover::{error::FaultKind, migrate::files::VerifyLevel, model::ItemState};
use std::{
    collections::BTreeMap,
    fs::{self, File},
    os::unix::{
        fs::{PermissionsExt as _, chown, symlink},
        net::UnixListener,
    },
    path::Path,
    process::Command,
};

/// Enough for every row to fail.
const PATIENT: &str = "max_failures = 1000\nattempts = 2";
/// A file of this length is the longest that goes in one piece.
const THRESHOLD: usize = 5 * MIB;
/// Beyond 2 GB, and beyond what 31 bits count.
const LONG: u64 = (1 << 31) + 1;

/// What stands at a row's path.
enum Stands {
    /// What another row says, or nothing.
    Nothing,
    Bytes(Vec<u8>),
    /// So many zeros that take no room.
    Sparse(u64),
    Folder,
    Pipe,
    Socket,
    Device,
    Link(&'static str),
}

struct Case {
    row: Row,
    stands: Stands,
    /// `None`: it arrives. Otherwise the fault and a part of the reason.
    fails: Option<(FaultKind, &'static str)>,
    /// The item's name in the ledger, where it is not the key.
    named: Option<String>,
    /// What the row says once it is mended.
    mended: Option<Row>,
}

fn good(path: &str, key: &str, stands: Stands) -> Case {
    Case { row: row(path, key), stands, fails: None, named: None, mended: None }
}

fn bad(path: &str, key: &str, stands: Stands, kind: FaultKind, why: &'static str) -> Case {
    Case { fails: Some((kind, why)), ..good(path, key, stands) }
}

impl Case {
    fn named(self, name: impl Into<String>) -> Self {
        Self { named: Some(name.into()), ..self }
    }

    /// Mended by saying something else.
    fn mended(self, row: Row) -> Self {
        Self { mended: Some(row), ..self }
    }

    fn make(&self, world: &World) {
        let path = world.media().join(&self.row.path);
        if !matches!(self.stands, Stands::Nothing) {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
        }
        match &self.stands {
            Stands::Nothing => {}
            Stands::Bytes(content) => fs::write(path, content).unwrap(),
            Stands::Sparse(length) => File::create(path).unwrap().set_len(*length).unwrap(),
            Stands::Folder => fs::create_dir(path).unwrap(),
            Stands::Pipe => assert!(Command::new("mkfifo").arg(path).status().unwrap().success()),
            Stands::Device => {
                let made = Command::new("mknod").arg(path).args(["c", "1", "3"]).status().unwrap();
                assert!(made.success(), "root may make a device");
            }
            Stands::Socket => drop(UnixListener::bind(path).unwrap()),
            Stands::Link(to) => symlink(to, path).unwrap(),
        }
    }

    /// Mends the source; gives what the row says then.
    fn mend(&self, world: &World) -> Row {
        if self.fails.is_none() {
            return self.row.clone();
        }
        if let Some(mended) = &self.mended {
            if !world.media().join(&mended.path).exists() {
                world.put(&mended.path, mended.key.as_bytes());
            }
            return mended.clone();
        }
        let path = world.media().join(&self.row.path);
        match self.stands {
            Stands::Nothing | Stands::Bytes(_) | Stands::Sparse(_) => {}
            Stands::Folder => fs::remove_dir(&path).unwrap(),
            _ => fs::remove_file(&path).unwrap(),
        }
        world.put(&self.row.path, self.row.key.as_bytes());
        self.row.clone()
    }
}

fn bytes(seed: u64, length: usize) -> Stands {
    Stands::Bytes(content(seed, length))
}

fn sizes() -> Vec<Case> {
    let case = |name: &str, length: usize| {
        let path = format!("sizes/{name}");
        good(&path, &path, bytes(length as u64, length))
    };
    vec![
        case("empty", 0),
        case("one byte", 1),
        case("one below", THRESHOLD - 1),
        case("exactly", THRESHOLD),
        case("one above", THRESHOLD + 1),
        case("three parts", 2 * THRESHOLD + 1),
    ]
}

fn names() -> Vec<Case> {
    let names = [
        "with some  spaces.txt",
        "#?%&+'\".txt",
        "100%25 %2e%2e.txt",
        "a=b;c:d@e,f$g!h~i(j)[k]{l}^m|n`.txt",
        "🦊🏳️‍🌈.csv",
        "caf\u{e9}.txt",
        "cafe\u{301}.txt",
        "日本語/ファイル.csv",
        "back\\slash",
        "...",
        "a/..b/.c",
        "-rf",
        "*",
        "Report.csv",
        "report.CSV",
        "\u{202e}gpj.exe",
    ];
    let case = |(place, name): (usize, &&str)| {
        good(&format!("names/{name}"), &format!("names/{name}"), bytes(place as u64, 300 + place))
    };
    names.iter().enumerate().map(case).collect()
}

/// What s3s-fs cannot keep: it makes a file's name of the whole key.
fn long_names() -> Vec<Case> {
    let parts = |length: usize| {
        let mut key = vec!["k".repeat(200); 5].join("/");
        key.push('/');
        key + &"e".repeat(length - 1005)
    };
    let deep = vec!["d"; 100].join("/");
    vec![
        good("long", &parts(1024), bytes(1024, 1024)),
        good(&format!("{deep}/end"), &format!("{deep}/end"), bytes(100, 100)),
        bad("longer", &parts(1025), bytes(1025, 1025), FaultKind::Refused, "HTTP 400").mended(row("longer", "longer")),
    ]
}

fn rows_that_lie() -> Vec<Case> {
    use FaultKind::{Mismatch, NotFound, Refused, Unmet};
    let said = |case: Case, sha256: Option<String>, size: Option<i64>| Case {
        row: Row { sha256, size, ..case.row.clone() },
        ..case
    };
    let right = content(7, 700);
    let sum = || Some(sha256(&right));
    let told = |path: &str| good(path, path, Stands::Bytes(right.clone()));
    let wrong = |path: &str, why| bad(path, path, Stands::Bytes(right.clone()), Mismatch, why);
    let mended = |path: &str| Row { sha256: sum(), size: Some(700), ..row(path, path) };
    let long = || bad("sum-long", "sum-long", bytes(8, THRESHOLD + 9), Mismatch, "checksum differs from the row");
    vec![
        said(told("told"), sum(), Some(700)),
        said(told("told with a word"), sum().map(|sum| format!("sha256:{sum}")), None),
        said(wrong("size", "size differs from the row: 700 instead of 701"), sum(), Some(701)).mended(mended("size")),
        said(wrong("sum", "checksum differs from the row"), Some(sha256(b"other")), None).mended(mended("sum")),
        said(long(), Some(sha256(b"other")), None).mended(row("sum-long", "sum-long")),
        said(bad("no-sum", "no-sum", bytes(9, 9), Unmet, "the row's checksum is no SHA-256"), Some("abc".into()), None)
            .mended(row("no-sum", "no-sum")),
        said(bad("below", "below", bytes(9, 9), Unmet, "the row's size is no number"), None, Some(-1))
            .mended(row("below", "below")),
        bad("missing", "missing", Stands::Nothing, NotFound, "missing"),
        bad("a-folder/missing", "missing2", Stands::Nothing, NotFound, "missing"),
        bad("../outside", "up", Stands::Bytes(b"outside".into()), Refused, "..").mended(row("within", "up")),
        bad("/etc/passwd", "absolute", Stands::Nothing, Refused, "begins with /").mended(row("within2", "absolute")),
        bad("key-up", "a/../b", bytes(1, 1), Unmet, "is no blob key")
            .named("(no key) key-up")
            .mended(row("key-up", "key-up")),
        good("twice", "twice", bytes(2, 2000)),
        good("twice", "twice", Stands::Nothing),
        good("twice", "twice under another key", Stands::Nothing),
        good("first", "key of two", bytes(3, 30)),
        bad("second", "key of two", bytes(4, 40), Unmet, "the same key as first")
            .named("(key in use) key of two: second")
            .mended(row("second", "key of its own")),
    ]
}

fn no_files() -> Vec<Case> {
    let odd = |path: &str, stands, why| bad(path, path, stands, FaultKind::Refused, why);
    let mut cases = vec![
        odd("odd/folder", Stands::Folder, "a folder"),
        odd("odd/pipe", Stands::Pipe, "a pipe"),
        odd("odd/socket", Stands::Socket, "a socket"),
        odd("odd/out", Stands::Link("/etc/passwd"), "a link that leads out of"),
        odd("odd/up", Stands::Link("../../../../../../../../etc/passwd"), "a link that leads out of"),
        odd("odd/null", Stands::Link("/dev/null"), "a link that leads out of"),
        odd("odd/circle", Stands::Link("circle"), "a link that leads nowhere"),
        bad("odd/dangling", "odd/dangling", Stands::Link("nothing"), FaultKind::NotFound, "missing"),
        good("odd/in", "odd/in", Stands::Link("../sizes/one byte")),
    ];
    if rustix::process::geteuid().is_root() {
        cases.push(odd("odd/device", Stands::Device, "a device"));
    } else {
        println!("only root can make a device: none is tried");
    }
    cases
}

/// What the bucket must hold of these rows.
fn wanted(world: &World, rows: &[Row]) -> BTreeMap<String, Held> {
    rows.iter().map(|row| (row.key.clone(), file(&world.media().join(&row.path)))).collect()
}

async fn assert_told(world: &World, cases: &[Case]) {
    let told = items(world).await;
    for case in cases {
        let name = case.named.as_ref().unwrap_or(&case.row.key);
        let (state, error, reason) = told.get(name).unwrap_or_else(|| panic!("the ledger does not know {name:?}"));
        match case.fails {
            None => assert_eq!((*state, *error), (ItemState::Verified, None), "{name:?}: {reason}"),
            Some((kind, why)) => {
                assert_eq!((*state, *error), (ItemState::Failed, Some(kind)), "{name:?}: {reason}");
                assert!(reason.contains(why), "{name:?}: {reason:?} does not say {why:?}");
            }
        }
    }
    let names: std::collections::BTreeSet<_> =
        cases.iter().map(|case| case.named.as_ref().unwrap_or(&case.row.key)).collect();
    assert_eq!(told.len(), names.len(), "nothing else is known: {:?}", told.keys());
}

async fn both_copies(endpoint: &str, bucket: &Path, cases: Vec<Case>) {
    let rows: Vec<Row> = cases.iter().map(|case| case.row.clone()).collect();
    let choices = Choices { bucket: "timeout = \"5m\"", migration: PATIENT };
    let world = World::new(endpoint, &choices, &rows).await;
    for case in &cases {
        case.make(&world);
    }
    let done = copy(&world).await.unwrap_or_else(|fault| panic!("{}", fault.chain()));
    println!("{}", done.summary);
    assert_told(&world, &cases).await;
    let arrived: Vec<Row> = cases.iter().filter(|case| case.fails.is_none()).map(|case| case.row.clone()).collect();
    assert_same(&tree(bucket), &wanted(&world, &arrived), "after the first copy");
    copy(&world).await.unwrap_or_else(|fault| panic!("{}", fault.chain()));
    assert_told(&world, &cases).await;
    assert_same(&tree(bucket), &wanted(&world, &arrived), "after the same once more");
    undo(&world, bucket).await;
    copy(&world).await.unwrap_or_else(|fault| panic!("{}", fault.chain()));
    assert_told(&world, &cases).await;

    let mut rows = Vec::new();
    for (place, case) in cases.iter().enumerate() {
        let row = case.mend(&world);
        world.say(place, &row).await;
        rows.push(row);
    }
    let life = Life::begin(world.path()).await;
    life.copy().await.unwrap_or_else(|fault| panic!("{}", fault.chain()));
    assert_same(&tree(bucket), &wanted(&world, &rows), "after mending");
    let tally = life.tally().await;
    assert_eq!((tally.failed, tally.open()), (0, 0), "{tally:?}");
    let found = life.verify(VerifyLevel::Content).await.unwrap();
    assert!(found.is_same(), "{} {:?}", found.summary(), found.first);
    assert_eq!(life.uploads().await, Vec::<String>::new());
    life.end().await;
    undo(&world, bucket).await;
}

async fn undo(world: &World, bucket: &Path) {
    let life = Life::begin(world.path()).await;
    life.undo().await.unwrap_or_else(|fault| panic!("{}", fault.chain()));
    life.end().await;
    assert_same(&tree(bucket), &BTreeMap::new(), "after the undo");
}

#[tokio::test(flavor = "multi_thread")]
async fn all_that_people_put_into_a_folder_goes_to_s3s_or_says_why_not() {
    let server = Server::start().await;
    let mut cases: Vec<Case> = [sizes(), names(), rows_that_lie(), no_files()].into_iter().flatten().collect();
    let too_long = "k".repeat(1025);
    cases.push(
        bad("longer", &too_long, bytes(1025, 1025), FaultKind::Refused, "HTTP 400").mended(row("longer", "longer")),
    );
    both_copies(&server.endpoint, &server.bucket(), cases).await;
    assert_eq!(server.leftovers(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_file_with_holes_arrives_whole() {
    let server = Server::start().await;
    let rows = [row("holes", "holes")];
    let world = World::new(&server.endpoint, &Choices { bucket: "timeout = \"5m\"", migration: "" }, &rows).await;
    good("holes", "holes", Stands::Sparse(LONG)).make(&world);
    copy(&world).await.unwrap_or_else(|fault| panic!("{}", fault.chain()));
    assert_same(&tree(&server.bucket()), &wanted(&world, &rows), "holes");
    assert_eq!(server.leftovers(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn all_that_people_put_into_a_folder_goes_to_rclone_or_says_why_not() {
    // Otherwise it takes two names for one that differ in how an accent is written.
    let more = ["--no-unicode-normalization"];
    let server = Foreign::rclone(Server::BUCKET, (Server::ACCESS, Server::SECRET), &more).await;
    let cases = [sizes(), names(), long_names(), rows_that_lie(), no_files()].into_iter().flatten().collect();
    both_copies(&server.endpoint, &server.folder().join(Server::BUCKET), cases).await;
}

/// Root may read everything, so the lane lives in a process that is somebody else.
#[tokio::test(flavor = "multi_thread")]
async fn what_may_not_be_read_fails_and_the_others_arrive() {
    let server = Server::start().await;
    let rows = [row("before", "before"), row("shut", "shut"), row("shut-folder/x", "shut-folder/x"), row("z", "z")];
    let choices = Choices { bucket: "", migration: "max_failures = 2\nattempts = 2" };
    let world = World::new(&server.endpoint, &choices, &rows).await;
    for row in &rows {
        world.put(&row.path, row.key.as_bytes());
    }
    let mode = |name: &str, mode: u32| {
        fs::set_permissions(world.media().join(name), fs::Permissions::from_mode(mode)).unwrap();
    };
    let mut command = child(world.path());
    if rustix::process::geteuid().is_root() {
        for path in [".", "media", "media/before", "media/z", "old.db", "new.db", "cutover.toml"] {
            chown(world.path().join(path), Some(65534), Some(65534)).unwrap();
        }
        command.uid(65534).gid(65534);
    }
    mode("shut", 0);
    mode("shut-folder", 0);
    let (went_well, said) = said(command.spawn().unwrap()).await;
    mode("shut", 0o644);
    mode("shut-folder", 0o755);
    assert!(went_well && said.contains("compared: 2 of 4 the same"), "{said}");
    let told = items(&world).await;
    for key in ["shut", "shut-folder/x"] {
        let (state, error, reason) = &told[key];
        assert_eq!((*state, *error), (ItemState::Failed, Some(FaultKind::Permission)), "{reason}");
    }
    let mut wanted: BTreeMap<String, Held> = ["before", "z"].map(|key| (key.to_owned(), held(key.as_bytes()))).into();
    assert_same(&tree(&server.bucket()), &wanted, "without what is shut");
    copy(&world).await.unwrap();
    wanted.extend(["shut", "shut-folder/x"].map(|key| (key.to_owned(), held(key.as_bytes()))));
    assert_same(&tree(&server.bucket()), &wanted, "once it may be read");
}
