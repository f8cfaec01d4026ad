//! A part of a run by itself, while no engine runs it: one batch moved again, one batch or lane taken back. Each is a
//! decision and stands in the run's journal.

use super::{
    Trouble,
    desk::{Desk, Front},
    files::no_batch,
    print::{out, replace},
};
use crate::{
    engine::view::RunView,
    event::EventKind,
    migrate::files::{self, FilesOf},
    model::{BatchId, LaneId, Mode, Phase},
    phases,
    plan::Plan,
    ports::{BatchQuery, BatchRow},
    wiring::{self, Bench},
};
use serde_json::json;
use std::{io::IsTerminal as _, sync::Arc};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

/// The exit code when something of the part failed.
const FAILED: u8 = 3;

/// What a command does beside its work: hears of Ctrl-C, and shows progress to a person.
pub(super) struct Beside {
    _stop: AbortOnDropHandle<()>,
    progress: Option<AbortOnDropHandle<()>>,
}

impl Beside {
    /// As long as this lives.
    pub(super) fn begin(desk: &Desk, bench: &mut Bench) -> Self {
        let stop = AbortOnDropHandle::new(tokio::spawn(stop_on_signal(bench.cx.signals.stop.clone())));
        let seen = desk.front != Front::Json && std::io::stderr().is_terminal();
        let progress = bench.progress.take().filter(|_| seen).map(|mut progress| {
            AbortOnDropHandle::new(tokio::spawn(async move {
                while let Some(kind) = progress.recv().await {
                    if let EventKind::StepMoved { note, .. } = kind {
                        replace(&note);
                    }
                }
            }))
        });
        Self { _stop: stop, progress }
    }

    /// Takes the line of progress away.
    pub(super) fn clear(&self) {
        if self.progress.is_some() {
            replace("");
        }
    }
}

async fn stop_on_signal(stop: CancellationToken) {
    let Ok(mut term) = signal(SignalKind::terminate()) else { return };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = term.recv() => {}
    }
    stop.cancel();
}

/// `cutover resume --batch`.
pub(super) async fn resume(desk: &Desk, batch: &str) -> Result<u8, Trouble> {
    let mut bench = alone(desk, &format!("cutover resume --batch {batch}")).await?;
    let done = resume_in(desk, &mut bench, batch).await;
    bench.close().await;
    done
}

async fn resume_in(desk: &Desk, bench: &mut Bench, batch: &str) -> Result<u8, Trouble> {
    may_change(&bench.view)?;
    let row = find(bench, batch).await?;
    let plan = Arc::clone(&bench.cx.plan);
    let of = of_files(&plan, &row.lane)?;
    let (lane, batch) = (row.lane, row.batch);
    bench.record(EventKind::BatchRetried { lane: lane.clone(), batch: batch.clone(), by: desk.actor.clone() }).await?;
    let beside = Beside::begin(desk, bench);
    let tally = files::retry(&bench.cx, of, &batch).await;
    beside.clear();
    let tally = tally?;
    let left = tally.failed + tally.lost + tally.conflicting + tally.open();
    if desk.front == Front::Json {
        out(json!({ "batch": batch, "lane": lane, "tally": tally, "left": left }).to_string());
    } else {
        let more = if left > 0 { format!(": `cutover batches {batch}` says why") } else { String::new() };
        out(format!("{batch}: {} verified, {} skipped, {left} left{more}", tally.verified, tally.skipped));
    }
    Ok(if left > 0 { FAILED } else { 0 })
}

/// `cutover rollback --batch` and `--lane`.
pub(super) async fn rollback(desk: &Desk, batch: Option<&str>, lane: Option<&str>) -> Result<u8, Trouble> {
    let what = batch.map_or_else(|| format!("--lane {}", lane.unwrap_or_default()), |batch| format!("--batch {batch}"));
    let mut bench = alone(desk, &format!("cutover rollback {what}")).await?;
    let done = rollback_in(desk, &mut bench, batch, lane).await;
    bench.close().await;
    done
}

async fn rollback_in(desk: &Desk, bench: &mut Bench, batch: Option<&str>, lane: Option<&str>) -> Result<u8, Trouble> {
    may_change(&bench.view)?;
    if bench.view.phase(Phase::DnsCutover).started.is_some() {
        return Err(Trouble::Refused(
            "users may work on the new side since the DNS cutover: go back with `cutover rollback --reason …`, which \
             carries their changes back first"
                .into(),
        ));
    }
    let (lane, batch) = match batch {
        Some(batch) => {
            let row = find(bench, batch).await?;
            (row.lane, Some(row.batch))
        }
        None => (LaneId::new(lane.unwrap_or_default()), None),
    };
    let plan = Arc::clone(&bench.cx.plan);
    let of = of_files(&plan, &lane)?;
    let by = desk.actor.clone();
    let again = phases::files_again(of);
    let started = EventKind::TakeBackStarted { lane: lane.clone(), batch: batch.clone(), by: by.clone(), again };
    bench.record(started).await?;
    let beside = Beside::begin(desk, bench);
    let back = files::take_back(&bench.cx, of, batch.as_ref()).await;
    beside.clear();
    let back = back?;
    let summary = format!("{} deleted, {} restored, {} pending again", back.deleted, back.restored, back.pending);
    bench
        .record(EventKind::TakenBack { lane: lane.clone(), batch: batch.clone(), by, summary: summary.clone() })
        .await?;
    if desk.front == Front::Json {
        out(json!({ "batch": batch, "lane": lane, "back": back }).to_string());
    } else {
        let what = batch.as_ref().map_or(lane.as_str(), BatchId::as_str);
        let next = batch.as_ref().map_or_else(String::new, |batch| format!("`cutover resume --batch {batch}` or "));
        out(format!("{what}: {summary}; {next}`cutover resume` copies it again"));
    }
    Ok(0)
}

/// The newest run's parts, with nobody else at work on it.
pub(super) async fn alone(desk: &Desk, what: &str) -> Result<Bench, Trouble> {
    let (plan, data) = (desk.plan()?, desk.data()?);
    let bench = wiring::bench(plan, &data, Some(what)).await?;
    desk.log.to_folder(&bench.cx.folder)?;
    Ok(bench)
}

/// Whether a part of the run may be changed by itself.
pub(super) fn may_change(view: &RunView) -> Result<(), Trouble> {
    let refused = |why: &str| Err(Trouble::Refused(why.into()));
    if view.mode == Mode::DryRun {
        return refused("the run is a dry run: it writes nothing");
    }
    if view.committed.is_some() {
        return refused("the run is committed: there is no way back");
    }
    if view.state.is_end() {
        return refused(&format!("the run is over: it is {}", view.state));
    }
    if view.rollback.is_some() {
        return refused("the run is going back altogether: `cutover resume` goes on with that");
    }
    Ok(())
}

async fn find(bench: &Bench, batch: &str) -> Result<BatchRow, Trouble> {
    let query = BatchQuery { batch: Some(BatchId::new(batch)), limit: 1, ..BatchQuery::default() };
    let rows = bench.cx.work.batch_page(&query).await?;
    rows.into_iter().next().ok_or_else(|| no_batch(batch))
}

/// Whose files the lane moves.
fn of_files<'a>(plan: &'a Plan, lane: &LaneId) -> Result<FilesOf<'a>, Trouble> {
    let datasets = &plan.datasets;
    if let Some(dataset) = datasets.iter().find(|dataset| dataset.blob.is_some() && dataset.blob_lane() == *lane) {
        return Ok(dataset.into());
    }
    if let Some(set) = plan.file_sets.iter().find(|set| set.lane() == *lane) {
        return Ok(set.into());
    }
    if datasets.iter().any(|dataset| dataset.lane() == *lane) {
        return Err(Trouble::Refused(format!(
            "lane `{lane}` moves records, which refer to each other and only go back or come again as a whole"
        )));
    }
    Err(Trouble::Usage(format!("no lane `{lane}` in the plan")))
}
