//! The real program as other processes see it: a world in one, an engine in another, killed and followed.

use crate::reader::Places;
use serde_json::Value;
use std::{
    io::{BufRead as _, BufReader},
    path::PathBuf,
    process::{Child, ChildStdout, Command, ExitStatus, Stdio},
};
use tempfile::TempDir;

/// A world in its own process, with the plan it wrote.
pub(crate) struct Stage {
    world: Child,
    _said: BufReader<ChildStdout>,
    pub(crate) places: Places,
    plan: PathBuf,
    folder: TempDir,
}

impl Drop for Stage {
    fn drop(&mut self) {
        // The process may have ended by itself, which is just as well.
        let _ended = self.world.kill();
        let _reaped = self.world.wait();
    }
}

pub(crate) fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cutover"));
    command.env_remove("RUST_LOG").stdin(Stdio::null());
    command
}

impl Stage {
    /// Starts a world and waits until it says that its plan is written.
    pub(crate) fn new(scenario: &str, speed: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (plan, dir) = (folder.path().join("cutover.toml"), folder.path().join("world"));
        let mut world = program()
            .args(["world", "--scenario", scenario, "--users", "30", "--files", "40", "--bytes", "4096"])
            .args(["--speed", speed, "--plan"])
            .arg(&plan)
            .arg("--keep")
            .arg(&dir)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(world.stdout.take().unwrap());
        let mut line = String::new();
        while !plan.is_file() {
            line.clear();
            assert!(said.read_line(&mut line).unwrap() > 0, "the world ended without a plan");
        }
        Self { world, _said: said, places: Places::new(dir), plan, folder }
    }

    pub(crate) fn command(&self, verb: &str) -> Command {
        let mut command = program();
        command.arg("--plan").arg(&self.plan).arg("--data-dir").arg(self.data()).arg(verb);
        command
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Starts an unattended engine that tells its events.
    pub(crate) fn engine(&self, verb: &str) -> Engine {
        let mut child =
            self.command(verb).args(["--headless", "--json", "--approve-all"]).stdout(Stdio::piped()).spawn().unwrap();
        let events = BufReader::new(child.stdout.take().unwrap());
        Engine { child, events, last: Value::Null }
    }
}

/// An engine in its own process.
pub(crate) struct Engine {
    child: Child,
    events: BufReader<ChildStdout>,
    pub(crate) last: Value,
}

impl Engine {
    /// The next event; `None` when the process closed its output.
    pub(crate) fn next(&mut self) -> Option<&Value> {
        let mut line = String::new();
        if self.events.read_line(&mut line).unwrap() == 0 {
            return None;
        }
        self.last = serde_json::from_str(&line).unwrap_or_else(|error| panic!("not an event: {line:?}: {error}"));
        Some(&self.last)
    }

    /// Reads until an event is as `holds` says; false if the engine ended before.
    pub(crate) fn until(&mut self, holds: impl Fn(&Value) -> bool) -> bool {
        while let Some(event) = self.next() {
            if holds(event) {
                return true;
            }
        }
        false
    }

    /// SIGKILL, at once.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Reads to the end: exit status and last event.
    pub(crate) fn end(mut self) -> (ExitStatus, Value) {
        while self.next().is_some() {}
        (self.child.wait().unwrap(), self.last)
    }
}
