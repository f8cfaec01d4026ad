//! The truth line: what the run intends at this point, and what the world says.
//!
//! Intended is pure: it follows from which steps have acted and are not undone. Observed comes from the switches. Users
//! go where the names point; without a DNS switch, to whatever colour is active.

use crate::{
    command::Command,
    engine::{
        StepContext,
        view::{CommandState, RunView},
    },
    model::{Aspect, Fact, Mode, Phase, StepState, Timestamp},
    phases::{
        deployment, dns_cutover,
        examine::within,
        id, maintenance,
        turn::{before, witnesses},
    },
    plan::Plan,
    ports::{Observation, Position},
};
use std::{collections::BTreeMap, time::Duration};

/// Longest wait for a switch.
const LOOK: Duration = Duration::from_secs(2);

const LEGACY: &str = "legacy";
const NEW: &str = "new";
const MIXED: &str = "mixed";
const REFUSED: &str = "refused";

/// What the run intends at this point, for each aspect the plan can move.
#[must_use]
pub fn intended(view: &RunView) -> BTreeMap<Aspect, String> {
    let live = view.mode != Mode::DryRun;
    let renamed = live && acts(view, Phase::DnsCutover, "change");
    let has_names = view.step(&id(Phase::DnsCutover, "change")).is_some();
    let switched = if has_names { renamed } else { live && acts(view, Phase::Deployment, "activate") };
    let users = if switched { NEW } else { LEGACY };
    let writes = if switched { NEW } else { legacy_writes(view) };
    let mut all = BTreeMap::from([
        (Aspect::Writes, writes.to_owned()),
        (Aspect::Reads, users.to_owned()),
        (Aspect::Files, users.to_owned()),
    ]);
    if has_names {
        all.insert(Aspect::Dns, if renamed { NEW } else { LEGACY }.to_owned());
    }
    all
}

/// What users' writes on the legacy side meet.
fn legacy_writes(view: &RunView) -> &'static str {
    match maintenance(view) {
        Some(maintenance::ON) => REFUSED,
        Some(maintenance::READ_ONLY) => maintenance::READ_ONLY,
        _ => LEGACY,
    }
}

/// Where the run intends the maintenance to stand, by the steps or by the hand that turned it after them; `None` if
/// nobody has touched it.
pub(super) fn maintenance(view: &RunView) -> Option<&'static str> {
    let acts = |step| view.mode != Mode::DryRun && acts(view, Phase::Maintenance, step);
    match by_hand(view) {
        Some(true) => Some(maintenance::ON),
        Some(false) => Some(maintenance::OFF),
        None if acts("on") => Some(maintenance::ON),
        None if acts("read-only") => Some(maintenance::READ_ONLY),
        None => None,
    }
}

/// The last word of a person on the maintenance, unless the maintenance phase or a rollback came after it.
fn by_hand(view: &RunView) -> Option<bool> {
    let by_steps =
        view.phase(Phase::Maintenance).started.into_iter().chain(view.rollback.as_ref().map(|back| back.started)).max();
    view.commands.iter().rev().find_map(|command| match command.order {
        Command::Maintenance { on }
            if command.state == CommandState::Effective && by_steps.is_none_or(|steps| command.accepted > steps) =>
        {
            Some(on)
        }
        _ => None,
    })
}

/// The step has acted, or may have, and is not being undone. What went down with an earlier process still stands on the
/// undo stack.
pub(super) fn acts(view: &RunView, phase: Phase, step: &str) -> bool {
    let id = id(phase, step);
    let Some(step) = view.step(&id) else { return false };
    match step.state {
        StepState::Intended | StepState::Done => true,
        StepState::Undoing | StepState::Undone | StepState::Stuck => false,
        _ => view.undo.iter().any(|entry| entry.step == id),
    }
}

/// What the switches say.
#[derive(Debug, Default)]
pub(super) struct Seen {
    maintenance: Option<Observation>,
    dns: Option<Observation>,
    deployment: Option<Observation>,
    dns_target: Option<Position>,
    old_colour: Option<Position>,
}

/// Asks the switches, all at once.
pub(super) async fn look(cx: &StepContext) -> Seen {
    let ask = |switch: &'static str| async move {
        let port = cx.ports.switch(switch)?;
        within(LOOK, "look", port.observe()).await.ok()
    };
    let (maintenance, dns, deployment) =
        tokio::join!(ask(maintenance::SWITCH), ask(dns_cutover::SWITCH), ask(deployment::SWITCH));
    Seen {
        maintenance,
        dns,
        deployment,
        dns_target: cx.ports.switch(dns_cutover::SWITCH).and_then(|port| port.target()),
        old_colour: before(cx, deployment::SWITCH).await.ok().flatten(),
    }
}

/// The line: intended beside observed.
pub(super) fn facts(plan: &Plan, view: &RunView, seen: &Seen, now: Timestamp) -> Vec<Fact> {
    intended(view)
        .into_iter()
        .map(|(aspect, intended)| {
            let (observed, detail) = match aspect {
                Aspect::Dns => seen.names(),
                Aspect::Reads | Aspect::Files => (seen.users(plan).0, String::new()),
                Aspect::Writes => (seen.writes(plan), String::new()),
            };
            Fact { aspect, intended, observed, at: now, detail }
        })
        .collect()
}

impl Seen {
    /// Where the names point, and who says so if not all say the same.
    fn names(&self) -> (Option<String>, String) {
        let Some(dns) = &self.dns else { return (None, String::new()) };
        let is_new = |position: &Position| Some(position) == self.dns_target.as_ref();
        if let Some(position) = &dns.position {
            let silent = dns.witnesses.iter().filter(|witness| witness.position.is_none()).count();
            let detail = if silent == 0 { String::new() } else { format!("{silent} did not answer") };
            return (Some(if is_new(position) { NEW } else { LEGACY }.into()), detail);
        }
        if dns.witnesses.iter().all(|witness| witness.position.is_none()) {
            return (None, "nobody answers".into());
        }
        let detail = self.dns_target.as_ref().map(|target| format!("{} new", witnesses(dns, target)));
        (Some(MIXED.into()), detail.unwrap_or_default())
    }

    /// Where users' requests go.
    fn users(&self, plan: &Plan) -> (Option<String>, String) {
        if plan.dns.is_some() {
            return self.names();
        }
        if plan.deployment.is_none() {
            return (Some(LEGACY.into()), String::new());
        }
        let active = self.deployment.as_ref().and_then(|seen| seen.position.as_ref());
        let users =
            active.map(|active| if self.old_colour.as_ref().is_none_or(|old| old == active) { LEGACY } else { NEW });
        (users.map(str::to_owned), String::new())
    }

    /// What users' writes meet.
    fn writes(&self, plan: &Plan) -> Option<String> {
        let users = self.users(plan).0;
        if users.as_deref() != Some(LEGACY) || plan.maintenance.is_none() {
            return users;
        }
        let position = self.maintenance.as_ref()?.position.as_ref()?;
        Some(match position.0.as_str() {
            maintenance::OFF => LEGACY.into(),
            maintenance::ON => REFUSED.into(),
            other => other.to_owned(),
        })
    }
}

#[cfg(test)]
#[path = "truth_tests.rs"]
pub(crate) mod tests;
