//! One page after another, in each of the ways in which endpoints cut their rows.
//!
//! A page that is longer than what is wanted is given in portions, by the key of the last row that was given: the server
//! is asked for it again, and its `ETag` may spare the transfer. An answer that is longer than the plan allows is asked
//! for again with half the rows, where the server keeps to the size it is asked for.
//! Must never enter: what an answer looks like (`shape`), and requests that change something.

use super::{
    shape::{Next, Row, Sheet, sheet},
    spot::{OffsetSpot, Place, Spot, behind, by_key, joined, key_of},
    wire::Wire,
};
use crate::{
    adapters::http::Answer,
    error::{Fault, FaultKind, Result},
    model::{Key, Record, Timestamp, Value},
    plan::{NextAs, Pagination, Parameters},
    ports::{Cursor, Page, SetRef},
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

impl From<Came<Record>> for Page {
    fn from(came: Came<Record>) -> Self {
        let Came { rows, next, gone, total, as_of } = came;
        Self { records: rows, next, gone, total, as_of }
    }
}

impl<R> Came<R> {
    /// No rows: the end, or a page that is to be asked for otherwise.
    pub(super) const fn nothing(as_of: Option<Timestamp>, next: Option<Cursor>) -> Self {
        Self { rows: Vec::new(), next, gone: Vec::new(), total: None, as_of }
    }
}

/// An answer to the question for a page.
pub(super) enum Asked<R> {
    Sheet(Told<R>),
    /// There is no such page.
    Missing(Fault),
    /// The answer is longer than the plan allows.
    TooLong,
}

/// A page with what its answer says besides.
pub(super) struct Told<R> {
    pub(super) sheet: Sheet<R>,
    pub(super) as_of: Option<Timestamp>,
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
    pub(super) fn portion<R: Row>(
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

    pub(super) fn limit(&self) -> usize {
        usize::try_from(self.asking.limit.max(1)).unwrap_or(usize::MAX)
    }

    pub(super) async fn ask<R: Row>(&self, url: &Url) -> Result<Asked<R>> {
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

    pub(super) fn names(&self) -> &Parameters {
        &self.wire.plan().read.parameters
    }

    pub(super) fn fault(&self, kind: FaultKind) -> Fault {
        Fault::new(kind, self.asking.doing)
    }

    pub(super) fn too_long(&self) -> Fault {
        let most = self.wire.plan().max_answer;
        let detail =
            format!("more than {most} bytes came: ask for fewer rows at once (`batch_records`) or raise `max_answer`");
        self.fault(FaultKind::Refused).detail(detail)
    }

    pub(super) fn url(&self, query: &[(&str, &str)]) -> Result<Url> {
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

pub(super) fn page<R>(sheet: Sheet<R>, as_of: Option<Timestamp>, next: Option<Spot>) -> Came<R> {
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
}
