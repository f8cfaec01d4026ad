//! A `PostgreSQL` of a test's own: its data in a temporary folder, a socket there and a port on loopback, gone with the
//! test.

use std::{
    ffi::OsStr,
    fs,
    io::{BufRead as _, BufReader, Write as _},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    thread,
};
use tempfile::TempDir;

const MISSING: &str = "PostgreSQL is missing: install the Debian package postgresql";
/// What the server says once it takes connections.
const READY: &str = "database system is ready to accept connections";
/// Others may take a free port before the server does.
const ATTEMPTS: usize = 5;

/// A running server. Its superuser is `postgres`, who needs no password on the socket.
pub(crate) struct Server {
    folder: TempDir,
    programs: PathBuf,
    port: u16,
    running: Option<Child>,
}

impl Server {
    /// A new server with an empty database `postgres`.
    pub(crate) fn start() -> Self {
        let programs = newest(Path::new("/usr/lib/postgresql")).expect(MISSING);
        let folder = tempfile::tempdir().unwrap();
        if let Some(user) = ordinary_user() {
            run(Command::new("chown").arg(user).arg(folder.path()));
        }
        let mut server = Self { programs, folder, port: 0, running: None };
        let mut initdb = server.program("initdb");
        initdb.args(["--username=postgres", "--auth-local=trust", "--auth-host=scram-sha-256", "--encoding=UTF8"]);
        run(initdb.args(["--locale=C", "--no-sync", "--pgdata"]).arg(server.data()));
        for _ in 0..ATTEMPTS {
            server.port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            if server.try_start() {
                return server;
            }
        }
        panic!("PostgreSQL found no port of its own");
    }

    /// Starts it again where it was.
    pub(crate) fn start_again(&mut self) {
        assert!(self.try_start(), "PostgreSQL does not start again on port {}", self.port);
    }

    fn try_start(&mut self) -> bool {
        let mut program = self.program("postgres");
        program.arg("-D").arg(self.data()).arg("-k").arg(self.folder.path());
        program.args(["-h", "127.0.0.1", "-p", &self.port.to_string(), "-F", "-c", "autovacuum=off"]);
        let mut child = program.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut said = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        while !line.contains(READY) {
            line.clear();
            if said.read_line(&mut line).unwrap() == 0 {
                child.wait().unwrap();
                return false;
            }
        }
        // A full pipe would hold the server up.
        thread::spawn(move || std::io::copy(&mut said, &mut std::io::sink()));
        self.running = Some(child);
        true
    }

    /// Stops it at once, as a crash would.
    pub(crate) fn stop(&mut self) {
        let Some(mut child) = self.running.take() else { return };
        let pid = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(pid, rustix::process::Signal::QUIT).unwrap();
        child.wait().unwrap();
    }

    /// The address of the database for this role, over TCP.
    pub(crate) fn url(&self, role: &str, password: &str) -> String {
        format!("postgres://{role}:{password}@127.0.0.1:{}/postgres", self.port)
    }

    /// The address for the superuser, over the socket.
    pub(crate) fn socket_url(&self) -> String {
        format!("postgres:///postgres?host={}&port={}&user=postgres", self.folder.path().display(), self.port)
    }

    /// What psql, who knows nothing of this program, answers: rows by lines, columns by `|`.
    pub(crate) fn psql(&self, sql: &str) -> String {
        let output = self.client().args(["-c", sql]).output().unwrap();
        assert!(output.status.success(), "{sql}\n{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    }

    /// A user with a session of their own, who has done `sql` when this returns.
    pub(crate) fn user(&self, sql: &str) -> User {
        let mut child = self.client().stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let said = BufReader::new(child.stdout.take().unwrap());
        let mut user = User { says: child.stdin.take(), said, child };
        user.run(sql);
        user
    }

    fn client(&self) -> Command {
        let mut psql = Command::new(self.programs.join("psql"));
        psql.args(["-XAqt", "-v", "ON_ERROR_STOP=1", "-U", "postgres", "-d", "postgres", "-h"]).arg(self.folder.path());
        psql.args(["-p", &self.port.to_string()]);
        psql
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// One of `PostgreSQL`'s programs, not as root: it refuses that.
    fn program(&self, name: &str) -> Command {
        let program = self.programs.join(name);
        let mut command = match ordinary_user() {
            None => Command::new(program),
            Some(user) => {
                let mut command = Command::new("setpriv");
                command.arg(format!("--reuid={user}")).args(["--clear-groups", "--"]).arg(program);
                command
            }
        };
        command.current_dir(self.folder.path()).env("LC_ALL", "C");
        command
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A user's session.
pub(crate) struct User {
    says: Option<ChildStdin>,
    said: BufReader<ChildStdout>,
    child: Child,
}

impl User {
    /// Does this, and returns when it is done.
    pub(crate) fn run(&mut self, sql: &str) {
        let to = self.says.as_mut().unwrap();
        writeln!(to, "{sql};\n\\echo done").unwrap();
        to.flush().unwrap();
        let mut line = String::new();
        while line.trim_end() != "done" {
            line.clear();
            assert_ne!(self.said.read_line(&mut line).unwrap(), 0, "psql ended at: {sql}");
        }
    }
}

impl Drop for User {
    fn drop(&mut self) {
        drop(self.says.take());
        let _ended = self.child.wait();
    }
}

/// The programs of the newest version below this folder.
fn newest(folder: &Path) -> Option<PathBuf> {
    let versions = fs::read_dir(folder).ok()?.filter_map(|entry| {
        let path = entry.ok()?.path();
        let version: u32 = path.file_name().and_then(OsStr::to_str)?.parse().ok()?;
        let programs = path.join("bin");
        programs.join("initdb").exists().then_some((version, programs))
    });
    Some(versions.max()?.1)
}

/// Whom to become, if this is root.
fn ordinary_user() -> Option<&'static str> {
    let users = fs::read_to_string("/etc/passwd").unwrap();
    let has = |name: &&str| users.lines().any(|line| line.starts_with(&format!("{name}:")));
    rustix::process::getuid().is_root().then(|| ["postgres", "nobody"].into_iter().find(has).expect(MISSING))
}

fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}\n{}", String::from_utf8_lossy(&output.stderr));
}
