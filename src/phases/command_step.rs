//! A program of the plan as a step: run before or after a phase's own steps, undone by its own counterpart.
//!
//! A program cannot be asked what it did, so it must be repeatable: a run that died while it was under way runs it again.

use crate::{
    engine::{Checked, Step, StepContext, StepDone},
    error::{Fault, FaultKind, Result},
    event::UndoNote,
    model::{Phase, StepId, text},
    plan::CommandPlan,
};
use async_trait::async_trait;
use serde_json::json;
use std::{process::Stdio, time::Duration};
use tokio::{io::AsyncReadExt, process::Command};

/// Bytes of a program's output that are kept for the error line.
const KEPT: u64 = 8 * 1024;

/// The step.
pub(super) struct CommandStep {
    id: StepId,
    command: CommandPlan,
}

impl CommandStep {
    /// The program as a step of the phase; `when` is `before` or `after`.
    pub(super) fn new(phase: Phase, when: &str, command: &CommandPlan) -> Self {
        Self { id: super::id(phase, &format!("{when}-{}", command.name)), command: command.clone() }
    }
}

#[async_trait]
impl Step for CommandStep {
    fn id(&self) -> StepId {
        self.id.clone()
    }

    fn title(&self) -> String {
        format!("Run {}", self.command.name)
    }

    async fn check(&self, _cx: &StepContext) -> Result<Checked> {
        let undo = self.command.undo.as_ref().map_or(UndoNote::Null, |_| json!({ "ran": self.command.name }));
        Ok(Checked::Needed { intent: format!("run {}", line(&self.command.run)), undo })
    }

    async fn apply(&self, cx: &StepContext) -> Result<StepDone> {
        run(cx, &self.command.run, self.command.timeout).await.map(StepDone::new)
    }

    async fn undo(&self, cx: &StepContext, _note: &UndoNote) -> Result<StepDone> {
        match &self.command.undo {
            Some(undo) => run(cx, undo, self.command.timeout).await.map(StepDone::new),
            None => Ok(StepDone::new("nothing to undo")),
        }
    }
}

fn line(program: &[String]) -> String {
    text::clean(&program.join(" "), 120)
}

/// Runs the program to its end and says in one line what it wrote. It ends with us: dropping this kills it.
async fn run(cx: &StepContext, program: &[String], limit: Duration) -> Result<String> {
    let doing = format!("run {}", line(program));
    let (name, arguments) = program.split_first().ok_or_else(|| Fault::new(FaultKind::Plan, doing.clone()))?;
    let mut command = Command::new(name);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().map_err(|error| {
        let kind = match error.kind() {
            std::io::ErrorKind::NotFound => FaultKind::NotFound,
            std::io::ErrorKind::PermissionDenied => FaultKind::Permission,
            _ => FaultKind::Internal,
        };
        Fault::new(kind, doing.clone()).source(error)
    })?;
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let work = async {
        let (out, err, status) = tokio::join!(head(out), head(err), child.wait());
        let status = status.map_err(|error| Fault::new(FaultKind::Internal, doing.clone()).source(error))?;
        let said = if err.trim().is_empty() { out } else { err };
        let last = said.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
        if status.success() {
            return Ok(if last.is_empty() { "done".into() } else { text::clean(last, 120) });
        }
        Err(Fault::new(FaultKind::Refused, doing.clone()).detail(format!("{status}: {last}")))
    };
    let timed = async {
        tokio::time::timeout(limit, work).await.unwrap_or_else(|_late| {
            Err(Fault::new(FaultKind::Timeout, doing.clone()).detail(format!("not done after {limit:?}")))
        })
    };
    cx.signals.unless_stopped(&doing, timed).await
}

/// The beginning of what a program writes; the rest is read and dropped, so that it never waits for us.
async fn head(from: Option<impl tokio::io::AsyncRead + Unpin>) -> String {
    let Some(mut from) = from else { return String::new() };
    let mut kept = Vec::new();
    // What cannot be read any more is not missed: the exit code decides.
    let _unread = (&mut from).take(KEPT).read_to_end(&mut kept).await;
    let _dropped = tokio::io::copy(&mut from, &mut tokio::io::sink()).await;
    String::from_utf8_lossy(&kept).into_owned()
}
