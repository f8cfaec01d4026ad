//! The plan a rehearsal world writes for itself, used as a run would use it: every port of it against the real servers.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails like the test itself")]

use cutover::{
    error::FaultKind,
    model::{Digest, Verdict},
    plan::{Plan, ProbeUse},
    ports::{Cursor, Ports, Position, Reading, SetRef},
    rehearsal::{Overrides, Scenario, World},
};
use std::{
    collections::BTreeMap,
    path::Path,
    time::{Duration, Instant},
};

struct Stage {
    world: World,
    plan: Plan,
    ports: Ports,
}

async fn stage(dir: &Path, per_second: f64) -> Stage {
    let overrides =
        Overrides { users: Some(30), files: Some(25), bytes: Some(900), speed: Some(20.0), ..Overrides::default() };
    let mut scenario = Scenario::named("calm").unwrap().with(&overrides).unwrap();
    scenario.traffic.per_second = per_second;
    let world = World::start(scenario, &dir.join("world")).await.unwrap();
    let file = dir.join("cutover.toml");
    std::fs::write(&file, world.plan_text()).unwrap();
    let plan = cutover::plan::load(&file).unwrap_or_else(|problems| panic!("{}", problems.pretty()));
    let ports = cutover::wiring::ports(&plan).unwrap();
    Stage { world, plan, ports }
}

impl Stage {
    /// Measures every probe of this use; none may be missing.
    async fn measure(&self, wanted: ProbeUse, expected: Verdict) {
        let vars = BTreeMap::from([("colour".to_owned(), "green".to_owned())]);
        let probes: Vec<_> = self.plan.probes.iter().filter(|probe| probe.uses.contains(&wanted)).collect();
        assert!(!probes.is_empty(), "{wanted:?}");
        for probe in probes {
            let seen = self.ports.probe(&probe.name).unwrap().measure(&vars).await.unwrap();
            assert_eq!(seen.verdict, expected, "{wanted:?} {}: {}", probe.name, seen.detail);
        }
    }

    async fn turn(&self, switch: &str, to: &str) {
        let port = self.ports.switch(switch).unwrap();
        let to = if to.is_empty() { port.target().unwrap() } else { Position::new(to) };
        port.turn(&to).await.unwrap();
        let begun = Instant::now();
        loop {
            let seen = port.observe().await.unwrap();
            if seen.position.as_ref() == Some(&to) {
                return;
            }
            assert!(begun.elapsed() < Duration::from_secs(20), "{switch}: {seen:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_probe_and_switch_works_in_the_order_of_a_night() {
    let dir = tempfile::tempdir().unwrap();
    let stage = stage(dir.path(), 0.0).await;
    stage.measure(ProbeUse::Staging, Verdict::Pass).await;
    stage.measure(ProbeUse::Legacy, Verdict::Pass).await;
    stage.turn("maintenance", "read-only").await;
    stage.turn("maintenance", "on").await;
    stage.measure(ProbeUse::WriteRefused, Verdict::Fail).await;
    stage.measure(ProbeUse::Legacy, Verdict::Fail).await;
    stage.measure(ProbeUse::Staging, Verdict::Pass).await;
    stage.turn("release", "green").await;
    stage.measure(ProbeUse::Inactive, Verdict::Pass).await;
    stage.turn("deployment", "green").await;
    let before = stage.ports.switch("dns").unwrap().observe().await.unwrap();
    assert_eq!(before.witnesses.len(), 3, "{before:?}");
    stage.turn("dns", "").await;
    stage.measure(ProbeUse::After, Verdict::Pass).await;
    stage.turn("dns", &before.position.unwrap().0).await;
    stage.turn("deployment", "blue").await;
    stage.turn("release", "none").await;
    stage.turn("maintenance", "off").await;
    stage.measure(ProbeUse::Legacy, Verdict::Pass).await;
    stage.world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn records_and_bytes_are_where_the_plan_says() {
    let dir = tempfile::tempdir().unwrap();
    let stage = stage(dir.path(), 0.0).await;
    for dataset in &stage.plan.datasets {
        let set =
            SetRef { name: dataset.from.name.clone(), key: dataset.key.clone(), updated: dataset.updated.clone() };
        let store = stage.ports.store(&dataset.from.store).unwrap();
        let page = store.read(&set, &Cursor::START, 500).await.unwrap();
        assert_eq!(page.total, Some(page.records.len() as u64), "{}", dataset.name);
        let to = SetRef { name: dataset.to.name.clone(), ..set };
        let info = stage.ports.store(&dataset.to.store).unwrap().describe(&to).await.unwrap();
        assert_eq!(info.count, Some(0));
        for record in &page.records {
            let computed = dataset.map.keys().all(|field| info.field(field).is_some());
            assert!(computed && record.0.keys().all(|field| info.field(field).is_some()), "{:?}", info.fields);
        }
        let Some(blob) = &dataset.blob else { continue };
        let bucket = stage.ports.bucket(&blob.from).unwrap();
        for record in &page.records {
            let key = record.text(&blob.path).unwrap();
            let head = bucket.head(&key).await.unwrap().unwrap();
            assert_eq!(record.text("size"), Some(head.size.to_string()));
            let bytes = std::fs::read(stage.world.paths().media.join(&key)).unwrap();
            assert_eq!(record.text("checksum"), Some(Digest::of(&bytes).to_hex()));
        }
        let empty = stage.ports.bucket(&blob.to).unwrap().list("", None, 10).await.unwrap();
        assert!(empty.blobs.is_empty());
    }
    stage.world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn watch_probes_count_what_people_do() {
    let dir = tempfile::tempdir().unwrap();
    let stage = stage(dir.path(), 60.0).await;
    let vars = BTreeMap::new();
    let traffic = stage.ports.probe("live-traffic").unwrap();
    let mut total = 0;
    let begun = Instant::now();
    while total < 40 {
        assert!(begun.elapsed() < Duration::from_secs(30), "only {total} requests");
        let seen = traffic.measure(&vars).await.unwrap();
        let Reading::Requests { total: more, failed, latency } = &seen.readings[0] else { panic!("{seen:?}") };
        assert_eq!(*failed, 0, "{seen:?}");
        assert_eq!(latency.iter().map(|(_, count)| count).sum::<u64>(), *more);
        total += more;
    }
    let door = stage.ports.probe("front-door").unwrap().measure(&vars).await.unwrap();
    assert_eq!(door.verdict, Verdict::Pass, "{}", door.detail);
    stage.world.inject("dns-broken").unwrap();
    let dns = stage.ports.switch("dns").unwrap().observe().await;
    let silent = dns.map(|seen| seen.witnesses.iter().filter(|witness| witness.position.is_none()).count());
    assert!(silent.as_ref().is_ok_and(|silent| *silent >= 1), "{silent:?}");
    stage.world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_credential_is_told_as_one() {
    let dir = tempfile::tempdir().unwrap();
    let stage = stage(dir.path(), 0.0).await;
    let text = stage.world.plan_text().replace(&stage.world.credentials.legacy, "stale");
    let file = dir.path().join("wrong.toml");
    std::fs::write(&file, text.replace(&stage.world.credentials.secret_key, "stale")).unwrap();
    let plan = cutover::plan::load(&file).unwrap_or_else(|problems| panic!("{}", problems.pretty()));
    let ports = cutover::wiring::ports(&plan).unwrap();
    let set = SetRef { name: "/api/migration/users/".into(), key: "id".into(), updated: None };
    let records = ports.store("django").unwrap().describe(&set).await.unwrap_err();
    let blobs = ports.bucket("r2").unwrap().list("", None, 1).await.unwrap_err();
    assert_eq!((records.kind, blobs.kind), (FaultKind::Unauthorized, FaultKind::Unauthorized));
    stage.world.stop().await;
}
