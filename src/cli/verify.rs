//! Compares both sides of a run's lanes, at any time: sums, and all that is not the same.

use super::{
    Trouble,
    args::{Level, VerifyArgs},
    desk::{Desk, Front},
    parts::Beside,
    print::{lines, out, word},
};
use crate::{
    migrate::{
        files::{self, Audit, FilesOf, VerifyLevel},
        records::{self, RecordAudit},
        relations::{self, Relations},
    },
    model::{LaneId, Phase, text::clean},
    plan::{DatasetPlan, Plan},
    ports::{ItemVerdict, VerdictQuery},
    wiring::{self, Bench},
};
use serde_json::json;
use std::fmt::Write as _;

/// The exit code when anything differs.
const DIFFERENT: u8 = 7;
/// Verdicts read from the ledger together.
const PAGE: u32 = 500;
/// Characters of a key or a reason shown.
const LONGEST: usize = 500;
/// All that is not as it should be.
const WRONG: [ItemVerdict; 8] = [
    ItemVerdict::Differs,
    ItemVerdict::Moving,
    ItemVerdict::OnlyInSource,
    ItemVerdict::OnlyInTarget,
    ItemVerdict::Error,
    ItemVerdict::Dangling,
    ItemVerdict::Doubled,
    ItemVerdict::WithoutFile,
];

/// `cutover verify`.
pub(super) async fn verify(desk: &Desk, asked: &VerifyArgs) -> Result<u8, Trouble> {
    let (plan, data) = (desk.plan()?, desk.data()?);
    let known: Vec<String> = subjects(&plan).map(|subject| subject.lane().to_string()).collect();
    if let Some(lane) = &asked.lane
        && !known.contains(lane)
    {
        return Err(Trouble::Usage(format!("no lane `{lane}`: the lanes are {}", known.join(", "))));
    }
    let mut bench = wiring::bench(plan, &data, None).await?;
    let done = verify_in(desk, &mut bench, asked).await;
    bench.close().await;
    done
}

/// A lane and what it moves.
#[derive(Clone, Copy)]
enum Subject<'a> {
    Records(&'a DatasetPlan),
    Files(FilesOf<'a>),
}

impl Subject<'_> {
    fn lane(&self) -> LaneId {
        match self {
            Self::Records(dataset) => dataset.lane(),
            Self::Files(FilesOf::Dataset(dataset)) => dataset.blob_lane(),
            Self::Files(FilesOf::Set(set)) => set.lane(),
        }
    }
}

/// The plan's lanes, in its order.
fn subjects(plan: &Plan) -> impl Iterator<Item = Subject<'_>> {
    let of_datasets = plan.datasets.iter().flat_map(|dataset| {
        let files = dataset.blob.as_ref().map(|_| Subject::Files(dataset.into()));
        std::iter::once(Subject::Records(dataset)).chain(files)
    });
    of_datasets.chain(plan.file_sets.iter().map(|set| Subject::Files(set.into())))
}

async fn verify_in(desk: &Desk, bench: &mut Bench, asked: &VerifyArgs) -> Result<u8, Trouble> {
    let teller = Teller { json: desk.front == Front::Json };
    let plan = bench.cx.plan.clone();
    let beside = Beside::begin(desk, bench);
    let mut differs = false;
    for subject in subjects(&plan) {
        let lane = subject.lane();
        if asked.lane.as_ref().is_some_and(|asked| lane.as_str() != asked) {
            continue;
        }
        match asked.list {
            Some(verdict) => list(bench, &teller, subject, verdict).await?,
            None => differs |= compare(&beside, bench, &teller, subject, asked).await?,
        }
    }
    Ok(if differs { DIFFERENT } else { 0 })
}

/// Compares one lane; true if anything differs.
async fn compare(
    beside: &Beside,
    bench: &Bench,
    teller: &Teller,
    subject: Subject<'_>,
    asked: &VerifyArgs,
) -> Result<bool, Trouble> {
    let level = match asked.level {
        Level::Checksum => VerifyLevel::Checksum,
        Level::Content => VerifyLevel::Content,
    };
    match subject {
        Subject::Files(of) => {
            let found = files::audit(&bench.cx, of, level, asked.again).await;
            beside.clear();
            let found = found?;
            teller.rows(bench, &found.lane, &WRONG).await?;
            teller.sums(&found);
            Ok(found.has_differences())
        }
        Subject::Records(dataset) => {
            // Once users may write on the new side, what they wrote is no difference.
            let live = bench.view.phase(Phase::DnsCutover).started.is_some();
            let found = if asked.since_last {
                records::audit_since(&bench.cx, dataset, live).await
            } else {
                records::audit(&bench.cx, dataset, live, asked.again).await
            };
            beside.clear();
            let found = found?;
            teller.rows(bench, &found.lane, &WRONG).await?;
            teller.records(&found);
            let related = relations::relations(&bench.cx, dataset).await;
            beside.clear();
            let Some(related) = related? else { return Ok(found.has_differences()) };
            let lane = relations::lane(dataset);
            teller.rows(bench, &lane, &WRONG).await?;
            teller.relations(&lane, &related);
            Ok(found.has_differences() || !related.is_sound())
        }
    }
}

/// Lists what the last comparison found.
async fn list(bench: &Bench, teller: &Teller, subject: Subject<'_>, verdict: ItemVerdict) -> Result<(), Trouble> {
    let lane = &subject.lane();
    let complete = match subject {
        Subject::Files(_) => files::audited(bench.cx.work.as_ref(), lane).await?.map(|found| found.complete),
        Subject::Records(_) => records::audited(bench.cx.work.as_ref(), lane).await?.map(|found| found.complete),
    };
    match complete {
        None if !teller.json => out(format!("{lane}: not compared yet: `cutover verify --lane {lane}` does")),
        Some(false) if !teller.json => {
            out(format!("{lane}: not compared to the end: `cutover verify --lane {lane}` goes on"));
        }
        _ => {}
    }
    teller.rows(bench, lane, &[verdict]).await?;
    match subject {
        Subject::Records(dataset) => teller.rows(bench, &relations::lane(dataset), &[verdict]).await,
        Subject::Files(_) => Ok(()),
    }
}

/// How it is told.
struct Teller {
    json: bool,
}

impl Teller {
    /// Files with these verdicts, page after page.
    async fn rows(&self, bench: &Bench, lane: &LaneId, verdicts: &[ItemVerdict]) -> Result<(), Trouble> {
        let mut query = VerdictQuery { verdicts: verdicts.to_vec(), limit: PAGE, ..VerdictQuery::default() };
        loop {
            let rows = bench.cx.work.verdicts(lane, &query).await?;
            let Some(last) = rows.last() else { return Ok(()) };
            query.after = Some(last.key.clone());
            let mut text = String::new();
            for row in &rows {
                let told = if self.json {
                    json!(row).to_string()
                } else {
                    self::row(row.verdict, row.key.as_str(), &row.detail)
                };
                let _infallible = writeln!(text, "{told}");
            }
            if !lines(&text) {
                return Ok(());
            }
        }
    }

    fn sums(&self, found: &Audit) {
        if self.json {
            let mut sums = json!(found);
            sums["kind"] = "files".into();
            sums["has_differences"] = found.has_differences().into();
            return out(json!({ "sums": sums }).to_string());
        }
        let Audit { lane, level, same, differs, only_in_source, only_in_target, error, .. } = found;
        out(format!(
            "{lane} ({}): {same} same, {differs} differ, {only_in_source} only in source, {only_in_target} only in \
             target, {error} not comparable",
            word(level)
        ));
        if found.orphans + found.unasked > 0 {
            out(format!(
                "  among them, and no difference: {} in the source that no record speaks of, {} in the target that no \
                 record asks for",
                found.orphans, found.unasked
            ));
        }
        if !found.unlisted.is_empty() {
            out(format!(
                "  the source was not looked through for files without a record: {}",
                clean(&found.unlisted, 300)
            ));
        }
    }

    fn records(&self, found: &RecordAudit) {
        if self.json {
            let mut sums = json!(found);
            sums["kind"] = "records".into();
            sums["has_differences"] = found.has_differences().into();
            return out(json!({ "sums": sums }).to_string());
        }
        let RecordAudit { lane, same, differs, only_in_source, only_in_target, .. } = found;
        let besides = [
            (found.moving, "being written right now"),
            (found.standing, "stood in the target before"),
            (found.moved_on, "changed on the new side since"),
            (found.left_out, "left out by hand"),
        ];
        let besides = besides.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!(", {count} {what}"));
        out(format!(
            "{lane}: {same} same, {differs} differ, {only_in_source} only in source, {only_in_target} only in target{}",
            besides.collect::<String>()
        ));
        if !found.reach.is_empty() {
            out(format!("  {}", clean(&found.reach, LONGEST)));
        }
    }

    fn relations(&self, lane: &LaneId, found: &Relations) {
        if self.json {
            let mut sums = json!(found);
            sums["lane"] = json!(lane);
            sums["kind"] = "relations".into();
            sums["is_sound"] = found.is_sound().into();
            return out(json!({ "sums": sums }).to_string());
        }
        out(format!("{lane}: {}", found.summary()));
        for what in &found.unchecked {
            out(format!("  not looked at: {}", clean(what, LONGEST)));
        }
    }
}

fn row(verdict: ItemVerdict, key: &str, detail: &str) -> String {
    let (key, detail) = (clean(key, LONGEST), clean(detail, LONGEST));
    format!("{:<14} {key}  {detail}", word(&verdict)).trim_end().to_owned()
}
