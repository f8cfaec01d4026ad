//! Orders to an engine in another process, over its control socket.

use super::{
    Trouble,
    args::{Rate, Verb},
    desk::{Desk, Front},
    headless::Printer,
    internal,
    print::{err, out},
};
use crate::{
    api::{Client, Watched},
    command::Command,
    event::EventKind,
    model::{CommandId, LaneId, Limits, StepId},
};
use serde_json::json;
use std::time::Duration;

/// How long an order's effect is waited for; a pause may take longer to drain.
const EFFECT: Duration = Duration::from_secs(20);

/// Gives the order that the command line names.
pub(super) async fn order(desk: &Desk, verb: Verb) -> Result<u8, Trouble> {
    let command = match verb {
        Verb::Stop(why) => Command::EmergencyStop { reason: why.reason },
        Verb::Pause { depth, reason } => Command::Pause { depth: depth.into(), reason: reason.reason },
        Verb::Approve { phase, waive } => Command::Approve { phase, waive },
        Verb::Refuse { phase, reason } => Command::Refuse { phase, reason },
        Verb::Keep(why) => Command::Keep { reason: why.reason },
        Verb::Retry => Command::Retry,
        Verb::Concurrency { lane, by } => Command::Concurrency { lane: LaneId::new(lane), by },
        Verb::Skip { step, reason } => Command::Skip { step: StepId::new(step), reason },
        other => return Err(internal("give an order", format!("{other:?} is none"))),
    };
    give(desk, command).await
}

/// The limits that were typed.
pub(super) struct Asked {
    pub(super) bytes: Option<Rate>,
    pub(super) requests: Option<Rate>,
    pub(super) rows: Option<Rate>,
}

/// `cutover limit`. What is not said stays as it is: as somebody ordered it before, or as the plan says.
pub(super) async fn limit(desk: &Desk, lane: String, asked: Asked) -> Result<u8, Trouble> {
    let lane = LaneId::new(lane);
    let now = limits_now(desk, &lane).await?;
    let limits = Limits {
        bytes_per_s: asked.bytes.map_or(now.bytes_per_s, |rate| rate.0),
        requests_per_s: asked.requests.map_or(now.requests_per_s, |rate| rate.0),
        rows_per_s: asked.rows.map_or(now.rows_per_s, |rate| rate.0),
    };
    give(desk, Command::Limit { lane, limits }).await
}

async fn limits_now(desk: &Desk, lane: &LaneId) -> Result<Limits, Trouble> {
    let view = desk.engine().await?.view().await?;
    let ordered = view.commands.iter().rev().find_map(|command| match &command.order {
        Command::Limit { lane: of, limits } if of == lane => Some(*limits),
        _ => None,
    });
    if let Some(limits) = ordered {
        return Ok(limits);
    }
    // A lane that nobody knows is refused by the engine, in its words.
    let Some(known) = view.lanes.iter().find(|known| &known.lane == lane) else { return Ok(Limits::default()) };
    Ok(desk.plan()?.migration.limits(known.kind))
}

/// Gives an order and waits for its effect, as long as that makes sense.
pub(super) async fn give(desk: &Desk, command: Command) -> Result<u8, Trouble> {
    let name = command.name();
    let mut watcher = desk.engine().await?;
    watcher.watch().await?;
    let mut client = desk.engine().await?;
    let receipt = match client.order(desk.actor.clone(), command).await? {
        Ok(receipt) => receipt,
        Err(refusal) => {
            let when = if refusal.legal_when.is_empty() {
                String::new()
            } else {
                format!(" (possible {})", refusal.legal_when)
            };
            if desk.settings.json {
                out(json!({ "refused": refusal }).to_string());
            }
            err(format!("cutover: {name} is not possible: {}{when}", refusal.why));
            return Ok(crate::error::FaultKind::Illegal.exit_code());
        }
    };
    let end = tokio::time::timeout(EFFECT, effect(&mut watcher, receipt.id)).await;
    let (word, said) = match end {
        Ok(Ok(Ok(()))) => ("effective", format!("{name}: done")),
        Ok(Ok(Err(error))) => {
            if desk.settings.json {
                out(json!({ "receipt": { "id": receipt.id }, "state": "failed", "error": error }).to_string());
            }
            err(format!("cutover: {name} failed: {error}"));
            return Ok(3);
        }
        Ok(Err(fault)) => return Err(fault.into()),
        Err(_) => ("accepted", format!("{name}: accepted, not yet effective; `cutover status` shows it")),
    };
    if desk.settings.json {
        out(json!({ "receipt": { "id": receipt.id }, "state": word }).to_string());
    } else {
        out(said);
    }
    Ok(0)
}

/// Waits for the end of a command; the inner error is the engine's.
async fn effect(watcher: &mut Client, id: CommandId) -> crate::error::Result<Result<(), String>> {
    loop {
        match watcher.next().await? {
            Watched::Event(event) => match &event.kind {
                EventKind::CommandEffective { id: done } if *done == id => return Ok(Ok(())),
                EventKind::CommandFailed { id: done, error } if *done == id => return Ok(Err(error.clone())),
                _ => {}
            },
            Watched::View(_) | Watched::Lost(_) => {}
            // An engine that ends has done what it was told; a stop is the usual reason.
            Watched::End => return Ok(Ok(())),
        }
    }
}

/// `cutover watch`: follows a running engine until it ends.
pub(super) async fn watch(desk: &Desk) -> Result<u8, Trouble> {
    let front = if desk.settings.json { Front::Json } else { Front::Plain };
    let mut client = desk.engine().await?;
    client.watch().await?;
    let mut printer = None;
    loop {
        match client.next().await? {
            Watched::View(view) => printer = Some(Printer::after(front, view.seq)),
            Watched::Event(event) => {
                if let Some(printer) = &mut printer
                    && !printer.take(&event)
                {
                    *printer = Printer::after(front, event.seq - 1);
                    printer.take(&event);
                }
            }
            Watched::Lost(lost) => err(format!("cutover: {lost} events came too fast and are not shown")),
            Watched::End => {
                if let Some(printer) = printer {
                    printer.last();
                }
                return Ok(0);
            }
        }
    }
}
