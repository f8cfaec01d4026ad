//! The dead letters of a lane: records that could not be moved, and why, a page at a time; one of them with its fields.

use super::{
    super::{
        model::Model,
        pages::{Line, Pages},
        pen::{mark, put},
        reader::{Ask, FieldLine, LetterLine, LettersAsk, RecordAsk, Told},
        say,
        theme::Role,
    },
    centred,
    record::{self, Opened},
    window,
};
use crate::model::LaneId;
use ratatui::{buffer::Buffer, layout::Rect, text::Span};
use std::time::Duration;

/// Letters of a page: all that is ever held.
const PAGE: u32 = 50;
/// Lines that the selected letter's reason may take.
const REASON: u16 = 3;

/// The list.
#[derive(Debug)]
pub(crate) struct Letters {
    pub(crate) lane: LaneId,
    pub(crate) pages: Pages<Option<String>, LetterLine>,
    /// The letter that is shown with its fields.
    pub(crate) open: Option<Opened<Vec<FieldLine>>>,
    /// How far the lane's detail was scrolled that lies beneath.
    pub(crate) under: Option<usize>,
    /// A file is asked for, or being written.
    export: Export,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Export {
    No,
    Wanted,
    UnderWay,
}

impl Line for LetterLine {
    fn key(&self) -> &str {
        &self.key
    }
}

impl Letters {
    pub(crate) fn new(lane: LaneId, under: Option<usize>) -> Self {
        Self { lane, pages: Pages::new(), open: None, under, export: Export::No }
    }

    /// Shows the selected letter with its fields.
    pub(crate) fn open(&mut self) {
        self.open = self.pages.selected().map(|line| Opened::new(line.key.clone()));
    }

    /// Asks for a file with all letters; false if one is under way.
    pub(crate) fn export(&mut self) -> bool {
        let may = self.export == Export::No;
        if may {
            self.export = Export::Wanted;
        }
        may
    }

    /// The letter that keys act on.
    pub(crate) fn letter(&self) -> Option<&LetterLine> {
        match &self.open {
            Some(open) => self.pages.lines().iter().find(|line| line.key == open.key),
            None => self.pages.selected(),
        }
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
        let page = self.pages.wants(now);
        let page = page.map(|after| Ask::Letters(LettersAsk { lane: self.lane.clone(), after, limit: PAGE }));
        let record = self.open.as_mut().and_then(Opened::wants);
        let record = record.map(|key| Ask::Letter(RecordAsk { lane: self.lane.clone(), key }));
        let export = (self.export == Export::Wanted).then(|| Ask::Export(self.lane.clone()));
        if export.is_some() {
            self.export = Export::UnderWay;
        }
        page.into_iter().chain(record).chain(export).collect()
    }

    /// An answer came. What is to be said of it, if anything.
    pub(crate) fn hear(&mut self, ask: &Ask, told: Result<Told, String>, now: Duration) -> Option<(Role, String)> {
        match (ask, told) {
            (Ask::Letters(ask), told) if ask.lane == self.lane => match told {
                Ok(Told::Letters(page)) => self.pages.take(&ask.after, Ok(page), now),
                Ok(_) => {}
                Err(why) => self.pages.take(&ask.after, Err(why), now),
            },
            (Ask::Letter(ask), told) if ask.lane == self.lane => {
                let told = told.map(|told| if let Told::Letter(fields) = told { fields } else { Vec::new() });
                if let Some(open) = &mut self.open {
                    open.take(&ask.key, told);
                }
            }
            (Ask::Export(lane), told) if *lane == self.lane => {
                self.export = Export::No;
                return Some(match told {
                    Ok(Told::Export(done)) => {
                        (Role::Ok, format!("{} dead letters in {}", done.letters, done.path.display()))
                    }
                    Ok(_) => return None,
                    Err(why) => (Role::Crit, format!("not exported: {why}")),
                });
            }
            _ => {}
        }
        None
    }
}

/// Draws the list, or the letter that is open.
pub(crate) fn draw(model: &Model, letters: &Letters, buf: &mut Buffer, area: Rect) {
    match &letters.open {
        Some(open) => letter(model, letters, open, buf, area),
        None => list(model, letters, buf, area),
    }
}

fn list(model: &Model, letters: &Letters, buf: &mut Buffer, area: Rect) {
    let pen = &model.pen;
    let width = 130.min(area.width);
    let room = usize::from(width.saturating_sub(2));
    let failed = model.view.lanes.iter().find(|lane| lane.lane == letters.lane).map_or(0, |lane| lane.tally.failed);
    let right = format!("{} in all  {}", say::full(failed), letters.pages.number());
    let inner = window(
        pen,
        buf,
        centred(area, width, 44),
        vec![pen.span(Role::Title, pen.cut(&format!("Dead letters of {}", letters.lane), room.saturating_sub(36)))],
        vec![pen.span(Role::Faint, right)],
        &pen.cut("Esc back  Enter record  R retry  D decide  X leave out  x export  Tab lane  PgDn page", room),
    );
    let told = record::mending(model, &letters.lane, buf, inner);
    let below = REASON + 1;
    let table = Rect { y: inner.y + told, height: inner.height.saturating_sub(below + told), ..inner };
    if letters.pages.waits() || letters.pages.refused().is_some() || letters.pages.lines().is_empty() {
        let nothing = "no dead letters: every record that was read could be moved";
        record::instead(model, letters.pages.refused(), letters.pages.waits(), nothing, buf, table);
        return;
    }
    let columns = [room / 4, 5];
    let reason = room.saturating_sub(columns[0] + columns[1] + 5);
    let heading = format!(
        "  {} {}  {}",
        pen.fit("key", columns[0]),
        pen.right("tried", columns[1]),
        pen.fit("why it could not be moved", reason)
    );
    put(buf, table, 0, vec![pen.span(Role::Faint, heading)]);
    record::rows(letters.pages.lines(), letters.pages.at(), table, |row, at, line| {
        let (glyph, role) = if line.asks { (pen.glyphs.wait, Role::Wait) } else { (pen.glyphs.crit, Role::Crit) };
        let spans = vec![
            pen.span(role, format!("{glyph} ")),
            pen.span(Role::Text, pen.fit(&line.key, columns[0])),
            pen.span(Role::Text, format!(" {}  ", pen.right(&line.attempts.to_string(), columns[1]))),
            pen.span(role, pen.fit(&line.reason, reason)),
        ];
        put(buf, table, row, spans);
        if at {
            mark(buf, table, row, pen.style(Role::Selected));
        }
    });
    let foot = Rect { y: inner.bottom().saturating_sub(below), height: below.min(inner.height), ..inner };
    if let Some(line) = letters.pages.selected() {
        for (row, spans) in (0..).zip(why(model, line, room)) {
            put(buf, foot, row, spans);
        }
    }
}

/// The letter's key and its reason in full.
fn why(model: &Model, line: &LetterLine, room: usize) -> Vec<Vec<Span<'static>>> {
    let pen = &model.pen;
    let mut out = vec![vec![pen.span(Role::Text, pen.cut(&line.key, room))]];
    let role = if line.asks { Role::Wait } else { Role::Crit };
    out.extend(pen.wrap(&line.reason, room, REASON.into()).into_iter().map(|text| vec![pen.span(role, text)]));
    out
}

fn letter(model: &Model, letters: &Letters, open: &Opened<Vec<FieldLine>>, buf: &mut Buffer, area: Rect) {
    let pen = &model.pen;
    let width = 130.min(area.width);
    let room = usize::from(width.saturating_sub(2));
    let known = letters.letter();
    let inner = window(
        pen,
        buf,
        centred(area, width, 44),
        vec![pen.span(Role::Title, pen.cut(&format!("{} {}", letters.lane, open.key), room.saturating_sub(24)))],
        vec![pen.span(Role::Faint, "as the source had it")],
        &pen.cut("Esc list  R retry  D decide  X leave out  Up/Down field  y copy record", room),
    );
    let head = match known {
        Some(line) => why(model, line, room).into_iter().skip(1).collect(),
        None => vec![vec![pen.span(Role::Ok, format!("{} no longer a dead letter", pen.glyphs.ok))]],
    };
    let mut top = record::mending(model, &letters.lane, buf, inner);
    for spans in head {
        put(buf, inner, top, spans);
        top += 1;
    }
    let body = Rect { y: inner.y + top, height: inner.height.saturating_sub(top), ..inner };
    let fields = match open.found() {
        Some(Ok(fields)) if !fields.is_empty() => fields,
        found => {
            let refused = found.as_ref().and_then(|found| found.as_ref().err()).map(String::as_str);
            let nothing = "the record itself was not kept: an earlier version wrote this letter";
            record::instead(model, refused, found.is_none(), nothing, buf, body);
            return;
        }
    };
    let below = record::FULL.min(body.height / 3);
    let table = Rect { height: body.height.saturating_sub(below), ..body };
    let name = (room / 4).clamp(10, 28);
    put(buf, table, 0, vec![pen.span(Role::Faint, format!("  {} value", pen.fit("field", name)))]);
    record::rows(fields, open.at(fields.len()), table, |row, at, field| {
        let value = pen.cut(&field.value, room.saturating_sub(name + 3));
        put(
            buf,
            table,
            row,
            vec![pen.span(Role::Text, format!("  {} ", pen.fit(&field.name, name))), pen.span(Role::Text, value)],
        );
        if at {
            mark(buf, table, row, pen.style(Role::Selected));
        }
    });
    let foot = Rect { y: table.bottom(), height: below, ..body };
    if let Some(field) = fields.get(open.at(fields.len())) {
        record::full(model, &field.name, &[("", Some(&field.value))], buf, foot);
    }
}
