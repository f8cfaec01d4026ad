//! One blob in one request: short ones out of memory, the short way (`direct`) where there is one; longer ones as they
//! come.

use super::{
    S3Bucket,
    faults::{fault, not_known},
    feed::{self, Feed, Framing, TRAILER},
    meta::{self, checksums, version, with_meta, written},
};
use crate::{
    error::{Fault, FaultKind, Result},
    model::Digest,
    ports::{BlobBody, BlobInfo, Put},
};
use aws_runtime::auth::PayloadSigningOverride;
use aws_sdk_s3::{
    Client,
    config::{
        ConfigBag, Intercept, RuntimeComponents, http::HttpResponse, interceptors::BeforeTransmitInterceptorContextMut,
    },
    error::{BoxError, SdkError},
    operation::put_object::{PutObjectError, PutObjectOutput, builders::PutObjectFluentBuilder},
    primitives::ByteStream,
};
use futures::FutureExt as _;
use std::sync::atomic::Ordering;

/// What the SDK says of content of which nobody says what it is.
const OCTETS: &str = "application/octet-stream";

/// Why a write did not succeed.
pub(super) type PutFailed = SdkError<PutObjectError, HttpResponse>;

impl S3Bucket {
    fn put_request(&self, client: &Client, key: &str, length: u64, put: &Put) -> PutObjectFluentBuilder {
        let request = client
            .put_object()
            .bucket(&self.bucket)
            .key(key)
            .content_length(i64::try_from(length).unwrap_or(i64::MAX))
            .set_if_none_match(self.only_new(put.only_new));
        with_meta!(request, put.meta)
    }

    /// What [`Self::put_request`] says, for a request that is sent without it.
    fn headers(&self, sha256: Digest, put: &Put) -> Vec<(String, String)> {
        let meta = &put.meta;
        let named = [
            ("content-type", Some(meta::header(meta.content_type.as_deref()).unwrap_or_else(|| OCTETS.to_owned()))),
            ("cache-control", meta::header(meta.cache_control.as_deref())),
            ("content-disposition", meta::header(meta.content_disposition.as_deref())),
            ("content-encoding", meta::header(meta.content_encoding.as_deref())),
            ("content-language", meta::header(meta.content_language.as_deref())),
            ("if-none-match", self.only_new(put.only_new)),
            (TRAILER, Some(written(sha256))),
        ];
        let named = named.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
        let pairs = meta::pairs(&meta.user).into_iter().flatten();
        named.chain(pairs.map(|(name, value)| (format!("x-amz-meta-{name}"), value))).collect()
    }

    /// The condition of a write that must find nothing, unless this bucket is known not to keep it.
    pub(super) fn only_new(&self, wanted: bool) -> Option<String> {
        (wanted && self.guards.get() != Some(&false)).then(|| "*".to_owned())
    }

    pub(super) async fn put_whole(&self, doing: &str, key: &str, body: BlobBody, put: &Put) -> Result<BlobInfo> {
        let size = body.size;
        let content = feed::whole(doing, body).await?;
        let found = Digest::of(&content);
        feed::agree(doing, found, put.sha256)?;
        let answer = if let Some(direct) = &self.direct {
            let headers = self.headers(found, put);
            direct.put(&self.client, (&self.bucket, key), content, headers).await
        } else {
            let request = self.put_request(&self.client, key, size, put).checksum_sha256(written(found));
            // The signed checksum is of the same bytes; the SDK would hash them once more.
            request.body(ByteStream::from(content)).customize().disable_payload_signing().send().await
        };
        let answer = answer.map_err(|error| fault(doing, error))?;
        self.stored(doing, key, size, found, &answer)
    }

    pub(super) async fn put_streamed(&self, doing: &str, key: &str, body: BlobBody, put: &Put) -> Result<BlobInfo> {
        let size = body.size;
        let framing = if put.sha256.is_none() && self.takes_frames() { Framing::Frames } else { Framing::Plain };
        let length = framing.length(size);
        let (feed, stream) = Feed::new(length, self.timeout);
        let request =
            self.put_request(&self.patient, key, length, put).set_checksum_sha256(put.sha256.map(written)).body(stream);
        let sending = match framing {
            Framing::Plain => request.send().boxed(),
            Framing::Frames => request.customize().interceptor(FramesSaid { size }).send().boxed(),
        };
        let feeding = feed.blob(doing, body, put.sha256, framing);
        let (found, answer) = feed::carry(doing, self.timeout, feeding, sending).await?;
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) if framing == Framing::Frames && not_known(&error) => {
                self.frames_refused.store(true, Ordering::Relaxed);
                let said = fault(doing, error);
                let detail = "the bucket takes no checksum behind a body; the next try goes without one";
                return Err(Fault::new(FaultKind::Garbage, doing).detail(detail).source(said));
            }
            Err(error) => return Err(fault(doing, error)),
        };
        let Some(found) = found else {
            let detail = "the bucket said that it is stored before it was sent";
            return Err(Fault::new(FaultKind::Garbage, doing).detail(detail));
        };
        let blob = self.stored(doing, key, size, found, &answer)?;
        if framing == Framing::Frames && blob.sha256.is_none() {
            self.check_unframed(doing, &blob).await?;
        }
        Ok(blob)
    }

    /// A server that took frames and says nothing of their checksum may have stored them as they are.
    async fn check_unframed(&self, doing: &str, blob: &BlobInfo) -> Result<()> {
        self.frames_refused.store(true, Ordering::Relaxed);
        let held = self.look(doing, &blob.key).await?.map(|head| self.info(&blob.key, &head).size);
        if held == Some(blob.size) {
            return Ok(());
        }
        let detail = format!("the bucket holds {held:?} bytes, {} were sent; the next try goes unframed", blob.size);
        Err(Fault::new(FaultKind::Mismatch, doing).detail(detail))
    }

    /// Frames are sent only to a bucket that has shown that it knows checksums, and has never refused frames.
    fn takes_frames(&self) -> bool {
        self.says_sha256.load(Ordering::Relaxed) && !self.frames_refused.load(Ordering::Relaxed)
    }

    /// What the bucket says it holds, after it said that it holds it.
    fn stored(&self, doing: &str, key: &str, size: u64, found: Digest, answer: &PutObjectOutput) -> Result<BlobInfo> {
        let Some(tag) = answer.e_tag() else {
            return Err(Fault::new(FaultKind::Garbage, doing).detail("the answer gives what is stored no ETag"));
        };
        let (sha256, _) = checksums(answer.checksum_sha256(), answer.checksum_type(), Some(tag));
        if let Some(held) = sha256.filter(|held| *held != found) {
            let detail = format!("the bucket holds SHA-256 {held}, {found} was sent");
            return Err(Fault::new(FaultKind::Mismatch, doing).detail(detail));
        }
        if sha256.is_some() {
            self.says_sha256.store(true, Ordering::Relaxed);
        }
        Ok(BlobInfo { key: key.to_owned(), size, sha256, parts: None, version: version(Some(tag)) })
    }
}

/// Says in a request that its body stands in frames around content of this size. `Content-Encoding` need not say so, and
/// is left alone: some servers would keep it.
#[derive(Debug)]
struct FramesSaid {
    size: u64,
}

impl Intercept for FramesSaid {
    fn name(&self) -> &'static str {
        "FramesSaid"
    }

    fn modify_before_signing(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _components: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let headers = context.request_mut().headers_mut();
        headers.insert("x-amz-decoded-content-length", self.size.to_string());
        headers.insert("x-amz-trailer", TRAILER);
        config.interceptor_state().store_put(PayloadSigningOverride::StreamingUnsignedPayloadTrailer);
        Ok(())
    }
}
