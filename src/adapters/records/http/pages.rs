//! One page after another, in each of the ways in which endpoints cut their rows.
//!
//! A page that is longer than what is wanted is given in portions, by the key of the last row that was given: the server
//! is asked for it again, and its `ETag` may spare the transfer. An answer that is longer than the plan allows is asked
//! for again with half the rows, where the server keeps to the size it is asked for.
//! Must never enter: what an answer looks like (`shape`), and requests that change something.

use super::{
    shape::{Next, Row, Sheet, sheet},
    spot::{OffsetSpot, PageSpot, Place, Spot, behind, by_key, joined, key_of},
    wire::Wire,
};
use crate::{
    adapters::http::Answer,
    error::{Fault, FaultKind, Result},
    model::{Key, Record, Timestamp, Value},
    plan::{NextAs, Pagination, Parameters},
    ports::{Cursor, SetRef},
};
use reqwest::StatusCode;
use std::cmp::Ordering;
use url::Url;

/// What is asked for.
pub(super) struct Asking<'a> {
    pub(super) doing: &'a str,
    pub(super) set: &'a SetRef,
    /// A parameter that leaves some rows.
    pub(super) filter: Option<(&'a str, &'a str)>,
    pub(super) limit: u32,
}

/// The pages of an endpoint.
pub(super) struct Pages<'a> {
    pub(super) wire: &'a Wire,
    pub(super) asking: Asking<'a>,
}

/// What came, as the caller of the port gets it.
pub(super) struct Came<R> {
    pub(super) rows: Vec<R>,
    pub(super) next: Option<Cursor>,
    pub(super) gone: Vec<Key>,
    pub(super) total: Option<u64>,
    pub(super) as_of: Option<Timestamp>,
}

impl<R> Came<R> {
    /// No rows: the end, or a page that is to be asked for otherwise.
    const fn nothing(as_of: Option<Timestamp>, next: Option<Cursor>) -> Self {
        Self { rows: Vec::new(), next, gone: Vec::new(), total: None, as_of }
    }
}

/// An answer to the question for a page.
enum Asked<R> {
    Sheet(Told<R>),
    /// There is no such page.
    Missing(Fault),
    /// The answer is longer than the plan allows.
    TooLong,
}

/// A page with what its answer says besides.
struct Told<R> {
    sheet: Sheet<R>,
    as_of: Option<Timestamp>,
    /// The next page by the header `Link`.
    link: Option<String>,
}

impl Pages<'_> {
    /// The page at this spot.
    pub(super) async fn read<R: Row>(&self, spot: Spot) -> Result<Came<R>> {
        let Spot { place, seen } = spot;
        match place {
            Place::Page(page) => self.numbered(page, seen).await,
            Place::Offset(offset) => self.offset(offset).await,
            Place::First(asked) => {
                let url = self.url(&[(&self.names().page_size, &asked.to_string())])?;
                self.linked(Place::First(asked), seen, url, asked).await
            }
            Place::Token(token, asked) => {
                let names = self.names();
                let url = self.url(&[(&names.page_size, &asked.to_string()), (&names.cursor, &token)])?;
                self.linked(Place::Token(token, asked), seen, url, asked).await
            }
            Place::Link(link) => {
                let url = self.wire.url(self.asking.doing, "")?.join(&link);
                let url = url.map_err(|error| self.fault(FaultKind::Internal).source(error))?;
                self.linked(Place::Link(link), seen, url, self.asking.limit.into()).await
            }
            Place::All => self.everything(None).await,
            Place::After(key) => self.everything(Some(&key)).await,
        }
    }

    async fn numbered<R: Row>(&self, mut spot: PageSpot, mut seen: Option<Value>) -> Result<Came<R>> {
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

    async fn offset<R: Row>(&self, mut spot: OffsetSpot) -> Result<Came<R>> {
        let names = self.names();
        let (key, limit) = (&self.asking.set.key, u64::from(self.asking.limit.max(1)));
        // The row before is read again, to see that nothing has moved.
        let mut from = spot.offset.saturating_sub(spot.last.is_some().into());
        let mut step = spot.asked;
        let Told { mut sheet, as_of, .. } = loop {
            let asked = spot.asked + spot.offset.saturating_sub(from).min(1);
            let query = [(&*names.limit, &*asked.to_string()), (&*names.offset, &*from.to_string())];
            let told = match self.ask(&self.url(&query)?).await? {
                Asked::Sheet(told) => told,
                Asked::Missing(fault) => return Err(fault),
                Asked::TooLong if spot.asked > 1 => {
                    spot.asked /= 2;
                    continue;
                }
                Asked::TooLong => return Err(self.too_long()),
            };
            if from == 0 || spot.last.as_ref().is_none_or(|last| joined(last, &told.sheet.rows, key)) {
                break told;
            }
            from = from.saturating_sub(step);
            step = step.saturating_mul(2);
        };
        let came = u64::try_from(sheet.rows.len()).unwrap_or(u64::MAX);
        let more = match (&sheet.next, sheet.total) {
            (Next::More(_), _) => true,
            (Next::End, _) => false,
            (Next::Unsaid, Some(total)) => came > 0 && from + came < total,
            (Next::Unsaid, None) => came > 0,
        };
        if more && came == 0 {
            return Err(self.fault(FaultKind::Garbage).detail("an empty page that says that more follow"));
        }
        if let Some(last) = &spot.last {
            sheet.rows = behind(sheet.rows, last, key);
        }
        let kept = u64::try_from(sheet.rows.len()).unwrap_or(u64::MAX).min(limit);
        let all = kept == u64::try_from(sheet.rows.len()).unwrap_or(u64::MAX);
        let last = usize::try_from(kept).ok().and_then(|kept| sheet.rows.get(kept.checked_sub(1)?));
        let last = last.and_then(|row| key_of(row, key));
        // A server that does not say whether there are more has no more if nothing new came.
        let unsaid = sheet.next == Next::Unsaid && sheet.total.is_none();
        let on = if kept == 0 { more && !unsaid } else { more || !all };
        let offset = from + came - u64::try_from(sheet.rows.len()).unwrap_or(u64::MAX).saturating_sub(kept);
        let next = on.then_some(Place::Offset(OffsetSpot { offset, asked: spot.asked, last }));
        sheet.rows.truncate(self.limit());
        Ok(page(sheet, as_of, next.map(Spot::at)))
    }

    /// A page where the answer says which is the next.
    async fn linked<R: Row>(&self, place: Place, seen: Option<Value>, url: Url, asked: u64) -> Result<Came<R>> {
        let plan = self.wire.plan();
        let Told { mut sheet, as_of, link } = match self.ask(&url).await? {
            Asked::Sheet(told) => told,
            Asked::Missing(fault) => return Err(fault),
            Asked::TooLong => return Err(self.too_long()),
        };
        let said = match (plan.pagination, &sheet.next) {
            (Pagination::LinkHeader, _) => link,
            (_, Next::More(said)) => Some(said.clone()),
            (_, Next::End | Next::Unsaid) => None,
        };
        let next = match said {
            None => None,
            Some(token) if plan.pagination == Pagination::Cursor && plan.read.next_as == NextAs::Token => {
                Some(Place::Token(token, asked))
            }
            Some(link) => Some(Place::Link(self.own(&url, &link)?)),
        };
        let here = Place::Link(below(&url));
        if next.as_ref().is_some_and(|next| *next == place || *next == here) {
            return Err(self.fault(FaultKind::Garbage).detail("the next page is said to be this page again"));
        }
        if let Some(seen) = &seen {
            sheet.rows = behind(sheet.rows, seen, &self.asking.set.key);
        }
        self.portion(place, sheet, as_of, next)
    }

    /// A part of an endpoint that always answers with everything: the rows behind `after`, in key order.
    async fn everything<R: Row>(&self, after: Option<&Value>) -> Result<Came<R>> {
        let key = &self.asking.set.key;
        let Told { mut sheet, as_of, .. } = match self.ask(&self.url(&[])?).await? {
            Asked::Sheet(told) => told,
            Asked::Missing(fault) => return Err(fault),
            Asked::TooLong => return Err(self.too_long()),
        };
        let of = |row: &R| key_of(row, key).unwrap_or(Value::Null);
        sheet.total = sheet.total.or_else(|| u64::try_from(sheet.rows.len()).ok());
        sheet.rows.sort_by(|a, b| by_key(&of(a), &of(b)));
        if let Some(after) = after {
            sheet.rows.retain(|record| by_key(&of(record), after) == Ordering::Greater);
        }
        let more = sheet.rows.len() > self.limit();
        sheet.rows.truncate(self.limit());
        let next = sheet.rows.last().filter(|_| more).map(|last| Spot::at(Place::After(of(last))));
        Ok(page(sheet, as_of, next))
    }

    /// As much of a page as is wanted.
    fn portion<R: Row>(
        &self,
        here: Place,
        mut sheet: Sheet<R>,
        as_of: Option<Timestamp>,
        next: Option<Place>,
    ) -> Result<Came<R>> {
        if sheet.rows.len() <= self.limit() {
            return Ok(page(sheet, as_of, next.map(Spot::at)));
        }
        sheet.rows.truncate(self.limit());
        let key = &self.asking.set.key;
        let last = sheet.rows.last().and_then(|row| key_of(row, key));
        let seen = last.ok_or_else(|| {
            let detail = format!("a row without `{key}`, the key, in a page that is longer than asked");
            self.fault(FaultKind::Refused).detail(detail)
        })?;
        Ok(page(sheet, as_of, Some(Spot { place: here, seen: Some(seen) })))
    }

    fn limit(&self) -> usize {
        usize::try_from(self.asking.limit.max(1)).unwrap_or(usize::MAX)
    }

    async fn ask<R: Row>(&self, url: &Url) -> Result<Asked<R>> {
        let doing = self.asking.doing;
        let Some(answer) = self.wire.get(doing, url).await? else { return Ok(Asked::TooLong) };
        if answer.status == StatusCode::NOT_FOUND {
            return Ok(Asked::Missing(answer.refusal(doing)));
        }
        let answer = answer.success(doing)?;
        let sheet = sheet(&self.wire.plan().read, &self.asking.set.key, &answer.body).map_err(|why| {
            let begins = answer.excerpt();
            let begins = if begins.trim().is_empty() { String::new() } else { format!("; it begins: {begins}") };
            self.fault(FaultKind::Garbage).detail(format!("no page of rows: {why}{begins}"))
        })?;
        Ok(Asked::Sheet(Told { sheet, as_of: as_of(&answer), link: answer.headers("link").find_map(next_link) }))
    }

    fn names(&self) -> &Parameters {
        &self.wire.plan().read.parameters
    }

    fn fault(&self, kind: FaultKind) -> Fault {
        Fault::new(kind, self.asking.doing)
    }

    fn too_long(&self) -> Fault {
        let most = self.wire.plan().max_answer;
        let detail =
            format!("more than {most} bytes came: ask for fewer rows at once (`batch_records`) or raise `max_answer`");
        self.fault(FaultKind::Refused).detail(detail)
    }

    fn url(&self, query: &[(&str, &str)]) -> Result<Url> {
        let mut url = self.wire.url(self.asking.doing, &self.asking.set.name)?;
        let query = query.iter().copied().chain(self.asking.filter);
        let mut query = query.peekable();
        if query.peek().is_some() {
            url.query_pairs_mut().extend_pairs(query);
        }
        Ok(url)
    }

    /// Path and query of a link in the answer from `url`, if it leads to the same server.
    fn own(&self, url: &Url, link: &str) -> Result<String> {
        let to = url.join(link).map_err(|error| {
            self.fault(FaultKind::Garbage).detail(format!("the next page is said to be at `{link}`")).source(error)
        })?;
        if to.origin() == url.origin() {
            return Ok(below(&to));
        }
        let (to, here) = (to.origin().ascii_serialization(), url.origin().ascii_serialization());
        let detail =
            format!("the next page is said to be at {to}, which is not {here}: a credential does not go there");
        Err(self.fault(FaultKind::Refused).detail(detail))
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

fn page<R>(sheet: Sheet<R>, as_of: Option<Timestamp>, next: Option<Spot>) -> Came<R> {
    let next = next.map(|spot| spot.cursor());
    Came { rows: sheet.rows, next, gone: sheet.gone, total: sheet.total, as_of }
}

/// A row that changed while the answer was made may not be in it, so the watermark lies before the asking.
fn as_of(answer: &Answer) -> Option<Timestamp> {
    answer.date()?.checked_sub(jiff::SignedDuration::try_from(answer.took).ok()?).ok()
}

/// Path and query.
fn below(url: &Url) -> String {
    url[url::Position::BeforePath..url::Position::AfterQuery].to_owned()
}

/// The address of the next page in a header `Link` (`<https://…>; rel="next", <…>; rel="last"`).
fn next_link(header: &str) -> Option<String> {
    let mut rest = header;
    while let Some((_, tail)) = rest.split_once('<') {
        let (link, tail) = tail.split_once('>')?;
        let end = tail.find('<').unwrap_or(tail.len());
        let mut parameters = tail[..end].split([';', ',']).filter_map(|pair| pair.split_once('='));
        let next = parameters.any(|(name, value)| {
            let words = value.trim().trim_matches('"');
            name.trim().eq_ignore_ascii_case("rel") && words.split_whitespace().any(|w| w.eq_ignore_ascii_case("next"))
        });
        if next {
            return Some(link.to_owned());
        }
        rest = &tail[end..];
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_link_names_the_next_page() {
        for (header, wanted) in [
            ("<https://h/a?page=2>; rel=\"next\", <https://h/a?page=9>; rel=\"last\"", Some("https://h/a?page=2")),
            ("<https://h/a?x=1,2;3>; title=\"x\"; rel=next", Some("https://h/a?x=1,2;3")),
            ("</a?page=1>; rel=\"prev first\", </a?page=3>; REL=\"last next\"", Some("/a?page=3")),
            ("<https://h/next>; rel=\"prev\"", None),
            ("<broken", None),
            ("", None),
        ] {
            assert_eq!(next_link(header).as_deref(), wanted, "{header}");
        }
    }

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
