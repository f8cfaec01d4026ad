//! Are the files whole of which no record speaks: what stands among them and is no file, names that the new bucket does
//! not take, and, of a sample, files that cannot be opened.
//!
//! Nobody says what these files must be, so a file that is there and opens is whole. Must never enter: records.

use super::{longer_than, longest_key};
use crate::{
    engine::StepContext,
    error::{FaultKind, Result},
    migrate::{
        files::{FileEntry, FileLane},
        lane::Which,
        records::fingerprint,
        relations::Wrong,
    },
    model::{Check, LaneStage},
    phases::{
        examine::{bytes, count, verdict},
        gather::patiently,
    },
    plan::FileSetPlan,
    ports::Cursor,
};
use futures::{StreamExt, TryStreamExt, stream};
use std::{collections::BTreeMap, pin::pin};

/// Files opened, spread over all that there are; every other one is opened by the copy.
const OPENED: usize = 200;

/// One check per file set.
pub(in crate::phases) async fn file_sets(cx: &StepContext) -> Result<Vec<Check>> {
    let mut checks = Vec::new();
    for set in &cx.plan.file_sets {
        checks.push(look(cx, set).await?);
    }
    Ok(checks)
}

async fn look(cx: &StepContext, set: &FileSetPlan) -> Result<Check> {
    let files = FileLane::of_set(cx, set, LaneStage::Verifying)?;
    let mut found = Found { longest: longest_key(&cx.plan, &set.to.bucket), ..Found::default() };
    let mut pages = pin!(files.listed(Which::All, Cursor::START));
    while let Some(listed) = pages.next().await {
        listed?.entries.into_iter().for_each(|entry| found.take(entry));
        cx.report.note(None, format!("{} of {} looked at", count(found.files, "file"), set.name));
        cx.signals.breathe().await?;
    }
    let opened = found.open(cx, &files).await?;
    let allowed = cx.plan.may_fail(&set.lane(), Some(found.files)).unwrap_or_default();
    let wrong = found.wrong.count;
    let value = match wrong {
        0 => format!("{}, {}, {opened} opened", count(found.files, "file"), bytes(found.bytes)),
        wrong => format!("{wrong} of {} wrong: {}", found.files, found.wrong.first),
    };
    let remedy = "mend or move these files on the legacy side, or raise migration.max_failures";
    Ok(verdict(format!("{} files", set.name), wrong <= allowed, value, remedy).limit(allowed.to_string()))
}

/// What was found in a file set.
#[derive(Default)]
struct Found {
    longest: Option<usize>,
    files: u64,
    bytes: u64,
    wrong: Wrong,
    /// The files with the lowest fingerprints: a sample that does not depend on the order of the listing.
    sample: BTreeMap<u64, String>,
}

impl Found {
    fn take(&mut self, entry: FileEntry) {
        self.files += 1;
        self.bytes += entry.facts.size.unwrap_or(0);
        if let Some(why) = entry.facts.flaw.or_else(|| longer_than(self.longest, &entry.key)) {
            self.wrong.add(|| format!("{}: {why}", entry.path));
            return;
        }
        self.sample.insert(fingerprint(&entry.path), entry.path);
        if self.sample.len() > OPENED {
            self.sample.pop_last();
        }
    }

    /// Opens the sample; gives how many files that were.
    async fn open(&mut self, cx: &StepContext, files: &FileLane<'_>) -> Result<usize> {
        let at_once = usize::try_from(cx.plan.migration.concurrency).unwrap_or(1).max(1);
        let sample = std::mem::take(&mut self.sample);
        let mut opened: Vec<Option<String>> = stream::iter(sample.into_values())
            .map(|path| opens(cx, files, path))
            .buffer_unordered(at_once)
            .try_collect()
            .await?;
        opened.sort();
        for why in opened.iter().flatten() {
            self.wrong.add(|| why.clone());
        }
        Ok(opened.len())
    }
}

/// Why a file cannot be read, if it cannot. One that was deleted since it was listed is missed by nobody.
async fn opens(cx: &StepContext, files: &FileLane<'_>, path: String) -> Result<Option<String>> {
    let doing = format!("open {path}");
    let first = || async { files.old.open(&path, 0).await?.bytes.next().await.transpose() };
    match patiently(cx, &doing, first).await {
        Ok(_) => Ok(None),
        Err(fault) if fault.kind == FaultKind::NotFound => Ok(None),
        Err(fault) if matches!(fault.kind, FaultKind::Permission | FaultKind::Refused | FaultKind::Garbage) => {
            Ok(Some(format!("{path}: {}", fault.chain())))
        }
        Err(fault) => Err(fault),
    }
}
