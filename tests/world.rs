//! The rehearsal world, asked by clients that share no code with it: reqwest, the AWS SDK, hickory's resolver, sqlx.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails like the test itself")]

use cutover::rehearsal::{Overrides, Scenario, World};
use hickory_resolver::{
    TokioResolver,
    config::{ConnectionConfig, NameServerConfig, ResolverConfig},
    net::runtime::TokioRuntimeProvider,
};
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use sqlx::{AssertSqlSafe, Connection, Row, SqliteConnection};
use std::{
    net::{IpAddr, SocketAddr},
    path::Path,
    time::{Duration, Instant},
};

/// A small quiet world: no traffic unless a test wants some.
fn small(name: &str, per_second: f64) -> Scenario {
    let overrides =
        Overrides { users: Some(9), files: Some(16), bytes: Some(600), speed: Some(20.0), ..Overrides::default() };
    let mut scenario = Scenario::named(name).unwrap().with(&overrides).unwrap();
    scenario.size.filters = 7;
    scenario.traffic.per_second = per_second;
    scenario
}

async fn quiet(dir: &Path) -> World {
    World::start(small("calm", 0.0), dir).await.unwrap()
}

fn client() -> Client {
    Client::builder().no_proxy().timeout(Duration::from_secs(10)).build().unwrap()
}

fn token(world: &World) -> String {
    format!("Token {}", world.credentials.legacy)
}

/// Asks until the answer is the wanted one; fails with what was seen last.
async fn until<T: std::fmt::Debug>(what: &str, mut ask: impl AsyncFnMut() -> (bool, T)) -> T {
    let begun = Instant::now();
    loop {
        let (enough, seen) = ask().await;
        if enough {
            return seen;
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "{what}: still {seen:?}");
        tokio::task::yield_now().await;
    }
}

async fn get(world: &World, url: &str) -> (StatusCode, Value) {
    let answer = client().get(url).header("authorization", token(world)).send().await.unwrap();
    (answer.status(), answer.json().await.unwrap_or(Value::Null))
}

async fn post(world: &World, url: &str, body: Value) -> (StatusCode, Value) {
    let answer = client().post(url).header("authorization", token(world)).json(&body).send().await.unwrap();
    (answer.status(), answer.json().await.unwrap_or(Value::Null))
}

async fn register(base: &str, name: &str) -> (StatusCode, Value) {
    let body = json!({ "username": name, "password": "pw", "email": "Some@Example.ORG", "first_name": "A" });
    let answer = client().post(format!("{base}/api/register")).json(&body).send().await.unwrap();
    (answer.status(), answer.json().await.unwrap())
}

fn resolver(address: SocketAddr) -> TokioResolver {
    let mut connection = ConnectionConfig::udp();
    connection.port = address.port();
    let server = NameServerConfig::new(address.ip(), true, vec![connection]);
    let config = ResolverConfig::from_parts(None, Vec::new(), vec![server]);
    let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
    builder.options_mut().cache_size = 0;
    builder.build().unwrap()
}

async fn address(resolver: &TokioResolver) -> String {
    let found = resolver.lookup_ip("api.list-cutter.test.").await.unwrap();
    found.iter().map(|ip: IpAddr| ip.to_string()).collect::<Vec<_>>().join(",")
}

fn s3(world: &World, secret: &str) -> aws_sdk_s3::Client {
    use aws_sdk_s3::config::{Credentials, Region};
    let config = aws_sdk_s3::Config::builder()
        .behavior_version_latest()
        .endpoint_url(format!("http://{}", world.addresses.objects))
        .region(Region::new("auto"))
        .credentials_provider(Credentials::new(&world.credentials.access_key, secret, None, None, "test"))
        .force_path_style(true)
        // The SDK's own client would ask the environment's proxy for a server on this machine.
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .build();
    aws_sdk_s3::Client::from_conf(config)
}

async fn open(path: &Path) -> SqliteConnection {
    SqliteConnection::connect(&format!("sqlite://{}", path.display())).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_extraction_endpoints_give_every_row_once() {
    let dir = tempfile::tempdir().unwrap();
    let world = quiet(dir.path()).await;
    let base = format!("http://{}/api/migration", world.addresses.legacy);
    let mut url = format!("{base}/files/?page=1&page_size=5");
    let mut seen = Vec::new();
    loop {
        let (status, page) = get(&world, &url).await;
        assert_eq!(status, StatusCode::OK);
        assert_eq!(page["count"], 16);
        seen.extend(page["results"].as_array().unwrap().iter().map(|row| row["id"].as_i64().unwrap()));
        match page["next"].as_str() {
            Some(next) => next.clone_into(&mut url),
            None => break,
        }
    }
    assert_eq!(seen, (1..=16).collect::<Vec<_>>());
    assert_eq!(get(&world, &format!("{base}/files/?page=5&page_size=5")).await.0, StatusCode::NOT_FOUND);
    assert_eq!(get(&world, &format!("{base}/invoices/")).await.0, StatusCode::NOT_FOUND);
    let (_, some) = get(&world, &format!("{base}/users/?ids=2,5,77")).await;
    assert_eq!(some["count"], 2);
    let (_, none) = get(&world, &format!("{base}/users/?updated_since=2031-01-01T00:00:00Z")).await;
    assert_eq!((&none["count"], &none["results"]), (&json!(0), &json!([])));
    let (_, filters) = get(&world, &format!("{base}/filters/")).await;
    assert!(filters["results"][0]["definition"].is_object());
    let naked = client().get(format!("{base}/users/")).send().await.unwrap();
    assert_eq!(naked.status(), StatusCode::UNAUTHORIZED);
    assert!(naked.headers().contains_key("date"));
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bulk_writes_say_what_became_of_each_and_can_be_repeated() {
    let dir = tempfile::tempdir().unwrap();
    let world = quiet(dir.path()).await;
    let base = format!("http://{}/api/migration/users", world.addresses.legacy);
    let records = json!({ "records": [
        { "id": 2, "last_name": "Changed" },
        { "id": 500, "username": "carried", "email": "c@example.org" },
        { "id": 501, "username": "carried" },
        { "id": 502, "shoe_size": 44 },
    ]});
    let send = async || {
        let request = client().post(format!("{base}/bulk/")).header("authorization", token(&world));
        let answer = request.header("idempotency-key", "once").json(&records).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        answer.json::<Value>().await.unwrap()
    };
    let first = send().await;
    let words: Vec<&str> =
        first["results"].as_array().unwrap().iter().map(|result| result["status"].as_str().unwrap()).collect();
    assert_eq!(words, ["updated", "created", "rejected", "rejected"]);
    assert_eq!(send().await, first);
    let (_, found) = get(&world, &format!("{base}/?ids=2,500,501,502")).await;
    assert_eq!(found["count"], 2);
    assert_eq!(found["results"][0]["last_name"], "Changed");
    assert_ne!(found["results"][0]["email"], "");
    let (_, deleted) = post(&world, &format!("{base}/delete/"), json!({ "keys": [500, "501", 9999] })).await;
    assert_eq!(deleted["deleted"], 1);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn maintenance_refuses_users_and_nobody_else() {
    let dir = tempfile::tempdir().unwrap();
    let world = quiet(dir.path()).await;
    let base = format!("http://{}", world.addresses.legacy);
    assert_eq!(register(&base, "early").await.0, StatusCode::CREATED);
    for (turn, mode) in [("read-only", "read-only"), ("enable", "on")] {
        let (status, _) = post(&world, &format!("{base}/admin/maintenance/{turn}"), Value::Null).await;
        assert_eq!(status, StatusCode::OK);
        let (_, seen) = get(&world, &format!("{base}/admin/maintenance/status")).await;
        assert_eq!(seen["mode"], mode);
        let (status, body) = register(&base, &format!("late-{turn}")).await;
        assert_eq!((status, &body["maintenance"]), (StatusCode::SERVICE_UNAVAILABLE, &json!(true)));
    }
    let rows = json!({ "records": [{ "id": 1, "last_name": "x" }] });
    assert_eq!(post(&world, &format!("{base}/api/migration/users/bulk/"), rows).await.0, StatusCode::OK);
    assert_eq!(get(&world, &format!("{base}/health")).await.0, StatusCode::OK);
    let naked = client().post(format!("{base}/admin/maintenance/disable")).send().await.unwrap();
    assert_eq!(naked.status(), StatusCode::UNAUTHORIZED);
    post(&world, &format!("{base}/admin/maintenance/disable"), Value::Null).await;
    assert_eq!(register(&base, "later").await.0, StatusCode::CREATED);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn once_the_maintenance_answers_no_write_can_still_succeed() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::start(small("calm", 60.0), dir.path()).await.unwrap();
    let base = format!("http://{}", world.addresses.legacy);
    let mut db = open(&world.paths().legacy_db).await;
    let mut users =
        async || -> i64 { sqlx::query_scalar("SELECT COUNT(*) FROM users").fetch_one(&mut db).await.unwrap() };
    for round in 0..5 {
        let writers: Vec<_> = (0..12)
            .map(|n| {
                let (base, name) = (base.clone(), format!("racer-{round}-{n}"));
                tokio::spawn(async move { register(&base, &name).await.0 })
            })
            .collect();
        post(&world, &format!("{base}/admin/maintenance/enable"), Value::Null).await;
        let frozen = users().await;
        for writer in writers {
            let status = writer.await.unwrap();
            assert!(matches!(status, StatusCode::CREATED | StatusCode::SERVICE_UNAVAILABLE), "{status}");
        }
        assert_eq!(users().await, frozen, "round {round}");
        post(&world, &format!("{base}/admin/maintenance/disable"), Value::Null).await;
    }
    world.stop().await;
}

/// Register, upload, download, filter, leave.
async fn journey(base: &str, name: &str) {
    let (status, body) = register(base, name).await;
    assert_eq!(status, StatusCode::CREATED, "{base}: {body}");
    let auth = format!("Token {}", body["token"].as_str().unwrap());
    let content = "name,city\nAda,London\nBob,Paris\n";
    let part = reqwest::multipart::Part::text(content).file_name("we ird #1 é.csv").mime_str("text/csv").unwrap();
    let form = reqwest::multipart::Form::new().part("file", part);
    let request = client().post(format!("{base}/api/files")).header("authorization", &auth);
    let uploaded = request.multipart(form).send().await.unwrap();
    let status = uploaded.status();
    let file: Value = uploaded.json().await.unwrap();
    assert_eq!(status, StatusCode::CREATED, "{file}");
    assert_eq!((&file["file_name"], &file["size"]), (&json!("we ird #1 é.csv"), &json!(content.len())));
    assert_eq!(file["checksum"], hex::encode(Sha256::digest(content)));
    let read = async |path: String| {
        let answer = client().get(format!("{base}{path}")).header("authorization", &auth).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        answer.text().await.unwrap()
    };
    assert_eq!(read(format!("/api/files/{}/content", file["id"])).await, content);
    let lines: Value = read(format!("/api/filters?file={}&contains=Paris", file["id"])).await.parse().unwrap();
    assert_eq!(lines["lines"], json!(["Bob,Paris"]));
    let left = client().delete(format!("{base}/api/me")).header("authorization", &auth).send().await.unwrap();
    assert_eq!(left.status(), StatusCode::NO_CONTENT);
}

#[tokio::test(flavor = "multi_thread")]
async fn both_apps_serve_the_same_journey_and_the_new_one_only_where_it_was_released() {
    let dir = tempfile::tempdir().unwrap();
    let world = quiet(dir.path()).await;
    journey(&format!("http://{}", world.addresses.legacy), "anna").await;
    let edge = format!("http://{}", world.addresses.edge);
    let control = format!("http://{}/control", world.addresses.control);
    let turn = async |path: &str| {
        let request = client().post(format!("{control}/{path}"));
        let answer = request.header("authorization", format!("Bearer {}", world.credentials.control)).send().await;
        let answer = answer.unwrap();
        (answer.status(), answer.json::<Value>().await.unwrap())
    };
    assert_eq!(register(&edge, "too-early").await.0, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(get(&world, &format!("{edge}/__colour/green/health")).await.0, StatusCode::NOT_FOUND);
    assert_eq!(turn("release/green").await.1, json!({ "active": "blue", "release": "green" }));
    assert_eq!(get(&world, &format!("{edge}/__colour/blue/health")).await.0, StatusCode::NOT_FOUND);
    assert_eq!(get(&world, &format!("{edge}/health")).await.1["colour"], "blue");
    journey(&format!("{edge}/__colour/green"), "berta").await;
    assert_eq!(register(&edge, "still-too-early").await.0, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(turn("activate/green").await.0, StatusCode::OK);
    assert_eq!(get(&world, &format!("{edge}/health")).await.1["colour"], "green");
    journey(&edge, "cäcilie").await;
    assert_eq!(turn("activate/purple").await.0, StatusCode::NOT_FOUND);
    assert_eq!(turn("activate/blue").await.0, StatusCode::OK);
    assert_eq!(register(&edge, "too-late").await.0, StatusCode::SERVICE_UNAVAILABLE);
    let naked = client().get(format!("{control}/status")).send().await.unwrap();
    assert_eq!(naked.status(), StatusCode::UNAUTHORIZED);
    let mut db = open(&world.paths().new_db).await;
    let users: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM users").fetch_one(&mut db).await.unwrap();
    assert_eq!(users, 0, "journeys leave nothing behind");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_object_store_takes_any_key_and_only_the_right_credential() {
    let dir = tempfile::tempdir().unwrap();
    let world = quiet(dir.path()).await;
    let client = s3(&world, &world.credentials.secret_key);
    let key = "users/1/2/50% #1?a=b&c=d+e 'é' \"q\".csv";
    let body = aws_sdk_s3::primitives::ByteStream::from_static(b"hello");
    client.put_object().bucket("list-cutter").key(key).body(body).send().await.unwrap();
    assert_eq!(std::fs::read(world.paths().bucket.join(key)).unwrap(), b"hello");
    let listed = client.list_objects_v2().bucket("list-cutter").prefix("users/1/").send().await.unwrap();
    assert_eq!(listed.contents()[0].key(), Some(key));
    let got = client.get_object().bucket("list-cutter").key(key).send().await.unwrap();
    assert_eq!(got.body.collect().await.unwrap().into_bytes().as_ref(), b"hello");
    let stranger = s3(&world, "wrong");
    assert!(stranger.list_objects_v2().bucket("list-cutter").send().await.is_err());
    world.stop().await;
}

async fn patch_zone(world: &World, key: &str, ip: &str) -> (StatusCode, String) {
    let url = format!("http://{}/api/v1/servers/localhost/zones/list-cutter.test.", world.addresses.names_api);
    let body = json!({ "rrsets": [{ "name": "api.list-cutter.test.", "type": "A", "ttl": 5, "changetype": "REPLACE",
        "records": [{ "content": ip, "disabled": false }] }] });
    let answer = client().patch(url).header("x-api-key", key).json(&body).send().await.unwrap();
    (answer.status(), answer.text().await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_zone_changes_over_its_api_and_both_resolvers_follow() {
    let dir = tempfile::tempdir().unwrap();
    let world = quiet(dir.path()).await;
    let key = &world.credentials.names;
    let (quick, slow) = (resolver(world.addresses.resolver), resolver(world.addresses.slow_resolver));
    assert_eq!((address(&quick).await, address(&slow).await), ("127.0.0.1".into(), "127.0.0.1".into()));
    assert_eq!(patch_zone(&world, "wrong", "127.0.0.2").await.0, StatusCode::UNAUTHORIZED);
    let (status, text) = patch_zone(&world, key, "not an address").await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(text.contains("\"error\""), "{text}");
    assert_eq!(patch_zone(&world, key, "127.0.0.2").await.0, StatusCode::NO_CONTENT);
    assert_eq!(address(&quick).await, "127.0.0.2");
    until("the slow resolver", async || {
        let seen = address(&slow).await;
        (seen == "127.0.0.2", seen)
    })
    .await;
    let url = format!("http://{}/api/v1/servers/localhost/zones/list-cutter.test", world.addresses.names_api);
    let zone: Value = client().get(url).header("x-api-key", key).send().await.unwrap().json().await.unwrap();
    assert!(zone["rrsets"].as_array().unwrap().len() >= 10);
    assert!(quick.lookup_ip("nobody.list-cutter.test.").await.is_err());
    world.stop().await;
}

/// Every row of the legacy database and every byte of the media, as one digest.
async fn fingerprint(world: &World) -> String {
    let paths = world.paths();
    let mut db = open(&paths.legacy_db).await;
    let mut hash = Sha256::new();
    for table in ["users", "files", "filters"] {
        let sql = AssertSqlSafe(format!("SELECT name FROM pragma_table_info('{table}')"));
        let columns: Vec<String> = sqlx::query_scalar(sql).fetch_all(&mut db).await.unwrap();
        let sql = AssertSqlSafe(format!("SELECT json_array({}) FROM {table} ORDER BY id", columns.join(",")));
        let rows: Vec<String> = sqlx::query_scalar(sql).fetch_all(&mut db).await.unwrap();
        assert!(!rows.is_empty());
        for row in &rows {
            hash.update(row);
        }
    }
    let sql = "SELECT file_path, size, checksum FROM files ORDER BY id";
    for row in sqlx::query(sql).fetch_all(&mut db).await.unwrap() {
        let bytes = std::fs::read(paths.media.join(row.get::<String, _>(0))).unwrap();
        assert_eq!(i64::try_from(bytes.len()).unwrap(), row.get::<i64, _>(1));
        assert_eq!(hex::encode(Sha256::digest(&bytes)), row.get::<String, _>(2));
        hash.update(&bytes);
    }
    hex::encode(hash.finalize())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_seed_decides_the_data() {
    let mut prints = Vec::new();
    for seed in [1, 1, 2] {
        let dir = tempfile::tempdir().unwrap();
        let scenario = small("calm", 0.0).with(&Overrides { seed: Some(seed), ..Overrides::default() }).unwrap();
        let world = World::start(scenario, dir.path()).await.unwrap();
        prints.push(fingerprint(&world).await);
        world.stop().await;
    }
    assert_eq!(prints[0], prints[1]);
    assert_ne!(prints[0], prints[2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_world_is_opened_again_where_it_stood() {
    let dir = tempfile::tempdir().unwrap();
    let world = quiet(dir.path()).await;
    let (addresses, plan, before) = (world.addresses, world.plan_text(), fingerprint(&world).await);
    let base = format!("http://{}", addresses.legacy);
    post(&world, &format!("{base}/admin/maintenance/enable"), Value::Null).await;
    patch_zone(&world, &world.credentials.names, "127.0.0.2").await;
    assert_eq!(address(&resolver(addresses.resolver)).await, "127.0.0.2");
    let request = client().post(format!("http://{}/control/release/green", addresses.control));
    request.header("authorization", format!("Bearer {}", world.credentials.control)).send().await.unwrap();
    world.stop().await;

    let world = World::start(small("flaky", 0.0), dir.path()).await.unwrap();
    assert_eq!((world.addresses, world.plan_text()), (addresses, plan));
    assert_eq!(fingerprint(&world).await, before);
    assert_eq!(get(&world, &format!("{base}/admin/maintenance/status")).await.1["mode"], "on");
    assert_eq!(address(&resolver(addresses.resolver)).await, "127.0.0.2");
    assert_eq!(get(&world, &format!("http://{}/__colour/green/health", addresses.edge)).await.0, StatusCode::OK);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_scenario_gets_a_plan_without_mistakes() {
    for name in Scenario::names() {
        let dir = tempfile::tempdir().unwrap();
        let world = World::start(small(name, 0.0), dir.path()).await.unwrap();
        let file = dir.path().join("cutover.toml");
        std::fs::write(&file, world.plan_text()).unwrap();
        let plan = cutover::plan::load(&file).unwrap_or_else(|problems| panic!("{name}: {}", problems.pretty()));
        assert_eq!((plan.datasets.len(), plan.rules.len()), (3, 3));
        assert!(
            plan.maintenance.is_some() && plan.release.is_some() && plan.deployment.is_some() && plan.dns.is_some()
        );
        world.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_with_other_data_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("legacy.db"), "precious").unwrap();
    let fault = World::start(small("calm", 0.0), dir.path()).await.err().unwrap();
    assert_eq!(fault.kind, cutover::error::FaultKind::Refused);
    assert_eq!(std::fs::read(dir.path().join("legacy.db")).unwrap(), b"precious");
}

#[tokio::test(flavor = "multi_thread")]
async fn people_come_write_and_are_counted_and_move_with_the_name() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::start(small("calm", 60.0), dir.path()).await.unwrap();
    let url = format!("http://{}/metrics.json", world.addresses.ops);
    let asking = client();
    let metrics = async || asking.get(&url).send().await.unwrap().json::<Value>().await.unwrap();
    let seen = until("live traffic", async || {
        let seen = metrics().await;
        (seen["requests"].as_u64() > Some(60) && seen["acknowledged"].as_u64() > Some(5), seen)
    })
    .await;
    assert_eq!(seen["failed"], 0, "{seen}");
    let spread: u64 = seen["latency"].as_array().unwrap().iter().map(|bucket| bucket[1].as_u64().unwrap()).sum();
    assert_eq!(spread, seen["requests"].as_u64().unwrap());
    let mut db = open(&world.paths().legacy_db).await;
    for write in world.acknowledged() {
        let sql = match write.what.as_str() {
            "user" => "SELECT COUNT(*) FROM users WHERE id = $1 AND username = $2",
            "file" => "SELECT COUNT(*) FROM files WHERE id = $1 AND file_name = $2",
            _ => "SELECT COUNT(*) FROM filters WHERE id = $1 AND name = $2",
        };
        let count: i64 = sqlx::query_scalar(sql).bind(write.id).bind(&write.name).fetch_one(&mut db).await.unwrap();
        assert_eq!(count, 1, "{write:?}");
    }
    let enable = format!("http://{}/admin/maintenance/enable", world.addresses.legacy);
    post(&world, &enable, Value::Null).await;
    let seen = until("a refused write", async || {
        let seen = metrics().await;
        (seen["refused"].as_u64() > Some(2), seen)
    })
    .await;
    assert_eq!(seen["failed"], 0, "{seen}");
    patch_zone(&world, &world.credentials.names, "127.0.0.2").await;
    until("people on the new side", async || {
        let seen = metrics().await;
        (seen["new"]["requests"].as_u64() > Some(10), seen)
    })
    .await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_injected_fault_strikes_until_it_is_mended() {
    let dir = tempfile::tempdir().unwrap();
    let world = quiet(dir.path()).await;
    let url = format!("http://{}/health", world.addresses.legacy);
    assert!(world.inject("no such thing").is_err());
    world.inject("legacy-down").unwrap();
    assert_eq!(get(&world, &url).await.0, StatusCode::INTERNAL_SERVER_ERROR);
    world.mend("legacy-down").unwrap();
    assert_eq!(get(&world, &url).await.0, StatusCode::OK);
    assert!(world.faults().iter().any(|fault| fault.name == "legacy-down" && fault.struck == 1));
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn conflicts_are_made_on_the_rows_that_were_copied() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::start(small("conflicts", 0.0), dir.path()).await.unwrap();
    let (mut legacy, mut new) = (open(&world.paths().legacy_db).await, open(&world.paths().new_db).await);
    let last = async |db: &mut SqliteConnection| -> String {
        sqlx::query_scalar("SELECT last_name FROM users WHERE id = 1").fetch_one(db).await.unwrap()
    };
    let before = last(&mut legacy).await;
    let enable = format!("http://{}/admin/maintenance/enable", world.addresses.legacy);
    post(&world, &enable, Value::Null).await;
    let attach = format!("ATTACH '{}' AS old", world.paths().legacy_db.display());
    sqlx::query(AssertSqlSafe(attach)).execute(&mut new).await.unwrap();
    assert_eq!(last(&mut legacy).await, before, "nothing is touched before it was copied");
    for sql in [
        "INSERT INTO users (id, username, created_at, updated_at)
         SELECT id, username, created_at, updated_at FROM old.users",
        "INSERT INTO filters (id, user_id, name, created_at, updated_at)
         SELECT id, user_id, name, created_at, updated_at FROM old.filters",
        "DETACH old",
    ] {
        sqlx::query(sql).execute(&mut new).await.unwrap();
    }
    until("the job on the legacy side", async || {
        let seen = last(&mut legacy).await;
        (seen == "cron 8", seen)
    })
    .await;
    assert_eq!(last(&mut new).await, "", "nobody edits the new side before the switch");
    patch_zone(&world, &world.credentials.names, "127.0.0.2").await;
    assert_eq!(address(&resolver(world.addresses.resolver)).await, "127.0.0.2");
    until("the edits on the new side", async || {
        let seen = last(&mut new).await;
        (seen == "edited 3", seen)
    })
    .await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn flaky_servers_give_in_at_the_third_attempt_at_the_latest() {
    let dir = tempfile::tempdir().unwrap();
    let mut scenario = small("flaky", 0.0);
    for fault in &mut scenario.faults {
        (fault.ratio, fault.during_maintenance) = (0.4, false);
    }
    let world = World::start(scenario, dir.path()).await.unwrap();
    let client = client();
    let mut kinds = std::collections::BTreeSet::new();
    for page in 1..=9 {
        let url = format!("http://{}/api/migration/users/?page={page}&page_size=1", world.addresses.legacy);
        for attempt in 1.. {
            assert!(attempt <= 3, "{url}: {kinds:?}");
            match client.get(&url).header("authorization", token(&world)).send().await {
                Err(_) => drop(kinds.insert("lost".to_owned())),
                Ok(answer) => {
                    let status = answer.status();
                    let throttled = status == StatusCode::TOO_MANY_REQUESTS;
                    assert_eq!(throttled, answer.headers().contains_key("retry-after"));
                    match answer.json::<Value>().await {
                        Ok(body) if status == StatusCode::OK => {
                            assert_eq!(body["results"].as_array().unwrap().len(), 1);
                            break;
                        }
                        _ => drop(kinds.insert(status.to_string())),
                    }
                }
            }
        }
    }
    assert!(kinds.len() >= 3, "{kinds:?}");
    world.stop().await;
}
