//! Where everything stands, for every size. Pure.
//!
//! Three shapes: `Full` from 100x30 (all panes at once), `Compact` from 60x16 (one pane at a time, a strip of phases),
//! below that a notice.

use super::panes::Pane;
use ratatui::layout::{Constraint, Layout as Split, Rect};

/// Smallest screen that can be steered from.
pub(crate) const LEAST: (u16, u16) = (60, 16);
/// Smallest screen with all panes.
const FULL: (u16, u16) = (100, 30);

/// The places of the board.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) header: Rect,
    pub(crate) badges: Rect,
    pub(crate) truth: Rect,
    pub(crate) banners: Rect,
    pub(crate) strip: Option<Rect>,
    pub(crate) tabs: Option<Rect>,
    pub(crate) panes: Vec<(Pane, Rect)>,
    pub(crate) spark: Option<Rect>,
    pub(crate) status: Rect,
    pub(crate) footer: Rect,
}

/// True where only the notice fits.
pub(crate) const fn is_small(area: Rect) -> bool {
    area.width < LEAST.0 || area.height < LEAST.1
}

/// True where all panes fit.
pub(crate) const fn is_full(area: Rect) -> bool {
    area.width >= FULL.0 && area.height >= FULL.1
}

/// The places on a screen of this size with so many banners; `only` is the pane shown where not all fit, or is zoomed.
pub(crate) fn board(area: Rect, banners: u16, only: Pane, zoom: bool) -> Layout {
    let full = is_full(area);
    let extra = u16::from(!full) * 2;
    let [header, badges, truth, banner, strip, body, status, footer] = Split::vertical([
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Length(banners),
        Constraint::Length(extra),
        Constraint::Fill(1),
        Constraint::Length(1),
        Constraint::Length(1),
    ])
    .areas(area);
    let line = |offset: u16| Rect { y: strip.y + offset, height: 1, ..strip };
    let (panes, spark) = match (full, zoom) {
        (_, true) => (vec![(only, body)], None),
        (true, false) => (all(body), None),
        (false, false) => one(body, only),
    };
    Layout {
        header,
        badges,
        truth,
        banners: banner,
        strip: (!full).then(|| line(0)),
        tabs: (!full).then(|| line(1)),
        panes,
        spark,
        status,
        footer,
    }
}

fn all(body: Rect) -> Vec<(Pane, Rect)> {
    let top = 12 + body.height.saturating_sub(31) / 3;
    let charts = (body.height.saturating_sub(top) * 9 / 19).max(5);
    let [top, charts, below] =
        Split::vertical([Constraint::Length(top), Constraint::Length(charts), Constraint::Fill(1)]).areas(body);
    let left = (body.width * 38 / 100).clamp(44, 60);
    let columns = |area: Rect| Split::horizontal([Constraint::Length(left), Constraint::Fill(1)]).areas::<2>(area);
    let [phases, batches] = columns(top);
    let [errors, latency] = Split::horizontal([Constraint::Ratio(1, 2), Constraint::Ratio(1, 2)]).areas(charts);
    let [alerts, log] = columns(below);
    vec![
        (Pane::Phases, phases),
        (Pane::Batches, batches),
        (Pane::Errors, errors),
        (Pane::Latency, latency),
        (Pane::Alerts, alerts),
        (Pane::Log, log),
    ]
}

/// One pane, and where there is room a line of charts and the alerts below.
fn one(body: Rect, only: Pane) -> (Vec<(Pane, Rect)>, Option<Rect>) {
    if body.height < 14 {
        return (vec![(only, body)], None);
    }
    let [main, spark, below] =
        Split::vertical([Constraint::Fill(1), Constraint::Length(1), Constraint::Length(5)]).areas(body);
    let second = if only == Pane::Alerts { Pane::Log } else { Pane::Alerts };
    (vec![(only, main), (second, below)], Some(spark))
}

#[cfg(test)]
mod tests {
    use super::{board, is_full, is_small};
    use crate::tui::panes::Pane;
    use ratatui::layout::Rect;

    #[test]
    fn every_place_lies_inside_and_none_over_another() {
        for (width, height) in [(160, 50), (120, 36), (100, 30), (99, 40), (80, 24), (60, 16), (220, 70)] {
            let area = Rect::new(0, 0, width, height);
            assert!(!is_small(area));
            for banners in 0..3 {
                for zoom in [false, true] {
                    let l = board(area, banners, Pane::Batches, zoom);
                    let mut all = vec![l.header, l.badges, l.truth, l.banners, l.status, l.footer];
                    all.extend(l.strip.iter().chain(&l.tabs).chain(&l.spark));
                    all.extend(l.panes.iter().map(|(_, rect)| *rect));
                    for (index, one) in all.iter().enumerate() {
                        assert_eq!(one.intersection(area), *one, "{width}x{height}");
                        for other in &all[index + 1..] {
                            assert!(one.intersection(*other).is_empty(), "{one:?} {other:?} at {width}x{height}");
                        }
                    }
                    assert_eq!(l.footer.y, height - 1);
                }
            }
        }
        assert!(is_full(Rect::new(0, 0, 100, 30)) && !is_full(Rect::new(0, 0, 99, 30)));
        assert!(is_small(Rect::new(0, 0, 59, 16)) && is_small(Rect::new(0, 0, 60, 15)));
    }

    #[test]
    fn the_phases_pane_always_has_room_for_nine() {
        let l = board(Rect::new(0, 0, 100, 30), 2, Pane::Batches, false);
        let (_, phases) = l.panes.iter().find(|(pane, _)| *pane == Pane::Phases).unwrap();
        assert!(phases.height >= 11, "{phases:?}");
    }
}
