//! Which key presses count. Repeats, bursts as a paste makes them, and keys typed blindly while the window comes to the
//! front may look and move, but never change a run. Pure: times are arguments.

use crossterm::event::{KeyCode, KeyEvent, KeyEventKind};
use std::time::Duration;

/// Three keys within this time are a paste or a stuck key, not a person.
pub(crate) const BURST: Duration = Duration::from_millis(30);
/// The same key again within this time is the keyboard's repeat.
const REPEAT: Duration = Duration::from_millis(50);
/// After the window got the focus, keys meant for another window may still arrive.
const FOCUS: Duration = Duration::from_millis(300);

/// What a key press may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Weight {
    /// Everything.
    Full,
    /// Look and move only, and why.
    Light(&'static str),
}

/// Remembers what is needed to judge the next key.
#[derive(Debug, Clone, Default)]
pub(crate) struct Judge {
    last: Option<(KeyCode, Duration)>,
    before: Option<Duration>,
    focused: Option<Duration>,
}

impl Judge {
    /// The window got the focus.
    pub(crate) const fn focus(&mut self, at: Duration) {
        self.focused = Some(at);
    }

    /// Something was pasted: what follows at once belongs to it.
    pub(crate) const fn paste(&mut self, at: Duration) {
        self.before = Some(at);
        self.last = Some((KeyCode::Null, at));
    }

    /// Judges a key pressed at `at` and remembers it.
    pub(crate) fn weigh(&mut self, key: &KeyEvent, at: Duration) -> Weight {
        let since = |then: Duration| at.saturating_sub(then);
        let burst = self.before.is_some_and(|then| since(then) < BURST);
        let repeat = key.kind == KeyEventKind::Repeat
            || self.last.is_some_and(|(code, then)| code == key.code && since(then) < REPEAT);
        let early = self.focused.is_some_and(|then| since(then) < FOCUS);
        self.before = self.last.map(|(_, then)| then);
        self.last = Some((key.code, at));
        if burst {
            Weight::Light("typed faster than a person: pasted?")
        } else if repeat {
            Weight::Light("a repeated key does not count")
        } else if early {
            Weight::Light("the window has only just come to the front")
        } else {
            Weight::Full
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Judge, Weight};
    use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
    use std::time::Duration;

    fn weigh(judge: &mut Judge, c: char, ms: u64) -> bool {
        let key = KeyEvent::new(KeyCode::Char(c), KeyModifiers::NONE);
        judge.weigh(&key, Duration::from_millis(ms)) == Weight::Full
    }

    #[test]
    fn a_burst_does_not_count_from_its_third_key_on() {
        let mut judge = Judge::default();
        let counts: Vec<bool> = [('S', 1000), ('T', 1005), ('O', 1010), ('P', 1015), ('x', 1200)]
            .map(|(c, ms)| weigh(&mut judge, c, ms))
            .into();
        assert_eq!(counts, [true, true, false, false, true]);
    }

    #[test]
    fn repeats_do_not_count_with_or_without_the_terminals_help() {
        let mut judge = Judge::default();
        assert!(weigh(&mut judge, 'P', 1000));
        assert!(!weigh(&mut judge, 'P', 1033));
        assert!(weigh(&mut judge, 'P', 1300));
        let mut key = KeyEvent::new(KeyCode::Enter, KeyModifiers::NONE);
        key.kind = KeyEventKind::Repeat;
        assert_ne!(judge.weigh(&key, Duration::from_secs(9)), Weight::Full);
    }

    #[test]
    fn the_first_moment_in_front_does_not_count() {
        let mut judge = Judge::default();
        judge.focus(Duration::from_secs(5));
        assert!(!weigh(&mut judge, 'P', 5299));
        assert!(weigh(&mut judge, 'G', 5400));
    }

    #[test]
    fn what_follows_a_paste_at_once_belongs_to_it() {
        let mut judge = Judge::default();
        judge.paste(Duration::from_secs(1));
        assert!(!weigh(&mut judge, 'P', 1010));
        assert!(weigh(&mut judge, 'G', 1100));
    }
}
