//! What is kept of a comparison: a verdict for every record that is not the same on both sides, and the sums of the others.
//!
//! Neighbours: `verify` keeps what the run's own comparison finds, `audit` and `since` what a person asked for; `repair` and
//! the lists read it. Must never enter: a call to either side.

use super::{
    audit::Standings,
    judge::{Judged, JudgedPage},
};
use crate::{
    error::Result,
    migrate::lane::Track,
    model::{ItemVerdict, Timestamp, text},
    ports::{ItemRow, VerdictRow},
};

/// Forgets what an earlier comparison found. A process that dies in between begins anew.
pub(super) async fn forget(lane: &Track<'_>) -> Result<()> {
    lane.note("verify", &serde_json::Value::Null).await?;
    lane.once("forget earlier verdicts", lane.cx.work.forget_verdicts(&lane.id)).await
}

/// Keeps these.
pub(super) async fn keep(lane: &Track<'_>, rows: &[VerdictRow]) -> Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    lane.once("keep verdicts", lane.cx.work.judge(rows)).await
}

/// Keeps the sums.
pub(super) async fn sum_up(lane: &Track<'_>, sums: &Standings) -> Result<()> {
    lane.note("verify", &serde_json::to_value(sums).unwrap_or_default()).await
}

/// A record in words.
fn row(lane: &Track<'_>, key: String, verdict: ItemVerdict, detail: &str) -> VerdictRow {
    VerdictRow { lane: lane.id.clone(), key, verdict, detail: text::clean(detail, 300), at: Timestamp::now() }
}

/// The verdict on a record of the source; `None` if it is no difference.
fn on(lane: &Track<'_>, key: &str, judged: &Judged, item: Option<&ItemRow>) -> Option<VerdictRow> {
    let (verdict, detail) = match judged {
        Judged::Same | Judged::MovedOn | Judged::LeftOut | Judged::Kept => return None,
        Judged::Missing { late: true } => (ItemVerdict::OnlyInSource, "written since the lane copied".to_owned()),
        // Why it failed when it was copied says more than that it is not there.
        Judged::Missing { late: false } => {
            (ItemVerdict::OnlyInSource, item.map(|item| item.reason.clone()).unwrap_or_default())
        }
        Judged::Different { fields, .. } => (ItemVerdict::Differs, fields.join(", ")),
        Judged::Moving { fields } => (ItemVerdict::Moving, fields.join(", ")),
    };
    Some(row(lane, key.to_owned(), verdict, &detail))
}

/// The verdicts on a page of the source, behind which the cursor `next` reads on.
pub(super) fn on_page(lane: &Track<'_>, judged: &JudgedPage, next: Option<&str>) -> Vec<VerdictRow> {
    let all = judged.records.iter();
    let mut rows: Vec<VerdictRow> =
        all.filter_map(|(key, judged, item)| on(lane, key, judged, item.as_ref())).collect();
    if judged.keyless > 0 {
        let place = next.unwrap_or("the end");
        let detail = format!("{} records without a key, or twice on one page", judged.keyless);
        rows.push(row(lane, format!("(no key) before {place}"), ItemVerdict::OnlyInSource, &detail));
    }
    rows
}

/// The verdict on a row that only the target has, and that the run wrote or not.
pub(super) fn extra(lane: &Track<'_>, key: String, by_run: bool) -> VerdictRow {
    let detail = if by_run { "deleted in the source since the lane copied" } else { "not the run's" };
    row(lane, key, ItemVerdict::OnlyInTarget, detail)
}
