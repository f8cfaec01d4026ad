//! The journal on SQLite: encodes events, verifies the chain when it reads them back.

use super::{
    Ledger,
    fault::{broken, fault},
    rows::{count, unword, word},
    sql::{genesis, link},
    writer::{Op, Rows},
};
use crate::{
    error::Result,
    event::{Event, EventKind},
    model::{Digest, RunId},
    ports::{Journal, RunSummary},
};
use async_trait::async_trait;
use futures::TryStreamExt as _;

/// The journal's port.
pub(super) struct SqliteJournal {
    ledger: Ledger,
}

impl SqliteJournal {
    pub(super) const fn new(ledger: Ledger) -> Self {
        Self { ledger }
    }
}

#[async_trait]
impl Journal for SqliteJournal {
    async fn append(&self, run: &RunId, events: &[Event]) -> Result<()> {
        let Some(first) = events.first() else { return Ok(()) };
        let mut rows = Rows {
            run: run.clone(),
            events: Vec::with_capacity(events.len()),
            at: first.at.to_string(),
            plan: None,
            outcome: None,
            keeps_outcome: true,
        };
        for event in events {
            let body = serde_json::to_string(event)
                .map_err(|error| fault(&self.ledger.path, "append to", format!("event {}: {error}", event.seq)))?;
            rows.events.push((event.seq, body));
            if event.kind.is_beside() {
                continue;
            }
            rows.keeps_outcome = false;
            rows.outcome = None;
            match &event.kind {
                EventKind::RunStarted { plan, .. } => rows.plan = Some(plan.clone()),
                EventKind::RunFinished { outcome, .. } => rows.outcome = Some(word(outcome)),
                _ => {}
            }
        }
        self.ledger.writer.write(Op::Append(rows)).await
    }

    async fn load(&self, run: &RunId) -> Result<Vec<Event>> {
        let path = &self.ledger.path;
        let sql = |error: sqlx::Error| broken(path, "read", &error);
        let bad = |seq: u64, why: &str| fault(path, "read", format!("event {seq} of run {run} {why}"));
        // One snapshot for both questions, whatever is appended meanwhile.
        let mut snapshot = self.ledger.readers.begin().await.map_err(sql)?;
        let head: Option<(i64, String)> = sqlx::query_as("SELECT events, head FROM runs WHERE run = $1")
            .bind(run.as_str())
            .fetch_optional(&mut *snapshot)
            .await
            .map_err(sql)?;
        let (length, head) = match head {
            None => (0, genesis(run).to_hex()),
            Some((events, head)) => (count(events).map_err(|why| fault(path, "read", why))?, head),
        };
        let mut events: Vec<Event> = Vec::new();
        let mut hash = genesis(run);
        let mut rows = sqlx::query_as::<_, (i64, String, String)>(
            "SELECT seq, body, hash FROM journal WHERE run = $1 ORDER BY seq",
        )
        .bind(run.as_str())
        .fetch(&mut *snapshot);
        let mut expected = 0;
        while let Some((seq, body, written)) = rows.try_next().await.map_err(sql)? {
            expected += 1;
            if u64::try_from(seq) != Ok(expected) {
                return Err(bad(expected, "is missing"));
            }
            hash = link(&hash, &body);
            if Digest::from_hex(&written) != Some(hash) {
                return Err(bad(expected, "was changed after it was written"));
            }
            let event: Event =
                serde_json::from_str(&body).map_err(|error| bad(expected, &format!("cannot be read: {error}")))?;
            if event.seq != expected {
                return Err(bad(expected, "stands in another event's place"));
            }
            events.push(event);
        }
        if expected != length || hash.to_hex() != head {
            return Err(bad(expected + 1, &format!("is missing, {length} were written")));
        }
        Ok(events)
    }

    async fn runs(&self) -> Result<Vec<RunSummary>> {
        let path = &self.ledger.path;
        let bad = |why: String| fault(path, "read", why);
        let rows: Vec<(String, String, String, i64, Option<String>)> =
            sqlx::query_as("SELECT run, plan, started, events, outcome FROM runs ORDER BY started DESC, run DESC")
                .fetch_all(&self.ledger.readers)
                .await
                .map_err(|error| broken(path, "read", &error))?;
        rows.into_iter()
            .map(|(run, plan, started, events, outcome)| {
                Ok(RunSummary {
                    run: RunId::new(run),
                    plan,
                    started: unword(&started).map_err(bad)?,
                    events: count(events).map_err(bad)?,
                    outcome: outcome.as_deref().map(unword).transpose().map_err(bad)?,
                })
            })
            .collect()
    }
}
