//! Phase 7, post-validation: the new side does what users do, holds what the legacy side held, and is fast enough.
//!
//! What the legacy side still took after a record was copied is found and settled here. Must never enter: how a journey
//! is walked.

use crate::{
    engine::{StepContext, StepDone, Unmet},
    error::Result,
    migrate::{account, records},
    model::{Check, Phase, Timestamp, Verdict},
    phases::{
        Entry, data_migration,
        examine::{Examine, count, judge},
        probing, write_back,
    },
    plan::{DatasetPlan, Op, Plan, ProbePlan, ProbeUse},
    sync,
};
use std::collections::BTreeMap;

const PHASE: Phase = Phase::PostValidation;
/// Times each journey is walked for the performance check.
const WALKS: usize = 3;
/// The 95th of a hundred requests.
const P95: f64 = 0.95;
/// Mean response time from which on the seeds roll back, in milliseconds: the limit where the plan has no rule.
const SLOW_MS: f64 = 1000.0;

/// The steps the plan gives cause for.
pub(super) fn steps(plan: &Plan) -> Vec<Entry> {
    let mut steps = Vec::new();
    for group in Group::ALL {
        if probing::of_use(plan, ProbeUse::After).any(|probe| Group::of(probe) == group) {
            steps.push(Entry::acts(Examine::new(PHASE, group.name(), group.title(), move |cx| {
                Box::pin(walk(cx, group))
            })));
        }
    }
    if !plan.moves_data() {
        return steps;
    }
    steps.push(Entry::acts(Examine::new(PHASE, "late-changes", "Settle what changed since", |cx| {
        Box::pin(late_changes(cx))
    })));
    if !plan.datasets.is_empty() {
        steps.push(Entry::acts(Examine::new(PHASE, "integrity", "Compare both sides again", |cx| {
            Box::pin(integrity(cx))
        })));
    }
    if probing::any(plan, ProbeUse::After) {
        steps.push(Entry::acts(Examine::new(PHASE, "performance", "Measure how fast it answers", |cx| {
            Box::pin(performance(cx))
        })));
    }
    steps.push(Entry::acts(Examine::new(PHASE, "accounted", "Account for every item", |cx| Box::pin(accounted(cx)))));
    steps.extend(plan.datasets.iter().filter_map(|dataset| write_back::tell_again(PHASE, dataset)));
    steps
}

/// What a journey is about, told by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Group {
    Authentication,
    Files,
    Rest,
}

impl Group {
    const ALL: [Self; 3] = [Self::Authentication, Self::Files, Self::Rest];

    fn of(probe: &ProbePlan) -> Self {
        let name = probe.name.to_lowercase();
        let any = |words: &[&str]| words.iter().any(|word| name.contains(word));
        if any(&["login", "auth", "register", "refresh", "session"]) {
            Self::Authentication
        } else if any(&["file", "upload", "download"]) {
            Self::Files
        } else {
            Self::Rest
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Authentication => "authentication",
            Self::Files => "file-operations",
            Self::Rest => "journeys",
        }
    }

    const fn title(self) -> &'static str {
        match self {
            Self::Authentication => "Sign in as users do",
            Self::Files => "Use files as users do",
            Self::Rest => "Do what else users do",
        }
    }
}

async fn walk(cx: &StepContext, group: Group) -> Result<StepDone> {
    let probes = probing::of_use(&cx.plan, ProbeUse::After).filter(|probe| Group::of(probe) == group);
    let (checks, _) = probing::all_pass(cx, probes, &BTreeMap::new()).await?;
    judge("walk every journey", count(checks.len() as u64, "journey") + " passed", checks)
}

/// Changes that the legacy side took after the record or file was copied are carried forward, or decided as the plan says.
pub(super) async fn late_changes(cx: &StepContext) -> Result<StepDone> {
    let mut checks = Vec::new();
    let (mut found, mut open) = (0, 0);
    for (late, report) in settle_all(cx).await? {
        found += late;
        open += report.open;
        checks.extend(report.checks);
    }
    let mut summary = format!("{} found", count(found, "late change"));
    if open > 0 {
        summary = format!("{summary}, {} left to a person", count(open, "conflict"));
    }
    judge("settle what changed on the legacy side", summary, checks)
}

/// Settles what came late in every dataset and file set; gives how many that were, where there were any.
async fn settle_all(cx: &StepContext) -> Result<Vec<(u64, sync::SyncReport)>> {
    let mut settled = Vec::new();
    for dataset in &cx.plan.datasets {
        cx.report.note(None, format!("looks for late changes in {}", dataset.name));
        settled.extend(settle(cx, dataset).await?);
    }
    for set in &cx.plan.file_sets {
        cx.report.note(None, format!("looks for late files in {}", set.name));
        let report = sync::settle_set(cx, set).await?;
        settled.extend(report.map(|report| (report.found(), report)));
    }
    Ok(settled)
}

/// Settles the late changes of one dataset; `None` if there are none.
async fn settle(cx: &StepContext, dataset: &DatasetPlan) -> Result<Option<(u64, sync::SyncReport)>> {
    let drift = sync::drift(cx, dataset).await?;
    if drift.is_empty() {
        return Ok(None);
    }
    Ok(Some((drift.len() as u64, sync::settle(cx, dataset).await?)))
}

/// Compares every dataset. Somebody may still write on the legacy side, whatever the maintenance says: a difference that
/// a late change explains is settled and compared again, as often as the plan lets anything be tried.
async fn integrity(cx: &StepContext) -> Result<StepDone> {
    let mut seen = Vec::new();
    for dataset in &cx.plan.datasets {
        let mut attempt = 1;
        seen.push(loop {
            let verified = records::verify_live(cx, dataset).await?;
            if verified.is_same() || attempt >= cx.plan.migration.attempts || settle(cx, dataset).await?.is_none() {
                break verified;
            }
            cx.report.note(None, format!("compares {} again: it changed meanwhile", dataset.name));
            attempt += 1;
        });
    }
    data_migration::compared("find both sides the same", &seen)
}

/// Every journey is walked a few times; the 95th percentile of its requests is held against the plan's own rule.
async fn performance(cx: &StepContext) -> Result<StepDone> {
    let probes: Vec<&ProbePlan> = probing::of_use(&cx.plan, ProbeUse::After).collect();
    let mut measured = Vec::new();
    for _ in 0..WALKS {
        measured.extend(probing::all_pass(cx, probes.iter().copied(), &BTreeMap::new()).await?.1);
    }
    let limit = limit(&cx.plan);
    let check = match probing::latency(&measured, P95) {
        Some((ms, samples)) => {
            let verdict = if ms <= limit { Verdict::Pass } else { Verdict::Fail };
            let value = format!("{ms:.0} ms over {}", count(samples, "request"));
            Check::new("p95 of the journeys", verdict, value, Timestamp::now()).remedy(if ms <= limit {
                ""
            } else {
                "the new side answers slowly: look at its load, then retry"
            })
        }
        None => Check::new("p95 of the journeys", Verdict::Pass, "no journey says how long it took", Timestamp::now()),
    };
    let check = check.limit(format!("{limit:.0} ms"));
    judge("answer fast enough", check.value.clone(), vec![check])
}

/// The strictest limit that the plan's rules put on latency, or the seeds' own.
fn limit(plan: &Plan) -> f64 {
    plan.rules
        .iter()
        .filter(|rule| matches!(rule.metric.as_str(), "p95" | "mean") && rule.op == Op::Above)
        .map(|rule| rule.limit)
        .reduce(f64::min)
        .unwrap_or(SLOW_MS)
}

/// Each record and file is accounted for; what came late to the legacy side is settled first.
async fn accounted(cx: &StepContext) -> Result<StepDone> {
    let mut attempt = 1;
    loop {
        let checks = account(cx).await?;
        if checks.iter().all(|check| check.verdict == Verdict::Pass) {
            return Ok(StepDone::new("every item is accounted for").checks(checks));
        }
        if attempt >= cx.plan.migration.attempts || settle_all(cx).await?.is_empty() {
            return Err(Unmet::fault("account for every record and file", checks));
        }
        attempt += 1;
    }
}
