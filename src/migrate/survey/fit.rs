//! Whether a plan's mappings fit what both sides say of their fields. No record is read where a store can tell without.

use super::{looked_into, set_of};
use crate::{
    error::Result,
    migrate::{
        Mapping,
        schema::{self, Findings, Schemas},
    },
    plan::{DatasetPlan, Plan},
    ports::{Ports, RecordStore, SetInfo, SetRef},
};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Longest wait for one store.
const STORE: Duration = Duration::from_secs(10);

/// How a dataset's mapping fits both sides.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fit {
    /// The dataset.
    pub dataset: String,
    /// Sides that could not be asked, and why: of their fields nothing is known.
    pub unasked: Vec<String>,
    /// What was found.
    #[serde(flatten)]
    pub findings: Findings,
}

/// Holds each dataset's mapping against what both sides say of their fields.
///
/// # Errors
/// Only `Plan`; a store that does not answer is told in the result.
pub async fn fits(plan: &Plan, ports: &Ports) -> Result<Vec<Fit>> {
    let mut all = Vec::new();
    for dataset in &plan.datasets {
        all.push(fit(plan, dataset, ports).await?);
    }
    Ok(all)
}

async fn fit(plan: &Plan, dataset: &DatasetPlan, ports: &Ports) -> Result<Fit> {
    let mut fit = Fit { dataset: dataset.name.clone(), ..Fit::default() };
    let mapping = Mapping::new(dataset)?;
    let (old, new) = (ports.store(&dataset.from.store)?, ports.store(&dataset.to.store)?);
    let from = set_of(&dataset.from, dataset, dataset.updated.clone());
    let to = set_of(&dataset.to, dataset, mapping.updated_there().map(ToOwned::to_owned));
    let (source, target) = futures::join!(asked(old.as_ref(), &from), asked(new.as_ref(), &to));
    let mut known = |said: std::result::Result<SetInfo, String>| {
        said.map_err(|why| fit.unasked.push(why)).map(|info| info.fields).unwrap_or_default()
    };
    let (source, target) = (known(source), known(target));
    let others = looked_into(plan, dataset, ports).await?;
    fit.findings.add(schema::check(dataset, &mapping, Schemas { source: &source, target: &target, others: &others }));
    Ok(fit)
}

async fn asked(store: &dyn RecordStore, set: &SetRef) -> std::result::Result<SetInfo, String> {
    match tokio::time::timeout(STORE, store.sketch(set)).await {
        Ok(said) => said.map_err(|fault| fault.chain()),
        Err(_) => Err(format!("look at {}: no answer in {STORE:?}", set.name)),
    }
}
