//! What a field holds, in words that every store shares, and the one form in which a value of each kind travels.
//!
//! A store reads a field of a kind in this form, and takes for it this form or its text (so that a value that came out of
//! a JSON document or of the ledger can be written to a typed column):
//!
//! | kind | form |
//! |---|---|
//! | `Any` | as it came |
//! | `Bool` | `Bool` |
//! | `Int` | `Int`; `Decimal` beyond 64 bits |
//! | `Float` | `Float`, always finite; `Text` for `NaN`, `Infinity`, `-Infinity` |
//! | `Decimal` | `Decimal`; `Text` for `NaN`, `Infinity`, `-Infinity` |
//! | `Text` | `Text` |
//! | `Bytes` | `Bytes` (its text: `\x` and hexadecimal digits, lower case) |
//! | `Date` | `Text`: `2024-02-29`; after the year 9999 `+12024-02-29`, before the year 0 `-0043-03-15` (ISO 8601) |
//! | `Time` | `Text`: `23:59:59.25`, the fraction without zeros at its end, none if it is zero |
//! | `Timestamp` | `Text`: date, `T`, time; behind it `Z` and in UTC if the kind has a zone, nothing if not |
//! | `Uuid` | `Text`: lower case with hyphens |
//! | `Json` | `Json`, whatever the document is: a JSON null is `Json(null)`, not `Null` |
//! | `List` | `Json`: an array of the elements as JSON |
//!
//! A text for a field of the kind `Json` is a document if it begins as a list or an object does and is one; any other text
//! is a text in the document, `5` and `null` too. `infinity` and `-infinity` are texts too where a store has them as dates and timestamps. `Null` is `Null` in every
//! kind. `take` brings a value into this form or says why it cannot be, `narrow` says what may not fit before a value was
//! seen, `words` writes and reads a kind's name. Must never enter: a store's own type names.

mod narrow;
mod take;
#[cfg(test)]
mod tests;
mod when;
mod words;

pub use take::Misfit;

use serde::{Deserialize, Serialize};

/// What a field holds.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Whatever it is given: the store says nothing, and keeps a value as it came.
    #[default]
    Any,
    /// Yes or no.
    Bool,
    /// A whole number.
    Int {
        /// Width: 8, 16, 24, 32 or 64.
        bits: u8,
        /// Whether it can be negative.
        signed: bool,
    },
    /// A binary floating-point number.
    Float {
        /// Width: 32 or 64.
        bits: u8,
    },
    /// An exact decimal number.
    Decimal {
        /// Digits in all; `None` for as many as it takes.
        digits: Option<u16>,
        /// Digits behind the point; `None` for as many as it takes.
        scale: Option<u16>,
    },
    /// Unicode text.
    Text {
        /// Characters at most.
        max: Option<u64>,
        /// Whether it can hold the character NUL.
        nul: bool,
    },
    /// Bytes.
    Bytes {
        /// At most so many.
        max: Option<u64>,
    },
    /// A day.
    Date,
    /// A time of day.
    Time {
        /// Digits of a second's fraction.
        fraction: u8,
    },
    /// A day and a time.
    Timestamp {
        /// Whether it is a moment (kept in UTC), or what a clock on a wall shows.
        zone: bool,
        /// Digits of a second's fraction.
        fraction: u8,
    },
    /// A UUID.
    Uuid,
    /// A JSON document.
    Json,
    /// A list of one kind.
    List(Box<Kind>),
}

/// A field of a set, as its store says.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Field {
    /// Its name.
    pub name: String,
    /// What it holds.
    pub kind: Kind,
    /// Whether it may be null.
    pub nullable: bool,
    /// The store fills it if a new record does not have it: a default, or a number it counts up.
    pub filled: bool,
    /// The store computes it and refuses a value for it.
    pub computed: bool,
}

impl Field {
    /// A field of which nothing but the name is known.
    #[must_use]
    pub fn named(name: impl Into<String>) -> Self {
        Self { name: name.into(), nullable: true, filled: true, ..Self::default() }
    }
}
