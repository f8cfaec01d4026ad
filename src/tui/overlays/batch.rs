//! One batch in full, and its items as the ledger has them, one page at a time: those in trouble first.
//!
//! The page is asked for beside the frames and comes as a message; until then, and when it is old, that is said.

use super::{
    super::{
        keys::Act,
        model::Model,
        panes::as_f64,
        pen::{mark, put},
        say,
        setup::{ItemLine, ItemPage, PageAsk, PageStart},
        theme::Role,
    },
    centred, window,
};
use crate::model::{BatchId, LaneId, Timestamp};
use ratatui::{buffer::Buffer, layout::Rect, text::Span};
use std::time::Duration;

/// Items of a page: all that is ever held.
const PAGE: u32 = 100;
/// A page is read again after this time.
const FRESH: Duration = Duration::from_secs(2);
/// Widths of state, bytes, attempts and error.
const COLUMNS: [usize; 4] = [11, 9, 4, 13];

/// A batch's detail.
#[derive(Debug)]
pub(crate) struct Detail {
    pub(crate) id: BatchId,
    pub(crate) lane: LaneId,
    /// Where the pages before this one began, and this one.
    starts: Vec<PageStart>,
    page: Option<Result<ItemPage, String>>,
    /// When the page under the eyes was read; `None` until then.
    read: Option<Duration>,
    asked: Option<PageAsk>,
    selected: usize,
}

impl Detail {
    pub(crate) fn new(id: BatchId, lane: LaneId) -> Self {
        Self { id, lane, starts: vec![PageStart::default()], page: None, read: None, asked: None, selected: 0 }
    }

    /// The page to be asked for now, if one is needed and none is on its way.
    pub(crate) fn wants(&mut self, now: Duration) -> Option<PageAsk> {
        let old = self.read.is_none_or(|read| now.saturating_sub(read) >= FRESH);
        if self.asked.is_some() || !old {
            return None;
        }
        let from = self.starts.last().cloned().unwrap_or_default();
        let ask = PageAsk { lane: self.lane.clone(), batch: self.id.clone(), from, limit: PAGE };
        self.asked = Some(ask.clone());
        Some(ask)
    }

    /// The page came; one that is no longer wanted is dropped.
    pub(crate) fn take(&mut self, ask: &PageAsk, page: Result<ItemPage, String>, now: Duration) {
        if self.asked.as_ref() != Some(ask) {
            return;
        }
        self.asked = None;
        self.read = Some(now);
        let kept = self.selected_item().map(|item| item.key.clone());
        self.page = Some(page);
        // The eye stays on the same item although others changed their place.
        let again = kept.and_then(|key| self.items().iter().position(|item| item.key == key));
        self.selected = again.unwrap_or(self.selected).min(self.items().len().saturating_sub(1));
    }

    /// Reads again at the next chance: something was changed.
    pub(crate) const fn read_again(&mut self) {
        self.read = None;
    }

    pub(crate) fn items(&self) -> &[ItemLine] {
        match &self.page {
            Some(Ok(page)) => &page.items,
            _ => &[],
        }
    }

    /// The item that keys act on.
    pub(crate) fn selected_item(&self) -> Option<&ItemLine> {
        self.items().get(self.selected)
    }

    /// Moves the selection, or turns the page.
    pub(crate) fn moved(&mut self, act: Act) {
        let last = self.items().len().saturating_sub(1);
        match act {
            Act::Up => self.selected = self.selected.saturating_sub(1),
            Act::Down => self.selected = (self.selected + 1).min(last),
            Act::Last => self.selected = last,
            Act::PageDown => {
                if let Some(Ok(ItemPage { next: Some(next), .. })) = &self.page {
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

    fn turn(&mut self, to: impl FnOnce(&mut Vec<PageStart>)) {
        to(&mut self.starts);
        (self.page, self.read, self.asked, self.selected) = (None, None, None, 0);
    }
}

/// Draws the batch.
pub(crate) fn draw(model: &Model, detail: &Detail, buf: &mut Buffer, area: Rect) {
    let pen = &model.pen;
    let width = 130.min(area.width);
    let room = usize::from(width.saturating_sub(2));
    let more = matches!(&detail.page, Some(Ok(ItemPage { next: Some(_), .. })));
    let page = format!("page {}{}", detail.starts.len(), if more { " of more" } else { "" });
    let inner = window(
        pen,
        buf,
        centred(area, width, 44),
        vec![pen.span(Role::Title, pen.cut(&format!("Batch {}", detail.id), room.saturating_sub(18)))],
        vec![pen.span(Role::Faint, page)],
        &pen.cut("Esc back  R retry failed  X leave out  PgDn page  y copy", room),
    );
    let head = head(model, detail, room);
    let mut row = 0;
    for line in head {
        put(buf, inner, row, line);
        row += 1;
    }
    let below = 2;
    let table = Rect { y: inner.y + row, height: inner.height.saturating_sub(row + below), ..inner };
    items(model, detail, buf, table);
    let told = Rect { y: inner.bottom().saturating_sub(below), height: below.min(inner.height), ..inner };
    if let Some(item) = detail.selected_item() {
        put(buf, told, 0, vec![pen.span(Role::Text, pen.cut(&item.key, room))]);
        let why = if item.reason.is_empty() { "nothing wrong with it" } else { item.reason.as_str() };
        let role = if item.reason.is_empty() { Role::Faint } else { say::item(item.state, &pen.glyphs).role };
        put(buf, told, 1, vec![pen.span(role, pen.cut(why, room))]);
    }
}

/// What the view has of the batch.
fn head(model: &Model, detail: &Detail, room: usize) -> Vec<Vec<Span<'static>>> {
    let pen = &model.pen;
    let Some(batch) = model.shown().batches.get(&detail.id) else {
        let text = "no longer in the view, which keeps the latest; the ledger has it";
        return vec![vec![pen.span(Role::Stale, pen.cut(text, room))]];
    };
    let p = &batch.progress;
    let sign = say::batch_of(p, &pen.glyphs);
    let time = |at: Option<Timestamp>| at.map_or_else(|| "-".into(), say::time_of_day);
    let state = format!("{} {}", sign.glyph, sign.word);
    let sums = format!(
        "  {} of {} done, {} failed  {}  try {}",
        say::full(p.done),
        say::full(p.items),
        say::full(p.failed),
        say::bytes(as_f64(p.bytes)),
        p.attempt
    );
    let ago = say::age(say::between(batch.moved, model.moment.wall));
    let times = format!("began {}  ended {}  moved {ago} ago", time(p.started), time(p.finished));
    let rates: Vec<String> = batch.rates.iter().map(|rate| say::rate(f64::from(*rate))).collect();
    let times = if rates.is_empty() { times } else { format!("{times}  items/s {}", rates.join(" ")) };
    let mut out = vec![
        vec![
            pen.span(sign.role, state.clone()),
            pen.span(Role::Text, pen.cut(&sums, room.saturating_sub(super::super::pen::cells(&state)))),
        ],
        vec![pen.span(Role::Faint, pen.cut(&times, room))],
    ];
    out.extend(pen.wrap(&p.error, room, 2).into_iter().map(|line| vec![pen.span(Role::Crit, line)]));
    out
}

fn items(model: &Model, detail: &Detail, buf: &mut Buffer, area: Rect) {
    let pen = &model.pen;
    let room = usize::from(area.width);
    let say = |buf: &mut Buffer, role, text: &str| put(buf, area, 0, vec![pen.span(role, pen.cut(text, room))]);
    let found = match &detail.page {
        None => return say(buf, Role::Faint, "asking the ledger ..."),
        Some(Err(why)) => return say(buf, Role::Crit, &format!("the ledger does not answer: {why}")),
        Some(Ok(page)) => &page.items,
    };
    if found.is_empty() {
        return say(buf, Role::Pending, "the ledger has no items of this batch");
    }
    let [state, bytes, tries, error] = COLUMNS;
    let key = room.saturating_sub(state + bytes + tries + error + 4);
    // The reason stands beside the key where there is room for both, and below for the selected one anyway.
    let (key, reason) = if key >= 70 { (key / 2, key - key / 2) } else { (key, 0) };
    let mut heading = format!(
        "  {}{}{}  {}",
        pen.fit("state", state),
        pen.right("bytes", bytes),
        pen.right("try", tries),
        pen.fit("error", error)
    );
    heading.push_str(&pen.fit("key", key));
    heading.push_str(&pen.fit("reason", reason));
    put(buf, area, 0, vec![pen.span(Role::Faint, heading)]);
    let height = usize::from(area.height.saturating_sub(1));
    let first = (detail.selected + 1).saturating_sub(height);
    for (row, (index, item)) in (1u16..).zip(found.iter().enumerate().skip(first).take(height)) {
        let sign = say::item(item.state, &pen.glyphs);
        let error_word = item.error.map_or("-", crate::error::FaultKind::word);
        let mut spans = vec![
            pen.span(sign.role, format!("{} {}", sign.glyph, pen.fit(sign.word, state))),
            pen.span(Role::Text, pen.right(&say::bytes(as_f64(item.bytes)), bytes)),
            pen.span(Role::Text, pen.right(&item.attempts.to_string(), tries)),
            pen.span(
                if item.error.is_some() { Role::Crit } else { Role::Faint },
                format!("  {}", pen.fit(error_word, error)),
            ),
            pen.span(Role::Text, pen.fit(&item.key, key)),
        ];
        if reason > 0 {
            spans.push(pen.span(Role::Faint, format!(" {}", pen.fit(&item.reason, reason.saturating_sub(1)))));
        }
        put(buf, area, row, spans);
        if index == detail.selected {
            mark(buf, area, row, pen.style(Role::Selected));
        }
    }
}
