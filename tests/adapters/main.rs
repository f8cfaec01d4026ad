//! The adapters against real servers: sockets, files, SQL, S3 and DNS on loopback, and what they make of bad ones.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod blobs;
mod dns;
mod doubles;
mod faults;
mod folder;
#[path = "../tools/foreign.rs"]
mod foreign;
mod http_media;
mod probes;
mod records;
mod s3;
mod s3_faults;
mod sets;
mod switches;
mod wiring;

use cutover::{
    adapters::records::HttpStore,
    model::{Key, Record, Value},
    plan::{Auth, HttpPlan, Pagination, Preset, RequestPlan},
    ports::SetRef,
};
use serde_json::Value as Json;
use std::{fmt::Display, time::Duration};
use url::Url;

/// Long enough for a loaded machine.
const PATIENCE: Duration = Duration::from_secs(20);

fn record(json: Json) -> Record {
    Record::from_json(json).unwrap()
}

fn key(text: impl Display) -> Key {
    Key(format!("{text}"))
}

fn text(value: &str) -> Value {
    Value::Text(value.to_owned())
}

fn items(name: &str) -> SetRef {
    SetRef { name: name.to_owned(), key: "id".to_owned(), updated: Some("updated_at".to_owned()) }
}

/// A REST endpoint as Django's are.
fn django(endpoint: Url, auth: Auth, pagination: Pagination, timeout: Duration) -> HttpStore {
    let plan = HttpPlan { pagination, timeout, ..HttpPlan::new(Preset::DjangoRest, endpoint, auth) };
    HttpStore::new("django", plan).unwrap()
}

fn token(secret: &str) -> Auth {
    Auth::Token { scheme: "Token".to_owned(), token: secret.into() }
}

fn request(method: &str, url: impl Into<String>) -> RequestPlan {
    RequestPlan { method: method.to_owned(), url: url.into(), auth: Auth::None, body: None }
}
