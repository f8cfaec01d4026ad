//! Moves one blob from a bucket to another and proves that it arrived: SHA-256 in one pass while it streams, held
//! against what the row says and what the target reports; a target that cannot say is read back. A long one goes up in
//! parts (`parts`).
//!
//! One attempt: trying again is the caller's. Must never enter: which state an item is in.

use super::parts;
use crate::{
    engine::Signals,
    error::{Fault, FaultKind, Result},
    migrate::{meter::Meter, pace::Pace},
    model::{Digest, LaneId},
    plan::MigrationPlan,
    ports::{BlobBody, BlobMeta, BlobStore, PartsDigest, Put, Work},
};
use futures::StreamExt;
use sha2::{Digest as _, Sha256};
use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};

/// The pair that says which run stored an object: `x-amz-meta-cutover-run` in S3. Only by it an object whose
/// acknowledgement was lost can be told from one that somebody else stored at that moment.
pub(crate) const MARK: &str = "cutover-run";
/// A body in one piece waits in memory up to this length, in bytes.
const IN_MEMORY: u64 = 8 << 20;

/// What came out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Sent {
    /// It is there, and what is there has this length and SHA-256.
    Proven(Proof),
    /// It cannot be moved, however often one tries.
    Bad {
        /// What kind of thing is wrong.
        kind: FaultKind,
        /// In words.
        why: String,
    },
}

impl Sent {
    pub(super) fn bad(kind: FaultKind, why: impl Into<String>) -> Self {
        Self::Bad { kind, why: why.into() }
    }
}

/// What arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Proof {
    /// Bytes.
    pub(crate) size: u64,
    /// SHA-256.
    pub(crate) digest: Digest,
    /// The version of the source that was read.
    pub(crate) version: Option<String>,
    /// What the target must say of it if it went up in parts.
    pub(crate) parts: Option<PartsDigest>,
}

/// What a blob must be.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Wanted {
    /// Its SHA-256, if known.
    pub(crate) sha256: Option<Digest>,
    /// Its length, if known.
    pub(crate) size: Option<u64>,
}

/// One way: a key in a bucket, a key in another.
#[derive(Clone)]
pub(crate) struct Way {
    /// Where it is.
    pub(crate) from: Arc<dyn BlobStore>,
    /// Its key there.
    pub(crate) from_key: String,
    /// Where it goes.
    pub(crate) to: Arc<dyn BlobStore>,
    /// Its key there.
    pub(crate) to_key: String,
}

/// A blob to be moved.
#[derive(Clone)]
pub(crate) struct Haul {
    /// From where to where.
    pub(crate) way: Way,
    /// What it must be.
    pub(crate) wanted: Wanted,
    /// What travels with it besides what the source says; wins over that.
    pub(crate) meta: BlobMeta,
    /// Only if nothing stands there.
    pub(crate) only_new: bool,
    /// Bytes moved so far, for whoever watches.
    pub(crate) moved: Arc<AtomicU64>,
}

impl Haul {
    /// A blob of which nothing else is known.
    pub(crate) fn new(way: Way, wanted: Wanted) -> Self {
        Self { way, wanted, meta: BlobMeta::default(), only_new: false, moved: Arc::default() }
    }

    /// "copy X to Y".
    pub(super) fn doing(&self) -> String {
        format!("copy {} to {}", self.way.from_key, self.way.to_key)
    }

    /// How it is to be stored, given what the source says.
    fn put(&self, source: &BlobMeta) -> Put {
        let mut meta = source.clone();
        let own = self.meta.clone();
        meta.content_type = own.content_type.or(meta.content_type);
        meta.cache_control = own.cache_control.or(meta.cache_control);
        meta.content_disposition = own.content_disposition.or(meta.content_disposition);
        meta.content_encoding = own.content_encoding.or(meta.content_encoding);
        meta.content_language = own.content_language.or(meta.content_language);
        // A mark is of the run that stored the object there, not here.
        meta.user.remove(MARK);
        meta.user.extend(own.user);
        Put { sha256: self.wanted.sha256, meta, only_new: self.only_new }
    }
}

/// What a lane moves its blobs with.
#[derive(Clone)]
pub(crate) struct Gear {
    /// Stop.
    pub(crate) signals: Signals,
    /// How far it is.
    pub(crate) meter: Arc<Meter>,
    /// How fast.
    pub(crate) pace: Arc<Pace>,
    /// Where uploads in parts are kept.
    pub(crate) work: Arc<dyn Work>,
    /// The lane.
    pub(crate) lane: LaneId,
    /// How often and after what waits.
    pub(crate) migration: MigrationPlan,
}

/// What has gone by.
#[derive(Default)]
struct Seen {
    hasher: Sha256,
    bytes: u64,
    fault: Option<FaultKind>,
}

impl Gear {
    /// Passes a body through, no faster than it may, and keeps what went by.
    fn tee(&self, haul: &Haul, body: BlobBody) -> (BlobBody, Arc<Mutex<Seen>>) {
        let seen = Arc::new(Mutex::new(Seen::default()));
        let (kept, moved) = (Arc::clone(&seen), Arc::clone(&haul.moved));
        let (meter, pace) = (Arc::clone(&self.meter), Arc::clone(&self.pace));
        let bytes = body.bytes.then(move |piece| {
            let length = piece.as_ref().map_or(0, |bytes| bytes.len() as u64);
            {
                let mut seen = kept.lock().unwrap_or_else(PoisonError::into_inner);
                match &piece {
                    Ok(bytes) => {
                        seen.hasher.update(bytes);
                        seen.bytes += length;
                    }
                    Err(fault) => seen.fault = Some(fault.kind),
                }
            }
            went_by((&meter, &pace), &moved, length);
            let pace = Arc::clone(&pace);
            async move {
                pace.bytes(length).await;
                piece
            }
        });
        (BlobBody { bytes: bytes.boxed(), ..body }, seen)
    }

    /// So many bytes of a blob have moved.
    pub(super) fn went_by(&self, moved: &AtomicU64, bytes: u64) {
        went_by((&self.meter, &self.pace), moved, bytes);
    }

    /// Moves a blob once.
    ///
    /// # Errors
    /// What a bucket says; `Garbage` if the bytes changed on the way, `Changed` if the source did, which another attempt
    /// may mend; `Exists` if something stands there and must not.
    pub(crate) async fn transfer(&self, haul: &Haul) -> Result<Sent> {
        let Way { from, from_key, to, .. } = &haul.way;
        haul.moved.store(0, Ordering::Relaxed);
        self.pace.request(&self.signals).await?;
        let body = match self.signals.unless_stopped("open a file", from.open(from_key, 0)).await {
            Ok(body) => body,
            Err(fault) if fault.kind == FaultKind::NotFound => return Ok(Sent::bad(fault.kind, "missing")),
            Err(fault) if matches!(fault.kind, FaultKind::Refused | FaultKind::Permission) => {
                return Ok(Sent::bad(fault.kind, fault.chain()));
            }
            Err(fault) => return Err(fault),
        };
        let size = body.size;
        if let Some(row) = haul.wanted.size.filter(|row| *row != size) {
            return Ok(Sent::bad(FaultKind::Mismatch, format!("size differs from the row: {size} instead of {row}")));
        }
        let put = haul.put(&body.meta);
        match to.in_parts() {
            Some(store) if size > store.limits().above => parts::send(self, haul, store, body, &put).await,
            _ => self.send_whole(haul, body, &put).await,
        }
    }

    async fn send_whole(&self, haul: &Haul, body: BlobBody, put: &Put) -> Result<Sent> {
        let Way { to, to_key, .. } = &haul.way;
        let (size, version) = (body.size, body.version.clone());
        let _memory = self.pace.memory(size.min(IN_MEMORY)).await;
        self.pace.request(&self.signals).await?;
        let (body, seen) = self.tee(haul, body);
        let put = self.signals.unless_stopped("store a file", to.put(to_key, body, put)).await;
        let (digest, bytes, source_fault) = {
            let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
            (Digest(seen.hasher.finalize_reset().into()), seen.bytes, seen.fault)
        };
        let whole = bytes == size && source_fault.is_none();
        let garbage = |detail: String| Fault::new(FaultKind::Garbage, haul.doing()).detail(detail);
        let info = match put {
            Ok(info) if whole => info,
            Ok(_) => return Err(garbage(format!("{bytes} of {size} bytes came"))),
            Err(fault) if fault.kind == FaultKind::Cancelled => return Err(fault),
            Err(fault) if source_fault.is_some() => {
                return Err(Fault::new(source_fault.unwrap_or(fault.kind), haul.doing()).detail(fault.chain()));
            }
            Err(fault) if fault.kind == FaultKind::Mismatch => {
                return self.differs(haul, whole.then_some(digest), &fault).await;
            }
            Err(fault) if fault.kind == FaultKind::Refused => return Ok(Sent::bad(fault.kind, fault.chain())),
            Err(fault) => return Err(fault),
        };
        if haul.wanted.sha256.is_some_and(|row| row != digest) {
            let fault = Fault::new(FaultKind::Mismatch, haul.doing()).detail("checksum differs");
            return self.differs(haul, Some(digest), &fault).await;
        }
        let held = match info.sha256 {
            Some(held) => Some((info.size, held)),
            None => self.hash(to.as_ref(), to_key).await?,
        };
        if held != Some((size, digest)) {
            return Err(garbage("what the target holds is not what was sent".into()));
        }
        Ok(Sent::Proven(Proof { size, digest, version, parts: None }))
    }

    /// The checksum was not the row's. If the source as it stands has the row's, the bytes were hurt on the way.
    pub(super) async fn differs(&self, haul: &Haul, sent: Option<Digest>, fault: &Fault) -> Result<Sent> {
        let Some(row) = haul.wanted.sha256 else {
            return Err(Fault::new(FaultKind::Garbage, fault.doing.clone()).detail(fault.detail.clone()));
        };
        if sent != Some(row) {
            match self.hash(haul.way.from.as_ref(), &haul.way.from_key).await? {
                Some((_, source)) if source != row => {
                    return Ok(Sent::bad(FaultKind::Mismatch, "checksum differs from the row"));
                }
                None => return Ok(Sent::bad(FaultKind::NotFound, "missing")),
                Some(_) => {}
            }
        }
        Err(Fault::new(FaultKind::Garbage, fault.doing.clone()).detail("the bytes were changed on the way"))
    }

    /// Length and SHA-256 of a blob, by reading it; `None` if it is not there.
    ///
    /// # Errors
    /// What the bucket says, in the beginning or on the way.
    pub(crate) async fn hash(&self, bucket: &dyn BlobStore, key: &str) -> Result<Option<(u64, Digest)>> {
        self.pace.request(&self.signals).await?;
        hash(&self.signals, bucket, key).await
    }
}

fn went_by((meter, pace): (&Meter, &Pace), moved: &AtomicU64, bytes: u64) {
    moved.fetch_add(bytes, Ordering::Relaxed);
    meter.moved(0, bytes);
    pace.moved(0, bytes);
}

/// Length and SHA-256 of a blob, by reading it; `None` if it is not there.
///
/// # Errors
/// What the bucket says, in the beginning or on the way.
pub(crate) async fn hash(signals: &Signals, bucket: &dyn BlobStore, key: &str) -> Result<Option<(u64, Digest)>> {
    let mut body = match signals.unless_stopped("open a file", bucket.open(key, 0)).await {
        Ok(body) => body,
        Err(fault) if fault.kind == FaultKind::NotFound => return Ok(None),
        Err(fault) => return Err(fault),
    };
    let mut hasher = Sha256::new();
    let mut size = 0;
    while let Some(piece) = signals.unless_stopped("read a file", async { body.bytes.next().await.transpose() }).await?
    {
        hasher.update(&piece);
        size += piece.len() as u64;
    }
    if size != body.size {
        return Err(
            Fault::new(FaultKind::Garbage, format!("read {key}")).detail(format!("{size} of {} bytes", body.size))
        );
    }
    Ok(Some((size, Digest(hasher.finalize().into()))))
}
