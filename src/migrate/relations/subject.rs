//! What is looked at: a side of a dataset, what its fields refer to there, and what must come once.

use crate::{
    engine::StepContext,
    error::Result,
    migrate::{
        Mapping,
        lane::{Side, Track},
    },
    model::{LaneKind, LaneStage},
    plan::{BlobPlan, DatasetPlan},
    ports::BlobStore,
};
use std::sync::Arc;

/// A field that refers to records.
pub(super) struct Reference {
    pub(super) field: String,
    /// What it refers to, as a person calls it.
    pub(super) named: String,
    /// Where that stands, by the field that is referred to.
    pub(super) to: Side,
    /// Where it stands on the legacy side, if the same value refers to it there.
    pub(super) before: Option<Side>,
}

/// The files behind the records of the new side.
pub(super) struct Files<'a> {
    pub(super) plan: &'a BlobPlan,
    pub(super) mapping: Mapping,
    pub(super) bucket: Arc<dyn BlobStore>,
}

/// A side of a dataset that is looked at.
pub(crate) struct Subject<'a> {
    pub(super) track: Track<'a>,
    pub(super) dataset: &'a DatasetPlan,
    pub(super) side: Side,
    pub(super) references: Vec<Reference>,
    /// Fields of which no two records may have the same value, besides the key.
    pub(super) unique: &'a [String],
    pub(super) files: Option<Files<'a>>,
}

impl<'a> Subject<'a> {
    /// The legacy side of a dataset.
    ///
    /// # Errors
    /// `Plan` if a store is unknown.
    pub(crate) fn legacy(cx: &'a StepContext, dataset: &'a DatasetPlan) -> Result<Self> {
        let mut references = Vec::new();
        for (field, other) in dataset.references() {
            let lookup = dataset.fields.lookup.get(&field);
            let renamed = dataset.fields.rename.iter().find(|(_, there)| **there == field).map(|(here, _)| here);
            let field = lookup.map(|lookup| &lookup.by).or(renamed).unwrap_or(&field).clone();
            if let Some(other) = cx.plan.datasets.iter().find(|dataset| dataset.name == other) {
                let to = Side::new(cx, &other.from, &other.key, None)?;
                references.push(Reference { field, named: other.name.clone(), to, before: None });
            }
        }
        let side = Side::new(cx, &dataset.from, &dataset.key, dataset.updated.clone())?;
        Ok(Self { track: track(cx, dataset), dataset, side, references, unique: &[], files: None })
    }

    /// The new side of a dataset; `None` if there is nothing to look at. Its own foreign keys are looked at too, where the
    /// store says them.
    ///
    /// # Errors
    /// `Plan` if a store is unknown; what the store says after all attempts; `Cancelled`.
    pub(crate) async fn new_side(cx: &'a StepContext, dataset: &'a DatasetPlan) -> Result<Option<Self>> {
        let mut references = Vec::new();
        for (field, other) in dataset.references() {
            let Some(other) = cx.plan.datasets.iter().find(|dataset| dataset.name == other) else { continue };
            // What was looked up is what the other record has there, and no legacy record has it.
            let lookup = dataset.fields.lookup.get(&field);
            let to = Side::new(cx, &other.to, lookup.map_or(&other.key, |lookup| &lookup.field), None)?;
            let computed = dataset.map.contains_key(&field) || lookup.is_some();
            let before = if computed { None } else { Some(Side::new(cx, &other.from, &other.key, None)?) };
            references.push(Reference { field, named: other.name.clone(), to, before });
        }
        let mapping = Mapping::new(dataset)?;
        let side = Side::new(cx, &dataset.to, &dataset.key, mapping.updated_there().map(ToOwned::to_owned))?;
        let track = track(cx, dataset);
        let doing = format!("look at {} in {}", side.set.name, side.name);
        for link in track.call(&doing, || side.store.sketch(&side.set)).await?.links {
            if references.iter().any(|known| known.field == link.field) {
                continue;
            }
            let mut to = side.clone();
            to.set.name.clone_from(&link.set);
            to.set.key.clone_from(&link.key);
            to.set.updated = None;
            references.push(Reference { field: link.field, named: link.set, to, before: None });
        }
        let files = match &dataset.blob {
            Some(plan) => Some(Files { plan, mapping, bucket: cx.ports.bucket(&plan.to)? }),
            None => None,
        };
        let unique = dataset.fields.unique.as_slice();
        let nothing = references.is_empty() && unique.is_empty() && files.is_none();
        Ok((!nothing).then_some(Self { track, dataset, side, references, unique, files }))
    }

    /// There are references to look at.
    pub(crate) fn refers(&self) -> bool {
        !self.references.is_empty()
    }
}

/// Its progress is told by the step, so it has none of its own.
fn track<'a>(cx: &'a StepContext, dataset: &DatasetPlan) -> Track<'a> {
    Track::new(cx, dataset.lane(), LaneKind::Records, LaneStage::Verifying)
}
