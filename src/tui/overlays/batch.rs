//! One batch in full, and its items as the ledger has them, one page at a time: those in trouble first.
//!
//! The page is asked for beside the frames and comes as a message; until then, and when it is old, that is said.

use super::{
    super::{
        model::Model,
        pages::{Line, Pages},
        panes::as_f64,
        pen::{mark, put},
        reader::{Ask, ItemLine, PageAsk, PageStart, Told},
        say,
        theme::Role,
    },
    centred, window,
};
use crate::model::{BatchId, LaneId, Timestamp};
use ratatui::{buffer::Buffer, layout::Rect, text::Span};
use std::time::Duration;

/// Items of a page: all that is ever held.
const PAGE: u32 = 100;
/// Widths of state, bytes, attempts and error.
const COLUMNS: [usize; 4] = [11, 9, 4, 13];

/// A batch's detail.
#[derive(Debug)]
pub(crate) struct Detail {
    pub(crate) id: BatchId,
    pub(crate) lane: LaneId,
    pub(crate) pages: Pages<PageStart, ItemLine>,
}

impl Line for ItemLine {
    fn key(&self) -> &str {
        &self.key
    }
}

impl Detail {
    pub(crate) fn new(id: BatchId, lane: LaneId) -> Self {
        Self { id, lane, pages: Pages::new() }
    }

    /// The page to be asked for now, if one is needed and none is on its way.
    pub(crate) fn wants(&mut self, now: Duration) -> Option<Ask> {
        let from = self.pages.wants(now)?;
        Some(Ask::Items(PageAsk { lane: self.lane.clone(), batch: self.id.clone(), from, limit: PAGE }))
    }

    /// The page came.
    pub(crate) fn hear(&mut self, ask: &Ask, told: Result<Told, String>, now: Duration) {
        let Ask::Items(ask) = ask else { return };
        if (&ask.lane, &ask.batch) != (&self.lane, &self.id) {
            return;
        }
        match told {
            Ok(Told::Items(page)) => self.pages.take(&ask.from, Ok(page), now),
            Ok(_) => {}
            Err(why) => self.pages.take(&ask.from, Err(why), now),
        }
    }
}

/// Draws the batch.
pub(crate) fn draw(model: &Model, detail: &Detail, buf: &mut Buffer, area: Rect) {
    let pen = &model.pen;
    let width = 130.min(area.width);
    let room = usize::from(width.saturating_sub(2));
    let page = detail.pages.number();
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
    if let Some(item) = detail.pages.selected() {
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
    if detail.pages.waits() {
        return say(buf, Role::Faint, "asking the ledger ...");
    }
    if let Some(why) = detail.pages.refused() {
        return say(buf, Role::Crit, &format!("the ledger does not answer: {why}"));
    }
    let found = detail.pages.lines();
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
    let first = (detail.pages.at() + 1).saturating_sub(height);
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
        if index == detail.pages.at() {
            mark(buf, area, row, pen.style(Role::Selected));
        }
    }
}
