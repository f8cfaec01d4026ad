//! A whole night with keys alone.

use crate::desk::Desk;

#[test]
fn a_whole_rehearsal_with_keys_alone() {
    let mut desk = Desk::rehearsal(120, 36, &[]);
    desk.arm();
    while desk.until_any(&["WAITS GATE", "COMPLETED"]) == "WAITS GATE" {
        desk.go();
    }
    desk.press("q");
    assert_eq!(desk.end().exit_code(), 0, "{}", desk.shows());
    assert!(!desk.is_full_screen(), "the terminal is given back");
    assert!(String::from_utf8_lossy(&desk.bytes).contains("completed"), "{}", desk.shows());
}

#[test]
fn a_run_is_paused_and_goes_on() {
    let mut desk = Desk::rehearsal(120, 36, &[]);
    desk.arm();
    desk.until("WAITS GATE");
    desk.press("P");
    desk.until("Pause");
    desk.let_it_arm();
    desk.press("\r");
    desk.until("PAUSED");
    desk.press("P");
    desk.until("Resume?");
    desk.let_it_arm();
    // It begins on staying paused: towards going on, a person moves first.
    desk.send(b"\x1b[B");
    desk.let_it_arm();
    desk.press("\r");
    desk.until("WAITS GATE");
}

#[test]
fn a_refused_gate_pauses_the_run() {
    let mut desk = Desk::rehearsal(120, 36, &[]);
    desk.arm();
    desk.until("WAITS GATE");
    desk.press("G");
    desk.until("Gate");
    desk.let_it_arm();
    desk.press("Nnot tonight\r");
    desk.until("PAUSED");
    desk.until("not tonight");
}

#[test]
fn a_typed_word_rolls_back() {
    let mut desk = Desk::rehearsal(120, 36, &[]);
    desk.arm();
    desk.until("WAITS GATE");
    desk.go();
    desk.until("Data migration");
    desk.press("B");
    desk.until("ROLL BACK list-cutter");
    desk.let_it_arm();
    // A wrong word does nothing.
    desk.press("list-cuttre\tdrill\r");
    desk.let_it_arm();
    assert!(!desk.shows().contains("ROLLING BACK"), "{}", desk.shows());
    desk.press("\x1b");
    desk.let_it_arm();
    desk.press("B");
    desk.until("ROLL BACK list-cutter");
    desk.let_it_arm();
    desk.press("list-cutter\tdrill\r");
    desk.until("ROLLED BACK");
    desk.press("q");
    assert_eq!(desk.end().exit_code(), 3, "{}", desk.shows());
}

#[test]
fn an_emergency_stop_needs_no_lock_and_ends_in_stopped() {
    let mut desk = Desk::rehearsal(120, 36, &[]);
    desk.until("WATCH");
    desk.press("!");
    desk.until("EMERGENCY STOP");
    desk.let_it_arm();
    desk.press("STOP\r");
    if !desk.soon("STOPPED") {
        desk.press("\r");
    }
    desk.until("STOPPED");
    desk.press("q");
    desk.let_it_arm();
    if desk.is_full_screen() {
        desk.press("\r");
    }
    assert_eq!(desk.end().exit_code(), 4, "{}", desk.shows());
}
