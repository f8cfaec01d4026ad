//! The one way a server of the world listens: a bound port, a router, and connections that end when the world does.
//!
//! It exists beside `axum::serve` because a rehearsed server must be able to drop a connection without a word, and
//! because every connection belongs to the world's task tracker.

use super::faults::Dropped;
use crate::error::{Fault, FaultKind, Result};
use axum::{Router, body::Body, response::Response};
use hyper::{body::Incoming, server::conn::http1, service::Service, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use std::{net::SocketAddr, time::Duration};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// How long a request under way may go on once the world ends.
const GRACE: Duration = Duration::from_millis(500);

/// What every task of the world shares: it is counted, and it ends on the same signal.
#[derive(Clone)]
pub(super) struct Tasks {
    pub(super) tracker: TaskTracker,
    pub(super) stop: CancellationToken,
}

impl Tasks {
    pub(super) fn new() -> Self {
        Self { tracker: TaskTracker::new(), stop: CancellationToken::new() }
    }

    /// Runs until it is done or the world ends, whichever comes first.
    pub(super) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        self.tracker.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = work => {}
            }
        });
    }

    /// Ends every task and waits for it.
    pub(super) async fn end(&self) {
        self.stop.cancel();
        self.tracker.close();
        self.tracker.wait().await;
    }
}

/// Binds a TCP port, waiting a little for one that was in use a moment ago.
pub(super) async fn bind(address: SocketAddr) -> Result<TcpListener> {
    let mut tries = 0;
    loop {
        match TcpListener::bind(address).await {
            Ok(listener) => return Ok(listener),
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse && tries < 20 => {
                tries += 1;
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            Err(error) => {
                return Err(Fault::new(FaultKind::Unreachable, format!("listen on {address}")).source(error));
            }
        }
    }
}

/// Serves the router on the port until the world ends.
pub(super) fn serve(tasks: &Tasks, listener: TcpListener, router: Router) {
    let inner = tasks.clone();
    tasks.spawn(async move {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => connection(&inner, stream, router.clone()),
                Err(error) => {
                    // Out of file handles, usually: wait for some to come back rather than spin.
                    tracing::warn!(%error, "rehearsal: accept failed");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    });
}

fn connection(tasks: &Tasks, stream: TcpStream, router: Router) {
    let stop = tasks.stop.clone();
    let router = TowerToHyperService::new(router);
    tasks.tracker.spawn(async move {
        // Small answers should not wait for more bytes; failing to say so only costs time.
        let _slower = stream.set_nodelay(true);
        let service = service_fn(move |request: hyper::Request<Incoming>| {
            let router = router.clone();
            async move {
                let answer: Response<Body> = match router.call(request).await {
                    Ok(answer) => answer,
                    Err(never) => match never {},
                };
                // An error from the service makes hyper close the connection without an answer.
                if answer.extensions().get::<Dropped>().is_some() { Err(Dropped) } else { Ok(answer) }
            }
        });
        let serving = http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service);
        let mut serving = std::pin::pin!(serving);
        // How a connection ends is the client's affair: it is reset, closed or dropped on purpose.
        tokio::select! {
            _ended = serving.as_mut() => {}
            () = stop.cancelled() => {
                serving.as_mut().graceful_shutdown();
                let _ended = tokio::time::timeout(GRACE, serving).await;
            }
        }
    });
}
