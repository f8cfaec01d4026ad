//! Where to read on in a REST endpoint, whatever its way of cutting rows into pages.
//!
//! Rows that are deleted while the pages are read move all later rows forward, and a reader who only counts would skip as
//! many, also if as many are inserted elsewhere. So the spot remembers the last row that was seen: the row before an
//! offset or a numbered page is asked for again, and unless it is that one, the reader goes back until it meets it. Where
//! pages have a size of the server's own, single rows cannot be asked for; there the number of rows must do, and if it
//! falls, the reader goes back that far. Some rows are seen twice, which the port allows. Links and tokens are the
//! server's own promise.
//! Pure. Must never enter: requests.

use crate::{
    error::{Fault, FaultKind, Result},
    model::{Record, Value, text::clean},
    plan::Pagination,
    ports::Cursor,
};
use serde::{Deserialize, Serialize};
use std::{cmp::Ordering, fmt};

/// A place in an endpoint's rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Spot {
    /// A page, or everything.
    pub(super) place: Place,
    /// Key of the last row of it that was given already, because the page was longer than what was wanted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) seen: Option<Value>,
}

/// A page, or everything.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Place {
    /// A numbered page.
    Page(PageSpot),
    /// Rows from an offset.
    Offset(OffsetSpot),
    /// The first page where the answer says which is the next; so many rows are asked for.
    First(u64),
    /// A page by its path and query.
    Link(String),
    /// The page of this token; so many rows are asked for.
    Token(String, u64),
    /// Everything at once.
    All,
    /// Behind this key, in an endpoint that always answers with everything.
    After(Value),
}

/// A numbered page.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct PageSpot {
    /// Its number, from 1.
    pub(super) page: u64,
    /// The page size that was asked for.
    pub(super) asked: u64,
    /// The page size that the server gave; it may have a limit of its own.
    pub(super) given: u64,
    /// Rows in the whole set when the page before was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) count: Option<u64>,
    /// Key of the first row of the first page, for a server that does not say whether there are more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) first: Option<Value>,
    /// Key of the row before this page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) last: Option<Value>,
    /// The server does not keep to the page size that it is asked for.
    #[serde(default)]
    pub(super) fixed: bool,
}

/// Rows from an offset.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct OffsetSpot {
    /// Rows before the first one.
    pub(super) offset: u64,
    /// Rows that are asked for.
    pub(super) asked: u64,
    /// Key of the row before the first one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) last: Option<Value>,
}

impl PageSpot {
    /// The first page.
    pub(super) const fn first(asked: u64) -> Self {
        Self { page: 1, asked, given: asked, count: None, first: None, last: None, fixed: false }
    }

    /// Rows before this page.
    pub(super) fn before(&self) -> u64 {
        self.page.saturating_sub(1).saturating_mul(self.given)
    }

    /// Back over as many pages as `lost` rows may have crossed.
    pub(super) fn back(self, lost: u64) -> Self {
        let pages = lost.div_ceil(self.given.max(1)).max(1);
        Self { page: self.page.saturating_sub(pages).max(1), ..self }
    }

    /// A page of half the size that begins at this one's beginning or before; `None` if this cannot be halved. Only
    /// where the server keeps to the size it is asked for.
    pub(super) fn half(&self) -> Option<Self> {
        let asked = self.given.min(self.asked) / 2;
        let page = self.before() / asked.max(1) + 1;
        (asked > 0).then(|| Self { page, asked, given: asked, ..self.clone() })
    }
}

impl Spot {
    /// The place that a cursor names, in an endpoint of this kind.
    pub(super) fn parse(cursor: &Cursor, pagination: Pagination, limit: u32) -> Result<Self> {
        let asked = u64::from(limit.max(1));
        let Some(text) = &cursor.0 else {
            return Ok(Self::at(match pagination {
                Pagination::PageNumber => Place::Page(PageSpot::first(asked)),
                Pagination::LimitOffset => Place::Offset(OffsetSpot { offset: 0, asked, last: None }),
                Pagination::Cursor | Pagination::LinkHeader => Place::First(asked),
                Pagination::None => Place::All,
            }));
        };
        serde_json::from_str(text).map_err(|error| {
            let detail = "such a cursor comes from another version of this program, or from another kind of store";
            Fault::new(FaultKind::Internal, format!("read on at the cursor `{text}`")).detail(detail).source(error)
        })
    }

    /// The beginning of this place.
    pub(super) const fn at(place: Place) -> Self {
        Self { place, seen: None }
    }

    /// The place as a cursor.
    pub(super) fn cursor(&self) -> Cursor {
        Cursor(Some(serde_json::json!(self).to_string()))
    }
}

impl fmt::Display for Spot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Page(spot) => write!(f, "page {}", spot.page),
            Place::Offset(spot) => write!(f, "row {}", spot.offset.saturating_add(1)),
            Place::First(_) | Place::All => f.write_str("the start"),
            Place::Link(link) => f.write_str(&clean(link, 120)),
            Place::Token(token, _) => write!(f, "the cursor {}", clean(token, 60)),
            Place::After(key) => write!(f, "what follows the key {}", clean(&key.to_text(), 60)),
        }?;
        match &self.seen {
            Some(key) => write!(f, " behind the key {}", clean(&key.to_text(), 60)),
            None => Ok(()),
        }
    }
}

/// A row of an answer, in whichever form it is wanted.
pub(super) trait Keyed {
    /// What it has in the field of the key.
    fn key(&self, field: &str) -> Option<&Value>;
}

impl Keyed for Record {
    fn key(&self, field: &str) -> Option<&Value> {
        self.get(field)
    }
}

/// A row's key as it came.
pub(super) fn key_of(row: &impl Keyed, key: &str) -> Option<Value> {
    row.key(key).filter(|value| **value != Value::Null).cloned()
}

/// These rows, read from the row before an offset on, follow the last row that was seen: it is among them, or they are in
/// the order of their keys and begin before it.
pub(super) fn joined(last: &Value, rows: &[impl Keyed], key: &str) -> bool {
    let keys: Vec<&Value> = rows.iter().filter_map(|row| row.key(key)).collect();
    let ascending = || keys.is_sorted_by(|a, b| by_key(a, b) == Ordering::Less);
    keys.iter().any(|key| by_key(key, last) == Ordering::Equal)
        || keys.len() > 1 && keys.first().is_some_and(|first| by_key(first, last) == Ordering::Less) && ascending()
}

/// The rows behind this one; all of them if it is not among them any more.
pub(super) fn behind<R: Keyed>(mut rows: Vec<R>, seen: &Value, key: &str) -> Vec<R> {
    let place = rows.iter().position(|row| row.key(key).is_some_and(|of| by_key(of, seen) == Ordering::Equal));
    rows.drain(..place.map_or(0, |place| place + 1));
    rows
}

/// Whole numbers in their order, everything else by its text, numbers first.
pub(super) fn by_key(a: &Value, b: &Value) -> Ordering {
    match (a, b) {
        (Value::Int(a), Value::Int(b)) => a.cmp(b),
        (Value::Int(_), _) => Ordering::Less,
        (_, Value::Int(_)) => Ordering::Greater,
        (a, b) => a.to_text().cmp(&b.to_text()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_cursor_survives_the_ledger() {
        let page =
            PageSpot { page: 3, given: 100, count: Some(1250), first: Some(Value::Int(1)), ..PageSpot::first(500) };
        let places = [
            Place::Page(page.clone()),
            Place::Page(PageSpot { count: None, first: None, ..page }),
            Place::Offset(OffsetSpot { offset: 7, asked: 5, last: Some(Value::Text("7".into())) }),
            Place::First(10),
            Place::Link("/api/?cursor=cD0%3D&page_size=2".into()),
            Place::Token("a\"b".into(), 7),
            Place::All,
            Place::After(Value::Int(7)),
        ];
        for place in places {
            for seen in [None, Some(Value::Int(4))] {
                let spot = Spot { place: place.clone(), seen };
                assert_eq!(Spot::parse(&spot.cursor(), Pagination::None, 9).unwrap(), spot);
            }
        }
        assert!(Spot::parse(&Cursor(Some("x".into())), Pagination::None, 9).is_err());
    }

    #[test]
    fn half_a_page_never_skips() {
        let spot = PageSpot { page: 3, ..PageSpot::first(501) };
        let half = spot.half().unwrap();
        assert_eq!((half.asked, half.given), (250, 250));
        assert!(half.before() <= spot.before() && half.before() + 250 > spot.before());
        assert_eq!(PageSpot::first(1).half(), None);
    }

    #[test]
    fn lost_rows_are_gone_back_for() {
        let spot = PageSpot { page: 7, count: Some(90), ..PageSpot::first(10) };
        assert_eq!(spot.clone().back(1).page, 6);
        assert_eq!(spot.clone().back(11).page, 5);
        assert_eq!(spot.back(1000).page, 1);
    }

    #[test]
    fn rows_join_if_they_overlap() {
        let rows = |keys: &[i64]| -> Vec<Record> {
            keys.iter().map(|key| Record::from_json(json!({ "id": key })).unwrap()).collect()
        };
        for (last, keys, wanted) in [
            (5, &[5, 6, 7][..], true),
            (5, &[6, 7][..], false),
            (5, &[4, 6, 7][..], true),
            (5, &[9, 5, 1][..], true),
            (5, &[4, 9, 1][..], false),
            (5, &[][..], false),
        ] {
            assert_eq!(joined(&Value::Int(last), &rows(keys), "id"), wanted, "{last} {keys:?}");
        }
    }
}
