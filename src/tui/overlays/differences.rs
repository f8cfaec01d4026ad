//! What the last comparison of a lane found different, every key of it, a page at a time; one record on both sides, field
//! by field.

use super::{
    super::{
        glyphs::Glyphs,
        model::Model,
        pages::{Line, Pages},
        pen::{mark, put},
        reader::{Ask, Compared, DifferenceLine, DifferencesAsk, RecordAsk, SideFields, Sides, Standing, Told},
        say,
        theme::Role,
    },
    centred,
    record::{self, Opened},
    window,
};
use crate::model::{ItemVerdict, LaneId};
use ratatui::{buffer::Buffer, layout::Rect, text::Span};
use std::time::Duration;

/// Differences of a page: all that is ever held.
const PAGE: u32 = 50;
/// Cells of the class.
const CLASS: usize = 16;

/// The list.
#[derive(Debug)]
pub(crate) struct Differences {
    pub(crate) lane: LaneId,
    pub(crate) pages: Pages<Option<String>, DifferenceLine>,
    /// Only these are shown.
    pub(crate) class: Option<ItemVerdict>,
    /// What the comparison came to, once the first page has come.
    pub(crate) found: Option<(Compared, Vec<(ItemVerdict, u64)>)>,
    /// The record that is shown on both sides.
    pub(crate) open: Option<Opened<Sides>>,
    /// How far the lane's detail was scrolled that lies beneath.
    pub(crate) under: Option<usize>,
}

impl Line for DifferenceLine {
    fn key(&self) -> &str {
        &self.key
    }
}

impl Differences {
    pub(crate) fn new(lane: LaneId, under: Option<usize>) -> Self {
        Self { lane, pages: Pages::new(), class: None, found: None, open: None, under }
    }

    /// Shows the selected record on both sides.
    pub(crate) fn open(&mut self) {
        self.open = self.pages.selected().map(|line| Opened::new(line.key.clone()));
    }

    /// The difference that keys act on.
    pub(crate) fn difference(&self) -> Option<&DifferenceLine> {
        match &self.open {
            Some(open) => self.pages.lines().iter().find(|line| line.key == open.key),
            None => self.pages.selected(),
        }
    }

    /// Shows only the next class, and after the last one all.
    pub(crate) fn next_class(&mut self) {
        let classes = ItemVerdict::MENDABLE;
        self.class = match self.class {
            None => classes.first().copied(),
            Some(now) => classes.iter().position(|class| *class == now).and_then(|at| classes.get(at + 1)).copied(),
        };
        self.pages = Pages::new();
    }

    /// How many there are of a class, as far as that is known.
    pub(crate) fn count(&self, class: ItemVerdict) -> u64 {
        let sums = self.found.as_ref().map_or(&[][..], |(_, sums)| sums);
        sums.iter().find(|(of, _)| *of == class).map_or(0, |(_, count)| *count)
    }

    /// Reads the list and what is open again: something was changed.
    pub(crate) fn read_again(&mut self) {
        self.pages.read_again();
        if let Some(open) = &mut self.open {
            open.read_again();
        }
    }

    /// What is to be asked now.
    pub(crate) fn wants(&mut self, now: Duration) -> Vec<Ask> {
        let page = self.pages.wants(now).map(|after| {
            Ask::Differences(DifferencesAsk { lane: self.lane.clone(), class: self.class, after, limit: PAGE })
        });
        let sides = self.open.as_mut().and_then(Opened::wants);
        let sides = sides.map(|key| Ask::Sides(RecordAsk { lane: self.lane.clone(), key }));
        page.into_iter().chain(sides).collect()
    }

    /// An answer came.
    pub(crate) fn hear(&mut self, ask: &Ask, told: Result<Told, String>, now: Duration) {
        match (ask, told) {
            (Ask::Differences(ask), told) if (&ask.lane, ask.class) == (&self.lane, self.class) => match told {
                Ok(Told::Differences(told)) => {
                    self.found = Some((told.compared, told.sums));
                    self.pages.take(&ask.after, Ok(told.page), now);
                }
                Ok(_) => {}
                Err(why) => self.pages.take(&ask.after, Err(why), now),
            },
            (Ask::Sides(ask), told) if ask.lane == self.lane => {
                let told = match told {
                    Ok(Told::Sides(sides)) => Ok(sides),
                    Ok(_) => return,
                    Err(why) => Err(why),
                };
                if let Some(open) = &mut self.open {
                    open.take(&ask.key, told);
                }
            }
            _ => {}
        }
    }
}

/// How a class looks.
fn sign(class: ItemVerdict, g: &Glyphs) -> (&'static str, Role) {
    match class {
        ItemVerdict::Same => (g.ok, Role::Ok),
        ItemVerdict::Moving => (g.active, Role::Wait),
        ItemVerdict::OnlyInTarget => (g.warn, Role::Warn),
        _ => (g.crit, Role::Crit),
    }
}

/// Draws the list, or the record that is open.
pub(crate) fn draw(model: &Model, differences: &Differences, buf: &mut Buffer, area: Rect) {
    match &differences.open {
        Some(open) => both(model, differences, open, buf, area),
        None => list(model, differences, buf, area),
    }
}

fn list(model: &Model, differences: &Differences, buf: &mut Buffer, area: Rect) {
    let pen = &model.pen;
    let width = 130.min(area.width);
    let room = usize::from(width.saturating_sub(2));
    let only = differences.class.map_or_else(|| "all".to_owned(), |class| format!("only {}", class.word()));
    let inner = window(
        pen,
        buf,
        centred(area, width, 44),
        vec![pen.span(Role::Title, pen.cut(&format!("Differences of {}", differences.lane), room.saturating_sub(36)))],
        vec![pen.span(Role::Faint, format!("{only}  {}", differences.pages.number()))],
        &pen.cut("Esc back  Enter both sides  R repair  V compare now  c class  Tab lane  PgDn page", room),
    );
    let mut top = record::mending(model, &differences.lane, buf, inner);
    for line in head(model, differences, room) {
        put(buf, inner, top, line);
        top += 1;
    }
    let below = 3;
    let table = Rect { y: inner.y + top, height: inner.height.saturating_sub(below + top), ..inner };
    let pages = &differences.pages;
    if pages.waits() || pages.refused().is_some() || pages.lines().is_empty() {
        record::instead(model, pages.refused(), pages.waits(), nothing(differences), buf, table);
        return;
    }
    let key = room / 4;
    let detail = room.saturating_sub(CLASS + key + 13);
    let heading = format!(
        "  {}{} {} {}",
        pen.fit("class", CLASS),
        pen.fit("key", key),
        pen.fit("found at", 9),
        pen.fit("fields that differ, or why", detail)
    );
    put(buf, table, 0, vec![pen.span(Role::Faint, heading)]);
    record::rows(pages.lines(), pages.at(), table, |row, at, line| {
        let (glyph, role) = sign(line.class, &pen.glyphs);
        put(
            buf,
            table,
            row,
            vec![
                pen.span(role, format!("{glyph} {}", pen.fit(line.class.word(), CLASS))),
                pen.span(Role::Text, pen.fit(&line.key, key)),
                pen.span(Role::Faint, format!(" {}  ", say::time_of_day(line.at))),
                pen.span(Role::Text, pen.fit(&line.detail, detail)),
            ],
        );
        if at {
            mark(buf, table, row, pen.style(Role::Selected));
        }
    });
    let foot = Rect { y: inner.bottom().saturating_sub(below), height: below.min(inner.height), ..inner };
    if let Some(line) = pages.selected() {
        put(buf, foot, 0, vec![pen.span(Role::Text, pen.cut(&line.key, room))]);
        let (_, role) = sign(line.class, &pen.glyphs);
        for (row, text) in (1..).zip(pen.wrap(&meaning(line), room, 2)) {
            put(buf, foot, row, vec![pen.span(role, text)]);
        }
    }
}

/// What a difference means, in a sentence.
fn meaning(line: &DifferenceLine) -> String {
    match line.class {
        ItemVerdict::Differs => format!("on both sides, and differs in {}", line.detail),
        ItemVerdict::Moving => format!("differs in {}, and was changed again between two looks", line.detail),
        ItemVerdict::OnlyInSource if line.detail.is_empty() => "the new side does not have it".into(),
        ItemVerdict::OnlyInSource => format!("the new side does not have it: {}", line.detail),
        ItemVerdict::OnlyInTarget => format!("only the new side has it: {}", line.detail),
        _ => line.detail.clone(),
    }
}

fn nothing(differences: &Differences) -> &'static str {
    match (&differences.found, differences.class) {
        (Some((Compared::Never, _)), _) => "not compared yet: V compares both sides now, and keeps every difference",
        (Some((Compared::HalfWay, _)), None) => "nothing found so far: V goes on with the comparison",
        (Some((Compared::Whole, _)), None) => "no differences when both sides were compared last: V compares again",
        _ => "none of this class: c shows the next one",
    }
}

/// What the comparison came to: how many of each class.
fn head(model: &Model, differences: &Differences, room: usize) -> Vec<Vec<Span<'static>>> {
    let pen = &model.pen;
    let Some((compared, _)) = &differences.found else { return Vec::new() };
    if *compared == Compared::Never {
        return Vec::new();
    }
    let mut spans = Vec::new();
    for class in ItemVerdict::MENDABLE {
        let count = differences.count(class);
        let (glyph, role) = if count == 0 { (" ", Role::Faint) } else { sign(class, &pen.glyphs) };
        spans.push(pen.span(role, format!("{glyph} {} {}  ", say::full(count), class.word())));
    }
    let mut out = vec![spans];
    if *compared == Compared::HalfWay {
        let text = "the comparison did not come to its end: V goes on with it";
        out.push(vec![pen.span(Role::Wait, pen.cut(&format!("{} {text}", pen.glyphs.wait), room))]);
    }
    out
}

fn both(model: &Model, differences: &Differences, open: &Opened<Sides>, buf: &mut Buffer, area: Rect) {
    let pen = &model.pen;
    let width = 130.min(area.width);
    let room = usize::from(width.saturating_sub(2));
    let known = differences.difference();
    let right = known.map_or_else(
        || vec![pen.span(Role::Ok, "no longer in the list")],
        |line| {
            let (glyph, role) = sign(line.class, &pen.glyphs);
            vec![pen.span(role, format!("{glyph} {}", line.class.word()))]
        },
    );
    let inner = window(
        pen,
        buf,
        centred(area, width, 44),
        vec![pen.span(Role::Title, pen.cut(&format!("{} {}", differences.lane, open.key), room.saturating_sub(26)))],
        right,
        &pen.cut("Esc list  R repair  r read again  Up/Down field  y copy both sides", room),
    );
    let mut top = record::mending(model, &differences.lane, buf, inner);
    let sides = match open.found() {
        Some(Ok(sides)) => sides,
        found => {
            let refused = found.as_ref().and_then(|found| found.as_ref().err()).map(String::as_str);
            let body = Rect { y: inner.y + top, height: inner.height.saturating_sub(top), ..inner };
            record::instead(model, refused, found.is_none(), "", buf, body);
            return;
        }
    };
    for (name, standing) in [("legacy", &sides.legacy), ("new", &sides.new)] {
        for line in standing_of(model, name, standing, room) {
            put(buf, inner, top, line);
            top += 1;
        }
    }
    let body = Rect { y: inner.y + top, height: inner.height.saturating_sub(top), ..inner };
    if sides.fields.is_empty() {
        record::instead(model, None, false, "no fields to show", buf, body);
        return;
    }
    let below = record::FULL.min(body.height / 3);
    let table = Rect { height: body.height.saturating_sub(below), ..body };
    fields(model, &sides.fields, open.at(sides.fields.len()), buf, table);
    let foot = Rect { y: table.bottom(), height: below, ..body };
    if let Some(field) = sides.fields.get(open.at(sides.fields.len())) {
        let name = if field.differs { format!("{} {}", pen.glyphs.differs, field.name) } else { field.name.clone() };
        record::full(model, &name, &[("legacy", field.legacy.as_ref()), ("new", field.new.as_ref())], buf, foot);
    }
}

fn standing_of(model: &Model, name: &str, standing: &Standing, room: usize) -> Vec<Vec<Span<'static>>> {
    let pen = &model.pen;
    let g = &pen.glyphs;
    let (role, text) = match standing {
        Standing::There => (Role::Ok, format!("{} there", g.ok)),
        Standing::Wanting(why) => (Role::Crit, format!("{} {why}", g.crit)),
        Standing::Unreachable(why) => {
            (Role::Stale, format!("{} UNKNOWN, this side cannot be reached: {why}", g.unknown))
        }
    };
    let lines = pen.wrap(&text, room.saturating_sub(8), 2);
    let names = std::iter::once(name).chain(std::iter::repeat(""));
    names.zip(lines).map(|(name, line)| vec![pen.span(Role::Faint, pen.fit(name, 8)), pen.span(role, line)]).collect()
}

fn fields(model: &Model, fields: &[SideFields], selected: usize, buf: &mut Buffer, table: Rect) {
    let pen = &model.pen;
    let room = usize::from(table.width);
    let name = (room / 5).clamp(10, 26);
    let value = room.saturating_sub(name + 10) / 2;
    let heading = format!(
        "   {} {}    {}",
        pen.fit("field", name),
        pen.fit("LEGACY, as it should be there", value),
        pen.fit("NEW", value)
    );
    put(buf, table, 0, vec![pen.span(Role::Faint, heading)]);
    record::rows(fields, selected, table, |row, at, field| {
        let (glyph, role) = match (field.differs, &field.legacy, &field.new) {
            (true, ..) => (pen.glyphs.differs, Role::Crit),
            (false, Some(_), Some(_)) => ("=", Role::Faint),
            // There is nothing to hold it against.
            _ => (" ", Role::Faint),
        };
        let shown = |text: Option<&String>| match text {
            Some(text) => pen.fit(text, value),
            None => pen.fit("(none)", value),
        };
        put(
            buf,
            table,
            row,
            vec![
                pen.span(role, format!("{} ", pen.fit(glyph, 2))),
                pen.span(role, pen.fit(&field.name, name)),
                pen.span(Role::Text, format!(" {}", shown(field.legacy.as_ref()))),
                pen.span(role, format!(" {} ", pen.fit(glyph, 2))),
                pen.span(Role::Text, shown(field.new.as_ref())),
            ],
        );
        if at {
            mark(buf, table, row, pen.style(Role::Selected));
        }
    });
}
