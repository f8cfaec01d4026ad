//! The lane of files end to end: the real ledger, the real adapters, real servers that misbehave, processes that are
//! killed. `world` is one migration on the disk, `server` an S3 server over a folder that can be told to misbehave,
//! `reader` looks at both sides with nothing of the program's own.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod changing;
mod existing;
#[expect(dead_code, reason = "other tests use all of it")]
#[path = "../tools/foreign.rs"]
mod foreign;
mod kills;
mod life;
mod nasty;
mod reader;
mod server;
mod servers;
mod world;
