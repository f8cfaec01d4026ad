//! What an error of `MySQL` or `MariaDB` means.
//!
//! Only the server's own sentence and number are told: what the driver says of an address may hold a part of it.

use crate::{
    error::{Fault, FaultKind, Result},
    model::text,
};
use sqlx::mysql::MySqlDatabaseError;

/// The error as a fault.
pub(super) fn fault(doing: &str, error: sqlx::Error) -> Fault {
    match error {
        sqlx::Error::Database(said) => {
            let number = said.try_downcast_ref::<MySqlDatabaseError>().map_or(0, MySqlDatabaseError::number);
            Fault::new(kind(number), doing).detail(format!("{} ({number})", said.message()))
        }
        sqlx::Error::Io(error) => Fault::new(FaultKind::Unreachable, doing).source(error),
        sqlx::Error::Tls(error) => Fault::new(FaultKind::Refused, doing).detail(format!("no TLS with it: {error}")),
        sqlx::Error::Protocol(why) => Fault::new(FaultKind::Garbage, doing).detail(why),
        sqlx::Error::Configuration(_) => Fault::new(FaultKind::Plan, doing).detail("the address cannot be used"),
        other => Fault::new(FaultKind::Internal, doing).detail(other.to_string()),
    }
}

/// Why rows were refused on their own merits, so that others may go in; any other error ends the write.
pub(super) fn rejection(doing: &str, error: sqlx::Error) -> Result<String> {
    let said = error.as_database_error().and_then(|said| said.try_downcast_ref::<MySqlDatabaseError>());
    match said {
        // Our own upsert asks for this where it met a row that is not the one it was for.
        Some(said) if said.number() == number::SUBQUERY => {
            Ok("another row has one of its values, which must be unique".into())
        }
        Some(said) if lies_in_the_row(said.number(), said.code().unwrap_or_default()) => {
            Ok(text::clean(said.message(), 300))
        }
        _ => Err(fault(doing, error)),
    }
}

/// Numbers of errors that mean something to us (source: the list of errors in `MariaDB`'s manual).
mod number {
    pub(super) const SUBQUERY: u16 = 1242;
    /// No default for a column, a wrong value, truncated data, a check, an invalid document.
    pub(super) const OF_ROWS: [u16; 11] = [1364, 1366, 1265, 1292, 1263, 1048, 3140, 3819, 4025, 1906, 1644];
}

/// A value that its type refuses, a constraint, a trigger or view that says no.
fn lies_in_the_row(number: u16, state: &str) -> bool {
    number::OF_ROWS.contains(&number) || matches!(state.get(..2), Some("22" | "23" | "45"))
}

/// What an error's number means (source as above).
const fn kind(number: u16) -> FaultKind {
    match number {
        // A password, a database, a table, a column, a command that this user may not use.
        1044 | 1045 | 1142 | 1143 | 1227 | 1370 | 1698 => FaultKind::Unauthorized,
        1049 | 1051 | 1054 | 1146 => FaultKind::NotFound,
        // It only reads just now: no row is to blame, and none goes in.
        1290 | 1792 | 1836 => FaultKind::Unmet,
        // A lock, a deadlock, the statement's time.
        1205 | 1213 | 1969 | 3024 => FaultKind::Timeout,
        // Too many connections already.
        1040 | 1203 | 1226 => FaultKind::Throttled,
        // It is being stopped, or cut us off.
        1053 | 1077 | 1152 | 1158 | 1159 | 1160 | 1161 | 1184 | 1317 | 1927 => FaultKind::Unreachable,
        // Its disk or memory.
        1021 | 1026 | 1030 | 1037 | 1038 | 1041 | 1114 => FaultKind::Server,
        _ => FaultKind::Refused,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_become_kinds() {
        for (number, wanted) in [
            (1045, FaultKind::Unauthorized),
            (1142, FaultKind::Unauthorized),
            (1146, FaultKind::NotFound),
            (1213, FaultKind::Timeout),
            (1040, FaultKind::Throttled),
            (1053, FaultKind::Unreachable),
            (1114, FaultKind::Server),
            (1290, FaultKind::Unmet),
        ] {
            assert_eq!(kind(number), wanted, "{number}");
        }
        assert!(lies_in_the_row(1062, "23000") && lies_in_the_row(1366, "HY000") && !lies_in_the_row(1290, "HY000"));
    }
}
