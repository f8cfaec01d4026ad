//! Standard output and standard error. A reader that went away (`| head`) is no reason to stop a run: what cannot be
//! written is dropped.

use serde::Serialize;
use std::io::{self, Write as _};

/// One line on standard output.
pub(super) fn out(line: impl AsRef<str>) {
    let mut stdout = io::stdout().lock();
    let _reader_gone = writeln!(stdout, "{}", line.as_ref()).and_then(|()| stdout.flush());
}

/// Several lines on standard output, each with its end; false once the reader went away, so that a long list can stop.
pub(super) fn lines(text: &str) -> bool {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).is_ok()
}

/// A line on standard error that replaces the one before.
pub(super) fn replace(line: &str) {
    let _reader_gone = write!(io::stderr().lock(), "\r\x1b[2K{line}");
}

/// The word that a state or a verdict has in JSON.
pub(super) fn word<T: Serialize>(value: &T) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        _ => String::new(),
    }
}

/// A number of bytes as a person reads it.
pub(super) fn in_bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let unit = (0..UNITS.len()).rev().find(|unit| bytes >> (10 * unit) > 0).unwrap_or(0);
    let whole = bytes >> (10 * unit);
    if unit == 0 || whole >= 100 || bytes == whole << (10 * unit) {
        return format!("{whole} {}", UNITS[unit]);
    }
    let tenths = ((bytes - (whole << (10 * unit))) * 10) >> (10 * unit);
    format!("{whole}.{tenths} {}", UNITS[unit])
}

/// One line on standard error.
pub(super) fn err(line: impl AsRef<str>) {
    let _reader_gone = writeln!(io::stderr().lock(), "{}", line.as_ref());
}

/// Asks a person a question with yes or no; anything but a yes is a no.
pub(super) fn ask(question: &str) -> bool {
    let mut stdout = io::stdout().lock();
    let _reader_gone = write!(stdout, "{question} [y/N] ").and_then(|()| stdout.flush());
    let mut answer = String::new();
    io::stdin().read_line(&mut answer).is_ok_and(|_| matches!(answer.trim(), "y" | "Y" | "yes" | "Yes"))
}

#[cfg(test)]
mod tests {
    use super::in_bytes;

    #[test]
    fn bytes_are_told_in_the_largest_unit_that_fits() {
        for (bytes, told) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1 KiB"),
            (1536, "1.5 KiB"),
            (16 << 20, "16 MiB"),
            (u64::MAX, "16777215 TiB"),
        ] {
            assert_eq!(in_bytes(bytes), told);
        }
    }
}
