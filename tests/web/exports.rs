//! Browser exports in a folder and behind an endpoint.

use super::{
    all, key,
    server::{Asked, Server},
    set,
};
use axum::response::IntoResponse as _;
use cutover::{
    adapters::records::LocalStorage,
    error::FaultKind,
    model::{Record, Value},
    plan::{Auth, HttpPlan, LocalStoragePlan, Preset},
    ports::{Cursor, RecordStore, SetRef},
};
use serde_json::{Value as Json, json};
use std::{collections::BTreeSet, fs, path::Path};

fn folder(root: &Path) -> LocalStorage {
    LocalStorage::new("browsers", &LocalStoragePlan::Folder { root: root.to_owned() }).unwrap()
}

fn entries(keys: &str) -> SetRef {
    SetRef { updated: Some("exported_at".into()), ..set(keys) }
}

/// What so many users' browsers kept: filters in one list, settings, a text that is no JSON.
fn export(user: usize) -> Json {
    let filters: Vec<Json> =
        (0..user % 5).map(|n| json!({"id": format!("f{n}"), "name": format!("näme {n}")})).collect();
    json!({
        "savedFilters": json!(filters).to_string(),
        "settings": json!({"version": user, "data": {"dark": true}}).to_string(),
        "lastPath": "/home",
    })
}

fn ids(records: &[Record]) -> BTreeSet<String> {
    records.iter().map(|record| record.text("id").unwrap()).collect()
}

#[tokio::test]
async fn a_folder_is_read_in_pages_and_by_key() {
    let root = tempfile::tempdir().unwrap();
    for user in 1..=40 {
        let text = if user % 2 == 0 {
            export(user).to_string()
        } else {
            json!({"items": export(user), "exported_at": "2026-11-20T10:00:00Z"}).to_string()
        };
        fs::write(root.path().join(format!("{user}.json")), text).unwrap();
    }
    fs::write(root.path().join("broken.json"), "{\"savedFilters\": ").unwrap();
    fs::write(root.path().join("README.txt"), "no export").unwrap();
    let store = folder(root.path());

    let settings = entries("settings, lastPath");
    let about = store.describe(&settings).await.unwrap();
    assert_eq!((about.count, about.writable), (Some(81), false), "and the broken one");
    assert!(about.field("value").is_some());
    let whole = all(&store, &settings, 1000).await;
    assert_eq!(whole.len(), 81);
    for limit in [1, 2, 7] {
        assert_eq!(all(&store, &settings, limit).await, whole, "by {limit}");
    }
    let invalid: Vec<&Record> = whole.iter().filter(|row| row.get("invalid").is_some()).collect();
    assert_eq!(invalid.len(), 41, "reported, not lost");
    assert!(invalid.iter().all(|row| row.get("raw").is_some() && row.get("value").is_none()));

    let each = entries("savedFilters[]");
    let filters = all(&store, &each, 3).await;
    assert_eq!(filters.len(), (1..=40).map(|user| user % 5).sum::<usize>() + 1);
    let found = store.fetch(&each, &[key("14:savedFilters#f2"), key("14:savedFilters#f9"), key("99:x")]).await.unwrap();
    assert_eq!(found[0].get("value"), Some(&Value::Json(json!({"id": "f2", "name": "näme 2"}))));
    assert_eq!((found.len(), found[0].get("user_id")), (1, Some(&Value::Int(14))));
    let setting = store.fetch(&settings, &[key("7:settings")]).await.unwrap();
    assert_eq!(setting[0].get("version"), Some(&Value::Int(7)));
    assert_eq!(setting[0].get("value"), Some(&Value::Json(json!({"dark": true}))));

    let since = "2026-11-20T11:00:00Z".parse().unwrap();
    let changed = store.changes(&settings, since, &Cursor::START, 1000).await.unwrap();
    assert_eq!(changed.records.len(), 41, "the files without a time of their own are as old as they are");

    for fault in [
        store.write(&settings, &whole[..1]).await.unwrap_err(),
        store.delete(&settings, &[key("1:settings")]).await.unwrap_err(),
    ] {
        assert!(fault.kind == FaultKind::Refused && fault.chain().contains("only read"), "{}", fault.chain());
    }
    let nothing = store.describe(&entries("other")).await.unwrap().count;
    assert_eq!(nothing, Some(1), "nothing but the broken one to move");
    let missing = folder(&root.path().join("nowhere")).describe(&settings).await.unwrap_err();
    assert_eq!(missing.kind, FaultKind::NotFound, "{}", missing.chain());
}

#[tokio::test]
async fn an_endpoint_gives_what_the_folder_gives() {
    let root = tempfile::tempdir().unwrap();
    for user in 1..=45 {
        let text = json!({"items": export(user), "exported_at": "2026-11-20T10:00:00Z"}).to_string();
        fs::write(root.path().join(format!("{user}.json")), text).unwrap();
    }
    let answer = |asked: &Asked| {
        let wanted: Option<Vec<usize>> =
            asked.parameter("ids").map(|ids| ids.split(',').map(|id| id.parse().unwrap()).collect());
        let users: Vec<usize> =
            (1..=45).filter(|user| wanted.as_ref().is_none_or(|wanted| wanted.contains(user))).collect();
        let (page, size) = (asked.number_in("page", 1), asked.number_in("page_size", 10));
        let row = |user: &usize| json!({"user": user, "items": export(*user), "exported_at": "2026-11-20T10:00:00Z"});
        let results: Vec<Json> = users.iter().skip((page - 1) * size).take(size).map(row).collect();
        let next = (page * size < users.len()).then_some("more");
        axum::Json(json!({"count": users.len(), "next": next, "results": results})).into_response()
    };
    let server = Server::that(answer).await;
    let http = HttpPlan::new(Preset::DjangoRest, server.endpoint.clone(), Auth::None);
    let plan = LocalStoragePlan::Http { http: Box::new(http), path: "/api/exports/".into() };
    let (there, here) = (LocalStorage::new("browsers", &plan).unwrap(), folder(root.path()));
    for keys in ["savedFilters[]", "settings", "*"] {
        let wanted = all(&here, &entries(keys), 1000).await;
        for limit in [1, 10, 1000] {
            let read = all(&there, &entries(keys), limit).await;
            assert_eq!((read.len(), ids(&read)), (wanted.len(), ids(&wanted)), "{keys} by {limit}");
        }
    }
    let keys = [key("3:settings"), key("44:settings"), key("46:settings")];
    assert_eq!(ids(&there.fetch(&entries("settings"), &keys).await.unwrap()).len(), 2);
}
