//! The one HTTP client of all adapters: bounded in time and size, and with one table from answers to fault kinds.
//!
//! Neighbours: every adapter that speaks HTTP except the S3 one, which has the SDK's client. `answer` holds what came
//! back, `coming` an answer whose body is still to be read. Redirects are followed for reads only and never to another host: a credential must not travel there, and a
//! write that was turned into a read would look like a success.
//! Must never enter: retries (the lanes retry) and what an endpoint means.

mod answer;
mod coming;

pub(crate) use answer::{Answer, Kept};
pub(crate) use coming::Coming;

use crate::{
    adapters::dns::NameServer,
    error::{Fault, FaultKind, Result},
    plan::{Auth, RequestPlan},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use reqwest::{
    Method, StatusCode,
    header::{AUTHORIZATION, CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue, LOCATION},
    redirect, retry,
};
use secrecy::{ExposeSecret, SecretString};
use std::{
    error::Error,
    net::SocketAddr,
    time::{Duration, Instant},
};
use tokio::sync::watch;
use url::Url;

/// An answer longer than this is garbage.
const LONGEST: usize = 64 * 1024 * 1024;
/// Redirects that are followed.
const HOPS: usize = 5;

/// A client with its bounds.
#[derive(Debug)]
pub(crate) struct Client {
    /// By the way this machine's environment says (`HTTPS_PROXY` and its like).
    usual: reqwest::Client,
    /// Without a proxy: nothing on this machine is reached through one.
    direct: reqwest::Client,
    timeout: Duration,
    longest: usize,
}

/// What is sent along.
#[derive(Debug, Clone)]
pub(crate) enum Payload {
    /// Nothing.
    None,
    /// A JSON document.
    Json(Bytes),
    /// A file in the multipart field `file`.
    File {
        /// Its name.
        name: String,
        /// Its content.
        content: String,
    },
}

/// A request.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    method: Method,
    url: Url,
    headers: HeaderMap,
    secrets: Vec<SecretString>,
    payload: Payload,
}

impl Call {
    /// A request without anything but method and address.
    pub(crate) fn new(method: Method, url: Url) -> Self {
        Self { method, url, headers: HeaderMap::new(), secrets: Vec::new(), payload: Payload::None }
    }

    /// The request that a plan describes, with `url` and `body` as they were filled in.
    pub(crate) fn planned(doing: &str, plan: &RequestPlan) -> Result<Self> {
        let method = Method::from_bytes(plan.method.as_bytes())
            .map_err(|_| Fault::new(FaultKind::Plan, doing).detail(format!("`{}` is no method", plan.method)))?;
        // The address may hold a secret, so the fault does not repeat it.
        let url = Url::parse(&plan.url)
            .map_err(|error| Fault::new(FaultKind::Plan, doing).detail("the address is none").source(error))?;
        let call = Self::new(method, url).auth(doing, &plan.auth)?;
        Ok(match &plan.body {
            Some(body) => call.json(body),
            None => call,
        })
    }

    /// The same with this credential.
    pub(crate) fn auth(self, doing: &str, auth: &Auth) -> Result<Self> {
        match auth {
            Auth::None => Ok(self),
            Auth::Token { scheme, token } => {
                let value = SecretString::from(format!("{scheme} {}", token.expose_secret()));
                let mut call = self.secret_header(doing, AUTHORIZATION, &value)?;
                call.secrets.push(token.clone());
                Ok(call)
            }
            Auth::Basic { user, password } => {
                let pair = STANDARD.encode(format!("{user}:{}", password.expose_secret()));
                let mut call = self.secret_header(doing, AUTHORIZATION, &format!("Basic {pair}").into())?;
                call.secrets.extend([pair.into(), password.clone()]);
                Ok(call)
            }
            Auth::Header { name, token } => {
                let name = HeaderName::from_bytes(name.as_bytes())
                    .map_err(|error| Fault::new(FaultKind::Plan, doing).source(error))?;
                self.secret_header(doing, name, token)
            }
        }
    }

    /// The same with a header whose value is a secret.
    pub(crate) fn secret_header(mut self, doing: &str, name: HeaderName, secret: &SecretString) -> Result<Self> {
        let mut value = HeaderValue::from_str(secret.expose_secret()).map_err(|_| {
            Fault::new(FaultKind::Plan, doing).detail("the credential holds characters that a header cannot carry")
        })?;
        value.set_sensitive(true);
        self.headers.insert(name, value);
        self.secrets.push(secret.clone());
        Ok(self)
    }

    /// The same with this header.
    pub(crate) fn header(self, name: &'static str, value: HeaderValue) -> Self {
        self.named_header(HeaderName::from_static(name), value)
    }

    /// The same with this header.
    pub(crate) fn named_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    /// The same with this JSON body.
    pub(crate) fn json(self, body: &serde_json::Value) -> Self {
        self.payload(Payload::Json(Bytes::from(body.to_string())))
    }

    /// The same with this payload.
    pub(crate) fn payload(mut self, payload: Payload) -> Self {
        self.payload = payload;
        self
    }
}

impl Client {
    /// A client whose calls take at most `timeout`. With a `resolver` names are asked there, every time anew, and no
    /// connection is kept, so that each call goes where the name points now.
    pub(crate) fn new(timeout: Duration, resolver: Option<SocketAddr>) -> Result<Self> {
        Self::build(timeout, resolver, true)
    }

    /// A client that gives bodies as they come: it asks for no compression and undoes none.
    pub(crate) fn verbatim(timeout: Duration) -> Result<Self> {
        Self::build(timeout, None, false)
    }

    /// The same client, for which an answer longer than this is garbage.
    pub(crate) fn at_most(mut self, longest: u64) -> Self {
        self.longest = usize::try_from(longest).unwrap_or(usize::MAX);
        self
    }

    fn build(timeout: Duration, resolver: Option<SocketAddr>, compressed: bool) -> Result<Self> {
        let build = |direct: bool| {
            let mut builder = reqwest::Client::builder()
                .user_agent(concat!("cutover/", env!("CARGO_PKG_VERSION")))
                .connect_timeout(timeout.min(Duration::from_secs(10)))
                // Shorter than servers keep an idle connection, so that no write goes out on one that is just closed.
                .pool_idle_timeout(Duration::from_secs(4))
                .redirect(redirect::Policy::none())
                // The lanes retry; a client that did so as well would multiply the attempts.
                .retry(retry::never())
                .gzip(compressed)
                .zstd(compressed);
            if let Some(at) = resolver {
                builder = builder.dns_resolver(NameServer::new(at, timeout)).pool_max_idle_per_host(0);
            }
            if direct {
                builder = builder.no_proxy();
            }
            builder.build().map_err(|error| Fault::new(FaultKind::Internal, "make an HTTP client").source(error))
        };
        let direct = build(true)?;
        // A proxy would resolve names itself.
        let usual = if resolver.is_some() || !has_proxy() { direct.clone() } else { build(false)? };
        Ok(Self { usual, direct, timeout, longest: LONGEST })
    }

    /// Sends the request and brings the whole answer, whatever its status.
    pub(crate) async fn send(&self, doing: &str, call: Call) -> Result<Answer> {
        let too_long =
            || Fault::new(FaultKind::Garbage, doing).detail(format!("more than {} bytes came", self.longest));
        self.send_within(doing, call).await?.ok_or_else(too_long)
    }

    /// The same; `None` for an answer that is too long.
    pub(crate) async fn send_within(&self, doing: &str, call: Call) -> Result<Option<Answer>> {
        let began = Instant::now();
        let Ok(answer) = tokio::time::timeout(self.timeout, self.whole(doing, call)).await else {
            let detail = format!("no whole answer within {:?}", self.timeout);
            return Err(Fault::new(FaultKind::Timeout, doing).detail(detail));
        };
        let mut answer = answer?;
        if let Some(answer) = &mut answer {
            answer.took = began.elapsed();
        }
        Ok(answer)
    }

    /// Sends the request and brings the answer, whatever its status, as soon as its headers are there. Waits for these
    /// as long as [`Client::send`] waits for everything.
    pub(crate) async fn begin(&self, doing: &str, call: Call) -> Result<Coming> {
        tokio::time::timeout(self.timeout, self.follow(doing, call)).await.unwrap_or_else(|_| Err(self.late(doing)))
    }

    /// The same with a body of this length that is sent as it comes; `moving` tells of each piece that was taken. Gives
    /// up when nothing moves for as long as an answer may take.
    pub(crate) async fn upload(
        &self,
        doing: &str,
        call: Call,
        size: u64,
        body: reqwest::Body,
        mut moving: watch::Receiver<()>,
    ) -> Result<Coming> {
        let request = self.request(doing, &call)?.header(CONTENT_LENGTH, size).body(body);
        let mut sending = std::pin::pin!(request.send());
        loop {
            tokio::select! {
                sent = &mut sending => {
                    let response = sent.map_err(|error| transport(doing, error))?;
                    return Ok(Coming::new(response, &call, self.timeout));
                }
                // When the body is through, nothing moves but the answer.
                Ok(()) = moving.changed() => {}
                () = tokio::time::sleep(self.timeout) => return Err(self.late(doing)),
            }
        }
    }

    fn late(&self, doing: &str) -> Fault {
        Fault::new(FaultKind::Timeout, doing).detail(format!("no answer within {:?}", self.timeout))
    }

    async fn follow(&self, doing: &str, mut call: Call) -> Result<Coming> {
        for _ in 0..HOPS {
            let response = self.request(doing, &call)?.send().await.map_err(|error| transport(doing, error))?;
            match next_hop(&call, response.status(), response.headers()) {
                None => return Ok(Coming::new(response, &call, self.timeout)),
                Some(url) => call.url = url,
            }
        }
        Err(Fault::new(FaultKind::Refused, doing).detail(format!("redirected more than {HOPS} times")))
    }

    async fn whole(&self, doing: &str, call: Call) -> Result<Option<Answer>> {
        self.follow(doing, call).await?.whole(doing, self.longest).await
    }

    fn request(&self, doing: &str, call: &Call) -> Result<reqwest::RequestBuilder> {
        let client = if is_loopback(&call.url) { &self.direct } else { &self.usual };
        let request = client.request(call.method.clone(), call.url.clone()).headers(call.headers.clone());
        Ok(match &call.payload {
            Payload::None => request,
            Payload::Json(body) => request.header("content-type", "application/json").body(body.clone()),
            Payload::File { name, content } => {
                let part = reqwest::multipart::Part::bytes(content.clone().into_bytes())
                    .file_name(name.clone())
                    .mime_str("application/octet-stream")
                    .map_err(|error| transport(doing, error))?;
                request.multipart(reqwest::multipart::Form::new().part("file", part))
            }
        })
    }
}

/// The environment names a proxy.
fn has_proxy() -> bool {
    ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"]
        .iter()
        .any(|name| std::env::var_os(name).or_else(|| std::env::var_os(name.to_lowercase())).is_some())
}

/// The address names this machine.
pub(crate) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
        Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

/// Where a redirect leads, if it is followed.
fn next_hop(call: &Call, status: StatusCode, headers: &HeaderMap) -> Option<Url> {
    let moved = matches!(
        status,
        StatusCode::MOVED_PERMANENTLY
            | StatusCode::FOUND
            | StatusCode::SEE_OTHER
            | StatusCode::TEMPORARY_REDIRECT
            | StatusCode::PERMANENT_REDIRECT
    );
    if !moved || !matches!(call.method, Method::GET | Method::HEAD) {
        return None;
    }
    let to = call.url.join(headers.get(LOCATION)?.to_str().ok()?).ok()?;
    let same_port = to.port_or_known_default() == call.url.port_or_known_default();
    let upgraded =
        call.url.scheme() == "http" && to.scheme() == "https" && call.url.port().is_none() && to.port().is_none();
    let kept = to.scheme() == call.url.scheme() && same_port;
    (to.host_str() == call.url.host_str() && (kept || upgraded)).then_some(to)
}

/// What it means that no whole answer came.
fn transport(doing: &str, error: reqwest::Error) -> Fault {
    // The address may hold a secret in its query.
    let error = error.without_url();
    let kind = if error.is_timeout() {
        FaultKind::Timeout
    } else if error.is_builder() {
        FaultKind::Plan
    } else if error.is_connect() {
        FaultKind::Unreachable
    } else if error.is_body() || error.is_decode() || speaks_no_http(&error) {
        FaultKind::Garbage
    } else {
        FaultKind::Unreachable
    };
    Fault::new(kind, doing).source(error)
}

fn speaks_no_http(error: &reqwest::Error) -> bool {
    std::iter::successors(error.source(), |error: &&(dyn Error + 'static)| (*error).source())
        .filter_map(|error| error.downcast_ref::<hyper::Error>())
        .any(hyper::Error::is_parse)
}
