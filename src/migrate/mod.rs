//! Moves records and bytes, verifies them, takes them back, backs them up. Either direction: both sides are the same
//! ports.
//!
//! Neighbours: `phases` calls the verbs here from its steps and gives them a `StepContext`; `sync` carries changes
//! back; the work tables behind `cx.work` hold what must survive this process. Every verb is idempotent, resumable from
//! any point, ends within milliseconds of `cx.signals.stop`, and holds a few pages in memory at most.
//! Must never enter: drivers (sqlx, reqwest, aws) and screens.

mod account;
pub mod agreed;
pub mod backup;
pub(crate) mod compare;
pub(crate) mod convert;
pub mod files;
pub mod follow;
pub(crate) mod lane;
pub mod mapping;
pub mod marker;
mod meter;
pub(crate) mod pace;
pub(crate) mod pump;
pub mod records;
pub mod relations;
mod retry;
pub mod schema;
mod survey;
pub(crate) mod undo;
pub(crate) mod verified;
#[cfg(test)]
pub(crate) mod world;

pub use account::account;
pub use mapping::Mapping;
pub use survey::{
    DatasetSurvey, FileSetSurvey, Fit, Forecast, RowSurvey, SampleSurvey, SizeClass, Survey, fits, survey,
};
pub use undo::{undo_files, undo_records, undo_set};
pub use verified::{Difference, Verified};
