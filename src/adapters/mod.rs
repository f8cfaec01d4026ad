//! Adapters: the ports' real implementations, one folder per seam.
//!
//! Neighbours: `ports` (what they implement), `plan` (what they are told), `wiring` (who makes them). Helpers that
//! several of them share stand beside the folders: `http` (a client with bounds and one error mapping), `postgres` (a
//! server's address and what its errors mean), `dns` (questions to a given name server), `process` (programs that end), `template` (texts with values put in).
//! Must never enter: rules. What is retried, compared, waited for or rolled back is decided above the seams.

pub mod blobs;
mod dns;
mod http;
mod postgres;
pub mod probes;
mod process;
pub mod records;
pub mod switches;
mod template;
pub mod write_back;
