//! How the lines of one side become lines of the other, and what each record's digest is. Pure, and meant for a thread of its
//! own: it is what a lane in bulk spends its own time on.
//!
//! A cell that nobody changes goes as it is. A line that cannot be carried says so for its whole block, which then goes
//! record by record, where reasons are kept one by one. Must never enter: ports that talk to somebody.

use crate::{
    migrate::{
        compare::{Digester, Kinds},
        mapping::{Found, Mapping, Ready},
    },
    model::{Digest, Field, Kind, Record, Value},
    plan::DatasetPlan,
    ports::{Block, RecordStore},
};
use bytes::Bytes;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

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
    source: Arc<[Field]>,
    target: Arc<[Field]>,
    ways: Vec<Way>,
    /// Columns of the source that expressions need.
    needed: Vec<usize>,
    mapping: Mapping,
    kinds: Kinds,
    old: Arc<dyn RecordStore>,
    new: Arc<dyn RecordStore>,
    digester: Digester,
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
                Some(at) if passes(&source[*at].kind, &field.kind) => Way::Same(*at),
                Some(at) => Way::Converted(*at),
            });
            target.push(field.clone());
        }
        if ways.first() != Some(&Way::Same(0)) || source[0].kind != target[0].kind {
            return None;
        }
        let needed = needed(mapping, &source);
        let digester = Digester::new(target.iter().map(|field| field.name.as_str()));
        let (mapping, kinds) = (mapping.clone(), kinds.clone());
        Some(Self { source, target: target.into(), ways, needed, mapping, kinds, old, new, digester })
    }

    /// Every line is the same on both sides.
    pub(crate) fn is_plain(&self) -> bool {
        self.ways.iter().enumerate().all(|(at, way)| *way == Way::Same(at))
            && self.ways.len() == self.source.len()
            && !self.mapping.has_filter()
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
        let plain = self.is_plain();
        let ready = self.mapping.ready().map_err(|fault| fault.detail)?;
        let (mut records, mut left_out) = (Vec::with_capacity(block.rows()), Vec::new());
        let (mut lines, mut ends) = (Vec::new(), Vec::new());
        let mut cells = Vec::with_capacity(self.source.len());
        let mut values = Vec::with_capacity(self.target.len());
        for line in block.iter() {
            cells.clear();
            cells.extend(line.split(|byte| *byte == b'\t'));
            if cells.len() != self.source.len() {
                return Err("a line has not as many cells as there are columns".into());
            }
            values.clear();
            let fits = self.values(&ready, &cells, &mut values)?;
            let key = values.first().filter(|key| !matches!(key, Value::Null)).ok_or("a record has no key")?;
            let key = key.to_text();
            if !fits {
                left_out.push(key);
                continue;
            }
            records.push((key, self.digester.digest(&self.kinds, &values)));
            if !plain {
                self.push(&cells, &values, &mut lines);
                ends.push(u32::try_from(lines.len()).map_err(|_| "a block of more than 4 GiB")?);
            }
        }
        let (lines, ends) = if plain { (block.lines.clone(), block.ends.clone()) } else { (Bytes::from(lines), ends) };
        Ok(Carried { block: Block { columns: Arc::clone(&self.target), lines, ends }, records, left_out })
    }

    /// The values of the target's columns, in their order. `false` if the filter leaves the record out: then only the key is
    /// there.
    fn values(&self, ready: &Ready<'_>, cells: &[&[u8]], values: &mut Vec<Value>) -> Result<bool, String> {
        let mut made = BTreeMap::new();
        if self.mapping.makes() {
            let mut record = BTreeMap::new();
            for at in &self.needed {
                record.insert(self.source[*at].name.clone(), self.read(*at, cells)?);
            }
            let Some(all) = ready.made(&Record(record), &Found::new()).map_err(|fault| fault.detail)? else {
                values.push(self.read(0, cells)?);
                return Ok(false);
            };
            made = all;
        }
        for (field, way) in self.target.iter().zip(&self.ways) {
            let value = match way {
                Way::Same(at) => self.read(*at, cells)?,
                Way::Converted(at) => self.kinds.take_one(&field.name, self.read(*at, cells)?)?,
                Way::Made => self.kinds.take_one(&field.name, made.remove(&field.name).unwrap_or(Value::Null))?,
            };
            values.push(value);
        }
        Ok(true)
    }

    fn read(&self, at: usize, cells: &[&[u8]]) -> Result<Value, String> {
        let store = self.old.blocks().ok_or("the store moves nothing in bulk")?;
        let field = &self.source[at];
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
        let store = self.new.blocks().ok_or("the store moves nothing in bulk")?;
        let place = |field: &Field| block.columns.iter().position(|column| column.name == field.name);
        let places: Vec<usize> = self.target.iter().map(place).collect::<Option<_>>().ok_or("a column is gone")?;
        let mut out = Vec::with_capacity(block.rows());
        let mut values = Vec::with_capacity(places.len());
        for line in block.iter() {
            let cells: Vec<&[u8]> = line.split(|byte| *byte == b'\t').collect();
            values.clear();
            for (field, at) in self.target.iter().zip(&places) {
                let cell = cells.get(*at).ok_or("a line is cut short")?;
                values.push(store.value(&field.kind, cell).map_err(|why| format!("field `{}`: {why}", field.name))?);
            }
            let key = values.first().map(Value::to_text).ok_or("a row has no key")?;
            out.push((key, self.digester.digest(&self.kinds, &values)));
        }
        Ok(out)
    }

    /// The records of a block of the source.
    ///
    /// # Errors
    /// In words what of which record cannot be read.
    pub(crate) fn records(&self, block: &Block) -> Result<Vec<Record>, String> {
        let record = |line: &[u8]| {
            let cells: Vec<&[u8]> = line.split(|byte| *byte == b'\t').collect();
            let field = |at: usize| Ok((self.source[at].name.clone(), self.read(at, &cells)?));
            (0..self.source.len().min(cells.len())).map(field).collect::<Result<BTreeMap<_, _>, String>>().map(Record)
        };
        block.iter().map(record).collect()
    }
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
