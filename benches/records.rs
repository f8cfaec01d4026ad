//! Records from `PostgreSQL` to `PostgreSQL` against pgcopydb, in one run, on one server and the same data:
//! `cargo bench --bench records [-- ROWS]` (1,000,000 unless told; needs the Debian packages `postgresql` and `pgcopydb`).
//!
//! Prints wall time, CPU time and peak memory of each tool's process, medians of the rounds, and the ratio to pgcopydb in
//! the same run. `cutover` here keeps its ledger, reads every row back and compares it; `+ verify` compares both sides once
//! more, field by field. It judges nothing and never fails for being slow. The servers' own CPU time is in no column.
//!
//! `-- http [ROWS]` measures what a lane from a REST endpoint into a SQLite file costs.

#[expect(dead_code, clippy::unwrap_used, reason = "tests ask more of it, and fail where it does")]
#[path = "../tests/postgres/server.rs"]
mod postgres;
#[path = "records/http.rs"]
mod http;
#[path = "../tests/tools/step.rs"]
mod step;

use cutover::{ledger::Ledger, migrate::records, plan, wiring};
use postgres::Server;
use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};
use step::step;
use tempfile::TempDir;
use wait4::Wait4 as _;

/// How often each tool copies.
const ROUNDS: usize = 3;
const TABLE: &str = "CREATE TABLE users (id bigint PRIMARY KEY, email text NOT NULL, first_name text, last_name text,
    active boolean NOT NULL, balance numeric(12, 2), profile jsonb, updated_at timestamptz NOT NULL)";

#[derive(Clone, Copy, PartialEq, Eq)]
enum Peer {
    PgCopyDb,
    Cutover,
    CutoverVerified,
}

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
    match arguments.first().map(String::as_str) {
        Some("copy") => copy(Path::new(&arguments[1]), arguments.get(2).is_some()),
        Some("http") => {
            http::measure(arguments.get(1).map_or(1_000_000, |rows| rows.parse().expect("a number of rows")));
        }
        Some("serve") => http::serve(arguments[1].parse().expect("a number of rows")),
        // `cargo test --benches` runs every bench once with this flag; there is nothing to test here.
        Some("--test") => {}
        rows => compare(rows.map_or(1_000_000, |rows| rows.parse().expect("a number of rows"))),
    }
}

fn compare(rows: u64) {
    let server = Server::start();
    server.psql("CREATE ROLE mover SUPERUSER LOGIN PASSWORD 'secret'");
    server.psql("CREATE DATABASE legacy");
    let at = |database: &str| server.url("mover", "secret").replace("/postgres", &format!("/{database}"));
    let (legacy, new) = (at("legacy"), at("new"));
    let run = |url: &str, sql: &str| {
        let done = Command::new("psql").args(["-qX", "-v", "ON_ERROR_STOP=1", "-d", url, "-c", sql]).status();
        assert!(done.expect("psql of the package postgresql-client").success(), "{sql}");
    };
    run(&legacy, TABLE);
    run(
        &legacy,
        &format!(
            "INSERT INTO users SELECT n, 'user' || n || '@example.test', 'First' || n % 1000, 'Last' || n % 7919,
                 n % 3 > 0, n % 100000 / 100.0, jsonb_build_object('n', n, 'tags', jsonb_build_array('a', n % 10)),
                 timestamptz '2024-01-01 00:00Z' + n * interval '1.000001 second' FROM generate_series(1, {rows}) AS n"
        ),
    );
    run(&legacy, "VACUUM ANALYZE users");
    let peers =
        [("pgcopydb clone", Peer::PgCopyDb), ("cutover", Peer::Cutover), ("cutover + verify", Peer::CutoverVerified)];
    let mut used: Vec<Vec<Used>> = vec![Vec::new(); peers.len()];
    for _ in 0..ROUNDS {
        // One after the other within a round, so that a change of the machine's mood hits all of them.
        for ((_, peer), runs) in peers.iter().zip(&mut used) {
            server.psql("DROP DATABASE IF EXISTS new");
            server.psql("CREATE DATABASE new");
            if *peer != Peer::PgCopyDb {
                run(&new, TABLE);
            }
            runs.push(peer.copy(&legacy, &new));
            let count = Command::new("psql").args(["-qXAt", "-d", &new, "-c", "SELECT count(*) FROM users"]).output();
            assert_eq!(String::from_utf8_lossy(&count.expect("psql").stdout).trim(), rows.to_string());
        }
    }
    println!("{rows} rows     wall s   CPU s  peak MiB   wall and CPU against pgcopydb");
    let base = median(&used[0]);
    for ((name, _), runs) in peers.iter().zip(&used) {
        let used = median(runs);
        let (wall, cpu) = (used.wall.as_secs_f64(), used.cpu.as_secs_f64());
        println!(
            "{name:<18} {wall:>8.2} {cpu:>8.2} {:>8} {:>8.2} {:>8.2}",
            used.memory >> 20,
            wall / base.wall.as_secs_f64(),
            cpu / base.cpu.as_secs_f64()
        );
    }
}

fn median(runs: &[Used]) -> Used {
    let mut walls: Vec<Duration> = runs.iter().map(|used| used.wall).collect();
    let mut cpus: Vec<Duration> = runs.iter().map(|used| used.cpu).collect();
    walls.sort_unstable();
    cpus.sort_unstable();
    let memory = runs.iter().map(|used| used.memory).max().unwrap_or_default();
    Used { wall: walls[walls.len() / 2], cpu: cpus[cpus.len() / 2], memory }
}

impl Peer {
    fn copy(self, legacy: &str, new: &str) -> Used {
        let folder = TempDir::new().expect("a folder");
        let mut command = if self == Self::PgCopyDb {
            let mut command = Command::new("pgcopydb");
            command.args(["clone", "--source", legacy, "--target", new, "--table-jobs", "4", "--index-jobs", "2"]);
            command.arg("--dir").arg(folder.path().join("pgcopydb"));
            command
        } else {
            fs::write(folder.path().join("cutover.toml"), plan_text(legacy, new)).expect("a plan");
            let mut command = Command::new(std::env::current_exe().expect("this program"));
            command.arg("copy").arg(folder.path());
            if self == Self::CutoverVerified {
                command.arg("verify");
            }
            command
        };
        let began = Instant::now();
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("a tool that starts (Debian package pgcopydb)");
        let ended = child.wait4().expect("a tool that ends");
        let wall = began.elapsed();
        assert!(ended.status.success(), "a tool failed: {}", ended.status);
        Used { wall, cpu: ended.rusage.utime + ended.rusage.stime, memory: ended.rusage.maxrss }
    }
}

fn plan_text(legacy: &str, new: &str) -> String {
    format!(
        r#"
name = "bench"
environment = "development"
[stores.old]
kind = "postgres"
url = "{legacy}"
[stores.new]
kind = "postgres"
url = "{new}"
[migration]
batch_records = 5000
concurrency = 4
[[dataset]]
name = "users"
from = {{ store = "old", table = "users" }}
to = {{ store = "new", table = "users" }}
key = "id"
updated = "updated_at"
"#
    )
}

/// The lane under test, in a process of its own: the real ledger, the real adapters.
fn copy(folder: &Path, verify: bool) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let plan = Arc::new(plan::load(&folder.join("cutover.toml")).unwrap_or_else(|problems| panic!("{problems}")));
        let ledger = Ledger::open(folder).await.expect("a ledger");
        let cx = step(&plan, wiring::ports(&plan).expect("ports"), &ledger, "bench", "users", folder);
        let users = &plan.datasets[0];
        records::copy(&cx, users).await.expect("all copied");
        if verify {
            let found = records::verify(&cx, users).await.expect("compared");
            assert!(found.is_same(), "{}", found.summary());
        }
        ledger.close().await;
    });
}
