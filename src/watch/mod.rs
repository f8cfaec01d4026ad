//! Windows over measurements, rules over windows, findings over rules.
//!
//! Pure: `window` (what a metric is over a time), `rules` (budgets, onsets, recoveries). Moving: `watcher`, which measures
//! and tells the engine its `finding`s. Must never enter: drivers and screens, and what a breach leads to.

mod finding;
mod rules;
mod watcher;
mod window;

pub use finding::Finding;
pub use rules::{Rule, Transition};
pub use watcher::run;
pub use window::{Readings, Sample, Span};
