//! Content on its way into a request: hashed as it passes, in bounded memory, and never whole before it was found right.
//!
//! The last chunk waits until the hash and the length of the whole are known and right, so no server ever gets all the
//! bytes of a wrong body; it sees a request that broke off. `Frames` is the transfer encoding with a checksum behind the
//! body (`aws-chunked`), which the SDK could also make, but only by hashing everything again.

use super::meta::written;
use crate::{
    error::{Fault, FaultKind, Result},
    model::Digest,
    ports::BlobBody,
};
use aws_sdk_s3::primitives::{ByteStream, SdkBody};
use bytes::{Bytes, BytesMut};
use futures::{TryStreamExt as _, stream};
use http_body_util::StreamBody;
use hyper::body::Frame;
use sha2::{Digest as _, Sha256};
use std::{
    future::Future,
    io,
    pin::pin,
    task::{Context, Poll},
    time::Duration,
};
use tokio::{sync::mpsc, time::timeout};

/// Bytes of a chunk; at most three are in memory.
pub(super) const CHUNK: usize = 256 * 1024;

/// The name of the checksum behind a framed body.
pub(super) const TRAILER: &str = "x-amz-checksum-sha256";
/// Characters of a SHA-256 as S3 writes it.
const WRITTEN: u64 = 44;

/// Refuses content that is not what it must be.
pub(super) fn agree(doing: &str, found: Digest, wanted: Option<Digest>) -> Result<()> {
    match wanted {
        Some(wanted) if wanted != found => {
            Err(Fault::new(FaultKind::Mismatch, doing).detail(format!("SHA-256 is {found}, not {wanted}")))
        }
        _ => Ok(()),
    }
}

fn wrong_length(doing: &str, came: impl std::fmt::Display, announced: u64) -> Fault {
    Fault::new(FaultKind::Mismatch, doing).detail(format!("{came} bytes came, {announced} were announced"))
}

/// The whole content of a short blob, as long as it was said to be.
pub(super) async fn whole(doing: &str, body: BlobBody) -> Result<Bytes> {
    let size = usize::try_from(body.size).unwrap_or(usize::MAX);
    let mut bytes = body.bytes;
    let Some(first) = bytes.try_next().await? else {
        return if size == 0 { Ok(Bytes::new()) } else { Err(wrong_length(doing, 0, body.size)) };
    };
    let mut rest = BytesMut::new();
    let mut came = first.len();
    while came <= size {
        let Some(piece) = bytes.try_next().await? else { break };
        if rest.is_empty() {
            rest.reserve(size);
            rest.extend_from_slice(&first);
        }
        rest.extend_from_slice(&piece);
        came += piece.len();
    }
    match came {
        came if came != size => Err(wrong_length(doing, came, body.size)),
        _ if rest.is_empty() => Ok(first),
        _ => Ok(rest.freeze()),
    }
}

/// How the bytes stand in the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// As they are.
    Plain,
    /// In chunks with their lengths, and the checksum of all behind them.
    Frames,
}

impl Framing {
    /// Length of a request's body that carries content of this size.
    pub(super) fn length(self, size: u64) -> u64 {
        if self == Self::Plain {
            return size;
        }
        let chunk = CHUNK as u64;
        let framed = |length: u64| format!("{length:x}").len() as u64 + 4 + length;
        let rest = size % chunk;
        let last = if rest > 0 { framed(rest) } else { 0 };
        (size / chunk) * framed(chunk) + last + 3 + TRAILER.len() as u64 + 1 + WRITTEN + 4
    }

    fn chunk(self, bytes: BytesMut, last: Option<Digest>) -> Bytes {
        if self == Self::Plain {
            return bytes.freeze();
        }
        let mut frame = BytesMut::with_capacity(bytes.len() + 128);
        frame.extend_from_slice(format!("{:x}\r\n", bytes.len()).as_bytes());
        frame.extend_from_slice(&bytes);
        frame.extend_from_slice(b"\r\n");
        if let Some(digest) = last {
            frame.extend_from_slice(format!("0\r\n{TRAILER}:{}\r\n\r\n", written(digest)).as_bytes());
        }
        frame.freeze()
    }
}

/// The near end of a request's body.
pub(super) struct Feed {
    sender: mpsc::Sender<Bytes>,
    limit: Duration,
}

impl Feed {
    /// A request's body of this length and what feeds it. The body breaks off with an error if the feed goes away early.
    pub(super) fn new(length: u64, limit: Duration) -> (Self, ByteStream) {
        let (sender, mut receiver) = mpsc::channel::<Bytes>(1);
        let mut left = length;
        let pieces = stream::poll_fn(move |cx: &mut Context<'_>| match receiver.poll_recv(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Some(piece)) => {
                left = left.saturating_sub(piece.len() as u64);
                Poll::Ready(Some(Ok(Frame::data(piece))))
            }
            Poll::Ready(None) if left > 0 => {
                left = 0;
                Poll::Ready(Some(Err(io::Error::from(io::ErrorKind::UnexpectedEof))))
            }
            Poll::Ready(None) => Poll::Ready(None),
        });
        (Self { sender, limit }, ByteStream::new(SdkBody::from_body_1_x(StreamBody::new(pieces))))
    }

    /// Whether the request took the bytes; if not, it is over, and its answer says why.
    async fn push(&self, doing: &str, bytes: Bytes) -> Result<bool> {
        let limit = self.limit;
        let taken = timeout(limit, self.sender.send(bytes)).await;
        let stalled =
            |_| Fault::new(FaultKind::Timeout, doing).detail(format!("the server took nothing for {limit:?}"));
        Ok(taken.map_err(stalled)?.is_ok())
    }

    /// Feeds a blob's content and gives its SHA-256; `None` if the request did not take all of it.
    pub(super) async fn blob(
        self,
        doing: &str,
        body: BlobBody,
        wanted: Option<Digest>,
        framing: Framing,
    ) -> Result<Option<Digest>> {
        let (mut bytes, mut hash, mut came) = (body.bytes, Sha256::new(), 0_u64);
        let mut kept = BytesMut::with_capacity(2 * CHUNK);
        while let Some(piece) = bytes.try_next().await? {
            came += piece.len() as u64;
            if came > body.size {
                return Err(wrong_length(doing, format!("more than {}", body.size), body.size));
            }
            hash.update(&piece);
            kept.extend_from_slice(&piece);
            while kept.len() > CHUNK {
                if !self.push(doing, framing.chunk(kept.split_to(CHUNK), None)).await? {
                    return Ok(None);
                }
            }
        }
        if came != body.size {
            return Err(wrong_length(doing, came, body.size));
        }
        let found = Digest(hash.finalize().into());
        agree(doing, found, wanted)?;
        Ok(self.push(doing, framing.chunk(kept, Some(found))).await?.then_some(found))
    }

    /// Feeds bytes that were found right before.
    pub(super) async fn bytes(self, doing: &str, mut bytes: Bytes) -> Result<Option<()>> {
        while !bytes.is_empty() {
            let chunk = bytes.split_to(bytes.len().min(CHUNK));
            if !self.push(doing, chunk).await? {
                return Ok(None);
            }
        }
        Ok(Some(()))
    }
}

/// Feeds a request while it is sent: what came of both. A fault of the feed breaks the request off. Once all was taken,
/// the answer has the time limit to come.
pub(super) async fn carry<D, T>(
    doing: &str,
    limit: Duration,
    feeding: impl Future<Output = Result<Option<D>>>,
    sending: impl Future<Output = T>,
) -> Result<(Option<D>, T)> {
    let (mut feeding, mut sending) = (pin!(feeding), pin!(sending));
    let fed = tokio::select! {
        biased;
        fed = &mut feeding => fed?,
        answer = &mut sending => return Ok((None, answer)),
    };
    let late = |_| Fault::new(FaultKind::Timeout, doing).detail(format!("no answer for {limit:?}"));
    Ok((fed, timeout(limit, sending).await.map_err(late)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::BlobMeta;
    use futures::StreamExt as _;

    fn body(pieces: &[usize], size: usize) -> BlobBody {
        let pieces: Vec<_> = pieces.iter().map(|n| Ok(Bytes::from(vec![7; *n]))).collect();
        BlobBody { size: size as u64, version: None, meta: BlobMeta::default(), bytes: stream::iter(pieces).boxed() }
    }

    /// What a server would have got, and whether the body ended well.
    async fn fed(body: BlobBody, wanted: Option<Digest>, framing: Framing) -> (Result<Option<Digest>>, Vec<u8>, bool) {
        let (feed, mut stream) = Feed::new(framing.length(body.size), Duration::from_secs(9));
        let taking = async {
            let mut got = Vec::new();
            loop {
                match stream.next().await {
                    Some(Ok(piece)) => got.extend_from_slice(&piece),
                    Some(Err(_)) => return (got, false),
                    None => return (got, true),
                }
            }
        };
        let (found, (got, whole)) = tokio::join!(feed.blob("test", body, wanted, framing), taking);
        (found, got, whole)
    }

    #[tokio::test]
    async fn right_content_arrives_as_long_as_was_said() {
        for size in [1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 3 * CHUNK + 7] {
            let digest = Digest::of(&vec![7; size]);
            for framing in [Framing::Plain, Framing::Frames] {
                for pieces in [vec![size], vec![1, size - 1], vec![size / 2, 0, size - size / 2]] {
                    let (found, got, whole) = fed(body(&pieces, size), Some(digest), framing).await;
                    assert_eq!(found.unwrap(), Some(digest), "{size} {framing:?}");
                    assert!(whole && got.len() as u64 == framing.length(size as u64), "{size} {framing:?}");
                    assert_eq!(got.split(|byte| *byte == 7).count() - 1, size, "{size} {framing:?}");
                }
            }
        }
    }

    #[tokio::test]
    async fn wrong_content_never_arrives_whole() {
        for size in [1, CHUNK, 2 * CHUNK, 3 * CHUNK + 7] {
            let other = Some(Digest::of(b"other"));
            for (pieces, wanted) in [(vec![size], other), (vec![size - 1], None), (vec![size, 1], None)] {
                for framing in [Framing::Plain, Framing::Frames] {
                    let (found, got, whole) = fed(body(&pieces, size), wanted, framing).await;
                    assert_eq!(found.unwrap_err().kind, FaultKind::Mismatch);
                    assert!(!whole && (got.len() as u64) < framing.length(size as u64), "{size} {framing:?}");
                }
            }
        }
    }

    #[tokio::test]
    async fn a_short_blob_is_as_long_as_it_was_said_to_be() {
        for (pieces, size, right) in [
            (vec![], 0, true),
            (vec![0], 0, true),
            (vec![3], 3, true),
            (vec![0, 3], 3, true),
            (vec![1, 0, 2], 3, true),
            (vec![], 1, false),
            (vec![3], 2, false),
            (vec![3], 4, false),
            (vec![2, 2], 3, false),
        ] {
            let got = whole("test", body(&pieces, size)).await;
            assert_eq!(got.is_ok_and(|bytes| bytes == vec![7; size]), right, "{pieces:?} for {size}");
        }
    }
}
