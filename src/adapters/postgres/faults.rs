//! What an error of `PostgreSQL` means.
//!
//! Only the server's own sentence and code are told: its details may hold a row's values, and what the driver says of an
//! address may hold a part of it.

use crate::{
    error::{Fault, FaultKind, Result},
    model::text,
};
use std::error::Error as _;

/// The error as a fault.
pub(in crate::adapters) fn fault(doing: &str, error: sqlx::Error) -> Fault {
    match error {
        sqlx::Error::Database(said) => {
            let code = said.code().unwrap_or_default().into_owned();
            Fault::new(kind(&code), doing).detail(format!("{} ({code})", said.message()))
        }
        sqlx::Error::Io(error) => Fault::new(FaultKind::Unreachable, doing).source(error),
        sqlx::Error::Tls(error) => Fault::new(FaultKind::Refused, doing).detail(format!("no TLS with it: {error}")),
        sqlx::Error::Protocol(why) => Fault::new(FaultKind::Garbage, doing).detail(why),
        sqlx::Error::Configuration(_) => Fault::new(FaultKind::Plan, doing).detail("the address cannot be used"),
        sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => {
            let cause = error.source().map(ToString::to_string).unwrap_or_default();
            Fault::new(FaultKind::Garbage, doing).detail(cause)
        }
        other => Fault::new(FaultKind::Internal, doing).detail(other.to_string()),
    }
}

/// Why rows were refused on their own merits, so that others may go in; any other error ends the write.
pub(in crate::adapters) fn rejection(doing: &str, error: sqlx::Error) -> Result<String> {
    let said = error.as_database_error().and_then(|said| Some((said.code()?, said.message())));
    match said {
        Some((code, why)) if lies_in_the_row(&code) => Ok(text::clean(why, 300)),
        _ => Err(fault(doing, error)),
    }
}

/// A value that its type refuses, a constraint, a trigger or view that says no, a row too long for an index.
fn lies_in_the_row(code: &str) -> bool {
    matches!(code.get(..2), Some("22" | "23")) || matches!(code, "P0001" | "44000" | "54000" | "21000")
}

/// What an error code means (source: the appendix on error codes of `PostgreSQL`'s manual).
fn kind(code: &str) -> FaultKind {
    match code {
        // A role without the right to connect or to touch; a password that is wrong.
        "42501" => FaultKind::Unauthorized,
        // No such table, column, schema, database.
        "42P01" | "42703" | "3F000" | "3D000" => FaultKind::NotFound,
        // It only reads just now: no row is to blame, and none goes in.
        "25006" => FaultKind::Unmet,
        // A lock, the statement's time, another transaction.
        "55P03" | "57014" | "40001" | "40P01" => FaultKind::Timeout,
        // Too many connections already.
        "53300" => FaultKind::Throttled,
        // It is being stopped or started.
        "57P01" | "57P02" | "57P03" => FaultKind::Unreachable,
        _ => match code.get(..2) {
            Some("28") => FaultKind::Unauthorized,
            Some("08") => FaultKind::Unreachable,
            Some("53" | "57" | "58" | "F0" | "XX") => FaultKind::Server,
            _ => FaultKind::Refused,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_become_kinds() {
        for (code, wanted) in [
            ("28P01", FaultKind::Unauthorized),
            ("28000", FaultKind::Unauthorized),
            ("42501", FaultKind::Unauthorized),
            ("42P01", FaultKind::NotFound),
            ("3D000", FaultKind::NotFound),
            ("57014", FaultKind::Timeout),
            ("55P03", FaultKind::Timeout),
            ("40P01", FaultKind::Timeout),
            ("53300", FaultKind::Throttled),
            ("53100", FaultKind::Server),
            ("57P01", FaultKind::Unreachable),
            ("08006", FaultKind::Unreachable),
            ("25006", FaultKind::Unmet),
            ("22P02", FaultKind::Refused),
            ("23505", FaultKind::Refused),
            ("XX000", FaultKind::Server),
            ("", FaultKind::Refused),
        ] {
            assert_eq!(kind(code), wanted, "{code}");
        }
    }
}
