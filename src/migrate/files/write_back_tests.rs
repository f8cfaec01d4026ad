use super::*;
use crate::{
    error::FaultKind,
    migrate::{
        files::{VerifyLevel, copy, verify},
        world::{World, blob_key, file, files},
    },
    model::Digest,
    ports::fakes::{FakeTable, Mishap},
};
use proptest::prelude::*;
use std::sync::Arc;

/// The dataset with a table that is told.
fn dataset() -> DatasetPlan {
    let mut dataset = files();
    dataset.blob.as_mut().unwrap().write_back = Some(WriteBackPlan {
        url: "postgres://u:p@h/d".into(),
        host: "h".into(),
        encrypted: false,
        table: crate::plan::TableName { schema: None, name: "list_app_savedlist".into() },
        key: "id".into(),
        timeout: std::time::Duration::from_secs(1),
    });
    dataset
}

/// Files that are copied and verified, one of them because it stood there already, and the table.
async fn moved(count: u32) -> (World, Arc<FakeTable>) {
    let world = World::new(0, count);
    world.r2.put_bytes(&blob_key(2), crate::migrate::world::bytes(2));
    copy(&world.start(), &dataset()).await.unwrap();
    assert!(verify(&world.start(), &dataset(), VerifyLevel::Checksum).await.unwrap().is_same());
    let table = FakeTable::new((1..=count).map(|id| id.to_string()), &world.trouble);
    (world, table)
}

fn start(world: &World, table: &Arc<FakeTable>) -> StepContext {
    let mut cx = world.start();
    cx.ports.write_backs.insert("files".into(), table.clone());
    cx
}

fn assert_told(table: &FakeTable, count: u32) {
    let rows = table.rows();
    for id in 1..=count {
        let (run, file) = rows[&id.to_string()].as_ref().unwrap_or_else(|| panic!("row {id} knows nothing"));
        assert_eq!((run.as_str(), file.key.as_str()), ("run-1", blob_key(id).as_str()));
        assert_eq!(file.sha256, Digest::of(&crate::migrate::world::bytes(id)));
        assert!(file.batch.as_str().starts_with("files-content-"));
    }
}

#[tokio::test]
async fn every_proven_file_is_told_once_and_taken_back() {
    let (world, table) = moved(10).await;
    let done = write_back(&start(&world, &table), &dataset()).await.unwrap();
    assert_eq!(done.summary, "10 of 10 rows of list_app_savedlist told, added r2_key, migrated_at");
    assert_eq!((done.checks[0].name.as_str(), done.checks[0].value.as_str()), ("write-back of files", "10 of 10 rows"));
    assert_told(&table, 10);
    let done = write_back(&start(&world, &table), &dataset()).await.unwrap();
    assert_eq!((done.summary.as_str(), table.touched()), ("10 of 10 rows of list_app_savedlist told", 10));
    let other = table.rows()["1"].clone().unwrap().1;
    table.tell("another-run", other);
    let done = clear_write_back(&start(&world, &table), &dataset()).await.unwrap();
    assert_eq!(done.summary, "9 rows of list_app_savedlist cleared");
    assert_eq!(table.rows().values().flatten().count(), 1, "another run's stays");
    clear_write_back(&start(&world, &table), &files()).await.unwrap();
}

#[tokio::test]
async fn only_what_is_proven_is_told() {
    let (mut world, _) = moved(6).await;
    world.plan.migration.max_failures = 3;
    world.media.remove("media/7.csv");
    let mut late = file(7);
    late["file_path"] = serde_json::json!("media/7.csv");
    world.old.put("files", late);
    // Asks for the key of another file, which is there; its own is not.
    let mut same_key = file(4);
    same_key["file_path"] = serde_json::json!("media/6.csv");
    same_key["checksum"] = file(6)["checksum"].clone();
    same_key["size"] = file(6)["size"].clone();
    world.old.put("files", same_key);
    let table = FakeTable::new((1..=7).map(|id| id.to_string()), &world.trouble);
    let done = write_back(&start(&world, &table), &dataset()).await.unwrap();
    assert_eq!(done.checks[0].value, "5 of 5 rows");
    let silent: Vec<String> = table.rows().into_iter().filter(|(_, told)| told.is_none()).map(|(key, _)| key).collect();
    assert_eq!(silent, ["4", "7"]);
}

#[tokio::test]
async fn records_without_a_row_are_named_and_too_many_end_it() {
    let (mut world, table) = moved(6).await;
    table.remove("2");
    table.remove("5");
    let fault = write_back(&start(&world, &table), &dataset()).await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Unmet);
    let check = &Unmet::checks(&fault)[0];
    assert_eq!((check.verdict, check.value.as_str()), (Verdict::Fail, "4 of 6 rows"));
    assert!(check.remedy.contains("no row for 2, 5"), "{}", check.remedy);
    world.plan.migration.max_failures = 2;
    let done = write_back(&start(&world, &table), &dataset()).await.unwrap();
    assert_eq!((done.checks[0].verdict, done.checks[0].value.as_str()), (Verdict::Pass, "4 of 6 rows"));
}

#[tokio::test]
async fn a_database_that_stumbles_is_waited_for_and_one_that_stays_away_ends_it() {
    let (world, table) = moved(7).await;
    let cx = start(&world, &table);
    world.trouble.on("table.fill", 1, Mishap::Fail(FaultKind::Timeout));
    world.trouble.on("table.fill", 3, Mishap::Lost(FaultKind::Unreachable));
    write_back(&cx, &dataset()).await.unwrap();
    assert_told(&table, 7);
    let cx = start(&world, &table);
    world.trouble.always("table.clear", Mishap::Fail(FaultKind::Unreachable));
    assert_eq!(clear_write_back(&cx, &dataset()).await.unwrap_err().kind, FaultKind::Unreachable);
    let cx = start(&world, &table);
    world.trouble.always("table.prepare", Mishap::Fail(FaultKind::Refused));
    assert_eq!(write_back(&cx, &dataset()).await.unwrap_err().kind, FaultKind::Refused);
}

#[tokio::test]
async fn killed_at_every_call_it_tells_all_and_takes_all_back() {
    let calls = {
        let (world, table) = moved(7).await;
        let cx = start(&world, &table);
        let before = world.trouble.calls();
        write_back(&cx, &dataset()).await.unwrap();
        world.trouble.calls() - before
    };
    for call in 1..=calls {
        for mishap in [Mishap::Crash, Mishap::CrashAfter] {
            let (world, table) = moved(7).await;
            let cx = start(&world, &table);
            world.trouble.at(call, mishap);
            let fault = write_back(&cx, &dataset()).await.unwrap_err();
            assert_eq!(fault.kind, FaultKind::Cancelled);
            let done = write_back(&start(&world, &table), &dataset()).await.unwrap();
            assert_eq!(done.checks[0].value, "7 of 7 rows", "killed at {call}");
            assert_told(&table, 7);
            assert_eq!(table.touched(), 7, "killed at {call} {mishap:?}");
            let cx = start(&world, &table);
            world.trouble.at(call % 8 + 1, mishap);
            if let Err(fault) = clear_write_back(&cx, &dataset()).await {
                assert_eq!(fault.kind, FaultKind::Cancelled);
            }
            clear_write_back(&start(&world, &table), &dataset()).await.unwrap();
            assert!(table.rows().values().all(Option::is_none), "killed at {call} {mishap:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 30, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn killed_back_and_forth_it_ends_as_asked(
        kills in prop::collection::vec((1_u64..20, any::<bool>(), any::<bool>()), 0..8),
        forward in any::<bool>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let (world, table) = moved(7).await;
            for (call, after, undo) in kills {
                let cx = start(&world, &table);
                world.trouble.at(call, if after { Mishap::CrashAfter } else { Mishap::Crash });
                let ended = if undo { clear_write_back(&cx, &dataset()).await } else { write_back(&cx, &dataset()).await };
                if let Err(fault) = ended {
                    assert_eq!(fault.kind, FaultKind::Cancelled, "{}", fault.chain());
                }
            }
            if forward {
                write_back(&start(&world, &table), &dataset()).await.unwrap();
                assert_told(&table, 7);
            } else {
                clear_write_back(&start(&world, &table), &dataset()).await.unwrap();
                assert!(table.rows().values().all(Option::is_none));
            }
        });
    }
}
