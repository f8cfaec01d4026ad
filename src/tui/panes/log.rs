//! The log: `tui-logger`'s lines, which the program's tracing feeds, or injected ones in tests.

use super::{
    super::{
        model::Model,
        pen::{Pen, put, window},
        setup::{LogLine, LogSource},
        theme::Role,
    },
    Pane, title,
};
use ratatui::{
    buffer::Buffer,
    layout::Rect,
    text::{Line, Span},
    widgets::Widget,
};
use std::sync::PoisonError;
use tui_logger::{ExtLogRecord, LogFormatter, TuiLoggerWidget, TuiWidgetState};

/// Newest lines among which a filter looks.
const ASIDE: u16 = 500;

/// Draws the pane.
pub(crate) fn draw(model: &Model, buf: &mut Buffer, area: Rect) {
    let pen = &model.pen;
    let right = if model.log_filter.is_off() {
        vec![pen.span(Role::Faint, "FOLLOW  l all")]
    } else {
        vec![pen.span(Role::Wait, format!("/{}  l all", pen.cut(model.log_filter.text(), 24)))]
    };
    let block = pen.frame(title(model, Pane::Log), right, model.focus == Pane::Log);
    let inner = window(buf, area, block);
    lines(model, 0, buf, inner);
}

/// The newest lines at the bottom, `scroll` lines before the end.
pub(crate) fn lines(model: &Model, scroll: usize, buf: &mut Buffer, area: Rect) {
    if area.is_empty() {
        return;
    }
    match &model.log {
        LogSource::Tracing if model.log_filter.is_off() => traced(model, &model.log_state, buf, area),
        LogSource::Tracing => filtered(model, scroll, buf, area),
        LogSource::Lines(lines) => {
            let lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
            let shown: Vec<&LogLine> = lines
                .iter()
                .filter(|line| model.log_filter.matches(&[word(line.level.as_str()), &line.target, &line.text]))
                .collect();
            for (row, line) in (0u16..).zip(window_of(&shown, scroll, area.height)) {
                let time = line.at.strftime("%H:%M:%S%.3f").to_string();
                put(buf, area, row, spans(&model.pen, &time, line.level.as_str(), &line.target, &line.text));
            }
        }
    }
}

/// As many lines as fit, `scroll` lines before the end.
fn window_of<T>(lines: &[T], scroll: usize, height: u16) -> &[T] {
    let height = usize::from(height);
    let end = lines.len() - scroll.min(lines.len().saturating_sub(height));
    &lines[end.saturating_sub(height)..end]
}

fn traced(model: &Model, state: &TuiWidgetState, buf: &mut Buffer, area: Rect) {
    let formatter = Box::new(Formatter { pen: model.pen.clone() });
    let area = area.intersection(buf.area);
    if area.height > 1 && area.width > formatter.min_width() {
        TuiLoggerWidget::default().formatter(formatter).state(state).render(area, buf);
    }
}

/// `tui-logger` cannot leave lines out, so its newest ones are drawn aside and those that fit are taken over.
fn filtered(model: &Model, scroll: usize, buf: &mut Buffer, area: Rect) {
    let area = area.intersection(buf.area);
    let mut aside = Buffer::empty(Rect::new(0, 0, area.width.max(1), ASIDE));
    let all = aside.area;
    traced(model, &TuiWidgetState::new(), &mut aside, all);
    let text = |y: u16| -> String { (0..all.width).map(|x| aside[(x, y)].symbol()).collect() };
    let fits = |y: &u16| {
        let text = text(*y);
        !text.trim().is_empty() && model.log_filter.matches(&[&text])
    };
    let rows: Vec<u16> = (0..all.height).filter(fits).collect();
    for (row, from) in (area.y..).zip(window_of(&rows, scroll, area.height)) {
        for x in 0..area.width {
            buf[(area.x + x, row)] = aside[(x, *from)].clone();
        }
    }
}

const fn level(level: &str) -> (Role, &'static str) {
    match level.as_bytes() {
        b"ERROR" => (Role::Crit, "ERR"),
        b"WARN" => (Role::Warn, "WRN"),
        b"INFO" => (Role::Text, "INF"),
        _ => (Role::Faint, "DBG"),
    }
}

const fn word(of: &str) -> &'static str {
    level(of).1
}

fn spans(pen: &Pen, time: &str, of: &str, target: &str, text: &str) -> Vec<Span<'static>> {
    let (role, word) = level(of);
    let part = target.rsplit("::").next().unwrap_or_default();
    vec![
        pen.span(Role::Faint, format!("{time} ")),
        pen.span(role, format!("{word} ")),
        pen.span(Role::Faint, format!("{} ", pen.fit(part, 11))),
        pen.span(role, text),
    ]
}

/// One line per record, cleaned like everything else.
struct Formatter {
    pen: Pen,
}

impl LogFormatter for Formatter {
    fn min_width(&self) -> u16 {
        20
    }

    fn format(&self, width: usize, record: &ExtLogRecord) -> Vec<Line<'_>> {
        let time = record.timestamp.strftime("%H:%M:%S%.3f").to_string();
        let room = width.saturating_sub(30);
        // The journal's number is for the log file; here it only takes room.
        let said = record.msg().trim_start();
        let said =
            said.rsplit_once(" seq: ").filter(|(_, tail)| tail.parse::<u64>().is_ok()).map_or(said, |(head, _)| head);
        let text = self.pen.cut(said, room);
        vec![Line::from(spans(&self.pen, &time, record.level.as_str(), record.target(), &text))]
    }
}
