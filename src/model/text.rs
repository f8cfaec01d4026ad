//! Text from outside made safe to show.

/// The text without anything a terminal could act on: control characters (C0, DEL, C1) become `·`, line breaks and
/// tabs a space, bidirectional overrides and zero-width characters vanish; at most `max` characters, cut with `…`.
#[must_use]
pub fn clean(text: &str, max: usize) -> String {
    let mut out = String::with_capacity(text.len().min(max * 4));
    for (count, c) in text.chars().filter(|c| !is_invisible(*c)).enumerate() {
        if count == max {
            out.pop();
            out.push('…');
            break;
        }
        out.push(match c {
            '\n' | '\r' | '\t' => ' ',
            c if c.is_control() => '·',
            c => c,
        });
    }
    out
}

const fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::clean;

    #[test]
    fn hostile_bytes_are_defused() {
        assert_eq!(clean("a\x1b[31mb\u{9b}c\nd\u{202e}e", 80), "a·[31mb·c de");
        assert_eq!(clean("abcdef", 4), "abc…");
        assert_eq!(clean("abcd", 4), "abcd");
    }
}
