//! Backups of what stands on the new side before the run touches it.
//!
//! A backup is two files: `<dataset>.jsonl`, a row a line, and `<dataset>.json` with count and SHA-256. The second is
//! written last and renamed into place, so a backup without it is none.

use super::lane::{Lane, Which};
use crate::{
    engine::{StepContext, StepDone},
    error::{Fault, FaultKind, Result},
    model::{Check, Digest, LaneKind, LaneStage, Record, Timestamp, Verdict},
    plan::DatasetPlan,
    ports::Cursor,
};
use futures::StreamExt as _;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::{
    io,
    path::{Path, PathBuf},
    pin::pin,
};
use tokio::{
    fs,
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, BufWriter},
};

/// What stands beside the rows.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Seal {
    dataset: String,
    rows: u64,
    sha256: Digest,
    taken: Timestamp,
}

struct Places {
    folder: PathBuf,
    rows: PathBuf,
    seal: PathBuf,
}

impl Places {
    fn of(cx: &StepContext, dataset: &DatasetPlan) -> Self {
        let run = cx.work.run().as_str();
        let folder = match &cx.plan.migration.backups {
            Some(folder) => folder.join(run),
            None => cx.folder.join("backups"),
        };
        let file = |ending: &str| folder.join(format!("{}.{ending}", dataset.name));
        Self { rows: file("jsonl"), seal: file("json"), folder }
    }

    async fn sealed(&self) -> Result<Option<Seal>> {
        match fs::read(&self.seal).await {
            Ok(text) => Ok(serde_json::from_slice(&text).ok()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(disk("read", &self.seal, error)),
        }
    }
}

/// Writes the dataset's whole target set as JSON lines with count and SHA-256 beside it, into the plan's backup folder
/// or the run's. Durable on return. A backup of this run that is already there and whole is kept: it is the one from
/// before the run wrote anything.
///
/// # Errors
/// What the store says; `Disk` or `Permission` for the folder; `Cancelled` when stopped.
pub async fn take(cx: &StepContext, dataset: &DatasetPlan) -> Result<StepDone> {
    let places = Places::of(cx, dataset);
    if let Some(seal) = places.sealed().await?
        && matches!(restored(cx, &places).await, Ok(found) if found == (seal.rows, seal.sha256))
    {
        return Ok(StepDone::new(format!("{}: backup of {} rows is there", dataset.name, seal.rows)));
    }
    fs::create_dir_all(&places.folder).await.map_err(|error| disk("make", &places.folder, error))?;
    let lane = Lane::new(cx, dataset, LaneKind::Records, LaneStage::Waiting)?;
    let temporary = places.rows.with_extension("jsonl.part");
    let (rows, sha256) = write_rows(&lane, &temporary).await?;
    fs::rename(&temporary, &places.rows).await.map_err(|error| disk("rename", &temporary, error))?;
    let seal = Seal { dataset: dataset.name.clone(), rows, sha256, taken: Timestamp::now() };
    let text = serde_json::to_vec_pretty(&seal)
        .map_err(|error| Fault::new(FaultKind::Internal, "write a backup's seal").source(error))?;
    durable(&places.seal, &text).await?;
    sync_folder(&places.folder).await?;
    Ok(StepDone::new(format!("{}: {rows} rows backed up", dataset.name)))
}

async fn write_rows(lane: &Lane<'_>, path: &Path) -> Result<(u64, Digest)> {
    let file = fs::File::create(path).await.map_err(|error| disk("make", path, error))?;
    let mut out = BufWriter::new(file);
    let mut hasher = Sha256::new();
    let mut rows = 0;
    let limit = lane.cx.plan.migration.batch_records;
    let mut pages = pin!(lane.pages(&lane.new, Which::All, Cursor::START, limit));
    while let Some(read) = pages.next().await {
        for record in read?.page.records {
            let row = format!("{}\n", record.to_json());
            hasher.update(&row);
            out.write_all(row.as_bytes()).await.map_err(|error| disk("write", path, error))?;
            rows += 1;
        }
    }
    out.flush().await.map_err(|error| disk("write", path, error))?;
    out.get_ref().sync_all().await.map_err(|error| disk("write", path, error))?;
    Ok((rows, Digest(hasher.finalize().into())))
}

/// Restores the backup into a scratch place beside it (reads, parses and writes every row anew), compares count and
/// SHA-256, removes the scratch and says so in a check.
///
/// # Errors
/// `Mismatch` if the backup is not what was written; `NotFound` if there is none.
pub async fn prove(cx: &StepContext, dataset: &DatasetPlan) -> Result<StepDone> {
    let places = Places::of(cx, dataset);
    let doing = || format!("prove the backup of {}", dataset.name);
    let seal = places.sealed().await?.ok_or_else(|| {
        Fault::new(FaultKind::NotFound, doing()).detail(format!("{} is not there", places.seal.display()))
    })?;
    let (rows, sha256) = restored(cx, &places).await?;
    if (rows, sha256) != (seal.rows, seal.sha256) {
        let detail = format!("{rows} rows came back, {} were written, or their bytes differ", seal.rows);
        return Err(Fault::new(FaultKind::Mismatch, doing()).detail(detail));
    }
    let value = format!("{rows} rows written, read back and equal");
    let check =
        Check::new(format!("backup of {} restored", dataset.name), Verdict::Pass, value.clone(), Timestamp::now())
            .limit("every row, same SHA-256");
    Ok(StepDone::new(format!("{}: {value}", dataset.name)).checks(vec![check]))
}

/// Restores into a scratch place, which goes in any case.
async fn restored(cx: &StepContext, places: &Places) -> Result<(u64, Digest)> {
    let scratch = places.rows.with_extension("scratch");
    let restored = cx.signals.unless_stopped("restore a backup", restore(&places.rows, &scratch)).await;
    // One that was never made is gone already.
    let _gone = fs::remove_file(&scratch).await;
    restored
}

/// Reads every row, understands it, and writes it anew; count and SHA-256 of what was written.
async fn restore(from: &Path, to: &Path) -> Result<(u64, Digest)> {
    let file = fs::File::open(from).await.map_err(|error| disk("read", from, error))?;
    let mut lines = BufReader::new(file).lines();
    let mut out = BufWriter::new(fs::File::create(to).await.map_err(|error| disk("make", to, error))?);
    let (mut rows, mut hasher) = (0, Sha256::new());
    while let Some(line) = lines.next_line().await.map_err(|error| disk("read", from, error))? {
        let record = serde_json::from_str(&line).ok().and_then(Record::from_json).ok_or_else(|| {
            Fault::new(FaultKind::Mismatch, format!("read {}", from.display()))
                .detail(format!("row {} is not a record", rows + 1))
        })?;
        let line = format!("{}\n", record.to_json());
        hasher.update(&line);
        out.write_all(line.as_bytes()).await.map_err(|error| disk("write", to, error))?;
        rows += 1;
    }
    out.flush().await.map_err(|error| disk("write", to, error))?;
    Ok((rows, Digest(hasher.finalize().into())))
}

/// Writes beside, syncs, renames: the file is there whole or not at all.
async fn durable(path: &Path, bytes: &[u8]) -> Result<()> {
    let temporary = path.with_extension("part");
    let mut file = fs::File::create(&temporary).await.map_err(|error| disk("make", &temporary, error))?;
    file.write_all(bytes).await.map_err(|error| disk("write", &temporary, error))?;
    file.sync_all().await.map_err(|error| disk("write", &temporary, error))?;
    fs::rename(&temporary, path).await.map_err(|error| disk("rename", &temporary, error))
}

async fn sync_folder(folder: &Path) -> Result<()> {
    let open = fs::File::open(folder).await.map_err(|error| disk("open", folder, error))?;
    open.sync_all().await.map_err(|error| disk("sync", folder, error))
}

fn disk(doing: &str, path: &Path, error: io::Error) -> Fault {
    let kind = if error.kind() == io::ErrorKind::PermissionDenied { FaultKind::Permission } else { FaultKind::Disk };
    Fault::new(kind, format!("{doing} {}", path.display())).source(error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::migrate::world::{World, users};
    use serde_json::json;

    #[tokio::test]
    async fn a_backup_is_proven_and_a_hurt_one_found() {
        let world = World::new(0, 0);
        for id in 1..=7 {
            let row = json!({"id": id, "text": "line\nbreak ü \u{2028}", "n": null, "j": {"b": 1, "a": [1.5]}});
            world.new.put("users", row);
        }
        let cx = world.start();
        assert_eq!(prove(&cx, &users()).await.unwrap_err().kind, FaultKind::NotFound);
        let done = take(&cx, &users()).await.unwrap();
        assert!(done.summary.contains("7 rows"), "{}", done.summary);
        prove(&cx, &users()).await.unwrap();
        // The one from before the run is kept, whatever stands there now.
        world.new.remove("users", "1");
        take(&cx, &users()).await.unwrap();
        assert!(prove(&cx, &users()).await.unwrap().summary.contains("7 rows"));
        let path = world.folder.path().join("backups/users.jsonl");
        let hurt = std::fs::read_to_string(&path).unwrap().replacen("\"id\":3", "\"id\":4", 1);
        std::fs::write(&path, hurt).unwrap();
        assert_eq!(prove(&cx, &users()).await.unwrap_err().kind, FaultKind::Mismatch);
        assert!(take(&cx, &users()).await.unwrap().summary.contains("6 rows"));
        prove(&cx, &users()).await.unwrap();
        let left: Vec<_> = std::fs::read_dir(path.parent().unwrap()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(left.len(), 2, "{left:?}");
    }
}
