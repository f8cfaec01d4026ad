//! Phase 6, DNS cutover: what would change is shown, then the names point to the new side, and every resolver says so.
//!
//! The guard against changing too much of a zone is the switch's own: it alone sees the whole zone. Going back turns the
//! records to what they were and waits for every resolver again.

use crate::{
    engine::{StepContext, StepDone},
    error::Result,
    model::{Check, Phase, Timestamp, Verdict},
    phases::{
        Entry,
        examine::{Examine, judge, verdict},
        turn::{Goal, Turn, first_seen, observe, port, standing},
    },
    plan::Plan,
};

/// The switch.
pub(super) const SWITCH: &str = "dns";

const PHASE: Phase = Phase::DnsCutover;

/// The steps; none without a DNS switch.
pub(super) fn steps(plan: &Plan) -> Vec<Entry> {
    let Some(dns) = &plan.dns else { return Vec::new() };
    let turn = (SWITCH, Goal::Target);
    vec![
        Entry::looks(Examine::new(PHASE, "plan", "Show what would change", |cx| Box::pin(preview(cx)))),
        Entry::acts(Turn::new(PHASE, "change", "Point the names to the new side", turn, dns.propagation)),
    ]
}

async fn preview(cx: &StepContext) -> Result<StepDone> {
    let port = port(cx, SWITCH)?;
    let seen = observe(cx, SWITCH, port.as_ref()).await?;
    let now = standing(&seen);
    if let Some(now) = &now {
        first_seen(cx, SWITCH, now).await?;
    }
    let to = port.target().map(|to| to.0).unwrap_or_default();
    let now = now.map_or_else(|| "nobody knows".into(), |now| now.0);
    let change = Check::new("records", Verdict::Pass, format!("{now} → {to}"), Timestamp::now());
    let change = match &cx.plan.dns {
        Some(dns) => change.limit(format!("{:.0} % of the zone", dns.guard * 100.0)),
        None => change,
    };
    let silent: Vec<&str> = seen
        .witnesses
        .iter()
        .filter(|witness| witness.position.is_none())
        .map(|witness| witness.who.as_str())
        .collect();
    let value = if silent.is_empty() {
        format!("all {} answer", seen.witnesses.len())
    } else {
        format!("no answer from {}", silent.join(", "))
    };
    let remedy = "a resolver that does not answer now will not confirm the change either: mend it or leave it out";
    let voices = verdict("resolvers", silent.is_empty(), value, remedy);
    judge("hear every resolver", format!("{now} → {to}"), vec![change, voices])
}
