//! Stores of records, and how requests to them prove who sends them. Read by `sides`.
//! Must never enter: how it is read from a file.

use super::{HttpPlan, LocalStoragePlan};
use secrecy::SecretString;
use std::{path::PathBuf, time::Duration};
use url::Url;

/// How requests prove who sends them.
#[derive(Debug, Clone)]
pub enum Auth {
    /// Not at all.
    None,
    /// `Authorization: <scheme> <token>`.
    Token {
        /// `Token` for Django REST, `Bearer` for Workers.
        scheme: String,
        /// The token.
        token: SecretString,
    },
    /// `Authorization: Basic …`.
    Basic {
        /// Name of the user.
        user: String,
        /// Password.
        password: SecretString,
    },
    /// `<name>: <token>`.
    Header {
        /// Name of the header.
        name: String,
        /// Its value.
        token: SecretString,
    },
}

/// A store.
#[derive(Debug, Clone)]
pub enum StorePlan {
    /// A REST endpoint.
    Http(Box<HttpPlan>),
    /// Browser exports.
    LocalStorage(LocalStoragePlan),
    /// A SQLite file.
    Sqlite {
        /// Its path, made absolute against the plan's folder.
        path: PathBuf,
    },
    /// A `PostgreSQL` database.
    Postgres {
        /// Where it is.
        address: DatabaseAddress,
        /// Where its tables are, if not where the database looks first.
        schema: Option<String>,
        /// Longest wait for one answer.
        timeout: Duration,
    },
    /// A database of `MySQL` or `MariaDB`.
    MySql {
        /// Where it is.
        address: DatabaseAddress,
        /// Longest wait for one answer.
        timeout: Duration,
    },
    /// A database of Cloudflare's D1, over its HTTP query API.
    D1 {
        /// Base address of the API.
        endpoint: Url,
        /// Id of the account.
        account: String,
        /// Id of the database.
        database: String,
        /// A token that may read and write D1.
        token: SecretString,
        /// Longest wait for one answer.
        timeout: Duration,
    },
}

/// Where a database is.
#[derive(Debug, Clone)]
pub struct DatabaseAddress {
    /// The whole address, password and all.
    pub url: SecretString,
    /// Its host, or the folder of its socket: what a person may see of the address.
    pub host: String,
    /// Whether it is never talked to without TLS.
    pub encrypted: bool,
}

impl StorePlan {
    /// It has a clock of its own, which may go wrong; a file has this machine's.
    #[must_use]
    pub fn has_clock(&self) -> bool {
        match self {
            Self::Sqlite { .. } => false,
            Self::LocalStorage(_) => self.http().is_some(),
            _ => true,
        }
    }

    /// Nothing can be written to it, so nothing is carried back to it.
    #[must_use]
    pub const fn is_only_read(&self) -> bool {
        matches!(self, Self::LocalStorage(_))
    }

    /// The endpoint behind this store, if it is reached over HTTP.
    #[must_use]
    pub fn http(&self) -> Option<&HttpPlan> {
        match self {
            Self::Http(http) | Self::LocalStorage(LocalStoragePlan::Http { http, .. }) => Some(http),
            _ => None,
        }
    }
}
