//! Runs one step, or one undo, outside the loop, and tells the loop what comes of it.
//!
//! The loop gets to know everything through its inbox, in order; before a step changes anything, its intent goes in and
//! the journal's word is waited for.

use crate::{
    engine::{
        decide::{Flight, Input, Mend, Mended},
        script::Surroundings,
        step::{Checked, Reporter, Step, StepContext, StepDone},
    },
    error::{Fault, FaultKind, Result},
    event::{EventKind, UndoNote},
    model::Mending,
};
use std::{future::Future, sync::Arc, time::Duration};
use tokio::sync::{mpsc, oneshot};

/// Attempts at a step, beside what the step itself repeats inside: a server that restarts should not end a night.
const ATTEMPTS: u32 = 3;
/// First wait between attempts; doubles.
const BACKOFF: Duration = Duration::from_secs(1);
/// How long dropped work may take to notice before it is taken down.
pub(super) const GRACE: Duration = Duration::from_millis(500);
/// Words of progress that wait to be passed on.
const MURMURS: usize = 64;

/// An input for the loop, and where to say that the journal has it.
pub(super) struct Message {
    /// What happened.
    pub(super) input: Input,
    /// Told once the input's decisions are durable.
    pub(super) journalled: Option<oneshot::Sender<()>>,
}

/// The loop's inbox as its workers see it.
#[derive(Clone)]
pub(super) struct Inbox(pub(super) mpsc::Sender<Message>);

impl Inbox {
    /// Tells the loop.
    pub(super) async fn tell(&self, input: Input) {
        // The loop is gone only when the engine is over, and then nobody needs to know.
        let _engine_over = self.0.send(Message { input, journalled: None }).await;
    }

    /// Tells the loop and waits until the journal has it.
    async fn tell_durably(&self, input: Input) -> Result<()> {
        let (journalled, durable) = oneshot::channel();
        let gone = |_| Fault::cancelled("write the intent into the journal");
        self.0
            .send(Message { input, journalled: Some(journalled) })
            .await
            .map_err(|_| Fault::cancelled("write the intent into the journal"))?;
        durable.await.map_err(gone)
    }
}

/// Puts a step in flight.
pub(super) fn step(step: Arc<dyn Step>, cx: StepContext, inbox: Inbox) {
    let flight = Flight::Step(step.id());
    let (worker, outside) = (inbox.clone(), cx.clone());
    let work = async move {
        let mut attempt = 1;
        loop {
            worker.tell(Input::StepStarted(step.id(), attempt)).await;
            match once(step.as_ref(), &cx, &worker).await {
                Err(fault) if fault.kind.is_retryable() && attempt < ATTEMPTS => {
                    pause_between(&cx, attempt, &fault).await?;
                    attempt += 1;
                }
                result => return result,
            }
        }
    };
    fly(outside, inbox, work, move |result| Input::Landed(flight, result));
}

async fn once(step: &dyn Step, cx: &StepContext, inbox: &Inbox) -> Result<StepDone> {
    let done = match step.check(cx).await? {
        Checked::Already(done) => done,
        Checked::Needed { intent, undo } => {
            inbox.tell_durably(Input::StepIntends(step.id(), intent, undo)).await?;
            step.apply(cx).await?
        }
    };
    step.settle(cx).await?;
    Ok(done)
}

/// Puts an undo in flight.
pub(super) fn undo(step: Arc<dyn Step>, note: UndoNote, cx: StepContext, inbox: Inbox) {
    let (flight, outside) = (Flight::Undo(step.id()), cx.clone());
    let work = async move {
        let mut attempt = 1;
        loop {
            match step.undo(&cx, &note).await {
                Err(fault) if fault.kind.is_retryable() && attempt < ATTEMPTS => {
                    pause_between(&cx, attempt, &fault).await?;
                    attempt += 1;
                }
                result => return result,
            }
        }
    };
    fly(outside, inbox, work, move |result| Input::Landed(flight, result));
}

/// Puts the last stage of a rollback in flight.
pub(super) fn validate_legacy(surroundings: Arc<dyn Surroundings>, cx: StepContext, inbox: Inbox) {
    let outside = cx.clone();
    let work = async move { surroundings.legacy_validated(&cx).await };
    fly(outside, inbox, work, |result| Input::Landed(Flight::LegacyValidation, result));
}

/// Puts what is ordered about records in flight. The lane's own word of where it stands is not passed on to `progress`:
/// its stage stays what the run made of it.
pub(super) fn mend(
    surroundings: Arc<dyn Surroundings>,
    mend: Mend,
    mut cx: StepContext,
    progress: &mpsc::Sender<EventKind>,
    inbox: Inbox,
) {
    let (to, mut said) = mpsc::channel(MURMURS);
    cx.report = Reporter::new(Mending::step(&mend.lane), to);
    cx.signals = cx.signals.unpaused();
    let progress = progress.clone();
    tokio::spawn(async move {
        while let Some(kind) = said.recv().await {
            if !matches!(kind, EventKind::LaneMoved { .. }) {
                // Full means that newer progress will follow.
                let _dropped = progress.try_send(kind);
            }
        }
    });
    let (ordered, outside) = (mend.clone(), cx.clone());
    let work = async move {
        let done = surroundings.mend(&cx, &mend.lane, &mend.what, mend.live).await?;
        let (tally, errors) = (cx.work.tally(&mend.lane).await?, cx.work.errors(&mend.lane).await?);
        Ok(Mended { summary: done.summary, tally, errors })
    };
    fly(outside, inbox, work, |result| Input::Mended(ordered, result));
}

async fn pause_between(cx: &StepContext, attempt: u32, fault: &Fault) -> Result<()> {
    let wait = fault.retry_after.unwrap_or(BACKOFF * 2_u32.saturating_pow(attempt - 1)).min(Duration::from_secs(30));
    tracing::warn!(attempt, wait_s = wait.as_secs_f64(), "{}; trying again", fault.chain());
    cx.report.note(None, format!("tries again in {:.0} s: {}", wait.as_secs_f64(), fault.chain()));
    cx.signals.wait(wait).await
}

/// Runs the work as a task of its own, so that a panic in it is a failed step and not a dead engine, and takes it down
/// if it does not notice in time that it was dropped.
fn fly<T: Send + 'static>(
    cx: StepContext,
    inbox: Inbox,
    work: impl Future<Output = Result<T>> + Send + 'static,
    landed: impl FnOnce(Result<T>) -> Input + Send + 'static,
) {
    let stop = cx.signals.stop.clone();
    tokio::spawn(async move {
        let mut body = tokio::spawn(async move { cx.signals.unless_stopped("finish the step", work).await });
        let late = async {
            stop.cancelled().await;
            tokio::time::sleep(GRACE).await;
        };
        let result = tokio::select! {
            joined = &mut body => joined.unwrap_or_else(|error| {
                Err(Fault::new(FaultKind::Internal, "run the step").detail(error.to_string()))
            }),
            () = late => {
                body.abort();
                Err(Fault::cancelled("finish the step"))
            }
        };
        inbox.tell(landed(result)).await;
    });
}
