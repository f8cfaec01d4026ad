//! Mends records by a person's order, while no engine runs: what a comparison found different, and what could not be
//! moved. Without `--yes` it only says what it would do. Each repair is a decision and stands in the run's journal.

use super::{
    Trouble,
    args::{DeadLettersArgs, DeadLettersVerb, RepairArgs, Side},
    desk::{Desk, Front},
    files::{each_page, lanes},
    parts::{self, Beside},
    print::{err, lines, out, word},
};
use crate::{
    engine::StepContext,
    event::EventKind,
    migrate::records::{self, Repair},
    model::{ItemState, LaneId, LaneKind, Mending, Take, text::clean},
    plan::DatasetPlan,
    ports::{ItemQuery, ItemRow, ItemVerdict, VerdictQuery, Work},
    wiring::{self, Bench, Reads},
};
use serde_json::{Value, json};
use std::{fmt::Write as _, sync::Arc};

/// The exit code when something is left.
const LEFT: u8 = 3;
/// Characters of a key or a reason shown.
const LONGEST: usize = 500;

/// `cutover repair`.
pub(super) async fn repair(desk: &Desk, asked: &RepairArgs) -> Result<u8, Trouble> {
    if !asked.yes {
        return look(desk, asked).await;
    }
    let mut bench = parts::alone(desk, &format!("cutover repair --lane {}", asked.lane)).await?;
    let done = repair_in(desk, &mut bench, asked).await;
    bench.close().await;
    done
}

/// Says what a repair would do.
async fn look(desk: &Desk, asked: &RepairArgs) -> Result<u8, Trouble> {
    let reads = wiring::reads(&desk.home()?).await?;
    let lane = LaneId::new(&asked.lane);
    let sums = found(reads.work.as_ref(), &lane, &asked.keys).await;
    reads.close().await;
    let sums = sums?;
    let count = |verdict| sums.iter().find(|(of, _)| *of == verdict).map_or(0, |(_, sum)| *sum);
    let would = |verdict: ItemVerdict| match verdict {
        ItemVerdict::OnlyInTarget => "deleted in the target, if the run wrote them",
        ItemVerdict::OnlyInSource => "written to the target",
        _ => "overwritten in the target as the source has them",
    };
    for verdict in asked.verdicts() {
        let count = count(verdict);
        out(if desk.front == Front::Json {
            json!({ "lane": lane, "verdict": verdict, "records": count, "would": would(verdict) }).to_string()
        } else {
            format!("{lane}: {count} {}: would be {}", word(&verdict), would(verdict))
        });
    }
    if desk.front != Front::Json {
        out(format!("nothing was changed; `cutover verify --lane {lane} --list …` lists them, --yes mends them"));
    }
    Ok(0)
}

/// How many records were found as what: of these keys, or of the whole lane.
async fn found(work: &dyn Work, lane: &LaneId, keys: &[String]) -> crate::error::Result<Vec<(ItemVerdict, u64)>> {
    if keys.is_empty() {
        return work.verdict_sums(lane).await;
    }
    let limit = u32::try_from(keys.len()).unwrap_or(u32::MAX);
    let query = VerdictQuery { keys: keys.to_vec(), limit, ..VerdictQuery::default() };
    Ok(work.verdicts(lane, &query).await?.into_iter().map(|row| (row.verdict, 1)).fold(Vec::new(), add))
}

fn add(mut sums: Vec<(ItemVerdict, u64)>, (verdict, count): (ItemVerdict, u64)) -> Vec<(ItemVerdict, u64)> {
    match sums.iter_mut().find(|(of, _)| *of == verdict) {
        Some((_, sum)) => *sum += count,
        None => sums.push((verdict, count)),
    }
    sums
}

async fn repair_in(desk: &Desk, bench: &mut Bench, asked: &RepairArgs) -> Result<u8, Trouble> {
    let plan = Arc::clone(&bench.cx.plan);
    let dataset = of_records(bench, &plan.datasets, &asked.lane)?;
    let mut left = 0;
    for verdict in asked.verdicts() {
        let what = Mending::Repair { verdict, keys: asked.keys.clone() };
        let repair = async |cx: &StepContext| records::repair(cx, dataset, verdict, &asked.keys).await;
        left += mend(desk, bench, dataset, &what, repair).await?.left;
    }
    Ok(if left > 0 { LEFT } else { 0 })
}

/// Writes the decision down, does it, writes down what came of it, and says so.
async fn mend(
    desk: &Desk,
    bench: &mut Bench,
    dataset: &DatasetPlan,
    what: &Mending,
    work: impl AsyncFnOnce(&StepContext) -> crate::error::Result<Repair>,
) -> Result<Repair, Trouble> {
    let (lane, what, by) = (dataset.lane(), what.words(), desk.actor.clone());
    bench.record(EventKind::RepairStarted { lane: lane.clone(), what: what.clone(), by: by.clone() }).await?;
    let beside = Beside::begin(desk, bench);
    let done = work(&bench.cx).await;
    beside.clear();
    let done = done?;
    let summary = done.to_string();
    bench.record(EventKind::Repaired { lane: lane.clone(), what: what.clone(), by, summary: summary.clone() }).await?;
    out(if desk.front == Front::Json {
        json!({ "lane": lane, "what": what, "repair": done }).to_string()
    } else {
        format!("{lane}, {what}: {summary}")
    });
    Ok(done)
}

/// The dataset whose records the lane moves, if they may be changed now.
fn of_records<'p>(bench: &Bench, datasets: &'p [DatasetPlan], lane: &str) -> Result<&'p DatasetPlan, Trouble> {
    parts::may_change(&bench.view)?;
    if bench.view.phase(crate::model::Phase::DnsCutover).started.is_some() {
        return Err(Trouble::Refused(
            "users may work on the new side since the DNS cutover: what they wrote there must not be overwritten"
                .into(),
        ));
    }
    let names: Vec<&str> = datasets.iter().map(|dataset| dataset.name.as_str()).collect();
    datasets.iter().find(|dataset| dataset.lane().as_str() == lane).ok_or_else(|| {
        Trouble::Usage(format!("no lane of records `{}`: they are {}", clean(lane, 80), names.join(", ")))
    })
}

/// `cutover deadletters`.
pub(super) async fn dead_letters(desk: &Desk, asked: &DeadLettersArgs) -> Result<u8, Trouble> {
    if let Some(DeadLettersVerb::Retry { lane, .. } | DeadLettersVerb::Decide { lane, .. }) = &asked.verb {
        let mut bench = parts::alone(desk, &format!("cutover deadletters --lane {lane}")).await?;
        let done = move_in(desk, &mut bench, lane, asked).await;
        bench.close().await;
        return done;
    }
    let reads = wiring::reads(&desk.home()?).await?;
    let told = tell(desk, &reads, asked).await;
    reads.close().await;
    told
}

async fn move_in(desk: &Desk, bench: &mut Bench, lane: &str, asked: &DeadLettersArgs) -> Result<u8, Trouble> {
    let plan = Arc::clone(&bench.cx.plan);
    let dataset = of_records(bench, &plan.datasets, lane)?;
    let done = if let Some(DeadLettersVerb::Decide { take, keys, .. }) = &asked.verb {
        let take = match take {
            Side::Legacy => Take::Source,
            Side::New => Take::Target,
        };
        let what = Mending::Decide { keys: keys.clone(), take };
        mend(desk, bench, dataset, &what, async |cx| records::decide(cx, dataset, keys, take).await).await?
    } else {
        let keys = match &asked.verb {
            Some(DeadLettersVerb::Retry { keys, .. }) => keys.as_slice(),
            _ => &[],
        };
        let what = Mending::Retry { keys: keys.to_vec() };
        mend(desk, bench, dataset, &what, async |cx| records::retry_failed(cx, dataset, keys).await).await?
    };
    Ok(if done.left > 0 { LEFT } else { 0 })
}

async fn tell(desk: &Desk, reads: &Reads, asked: &DeadLettersArgs) -> Result<u8, Trouble> {
    let json = desk.front == Front::Json;
    let (wanted, key) = match &asked.verb {
        Some(DeadLettersVerb::Show { lane, key }) => (Some(lane.as_str()), Some(key)),
        Some(DeadLettersVerb::Export { lane }) => (lane.as_deref(), None),
        _ => (asked.lane.as_deref(), None),
    };
    let whole = asked.verb.is_some();
    let mut count = 0_u64;
    for (lane, kind) in lanes(desk, reads, wanted).await? {
        if kind != LaneKind::Records {
            continue;
        }
        let keys = key.cloned().into_iter().collect();
        let query = ItemQuery { lane: Some(lane), states: vec![ItemState::Failed], keys, ..ItemQuery::default() };
        each_page(reads, &query, |items| {
            let mut text = String::new();
            for item in &items {
                count += 1;
                let told = match (whole, json || key.is_none()) {
                    (true, true) => letter(item, true).to_string(),
                    (true, false) => serde_json::to_string_pretty(&letter(item, true)).unwrap_or_default(),
                    (false, _) if json => letter(item, false).to_string(),
                    (false, _) => row(item),
                };
                let _infallible = writeln!(text, "{told}");
            }
            lines(&text)
        })
        .await?;
    }
    if let (Some(key), 0) = (key, count) {
        return Err(Trouble::Usage(format!("no dead letter `{}`: `cutover deadletters` lists them", clean(key, 80))));
    }
    if !json && !whole {
        err(match count {
            0 => "no dead letters: every record that was read could be moved".to_owned(),
            count => format!("{count} dead letters; `cutover deadletters show LANE KEY` shows the record itself"),
        });
    }
    Ok(0)
}

/// A dead letter for a program; `whole`: with the record.
pub(super) fn letter(item: &ItemRow, whole: bool) -> Value {
    let mut letter = json!({
        "lane": item.lane,
        "key": item.key,
        "batch": item.batch,
        "attempts": item.attempts,
        "reason": item.reason,
    });
    if whole {
        letter["record"] = item.facts.as_ref().and_then(|facts| facts.get("row")).cloned().unwrap_or(Value::Null);
    }
    letter
}

fn row(item: &ItemRow) -> String {
    format!("{:<16} {}  {}", item.lane, clean(&item.key, LONGEST), clean(&item.reason, LONGEST))
}
