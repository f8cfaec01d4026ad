//! One driver per plan: an exclusive lock on a file in the plan's folder. The operating system takes it back when the
//! process ends, however it ends; the file's content only says who holds it.

use crate::{
    error::{Fault, FaultKind, Result},
    model::{Timestamp, text},
};
use serde::{Deserialize, Serialize};
use std::{
    fs::{DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Read as _, Seek as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    time::Duration,
};

/// The lock's file in the plan's folder.
const FILE: &str = "lock";
/// Further attempts to take it, and the wait before each.
const ATTEMPTS: u32 = 3;
const PAUSE: Duration = Duration::from_millis(20);

/// Who holds the lock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// Process number.
    pub pid: u32,
    /// Machine.
    pub host: String,
    /// User.
    pub user: String,
    /// What it is doing (`cutover run`).
    pub what: String,
    /// Since when.
    pub since: Timestamp,
}

/// The lock, held as long as this value lives.
#[derive(Debug)]
pub struct RunLock {
    path: PathBuf,
    _file: File,
}

impl RunLock {
    /// Takes the lock in this folder, making the folder if it is missing; `holder` says what for (`cutover run`).
    ///
    /// # Errors
    /// `Locked`, naming the holder, if another process has it; `Permission` or `Disk` if the file cannot be written.
    pub fn take(dir: &Path, holder: &str) -> Result<Self> {
        let path = dir.join(FILE);
        let fault = |error: &io::Error| {
            let kind = match error.kind() {
                io::ErrorKind::PermissionDenied => FaultKind::Permission,
                _ => FaultKind::Disk,
            };
            Fault::new(kind, format!("take the lock {}", path.display())).detail(error.to_string())
        };
        DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(|error| fault(&error))?;
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(|error| fault(&error))?;
        // A question about the holder takes the lock for a moment too, hence more than one attempt.
        let mut attempt = file.try_lock();
        for _ in 0..ATTEMPTS {
            if !matches!(attempt, Err(TryLockError::WouldBlock)) {
                break;
            }
            std::thread::sleep(PAUSE);
            attempt = file.try_lock();
        }
        match attempt {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(held(&path)),
            Err(TryLockError::Error(error)) => return Err(fault(&error)),
        }
        write_holder(&mut file, holder).map_err(|error| fault(&error))?;
        Ok(Self { path, _file: file })
    }

    /// Who holds the lock in this folder now, if anybody does. Taking and giving it back for the question is not seen by
    /// others as more than a moment.
    #[must_use]
    pub fn holder(dir: &Path) -> Option<Holder> {
        let file = File::open(dir.join(FILE)).ok()?;
        match file.try_lock_shared() {
            Err(TryLockError::WouldBlock) => Some(read_holder(&dir.join(FILE)).unwrap_or_else(|| Holder {
                pid: 0,
                host: String::new(),
                user: String::new(),
                what: "somebody".into(),
                since: Timestamp::UNIX_EPOCH,
            })),
            _ => None,
        }
    }

    /// Where the lock stands.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

fn write_holder(file: &mut File, what: &str) -> io::Result<()> {
    let holder =
        Holder { pid: std::process::id(), host: host(), user: user(), what: what.into(), since: Timestamp::now() };
    let mut line = serde_json::to_string(&holder).map_err(io::Error::other)?;
    line.push('\n');
    file.set_len(0)?;
    file.rewind()?;
    file.write_all(line.as_bytes())
}

fn read_holder(path: &Path) -> Option<Holder> {
    let mut text = String::new();
    // The file is ours by name only: a cap keeps a wrong one from filling the memory.
    File::open(path).ok()?.take(4096).read_to_string(&mut text).ok()?;
    serde_json::from_str(&text).ok()
}

fn held(path: &Path) -> Fault {
    let by = read_holder(path).map_or_else(
        || "held by another process".into(),
        |holder| {
            format!(
                "held by `{}` (pid {}) of {} on {} since {}",
                text::clean(&holder.what, 60),
                holder.pid,
                text::clean(&holder.user, 40),
                text::clean(&holder.host, 60),
                holder.since.strftime("%Y-%m-%d %H:%M:%SZ"),
            )
        },
    );
    Fault::new(FaultKind::Locked, format!("take the lock {}", path.display())).detail(by)
}

/// This process's user: as the environment says, else as the system's list says, else by number.
#[must_use]
pub fn user() -> String {
    ["USER", "LOGNAME"]
        .into_iter()
        .find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
        .unwrap_or_else(|| {
            let id = rustix::process::getuid().as_raw().to_string();
            listed(&std::fs::read_to_string("/etc/passwd").unwrap_or_default(), &id).unwrap_or(format!("user {id}"))
        })
}

/// The name of this user number in a list of users.
fn listed(users: &str, id: &str) -> Option<String> {
    users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1) == Some(id)).then(|| name.to_owned())
    })
}

/// The machine's name.
fn host() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .ok()
        .or_else(|| std::env::var("HOSTNAME").ok())
        .map(|name| name.trim().to_owned())
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| "this machine".into())
}
