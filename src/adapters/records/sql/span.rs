//! Where a page begins and where its part of the set ends, as texts of keys.

use crate::{
    error::{Fault, FaultKind, Result},
    ports::Cursor,
};

/// A stretch of a set along its key: behind `after`, up to and with `upto`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(in super::super) struct Span {
    pub(in super::super) after: Option<String>,
    pub(in super::super) upto: Option<String>,
}

impl Span {
    /// The stretch that a cursor names.
    pub(in super::super) fn parse(doing: &str, cursor: &Cursor) -> Result<Self> {
        let Some(text) = &cursor.0 else { return Ok(Self::default()) };
        let (after, upto) = serde_json::from_str(text).map_err(|error| {
            Fault::new(FaultKind::Internal, doing).detail(format!("the cursor `{text}` is unreadable")).source(error)
        })?;
        Ok(Self { after, upto })
    }

    /// The stretch as a cursor.
    pub(in super::super) fn cursor(&self) -> Cursor {
        if *self == Self::default() {
            return Cursor::START;
        }
        Cursor(Some(serde_json::json!([self.after, self.upto]).to_string()))
    }

    /// A cursor from where this one reads up to where the next one goes on, or to the end of its part.
    pub(in super::super) fn between(from: &Cursor, next: Option<&Cursor>) -> Result<Cursor> {
        let doing = "join two cursors";
        let from = Self::parse(doing, from)?;
        let upto = match next {
            Some(next) => Self::parse(doing, next)?.after,
            None => from.upto,
        };
        Ok(Self { after: from.after, upto }.cursor())
    }

    /// The rest of the stretch, behind this key.
    pub(in super::super) fn behind(&self, key: String) -> Self {
        Self { after: Some(key), upto: self.upto.clone() }
    }

    /// The whole set in stretches that end at these keys, given in the set's order.
    pub(in super::super) fn parts(ends: impl IntoIterator<Item = String>) -> Vec<Cursor> {
        let mut parts = Vec::new();
        let mut after = None;
        for end in ends {
            if after.as_ref() != Some(&end) {
                parts.push(Self { after, upto: Some(end.clone()) }.cursor());
                after = Some(end);
            }
        }
        parts.push(Self { after, upto: None }.cursor());
        parts
    }
}

/// Where about so many even parts of the whole numbers from `least` to `most` end, the last part left open.
pub(in super::super) fn even(least: i128, most: i128, parts: u32) -> Vec<String> {
    let parts = i128::from(parts.max(1));
    let width = (most - least + 1).max(1);
    let ends = (1..parts).map(|n| least + width * n / parts - 1).filter(|end| (least..most).contains(end));
    ends.map(|end| end.to_string()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_hang_together() {
        let parts = Span::parts(even(1, 10, 3));
        let spans: Vec<_> = parts.iter().map(|part| Span::parse("", part).unwrap()).collect();
        let ends: Vec<_> = spans.iter().map(|span| (span.after.as_deref(), span.upto.as_deref())).collect();
        assert_eq!(ends, [(None, Some("3")), (Some("3"), Some("6")), (Some("6"), None)]);
        assert_eq!(Span::parts(even(5, 5, 4)), [Cursor::START]);
        assert_eq!(even(i128::from(i64::MIN), i128::from(u64::MAX), 2).len(), 1);
        let same = Span::parts(["a".to_owned(), "a".to_owned()]);
        assert_eq!(same.len(), 2, "a part without keys is none");
        assert_eq!(Span::parse("", &spans[1].cursor()).unwrap(), spans[1]);
        assert!(Span::parse("", &Cursor(Some("x".into()))).is_err());
    }
}
