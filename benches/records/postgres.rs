//! `PostgreSQL` to `PostgreSQL`, beside pgcopydb: one server, the same rows, each tool in a process of its own.

#[expect(dead_code, clippy::unwrap_used, reason = "tests ask more of it, and fail where it does")]
#[path = "../../tests/postgres/server.rs"]
mod server;

use super::{Used, measured, median, print};
use cutover::{migrate, plan, wiring};
use server::Server;
use std::{fs, path::Path, process::Command, time::Instant};
use tempfile::TempDir;

const TABLE: &str = "CREATE TABLE users (id bigint PRIMARY KEY, email text NOT NULL, first_name text, last_name text,
    active boolean NOT NULL, balance numeric(12, 2), profile jsonb, updated_at timestamptz NOT NULL)";
/// What computes three columns.
const COMPUTED: &str = r#"[dataset.map]
email = "email | upper"
first_name = "first_name ~ ' ' ~ last_name"
last_name = "last_name | lower"
"#;

/// What `pgcopydb compare data` asks of both sides since its version 0.14; Debian 12 has 0.10, which cannot compare.
const CHECKSUM: &str = "SELECT count(1), sum(hashtext(t::text)::bigint) FROM ONLY users AS t";

/// A server with the rows in the database `legacy`, and an empty one `new` beside it.
struct Databases {
    server: Server,
    legacy: String,
    new: String,
}

impl Databases {
    fn with(rows: u64) -> Self {
        let server = Server::start();
        server.psql("CREATE ROLE mover SUPERUSER LOGIN PASSWORD 'secret'");
        server.psql("CREATE DATABASE legacy");
        let at = |database: &str| server.url("mover", "secret").replace("/postgres", &format!("/{database}"));
        let (legacy, new) = (at("legacy"), at("new"));
        let databases = Self { server, legacy, new };
        psql(&databases.legacy, TABLE);
        psql(
            &databases.legacy,
            &format!(
                "INSERT INTO users SELECT n, 'user' || n || '@example.test', 'First' || n % 1000, 'Last' || n % 7919,
                     n % 3 > 0, n % 100000 / 100.0, jsonb_build_object('n', n, 'tags', jsonb_build_array('a', n % 10)),
                     timestamptz '2024-01-01 00:00Z' + n * interval '1.000001 second' FROM generate_series(1, {rows}) AS n"
            ),
        );
        psql(&databases.legacy, "VACUUM ANALYZE users");
        databases
    }

    /// The target, empty; with its table if the tool does not make that itself.
    fn renew(&self, with_table: bool) {
        self.server.psql("DROP DATABASE IF EXISTS new");
        self.server.psql("CREATE DATABASE new");
        if with_table {
            psql(&self.new, TABLE);
        }
        // What one tool left to be written is not the next one's.
        self.server.psql("CHECKPOINT");
    }

    fn count(&self) -> String {
        psql(&self.new, "SELECT count(*) FROM users")
    }

    /// A lane under test, in a process of its own.
    fn lane(&self, folder: &Path, rest: &str, verify: bool) -> Used {
        fs::write(folder.join("cutover.toml"), self.plan(rest)).expect("a plan");
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        measured(command.arg("lane").arg(folder).arg(if verify { "verify" } else { "copy" }))
    }

    fn pgcopydb(&self, words: &[&str]) -> Used {
        let folder = TempDir::new().expect("a folder");
        let mut command = Command::new("pgcopydb");
        command.args(words).args(["--source", &self.legacy, "--target", &self.new]);
        measured(command.arg("--dir").arg(folder.path().join("pgcopydb")))
    }

    /// This, on both sides, one after the other.
    fn on_both(&self, sql: &str) -> Used {
        let one = |url: &str| format!("psql -qX -d '{url}' -c '{sql}'");
        measured(Command::new("sh").args(["-c", &format!("{} && {}", one(&self.legacy), one(&self.new))]))
    }

    fn plan(&self, rest: &str) -> String {
        format!(
            r#"
name = "bench"
environment = "development"
[stores.old]
kind = "postgres"
url = "{}"
[stores.new]
kind = "postgres"
url = "{}"
[migration]
batch_records = 10000
concurrency = 4
[[dataset]]
name = "users"
from = {{ store = "old", table = "users" }}
to = {{ store = "new", table = "users" }}
key = "id"
updated = "updated_at"
{rest}
"#,
            self.legacy, self.new
        )
    }
}

/// What psql answers, who knows nothing of this program.
fn psql(url: &str, sql: &str) -> String {
    let mut psql = Command::new("psql");
    let done = psql.args(["-qXAt", "-v", "ON_ERROR_STOP=1", "-d", url, "-c", sql]).output();
    let done = done.expect("psql of the package postgresql-client");
    assert!(done.status.success(), "{sql}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8_lossy(&done.stdout).trim().to_owned()
}

/// Copies and compares so many rows with each tool, round after round.
pub(crate) fn compare(rows: u64, rounds: usize) {
    let databases = Databases::with(rows);
    let names = [
        "pgcopydb clone",
        "cutover, nothing mapped",
        "cutover, three columns computed",
        "checksums as pgcopydb's",
        "both sides read by psql",
        "cutover, both sides compared",
        "cutover, computed ones compared",
    ];
    let mut used: Vec<Vec<Used>> = vec![Vec::new(); names.len()];
    for _ in 0..rounds {
        // One after the other within a round, so that a change of the machine's mood hits all of them.
        databases.renew(false);
        used[0].push(databases.pgcopydb(&["clone", "--table-jobs", "4", "--index-jobs", "2"]));
        assert_eq!(databases.count(), rows.to_string());
        for (at, rest) in [(1, ""), (2, COMPUTED)] {
            databases.renew(true);
            let folder = TempDir::new().expect("a folder");
            used[at].push(databases.lane(folder.path(), rest, false));
            assert_eq!(databases.count(), rows.to_string());
            if at == 1 {
                used[3].push(databases.on_both(CHECKSUM));
                used[4].push(databases.on_both("COPY users TO STDOUT"));
            }
            used[at + 4].push(databases.lane(folder.path(), rest, true));
        }
    }
    let copied = median(&used[0]);
    println!("{rows} rows copied                   wall s   CPU s  peak MiB   wall and CPU against pgcopydb");
    for at in 0..3 {
        print(names[at], &used[at], &copied);
    }
    let compared = median(&used[3]);
    println!("{rows} rows compared                 wall s   CPU s  peak MiB   wall and CPU against the checksums");
    for at in 3..7 {
        print(names[at], &used[at], &compared);
    }
}

/// Peak memory of a lane of so many rows, copied and compared.
pub(crate) fn memory(rows: u64) {
    let databases = Databases::with(rows);
    databases.renew(true);
    let folder = TempDir::new().expect("a folder");
    for (name, verify) in [("copied", false), ("compared", true)] {
        let used = databases.lane(folder.path(), "", verify);
        println!("{rows} rows {name}: {:.1} s, peak {} MiB", used.wall.as_secs_f64(), used.memory >> 20);
    }
    assert_eq!(databases.count(), rows.to_string());
}

/// How long a preview of so many rows takes, which writes nothing.
pub(crate) fn preview(rows: u64) {
    let databases = Databases::with(rows);
    databases.renew(true);
    let folder = TempDir::new().expect("a folder");
    let file = folder.path().join("cutover.toml");
    fs::write(&file, databases.plan("")).expect("a plan");
    let plan = plan::load(&file).unwrap_or_else(|problems| panic!("{problems}"));
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    for round in 1..=3 {
        let began = Instant::now();
        let ports = wiring::ports(&plan).expect("ports");
        let survey = runtime.block_on(migrate::survey(&plan, &ports)).expect("a survey");
        assert!(survey.blockers.is_empty(), "{:?}", survey.blockers);
        let users = &survey.datasets[0];
        let about = if users.estimated { "about " } else { "" };
        let (took, records) = (began.elapsed(), users.records.expect("a number of rows"));
        println!("preview {round}: {took:.2?}, {about}{records} records of {rows}, {:?}", survey.seconds);
    }
}
