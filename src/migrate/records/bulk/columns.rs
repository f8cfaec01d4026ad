//! How the rows of one side become rows of the other, and what each record's digest is. Pure, and meant for a thread of its
//! own: it is what a lane in bulk spends its own time on.
//!
//! A cell that nobody changes goes as it is, and rows that nobody changes go in the form that both stores keep them in, if
//! they have one. A row that cannot be carried says so for its whole block, which then goes
//! record by record, where reasons are kept one by one. Must never enter: ports that talk to somebody.

use crate::{
    migrate::{
        compare::{Kinds, Names, Texts},
        mapping::{Found, Mapping, Ready},
    },
    model::{Digest, Field, Kind, Record, Value},
    plan::DatasetPlan,
    ports::{Block, BlockCell, BlockStore, Form, NULL_CELL, RecordStore, Shape},
};
use bytes::Bytes;
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
    new: Arc<dyn RecordStore>,
    /// The stores call the types of all columns the same.
    same_types: bool,
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
        (old, here): (&dyn RecordStore, &Shape),
        (new, there): (Arc<dyn RecordStore>, &Shape),
    ) -> Option<Self> {
        if !dataset.fields.lookup.is_empty() {
            return None;
        }
        let alike = old.block_source()?.dialect().name() == new.blocks()?.dialect().name();
        let source = Arc::clone(&here.columns);
        let all = arrivals(dataset, mapping, &source)?;
        let (mut target, mut ways, mut told) = (Vec::new(), Vec::new(), Vec::new());
        let mut same_types = true;
        for (name, from) in &all {
            let at = there.columns.iter().position(|field| field.name == *name && !field.computed)?;
            let field = &there.columns[at];
            let kept = |shape: &Shape, at: usize| shape.types.as_ref()?.get(at).cloned();
            same_types &= from.is_some_and(|from| kept(here, from).is_some_and(|kind| Some(kind) == kept(there, at)));
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
            new,
            same_types,
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

    /// In which form a page of the source is best read to be carried.
    pub(crate) fn form(&self) -> Form {
        if self.alike && self.same_types && self.is_plain() { Form::Own } else { Form::Text }
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
        let ready = self.mapping.ready().map_err(|fault| fault.detail)?;
        let (mut records, mut left_out) = (Vec::with_capacity(block.rows()), Vec::new());
        let (mut bytes, mut ends) = (Vec::new(), Vec::new());
        let mut cells = Vec::with_capacity(self.source.len());
        let (mut row, mut texts) = (Row::default(), Texts::default());
        for written in block.iter() {
            block.cells(written, &mut cells)?;
            let key = key(block, cells[0])?;
            if plain {
                records.push((key, self.digest_as_it_is(block, &cells, &mut texts)?));
                continue;
            }
            if !self.row(block, &ready, &cells, &mut row)? {
                left_out.push(key);
                continue;
            }
            records.push((key, self.digest(&row, &mut texts)));
            self.push(&cells, &row, &mut bytes)?;
            ends.push(u32::try_from(bytes.len()).map_err(|_| "a block of more than 4 GiB")?);
        }
        let block = if plain {
            Block { columns: Arc::clone(&self.target), ..block.clone() }
        } else {
            let dialect = self.new.blocks().ok_or(NO_BLOCKS)?.dialect();
            Block { dialect, columns: Arc::clone(&self.target), bytes: Bytes::from(bytes), ends }
        };
        Ok(Carried { block, records, left_out })
    }

    /// What a row becomes. `false` if the filter leaves its record out.
    fn row(&self, block: &Block, ready: &Ready<'_>, cells: &[BlockCell<'_>], row: &mut Row) -> Result<bool, String> {
        let mut made = BTreeMap::new();
        if self.mapping.makes() {
            let mut record = BTreeMap::new();
            for at in &self.needed {
                record.insert(self.source[*at].name.clone(), block.value(*at, cells[*at])?);
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
                    let text = &mut row.text;
                    if told.as_ref().is_some_and(|kind| tell(block, kind, cells[*at], text)) {
                        Part::Text(begins..row.text.len())
                    } else {
                        Part::Value(self.kinds.take_one(&field.name, block.value(*at, cells[*at])?)?)
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

    /// The digest of a row that nobody changes.
    fn digest_as_it_is(&self, block: &Block, cells: &[BlockCell<'_>], texts: &mut Texts) -> Result<Digest, String> {
        texts.clear();
        for at in &self.by_name {
            let (cell, field) = (cells[*at], &self.target[*at]);
            let mut told = self.told[*at].iter();
            if !told.any(|kind| texts.told(|text| tell(block, kind, cell, text))) {
                let value = self.kinds.take_one(&field.name, block.value(*at, cell)?)?;
                self.kinds.push_taken(&field.name, &value, texts);
            }
        }
        Ok(texts.digest(&self.names))
    }

    fn push(&self, cells: &[BlockCell<'_>], row: &Row, lines: &mut Vec<u8>) -> Result<(), String> {
        let store = self.new.blocks().ok_or(NO_BLOCKS)?;
        for (n, ((field, way), part)) in self.target.iter().zip(&self.ways).zip(&row.parts).enumerate() {
            if n > 0 {
                lines.push(b'\t');
            }
            match (way, part) {
                (Way::Same(at), _) => lines.extend_from_slice(match cells[*at] {
                    BlockCell::Said(said) => said,
                    BlockCell::Null | BlockCell::Absent => NULL_CELL,
                }),
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
        let place = |at: &usize| block.columns.iter().position(|column| column.name == self.target[*at].name);
        let places: Vec<usize> = self.by_name.iter().map(place).collect::<Option<_>>().ok_or("a column is gone")?;
        let mut out = Vec::with_capacity(block.rows());
        let mut cells = Vec::with_capacity(block.columns.len());
        let mut texts = Texts::default();
        for written in block.iter() {
            block.cells(written, &mut cells)?;
            texts.clear();
            for place in &places {
                let field = &block.columns[*place];
                if !texts.told(|text| tell(block, &field.kind, cells[*place], text)) {
                    self.kinds.push(&field.name, &block.value(*place, cells[*place])?, &mut texts);
                }
            }
            out.push((key(block, cells[0])?, texts.digest(&self.names)));
        }
        Ok(out)
    }
}

/// The records of a block.
///
/// # Errors
/// In words what of which record cannot be read.
pub(crate) fn records(block: &Block) -> Result<Vec<Record>, String> {
    let mut cells = Vec::with_capacity(block.columns.len());
    let record = |written| {
        block.cells(written, &mut cells)?;
        let there = cells.iter().enumerate().filter(|(_, cell)| **cell != BlockCell::Absent);
        let field = |(at, cell): (usize, &BlockCell<'_>)| {
            block.value(at, *cell).map(|value| (block.columns[at].name.clone(), value))
        };
        there.map(field).collect::<Result<BTreeMap<_, _>, String>>().map(Record)
    };
    block.iter().map(record).collect()
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

/// The text of a row's key.
fn key(block: &Block, cell: BlockCell<'_>) -> Result<String, String> {
    let mut text = Vec::new();
    if tell(block, &block.columns[0].kind, cell, &mut text) {
        return String::from_utf8(text).map_err(|_| "a key that is no text".into());
    }
    match block.value(0, cell)? {
        Value::Null => Err("a record has no key".into()),
        value => Ok(value.to_text()),
    }
}

/// Goes on with the text of a cell that is a value, if it can be told.
fn tell(block: &Block, kind: &Kind, cell: BlockCell<'_>, text: &mut Vec<u8>) -> bool {
    matches!(cell, BlockCell::Said(said) if block.dialect.tell(kind, said, text))
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
