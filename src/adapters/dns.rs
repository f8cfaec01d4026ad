//! Questions to one given name server, with nothing remembered between them.
//!
//! Neighbours: `http` (names resolved there instead of by the system), the DNS switch (what resolvers answer).
//! Must never enter: a cache. An answer that was true a minute ago is exactly what a DNS cutover must not see.

use crate::error::{Fault, FaultKind, Result};
use hickory_resolver::{
    TokioResolver,
    config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts},
    net::{DnsError, NetError, runtime::TokioRuntimeProvider},
    proto::rr::{RData, RecordType},
};
use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

/// A name server that is asked anew each time.
#[derive(Debug, Clone)]
pub(crate) struct NameServer {
    at: SocketAddr,
    timeout: Duration,
}

impl NameServer {
    /// The name server at this address; a lookup takes at most `timeout`.
    pub(crate) const fn new(at: SocketAddr, timeout: Duration) -> Self {
        Self { at, timeout }
    }

    /// The values of this name and type as text, without the last dot, sorted. Empty if the server says that there are
    /// none; a server that does not answer, or fails, is a fault.
    pub(crate) async fn lookup(&self, name: &str, kind: RecordType) -> Result<Vec<String>> {
        let doing = || format!("ask {} for {kind} of {name}", self.at);
        let resolver = self.resolver().map_err(|error| self.fault(doing(), error))?;
        // The last dot makes the name complete, so that no search list is tried.
        let asked = format!("{}.", name.trim_end_matches('.'));
        let answer = tokio::time::timeout(self.timeout, resolver.lookup(asked, kind))
            .await
            .map_err(|_| Fault::new(FaultKind::Timeout, doing()))?;
        let mut values: Vec<String> = match answer {
            Ok(lookup) => lookup
                .answers()
                .iter()
                .filter(|record| record.record_type() == kind)
                .map(|record| value(&record.data))
                .collect(),
            Err(NetError::Dns(DnsError::NoRecordsFound(_))) => Vec::new(),
            Err(error) => return Err(self.fault(doing(), error)),
        };
        values.sort();
        Ok(values)
    }

    /// The addresses of this name. IPv6 is asked for only if there is no IPv4: some servers never answer that question,
    /// and waiting for them would make every request slow.
    pub(crate) async fn addresses(&self, name: &str) -> Result<Vec<IpAddr>> {
        for kind in [RecordType::A, RecordType::AAAA] {
            let values = self.lookup(name, kind).await?;
            let found: Vec<IpAddr> = values.iter().filter_map(|text| text.parse().ok()).collect();
            if !found.is_empty() {
                return Ok(found);
            }
        }
        Err(Fault::new(FaultKind::NotFound, format!("find an address of {name} at {}", self.at)))
    }

    fn resolver(&self) -> Result<TokioResolver, NetError> {
        let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
            connection.port = self.at.port();
            connection
        });
        let server = NameServerConfig::new(self.at.ip(), true, connections.to_vec());
        let config = ResolverConfig::from_parts(None, Vec::new(), vec![server]);
        let mut options = ResolverOpts::default();
        options.cache_size = 0;
        options.use_hosts_file = ResolveHosts::Never;
        options.attempts = 1;
        options.timeout = (self.timeout / 2).max(Duration::from_millis(50));
        TokioResolver::builder_with_config(config, TokioRuntimeProvider::default()).with_options(options).build()
    }

    #[expect(clippy::unused_self, reason = "reads as the server's own fault at the call sites")]
    fn fault(&self, doing: String, error: NetError) -> Fault {
        let kind = match &error {
            NetError::Timeout => FaultKind::Timeout,
            NetError::Dns(_) => FaultKind::Server,
            _ => FaultKind::Unreachable,
        };
        Fault::new(kind, doing).source(error)
    }
}

/// A record's value as the plan writes it.
fn value(data: &RData) -> String {
    data.to_string().trim_end_matches('.').to_lowercase()
}

impl reqwest::dns::Resolve for NameServer {
    fn resolve(&self, name: reqwest::dns::Name) -> reqwest::dns::Resolving {
        let server = self.clone();
        Box::pin(async move {
            let found = server.addresses(name.as_str()).await?;
            // Port 0 stands for the port of the address being called.
            Ok(Box::new(found.into_iter().map(|ip| SocketAddr::new(ip, 0))) as reqwest::dns::Addrs)
        })
    }
}
