//! A store in memory.

use super::{Trouble, blocks::JsonCells};
use crate::{
    error::{Fault, FaultKind, Result},
    model::{Field, Key, Record, Timestamp, Value},
    ports::{BlockSource, BlockStore, Cursor, OpenTransactions, Page, RecordStore, SetInfo, SetRef, WriteOutcome},
};
use async_trait::async_trait;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// The dialect of a store that takes rows in bulk too.
static TAKES: JsonCells = JsonCells("fake");
/// That of one that only gives them.
static GIVES: JsonCells = JsonCells("other");

/// Keys in the order of whole numbers where they are such, then as text.
pub(super) type Rows = BTreeMap<(i64, String), Record>;

#[derive(Default)]
pub(super) struct Sets {
    rows: BTreeMap<String, Rows>,
    bare: bool,
    locked: bool,
    poison: BTreeSet<String>,
    fields: BTreeMap<String, Vec<Field>>,
    clock: Timestamp,
    /// Transactions that are open.
    open: OpenTransactions,
    /// It does not say what time it is.
    silent: bool,
    /// What was deleted when, in a store that keeps tombstones.
    tombs: Option<Vec<(String, Timestamp, Key)>>,
    writes: Vec<Key>,
}

impl Sets {
    pub(super) fn fields(&self, set: &str) -> &[Field] {
        self.fields.get(set).map_or(&[], Vec::as_slice)
    }

    pub(super) fn rows_mut(&mut self, set: &str) -> &mut Rows {
        self.rows.entry(set.to_owned()).or_default()
    }

    pub(super) fn is_poison(&self, key: &Key) -> bool {
        self.poison.contains(&key.0)
    }
}

/// A store in memory. Its clock moves one second with every write of a user ([`FakeStore::put`]).
pub(crate) struct FakeStore {
    name: String,
    trouble: Arc<Trouble>,
    /// Keeps yes and no as numbers and JSON as text, as SQLite does.
    lossy: bool,
    /// Gives rows in bulk, in this dialect.
    pub(super) bulk: Option<&'static JsonCells>,
    sets: Mutex<Sets>,
}

impl FakeStore {
    /// An empty store under this name.
    pub(crate) fn new(name: &str, trouble: &Arc<Trouble>) -> Arc<Self> {
        Arc::new(Self::plain(name, trouble))
    }

    fn plain(name: &str, trouble: &Arc<Trouble>) -> Self {
        Self { name: name.into(), trouble: Arc::clone(trouble), lossy: false, bulk: None, sets: Mutex::default() }
    }

    /// An empty store that moves rows in bulk as well.
    pub(crate) fn bulk(name: &str, trouble: &Arc<Trouble>) -> Arc<Self> {
        Arc::new(Self { bulk: Some(&TAKES), ..Self::plain(name, trouble) })
    }

    /// An empty store that gives rows in bulk in a dialect of its own, and takes none.
    pub(crate) fn giving(name: &str, trouble: &Arc<Trouble>) -> Arc<Self> {
        Arc::new(Self { bulk: Some(&GIVES), ..Self::plain(name, trouble) })
    }

    /// An empty store that keeps types as SQLite does.
    pub(crate) fn lossy(name: &str, trouble: &Arc<Trouble>) -> Arc<Self> {
        Arc::new(Self { lossy: true, ..Self::plain(name, trouble) })
    }

    /// A user writes this record (key field `id`); `updated_at` is set if the record has it.
    pub(crate) fn put(&self, set: &str, json: serde_json::Value) {
        let mut record = Record::from_json(json).expect("an object");
        let mut sets = self.lock();
        sets.clock += Duration::from_secs(1);
        let now = sets.clock;
        if let Some(updated) = record.0.get_mut("updated_at") {
            *updated = Value::Text(now.to_string());
        }
        let key = record.key("id").expect("an id");
        sets.rows.entry(set.into()).or_default().insert(order(&key), record);
    }

    /// A record as it is becomes visible, whatever time it bears: of a transaction that took long, or of a hand that sets
    /// no time.
    pub(crate) fn put_as_it_is(&self, set: &str, json: serde_json::Value) {
        let record = Record::from_json(json).expect("an object");
        let key = record.key("id").expect("an id");
        self.lock().rows.entry(set.into()).or_default().insert(order(&key), record);
    }

    /// A user deletes a record.
    pub(crate) fn remove(&self, set: &str, key: &str) {
        let mut sets = self.lock();
        sets.rows.entry(set.into()).or_default().remove(&order(&Key(key.into())));
        let now = sets.clock;
        if let Some(tombs) = &mut sets.tombs {
            tombs.push((set.into(), now, Key(key.into())));
        }
    }

    /// From now on it keeps what was deleted, and says so beside what changed.
    pub(crate) fn keep_tombstones(&self) {
        self.lock().tombs = Some(Vec::new());
    }

    /// From now on these transactions are open.
    pub(crate) fn hold_open(&self, open: OpenTransactions) {
        self.lock().open = open;
    }

    /// Its clock stands here now.
    pub(crate) fn set_clock(&self, at: Timestamp) {
        self.lock().clock = at;
    }

    /// What its clock says.
    pub(crate) fn clock(&self) -> Timestamp {
        self.lock().clock
    }

    /// From now on it does not say what time it is.
    pub(crate) fn hide_clock(&self) {
        self.lock().silent = true;
    }

    /// From now on it says that the set has these fields, by name and kind, which may all be null.
    pub(crate) fn say(&self, set: &str, fields: &[(&str, &str)]) {
        let field = |(name, kind): &(&str, &str)| {
            let kind = crate::model::Kind::parse(kind).expect("a kind");
            Field { kind, ..Field::named(*name) }
        };
        self.lock().fields.insert(set.into(), fields.iter().map(field).collect());
    }

    /// From now on it can make no set beside another one.
    pub(crate) fn go_bare(&self) {
        self.lock().bare = true;
    }

    /// From now on it takes no writes, and says so.
    pub(crate) fn go_read_only(&self) {
        self.lock().locked = true;
    }

    /// The names of its sets.
    pub(crate) fn sets(&self) -> Vec<String> {
        self.lock().rows.keys().cloned().collect()
    }

    /// From now on it says that the set has these fields, of whatever kind.
    pub(crate) fn name(&self, set: &str, fields: &[&str]) {
        self.lock().fields.insert(set.into(), fields.iter().copied().map(Field::named).collect());
    }

    /// From now on this key is refused by every write.
    pub(crate) fn poison(&self, key: &str) {
        self.lock().poison.insert(key.into());
    }

    /// No key is refused any more.
    pub(crate) fn heal(&self) {
        self.lock().poison.clear();
    }

    /// All rows of a set by key.
    pub(crate) fn rows(&self, set: &str) -> BTreeMap<String, Record> {
        let sets = self.lock();
        sets.rows.get(set).into_iter().flatten().map(|((_, key), row)| (key.clone(), row.clone())).collect()
    }

    /// One row.
    pub(crate) fn row(&self, set: &str, key: &str) -> Option<Record> {
        self.lock().rows.get(set)?.get(&order(&Key(key.into()))).cloned()
    }

    /// Keys written through the port so far, in order.
    pub(crate) fn written(&self) -> Vec<Key> {
        self.lock().writes.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Sets> {
        self.sets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) async fn around<T>(&self, method: &str, work: impl FnOnce(&mut Sets) -> Result<T>) -> Result<T> {
        self.trouble.around(&format!("{}.{method}", self.name), |_| work(&mut self.lock())).await
    }

    fn kept(&self, value: &Value) -> Value {
        match value {
            Value::Bool(b) if self.lossy => Value::Int(i64::from(*b)),
            Value::Json(_) if self.lossy => Value::Text(value.to_text()),
            other => other.clone(),
        }
    }
}

fn scratch(set: &SetRef) -> String {
    format!("scratch of {}", set.name)
}

pub(super) fn order(key: &Key) -> (i64, String) {
    (key.0.parse().unwrap_or(i64::MAX), key.0.clone())
}

/// Parts the two ends of a stretch in a cursor.
const UPTO: char = '\u{1}';

/// The cursor that reads from the first up to where the second goes on.
pub(super) fn stretch(from: &Cursor, next: Option<&Cursor>) -> Cursor {
    let (after, upto) = ends(from);
    let upto = next.map_or(upto, |next| ends(next).0);
    between(after, upto)
}

fn ends(cursor: &Cursor) -> (Option<String>, Option<String>) {
    let text = cursor.0.as_deref().unwrap_or_default();
    let (after, upto) = text.split_once(UPTO).unwrap_or((text, ""));
    let some = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    (some(after), some(upto))
}

fn between(after: Option<String>, upto: Option<String>) -> Cursor {
    let after = after.unwrap_or_default();
    match upto {
        Some(upto) => Cursor(Some(format!("{after}{UPTO}{upto}"))),
        None => Cursor(Some(after).filter(|after| !after.is_empty())),
    }
}

pub(super) fn page(sets: &Sets, set: &str, from: &Cursor, limit: u32, keep: impl Fn(&Record) -> bool) -> Page {
    let (after, upto) = ends(from);
    let place = |key: &String| order(&Key(key.clone()));
    let (behind, end) = (after.as_ref().map(place), upto.as_ref().map(place));
    let rows = sets.rows.get(set);
    let inside = |key: &(i64, String)| {
        behind.as_ref().is_none_or(|behind| key > behind) && end.as_ref().is_none_or(|end| key <= end)
    };
    let mut left = rows.into_iter().flatten().filter(|(key, row)| inside(key) && keep(row));
    let limit = usize::try_from(limit).expect("fits");
    let taken: Vec<_> = left.by_ref().take(limit).collect();
    let next = left.next().and(taken.last()).map(|((_, key), _)| between(Some(key.clone()), upto));
    Page {
        records: taken.into_iter().map(|(_, row)| row.clone()).collect(),
        next,
        total: rows.map(|rows| rows.len() as u64),
        as_of: (!sets.silent).then_some(sets.clock),
        ..Page::default()
    }
}

#[async_trait]
impl RecordStore for FakeStore {
    async fn describe(&self, set: &SetRef) -> Result<SetInfo> {
        self.around("describe", |sets| {
            let count = sets.rows.get(&set.name).map_or(0, BTreeMap::len);
            let fields = sets.fields.get(&set.name).cloned().unwrap_or_default();
            Ok(SetInfo { count: Some(count as u64), fields, writable: !sets.locked, ..SetInfo::default() })
        })
        .await
    }

    async fn read(&self, set: &SetRef, from: &Cursor, limit: u32) -> Result<Page> {
        self.around("read", |sets| Ok(page(sets, &set.name, from, limit, |_| true))).await
    }

    async fn changes(&self, set: &SetRef, since: Timestamp, from: &Cursor, limit: u32) -> Result<Page> {
        let Some(updated) = set.updated.clone() else {
            return Err(Fault::new(FaultKind::Plan, "read changes"));
        };
        let newer =
            |row: &Record| row.text(&updated).and_then(|at| at.parse::<Timestamp>().ok()).is_some_and(|at| at >= since);
        self.around("changes", |sets| {
            let tombs = sets.tombs.iter().flatten().filter(|(of, at, _)| *of == set.name && *at >= since);
            let gone = tombs.map(|(.., key)| key.clone()).collect();
            Ok(Page { gone, ..page(sets, &set.name, from, limit, newer) })
        })
        .await
    }

    async fn open_transactions(&self, _set: &SetRef) -> Result<OpenTransactions> {
        self.around("open_transactions", |sets| Ok(sets.open)).await
    }

    async fn count_changes(&self, set: &SetRef, since: Timestamp) -> Result<Option<u64>> {
        let page = self.changes(set, since, &Cursor::START, u32::MAX).await?;
        Ok(Some(page.records.len() as u64))
    }

    fn block_source(&self) -> Option<&dyn BlockSource> {
        self.bulk.map(|_| self as &dyn BlockSource)
    }

    fn blocks(&self) -> Option<&dyn BlockStore> {
        (self.bulk == Some(&TAKES)).then_some(self)
    }

    async fn split(&self, set: &SetRef, parts: u32) -> Result<Vec<Cursor>> {
        self.around("split", |sets| {
            let keys: Vec<String> =
                sets.rows.get(&set.name).into_iter().flatten().map(|((_, key), _)| key.clone()).collect();
            let parts = if self.bulk == Some(&TAKES) { usize::try_from(parts).expect("fits") } else { 1 };
            let mut ends: Vec<String> = (1..parts).filter_map(|n| keys.get(keys.len() * n / parts).cloned()).collect();
            ends.dedup();
            let afters = std::iter::once(None).chain(ends.iter().cloned().map(Some));
            let uptos = ends.iter().cloned().map(Some).chain([None]);
            Ok(afters.zip(uptos).map(|(after, upto)| between(after, upto)).collect())
        })
        .await
    }

    async fn fetch(&self, set: &SetRef, keys: &[Key]) -> Result<Vec<Record>> {
        self.around("fetch", |sets| {
            let rows = sets.rows.get(&set.name);
            Ok(keys.iter().filter_map(|key| rows?.get(&order(key)).cloned()).collect())
        })
        .await
    }

    async fn write(&self, set: &SetRef, records: &[Record]) -> Result<Vec<WriteOutcome>> {
        self.around("write", |sets| {
            let mut outcomes = Vec::new();
            for record in records {
                let key = record.key(&set.key).ok_or_else(|| Fault::new(FaultKind::Refused, "write without a key"))?;
                if sets.poison.contains(&key.0) {
                    outcomes.push(WriteOutcome::Rejected("poison".into()));
                    continue;
                }
                sets.writes.push(key.clone());
                let rows = sets.rows.entry(set.name.clone()).or_default();
                let existed = rows.contains_key(&order(&key));
                let row = rows.entry(order(&key)).or_default();
                row.0.extend(record.0.iter().map(|(field, value)| (field.clone(), self.kept(value))));
                outcomes.push(if existed { WriteOutcome::Updated } else { WriteOutcome::Created });
            }
            Ok(outcomes)
        })
        .await
    }

    async fn delete(&self, set: &SetRef, keys: &[Key]) -> Result<()> {
        self.around("delete", |sets| {
            if let Some(rows) = sets.rows.get_mut(&set.name) {
                for key in keys {
                    rows.remove(&order(key));
                }
            }
            Ok(())
        })
        .await
    }

    async fn scratch(&self, set: &SetRef) -> Result<Option<SetRef>> {
        self.around("scratch", |sets| {
            let name = scratch(set);
            if sets.bare {
                return Ok(None);
            }
            sets.rows.insert(name.clone(), Rows::new());
            Ok(Some(SetRef { name, ..set.clone() }))
        })
        .await
    }

    async fn discard(&self, set: &SetRef) -> Result<bool> {
        self.around("discard", |sets| Ok(sets.rows.remove(&scratch(set)).is_some())).await
    }
}
