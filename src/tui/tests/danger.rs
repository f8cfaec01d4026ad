//! Keys and danger: what gives a command, and what must not.

use super::{Ask, Person, code, fixtures, key};
use crate::{
    command::Command,
    engine::view::RunView,
    model::{BatchId, Environment, LaneId, Limits, PauseDepth, Phase, StepId, Waiver},
    tui::{
        model::Row,
        overlays::Overlay,
        setup::Left,
        theme::Role,
        update::{Action, Message},
    },
};
use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers, MouseButton, MouseEvent, MouseEventKind};
use proptest::prelude::*;
use ratatui::layout::Size;

fn note(person: &Person) -> String {
    person.model.note.as_ref().map_or_else(String::new, |note| note.text.clone())
}

fn rehearsal(mut view: RunView) -> RunView {
    view.environment = Environment::Rehearsal;
    view
}

#[test]
fn pausing_takes_one_key_and_enter_and_no_lock() {
    let person = Person::at(fixtures::migrating()).keys("P").waits(700).keys("\n");
    let [Command::Pause { depth: PauseDepth::AfterBatch, .. }] = person.orders()[..] else {
        panic!("{:?}", person.orders())
    };
    let deeper = Person::at(fixtures::migrating()).keys("P").waits(700).keys("↓↓\n");
    assert!(matches!(deeper.orders()[..], [Command::Pause { depth: PauseDepth::Now, .. }]));
}

#[test]
fn resuming_starts_on_staying_and_needs_the_lock() {
    let stays = Person::at(fixtures::paused()).armed().keys("P").waits(700).keys("\n");
    assert!(stays.orders().is_empty() && stays.model.overlay.is_none());
    let goes = Person::at(fixtures::paused()).armed().keys("P").waits(700).keys("↓\n");
    assert_eq!(goes.orders(), [&Command::Resume]);
    let locked = Person::at(fixtures::paused()).keys("P").waits(700).keys("↓\n");
    assert!(locked.orders().is_empty());
}

#[test]
fn an_emergency_stop_wants_the_word_and_no_lock() {
    let stop = |keys: &str| Person::at(fixtures::migrating()).keys("!").waits(700).keys(keys);
    assert!(matches!(stop("STOP\n").orders()[..], [Command::EmergencyStop { .. }]));
    for wrong in ["\n", "stop\n", "STO\n", "STOPP\n", "STOP\x1b\n"] {
        assert!(stop(wrong).orders().is_empty(), "{wrong:?}");
    }
}

#[test]
fn a_rollback_wants_the_plans_name_a_reason_and_the_lock() {
    let back = |keys: &str| Person::at(fixtures::migrating()).armed().keys("B").waits(700).keys(keys);
    let done = back("list-cutter\twrong bucket\n");
    assert_eq!(done.orders(), [&Command::Rollback { reason: "wrong bucket".into() }]);
    for wrong in ["list-cutter\n", "list-cuter\twhy\n", "\twhy\n"] {
        assert!(back(wrong).orders().is_empty(), "{wrong:?}");
    }
    let locked = Person::at(fixtures::migrating()).keys("B");
    assert!(locked.model.overlay.is_none());
    assert_eq!(note(&locked), "B is off: steering is not armed: T arms it");
}

#[test]
fn a_gate_wants_go_typed_and_every_check_passed_or_waived() {
    let go = Person::at(fixtures::at_gate()).armed().keys("G\t").waits(700).keys("GO\n");
    assert_eq!(go.orders(), [&Command::Approve { phase: Phase::DnsCutover, waive: vec![] }]);
    assert!(Person::at(fixtures::at_gate()).armed().keys("G\t").waits(700).keys("go\n").orders().is_empty());
    assert!(Person::at(fixtures::at_gate()).keys("G\t").waits(700).keys("GO\n").orders().is_empty());
    let closed = Person::at(fixtures::gate_closed()).armed().keys("G\t").waits(700).keys("GO\n");
    assert!(closed.orders().is_empty());

    let mut waive = Person::at(fixtures::gate_closed()).armed().keys("G");
    for _ in 0..3 {
        waive = waive.keys("W").waits(700).keys("known and harmless\n↓");
    }
    let go = waive.keys("\t").waits(700).keys("GO\n");
    let [Command::Approve { waive, .. }] = go.orders()[..] else { panic!("{:?}", go.orders()) };
    let reason = "known and harmless".to_owned();
    let wanted = ["replica lag", "rollback rehearsed", "error rate"]
        .map(|check| Waiver { check: check.into(), reason: reason.clone() });
    assert_eq!(waive[..], wanted);
}

#[test]
fn a_waiver_wants_ten_letters_and_a_no_go_a_reason() {
    let short = Person::at(fixtures::gate_closed()).armed().keys("GW").waits(700).keys("too short\n");
    assert!(super::text(&short.model).contains("needs a reason of 10 letters"));
    let refused = Person::at(fixtures::gate_closed()).armed().keys("GN").waits(700).keys("replica lags\n");
    assert_eq!(refused.orders(), [&Command::Refuse { phase: Phase::DnsCutover, reason: "replica lags".into() }]);
    assert!(Person::at(fixtures::gate_closed()).armed().keys("GN").waits(700).keys("\n").orders().is_empty());
}

#[test]
fn what_was_typed_is_void_once_the_evidence_turns() {
    let mut typing = Person::at(fixtures::at_gate()).armed().keys("G\t").waits(700).keys("GO");
    typing.says(Message::View(fixtures::gate_closed().into()), 10);
    let after = typing.waits(700).keys("\n");
    assert!(after.orders().is_empty());
    assert!(super::text(&after.model).contains("type GO"));
    let mut better = fixtures::at_gate();
    better.gate.as_mut().unwrap().checks.remove(0);
    let mut typing = Person::at(fixtures::at_gate()).armed().keys("G\t").waits(700).keys("GO");
    typing.says(Message::View(better.into()), 10);
    assert!(matches!(typing.keys("\n").orders()[..], [Command::Approve { .. }]));
}

#[test]
fn failed_steps_are_retried_or_skipped_with_a_reason() {
    let retry = Person::at(fixtures::failed()).armed().keys("R").waits(700).keys("↓\n");
    assert_eq!(retry.orders(), [&Command::Retry]);
    let skip = Person::at(fixtures::failed()).armed().keys("R↓↓\t").waits(700).keys("known to be slow\n");
    let step = StepId::new("dns_cutover/resolvers");
    assert_eq!(skip.orders(), [&Command::Skip { step, reason: "known to be slow".into() }]);
    assert!(Person::at(fixtures::failed()).armed().keys("R↓↓").waits(700).keys("\n").orders().is_empty());
}

#[test]
fn a_veto_takes_one_key_enter_and_the_lock() {
    let keep = Person::at(fixtures::veto()).armed().keys("K").waits(700).keys("probe is wrong\n");
    assert_eq!(keep.orders(), [&Command::Keep { reason: "probe is wrong".into() }]);
    let quick = Person::at(fixtures::veto()).armed().keys("K").waits(700).keys("\n");
    assert!(matches!(quick.orders()[..], [Command::Keep { .. }]));
    assert!(Person::at(fixtures::veto()).keys("K").waits(700).keys("\n").orders().is_empty());
    assert!(Person::at(fixtures::migrating()).armed().keys("K").waits(700).keys("\n").orders().is_empty());
}

#[test]
fn maintenance_starts_on_leaving_it() {
    let stays = Person::at(fixtures::paused()).armed().keys("M").waits(700).keys("\n");
    assert!(stays.orders().is_empty());
    let turned = Person::at(fixtures::paused()).armed().keys("M").waits(700).keys("↓\n");
    assert_eq!(turned.orders(), [&Command::Maintenance { on: false }]);
}

#[test]
fn a_change_by_one_waits_for_silence() {
    let more = Person::at(fixtures::migrating()).armed().keys("+").waits(50);
    assert!(matches!(more.orders()[..], [Command::Concurrency { by: 1, .. }]));
    let mut held = Person::at(fixtures::migrating()).armed();
    for _ in 0..30 {
        held.says(Message::Key(key('-')), 33);
    }
    assert!(held.orders().is_empty());
    let seen = Person::at(fixtures::migrating()).keys("5 ").waits(50);
    assert!(matches!(seen.orders()[..], [Command::Acknowledge { .. }]));
}

const LANE: &str = "2↓↓↓\n";
const BATCH: &str = "2↓↓↓↓↓↓↓↓\n";

#[test]
fn a_lane_is_tuned_from_its_detail() {
    let lane = LaneId::new("files-content");
    let more = Person::at(fixtures::migrating()).armed().keys(LANE).keys("+").waits(50);
    assert_eq!(more.orders(), [&Command::Concurrency { lane: lane.clone(), by: 1 }]);
    assert!(matches!(more.model.overlay, Some(Overlay::Lane { .. })));
    let limit = |typed: &str| Person::at(fixtures::migrating()).armed().keys(LANE).keys("L").waits(700).keys(typed);
    let limits = Limits { bytes_per_s: Some(10 << 20), ..Limits::default() };
    let done = limit("10MiB/s\n");
    assert_eq!(done.orders(), [&Command::Limit { lane: lane.clone(), limits }]);
    assert!(matches!(done.model.overlay, Some(Overlay::Lane { .. })), "back where it was opened");
    let off = limit("off\n");
    assert_eq!(off.orders(), [&Command::Limit { lane, limits: Limits::default() }]);
    for wrong in ["\n", "10\n", "0 req/s\n", "offf\n", "off\x1b"] {
        assert!(limit(wrong).orders().is_empty(), "{wrong:?}");
    }
    let locked = Person::at(fixtures::migrating()).keys(LANE).keys("L");
    assert_eq!(note(&locked), "L is off: steering is not armed: T arms it");
}

#[test]
fn failed_files_are_retried_after_a_question_and_with_the_lock() {
    let retry = |keys: &str| Person::at(fixtures::migrating()).armed().keys(BATCH).keys("R").waits(700).keys(keys);
    let (lane, batch) = (LaneId::new("files-content"), BatchId::new("files-content-0008"));
    let done = retry("↓\n");
    assert_eq!(done.orders(), [&Command::RetryFiles { lane, batch }]);
    assert!(matches!(done.model.overlay, Some(Overlay::Batch(_))));
    assert!(retry("\n").orders().is_empty(), "starts on leaving them");
    let asked = super::text(&retry("").model);
    assert!(asked.contains("The lane is copying: it takes them up before it ends."), "{asked}");
    let locked = Person::at(fixtures::migrating()).keys(BATCH).keys("R");
    assert_eq!(note(&locked), "R is off: steering is not armed: T arms it");
    let lower = Person::at(fixtures::migrating()).armed().keys(BATCH).keys("rx").waits(700).keys("↓\n");
    assert!(lower.orders().is_empty());
}

#[test]
fn a_file_is_left_out_with_a_reason_only_if_it_failed_or_waits() {
    let out = |keys: &str| Person::at(fixtures::migrating()).armed().keys(BATCH).keys("X").waits(700).keys(keys);
    let done = out("on legal hold\n");
    let [Command::ExcludeFile { key, reason, .. }] = done.orders()[..] else { panic!("{:?}", done.orders()) };
    assert_eq!((key.as_str(), reason.as_str()), ("2026/03/invoice-0091.pdf", "on legal hold"));
    for wrong in ["\n", "short\n", "on legal hold\x1b"] {
        assert!(out(wrong).orders().is_empty(), "{wrong:?}");
    }
    let lost = Person::at(fixtures::migrating()).armed().keys(BATCH).keys("↓↓X");
    assert!(note(&lost).starts_with("X is off: only a file that failed"), "{}", note(&lost));
    let late = Person::at(fixtures::rolling_back()).armed().keys(BATCH).keys("X");
    assert!(note(&late).contains("every file is taken back"), "{}", note(&late));
}

#[test]
fn orders_about_files_are_legal_while_somebody_would_still_move_them() {
    use crate::engine::legal::legal;
    let now = fixtures::now();
    let retry = |lane: &str| Command::RetryFiles { lane: LaneId::new(lane), batch: BatchId::new("b-0001") };
    let out = |reason: &str| Command::ExcludeFile {
        lane: LaneId::new("files-content"),
        key: "k".into(),
        reason: reason.into(),
    };
    let moving = fixtures::migrating();
    assert!(legal(&moving, &retry("files-content"), now).is_ok() && legal(&moving, &out("why"), now).is_ok());
    assert!(legal(&moving, &retry("users"), now).is_err(), "no lane of files");
    assert!(legal(&moving, &retry("nobody"), now).is_err());
    assert!(legal(&moving, &out(" "), now).is_err(), "needs a reason");
    let later = fixtures::at_gate();
    assert!(legal(&later, &retry("files-content"), now).is_err(), "its phase is over");
    assert!(legal(&later, &out("why"), now).is_ok());
    let mut committed = later;
    committed.committed = Some(now);
    assert!(legal(&committed, &out("why"), now).is_err());
    assert!(legal(&fixtures::rolling_back(), &out("why"), now).is_err());
}

#[test]
fn pages_are_asked_for_one_at_a_time_and_read_again() {
    let person = Person::at(fixtures::migrating()).keys(BATCH);
    assert_eq!(person.asked.len(), 1);
    let later = person.waits(500).waits(2_000);
    assert_eq!(later.asked.len(), 2);
    let next = later.keys("⇟");
    let Ask::Items(second) = &next.asked[2] else { panic!("{:?}", next.asked) };
    assert_eq!(second.from.after.as_deref(), Some("2026/01/0044.pdf"));
    let back = next.keys("⇞");
    assert_eq!(back.asked[3], back.asked[0]);
    let mut slow = Person::at(fixtures::migrating()).keys(BATCH);
    let wrong = Message::Told { ask: slow.asked[0].clone(), told: Err("disk".into()) };
    slow.says(wrong, 10);
    assert!(!super::text(&slow.model).contains("disk"), "an answer that nobody waits for is dropped");
}

#[test]
fn a_filter_narrows_while_it_is_typed() {
    let typing = Person::at(fixtures::migrating()).keys("/failed");
    let shown = super::text(&typing.model);
    assert!(shown.contains("files-content-0008") && !shown.contains("files-content-0005"), "{shown}");
    let kept = typing.keys("\nj");
    assert!(kept.model.typing.is_none() && !kept.model.batch_filter.is_off());
    assert!(kept.keys("\x1b").model.batch_filter.is_off());
    let log = Person::at(fixtures::migrating()).keys("l/err");
    let shown = super::text(&log.model);
    assert!(shown.contains("files-content-0009") && !shown.contains("backup of users"), "{shown}");
    let lane = Person::at(fixtures::migrating()).keys(LANE).keys("\n");
    assert_eq!(lane.model.batch_filter.text(), "=files-content");
    assert!(lane.model.overlay.is_none() && matches!(lane.model.row, Some(Row::Batch(_))));
}

#[test]
fn early_enter_repeat_burst_paste_and_a_fresh_window_do_not_count() {
    // Before the dialog listens.
    let early = Person::at(fixtures::migrating()).keys("P\n\n\n");
    assert!(early.orders().is_empty());
    // Enter held down, as a terminal without the kitty protocol sends it.
    let mut held = Person::at(fixtures::migrating()).keys("P");
    for _ in 0..100 {
        held.says(Message::Key(code(KeyCode::Enter)), 33);
    }
    assert!(held.orders().is_empty());
    // As one with it does.
    let mut repeat = Person::at(fixtures::migrating()).keys("P").waits(700);
    let event = KeyEvent::new_with_kind(KeyCode::Enter, KeyModifiers::NONE, KeyEventKind::Repeat);
    repeat.says(Message::Key(event), 100);
    assert!(repeat.orders().is_empty());
    // A paste that arrives as keys.
    let mut burst = Person::at(fixtures::migrating()).keys("!").waits(700);
    for c in "STOP".chars() {
        burst.says(Message::Key(key(c)), 2);
    }
    burst.says(Message::Key(code(KeyCode::Enter)), 2);
    let burst = burst.waits(700).keys("\n");
    assert!(burst.orders().is_empty());
    // A paste that says it is one.
    let mut paste = Person::at(fixtures::migrating()).keys("!").waits(700);
    paste.says(Message::Paste, 10);
    paste.says(Message::Key(code(KeyCode::Enter)), 10);
    assert!(paste.orders().is_empty());
    // The window comes to the front under somebody's fingers.
    let mut fresh = Person::at(fixtures::migrating()).keys("P").waits(700);
    fresh.says(Message::Focus(true), 100);
    fresh.says(Message::Key(code(KeyCode::Enter)), 100);
    assert!(fresh.orders().is_empty());
}

#[test]
fn greyed_keys_say_why() {
    let person = Person::at(fixtures::ready()).armed().keys("B");
    assert!(note(&person).starts_with("B is off: the run is ready"), "{}", note(&person));
    let person = Person::at(fixtures::migrating()).armed().keys("G");
    assert!(note(&person).contains("no gate is open"), "{}", note(&person));
}

#[test]
fn steering_starts_disarmed_and_disarms_itself() {
    let person = Person::at(rehearsal(fixtures::migrating())).keys("T");
    assert!(person.model.armed());
    let later = person.waits(601_000);
    assert!(!later.model.armed());
    assert_eq!(note(&later), "steering has disarmed itself: WATCH");
    let asks = Person::at(fixtures::migrating()).keys("T");
    assert!(!asks.model.armed() && asks.model.overlay.is_some());
    assert!(asks.waits(700).keys("\n").model.armed());
}

#[test]
fn the_life_of_a_command_is_told_in_the_engines_words_only() {
    let mut person = Person::at(fixtures::migrating()).keys("P").waits(700).keys("\n");
    let shown = super::text(&person.model);
    assert!(shown.contains("pause sent") && shown.contains("RUNNING"), "{shown}");
    let refusal = crate::command::Refusal { why: "it is pausing already".into(), legal_when: String::new() };
    person.says(Message::Answer { ticket: 0, answer: Err(refusal) }, 100);
    assert!(super::text(&person.model).contains("pause refused: it is pausing already"));
    let lost = Person::at(fixtures::migrating()).keys("P").waits(700).keys("\n").waits(6_000);
    assert!(super::text(&lost.model).contains("pause unknown: no answer"));
}

#[test]
fn leaving_asks_only_while_a_command_is_unfinished() {
    let left = Person::at(fixtures::migrating()).keys("q");
    assert_eq!(left.actions, [Action::Leave { left: Left::Detached, picture: false }]);
    let ended = Person::at(fixtures::completed()).keys("q");
    assert_eq!(ended.actions, [Action::Leave { left: Left::Ended, picture: false }]);
    let asked = Person::at(fixtures::migrating()).keys("P").waits(700).keys("\nq");
    assert!(asked.model.overlay.is_some());
    let left = asked.waits(700).keys("\n");
    assert!(matches!(left.actions.last(), Some(Action::Leave { left: Left::Detached, .. })));
}

#[test]
fn suspending_a_moving_run_asks_twice() {
    let z = KeyEvent::new(KeyCode::Char('z'), KeyModifiers::CONTROL);
    let mut person = Person::at(fixtures::migrating());
    person.says(Message::Key(z), 500);
    assert!(person.actions.is_empty());
    person.says(Message::Key(z), 500);
    assert_eq!(person.actions, [Action::Suspend]);
    let mut holds = Person::at(fixtures::paused());
    holds.says(Message::Key(z), 500);
    assert_eq!(holds.actions, [Action::Suspend]);
}

#[test]
fn a_screen_too_small_takes_four_keys_only() {
    let mut small = Person::at(fixtures::at_gate()).armed();
    small.model.size = Size::new(52, 14);
    let small = small.keys("GBMKRTg?:lh");
    assert!(small.model.overlay.is_none() && small.actions.is_empty());
    let mut stop = Person::at(fixtures::migrating());
    stop.model.size = Size::new(30, 6);
    let stop = stop.keys("!").waits(700).keys("STOP");
    assert!(super::text(&stop.model).contains("EMERGENCY STOP"));
    assert!(matches!(stop.keys("\n").orders()[..], [Command::EmergencyStop { .. }]));
}

#[test]
fn the_palette_finds_and_greys() {
    let person = Person::at(fixtures::migrating()).keys(":emergency");
    assert!(super::text(&person.model).contains("emergency stop"));
    let opened = person.keys("\n");
    assert!(super::text(&opened.model).contains("Type STOP"));
    let greyed = Person::at(fixtures::migrating()).keys(":undo stack");
    assert!(super::text(&greyed.model).contains("off: steering is not armed"));
}

#[test]
fn a_broken_part_of_the_engine_is_a_red_banner() {
    let mut person = Person::at(fixtures::migrating());
    person.says(Message::Broken("index out of bounds (src/x.rs:7)".into()), 10);
    let shown = super::drawn(&person.model);
    assert!(crate::tui::run::text_of(&shown).contains("A PART OF THE ENGINE BROKE: index out of bounds"));
    let style = person.model.pen.style(Role::Danger);
    assert!(shown.content.iter().any(|cell| cell.fg == style.fg.unwrap()));
}

/// Anything a careless hand or a stray window can send.
fn harmless() -> impl Strategy<Value = (Message2, u64)> {
    let what = prop_oneof![
        6 => proptest::char::range('a', 'z').prop_map(|c| Message2::Key(key(c))),
        2 => proptest::char::range('0', '9').prop_map(|c| Message2::Key(key(c))),
        4 => proptest::sample::select(vec![
            KeyCode::Up, KeyCode::Down, KeyCode::Left, KeyCode::Right, KeyCode::Tab, KeyCode::BackTab, KeyCode::Enter,
            KeyCode::Esc, KeyCode::PageUp, KeyCode::PageDown, KeyCode::Home, KeyCode::End, KeyCode::Backspace,
        ]).prop_map(|c| Message2::Key(code(c))),
        1 => Just(Message2::Paste),
        1 => (0u16..220, 0u16..70).prop_map(|(w, h)| Message2::Resize(w, h)),
        1 => any::<bool>().prop_map(Message2::Focus),
        2 => (0u16..220, 0u16..70, 0usize..4).prop_map(|(x, y, kind)| Message2::Mouse(x, y, kind)),
        1 => Just(Message2::Tick),
    ];
    (what, proptest::sample::select(vec![0u64, 5, 40, 200, 900]))
}

#[derive(Debug, Clone)]
enum Message2 {
    Key(KeyEvent),
    Paste,
    Resize(u16, u16),
    Focus(bool),
    Mouse(u16, u16, usize),
    Tick,
}

impl Message2 {
    fn message(self) -> Message {
        match self {
            Self::Key(key) => Message::Key(key),
            Self::Paste => Message::Paste,
            Self::Resize(width, height) => Message::Resize(Size::new(width, height)),
            Self::Focus(gained) => Message::Focus(gained),
            Self::Mouse(column, row, kind) => {
                let kind = [
                    MouseEventKind::Down(MouseButton::Left),
                    MouseEventKind::Up(MouseButton::Left),
                    MouseEventKind::ScrollDown,
                    MouseEventKind::ScrollUp,
                ][kind];
                Message::Mouse(MouseEvent { kind, column, row, modifiers: KeyModifiers::NONE })
            }
            Self::Tick => Message::Tick,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    /// Lower-case keys, movement, Enter, pastes, clicks and resizes never change a run, in whatever state it is and
    /// even with steering armed.
    #[test]
    fn nothing_careless_ever_gives_a_command(
        state in 0usize..15,
        opened in 0usize..6,
        script in proptest::collection::vec(harmless(), 1..60),
    ) {
        let (_, view) = fixtures::all().swap_remove(state);
        let mut person = Person::at(view).armed();
        // As often as not a lane, a batch or a list is open already.
        person = person.keys(["", "2↓↓↓\n", "2↓↓↓↓↓↓↓↓\n", "/", "2↓d", "2↓u"][opened]);
        for (message, after) in script {
            person.says(message.message(), after);
        }
        prop_assert!(person.orders().is_empty(), "{:?}", person.orders());
    }
}
