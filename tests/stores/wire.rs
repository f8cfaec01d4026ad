//! Connections that break: in the middle of a batch, and after the server did what was asked.

use super::{
    all, mariadb_server, numbers, postgres_server,
    proxy::{Count, Trouble, Wire},
    record, set,
    sides::PATIENCE,
};
use cutover::{
    adapters::records::{MySqlStore, PostgresStore},
    error::FaultKind,
    model::Record,
    ports::{RecordStore, WriteOutcome},
};
use serde_json::json;

fn rows(ids: impl IntoIterator<Item = i64>) -> Vec<Record> {
    ids.into_iter().map(|id| record(json!({"id": id, "name": format!("u{id}")}))).collect()
}

/// Nothing is lost and nothing doubled, whatever breaks.
async fn survives(store: &dyn RecordStore, wire: &Wire, writes: &'static str, commits: &'static str) {
    let set = set("users");
    assert_eq!(store.write(&set, &rows(1..=30)).await.unwrap(), vec![WriteOutcome::Created; 30]);
    wire.next(Trouble::Before(writes));
    let fault = store.write(&set, &rows(31..=90)).await.unwrap_err();
    assert_eq!((fault.kind, fault.kind.is_retryable()), (FaultKind::Unreachable, true), "{}", fault.chain());
    assert_eq!(all(store, &set).await, rows(1..=30), "what was cut short is not there");
    wire.next(Trouble::After(commits));
    let fault = store.write(&set, &rows(31..=90)).await.unwrap_err();
    assert_eq!((fault.kind, fault.kind.is_retryable()), (FaultKind::Unreachable, true), "{}", fault.chain());
    assert_eq!(all(store, &set).await, rows(1..=90), "the server did it");
    assert_eq!(store.write(&set, &rows(31..=90)).await.unwrap(), vec![WriteOutcome::Updated; 60]);
    assert_eq!(all(store, &set).await, rows(1..=90), "and a repeat changes nothing");
    wire.next(Trouble::After("DELETE"));
    assert!(store.delete(&set, &numbers(1..=5)).await.unwrap_err().kind.is_retryable());
    store.delete(&set, &numbers(1..=5)).await.unwrap();
    assert_eq!(all(store, &set).await, rows(6..=90));
}

#[tokio::test]
async fn postgres_survives_broken_connections() {
    let server = postgres_server::Server::start();
    server.psql(
        "CREATE ROLE mover LOGIN SUPERUSER PASSWORD 'secret1'; CREATE TABLE users (id bigint PRIMARY KEY, name text)",
    );
    let (wire, url) = Wire::before(&server.url("mover", "secret1"), &Count::new()).await;
    let store = PostgresStore::new("pg", &url.into(), None, PATIENCE).unwrap();
    survives(&store, &wire, "COPY \"users\"", "COMMIT\0").await;
}

#[tokio::test]
async fn mysql_survives_broken_connections() {
    let server = mariadb_server::Server::start();
    server.sql("CREATE TABLE users (id bigint PRIMARY KEY, name text); CREATE USER mover@'%' IDENTIFIED BY 'secret1'; GRANT ALL ON app.* TO mover@'%'");
    let (wire, url) = Wire::before(&server.url("mover", "secret1"), &Count::new()).await;
    let store = MySqlStore::new("my", &url.into(), PATIENCE).unwrap();
    survives(&store, &wire, "INSERT INTO", "COMMIT").await;
}
