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
    ports::{ABSENT_CELL, Block, BlockSource, NULL_CELL, RecordStore},
};
use bytes::Bytes;
use memchr::memchr_iter;
use std::{
    collections::{BTreeMap, BTreeSet},
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

/// What the lines of a block became.
pub(crate) struct Carried {
    /// As the target shall have them.
    pub(crate) block: Block,
    /// Key and digest of each.
    pub(crate) records: Vec<(String, Digest)>,
    /// Keys of the records that the filter leaves out.
    pub(crate) left_out: Vec<String>,
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
        let made: BTreeSet<&String> = dataset.map.keys().chain(dataset.fields.constant.keys()).collect();
        let carried = source.iter().enumerate().filter(|(_, field)| !dataset.drop.contains(&field.name));
        let carried = carried.map(|(at, field)| (mapping.name_there(&field.name).to_owned(), Some(at)));
        let carried = carried.filter(|(name, _)| !made.contains(name));
        let all: Vec<(String, Option<usize>)> =
            carried.chain(made.iter().map(|name| ((*name).clone(), None))).collect();
        let unique: BTreeSet<&String> = all.iter().map(|(name, _)| name).collect();
        if unique.len() != all.len() {
            return None;
        }
        let (mut target, mut ways) = (Vec::new(), Vec::new());
        for (name, from) in &all {
            let field = there.iter().find(|field| field.name == *name && !field.computed)?;
            ways.push(match from {
                None => Way::Made,
                Some(at) if alike && passes(&source[*at].kind, &field.kind) => Way::Same(*at),
                Some(at) => Way::Converted(*at),
            });
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
        Some(Self { alike, source, target: target.into(), ways, needed, mapping, kinds, old, new, by_name, names })
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
        let (mut cells, mut values) = (Vec::with_capacity(self.source.len()), Vec::with_capacity(self.target.len()));
        let mut texts = Texts::default();
        for line in block.iter() {
            split(line, self.source.len(), &mut cells)?;
            let key = self.key(store, &self.source[0].kind, &cells)?;
            if !self.values(&ready, &cells, &mut values)? {
                left_out.push(key);
                continue;
            }
            texts.clear();
            for at in &self.by_name {
                let field = &self.target[*at];
                match &self.ways[*at] {
                    Way::Same(from) => self.tell(store, (field, &self.source[*from]), cells[*from], &mut texts)?,
                    _ => self.kinds.push_taken(&field.name, &values[*at], &mut texts),
                }
            }
            records.push((key, texts.digest(&self.names)));
            if !plain {
                self.push(&cells, &values, &mut lines);
                ends.push(u32::try_from(lines.len()).map_err(|_| "a block of more than 4 GiB")?);
            }
        }
        let (lines, ends) = if plain { (block.lines.clone(), block.ends.clone()) } else { (Bytes::from(lines), ends) };
        Ok(Carried { block: Block { columns: Arc::clone(&self.target), lines, ends }, records, left_out })
    }

    /// The text of a line's key.
    fn key(&self, store: &dyn BlockSource, kind: &Kind, cells: &[&[u8]]) -> Result<String, String> {
        let mut text = Vec::new();
        if cells[0] != NULL_CELL && store.tell(kind, cells[0], &mut text) {
            return String::from_utf8(text).map_err(|_| "a key that is no text".into());
        }
        match store.value(kind, cells[0])? {
            Value::Null => Err("a record has no key".into()),
            value => Ok(value.to_text()),
        }
    }

    /// Goes on with the text of a cell: of a column of the target, as it came from one that passes into it.
    fn tell(
        &self,
        store: &dyn BlockSource,
        (field, from): (&Field, &Field),
        cell: &[u8],
        texts: &mut Texts,
    ) -> Result<(), String> {
        if cell == NULL_CELL {
            texts.push(None);
        } else if !texts.write(|out| store.tell(&from.kind, cell, out)) {
            let value = store.value(&from.kind, cell).map_err(|why| format!("field `{}`: {why}", from.name))?;
            self.kinds.push(&field.name, &value, texts);
        }
        Ok(())
    }

    /// The values of the target's columns, in their order; null for those that are cells of the source. `false` if the
    /// filter leaves the record out.
    fn values(&self, ready: &Ready<'_>, cells: &[&[u8]], values: &mut Vec<Value>) -> Result<bool, String> {
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
        values.clear();
        for (field, way) in self.target.iter().zip(&self.ways) {
            let value = match way {
                Way::Same(_) => Value::Null,
                Way::Converted(at) => self.kinds.take_one(&field.name, self.read(*at, cells)?)?,
                Way::Made => self.kinds.take_one(&field.name, made.remove(&field.name).unwrap_or(Value::Null))?,
            };
            values.push(value);
        }
        Ok(true)
    }

    fn read(&self, at: usize, cells: &[&[u8]]) -> Result<Value, String> {
        let store = self.old.block_source().ok_or(NO_BLOCKS)?;
        let field = &self.source[at];
        if cells[at] == ABSENT_CELL {
            return Err(format!("field `{}` is not there", field.name));
        }
        store.value(&field.kind, cells[at]).map_err(|why| format!("field `{}`: {why}", field.name))
    }

    fn push(&self, cells: &[&[u8]], values: &[Value], lines: &mut Vec<u8>) {
        for (n, ((field, way), value)) in self.target.iter().zip(&self.ways).zip(values).enumerate() {
            if n > 0 {
                lines.push(b'\t');
            }
            match (way, self.new.blocks()) {
                (Way::Same(at), _) => lines.extend_from_slice(cells[*at]),
                (_, Some(store)) => store.cell(&field.kind, value, lines),
                (_, None) => {}
            }
        }
        lines.push(b'\n');
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
        let mut texts = Texts::default();
        for line in block.iter() {
            split(line, block.columns.len(), &mut cells)?;
            texts.clear();
            for (at, place) in self.by_name.iter().zip(&places) {
                let field = &self.target[*at];
                self.tell(store, (field, field), cells[*place], &mut texts)?;
            }
            out.push((self.key(store, &self.target[0].kind, &cells)?, texts.digest(&self.names)));
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

/// The cells of a line.
fn split<'l>(line: &'l [u8], columns: usize, cells: &mut Vec<&'l [u8]>) -> Result<(), String> {
    cells.clear();
    let mut from = 0;
    cells.extend(memchr_iter(b'\t', line).map(|at| &line[std::mem::replace(&mut from, at + 1)..at]));
    cells.push(&line[from..]);
    if cells.len() == columns { Ok(()) } else { Err("a line has not as many cells as there are columns".into()) }
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
