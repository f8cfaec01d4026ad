//! What the live traffic measures, and every write that was acknowledged to it.

use crate::{
    error::Result,
    rehearsal::{database::Side, kept::disk},
};
use axum::{Json, Router, extract::State, routing::get};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::{
    fs::{File, OpenOptions},
    io::Write,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// Upper bounds of the latency buckets in milliseconds; the last takes everything beyond.
const BOUNDS: [u64; 20] =
    [1, 2, 5, 10, 20, 35, 50, 75, 100, 150, 200, 300, 400, 500, 750, 1000, 1500, 2500, 5000, 30_000];

/// How a request ended, as its user saw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// As it should.
    Well,
    /// With the maintenance page.
    Refused,
    /// In any other way.
    Badly,
}

/// A write that a user got a success answer for. It must be somewhere, whatever the night brought.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acknowledged {
    /// When the answer came.
    pub at: String,
    /// Which side answered: `legacy` or `new`.
    pub side: String,
    /// `user`, `file` or `filter`.
    pub what: String,
    /// The row's id.
    pub id: i64,
    /// Username, file name or filter name.
    pub name: String,
    /// For a file: its SHA-256.
    pub sha256: Option<String>,
}

#[derive(Default, Clone)]
struct Counters {
    requests: u64,
    failed: u64,
    refused: u64,
}

#[derive(Default)]
struct Inner {
    sides: [Counters; 2],
    latency: [u64; BOUNDS.len()],
    acknowledged: Vec<Acknowledged>,
    last_failure: String,
}

/// The counters of the live traffic.
pub(super) struct Metrics {
    inner: Mutex<Inner>,
    list: Mutex<File>,
}

impl Metrics {
    /// Opens the list of acknowledged writes and reads what is in it already.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let doing = || format!("open {}", path.display());
        let before = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(disk(doing(), error)),
        };
        // A line that was cut when the process was killed belongs to a write nobody was told of.
        let acknowledged = before.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let list = OpenOptions::new().create(true).append(true).open(path).map_err(|error| disk(doing(), error))?;
        let inner = Inner { acknowledged, ..Inner::default() };
        Ok(Self { inner: Mutex::new(inner), list: Mutex::new(list) })
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        // A panic while the lock was held leaves counters that are at worst one off.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn count(&self, side: Side, took: Duration, ended: Ended, why: &str) {
        let mut inner = self.inner();
        let counters = &mut inner.sides[usize::from(side == Side::New)];
        counters.requests += 1;
        counters.failed += u64::from(ended == Ended::Badly);
        counters.refused += u64::from(ended == Ended::Refused);
        let millis = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        let bucket = BOUNDS.iter().position(|bound| millis <= *bound).unwrap_or(BOUNDS.len() - 1);
        inner.latency[bucket] += 1;
        if ended == Ended::Badly {
            tracing::debug!(side = side.word(), why, "rehearsal: a user's request failed");
            why.clone_into(&mut inner.last_failure);
        }
    }

    pub(super) fn acknowledge(&self, write: Acknowledged) {
        let line = serde_json::to_string(&write).map(|line| line + "\n").unwrap_or_default();
        let written = self.list.lock().unwrap_or_else(PoisonError::into_inner).write_all(line.as_bytes());
        if let Err(error) = written {
            tracing::warn!(%error, "rehearsal: an acknowledged write could not be listed");
        }
        self.inner().acknowledged.push(write);
    }

    pub(super) fn acknowledged(&self) -> Vec<Acknowledged> {
        self.inner().acknowledged.clone()
    }

    pub(super) fn json(&self) -> Value {
        let inner = self.inner();
        let [legacy, new] = &inner.sides;
        let side =
            |side: &Counters| json!({ "requests": side.requests, "failed": side.failed, "refused": side.refused });
        let latency: Vec<(u64, u64)> = BOUNDS.into_iter().zip(inner.latency).collect();
        json!({
            "requests": legacy.requests + new.requests,
            "failed": legacy.failed + new.failed,
            "refused": legacy.refused + new.refused,
            "latency": latency,
            "legacy": side(legacy),
            "new": side(new),
            "acknowledged": inner.acknowledged.len(),
            "last_failure": inner.last_failure,
        })
    }
}

/// The ops endpoint.
pub(super) fn router(metrics: Arc<Metrics>) -> Router {
    Router::new()
        .route("/metrics.json", get(async |State(metrics): State<Arc<Metrics>>| Json(metrics.json())))
        .route("/health", get(async || "ok"))
        .with_state(metrics)
}
