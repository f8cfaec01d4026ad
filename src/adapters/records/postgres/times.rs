//! Dates, and days with a time, of years far away: `PostgreSQL` counts those before the year 1 backwards and writes no sign
//! before those of five digits. Everything else of a time is [`Kind`](crate::model::Kind)'s affair. Pure.

/// No day at all, as databases say it.
fn is_endless(text: &str) -> bool {
    matches!(text, "infinity" | "-infinity")
}

/// A date, a time, or a day and time, as `PostgreSQL` writes it (`0044-03-15 12:00:00+00 BC`), with the year as it travels.
pub(super) fn from_postgres(text: &str) -> Option<String> {
    if let Some(text) = text.strip_suffix(" BC") {
        let (year, rest) = text.split_once('-')?;
        let year = 1 - year.parse::<i64>().ok()?;
        return Some(format!("{}{:04}-{rest}", if year < 0 { "-" } else { "" }, year.abs()));
    }
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let far = digits > 4 && text.as_bytes().get(digits) == Some(&b'-');
    Some(if far { format!("+{text}") } else { text.to_owned() })
}

/// A date, or day and time, in the form in which it travels, as `PostgreSQL` reads it.
pub(super) fn to_postgres(text: &str) -> String {
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
    use crate::model::{Kind, Value};

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
            let read = Kind::Date.take(Value::Text(from_postgres(theirs).unwrap())).unwrap();
            assert_eq!(read, Value::Text(ours.into()));
        }
    }

    #[test]
    fn times_of_postgres_travel() {
        let zoned = |zone| Kind::Timestamp { zone, fraction: 6 };
        for (kind, theirs, ours) in [
            (zoned(true), "0044-03-15 10:00:00+00 BC", "-0043-03-15T10:00:00Z"),
            (zoned(true), "2024-02-29 12:00:00.250000+00", "2024-02-29T12:00:00.25Z"),
            (zoned(false), "12024-12-31 23:59:59.999999", "+12024-12-31T23:59:59.999999"),
            (zoned(true), "-infinity", "-infinity"),
            (Kind::Time { fraction: 6 }, "23:59:59.25", "23:59:59.25"),
            (Kind::Time { fraction: 6 }, "24:00:00", "24:00:00"),
        ] {
            let read = kind.take(Value::Text(from_postgres(theirs).unwrap())).unwrap();
            assert_eq!(read, Value::Text(ours.into()), "{theirs}");
        }
    }
}
