//! The gate: evidence with verdict, value, limit and age, and a person's go or no-go.
//!
//! Anybody may look. GO must be typed, with the lock; a no-go wants a reason, a waiver one of ten letters. If the
//! evidence turns while somebody types, what was typed is void; evidence that gets better voids nothing.

use super::{
    super::{
        input::Weight,
        keys::is_char,
        legal,
        model::Model,
        pen::{mark, put},
        say,
        theme::Role,
    },
    ARMING, centred,
    field::{Field, Need},
    window,
};
use crate::{
    command::Command,
    engine::{gate as rule, view::GateView},
    model::{Check, Phase, Timestamp, Verdict, Waiver},
};
use crossterm::event::{KeyCode, KeyEvent};
use ratatui::{buffer::Buffer, layout::Rect, text::Span};
use std::time::Duration;

/// Which part of the gate listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    List,
    Go,
    NoGo,
    Waive,
}

/// The open gate, as a dialog.
#[derive(Debug, Clone)]
pub(crate) struct Gate {
    pub(crate) phase: Phase,
    pub(crate) selected: usize,
    pub(crate) part: Part,
    pub(crate) armed_at: Duration,
    pub(crate) waived: Vec<Waiver>,
    pub(crate) note: Option<(Role, String)>,
    go: Field,
    reason: Field,
    /// The check that is being waived; kept by name, since the list may move meanwhile.
    waiving: String,
    /// Checks that did not pass when last looked at.
    open: Vec<String>,
}

/// What a key led to.
#[derive(Debug, PartialEq)]
pub(crate) enum Outcome {
    Stay,
    Close,
    Order(Command),
    Arm,
}

impl Gate {
    /// The gate as it stands.
    pub(crate) fn new(gate: &GateView, now: Timestamp, mono: Duration) -> Self {
        Self {
            phase: gate.phase,
            selected: 0,
            part: Part::List,
            armed_at: mono + ARMING,
            waived: Vec::new(),
            note: None,
            go: Field::new("type GO:", Need::Exactly("GO".into())),
            reason: Field::new("reason:", Need::Letters(1)),
            waiving: String::new(),
            open: not_passed(&gate.checks, now),
        }
    }

    /// Looks at the evidence again; true if this gate is no longer the open one.
    pub(crate) fn refresh(&mut self, gate: Option<&GateView>, now: Timestamp, mono: Duration) -> bool {
        let Some(gate) = gate.filter(|gate| gate.phase == self.phase) else { return true };
        self.selected = self.selected.min(gate.checks.len().saturating_sub(1));
        let open = not_passed(&gate.checks, now);
        let turned = open.iter().find(|name| !self.open.contains(name));
        if let Some(name) = turned
            && self.part == Part::Go
        {
            self.go.clear();
            self.armed_at = mono + ARMING;
            self.note = Some((Role::Warn, format!("the evidence turned, look again: {name}")));
        }
        self.open = open;
        false
    }

    /// Handles a key.
    pub(crate) fn key(&mut self, model: &Model, key: &KeyEvent, weight: Weight) -> Outcome {
        if key.code == KeyCode::Esc {
            if self.part == Part::List {
                return Outcome::Close;
            }
            self.to(Part::List, model);
            return Outcome::Stay;
        }
        if self.part == Part::List {
            return self.list_key(model, key, weight);
        }
        if let Weight::Light(why) = weight {
            self.go.clear();
            self.reason.clear();
            self.armed_at = model.moment.mono + ARMING;
            self.note = Some((Role::Warn, format!("not taken: {why}")));
            return Outcome::Stay;
        }
        match key.code {
            KeyCode::Enter => return self.enter(model),
            KeyCode::Tab | KeyCode::BackTab => self.to(Part::List, model),
            _ => {
                let field = if self.part == Part::Go { &mut self.go } else { &mut self.reason };
                let _edits = field.key(key);
                self.note = None;
            }
        }
        Outcome::Stay
    }

    fn list_key(&mut self, model: &Model, key: &KeyEvent, weight: Weight) -> Outcome {
        let last = model.view.gate.as_ref().map_or(0, |gate| gate.checks.len().saturating_sub(1));
        match key.code {
            KeyCode::Up => self.selected = self.selected.saturating_sub(1),
            KeyCode::Down => self.selected = (self.selected + 1).min(last),
            KeyCode::Tab | KeyCode::BackTab => self.steer(Part::Go, model),
            _ if is_char(key, 'k') => self.selected = self.selected.saturating_sub(1),
            _ if is_char(key, 'j') => self.selected = (self.selected + 1).min(last),
            _ if is_char(key, 'N') => self.steer(Part::NoGo, model),
            _ if is_char(key, 'W') => {
                if let Some(check) = model.view.gate.as_ref().and_then(|gate| self.selected_in(gate, model)) {
                    self.waiving.clone_from(&check.name);
                    self.steer(Part::Waive, model);
                }
            }
            _ if is_char(key, 'T') && weight == Weight::Full => return Outcome::Arm,
            _ => {}
        }
        Outcome::Stay
    }

    fn selected_in<'a>(&self, gate: &'a GateView, model: &Model) -> Option<&'a Check> {
        sorted(&gate.checks, model.moment.wall).get(self.selected).copied()
    }

    fn steer(&mut self, part: Part, model: &Model) {
        if model.armed() {
            self.to(part, model);
        } else {
            self.note = Some((Role::Warn, "steering is not armed: T arms it".into()));
        }
    }

    fn to(&mut self, part: Part, model: &Model) {
        self.part = part;
        self.note = None;
        self.go.clear();
        self.reason.clear();
        self.reason.need = Need::Letters(if part == Part::Waive { rule::WAIVER_REASON } else { 1 });
        self.armed_at = model.moment.mono + ARMING;
    }

    fn enter(&mut self, model: &Model) -> Outcome {
        let stay = |gate: &mut Self, role, text: String| {
            gate.note = Some((role, text));
            Outcome::Stay
        };
        if model.moment.mono < self.armed_at {
            self.armed_at = model.moment.mono + ARMING;
            return stay(self, Role::Warn, "not armed yet, once more in a moment".into());
        }
        if !model.armed() {
            return stay(self, Role::Warn, "steering is not armed: Esc, then T arms it".into());
        }
        let field = if self.part == Part::Go { &self.go } else { &self.reason };
        if let Some(missing) = field.missing() {
            return stay(self, Role::Warn, format!("not yet: {missing}"));
        }
        let reason = self.reason.text().trim().to_owned();
        if self.part == Part::Waive {
            self.waived.retain(|waiver| waiver.check != self.waiving);
            self.waived.push(Waiver { check: self.waiving.clone(), reason });
            self.to(Part::List, model);
            return Outcome::Stay;
        }
        let command = if self.part == Part::Go {
            Command::Approve { phase: self.phase, waive: self.waived.clone() }
        } else {
            Command::Refuse { phase: self.phase, reason }
        };
        match legal::legal(&model.view, &command, model.moment.wall) {
            Ok(()) => Outcome::Order(command),
            Err(refusal) => stay(self, Role::Crit, legal::sentence(&refusal)),
        }
    }
}

/// The evidence as it is listed: what keeps the gate closed first.
fn sorted(checks: &[Check], now: Timestamp) -> Vec<&Check> {
    let mut all: Vec<&Check> = checks.iter().collect();
    all.sort_by_key(|check| match check.counts(now) {
        Verdict::Fail => 0,
        Verdict::Unknown => 1,
        Verdict::Pass => 2,
    });
    all
}

fn not_passed(checks: &[Check], now: Timestamp) -> Vec<String> {
    checks.iter().filter(|check| check.counts(now) != Verdict::Pass).map(|check| check.name.clone()).collect()
}

/// How many of the gate's checks count as passed, and how many there are.
pub(crate) fn score(gate: &GateView, waived: &[Waiver], now: Timestamp) -> (usize, usize) {
    let passed = gate
        .checks
        .iter()
        .filter(|check| check.counts(now) == Verdict::Pass || waived.iter().any(|waiver| waiver.check == check.name));
    (passed.count(), gate.checks.len())
}

/// Draws the gate.
pub(crate) fn draw(model: &Model, gate: &Gate, buf: &mut Buffer, area: Rect) {
    let pen = &model.pen;
    let now = model.moment.wall;
    let Some(open) = &model.view.gate else { return };
    let (passed, all) = score(open, &gate.waived, now);
    let width = 100.min(area.width);
    let rows = open.checks.len().max(1) + 7;
    let inner = window(
        pen,
        buf,
        centred(area, width, u16::try_from(rows + 2).unwrap_or(u16::MAX)),
        vec![pen.span(Role::Title, format!("Gate before {} {}: go?", gate.phase.number(), gate.phase))],
        vec![
            pen.span(Role::Wait, format!("{passed} of {all}")),
            Span::raw(" "),
            pen.span(Role::Badge, model.view.environment.badge()),
        ],
        "Esc leave it (default)  Tab GO  N no-go  W waive",
    );
    let room = usize::from(inner.width);
    let list = usize::from(inner.height.saturating_sub(5)).max(1);
    let first = (gate.selected + 1).saturating_sub(list);
    let mut row = 0;
    if open.checks.is_empty() {
        put(buf, inner, row, vec![pen.span(Role::Stale, "? the evidence has not been measured yet: UNKNOWN")]);
        row += 1;
    }
    for (index, check) in sorted(&open.checks, now).into_iter().enumerate().skip(first).take(list) {
        put(buf, inner, row, check_line(model, check, &gate.waived, room));
        if index == gate.selected && gate.part == Part::List {
            mark(buf, Rect { width: 1, ..inner }, row, pen.style(Role::Selected));
        }
        row += 1;
    }
    let selected = gate.selected_in(open, model);
    let remedy = selected.filter(|check| check.counts(now) != Verdict::Pass).map_or("", |check| check.remedy.as_str());
    let remedies = pen.wrap(remedy, room.saturating_sub(2), 2);
    for (index, line) in (0u16..).zip(remedies) {
        put(buf, inner, row + index, vec![pen.span(Role::Faint, format!("  {line}"))]);
    }
    foot(model, gate, open, buf, inner);
}

fn foot(model: &Model, gate: &Gate, open: &GateView, buf: &mut Buffer, inner: Rect) {
    let pen = &model.pen;
    let room = usize::from(inner.width);
    let obstacles = rule::obstacles(&open.checks, &gate.waived, model.moment.wall);
    let last = inner.height.saturating_sub(1);
    let verdict = if let Some(why) = &open.refused {
        (Role::Crit, format!("NO-GO: {why}. P resumes and opens the gate again."))
    } else if obstacles.is_empty() {
        (Role::Ok, format!("{} every check passes or is waived: GO is possible", pen.glyphs.ok))
    } else {
        (Role::Crit, format!("{} GO is off, {} open: {}", pen.glyphs.crit, obstacles.len(), obstacles.join("; ")))
    };
    put(buf, inner, last.saturating_sub(2), vec![pen.span(verdict.0, pen.cut(&verdict.1, room))]);
    let line = match gate.part {
        Part::List if model.armed() => {
            vec![pen.span(Role::Text, "Tab, then type GO and Enter; void if the evidence turns")]
        }
        Part::List => vec![pen.span(Role::Wait, "WATCH: T arms steering, then Tab and type GO")],
        Part::Go => gate.go.spans(pen, true, room),
        Part::NoGo => {
            [vec![pen.span(Role::Active, "NO-GO ")], gate.reason.spans(pen, true, room - 6.min(room))].concat()
        }
        Part::Waive => {
            let head = pen.cut(&format!("WAIVE {} ", gate.waiving), room / 2);
            let used = super::super::pen::cells(&head);
            [vec![pen.span(Role::Active, head)], gate.reason.spans(pen, true, room.saturating_sub(used))].concat()
        }
    };
    put(buf, inner, last.saturating_sub(1), line);
    if let Some((role, note)) = &gate.note {
        put(buf, inner, last, vec![pen.span(*role, pen.cut(note, room))]);
    }
}

/// `✗ replica lag   1.8s, needs <= 1s   12s ago` in `room` cells.
pub(crate) fn check_line(model: &Model, check: &Check, waived: &[Waiver], room: usize) -> Vec<Span<'static>> {
    let pen = &model.pen;
    let now = model.moment.wall;
    let counts = check.counts(now);
    let stale = counts == Verdict::Unknown && check.verdict != Verdict::Unknown;
    let pardon = waived.iter().find(|waiver| waiver.check == check.name);
    let sign = say::verdict(counts, &pen.glyphs);
    let (glyph, role, word) = match (pardon, stale) {
        (Some(_), _) => (pen.glyphs.warn, Role::Warn, "WAIVED"),
        (None, true) => (sign.glyph, Role::Stale, "STALE"),
        (None, false) => (sign.glyph, sign.role, sign.word),
    };
    let age = format!("{} old", say::age(check.age(now)));
    let name = (room / 3).clamp(10, 34);
    let rest = room.saturating_sub(name + 2 + 8 + 9 + 2);
    let found =
        if check.limit.is_empty() { check.value.clone() } else { format!("{}, limit {}", check.value, check.limit) };
    vec![
        pen.span(role, format!("{glyph} ")),
        pen.span(Role::Text, format!("{} ", pen.fit(&check.name, name))),
        pen.span(role, format!("{} ", pen.fit(word, 7))),
        pen.span(Role::Text, pen.fit(&found, rest)),
        pen.span(if stale { Role::Stale } else { Role::Faint }, pen.right(&age, 9)),
    ]
}
