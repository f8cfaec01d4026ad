//! A folder's files in key order, page by page. Blocking.
//!
//! Key order is the order of whole keys as bytes: `a.txt` comes before `a/b`, since `.` comes before `/`. Of each folder
//! on the way only as many names are kept as one page can need, however many it holds.

use super::{
    UNFINISHED,
    beneath::{Miss, Root, Seen, disk_fault, what},
};
use crate::{
    error::Result,
    model::text::clean,
    ports::{BlobInfo, BlobPage},
};
use rustix::{
    fs::{AtFlags, Dir, DirEntry, FileType, statat},
    io::Errno,
};
use std::{collections::BinaryHeap, path::Path};

struct Walk<'a> {
    doing: &'a str,
    root: Root,
    prefix: &'a str,
    after: Option<&'a str>,
    /// One more than the page takes, which tells whether there is a next one.
    wanted: usize,
    found: Vec<BlobInfo>,
}

/// The page behind `after`.
pub(super) fn page(doing: &str, root: &Path, prefix: &str, after: Option<&str>, limit: u32) -> Result<BlobPage> {
    let root = Root::open(doing, root)?;
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let mut walk = Walk { doing, root, prefix, after, wanted: limit.saturating_add(1), found: Vec::new() };
    walk.folder("")?;
    let mut blobs = walk.found;
    let more = blobs.len() > limit;
    blobs.truncate(limit);
    let next = blobs.last().filter(|_| more).map(|last| last.key.clone());
    Ok(BlobPage { blobs, next })
}

impl Walk<'_> {
    /// Lists a folder, given as the key of everything in it (`""`, `a/b/`).
    fn folder(&mut self, within: &str) -> Result<()> {
        let mut seen: Option<String> = None;
        loop {
            let names = self.names(within, seen.as_deref())?;
            let whole = names.len() < self.wanted;
            for key in names {
                if self.found.len() >= self.wanted {
                    return Ok(());
                }
                if key.ends_with('/') {
                    self.folder(&key)?;
                } else if let Some(blob) = self.blob(&key) {
                    self.found.push(blob);
                }
                seen = Some(key);
            }
            if whole || self.found.len() >= self.wanted {
                return Ok(());
            }
        }
    }

    /// The first keys of a folder behind `seen` that may hold something for this page; folders end with `/`.
    fn names(&self, within: &str, seen: Option<&str>) -> Result<Vec<String>> {
        let mut dir = match self.root.folder_itself(within.trim_end_matches('/')).and_then(Dir::new) {
            Ok(dir) => dir,
            // Removed since it was listed: there is nothing in it.
            Err(Errno::NOENT) if !within.is_empty() => return Ok(Vec::new()),
            Err(errno) => return Err(disk_fault(self.doing, errno)),
        };
        let mut first = BinaryHeap::new();
        while let Some(entry) = dir.read() {
            let entry = entry.map_err(|errno| disk_fault(self.doing, errno))?;
            let Some(key) = self.key(&dir, within, &entry)? else { continue };
            if !self.concerns(&key) || seen.is_some_and(|seen| key.as_str() <= seen) {
                continue;
            }
            first.push(key);
            if first.len() > self.wanted {
                first.pop();
            }
        }
        Ok(first.into_sorted_vec())
    }

    /// The key of an entry that may be listed; of a folder with a slash.
    fn key(&self, dir: &Dir, within: &str, entry: &DirEntry) -> Result<Option<String>> {
        let left_out = |what: &str| {
            let name = clean(&format!("{within}{}", entry.file_name().to_string_lossy()), 200);
            tracing::warn!("left out of the listing, {what}: {name}");
        };
        let Ok(name) = entry.file_name().to_str() else {
            left_out("its name is no text");
            return Ok(None);
        };
        if name == "." || name == ".." || name.starts_with(UNFINISHED) {
            return Ok(None);
        }
        let mut kind = entry.file_type();
        if kind == FileType::Unknown {
            kind = match dir.fd().and_then(|fd| statat(fd, name, AtFlags::SYMLINK_NOFOLLOW)) {
                Ok(stat) => FileType::from_raw_mode(stat.st_mode),
                Err(Errno::NOENT) => return Ok(None),
                Err(errno) => return Err(disk_fault(self.doing, errno)),
            };
        }
        match kind {
            FileType::Directory => Ok(Some(format!("{within}{name}/"))),
            FileType::RegularFile | FileType::Symlink => Ok(Some(format!("{within}{name}"))),
            other => {
                left_out(&format!("it is {}", what(other)));
                Ok(None)
            }
        }
    }

    /// This key, or for a folder something in it, may belong to the page.
    fn concerns(&self, key: &str) -> bool {
        let folder = key.ends_with('/');
        let in_prefix = key.starts_with(self.prefix) || (folder && self.prefix.starts_with(key));
        let behind = self.after.is_none_or(|after| key > after || (folder && after.starts_with(key)));
        in_prefix && behind
    }

    fn blob(&self, key: &str) -> Option<BlobInfo> {
        match self.root.look(key) {
            Ok(Seen { size, version }) => {
                Some(BlobInfo { key: key.to_owned(), size, version: Some(version), ..BlobInfo::default() })
            }
            // Removed since it was listed, or a link that leads nowhere.
            Err(Miss::Gone) => None,
            Err(miss) => {
                tracing::warn!("left out of the listing: {}", miss.fault(self.doing, key).chain());
                None
            }
        }
    }
}
