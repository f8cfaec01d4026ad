//! The legacy table that is told which files have moved, as steps of three phases.
//!
//! Preparation looks at it and changes nothing. In data migration it is told after a dataset was compared on both sides,
//! since only then every file is proven, and that step's undo takes back all that the run told: it comes after the
//! changes that users made are carried back, and before the lane removes the files and forgets them. Post-validation
//! tells once more, for files that came late; rows that know already are not touched.

use crate::{
    engine::{Checked, Step, StepContext, StepDone},
    error::Result,
    event::UndoNote,
    migrate::files::{clear_write_back, write_back},
    model::{Check, Phase, StepId},
    phases::{
        Entry,
        examine::{Examine, answered, judge},
        gather::patiently,
        id,
    },
    plan::{DatasetPlan, Plan, WriteBackPlan},
};
use async_trait::async_trait;
use serde_json::json;

/// How the steps' names end.
const STEP: &str = "write-back";

/// What the plan says of the dataset's table, if there is one to be told.
fn told(dataset: &DatasetPlan) -> Option<&WriteBackPlan> {
    dataset.blob.as_ref()?.write_back.as_ref()
}

/// Whether any table is to be told.
pub(super) fn any(plan: &Plan) -> bool {
    plan.datasets.iter().any(|dataset| told(dataset).is_some())
}

/// One check per table that it can be reached and told.
pub(super) async fn reach(cx: &StepContext) -> Result<StepDone> {
    let mut checks: Vec<Check> = Vec::new();
    for dataset in &cx.plan.datasets {
        let Some(plan) = told(dataset) else { continue };
        let port = cx.ports.write_back(&dataset.name)?;
        let doing = format!("look at the table {}", plan.table);
        let missing = patiently(cx, &doing, || port.inspect()).await.map(|missing| match missing.len() {
            0 => format!("{} has every column", plan.table),
            _ => format!("{} answers; will be given {}", plan.table, missing.join(", ")),
        });
        let name = format!("{STEP} table of {}", dataset.name);
        checks.push(answered(name, missing).stale_after(cx.plan.rollback.evidence_max_age));
    }
    judge("reach every table that is told", format!("all {} answer", checks.len()), checks)
}

/// The step of data migration; none if the dataset has no table to be told.
pub(super) fn tell(phase: Phase, dataset: &DatasetPlan) -> Option<Entry> {
    told(dataset)?;
    Some(Entry::acts(Tell { phase, dataset: dataset.clone() }))
}

/// The same once more, with nothing of its own to undo.
pub(super) fn tell_again(phase: Phase, dataset: &DatasetPlan) -> Option<Entry> {
    let plan = told(dataset)?;
    let (title, dataset) = (format!("Tell {} of late files", plan.table), dataset.clone());
    Some(Entry::acts(Examine::new(phase, &format!("{}-{STEP}", dataset.name), title, move |cx| {
        let dataset = dataset.clone();
        Box::pin(async move { write_back(cx, &dataset).await })
    })))
}

struct Tell {
    phase: Phase,
    dataset: DatasetPlan,
}

#[async_trait]
impl Step for Tell {
    fn id(&self) -> StepId {
        id(self.phase, &format!("{}-{STEP}", self.dataset.name))
    }

    fn title(&self) -> String {
        format!("Tell the legacy side which {} have moved", self.dataset.name)
    }

    /// Always something to be done: which rows know already only the table can say.
    async fn check(&self, _cx: &StepContext) -> Result<Checked> {
        let name = told(&self.dataset).map_or_else(String::new, |plan| plan.table.to_string());
        let intent = format!("tell {name} on the legacy side which {} have moved", self.dataset.name);
        Ok(Checked::Needed { intent, undo: json!({ "table": name }) })
    }

    async fn apply(&self, cx: &StepContext) -> Result<StepDone> {
        write_back(cx, &self.dataset).await
    }

    async fn undo(&self, cx: &StepContext, _note: &UndoNote) -> Result<StepDone> {
        clear_write_back(cx, &self.dataset).await
    }
}
