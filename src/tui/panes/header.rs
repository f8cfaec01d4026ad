//! The first two lines: who, where, in which state and why, how far, how long; and the badges. A badge says only what
//! the engine has said.

use super::super::{
    forecast,
    model::{Model, STALE},
    pen::{cells, put, put_right},
    say,
    theme::Role,
};
use crate::model::{Environment, Mode, PhaseState, RunState, Severity};
use ratatui::{buffer::Buffer, layout::Rect, text::Span};

/// Draws the first line.
pub(crate) fn draw(model: &Model, buf: &mut Buffer, area: Rect) {
    let pen = &model.pen;
    let view = model.shown();
    let width = area.width;
    let right = times(model, width);
    let used: usize = right.iter().map(Span::width).sum();
    let environment = if view.environment == Environment::Production { Role::Danger } else { Role::Badge };
    let badge = view.environment.badge();
    let badge = if width >= 100 { format!("[ENV {badge}]") } else { format!("[{badge}]") };
    let state = say::run(view.state, &pen.glyphs);
    let state_text = format!("{} {}", state.glyph, state.word);
    let room = usize::from(width).saturating_sub(used + cells(&badge) + cells(&state_text) + 4);
    let name = if width >= 140 { format!("CUTOVER  {}", view.plan) } else { view.plan.clone() };
    let name = pen.cut(&name, room.min(if width >= 140 { 50 } else { 22 }));
    let reason_room = room.saturating_sub(cells(&name));
    let mut left = vec![
        pen.span(Role::Active, format!(" {name} ")),
        pen.span(environment, badge),
        Span::raw(" "),
        pen.span(state.role, state_text),
    ];
    if !view.reason.is_empty() && reason_room > 6 {
        left.push(pen.span(Role::Text, format!(": {}", pen.cut(&view.reason, reason_room - 2))));
    }
    put(buf, area, 0, left);
    put_right(buf, area, 0, right);
}

fn times(model: &Model, width: u16) -> Vec<Span<'static>> {
    let pen = &model.pen;
    let view = model.shown();
    let done = view.phases.iter().filter(|phase| matches!(phase.state, PhaseState::Done | PhaseState::Off)).count();
    let until = if view.outcome.is_some() { view.at } else { model.moment.wall };
    let elapsed = say::clock(say::between(view.started, until));
    let (all, eta) = (view.phases.len(), eta(model, width));
    let text = if width >= 140 {
        format!("  phase {done}/{all}  {}  elapsed {elapsed}  ETA {eta} ", say::percent(view.ratio()))
    } else if width >= 100 {
        format!("  {done}/{all} {} {elapsed} ETA {eta}", say::percent(view.ratio()))
    } else {
        format!(" {done}/{all} {elapsed} ETA {eta}")
    };
    vec![pen.span(Role::Text, text), live(model, width >= 100)]
}

fn eta(model: &Model, width: u16) -> String {
    let view = model.shown();
    if model.age() > STALE {
        return "-".into();
    }
    forecast::remaining(view, model.moment.wall).map_or_else(
        || "-".into(),
        |f| {
            let gates =
                view.phases.iter().filter(|p| p.gate && matches!(p.state, PhaseState::Pending | PhaseState::AtGate));
            let gates = match gates.count() {
                0 => String::new(),
                1 => " +1 gate".into(),
                n => format!(" +{n} gates"),
            };
            let (least, most) = (say::clock(f.least), say::clock(f.most));
            match width {
                140.. => format!("{} ({least}-{most}){gates}", say::clock(f.likely)),
                100.. => format!("{least}-{most}{gates}"),
                _ => format!("{least}-{most}"),
            }
        },
    )
}

fn live(model: &Model, wide: bool) -> Span<'static> {
    let pen = &model.pen;
    let age = model.age();
    let (role, text) = if model.shown().outcome.is_some() {
        (Role::Faint, format!("{} ENDED", pen.glyphs.off))
    } else if model.gone {
        (Role::Danger, format!("{} ENGINE GONE", pen.glyphs.crit))
    } else if age > STALE {
        (Role::Stale, format!("{} STALE {}", pen.glyphs.unknown, say::age(age)))
    } else if wide {
        (Role::Ok, format!("{} LIVE {:.1}s", pen.glyphs.live, age.as_secs_f64()))
    } else {
        (Role::Ok, format!("{} LIVE", pen.glyphs.live))
    };
    pen.span(role, format!(" {text} "))
}

/// Draws the second line: as many badges as fit whole, the ones that matter most first.
pub(crate) fn badges(model: &Model, buf: &mut Buffer, area: Rect) {
    let pen = &model.pen;
    let room = usize::from(area.width);
    let (mut spans, mut used) = (Vec::new(), 0);
    for (role, text) in told(model, area.width) {
        let text = format!("[{text}]");
        if used + cells(&text) < room {
            used += cells(&text) + 1;
            spans.push(Span::raw(" "));
            spans.push(pen.span(role, text));
        }
    }
    put(buf, area, 0, spans);
}

fn told(model: &Model, width: u16) -> Vec<(Role, String)> {
    let pen = &model.pen;
    let view = model.shown();
    let now = model.moment.wall;
    let mut out: Vec<(Role, String)> = Vec::new();
    out.push(match view.maintenance_since {
        Some(since) => (Role::Warn, format!("MAINT ON {}", say::clock(say::between(since, now)))),
        None => (Role::Text, "MAINT off".into()),
    });
    out.push(lock(model, width));
    let open = |severity| view.alerts.iter().filter(move |a| a.severity == severity && a.cleared.is_none()).count();
    let (crit, warn) = (open(Severity::Critical), open(Severity::Warning));
    let alarm = match (crit, warn) {
        (0, 0) => Role::Text,
        (0, _) => Role::Warn,
        _ => Role::Crit,
    };
    out.push((alarm, format!("ALERTS {crit}{} {warn}{}", pen.glyphs.crit, pen.glyphs.warn)));
    if let Some(held) = &model.held {
        out.push((Role::Wait, format!("HELD {}, f goes on", say::time_of_day(held.at))));
    }
    if let Some(gate) = &view.gate {
        let (passed, all) = super::super::overlays::gate::score(gate, &gate.waived, now);
        out.push((Role::Wait, format!("GATE {passed}/{all}")));
    }
    out.push(match (view.committed, view.state) {
        (Some(_), _) => (Role::Warn, "COMMITTED no way back".into()),
        (None, RunState::RolledBack) => (Role::Warn, "WENT BACK".into()),
        (None, _) if view.rollback.is_some() => (Role::Warn, "GOING BACK".into()),
        (None, _) => (Role::Text, format!("WAY BACK {} steps", view.undo.len())),
    });
    if !view.exceptions.is_empty() {
        out.push((Role::Warn, format!("EXCEPTIONS {}", view.exceptions.len())));
    }
    match view.mode {
        Mode::Rehearsal => {}
        Mode::DryRun => out.push((Role::Ok, "DRY RUN".into())),
        Mode::Live => out.push((Role::Active, "LIVE RUN".into())),
    }
    out
}

/// Who steers. Everybody begins with watching, in a rehearsal too: what is practised is the real thing.
fn lock(model: &Model, width: u16) -> (Role, String) {
    if !model.armed() {
        return (Role::Text, if width >= 100 { "WATCH, T arms steering".into() } else { "WATCH, T arms".into() });
    }
    let left = model.armed_until.map_or_else(String::new, |until| say::clock(until.saturating_sub(model.moment.mono)));
    let who = if width >= 100 { format!(" {}", model.pen.cut(&model.actor.name, 16)) } else { String::new() };
    (Role::Active, format!("STEERING{who} {left}"))
}
