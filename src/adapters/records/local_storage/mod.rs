//! Browser exports as a store that is only read: what each user's browser kept, from storage key to JSON text, in a folder
//! or behind an endpoint. A set is a choice of storage keys; its records and their stable ids are `entries`' affair.
//!
//! Whether there is something to move is what `describe` says: it counts the entries, and logs users, bytes and entries
//! that are no JSON. Must never enter: mapping, and anything that writes.

mod entries;
mod folder;

use super::HttpStore;
use crate::{
    error::{Fault, FaultKind, Result},
    model::{Field, Key, Kind, Record, Timestamp, Value},
    plan::LocalStoragePlan,
    ports::{Cursor, Page, RecordStore, SetInfo, SetRef, WriteOutcome},
};
use async_trait::async_trait;
use entries::{Export, Wanted, id_of, user_of};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeSet, HashSet},
    ops::Bound,
    path::{Path, PathBuf},
};

/// Exports that are looked at to count their entries; of a folder with more the number stays unsaid.
const LOOKED_AT: usize = 10_000;
/// Names of files that are remembered at once.
const NAMES: usize = 256;
/// Exports in one answer.
const EXPORTS: u32 = 20;

/// Browser exports.
#[derive(Debug)]
pub struct LocalStorage {
    name: String,
    source: Source,
}

#[derive(Debug)]
enum Source {
    Folder(PathBuf),
    /// An endpoint whose rows are exports, and their set.
    Http(Box<HttpStore>, SetRef),
}

/// Where to read on.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Spot {
    /// The user of the last export (a folder), or the endpoint's own cursor.
    at: Option<String>,
    /// The last entry that was given of it; none if all were.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    seen: Option<String>,
}

/// What was found in a folder.
#[derive(Debug, Default)]
struct Found {
    users: u64,
    entries: u64,
    bytes: u64,
    invalid: u64,
}

impl LocalStorage {
    /// The store of this name in the plan. Opens nothing yet.
    ///
    /// # Errors
    /// If no HTTP client can be made on this machine.
    pub fn new(name: &str, plan: &LocalStoragePlan) -> Result<Self> {
        let source = match plan {
            LocalStoragePlan::Folder { root } => Source::Folder(root.clone()),
            LocalStoragePlan::Http { http, path } => {
                let set = SetRef { name: path.clone(), key: "user".into(), updated: Some("exported_at".into()) };
                Source::Http(Box::new(HttpStore::new(name, http.as_ref().clone())?), set)
            }
        };
        Ok(Self { name: name.to_owned(), source })
    }

    async fn page(
        &self,
        doing: &str,
        set: &SetRef,
        since: Option<Timestamp>,
        from: &Cursor,
        limit: u32,
    ) -> Result<Page> {
        let spot: Option<Spot> = from.0.as_deref().map(serde_json::from_str).transpose().map_err(|error| {
            Fault::new(FaultKind::Internal, doing).detail("the cursor is of another kind of store").source(error)
        })?;
        let limit = usize::try_from(limit.max(1)).unwrap_or(usize::MAX);
        let wanted = Wanted::parse(&set.name);
        match &self.source {
            Source::Folder(root) => {
                let (root, doing) = (root.clone(), doing.to_owned());
                blocking(move || folder_page(&doing, &root, &wanted, since, spot, limit)).await
            }
            Source::Http(store, exports) => http_page(doing, store, exports, &wanted, since, spot, limit).await,
        }
    }

    fn read_only<T>(&self, doing: &str) -> Result<T> {
        Err(Fault::new(FaultKind::Refused, format!("{doing} {}", self.name)).detail("browser exports are only read"))
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| Fault::new(FaultKind::Internal, "read browser exports").source(error))?
}

fn folder_page(
    doing: &str,
    root: &Path,
    wanted: &Wanted,
    since: Option<Timestamp>,
    mut spot: Option<Spot>,
    limit: usize,
) -> Result<Page> {
    let as_of = Some(Timestamp::now());
    let mut records: Vec<Record> = Vec::new();
    loop {
        let at = spot.as_ref().and_then(|spot| spot.at.as_deref());
        let from = match (&spot, at) {
            (Some(Spot { seen: Some(_), .. }), Some(user)) => Bound::Included(user),
            (_, Some(user)) => Bound::Excluded(user),
            (_, None) => Bound::Unbounded,
        };
        let users = folder::users(doing, root, from, NAMES)?;
        if users.is_empty() {
            return Ok(Page { records, as_of, ..Page::default() });
        }
        for user in users {
            // One that was deleted meanwhile has nothing to give.
            let export = folder::export(doing, root, &user)?;
            let export =
                export.filter(|export| since.is_none_or(|since| export.exported_at.is_none_or(|at| at >= since)));
            let mut rows = export.map(|export| export.records(wanted)).unwrap_or_default();
            if let Some(Spot { at: Some(of), seen: Some(seen) }) = &spot
                && *of == user
            {
                rows.retain(|row| id_of(row) > *seen);
            }
            let left = limit - records.len();
            let whole = rows.len() <= left;
            rows.truncate(left);
            let seen = rows.last().filter(|_| !whole).map(id_of);
            records.extend(rows);
            let here = Spot { at: Some(user), seen };
            if records.len() == limit {
                return Ok(Page { records, next: Some(cursor(&here)), as_of, ..Page::default() });
            }
            spot = Some(here);
        }
    }
}

async fn http_page(
    doing: &str,
    store: &HttpStore,
    exports: &SetRef,
    wanted: &Wanted,
    since: Option<Timestamp>,
    spot: Option<Spot>,
    limit: usize,
) -> Result<Page> {
    let Spot { at, seen } = spot.unwrap_or(Spot { at: None, seen: None });
    let from = Cursor(at.clone());
    let page = match since {
        Some(since) => store.changes(exports, since, &from, EXPORTS).await?,
        None => store.read(exports, &from, EXPORTS).await?,
    };
    let mut records = Vec::new();
    for row in page.records {
        let export = Export::of_row(&row).ok_or_else(|| {
            Fault::new(FaultKind::Garbage, doing)
                .detail("an export without `user`: a row has `user`, `items` and perhaps `exported_at`")
        })?;
        records.extend(export.records(wanted));
    }
    if let Some(seen) = &seen {
        let place = records.iter().position(|record| id_of(record) == *seen);
        records.drain(..place.map_or(0, |place| place + 1));
    }
    let next = if records.len() > limit {
        records.truncate(limit);
        Some(Spot { at, seen: records.last().map(id_of) })
    } else {
        page.next.map(|next| Spot { at: next.0, seen: None })
    };
    Ok(Page { records, next: next.as_ref().map(cursor), as_of: page.as_of, ..Page::default() })
}

fn cursor(spot: &Spot) -> Cursor {
    Cursor(Some(serde_json::json!(spot).to_string()))
}

/// What there is, of the first exports; `None` if there are more.
fn look(doing: &str, root: &Path, wanted: &Wanted) -> Result<Option<Found>> {
    let mut found = Found::default();
    let users = folder::users(doing, root, Bound::Unbounded, LOOKED_AT + 1)?;
    if users.len() > LOOKED_AT {
        return Ok(None);
    }
    for user in users {
        let rows = folder::export(doing, root, &user)?.map(|export| export.records(wanted)).unwrap_or_default();
        found.users += u64::from(!rows.is_empty());
        for row in rows {
            found.entries += 1;
            found.invalid += u64::from(row.get("invalid").is_some());
            if let Some(Value::Int(bytes)) = row.get("size") {
                found.bytes += bytes.unsigned_abs();
            }
        }
    }
    Ok(Some(found))
}

/// The fields of an entry that is JSON.
fn fields() -> Vec<Field> {
    let text = || Kind::Text { max: None, nul: true };
    let int = || Kind::Int { bits: 64, signed: true };
    let field =
        |name: &str, kind: Kind, nullable: bool| Field { name: name.into(), kind, nullable, ..Field::default() };
    vec![
        field("id", text(), false),
        field("user_id", Kind::Any, false),
        field("storage_key", text(), false),
        field("value", Kind::Json, true),
        field("version", int(), true),
        field("size", int(), false),
        field("exported_at", Kind::Timestamp { zone: true, fraction: 9 }, true),
    ]
}

#[async_trait]
impl RecordStore for LocalStorage {
    async fn describe(&self, set: &SetRef) -> Result<SetInfo> {
        let doing = format!("look at {} in {}", set.name, self.name);
        let count = match &self.source {
            Source::Folder(root) => {
                let (root, wanted) = (root.clone(), Wanted::parse(&set.name));
                let found = blocking(move || look(&doing, &root, &wanted)).await?;
                if let Some(Found { users, entries, bytes, invalid }) = &found {
                    tracing::info!(
                        "{}: {entries} entries of {users} users, {bytes} bytes, {invalid} no JSON",
                        self.name
                    );
                }
                found.map(|found| found.entries)
            }
            Source::Http(store, exports) => {
                store.describe(exports).await?;
                None
            }
        };
        Ok(SetInfo { count, fields: fields(), ..SetInfo::default() })
    }

    async fn read(&self, set: &SetRef, from: &Cursor, limit: u32) -> Result<Page> {
        self.page(&format!("read {} from {}", set.name, self.name), set, None, from, limit).await
    }

    async fn changes(&self, set: &SetRef, since: Timestamp, from: &Cursor, limit: u32) -> Result<Page> {
        let doing = format!("read changes since {since} of {} from {}", set.name, self.name);
        if set.updated.is_none() {
            return Err(Fault::new(FaultKind::Plan, doing).detail("the dataset names no `updated` field"));
        }
        self.page(&doing, set, Some(since), from, limit).await
    }

    async fn fetch(&self, set: &SetRef, keys: &[Key]) -> Result<Vec<Record>> {
        let doing = format!("fetch {} entries of {} from {}", keys.len(), set.name, self.name);
        let users: BTreeSet<String> = keys.iter().filter_map(|key| user_of(&key.0)).collect();
        let wanted = Wanted::parse(&set.name);
        let records: Vec<Record> = match &self.source {
            Source::Folder(root) => {
                let root = root.clone();
                let exports = move || {
                    let exports = users.iter().map(|user| folder::export(&doing, &root, user));
                    Ok(exports
                        .collect::<Result<Vec<_>>>()?
                        .into_iter()
                        .flatten()
                        .flat_map(|export| export.records(&wanted))
                        .collect())
                };
                blocking(exports).await?
            }
            Source::Http(store, exports) => {
                let users: Vec<Key> = users.into_iter().map(Key).collect();
                let rows = store.fetch(exports, &users).await?;
                rows.iter().filter_map(Export::of_row).flat_map(|export| export.records(&wanted)).collect()
            }
        };
        let asked: HashSet<&str> = keys.iter().map(|key| key.0.as_str()).collect();
        Ok(records.into_iter().filter(|record| asked.contains(id_of(record).as_str())).collect())
    }

    async fn write(&self, _set: &SetRef, _records: &[Record]) -> Result<Vec<WriteOutcome>> {
        self.read_only("write to")
    }

    async fn delete(&self, _set: &SetRef, _keys: &[Key]) -> Result<()> {
        self.read_only("delete in")
    }
}
