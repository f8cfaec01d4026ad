//! Queries over UDP and TCP: the authoritative server, and one that keeps answers for a while like every resolver
//! between a zone and its users.

use super::{Names, RecordSet};
use crate::rehearsal::serve::Tasks;
use async_trait::async_trait;
use hickory_proto::{
    op::{HeaderCounts, Metadata, OpCode, ResponseCode},
    rr::{
        Name, RData, Record,
        rdata::{A, AAAA, CNAME, NS, SOA, TXT},
    },
};
use hickory_server::{
    Server,
    net::runtime::Time,
    server::{Request, RequestHandler, ResponseHandler, ResponseInfo},
    zone_handler::MessageResponseBuilder,
};
use std::{
    collections::HashMap,
    str::FromStr,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};
use tokio::net::{TcpListener, UdpSocket};

/// Most names the caching server keeps.
const MOST_KEPT: usize = 1000;

type Found = Option<Vec<RecordSet>>;

/// Name and type.
type Question = (String, String);

/// When an answer came, how long it lives, and the answer.
type KeptAnswer = (Instant, Duration, Found);

struct Handler {
    names: Arc<Names>,
    /// `None`: authoritative.
    cache: Option<Cache>,
}

struct Cache {
    longest: Duration,
    kept: Mutex<HashMap<Question, KeptAnswer>>,
}

/// Answers queries on these sockets until the world ends. With `cache` it keeps each answer for its time to live, but at
/// most so long.
pub(in crate::rehearsal) fn listen(
    tasks: &Tasks,
    (tcp, udp): (TcpListener, UdpSocket),
    names: Arc<Names>,
    cache: Option<Duration>,
) {
    let cache = cache.map(|longest| Cache { longest, kept: Mutex::default() });
    let mut server = Server::new(Handler { names, cache });
    server.register_socket(udp);
    server.register_listener(tcp, Duration::from_secs(10), 32);
    let stop = tasks.stop.clone();
    tasks.tracker.spawn(async move {
        stop.cancelled().await;
        if let Err(error) = server.shutdown_gracefully().await {
            tracing::warn!(%error, "rehearsal: a name server ended badly");
        }
    });
}

impl Handler {
    async fn find(&self, name: &str, kind: &str) -> Option<Found> {
        let Some(cache) = &self.cache else { return self.names.answer(name, kind).await };
        let key = (name.to_ascii_lowercase(), kind.to_owned());
        if let Some(found) = cache.get(&key) {
            return Some(found);
        }
        let found = self.names.answer(name, kind).await?;
        cache.keep(key, found.clone());
        Some(found)
    }
}

impl Cache {
    fn get(&self, key: &Question) -> Option<Found> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, life, found) = kept.get(key)?;
        let left = life.checked_sub(at.elapsed())?;
        let mut found = found.clone();
        for set in found.iter_mut().flatten() {
            set.ttl = set.ttl.min(u32::try_from(left.as_secs()).unwrap_or(u32::MAX));
        }
        Some(found)
    }

    fn keep(&self, key: Question, found: Found) {
        let ttl = found.iter().flatten().map(|set| Duration::from_secs(set.ttl.into())).min();
        let life = ttl.unwrap_or(self.longest).min(self.longest);
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= MOST_KEPT {
            kept.clear();
        }
        kept.insert(key, (Instant::now(), life, found));
    }
}

#[async_trait]
impl RequestHandler for Handler {
    async fn handle_request<R: ResponseHandler, T: Time>(&self, request: &Request, mut to: R) -> ResponseInfo {
        let mut metadata = Metadata::response_from_request(&request.metadata);
        metadata.authoritative = self.cache.is_none();
        metadata.recursion_available = self.cache.is_some();
        let mut records = Vec::new();
        let code = match request.request_info() {
            _ if request.metadata.op_code != OpCode::Query => ResponseCode::NotImp,
            Err(_) => ResponseCode::FormErr,
            Ok(info) => {
                let (name, kind) = (info.query.name().to_string(), info.query.query_type().to_string());
                let name = if name.ends_with('.') { name } else { format!("{name}.") };
                match self.find(&name, &kind).await {
                    None => ResponseCode::ServFail,
                    Some(None) => ResponseCode::NXDomain,
                    Some(Some(sets)) => {
                        records = sets.iter().flat_map(records_of).collect();
                        ResponseCode::NoError
                    }
                }
            }
        };
        metadata.response_code = code;
        let builder = MessageResponseBuilder::from_message_request(request);
        let response = builder.build(metadata, records.iter(), [], [], []);
        match to.send_response(response).await {
            Ok(info) => info,
            Err(error) => {
                // The asker is gone or never listened; it will ask again.
                tracing::debug!(%error, "rehearsal: a name answer could not be sent");
                metadata.response_code = ResponseCode::ServFail;
                hickory_proto::op::Header { metadata, counts: HeaderCounts::default() }.into()
            }
        }
    }
}

/// The records of a set; a content that is not what its type says is left out, as the API refuses such already.
fn records_of(set: &RecordSet) -> Vec<Record> {
    let Ok(name) = Name::from_str(&set.name) else { return Vec::new() };
    let data = |content: &String| -> Option<RData> {
        Some(match set.kind.as_str() {
            "A" => RData::A(A(content.parse().ok()?)),
            "AAAA" => RData::AAAA(AAAA(content.parse().ok()?)),
            "CNAME" => RData::CNAME(CNAME(Name::from_str(content).ok()?)),
            "NS" => RData::NS(NS(Name::from_str(content).ok()?)),
            "TXT" => RData::TXT(TXT::new(vec![content.trim_matches('"').to_owned()])),
            "SOA" => {
                let parts: Vec<&str> = content.split_whitespace().collect();
                let [mname, rname, serial, refresh, retry, expire, minimum] = parts[..] else { return None };
                RData::SOA(SOA::new(
                    Name::from_str(mname).ok()?,
                    Name::from_str(rname).ok()?,
                    serial.parse().ok()?,
                    refresh.parse().ok()?,
                    retry.parse().ok()?,
                    expire.parse().ok()?,
                    minimum.parse().ok()?,
                ))
            }
            _ => return None,
        })
    };
    set.contents.iter().filter_map(data).map(|data| Record::from_rdata(name.clone(), set.ttl, data)).collect()
}
