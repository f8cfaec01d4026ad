//! The one connection that writes, and the task that owns it.
//!
//! Group commit: whatever waits when a transaction begins goes into it together, decisions before progress, so that a
//! disk flush is paid once, and none if nothing in the group must outlast the machine. Each operation stands in its own savepoint: one that fails is taken out alone and its caller
//! told, the others of the group are not touched. Callers hear back after the commit, never before.

use super::{
    blocks::{self, Packed},
    fault::{broken, cause, fault},
    files, sql,
};
use crate::{
    error::Result,
    model::{ItemState, LaneId, RunId},
    ports::{BatchRow, ConflictRow, ItemRow, PartSent, UploadRow, VerdictRow},
};
use sqlx::SqliteConnection;
use std::{path::Path, sync::Arc, time::Duration};
use tokio::sync::{mpsc, oneshot};

/// Operations that may wait; a caller beyond that waits for room.
const QUEUE: usize = 256;
/// Rows after which a group takes no further progress, so that a decision never waits long behind it.
const GROUP_ROWS: usize = 2000;
/// Longest wait for the disk.
const PATIENCE: Duration = Duration::from_mins(1);

/// Events of a run, ready to be written.
pub(super) struct Rows {
    /// The run.
    pub(super) run: RunId,
    /// Number and JSON text of each event, in order.
    pub(super) events: Vec<(u64, String)>,
    /// When the first of them happened.
    pub(super) at: String,
    /// The plan's name, if the run begins with these.
    pub(super) plan: Option<String>,
    /// The outcome, if the run ends with these.
    pub(super) outcome: Option<String>,
    /// All of them happened beside the run: however it ended, it has.
    pub(super) keeps_outcome: bool,
}

/// One thing to write.
pub(super) enum Op {
    Append(Rows),
    Save { run: RunId, batches: Vec<BatchRow>, items: Vec<ItemRow>, notes: Vec<(String, String)>, durable: bool },
    Block { run: RunId, batch: Box<BatchRow>, block: Packed, items: Vec<ItemRow> },
    MoveBlock { run: RunId, batch: Box<BatchRow>, state: ItemState },
    Mark { run: RunId, lane: LaneId, keys: Vec<String>, state: ItemState, reason: String },
    Forget { run: RunId, lane: LaneId },
    Note { run: RunId, name: String, value: String },
    Conflict { run: RunId, row: Box<ConflictRow> },
    Files(RunId, FileOp),
}

/// What only files need.
pub(super) enum FileOp {
    Reset { lane: LaneId, keys: Vec<String> },
    BeginUpload(UploadRow),
    AddPart { lane: LaneId, key: String, part: PartSent },
    EndUpload { lane: LaneId, key: String },
    Judge(Vec<VerdictRow>),
    ForgetVerdicts { lane: LaneId },
}

impl Op {
    const fn is_decision(&self) -> bool {
        matches!(self, Self::Append(_))
    }

    /// Whether it must outlast the machine when its caller hears back.
    const fn is_durable(&self) -> bool {
        !matches!(self, Self::Save { durable: false, .. } | Self::Files(_, FileOp::Judge(_)))
    }

    fn rows(&self) -> usize {
        match self {
            Self::Append(rows) => rows.events.len(),
            Self::Save { batches, items, .. } => batches.len() + items.len(),
            Self::Block { items, .. } => 1 + items.len(),
            Self::Files(_, FileOp::Judge(rows)) => rows.len(),
            Self::Mark { keys, .. } | Self::Files(_, FileOp::Reset { keys, .. }) => keys.len(),
            Self::MoveBlock { .. }
            | Self::Forget { .. }
            | Self::Note { .. }
            | Self::Conflict { .. }
            | Self::Files(..) => 1,
        }
    }

    /// For "failed to … the ledger".
    const fn verb(&self) -> &'static str {
        match self {
            Self::Append(_) => "append to",
            _ => "write progress to",
        }
    }
}

struct Job {
    op: Op,
    done: oneshot::Sender<Result<()>>,
}

enum Message {
    Job(Job),
    Close(oneshot::Sender<()>),
}

/// The way to the task that writes.
#[derive(Clone)]
pub(super) struct Writer {
    decisions: mpsc::Sender<Message>,
    progress: mpsc::Sender<Message>,
    path: Arc<Path>,
}

impl Writer {
    /// Starts the task. It ends when all writers are dropped, or closed by one of them.
    pub(super) fn start(connection: SqliteConnection, path: Arc<Path>) -> Self {
        let (decisions, decisions_out) = mpsc::channel(QUEUE);
        let (progress, progress_out) = mpsc::channel(QUEUE);
        let queues = (decisions_out, progress_out);
        let task = Task { connection, path: path.clone(), decisions: queues.0, progress: queues.1, durable: true };
        tokio::spawn(task.run());
        Self { decisions, progress, path }
    }

    /// Writes `op` and waits until it is durable.
    pub(super) async fn write(&self, op: Op) -> Result<()> {
        let verb = op.verb();
        let gone = || fault(&self.path, verb, "it was closed");
        let (done, answer) = oneshot::channel();
        let queue = if op.is_decision() { &self.decisions } else { &self.progress };
        let written = async {
            queue.send(Message::Job(Job { op, done })).await.map_err(|_| gone())?;
            answer.await.map_err(|_| gone())?
        };
        tokio::time::timeout(PATIENCE, written)
            .await
            .unwrap_or_else(|_| Err(fault(&self.path, verb, format!("the disk did not answer in {PATIENCE:?}"))))
    }

    /// Ends the task after what was handed over before.
    pub(super) async fn close(&self) {
        let (done, answer) = oneshot::channel();
        if self.progress.send(Message::Close(done)).await.is_ok() {
            // An error means that the task has ended already, which is what is wanted.
            let _ended = tokio::time::timeout(PATIENCE, answer).await;
        }
    }
}

struct Task {
    connection: SqliteConnection,
    path: Arc<Path>,
    decisions: mpsc::Receiver<Message>,
    progress: mpsc::Receiver<Message>,
    /// A commit waits for the disk now.
    durable: bool,
}

impl Task {
    async fn run(mut self) {
        let mut closing = None;
        while closing.is_none() {
            // Both queues live in every `Writer`, so they close together.
            let first = tokio::select! {
                biased;
                Some(message) = self.decisions.recv() => message,
                Some(message) = self.progress.recv() => message,
                else => break,
            };
            let group = self.gather(first, &mut closing);
            if !group.is_empty() {
                self.commit(group).await;
            }
        }
        super::close(self.connection, &self.path).await;
        if let Some(done) = closing {
            // Nobody waits any more: fine.
            let _unheard = done.send(());
        }
    }

    /// Everything that waits now, decisions first.
    fn gather(&mut self, first: Message, closing: &mut Option<oneshot::Sender<()>>) -> Vec<Job> {
        let mut group = Vec::new();
        let mut rows = 0;
        let mut next = Some(first);
        while let Some(message) = next.take() {
            match message {
                Message::Job(job) => {
                    rows += job.op.rows();
                    group.push(job);
                }
                Message::Close(done) => {
                    *closing = Some(done);
                    // Decisions are in the other queue and may have been handed over before.
                    while let Ok(Message::Job(job)) = self.decisions.try_recv() {
                        group.push(job);
                    }
                    break;
                }
            }
            if rows < GROUP_ROWS {
                next = self.decisions.try_recv().or_else(|_| self.progress.try_recv()).ok();
            }
        }
        group
    }

    /// One transaction for the whole group.
    async fn commit(&mut self, group: Vec<Job>) {
        let mut written = Vec::with_capacity(group.len());
        let durable = group.iter().any(|job| job.op.is_durable());
        let mut lost: Option<String> = self.begin(durable).await.err().map(|error| cause(&error));
        for job in group {
            if lost.is_some() {
                written.push((job, Ok(())));
                continue;
            }
            match self.in_savepoint(&job.op).await {
                Ok(result) => written.push((job, result)),
                Err(reason) => {
                    lost = Some(reason);
                    written.push((job, Ok(())));
                }
            }
        }
        if lost.is_none() {
            lost = self.run_sql("COMMIT").await.err().map(|error| cause(&error));
        }
        if let Some(reason) = &lost {
            tracing::error!("could not write the ledger {}: {reason}", self.path.display());
            // SQLite has often rolled back by itself by now, and then this says so.
            let _already_rolled_back = self.run_sql("ROLLBACK").await;
        }
        for (job, result) in written {
            let result = match &lost {
                Some(reason) => Err(fault(&self.path, job.op.verb(), reason)),
                None => result,
            };
            // The caller was cancelled: nobody to tell.
            let _unheard = job.done.send(result);
        }
    }

    /// Begins a transaction. One that need not be durable leaves the disk in peace; the next one that must be takes the
    /// log with all of them along, since the disk gets it in order.
    async fn begin(&mut self, durable: bool) -> std::result::Result<(), sqlx::Error> {
        if durable != self.durable {
            self.run_sql(if durable { "PRAGMA synchronous = FULL" } else { "PRAGMA synchronous = NORMAL" }).await?;
            self.durable = durable;
        }
        self.run_sql("BEGIN IMMEDIATE").await
    }

    /// Runs one operation so that its failure leaves the others alone. The outer error means that the transaction itself
    /// is lost.
    async fn in_savepoint(&mut self, op: &Op) -> std::result::Result<Result<()>, String> {
        self.run_sql("SAVEPOINT op").await.map_err(|error| cause(&error))?;
        match self.apply(op).await {
            Ok(()) => {
                self.run_sql("RELEASE op").await.map_err(|error| cause(&error))?;
                Ok(Ok(()))
            }
            Err(fault) => {
                // A full or broken disk takes the whole transaction with it, and then there is no savepoint to go back
                // to; the first reason is the one to tell.
                let undone = self.run_sql("ROLLBACK TO op; RELEASE op").await;
                undone.map_err(|_| fault.detail.clone())?;
                Ok(Err(fault))
            }
        }
    }

    async fn run_sql(&mut self, sql: &'static str) -> std::result::Result<(), sqlx::Error> {
        sqlx::raw_sql(sql).execute(&mut self.connection).await.map(drop)
    }

    async fn apply(&mut self, op: &Op) -> Result<()> {
        let path = self.path.clone();
        let connection = &mut self.connection;
        if let Op::Append(rows) = op {
            return sql::append(connection, &path, rows).await;
        }
        let done = match op {
            Op::Append(_) => Ok(()),
            Op::Save { run, batches, items, notes, .. } => sql::save(connection, run, batches, items, notes).await,
            Op::Block { run, batch, block, items } => blocks::save(connection, run, batch, block, items).await,
            Op::MoveBlock { run, batch, state } => blocks::move_all(connection, run, batch, *state).await,
            Op::Files(run, op) => files::write(connection, run, op).await,
            Op::Mark { run, lane, keys, state, reason } => {
                sql::mark(connection, run, lane, keys, (*state, reason)).await
            }
            Op::Forget { run, lane } => sql::forget(connection, run, lane).await,
            Op::Note { run, name, value } => sql::note(connection, run, name, value).await,
            Op::Conflict { run, row } => sql::conflict(connection, run, row).await,
        };
        done.map_err(|error| broken(&path, op.verb(), &error))
    }
}
