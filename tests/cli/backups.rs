//! Backups are listed, a restore is looked at, refused while it would do harm, and done; a rollback is held against them.

use super::{files::Night, records::meddle};
use serde_json::Value;
use std::fs;

/// A row that stands on the new side alone, and one that the run is going to overwrite.
fn standing() -> Night {
    Night::begin_with(|folder| {
        meddle(
            folder,
            "INSERT INTO users (id, username, email, created_at, updated_at) VALUES
                 (900001, 'alone', 'alone@new.test', '2026-01-01T00:00:00.000000Z', '2026-01-01T00:00:00.000000Z'),
                 (2, 'two', 'two@new.test', '2026-01-01T00:00:00.000000Z', '2026-01-01T00:00:00.000000Z')",
        );
    })
}

fn of_users(lines: &[Value]) -> &Value {
    lines.iter().find(|line| line["dataset"] == "users").unwrap()
}

#[test]
fn a_night_goes_back_to_its_backups() {
    let mut night = standing().moved();
    let all = night.lines(&["backups"]);
    let users = of_users(&all);
    assert_eq!((&users["state"], &users["rows"]), (&"finished".into(), &2.into()), "{all:?}");
    assert_eq!(users["proven"], "restored", "{users}");
    assert!(users["age_s"].as_u64().unwrap() < 3600 && users["bytes"].as_u64().unwrap() > 0, "{users}");
    let told = night.told(&["backups"]);
    assert!(told.contains("users") && told.contains("proven by a restore"), "{told}");
    assert_eq!(night.call(&["backups", "--check"]).0, 0);

    // A look is free; nobody restores beside a running engine, or in the middle of a run.
    let (code, last, error) = night.call(&["restore", "--dataset", "users"]);
    let found = &last["outlook"];
    assert_eq!((code, &found["same"], &found["differs"]), (0, &1.into(), &1.into()), "{last} {error}");
    assert!(found["others"].as_u64().unwrap() >= 19, "{found}");
    assert!(night.told(&["restore", "--dataset", "users"]).contains("nothing was changed; --yes does it"));
    assert_eq!(night.call(&["restore", "--dataset", "nobody"]).0, 2);
    assert_eq!(night.call(&["restore", "--dataset", "users", "--run", "x"]).0, 2);
    assert_eq!(night.call(&["restore", "--dataset", "users", "--yes"]).0, 6);
    night.stop();
    let (code, _, error) = night.call(&["restore", "--dataset", "users", "--yes"]);
    assert!(code == 6 && error.contains("cutover rollback"), "{code} {error}");

    let events = night.lines(&["rollback", "--reason", "drill", "--headless"]);
    assert_eq!(events.last().unwrap()["outcome"], "rolled_back", "{:?}", events.last());
    let stage = events.iter().rev().find(|event| event["kind"] == "rollback_stage_finished").unwrap();
    let checks = stage["checks"].as_array().unwrap();
    let check = checks.iter().find(|check| check["name"] == "users as in the backup").unwrap();
    assert_eq!((&check["verdict"], &check["value"]), (&"pass".into(), &"2 of 2 rows the same".into()), "{check}");

    meddle(
        night.folder(),
        "DELETE FROM users WHERE id = 900001; UPDATE users SET email = 'other' WHERE id = 2;
         INSERT INTO users (id, username, created_at, updated_at) VALUES (900002, 'late', '', '')",
    );
    let (code, last, error) = night.call(&["restore", "--dataset", "users", "--yes"]);
    let done = &last["restored"];
    let counts = ["put_back", "overwritten", "others", "left"].map(|name| done[name].as_u64().unwrap());
    assert_eq!((code, counts), (0, [1, 1, 1, 0]), "{last} {error}");
    let (code, last, error) = night.call(&["restore", "--dataset", "users", "--yes", "--remove-others"]);
    assert_eq!((code, &last["restored"]["removed"]), (0, &1.into()), "{last} {error}");
    let (_, last, _) = night.call(&["restore", "--dataset", "users"]);
    assert_eq!((&last["outlook"]["same"], &last["outlook"]["others"]), (&2.into(), &0.into()), "{last}");
    // The run is over as it was.
    let (code, _, error) = night.call(&["resume", "--headless"]);
    assert!(code == 6 && error.contains("no unfinished run"), "{code} {error}");
}

#[test]
fn a_hurt_backup_is_found_and_never_restored_from() {
    let mut night = standing().moved();
    night.stop();
    let run = of_users(&night.lines(&["backups"]))["run"].as_str().unwrap().to_owned();
    let events = night.lines(&["rollback", "--reason", "drill", "--headless"]);
    assert_eq!(events.last().unwrap()["outcome"], "rolled_back");
    let folder = night.folder().join("data/list-cutter/backups/list-cutter").join(&run).join("users");
    let block = folder.join("000001.jsonl.zst");
    // A person can read it without this program.
    let lines = zstd::decode_all(fs::File::open(&block).unwrap()).unwrap();
    let lines = String::from_utf8(lines).unwrap();
    let first: Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
    assert_eq!((&first["id"], &first["email"]), (&2.into(), &"two@new.test".into()), "{lines}");

    let mut bytes = fs::read(&block).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 4;
    fs::write(&block, bytes).unwrap();
    let (code, _, error) = night.call(&["backups", "--check"]);
    assert_eq!(code, 7, "{error}");
    let all = night.lines(&["backups", "--check"]);
    assert_eq!(of_users(&all)["state"], "hurt", "{all:?}");
    assert!(night.told(&["backups", "--check"]).contains("HURT"));
    let (code, _, error) = night.call(&["restore", "--dataset", "users", "--yes"]);
    assert!(code == 6 && error.contains("checksum"), "{code} {error}");
    fs::remove_file(folder.join("manifest.json")).unwrap();
    assert_eq!(of_users(&night.lines(&["backups"]))["state"], "unfinished");
    assert_eq!(night.call(&["restore", "--dataset", "users"]).0, 6);
}
