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

#[test]
fn what_leads_nowhere_and_what_changed_since_is_told() {
    let night = Night::begin().moved();
    assert_eq!(night.call(&["verify", "--lane", "filters", "--since-last"]).0, 0, "all is read the first time");
    let told = night.told(&["verify", "--lane", "filters", "--since-last"]);
    assert!(told.contains("a deletion, are not seen") && told.contains("filters-relations: "), "{told}");
    meddle(
        night.folder(),
        "UPDATE filters SET user_id = 99999 WHERE id = 1;
         UPDATE filters SET name = 'other', updated_at = '2099-01-01T00:00:00Z' WHERE id = 2",
    );
    let (code, last, error) = night.call(&["verify", "--lane", "filters", "--since-last"]);
    let sums = &last["sums"];
    assert_eq!(
        (code, &sums["kind"], &sums["dangling"]["count"]),
        (7, &"relations".into(), &1.into()),
        "{last} {error}"
    );
    let dangling = night.lines(&["verify", "--lane", "filters", "--list", "dangling"]);
    assert_eq!((dangling.len(), &dangling[0]["key"]), (1, &"1 user_id".into()), "{dangling:?}");
    assert!(dangling[0]["detail"].as_str().unwrap().contains("99999 of users"), "{dangling:?}");
    let differs = night.lines(&["verify", "--lane", "filters", "--list", "differs"]);
    let keys: Vec<&str> = differs.iter().map(|row| row["key"].as_str().unwrap()).collect();
    assert_eq!(keys, ["2"], "the other one was changed without a new time");
    assert_eq!(night.call(&["verify", "--lane", "filters", "--again"]).0, 7);
    assert_eq!(night.lines(&["verify", "--lane", "filters", "--list", "differs"]).len(), 2);
}
