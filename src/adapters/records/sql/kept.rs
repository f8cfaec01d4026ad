//! Connections that are kept between calls.
//!
//! A connection goes back only when its call ended well: what a dropped or failed call left open dies with it.

use crate::error::{Fault, FaultKind, Result};
use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::sync::{Semaphore, SemaphorePermit};

/// Connections at once.
const CONNECTIONS: usize = 12;

/// The connections to one database that nobody uses just now.
#[derive(Debug)]
pub(in super::super) struct Kept<C> {
    timeout: Duration,
    room: Semaphore,
    idle: Mutex<Vec<C>>,
}

impl<C> Kept<C> {
    /// None yet. A call takes at most `timeout`.
    pub(in super::super) fn new(timeout: Duration) -> Self {
        Self { timeout, room: Semaphore::new(CONNECTIONS), idle: Mutex::default() }
    }

    pub(in super::super) const fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Does this within the timeout.
    pub(in super::super) async fn within<T>(&self, doing: &str, work: impl Future<Output = Result<T>>) -> Result<T> {
        let limit = self.timeout;
        tokio::time::timeout(limit, work).await.unwrap_or_else(|_late| {
            Err(Fault::new(FaultKind::Timeout, doing).detail(format!("no answer in {limit:?}")))
        })
    }

    /// Does this within a part of the timeout, or not at all.
    pub(in super::super) async fn soon<T>(&self, work: impl Future<Output = Result<T>>) -> Result<Option<T>> {
        match tokio::time::timeout(self.timeout / 3, work).await {
            Ok(done) => done.map(Some),
            Err(_late) => Ok(None),
        }
    }

    /// Waits until there may be one connection more.
    pub(in super::super) async fn room(&self, doing: &str) -> Result<SemaphorePermit<'_>> {
        self.room.acquire().await.map_err(|closed| Fault::new(FaultKind::Internal, doing).source(closed))
    }

    /// One that is kept. It may be dead since the server was started again.
    pub(in super::super) fn take(&self) -> Option<C> {
        self.idle().pop()
    }

    /// Keeps it for the next call.
    pub(in super::super) fn keep(&self, connection: C) {
        self.idle().push(connection);
    }

    fn idle(&self) -> MutexGuard<'_, Vec<C>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
