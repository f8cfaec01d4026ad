//! Reads the stores of kind `http` and `local-storage`: a preset, and the tables `read`, `write` and `delete` that change
//! single places of it. Neighbours: `sides`, which reads all other stores and buckets. Must never enter: what rows mean.

use super::{
    Auth, Compression, DeleteShape, HttpPlan, KEYS, LocalStoragePlan, NextAs, Outcomes, Pagination, Parameters, Preset,
    RECORDS, ReadShape, Sending, WriteShape,
    limits::{ANSWER, ANSWERS, CACHE, CACHES, STORE_TIMEOUT, TIMEOUTS},
    reader::Node,
    request::{Texts, auth, check_template},
    table::Table,
};
use serde_json::Value as Json;

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
    let send = sending(table, base.send, RECORDS, "`body = { records = \"{{ records }}\" }`");
    let words = |key: &str, words: Vec<String>| {
        table.get(key).and_then(|node| node.list(Node::filled)).filter(|words| !words.is_empty()).unwrap_or(words)
    };
    let outcomes = match (table.get("errors"), base.outcomes) {
        (Some(_), _) => {
            if let Some(each) = table.get("outcomes") {
                each.fault(
                    "both `outcomes` and `errors`",
                    "one of them: what became of each, or the refused ones alone",
                );
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
        idempotency_header: table
            .get("idempotency_header")
            .and_then(|node| header(&node))
            .unwrap_or(base.idempotency_header),
    };
    table.close();
    shape
}

fn delete(table: &Table<'_>, base: DeleteShape) -> DeleteShape {
    let shape = DeleteShape {
        send: sending(table, base.send, KEYS, "`body = { keys = \"{{ keys }}\" }`"),
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
