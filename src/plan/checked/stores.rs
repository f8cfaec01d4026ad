//! Stores of records, and how requests to them prove who sends them. Read by `sides`.
//! Must never enter: how it is read from a file.

use secrecy::SecretString;
use std::path::PathBuf;
use std::time::Duration;
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
}

/// How an HTTP endpoint cuts its rows into pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pagination {
    /// `?page=N&page_size=M`, rows in `results`, `count` and `next` beside them; or a plain array of everything.
    PageNumber,
    /// A plain array of everything.
    None,
}

/// A store.
#[derive(Debug, Clone)]
pub enum StorePlan {
    /// A REST endpoint.
    Http {
        /// Base address.
        endpoint: Url,
        /// Credential.
        auth: Auth,
        /// Paging.
        pagination: Pagination,
        /// Longest wait for one answer.
        timeout: Duration,
    },
    /// A SQLite file.
    Sqlite {
        /// Its path, made absolute against the plan's folder.
        path: PathBuf,
    },
}
