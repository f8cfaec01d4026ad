//! What the listing says of a file, in the form in which the ledger keeps it: enough to move the file without asking the
//! source's records again.

use crate::{
    model::Digest,
    ports::{BlobMeta, ItemRow, PartsDigest},
};
use serde::{Deserialize, Serialize};

/// What is known of a file besides its two keys.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct FileFacts {
    /// The key of the record that speaks of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) record: Option<String>,
    /// The SHA-256 it must have, if the row says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) sha256: Option<Digest>,
    /// The length it must have, if the row says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) size: Option<u64>,
    /// What travels with it, as far as the row says.
    #[serde(skip_serializing_if = "is_default")]
    pub(crate) meta: BlobMeta,
    /// The version of the source that was copied; before that, the one that was listed, if a bucket was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) version: Option<String>,
    /// What the target must say of it if it went up in parts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) parts: Option<PartsDigest>,
    /// Why it cannot be moved, found in the row alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) flaw: Option<String>,
}

fn is_default(meta: &BlobMeta) -> bool {
    *meta == BlobMeta::default()
}

impl FileFacts {
    /// What the ledger keeps of an item; nothing for one that users created on the new side.
    pub(crate) fn of(item: &ItemRow) -> Self {
        // Written by the function below; a ledger that an earlier version wrote has none.
        item.facts.as_ref().and_then(|facts| Self::deserialize(facts).ok()).unwrap_or_default()
    }

    /// The form in which the ledger keeps it.
    pub(crate) fn to_json(&self) -> Option<serde_json::Value> {
        serde_json::to_value(self).ok()
    }

    /// Whether the source has written the file since the other was said of it, as far as this says.
    pub(crate) fn is_newer_than(&self, other: &Self) -> bool {
        self.version.is_some() && self.version != other.version
    }

    /// Whether the row says the same as it did.
    pub(crate) fn says_the_same(&self, other: &Self) -> bool {
        let said = |facts: &Self| (facts.sha256, facts.size, facts.meta.clone(), facts.flaw.clone());
        said(self) == said(other)
    }
}

/// What a record, or the bucket, says about a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FileEntry {
    /// Its key in the new bucket.
    pub(crate) key: String,
    /// Its key in the legacy bucket.
    pub(crate) path: String,
    /// The rest.
    pub(crate) facts: FileFacts,
}
