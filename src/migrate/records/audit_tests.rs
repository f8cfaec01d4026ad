use super::{audit, audit_since, audited, copy, decide, mend, repair, retry_failed, verify};
use crate::{
    error::FaultKind,
    migrate::{
        undo_records,
        world::{World, user, users},
    },
    model::{ItemState, LaneId, Mending, Take},
    plan::{DatasetPlan, OnConflict},
    ports::{ItemVerdict, VerdictQuery, Work, fakes::Mishap},
};
use serde_json::json;

const MANY: u32 = 120;

async fn kept(world: &World, verdict: ItemVerdict) -> Vec<(String, String)> {
    let query = VerdictQuery { verdicts: vec![verdict], limit: 1000, ..VerdictQuery::default() };
    let rows = world.work.verdicts(&LaneId::new("users"), &query).await.unwrap();
    rows.into_iter().map(|row| (row.key, row.detail)).collect()
}

/// 60 rows changed, one gone, one of nobody, one whose source is gone.
async fn torn() -> World {
    let world = World::new(MANY, 0);
    world.new.put("users", json!({"id": 900, "email": "not ours"}));
    copy(&world.start(), &users()).await.unwrap();
    for id in 1..=60 {
        world.new.put("users", json!({"id": id, "email": "changed"}));
    }
    world.new.remove("users", "70");
    world.new.put("users", json!({"id": 950, "email": "from nowhere"}));
    world.old.remove("users", "80");
    world
}

#[tokio::test]
async fn every_difference_is_kept_and_mended_by_class() {
    let world = torn().await;
    let cx = world.start();
    let found = audit(&cx, &users(), false, false).await.unwrap();
    assert_eq!(
        (found.complete, found.same, found.differs, found.only_in_source, found.only_in_target, found.standing),
        (true, u64::from(MANY) - 62, 60, 1, 2, 1),
        "{found:?}"
    );
    let differs = kept(&world, ItemVerdict::Differs).await;
    assert_eq!(differs.len(), 60);
    assert!(differs.iter().all(|(_, detail)| detail.contains("email")), "{differs:?}");
    assert_eq!(world.states("users").len(), 1, "no item is marked");

    for (verdict, mended, left) in
        [(ItemVerdict::Differs, 60, 0), (ItemVerdict::OnlyInSource, 1, 0), (ItemVerdict::OnlyInTarget, 1, 1)]
    {
        let done = repair(&cx, &users(), verdict, &[]).await.unwrap();
        assert_eq!((done.mended, done.left), (mended, left), "{done:?}");
    }
    assert_eq!(
        world.new.row("users", "950").unwrap().text("email").unwrap(),
        "from nowhere",
        "not the run's to delete"
    );
    assert_eq!(world.new.row("users", "80"), None);
    let found = audited(world.work.as_ref(), &LaneId::new("users")).await.unwrap().unwrap();
    assert_eq!((found.differs, found.only_in_source, found.only_in_target), (0, 0, 1), "{found:?}");
    world.new.remove("users", "950");
    assert!(verify(&cx, &users()).await.unwrap().is_same());
}

#[tokio::test]
async fn an_interrupted_comparison_goes_on_where_it_was() {
    let world = torn().await;
    let whole = audit(&world.start(), &users(), false, false).await.unwrap();
    let all = kept(&world, ItemVerdict::Differs).await;
    let mut killed = 0;
    for call in 1.. {
        // The first writes of a fresh comparison forget the last one.
        let cx = world.start();
        world.trouble.at(call, Mishap::Crash);
        let first = audit(&cx, &users(), false, true).await;
        if first.is_ok() {
            break;
        }
        killed += 1;
        let found = audit(&world.start(), &users(), false, false).await.unwrap();
        assert_eq!(found, whole, "killed at call {call}");
        assert_eq!(kept(&world, ItemVerdict::Differs).await, all, "killed at call {call}");
    }
    assert!(killed > 20, "{killed}");
}

#[tokio::test]
async fn what_failed_is_kept_with_its_row_and_moved_when_it_can_be() {
    let mut world = World::new(10, 0);
    world.plan.migration.max_failures = 5;
    world.new.poison("4");
    world.old.put("users", json!({"id": 5, "email": "no names", "updated_at": ""}));
    copy(&world.start(), &users()).await.unwrap();
    let items = world.work.all(&LaneId::new("users"));
    assert_eq!(items["4"].facts.as_ref().unwrap()["row"]["id"], 4);
    assert_eq!(items["5"].facts.as_ref().unwrap()["row"]["email"], "no names");
    let done = retry_failed(&world.start(), &users(), &[]).await.unwrap();
    assert_eq!((done.mended, done.left), (0, 2));
    world.new.heal();
    world.old.put("users", user(5));
    let done = retry_failed(&world.start(), &users(), &[]).await.unwrap();
    assert_eq!((done.mended, done.left), (2, 0));
    let items = world.work.all(&LaneId::new("users"));
    assert!(items.values().all(|item| item.state == ItemState::Verified && item.facts.is_none()), "{items:?}");
}

#[tokio::test]
async fn single_records_are_retried_and_repaired_and_the_others_left() {
    let mut world = World::new(10, 0);
    world.plan.migration.max_failures = 5;
    for key in ["3", "4"] {
        world.new.poison(key);
    }
    copy(&world.start(), &users()).await.unwrap();
    world.new.heal();
    let done = retry_failed(&world.start(), &users(), &["4".into(), "7".into()]).await.unwrap();
    assert_eq!((done.mended, done.left), (1, 0), "7 has not failed");
    let items = world.work.all(&LaneId::new("users"));
    assert_eq!((items["4"].state, items["3"].state), (ItemState::Verified, ItemState::Failed));
    world.old.remove("users", "3");
    let done = retry_failed(&world.start(), &users(), &["3".into()]).await.unwrap();
    assert_eq!((done.mended, done.left), (1, 0), "gone from the source, so that nothing is left to move");

    for key in [5, 6] {
        world.new.put("users", json!({"id": key, "email": "torn"}));
    }
    let cx = world.start();
    audit(&cx, &users(), false, true).await.unwrap();
    let only_five = Mending::Repair { verdict: ItemVerdict::Differs, keys: vec!["5".into()] };
    assert_eq!(mend(&cx, &users(), &only_five, false).await.unwrap(), "1 mended, 0 left");
    assert_eq!(world.new.row("users", "6").unwrap().text("email").as_deref(), Some("torn"));
    assert_ne!(world.new.row("users", "5").unwrap().text("email").as_deref(), Some("torn"));
    assert_eq!(kept(&world, ItemVerdict::Differs).await.len(), 1, "the other is still in the list");
    let said = mend(&cx, &users(), &Mending::Compare, false).await.unwrap();
    assert_eq!(said, "8 same, 1 different, 0 missing, 0 extra, 0 moving");
}

/// Rows 1 to 4 stand on the new side before the run; the first is the same already.
fn standing_before() -> World {
    let world = World::new(6, 0);
    for id in 2..=4 {
        world.new.put("users", json!({"id": id, "email": "was here", "own": id}));
    }
    world
}

#[tokio::test]
async fn what_stood_there_before_is_skipped_merged_or_asked_about() {
    let email = |world: &World, id: &str| world.new.row("users", id).unwrap().text("email").unwrap();
    let policy = |on_conflict| DatasetPlan { on_conflict, ..users() };

    let (world, dataset) = (standing_before(), policy(OnConflict::Skip));
    let before = world.new.rows("users");
    copy(&world.start(), &dataset).await.unwrap();
    assert_eq!((email(&world, "2").as_str(), world.states("users")["Skipped"]), ("was here", 3));
    let found = verify(&world.start(), &dataset).await.unwrap();
    assert!(found.is_same() && found.same == 3 && found.standing == 3, "{found:?}");
    world.old.put("users", user(3));
    world.old.remove("users", "5");
    copy(&world.start(), &dataset).await.unwrap();
    assert!(verify(&world.start(), &dataset).await.unwrap().is_same());
    assert_eq!(email(&world, "3"), "was here", "also when it changes later");
    undo_records(&world.start(), &dataset).await.unwrap();
    assert_eq!(world.new.rows("users"), before);

    let (world, dataset) = (standing_before(), policy(OnConflict::Merge { keep: vec!["email".into()] }));
    copy(&world.start(), &dataset).await.unwrap();
    assert_eq!(email(&world, "2"), "was here");
    assert!(world.new.row("users", "2").unwrap().get("name").is_some(), "the other fields are written");
    let found = verify(&world.start(), &dataset).await.unwrap();
    assert!(found.is_same() && found.same == 6, "{found:?}");

    let (mut world, dataset) = (standing_before(), policy(OnConflict::Ask));
    let fault = copy(&world.start(), &dataset).await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Unmet);
    assert!(fault.detail.contains("stood there before"), "{}", fault.detail);
    world.plan.migration.max_failures = 3;
    copy(&world.start(), &dataset).await.unwrap();
    assert_eq!(email(&world, "2"), "was here");
    let done = decide(&world.start(), &dataset, &["2".into()], Take::Source).await.unwrap();
    assert_eq!((done.mended, done.left), (1, 0), "of those that were asked for");
    let done = decide(&world.start(), &dataset, &[], Take::Target).await.unwrap();
    assert_eq!((done.mended, done.left), (2, 0));
    assert_ne!(email(&world, "2"), "was here");
    assert_eq!(email(&world, "3"), "was here");
    assert!(verify(&world.start(), &dataset).await.unwrap().is_same());
    undo_records(&world.start(), &dataset).await.unwrap();
    assert_eq!(email(&world, "2"), "was here", "what was overwritten is restored");
}

#[tokio::test]
async fn afterwards_only_what_changed_is_compared() {
    let world = World::new(MANY, 0);
    copy(&world.start(), &users()).await.unwrap();
    let first = audit_since(&world.start(), &users(), false).await.unwrap();
    assert!(first.complete && first.reach.contains("no whole comparison before"), "{first:?}");
    assert_eq!(first.same, u64::from(MANY));

    // Rows on both sides, a record that is new, and one that was deleted on the new side, which nothing tells.
    let mut changed = user(7);
    changed["email"] = "later".into();
    world.old.put("users", changed);
    world.new.put("users", json!({"id": 9, "email": "x", "updated_at": ""}));
    world.old.put("users", user(MANY + 1));
    world.new.remove("users", "30");
    let before = world.trouble.calls_of("old.read") + world.trouble.calls_of("new.read");
    let cx = world.start();
    let found = audit_since(&cx, &users(), false).await.unwrap();
    let read = world.trouble.calls_of("old.read") + world.trouble.calls_of("new.read");
    assert!(read <= before + 2, "one page of each for its clock, {before} and {read}");
    assert_eq!((found.differs, found.only_in_source, found.same), (2, 1, u64::from(MANY) - 2), "{found:?}");
    assert!(
        found.reach.contains("records compared that changed since") && found.reach.contains("a deletion, are not seen"),
        "{found:?}"
    );
    assert!(found.reach.contains("rows on the new side") && found.reach.contains("compare whole"), "{}", found.reach);
    let keys = |rows: Vec<(String, String)>| rows.into_iter().map(|(key, _)| key).collect::<Vec<_>>();
    assert_eq!(keys(kept(&world, ItemVerdict::Differs).await), ["7", "9"]);

    // What was moved since, and what was not the same, is compared again.
    copy(&cx, &users()).await.unwrap();
    let mended = audit_since(&cx, &users(), false).await.unwrap();
    assert_eq!((mended.differs, mended.only_in_source), (1, 0), "{mended:?}");
    assert_eq!(keys(kept(&world, ItemVerdict::Differs).await), ["9"]);
    assert!(mended.reach.contains("compare whole"), "{}", mended.reach);
    let whole = audit(&cx, &users(), false, true).await.unwrap();
    assert_eq!((whole.only_in_source, whole.same, whole.reach.as_str()), (1, u64::from(MANY) - 1, ""), "{whole:?}");

    let blind = DatasetPlan { updated: None, ..users() };
    let found = audit_since(&cx, &blind, false).await.unwrap();
    assert!(found.reach.contains("names no `updated`"), "{}", found.reach);
}
