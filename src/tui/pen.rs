//! The pen: text into cells. Everything that is drawn goes through it, so remote text is cleaned, cut by cell width and,
//! in the ASCII set, mapped below 0x80. Knows roles and signs, never what is being said.

use super::{
    glyphs::Glyphs,
    theme::{Role, Theme},
};
use crate::model::text;
use ratatui::{
    buffer::Buffer,
    layout::Rect,
    style::Style,
    text::{Line, Span},
    widgets::{Block, Clear, Widget},
};
use unicode_width::UnicodeWidthChar;

/// Longest text taken from outside before it is cut to its place.
const LONGEST: usize = 2000;

/// Theme and signs.
#[derive(Debug, Clone)]
pub(crate) struct Pen {
    pub(crate) theme: Theme,
    pub(crate) glyphs: Glyphs,
}

impl Pen {
    pub(crate) const fn style(&self, role: Role) -> Style {
        self.theme.style(role)
    }

    /// A span of this role; the text is cleaned.
    pub(crate) fn span(&self, role: Role, text: impl AsRef<str>) -> Span<'static> {
        Span::styled(self.clean(text.as_ref()), self.style(role))
    }

    /// The text exactly `width` cells wide, cut with a sign if it is longer.
    pub(crate) fn fit(&self, text: &str, width: usize) -> String {
        let mut out = self.cut(text, width);
        let used = cells(&out);
        out.extend(std::iter::repeat_n(' ', width.saturating_sub(used)));
        out
    }

    /// The text at the right end of `width` cells.
    pub(crate) fn right(&self, text: &str, width: usize) -> String {
        let cut = self.cut(text, width);
        let mut out = " ".repeat(width.saturating_sub(cells(&cut)));
        out.push_str(&cut);
        out
    }

    /// The text at most `width` cells wide.
    pub(crate) fn cut(&self, text: &str, width: usize) -> String {
        let text = self.clean(text);
        if cells(&text) <= width {
            return text;
        }
        let (mut out, mut used) = (String::new(), 0);
        for c in text.chars() {
            let wide = c.width().unwrap_or(0);
            if used + wide + 1 > width {
                break;
            }
            out.push(c);
            used += wide;
        }
        if width > 0 {
            out.push_str(self.glyphs.cut);
        }
        out
    }

    /// The text in lines of at most `width` cells, broken at spaces where there are some; at most `most` lines.
    pub(crate) fn wrap(&self, text: &str, width: usize, most: usize) -> Vec<String> {
        let text = self.clean(text);
        let (mut lines, mut line) = (Vec::new(), String::new());
        for word in text.split(' ') {
            let room = width.saturating_sub(cells(&line) + usize::from(!line.is_empty()));
            if cells(word) > room && !line.is_empty() {
                lines.push(std::mem::take(&mut line));
            }
            if lines.len() >= most {
                break;
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(&self.cut(word, width));
        }
        if !line.is_empty() && lines.len() < most {
            lines.push(line);
        }
        lines
    }

    /// A gauge of `width` cells.
    pub(crate) fn gauge(&self, ratio: f64, width: usize) -> String {
        let full = scaled(ratio, width);
        format!("{}{}", self.glyphs.bar.repeat(full), self.glyphs.rest.repeat(width - full))
    }

    /// A frame with a title on the left and one on the right.
    pub(crate) fn frame(&self, title: Vec<Span<'static>>, right: Vec<Span<'static>>, focused: bool) -> Block<'static> {
        let role = if focused { Role::Focused } else { Role::Border };
        let mut block = Block::bordered().border_set(self.glyphs.border).border_style(self.style(role));
        if !title.is_empty() {
            block = block.title_top(padded(title));
        }
        if !right.is_empty() {
            block = block.title_top(padded(right).right_aligned());
        }
        block
    }

    pub(crate) fn clean(&self, text: &str) -> String {
        let clean = text::clean(text, LONGEST);
        if !self.glyphs.ascii || clean.is_ascii() {
            return clean;
        }
        clean
            .chars()
            .map(|c| match c {
                c if c.is_ascii() => c,
                '…' => '~',
                '·' => '.',
                _ => '?',
            })
            .collect()
    }
}

/// Empties an area and draws a frame around it; the room inside is returned.
pub(crate) fn window(buf: &mut Buffer, area: Rect, block: Block<'_>) -> Rect {
    let area = area.intersection(buf.area);
    Clear.render(area, buf);
    let inner = block.inner(area);
    block.render(area, buf);
    inner
}

/// Writes a line into row `row` of `area`, if that row exists.
pub(crate) fn put(buf: &mut Buffer, area: Rect, row: u16, spans: Vec<Span<'static>>) {
    put_at(buf, area, 0, row, spans);
}

/// Writes a line into row `row` of `area` from column `column` on, if that place exists.
pub(crate) fn put_at(buf: &mut Buffer, area: Rect, column: u16, row: u16, spans: Vec<Span<'static>>) {
    let area = area.intersection(buf.area);
    if row < area.height && column < area.width {
        buf.set_line(area.x + column, area.y + row, &Line::from(spans), area.width - column);
    }
}

/// Writes a line at the right end of row `row` of `area`.
pub(crate) fn put_right(buf: &mut Buffer, area: Rect, row: u16, spans: Vec<Span<'static>>) {
    let width = u16::try_from(spans.iter().map(Span::width).sum::<usize>()).unwrap_or(u16::MAX);
    put_at(buf, area, area.width.saturating_sub(width), row, spans);
}

/// Paints row `row` of `area` as selected.
pub(crate) fn mark(buf: &mut Buffer, area: Rect, row: u16, style: Style) {
    if row < area.height {
        buf.set_style(Rect { y: area.y + row, height: 1, ..area }.intersection(buf.area), style);
    }
}

/// Width of a text in cells.
pub(crate) fn cells(text: &str) -> usize {
    unicode_width::UnicodeWidthStr::width(text)
}

/// How many of `width` cells a ratio fills: all of them only at 1.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "clamped")]
pub(crate) fn scaled(ratio: f64, width: usize) -> usize {
    if ratio.is_nan() { 0 } else { ((ratio.clamp(0.0, 1.0) * width as f64) as usize).min(width) }
}

fn padded(mut spans: Vec<Span<'static>>) -> Line<'static> {
    spans.insert(0, Span::raw(" "));
    spans.push(Span::raw(" "));
    Line::from(spans)
}

#[cfg(test)]
mod tests {
    use super::{Pen, cells};
    use crate::tui::{
        glyphs::{GlyphChoice, Glyphs},
        theme::{Depth, Theme, ThemeChoice},
    };

    fn pen(ascii: bool) -> Pen {
        let choice = if ascii { GlyphChoice::Ascii } else { GlyphChoice::Unicode };
        Pen { theme: Theme::choose(ThemeChoice::Dark, Depth::True), glyphs: Glyphs::choose(choice, true) }
    }

    #[test]
    fn text_is_cleaned_and_cut_by_cells() {
        let pen = pen(false);
        assert_eq!(pen.fit("ab\x1b[1m", 10), "ab·[1m    ");
        assert_eq!(pen.fit("abcdef", 4), "abc…");
        assert_eq!(cells(&pen.fit("漢字漢字", 5)), 5);
        assert_eq!(pen.right("7", 3), "  7");
        assert_eq!(pen.fit("abc", 0), "");
        assert_eq!(pen.gauge(0.999, 10), "█████████░");
    }

    #[test]
    fn ascii_stays_below_0x80() {
        let pen = pen(true);
        assert!(pen.fit("漢字 … ·", 20).is_ascii() && pen.gauge(0.4, 9).is_ascii());
    }

    #[test]
    fn wrapping_breaks_at_spaces() {
        assert_eq!(pen(false).wrap("one two three four", 9, 5), ["one two", "three", "four"]);
        assert_eq!(pen(false).wrap("one two three four", 9, 2), ["one two", "three"]);
    }
}
