//! `cutover` runs a production cutover from a legacy web application to a new platform, and can always go back.
//!
//! Rooms, from the bottom up: words (`model`, `error`, `event`, `command`), rules (`plan`, the pure part of `engine`),
//! seams (`ports`), work (`engine`, `phases`, `migrate`, `sync`, `watch`), edges (`ledger`, `adapters`, `rehearsal`),
//! fronts (`api`, `tui`), top (`cli`, `wiring`, `telemetry`). Arrows only point down; `tests/architecture.rs` enforces it.

pub mod adapters;
pub mod api;
pub mod cli;
pub mod command;
pub mod engine;
pub mod error;
pub mod event;
pub mod ledger;
pub mod migrate;
pub mod model;
pub mod phases;
pub mod plan;
pub mod ports;
pub mod rehearsal;
pub mod sync;
pub mod telemetry;
pub mod tui;
pub mod watch;
pub mod wiring;
