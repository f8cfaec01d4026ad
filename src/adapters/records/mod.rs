//! Records: REST endpoints, browser exports and SQL databases behind the same port. `sql` holds what the databases have in
//! common.
//!
//! `exact` keeps values of JSON texts exactly, for those who read such. Must never enter: mapping between the two sides,
//! retries, comparison.

mod d1;
mod exact;
mod http;
mod lite;
mod local_storage;
mod mysql;
mod postgres;
mod sql;
mod sqlite;

pub use d1::{D1, D1Store};
pub use http::HttpStore;
pub use lite::LiteStore;
pub use local_storage::LocalStorage;
pub use mysql::MySqlStore;
pub use postgres::PostgresStore;
pub use sqlite::{SqliteFile, SqliteStore};
