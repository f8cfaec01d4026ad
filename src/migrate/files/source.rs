//! Where a lane learns which files there are: a dataset's records, or what a bucket holds under a prefix.
//!
//! Must never enter: the ledger, and what becomes of a file.

use super::{FileEntry, FileFacts, FileLane, NO_BLOB};
use crate::{
    error::{Fault, FaultKind, Result},
    migrate::{
        lane::{Lane, Which},
        records::{fingerprint, passes::held_back},
    },
    model::Timestamp,
    plan::{BlobPlan, FileSetPlan},
    ports::{BlobInfo, BlobStore, Cursor, Found},
};
use futures::{
    StreamExt, TryStreamExt,
    stream::{self, BoxStream},
};
use serde_json::{Value, json};
use std::{collections::HashSet, sync::Arc, time::Duration};

/// Blobs on a page of a listing.
const PAGE: u32 = 1000;
/// Pages of a scan that are taken together, if they have come.
const TOGETHER: usize = 2;
/// How the keys begin that the program uses for itself, in every bucket.
const OWN: &str = ".cutover-";

/// Where a lane learns which files there are.
pub(crate) enum Source<'a> {
    /// From a dataset's records.
    Records {
        /// Both sides of the dataset.
        lane: Box<Lane<'a>>,
        /// What the plan says of the files.
        blob: &'a BlobPlan,
    },
    /// From the legacy bucket itself.
    Listing(&'a FileSetPlan),
}

/// Some of the files of a source.
pub(crate) struct Listed {
    /// The files.
    pub(crate) entries: Vec<FileEntry>,
    /// How far the listing is, as the ledger keeps it; `None` if it can only begin anew.
    pub(crate) standing: Option<Value>,
    /// The source's clock, if it has one.
    pub(crate) as_of: Option<Timestamp>,
}

/// Some of what a bucket holds, and where its listing goes on, if it can.
type FoundPage = (Vec<Found>, Option<Option<String>>);

impl<'a> FileLane<'a> {
    /// Whether the bucket says which files there are, and nobody what they must be.
    pub(crate) const fn is_listing(&self) -> bool {
        matches!(self.source, Source::Listing(_))
    }

    /// How long before the source's clock a change of it may become visible.
    pub(crate) const fn overlap(&self) -> Duration {
        match &self.source {
            Source::Records { lane, .. } => lane.dataset.overlap,
            Source::Listing(_) => Duration::ZERO,
        }
    }

    /// Since when a transaction of the source of its records is open, if one is.
    pub(crate) async fn held_back(&self) -> Result<Option<Timestamp>> {
        match &self.source {
            Source::Records { lane, .. } => held_back(lane, &lane.old).await,
            Source::Listing(_) => Ok(None),
        }
    }

    /// The dataset whose files these are.
    ///
    /// # Errors
    /// `Internal` if they are nobody's.
    pub(crate) fn dataset(&self) -> Result<(&Lane<'a>, &'a BlobPlan)> {
        match &self.source {
            Source::Records { lane, blob } => Ok((lane, blob)),
            Source::Listing(set) => Err(Fault::new(FaultKind::Internal, format!("find the records of `{}`", set.name))),
        }
    }

    /// The files of the source. A bucket always says all of them.
    pub(crate) fn listed(&self, which: Which, from: Cursor) -> BoxStream<'_, Result<Listed>> {
        match &self.source {
            Source::Records { lane, .. } => {
                let pages = lane.pages(&lane.old, which, from, lane.cx.plan.migration.batch_records);
                let listed = pages.map_ok(|read| Listed {
                    entries: self.entries(&read.page.records),
                    standing: Some(standing(read.page.next.and_then(|next| next.0))),
                    as_of: read.page.as_of,
                });
                listed.boxed()
            }
            Source::Listing(set) => {
                let mut told = HashSet::new();
                let pages = self.found(&self.old, &set.from.prefix, from);
                let listed = pages.map_ok(move |(found, next)| Listed {
                    entries: found.into_iter().filter_map(|found| entry_of(set, found, &mut told)).collect(),
                    standing: next.map(standing),
                    as_of: None,
                });
                listed.boxed()
            }
        }
    }

    /// What one of the lane's buckets holds under a prefix. Where a page costs no more than what is on it, page by page,
    /// each asked for again where that may help; elsewhere in one go.
    fn found<'s>(
        &'s self,
        bucket: &'s Arc<dyn BlobStore>,
        prefix: &'s str,
        from: Cursor,
    ) -> BoxStream<'s, Result<FoundPage>> {
        let lane = &self.lane;
        if !bucket.pages_well() {
            let scan = Arc::clone(bucket).scan(prefix).ready_chunks(TOGETHER);
            let pages = stream::try_unfold(scan, move |mut scan| async move {
                let pages = lane.once("scan a bucket", async { Ok(scan.next().await) }).await?;
                let found = pages.map(|pages| pages.into_iter().collect::<Result<Vec<_>>>()).transpose()?;
                Ok(found.map(|found| ((found.concat(), None), scan)))
            });
            return pages.boxed();
        }
        let pages = stream::try_unfold(Some(from.0), move |from| async move {
            let Some(from) = from else { return Ok(None) };
            let doing = format!("list `{prefix}`");
            let page = lane.call(&doing, || bucket.list(prefix, from.as_deref(), PAGE)).await?;
            if page.next.is_some() && page.next == from {
                return Err(Fault::new(FaultKind::Garbage, doing).detail("the next page is this page again"));
            }
            let found = page.blobs.into_iter().map(Found::Blob).collect();
            Ok(Some(((found, Some(page.next.clone())), page.next.map(Some))))
        });
        pages.boxed()
    }

    /// The blobs that stand in the new bucket where this set goes, some at a time.
    pub(crate) fn arrived<'s>(&'s self, set: &'s FileSetPlan) -> BoxStream<'s, Result<Vec<BlobInfo>>> {
        let pages = self.found(&self.new, &set.to.prefix, Cursor::START);
        let blobs = pages.map_ok(|(found, _)| {
            let blobs = found.into_iter().filter_map(|found| match found {
                Found::Blob(blob) if !blob.key.starts_with(OWN) => Some(blob),
                Found::Blob(_) | Found::Odd { .. } => None,
            });
            blobs.collect()
        });
        blobs.boxed()
    }
}

fn standing(next: Option<String>) -> Value {
    next.map_or_else(|| json!({ "ended": true }), |next| json!({ "at": next }))
}

/// The file that a finding is. What is no blob is told of once under its name, also if two names read the same.
fn entry_of(set: &FileSetPlan, found: Found, told: &mut HashSet<u64>) -> Option<FileEntry> {
    match found {
        Found::Blob(blob) if blob.key.starts_with(OWN) => None,
        Found::Blob(blob) => {
            let rest = blob.key.strip_prefix(&set.from.prefix)?;
            let key = format!("{}{rest}", set.to.prefix);
            let mut facts = FileFacts { size: Some(blob.size), version: blob.version, ..FileFacts::default() };
            if key.is_empty() {
                facts.flaw = Some("nothing is left of its key".into());
                return Some(FileEntry { key: format!("{NO_BLOB}{}", blob.key), path: blob.key, facts });
            }
            Some(FileEntry { key, path: blob.key, facts })
        }
        Found::Odd { name, why } => told.insert(fingerprint(&name)).then(|| {
            let facts = FileFacts { flaw: Some(why), ..FileFacts::default() };
            FileEntry { key: format!("{NO_BLOB}{name}"), path: name, facts }
        }),
    }
}
