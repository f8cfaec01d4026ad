//! Writes, checks and previews plans.

use super::{
    Trouble,
    desk::Desk,
    print::{in_bytes, out},
};
use crate::{
    error::{Fault, FaultKind},
    migrate::{self, DatasetSurvey, FileSetSurvey, Forecast, RowSurvey, SampleSurvey, SizeClass, Survey},
    model::{Mode, text::clean},
    phases,
    plan::{self, STARTERS},
    ports::{Ports, Position},
    wiring,
};
use serde_json::json;
use std::{
    fmt::Write as _,
    fs::OpenOptions,
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

/// Longest wait for one switch in a preview.
const SWITCH: Duration = Duration::from_secs(15);
/// Longest wait for the survey of all datasets.
const SURVEY: Duration = Duration::from_mins(5);

/// `cutover init`.
pub(super) fn init(desk: &Desk, file: Option<PathBuf>) -> Result<u8, Trouble> {
    let path = file.unwrap_or_else(|| desk.settings.plan.clone());
    let [kind, ..] = STARTERS;
    let text = plan::starter(kind).ok_or_else(|| super::internal("find the starter plan", kind))?;
    write_new(&path, text)?;
    if desk.settings.json {
        out(json!({ "plan": path }).to_string());
    } else {
        out(format!("{} written: set what it names, then `cutover --plan {0} check`", path.display()));
    }
    Ok(0)
}

/// Writes a file that must not be there yet, readable by this user only: plans hold credentials.
fn write_new(path: &Path, text: &str) -> Result<(), Trouble> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes())).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => {
            Trouble::Usage(format!("{} is there already: name another file, or remove it first", path.display()))
        }
        io::ErrorKind::PermissionDenied => {
            Fault::new(FaultKind::Permission, format!("write {}", path.display())).detail(error.to_string()).into()
        }
        _ => Fault::new(FaultKind::Disk, format!("write {}", path.display())).detail(error.to_string()).into(),
    })
}

/// `cutover check`.
pub(super) fn check(desk: &Desk) -> Result<u8, Trouble> {
    let plan = match plan::load(&desk.settings.plan) {
        Ok(plan) => plan,
        Err(problems) => {
            if desk.settings.json {
                let list: Vec<_> = problems
                    .list()
                    .iter()
                    .map(|p| json!({ "line": p.line, "column": p.column, "found": p.found, "instead": p.instead }))
                    .collect();
                out(json!({ "ok": false, "file": problems.file(), "problems": list }).to_string());
            }
            return Err(problems.into());
        }
    };
    // What only an adapter can tell: paths into documents, addresses, names.
    wiring::ports(&plan)?;
    if desk.settings.json {
        out(json!({ "ok": true, "plan": plan.name, "environment": plan.environment, "digest": plan.digest })
            .to_string());
    } else {
        let gates: Vec<_> = plan.phases.iter().filter(|(_, told)| told.enabled && told.gate).collect();
        let gates: Vec<_> = gates.into_iter().map(|(phase, _)| phase.title()).collect();
        out(format!("{}: no mistakes", desk.settings.plan.display()));
        out(format!(
            "plan {} ({}), {} datasets, {} probes, {} rules",
            plan.name,
            plan.environment.badge(),
            plan.datasets.len(),
            plan.probes.len(),
            plan.rules.len()
        ));
        out(format!("gates before: {}", if gates.is_empty() { "none".into() } else { gates.join(", ") }));
    }
    Ok(0)
}

/// `cutover preview`.
pub(super) async fn preview(desk: &Desk) -> Result<u8, Trouble> {
    let plan = desk.plan()?;
    let ports = wiring::ports(&plan)?;
    let survey = tokio::time::timeout(SURVEY, migrate::survey(&plan, &ports)).await.unwrap_or_else(|_| {
        Err(Fault::new(FaultKind::Timeout, "look at the datasets").detail(format!("no end after {SURVEY:?}")))
    })?;
    let switches = switches(&ports).await;
    let script = phases::script(&plan, Mode::Live);
    let code = if survey.blockers.is_empty() { 0 } else { FaultKind::Unmet.exit_code() };
    if desk.settings.json {
        let phases: Vec<_> = script
            .phases
            .iter()
            .map(|phase| {
                let steps: Vec<_> =
                    phase.steps.iter().map(|step| json!({ "step": step.id(), "title": step.title() })).collect();
                let told = plan.phases.get(&phase.phase);
                json!({
                    "phase": phase.phase,
                    "enabled": told.is_none_or(|told| told.enabled),
                    "gate": told.is_some_and(|told| told.gate),
                    "steps": steps,
                })
            })
            .collect();
        let switches: Vec<_> = switches
            .iter()
            .map(|look| json!({ "switch": look.name, "now": look.now.as_ref().ok(), "to": look.to }))
            .collect();
        out(json!({ "plan": plan.name, "survey": survey, "switches": switches, "phases": phases }).to_string());
        return Ok(code);
    }
    out(format!("plan {} ({}), nothing is changed by this", plan.name, plan.environment.badge()));
    tell_survey(&survey);
    for look in &switches {
        let now =
            look.now.as_ref().map_or_else(|fault| format!("UNKNOWN ({fault})"), |position| clean(&position.0, 100));
        let to = look.to.as_ref().map_or_else(|| "another position".into(), |position| clean(&position.0, 100));
        out(format!("  switch {:<12} {now} -> {to}", look.name));
    }
    for phase in &script.phases {
        let told = plan.phases.get(&phase.phase);
        let gate = if told.is_some_and(|told| told.gate) { ", after a gate" } else { "" };
        if told.is_some_and(|told| !told.enabled) {
            out(format!("{} {}: off", phase.phase.number(), phase.phase));
            continue;
        }
        out(format!("{} {}{gate}", phase.phase.number(), phase.phase));
        for step in &phase.steps {
            out(format!("    {:<44} {}", step.id().as_str(), step.title()));
        }
    }
    Ok(code)
}

fn tell_survey(survey: &Survey) {
    let count = |count: Option<u64>| count.map_or_else(|| "?".into(), |count| count.to_string());
    for set in &survey.datasets {
        let DatasetSurvey { name, records, standing, record_bytes, .. } = set;
        let mut line = format!("  {name:<16} {} records", count(*records));
        if let Some(bytes) = record_bytes {
            let _infallible = write!(line, " (about {bytes} bytes)");
        }
        if standing.is_some_and(|standing| standing > 0) {
            let _infallible = write!(line, "; {} stand on the new side already", count(*standing));
        }
        out(line);
        if let Some(files) = set.files.filter(|files| *files > 0) {
            let bytes = set.file_bytes.map_or_else(|| "an unknown number of bytes".into(), in_bytes);
            out(format!("    about {files} files with {bytes}, which takes {}", takes(set.seconds)));
            tell_files(set.sizes.as_deref(), set.already, set.sample);
        }
        set.rows.iter().for_each(tell_row);
    }
    for FileSetSurvey { name, files, bytes, more, sizes, already, sample, seconds } in &survey.file_sets {
        let least = if *more { "more than " } else { "" };
        let bytes = in_bytes(*bytes);
        out(format!("  {name:<16} {least}{files} files with {least}{bytes}, which takes {}", takes(*seconds)));
        if *files > 0 {
            tell_files(Some(sizes), *already, *sample);
        }
    }
    out(format!("  the data takes {}", takes(survey.seconds)));
    survey.recommendations.iter().for_each(|advice| out(format!("  better: {}", clean(advice, 300))));
    survey.warnings.iter().for_each(|warning| out(format!("  warning: {}", clean(warning, 300))));
    survey.blockers.iter().for_each(|blocker| out(format!("  BLOCKER: {}", clean(blocker, 300))));
}

/// A record of the sample, field by field: as it is, and as the new side would have it.
fn tell_row(row: &RowSurvey) {
    let note = if row.note.is_empty() { String::new() } else { format!(": {}", clean(&row.note, 300)) };
    out(format!("    record {}{note}", clean(&row.key, 60)));
    let Some(target) = &row.target else { return };
    let fields = |side: &serde_json::Value| side.as_object().cloned().unwrap_or_default();
    let (source, target) = (fields(&row.source), fields(target));
    let names: std::collections::BTreeSet<&String> = source.keys().chain(target.keys()).collect();
    for name in names {
        let shown = |side: &serde_json::Map<String, serde_json::Value>| {
            side.get(name).map_or_else(|| "-".to_owned(), |value| clean(&value.to_string(), 60))
        };
        let (from, to) = (shown(&source), shown(&target));
        let to = if from == to { "the same".to_owned() } else { to };
        out(format!("      {:<20} {from}  ->  {to}", clean(name, 20)));
    }
}

fn tell_files(sizes: Option<&[SizeClass]>, already: Option<u64>, sample: SampleSurvey) {
    if let Some(sizes) = sizes {
        let class = |class: &SizeClass| match class.up_to {
            Some(0) => format!("empty {}", class.files),
            Some(up_to) => format!("up to {} {}", in_bytes(up_to), class.files),
            None => format!("longer {}", class.files),
        };
        out(format!("    by size: {}", sizes.iter().map(class).collect::<Vec<_>>().join(", ")));
    }
    let already = already.map_or_else(|| "unknown how many".into(), |already| format!("about {already}"));
    out(format!("    {already} stand in the target already and are the same: those are skipped"));
    let SampleSurvey { files, bytes, seconds, looked_up, looked_up_seconds } = sample;
    out(format!(
        "    measured: {files} files with {} read in {seconds:.1} s, {looked_up} keys looked up in \
         {looked_up_seconds:.1} s; nothing was written",
        in_bytes(bytes)
    ));
}

fn takes(range: Option<Forecast>) -> String {
    range.map_or_else(
        || "an unknown time".into(),
        |range| format!("about {} to {}", in_time(range.low), in_time(range.high)),
    )
}

fn in_time(seconds: f64) -> String {
    match seconds {
        ..120.0 => format!("{seconds:.0} s"),
        ..7200.0 => format!("{:.0} min", seconds / 60.0),
        _ => format!("{:.1} h", seconds / 3600.0),
    }
}

/// A switch: where it stands and where it shall go.
struct Look {
    name: String,
    now: Result<Position, String>,
    to: Option<Position>,
}

async fn switches(ports: &Ports) -> Vec<Look> {
    let mut looks = Vec::new();
    for (name, switch) in &ports.switches {
        let now = match tokio::time::timeout(SWITCH, switch.observe()).await {
            Ok(Ok(seen)) => seen.position.ok_or_else(|| "its witnesses differ".to_owned()),
            Ok(Err(fault)) => Err(fault.chain()),
            Err(_) => Err("no answer".into()),
        };
        looks.push(Look { name: name.clone(), now, to: switch.target() });
    }
    looks
}
