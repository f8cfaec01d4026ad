//! A few lines on a terminal that are drawn over themselves, without taking the whole screen: what stood above stays in
//! reach. Knows nothing of what the lines say.

use crate::tui;
use std::fmt::Write as _;
use unicode_width::UnicodeWidthChar as _;

/// Where the terminal does not say how large it is.
const USUAL: (usize, usize) = (80, 24);

/// Lines drawn over the ones before.
pub(super) struct InPlace {
    /// How many stand there now.
    drawn: usize,
}

impl InPlace {
    /// Nothing drawn yet.
    pub(super) const fn new() -> Self {
        Self { drawn: 0 }
    }

    /// What to write so that these lines stand where the ones before stood. A line that is wider than the terminal must
    /// not become two, and what is higher than it cannot be drawn over: both are cut.
    pub(super) fn frame(&mut self, lines: &[String]) -> String {
        self.frame_in(lines, tui::size().unwrap_or(USUAL))
    }

    fn frame_in(&mut self, lines: &[String], (cols, rows): (usize, usize)) -> String {
        let room = rows.saturating_sub(2).max(1);
        let mut text = if self.drawn > 0 { format!("\x1b[{}A\x1b[J", self.drawn) } else { String::new() };
        for line in lines.iter().take(room) {
            // The last column is left: some terminals begin a new line as soon as it is written.
            let _infallible = writeln!(text, "{}", cut(line, cols.saturating_sub(1)));
        }
        self.drawn = lines.len().min(room);
        if lines.len() > room {
            let _infallible = writeln!(text, "… and {} more", lines.len() - room);
            self.drawn += 1;
        }
        text
    }
}

/// As much of the line as fits into so many cells.
fn cut(line: &str, cols: usize) -> &str {
    let mut used = 0;
    let end = line.char_indices().find(|(_, letter)| {
        used += letter.width().unwrap_or(0);
        used > cols
    });
    end.map_or(line, |(at, _)| &line[..at])
}

#[cfg(test)]
mod tests {
    use super::InPlace;

    #[test]
    fn draws_over_what_it_drew_and_no_more_than_fits() {
        let lines = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let mut place = InPlace::new();
        assert_eq!(place.frame_in(&lines(&["one", "two"]), (80, 24)), "one\ntwo\n");
        assert_eq!(place.frame_in(&lines(&["漢字漢字", "second"]), (6, 24)), "\x1b[2A\x1b[J漢字\nsecon\n");
        assert_eq!(place.frame_in(&lines(&["a", "b", "c", "d"]), (80, 4)), "\x1b[2A\x1b[Ja\nb\n… and 2 more\n");
        assert_eq!(place.frame_in(&lines(&["a"]), (80, 4)), "\x1b[3A\x1b[Ja\n");
    }
}
