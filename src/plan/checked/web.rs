//! Stores that are reached over HTTP, and browser exports: who they are, how they cut their rows into pages, and where in
//! a request and an answer each thing stands. A preset is a whole [`HttpPlan`]; the plan changes single places of it.
//! Read by `web`, followed by the adapter. Must never enter: how it is read from a file.

use super::{
    super::limits::{ANSWER, CACHE, STORE_TIMEOUT},
    Auth,
};
use serde_json::{Value as Json, json};
use std::{path::PathBuf, time::Duration};
use url::Url;

/// How an HTTP endpoint cuts its rows into pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pagination {
    /// `?page=N&page_size=M`; a plain array of everything will do as well.
    PageNumber,
    /// `?limit=M&offset=N`; a plain array of everything will do as well.
    LimitOffset,
    /// The answer says where the next page is: a link, or a token that goes into a parameter.
    Cursor,
    /// The header `Link` says where the next page is.
    LinkHeader,
    /// Everything at once.
    None,
}

/// How request bodies are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip.
    Gzip,
    /// zstd.
    Zstd,
}

/// What stands where the answer says how to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NextAs {
    /// An address.
    Link,
    /// A text for the parameter `cursor`.
    Token,
}

/// Names of the parameters in an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameters {
    /// Number of a page, from 1.
    pub page: String,
    /// Rows in a numbered page, or in one behind a cursor.
    pub page_size: String,
    /// Rows from an offset.
    pub limit: String,
    /// Rows before the first one.
    pub offset: String,
    /// The token of the next page.
    pub cursor: String,
    /// Only what changed at or after this time.
    pub updated_since: String,
    /// Only these keys, with commas between.
    pub keys: String,
}

/// Where things stand in a page. Places are JSON pointers; an empty one is the answer itself. An answer that is a list
/// is the list of rows, whatever is said here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadShape {
    /// The list of rows.
    pub rows: String,
    /// How to go on: nothing or null at the end.
    pub next: String,
    /// What stands there.
    pub next_as: NextAs,
    /// The number of all rows.
    pub total: String,
    /// The list of keys that were deleted, in an answer to `updated_since`: keys, or objects that have the key's field.
    pub deleted: String,
    /// Names in the address.
    pub parameters: Parameters,
}

/// A request of an [`HttpPlan`].
#[derive(Debug, Clone, PartialEq)]
pub struct Sending {
    /// Method.
    pub method: String,
    /// A template over `path`: the dataset's path without a slash at its end.
    pub path: String,
    /// The body, in which one text stands for the whole list: `{{ records }}` or `{{ keys }}`.
    pub body: Json,
}

/// What the answer to a write says, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcomes {
    /// A list with one entry for each record, in their order.
    Each {
        /// The list.
        at: String,
        /// In an entry: what became of the record.
        status: String,
        /// The words for a record that was not there before.
        created: Vec<String>,
        /// The words for one that was.
        updated: Vec<String>,
        /// The words for one that was refused.
        rejected: Vec<String>,
    },
    /// A list of the refused records alone, or an object from key to reason.
    Errors {
        /// The list or object; nothing or null means that all were taken.
        at: String,
    },
}

/// A write and its answer.
#[derive(Debug, Clone, PartialEq)]
pub struct WriteShape {
    /// The request.
    pub send: Sending,
    /// What the answer says.
    pub outcomes: Outcomes,
    /// In an entry: the record's key.
    pub key: String,
    /// In an entry: why the record was refused.
    pub error: String,
    /// The header with something that is new in each request; none if it is empty.
    pub idempotency_header: String,
}

/// A deletion and its answer.
#[derive(Debug, Clone, PartialEq)]
pub struct DeleteShape {
    /// The request.
    pub send: Sending,
    /// Where the answer says how many were deleted; if it is empty, the status alone is believed.
    pub deleted: String,
}

/// A REST endpoint and how it is spoken to.
#[derive(Debug, Clone)]
pub struct HttpPlan {
    /// Base address.
    pub endpoint: Url,
    /// Credential.
    pub auth: Auth,
    /// Paging.
    pub pagination: Pagination,
    /// Longest wait for one answer.
    pub timeout: Duration,
    /// Most bytes of one answer, unpacked.
    pub max_answer: u64,
    /// Most bytes of answers that are kept with their `ETag`.
    pub cache: u64,
    /// How request bodies are packed.
    pub compress: Compression,
    /// Pages.
    pub read: ReadShape,
    /// Writes.
    pub write: WriteShape,
    /// Deletions.
    pub delete: DeleteShape,
}

/// Browser exports.
#[derive(Debug, Clone)]
pub enum LocalStoragePlan {
    /// A folder with a file `<user>.json` for each user.
    Folder {
        /// Its path, made absolute against the plan's folder.
        root: PathBuf,
    },
    /// An endpoint whose rows are exports: `user`, `items` and perhaps `exported_at`.
    Http {
        /// The endpoint.
        http: Box<HttpPlan>,
        /// Path of the exports.
        path: String,
    },
}

/// What an endpoint is like if the plan does not say more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Preset {
    /// Django REST framework: `results`, `next`, `count`; bulk views below each path.
    DjangoRest,
    /// A Workers API in Cloudflare's manner: `result`, and `result_info` with a cursor.
    WorkersApi,
}

impl HttpPlan {
    /// An endpoint as this preset has it.
    #[must_use]
    pub fn new(preset: Preset, endpoint: Url, auth: Auth) -> Self {
        Self {
            endpoint,
            auth,
            pagination: preset.pagination(),
            timeout: STORE_TIMEOUT,
            max_answer: ANSWER,
            cache: CACHE,
            compress: Compression::None,
            read: preset.read(),
            write: preset.write(),
            delete: preset.delete(),
        }
    }
}

impl Preset {
    pub(in crate::plan) const fn pagination(self) -> Pagination {
        match self {
            Self::DjangoRest => Pagination::PageNumber,
            Self::WorkersApi => Pagination::Cursor,
        }
    }

    fn either(self, django: &str, workers: &str) -> String {
        match self {
            Self::DjangoRest => django.to_owned(),
            Self::WorkersApi => workers.to_owned(),
        }
    }

    pub(in crate::plan) fn read(self) -> ReadShape {
        ReadShape {
            rows: self.either("/results", "/result"),
            next: self.either("/next", "/result_info/cursor"),
            next_as: if self == Self::WorkersApi { NextAs::Token } else { NextAs::Link },
            total: self.either("/count", "/result_info/total_count"),
            deleted: self.either("/deleted", "/result_info/deleted"),
            parameters: Parameters {
                page: "page".into(),
                page_size: self.either("page_size", "per_page"),
                limit: "limit".into(),
                offset: "offset".into(),
                cursor: "cursor".into(),
                updated_since: "updated_since".into(),
                keys: "ids".into(),
            },
        }
    }

    pub(in crate::plan) fn write(self) -> WriteShape {
        WriteShape {
            send: Sending {
                method: "POST".into(),
                path: self.either("{{ path }}/bulk/", "{{ path }}/bulk"),
                body: json!({ "records": RECORDS }),
            },
            outcomes: Outcomes::Each {
                at: self.either("/results", "/result"),
                status: "/status".into(),
                created: vec!["created".into()],
                updated: vec!["updated".into()],
                rejected: vec!["rejected".into()],
            },
            key: "/key".into(),
            error: "/error".into(),
            idempotency_header: "idempotency-key".into(),
        }
    }

    pub(in crate::plan) fn delete(self) -> DeleteShape {
        DeleteShape {
            send: Sending {
                method: "POST".into(),
                path: self.either("{{ path }}/delete/", "{{ path }}/delete"),
                body: json!({ "keys": KEYS }),
            },
            deleted: self.either("/deleted", "/result/deleted"),
        }
    }
}

/// Stands for the list of records in the body of a write.
pub const RECORDS: &str = "{{ records }}";
/// Stands for the list of keys in the body of a deletion.
pub const KEYS: &str = "{{ keys }}";
