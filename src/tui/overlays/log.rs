//! The whole log.

use super::{
    super::{model::Model, panes, theme::Role},
    window,
};
use ratatui::{buffer::Buffer, layout::Rect};

/// Draws the log over the whole screen.
pub(crate) fn draw(model: &Model, scroll: usize, buf: &mut Buffer, area: Rect) {
    let pen = &model.pen;
    let held = if scroll == 0 { "FOLLOW" } else { "HELD" };
    let right = if model.log_filter.is_off() {
        vec![pen.span(Role::Faint, held)]
    } else {
        vec![pen.span(Role::Wait, format!("/{}  {held}", pen.cut(model.log_filter.text(), 24)))]
    };
    let inner = window(
        pen,
        buf,
        area,
        vec![pen.span(Role::Title, format!("Log  run {} (local time)", model.view.run))],
        right,
        "? help  Esc close  / filter  PgUp/PgDn scroll  End follow",
    );
    panes::log::lines(model, scroll, buf, inner);
}
