//! Records from a REST endpoint into a SQLite file: what the lane itself costs. The endpoint is a process of its own that
//! renders pages of Django REST as fast as they are asked for; the lane runs in a process of its own too, with the real
//! ledger, and its CPU time has everything in it: decoding, mapping, the target's file and the ledger's.

use crate::{ROUNDS, Used, measured, median};
use http_body_util::Full;
use hyper::{Request, Response, body::Bytes, header::CONTENT_TYPE, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto::Builder,
};
use std::{
    collections::BTreeMap,
    convert::Infallible,
    fmt::Write as _,
    fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};
use tempfile::TempDir;
use tokio::net::TcpListener;
use url::Url;

const TABLE: &str = "CREATE TABLE users (id INTEGER PRIMARY KEY, email TEXT NOT NULL, first_name TEXT, last_name TEXT,
    active BOOLEAN NOT NULL, balance DECIMAL(12, 2), profile JSON, updated_at TEXT NOT NULL)";

/// Copies so many rows, alone and with a comparison of both sides behind it, and prints what the lane used.
pub(crate) fn measure(rows: u64) {
    let server = Server::start(rows);
    println!("{rows} rows over HTTP   wall s   rows/s   CPU s   CPU us/row  peak MiB");
    for (name, verify) in [("copy", false), ("copy + verify", true)] {
        let used: Vec<Used> = (0..ROUNDS).map(|_| copied(&server.endpoint, rows, verify)).collect();
        let used = median(&used);
        #[expect(clippy::cast_precision_loss, reason = "for a table")]
        let (each, count) = (used.cpu.as_secs_f64() * 1e6 / rows as f64, rows as f64);
        let (wall, cpu) = (used.wall.as_secs_f64(), used.cpu.as_secs_f64());
        println!("{name:<20} {wall:>8.2} {:>8.0} {cpu:>7.2} {each:>12.1} {:>9}", count / wall, used.memory >> 20);
    }
}

/// One run of the lane.
fn copied(endpoint: &str, rows: u64, verify: bool) -> Used {
    let folder = TempDir::new().expect("a folder");
    let target = folder.path().join("target.db");
    sqlite(&target, TABLE);
    fs::write(folder.path().join("cutover.toml"), plan_text(endpoint, &target)).expect("a plan");
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    let used = measured(command.arg("lane").arg(folder.path()).arg("copy").args(verify.then_some("verify")));
    assert_eq!(sqlite(&target, "SELECT count(*) FROM users").trim(), rows.to_string());
    used
}

/// What a reader that is not under test says.
fn sqlite(file: &Path, sql: &str) -> String {
    let done = Command::new("sqlite3").arg(file).arg(sql).output().expect("sqlite3 of the package sqlite3");
    assert!(done.status.success(), "{sql}");
    String::from_utf8_lossy(&done.stdout).into_owned()
}

fn plan_text(endpoint: &str, target: &Path) -> String {
    format!(
        r#"
name = "bench"
environment = "development"
[stores.old]
kind = "http"
endpoint = "{endpoint}"
[stores.new]
kind = "sqlite"
path = "{}"
[migration]
batch_records = 5000
concurrency = 4
[[dataset]]
name = "users"
from = {{ store = "old", path = "/users/" }}
to = {{ store = "new", table = "users" }}
key = "id"
updated = "updated_at"
"#,
        target.display()
    )
}

/// The endpoint's process; ends with this.
struct Server {
    child: Child,
    endpoint: String,
}

impl Server {
    fn start(rows: u64) -> Self {
        let program = std::env::current_exe().expect("this program");
        let mut command = Command::new(program);
        command.args(["serve", &rows.to_string()]).stdout(Stdio::piped());
        let mut child = command.spawn().expect("an endpoint");
        let mut lines = BufReader::new(child.stdout.take().expect("its output")).lines();
        let endpoint = lines.next().expect("its address").expect("text");
        Self { child, endpoint }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself, which is just as well.
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// Serves so many users until it is killed.
pub(crate) fn serve(rows: u64) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        println!("http://{}", listener.local_addr().expect("an address"));
        loop {
            let (socket, _) = listener.accept().await.expect("a caller");
            socket.set_nodelay(true).expect("a socket");
            let answer = service_fn(move |request: Request<hyper::body::Incoming>| async move {
                let body = Bytes::from(page(request.uri().query().unwrap_or_default(), rows));
                let answer = Response::builder().header(CONTENT_TYPE, "application/json").body(Full::new(body));
                Ok::<_, Infallible>(answer.expect("an answer"))
            });
            tokio::spawn(async move {
                // A caller that hangs up is no news.
                let _ended = Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(socket), answer).await;
            });
        }
    });
}

/// The page that this query asks for. Nobody changes anything, so that nothing changed since any time.
fn page(query: &str, rows: u64) -> String {
    let asked = Url::parse(&format!("http://localhost/?{query}")).expect("a query");
    let asked: BTreeMap<String, String> = asked.query_pairs().into_owned().collect();
    let number = |name: &str, otherwise| asked.get(name).and_then(|text| text.parse::<u64>().ok()).unwrap_or(otherwise);
    let (page, size) = (number("page", 1), number("page_size", 100));
    if asked.contains_key("updated_since") {
        return "{\"count\":0,\"next\":null,\"previous\":null,\"results\":[]}".to_owned();
    }
    if let Some(ids) = asked.get("ids") {
        let ids = ids.split(',').filter_map(|id| id.parse().ok()).filter(|id| (1..=rows).contains(id));
        return listed(rows, "null", ids);
    }
    let (from, to) = ((page - 1) * size, rows.min(page * size));
    let next = if to < rows { format!("\"/users/?page={}\"", page + 1) } else { "null".to_owned() };
    listed(rows, &next, from + 1..=to)
}

fn listed(count: u64, next: &str, ids: impl Iterator<Item = u64>) -> String {
    let mut out = format!("{{\"count\":{count},\"next\":{next},\"previous\":null,\"results\":[");
    for (place, n) in ids.enumerate() {
        let comma = if place > 0 { "," } else { "" };
        let (first, last, cents, digit) = (n % 1000, n % 7919, n % 100, n % 10);
        let (units, active, second, day) = (n % 1000, n % 3 > 0, n % 60, n % 28 + 1);
        // Writing to a text never fails.
        let _written = write!(
            out,
            "{comma}{{\"id\":{n},\"email\":\"user{n}@example.test\",\"first_name\":\"First{first}\",\
             \"last_name\":\"Last{last}\",\"active\":{active},\"balance\":\"{units}.{cents:02}\",\
             \"profile\":{{\"n\":{n},\"tags\":[\"a\",{digit}]}},\
             \"updated_at\":\"2024-01-{day:02}T10:20:{second:02}.000001Z\"}}"
        );
    }
    out.push_str("]}");
    out
}
