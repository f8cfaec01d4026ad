//! Records: a REST endpoint and a SQLite file behind the same port.
//!
//! Must never enter: mapping between the two sides, retries, comparison.

mod http;
mod sqlite;

pub use http::HttpStore;
pub use sqlite::SqliteStore;
