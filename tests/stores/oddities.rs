//! Rows that few targets take: long ones, values that the other side does not have, keys that are there twice or are
//! written otherwise. What can be kept arrives exactly, and what cannot stands alone with its reason.

use super::{
    lanes::{Way, address},
    mariadb_server,
    postgres_server::Server,
    sides::{self, Side, lite_rows},
    web_server, web_sides,
};
use axum::{http::header, response::IntoResponse as _};
use cutover::{
    error::FaultKind,
    migrate::records,
    model::ItemState,
    ports::{ItemQuery, ItemRow},
};
use std::collections::BTreeMap;
use tempfile::TempDir;

/// A lane of this set and table.
fn lane(from: &str, table: &str) -> String {
    format!(
        "[migration]\nmax_failures = 100\n[[dataset]]\nname = \"odd\"\nkey = \"id\"\n\
         from = {{ store = \"old\", {from} }}\nto = {{ store = \"new\", table = \"{table}\" }}\n"
    )
}

/// Copies, and gives the reasons of what failed, by key.
async fn dead_letters(way: &Way) -> BTreeMap<String, String> {
    way.copy(0).await.unwrap_or_else(|fault| panic!("{}", fault.chain()));
    let (cx, _) = way.step(0);
    let query = ItemQuery { states: vec![ItemState::Failed], limit: 100, ..ItemQuery::default() };
    let failed: Vec<ItemRow> = cx.work.items(&query).await.unwrap();
    failed.into_iter().map(|item| (item.key, item.reason)).collect()
}

fn postgres(tables: &str) -> Server {
    let server = Server::start();
    server.psql("CREATE ROLE mover SUPERUSER LOGIN PASSWORD 'secret'");
    server.psql(tables);
    server
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_of_ten_megabytes() {
    const LONG: usize = 10 << 20;
    let django = web_sides::django("offset").await;
    let columns = "id {key}, note {text}, updated_at {timestamp}";
    django.table("notes", columns);
    (django.sql)(
        "INSERT INTO notes VALUES (1, 'short', NULL), (2, hex(zeroblob(5 << 20)) || '2', NULL), (3, 'short', NULL)",
    );
    let middle = postgres("CREATE TABLE notes (id bigint PRIMARY KEY, note text, updated_at timestamptz)");
    let last: Side = sides::sqlite().await;
    last.table("notes", columns);

    let way = Way::new(&django.plan.0, &address(&middle), &lane("path = \"/api/offset/notes/\"", "notes")).await;
    way.copied_and_compared(0).await;
    let told = middle.psql("SELECT id, length(note), note = repeat('0', 10 << 20) || id FROM notes ORDER BY id");
    assert_eq!(told, format!("1|5|f\n2|{}|t\n3|5|f", LONG + 1));

    let way = Way::new(&address(&middle), &last.plan.0, &lane("table = \"notes\"", "notes")).await;
    way.copied_and_compared(0).await;
    let place = last.plan.0.rsplit('"').nth(1).unwrap();
    let sql = "SELECT id || '|' || length(note) || '|' || (note = hex(zeroblob(5 << 20)) || id) FROM notes ORDER BY id";
    let wanted = ["1|5|0".to_owned(), format!("2|{}|1", LONG + 1), "3|5|0".to_owned()];
    assert_eq!(lite_rows(place.as_ref(), sql), wanted);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_nul_in_a_text_that_postgres_does_not_keep() {
    let old = mariadb_server::Server::start();
    old.sql("CREATE TABLE odd (id bigint PRIMARY KEY, name text); INSERT INTO odd VALUES (1, 'a'), (2, concat('b', char(0), 'c')), (3, '')");
    let new = postgres("CREATE TABLE odd (id bigint PRIMARY KEY, name text)");
    let from = format!("kind = \"mysql\"\nurl = \"{}\"", old.socket_url());
    let way = Way::new(&from, &address(&new), &lane("table = \"odd\"", "odd")).await;
    let dead = dead_letters(&way).await;
    assert_eq!(dead.keys().collect::<Vec<_>>(), ["2"]);
    assert!(dead["2"].contains("`name`") && dead["2"].contains("NUL"), "{dead:?}");
    assert_eq!(new.psql("SELECT id, name FROM odd ORDER BY id"), "1|a\n3|");
}

const ODD: &str = "CREATE TABLE odd (id bigint PRIMARY KEY, score float8, born date, big numeric);
    INSERT INTO odd VALUES (1, 1.5, '1850-01-01', 0.1), (2, 'NaN', NULL, NULL), (3, '-Infinity', NULL, NULL),
        (4, 0, '0044-03-15 BC', NULL), (5, 0, '12024-02-29', NULL), (6, 0, 'infinity', NULL),
        (7, 0, '9999-12-31', 9007199254740993), (8, 0, NULL, 123456789012345678901234567890.5)";

#[tokio::test(flavor = "multi_thread")]
async fn numbers_that_are_none_and_days_far_away() {
    let old = postgres(ODD);
    let new = mariadb_server::Server::start();
    new.sql("CREATE TABLE odd (id bigint PRIMARY KEY, score double, born date, big decimal(30,5))");
    let to = format!("kind = \"mysql\"\nurl = \"{}\"", new.socket_url());
    let way = Way::new(&address(&old), &to, &lane("table = \"odd\"", "odd")).await;
    let dead = dead_letters(&way).await;
    assert_eq!(dead.keys().collect::<Vec<_>>(), ["2", "3", "4", "5", "6", "8"], "{dead:?}");
    for (key, why) in [("2", "NaN"), ("3", "-Infinity"), ("4", "-0043-03-15"), ("5", "12024"), ("8", "digits")] {
        assert!(dead[key].contains(why), "{key}: {dead:?}");
    }
    assert!(dead.values().all(|why| !why.is_empty()));
    assert_eq!(
        new.sql("SELECT * FROM odd ORDER BY id"),
        "1\t1.5\t1850-01-01\t0.10000\n7\t0\t9999-12-31\t9007199254740993.00000"
    );

    let file = sides::sqlite().await;
    file.table("odd", "id {key}, score {float}, born {far date}, big TEXT");
    let way = Way::new(&address(&old), &file.plan.0, &lane("table = \"odd\"", "odd")).await;
    assert_eq!(dead_letters(&way).await, BTreeMap::new(), "SQLite keeps them all");
    way.copied_and_compared(0).await;
    let place = file.plan.0.rsplit('"').nth(1).unwrap();
    let sql = "SELECT concat_ws(' ', id, score, born, big) FROM odd ORDER BY id";
    let wanted = [
        "1 1.5 1850-01-01 0.1",
        "2 NaN",
        "3 -Inf",
        "4 0.0 -0043-03-15",
        "5 0.0 +12024-02-29",
        "6 0.0 infinity",
        "7 0.0 9999-12-31 9007199254740993",
        "8 0.0 123456789012345678901234567890.5",
    ];
    assert_eq!(lite_rows(place.as_ref(), sql), wanted);
}

/// An endpoint that answers with this list, whatever it is asked.
async fn endpoint(list: &'static str) -> String {
    let server =
        web_server::Server::that(move |_| ([(header::CONTENT_TYPE, "application/json")], list).into_response()).await;
    format!("kind = \"http\"\nendpoint = \"{}\"\npagination = \"none\"", server.endpoint)
}

const NAMES: &str = "CREATE TABLE names (id bigint PRIMARY KEY, name text, born date)";

#[tokio::test(flavor = "multi_thread")]
async fn keys_as_texts_and_as_numbers() {
    let old = endpoint(
        r#"[{"id": "7", "name": "text"}, {"id": 8, "name": "number"}, {"id": "007", "name": "padded"}, {"id": "x", "name": "none"},
            {"id": 9.0, "name": "whole"}, {"name": "keyless"}, {"id": 9007199254740993, "name": "big"}]"#,
    )
    .await;
    let new = postgres(NAMES);
    let way = Way::new(&old, &address(&new), &lane("path = \"/names/\"", "names")).await;
    let dead = dead_letters(&way).await;
    assert!(dead["007"].contains("`007`") && dead["x"].contains("`x`"), "{dead:?}");
    assert!(dead.values().any(|why| why.contains("has no `id`")), "{dead:?}");
    assert_eq!(
        new.psql("SELECT id, name FROM names WHERE id <> 9 ORDER BY id"),
        "7|text\n8|number\n9007199254740993|big"
    );
    assert_eq!(dead.len() + new.psql(NAMES_COUNT).parse::<usize>().unwrap(), 7, "{dead:?}");
}

const NAMES_COUNT: &str = "SELECT count(*) FROM names";

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_are_there_twice_and_days_that_are_none() {
    let old = endpoint(
        r#"[{"id": 1, "name": "first", "born": "10000-01-01"}, {"id": 2, "name": "a", "born": "1899-12-31"},
            {"id": 2, "name": "b", "born": "9999-12-31"}, {"id": 3, "name": "c", "born": "+10000-01-01"}]"#,
    )
    .await;
    let new = postgres(NAMES);
    let way = Way::new(&old, &address(&new), &lane("path = \"/names/\"", "names")).await;
    let dead = dead_letters(&way).await;
    assert_eq!(dead.keys().collect::<Vec<_>>(), ["1"]);
    assert!(dead["1"].contains("10000-01-01"), "{dead:?}");
    assert_eq!(new.psql("SELECT id, name, born FROM names ORDER BY id"), "2|b|9999-12-31\n3|c|10000-01-01");
    let (cx, dataset) = way.step(0);
    let found = records::verify(&cx, dataset).await.unwrap();
    assert!(!found.is_same() && found.source == 4, "{found:?}");
    assert!(found.first.iter().any(|difference| difference.what.contains("twice on one page")), "{found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_that_is_no_utf_8() {
    let folder = TempDir::new().unwrap();
    let old = folder.path().join("old.db");
    std::fs::File::create(&old).unwrap();
    lite_rows(
        &old,
        "CREATE TABLE names (id INTEGER PRIMARY KEY, name TEXT, born DATE);
         INSERT INTO names (id, name) VALUES (1, 'a'), (2, CAST(x'66ff' AS TEXT)), (3, 'c')",
    );
    let new = postgres(NAMES);
    let from = format!("kind = \"sqlite\"\npath = \"{}\"", old.display());
    let way = Way::new(&from, &address(&new), &lane("table = \"names\"", "names")).await;
    let fault = way.copy(0).await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Refused, "{}", fault.chain());
    assert!(fault.chain().contains("names") && fault.chain().contains("utf-8"), "{}", fault.chain());
    lite_rows(&old, "UPDATE names SET name = 'b' WHERE id = 2");
    way.copied_and_compared(0).await;
    assert_eq!(new.psql("SELECT id, name FROM names ORDER BY id"), "1|a\n2|b\n3|c");
}
