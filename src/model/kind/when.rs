//! Dates and times as texts, digit by digit: stores keep years far outside what the calendar of a library has, and nothing
//! here may be rounded.
//!
//! A moment and a wall clock are told apart by what stands behind the time. Where one must become the other, the wall
//! clock shows UTC: that is said before a run (`narrow`), and it is the same in both directions.

use std::fmt::Write as _;

/// The first and last of time, for stores that have them.
pub(super) const ENDS: [&str; 2] = ["infinity", "-infinity"];

/// A day of the Gregorian calendar, carried back before its beginning; the year 0 is 1 BC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Date {
    year: i32,
    month: u8,
    day: u8,
}

/// A time of day, with the digits of its second's fraction (none at the end that say nothing).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Clock<'t> {
    hour: u8,
    minute: u8,
    second: u8,
    pub(super) fraction: &'t str,
}

impl Date {
    /// `2024-02-29`; a year of more than four digits, or before the year 0, has its sign.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (negative, rest) = match text.as_bytes().first()? {
            b'-' => (true, &text[1..]),
            b'+' => (false, &text[1..]),
            _ => (false, text),
        };
        let signed = rest.len() < text.len();
        let mut parts = rest.split('-');
        let (year, month, day) = (parts.next()?, parts.next()?, parts.next()?);
        let lengths = if signed { 4..=7 } else { 4..=4 };
        if parts.next().is_some() || !lengths.contains(&year.len()) {
            return None;
        }
        let year = i32::try_from(digits(year, year.len())?).ok()?;
        let found = Self { year: if negative { -year } else { year }, month: two(month)?, day: two(day)? };
        let real = !(negative && year == 0) && (1..=found.length()).contains(&found.day);
        real.then_some(found)
    }

    pub(super) fn write(self, out: &mut String) {
        let _infallible = match self.year {
            0..=9999 => write!(out, "{:04}", self.year),
            10_000.. => write!(out, "+{}", self.year),
            ..0 => write!(out, "-{:04}", self.year.unsigned_abs()),
        };
        let _infallible = write!(out, "-{:02}-{:02}", self.month, self.day);
    }

    /// Days of its month; 0 if there is no such month.
    const fn length(self) -> u8 {
        match self.month {
            1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
            4 | 6 | 9 | 11 => 30,
            2 if self.year % 4 == 0 && (self.year % 100 != 0 || self.year % 400 == 0) => 29,
            2 => 28,
            _ => 0,
        }
    }

    const fn next(self) -> Self {
        match (self.month, self.day) {
            (12, 31) => Self { year: self.year + 1, month: 1, day: 1 },
            (month, day) if day >= self.length() => Self { month: month + 1, day: 1, ..self },
            (_, day) => Self { day: day + 1, ..self },
        }
    }

    const fn previous(self) -> Self {
        match (self.month, self.day) {
            (1, 1) => Self { year: self.year - 1, month: 12, day: 31 },
            (month, 1) => {
                let last = Self { month: month - 1, ..self };
                Self { day: last.length(), ..last }
            }
            (_, day) => Self { day: day - 1, ..self },
        }
    }
}

impl<'t> Clock<'t> {
    /// The beginning of a day.
    pub(super) const MIDNIGHT: Clock<'static> = Clock { hour: 0, minute: 0, second: 0, fraction: "" };

    /// `23:59`, `23:59:59` or `23:59:59.25`; the day's end is `24:00:00`.
    pub(super) fn parse(text: &'t str) -> Option<Self> {
        let (whole, fraction) = match text.split_once('.') {
            Some((whole, fraction)) if !fraction.is_empty() => (whole, fraction),
            Some(_) => return None,
            None => (text, ""),
        };
        let mut parts = whole.split(':');
        let (hour, minute) = (two(parts.next()?)?, two(parts.next()?)?);
        let second = match parts.next() {
            Some(second) => two(second)?,
            None if fraction.is_empty() => 0,
            None => return None,
        };
        if parts.next().is_some() || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let found = Self { hour, minute, second, fraction: fraction.trim_end_matches('0') };
        let end = hour == 24 && Self { hour: 0, ..found } == Clock::MIDNIGHT;
        (end || hour < 24 && minute < 60 && second < 60).then_some(found)
    }

    pub(super) fn write(self, out: &mut String) {
        let _infallible = write!(out, "{:02}:{:02}:{:02}", self.hour, self.minute, self.second);
        if !self.fraction.is_empty() {
            out.push('.');
            out.push_str(self.fraction);
        }
    }
}

/// A day and a time; in UTC if it said where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Moment<'t> {
    pub(super) day: Date,
    pub(super) clock: Clock<'t>,
}

impl<'t> Moment<'t> {
    /// A day, `T` or a space, a time, and behind it `Z`, `+02`, `+0200`, `+02:00`, `+02:00:30` or nothing. A day alone is
    /// its beginning.
    pub(super) fn parse(text: &'t str) -> Option<Self> {
        let Some(at) = text.find(['T', 't', ' ']) else {
            return Some(Self { day: Date::parse(text)?, clock: Clock::MIDNIGHT });
        };
        let day = Date::parse(&text[..at])?;
        let rest = &text[at + 1..];
        let Some(zone) = rest.find(['Z', 'z', '+', '-']) else {
            return Some(Self { day, clock: Clock::parse(rest)? }.without_24());
        };
        let offset = offset(&rest[zone..])?;
        Some(Self { day, clock: Clock::parse(&rest[..zone])? }.without_24().minus(offset))
    }

    /// The day's end is the next one's beginning.
    fn without_24(self) -> Self {
        if self.clock.hour == 24 { Self { day: self.day.next(), clock: Clock::MIDNIGHT } } else { self }
    }

    /// Less than a day earlier or later.
    fn minus(self, seconds: i32) -> Self {
        const DAY: i32 = 86_400;
        let clock = self.clock;
        let of_day = i32::from(clock.hour) * 3600 + i32::from(clock.minute) * 60 + i32::from(clock.second) - seconds;
        let day = match of_day {
            ..0 => self.day.previous(),
            DAY.. => self.day.next(),
            _ => self.day,
        };
        let of_day = of_day.rem_euclid(DAY);
        let part = |value: i32| u8::try_from(value).unwrap_or_default();
        let clock = Clock {
            hour: part(of_day / 3600),
            minute: part(of_day / 60 % 60),
            second: part(of_day % 60),
            fraction: clock.fraction,
        };
        Self { day, clock }
    }

    pub(super) fn write(self, zone: bool) -> String {
        let mut out = String::with_capacity(32);
        self.day.write(&mut out);
        out.push('T');
        self.clock.write(&mut out);
        if zone {
            out.push('Z');
        }
        out
    }
}

/// Seconds east of UTC.
fn offset(text: &str) -> Option<i32> {
    if matches!(text, "Z" | "z") {
        return Some(0);
    }
    let east = match text.as_bytes().first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let rest = &text[1..];
    let (hours, minutes, seconds) = match rest.split(':').collect::<Vec<_>>()[..] {
        [hours] if hours.len() == 4 && hours.is_ascii() => (&hours[..2], &hours[2..], "00"),
        [hours] => (hours, "00", "00"),
        [hours, minutes] => (hours, minutes, "00"),
        [hours, minutes, seconds] => (hours, minutes, seconds),
        _ => return None,
    };
    let (hours, minutes, seconds) = (two(hours)?, two(minutes)?, two(seconds)?);
    let real = hours < 24 && minutes < 60 && seconds < 60;
    real.then(|| east * (i32::from(hours) * 3600 + i32::from(minutes) * 60 + i32::from(seconds)))
}

/// The number that exactly so many digits say.
fn digits(text: &str, count: usize) -> Option<u32> {
    let good = text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit());
    if good { text.parse().ok() } else { None }
}

fn two(text: &str) -> Option<u8> {
    digits(text, 2).and_then(|number| u8::try_from(number).ok())
}
