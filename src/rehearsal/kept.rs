//! Small state of a server that outlives the process: one JSON file, replaced whole.
//!
//! A rehearsal that was killed is opened again where it stood, as real servers would still stand there.

use crate::error::{Fault, FaultKind, Result};
use serde::{Serialize, de::DeserializeOwned};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::{OwnedRwLockReadGuard, RwLock, RwLockReadGuard};

/// A value with a file behind it. Readers may hold on to it: a change waits for them, which is how a maintenance switch
/// waits for the writes under way.
pub(super) struct Kept<T> {
    path: PathBuf,
    value: Arc<RwLock<T>>,
}

impl<T: Serialize + DeserializeOwned + Clone + Send + Sync + 'static> Kept<T> {
    /// The value in the file, or `fresh` if there is no file yet.
    pub(super) fn open(path: PathBuf, fresh: impl FnOnce() -> T) -> Result<Self> {
        let value = if path.exists() { read_json(&path)? } else { fresh() };
        write_json(&path, &value)?;
        Ok(Self { path, value: Arc::new(RwLock::new(value)) })
    }

    /// The value, held still while the guard lives.
    pub(super) async fn read(&self) -> RwLockReadGuard<'_, T> {
        self.value.read().await
    }

    /// The same as a guard that can travel.
    pub(super) async fn hold(&self) -> OwnedRwLockReadGuard<T> {
        Arc::clone(&self.value).read_owned().await
    }

    /// Changes the value once nobody holds it, in the file first.
    pub(super) async fn change<O>(&self, change: impl FnOnce(&mut T) -> O) -> Result<O> {
        let mut guard = self.value.write().await;
        let mut next = guard.clone();
        let out = change(&mut next);
        write_json(&self.path, &next)?;
        *guard = next;
        Ok(out)
    }
}

/// Reads a JSON file.
pub(super) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let doing = || format!("read {}", path.display());
    let bytes = std::fs::read(path).map_err(|error| disk(doing(), error))?;
    serde_json::from_slice(&bytes).map_err(|error| Fault::new(FaultKind::Garbage, doing()).source(error))
}

/// Replaces a JSON file: a reader sees the old one or the new one.
pub(super) fn write_json<T: Serialize>(path: &Path, value: &T) -> Result<()> {
    let doing = || format!("write {}", path.display());
    let bytes =
        serde_json::to_vec_pretty(value).map_err(|error| Fault::new(FaultKind::Internal, doing()).source(error))?;
    let beside = path.with_extension("new");
    std::fs::write(&beside, bytes).map_err(|error| disk(doing(), error))?;
    std::fs::rename(&beside, path).map_err(|error| disk(doing(), error))
}

/// A fault of this machine's disk, or of the rights on it.
pub(super) fn disk(doing: impl Into<String>, error: std::io::Error) -> Fault {
    let kind =
        if error.kind() == std::io::ErrorKind::PermissionDenied { FaultKind::Permission } else { FaultKind::Disk };
    Fault::new(kind, doing).source(error)
}
