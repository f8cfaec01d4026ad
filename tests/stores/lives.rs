//! Lives of a record lane: in this process, or in one of its own that can be killed: this test's own binary, called again
//! with the name of the test that plays it.

use super::{proxy::Count, step::step};
use cutover::{
    engine::StepContext,
    error::Result,
    ledger::Ledger,
    migrate::{
        backup::{self, Place},
        follow, records, undo_records,
    },
    plan, wiring,
};
use rand::{Rng as _, rngs::StdRng};
use std::{
    collections::BTreeMap,
    fmt, fs,
    path::Path,
    process::{ExitStatus, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader},
    process::Command,
};

/// Names the folder with the plan whose lane this process shall live.
const FOLDER: &str = "CUTOVER_TEST_RECORD_LANE";
/// The stages that it shall go through.
const STAGES: &str = "CUTOVER_TEST_RECORD_STAGES";
const PLAYER: &str = "lives::plays_a_lane";
/// What a life says before each stage, with the stage behind it.
const BEGINS: &str = "begins ";

/// What a lane goes through. One that is added to `ALL` and to a way below is killed like the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    Backup,
    /// Everything once while the source is in use.
    Ahead,
    /// What changed since.
    Follow,
    Drain,
    Copy,
    Verify,
    /// The target is made what the backup has.
    Restore,
    Undo,
}

impl Stage {
    const ALL: [Self; 8] =
        [Self::Backup, Self::Ahead, Self::Follow, Self::Drain, Self::Copy, Self::Verify, Self::Restore, Self::Undo];
    /// The way to the new side.
    pub(crate) const FORWARD: &[Self] = &[Self::Backup, Self::Copy, Self::Verify];
    /// The same with a drain.
    pub(crate) const FOLLOWING: &[Self] =
        &[Self::Backup, Self::Ahead, Self::Follow, Self::Drain, Self::Copy, Self::Verify];
    /// The way back.
    pub(crate) const BACK: &[Self] = &[Self::Undo];
    /// The way back by hand first; undo then finds it done.
    pub(crate) const RESTORING: &[Self] = &[Self::Restore, Self::Undo];

    async fn play(self, cx: &StepContext) -> Result<()> {
        let dataset = &cx.plan.datasets[0];
        match self {
            Self::Backup => backup::take(cx, dataset).await.map(|_| ()),
            Self::Restore => {
                let place = Place::new(&cx.plan, &cx.ports, &cx.signals)?;
                backup::restore(cx, dataset, &place.backup(cx.work.run(), &dataset.name), true).await.map(|_| ())
            }
            Self::Ahead => follow::copy_ahead(cx).await.map(|_| ()),
            Self::Follow => follow::round(cx, cx.plan.migration.follow.unwrap()).await,
            Self::Drain => follow::drain(cx).await.map(|_| ()),
            Self::Copy => records::copy(cx, dataset).await.map(|_| ()),
            Self::Verify => {
                let found = records::verify(cx, dataset).await?;
                assert!(found.is_same(), "{} {:?}", found.summary(), found.first);
                Ok(())
            }
            Self::Undo => undo_records(cx, dataset).await.map(|_| ()),
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Backup => "backup",
            Self::Restore => "restore",
            Self::Ahead => "copy ahead",
            Self::Follow => "follow",
            Self::Drain => "drain",
            Self::Copy => "copy",
            Self::Verify => "verify",
            Self::Undo => "undo",
        })
    }
}

/// A moment at which a life is killed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    /// In this stage, or behind it if that comes to its end before.
    pub(crate) stage: Stage,
    /// After its servers were told something so many times.
    pub(crate) said: u64,
    /// And then so much later.
    pub(crate) later: Duration,
}

/// What a stage takes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spent {
    /// How often its servers are told something.
    said: u64,
    took: Duration,
}

impl Spent {
    /// Any moment of such a stage, of which so many lives have done a part already.
    pub(crate) fn moment(self, stage: Stage, lives: u32, random: &mut StdRng) -> Moment {
        let said = random.random_range(0..=self.said / u64::from(lives + 1));
        let apart = self.took / u32::try_from(self.said + 1).unwrap();
        Moment { stage, said, later: apart.mul_f64(random.random_range(0.0..2.0)) }
    }
}

/// How a life ended.
pub(crate) enum End {
    /// It was killed in this stage, or before the first.
    Killed(Option<Stage>),
    /// It came to its end; what each stage took.
    Whole(BTreeMap<Stage, Spent>),
}

/// A life in a process of its own over the plan in this folder, killed at this moment, if there is one.
pub(crate) async fn live(folder: &Path, stages: &[Stage], count: &Count, dies: Option<Moment>) -> End {
    let words: Vec<String> = stages.iter().map(ToString::to_string).collect();
    let mut child = Command::new("/proc/self/exe");
    child.args(["--exact", PLAYER, "--nocapture", "--test-threads=1"]).env(FOLDER, folder).env(STAGES, words.join(","));
    child.current_dir("/").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = child.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let (mut now, mut began, mut spent, mut until) = (None, (0, Instant::now()), BTreeMap::new(), None);
    let mut heard = String::new();
    let since = |(said, at): (u64, Instant)| Spent { said: count.now() - said, took: at.elapsed() };
    loop {
        let due = async {
            let (Some(until), Some(moment)) = (until, dies) else { return std::future::pending().await };
            count.reaches(until).await;
            // Not a wait for something: the kill is to fall between two messages as well as on one.
            let _over = tokio::time::timeout(moment.later, std::future::pending::<()>()).await;
        };
        tokio::select! {
            line = lines.next_line() => {
                let Some(line) = line.unwrap() else { break };
                let begins = line.strip_prefix(BEGINS).map(str::to_owned);
                heard = heard + &line + "\n";
                let Some(word) = begins else { continue };
                if let Some(stage) = now {
                    spent.insert(stage, since(began));
                }
                now = Stage::ALL.into_iter().find(|stage| stage.to_string() == word);
                began = (count.now(), Instant::now());
                if until.is_none() && dies.is_some_and(|moment| Some(moment.stage) == now) {
                    until = dies.map(|moment| began.0 + moment.said);
                }
            }
            () = due => {
                child.kill().await.unwrap();
                return End::Killed(now);
            }
        }
    }
    if let Some(stage) = now {
        spent.insert(stage, since(began));
    }
    let status: ExitStatus = child.wait().await.unwrap();
    child.stderr.take().unwrap().read_to_string(&mut heard).await.unwrap();
    assert!(status.success(), "a life ended badly: {status}\n{heard}");
    End::Whole(spent)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plays_a_lane() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let folder = Path::new(&folder);
    let plan = Arc::new(plan::load(&folder.join("cutover.toml")).unwrap_or_else(|problems| panic!("{problems}")));
    let run = folder.join("run");
    fs::create_dir_all(&run).unwrap();
    let ledger = Ledger::open(&run).await.unwrap_or_else(|fault| panic!("{}", fault.chain()));
    let ports = wiring::ports_in(&plan, folder).unwrap_or_else(|fault| panic!("{}", fault.chain()));
    let cx = step(&plan, ports, &ledger, "run", &plan.datasets[0].name, &run);
    let wanted = std::env::var(STAGES).unwrap();
    for stage in wanted.split(',').filter_map(|word| Stage::ALL.into_iter().find(|stage| stage.to_string() == word)) {
        println!("\n{BEGINS}{stage}");
        stage.play(&cx).await.unwrap_or_else(|fault| panic!("{stage}: {}", fault.chain()));
    }
    ledger.close().await;
}
