//! What the ledger promises: order, chain, durability, grouping, and faults that name the file.

use super::*;
use crate::{
    event::{Event, EventKind},
    model::{
        BatchId, BatchState, Digest, Environment, ItemState, LaneId, LaneKind, Mode, Outcome, Phase, Tally, Timestamp,
    },
    ports::{BatchQuery, BatchRow, ConflictRow, ItemQuery, ItemRow, ItemVerdict, VerdictQuery, VerdictRow},
};
use serde_json::json;
use std::{
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
};
use tempfile::TempDir;

const CHILD: &str = "CUTOVER_TEST_LEDGER_CHILD";

fn run() -> RunId {
    RunId::new("run-1")
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

fn event(seq: u64) -> Event {
    let kind = match seq {
        1 => EventKind::RunStarted {
            run: run(),
            plan: "list-cutter".into(),
            plan_digest: "d".into(),
            environment: Environment::Staging,
            mode: Mode::Live,
            phases: Vec::new(),
            by: crate::model::Actor::engine("test"),
        },
        _ => EventKind::PhaseStarted { phase: Phase::ALL[usize::try_from(seq).unwrap() % 9] },
    };
    Event { seq, at: at(i64::try_from(seq).unwrap()), kind }
}

fn events(from: u64, to: u64) -> Vec<Event> {
    (from..=to).map(event).collect()
}

fn batch(lane: &str, number: u64, state: BatchState, kind: LaneKind) -> BatchRow {
    BatchRow {
        batch: BatchId::new(format!("{lane}-{number:04}")),
        lane: LaneId::new(lane),
        kind,
        number,
        state,
        from: (number > 1).then(|| format!("page {number}")),
        next: Some(format!("page {}", number + 1)),
        items: 2,
        failed: 0,
        bytes: 7,
        attempts: 1,
        error: String::new(),
        started: Some(at(1)),
        finished: None,
    }
}

fn item(lane: &str, key: &str, number: u64, state: ItemState) -> ItemRow {
    ItemRow {
        lane: LaneId::new(lane),
        key: key.into(),
        batch: BatchId::new(format!("{lane}-{number:04}")),
        state,
        source: format!("media/{key}"),
        digest: Some(Digest::of(key.as_bytes())),
        bytes: 10,
        attempts: 1,
        error: None,
        reason: String::new(),
        facts: None,
        before: None,
    }
}

async fn open(dir: &TempDir) -> Ledger {
    Ledger::open(dir.path()).await.unwrap()
}

/// Changes the file behind the ledger's back.
pub(super) async fn tamper(dir: &TempDir, sql: &'static str) {
    let mut connection = SqliteConnectOptions::new().filename(dir.path().join(FILE)).connect().await.unwrap();
    sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

#[tokio::test]
async fn what_was_appended_is_loaded_in_order_and_by_a_later_process() {
    let dir = TempDir::new().unwrap();
    let ledger = open(&dir).await;
    let journal = ledger.journal();
    journal.append(&run(), &events(1, 3)).await.unwrap();
    journal.append(&run(), &events(4, 4)).await.unwrap();
    assert_eq!(journal.load(&run()).await.unwrap(), events(1, 4));
    ledger.close().await;

    let ledger = open(&dir).await;
    let journal = ledger.journal();
    assert_eq!(journal.load(&run()).await.unwrap(), events(1, 4));
    let runs = journal.runs().await.unwrap();
    assert_eq!((runs[0].plan.as_str(), runs[0].events, runs[0].outcome), ("list-cutter", 4, None));
    assert_eq!(runs[0].started, at(1));

    let end = EventKind::RunFinished { outcome: Outcome::RolledBack, reason: "test".into() };
    journal.append(&run(), &[Event { seq: 5, at: at(5), kind: end }]).await.unwrap();
    assert_eq!(journal.runs().await.unwrap()[0].outcome, Some(Outcome::RolledBack));
    journal.append(&run(), &[event(6)]).await.unwrap();
    assert_eq!(journal.runs().await.unwrap()[0].outcome, None, "a recovered run has no outcome yet");
}

#[tokio::test]
async fn the_folder_and_the_file_are_private() {
    use std::os::unix::fs::PermissionsExt as _;
    let parent = TempDir::new().unwrap();
    let dir = parent.path().join("plan");
    let ledger = Ledger::open(&dir).await.unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&dir), 0o700);
    assert_eq!(mode(ledger.path()), 0o600);
}

#[tokio::test]
async fn a_gap_is_refused_and_leaves_nothing_behind() {
    let dir = TempDir::new().unwrap();
    let ledger = open(&dir).await;
    let journal = ledger.journal();
    journal.append(&run(), &events(1, 2)).await.unwrap();
    for wrong in [vec![event(2)], vec![event(4)], vec![event(3), event(5)]] {
        let fault = journal.append(&run(), &wrong).await.unwrap_err();
        assert_eq!(fault.kind, FaultKind::Ledger);
        assert!(fault.to_string().contains("cannot follow"), "{fault}");
    }
    assert_eq!(journal.load(&run()).await.unwrap().len(), 2);
    journal.append(&run(), &[event(3)]).await.unwrap();
}

#[tokio::test]
async fn any_change_of_the_journal_is_noticed_and_named() {
    for (sql, says) in [
        ("UPDATE journal SET body = replace(body, 'phase_started', 'phase_finished') WHERE seq = 3", "event 3 "),
        ("UPDATE journal SET hash = (SELECT hash FROM journal WHERE seq = 1) WHERE seq = 2", "event 2 "),
        ("DELETE FROM journal WHERE seq = 2", "event 2 "),
        ("DELETE FROM journal WHERE seq = 5", "event 5 "),
        ("DELETE FROM runs", "event 6 "),
        (
            "UPDATE journal SET seq = 99 WHERE seq = 2; UPDATE journal SET seq = 2 WHERE seq = 3; \
             UPDATE journal SET seq = 3 WHERE seq = 99",
            "event 2 ",
        ),
    ] {
        let dir = TempDir::new().unwrap();
        let ledger = open(&dir).await;
        ledger.journal().append(&run(), &events(1, 5)).await.unwrap();
        ledger.close().await;
        tamper(&dir, sql).await;
        let fault = open(&dir).await.journal().load(&run()).await.unwrap_err();
        assert_eq!(fault.kind, FaultKind::Ledger);
        assert!(fault.to_string().contains(says), "{sql}: {fault}");
    }
}

#[tokio::test]
async fn concurrent_writers_are_grouped_and_one_failure_stays_alone() {
    let dir = TempDir::new().unwrap();
    let ledger = open(&dir).await;
    let journal = ledger.journal();
    journal.append(&run(), &[event(1)]).await.unwrap();
    let mut writers = tokio::task::JoinSet::new();
    for number in 1..=200 {
        let work = ledger.work(&run());
        writers.spawn(async move {
            let items: Vec<_> =
                (0..5).map(|i| item("users", &format!("{number:04}/{i}"), number, ItemState::Verified)).collect();
            work.save(&batch("users", number, BatchState::Done, LaneKind::Records), &items).await.unwrap();
        });
        if number % 10 == 0 {
            let journal = ledger.journal();
            writers.spawn(async move {
                journal.append(&run(), &[event(99)]).await.unwrap_err();
            });
        }
    }
    while let Some(done) = writers.join_next().await {
        done.unwrap();
    }
    let work = ledger.work(&run());
    assert_eq!(work.batches(None).await.unwrap().len(), 200);
    assert_eq!(work.tally(&LaneId::new("users")).await.unwrap().verified, 1000);
    assert_eq!(journal.load(&run()).await.unwrap().len(), 1);
}

#[tokio::test]
async fn work_tables_give_back_what_they_were_given() {
    let dir = TempDir::new().unwrap();
    let ledger = open(&dir).await;
    let work = ledger.work(&run());
    let (users, files) = (LaneId::new("users"), LaneId::new("files-content"));
    let first = batch("users", 1, BatchState::Running, LaneKind::Records);
    let content = batch("files-content", 1, BatchState::Done, LaneKind::Files);
    let rows = [item("users", "1", 1, ItemState::Copied), item("users", "2", 1, ItemState::Pending)];
    work.save(&first, &rows).await.unwrap();
    work.save(&content, &[item("files-content", "a.csv", 1, ItemState::Verified)]).await.unwrap();
    ledger.work(&RunId::new("another")).save(&first, &rows).await.unwrap();

    assert_eq!(work.batches(Some(&users)).await.unwrap(), std::slice::from_ref(&first));
    assert_eq!(work.batches(None).await.unwrap(), [content, first.clone()]);
    let query = ItemQuery { lane: Some(users.clone()), limit: 10, ..ItemQuery::default() };
    assert_eq!(work.items(&query).await.unwrap(), rows);
    let after = ItemQuery { after: Some("1".into()), ..query.clone() };
    assert_eq!(work.items(&after).await.unwrap(), rows[1..]);
    let copied = ItemQuery { states: vec![ItemState::Copied, ItemState::Failed], ..query.clone() };
    assert_eq!(work.items(&copied).await.unwrap(), rows[..1]);
    let keyed = ItemQuery { keys: vec!["2".into(), "9".into()], ..query.clone() };
    assert_eq!(work.items(&keyed).await.unwrap(), rows[1..]);
    let of_batch = ItemQuery { batch: Some(first.batch.clone()), limit: 1, ..ItemQuery::default() };
    assert_eq!(work.items(&of_batch).await.unwrap(), rows[..1]);
    let lanes = [(files.clone(), LaneKind::Files), (users.clone(), LaneKind::Records)];
    assert_eq!(work.lanes().await.unwrap(), lanes);
    let named = BatchQuery { batch: Some(first.batch.clone()), limit: 9, ..BatchQuery::default() };
    assert_eq!(work.batch_page(&named).await.unwrap(), std::slice::from_ref(&first));
    assert_eq!(work.batch_tally(&first.batch).await.unwrap(), work.tally(&users).await.unwrap());
    let asked = ["media/a.csv".into(), "media/b.csv".into()];
    assert_eq!(work.sources_known(&files, &asked).await.unwrap(), asked[..1]);

    work.mark(&users, &["2".into()], ItemState::Failed, "refused").await.unwrap();
    work.mark(&files, &["a.csv".into()], ItemState::Conflicting, "").await.unwrap();
    let expected = Tally { copied: 1, failed: 1, bytes: 10, ..Tally::default() };
    assert_eq!(work.tally(&users).await.unwrap(), expected);
    assert_eq!(work.tally(&files).await.unwrap().conflicting, 1);
    assert_eq!(work.items(&after).await.unwrap()[0].reason, "refused");

    work.forget(&users).await.unwrap();
    assert_eq!(work.tally(&users).await.unwrap(), Tally::default());
    assert_eq!(work.batches(None).await.unwrap().len(), 1);
    assert_eq!(ledger.work(&RunId::new("another")).tally(&users).await.unwrap().items(), 2);
}

#[tokio::test]
async fn items_and_verdicts_are_found_by_what_is_wrong_with_them() {
    let dir = TempDir::new().unwrap();
    let work = open(&dir).await.work(&run());
    let lane = LaneId::new("files-content");
    let content = batch("files-content", 1, BatchState::Done, LaneKind::Files);
    let failed =
        ItemRow { error: Some(FaultKind::NotFound), ..item("files-content", "50%_a.csv", 1, ItemState::Failed) };
    let rows = [failed, item("files-content", "50xya.csv", 1, ItemState::Verified)];
    work.save(&content, &rows).await.unwrap();
    let with = |text: &str| ItemQuery { text: Some(text.into()), limit: 9, ..ItemQuery::default() };
    for (text, found) in [("%_a", &rows[..1]), ("MEDIA/50", &rows[..]), ("\\", &[]), ("xya.csv", &rows[1..])] {
        assert_eq!(work.items(&with(text)).await.unwrap(), found, "{text}");
    }
    let missing = ItemQuery { error: Some(FaultKind::NotFound), limit: 9, ..ItemQuery::default() };
    assert_eq!(work.items(&missing).await.unwrap(), rows[..1]);

    let verdict = |key: &str, verdict| VerdictRow {
        lane: lane.clone(),
        key: key.into(),
        verdict,
        detail: String::new(),
        at: at(1),
    };
    let all = [verdict("a", ItemVerdict::Same), verdict("b", ItemVerdict::Differs), verdict("c", ItemVerdict::Error)];
    work.judge(&all).await.unwrap();
    let query = VerdictQuery { limit: 9, ..VerdictQuery::default() };
    assert_eq!(work.verdicts(&lane, &query).await.unwrap(), all);
    let wrong = VerdictQuery { verdicts: vec![ItemVerdict::Differs, ItemVerdict::Error], ..query.clone() };
    assert_eq!(work.verdicts(&lane, &wrong).await.unwrap(), all[1..]);
    let keyed = VerdictQuery { keys: vec!["a".into(), "z".into()], ..query };
    assert_eq!(work.verdicts(&lane, &keyed).await.unwrap(), all[..1]);
}

#[tokio::test]
async fn what_stood_there_before_is_written_once() {
    let dir = TempDir::new().unwrap();
    let ledger = open(&dir).await;
    let work = ledger.work(&run());
    let first = batch("users", 1, BatchState::Running, LaneKind::Records);
    let old = |key: &str, before| ItemRow { before, ..item("users", key, 1, ItemState::Copied) };
    work.save(&first, &[old("1", Some(json!({"name": "old"}))), old("2", None)]).await.unwrap();
    work.save(&first, &[old("1", None), old("2", Some(json!({"name": "ours"})))]).await.unwrap();
    let query = ItemQuery { limit: 10, ..ItemQuery::default() };
    let befores: Vec<_> = work.items(&query).await.unwrap().into_iter().map(|item| item.before).collect();
    assert_eq!(befores, [Some(json!({"name": "old"})), None]);
}

#[tokio::test]
async fn notes_and_conflicts_are_replaced_by_name() {
    let dir = TempDir::new().unwrap();
    let ledger = open(&dir).await;
    let work = ledger.work(&run());
    assert_eq!(work.noted("mark").await.unwrap(), None);
    work.note("mark", &json!(1)).await.unwrap();
    work.note("mark", &json!({"at": "x"})).await.unwrap();
    assert_eq!(work.noted("mark").await.unwrap(), Some(json!({"at": "x"})));
    let open = ConflictRow {
        lane: LaneId::new("users"),
        key: "7".into(),
        legacy: json!({"a": 1}),
        new: json!({"a": 2}),
        resolution: String::new(),
        at: at(3),
    };
    let solved = ConflictRow { resolution: "newest wins: new".into(), ..open.clone() };
    work.conflict(&open).await.unwrap();
    work.conflict(&solved).await.unwrap();
    assert_eq!(work.conflicts().await.unwrap(), [solved]);
}

#[tokio::test]
async fn a_batch_of_thousands_of_items_is_one_transaction() {
    let dir = TempDir::new().unwrap();
    let ledger = open(&dir).await;
    let work = ledger.work(&run());
    let items: Vec<_> = (0..5000).map(|i| item("users", &format!("{i:05}"), 1, ItemState::Verified)).collect();
    work.save(&batch("users", 1, BatchState::Done, LaneKind::Records), &items).await.unwrap();
    let lane = LaneId::new("users");
    assert_eq!(work.tally(&lane).await.unwrap().bytes, 50_000);
    let keys: Vec<_> = items.iter().map(|item| item.key.clone()).collect();
    work.mark(&lane, &keys, ItemState::Skipped, "why").await.unwrap();
    assert_eq!(work.tally(&lane).await.unwrap().skipped, 5000);
}

#[tokio::test]
async fn a_full_disk_is_one_clear_fault_and_what_was_there_stays() {
    let dir = TempDir::new().unwrap();
    open(&dir).await.close().await;
    let ledger = Ledger::open_limited(dir.path(), Some(60)).await.unwrap();
    let journal = ledger.journal();
    let mut seq = 0;
    let fault = loop {
        let next = events(seq + 1, seq + 40);
        match journal.append(&run(), &next).await {
            Ok(()) => seq += 40,
            Err(fault) => break fault,
        }
    };
    assert!(seq > 0, "something fitted");
    assert_eq!(fault.kind, FaultKind::Ledger);
    let advice = fault.advice();
    assert!(
        advice.contains("the disk is full") && advice.contains("ledger.db") && advice.contains("free space"),
        "{advice}"
    );
    assert_eq!(journal.load(&run()).await.unwrap().len() as u64, seq, "all that was acknowledged, and no more");
    ledger.close().await;
    // Space was freed: the run goes on where it was.
    open(&dir).await.journal().append(&run(), &[event(seq + 1)]).await.unwrap();
}

#[tokio::test]
async fn a_file_that_is_no_ledger_is_named() {
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join(FILE), "this is a text, not a database, and long enough to be taken for one".repeat(20))
        .unwrap();
    let Err(fault) = Ledger::open(dir.path()).await else { panic!("opened a text") };
    assert_eq!(fault.kind, FaultKind::Ledger);
    assert!(fault.to_string().contains("damaged or not a ledger"), "{fault}");
}

#[tokio::test]
async fn views_read_the_journal() {
    let dir = TempDir::new().unwrap();
    let ledger = open(&dir).await;
    ledger.journal().append(&run(), &events(1, 4)).await.unwrap();
    for view in ["migration_phases", "alert_events", "rollback_events", "data_validation_checkpoints", "backups"] {
        let sql = sqlx::AssertSqlSafe(format!("SELECT count(*) FROM {view}"));
        let rows: i64 = sqlx::query_scalar(sql).fetch_one(&ledger.readers).await.unwrap();
        assert_eq!(rows, if view == "migration_phases" { 3 } else { 0 }, "{view}");
    }
}

#[tokio::test]
async fn after_closing_writes_fail_instead_of_hanging() {
    let dir = TempDir::new().unwrap();
    let ledger = open(&dir).await;
    ledger.close().await;
    let fault = ledger.journal().append(&run(), &[event(1)]).await.unwrap_err();
    assert!(fault.to_string().contains("closed"), "{fault}");
}

/// Not a test of its own: the process that `what_was_acknowledged_survives_sigkill` kills.
#[tokio::test]
async fn child_that_appends_until_it_is_killed() {
    let Ok(dir) = std::env::var(CHILD) else { return };
    let ledger = Ledger::open(Path::new(&dir)).await.unwrap();
    let (journal, work) = (ledger.journal(), ledger.work(&run()));
    for seq in 1.. {
        journal.append(&run(), &[event(seq)]).await.unwrap();
        work.save(&batch("users", seq, BatchState::Done, LaneKind::Records), &[]).await.unwrap();
        println!("acknowledged {seq}");
    }
}

#[tokio::test]
async fn what_was_acknowledged_survives_sigkill() {
    let dir = TempDir::new().unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "ledger::tests::child_that_appends_until_it_is_killed", "--nocapture"])
        .env(CHILD, dir.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let acknowledged: u64 = lines
        .by_ref()
        .filter_map(|line| line.split("acknowledged ").nth(1)?.trim().parse().ok())
        .find(|seq| *seq >= 25)
        .unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    let ledger = open(&dir).await;
    let found = ledger.journal().load(&run()).await.unwrap();
    assert!(found.len() as u64 >= acknowledged, "{} of {acknowledged}", found.len());
    assert_eq!(found, events(1, found.len() as u64));
    assert!(ledger.work(&run()).batches(None).await.unwrap().len() as u64 >= acknowledged);
}

#[test]
fn the_second_taker_of_the_lock_is_told_who_has_it() {
    let dir = TempDir::new().unwrap();
    assert_eq!(RunLock::holder(dir.path()), None);
    let lock = RunLock::take(dir.path(), "cutover run").unwrap();
    let fault = RunLock::take(dir.path(), "cutover resume").unwrap_err();
    assert_eq!(fault.kind, FaultKind::Locked);
    let says = fault.to_string();
    assert!(says.contains("`cutover run`") && says.contains(&std::process::id().to_string()), "{says}");
    assert_eq!(RunLock::holder(dir.path()).unwrap().pid, std::process::id());
    drop(lock);
    assert_eq!(RunLock::holder(dir.path()), None);
    RunLock::take(dir.path(), "cutover resume").unwrap();
}
