//! What only D1 has: limits, numbers of JavaScript's, and a network between.

use super::{
    all,
    d1_server::{Server, TOKEN},
    numbers, record, set,
    sides::PATIENCE,
};
use cutover::{
    adapters::records::{D1Store, SqliteStore},
    error::FaultKind,
    model::{Record, Value},
    ports::{RecordStore, SetRef, WriteOutcome},
};
use serde_json::json;

const USERS: &str = "CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT NOT NULL, big INTEGER, score REAL, raw BLOB, updated_at TEXT)";

fn store(server: &Server, token: &str) -> D1Store {
    D1Store::new("new", &server.endpoint(), "acc", "db", &token.into(), PATIENCE).unwrap()
}

async fn with_users() -> (Server, D1Store, SetRef) {
    let server = Server::start().await;
    let path = server.file();
    let mut connection =
        sqlx::ConnectOptions::connect(&sqlx::sqlite::SqliteConnectOptions::new().filename(path)).await.unwrap();
    sqlx::query(USERS).execute(&mut connection).await.unwrap();
    let store = store(&server, TOKEN);
    (server, store, set("users"))
}

fn user(id: i64) -> Record {
    let mut user =
        record(json!({"id": id, "name": format!("u{id}"), "big": i64::MAX - id, "score": 0.1, "updated_at": null}));
    user.0.insert("raw".into(), Value::Bytes(vec![0; usize::try_from(id).unwrap() * 3]));
    user
}

fn users(ids: impl IntoIterator<Item = i64>) -> Vec<Record> {
    ids.into_iter().map(user).collect()
}

#[tokio::test]
async fn numbers_that_javascript_would_round_arrive() {
    let (server, store, set) = with_users().await;
    assert_eq!(store.write(&set, &users(1..=500)).await.unwrap(), vec![WriteOutcome::Created; 500]);
    assert!(server.asked() < 20, "500 rows in {} requests", server.asked());
    assert_eq!(all(&store, &set).await, users(1..=500));
    let file = SqliteStore::new("file", &server.file());
    assert_eq!(all(&file, &set).await, users(1..=500), "as the file itself has them");
}

#[tokio::test]
async fn a_lost_answer_is_repeated_without_harm() {
    let (server, store, set) = with_users().await;
    store.describe(&set).await.unwrap();
    server.lose_an_answer();
    let fault = store.write(&set, &users(1..=3)).await.unwrap_err();
    assert!(fault.kind.is_retryable(), "{}", fault.chain());
    let file = SqliteStore::new("file", &server.file());
    while all(&file, &set).await.is_empty() {
        // The table was looked at anew, so the answer that was lost may be that one.
        server.lose_an_answer();
        assert!(store.write(&set, &users(1..=3)).await.unwrap_err().kind.is_retryable());
    }
    assert_eq!(store.write(&set, &users(1..=3)).await.unwrap(), vec![WriteOutcome::Updated; 3]);
    assert_eq!(all(&store, &set).await, users(1..=3));
}

#[tokio::test]
async fn what_the_service_says_is_understood() {
    let (server, store, set) = with_users().await;
    let body =
        |code: u32, why: &str| json!({"success": false, "errors": [{"code": code, "message": why}], "result": []});
    for (status, wait, said, kind) in [
        (429, "7", body(971, "slow down"), FaultKind::Throttled),
        (503, "7", body(7500, "overloaded"), FaultKind::Throttled),
        (500, "", body(7500, "internal error"), FaultKind::Server),
        (403, "", body(10000, "not yours"), FaultKind::Unauthorized),
        (404, "", body(7404, "no such database"), FaultKind::NotFound),
        (400, "", body(7500, "near \"x\": syntax error"), FaultKind::Refused),
        (200, "", json!({"success": true}), FaultKind::Garbage),
        (200, "", json!("<html>"), FaultKind::Garbage),
    ] {
        server.answer(status, wait, said);
        let fault = store.describe(&set).await.unwrap_err();
        assert_eq!(fault.kind, kind, "{status}: {}", fault.chain());
        assert_eq!(fault.retry_after.map(|wait| wait.as_secs()), (wait == "7").then_some(7));
    }
    let fault = self::store(&server, "wrong-and-secret").describe(&set).await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Unauthorized);
    assert!(!format!("{fault:?} {}", fault.chain()).contains("wrong-and-secret"));
}

#[tokio::test]
async fn a_row_that_is_too_long_is_rejected_and_the_others_arrive() {
    let (_server, store, set) = with_users().await;
    let mut rows = users(1..=40);
    rows[17].0.insert("name".into(), Value::Text("x".repeat(2_000_001)));
    let outcomes = store.write(&set, &rows).await.unwrap();
    assert!(matches!(&outcomes[17], WriteOutcome::Rejected(why) if why.contains("too big")), "{:?}", outcomes[17]);
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == WriteOutcome::Created).count(), 39);
    store.delete(&set, &numbers(1..=500)).await.unwrap();
    assert_eq!(all(&store, &set).await, []);
}
