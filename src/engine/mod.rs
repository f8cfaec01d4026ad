//! The engine: one loop that owns the truth of a run.
//!
//! Pure rules: `view` (the state), `fold` (events → state), `legal` (the one table of legal moves), `decide`
//! (input → effects), `gate`. Moving parts: `step` (what a step is), `script` (what is to be run), `dispatcher` (the
//! loop), `executor` (runs steps and undos), `follower` (what goes on beside them), `files` (orders about single files), `start` (new or taken over), `handle` (what fronts hold).
//! Must never enter: a driver, a screen, a concrete adapter. The rules never see a clock: `now` is an argument.

pub mod decide;
mod dispatcher;
mod executor;
pub(crate) mod files;
pub mod fold;
pub mod follower;
#[cfg(test)]
mod follower_tests;
pub mod gate;
pub mod handle;
pub mod legal;
pub mod script;
mod start;
pub mod step;
#[cfg(test)]
mod tests;
pub mod view;

pub use follower::Follower;
pub use handle::{Handle, Receipt};
pub use script::{PhaseScript, Script, Surroundings};
pub use start::{Engine, Parts, Start, recall, start};
pub use step::{ByHand, Checked, PauseGate, Reporter, Signals, Step, StepContext, StepDone, Tuning, Unmet};
