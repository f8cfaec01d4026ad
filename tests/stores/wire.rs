//! Connections that break: in the middle of a batch, and after the server did what was asked.

use super::{all, mariadb_server, numbers, postgres_server, record, set, sides::PATIENCE};
use cutover::{
    adapters::records::{MySqlStore, PostgresStore},
    error::FaultKind,
    model::Record,
    ports::{RecordStore, WriteOutcome},
};
use serde_json::json;
use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

/// What to do once a client says this word.
#[derive(Clone, Copy)]
enum Trouble {
    /// The connection is cut before the server hears of it.
    Before(&'static str),
    /// The server does it, and its answer is lost with the connection.
    After(&'static str),
}

/// Stands between a client and a server.
struct Wire {
    at: SocketAddr,
    trouble: Arc<Mutex<Option<Trouble>>>,
}

impl Wire {
    async fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let trouble: Arc<Mutex<Option<Trouble>>> = Arc::default();
        let shared = Arc::clone(&trouble);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if let Ok(server) = TcpStream::connect(server).await {
                    tokio::spawn(carry(client, server, Arc::clone(&shared)));
                }
            }
        });
        Self { at, trouble }
    }

    fn next(&self, trouble: Trouble) {
        *self.trouble.lock().unwrap() = Some(trouble);
    }
}

/// Carries both ways until one side ends, or the trouble comes.
async fn carry(mut client: TcpStream, mut server: TcpStream, trouble: Arc<Mutex<Option<Trouble>>>) {
    let (mut said, mut answered) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    loop {
        tokio::select! {
            came = client.read(&mut said) => {
                let Ok(count @ 1..) = came else { return };
                let heard = |word: &str| said[..count].windows(word.len()).any(|part| part == word.as_bytes());
                let now = trouble.lock().unwrap().take_if(|trouble| match trouble {
                    Trouble::Before(word) | Trouble::After(word) => heard(word),
                });
                if let Some(Trouble::Before(_)) = now {
                    return;
                }
                if server.write_all(&said[..count]).await.is_err() {
                    return;
                }
                if now.is_some() {
                    let _lost = server.read(&mut answered).await;
                    return;
                }
            }
            came = server.read(&mut answered) => {
                let Ok(count @ 1..) = came else { return };
                if client.write_all(&answered[..count]).await.is_err() {
                    return;
                }
            }
        }
    }
}

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

fn address(url: &str) -> SocketAddr {
    let url: url::Url = url.parse().unwrap();
    format!("127.0.0.1:{}", url.port().unwrap()).parse().unwrap()
}

#[tokio::test]
async fn postgres_survives_broken_connections() {
    let server = postgres_server::Server::start();
    server.psql(
        "CREATE ROLE mover LOGIN SUPERUSER PASSWORD 'secret1'; CREATE TABLE users (id bigint PRIMARY KEY, name text)",
    );
    let url = server.url("mover", "secret1");
    let wire = Wire::to(address(&url)).await;
    let url = url.replace(&address(&url).to_string(), &wire.at.to_string());
    let store = PostgresStore::new("pg", &url.into(), None, PATIENCE).unwrap();
    survives(&store, &wire, "COPY \"users\"", "COMMIT\0").await;
}

#[tokio::test]
async fn mysql_survives_broken_connections() {
    let server = mariadb_server::Server::start();
    server.sql("CREATE TABLE users (id bigint PRIMARY KEY, name text); CREATE USER mover@'%' IDENTIFIED BY 'secret1'; GRANT ALL ON app.* TO mover@'%'");
    let url = server.url("mover", "secret1");
    let wire = Wire::to(address(&url)).await;
    let url = url.replace(&address(&url).to_string(), &wire.at.to_string());
    let store = MySqlStore::new("my", &url.into(), PATIENCE).unwrap();
    survives(&store, &wire, "INSERT INTO", "COMMIT").await;
}
