//! Rows as words and words as rows.

use crate::{
    model::{BatchId, Digest, LaneId, LaneKind, Timestamp, document},
    ports::{BatchRow, ConflictRow, ItemRow},
};
use serde::{Serialize, de::DeserializeOwned};
use sqlx::{Row as _, sqlite::SqliteRow};

/// A row that cannot be read, in a few words.
pub(super) type Unreadable = String;

/// The word that a unit variant has in JSON.
pub(super) fn word<T: Serialize>(value: &T) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        // Only unit variants and times are passed; anything else would be noticed by the first test.
        other => unreachable!("a word is a text, not {other:?}"),
    }
}

/// The value that a word stands for.
pub(super) fn unword<T: DeserializeOwned>(word: &str) -> Result<T, Unreadable> {
    serde_json::from_value(serde_json::Value::from(word)).map_err(|error| format!("`{word}`: {error}"))
}

/// A count as the database holds it; counts beyond 2^63 do not occur.
pub(super) fn int(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// A count as it came from the database; a negative one is damage.
pub(super) fn count(int: i64) -> Result<u64, Unreadable> {
    u64::try_from(int).map_err(|_| format!("a count of {int}"))
}

pub(super) fn get<'r, T>(row: &'r SqliteRow, column: &str) -> Result<T, Unreadable>
where
    T: sqlx::Decode<'r, sqlx::Sqlite> + sqlx::Type<sqlx::Sqlite>,
{
    row.try_get(column).map_err(|error| error.to_string())
}

fn get_count(row: &SqliteRow, column: &str) -> Result<u64, Unreadable> {
    count(get(row, column)?)
}

fn get_time(row: &SqliteRow, column: &str) -> Result<Option<Timestamp>, Unreadable> {
    get::<Option<&str>>(row, column)?.map(unword).transpose()
}

/// A time that must be there.
pub(super) fn time(row: &SqliteRow, column: &str) -> Result<Timestamp, Unreadable> {
    unword(get(row, column)?)
}

fn get_json(row: &SqliteRow, column: &str) -> Result<serde_json::Value, Unreadable> {
    serde_json::from_str(get(row, column)?).map_err(|error| error.to_string())
}

pub(super) fn batch(row: &SqliteRow) -> Result<BatchRow, Unreadable> {
    Ok(BatchRow {
        batch: BatchId::new(get::<String>(row, "batch")?),
        lane: LaneId::new(get::<String>(row, "lane")?),
        kind: unword::<LaneKind>(get(row, "kind")?)?,
        number: get_count(row, "number")?,
        state: unword(get(row, "state")?)?,
        from: get(row, "from_mark")?,
        next: get(row, "next_mark")?,
        items: get_count(row, "items")?,
        failed: get_count(row, "failed")?,
        bytes: get_count(row, "bytes")?,
        attempts: get(row, "attempts")?,
        error: get(row, "error")?,
        started: get_time(row, "started")?,
        finished: get_time(row, "finished")?,
    })
}

pub(super) fn item(row: &SqliteRow) -> Result<ItemRow, Unreadable> {
    let digest: Option<&str> = get(row, "digest")?;
    let before: Option<&str> = get(row, "before")?;
    let facts: Option<&str> = get(row, "facts")?;
    Ok(ItemRow {
        lane: LaneId::new(get::<String>(row, "lane")?),
        key: get(row, "key")?,
        batch: BatchId::new(get::<String>(row, "batch")?),
        state: unword(get(row, "state")?)?,
        source: get(row, "source")?,
        digest: digest.map(|hex| Digest::from_hex(hex).ok_or("a digest that is none")).transpose()?,
        bytes: get_count(row, "bytes")?,
        attempts: get(row, "attempts")?,
        error: get::<Option<&str>>(row, "error")?.map(unword).transpose()?,
        reason: get(row, "reason")?,
        facts: facts.map(document::parse).transpose()?,
        before: before.map(document::parse).transpose()?,
    })
}

pub(super) fn conflict(row: &SqliteRow) -> Result<ConflictRow, Unreadable> {
    Ok(ConflictRow {
        lane: LaneId::new(get::<String>(row, "lane")?),
        key: get(row, "key")?,
        legacy: get_json(row, "legacy")?,
        new: get_json(row, "new")?,
        resolution: get(row, "resolution")?,
        at: unword(get(row, "at")?)?,
    })
}
