//! A file's bytes, in pieces, one of them read ahead. Blocking inside, a stream outside.

use super::{
    beneath::{Miss, Root, Seen, disk_fault},
    blocking,
};
use crate::{
    error::{Fault, FaultKind, Result},
    ports::{BlobBody, BlobMeta},
};
use bytes::Bytes;
use futures::{StreamExt, stream};
use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};
use tokio::task::{JoinHandle, spawn_blocking};

/// What is read in the same go as the file is opened: most files end there.
const FIRST: u64 = 64 * 1024;
/// What is read at once of the rest.
const PIECE: u64 = 512 * 1024;

/// A file being read.
struct Reading {
    doing: String,
    root: Root,
    key: String,
    file: File,
    seen: Seen,
    left: u64,
}

/// What comes next of it.
enum Next {
    Read(Reading),
    Reading(JoinHandle<Result<(Bytes, Option<Reading>)>>),
    End,
}

/// Opens the file of this key at byte `from`.
pub(super) async fn open(doing: String, root: PathBuf, key: String, from: u64) -> Result<BlobBody> {
    let begin = move || {
        let reading = Reading::begin(doing, &root, key, from)?;
        let seen = reading.seen.clone();
        Ok((seen, reading.piece(FIRST)?))
    };
    let (seen, (first, rest)) = blocking(begin).await?;
    let first = stream::iter((!first.is_empty()).then_some(Ok(first)));
    let rest = stream::try_unfold(rest.map_or(Next::End, Next::Read), Next::piece);
    let bytes = first.chain(rest).boxed();
    Ok(BlobBody { size: seen.size, version: Some(seen.version), meta: BlobMeta::default(), bytes })
}

impl Next {
    async fn piece(self) -> Result<Option<(Bytes, Self)>> {
        let reading = match self {
            Self::End => return Ok(None),
            Self::Read(reading) => reading.ahead(),
            Self::Reading(reading) => reading,
        };
        let done = reading.await.map_err(|error| Fault::new(FaultKind::Internal, "use the disk").source(error))?;
        let (bytes, rest) = done?;
        Ok(Some((bytes, rest.map_or(Self::End, |rest| Self::Reading(rest.ahead())))))
    }
}

impl Reading {
    fn begin(doing: String, root: &Path, key: String, from: u64) -> Result<Self> {
        let root = Root::open(&doing, root)?;
        let (mut file, seen) = root.file(&key).map_err(|miss| miss.fault(&doing, &key))?;
        if from > seen.size {
            let detail = format!("byte {from} of a file of {} bytes was asked for", seen.size);
            return Err(Fault::new(FaultKind::Refused, doing).detail(detail));
        }
        if from > 0 {
            file.seek(SeekFrom::Start(from)).map_err(|error| disk_fault(&doing, error))?;
        }
        let left = seen.size - from;
        Ok(Self { doing, root, key, file, seen, left })
    }

    fn ahead(self) -> JoinHandle<Result<(Bytes, Option<Self>)>> {
        spawn_blocking(move || self.piece(PIECE))
    }

    /// The next bytes, and itself if there are more. With the last ones it is certain that it was one file all the time.
    fn piece(mut self, most: u64) -> Result<(Bytes, Option<Self>)> {
        let wanted = self.left.min(most);
        let mut bytes = Buffer::of(usize::try_from(wanted).unwrap_or(usize::MAX));
        self.file.read_exact(bytes.as_mut()).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => self.changed("cut"),
            _ => disk_fault(&self.doing, error),
        })?;
        self.left -= wanted;
        if self.left > 0 {
            return Ok((Bytes::from_owner(bytes), Some(self)));
        }
        match self.root.look(&self.key) {
            Ok(now) if now == self.seen => Ok((Bytes::from_owner(bytes), None)),
            Ok(_) => Err(self.changed("written")),
            Err(Miss::Gone) => Err(self.changed("removed")),
            Err(miss) => Err(miss.fault(&self.doing, &self.key)),
        }
    }

    fn changed(&self, how: &str) -> Fault {
        Fault::new(FaultKind::Changed, &*self.doing).detail(format!("the file was {how} meanwhile"))
    }
}

/// Buffers of short files that are free again, each of [`FIRST`] bytes: taking and giving back one for every small file
/// keeps the memory allocator busier than the disk.
static FREE: Mutex<Vec<Box<[u8]>>> = Mutex::new(Vec::new());
/// How many of them are kept.
const KEPT: usize = 64;

/// Bytes to be read into.
struct Buffer {
    bytes: Box<[u8]>,
    length: usize,
}

impl Buffer {
    fn of(length: usize) -> Self {
        let short = usize::try_from(FIRST).unwrap_or(length);
        if length > short {
            return Self { bytes: vec![0; length].into(), length };
        }
        let free = FREE.lock().unwrap_or_else(PoisonError::into_inner).pop();
        Self { bytes: free.unwrap_or_else(|| vec![0; short].into()), length }
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

impl AsMut<[u8]> for Buffer {
    fn as_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[..self.length]
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let mut free = FREE.lock().unwrap_or_else(PoisonError::into_inner);
        if self.bytes.len() as u64 == FIRST && free.len() < KEPT {
            free.push(std::mem::take(&mut self.bytes));
        }
    }
}
