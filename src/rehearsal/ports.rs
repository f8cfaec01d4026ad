//! Where the world listens: one block of neighbouring ports on loopback, the same again when the world is opened again.
//!
//! The block lies below the range from which the system takes ports for outgoing connections, so that nobody takes one
//! of them between two openings.

use super::serve::bind;
use crate::error::{Fault, FaultKind, Result};
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use tokio::net::{TcpListener, UdpSocket};

const FROM: u16 = 20_000;
const TO: u16 = 32_000;
const BLOCK: u16 = 8;
const TRIES: u32 = 300;

/// Every address of a world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Addresses {
    /// The legacy app.
    pub legacy: SocketAddr,
    /// The new app's edge: another address, the same port, so that the public name decides which app answers.
    pub edge: SocketAddr,
    /// The new platform's control API.
    pub control: SocketAddr,
    /// The object store.
    pub objects: SocketAddr,
    /// The zone's REST API.
    pub names_api: SocketAddr,
    /// The authoritative name server.
    pub resolver: SocketAddr,
    /// A caching name server that follows later; users ask this one.
    pub slow_resolver: SocketAddr,
    /// What the live traffic measures (`/metrics.json`).
    pub ops: SocketAddr,
    /// The new version on a staging copy with data of its own, which no maintenance ever closes.
    pub staging: SocketAddr,
}

impl Addresses {
    const fn at(base: u16) -> Self {
        const fn local(port: u16) -> SocketAddr {
            SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)
        }
        Self {
            legacy: local(base),
            edge: SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2)), base),
            control: local(base + 1),
            objects: local(base + 2),
            names_api: local(base + 3),
            resolver: local(base + 4),
            slow_resolver: local(base + 5),
            ops: local(base + 6),
            staging: local(base + 7),
        }
    }
}

/// Every port of a world, bound.
pub(super) struct Sockets {
    pub(super) addresses: Addresses,
    pub(super) legacy: TcpListener,
    pub(super) edge: TcpListener,
    pub(super) control: TcpListener,
    pub(super) objects: TcpListener,
    pub(super) names_api: TcpListener,
    pub(super) resolver: (TcpListener, UdpSocket),
    pub(super) slow_resolver: (TcpListener, UdpSocket),
    pub(super) ops: TcpListener,
    pub(super) staging: TcpListener,
}

impl Sockets {
    /// Binds these ports again.
    pub(super) async fn again(addresses: &Addresses) -> Result<Self> {
        async fn names(address: SocketAddr) -> Result<(TcpListener, UdpSocket)> {
            let udp = UdpSocket::bind(address).await.map_err(|error| {
                Fault::new(FaultKind::Unreachable, format!("listen for name queries on {address}")).source(error)
            })?;
            Ok((bind(address).await?, udp))
        }
        Ok(Self {
            addresses: *addresses,
            legacy: bind(addresses.legacy).await?,
            edge: bind(addresses.edge).await?,
            control: bind(addresses.control).await?,
            objects: bind(addresses.objects).await?,
            names_api: bind(addresses.names_api).await?,
            resolver: names(addresses.resolver).await?,
            slow_resolver: names(addresses.slow_resolver).await?,
            ops: bind(addresses.ops).await?,
            staging: bind(addresses.staging).await?,
        })
    }

    /// Binds a free block.
    pub(super) async fn fresh() -> Result<Self> {
        let mut last = None;
        for _ in 0..TRIES {
            let base = FROM + rand::random::<u16>() % ((TO - FROM) / BLOCK) * BLOCK;
            let addresses = Addresses::at(base);
            // One probe bind tells a block in use without the patience that a known block deserves.
            if TcpListener::bind(addresses.legacy).await.is_err() {
                continue;
            }
            match Self::again(&addresses).await {
                Ok(sockets) => return Ok(sockets),
                Err(fault) => last = Some(fault),
            }
        }
        Err(last.unwrap_or_else(|| Fault::new(FaultKind::Unreachable, "find free ports for the rehearsal")))
    }
}
