//! The command line as other programs see it: exit codes, the last line, one sentence for each mistake, and orders from
//! another terminal.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails like the test itself")]

#[path = "cli/backups.rs"]
mod backups;
#[path = "cli/files.rs"]
mod files;
#[path = "cli/records.rs"]
mod records;

use serde_json::Value;
use std::{
    fs,
    io::{BufRead as _, BufReader, Lines, Write as _},
    net::TcpListener,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Output, Stdio},
    thread,
};
use tempfile::TempDir;

fn cutover(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cutover"));
    command
        .current_dir(folder)
        .env("CUTOVER_DATA_DIR", folder.join("data"))
        .env("TMPDIR", folder)
        .env("USER", "ada")
        .env_remove("RUST_LOG")
        .stdin(Stdio::null());
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Exit code, last line of standard output as JSON, standard error.
fn ended(output: &Output) -> (i32, Value, String) {
    let out = text(&output.stdout);
    let last = out.lines().last().map_or(Value::Null, |line| serde_json::from_str(line).unwrap());
    (output.status.code().unwrap(), last, text(&output.stderr))
}

#[test]
fn a_program_hears_of_every_mistake_in_the_last_line() {
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("broken.toml"), "name = \"x").unwrap();
    fs::write(dir.path().join("typo.toml"), "name = \"x\"\nenviroment = \"staging\"\n").unwrap();
    for (args, says) in [
        (&["run"][..], "cutover.toml"),
        (&[], "cutover.toml"),
        (&["resume"], "cutover.toml"),
        (&["rollback", "--reason", "x"], "cutover.toml"),
        (&["--plan", "broken.toml", "run"], "broken.toml:1:"),
        (&["--plan", "typo.toml", "run"], "environment"),
        (&["fly"], "fly"),
        (&["rehearse", "--scenario", "storm"], "calm, error-spike, flaky, conflicts"),
        (&["rehearse", "--speed", "0"], "speed"),
        (&["rehearse", "--users", "0"], "users"),
    ] {
        let output = cutover(dir.path()).args(args).args(["--headless", "--json"]).output().unwrap();
        let (code, last, error) = ended(&output);
        assert_eq!(code, 2, "{args:?}: {error}");
        assert_eq!((&last["kind"], &last["outcome"]), (&"run_finished".into(), &"blocked".into()), "{args:?}");
        assert!(last["reason"].as_str().unwrap().contains(says), "{args:?}: {last}");
        assert!(error.contains(says), "{args:?}: {error}");
    }
    assert!(!dir.path().join("data").exists(), "a mistake leaves nothing behind");
}

#[test]
fn without_a_plan_it_says_how_to_begin() {
    let dir = TempDir::new().unwrap();
    let output = cutover(dir.path()).output().unwrap();
    assert!(output.status.success());
    assert!(text(&output.stdout).contains("cutover rehearse"));
    let output = cutover(dir.path()).arg("status").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn a_starter_plan_is_private_never_overwritten_and_tells_what_it_needs() {
    let dir = TempDir::new().unwrap();
    let init = |args: &[&str]| cutover(dir.path()).arg("init").args(args).output().unwrap();
    assert!(init(&[]).status.success());
    let plan = dir.path().join("cutover.toml");
    assert_eq!(fs::metadata(&plan).unwrap().permissions().mode() & 0o777, 0o600);
    fs::write(&plan, "mine").unwrap();
    let again = init(&[]);
    assert_eq!(again.status.code(), Some(2));
    assert!(text(&again.stderr).contains("there already"));
    assert_eq!(fs::read_to_string(&plan).unwrap(), "mine");

    assert!(init(&["other.toml"]).status.success());
    let output = cutover(dir.path()).args(["--plan", "other.toml", "check", "--json"]).output().unwrap();
    let (code, answer, error) = ended(&output);
    assert_eq!((code, &answer["ok"]), (2, &Value::Bool(false)));
    let problems = answer["problems"].as_array().unwrap();
    assert!(problems.len() > 1, "all of them at once: {answer}");
    assert!(problems.iter().all(|problem| problem["line"].as_u64() > Some(0)), "{answer}");
    assert!(error.contains("other.toml:"), "{error}");
}

/// A child that is killed with its test.
struct Process {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Process {
    fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// Reads until a line has this in it.
    fn until(&mut self, says: &str) -> String {
        self.lines
            .by_ref()
            .map_while(Result::ok)
            .find(|line| line.contains(says))
            .unwrap_or_else(|| panic!("never {says}"))
    }

    fn id(&self) -> u32 {
        self.child.id()
    }

    fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// Reads to the end: exit code and last line.
    fn end(&mut self) -> (i32, String) {
        let last = self.lines.by_ref().map_while(Result::ok).last().unwrap_or_default();
        (self.child.wait().unwrap().code().unwrap_or(-1), last)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself, which is just as well.
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// A world in its own process, with its plan in the folder.
fn world(folder: &Path) -> Process {
    let sizes = ["--users", "20", "--files", "20", "--bytes", "2048", "--speed", "10"];
    let mut world = Process::start(cutover(folder).args(["world", "--keep", "world"]).args(sizes));
    world.until("begin in another terminal");
    world
}

#[test]
fn a_run_is_steered_from_another_terminal() {
    let dir = TempDir::new().unwrap();
    let _world = world(dir.path());
    let call = |args: &[&str]| ended(&cutover(dir.path()).args(args).arg("--json").output().unwrap());

    let mut engine = Process::start(cutover(dir.path()).args(["run", "--headless", "--json"]));
    engine.until("\"kind\":\"gate_opened\"");
    let (code, status, _) = call(&["status"]);
    assert_eq!((code, &status["engine"], &status["run"]["state"]), (0, &true.into(), &"at-gate".into()));
    let socket = dir.path().join("data/list-cutter/control.sock");
    assert_eq!(fs::metadata(socket).unwrap().permissions().mode() & 0o777, 0o600);

    let (code, last, error) = call(&["run"]);
    assert_eq!((code, &last["outcome"]), (6, &"blocked".into()), "a second driver");
    assert!(error.contains(&format!("pid {}", engine.child.id())) && error.contains("ada"), "{error}");

    let (code, answer, error) = call(&["approve", "cleanup"]);
    assert_eq!(code, 6);
    assert!(answer["refused"]["why"].as_str().unwrap().contains("Maintenance"), "{answer}");
    assert!(error.contains("possible at its own gate"), "{error}");
    let (code, answer, _) = call(&["refuse", "maintenance", "--reason", "not yet"]);
    assert_eq!((code, &answer["state"]), (0, &"effective".into()));
    assert_eq!(call(&["status"]).1["run"]["state"], "paused");

    assert_eq!(call(&["stop", "--reason", "drill"]).0, 0);
    let (code, last) = engine.end();
    assert_eq!(code, 4);
    assert!(last.contains("\"kind\":\"run_finished\"") && last.contains("\"outcome\":\"stopped\""), "{last}");

    let (code, _, error) = call(&["pause"]);
    assert_eq!(code, 6, "nobody is there to pause");
    assert!(error.contains("none is running"), "{error}");
    let (code, last, error) = call(&["run"]);
    assert_eq!((code, &last["outcome"]), (6, &"blocked".into()));
    assert!(error.contains("cutover resume") && error.contains("cutover rollback"), "{error}");

    let plan = dir.path().join("cutover.toml");
    let before = fs::read_to_string(&plan).unwrap();
    fs::write(&plan, before.replace("on_hangup   = \"continue\"", "on_hangup   = \"pause\"")).unwrap();
    let (code, _, error) = call(&["resume"]);
    assert_eq!(code, 6);
    assert!(error.contains("--plan-changed-ok"), "{error}");
    fs::write(&plan, before).unwrap();

    let (code, last, error) = call(&["rollback", "--reason", "drill"]);
    assert_eq!((code, &last["outcome"]), (3, &"rolled_back".into()), "{error}");
    assert_eq!(call(&["status"]).1["run"]["state"], "rolled-back");
}

#[test]
fn a_run_is_followed_stopped_by_a_signal_and_resumed() {
    let dir = TempDir::new().unwrap();
    let _world = world(dir.path());
    let mut engine = Process::start(cutover(dir.path()).args(["run", "--headless", "--approve-all"]));
    engine.until("lane users:");
    let mut watch = Process::start(cutover(dir.path()).arg("watch"));
    engine.until("lane files:");
    engine.signal(rustix::process::Signal::TERM);
    let (code, last) = engine.end();
    assert_eq!(code, 4, "{last}");
    assert!(last.starts_with("stopped: go on with `cutover resume`"), "{last}");
    let (code, last) = watch.end();
    assert_eq!(code, 0);
    assert!(last.contains("run ended: stopped"), "{last}");

    let output = cutover(dir.path()).args(["batches", "--lane", "users", "--json"]).output().unwrap();
    let (_, rows, _) = ended(&output);
    assert!(rows.as_array().is_some_and(|rows| !rows.is_empty() && rows[0]["lane"] == "users"), "{rows}");

    let output = cutover(dir.path()).args(["resume", "--headless", "--json", "--approve-all"]).output().unwrap();
    let (code, last, error) = ended(&output);
    assert_eq!((code, &last["outcome"]), (0, &"completed".into()), "{error}");
    let seqs: Vec<u64> = text(&output.stdout)
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .inspect(|event| assert!(event["at"].is_string() && event["kind"].is_string(), "{event}"))
        .map(|event| event["seq"].as_u64().unwrap())
        .collect();
    assert!(seqs.is_sorted(), "in order");
    let mut decisions = seqs.clone();
    decisions.dedup();
    assert_eq!(decisions.last().unwrap() - decisions[0] + 1, decisions.len() as u64, "without a gap");
}

#[test]
fn a_wrong_credential_blocks_before_anything_changes() {
    let dir = TempDir::new().unwrap();
    let _world = world(dir.path());
    let plan = fs::read_to_string(dir.path().join("cutover.toml")).unwrap();
    let start = plan.find("token = \"").unwrap() + "token = \"".len();
    let token = &plan[start..start + plan[start..].find('"').unwrap()];
    fs::write(dir.path().join("wrong.toml"), plan.replace(token, "not-the-token")).unwrap();
    let args = ["--plan", "wrong.toml", "run", "--headless", "--json", "--approve-all"];
    let (code, last, error) = ended(&cutover(dir.path()).args(args).output().unwrap());
    assert_eq!((code, &last["outcome"]), (6, &"blocked".into()));
    assert!(error.contains("401"), "{error}");
    let everything = [last.to_string(), error, read_all(&dir.path().join("data"))].concat();
    assert!(!everything.contains("not-the-token"), "a credential is nowhere to be read");
}

/// What answers in the place of a server.
#[derive(Debug, Clone, Copy)]
enum Server {
    /// Nobody listens.
    Absent,
    /// Takes the call and says something that is no HTTP, with a terminal's escape in it.
    Garbage,
    /// Takes the call and never says a word.
    Silent,
}

impl Server {
    /// Its address; it stands as long as the test.
    fn stand(self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        if matches!(self, Self::Absent) {
            return address;
        }
        thread::spawn(move || {
            let mut kept = Vec::new();
            for mut caller in listener.incoming().map_while(Result::ok) {
                if matches!(self, Self::Garbage) {
                    // The caller may have hung up by then, which is its good right.
                    let _sent = caller.write_all(b"\x1b[2J\x1b]0;owned\x07 220 not your server\r\n\r\n");
                } else {
                    kept.push(caller);
                }
            }
        });
        address
    }
}

#[test]
fn a_server_that_is_absent_or_silent_or_talks_nonsense_blocks_with_one_sentence() {
    let dir = TempDir::new().unwrap();
    let _world = world(dir.path());
    let plan = fs::read_to_string(dir.path().join("cutover.toml")).unwrap();
    for (server, remedy) in [
        (Server::Absent, "check that the server runs"),
        (Server::Garbage, "check that"),
        (Server::Silent, "raise the timeout"),
    ] {
        fs::write(dir.path().join("bad.toml"), with_legacy_at(&plan, &server.stand())).unwrap();
        let args = ["--plan", "bad.toml", "run", "--headless", "--json", "--approve-all"];
        let data = dir.path().join(format!("{server:?}"));
        let output = cutover(dir.path()).env("CUTOVER_DATA_DIR", &data).args(args).output().unwrap();
        let (code, last, error) = ended(&output);
        assert_eq!((code, &last["outcome"]), (6, &"blocked".into()), "{server:?}: {error}");
        let reason = last["reason"].as_str().unwrap();
        assert!(reason.contains("django") && reason.contains(remedy), "what, where and what to do: {reason}");
        assert!(!error.contains('\u{1b}') && !text(&output.stdout).contains('\u{1b}'), "{server:?}: raw bytes");
    }
}

/// The plan with its legacy store elsewhere and less patience.
fn with_legacy_at(plan: &str, address: &str) -> String {
    let store = plan.find("[stores.django]").unwrap();
    let begin = store + plan[store..].find("http://").unwrap();
    let end = begin + plan[begin..].find('"').unwrap();
    [&plan[..begin], address, &plan[end..]].concat().replacen("\"10s\"", "\"1s\"", 1)
}

/// Every file in a folder, as text.
fn read_all(folder: &Path) -> String {
    let mut folders = vec![PathBuf::from(folder)];
    let mut all = String::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.is_dir() {
                folders.push(entry);
            } else if entry.is_file() {
                all += &String::from_utf8_lossy(&fs::read(entry).unwrap());
            }
        }
    }
    all
}

#[test]
fn a_rehearsal_ends_with_its_last_line_and_takes_its_folder_away() {
    let dir = TempDir::new().unwrap();
    let sizes = ["--users", "20", "--files", "20", "--bytes", "2048", "--speed", "10"];
    let output =
        cutover(dir.path()).args(["rehearse", "--headless", "--json", "--approve-all"]).args(sizes).output().unwrap();
    let (code, last, error) = ended(&output);
    assert_eq!((code, &last["kind"], &last["outcome"]), (0, &"run_finished".into(), &"completed".into()), "{error}");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "nothing is left behind");
}

#[test]
fn a_world_does_not_write_over_a_plan_that_is_not_its_own() {
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("cutover.toml"), "name = \"production\"\n").unwrap();
    let output = cutover(dir.path()).arg("world").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("--plan"));
    assert_eq!(fs::read_to_string(dir.path().join("cutover.toml")).unwrap(), "name = \"production\"\n");
}
