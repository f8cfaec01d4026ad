//! The evidence for a gate: what earlier phases found and what does not change any more, and beside it everything that
//! can change, measured anew.
//!
//! A step's check without an age stands for good. One with an age would go stale while the gate waits; it is therefore
//! replaced by a new measurement, or repeated here (journeys, the way back) once half of its time is over. So only what
//! really cannot be measured any more goes stale. What was about the time before the names moved stands for good
//! once they have: that the inactive colour worked (users' own journeys say it now), and that writes were refused (the
//! same request may now reach the new side, and would be taken).

use crate::{
    engine::{StepContext, view::RunView},
    error::Result,
    migrate::{account, marker},
    model::{Check, Mode, Phase, Severity, StepState, Timestamp, Verdict},
    phases::{
        deployment, dns_cutover,
        examine::{answered, verdict, within},
        follow, gather, id, maintenance, preparation, probing, rollback, truth,
        turn::{before, colours, observe, short_lived},
        validation,
    },
    plan::{Plan, ProbePlan, ProbeUse},
    ports::Position,
};
use futures::future::join_all;
use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

/// Longest wait for one answer.
const LOOK: Duration = Duration::from_secs(2);
/// Longest wait for sums over the work tables, and for what takes several answers.
const SUM: Duration = Duration::from_secs(5);

/// Measurements that were repeated for a gate, by name.
#[derive(Default)]
pub(super) struct Fresh(Mutex<BTreeMap<String, Check>>);

impl Fresh {
    fn newer(&self, check: Check) -> Check {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.get(&check.name).filter(|kept| kept.at > check.at).cloned().unwrap_or(check)
    }

    fn keep(&self, check: &Check) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(check.name.clone(), check.clone());
    }
}

/// All of it, by name each once; the newest measurement wins.
pub(super) async fn measure(cx: &StepContext, view: &RunView, phase: Phase, fresh: &Fresh) -> Vec<Check> {
    let carried = carried(&cx.plan, view, phase);
    let (repeated, anew) = tokio::join!(repeat(cx, view, phase, carried, fresh), anew(cx, view, phase));
    let mut all: Vec<Check> = Vec::new();
    for check in repeated.into_iter().chain(anew) {
        match all.iter_mut().find(|known| known.name == check.name) {
            Some(known) => *known = check,
            None => all.push(check),
        }
    }
    all
}

/// Checks of what earlier phases did; a step that was skipped has none, its risk is shown as an exception.
fn carried(plan: &Plan, view: &RunView, phase: Phase) -> Vec<Check> {
    let over = |check: &Check| {
        plan.probes.iter().filter_map(|probe| again(probe, &check.name)).any(|how| {
            how.refused || how.probe.uses.contains(&ProbeUse::Inactive) && !how.probe.uses.contains(&ProbeUse::After)
        })
    };
    view.phases
        .iter()
        .filter(|earlier| earlier.phase < phase)
        .flat_map(|earlier| &earlier.steps)
        .filter(|step| step.state == StepState::Done)
        .flat_map(|step| step.checks.iter().cloned())
        .map(|mut check| {
            if phase > Phase::DnsCutover && over(&check) {
                check.max_age = None;
            }
            check
        })
        .collect()
}

/// Repeats what is half-way to being stale and can be repeated.
async fn repeat(cx: &StepContext, view: &RunView, phase: Phase, carried: Vec<Check>, fresh: &Fresh) -> Vec<Check> {
    let proofs = proofs(view, phase);
    let (now, half) = (Timestamp::now(), cx.plan.rollback.evidence_max_age / 2);
    let newest: Vec<Check> = carried.into_iter().map(|check| fresh.newer(check)).collect();
    let old = |check: &Check| check.age(now) > half;
    let prove = !proofs.is_empty() && newest.iter().any(|check| proofs.contains(&check.name) && old(check));
    let proven = async {
        if !prove {
            return Vec::new();
        }
        match within(SUM, "prove the way back", marker::prove_way_back(cx)).await {
            Ok(checks) => checks,
            // What was proven earlier stays in the list with its age; that it cannot be proven now is said beside it.
            Err(fault) => vec![
                Check::new("way back, proven again", Verdict::Unknown, fault.chain(), Timestamp::now())
                    .remedy(fault.kind.remedy()),
            ],
        }
    };
    let walked = join_all(
        newest
            .iter()
            .filter(|check| check.max_age.is_some() && old(check))
            .filter_map(|check| {
                cx.plan.probes.iter().find_map(|probe| again(probe, &check.name)).map(|how| (check, how))
            })
            .map(|(_, how)| walk(cx, how)),
    );
    let (proven, walked) = tokio::join!(proven, walked);
    let repeated: Vec<Check> = proven.into_iter().chain(walked.into_iter().flatten()).collect();
    for check in &repeated {
        fresh.keep(check);
    }
    newest.into_iter().chain(repeated).collect()
}

/// Names of the checks that prove the way back, for gates before the names move: afterwards it is used or not needed.
fn proofs(view: &RunView, phase: Phase) -> Vec<String> {
    if phase > Phase::DnsCutover || view.mode == Mode::DryRun {
        return Vec::new();
    }
    let step = view.step(&id(Phase::Validation, validation::WAY_BACK));
    step.filter(|step| step.state == StepState::Done)
        .map(|step| step.checks.iter().map(|check| check.name.clone()).collect())
        .unwrap_or_default()
}

/// How a probe's check is repeated.
struct Again<'a> {
    probe: &'a ProbePlan,
    refused: bool,
}

fn again<'a>(probe: &'a ProbePlan, check: &str) -> Option<Again<'a>> {
    let counts = probe.uses.contains(&ProbeUse::Watch);
    if probe.name == check && !counts {
        return Some(Again { probe, refused: false });
    }
    let refused = check.strip_suffix(" refused") == Some(&probe.name);
    refused.then_some(Again { probe, refused })
}

async fn walk(cx: &StepContext, how: Again<'_>) -> Option<Check> {
    let mut vars = BTreeMap::new();
    if how.probe.uses.contains(&ProbeUse::Inactive)
        && let Ok(colours) = colours(cx).await
    {
        vars.insert("colour".to_owned(), colours.new.0);
    }
    let result = within(LOOK, "repeat the measurement", probing::measure(cx, how.probe, &vars)).await;
    if how.refused {
        return Some(maintenance::refused(&how.probe.name, &result).stale_after(cx.plan.rollback.evidence_max_age));
    }
    // Only a stop is an error here, and then there is no gate any more.
    probing::passed(cx, how.probe, &result).ok()
}

/// Everything that can change, measured now.
async fn anew(cx: &StepContext, view: &RunView, phase: Phase) -> Vec<Check> {
    let age = cx.plan.rollback.evidence_max_age;
    let surroundings = async {
        within(LOOK, "look at the surroundings", async { Ok(preparation::surroundings(cx, false).await) }).await
    };
    let (surroundings, stores, buckets, switches, accounted, followed) = tokio::join!(
        surroundings,
        stores(cx),
        buckets(cx),
        switches(cx, view),
        accounted(cx, view, phase),
        within(SUM, "see how the lanes follow", follow::evidence(cx, view, phase))
    );
    let followed = followed.unwrap_or_else(|fault| vec![unknown("following", &fault.chain())]);
    let surroundings = surroundings.unwrap_or_else(|fault| vec![unknown("surroundings", &fault.chain())]);
    let now = Timestamp::now();
    let mut checks: Vec<Check> = [surroundings, stores, buckets, switches, accounted, followed]
        .into_iter()
        .flatten()
        .map(|check| check.stale_after(age))
        .collect();
    checks.extend(rules(view, phase, now).into_iter().map(|check| check.stale_after(age)));
    checks.push(quiet(view).stale_after(age));
    checks.push(Check::new("way back", Verdict::Pass, rollback::summary(&view.undo), now).stale_after(age));
    checks
}

fn unknown(name: &str, why: &str) -> Check {
    Check::new(name, Verdict::Unknown, why, Timestamp::now()).remedy("see why this cannot be measured now")
}

async fn stores(cx: &StepContext) -> Vec<Check> {
    let mut by_store = BTreeMap::new();
    for dataset in &cx.plan.datasets {
        for side in [gather::legacy(cx, dataset), gather::new(cx, dataset)].into_iter().flatten() {
            by_store.entry(side.name.clone()).or_insert(side);
        }
    }
    join_all(by_store.into_iter().map(|(name, side)| async move {
        let asked = within(LOOK, "describe a set", side.store.describe(&side.set)).await;
        let value = asked.map(|info| match info.count {
            Some(count) => format!("answers, {count} in {}", side.set.name),
            None => "answers".into(),
        });
        answered(format!("store {name}"), value)
    }))
    .await
}

async fn buckets(cx: &StepContext) -> Vec<Check> {
    join_all(cx.ports.buckets.iter().map(|(name, bucket)| async move {
        let reached = within(LOOK, "reach a bucket", bucket.reach()).await;
        answered(format!("bucket {name}"), reached.map(|_| "answers".into()))
    }))
    .await
}

/// Every switch stands where the run intends.
async fn switches(cx: &StepContext, view: &RunView) -> Vec<Check> {
    join_all(cx.ports.switches.iter().map(|(name, port)| async move {
        let check = format!("{name} observed");
        let (intended, seen) = tokio::join!(
            intends(cx, view, name),
            within(LOOK, "look where a switch stands", observe(cx, name, port.as_ref()))
        );
        let seen = match seen {
            Ok(seen) => seen,
            Err(fault) => return answered(check, Err(fault)),
        };
        let stands = seen.position.as_ref().map_or_else(|| "witnesses differ".into(), |position| position.0.clone());
        match intended.ok().flatten() {
            None => verdict(check, seen.position.is_some(), stands, "see why nobody can say where it stands"),
            Some(intended) => {
                let remedy = "somebody else turned it, or it did not hold: turn it to where the run intends it";
                verdict(check, seen.position.as_ref() == Some(&intended), stands, remedy).limit(intended.0)
            }
        }
    }))
    .await
}

/// Where the run intends a switch to stand now; `None` if the run has not looked at it yet.
async fn intends(cx: &StepContext, view: &RunView, switch: &str) -> Result<Option<Position>> {
    let live = view.mode != Mode::DryRun;
    let acts = |phase, step| live && truth::acts(view, phase, step);
    Ok(match switch {
        maintenance::SWITCH if truth::maintenance(view).is_some() => truth::maintenance(view).map(Position::new),
        deployment::SWITCH if acts(Phase::Deployment, "activate") => Some(colours(cx).await?.new),
        deployment::RELEASE if acts(Phase::Deployment, "release") => Some(colours(cx).await?.new),
        dns_cutover::SWITCH if acts(Phase::DnsCutover, "change") => {
            cx.ports.switch(switch).and_then(|port| port.target())
        }
        dns_cutover::SWITCH if acts(Phase::Preparation, preparation::SHORT_LIVED) => {
            let target = cx.ports.switch(switch).and_then(|port| port.target());
            let before = before(cx, switch).await?;
            before.map(|before| target.map_or_else(|| before.clone(), |target| short_lived(&before, &target)))
        }
        _ => before(cx, switch).await?,
    })
}

/// Once data moved: every item is accounted for.
async fn accounted(cx: &StepContext, view: &RunView, phase: Phase) -> Vec<Check> {
    let moved = view.phase(Phase::DataMigration).finished.is_some() && view.mode != Mode::DryRun;
    if !moved || phase <= Phase::DataMigration || !cx.plan.moves_data() {
        return Vec::new();
    }
    match within(SUM, "account for every item", account(cx)).await {
        Ok(checks) => checks,
        Err(fault) => vec![unknown("accounted for", &fault.chain())],
    }
}

/// What the watch rules say. Before they may act, a rule without enough samples says nothing and is left out; for the
/// commit it must say something, unless nothing was switched.
fn rules(view: &RunView, phase: Phase, now: Timestamp) -> Vec<Check> {
    view.rules
        .values()
        .filter_map(|rule| {
            let name = format!("rule {}", rule.rule);
            let value = rule.value.map_or_else(|| "no data".into(), |value| format!("{value:.3}"));
            let value = format!("{value}, {} of {} breaches", rule.breaches, rule.budget);
            let decided = rule.samples >= rule.min_samples && rule.value.is_some();
            let check = if rule.breaches > 0 {
                verdict(name, false, value, "wait until it is quiet, or find out what it sees")
            } else if decided {
                verdict(name, true, value, "")
            } else if phase == Phase::Cleanup && view.mode != Mode::DryRun {
                Check::new(name, Verdict::Unknown, format!("{} of {} samples", rule.samples, rule.min_samples), now)
                    .remedy("wait for more traffic, or waive this with what else you know")
            } else {
                return None;
            };
            Some(check.limit(format!("{}", rule.limit)))
        })
        .collect()
}

/// No critical alert is open.
fn quiet(view: &RunView) -> Check {
    let open: Vec<&str> = view
        .alerts
        .iter()
        .filter(|alert| alert.severity == Severity::Critical && alert.cleared.is_none() && alert.acknowledged.is_none())
        .map(|alert| alert.text.as_str())
        .collect();
    let value = match open.last() {
        None => "none open".to_owned(),
        Some(last) => format!("{} open, the last: {last}", open.len()),
    };
    verdict("critical alerts", open.is_empty(), value, "look at it and acknowledge it, or wait until it clears")
}

#[cfg(test)]
#[path = "evidence_tests.rs"]
mod tests;
