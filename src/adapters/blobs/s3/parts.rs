//! Long blobs in parts.
//!
//! Each part goes up with its SHA-256 for the server to check, and all of them are named again when they are put
//! together. A server that does not know checksums of parts is found out by its first refusal and is then not told any.

use super::{
    S3Bucket,
    faults::{fault, not_known},
    feed::{self, Feed},
    meta::{checksums, with_meta, written},
};
use crate::{
    adapters::blobs::check_key,
    error::{Fault, FaultKind, Result},
    model::Digest,
    ports::{BlobInfo, BlobMeta, PartLimits, PartSent, PartStore, PartsDigest, Unfinished},
};
use async_trait::async_trait;
use aws_sdk_s3::{
    config::http::HttpResponse,
    error::{ProvideErrorMetadata, SdkError},
    operation::complete_multipart_upload::CompleteMultipartUploadOutput,
    types::{ChecksumAlgorithm, CompletedMultipartUpload, CompletedPart},
};
use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use std::sync::atomic::Ordering;

/// Most unfinished uploads that are named at once.
const MOST_UNFINISHED: usize = 1000;

impl S3Bucket {
    fn tells_checksums(&self) -> bool {
        !self.no_part_checksums.load(Ordering::Relaxed)
    }

    /// What was refused with checksums went without them.
    fn went(&self, told: bool) {
        if !told {
            self.no_part_checksums.store(true, Ordering::Relaxed);
        }
    }
}

#[async_trait]
impl PartStore for S3Bucket {
    fn limits(&self) -> PartLimits {
        self.parts
    }

    async fn begin(&self, key: &str, meta: &BlobMeta) -> Result<String> {
        let doing = self.doing("begin an upload of", key);
        check_key(&doing, key)?;
        let mut told = self.tells_checksums();
        loop {
            let request = self
                .client
                .create_multipart_upload()
                .bucket(&self.bucket)
                .key(key)
                .set_checksum_algorithm(told.then_some(ChecksumAlgorithm::Sha256));
            match with_meta!(request, meta).send().await {
                Ok(begun) => {
                    self.went(told);
                    return begun.upload_id.ok_or_else(|| {
                        Fault::new(FaultKind::Garbage, doing).detail("the bucket gave the upload no name")
                    });
                }
                Err(error) if told && not_known(&error) => told = false,
                Err(error) => return named(&error).ok_or_else(|| fault(&doing, error)),
            }
        }
    }

    async fn send(&self, key: &str, upload: &str, number: u32, bytes: Bytes, sha256: Digest) -> Result<PartSent> {
        let doing = self.doing(&format!("send part {number} of"), key);
        check_key(&doing, key)?;
        let size = bytes.len() as u64;
        let mut told = self.tells_checksums();
        let answer = loop {
            let (feed, stream) = Feed::new(size, self.timeout);
            let sending = self
                .patient
                .upload_part()
                .bucket(&self.bucket)
                .key(key)
                .upload_id(upload)
                .part_number(i32::try_from(number).unwrap_or(i32::MAX))
                .content_length(i64::try_from(size).unwrap_or(i64::MAX))
                .set_checksum_sha256(told.then(|| written(sha256)))
                .body(stream)
                .send();
            match feed::carry(&doing, self.timeout, feed.bytes(&doing, bytes.clone()), sending).await? {
                (_, Err(error)) if told && not_known(&error) => told = false,
                (_, Err(error)) => return Err(fault(&doing, error)),
                (None, Ok(_)) => {
                    let detail = "the bucket said that it has the part before it was sent";
                    return Err(Fault::new(FaultKind::Garbage, doing).detail(detail));
                }
                (Some(()), Ok(answer)) => break answer,
            }
        };
        self.went(told);
        let (held, _) = checksums(answer.checksum_sha256(), None, None);
        if let Some(held) = held.filter(|held| *held != sha256) {
            let detail = format!("the bucket holds SHA-256 {held}, {sha256} was sent");
            return Err(Fault::new(FaultKind::Mismatch, doing).detail(detail));
        }
        let Some(tag) = answer.e_tag else {
            return Err(Fault::new(FaultKind::Garbage, doing).detail("the answer gives the part no ETag"));
        };
        Ok(PartSent { number, tag, sha256, size })
    }

    async fn finish(&self, key: &str, upload: &str, parts: &[PartSent], only_new: bool) -> Result<BlobInfo> {
        let doing = self.doing("put together the parts of", key);
        check_key(&doing, key)?;
        let mut parts = parts.to_vec();
        parts.sort_by_key(|part| part.number);
        let mut told = self.tells_checksums();
        let answer = loop {
            let named = parts.iter().map(|part| {
                CompletedPart::builder()
                    .part_number(i32::try_from(part.number).unwrap_or(i32::MAX))
                    .e_tag(&part.tag)
                    .set_checksum_sha256(told.then(|| written(part.sha256)))
                    .build()
            });
            let answer = self
                .patient
                .complete_multipart_upload()
                .bucket(&self.bucket)
                .key(key)
                .upload_id(upload)
                .set_if_none_match(self.only_new(only_new))
                .multipart_upload(CompletedMultipartUpload::builder().set_parts(Some(named.collect())).build())
                .send();
            let late = |_| Fault::new(FaultKind::Timeout, &doing).detail(format!("no answer for {:?}", self.timeout));
            match tokio::time::timeout(self.timeout, answer).await.map_err(late)? {
                Ok(answer) => break answer,
                Err(error) if told && error.code() == Some("NotImplemented") => told = false,
                Err(error) => return Err(fault(&doing, error)),
            }
        };
        self.went(told);
        if answer.e_tag().is_none() {
            return Err(Fault::new(FaultKind::Garbage, doing).detail("the answer gives what is stored no ETag"));
        }
        // Some servers say another ETag later; and a long blob is worth the question.
        let Some(head) = self.look(&doing, key).await? else {
            return Err(Fault::new(FaultKind::Mismatch, doing).detail("put together, but not there when asked for"));
        };
        put_together(&doing, &parts, &answer, self.info(key, &head))
    }

    async fn abandon(&self, key: &str, upload: &str) -> Result<()> {
        let doing = self.doing("abandon an upload of", key);
        check_key(&doing, key)?;
        let answer = self.client.abort_multipart_upload().bucket(&self.bucket).key(key).upload_id(upload).send().await;
        match answer {
            Ok(_) => Ok(()),
            Err(error) if error.code() == Some("NoSuchUpload") => Ok(()),
            Err(error) => Err(fault(&doing, error)),
        }
    }

    async fn unfinished(&self, prefix: &str) -> Result<Vec<Unfinished>> {
        let doing = self.doing("list the unfinished uploads of", if prefix.is_empty() { "everything" } else { prefix });
        let (mut found, mut from) = (Vec::new(), (None, None));
        loop {
            let answer = self
                .client
                .list_multipart_uploads()
                .bucket(&self.bucket)
                .prefix(prefix)
                .set_key_marker(from.0.clone())
                .set_upload_id_marker(from.1.clone())
                .send()
                .await
                .map_err(|error| fault(&doing, error))?;
            let page = answer
                .uploads()
                .iter()
                .filter_map(|one| Some(Unfinished { key: one.key()?.to_owned(), upload: one.upload_id()?.to_owned() }));
            // Not every server keeps to the prefix.
            found.extend(page.filter(|one| one.key.starts_with(prefix)).take(MOST_UNFINISHED - found.len()));
            let next = (answer.next_key_marker, answer.next_upload_id_marker);
            if found.len() == MOST_UNFINISHED || answer.is_truncated != Some(true) || next == from {
                return Ok(found);
            }
            from = next;
        }
    }
}

/// The upload's name in a good answer that the SDK cannot read: rclone calls its root element otherwise.
fn named<E>(error: &SdkError<E, HttpResponse>) -> Option<String> {
    let answer = error.raw_response().filter(|answer| answer.status().as_u16() == 200)?;
    let text = std::str::from_utf8(answer.body().bytes()?).ok()?;
    let (name, _) = text.split_once("<UploadId>")?.1.split_once("</UploadId>")?;
    (!name.is_empty() && !name.contains(['&', '<'])).then(|| name.to_owned())
}

/// What the bucket holds, if that is what was sent.
fn put_together(
    doing: &str,
    sent: &[PartSent],
    answer: &CompleteMultipartUploadOutput,
    held: BlobInfo,
) -> Result<BlobInfo> {
    let (_, said) = checksums(answer.checksum_sha256(), answer.checksum_type(), answer.e_tag());
    let mut hash = Sha256::new();
    for part in sent {
        hash.update(part.sha256.0);
    }
    let right = PartsDigest { sha256: Digest(hash.finalize().into()), count: u32::try_from(sent.len()).unwrap_or(0) };
    if let Some(wrong) = [said, held.parts].into_iter().flatten().find(|parts| *parts != right) {
        let detail = format!("the bucket holds {wrong:?}, {right:?} was sent");
        return Err(Fault::new(FaultKind::Mismatch, doing).detail(detail));
    }
    let size: u64 = sent.iter().map(|part| part.size).sum();
    if held.size != size {
        let detail = format!("the bucket holds {} bytes, {size} were sent", held.size);
        return Err(Fault::new(FaultKind::Mismatch, doing).detail(detail));
    }
    Ok(BlobInfo { parts: held.parts.or(said), ..held })
}
