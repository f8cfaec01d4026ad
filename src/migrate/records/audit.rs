//! Compares all records of a lane for a person who wants to know, at any time: every difference is kept in the ledger, no
//! item is marked, and an interrupted comparison goes on where it was.
//!
//! The source is walked page after page, since only then one cursor says what is done; then the target, for rows that the
//! source does not have. Neighbours: `judge` looks at a page; `repair` mends what was found. Must never enter: a write to
//! either side.

use super::{
    Which,
    judge::{self, Judged, JudgedPage},
    since::Marks,
    stretches::Stretches,
    verdicts,
    verify::Standing,
};
use crate::{
    engine::StepContext,
    error::{Fault, FaultKind, Result},
    migrate::{
        Verified,
        lane::{Lane, Track},
    },
    model::{LaneId, LaneKind, LaneStage},
    plan::DatasetPlan,
    ports::{Cursor, ItemVerdict, VerdictRow, Work},
};
use futures::{StreamExt as _, stream};
use serde::{Deserialize, Serialize};
use std::pin::pin;

/// What a comparison of a lane of records came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordAudit {
    /// Which lane.
    pub lane: LaneId,
    /// It came to its end.
    pub complete: bool,
    /// Equal on both sides.
    pub same: u64,
    /// On both sides, not equal, and still so when read again.
    pub differs: u64,
    /// Not equal, and changed again between two looks.
    pub moving: u64,
    /// In the source, not in the target.
    pub only_in_source: u64,
    /// In the target and not in the source, although nothing of the kind stood there before the run.
    pub only_in_target: u64,
    /// Stood in the target before the run, and are not in the source: no difference.
    pub standing: u64,
    /// Written on the new side since it is used: no difference.
    pub moved_on: u64,
    /// Left out by a person: no difference.
    pub left_out: u64,
    /// What was not looked at, in a sentence; empty after a whole comparison.
    #[serde(default)]
    pub reach: String,
}

impl RecordAudit {
    /// Something is not the same on both sides.
    #[must_use]
    pub const fn has_differences(&self) -> bool {
        self.differs + self.moving + self.only_in_source + self.only_in_target > 0
    }
}

/// How far a comparison is, as the ledger keeps it. What differs is counted from the verdicts themselves.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Standings {
    pub(super) stage: Stage,
    pub(super) same: u64,
    pub(super) standing: u64,
    pub(super) moved_on: u64,
    pub(super) left_out: u64,
    /// When it began, if that can be asked for later.
    #[serde(default)]
    pub(super) marks: Option<Marks>,
    #[serde(default)]
    pub(super) reach: String,
}

impl Standings {
    /// Of the run's own comparison, which is a whole one.
    pub(super) fn of(found: &Verified) -> Self {
        let Verified { same, standing, moved_on, left_out, .. } = *found;
        Self { stage: Stage::Done, same, standing, moved_on, left_out, ..Self::default() }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Stage {
    /// The records of the source, from this cursor on.
    Source(Option<String>),
    /// The stretches of the batches, behind so many.
    Stretches(usize),
    /// The rows of the target, from this cursor on.
    Target(Option<String>),
    Done,
}

impl Default for Stage {
    fn default() -> Self {
        Self::Source(None)
    }
}

/// Compares the dataset's records on both sides. Goes on with an interrupted comparison unless asked to begin `again`.
/// `live`: users work on the new side, and what they wrote there is no difference.
///
/// # Errors
/// What a port says after all attempts; `Cancelled` when stopped. Differences are no error: they are in the result.
pub async fn audit(cx: &StepContext, dataset: &DatasetPlan, live: bool, again: bool) -> Result<RecordAudit> {
    let lane = Lane::new(cx, dataset, LaneKind::Records, LaneStage::Verifying)?;
    let begun = lane.once("ask the ledger", standings(cx.work.as_ref(), &lane.id)).await?;
    let begun = if let Some(begun) = begun.filter(|begun| !again && begun.stage != Stage::Done) {
        begun
    } else {
        verdicts::forget(&lane).await?;
        Standings { marks: Marks::take(&lane).await?, ..Standings::default() }
    };
    Auditor::new(&lane, live, begun).all().await?;
    let found = lane.once("ask the ledger for verdicts", audited(cx.work.as_ref(), &lane.id)).await?;
    found.ok_or_else(|| Fault::new(FaultKind::Internal, format!("find the verdicts of {}", lane.id)))
}

/// What the kept verdicts of a lane say, without comparing; `None` if it was never compared.
///
/// # Errors
/// What the ledger says.
pub async fn audited(work: &dyn Work, lane: &LaneId) -> Result<Option<RecordAudit>> {
    let Some(begun) = standings(work, lane).await? else { return Ok(None) };
    let sums = work.verdict_sums(lane).await?;
    let sum = |of: ItemVerdict| sums.iter().find(|(verdict, _)| *verdict == of).map_or(0, |(_, sum)| *sum);
    Ok(Some(RecordAudit {
        lane: lane.clone(),
        complete: begun.stage == Stage::Done,
        // Those that were mended since have a verdict of their own.
        same: begun.same + sum(ItemVerdict::Same),
        differs: sum(ItemVerdict::Differs),
        moving: sum(ItemVerdict::Moving),
        only_in_source: sum(ItemVerdict::OnlyInSource),
        only_in_target: sum(ItemVerdict::OnlyInTarget),
        standing: begun.standing,
        moved_on: begun.moved_on,
        left_out: begun.left_out,
        reach: begun.reach,
    }))
}

pub(super) async fn standings(work: &dyn Work, lane: &LaneId) -> Result<Option<Standings>> {
    let noted = work.noted(&format!("verify:{lane}")).await?;
    // One that an earlier version wrote begins anew.
    Ok(noted.and_then(|noted| serde_json::from_value(noted).ok()))
}

pub(super) struct Auditor<'a> {
    lane: &'a Lane<'a>,
    live: bool,
    begun: Standings,
    compared: u64,
}

impl<'a> Auditor<'a> {
    pub(super) const fn new(lane: &'a Lane<'a>, live: bool, begun: Standings) -> Self {
        Self { lane, live, begun, compared: 0 }
    }

    async fn all(mut self) -> Result<()> {
        let limit = self.lane.compared_at_once();
        let lane = self.lane;
        if matches!(self.begun.stage, Stage::Source(None) | Stage::Stretches(_)) {
            match Stretches::of(lane).await? {
                Some(stretches) => self.stretches(&stretches, limit).await?,
                // Without them the batches of an earlier comparison say nothing.
                None => self.begun = Standings { marks: self.begun.marks.take(), ..Standings::default() },
            }
        }
        if let Stage::Source(from) = self.begun.stage.clone() {
            let live = self.live;
            let judged = lane.pages(&lane.old, Which::All, Cursor(from), limit).map(|read| async move {
                let page = read?.page;
                let count = page.records.len() as u64;
                let next = page.next.and_then(|next| next.0);
                Ok::<_, Fault>((judge::page(lane, live, page.records).await?, count, next))
            });
            // Several at once, and still one after the other as they stand.
            let mut judged = pin!(judged.buffered(lane.room()));
            while let Some(page) = judged.next().await {
                let (page, count, next) = page?;
                self.compared += count;
                let rows = self.source(&page, next.as_deref());
                let stage = next.map_or(Stage::Target(None), |next| Stage::Source(Some(next)));
                self.reached(stage, &rows).await?;
            }
            if matches!(self.begun.stage, Stage::Source(_)) {
                self.reached(Stage::Target(None), &[]).await?;
            }
        }
        if let Stage::Target(from) = self.begun.stage.clone() {
            self.target(from, limit).await?;
        }
        Ok(())
    }

    /// Compares stretch after stretch, and looks closely at what does not seem the same.
    async fn stretches(&mut self, stretches: &Stretches<'_>, limit: u32) -> Result<()> {
        let (lane, live) = (self.lane, self.live);
        let done = if let Stage::Stretches(done) = self.begun.stage { done } else { 0 };
        let limit = usize::try_from(limit).unwrap_or(usize::MAX).max(1);
        // By their places: an engine that awaits this from a task of its own takes no borrow for each.
        let compared = stream::iter(done..stretches.batches.len()).map(|place| async move {
            let mut compared = stretches.compare(&stretches.batches[place]).await?;
            let odd = std::mem::take(&mut compared.odd);
            let mut judged = vec![judge::page(lane, live, odd).await?];
            for keys in compared.doubtful.chunks(limit) {
                let records = lane.fetch(&lane.old, keys).await?;
                judged.push(judge::page(lane, live, records.into_values().collect()).await?);
            }
            Ok::<_, Fault>((compared, judged))
        });
        let mut compared = pin!(compared.buffered(lane.room()).enumerate());
        while let Some((n, stretch)) = compared.next().await {
            let (compared, judged) = stretch?;
            self.begun.same += compared.same;
            self.begun.left_out += compared.left_out;
            let looked_at = judged.iter().map(|page| page.records.len() as u64).sum::<u64>();
            self.compared += compared.same + compared.left_out + looked_at;
            let rows: Vec<VerdictRow> = judged.iter().flat_map(|page| self.source(page, None)).collect();
            self.reached(Stage::Stretches(done + n + 1), &rows).await?;
        }
        self.reached(Stage::Target(None), &[]).await
    }

    /// Counts a judged page of the source; what is to be kept of it.
    pub(super) fn source(&mut self, judged: &JudgedPage, next: Option<&str>) -> Vec<VerdictRow> {
        for (_, judged, _) in &judged.records {
            match judged {
                Judged::Same => self.begun.same += 1,
                Judged::MovedOn => self.begun.moved_on += 1,
                Judged::LeftOut => self.begun.left_out += 1,
                Judged::Kept => self.begun.standing += 1,
                // These are counted by their verdicts.
                Judged::Missing { .. } | Judged::Different { .. } | Judged::Moving { .. } => {}
            }
        }
        self.begun.same += judged.moving;
        verdicts::on_page(self.lane, judged, next)
    }

    /// Judges what only the target has. Not one row is read if the counts say that there are none.
    async fn target(&mut self, from: Option<String>, limit: u32) -> Result<()> {
        let lane = self.lane;
        let found = lane.once("ask the ledger for verdicts", audited(lane.cx.work.as_ref(), &lane.id)).await?;
        let on_both = found.map_or(0, |found| found.same + found.differs + found.moving);
        if from.is_none() && self.begun.moved_on == 0 && lane.count(&lane.new).await? <= on_both {
            return self.reached(Stage::Done, &[]).await;
        }
        let standing = Standing::load(lane).await?;
        let mut pages = pin!(lane.pages(&lane.new, Which::All, Cursor(from), limit));
        while let Some(read) = pages.next().await {
            let page = read?.page;
            self.compared += page.records.len() as u64;
            let alone = judge::alone(lane, self.live, &standing, &page.records).await?;
            self.begun.standing += alone.standing;
            self.begun.moved_on += alone.moved_on;
            let rows: Vec<VerdictRow> =
                alone.extra.into_iter().map(|(key, late)| verdicts::extra(lane, key, late)).collect();
            let next = page.next.and_then(|next| next.0);
            self.reached(next.map_or(Stage::Done, |next| Stage::Target(Some(next))), &rows).await?;
        }
        self.reached(Stage::Done, &[]).await
    }

    /// Keeps what was found, then how far that is: a page that is judged twice is kept once, by its keys.
    async fn reached(&mut self, stage: Stage, rows: &[VerdictRow]) -> Result<()> {
        let lane: &Track<'_> = self.lane;
        verdicts::keep(lane, rows).await?;
        self.begun.stage = stage;
        verdicts::sum_up(lane, &self.begun).await?;
        lane.cx.report.note(None, format!("{}: {} records compared", lane.id, self.compared));
        lane.cx.signals.breathe().await
    }
}
