//! Where to read on in a REST endpoint that cuts its rows into numbered pages.
//!
//! A row that is deleted while the pages are read moves all later rows forward, and a reader who only counts pages would
//! skip as many. So the cursor remembers how many rows there were: if there are fewer now, the reader goes back that
//! far and sees some rows twice, which the port allows.

use crate::{
    error::{Fault, FaultKind, Result},
    model::Value,
    ports::Cursor,
};

/// A place in an endpoint's rows.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Spot {
    /// A numbered page.
    Page(PageSpot),
    /// Behind this key, in an endpoint that always answers with everything.
    After(Value),
}

/// A numbered page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PageSpot {
    /// Its number, from 1.
    pub(super) page: u64,
    /// The page size that was asked for.
    pub(super) asked: u64,
    /// The page size that the server gave; it may have a limit of its own.
    pub(super) given: u64,
    /// Rows in the whole set when the page before was read.
    pub(super) count: Option<u64>,
}

impl PageSpot {
    /// The first page.
    pub(super) fn first(limit: u32) -> Self {
        Self { page: 1, asked: limit.into(), given: limit.into(), count: None }
    }

    /// The same place for a reader who wants at most `limit` rows: a smaller page size moves the number.
    pub(super) fn within(self, limit: u32) -> Self {
        let limit = u64::from(limit.max(1));
        if self.asked <= limit {
            return self;
        }
        let rows_before = (self.page - 1) * self.given;
        let given = self.given.min(limit);
        Self { page: rows_before / given + 1, asked: limit, given, count: self.count }
    }

    /// Back over as many pages as `lost` rows may have crossed.
    pub(super) fn back(self, lost: u64) -> Self {
        let pages = lost.div_ceil(self.given.max(1)).max(1);
        Self { page: self.page.saturating_sub(pages).max(1), ..self }
    }
}

impl Spot {
    /// The place that a cursor names.
    pub(super) fn parse(cursor: &Cursor, limit: u32) -> Result<Self> {
        let Some(text) = &cursor.0 else { return Ok(Self::Page(PageSpot::first(limit))) };
        let unreadable = || Fault::new(FaultKind::Internal, format!("read on at the cursor `{text}`"));
        if let Some(key) = text.strip_prefix("after:") {
            let json = serde_json::from_str(key).map_err(|error| unreadable().source(error))?;
            return Ok(Self::After(Value::from_json(json)));
        }
        let numbers: Vec<u64> =
            text.split(':').map(str::parse).collect::<Result<_, _>>().map_err(|error| unreadable().source(error))?;
        let spot = match numbers[..] {
            [page] => PageSpot { page, ..PageSpot::first(limit) },
            [page, asked, given] => PageSpot { page, asked, given, count: None },
            [page, asked, given, count] => PageSpot { page, asked, given, count: Some(count) },
            _ => return Err(unreadable()),
        };
        if spot.page == 0 || spot.asked == 0 || spot.given == 0 {
            return Err(unreadable());
        }
        Ok(Self::Page(spot))
    }

    /// The place as a cursor.
    pub(super) fn cursor(&self) -> Cursor {
        Cursor(Some(match self {
            Self::After(key) => format!("after:{}", key.to_json()),
            Self::Page(PageSpot { page, asked, given, count: None }) => format!("{page}:{asked}:{given}"),
            Self::Page(PageSpot { page, asked, given, count: Some(count) }) => {
                format!("{page}:{asked}:{given}:{count}")
            }
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_survives_the_ledger() {
        let spots = [
            Spot::Page(PageSpot { page: 3, asked: 500, given: 100, count: Some(1250) }),
            Spot::Page(PageSpot { page: 1, asked: 5, given: 5, count: None }),
            Spot::After(Value::Int(7)),
            Spot::After(Value::Text("a:b".into())),
        ];
        for spot in spots {
            assert_eq!(Spot::parse(&spot.cursor(), 9).unwrap(), spot);
        }
        assert!(Spot::parse(&Cursor(Some("0:5:5".into())), 9).is_err());
        assert!(Spot::parse(&Cursor(Some("x".into())), 9).is_err());
    }

    #[test]
    fn a_smaller_page_size_never_skips() {
        let spot = PageSpot { page: 3, asked: 500, given: 500, count: Some(9) };
        let smaller = spot.within(300);
        assert_eq!((smaller.page, smaller.asked), (4, 300));
        assert!((smaller.page - 1) * smaller.given <= 1000, "begins at or before row 1000");
        assert_eq!(spot.within(800), spot);
    }

    #[test]
    fn lost_rows_are_gone_back_for() {
        let spot = PageSpot { page: 7, asked: 10, given: 10, count: Some(90) };
        assert_eq!(spot.back(1).page, 6);
        assert_eq!(spot.back(11).page, 5);
        assert_eq!(spot.back(1000).page, 1);
    }
}
