//! Live traffic: people who find the app by its public name, keep a connection for a while, read, and sometimes write.
//!
//! Must never enter: knowledge of where the cutover stands; a person sees answers and nothing else.

use super::{
    database::{Side, now_text},
    metrics::{Acknowledged, Ended, Metrics},
    scenario::{Scenario, TrafficSpec},
    seed,
    serve::Tasks,
};
use crate::{
    error::{Fault, FaultKind, Result},
    model::Digest,
};
use bytes::Bytes;
use hickory_resolver::{
    TokioResolver,
    config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig},
    net::runtime::TokioRuntimeProvider,
};
use rand::{Rng, SeedableRng, rngs::StdRng};
use reqwest::{
    Client, Method, RequestBuilder, StatusCode,
    dns::{Addrs, Name, Resolve, Resolving},
    multipart::{Form, Part},
};
use serde_json::{Value, json};
use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

/// Longest wait of a person.
const PATIENCE: Duration = Duration::from_secs(5);
/// Files a person remembers.
const REMEMBERED: usize = 20;

/// Asks one name server, anew each time: the server's cache is the one that is being watched.
struct AskOne(TokioResolver);

impl Resolve for AskOne {
    fn resolve(&self, name: Name) -> Resolving {
        let resolver = self.0.clone();
        Box::pin(async move {
            let found = resolver.lookup_ip(format!("{}.", name.as_str().trim_end_matches('.'))).await?;
            let addresses: Vec<SocketAddr> = found.iter().map(|ip| SocketAddr::new(ip, 0)).collect();
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

fn resolver(address: SocketAddr) -> Result<TokioResolver> {
    let mut connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()];
    for connection in &mut connections {
        connection.port = address.port();
    }
    let server = NameServerConfig::new(address.ip(), true, connections.to_vec());
    let config = ResolverConfig::from_parts(None, Vec::new(), vec![server]);
    let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
    let options = builder.options_mut();
    options.cache_size = 0;
    options.timeout = Duration::from_secs(2);
    options.attempts = 2;
    options.use_hosts_file = ResolveHosts::Never;
    options.ip_strategy = hickory_resolver::config::LookupIpStrategy::Ipv4Only;
    builder.build().map_err(|error| Fault::new(FaultKind::Internal, "set up the users' name lookups").source(error))
}

/// Lets the people of this scenario in.
pub(super) fn begin(
    tasks: &Tasks,
    scenario: &Scenario,
    base: &str,
    names: SocketAddr,
    metrics: &Arc<Metrics>,
) -> Result<()> {
    let spec = scenario.traffic;
    if spec.users == 0 || spec.per_second <= 0.0 {
        return Ok(());
    }
    let resolver = resolver(names)?;
    for n in 0..spec.users {
        let client = Client::builder()
            .dns_resolver(Arc::new(AskOne(resolver.clone())))
            .no_proxy()
            .pool_max_idle_per_host(1)
            .timeout(PATIENCE)
            .build()
            .map_err(|error| Fault::new(FaultKind::Internal, "set up a user's browser").source(error))?;
        // Seeded users in turn, spread over the whole table.
        let user = 1 + (u64::from(n) * 37) % scenario.size.users;
        let person = Person {
            spec,
            client,
            base: base.to_owned(),
            metrics: Arc::clone(metrics),
            rng: StdRng::seed_from_u64(scenario.seed.wrapping_add(u64::from(n) << 32)),
            username: seed::username(user),
            password: seed::password(user),
            token: None,
            files: Vec::new(),
            side: Side::Legacy,
            session: Instant::now(),
        };
        tasks.spawn(person.live());
    }
    Ok(())
}

struct Person {
    spec: TrafficSpec,
    client: Client,
    base: String,
    metrics: Arc<Metrics>,
    rng: StdRng,
    username: String,
    password: String,
    token: Option<String>,
    files: Vec<(i64, String)>,
    side: Side,
    session: Instant,
}

/// An answer as a person sees it.
struct Page {
    status: StatusCode,
    body: Bytes,
    took: Duration,
}

impl Page {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }
}

impl Person {
    async fn live(mut self) {
        let mean = f64::from(self.spec.users) / self.spec.per_second;
        loop {
            let wait = Duration::from_secs_f64(mean * self.rng.random_range(0.4..1.6));
            tokio::time::sleep(wait).await;
            self.act().await;
        }
    }

    async fn act(&mut self) {
        if self.token.is_none() {
            return self.log_in().await;
        }
        if self.rng.random_bool(self.spec.write_share) {
            match self.rng.random_range(0..100) {
                0..45 => self.save_filter().await,
                45..85 => self.upload().await,
                _ => self.invite().await,
            }
        } else {
            match self.rng.random_range(0..3) {
                0 => self.look("/api/me").await,
                1 => self.list().await,
                _ => self.download().await,
            }
        }
    }

    fn request(&mut self, method: Method, path: &str) -> RequestBuilder {
        let mut request = self.client.request(method, format!("{}{path}", self.base));
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Token {token}"));
        }
        if self.session.elapsed() > self.spec.session {
            // The last page of a visit: the next one begins with a new look-up of the name.
            self.session = Instant::now();
            request = request.header("connection", "close");
        }
        request
    }

    /// Sends a request and reads the answer; counts it unless it succeeded, which the caller judges.
    async fn send(&mut self, request: RequestBuilder) -> Option<Page> {
        let begun = Instant::now();
        let answer = match request.send().await {
            Ok(answer) => answer,
            Err(error) => {
                self.metrics.count(self.side, begun.elapsed(), Ended::Badly, &format!("{error:?}"));
                return None;
            }
        };
        if let Some(from) = answer.remote_addr() {
            let new = from.ip() == IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
            self.side = if new { Side::New } else { Side::Legacy };
        }
        let status = answer.status();
        let body = answer.bytes().await;
        let took = begun.elapsed();
        let body = match body {
            Ok(body) => body,
            Err(error) => {
                self.metrics.count(self.side, took, Ended::Badly, &format!("{error:?}"));
                return None;
            }
        };
        let page = Page { status, body, took };
        if status == StatusCode::SERVICE_UNAVAILABLE && page.json()["maintenance"] == true {
            self.metrics.count(self.side, took, Ended::Refused, "");
            return None;
        }
        if status == StatusCode::UNAUTHORIZED && self.token.is_some() {
            // Sessions do not move: on the other side everybody signs in once more.
            self.token = None;
            self.metrics.count(self.side, took, Ended::Well, "");
            return None;
        }
        Some(page)
    }

    fn judge(&self, page: &Page, well: bool, what: &str) {
        let ended = if well { Ended::Well } else { Ended::Badly };
        self.metrics.count(self.side, page.took, ended, &format!("{what}: {}", page.status));
    }

    async fn log_in(&mut self) {
        let body = json!({ "username": self.username, "password": self.password });
        let request = self.request(Method::POST, "/api/login").json(&body);
        let Some(page) = self.send(request).await else { return };
        self.token = page.json()["token"].as_str().map(str::to_owned);
        self.judge(&page, page.status == StatusCode::OK && self.token.is_some(), "log in");
    }

    async fn look(&mut self, path: &str) {
        let request = self.request(Method::GET, path);
        let Some(page) = self.send(request).await else { return };
        self.judge(&page, page.status == StatusCode::OK, path);
    }

    async fn list(&mut self) {
        let request = self.request(Method::GET, "/api/files");
        let Some(page) = self.send(request).await else { return };
        let body = page.json();
        let seen = body["files"].as_array();
        self.judge(&page, page.status == StatusCode::OK && seen.is_some(), "list files");
        for file in seen.into_iter().flatten() {
            if let (Some(id), Some(sha)) = (file["id"].as_i64(), file["checksum"].as_str()) {
                self.remember(id, sha.to_owned());
            }
        }
    }

    fn remember(&mut self, id: i64, sha256: String) {
        if self.files.iter().any(|(known, _)| *known == id) {
            return;
        }
        if self.files.len() >= REMEMBERED {
            self.files.remove(0);
        }
        self.files.push((id, sha256));
    }

    async fn download(&mut self) {
        if self.files.is_empty() {
            return self.list().await;
        }
        let (id, sha256) = self.files[self.rng.random_range(0..self.files.len())].clone();
        let request = self.request(Method::GET, &format!("/api/files/{id}/content"));
        let Some(page) = self.send(request).await else { return };
        let same = page.status == StatusCode::OK && Digest::of(&page.body).to_hex() == sha256;
        self.judge(&page, same, &format!("download {id}"));
    }

    fn acknowledged(&self, what: &str, page: &Page, name: &str, sha256: Option<String>) {
        let well = page.status == StatusCode::CREATED;
        let id = page.json()["id"].as_i64();
        self.judge(page, well && id.is_some(), what);
        if let (true, Some(id)) = (well, id) {
            let (what, name, side) = (what.to_owned(), name.to_owned(), self.side.word().to_owned());
            self.metrics.acknowledge(Acknowledged { at: now_text(), side, what, id, name, sha256 });
        }
    }

    async fn save_filter(&mut self) {
        let name = format!("live {:08x}", rand::random::<u32>());
        let body = json!({ "name": name, "definition": { "where": [{ "column": "city", "op": "=", "value": name }] } });
        let request = self.request(Method::POST, "/api/filters").json(&body);
        let Some(page) = self.send(request).await else { return };
        self.acknowledged("filter", &page, &name, None);
    }

    async fn upload(&mut self) {
        let name = format!("live & {:08x}.csv", rand::random::<u32>());
        let lines = self.rng.random_range(1..400);
        let content: Vec<String> = (0..lines).map(|line| format!("{line},{:x}\n", self.rng.random::<u64>())).collect();
        let content = content.concat();
        let sha256 = Digest::of(content.as_bytes()).to_hex();
        // A literal type that parses.
        let Ok(part) = Part::text(content).file_name(name.clone()).mime_str("text/csv") else { return };
        let request = self.request(Method::POST, "/api/files").multipart(Form::new().part("file", part));
        let Some(page) = self.send(request).await else { return };
        self.acknowledged("file", &page, &name, Some(sha256.clone()));
        if let Some(id) = page.json()["id"].as_i64() {
            self.remember(id, sha256);
        }
    }

    async fn invite(&mut self) {
        let name = format!("live-{:012x}", rand::random::<u64>() >> 16);
        let body = json!({ "username": name, "password": name, "email": format!("{name}@Example.org"),
            "first_name": "Live", "last_name": "Person" });
        let request = self.request(Method::POST, "/api/register").json(&body);
        let Some(page) = self.send(request).await else { return };
        self.acknowledged("user", &page, &name, None);
    }
}
