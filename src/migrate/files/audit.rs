//! Compares both sides of a lane of files for a person, at any time, also while an engine moves: keeps a verdict of each
//! file and marks no item. How far it is stands in the ledger, so that an interrupted one goes on.
//!
//! Three stages: the files of all records, what else stands in the target, what else stands in the source.

use super::{
    FileEntry, FileLane, FilesOf, Source, VerifyLevel, Which,
    compare::Finding,
    listing::{in_use, is_anothers},
};
use crate::{
    engine::StepContext,
    error::{Fault, FaultKind, Result},
    migrate::{pump::some_at_a_time, records::fingerprint},
    model::{LaneId, LaneStage, Timestamp},
    plan::{BlobPlan, FileSetPlan},
    ports::{BlobStore, Cursor, Found, ItemVerdict, VerdictQuery, VerdictRow, Work},
};
use futures::StreamExt;
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeSet, HashSet},
    sync::Arc,
};

/// Files of a page compared at once, as far as the pace allows.
const AT_ONCE: usize = 32;
/// Of an object in the target that nobody asked for.
const UNASKED: &str = "no record asks for it";
/// Of a file in the source that nobody speaks of.
const NO_RECORD: &str = "no record speaks of it";
/// How the name of a verdict begins that has no key in the target; the key in the source follows.
const IN_SOURCE: &str = "(source) ";
/// What a run keeps beside, in either bucket.
const OWN: &str = ".cutover-";

/// What a comparison of a lane's files found. Without `unasked` and `orphans` there is a file behind every count.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Audit {
    /// Which lane.
    pub lane: LaneId,
    /// How closely it looked.
    pub level: VerifyLevel,
    /// It looked at everything.
    pub complete: bool,
    /// Equal on both sides.
    pub same: u64,
    /// Other bytes.
    pub differs: u64,
    /// Not in the target.
    pub only_in_source: u64,
    /// Not in the source.
    pub only_in_target: u64,
    /// Could not be compared.
    pub error: u64,
    /// Of those only in the target: nobody asks for them.
    pub unasked: u64,
    /// Of those only in the source: no record speaks of them.
    pub orphans: u64,
    /// Why the source was not looked through for orphans; empty if it was.
    pub unlisted: String,
}

impl Audit {
    /// A record's file is not the same on both sides. What no record speaks of is no difference.
    #[must_use]
    pub const fn has_differences(&self) -> bool {
        self.differs + self.error + self.only_in_source + self.only_in_target > self.unasked + self.orphans
    }
}

/// How far a comparison is, as the ledger keeps it.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Standing {
    level: VerifyLevel,
    stage: Stage,
    unasked: u64,
    orphans: u64,
    unlisted: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Stage {
    /// The files of records, from this cursor on.
    Files(Option<String>),
    Target,
    Source,
    Done,
}

/// Compares the lane's files with what the target holds. Goes on with an interrupted comparison of the same level unless
/// asked to begin `again`.
///
/// # Errors
/// What a port says after all attempts; `Cancelled` when stopped. Differences are no error: they are in the result.
pub async fn audit<'a>(
    cx: &'a StepContext,
    files: impl Into<FilesOf<'a>>,
    level: VerifyLevel,
    again: bool,
) -> Result<Audit> {
    of_lane(&FileLane::of(cx, files.into(), LaneStage::Verifying)?, level, again).await
}

async fn of_lane(files: &FileLane<'_>, level: VerifyLevel, again: bool) -> Result<Audit> {
    let (lane, cx) = (&files.lane, files.lane.cx);
    let begun = lane.once("ask the ledger", standing(cx.work.as_ref(), &lane.id)).await?;
    let goes_on = |begun: &Standing| !again && begun.level == level && begun.stage != Stage::Done;
    let standing = if let Some(begun) = begun.filter(goes_on) {
        begun
    } else {
        let stage = Stage::Files(None);
        let fresh = Standing { level, stage, unasked: 0, orphans: 0, unlisted: String::new() };
        // A process that dies in between begins anew.
        lane.note("verify", &serde_json::Value::Null).await?;
        lane.once("forget earlier verdicts", cx.work.forget_verdicts(&lane.id)).await?;
        keep(files, &fresh).await?;
        fresh
    };
    Auditor { files, standing }.all().await?;
    let found = lane.once("ask the ledger for verdicts", audited(cx.work.as_ref(), &lane.id)).await?;
    found.ok_or_else(|| Fault::new(FaultKind::Internal, format!("find the verdicts of {}", lane.id)))
}

/// What the kept verdicts of a lane say, without comparing; `None` if it was never compared.
///
/// # Errors
/// What the ledger says.
pub async fn audited(work: &dyn Work, lane: &LaneId) -> Result<Option<Audit>> {
    let Some(standing) = standing(work, lane).await? else { return Ok(None) };
    let sums = work.verdict_sums(lane).await?;
    let sum = |of: ItemVerdict| sums.iter().find(|(verdict, _)| *verdict == of).map_or(0, |(_, sum)| *sum);
    Ok(Some(Audit {
        lane: lane.clone(),
        level: standing.level,
        complete: standing.stage == Stage::Done,
        same: sum(ItemVerdict::Same),
        differs: sum(ItemVerdict::Differs),
        only_in_source: sum(ItemVerdict::OnlyInSource),
        only_in_target: sum(ItemVerdict::OnlyInTarget),
        error: sum(ItemVerdict::Error),
        unasked: standing.unasked,
        orphans: standing.orphans,
        unlisted: standing.unlisted,
    }))
}

async fn standing(work: &dyn Work, lane: &LaneId) -> Result<Option<Standing>> {
    let noted = work.noted(&format!("verify:{lane}")).await?;
    // One that an earlier version wrote begins anew.
    Ok(noted.and_then(|noted| serde_json::from_value(noted).ok()))
}

async fn keep(files: &FileLane<'_>, standing: &Standing) -> Result<()> {
    let noted = serde_json::to_value(standing).unwrap_or_default();
    files.lane.note("verify", &noted).await
}

struct Auditor<'a> {
    files: &'a FileLane<'a>,
    standing: Standing,
}

impl Auditor<'_> {
    async fn all(mut self) -> Result<()> {
        if let Stage::Files(from) = self.standing.stage.clone() {
            self.files(Cursor(from)).await?;
            self.reached(Stage::Target).await?;
        }
        if self.standing.stage == Stage::Target {
            self.standing.unasked = self.target().await?;
            self.reached(Stage::Source).await?;
        }
        if self.standing.stage == Stage::Source {
            match self.source().await {
                Ok(orphans) => self.standing.orphans = orphans,
                Err(fault) if fault.kind == FaultKind::Refused => self.standing.unlisted = fault.chain(),
                Err(fault) => return Err(fault),
            }
            self.reached(Stage::Done).await?;
        }
        Ok(())
    }

    async fn reached(&mut self, stage: Stage) -> Result<()> {
        self.standing.stage = stage;
        keep(self.files, &self.standing).await
    }

    /// The files of all records. Page after page, since only then one cursor says what is done.
    async fn files(&mut self, from: Cursor) -> Result<()> {
        let lane = &self.files.lane;
        let mut count = 0;
        let mut pages = self.files.listed(Which::All, from);
        while let Some(listed) = pages.next().await {
            let listed = listed?;
            count += listed.entries.len();
            let found = self.compare(listed.entries).await?;
            self.judge(found).await?;
            // A listing that can only begin anew does.
            if let Some(next) = listed.standing.as_ref().and_then(|standing| standing.get("at")?.as_str()) {
                self.reached(Stage::Files(Some(next.to_owned()))).await?;
            }
            lane.cx.report.note(None, format!("{}: {count} files compared", lane.id));
        }
        Ok(())
    }

    async fn compare(&self, entries: Vec<FileEntry>) -> Result<Vec<(String, Finding)>> {
        let (files, level) = (self.files, self.standing.level);
        let items = files.lane.items_of(entries.iter().map(|entry| entry.key.clone()).collect()).await?;
        let compare = |entry: FileEntry| {
            let other = items.get(&entry.key).filter(|item| is_anothers(item, &entry));
            let entry = other.map_or_else(|| entry.clone(), |other| in_use(entry.clone(), &other.source));
            let item = items.get(&entry.key);
            async move {
                let _place = files.gear.pace.place().await;
                let finding = files.compare(&entry, item, level).await?;
                files.gear.pace.moved(1, 0);
                Ok((entry.key, finding))
            }
        };
        some_at_a_time(AT_ONCE, entries.into_iter().map(compare).collect()).await
    }

    async fn judge(&self, found: Vec<(String, Finding)>) -> Result<()> {
        let lane = &self.files.lane;
        let row = |(key, finding): (String, Finding)| VerdictRow {
            lane: lane.id.clone(),
            key,
            verdict: finding.verdict,
            detail: finding.detail,
            at: Timestamp::now(),
        };
        let rows: Vec<VerdictRow> = found.into_iter().map(row).collect();
        if rows.is_empty() {
            return Ok(());
        }
        lane.once("keep verdicts", lane.cx.work.judge(&rows)).await
    }

    /// Objects below the keys' common beginning that nobody asks for.
    async fn target(&self) -> Result<u64> {
        let (beginning, bucket) = match &self.files.source {
            Source::Records { blob, .. } => (common_beginning(&blob.key), &blob.to),
            Source::Listing(set) => (set.to.prefix.as_str(), &set.to.bucket),
        };
        let siblings = self.siblings(|blob| &blob.to == bucket, |set| &set.to.bucket == bucket)?;
        let mut unasked = 0;
        let mut pages = Scan::new(self.files, &self.files.new, beginning);
        while let Some(found) = pages.next("target").await? {
            let mut keys: BTreeSet<String> = found.into_iter().filter_map(blob).collect();
            for sibling in &siblings {
                for key in sibling.lane.items_of(keys.iter().cloned().collect()).await?.into_keys() {
                    keys.remove(&key);
                }
            }
            for key in self.asked_for(&keys).await? {
                keys.remove(&key);
            }
            unasked += keys.len() as u64;
            let finding = |key| (key, Finding::new(ItemVerdict::OnlyInTarget, UNASKED));
            self.judge(keys.into_iter().map(finding).collect()).await?;
        }
        Ok(unasked)
    }

    /// Those of these keys that a record was seen to ask for.
    async fn asked_for(&self, keys: &BTreeSet<String>) -> Result<Vec<String>> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let lane = &self.files.lane;
        let limit = u32::try_from(keys.len()).unwrap_or(u32::MAX);
        let query = VerdictQuery { keys: keys.iter().cloned().collect(), limit, ..VerdictQuery::default() };
        let rows = lane.once("ask the ledger for verdicts", lane.cx.work.verdicts(&lane.id, &query)).await?;
        Ok(rows.into_iter().filter(|row| row.detail != UNASKED).map(|row| row.key).collect())
    }

    /// Files in the source that no record speaks of.
    async fn source(&self) -> Result<u64> {
        let lane = &self.files.lane;
        // What the bucket itself says is there is asked for.
        let Source::Records { blob: of_records, .. } = &self.files.source else { return Ok(0) };
        let bucket = &of_records.from;
        let siblings = self.siblings(|blob| &blob.from == bucket, |set| &set.from.bucket == bucket)?;
        // Asked first: a source that cannot be listed must not cost a pass over all records.
        let mut pages = Scan::new(self.files, &self.files.old, "");
        let Some(first) = pages.next("source").await? else { return Ok(0) };
        let mut next = Some(first);
        let unlisted = self.not_listed_yet(&siblings).await?;
        let mut orphans = 0;
        while let Some(found) = next {
            let odd = found.iter().filter_map(|found| match found {
                Found::Odd { name, why } => {
                    Some((format!("{IN_SOURCE}{name}"), Finding::new(ItemVerdict::OnlyInSource, why.as_str())))
                }
                Found::Blob(_) => None,
            });
            let mut alone: Vec<(String, Finding)> = odd.collect();
            let mut paths: BTreeSet<String> = found.into_iter().filter_map(blob).collect();
            paths.retain(|path| !unlisted.contains(&fingerprint(path)));
            for sibling in &siblings {
                let asked: Vec<String> = paths.iter().cloned().collect();
                let known = lane.cx.work.sources_known(&sibling.lane.id, &asked);
                for path in lane.once("ask the ledger for sources", known).await? {
                    paths.remove(&path);
                }
            }
            let finding = |path| (format!("{IN_SOURCE}{path}"), Finding::new(ItemVerdict::OnlyInSource, NO_RECORD));
            alone.extend(paths.into_iter().map(finding));
            orphans += alone.len() as u64;
            self.judge(alone).await?;
            next = pages.next("source").await?;
        }
        Ok(orphans)
    }

    /// Fingerprints of the files of records that the ledger does not know yet: few, once the listing has ended.
    async fn not_listed_yet(&self, siblings: &[FileLane<'_>]) -> Result<HashSet<u64>> {
        let mut unlisted = HashSet::new();
        for files in siblings {
            let lane = &files.lane;
            let mut pages = files.listed(Which::All, Cursor::START);
            while let Some(listed) = pages.next().await {
                let paths: BTreeSet<String> = listed?.entries.into_iter().map(|entry| entry.path).collect();
                let asked: Vec<String> = paths.iter().cloned().collect();
                let known = lane.cx.work.sources_known(&lane.id, &asked);
                let known: BTreeSet<String> =
                    lane.once("ask the ledger for sources", known).await?.into_iter().collect();
                unlisted.extend(paths.difference(&known).map(|path| fingerprint(path)));
            }
        }
        Ok(unlisted)
    }

    /// The lanes of all datasets and file sets that share a bucket with these, this lane among them.
    fn siblings(
        &self,
        blob: impl Fn(&BlobPlan) -> bool,
        set: impl Fn(&FileSetPlan) -> bool,
    ) -> Result<Vec<FileLane<'_>>> {
        let cx = self.files.lane.cx;
        let datasets = cx.plan.datasets.iter().filter(|dataset| dataset.blob.as_ref().is_some_and(&blob));
        let of_datasets = datasets.map(|dataset| FileLane::new(cx, dataset, LaneStage::Verifying));
        let sets = cx.plan.file_sets.iter().filter(|plan| set(plan));
        of_datasets.chain(sets.map(|plan| FileLane::of_set(cx, plan, LaneStage::Verifying))).collect()
    }
}

/// A bucket's key, unless it is the run's own.
fn blob(found: Found) -> Option<String> {
    match found {
        Found::Blob(info) if !info.key.starts_with(OWN) => Some(info.key),
        _ => None,
    }
}

/// What all keys of a template begin with.
fn common_beginning(template: &str) -> &str {
    let end = ["{{", "{%", "{#"].iter().filter_map(|open| template.find(open)).min();
    template.get(..end.unwrap_or(template.len())).unwrap_or_default()
}

/// A bucket being looked through.
struct Scan<'a> {
    files: &'a FileLane<'a>,
    pages: futures::stream::BoxStream<'static, Result<Vec<Found>>>,
    seen: usize,
}

impl<'a> Scan<'a> {
    fn new(files: &'a FileLane<'a>, bucket: &Arc<dyn BlobStore>, prefix: &str) -> Self {
        Self { files, pages: Arc::clone(bucket).scan(prefix), seen: 0 }
    }

    async fn next(&mut self, side: &str) -> Result<Option<Vec<Found>>> {
        let lane = &self.files.lane;
        let page = lane.once("look through a bucket", async { self.pages.next().await.transpose() }).await?;
        self.seen += page.as_ref().map_or(0, Vec::len);
        lane.cx.report.note(None, format!("{}: {} objects of the {side} seen", lane.id, self.seen));
        Ok(page)
    }
}

#[cfg(test)]
mod tests;
