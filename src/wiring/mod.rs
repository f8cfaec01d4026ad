//! Puts the parts together. The only place that names concrete adapters.

mod bench;
mod ports;
mod run;

pub use bench::{Bench, Bystander, Reads, bench, reads};
pub use ports::{ports, ports_in};
pub use run::{Kept, Request, Running, home, run, unfinished};
