//! A sample of a dataset's or a file set's files: how long they are, which stand in the target already, how fast the source gives them.

use super::{DatasetSurvey, FileSetSurvey, Forecast, SampleSurvey, SizeClass, WRITES};
use crate::{
    error::Result,
    migrate::Mapping,
    model::{Digest, Record},
    plan::{BlobPlan, DatasetPlan, FileSetPlan, Plan},
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
pub(super) const FILES: usize = 200;
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

/// Measures and fills in what is known of a dataset's files; gives the first thing that went wrong.
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
    let mapping = Mapping::new(dataset)?;
    let named = records.iter().filter_map(|record| named(&mapping, blob, record)).take(FILES).collect();
    let (old, new) = (ports.bucket(&blob.from)?, ports.bucket(&blob.to)?);
    let measured = measure(plan, old.as_ref(), new.as_ref(), named).await;
    found.sample = measured.sample;
    scale(&measured.files, found);
    let seconds = takes(found.files, found.file_bytes, &found.sample);
    found.seconds = found.seconds.zip(seconds).map(|(records, files)| records.and(files));
    Ok(measured.trouble)
}

/// The same for a file set, of which these paths are a sample, with their keys in the target and lengths.
///
/// # Errors
/// As [`files`].
pub(super) async fn of_set(
    plan: &Plan,
    set: &FileSetPlan,
    ports: &Ports,
    paths: Vec<(String, u64)>,
    found: &mut FileSetSurvey,
) -> Result<Option<String>> {
    let (old, new) = (ports.bucket(&set.from.bucket)?, ports.bucket(&set.to.bucket)?);
    let named = paths.into_iter().map(|(path, size)| {
        let key = path.strip_prefix(&set.from.prefix).map(|rest| format!("{}{rest}", set.to.prefix));
        Sampled { path, key, size: Some(size), sha256: None, standing: Standing::Unknown }
    });
    let measured = measure(plan, old.as_ref(), new.as_ref(), named.collect()).await;
    found.sample = measured.sample;
    found.already = already(&measured.files, found.files);
    // Of how many files nobody knows nobody knows how long they take.
    found.seconds = takes((!found.more).then_some(found.files), Some(found.bytes), &found.sample);
    Ok(measured.trouble)
}

/// What was measured on a sample.
struct Measured {
    files: Vec<Sampled>,
    sample: SampleSurvey,
    trouble: Option<String>,
}

async fn measure(plan: &Plan, old: &dyn BlobStore, new: &dyn BlobStore, named: Vec<Sampled>) -> Measured {
    let at_once = usize::try_from(plan.migration.concurrency * AT_ONCE).unwrap_or(1).clamp(1, 64);
    let looking = Looking { until: Instant::now() + TIME, left: AtomicU64::new(BYTES), trouble: Mutex::default() };
    let sizing: Vec<_> = named.into_iter().map(|file| looking.sized(old, file)).collect();
    let sampled: Vec<Sampled> = stream::iter(sizing).buffered(at_once).collect().await;

    let began = Instant::now();
    let lookups: Vec<_> = sampled.into_iter().map(|file| looking.look_up(new, file)).collect();
    let mut sampled: Vec<Sampled> = stream::iter(lookups).buffered(at_once).collect().await;
    let looked_up = sampled.iter().filter(|file| !matches!(file.standing, Standing::Unknown)).count() as u64;
    let looked_up_seconds = began.elapsed().as_secs_f64();

    let began = Instant::now();
    let reading: Vec<_> = sampled.iter().map(|file| looking.read(old, file)).collect();
    let reads: Vec<Option<(u64, Option<Digest>)>> = stream::iter(reading).buffered(at_once).collect().await;
    let seconds = began.elapsed().as_secs_f64();
    for (file, read) in sampled.iter_mut().zip(&reads) {
        file.sha256 = file.sha256.or_else(|| read.and_then(|(_, digest)| digest));
    }
    let files = reads.iter().flatten().count() as u64;
    let bytes = reads.iter().flatten().map(|(bytes, _)| bytes).sum();
    Measured {
        files: sampled,
        sample: SampleSurvey { files, bytes, seconds, looked_up, looked_up_seconds },
        trouble: looking.trouble.into_inner().unwrap_or_else(PoisonError::into_inner),
    }
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
    let sizes: Option<Vec<u64>> = sampled.iter().map(|file| file.size).collect();
    if let Some(sizes) = &sizes {
        found.file_bytes = Some(scaled(sizes.iter().sum(), sizes.len(), files));
        let mut classes = empty_classes();
        for size in sizes {
            classify(&mut classes, *size);
        }
        for class in &mut classes {
            class.files = scaled(class.files, sizes.len(), files);
        }
        found.sizes = Some(classes);
    }
    found.already = already(sampled, files);
}

/// A part of a sample, of so many files.
fn scaled(part: u64, sample: usize, files: u64) -> u64 {
    if sample == 0 { 0 } else { part.saturating_mul(files) / sample as u64 }
}

/// How many of so many files stand in the target as they are; `None` if a server does not say.
fn already(sampled: &[Sampled], files: u64) -> Option<u64> {
    let same: Option<Vec<bool>> = sampled.iter().map(is_same).collect();
    same.map(|same| scaled(same.iter().filter(|same| **same).count() as u64, same.len(), files))
}

/// All classes, nothing in them.
pub(super) fn empty_classes() -> Vec<SizeClass> {
    (0..=CLASSES.len()).map(|place| SizeClass { up_to: CLASSES.get(place).copied(), files: 0 }).collect()
}

/// Counts a file of this length.
pub(super) fn classify(classes: &mut [SizeClass], size: u64) {
    if let Some(class) = classes.iter_mut().find(|class| class.up_to.is_none_or(|up_to| size <= up_to)) {
        class.files += 1;
    }
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
fn takes(files: Option<u64>, bytes: Option<u64>, sample: &SampleSurvey) -> Option<Forecast> {
    let files = files? as f64;
    if files == 0.0 {
        return Some(Forecast::default());
    }
    if sample.files == 0 || sample.looked_up == 0 {
        return None;
    }
    // A sample of long files says little about many short ones, and the other way round: both ways to scale it.
    let by_count = files / sample.files as f64 * sample.seconds;
    let by_bytes = match (bytes, sample.bytes) {
        (Some(bytes), 1..) => bytes as f64 / sample.bytes as f64 * sample.seconds,
        _ => by_count,
    };
    let asking = files / sample.looked_up as f64 * sample.looked_up_seconds;
    let (low, high) = (by_count.min(by_bytes).max(asking), by_count.max(by_bytes) + asking);
    Some(Forecast { low, high: high * (1.0 + WRITES) })
}
