//! Everything in a folder, as it comes. Blocking inside, a stream outside.
//!
//! What is kept is one open folder for each level, so that neither a folder of ten million names nor ten million folders
//! take any memory. Far down no folder is kept open, and the names of the folders in it are kept instead. A link to a
//! file inside is a blob; a link to a folder is odd, since what is in it would be found twice.

use super::{
    UNFINISHED,
    beneath::{Miss, Root, Seen, disk_fault, what},
};
use crate::{
    error::{Fault, Result},
    model::text::clean,
    ports::{BlobInfo, Found},
};
use futures::{StreamExt, stream, stream::BoxStream};
use rustix::{
    fs::{AtFlags, Dir, DirEntry, FileType, statat},
    io::Errno,
};
use std::{path::PathBuf, vec};
use tokio::{
    sync::mpsc::{Sender, channel},
    task::spawn_blocking,
};

/// Findings that come at once.
const PAGE: usize = 1000;
/// Pages that wait to be taken.
const WAITING: usize = 2;
/// Levels whose folder stays open while those in it are looked at.
const OPEN: usize = 64;
/// Characters of a name that are shown.
const SHOWN: usize = 1024;

/// A folder on the way, by the key of everything in it (`""`, `a/b/`).
struct Level {
    within: String,
    /// What the names in it must begin with.
    beginning: String,
    rest: Rest,
}

/// What is still to be looked at in a folder.
enum Rest {
    Entries(Dir),
    Folders(vec::IntoIter<String>),
}

/// Why a scan ends before it is through.
enum End {
    Unwanted,
    Fault(Fault),
}

struct Scan {
    doing: String,
    root: Root,
    page: Vec<Found>,
    to: Sender<Result<Vec<Found>>>,
}

/// Everything whose key begins with `prefix`. Nothing is looked at before somebody asks for it.
pub(super) fn scan(doing: String, root: PathBuf, prefix: String) -> BoxStream<'static, Result<Vec<Found>>> {
    let begin = async move {
        let (to, found) = channel(WAITING);
        spawn_blocking(move || {
            let scan = Root::open(&doing, &root).map(|root| Scan { doing, root, page: Vec::new(), to: to.clone() });
            if let Err(End::Fault(fault)) = scan.map_err(End::Fault).and_then(|mut scan| scan.run(&prefix)) {
                // Whoever has gone does not need to know.
                let _unwanted = to.blocking_send(Err(fault));
            }
        });
        stream::unfold(found, async |mut found| found.recv().await.map(|page| (page, found)))
    };
    stream::once(begin).flatten().boxed()
}

impl Scan {
    fn run(&mut self, prefix: &str) -> Result<(), End> {
        let (folder, beginning) = prefix.rsplit_once('/').unwrap_or(("", prefix));
        let no_key = |part: &str| part.is_empty() || part == "." || part == "..";
        if prefix.starts_with('/') || (prefix.contains('/') && folder.split('/').any(no_key)) {
            return Ok(());
        }
        let within = if folder.is_empty() { String::new() } else { format!("{folder}/") };
        let mut levels: Vec<Level> = self.enter(within, beginning)?.into_iter().collect();
        while let Some(level) = levels.last_mut() {
            let Some(within) = self.next_folder(level)? else {
                levels.pop();
                continue;
            };
            let Some(mut level) = self.enter(within, "")? else { continue };
            if levels.len() >= OPEN {
                let mut folders = Vec::new();
                while let Some(folder) = self.next_folder(&mut level)? {
                    folders.push(folder);
                }
                level.rest = Rest::Folders(folders.into_iter());
            }
            levels.push(level);
        }
        self.turn_page()
    }

    /// Opens a folder; one that cannot be opened is a finding, unless it is the root.
    fn enter(&mut self, within: String, beginning: &str) -> Result<Option<Level>, End> {
        let key = within.trim_end_matches('/');
        match self.root.folder_itself(key).and_then(Dir::new) {
            Ok(dir) => Ok(Some(Level { within, beginning: beginning.to_owned(), rest: Rest::Entries(dir) })),
            Err(errno) if key.is_empty() => Err(End::Fault(disk_fault(&self.doing, errno))),
            Err(Errno::NOENT) => Ok(None),
            Err(Errno::LOOP | Errno::NOTDIR) => {
                let why = self.root.folder(key).map_or_else(Miss::why, |_| Some("a link to a folder".into()));
                why.map_or(Ok(()), |why| self.odd(key, why))?;
                Ok(None)
            }
            Err(errno) => {
                self.odd(key, format!("a folder that cannot be read ({errno})"))?;
                Ok(None)
            }
        }
    }

    /// Looks at what is in a folder up to the next folder in it, which it gives.
    fn next_folder(&mut self, level: &mut Level) -> Result<Option<String>, End> {
        let dir = match &mut level.rest {
            Rest::Folders(folders) => return Ok(folders.next()),
            Rest::Entries(dir) => dir,
        };
        while let Some(entry) = dir.read() {
            let entry = match entry {
                Ok(entry) => entry,
                Err(errno) => {
                    let why = format!("a folder that cannot be read to its end ({errno})");
                    self.odd(level.within.trim_end_matches('/'), why)?;
                    break;
                }
            };
            let name = entry.file_name().to_bytes();
            let concerns = name.starts_with(level.beginning.as_bytes()) && !name.starts_with(UNFINISHED.as_bytes());
            if concerns
                && name != b"."
                && name != b".."
                && let Some(folder) = self.entry(dir, &level.within, &entry)?
            {
                return Ok(Some(folder));
            }
        }
        Ok(None)
    }

    /// Looks at one name of a folder; a folder is only given back.
    fn entry(&mut self, dir: &Dir, within: &str, entry: &DirEntry) -> Result<Option<String>, End> {
        let name = entry.file_name();
        let Ok(text) = name.to_str() else {
            let of_a_folder = if entry.file_type() == FileType::Directory { " (with all that is in it)" } else { "" };
            let shown = format!("{within}{}", name.to_string_lossy());
            return self.odd(&shown, format!("its name is no text{of_a_folder}")).map(|()| None);
        };
        let key = format!("{within}{text}");
        let seen = match entry.file_type() {
            FileType::Directory => return Ok(Some(key + "/")),
            FileType::Symlink => self.behind(&key),
            FileType::RegularFile | FileType::Unknown => {
                match dir.fd().and_then(|fd| statat(fd, name, AtFlags::SYMLINK_NOFOLLOW)) {
                    Ok(stat) => match FileType::from_raw_mode(stat.st_mode) {
                        FileType::Directory => return Ok(Some(key + "/")),
                        FileType::Symlink => self.behind(&key),
                        _ => Seen::of(&stat),
                    },
                    Err(errno) => Err(errno.into()),
                }
            }
            other => Err(Miss::Odd(what(other).into())),
        };
        match seen.map_err(Miss::why) {
            Ok(Seen { size, version }) => {
                self.found(Found::Blob(BlobInfo { key, size, version: Some(version), ..BlobInfo::default() }))?;
            }
            Err(Some(why)) => self.odd(&key, why)?,
            // Removed since its name was read.
            Err(None) => {}
        }
        Ok(None)
    }

    /// Looks at what a link leads to.
    fn behind(&self, key: &str) -> Result<Seen, Miss> {
        self.root.look(key).map_err(|miss| match miss {
            Miss::Gone => Miss::Odd("a link that leads nowhere".into()),
            Miss::Odd(what) if !what.starts_with("a link") => Miss::Odd(format!("a link to {what}")),
            miss => miss,
        })
    }

    fn odd(&mut self, name: &str, why: impl Into<String>) -> Result<(), End> {
        self.found(Found::Odd { name: clean(name, SHOWN), why: why.into() })
    }

    fn found(&mut self, found: Found) -> Result<(), End> {
        self.page.push(found);
        if self.page.len() < PAGE { Ok(()) } else { self.turn_page() }
    }

    fn turn_page(&mut self) -> Result<(), End> {
        if self.page.is_empty() {
            return Ok(());
        }
        let page = std::mem::replace(&mut self.page, Vec::with_capacity(PAGE));
        self.to.blocking_send(Ok(page)).map_err(|_| End::Unwanted)
    }
}
