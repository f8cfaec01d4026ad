//! A MariaDB of a test's own: its data in a temporary folder, a socket there and a port on loopback, gone with the test.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
};
use tempfile::TempDir;

const MISSING: &str = "MariaDB is missing: install the Debian package mariadb-server";
/// What the server says once it takes connections.
const READY: &str = "ready for connections";
/// Others may take a free port before the server does.
const ATTEMPTS: usize = 5;

/// A running server. Its superuser is `root`, who needs no password on the socket.
pub(crate) struct Server {
    folder: TempDir,
    port: u16,
    running: Option<Child>,
}

impl Server {
    /// A new server with an empty database `app`.
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        if let Some(user) = ordinary_user() {
            run(Command::new("chown").arg(user).arg(folder.path()));
        }
        let mut server = Self { folder, port: 0, running: None };
        let mut install = server.program("mariadb-install-db");
        install.args(["--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db"]);
        run(install.arg(format!("--datadir={}", server.data().display())).arg(server.scratch()));
        for _ in 0..ATTEMPTS {
            server.port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            if server.try_start() {
                server.tell("", "CREATE DATABASE app CHARACTER SET utf8mb4");
                return server;
            }
        }
        panic!("MariaDB found no port of its own");
    }

    /// Starts it again where it was.
    pub(crate) fn start_again(&mut self) {
        assert!(self.try_start(), "MariaDB does not start again on port {}", self.port);
    }

    fn try_start(&mut self) -> bool {
        let mut program = self.program("mariadbd");
        program.arg("--no-defaults").arg(format!("--datadir={}", self.data().display()));
        program.arg(format!("--socket={}", self.socket().display())).arg(self.scratch());
        program.args(["--bind-address=127.0.0.1", &format!("--port={}", self.port), "--innodb-buffer-pool-size=64M"]);
        program.args(["--innodb-flush-log-at-trx-commit=2", "--max-allowed-packet=64M", "--skip-name-resolve"]);
        let mut child =
            program.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect(MISSING);
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

    /// Ends it at once, as a crash would.
    pub(crate) fn stop(&mut self) {
        let Some(mut child) = self.running.take() else { return };
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// The address of the database for this user, over TCP.
    pub(crate) fn url(&self, user: &str, password: &str) -> String {
        format!("mysql://{user}:{password}@127.0.0.1:{}/app?ssl-mode=DISABLED", self.port)
    }

    /// The address for the superuser, over the socket.
    pub(crate) fn socket_url(&self) -> String {
        format!("mysql://root@localhost/app?socket={}", self.socket().display())
    }

    /// What the server's own client, who knows nothing of this program, answers.
    pub(crate) fn sql(&self, sql: &str) -> String {
        self.tell("app", sql)
    }

    fn tell(&self, database: &str, sql: &str) -> String {
        let mut client = Command::new(found("mariadb"));
        client.args([
            "--no-defaults",
            "--user=root",
            "--batch",
            "--skip-column-names",
            "--default-character-set=utf8mb4",
        ]);
        client.arg(format!("--socket={}", self.socket().display())).arg(database);
        let mut child = client.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(sql.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{sql}\n{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// A server removes what it takes for its own leftovers where temporary tables lie, so each has a place of its own.
    fn scratch(&self) -> String {
        format!("--tmpdir={}", self.folder.path().display())
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("socket")
    }

    /// One of MariaDB's programs, not as root: it refuses that.
    fn program(&self, name: &str) -> Command {
        let mut command = match ordinary_user() {
            None => Command::new(found(name)),
            Some(user) => {
                let mut command = Command::new("setpriv");
                command.arg(format!("--reuid={user}")).args(["--clear-groups", "--"]).arg(found(name));
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

/// Where the program is; a server's is not in everybody's path.
fn found(name: &str) -> PathBuf {
    let folders = ["/usr/sbin", "/usr/bin", "/usr/local/sbin", "/usr/local/bin"];
    folders.iter().map(|folder| Path::new(folder).join(name)).find(|program| program.exists()).expect(MISSING)
}

/// Whom to become, if this is root.
fn ordinary_user() -> Option<&'static str> {
    let users = fs::read_to_string("/etc/passwd").unwrap();
    let has = |name: &&str| users.lines().any(|line| line.starts_with(&format!("{name}:")));
    rustix::process::getuid().is_root().then(|| ["mysql", "nobody"].into_iter().find(has).expect(MISSING))
}

fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}\n{}", String::from_utf8_lossy(&output.stderr));
}
