//! What only a `MySQL` or `MariaDB` has: types of its own, texts that it takes for equal, a server that goes away.

use super::{all, mariadb_server::Server, numbers, record, set, sides::PATIENCE, text};
use cutover::{
    adapters::records::MySqlStore,
    error::FaultKind,
    model::{Key, Kind, Record, Value},
    ports::{RecordStore, SetRef, WriteOutcome},
};
use serde_json::json;

const USERS: &str =
    "CREATE TABLE users (id bigint PRIMARY KEY AUTO_INCREMENT, name text NOT NULL, updated_at datetime(6));";

fn store(server: &Server) -> MySqlStore {
    MySqlStore::new("legacy", &server.socket_url().into(), PATIENCE).unwrap()
}

fn user(id: i64) -> Record {
    record(json!({"id": id, "name": format!("u{id}"), "updated_at": "2026-11-20T00:00:00"}))
}

fn users(ids: impl IntoIterator<Item = i64>) -> Vec<Record> {
    ids.into_iter().map(user).collect()
}

#[tokio::test]
async fn the_catalog_says_what_columns_hold() {
    let server = Server::start();
    server.sql(
        "CREATE TABLE odd (id int unsigned PRIMARY KEY AUTO_INCREMENT, flag tinyint(1) NOT NULL DEFAULT 0, tiny tinyint, \
            big bigint unsigned, price decimal(10,2), small varchar(7) NOT NULL, code char(4), raw varbinary(3), fixed binary(2), \
            doubled decimal(12,2) GENERATED ALWAYS AS (price * 2) STORED, made timestamp(3) NOT NULL DEFAULT current_timestamp(3), \
            at datetime, it json, mood enum('sad', 'ok'), bits bit(9), made_in year, who uuid)",
    );
    let store = store(&server);
    let odd = SetRef { updated: None, ..set("odd") };
    let info = store.describe(&odd).await.unwrap();
    let said = |name: &str| {
        let field = info.field(name).unwrap();
        (field.kind.clone(), field.nullable, field.filled, field.computed)
    };
    let text = |max| Kind::Text { max: Some(max), nul: true };
    let int = |bits, signed| Kind::Int { bits, signed };
    assert_eq!(said("id"), (int(32, false), false, true, false));
    assert_eq!(said("flag"), (Kind::Bool, false, true, false));
    assert_eq!(said("tiny"), (int(8, true), true, false, false));
    assert_eq!(said("big").0, int(64, false));
    assert_eq!(said("price"), (Kind::Decimal { digits: Some(10), scale: Some(2) }, true, false, false));
    assert_eq!(said("small"), (text(7), false, false, false));
    assert_eq!(said("raw").0, Kind::Bytes { max: Some(3) });
    assert!(said("doubled").3);
    assert_eq!(said("made"), (Kind::Timestamp { zone: true, fraction: 3 }, false, true, false));
    assert_eq!(said("at").0, Kind::Timestamp { zone: false, fraction: 0 });
    assert_eq!(said("it").0, Kind::Json);
    assert_eq!(said("who").0, Kind::Uuid);

    let row = record(json!({
        "id": 1, "flag": true, "tiny": -128, "big": "18446744073709551615", "price": "12.5", "small": "x", "code": "ab",
        "raw": "\\x00ff", "fixed": "\\x0001", "made": "2026-11-20T00:00:00.125Z", "at": "2026-11-20T00:00:00",
        "it": {"a": [1, null]}, "mood": "ok", "bits": 511, "made_in": 1999, "who": "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
    }));
    assert_eq!(store.write(&odd, std::slice::from_ref(&row)).await.unwrap(), [WriteOutcome::Created]);
    let read = &all(&store, &odd).await[0];
    assert_eq!(read.get("doubled").map(Value::to_text).as_deref(), Some("25"));
    for (name, value) in &row.0 {
        assert_eq!(read.get(name).map(Value::to_text), Some(value.to_text()), "{name}");
    }
    for wrong in [
        json!({"id": 2, "small": "x", "mood": "angry"}),
        json!({"id": 2, "small": "x", "price": "1.234"}),
        json!({"id": 2, "small": "x", "code": "a "}),
        json!({"id": 2, "small": "x", "fixed": "\\x00"}),
        json!({"id": 2, "small": "x", "bits": 512}),
        json!({"id": 2, "small": "x", "at": "2026-11-20T00:00:00.5"}),
        json!({"id": 2, "small": "x", "made": "2050-01-01T00:00:00Z"}),
        json!({"id": 2, "code": "x"}),
    ] {
        let outcomes = store.write(&odd, &[record(wrong.clone())]).await.unwrap();
        assert!(matches!(&outcomes[0], WriteOutcome::Rejected(why) if !why.is_empty()), "{wrong}: {outcomes:?}");
    }
    assert_eq!(all(&store, &odd).await.len(), 1);
}

#[tokio::test]
async fn texts_that_the_server_takes_for_equal_are_still_two_keys() {
    let server = Server::start();
    server.sql("CREATE TABLE words (id varchar(20) COLLATE utf8mb4_general_ci PRIMARY KEY, name text)");
    let (store, set) = (store(&server), SetRef { updated: None, ..set("words") });
    let word = |id: &str| record(json!({"id": id, "name": id}));
    assert_eq!(store.write(&set, &[word("a"), word("b")]).await.unwrap(), vec![WriteOutcome::Created; 2]);
    let outcomes = store.write(&set, &[word("A"), word("b"), word("ä"), word("c")]).await.unwrap();
    assert!(
        matches!(outcomes[0], WriteOutcome::Rejected(_)) && matches!(outcomes[2], WriteOutcome::Rejected(_)),
        "{outcomes:?}"
    );
    assert_eq!((&outcomes[1], &outcomes[3]), (&WriteOutcome::Updated, &WriteOutcome::Created));
    assert_eq!(store.fetch(&set, &[Key("A".into())]).await.unwrap(), []);
    store.delete(&set, &[Key("A".into()), Key("B ".into())]).await.unwrap();
    assert_eq!(all(&store, &set).await, [word("a"), word("b"), word("c")]);
    assert_eq!(all(&store, &set).await[0].get("name"), Some(&text("a")));
}

#[tokio::test]
async fn who_may_not_is_told_so() {
    let server = Server::start();
    server.sql(USERS);
    server.sql(
        "INSERT INTO users (name) VALUES ('x'); CREATE USER reader@'%' IDENTIFIED BY 'secret1'; GRANT SELECT ON app.users TO reader@'%'; \
         CREATE USER writer@'%' IDENTIFIED BY 'secret1'; GRANT ALL ON app.* TO writer@'%'",
    );
    let of =
        |user: &str, password: &str| MySqlStore::new("legacy", &server.url(user, password).into(), PATIENCE).unwrap();
    let set = set("users");
    let reader = of("reader", "secret1");
    assert!(!reader.describe(&set).await.unwrap().writable);
    assert_eq!(all(&reader, &set).await.len(), 1);
    let fault = reader.write(&set, &users([2])).await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Unauthorized, "{}", fault.chain());
    assert!(fault.advice().contains("denied"), "{}", fault.advice());
    let fault = of("reader", "wrong-secret").describe(&set).await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Unauthorized, "{}", fault.chain());
    assert!(!fault.chain().contains("wrong-secret"), "{}", fault.chain());
    let writer = of("writer", "secret1");
    assert!(writer.describe(&set).await.unwrap().writable);
    server.sql("SET GLOBAL read_only = 1");
    assert!(!writer.describe(&set).await.unwrap().writable);
    let fault = writer.write(&set, &users([2])).await.unwrap_err();
    assert_eq!((fault.kind, fault.kind.is_retryable()), (FaultKind::Unmet, false), "{}", fault.chain());
    assert!(fault.chain().contains("read-only"), "{}", fault.chain());
}

#[tokio::test]
async fn a_server_that_was_started_again_is_found_again() {
    let mut server = Server::start();
    server.sql(USERS);
    let (store, set) = (store(&server), set("users"));
    assert_eq!(store.write(&set, &users(1..=3)).await.unwrap(), vec![WriteOutcome::Created; 3]);
    server.stop();
    let fault = store.write(&set, &users([4])).await.unwrap_err();
    assert_eq!((fault.kind, fault.kind.is_retryable()), (FaultKind::Unreachable, true), "{}", fault.chain());
    server.start_again();
    assert_eq!(store.write(&set, &users(1..=4)).await.unwrap()[2..], [WriteOutcome::Updated, WriteOutcome::Created]);
    assert_eq!(all(&store, &set).await, users(1..=4));
    store.delete(&set, &numbers([1])).await.unwrap();
}
