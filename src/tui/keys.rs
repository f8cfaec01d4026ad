//! The one table of keys. Handling, footer, help and palette all read it; two bindings on one key in one place are a
//! failing test. Lower-case keys only look or move; what changes the run is upper-case or punctuation.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

/// What a key does on the board.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Act {
    Up,
    Down,
    PageUp,
    PageDown,
    First,
    Last,
    NextPane,
    PrevPane,
    Pane(u8),
    Open,
    Back,
    Zoom,
    Hold,
    Filter,
    Window,
    Gates,
    History,
    Log,
    DeadLetters,
    Differences,
    Palette,
    Help,
    Copy,
    Pause,
    Gate,
    Maintenance,
    Rollback,
    Stop,
    Keep,
    Retry,
    More,
    Less,
    Limit,
    Acknowledge,
    Lock,
    Leave,
    LeaveFrame,
    Suspend,
    Redraw,
}

/// What kind of thing that is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Looks or moves; nothing changes.
    Look,
    /// Changes the run; without the lock it is refused.
    Steer,
    /// Changes the run towards safety (or only a mark); needs no lock.
    Safe,
    /// Concerns this screen only.
    Screen,
}

/// Where a binding holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Place {
    /// In the gate's list of evidence.
    Gate,
    /// In a lane's detail.
    Lane,
    /// In a batch's detail.
    Batch,
    /// In the list of dead letters, and in one of them.
    Letters,
    /// In the list of differences, and in a record on both sides.
    Differences,
    /// In a filter that is being typed.
    Filter,
    /// In every dialog and text field.
    Dialog,
}

/// A key with the modifiers that matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Chord {
    code: KeyCode,
    ctrl: bool,
}

const fn c(c: char) -> Chord {
    Chord { code: KeyCode::Char(c), ctrl: false }
}
const fn ctrl(c: char) -> Chord {
    Chord { code: KeyCode::Char(c), ctrl: true }
}
const fn k(code: KeyCode) -> Chord {
    Chord { code, ctrl: false }
}

impl Chord {
    /// The chord of a key event. Shift is already in the letter; Alt makes it another key, which nothing is bound to.
    pub(crate) fn of(key: &KeyEvent) -> Option<Self> {
        if key.modifiers.intersects(KeyModifiers::ALT | KeyModifiers::SUPER | KeyModifiers::META) {
            return None;
        }
        let ctrl = key.modifiers.contains(KeyModifiers::CONTROL);
        let code = match key.code {
            KeyCode::Char(c) if ctrl => KeyCode::Char(c.to_ascii_lowercase()),
            KeyCode::Char(c) if key.modifiers.contains(KeyModifiers::SHIFT) => KeyCode::Char(c.to_ascii_uppercase()),
            code => code,
        };
        Some(Self { code, ctrl })
    }

    /// The key's name on screen.
    pub(crate) fn name(self) -> String {
        let name = match self.code {
            KeyCode::Char(' ') => "Space".into(),
            KeyCode::Char(c) if self.ctrl => c.to_ascii_uppercase().to_string(),
            KeyCode::Char(c) => c.to_string(),
            KeyCode::BackTab => "S-Tab".into(),
            KeyCode::PageUp => "PgUp".into(),
            KeyCode::PageDown => "PgDn".into(),
            KeyCode::F(n) => format!("F{n}"),
            code => format!("{code:?}"),
        };
        if self.ctrl { format!("Ctrl-{name}") } else { name }
    }
}

/// One line of the table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Binding {
    /// The keys; the first is shown.
    pub(crate) keys: &'static [Chord],
    /// What they do.
    pub(crate) act: Act,
    /// What kind of thing that is.
    pub(crate) kind: Kind,
    /// In the footer; empty: not shown there.
    pub(crate) short: &'static str,
    /// In the help and the palette.
    pub(crate) help: &'static str,
}

const fn b(keys: &'static [Chord], act: Act, kind: Kind, short: &'static str, help: &'static str) -> Binding {
    Binding { keys, act, kind, short, help }
}

/// The board's keys, in the order of the footer.
pub(crate) const BOARD: &[Binding] = &[
    b(&[c('?'), k(KeyCode::F(1))], Act::Help, Kind::Look, "help", "this help, made from the key table"),
    b(&[c(':'), ctrl('p')], Act::Palette, Kind::Look, "palette", "find any command by name"),
    b(&[c('P')], Act::Pause, Kind::Safe, "pause", "pause (three depths) or resume; pausing needs no lock"),
    b(&[c('!')], Act::Stop, Kind::Safe, "STOP", "emergency stop: cuts every writer now; type STOP; needs no lock"),
    b(&[c('T')], Act::Lock, Kind::Screen, "arm", "arm or disarm steering"),
    b(&[c('G')], Act::Gate, Kind::Steer, "go/no-go", "decide the open gate: evidence, go, no-go, waive"),
    b(&[c('B')], Act::Rollback, Kind::Steer, "roll back", "work off the undo stack; type the plan's name"),
    b(&[c('M')], Act::Maintenance, Kind::Steer, "maintenance", "turn the maintenance on or off by hand"),
    b(&[c('K')], Act::Keep, Kind::Steer, "keep going", "veto the automatic rollback that counts down"),
    b(&[c('R')], Act::Retry, Kind::Steer, "retry", "retry or skip the failed step"),
    b(&[c('+')], Act::More, Kind::Steer, "", "one more at once in the lane in focus: batches, or files"),
    b(&[c('-')], Act::Less, Kind::Steer, "", "one fewer at once in the lane in focus"),
    b(&[c('L')], Act::Limit, Kind::Steer, "", "how fast the lane in focus may be: 10MiB/s, 50 req/s, 500 rows/s, off"),
    b(&[c(' ')], Act::Acknowledge, Kind::Safe, "", "acknowledge the alert in focus"),
    b(&[k(KeyCode::Tab)], Act::NextPane, Kind::Look, "pane", "next pane"),
    b(&[k(KeyCode::BackTab)], Act::PrevPane, Kind::Look, "", "previous pane"),
    b(&[k(KeyCode::Enter)], Act::Open, Kind::Look, "open", "open what is selected"),
    b(&[k(KeyCode::Esc)], Act::Back, Kind::Look, "", "one level up"),
    b(&[c('z')], Act::Zoom, Kind::Look, "zoom", "give the pane the whole screen, and back"),
    b(&[c('f')], Act::Hold, Kind::Look, "hold", "hold the view still; data keeps arriving"),
    b(&[c('/')], Act::Filter, Kind::Look, "filter", "filter batches, or the log: word, !word, =whole"),
    b(&[c('g')], Act::Gates, Kind::Look, "gates", "look at the open gate's evidence"),
    b(&[c('h')], Act::History, Kind::Look, "history", "what happened: decisions and commands"),
    b(&[c('l')], Act::Log, Kind::Look, "log", "the whole log"),
    b(
        &[c('d')],
        Act::DeadLetters,
        Kind::Look,
        "",
        "dead letters of the lane in focus: records that could not be moved",
    ),
    b(&[c('u')], Act::Differences, Kind::Look, "", "what is unequal in the lane in focus, both sides field by field"),
    b(&[c('w')], Act::Window, Kind::Look, "", "the charts' time window: 2, 5, 10, 20 minutes"),
    b(&[c('y')], Act::Copy, Kind::Look, "", "copy the selected line (OSC 52)"),
    b(&[k(KeyCode::Up), c('k')], Act::Up, Kind::Look, "", "up"),
    b(&[k(KeyCode::Down), c('j')], Act::Down, Kind::Look, "", "down"),
    b(&[k(KeyCode::PageUp)], Act::PageUp, Kind::Look, "", "a page up"),
    b(&[k(KeyCode::PageDown)], Act::PageDown, Kind::Look, "", "a page down"),
    b(&[k(KeyCode::Home)], Act::First, Kind::Look, "", "to the first"),
    b(&[k(KeyCode::End)], Act::Last, Kind::Look, "", "to the last"),
    b(&[c('1')], Act::Pane(1), Kind::Look, "", "phases"),
    b(&[c('2')], Act::Pane(2), Kind::Look, "", "lanes and batches"),
    b(&[c('3')], Act::Pane(3), Kind::Look, "", "error rate"),
    b(&[c('4')], Act::Pane(4), Kind::Look, "", "p95 latency"),
    b(&[c('5')], Act::Pane(5), Kind::Look, "", "alerts"),
    b(&[c('6')], Act::Pane(6), Kind::Look, "", "log"),
    b(&[ctrl('l')], Act::Redraw, Kind::Screen, "", "redraw the screen"),
    b(&[ctrl('z')], Act::Suspend, Kind::Screen, "", "suspend this program; the run stands still until `fg`"),
    b(&[c('Q')], Act::LeaveFrame, Kind::Screen, "", "leave the screen and keep this picture in the scrollback"),
    b(&[c('q'), ctrl('c')], Act::Leave, Kind::Screen, "leave", "leave the screen; the run goes on in plain mode"),
];

/// The keys in the gate's list and in dialogs, for the help. Their handling is in `overlays`.
pub(crate) const ELSEWHERE: &[(Place, &[Chord], &str)] = &[
    (Place::Gate, &[k(KeyCode::Tab)], "to the field for GO"),
    (Place::Gate, &[c('N')], "no-go: asks for a reason"),
    (Place::Gate, &[c('W')], "waive the selected check: asks for a reason"),
    (Place::Gate, &[c('T')], "arm steering"),
    (Place::Lane, &[c('+'), c('-'), c('L')], "at once, limits: as on the board"),
    (Place::Lane, &[k(KeyCode::Enter)], "to its batches: the board, filtered"),
    (Place::Lane, &[c('d'), c('u')], "its dead letters, its differences"),
    (Place::Batch, &[c('R')], "open its failed files again (asks; lock)"),
    (Place::Batch, &[c('X')], "leave the selected file out (asks for a reason; lock)"),
    (Place::Batch, &[k(KeyCode::PageDown), k(KeyCode::PageUp)], "next, previous page of the ledger"),
    (Place::Letters, &[k(KeyCode::Enter)], "the record, field by field, as the source had it"),
    (Place::Letters, &[c('R')], "move this one, or all of the lane, again (asks; lock)"),
    (Place::Letters, &[c('D')], "take the legacy record or keep the new one, where both stood before (asks; lock)"),
    (Place::Letters, &[c('X')], "leave this record out (asks for a reason; lock)"),
    (Place::Letters, &[c('x')], "write all of the lane into a file of the run's folder"),
    (Place::Letters, &[k(KeyCode::Tab), k(KeyCode::BackTab)], "next, previous lane of records"),
    (Place::Letters, &[k(KeyCode::PageDown), k(KeyCode::PageUp)], "next, previous page of the ledger"),
    (Place::Differences, &[k(KeyCode::Enter)], "both sides, field by field; r reads them again"),
    (Place::Differences, &[c('R')], "repair this one, or all of its class: says first what would be done (lock)"),
    (Place::Differences, &[c('V')], "compare both sides now and keep every difference (asks; lock)"),
    (Place::Differences, &[c('c')], "only one class: different, moving, missing, extra; then all"),
    (Place::Differences, &[k(KeyCode::Tab), k(KeyCode::BackTab)], "next, previous lane of records"),
    (Place::Differences, &[k(KeyCode::PageDown), k(KeyCode::PageUp)], "next, previous page of the ledger"),
    (Place::Filter, &[k(KeyCode::Enter)], "keep the filter"),
    (Place::Filter, &[k(KeyCode::Esc)], "show everything again"),
    (Place::Dialog, &[k(KeyCode::Esc)], "leave everything as it is"),
    (Place::Dialog, &[k(KeyCode::Tab), k(KeyCode::BackTab)], "next, previous field"),
    (Place::Dialog, &[k(KeyCode::Left), k(KeyCode::Up), k(KeyCode::Right), k(KeyCode::Down)], "choose"),
    (Place::Dialog, &[k(KeyCode::Enter)], "do what is chosen, once the dialog is armed (0.6 s)"),
];

/// What this key does on the board.
pub(crate) fn binding(key: &KeyEvent) -> Option<&'static Binding> {
    let chord = Chord::of(key)?;
    BOARD.iter().find(|binding| binding.keys.contains(&chord))
}

/// The binding of an act.
pub(crate) fn of(act: Act) -> Option<&'static Binding> {
    BOARD.iter().find(|binding| binding.act == act)
}

/// A letter of the gate's list.
pub(crate) fn is_char(key: &KeyEvent, wanted: char) -> bool {
    Chord::of(key) == Some(c(wanted))
}

#[cfg(test)]
mod tests {
    use super::{Act, BOARD, ELSEWHERE, Kind, Place, binding};
    use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
    use std::collections::HashSet;

    #[test]
    fn no_two_bindings_share_a_key() {
        let mut seen = HashSet::new();
        for chord in BOARD.iter().flat_map(|b| b.keys) {
            assert!(seen.insert(chord), "{} is bound twice", chord.name());
        }
        for place in
            [Place::Gate, Place::Lane, Place::Batch, Place::Letters, Place::Differences, Place::Filter, Place::Dialog]
        {
            let mut seen = HashSet::new();
            for chord in ELSEWHERE.iter().filter(|(p, ..)| *p == place).flat_map(|(_, keys, _)| *keys) {
                assert!(seen.insert(chord), "{} is bound twice in {place:?}", chord.name());
            }
        }
    }

    #[test]
    fn lower_case_keys_only_look_or_leave() {
        for b in BOARD {
            for chord in b.keys {
                if let KeyCode::Char(c) = chord.code
                    && (c.is_lowercase() || c.is_ascii_digit())
                {
                    assert!(matches!(b.kind, Kind::Look | Kind::Screen), "{} changes the run", chord.name());
                }
            }
        }
    }

    #[test]
    fn shift_and_control_are_understood_as_terminals_send_them() {
        let act = |code, modifiers| binding(&KeyEvent::new(code, modifiers)).map(|b| b.act);
        assert_eq!(act(KeyCode::Char('P'), KeyModifiers::NONE), Some(Act::Pause));
        assert_eq!(act(KeyCode::Char('P'), KeyModifiers::SHIFT), Some(Act::Pause));
        assert_eq!(act(KeyCode::Char('p'), KeyModifiers::CONTROL), Some(Act::Palette));
        assert_eq!(act(KeyCode::Char('p'), KeyModifiers::NONE), None);
        assert_eq!(act(KeyCode::Char('P'), KeyModifiers::ALT), None);
        assert_eq!(act(KeyCode::Char('c'), KeyModifiers::CONTROL), Some(Act::Leave));
    }
}
