//! Single values as they are typed, and what is said of those that are none.

use crate::{
    error::FaultKind,
    model::{ItemState, Phase, Waiver},
    ports::ItemVerdict,
};
use serde::de::DeserializeOwned;

/// So much a second; `None` for as much as possible.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli) struct Rate(pub(in crate::cli) Option<u64>);

pub(super) fn phase(name: &str) -> Result<Phase, String> {
    Phase::from_name(&name.replace('-', "_")).ok_or_else(|| {
        let names: Vec<_> = Phase::ALL.into_iter().map(Phase::name).collect();
        format!("the phases are {}", names.join(", "))
    })
}

/// A value by the word it has in JSON.
fn word<T: DeserializeOwned>(text: &str, what: &str) -> Result<T, String> {
    serde_json::from_value(text.replace('-', "_").into()).map_err(|_| format!("no {what}"))
}

pub(super) fn state(text: &str) -> Result<ItemState, String> {
    word(text, "state: pending, copying, copied, verified, skipped, failed, conflicting or lost")
}

pub(super) fn kind(text: &str) -> Result<FaultKind, String> {
    word(text, "kind of error: `cutover files --state failed` shows those that there are")
}

pub(super) fn verdict(text: &str) -> Result<ItemVerdict, String> {
    word(
        text,
        "verdict: same, differs, moving, only_in_source, only_in_target, error, dangling, doubled or without_file",
    )
}

pub(super) fn wrong(text: &str) -> Result<ItemVerdict, String> {
    match verdict(text)? {
        mendable @ (ItemVerdict::Differs
        | ItemVerdict::Moving
        | ItemVerdict::OnlyInSource
        | ItemVerdict::OnlyInTarget) => Ok(mendable),
        ItemVerdict::Same | ItemVerdict::Error => Err("nothing to mend: those are the same, or not comparable".into()),
        ItemVerdict::Dangling | ItemVerdict::Doubled | ItemVerdict::WithoutFile => {
            Err("nobody but a person knows how to mend those".into())
        }
    }
}

pub(super) fn change(text: &str) -> Result<i32, String> {
    match text.parse() {
        Ok(by) if by != 0 && text.starts_with(['+', '-']) => Ok(by),
        _ => Err("write it as +4 or -4".into()),
    }
}

pub(super) fn per_s(text: &str) -> Result<Rate, String> {
    rate(text, text.parse().ok()).ok_or_else(|| "write it as 50, or as off".into())
}

pub(super) fn bytes_per_s(text: &str) -> Result<Rate, String> {
    const UNITS: [(&str, u64); 8] = [
        ("", 1),
        ("B", 1),
        ("kB", 1000),
        ("MB", 1_000_000),
        ("GB", 1_000_000_000),
        ("KiB", 1 << 10),
        ("MiB", 1 << 20),
        ("GiB", 1 << 30),
    ];
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor = UNITS.iter().find(|(name, _)| *name == unit.trim()).map(|(_, factor)| *factor);
    let bytes = number.parse::<u64>().ok().zip(factor).and_then(|(number, factor)| number.checked_mul(factor));
    rate(text, bytes).ok_or_else(|| "write it as 10MiB, 500KiB or 10MB, or as off".into())
}

fn rate(text: &str, number: Option<u64>) -> Option<Rate> {
    if text == "off" { Some(Rate(None)) } else { number.filter(|number| *number > 0).map(|number| Rate(Some(number))) }
}

pub(super) fn waiver(text: &str) -> Result<Waiver, String> {
    match text.split_once('=') {
        Some((check, reason)) if !check.trim().is_empty() && !reason.trim().is_empty() => {
            Ok(Waiver { check: check.trim().into(), reason: reason.trim().into() })
        }
        _ => Err("write it as CHECK=REASON".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_and_nonsense_is_not() {
        for (text, rate) in [
            ("10MiB", Some(Some(10 << 20))),
            ("500 KiB", Some(Some(500 << 10))),
            ("2MB", Some(Some(2_000_000))),
            ("77", Some(Some(77))),
            ("off", Some(None)),
            ("0", None),
            ("10 miles", None),
            ("-1", None),
            ("99999999999GiB", None),
        ] {
            assert_eq!(bytes_per_s(text).ok(), rate.map(Rate), "{text}");
        }
        assert_eq!((change("+4"), change("-2")), (Ok(4), Ok(-2)));
        assert!(change("4").is_err() && change("+0").is_err() && per_s("many").is_err());
        assert_eq!(verdict("only-in-source"), Ok(ItemVerdict::OnlyInSource));
    }
}
