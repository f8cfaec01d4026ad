//! What becomes of fields on the way: the kinds of the target, renamed, constant and looked-up fields, the filter.

use super::{copy, verify};
use crate::{
    error::FaultKind,
    migrate::{
        account,
        world::{World, files, user, users},
    },
    model::{ItemState, LaneId, Verdict},
    plan::{DatasetPlan, FieldsPlan, LookupPlan},
    sync::reverse,
};
use serde_json::json;
use std::collections::BTreeMap;

/// What the new side's table of users says of itself.
const TABLE: [(&str, &str); 5] =
    [("id", "int64"), ("email", "text(12)"), ("staff", "bool"), ("settings", "json"), ("seen", "timestamptz(3)")];

fn world(count: u32, dataset: &DatasetPlan) -> World {
    let mut world = World::new(count, 0);
    world.plan.datasets = vec![dataset.clone()];
    world.plan.migration.max_failures = 5;
    world
}

fn edit(world: &World, id: u32, fields: &[(&str, serde_json::Value)]) {
    let mut json = world.old.row("users", &id.to_string()).map_or_else(|| user(id), |row| row.to_json());
    for (field, value) in fields {
        json[*field] = value.clone();
    }
    world.old.put("users", json);
}

fn reason(world: &World, lane: &str, key: &str) -> (ItemState, String) {
    let item = world.work.all(&LaneId::new(lane))[key].clone();
    (item.state, item.reason)
}

async fn assert_accounted(world: &World) {
    let checks = account(&world.start()).await.unwrap();
    assert!(checks.iter().all(|check| check.verdict == Verdict::Pass), "{checks:?}");
}

#[tokio::test]
async fn a_value_that_does_not_fit_fails_by_name_and_is_never_cut() {
    let world = world(6, &users());
    world.new.say("users", &TABLE);
    edit(&world, 2, &[("seen", json!("2024-01-01 02:00:00.500+02:00"))]);
    edit(&world, 3, &[("seen", json!("2024-01-01T00:00:00.000001Z"))]);
    edit(&world, 4, &[("email", json!("longer than twelve"))]);
    copy(&world.start(), &users()).await.unwrap();
    assert_eq!(world.states("users"), BTreeMap::from([("Failed".into(), 2), ("Verified".into(), 4)]));
    assert_eq!(world.new.row("users", "2").unwrap().text("seen").unwrap(), "2024-01-01T00:00:00.5Z");
    for (key, part) in
        [("3", "field `seen`: `2024-01-01T00:00:00.000001Z` has 6 digits"), ("4", "18 characters, 12 fit")]
    {
        assert_eq!(world.new.row("users", key), None);
        let (state, reason) = reason(&world, "users", key);
        assert!(state == ItemState::Failed && reason.contains(part), "{reason}");
    }
    let found = verify(&world.start(), &users()).await.unwrap();
    assert_eq!((found.same, found.missing), (4, 2), "{found:?}");

    // The same moment, written in another way, is no difference; another text of the same length is one.
    let mut row = world.new.row("users", "2").unwrap().to_json();
    row["seen"] = json!("2024-01-01T01:00:00.50+01:00");
    world.new.put("users", row);
    let found = verify(&world.start(), &users()).await.unwrap();
    assert_eq!((found.same, found.different), (3, 1), "the store's clock is another");
    let two = found.first.iter().find(|difference| difference.key == "2").unwrap();
    assert_eq!(two.what, "differs in updated_at");

    edit(&world, 4, &[("email", json!("short"))]);
    edit(&world, 3, &[("seen", json!(null))]);
    copy(&world.start(), &users()).await.unwrap();
    assert!(verify(&world.start(), &users()).await.unwrap().is_same());
}

#[tokio::test]
async fn a_key_that_the_target_would_write_otherwise_fails() {
    let world = world(2, &users());
    world.new.say("users", &[("id", "timestamptz")]);
    copy(&world.start(), &users()).await.unwrap();
    let (state, why) = reason(&world, "users", "1");
    assert!(state == ItemState::Failed && why.contains("field `id`: `1` is no date and time"), "{why}");
    assert!(world.new.written().is_empty());
}

#[tokio::test]
async fn what_the_filter_leaves_out_is_accounted_for_and_taken_back_when_it_stops_to_fit() {
    let fields = FieldsPlan { filter: Some("staff".into()), ..FieldsPlan::default() };
    let dataset = DatasetPlan { fields, ..users() };
    let world = world(8, &dataset);
    world.new.put("users", json!({"id": 4, "email": "was here"}));
    copy(&world.start(), &dataset).await.unwrap();
    assert_eq!(world.states("users"), BTreeMap::from([("Skipped".into(), 4), ("Verified".into(), 4)]));
    assert_eq!(reason(&world, "users", "3").1, "does not fit the filter");
    let found = verify(&world.start(), &dataset).await.unwrap();
    assert!(found.is_same(), "{found:?}");
    assert_eq!((found.source, found.same, found.left_out), (8, 4, 4));
    assert_accounted(&world).await;

    edit(&world, 2, &[("staff", json!(false))]);
    edit(&world, 4, &[("staff", json!(false))]);
    edit(&world, 3, &[("staff", json!(true))]);
    world.old.remove("users", "5");
    let late = verify(&world.start(), &dataset).await.unwrap();
    assert_eq!((late.different, late.missing, late.late), (2, 1, 3), "{late:?}");
    copy(&world.start(), &dataset).await.unwrap();
    assert_eq!(world.new.row("users", "2"), None, "taken back");
    assert_eq!(world.new.row("users", "4").unwrap().text("email").unwrap(), "was here", "restored");
    assert!(world.new.row("users", "3").is_some());
    let found = verify(&world.start(), &dataset).await.unwrap();
    assert!(found.is_same(), "{found:?}");
    assert_accounted(&world).await;

    // And back again.
    edit(&world, 2, &[("staff", json!(true))]);
    copy(&world.start(), &dataset).await.unwrap();
    assert!(world.new.row("users", "2").is_some());
    assert!(verify(&world.start(), &dataset).await.unwrap().is_same());
    assert_accounted(&world).await;
}

#[tokio::test]
async fn renamed_fields_go_back_under_their_old_names_and_constants_stay() {
    let fields = FieldsPlan {
        rename: BTreeMap::from([("email".into(), "mail".into()), ("updated_at".into(), "changed".into())]),
        constant: BTreeMap::from([("origin".into(), json!("legacy"))]),
        ..FieldsPlan::default()
    };
    let dataset = DatasetPlan { fields, ..users() };
    let world = world(5, &dataset);
    world.old.say("users", &[("id", "int64"), ("email", "text(12)"), ("staff", "bool"), ("settings", "json")]);
    copy(&world.start(), &dataset).await.unwrap();
    assert!(verify(&world.start(), &dataset).await.unwrap().is_same());
    let row = world.new.row("users", "3").unwrap();
    assert_eq!((row.text("mail").unwrap().as_str(), row.get("email")), ("U3@x.test", None));
    let mut row = row.to_json();
    row["mail"] = json!("new@x.test");
    row["origin"] = json!("changed");
    world.new.put("users", row);
    let before = world.old.row("users", "3").unwrap().to_json();
    let report = reverse(&world.start(), &dataset).await.unwrap();
    assert_eq!((report.updated, report.created, report.deleted), (1, 0, 0), "{report:?}");
    let back = world.old.row("users", "3").unwrap().to_json();
    let mut wanted = before;
    wanted["email"] = json!("new@x.test");
    assert_eq!(back, wanted);

    let mut row = world.new.row("users", "2").unwrap().to_json();
    row["mail"] = json!("longer than twelve");
    world.new.put("users", row);
    let fault = reverse(&world.start(), &dataset).await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Unmet);
    assert!(fault.detail.contains("2: field `email`: `longer than twelve` has 18 characters, 12 fit"), "{fault:?}");
    assert_eq!(world.old.row("users", "2").unwrap().text("email").unwrap(), "U2@x.test");
}

#[tokio::test]
async fn fields_are_looked_up_in_what_has_moved_before() {
    let lookup = |by: &str| LookupPlan { dataset: "users".into(), field: "email".into(), by: by.into() };
    let fields = FieldsPlan { lookup: BTreeMap::from([("owner".into(), lookup("user_id"))]), ..FieldsPlan::default() };
    let dataset = DatasetPlan { fields, blob: None, ..files() };
    let mut world = World::new(2, 7);
    world.plan.datasets = vec![users(), dataset.clone()];
    world.plan.migration.max_failures = 5;
    copy(&world.start(), &users()).await.unwrap();
    copy(&world.start(), &dataset).await.unwrap();
    // Users are by `id % 3`, and there is no user 0.
    assert_eq!(world.states("files"), BTreeMap::from([("Failed".into(), 2), ("Verified".into(), 5)]));
    assert_eq!(world.new.row("files", "4").unwrap().text("owner").unwrap(), "U1@x.test");
    let (_, why) = reason(&world, "files", "3");
    assert_eq!(why, "field `owner`: `users` has no email under the key 0");
    world.old.put("users", user(0));
    copy(&world.start(), &users()).await.unwrap();
    copy(&world.start(), &dataset).await.unwrap();
    assert_eq!(world.states("files"), BTreeMap::from([("Verified".into(), 7)]));
    assert_eq!(world.new.row("files", "3").unwrap().text("owner").unwrap(), "U0@x.test");
    assert!(verify(&world.start(), &dataset).await.unwrap().is_same());
}
