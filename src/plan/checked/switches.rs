//! Requests, and the switches that are turned by them, by programs or over DNS. Read by `switches` and `request`.
//! Must never enter: how it is read from a file.

use crate::plan::Auth;
use secrecy::SecretString;
use std::time::Duration;
use url::Url;

/// One HTTP request of a switch or a flow.
#[derive(Debug, Clone)]
pub struct RequestPlan {
    /// `GET`, `POST`, `PUT`, `PATCH`, `DELETE`.
    pub method: String,
    /// Address; in a flow a minijinja template over the captures.
    pub url: String,
    /// Credential.
    pub auth: Auth,
    /// JSON body; in a flow its texts are minijinja templates.
    pub body: Option<serde_json::Value>,
}

/// Where a position stands in a JSON answer.
#[derive(Debug, Clone)]
pub struct ObservePlan {
    /// The request.
    pub request: RequestPlan,
    /// JSON pointer to the position: a text is the position itself, `true` is `on`, `false` is `off`.
    pub pointer: String,
}

/// A maintenance or deployment switch.
#[derive(Debug, Clone)]
pub enum SwitchPlan {
    /// Turned by requests.
    Http {
        /// Position name → the requests that turn it there, in order, from the mildest position to the severest.
        turn: Vec<(String, Vec<RequestPlan>)>,
        /// How it is observed.
        observe: ObservePlan,
        /// Longest wait for one answer.
        timeout: Duration,
    },
    /// Turned by programs.
    Command {
        /// Position name → program and arguments.
        turn: Vec<(String, Vec<String>)>,
        /// Program whose standard output, trimmed, is the position.
        observe: Vec<String>,
        /// Longest run of one program.
        timeout: Duration,
    },
}

/// A record of the DNS switch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DnsRecord {
    /// Full name without the last dot.
    pub name: String,
    /// `A`, `AAAA` or `CNAME`.
    pub kind: String,
    /// What it shall point to.
    pub value: String,
    /// Time to live.
    pub ttl: Duration,
}

/// The DNS switch over `PowerDNS`'s REST API.
#[derive(Debug, Clone)]
pub struct PowerDnsPlan {
    /// Base address (`http://127.0.0.1:8081`).
    pub endpoint: Url,
    /// Value of `X-API-Key`.
    pub api_key: SecretString,
    /// Server id; `localhost` for an ordinary `PowerDNS`.
    pub server: String,
    /// The zone, without the last dot.
    pub zone: String,
    /// What shall change.
    pub records: Vec<DnsRecord>,
    /// Resolvers that must all answer the new value, as `address:port`.
    pub resolvers: Vec<std::net::SocketAddr>,
    /// Refuse if more than this ratio of the zone's record sets would change (source: octoDNS, 0.3 from 10 up).
    pub guard: f64,
    /// Longest wait for one answer.
    pub timeout: Duration,
    /// Longest wait for all resolvers.
    pub propagation: Duration,
}
