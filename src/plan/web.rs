//! The stores that are reached over HTTP or hold browser exports: who they are, how they cut their rows into pages, and
//! where in a request and an answer each thing stands.
//!
//! A preset is a whole [`HttpPlan`]; the tables `read`, `write` and `delete` of a store change single places of it.
//! Neighbours: `sides` (which store it is), the adapter in `adapters/records/http` (who follows it). Must never enter:
//! what the rows mean.

use super::{
    Auth, StorePlan,
    limits::{ANSWER, ANSWERS, CACHE, CACHES, STORE_TIMEOUT, TIMEOUTS},
    reader::Node,
    request::{Texts, auth, check_template},
    table::Table,
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
    const fn pagination(self) -> Pagination {
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

    fn read(self) -> ReadShape {
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

    fn write(self) -> WriteShape {
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

    fn delete(self) -> DeleteShape {
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

impl StorePlan {
    /// The endpoint behind this store, if it is reached over HTTP.
    #[must_use]
    pub fn http(&self) -> Option<&HttpPlan> {
        match self {
            Self::Http(http) | Self::LocalStorage(LocalStoragePlan::Http { http, .. }) => Some(http),
            _ => None,
        }
    }
}

/// Stands for the list of records in the body of a write.
pub const RECORDS: &str = "{{ records }}";
/// Stands for the list of keys in the body of a deletion.
pub const KEYS: &str = "{{ keys }}";

/// The store of kind `http`.
pub(super) fn http(table: &Table<'_>) -> Option<HttpPlan> {
    let endpoint = table.need("endpoint", "\"https://…\"").and_then(|node| node.url());
    let auth = auth(table, "auth", Auth::None, Texts::Plain);
    let presets = [("django-rest", Preset::DjangoRest), ("workers-api", Preset::WorkersApi)];
    let preset = table.one_of("preset", Preset::DjangoRest, &presets);
    let pages = [
        ("page-number", Pagination::PageNumber),
        ("limit-offset", Pagination::LimitOffset),
        ("cursor", Pagination::Cursor),
        ("link-header", Pagination::LinkHeader),
        ("none", Pagination::None),
    ];
    let packings = [("none", Compression::None), ("gzip", Compression::Gzip), ("zstd", Compression::Zstd)];
    let pagination = table.one_of("pagination", preset.pagination(), &pages);
    let timeout = table.duration("timeout", STORE_TIMEOUT, TIMEOUTS);
    let max_answer = table.bytes("max_answer", ANSWER, ANSWERS);
    let cache = table.bytes("cache", CACHE, CACHES);
    let compress = table.one_of("compress", Compression::None, &packings);
    let read = table.table("read").map_or_else(|| preset.read(), |table| read(&table, preset.read()));
    let write = table.table("write").map_or_else(|| preset.write(), |table| write(&table, preset.write()));
    let delete = table.table("delete").map_or_else(|| preset.delete(), |table| delete(&table, preset.delete()));
    Some(HttpPlan { endpoint: endpoint?, auth, pagination, timeout, max_answer, cache, compress, read, write, delete })
}

/// The store of kind `local-storage`.
pub(super) fn local_storage(table: &Table<'_>) -> Option<LocalStoragePlan> {
    if let Some(root) = table.get("root") {
        if let Some(endpoint) = table.get("endpoint") {
            endpoint.fault("both `root` and `endpoint`", "one of them: a folder, or a server");
        }
        return Some(LocalStoragePlan::Folder { root: root.path()? });
    }
    if table.get("endpoint").is_none() {
        table.need("root", "\"exports\"");
        return None;
    }
    let path = table.need("path", "\"/api/exports/\"").and_then(|node| server_path(&node));
    Some(LocalStoragePlan::Http { http: Box::new(http(table)?), path: path? })
}

/// A path on a store's server.
pub(super) fn server_path(node: &Node<'_>) -> Option<String> {
    node.parsed("a path on the store's server", "a path that begins with a slash, as \"/api/users/\"", |text| {
        (text.starts_with('/') && !text.contains(char::is_whitespace)).then(|| text.to_owned())
    })
}

fn read(table: &Table<'_>, base: ReadShape) -> ReadShape {
    let names = base.parameters;
    let ways = [("link", NextAs::Link), ("token", NextAs::Token)];
    let shape = ReadShape {
        rows: place(table, "rows", base.rows),
        next: place(table, "next", base.next),
        next_as: table.one_of("next_as", base.next_as, &ways),
        total: place(table, "total", base.total),
        deleted: place(table, "deleted", base.deleted),
        parameters: Parameters {
            page: parameter(table, "page", names.page),
            page_size: parameter(table, "page_size", names.page_size),
            limit: parameter(table, "limit", names.limit),
            offset: parameter(table, "offset", names.offset),
            cursor: parameter(table, "cursor", names.cursor),
            updated_since: parameter(table, "updated_since", names.updated_since),
            keys: parameter(table, "keys", names.keys),
        },
    };
    table.close();
    shape
}

fn write(table: &Table<'_>, base: WriteShape) -> WriteShape {
    let send = sending(table, base.send, RECORDS, "{ records = \"{{ records }}\" }");
    let words = |key: &str, words: Vec<String>| {
        table.get(key).and_then(|node| node.list(Node::filled)).filter(|words| !words.is_empty()).unwrap_or(words)
    };
    let outcomes = match (table.get("errors"), base.outcomes) {
        (Some(_), _) => {
            if let Some(each) = table.get("outcomes") {
                each.fault("both `outcomes` and `errors`", "one of them: what became of each, or the refused ones alone");
            }
            Outcomes::Errors { at: place(table, "errors", String::new()) }
        }
        (None, Outcomes::Each { at, status, created, updated, rejected }) => Outcomes::Each {
            at: place(table, "outcomes", at),
            status: place(table, "status", status),
            created: words("created", created),
            updated: words("updated", updated),
            rejected: words("rejected", rejected),
        },
        (None, errors @ Outcomes::Errors { .. }) => errors,
    };
    let shape = WriteShape {
        send,
        outcomes,
        key: place(table, "key", base.key),
        error: place(table, "error", base.error),
        idempotency_header: table.get("idempotency_header").and_then(|node| header(&node)).unwrap_or(base.idempotency_header),
    };
    table.close();
    shape
}

fn delete(table: &Table<'_>, base: DeleteShape) -> DeleteShape {
    let shape = DeleteShape {
        send: sending(table, base.send, KEYS, "{ keys = \"{{ keys }}\" }"),
        deleted: place(table, "deleted", base.deleted),
    };
    table.close();
    shape
}

/// `request = "POST {{ path }}/bulk/"` and `body = { … }`.
fn sending(table: &Table<'_>, base: Sending, hole: &str, example: &str) -> Sending {
    const METHODS: [&str; 4] = ["POST", "PUT", "PATCH", "DELETE"];
    const INSTEAD: &str = "a method (POST, PUT, PATCH, DELETE) and a path, as \"POST {{ path }}/bulk/\"";
    let request = table.get("request").and_then(|node| {
        let said = node.parsed("such a request", INSTEAD, |text| {
            let (method, path) = text.trim().split_once(' ')?;
            let path = path.trim();
            let good = METHODS.contains(&method) && (path.starts_with('/') || path.starts_with("{{"));
            good.then(|| (method.to_owned(), path.to_owned()))
        });
        if let Some((_, path)) = &said {
            check_template(&node, path, Texts::Templates(&["path".to_owned()]));
        }
        said
    });
    let (method, path) = request.unwrap_or((base.method, base.path));
    let body = table.get("body").and_then(|node| {
        let body = node.json(&|_: &Node<'_>, _: &str| {})?;
        if holes(&body, hole) != 1 {
            node.fault(format!("a body for `{}` in which `{hole}` is not the whole of one text", node.label), example);
        }
        Some(body)
    });
    Sending { method, path, body: body.unwrap_or(base.body) }
}

/// Texts of this document that are this one.
fn holes(json: &Json, hole: &str) -> usize {
    match json {
        Json::String(text) => usize::from(text == hole),
        Json::Array(items) => items.iter().map(|item| holes(item, hole)).sum(),
        Json::Object(fields) => fields.values().map(|item| holes(item, hole)).sum(),
        _ => 0,
    }
}

/// A JSON pointer under this key.
fn place(table: &Table<'_>, key: &str, or: String) -> String {
    const INSTEAD: &str = "a pointer that begins with a slash, as \"/data/rows\", or \"\" for the answer itself";
    let read = |text: &str| (text.is_empty() || text.starts_with('/')).then(|| text.to_owned());
    table.get(key).and_then(|node| node.parsed("a JSON pointer", INSTEAD, read)).unwrap_or(or)
}

/// The name of a parameter under this key.
fn parameter(table: &Table<'_>, key: &str, or: String) -> String {
    const INSTEAD: &str = "letters, digits and any of `_-.[]`, as \"updated_since\"";
    let good = |c: char| c.is_ascii_alphanumeric() || "_-.[]".contains(c);
    let read = |text: &str| (!text.is_empty() && text.chars().all(good)).then(|| text.to_owned());
    table.get(key).and_then(|node| node.parsed("the name of a parameter", INSTEAD, read)).unwrap_or(or)
}

/// The name of a header; empty for none.
fn header(node: &Node<'_>) -> Option<String> {
    const INSTEAD: &str = "letters, digits and `-`, as \"Idempotency-Key\", or \"\" for none";
    let good = |c: char| c.is_ascii_alphanumeric() || c == '-';
    node.parsed("the name of a header", INSTEAD, |text| text.chars().all(good).then(|| text.to_ascii_lowercase()))
}
