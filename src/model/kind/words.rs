//! A kind's name, as a plan and a message write it: `int32`, `decimal(10,2)`, `text(50)`, `timestamptz(3)`, `uuid[]`.

use super::Kind;
use std::fmt;

/// Digits of a second's fraction where nobody says how many.
const FRACTION: u8 = 6;

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("any"),
            Self::Bool => f.write_str("bool"),
            Self::Int { bits, signed } => write!(f, "{}int{bits}", if *signed { "" } else { "u" }),
            Self::Float { bits } => write!(f, "float{bits}"),
            Self::Decimal { digits: Some(digits), scale } => write!(f, "decimal({digits},{})", scale.unwrap_or(0)),
            Self::Decimal { digits: None, .. } => f.write_str("decimal"),
            Self::Text { max: Some(max), .. } => write!(f, "text({max})"),
            Self::Text { max: None, .. } => f.write_str("text"),
            Self::Bytes { max: Some(max) } => write!(f, "bytes({max})"),
            Self::Bytes { max: None } => f.write_str("bytes"),
            Self::Date => f.write_str("date"),
            Self::Time { fraction } => write!(f, "time({fraction})"),
            Self::Timestamp { zone: true, fraction } => write!(f, "timestamptz({fraction})"),
            Self::Timestamp { zone: false, fraction } => write!(f, "timestamp({fraction})"),
            Self::Uuid => f.write_str("uuid"),
            Self::Json => f.write_str("json"),
            Self::List(kind) => write!(f, "{kind}[]"),
        }
    }
}

impl Kind {
    /// What [`Kind::parse`] takes, in a sentence.
    pub const WORDS: &'static str = "one of bool, int8 to int64, uint8 to uint64, float32, float64, decimal, \
         decimal(10,2), text, text(50), bytes, date, time, timestamp, timestamptz, timestamptz(3), uuid, json, or one of \
         them with [] behind it";

    /// The kind of this name; `None` for any other text.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if let Some(of) = text.strip_suffix("[]") {
            return Some(Self::List(Box::new(Self::parse(of)?)));
        }
        let (word, arguments) = match text.split_once('(') {
            Some((word, rest)) => (word, rest.strip_suffix(')')?.split(',').map(str::trim).collect::<Vec<_>>()),
            None => (text, Vec::new()),
        };
        let fraction = || match arguments[..] {
            [] => Some(FRACTION),
            [one] => one.parse().ok().filter(|digits| *digits <= 9),
            _ => None,
        };
        let max = || match arguments[..] {
            [] => Some(None),
            [one] => one.parse().ok().filter(|max| *max > 0).map(Some),
            _ => None,
        };
        match word {
            "text" => return Some(Self::Text { max: max()?, nul: true }),
            "bytes" => return Some(Self::Bytes { max: max()? }),
            "time" => return Some(Self::Time { fraction: fraction()? }),
            "timestamp" => return Some(Self::Timestamp { zone: false, fraction: fraction()? }),
            "timestamptz" => return Some(Self::Timestamp { zone: true, fraction: fraction()? }),
            "decimal" => return decimal(&arguments),
            _ => {}
        }
        if !arguments.is_empty() || text.ends_with(')') {
            return None;
        }
        Some(match word {
            "bool" => Self::Bool,
            "date" => Self::Date,
            "uuid" => Self::Uuid,
            "json" => Self::Json,
            "float32" => Self::Float { bits: 32 },
            "float64" => Self::Float { bits: 64 },
            other => {
                let (signed, bits) = other.strip_prefix('u').map_or((true, other), |rest| (false, rest));
                let bits = bits.strip_prefix("int")?;
                Self::Int { bits: ["8", "16", "24", "32", "64"].contains(&bits).then(|| bits.parse().ok())??, signed }
            }
        })
    }
}

fn decimal(arguments: &[&str]) -> Option<Kind> {
    let (digits, scale) = match arguments {
        [] => (None, None),
        [digits] => (Some(digits.parse().ok()?), Some(0)),
        [digits, scale] => (Some(digits.parse().ok()?), Some(scale.parse().ok()?)),
        _ => return None,
    };
    (scale <= digits && digits != Some(0)).then_some(Kind::Decimal { digits, scale })
}
