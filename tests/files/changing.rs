//! Files that somebody goes on writing while they are copied: what is stored is always one version that once stood there,
//! never two of them torn together, or the file has failed with `changed`.

use crate::{
    life::{copy, items},
    reader::{Held, held, sha256, tree},
    server::{Mishap, Server},
    world::{Choices, KIB, MIB, World, content, row},
};
use cutover::{error::FaultKind, model::ItemState};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use std::{
    collections::HashSet,
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, channel},
    },
    thread,
    time::Duration,
};

/// How a file changes, one step after the other, each of which leaves a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Grows,
    Shrinks,
    IsReplaced,
    /// By another of the same length.
    IsReplacedAlike,
    /// In its place, at its end and at its beginning; the states between are no versions.
    IsWritten,
}

const WAYS: [Way; 5] = [Way::Grows, Way::Shrinks, Way::IsReplaced, Way::IsReplacedAlike, Way::IsWritten];

/// A file, its content as it stands, and the SHA-256 of every version so far.
struct Restless {
    way: Way,
    path: PathBuf,
    now: Vec<u8>,
    versions: HashSet<String>,
    random: StdRng,
}

impl Restless {
    fn new(way: Way, path: &Path, length: usize, seed: u64) -> Self {
        let now = content(seed, length);
        fs::write(path, &now).unwrap();
        let versions = [sha256(&now)].into();
        Self { way, path: path.to_owned(), now, versions, random: StdRng::seed_from_u64(seed) }
    }

    fn step(&mut self) {
        let length = self.now.len();
        match self.way {
            Way::Grows => self.now.extend(content(self.random.random(), 10_000)),
            Way::Shrinks => self.now.truncate(length.saturating_sub(1000)),
            Way::IsReplaced => self.now = content(self.random.random(), self.random.random_range(length / 2..=length)),
            Way::IsReplacedAlike => self.now = content(self.random.random(), length),
            Way::IsWritten => {
                let new = content(self.random.random(), 1000);
                self.now[length - 1000..].copy_from_slice(&new);
                self.now[..1000].copy_from_slice(&new);
            }
        }
        // Known before it stands there: the lane may be faster than this thread.
        self.versions.insert(sha256(&self.now));
        match self.way {
            Way::Grows => {
                let mut file = File::options().append(true).open(&self.path).unwrap();
                file.write_all(&self.now[length..]).unwrap();
            }
            Way::Shrinks => {
                File::options().write(true).open(&self.path).unwrap().set_len(self.now.len() as u64).unwrap();
            }
            Way::IsReplaced | Way::IsReplacedAlike => {
                let beside = self.path.with_extension("new");
                fs::write(&beside, &self.now).unwrap();
                fs::rename(beside, &self.path).unwrap();
            }
            Way::IsWritten => {
                use std::os::unix::fs::FileExt as _;
                let file = File::options().write(true).open(&self.path).unwrap();
                file.write_all_at(&self.now[length - 1000..], length as u64 - 1000).unwrap();
                file.write_all_at(&self.now[..1000], 0).unwrap();
            }
        }
    }
}

/// Goes on changing the files until it is over; some come to rest while the lane still tries, others never do.
fn write_until(over: Receiver<()>, mut files: Vec<Restless>, seed: u64) -> thread::JoinHandle<Vec<Restless>> {
    thread::spawn(move || {
        let mut random = StdRng::seed_from_u64(seed);
        let mut left: Vec<u32> = files.iter().map(|_| random.random_range(1..600)).collect();
        while over.recv_timeout(Duration::from_millis(5)).is_err() {
            for (file, left) in files.iter_mut().zip(&mut left).filter(|(_, left)| **left > 0) {
                *left -= 1;
                file.step();
            }
        }
        files
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_stored_is_always_one_version() {
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let server = Server::start().await;
    let name = |way: Way, length: usize| format!("{way:?}-{length}");
    let files: Vec<(Way, usize)> =
        [400 * KIB, 6 * MIB].into_iter().flat_map(|length| WAYS.map(|way| (way, length))).collect();
    let rows: Vec<_> = files.iter().map(|(way, length)| row(name(*way, *length), name(*way, *length))).collect();
    // Slow enough for several versions to pass while one is read.
    let choices = Choices { migration: "max_failures = 1000\nattempts = 3\nlimit_bytes_per_s = \"32MiB\"", bucket: "" };
    let world = World::new(&server.endpoint, &choices, &rows).await;
    let restless: Vec<Restless> = files
        .iter()
        .enumerate()
        .map(|(place, (way, length))| {
            Restless::new(*way, &world.media().join(name(*way, *length)), *length, seed ^ place as u64)
        })
        .collect();
    let (over, until) = channel();
    let writer = write_until(until, restless, seed);
    let first = copy(&world).await;
    over.send(()).unwrap();
    let restless = writer.join().unwrap();
    first.unwrap_or_else(|fault| panic!("{}", fault.chain()));
    let told = items(&world).await;
    let stored = tree(&server.bucket());
    let mut ends = [0, 0];
    for file in &restless {
        let key = file.path.file_name().unwrap().to_str().unwrap();
        let (state, error, reason) = &told[key];
        let held: Option<&Held> = stored.get(key);
        if let Some((_, sha256)) = held {
            assert!(file.versions.contains(sha256), "seed {seed}: {key} is torn");
        }
        match state {
            ItemState::Verified => assert!(held.is_some(), "seed {seed}: {key} is not there"),
            _ => assert_eq!((*state, *error), (ItemState::Failed, Some(FaultKind::Changed)), "{key}: {reason}"),
        }
        ends[usize::from(*state == ItemState::Failed)] += 1;
    }
    println!("{} arrived, {} failed with `changed`", ends[0], ends[1]);
    assert_eq!(server.leftovers(), Vec::<String>::new(), "seed {seed}");

    copy(&world).await.unwrap_or_else(|fault| panic!("{}", fault.chain()));
    let wanted = restless
        .iter()
        .map(|file| (file.path.file_name().unwrap().to_str().unwrap().to_owned(), held(&file.now)))
        .collect();
    crate::reader::assert_same(&tree(&server.bucket()), &wanted, "once nobody writes any more");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_short_when_the_lane_goes_on_leaves_no_upload() {
    let mended = Arc::new(AtomicBool::new(false));
    let again = Arc::clone(&mended);
    let server = Server::that(move |asked| {
        let second = asked.query.split('&').any(|pair| pair == "partNumber=2");
        (second && !again.load(Ordering::Relaxed)).then_some(Mishap::Says(403, "AccessDenied", None))
    })
    .await;
    let world = World::new(&server.endpoint, &Choices::default(), &[row("f", "f")]).await;
    world.put("f", &content(1, 6 * MIB));
    assert_eq!(copy(&world).await.unwrap_err().kind, FaultKind::Unauthorized);
    server.quiet().await;
    assert!(!server.leftovers().is_empty(), "the upload stands open");
    mended.store(true, Ordering::Relaxed);
    world.put("f", b"short");
    copy(&world).await.unwrap_or_else(|fault| panic!("{}", fault.chain()));
    crate::reader::assert_same(&tree(&server.bucket()), &[("f".to_owned(), held(b"short"))].into(), "gone on");
    assert_eq!(server.leftovers(), Vec::<String>::new());
}
