//! Goes back to a backup, one dataset at a time, by a person's order and while no engine runs. Without `--yes` it only says
//! what it would do. It is a decision and stands in the newest run's journal, whatever became of that run.

use super::{
    Trouble,
    args::RestoreArgs,
    desk::{Desk, Front},
    parts::{self, Beside},
    print::out,
};
use crate::{
    engine::view::RunView,
    event::EventKind,
    migrate::backup::{self, Backup, Outlook, Place, Restored, State},
    model::{RunId, text::clean},
    plan::DatasetPlan,
    wiring::{self, Bench},
};
use serde_json::json;
use std::{fmt::Write as _, sync::Arc};

/// The exit code when rows could not be put back.
const LEFT: u8 = 3;

/// `cutover restore`.
pub(super) async fn restore(desk: &Desk, asked: &RestoreArgs) -> Result<u8, Trouble> {
    let mut bench = if asked.yes {
        parts::alone(desk, &format!("cutover restore --dataset {}", asked.dataset)).await?
    } else {
        wiring::bench(desk.plan()?, &desk.data()?, None).await?
    };
    let done = restore_in(desk, &mut bench, asked).await;
    bench.close().await;
    done
}

async fn restore_in(desk: &Desk, bench: &mut Bench, asked: &RestoreArgs) -> Result<u8, Trouble> {
    let plan = Arc::clone(&bench.cx.plan);
    let names: Vec<&str> = plan.datasets.iter().map(|dataset| dataset.name.as_str()).collect();
    let dataset = plan.datasets.iter().find(|dataset| dataset.name == asked.dataset).ok_or_else(|| {
        Trouble::Usage(format!("no dataset `{}`: they are {}", clean(&asked.dataset, 80), names.join(", ")))
    })?;
    let backup = choose(bench, asked).await?;
    if !asked.yes {
        return look(desk, bench, dataset, &backup).await;
    }
    may_restore(&bench.view, backup::is_written(&bench.cx, dataset).await?)?;
    let (dataset_name, from, by) = (dataset.name.clone(), backup.run.clone(), desk.actor.clone());
    backup.manifest().await?;
    let started = EventKind::RestoreStarted {
        dataset: dataset_name.clone(),
        from: from.clone(),
        remove_others: asked.remove_others,
        by: by.clone(),
    };
    bench.record(started).await?;
    let beside = Beside::begin(desk, bench);
    let done = backup::restore(&bench.cx, dataset, &backup, asked.remove_others).await;
    beside.clear();
    let done = done?;
    let summary = in_words(&done);
    bench.record(EventKind::Restored { dataset: dataset_name, from, by, summary: summary.clone() }).await?;
    out(if desk.front == Front::Json {
        json!({ "dataset": dataset.name, "run": backup.run, "restored": done }).to_string()
    } else {
        format!("{}: {summary}", dataset.name)
    });
    Ok(if done.left > 0 { LEFT } else { 0 })
}

/// Says what a restore would do.
async fn look(desk: &Desk, bench: &mut Bench, dataset: &DatasetPlan, backup: &Backup) -> Result<u8, Trouble> {
    let beside = Beside::begin(desk, bench);
    let found = backup::outlook(&bench.cx, dataset, backup).await;
    beside.clear();
    let found = found?;
    let taken = backup.manifest().await?.taken;
    if desk.front == Front::Json {
        out(json!({ "dataset": dataset.name, "run": backup.run, "taken": taken, "outlook": found }).to_string());
        return Ok(0);
    }
    let Outlook { rows, same, missing, differs, others, first } = found;
    let name = &dataset.name;
    out(format!("{name}: backup of {rows} rows, taken {} before run {}", taken.strftime("%F %H:%MZ"), backup.run));
    out(format!("  {same} are there as it has them"));
    out(format!("  {missing} are missing: would be put back"));
    out(format!("  {differs} are otherwise: would be overwritten"));
    out(format!("  {others} are there and not in the backup: would stay, or be removed with --remove-others"));
    for one in first {
        out(format!("    {}", clean(&one, 300)));
    }
    out("nothing was changed; --yes does it");
    Ok(0)
}

fn in_words(done: &Restored) -> String {
    let Restored { rows, put_back, overwritten, removed, others, left, first } = done;
    let mut words = format!("{put_back} put back and {overwritten} overwritten of {rows} rows");
    if *removed > 0 {
        let _infallible = write!(words, ", {removed} others removed");
    }
    if *others > 0 {
        let _infallible = write!(words, ", {others} others left as they are");
    }
    if *left > 0 {
        let _infallible = write!(words, ", {left} could NOT be put back, first {}", clean(first, 300));
    }
    words
}

/// Whether a dataset may be brought back to a backup now. `written`: the newest run may have written to it.
fn may_restore(view: &RunView, written: bool) -> Result<(), Trouble> {
    let refused = |why: &str| Err(Trouble::Refused(why.into()));
    if view.committed.is_some() {
        return refused("the newest run is committed: the new side is the one that is used");
    }
    match view.rollback.as_ref().map(|_| view.undo.is_empty()) {
        _ if view.state.is_end() || !written => Ok(()),
        Some(true) => Ok(()),
        Some(false) => {
            refused("the run is going back and has not undone its data yet: `cutover resume` goes on with that")
        }
        None => refused(
            "the run is under way and has written to this dataset: `cutover rollback --reason …` takes that back, and \
             compares with the backup at its end",
        ),
    }
}

/// The backup that is meant.
async fn choose(bench: &Bench, asked: &RestoreArgs) -> Result<Backup, Trouble> {
    let cx = &bench.cx;
    let place = Place::new(&cx.plan, &cx.ports, &cx.signals)?;
    let all = backup::list(&place, false).await?;
    let mut runs: Vec<&RunId> =
        all.iter().filter(|one| one.kept.dataset == asked.dataset).map(|one| &one.kept.run).collect();
    let known = runs.iter().map(|run| clean(run.as_str(), 60)).collect::<Vec<_>>().join(", ");
    let wanted = asked.run.as_deref().unwrap_or_else(|| bench.view.run.as_str());
    runs.retain(|run| run.as_str().starts_with(wanted));
    match runs[..] {
        [run] => {
            let of_it = all.iter().find(|one| one.kept.dataset == asked.dataset && one.kept.run == *run);
            match of_it.map(|one| &one.state) {
                Some(State::Unfinished) => Err(Trouble::Refused(format!("the backup from run {run} was not finished"))),
                _ => Ok(place.backup(run, &asked.dataset)),
            }
        }
        [] if known.is_empty() => Err(Trouble::Refused(format!("no backup of {} in {}", asked.dataset, place.told()))),
        [] => Err(Trouble::Usage(format!(
            "no backup of {} from run {}: say --run; there are {known}",
            asked.dataset,
            clean(wanted, 60)
        ))),
        _ => Err(Trouble::Usage(format!("several runs begin with {}: {known}", clean(wanted, 60)))),
    }
}
