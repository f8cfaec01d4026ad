//! The report of a run: `report.md` for people and `report.json` for programs, in the run's folder.
//!
//! A step does not see the run's state; the surroundings do, each time the engine asks them, and leave it here.

use crate::{
    engine::{StepContext, StepDone, view::RunView},
    error::{Fault, FaultKind, Result},
    model::{LaneId, Phase, StepState, Tally, Timestamp, text},
    ports::ConflictRow,
};
use serde_json::json;
use std::{
    fmt::Write as _,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

/// The step that writes it.
pub(super) const STEP: &str = "report";
/// Longest wait for a look at the run's state.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(50);

/// The run as the engine showed it last.
#[derive(Clone, Default)]
pub(super) struct LastView(Arc<Mutex<Option<RunView>>>);

impl LastView {
    /// Keeps the newest.
    pub(super) fn keep(&self, view: &RunView) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(view.clone());
    }

    fn get(&self) -> Option<RunView> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Writes both files; a report that is there is replaced.
pub(super) async fn write(cx: &StepContext, last_view: &LastView) -> Result<StepDone> {
    let view = seen(cx, last_view).await?;
    let mut tallies = Vec::new();
    for (lane, _) in cx.plan.lanes() {
        let tally = cx.work.tally(&lane).await?;
        tallies.push((lane, tally));
    }
    let conflicts = cx.work.conflicts().await?;
    let document = json!({
        "plan": cx.plan.name,
        "run": cx.work.run(),
        "written": Timestamp::now(),
        "state": view.as_ref().map(|view| view.state),
        "started": view.as_ref().map(|view| view.started),
        "committed": view.as_ref().and_then(|view| view.committed),
        "phases": view.as_ref().map(|view| &view.phases),
        "exceptions": view.as_ref().map(|view| &view.exceptions),
        "lanes": tallies.iter().map(|(lane, tally)| json!({ "lane": lane, "tally": tally })).collect::<Vec<_>>(),
        "conflicts": conflicts,
    });
    let json = serde_json::to_string_pretty(&document)
        .map_err(|error| Fault::new(FaultKind::Internal, "put the report into JSON").source(error))?;
    replace(&cx.folder, "report.json", json).await?;
    replace(&cx.folder, "report.md", page(&cx.plan.name, view.as_ref(), &tallies, &conflicts)).await?;
    Ok(StepDone::new(format!("{}", cx.folder.join("report.md").display())))
}

/// The run's state at this step. The engine shows it about once a second; what it showed before this step began lacks the
/// commit and the steps before this one.
async fn seen(cx: &StepContext, last_view: &LastView) -> Result<Option<RunView>> {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    let report = super::id(Phase::Cleanup, STEP);
    loop {
        let view = last_view.get();
        let now =
            view.as_ref().and_then(|view| view.step(&report)).is_some_and(|step| step.state == StepState::Intended);
        if now || tokio::time::Instant::now() >= deadline {
            return Ok(view);
        }
        cx.signals.wait(PAUSE).await?;
    }
}

async fn replace(folder: &Path, name: &str, content: String) -> Result<()> {
    let (path, draft) = (folder.join(name), folder.join(format!(".{name}.new")));
    let doing = format!("write {}", path.display());
    let fault = |error: std::io::Error| {
        let kind = match error.kind() {
            std::io::ErrorKind::PermissionDenied => FaultKind::Permission,
            _ => FaultKind::Disk,
        };
        Fault::new(kind, doing.clone()).source(error)
    };
    tokio::fs::write(&draft, content).await.map_err(fault)?;
    tokio::fs::rename(&draft, &path).await.map_err(fault)
}

fn page(plan: &str, view: Option<&RunView>, tallies: &[(LaneId, Tally)], conflicts: &[ConflictRow]) -> String {
    let mut page = format!("# Cutover of {}\n\n", cell(plan));
    if let Some(view) = view {
        head(&mut page, view);
    }
    lanes(&mut page, tallies);
    let exceptions = view.map(|view| view.exceptions.as_slice()).unwrap_or_default();
    list(&mut page, "Exceptions", exceptions.iter().map(|line| cell(line)));
    list(
        &mut page,
        "Conflicts",
        conflicts.iter().map(|row| {
            let decided = if row.resolution.is_empty() { "open" } else { &row.resolution };
            format!("{} {}: {}", row.lane, cell(&row.key), cell(decided))
        }),
    );
    page
}

fn head(page: &mut String, view: &RunView) {
    let time = |at: Timestamp| at.strftime("%F %T UTC").to_string();
    // Writing into a string cannot fail.
    let _ = writeln!(page, "Run `{}`, began {}.", view.run, time(view.started));
    if let Some(committed) = view.committed {
        let _ = writeln!(page, "Committed {}: from then on there was no way back.", time(committed));
    }
    page.push_str("\n## Phases\n\n| phase | state | took | expected |\n|---|---|---|---|\n");
    for phase in &view.phases {
        let took = match (phase.started, phase.finished) {
            (Some(from), Some(to)) => format!("{:.1} s", to.duration_since(from).as_secs_f64()),
            (Some(_), None) => "under way".into(),
            _ => "—".into(),
        };
        let expected = phase.expected_s.map_or_else(|| "—".into(), |expected| format!("{expected:.0} s"));
        let _ = writeln!(page, "| {} | {} | {took} | {expected} |", phase.phase, word(&phase.state));
    }
    page.push_str("\n## Steps\n\n| step | state | what came out |\n|---|---|---|\n");
    for step in view.phases.iter().flat_map(|phase| &phase.steps) {
        let _ = writeln!(page, "| {} | {} | {} |", step.id, word(&step.state), cell(&step.note));
    }
}

fn lanes(page: &mut String, tallies: &[(LaneId, Tally)]) {
    page.push_str("\n## Lanes\n\n| lane | items | verified | skipped | failed | conflicting | bytes |\n");
    page.push_str("|---|---:|---:|---:|---:|---:|---:|\n");
    for (lane, tally) in tallies {
        let _ = writeln!(
            page,
            "| {lane} | {} | {} | {} | {} | {} | {} |",
            tally.items(),
            tally.verified,
            tally.skipped,
            tally.failed,
            tally.conflicting,
            tally.bytes
        );
    }
}

fn list(page: &mut String, title: &str, lines: impl Iterator<Item = String>) {
    let lines: Vec<String> = lines.collect();
    let _ = write!(page, "\n## {title}\n\n");
    if lines.is_empty() {
        page.push_str("None.\n");
    }
    for line in lines {
        let _ = writeln!(page, "- {line}");
    }
}

/// A state's word, as it stands in JSON.
fn word(state: &impl serde::Serialize) -> String {
    serde_json::to_value(state).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

/// A text inside a table or a list.
fn cell(content: &str) -> String {
    text::clean(content, 400).replace('|', "\\|")
}
