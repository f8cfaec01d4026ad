//! Numbered pages, of which the server may have a size of its own, and whose rows move when others are deleted meanwhile.
//!
//! The last row that was given is looked for again at the seam of two pages (`spot` says why). Neighbours: `pages` asks and
//! cuts into portions. Must never enter: the other ways in which endpoints cut their rows.

use super::{
    pages::{Asked, Came, Pages, Told, page},
    shape::{Next, Row, Sheet},
    spot::{PageSpot, Place, Spot, behind, by_key, joined, key_of},
};
use crate::{
    error::{FaultKind, Result},
    model::{Record, Value},
};
use std::cmp::Ordering;
use url::Url;

impl Pages<'_> {
    pub(super) async fn numbered<R: Row>(&self, mut spot: PageSpot, mut seen: Option<Value>) -> Result<Came<R>> {
        let key = &self.asking.set.key;
        let told = loop {
            match self.ask(&self.page_url(spot.page, spot.asked)?).await? {
                Asked::Sheet(told) => break told,
                Asked::Missing(_) if spot.page > 1 => {
                    // Behind the end. If rows should be here, some were deleted meanwhile.
                    let vanished = spot.count.map_or(spot.last.is_some(), |count| count > spot.before());
                    let next = vanished.then(|| Spot::at(Place::Page(spot.back(1))).cursor());
                    return Ok(Came::nothing(None, next));
                }
                Asked::Missing(fault) => return Err(fault),
                Asked::TooLong => {
                    spot = self.half(&spot).await?;
                    seen = None;
                }
            }
        };
        let first = told.sheet.rows.first().and_then(|row| key_of(row, key));
        if spot.page > 1 && spot.first.is_some() && spot.first == first {
            // The server does not know of pages: this is the first one again.
            return Ok(Came::nothing(told.as_of, None));
        }
        let anchor = seen.as_ref().or(spot.last.as_ref()).cloned();
        let Told { mut sheet, as_of, .. } = match &anchor {
            Some(anchor) => self.joined_page(&mut spot, anchor, seen.is_some(), told).await?,
            None => told,
        };
        let end = Seam { came: sheet.rows.len(), first, last: sheet.rows.last().and_then(|row| key_of(row, key)) };
        let came = end.came;
        if let Some(anchor) = &anchor {
            sheet.rows = behind(sheet.rows, anchor, key);
        }
        let next = following(&spot, &sheet, end, seen.is_some());
        let here = PageSpot { count: sheet.total, ..spot };
        match next {
            Some(next) if next.page > here.page && came == 0 => {
                Err(self.fault(FaultKind::Garbage).detail("an empty page that says that more follow"))
            }
            // What is cut off here is come by again.
            Some(back) if back.page <= here.page => {
                sheet.rows.truncate(self.limit());
                Ok(page(sheet, as_of, Some(Spot::at(Place::Page(back)))))
            }
            next => self.portion(Place::Page(here), sheet, as_of, next.map(Place::Page)),
        }
    }

    /// This page, or an earlier one if rows were lost behind this one, which was the last to be given: of the page itself
    /// (`part`), or of the one before.
    async fn joined_page<R: Row>(
        &self,
        spot: &mut PageSpot,
        anchor: &Value,
        part: bool,
        told: Told<R>,
    ) -> Result<Told<R>> {
        let key = &self.asking.set.key;
        let is_anchor = |row: &R| row.key(key).is_some_and(|key| by_key(key, anchor) == Ordering::Equal);
        if spot.page == 1 || told.sheet.rows.iter().any(is_anchor) {
            return Ok(told);
        }
        if !part && (spot.fixed || self.stands_before(spot, is_anchor).await?) {
            return Ok(told);
        }
        let mut step = 1;
        loop {
            spot.page = spot.page.saturating_sub(step).max(1);
            step *= 2;
            match self.ask(&self.page_url(spot.page, spot.asked)?).await? {
                Asked::Sheet(told) if spot.page == 1 || joined(anchor, &told.sheet.rows, key) => {
                    spot.count = None;
                    return Ok(told);
                }
                Asked::Sheet(_) => {}
                Asked::Missing(_) if spot.page > 1 => {}
                Asked::Missing(fault) => return Err(fault),
                Asked::TooLong => return Err(self.too_long()),
            }
        }
    }

    /// The row before this page is still the one it was, or the server has pages of a size of its own, so that single
    /// rows cannot be asked for; which of the two is noted in the spot.
    async fn stands_before<R: Row>(&self, spot: &mut PageSpot, is_it: impl Fn(&R) -> bool) -> Result<bool> {
        match self.ask(&self.page_url(spot.before(), 1)?).await? {
            Asked::Sheet(Told { sheet, .. }) if sheet.rows.len() == 1 => {
                let stands = sheet.rows.iter().any(is_it);
                if stands {
                    // Better known than by counting.
                    spot.count = None;
                }
                return Ok(stands);
            }
            Asked::Sheet(Told { sheet, .. }) if !sheet.rows.is_empty() => spot.fixed = true,
            Asked::Sheet(_) | Asked::Missing(_) => spot.fixed = !self.keeps_to_size().await?,
            Asked::TooLong => return Err(self.too_long()),
        }
        Ok(spot.fixed)
    }

    /// The same place in pages of half the size.
    async fn half(&self, spot: &PageSpot) -> Result<PageSpot> {
        let half = spot.half().ok_or_else(|| self.too_long())?;
        if spot.page == 1 || self.keeps_to_size().await? { Ok(half) } else { Err(self.too_long()) }
    }

    /// The server gives as few rows as it is asked for.
    async fn keeps_to_size(&self) -> Result<bool> {
        let asked = self.ask::<Record>(&self.page_url(1, 1)?).await?;
        Ok(matches!(asked, Asked::Sheet(Told { sheet, .. }) if sheet.rows.len() == 1))
    }

    fn page_url(&self, page: u64, size: u64) -> Result<Url> {
        let names = self.names();
        self.url(&[(&names.page, &page.to_string()), (&names.page_size, &size.to_string())])
    }
}

/// The ends of a page before anything was taken from it.
struct Seam {
    /// Rows that came.
    came: usize,
    /// Key of the first one.
    first: Option<Value>,
    /// Key of the last one.
    last: Option<Value>,
}

/// The page after this one, of which the sheet holds the new rows. `again`: it was given in part before.
fn following<R>(spot: &PageSpot, sheet: &Sheet<R>, end: Seam, again: bool) -> Option<PageSpot> {
    let came = u64::try_from(end.came).unwrap_or(u64::MAX);
    let (more, says) = match (&sheet.next, sheet.total) {
        (Next::More(_), _) => (true, true),
        (Next::End, _) => (false, true),
        (Next::Unsaid, Some(total)) => (came > 0 && spot.before().saturating_add(came) < total, true),
        (Next::Unsaid, None) => (!sheet.rows.is_empty(), false),
    };
    let given = if spot.page == 1 && more { came.max(1) } else { spot.given };
    let first = if says { None } else { spot.first.clone().or(end.first) };
    let here = PageSpot { given, count: sheet.total, first, last: None, ..spot.clone() };
    match (spot.count, sheet.total) {
        (Some(was), Some(now)) if now < was && (spot.page > 1 || again) => Some(here.back(was - now)),
        _ if more => Some(PageSpot { page: spot.page + 1, last: end.last.or_else(|| spot.last.clone()), ..here }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_follows_from_what_is_said() {
        let sheet = |rows: usize, next: Next, total: Option<u64>| Sheet {
            rows: vec![Record::default(); rows],
            next,
            total,
            gone: Vec::new(),
        };
        let spot = PageSpot { page: 2, count: Some(40), ..PageSpot::first(10) };
        let more = || Next::More("x".into());
        let follow = |spot: &PageSpot, sheet: Sheet<Record>| {
            following(spot, &sheet, Seam { came: sheet.rows.len(), first: None, last: None }, false)
        };
        let page = |spot: &PageSpot, sheet: Sheet<Record>| follow(spot, sheet).map(|spot| spot.page);
        assert_eq!(page(&spot, sheet(10, more(), Some(40))), Some(3));
        assert_eq!(page(&spot, sheet(10, more(), Some(39))), Some(1), "one was deleted");
        assert_eq!(page(&spot, sheet(10, more(), Some(41))), Some(3));
        assert_eq!(page(&spot, sheet(10, Next::End, Some(40))), None);
        assert_eq!(page(&spot, sheet(10, Next::Unsaid, Some(40))), Some(3));
        let last = PageSpot { page: 4, ..spot.clone() };
        assert_eq!(page(&last, sheet(10, Next::Unsaid, Some(40))), None);
        assert_eq!(page(&spot, sheet(3, Next::Unsaid, None)), Some(3), "until a page is empty");
        assert_eq!(page(&spot, sheet(0, Next::Unsaid, None)), None);
        let first = PageSpot { page: 1, count: None, ..spot };
        let next = follow(&first, sheet(7, more(), None)).unwrap();
        assert_eq!((next.page, next.given), (2, 7), "the server has a size of its own");
    }
}
