//! What a SQLite error means.

use crate::{
    error::{Fault, FaultKind, Result},
    model::text,
};

/// SQLite's primary result codes that mean something to us (source: sqlite.org/rescode.html).
mod code {
    pub(super) const PERM: i64 = 3;
    pub(super) const BUSY: i64 = 5;
    pub(super) const LOCKED: i64 = 6;
    pub(super) const READONLY: i64 = 8;
    pub(super) const IOERR: i64 = 10;
    pub(super) const CORRUPT: i64 = 11;
    pub(super) const FULL: i64 = 13;
    pub(super) const CANTOPEN: i64 = 14;
    pub(super) const TOOBIG: i64 = 18;
    pub(super) const CONSTRAINT: i64 = 19;
    pub(super) const MISMATCH: i64 = 20;
    pub(super) const AUTH: i64 = 23;
}

fn primary(error: &sqlx::Error) -> Option<i64> {
    let extended: i64 = error.as_database_error()?.code()?.parse().ok()?;
    Some(extended & 0xff)
}

/// The error as a fault.
pub(super) fn fault(doing: &str, error: sqlx::Error) -> Fault {
    let kind = match (primary(&error), &error) {
        (Some(code::BUSY | code::LOCKED), _) | (None, sqlx::Error::PoolTimedOut) => FaultKind::Timeout,
        (Some(code::PERM | code::READONLY | code::CANTOPEN | code::AUTH), _) => FaultKind::Permission,
        (Some(code::FULL | code::IOERR | code::CORRUPT), _) | (None, sqlx::Error::Io(_)) => FaultKind::Disk,
        // A text that is no UTF-8 cannot be carried.
        (Some(_), _) | (None, sqlx::Error::Decode(_)) => FaultKind::Refused,
        (None, _) => FaultKind::Internal,
    };
    Fault::new(kind, doing).source(error)
}

/// Why one record was refused while others may go on; any other error ends the write.
pub(super) fn rejection(doing: &str, error: sqlx::Error) -> Result<String> {
    match primary(&error) {
        Some(code::CONSTRAINT | code::MISMATCH | code::TOOBIG) => {
            let why = error.as_database_error().map_or_else(String::new, |error| error.message().to_owned());
            Ok(text::clean(&why, 300))
        }
        _ => Err(fault(doing, error)),
    }
}
