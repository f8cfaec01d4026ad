//! Carries the bytes behind a record of the new side back to the legacy bucket, proven by SHA-256.

use super::keep::Keep;
use crate::{
    error::{Fault, FaultKind, Result},
    migrate::files::{
        FileLane,
        transfer::{Haul, Sent, Wanted, Way},
    },
    model::{Digest, ItemState, Record, Value},
    ports::BlobStore,
};
use std::sync::Arc;

/// What became of a record's bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Bytes {
    /// There are none, or the legacy side has the same.
    Same,
    /// So many were carried.
    Carried(u64),
    /// They are not on the new side either.
    Absent,
}

/// Carries bytes back.
pub(super) struct FilesBack<'a> {
    files: &'a FileLane<'a>,
    keep: Keep<'a>,
}

impl<'a> FilesBack<'a> {
    /// For this lane of files.
    pub(super) async fn load(files: &'a FileLane<'a>) -> Result<Self> {
        files.lane.take_stock().await?;
        Ok(Self { files, keep: Keep::load(&files.lane, None).await? })
    }

    /// Brings the bytes of `row` to the legacy bucket, under the path that the row names. `record` is the legacy record
    /// about to be written: if that path is taken by other bytes, or the row has none, the bytes go under their key of
    /// the new bucket, and the record says so.
    ///
    /// # Errors
    /// What a bucket says after all attempts; `Unmet` if no path is free; `Cancelled`.
    pub(super) async fn carry(&mut self, row: &Record, legacy: Option<&Record>, record: &mut Record) -> Result<Bytes> {
        let files = self.files;
        let (lane, blob) = files.dataset()?;
        let row = lane.mapping.as_legacy(row);
        let named = row.text(&blob.path).filter(|path| !path.is_empty());
        let mut whole = legacy.cloned().unwrap_or_default();
        whole.0.extend(row.0);
        let key = lane.mapping.blob_key(&whole)?;
        let Some((size, digest)) = self.known(&*files.new, &key).await? else {
            return Ok(if named.is_some() { Bytes::Absent } else { Bytes::Same });
        };
        self.adopt(&key, size, digest).await?;
        let held = legacy.and_then(|legacy| legacy.text(&blob.path));
        for path in named.into_iter().chain([key.clone()]) {
            let there = self.known(&*files.old, &path).await?;
            if there != Some((size, digest)) {
                let others = there.is_some() && held.as_deref() != Some(path.as_str());
                if others {
                    continue;
                }
                self.send(&key, &path, digest).await?;
            }
            record.0.insert(blob.path.clone(), Value::Text(path));
            return Ok(if there == Some((size, digest)) { Bytes::Same } else { Bytes::Carried(size) });
        }
        Err(Fault::new(FaultKind::Unmet, format!("carry {key} back")).detail("its path on the legacy side is taken"))
    }

    async fn send(&self, key: &str, path: &str, digest: Digest) -> Result<()> {
        let (files, lane) = (self.files, &self.files.lane);
        let way = Way {
            from: Arc::clone(&files.new),
            from_key: key.to_owned(),
            to: Arc::clone(&files.old),
            to_key: path.to_owned(),
        };
        let haul = Haul::new(way, Wanted { sha256: Some(digest), size: None });
        let doing = format!("carry {key} back to {path}");
        match lane.call(&doing, || files.gear.transfer(&haul)).await? {
            Sent::Proven(_) => Ok(()),
            Sent::Bad { kind: _, why } => Err(Fault::new(FaultKind::Unmet, doing).detail(why)),
        }
    }

    /// Length and SHA-256 of an object; read if the bucket cannot say.
    async fn known(&self, bucket: &dyn BlobStore, key: &str) -> Result<Option<(u64, Digest)>> {
        let lane = &self.files.lane;
        let doing = format!("look for {key}");
        let Some(info) = lane.call(&doing, || bucket.head(key)).await? else { return Ok(None) };
        match info.sha256 {
            Some(digest) => Ok(Some((info.size, digest))),
            None => lane.call(&doing, || self.files.gear.hash(bucket, key)).await,
        }
    }

    /// Makes an object that users created on the new side the run's own, so that its undo removes it.
    async fn adopt(&mut self, key: &str, size: u64, digest: Digest) -> Result<()> {
        let known = self.files.lane.items_of(vec![key.to_string()]).await?;
        if known.contains_key(key) {
            return Ok(());
        }
        let mut item = self.keep.item(key, ItemState::Verified);
        item.bytes = size;
        item.digest = Some(digest);
        self.keep.adopted(vec![item]).await
    }
}
