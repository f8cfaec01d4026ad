//! The control socket against a stand-in for the engine: what is asked arrives, what is odd disturbs nobody.

use super::*;
use crate::{
    command::{Command, Refusal},
    engine::{Handle, Receipt, fold, handle::Envelope, view::RunView},
    error::FaultKind,
    event::{Event, EventKind, PhaseOutline},
    model::{Actor, CommandId, Environment, Mode, PauseDepth, Phase, RunId, Timestamp, Via},
};
use std::{
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
    sync::{Arc, Mutex},
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::UnixStream,
    sync::{broadcast, mpsc, watch},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

struct Stand {
    path: PathBuf,
    orders: mpsc::Receiver<Envelope>,
    events: broadcast::Sender<Arc<Event>>,
    end: CancellationToken,
    task: JoinHandle<()>,
    _dir: TempDir,
    _view: watch::Sender<Arc<RunView>>,
}

fn started() -> Event {
    let phases = Phase::ALL
        .map(|phase| PhaseOutline { phase, enabled: true, gate: false, steps: Vec::new(), expected_s: None })
        .to_vec();
    let kind = EventKind::RunStarted {
        run: RunId::new("run-1"),
        plan: "list-cutter".into(),
        plan_digest: "d".into(),
        environment: Environment::Staging,
        mode: Mode::Live,
        phases,
        by: Actor::engine("test"),
    };
    Event { seq: 1, at: Timestamp::UNIX_EPOCH, kind }
}

fn event(seq: u64) -> Event {
    Event { seq, at: Timestamp::UNIX_EPOCH, kind: EventKind::PhaseStarted { phase: Phase::Preparation } }
}

fn stand_at(folder: &str) -> Stand {
    let dir = TempDir::new().unwrap();
    let folder = dir.path().join(folder);
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join(FILE);
    let (orders_in, orders) = mpsc::channel(8);
    let (view_in, view) = watch::channel(Arc::new(fold::begin(&started()).unwrap()));
    let (events, _) = broadcast::channel(8);
    let stop = Arc::new(Mutex::new(CancellationToken::new()));
    let handle = Handle::new(orders_in, stop, view, events.clone(), Vec::new());
    let end = CancellationToken::new();
    let task = serve(&path, handle, end.clone()).unwrap();
    Stand { path, orders, events, end, task, _dir: dir, _view: view_in }
}

fn stand() -> Stand {
    stand_at("run")
}

fn ada() -> Actor {
    Actor { name: "ada\x1b[2J".into(), via: Via::Console }
}

fn pause() -> Command {
    Command::Pause { depth: PauseDepth::AfterBatch, reason: "look".into() }
}

/// Sends these bytes as they are and gives the first line of the answer.
async fn raw(stand: &Stand, bytes: &[u8]) -> String {
    let mut stream = UnixStream::connect(&stand.path).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).await.unwrap();
    line
}

#[tokio::test]
async fn an_order_arrives_and_its_answer_comes_back() {
    let mut stand = stand();
    let mut client = Client::connect(&stand.path).await.unwrap();
    let engine = tokio::spawn(async move {
        let first = stand.orders.recv().await.unwrap();
        let by = first.order.by.clone();
        let second = {
            first.reply.send(Ok(Receipt { id: CommandId(7) })).unwrap();
            stand.orders.recv().await.unwrap()
        };
        let no = Refusal { why: "nothing is paused".into(), legal_when: "when the run is paused".into() };
        second.reply.send(Err(no)).unwrap();
        (by, first.order.command, second.order.command)
    });
    assert_eq!(client.order(ada(), pause()).await.unwrap().unwrap().id, CommandId(7));
    let refusal = client.order(ada(), Command::Resume).await.unwrap().unwrap_err();
    assert_eq!(refusal.legal_when, "when the run is paused");
    let (by, first, second) = engine.await.unwrap();
    assert_eq!((first, second), (pause(), Command::Resume));
    assert_eq!(by, Actor { name: "ada·[2J".into(), via: Via::Cli }, "the door and a clean name, whatever was claimed");
}

#[tokio::test]
async fn the_view_and_the_events_are_seen_and_the_end_is_told() {
    let stand = stand();
    let mut client = Client::connect(&stand.path).await.unwrap();
    let view = client.view().await.unwrap();
    assert_eq!(*view, fold::begin(&started()).unwrap());
    client.watch().await.unwrap();
    assert!(matches!(client.next().await.unwrap(), Watched::View(_)));
    stand.events.send(Arc::new(event(2))).unwrap();
    let Watched::Event(heard) = client.next().await.unwrap() else { panic!("no event") };
    assert_eq!(*heard, event(2));
    stand.end.cancel();
    assert!(matches!(client.next().await.unwrap(), Watched::End));
    stand.task.await.unwrap();
    assert!(!stand.path.exists());
    assert_eq!(Client::connect(&stand.path).await.err().unwrap().kind, FaultKind::NotFound);
}

#[tokio::test]
async fn a_watcher_that_is_too_slow_is_told_what_it_lost() {
    let stand = stand();
    let mut client = Client::connect(&stand.path).await.unwrap();
    client.watch().await.unwrap();
    assert!(matches!(client.next().await.unwrap(), Watched::View(_)));
    // More than the channel holds, before the server's task gets to run.
    for seq in 2..40 {
        stand.events.send(Arc::new(event(seq))).unwrap();
    }
    assert!(matches!(client.next().await.unwrap(), Watched::Lost(30)));
    let Watched::Event(heard) = client.next().await.unwrap() else { panic!("no event") };
    assert_eq!(heard.seq, 32);
}

#[tokio::test]
async fn the_socket_is_private_and_a_stale_one_is_replaced() {
    let stand = stand();
    assert_eq!(std::fs::metadata(&stand.path).unwrap().permissions().mode() & 0o777, 0o600);
    // As after SIGKILL: the file stands there, nobody listens.
    let handle = {
        let (orders, _) = mpsc::channel(1);
        let (_, view) = watch::channel(Arc::new(fold::begin(&started()).unwrap()));
        Handle::new(orders, Arc::default(), view, broadcast::channel(1).0, Vec::new())
    };
    let again = serve(&stand.path, handle, stand.end.clone()).unwrap();
    let mut client = Client::connect(&stand.path).await.unwrap();
    let refusal = client.order(ada(), Command::Retry).await.unwrap().unwrap_err();
    assert_eq!(refusal.why, "the engine has ended");
    stand.end.cancel();
    again.await.unwrap();
}

#[tokio::test]
async fn odd_lines_are_answered_and_disturb_nobody() {
    let stand = stand();
    let mut good = Client::connect(&stand.path).await.unwrap();
    for (bytes, says) in [
        (&b"hello\n"[..], "not a request"),
        (b"{}\n", "not a request"),
        (b"{\"order\":{\"by\":1}}\n", "not a request"),
        (b"{\"v\":2,\"view\":{}}\n", "version 2"),
        (b"\xff\xfe\n", "unreadable"),
    ] {
        let line = raw(&stand, bytes).await;
        assert!(line.starts_with("{\"v\":1,\"error\":") && line.contains(says), "{line}");
    }
    let long = vec![b'x'; 70 * 1024];
    assert!(raw(&stand, &long).await.contains("unreadable"));
    drop(UnixStream::connect(&stand.path).await.unwrap());
    assert!(good.view().await.is_ok());
    assert!(raw(&stand, b"{\"view\":{}}\n").await.contains("list-cutter"), "the version may be left out");
}

#[tokio::test]
async fn a_crowd_is_told_so_and_those_inside_stay() {
    let stand = stand();
    let mut inside = Vec::new();
    for _ in 0..32 {
        let mut client = Client::connect(&stand.path).await.unwrap();
        client.view().await.unwrap();
        inside.push(client);
    }
    assert!(raw(&stand, b"").await.contains("too many"));
    assert!(inside[0].view().await.is_ok());
}

#[tokio::test]
async fn a_folder_with_a_long_name_works_too() {
    let stand = stand_at(&"long-".repeat(40));
    assert!(stand.path.as_os_str().len() > 200);
    let mut client = Client::connect(&stand.path).await.unwrap();
    assert!(client.view().await.is_ok());
}
