//! Writes and checks plans.

use super::{Trouble, desk::Desk, print::out};
use crate::{
    error::{Fault, FaultKind},
    migrate::{self, Fit},
    model::text::clean,
    plan::{self, STARTERS},
    wiring,
};
use serde_json::json;
use std::{
    fs::OpenOptions,
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

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

/// `cutover check`. Unless asked to stay `offline`, both sides are asked for their fields, and the mappings held against them.
pub(super) async fn check(desk: &Desk, offline: bool) -> Result<u8, Trouble> {
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
    let ports = wiring::ports(&plan)?;
    let fits = if offline { Vec::new() } else { migrate::fits(&plan, &ports).await? };
    let fit = fits.iter().all(|fit| fit.findings.blockers.is_empty());
    if desk.settings.json {
        let said = json!({ "ok": fit, "plan": plan.name, "environment": plan.environment, "digest": plan.digest, "datasets": fits });
        out(said.to_string());
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
        fits.iter().for_each(tell_fit);
    }
    Ok(if fit { 0 } else { FaultKind::Plan.exit_code() })
}

/// How a mapping fits both sides.
fn tell_fit(fit: &Fit) {
    let Fit { dataset, unasked, findings } = fit;
    let told = |what: &str, all: &[String]| all.iter().for_each(|one| out(format!("  {what}: {}", clean(one, 300))));
    let found = if findings.blockers.is_empty() { "fits both sides" } else { "does not fit" };
    out(format!("{dataset}: {}", if unasked.is_empty() { found } else { "not held against both sides" }));
    told("not asked", unasked);
    told("better", &findings.recommendations);
    told("warning", &findings.warnings);
    told("DOES NOT FIT", &findings.blockers);
}
