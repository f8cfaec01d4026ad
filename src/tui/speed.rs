//! A lane's limits as a person types and reads them: `10MiB/s`, `50 req/s`, `500 rows/s`, two of them, or `off`. Pure.

use crate::model::Limits;

const UNITS: [(&str, u64); 8] = [
    ("b", 1),
    ("kb", 1000),
    ("mb", 1_000_000),
    ("gb", 1_000_000_000),
    ("kib", 1 << 10),
    ("mib", 1 << 20),
    ("gib", 1 << 30),
    ("tib", 1 << 40),
];

const REQUESTS: [&str; 4] = ["r", "req", "request", "requests"];
const ROWS: [&str; 4] = ["row", "rows", "record", "records"];

/// What was typed. What is not said is not limited.
///
/// # Errors
/// What is wrong with it, for the dialog.
pub(crate) fn parse(text: &str) -> Result<Limits, String> {
    let text: String = text.to_lowercase().split_whitespace().collect();
    if text.is_empty() {
        return Err("type 10MiB/s, 50 req/s (files), 500 rows/s (records), or off".into());
    }
    if text == "off" {
        return Ok(Limits::default());
    }
    let mut limits = Limits::default();
    for part in text.split([',', '+']) {
        let Some(speed) = part.strip_suffix("/s") else { return Err(format!("`{part}` must end in /s")) };
        let (number, unit) = speed.split_at(speed.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(speed.len()));
        let place = match unit {
            unit if REQUESTS.contains(&unit) => &mut limits.requests_per_s,
            unit if ROWS.contains(&unit) => &mut limits.rows_per_s,
            _ => &mut limits.bytes_per_s,
        };
        if place.is_some() {
            return Err("one limit of a kind".into());
        }
        *place = Some(amount(number, unit)?);
    }
    Ok(limits)
}

fn amount(number: &str, unit: &str) -> Result<u64, String> {
    let factor = if REQUESTS.contains(&unit) || ROWS.contains(&unit) {
        1
    } else {
        let known = UNITS.iter().find_map(|(name, factor)| (*name == unit).then_some(*factor));
        known.ok_or_else(|| format!("`{unit}` is no unit: KiB, MiB, GiB, MB, req or rows"))?
    };
    let number: f64 = number.parse().map_err(|_| format!("`{number}` is no number"))?;
    #[expect(clippy::cast_precision_loss, reason = "units are far below 2^53")]
    let amount = number * factor as f64;
    if !(1.0..1e15).contains(&amount) {
        return Err("at least 1 per second; P pauses".into());
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the range was checked")]
    let amount = amount as u64;
    Ok(amount)
}

/// The limits in words.
pub(crate) fn words(limits: &Limits) -> String {
    let bytes = limits.bytes_per_s.map(|n| match n {
        0..1024 => format!("{n} B/s"),
        1024..1_048_576 => format!("{} KiB/s", trimmed(n, 1024)),
        _ => format!("{} MiB/s", trimmed(n, 1 << 20)),
    });
    let requests = limits.requests_per_s.map(|n| format!("{n} req/s"));
    let rows = limits.rows_per_s.map(|n| format!("{n} rows/s"));
    let said: Vec<String> = bytes.into_iter().chain(requests).chain(rows).collect();
    if said.is_empty() { "none".into() } else { said.join(", ") }
}

#[expect(clippy::cast_precision_loss, reason = "one digit is shown")]
fn trimmed(n: u64, unit: u64) -> String {
    if n.is_multiple_of(unit) { (n / unit).to_string() } else { format!("{:.1}", n as f64 / unit as f64) }
}

#[cfg(test)]
mod tests {
    use super::{parse, words};
    use crate::model::Limits;

    #[test]
    fn limits_are_read_as_people_type_them() {
        let limits = |bytes, requests| Ok(Limits { bytes_per_s: bytes, requests_per_s: requests, rows_per_s: None });
        assert_eq!(parse("10MiB/s"), limits(Some(10 << 20), None));
        assert_eq!(parse("50 req/s"), limits(None, Some(50)));
        assert_eq!(parse(" 1.5 MB/s, 20 requests/s "), limits(Some(1_500_000), Some(20)));
        assert_eq!(parse("off"), limits(None, None));
        let rows = Limits { bytes_per_s: Some(1 << 20), rows_per_s: Some(500), ..Limits::default() };
        assert_eq!(parse("500 rows/s, 1MiB/s"), Ok(rows));
        for wrong in ["", "10", "10MiB", "x/s", "0 req/s", "5 apples/s", "1MB/s, 2MB/s", "-1 req/s", "nan req/s"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn limits_are_said_as_they_are_typed() {
        for text in ["10 MiB/s, 50 req/s", "512 KiB/s", "7 req/s", "1 MiB/s, 500 rows/s"] {
            assert_eq!(words(&parse(text).unwrap()), text);
        }
        assert_eq!(words(&Limits::default()), "none");
    }
}
