//! Sends a blob as a `PUT`. The last piece goes only when all of them are known to be right, so that a server never has
//! the whole of a wrong one.

use crate::{
    adapters::http::{Call, Client},
    error::{Fault, FaultKind, Result},
    model::Digest,
    ports::{BlobBody, BlobInfo, BlobMeta, Put},
};
use bytes::Bytes;
use futures::{StreamExt, stream, stream::BoxStream};
use reqwest::{StatusCode, header::HeaderValue};
use sha2::{Digest as _, Sha256};
use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::sync::watch;

/// What went wrong on this side while the body was being sent.
type Told = Arc<Mutex<Option<Fault>>>;

/// A body on its way out.
struct Outgoing {
    doing: String,
    bytes: BoxStream<'static, Result<Bytes>>,
    held: Option<Bytes>,
    hash: Sha256,
    came: u64,
    size: u64,
    sha256: Option<Digest>,
}

/// Stores a body where `call` leads.
pub(super) async fn put(
    client: &Client,
    call: Call,
    doing: &str,
    key: &str,
    body: BlobBody,
    put: &Put,
) -> Result<BlobInfo> {
    let mut call = with_meta(call, doing, &put.meta)?;
    if put.only_new {
        // No promise, but many servers heed it.
        call = call.header("if-none-match", HeaderValue::from_static("*"));
    }
    let size = body.size;
    let mut outgoing = Outgoing {
        doing: doing.to_owned(),
        bytes: body.bytes,
        held: None,
        hash: Sha256::new(),
        came: 0,
        size,
        sha256: put.sha256,
    };
    if size == 0 {
        // Nobody asks for the pieces of an empty body.
        outgoing.next().await?;
    }
    let (told, (moves, moving)) = (Told::default(), watch::channel(()));
    let sent = client.upload(doing, call, size, outgoing.stream(Arc::clone(&told), moves), moving).await;
    if let Some(fault) = told.lock().unwrap_or_else(PoisonError::into_inner).take() {
        return Err(fault);
    }
    let answer = sent?;
    match answer.status() {
        status if status.is_success() => {
            let version = answer.header("etag").map(ToOwned::to_owned);
            Ok(BlobInfo { key: key.to_owned(), size, version, ..BlobInfo::default() })
        }
        StatusCode::PRECONDITION_FAILED if put.only_new => {
            Err(Fault::new(FaultKind::Exists, doing).detail("a file of this name stands there"))
        }
        _ => Err(answer.refusal(doing).await),
    }
}

fn with_meta(mut call: Call, doing: &str, meta: &BlobMeta) -> Result<Call> {
    let headers = [
        ("content-type", &meta.content_type),
        ("cache-control", &meta.cache_control),
        ("content-disposition", &meta.content_disposition),
        ("content-encoding", &meta.content_encoding),
        ("content-language", &meta.content_language),
    ];
    for (name, value) in headers {
        if let Some(value) = value {
            let value = HeaderValue::from_bytes(value.as_bytes()).map_err(|_| {
                Fault::new(FaultKind::Refused, doing).detail(format!("{name} holds what a header cannot carry"))
            })?;
            call = call.header(name, value);
        }
    }
    Ok(call)
}

impl Outgoing {
    /// The next piece, one behind the source.
    async fn next(&mut self) -> Result<Option<Bytes>> {
        let mismatch = |detail| Err(Fault::new(FaultKind::Mismatch, &*self.doing).detail(detail));
        while let Some(piece) = self.bytes.next().await.transpose()? {
            self.came += u64::try_from(piece.len()).unwrap_or(u64::MAX);
            if self.came > self.size {
                return mismatch(format!("more than the announced {} bytes came", self.size));
            }
            self.hash.update(&piece);
            if let Some(ready) = self.held.replace(piece).filter(|ready| !ready.is_empty()) {
                return Ok(Some(ready));
            }
        }
        if self.came != self.size {
            return mismatch(format!("{} bytes came, {} were announced", self.came, self.size));
        }
        let found = Digest(self.hash.clone().finalize().into());
        if let Some(wanted) = self.sha256.filter(|wanted| *wanted != found) {
            return mismatch(format!("SHA-256 is {found}, not {wanted}"));
        }
        Ok(self.held.take().filter(|last| !last.is_empty()))
    }

    fn stream(self, told: Told, moves: watch::Sender<()>) -> reqwest::Body {
        reqwest::Body::wrap_stream(stream::try_unfold((self, told, moves), |(mut outgoing, told, moves)| async {
            moves.send_replace(());
            match outgoing.next().await {
                Ok(piece) => Ok(piece.map(|piece| (piece, (outgoing, told, moves)))),
                Err(fault) => {
                    *told.lock().unwrap_or_else(PoisonError::into_inner) = Some(fault);
                    Err(io::Error::other("broken off here"))
                }
            }
        }))
    }
}
