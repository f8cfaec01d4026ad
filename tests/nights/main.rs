//! Whole nights: real worlds, real engines, and an independent reader that compares both sides row by row and byte by
//! byte afterwards. `stage` runs a night in this process, `binary` runs the real program; `reader` never uses the
//! program's own stores.

#![expect(clippy::unwrap_used, reason = "a night that cannot be staged is a failed test")]

mod binary;
mod follow;
mod killed;
mod outcomes;
#[expect(dead_code, reason = "a night needs a server, and less of it than the tests of what talks to one")]
#[path = "../postgres/server.rs"]
mod postgres;
mod reader;
mod rollback;
mod stage;
mod stop;
mod told;
