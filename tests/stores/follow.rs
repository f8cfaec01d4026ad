//! A lane that follows between two real databases, while somebody inserts, updates, deletes and holds transactions open.

use super::{postgres_server::Server, step};
use cutover::{
    ledger::Ledger,
    migrate::{follow, records},
    plan::{self, Plan, Source},
    wiring,
};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    thread,
};
use tempfile::TempDir;

const TABLE: &str = "CREATE TABLE users (id bigint PRIMARY KEY, email text NOT NULL, name text, balance numeric(20, 4),
    updated_at timestamptz NOT NULL DEFAULT now())";
const ROWS: u32 = 400;
/// Rounds while somebody writes.
const ROUNDS: u32 = 30;

#[expect(clippy::needless_pass_by_value, reason = "as `unwrap_or_else` gives it")]
fn failed<T>(fault: cutover::error::Fault) -> T {
    panic!("{}", fault.chain())
}

fn plan_of(folder: &Path, old: &Server, new: &Server) -> Arc<Plan> {
    let text = format!(
        r#"
name = "follow"
environment = "development"
[stores.old]
kind = "postgres"
url = "{}"
[stores.new]
kind = "postgres"
url = "{}"
[migration]
batch_records = 50
follow = "50ms"
sweep = "300ms"
[[dataset]]
name = "users"
from = {{ store = "old", table = "users" }}
to = {{ store = "new", table = "users" }}
key = "id"
updated = "updated_at"
overlap = "100ms"
"#,
        old.url("mover", "secret"),
        new.url("mover", "secret"),
    );
    let source = Source { name: "cutover.toml", text: &text, base: folder, env: &|_| None };
    Arc::new(plan::parse(&source).unwrap_or_else(|problems| panic!("{problems}")))
}

/// What somebody did to the source.
#[derive(Default)]
struct Done {
    writes: AtomicU32,
    /// Transactions that were held open, and seen long after the time that their rows bear.
    held: AtomicU32,
    stop: AtomicBool,
}

/// Writes until told to stop: odd keys at once, even keys in a transaction that stays open for a while, so that nobody waits
/// for a lock of their own. `now()` is the time at which a transaction began.
fn write(old: &Server, done: &Done, seed: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    let (mut quick, mut slow) = (old.user("SELECT 1"), old.user("SELECT 1"));
    let mut open = 0;
    while !done.stop.load(Ordering::SeqCst) {
        let in_slow = random.random_bool(0.4);
        let id = random.random_range(1..ROWS) * 2 + u32::from(!in_slow);
        let sum = random.random_range(0..1_000_000);
        let sql = match random.random_range(0..10) {
            0..4 => format!("UPDATE users SET balance = {sum}, updated_at = now() WHERE id = {id}"),
            // A hand that sets no time.
            4..6 => format!("UPDATE users SET name = 'untold {sum}' WHERE id = {id}"),
            6..8 => format!("DELETE FROM users WHERE id = {id}"),
            _ => format!(
                "INSERT INTO users (id, email, balance) VALUES ({id}, 'u{id}@example.test', {sum})
                 ON CONFLICT (id) DO UPDATE SET balance = {sum}, updated_at = now()"
            ),
        };
        if !in_slow {
            quick.run(&sql);
        } else if open == 0 {
            slow.run(&format!("BEGIN; {sql}"));
            open = random.random_range(1..60);
        } else {
            slow.run(&sql);
            open -= 1;
            if open == 0 {
                slow.run("COMMIT");
                done.held.fetch_add(1, Ordering::SeqCst);
            }
        }
        done.writes.fetch_add(1, Ordering::SeqCst);
    }
    if open > 0 {
        slow.run("COMMIT");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_that_keeps_changing_the_source_loses_no_update() {
    let seed = std::env::var("CUTOVER_TEST_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(58);
    println!("seed {seed} (CUTOVER_TEST_SEED)");
    let (old, new) = (Server::start(), Server::start());
    for server in [&old, &new] {
        server.psql(TABLE);
        server.psql("CREATE ROLE mover SUPERUSER LOGIN PASSWORD 'secret'");
    }
    old.psql(&format!(
        "INSERT INTO users SELECT n, 'u' || n || '@example.test', 'name ' || n, n * 1.5, now() - interval '1 day'
         FROM generate_series(1, {ROWS}) AS n"
    ));
    let folder = TempDir::new().unwrap();
    let plan = plan_of(folder.path(), &old, &new);
    let ledger = Ledger::open(folder.path()).await.unwrap_or_else(failed);
    let ports = wiring::ports(&plan).unwrap_or_else(failed);
    let cx = step::step(&plan, ports, &ledger, "run", "users", folder.path());
    let rounds = plan.migration.follow.unwrap();
    let done = Done::default();
    let all = |server: &Server| server.psql("SELECT * FROM users ORDER BY id");
    thread::scope(|scope| {
        scope.spawn(|| write(&old, &done, seed));
        let following = async {
            follow::copy_ahead(&cx).await.unwrap_or_else(failed);
            let mut round = 0;
            while round < ROUNDS || done.held.load(Ordering::SeqCst) < 3 {
                follow::round(&cx, rounds).await.unwrap_or_else(failed);
                round += 1;
            }
        };
        let handle = tokio::runtime::Handle::current();
        let followed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            tokio::task::block_in_place(|| handle.block_on(following));
        }));
        done.stop.store(true, Ordering::SeqCst);
        followed.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
    println!("{:?} writes, {:?} transactions held open", done.writes, done.held);
    let standing = follow::standing(&cx).await.unwrap_or_else(failed);
    println!("{:?}", standing[0].follow);
    assert!(standing[0].follow.swept.is_some() && standing[0].follow.failing.is_none());

    // From here on nobody writes: the drain, and the proof.
    println!("{}", follow::drain(&cx).await.unwrap_or_else(failed).summary);
    let users = &plan.datasets[0];
    let mut found = records::verify(&cx, users).await.unwrap_or_else(failed);
    if found.late > 0 {
        println!("the comparison found what no time told of: {found:?}");
        records::copy_again(&cx, users).await.unwrap_or_else(failed);
        found = records::verify(&cx, users).await.unwrap_or_else(failed);
    }
    assert!(found.is_same(), "{found:?}");
    assert_eq!(all(&new), all(&old));
    follow::take_back(&cx).await.unwrap_or_else(failed);
    assert_eq!(new.psql("SELECT count(*) FROM users"), "0");
    ledger.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn open_transactions_are_told_and_what_they_wrote() {
    let server = Server::start();
    server.psql(TABLE);
    server.psql("CREATE ROLE mover SUPERUSER LOGIN PASSWORD 'secret'");
    let folder = TempDir::new().unwrap();
    let plan = plan_of(folder.path(), &server, &server);
    let store = wiring::ports(&plan).unwrap_or_else(failed).store("old").unwrap_or_else(failed);
    let set = super::set("users");
    let open = || async { store.open_transactions(&set).await.unwrap_or_else(failed) };
    assert_eq!(open().await.oldest, None);
    let mut user = server.user("BEGIN; SELECT 1");
    let reads = open().await;
    assert!(reads.oldest.is_some() && reads.writing.is_none(), "{reads:?}");
    user.run("INSERT INTO users (id, email) VALUES (1, 'a')");
    let writes = open().await;
    assert_eq!((writes.oldest, writes.writing), (reads.oldest, reads.oldest));
    let mark = store.read(&set, &cutover::ports::Cursor::START, 1).await.unwrap_or_else(failed).as_of.unwrap();
    assert!(writes.oldest.unwrap() < mark, "by the same clock");
    user.run("COMMIT");
    assert_eq!(open().await, cutover::ports::OpenTransactions::default());
    let seen: jiff::Timestamp =
        store.fetch(&set, &super::numbers([1])).await.unwrap()[0].text("updated_at").unwrap().parse().unwrap();
    assert_eq!(Some(seen), writes.oldest, "a row bears the time at which its transaction began");
}
