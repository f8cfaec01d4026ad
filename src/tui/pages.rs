//! A list that is read page by page, of which only one page is ever held: what is to be asked for, what came, and which
//! line the eye is on. Pure; knows nothing of what the lines are.

use super::{keys::Act, reader::PageOf};
use std::time::Duration;

/// A page is read again after this time.
const FRESH: Duration = Duration::from_secs(2);

/// A line that is found again by its key.
pub(crate) trait Line {
    fn key(&self) -> &str;
}

/// The list.
#[derive(Debug)]
pub(crate) struct Pages<S, L> {
    /// Where the pages before this one began, and this one.
    starts: Vec<S>,
    page: Option<Result<PageOf<S, L>, String>>,
    /// When the page under the eyes was read; `None` until then.
    read: Option<Duration>,
    asked: Option<S>,
    selected: usize,
}

impl<S: Clone + Default + PartialEq, L: Line> Pages<S, L> {
    pub(crate) fn new() -> Self {
        Self { starts: vec![S::default()], page: None, read: None, asked: None, selected: 0 }
    }

    /// Where the page begins that is to be asked for now, if one is needed and none is on its way.
    pub(crate) fn wants(&mut self, now: Duration) -> Option<S> {
        let old = self.read.is_none_or(|read| now.saturating_sub(read) >= FRESH);
        if self.asked.is_some() || !old {
            return None;
        }
        let from = self.starts.last().cloned().unwrap_or_default();
        self.asked = Some(from.clone());
        Some(from)
    }

    /// The page from there came; one that is no longer wanted is dropped.
    pub(crate) fn take(&mut self, from: &S, page: Result<PageOf<S, L>, String>, now: Duration) {
        if self.asked.as_ref() != Some(from) {
            return;
        }
        self.asked = None;
        self.read = Some(now);
        let kept = self.selected().map(|line| line.key().to_owned());
        self.page = Some(page);
        // The eye stays on the same line although others changed their place.
        let again = kept.and_then(|key| self.lines().iter().position(|line| line.key() == key));
        self.selected = again.unwrap_or(self.selected).min(self.lines().len().saturating_sub(1));
    }

    /// Reads again at the next chance: something was changed.
    pub(crate) const fn read_again(&mut self) {
        self.read = None;
    }

    /// Why there is no page, if the answer was no.
    pub(crate) fn refused(&self) -> Option<&str> {
        self.page.as_ref()?.as_ref().err().map(String::as_str)
    }

    /// No answer came yet.
    pub(crate) const fn waits(&self) -> bool {
        self.page.is_none()
    }

    pub(crate) fn lines(&self) -> &[L] {
        match &self.page {
            Some(Ok(page)) => &page.items,
            _ => &[],
        }
    }

    /// The line that keys act on, and its place.
    pub(crate) fn selected(&self) -> Option<&L> {
        self.lines().get(self.selected)
    }

    pub(crate) const fn at(&self) -> usize {
        self.selected
    }

    /// `page 3 of more`.
    pub(crate) fn number(&self) -> String {
        let more = matches!(&self.page, Some(Ok(PageOf { next: Some(_), .. })));
        format!("page {}{}", self.starts.len(), if more { " of more" } else { "" })
    }

    /// Moves the selection, or turns the page.
    pub(crate) fn moved(&mut self, act: Act) {
        let last = self.lines().len().saturating_sub(1);
        match act {
            Act::Up => self.selected = self.selected.saturating_sub(1),
            Act::Down => self.selected = (self.selected + 1).min(last),
            Act::Last => self.selected = last,
            Act::PageDown => {
                if let Some(Ok(PageOf { next: Some(next), .. })) = &self.page {
                    let next = next.clone();
                    self.turn(|starts| starts.push(next));
                } else {
                    self.selected = last;
                }
            }
            Act::PageUp if self.starts.len() > 1 => self.turn(|starts| {
                starts.pop();
            }),
            Act::First | Act::PageUp => self.selected = 0,
            _ => {}
        }
    }

    fn turn(&mut self, to: impl FnOnce(&mut Vec<S>)) {
        to(&mut self.starts);
        (self.page, self.read, self.asked, self.selected) = (None, None, None, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::{Act, Duration, Line, PageOf, Pages};

    impl Line for u32 {
        fn key(&self) -> &str {
            ["zero", "one", "two", "three"][*self as usize]
        }
    }

    fn page(items: &[u32], next: Option<u8>) -> PageOf<u8, u32> {
        PageOf { items: items.to_vec(), next }
    }

    #[test]
    fn one_page_at_a_time_is_asked_for_and_old_answers_are_dropped() {
        let now = Duration::from_secs(10);
        let mut list: Pages<u8, u32> = Pages::new();
        assert_eq!(list.wants(now), Some(0));
        assert_eq!(list.wants(now), None, "it is on its way");
        list.take(&0, Ok(page(&[1, 2], Some(7))), now);
        assert_eq!(list.wants(now), None, "it is fresh");
        list.moved(Act::PageDown);
        assert_eq!((list.wants(now), list.number().as_str()), (Some(7), "page 2"));
        list.take(&0, Ok(page(&[1], None)), now);
        assert!(list.waits(), "the first page is no longer wanted");
        list.take(&7, Ok(page(&[3], None)), now);
        assert_eq!(list.lines(), [3]);
        list.moved(Act::PageUp);
        assert_eq!(list.wants(now), Some(0));
    }

    #[test]
    fn the_eye_stays_on_its_line() {
        let now = Duration::from_secs(10);
        let mut list: Pages<u8, u32> = Pages::new();
        list.wants(now);
        list.take(&0, Ok(page(&[1, 2], None)), now);
        list.moved(Act::Down);
        let later = now + Duration::from_secs(3);
        assert_eq!(list.wants(later), Some(0), "old pages are read again");
        list.take(&0, Ok(page(&[0, 1, 2, 3], None)), later);
        assert_eq!(list.selected(), Some(&2));
        list.read_again();
        assert_eq!(list.wants(later), Some(0));
        list.take(&0, Err("no".into()), later);
        assert_eq!((list.selected(), list.refused()), (None, Some("no")));
    }
}
