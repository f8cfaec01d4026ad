//! Probes as checks: runs those of one use, and judges what they say.

use crate::{
    engine::StepContext,
    error::Result,
    model::{Check, Timestamp, Verdict},
    phases::examine::within,
    plan::{Plan, ProbePlan, ProbeUse},
    ports::{Measurement, Reading},
};
use std::collections::BTreeMap;

/// The plan's probes of this use.
pub(super) fn of_use(plan: &Plan, wanted: ProbeUse) -> impl Iterator<Item = &ProbePlan> {
    plan.probes.iter().filter(move |probe| probe.uses.contains(&wanted))
}

/// True if the plan has a probe of this use.
pub(super) fn any(plan: &Plan, wanted: ProbeUse) -> bool {
    of_use(plan, wanted).next().is_some()
}

/// Measures once with the probe of this plan, but not longer than the plan allows.
pub(super) async fn measure(
    cx: &StepContext,
    probe: &ProbePlan,
    vars: &BTreeMap<String, String>,
) -> Result<Measurement> {
    let port = cx.ports.probe(&probe.name)?;
    let doing = format!("measure with the probe `{}`", probe.name);
    cx.signals.unless_stopped(&doing, within(probe.timeout * 2, &doing, port.measure(vars))).await
}

/// Runs these probes one after the other; each must pass.
pub(super) async fn all_pass(
    cx: &StepContext,
    probes: impl IntoIterator<Item = &ProbePlan>,
    vars: &BTreeMap<String, String>,
) -> Result<(Vec<Check>, Vec<Measurement>)> {
    let probes: Vec<&ProbePlan> = probes.into_iter().collect();
    let mut checks = Vec::with_capacity(probes.len());
    let mut measured = Vec::with_capacity(probes.len());
    for (done, probe) in probes.iter().enumerate() {
        cx.signals.breathe().await?;
        cx.report.note(ratio(done, probes.len()), format!("runs {}", probe.name));
        let (check, result) = persistently(cx, probe, vars).await?;
        checks.push(check);
        measured.extend(result);
    }
    Ok((checks, measured))
}

/// Walks a journey until it passes, as often as the plan lets anything be tried: a single refused connection must not
/// end a night. How often it took stands in the check.
async fn persistently(
    cx: &StepContext,
    probe: &ProbePlan,
    vars: &BTreeMap<String, String>,
) -> Result<(Check, Option<Measurement>)> {
    let mut wait = cx.plan.migration.backoff;
    let mut attempt = 1;
    loop {
        let result = measure(cx, probe, vars).await;
        let mut check = passed(cx, probe, &result)?;
        if check.verdict == Verdict::Pass || attempt >= cx.plan.migration.attempts {
            if attempt > 1 {
                check.value = format!("{}, attempt {attempt}", check.value);
            }
            return Ok((check, result.ok()));
        }
        cx.report.note(None, format!("walks {} again: {}", probe.name, check.value));
        cx.signals.wait(wait).await?;
        wait *= 2;
        attempt += 1;
    }
}

/// The check that a probe passes. A probe that only counts passes by answering. What stopped us is passed on.
pub(super) fn passed(cx: &StepContext, probe: &ProbePlan, result: &Result<Measurement>) -> Result<Check> {
    let check = match result {
        Ok(measurement) => {
            let verdict = match (measurement.verdict, measurement.readings.is_empty()) {
                (Verdict::Unknown, false) => Verdict::Pass,
                (verdict, _) => verdict,
            };
            let check = Check::new(&probe.name, verdict, &measurement.detail, measurement.at);
            if verdict == Verdict::Pass {
                check
            } else {
                check.remedy("see what this journey met, mend it, then retry")
            }
        }
        Err(fault) if cx.signals.stop.is_cancelled() => {
            return Err(crate::error::Fault::cancelled(fault.doing.clone()));
        }
        Err(fault) => {
            Check::new(&probe.name, Verdict::Fail, fault.chain(), Timestamp::now()).remedy(fault.kind.remedy())
        }
    };
    Ok(if stays_true(probe) { check } else { check.stale_after(cx.plan.rollback.evidence_max_age) })
}

/// What a journey found stays true: it was about a moment (staging as it was, users who were told), and walking it again
/// later would say something about another one.
fn stays_true(probe: &ProbePlan) -> bool {
    let lasting = [ProbeUse::After, ProbeUse::Inactive, ProbeUse::WriteRefused];
    !probe.uses.iter().any(|used| lasting.contains(used))
}

/// The latency below which `share` of the requests of these measurements lie, in milliseconds.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a rank among some thousand requests"
)]
pub(super) fn latency(measured: &[Measurement], share: f64) -> Option<(f64, u64)> {
    let mut points: Vec<(f64, u64)> = measured
        .iter()
        .flat_map(|measurement| &measurement.readings)
        .filter_map(|reading| match reading {
            Reading::Requests { latency, .. } => Some(latency.iter().copied()),
            Reading::Gauge { .. } => None,
        })
        .flatten()
        .collect();
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    let samples: u64 = points.iter().map(|(_, count)| count).sum();
    let rank = ((samples as f64 * share).ceil() as u64).max(1);
    let mut seen = 0;
    points.into_iter().find_map(|(ms, count)| {
        seen += count;
        (seen >= rank).then_some((ms, samples))
    })
}

/// Done of a known number of things.
#[expect(clippy::cast_precision_loss, reason = "a progress bar")]
pub(super) fn ratio(done: usize, of: usize) -> Option<f64> {
    (of > 0).then(|| done as f64 / of as f64)
}

#[cfg(test)]
mod tests {
    use super::latency;
    use crate::{
        model::{Timestamp, Verdict},
        ports::{Measurement, Reading},
    };

    fn of(points: &[(f64, u64)]) -> Vec<Measurement> {
        points
            .iter()
            .map(|point| Measurement {
                verdict: Verdict::Pass,
                detail: String::new(),
                readings: vec![Reading::Requests { total: point.1, failed: 0, latency: vec![*point] }],
                at: Timestamp::UNIX_EPOCH,
            })
            .collect()
    }

    #[test]
    fn latency_is_the_value_at_the_rank() {
        let many = of(&[(10.0, 90), (500.0, 4), (50.0, 5), (900.0, 1)]);
        assert_eq!(latency(&many, 0.95), Some((50.0, 100)));
        assert_eq!(latency(&many, 0.99), Some((500.0, 100)));
        assert_eq!(latency(&many, 1.0), Some((900.0, 100)));
        assert_eq!(latency(&[], 0.95), None);
    }
}
