//! Dates and times in the one form in which they travel, and in the forms in which databases write them.

/// A date as its parts; the year as astronomers count it, with a year 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Day {
    year: i64,
    month: u8,
    of_month: u8,
}

impl Day {
    /// A date with at least four digits of a year, a sign before it or not.
    fn parse(text: &str) -> Option<Self> {
        let (sign, rest) = match text.as_bytes().first()? {
            b'-' => (-1, &text[1..]),
            b'+' => (1, &text[1..]),
            _ => (1, text),
        };
        let mut parts = rest.split('-');
        let (year, month, day) = (parts.next()?, parts.next()?, parts.next()?);
        let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        let shape = (4..=9).contains(&year.len()) && month.len() == 2 && day.len() == 2 && parts.next().is_none();
        if !shape || !digits(year) || !digits(month) || !digits(day) {
            return None;
        }
        let date =
            Self { year: sign * year.parse::<i64>().ok()?, month: month.parse().ok()?, of_month: day.parse().ok()? };
        ((1..=12).contains(&date.month) && (1..=date.month_length()).contains(&date.of_month)).then_some(date)
    }

    const fn month_length(self) -> u8 {
        let leap = self.year % 4 == 0 && (self.year % 100 != 0 || self.year % 400 == 0);
        match self.month {
            2 if leap => 29,
            2 => 28,
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        }
    }

    /// ISO 8601.
    fn text(self) -> String {
        let Self { year, month, of_month: day } = self;
        match year {
            0..=9999 => format!("{year:04}-{month:02}-{day:02}"),
            10_000.. => format!("+{year}-{month:02}-{day:02}"),
            _ => format!("-{:04}-{month:02}-{day:02}", -year),
        }
    }

    /// The day so many days later.
    fn moved(self, days: i64) -> Self {
        // Days from the first of March of the year 0, in eras of 400 years, in which the leap day is the last of a year.
        let year = if self.month <= 2 { self.year - 1 } else { self.year };
        let month = (i64::from(self.month) + 9) % 12;
        let number = year * 365 + year.div_euclid(4) - year.div_euclid(100)
            + year.div_euclid(400)
            + (month * 153 + 2) / 5
            + i64::from(self.of_month)
            - 1
            + days;
        let (era, in_era) = (number.div_euclid(146_097), number.rem_euclid(146_097));
        let of_era = (in_era - in_era / 1460 + in_era / 36_524 - in_era / 146_096) / 365;
        let in_year = in_era - (365 * of_era + of_era / 4 - of_era / 100);
        let month = (5 * in_year + 2) / 153;
        let day = in_year - (153 * month + 2) / 5 + 1;
        let (year, month) = if month < 10 { (0, month + 3) } else { (1, month - 9) };
        let small = |number: i64| u8::try_from(number).unwrap_or(1);
        Self { year: era * 400 + of_era + year, month: small(month), of_month: small(day) }
    }
}

/// A time of day: its seconds, and the digits of the fraction without zeros at the end.
fn clock(text: &str) -> Option<(i64, &str)> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let fraction = fraction.trim_end_matches('0');
    let bytes = whole.as_bytes();
    let two = |at: usize| -> Option<i64> { whole.get(at..at + 2)?.parse().ok() };
    let shape =
        bytes.len() == 8 && bytes[2] == b':' && bytes[5] == b':' && bytes.iter().all(|b| b"0123456789:".contains(b));
    if !shape || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let (hours, minutes, seconds) = (two(0)?, two(3)?, two(6)?);
    let last = hours == 24 && minutes == 0 && seconds == 0 && fraction.is_empty();
    ((hours < 24 || last) && minutes < 60 && seconds < 60).then_some((hours * 3600 + minutes * 60 + seconds, fraction))
}

fn clock_text(seconds: i64, fraction: &str) -> String {
    let point = if fraction.is_empty() { "" } else { "." };
    format!("{:02}:{:02}:{:02}{point}{fraction}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

/// No day at all, as databases say it.
fn is_endless(text: &str) -> bool {
    matches!(text, "infinity" | "-infinity")
}

/// The date that this text says, in the form in which it travels.
pub(in super::super) fn date(text: &str) -> Option<String> {
    if is_endless(text) { Some(text.to_owned()) } else { Day::parse(text).map(Day::text) }
}

/// The time of day that this text says.
pub(in super::super) fn time(text: &str) -> Option<String> {
    clock(text).map(|(seconds, fraction)| clock_text(seconds, fraction))
}

/// The day and time that this text says; with `zone` it must say an offset, without it must not.
pub(in super::super) fn timestamp(text: &str, zone: bool) -> Option<String> {
    if is_endless(text) {
        return Some(text.to_owned());
    }
    let at = text.find(['T', ' ', 't'])?;
    let (day, rest) = (Day::parse(&text[..at])?, &text[at + 1..]);
    let end = rest.find(['Z', 'z', '+', '-']).unwrap_or(rest.len());
    let (seconds, fraction) = clock(&rest[..end])?;
    let offset = offset(&rest[end..])?;
    if offset.is_some() != zone {
        return None;
    }
    let seconds = seconds - offset.unwrap_or_default();
    let day = day.moved(seconds.div_euclid(86_400));
    let z = if zone { "Z" } else { "" };
    Some(format!("{}T{}{z}", day.text(), clock_text(seconds.rem_euclid(86_400), fraction)))
}

/// Seconds that a clock is ahead of UTC; `Some(None)` if nothing is said.
#[expect(clippy::option_option, reason = "unreadable and unsaid are two things")]
fn offset(text: &str) -> Option<Option<i64>> {
    let sign = match text.as_bytes().first() {
        None => return Some(None),
        Some(b'Z' | b'z') => return (text.len() == 1).then_some(Some(0)),
        Some(b'-') => -1,
        Some(_) => 1,
    };
    let digits: String = text[1..].chars().filter(|c| *c != ':').collect();
    if !matches!(digits.len(), 2 | 4 | 6) || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let part = |at: usize| digits.get(at..at + 2).map_or(Some(0), |part| part.parse::<i64>().ok());
    Some(Some(sign * (part(0)? * 3600 + part(2)? * 60 + part(4)?)))
}

/// Digits of the fraction of a second that this time has.
pub(in super::super) fn fraction(text: &str) -> usize {
    let digits = text.rsplit_once('.').map_or("", |(_, fraction)| fraction);
    digits.bytes().take_while(u8::is_ascii_digit).count()
}

/// A date, or day and time, as `PostgreSQL` writes it (`0044-03-15 12:00:00+00 BC`), in the form in which it travels.
pub(in super::super) fn from_postgres(text: &str, zone: Option<bool>) -> Option<String> {
    let (text, before) = text.strip_suffix(" BC").map_or((text, false), |text| (text, true));
    let turned = if before {
        let (year, rest) = text.split_once('-')?;
        let year = 1 - year.parse::<i64>().ok()?;
        format!("{}{:04}-{rest}", if year < 0 { "-" } else { "" }, year.abs())
    } else {
        text.to_owned()
    };
    zone.map_or_else(|| date(&turned), |zone| timestamp(&turned, zone))
}

/// A date, or day and time, in the form in which it travels, as `PostgreSQL` reads it.
pub(in super::super) fn to_postgres(text: &str) -> String {
    if is_endless(text) {
        return text.to_owned();
    }
    let at = text.char_indices().skip(1).find(|(_, c)| *c == '-').map_or(text.len(), |(at, _)| at);
    match text[..at].parse::<i64>() {
        Ok(year) if year <= 0 => format!("{:04}{} BC", 1 - year, &text[at..]),
        _ => text.trim_start_matches('+').to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_form_for_one_moment() {
        for (said, zone, meant) in [
            ("2024-02-29T12:00:00Z", true, Some("2024-02-29T12:00:00Z")),
            ("2024-02-29 12:00:00.250000+00", true, Some("2024-02-29T12:00:00.25Z")),
            ("2024-03-01T00:30:00+01:00", true, Some("2024-02-29T23:30:00Z")),
            ("1999-12-31T23:30:00-0130", true, Some("2000-01-01T01:00:00Z")),
            ("+12024-12-31 23:59:59.999999", false, Some("+12024-12-31T23:59:59.999999")),
            ("-0001-01-01T00:00:00+00:01", true, Some("-0002-12-31T23:59:00Z")),
            ("1883-11-18T12:00:00-07:52:58", true, Some("1883-11-18T19:52:58Z")),
            ("2024-02-29T12:00:00", true, None),
            ("2024-02-29T12:00:00Z", false, None),
            ("2023-02-29T12:00:00Z", true, None),
            ("2024-02-29T25:00:00Z", true, None),
            ("yesterday", true, None),
            ("infinity", true, Some("infinity")),
        ] {
            assert_eq!(timestamp(said, zone).as_deref(), meant, "{said}");
        }
        assert_eq!(date("2024-2-9"), None);
        assert_eq!(time("23:59:59.250").as_deref(), Some("23:59:59.25"));
        assert_eq!(time("24:00:00").as_deref(), Some("24:00:00"));
        assert_eq!(fraction("2024-02-29T12:00:00.25Z"), 2);
    }

    #[test]
    fn years_far_away_survive_postgres() {
        for (ours, theirs) in [
            ("-0043-03-15", "0044-03-15 BC"),
            ("0000-12-31", "0001-12-31 BC"),
            ("0001-01-01", "0001-01-01"),
            ("+12024-02-29", "12024-02-29"),
            ("infinity", "infinity"),
        ] {
            assert_eq!(to_postgres(ours), theirs);
            assert_eq!(from_postgres(theirs, None).as_deref(), Some(ours));
        }
        assert_eq!(from_postgres("0044-03-15 10:00:00+00 BC", Some(true)).as_deref(), Some("-0043-03-15T10:00:00Z"));
    }

    #[test]
    fn days_move_over_every_border() {
        for (from, days, to) in [
            ("2024-02-28", 2, "2024-03-01"),
            ("2023-12-31", 1, "2024-01-01"),
            ("0000-01-01", -1, "-0001-12-31"),
            ("2000-02-29", 146_097, "2400-02-29"),
            ("2000-02-29", 0, "2000-02-29"),
        ] {
            assert_eq!(Day::parse(from).unwrap().moved(days).text(), to);
        }
    }
}
