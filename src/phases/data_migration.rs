//! Phase 4, data migration: per dataset, in dependency order, its records, the bytes behind them, and both compared; then
//! the legacy table is told of the files, where the plan has one (`write_back` says why there). The file sets, of which no
//! record speaks, move after the datasets.
//!
//! Going back happens in the opposite order. The last step of the phase changes nothing and is undone first: its undo
//! carries back to the legacy side what users wrote on the new side, for all datasets in dependency order, before any
//! lane removes what the run created. `migrate` and `sync` do the work; this room only says in which order.

use crate::{
    engine::{Checked, Step, StepContext, StepDone, Unmet},
    error::Result,
    event::UndoNote,
    migrate::{Verified, files, files::FilesOf, records, relations, undo_files, undo_records, undo_set},
    model::{Phase, StepId, Verdict},
    phases::{
        Entry,
        examine::{Examine, count},
        follow, id, rollback, write_back,
    },
    plan::{DatasetPlan, FileSetPlan, Plan},
    sync,
};
use async_trait::async_trait;
use serde_json::json;

const PHASE: Phase = Phase::DataMigration;

/// The drain, if lanes follow; per dataset two to four steps, per file set two, and the way back.
pub(super) fn steps(plan: &Plan) -> Vec<Entry> {
    let mut steps: Vec<Entry> = follow::drain(plan).into_iter().collect();
    steps.extend(plan.datasets.iter().flat_map(dataset_steps));
    steps.extend(plan.file_sets.iter().flat_map(set_steps));
    if plan.moves_data() {
        steps.push(Entry::acts(CarryBack));
    }
    steps
}

fn dataset_steps(dataset: &DatasetPlan) -> Vec<Entry> {
    let lane = |what| Entry::acts(Lane { dataset: dataset.clone(), what });
    let mut steps = vec![lane(What::Records)];
    if dataset.blob.is_some() {
        steps.push(lane(What::Content));
    }
    let verified = dataset.clone();
    let title = format!("Compare {} on both sides", dataset.name);
    steps.push(Entry::acts(Examine::new(PHASE, &format!("{}-verify", dataset.name), title, move |cx| {
        let dataset = verified.clone();
        Box::pin(async move { verify(cx, &dataset).await })
    })));
    steps.extend(write_back::tell(PHASE, dataset));
    steps
}

/// The steps that have to be done again once something of these files was taken back.
pub(super) fn files_again(files: FilesOf<'_>) -> Vec<StepId> {
    let (lane, name) = match files {
        FilesOf::Dataset(dataset) => (dataset.blob_lane(), &dataset.name),
        FilesOf::Set(set) => (set.lane(), &set.name),
    };
    vec![id(PHASE, lane.as_str()), id(PHASE, &format!("{name}-verify"))]
}

fn set_steps(set: &FileSetPlan) -> [Entry; 2] {
    let verified = set.clone();
    let title = format!("Compare the files of {} on both sides", set.name);
    let compare = Examine::new(PHASE, &format!("{}-verify", set.name), title, move |cx| {
        let set = verified.clone();
        Box::pin(async move {
            let seen = verify_set(cx, &set).await?;
            compared(&format!("find the files of {} the same on both sides", set.name), &[seen])
        })
    });
    [Entry::acts(Set(set.clone())), Entry::acts(compare)]
}

/// A file set as a step.
struct Set(FileSetPlan);

#[async_trait]
impl Step for Set {
    fn id(&self) -> StepId {
        id(PHASE, &self.0.name)
    }

    fn title(&self) -> String {
        format!("Move the files of {}", self.0.name)
    }

    /// Always something to be done, as for a dataset.
    async fn check(&self, _cx: &StepContext) -> Result<Checked> {
        let FileSetPlan { name, from, to } = &self.0;
        let intent = format!("move the files of {name} from {} to {}", from.bucket, to.bucket);
        Ok(Checked::Needed { intent, undo: json!({ "lane": self.0.lane() }) })
    }

    async fn apply(&self, cx: &StepContext) -> Result<StepDone> {
        files::copy_set(cx, &self.0).await
    }

    async fn undo(&self, cx: &StepContext, _note: &UndoNote) -> Result<StepDone> {
        undo_set(cx, &self.0).await
    }
}

/// What a lane moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Records,
    Content,
}

/// A lane as a step.
struct Lane {
    dataset: DatasetPlan,
    what: What,
}

#[async_trait]
impl Step for Lane {
    fn id(&self) -> StepId {
        match self.what {
            What::Records => id(PHASE, self.dataset.lane().as_str()),
            What::Content => id(PHASE, self.dataset.blob_lane().as_str()),
        }
    }

    fn title(&self) -> String {
        match self.what {
            What::Records => format!("Move {}", self.dataset.name),
            What::Content => format!("Move the content of {}", self.dataset.name),
        }
    }

    /// Always something to be done: the lane knows from its work tables what is left, and that may be nothing.
    async fn check(&self, _cx: &StepContext) -> Result<Checked> {
        let name = &self.dataset.name;
        let (lane, intent) = match (self.what, &self.dataset.blob) {
            (What::Content, Some(blob)) => {
                (self.dataset.blob_lane(), format!("move the content of {name} from {} to {}", blob.from, blob.to))
            }
            _ => (
                self.dataset.lane(),
                format!("move the records of {name} from {} to {}", self.dataset.from.store, self.dataset.to.store),
            ),
        };
        Ok(Checked::Needed { intent, undo: json!({ "lane": lane }) })
    }

    async fn apply(&self, cx: &StepContext) -> Result<StepDone> {
        match self.what {
            What::Records => records::copy(cx, &self.dataset).await,
            What::Content => files::copy(cx, &self.dataset).await,
        }
    }

    async fn undo(&self, cx: &StepContext, _note: &UndoNote) -> Result<StepDone> {
        match self.what {
            What::Records => undo_records(cx, &self.dataset).await,
            What::Content => undo_files(cx, &self.dataset).await,
        }
    }
}

async fn verify(cx: &StepContext, dataset: &DatasetPlan) -> Result<StepDone> {
    let mut seen = vec![verify_records(cx, dataset).await?];
    if dataset.blob.is_some() {
        // A person opened failed files again after they were copied.
        if cx.work.tally(&dataset.blob_lane()).await?.open() > 0 {
            files::copy(cx, dataset).await?;
        }
        let mut found = files::verify(cx, dataset, files::VerifyLevel::Checksum).await?;
        // A record may have come with a time of long ago, and with it a file that no pass was told of.
        if !found.is_same() && cx.plan.migration.follow.is_some() {
            files::copy_again(cx, dataset).await?;
            found = files::verify(cx, dataset, files::VerifyLevel::Checksum).await?;
        }
        seen.push(found);
    }
    let done = compared(&format!("find {} the same on both sides", dataset.name), &seen)?;
    related(cx, dataset, done).await
}

/// What the records have to do with each other and with their files, on the new side.
async fn related(cx: &StepContext, dataset: &DatasetPlan, done: StepDone) -> Result<StepDone> {
    let Some(found) = relations::relations(cx, dataset).await? else { return Ok(done) };
    let mut checks = done.checks;
    let allowed = cx.plan.may_fail(&dataset.lane(), Some(found.records)).unwrap_or_default();
    checks.extend(relations::evidence(dataset, &found, allowed));
    if checks.iter().any(|check| check.verdict != Verdict::Pass) {
        return Err(Unmet::fault(format!("find {} whole on the new side", dataset.name), checks));
    }
    Ok(StepDone::new(format!("{} · {}", done.summary, found.summary())).checks(checks))
}

/// Compares the files of a set. Somebody may write into the legacy bucket after its lane has copied: carried over and
/// compared again, as for records.
async fn verify_set(cx: &StepContext, set: &FileSetPlan) -> Result<Verified> {
    let mut attempt = 1;
    loop {
        let found = files::verify_set(cx, set, files::VerifyLevel::Checksum).await?;
        if found.is_same() || found.late == 0 || attempt >= cx.plan.migration.attempts {
            return Ok(found);
        }
        let late = count(found.late, "file");
        cx.report.note(None, format!("{late} of {} changed in the source after the copy: carried now", set.name));
        files::copy_set(cx, set).await?;
        attempt += 1;
    }
}

/// Compares the records. A job that knows nothing of the maintenance may write to the legacy side after its lane has
/// copied: what it wrote is carried over and everything compared again, as often as the plan lets anything be tried.
async fn verify_records(cx: &StepContext, dataset: &DatasetPlan) -> Result<Verified> {
    let mut attempt = 1;
    loop {
        let found = records::verify(cx, dataset).await?;
        if found.is_same() || found.late == 0 || attempt >= cx.plan.migration.attempts {
            return Ok(found);
        }
        let late = count(found.late, "record");
        cx.report.note(None, format!("{late} of {} changed in the source after the copy: carried now", dataset.name));
        records::copy_again(cx, dataset).await?;
        attempt += 1;
    }
}

/// The end of a comparison: done if nothing differs.
pub(super) fn compared(doing: &str, seen: &[Verified]) -> Result<StepDone> {
    let checks = seen.iter().flat_map(|verified| verified.checks.clone()).collect();
    if seen.iter().all(Verified::is_same) {
        let summary: Vec<String> =
            seen.iter().map(|verified| format!("{}: {}", verified.lane, verified.summary())).collect();
        return Ok(StepDone::new(summary.join(" · ")).checks(checks));
    }
    Err(Unmet::fault(doing, checks))
}

/// Does nothing on the way forward; on the way back it is the first of its stage and carries users' changes to the
/// legacy side.
struct CarryBack;

#[async_trait]
impl Step for CarryBack {
    fn id(&self) -> StepId {
        id(PHASE, "way-back")
    }

    fn title(&self) -> String {
        "Keep the way back open".into()
    }

    async fn check(&self, _cx: &StepContext) -> Result<Checked> {
        Ok(Checked::Needed {
            intent: "carry back, in a rollback, what users write on the new side from here on".into(),
            undo: json!({ "carry_back": true }),
        })
    }

    async fn apply(&self, _cx: &StepContext) -> Result<StepDone> {
        Ok(StepDone::new("a rollback carries back what users write from here on"))
    }

    async fn undo(&self, cx: &StepContext, _note: &UndoNote) -> Result<StepDone> {
        let mut checks = Vec::new();
        let (mut carried, mut open) = (0, 0);
        for dataset in &cx.plan.datasets {
            cx.report.note(None, format!("carries {} back", dataset.name));
            let report = sync::reverse(cx, dataset).await?;
            carried += report.updated + report.created + report.deleted;
            open += report.open + report.stranded.len() as u64;
            if report.deleted > 0 {
                // Users deleted these on the new side: the proof at the end of the rollback does not miss them.
                rollback::forget(cx, &dataset.name, report.deleted).await?;
            }
            checks.extend(report.checks);
        }
        for set in &cx.plan.file_sets {
            cx.report.note(None, format!("carries the files of {} back", set.name));
            let report = sync::reverse_set(cx, set).await?;
            carried += report.updated + report.created + report.deleted;
            open += report.open;
            checks.extend(report.checks);
        }
        let mut summary = format!("{} carried back", count(carried, "change"));
        if open > 0 {
            summary = format!("{summary}, {} left to a person", count(open, "conflict"));
        }
        Ok(StepDone::new(summary).checks(checks))
    }
}
