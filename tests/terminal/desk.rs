//! A person at a terminal: reads the screen, types as fast as a person, and waits for what they look for.

use portable_pty::{Child, CommandBuilder, ExitStatus, MasterPty, PtySize, native_pty_system};
use std::{
    io::{Read as _, Write},
    num::NonZeroU16,
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// Longest wait for anything on screen; only a hung program reaches it.
const PATIENCE: Duration = Duration::from_secs(90);
/// Between two keys of a person; faster counts as a paste and is ignored where it matters.
const TYPING: Duration = Duration::from_millis(130);
/// A dialog takes no answer earlier than this.
const ARMING: Duration = Duration::from_millis(700);

pub(crate) struct Desk {
    screen: vt100::Parser,
    /// Everything the program ever wrote.
    pub(crate) bytes: Vec<u8>,
    output: Receiver<Vec<u8>>,
    input: Box<dyn Write + Send>,
    master: Option<Box<dyn MasterPty + Send>>,
    child: Box<dyn Child + Send + Sync>,
    _folder: TempDir,
}

impl Drop for Desk {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ended = self.child.kill();
    }
}

fn size(cols: u16, rows: u16) -> PtySize {
    PtySize { rows, cols, pixel_width: 0, pixel_height: 0 }
}

impl Desk {
    /// A rehearsal on a terminal of this size.
    pub(crate) fn rehearsal(cols: u16, rows: u16, env: &[(&str, &str)]) -> Self {
        let sizes = ["rehearse", "--users", "20", "--files", "20", "--bytes", "2048", "--speed", "8"];
        Self::new(env!("CARGO_BIN_EXE_cutover"), &sizes, cols, rows, env)
    }

    pub(crate) fn new(program: &str, arguments: &[&str], cols: u16, rows: u16, env: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let pty = native_pty_system().openpty(size(cols, rows)).unwrap();
        let mut command = CommandBuilder::new(program);
        command.args(arguments);
        for name in ["CI", "NO_COLOR", "RUST_LOG"] {
            command.env_remove(name);
        }
        for (name, value) in [("TERM", "xterm-256color"), ("COLORTERM", "truecolor"), ("LANG", "C.UTF-8")] {
            command.env(name, value);
        }
        command.env("CUTOVER_DATA_DIR", folder.path());
        // What a program that is killed leaves behind goes with the test.
        command.env("TMPDIR", folder.path());
        command.cwd(folder.path());
        for (name, value) in env {
            command.env(name, value);
        }
        let child = pty.slave.spawn_command(command).unwrap();
        drop(pty.slave);
        let mut reader = pty.master.try_clone_reader().unwrap();
        let input = pty.master.take_writer().unwrap();
        let (to, output) = channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 8192];
            while let Ok(count) = reader.read(&mut buffer) {
                if count == 0 || to.send(buffer[..count].to_vec()).is_err() {
                    return;
                }
            }
        });
        let (rows, cols) = (NonZeroU16::new(rows).unwrap(), NonZeroU16::new(cols).unwrap());
        let screen = vt100::Parser::new(rows, cols, 0);
        Self { screen, bytes: Vec::new(), output, input, master: Some(pty.master), child, _folder: folder }
    }

    /// What the screen shows.
    pub(crate) fn shows(&self) -> String {
        self.screen.screen().contents()
    }

    pub(crate) fn is_full_screen(&self) -> bool {
        self.screen.screen().alternate_screen()
    }

    /// Takes in what comes until `time` has passed or `enough` says so; whether it said so.
    fn read(&mut self, time: Duration, enough: impl Fn(&Self) -> bool) -> bool {
        let end = Instant::now() + time;
        loop {
            if enough(self) {
                return true;
            }
            match self.output.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(bytes) => {
                    self.screen.process(&bytes);
                    self.bytes.extend(bytes);
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return enough(self),
            }
        }
    }

    /// Waits until the screen shows one of these; which.
    pub(crate) fn until_any<'t>(&mut self, texts: &[&'t str]) -> &'t str {
        let found = |desk: &Self| texts.iter().copied().find(|text| desk.shows().contains(text));
        assert!(self.read(PATIENCE, |desk| found(desk).is_some()), "never saw {texts:?}:\n{}", self.shows());
        found(self).unwrap()
    }

    /// Waits until the screen shows this.
    pub(crate) fn until(&mut self, text: &str) {
        self.until_any(&[text]);
    }

    /// Waits a moment for this.
    pub(crate) fn soon(&mut self, text: &str) -> bool {
        self.read(Duration::from_secs(2), |desk| desk.shows().contains(text))
    }

    /// Presses keys, one after the other, at a person's pace.
    pub(crate) fn press(&mut self, keys: &str) {
        for key in keys.chars() {
            self.send(key.to_string().as_bytes());
            self.read(TYPING, |_| false);
        }
    }

    /// Waits until the program has given the terminal back.
    pub(crate) fn until_given_back(&mut self) {
        let given_back = self.read(PATIENCE, |desk| !desk.is_full_screen());
        assert!(given_back, "still on the full screen:\n{}", self.shows());
    }

    /// Sends bytes at once.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.input.write_all(bytes).unwrap();
        self.input.flush().unwrap();
    }

    /// Lets a dialog arm.
    pub(crate) fn let_it_arm(&mut self) {
        self.read(ARMING, |_| false);
    }

    pub(crate) fn resize(&mut self, cols: u16, rows: u16) {
        self.master.as_ref().unwrap().resize(size(cols, rows)).unwrap();
        self.screen.screen_mut().set_size(NonZeroU16::new(rows).unwrap(), NonZeroU16::new(cols).unwrap());
    }

    /// The terminal goes away.
    pub(crate) fn hang_up(&mut self) {
        self.master = None;
        self.input = Box::new(std::io::sink());
    }

    pub(crate) fn signal(&mut self, name: &str) {
        let id = self.child.process_id().unwrap().to_string();
        assert!(std::process::Command::new("kill").args([name, &id]).status().unwrap().success());
    }

    /// Waits for the program to end.
    pub(crate) fn end(&mut self) -> ExitStatus {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                self.read(Duration::from_millis(100), |_| false);
                return status;
            }
            assert!(Instant::now() < end, "it never ended:\n{}", self.shows());
            self.read(Duration::from_millis(20), |_| false);
        }
    }

    /// Takes the lock and goes through the open gate.
    pub(crate) fn go(&mut self) {
        for _ in 0..20 {
            self.press("G");
            if !self.soon("Gate") {
                continue;
            }
            self.let_it_arm();
            self.press("\tGO");
            self.let_it_arm();
            self.press("\r");
            if self.read(Duration::from_secs(2), |desk| !desk.shows().contains("WAITS GATE")) {
                return;
            }
            self.press("\x1b\x1b");
        }
        panic!("the gate never opened:\n{}", self.shows());
    }

    /// Arms steering.
    pub(crate) fn arm(&mut self) {
        self.until("WATCH");
        self.press("T");
        if !self.soon("STEERING") {
            // Somewhere with real users it asks first.
            self.let_it_arm();
            self.press("\r");
        }
        self.until("STEERING");
    }
}
