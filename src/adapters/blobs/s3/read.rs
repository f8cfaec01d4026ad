//! Content on its way down: piece by piece, each within the time limit, and read on where a connection broke.

use super::{faults::fault, meta};
use crate::error::{Fault, FaultKind, Result};
use aws_sdk_s3::{Client, operation::get_object::GetObjectOutput, primitives::ByteStream};
use bytes::Bytes;
use futures::{
    StreamExt as _,
    stream::{self, BoxStream},
};
use std::time::Duration;

/// How often one body is read on.
const MOST_CUTS: u32 = 3;

/// A blob that is being read.
pub(super) struct Reading {
    pub(super) client: Client,
    pub(super) bucket: String,
    pub(super) key: String,
    pub(super) doing: String,
    /// What the blob was when it was opened; without it, nothing is read on.
    pub(super) version: Option<String>,
    /// Where the next byte stands in the blob.
    pub(super) at: u64,
    /// Length of the whole blob.
    pub(super) size: u64,
    pub(super) body: ByteStream,
    pub(super) limit: Duration,
    pub(super) cuts: u32,
}

impl Reading {
    /// The bytes up to the end of the blob.
    pub(super) fn pieces(self) -> BoxStream<'static, Result<Bytes>> {
        stream::try_unfold(self, Self::next).boxed()
    }

    async fn next(mut self) -> Result<Option<(Bytes, Self)>> {
        loop {
            let left = self.size.saturating_sub(self.at);
            let limit = self.limit;
            let next = tokio::time::timeout(limit, self.body.next()).await.map_err(|_| {
                Fault::new(FaultKind::Timeout, &self.doing).detail(format!("nothing came for {limit:?}"))
            })?;
            let cut = match next {
                Some(Ok(piece)) if piece.len() as u64 > left => {
                    let detail = "more came than the object is long";
                    return Err(Fault::new(FaultKind::Garbage, self.doing).detail(detail));
                }
                Some(Ok(piece)) => {
                    self.at += piece.len() as u64;
                    return Ok(Some((piece, self)));
                }
                None | Some(Err(_)) if left == 0 => return Ok(None),
                Some(Err(error)) => {
                    Fault::new(FaultKind::Garbage, &self.doing).detail("the body was cut").source(error)
                }
                None => {
                    Fault::new(FaultKind::Garbage, &self.doing).detail(format!("the body ended {left} bytes early"))
                }
            };
            self.read_on(cut).await?;
        }
    }

    async fn read_on(&mut self, cut: Fault) -> Result<()> {
        let Some(version) = self.version.clone().filter(|_| self.cuts < MOST_CUTS) else { return Err(cut) };
        self.cuts += 1;
        tracing::debug!("going on at byte {}: {}", self.at, cut.chain());
        let answer = self
            .client
            .get_object()
            .bucket(&self.bucket)
            .key(&self.key)
            .range(format!("bytes={}-", self.at))
            .if_match(format!("\"{version}\""))
            .send()
            .await
            .map_err(|error| fault(&self.doing, error));
        let changed = || Fault::new(FaultKind::Changed, &self.doing).detail("the object changed while it was read");
        let answer = match answer {
            Ok(answer) if meta::version(answer.e_tag()).as_deref() != Some(&version) => return Err(changed()),
            Ok(answer) => answer,
            Err(fault) if matches!(fault.kind, FaultKind::Exists | FaultKind::NotFound) => {
                return Err(changed().source(fault));
            }
            Err(fault) => return Err(fault),
        };
        if range(&answer) != Some((self.at, self.size)) {
            let detail = format!("asked for the rest from byte {}, another one came", self.at);
            return Err(Fault::new(FaultKind::Garbage, &self.doing).detail(detail));
        }
        self.body = answer.body;
        Ok(())
    }
}

/// Where the bytes of a partial answer begin, and how long the whole object is.
fn range(answer: &GetObjectOutput) -> Option<(u64, u64)> {
    let (bytes, whole) = answer.content_range()?.strip_prefix("bytes ")?.split_once('/')?;
    Some((bytes.split_once('-')?.0.trim().parse().ok()?, whole.trim().parse().ok()?))
}

/// Length of the whole blob of which an answer may bring only the end, if it is the end that was asked for.
pub(super) fn whole_size(answer: &GetObjectOutput, from: u64) -> Option<u64> {
    match range(answer) {
        Some((first, size)) => (first == from).then_some(size),
        None if from == 0 => u64::try_from(answer.content_length()?).ok(),
        None => None,
    }
}
