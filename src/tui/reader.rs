//! What the console reads of single records and files: page by page, on demand, beside the frames. Somebody above the
//! fronts answers; here is only what is asked and what comes back, as it is shown. Only reads.

use crate::{
    error::{FaultKind, Result},
    model::{BatchId, ItemState, ItemVerdict, LaneId, Timestamp},
};
use async_trait::async_trait;
use std::{fmt, path::PathBuf};

/// Answers what the console asks.
#[async_trait]
pub trait Reader: fmt::Debug + Send + Sync {
    /// Items of a batch, those in trouble first.
    ///
    /// # Errors
    /// What the ledger says.
    async fn items(&self, ask: &PageAsk) -> Result<ItemPage>;

    /// Dead letters of a lane of records, in the order of their keys.
    ///
    /// # Errors
    /// What the ledger says.
    async fn letters(&self, ask: &LettersAsk) -> Result<LetterPage>;

    /// The record of a dead letter as the source had it.
    ///
    /// # Errors
    /// What the ledger says.
    async fn letter(&self, ask: &RecordAsk) -> Result<Vec<FieldLine>>;

    /// Writes all dead letters of a lane with their records into a file of the run's folder, one a line as JSON.
    ///
    /// # Errors
    /// What the ledger or the disk says.
    async fn export(&self, lane: &LaneId) -> Result<Exported>;

    /// What the last comparison of a lane of records found, in the order of the keys.
    ///
    /// # Errors
    /// What the ledger says.
    async fn differences(&self, ask: &DifferencesAsk) -> Result<DifferencePage>;

    /// A record on both sides. A side that cannot be reached is a part of the answer.
    ///
    /// # Errors
    /// What the ledger says.
    async fn sides(&self, ask: &RecordAsk) -> Result<Sides>;
}

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ask {
    /// Items of a batch.
    Items(PageAsk),
    /// Dead letters.
    Letters(LettersAsk),
    /// The record of a dead letter.
    Letter(RecordAsk),
    /// All dead letters of this lane into a file.
    Export(LaneId),
    /// What differs.
    Differences(DifferencesAsk),
    /// A record on both sides.
    Sides(RecordAsk),
}

/// What comes back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// For [`Ask::Items`].
    Items(ItemPage),
    /// For [`Ask::Letters`].
    Letters(LetterPage),
    /// For [`Ask::Letter`].
    Letter(Vec<FieldLine>),
    /// For [`Ask::Export`].
    Export(Exported),
    /// For [`Ask::Differences`].
    Differences(DifferencePage),
    /// For [`Ask::Sides`].
    Sides(Sides),
}

impl Ask {
    /// Asks.
    ///
    /// # Errors
    /// What `reader` says.
    pub(crate) async fn of(&self, reader: &dyn Reader) -> Result<Told> {
        Ok(match self {
            Self::Items(ask) => Told::Items(reader.items(ask).await?),
            Self::Letters(ask) => Told::Letters(reader.letters(ask).await?),
            Self::Letter(ask) => Told::Letter(reader.letter(ask).await?),
            Self::Export(lane) => Told::Export(reader.export(lane).await?),
            Self::Differences(ask) => Told::Differences(reader.differences(ask).await?),
            Self::Sides(ask) => Told::Sides(reader.sides(ask).await?),
        })
    }
}

/// A page, and where the next one begins, if there is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageOf<S, L> {
    /// Its lines.
    pub items: Vec<L>,
    /// Where the next one begins.
    pub next: Option<S>,
}

/// Which items of a batch are asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageAsk {
    /// Of which lane.
    pub lane: LaneId,
    /// Of which batch.
    pub batch: BatchId,
    /// Where the page begins.
    pub from: PageStart,
    /// At most so many items.
    pub limit: u32,
}

/// Where a page of items begins: those in trouble come before calm ones, each in key order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PageStart {
    /// Among the calm ones.
    pub calm: bool,
    /// Behind this key.
    pub after: Option<String>,
}

/// A page of items.
pub type ItemPage = PageOf<PageStart, ItemLine>;

/// An item as it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ItemLine {
    /// Its key.
    pub key: String,
    /// Where it stands.
    pub state: ItemState,
    /// Its bytes.
    pub bytes: u64,
    /// Attempts so far.
    pub attempts: u32,
    /// The kind of its last error.
    pub error: Option<FaultKind>,
    /// Why it failed or was skipped.
    pub reason: String,
}

/// Which dead letters are asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LettersAsk {
    /// Of which lane.
    pub lane: LaneId,
    /// Behind this key.
    pub after: Option<String>,
    /// At most so many.
    pub limit: u32,
}

/// A page of dead letters.
pub type LetterPage = PageOf<Option<String>, LetterLine>;

/// A dead letter as it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LetterLine {
    /// The record's key.
    pub key: String,
    /// Attempts so far.
    pub attempts: u32,
    /// Why it could not be moved.
    pub reason: String,
    /// It stood in the target before the run and waits for a person to decide.
    pub asks: bool,
}

/// Which record is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordAsk {
    /// Of which lane.
    pub lane: LaneId,
    /// Its key.
    pub key: String,
}

/// A field of a record, its value as JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldLine {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
}

/// Dead letters that were written into a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exported {
    /// Which file.
    pub path: PathBuf,
    /// How many.
    pub letters: u64,
}

/// Which differences are asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DifferencesAsk {
    /// Of which lane.
    pub lane: LaneId,
    /// Only of this class.
    pub class: Option<ItemVerdict>,
    /// Behind this key.
    pub after: Option<String>,
    /// At most so many.
    pub limit: u32,
}

/// A page of differences, and what the comparison came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DifferencePage {
    /// The page.
    pub page: PageOf<Option<String>, DifferenceLine>,
    /// How many there are of each class, of all pages.
    pub sums: Vec<(ItemVerdict, u64)>,
    /// How far the comparison came.
    pub compared: Compared,
}

impl DifferencePage {
    /// How many there are of a class.
    #[must_use]
    pub fn count(&self, class: ItemVerdict) -> u64 {
        self.sums.iter().find(|(of, _)| *of == class).map_or(0, |(_, count)| *count)
    }
}

/// How far a comparison came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compared {
    /// Nobody compared yet.
    Never,
    /// It did not come to its end.
    HalfWay,
    /// All of both sides.
    Whole,
}

/// A difference as it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DifferenceLine {
    /// The record's key.
    pub key: String,
    /// What was found.
    pub class: ItemVerdict,
    /// In words: the fields that differ, or why it is missing.
    pub detail: String,
    /// When.
    pub at: Timestamp,
}

/// A record on both sides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sides {
    /// How the legacy side answered.
    pub legacy: Standing,
    /// How the new side answered.
    pub new: Standing,
    /// Every field that either side has; values as JSON, `None` where a side does not have it.
    pub fields: Vec<SideFields>,
}

/// How a side answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// The record is there.
    There,
    /// It is not there, or cannot be moved as it is: in words.
    Wanting(String),
    /// The side cannot be reached, and why.
    Unreachable(String),
}

/// A field on both sides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SideFields {
    /// Its name on the new side.
    pub name: String,
    /// What the new side is to hold.
    pub legacy: Option<String>,
    /// What it holds.
    pub new: Option<String>,
    /// They are not the same.
    pub differs: bool,
}
