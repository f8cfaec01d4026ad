//! The work tables on SQLite.

use super::{
    Ledger,
    blocks::{self, Packed},
    fault::{broken, fault},
    files,
    rows::{self, Unreadable, count, unword},
    writer::{FileOp, Op},
};
use crate::{
    error::{FaultKind, Result},
    model::{BatchId, ItemState, LaneId, LaneKind, RunId, Tally},
    ports::{
        BatchQuery, BatchRow, ConflictRow, ItemQuery, ItemRow, ItemVerdict, PartSent, RecordBlock, UploadRow,
        VerdictQuery, VerdictRow, Work,
    },
};
use async_trait::async_trait;
use serde::de::DeserializeOwned;
use sqlx::{QueryBuilder, Sqlite, sqlite::SqliteRow};

/// Items that are rather sorted than found in order.
const FEW: i64 = 2000;

/// The port to the work tables of one run.
pub(super) struct SqliteWork {
    ledger: Ledger,
    run: RunId,
}

impl SqliteWork {
    pub(super) const fn new(ledger: Ledger, run: RunId) -> Self {
        Self { ledger, run }
    }

    /// Runs a query and reads its rows.
    async fn read<T>(
        &self,
        mut sql: QueryBuilder<Sqlite>,
        read: impl Fn(&SqliteRow) -> Result<T, Unreadable>,
    ) -> Result<Vec<T>> {
        let rows = sql
            .build()
            .fetch_all(&self.ledger.readers)
            .await
            .map_err(|error| broken(&self.ledger.path, "read", &error))?;
        rows.iter().map(|row| read(row).map_err(|why| fault(&self.ledger.path, "read", why))).collect()
    }

    async fn put(
        &self,
        batches: &[BatchRow],
        items: &[ItemRow],
        notes: &[(&str, &serde_json::Value)],
        durable: bool,
    ) -> Result<()> {
        let op = Op::Save {
            run: self.run.clone(),
            batches: batches.to_vec(),
            items: items.to_vec(),
            notes: notes.iter().map(|(name, value)| ((*name).to_owned(), value.to_string())).collect(),
            durable,
        };
        self.ledger.writer.write(op).await
    }

    async fn write(&self, op: FileOp) -> Result<()> {
        self.ledger.writer.write(Op::Files(self.run.clone(), op)).await
    }

    /// A query that is told the run, the lane and where to begin.
    fn of_lane(&self, from: &str, lane: &LaneId, after: Option<&str>) -> QueryBuilder<Sqlite> {
        let mut sql = self.select(from);
        sql.push(" AND lane = ").push_bind(lane.as_str().to_owned());
        if let Some(after) = after {
            sql.push(" AND key > ").push_bind(after.to_owned());
        }
        sql
    }

    async fn parts(&self, lane: &LaneId, key: &str) -> Result<Vec<PartSent>> {
        let mut sql = self.of_lane("SELECT * FROM file_parts", lane, None);
        sql.push(" AND key = ").push_bind(key.to_owned()).push(" ORDER BY number");
        self.read(sql, files::part).await
    }

    /// Counts by a word.
    async fn sums<W: DeserializeOwned>(
        &self,
        select: &str,
        lane: &LaneId,
        rest: impl FnOnce(&mut QueryBuilder<Sqlite>),
    ) -> Result<Vec<(W, u64)>> {
        let mut sql = self.of_lane(select, lane, None);
        rest(&mut sql);
        self.read(sql, |row| Ok((unword(rows::get(row, "word")?)?, count(rows::get(row, "sum")?)?))).await
    }

    /// The sums by state of the items that a condition chooses. Of each table by itself, so that an index can tell them.
    async fn tally_of(&self, column: &str, value: &str) -> Result<Tally> {
        let mut sql = QueryBuilder::new("");
        for (before, table) in [("", "record_items"), (" UNION ALL ", "file_migration_records")] {
            sql.push(before).push("SELECT state, count(*), sum(bytes) FROM ").push(table).push(" WHERE run = ");
            sql.push_bind(self.run.as_str().to_owned()).push(" AND ").push(column).push(" = ");
            sql.push_bind(value.to_owned()).push(" GROUP BY state");
        }
        sql.push(" UNION ALL SELECT state, sum(records - alone), 0 FROM record_blocks WHERE run = ");
        sql.push_bind(self.run.as_str().to_owned()).push(" AND ").push(column).push(" = ");
        sql.push_bind(value.to_owned()).push(" GROUP BY state");
        let sums: Vec<(String, i64, i64)> = sql
            .build_query_as()
            .fetch_all(&self.ledger.readers)
            .await
            .map_err(|error| broken(&self.ledger.path, "read", &error))?;
        let mut tally = Tally::default();
        for (state, items, bytes) in sums {
            let bad = |why| fault(&self.ledger.path, "read", why);
            let state: ItemState = unword(&state).map_err(bad)?;
            tally.add(state, count(items).map_err(bad)?);
            if matches!(state, ItemState::Copied | ItemState::Verified) {
                tally.bytes += count(bytes).map_err(bad)?;
            }
        }
        Ok(tally)
    }

    /// These rows, and the records in blocks that fit the query.
    async fn with_blocks(&self, query: &ItemQuery, mut rows: Vec<ItemRow>) -> Result<Vec<ItemRow>> {
        let wrong = |error| broken(&self.ledger.path, "read", &error);
        let mut reader = self.ledger.readers.acquire().await.map_err(wrong)?;
        let more = blocks::items(&mut reader, &self.run, query, &rows).await.map_err(wrong)?;
        if !more.is_empty() {
            rows.extend(more);
            rows.sort_by(|one, other| (&one.key, &one.lane).cmp(&(&other.key, &other.lane)));
            rows.truncate(usize::try_from(query.limit).unwrap_or(usize::MAX));
        }
        Ok(rows)
    }

    /// Whether the items of a lane in the states of a query are few, whatever else it asks for.
    async fn are_few(&self, query: &ItemQuery) -> Result<bool> {
        let (Some(lane), None) = (&query.lane, &query.batch) else { return Ok(false) };
        if query.states.is_empty() || !query.keys.is_empty() {
            return Ok(false);
        }
        let mut sql = self.of_lane("SELECT count(*) FROM (SELECT 1 FROM all_items", lane, None);
        within(&mut sql, "state", query.states.iter().map(rows::word));
        sql.push(" LIMIT ").push_bind(FEW).push(")");
        let count: i64 = sql
            .build_query_scalar()
            .fetch_one(&self.ledger.readers)
            .await
            .map_err(|error| broken(&self.ledger.path, "read", &error))?;
        Ok(count < FEW)
    }

    /// A query that is told the run.
    fn select(&self, from: &str) -> QueryBuilder<Sqlite> {
        let mut sql = QueryBuilder::new(from);
        sql.push(" WHERE run = ").push_bind(self.run.as_str().to_owned());
        sql
    }
}

/// Only rows whose column has one of these values.
pub(super) fn within(sql: &mut QueryBuilder<Sqlite>, column: &str, values: impl Iterator<Item = String>) {
    sql.push(" AND ").push(column).push(" IN (");
    let mut list = sql.separated(", ");
    for value in values {
        list.push_bind(value);
    }
    sql.push(")");
}

/// The pattern of texts that have this one in them.
fn containing(text: &str) -> String {
    let mut pattern = String::from("%");
    for c in text.chars() {
        if matches!(c, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern.push('%');
    pattern
}

#[async_trait]
impl Work for SqliteWork {
    fn run(&self) -> &RunId {
        &self.run
    }

    async fn save(&self, batch: &BatchRow, items: &[ItemRow]) -> Result<()> {
        self.put(std::slice::from_ref(batch), items, &[], true).await
    }

    async fn enlist(
        &self,
        batches: &[BatchRow],
        items: &[ItemRow],
        notes: &[(&str, &serde_json::Value)],
    ) -> Result<()> {
        self.put(batches, items, notes, false).await
    }

    async fn save_block(&self, batch: &BatchRow, block: &RecordBlock, items: &[ItemRow]) -> Result<bool> {
        let block = Packed::new(block).map_err(|why| fault(&self.ledger.path, "write progress to", why))?;
        let wrong = |error| broken(&self.ledger.path, "read", &error);
        let mut reader = self.ledger.readers.acquire().await.map_err(wrong)?;
        if blocks::is_crowded(&mut reader, &self.run, &batch.lane, &block).await.map_err(wrong)? {
            return Ok(false);
        }
        drop(reader);
        let (run, batch) = (self.run.clone(), Box::new(batch.clone()));
        self.ledger.writer.write(Op::Block { run, batch, block, items: items.to_vec() }).await?;
        Ok(true)
    }

    async fn move_block(&self, batch: &BatchRow, state: ItemState) -> Result<bool> {
        let mut sql = self.select("SELECT 1 FROM record_blocks");
        sql.push(" AND batch = ").push_bind(batch.batch.as_str().to_owned());
        if self.read(sql, |_| Ok(())).await?.is_empty() {
            return Ok(false);
        }
        let op = Op::MoveBlock { run: self.run.clone(), batch: Box::new(batch.clone()), state };
        self.ledger.writer.write(op).await.map(|()| true)
    }

    async fn lanes(&self) -> Result<Vec<(LaneId, LaneKind)>> {
        let mut sql = self.select("SELECT DISTINCT lane, kind FROM all_batches");
        sql.push(" ORDER BY lane");
        let read = |row: &SqliteRow| {
            Ok((LaneId::new(rows::get::<String>(row, "lane")?), unword::<LaneKind>(rows::get(row, "kind")?)?))
        };
        self.read(sql, read).await
    }

    async fn batches(&self, lane: Option<&LaneId>) -> Result<Vec<BatchRow>> {
        let mut sql = self.select("SELECT * FROM all_batches");
        if let Some(lane) = lane {
            sql.push(" AND lane = ").push_bind(lane.as_str().to_owned());
        }
        sql.push(" ORDER BY lane, number");
        self.read(sql, rows::batch).await
    }

    async fn last_number(&self, lane: &LaneId) -> Result<u64> {
        // Of each table by itself: then its index knows without a look at any row.
        let last = "SELECT max((SELECT coalesce(max(number), 0) FROM record_batches WHERE run = $1 AND lane = $2), \
                    (SELECT coalesce(max(number), 0) FROM file_migration_batches WHERE run = $1 AND lane = $2))";
        let number: i64 = sqlx::query_scalar(last)
            .bind(self.run.as_str())
            .bind(lane.as_str())
            .fetch_one(&self.ledger.readers)
            .await
            .map_err(|error| broken(&self.ledger.path, "read", &error))?;
        count(number).map_err(|why| fault(&self.ledger.path, "read", why))
    }

    async fn batch_page(&self, query: &BatchQuery) -> Result<Vec<BatchRow>> {
        let mut sql = self.select("SELECT * FROM all_batches");
        if let Some(lane) = &query.lane {
            sql.push(" AND lane = ").push_bind(lane.as_str().to_owned());
        }
        if let Some(batch) = &query.batch {
            sql.push(" AND batch = ").push_bind(batch.as_str().to_owned());
        }
        if !query.states.is_empty() {
            within(&mut sql, "state", query.states.iter().map(rows::word));
        }
        sql.push(" AND number > ").push_bind(rows::int(query.after));
        // Few batches are under way at a time, however many there are: found by their state, and then sorted. The signs keep
        // the order from being read off an index, which would be one over all of them.
        let few = !query.states.is_empty() && query.states.iter().all(|state| state.is_live());
        let order = if few { " ORDER BY +lane, +number LIMIT " } else { " ORDER BY lane, number LIMIT " };
        sql.push(order).push_bind(query.limit);
        self.read(sql, rows::batch).await
    }

    async fn items(&self, query: &ItemQuery) -> Result<Vec<ItemRow>> {
        let mut sql = self.select("SELECT * FROM all_items");
        if let Some(lane) = &query.lane {
            // A batch is found by its index, not in a walk through its lane, which the order would suggest.
            let lane_column = if query.batch.is_some() { " AND coalesce(lane, '') = " } else { " AND lane = " };
            sql.push(lane_column).push_bind(lane.as_str().to_owned());
        }
        if let Some(batch) = &query.batch {
            sql.push(" AND batch = ").push_bind(batch.as_str().to_owned());
        }
        if let Some(after) = &query.after {
            sql.push(" AND key > ").push_bind(after.clone());
        }
        if !query.states.is_empty() {
            within(&mut sql, "state", query.states.iter().map(rows::word));
        }
        if !query.keys.is_empty() {
            within(&mut sql, "key", query.keys.iter().cloned());
        }
        if let Some(error) = query.error {
            sql.push(" AND error = ").push_bind(error.word());
        }
        if let Some(text) = &query.text {
            let like = containing(text);
            sql.push(" AND (key LIKE ").push_bind(like.clone()).push(r" ESCAPE '\' OR source LIKE ");
            sql.push_bind(like).push(r" ESCAPE '\')");
        }
        // Few are found by their state and sorted; for many the order of keys is the better way.
        let order =
            if self.are_few(query).await? { " ORDER BY key || '', lane LIMIT " } else { " ORDER BY key, lane LIMIT " };
        sql.push(order).push_bind(query.limit);
        let rows = self.read(sql, rows::item).await?;
        self.with_blocks(query, rows).await
    }

    async fn mark(&self, lane: &LaneId, keys: &[String], state: ItemState, reason: &str) -> Result<()> {
        let op = Op::Mark {
            run: self.run.clone(),
            lane: lane.clone(),
            keys: keys.to_vec(),
            state,
            reason: reason.to_owned(),
        };
        self.ledger.writer.write(op).await
    }

    async fn reset(&self, lane: &LaneId, keys: &[String]) -> Result<()> {
        self.write(FileOp::Reset { lane: lane.clone(), keys: keys.to_vec() }).await
    }

    async fn tally(&self, lane: &LaneId) -> Result<Tally> {
        self.tally_of("lane", lane.as_str()).await
    }

    async fn batch_tally(&self, batch: &BatchId) -> Result<Tally> {
        self.tally_of("batch", batch.as_str()).await
    }

    async fn sources_known(&self, lane: &LaneId, sources: &[String]) -> Result<Vec<String>> {
        if sources.is_empty() {
            return Ok(Vec::new());
        }
        let mut sql = self.of_lane("SELECT DISTINCT source FROM file_migration_records", lane, None);
        within(&mut sql, "source", sources.iter().cloned());
        self.read(sql, |row| rows::get(row, "source")).await
    }

    async fn errors(&self, lane: &LaneId) -> Result<Vec<(FaultKind, u64)>> {
        let failed = rows::word(&ItemState::Failed);
        self.sums("SELECT coalesce(error, 'unmet') AS word, count(*) AS sum FROM all_items", lane, |sql| {
            sql.push(" AND state = ").push_bind(failed).push(" GROUP BY 1 ORDER BY 2 DESC, 1");
        })
        .await
    }

    async fn begin_upload(&self, row: &UploadRow) -> Result<()> {
        self.write(FileOp::BeginUpload(row.clone())).await
    }

    async fn add_part(&self, lane: &LaneId, key: &str, part: &PartSent) -> Result<()> {
        self.write(FileOp::AddPart { lane: lane.clone(), key: key.to_owned(), part: part.clone() }).await
    }

    async fn uploads(&self, lane: &LaneId, after: Option<&str>, limit: u32) -> Result<Vec<UploadRow>> {
        let mut sql = self.of_lane("SELECT * FROM file_uploads", lane, after);
        sql.push(" ORDER BY key LIMIT ").push_bind(limit);
        let mut uploads = self.read(sql, files::upload).await?;
        for upload in &mut uploads {
            upload.parts = self.parts(lane, &upload.key).await?;
        }
        Ok(uploads)
    }

    async fn upload(&self, lane: &LaneId, key: &str) -> Result<Option<UploadRow>> {
        let mut sql = self.of_lane("SELECT * FROM file_uploads", lane, None);
        sql.push(" AND key = ").push_bind(key.to_owned());
        let Some(mut upload) = self.read(sql, files::upload).await?.pop() else { return Ok(None) };
        upload.parts = self.parts(lane, key).await?;
        Ok(Some(upload))
    }

    async fn end_upload(&self, lane: &LaneId, key: &str) -> Result<()> {
        self.write(FileOp::EndUpload { lane: lane.clone(), key: key.to_owned() }).await
    }

    async fn judge(&self, rows: &[VerdictRow]) -> Result<()> {
        self.write(FileOp::Judge(rows.to_vec())).await
    }

    async fn verdicts(&self, lane: &LaneId, query: &VerdictQuery) -> Result<Vec<VerdictRow>> {
        let mut sql = self.of_lane("SELECT * FROM item_verdicts", lane, query.after.as_deref());
        if !query.verdicts.is_empty() {
            within(&mut sql, "verdict", query.verdicts.iter().map(rows::word));
        }
        if !query.keys.is_empty() {
            within(&mut sql, "key", query.keys.iter().cloned());
        }
        sql.push(" ORDER BY key LIMIT ").push_bind(query.limit);
        self.read(sql, files::verdict).await
    }

    async fn verdict_sums(&self, lane: &LaneId) -> Result<Vec<(ItemVerdict, u64)>> {
        self.sums("SELECT verdict AS word, count(*) AS sum FROM item_verdicts", lane, |sql| {
            sql.push(" GROUP BY 1 ORDER BY 1");
        })
        .await
    }

    async fn forget_verdicts(&self, lane: &LaneId) -> Result<()> {
        self.write(FileOp::ForgetVerdicts { lane: lane.clone() }).await
    }

    async fn forget(&self, lane: &LaneId) -> Result<()> {
        self.ledger.writer.write(Op::Forget { run: self.run.clone(), lane: lane.clone() }).await
    }

    async fn note(&self, name: &str, value: &serde_json::Value) -> Result<()> {
        let op = Op::Note { run: self.run.clone(), name: name.to_owned(), value: value.to_string() };
        self.ledger.writer.write(op).await
    }

    async fn noted(&self, name: &str) -> Result<Option<serde_json::Value>> {
        let path = &self.ledger.path;
        let text: Option<String> = sqlx::query_scalar("SELECT value FROM notes WHERE run = $1 AND name = $2")
            .bind(self.run.as_str())
            .bind(name)
            .fetch_optional(&self.ledger.readers)
            .await
            .map_err(|error| broken(path, "read", &error))?;
        text.map(|text| {
            serde_json::from_str(&text).map_err(|error| fault(path, "read", format!("note {name}: {error}")))
        })
        .transpose()
    }

    async fn conflict(&self, row: &ConflictRow) -> Result<()> {
        self.ledger.writer.write(Op::Conflict { run: self.run.clone(), row: Box::new(row.clone()) }).await
    }

    async fn conflicts(&self) -> Result<Vec<ConflictRow>> {
        let mut sql = self.select("SELECT * FROM conflicts");
        sql.push(" ORDER BY lane, key");
        self.read(sql, rows::conflict).await
    }
}
