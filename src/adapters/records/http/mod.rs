//! Records behind a REST endpoint.
//!
//! `shape` knows what answers say and requests bring, by the places and templates of the plan; `spot` where to read on;
//! `pages` asks page after page by it, `numbered` where pages have numbers; `wire` sends; `lines` are rows of which nothing is made yet. Values are kept as they are written by `exact`, beside this folder. This file is the port.
//! Must never enter: retries, and how pages are found.

mod lines;
mod numbered;
mod pages;
mod shape;
mod spot;
mod wire;

use crate::{
    error::{Fault, FaultKind, Result},
    model::{Field, Key, Record, Timestamp},
    plan::{HttpPlan, KEYS, RECORDS},
    ports::{BlockPage, BlockSource, Cursor, Dialect, Form, Page, RecordStore, SetInfo, SetRef, Shape, WriteOutcome},
};
use async_trait::async_trait;
use lines::{JsonLines, Line};
use pages::{Asking, Came, Pages};
use serde_json::Value as Json;
use shape::{Outgoing, Row, outcomes};
use spot::Spot;
use std::collections::HashSet;
use wire::Wire;

/// Keys in one request: an address must stay short enough for every server on the way.
const KEYS_AT_ONCE: usize = 100;

/// A REST endpoint.
#[derive(Debug)]
pub struct HttpStore {
    name: String,
    wire: Wire,
    writing: Outgoing,
    deleting: Outgoing,
}

impl HttpStore {
    /// The store of this name in the plan. Connects to nothing yet.
    ///
    /// # Errors
    /// If no HTTP client can be made on this machine.
    pub fn new(name: &str, plan: HttpPlan) -> Result<Self> {
        Ok(Self {
            name: name.to_owned(),
            writing: Outgoing::new(&plan.write.send, RECORDS),
            deleting: Outgoing::new(&plan.delete.send, KEYS),
            wire: Wire::new(plan)?,
        })
    }

    async fn page<R: Row>(
        &self,
        doing: &str,
        set: &SetRef,
        filter: Option<(&str, &str)>,
        from: &Cursor,
        limit: u32,
    ) -> Result<Came<R>> {
        let spot = Spot::parse(from, self.wire.plan().pagination, limit)?;
        let doing = match from.0 {
            Some(_) => format!("{doing} at {spot}"),
            None => doing.to_owned(),
        };
        Pages { wire: &self.wire, asking: Asking { doing: &doing, set, filter, limit } }.read(spot).await
    }

    /// The answer to a change.
    async fn change(
        &self,
        doing: &str,
        set: &SetRef,
        outgoing: &Outgoing,
        body: serde_json::Result<Vec<u8>>,
    ) -> Result<Option<Json>> {
        let body = body.map_err(|error| Fault::new(FaultKind::Internal, doing).source(error))?;
        let header = &self.wire.plan().write.idempotency_header;
        let answer = self.wire.send(doing, &outgoing.method, &outgoing.path(&set.name)?, body, header).await?;
        if answer.body.is_empty() { Ok(None) } else { answer.json(doing).map(Some) }
    }
}

#[async_trait]
impl BlockSource for HttpStore {
    fn dialect(&self) -> &'static dyn Dialect {
        &JsonLines
    }

    async fn shape(&self, set: &SetRef) -> Result<Shape> {
        let doing = format!("look at {} in {}", set.name, self.name);
        let first = self.page::<Line>(&doing, set, None, &Cursor::START, 1).await?.rows;
        if first.is_empty() {
            return Ok(Shape::default());
        }
        let block = lines::block(&first, &set.key).map_err(|why| Fault::new(FaultKind::Refused, doing).detail(why))?;
        Ok(Shape { columns: block.columns, types: None })
    }

    /// The answer's length has a limit of its own.
    async fn read_block(
        &self,
        set: &SetRef,
        from: &Cursor,
        rows: u32,
        _bytes: usize,
        _form: Form,
    ) -> Result<BlockPage> {
        let doing = format!("read {} from {}", set.name, self.name);
        let Came { rows, next, total, as_of, .. } = self.page::<Line>(&doing, set, None, from, rows).await?;
        let block = lines::block(&rows, &set.key).map_err(|why| Fault::new(FaultKind::Refused, doing).detail(why))?;
        Ok(BlockPage { block, next, total, as_of })
    }
}

#[async_trait]
impl RecordStore for HttpStore {
    async fn describe(&self, set: &SetRef) -> Result<SetInfo> {
        let doing = format!("look at {} in {}", set.name, self.name);
        let page = self.page::<Record>(&doing, set, None, &Cursor::START, 1).await?;
        let fields = page.rows.first().map(|record| record.0.keys().map(Field::named).collect()).unwrap_or_default();
        // Nobody can tell without writing, and refusing here would block an endpoint that takes writes.
        Ok(SetInfo { count: page.total, fields, writable: true, ..SetInfo::default() })
    }

    fn block_source(&self) -> Option<&dyn BlockSource> {
        Some(self)
    }

    async fn read(&self, set: &SetRef, from: &Cursor, limit: u32) -> Result<Page> {
        let doing = format!("read {} from {}", set.name, self.name);
        Ok(self.page::<Record>(&doing, set, None, from, limit).await?.into())
    }

    async fn changes(&self, set: &SetRef, since: Timestamp, from: &Cursor, limit: u32) -> Result<Page> {
        let doing = format!("read changes since {since} of {} from {}", set.name, self.name);
        if set.updated.is_none() {
            return Err(Fault::new(FaultKind::Plan, doing).detail("the dataset names no `updated` field"));
        }
        let name = &self.wire.plan().read.parameters.updated_since;
        let page = self.page::<Record>(&doing, set, Some((name, &since.to_string())), from, limit).await?;
        // The endpoint counted what the filter left, not the whole set.
        Ok(Page { total: None, ..page.into() })
    }

    async fn count_changes(&self, set: &SetRef, since: Timestamp) -> Result<Option<u64>> {
        let doing = format!("count changes since {since} of {} in {}", set.name, self.name);
        let name = &self.wire.plan().read.parameters.updated_since;
        Ok(self.page::<Record>(&doing, set, Some((name, &since.to_string())), &Cursor::START, 1).await?.total)
    }

    async fn fetch(&self, set: &SetRef, keys: &[Key]) -> Result<Vec<Record>> {
        let name = &self.wire.plan().read.parameters.keys;
        let mut found = Vec::with_capacity(keys.len());
        for keys in keys.chunks(KEYS_AT_ONCE) {
            let doing = format!("fetch {} records of {} from {}", keys.len(), set.name, self.name);
            if let Some(key) = keys.iter().find(|key| key.0.contains(',')) {
                let detail = format!("the key {key} has a comma in it, which parts keys in the parameter `{name}`");
                return Err(Fault::new(FaultKind::Refused, doing).detail(detail));
            }
            let ids = keys.iter().map(|key| key.0.as_str()).collect::<Vec<_>>().join(",");
            let wanted: HashSet<&Key> = keys.iter().collect();
            let limit = u32::try_from(keys.len()).unwrap_or(u32::MAX);
            let mut from = Cursor::START;
            loop {
                let page = self.page::<Record>(&doing, set, Some((name, &ids)), &from, limit).await?;
                // An endpoint that does not know the filter gives others as well.
                found
                    .extend(page.rows.into_iter().filter(|r| r.key(&set.key).is_some_and(|key| wanted.contains(&key))));
                match page.next {
                    Some(next) => from = next,
                    None => break,
                }
            }
        }
        Ok(found)
    }

    async fn write(&self, set: &SetRef, records: &[Record]) -> Result<Vec<WriteOutcome>> {
        if records.is_empty() {
            return Ok(Vec::new());
        }
        let doing = format!("write {} records to {} in {}", records.len(), set.name, self.name);
        // Of one without a key an endpoint would make a new row each time.
        let (keys, keyed): (Vec<Key>, Vec<&Record>) =
            records.iter().filter_map(|record| Some((record.key(&set.key)?, record))).unzip();
        let mut told = if keyed.is_empty() {
            Vec::new()
        } else {
            let said = self.change(&doing, set, &self.writing, self.writing.records(&keyed)).await?.unwrap_or_default();
            outcomes(&doing, &self.wire.plan().write, &said, &keys)?
        }
        .into_iter();
        let keyless = || WriteOutcome::Rejected(format!("it has no {}", set.key));
        let outcome = |record: &Record| match record.key(&set.key) {
            Some(_) => told.next(),
            None => Some(keyless()),
        };
        Ok(records.iter().filter_map(outcome).collect())
    }

    async fn delete(&self, set: &SetRef, keys: &[Key]) -> Result<()> {
        if keys.is_empty() {
            return Ok(());
        }
        let doing = format!("delete {} records of {} in {}", keys.len(), set.name, self.name);
        let said = self.change(&doing, set, &self.deleting, self.deleting.keys(keys)).await?;
        let place = &self.wire.plan().delete.deleted;
        if place.is_empty() || said.as_ref().and_then(|said| said.pointer(place)).is_some_and(Json::is_u64) {
            return Ok(());
        }
        Err(Fault::new(FaultKind::Garbage, doing).detail("the answer does not say how many were deleted"))
    }
}
