//! The nine phases, one file each, and rollback: what is done, through the ports, in which order.
//!
//! Neighbours: steps run on `engine`, move data with `migrate` and `sync`. Shared kinds of steps: `examine` (look and
//! judge), `turn` (a switch, with the way back), `probing` (probes as checks), `command_step` (the plan's programs).
//! `follow` is what goes on beside the steps before the data migration. `surroundings` answers what else the engine asks: evidence, truth, the last stage of a rollback. Must never enter:
//! drivers and screens.
//!
//! A step that the plan gives nothing to do for (no such switch, no probe of that use, no bytes behind the records) is
//! not in the outline at all: what is not listed was not done.

mod cleanup;
mod clocks;
mod command_step;
mod data_migration;
mod deployment;
mod dns_cutover;
mod dry_run;
mod evidence;
mod examine;
mod follow;
mod gather;
mod integrity;
mod maintenance;
mod monitoring;
mod post_validation;
mod preparation;
mod probing;
mod report;
pub mod rollback;
mod surroundings;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod truth;
mod turn;
mod validation;
mod write_back;

pub use truth::intended;

use crate::{
    engine::{PhaseScript, Script, Step},
    model::{Mode, Phase, StepId},
    plan::Plan,
};
use command_step::CommandStep;
use dry_run::DryRun;
use report::LastView;
use std::sync::Arc;
use surroundings::Around;

/// A step, and whether it may run when nothing may be written.
pub(crate) struct Entry {
    step: Arc<dyn Step>,
    looks_only: bool,
}

impl Entry {
    /// A step that changes nothing outside: a dry run runs it too.
    fn looks(step: impl Step + 'static) -> Self {
        Self { step: Arc::new(step), looks_only: true }
    }
    /// A step that changes something outside, or that makes no sense unless an earlier one did.
    fn acts(step: impl Step + 'static) -> Self {
        Self { step: Arc::new(step), looks_only: false }
    }
}

/// Everything the engine runs for this plan.
#[must_use]
pub fn script(plan: &Arc<Plan>, mode: Mode) -> Script {
    let last_view = LastView::default();
    let phases = Phase::ALL
        .into_iter()
        .map(|phase| PhaseScript { phase, steps: steps(plan, mode, phase, &last_view) })
        .collect();
    Script { phases, surroundings: Arc::new(Around::new(last_view)), follower: follow::follower(plan) }
}

/// The steps that have to be done again once something of this dataset's files was taken back.
#[must_use]
pub fn files_again(files: crate::migrate::files::FilesOf<'_>) -> Vec<StepId> {
    data_migration::files_again(files)
}

fn steps(plan: &Arc<Plan>, mode: Mode, phase: Phase, last_view: &LastView) -> Vec<Arc<dyn Step>> {
    let Some(told) = plan.phases.get(&phase).filter(|told| told.enabled) else { return Vec::new() };
    let own = match phase {
        Phase::Preparation => preparation::steps(plan, mode),
        Phase::Validation => validation::steps(plan),
        Phase::Maintenance => maintenance::steps(plan),
        Phase::DataMigration => data_migration::steps(plan),
        Phase::Deployment => deployment::steps(plan),
        Phase::DnsCutover => dns_cutover::steps(plan),
        Phase::PostValidation => post_validation::steps(plan),
        Phase::Monitoring => monitoring::steps(plan),
        Phase::Cleanup => cleanup::steps(plan, last_view),
    };
    let program = |when, command| Entry::acts(CommandStep::new(phase, when, command));
    told.before
        .iter()
        .map(|command| program("before", command))
        .chain(own)
        .chain(told.after.iter().map(|command| program("after", command)))
        .map(|entry| match mode {
            Mode::DryRun if !entry.looks_only => Arc::new(DryRun(entry.step)) as Arc<dyn Step>,
            _ => entry.step,
        })
        .collect()
}

/// The name of a step.
fn id(phase: Phase, step: &str) -> StepId {
    StepId::new(format!("{}/{step}", phase.name()))
}
