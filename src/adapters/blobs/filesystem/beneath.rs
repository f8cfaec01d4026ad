//! Opens what stands below a root and nothing else, however its links lead. Blocking.
//!
//! The kernel keeps the way below the root where it can (`openat2`); where it cannot, or will not, the way is gone part
//! by part without following any link. A link that leads on inside is followed to where it really leads, and that
//! place is then opened without links. Must never enter: what is read or written there.

use crate::error::{Fault, FaultKind};
use rustix::{
    fs::{FileType, Mode, OFlags, Stat, fstat, openat},
    io::Errno,
};
use std::{
    fs::{self, File},
    io,
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
};

/// Opens a name to look at it: nothing is asked for that a pipe or a device would notice.
#[cfg(target_os = "linux")]
const LOOK: OFlags = OFlags::PATH;
#[cfg(not(target_os = "linux"))]
const LOOK: OFlags = OFlags::RDONLY.union(OFlags::NONBLOCK);

/// Opens a file to read it. Nothing that only poses as a file can make this wait.
const READ: OFlags = OFlags::RDONLY.union(OFlags::NONBLOCK).union(OFlags::NOCTTY);
/// Opens a folder to list it, to write in it, and to make that durable.
const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY);

/// Why there is no file to be had.
#[derive(Debug)]
pub(super) enum Miss {
    /// Nothing stands there.
    Gone,
    /// Something stands there and is no file below the root: what it is.
    Odd(String),
    /// The disk says no.
    Disk(io::Error),
}

impl Miss {
    /// The fault it is while doing this with that.
    pub(super) fn fault(self, doing: &str, key: &str) -> Fault {
        match self {
            Self::Gone => Fault::new(FaultKind::NotFound, doing).detail("there is no such file"),
            Self::Odd(what) => Fault::new(FaultKind::Refused, doing).detail(format!("{key} is {what}")),
            Self::Disk(error) => disk_fault(doing, error),
        }
    }

    /// What a scan says of it; `None` if nothing stands there.
    pub(super) fn why(self) -> Option<String> {
        match self {
            Self::Gone => None,
            Self::Odd(what) => Some(what),
            Self::Disk(error) => Some(format!("nothing that can be looked at ({error})")),
        }
    }
}

impl From<Errno> for Miss {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::NOENT | Errno::NOTDIR => Self::Gone,
            Errno::LOOP => Self::Odd("a link that leads nowhere but to links".into()),
            other => Self::Disk(other.into()),
        }
    }
}

/// The fault that an error of the disk stands for.
pub(super) fn disk_fault(doing: &str, error: impl Into<io::Error>) -> Fault {
    let error = error.into();
    let kind = match error.kind() {
        io::ErrorKind::NotFound => FaultKind::NotFound,
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => FaultKind::Permission,
        io::ErrorKind::InvalidFilename | io::ErrorKind::IsADirectory | io::ErrorKind::NotADirectory => {
            FaultKind::Refused
        }
        _ => FaultKind::Disk,
    };
    Fault::new(kind, doing).source(error)
}

/// What something is that is no regular file.
pub(super) const fn what(kind: FileType) -> &'static str {
    match kind {
        FileType::Directory => "a folder",
        FileType::Fifo => "a pipe",
        FileType::Socket => "a socket",
        FileType::BlockDevice | FileType::CharacterDevice => "a device",
        _ => "no regular file",
    }
}

/// What is known of a regular file from looking at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    /// Its length in bytes.
    pub(super) size: u64,
    /// Length, time of the last write, and number of the file: another one after every write and every replacement.
    pub(super) version: String,
}

impl Seen {
    /// A regular file; anything else is odd.
    pub(super) fn of(stat: &Stat) -> Result<Self, Miss> {
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Ok(Self {
                size: u64::try_from(stat.st_size).unwrap_or_default(),
                version: format!("{}-{}.{:09}-{}", stat.st_size, stat.st_mtime, stat.st_mtime_nsec, stat.st_ino),
            }),
            other => Err(Miss::Odd(what(other).into())),
        }
    }
}

/// A folder that everything is looked for in.
#[derive(Debug)]
pub(super) struct Root {
    path: PathBuf,
    folder: OwnedFd,
}

impl Root {
    /// The root itself may be a link, and lead anywhere.
    pub(super) fn open(doing: &str, path: &Path) -> Result<Self, Fault> {
        let flags = LOOK | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = rustix::fs::open(path, flags, Mode::empty())
            .map_err(|errno| disk_fault(doing, errno).detail(format!("the folder {}", path.display())))?;
        Ok(Self { path: path.to_owned(), folder })
    }

    /// Looks at the file of this key.
    pub(super) fn look(&self, key: &str) -> Result<Seen, Miss> {
        Seen::of(&fstat(self.at(key, LOOK)?)?)
    }

    /// Opens the file of this key for reading. It is looked at before, since opening a device can already do something.
    pub(super) fn file(&self, key: &str) -> Result<(File, Seen), Miss> {
        self.look(key)?;
        let file = self.at(key, READ)?;
        let seen = Seen::of(&fstat(&file)?)?;
        Ok((file.into(), seen))
    }

    /// Opens the folder that this key is; the empty key is the root.
    pub(super) fn folder(&self, key: &str) -> Result<OwnedFd, Miss> {
        self.at(if key.is_empty() { "." } else { key }, FOLDER)
    }

    /// The same, but no link on the way is followed: such a one is `LOOP` or `NOTDIR`.
    pub(super) fn folder_itself(&self, key: &str) -> Result<OwnedFd, Errno> {
        let key = if key.is_empty() { "." } else { key };
        match straight(&self.folder, key, FOLDER, false) {
            Err(errno) if needs_steps(errno) => self.by_steps(key, FOLDER),
            done => done,
        }
    }

    fn at(&self, key: &str, flags: OFlags) -> Result<OwnedFd, Miss> {
        let done = match straight(&self.folder, key, flags, true) {
            Err(errno) if needs_steps(errno) => self.by_steps(key, flags),
            done => done,
        };
        match done {
            // A link that leads out, or one by its full path, which may still lead inside.
            Err(Errno::XDEV | Errno::LOOP) => self.behind_links(key, flags),
            done => Ok(done?),
        }
    }

    /// Goes part by part; a link on the way is `LOOP`.
    fn by_steps(&self, key: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
        let step = |from: &OwnedFd, part: &str, flags: OFlags| {
            let there = openat(from, part, flags | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
            let is_link = FileType::from_raw_mode(fstat(&there)?.st_mode) == FileType::Symlink;
            if is_link { Err(Errno::LOOP) } else { Ok(there) }
        };
        let (folders, name) = key.rsplit_once('/').unwrap_or(("", key));
        let mut here = self.folder.try_clone().map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
        for part in folders.split('/').filter(|part| !part.is_empty()) {
            here = step(&here, part, LOOK)?;
        }
        match step(&here, name, flags) {
            // With `O_DIRECTORY` a link is told as what it is not.
            Err(Errno::NOTDIR) if matches!(step(&here, name, LOOK), Err(Errno::LOOP)) => Err(Errno::LOOP),
            done => done,
        }
    }

    /// Finds out where the links really lead, and goes there if that is inside.
    fn behind_links(&self, key: &str, flags: OFlags) -> Result<OwnedFd, Miss> {
        let real = |path: &Path| {
            fs::canonicalize(path).map_err(|error| Errno::from_io_error(&error).map_or(Miss::Disk(error), Miss::from))
        };
        let root = real(&self.path)?;
        let path = real(&root.join(key))?;
        let Ok(inside) = path.strip_prefix(&root) else {
            return Err(Miss::Odd(format!("a link that leads out of {}", self.path.display())));
        };
        match inside.to_str() {
            Some("") => Ok(self.by_steps(".", flags)?),
            Some(inside) => Ok(self.by_steps(inside, flags)?),
            None => Err(Miss::Odd("a link to something whose name is no text".into())),
        }
    }
}

/// The kernel could not do it at once: it is too old, a sandbox forbids the call, the whole path is too long for one
/// call, or something was renamed on the way.
const fn needs_steps(errno: Errno) -> bool {
    matches!(errno, Errno::NOSYS | Errno::PERM | Errno::NAMETOOLONG | Errno::AGAIN)
}

#[cfg(target_os = "linux")]
fn straight(root: &OwnedFd, key: &str, flags: OFlags, links: bool) -> Result<OwnedFd, Errno> {
    use rustix::fs::{ResolveFlags, openat2};
    let links = if links { ResolveFlags::NO_MAGICLINKS } else { ResolveFlags::NO_SYMLINKS };
    openat2(root.as_fd(), key, flags | OFlags::CLOEXEC, Mode::empty(), ResolveFlags::BENEATH | links)
}

#[cfg(not(target_os = "linux"))]
fn straight(_: &OwnedFd, _: &str, _: OFlags, _: bool) -> Result<OwnedFd, Errno> {
    Err(Errno::NOSYS)
}

#[cfg(test)]
mod tests {
    use super::{FOLDER, LOOK, Miss, Root};
    use rustix::io::Errno;
    use std::{fs, os::unix::fs::symlink};

    /// What a kernel without `openat2` has to do, which the tests of the bucket never meet on a newer one.
    #[test]
    fn the_way_by_steps_is_as_strict() {
        let (outside, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let at = folder.path();
        fs::create_dir_all(at.join("a/b")).unwrap();
        fs::write(at.join("a/b/c"), "c").unwrap();
        fs::write(outside.path().join("secret"), "secret").unwrap();
        symlink("a/b", at.join("in")).unwrap();
        symlink(at.join("a/b/c"), at.join("file")).unwrap();
        symlink(outside.path(), at.join("out")).unwrap();
        symlink("circle", at.join("circle")).unwrap();
        let root = Root::open("test", at).unwrap();
        assert!(root.by_steps("a/b/c", LOOK).is_ok());
        assert!(root.by_steps(".", FOLDER).is_ok());
        for (key, flags, errno) in [
            ("in/c", LOOK, Errno::LOOP),
            ("in", LOOK, Errno::LOOP),
            ("in", FOLDER, Errno::LOOP),
            ("out/secret", LOOK, Errno::LOOP),
            ("a/b/c", FOLDER, Errno::NOTDIR),
            ("a/b/c/d", LOOK, Errno::NOTDIR),
            ("a/x", LOOK, Errno::NOENT),
        ] {
            assert_eq!(root.by_steps(key, flags).unwrap_err(), errno, "{key}");
        }
        for key in ["in/c", "file"] {
            assert!(root.behind_links(key, LOOK).is_ok(), "{key}");
        }
        let odd = |key: &str| match root.behind_links(key, LOOK) {
            Err(Miss::Odd(what)) => what,
            other => panic!("{key}: {other:?}"),
        };
        assert!(odd("out/secret").contains("leads out of"));
        assert!(odd("circle").contains("nowhere"));
    }
}
