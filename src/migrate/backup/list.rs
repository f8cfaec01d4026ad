//! All backups of a plan, as they are kept: of every run, finished or not.

use super::{Kept, Manifest, Place, Proven, read::check};
use crate::error::{FaultKind, Result};

/// A backup, as it is kept.
#[derive(Debug)]
pub struct Listed {
    /// What stands there.
    pub kept: Kept,
    /// What it is.
    pub state: State,
}

/// What a backup is.
#[derive(Debug)]
pub enum State {
    /// It was finished.
    Finished {
        /// What it says of itself.
        manifest: Box<Manifest>,
        /// How it was proven, if it was.
        proven: Option<Proven>,
        /// All of it was read just now, and is as it was written.
        checked: bool,
    },
    /// It was cut off, or is being taken: it is none.
    Unfinished,
    /// It is not as it was written: why.
    Hurt(String),
}

/// Lists them in the order of runs and datasets; with `check` each is read as a whole.
///
/// # Errors
/// What the place says after all attempts; `Cancelled`. That a backup is hurt is no error: it is in the answer.
pub async fn list(place: &Place, check: bool) -> Result<Vec<Listed>> {
    let mut all = Vec::new();
    for kept in place.all().await? {
        let state = match look(place, &kept, check).await {
            Ok(state) => state,
            Err(fault) if fault.kind == FaultKind::NotFound => State::Unfinished,
            Err(fault) if fault.kind == FaultKind::Mismatch => State::Hurt(fault.detail),
            Err(fault) => return Err(fault),
        };
        all.push(Listed { kept, state });
    }
    Ok(all)
}

async fn look(place: &Place, kept: &Kept, whole: bool) -> Result<State> {
    let backup = place.backup(&kept.run, &kept.dataset);
    let manifest = backup.manifest().await?;
    let proven = backup.proven(&manifest).await?;
    if whole {
        check(&backup).await?;
    }
    Ok(State::Finished { manifest: Box::new(manifest), proven, checked: whole })
}
