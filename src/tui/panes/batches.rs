//! Lanes, and the batches worth looking at: those under way, those that failed or left failures behind, the latest that
//! ended. Only rows that are seen are formatted, however many batches there are.

use super::{
    super::{
        far,
        filter::Filter,
        glyphs::{GlyphChoice, Glyphs},
        model::{Model, Row},
        pen::{mark, put, window},
        say,
        theme::Role,
    },
    Pane, as_f64, title,
};
use crate::{
    engine::view::{BatchView, RunView},
    model::{BatchState, LaneId, LaneKind, LaneProgress},
};
use ratatui::{buffer::Buffer, layout::Rect, text::Span};
use std::{cmp::Reverse, collections::BinaryHeap, sync::Arc};

/// Ended batches that can be scrolled to.
const ENDED: usize = 64;
/// Live and failed batches that can be scrolled to, each.
const LOUD: usize = 512;

/// The rows of the pane, lanes first.
pub(crate) fn rows(model: &Model) -> Vec<Row> {
    let view = model.shown();
    let lanes = view.lanes.iter().map(|lane| Row::Lane(lane.lane.clone()));
    lanes
        .chain(listed(view, &model.batch_filter).into_iter().map(|batch| Row::Batch(batch.progress.batch.clone())))
        .collect()
}

/// The batches worth looking at; a filter also finds those that have not begun.
fn listed<'a>(view: &'a RunView, filter: &Filter) -> Vec<&'a Arc<BatchView>> {
    let (mut live, mut failed, mut pending) = (Vec::new(), Vec::new(), Vec::new());
    let mut ended = BinaryHeap::with_capacity(ENDED + 1);
    for (at, batch) in view.batches.values().enumerate() {
        if !passes(filter, batch) {
            continue;
        }
        match batch.progress.state {
            BatchState::Running | BatchState::Retrying if live.len() < LOUD => live.push(batch),
            // What ended and left failures behind is looked for, not what ended well.
            BatchState::Done if batch.progress.failed > 0 && failed.len() < LOUD => failed.push(batch),
            BatchState::Failed if failed.len() < LOUD => failed.push(batch),
            BatchState::Pending if !filter.is_off() && pending.len() < LOUD => pending.push(batch),
            BatchState::Done | BatchState::Undone => {
                ended.push(Reverse((batch.progress.finished, at, ByPlace(batch))));
                if ended.len() > ENDED {
                    ended.pop();
                }
            }
            _ => {}
        }
    }
    live.extend(failed);
    live.extend(ended.into_sorted_vec().into_iter().map(|Reverse((.., ByPlace(batch)))| batch));
    live.extend(pending);
    live
}

fn passes(filter: &Filter, batch: &BatchView) -> bool {
    let p = &batch.progress;
    // The glyphs do not matter for the word.
    let word = say::batch(p.state, &Glyphs::choose(GlyphChoice::Ascii, false)).word;
    let bad = if p.failed > 0 { "bad" } else { "" };
    filter.is_off() || filter.matches(&[p.lane.as_str(), p.batch.as_str(), word, &p.error, bad])
}

/// A batch in a heap, where time and place have decided already.
struct ByPlace<'a>(&'a Arc<BatchView>);
impl PartialEq for ByPlace<'_> {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}
impl Eq for ByPlace<'_> {}
impl PartialOrd for ByPlace<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for ByPlace<'_> {
    fn cmp(&self, _: &Self) -> std::cmp::Ordering {
        std::cmp::Ordering::Equal
    }
}

/// The lane that `+` and `-` act on: the selected one, the selected batch's, or the only one that moves.
pub(crate) fn lane_in_focus(model: &Model) -> Option<LaneId> {
    let view = &model.view;
    match &model.row {
        Some(Row::Lane(lane)) => Some(lane.clone()),
        Some(Row::Batch(id)) => view.batches.get(id).map(|batch| batch.progress.lane.clone()),
        None => {
            let mut moving = view.lanes.iter().filter(|lane| lane.stage == crate::model::LaneStage::Copying);
            moving.next().map(|lane| lane.lane.clone())
        }
    }
}

/// Draws the pane.
pub(crate) fn draw(model: &Model, buf: &mut Buffer, area: Rect) {
    let pen = &model.pen;
    let view = model.shown();
    let batches = listed(view, &model.batch_filter);
    let live = batches.iter().filter(|batch| batch.is_live()).count();
    let right = if model.batch_filter.is_off() {
        vec![pen.span(Role::Faint, format!("{live} live of {}", view.batches.len()))]
    } else {
        let text = format!("/{}  {} of {}", pen.cut(model.batch_filter.text(), 24), batches.len(), view.batches.len());
        vec![pen.span(Role::Wait, text)]
    };
    let mut block = pen.frame(title(model, Pane::Batches), right, model.focus == Pane::Batches);
    if let Some(slow) = view.lanes.iter().find(|lane| !lane.throttle.is_empty()) {
        let room = usize::from(area.width.saturating_sub(4));
        let text = pen.cut(&format!("{} {} slowed: {}", pen.glyphs.wait, slow.lane, slow.throttle), room);
        block = block.title_bottom(vec![Span::raw(" "), pen.span(Role::Wait, text), Span::raw(" ")]);
    }
    let inner = window(buf, area, block);
    let room = usize::from(inner.width);
    let height = usize::from(inner.height);
    if view.lanes.is_empty() && batches.is_empty() {
        put(buf, inner, 0, vec![pen.span(Role::Pending, pen.cut("nothing moves yet; lanes begin in phase 4", room))]);
        return;
    }
    // Two headings, lanes, batches; the list scrolls as one so that the selected row is always seen.
    let lanes = view.lanes.len();
    let selected = model.row.as_ref().and_then(|row| position(view, &batches, row));
    let at = selected.map_or(0, |index| index + 1 + usize::from(index >= lanes));
    let first = (at + 1).saturating_sub(height);
    for (line, row) in (first..first + height).zip(0u16..) {
        let spans = match line {
            0 => heading(model, "lane", &LANES, room),
            n if n <= lanes => lane_line(model, &view.lanes[n - 1], room),
            n if n == lanes + 1 => heading(model, "batch", &BATCHES, room),
            n => match batches.get(n - lanes - 2) {
                Some(batch) => batch_line(model, batch, room),
                None => break,
            },
        };
        put(buf, inner, row, spans);
        if selected.is_some() && line == at {
            mark(buf, inner, row, pen.style(Role::Selected));
        }
    }
}

fn position(view: &RunView, batches: &[&Arc<BatchView>], row: &Row) -> Option<usize> {
    match row {
        Row::Lane(id) => view.lanes.iter().position(|lane| &lane.lane == id),
        Row::Batch(id) => {
            batches.iter().position(|batch| &batch.progress.batch == id).map(|index| index + view.lanes.len())
        }
    }
}

/// Columns right of the name: heading, width. Those that do not fit are left out from the end.
const LANES: [(&str, usize); 6] =
    [("how far", 15), ("bad", 13), ("items", 12), ("per s", 7), ("at once", 8), ("bytes/s", 10)];
const BATCHES: [(&str, usize); 7] =
    [("state", 8), ("done", 5), ("items/s", 8), ("recent", 13), ("err", 5), ("try", 4), ("age", 8)];

/// Cells for the name, and how many of the columns fit beside it.
fn fitting(columns: &[(&str, usize)], room: usize) -> (usize, usize) {
    let all: usize = columns.iter().map(|(_, width)| width).sum();
    let name = room.saturating_sub(all + 2).clamp(16, 30);
    let mut left = room.saturating_sub(name + 2);
    let fit = columns.iter().take_while(|(_, width)| {
        left.checked_sub(*width).is_some_and(|rest| {
            left = rest;
            true
        })
    });
    (name, fit.count())
}

fn heading(model: &Model, name: &str, columns: &[(&str, usize)], room: usize) -> Vec<Span<'static>> {
    let pen = &model.pen;
    let (width, fit) = fitting(columns, room);
    let mut text = format!("  {}", pen.fit(name, width));
    for (head, width) in &columns[..fit] {
        text.push_str(&pen.right(head, *width));
    }
    vec![pen.span(Role::Faint, text)]
}

fn lane_line(model: &Model, lane: &LaneProgress, room: usize) -> Vec<Span<'static>> {
    let g = &model.pen.glyphs;
    let (glyph, role, how_far) = far::behind(lane, model.moment.wall, g).unwrap_or_else(|| far::short(lane, g));
    let bytes = match lane.kind {
        LaneKind::Files if lane.bytes_per_s > 0.0 => say::bytes(lane.bytes_per_s),
        _ => "-".into(),
    };
    let cells = vec![
        (role, how_far),
        far::bad(lane, g),
        (Role::Text, far::items(lane)),
        (Role::Text, say::rate(lane.items_per_s)),
        (Role::Text, format!("x{}", lane.concurrency)),
        (Role::Text, bytes),
    ];
    row(model, glyph, role, lane.lane.as_str(), &LANES, cells, room)
}

fn batch_line(model: &Model, batch: &BatchView, room: usize) -> Vec<Span<'static>> {
    let pen = &model.pen;
    let p = &batch.progress;
    let sign = say::batch_of(p, &pen.glyphs);
    let ratio = if p.items == 0 { 0.0 } else { as_f64(p.done) / as_f64(p.items) };
    let now = model.moment.wall;
    let age = match (p.started, p.finished) {
        (Some(from), to) => say::clock(say::between(from, to.unwrap_or(now))),
        (None, _) => "-".into(),
    };
    let rate = match (p.started, p.finished) {
        _ if batch.is_live() => batch.rates.back().map_or(0.0, |rate| f64::from(*rate)),
        (Some(from), Some(to)) => as_f64(p.done) / say::between(from, to).as_secs_f64(),
        _ => 0.0,
    };
    let cells = vec![
        (sign.role, sign.word.to_owned()),
        (Role::Text, say::percent(ratio)),
        (Role::Text, say::rate(rate)),
        (Role::Ok, spark(model, batch)),
        alarm(model, p.failed),
        (if p.attempt > 1 { Role::Warn } else { Role::Text }, p.attempt.to_string()),
        (Role::Faint, age),
    ];
    row(model, sign.glyph, sign.role, p.batch.as_str(), &BATCHES, cells, room)
}

fn alarm(model: &Model, n: u64) -> (Role, String) {
    if n == 0 { (Role::Faint, "0".into()) } else { (Role::Crit, format!("{n}{}", model.pen.glyphs.crit)) }
}

fn row(
    model: &Model,
    glyph: &'static str,
    role: Role,
    name: &str,
    columns: &[(&str, usize)],
    cells: Vec<(Role, String)>,
    room: usize,
) -> Vec<Span<'static>> {
    let pen = &model.pen;
    let (width, fit) = fitting(columns, room);
    let mut spans = vec![pen.span(role, format!("{glyph} ")), pen.span(Role::Text, pen.fit(name, width))];
    for ((_, width), (role, text)) in columns[..fit].iter().zip(cells) {
        // A cell never touches the one before it.
        spans.push(pen.span(role, pen.right(&pen.cut(&text, width.saturating_sub(1)), *width)));
    }
    spans
}

/// The batch's recent throughput, against its own best.
fn spark(model: &Model, batch: &BatchView) -> String {
    sparks(model, batch.rates.iter().map(|rate| Some(f64::from(*rate))))
}

/// A line of bars against their own highest; a gap is a blank.
pub(crate) fn sparks(model: &Model, values: impl Iterator<Item = Option<f64>> + Clone) -> String {
    let best = values.clone().flatten().filter(|v| v.is_finite()).fold(0.0_f64, f64::max);
    values
        .map(|value| match value {
            Some(v) if v.is_finite() && best > 0.0 => model.pen.glyphs.sparks[super::super::pen::scaled(v / best, 7)],
            Some(_) => model.pen.glyphs.sparks[0],
            None => " ",
        })
        .collect()
}
