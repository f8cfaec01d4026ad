//! What a plan would move, said before anything moves.

use super::{
    Trouble,
    desk::Desk,
    print::{in_bytes, out},
};
use crate::{
    error::{Fault, FaultKind},
    migrate::{
        self, DatasetSurvey, FileSetSurvey, Forecast, RowSurvey, SampleSurvey, SizeClass, Survey, schema::Findings,
    },
    model::{Mode, text::clean},
    phases,
    plan::Plan,
    ports::{Ports, Position},
    wiring,
};
use serde_json::json;
use std::{collections::BTreeSet, fmt::Write as _, time::Duration};

/// Longest wait for one switch in a preview.
const SWITCH: Duration = Duration::from_secs(15);
/// Longest wait for the survey of all datasets.
const SURVEY: Duration = Duration::from_mins(5);
/// The same where somebody waits to begin.
const BEFOREHAND: Duration = Duration::from_secs(20);

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
    lines(&survey).into_iter().for_each(out);
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

/// What a person should have seen before a run begins; whatever cannot be told keeps nobody from beginning.
pub(super) async fn beforehand(plan: &Plan) -> Result<(), Trouble> {
    let ports = wiring::ports(plan)?;
    match tokio::time::timeout(BEFOREHAND, migrate::survey(plan, &ports)).await {
        Ok(survey) => lines(&survey?).into_iter().for_each(out),
        Err(_) => out("  what it would move takes longer to find out: `cutover preview` shows it"),
    }
    Ok(())
}

/// The survey as a person reads it.
fn lines(survey: &Survey) -> Vec<String> {
    let mut told = Vec::new();
    survey.datasets.iter().for_each(|set| dataset(set, &mut told));
    survey.file_sets.iter().for_each(|set| file_set(set, &mut told));
    told.push(format!("  the data takes {}", takes(survey.seconds)));
    told
}

fn dataset(set: &DatasetSurvey, told: &mut Vec<String>) {
    let count = |count: Option<u64>| count.map_or_else(|| "?".into(), |count| count.to_string());
    let DatasetSurvey { name, records, estimated, standing, record_bytes, .. } = set;
    let about = if *estimated { "about " } else { "" };
    let mut line = format!("  {name:<16} {about}{} records", count(*records));
    if *estimated {
        line.push_str(", as its statistics say");
    }
    if let Some(bytes) = record_bytes {
        let _infallible = write!(line, " (about {})", in_bytes(*bytes));
    }
    if standing.is_some_and(|standing| standing > 0) {
        let _infallible = write!(line, "; {} stand on the new side already", count(*standing));
    }
    told.push(line);
    if let Some(files) = set.files.filter(|files| *files > 0) {
        let bytes = set.file_bytes.map_or_else(|| "an unknown number of bytes".into(), in_bytes);
        told.push(format!("    about {files} files with {bytes}"));
        files_of(set.sizes.as_deref(), set.already, set.sample, told);
    }
    told.push(format!("    takes {}", takes(set.seconds)));
    set.rows.iter().for_each(|of| row(of, told));
    findings(&set.findings, told);
}

fn file_set(set: &FileSetSurvey, told: &mut Vec<String>) {
    let FileSetSurvey { name, files, bytes, more, sizes, already, sample, seconds, findings: found } = set;
    let least = if *more { "more than " } else { "" };
    let bytes = in_bytes(*bytes);
    told.push(format!("  {name:<16} {least}{files} files with {least}{bytes}"));
    if *files > 0 {
        files_of(Some(sizes), *already, *sample, told);
    }
    told.push(format!("    takes {}", takes(*seconds)));
    findings(found, told);
}

fn findings(found: &Findings, told: &mut Vec<String>) {
    let mut tell = |what: &str, all: &[String]| {
        told.extend(all.iter().map(|one| format!("    {what}: {}", clean(one, 300))));
    };
    tell("better", &found.recommendations);
    tell("warning", &found.warnings);
    tell("BLOCKER", &found.blockers);
}

/// A record of the sample, field by field: as it is, and as the new side would have it.
fn row(row: &RowSurvey, told: &mut Vec<String>) {
    let note = if row.note.is_empty() { String::new() } else { format!(": {}", clean(&row.note, 300)) };
    told.push(format!("    record {}{note}", clean(&row.key, 60)));
    let Some(target) = &row.target else { return };
    let fields = |side: &serde_json::Value| side.as_object().cloned().unwrap_or_default();
    let (source, target) = (fields(&row.source), fields(target));
    let names: BTreeSet<&String> = source.keys().chain(target.keys()).collect();
    for name in names {
        let shown = |side: &serde_json::Map<String, serde_json::Value>| {
            side.get(name).map_or_else(|| "-".to_owned(), |value| clean(&value.to_string(), 60))
        };
        let (from, to) = (shown(&source), shown(&target));
        let to = if from == to { "the same".to_owned() } else { to };
        told.push(format!("      {:<20} {from}  ->  {to}", clean(name, 20)));
    }
}

fn files_of(sizes: Option<&[SizeClass]>, already: Option<u64>, sample: SampleSurvey, told: &mut Vec<String>) {
    if let Some(sizes) = sizes {
        let class = |class: &SizeClass| match class.up_to {
            Some(0) => format!("empty {}", class.files),
            Some(up_to) => format!("up to {} {}", in_bytes(up_to), class.files),
            None => format!("longer {}", class.files),
        };
        told.push(format!("    by size: {}", sizes.iter().map(class).collect::<Vec<_>>().join(", ")));
    }
    let already = already.map_or_else(|| "unknown how many".into(), |already| format!("about {already}"));
    told.push(format!("    {already} stand in the target already and are the same: those are skipped"));
    let SampleSurvey { files, bytes, seconds, looked_up, looked_up_seconds } = sample;
    told.push(format!(
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Two datasets and a file set with everything that can be said of them.
    fn world() -> Survey {
        let seconds = |low, high| Some(Forecast { low, high });
        let class = |up_to, files| SizeClass { up_to, files };
        let sample = SampleSurvey { files: 200, bytes: 5 << 20, seconds: 0.4, looked_up: 200, looked_up_seconds: 0.25 };
        let one = |text: &str| vec![text.to_owned()];
        let users = DatasetSurvey {
            name: "users".into(),
            records: Some(9_998_112),
            estimated: true,
            standing: Some(3),
            record_bytes: Some(2_400_000_000),
            rows: vec![
                RowSurvey {
                    key: "7".into(),
                    source: json!({ "id": 7, "email": "Ada@Example.Test", "age": 36 }),
                    target: None,
                    note: "field `email`: has 16 characters, 10 fit".into(),
                },
                RowSurvey {
                    key: "8".into(),
                    source: json!({ "id": 8, "first": "Ada", "secret": "x" }),
                    target: Some(json!({ "id": 8, "name": "Ada" })),
                    note: String::new(),
                },
            ],
            seconds: seconds(130.0, 7300.0),
            findings: Findings {
                blockers: one(
                    "1 of 200 records looked at cannot be moved, first 7: field `email`: has 16 characters, 10 fit",
                ),
                warnings: one("3 records stand on the new side already"),
                recommendations: one("drop: the legacy side has no field `nick`"),
            },
            ..DatasetSurvey::default()
        };
        let files = DatasetSurvey {
            name: "files".into(),
            records: Some(512),
            record_bytes: Some(51_200),
            files: Some(500),
            file_bytes: Some(3 << 20),
            sizes: Some(vec![class(Some(0), 1), class(Some(16 << 10), 450), class(None, 49)]),
            already: Some(12),
            sample,
            seconds: seconds(0.2, 3.0),
            ..DatasetSurvey::default()
        };
        let loose = FileSetSurvey {
            name: "uploads".into(),
            files: 100_000,
            bytes: 9 << 30,
            more: true,
            sizes: vec![class(Some(0), 0), class(Some(1 << 20), 100_000)],
            sample,
            findings: Findings { warnings: one("only the first 100000 files were looked at"), ..Findings::default() },
            ..FileSetSurvey::default()
        };
        Survey { datasets: vec![users, files], file_sets: vec![loose], ..Survey::default() }
    }

    #[test]
    fn a_preview_as_it_is_printed() {
        insta::assert_snapshot!(lines(&world()).join("\n"));
    }
}
