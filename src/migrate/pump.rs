//! Keeps a lane's batches moving: reads ahead by one, works on several at once, drains for a pause.
//!
//! One task, no spawns: dropping the pump drops everything in flight, so an emergency stop is immediate.

use super::lane::Track;
use crate::{
    error::{Fault, Result},
    model::LaneKind,
};
use futures::{
    StreamExt,
    stream::{FuturesUnordered, Stream},
};
use std::{pin::pin, time::Duration};
use tokio::time::MissedTickBehavior;

/// How often a change of concurrency, a pause and an idle lane are noticed.
const LOOK_UP: Duration = Duration::from_millis(50);

/// Takes jobs one after the other from `jobs` (at most one ahead) and works on as many at once as there is `room`. While a
/// pause is asked for nothing new begins; once nothing is in flight it waits at [`crate::engine::Signals::breathe`].
///
/// # Errors
/// The first fault of a job or of the stream; what else is in flight then still ends, without being tried again.
/// `Cancelled` at once when the run is stopped.
pub(crate) async fn pump<J, F>(
    lane: &Track<'_>,
    jobs: impl Stream<Item = Result<J>>,
    room: impl Fn() -> usize,
    work: impl Fn(J) -> F,
) -> Result<()>
where
    F: Future<Output = Result<()>>,
{
    let signals = &lane.cx.signals;
    let mut jobs = pin!(jobs);
    let mut busy = FuturesUnordered::new();
    let mut ahead: Option<J> = None;
    let (mut reading, mut ended) = (false, false);
    let mut failed: Option<Fault> = None;
    let mut look_up = tokio::time::interval(LOOK_UP);
    look_up.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        if signals.stop.is_cancelled() {
            return Err(Fault::cancelled("move data"));
        }
        let pausing = signals.pausing();
        if pausing && busy.is_empty() && !reading && failed.is_none() {
            lane.meter.offer();
            signals.breathe().await?;
            continue;
        }
        let room = room();
        if failed.is_none()
            && !pausing
            && busy.len() < room
            && let Some(job) = ahead.take()
        {
            busy.push(work(job));
            continue;
        }
        if ahead.is_some() && busy.len() >= room && lane.kind == LaneKind::Records {
            lane.pace.crowded();
        }
        let may_read = failed.is_none() && ahead.is_none() && !ended && (reading || !pausing);
        if busy.is_empty() && !may_read && ahead.is_none() && (ended || failed.is_some()) {
            break;
        }
        reading |= may_read;
        tokio::select! {
            biased;
            () = signals.stop.cancelled() => return Err(Fault::cancelled("move data")),
            Some(done) = busy.next(), if !busy.is_empty() => keep_first(lane, &mut failed, &mut ahead, done),
            job = jobs.next(), if may_read => {
                reading = false;
                match job {
                    Some(Ok(job)) => ahead = Some(job),
                    Some(Err(fault)) => keep_first(lane, &mut failed, &mut ahead, Err(fault)),
                    None => ended = true,
                }
            }
            _ = look_up.tick() => lane.meter.offer(),
        }
    }
    failed.map_or(Ok(()), Err)
}

fn keep_first<J>(lane: &Track<'_>, failed: &mut Option<Fault>, ahead: &mut Option<J>, done: Result<()>) {
    if let Err(fault) = done {
        lane.give_up();
        *ahead = None;
        failed.get_or_insert(fault);
    }
}

/// Runs these at most so many at a time; the results in the order in which they ended.
///
/// # Errors
/// The first fault; the others are dropped.
pub(crate) async fn some_at_a_time<T, F>(limit: usize, work: Vec<F>) -> Result<Vec<T>>
where
    F: Future<Output = Result<T>>,
{
    let mut results = Vec::with_capacity(work.len());
    let mut waiting = work.into_iter();
    let mut busy: FuturesUnordered<F> = waiting.by_ref().take(limit).collect();
    while let Some(done) = busy.next().await {
        results.push(done?);
        busy.extend(waiting.next());
    }
    Ok(results)
}
