//! A step that looks at the world and judges what it finds, or that does one repeatable thing with nothing to undo.

use crate::{
    engine::{Checked, Step, StepContext, StepDone, Unmet},
    error::{Fault, Result},
    event::UndoNote,
    model::{Check, Phase, StepId, Timestamp, Verdict},
};
use async_trait::async_trait;
use futures::future::BoxFuture;
use std::time::Duration;

/// What such a step does; repeatable at any time.
type Look = dyn for<'a> Fn(&'a StepContext) -> BoxFuture<'a, Result<StepDone>> + Send + Sync;

/// A step without an undo.
pub(super) struct Examine {
    id: StepId,
    title: String,
    look: Box<Look>,
}

impl Examine {
    /// A step of this name; `title` begins with a verb and also serves as the journalled intent.
    pub(super) fn new<F>(phase: Phase, name: &str, title: impl Into<String>, look: F) -> Self
    where
        F: for<'a> Fn(&'a StepContext) -> BoxFuture<'a, Result<StepDone>> + Send + Sync + 'static,
    {
        Self { id: super::id(phase, name), title: title.into(), look: Box::new(look) }
    }
}

#[async_trait]
impl Step for Examine {
    fn id(&self) -> StepId {
        self.id.clone()
    }

    fn title(&self) -> String {
        self.title.clone()
    }

    async fn check(&self, _cx: &StepContext) -> Result<Checked> {
        Ok(Checked::Needed { intent: lower_first(&self.title), undo: UndoNote::Null })
    }

    async fn apply(&self, cx: &StepContext) -> Result<StepDone> {
        (self.look)(cx).await
    }

    async fn undo(&self, _cx: &StepContext, _note: &UndoNote) -> Result<StepDone> {
        Ok(StepDone::new("nothing to undo"))
    }
}

/// The title inside a sentence.
pub(super) fn lower_first(title: &str) -> String {
    let mut rest = title.chars();
    match (rest.next(), rest.clone().next()) {
        // A word such as "DNS" stays as it is.
        (Some(first), Some(second)) if second.is_lowercase() => first.to_lowercase().chain(rest).collect(),
        _ => title.into(),
    }
}

/// The end of a step that made these checks: done unless one failed. `Unknown` does not end the step; the gate shows it.
pub(super) fn judge(doing: &str, summary: impl Into<String>, checks: Vec<Check>) -> Result<StepDone> {
    if checks.iter().any(|check| check.verdict == Verdict::Fail) {
        return Err(Unmet::fault(doing, checks));
    }
    Ok(StepDone::new(summary).checks(checks))
}

/// A check that passed or failed, measured now.
pub(super) fn verdict(name: impl Into<String>, passed: bool, value: impl Into<String>, remedy: &str) -> Check {
    let verdict = if passed { Verdict::Pass } else { Verdict::Fail };
    let check = Check::new(name, verdict, value, Timestamp::now());
    if passed { check } else { check.remedy(remedy) }
}

/// A check that something answered: a fault becomes `Fail`, or `Unknown` if asking again may help.
pub(super) fn answered(name: impl Into<String>, result: Result<String>) -> Check {
    match result {
        Ok(value) => Check::new(name, Verdict::Pass, value, Timestamp::now()),
        Err(fault) => Check::new(name, Verdict::Fail, fault.chain(), Timestamp::now()).remedy(fault.kind.remedy()),
    }
}

/// Runs `ask`, but not longer than `limit`.
pub(super) async fn within<T>(limit: Duration, doing: &str, ask: impl Future<Output = Result<T>> + Send) -> Result<T> {
    tokio::time::timeout(limit, ask).await.unwrap_or_else(|_late| {
        Err(Fault::new(crate::error::FaultKind::Timeout, doing).detail(format!("no answer in {limit:?}")))
    })
}

/// Writes a number with its noun: `1 record`, `2 records`, `1 234 567 records`.
pub(super) fn count(number: u64, noun: &str) -> String {
    let digits = number.to_string();
    let grouped: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().map(|group| std::str::from_utf8(group).unwrap_or_default()).collect();
    format!("{} {noun}{}", grouped.join(","), if number == 1 { "" } else { "s" })
}

/// Writes bytes as a person reads them.
#[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
pub(super) fn bytes(number: u64) -> String {
    let mut value = number as f64;
    for unit in ["B", "kB", "MB", "GB"] {
        if value < 1000.0 {
            return if unit == "B" { format!("{number} B") } else { format!("{value:.1} {unit}") };
        }
        value /= 1000.0;
    }
    format!("{value:.1} TB")
}

#[cfg(test)]
mod tests {
    use super::{bytes, count, lower_first};

    #[test]
    fn numbers_read_well() {
        assert_eq!(count(1, "record"), "1 record");
        assert_eq!(count(0, "file"), "0 files");
        assert_eq!(count(1_234_567, "row"), "1,234,567 rows");
        assert_eq!(bytes(999), "999 B");
        assert_eq!(bytes(1_500), "1.5 kB");
        assert_eq!(bytes(2_500_000_000), "2.5 GB");
    }

    #[test]
    fn a_title_fits_into_a_sentence() {
        assert_eq!(lower_first("Turn it on"), "turn it on");
        assert_eq!(lower_first("DNS change"), "DNS change");
        assert_eq!(lower_first(""), "");
    }
}
