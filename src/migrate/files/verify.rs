//! Compares every file of the source with what the target holds, keeps a verdict of each, and finds what stands
//! on one side only.

use super::{FileEntry, FileFacts, FileLane, VerifyLevel, Which, compare::Finding};
use crate::{
    engine::StepContext,
    error::Result,
    migrate::{
        Verified,
        pump::{pump, some_at_a_time},
        records::{GONE, fingerprint},
    },
    model::{ItemState, LaneStage, Timestamp},
    plan::{DatasetPlan, FileSetPlan},
    ports::{Cursor, ItemQuery, ItemRow, ItemVerdict, VerdictRow},
};
use futures::StreamExt;
use std::{
    collections::{BTreeMap, HashSet},
    pin::pin,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Files of a page compared at once, as far as the pace allows.
const AT_ONCE: usize = 32;

/// Compares every file of the source with what the target holds, by length and SHA-256.
///
/// # Errors
/// What a port says after all attempts; `Cancelled` when stopped. Differences are no error: they are in the result.
pub async fn verify(cx: &StepContext, dataset: &DatasetPlan, level: VerifyLevel) -> Result<Verified> {
    verify_all(&FileLane::new(cx, dataset, LaneStage::Verifying)?, level).await
}

/// The same for a file set: every file that the legacy bucket holds there now.
///
/// # Errors
/// As [`verify`].
pub async fn verify_set(cx: &StepContext, set: &FileSetPlan, level: VerifyLevel) -> Result<Verified> {
    verify_all(&FileLane::of_set(cx, set, LaneStage::Verifying)?, level).await
}

async fn verify_all(files: &FileLane<'_>, level: VerifyLevel) -> Result<Verified> {
    let verifier = Verifier { files, level, found: Mutex::new(Verified::new(files.lane.id.clone())) };
    let result = verifier.all().await;
    let stage = match &result {
        Ok(found) if !found.is_same() => LaneStage::Failed,
        _ => LaneStage::Done,
    };
    files.lane.conclude(stage, result).await
}

struct Verifier<'a> {
    files: &'a FileLane<'a>,
    level: VerifyLevel,
    found: Mutex<Verified>,
}

impl Verifier<'_> {
    async fn all(&self) -> Result<Verified> {
        let lane = &self.files.lane;
        lane.take_stock().await?;
        lane.meter.set_total(Some(lane.meter.tally().items()));
        // A bucket is believed what it says of a SHA-256 once it has answered a write with it.
        self.files.guards_new().await?;
        lane.once("forget earlier verdicts", lane.cx.work.forget_verdicts(&lane.id)).await?;
        let pages = self.files.listed(Which::All, Cursor::START);
        pump(lane, pages, || self.files.room(), |listed| self.page(listed.entries)).await?;
        self.without_record().await?;
        lane.take_stock().await?;
        let mut found = self.found().clone();
        lane.meter.set_total(Some(found.source));
        found.conclude(Timestamp::now());
        Ok(found)
    }

    fn found(&self) -> MutexGuard<'_, Verified> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn page(&self, entries: Vec<FileEntry>) -> Result<()> {
        let lane = &self.files.lane;
        let items = lane.items_of(entries.iter().map(|entry| entry.key.clone()).collect()).await?;
        let compare = |entry: FileEntry| {
            let item = items.get(&entry.key);
            async move {
                let _place = self.files.gear.pace.place().await;
                let finding = self.files.compare(&entry, item, self.level).await?;
                lane.meter.compared();
                lane.meter.moved(1, 0);
                self.files.gear.pace.moved(1, 0);
                Ok((entry, finding))
            }
        };
        let found = some_at_a_time(AT_ONCE, entries.into_iter().map(compare).collect()).await?;
        let (mut verdicts, mut ends) = (Vec::with_capacity(found.len()), Ends::default());
        for (entry, finding) in found {
            let item = items.get(&entry.key);
            self.count(&entry, &finding, item, &mut ends);
            verdicts.push(VerdictRow {
                lane: lane.id.clone(),
                key: entry.key,
                verdict: finding.verdict,
                detail: finding.detail,
                at: Timestamp::now(),
            });
        }
        lane.once("keep verdicts", lane.cx.work.judge(&verdicts)).await?;
        self.mark(&items, ends).await
    }

    fn count(&self, entry: &FileEntry, finding: &Finding, item: Option<&ItemRow>, ends: &mut Ends) {
        let mut found = self.found();
        found.source += 1;
        if item.is_some_and(ItemRow::is_left_out) {
            found.left_out += 1;
            return;
        }
        match finding.verdict {
            ItemVerdict::Same => {
                found.same += 1;
                ends.same.push(entry.key.clone());
                return;
            }
            ItemVerdict::OnlyInSource => found.missing += 1,
            _ => found.different += 1,
        }
        if self.files.is_listing() && came_late(entry, item) {
            found.late += 1;
        }
        // Why it failed when it was copied says more than that it is not there.
        let kept = item.filter(|item| item.state == ItemState::Failed && !item.reason.is_empty());
        found.differs(&entry.key, kept.map_or(finding.detail.as_str(), |item| item.reason.as_str()));
        if kept.is_none() {
            let had = item.is_some_and(|item| super::has_arrived(item.state));
            let lost = had && finding.verdict == ItemVerdict::OnlyInSource;
            let ends = if lost { &mut ends.lost } else { &mut ends.wrong };
            ends.entry(finding.detail.clone()).or_default().push(entry.key.clone());
        }
    }

    async fn mark(&self, items: &BTreeMap<String, ItemRow>, ends: Ends) -> Result<()> {
        let lane = &self.files.lane;
        let ends = std::iter::once((ItemState::Verified, String::new(), ends.same))
            .chain(ends.wrong.into_iter().map(|(why, keys)| (ItemState::Failed, why, keys)))
            .chain(ends.lost.into_iter().map(|(why, keys)| (ItemState::Lost, why, keys)));
        for (state, why, mut keys) in ends {
            // What was left out because the same was there keeps that end as long as it is the same.
            keys.retain(|key| {
                items.get(key).is_some_and(|item| {
                    item.state != state && !(item.state == ItemState::Skipped && state == ItemState::Verified)
                })
            });
            if keys.is_empty() {
                continue;
            }
            lane.once("mark items", lane.cx.work.mark(&lane.id, &keys, state, &why)).await?;
            for key in &keys {
                lane.meter.turned(items.get(key).map(|item| item.state), state);
            }
        }
        Ok(())
    }

    /// Counts the files that the run brought and that the source does not have. Only looks if the sums say that there are any.
    async fn without_record(&self) -> Result<()> {
        let lane = &self.files.lane;
        let known = lane.once("ask the ledger for sums", lane.cx.work.tally(&lane.id)).await?.items();
        if known <= self.found().source {
            return Ok(());
        }
        let limit = lane.cx.plan.migration.batch_records;
        let mut wanted: HashSet<u64> = HashSet::new();
        let mut pages = pin!(self.files.listed(Which::All, Cursor::START));
        while let Some(listed) = pages.next().await {
            wanted.extend(listed?.entries.iter().map(|entry| fingerprint(&entry.key)));
        }
        let query = ItemQuery { limit, ..ItemQuery::default() };
        let mut pages = pin!(lane.items(&query));
        while let Some(items) = pages.next().await {
            for item in items? {
                let ours = item.reason != GONE && item.attempts > 0 && item.before.is_none();
                if ours && !wanted.contains(&fingerprint(&item.key)) {
                    let mut found = self.found();
                    found.extra += 1;
                    found.late += u64::from(self.files.is_listing());
                    found.differs(item.key, "extra: the source does not have it");
                }
            }
        }
        Ok(())
    }
}

/// Whether the bucket has had this file, as it is now, only since it was listed for the copy.
fn came_late(entry: &FileEntry, item: Option<&ItemRow>) -> bool {
    item.is_none_or(|item| item.reason == GONE || entry.facts.is_newer_than(&FileFacts::of(item)))
}

/// How the items of a page end, by the reason.
#[derive(Default)]
struct Ends {
    same: Vec<String>,
    wrong: BTreeMap<String, Vec<String>>,
    lost: BTreeMap<String, Vec<String>>,
}
