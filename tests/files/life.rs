//! One life of the lane: a ledger opened, the lane called, the ledger closed; in this process, or in one of its own that
//! can be killed: this test's own binary, called again with the name of the test that plays it.

use crate::world::World;
use cutover::{
    engine::{Reporter, Signals, StepContext, StepDone},
    error::{FaultKind, Result},
    ledger::Ledger,
    migrate::{
        self, Verified,
        files::{self, VerifyLevel},
    },
    model::{ItemState, LaneId, RunId, StepId, Tally},
    plan::{self, DatasetPlan},
    ports::{BlobStore, ItemQuery, ItemRow},
    wiring,
};
use std::{collections::BTreeMap, fs, path::Path, process::Stdio, sync::Arc};
use tokio::{
    process::{Child, Command},
    sync::mpsc,
};
use tokio_util::sync::CancellationToken;

/// Names the folder of the world whose lane this process shall live.
const FOLDER: &str = "CUTOVER_TEST_LANE";
const PLAYER: &str = "life::plays_a_lane";

pub(crate) struct Life {
    ledger: Ledger,
    cx: StepContext,
    dataset: DatasetPlan,
    _gate: cutover::engine::PauseGate,
}

impl Life {
    pub(crate) async fn begin(folder: &Path) -> Self {
        let plan = Arc::new(plan::load(&folder.join("cutover.toml")).unwrap_or_else(|problems| panic!("{problems}")));
        let run = folder.join("run");
        fs::create_dir_all(&run).unwrap();
        let ledger = Ledger::open(&run).await.unwrap_or_else(|fault| panic!("{}", fault.chain()));
        let (signals, gate) = Signals::new(CancellationToken::new());
        let (to, mut from) = mpsc::channel(64);
        tokio::spawn(async move { while from.recv().await.is_some() {} });
        let cx = StepContext {
            ports: wiring::ports(&plan).unwrap_or_else(|fault| panic!("{}", fault.chain())),
            plan: Arc::clone(&plan),
            work: ledger.work(&RunId::new("run")),
            signals,
            report: Reporter::new(StepId::new("data_migration/files-content"), to),
            folder: run,
        };
        Self { ledger, cx, dataset: plan.datasets[0].clone(), _gate: gate }
    }

    pub(crate) async fn copy(&self) -> Result<StepDone> {
        files::copy(&self.cx, &self.dataset).await
    }

    pub(crate) async fn verify(&self, level: VerifyLevel) -> Result<Verified> {
        files::verify(&self.cx, &self.dataset, level).await
    }

    pub(crate) async fn undo(&self) -> Result<StepDone> {
        migrate::undo_files(&self.cx, &self.dataset).await
    }

    /// The bucket that the files go to.
    pub(crate) fn target(&self) -> Arc<dyn BlobStore> {
        self.cx.ports.bucket("r2").unwrap()
    }

    fn lane() -> LaneId {
        LaneId::new("files-content")
    }

    /// What the ledger says of each file.
    pub(crate) async fn items(&self) -> BTreeMap<String, ItemRow> {
        let query = ItemQuery { lane: Some(Self::lane()), limit: 10_000, ..ItemQuery::default() };
        let rows = self.cx.work.items(&query).await.unwrap();
        rows.into_iter().map(|row| (row.key.clone(), row)).collect()
    }

    pub(crate) async fn tally(&self) -> Tally {
        self.cx.work.tally(&Self::lane()).await.unwrap()
    }

    /// Keys of the uploads in parts that the ledger holds for unfinished.
    pub(crate) async fn uploads(&self) -> Vec<String> {
        let rows = self.cx.work.uploads(&Self::lane(), None, 1000).await.unwrap();
        rows.into_iter().map(|row| row.key).collect()
    }

    pub(crate) async fn end(self) {
        self.ledger.close().await;
    }
}

/// Copies in a life of its own, and says how that ended.
pub(crate) async fn copy(world: &World) -> Result<StepDone> {
    let life = Life::begin(world.path()).await;
    let ended = life.copy().await;
    life.end().await;
    ended
}

/// What the ledger says of each file: its state, and what went wrong with it.
pub(crate) async fn items(world: &World) -> BTreeMap<String, (ItemState, Option<FaultKind>, String)> {
    let life = Life::begin(world.path()).await;
    let items = life.items().await;
    life.end().await;
    items.into_iter().map(|(key, item)| (key, (item.state, item.error, item.reason))).collect()
}

/// Copies and compares in a process of its own, which is killed when this is dropped.
pub(crate) fn child(folder: &Path) -> Command {
    let mut child = Command::new("/proc/self/exe");
    child.args(["--exact", PLAYER, "--nocapture", "--test-threads=1"]).env(FOLDER, folder).current_dir("/");
    child.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    child
}

/// What a child said, in a failure.
pub(crate) async fn said(child: Child) -> (bool, String) {
    let done = child.wait_with_output().await.unwrap();
    let said = String::from_utf8_lossy(&done.stdout).into_owned() + &String::from_utf8_lossy(&done.stderr);
    (done.status.success(), said)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plays_a_lane() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let life = Life::begin(Path::new(&folder)).await;
    life.copy().await.unwrap_or_else(|fault| panic!("copy: {}", fault.chain()));
    let found = life.verify(VerifyLevel::Checksum).await.unwrap_or_else(|fault| panic!("verify: {}", fault.chain()));
    println!("compared: {} {:?}", found.summary(), found.first);
    life.end().await;
}
