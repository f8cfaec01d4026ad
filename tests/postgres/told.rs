//! Rows that are told, once and whole, whatever users and the server do meanwhile, and cleared again.

use crate::{DJANGO, Server, TABLE, file, files, plan, run, table};
use cutover::{
    adapters::write_back::PostgresWriteBack,
    error::FaultKind,
    model::RunId,
    ports::{ClearedPage, WriteBack},
};
use std::{pin::pin, time::Duration};

/// Columns of a told row as psql sees them.
const VALUES: &str = "r2_key, migrated_at AT TIME ZONE 'UTC', migration_status, migration_batch_id, checksum";

#[tokio::test]
async fn rows_of_any_key_are_told_and_those_that_are_not_there_are_named() {
    let server = Server::start();
    let uuid = "('00000000-0000-4000-8000-' || lpad(to_hex(n), 12, '0'))";
    for (kind, key) in [
        ("integer", "n".to_owned()),
        ("bigint", "n::bigint * 1000000000".to_owned()),
        ("numeric", "n".to_owned()),
        ("uuid", format!("{uuid}::uuid")),
        ("text", "'Ключ \"' || n".to_owned()),
        ("varchar(12)", "'k-' || n".to_owned()),
        ("char(40)", uuid.to_owned()),
    ] {
        server.psql(&format!(
            "DROP TABLE IF EXISTS t; CREATE TABLE t (id {kind} PRIMARY KEY); \
             INSERT INTO t SELECT {key} FROM generate_series(1, 6000) AS n"
        ));
        let table = table(&server, "t", "id");
        table.prepare().await.unwrap();
        let mut ids: Vec<String> =
            server.psql("SELECT id::text FROM t ORDER BY 1 LIMIT 5000").lines().map(str::to_owned).collect();
        assert_eq!(ids.len(), 5000);
        // What no row can have is as long as what they have, and longer.
        let strangers = match kind {
            "uuid" => vec!["11111111-0000-4000-8000-000000000000".to_owned()],
            "text" | "varchar(12)" | "char(40)" => vec!["k-77 and more than twelve characters".into(), String::new()],
            _ => vec!["0".to_owned()],
        };
        ids.extend(strangers.clone());
        let mut nowhere = table.fill(&run(), &files(&ids)).await.unwrap();
        nowhere.sort();
        let mut wanted = strangers;
        wanted.sort();
        assert_eq!(nowhere, wanted, "{kind}");
        let told = server.psql(
            "SELECT count(*) FROM t WHERE r2_key = 'users/ü/' || id AND migration_status = 'completed' \
             AND migrated_at = '2026-11-21 01:02:03.456789Z' AND migration_batch_id = '0193a1b2-run/files-content-0001' \
             AND checksum = encode(sha256(convert_to(id::text, 'UTF8')), 'hex')",
        );
        assert_eq!(told, "5000", "{kind}");
        assert_eq!(server.psql("SELECT count(*) FROM t WHERE migration_batch_id IS NULL"), "1000", "{kind}");
        let versions = "SELECT md5(string_agg(xmin::text || ctid::text, ' ' ORDER BY id)) FROM t";
        let before = server.psql(versions);
        table.fill(&run(), &files(&ids)).await.unwrap();
        assert_eq!(server.psql(versions), before, "{kind}: nothing is written a second time");
    }
}

#[tokio::test]
async fn names_of_any_kind_and_columns_that_are_there_are_used_as_they_are() {
    let server = Server::start();
    server.psql(
        "CREATE SCHEMA \"Legacy App\"; CREATE TABLE \"Legacy App\".\"saved \"\"files\" (\
            \"Record Id\" int UNIQUE NOT NULL, r2_key varchar(200), migrated_at timestamp, checksum varchar(64)); \
         INSERT INTO \"Legacy App\".\"saved \"\"files\" VALUES \
            (1, 'old', '2001-01-01', 'theirs'), (2, NULL, NULL, NULL), (3, NULL, NULL, ''); \
         ALTER ROLE postgres SET TimeZone = 'Asia/Tokyo'",
    );
    let name = "\"Legacy App\".\"saved \"\"files\"";
    let table = table(&server, name, "Record Id");
    assert_eq!(table.inspect().await.unwrap(), ["migration_status", "migration_batch_id"]);
    assert_eq!(table.prepare().await.unwrap(), ["migration_status", "migration_batch_id"]);
    assert!(table.fill(&run(), &files([1, 2, 3])).await.unwrap().is_empty());
    let seen = || {
        server.psql(&format!("SELECT migrated_at, migration_status, checksum FROM {name} ORDER BY 1, \"Record Id\""))
    };
    let sum = |id: &str| file(id).sha256.to_hex();
    let at = "2026-11-21 01:02:03.456789|completed";
    assert_eq!(seen(), format!("{at}|theirs\n{at}|{}\n{at}|{}", sum("2"), sum("3")), "their checksum stays");
    assert_eq!(table.clear(&run(), None, 100).await.unwrap(), ClearedPage { rows: 3, next: None });
    assert_eq!(seen(), format!("||theirs\n||{}\n||{}", sum("2"), sum("3")), "a checksum of theirs is true either way");
}

#[tokio::test]
async fn a_row_that_a_user_holds_is_not_waited_for_and_nothing_is_half_told() {
    let server = Server::start();
    server.psql(DJANGO);
    let patient = table(&server, TABLE, "id");
    patient.prepare().await.unwrap();
    let mut short = plan(&server.socket_url(), TABLE, "id");
    short.timeout = Duration::from_secs(2);
    let table = PostgresWriteBack::new(&short).unwrap();
    let mut user = server.user("BEGIN; UPDATE list_app_savedlist SET file_name = 'mine' WHERE id = 13");
    let fault = table.fill(&run(), &files(1..=20)).await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Timeout, "{}", fault.chain());
    assert!(fault.chain().contains("lock timeout (55P03)"), "{}", fault.chain());
    assert_eq!(server.psql("SELECT count(*) FROM list_app_savedlist WHERE r2_key IS NOT NULL"), "0");
    assert!(
        table.fill(&run(), &files((1..=20).filter(|id| *id != 13))).await.unwrap().is_empty(),
        "others can be told"
    );
    assert_eq!(table.clear(&run(), None, 12).await.unwrap().rows, 12, "and cleared");
    user.run("COMMIT");
    assert!(table.fill(&run(), &files(1..=20)).await.unwrap().is_empty());
    assert_eq!(server.psql("SELECT file_name, r2_key FROM list_app_savedlist WHERE id = 13"), "mine|users/ü/13");
    // A column cannot be added while somebody reads; nor do others wait behind us for long.
    server.psql("ALTER TABLE list_app_savedlist DROP COLUMN r2_key");
    user.run("BEGIN; SELECT 1 FROM list_app_savedlist LIMIT 1");
    assert_eq!(table.prepare().await.unwrap_err().kind, FaultKind::Timeout);
    user.run("COMMIT");
    assert_eq!(table.prepare().await.unwrap(), ["r2_key"]);
}

#[tokio::test]
async fn a_call_that_is_dropped_leaves_nothing_behind() {
    let server = Server::start();
    server.psql(DJANGO);
    let table = table(&server, TABLE, "id");
    table.prepare().await.unwrap();
    let mut user = server.user("BEGIN; SELECT 1 FROM list_app_savedlist WHERE id = 20 FOR UPDATE");
    let waiting =
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'cutover' AND wait_event_type = 'Lock'";
    {
        let (run, told) = (run(), files(1..=20));
        let mut call = pin!(table.fill(&run, &told));
        while server.psql(waiting) != "1" {
            let moment = tokio::time::timeout(Duration::from_millis(1), &mut call).await;
            assert!(moment.is_err(), "it waits for the user's row: {moment:?}");
        }
    }
    user.run("COMMIT");
    while server.psql("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'cutover'") != "0" {}
    assert_eq!(server.psql("SELECT count(*) FROM list_app_savedlist WHERE r2_key IS NOT NULL"), "0");
    assert!(table.fill(&run(), &files(1..=20)).await.unwrap().is_empty());
}

#[tokio::test]
async fn what_the_run_told_is_cleared_page_by_page_and_nothing_else() {
    let server = Server::start();
    server.psql(DJANGO);
    let table = table(&server, TABLE, "id");
    assert_eq!(table.clear(&run(), None, 100).await.unwrap(), ClearedPage::default(), "nothing was ever told");
    table.prepare().await.unwrap();
    table.fill(&run(), &files(1..=20)).await.unwrap();
    let other = RunId::new("0193a1b2-run2");
    table.fill(&other, &files([4, 5])).await.unwrap();
    let mut after = None;
    let mut pages = Vec::new();
    loop {
        let page = table.clear(&run(), after.as_deref(), 8).await.unwrap();
        pages.push((page.rows, page.next.clone()));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(pages, [(6, Some("8".into())), (8, Some("16".into())), (4, None)]);
    let left = server.psql(&format!("SELECT id, {VALUES} FROM {TABLE} WHERE num_nonnulls({VALUES}) > 0 ORDER BY id"));
    let row = |id: &str| {
        let sum = file(id).sha256;
        format!("{id}|users/ü/{id}|2026-11-21 01:02:03.456789|completed|0193a1b2-run2/files-content-0001|{sum}")
    };
    assert_eq!(left, format!("{}\n{}", row("4"), row("5")), "another run's rows stay");
    assert_eq!(table.clear(&run(), None, 100).await.unwrap().rows, 0);
    assert!(table.inspect().await.unwrap().is_empty(), "the columns stay");
}

#[tokio::test]
async fn a_server_that_stops_on_the_way_is_gone_on_with() {
    let mut server = Server::start();
    server.psql(DJANGO);
    let table = table(&server, TABLE, "id");
    table.prepare().await.unwrap();
    table.fill(&run(), &files(1..=7)).await.unwrap();
    server.stop();
    let fault = table.fill(&run(), &files(8..=14)).await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Unreachable, "{}", fault.chain());
    server.start_again();
    for from in [1, 8, 15] {
        assert!(table.fill(&run(), &files(from..(from + 7).min(21))).await.unwrap().is_empty());
    }
    // Stopped while the connection is kept, it is not even noticed.
    server.stop();
    server.start_again();
    assert_eq!(table.clear(&run(), None, 3).await.unwrap().rows, 3);
    assert_eq!(server.psql("SELECT count(r2_key) FROM list_app_savedlist"), "17");
}
