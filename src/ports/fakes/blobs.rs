//! A bucket in memory.

use super::{Mishap, Trouble};
use crate::{
    error::{Fault, FaultKind, Result},
    model::Digest,
    ports::{
        BlobBody, BlobInfo, BlobMeta, BlobPage, BlobStore, Found, PartLimits, PartSent, PartStore, PartsDigest, Put,
        Unfinished, scan_by_pages,
    },
};
use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream, stream::BoxStream};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Length of the pieces a body comes in.
const PIECE: usize = 5;
/// Blobs longer than this go up in parts of that length, where the bucket takes parts.
const PARTS: PartLimits = PartLimits { above: 64, part: 16, most: 100 };

#[derive(Clone)]
struct Held {
    bytes: Bytes,
    meta: BlobMeta,
    parts: Option<PartsDigest>,
    version: u64,
}

struct Upload {
    key: String,
    meta: BlobMeta,
    parts: BTreeMap<u32, Bytes>,
}

/// A bucket in memory.
pub(crate) struct FakeBucket {
    name: String,
    trouble: Arc<Trouble>,
    /// Reports SHA-256 of what it holds.
    knows_sha256: bool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    blobs: BTreeMap<String, Held>,
    uploads: BTreeMap<String, Upload>,
    odd: Vec<Found>,
    writes: u64,
}

impl FakeBucket {
    /// An empty bucket under this name that reports checksums.
    pub(crate) fn new(name: &str, trouble: &Arc<Trouble>) -> Arc<Self> {
        Self::make(name, trouble, true)
    }

    /// An empty bucket that reports nothing but lengths.
    pub(crate) fn plain(name: &str, trouble: &Arc<Trouble>) -> Arc<Self> {
        Self::make(name, trouble, false)
    }

    fn make(name: &str, trouble: &Arc<Trouble>, knows_sha256: bool) -> Arc<Self> {
        Arc::new(Self { name: name.into(), trouble: Arc::clone(trouble), knows_sha256, state: Mutex::default() })
    }

    /// Somebody stores a blob.
    pub(crate) fn put_bytes(&self, key: &str, bytes: impl Into<Bytes>) {
        self.lock().put(key, bytes.into(), BlobMeta::default(), None);
    }

    /// Somebody deletes a blob.
    pub(crate) fn remove(&self, key: &str) {
        self.lock().blobs.remove(key);
    }

    /// Something stands there that is no blob. From now on the bucket is one that is better scanned.
    pub(crate) fn put_odd(&self, name: &str, why: &str) {
        self.lock().odd.push(Found::Odd { name: name.into(), why: why.into() });
    }

    /// What is no blob is mended.
    pub(crate) fn clear_odd(&self) {
        self.lock().odd.clear();
    }

    /// Everything in it.
    pub(crate) fn blobs(&self) -> BTreeMap<String, Bytes> {
        self.lock().blobs.iter().map(|(key, held)| (key.clone(), held.bytes.clone())).collect()
    }

    /// Uploads that were begun and not ended.
    pub(crate) fn uploads(&self) -> usize {
        self.lock().uploads.len()
    }

    /// What travels with a blob.
    pub(crate) fn meta_of(&self, key: &str) -> Option<BlobMeta> {
        self.lock().blobs.get(key).map(|held| held.meta.clone())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn call(&self, method: &str) -> String {
        format!("{}.{method}", self.name)
    }

    fn info(&self, key: &str, held: &Held) -> BlobInfo {
        BlobInfo {
            key: key.into(),
            size: held.bytes.len() as u64,
            sha256: (self.knows_sha256 && held.parts.is_none()).then(|| Digest::of(&held.bytes)),
            parts: held.parts.filter(|_| self.knows_sha256),
            version: Some(held.version.to_string()),
        }
    }
}

impl State {
    fn put(&mut self, key: &str, bytes: Bytes, meta: BlobMeta, parts: Option<PartsDigest>) -> Held {
        self.writes += 1;
        let held = Held { bytes, meta, parts, version: self.writes };
        self.blobs.insert(key.into(), held.clone());
        held
    }

    fn free(&self, key: &str, only_new: bool) -> Result<()> {
        if only_new && self.blobs.contains_key(key) {
            return Err(Fault::new(FaultKind::Exists, format!("put {key}")));
        }
        Ok(())
    }
}

#[async_trait]
impl BlobStore for FakeBucket {
    async fn list(&self, prefix: &str, from: Option<&str>, limit: u32) -> Result<BlobPage> {
        self.trouble
            .around(&self.call("list"), |_| {
                let state = self.lock();
                let wanted = state
                    .blobs
                    .iter()
                    .filter(|(key, _)| key.starts_with(prefix) && from.is_none_or(|f| key.as_str() > f));
                let mut found: Vec<BlobInfo> = wanted.map(|(key, held)| self.info(key, held)).collect();
                let limit = usize::try_from(limit).expect("fits");
                let more = found.len() > limit;
                found.truncate(limit);
                let next = found.last().filter(|_| more).map(|last| last.key.clone());
                Ok(BlobPage { blobs: found, next })
            })
            .await
    }

    fn scan(self: Arc<Self>, prefix: &str) -> BoxStream<'static, Result<Vec<Found>>> {
        let odd = self.lock().odd.clone();
        let odd = stream::iter((!odd.is_empty()).then_some(Ok(odd)));
        odd.chain(scan_by_pages(self, prefix)).boxed()
    }

    fn pages_well(&self) -> bool {
        self.lock().odd.is_empty()
    }

    async fn open(&self, key: &str, from: u64) -> Result<BlobBody> {
        self.trouble
            .around(&self.call("open"), |mishap| {
                let held = self.lock().blobs.get(key).cloned();
                let held = held.ok_or_else(|| Fault::new(FaultKind::NotFound, format!("open {key}")))?;
                let size = held.bytes.len() as u64;
                let from = usize::try_from(from).expect("fits").min(held.bytes.len());
                let mut bytes = held.bytes.slice(from..).to_vec();
                let mut tail = Vec::new();
                match mishap {
                    Some(Mishap::Cut) => {
                        bytes.truncate(bytes.len() / 2);
                        tail.push(Err(Fault::new(FaultKind::Garbage, format!("read {key}")).detail("cut short")));
                    }
                    Some(Mishap::Corrupt) => {
                        if let Some(byte) = bytes.last_mut() {
                            *byte ^= 1;
                        }
                    }
                    _ => {}
                }
                let pieces: Vec<Result<Bytes>> =
                    bytes.chunks(PIECE).map(|piece| Ok(Bytes::copy_from_slice(piece))).chain(tail).collect();
                let version = Some(held.version.to_string());
                Ok(BlobBody { size, version, meta: held.meta, bytes: stream::iter(pieces).boxed() })
            })
            .await
    }

    async fn put(&self, key: &str, body: BlobBody, put: &Put) -> Result<BlobInfo> {
        let size = body.size;
        let bytes: Vec<Bytes> = body.bytes.try_collect().await?;
        let bytes = Bytes::from(bytes.concat());
        self.trouble
            .around(&self.call("put"), |mishap| {
                let bytes = match mishap {
                    Some(Mishap::Corrupt) => Bytes::from(bytes.iter().rev().copied().collect::<Vec<u8>>()),
                    _ => bytes,
                };
                if bytes.len() as u64 != size || put.sha256.is_some_and(|wanted| wanted != Digest::of(&bytes)) {
                    return Err(Fault::new(FaultKind::Mismatch, format!("put {key}")).detail("checksum differs"));
                }
                let mut state = self.lock();
                state.free(key, put.only_new)?;
                let held = state.put(key, bytes, put.meta.clone(), None);
                Ok(self.info(key, &held))
            })
            .await
    }

    async fn head(&self, key: &str) -> Result<Option<BlobInfo>> {
        self.trouble
            .around(&self.call("head"), |_| Ok(self.lock().blobs.get(key).map(|held| self.info(key, held))))
            .await
    }

    async fn delete(&self, key: &str) -> Result<()> {
        self.trouble
            .around(&self.call("delete"), |_| {
                self.lock().blobs.remove(key);
                Ok(())
            })
            .await
    }

    async fn guards_new(&self, _key: &str) -> Result<bool> {
        Ok(true)
    }

    fn in_parts(&self) -> Option<&dyn PartStore> {
        Some(self)
    }
}

#[async_trait]
impl PartStore for FakeBucket {
    fn limits(&self) -> PartLimits {
        PARTS
    }

    async fn begin(&self, key: &str, meta: &BlobMeta) -> Result<String> {
        self.trouble
            .around(&self.call("begin"), |_| {
                let mut state = self.lock();
                state.writes += 1;
                let name = format!("upload-{}", state.writes);
                let upload = Upload { key: key.into(), meta: meta.clone(), parts: BTreeMap::new() };
                state.uploads.insert(name.clone(), upload);
                Ok(name)
            })
            .await
    }

    async fn send(&self, key: &str, upload: &str, number: u32, bytes: Bytes, sha256: Digest) -> Result<PartSent> {
        self.trouble
            .around(&self.call("send"), |mishap| {
                if Digest::of(&bytes) != sha256 || mishap == Some(Mishap::Corrupt) {
                    return Err(Fault::new(FaultKind::Mismatch, format!("send part {number} of {key}")));
                }
                let size = bytes.len() as u64;
                let mut state = self.lock();
                let begun = state.uploads.get_mut(upload).filter(|upload| upload.key == key);
                let begun = begun.ok_or_else(|| Fault::new(FaultKind::NotFound, format!("send a part of {key}")))?;
                begun.parts.insert(number, bytes);
                Ok(PartSent { number, tag: format!("tag-{number}"), sha256, size })
            })
            .await
    }

    async fn finish(&self, key: &str, upload: &str, parts: &[PartSent], only_new: bool) -> Result<BlobInfo> {
        self.trouble
            .around(&self.call("finish"), |_| {
                let mut state = self.lock();
                state.free(key, only_new)?;
                let missing = || Fault::new(FaultKind::NotFound, format!("finish {key}"));
                let begun = state.uploads.remove(upload).ok_or_else(missing)?;
                let told: Vec<u32> = parts.iter().map(|part| part.number).collect();
                if begun.parts.keys().copied().collect::<Vec<_>>() != told {
                    return Err(Fault::new(FaultKind::Refused, format!("finish {key}")).detail("other parts"));
                }
                let hashes: Vec<[u8; 32]> = parts.iter().map(|part| part.sha256.0).collect();
                let count = u32::try_from(parts.len()).expect("few");
                let digest = PartsDigest { sha256: Digest::of(&hashes.concat()), count };
                let bytes: Vec<Bytes> = begun.parts.into_values().collect();
                let held = state.put(key, bytes.concat().into(), begun.meta, Some(digest));
                Ok(self.info(key, &held))
            })
            .await
    }

    async fn abandon(&self, _key: &str, upload: &str) -> Result<()> {
        self.trouble
            .around(&self.call("abandon"), |_| {
                self.lock().uploads.remove(upload);
                Ok(())
            })
            .await
    }

    async fn unfinished(&self, prefix: &str) -> Result<Vec<Unfinished>> {
        self.trouble
            .around(&self.call("unfinished"), |_| {
                let state = self.lock();
                let found = state.uploads.iter().filter(|(_, upload)| upload.key.starts_with(prefix));
                Ok(found.map(|(name, upload)| Unfinished { key: upload.key.clone(), upload: name.clone() }).collect())
            })
            .await
    }
}
