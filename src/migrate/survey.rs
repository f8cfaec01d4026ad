//! What a plan would move, before anything moves. How long that takes is measured on a sample (`sample`): nothing is
//! written, so what the writes cost is only bounded. `fit` holds both schemas against the mapping and nothing more.

mod fit;
mod rows;
mod sample;

pub use fit::{Fit, fits};

pub use rows::RowSurvey;

use super::{
    Mapping,
    compare::Kinds,
    records::{bulk::PAGE_BYTES, fingerprint},
    schema::{self, Findings, Schemas},
};
use crate::{
    error::Result,
    model::{Field, Record},
    plan::{DatasetPlan, FileSetPlan, Plan, SetPlan},
    ports::{Form, Found, Ports, RecordStore, SetInfo, SetRef},
};
use futures::StreamExt as _;
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

/// What a plan would move.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Survey {
    /// Per dataset, in the plan's order.
    pub datasets: Vec<DatasetSurvey>,
    /// Per file set, in the plan's order.
    pub file_sets: Vec<FileSetSurvey>,
    /// Shortest and longest likely time; `None` if a part of it could not be measured.
    pub seconds: Option<Forecast>,
    /// What must be mended before a run can begin.
    pub blockers: Vec<String>,
    /// What a person should know.
    pub warnings: Vec<String>,
    /// What would be better.
    pub recommendations: Vec<String>,
}

/// What a dataset would move.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct DatasetSurvey {
    /// Its name.
    pub name: String,
    /// Records on the legacy side; `None` if it cannot say.
    pub records: Option<u64>,
    /// That number is the store's own guess: to count them would take too long.
    pub estimated: bool,
    /// Records that stand on the new side already.
    pub standing: Option<u64>,
    /// Bytes of its records, from a sample.
    pub record_bytes: Option<u64>,
    /// Files behind its records, from a sample; `None` if it has none.
    pub files: Option<u64>,
    /// Bytes of those files, from a sample; `None` if neither rows nor bucket say.
    pub file_bytes: Option<u64>,
    /// Files by size, from a sample; `None` as above.
    pub sizes: Option<Vec<SizeClass>>,
    /// Files that stand in the target already and are the same, from a sample; `None` if a server does not say.
    pub already: Option<u64>,
    /// Some of its records, as both sides have or would have them.
    pub rows: Vec<RowSurvey>,
    /// What was read for it.
    pub sample: SampleSurvey,
    /// How long it is likely to take; `None` if that could not be measured.
    pub seconds: Option<Forecast>,
    /// What was found about it.
    #[serde(flatten)]
    pub findings: Findings,
}

/// A range of time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Forecast {
    /// Shortest likely time in seconds.
    pub low: f64,
    /// Longest likely time in seconds.
    pub high: f64,
}

impl Forecast {
    /// One after the other.
    fn and(self, other: Self) -> Self {
        Self { low: self.low + other.low, high: self.high + other.high }
    }
}

/// Files up to a size and above the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SizeClass {
    /// Bytes, at most; `None` for all that are longer.
    pub up_to: Option<u64>,
    /// How many files.
    pub files: u64,
}

/// What was read to measure.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct SampleSurvey {
    /// Files read from the source.
    pub files: u64,
    /// Their bytes, as far as they were read.
    pub bytes: u64,
    /// How long that took.
    pub seconds: f64,
    /// Keys looked up in the target.
    pub looked_up: u64,
    /// How long that took.
    pub looked_up_seconds: f64,
}

/// What a file set would move.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct FileSetSurvey {
    /// Its name.
    pub name: String,
    /// Files that were found.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// There are more: the look ended before the listing did.
    pub more: bool,
    /// The files that were found, by size.
    pub sizes: Vec<SizeClass>,
    /// Files that stand in the target already and are the same, from a sample; `None` if a server does not say.
    pub already: Option<u64>,
    /// What was read for it.
    pub sample: SampleSurvey,
    /// How long it is likely to take; `None` if that could not be measured, or there are more.
    pub seconds: Option<Forecast>,
    /// What was found about it.
    #[serde(flatten)]
    pub findings: Findings,
}

/// How long a bucket is listed, at least if it holds that much.
const LISTED: Duration = Duration::from_secs(15);
/// Records looked at in the sample, and from so many places of the set.
const SAMPLE: u32 = 200;
const PLACES: u32 = 4;
/// Writing is reckoned to take at most so many times as long as reading; it cannot be measured without writing.
const WRITES: f64 = 4.0;
/// The same for records, which a database can give in far larger pieces than it takes them.
const RECORD_WRITES: f64 = 8.0;

/// Looks at both sides of every dataset without changing anything.
///
/// # Errors
/// Only `Plan`; a server that does not answer is a blocker in the survey.
pub async fn survey(plan: &Plan, ports: &Ports) -> Result<Survey> {
    let mut survey = Survey { seconds: Some(Forecast::default()), ..Survey::default() };
    for dataset in &plan.datasets {
        let found = look(plan, dataset, ports).await?;
        survey.seconds = survey.seconds.zip(found.seconds).map(|(sum, more)| sum.and(more));
        survey.tell(&found.name, &found.findings);
        survey.datasets.push(found);
    }
    for set in &plan.file_sets {
        let found = look_at_files(plan, set, ports).await?;
        survey.seconds = survey.seconds.zip(found.seconds).map(|(sum, more)| sum.and(more));
        survey.tell(&found.name, &found.findings);
        survey.file_sets.push(found);
    }
    Ok(survey)
}

impl Survey {
    /// What was found about a part of the plan.
    fn tell(&mut self, name: &str, findings: &Findings) {
        let named = |all: &[String]| all.iter().map(|one| format!("{name}: {one}")).collect::<Vec<_>>();
        self.blockers.extend(named(&findings.blockers));
        self.warnings.extend(named(&findings.warnings));
        self.recommendations.extend(named(&findings.recommendations));
    }
}

/// Lists what a bucket holds, for so long that a preview ends soon, and measures a sample spread over that.
async fn look_at_files(plan: &Plan, set: &FileSetPlan, ports: &Ports) -> Result<FileSetSurvey> {
    let sizes = sample::empty_classes();
    let mut seen = FileSetSurvey { name: set.name.clone(), sizes, ..FileSetSurvey::default() };
    let (began, mut spread) = (Instant::now(), BTreeMap::new());
    let mut scan = Arc::clone(&ports.bucket(&set.from.bucket)?).scan(&set.from.prefix);
    let mut odd = None;
    while let Some(page) = scan.next().await {
        if began.elapsed() >= LISTED {
            seen.more = true;
            seen.findings.warnings.push(format!("only the first {} files were looked at", seen.files));
            break;
        }
        match page {
            Ok(found) => {
                for found in found {
                    match found {
                        Found::Blob(blob) => {
                            seen.files += 1;
                            seen.bytes += blob.size;
                            sample::classify(&mut seen.sizes, blob.size);
                            spread.insert(fingerprint(&blob.key), (blob.key, blob.size));
                            if spread.len() > sample::FILES {
                                spread.pop_last();
                            }
                        }
                        Found::Odd { name, why } => drop(odd.get_or_insert(format!("{name}: {why}"))),
                    }
                }
            }
            Err(fault) => {
                seen.findings.blockers.push(fault.advice());
                break;
            }
        }
    }
    seen.findings.warnings.extend(odd.map(|odd| format!("there is what cannot be moved, first {odd}")));
    let trouble = sample::of_set(plan, set, ports, spread.into_values().collect(), &mut seen).await?;
    seen.findings.warnings.extend(trouble.map(|why| format!("a sample of its files met: {why}")));
    Ok(seen)
}

async fn look(plan: &Plan, dataset: &DatasetPlan, ports: &Ports) -> Result<DatasetSurvey> {
    let mut found = DatasetSurvey { name: dataset.name.clone(), ..DatasetSurvey::default() };
    let mapping = match Mapping::new(dataset) {
        Ok(mapping) => mapping,
        Err(fault) => {
            found.findings.blockers.push(fault.advice());
            return Ok(found);
        }
    };
    let old = ports.store(&dataset.from.store)?;
    let new = ports.store(&dataset.to.store)?;
    let from = set_of(&dataset.from, dataset, dataset.updated.clone());
    let to = set_of(&dataset.to, dataset, mapping.updated_there().map(ToOwned::to_owned));
    let (source, target) = futures::join!(old.sketch(&from), new.sketch(&to));
    let mut known =
        |said: Result<SetInfo>| said.map_err(|fault| found.findings.blockers.push(fault.advice())).unwrap_or_default();
    let (source, target) = (known(source), known(target));
    (found.records, found.estimated, found.standing) = (source.count, source.estimated, target.count);
    let others = looked_into(plan, dataset, ports).await?;
    let schemas = Schemas { source: &source.fields, target: &target.fields, others: &others };
    found.findings.add(schema::check(dataset, &mapping, schemas));
    if let Some(standing) = found.standing.filter(|standing| *standing > 0) {
        found.findings.warnings.push(format!("{standing} records stand on the new side already"));
    }
    match sampled(plan, old.as_ref(), &from).await {
        Ok((records, each)) => {
            let kinds = Kinds::new(&target.fields, &dataset.fields.kinds);
            let (rows, wrong) = rows::look(dataset, &mapping, &kinds, &records);
            found.rows = rows;
            if let Some(wrong) = wrong {
                // So many may fail in a run.
                let allowed = plan.may_fail(&dataset.lane(), Some(records.len() as u64));
                let bearable = allowed.is_some_and(|allowed| wrong.failed <= allowed);
                let list = if bearable { &mut found.findings.warnings } else { &mut found.findings.blockers };
                list.push(wrong.why);
            }
            scale(dataset, &records, &mut found);
            found.seconds = records_take(each, found.records);
            if dataset.blob.is_some() {
                let trouble = sample::files(plan, dataset, ports, &records, &mut found).await?;
                found.findings.warnings.extend(trouble.map(|why| format!("a sample of its files met: {why}")));
            }
        }
        Err(fault) => found.findings.blockers.push(fault.advice()),
    }
    Ok(found)
}

/// Records from several places of a set, where it can be parted, and how many seconds one takes to be read as a lane reads
/// it: in whole pages, of which the last place gives one.
#[expect(clippy::cast_precision_loss, reason = "a rough forecast")]
async fn sampled(plan: &Plan, store: &dyn RecordStore, set: &SetRef) -> Result<(Vec<Record>, f64)> {
    let places = store.split(set, PLACES).await?;
    let each = SAMPLE.div_ceil(u32::try_from(places.len()).unwrap_or(1).max(1));
    let mut records = Vec::new();
    for place in &places {
        records.extend(store.read(set, place, each).await?.records);
    }
    let Some(last) = places.last() else { return Ok((records, 0.0)) };
    let (asked, page) = (Instant::now(), plan.migration.batch_records);
    let rows = match store.block_source() {
        Some(blocks) => blocks.read_block(set, last, page, PAGE_BYTES, Form::Text).await?.block.rows(),
        None => store.read(set, last, page).await?.records.len(),
    };
    Ok((records, asked.elapsed().as_secs_f64() / rows.max(1) as f64))
}

fn set_of(plan: &SetPlan, dataset: &DatasetPlan, updated: Option<String>) -> SetRef {
    SetRef { name: plan.name.clone(), key: dataset.key.clone(), updated }
}

/// What the new side says of the datasets that this one looks into; nothing of one that does not answer, which is told
/// where it is looked at itself.
async fn looked_into(plan: &Plan, dataset: &DatasetPlan, ports: &Ports) -> Result<BTreeMap<String, Vec<Field>>> {
    let mut others = BTreeMap::new();
    for lookup in dataset.fields.lookup.values() {
        if let Some(other) = plan.datasets.iter().find(|other| other.name == lookup.dataset) {
            let said = ports.store(&other.to.store)?.sketch(&set_of(&other.to, other, None)).await;
            others.insert(other.name.clone(), said.map(|info| info.fields).unwrap_or_default());
        }
    }
    Ok(others)
}

/// Reading them all, and writing them.
#[expect(clippy::cast_precision_loss, reason = "a rough forecast")]
fn records_take(each: f64, records: Option<u64>) -> Option<Forecast> {
    let low = each * records? as f64;
    Some(Forecast { low, high: low * (1.0 + RECORD_WRITES) })
}

/// Sizes from a sample, scaled to the whole.
fn scale(dataset: &DatasetPlan, records: &[Record], found: &mut DatasetSurvey) {
    // Users may have added some since they were counted.
    found.records = found.records.map(|count| count.max(records.len() as u64));
    let total = found.records.unwrap_or(records.len() as u64);
    let scaled = |sum: u64| if records.is_empty() { 0 } else { sum.saturating_mul(total) / records.len() as u64 };
    let bytes: u64 = records.iter().map(Record::weight).sum();
    found.record_bytes = Some(scaled(bytes));
    if let Some(blob) = &dataset.blob {
        let has_path = |record: &&Record| record.text(&blob.path).is_some_and(|path| !path.is_empty());
        found.files = Some(scaled(records.iter().filter(has_path).count() as u64));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        error::FaultKind,
        migrate::world::{World, blob_key, bytes as bytes_of, loose},
        ports::fakes::Mishap,
    };
    use serde_json::json;

    #[tokio::test]
    async fn says_what_would_move_and_what_stands_in_the_way() {
        let world = World::new(10, 4);
        let cx = world.start();
        let calm = survey(&cx.plan, &cx.ports).await.unwrap();
        assert_eq!(calm.blockers, Vec::<String>::new());
        assert_eq!(
            calm.datasets.iter().map(|set| (set.records, set.files)).collect::<Vec<_>>(),
            [(Some(10), None), (Some(4), Some(4))]
        );
        let bytes: u64 = world.media.blobs().values().map(|bytes| bytes.len() as u64).sum();
        let set = &calm.datasets[1];
        assert_eq!((set.file_bytes, set.already), (Some(bytes), Some(0)));
        let sizes: Vec<u64> = set.sizes.as_ref().unwrap().iter().map(|class| class.files).collect();
        assert_eq!(sizes, [0, 4, 0, 0, 0, 0]);
        assert_eq!((set.sample.files, set.sample.bytes, set.sample.looked_up), (4, bytes, 4));
        assert!(calm.seconds.is_some_and(|seconds| 0.0 < seconds.low && seconds.low <= seconds.high), "{calm:?}");
        assert!(world.r2.blobs().is_empty(), "nothing is written");
        world.r2.put_bytes(&blob_key(1), bytes_of(1));
        world.r2.put_bytes(&blob_key(2), "something else");
        assert_eq!(survey(&cx.plan, &cx.ports).await.unwrap().datasets[1].already, Some(1));
        world.trouble.always("media.open", Mishap::Fail(FaultKind::Server));
        world.trouble.always("r2.head", Mishap::Fail(FaultKind::Server));
        let dark = survey(&cx.plan, &cx.ports).await.unwrap();
        assert_eq!((dark.datasets[1].already, dark.datasets[1].seconds, dark.seconds), (None, None, None));
        world.old.put("users", json!({"id": 11, "updated_at": ""}));
        world.new.put("users", json!({"id": 1}));
        world.trouble.always("new.describe", Mishap::Fail(FaultKind::Unauthorized));
        let shut = survey(&cx.plan, &cx.ports).await.unwrap();
        assert_eq!(shut.blockers.len(), 3, "{:?}", shut.blockers);
        assert!(shut.blockers.iter().any(|blocker| blocker.contains("`first`")), "{:?}", shut.blockers);
    }

    #[tokio::test]
    async fn measures_a_file_set_as_it_does_a_dataset() {
        let mut world = World::new(0, 0);
        world.plan.datasets.clear();
        world.plan.file_sets = vec![loose()];
        (0..300).for_each(|id| world.media.put_bytes(&format!("uploads/{id}"), "x".repeat(id % 3)));
        (0..300).for_each(|id| world.r2.put_bytes(&format!("store/{id}"), "x".repeat(id % 3)));
        let found = survey(&world.start().plan, &world.start().ports).await.unwrap();
        let set = &found.file_sets[0];
        assert_eq!((set.files, set.bytes, set.more, set.already), (300, 300, false, Some(300)));
        assert_eq!(set.sizes.iter().map(|class| class.files).collect::<Vec<_>>(), [100, 200, 0, 0, 0, 0]);
        assert_eq!((set.sample.files, set.sample.looked_up), (200, 200));
        let seconds = set.seconds.expect("measured");
        assert!(0.0 < seconds.low && seconds.low <= seconds.high, "{set:?}");
        assert_eq!(found.seconds, Some(seconds));
        let cx = world.start();
        world.trouble.always("media.open", Mishap::Fail(FaultKind::Permission));
        let dark = survey(&cx.plan, &cx.ports).await.unwrap();
        assert_eq!((dark.file_sets[0].seconds, dark.seconds), (None, None));
        assert!(dark.warnings[0].starts_with("loose: a sample of its files met"), "{:?}", dark.warnings);
    }
}
