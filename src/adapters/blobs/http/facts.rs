//! What an answer's headers say of a blob.

use crate::{
    error::{Fault, FaultKind, Result},
    ports::BlobMeta,
};
use reqwest::header::{
    ACCEPT_RANGES, AsHeaderName, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LANGUAGE,
    CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderMap, HeaderValue, LAST_MODIFIED,
};

/// A blob as the server describes it.
#[derive(Debug)]
pub(super) struct Facts {
    /// Length of the whole blob in bytes.
    pub(super) size: u64,
    /// Its `ETag`, or its `Last-Modified` and length.
    pub(super) version: Option<String>,
    /// What the server wants to hear when it is asked to go on in the middle, and only with the same bytes.
    pub(super) validator: Option<HeaderValue>,
    /// What travels with it.
    pub(super) meta: BlobMeta,
}

impl Facts {
    /// Of an answer that brings the blob from its beginning to its end.
    pub(super) fn whole(doing: &str, headers: &HeaderMap) -> Result<Self> {
        let Some(size) = text(headers, CONTENT_LENGTH).and_then(|text| text.trim().parse().ok()) else {
            let detail = "the server does not say how long the file is (no Content-Length), so nobody could tell \
                          whether it came whole";
            return Err(Fault::new(FaultKind::Garbage, doing).detail(detail));
        };
        Ok(Self::sized(headers, size))
    }

    /// Of an answer that brings a part of it: from which byte on.
    pub(super) fn part(doing: &str, headers: &HeaderMap) -> Result<(u64, Self)> {
        let range = text(headers, CONTENT_RANGE).unwrap_or_default();
        let Some((from, size)) = content_range(&range) else {
            let detail = format!("a part of the file came, and which one is said as `{range}`");
            return Err(Fault::new(FaultKind::Garbage, doing).detail(detail));
        };
        Ok((from, Self::sized(headers, size)))
    }

    fn sized(headers: &HeaderMap, size: u64) -> Self {
        let (tag, modified) = (headers.get(ETAG), headers.get(LAST_MODIFIED));
        // A weak one does not promise the same bytes.
        let strong = tag.filter(|tag| !tag.as_bytes().starts_with(b"W/"));
        let version =
            text(headers, ETAG).or_else(|| text(headers, LAST_MODIFIED).map(|modified| format!("{modified}/{size}")));
        Self { size, version, validator: strong.or(modified).cloned(), meta: meta(headers) }
    }
}

/// The server says that it can begin in the middle.
pub(super) fn takes_ranges(headers: &HeaderMap) -> bool {
    text(headers, ACCEPT_RANGES).is_some_and(|units| units.split(',').any(|unit| unit.trim() == "bytes"))
}

fn meta(headers: &HeaderMap) -> BlobMeta {
    BlobMeta {
        content_type: text(headers, CONTENT_TYPE),
        cache_control: text(headers, CACHE_CONTROL),
        content_disposition: text(headers, CONTENT_DISPOSITION),
        content_encoding: text(headers, CONTENT_ENCODING).filter(|encoding| encoding != "identity"),
        content_language: text(headers, CONTENT_LANGUAGE),
        user: std::collections::BTreeMap::new(),
    }
}

/// A header as text: file names in it may hold more than ASCII.
fn text(headers: &HeaderMap, name: impl AsHeaderName) -> Option<String> {
    let value = headers.get(name)?.as_bytes().to_vec();
    String::from_utf8(value).ok().filter(|text| !text.is_empty())
}

/// First byte and length of the whole of `bytes 5-9/10`.
fn content_range(text: &str) -> Option<(u64, u64)> {
    let (range, size) = text.trim().strip_prefix("bytes ")?.split_once('/')?;
    let (from, to) = range.split_once('-')?;
    let (from, to, size): (u64, u64, u64) = (from.parse().ok()?, to.parse().ok()?, size.parse().ok()?);
    (from <= to && to < size).then_some((from, size))
}

#[cfg(test)]
mod tests {
    use super::content_range;

    #[test]
    fn a_part_says_where_it_begins() {
        for (text, part) in [
            ("bytes 5-9/10", Some((5, 10))),
            ("bytes 0-0/1", Some((0, 1))),
            ("bytes 5-9/*", None),
            ("bytes */10", None),
            ("bytes 5-10/10", None),
            ("bytes 9-5/10", None),
            ("items 5-9/10", None),
            ("", None),
        ] {
            assert_eq!(content_range(text), part, "{text}");
        }
    }
}
