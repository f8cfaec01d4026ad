//! What a value's text will be, told from the text that `PostgreSQL` has for it: most values only change a letter or two.
//! Whatever is not of the common form is left to `values`, which takes it apart. Pure.

use crate::model::{Kind, document};

/// Goes on with the text of the value that this text of the server says; `false` if it must be read, and nothing was
/// added.
pub(super) fn tell(kind: &Kind, said: &[u8], out: &mut Vec<u8>) -> bool {
    match kind {
        Kind::Bool => keep(out, if said == b"t" { b"true" } else { b"false" }),
        Kind::Int { .. } => keep(out, said),
        Kind::Text { .. } | Kind::Uuid => std::str::from_utf8(said).is_ok() && keep(out, said),
        Kind::Bytes { .. } => said.starts_with(b"\\x") && keep(out, said),
        Kind::Decimal { .. } => decimal(said).is_some_and(|plain| keep(out, plain)),
        Kind::Date => fits(said, b"0000-00-00") && keep(out, said),
        Kind::Timestamp { zone, .. } => timestamp(said, *zone, out),
        Kind::Json => std::str::from_utf8(said).is_ok_and(|said| document::tell(said, out)),
        Kind::Time { .. } | Kind::Float { .. } | Kind::List(_) | Kind::Any => false,
    }
}

fn keep(out: &mut Vec<u8>, said: &[u8]) -> bool {
    out.extend_from_slice(said);
    true
}

/// The number without zeros at its end that say nothing.
pub(super) fn decimal(said: &[u8]) -> Option<&[u8]> {
    let number = said.strip_prefix(b"-").unwrap_or(said);
    if !number.first()?.is_ascii_digit() || !number.iter().all(|byte| byte.is_ascii_digit() || *byte == b'.') {
        return None;
    }
    if !said.contains(&b'.') {
        return Some(said);
    }
    let zeros = said.iter().rev().take_while(|byte| **byte == b'0').count();
    let plain = &said[..said.len() - zeros];
    Some(plain.strip_suffix(b".").unwrap_or(plain)).filter(|plain| plain != b"-0")
}

/// Whether this has the pattern's length and letters, where a `0` stands for any digit.
fn fits(said: &[u8], pattern: &[u8]) -> bool {
    let fit = |(byte, wanted): (&u8, &u8)| if *wanted == b'0' { byte.is_ascii_digit() } else { byte == wanted };
    said.len() == pattern.len() && said.iter().zip(pattern).all(fit)
}

/// A day and time of a year with four digits.
fn timestamp(said: &[u8], zone: bool, out: &mut Vec<u8>) -> bool {
    let Some(said) = (if zone { said.strip_suffix(b"+00") } else { Some(said) }) else { return false };
    let Some((whole, fraction)) = said.split_at_checked(19) else { return false };
    let plain = match fraction {
        [] => true,
        [b'.', digits @ .., last] => *last != b'0' && last.is_ascii_digit() && digits.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    if !plain || !fits(whole, b"0000-00-00 00:00:00") {
        return false;
    }
    let (day, time) = whole.split_at(10);
    keep(out, day);
    out.push(b'T');
    keep(out, &time[1..]);
    keep(out, fraction);
    if zone {
        out.push(b'Z');
    }
    true
}

#[cfg(test)]
mod tests {
    use super::{super::values, tell};
    use crate::model::{Kind, Value};
    use proptest::prelude::*;

    fn told(kind: &Kind, said: &str) -> Option<String> {
        let mut out = b"before".to_vec();
        let told = tell(kind, said.as_bytes(), &mut out);
        let out = String::from_utf8(out).unwrap();
        assert!(told || out == "before");
        told.then(|| out["before".len()..].to_owned())
    }

    fn read(kind: &Kind, said: &str) -> String {
        values::read(kind, said.into()).unwrap().to_text()
    }

    const STAMP: Kind = Kind::Timestamp { zone: true, fraction: 6 };
    const WALL: Kind = Kind::Timestamp { zone: false, fraction: 6 };
    const NUMBER: Kind = Kind::Decimal { digits: None, scale: None };

    #[test]
    fn what_is_told_is_what_would_be_read() {
        for (kind, said) in [
            (Kind::Bool, "t"),
            (Kind::Bool, "f"),
            (Kind::Int { bits: 64, signed: true }, "-9223372036854775808"),
            (NUMBER, "-12.500"),
            (NUMBER, "0.00"),
            (NUMBER, "100"),
            (NUMBER, "0.05"),
            (Kind::Date, "2024-02-29"),
            (STAMP, "2024-02-29 12:00:00.25+00"),
            (STAMP, "2024-02-29 12:00:00+00"),
            (WALL, "1024-02-29 12:00:00.000001"),
            (Kind::Bytes { max: None }, "\\x00ff"),
            (Kind::Bytes { max: None }, "\\x"),
            (Kind::Json, r#"{"b": 1, "aa": [1.5, -3, true, null, "ü"], "c": {}}"#),
        ] {
            assert_eq!(told(&kind, said).as_ref(), Some(&read(&kind, said)), "{said}");
        }
        for (kind, said) in [
            (NUMBER, "NaN"),
            (NUMBER, "-Infinity"),
            (Kind::Date, "0044-03-15 BC"),
            (Kind::Date, "12024-02-29"),
            (Kind::Date, "infinity"),
            (STAMP, "0044-03-15 10:00:00+00 BC"),
            (STAMP, "12024-12-31 23:59:59+00"),
            (STAMP, "2024-02-29 12:00:00+05:30"),
            (STAMP, "-infinity"),
            (WALL, "2024-02-29 12:00:00+00"),
            (Kind::Float { bits: 64 }, "1"),
        ] {
            assert_eq!(told(&kind, said), None, "{said}");
        }
        assert!(!tell(&Kind::Text { max: None, nul: false }, b"\xff", &mut Vec::new()));
    }

    fn document() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i64>().prop_map(Into::into),
            (-2000_i32..2000).prop_map(|n| (f64::from(n) / 16.0).into()),
            any::<f64>().prop_map(Into::into),
            ".{0,6}".prop_map(Into::into),
        ];
        leaf.prop_recursive(4, 24, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
                prop::collection::hash_map("[a-c\"\\\\ü]{0,3}", inner, 0..5)
                    .prop_map(|fields| serde_json::Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn a_document_is_told_as_it_would_be_read(json in document()) {
            for said in [json.to_string(), serde_json::to_string_pretty(&json).unwrap()] {
                if let Some(told) = told(&Kind::Json, &said) {
                    prop_assert_eq!(told, Value::Json(json.clone()).to_text(), "{}", said);
                }
            }
        }

        #[test]
        fn a_number_is_told_as_it_would_be_read(whole in any::<i32>(), fraction in "[0-9]{0,8}") {
            let said = if fraction.is_empty() { whole.to_string() } else { format!("{whole}.{fraction}") };
            if let Some(told) = told(&NUMBER, &said) {
                prop_assert_eq!(told, read(&NUMBER, &said), "{}", said);
            }
        }

        #[test]
        fn a_time_is_told_as_it_would_be_read(seconds in -62_135_596_800_i64..253_402_300_799, micros in 0_i32..1_000_000) {
            let time = jiff::Timestamp::new(seconds, micros * 1000).unwrap();
            let said = time.to_string().replace('T', " ").replace('Z', "+00");
            if let Some(told) = told(&STAMP, &said) {
                prop_assert_eq!(told, read(&STAMP, &said), "{}", said);
            }
        }
    }
}
