//! What a batch is about to do with its records, and how each ended. Pure.

use crate::{
    model::{Digest, ItemState, Record},
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
