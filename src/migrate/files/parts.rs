//! Moves one long blob in parts: some at once, each proven by its SHA-256, kept in the ledger as it arrives. A process
//! that takes over reads the source again from its beginning (it must, for the hash of the whole) and sends only what is
//! missing; a part whose bytes are no longer those in the ledger is sent again, so a source that changed between two
//! attempts is never stored torn.

use super::transfer::{Gear, Haul, Proof, Sent};
use crate::{
    error::{Fault, FaultKind, Result},
    migrate::retry,
    model::Digest,
    ports::{BlobBody, BlobStore, PartSent, PartStore, PartsDigest, Put, UploadRow},
};
use bytes::{Bytes, BytesMut};
use futures::{StreamExt, TryStreamExt, stream::BoxStream, stream::FuturesUnordered};
use sha2::{Digest as _, Sha256};
use std::{collections::BTreeMap, sync::Arc};
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::task::AbortOnDropHandle;

/// Parts of one blob on their way at the same time.
const AT_ONCE: usize = 4;

/// Cuts a stream into parts.
struct Cutter {
    bytes: BoxStream<'static, Result<Bytes>>,
    size: usize,
    kept: BytesMut,
}

impl Cutter {
    /// The next part: full, except for the last one; `None` after that.
    async fn next(&mut self) -> Result<Option<Bytes>> {
        while self.kept.len() < self.size {
            match self.bytes.try_next().await? {
                Some(piece) => self.kept.extend_from_slice(&piece),
                None => break,
            }
        }
        let length = self.kept.len().min(self.size);
        Ok((length > 0).then(|| self.kept.split_to(length).freeze()))
    }
}

/// A blob under way in parts.
struct Upload<'a> {
    gear: &'a Gear,
    haul: &'a Haul,
    row: UploadRow,
    sent: BTreeMap<u32, PartSent>,
    whole: Sha256,
    read: u64,
}

/// Moves a blob once; what has arrived of it stays for the next attempt.
///
/// # Errors
/// As [`Gear::transfer`].
pub(super) async fn send(gear: &Gear, haul: &Haul, store: &dyn PartStore, body: BlobBody, put: &Put) -> Result<Sent> {
    let (size, version) = (body.size, body.version.clone());
    let BlobBody { bytes, .. } = body;
    let row = begin(gear, haul, store, (size, version.clone()), put).await?;
    let mut upload = Upload { gear, haul, row, sent: BTreeMap::new(), whole: Sha256::new(), read: 0 };
    match upload.send_parts(bytes).await {
        // The server has forgotten the upload: the next attempt begins another one.
        Err(fault) if fault.kind == FaultKind::NotFound => {
            upload.forget().await?;
            return Err(Fault::new(FaultKind::Garbage, haul.doing()).detail("the upload is gone").source(fault));
        }
        sent => sent?,
    }
    let digest = Digest(upload.whole.clone().finalize().into());
    if upload.read != size {
        let detail = format!("{} of {size} bytes came", upload.read);
        return Err(Fault::new(FaultKind::Garbage, haul.doing()).detail(detail));
    }
    if haul.wanted.sha256.is_some_and(|row| row != digest) {
        abandon(gear, haul.way.to.as_ref(), &haul.way.to_key).await?;
        let fault = Fault::new(FaultKind::Mismatch, haul.doing()).detail("checksum differs");
        return gear.differs(haul, Some(digest), &fault).await;
    }
    let parts = upload.finish(store, (size, digest), put.only_new).await?;
    upload.forget().await?;
    Ok(Sent::Proven(Proof { size, digest, version, parts: Some(parts) }))
}

/// Goes on with the upload that the ledger knows, or begins one.
async fn begin(
    gear: &Gear,
    haul: &Haul,
    store: &dyn PartStore,
    (size, version): (u64, Option<String>),
    put: &Put,
) -> Result<UploadRow> {
    let key = &haul.way.to_key;
    let part_size = store.limits().part_size(size);
    let known = gear.signals.unless_stopped("ask the ledger", gear.work.upload(&gear.lane, key)).await?;
    if let Some(known) = known {
        if !known.upload.is_empty() && (known.size, known.part_size) == (size, part_size) {
            return Ok(known);
        }
        abandon(gear, haul.way.to.as_ref(), key).await?;
    }
    let mut row = UploadRow {
        lane: gear.lane.clone(),
        key: key.clone(),
        upload: String::new(),
        version,
        size,
        part_size,
        parts: Vec::new(),
    };
    // Kept without its name first: an upload whose name never came back is found by its key.
    gear.signals.unless_stopped("keep an upload", gear.work.begin_upload(&row)).await?;
    gear.pace.request(&gear.signals).await?;
    row.upload = gear.signals.unless_stopped("begin an upload", store.begin(key, &put.meta)).await?;
    gear.signals.unless_stopped("keep an upload", gear.work.begin_upload(&row)).await?;
    Ok(row)
}

/// Throws away what has arrived of the upload under this key, if the ledger knows of one.
///
/// # Errors
/// What the bucket or the ledger says.
pub(crate) async fn abandon(gear: &Gear, bucket: &dyn BlobStore, key: &str) -> Result<()> {
    let ask = gear.work.upload(&gear.lane, key);
    let Some(known) = gear.signals.unless_stopped("ask the ledger", ask).await? else { return Ok(()) };
    if let Some(store) = bucket.in_parts() {
        let uploads = if known.upload.is_empty() {
            let all = match gear.signals.unless_stopped("list uploads", store.unfinished(key)).await {
                // A server that cannot list uploads keeps this one, if it ever began; its own rules end it.
                Err(fault) if matches!(fault.kind, FaultKind::Refused | FaultKind::Server) => {
                    tracing::warn!("parts of {key} may be left behind: {}", fault.chain());
                    Vec::new()
                }
                all => all?,
            };
            all.into_iter().filter(|found| found.key == key).map(|found| found.upload).collect()
        } else {
            vec![known.upload]
        };
        for upload in uploads {
            match gear.signals.unless_stopped("abandon an upload", store.abandon(key, &upload)).await {
                // Some servers say so of an upload that is gone. Whoever may really not abandon one can still go on: what
                // stays behind are parts that nobody sees, and the bucket's own rules end them.
                Err(fault) if fault.kind == FaultKind::Unauthorized => {
                    tracing::warn!("parts of {key} may be left behind: {}", fault.chain());
                }
                done => done?,
            }
        }
    }
    gear.signals.unless_stopped("forget an upload", gear.work.end_upload(&gear.lane, key)).await
}

type Flight = AbortOnDropHandle<Result<PartSent>>;

impl Upload<'_> {
    /// Reads the source to its end and sends what the server does not have yet.
    ///
    /// What is on its way when the reading or a part fails still lands, unless the run is stopped: a server may keep a part
    /// whose sending was cut off after the upload was thrown away, and nobody would find it.
    async fn send_parts(&mut self, bytes: BoxStream<'static, Result<Bytes>>) -> Result<()> {
        let mut busy = FuturesUnordered::new();
        let fault = match self.read_and_send(bytes, &mut busy).await {
            Err(fault) if fault.kind != FaultKind::Cancelled => fault,
            ended => return ended,
        };
        while let Some(landed) = busy.next().await {
            if let Err(besides) = self.landed(Some(landed)).await {
                tracing::debug!("{}: {}", self.haul.doing(), besides.chain());
            }
        }
        Err(fault)
    }

    async fn read_and_send(
        &mut self,
        bytes: BoxStream<'static, Result<Bytes>>,
        busy: &mut FuturesUnordered<Flight>,
    ) -> Result<()> {
        let size = usize::try_from(self.row.part_size).unwrap_or(usize::MAX);
        let mut cutter = Cutter { bytes, size, kept: BytesMut::new() };
        let known: BTreeMap<u32, PartSent> = self.row.parts.iter().map(|part| (part.number, part.clone())).collect();
        for number in 1.. {
            let memory = self.gear.pace.memory(self.row.part_size).await;
            let next = self.gear.signals.unless_stopped("read a file", cutter.next()).await?;
            let Some(bytes) = next else { break };
            let length = bytes.len() as u64;
            self.whole.update(&bytes);
            self.read += length;
            self.gear.went_by(&self.haul.moved, length);
            let sha256 = Digest::of(&bytes);
            match known.get(&number).filter(|part| part.sha256 == sha256) {
                Some(part) => {
                    self.sent.insert(number, part.clone());
                }
                None => busy.push(self.fly(number, bytes, sha256, memory)),
            }
            self.gear.pace.bytes(length).await;
            if busy.len() >= AT_ONCE {
                self.landed(busy.next().await).await?;
            }
        }
        while let Some(landed) = busy.next().await {
            self.landed(Some(landed)).await?;
        }
        Ok(())
    }

    /// Sends a part in a task of its own, with all its attempts.
    fn fly(&self, number: u32, bytes: Bytes, sha256: Digest, memory: Option<OwnedSemaphorePermit>) -> Flight {
        let (gear, to) = (self.gear.clone(), Arc::clone(&self.haul.way.to));
        let (key, upload) = (self.haul.way.to_key.clone(), self.row.upload.clone());
        AbortOnDropHandle::new(tokio::spawn(async move {
            let _memory = memory;
            let Some(store) = to.in_parts() else {
                return Err(Fault::new(FaultKind::Internal, format!("send a part of {key}")));
            };
            let mut attempt = 1;
            loop {
                gear.pace.request(&gear.signals).await?;
                let send = store.send(&key, &upload, number, bytes.clone(), sha256);
                match gear.signals.unless_stopped("send a part", send).await {
                    Err(fault) if fault.kind.is_retryable() && attempt < gear.migration.attempts.max(1) => {
                        gear.pace.trouble(&fault);
                        gear.signals.wait(retry::wait(&fault, attempt, gear.migration.backoff)).await?;
                    }
                    ended => return ended,
                }
                attempt += 1;
            }
        }))
    }

    async fn landed(
        &mut self,
        landed: Option<std::result::Result<Result<PartSent>, tokio::task::JoinError>>,
    ) -> Result<()> {
        let Some(landed) = landed else { return Ok(()) };
        let part = landed.map_err(|error| Fault::new(FaultKind::Internal, self.haul.doing()).source(error))??;
        let keep = self.gear.work.add_part(&self.gear.lane, &self.row.key, &part);
        self.gear.signals.unless_stopped("keep a part", keep).await?;
        self.sent.insert(part.number, part);
        Ok(())
    }

    /// Puts the parts together and proves what stands there then.
    async fn finish(&self, store: &dyn PartStore, whole: (u64, Digest), only_new: bool) -> Result<PartsDigest> {
        let (to, key) = (self.haul.way.to.as_ref(), &self.row.key);
        let parts: Vec<PartSent> = self.sent.values().cloned().collect();
        let hashes: Vec<u8> = parts.iter().flat_map(|part| part.sha256.0).collect();
        let count = u32::try_from(parts.len()).unwrap_or(u32::MAX);
        let wanted = PartsDigest { sha256: Digest::of(&hashes), count };
        self.gear.pace.request(&self.gear.signals).await?;
        let finish = store.finish(key, &self.row.upload, &parts, only_new);
        let held = match self.gear.signals.unless_stopped("put the parts together", finish).await {
            Ok(info) => Some(info),
            // It may have been put together by an attempt whose answer was lost.
            Err(fault) if fault.kind == FaultKind::NotFound => None,
            Err(fault) => return Err(fault),
        };
        let mut held = held.and_then(|info| info.parts);
        if held.is_none() {
            let info = self.gear.signals.unless_stopped("look at an object", to.head(key)).await?;
            held = info.filter(|info| info.size == whole.0).and_then(|info| info.parts);
        }
        let proven = match held {
            Some(held) => held == wanted,
            None => self.gear.hash(to, key).await? == Some(whole),
        };
        if proven {
            return Ok(wanted);
        }
        self.forget().await?;
        Err(Fault::new(FaultKind::Garbage, self.haul.doing()).detail("what the target holds is not what was sent"))
    }

    async fn forget(&self) -> Result<()> {
        let end = self.gear.work.end_upload(&self.gear.lane, &self.row.key);
        self.gear.signals.unless_stopped("forget an upload", end).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::stream;

    #[tokio::test]
    async fn parts_are_full_but_for_the_last() {
        for (pieces, size) in [(vec![3, 3, 3, 1], 4), (vec![10], 4), (vec![4, 4], 4), (vec![1; 9], 4), (vec![], 4)] {
            let total: usize = pieces.iter().sum();
            let bytes = stream::iter(pieces.clone().into_iter().map(|n| Ok(Bytes::from(vec![7; n])))).boxed();
            let mut cutter = Cutter { bytes, size, kept: BytesMut::new() };
            let mut lengths = Vec::new();
            while let Some(part) = cutter.next().await.unwrap() {
                lengths.push(part.len());
            }
            assert_eq!(lengths.iter().sum::<usize>(), total, "{pieces:?}");
            assert!(lengths.iter().rev().skip(1).all(|length| *length == size), "{pieces:?} gave {lengths:?}");
        }
    }
}
