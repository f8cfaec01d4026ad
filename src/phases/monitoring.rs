//! Phase 8, monitoring: the run waits for the planned time while the rules watch.
//!
//! The rules act from the engine's watch, not from here. What happens here besides waiting: the journeys are walked every
//! so often, so that a night without users is not a night without data. Time counts only while this process watched: a
//! run that was dead for an hour has not monitored for an hour.

use crate::{
    engine::{StepContext, StepDone, Unmet},
    error::Result,
    model::{Check, Phase, Verdict},
    phases::{Entry, examine::Examine, post_validation, probing},
    plan::{PhasePlan, Plan, ProbeUse},
};
use serde_json::json;
use std::{collections::BTreeMap, time::Duration};
use tokio::time::Instant;

const PHASE: Phase = Phase::Monitoring;
/// Where the time watched so far is kept.
const WATCHED: &str = "monitoring/watched_ms";
/// Longest time between two words about the progress.
const BEAT: Duration = Duration::from_secs(1);
/// Shortest time between two walks.
const SHORTEST: Duration = Duration::from_millis(5);
/// Failures of one journey in a row that end the phase: one may be a hiccup.
const IN_A_ROW: u32 = 2;

/// The watch, and what the legacy side still took meanwhile.
pub(super) fn steps(plan: &Plan) -> Vec<Entry> {
    let mut steps = vec![Entry::acts(Examine::new(PHASE, "watch", "Watch the new side", |cx| Box::pin(watch(cx))))];
    if plan.moves_data() {
        steps.push(Entry::acts(Examine::new(PHASE, "late-changes", "Settle what changed meanwhile", |cx| {
            Box::pin(post_validation::late_changes(cx))
        })));
    }
    steps
}

async fn watch(cx: &StepContext) -> Result<StepDone> {
    let told = &cx.plan.phases[&PHASE];
    let mut watched = watched(cx).await?;
    let mut night = Night::default();
    let walks = walks(told);
    let mut next_walk = watched;
    while watched < told.duration {
        cx.signals.breathe().await?;
        let began = Instant::now();
        if watched >= next_walk {
            night.walk(cx).await?;
            next_walk = watched + walks;
        }
        let left = told.duration.saturating_sub(watched);
        cx.report.note(Some(watched.div_duration_f64(told.duration)), format!("{:.0} s left", left.as_secs_f64()));
        let pause = BEAT.min(left).min(next_walk.saturating_sub(watched));
        cx.signals.wait(pause.saturating_sub(began.elapsed())).await?;
        watched += began.elapsed();
        cx.work.note(WATCHED, &json!(u64::try_from(watched.as_millis()).unwrap_or(u64::MAX))).await?;
    }
    if night.walks == 0 {
        night.walk(cx).await?;
    }
    Ok(StepDone::new(format!("watched for {:.0} s", watched.as_secs_f64())).checks(night.checks()))
}

/// Between two walks: a few evaluations of the rules, since a journey costs more than a look at counters, but often
/// enough that every journey is walked at least three times.
fn walks(told: &PhasePlan) -> Duration {
    (told.every * 5).min(told.duration / 3).max(SHORTEST)
}

async fn watched(cx: &StepContext) -> Result<Duration> {
    let noted = cx.work.noted(WATCHED).await?;
    Ok(Duration::from_millis(noted.and_then(|value| value.as_u64()).unwrap_or(0)))
}

/// The journeys of a night without users.
#[derive(Default)]
struct Night {
    walks: u64,
    failing: BTreeMap<String, u32>,
    last: Vec<Check>,
}

impl Night {
    /// Walks every journey once; one that fails for the second time in a row ends the phase.
    async fn walk(&mut self, cx: &StepContext) -> Result<()> {
        self.walks += 1;
        self.last.clear();
        for probe in probing::of_use(&cx.plan, ProbeUse::After) {
            let check = probing::passed(cx, probe, &probing::measure(cx, probe, &BTreeMap::new()).await)?;
            let failing = self.failing.entry(probe.name.clone()).or_default();
            *failing = if check.verdict == Verdict::Pass { 0 } else { *failing + 1 };
            if *failing > 0 {
                cx.report.note(None, format!("{} failed: {}", probe.name, check.value));
            }
            self.last.push(check);
        }
        if self.failing.values().any(|failures| *failures >= IN_A_ROW) {
            return Err(Unmet::fault(
                format!("see every journey pass; one failed {IN_A_ROW} times in a row"),
                self.checks(),
            ));
        }
        Ok(())
    }

    fn checks(&self) -> Vec<Check> {
        self.last.clone()
    }
}
