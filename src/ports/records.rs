//! The port to records.

use super::{BlockSource, BlockStore};
use crate::{
    error::Result,
    model::{Field, Key, Record, Timestamp},
};
use async_trait::async_trait;

/// A set of records in a store: a table, or an endpoint's path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetRef {
    /// Table name or path.
    pub name: String,
    /// The field that identifies a record.
    pub key: String,
    /// The field that says when a record changed last, if there is one.
    pub updated: Option<String>,
}

/// What a store knows of a set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SetInfo {
    /// Number of records, if the store can say without reading them all.
    pub count: Option<u64>,
    /// Its fields, if the store can say; empty if not.
    pub fields: Vec<Field>,
    /// The store takes writes with this credential, as far as can be told without writing.
    pub writable: bool,
    /// The number is what the store's own statistics say, and was not counted.
    pub estimated: bool,
    /// Fields that refer to other sets of the store, if it keeps such things.
    pub links: Vec<Link>,
}

/// A field that refers to another set of the same store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// The field.
    pub field: String,
    /// The set it refers to.
    pub set: String,
    /// The field there.
    pub key: String,
}

impl SetInfo {
    /// The field of this name, if the store says that there is one.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.name == name)
    }
}

/// Where to read on, in the store's own words. Opaque to callers, stable across processes, safe to keep in the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Cursor(pub Option<String>);

impl Cursor {
    /// The beginning of the set.
    pub const START: Self = Self(None);
}

/// A page of records.
#[derive(Debug, Clone, Default)]
pub struct Page {
    /// The records, in key order where the store has one.
    pub records: Vec<Record>,
    /// Where the next page begins; `None` at the end.
    pub next: Option<Cursor>,
    /// Keys that the store says were deleted: only from a store that keeps tombstones, only in [`RecordStore::changes`].
    pub gone: Vec<Key>,
    /// Number of records in the whole set, if the answer said so.
    pub total: Option<u64>,
    /// The store's clock when it answered, if it said so: the watermark for a later [`RecordStore::changes`].
    pub as_of: Option<Timestamp>,
}

/// Transactions that are open in a store, by its own clock: what they write bears the time at which they began, and is seen
/// when they end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OpenTransactions {
    /// When the oldest one began.
    pub oldest: Option<Timestamp>,
    /// When the oldest one began that has written something.
    pub writing: Option<Timestamp>,
}

/// What became of one record of a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WriteOutcome {
    /// There now, and was not before.
    Created,
    /// There now, and was there before (also when nothing differed).
    Updated,
    /// Not there: the store refused this record for this reason, and took the others.
    Rejected(String),
}

/// A port to records. Records of one set have one key field; a write never changes other fields than those given. Values
/// are read in the form that [`Kind`](crate::model::Kind)'s room gives for the field's kind, exactly as they are kept; a
/// value is written exactly or its record is rejected, never rounded or cut.
#[async_trait]
pub trait RecordStore: Send + Sync {
    /// What the store knows of the set. Also the reachability and credential check: a wrong credential is
    /// `Unauthorized`, a missing set `NotFound`.
    async fn describe(&self, set: &SetRef) -> Result<SetInfo>;

    /// The same for somebody in a hurry: of a set whose records take long to be counted the number is an estimate, if the
    /// store has one.
    async fn sketch(&self, set: &SetRef) -> Result<SetInfo> {
        self.describe(set).await
    }

    /// One page of at most `limit` records from `from`. Reading from [`Cursor::START`] and following `next` to its end
    /// gives every record that existed throughout; a record inserted or deleted meanwhile may or may not be seen, and a
    /// record may be seen twice (callers are idempotent), but none that stayed is skipped.
    async fn read(&self, set: &SetRef, from: &Cursor, limit: u32) -> Result<Page>;

    /// The store as one that gives rows in bulk, if it does.
    fn block_source(&self) -> Option<&dyn BlockSource> {
        None
    }

    /// The store as one that takes rows in bulk, if it does.
    fn blocks(&self) -> Option<&dyn BlockStore> {
        None
    }

    /// Cursors from which the whole set is read in about so many parts at once: reading from each and following `next` to
    /// its end gives together what reading from [`Cursor::START`] gives. A store that cannot part a set gives only that.
    async fn split(&self, _set: &SetRef, _parts: u32) -> Result<Vec<Cursor>> {
        Ok(vec![Cursor::START])
    }

    /// One page of records whose `updated` field is at or after `since`. At-least-once: the bound is inclusive. Needs
    /// `set.updated`; without it the fault is `Plan`.
    async fn changes(&self, set: &SetRef, since: Timestamp, from: &Cursor, limit: u32) -> Result<Page>;

    /// How many records [`Self::changes`] would give, if the store can say without giving them; `None` if it cannot.
    async fn count_changes(&self, _set: &SetRef, _since: Timestamp) -> Result<Option<u64>> {
        Ok(None)
    }

    /// The transactions of others that are open now, as far as the store and this credential can tell.
    async fn open_transactions(&self, _set: &SetRef) -> Result<OpenTransactions> {
        Ok(OpenTransactions::default())
    }

    /// The records of these keys; a key that is not there is missing from the answer. Order is free.
    async fn fetch(&self, set: &SetRef, keys: &[Key]) -> Result<Vec<Record>>;

    /// Upserts all records and says for each, in the order given, what became of it. `Ok` means durable on the other
    /// side. Idempotent: repeating it after a lost answer changes nothing (outcomes may then say `Updated`).
    async fn write(&self, set: &SetRef, records: &[Record]) -> Result<Vec<WriteOutcome>>;

    /// Deletes these keys; a key that is not there counts as deleted.
    async fn delete(&self, set: &SetRef, keys: &[Key]) -> Result<()>;

    /// Brings in line what the store keeps besides the rows once they were written (numbers that it counts up), and says
    /// in a sentence what it did; `None` if there was nothing to do. Idempotent; nothing is ever counted down.
    async fn settle(&self, _set: &SetRef) -> Result<Option<String>> {
        Ok(None)
    }

    /// Makes an empty set of the same shape beside this one, whose name says what it is, for a backup to be restored into;
    /// one that an earlier attempt left is made anew. It has the fields, the key and the constraints of a row by itself,
    /// and nothing that could reach this set or another one: no triggers, no counters in common. `None` if this store
    /// cannot make one.
    async fn scratch(&self, _set: &SetRef) -> Result<Option<SetRef>> {
        Ok(None)
    }

    /// Removes the scratch set of this one, and says whether there was any. It is found by its own name, which no set of a
    /// user has: this set itself can never be meant.
    async fn discard(&self, _set: &SetRef) -> Result<bool> {
        Ok(false)
    }
}
