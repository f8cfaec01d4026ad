//! The batches of a run as its ledger knows them: lists, one with its files, and a view that follows them, from any
//! terminal, whether or not an engine runs.

use super::{
    Trouble,
    args::BatchesArgs,
    desk::{Desk, Front},
    files::{self, Table},
    in_place::InPlace,
    print::{in_bytes, lines, out, word},
};
use crate::{
    ledger::{Ledger, RunLock},
    model::{BatchId, BatchProgress, BatchState, LaneId, Timestamp, text::clean},
    ports::{BatchQuery, BatchRow, ItemQuery},
    wiring::{self, Reads},
};
use serde_json::json;
use std::{
    collections::{BTreeMap, VecDeque},
    fmt::Write as _,
    io::IsTerminal as _,
    path::PathBuf,
    time::{Duration, Instant},
};

/// Batches read from the ledger together.
const PAGE: u32 = 500;
/// How often the ledger is looked at.
const EVERY: Duration = Duration::from_millis(500);
/// Batches under way that are followed, and ended ones that stay in sight.
const FOLLOWED: (u32, usize) = (64, 8);
/// What is above a table.
const HEAD: &str = "batch                    state       items    done  failed        bytes try  error";

/// `cutover batches`.
pub(super) async fn batches(desk: &Desk, asked: &BatchesArgs) -> Result<u8, Trouble> {
    let home = desk.home()?;
    if !Ledger::exists(&home) {
        out(if desk.front == Front::Json { "[]" } else { "no batches" });
        return Ok(0);
    }
    let look = Look { home: home.clone(), reads: wiring::reads(&home).await? };
    let done = match &asked.batch {
        _ if asked.watch => look.watch(desk, asked).await,
        Some(batch) => look.one(desk, batch).await,
        None => look.list(desk, asked).await,
    };
    look.reads.close().await;
    done.map(|()| 0)
}

struct Look {
    home: PathBuf,
    reads: Reads,
}

impl Look {
    fn engine_runs(&self) -> bool {
        RunLock::holder(&self.home).is_some()
    }

    /// The batch as it stands; what an ended process left running is not running now.
    async fn progress(&self, row: BatchRow, running: bool) -> Result<BatchProgress, Trouble> {
        let begun = row.state.is_live() || row.state == BatchState::Failed;
        let done = match row.state {
            BatchState::Done => row.items,
            _ if begun => {
                let tally = self.reads.work.batch_tally(&row.batch).await?;
                tally.ended() + tally.copied
            }
            _ => 0,
        };
        let state = if row.state.is_live() && !running { BatchState::Pending } else { row.state };
        Ok(BatchRow { state, ..row }.into_progress(done))
    }

    async fn list(&self, desk: &Desk, asked: &BatchesArgs) -> Result<(), Trouble> {
        let (json, running) = (desk.front == Front::Json, self.engine_runs());
        let mut count = 0_u64;
        for (lane, _) in files::lanes(desk, &self.reads, asked.lane.as_deref()).await? {
            let mut query = BatchQuery { lane: Some(lane), limit: PAGE, ..BatchQuery::default() };
            loop {
                let rows = self.reads.work.batch_page(&query).await?;
                let Some(last) = rows.last() else { break };
                query.after = last.number;
                let mut text = String::new();
                for row in rows {
                    if asked.failed && row.state != BatchState::Failed && row.failed == 0 {
                        continue;
                    }
                    let batch = self.progress(row, running).await?;
                    if json {
                        text += if count == 0 { "[" } else { "," };
                        text += &as_json(&batch)?;
                    } else {
                        if count == 0 {
                            let _infallible = writeln!(text, "{HEAD}");
                        }
                        let _infallible = writeln!(text, "{}", line(&batch));
                    }
                    count += 1;
                }
                if !lines(&text) {
                    return Ok(());
                }
            }
        }
        match (count, json) {
            (0, true) => out("[]"),
            (0, false) => out("no batches"),
            (_, true) => out("]"),
            (_, false) => {}
        }
        Ok(())
    }

    async fn find(&self, batch: &str) -> Result<BatchRow, Trouble> {
        let query = BatchQuery { batch: Some(BatchId::new(batch)), limit: 1, ..BatchQuery::default() };
        let rows = self.reads.work.batch_page(&query).await?;
        rows.into_iter().next().ok_or_else(|| files::no_batch(batch))
    }

    /// `cutover batches ID`.
    async fn one(&self, desk: &Desk, batch: &str) -> Result<(), Trouble> {
        let row = self.find(batch).await?;
        let limit = u32::try_from(row.items).unwrap_or(u32::MAX).max(1);
        let lane = Some(row.lane.clone());
        let query = ItemQuery { lane, batch: Some(row.batch.clone()), limit, ..ItemQuery::default() };
        let items = self.reads.work.items(&query).await?;
        let batch = self.progress(row, self.engine_runs()).await?;
        if desk.front == Front::Json {
            let items: Vec<_> = items.iter().map(files::in_json).collect();
            out(json!({ "batch": batch, "items": items }).to_string());
            return Ok(());
        }
        out(HEAD);
        out(line(&batch));
        out("");
        let mut table = Table::new(desk);
        table.show(&items);
        table.end("no items: they went on in later batches");
        Ok(())
    }

    /// Follows batches until the run ends or a person has seen enough.
    async fn watch(&self, desk: &Desk, asked: &BatchesArgs) -> Result<(), Trouble> {
        let one = match &asked.batch {
            Some(batch) => Some(self.find(batch).await?.batch),
            None => None,
        };
        let lanes = files::lanes(desk, &self.reads, asked.lane.as_deref()).await?;
        let mut watch = Watch::new(desk, one, asked.lane.as_ref().and(lanes.into_iter().next()).map(|(lane, _)| lane));
        let mut ran = false;
        let mut ticks = tokio::time::interval(EVERY);
        let enough = tokio::signal::ctrl_c();
        tokio::pin!(enough);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                _ = &mut enough => return Ok(()),
            }
            let running = self.engine_runs();
            let rows = watch.wanted(&self.reads).await?;
            let mut now = Vec::with_capacity(rows.len());
            for row in rows {
                now.push(self.progress(row, running).await?);
            }
            if !watch.show(now) || (!running && (ran || self.is_over().await?)) {
                return Ok(());
            }
            ran |= running;
        }
    }

    /// Nobody moves it on by itself any more.
    async fn is_over(&self) -> Result<bool, Trouble> {
        Ok(self.reads.look_again().await?.is_none_or(|run| run.outcome.is_some()))
    }
}

/// What is followed, and how it stood at the last look.
struct Watch {
    front: Front,
    /// Drawn in place, on a terminal.
    place: Option<InPlace>,
    one: Option<BatchId>,
    lane: Option<LaneId>,
    known: BTreeMap<BatchId, (BatchProgress, Instant)>,
    rates: BTreeMap<BatchId, (f64, f64)>,
    ended: VecDeque<BatchProgress>,
}

impl Watch {
    fn new(desk: &Desk, one: Option<BatchId>, lane: Option<LaneId>) -> Self {
        let in_place = desk.front == Front::Console && std::io::stdout().is_terminal();
        Self {
            front: desk.front,
            place: in_place.then(InPlace::new),
            one,
            lane,
            known: BTreeMap::new(),
            rates: BTreeMap::new(),
            ended: VecDeque::new(),
        }
    }

    /// The batches under way, and those that were at the last look.
    async fn wanted(&self, reads: &Reads) -> Result<Vec<BatchRow>, Trouble> {
        let one = |batch: &BatchId| BatchQuery { batch: Some(batch.clone()), limit: 1, ..BatchQuery::default() };
        if let Some(batch) = &self.one {
            return Ok(reads.work.batch_page(&one(batch)).await?);
        }
        let live = BatchQuery {
            lane: self.lane.clone(),
            states: BatchState::LIVE.to_vec(),
            limit: FOLLOWED.0,
            ..BatchQuery::default()
        };
        let mut rows = reads.work.batch_page(&live).await?;
        for batch in self.known.keys() {
            if !rows.iter().any(|row| row.batch == *batch) {
                rows.extend(reads.work.batch_page(&one(batch)).await?);
            }
        }
        Ok(rows)
    }

    /// Shows what has changed; false if nobody reads any more.
    fn show(&mut self, now: Vec<BatchProgress>) -> bool {
        let mut text = String::new();
        for batch in now {
            let live = batch.state.is_live();
            let changed = self.known.get(&batch.batch).is_none_or(|(known, _)| *known != batch);
            if changed {
                self.measure(&batch);
                match self.front {
                    Front::Json => {
                        let _infallible = writeln!(text, "{}", self.as_json(&batch));
                    }
                    _ if self.place.is_none() => {
                        let now = Timestamp::now().strftime("%H:%M:%SZ");
                        let _infallible = writeln!(text, "{now} {}{}", line(&batch), self.rate(&batch.batch));
                    }
                    _ => {}
                }
            }
            if live || self.one.is_some() {
                if changed {
                    self.known.insert(batch.batch.clone(), (batch, Instant::now()));
                }
            } else if self.known.remove(&batch.batch).is_some() {
                self.ended.push_back(batch);
                if self.ended.len() > FOLLOWED.1 {
                    self.ended.pop_front();
                }
            }
        }
        let picture = self.picture();
        if let Some(place) = &mut self.place {
            text = place.frame(&picture);
        }
        lines(&text)
    }

    /// Items and bytes a second since the last look.
    #[expect(clippy::cast_precision_loss, reason = "a rate on a screen needs no sixteen digits")]
    fn measure(&mut self, batch: &BatchProgress) {
        let Some((known, at)) = self.known.get(&batch.batch) else { return };
        let seconds = at.elapsed().as_secs_f64().max(0.001);
        let items = batch.done.saturating_sub(known.done) as f64 / seconds;
        let bytes = batch.bytes.saturating_sub(known.bytes) as f64 / seconds;
        self.rates.insert(batch.batch.clone(), (items, bytes));
    }

    fn rate(&self, batch: &BatchId) -> String {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate, never negative")]
        self.rates
            .get(batch)
            .map_or_else(String::new, |(items, bytes)| format!("  {items:.1} items/s, {}/s", in_bytes(*bytes as u64)))
    }

    fn as_json(&self, batch: &BatchProgress) -> serde_json::Value {
        let (items, bytes) = self.rates.get(&batch.batch).copied().unzip();
        json!({ "at": Timestamp::now(), "batch": batch, "items_per_s": items, "bytes_per_s": bytes })
    }

    /// All that is in sight.
    fn picture(&self) -> Vec<String> {
        let live = self.known.values().map(|(batch, _)| batch);
        let rows: Vec<String> =
            self.ended.iter().chain(live).map(|batch| format!("{}{}", line(batch), self.rate(&batch.batch))).collect();
        let what = if rows.is_empty() { "nothing moves".to_owned() } else { HEAD.to_owned() };
        std::iter::once(what).chain(rows).collect()
    }
}

fn as_json(batch: &BatchProgress) -> Result<String, Trouble> {
    serde_json::to_string(batch).map_err(|error| super::internal("write the batches", error.to_string()))
}

fn line(batch: &BatchProgress) -> String {
    let BatchProgress { batch, state, items, done, failed, bytes, attempt, error, .. } = batch;
    let state = word(state);
    let (error, batch) = (clean(error, 200), batch.as_str());
    format!("{batch:<24} {state:<9} {items:>7} {done:>7} {failed:>7} {bytes:>12} {attempt:>3}  {error}")
        .trim_end()
        .to_owned()
}
