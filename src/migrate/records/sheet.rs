//! What a batch is about to do with its records, and how each ended. Pure.

use crate::{
    model::{BatchId, Digest, ItemState, LaneId, Record},
    ports::ItemRow,
};

/// What a batch is about to do, as the ledger has it.
#[derive(Default)]
pub(super) struct Sheet {
    /// What is written.
    pub(super) written: Vec<Record>,
    /// Of each of these: which entry it is, and where the ledger keeps it.
    pub(super) places: Vec<(usize, Kept)>,
    /// What is kept together.
    pub(super) block: Vec<(String, Digest)>,
    /// What is kept by itself.
    pub(super) items: Vec<ItemRow>,
}

impl Sheet {
    /// Keeps each of these records, which were to be a block, by itself.
    pub(super) fn part(&mut self, lane: &LaneId, batch: &BatchId, block: Vec<(String, Digest)>) {
        let before = self.items.len();
        self.items.extend(block.into_iter().map(|(key, digest)| fresh(lane, batch, &key, digest)));
        for (_, kept) in &mut self.places {
            if let Kept::Block(at) = *kept {
                *kept = Kept::Item(before + at);
            }
        }
    }
}

/// The item of a record that is written for the first time.
pub(super) fn fresh(lane: &LaneId, batch: &BatchId, key: &str, digest: Digest) -> ItemRow {
    ItemRow::in_block(lane, batch, ItemState::Pending, key.to_owned(), digest)
}

/// Where the ledger keeps a record: its place in the block, or among the items.
#[derive(Clone, Copy)]
pub(super) enum Kept {
    Block(usize),
    Item(usize),
}

/// What became of a record that was written.
pub(super) enum End {
    Copied,
    /// Read back, and the same.
    Verified,
    Rejected(String),
}

impl End {
    pub(super) const fn state(&self) -> ItemState {
        match self {
            Self::Copied => ItemState::Copied,
            Self::Verified => ItemState::Verified,
            Self::Rejected(_) => ItemState::Failed,
        }
    }
}
