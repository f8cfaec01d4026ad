//! Times as the plan writes them: `500ms`, `30s`, `5m`, `1h30m`. Pure text; knows nothing of plans.

use std::{fmt::Write as _, time::Duration};

/// Units from the longest to the shortest, in milliseconds.
const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

/// The time this text stands for; `None` if it is not one or counts more than a thousand days.
#[must_use]
pub fn parse(text: &str) -> Option<Duration> {
    const LONGEST: u64 = 1000 * 86_400_000;
    let mut rest = text.trim();
    let mut millis: u64 = 0;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let (number, tail) = rest.split_at(digits);
        let word = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(word);
        let (_, factor) = UNITS.iter().find(|(name, _)| *name == unit.trim())?;
        millis = number.parse::<u64>().ok()?.checked_mul(*factor)?.checked_add(millis)?;
        rest = tail;
    }
    (millis <= LONGEST).then(|| Duration::from_millis(millis))
}

/// The time as the plan would write it.
#[must_use]
pub fn format(time: Duration) -> String {
    let mut millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    if millis == 0 {
        return "0s".into();
    }
    let mut out = String::new();
    for (unit, factor) in UNITS {
        let count = millis / factor;
        if count > 0 {
            let _infallible = write!(out, "{count}{unit}");
            millis %= factor;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{format, parse};
    use std::time::Duration;

    #[test]
    fn times_are_numbers_with_units() {
        for (text, millis) in [
            ("0s", Some(0)),
            ("500ms", Some(500)),
            ("30s", Some(30_000)),
            ("5m", Some(300_000)),
            ("1h30m", Some(5_400_000)),
            (" 2 m ", Some(120_000)),
            ("1d", Some(86_400_000)),
            ("", None),
            ("30", None),
            ("s", None),
            ("-1s", None),
            ("1.5s", None),
            ("5 minutes", None),
            ("99999999999999999999s", None),
            ("9999999d", None),
        ] {
            assert_eq!(parse(text), millis.map(Duration::from_millis), "{text:?}");
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        for millis in [0, 1, 999, 1000, 61_000, 5_400_000, 90_061_001] {
            let time = Duration::from_millis(millis);
            assert_eq!(parse(&format(time)), Some(time));
        }
    }
}
