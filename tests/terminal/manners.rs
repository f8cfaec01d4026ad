//! What a terminal may expect: sizes, colours, hang-ups, suspension, dumb terminals.

use crate::desk::Desk;

#[test]
fn every_size_is_drawn_and_a_tiny_one_says_so() {
    let mut desk = Desk::rehearsal(160, 50, &[]);
    desk.until("TRUTH");
    for (cols, rows) in [(120, 36), (100, 30), (80, 24), (60, 16)] {
        desk.resize(cols, rows);
        desk.until("? help");
        desk.until("REHEARSAL");
    }
    desk.resize(52, 14);
    desk.until("too small");
    desk.resize(120, 36);
    desk.until("TRUTH");
}

#[test]
fn without_colour_not_one_colour_is_sent() {
    let mut desk = Desk::rehearsal(120, 36, &[("NO_COLOR", "1")]);
    desk.until("WAITS GATE");
    let sent = String::from_utf8_lossy(&desk.bytes).into_owned();
    for sequence in sent.split("\x1b[").skip(1) {
        let Some((numbers, _)) = sequence.split_once('m') else { continue };
        if !numbers.chars().all(|c| c.is_ascii_digit() || c == ';') {
            continue;
        }
        let coloured = numbers
            .split(';')
            .any(|number| matches!(number.parse::<u16>(), Ok(30..=38 | 40..=48 | 90..=97 | 100..=107)));
        assert!(!coloured, "colour {numbers:?} was sent");
    }
}

#[test]
fn a_dumb_terminal_gets_lines_and_not_one_escape() {
    let mut desk = Desk::rehearsal(120, 36, &[("TERM", "dumb")]);
    desk.until("maintenance");
    assert!(!desk.bytes.contains(&0x1b), "{}", desk.shows());
}

#[test]
fn leaving_the_screen_keeps_the_run_going() {
    let mut desk = Desk::rehearsal(120, 36, &[]);
    desk.until("WATCH");
    desk.press("q");
    desk.until("the run goes on");
    assert!(!desk.is_full_screen());
    desk.until("cutover approve");
}

#[test]
fn a_terminal_that_hangs_up_leaves_no_orphan_spinning() {
    let mut desk = Desk::rehearsal(120, 36, &[]);
    desk.until("WAITS GATE");
    desk.signal("-HUP");
    // The run goes on without a screen, as the plan says; a termination is an orderly stop.
    desk.until_given_back();
    desk.signal("-TERM");
    assert_eq!(desk.end().exit_code(), 4, "{}", desk.shows());
}

#[test]
fn a_terminal_that_is_gone_does_not_take_the_run_with_it() {
    let mut desk = Desk::rehearsal(120, 36, &[]);
    desk.until("WAITS GATE");
    desk.hang_up();
    desk.signal("-TERM");
    assert_eq!(desk.end().exit_code(), 4);
}

#[test]
fn a_suspended_console_gives_the_terminal_back_and_comes_again() {
    let mut desk = Desk::rehearsal(120, 36, &[]);
    desk.until("WAITS GATE");
    desk.press("\x1a");
    desk.let_it_arm();
    if desk.is_full_screen() {
        desk.press("\x1a");
        desk.let_it_arm();
    }
    assert!(!desk.is_full_screen(), "{}", desk.shows());
    desk.signal("-CONT");
    desk.until("WAITS GATE");
    assert!(desk.is_full_screen());
}

#[test]
fn every_mode_that_was_switched_on_is_switched_off_once() {
    let mut desk = Desk::rehearsal(120, 36, &[]);
    desk.until("WATCH");
    desk.press("q");
    desk.until("the run goes on");
    desk.signal("-TERM");
    desk.end();
    let sent = String::from_utf8_lossy(&desk.bytes).into_owned();
    for mode in ["?1049", "?2004", "?1004"] {
        let (on, off) =
            (sent.matches(&format!("\x1b[{mode}h")).count(), sent.matches(&format!("\x1b[{mode}l")).count());
        assert_eq!((on, off), (1, 1), "mode {mode}");
    }
}
