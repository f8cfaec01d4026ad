//! A metric over time with the limits of its rules. Gaps stay gaps; every limit is a line with a word on it.

use super::{
    super::{
        model::{Model, STALE},
        pen::{put, put_right, scaled, window},
        say,
        theme::Role,
    },
    Pane, title,
};
use crate::model::{MetricPoint, RuleState, Timestamp};
use ratatui::{buffer::Buffer, layout::Rect, text::Span};
use std::collections::VecDeque;

/// Which metric, and how its values are said.
pub(crate) struct Chart {
    pane: Pane,
    metric: &'static str,
    factor: f64,
    unit: &'static str,
    least: f64,
}

/// The error rate in percent.
pub(crate) const ERRORS: Chart =
    Chart { pane: Pane::Errors, metric: "error_rate", factor: 100.0, unit: "%", least: 1.0 };
/// The 95th percentile of the latency.
pub(crate) const LATENCY: Chart = Chart { pane: Pane::Latency, metric: "p95", factor: 1.0, unit: "ms", least: 50.0 };

/// Cells of the axis on the left.
const AXIS: u16 = 6;

impl Chart {
    fn say(&self, value: f64) -> String {
        let value = value * self.factor;
        if value < 10.0 && self.factor > 1.0 {
            format!("{value:.2}{}", self.unit)
        } else {
            format!("{value:.0}{}", self.unit)
        }
    }

    fn rules<'a>(&'a self, model: &'a Model) -> impl Iterator<Item = &'a RuleState> {
        model.shown().rules.values().filter(|rule| rule.metric == self.metric && rule.limit.is_finite())
    }

    fn points<'a>(&self, model: &'a Model) -> Option<&'a VecDeque<MetricPoint>> {
        model.shown().series.get(self.metric).map(|series| &**series)
    }
}

/// Draws the chart's pane.
pub(crate) fn draw(model: &Model, chart: &Chart, buf: &mut Buffer, area: Rect) {
    let pen = &model.pen;
    let now = model.moment.wall;
    let points = chart.points(model);
    let from = now.as_second() - i64::from(model.minutes()) * 60;
    let seen = || points.into_iter().flatten().filter(move |p| p.at.as_second() >= from);
    let mut head = title(model, chart.pane);
    head.push(newest(model, chart));
    let most = seen().filter_map(|p| p.value).filter(|v| v.is_finite()).fold(f64::NAN, f64::max);
    let mut right = Vec::new();
    if most.is_finite() {
        right.push(pen.span(Role::Faint, format!("max {} ", chart.say(most))));
    }
    right.push(pen.span(Role::Faint, format!("{}m", model.minutes())));
    let block = pen.frame(head, right, model.focus == chart.pane);
    let inner = window(buf, area, block);
    if inner.height < 2 || inner.width < AXIS + 8 {
        return;
    }
    let plot = Rect { x: inner.x + AXIS, width: inner.width - AXIS, height: inner.height - 1, ..inner };
    let limit = chart.rules(model).map(|rule| rule.limit).fold(0.0, f64::max);
    let top =
        [most, limit, chart.least / chart.factor].into_iter().filter(|v| v.is_finite()).fold(0.0, f64::max) * 1.15;
    axis(model, chart, top, buf, inner);
    let mut canvas = Canvas::new(plot.width, plot.height, pen.glyphs.ascii);
    let seconds = f64::from(model.minutes()) * 60.0;
    let place = |at: Timestamp| 1.0 - say::between(at, now).as_secs_f64() / seconds;
    let mut last: Option<(f64, f64)> = None;
    for point in seen() {
        last = point.value.filter(|v| v.is_finite()).map(|value| {
            let here = (place(point.at), (value / top).clamp(0.0, 1.0));
            match last {
                Some(before) if (here.0 - before.0) * seconds <= STALE.as_secs_f64() => canvas.line(before, here),
                _ => canvas.line(here, here),
            }
            here
        });
    }
    canvas.draw(model, buf, plot);
    for rule in chart.rules(model) {
        limit_line(model, chart, rule, top, buf, plot);
    }
}

fn newest(model: &Model, chart: &Chart) -> Span<'static> {
    let pen = &model.pen;
    let Some(point) = chart.points(model).and_then(VecDeque::back) else {
        return pen.span(Role::Pending, "  no data yet");
    };
    let age = say::between(point.at, model.moment.wall);
    let value = point.value.map_or_else(|| "no samples".into(), |value| chart.say(value));
    let (role, word) = if age > STALE { (Role::Stale, "STALE") } else { (Role::Active, "now") };
    pen.span(role, format!("  {word} {value} {}", if age > STALE { say::age(age) } else { String::new() }).trim_end())
}

fn axis(model: &Model, chart: &Chart, top: f64, buf: &mut Buffer, inner: Rect) {
    let pen = &model.pen;
    let rows = inner.height - 1;
    for row in 0..rows {
        let value = top * f64::from(rows - 1 - row) / f64::from((rows - 1).max(1)) * chart.factor;
        let label = if row % 2 == 0 || rows < 4 {
            if value < 10.0 { format!("{value:.1}") } else { format!("{value:.0}") }
        } else {
            String::new()
        };
        put(buf, inner, row, vec![pen.span(Role::Faint, format!("{}{}", pen.right(&label, 5), pen.glyphs.axis))]);
    }
    let width = usize::from(inner.width - AXIS);
    let mut ground: String = pen.glyphs.ground.repeat(width);
    let ago = format!("-{}m", model.minutes());
    if width > ago.len() + 5 {
        ground = format!("{ago}{}now", pen.glyphs.ground.repeat(width - ago.len() - 3));
    }
    put(buf, inner, rows, vec![pen.span(Role::Faint, format!("     {}{ground}", pen.glyphs.tick))]);
}

fn limit_line(model: &Model, chart: &Chart, rule: &RuleState, top: f64, buf: &mut Buffer, plot: Rect) {
    let pen = &model.pen;
    if top <= 0.0 || plot.height == 0 {
        return;
    }
    let up = scaled(rule.limit / top, usize::from(plot.height));
    let row = plot.height - 1 - u16::try_from(up).unwrap_or(0).min(plot.height - 1);
    let breached = rule.breaches > 0;
    let (mark, look) = match (breached, rule.armed) {
        (true, _) => (pen.glyphs.crit, Role::Crit),
        (false, true) => (pen.glyphs.warn, Role::Warn),
        (false, false) => (pen.glyphs.pending, Role::Faint),
    };
    let line = Rect { y: plot.y + row, height: 1, ..plot }.intersection(buf.area);
    for column in line.x..line.right() {
        let cell = &mut buf[(column, line.y)];
        if cell.symbol() == " " {
            cell.set_symbol(pen.glyphs.limit).set_style(pen.style(look));
        }
    }
    let state = if rule.armed {
        format!("{} of {} left", rule.budget.saturating_sub(rule.breaches), rule.budget)
    } else {
        "not armed".into()
    };
    let label = format!(" {mark} limit {}, {state} ", chart.say(rule.limit));
    put_right(buf, plot, row, vec![pen.span(look, pen.cut(&label, usize::from(plot.width)))]);
}

/// Dots in cells: two by four of them in Unicode (braille), one in ASCII.
struct Canvas {
    width: usize,
    height: usize,
    per: (usize, usize),
    dots: Vec<bool>,
}

impl Canvas {
    fn new(width: u16, height: u16, ascii: bool) -> Self {
        let per = if ascii { (1, 1) } else { (2, 4) };
        let (width, height) = (usize::from(width) * per.0, usize::from(height) * per.1);
        Self { width, height, per, dots: vec![false; width * height] }
    }

    /// A line between two points whose coordinates go from 0 to 1, right and up.
    fn line(&mut self, from: (f64, f64), to: (f64, f64)) {
        if self.width == 0 || self.height == 0 || to.0 < 0.0 {
            return;
        }
        let column = |x: f64| scaled(x, self.width - 1);
        let level = |y: f64| scaled(y, self.height - 1);
        let (first, last) = (column(from.0), column(to.0));
        let mut before = level(from.1);
        for x in first..=last {
            let part = if last == first {
                1.0
            } else {
                crate::tui::panes::as_f64((x - first) as u64) / crate::tui::panes::as_f64((last - first) as u64)
            };
            let y = level(from.1 + (to.1 - from.1) * part);
            for dot in before.min(y)..=before.max(y) {
                let row = self.height - 1 - dot;
                self.dots[row * self.width + x] = true;
            }
            before = y;
        }
    }

    fn draw(&self, model: &Model, buf: &mut Buffer, plot: Rect) {
        let pen = &model.pen;
        let plot = plot.intersection(buf.area);
        for (y, row) in (plot.y..plot.bottom()).enumerate() {
            for (x, column) in (plot.x..plot.right()).enumerate() {
                let sign = self.cell(x, y);
                if let Some(sign) = sign {
                    buf[(column, row)].set_char(sign).set_style(pen.style(Role::Ok));
                }
            }
        }
    }

    fn cell(&self, x: usize, y: usize) -> Option<char> {
        // Unicode's numbering of braille dots: the lowest row came later than the other three.
        const BITS: [[u32; 2]; 4] = [[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]];
        let dot = |dx: usize, dy: usize| {
            self.dots.get((y * self.per.1 + dy) * self.width + x * self.per.0 + dx) == Some(&true)
        };
        if self.per == (1, 1) {
            return dot(0, 0).then_some('*');
        }
        let mut bits = 0;
        for (dy, row) in BITS.iter().enumerate() {
            for (dx, bit) in row.iter().enumerate() {
                if dot(dx, dy) {
                    bits |= bit;
                }
            }
        }
        (bits != 0).then(|| char::from_u32(0x2800 + bits)).flatten()
    }
}

/// One line with both metrics, for screens without room for charts.
pub(crate) fn spark_line(model: &Model, buf: &mut Buffer, area: Rect) {
    let pen = &model.pen;
    let mut spans = Vec::new();
    for (chart, word) in [(&ERRORS, " err"), (&LATENCY, "  p95")] {
        let last = chart.points(model).and_then(VecDeque::back).and_then(|point| point.value);
        let value = last.map_or_else(|| pen.glyphs.unknown.into(), |value| chart.say(value));
        spans.push(pen.span(Role::Faint, format!("{word} ")));
        spans.push(pen.span(Role::Active, pen.right(&value, 6)));
        let tail: Vec<Option<f64>> = chart
            .points(model)
            .into_iter()
            .flat_map(|points| points.range(points.len().saturating_sub(14)..))
            .map(|point| point.value)
            .collect();
        spans.push(pen.span(Role::Ok, format!(" {}", super::batches::sparks(model, tail.iter().copied()))));
        if let Some(limit) = chart.rules(model).map(|rule| rule.limit).reduce(f64::min) {
            spans.push(pen.span(Role::Warn, format!(" limit {}", chart.say(limit))));
        }
    }
    put(buf, area, 0, spans);
}
