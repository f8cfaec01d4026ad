//! The panes of the board, one file each. They only read the model.

pub(crate) mod alerts;
pub(crate) mod banner;
pub(crate) mod batches;
pub(crate) mod chart;
pub(crate) mod footer;
pub(crate) mod header;
pub(crate) mod log;
pub(crate) mod phases;
pub(crate) mod small;
pub(crate) mod strip;
pub(crate) mod truth;

use super::{model::Model, theme::Role};
use ratatui::{buffer::Buffer, layout::Rect};

/// A pane that can have the focus; its number is the key that leads there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pane {
    Phases = 1,
    Batches,
    Errors,
    Latency,
    Alerts,
    Log,
}

impl Pane {
    /// All panes in the order of their numbers.
    pub(crate) const ALL: [Self; 6] =
        [Self::Phases, Self::Batches, Self::Errors, Self::Latency, Self::Alerts, Self::Log];

    /// The name in its frame.
    pub(crate) const fn title(self) -> &'static str {
        match self {
            Self::Phases => "Phases",
            Self::Batches => "Lanes and batches",
            Self::Errors => "Error rate",
            Self::Latency => "p95 latency",
            Self::Alerts => "Alerts",
            Self::Log => "Log",
        }
    }

    /// The name on a tab.
    pub(crate) const fn tab(self) -> &'static str {
        match self {
            Self::Phases => "Phases",
            Self::Batches => "Batches",
            Self::Errors => "Errors",
            Self::Latency => "p95",
            Self::Alerts => "Alerts",
            Self::Log => "Log",
        }
    }
}

/// Draws a pane with its frame.
pub(crate) fn draw(model: &Model, pane: Pane, buf: &mut Buffer, area: Rect) {
    match pane {
        Pane::Phases => phases::draw(model, buf, area),
        Pane::Batches => batches::draw(model, buf, area),
        Pane::Errors => chart::draw(model, &chart::ERRORS, buf, area),
        Pane::Latency => chart::draw(model, &chart::LATENCY, buf, area),
        Pane::Alerts => alerts::draw(model, buf, area),
        Pane::Log => log::draw(model, buf, area),
    }
}

/// The pane's title with its number.
fn title(model: &Model, pane: Pane) -> Vec<ratatui::text::Span<'static>> {
    let role = if model.focus == pane { Role::Title } else { Role::Text };
    vec![model.pen.span(role, format!("{} {}", pane as u8, pane.title()))]
}

/// For gauges and rates, where a lost digit does not matter.
#[expect(clippy::cast_precision_loss, reason = "for gauges and rates")]
pub(crate) const fn as_f64(n: u64) -> f64 {
    n as f64
}
