//! A step of a dry run: looks, says what it would do, and does nothing.

use crate::{
    engine::{Checked, Step, StepContext, StepDone},
    error::Result,
    event::UndoNote,
    model::StepId,
};
use async_trait::async_trait;
use std::sync::Arc;

/// The step whose place this one takes.
pub(super) struct DryRun(pub(super) Arc<dyn Step>);

#[async_trait]
impl Step for DryRun {
    fn id(&self) -> StepId {
        self.0.id()
    }

    fn title(&self) -> String {
        self.0.title()
    }

    async fn check(&self, cx: &StepContext) -> Result<Checked> {
        Ok(match self.0.check(cx).await? {
            Checked::Already(done) => Checked::Already(done),
            Checked::Needed { intent, .. } => Checked::Already(StepDone::new(format!("would {intent}"))),
        })
    }

    async fn apply(&self, _cx: &StepContext) -> Result<StepDone> {
        Ok(StepDone::new("nothing is written in a dry run"))
    }

    async fn undo(&self, _cx: &StepContext, _note: &UndoNote) -> Result<StepDone> {
        Ok(StepDone::new("nothing was written in a dry run"))
    }
}
