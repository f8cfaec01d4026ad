//! `cutover batches --watch` on a terminal: a table that is drawn in place while another process works.

use crate::desk::Desk;
use cutover::{
    event::{Event, EventKind},
    ledger::{Ledger, RunLock},
    model::{Actor, BatchId, BatchState, Environment, ItemState, LaneId, LaneKind, Mode, RunId, Timestamp, Via},
    ports::{BatchRow, ItemRow, Work},
};
use std::{fs, sync::Arc};
use tempfile::TempDir;

/// A run under way as another process would have it: its ledger, and the lock.
struct Run {
    folder: TempDir,
    runtime: tokio::runtime::Runtime,
    ledger: Ledger,
    work: Arc<dyn Work>,
    lock: Option<RunLock>,
}

impl Run {
    fn begin() -> Self {
        let folder = TempDir::new().unwrap();
        fs::write(folder.path().join("cutover.toml"), "name = \"watched\"\nenvironment = \"development\"\n").unwrap();
        let home = cutover::wiring::home(&folder.path().join("data"), "watched");
        fs::create_dir_all(&home).unwrap();
        let lock = RunLock::take(&home, "a test").unwrap_or_else(|fault| panic!("{}", fault.chain()));
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        let run = RunId::new("run");
        let ledger = runtime.block_on(Ledger::open(&home)).unwrap_or_else(|fault| panic!("{}", fault.chain()));
        let kind = EventKind::RunStarted {
            run: run.clone(),
            plan: "watched".into(),
            plan_digest: String::new(),
            environment: Environment::Development,
            mode: Mode::Live,
            phases: Vec::new(),
            by: Actor { name: "ada".into(), via: Via::Console },
        };
        let event = Event { seq: 1, at: Timestamp::now(), kind };
        runtime.block_on(ledger.journal().append(&run, &[event])).unwrap_or_else(|fault| panic!("{}", fault.chain()));
        let work = ledger.work(&run);
        Self { folder, runtime, ledger, work, lock: Some(lock) }
    }

    /// The batch of this number stands like this; of its files so many have arrived.
    fn batch(&self, number: u64, state: BatchState, done: u64) {
        let (lane, batch) = (LaneId::new("files-content"), BatchId::new(format!("files-content-{number:04}")));
        let row = BatchRow {
            batch: batch.clone(),
            lane: lane.clone(),
            kind: LaneKind::Files,
            number,
            state,
            from: None,
            next: None,
            items: 50,
            failed: 0,
            bytes: done * 100,
            attempts: 1,
            error: String::new(),
            started: Some(Timestamp::now()),
            finished: None,
        };
        let item = |id: u64| ItemRow {
            lane: lane.clone(),
            key: format!("{number}/{id}"),
            batch: batch.clone(),
            state: ItemState::Verified,
            source: String::new(),
            digest: None,
            bytes: 100,
            attempts: 1,
            error: None,
            reason: String::new(),
            facts: None,
            before: None,
        };
        let items: Vec<ItemRow> = (0..done).map(item).collect();
        self.runtime.block_on(self.work.save(&row, &items)).unwrap_or_else(|fault| panic!("{}", fault.chain()));
    }

    /// Somebody who follows the batches on a terminal of this width.
    fn watched(&self, cols: u16) -> Desk {
        let at = |name: &str| self.folder.path().join(name).display().to_string();
        let (plan, data) = (at("cutover.toml"), at("data"));
        let arguments = ["--plan", &plan, "--data-dir", &data, "batches", "--watch"];
        Desk::new(env!("CARGO_BIN_EXE_cutover"), &arguments, cols, 20, &[])
    }

    fn end(mut self) {
        self.lock = None;
        self.runtime.block_on(self.ledger.close());
    }
}

/// The lines on the screen that are about a batch, without the rates, which depend on the clock.
fn table(desk: &Desk) -> Vec<String> {
    let lines = desk.shows();
    let cut = |line: &str| line.chars().take(56).collect::<String>().trim_end().to_owned();
    lines.lines().filter(|line| line.starts_with("files-content")).map(cut).collect()
}

#[test]
fn batches_are_drawn_in_place_until_the_run_is_over() {
    let run = Run::begin();
    let mut desk = run.watched(60);
    desk.until("nothing moves");
    run.batch(1, BatchState::Running, 10);
    desk.until("files-content-0001");
    assert_eq!(table(&desk), ["files-content-0001       running        50      10"]);
    run.batch(1, BatchState::Retrying, 37);
    desk.until("retrying");
    assert_eq!(table(&desk), ["files-content-0001       retrying       50      37"], "one line, not two");
    // What has ended goes above, and what runs stands below.
    run.batch(2, BatchState::Running, 1);
    desk.until("files-content-0002");
    run.batch(1, BatchState::Done, 50);
    desk.until("done   ");
    assert_eq!(
        table(&desk),
        ["files-content-0001       done           50      50", "files-content-0002       running        50       1"]
    );
    let shown = desk.shows();
    assert_eq!(shown.matches("batch  ").count(), 1, "one table, drawn over itself:\n{shown}");
    assert!(!shown.contains("nothing moves"), "{shown}");
    assert!(
        shown.lines().filter(|line| !line.is_empty()).count() == 3,
        "wider than the terminal, and not broken:\n{shown}"
    );
    assert!(!desk.is_full_screen(), "the lines above stay in reach");
    run.end();
    assert_eq!(desk.end().exit_code(), 0, "{}", desk.shows());
}
