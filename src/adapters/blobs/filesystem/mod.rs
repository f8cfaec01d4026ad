//! Blobs in a folder.
//!
//! A key is a path below the root. What is not a regular file below the root (a link that leads out of it, a device, a
//! pipe) is refused by name when it is asked for, told of by a scan, and left out of a listing with a warning. `beneath`
//! opens what is below the root and nothing else; `scan` and `walk` list, `read` and `write` carry bytes. A blob is
//! written beside its place and renamed into it, so a reader sees the old one or the new one. A folder keeps nothing
//! that travels with a blob: a [`crate::ports::BlobMeta`] is not stored, and none is ever read.

mod beneath;
mod read;
mod scan;
mod walk;
mod write;

use super::check_key;
use crate::{
    error::{Fault, FaultKind, Result},
    ports::{BlobBody, BlobInfo, BlobMeta, BlobPage, BlobStore, Found, Put},
};
use async_trait::async_trait;
use beneath::{Miss, Root, Seen, disk_fault};
use bytes::Bytes;
use futures::{StreamExt, stream, stream::BoxStream};
use std::{
    fs::DirBuilder,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};
use tokio::{
    sync::{OnceCell, Semaphore},
    task::spawn_blocking,
};

/// How the names of unfinished files begin; nobody finds them.
const UNFINISHED: &str = ".cutover-part-";

/// A folder.
#[derive(Debug)]
pub struct FolderBucket {
    name: String,
    root: PathBuf,
    /// The root is made, for this user only, with the first blob; until then it is an empty bucket.
    makes_root: bool,
    guards: OnceCell<bool>,
}

impl FolderBucket {
    /// The bucket of this name in the plan. Touches nothing yet.
    #[must_use]
    pub fn new(name: &str, root: &Path) -> Self {
        Self { name: name.to_owned(), root: root.to_owned(), makes_root: false, guards: OnceCell::new() }
    }

    /// The same for a folder of ours: it is made with the first blob, and for this user only. Touches nothing yet.
    #[must_use]
    pub fn own(name: &str, root: &Path) -> Self {
        Self { makes_root: true, ..Self::new(name, root) }
    }

    /// Nothing can be in it, because it was not made yet.
    fn is_unmade(&self) -> bool {
        self.makes_root && !self.root.exists()
    }

    async fn make_root(&self, doing: &str) -> Result<()> {
        if !self.is_unmade() {
            return Ok(());
        }
        let (doing, root) = (doing.to_owned(), self.root.clone());
        blocking(move || {
            let made = DirBuilder::new().recursive(true).mode(0o700).create(&root);
            made.map_err(|error| disk_fault(&doing, error).detail(format!("the folder {}", root.display())))
        })
        .await
    }

    fn doing(&self, verb: &str, key: &str) -> String {
        format!("{verb} {} in {}", crate::model::text::clean(key, 200), self.name)
    }

    fn prefix(&self, verb: &str, prefix: &str) -> String {
        self.doing(verb, if prefix.is_empty() { "everything" } else { prefix })
    }

    /// Looks at the file of this key; `None` if nothing stands there.
    async fn look(&self, key: &str) -> Result<Option<Seen>> {
        let doing = self.doing("look at", key);
        check_key(&doing, key)?;
        let (root, key) = (self.root.clone(), key.to_owned());
        blocking(move || match Root::open(&doing, &root)?.look(&key) {
            Ok(seen) => Ok(Some(seen)),
            Err(Miss::Gone) => Ok(None),
            Err(miss) => Err(miss.fault(&doing, &key)),
        })
        .await
    }

    /// Two writes under the key, of which the second must not get through.
    async fn try_guard(&self, key: &str) -> Result<bool> {
        let put = Put { only_new: true, ..Put::default() };
        let empty = || BlobBody {
            size: 0,
            version: None,
            meta: BlobMeta::default(),
            bytes: stream::empty::<Result<Bytes>>().boxed(),
        };
        match self.put(key, empty(), &put).await {
            // Left of an earlier try, and the answer already.
            Err(fault) if fault.kind == FaultKind::Exists => return Ok(true),
            first => first?,
        };
        let second = self.put(key, empty(), &put).await;
        self.delete(key).await?;
        match second {
            Err(fault) if fault.kind == FaultKind::Exists => Ok(true),
            second => second.map(|_| false),
        }
    }
}

/// How many calls wait for disks at the same time: more only cost threads.
const AT_ONCE: usize = 16;

static DISKS: Semaphore = Semaphore::const_new(AT_ONCE);

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    // Nobody closes the semaphore.
    let place = DISKS.acquire().await;
    let work = move || {
        let _place = place;
        work()
    };
    spawn_blocking(work)
        .await
        .unwrap_or_else(|error| Err(Fault::new(FaultKind::Internal, "use the disk").source(error)))
}

#[async_trait]
impl BlobStore for FolderBucket {
    async fn list(&self, prefix: &str, from: Option<&str>, limit: u32) -> Result<BlobPage> {
        if self.is_unmade() {
            return Ok(BlobPage::default());
        }
        let doing = self.prefix("list", prefix);
        let (root, prefix, from) = (self.root.clone(), prefix.to_owned(), from.map(str::to_owned));
        blocking(move || walk::page(&doing, &root, &prefix, from.as_deref(), limit.max(1))).await
    }

    fn scan(self: Arc<Self>, prefix: &str) -> BoxStream<'static, Result<Vec<Found>>> {
        scan::scan(self.prefix("scan", prefix), self.root.clone(), prefix.to_owned())
    }

    fn pages_well(&self) -> bool {
        false
    }

    async fn open(&self, key: &str, from: u64) -> Result<BlobBody> {
        let doing = self.doing("read", key);
        check_key(&doing, key)?;
        read::open(doing, self.root.clone(), key.to_owned(), from).await
    }

    async fn put(&self, key: &str, body: BlobBody, put: &Put) -> Result<BlobInfo> {
        let doing = self.doing("write", key);
        check_key(&doing, key)?;
        self.make_root(&doing).await?;
        write::put(doing, self.root.clone(), key.to_owned(), body, put).await
    }

    async fn head(&self, key: &str) -> Result<Option<BlobInfo>> {
        let seen = self.look(key).await?;
        Ok(seen.map(|Seen { size, version }| BlobInfo {
            key: key.to_owned(),
            size,
            version: Some(version),
            ..BlobInfo::default()
        }))
    }

    async fn meta(&self, key: &str) -> Result<Option<BlobMeta>> {
        Ok(self.look(key).await?.map(|_| BlobMeta::default()))
    }

    async fn delete(&self, key: &str) -> Result<()> {
        let doing = self.doing("delete", key);
        check_key(&doing, key)?;
        if self.is_unmade() {
            return Ok(());
        }
        let (root, key) = (self.root.clone(), key.to_owned());
        blocking(move || write::delete(&doing, &Root::open(&doing, &root)?, &key)).await
    }

    /// Nearly every file system can; those behind FUSE may not, so it is tried.
    async fn guards_new(&self, key: &str) -> Result<bool> {
        self.guards.get_or_try_init(|| self.try_guard(key)).await.copied()
    }
}
