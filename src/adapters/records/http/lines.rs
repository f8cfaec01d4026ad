//! Rows of an answer as lines, for a lane that moves in bulk: a cell is the JSON text of a value as it came, so that nothing
//! is made of it before somebody asks. A field that a row does not have is a cell that says so.
//!
//! Pure. Must never enter: which page comes next.

use super::{shape::Row, spot::Keyed};
use crate::{
    adapters::records::exact,
    model::{Field, Kind, Value, document},
    ports::{ABSENT_CELL, Block, Dialect, plain_text, push_cell},
};
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::{
    collections::{BTreeSet, HashMap, HashSet},
    fmt,
    sync::Arc,
};

/// A row: its cells as they came, and what each is.
#[derive(Debug)]
pub(super) struct Line {
    key: Option<Value>,
    cells: Vec<u8>,
    /// The fields' names. Rows that follow each other mostly have the same.
    names: Arc<[String]>,
}

impl Keyed for Line {
    fn key(&self, _field: &str) -> Option<&Value> {
        self.key.as_ref()
    }
}

impl Row for Line {
    fn list<'de, D: Deserializer<'de>>(list: D, key: &str) -> Result<Vec<Self>, D::Error> {
        list.deserialize_seq(Rows { key })
    }
}

struct Rows<'k> {
    key: &'k str,
}

impl<'de> Visitor<'de> for Rows<'_> {
    type Value = Vec<Line>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of rows")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<Line>, A::Error> {
        let mut lines = Vec::new();
        let mut names = Arc::from([]);
        while let Some(line) = list.next_element_seed(OneRow { key: self.key, like: &names })? {
            names = Arc::clone(&line.names);
            lines.push(line);
        }
        Ok(lines)
    }
}

struct OneRow<'k> {
    key: &'k str,
    /// The names of the row before.
    like: &'k Arc<[String]>,
}

impl<'de> DeserializeSeed<'de> for OneRow<'_> {
    type Value = Line;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Line, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for OneRow<'_> {
    type Value = Line;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object for each row")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Line, A::Error> {
        let mut line = Line { key: None, cells: Vec::with_capacity(256), names: Arc::clone(self.like) };
        // The names, once they are not the ones of the row before.
        let mut own: Option<Vec<String>> = None;
        let mut count = 0;
        while let Some(name) = map.next_key_seed(Name(self.like.get(count).filter(|_| own.is_none())))? {
            let raw: &RawValue = map.next_value()?;
            match (&mut own, name) {
                (Some(own), name) => own.push(name.unwrap_or_default()),
                (None, Some(name)) => own = Some(self.like[..count].iter().cloned().chain([name]).collect()),
                (None, None) => {}
            }
            let name = own.as_deref().unwrap_or(self.like).get(count);
            if name.is_some_and(|name| name == self.key) {
                line.key = Some(exact::value(raw.get()).map_err(A::Error::custom)?);
            }
            if count > 0 {
                line.cells.push(b'\t');
            }
            push_cell(&mut line.cells, Some(raw.get()));
            count += 1;
        }
        match own {
            Some(own) => line.names = own.into(),
            None if count < self.like.len() => line.names = self.like[..count].into(),
            None => {}
        }
        Ok(line)
    }
}

/// A name: `None` if it is this one.
struct Name<'n>(Option<&'n String>);

impl<'de> DeserializeSeed<'de> for Name<'_> {
    type Value = Option<String>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<String>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Name<'_> {
    type Value = Option<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a field's name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Option<String>, E> {
        Ok(if self.0.is_some_and(|like| like == name) { None } else { Some(name.to_owned()) })
    }
}

/// The lines under one row of columns: the key first, then the names of the first row as they stand there, then every other
/// one. Of two fields of the same name the later one counts, as everywhere in JSON.
///
/// # Errors
/// In words: there is more than a block can hold.
pub(super) fn block(lines: &[Line], key: &str) -> Result<Block, String> {
    let layouts: HashMap<*const String, &Arc<[String]>> =
        lines.iter().map(|line| (line.names.as_ptr(), &line.names)).collect();
    let mut columns = vec![key];
    let mut known = HashSet::from([key]);
    let first = lines.first().map(|line| &line.names);
    let others: BTreeSet<&String> = layouts.values().flat_map(|names| names.iter()).collect();
    let names = first.into_iter().flat_map(|names| names.iter()).chain(others).map(String::as_str);
    columns.extend(names.filter(|name| known.insert(name)));
    let place = |names: &[String], column: &str| names.iter().rposition(|name| name == column);
    let places = |names: &[String]| columns.iter().map(|column| place(names, column)).collect();
    let places: HashMap<*const String, Vec<Option<usize>>> =
        layouts.iter().map(|(at, names)| (*at, places(names))).collect();
    let straight = |places: &[Option<usize>], line: &Line| {
        places.len() == line.names.len() && places.iter().enumerate().all(|(n, place)| *place == Some(n))
    };
    let (mut text, mut ends, mut cells) = (Vec::new(), Vec::with_capacity(lines.len()), Vec::new());
    for line in lines {
        let places = places.get(&line.names.as_ptr()).map(Vec::as_slice).unwrap_or_default();
        if straight(places, line) {
            text.extend_from_slice(&line.cells);
        } else {
            cells.clear();
            cells.extend(line.cells.split(|byte| *byte == b'\t'));
            for (n, place) in places.iter().enumerate() {
                if n > 0 {
                    text.push(b'\t');
                }
                text.extend_from_slice(place.and_then(|place| cells.get(place).copied()).unwrap_or(ABSENT_CELL));
            }
        }
        text.push(b'\n');
        ends.push(u32::try_from(text.len()).map_err(|_| "a page of more than 4 GiB")?);
    }
    let columns = columns.into_iter().map(Field::named).collect();
    Ok(Block { dialect: &JsonLines, columns, bytes: text.into(), ends })
}

/// Lines of JSON texts.
pub(super) struct JsonLines;

impl Dialect for JsonLines {
    fn name(&self) -> &'static str {
        "json"
    }

    fn value(&self, _kind: &Kind, said: &[u8]) -> Result<Value, String> {
        value(said)
    }

    fn tell(&self, kind: &Kind, said: &[u8], text: &mut Vec<u8>) -> bool {
        tell(kind, said, text)
    }
}

fn value(said: &[u8]) -> Result<Value, String> {
    exact::value(std::str::from_utf8(&plain_text(said)).map_err(|_| "it holds no UTF-8")?)
}

/// Goes on with the text that a cell's value has in the form of this kind, where the cell says just that.
fn tell(kind: &Kind, cell: &[u8], text: &mut Vec<u8>) -> bool {
    let told = match kind {
        Kind::Any => string(cell).or_else(|| whole(cell, 18, true)),
        Kind::Int { bits, signed } => whole(cell, usize::from(*bits) * 3 / 10 - 1, *signed),
        Kind::Text { max, .. } => string(cell).filter(|text| max.is_none_or(|max| text.len() as u64 <= max)),
        Kind::Bool => Some(cell).filter(|cell| matches!(*cell, b"true" | b"false")),
        Kind::Decimal { digits, scale } => decimal(string(cell).unwrap_or(cell), *digits, *scale),
        Kind::Json if cell.starts_with(b"{") || cell.starts_with(b"[") => {
            return std::str::from_utf8(&plain_text(cell)).is_ok_and(|said| document::tell(said, text));
        }
        _ => None,
    };
    text.extend_from_slice(told.unwrap_or_default());
    told.is_some()
}

/// A text that stands as it is.
fn string(cell: &[u8]) -> Option<&[u8]> {
    match cell {
        [b'"', inside @ .., b'"'] if !inside.contains(&b'\\') => Some(inside),
        _ => None,
    }
}

/// A whole number of at most so many digits.
fn whole(cell: &[u8], most: usize, signed: bool) -> Option<&[u8]> {
    let digits = if signed { cell.strip_prefix(b"-").unwrap_or(cell) } else { cell };
    let plain = matches!(digits, [b'1'..=b'9', ..]) || cell == b"0";
    (plain && digits.len() <= most && digits.iter().all(u8::is_ascii_digit)).then_some(cell)
}

/// A number of at most fifteen digits, which every store keeps, without zeros at its end that say nothing.
fn decimal(said: &[u8], digits: Option<u16>, scale: Option<u16>) -> Option<&[u8]> {
    let number = said.strip_prefix(b"-").unwrap_or(said);
    let point = number.iter().position(|byte| *byte == b'.').unwrap_or(number.len());
    let (before, fraction) = (whole(&number[..point], 15, false)?, number.get(point + 1..).unwrap_or_default());
    if fraction.is_empty() != (point == number.len()) || number.len() > 16 || !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let zeros = fraction.iter().rev().take_while(|byte| **byte == b'0').count();
    let behind = fraction.len() - zeros;
    let before = if before == b"0" { 0 } else { before.len() };
    let room = |most: Option<u16>| most.map_or(usize::MAX, usize::from);
    let fits = behind <= room(scale) && before <= room(digits).saturating_sub(scale.map_or(behind, usize::from));
    let end = said.len() - zeros - usize::from(behind == 0 && !fraction.is_empty());
    Some(&said[..end]).filter(|told| fits && *told != b"-0")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{model::Record, ports::BlockCell};
    use proptest::prelude::*;
    use serde_json::json;

    const KINDS: [Kind; 9] = [
        Kind::Any,
        Kind::Bool,
        Kind::Int { bits: 64, signed: true },
        Kind::Int { bits: 16, signed: false },
        Kind::Decimal { digits: None, scale: None },
        Kind::Decimal { digits: Some(5), scale: Some(2) },
        Kind::Decimal { digits: Some(6), scale: None },
        Kind::Text { max: Some(3), nul: false },
        Kind::Json,
    ];

    fn list<R: Row>(text: &str) -> serde_json::Result<Vec<R>> {
        R::list(&mut serde_json::Deserializer::from_str(text), "id")
    }

    /// What is told is what the value's form would say.
    fn agrees(kind: &Kind, cell: &[u8]) {
        let mut told = b"before".to_vec();
        if tell(kind, cell, &mut told) {
            let taken = kind.take(value(cell).unwrap()).unwrap_or_else(|misfit| panic!("{kind:?}: {misfit}"));
            assert_eq!(String::from_utf8(told).unwrap(), format!("before{}", taken.to_text()), "{kind:?}");
        } else {
            assert_eq!(told, b"before");
        }
    }

    proptest! {
        #[test]
        fn what_is_told_is_what_would_be_taken(
            number in "-?(0|[1-9][0-9]{0,5})([.][0-9]{1,5})?", text in "[a-z0-9.-]{0,4}", quoted: bool
        ) {
            let cells = [number.clone(), format!("\"{number}\""), format!("\"{text}\""), format!("{{\"{text}\": [{number}]}}")];
            for kind in KINDS {
                for cell in &cells {
                    // A number in a document may be one that is written otherwise.
                    if !quoted || value(cell.as_bytes()).is_ok() {
                        agrees(&kind, cell.as_bytes());
                    }
                }
            }
        }
    }

    fn cells(block: &Block) -> Vec<Vec<String>> {
        let cell = |cell: &[u8]| String::from_utf8(cell.to_vec()).unwrap();
        let line = |line: &[u8]| line[..line.len() - 1].split(|byte| *byte == b'\t').map(cell).collect();
        block.iter().map(line).collect()
    }

    #[test]
    fn rows_become_lines_under_one_row_of_columns() {
        let text = r#"[{"id": 1, "b": "x\ty", "a": {"k":
            [1, 2]}}, {"id": 2, "b": null, "a": 1.50}, {"a": 7, "id": "3"}, {"id": 4, "c": true, "c": false}]"#;
        let lines = list::<Line>(text).unwrap();
        assert!(Arc::ptr_eq(&lines[0].names, &lines[1].names));
        assert_eq!(lines[2].key(""), Some(&Value::Text("3".into())));
        let block = block(&lines, "id").unwrap();
        let names: Vec<&str> = block.columns.iter().map(|column| column.name.as_str()).collect();
        assert_eq!(names, ["id", "b", "a", "c"]);
        assert_eq!(
            cells(&block),
            [
                ["1", "\"x\\\\ty\"", "{\"k\":\\n            [1, 2]}", "\\A"],
                ["2", "null", "1.50", "\\A"],
                ["\"3\"", "\\A", "7", "\\A"],
                ["4", "\\A", "\\A", "false"],
            ]
        );
        let mut said = Vec::new();
        for line in block.iter() {
            block.cells(line, &mut said).unwrap();
            for cell in &said {
                let BlockCell::Said(cell) = *cell else { continue };
                let read = value(cell).unwrap();
                let mut told = Vec::new();
                if tell(&Kind::Any, cell, &mut told) {
                    assert_eq!(String::from_utf8(told).unwrap(), read.to_text());
                }
                for kind in KINDS {
                    agrees(&kind, cell);
                }
            }
        }
    }

    #[test]
    fn lines_say_what_records_say() {
        let rows = json!([{"id": 7, "t": "ü\u{0}\"\\", "n": -12.5, "d": {"b": [], "a": null}}, {"id": 8, "x": true}]);
        let records = list::<Record>(&rows.to_string()).unwrap();
        let block = block(&list::<Line>(&rows.to_string()).unwrap(), "id").unwrap();
        for (line, record) in block.iter().zip(&records) {
            let mut said = Vec::new();
            block.cells(line, &mut said).unwrap();
            let cells = block.columns.iter().enumerate().filter(|(at, _)| said[*at] != BlockCell::Absent);
            let read = cells.map(|(at, field)| (field.name.clone(), block.value(at, said[at]).unwrap()));
            let read = Record(read.collect());
            assert_eq!(read, *record);
        }
        for wrong in ["[1]", "[{\"id\": 1}", "[{\"id\": 1e99999999}]"] {
            assert!(list::<Line>(wrong).is_err(), "{wrong}");
        }
        assert_eq!(super::block(&[], "id").unwrap().rows(), 0);
    }
}
