//! The part of PowerDNS's API that changes a zone.

use super::serve;
use axum::{
    Json, Router,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::get,
};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use url::Url;

#[derive(Clone, Default)]
pub(crate) struct PowerDns {
    pub(crate) sets: Arc<Mutex<Vec<Value>>>,
    pub(crate) patches: Arc<Mutex<Vec<Value>>>,
}

impl PowerDns {
    pub(crate) const KEY: &str = "pdns-key";

    pub(crate) async fn start() -> (Self, Url) {
        let double = Self::default();
        let zone = "/api/v1/servers/localhost/zones/list-cutter.test.";
        let router = Router::new().route(zone, get(read).patch(change)).with_state(double.clone());
        let at = serve(router).await;
        (double, Url::parse(&format!("http://{at}")).unwrap())
    }

    pub(crate) fn set(&self, name: &str, kind: &str, ttl: u32, values: &[&str]) {
        let records: Vec<Value> = values.iter().map(|v| json!({"content": v, "disabled": false})).collect();
        self.replace(json!({"name": name, "type": kind, "ttl": ttl, "records": records}));
    }

    fn replace(&self, set: Value) {
        let mut sets = self.sets.lock().unwrap();
        sets.retain(|old| (&old["name"], &old["type"]) != (&set["name"], &set["type"]));
        sets.push(set);
    }
}

fn refused(headers: &HeaderMap) -> Option<Response> {
    let right = headers.get("x-api-key").is_some_and(|key| key == PowerDns::KEY);
    (!right).then(|| (StatusCode::UNAUTHORIZED, "Unauthorized").into_response())
}

async fn read(State(double): State<PowerDns>, headers: HeaderMap) -> Response {
    refused(&headers).unwrap_or_else(|| {
        Json(json!({"name": "list-cutter.test.", "rrsets": *double.sets.lock().unwrap()})).into_response()
    })
}

async fn change(State(double): State<PowerDns>, headers: HeaderMap, Json(body): Json<Value>) -> Response {
    if let Some(refused) = refused(&headers) {
        return refused;
    }
    for set in body["rrsets"].as_array().unwrap() {
        match set["changetype"].as_str().unwrap() {
            "REPLACE" => {
                let mut set = set.clone();
                set.as_object_mut().unwrap().remove("changetype");
                double.replace(set);
            }
            "DELETE" => {
                double.sets.lock().unwrap().retain(|old| (&old["name"], &old["type"]) != (&set["name"], &set["type"]));
            }
            other => return (StatusCode::UNPROCESSABLE_ENTITY, format!("changetype {other}")).into_response(),
        }
    }
    double.patches.lock().unwrap().push(body);
    StatusCode::NO_CONTENT.into_response()
}
