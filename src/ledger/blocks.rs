//! Records of one batch that all fare alike, in a row or a few: a key and a digest cost their bytes and nothing else.
//!
//! Readers get them as items like any other. A record of which something is told by itself gets a row of its own in
//! `record_items` before that is written (`let_out`); the block keeps it too, and the row counts. Neighbours: `sql` writes
//! the rows, `work` answers queries from both. Must never enter: what a batch does.

use super::{
    rows::{self, Unreadable, int, word},
    sql,
};
use crate::{
    model::{BatchId, Digest, ItemState, LaneId, LaneKind, RunId},
    ports::{BatchRow, ItemQuery, ItemRow, RecordBlock},
};
use sqlx::{QueryBuilder, Row as _, Sqlite, SqliteConnection};
use std::collections::{BTreeMap, BTreeSet, HashSet};

const DIGEST: usize = 32;

/// Blocks that a look-up may have to read for one key.
const CROWD: i64 = 32;

type Sql<T = ()> = Result<T, sqlx::Error>;

/// Parts that a block is taken into at most.
const PARTS: usize = 8;

/// A block as its rows keep it.
pub(super) struct Packed {
    state: ItemState,
    parts: Vec<Part>,
}

/// Records of a block whose keys follow each other.
struct Part {
    least: String,
    greatest: String,
    records: u64,
    body: Vec<u8>,
}

impl Packed {
    /// Packs a block: keys of one length together, which are sorted alike as text and as numbers, if they are of a few lengths.
    ///
    /// # Errors
    /// In words: a key is longer than the row's form can say.
    pub(super) fn new(block: &RecordBlock) -> Result<Self, Unreadable> {
        let lengths: BTreeSet<usize> = block.records.iter().map(|(key, _)| key.len()).collect();
        let apart = lengths.len() <= PARTS;
        let mut records: Vec<&(String, Digest)> = block.records.iter().collect();
        let length = |key: &String| if apart { key.len() } else { 0 };
        records.sort_unstable_by(|(one, _), (other, _)| (length(one), one).cmp(&(length(other), other)));
        let parts = records.chunk_by(|(one, _), (other, _)| length(one) == length(other)).map(Part::new);
        Ok(Self { state: block.state, parts: parts.collect::<Result<_, _>>()? })
    }
}

impl Part {
    fn new(records: &[&(String, Digest)]) -> Result<Self, Unreadable> {
        let mut body = Vec::with_capacity(records.iter().map(|(key, _)| key.len() + 2 + DIGEST).sum());
        for (key, digest) in records {
            let length = u16::try_from(key.len()).map_err(|_| format!("a key of {} bytes", key.len()))?;
            body.extend_from_slice(&length.to_be_bytes());
            body.extend_from_slice(key.as_bytes());
            body.extend_from_slice(&digest.0);
        }
        let end = |record: Option<&&(String, Digest)>| record.map_or_else(String::new, |(key, _)| key.clone());
        Ok(Self { least: end(records.first()), greatest: end(records.last()), records: records.len() as u64, body })
    }
}

/// The records of a row, in the order of their keys.
struct Records<'b>(&'b [u8]);

impl<'b> Iterator for Records<'b> {
    type Item = Result<(&'b str, Digest), Unreadable>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let record = next_record(&mut self.0);
        if record.is_none() {
            self.0 = &[];
        }
        Some(record.ok_or_else(|| "a block of records that is damaged".to_owned()))
    }
}

fn next_record<'b>(rest: &mut &'b [u8]) -> Option<(&'b str, Digest)> {
    let (length, behind) = rest.split_first_chunk::<2>()?;
    let (key, behind) = behind.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
    let (digest, behind) = behind.split_first_chunk::<DIGEST>()?;
    *rest = behind;
    Some((std::str::from_utf8(key).ok()?, Digest(*digest)))
}

/// A part of a block without its records.
struct Head {
    lane: LaneId,
    batch: BatchId,
    part: i64,
    state: ItemState,
    least: String,
    greatest: String,
    /// Some of its records have rows of their own.
    parted: bool,
}

fn damaged(why: Unreadable) -> sqlx::Error {
    sqlx::Error::Decode(why.into())
}

fn head(row: &sqlx::sqlite::SqliteRow) -> Sql<Head> {
    Ok(Head {
        lane: LaneId::new(row.try_get::<String, _>("lane")?),
        batch: BatchId::new(row.try_get::<String, _>("batch")?),
        part: row.try_get("part")?,
        state: rows::unword(row.try_get("state")?).map_err(damaged)?,
        least: row.try_get("least")?,
        greatest: row.try_get("greatest")?,
        parted: row.try_get::<i64, _>("alone")? > 0,
    })
}

/// Blocks that may hold what is asked for, by their least key.
async fn heads(connection: &mut SqliteConnection, run: &RunId, query: &ItemQuery) -> Sql<Vec<Head>> {
    let mut sql = QueryBuilder::<Sqlite>::new(
        "SELECT lane, batch, part, state, least, greatest, alone FROM record_blocks WHERE records > alone AND run = ",
    );
    sql.push_bind(run.as_str().to_owned());
    if let Some(lane) = &query.lane {
        sql.push(" AND lane = ").push_bind(lane.as_str().to_owned());
    }
    if let Some(batch) = &query.batch {
        sql.push(" AND batch = ").push_bind(batch.as_str().to_owned());
    }
    if let Some(after) = &query.after {
        sql.push(" AND greatest > ").push_bind(after.clone());
    }
    if let (Some(least), Some(greatest)) = (query.keys.iter().min(), query.keys.iter().max()) {
        sql.push(" AND least <= ").push_bind(greatest.clone());
        sql.push(" AND greatest >= ").push_bind(least.clone());
    }
    if !query.states.is_empty() {
        super::work::within(&mut sql, "state", query.states.iter().map(word));
    }
    sql.push(" ORDER BY least");
    sql.build().fetch_all(connection).await?.iter().map(head).collect()
}

async fn body(connection: &mut SqliteConnection, run: &RunId, head: &Head) -> Sql<Vec<u8>> {
    let sql = "SELECT body FROM block_bodies WHERE run = $1 AND batch = $2 AND part = $3";
    sqlx::query_scalar(sql).bind(run.as_str()).bind(head.batch.as_str()).bind(head.part).fetch_one(connection).await
}

/// Those of a lane's records between these keys that have a row of their own.
async fn alone(
    connection: &mut SqliteConnection,
    run: &RunId,
    lane: &LaneId,
    (least, greatest): (&str, &str),
) -> Sql<HashSet<String>> {
    let sql = "SELECT key FROM record_items WHERE run = $1 AND lane = $2 AND key BETWEEN $3 AND $4";
    let keys: Vec<String> = sqlx::query_scalar(sql)
        .bind(run.as_str())
        .bind(lane.as_str())
        .bind(least)
        .bind(greatest)
        .fetch_all(connection)
        .await?;
    Ok(keys.into_iter().collect())
}

/// The records of blocks that fit the query and have no row of their own, among them all of the first `limit` in the order
/// of their keys. `rows`: what the rows gave.
pub(super) async fn items(
    connection: &mut SqliteConnection,
    run: &RunId,
    query: &ItemQuery,
    rows: &[ItemRow],
) -> Sql<Vec<ItemRow>> {
    if query.error.is_some() {
        return Ok(Vec::new());
    }
    let limit = usize::try_from(query.limit).unwrap_or(usize::MAX);
    let mut wanted: Vec<&String> = query.keys.iter().collect();
    wanted.sort_unstable();
    let mut found: BTreeMap<(String, LaneId), ItemRow> = BTreeMap::new();
    for head in heads(connection, run, query).await? {
        let among = |key: &str| wanted.is_empty() || wanted.binary_search_by(|wanted| wanted.as_str().cmp(key)).is_ok();
        let in_reach = wanted.partition_point(|key| **key < head.least);
        if !wanted.is_empty() && wanted.get(in_reach).is_none_or(|key| **key > head.greatest) {
            continue;
        }
        if is_full(limit, &found, rows, &head.least) {
            break;
        }
        let body = body(connection, run, &head).await?;
        let mut of_block = Vec::new();
        for record in Records(&body) {
            let (key, digest) = record.map_err(damaged)?;
            let behind = query.after.as_deref().is_none_or(|after| key > after);
            let named = query.text.as_deref().is_none_or(|text| contains(key, text));
            if behind && named && among(key) {
                of_block.push((key, digest));
            }
            if of_block.len() > limit && !head.parted {
                break;
            }
        }
        let (Some(first), Some(last)) = (of_block.first(), of_block.last()) else { continue };
        let alone =
            if head.parted { alone(connection, run, &head.lane, (first.0, last.0)).await? } else { HashSet::new() };
        for (key, digest) in of_block.into_iter().filter(|(key, _)| !alone.contains(*key)).take(limit) {
            let item = ItemRow::in_block(&head.lane, &head.batch, head.state, key.to_owned(), digest);
            found.insert((item.key.clone(), item.lane.clone()), item);
        }
    }
    Ok(found.into_values().collect())
}

/// Whether no key from `least` on can be among the first `limit` any more.
fn is_full(limit: usize, found: &BTreeMap<(String, LaneId), ItemRow>, rows: &[ItemRow], least: &str) -> bool {
    let before = |key: &str| key < least;
    let from_rows = rows.iter().filter(|row| before(&row.key)).count();
    from_rows >= limit || from_rows + found.keys().take_while(|(key, _)| before(key)).take(limit).count() >= limit
}

/// As the rows are searched: ASCII letters match in either case.
fn contains(text: &str, part: &str) -> bool {
    text.to_ascii_lowercase().contains(&part.to_ascii_lowercase())
}

/// Whether many blocks of the lane have keys on both sides of some of this one's.
pub(super) async fn is_crowded(
    connection: &mut SqliteConnection,
    run: &RunId,
    lane: &LaneId,
    block: &Packed,
) -> Sql<bool> {
    let sql = "SELECT count(*) FROM (SELECT 1 FROM record_blocks \
               WHERE run = $1 AND lane = $2 AND least <= $3 AND greatest >= $4 LIMIT $5)";
    for part in &block.parts {
        let across: i64 = sqlx::query_scalar(sql)
            .bind(run.as_str())
            .bind(lane.as_str())
            .bind(&part.greatest)
            .bind(&part.least)
            .bind(CROWD)
            .fetch_one(&mut *connection)
            .await?;
        if across >= CROWD {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Writes a batch, its block, and what is told by itself.
pub(super) async fn save(
    connection: &mut SqliteConnection,
    run: &RunId,
    batch: &BatchRow,
    block: &Packed,
    items: &[ItemRow],
) -> Sql {
    sql::save(connection, run, std::slice::from_ref(batch), items, &[]).await?;
    for (number, part) in (0_i64..).zip(&block.parts) {
        let head = "INSERT INTO record_blocks (run, lane, batch, part, state, least, greatest, records, alone) \
                    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 0)";
        sqlx::query(head)
            .bind(run.as_str())
            .bind(batch.lane.as_str())
            .bind(batch.batch.as_str())
            .bind(number)
            .bind(word(&block.state))
            .bind(&part.least)
            .bind(&part.greatest)
            .bind(int(part.records))
            .execute(&mut *connection)
            .await?;
        sqlx::query("INSERT INTO block_bodies (run, lane, batch, part, body) VALUES ($1, $2, $3, $4, $5)")
            .bind(run.as_str())
            .bind(batch.lane.as_str())
            .bind(batch.batch.as_str())
            .bind(number)
            .bind(&part.body)
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

/// Writes a batch and where the records of its block stand.
pub(super) async fn move_all(
    connection: &mut SqliteConnection,
    run: &RunId,
    batch: &BatchRow,
    state: ItemState,
) -> Sql {
    sql::save(connection, run, std::slice::from_ref(batch), &[], &[]).await?;
    let sql = "UPDATE record_blocks SET state = $1 WHERE run = $2 AND batch = $3";
    sqlx::query(sql)
        .bind(word(&state))
        .bind(run.as_str())
        .bind(batch.batch.as_str())
        .execute(connection)
        .await
        .map(drop)
}

/// Gives rows of their own to those of these records that stand in a block and have none.
pub(super) async fn let_out(connection: &mut SqliteConnection, run: &RunId, lane: &LaneId, mut keys: Vec<&str>) -> Sql {
    keys.sort_unstable();
    let (Some(least), Some(greatest)) = (keys.first(), keys.last()) else { return Ok(()) };
    let ends = vec![(*least).to_owned(), (*greatest).to_owned()];
    let query = ItemQuery { lane: Some(lane.clone()), keys: ends, ..ItemQuery::default() };
    for head in heads(connection, run, &query).await? {
        let (from, to) = (
            keys.partition_point(|key| *key < head.least.as_str()),
            keys.partition_point(|key| *key <= head.greatest.as_str()),
        );
        let near = &keys[from..to];
        let (Some(low), Some(high)) = (near.first(), near.last()) else { continue };
        let body = body(connection, run, &head).await?;
        let alone = alone(connection, run, lane, (low, high)).await?;
        let mut out = Vec::new();
        for record in Records(&body) {
            let (key, digest) = record.map_err(damaged)?;
            if near.binary_search(&key).is_ok() && !alone.contains(key) {
                out.push(ItemRow::in_block(lane, &head.batch, head.state, key.to_owned(), digest));
            }
        }
        sql::insert_items(connection, run, LaneKind::Records, &out).await?;
        let count = "UPDATE record_blocks SET alone = alone + $1 WHERE run = $2 AND batch = $3 AND part = $4";
        sqlx::query(count)
            .bind(int(out.len() as u64))
            .bind(run.as_str())
            .bind(head.batch.as_str())
            .bind(head.part)
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}
