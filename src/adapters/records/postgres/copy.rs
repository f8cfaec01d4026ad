//! The text form of `COPY`: rows by lines, columns by tabs, `\N` for null.

use std::borrow::Cow;

/// The columns of a line (without its end); `None` for null.
pub(super) fn columns(line: &[u8]) -> impl Iterator<Item = Option<Cow<'_, [u8]>>> {
    line.split(|byte| *byte == b'\t').map(|column| match column {
        b"\\N" => None,
        plain if !plain.contains(&b'\\') => Some(Cow::Borrowed(plain)),
        escaped => Some(Cow::Owned(unescaped(escaped))),
    })
}

fn unescaped(column: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(column.len());
    let mut bytes = column.iter();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'\\' => match bytes.next() {
                Some(b'b') => 8,
                Some(b'f') => 12,
                Some(b'n') => b'\n',
                Some(b'r') => b'\r',
                Some(b't') => b'\t',
                Some(b'v') => 11,
                Some(other) => *other,
                None => b'\\',
            },
            byte => *byte,
        });
    }
    out
}

/// Writes one more column at the end of a line.
pub(super) fn push(out: &mut Vec<u8>, column: Option<&str>) {
    let Some(text) = column else { return out.extend_from_slice(b"\\N") };
    for byte in text.bytes() {
        match byte {
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            byte => out.push(byte),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_survives() {
        let texts = [Some("a\tb\\N\n\r\\.x"), None, Some(""), Some("\\N"), Some("ü\u{8}\u{b}\u{c}")];
        let mut line = Vec::new();
        for (n, text) in texts.iter().enumerate() {
            if n > 0 {
                line.push(b'\t');
            }
            push(&mut line, *text);
        }
        assert!(!line.contains(&b'\n'));
        let read: Vec<_> = columns(&line).map(|c| c.map(|c| String::from_utf8(c.into_owned()).unwrap())).collect();
        assert_eq!(read, texts.map(|text| text.map(ToOwned::to_owned)));
        let read: Vec<_> = columns(b"\\b\\f\\v").collect();
        assert_eq!(read[0].as_deref(), Some(&[8_u8, 12, 11][..]));
    }
}
