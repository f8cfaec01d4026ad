//! A million files in a folder: how fast a lane lists them into its ledger, how soon it goes on after a kill, and what
//! memory that takes. The lane is a process of its own that is killed from here. Where its files go there is no server,
//! so that nothing but the lane is measured.

use super::step::step;
use async_trait::async_trait;
use cutover::{
    engine::StepContext,
    error::Result,
    ledger::Ledger,
    migrate::files,
    model::Digest,
    plan,
    ports::{BlobBody, BlobInfo, BlobPage, BlobStore, Found, Put, Work},
    wiring,
};
use futures::{StreamExt as _, TryStreamExt as _, future::BoxFuture, stream, stream::BoxStream};
use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
    sync::{Arc, Once},
    time::{Duration, Instant},
};
use tempfile::TempDir;
use wait4::Wait4 as _;

/// What a lane's process says of itself, a line each.
const LISTED: &str = "listed";
const COPYING: &str = "copying";
const DONE: &str = "done";

const PLAN: &str = r#"
name = "bench"
environment = "development"
[buckets.media]
kind = "filesystem"
root = "media"
[buckets.r2]
kind = "filesystem"
root = "nowhere"
[[files]]
name = "media"
from = { bucket = "media" }
to = { bucket = "r2", prefix = "copy/" }
"#;

/// Measures a tenth of so many files, and then all of them.
pub(crate) fn measure(count: usize, in_one_folder: usize) {
    let mut tree = Tree { home: TempDir::new().expect("a temporary folder"), count: 0 };
    println!("           listed into the ledger   killed then: killed half-way:         the whole lane");
    println!("files           s  files/s    MiB   copying s   copying s listed s  MiB       s    MiB");
    for part in [count / 10, count] {
        tree.grow(part, in_one_folder);
        tree.forget();
        let listed = tree.start("closed").until(LISTED);
        let resumed = tree.start("closed").until(COPYING);
        tree.forget();
        let killed = tree.start("closed");
        std::thread::sleep(Duration::from_secs_f64(listed.after / 2.0));
        killed.end();
        let mut again = tree.start("closed");
        let copying = again.wait(COPYING);
        let relisted = again.until(LISTED);
        tree.forget();
        let whole = tree.start("taking").until(DONE);
        println!(
            "{part:<9} {:>7.2} {:>8.0} {:>6}   {:>9.2}   {copying:>9.2} {:>8.2} {:>4} {:>7.2} {:>6}",
            listed.after,
            f64::from(u32::try_from(part).expect("a count of files")) / listed.after,
            listed.memory >> 20,
            resumed.after,
            relisted.after,
            relisted.memory >> 20,
            whole.after,
            whole.memory >> 20,
        );
    }
}

/// Small files in folders.
struct Tree {
    home: TempDir,
    count: usize,
}

impl Tree {
    fn grow(&mut self, count: usize, in_one_folder: usize) {
        for number in self.count..count {
            let folder = self.home.path().join(format!("media/folder-{:05}", number / in_one_folder));
            if number == self.count || number % in_one_folder == 0 {
                fs::create_dir_all(&folder).expect("a folder");
            }
            fs::write(folder.join(format!("file-{number:08}.bin")), b"small").expect("room on the disk");
        }
        self.count = count;
        fs::write(self.home.path().join("cutover.toml"), PLAN).expect("room on the disk");
    }

    /// Nothing was ever listed.
    fn forget(&self) {
        let run = self.home.path().join("run");
        if run.exists() {
            fs::remove_dir_all(run).expect("a folder that can be removed");
        }
    }

    fn start(&self, target: &str) -> Lane {
        let program = std::env::current_exe().expect("this program");
        let began = Instant::now();
        let mut child = Command::new(program)
            .arg("list")
            .arg(self.home.path())
            .arg(target)
            .stdout(Stdio::piped())
            .spawn()
            .expect("a process");
        let lines = BufReader::new(child.stdout.take().expect("its output")).lines();
        Lane { child, lines, began }
    }
}

/// A lane's process.
struct Lane {
    child: Child,
    lines: std::io::Lines<BufReader<ChildStdout>>,
    began: Instant,
}

/// Seconds, and the most memory in bytes.
struct Used {
    after: f64,
    memory: u64,
}

impl Lane {
    /// Seconds from its start until it says this.
    fn wait(&mut self, word: &str) -> f64 {
        let said = self.lines.by_ref().any(|line| line.expect("text") == word);
        assert!(said, "the lane ended without being {word}");
        self.began.elapsed().as_secs_f64()
    }

    /// The same, and then kills it.
    fn until(mut self, word: &str) -> Used {
        let after = self.wait(word);
        Used { after, memory: self.end() }
    }

    /// Kills it; gives the most memory it had.
    fn end(mut self) -> u64 {
        self.child.kill().expect("a process that can be killed");
        self.child.wait4().expect("a process that ends").rusage.maxrss
    }
}

/// The lane itself, until it is killed.
pub(crate) fn list(folder: &str, target: &str) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let folder = Path::new(folder);
        let plan = Arc::new(plan::load(&folder.join("cutover.toml")).unwrap_or_else(|problems| panic!("{problems}")));
        let run = folder.join("run");
        fs::create_dir_all(&run).expect("a folder");
        let ledger = Ledger::open(&run).await.expect("a ledger");
        let mut ports = wiring::ports(&plan).expect("ports");
        ports.buckets.insert("r2".into(), Arc::new(Nowhere { takes: target == "taking", begun: Once::new() }));
        let cx = step(&plan, ports, &ledger, "0192e4a0-0000-7000-8000-000000000000", "media", &run);
        tokio::spawn(say_when_listed(Arc::clone(&cx.work)));
        // In a task, as the engine runs its steps.
        tokio::spawn(async move { moved(&cx).await }).await.expect("a lane that ends");
        ledger.close().await;
        println!("{DONE}");
    });
    // Whoever asked ends this.
    std::thread::park();
}

fn moved(cx: &StepContext) -> BoxFuture<'_, ()> {
    Box::pin(async move {
        files::copy_set(cx, &cx.plan.file_sets[0]).await.expect("all copied");
    })
}

async fn say_when_listed(work: Arc<dyn Work>) {
    let ended = |noted: Option<serde_json::Value>| noted.is_some_and(|noted| noted.get("ended").is_some());
    while !ended(work.noted("listing:media").await.expect("a ledger")) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    println!("{LISTED}");
}

/// A bucket without a server: it takes what it gets and forgets it, or never takes anything.
struct Nowhere {
    takes: bool,
    begun: Once,
}

#[async_trait]
impl BlobStore for Nowhere {
    async fn list(&self, _prefix: &str, _from: Option<&str>, _limit: u32) -> Result<BlobPage> {
        Ok(BlobPage::default())
    }

    fn scan(self: Arc<Self>, _prefix: &str) -> BoxStream<'static, Result<Vec<Found>>> {
        stream::empty().boxed()
    }

    async fn open(&self, key: &str, _from: u64) -> Result<BlobBody> {
        unreachable!("{key} is not there")
    }

    async fn put(&self, key: &str, body: BlobBody, _put: &Put) -> Result<BlobInfo> {
        self.begun.call_once(|| println!("{COPYING}"));
        if !self.takes {
            std::future::pending::<()>().await;
        }
        let size = body.size;
        let bytes: Vec<_> = body.bytes.try_collect().await?;
        let sha256 = Some(Digest::of(&bytes.concat()));
        Ok(BlobInfo { key: key.to_owned(), size, sha256, ..BlobInfo::default() })
    }

    async fn head(&self, _key: &str) -> Result<Option<BlobInfo>> {
        Ok(None)
    }

    async fn delete(&self, _key: &str) -> Result<()> {
        Ok(())
    }

    async fn guards_new(&self, _key: &str) -> Result<bool> {
        Ok(true)
    }
}
