//! The console: how long a frame takes, how soon the first one is there, what it costs to sit and watch.

use crate::figures::{print, print_one};
use cutover::{
    engine::{fold, view::RunView},
    event::{Event, EventKind, PhaseOutline},
    model::{Actor, BatchId, BatchProgress, BatchState, Environment, LaneId, Mode, Phase, RunId, Timestamp},
    plan::{self, Source},
    tui::{Board, Moment, Setup, ThemeChoice},
};
use portable_pty::{CommandBuilder, PtySize, native_pty_system};
use ratatui::{
    buffer::Buffer,
    layout::{Rect, Size},
};
use std::{
    fs,
    io::Read as _,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Arc, mpsc},
    time::{Duration, Instant},
};

const BATCHES: u64 = 10_000;
const FRAMES: u64 = 2_000;
const STARTS: usize = 20;
/// How long the idle console is watched.
const IDLE: Duration = Duration::from_secs(15);

/// A view with ten thousand batches, of which a few hundred are live.
fn huge() -> RunView {
    let kind = EventKind::RunStarted {
        run: RunId::new("bench"),
        plan: "bench".into(),
        plan_digest: String::new(),
        environment: Environment::Production,
        mode: Mode::Live,
        phases: Phase::ALL
            .map(|phase| PhaseOutline { phase, enabled: true, gate: false, steps: Vec::new(), expected_s: None })
            .into(),
        by: Actor::engine("bench"),
    };
    let mut view = fold::begin(&Event { seq: 1, at: Timestamp::now(), kind }).expect("a run begins with this event");
    for number in 0..BATCHES {
        moved(&mut view, number, number % 50);
    }
    view
}

fn moved(view: &mut RunView, number: u64, done: u64) {
    let progress = BatchProgress {
        batch: BatchId::new(format!("users-{number:05}")),
        lane: LaneId::new("users"),
        state: if number.is_multiple_of(30) { BatchState::Running } else { BatchState::Done },
        items: 50,
        done,
        failed: 0,
        bytes: 4096,
        attempt: 1,
        started: Some(Timestamp::now()),
        finished: None,
        error: String::new(),
    };
    view.apply(&Event { seq: 1, at: Timestamp::now(), kind: EventKind::BatchMoved { progress } });
}

/// Frames at 200x60 over ten thousand batches, with a batch that moves between any two.
pub(crate) fn frames() {
    let source = Source { name: "bench.toml", text: crate::stop::PLAN, base: Path::new("."), env: &|_| None };
    let plan = plan::parse(&source).unwrap_or_else(|problems| panic!("{problems}"));
    let mut view = huge();
    let began = Instant::now();
    let moment = || Moment { wall: Timestamp::now(), mono: began.elapsed() };
    let setup = Setup::new(&plan, Actor::engine("bench"));
    let size = Size::new(200, 60);
    let mut board = Board::new(setup, ThemeChoice::Dark, Arc::new(view.clone()), size, moment());
    let mut times = Vec::new();
    for frame in 0..FRAMES {
        moved(&mut view, frame * 30 % BATCHES, frame % 50);
        board.goes_on(Arc::new(view.clone()), moment());
        let mut buffer = Buffer::empty(Rect::new(0, 0, size.width, size.height));
        let began = Instant::now();
        board.draw(&mut buffer);
        times.push(began.elapsed());
        std::hint::black_box(buffer);
    }
    print("frame at 200x60 with 10,000 batches", times, "p99 < 4 ms");
}

/// A world of its own, so that only the console and its engine are measured.
struct World {
    child: Child,
    folder: tempfile::TempDir,
}

impl Drop for World {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

impl World {
    fn start() -> Self {
        let folder = tempfile::tempdir().expect("a scratch folder");
        let mut child = Command::new(env!("CARGO_BIN_EXE_cutover"))
            .args(["world", "--users", "20", "--files", "20", "--plan"])
            .arg(folder.path().join("cutover.toml"))
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let mut byte = [0];
        child.stdout.as_mut().expect("piped above").read_exact(&mut byte).expect("the world says that it is ready");
        Self { child, folder }
    }
}

/// The real console over that world, and the time until its first frame stood.
fn console(world: &World, data: &Path) -> (Box<dyn portable_pty::Child + Send + Sync>, mpsc::Receiver<()>, Instant) {
    let size = PtySize { rows: 36, cols: 120, pixel_width: 0, pixel_height: 0 };
    let pty = native_pty_system().openpty(size).expect("a pseudo-terminal");
    let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_cutover"));
    command.args(["--plan", "cutover.toml", "--data-dir"]);
    command.arg(data);
    command.args(["run", "--yes"]);
    command.cwd(world.folder.path());
    command.env("TERM", "xterm-256color");
    command.env("LANG", "C.UTF-8");
    command.env_remove("CI");
    let began = Instant::now();
    let child = pty.slave.spawn_command(command).expect("the program starts");
    let mut reader = pty.master.try_clone_reader().expect("a reader");
    let (seen, frame) = mpsc::channel();
    std::thread::spawn(move || {
        let _open = pty.master;
        let (mut all, mut buffer) = (Vec::new(), [0; 8192]);
        let mut told = false;
        while let Ok(count) = reader.read(&mut buffer) {
            if count == 0 {
                return;
            }
            if !told {
                all.extend_from_slice(&buffer[..count]);
                told = all.windows(5).any(|window| window == b"TRUTH");
                if told && seen.send(()).is_err() {
                    return;
                }
            }
        }
    });
    (child, frame, began)
}

/// From starting the program to its first whole frame.
pub(crate) fn first_frame() {
    let world = World::start();
    let mut times = Vec::new();
    for number in 0..STARTS {
        let data = world.folder.path().join(format!("data-{number}"));
        let (mut child, frame, began) = console(&world, &data);
        frame.recv_timeout(Duration::from_secs(20)).expect("a first frame");
        times.push(began.elapsed());
        child.kill().expect("the console runs");
        child.wait().expect("the console ends");
    }
    print("first frame after start, with ledger, plan and engine", times, "p99 < 150 ms");
}

/// Processor time of a console whose run waits at its first gate: the screen, the truth line, probes and evidence.
pub(crate) fn idle() {
    let world = World::start();
    let (mut child, frame, _) = console(&world, &world.folder.path().join("data"));
    frame.recv_timeout(Duration::from_secs(20)).expect("a first frame");
    let id = child.process_id().expect("the console runs");
    std::thread::sleep(Duration::from_secs(20));
    let before = cpu_seconds(id);
    std::thread::sleep(IDLE);
    let share = (cpu_seconds(id) - before) / IDLE.as_secs_f64() * 100.0;
    print_one("console waiting at a gate, screen and engine together", share, "% of a core", "< 1 %");
    child.kill().expect("the console runs");
    child.wait().expect("the console ends");
}

/// User and system time of a process so far (source: proc(5), fields 14 and 15, in ticks of 1/100 s).
fn cpu_seconds(id: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).expect("the process runs");
    let fields: Vec<&str> = stat.rsplit(')').next().expect("a name in brackets").split_whitespace().collect();
    let ticks = |field: usize| fields[field].parse::<f64>().expect("a number of ticks");
    (ticks(11) + ticks(12)) / 100.0
}
