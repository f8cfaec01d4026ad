//! What S3 says of a blob besides its bytes, both ways: headers, user metadata, checksums.
//!
//! A header carries visible ASCII only, so a free pair's other bytes go as `%XX` and come back as what they were.

use crate::{
    model::Digest,
    ports::{BlobInfo, BlobMeta, PartsDigest},
};
use aws_sdk_s3::{operation::head_object::HeadObjectOutput, types::ChecksumType};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};
use std::collections::{BTreeMap, HashMap};

/// What a header cannot carry, and the sign that stands for it.
const UNFIT: &AsciiSet = &CONTROLS.add(b'%');
/// The same for a value whose spaces would be trimmed or folded on the way.
const UNFIT_AND_SPACE: &AsciiSet = &UNFIT.add(b' ');

/// Puts a blob's metadata into a request that takes it.
macro_rules! with_meta {
    ($request:expr, $meta:expr) => {
        $request
            .set_content_type($crate::adapters::blobs::s3::meta::header($meta.content_type.as_deref()))
            .set_cache_control($crate::adapters::blobs::s3::meta::header($meta.cache_control.as_deref()))
            .set_content_disposition($crate::adapters::blobs::s3::meta::header($meta.content_disposition.as_deref()))
            .set_content_encoding($crate::adapters::blobs::s3::meta::header($meta.content_encoding.as_deref()))
            .set_content_language($crate::adapters::blobs::s3::meta::header($meta.content_language.as_deref()))
            .set_metadata($crate::adapters::blobs::s3::meta::pairs(&$meta.user))
    };
}

/// A blob's metadata out of an answer that brings it.
macro_rules! meta_of {
    ($answer:expr) => {
        $crate::ports::BlobMeta {
            content_type: $answer.content_type().map(str::to_owned),
            cache_control: $answer.cache_control().map(str::to_owned),
            content_disposition: $answer.content_disposition().map(str::to_owned),
            content_encoding: $crate::adapters::blobs::s3::meta::encoding($answer.content_encoding()),
            content_language: $answer.content_language().map(str::to_owned),
            user: $crate::adapters::blobs::s3::meta::user($answer.metadata()),
        }
    };
}

pub(super) use {meta_of, with_meta};

/// The text, if it can stand in a header.
pub(super) fn header(text: Option<&str>) -> Option<String> {
    text.filter(|text| !text.is_empty() && text.chars().all(|c| c == ' ' || c.is_ascii_graphic())).map(str::to_owned)
}

/// The free pairs as headers can carry them.
pub(super) fn pairs(user: &BTreeMap<String, String>) -> Option<HashMap<String, String>> {
    let carried = |value: &str| {
        let folded = value.trim() != value || value.contains("  ");
        utf8_percent_encode(value, if folded { UNFIT_AND_SPACE } else { UNFIT }).to_string()
    };
    (!user.is_empty()).then(|| user.iter().map(|(name, value)| (name.to_lowercase(), carried(value))).collect())
}

/// The free pairs as they were before they became headers.
pub(super) fn user(carried: Option<&HashMap<String, String>>) -> BTreeMap<String, String> {
    let value = |text: &str| match percent_decode_str(text).decode_utf8() {
        Ok(decoded) => decoded.into_owned(),
        // Somebody else's value, who meant the sign itself.
        Err(_) => text.to_owned(),
    };
    carried.into_iter().flatten().map(|(name, text)| (name.to_lowercase(), value(text))).collect()
}

/// The content's encoding without the one of a transfer that some servers keep by mistake.
pub(super) fn encoding(said: Option<&str>) -> Option<String> {
    let kept: Vec<&str> =
        said?.split(',').map(str::trim).filter(|one| !one.is_empty() && *one != "aws-chunked").collect();
    (!kept.is_empty()).then(|| kept.join(","))
}

/// A SHA-256 as S3 writes it.
pub(super) fn written(sha256: Digest) -> String {
    BASE64.encode(sha256.0)
}

fn read(text: &str) -> Option<Digest> {
    BASE64.decode(text).ok().and_then(|bytes| Some(Digest(bytes.try_into().ok()?)))
}

/// A version out of an `ETag`: without its quotes, which some servers leave out of their listings.
pub(super) fn version(tag: Option<&str>) -> Option<String> {
    tag.map(|tag| tag.trim_matches('"').to_owned()).filter(|version| !version.is_empty())
}

/// What a checksum is of: the whole content, or the parts' checksums. Neither, if it does not say so beyond doubt.
pub(super) fn checksums(
    sha256: Option<&str>,
    kind: Option<&ChecksumType>,
    tag: Option<&str>,
) -> (Option<Digest>, Option<PartsDigest>) {
    let Some(text) = sha256 else { return (None, None) };
    if let Some((hash, count)) = text.split_once('-') {
        let parts = read(hash).zip(count.parse().ok()).map(|(sha256, count)| PartsDigest { sha256, count });
        return (None, parts);
    }
    let whole = match kind {
        Some(kind) => *kind == ChecksumType::FullObject,
        // The tag of a multipart upload ends with `-` and the number of parts.
        None => !tag.is_some_and(|tag| tag.contains('-')),
    };
    (read(text).filter(|_| whole), None)
}

/// What a bucket said of a blob when asked later. A SHA-256 that it does not say the type of may be what it was told
/// and never looked at; it counts only from a bucket that is `known` to say SHA-256s of its own.
pub(super) fn info(key: &str, head: &HeadObjectOutput, known: bool) -> BlobInfo {
    let (sha256, parts) = checksums(head.checksum_sha256(), head.checksum_type(), head.e_tag());
    let sha256 = sha256.filter(|_| known || head.checksum_type().is_some());
    let size = head.content_length().and_then(|size| u64::try_from(size).ok()).unwrap_or_default();
    BlobInfo { key: key.to_owned(), size, sha256, parts, version: version(head.e_tag()) }
}

/// The metadata that an answer to HEAD brings.
pub(super) fn head_meta(head: &HeadObjectOutput) -> BlobMeta {
    meta_of!(head)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_is_made_fit_for_headers_and_comes_back() {
        assert_eq!(header(Some("text/csv\r\nx: y")), None);
        assert_eq!(header(Some("")), None);
        assert_eq!(header(Some("text/csv; x=\"y z\"")).as_deref(), Some("text/csv; x=\"y z\""));
        for (value, carried) in
            [("ä 5%", "%C3%A4 5%25"), (" x", "%20x"), ("a  b", "a%20%20b"), ("", ""), ("\u{7f}\n", "%7F%0A")]
        {
            let pair: BTreeMap<String, String> = [("Name".to_owned(), value.to_owned())].into();
            let there = pairs(&pair).unwrap();
            assert_eq!(there["name"], carried);
            assert_eq!(user(Some(&there))["name"], value);
        }
        let foreign = HashMap::from([("a".to_owned(), "100% %zz %FF".to_owned())]);
        assert_eq!(user(Some(&foreign))["a"], "100% %zz %FF");
        assert_eq!(encoding(Some("aws-chunked,gzip")).as_deref(), Some("gzip"));
        assert_eq!(encoding(Some("aws-chunked")), None);
    }

    #[test]
    fn a_checksum_of_parts_is_none_of_the_content() {
        let digest = Digest::of(b"hello");
        let text = written(digest);
        let (full, composite) = (ChecksumType::FullObject, ChecksumType::Composite);
        let parts = Some(PartsDigest { sha256: digest, count: 3 });
        assert_eq!(checksums(Some(&text), None, Some("\"abc\"")), (Some(digest), None));
        assert_eq!(checksums(Some(&text), Some(&full), Some("\"abc-3\"")), (Some(digest), None));
        assert_eq!(checksums(Some(&text), None, Some("\"abc-3\"")), (None, None));
        assert_eq!(checksums(Some(&text), Some(&composite), None), (None, None));
        assert_eq!(checksums(Some(&format!("{text}-3")), Some(&composite), None), (None, parts));
        assert_eq!(checksums(Some("rubbish"), None, None), (None, None));
        assert_eq!(checksums(None, Some(&full), None), (None, None));
    }
}
