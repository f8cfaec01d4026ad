//! A screen that breaks, and an engine part that does, on a real terminal. The program that breaks is this test's own
//! binary, called again with the name of the test that plays it: the real console over a handle whose view is broken.

use crate::desk::Desk;
use cutover::{
    engine::{Handle, fold, view::RunView},
    event::{Event, EventKind, PhaseOutline},
    model::{Actor, Environment, LaneId, LaneKind, LaneProgress, LaneStage, Mode, Phase, RunId, Tally, Timestamp},
    plan::{self, Source},
    tui::{self, Setup},
};
use std::{path::Path, sync::Arc, time::Duration};
use tokio::sync::{broadcast, mpsc, watch};

const PLAYS: &str = "CUTOVER_TEST_PLAYS";

const PLAN: &str = r#"
name = "broken"
environment = "development"
[stores.a]
kind = "sqlite"
path = "a.db"
[stores.b]
kind = "sqlite"
path = "b.db"
[[dataset]]
name = "users"
from = { store = "a", table = "users" }
to = { store = "b", table = "users" }
key = "id"
"#;

fn view() -> RunView {
    let kind = EventKind::RunStarted {
        run: RunId::new("r"),
        plan: "broken".into(),
        plan_digest: String::new(),
        environment: Environment::Development,
        mode: Mode::Live,
        phases: Phase::ALL
            .map(|phase| PhaseOutline { phase, enabled: true, gate: false, steps: Vec::new(), expected_s: None })
            .into(),
        by: Actor::engine("test"),
    };
    fold::begin(&Event { seq: 1, at: Timestamp::now(), kind }).unwrap()
}

/// A view that nobody can draw: its sums do not fit into a number.
fn impossible() -> RunView {
    let mut view = view();
    let tally = Tally { verified: u64::MAX, failed: u64::MAX, ..Tally::default() };
    let lane = LaneProgress::new(LaneId::new("users"), LaneKind::Records, LaneStage::Copying);
    let progress = LaneProgress { total: Some(1), tally, concurrency: 1, ..lane };
    view.apply(&Event { seq: 1, at: Timestamp::now(), kind: EventKind::LaneMoved { progress } });
    view
}

/// Shows a console over a view that becomes `next`, while `beside` happens elsewhere in the process.
async fn show(next: RunView, beside: impl Future<Output = ()> + Send + 'static) {
    let source = Source { name: "broken.toml", text: PLAN, base: Path::new("."), env: &|_| None };
    let plan = plan::parse(&source).unwrap_or_else(|problems| panic!("{problems}"));
    let (orders, _orders) = mpsc::channel(1);
    let (views, view_out) = watch::channel(Arc::new(view()));
    let (events, _) = broadcast::channel(16);
    let handle = Handle::new(orders, Arc::default(), view_out, events, Vec::new());
    let setup = Setup::new(&plan, Actor::engine("test"));
    let breaking = tokio::spawn(async move {
        // The screen is to be seen before it breaks.
        let later = tokio::time::timeout(Duration::from_millis(500), std::future::pending::<()>());
        later.await.unwrap_err();
        views.send_replace(Arc::new(next));
        beside.await;
        std::future::pending::<()>().await;
    });
    let left = tui::run(handle, setup).await;
    breaking.abort();
    println!("left: {}", left.map_or_else(|fault| fault.chain(), |left| format!("{left:?}")));
}

#[tokio::test(flavor = "multi_thread")]
async fn plays_a_broken_screen() {
    if std::env::var(PLAYS).is_ok_and(|plays| plays == "screen") {
        show(impossible(), async {}).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn plays_a_broken_part() {
    if std::env::var(PLAYS).is_ok_and(|plays| plays == "part") {
        show(view(), async { panic!("a part of the engine broke") }).await;
    }
}

fn played(test: &str, plays: &str) -> Desk {
    let program = std::env::current_exe().unwrap();
    let arguments = ["--exact", test, "--nocapture", "--test-threads=1"];
    Desk::new(program.to_str().unwrap(), &arguments, 120, 36, &[(PLAYS, plays)])
}

#[test]
fn a_screen_that_breaks_gives_the_terminal_back_and_says_so() {
    let mut desk = played("broken::plays_a_broken_screen", "screen");
    desk.until("left:");
    assert!(!desk.is_full_screen(), "{}", desk.shows());
    let sent = String::from_utf8_lossy(&desk.bytes).into_owned();
    for mode in ["?1049", "?2004", "?1004"] {
        assert!(sent.contains(&format!("\x1b[{mode}h")) && sent.contains(&format!("\x1b[{mode}l")), "mode {mode}");
    }
}

#[test]
fn a_part_that_breaks_is_a_red_alert_and_the_screen_stays() {
    let mut desk = played("broken::plays_a_broken_part", "part");
    desk.until("a part of the engine broke");
    assert!(desk.is_full_screen(), "{}", desk.shows());
}
