//! Backups on stores in memory, whose calls fail and die on order.

use super::{
    Backup, How, Outlook, Place, Proof, State, check, compare_after_rollback, list, note_written, outlook, prove,
    restore, take,
};
use crate::{
    engine::StepContext,
    error::FaultKind,
    migrate::{
        records, undo_records,
        world::{World, users},
    },
    model::{Check, LaneId, Record, RunId, Verdict},
    ports::{Work as _, fakes::Mishap},
};
use serde_json::json;
use std::collections::BTreeMap;

/// Rows that stand in the target before the run.
fn standing(world: &World, ids: impl IntoIterator<Item = u32>) {
    for id in ids {
        let text = "line\nbreak ü \u{2028}";
        let row = json!({"id": id, "text": text, "n": null, "j": "{\"a\":[1]}", "r": 0.1 + 0.2});
        world.new.put("users", row);
    }
}

fn of(cx: &StepContext) -> Backup {
    Backup::of(cx, "users").unwrap()
}

async fn taken(world: &World) -> BTreeMap<String, Record> {
    let cx = world.start();
    take(&cx, &users()).await.unwrap();
    prove(&cx, &users(), How::Restoring).await.unwrap();
    world.new.rows("users")
}

#[tokio::test]
async fn a_backup_is_proven_kept_and_found() {
    let world = World::new(0, 0);
    standing(&world, 1..=7);
    let cx = world.start();
    assert_eq!(prove(&cx, &users(), How::Restoring).await.unwrap_err().kind, FaultKind::NotFound);
    let done = take(&cx, &users()).await.unwrap();
    assert!(done.summary.contains("7 rows backed up"), "{}", done.summary);
    let done = prove(&cx, &users(), How::Restoring).await.unwrap();
    assert_eq!(done.checks[0].name, "backup of users restored");
    assert_eq!(world.new.sets(), ["users"], "the scratch set is gone");
    // The one from before the run is kept, whatever stands there now.
    world.new.remove("users", "1");
    assert!(take(&cx, &users()).await.unwrap().summary.contains("7 rows is there"));
    let place = Place::new(&cx.plan, &cx.ports, &cx.signals).unwrap();
    let all = list(&place, true).await.unwrap();
    let [one] = &all[..] else { panic!("{all:?}") };
    let State::Finished { manifest, proven, checked: true } = &one.state else { panic!("{one:?}") };
    assert_eq!((manifest.rows, manifest.set.as_str(), one.kept.blobs), (7, "users", 3));
    assert_eq!(proven.as_ref().map(|proven| &proven.how), Some(&Proof::Restored));
    assert!(world.backups.blobs().keys().all(|key| key.starts_with("kept/test/run-1/users/")));
}

#[tokio::test]
async fn a_store_without_scratch_sets_is_told_of() {
    let world = World::new(0, 0);
    standing(&world, 1..=4);
    world.new.go_bare();
    let cx = world.start();
    take(&cx, &users()).await.unwrap();
    for how in [How::Restoring, How::Reading("nothing may be written")] {
        let done = prove(&cx, &users(), how).await.unwrap();
        let said = &done.checks[0];
        assert_eq!(said.name, "backup of users read back");
        assert!(said.value.contains("4 rows read, checked and understood; not restored: "), "{}", said.value);
    }
    assert_eq!(world.new.sets(), ["users"]);
}

#[tokio::test]
async fn blocks_end_and_the_next_begins() {
    let world = World::new(0, 0);
    for id in 1..=9 {
        world.new.put("users", json!({"id": id, "text": "x".repeat(5 << 20)}));
    }
    let rows = taken(&world).await;
    let cx = world.start();
    let manifest = check(&of(&cx)).await.unwrap();
    assert_eq!(manifest.blocks.iter().map(|block| block.rows).collect::<Vec<_>>(), [4, 4, 1]);
    for id in 2..=8 {
        world.new.remove("users", &id.to_string());
    }
    restore(&cx, &users(), &of(&cx), false).await.unwrap();
    assert!(world.new.rows("users") == rows, "all of them are back");
}

#[tokio::test]
async fn whatever_is_hurt_is_found_and_nothing_is_restored_from_it() {
    let world = World::new(0, 0);
    standing(&world, 1..=7);
    taken(&world).await;
    let whole = world.backups.blobs();
    let (block, manifest) = ("kept/test/run-1/users/000001.jsonl.zst", "kept/test/run-1/users/manifest.json");
    let put = |key: &str, bytes: Vec<u8>| world.backups.put_bytes(key, bytes);
    let flipped = |key: &str, at: usize| {
        let mut bytes = whole[key].to_vec();
        bytes[at] ^= 1;
        bytes
    };
    world.new.remove("users", "3");
    let cx = world.start();
    let refused = async |what: &str, kind: FaultKind| {
        let before = world.new.rows("users");
        for fault in [
            check(&of(&cx)).await.map(drop).unwrap_err(),
            outlook(&cx, &users(), &of(&cx)).await.map(drop).unwrap_err(),
            restore(&cx, &users(), &of(&cx), true).await.map(drop).unwrap_err(),
            prove(&cx, &users(), How::Restoring).await.map(drop).unwrap_err(),
        ] {
            assert_eq!(fault.kind, kind, "{what}: {}", fault.chain());
        }
        assert_eq!(world.new.rows("users"), before, "{what}");
        let place = Place::new(&cx.plan, &cx.ports, &cx.signals).unwrap();
        list(&place, true).await.unwrap().remove(0).state
    };
    for at in (0..whole[block].len()).step_by(7) {
        put(block, flipped(block, at));
        assert!(matches!(refused(&format!("byte {at}"), FaultKind::Mismatch).await, State::Hurt(_)));
    }
    put(block, whole[block][..20].to_vec());
    assert!(matches!(refused("cut", FaultKind::Mismatch).await, State::Hurt(_)));
    world.backups.remove(block);
    let State::Hurt(why) = refused("no block", FaultKind::Mismatch).await else { panic!("hurt") };
    assert!(why.contains("is not there"), "{why}");
    put(block, whole[block].to_vec());
    put(manifest, flipped(manifest, 200));
    assert!(matches!(refused("manifest", FaultKind::Mismatch).await, State::Hurt(_)));
    world.backups.remove(manifest);
    assert!(matches!(refused("no manifest", FaultKind::NotFound).await, State::Unfinished));
    put(manifest, whole[manifest].to_vec());
    assert_eq!(restore(&cx, &users(), &of(&cx), false).await.unwrap().put_back, 1);
}

#[tokio::test]
async fn a_hurt_one_is_taken_anew_only_before_the_first_write() {
    let world = World::new(3, 0);
    standing(&world, 1..=7);
    taken(&world).await;
    let cx = world.start();
    let block = "kept/test/run-1/users/000001.jsonl.zst";
    world.backups.put_bytes(block, "hurt");
    assert!(take(&cx, &users()).await.unwrap().summary.contains("7 rows backed up"));
    check(&of(&cx)).await.unwrap();
    note_written(&cx, &users()).await.unwrap();
    assert!(take(&cx, &users()).await.unwrap().summary.contains("is there"));
    world.backups.put_bytes(block, "hurt");
    let fault = take(&cx, &users()).await.unwrap_err();
    assert!(fault.kind == FaultKind::Mismatch && fault.chain().contains("the run has written"), "{}", fault.chain());
}

#[tokio::test]
async fn a_place_that_takes_nothing_leaves_no_backup() {
    for kind in [FaultKind::Disk, FaultKind::Permission, FaultKind::Unreachable, FaultKind::Unauthorized] {
        let world = World::new(0, 0);
        standing(&world, 1..=7);
        let cx = world.start();
        world.trouble.always("backups.put", Mishap::Fail(kind));
        assert_eq!(take(&cx, &users()).await.unwrap_err().kind, kind);
        let tries = world.trouble.calls_of("backups.put");
        assert_eq!(tries, if kind.is_retryable() { 4 } else { 1 });
        let cx = world.start();
        assert_eq!(check(&of(&cx)).await.unwrap_err().kind, FaultKind::NotFound);
        take(&cx, &users()).await.unwrap();
        world.trouble.on("backups.open", 1, Mishap::Cut);
        check(&of(&cx)).await.unwrap();
        world.trouble.always("backups.open", Mishap::Fail(kind));
        assert_eq!(check(&of(&cx)).await.unwrap_err().kind, kind);
    }
}

#[tokio::test]
async fn a_look_says_what_a_restore_then_does() {
    let world = World::new(0, 0);
    standing(&world, 1..=10);
    let rows = taken(&world).await;
    world.new.remove("users", "2");
    world.new.put("users", json!({"id": 5, "text": "other", "n": 0, "j": "[]", "r": 0.1 + 0.2}));
    standing(&world, [0, 77, 1000]);
    let cx = world.start();
    let found = outlook(&cx, &users(), &of(&cx)).await.unwrap();
    let first = vec!["2: it is not there".to_owned(), "5: it differs in j, n, text".to_owned()];
    assert_eq!(found, Outlook { rows: 10, same: 8, missing: 1, differs: 1, others: 3, first });

    let done = restore(&cx, &users(), &of(&cx), false).await.unwrap();
    assert_eq!((done.put_back, done.overwritten, done.others, done.left), (1, 1, 3, 0), "{done:?}");
    assert!(rows.iter().all(|(key, row)| world.new.rows("users")[key] == *row));
    let done = restore(&cx, &users(), &of(&cx), true).await.unwrap();
    assert_eq!((done.put_back, done.overwritten, done.removed, done.others), (0, 0, 3, 0), "{done:?}");
    assert_eq!(world.new.rows("users"), rows);

    // What cannot be put back is told, and the rest is.
    world.new.poison("4");
    for key in ["4", "9"] {
        world.new.remove("users", key);
    }
    let done = restore(&cx, &users(), &of(&cx), false).await.unwrap();
    assert_eq!((done.put_back, done.left, done.first.as_str()), (1, 1, "4: poison"), "{done:?}");
    world.new.heal();
    world.new.go_read_only();
    assert_eq!(restore(&cx, &users(), &of(&cx), false).await.unwrap_err().kind, FaultKind::Refused);
    // That of another run is another one.
    let other = Place::new(&cx.plan, &cx.ports, &cx.signals).unwrap().backup(&RunId::new("run-0"), "users");
    assert_eq!(outlook(&cx, &users(), &other).await.unwrap_err().kind, FaultKind::NotFound);
}

#[tokio::test]
async fn only_what_is_in_no_row_of_the_backup_is_removed() {
    let world = World::new(0, 0);
    standing(&world, (1..=60).map(|n| n * 10));
    let rows = taken(&world).await;
    // Many before, between and behind, and a stretch that is gone.
    standing(&world, (1..=9).chain(100..=150).filter(|id| id % 10 != 0).chain(601..=700));
    for id in (30..=45).map(|n| n * 10) {
        world.new.remove("users", &id.to_string());
    }
    let cx = world.start();
    let done = restore(&cx, &users(), &of(&cx), true).await.unwrap();
    assert_eq!((done.put_back, done.removed, done.others), (16, 9 + 45 + 100, 0), "{done:?}");
    assert_eq!(world.new.rows("users"), rows);
}

/// Runs `work` in a process that dies at its call of every number, until one comes through.
async fn dying(world: &World, work: impl AsyncFn(&StepContext) -> crate::error::Result<()>) -> u64 {
    for mishap in [Mishap::Crash, Mishap::CrashAfter] {
        for call in 1_u64.. {
            let cx = world.start();
            world.trouble.at(call, mishap);
            match work(&cx).await {
                Ok(()) => break,
                Err(fault) => assert_eq!(fault.kind, FaultKind::Cancelled, "call {call}: {}", fault.chain()),
            }
            assert!(call < 5000, "it never comes through");
        }
    }
    world.trouble.calls()
}

#[tokio::test]
async fn a_process_may_die_at_any_call() {
    let world = World::new(0, 0);
    standing(&world, 1..=7);
    let rows = world.new.rows("users");
    dying(&world, async |cx| {
        take(cx, &users()).await?;
        prove(cx, &users(), How::Restoring).await.map(drop)
    })
    .await;
    assert_eq!(world.new.sets(), ["users"], "no scratch set is left");
    assert_eq!(world.new.rows("users"), rows);
    let cx = world.start();
    assert_eq!(check(&of(&cx)).await.unwrap().rows, 7);

    let damage = |world: &World| {
        world.new.remove("users", "6");
        world.new.put("users", json!({"id": 2, "text": "other"}));
        standing(world, [8, 9]);
    };
    damage(&world);
    dying(&world, async |cx| {
        let cut = restore(cx, &users(), &of(cx), true).await.map(drop);
        if cut.is_ok() { Ok(()) } else { cut }
    })
    .await;
    assert_eq!(world.new.rows("users"), rows);
}

async fn only_check(cx: &StepContext) -> Check {
    compare_after_rollback(cx).await.unwrap().into_iter().find(|check| check.name.starts_with("users")).unwrap()
}

/// Rows 1 and 2 of the legacy side stood in the target before and were otherwise, 50 stood there alone.
async fn moved(world: &World) -> BTreeMap<String, Record> {
    for id in [1, 2, 50] {
        let row = json!({"id": id, "name": "stood here", "first": "F", "last": "L", "email": "e", "staff": 0,
            "settings": "{}", "updated_at": ""});
        world.new.put("users", row);
    }
    let rows = taken(world).await;
    let cx = world.start();
    note_written(&cx, &users()).await.unwrap();
    records::copy(&cx, &users()).await.unwrap();
    rows
}

#[tokio::test]
async fn a_rollback_that_took_everything_back_is_proven() {
    let world = World::new(6, 0);
    assert!(compare_after_rollback(&world.start()).await.unwrap().is_empty(), "nothing was written yet");
    let rows = moved(&world).await;
    let cx = world.start();
    undo_records(&cx, &users()).await.unwrap();
    let said = only_check(&cx).await;
    assert_eq!((said.verdict, said.value.as_str()), (Verdict::Pass, "3 of 3 rows the same"));
    assert_eq!(world.new.rows("users"), rows);
}

#[tokio::test]
async fn what_a_lost_ledger_could_not_take_back_comes_from_the_backup() {
    let world = World::new(6, 0);
    let rows = moved(&world).await;
    let cx = world.start();
    world.work.forget(&LaneId::new("users")).await.unwrap();
    undo_records(&cx, &users()).await.unwrap();
    assert_ne!(world.new.rows("users"), rows, "the ledger knew of nothing");
    // Two that users wrote, and one they changed that the run never touched.
    let own = |id: u32| json!({"id": id, "name": "a user's", "email": "own"});
    world.new.put("users", own(900));
    world.new.put("users", own(50));
    world.new.remove("users", "1");
    let said = only_check(&cx).await;
    let wanted = "0 of 3 rows the same, 2 put back from it, 4 that the run left removed, 1 changed since by others and \
                  left alone, 1 created since and left alone";
    assert_eq!((said.verdict, said.value.as_str()), (Verdict::Pass, wanted));
    let now = world.new.rows("users");
    assert_eq!(now.keys().collect::<Vec<_>>(), ["1", "2", "50", "900"]);
    assert!(["1", "2"].iter().all(|key| now[*key] == rows[*key]));
    let kept = world.work.conflicts().await.unwrap();
    assert_eq!(kept.iter().map(|row| row.key.as_str()).collect::<Vec<_>>(), ["2"], "what was overwritten is kept");
    let again = only_check(&cx).await;
    assert!(again.value.starts_with("2 of 3 rows the same, 1 changed since"), "{}", again.value);
}

#[tokio::test]
async fn what_cannot_be_proven_after_a_rollback_is_said() {
    let world = World::new(3, 0);
    moved(&world).await;
    let cx = world.start();
    world.work.forget(&LaneId::new("users")).await.unwrap();
    world.new.poison("2");
    let said = only_check(&cx).await;
    assert!(said.verdict == Verdict::Fail && said.value.contains("1 not as before, first 2: poison"), "{said:?}");
    world.new.heal();
    world.trouble.always("backups.open", Mishap::Fail(FaultKind::Unreachable));
    assert_eq!(only_check(&cx).await.verdict, Verdict::Fail, "it may come back");
    let cx = world.start();
    world.backups.put_bytes("kept/test/run-1/users/000001.jsonl.zst", "hurt");
    assert_eq!(only_check(&cx).await.verdict, Verdict::Unknown, "nobody can mend it");
}
