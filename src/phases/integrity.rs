//! Is the source whole: records without a key, two records under one key, references that lead nowhere, and files that
//! are missing or not what their record says.
//!
//! The source is alive while it is read: a record may come twice because another one was deleted, and a reference may
//! point to a record that was made after its set was read. Whatever looks wrong is therefore asked for once more by key
//! before it counts.

mod loose;

pub(super) use loose::file_sets;

use crate::{
    engine::StepContext,
    error::{FaultKind, Result},
    migrate::Mapping,
    model::{Check, Digest, Key, Record},
    phases::{
        examine::{bytes, count, verdict},
        gather::{self, Pages, Side, patiently},
    },
    plan::{BlobPlan, BucketPlan, DatasetPlan, Plan},
    ports::BlobStore,
};
use futures::{StreamExt, stream};
use sha2::{Digest as _, Sha256};
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

/// Suspects asked for at once.
const ASKED: usize = 100;
/// Files whose bytes are read and hashed; of all others only the length is asked.
const HASHED: usize = 25;
/// Files longer than this are not hashed here: the copy does that anyway.
const LONG: u64 = 16 * 1024 * 1024;

/// What was found wrong, with the first example.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Wrong {
    /// How many.
    pub(super) count: u64,
    /// The first.
    pub(super) first: String,
}

impl Wrong {
    fn add(&mut self, example: impl FnOnce() -> String) {
        if self.count == 0 {
            self.first = example();
        }
        self.count += 1;
    }
}

/// One check per dataset on its records.
pub(super) async fn records(cx: &StepContext) -> Result<Vec<Check>> {
    let mut known: HashMap<&str, HashSet<Key>> = HashMap::new();
    let mut checks = Vec::new();
    for dataset in &cx.plan.datasets {
        let side = gather::legacy(cx, dataset)?;
        cx.report.note(None, format!("reads {} of {}", dataset.name, side.name));
        let mut scan = Scan::new(dataset);
        let mut pages = Pages::new(cx, &side);
        while let Some(page) = pages.next().await? {
            scan.take(&page, &known);
        }
        scan.confirm(cx, &side).await?;
        let allowed = cx.plan.may_fail(&dataset.lane(), Some(scan.digests.len() as u64)).unwrap_or_default();
        checks.extend(scan.checks(allowed));
        if cx.plan.datasets.iter().any(|other| other.needs.contains(&dataset.name)) {
            known.insert(&dataset.name, scan.digests.into_keys().collect());
        }
    }
    Ok(checks)
}

/// The field by which a record refers to a dataset: `users` → `user_id`.
pub(super) fn reference(dataset: &str) -> String {
    let singular = match (dataset.strip_suffix("ies"), dataset.strip_suffix('s')) {
        (Some(stem), _) => format!("{stem}y"),
        (None, Some(stem)) => stem.to_owned(),
        (None, None) => dataset.to_owned(),
    };
    format!("{singular}_id")
}

/// What is known of a dataset while it is read.
struct Scan<'a> {
    dataset: &'a DatasetPlan,
    references: Vec<(&'a str, String)>,
    rows: u64,
    digests: HashMap<Key, Digest>,
    keyless: u64,
    twice: HashSet<Key>,
    /// Target dataset and key → the record that refers to it.
    nowhere: BTreeMap<(&'a str, Key), Key>,
    doubled: Wrong,
    dangling: Wrong,
}

impl<'a> Scan<'a> {
    fn new(dataset: &'a DatasetPlan) -> Self {
        Self {
            dataset,
            references: dataset.needs.iter().map(|needed| (needed.as_str(), reference(needed))).collect(),
            rows: 0,
            digests: HashMap::new(),
            keyless: 0,
            twice: HashSet::new(),
            nowhere: BTreeMap::new(),
            doubled: Wrong::default(),
            dangling: Wrong::default(),
        }
    }

    fn take(&mut self, page: &[Record], known: &HashMap<&str, HashSet<Key>>) {
        for record in page {
            self.rows += 1;
            let Some(key) = record.key(&self.dataset.key) else {
                self.keyless += 1;
                continue;
            };
            for (needed, field) in &self.references {
                let Some(to) = record.key(field) else { continue };
                if known.get(needed).is_some_and(|keys| !keys.contains(&to)) {
                    self.nowhere.insert((needed, to), key.clone());
                }
            }
            let digest = record.digest();
            if self.digests.insert(key.clone(), digest).is_some_and(|before| before != digest) {
                self.twice.insert(key);
            }
        }
    }

    /// Asks once more for everything that looked wrong.
    async fn confirm(&mut self, cx: &StepContext, side: &Side) -> Result<()> {
        let suspects: Vec<Key> = self.twice.drain().collect();
        for keys in suspects.chunks(ASKED) {
            let mut found: HashMap<Key, u64> = HashMap::new();
            for record in fetch(cx, side, keys).await? {
                *found.entry(record.key(&self.dataset.key).unwrap_or(Key(String::new()))).or_default() += 1;
            }
            for (key, _) in found.into_iter().filter(|(_, times)| *times > 1) {
                self.doubled.add(|| key.0);
            }
        }
        for (needed, field) in &self.references {
            let Some(parent) = cx.plan.datasets.iter().find(|dataset| dataset.name == *needed) else { continue };
            let parents = gather::legacy(cx, parent)?;
            let lost: Vec<(Key, Key)> = self
                .nowhere
                .iter()
                .filter(|((of, _), _)| of == needed)
                .map(|((_, to), from)| (to.clone(), from.clone()))
                .collect();
            for pairs in lost.chunks(ASKED) {
                let keys: Vec<Key> = pairs.iter().map(|(to, _)| to.clone()).collect();
                let there: HashSet<Key> =
                    fetch(cx, &parents, &keys).await?.iter().filter_map(|record| record.key(&parent.key)).collect();
                for (to, from) in pairs.iter().filter(|(to, _)| !there.contains(to)) {
                    self.dangling.add(|| format!("{from} has {field} {to}"));
                }
            }
        }
        Ok(())
    }

    fn checks(&self, allowed: u64) -> Vec<Check> {
        let name = &self.dataset.name;
        let sound = self.keyless == 0 && self.doubled.count == 0;
        let value = if sound {
            format!("{}, each with its own key", count(self.rows, "record"))
        } else {
            format!(
                "{} without a key, {} under a key of another one ({})",
                self.keyless, self.doubled.count, self.doubled.first
            )
        };
        let mut checks =
            vec![verdict(format!("{name} keys"), sound, value, "mend these records on the legacy side, then retry")];
        if !self.references.is_empty() {
            let value = match self.dangling.count {
                0 => "all lead somewhere".into(),
                lost => format!("{lost} lead nowhere: {}", self.dangling.first),
            };
            let remedy = "mend these references on the legacy side, or raise migration.max_failures";
            checks.push(
                verdict(format!("{name} references"), self.dangling.count <= allowed, value, remedy)
                    .limit(allowed.to_string()),
            );
        }
        checks
    }
}

async fn fetch(cx: &StepContext, side: &Side, keys: &[Key]) -> Result<Vec<Record>> {
    let doing = format!("read {} of {} from {}", count(keys.len() as u64, "record"), side.set.name, side.name);
    patiently(cx, &doing, || side.store.fetch(&side.set, keys)).await
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

#[cfg(test)]
mod tests {
    use super::reference;

    #[test]
    fn a_reference_is_the_singular() {
        for (dataset, field) in [("users", "user_id"), ("companies", "company_id"), ("staff", "staff_id")] {
            assert_eq!(reference(dataset), field);
        }
    }
}
