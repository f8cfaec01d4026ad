//! A step that turns a switch, waits until the world shows it, and can turn it back to where it stood.
//!
//! Where a switch stood before the run touched anything is kept in the work tables as `before/<switch>`; the first word
//! wins, so that a run that died half-way does not take its own doing for the state before it.

use crate::{
    engine::{Checked, Step, StepContext, StepDone},
    error::{Fault, FaultKind, Result},
    event::UndoNote,
    model::{Check, Phase, StepId, Timestamp, Verdict},
    phases::examine::{lower_first, within},
    ports::{Observation, Position, Switch},
};
use async_trait::async_trait;
use serde_json::json;
use std::{sync::Arc, time::Duration};

/// Longest wait for one observation.
const LOOK: Duration = Duration::from_secs(15);
/// First wait between two observations; grows to [`SLOWEST`].
const FIRST: Duration = Duration::from_millis(50);
const SLOWEST: Duration = Duration::from_secs(1);

/// Where a switch is to be turned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Goal {
    /// To this position.
    At(&'static str),
    /// To this position, unless it stands at a severer one.
    AtLeast(&'static str),
    /// Where the plan wants the cutover to end.
    Target,
    /// To the colour that was not active when the run began.
    NewColour,
    /// To the same records with the times to live of the target, where those are shorter.
    ShortLived,
}

/// The step.
pub(super) struct Turn {
    id: StepId,
    title: &'static str,
    switch: &'static str,
    goal: Goal,
    patience: Duration,
}

impl Turn {
    /// A step that turns `switch` to `goal` and waits for that at most `patience`.
    pub(super) fn new(
        phase: Phase,
        name: &str,
        title: &'static str,
        (switch, goal): (&'static str, Goal),
        patience: Duration,
    ) -> Self {
        Self { id: super::id(phase, name), title, switch, goal, patience }
    }

    fn port(&self, cx: &StepContext) -> Result<Arc<dyn Switch>> {
        port(cx, self.switch)
    }

    async fn goal(&self, cx: &StepContext, port: &dyn Switch) -> Result<Position> {
        match self.goal {
            Goal::At(position) | Goal::AtLeast(position) => Ok(Position::new(position)),
            Goal::Target => port.target().ok_or_else(|| {
                Fault::new(FaultKind::Plan, format!("find out where the switch `{}` is to end", self.switch))
            }),
            Goal::NewColour => Ok(colours(cx).await?.new),
            Goal::ShortLived => {
                let stands = match before(cx, self.switch).await? {
                    Some(before) => before,
                    None => seen_standing(cx, self.switch, port).await?,
                };
                Ok(port.target().map_or_else(|| stands.clone(), |target| short_lived(&stands, &target)))
            }
        }
    }

    /// True where nothing is left to be done: it stands where it shall, or severer where that is as good.
    fn reached(&self, port: &dyn Switch, stands: &Position, to: &Position) -> bool {
        let severity = |position: &Position| port.positions().iter().position(|known| known == position);
        match self.goal {
            Goal::AtLeast(_) => stands == to || severity(stands) > severity(to),
            _ => stands == to,
        }
    }
}

#[async_trait]
impl Step for Turn {
    fn id(&self) -> StepId {
        self.id.clone()
    }

    fn title(&self) -> String {
        self.title.into()
    }

    async fn check(&self, cx: &StepContext) -> Result<Checked> {
        let port = self.port(cx)?;
        let seen = observe(cx, self.switch, port.as_ref()).await?;
        let stands = standing(&seen).ok_or_else(|| nobody_knows(self.switch))?;
        let to = self.goal(cx, port.as_ref()).await?;
        let before = first_seen(cx, self.switch, &stands).await?;
        let there = seen.position.as_ref().is_some_and(|all| self.reached(port.as_ref(), all, &to));
        if there && (before == stands || matches!(self.goal, Goal::AtLeast(_))) {
            return Ok(Checked::Already(
                StepDone::new(format!("{} already at {stands}", self.switch)).checks(vec![check(
                    cx,
                    self.switch,
                    &stands,
                )]),
            ));
        }
        // What stands at the goal without our doing in this attempt goes back to where the run found it.
        let back = if stands == to { before } else { stands };
        Ok(Checked::Needed {
            intent: format!("{} ({} to {to})", lower_first(self.title), self.switch),
            undo: json!({ "before": back }),
        })
    }

    async fn apply(&self, cx: &StepContext) -> Result<StepDone> {
        let port = self.port(cx)?;
        let to = self.goal(cx, port.as_ref()).await?;
        let doing = format!("turn the switch `{}` to {to}", self.switch);
        cx.signals.unless_stopped(&doing, port.turn(&to)).await?;
        Ok(StepDone::new(format!("{} at {to}", self.switch)).checks(vec![check(cx, self.switch, &to)]))
    }

    async fn settle(&self, cx: &StepContext) -> Result<()> {
        let port = self.port(cx)?;
        let to = self.goal(cx, port.as_ref()).await?;
        wait_until(
            cx,
            self.switch,
            port.as_ref(),
            self.patience,
            |stands| self.reached(port.as_ref(), stands, &to),
            &to,
        )
        .await
    }

    async fn undo(&self, cx: &StepContext, note: &UndoNote) -> Result<StepDone> {
        let before = note.get("before").and_then(|before| before.as_str()).map(Position::new).ok_or_else(|| {
            Fault::new(FaultKind::Internal, format!("read where the switch `{}` stood before", self.switch))
        })?;
        turn_and_wait(cx, self.switch, &before, self.patience).await?;
        Ok(StepDone::new(format!("{} back at {before}", self.switch)))
    }
}

/// The evidence that a switch stands where it should. It ages: the world may move on.
fn check(cx: &StepContext, switch: &str, at: &Position) -> Check {
    Check::new(format!("{switch} observed"), Verdict::Pass, at.to_string(), Timestamp::now())
        .stale_after(cx.plan.rollback.evidence_max_age)
}

/// The switch of this name, which a step of the outline can rely on.
pub(super) fn port(cx: &StepContext, switch: &str) -> Result<Arc<dyn Switch>> {
    cx.ports
        .switch(switch)
        .ok_or_else(|| Fault::new(FaultKind::Plan, format!("find the switch `{switch}` in the plan")))
}

/// Looks once.
pub(super) async fn observe(cx: &StepContext, switch: &str, port: &dyn Switch) -> Result<Observation> {
    let doing = format!("look where the switch `{switch}` stands");
    cx.signals.unless_stopped(&doing, within(LOOK, &doing, port.observe())).await
}

fn nobody_knows(switch: &str) -> Fault {
    Fault::new(FaultKind::Unmet, format!("see where the switch `{switch}` stands"))
        .detail("nobody could say, and without that there would be no way back")
}

/// Looks once, and somebody must know.
async fn seen_standing(cx: &StepContext, switch: &str, port: &dyn Switch) -> Result<Position> {
    standing(&observe(cx, switch, port).await?).ok_or_else(|| nobody_knows(switch))
}

/// The position `now` with each time to live that is longer than the target's cut to that. A position of records reads
/// as lines of name, type, seconds, value; a line that reads otherwise stays as it is.
pub(super) fn short_lived(now: &Position, target: &Position) -> Position {
    let parts = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            [name, kind, ttl, value] => {
                let ttl: u32 = ttl.parse().ok()?;
                Some(((*name).to_owned(), (*kind).to_owned(), ttl, (*value).to_owned()))
            }
            _ => None,
        }
    };
    let wanted = |name: &str, kind: &str| {
        target.0.lines().filter_map(parts).find(|(other, of, ..)| other == name && of == kind).map(|(_, _, ttl, _)| ttl)
    };
    let lines = now.0.lines().map(|line| match parts(line) {
        Some((name, kind, ttl, value)) if wanted(&name, &kind).is_some_and(|wanted| wanted < ttl) => {
            format!("{name} {kind} {} {value}", wanted(&name, &kind).unwrap_or(ttl))
        }
        _ => line.to_owned(),
    });
    Position(lines.collect::<Vec<_>>().join("\n"))
}

/// Where it stands as far as anybody can tell: what all witnesses say, or else the control's own word, which is the
/// first witness.
pub(super) fn standing(seen: &Observation) -> Option<Position> {
    seen.position.clone().or_else(|| seen.witnesses.iter().find_map(|witness| witness.position.clone()))
}

/// Where the switch stood when the run first looked; keeps `stands` as that if this is the first look.
pub(super) async fn first_seen(cx: &StepContext, switch: &str, stands: &Position) -> Result<Position> {
    if let Some(before) = before(cx, switch).await? {
        return Ok(before);
    }
    cx.work.note(&format!("before/{switch}"), &json!(stands)).await?;
    Ok(stands.clone())
}

/// Where the switch stood when the run first looked, if it has looked.
pub(super) async fn before(cx: &StepContext, switch: &str) -> Result<Option<Position>> {
    let noted = cx.work.noted(&format!("before/{switch}")).await?;
    Ok(noted.and_then(|value| value.as_str().map(Position::new)))
}

/// Turns a switch and waits until it is seen there; at once if it is there.
pub(super) async fn turn_and_wait(cx: &StepContext, switch: &str, to: &Position, patience: Duration) -> Result<()> {
    let port = port(cx, switch)?;
    let there = observe(cx, switch, port.as_ref()).await.is_ok_and(|seen| seen.position.as_ref() == Some(to));
    if !there {
        let doing = format!("turn the switch `{switch}` to {to}");
        cx.signals.unless_stopped(&doing, port.turn(to)).await?;
    }
    wait_until(cx, switch, port.as_ref(), patience, |stands| stands == to, to).await
}

/// Waits until every witness says what is wanted, and says meanwhile how many do.
async fn wait_until(
    cx: &StepContext,
    switch: &str,
    port: &dyn Switch,
    patience: Duration,
    reached: impl Fn(&Position) -> bool + Send + Sync,
    to: &Position,
) -> Result<()> {
    let deadline = tokio::time::Instant::now() + patience;
    let mut pause = FIRST;
    loop {
        let state = match observe(cx, switch, port).await {
            Ok(seen) if seen.position.as_ref().is_some_and(&reached) => return Ok(()),
            Ok(seen) => witnesses(&seen, to),
            Err(fault) if fault.kind.is_retryable() => fault.chain(),
            Err(fault) => return Err(fault),
        };
        cx.report.note(None, format!("waits for {switch}: {state}"));
        if tokio::time::Instant::now() >= deadline {
            return Err(Fault::new(FaultKind::Unmet, format!("see the switch `{switch}` at {to} within {patience:?}"))
                .detail(state));
        }
        cx.signals.wait(pause).await?;
        pause = (pause * 2).min(SLOWEST);
    }
}

/// How far the witnesses are, in a few words.
pub(super) fn witnesses(seen: &Observation, to: &Position) -> String {
    let resolvers: Vec<_> = seen.witnesses.iter().filter(|witness| witness.who != "api").collect();
    if resolvers.is_empty() {
        return standing(seen).map_or_else(|| "no answer".into(), |stands| format!("stands at {stands}"));
    }
    let there = resolvers.iter().filter(|witness| witness.position.as_ref() == Some(to)).count();
    format!("{there} of {} resolvers", resolvers.len())
}

/// The two colours of this run: the one that was active when it began, and the one it brings up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Colours {
    /// Active when the run began.
    pub(super) old: Position,
    /// The first other one.
    pub(super) new: Position,
}

/// The colours; what was active at the first look stays the old one, also after the switch was turned.
pub(super) async fn colours(cx: &StepContext) -> Result<Colours> {
    const SWITCH: &str = "deployment";
    let port = port(cx, SWITCH)?;
    let old = if let Some(old) = before(cx, SWITCH).await? {
        old
    } else {
        let stands = seen_standing(cx, SWITCH, port.as_ref()).await?;
        first_seen(cx, SWITCH, &stands).await?
    };
    let new = port.positions().into_iter().find(|colour| *colour != old && colour.0 != "none").ok_or_else(|| {
        Fault::new(FaultKind::Plan, "find the colour to bring up")
            .detail(format!("the switch `deployment` knows no other position than {old}"))
    })?;
    Ok(Colours { old, new })
}
