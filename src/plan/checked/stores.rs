//! Stores of records, and how requests to them prove who sends them. Read by `sides`.
//! Must never enter: how it is read from a file.

use super::{HttpPlan, LocalStoragePlan};
use secrecy::SecretString;
use std::path::PathBuf;

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
}

impl StorePlan {
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
