//! Law 10: nothing is lost quietly.

use super::{
    files::{FileEntry, FileFacts, FileLane, KEPT},
    lane::{Lane, Track, Which},
    records::GONE,
    verified::counted,
};
use crate::{
    engine::StepContext,
    error::Result,
    model::{Check, ItemState, LaneKind, LaneStage, Timestamp, Verdict},
    ports::{Cursor, ItemQuery, ItemRow},
};
use futures::StreamExt;
use std::pin::pin;

/// Failed and conflicting items named in a check.
const NAMED: u32 = 5;

/// For every lane one check: the sum of ended items equals the source's count, nothing is pending or only copied, and
/// what failed, was skipped or conflicts is named. To be asked before the commit.
///
/// # Errors
/// What the ledger or a source says; `Cancelled` when stopped.
pub async fn account(cx: &StepContext) -> Result<Vec<Check>> {
    let mut checks = Vec::new();
    for dataset in &cx.plan.datasets {
        let lane = Lane::new(cx, dataset, LaneKind::Records, LaneStage::Done)?;
        checks.push(of_lane(&lane, lane.count(&lane.old).await?, "records").await?);
        if dataset.blob.is_some() {
            let files = FileLane::new(cx, dataset, LaneStage::Done)?;
            checks.push(of_lane(&files.lane, count_files(&files).await?, "files").await?);
        }
    }
    for set in &cx.plan.file_sets {
        let files = FileLane::of_set(cx, set, LaneStage::Done)?;
        checks.push(of_lane(&files.lane, count_files(&files).await?, "files").await?);
    }
    checks.push(conflicts(cx).await?);
    Ok(checks)
}

async fn of_lane(lane: &Track<'_>, source: u64, what: &str) -> Result<Check> {
    let tally = lane.once("ask the ledger for sums", lane.cx.work.tally(&lane.id)).await?;
    let gone = if tally.skipped == 0 { 0 } else { gone(lane).await? };
    let accounted = tally.ended().saturating_sub(gone);
    let besides = counted(&[
        (tally.skipped.saturating_sub(gone), "skipped"),
        (tally.failed, "failed"),
        (tally.lost, "lost"),
        (tally.conflicting, "conflicting"),
        (tally.open(), "pending"),
        (tally.copied, "copied and not verified"),
        (gone, "deleted in the source meanwhile"),
    ]);
    let value = format!("{accounted} of {source} {what}: {} verified{besides}", tally.verified);
    let open = tally.open() + tally.copied;
    let allowed = lane.cx.plan.may_fail(&lane.id, Some(source)).unwrap_or_default();
    let good = accounted == source && open == 0 && tally.failed + tally.lost <= allowed;
    let verdict = if good { Verdict::Pass } else { Verdict::Fail };
    let check = Check::new(format!("{} accounted for", lane.id), verdict, value, Timestamp::now())
        .limit(format!("all {source}, at most {allowed} failed"));
    if good && tally.failed + tally.lost == 0 {
        return Ok(check);
    }
    let named = named(lane).await?;
    let advice = if good { "left behind with a reason" } else { "copy and verify the lane again" };
    Ok(check.remedy(if named.is_empty() { advice.to_string() } else { format!("{advice}: {named}") }))
}

/// Items whose record is no longer in the source.
async fn gone(lane: &Track<'_>) -> Result<u64> {
    let query = ItemQuery { states: vec![ItemState::Skipped], limit: 500, ..ItemQuery::default() };
    let mut pages = pin!(lane.items(&query));
    let mut count = 0;
    while let Some(items) = pages.next().await {
        count += items?.iter().filter(|item| item.reason == GONE || item.reason == KEPT).count() as u64;
    }
    Ok(count)
}

/// The first items that did not end well, with their reasons.
async fn named(lane: &Track<'_>) -> Result<String> {
    let states = vec![
        ItemState::Failed,
        ItemState::Lost,
        ItemState::Pending,
        ItemState::Copying,
        ItemState::Copied,
        ItemState::Conflicting,
    ];
    let query = ItemQuery { states, limit: NAMED, ..ItemQuery::default() };
    let items = match pin!(lane.items(&query)).next().await {
        Some(items) => items?,
        None => return Ok(String::new()),
    };
    let named: Vec<String> = items
        .iter()
        .map(|item| if item.reason.is_empty() { item.key.clone() } else { format!("{} ({})", item.key, item.reason) })
        .collect();
    Ok(crate::model::text::clean(&named.join(", "), 600))
}

/// The same file under the same key, listed for another record: two rows that share a file are one item.
fn is_shared(item: Option<&ItemRow>, entry: &FileEntry) -> bool {
    item.is_some_and(|item| {
        let listed_for = FileFacts::of(item).record;
        item.source == entry.path && listed_for.is_some() && listed_for != entry.facts.record
    })
}

/// Files of the source. In a bucket no two have the same key.
async fn count_files(files: &FileLane<'_>) -> Result<u64> {
    let mut pages = pin!(files.listed(Which::All, Cursor::START));
    let mut count = 0;
    while let Some(listed) = pages.next().await {
        let entries = listed?.entries;
        if files.is_listing() {
            count += entries.len() as u64;
            continue;
        }
        let known = files.lane.items_of(entries.iter().map(|entry| entry.key.clone()).collect()).await?;
        count += entries.iter().filter(|entry| !is_shared(known.get(&entry.key), entry)).count() as u64;
    }
    Ok(count)
}

async fn conflicts(cx: &StepContext) -> Result<Check> {
    let all = cx.signals.unless_stopped("ask the ledger for conflicts", cx.work.conflicts()).await?;
    let open: Vec<String> =
        all.iter().filter(|row| row.resolution.is_empty()).map(|row| format!("{} {}", row.lane, row.key)).collect();
    let verdict = if open.is_empty() { Verdict::Pass } else { Verdict::Fail };
    let value = format!("{} open, {} decided", open.len(), all.len() - open.len());
    let check = Check::new("conflicts decided", verdict, value, Timestamp::now()).limit("none open");
    let first: Vec<&str> = open.iter().take(NAMED as usize).map(String::as_str).collect();
    Ok(if open.is_empty() { check } else { check.remedy(format!("decide {}", first.join(", "))) })
}
