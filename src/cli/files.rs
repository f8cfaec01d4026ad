//! The files of a run as its ledger knows them: lists, and a manifest of what arrived. Page after page, so that memory
//! stays small however many there are.

use super::{
    Trouble,
    args::FilesArgs,
    desk::{Desk, Front},
    print::{err, in_bytes, lines, out, word},
};
use crate::{
    error::FaultKind,
    migrate::files::{ALREADY_THERE, FileFacts},
    model::{ItemState, LaneId, LaneKind, text::clean},
    ports::{ItemQuery, ItemRow},
    wiring::{self, Reads},
};
use serde_json::{Value, json};
use std::{collections::BTreeMap, fmt::Write as _};

/// Files read from the ledger together.
const PAGE: u32 = 500;
/// Characters of a key or a reason shown.
const LONGEST: usize = 500;

/// The lanes of the run, in the plan's order where the plan can be read; only the one that was asked for, if any.
pub(super) async fn lanes(desk: &Desk, reads: &Reads, asked: Option<&str>) -> Result<Vec<(LaneId, LaneKind)>, Trouble> {
    let mut lanes = reads.work.lanes().await?;
    if let Some(asked) = asked {
        let names: Vec<String> = lanes.iter().map(|(lane, _)| lane.to_string()).collect();
        lanes.retain(|(lane, _)| lane.as_str() == asked);
        if lanes.is_empty() {
            return Err(Trouble::Usage(format!("no lane `{asked}` has begun; those that have: {}", names.join(", "))));
        }
    }
    // Without the plan's variables in this terminal the names' own order must do.
    if let Ok(plan) = desk.plan() {
        let of_datasets = plan.datasets.iter().flat_map(|set| [set.lane(), set.blob_lane()]);
        let order: Vec<LaneId> = of_datasets.chain(plan.file_sets.iter().map(crate::plan::FileSetPlan::lane)).collect();
        lanes.sort_by_key(|(lane, _)| order.iter().position(|known| known == lane));
    }
    Ok(lanes)
}

/// The lanes of files among them.
async fn of_files(desk: &Desk, reads: &Reads, asked: Option<&str>) -> Result<Vec<LaneId>, Trouble> {
    let lanes = lanes(desk, reads, asked).await?;
    if let (Some(asked), [(_, LaneKind::Records)]) = (asked, lanes.as_slice()) {
        return Err(Trouble::Usage(format!("lane `{asked}` moves records, not files")));
    }
    Ok(lanes.into_iter().filter(|(_, kind)| *kind == LaneKind::Files).map(|(lane, _)| lane).collect())
}

/// Gives what the query finds to `take`, page after page, until it says that it is enough.
pub(super) async fn each_page(
    reads: &Reads,
    query: &ItemQuery,
    mut take: impl FnMut(Vec<ItemRow>) -> bool,
) -> Result<(), Trouble> {
    let mut query = ItemQuery { limit: PAGE, ..query.clone() };
    loop {
        let items = reads.work.items(&query).await?;
        let Some(last) = items.last() else { return Ok(()) };
        query.after = Some(last.key.clone());
        if !take(items) {
            return Ok(());
        }
    }
}

/// `cutover files`.
pub(super) async fn files(desk: &Desk, asked: &FilesArgs) -> Result<u8, Trouble> {
    let reads = wiring::reads(&desk.home()?).await?;
    let listed = list(desk, &reads, asked).await;
    reads.close().await;
    listed.map(|()| 0)
}

async fn list(desk: &Desk, reads: &Reads, asked: &FilesArgs) -> Result<(), Trouble> {
    let mut left = asked.limit.unwrap_or(u64::MAX);
    let mut table = Table::new(desk);
    for lane in of_files(desk, reads, asked.lane.as_deref()).await? {
        let query = ItemQuery {
            lane: Some(lane),
            states: asked.state.into_iter().collect(),
            error: asked.error,
            text: asked.path.clone(),
            ..ItemQuery::default()
        };
        each_page(reads, &query, |mut items| {
            items.truncate(usize::try_from(left).unwrap_or(usize::MAX));
            left -= items.len() as u64;
            table.show(&items) && left > 0
        })
        .await?;
    }
    table.end("no such files");
    Ok(())
}

/// A table of files, or a line of JSON for each.
pub(super) struct Table {
    json: bool,
    rows: u64,
    kinds: BTreeMap<&'static str, FaultKind>,
}

impl Table {
    /// An empty one.
    pub(super) fn new(desk: &Desk) -> Self {
        Self { json: desk.front == Front::Json, rows: 0, kinds: BTreeMap::new() }
    }

    /// Shows these too; false if nobody reads any more.
    pub(super) fn show(&mut self, items: &[ItemRow]) -> bool {
        let mut text = String::new();
        if self.rows == 0 && !self.json && !items.is_empty() {
            text += "state            bytes try error        key  reason\n";
        }
        self.rows += items.len() as u64;
        for item in items {
            self.kinds.extend(item.error.map(|kind| (kind.word(), kind)));
            let line = if self.json { in_json(item).to_string() } else { row(item) };
            let _infallible = writeln!(text, "{line}");
        }
        lines(&text)
    }

    /// What can be done about the errors, once for each kind; or that there is nothing.
    pub(super) fn end(&self, nothing: &str) {
        if self.json {
            return;
        }
        if self.rows == 0 {
            out(nothing);
        }
        for (word, kind) in &self.kinds {
            out(format!("{word}: {}", kind.remedy()));
        }
    }
}

fn row(item: &ItemRow) -> String {
    format!(
        "{:<11} {:>10} {:>3} {:<12} {}  {}",
        word(&item.state),
        in_bytes(item.bytes),
        item.attempts,
        item.error.map_or("", FaultKind::word),
        clean(&item.key, LONGEST),
        clean(&item.reason, LONGEST)
    )
    .trim_end()
    .to_owned()
}

/// A file for a program.
pub(super) fn in_json(item: &ItemRow) -> Value {
    json!({
        "lane": item.lane,
        "key": item.key,
        "source": item.source,
        "record": FileFacts::of(item).record,
        "batch": item.batch,
        "state": item.state,
        "bytes": item.bytes,
        "attempts": item.attempts,
        "sha256": item.digest.map(crate::model::Digest::to_hex),
        "error": item.error,
        "reason": item.reason,
        "remedy": item.error.map(FaultKind::remedy),
    })
}

/// `cutover manifest`.
pub(super) async fn manifest(desk: &Desk, asked: Option<&str>) -> Result<u8, Trouble> {
    let reads = wiring::reads(&desk.home()?).await?;
    let told = tell_manifest(desk, &reads, asked).await;
    reads.close().await;
    told.map(|()| 0)
}

async fn tell_manifest(desk: &Desk, reads: &Reads, asked: Option<&str>) -> Result<(), Trouble> {
    let json = desk.front == Front::Json;
    let mut nameless = 0_u64;
    for lane in of_files(desk, reads, asked).await? {
        let states = vec![ItemState::Verified, ItemState::Skipped];
        let query = ItemQuery { lane: Some(lane), states, ..ItemQuery::default() };
        each_page(reads, &query, |items| {
            let mut text = String::new();
            for item in items.iter().filter(|item| item.state == ItemState::Verified || item.reason == ALREADY_THERE) {
                match item.digest.map(crate::model::Digest::to_hex) {
                    Some(hex) if json => {
                        let _infallible = writeln!(text, "{}", in_manifest(item, &hex));
                    }
                    Some(hex) => text += &sum_line(&hex, &item.key),
                    None => nameless += 1,
                }
            }
            lines(&text)
        })
        .await?;
    }
    if nameless > 0 {
        err(format!("cutover: {nameless} files have no SHA-256 in the ledger and are not listed"));
    }
    Ok(())
}

fn in_manifest(item: &ItemRow, hex: &str) -> Value {
    json!({
        "key": item.key,
        "source": item.source,
        "sha256": hex,
        "bytes": item.bytes,
        "state": item.state,
        "version": FileFacts::of(item).version,
    })
}

/// A line as `sha256sum` writes it: a name with a backslash or a line break is escaped, and a backslash before the sum
/// says so.
fn sum_line(hex: &str, key: &str) -> String {
    if key.contains(['\\', '\n', '\r']) {
        let name = key.replace('\\', "\\\\").replace('\n', "\\n").replace('\r', "\\r");
        format!("\\{hex}  {name}\n")
    } else {
        format!("{hex}  {key}\n")
    }
}

/// A batch that is not there.
pub(super) fn no_batch(batch: &str) -> Trouble {
    Trouble::Usage(format!("no batch `{}`: `cutover batches` lists them", clean(batch, 80)))
}

#[cfg(test)]
mod tests {
    use super::sum_line;
    use crate::model::Digest;
    use std::{fs, io::Write as _, process};

    #[test]
    fn sha256sum_reads_the_manifest() {
        let dir = tempfile::tempdir().unwrap();
        let mut manifest = String::new();
        for key in ["plain.csv", "ü and  spaces .csv", "back\\slash\\n", "line\nbreak", "*star", "-dash", " lead"] {
            let bytes = format!("content of {key}");
            fs::write(dir.path().join(key), &bytes).unwrap();
            manifest += &sum_line(&Digest::of(bytes.as_bytes()).to_hex(), key);
        }
        let mut check = process::Command::new("sha256sum")
            .args(["--check", "--strict", "--quiet", "-"])
            .current_dir(dir.path())
            .stdin(process::Stdio::piped())
            .spawn()
            .expect("sha256sum (package coreutils)");
        check.stdin.take().unwrap().write_all(manifest.as_bytes()).unwrap();
        assert!(check.wait().unwrap().success(), "{manifest}");
    }
}
