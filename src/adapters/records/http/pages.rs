//! One page after another, in each of the ways in which endpoints cut their rows.
//!
//! A page that is longer than what is wanted is given in portions, by the key of the last row that was given: the server
//! is asked for it again, and its `ETag` may spare the transfer. An answer that is longer than the plan allows is asked
//! for again with half the rows, where the server keeps to the size it is asked for.
//! Must never enter: what an answer looks like (`shape`), and requests that change something.

use super::{
    shape::{Next, Sheet, sheet},
    spot::{OffsetSpot, PageSpot, Place, Spot, behind, by_key, joined, key_of},
    wire::Wire,
};
use crate::{
    adapters::http::Answer,
    error::{Fault, FaultKind, Result},
    model::{Record, Timestamp, Value},
    plan::{NextAs, Pagination},
    ports::{Page, SetRef},
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

/// An answer to the question for a page.
enum Asked {
    Sheet(Told),
    /// There is no such page.
    Missing(Fault),
    /// The answer is longer than the plan allows.
    TooLong,
}

/// A page with what its answer says besides.
struct Told {
    sheet: Sheet,
    as_of: Option<Timestamp>,
    /// The next page by the header `Link`.
    link: Option<String>,
}

impl Pages<'_> {
    /// The page at this spot.
    pub(super) async fn read(&self, spot: Spot) -> Result<Page> {
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

    async fn numbered(&self, mut spot: PageSpot, mut seen: Option<Value>) -> Result<Page> {
        let names = self.names();
        let Told { sheet, as_of, .. } = loop {
            let query = [(&*names.page, &*spot.page.to_string()), (&*names.page_size, &*spot.asked.to_string())];
            match self.ask(&self.url(&query)?).await? {
                Asked::Sheet(told) => break told,
                Asked::Missing(_) if spot.page > 1 => {
                    // Behind the end. If rows should be here, some were deleted meanwhile.
                    let vanished = spot.count.is_some_and(|count| count > spot.before());
                    let next = vanished.then(|| Spot::at(Place::Page(spot.back(1))).cursor());
                    return Ok(Page { next, ..Page::default() });
                }
                Asked::Missing(fault) => return Err(fault),
                Asked::TooLong => {
                    spot = spot.half().ok_or_else(|| self.too_long())?;
                    seen = None;
                }
            }
        };
        let first = sheet.records.first().and_then(|row| key_of(row, &self.asking.set.key));
        if spot.page > 1 && spot.first.is_some() && spot.first == first {
            // The server does not know of pages: this is the first one again.
            return Ok(Page { as_of, ..Page::default() });
        }
        let next = following(&spot, &sheet, first, seen.is_some());
        match &next {
            Some(next) if next.page > spot.page && sheet.records.is_empty() => {
                return Err(self.fault(FaultKind::Garbage).detail("an empty page that says that more follow"));
            }
            // What is cut off here is come by again.
            Some(back) if back.page <= spot.page => {
                let mut sheet = sheet;
                sheet.records.truncate(usize::try_from(self.asking.limit.max(1)).unwrap_or(usize::MAX));
                return Ok(page(sheet, as_of, Some(Spot::at(Place::Page(back.clone())))));
            }
            _ => {}
        }
        let here = PageSpot { count: sheet.total, ..spot };
        self.portion(Place::Page(here), seen.as_ref(), sheet, as_of, next.map(Place::Page))
    }

    async fn offset(&self, mut spot: OffsetSpot) -> Result<Page> {
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
            if from == 0 || spot.last.as_ref().is_none_or(|last| joined(last, &told.sheet.records, key)) {
                break told;
            }
            from = from.saturating_sub(step);
            step = step.saturating_mul(2);
        };
        let came = u64::try_from(sheet.records.len()).unwrap_or(u64::MAX);
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
            sheet.records = behind(sheet.records, last, key);
        }
        let kept = u64::try_from(sheet.records.len()).unwrap_or(u64::MAX).min(limit);
        let all = kept == u64::try_from(sheet.records.len()).unwrap_or(u64::MAX);
        let last = usize::try_from(kept).ok().and_then(|kept| sheet.records.get(kept.checked_sub(1)?));
        let last = last.and_then(|row| key_of(row, key));
        // A server that does not say whether there are more has no more if nothing new came.
        let unsaid = sheet.next == Next::Unsaid && sheet.total.is_none();
        let on = if kept == 0 { more && !unsaid } else { more || !all };
        let offset = from + came - u64::try_from(sheet.records.len()).unwrap_or(u64::MAX).saturating_sub(kept);
        let next = on.then_some(Place::Offset(OffsetSpot { offset, asked: spot.asked, last }));
        sheet.records.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        Ok(page(sheet, as_of, next.map(Spot::at)))
    }

    /// A page where the answer says which is the next.
    async fn linked(&self, place: Place, seen: Option<Value>, url: Url, asked: u64) -> Result<Page> {
        let plan = self.wire.plan();
        let Told { sheet, as_of, link } = match self.ask(&url).await? {
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
        self.portion(place, seen.as_ref(), sheet, as_of, next)
    }

    /// A part of an endpoint that always answers with everything: the rows behind `after`, in key order.
    async fn everything(&self, after: Option<&Value>) -> Result<Page> {
        let key = &self.asking.set.key;
        let Told { mut sheet, as_of, .. } = match self.ask(&self.url(&[])?).await? {
            Asked::Sheet(told) => told,
            Asked::Missing(fault) => return Err(fault),
            Asked::TooLong => return Err(self.too_long()),
        };
        let of = |record: &Record| key_of(record, key).unwrap_or(Value::Null);
        sheet.total = sheet.total.or_else(|| u64::try_from(sheet.records.len()).ok());
        sheet.records.sort_by(|a, b| by_key(&of(a), &of(b)));
        if let Some(after) = after {
            sheet.records.retain(|record| by_key(&of(record), after) == Ordering::Greater);
        }
        let limit = usize::try_from(self.asking.limit.max(1)).unwrap_or(usize::MAX);
        let more = sheet.records.len() > limit;
        sheet.records.truncate(limit);
        let next = sheet.records.last().filter(|_| more).map(|last| Spot::at(Place::After(of(last))));
        Ok(page(sheet, as_of, next))
    }

    /// As much of a page as is wanted.
    fn portion(
        &self,
        here: Place,
        seen: Option<&Value>,
        mut sheet: Sheet,
        as_of: Option<Timestamp>,
        next: Option<Place>,
    ) -> Result<Page> {
        let key = &self.asking.set.key;
        if let Some(seen) = seen {
            sheet.records = behind(sheet.records, seen, key);
        }
        let limit = usize::try_from(self.asking.limit.max(1)).unwrap_or(usize::MAX);
        if sheet.records.len() <= limit {
            return Ok(page(sheet, as_of, next.map(Spot::at)));
        }
        sheet.records.truncate(limit);
        let last = sheet.records.last().and_then(|row| key_of(row, key));
        let seen = last.ok_or_else(|| {
            self.fault(FaultKind::Refused)
                .detail(format!("a row without `{key}`, the key, in a page that is longer than asked"))
        })?;
        Ok(page(sheet, as_of, Some(Spot { place: here, seen: Some(seen) })))
    }

    async fn ask(&self, url: &Url) -> Result<Asked> {
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

    fn names(&self) -> &crate::plan::Parameters {
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

/// The page after this one, if there is one. `again`: this page was given in part before.
fn following(spot: &PageSpot, sheet: &Sheet, first: Option<Value>, again: bool) -> Option<PageSpot> {
    let came = u64::try_from(sheet.records.len()).unwrap_or(u64::MAX);
    let (more, says) = match (&sheet.next, sheet.total) {
        (Next::More(_), _) => (true, true),
        (Next::End, _) => (false, true),
        (Next::Unsaid, Some(total)) => (came > 0 && spot.before().saturating_add(came) < total, true),
        (Next::Unsaid, None) => (came > 0, false),
    };
    let given = if spot.page == 1 && more { came.max(1) } else { spot.given };
    let first = if says { None } else { spot.first.clone().or(first) };
    let here = PageSpot { given, count: sheet.total, first, ..spot.clone() };
    match (spot.count, sheet.total) {
        (Some(was), Some(now)) if now < was && (spot.page > 1 || again) => Some(here.back(was - now)),
        _ if more => Some(PageSpot { page: spot.page + 1, ..here }),
        _ => None,
    }
}

fn page(sheet: Sheet, as_of: Option<Timestamp>, next: Option<Spot>) -> Page {
    Page { records: sheet.records, next: next.map(|spot| spot.cursor()), gone: sheet.gone, total: sheet.total, as_of }
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
            records: vec![Record::default(); rows],
            next,
            total,
            gone: Vec::new(),
        };
        let spot = PageSpot { page: 2, asked: 10, given: 10, count: Some(40), first: None };
        let more = || Next::More("x".into());
        let page = |spot: &PageSpot, sheet: Sheet| following(spot, &sheet, None, false).map(|spot| spot.page);
        assert_eq!(page(&spot, sheet(10, more(), Some(40))), Some(3));
        assert_eq!(page(&spot, sheet(10, more(), Some(39))), Some(1), "one was deleted");
        assert_eq!(page(&spot, sheet(10, more(), Some(41))), Some(3));
        assert_eq!(page(&spot, sheet(10, Next::End, Some(40))), None);
        assert_eq!(page(&spot, sheet(10, Next::Unsaid, Some(40))), Some(3));
        assert_eq!(page(&spot, sheet(10, Next::Unsaid, Some(40))).map(|_| ()), Some(()));
        let last = PageSpot { page: 4, ..spot.clone() };
        assert_eq!(page(&last, sheet(10, Next::Unsaid, Some(40))), None);
        assert_eq!(page(&spot, sheet(3, Next::Unsaid, None)), Some(3), "until a page is empty");
        assert_eq!(page(&spot, sheet(0, Next::Unsaid, None)), None);
        let first = PageSpot { page: 1, count: None, ..spot };
        let next = following(&first, &sheet(7, more(), None), None, false).unwrap();
        assert_eq!((next.page, next.given), (2, 7), "the server has a size of its own");
    }
}
