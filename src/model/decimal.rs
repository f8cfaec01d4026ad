//! A decimal number of any length, exactly as it was said. Must never enter: arithmetic, binary floating point.

use std::fmt;

/// Digits at most, before and behind the point together: more than any store keeps (`PostgreSQL`: 131,072 + 16,383), and
/// little enough that a hostile exponent costs nothing.
const LONGEST: usize = 150_000;

/// A decimal number in its one canonical text: no exponent, no plus, no zeros at either end that say nothing, no
/// negative zero. Two decimals are the same number exactly if their texts are equal.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Decimal(String);

impl Decimal {
    /// The number that this text says (`-12`, `1.50`, `+3e-4`); `None` for any other text, and for `NaN` and infinities.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if is_canonical(text) {
            return Some(Self(text.to_owned()));
        }
        let (negative, rest) = match text.as_bytes().first()? {
            b'-' => (true, &text[1..]),
            b'+' => (false, &text[1..]),
            _ => (false, text),
        };
        let (mantissa, exponent) = match rest.find(['e', 'E']) {
            Some(at) => (&rest[..at], rest[at + 1..].parse::<i64>().ok()?),
            None => (rest, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty() && fraction.is_empty() || !digits(whole) || !digits(fraction) {
            return None;
        }
        let all = format!("{whole}{fraction}");
        let digits = all.trim_start_matches('0');
        if digits.is_empty() {
            return Some(Self("0".into()));
        }
        // Where the point stands, counted from the first digit that says something.
        let point = i64::try_from(whole.len()).ok()? - i64::try_from(all.len() - digits.len()).ok()?;
        let point = point.checked_add(exponent)?;
        let digits = digits.trim_end_matches('0');
        let length = i64::try_from(digits.len()).ok()?;
        if point.unsigned_abs() > LONGEST as u64 || digits.len() > LONGEST {
            return None;
        }
        let zeros = |count: i64| "0".repeat(usize::try_from(count).unwrap_or_default());
        let number = if point <= 0 {
            format!("0.{}{digits}", zeros(-point))
        } else if point >= length {
            format!("{digits}{}", zeros(point - length))
        } else {
            let (whole, fraction) = digits.split_at(usize::try_from(point).unwrap_or_default());
            format!("{whole}.{fraction}")
        };
        Some(Self(if negative { format!("-{number}") } else { number }))
    }

    /// The canonical text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Digits before and behind the point.
    #[must_use]
    pub fn widths(&self) -> (usize, usize) {
        let number = self.0.trim_start_matches('-');
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        (if whole == "0" { 0 } else { whole.len() }, fraction.len())
    }
}

/// Most numbers are said in their canonical text.
fn is_canonical(text: &str) -> bool {
    let number = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = number.split_once('.').map_or((number, None), |(whole, part)| (whole, Some(part)));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let plain = digits(whole) && (whole == "0" || !whole.starts_with('0')) && text.len() <= LONGEST;
    plain && fraction.map_or(text != "-0", |part| digits(part) && !part.ends_with('0'))
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_text_for_one_number() {
        for (said, meant) in [
            ("0", "0"),
            ("-0.00", "0"),
            ("+007", "7"),
            ("1.50", "1.5"),
            ("-12.0e1", "-120"),
            ("1.5E-3", "0.0015"),
            (".5", "0.5"),
            ("5.", "5"),
            ("123456789012345678901234567890.123456789", "123456789012345678901234567890.123456789"),
        ] {
            assert_eq!(Decimal::parse(said).unwrap().as_str(), meant, "{said}");
            assert_eq!(Decimal::parse(meant).unwrap().as_str(), meant, "{meant}");
        }
        for wrong in ["", "-", ".", "1e", "e5", "1_0", "NaN", "Infinity", "1e999999999999", "0x1", " 1"] {
            assert_eq!(Decimal::parse(wrong), None, "{wrong}");
        }
        assert_eq!(Decimal::parse("-12.345").unwrap().widths(), (2, 3));
        assert_eq!(Decimal::parse("0.05").unwrap().widths(), (0, 2));
    }
}
