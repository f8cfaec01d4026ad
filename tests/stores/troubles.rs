//! Whole lanes between real servers that go away, take no writes, refuse some rows, or are given others than was agreed:
//! nothing may be lost, nothing doubled, and the reason must be shown. The databases' own clients are the witnesses.

use super::{
    lanes::{Way, address},
    mariadb_server,
    postgres_server::Server,
    proxy::{Count, Trouble, Wire},
};
use cutover::{
    engine::StepContext,
    error::{FaultKind, Result},
    migrate::agreed,
    model::ItemState,
    ports::{ItemQuery, ItemRow},
};
use std::{cell::RefCell, sync::Arc};

const TABLE: &str = "CREATE TABLE users (id bigint PRIMARY KEY, name text, score float8, updated_at timestamptz)";
const ALL: &str = "SELECT * FROM users ORDER BY id";

/// Rows went in, and nobody heard of it.
const LOST_COPY: Trouble = Trouble::AfterBoth("COPY \"users\"", "COMMIT\0");
const LOST_INSERT: Trouble = Trouble::AfterBoth("INSERT INTO", "COMMIT");

fn rows(count: u32) -> String {
    format!(
        "INSERT INTO users SELECT n, 'u' || n, n / 7.0, timestamptz '2026-01-01Z' + n * interval '1 s'
         FROM generate_series(1, {count}) n"
    )
}

/// A lane of the table `users`, with this besides.
fn lane(migration: &str) -> String {
    format!(
        "[migration]\n{migration}\n[[dataset]]\nname = \"users\"\nkey = \"id\"\nupdated = \"updated_at\"\n\
         from = {{ store = \"old\", table = \"users\" }}\nto = {{ store = \"new\", table = \"users\" }}\n"
    )
}

/// Two servers with that table, so many rows in the first of them, and a role that may do what it is granted.
fn two(count: u32) -> (Server, Server) {
    let (old, new) = (Server::start(), Server::start());
    for server in [&old, &new] {
        server.psql(TABLE);
        server.psql("CREATE ROLE mover SUPERUSER LOGIN PASSWORD 'secret'");
        server.psql("CREATE ROLE guest LOGIN PASSWORD 'secret'; GRANT ALL ON users TO guest");
    }
    old.psql(&rows(count));
    (old, new)
}

fn as_guest(server: &Server) -> String {
    format!("kind = \"postgres\"\nurl = \"{}\"", server.url("guest", "secret"))
}

/// The records that failed, with why and the row.
async fn failed(cx: &StepContext) -> Vec<ItemRow> {
    let query = ItemQuery { states: vec![ItemState::Failed], limit: 10_000, ..ItemQuery::default() };
    cx.work.items(&query).await.unwrap()
}

/// Copies, and something else happens once this is true.
async fn copied_while(way: &Arc<Way>, mut comes: impl FnMut() -> bool, happens: impl FnOnce()) -> Result<String> {
    let way = Arc::clone(way);
    let copied = tokio::spawn(async move { way.copy(0).await });
    while !comes() {
        assert!(!copied.is_finished(), "{:?}", copied.await);
        tokio::task::yield_now().await;
    }
    happens();
    copied.await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_are_lost_after_the_commit() {
    let (old, new) = two(500);
    let (wire, url) = Wire::before(&new.url("mover", "secret"), &Count::new()).await;
    let target = format!("kind = \"postgres\"\nurl = \"{url}\"");
    let way = Way::new(&address(&old), &target, &lane("batch_records = 50\nbackoff = \"1ms\"")).await;
    for trouble in [LOST_COPY, Trouble::Before("COPY \"users\""), LOST_COPY] {
        wire.next(trouble);
    }
    way.copied_and_compared(0).await;
    assert_eq!(wire.waiting(), 0, "everything went wrong that should");
    assert_eq!(new.psql(ALL), old.psql(ALL));
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_mariadb_gave_and_nobody_heard() {
    let (old, new) = (Server::start(), mariadb_server::Server::start());
    old.psql(TABLE);
    old.psql("CREATE ROLE mover SUPERUSER LOGIN PASSWORD 'secret'");
    old.psql(&rows(500));
    new.sql(
        "CREATE TABLE users (id bigint PRIMARY KEY, name text, score double, updated_at timestamp(6) NULL);
         CREATE USER mover@'%' IDENTIFIED BY 'secret'; GRANT ALL ON app.* TO mover@'%'",
    );
    let (wire, url) = Wire::before(&new.url("mover", "secret"), &Count::new()).await;
    let target = format!("kind = \"mysql\"\nurl = \"{url}\"");
    let way = Way::new(&address(&old), &target, &lane("batch_records = 50\nbackoff = \"1ms\"")).await;
    for trouble in [LOST_INSERT, Trouble::Before("INSERT INTO"), LOST_INSERT] {
        wire.next(trouble);
    }
    way.copied_and_compared(0).await;
    assert_eq!(wire.waiting(), 0, "everything went wrong that should");
    let told = old.psql(
        "SELECT id, name, to_char(updated_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US') FROM users ORDER BY id",
    );
    let arrived =
        new.sql("SET time_zone = '+00:00'; SELECT concat_ws('|', id, name, updated_at) FROM users ORDER BY id");
    assert_eq!(arrived, told);
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_that_are_started_again_in_the_middle() {
    let servers = RefCell::new(two(600));
    let patient = "batch_records = 20\nattempts = 60\nbackoff = \"20ms\"\npace = \"5ms\"";
    let (from, to) = (address(&servers.borrow().0), address(&servers.borrow().1));
    let way = Arc::new(Way::new(&from, &to, &lane(patient)).await);
    let arrived = || servers.borrow().1.psql("SELECT count(*) FROM users").parse::<u32>().unwrap();
    let copied = copied_while(
        &way,
        || arrived() > 100,
        || {
            let (old, new) = &mut *servers.borrow_mut();
            for server in [old, new] {
                server.stop();
                server.start_again();
            }
        },
    );
    copied.await.unwrap_or_else(|fault| panic!("{}", fault.chain()));
    way.copied_and_compared(0).await;
    let (old, new) = servers.into_inner();
    assert_eq!(new.psql(ALL), old.psql(ALL));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_right_that_is_taken_away_in_the_middle() {
    let (old, new) = two(600);
    let slow = lane("batch_records = 20\npace = \"5ms\"\nmax_failures = 9");
    let way = Arc::new(Way::new(&as_guest(&old), &as_guest(&new), &slow).await);
    let arrived = || new.psql("SELECT count(*) FROM users").parse::<u32>().unwrap();
    let revoke = || drop(new.psql("REVOKE INSERT, UPDATE ON users FROM guest"));
    let fault = copied_while(&way, || arrived() > 100, revoke).await.unwrap_err();
    assert_eq!((fault.kind, fault.kind.is_retryable()), (FaultKind::Unauthorized, false), "{}", fault.chain());
    assert!(fault.chain().contains("permission denied for table users"), "{}", fault.chain());
    let (cx, _) = way.step(0);
    assert_eq!(failed(&cx).await, [], "no row is to blame");
    assert!(arrived() < 600);
    new.psql("GRANT INSERT, UPDATE ON users TO guest");
    way.copied_and_compared(0).await;
    assert_eq!(new.psql(ALL), old.psql(ALL));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_takes_no_writes_just_now() {
    let (old, new) = two(300);
    let way = Way::new(&address(&old), &address(&new), &lane("batch_records = 20\nmax_failures = 1000")).await;
    new.psql("ALTER ROLE mover SET default_transaction_read_only = on");
    let fault = way.copy(0).await.unwrap_err();
    assert!(fault.chain().contains("read-only transaction"), "{}", fault.chain());
    let (cx, _) = way.step(0);
    assert_eq!(failed(&cx).await, [], "no row is to blame");
    new.psql("ALTER ROLE mover RESET default_transaction_read_only");
    way.copied_and_compared(0).await;
    assert_eq!(new.psql(ALL), old.psql(ALL));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_constraint_that_refuses_one_in_a_thousand() {
    let (old, new) = two(10_000);
    new.psql("ALTER TABLE users ADD CONSTRAINT no_sevens CHECK (id % 1000 <> 7)");
    let way = Way::new(&address(&old), &address(&new), &lane("batch_records = 500\nmax_failures = 10")).await;
    way.copy(0).await.unwrap_or_else(|fault| panic!("{}", fault.chain()));
    assert_eq!(new.psql("SELECT count(*), count(*) FILTER (WHERE id % 1000 = 7) FROM users"), "9990|0");
    let (cx, _) = way.step(0);
    let dead = failed(&cx).await;
    assert_eq!(dead.len(), 10);
    for item in dead {
        assert!(item.key.ends_with('7') && item.reason.contains("no_sevens"), "{item:?}");
        assert_eq!(item.facts.unwrap()["row"]["name"], format!("u{}", item.key));
    }
    new.psql("ALTER TABLE users DROP CONSTRAINT no_sevens");
    way.copied_and_compared(0).await;
    assert_eq!(new.psql(ALL), old.psql(ALL));
}

/// Columns that change between the check and the lane, on which side, and what is said of it.
const CHANGES: [(bool, &str, &str); 7] = [
    (false, "ALTER TABLE users DROP COLUMN score", "the new side has no field `score`"),
    (false, "ALTER TABLE users ALTER score TYPE smallint", "`score` (float64) becomes int16"),
    (false, "ALTER TABLE users ALTER name TYPE varchar(3)", "`name` (text) becomes text(3)"),
    (false, "ALTER TABLE users ADD town text NOT NULL", "`town` may not be null on the new side"),
    (true, "ALTER TABLE users DROP COLUMN name", "the legacy side no longer has `name`"),
    (true, "ALTER TABLE users ADD town text", "the new side has no field `town`"),
    (true, "ALTER TABLE users ALTER score TYPE numeric", "`score` (decimal) becomes float64"),
];

#[tokio::test(flavor = "multi_thread")]
async fn columns_that_changed_since_the_check() {
    let (old, new) = two(50);
    for (legacy, change, why) in CHANGES {
        for server in [&old, &new] {
            server.psql(&format!("DROP TABLE users; {TABLE}"));
        }
        old.psql(&rows(50));
        let way = Way::new(&address(&old), &address(&new), &lane("max_failures = 1000")).await;
        let (cx, users) = way.step(0);
        agreed::note(&cx, users).await.unwrap();
        if legacy {
            old.psql(change)
        } else {
            new.psql(change)
        };
        let fault = way.copy(0).await.unwrap_err();
        let said = fault.chain();
        assert_eq!(fault.kind, FaultKind::Unmet, "{change}: {said}");
        assert!(said.contains(why) && said.contains("changed since the plan was checked"), "{change}: {said}");
        assert_eq!(new.psql("SELECT count(*) FROM users"), "0", "{change}");
        assert_eq!(failed(&cx).await, [], "{change}");
    }
    // What makes nothing worse is none of its affair.
    for server in [&old, &new] {
        server.psql(&format!("DROP TABLE users; {TABLE}"));
    }
    old.psql(&rows(50));
    let way = Way::new(&address(&old), &address(&new), &lane("")).await;
    let (cx, users) = way.step(0);
    agreed::note(&cx, users).await.unwrap();
    old.psql("ALTER TABLE users ALTER name TYPE varchar(50)");
    new.psql("ALTER TABLE users ADD town text; ALTER TABLE users ADD since date NOT NULL DEFAULT now()");
    way.copied_and_compared(0).await;
    assert_eq!(new.psql("SELECT id, name, score, updated_at FROM users ORDER BY id"), old.psql(ALL));
}
