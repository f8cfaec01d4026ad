//! What runs SQLite's statements: a file on this machine, or a server that has one.

use crate::{error::Result, model::Timestamp};
use async_trait::async_trait;

/// A value as SQLite keeps it.
#[derive(Debug, Clone, PartialEq)]
pub(in super::super) enum Cell {
    Null,
    Int(i64),
    Real(f64),
    Text(String),
    Blob(Vec<u8>),
}

impl Cell {
    /// About how many bytes it takes on its way.
    pub(in super::super) fn weight(&self) -> usize {
        match self {
            Self::Null | Self::Int(_) | Self::Real(_) => 8,
            Self::Text(text) => text.len(),
            Self::Blob(bytes) => bytes.len() * 2,
        }
    }

    /// The text, if it is one.
    pub(super) fn text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    /// The whole number, if it is one.
    pub(super) const fn int(&self) -> Option<i64> {
        if let Self::Int(number) = self { Some(*number) } else { None }
    }
}

/// A row of an answer.
pub(in super::super) type Cells = Vec<Cell>;

/// A statement. Every identifier in its text went through `quoted`, every value is a cell.
#[derive(Debug, Clone, Default)]
pub(in super::super) struct Statement {
    /// Expressions that it answers with, of which the engine makes columns in its own way; none if it answers nothing.
    pub(in super::super) columns: Vec<String>,
    /// What follows `SELECT` and its columns, or the whole statement, without its cells.
    text: String,
    /// Where in the text the cells stand.
    places: Vec<usize>,
    cells: Cells,
}

impl Statement {
    /// A statement that answers nothing.
    pub(super) fn act(text: impl Into<String>) -> Self {
        Self { text: text.into(), ..Self::default() }
    }

    /// A statement that answers with these expressions; `rest` begins with ` FROM`.
    pub(super) fn ask<T: Into<String>>(columns: impl IntoIterator<Item = T>, rest: impl Into<String>) -> Self {
        Self { columns: columns.into_iter().map(Into::into).collect(), ..Self::act(rest) }
    }

    /// What follows the columns: `hole` for each cell into the text, and the cells.
    pub(in super::super) fn filled(self, mut hole: impl FnMut(&mut String, Cell)) -> String {
        let mut out = String::with_capacity(self.text.len() + 2 * self.places.len());
        let mut at = 0;
        for (place, cell) in self.places.into_iter().zip(self.cells) {
            out.push_str(&self.text[at..place]);
            at = place;
            hole(&mut out, cell);
        }
        out.push_str(&self.text[at..]);
        out
    }

    /// Goes on with this text.
    pub(super) fn text(&mut self, text: &str) {
        self.text.push_str(text);
    }

    /// Goes on with this value.
    pub(super) fn cell(&mut self, cell: Cell) {
        self.places.push(self.text.len());
        self.cells.push(cell);
    }

    /// Goes on with these values and commas between.
    pub(super) fn cells(&mut self, cells: impl IntoIterator<Item = Cell>) {
        for (n, cell) in cells.into_iter().enumerate() {
            self.text(if n > 0 { ", " } else { "" });
            self.cell(cell);
        }
    }

    /// Goes on with another statement's text and values.
    pub(super) fn statement(&mut self, other: Self) {
        let begins = self.text.len();
        self.text.push_str(&other.text);
        self.places.extend(other.places.into_iter().map(|place| begins + place));
        self.cells.extend(other.cells);
    }

    /// The same with another one at its end.
    pub(super) fn and(mut self, other: Self) -> Self {
        self.statement(other);
        self
    }

    /// The same with a text at its end.
    pub(super) fn then(mut self, text: &str) -> Self {
        self.text(text);
        self
    }

    /// The same with a value at its end.
    pub(super) fn with(mut self, cell: Cell) -> Self {
        self.cell(cell);
        self
    }
}

/// What an engine takes at once.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Limits {
    /// Values of a statement.
    pub(in super::super) cells: usize,
    /// Bytes of a statement.
    pub(in super::super) bytes: usize,
    /// Bytes of all statements of an attempt.
    pub(in super::super) attempt: usize,
}

/// Rows that an engine read.
#[derive(Debug, Default)]
pub(in super::super) struct Answered {
    pub(in super::super) rows: Vec<Cells>,
    /// There are no more; otherwise it was cut for its length.
    pub(in super::super) whole: bool,
    /// The engine's clock when it answered, or a little before.
    pub(in super::super) as_of: Option<Timestamp>,
}

/// What became of statements that were run together.
pub(in super::super) enum Ran {
    /// All were done; the rows of each.
    Done(Vec<Vec<Cells>>),
    /// None was, for this reason, which lies in the values.
    Refused(String),
}

/// What runs SQLite's statements.
#[async_trait]
pub(in super::super) trait Engine: Send + Sync {
    /// The store's name in the plan.
    fn name(&self) -> &str;

    fn limits(&self) -> Limits;

    /// It takes writes, as far as can be told without writing.
    fn is_writable(&self) -> bool;

    /// Whatever is run between the beginning of a write and its end is done as one, or not at all.
    fn is_one_write(&self) -> bool;

    /// Rows that are asked for at once when a caller wants so many.
    fn page(&self, limit: u32) -> u32;

    /// Reads; about `most` bytes at most, if that is given.
    async fn read(&self, doing: &str, statement: Statement, most: Option<usize>) -> Result<Answered>;

    /// Begins to write. What was done before [`Writing::end`] may or may not stay if it is dropped.
    async fn write(&self, doing: &str) -> Result<Box<dyn Writing + '_>>;
}

/// A write in the middle.
#[async_trait]
pub(in super::super) trait Writing: Send {
    /// Runs all of the statements, or none.
    async fn run(&mut self, doing: &str, statements: Vec<Statement>) -> Result<Ran>;

    /// What was done is durable afterwards.
    async fn end(self: Box<Self>, doing: &str) -> Result<()>;
}
