//! What everything that speaks with `PostgreSQL` shares: how it is reached, names in statements, what its errors mean.
//! Must never enter: tables and rows.

mod faults;

pub(super) use faults::{fault, rejection};

use crate::error::{Fault, FaultKind, Result};
use secrecy::{ExposeSecret as _, SecretString};
use sqlx::{ConnectOptions as _, postgres::PgConnectOptions};

/// What the server's list of sessions calls us.
const APPLICATION: &str = "cutover";

/// How the server at this address is reached. Talks to nobody.
///
/// # Errors
/// `Plan` if the address cannot be used.
pub(super) fn options(doing: &str, url: &SecretString) -> Result<PgConnectOptions> {
    // Why it cannot be read would repeat a part of it.
    let options: PgConnectOptions =
        url.expose_secret().parse().map_err(|_secret: sqlx::Error| Fault::new(FaultKind::Plan, doing))?;
    Ok(options
        .application_name(APPLICATION)
        // A pooler refuses what it does not know, and prepared statements do not survive in one.
        .extra_float_digits(None)
        .statement_cache_capacity(0)
        .disable_statement_logging())
}

/// An identifier as SQL takes it whatever it holds.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
