//! How the lines of one side become lines of the other, and what each record's digest is. Pure, and meant for a thread of its
//! own: it is what a lane in bulk spends its own time on.
//!
//! A cell that nobody changes goes as it is. A line that cannot be carried says so for its whole block, which then goes
//! record by record, where reasons are kept one by one. Must never enter: ports that talk to somebody.

use crate::{
    migrate::{
        compare::{Kinds, Names, Texts},
        mapping::{Found, Mapping, Ready},
    },
    model::{Digest, Field, Kind, Record, Value},
    plan::DatasetPlan,
    ports::{ABSENT_CELL, Block, BlockSource, BlockStore, NULL_CELL, RecordStore},
};
use bytes::Bytes;
use memchr::memchr_iter;
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    sync::Arc,
};

const NO_BLOCKS: &str = "the store moves nothing in bulk";

/// How a column of the target comes about.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Way {
    /// The cell of this column of the source, as it is.
    Same(usize),
    /// The value of this column of the source, in the target's kind.
    Converted(usize),
    /// Computed, or a constant.
    Made,
}

/// How lines travel from one side to the other.
pub(crate) struct Columns {
    /// Both sides speak one dialect: a cell of the one can stand in the other.
    alike: bool,
    source: Arc<[Field]>,
    target: Arc<[Field]>,
    ways: Vec<Way>,
    /// As what kind a column's cell can tell its text, for each of the target's columns.
    told: Vec<Option<Kind>>,
    /// Columns of the source that expressions need.
    needed: Vec<usize>,
    mapping: Mapping,
    kinds: Kinds,
    old: Arc<dyn RecordStore>,
    new: Arc<dyn RecordStore>,
    /// The target's columns in the order of their names, in which digests go over them.
    by_name: Vec<usize>,
    names: Names,
}

/// What a line becomes, column by column of the target.
#[derive(Default)]
struct Row {
    parts: Vec<Part>,
    /// The texts, one behind the other.
    text: Vec<u8>,
}

/// A column of a line.
enum Part {
    /// Its text stands here.
    Text(Range<usize>),
    /// Nothing, or what its text does not say.
    Value(Value),
}

/// What the lines of a block became.
pub(crate) struct Carried {
    /// As the target shall have them.
    pub(crate) block: Block,
    /// Key and digest of each.
    pub(crate) records: Vec<(String, Digest)>,
    /// Keys of the records that the filter leaves out.
    pub(crate) left_out: Vec<String>,
}

impl Carried {
    /// All keys.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &String> {
        self.records.iter().map(|(key, _)| key).chain(&self.left_out)
    }
}

impl Columns {
    /// How the dataset's lines travel between these columns; `None` if they must be taken apart to records: what both sides
    /// have does not allow it, or something has to be looked up.
    pub(crate) fn new(
        dataset: &DatasetPlan,
        mapping: &Mapping,
        kinds: &Kinds,
        (old, source): (Arc<dyn RecordStore>, Arc<[Field]>),
        (new, there): (Arc<dyn RecordStore>, &[Field]),
    ) -> Option<Self> {
        if !dataset.fields.lookup.is_empty() {
            return None;
        }
        let alike = old.block_source()?.dialect() == new.blocks()?.dialect();
        let all = arrivals(dataset, mapping, &source)?;
        let (mut target, mut ways, mut told) = (Vec::new(), Vec::new(), Vec::new());
        for (name, from) in &all {
            let field = there.iter().find(|field| field.name == *name && !field.computed)?;
            let way = match from {
                None => Way::Made,
                Some(at) if alike && passes(&source[*at].kind, &field.kind) => Way::Same(*at),
                Some(at) => Way::Converted(*at),
            };
            told.push(tells(&way, &source, field, new.blocks()?));
            ways.push(way);
            target.push(field.clone());
        }
        let keyed = match ways.first()? {
            Way::Same(at) => *at == 0 && source[0].kind == target[0].kind,
            Way::Converted(at) => *at == 0 && !alike,
            Way::Made => false,
        };
        if !keyed {
            return None;
        }
        let needed = needed(mapping, &source);
        let mut by_name: Vec<usize> = (0..target.len()).collect();
        by_name.sort_unstable_by_key(|at| &target[*at].name);
        let names = Names::new(by_name.iter().map(|at| target[*at].name.as_str()));
        let (mapping, kinds) = (mapping.clone(), kinds.clone());
        Some(Self {
            alike,
            source,
            target: target.into(),
            ways,
            told,
            needed,
            mapping,
            kinds,
            old,
            new,
            by_name,
            names,
        })
    }

    /// Every line is the same on both sides.
    pub(crate) fn is_plain(&self) -> bool {
        self.ways.iter().enumerate().all(|(at, way)| *way == Way::Same(at))
            && self.ways.len() == self.source.len()
            && !self.mapping.has_filter()
    }

    /// Both sides speak one dialect.
    pub(crate) const fn is_alike(&self) -> bool {
        self.alike
    }

    /// The names of the target's columns, the key first.
    pub(crate) fn names(&self) -> Vec<String> {
        self.target.iter().map(|field| field.name.clone()).collect()
    }

    /// What a block of the source becomes.
    ///
    /// # Errors
    /// In words what of which record cannot be carried.
    pub(crate) fn carry(&self, block: &Block) -> Result<Carried, String> {
        if !block.columns.iter().map(|field| &field.name).eq(self.source.iter().map(|field| &field.name)) {
            return Err("a page with other columns than the first one".into());
        }
        let plain = self.is_plain();
        let store = self.old.block_source().ok_or(NO_BLOCKS)?;
        let ready = self.mapping.ready().map_err(|fault| fault.detail)?;
        let (mut records, mut left_out) = (Vec::with_capacity(block.rows()), Vec::new());
        let (mut lines, mut ends) = (Vec::new(), Vec::new());
        let mut cells = Vec::with_capacity(self.source.len());
        let (mut row, mut texts) = (Row::default(), Texts::default());
        for line in block.iter() {
            split(line, self.source.len(), &mut cells)?;
            let key = key(store, &self.source[0].kind, &cells)?;
            if !self.row(store, &ready, &cells, &mut row)? {
                left_out.push(key);
                continue;
            }
            records.push((key, self.digest(&row, &mut texts)));
            if !plain {
                self.push(&cells, &row, &mut lines)?;
                ends.push(u32::try_from(lines.len()).map_err(|_| "a block of more than 4 GiB")?);
            }
        }
        let (lines, ends) = if plain { (block.lines.clone(), block.ends.clone()) } else { (Bytes::from(lines), ends) };
        Ok(Carried { block: Block { columns: Arc::clone(&self.target), lines, ends }, records, left_out })
    }

    /// What a line becomes. `false` if the filter leaves its record out.
    fn row(&self, store: &dyn BlockSource, ready: &Ready<'_>, cells: &[&[u8]], row: &mut Row) -> Result<bool, String> {
        let mut made = BTreeMap::new();
        if self.mapping.makes() {
            let mut record = BTreeMap::new();
            for at in &self.needed {
                record.insert(self.source[*at].name.clone(), self.read(*at, cells)?);
            }
            match ready.made(&Record(record), &Found::new()).map_err(|fault| fault.detail)? {
                Some(all) => made = all,
                None => return Ok(false),
            }
        }
        row.parts.clear();
        row.text.clear();
        for ((field, way), told) in self.target.iter().zip(&self.ways).zip(&self.told) {
            let part = match way {
                Way::Same(at) | Way::Converted(at) => {
                    let begins = row.text.len();
                    let tells = |kind: &Kind| cells[*at] != NULL_CELL && store.tell(kind, cells[*at], &mut row.text);
                    if told.as_ref().is_some_and(tells) {
                        Part::Text(begins..row.text.len())
                    } else {
                        Part::Value(self.kinds.take_one(&field.name, self.read(*at, cells)?)?)
                    }
                }
                Way::Made => {
                    let value = made.remove(&field.name).unwrap_or(Value::Null);
                    Part::Value(self.kinds.take_one(&field.name, value)?)
                }
            };
            row.parts.push(part);
        }
        Ok(true)
    }

    fn digest(&self, row: &Row, texts: &mut Texts) -> Digest {
        texts.clear();
        for at in &self.by_name {
            match &row.parts[*at] {
                Part::Text(range) => texts.push(Some(&row.text[range.clone()])),
                Part::Value(value) => self.kinds.push_taken(&self.target[*at].name, value, texts),
            }
        }
        texts.digest(&self.names)
    }

    fn read(&self, at: usize, cells: &[&[u8]]) -> Result<Value, String> {
        let store = self.old.block_source().ok_or(NO_BLOCKS)?;
        let field = &self.source[at];
        if cells[at] == ABSENT_CELL {
            return Err(format!("field `{}` is not there", field.name));
        }
        store.value(&field.kind, cells[at]).map_err(|why| format!("field `{}`: {why}", field.name))
    }

    fn push(&self, cells: &[&[u8]], row: &Row, lines: &mut Vec<u8>) -> Result<(), String> {
        let store = self.new.blocks().ok_or(NO_BLOCKS)?;
        for (n, ((field, way), part)) in self.target.iter().zip(&self.ways).zip(&row.parts).enumerate() {
            if n > 0 {
                lines.push(b'\t');
            }
            match (way, part) {
                (Way::Same(at), _) => lines.extend_from_slice(cells[*at]),
                (_, Part::Value(value)) => store.cell(&field.kind, value, lines),
                (_, Part::Text(range)) => {
                    if !store.told_cell(&field.kind, &row.text[range.clone()], lines) {
                        return Err(format!("field `{}` cannot be written from its text", field.name));
                    }
                }
            }
        }
        lines.push(b'\n');
        Ok(())
    }

    /// Key and digest of each row of the target, of the columns that the run writes.
    ///
    /// # Errors
    /// In words what of which row cannot be read.
    pub(crate) fn standing(&self, block: &Block) -> Result<Vec<(String, Digest)>, String> {
        let store = self.new.block_source().ok_or(NO_BLOCKS)?;
        let place = |at: &usize| block.columns.iter().position(|column| column.name == self.target[*at].name);
        let places: Vec<usize> = self.by_name.iter().map(place).collect::<Option<_>>().ok_or("a column is gone")?;
        let mut out = Vec::with_capacity(block.rows());
        let mut cells = Vec::with_capacity(block.columns.len());
        let (mut texts, mut text) = (Texts::default(), Vec::new());
        for line in block.iter() {
            split(line, block.columns.len(), &mut cells)?;
            texts.clear();
            for (at, place) in self.by_name.iter().zip(&places) {
                let (field, cell) = (&self.target[*at], cells[*place]);
                text.clear();
                if cell != NULL_CELL && store.tell(&field.kind, cell, &mut text) {
                    texts.push(Some(&text));
                } else {
                    let value =
                        store.value(&field.kind, cell).map_err(|why| format!("field `{}`: {why}", field.name))?;
                    self.kinds.push(&field.name, &value, &mut texts);
                }
            }
            out.push((key(store, &self.target[0].kind, &cells)?, texts.digest(&self.names)));
        }
        Ok(out)
    }

    /// The records of a block of the source.
    ///
    /// # Errors
    /// In words what of which record cannot be read.
    pub(crate) fn records(&self, block: &Block) -> Result<Vec<Record>, String> {
        let store = self.old.block_source().ok_or(NO_BLOCKS)?;
        let field = |(field, cell): (&Field, &[u8])| {
            let value = store.value(&field.kind, cell).map_err(|why| format!("field `{}`: {why}", field.name))?;
            Ok((field.name.clone(), value))
        };
        let record = |line: &[u8]| {
            let cells = block.columns.iter().zip(line.split(|byte| *byte == b'\t'));
            let fields = cells.filter(|(_, cell)| *cell != ABSENT_CELL).map(field);
            fields.collect::<Result<BTreeMap<_, _>, String>>().map(Record)
        };
        block.iter().map(record).collect()
    }
}

/// The names on the new side, with the column of the source that each comes from; `None` if two would have the same.
fn arrivals(dataset: &DatasetPlan, mapping: &Mapping, source: &[Field]) -> Option<Vec<(String, Option<usize>)>> {
    let made: BTreeSet<&String> = dataset.map.keys().chain(dataset.fields.constant.keys()).collect();
    let carried = source.iter().enumerate().filter(|(_, field)| !dataset.drop.contains(&field.name));
    let carried = carried.map(|(at, field)| (mapping.name_there(&field.name).to_owned(), Some(at)));
    let carried = carried.filter(|(name, _)| !made.contains(name));
    let all: Vec<(String, Option<usize>)> = carried.chain(made.iter().map(|name| ((*name).clone(), None))).collect();
    let unique: BTreeSet<&String> = all.iter().map(|(name, _)| name).collect();
    (unique.len() == all.len()).then_some(all)
}

/// The text of a line's key.
fn key(store: &dyn BlockSource, kind: &Kind, cells: &[&[u8]]) -> Result<String, String> {
    let mut text = Vec::new();
    if cells[0] != NULL_CELL && store.tell(kind, cells[0], &mut text) {
        return String::from_utf8(text).map_err(|_| "a key that is no text".into());
    }
    match store.value(kind, cells[0])? {
        Value::Null => Err("a record has no key".into()),
        value => Ok(value.to_text()),
    }
}

/// The cells of a line.
fn split<'l>(line: &'l [u8], columns: usize, cells: &mut Vec<&'l [u8]>) -> Result<(), String> {
    cells.clear();
    let mut from = 0;
    cells.extend(memchr_iter(b'\t', line).map(|at| &line[std::mem::replace(&mut from, at + 1)..at]));
    cells.push(&line[from..]);
    if cells.len() == columns { Ok(()) } else { Err("a line has not as many cells as there are columns".into()) }
}

/// As what kind a column's cell can tell the text that its value has in this column of the target.
fn tells(way: &Way, source: &[Field], field: &Field, new: &dyn BlockStore) -> Option<Kind> {
    let (at, written) = match way {
        Way::Same(at) => (*at, true),
        // Whether a text says all is a matter of the kind alone.
        Way::Converted(at) => (*at, new.told_cell(&field.kind, b"", &mut Vec::new())),
        Way::Made => return None,
    };
    let from = &source[at].kind;
    let kind = if *from == Kind::Any { &field.kind } else { from };
    (written && passes(kind, &field.kind)).then(|| kind.clone())
}

/// A cell of the first kind is one of the second, letter by letter.
fn passes(from: &Kind, to: &Kind) -> bool {
    from == to || matches!((from, to), (Kind::Text { .. }, Kind::Text { .. }) if to.narrows(from).is_none())
}

/// The key, and the columns that an expression may speak of.
fn needed(mapping: &Mapping, source: &[Field]) -> Vec<usize> {
    let spoken_of = |field: &Field| mapping.expressions().any(|text| text.contains(field.name.as_str()));
    (0..source.len()).filter(|at| *at == 0 || spoken_of(&source[*at])).collect()
}
