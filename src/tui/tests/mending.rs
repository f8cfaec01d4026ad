//! The lists of dead letters and of differences: what they ask for, where their keys lead, and what it takes to change a
//! record.

use super::{Ask, Message, Person, fixtures, text};
use crate::{
    command::Command,
    engine::view::RunView,
    event::{Event, EventKind},
    model::{ItemVerdict, LaneId, Mending, Mode, Phase, RunState, StepState, Take},
    tui::{legal::legal, overlays::Overlay, update::Action},
};
use std::sync::Arc;

/// To the dead letters of the users, and to their differences.
const LETTERS: &str = "2↓d";
const DIFFERENCES: &str = "2↓u";

fn armed(view: RunView) -> Person {
    Person::at(view).armed()
}

/// Waits until a dialog is armed, and presses on.
fn then(person: Person, keys: &str) -> Person {
    person.waits(700).keys(keys)
}

fn mending(person: &Person) -> &Mending {
    let [Command::Mend { lane, what }] = person.orders()[..] else { panic!("{:?}", person.orders()) };
    assert_eq!(lane.as_str(), "users");
    what
}

#[test]
fn both_lists_are_reached_from_the_board_the_lane_and_the_palette() {
    for keys in [LETTERS, "2↓\nd", ":dead letters\n"] {
        let shown = text(&Person::at(fixtures::letters_at_gate()).keys(keys).model);
        assert!(shown.contains("Dead letters of users") && shown.contains("3 in all"), "{keys:?}\n{shown}");
    }
    for keys in [DIFFERENCES, "2↓\nu", ":unequal\n"] {
        let shown = text(&Person::at(fixtures::letters_at_gate()).keys(keys).model);
        assert!(shown.contains("Differences of users") && shown.contains("12,402 different"), "{keys:?}\n{shown}");
    }
    let shown = text(&Person::at(fixtures::ready()).keys("d").model);
    assert!(shown.contains("no lane of records has begun"), "{shown}");
}

#[test]
fn escape_goes_one_level_up_each_time() {
    let open = Person::at(fixtures::letters_at_gate()).keys("2↓\nd\n");
    assert!(text(&open.model).contains("as the source had it"));
    let list = open.keys("\x1b");
    assert!(text(&list.model).contains("Dead letters of users"));
    let lane = list.keys("\x1b");
    assert!(matches!(&lane.model.overlay, Some(Overlay::Lane { lane, .. }) if lane.as_str() == "users"));
    assert!(lane.keys("\x1b").model.overlay.is_none());
}

#[test]
fn pages_are_read_by_cursor_and_records_only_when_they_are_opened() {
    let list = Person::at(fixtures::letters_at_gate()).keys(LETTERS);
    let [Ask::Letters(first)] = &list.asked[..] else { panic!("{:?}", list.asked) };
    assert!(first.after.is_none() && first.limit <= 100);
    let next = list.keys("⇟");
    let Ask::Letters(second) = &next.asked[1] else { panic!("{:?}", next.asked) };
    assert_eq!(second.after.as_deref(), Some("1044"));
    let open = next.keys("\n");
    let Ask::Letter(record) = &open.asked[2] else { panic!("{:?}", open.asked) };
    assert_eq!(record.key, "1017");
    let sides = Person::at(fixtures::letters_at_gate()).keys(DIFFERENCES).keys("\n");
    assert!(matches!(&sides.asked[1], Ask::Sides(ask) if ask.key == "1002"), "{:?}", sides.asked);
    let again = sides.keys("r");
    assert!(again.asked[2..].iter().any(|ask| matches!(ask, Ask::Sides(_))), "{:?}", again.asked);
}

#[test]
fn a_dead_letter_is_retried_alone_or_with_all() {
    let one = then(armed(fixtures::letters_at_gate()).keys(LETTERS).keys("R↓"), "\n");
    assert_eq!(*mending(&one), Mending::Retry { keys: vec!["1017".into()] });
    let all = then(armed(fixtures::letters_at_gate()).keys(LETTERS).keys("R↓↓"), "\n");
    assert_eq!(*mending(&all), Mending::Retry { keys: Vec::new() });
    let none = then(armed(fixtures::letters_at_gate()).keys(LETTERS).keys("R"), "\n");
    assert!(none.orders().is_empty(), "the first choice leaves them");
    assert!(matches!(none.model.overlay, Some(Overlay::Letters(_))), "and the list is there again");
}

#[test]
fn only_what_asks_is_decided_and_all_of_it_only_by_name() {
    let off = armed(fixtures::letters_at_gate()).keys(LETTERS).keys("D");
    assert!(text(&off.model).contains("D is off"));
    let one = then(armed(fixtures::letters_at_gate()).keys(LETTERS).keys("↓D↓↓"), "\n");
    assert_eq!(*mending(&one), Mending::Decide { keys: vec!["1044".into()], take: Take::Target });
    let all = || armed(fixtures::letters_at_gate()).keys(LETTERS).keys("↓D↓↓↓");
    assert!(then(all(), "\n").orders().is_empty());
    // Enter asked for the name and went to its field.
    let all = then(then(all(), "\n"), "users").waits(700).keys("\n");
    assert_eq!(*mending(&all), Mending::Decide { keys: Vec::new(), take: Take::Source });
}

#[test]
fn leaving_a_record_out_wants_a_reason() {
    let out = then(armed(fixtures::letters_at_gate()).keys(LETTERS).keys("X"), "\n");
    assert!(out.orders().is_empty() && text(&out.model).contains("LEAVE THIS RECORD OUT?"));
    let out = out.keys("on legal hold").waits(700).keys("\n");
    let [Command::ExcludeFile { lane, key, reason }] = out.orders()[..] else { panic!("{:?}", out.orders()) };
    assert_eq!((lane.as_str(), key.as_str(), reason.as_str()), ("users", "1017", "on legal hold"));
}

#[test]
fn the_export_is_asked_for_once_and_says_where_it_went() {
    let person = Person::at(fixtures::letters_at_gate()).keys(LETTERS).keys("x");
    assert_eq!(person.asked.iter().filter(|ask| matches!(ask, Ask::Export(_))).count(), 1);
    let shown = text(&person.model);
    assert!(shown.contains("3 dead letters in /var/cutover/dead-letters-users.jsonl"), "{shown}");
}

#[test]
fn a_repair_says_first_what_it_would_do_and_asks_as_much_as_it_risks() {
    let differs = armed(fixtures::letters_at_gate()).keys(DIFFERENCES).keys("R");
    let shown = text(&differs.model);
    assert!(shown.contains("OVERWRITE WHAT DIFFERS?") && shown.contains("All 12,402 different of users"), "{shown}");
    assert!(then(differs, "OVER\n").orders().is_empty());
    let one = then(armed(fixtures::letters_at_gate()).keys(DIFFERENCES).keys("ROVERWRITE\t↓"), "\n");
    let keys = vec!["1002".to_owned()];
    assert_eq!(*mending(&one), Mending::Repair { verdict: ItemVerdict::Differs, keys });
    let missing = then(armed(fixtures::letters_at_gate()).keys(DIFFERENCES).keys("↓↓R↓↓"), "\n");
    let all = Mending::Repair { verdict: ItemVerdict::OnlyInSource, keys: Vec::new() };
    assert_eq!(*mending(&missing), all, "nothing is overwritten: Enter will do");
    let extra = armed(fixtures::letters_at_gate()).keys(DIFFERENCES).keys("↓↓↓RDELETE\t↓↓");
    assert!(text(&extra.model).contains("DELETE WHAT IS EXTRA?"));
    let all = Mending::Repair { verdict: ItemVerdict::OnlyInTarget, keys: Vec::new() };
    assert_eq!(*mending(&then(extra, "\n")), all);
    let compare = then(armed(fixtures::letters_at_gate()).keys(DIFFERENCES).keys("V↓"), "\n");
    assert_eq!(*mending(&compare), Mending::Compare);
}

#[test]
fn classes_and_lanes_are_stepped_through() {
    let only = Person::at(fixtures::letters_at_gate()).keys(DIFFERENCES).keys("cc");
    let shown = text(&only.model);
    assert!(shown.contains("only moving") && shown.contains("1003") && !shown.contains("1002"), "{shown}");
    let all = only.keys("ccc");
    assert!(text(&all.model).contains("1002"));
    let never = all.keys("\t");
    let shown = text(&never.model);
    assert!(shown.contains("Differences of files") && shown.contains("not compared yet: V compares"), "{shown}");
    let refused = never.keys("\t");
    assert!(text(&refused.model).contains("no answer: the ledger is locked"));
}

#[test]
fn a_side_that_is_away_is_said_in_words() {
    let person = Person::at(fixtures::letters_at_gate()).keys(DIFFERENCES).keys("↓↓\n");
    let shown = text(&person.model);
    assert!(shown.contains("UNKNOWN, this side cannot be reached: fetch record 1017"), "{shown}");
}

#[test]
fn without_the_lock_nothing_is_changed_and_the_reason_is_said() {
    for keys in ["R", "X"] {
        let person = Person::at(fixtures::letters_at_gate()).keys(LETTERS).keys(keys);
        assert!(text(&person.model).contains(&format!("{keys} is off: steering is not armed")));
    }
    let mut running = fixtures::letters_at_gate();
    running.state = RunState::Running;
    let person = armed(running).keys(LETTERS).keys("R");
    assert!(text(&person.model).contains("R is off: the run itself is at work"), "{}", text(&person.model));
}

#[test]
fn records_are_mended_only_while_nothing_else_moves_them() {
    let now = fixtures::now();
    let users = || LaneId::new("users");
    let retry = || Command::Mend { lane: users(), what: Mending::Retry { keys: Vec::new() } };
    let compare = || Command::Mend { lane: users(), what: Mending::Compare };
    let out = || Command::ExcludeFile { lane: users(), key: "1".into(), reason: "why".into() };
    let good = fixtures::letters_at_gate;
    for command in [retry(), compare(), out()] {
        assert_eq!(legal(&good(), &command, now), Ok(()));
    }
    let refused = |change: fn(&mut RunView), why: &str| {
        let mut view = good();
        change(&mut view);
        for command in [retry(), out()] {
            let refusal = legal(&view, &command, now).unwrap_err();
            assert!(refusal.why.contains(why), "{}", refusal.why);
        }
    };
    refused(|view| view.state = RunState::Running, "the run itself is at work");
    refused(|view| view.phases[3].steps[0].state = StepState::Intended, "the run itself is at work");
    refused(|view| view.mode = Mode::DryRun, "a dry run writes nothing");
    refused(|view| view.committed = Some(fixtures::now()), "committed");
    refused(|view| view.mending = fixtures::mending().mending, "records of users are being worked on");
    let began: fn(&mut RunView) = |view| view.phases[Phase::DnsCutover.number() - 1].started = Some(fixtures::now());
    refused(began, "users may work on the new side");
    let mut live = good();
    began(&mut live);
    assert_eq!(legal(&live, &compare(), now), Ok(()), "looking is always possible");
    let going_back = fixtures::rolling_back();
    assert!(legal(&going_back, &retry(), now).is_err() && legal(&going_back, &compare(), now).is_err());
}

#[test]
fn an_answer_for_another_list_is_dropped() {
    let mut person = Person::at(fixtures::letters_at_gate()).keys("2↓↓d");
    let Ask::Letters(ask) = person.asked[0].clone() else { panic!("{:?}", person.asked) };
    assert_eq!(ask.lane.as_str(), "files");
    let other = Ask::Letters(crate::tui::reader::LettersAsk { lane: LaneId::new("users"), ..ask });
    let told = fixtures::told(&other);
    person.says(Message::Told { ask: other, told }, 10);
    assert!(!text(&person.model).contains("1017"));
    assert!(person.actions.iter().all(|action| !matches!(action, Action::Ask(_))));
}

#[test]
fn what_is_shown_is_read_again_once_records_have_changed() {
    let mut person = Person::at(fixtures::letters_at_gate()).keys(DIFFERENCES).keys("\n");
    let before = person.asked.len();
    let kind = EventKind::Repaired {
        lane: LaneId::new("users"),
        what: "record 1002".into(),
        by: fixtures::ada(),
        summary: "1 mended, 0 left".into(),
    };
    person.says(Message::Event(Arc::new(Event { seq: 99, at: fixtures::now(), kind })), 10);
    let again = &person.asked[before..];
    assert!(matches!(again, [Ask::Differences(_), Ask::Sides(_)]), "{again:?}");
}
