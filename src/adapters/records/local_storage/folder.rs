//! A folder with a file `<user>.json` for each user. Blocking: whoever calls moves it off the runtime.
//! Must never enter: what is in an export.

use super::entries::Export;
use crate::{
    error::{Fault, FaultKind, Result},
    model::Timestamp,
};
use std::{
    collections::BTreeSet,
    io::ErrorKind,
    ops::Bound,
    path::{Path, PathBuf},
};

/// A longer file is no browser's export: browsers keep some 10 MB for each site.
const LONGEST: u64 = 64 * 1024 * 1024;

/// The users with an export, in order, from this one on; at most so many.
pub(super) fn users(doing: &str, root: &Path, from: Bound<&str>, most: usize) -> Result<Vec<String>> {
    let mut users = BTreeSet::new();
    for entry in std::fs::read_dir(root).map_err(|error| fault(doing, root, error))? {
        let name = entry.map_err(|error| fault(doing, root, error))?.file_name();
        let Some(user) = name.to_str().and_then(|name| name.strip_suffix(".json")).filter(|user| !user.is_empty())
        else {
            tracing::debug!("{} holds {}, which is no export", root.display(), name.to_string_lossy());
            continue;
        };
        let wanted = match from {
            Bound::Included(from) => user >= from,
            Bound::Excluded(from) => user > from,
            Bound::Unbounded => true,
        };
        if wanted {
            users.insert(user.to_owned());
            // However many files there are, only the next ones are remembered.
            if users.len() > most {
                users.pop_last();
            }
        }
    }
    Ok(users.into_iter().collect())
}

/// The export of this user, if there is one; without a time of its own it was made when its file was.
pub(super) fn export(doing: &str, root: &Path, user: &str) -> Result<Option<Export>> {
    if user.contains(['/', '\\', '\0']) {
        return Ok(None);
    }
    let path: PathBuf = root.join(format!("{user}.json"));
    let about = match std::fs::metadata(&path) {
        Ok(about) => about,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(fault(doing, &path, error)),
    };
    if about.len() > LONGEST {
        let detail = format!("{} has {} bytes, more than any browser keeps", path.display(), about.len());
        return Err(Fault::new(FaultKind::Refused, doing).detail(detail));
    }
    let bytes = std::fs::read(&path).map_err(|error| fault(doing, &path, error))?;
    let mut export = Export::parse(user, bytes);
    if export.exported_at.is_none() {
        export.exported_at = about.modified().ok().and_then(|time| Timestamp::try_from(time).ok());
    }
    Ok(Some(export))
}

fn fault(doing: &str, path: &Path, error: std::io::Error) -> Fault {
    let kind = match error.kind() {
        ErrorKind::NotFound => FaultKind::NotFound,
        ErrorKind::PermissionDenied => FaultKind::Permission,
        _ => FaultKind::Disk,
    };
    Fault::new(kind, doing).detail(path.display().to_string()).source(error)
}
