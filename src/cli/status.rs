//! Looks at runs: asks the running engine, or folds the journal where none runs.

use super::{Trouble, desk::Desk, print::out, runs};
use crate::{
    api,
    engine::{self, fold, view::RunView},
    error::{Fault, FaultKind},
    ledger::{Ledger, RunLock},
    model::{Aspect, LaneProgress, PhaseState, StepState, Timestamp, Verdict, text::clean},
    plan::duration,
};
use serde_json::json;
use std::{path::Path, sync::Arc, time::Duration};

/// `cutover status`.
pub(super) async fn status(desk: &Desk) -> Result<u8, Trouble> {
    let home = desk.home()?;
    let found = find(desk, &home).await?;
    if desk.settings.json {
        let view = found.view.as_deref().map_or(Ok(serde_json::Value::Null), serde_json::to_value);
        let view = view.map_err(|error| super::internal("write the status", error.to_string()))?;
        out(json!({ "engine": found.engine, "run": view }).to_string());
        return Ok(0);
    }
    match found.view {
        None => out(format!("no run of this plan yet (its ledger would be in {})", home.display())),
        Some(view) => {
            for line in lines(&view, found.engine, &home, Timestamp::now()) {
                out(clean(&line, 300));
            }
        }
    }
    Ok(0)
}

/// What is known of the newest run.
struct Found {
    /// An engine runs it now.
    engine: bool,
    view: Option<Arc<RunView>>,
}

async fn find(desk: &Desk, home: &Path) -> Result<Found, Trouble> {
    match api::Client::connect(&Desk::socket(home)).await {
        Ok(mut client) => return Ok(Found { engine: true, view: Some(client.view().await?) }),
        Err(fault) if fault.kind != FaultKind::NotFound => return Err(fault.into()),
        Err(_) => {}
    }
    let Some(last) = runs::runs(home).await?.into_iter().next() else {
        return Ok(Found { engine: false, view: None });
    };
    let ledger = Ledger::open(home).await?;
    let events = ledger.journal().load(&last.run).await?;
    let mut view = fold::fold(&events).ok_or_else(|| {
        Fault::new(FaultKind::Ledger, format!("read run {}", last.run)).detail("its journal does not begin with a run")
    })?;
    // Lanes are progress, which only the work tables have; their order is the plan's, if it can be read here.
    if let Ok(plan) = desk.plan() {
        engine::recall(&plan, ledger.work(&last.run).as_ref(), &mut view).await?;
    }
    ledger.close().await;
    Ok(Found { engine: false, view: Some(Arc::new(view)) })
}

fn lines(view: &RunView, engine: bool, home: &Path, now: Timestamp) -> Vec<String> {
    let mut lines = vec![
        format!("plan     {} ({}), run {}", view.plan, view.environment.badge(), view.run),
        format!("state    {}, {:.0} % done, since {}", state(view, engine), view.ratio() * 100.0, ago(view.since, now)),
    ];
    if !view.reason.is_empty() {
        lines.push(format!("because  {}", view.reason));
    }
    lines.push(match RunLock::holder(home) {
        Some(holder) => format!("engine   process {} of {} on {}", holder.pid, holder.user, holder.host),
        None if engine => "engine   runs".into(),
        None if view.outcome.is_some_and(|outcome| outcome.exit_code() == 0) || view.state.is_end() => {
            "engine   none, the run is over".into()
        }
        None => "engine   none: `cutover resume` goes on, `cutover rollback --reason …` goes back".into(),
    });
    for aspect in Aspect::ALL {
        if let Some(fact) = view.truth.get(&aspect) {
            let observed = fact.observed.as_deref().unwrap_or("unknown");
            let seen = view.truth_seen.get(&aspect).copied().unwrap_or(fact.at);
            let differs = if fact.agrees() { String::new() } else { format!("  DIFFERS, intended {}", fact.intended) };
            lines.push(format!("{:<8} {observed}{differs}, seen {}", aspect.word(), ago(seen, now)));
        }
    }
    lines.push(String::new());
    lines.extend(view.phases.iter().map(|phase| {
        let share =
            if phase.state == PhaseState::Running { format!(" {:.0} %", phase.ratio() * 100.0) } else { String::new() };
        format!("  {} {:<16} {}{share}", phase.phase.number(), phase.phase.title(), phase_word(phase.state))
    }));
    let open = view.phases.iter().flat_map(|phase| &phase.steps);
    let open = open.filter(|step| !matches!(step.state, StepState::Pending | StepState::Done | StepState::Undone));
    lines.extend(open.map(|step| format!("    {} {}: {}", step.id, step_word(step.state), step.note)));
    if !view.lanes.is_empty() {
        lines.push(String::new());
        lines.extend(view.lanes.iter().map(|one| lane(one, now)));
    }
    lines.extend(ways(view, now));
    lines
}

fn state(view: &RunView, engine: bool) -> String {
    match view.outcome {
        None if !engine => format!("{} when its process ended", view.state),
        Some(outcome) if !view.state.is_end() => format!("{} ({})", view.state, outcome.word()),
        _ => view.state.to_string(),
    }
}

/// Gate, veto, alerts, and whether there is a way back.
fn ways(view: &RunView, now: Timestamp) -> Vec<String> {
    let mut lines = vec![String::new()];
    if let Some(gate) = &view.gate {
        let open = gate.checks.iter().filter(|check| check.counts(now) != Verdict::Pass);
        let open: Vec<String> = open.map(|check| format!("  {}: {}", check.name, check.value)).collect();
        let name = gate.phase.name();
        lines.push(format!("gate     before {}: {} checks, {} not passing", gate.phase, gate.checks.len(), open.len()));
        lines.extend(open);
        lines.push(format!("         `cutover approve {name}` or `cutover refuse {name} --reason …`"));
    }
    if let Some(veto) = &view.veto {
        lines.push(format!("ROLLBACK at {} unless `cutover keep`: {}", veto.deadline.strftime("%TZ"), veto.reason));
    }
    for alert in view.alerts.iter().filter(|alert| alert.cleared.is_none()) {
        lines.push(format!("alert    {}: {}, {}", alert.source, alert.text, ago(alert.at, now)));
    }
    lines.extend(view.exceptions.iter().map(|exception| format!("except   {exception}")));
    lines.push(match (view.committed, view.undo.len()) {
        (Some(at), _) => format!("way back none: committed {}", ago(at, now)),
        (None, steps) => format!("way back open: {steps} steps would be undone"),
    });
    lines
}

/// How a lane follows its source, in one line.
pub(super) fn followed(lane: &LaneProgress, now: Timestamp) -> String {
    let Some(follow) = &lane.follow else { return "follows".into() };
    if let Some(failing) = &follow.failing {
        return format!("CANNOT FOLLOW since {}: {}", ago(failing.since, now), failing.why);
    }
    let whole = |time: Duration| duration::format(Duration::from_secs(time.as_secs()));
    let behind = follow.lag(now).map_or_else(|| "not begun".to_owned(), |lag| format!("{} behind", whole(lag)));
    let records =
        follow.records().map_or_else(String::new, |count| format!(", {count} records changed in the last pass"));
    let keeps_up = if follow.keeps_up() == Some(false) { ", DOES NOT KEEP UP" } else { "" };
    format!("follows, {behind}{records}{keeps_up}")
}

fn lane(lane: &LaneProgress, now: Timestamp) -> String {
    let total = lane.total.unwrap_or_else(|| lane.tally.items());
    let tally = &lane.tally;
    let follows = lane.follow.as_ref().map_or_else(String::new, |_| format!("; {}", followed(lane, now)));
    format!(
        "  {:<16} {:>8} of {total} verified, {} copied, {} skipped, {} failed, {} conflicting{follows}",
        lane.lane.as_str(),
        tally.verified,
        tally.copied,
        tally.skipped,
        tally.failed,
        tally.conflicting
    )
}

fn ago(then: Timestamp, now: Timestamp) -> String {
    let age = Duration::try_from(now.duration_since(then)).unwrap_or_default();
    format!("{} ago", duration::format(Duration::from_secs(age.as_secs())))
}

const fn phase_word(state: PhaseState) -> &'static str {
    match state {
        PhaseState::Off => "off",
        PhaseState::Pending => "pending",
        PhaseState::AtGate => "at its gate",
        PhaseState::Running => "running",
        PhaseState::Done => "done",
        PhaseState::Failed => "FAILED",
        PhaseState::Undone => "undone",
    }
}

const fn step_word(state: StepState) -> &'static str {
    match state {
        StepState::Pending => "pending",
        StepState::Checking => "looks",
        StepState::Intended => "acts",
        StepState::Done => "done",
        StepState::Failed => "FAILED",
        StepState::Skipped => "skipped",
        StepState::Undoing => "is being undone",
        StepState::Undone => "undone",
        StepState::Stuck => "STUCK",
    }
}
