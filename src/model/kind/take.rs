//! A value in a kind's form, exactly, or why it cannot be. Nothing is rounded or cut, and no text is guessed at: `007` is
//! no number, because a number would lose its zeros.
//!
//! A decimal number fits a binary floating-point one if it is the shortest text of it, which is how every store writes it
//! out again; otherwise nobody could keep 0.1.

use super::{
    Kind,
    when::{Clock, Date, ENDS, Moment},
};
use crate::model::{Decimal, Value, text::clean};
use std::fmt;

/// What binary floating point and exact numbers have besides numbers, where a store has them.
const UNNUMBERS: [&str; 3] = ["NaN", "Infinity", "-Infinity"];
/// Characters of a value that are shown.
const SHOWN: usize = 60;

/// Why a kind cannot hold a value exactly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misfit {
    /// The value, safe to show, cut where it is long.
    pub value: String,
    /// What is the matter with it, to be read behind it: `is no date`.
    pub why: String,
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` {}", self.value, self.why)
    }
}

impl std::error::Error for Misfit {}

type Taken = Result<Value, Misfit>;

fn misfit(value: &Value, why: impl Into<String>) -> Misfit {
    let text = match value {
        // The text of a long one would be made only to be cut.
        Value::Bytes(bytes) => Value::Bytes(bytes[..bytes.len().min(SHOWN)].to_vec()).to_text(),
        other => other.to_text(),
    };
    Misfit { value: clean(&text, SHOWN), why: why.into() }
}

impl Kind {
    /// The value in this kind's form; a null and a value of the kind `Any` as they are.
    ///
    /// # Errors
    /// Why the kind cannot hold this value exactly.
    pub fn take(&self, value: Value) -> Taken {
        match (self, value) {
            (Self::Any, value) => Ok(value),
            (_, Value::Null) => Ok(Value::Null),
            (Self::Text { max, nul }, value) => text(value, *max, *nul),
            (Self::Json, value) => json(value),
            (Self::List(kind), value) => list(kind, value),
            // What a document holds besides lists and objects is what it says.
            (kind, Value::Json(json)) if json.is_boolean() || json.is_number() || json.is_string() => {
                match Value::from_json(json) {
                    Value::Json(json) => kind.take(Value::Decimal(
                        Decimal::parse(&json.to_string())
                            .ok_or_else(|| misfit(&Value::Json(json), "is a number beyond all bounds"))?,
                    )),
                    plain => kind.take(plain),
                }
            }
            (Self::Bool, value) => boolean(&value),
            (Self::Int { bits, signed }, value) => int(&value, *bits, *signed),
            (Self::Float { bits }, value) => float(value, *bits),
            (Self::Decimal { digits, scale }, value) => decimal(value, *digits, *scale),
            (Self::Bytes { max }, value) => bytes(value, *max),
            (Self::Date, value) => date(value),
            (Self::Time { fraction }, value) => time(&value, *fraction),
            (Self::Timestamp { zone, fraction }, value) => timestamp(value, *zone, *fraction),
            (Self::Uuid, value) => uuid(&value),
        }
    }
}

fn boolean(value: &Value) -> Taken {
    Ok(Value::Bool(match value {
        Value::Bool(yes) => *yes,
        Value::Int(0) => false,
        Value::Int(1) => true,
        Value::Decimal(number) if number.as_str() == "0" => false,
        Value::Decimal(number) if number.as_str() == "1" => true,
        Value::Text(text) => match text.as_str() {
            "false" | "f" | "0" => false,
            "true" | "t" | "1" => true,
            _ => return Err(misfit(value, "is neither true nor false")),
        },
        _ => return Err(misfit(value, "is neither true nor false")),
    }))
}

/// The number that a value says, with all its digits; `None` if it says none. A text that a number would not give back
/// is none: zeros in front and a plus carry meaning there.
fn number(value: &Value) -> Option<Decimal> {
    match value {
        Value::Int(number) => Decimal::parse(&number.to_string()),
        // The shortest text of a long whole number has zeros where the number itself has digits.
        Value::Float(number) if number.fract() == 0.0 => Decimal::parse(&format!("{number:.0}")),
        Value::Float(number) if number.is_finite() => Decimal::parse(&number.to_string()),
        Value::Decimal(number) => Some(number.clone()),
        Value::Text(text) => {
            let digits = text.strip_prefix('-').unwrap_or(text);
            let padded = digits.len() > 1 && digits.starts_with('0') && digits.as_bytes()[1].is_ascii_digit();
            if padded || text.starts_with('+') { None } else { Decimal::parse(text) }
        }
        _ => None,
    }
}

fn int(value: &Value, bits: u8, signed: bool) -> Taken {
    let (low, high) = int_range(bits, signed);
    let whole = match value {
        Value::Int(number) => Some(i128::from(*number)),
        Value::Bool(yes) => Some(i128::from(*yes)),
        other => number(other).and_then(|number| number.as_str().parse().ok()),
    };
    match whole {
        Some(whole) if (low..=high).contains(&whole) => {
            let beyond = || Decimal::parse(&whole.to_string()).map(Value::Decimal);
            i64::try_from(whole)
                .map_or_else(|_| beyond(), |number| Some(Value::Int(number)))
                .ok_or_else(|| misfit(value, "is no whole number"))
        }
        Some(_) => Err(misfit(value, format!("is not within {low} to {high}"))),
        None => Err(misfit(value, "is no whole number")),
    }
}

/// The lowest and the highest whole number of so many bits.
pub(super) fn int_range(bits: u8, signed: bool) -> (i128, i128) {
    let bits = u32::from(bits.clamp(1, 64));
    if signed { (-(1_i128 << (bits - 1)), (1_i128 << (bits - 1)) - 1) } else { (0, (1_i128 << bits) - 1) }
}

fn float(value: Value, bits: u8) -> Taken {
    match &value {
        Value::Float(number) if number.is_nan() => return Ok(Value::Text("NaN".into())),
        Value::Float(number) if number.is_infinite() => {
            return Ok(Value::Text(if *number < 0.0 { "-Infinity" } else { "Infinity" }.into()));
        }
        #[expect(clippy::cast_possible_truncation, clippy::float_cmp, reason = "whether it is cut is the question")]
        Value::Float(number) if bits > 32 || f64::from(*number as f32) == *number => return Ok(Value::Float(*number)),
        Value::Text(text) if UNNUMBERS.contains(&text.as_str()) => return Ok(value),
        _ => {}
    }
    let Some(said) = number(&value) else { return Err(misfit(&value, "is no number")) };
    let parsed = if bits > 32 { said.as_str().parse::<f64>() } else { said.as_str().parse::<f32>().map(f64::from) };
    let kept = parsed.ok().filter(|kept| kept.is_finite() && is_kept(&said, *kept, bits));
    kept.map(Value::Float).ok_or_else(|| misfit(&value, format!("has more digits than {bits} bits of binary keep")))
}

/// Whether the number that was said is the one that is kept: to the last digit where it is whole, by its shortest text
/// where it is not. There can be two of these, as near on one side as on the other, and writers differ in which one they take.
fn is_kept(said: &Decimal, kept: f64, bits: u8) -> bool {
    #[expect(clippy::cast_possible_truncation, reason = "it is one")]
    let short = kept as f32;
    let same = |text: String| Decimal::parse(&text).as_ref() == Some(said);
    let whole = kept.fract() == 0.0 && same(format!("{kept:.0}"));
    let long = || same(Value::Float(kept).to_text()) || same(kept.to_string());
    let short = || serde_json::to_string(&short).is_ok_and(same) || same(short.to_string());
    whole || long() || bits <= 32 && short()
}

fn decimal(value: Value, digits: Option<u16>, scale: Option<u16>) -> Taken {
    match &value {
        Value::Text(text) if UNNUMBERS.contains(&text.as_str()) => return Ok(value),
        Value::Float(number) if !number.is_finite() => return float(value, 64),
        _ => {}
    }
    let Some(number) = number(&value) else { return Err(misfit(&value, "is no number")) };
    let (whole, behind) = number.widths();
    if let Some(scale) = scale.map(usize::from).filter(|scale| behind > *scale) {
        return Err(misfit(&value, format!("has {behind} digits behind the point, {scale} fit")));
    }
    let room = digits.map(|digits| usize::from(digits).saturating_sub(scale.map_or(behind, usize::from)));
    if let Some(room) = room.filter(|room| whole > *room) {
        return Err(misfit(&value, format!("has {whole} digits before the point, {room} fit")));
    }
    Ok(Value::Decimal(number))
}

fn text(value: Value, max: Option<u64>, nul: bool) -> Taken {
    let text = match value {
        Value::Text(text) => text,
        other => other.to_text(),
    };
    if !nul && text.contains('\0') {
        return Err(misfit(&Value::Text(text), "holds the character NUL"));
    }
    // A text of so many bytes has no more characters.
    if let Some(max) = max.filter(|max| text.len() as u64 > *max) {
        let count = text.chars().count() as u64;
        if count > max {
            return Err(misfit(&Value::Text(text), format!("has {count} characters, {max} fit")));
        }
    }
    Ok(Value::Text(text))
}

fn bytes(value: Value, max: Option<u64>) -> Taken {
    let bytes = match value {
        Value::Bytes(bytes) => bytes,
        Value::Text(text) => match text.strip_prefix("\\x").map(hex::decode) {
            Some(Ok(bytes)) => bytes,
            _ => return Err(misfit(&Value::Text(text), "is no bytes (`\\x` and hexadecimal digits)")),
        },
        other => return Err(misfit(&other, "is no bytes")),
    };
    match max.filter(|max| bytes.len() as u64 > *max) {
        Some(max) => Err(misfit(&Value::Text(format!("{} bytes", bytes.len())), format!("are too many, {max} fit"))),
        None => Ok(Value::Bytes(bytes)),
    }
}

fn date(value: Value) -> Taken {
    let Value::Text(text) = &value else { return Err(misfit(&value, "is no date")) };
    if ENDS.contains(&text.as_str()) {
        return Ok(value);
    }
    let Some(moment) = Moment::parse(text) else { return Err(misfit(&value, "is no date")) };
    if moment.clock != Clock::MIDNIGHT {
        return Err(misfit(&value, "has a time of day (in UTC), which a date does not keep"));
    }
    let mut out = String::with_capacity(10);
    Date::write(moment.day, &mut out);
    Ok(Value::Text(out))
}

fn time(value: &Value, fraction: u8) -> Taken {
    let Value::Text(text) = value else { return Err(misfit(value, "is no time of day")) };
    let Some(clock) = Clock::parse(text) else { return Err(misfit(value, "is no time of day")) };
    fits(value, clock, fraction)?;
    let mut out = String::with_capacity(16);
    clock.write(&mut out);
    Ok(Value::Text(out))
}

fn timestamp(value: Value, zone: bool, fraction: u8) -> Taken {
    let Value::Text(text) = &value else { return Err(misfit(&value, "is no date and time")) };
    if ENDS.contains(&text.as_str()) {
        return Ok(value);
    }
    let Some(moment) = Moment::parse(text) else { return Err(misfit(&value, "is no date and time")) };
    fits(&value, moment.clock, fraction)?;
    Ok(Value::Text(moment.write(zone)))
}

fn fits(value: &Value, clock: Clock<'_>, fraction: u8) -> Result<(), Misfit> {
    let digits = clock.fraction.len();
    if digits <= usize::from(fraction) {
        return Ok(());
    }
    Err(misfit(value, format!("has {digits} digits of a second's fraction, {fraction} fit")))
}

fn uuid(value: &Value) -> Taken {
    let Value::Text(text) = value else { return Err(misfit(value, "is no UUID")) };
    uuid::Uuid::try_parse(text).map(|id| Value::Text(id.to_string())).map_err(|_| misfit(value, "is no UUID"))
}

fn json(value: Value) -> Taken {
    let json = match value {
        Value::Json(json) => json,
        // A list or an object may come as its text; any other text is a text in the document, however it looks.
        Value::Text(text) if text.starts_with(['{', '[']) => match serde_json::from_str(&text) {
            Ok(json) if keeps_numbers(&text) => json,
            Ok(_) => return Err(misfit(&Value::Text(text), "holds a number with more digits than JSON keeps here")),
            Err(_) => text.into(),
        },
        Value::Decimal(number) => match serde_json::from_str(number.as_str()) {
            Ok(json) if keeps_numbers(number.as_str()) => json,
            _ => return Err(misfit(&Value::Decimal(number), "has more digits than a number in JSON keeps")),
        },
        Value::Float(number) if !number.is_finite() => {
            return Err(misfit(&Value::Text(number.to_string()), "is no number in JSON"));
        }
        other => other.to_json(),
    };
    Ok(Value::Json(json))
}

/// Whether every number of a document is, once it is read, still the number that was written.
fn keeps_numbers(json: &str) -> bool {
    let mut rest = json;
    while let Some(at) = rest.find(|c: char| c == '"' || c == '-' || c.is_ascii_digit()) {
        let from = &rest[at..];
        if let Some(inside) = from.strip_prefix('"') {
            let mut escaped = false;
            let end = inside.bytes().position(|byte| {
                let ends = byte == b'"' && !escaped;
                escaped = byte == b'\\' && !escaped;
                ends
            });
            rest = end.map_or("", |end| &inside[end + 1..]);
            continue;
        }
        let end = from.find(|c: char| !c.is_ascii_digit() && !"+-.eE".contains(c)).unwrap_or(from.len());
        let read = serde_json::from_str::<serde_json::Number>(&from[..end]).map(|read| read.to_string());
        if !read.is_ok_and(|read| Decimal::parse(&read) == Decimal::parse(&from[..end])) {
            return false;
        }
        rest = &from[end..];
    }
    true
}

fn list(kind: &Kind, value: Value) -> Taken {
    let items = match value {
        Value::Json(serde_json::Value::Array(items)) => items,
        Value::Text(text) => match serde_json::from_str(&text) {
            Ok(serde_json::Value::Array(items)) if keeps_numbers(&text) => items,
            _ => return Err(misfit(&Value::Text(text), "is no list")),
        },
        other => return Err(misfit(&other, "is no list")),
    };
    let taken = items.into_iter().map(|item| {
        // A list of several dimensions holds lists of the same kind.
        let nested = item.is_array() && !matches!(kind, Kind::Json | Kind::Any | Kind::List(_));
        let taken = if nested { list(kind, Value::Json(item)) } else { kind.take(Value::from_json(item)) };
        taken.map(|value| value.to_json())
    });
    Ok(Value::Json(taken.collect::<Result<Vec<_>, _>>()?.into()))
}
