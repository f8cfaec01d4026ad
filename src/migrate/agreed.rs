//! Whether both sides of a lane are still what they were when the plan was checked: asked before a lane writes its first
//! row, so that a column that was dropped or changed meanwhile ends in one sentence instead of thousands of
//! records that failed.
//!
//! Neighbours: `schema` judges, the preparation notes what it saw. A side that does not say what its fields hold, and names
//! them from one record alone, is not judged. Must never enter: a write to either side.

use super::{
    lane::{Lane, Side},
    schema::{self, Findings, Schemas},
};
use crate::{
    engine::StepContext,
    error::{Fault, FaultKind, Result},
    model::{Field, Kind, LaneKind, LaneStage, text::clean},
    plan::DatasetPlan,
};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// The note of what both sides looked like when the plan was checked.
const NOTE: &str = "schema";
/// Problems that are named.
const NAMED: usize = 3;

/// What both sides of a dataset say of their fields; nothing where a side does not know what they hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Seen {
    source: Vec<Field>,
    target: Vec<Field>,
}

/// Keeps what both sides of the dataset look like now, as what its lane is held against.
///
/// # Errors
/// What a store says after all attempts; `Cancelled`.
pub async fn note(cx: &StepContext, dataset: &DatasetPlan) -> Result<()> {
    let lane = Lane::new(cx, dataset, LaneKind::Records, LaneStage::Waiting)?;
    let (seen, _) = Seen::now(&lane).await?;
    let json = serde_json::to_value(&seen)
        .map_err(|error| Fault::new(FaultKind::Internal, format!("note the fields of {}", lane.id)).source(error))?;
    lane.note(NOTE, &json).await
}

/// Asks both sides; gives how many records the legacy side says it holds, if it says so.
///
/// # Errors
/// `Unmet`, naming the columns, if the sides fit worse than when the plan was checked; what a store says after all attempts;
/// `Cancelled`.
pub(crate) async fn ensure(lane: &Lane<'_>) -> Result<Option<u64>> {
    let (now, count) = Seen::now(lane).await?;
    let Some(noted) = lane.noted(NOTE).await? else { return Ok(count) };
    let before: Seen = serde_json::from_value(noted).map_err(|error| {
        Fault::new(FaultKind::Internal, format!("read how the fields of {} were", lane.id)).source(error)
    })?;
    let problems = problems(lane, &before, &now);
    if problems.is_empty() {
        return Ok(count);
    }
    let more = problems.len().saturating_sub(NAMED);
    let besides = if more > 0 { format!("; and {more} more") } else { String::new() };
    let named = problems[..problems.len().min(NAMED)].join("; ");
    let detail = format!("changed since the plan was checked: {named}{besides}");
    Err(Fault::new(FaultKind::Unmet, format!("begin to move {}", lane.id)).detail(detail))
}

impl Seen {
    /// As both sides look now, and how many records the legacy side says it holds.
    async fn now(lane: &Lane<'_>) -> Result<(Self, Option<u64>)> {
        let (old, new) = (&lane.old, &lane.new);
        let doing = |side: &Side| format!("describe {} in {}", side.set.name, side.name);
        let old = lane.call(&doing(old), || old.store.describe(&old.set)).await?;
        // How many rows stand there need not be counted for this.
        let new = lane.call(&doing(new), || new.store.sketch(&new.set)).await?;
        // The lane asks for them next.
        lane.learn(&new.fields).await;
        Ok((Self { source: judged(old.fields), target: judged(new.fields) }, old.count))
    }

    fn findings(&self, lane: &Lane<'_>) -> Findings {
        let others = BTreeMap::new();
        let schemas = Schemas { source: &self.source, target: &self.target, others: &others };
        schema::check(lane.dataset, &lane.mapping, schemas)
    }
}

/// The fields, if the side knows what they hold.
fn judged(fields: Vec<Field>) -> Vec<Field> {
    if fields.iter().any(|field| field.kind != Kind::Any) { fields } else { Vec::new() }
}

/// What got worse since the plan was checked.
fn problems(lane: &Lane<'_>, before: &Seen, now: &Seen) -> Vec<String> {
    let (was, found) = (before.findings(lane), now.findings(lane));
    let known: BTreeSet<&String> = was.warnings.iter().chain(&was.blockers).collect();
    let new = found.blockers.into_iter().chain(found.warnings).filter(|problem| !known.contains(problem));
    new.chain(gone(lane, before, now)).collect()
}

/// Fields of the legacy side that would be carried and are no longer there.
fn gone<'s>(lane: &'s Lane<'_>, before: &'s Seen, now: &'s Seen) -> impl Iterator<Item = String> + 's {
    let carried = before.source.iter().filter(|field| !lane.dataset.drop.contains(&field.name));
    let there = |field: &&Field| now.source.is_empty() || now.source.iter().any(|other| other.name == field.name);
    carried
        .filter(move |field| !there(field))
        .map(|field| format!("the legacy side no longer has `{}`", clean(&field.name, 60)))
}
