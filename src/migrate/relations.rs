//! What records of one side have to do with each other and with files: references that lead nowhere, values that come twice
//! where each may come once, records whose file is not there.
//!
//! Works on either side and on every store; what it keeps in memory does not grow with the number of records (`seen`). A
//! side may be written while it is read, so whatever looks wrong is asked for once more before it counts. `subject` says
//! what is looked at on which side, `walk` looks. Neighbours: `records` compares the two sides record by record. Must never
//! enter: a write to either side.

mod seen;
mod subject;
#[cfg(test)]
mod tests;
mod walk;

pub(crate) use subject::Subject;

use super::verified::counted;
use crate::{
    engine::StepContext,
    error::Result,
    model::{Check, LaneId, Timestamp, Verdict},
    plan::DatasetPlan,
    ports::Work,
};
use serde::{Deserialize, Serialize};

/// What was found wrong, with the first example.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wrong {
    /// How many.
    pub count: u64,
    /// The first.
    pub first: String,
}

impl Wrong {
    /// One more.
    pub(crate) fn add(&mut self, example: impl FnOnce() -> String) {
        if self.count == 0 {
            self.first = example();
        }
        self.count += 1;
    }

    /// `, first …`, to be put behind a sentence.
    fn first(&self) -> String {
        if self.count == 0 { String::new() } else { format!(", first {}", self.first) }
    }
}

/// What a look at the relations of a dataset's records found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Relations {
    /// Records looked at.
    pub records: u64,
    /// Records without a key.
    pub keyless: u64,
    /// Two records under one key, or with the same value where each may come once.
    pub doubled: Wrong,
    /// References that lead nowhere.
    pub dangling: Wrong,
    /// Of those, the ones that lead nowhere on the legacy side too.
    pub inherited: u64,
    /// Records whose file is not there.
    pub without_file: Wrong,
    /// What could not be looked at, and why.
    pub unchecked: Vec<String>,
}

impl Relations {
    /// Nothing was found but what the legacy side has too.
    #[must_use]
    pub const fn is_sound(&self) -> bool {
        self.doubled.count == 0 && self.without_file.count == 0 && self.dangling.count <= self.inherited
    }

    /// In one line.
    #[must_use]
    pub fn summary(&self) -> String {
        let found = counted(&[
            (self.dangling.count, "lead nowhere"),
            (self.inherited, "of those on the legacy side too"),
            (self.doubled.count, "come twice"),
            (self.without_file.count, "have no file"),
            (self.unchecked.len() as u64, "not looked at"),
        ]);
        format!("{} records looked at{found}", self.records)
    }
}

/// The lane under whose name the findings of a dataset's new side are kept in the ledger.
#[must_use]
pub fn lane(dataset: &DatasetPlan) -> LaneId {
    LaneId::new(format!("{}-relations", dataset.name))
}

/// Looks at the relations of the dataset's records on the new side and keeps each finding in the ledger; `None` if there is
/// nothing of the kind to look at: neither references nor files, and nothing that must come once.
///
/// # Errors
/// What a store says after all attempts; `Cancelled` when stopped. Findings are no error.
pub async fn relations(cx: &StepContext, dataset: &DatasetPlan) -> Result<Option<Relations>> {
    let Some(subject) = Subject::new_side(cx, dataset).await? else { return Ok(None) };
    let lane = lane(dataset);
    cx.work.note(&note(&lane), &serde_json::Value::Null).await?;
    cx.work.forget_verdicts(&lane).await?;
    let found = subject.look(Some(&lane)).await?;
    cx.work.note(&note(&lane), &serde_json::to_value(&found).unwrap_or_default()).await?;
    Ok(Some(found))
}

/// What the last look came to; `None` if there was none that came to its end.
///
/// # Errors
/// What the ledger says.
pub async fn looked_at(work: &dyn Work, dataset: &DatasetPlan) -> Result<Option<Relations>> {
    let noted = work.noted(&note(&lane(dataset))).await?;
    Ok(noted.and_then(|noted| serde_json::from_value(noted).ok()))
}

fn note(lane: &LaneId) -> String {
    format!("relations:{lane}")
}

/// What was found on the new side, as evidence. So many references may lead nowhere as records may fail: those of records
/// that stayed behind.
#[must_use]
pub fn evidence(dataset: &DatasetPlan, found: &Relations, allowed: u64) -> Vec<Check> {
    let judged = |what: &str, good: bool, value: String, limit: String| {
        let verdict = if good { Verdict::Pass } else { Verdict::Fail };
        let check = Check::new(format!("{} {what}", dataset.name), verdict, value, Timestamp::now()).limit(limit);
        if good { check } else { check.remedy("`cutover verify` lists every one of them") }
    };
    let lost = found.dangling.count.saturating_sub(found.inherited);
    let told = |wrong: &Wrong, good: &str, bad: &str| match wrong.count {
        0 => good.to_owned(),
        count => format!("{count} {bad}{}", wrong.first()),
    };
    let mut references = told(&found.dangling, "all lead somewhere", "lead nowhere");
    if found.inherited > 0 {
        references = format!("{references}; {} of them on the legacy side too", found.inherited);
    }
    if !found.unchecked.is_empty() {
        references = format!("{references}; not looked at: {}", found.unchecked.join(", "));
    }
    let once = told(&found.doubled, "nothing comes twice", "come twice");
    let files = told(&found.without_file, "every record has its file", "have no file");
    let mut checks = vec![
        judged(
            "references there",
            lost <= allowed,
            references,
            format!("at most {allowed} more than on the legacy side"),
        ),
        judged("unique there", found.doubled.count == 0, once, "none twice".to_owned()),
    ];
    if dataset.blob.is_some() {
        checks.push(judged("files there", found.without_file.count <= allowed, files, allowed.to_string()));
    }
    checks
}
