//! Numbers of bytes as the plan writes them: `64KiB`, `16MiB`, `5GiB`. Pure text; knows nothing of plans.

/// Units from the longest to the shortest.
const UNITS: [(&str, u64); 3] = [("GiB", 1024 * 1024 * 1024), ("MiB", 1024 * 1024), ("KiB", 1024)];

/// The bytes this text stands for; `None` if it is no whole number with a unit.
pub(super) fn parse(text: &str) -> Option<u64> {
    let text = text.trim();
    let (unit, factor) = UNITS.iter().find(|(unit, _)| text.ends_with(unit))?;
    let number = text.strip_suffix(unit)?.trim_end();
    let digits = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| number.parse::<u64>().ok()?.checked_mul(*factor)).flatten()
}

/// The bytes as the plan would write them; of less than a whole KiB nothing is said.
pub(super) fn format(bytes: u64) -> String {
    let whole = UNITS.iter().find(|(_, factor)| bytes >= *factor && bytes.is_multiple_of(*factor));
    let (unit, factor) = whole.unwrap_or(&UNITS[2]);
    format!("{}{unit}", bytes / factor)
}

#[cfg(test)]
mod tests {
    use super::{format, parse};

    #[test]
    fn bytes_are_numbers_with_units() {
        for (text, bytes) in [
            ("64KiB", Some(65_536)),
            ("16MiB", Some(16_777_216)),
            (" 5 GiB ", Some(5_368_709_120)),
            ("0KiB", Some(0)),
            ("1024", None),
            ("MiB", None),
            ("16MB", None),
            ("16mib", None),
            ("1.5GiB", None),
            ("-1KiB", None),
            ("+1KiB", None),
            ("1GiB1MiB", None),
            ("99999999999999999999GiB", None),
            ("99999999999GiB", None),
            ("", None),
        ] {
            assert_eq!(parse(text), bytes, "{text:?}");
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        for bytes in [0, 1024, 65_536, 1_048_576, 1_049_600, 5_368_709_120] {
            assert_eq!(parse(&format(bytes)), Some(bytes));
        }
    }
}
