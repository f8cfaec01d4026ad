//! SQLite's errors as faults that say which file, what happened to it and what to do.

use crate::error::{Fault, FaultKind};
use sqlx::migrate::MigrateError;
use std::path::Path;

/// A fault of the ledger at `path` while doing `verb` (`append to`, `read`).
pub(super) fn broken(path: &Path, verb: &str, error: &sqlx::Error) -> Fault {
    Fault::new(FaultKind::Ledger, format!("{verb} the ledger {}", path.display())).detail(cause(error))
}

/// A fault of the ledger with its own words.
pub(super) fn fault(path: &Path, verb: &str, detail: impl AsRef<str>) -> Fault {
    Fault::new(FaultKind::Ledger, format!("{verb} the ledger {}", path.display())).detail(detail)
}

/// The schema could not be brought up to date.
pub(super) fn migration(path: &Path, error: MigrateError) -> Fault {
    match error {
        MigrateError::VersionMissing(_) | MigrateError::VersionTooNew(..) => {
            fault(path, "open", "it was written by a newer version of cutover; use that one")
        }
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => broken(path, "open", &error),
        other => fault(path, "open", other.to_string()),
    }
}

/// What SQLite's error means, in words; the codes are <https://www.sqlite.org/rescode.html>.
pub(super) fn cause(error: &sqlx::Error) -> String {
    let code =
        error.as_database_error().and_then(sqlx::error::DatabaseError::code).and_then(|code| code.parse::<u32>().ok());
    let meaning = match code.map(|code| code & 0xff) {
        Some(5 | 6) => "another process holds it",
        Some(8) => "the file or its folder is read-only",
        Some(10) => "the disk gave an input/output error",
        Some(11 | 26) => "the file is damaged or not a ledger",
        Some(13) => "the disk is full",
        Some(14) => "the file cannot be opened",
        _ => return error.to_string(),
    };
    meaning.into()
}
