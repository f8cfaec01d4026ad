//! The stores under test that are no databases: the real Django with Django REST framework, which can be given tables of
//! any shape; the rehearsal's legacy application, which has its own; and browser exports, which are only read.

use super::{
    django::Django,
    record,
    sides::{Can, Items, PATIENCE, Side, Types, items, lite_rows},
};
use cutover::{
    adapters::records::{HttpStore, LocalStorage},
    model::{Record, Value},
    plan::{Auth, HttpPlan, LocalStoragePlan, Pagination, Preset},
    ports::SetRef,
    rehearsal::{Overrides, Scenario, World},
};
use secrecy::ExposeSecret as _;
use serde_json::{Value as Json, json};
use std::{fs, sync::Arc, time::Duration};
use url::Url;

/// The framework's fields; `set_up` reads their options.
const FIELDS: Types = &[
    ("key", "BigIntegerField primary_key"),
    ("text key", "CharField max_length=100 primary_key"),
    ("counted", "BigAutoField primary_key"),
    ("bool", "BooleanField"),
    ("int", "BigIntegerField"),
    ("float", "FloatField"),
    ("small decimal", "DecimalField max_digits=12 decimal_places=4"),
    ("text", "TextField"),
    ("varchar", "CharField max_length=5"),
    ("date", "DateField"),
    ("time", "TimeField"),
    ("timestamp", "DateTimeField"),
    ("uuid", "UUIDField"),
    ("json", "JSONField"),
];

/// What the token of this Django is.
pub(crate) fn secret_of(django: &Django) -> String {
    let Auth::Token { token, .. } = django.token("Token") else { unreachable!("that is what was asked for") };
    token.expose_secret().to_owned()
}

fn http(endpoint: &Url, token: &str, pagination: Pagination) -> HttpPlan {
    let auth = Auth::Token { scheme: "Token".into(), token: token.to_owned().into() };
    HttpPlan { pagination, timeout: PATIENCE, ..HttpPlan::new(Preset::DjangoRest, endpoint.clone(), auth) }
}

/// Django, whose sets are read by this way of paging.
pub(crate) async fn django(way: &'static str) -> Side {
    let (pagination, word, place): (_, _, fn(&str) -> String) = match way {
        "numbered" => (Pagination::PageNumber, "page-number", |name| format!("/api/numbered/{name}/")),
        "fixed" => (Pagination::PageNumber, "page-number", |name| format!("/api/fixed/{name}/")),
        "offset" => (Pagination::LimitOffset, "limit-offset", |name| format!("/api/offset/{name}/")),
        "cursor" => (Pagination::Cursor, "cursor", |name| format!("/api/cursor/{name}/")),
        "linked" => (Pagination::LinkHeader, "link-header", |name| format!("/api/linked/{name}/")),
        _ => (Pagination::None, "none", |name| format!("/api/plain/{name}/")),
    };
    let django = Django::start();
    let (endpoint, token) = (django.endpoint.clone(), secret_of(&django));
    let plan = format!(
        "kind = \"http\"\nendpoint = \"{endpoint}\"\nauth = {{ token = \"{token}\" }}\npagination = \"{word}\"\n\
         timeout = \"60s\""
    );
    let database = django.database();
    Side {
        name: "django",
        store: Arc::new(HttpStore::new("django", http(&endpoint, &token, pagination)).unwrap()),
        plan: (plan, "path"),
        can: Can::BeShaped,
        items: items(super::set(&place("items"))),
        types: FIELDS,
        lenient: false,
        longest: 4 << 20,
        place,
        make: Box::new(move |name, columns| set_up(&endpoint, &token, name, columns)),
        hand: Box::new(|_, _| ()),
        sql: Box::new(move |sql| drop(lite_rows(&database, sql))),
        _server: Box::new(django),
    }
}

/// Asks Django for a table; each column is its name, a class of field with its options, and perhaps `NOT NULL` or
/// `UNIQUE`.
fn set_up(endpoint: &Url, token: &str, name: &str, columns: &str) {
    let columns: Vec<Json> = columns
        .split(',')
        .map(|column| {
            let needed = column.contains("NOT NULL");
            let column = column.replace("NOT NULL", "").replace("UNIQUE", "unique");
            let mut words = column.split_whitespace();
            let (name, class) = (words.next().unwrap(), words.next().unwrap());
            let option = |word: &str| match word.split_once('=') {
                Some((name, value)) => (name.to_owned(), json!(value.parse::<u32>().unwrap())),
                None => (word.to_owned(), json!(true)),
            };
            let options: serde_json::Map<String, Json> = words.map(option).collect();
            json!({ "name": name, "type": class, "options": options, "needed": needed })
        })
        .collect();
    let url = endpoint.join(&format!("tables/{name}/")).unwrap();
    let token = format!("Token {token}");
    let asking = async move {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let asked = client.post(url).header("authorization", token).json(&json!({ "columns": columns }));
        let answer = asked.send().await.unwrap();
        let status = answer.status();
        assert!(status.is_success(), "{status}: {}", answer.text().await.unwrap());
    };
    // The tests' own runtime must not be held up from within.
    std::thread::spawn(|| tokio::runtime::Runtime::new().unwrap().block_on(asking)).join().unwrap();
}

fn filter(id: i64) -> Record {
    let at = format!("2026-11-20T00:00:{:02}.000000Z", id % 60);
    let definition = json!({"b": [1, 2.5, null], "a": {"ä": true}});
    record(json!({
        "id": id, "user_id": 1, "name": format!("näme '{id}\" \\ \u{1F600}"), "definition": definition,
        "created_at": at, "updated_at": at,
    }))
}

/// The rehearsal's legacy application, which has no filters.
pub(crate) async fn legacy() -> Side {
    let folder = tempfile::tempdir().unwrap();
    let few = Overrides { users: Some(3), files: Some(1), bytes: Some(100), ..Overrides::default() };
    let mut scenario = Scenario::named("calm").unwrap().with(&few).unwrap();
    scenario.size.filters = 0;
    scenario.traffic.per_second = 0.0;
    scenario.think.legacy = Duration::ZERO;
    let world = World::start(scenario, folder.path()).await.unwrap();
    let endpoint: Url = format!("http://{}", world.addresses.legacy).parse().unwrap();
    let plan = http(&endpoint, &world.credentials.legacy, Pagination::PageNumber);
    let set = super::set("/api/migration/filters/");
    Side {
        name: "legacy",
        store: Arc::new(HttpStore::new("legacy", plan).unwrap()),
        plan: (String::new(), "path"),
        can: Can::BeWritten,
        items: Items { set, item: filter, name: "name", note: "name" },
        types: &[],
        lenient: false,
        longest: 2 << 20,
        place: |name| format!("/api/migration/{name}/"),
        make: Box::new(|_, _| ()),
        hand: Box::new(|_, _| ()),
        sql: Box::new(|_| ()),
        _server: Box::new((world, folder)),
    }
}

/// What the browser of the user of this number kept, as a file and as a record.
fn export(id: i64) -> (Json, Record) {
    let (at, value) = (format!("2026-11-20T00:00:{:02}Z", id % 60), json!({"n": id, "ä": [true, null]}));
    let text = value.to_string();
    let mut kept = record(json!({
        "id": format!("{id}:settings"), "user_id": id, "storage_key": "settings", "size": text.len(), "version": null,
        "exported_at": at,
    }));
    kept.0.insert("value".into(), Value::Json(value));
    (json!({ "items": { "settings": text, "other": "x" }, "exported_at": at }), kept)
}

/// A folder of browser exports.
pub(crate) async fn local_storage() -> Side {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().to_owned();
    let plan = format!("kind = \"local-storage\"\nroot = \"{}\"", root.display());
    let store = LocalStorage::new("browsers", &LocalStoragePlan::Folder { root: root.clone() }).unwrap();
    let set = SetRef { updated: Some("exported_at".into()), ..super::set("settings") };
    let hand = move |ids: &[i64], there: bool| {
        for id in ids {
            let path = root.join(format!("{id}.json"));
            if there {
                fs::write(path, export(*id).0.to_string()).unwrap();
            } else if path.exists() {
                fs::remove_file(path).unwrap();
            }
        }
    };
    Side {
        name: "local-storage",
        store: Arc::new(store),
        plan: (plan, "keys"),
        can: Can::BeRead,
        items: Items { set, item: |id| export(id).1, name: "storage_key", note: "storage_key" },
        types: &[],
        lenient: false,
        longest: 0,
        place: str::to_owned,
        make: Box::new(|_, _| ()),
        hand: Box::new(hand),
        sql: Box::new(|_| ()),
        _server: Box::new(folder),
    }
}
