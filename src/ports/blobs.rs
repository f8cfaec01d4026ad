//! The port to blobs: named byte strings of known length.

use crate::{error::Result, model::Digest};
use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt as _};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, sync::Arc};

/// What a bucket knows of a blob.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BlobInfo {
    /// Its key.
    pub key: String,
    /// Its length in bytes.
    pub size: u64,
    /// SHA-256 of the whole content as the server holds it, if it can say. An `ETag` is never taken for one.
    pub sha256: Option<Digest>,
    /// For a blob that went up in parts: the SHA-256 over the parts' SHA-256s as the server holds it, if it can say.
    pub parts: Option<PartsDigest>,
    /// Changes whenever the content does (an `ETag`; a file's length and times). Only ever compared with another one of
    /// the same key in the same bucket.
    pub version: Option<String>,
}

/// SHA-256 over the parts' SHA-256s, one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartsDigest {
    /// The hash of the hashes.
    pub sha256: Digest,
    /// How many parts.
    pub count: u32,
}

/// A page of a listing.
#[derive(Debug, Clone, Default)]
pub struct BlobPage {
    /// The blobs, in key order.
    pub blobs: Vec<BlobInfo>,
    /// Where the next page begins; `None` at the end.
    pub next: Option<String>,
}

/// One finding of a scan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// A blob.
    Blob(BlobInfo),
    /// Something that stands there and is no blob that could be read: its name, with whatever is no text replaced, and
    /// what it is (`a pipe`, `a link that leads out of /srv/media`, `its name is no text`).
    Odd {
        /// Its name.
        name: String,
        /// Why it cannot be read.
        why: String,
    },
}

/// A blob's content on its way.
pub struct BlobBody {
    /// Length of the whole blob in bytes.
    pub size: u64,
    /// As in [`BlobInfo::version`], of what is being read.
    pub version: Option<String>,
    /// What travels with it.
    pub meta: BlobMeta,
    /// The bytes. The stream ends with a fault if fewer than `size` bytes came, or (`Changed`) if the blob was written
    /// while it was read.
    pub bytes: BoxStream<'static, Result<Bytes>>,
}

/// What travels with a blob's bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct BlobMeta {
    /// MIME type, if known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// `Cache-Control`, if set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_control: Option<String>,
    /// `Content-Disposition`, if set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_disposition: Option<String>,
    /// `Content-Encoding`, if set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_encoding: Option<String>,
    /// `Content-Language`, if set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_language: Option<String>,
    /// Free key-value pairs; names in lower case.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub user: BTreeMap<String, String>,
}

/// How a blob is to be stored.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Put {
    /// What the content must have, if that is known before it is read.
    pub sha256: Option<Digest>,
    /// What travels with it.
    pub meta: BlobMeta,
    /// Only if nothing stands under the key: otherwise `Exists`. A bucket that cannot make this one step with the write
    /// ([`BlobStore::guards_new`]) ignores it.
    pub only_new: bool,
}

/// Where and how large the parts of a long blob are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartLimits {
    /// A blob longer than this goes up in parts, in bytes.
    pub above: u64,
    /// Length of a part in bytes; the last one may be shorter.
    pub part: u64,
    /// Parts that one blob may have.
    pub most: u32,
}

impl Default for PartLimits {
    /// What S3 takes: parts of 8 MiB for anything above 256 MiB, so that four of them wait in 32 MiB.
    fn default() -> Self {
        Self { above: 256 * 1024 * 1024, part: 8 * 1024 * 1024, most: 10_000 }
    }
}

impl PartLimits {
    /// Bytes of one part so that a blob of this size fits into the parts a server takes.
    #[must_use]
    pub fn part_size(&self, size: u64) -> u64 {
        size.div_ceil(u64::from(self.most.max(1))).max(self.part)
    }
}

/// A part that the server has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartSent {
    /// Its number, from 1.
    pub number: u32,
    /// What the server calls it.
    pub tag: String,
    /// SHA-256 of its bytes.
    pub sha256: Digest,
    /// Its length in bytes.
    pub size: u64,
}

/// An upload that was begun and neither finished nor abandoned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unfinished {
    /// The key it will have.
    pub key: String,
    /// The server's name for the upload.
    pub upload: String,
}

/// A port to blobs. Keys use `/`, never begin with it and never contain `..` as a part; an adapter refuses such a key
/// (`Refused`) rather than resolving it.
#[async_trait]
pub trait BlobStore: Send + Sync {
    /// Whether the bucket answers and takes the credential: `Ok` if so, with whether it holds anything, if it can say. The
    /// default lists one blob.
    async fn reach(&self) -> Result<Option<bool>> {
        Ok(Some(!self.list("", None, 1).await?.blobs.is_empty()))
    }

    /// At most `limit` blobs whose key begins with `prefix`, after `from`. A bucket that cannot be listed refuses
    /// (`Refused`), here and in a scan.
    async fn list(&self, prefix: &str, from: Option<&str>, limit: u32) -> Result<BlobPage>;

    /// Everything whose key begins with `prefix`, in no order, some at a time. Memory is bounded by a page, however many
    /// there are. A blob that is written or removed meanwhile may be found or not, never twice.
    fn scan(self: Arc<Self>, prefix: &str) -> BoxStream<'static, Result<Vec<Found>>>;

    /// Whether listing page by page costs about what a scan does. It is the better way then, since a page that failed can
    /// be asked for again. A folder, whose names come in no order, says no.
    fn pages_well(&self) -> bool {
        true
    }

    /// Opens a blob for reading from byte `from`. `NotFound` if it is not there. The body streams: memory is bounded by
    /// the adapter's buffer, not by the blob. Where the server allows it, a body that is cut is read on from there, and
    /// only if it is still the same version.
    async fn open(&self, key: &str, from: u64) -> Result<BlobBody>;

    /// Stores a blob in one piece, replacing one of the same key unless told otherwise. The content's SHA-256 is taken
    /// in the one pass that sends it and told to the server where it can check; on any difference from `put.sha256`
    /// nothing is stored under the key and the fault is `Mismatch`. `Ok` means durable, and says what the server says it
    /// holds. Never torn: a reader sees the old blob or the new one.
    async fn put(&self, key: &str, body: BlobBody, put: &Put) -> Result<BlobInfo>;

    /// What the bucket knows of a blob; `None` if it is not there.
    async fn head(&self, key: &str) -> Result<Option<BlobInfo>>;

    /// What travels with a blob; `None` if it is not there. The default reads it from an opened body.
    async fn meta(&self, key: &str) -> Result<Option<BlobMeta>> {
        match self.open(key, 0).await {
            Ok(body) => Ok(Some(body.meta)),
            Err(fault) if fault.kind == crate::error::FaultKind::NotFound => Ok(None),
            Err(fault) => Err(fault),
        }
    }

    /// Deletes a blob; one that is not there counts as deleted.
    async fn delete(&self, key: &str) -> Result<()>;

    /// Whether [`Put::only_new`] is kept here. Tries it with two writes under `key`, which it then deletes; what was
    /// found is remembered.
    async fn guards_new(&self, key: &str) -> Result<bool>;

    /// The way for long blobs; `None` if this bucket takes any blob in one piece.
    fn in_parts(&self) -> Option<&dyn PartStore> {
        None
    }
}

/// A bucket that takes long blobs in parts, sent in any order and several at once. An upload outlives the process: who
/// knows its name and its parts goes on with it.
#[async_trait]
pub trait PartStore: Send + Sync {
    /// When and how to cut.
    fn limits(&self) -> PartLimits;

    /// Begins an upload and gives its name.
    async fn begin(&self, key: &str, meta: &BlobMeta) -> Result<String>;

    /// Sends a part, replacing one of the same number. The server is told the SHA-256 to check.
    async fn send(&self, key: &str, upload: &str, number: u32, bytes: Bytes, sha256: Digest) -> Result<PartSent>;

    /// Puts the parts together, in order of their numbers, replacing a blob of the same key unless `only_new`. `Ok` means
    /// durable. `NotFound` if there is no such upload: it was finished or abandoned before.
    async fn finish(&self, key: &str, upload: &str, parts: &[PartSent], only_new: bool) -> Result<BlobInfo>;

    /// Throws the parts away; an upload that is not there counts as abandoned.
    async fn abandon(&self, key: &str, upload: &str) -> Result<()>;

    /// At most a thousand uploads under keys that begin with `prefix`.
    async fn unfinished(&self, prefix: &str) -> Result<Vec<Unfinished>>;
}

/// A scan of a bucket whose listing is its only way: page after page.
pub fn scan_by_pages<S: BlobStore + ?Sized + 'static>(
    store: Arc<S>,
    prefix: &str,
) -> BoxStream<'static, Result<Vec<Found>>> {
    let prefix = prefix.to_owned();
    stream::try_unfold(Some(None::<String>), move |from| {
        let (store, prefix) = (Arc::clone(&store), prefix.clone());
        async move {
            let Some(from) = from else { return Ok(None) };
            let page = store.list(&prefix, from.as_deref(), 1000).await?;
            let found = page.blobs.into_iter().map(Found::Blob).collect();
            Ok(Some((found, page.next.map(Some))))
        }
    })
    .boxed()
}
