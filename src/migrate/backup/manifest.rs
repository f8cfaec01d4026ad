//! What a backup says of itself: its rows, its blocks and their checksums, and whether it was proven. Pure.
//!
//! The manifest is written last, so a backup without it is none; it carries its own checksum, so a hurt one is noticed.
//! Must never enter: where it is kept.

use crate::model::{Digest, Field, RunId, Timestamp};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::value::RawValue;

/// The form of what this version writes.
pub(super) const FORMAT: u32 = 1;

/// A finished backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The form in which it is written.
    pub format: u32,
    /// The plan's name.
    pub plan: String,
    /// The run before whose first write it was taken.
    pub run: RunId,
    /// The dataset.
    pub dataset: String,
    /// The store in the plan.
    pub store: String,
    /// The set in it.
    pub set: String,
    /// The field that identifies a row.
    pub key: String,
    /// The set's fields, as the store said; empty if it did not.
    pub fields: Vec<Field>,
    /// When the first row was read.
    pub begun: Timestamp,
    /// When the last one was kept.
    pub taken: Timestamp,
    /// How many rows.
    pub rows: u64,
    /// Bytes of their lines.
    pub bytes: u64,
    /// SHA-256 of all lines, one after the other.
    pub sha256: Digest,
    /// The blocks, in order.
    pub blocks: Vec<Block>,
}

/// Lines that were compressed together. A block holds at least so many bytes that a terabyte's blocks are listed in a few
/// megabytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Block {
    /// Rows in it.
    pub rows: u64,
    /// Bytes of their lines.
    pub bytes: u64,
    /// Bytes as it is kept, compressed.
    pub stored: u64,
    /// SHA-256 of these.
    pub sha256: Digest,
}

impl Manifest {
    /// Bytes that the backup takes where it is kept.
    #[must_use]
    pub fn stored(&self) -> u64 {
        self.blocks.iter().map(|block| block.stored).sum()
    }

    /// SHA-256 that names this backup among all others.
    pub(super) fn seal(&self) -> Digest {
        self.blocks.iter().fold(self.sha256, |seal, block| Digest::of(&[seal.0, block.sha256.0].concat()))
    }
}

/// How a backup was proven.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Proof {
    /// Put into a set made for it, read back from there and compared row by row.
    Restored,
    /// Read, checked and understood, not restored, for this reason.
    Read(String),
}

/// A proof, when it was made and of what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proven {
    /// How.
    pub how: Proof,
    /// When.
    pub at: Timestamp,
    /// The backup that was proven, by its seal.
    pub(super) of: Digest,
}

#[derive(Deserialize)]
struct Sealed<'s> {
    sha256: Digest,
    #[serde(borrow)]
    content: &'s RawValue,
}

/// The content as text, with the checksum of that text.
pub(super) fn seal<T: Serialize>(content: &T) -> serde_json::Result<Vec<u8>> {
    let text = serde_json::to_string_pretty(content)?;
    let sha256 = Digest::of(text.as_bytes());
    Ok(format!("{{\n\"sha256\": \"{sha256}\",\n\"content\": {text}\n}}\n").into_bytes())
}

/// The content of such a text.
///
/// # Errors
/// What is wrong with it, in a few words.
pub(super) fn unseal<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    let sealed: Sealed<'_> = serde_json::from_slice(bytes).map_err(|error| format!("it is cut or hurt: {error}"))?;
    if Digest::of(sealed.content.get().as_bytes()) != sealed.sha256 {
        return Err("it was changed after it was written: its checksum differs".into());
    }
    serde_json::from_str(sealed.content.get()).map_err(|error| format!("another version wrote it: {error}"))
}

/// The name of a block's file.
pub(super) fn block_name(place: usize) -> String {
    format!("{:06}.jsonl.zst", place + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hurt_seal_is_noticed_wherever_it_is_hurt() {
        let proven = Proven { how: Proof::Restored, at: Timestamp::UNIX_EPOCH, of: Digest::of(b"x") };
        let whole = seal(&proven).unwrap();
        assert_eq!(unseal::<Proven>(&whole).unwrap(), proven);
        for at in 0..whole.len() {
            let mut hurt = whole.clone();
            hurt[at] ^= 1;
            let read = unseal::<Proven>(&hurt);
            // Blanks around the content, and the case of a digit, mean nothing.
            assert!(read.is_err() || read.unwrap() == proven, "byte {at}");
        }
        // Without the line's end it is whole still.
        for at in 0..whole.len() - 1 {
            assert!(unseal::<Proven>(&whole[..at]).is_err(), "cut at {at}");
        }
    }
}
