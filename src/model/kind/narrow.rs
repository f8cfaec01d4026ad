//! What of one kind may not fit another, before a single value was seen: for a warning ahead of a run.

use super::{Kind, take::int_range};

/// How the reason begins where no value fits.
const NOTHING: &str = "nothing of the kind";

/// Decimal digits that a binary floating-point number of so many bits always gives back.
const fn float_digits(bits: u8) -> u16 {
    if bits > 32 { 15 } else { 6 }
}

/// Decimal digits of the longest whole number of so many bits.
fn int_digits(bits: u8, signed: bool) -> u16 {
    let (low, high) = int_range(bits, signed);
    let digits = low.unsigned_abs().max(high.unsigned_abs()).to_string().len();
    u16::try_from(digits).unwrap_or(u16::MAX)
}

/// Characters that the longest text of a kind has; `None` if there is no longest.
fn longest(kind: &Kind) -> Option<u64> {
    Some(match kind {
        Kind::Bool => 5,
        Kind::Int { bits, signed } => u64::from(int_digits(*bits, *signed)) + u64::from(*signed),
        Kind::Float { .. } => 24,
        // A sign, a point, and the zero before it.
        Kind::Decimal { digits, .. } => u64::from((*digits)?) + 3,
        Kind::Text { max, .. } => (*max)?,
        Kind::Bytes { max } => (*max)?.saturating_mul(2) + 2,
        Kind::Date => 14,
        Kind::Time { fraction } => 9 + u64::from(*fraction),
        Kind::Timestamp { fraction, .. } => 25 + u64::from(*fraction),
        Kind::Uuid => 36,
        Kind::Any | Kind::Json | Kind::List(_) => return None,
    })
}

impl Kind {
    /// Why not every value of `from` fits this kind; `None` if each of them does, or if nobody can say. Also what is only
    /// kept by agreement: a time without a zone is one in UTC.
    #[must_use]
    pub fn narrows(&self, from: &Self) -> Option<String> {
        match (self, from) {
            (Self::Any, _)
            | (_, Self::Any)
            | (Self::Bool, Self::Bool)
            | (Self::Date | Self::Timestamp { .. }, Self::Date)
            | (Self::Uuid, Self::Uuid) => None,
            (Self::Text { max, nul }, from) => narrow_text(*max, *nul, from),
            (Self::Json, from) => narrow_json(from),
            (Self::List(to), Self::List(from)) => to.narrows(from),
            (to, Self::Text { .. }) => Some(format!("only texts that are of the kind {to} fit")),
            (to, Self::Json) => Some(format!("only documents that are of the kind {to} fit")),
            (Self::Bool, Self::Int { .. }) => Some("only 0 and 1 fit".into()),
            (Self::Int { bits, signed }, from) => narrow_int(*bits, *signed, from),
            (Self::Float { bits }, from) => narrow_float(*bits, from),
            (Self::Decimal { digits, scale }, from) => narrow_decimal(*digits, *scale, from),
            (Self::Bytes { max: to }, Self::Bytes { max }) => {
                to.filter(|to| max.is_none_or(|from| from > *to)).map(|to| format!("at most {to} bytes fit"))
            }
            (Self::Date, Self::Timestamp { .. }) => Some("only midnights (in UTC) fit, as days".into()),
            (Self::Time { fraction: to }, Self::Time { fraction: from }) => narrow_fraction(*to, *from),
            (Self::Timestamp { zone, fraction }, Self::Timestamp { zone: from_zone, fraction: from }) => {
                let zone = match (zone, from_zone) {
                    (true, false) => Some("times without a zone are taken as UTC".to_owned()),
                    (false, true) => Some("the zone is not kept: times are written in UTC".to_owned()),
                    _ => None,
                };
                join(narrow_fraction(*fraction, *from), zone)
            }
            (to, from) => never(to, from),
        }
    }

    /// Whether nothing at all of `from` fits this kind.
    #[must_use]
    pub fn excludes(&self, from: &Self) -> bool {
        self.narrows(from).is_some_and(|why| why.starts_with(NOTHING))
    }
}

#[expect(clippy::unnecessary_wraps, reason = "an answer among answers")]
fn never(to: &Kind, from: &Kind) -> Option<String> {
    Some(format!("{NOTHING} {from} fits the kind {to}"))
}

fn join(one: Option<String>, other: Option<String>) -> Option<String> {
    match (one, other) {
        (Some(one), Some(other)) => Some(format!("{one}; {other}")),
        (one, other) => one.or(other),
    }
}

fn narrow_fraction(to: u8, from: u8) -> Option<String> {
    (from > to).then(|| format!("at most {to} digits of a second's fraction fit, there may be {from}"))
}

fn narrow_text(max: Option<u64>, nul: bool, from: &Kind) -> Option<String> {
    let document =
        matches!(from, Kind::Json).then(|| "documents become their text, quoted where they are texts".into());
    let max = max.filter(|max| longest(from).is_none_or(|longest| longest > *max));
    let long = max.map(|max| format!("at most {max} characters fit"));
    let from_nul = matches!(from, Kind::Text { nul: true, .. });
    let nul = (!nul && from_nul).then(|| "texts that hold the character NUL do not fit".to_owned());
    join(join(long, nul), document)
}

fn narrow_json(from: &Kind) -> Option<String> {
    match from {
        Kind::Decimal { digits: Some(digits), .. } if *digits <= float_digits(64) => None,
        Kind::Decimal { .. } => Some("numbers of more than 15 digits may not fit a document".into()),
        Kind::List(of) => narrow_json(of),
        Kind::Text { .. } => {
            Some("texts that are written like a list or an object become one, others stay texts".into())
        }
        _ => None,
    }
}

fn narrow_int(bits: u8, signed: bool, from: &Kind) -> Option<String> {
    let (low, high) = int_range(bits, signed);
    let limits = || Some(format!("only whole numbers from {low} to {high} fit"));
    match from {
        Kind::Bool => None,
        Kind::Int { bits, signed } => {
            let (from_low, from_high) = int_range(*bits, *signed);
            if from_low >= low && from_high <= high { None } else { limits() }
        }
        Kind::Decimal { digits: Some(digits), scale: Some(0) } if signed && *digits < int_digits(bits, true) => None,
        Kind::Decimal { .. } | Kind::Float { .. } => limits(),
        other => never(&Kind::Int { bits, signed }, other),
    }
}

fn narrow_float(bits: u8, from: &Kind) -> Option<String> {
    let digits = float_digits(bits);
    let limits = || Some(format!("numbers of more than {digits} digits may not fit"));
    match from {
        Kind::Float { bits: from } if *from <= bits => None,
        Kind::Int { bits: from, signed } if int_digits(*from, *signed) <= digits => None,
        Kind::Int { .. } => {
            let power = if bits > 32 { 53 } else { 24 };
            Some(format!("whole numbers beyond 2^{power} may not fit"))
        }
        Kind::Decimal { digits: Some(from), .. } if *from <= digits => None,
        Kind::Float { .. } | Kind::Decimal { .. } => limits(),
        other => never(&Kind::Float { bits }, other),
    }
}

fn narrow_decimal(digits: Option<u16>, scale: Option<u16>, from: &Kind) -> Option<String> {
    let whole = digits.map(|digits| digits.saturating_sub(scale.unwrap_or(0)));
    let (from_whole, from_scale) = match from {
        Kind::Int { bits, signed } => (Some(int_digits(*bits, *signed)), Some(0)),
        Kind::Float { .. } => (None, None),
        Kind::Decimal { digits, scale } => {
            (digits.map(|digits| digits.saturating_sub(scale.unwrap_or(0))), scale.or(digits.map(|_| 0)))
        }
        other => return never(&Kind::Decimal { digits, scale }, other),
    };
    let exceeds = |from: Option<u16>, to: Option<u16>| to.filter(|to| from.is_none_or(|from| from > *to));
    let before = exceeds(from_whole, whole).map(|whole| format!("at most {whole} digits before the point fit"));
    let behind = exceeds(from_scale, scale).map(|scale| format!("at most {scale} digits behind the point fit"));
    join(before, behind)
}
