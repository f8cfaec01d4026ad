//! Buckets of files, and places in them. Read by `sides`.
//! Must never enter: how it is read from a file.

use crate::plan::Auth;
use secrecy::SecretString;
use std::path::PathBuf;
use std::time::Duration;
use url::Url;

/// A bucket.
#[derive(Debug, Clone)]
pub enum BucketPlan {
    /// A folder.
    Filesystem {
        /// Its path, made absolute against the plan's folder.
        root: PathBuf,
    },
    /// Any S3 server.
    S3 {
        /// Base address.
        endpoint: Url,
        /// The bucket's name.
        bucket: String,
        /// Region; `auto` for R2.
        region: String,
        /// Access key.
        access_key: SecretString,
        /// Secret key.
        secret_key: SecretString,
        /// `http://host/bucket/key` rather than `http://bucket.host/key`.
        path_style: bool,
        /// Longest wait for one answer.
        timeout: Duration,
        /// How long blobs are cut.
        parts: PartsPlan,
    },
    /// An HTTP server with files, each at an address of its own: only ever a dataset's legacy side.
    Http {
        /// Base address; keys are paths below it.
        endpoint: Url,
        /// Credential.
        auth: Auth,
        /// Longest wait for one answer, and for each piece of a file.
        timeout: Duration,
        /// It takes `PUT` and `DELETE`, so that files can be carried back.
        writable: bool,
    },
}

impl BucketPlan {
    /// It can say what is in it.
    #[must_use]
    pub const fn is_listable(&self) -> bool {
        !matches!(self, Self::Http { .. })
    }

    /// The longest key that it takes, in bytes; `None` where only its disk limits that.
    #[must_use]
    pub const fn longest_key(&self) -> Option<usize> {
        match self {
            Self::S3 { .. } => Some(1024),
            Self::Filesystem { .. } | Self::Http { .. } => None,
        }
    }
}

/// How long blobs are cut for an S3 server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartsPlan {
    /// A blob longer than this goes up in parts, in bytes.
    pub above: u64,
    /// Length of a part in bytes.
    pub size: u64,
}

/// A place in a bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BucketEnd {
    /// Name of the bucket.
    pub bucket: String,
    /// How the keys there begin; empty for the whole bucket.
    pub prefix: String,
}
