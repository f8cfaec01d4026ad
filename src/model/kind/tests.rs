use super::Kind;
use crate::model::{Decimal, Value};
use proptest::prelude::*;
use serde_json::json;

fn kind(name: &str) -> Kind {
    Kind::parse(name).unwrap_or_else(|| panic!("{name}"))
}

fn text(text: &str) -> Value {
    Value::Text(text.into())
}

fn decimal(text: &str) -> Value {
    Value::Decimal(Decimal::parse(text).unwrap())
}

#[test]
fn takes_what_it_can_hold_exactly() {
    let table: Vec<(&str, Value, Value)> = vec![
        ("bool", Value::Int(1), Value::Bool(true)),
        ("bool", text("false"), Value::Bool(false)),
        ("int16", Value::Int(-32768), Value::Int(-32768)),
        ("int16", Value::Bool(true), Value::Int(1)),
        ("int64", text("-12"), Value::Int(-12)),
        ("int64", Value::Float(1e18), Value::Int(1_000_000_000_000_000_000)),
        ("int64", decimal("12.0"), Value::Int(12)),
        ("uint64", text("18446744073709551615"), decimal("18446744073709551615")),
        ("uint64", Value::from_json(json!(u64::MAX)), decimal("18446744073709551615")),
        ("float64", Value::Int(1 << 53), Value::Float(9_007_199_254_740_992.0)),
        ("float64", Value::Int(1 << 60), Value::Float(1_152_921_504_606_846_976.0)),
        ("float64", text("0.1"), Value::Float(0.1)),
        ("float64", decimal("12345.678"), Value::Float(12345.678)),
        ("float64", decimal("117909971183574.12"), Value::Float(117_909_971_183_574.12)),
        ("float64", decimal("117909971183574.13"), Value::Float(117_909_971_183_574.12)),
        ("float32", decimal("2098048.2"), Value::Float(2_098_048.25)),
        ("float32", decimal("2098048.3"), Value::Float(2_098_048.25)),
        ("float64", Value::Float(f64::NAN), text("NaN")),
        ("float64", Value::Float(f64::NEG_INFINITY), text("-Infinity")),
        ("float32", Value::Float(0.1), Value::Float(f64::from(0.1_f32))),
        ("float32", text("0.1"), Value::Float(f64::from(0.1_f32))),
        ("float32", Value::Int(1 << 24), Value::Float(16_777_216.0)),
        ("float32", Value::Float(f64::from(f32::MAX)), Value::Float(f64::from(f32::MAX))),
        ("decimal", Value::Float(19.99), decimal("19.99")),
        ("decimal", text("NaN"), text("NaN")),
        ("decimal", text("0.50"), decimal("0.5")),
        ("decimal(5,2)", text("999.990"), decimal("999.99")),
        ("decimal(2,2)", text("0.25"), decimal("0.25")),
        ("text", Value::Int(7), text("7")),
        ("text", Value::Json(json!({"b": 1, "a": "x"})), text(r#"{"a":"x","b":1}"#)),
        ("text", text("007"), text("007")),
        ("text(3)", text("äöü"), text("äöü")),
        ("bytes", text("\\x00ff"), Value::Bytes(vec![0, 255])),
        ("date", text("2024-02-29"), text("2024-02-29")),
        ("date", text("2024-02-29T00:00:00Z"), text("2024-02-29")),
        ("date", text("-0043-03-15"), text("-0043-03-15")),
        ("date", text("+12024-02-29"), text("+12024-02-29")),
        ("date", text("+2024-02-29"), text("2024-02-29")),
        ("date", text("infinity"), text("infinity")),
        ("time", text("23:59:59.250000"), text("23:59:59.25")),
        ("time", text("24:00"), text("24:00:00")),
        ("timestamptz", text("2024-01-01 00:30:00.123456+02:00"), text("2023-12-31T22:30:00.123456Z")),
        ("timestamptz", text("2024-02-28T23:30:00-01"), text("2024-02-29T00:30:00Z")),
        ("timestamptz", text("1900-01-01T00:00:00+00:17:30"), text("1899-12-31T23:42:30Z")),
        ("timestamptz", text("+10000-01-01T00:00:00+0100"), text("9999-12-31T23:00:00Z")),
        ("timestamptz", text("0000-01-01T00:00:00+0100"), text("-0001-12-31T23:00:00Z")),
        ("timestamptz", text("2024-01-01T12:00:00"), text("2024-01-01T12:00:00Z")),
        ("timestamp", text("2024-01-01T12:00:00Z"), text("2024-01-01T12:00:00")),
        ("timestamp", text("2024-02-29"), text("2024-02-29T00:00:00")),
        ("timestamp(3)", text("2024-02-29T01:02:03.120000"), text("2024-02-29T01:02:03.12")),
        ("timestamp", text("2023-12-31T24:00:00"), text("2024-01-01T00:00:00")),
        ("timestamp", text("-infinity"), text("-infinity")),
        ("uuid", text("{6F9619FF-8B86-D011-B42D-00C04FC964FF}"), text("6f9619ff-8b86-d011-b42d-00c04fc964ff")),
        ("json", text(r#"{"a": [1, 2.50]}"#), Value::Json(json!({"a": [1, 2.5]}))),
        ("json", text("word"), Value::Json(json!("word"))),
        ("json", text("5"), Value::Json(json!("5"))),
        ("json", text("{5"), Value::Json(json!("{5"))),
        ("json", Value::Int(5), Value::Json(json!(5))),
        ("json", decimal("1.5"), Value::Json(json!(1.5))),
        ("json", Value::Json(json!(null)), Value::Json(json!(null))),
        ("int32[]", Value::Json(json!([1, null, "3"])), Value::Json(json!([1, null, 3]))),
        ("int32[]", Value::Json(json!([[1], [2]])), Value::Json(json!([[1], [2]]))),
        ("date[]", text(r#"["2024-02-29"]"#), Value::Json(json!(["2024-02-29"]))),
    ];
    for (name, given, wanted) in table {
        assert_eq!(kind(name).take(given.clone()).as_ref(), Ok(&wanted), "{name} {given:?}");
    }
    let any = Value::Json(json!({"a": 1}));
    assert_eq!(Kind::Any.take(any.clone()), Ok(any));
    assert_eq!(Kind::Uuid.take(Value::Null), Ok(Value::Null));
}

#[test]
fn says_why_a_value_does_not_fit() {
    let table: Vec<(&str, Value, &str)> = vec![
        ("bool", Value::Int(2), "neither true nor false"),
        ("bool", text("yes"), "neither"),
        ("int16", Value::Int(32768), "-32768 to 32767"),
        ("uint8", Value::Int(-1), "0 to 255"),
        ("int64", text("9223372036854775808"), "9223372036854775807"),
        ("int64", text("007"), "no whole number"),
        ("int64", text("+4915112345"), "no whole number"),
        ("int64", Value::Float(1.5), "no whole number"),
        ("int64", text(""), "no whole number"),
        ("int64", Value::Json(json!([1])), "no whole number"),
        ("float64", Value::Int((1 << 53) + 1), "more digits than 64 bits"),
        ("float64", text("0.10000000000000000001"), "more digits"),
        ("float64", text("1e400"), "more digits"),
        ("float32", Value::Float(1.0 / 3.0), "more digits than 32 bits"),
        ("float32", Value::Int((1 << 24) + 1), "32 bits"),
        ("decimal(5,2)", text("1000"), "4 digits before the point, 3 fit"),
        ("decimal(5,2)", Value::Float(0.125), "3 digits behind the point, 2 fit"),
        ("decimal", text("12 EUR"), "no number"),
        ("text(3)", text("abcd"), "4 characters, 3 fit"),
        ("bytes", text("abc"), "no bytes"),
        ("bytes(1)", text("\\x0000"), "2 bytes` are too many, 1 fit"),
        ("date", text("2023-02-29"), "no date"),
        ("date", text("0000-00-00"), "no date"),
        ("date", text("12024-01-01"), "no date"),
        ("date", text("-0000-01-01"), "no date"),
        ("date", text("2024-02-29T01:00:00"), "time of day"),
        ("date", text("2024-02-29T00:00:00+02:00"), "time of day"),
        ("time", text("24:00:01"), "no time of day"),
        ("time", text("12:00:60"), "no time of day"),
        ("time(3)", text("12:00:00.1234"), "4 digits of a second's fraction, 3 fit"),
        ("timestamptz(3)", text("2024-01-01T00:00:00.123456Z"), "6 digits"),
        ("timestamp", Value::Int(1_700_000_000), "no date and time"),
        ("timestamp", text("2024-01-01T25:00:00"), "no date and time"),
        ("uuid", text("6f9619ff"), "no UUID"),
        ("json", text(r#"{"s":"\"1","a": 12345678901234567890123}"#), "more digits"),
        ("json", decimal("12345678901234567890123.5"), "more digits"),
        ("int32[]", Value::Json(json!([1, "x"])), "`x` is no whole number"),
        ("int32[]", Value::Json(json!({"a": 1})), "no list"),
    ];
    for (name, given, why) in table {
        let misfit = kind(name).take(given.clone()).expect_err(&format!("{name} {given:?}")).to_string();
        assert!(misfit.contains(why), "{name} {given:?}: {misfit}");
    }
    let nul = Kind::Text { max: None, nul: false }.take(text("a\0b")).unwrap_err();
    assert_eq!(nul.to_string(), "`a·b` holds the character NUL");
    let long = kind("text(5)").take(text(&"x".repeat(1000))).unwrap_err();
    assert_eq!(long.value.chars().count(), 60);
}

#[test]
fn warns_of_what_may_not_fit() {
    for (from, to, warning) in [
        ("decimal", "float64", Some("15 digits")),
        ("decimal(10,2)", "float64", None),
        ("int64", "float64", Some("2^53")),
        ("int32", "float64", None),
        ("int64", "int32", Some("2147483647")),
        ("uint32", "int64", None),
        ("uint64", "int64", Some("9223372036854775807")),
        ("decimal(9,0)", "int32", None),
        ("float64", "float32", Some("6 digits")),
        ("float64", "decimal", None),
        ("float64", "decimal(10,2)", Some("8 digits before the point fit; at most 2 digits behind")),
        ("int64", "decimal(10,0)", Some("10 digits before")),
        ("decimal(12,4)", "decimal(10,4)", Some("6 digits before")),
        ("decimal(12,4)", "decimal(14,6)", None),
        ("timestamptz(6)", "timestamp(0)", Some("0 digits of a second's fraction fit, there may be 6; the zone")),
        ("timestamp(6)", "timestamptz(6)", Some("taken as UTC")),
        ("timestamptz(3)", "timestamptz(6)", None),
        ("timestamp", "date", Some("midnights")),
        ("date", "timestamp", None),
        ("text", "text(50)", Some("50 characters")),
        ("uuid", "text(36)", None),
        ("uuid", "text(32)", Some("32 characters")),
        ("int64", "text(20)", None),
        ("text", "uuid", Some("only texts")),
        ("uuid", "int64", Some("nothing of the kind uuid fits")),
        ("json", "int64[]", Some("only documents")),
        ("int64[]", "int16[]", Some("32767")),
        ("int64", "json", None),
        ("text", "json", Some("become one, others stay texts")),
        ("json", "text", Some("documents become their text")),
        ("bytes", "bytes(16)", Some("16 bytes")),
    ] {
        let found = kind(to).narrows(&kind(from));
        match warning {
            None => assert_eq!(found, None, "{from} → {to}"),
            Some(part) => assert!(found.as_ref().is_some_and(|found| found.contains(part)), "{from} → {to}: {found:?}"),
        }
        assert_eq!(kind(to).narrows(&Kind::Any), None);
        assert_eq!(kind(from).narrows(&kind(from)), None, "{from}");
    }
    let strict = Kind::Text { max: None, nul: false };
    assert!(strict.narrows(&kind("text")).is_some_and(|found| found.contains("NUL")));
}

#[test]
fn names_are_read_as_they_are_written() {
    for name in ["bool", "int8", "uint64", "float32", "decimal", "decimal(10,2)", "text", "text(50)", "bytes(16)"] {
        assert_eq!(kind(name).to_string(), name);
    }
    for name in ["date", "time(0)", "timestamp(6)", "timestamptz(3)", "uuid", "json", "uuid[]", "text(5)[][]"] {
        assert_eq!(kind(name).to_string(), name);
    }
    for wrong in ["", "int", "int7", "int64(3)", "varchar", "text(0)", "text(", "decimal(2,3)", "time(10)", "date()"] {
        assert_eq!(Kind::parse(wrong), None, "{wrong}");
    }
}

fn values() -> impl Strategy<Value = Value> {
    let when =
        (-9_999_i32..20_000, 1_u8..14, 1_u8..33, 0_u8..26, 0_u8..62, "(\\.[0-9]{1,7})?", "|Z|[+-][01][0-9]:[0-5]0")
            .prop_map(|(year, month, day, hour, minute, fraction, zone)| {
                let sign = if year < 0 {
                    "-"
                } else if year > 9999 {
                    "+"
                } else {
                    ""
                };
                let year = year.unsigned_abs();
                text(&format!("{sign}{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:00{fraction}{zone}"))
            });
    let number = "-?[0-9]{1,25}(\\.[0-9]{1,9})?([eE]-?[0-9]{1,2})?";
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::Int),
        (-300_i64..300).prop_map(Value::Int),
        any::<f64>().prop_map(Value::Float),
        any::<f32>().prop_map(|number| Value::Float(number.into())),
        number.prop_map(|number| text(&number)),
        number.prop_filter_map("a decimal", |number| Decimal::parse(&number).map(Value::Decimal)),
        "\\PC{0,12}".prop_map(Value::Text),
        prop::collection::vec(any::<u8>(), 0..6).prop_map(Value::Bytes),
        prop::collection::vec(any::<i64>(), 0..4).prop_map(|list| Value::Json(json!(list))),
        prop::collection::vec("\\PC{0,5}", 0..4).prop_map(|list| Value::Json(json!({ "a": list }))),
        any::<u128>().prop_map(|id| text(&uuid::Uuid::from_u128(id).to_string().to_uppercase())),
        when,
    ]
}

fn kinds() -> impl Strategy<Value = Kind> {
    let names = [
        "bool",
        "int8",
        "int32",
        "int64",
        "uint64",
        "float32",
        "float64",
        "decimal",
        "decimal(12,3)",
        "text",
        "text(8)",
        "bytes",
        "date",
        "time(3)",
        "timestamp",
        "timestamptz(3)",
        "timestamptz",
        "uuid",
        "json",
        "int64[]",
        "text[]",
    ];
    prop::sample::select(names.map(kind).to_vec())
}

proptest! {
    #[test]
    fn what_was_taken_stays_and_reads_back_through_its_text(kind in kinds(), value in values()) {
        if let Ok(taken) = kind.take(value) {
            prop_assert_eq!(&kind.take(taken.clone()).unwrap(), &taken);
            // A text in a document is one, whatever it looks like.
            let scalar = matches!(&taken, Value::Json(json) if !json.is_array() && !json.is_object());
            if taken != Value::Null && !scalar {
                prop_assert_eq!(&kind.take(Value::Text(taken.to_text())).unwrap(), &taken);
            }
        }
    }

    #[test]
    fn numbers_and_texts_survive_every_wider_kind(value in values(), one in kinds(), other in kinds()) {
        // Where there is no warning, nothing of the one kind is refused by the other, nor changed on the way back.
        let Ok(taken) = one.take(value) else { return Ok(()) };
        if other.narrows(&one).is_none() {
            let there = other.take(taken.clone());
            prop_assert!(there.is_ok(), "{one} → {other}: {taken:?} {there:?}");
            prop_assert_eq!(one.take(there.unwrap()).unwrap(), taken, "{} → {}", one, other);
        }
    }
}

/// What a double holds to the last digit comes back as the same whole number, and another is refused.
#[test]
fn whole_numbers_go_through_a_double_and_back() {
    let (double, whole) = (Kind::Float { bits: 64 }, Kind::Int { bits: 64, signed: true });
    for number in [0, 1, -7, 1 << 53, (1 << 53) + 2, 1 << 60, -(1 << 60), 1_i64 << 62] {
        let kept = double.take(Value::Int(number)).unwrap();
        assert_eq!(whole.take(kept).unwrap(), Value::Int(number));
    }
    assert!(double.take(Value::Int((1 << 53) + 1)).is_err());
}
