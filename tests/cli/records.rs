//! What can be asked and ordered of the records of a run from another terminal.

use super::files::Night;
use std::path::Path;

#[path = "../tools/meddle.rs"]
mod hand;

/// Somebody else's hand in the new side's database.
pub(super) fn meddle(folder: &Path, sql: &'static str) {
    hand::meddle(&folder.join("world/new.db"), sql);
}

#[test]
fn every_difference_is_listed_and_mended_by_class() {
    let mut night = Night::begin().moved();
    assert_eq!(night.call(&["verify", "--lane", "users"]).0, 0);
    meddle(
        night.folder(),
        "UPDATE users SET email = 'somebody else' WHERE id IN (2, 3); DELETE FROM filters WHERE id = 1;
         INSERT INTO filters SELECT * FROM filters WHERE 0",
    );
    let (code, last, error) = night.call(&["verify"]);
    assert_eq!(code, 7, "{last} {error}");
    let differs = night.lines(&["verify", "--lane", "users", "--list", "differs"]);
    let keys: Vec<&str> = differs.iter().map(|row| row["key"].as_str().unwrap()).collect();
    assert_eq!(keys, ["2", "3"], "{differs:?}");
    assert!(differs.iter().all(|row| row["detail"] == "email"), "{differs:?}");
    assert_eq!(night.lines(&["verify", "--list", "only-in-source"])[0]["key"], "1");

    // Only a look, and nobody mends beside a running engine.
    assert!(night.told(&["repair", "--lane", "users"]).contains("users: 2 differs: would be overwritten"));
    assert_eq!(night.call(&["verify", "--lane", "users"]).0, 7);
    assert_eq!(night.call(&["repair", "--lane", "users", "--yes"]).0, 6);
    night.stop();
    assert_eq!(night.call(&["repair", "--lane", "files-content", "--yes"]).0, 2);
    for lane in ["users", "filters"] {
        let (code, last, error) = night.call(&["repair", "--lane", lane, "--yes"]);
        assert_eq!(code, 0, "{last} {error}");
    }
    assert_eq!(night.call(&["verify"]).0, 0);
}

#[test]
fn dead_letters_are_kept_exported_and_moved_when_they_can_be() {
    let mut night = Night::begin_with(|folder| {
        meddle(
            folder,
            "CREATE TRIGGER no_five BEFORE INSERT ON users WHEN NEW.id = 5
             BEGIN SELECT RAISE(ABORT, 'the fifth is not welcome'); END",
        );
    });
    night.engine.until("\"kind\":\"step_failed\"");
    let all = night.lines(&["deadletters"]);
    assert_eq!((all.len(), &all[0]["key"], &all[0]["lane"]), (1, &"5".into(), &"users".into()), "{all:?}");
    assert!(all[0]["reason"].as_str().unwrap().contains("not welcome"), "{all:?}");
    assert!(night.told(&["deadletters"]).contains("not welcome"));
    let exported = night.lines(&["deadletters", "export"]);
    assert_eq!(exported[0]["record"]["id"], 5, "{exported:?}");
    assert!(night.told(&["deadletters", "show", "users", "5"]).contains("\"email\""));
    assert_eq!(night.call(&["deadletters", "show", "users", "6"]).0, 2);
    night.stop();
    let (code, last, error) = night.call(&["deadletters", "retry", "--lane", "users"]);
    assert_eq!((code, last["repair"]["left"].as_u64()), (3, Some(1)), "{error}");
    meddle(night.folder(), "DROP TRIGGER no_five");
    let (code, last, error) = night.call(&["deadletters", "retry", "--lane", "users"]);
    assert_eq!((code, last["repair"]["mended"].as_u64()), (0, Some(1)), "{error}");
    assert!(night.lines(&["deadletters"]).is_empty());
    let events = night.lines(&["resume", "--headless", "--approve-all"]);
    let last = events.last().unwrap();
    assert_eq!((&last["kind"], &last["outcome"]), (&"run_finished".into(), &"completed".into()), "{last}");
}
