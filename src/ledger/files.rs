//! What only files keep in the ledger: uploads in parts, verdicts, and items set back.

use super::{
    rows::{self, Unreadable, count, get, int, unword, word},
    writer::FileOp,
};
use crate::{
    model::{Digest, LaneId, RunId},
    ports::{PartSent, UploadRow, VerdictRow},
};
use sqlx::{QueryBuilder, Sqlite, SqliteConnection, sqlite::SqliteRow};

/// Rows per statement, as everywhere.
const STATEMENT_ROWS: usize = 100;

type Sql = Result<(), sqlx::Error>;

/// Carries out one of them.
pub(super) async fn write(connection: &mut SqliteConnection, run: &RunId, op: &FileOp) -> Sql {
    match op {
        FileOp::Reset { lane, keys } => reset(connection, run, lane, keys).await,
        FileOp::BeginUpload(row) => begin_upload(connection, run, row).await,
        FileOp::AddPart { lane, key, part } => add_part(connection, run, (lane, key), part).await,
        FileOp::EndUpload { lane, key } => end_upload(connection, run, lane, key).await,
        FileOp::Judge(rows) => judge(connection, run, rows).await,
        FileOp::ForgetVerdicts { lane } => {
            let sql = "DELETE FROM item_verdicts WHERE run = $1 AND lane = $2";
            sqlx::query(sql).bind(run.as_str()).bind(lane.as_str()).execute(connection).await.map(drop)
        }
    }
}

async fn reset(connection: &mut SqliteConnection, run: &RunId, lane: &LaneId, keys: &[String]) -> Sql {
    for chunk in keys.chunks(STATEMENT_ROWS) {
        let mut sql = QueryBuilder::<Sqlite>::new(
            "UPDATE file_migration_records SET state = 'pending', digest = NULL, attempts = 0, error = NULL, \
             reason = '', before = NULL WHERE run = ",
        );
        sql.push_bind(run.as_str().to_owned()).push(" AND lane = ").push_bind(lane.as_str().to_owned());
        sql.push(" AND key IN (");
        let mut list = sql.separated(", ");
        for key in chunk {
            list.push_bind(key.clone());
        }
        sql.push(")");
        sql.build().execute(&mut *connection).await?;
    }
    Ok(())
}

async fn begin_upload(connection: &mut SqliteConnection, run: &RunId, row: &UploadRow) -> Sql {
    let parts = "DELETE FROM file_parts WHERE run = $1 AND lane = $2 AND key = $3";
    sqlx::query(parts).bind(run.as_str()).bind(row.lane.as_str()).bind(&row.key).execute(&mut *connection).await?;
    let upload = "INSERT INTO file_uploads (run, lane, key, upload, version, size, part_size) \
                  VALUES ($1, $2, $3, $4, $5, $6, $7) \
                  ON CONFLICT (run, lane, key) DO UPDATE SET upload = excluded.upload, version = excluded.version, \
                  size = excluded.size, part_size = excluded.part_size";
    sqlx::query(upload)
        .bind(run.as_str())
        .bind(row.lane.as_str())
        .bind(&row.key)
        .bind(&row.upload)
        .bind(row.version.as_deref())
        .bind(int(row.size))
        .bind(int(row.part_size))
        .execute(connection)
        .await
        .map(drop)
}

async fn add_part(
    connection: &mut SqliteConnection,
    run: &RunId,
    (lane, key): (&LaneId, &str),
    part: &PartSent,
) -> Sql {
    let sql = "INSERT INTO file_parts (run, lane, key, number, tag, sha256, size) VALUES ($1, $2, $3, $4, $5, $6, $7) \
               ON CONFLICT (run, lane, key, number) DO UPDATE SET tag = excluded.tag, sha256 = excluded.sha256, \
               size = excluded.size";
    sqlx::query(sql)
        .bind(run.as_str())
        .bind(lane.as_str())
        .bind(key)
        .bind(part.number)
        .bind(&part.tag)
        .bind(part.sha256.to_hex())
        .bind(int(part.size))
        .execute(connection)
        .await
        .map(drop)
}

async fn end_upload(connection: &mut SqliteConnection, run: &RunId, lane: &LaneId, key: &str) -> Sql {
    for sql in [
        "DELETE FROM file_parts WHERE run = $1 AND lane = $2 AND key = $3",
        "DELETE FROM file_uploads WHERE run = $1 AND lane = $2 AND key = $3",
    ] {
        sqlx::query(sql).bind(run.as_str()).bind(lane.as_str()).bind(key).execute(&mut *connection).await?;
    }
    Ok(())
}

async fn judge(connection: &mut SqliteConnection, run: &RunId, rows: &[VerdictRow]) -> Sql {
    for chunk in rows.chunks(STATEMENT_ROWS) {
        let mut sql = QueryBuilder::<Sqlite>::new("INSERT INTO item_verdicts (run, lane, key, verdict, detail, at) ");
        sql.push_values(chunk, |mut row, verdict| {
            row.push_bind(run.as_str().to_owned())
                .push_bind(verdict.lane.as_str().to_owned())
                .push_bind(verdict.key.clone())
                .push_bind(word(&verdict.verdict))
                .push_bind(verdict.detail.clone())
                .push_bind(verdict.at.to_string());
        });
        sql.push(
            " ON CONFLICT (run, lane, key) DO UPDATE SET verdict = excluded.verdict, detail = excluded.detail, \
             at = excluded.at",
        );
        sql.build().execute(&mut *connection).await?;
    }
    Ok(())
}

/// An upload without its parts.
pub(super) fn upload(row: &SqliteRow) -> Result<UploadRow, Unreadable> {
    Ok(UploadRow {
        lane: LaneId::new(get::<String>(row, "lane")?),
        key: get(row, "key")?,
        upload: get(row, "upload")?,
        version: get(row, "version")?,
        size: count(get(row, "size")?)?,
        part_size: count(get(row, "part_size")?)?,
        parts: Vec::new(),
    })
}

pub(super) fn part(row: &SqliteRow) -> Result<PartSent, Unreadable> {
    Ok(PartSent {
        number: get(row, "number")?,
        tag: get(row, "tag")?,
        sha256: Digest::from_hex(get(row, "sha256")?).ok_or("a digest that is none")?,
        size: count(get(row, "size")?)?,
    })
}

pub(super) fn verdict(row: &SqliteRow) -> Result<VerdictRow, Unreadable> {
    Ok(VerdictRow {
        lane: LaneId::new(get::<String>(row, "lane")?),
        key: get(row, "key")?,
        verdict: unword(get(row, "verdict")?)?,
        detail: get(row, "detail")?,
        at: rows::time(row, "at")?,
    })
}
