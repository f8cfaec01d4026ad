//! Is the source whole: records without a key, two records under one key, references that lead nowhere, and files that
//! are missing or not what their record says.
//!
//! Keys and references are looked at as on the new side after the copy (`migrate::relations`).

mod loose;

pub(super) use loose::file_sets;

use crate::{
    engine::StepContext,
    error::{FaultKind, Result},
    migrate::{
        Mapping,
        relations::{Relations, Subject, Wrong},
    },
    model::{Check, Digest, Key, Record},
    phases::{
        examine::{bytes, count, verdict},
        gather::{self, Pages, patiently},
    },
    plan::{BlobPlan, BucketPlan, DatasetPlan, Plan},
    ports::BlobStore,
};
use futures::{StreamExt, stream};
use sha2::{Digest as _, Sha256};
use std::sync::Arc;

/// Files whose bytes are read and hashed; of all others only the length is asked.
const HASHED: usize = 25;
/// Files longer than this are not hashed here: the copy does that anyway.
const LONG: u64 = 16 * 1024 * 1024;

/// One check per dataset on its records.
pub(super) async fn records(cx: &StepContext) -> Result<Vec<Check>> {
    let mut checks = Vec::new();
    for dataset in &cx.plan.datasets {
        let subject = Subject::legacy(cx, dataset)?;
        cx.report.note(None, format!("reads {} of {}", dataset.name, dataset.from.store));
        let found = subject.look(None).await?;
        checks.push(keys(dataset, &found));
        if subject.refers() {
            let allowed = cx.plan.may_fail(&dataset.lane(), Some(found.records)).unwrap_or_default();
            checks.push(references(dataset, &found, allowed));
        }
    }
    Ok(checks)
}

fn keys(dataset: &DatasetPlan, found: &Relations) -> Check {
    let sound = found.keyless == 0 && found.doubled.count == 0;
    let value = if sound {
        format!("{}, each with its own key", count(found.records, "record"))
    } else {
        let Wrong { count, first } = &found.doubled;
        format!("{} without a key, {count} under a key of another one ({first})", found.keyless)
    };
    verdict(format!("{} keys", dataset.name), sound, value, "mend these records on the legacy side, then retry")
}

fn references(dataset: &DatasetPlan, found: &Relations, allowed: u64) -> Check {
    let Wrong { count, first } = &found.dangling;
    let mut value = match count {
        0 => "all lead somewhere".to_owned(),
        lost => format!("{lost} lead nowhere: {first}"),
    };
    if !found.unchecked.is_empty() {
        value = format!("{value}; not looked at: {}", found.unchecked.join(", "));
    }
    let remedy = "mend these references on the legacy side, or raise migration.max_failures";
    verdict(format!("{} references", dataset.name), *count <= allowed, value, remedy).limit(allowed.to_string())
}

/// One check per dataset on the bytes behind its records: each file is there and as long as its record says; of the
/// first ones the SHA-256 is compared too.
pub(super) async fn files(cx: &StepContext) -> Result<Vec<Check>> {
    let mut checks = Vec::new();
    for dataset in &cx.plan.datasets {
        let Some(blob) = &dataset.blob else { continue };
        let (side, bucket) = (gather::legacy(cx, dataset)?, cx.ports.bucket(&blob.from)?);
        let named = Mapping::new(dataset)?;
        let mut found = Found::default();
        let mut pages = Pages::new(cx, &side);
        while let Some(page) = pages.next().await? {
            let seen: Vec<Result<(Key, Seen)>> = stream::iter(page)
                .map(|record| look(cx, &bucket, &named, blob, record))
                .buffer_unordered(usize::try_from(cx.plan.migration.concurrency).unwrap_or(1).max(1))
                .collect()
                .await;
            for seen in seen {
                let (key, seen) = seen?;
                found.take(&key, seen);
            }
            found.hash(cx, &bucket).await?;
            cx.report.note(None, format!("{} looked at", count(found.files, "file")));
        }
        let allowed = cx.plan.may_fail(&dataset.blob_lane(), Some(found.files)).unwrap_or_default();
        let wrong = found.wrong.count;
        let value = match wrong {
            0 => format!("{}, {}, {} hashed", count(found.files, "file"), bytes(found.bytes), found.hashed),
            wrong => format!("{wrong} of {} wrong: {}", found.files, found.wrong.first),
        };
        let remedy = "restore these files on the legacy side, or raise migration.max_failures";
        checks.push(
            verdict(format!("{} content", dataset.name), wrong <= allowed, value, remedy).limit(allowed.to_string()),
        );
    }
    Ok(checks)
}

/// The longest key that a bucket of the plan takes.
fn longest_key(plan: &Plan, bucket: &str) -> Option<usize> {
    plan.buckets.get(bucket).and_then(BucketPlan::longest_key)
}

/// Why a key is too long for its bucket, if it is.
fn longer_than(longest: Option<usize>, key: &str) -> Option<String> {
    let longest = longest.filter(|longest| key.len() > *longest)?;
    Some(format!("its new key has {} bytes, the bucket takes {longest}", key.len()))
}

/// What a look at one file brought.
enum Seen {
    /// There, as long as it should be; with the SHA-256 its record names.
    Whole { path: String, size: u64, sha256: Option<Digest> },
    /// Not as it should be.
    Wrong(String),
}

async fn look(
    cx: &StepContext,
    bucket: &Arc<dyn BlobStore>,
    named: &Mapping,
    blob: &BlobPlan,
    record: Record,
) -> Result<(Key, Seen)> {
    let key = named.key(&record).unwrap_or(Key("?".into()));
    let Some(path) = record.text(&blob.path).filter(|path| !path.is_empty()) else {
        return Ok((key, Seen::Wrong(format!("its record has no {}", blob.path))));
    };
    let doing = format!("look at {path} in {}", blob.from);
    let info = match patiently(cx, &doing, || bucket.head(&path)).await {
        Ok(info) => info,
        // A path that no bucket may have is the record's fault.
        Err(fault) if fault.kind == FaultKind::Refused => return Ok((key, Seen::Wrong(fault.chain()))),
        Err(fault) => return Err(fault),
    };
    let Some(info) = info else { return Ok((key, Seen::Wrong(format!("{path} is missing")))) };
    if let Some(long) = longer_than(longest_key(&cx.plan, &blob.to), &named.blob_key(&record).unwrap_or_default()) {
        return Ok((key, Seen::Wrong(format!("{path}: {long}"))));
    }
    let told = blob.size.as_ref().and_then(|field| record.text(field)).and_then(|size| size.parse::<u64>().ok());
    if told.is_some_and(|told| told != info.size) {
        let told = told.unwrap_or_default();
        return Ok((key, Seen::Wrong(format!("{path} has {} bytes, its record says {told}", info.size))));
    }
    let sha256 = blob.sha256.as_ref().and_then(|field| record.text(field)).and_then(|hex| Digest::from_hex(&hex));
    Ok((key, Seen::Whole { path, size: info.size, sha256 }))
}

/// What was found in a dataset's files.
#[derive(Default)]
struct Found {
    files: u64,
    bytes: u64,
    hashed: usize,
    wrong: Wrong,
    to_hash: Vec<(Key, String, Digest)>,
}

impl Found {
    fn take(&mut self, key: &Key, seen: Seen) {
        self.files += 1;
        match seen {
            Seen::Wrong(what) => self.wrong.add(|| format!("{key}: {what}")),
            Seen::Whole { path, size, sha256 } => {
                self.bytes += size;
                if let Some(sha256) = sha256.filter(|_| size <= LONG && self.hashed + self.to_hash.len() < HASHED) {
                    self.to_hash.push((key.clone(), path, sha256));
                }
            }
        }
    }

    async fn hash(&mut self, cx: &StepContext, bucket: &Arc<dyn BlobStore>) -> Result<()> {
        for (key, path, told) in std::mem::take(&mut self.to_hash) {
            let doing = format!("read {path}");
            let is = patiently(cx, &doing, || sha256(bucket, &path)).await?;
            self.hashed += 1;
            if is != told {
                self.wrong.add(|| format!("{key}: the bytes of {path} are not those its record names"));
            }
        }
        Ok(())
    }
}

async fn sha256(bucket: &Arc<dyn BlobStore>, path: &str) -> Result<Digest> {
    let mut body = bucket.open(path, 0).await?.bytes;
    let mut hash = Sha256::new();
    while let Some(piece) = body.next().await {
        hash.update(&piece?);
    }
    Ok(Digest(hash.finalize().into()))
}
