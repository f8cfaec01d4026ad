use super::{Relations, evidence, lane, looked_at, relations};
use crate::{
    migrate::{
        files::copy as copy_files,
        records::copy,
        world::{World, blob_key, files, users},
    },
    model::Verdict,
    plan::DatasetPlan,
    ports::{ItemVerdict, VerdictQuery, Work},
};
use serde_json::json;
use std::collections::BTreeMap;

/// Users 1 to 5 and files 1 to 6 of the users 0 to 2, copied.
async fn copied() -> World {
    let world = World::new(5, 6);
    let cx = world.start();
    copy(&cx, &users()).await.unwrap();
    copy(&cx, &files()).await.unwrap();
    copy_files(&cx, &files()).await.unwrap();
    world
}

async fn look(world: &World, dataset: &DatasetPlan) -> (Relations, Vec<(String, ItemVerdict, String)>) {
    let found = relations(&world.start(), dataset).await.unwrap().expect("something to look at");
    assert_eq!(looked_at(world.work.as_ref(), dataset).await.unwrap().as_ref(), Some(&found));
    let query = VerdictQuery { limit: 100, ..VerdictQuery::default() };
    let rows = world.work.verdicts(&lane(dataset), &query).await.unwrap();
    (found, rows.into_iter().map(|row| (row.key, row.verdict, row.detail)).collect())
}

#[tokio::test]
async fn what_the_legacy_side_has_too_is_told_and_no_fault() {
    let world = copied().await;
    let (found, rows) = look(&world, &files()).await;
    assert_eq!((found.records, found.dangling.count, found.inherited), (6, 2, 2), "{found:?}");
    assert!(found.is_sound());
    assert_eq!(found.dangling.first, "3 has user_id 0");
    let detail = "leads to 0 of users, which is not there, on the legacy side too".to_owned();
    let wanted = ["3 user_id", "6 user_id"].map(|key| (key.to_owned(), ItemVerdict::Dangling, detail.clone()));
    assert_eq!(rows, wanted);
    let checks = evidence(&files(), &found, 0);
    assert!(checks.iter().all(|check| check.verdict == Verdict::Pass), "{checks:?}");
    assert_eq!(checks[0].value, "2 lead nowhere, first 3 has user_id 0; 2 of them on the legacy side too");
    assert_eq!(relations(&world.start(), &users()).await.unwrap(), None, "nothing to look at");
}

#[tokio::test]
async fn what_is_lost_on_the_new_side_is_listed() {
    let world = copied().await;
    world.new.remove("users", "1");
    // Of a file that the lane has proven the comparison of files knows; this one came afterwards.
    world.new.put("files", json!({"id": 9, "user_id": 2, "file_name": "x", "file_path": "p", "updated_at": ""}));
    world.new.put("files", json!({"id": 10, "user_id": null, "file_path": "", "updated_at": ""}));
    let (found, rows) = look(&world, &files()).await;
    assert_eq!((found.records, found.dangling.count, found.inherited), (8, 4, 2), "{found:?}");
    assert_eq!((found.without_file.count, found.without_file.first.as_str()), (1, "9: users/2/9/x is not there"));
    assert!(!found.is_sound());
    let keys: Vec<&str> = rows.iter().map(|(key, ..)| key.as_str()).collect();
    assert_eq!(keys, ["1 user_id", "3 user_id", "4 user_id", "6 user_id", "9 file_path"]);
    let failed = evidence(&files(), &found, 1);
    let failed: Vec<&str> =
        failed.iter().filter(|check| check.verdict == Verdict::Fail).map(|check| check.name.as_str()).collect();
    assert_eq!(failed, ["files references there"], "so many files may be missing as records may fail");
    world.r2.put_bytes("users/2/9/x", "x");
    world.new.put("users", json!({"id": 1}));
    let (found, rows) = look(&world, &files()).await;
    assert!(found.is_sound(), "{found:?}");
    assert_eq!(rows.len(), 2, "what is mended is no longer listed");
    assert!(world.r2.blobs().contains_key(&blob_key(1)));
}

#[tokio::test]
async fn what_may_come_once_and_comes_twice_is_listed() {
    let world = copied().await;
    let mut dataset = users();
    dataset.fields.unique = vec!["email".into(), "nick".into()];
    let (found, rows) = look(&world, &dataset).await;
    assert_eq!((found.doubled.count, rows.len()), (0, 0));
    for (id, email) in [(7, "same@x.test"), (8, "other@x.test"), (9, "same@x.test"), (10, "same@x.test")] {
        world.new.put("users", json!({"id": id, "email": email, "nick": null}));
    }
    let (found, rows) = look(&world, &dataset).await;
    assert_eq!((found.doubled.count, found.doubled.first.as_str()), (2, "9 has the email of 7"));
    let twice = |key: &str| (key.to_owned(), ItemVerdict::Doubled, "the record 7 has the same".to_owned());
    assert_eq!(rows, [twice("10 email"), twice("9 email")]);
    assert!(!found.is_sound());
}

#[tokio::test]
async fn the_plan_says_what_refers_to_what() {
    let mut dataset = files();
    assert_eq!(dataset.references(), BTreeMap::from([("user_id".into(), "users".into())]));
    dataset.fields.references = BTreeMap::from([("owner".into(), "users".into()), ("copy_of".into(), "files".into())]);
    assert_eq!(dataset.references(), dataset.fields.references, "it names one for `users` itself");
    let world = copied().await;
    world.new.put("files", json!({"id": 11, "owner": 2, "copy_of": 77, "user_id": 99, "updated_at": ""}));
    let (found, rows) = look(&world, &dataset).await;
    assert_eq!((found.dangling.count, found.inherited), (1, 1), "{rows:?}");
    assert_eq!(rows[0].0, "11 copy_of");
}
