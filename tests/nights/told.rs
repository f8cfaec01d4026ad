//! Nights after which the legacy application's own table in `PostgreSQL` knows what has moved, or nothing of it.

use crate::{
    postgres::Server,
    reader::{Places, assert_back_as_before, assert_everything_arrived},
    stage::{Night, finished, order, scenario, until},
};
use cutover::{
    command::Command,
    engine::{Start, view::RunView},
    model::{Outcome, Phase},
};
use std::collections::BTreeMap;

/// The table of files as the legacy application has it: a row for every file that there is, and for some that there are not.
const TABLE: &str = "CREATE TABLE list_app_savedlist (\
    id bigint PRIMARY KEY, file_name varchar(255) NOT NULL, uploaded_at timestamptz NOT NULL DEFAULT now()); \
    INSERT INTO list_app_savedlist SELECT n, n || '.csv' FROM generate_series(1, 5000) AS n";
/// The columns that a run fills.
const COLUMNS: &str = "r2_key, migrated_at, migration_status, migration_batch_id, checksum";

/// A calm night that tells the table.
async fn night(server: &Server) -> Night {
    server.psql(TABLE);
    let told = format!(
        r#"write_back = {{ url = "{}", table = "list_app_savedlist", key = "id" }}, sha256 = "checksum""#,
        server.socket_url()
    );
    let tells = |text: String| {
        assert!(text.contains(r#"sha256 = "checksum""#), "{text}");
        text.replace(r#"sha256 = "checksum""#, &told)
    };
    Night::with_plan(scenario("calm"), tells).await
}

/// What psql sees of the rows that were told: the key and the checksum by the file's id.
fn told(server: &Server) -> BTreeMap<i64, (String, String)> {
    let rows = server.psql(
        "SELECT id, r2_key, checksum FROM list_app_savedlist WHERE migration_status = 'completed' \
         AND migrated_at BETWEEN uploaded_at AND now() AND migration_batch_id LIKE '%/files-content-%'",
    );
    let row = |line: &str| {
        let mut columns = line.split('|').map(str::to_owned);
        let (Some(id), Some(key), Some(sum)) = (columns.next(), columns.next(), columns.next()) else {
            panic!("{line}")
        };
        (id.parse().unwrap(), (key, sum))
    };
    rows.lines().map(row).collect()
}

/// What the table must say: of every file of the legacy side, where its bytes stand now, as the bucket's disk has them.
async fn wanted(places: &Places) -> BTreeMap<i64, (String, String)> {
    let objects = places.objects();
    let file = |(id, row): (&i64, &BTreeMap<String, String>)| {
        let key = format!("users/{}/{id}/{}", row["user_id"], row["file_name"]);
        let sum = objects.get(&key).cloned().unwrap_or_default();
        (*id, (key, sum))
    };
    places.legacy().await.0["files"].iter().map(file).collect()
}

fn untold(server: &Server) -> String {
    server.psql(&format!("SELECT count(*) FROM list_app_savedlist WHERE num_nonnulls({COLUMNS}) = 0"))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_legacy_table_knows_every_file_after_the_night() {
    let server = Server::start();
    let night = night(&server).await;
    let (outcome, view) = finished(night.start(Start::New, true, false).await).await;
    assert_eq!(outcome, Outcome::Completed, "{}", view.reason);
    assert_everything_arrived(&night.places).await;
    let told = told(&server);
    assert_eq!(told, wanted(&night.places).await);
    assert_eq!(untold(&server), (5000 - told.len()).to_string(), "no row without a file is touched");
    night.over().await;
}

/// The table has been told, and the run waits for nothing.
fn is_told(view: &RunView) -> bool {
    view.phase(Phase::DataMigration).state == cutover::model::PhaseState::Done
}

#[tokio::test(flavor = "multi_thread")]
async fn the_legacy_table_knows_nothing_after_a_rollback() {
    let server = Server::start();
    let night = night(&server).await;
    let running = night.start(Start::New, true, true).await;
    let handle = running.engine.handle.clone();
    until(&handle, "everything moved", is_told).await;
    assert!(told(&server).len() >= 40, "every file of the world is told");
    order(&handle, Command::Rollback { reason: "drill".into() }).await;
    let (outcome, view) = finished(running).await;
    assert_eq!(outcome, Outcome::RolledBack, "{}", view.reason);
    assert_eq!(untold(&server), "5000", "the columns stay and say nothing");
    assert_back_as_before(&night.places, &night.before, &night.objects_before).await;
    night.over().await;
}
