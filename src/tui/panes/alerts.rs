//! Alerts: those nobody has seen first, then the newest. A cleared one stays, and says so.

use super::{
    super::{
        model::Model,
        pen::{mark, put, window},
        say,
        theme::Role,
    },
    Pane, title,
};
use crate::{engine::view::AlertView, model::Severity};
use ratatui::{buffer::Buffer, layout::Rect};
use std::sync::Arc;

/// Alerts in the order of the pane: unseen first, loudest first, newest first.
pub(crate) fn sorted(model: &Model) -> Vec<Arc<AlertView>> {
    let mut all: Vec<Arc<AlertView>> = model.shown().alerts.iter().cloned().collect();
    all.sort_by_key(|alert| {
        let quiet = alert.acknowledged.is_some() || alert.cleared.is_some() || alert.severity == Severity::Info;
        (quiet, std::cmp::Reverse((alert.severity, alert.at, alert.id)))
    });
    all
}

/// The alert in focus: the selected one, else the first.
pub(crate) fn selected(model: &Model) -> Option<Arc<AlertView>> {
    let all = sorted(model);
    let wanted = model.alert.and_then(|id| all.iter().find(|alert| alert.id == id).cloned());
    wanted.or_else(|| all.into_iter().next())
}

/// Draws the pane.
pub(crate) fn draw(model: &Model, buf: &mut Buffer, area: Rect) {
    let pen = &model.pen;
    let all = sorted(model);
    let open = |severity| all.iter().filter(|a| a.severity == severity && a.cleared.is_none()).count();
    let g = &pen.glyphs;
    let counts = format!(
        "{}{} {}{} {}{}",
        open(Severity::Critical),
        g.crit,
        open(Severity::Warning),
        g.warn,
        open(Severity::Info),
        g.info
    );
    let right = vec![pen.span(Role::Faint, counts)];
    let block = pen.frame(title(model, Pane::Alerts), right, model.focus == Pane::Alerts);
    let inner = window(buf, area, block);
    let room = usize::from(inner.width);
    if all.is_empty() {
        put(buf, inner, 0, vec![pen.span(Role::Ok, format!("{} no alert", g.ok))]);
        return;
    }
    let chosen = model.alert.and_then(|id| all.iter().position(|alert| alert.id == id)).unwrap_or(0);
    let focused = model.focus == Pane::Alerts;
    // The selected alert is told in full where there is room for it.
    let detail = if focused && inner.height >= 6 { 2 } else { 0 };
    let height = usize::from(inner.height) - detail;
    let first = (chosen + 1).saturating_sub(height);
    for (row, (index, alert)) in (0u16..).zip(all.iter().enumerate().skip(first).take(height)) {
        let sign = say::severity(alert.severity, g);
        let quiet = alert.acknowledged.is_some() || alert.cleared.is_some();
        let role = if quiet { Role::Faint } else { sign.role };
        let state = match (&alert.cleared, &alert.acknowledged) {
            (Some(_), _) => " cleared",
            (None, Some(_)) => " seen",
            (None, None) => "",
        };
        let text = format!("{}: {}", alert.source, alert.text);
        let used = 2 + 5 + 9 + state.len();
        put(
            buf,
            inner,
            row,
            vec![
                pen.span(role, format!("{} {} ", sign.glyph, pen.fit(sign.word, 4))),
                pen.span(Role::Faint, format!("{} ", say::time_of_day(alert.at))),
                pen.span(role, pen.fit(&text, room.saturating_sub(used))),
                pen.span(Role::Faint, state),
            ],
        );
        if focused && index == chosen {
            mark(buf, Rect { width: inner.width.min(2), ..inner }, row, pen.style(Role::Selected));
        }
    }
    if detail > 0
        && let Some(alert) = all.get(chosen)
    {
        let start = inner.height - 2;
        for (row, line) in (start..inner.height).zip(pen.wrap(&alert.text, room.saturating_sub(2), detail)) {
            put(buf, inner, row, vec![pen.span(Role::Text, format!("| {line}"))]);
        }
    }
}
