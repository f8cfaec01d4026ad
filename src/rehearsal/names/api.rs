//! The zone's REST API, answering as `PowerDNS` does: the same paths, shapes, statuses and error texts.

use super::{Change, Names, RecordSet, ZONE, Zone};
use axum::{
    Json, Router,
    body::Bytes,
    extract::{Path, Request, State},
    http::StatusCode,
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::get,
};
use serde::Deserialize;
use serde_json::{Value, json};
use std::{net::IpAddr, sync::Arc};

#[derive(Clone)]
struct Api {
    names: Arc<Names>,
    key: Arc<str>,
}

/// The API of this name service.
pub(in crate::rehearsal) fn router(names: Arc<Names>, key: &str) -> Router {
    let api = Api { names, key: key.into() };
    Router::new()
        .route("/api/v1/servers", get(async || Json(json!([server()]))))
        .route("/api/v1/servers/{server}", get(show_server))
        .route("/api/v1/servers/{server}/zones", get(list_zones))
        .route("/api/v1/servers/{server}/zones/{zone}", get(show_zone).patch(patch_zone))
        .fallback(async || not_found())
        .layer(middleware::from_fn_with_state(api.clone(), needs_key))
        .with_state(api)
}

fn error(status: StatusCode, text: impl Into<String>) -> Response {
    (status, Json(json!({ "error": text.into() }))).into_response()
}

fn not_found() -> Response {
    (StatusCode::NOT_FOUND, "Not Found").into_response()
}

fn server() -> Value {
    json!({ "type": "Server", "id": "localhost", "daemon_type": "authoritative", "version": "4.9.0",
        "url": "/api/v1/servers/localhost", "zones_url": "/api/v1/servers/localhost/zones{/zone}" })
}

async fn needs_key(State(api): State<Api>, request: Request, next: Next) -> Response {
    if request.headers().get("x-api-key").is_some_and(|key| key.as_bytes() == api.key.as_bytes()) {
        next.run(request).await
    } else {
        (StatusCode::UNAUTHORIZED, "Unauthorized").into_response()
    }
}

async fn show_server(Path(id): Path<String>) -> Response {
    if id == "localhost" { Json(server()).into_response() } else { not_found() }
}

fn head(zone: &Zone) -> Value {
    json!({ "id": ZONE, "name": ZONE, "type": "Zone", "kind": "Native", "dnssec": false, "serial": zone.serial,
        "url": format!("/api/v1/servers/localhost/zones/{ZONE}") })
}

async fn list_zones(State(api): State<Api>, Path(id): Path<String>) -> Response {
    if id != "localhost" {
        return not_found();
    }
    Json(json!([head(&*api.names.zone.read().await)])).into_response()
}

/// Names without the last dot are taken too, as `PowerDNS` does for the zone's id.
fn is_ours(server: &str, zone: &str) -> bool {
    server == "localhost" && zone.trim_end_matches('.').eq_ignore_ascii_case(ZONE.trim_end_matches('.'))
}

async fn show_zone(State(api): State<Api>, Path((server, zone)): Path<(String, String)>) -> Response {
    if !is_ours(&server, &zone) {
        return not_found();
    }
    let zone = api.names.zone.read().await;
    let set = |set: &RecordSet| {
        let records: Vec<Value> = set.contents.iter().map(|c| json!({ "content": c, "disabled": false })).collect();
        json!({ "name": set.name, "type": set.kind, "ttl": set.ttl, "records": records, "comments": [] })
    };
    let mut body = head(&zone);
    body["rrsets"] = zone.sets.iter().map(set).collect();
    Json(body).into_response()
}

#[derive(Deserialize)]
struct Patch {
    rrsets: Vec<PatchSet>,
}

#[derive(Deserialize)]
struct PatchSet {
    name: String,
    #[serde(rename = "type")]
    kind: String,
    changetype: String,
    ttl: Option<u32>,
    #[serde(default)]
    records: Vec<PatchRecord>,
}

#[derive(Deserialize)]
struct PatchRecord {
    content: String,
    #[serde(default)]
    disabled: bool,
}

async fn patch_zone(State(api): State<Api>, Path((server, zone)): Path<(String, String)>, body: Bytes) -> Response {
    if !is_ours(&server, &zone) {
        return not_found();
    }
    let patch: Patch = match serde_json::from_slice(&body) {
        Ok(patch) => patch,
        Err(why) => return error(StatusCode::BAD_REQUEST, format!("Request body is not valid: {why}")),
    };
    let changes: Result<Vec<Change>, String> = patch.rrsets.into_iter().map(change).collect();
    match changes {
        Err(why) => error(StatusCode::UNPROCESSABLE_ENTITY, why),
        Ok(changes) => match api.names.patch(changes).await {
            Ok(()) => StatusCode::NO_CONTENT.into_response(),
            Err(fault) => error(StatusCode::INTERNAL_SERVER_ERROR, fault.chain()),
        },
    }
}

fn change(set: PatchSet) -> Result<Change, String> {
    let PatchSet { name, kind, .. } = &set;
    let of = format!("RRset {name} IN {kind}");
    if !name.ends_with('.') {
        return Err(format!("{of}: Name is not canonical (not ending with a dot)"));
    }
    if !(name.eq_ignore_ascii_case(ZONE) || name.to_ascii_lowercase().ends_with(&format!(".{ZONE}"))) {
        return Err(format!("{of}: Name is out of zone"));
    }
    match set.changetype.to_ascii_uppercase().as_str() {
        "DELETE" => Ok(Change::Delete { name: set.name, kind: set.kind }),
        "REPLACE" => {
            let Some(ttl) = set.ttl else { return Err(format!("{of}: Key 'ttl' not present or not an Integer")) };
            let contents: Vec<String> =
                set.records.into_iter().filter(|record| !record.disabled).map(|record| record.content).collect();
            for content in &contents {
                let fine = match set.kind.to_ascii_uppercase().as_str() {
                    "A" => matches!(content.parse(), Ok(IpAddr::V4(_))),
                    "AAAA" => matches!(content.parse(), Ok(IpAddr::V6(_))),
                    "CNAME" | "NS" => content.ends_with('.'),
                    _ => true,
                };
                if !fine {
                    return Err(format!("Record {}/{} '{content}': Parsing record content failed", set.name, set.kind));
                }
            }
            if contents.is_empty() {
                return Ok(Change::Delete { name: set.name, kind: set.kind });
            }
            Ok(Change::Replace(RecordSet { name: set.name, kind: set.kind, ttl, contents }))
        }
        _ => Err("Changetype not understood".to_owned()),
    }
}
