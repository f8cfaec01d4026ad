//! Small real servers on loopback.

mod legacy;
mod media;
mod names;
mod objects;
mod powerdns;
mod raw;

pub(crate) use legacy::{Legacy, TOKEN};
pub(crate) use media::{Asked, Media, Said, say};
pub(crate) use names::Names;
pub(crate) use objects::Objects;
pub(crate) use powerdns::PowerDns;
pub(crate) use raw::{closed_port, raw_server, silent_server};

use axum::Router;
use std::net::SocketAddr;
use tokio::net::TcpListener;

/// Serves a router on a port of its own until the test's runtime ends.
pub(crate) async fn serve(router: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    at
}
