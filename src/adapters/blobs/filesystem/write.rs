//! Writes a file beside its place and puts it there in one step. Blocking inside.

use super::{
    UNFINISHED,
    beneath::{Miss, Root, Seen, disk_fault, what},
    blocking,
};
use crate::{
    error::{Fault, FaultKind, Result},
    model::Digest,
    ports::{BlobBody, BlobInfo, Put},
};
use bytes::Bytes;
use futures::TryStreamExt;
use rustix::{
    fs::{AtFlags, FileType, Mode, OFlags, fstat, fsync, linkat, mkdirat, openat, renameat, statat, unlinkat},
    io::Errno,
};
use sha2::{Digest as _, Sha256};
use std::{
    fs::File,
    io::Write,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

/// Bytes that are gathered before they are written.
const GATHERED: usize = 512 * 1024;

/// A file that disappears again unless it was finished.
struct Writing {
    doing: String,
    key: String,
    folder: OwnedFd,
    part: String,
    file: File,
    hash: Sha256,
    written: u64,
    finished: bool,
}

impl Drop for Writing {
    fn drop(&mut self) {
        if !self.finished
            && let Err(errno) = unlinkat(&self.folder, &self.part, AtFlags::empty())
            && errno != Errno::NOENT
        {
            tracing::warn!("left {} behind, which was to be {}: {errno}", self.part, self.key);
        }
    }
}

/// Stores a body under this key.
pub(super) async fn put(doing: String, root: PathBuf, key: String, body: BlobBody, put: &Put) -> Result<BlobInfo> {
    let mut writing = blocking(move || Writing::begin(doing, &root, key)).await?;
    let (size, mut bytes) = (body.size, body.bytes);
    let (mut pieces, mut gathered) = (Vec::new(), 0);
    while let Some(piece) = bytes.try_next().await? {
        gathered += piece.len();
        pieces.push(piece);
        if gathered >= GATHERED {
            let pieces = std::mem::take(&mut pieces);
            gathered = 0;
            writing = blocking(move || writing.write(&pieces)).await?;
        }
    }
    let put = put.clone();
    blocking(move || writing.write(&pieces)?.finish(size, &put)).await
}

impl Writing {
    fn begin(doing: String, root: &Path, key: String) -> Result<Self> {
        let root = Root::open(&doing, root)?;
        let (folder, name) = key.rsplit_once('/').unwrap_or(("", &key));
        let folder = make(&doing, &root, folder)?;
        let wrong = |errno| disk_fault(&doing, errno);
        match statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW).map(|stat| FileType::from_raw_mode(stat.st_mode)) {
            // A link is replaced itself, not what it leads to.
            Ok(FileType::RegularFile | FileType::Symlink) | Err(Errno::NOENT) => {}
            Ok(other) => return Err(Miss::Odd(what(other).into()).fault(&doing, &key)),
            Err(errno) => return Err(wrong(errno)),
        }
        let part = format!("{UNFINISHED}{}", uuid::Uuid::new_v4().simple());
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = openat(&folder, &part, flags, Mode::from_raw_mode(0o666)).map_err(wrong)?.into();
        Ok(Self { doing, key, folder, part, file, hash: Sha256::new(), written: 0, finished: false })
    }

    fn write(mut self, pieces: &[Bytes]) -> Result<Self> {
        for piece in pieces {
            self.hash.update(piece);
            self.written += u64::try_from(piece.len()).unwrap_or(u64::MAX);
            self.file.write_all(piece).map_err(|error| disk_fault(&self.doing, error))?;
        }
        Ok(self)
    }

    fn finish(mut self, size: u64, put: &Put) -> Result<BlobInfo> {
        let sha256 = Digest(std::mem::take(&mut self.hash).finalize().into());
        let mismatch = |detail| Fault::new(FaultKind::Mismatch, &*self.doing).detail(detail);
        if self.written != size {
            return Err(mismatch(format!("{} bytes came, {size} were announced", self.written)));
        }
        if let Some(wanted) = put.sha256.filter(|wanted| *wanted != sha256) {
            return Err(mismatch(format!("SHA-256 is {sha256}, not {wanted}")));
        }
        let wrong = |errno| disk_fault(&self.doing, errno);
        fsync(&self.file).map_err(wrong)?;
        let seen = Seen::of(&fstat(&self.file).map_err(wrong)?).map_err(|miss| miss.fault(&self.doing, &self.key))?;
        let placed = if put.only_new { self.place_new() } else { self.place() };
        placed.map_err(|errno| match errno {
            Errno::EXIST => Fault::new(FaultKind::Exists, &*self.doing).detail("a file of this name stands there"),
            other => wrong(other),
        })?;
        // Only now does the new name survive a power cut.
        fsync(&self.folder).map_err(wrong)?;
        self.finished = true;
        Ok(BlobInfo {
            key: self.key.clone(),
            size,
            sha256: Some(sha256),
            version: Some(seen.version),
            ..BlobInfo::default()
        })
    }

    fn name(&self) -> &str {
        self.key.rsplit_once('/').map_or(&self.key, |(_, name)| name)
    }

    fn place(&self) -> Result<(), Errno> {
        renameat(&self.folder, &self.part, &self.folder, self.name())
    }

    /// The same, unless something stands there already (`EXIST`): by whichever of the two ways the file system knows.
    /// One that knows neither replaces it, and [`super::FolderBucket`] says so when it is asked.
    fn place_new(&self) -> Result<(), Errno> {
        match rename_new(&self.folder, &self.part, self.name()) {
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {}
            done => return done,
        }
        match linkat(&self.folder, &self.part, &self.folder, self.name(), AtFlags::empty()) {
            Err(Errno::PERM | Errno::NOSYS | Errno::OPNOTSUPP) => self.place(),
            Ok(()) => unlinkat(&self.folder, &self.part, AtFlags::empty()),
            Err(errno) => Err(errno),
        }
    }
}

#[cfg(any(target_os = "linux", target_vendor = "apple"))]
fn rename_new(folder: &OwnedFd, from: &str, to: &str) -> Result<(), Errno> {
    rustix::fs::renameat_with(folder, from, folder, to, rustix::fs::RenameFlags::NOREPLACE)
}

#[cfg(not(any(target_os = "linux", target_vendor = "apple")))]
fn rename_new(_: &OwnedFd, _: &str, _: &str) -> Result<(), Errno> {
    Err(Errno::NOSYS)
}

/// The folder of this key, made if it is not there, below the root and nowhere else.
fn make(doing: &str, root: &Root, key: &str) -> Result<OwnedFd> {
    match root.folder(key) {
        Err(Miss::Gone) if !key.is_empty() => {}
        done => return done.map_err(|miss| miss.fault(doing, key)),
    }
    let (above, name) = key.rsplit_once('/').unwrap_or(("", key));
    let above = make(doing, root, above)?;
    match mkdirat(&above, name, Mode::from_raw_mode(0o777)) {
        Ok(()) => fsync(&above).map_err(|errno| disk_fault(doing, errno))?,
        // By somebody else, just now; or what stands there is no folder.
        Err(Errno::EXIST) => {}
        Err(errno) => return Err(disk_fault(doing, errno)),
    }
    root.folder(key).map_err(|miss| match miss {
        Miss::Gone => Miss::Odd("no folder".into()).fault(doing, key),
        miss => miss.fault(doing, key),
    })
}

/// Removes the file of this key. A link is removed itself, not what it leads to.
pub(super) fn delete(doing: &str, root: &Root, key: &str) -> Result<()> {
    match root.look(key) {
        Err(Miss::Gone) => return Ok(()),
        Err(miss) => return Err(miss.fault(doing, key)),
        Ok(_) => {}
    }
    let (folder, name) = key.rsplit_once('/').unwrap_or(("", key));
    let folder = match root.folder(folder) {
        Err(Miss::Gone) => return Ok(()),
        folder => folder.map_err(|miss| miss.fault(doing, key))?,
    };
    match unlinkat(&folder, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(disk_fault(doing, errno)),
    }
}
