//! One lane in full: how far it is three ways, how fast and why not faster, what failed and what to do about it, what
//! has been under way for longest.

use super::{
    super::{
        far::Far,
        keys::{self, Act},
        model::Model,
        panes::as_f64,
        pen::put,
        say, speed,
        theme::Role,
    },
    centred, window,
};
use crate::{
    command::Command,
    engine::view::CommandState,
    error::FaultKind,
    event::EventKind,
    model::{LaneId, LaneKind, LaneProgress, Limits, SlowItem},
};
use ratatui::{buffer::Buffer, layout::Rect, text::Span};

/// Cells of the names on the left.
const NAMES: usize = 10;
/// Cells of an error's name, of its count, and of its bar.
const ERRORS: (usize, usize, usize) = (13, 7, 12);

type Line = Vec<Span<'static>>;

/// How fast the lane may be: what was ordered last since this engine began, else what the plan says.
pub(crate) fn limits(model: &Model, lane: &LaneId) -> Limits {
    let began = |kind: &EventKind| matches!(kind, EventKind::RunRecovered { .. } | EventKind::RunStarted { .. });
    let since = model.history.iter().rev().find(|event| began(&event.kind)).map(|event| event.at);
    let ordered = model.view.commands.iter().rev().find_map(|given| match &given.order {
        Command::Limit { lane: of, limits } if of == lane && !matches!(given.state, CommandState::Failed(_)) => {
            since.is_none_or(|since| given.accepted >= since).then_some(*limits)
        }
        _ => None,
    });
    let kind = model.view.lanes.iter().find(|known| &known.lane == lane).map(|known| known.kind);
    ordered.unwrap_or(match kind {
        Some(LaneKind::Records) => model.preview.record_limits,
        _ => model.preview.limits,
    })
}

/// Lines of the detail; a test of sizes and the scrolling ask for them too.
pub(crate) fn lines(model: &Model, lane: &LaneProgress, room: usize) -> Vec<Line> {
    let mut out = gauges(model, lane, room);
    out.extend(pace(model, lane, room));
    out.extend(follow(model, lane, room));
    out.push(counts(model, lane, room));
    out.extend(errors(model, lane, room));
    out.extend(slow(model, lane, room));
    out
}

fn named(model: &Model, name: &str, role: Role, text: &str, room: usize) -> Line {
    let pen = &model.pen;
    vec![pen.span(Role::Faint, pen.fit(name, NAMES)), pen.span(role, pen.cut(text, room.saturating_sub(NAMES)))]
}

fn gauges(model: &Model, lane: &LaneProgress, room: usize) -> Vec<Line> {
    let pen = &model.pen;
    let far = Far::of(lane);
    let what = what(lane.kind);
    let first = match (lane.kind, lane.listing, far.whole) {
        (LaneKind::Files, true, _) => named(
            model,
            "listed",
            Role::Active,
            &format!("{}+ {what} so far, more may come", say::full(far.listed)),
            room,
        ),
        (LaneKind::Files, false, Some(whole)) => gauge(model, "listed", (whole, whole), Role::Ok, what, room),
        (LaneKind::Records, _, Some(whole)) => {
            named(model, "source", Role::Text, &format!("{} {what}", say::full(whole)), room)
        }
        _ => named(
            model,
            "listed",
            Role::Stale,
            &format!("{} {what}, known; there may be more", say::full(far.listed)),
            room,
        ),
    };
    let mut out = vec![first];
    for (name, part) in [("copied", far.copied), ("verified", far.verified)] {
        out.push(match far.whole {
            Some(whole) => {
                gauge(model, name, (part, whole), if part >= whole { Role::Ok } else { Role::Active }, what, room)
            }
            None => named(model, name, Role::Text, &format!("{} {what}", say::full(part)), room),
        });
    }
    let moved = format!("{} moved", say::bytes(as_f64(lane.tally.bytes)));
    if lane.kind == LaneKind::Files {
        out.push(vec![pen.span(Role::Faint, pen.fit("bytes", NAMES)), pen.span(Role::Text, moved)]);
    }
    out
}

const fn what(kind: LaneKind) -> &'static str {
    match kind {
        LaneKind::Files => "files",
        LaneKind::Records => "records",
    }
}

fn gauge(model: &Model, name: &str, (part, whole): (u64, u64), role: Role, what: &str, room: usize) -> Line {
    let pen = &model.pen;
    let ratio = if whole == 0 { 1.0 } else { as_f64(part) / as_f64(whole) };
    let tail = format!("{} of {} {what}", say::full(part), say::full(whole));
    let bar = room.saturating_sub(NAMES + 7 + tail.len()).clamp(6, 40);
    vec![
        pen.span(Role::Faint, pen.fit(name, NAMES)),
        pen.span(role, pen.gauge(ratio, bar)),
        pen.span(role, format!("{}  ", pen.right(&say::percent(ratio), 5))),
        pen.span(Role::Text, pen.cut(&tail, room.saturating_sub(NAMES + bar + 7))),
    ]
}

fn pace(model: &Model, lane: &LaneProgress, room: usize) -> Vec<Line> {
    let what = what(lane.kind);
    let mut speed_now = format!("{} {what}/s", say::rate(lane.items_per_s));
    if lane.kind == LaneKind::Files {
        let bytes = if lane.bytes_per_s > 0.0 { say::bytes(lane.bytes_per_s) } else { "-".into() };
        speed_now = format!("{speed_now}   {bytes}/s");
    }
    let at_once = match lane.kind {
        LaneKind::Files => format!("{} files", lane.concurrency),
        LaneKind::Records => format!("{} batches", lane.concurrency),
    };
    let mut out =
        vec![named(model, "speed", Role::Text, &speed_now, room), named(model, "at once", Role::Text, &at_once, room)];
    if lane.kind == LaneKind::Records {
        out.insert(1, named(model, "parts", Role::Text, &parts(lane), room));
    }
    out.push(named(model, "limits", Role::Text, &speed::words(&limits(model, &lane.lane)), room));
    if lane.throttle.is_empty() {
        out.push(named(model, "slowed", Role::Text, "by nothing", room));
    } else {
        let lines = model.pen.wrap(&lane.throttle, room.saturating_sub(NAMES), 3);
        let names = std::iter::once("slowed").chain(std::iter::repeat(""));
        out.extend(names.zip(lines).map(|(name, line)| named(model, name, Role::Wait, &line, room)));
    }
    out
}

/// How fast each part of the work is; a part that rests has no number.
fn parts(lane: &LaneProgress) -> String {
    let speeds = lane.speeds;
    let parts =
        [(speeds.read, "read"), (speeds.mapped, "mapped"), (speeds.written, "written"), (speeds.verified, "verified")];
    let said = parts.map(|(speed, part)| {
        let speed = if speed > 0.0 { say::rate(speed) } else { "-".into() };
        format!("{speed} {part}/s")
    });
    said.join("   ")
}

/// How far behind its source, whether it keeps up, and what the drain will take.
fn follow(model: &Model, lane: &LaneProgress, room: usize) -> Vec<Line> {
    let Some(follow) = &lane.follow else { return Vec::new() };
    let now = model.moment.wall;
    let behind = follow.lag(now).map_or_else(|| "not begun".into(), say::clock);
    let records =
        follow.records().map_or_else(String::new, |count| format!("   {} changed in the last pass", say::full(count)));
    let mut out = vec![named(model, "behind", Role::Text, &format!("{behind}{records}"), room)];
    if let (Some(changes), Some(keeps_up)) = (follow.changes_per_s(), follow.keeps_up()) {
        let carried =
            follow.carried_per_s().map_or_else(String::new, |rate| format!(", {}/s can be carried", say::rate(rate)));
        let (role, verdict) = if keeps_up { (Role::Ok, "keeps up") } else { (Role::Crit, "does not keep up") };
        let text = format!("{verdict}: {} records/s change{carried}", say::rate(changes));
        out.push(named(model, "source", role, &text, room));
    }
    if let Some(drain) = follow.drain(now) {
        let text = format!("{:.1} to {:.1} s", drain.low.as_secs_f64(), drain.high.as_secs_f64());
        out.push(named(model, "drain", Role::Text, &text, room));
    }
    if let Some(failing) = &follow.failing {
        let since = say::age(say::between(failing.since, now));
        let lines = model.pen.wrap(&format!("for {since}: {}", failing.why), room.saturating_sub(NAMES), 3);
        let names = std::iter::once("failing").chain(std::iter::repeat(""));
        out.extend(names.zip(lines).map(|(name, line)| named(model, name, Role::Crit, &line, room)));
    }
    out
}

fn counts(model: &Model, lane: &LaneProgress, room: usize) -> Line {
    let tally = &lane.tally;
    let all = [
        (tally.failed, "failed"),
        (tally.lost, "lost"),
        (tally.conflicting, "conflicting"),
        (tally.skipped, "skipped"),
        (tally.copying, "under way"),
        (tally.pending, "waiting"),
    ];
    let bad = tally.failed + tally.lost + tally.conflicting > 0;
    let said: Vec<String> = all
        .iter()
        .enumerate()
        .filter(|(place, (count, _))| *place < 2 || *count > 0)
        .map(|(_, (count, word))| format!("{} {word}", say::full(*count)))
        .collect();
    named(model, "counts", if bad { Role::Crit } else { Role::Text }, &said.join("  "), room)
}

fn errors(model: &Model, lane: &LaneProgress, room: usize) -> Vec<Line> {
    let pen = &model.pen;
    let Some(most) = lane.errors.iter().map(|(_, count)| *count).max() else { return Vec::new() };
    let mut out =
        vec![Vec::new(), vec![pen.span(Role::Title, format!("Why {} failed, and what to do", what(lane.kind)))]];
    let beside = room.saturating_sub(ERRORS.0 + ERRORS.1 + ERRORS.2 + 2);
    for (kind, count) in &lane.errors {
        let bar = pen.gauge(as_f64(*count) / as_f64(most.max(1)), ERRORS.2);
        let head = format!("{}{} {bar} ", pen.fit(kind.word(), ERRORS.0), pen.right(&say::full(*count), ERRORS.1));
        out.extend(remedy(model, *kind, head, beside, room));
    }
    out
}

/// The remedy beside its kind where there is room, else below it.
fn remedy(model: &Model, kind: FaultKind, head: String, beside: usize, room: usize) -> Vec<Line> {
    let pen = &model.pen;
    let head_role = Role::Crit;
    if beside >= 40 {
        let mut lines = pen.wrap(kind.remedy(), beside, 3).into_iter();
        let indent = " ".repeat(room - beside);
        let first = vec![pen.span(head_role, head), pen.span(Role::Text, lines.next().unwrap_or_default())];
        let rest = lines.map(|line| vec![Span::raw(indent.clone()), pen.span(Role::Text, line)]);
        return std::iter::once(first).chain(rest).collect();
    }
    let below = pen.wrap(kind.remedy(), room.saturating_sub(2), 3);
    let below = below.into_iter().map(|line| vec![Span::raw("  "), pen.span(Role::Text, line)]);
    std::iter::once(vec![pen.span(head_role, head)]).chain(below).collect()
}

fn slow(model: &Model, lane: &LaneProgress, room: usize) -> Vec<Line> {
    let pen = &model.pen;
    if lane.slow.is_empty() {
        return Vec::new();
    }
    let mut out = vec![Vec::new(), vec![pen.span(Role::Title, "Longest under way")]];
    out.extend(lane.slow.iter().map(|item| slow_line(model, item, room)));
    out
}

fn slow_line(model: &Model, item: &SlowItem, room: usize) -> Line {
    let pen = &model.pen;
    let moved = say::bytes(as_f64(item.moved));
    // A size of nothing is one that the source did not tell.
    let far = match item.size {
        0 => format!("{moved} of {}", pen.glyphs.unknown),
        size => format!("{moved} of {}", say::bytes(as_f64(size))),
    };
    let time = say::clock(std::time::Duration::from_secs(item.seconds));
    let tail = format!("  {} {}", pen.right(&far, 20), pen.right(&time, 7));
    let key = room.saturating_sub(tail.len());
    vec![pen.span(Role::Text, pen.fit(&item.key, key)), pen.span(Role::Wait, tail)]
}

/// Draws the lane.
pub(crate) fn draw(model: &Model, id: &LaneId, scroll: usize, buf: &mut Buffer, area: Rect) {
    let pen = &model.pen;
    let width = 130.min(area.width);
    let room = usize::from(width.saturating_sub(2));
    let lane = model.shown().lanes.iter().find(|lane| &lane.lane == id);
    let lines = lane.map_or_else(
        || vec![vec![pen.span(Role::Stale, "this lane is no longer known")]],
        |lane| lines(model, lane, room),
    );
    let right = lane.map_or_else(Vec::new, |lane| {
        let (glyph, role, text) = super::super::far::behind(lane, model.moment.wall, &pen.glyphs)
            .unwrap_or_else(|| super::super::far::short(lane, &pen.glyphs));
        vec![pen.span(role, format!("{glyph} {text}"))]
    });
    let height = u16::try_from(lines.len() + 2).unwrap_or(u16::MAX);
    let key = |act| keys::of(act).and_then(|binding| binding.keys.first()).map_or_else(String::new, |key| key.name());
    let of_records = lane.is_some_and(|lane| lane.kind == LaneKind::Records);
    let lists = format!("  {} dead letters  {} differences", key(Act::DeadLetters), key(Act::Differences));
    let hint = format!(
        "Esc back  {} {} at once  {} limits  Enter batches{}{}",
        key(Act::More),
        key(Act::Less),
        key(Act::Limit),
        if of_records { lists.as_str() } else { "" },
        if height > area.height { "  Up/Down" } else { "" }
    );
    let title = vec![pen.span(Role::Title, pen.cut(&format!("Lane {id}"), room.saturating_sub(24)))];
    let inner = window(pen, buf, centred(area, width, height), title, right, &pen.cut(&hint, room));
    let first = scroll.min(lines.len().saturating_sub(usize::from(inner.height)));
    for (row, line) in (0..inner.height).zip(lines.into_iter().skip(first)) {
        put(buf, inner, row, line);
    }
}
