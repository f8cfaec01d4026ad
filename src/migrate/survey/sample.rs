//! A sample of a dataset's files: how long they are, which stand in the target already, how fast the source gives them.

use super::{DatasetSurvey, Forecast, SampleSurvey, SizeClass, WRITES};
use crate::{
    error::Result,
    migrate::Mapping,
    model::{Digest, Record},
    plan::{BlobPlan, DatasetPlan, Plan},
    ports::{BlobStore, Ports},
};
use futures::{StreamExt, TryStreamExt, stream};
use sha2::{Digest as _, Sha256};
use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// Bytes of the longest file of each class; longer ones are a class of their own.
const CLASSES: [u64; 5] = [0, 16 << 10, 1 << 20, 16 << 20, 256 << 20];
/// Files looked at.
const FILES: usize = 200;
/// Bytes read, over all files.
const BYTES: u64 = 64 << 20;
/// After this time nothing further is begun.
const TIME: Duration = Duration::from_secs(15);
/// Files at once, for each batch of records at once that the plan says: as the lane begins.
const AT_ONCE: u32 = 4;

/// A file of the sample.
struct Sampled {
    path: String,
    key: Option<String>,
    size: Option<u64>,
    sha256: Option<Digest>,
    standing: Standing,
}

/// What the target has under a file's key.
enum Standing {
    /// It did not say.
    Unknown,
    Nothing,
    /// So many bytes, and their SHA-256 if it says.
    Object(u64, Option<Digest>),
}

/// Measures and fills in what is known of the files; gives the first thing that went wrong.
///
/// # Errors
/// Only `Plan`; what a server does not say stays unknown.
pub(super) async fn files(
    plan: &Plan,
    dataset: &DatasetPlan,
    ports: &Ports,
    records: &[Record],
    found: &mut DatasetSurvey,
) -> Result<Option<String>> {
    let Some(blob) = &dataset.blob else { return Ok(None) };
    let (old, new) = (ports.bucket(&blob.from)?, ports.bucket(&blob.to)?);
    let mapping = Mapping::new(dataset)?;
    let at_once = usize::try_from(plan.migration.concurrency * AT_ONCE).unwrap_or(1).clamp(1, 64);
    let looking = Looking { until: Instant::now() + TIME, left: AtomicU64::new(BYTES), trouble: Mutex::default() };
    let named: Vec<Sampled> = records.iter().filter_map(|record| named(&mapping, blob, record)).take(FILES).collect();
    let sizing: Vec<_> = named.into_iter().map(|file| looking.sized(old.as_ref(), file)).collect();
    let sampled: Vec<Sampled> = stream::iter(sizing).buffered(at_once).collect().await;

    let began = Instant::now();
    let lookups: Vec<_> = sampled.into_iter().map(|file| looking.look_up(new.as_ref(), file)).collect();
    let mut sampled: Vec<Sampled> = stream::iter(lookups).buffered(at_once).collect().await;
    let looked_up = sampled.iter().filter(|file| !matches!(file.standing, Standing::Unknown)).count() as u64;
    let looked_up_seconds = began.elapsed().as_secs_f64();

    let began = Instant::now();
    let reading: Vec<_> = sampled.iter().map(|file| looking.read(old.as_ref(), file)).collect();
    let reads: Vec<Option<(u64, Option<Digest>)>> = stream::iter(reading).buffered(at_once).collect().await;
    let seconds = began.elapsed().as_secs_f64();
    for (file, read) in sampled.iter_mut().zip(&reads) {
        file.sha256 = file.sha256.or_else(|| read.and_then(|(_, digest)| digest));
    }
    let files = reads.iter().flatten().count() as u64;
    let bytes = reads.iter().flatten().map(|(bytes, _)| bytes).sum();
    found.sample = SampleSurvey { files, bytes, seconds, looked_up, looked_up_seconds };
    scale(&sampled, found);
    found.seconds = found.seconds.zip(takes(found)).map(|(records, files)| records.and(files));
    Ok(looking.trouble.into_inner().unwrap_or_else(PoisonError::into_inner))
}

fn named(mapping: &Mapping, blob: &BlobPlan, record: &Record) -> Option<Sampled> {
    let path = record.text(&blob.path).filter(|path| !path.is_empty())?;
    let size = blob.size.as_ref().and_then(|field| record.text(field)?.parse().ok());
    let sha256 = blob.sha256.as_ref().and_then(|field| Digest::from_hex(&record.text(field)?));
    Some(Sampled { path, key: mapping.blob_key(record).ok(), size, sha256, standing: Standing::Unknown })
}

/// The bounds of the sample, and the first thing that went wrong.
struct Looking {
    until: Instant,
    left: AtomicU64,
    trouble: Mutex<Option<String>>,
}

impl Looking {
    fn is_over(&self) -> bool {
        Instant::now() >= self.until || self.left.load(Ordering::Relaxed) == 0
    }

    /// What a bucket said; a fault is kept to be told.
    fn said<T>(&self, answer: Result<T>) -> Option<T> {
        answer
            .map_err(|fault| {
                let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
                trouble.get_or_insert_with(|| fault.chain());
            })
            .ok()
    }

    /// With its length, from the bucket if the row does not say.
    async fn sized(&self, old: &dyn BlobStore, mut file: Sampled) -> Sampled {
        if file.size.is_none() && !self.is_over() {
            file.size = self.said(old.head(&file.path).await).flatten().map(|info| info.size);
        }
        file
    }

    async fn look_up(&self, new: &dyn BlobStore, mut file: Sampled) -> Sampled {
        if let Some(key) = file.key.as_ref().filter(|_| !self.is_over()) {
            file.standing = match self.said(new.head(key).await) {
                None => Standing::Unknown,
                Some(None) => Standing::Nothing,
                Some(Some(info)) => Standing::Object(info.size, info.sha256),
            };
        }
        file
    }

    /// Reads a file as far as it may: bytes, and the SHA-256 if that was all of it. `None` if it was not read.
    async fn read(&self, old: &dyn BlobStore, file: &Sampled) -> Option<(u64, Option<Digest>)> {
        if self.is_over() {
            return None;
        }
        let mut body = self.said(old.open(&file.path, 0).await)?;
        let (mut hasher, mut bytes) = (Sha256::new(), 0);
        while let Some(piece) = self.said(body.bytes.try_next().await)? {
            hasher.update(&piece);
            let length = piece.len() as u64;
            bytes += length;
            let spent = |left: u64| Some(left.saturating_sub(length));
            // The closure always gives a value.
            let _left = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, spent);
            if self.is_over() {
                break;
            }
        }
        let whole = bytes == body.size;
        Some((bytes, whole.then(|| Digest(hasher.finalize().into()))))
    }
}

/// What the sample says of all files.
fn scale(sampled: &[Sampled], found: &mut DatasetSurvey) {
    let files = found.files.unwrap_or(0);
    let scaled = |part: u64, of: usize| if of == 0 { 0 } else { part.saturating_mul(files) / of as u64 };
    let sizes: Option<Vec<u64>> = sampled.iter().map(|file| file.size).collect();
    if let Some(sizes) = &sizes {
        found.file_bytes = Some(scaled(sizes.iter().sum(), sizes.len()));
        let class = |size: u64| CLASSES.iter().position(|up_to| size <= *up_to).unwrap_or(CLASSES.len());
        let count = |place: usize| sizes.iter().filter(|size| class(**size) == place).count() as u64;
        let classes = (0..=CLASSES.len())
            .map(|place| SizeClass { up_to: CLASSES.get(place).copied(), files: scaled(count(place), sizes.len()) });
        found.sizes = Some(classes.collect());
    }
    let same: Option<Vec<bool>> = sampled.iter().map(is_same).collect();
    found.already = same.map(|same| scaled(same.iter().filter(|same| **same).count() as u64, same.len()));
}

/// Whether the target holds the same; `None` if a server does not say.
fn is_same(file: &Sampled) -> Option<bool> {
    match file.standing {
        Standing::Unknown => None,
        Standing::Nothing => Some(false),
        Standing::Object(size, _) if file.size? != size => Some(false),
        Standing::Object(_, held) => Some(held? == file.sha256?),
    }
}

/// Reading them all while the target is asked, and writing them.
#[expect(clippy::cast_precision_loss, reason = "a rough forecast")]
fn takes(found: &DatasetSurvey) -> Option<Forecast> {
    let files = found.files? as f64;
    if files == 0.0 {
        return Some(Forecast::default());
    }
    let sample = &found.sample;
    if sample.files == 0 || sample.looked_up == 0 {
        return None;
    }
    // A sample of long files says little about many short ones, and the other way round: both ways to scale it.
    let by_count = files / sample.files as f64 * sample.seconds;
    let by_bytes = match (found.file_bytes, sample.bytes) {
        (Some(bytes), 1..) => bytes as f64 / sample.bytes as f64 * sample.seconds,
        _ => by_count,
    };
    let asking = files / sample.looked_up as f64 * sample.looked_up_seconds;
    let (low, high) = (by_count.min(by_bytes).max(asking), by_count.max(by_bytes) + asking);
    Some(Forecast { low, high: high * (1.0 + WRITES) })
}
