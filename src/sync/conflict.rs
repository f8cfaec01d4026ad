//! Who wins where both sides changed a record. Pure.

use crate::{
    model::{Record, Timestamp},
    plan::ConflictPolicy,
};

/// How a conflict is decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resolution {
    /// The legacy record stands.
    Legacy,
    /// The new record stands.
    New,
    /// A person decides.
    Open,
}

impl Resolution {
    /// How it was decided, for the ledger; empty while it is open.
    #[must_use]
    pub const fn words(self, policy: ConflictPolicy) -> &'static str {
        match (policy, self) {
            (_, Self::Open) => "",
            (ConflictPolicy::NewestWins, Self::Legacy) => "newest wins: legacy",
            (ConflictPolicy::NewestWins, Self::New) => "newest wins: new",
            (_, Self::Legacy) => "legacy wins",
            (_, Self::New) => "new wins",
        }
    }
}

/// Decides a conflict between a record as the legacy and as the new side hold it. `NewestWins` needs a time on both
/// sides: where one cannot be read, or both are equal, nobody can say who is newer and a person decides.
#[must_use]
pub fn resolve(policy: ConflictPolicy, legacy: &Record, new: &Record, updated: Option<&str>) -> Resolution {
    match policy {
        ConflictPolicy::LegacyWins => Resolution::Legacy,
        ConflictPolicy::NewWins => Resolution::New,
        ConflictPolicy::Manual => Resolution::Open,
        ConflictPolicy::NewestWins => {
            let time = |record: &Record| record.text(updated?).as_deref().and_then(instant);
            match (time(legacy), time(new)) {
                (Some(legacy), Some(new)) if legacy > new => Resolution::Legacy,
                (Some(legacy), Some(new)) if new > legacy => Resolution::New,
                _ => Resolution::Open,
            }
        }
    }
}

/// A point in time as stores write it: RFC 3339, the same with a space, without an offset (UTC), or Unix seconds.
fn instant(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    if let Ok(at) = text.parse::<Timestamp>() {
        return Some(at);
    }
    if let Ok(civil) = text.parse::<jiff::civil::DateTime>() {
        return civil.to_zoned(jiff::tz::TimeZone::UTC).ok().map(|zoned| zoned.timestamp());
    }
    text.parse::<i64>().ok().and_then(|seconds| Timestamp::from_second(seconds).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn at(when: &str) -> Record {
        Record::from_json(json!({"id": 1, "updated_at": when})).unwrap()
    }

    #[test]
    fn the_table() {
        use ConflictPolicy::{LegacyWins, Manual, NewWins, NewestWins};
        let (early, late) = ("2026-11-21T01:00:00Z", "2026-11-21T01:00:00.5Z");
        for (policy, legacy, new, expected) in [
            (LegacyWins, early, late, Resolution::Legacy),
            (NewWins, late, early, Resolution::New),
            (Manual, early, late, Resolution::Open),
            (NewestWins, early, late, Resolution::New),
            (NewestWins, late, early, Resolution::Legacy),
            (NewestWins, early, early, Resolution::Open),
            (NewestWins, early, "yesterday", Resolution::Open),
            (NewestWins, "2026-11-21 01:00:00", late, Resolution::New),
            (NewestWins, "2026-11-21T02:00:00+02:00", early, Resolution::New),
            (NewestWins, "1795222800", late, Resolution::New),
        ] {
            assert_eq!(
                resolve(policy, &at(legacy), &at(new), Some("updated_at")),
                expected,
                "{policy:?} {legacy} {new}"
            );
        }
        assert_eq!(resolve(NewestWins, &at(early), &at(late), None), Resolution::Open);
    }

    proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn exchanging_the_sides_exchanges_the_winner(a in 0_i64..4_000_000_000, b in 0_i64..4_000_000_000) {
            let (a, b) = (at(&Timestamp::from_second(a).unwrap().to_string()), at(&Timestamp::from_second(b).unwrap().to_string()));
            let swapped = match resolve(ConflictPolicy::NewestWins, &b, &a, Some("updated_at")) {
                Resolution::Legacy => Resolution::New,
                Resolution::New => Resolution::Legacy,
                Resolution::Open => Resolution::Open,
            };
            prop_assert_eq!(resolve(ConflictPolicy::NewestWins, &a, &b, Some("updated_at")), swapped);
        }

        #[test]
        fn no_text_panics(a in ".*", b in ".*") {
            let _ = resolve(ConflictPolicy::NewestWins, &at(&a), &at(&b), Some("updated_at"));
        }
    }
}
