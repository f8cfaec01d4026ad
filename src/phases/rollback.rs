//! The way back: which stage undoes what, and the proof at its end that the legacy side does what users do.
//!
//! The engine works the undo stack off from its top; this room says how it reads as five named stages, and what must be
//! seen before the last one is done. Must never enter: the undoing itself, which each step knows.

use crate::{
    engine::{StepContext, StepDone, Unmet, view::UndoEntry},
    error::Result,
    migrate::backup,
    model::{Check, RollbackStage, Verdict},
    phases::{
        deployment, dns_cutover,
        examine::{answered, count, verdict},
        gather, maintenance, probing,
        turn::{before, observe, standing},
    },
    plan::ProbeUse,
};
use std::collections::BTreeMap;

/// What a rollback would undo now, stage by stage, in the order in which it would.
#[must_use]
pub fn stages(undo: &[UndoEntry]) -> Vec<(RollbackStage, Vec<&UndoEntry>)> {
    RollbackStage::ALL
        .into_iter()
        .map(|stage| (stage, undo.iter().rev().filter(|entry| entry.phase.rollback_stage() == stage).collect()))
        .collect()
}

/// In one line: what a rollback would cost now.
#[must_use]
pub fn summary(undo: &[UndoEntry]) -> String {
    let stages: Vec<String> = stages(undo)
        .into_iter()
        .filter(|(_, entries)| !entries.is_empty())
        .map(|(stage, entries)| format!("{} {}", stage.title(), entries.len()))
        .collect();
    match undo.len() {
        0 => "nothing to undo".into(),
        steps => format!("{} to undo: {}", count(steps as u64, "step"), stages.join(", ")),
    }
}

/// The last stage: switches stand where the run found them, the legacy journeys pass, no record is missing there, and the
/// new side is as in the backup from before the run.
///
/// # Errors
/// `Unmet` with the checks if one does not pass; `Cancelled` when stopped.
pub(super) async fn legacy_validated(cx: &StepContext) -> Result<StepDone> {
    let mut checks = Vec::new();
    for switch in [maintenance::SWITCH, dns_cutover::SWITCH, deployment::SWITCH] {
        checks.extend(as_found(cx, switch).await?);
    }
    // Journeys that met a maintenance from before the run would say nothing about the way back.
    let closed = before(cx, maintenance::SWITCH).await?.is_some_and(|before| before.0 != maintenance::OFF);
    if !closed {
        let probes = probing::of_use(&cx.plan, ProbeUse::Legacy);
        checks.extend(probing::all_pass(cx, probes, &BTreeMap::new()).await?.0);
    }
    checks.extend(nothing_missing(cx).await?);
    if !checks.iter().all(|check| check.verdict == Verdict::Pass) {
        return Err(Unmet::fault("see the legacy side serve as before", checks));
    }
    let (backups, summary) = as_in_the_backups(cx).await?;
    checks.extend(backups);
    if checks.iter().any(|check| check.verdict == Verdict::Fail) {
        return Err(Unmet::fault("see the new side as it was before", checks));
    }
    Ok(StepDone::new(format!("the legacy side serves as before{summary}")).checks(checks))
}

/// The check, per dataset, that the new side is as it was before the run wrote there, and in words what they say. A backup
/// that is lost holds nobody up: the lanes were undone by the ledger, and it is said that nothing proves it.
async fn as_in_the_backups(cx: &StepContext) -> Result<(Vec<Check>, String)> {
    let checks = backup::compare_after_rollback(cx).await?;
    let said = |check: &Check| match check.verdict {
        Verdict::Unknown => format!("; NOT known: {}, {}", check.name, check.value),
        _ => format!("; {}: {}", check.name, check.value),
    };
    let summary = checks.iter().map(said).collect();
    Ok((checks, summary))
}

/// The check that a switch stands where the run found it. None if the run never looked, or the plan has no such switch.
async fn as_found(cx: &StepContext, switch: &str) -> Result<Option<Check>> {
    let (Some(port), Some(found)) = (cx.ports.switch(switch), before(cx, switch).await?) else { return Ok(None) };
    let doing = format!("look where the switch `{switch}` stands");
    let seen = gather::patiently(cx, &doing, || observe(cx, switch, port.as_ref())).await;
    let name = format!("{switch} as before");
    Ok(Some(match seen {
        Ok(seen) => {
            let stands = standing(&seen).map_or_else(|| "nobody knows".into(), |stands| stands.0);
            // A maintenance that was on before and is off now is no harm.
            let opened = switch == maintenance::SWITCH && stands == maintenance::OFF;
            let passed = seen.position.as_ref() == Some(&found) || opened;
            verdict(name, passed, stands, "turn it back by hand, then retry").limit(found.0)
        }
        Err(fault) => answered(name, Err(fault)),
    }))
}

/// The check, per dataset, that the legacy side holds at least what it held when the run counted.
async fn nothing_missing(cx: &StepContext) -> Result<Vec<Check>> {
    let mut checks = Vec::new();
    for dataset in &cx.plan.datasets {
        let noted = cx.work.noted(&counted(&dataset.name)).await?;
        let Some(before) = noted.and_then(|value| value.as_u64()) else { continue };
        let name = format!("{} on the legacy side", dataset.name);
        checks.push(match gather::records(cx, &gather::legacy(cx, dataset)?).await {
            Ok(now) => verdict(name, now >= before, count(now, "record"), "records are missing: restore the backup")
                .limit(format!("at least {before}")),
            Err(fault) => answered(name, Err(fault)),
        });
    }
    Ok(checks)
}

/// Where the count of a dataset's legacy records from before the run is kept.
pub(super) fn counted(dataset: &str) -> String {
    format!("counted/{dataset}")
}

/// Lowers the number of records that must be found again.
pub(super) async fn forget(cx: &StepContext, dataset: &str, deleted: u64) -> Result<()> {
    let name = counted(dataset);
    match cx.work.noted(&name).await?.and_then(|value| value.as_u64()) {
        Some(before) => cx.work.note(&name, &serde_json::json!(before.saturating_sub(deleted))).await,
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::{stages, summary};
    use crate::{
        engine::view::UndoEntry,
        model::{Phase, RollbackStage, StepId},
    };
    use serde_json::json;

    fn entry(phase: Phase, step: &str) -> UndoEntry {
        UndoEntry { step: StepId::new(step), phase, note: json!({}) }
    }

    #[test]
    fn the_stack_reads_as_stages_newest_first() {
        let stack = [
            entry(Phase::Maintenance, "read-only"),
            entry(Phase::Maintenance, "on"),
            entry(Phase::DataMigration, "users"),
            entry(Phase::DataMigration, "way-back"),
            entry(Phase::Deployment, "activate"),
            entry(Phase::DnsCutover, "change"),
        ];
        let read: Vec<(RollbackStage, Vec<&str>)> = stages(&stack)
            .into_iter()
            .map(|(stage, entries)| (stage, entries.iter().map(|entry| entry.step.as_str()).collect()))
            .collect();
        assert_eq!(
            read,
            [
                (RollbackStage::DnsBack, vec!["change"]),
                (RollbackStage::DeploymentBack, vec!["activate"]),
                (RollbackStage::DataSyncedBack, vec!["way-back", "users"]),
                (RollbackStage::MaintenanceOff, vec!["on", "read-only"]),
                (RollbackStage::LegacyValidated, vec![]),
            ]
        );
        assert_eq!(
            summary(&stack),
            "6 steps to undo: DNS back 1, deployment back 1, data synced back 2, maintenance off 2"
        );
        assert_eq!(summary(&[]), "nothing to undo");
    }
}
