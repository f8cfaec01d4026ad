//! Records that the new side refuses, and records that somebody changed there, as a person at the console finds and mends
//! them.

use crate::desk::Desk;
use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::PathBuf,
    process::{Child, Command, Stdio},
};
use tempfile::TempDir;

#[path = "../tools/meddle.rs"]
mod hand;

/// A world in a process of its own, with a plan for it in the folder.
struct World {
    folder: TempDir,
    process: Child,
}

impl Drop for World {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ended = self.process.kill();
        let _reaped = self.process.wait();
    }
}

impl World {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut process = Command::new(env!("CARGO_BIN_EXE_cutover"))
            .current_dir(folder.path())
            .env("CUTOVER_DATA_DIR", folder.path().join("data"))
            .args(["world", "--keep", "world", "--users", "20", "--files", "20", "--bytes", "2048", "--speed", "8"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let said = BufReader::new(process.stdout.take().unwrap());
        let stands = said.lines().any(|line| line.unwrap().contains("begin in another terminal"));
        assert!(stands, "the world never stood");
        let world = Self { folder, process };
        let plan = fs::read_to_string(world.plan()).unwrap();
        assert!(plan.contains("on_failure = true"), "{plan}");
        // A person mends here; nothing goes back by itself meanwhile.
        fs::write(world.plan(), plan.replace("on_failure = true", "on_failure = false")).unwrap();
        world
    }

    fn plan(&self) -> PathBuf {
        self.folder.path().join("cutover.toml")
    }

    fn new_side(&self, sql: &'static str) {
        hand::meddle(&self.folder.path().join("world/new.db"), sql);
    }

    /// The console of a run in it.
    fn run(&self, cols: u16, rows: u16) -> Desk {
        let plan = self.plan();
        let arguments = ["--plan", plan.to_str().unwrap(), "run"];
        Desk::new(env!("CARGO_BIN_EXE_cutover"), &arguments, cols, rows, &[])
    }
}

/// Chooses the choice below the first one in the dialog that is open, so many below, and takes it.
fn choose(desk: &mut Desk, below: usize) {
    desk.let_it_arm();
    for _ in 0..below {
        desk.send(b"\x1b[B");
        desk.let_it_arm();
    }
    desk.press("\r");
}

#[test]
fn dead_letters_are_found_read_exported_and_moved_again() {
    let world = World::start();
    world.new_side(
        "CREATE TRIGGER no_five BEFORE INSERT ON users WHEN NEW.id = 5
         BEGIN SELECT RAISE(ABORT, 'the fifth is not welcome'); END",
    );
    let mut desk = world.run(120, 36);
    desk.until("WATCH");
    desk.press("T");
    desk.until("STEERING");
    desk.until("WAITS GATE");
    desk.go();
    desk.until("FAILED");
    desk.press("d");
    desk.until("Dead letters of users");
    desk.until("not welcome");
    desk.press("\r");
    desk.until("as the source had it");
    desk.until("email");
    desk.press("\x1bx");
    desk.until("1 dead letters in");

    world.new_side("DROP TRIGGER no_five");
    desk.press("R");
    desk.until("Move dead letters again?");
    choose(&mut desk, 1);
    desk.until("no dead letters");
    desk.press("\x1b");
    // The failed step goes on from there.
    desk.press("R");
    desk.until("Retry?");
    choose(&mut desk, 1);
    desk.until("WAITS GATE");
}

#[test]
fn differences_are_found_shown_on_both_sides_and_repaired() {
    let world = World::start();
    let mut desk = world.run(80, 24);
    desk.until("WATCH");
    desk.press("T");
    desk.until("STEERING");
    desk.until("WAITS GATE");
    desk.go();
    desk.until("DNS cutover");
    desk.until("WAITS GATE");
    world.new_side("UPDATE users SET email = 'somebody else' WHERE id = 2; DELETE FROM users WHERE id = 3");

    desk.press("u");
    desk.until("Differences of users");
    // The run itself has compared them before this.
    desk.until("compared last");
    desk.press("V");
    desk.until("Compare both sides?");
    choose(&mut desk, 1);
    desk.until("1 different");
    desk.until("1 missing");
    desk.press("\r");
    desk.until("LEGACY");
    desk.until("\"somebody else\"");
    desk.until("\u{2260}");
    desk.press("R");
    desk.until("OVERWRITE WHAT DIFFERS?");
    desk.let_it_arm();
    desk.press("OVERWRITE\t");
    choose(&mut desk, 1);
    desk.until("no longer in the list");
    desk.press("\x1b");
    desk.until("0 different");
    desk.press("R");
    desk.until("Write what is missing?");
    choose(&mut desk, 2);
    desk.until("no differences");
}
