//! Blobs in an S3 bucket: AWS, R2, or any server that speaks the same.
//!
//! A blob goes up in one request (`put`), hashed in the one pass that feeds it (`feed`). Up to [`BUFFERED`] bytes it is
//! read whole, compared with the SHA-256 it must have, and only then sent. A longer one is sent as it comes, and its last
//! chunk only after the comparison. So a wrong body never replaces a right one, whatever the server checks (s3s-fs, for
//! one, checks after it has replaced). Blobs too long for that go in `parts`, which the caller cuts and remembers. `read`
//! brings them back, `meta` what travels with them, `faults` says what the SDK's errors mean. `direct` is how short blobs go
//! up without the SDK's work for every request.
//!
//! The SHA-256 is always told to the server: before the body where it is known by then, else behind it. The latter needs a
//! framed body (`aws-chunked`), and a server that does not know frames might store them as content. So frames go only to a
//! bucket that has answered an earlier write with that write's SHA-256: such a server knows checksums, and so frames. If it
//! refuses one all the same, none is sent again; if it takes one without saying the SHA-256, the length it then holds must
//! be the content's, or the write has failed. Until a bucket has shown so much, a long body of unknown SHA-256 goes plain:
//! the answer then says no SHA-256, and the caller reads back.
//!
//! What a bucket says of a SHA-256 is taken only where it is one of the whole content (a blob in parts has a hash of
//! hashes), and, when it is asked later, only if it says the checksum's type or has answered a write in the same way:
//! rclone, for one, gives back whatever SHA-256 it was told, also a wrong one.
//!
//! The SDK's own retries are off, since the lanes retry.

mod direct;
mod faults;
mod feed;
mod meta;
mod parts;
mod put;
mod read;

use super::check_key;
use crate::{
    adapters::http::is_loopback,
    error::{Fault, FaultKind, Result},
    model::text,
    ports::{BlobBody, BlobInfo, BlobMeta, BlobPage, BlobStore, Found, PartLimits, PartStore, Put, scan_by_pages},
};
use async_trait::async_trait;
use aws_sdk_s3::{
    Client,
    config::{
        Builder, Credentials, IdentityCache, Region, RequestChecksumCalculation, ResponseChecksumValidation,
        StalledStreamProtectionConfig, retry::RetryConfig, timeout::TimeoutConfig,
    },
    operation::head_object::HeadObjectOutput,
    types::ChecksumMode,
};
use bytes::Bytes;
use direct::Direct;
use faults::{fault, not_there};
use futures::{StreamExt, stream, stream::BoxStream};
use meta::{head_meta, meta_of, version};
use read::{Reading, whole_size};
use secrecy::{ExposeSecret, SecretString};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::sync::OnceCell;
use url::Url;

/// The longest blob that is read whole before it is sent, in bytes.
const BUFFERED: u64 = 8 * 1024 * 1024;

/// An S3 bucket.
#[derive(Debug)]
pub struct S3Bucket {
    name: String,
    bucket: String,
    client: Client,
    /// For what may take longer than one answer: its callers watch that something moves.
    patient: Client,
    direct: Option<Direct>,
    timeout: Duration,
    parts: PartLimits,
    guards: OnceCell<bool>,
    says_sha256: AtomicBool,
    frames_refused: AtomicBool,
    no_part_checksums: AtomicBool,
}

/// How a bucket is reached.
#[derive(Debug, Clone)]
pub struct S3Settings {
    /// Base address.
    pub endpoint: Url,
    /// The bucket's name.
    pub bucket: String,
    /// Region; `auto` for R2.
    pub region: String,
    /// Access key.
    pub access_key: SecretString,
    /// Secret key.
    pub secret_key: SecretString,
    /// `http://host/bucket/key` rather than `http://bucket.host/key`.
    pub path_style: bool,
    /// Longest wait for one answer.
    pub timeout: Duration,
    /// When and how long blobs are cut.
    pub parts: PartLimits,
}

impl S3Bucket {
    /// The bucket of this name in the plan. Connects to nothing yet.
    #[must_use]
    pub fn new(name: &str, settings: &S3Settings) -> Self {
        let (access, secret) = (settings.access_key.expose_secret(), settings.secret_key.expose_secret());
        let connect_within = settings.timeout.min(Duration::from_secs(10));
        let connect = TimeoutConfig::builder().connect_timeout(connect_within);
        let answer = connect.clone().read_timeout(settings.timeout).operation_timeout(settings.timeout);
        let mut config = Builder::new()
            .behavior_version_latest()
            .endpoint_url(settings.endpoint.as_str())
            .region(Region::new(settings.region.clone()))
            .credentials_provider(Credentials::new(access, secret, None, None, "plan"))
            // The credentials never change: nothing to look up for every request.
            .identity_cache(IdentityCache::no_cache())
            .force_path_style(settings.path_style)
            .retry_config(RetryConfig::disabled())
            .timeout_config(answer.build())
            // Bodies have a time limit per piece here; the SDK's guess of a stalled stream would blame a slow reader.
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            // Ours is the SHA-256; not every server knows the SDK's newer default.
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired);
        if settings.endpoint.scheme() == "http" && is_loopback(&settings.endpoint) {
            // The SDK's own client would ask the environment's proxy for a server on this machine.
            config = config.http_client(aws_smithy_http_client::Builder::new().build_http());
        }
        Self {
            name: name.to_owned(),
            bucket: settings.bucket.clone(),
            patient: Client::from_conf(config.clone().timeout_config(connect.build()).build()),
            client: Client::from_conf(config.build()),
            direct: Direct::new(settings, connect_within),
            timeout: settings.timeout,
            parts: settings.parts,
            guards: OnceCell::new(),
            says_sha256: AtomicBool::new(false),
            frames_refused: AtomicBool::new(false),
            no_part_checksums: AtomicBool::new(false),
        }
    }

    fn doing(&self, verb: &str, key: &str) -> String {
        format!("{verb} {} in {}", text::clean(key, 200), self.name)
    }

    /// What the bucket says of an object, if it is there.
    async fn look(&self, doing: &str, key: &str) -> Result<Option<HeadObjectOutput>> {
        let head =
            self.client.head_object().bucket(&self.bucket).key(key).checksum_mode(ChecksumMode::Enabled).send().await;
        match head {
            Ok(head) => Ok(Some(head)),
            Err(error) if not_there(&error) => Ok(None),
            Err(error) => Err(fault(doing, error)),
        }
    }

    fn info(&self, key: &str, head: &HeadObjectOutput) -> BlobInfo {
        meta::info(key, head, self.says_sha256.load(Ordering::Relaxed))
    }

    /// Whether the second of two writes that must find nothing is refused.
    async fn try_guard(&self, key: &str) -> Result<bool> {
        for _ in 0..2 {
            let (body, put) = (guard_body(), Put { only_new: true, ..Put::default() });
            match self.put(key, body, &put).await {
                Ok(_) => {}
                Err(fault) if fault.kind == FaultKind::Exists => return Ok(true),
                // Some servers refuse a condition that they do not know.
                Err(fault) if fault.kind == FaultKind::Refused => return Ok(false),
                Err(fault) => return Err(fault),
            }
        }
        Ok(false)
    }
}

fn guard_body() -> BlobBody {
    let bytes = stream::iter([Ok(Bytes::from_static(b"x"))]).boxed();
    BlobBody { size: 1, version: None, meta: BlobMeta::default(), bytes }
}

#[async_trait]
impl BlobStore for S3Bucket {
    async fn list(&self, prefix: &str, from: Option<&str>, limit: u32) -> Result<BlobPage> {
        let doing = self.doing("list", if prefix.is_empty() { "everything" } else { prefix });
        // The last key is a cursor that outlives the server's continuation tokens.
        let answer = self
            .client
            .list_objects_v2()
            .bucket(&self.bucket)
            .prefix(prefix)
            .set_start_after(from.map(str::to_owned))
            .max_keys(i32::try_from(limit.clamp(1, 1000)).unwrap_or(1000))
            .send()
            .await
            .map_err(|error| fault(&doing, error))?;
        let blobs: Vec<BlobInfo> = answer
            .contents()
            .iter()
            .filter_map(|object| {
                let size = object.size().and_then(|size| u64::try_from(size).ok()).unwrap_or_default();
                let version = version(object.e_tag());
                Some(BlobInfo { key: object.key()?.to_owned(), size, version, ..BlobInfo::default() })
            })
            .collect();
        let more = answer.is_truncated().unwrap_or(false);
        let next = blobs.last().filter(|_| more).map(|last| last.key.clone());
        if more && next.is_none() {
            return Err(Fault::new(FaultKind::Garbage, doing).detail("an empty page that says that more follow"));
        }
        Ok(BlobPage { blobs, next })
    }

    fn scan(self: Arc<Self>, prefix: &str) -> BoxStream<'static, Result<Vec<Found>>> {
        scan_by_pages(self, prefix)
    }

    async fn open(&self, key: &str, from: u64) -> Result<BlobBody> {
        let doing = self.doing("read", key);
        check_key(&doing, key)?;
        if from > 0 {
            // A range that begins at the end is an error to S3, and an empty rest to us.
            let Some(head) = self.look(&doing, key).await? else {
                return Err(Fault::new(FaultKind::NotFound, doing).detail("there is no such object"));
            };
            let BlobInfo { size, version, .. } = self.info(key, &head);
            if from == size {
                return Ok(BlobBody { size, version, meta: head_meta(&head), bytes: stream::empty().boxed() });
            }
        }
        let range = (from > 0).then(|| format!("bytes={from}-"));
        let answer = self
            .client
            .get_object()
            .bucket(&self.bucket)
            .key(key)
            .set_range(range)
            .send()
            .await
            .map_err(|error| fault(&doing, error))?;
        let Some(size) = whole_size(&answer, from) else {
            return Err(Fault::new(FaultKind::Garbage, doing).detail("the answer does not say which bytes it brings"));
        };
        let (meta, version) = (meta_of!(answer), version(answer.e_tag()));
        let reading = Reading {
            client: self.client.clone(),
            bucket: self.bucket.clone(),
            key: key.to_owned(),
            doing,
            version: version.clone(),
            at: from,
            size,
            body: answer.body,
            limit: self.timeout,
            cuts: 0,
        };
        Ok(BlobBody { size, version, meta, bytes: reading.pieces() })
    }

    async fn put(&self, key: &str, body: BlobBody, put: &Put) -> Result<BlobInfo> {
        let doing = self.doing("write", key);
        check_key(&doing, key)?;
        if body.size <= BUFFERED {
            self.put_whole(&doing, key, body, put).await
        } else {
            self.put_streamed(&doing, key, body, put).await
        }
    }

    async fn head(&self, key: &str) -> Result<Option<BlobInfo>> {
        let doing = self.doing("look at", key);
        check_key(&doing, key)?;
        Ok(self.look(&doing, key).await?.map(|head| self.info(key, &head)))
    }

    async fn meta(&self, key: &str) -> Result<Option<BlobMeta>> {
        let doing = self.doing("look at", key);
        check_key(&doing, key)?;
        Ok(self.look(&doing, key).await?.map(|head| head_meta(&head)))
    }

    async fn delete(&self, key: &str) -> Result<()> {
        let doing = self.doing("delete", key);
        check_key(&doing, key)?;
        match self.client.delete_object().bucket(&self.bucket).key(key).send().await {
            Ok(_) => Ok(()),
            Err(error) if not_there(&error) => Ok(()),
            Err(error) => Err(fault(&doing, error)),
        }
    }

    async fn guards_new(&self, key: &str) -> Result<bool> {
        let found = self.guards.get_or_try_init(|| async {
            let found = self.try_guard(key).await;
            let gone = self.delete(key).await;
            found.and_then(|found| gone.map(|()| found))
        });
        found.await.copied()
    }

    fn in_parts(&self) -> Option<&dyn PartStore> {
        Some(self)
    }
}
