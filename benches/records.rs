//! What lanes of records take: `cargo bench --bench records -- [postgres|http|memory|preview] [ROWS]` (`postgres` with
//! 1,000,000 rows unless told).
//!
//! `postgres` goes from one database to another beside pgcopydb (Debian packages `postgresql` and `pgcopydb`), `http` from a
//! REST endpoint into a SQLite file, `memory` shows the peak of one long lane, `preview` how long a look at 10,000,000 rows
//! takes. Every lane and tool that is measured runs in a process of its own, one after the other in each round: wall time, CPU
//! time and peak memory are the process's, medians of the rounds. It judges nothing and never fails for being slow. The
//! servers' own CPU time is in no column.

#[path = "records/http.rs"]
mod http;
#[path = "records/postgres.rs"]
mod postgres;
#[path = "../tests/tools/step.rs"]
mod step;

use cutover::{ledger::Ledger, migrate::records, plan, wiring};
use std::{
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};
use step::step;
use wait4::Wait4 as _;

/// As in the program itself.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How often each tool runs.
const ROUNDS: usize = 3;

/// What one run of a tool used.
#[derive(Clone, Copy)]
struct Used {
    wall: Duration,
    cpu: Duration,
    /// Bytes.
    memory: u64,
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let rows = |text: &str| text.parse::<u64>().expect("a number of rows");
    match words[..] {
        // `cargo test --benches` runs every bench once with this flag; there is nothing to test here.
        ["--test", ..] => {}
        ["lane", folder, ref parts @ ..] => lane(Path::new(folder), parts),
        ["serve", count] => http::serve(rows(count)),
        ["http", ref count @ ..] => http::measure(count.first().map_or(1_000_000, |count| rows(count))),
        ["memory", ref count @ ..] => postgres::memory(count.first().map_or(10_000_000, |count| rows(count))),
        ["preview", ref count @ ..] => postgres::preview(count.first().map_or(10_000_000, |count| rows(count))),
        ["postgres", ref count @ ..] | ref count => {
            postgres::compare(count.first().map_or(1_000_000, |count| rows(count)), ROUNDS);
        }
    }
}

/// Runs a tool to its end.
fn measured(command: &mut Command) -> Used {
    let began = Instant::now();
    let quiet = command.stdin(Stdio::null()).stdout(Stdio::null());
    let child = quiet.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let ended = { child }.wait4().expect("a tool that ends");
    let wall = began.elapsed();
    assert!(ended.status.success(), "a tool failed: {}", ended.status);
    Used { wall, cpu: ended.rusage.utime + ended.rusage.stime, memory: ended.rusage.maxrss }
}

fn median(runs: &[Used]) -> Used {
    let mut walls: Vec<Duration> = runs.iter().map(|used| used.wall).collect();
    let mut cpus: Vec<Duration> = runs.iter().map(|used| used.cpu).collect();
    walls.sort_unstable();
    cpus.sort_unstable();
    let memory = runs.iter().map(|used| used.memory).max().unwrap_or_default();
    Used { wall: walls[walls.len() / 2], cpu: cpus[cpus.len() / 2], memory }
}

/// A line of the table, held against `base`.
fn print(name: &str, runs: &[Used], base: &Used) {
    let used = median(runs);
    let (wall, cpu) = (used.wall.as_secs_f64(), used.cpu.as_secs_f64());
    println!(
        "{name:<34} {wall:>6.2} {cpu:>7.2} {:>9} {:>8.2} {:>8.2}",
        used.memory >> 20,
        wall / base.wall.as_secs_f64(),
        cpu / base.cpu.as_secs_f64()
    );
}

/// The lane under test, in a process of its own: the real ledger, the real adapters. `parts`: `copy`, `verify` or both.
fn lane(folder: &Path, parts: &[&str]) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let plan = Arc::new(plan::load(&folder.join("cutover.toml")).unwrap_or_else(|problems| panic!("{problems}")));
        let ledger = Ledger::open(folder).await.expect("a ledger");
        let cx = step(&plan, wiring::ports(&plan).expect("ports"), &ledger, "bench", "users", folder);
        let users = &plan.datasets[0];
        if parts.contains(&"copy") {
            records::copy(&cx, users).await.unwrap_or_else(|fault| panic!("{}", fault.chain()));
        }
        if parts.contains(&"verify") {
            let found = records::verify(&cx, users).await.unwrap_or_else(|fault| panic!("{}", fault.chain()));
            assert!(found.is_same(), "{}", found.summary());
        }
        ledger.close().await;
    });
}
