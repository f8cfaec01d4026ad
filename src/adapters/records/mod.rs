//! Records: a REST endpoint, browser exports and a SQLite file behind the same port.
//!
//! `exact` keeps values of JSON texts exactly, for those who read such. Must never enter: mapping between the two sides,
//! retries, comparison.

mod exact;
mod http;
mod local_storage;
mod sqlite;

pub use http::HttpStore;
pub use local_storage::LocalStorage;
pub use sqlite::SqliteStore;
