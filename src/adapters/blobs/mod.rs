//! Blobs: a folder, an S3 bucket and an HTTP server with files behind the same port.
//!
//! Must never enter: which blob belongs to which record, retries, comparison of two buckets.

mod filesystem;
mod http;
mod s3;

pub use filesystem::FolderBucket;
pub use http::HttpBucket;
pub use s3::{S3Bucket, S3Settings};

use crate::error::{Fault, FaultKind, Result};

/// Refuses a key that could mean another place than the one it names.
fn check_key(doing: &str, key: &str) -> Result<()> {
    let why = if key.is_empty() {
        "a key is never empty"
    } else if key.starts_with('/') {
        "a key never begins with /"
    } else if key.split('/').any(|part| part == "..") {
        "a key never holds .. as a part"
    } else if key.split('/').any(|part| part.is_empty() || part == ".") {
        "a key never holds an empty part or ."
    } else if key.contains('\0') {
        "a key never holds a zero byte"
    } else {
        return Ok(());
    };
    Err(Fault::new(FaultKind::Refused, doing).detail(why))
}

#[cfg(test)]
mod tests {
    use super::check_key;

    #[test]
    fn keys_that_could_mean_another_place_are_refused() {
        for bad in ["", "/etc/passwd", "../x", "a/../b", "a/..", "a//b", "./a", "a/", "a\0b"] {
            assert!(check_key("test", bad).is_err(), "{bad:?}");
        }
        for good in ["a", "a/b.c", "a/..b", "ä/ö.csv", "a/b c", ".hidden"] {
            assert!(check_key("test", good).is_ok(), "{good:?}");
        }
    }
}
