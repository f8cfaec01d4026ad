//! Rows in the form in which the server keeps them (`COPY … (FORMAT binary)`): neither side makes texts of numbers and times
//! or reads them, which is a good part of what a copy costs the two servers.
//!
//! A cell becomes the text that the server would have written, and from there on is what `told` and `values` make of it: there
//! is one meaning of a value. The form is that of the manual (`COPY`, "Binary Format") and of the types' send functions, all
//! in network order. Must never enter: a type whose form may change between versions.

use super::{super::sql::Column, told, values};
use crate::{
    model::{Kind, Value},
    ports::{BlockCell, Dialect},
};
use bytes::{Buf as _, BytesMut};
use std::{
    io::{self, Write as _},
    sync::Arc,
};

/// What stands before the rows: a signature, no flags, nothing besides.
pub(super) const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// What stands behind them.
pub(super) const TRAILER: &[u8] = &(-1_i16).to_be_bytes();
/// The header without the length of what stands besides.
const SIGNATURE: usize = HEADER.len() - 4;
/// Types that every version since 10 sends alike, as statements name them.
const TYPES: [&str; 19] = [
    "bigint",
    "boolean",
    "bpchar",
    "bytea",
    "character varying",
    "date",
    "double precision",
    "integer",
    "json",
    "jsonb",
    "numeric",
    "oid",
    "real",
    "smallint",
    "text",
    "time without time zone",
    "timestamp with time zone",
    "timestamp without time zone",
    "uuid",
];

const MICROS: u64 = 1_000_000;
const DAY: i64 = 86_400 * MICROS.cast_signed();
/// The day that dates are counted from, 2000-01-01, counted from 1970-01-01.
const FIRST_DAY: i64 = 10_957;
/// The days of 400 years, and from the first of March of the year 0 to 1970-01-01.
const ERA: i64 = 146_097;
const BEFORE_1970: i64 = 719_468;
/// The days of the years 1 to 9999.
const FOUR_DIGITS: std::ops::Range<i64> = -730_119..2_921_940;

/// What the server calls the types of these columns, if rows can be handed over so.
pub(super) fn types(columns: &[&Column]) -> Option<Arc<[String]>> {
    let known = columns.iter().all(|column| TYPES.contains(&column.sql.as_str()));
    known.then(|| columns.iter().map(|column| column.sql.clone()).collect())
}

/// Rows as they come from the server.
#[derive(Default)]
pub(super) struct Coming {
    bytes: BytesMut,
    begun: bool,
}

impl Coming {
    /// Takes a piece, and says where the rows end that it completes.
    ///
    /// # Errors
    /// In words: this is not what the server sends.
    pub(super) fn take(&mut self, piece: &[u8], ends: &mut Vec<u32>) -> Result<(), String> {
        self.bytes.extend_from_slice(piece);
        if !self.begun {
            let Some(besides) = self.bytes.get(SIGNATURE..HEADER.len()) else { return Ok(()) };
            if !self.bytes.starts_with(&HEADER[..SIGNATURE]) || besides != [0; 4] {
                return Err("rows that do not begin as the server's form does".into());
            }
            self.bytes.advance(HEADER.len());
            self.begun = true;
        }
        loop {
            let at = ends.last().map_or(0, |end| *end as usize);
            let rest = &self.bytes[at..];
            if rest == TRAILER {
                self.bytes.truncate(at);
            }
            let Some(length) = row_length(&self.bytes[at..]) else { return Ok(()) };
            ends.push(u32::try_from(at + length).map_err(|_| "a page of more than 4 GiB: ask for fewer rows")?);
        }
    }

    /// How many bytes of rows there are.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// All that came.
    pub(super) fn into_bytes(self) -> BytesMut {
        self.bytes
    }
}

/// How long the row is that begins here; `None` if it is not all there.
fn row_length(bytes: &[u8]) -> Option<usize> {
    let mut rest = bytes;
    for _ in 0..u16::from_be_bytes(*take(&mut rest)?) {
        next_cell(&mut rest)?;
    }
    Some(bytes.len() - rest.len())
}

fn next_cell<'r>(rest: &mut &'r [u8]) -> Option<BlockCell<'r>> {
    let Ok(length) = usize::try_from(i32::from_be_bytes(*take(rest)?)) else { return Some(BlockCell::Null) };
    let (cell, behind) = rest.split_at_checked(length)?;
    *rest = behind;
    Some(BlockCell::Said(cell))
}

/// The next so many bytes.
fn take<'r, const N: usize>(rest: &mut &'r [u8]) -> Option<&'r [u8; N]> {
    let (taken, behind) = rest.split_first_chunk()?;
    *rest = behind;
    Some(taken)
}

/// Rows of a server in its own form.
pub(super) struct OwnRows;

impl Dialect for OwnRows {
    fn name(&self) -> &'static str {
        "postgres binary"
    }

    fn cells<'r>(&self, row: &'r [u8], cells: &mut Vec<BlockCell<'r>>) -> Result<(), String> {
        let short = || "a row that is cut short".to_owned();
        let mut rest = row;
        for _ in 0..u16::from_be_bytes(*take(&mut rest).ok_or_else(short)?) {
            cells.push(next_cell(&mut rest).ok_or_else(short)?);
        }
        if rest.is_empty() { Ok(()) } else { Err("a row with more than its cells".into()) }
    }

    fn value(&self, kind: &Kind, said: &[u8]) -> Result<Value, String> {
        let text = text(kind, said).ok_or_else(|| format!("{} bytes that say no {kind:?}", said.len()))?;
        values::read(kind, String::from_utf8(text).map_err(|_| "it holds no UTF-8")?.into())
    }

    fn tell(&self, kind: &Kind, said: &[u8], out: &mut Vec<u8>) -> bool {
        match kind {
            Kind::Text { .. } => told::tell(kind, said, out),
            Kind::Json => told::tell(kind, document(said), out),
            Kind::Int { .. } | Kind::Decimal { .. } | Kind::Timestamp { .. } => {
                let begins = out.len();
                let told = plain(kind, said, out).is_some();
                if !told {
                    out.truncate(begins);
                }
                told
            }
            _ => text(kind, said).is_some_and(|text| told::tell(kind, &text, out)),
        }
    }
}

/// What `told` would make of the text of a common value, without that text.
fn plain(kind: &Kind, said: &[u8], out: &mut Vec<u8>) -> Option<()> {
    match kind {
        Kind::Int { bits: 32, signed: false } => number(out, u32::from_be_bytes(said.try_into().ok()?)),
        Kind::Int { .. } => number(out, integer(said)?),
        Kind::Decimal { .. } => {
            let begins = out.len();
            decimal(out, said)?;
            let told = told::decimal(&out[begins..])?.len();
            out.truncate(begins + told);
        }
        Kind::Timestamp { zone, .. } => {
            let micros = i64::from_be_bytes(said.try_into().ok()?);
            let day = Some(micros.div_euclid(DAY)).filter(|day| FOUR_DIGITS.contains(day))?;
            date(out, day);
            out.push(b'T');
            time(out, micros.rem_euclid(DAY).unsigned_abs());
            out.extend_from_slice(if *zone { b"Z" } else { b"" });
        }
        _ => return None,
    }
    Some(())
}

/// `jsonb` is sent with the number of its form before its text, `json` as it is.
fn document(said: &[u8]) -> &[u8] {
    said.strip_prefix(&[1]).unwrap_or(said)
}

/// The text that the server would write; `None` if this is no value of that kind.
fn text(kind: &Kind, said: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(40);
    match kind {
        Kind::Bool => out.push(if <[u8; 1]>::try_from(said).ok()? == [0] { b'f' } else { b't' }),
        Kind::Int { bits: 32, signed: false } => number(&mut out, u32::from_be_bytes(said.try_into().ok()?)),
        Kind::Int { .. } => number(&mut out, integer(said)?),
        Kind::Float { bits: 32 } => float(&mut out, f32::from_be_bytes(said.try_into().ok()?), f32::is_nan),
        Kind::Float { .. } => float(&mut out, f64::from_be_bytes(said.try_into().ok()?), f64::is_nan),
        Kind::Decimal { .. } => decimal(&mut out, said)?,
        Kind::Bytes { .. } => say(&mut out, format_args!("\\x{}", hex::encode(said))),
        Kind::Date => match i32::from_be_bytes(said.try_into().ok()?) {
            i32::MAX => out.extend_from_slice(b"infinity"),
            i32::MIN => out.extend_from_slice(b"-infinity"),
            day => {
                let before = date(&mut out, i64::from(day));
                era(&mut out, before);
            }
        },
        Kind::Time { .. } => time(&mut out, u64::from_be_bytes(said.try_into().ok()?)),
        Kind::Timestamp { zone, .. } => match i64::from_be_bytes(said.try_into().ok()?) {
            i64::MAX => out.extend_from_slice(b"infinity"),
            i64::MIN => out.extend_from_slice(b"-infinity"),
            micros => {
                let before = date(&mut out, micros.div_euclid(DAY));
                out.push(b' ');
                time(&mut out, micros.rem_euclid(DAY).unsigned_abs());
                out.extend_from_slice(if *zone { b"+00" } else { b"" });
                era(&mut out, before);
            }
        },
        Kind::Uuid => say(&mut out, uuid::Uuid::from_slice(said).ok()?),
        Kind::Json => out.extend_from_slice(document(said)),
        Kind::Text { .. } => out.extend_from_slice(said),
        Kind::List(_) | Kind::Any => return None,
    }
    Some(out)
}

fn say(out: &mut Vec<u8>, what: impl std::fmt::Display) {
    // Nothing can be wrong with a buffer in memory.
    let _: io::Result<()> = write!(out, "{what}");
}

fn number(out: &mut Vec<u8>, number: impl itoa::Integer) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// A number with zeros before it.
fn padded(out: &mut Vec<u8>, number: u64, digits: usize) {
    let mut buffer = itoa::Buffer::new();
    let text = buffer.format(number);
    out.extend(std::iter::repeat_n(b'0', digits.saturating_sub(text.len())));
    out.extend_from_slice(text.as_bytes());
}

fn integer(said: &[u8]) -> Option<i64> {
    Some(match said.len() {
        2 => i16::from_be_bytes(said.try_into().ok()?).into(),
        4 => i32::from_be_bytes(said.try_into().ok()?).into(),
        _ => i64::from_be_bytes(said.try_into().ok()?),
    })
}

fn float<F: Copy + std::fmt::LowerExp + Into<f64>>(out: &mut Vec<u8>, number: F, is_nan: fn(F) -> bool) {
    if is_nan(number) {
        out.extend_from_slice(b"NaN");
    } else if number.into().is_infinite() {
        out.extend_from_slice(if number.into() > 0.0 { b"Infinity".as_slice() } else { b"-Infinity" });
    } else {
        say(out, format_args!("{number:e}"));
    }
}

/// A number is sent as groups of four digits, with the place of the first one and how many digits are shown behind the point.
fn decimal(out: &mut Vec<u8>, said: &[u8]) -> Option<()> {
    let mut rest = said;
    let groups = usize::from(u16::from_be_bytes(*take(&mut rest)?));
    let weight = i16::from_be_bytes(*take(&mut rest)?);
    let (sign, is_number) = match u16::from_be_bytes(*take(&mut rest)?) {
        0 => ("", true),
        0x4000 => ("-", true),
        0xC000 => ("NaN", false),
        0xD000 => ("Infinity", false),
        0xF000 => ("-Infinity", false),
        _ => return None,
    };
    out.extend_from_slice(sign.as_bytes());
    if !is_number {
        return Some(());
    }
    let shown = usize::from(u16::from_be_bytes(*take(&mut rest)?));
    if rest.len() != groups * 2 {
        return None;
    }
    // Groups that are not sent are zero.
    let group = |place: i16| {
        let at = usize::try_from(i32::from(weight) - i32::from(place)).ok().map(|at| at * 2);
        let sent = at.and_then(|at| rest.get(at..at + 2)).and_then(|two| <[u8; 2]>::try_from(two).ok());
        sent.map_or(0, u16::from_be_bytes)
    };
    number(out, group(weight.max(0)));
    (0..weight.max(0)).rev().for_each(|place| padded(out, group(place).into(), 4));
    if shown > 0 {
        out.push(b'.');
        let end = out.len() + shown;
        let behind = i16::try_from(shown.div_ceil(4)).ok()?;
        (1..=behind).for_each(|place| padded(out, group(-place).into(), 4));
        out.truncate(end);
    }
    Some(())
}

/// Writes a date, counted from [`FIRST_DAY`]; `true` if it lies before the year 1. The calendar's arithmetic is Howard Hinnant's
/// `civil_from_days`: years begin in March there.
fn date(out: &mut Vec<u8>, day: i64) -> bool {
    let day = day + FIRST_DAY + BEFORE_1970;
    let (era, of_era) = (day.div_euclid(ERA), day.rem_euclid(ERA).unsigned_abs());
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / (ERA.unsigned_abs() - 1)) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let of_month = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = era * 400 + i64::from(month <= 2) + year_of_era.cast_signed();
    let before = year <= 0;
    padded(out, if before { 1 - year } else { year }.unsigned_abs(), 4);
    out.push(b'-');
    padded(out, month, 2);
    out.push(b'-');
    padded(out, of_month, 2);
    before
}

fn era(out: &mut Vec<u8>, before: bool) {
    out.extend_from_slice(if before { b" BC" } else { b"" });
}

/// Writes a time of a day.
fn time(out: &mut Vec<u8>, micros: u64) {
    let (seconds, fraction) = (micros / MICROS, micros % MICROS);
    padded(out, seconds / 3_600, 2);
    out.push(b':');
    padded(out, seconds / 60 % 60, 2);
    out.push(b':');
    padded(out, seconds % 60, 2);
    if fraction > 0 {
        out.push(b'.');
        padded(out, fraction, 6);
        let zeros = out.iter().rev().take_while(|byte| **byte == b'0').count();
        out.truncate(out.len() - zeros);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn said(kind: &Kind, bytes: &[u8]) -> Option<String> {
        text(kind, bytes).map(|text| String::from_utf8(text).unwrap())
    }

    fn numeric(weight: i16, sign: u16, shown: u16, groups: &[u16]) -> Vec<u8> {
        let head = [u16::try_from(groups.len()).unwrap(), weight.cast_unsigned(), sign, shown];
        head.iter().chain(groups).flat_map(|two| two.to_be_bytes()).collect()
    }

    #[test]
    fn numbers_are_written_as_the_server_would() {
        let kind = Kind::Decimal { digits: None, scale: None };
        for (bytes, text) in [
            (numeric(0, 0, 0, &[]), "0"),
            (numeric(0, 0, 2, &[]), "0.00"),
            (numeric(0, 0, 2, &[12, 3400]), "12.34"),
            (numeric(1, 0x4000, 0, &[1, 2]), "-10002"),
            (numeric(2, 0, 0, &[5]), "500000000"),
            (numeric(-1, 0, 6, &[1, 2300]), "0.000123"),
            (numeric(-2, 0, 9, &[7]), "0.000000070"),
            (numeric(0, 0xC000, 0, &[]), "NaN"),
            (numeric(0, 0xF000, 0, &[]), "-Infinity"),
        ] {
            assert_eq!(said(&kind, &bytes).as_deref(), Some(text), "{bytes:?}");
        }
        assert_eq!(said(&kind, &numeric(0, 1, 0, &[])), None);
        assert_eq!(said(&kind, &[0, 1, 0, 0, 0, 0, 0, 0]), None);
    }

    #[test]
    fn times_are_written_as_the_server_would() {
        let (zoned, day) = (Kind::Timestamp { zone: true, fraction: 6 }, Kind::Date);
        for (micros, text) in [
            (0, "2000-01-01 00:00:00+00"),
            (-1, "1999-12-31 23:59:59.999999+00"),
            (60 * DAY - 250_000, "2000-02-29 23:59:59.75+00"),
            (i64::MAX, "infinity"),
            (-730_120 * DAY, "0001-12-31 00:00:00+00 BC"),
            (2_921_940 * DAY, "10000-01-01 00:00:00+00"),
        ] {
            assert_eq!(said(&zoned, &micros.to_be_bytes()).as_deref(), Some(text), "{micros}");
        }
        assert_eq!(said(&day, &i32::MIN.to_be_bytes()).as_deref(), Some("-infinity"));
        assert_eq!(said(&Kind::Time { fraction: 6 }, &DAY.to_be_bytes()).as_deref(), Some("24:00:00"));
        assert_eq!(said(&zoned, &[0; 4]), None);
    }

    proptest! {
        #[test]
        fn every_day_is_the_calendars(day in -730_000_i64..2_900_000) {
            let mut out = Vec::new();
            prop_assert!(!date(&mut out, day));
            let first = jiff::civil::date(2000, 1, 1);
            let known = first.checked_add(jiff::Span::new().days(day)).unwrap();
            prop_assert_eq!(String::from_utf8(out).unwrap(), known.to_string());
        }

        #[test]
        fn rows_come_in_any_pieces(
            rows in prop::collection::vec(prop::collection::vec(prop::option::of("[a-z]{0,9}"), 1..4), 0..5), piece in 1_usize..40
        ) {
            let mut all = HEADER.to_vec();
            for row in &rows {
                all.extend_from_slice(&u16::try_from(row.len()).unwrap().to_be_bytes());
                for cell in row {
                    let length = cell.as_ref().map_or(-1, |cell| i32::try_from(cell.len()).unwrap());
                    all.extend_from_slice(&length.to_be_bytes());
                    all.extend_from_slice(cell.as_deref().unwrap_or_default().as_bytes());
                }
            }
            all.extend_from_slice(TRAILER);
            let (mut coming, mut ends) = (Coming::default(), Vec::new());
            all.chunks(piece).for_each(|piece| coming.take(piece, &mut ends).unwrap());
            prop_assert_eq!(ends.last().map_or(0, |end| *end as usize), coming.len());
            let bytes = coming.into_bytes();
            let mut from = 0;
            for (row, end) in rows.iter().zip(&ends) {
                let mut cells = Vec::new();
                OwnRows.cells(&bytes[from..*end as usize], &mut cells).unwrap();
                let cell = |cell: &Option<String>| cell.clone();
                let read = cells.iter().map(|cell| match cell {
                    BlockCell::Said(said) => Some(String::from_utf8(said.to_vec()).unwrap()),
                    _ => None,
                });
                prop_assert_eq!(read.collect::<Vec<_>>(), row.iter().map(cell).collect::<Vec<_>>());
                from = *end as usize;
            }
            prop_assert_eq!(ends.len(), rows.len());
        }
    }

    #[test]
    fn what_is_no_row_is_refused() {
        let mut ends = Vec::new();
        assert!(Coming::default().take(b"id\tname\n1\tAda\nand more", &mut ends).is_err());
        let mut cells = Vec::new();
        for row in [&b""[..], b"\0", b"\0\x01\0\0\0\x05ab", b"\0\0x"] {
            assert!(OwnRows.cells(row, &mut cells).is_err(), "{row:?}");
        }
    }
}
