//! The signs of the console in two sets: `unicode` (each one cell wide, none an emoji) and `ascii` (borders included).
//! A sign never stands alone: the word beside it says the same.

use ratatui::symbols::border;

/// Which set is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum GlyphChoice {
    /// Unicode where the locale is UTF-8, else ASCII.
    #[default]
    Auto,
    /// Unicode.
    Unicode,
    /// Only bytes below 0x80.
    Ascii,
}

/// A set of signs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Glyphs {
    pub(crate) ascii: bool,
    pub(crate) ok: &'static str,
    pub(crate) active: &'static str,
    pub(crate) wait: &'static str,
    pub(crate) warn: &'static str,
    pub(crate) crit: &'static str,
    pub(crate) unknown: &'static str,
    pub(crate) pending: &'static str,
    pub(crate) off: &'static str,
    pub(crate) undone: &'static str,
    pub(crate) info: &'static str,
    pub(crate) live: &'static str,
    pub(crate) cursor: &'static str,
    pub(crate) bar: &'static str,
    pub(crate) rest: &'static str,
    pub(crate) sparks: [&'static str; 8],
    pub(crate) limit: &'static str,
    pub(crate) axis: &'static str,
    pub(crate) tick: &'static str,
    pub(crate) ground: &'static str,
    pub(crate) cut: &'static str,
    pub(crate) differs: &'static str,
    pub(crate) sent: &'static str,
    pub(crate) border: border::Set<'static>,
}

const UNICODE: Glyphs = Glyphs {
    ascii: false,
    ok: "✓",
    active: "►",
    wait: "◷",
    warn: "▲",
    crit: "✗",
    unknown: "?",
    pending: "○",
    off: "-",
    undone: "◄",
    info: "i",
    live: "●",
    cursor: ">",
    bar: "█",
    rest: "░",
    sparks: ["▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"],
    limit: "╌",
    axis: "┤",
    tick: "┼",
    ground: "─",
    cut: "…",
    differs: "≠",
    sent: "…",
    border: border::PLAIN,
};

const ASCII: Glyphs = Glyphs {
    ascii: true,
    ok: "v",
    active: ">",
    wait: "~",
    warn: "!",
    crit: "X",
    unknown: "?",
    pending: ".",
    off: "-",
    undone: "<",
    info: "i",
    live: "*",
    cursor: ">",
    bar: "#",
    rest: ".",
    sparks: ["_", ".", ",", "-", "=", "+", "*", "#"],
    limit: "-",
    axis: "|",
    tick: "+",
    ground: "-",
    cut: "~",
    differs: "!=",
    sent: "..",
    border: border::Set {
        top_left: "+",
        top_right: "+",
        bottom_left: "+",
        bottom_right: "+",
        vertical_left: "|",
        vertical_right: "|",
        horizontal_top: "-",
        horizontal_bottom: "-",
    },
};

impl Glyphs {
    /// The set for this choice; `utf8` says what the locale can show.
    pub(crate) const fn choose(choice: GlyphChoice, utf8: bool) -> Self {
        match (choice, utf8) {
            (GlyphChoice::Unicode, _) | (GlyphChoice::Auto, true) => UNICODE,
            (GlyphChoice::Ascii, _) | (GlyphChoice::Auto, false) => ASCII,
        }
    }

    /// Whether the locale says UTF-8 (`LC_ALL`, `LC_CTYPE`, `LANG`, the first that is set).
    pub(crate) fn locale_is_utf8() -> bool {
        ["LC_ALL", "LC_CTYPE", "LANG"]
            .iter()
            .find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
            .is_some_and(|value| {
                let value = value.to_ascii_lowercase();
                value.contains("utf-8") || value.contains("utf8")
            })
    }
}

#[cfg(test)]
mod tests {
    use super::{ASCII, UNICODE};
    use unicode_width::UnicodeWidthStr;

    #[test]
    fn signs_are_one_cell_wide() {
        let signs = |g: &super::Glyphs| {
            let mut all = vec![
                g.ok,
                g.active,
                g.wait,
                g.warn,
                g.crit,
                g.unknown,
                g.pending,
                g.off,
                g.undone,
                g.info,
                g.live,
                g.cursor,
                g.bar,
                g.rest,
                g.limit,
                g.axis,
                g.tick,
                g.ground,
                g.cut,
                g.border.top_left,
                g.border.vertical_left,
            ];
            all.extend(g.sparks);
            all
        };
        for sign in signs(&UNICODE).into_iter().chain(signs(&ASCII)) {
            assert_eq!(sign.width(), 1, "{sign}");
        }
        assert!(signs(&ASCII).iter().all(|sign| sign.is_ascii()) && ASCII.differs.is_ascii() && ASCII.sent.is_ascii());
    }
}
