//! Work that goes on beside the steps: what follows the source between the copy ahead and the drain.
//!
//! The engine owns it. It is at work exactly while [`wanted`] says so of the view, so that a run that is recovered, resumed
//! or rolled back treats it as a live one does, and no event of its own is needed: between two rounds it knows nothing that
//! the ledger does not. It **rests** (drains and ends) for a pause and for the phase that takes over from it, and is **cut** by
//! everything that cuts writers; nothing else begins or ends before it has left. Must never enter: what it carries.

use super::{
    decide::Input,
    executor::{GRACE, Inbox},
    step::StepContext,
    view::RunView,
};
use crate::{
    error::{Fault, FaultKind, Result},
    model::{PauseDepth, Phase, RunState, StepId, StepState},
};
use async_trait::async_trait;
use std::{sync::Arc, time::Duration};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

/// Longest wait after a round that failed, unless the rounds are further apart anyway.
const LONGEST: Duration = Duration::from_mins(1);

/// What follows.
#[async_trait]
pub trait Follower: Send + Sync {
    /// The step after which it follows; one whose undo takes back what it carried.
    fn after(&self) -> StepId;

    /// The phase that takes over from it.
    fn until(&self) -> Phase;

    /// The wait between two rounds.
    fn every(&self) -> Duration;

    /// One round: carries what there is to carry now. Idempotent; knows from the work tables where it is; drains at
    /// [`breathe`](super::Signals::breathe) as steps do.
    async fn round(&self, cx: &StepContext) -> Result<()>;
}

/// Whether a follower is to be at work in this state of the run. Pure.
#[must_use]
pub fn wanted(view: &RunView, after: &StepId, until: Phase) -> bool {
    let moves = matches!(view.state, RunState::Running | RunState::AtGate) && view.rollback.is_none();
    let begun = view.step(after).is_some_and(|step| step.state == StepState::Done)
        // Not in a dry run, which would have nothing to undo either.
        && view.undo.iter().any(|entry| &entry.step == after);
    moves && begun && view.phase(until).started.is_none()
}

/// How a follower leaves that is not wanted any more: true if it may finish what is in flight. Pure.
pub(super) fn may_finish(view: &RunView) -> bool {
    let now = view.pause.as_ref().is_some_and(|pause| pause.depth == PauseDepth::Now);
    match view.state {
        RunState::Pausing => !now,
        // The next phase takes over from it.
        RunState::Running | RunState::AtGate => view.rollback.is_none(),
        _ => false,
    }
}

/// A follower at work.
pub(super) struct Following {
    stop: CancellationToken,
    pause: watch::Sender<Option<PauseDepth>>,
    leaving: bool,
}

impl Following {
    /// Sets it to work. `stop` is cancelled by everything that cuts writers.
    pub(super) fn begin(follower: Arc<dyn Follower>, cx: &StepContext, stop: CancellationToken, inbox: Inbox) -> Self {
        let (signals, pause, drained) = cx.signals.beside(stop.clone());
        let cx = StepContext { signals, ..cx.clone() };
        tokio::spawn(go_on(follower, cx, drained, inbox));
        Self { stop, pause, leaving: false }
    }

    /// It has been told to leave and has not left yet.
    pub(super) const fn is_leaving(&self) -> bool {
        self.leaving
    }

    /// Tells it to leave.
    pub(super) fn leave(&mut self, may_finish: bool) {
        self.leaving = true;
        if may_finish {
            self.pause.send_replace(Some(PauseDepth::AfterBatch));
        } else {
            self.stop.cancel();
        }
    }

    /// Drops what it does, now.
    pub(super) fn cut(&mut self) {
        self.leave(false);
    }
}

async fn go_on(follower: Arc<dyn Follower>, cx: StepContext, mut drained: mpsc::Receiver<()>, inbox: Inbox) {
    let mut failures = 0;
    while !cx.signals.pausing() && !cx.signals.stop.is_cancelled() {
        match round(&follower, &cx, &mut drained).await {
            Err(fault) if fault.kind == FaultKind::Cancelled => break,
            Ok(()) => {
                failures = 0;
                inbox.tell(Input::Followed(Ok(()))).await;
            }
            Err(fault) => {
                failures += 1;
                inbox.tell(Input::Followed(Err(fault))).await;
            }
        }
        cx.signals.unless_pausing(wait(follower.every(), failures)).await;
    }
    inbox.tell(Input::FollowerLeft).await;
}

/// The wait after a round, when so many have failed in a row.
fn wait(every: Duration, failures: u32) -> Duration {
    let longest = LONGEST.max(every);
    every.saturating_mul(2_u32.saturating_pow(failures.min(16))).min(longest)
}

/// A round as a task of its own, so that a panic in it is a round that failed; taken down if it does not notice in time that
/// it was cut. Once it has drained for a rest it is over.
async fn round(follower: &Arc<dyn Follower>, cx: &StepContext, drained: &mut mpsc::Receiver<()>) -> Result<()> {
    let stop = cx.signals.stop.clone();
    let (follower, cx) = (Arc::clone(follower), cx.clone());
    let mut body = tokio::spawn(async move { cx.signals.unless_stopped("follow", follower.round(&cx)).await });
    let late = async {
        stop.cancelled().await;
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        joined = &mut body => return joined.unwrap_or_else(|error| {
            Err(Fault::new(FaultKind::Internal, "follow the source").detail(error.to_string()))
        }),
        Some(()) = drained.recv() => {}
        () = late => {}
    }
    body.abort();
    // Nothing of it may still be at work once it is said to have left.
    let _aborted = body.await;
    Err(Fault::cancelled("follow"))
}
