//! Draws the model: a pure function of it. Nothing is decided here.

use super::{
    layout::{self, LEAST},
    model::{Model, STALE},
    overlays::{self, Overlay},
    panes::{self, banner, chart, footer, header, small, strip, truth},
    theme::Role,
};
use ratatui::{Frame, buffer::Buffer, layout::Rect, style::Modifier};

/// Draws a frame.
pub(crate) fn draw(model: &Model, frame: &mut Frame<'_>) {
    let area = frame.area();
    screen(model, frame.buffer_mut(), area);
}

/// Draws everything into a buffer.
pub(crate) fn screen(model: &Model, buf: &mut Buffer, area: Rect) {
    let area = area.intersection(buf.area);
    if area.is_empty() {
        return;
    }
    if layout::is_small(area) {
        small::draw(model, buf, area);
        return;
    }
    let banners = u16::try_from(banner::lines(model).len()).unwrap_or(0);
    let places = layout::board(area, banners, model.focus, model.zoom);
    for (pane, place) in &places.panes {
        panes::draw(model, *pane, buf, *place);
    }
    if let Some(place) = places.spark {
        chart::spark_line(model, buf, place);
    }
    if model.age() > STALE && model.view.outcome.is_none() {
        for (_, place) in &places.panes {
            buf.set_style(*place, model.pen.style(Role::Stale).add_modifier(Modifier::DIM));
        }
    }
    header::draw(model, buf, places.header);
    header::badges(model, buf, places.badges);
    truth::draw(model, buf, places.truth);
    banner::draw(model, buf, places.banners);
    if let Some(place) = places.strip {
        strip::draw(model, buf, place);
    }
    if let Some(place) = places.tabs {
        strip::tabs(model, buf, place);
    }
    footer::status(model, buf, places.status);
    footer::draw(model, buf, places.footer);
    if let Some(overlay) = &model.overlay {
        overlays::draw(model, buf, over(area, overlay, banners));
    }
    if let Some(typing) = &model.typing {
        footer::typing(model, typing, buf, places.status);
    }
}

/// Where an overlay may lie: header and footer stay; so do badges, truth and banners where there is room.
fn over(area: Rect, overlay: &Overlay, banners: u16) -> Rect {
    let whole =
        matches!(overlay, Overlay::Help { .. } | Overlay::Log { .. } | Overlay::History { .. } | Overlay::Phase { .. });
    // These have no line of their own for what was refused or became of an order.
    let steered_from =
        matches!(overlay, Overlay::Lane { .. } | Overlay::Batch(_) | Overlay::Letters(_) | Overlay::Differences(_));
    let tight = area.height < LEAST.1 + 8 || (steered_from && area.height < 30);
    let top = if tight || whole { 1 } else { 3 + banners };
    let bottom = if steered_from { 2 } else { 1 };
    Rect { y: area.y + top, height: area.height - top - bottom, ..area }
}
