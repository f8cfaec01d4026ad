//! Switches turned and observed for real.

use super::{
    PATIENCE,
    doubles::{Names, PowerDns, closed_port, serve},
    request, token,
};
use axum::{
    Json, Router,
    extract::{Path, State},
    routing::{get, post},
};
use cutover::{
    adapters::switches::{Aim, CommandSwitch, HttpSwitch, PowerDnsSwitch},
    error::FaultKind,
    plan::{DnsRecord, ObservePlan, PowerDnsPlan},
    ports::{Position, Switch, Witness},
};
use serde_json::{Value, json};
use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};
use url::Url;

type Shared = Arc<Mutex<Value>>;

async fn control(mode: Value) -> (Shared, SocketAddr) {
    let state: Shared = Arc::new(Mutex::new(mode));
    let router = Router::new()
        .route(
            "/turn/{to}",
            post(async |State(state): State<Shared>, Path(to): Path<String>| {
                *state.lock().unwrap() = to.into();
            }),
        )
        .route("/status", get(async |State(state): State<Shared>| Json(json!({"mode": *state.lock().unwrap()}))))
        .with_state(state.clone());
    let at = serve(router).await;
    (state, at)
}

fn http_switch(at: SocketAddr, aim: Aim) -> HttpSwitch {
    let turn =
        ["off", "read-only", "on"].map(|to| (to.to_owned(), vec![request("POST", format!("http://{at}/turn/{to}"))]));
    let observe = ObservePlan { request: request("GET", format!("http://{at}/status")), pointer: "/mode".into() };
    HttpSwitch::new("maintenance", aim, &turn, &observe, PATIENCE).unwrap()
}

async fn position(switch: &dyn Switch) -> Option<String> {
    switch.observe().await.unwrap().position.map(|position| position.0)
}

#[tokio::test]
async fn an_http_switch_is_turned_and_observed() {
    let (state, at) = control("off".into()).await;
    let switch = http_switch(at, Aim::Severest);
    assert_eq!(switch.target(), Some(Position::new("on")));
    assert_eq!(switch.positions(), ["off", "read-only", "on"].map(Position::new));
    assert_eq!(http_switch(at, Aim::Relative).target(), None);
    for to in ["read-only", "on", "on", "off"] {
        switch.turn(&Position::new(to)).await.unwrap();
        assert_eq!(position(&switch).await.as_deref(), Some(to));
    }
    for (said, stands) in [(json!(true), "on"), (json!(false), "off"), (json!("blue"), "blue")] {
        *state.lock().unwrap() = said;
        assert_eq!(position(&switch).await.as_deref(), Some(stands));
    }
    for said in [json!(null), json!(3), json!({"a": 1})] {
        *state.lock().unwrap() = said;
        assert_eq!(switch.observe().await.unwrap_err().kind, FaultKind::Garbage);
    }
    assert_eq!(switch.turn(&Position::new("sideways")).await.unwrap_err().kind, FaultKind::Refused);
    let gone = http_switch(closed_port().await, Aim::Severest);
    assert_eq!(gone.observe().await.unwrap_err().kind, FaultKind::Unreachable);
    assert_eq!(gone.turn(&Position::new("on")).await.unwrap_err().kind, FaultKind::Unreachable);
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(ToString::to_string).collect()
}

fn command_switch(observe: &str, turn: &str, timeout: Duration) -> CommandSwitch {
    let turn = ["blue", "green"].map(|to| (to.to_owned(), words(&["sh", "-c", turn, "turn", to])));
    CommandSwitch::new("deployment", Aim::Relative, &turn, &words(&["sh", "-c", observe]), timeout)
}

#[tokio::test]
async fn a_command_switch_is_turned_and_observed() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("active").display().to_string();
    let switch = command_switch(&format!("cat '{file}'"), &format!("echo \"  $1 \" > '{file}'"), PATIENCE);
    assert_eq!(switch.target(), None);
    for to in ["blue", "green"] {
        switch.turn(&Position::new(to)).await.unwrap();
        assert_eq!(position(&switch).await.as_deref(), Some(to));
    }
    let failing = command_switch("echo red >&2; exit 3", "exit 1", PATIENCE);
    let fault = failing.observe().await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Refused);
    assert!(fault.chain().contains("exit code 3: red"), "{}", fault.chain());
    assert_eq!(command_switch("true", "true", PATIENCE).observe().await.unwrap_err().kind, FaultKind::Garbage);
    let missing = CommandSwitch::new("x", Aim::Relative, &[], &words(&["/no/such/program"]), PATIENCE);
    assert_eq!(missing.observe().await.unwrap_err().kind, FaultKind::NotFound);
}

#[tokio::test]
async fn a_program_that_takes_too_long_is_killed_with_its_children() {
    let folder = tempfile::tempdir().unwrap();
    let pid = folder.path().join("pid");
    let script = format!("sleep 600 & echo $! > '{}'; wait", pid.display());
    let switch = command_switch(&script, "true", Duration::from_secs(2));
    let began = Instant::now();
    assert_eq!(switch.observe().await.unwrap_err().kind, FaultKind::Timeout);
    assert!(began.elapsed() < PATIENCE);
    let child = std::fs::read_to_string(&pid).unwrap();
    let stat = format!("/proc/{}/stat", child.trim());
    // Killed: gone, or waiting for its parent to notice.
    while std::fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z")) {
        assert!(began.elapsed() < PATIENCE, "the child goes on");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_program_that_leaves_a_child_behind_is_not_waited_for() {
    let switch = command_switch("echo blue; sleep 40 &", "true", PATIENCE);
    let began = Instant::now();
    assert_eq!(position(&switch).await.as_deref(), Some("blue"));
    assert!(began.elapsed() < PATIENCE);
}

struct Zone {
    api: PowerDns,
    names: Names,
    slow: Names,
    plan: PowerDnsPlan,
}

const API: &str = "api.list-cutter.test";

impl Zone {
    async fn start() -> Self {
        let (api, endpoint) = PowerDns::start().await;
        let (names, slow) = (Names::start().await, Names::start().await);
        let plan = PowerDnsPlan {
            endpoint,
            api_key: PowerDns::KEY.into(),
            server: "localhost".into(),
            zone: "list-cutter.test".into(),
            records: vec![DnsRecord {
                name: API.into(),
                kind: "A".into(),
                value: "127.0.0.2".into(),
                ttl: Duration::from_secs(30),
            }],
            resolvers: vec![names.at, slow.at],
            guard: 0.3,
            timeout: Duration::from_secs(2),
            propagation: PATIENCE,
        };
        let zone = Self { api, names, slow, plan };
        zone.api.set("list-cutter.test.", "SOA", 60, &["ns. root. 1 2 3 4 5"]);
        zone.api.set("api.list-cutter.test.", "A", 300, &["127.0.0.3"]);
        zone.names.point(API, &["127.0.0.3"]);
        zone.slow.point(API, &["127.0.0.3"]);
        zone
    }

    fn switch(&self) -> PowerDnsSwitch {
        PowerDnsSwitch::new(&self.plan).unwrap()
    }
}

fn witness(who: &(impl ToString + ?Sized), position: &str) -> Witness {
    Witness { who: who.to_string(), position: Some(Position::new(position)) }
}

#[tokio::test]
async fn dns_moves_once_every_resolver_says_so() {
    let zone = Zone::start().await;
    let switch = zone.switch();
    let (old, new) = (format!("{API} A 300 127.0.0.3"), format!("{API} A 30 127.0.0.2"));
    assert_eq!(switch.target(), Some(Position::new(&new)));
    let before = switch.observe().await.unwrap();
    assert_eq!(before.position, Some(Position::new(&old)), "{:?}", before.witnesses);
    assert_eq!(before.witnesses[0], witness("api", &old));
    assert_eq!(before.witnesses[1], witness(&zone.names.at, &old), "comparable although it knows no time to live");

    switch.turn(&Position::new(&new)).await.unwrap();
    zone.names.point(API, &["127.0.0.2"]);
    let halfway = switch.observe().await.unwrap();
    assert_eq!(halfway.position, None, "one resolver still gives the old value");
    let lagging = witness(&zone.slow.at, &format!("{API} A ? 127.0.0.3"));
    assert_eq!(halfway.witnesses, [witness("api", &new), witness(&zone.names.at, &new), lagging]);
    zone.slow.point(API, &["127.0.0.2"]);
    assert_eq!(position(&switch).await, Some(new.clone()));

    switch.turn(&Position::new(&new)).await.unwrap();
    assert_eq!(zone.api.patches.lock().unwrap().len(), 1, "nothing to change, nothing sent");
    switch.turn(&Position::new(&old)).await.unwrap();
    zone.names.point(API, &["127.0.0.3"]);
    zone.slow.point(API, &["127.0.0.3"]);
    assert_eq!(position(&switch).await, Some(old), "back, with the old time to live");
}

#[tokio::test]
async fn a_record_set_that_was_not_there_is_taken_away_again() {
    let zone = Zone::start().await;
    zone.api.sets.lock().unwrap().remove(1);
    zone.names.point(API, &[]);
    let switch = PowerDnsSwitch::new(&PowerDnsPlan { resolvers: vec![zone.names.at], ..zone.plan.clone() }).unwrap();
    let none = format!("{API} A none");
    assert_eq!(position(&switch).await, Some(none.clone()));
    switch.turn(&switch.target().unwrap()).await.unwrap();
    assert_eq!(zone.api.sets.lock().unwrap().len(), 2);
    switch.turn(&Position::new(&none)).await.unwrap();
    assert_eq!(zone.api.sets.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn a_silent_api_or_resolver_is_a_witness_without_a_word() {
    let zone = Zone::start().await;
    let dead = closed_port().await;
    let endpoint = Url::parse(&format!("http://{dead}")).unwrap();
    let switch = PowerDnsSwitch::new(&PowerDnsPlan { endpoint: endpoint.clone(), ..zone.plan.clone() }).unwrap();
    let seen = switch.observe().await.unwrap();
    assert_eq!(seen.witnesses[0], Witness { who: "api".into(), position: None });
    assert_eq!(seen.position, Some(Position::new(format!("{API} A ? 127.0.0.3"))));

    let switch =
        PowerDnsSwitch::new(&PowerDnsPlan { resolvers: vec![zone.names.at, dead], ..zone.plan.clone() }).unwrap();
    let seen = switch.observe().await.unwrap();
    assert_eq!(seen.witnesses[2], Witness { who: dead.to_string(), position: None });
    assert!(seen.position.is_some(), "those that answered agree");

    let nobody = PowerDnsPlan { endpoint, resolvers: vec![dead], ..zone.plan.clone() };
    assert_eq!(PowerDnsSwitch::new(&nobody).unwrap().observe().await.unwrap_err().kind, FaultKind::Unreachable);
}

#[tokio::test]
async fn the_guard_and_strange_positions_are_refused() {
    let mut zone = Zone::start().await;
    for n in 0..10 {
        zone.api.set(&format!("h{n}.list-cutter.test."), "A", 60, &["127.0.1.1"]);
    }
    zone.plan.records = (0..4)
        .map(|n| DnsRecord {
            name: format!("h{n}.list-cutter.test"),
            kind: "A".into(),
            value: "127.0.0.2".into(),
            ttl: Duration::from_secs(30),
        })
        .collect();
    let switch = zone.switch();
    let fault = switch.turn(&switch.target().unwrap()).await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Refused);
    assert!(fault.chain().contains("4 of 12 record sets"), "{}", fault.chain());
    zone.plan.guard = 0.5;
    zone.switch().turn(&switch.target().unwrap()).await.unwrap();
    for strange in ["", "x", "mail.list-cutter.test A 30 127.0.0.2", "h0.list-cutter.test A 30 127.0.0.2"] {
        assert_eq!(switch.turn(&Position::new(strange)).await.unwrap_err().kind, FaultKind::Refused, "{strange}");
    }
}

#[tokio::test]
async fn a_wrong_dns_key_is_unauthorized_and_never_shown() {
    let zone = Zone::start().await;
    let plan = PowerDnsPlan { api_key: "wrong-key-here".into(), resolvers: Vec::new(), ..zone.plan.clone() };
    let switch = PowerDnsSwitch::new(&plan).unwrap();
    let fault = switch.observe().await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Unauthorized);
    assert!(!fault.chain().contains("wrong-key-here"));
    assert!(!format!("{switch:?}").contains("wrong-key-here"));
}

#[tokio::test]
async fn credentials_go_with_every_request_of_a_switch() {
    let router = Router::new().route(
        "/status",
        get(async |headers: axum::http::HeaderMap| {
            let given =
                headers.get("authorization").and_then(|value| value.to_str().ok()).unwrap_or("nobody").to_owned();
            Json(json!({ "mode": given }))
        }),
    );
    let at = serve(router).await;
    let mut asked = request("GET", format!("http://{at}/status"));
    asked.auth = token("abc");
    let observe = ObservePlan { request: asked, pointer: "/mode".into() };
    let switch = HttpSwitch::new("maintenance", Aim::Severest, &[], &observe, PATIENCE).unwrap();
    assert_eq!(position(&switch).await.as_deref(), Some("Token abc"));
}
