//! Where backups are kept, whatever bucket that is: small blobs as a whole, tried again where that may help.
//!
//! The keys are `<prefix><plan>/<run>/<dataset>/`, and there `manifest.json`, `proof.json` and the blocks. Must never
//! enter: what is in a blob.

use super::manifest::{self, Manifest, Proven};
use crate::{
    engine::{Signals, StepContext},
    error::{Fault, FaultKind, Result},
    migrate::retry,
    model::{Digest, RunId, text::clean},
    plan::Plan,
    ports::{BackupPlace, BlobBody, BlobInfo, BlobMeta, Ports, Put},
};
use bytes::{Bytes, BytesMut};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde::de::DeserializeOwned;
use std::time::Duration;

const MANIFEST: &str = "manifest.json";
const PROOF: &str = "proof.json";
/// Blobs asked for in one page of a listing.
const PAGE: u32 = 1000;
/// A longer manifest is none: it would list blocks of more than ten terabytes.
const LONGEST: u64 = 256 << 20;

/// The place of a plan's backups.
#[derive(Clone)]
pub struct Place {
    at: BackupPlace,
    plan: String,
    attempts: u32,
    backoff: Duration,
    signals: Signals,
}

/// One backup there.
#[derive(Clone)]
pub struct Backup {
    pub(super) place: Place,
    /// Before whose first write it was taken.
    pub run: RunId,
    /// Of which dataset.
    pub dataset: String,
}

/// What stands under the key of a backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// Before whose first write it was taken.
    pub run: RunId,
    /// Of which dataset.
    pub dataset: String,
    /// Blobs.
    pub blobs: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Place {
    /// The place of this plan's backups.
    ///
    /// # Errors
    /// `Plan` if nobody said where.
    pub fn new(plan: &Plan, ports: &Ports, signals: &Signals) -> Result<Self> {
        Ok(Self {
            at: ports.backups()?.clone(),
            plan: plan.name.clone(),
            attempts: plan.migration.attempts.max(1),
            backoff: plan.migration.backoff,
            signals: signals.clone(),
        })
    }

    /// In words.
    #[must_use]
    pub fn told(&self) -> &str {
        &self.at.told
    }

    /// The backup of a dataset, taken before the first write of this run.
    #[must_use]
    pub fn backup(&self, run: &RunId, dataset: &str) -> Backup {
        Backup { place: self.clone(), run: run.clone(), dataset: dataset.to_owned() }
    }

    /// All that stands there of this plan, in the order of runs and datasets. Memory is bounded by their number, not by
    /// that of their blocks.
    ///
    /// # Errors
    /// What the bucket says after all attempts; `Cancelled`.
    pub async fn all(&self) -> Result<Vec<Kept>> {
        let root = format!("{}{}/", self.at.prefix, self.plan);
        let mut all: Vec<Kept> = Vec::new();
        self.each(&root, |blob| {
            let Some((run, rest)) = blob.key.strip_prefix(&root).and_then(|rest| rest.split_once('/')) else { return };
            let Some((dataset, _)) = rest.split_once('/') else { return };
            match all.iter_mut().find(|kept| kept.run.as_str() == run && kept.dataset == dataset) {
                Some(kept) => {
                    kept.blobs += 1;
                    kept.bytes += blob.size;
                }
                None => {
                    all.push(Kept { run: RunId::new(run), dataset: dataset.to_owned(), blobs: 1, bytes: blob.size });
                }
            }
        })
        .await?;
        all.sort_by(|one, other| (&one.run, &one.dataset).cmp(&(&other.run, &other.dataset)));
        Ok(all)
    }

    async fn each(&self, prefix: &str, mut found: impl FnMut(BlobInfo)) -> Result<()> {
        let doing = format!("list backups in {}", self.at.told);
        let mut from = None;
        loop {
            let page = self.call(&doing, || self.at.bucket.list(prefix, from.as_deref(), PAGE)).await?;
            page.blobs.into_iter().for_each(&mut found);
            let Some(next) = page.next else { return Ok(()) };
            from = Some(next);
        }
    }

    /// A call that ends when the run is stopped, and is tried again where that may help.
    async fn call<T, F: Future<Output = Result<T>>>(&self, doing: &str, call: impl Fn() -> F) -> Result<T> {
        let mut attempt = 1;
        loop {
            match self.signals.unless_stopped(doing, call()).await {
                Err(fault) if fault.kind.is_retryable() && attempt < self.attempts => {
                    self.signals.wait(retry::wait(&fault, attempt, self.backoff)).await?;
                }
                ended => return ended,
            }
            attempt += 1;
        }
    }
}

impl Backup {
    /// The backup of this run and dataset.
    pub(super) fn of(cx: &StepContext, dataset: &str) -> Result<Self> {
        Ok(Place::new(&cx.plan, &cx.ports, &cx.signals)?.backup(cx.work.run(), dataset))
    }

    /// In words, to be put behind a verb.
    #[must_use]
    pub fn told(&self) -> String {
        format!("the backup of {} from run {} in {}", self.dataset, clean(self.run.as_str(), 60), self.place.at.told)
    }

    /// Waits here while the run is paused.
    pub(super) async fn breathe(&self) -> Result<()> {
        self.place.signals.breathe().await
    }

    fn key(&self, name: &str) -> String {
        let Self { place, run, dataset } = self;
        format!("{}{}/{run}/{dataset}/{name}", place.at.prefix, place.plan)
    }

    /// What it says of itself.
    ///
    /// # Errors
    /// `NotFound` if there is none, or none that was finished; `Mismatch` if the manifest is hurt.
    pub async fn manifest(&self) -> Result<Manifest> {
        let doing = format!("read {}", self.told());
        let manifest: Manifest = self.read(&doing, MANIFEST).await?;
        let wrong = |why: String| Fault::new(FaultKind::Mismatch, doing.clone()).detail(why);
        if manifest.format != manifest::FORMAT {
            return Err(wrong(format!("it has the form {}, this version knows {}", manifest.format, manifest::FORMAT)));
        }
        if manifest.dataset != self.dataset || manifest.run != self.run {
            return Err(wrong(format!("it is the one of {} from run {}", manifest.dataset, manifest.run)));
        }
        Ok(manifest)
    }

    /// How this very backup was proven; `None` if it was not.
    ///
    /// # Errors
    /// What the bucket says after all attempts; `Mismatch` if what it holds is hurt.
    pub async fn proven(&self, manifest: &Manifest) -> Result<Option<Proven>> {
        match self.read::<Proven>(&format!("read the proof of {}", self.told()), PROOF).await {
            Ok(proven) => Ok(Some(proven).filter(|proven| proven.of == manifest.seal())),
            Err(fault) if fault.kind == FaultKind::NotFound => Ok(None),
            Err(fault) => Err(fault),
        }
    }

    pub(super) async fn keep_manifest(&self, manifest: &Manifest) -> Result<()> {
        self.keep(MANIFEST, sealed(manifest)?).await
    }

    pub(super) async fn keep_proof(&self, proven: &Proven) -> Result<()> {
        self.keep(PROOF, sealed(proven)?).await
    }

    pub(super) async fn keep_block(&self, place: usize, block: Vec<u8>) -> Result<()> {
        self.keep(&manifest::block_name(place), block).await
    }

    /// The bytes of a block that has so many.
    pub(super) async fn block(&self, place: usize, stored: u64) -> Result<Bytes> {
        let name = manifest::block_name(place);
        let doing = format!("read block {name} of {}", self.told());
        let missing = |fault: Fault| match fault.kind {
            // The manifest lists it: that it is gone is damage.
            FaultKind::NotFound => Fault::new(FaultKind::Mismatch, doing.clone()).detail("the block is not there"),
            _ => fault,
        };
        let bytes = self.bytes(&doing, &name, stored).await.map_err(missing)?;
        if bytes.len() as u64 == stored {
            return Ok(bytes);
        }
        let detail = format!("it has {} bytes, {stored} were written", bytes.len());
        Err(Fault::new(FaultKind::Mismatch, doing).detail(detail))
    }

    /// Removes all of it, the manifest first: half a backup must not look like a whole one.
    pub(super) async fn clear(&self) -> Result<()> {
        let mut keys = vec![self.key(MANIFEST), self.key(PROOF)];
        let folder = self.key("");
        self.place.each(&folder, |blob| keys.push(blob.key)).await?;
        for key in keys {
            let doing = format!("remove what is left of {}", self.told());
            self.place.call(&doing, || self.place.at.bucket.delete(&key)).await?;
        }
        Ok(())
    }

    async fn keep(&self, name: &str, bytes: Vec<u8>) -> Result<()> {
        let (key, bytes) = (self.key(name), Bytes::from(bytes));
        let put = Put { sha256: Some(Digest::of(&bytes)), ..Put::default() };
        let doing = format!("write {}", self.told());
        let body = || BlobBody {
            size: bytes.len() as u64,
            version: None,
            meta: BlobMeta::default(),
            bytes: stream::iter([Ok(bytes.clone())]).boxed(),
        };
        self.place.call(&doing, || self.place.at.bucket.put(&key, body(), &put)).await.map(drop)
    }

    async fn read<T: DeserializeOwned>(&self, doing: &str, name: &str) -> Result<T> {
        let bytes = self.bytes(doing, name, LONGEST).await?;
        manifest::unseal(&bytes).map_err(|why| Fault::new(FaultKind::Mismatch, doing).detail(format!("{name}: {why}")))
    }

    /// A blob of at most so many bytes; of a longer one only that it is longer.
    async fn bytes(&self, doing: &str, name: &str, most: u64) -> Result<Bytes> {
        let key = self.key(name);
        let read = || async {
            let mut body = self.place.at.bucket.open(&key, 0).await?;
            let mut bytes = BytesMut::new();
            while let Some(piece) = body.bytes.try_next().await? {
                bytes.extend_from_slice(&piece);
                if bytes.len() as u64 > most {
                    break;
                }
            }
            Ok(bytes.freeze())
        };
        self.place.call(doing, read).await
    }
}

fn sealed<T: serde::Serialize>(content: &T) -> Result<Vec<u8>> {
    manifest::seal(content).map_err(|error| Fault::new(FaultKind::Internal, "seal a backup").source(error))
}
