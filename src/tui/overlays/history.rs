//! What happened: the journal's decisions as far as this console has seen them, newest at the bottom.

use super::{
    super::{model::Model, pen::put, say, theme::Role},
    window,
};
use crate::event::EventKind as E;
use ratatui::{buffer::Buffer, layout::Rect};

/// Draws the history over the whole screen, `back` lines before its end.
pub(crate) fn draw(model: &Model, back: usize, buf: &mut Buffer, area: Rect) {
    let pen = &model.pen;
    let all = model.history.len();
    let inner = window(
        pen,
        buf,
        area,
        vec![pen.span(Role::Title, "History")],
        vec![pen.span(Role::Faint, format!("{all} decisions, journal at {}", model.view.seq))],
        "? help  Esc close  Up/Down scroll  End newest",
    );
    let room = usize::from(inner.width);
    let height = usize::from(inner.height);
    let end = all - back.min(all.saturating_sub(height));
    let start = end.saturating_sub(height);
    for (row, event) in (0u16..).zip(model.history.range(start..end)) {
        let (role, text) = (role(&event.kind), event.kind.sentence());
        let head = format!("#{} {} ", pen.right(&event.seq.to_string(), 5), say::time_of_day(event.at));
        let used = super::super::pen::cells(&head);
        put(
            buf,
            inner,
            row,
            vec![pen.span(Role::Faint, head), pen.span(role, pen.cut(&text, room.saturating_sub(used)))],
        );
    }
    if all == 0 {
        put(buf, inner, 0, vec![pen.span(Role::Pending, "nothing has happened since this console came")]);
    }
}

/// How loud an event is.
fn role(kind: &E) -> Role {
    match kind {
        E::StepFailed { .. } | E::UndoFailed { .. } | E::EmergencyStop { .. } | E::CommandFailed { .. } => Role::Crit,
        E::AlertRaised { .. }
        | E::VetoOpened { .. }
        | E::VetoUsed { .. }
        | E::RollbackStarted { .. }
        | E::GateRefused { .. } => Role::Warn,
        E::Committed { .. } | E::GateApproved { .. } => Role::Ok,
        E::CommandAccepted { .. } => Role::Active,
        _ => Role::Text,
    }
}
