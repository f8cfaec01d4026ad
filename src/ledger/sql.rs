//! The statements that write. Placeholders are `$1`, which other databases understand too.

use super::{
    blocks,
    fault::{broken, fault},
    rows::{int, word},
    writer::Rows,
};
use crate::{
    error::{FaultKind, Result},
    model::{Digest, ItemState, LaneId, LaneKind, RunId},
    ports::{BatchRow, ConflictRow, ItemRow},
};
use sha2::{Digest as _, Sha256};
use sqlx::{QueryBuilder, Sqlite, SqliteConnection};
use std::path::Path;

/// Rows per statement: few enough for every database's limit on placeholders.
const STATEMENT_ROWS: usize = 100;

type Sql = std::result::Result<(), sqlx::Error>;

/// The hash of the row before the first: binds the chain to its run.
pub(super) fn genesis(run: &RunId) -> Digest {
    Digest::of(run.as_str().as_bytes())
}

/// The hash of a row: over the hash before it and the row's text.
pub(super) fn link(before: &Digest, body: &str) -> Digest {
    Digest(Sha256::new().chain_update(before.0).chain_update(body.as_bytes()).finalize().into())
}

pub(super) async fn append(connection: &mut SqliteConnection, path: &Path, rows: &Rows) -> Result<()> {
    let sql = |error: sqlx::Error| broken(path, "append to", &error);
    let head: Option<(i64, String)> = sqlx::query_as("SELECT events, head FROM runs WHERE run = $1")
        .bind(rows.run.as_str())
        .fetch_optional(&mut *connection)
        .await
        .map_err(sql)?;
    let (mut seq, mut hash) = match &head {
        None => (0, genesis(&rows.run)),
        Some((events, head)) => {
            let hash = Digest::from_hex(head).ok_or_else(|| fault(path, "append to", "its head is damaged"))?;
            (u64::try_from(*events).unwrap_or(0), hash)
        }
    };
    for (number, body) in &rows.events {
        seq += 1;
        if *number != seq {
            // A second writer, or a mistake in the engine: either way the order of decisions is no longer known.
            return Err(fault(
                path,
                "append to",
                format!("event {number} of run {} cannot follow {}", rows.run, seq - 1),
            ));
        }
        hash = link(&hash, body);
        sqlx::query("INSERT INTO journal (run, seq, body, hash) VALUES ($1, $2, $3, $4)")
            .bind(rows.run.as_str())
            .bind(int(seq))
            .bind(body)
            .bind(hash.to_hex())
            .execute(&mut *connection)
            .await
            .map_err(sql)?;
    }
    let upsert = "INSERT INTO runs (run, plan, started, events, head, outcome) VALUES ($1, $2, $3, $4, $5, $6) \
                  ON CONFLICT (run) DO UPDATE SET events = excluded.events, head = excluded.head, \
                  outcome = CASE WHEN $7 THEN runs.outcome ELSE excluded.outcome END";
    sqlx::query(upsert)
        .bind(rows.run.as_str())
        .bind(rows.plan.as_deref().unwrap_or_default())
        .bind(&rows.at)
        .bind(int(seq))
        .bind(hash.to_hex())
        .bind(rows.outcome.as_deref())
        .bind(rows.keeps_outcome)
        .execute(&mut *connection)
        .await
        .map_err(sql)?;
    Ok(())
}

/// The tables of a kind of lane: batches, items.
const fn tables(kind: LaneKind) -> (&'static str, &'static str) {
    match kind {
        LaneKind::Records => ("record_batches", "record_items"),
        LaneKind::Files => ("file_migration_batches", "file_migration_records"),
    }
}

/// Writes batches, all of one kind, their items, and notes.
pub(super) async fn save(
    connection: &mut SqliteConnection,
    run: &RunId,
    batches: &[BatchRow],
    items: &[ItemRow],
    notes: &[(String, String)],
) -> Sql {
    if let Some(kind) = batches.first().map(|batch| batch.kind) {
        let (table, _) = tables(kind);
        for chunk in batches.chunks(STATEMENT_ROWS) {
            save_batches(connection, run, table, chunk).await?;
        }
        save_items(connection, run, kind, items).await?;
    }
    for (name, value) in notes {
        note(connection, run, name, value).await?;
    }
    Ok(())
}

pub(super) async fn save_batches(
    connection: &mut SqliteConnection,
    run: &RunId,
    table: &'static str,
    batches: &[BatchRow],
) -> Sql {
    let mut sql = QueryBuilder::<Sqlite>::new("INSERT INTO ");
    sql.push(table).push(
        " (run, batch, lane, number, state, from_mark, next_mark, items, failed, bytes, attempts, error, started, \
         finished) ",
    );
    sql.push_values(batches, |mut row, batch| {
        row.push_bind(run.as_str().to_owned())
            .push_bind(batch.batch.as_str().to_owned())
            .push_bind(batch.lane.as_str().to_owned())
            .push_bind(int(batch.number))
            .push_bind(word(&batch.state))
            .push_bind(batch.from.clone())
            .push_bind(batch.next.clone())
            .push_bind(int(batch.items))
            .push_bind(int(batch.failed))
            .push_bind(int(batch.bytes))
            .push_bind(batch.attempts)
            .push_bind(batch.error.clone())
            .push_bind(batch.started.map(|at| at.to_string()))
            .push_bind(batch.finished.map(|at| at.to_string()));
    });
    sql.push(
        " ON CONFLICT (run, batch) DO UPDATE SET lane = excluded.lane, number = excluded.number, \
         state = excluded.state, from_mark = excluded.from_mark, next_mark = excluded.next_mark, \
         items = excluded.items, failed = excluded.failed, bytes = excluded.bytes, attempts = excluded.attempts, \
         error = excluded.error, started = excluded.started, finished = excluded.finished",
    );
    sql.build().execute(connection).await.map(drop)
}

async fn save_items(connection: &mut SqliteConnection, run: &RunId, kind: LaneKind, items: &[ItemRow]) -> Sql {
    if let (LaneKind::Records, Some(first)) = (kind, items.first()) {
        let keys: Vec<&str> = items.iter().map(|item| item.key.as_str()).collect();
        blocks::let_out(connection, run, &first.lane, keys).await?;
    }
    insert_items(connection, run, kind, items).await
}

/// Writes items as rows of their own, whether or not they stand in a block.
pub(super) async fn insert_items(
    connection: &mut SqliteConnection,
    run: &RunId,
    kind: LaneKind,
    items: &[ItemRow],
) -> Sql {
    for chunk in items.chunks(STATEMENT_ROWS) {
        insert_chunk(connection, run, kind, chunk).await?;
    }
    Ok(())
}

async fn insert_chunk(connection: &mut SqliteConnection, run: &RunId, kind: LaneKind, items: &[ItemRow]) -> Sql {
    let (_, table) = tables(kind);
    let mut sql = QueryBuilder::<Sqlite>::new("INSERT INTO ");
    sql.push(table);
    sql.push(" (run, lane, key, batch, state, source, digest, bytes, attempts, error, reason, facts, before) ");
    sql.push_values(items, |mut row, item| {
        row.push_bind(run.as_str().to_owned())
            .push_bind(item.lane.as_str().to_owned())
            .push_bind(item.key.clone())
            .push_bind(item.batch.as_str().to_owned())
            .push_bind(word(&item.state))
            .push_bind(item.source.clone())
            .push_bind(item.digest.map(Digest::to_hex))
            .push_bind(int(item.bytes))
            .push_bind(item.attempts)
            .push_bind(item.error.map(FaultKind::word))
            .push_bind(item.reason.clone())
            .push_bind(item.facts.as_ref().map(ToString::to_string))
            .push_bind(item.before.as_ref().map(ToString::to_string));
    });
    sql.push(
        " ON CONFLICT (run, lane, key) DO UPDATE SET batch = excluded.batch, state = excluded.state, \
         source = excluded.source, digest = excluded.digest, bytes = excluded.bytes, attempts = excluded.attempts, \
         error = excluded.error, reason = excluded.reason, facts = excluded.facts",
    );
    // Of a record the first word on `before` counts, also if it is none; a file is known before anybody looked.
    if kind == LaneKind::Files {
        sql.push(", before = coalesce(").push(table).push(".before, excluded.before)");
    }
    sql.build().execute(connection).await.map(drop)
}

pub(super) async fn mark(
    connection: &mut SqliteConnection,
    run: &RunId,
    lane: &LaneId,
    keys: &[String],
    (state, reason): (ItemState, &str),
) -> Sql {
    blocks::let_out(connection, run, lane, keys.iter().map(String::as_str).collect()).await?;
    for chunk in keys.chunks(STATEMENT_ROWS) {
        // A lane's items stand in one of the two tables; the caller need not know which.
        for table in ["record_items", "file_migration_records"] {
            let mut sql = QueryBuilder::<Sqlite>::new("UPDATE ");
            sql.push(table).push(" SET state = ").push_bind(word(&state));
            sql.push(", reason = ").push_bind(reason.to_owned());
            sql.push(" WHERE run = ").push_bind(run.as_str().to_owned());
            sql.push(" AND lane = ").push_bind(lane.as_str().to_owned());
            sql.push(" AND key IN (");
            let mut list = sql.separated(", ");
            for key in chunk {
                list.push_bind(key.clone());
            }
            sql.push(")");
            sql.build().execute(&mut *connection).await?;
        }
    }
    Ok(())
}

pub(super) async fn forget(connection: &mut SqliteConnection, run: &RunId, lane: &LaneId) -> Sql {
    for sql in [
        "DELETE FROM record_items WHERE run = $1 AND lane = $2",
        "DELETE FROM record_blocks WHERE run = $1 AND lane = $2",
        "DELETE FROM block_bodies WHERE run = $1 AND lane = $2",
        "DELETE FROM file_migration_records WHERE run = $1 AND lane = $2",
        "DELETE FROM record_batches WHERE run = $1 AND lane = $2",
        "DELETE FROM file_migration_batches WHERE run = $1 AND lane = $2",
        "DELETE FROM file_uploads WHERE run = $1 AND lane = $2",
        "DELETE FROM file_parts WHERE run = $1 AND lane = $2",
        "DELETE FROM item_verdicts WHERE run = $1 AND lane = $2",
    ] {
        sqlx::query(sql).bind(run.as_str()).bind(lane.as_str()).execute(&mut *connection).await?;
    }
    Ok(())
}

pub(super) async fn note(connection: &mut SqliteConnection, run: &RunId, name: &str, value: &str) -> Sql {
    let sql = "INSERT INTO notes (run, name, value) VALUES ($1, $2, $3) \
               ON CONFLICT (run, name) DO UPDATE SET value = excluded.value";
    sqlx::query(sql).bind(run.as_str()).bind(name).bind(value).execute(connection).await.map(drop)
}

pub(super) async fn conflict(connection: &mut SqliteConnection, run: &RunId, row: &ConflictRow) -> Sql {
    let sql = "INSERT INTO conflicts (run, lane, key, legacy, new, resolution, at) VALUES ($1, $2, $3, $4, $5, $6, $7) \
               ON CONFLICT (run, lane, key) DO UPDATE SET legacy = excluded.legacy, new = excluded.new, \
               resolution = excluded.resolution, at = excluded.at";
    sqlx::query(sql)
        .bind(run.as_str())
        .bind(row.lane.as_str())
        .bind(&row.key)
        .bind(row.legacy.to_string())
        .bind(row.new.to_string())
        .bind(&row.resolution)
        .bind(row.at.to_string())
        .execute(connection)
        .await
        .map(drop)
}
