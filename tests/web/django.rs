//! The Django of `tests/django`, started on a port of its own with a database of its own, gone with the test. Its packages
//! come from `PyPI`: `tests/run` installs them into the folder that `CUTOVER_TEST_TOOLS` names (`target/test-tools/bin`, if
//! it names none).

use cutover::plan::Auth;
use std::{
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};
use tempfile::TempDir;
use url::Url;

pub(crate) struct Django {
    pub(crate) endpoint: Url,
    token: String,
    process: Child,
    folder: TempDir,
}

impl Django {
    /// A new application with its seeded rows.
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let tools = std::env::var_os("CUTOVER_TEST_TOOLS")
            .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/test-tools/bin"), PathBuf::from);
        let python = tools.join("python3");
        for (module, package) in [("django", "django"), ("rest_framework", "djangorestframework")] {
            let there = Command::new(&python).args(["-c", &format!("import {module}")]).stderr(Stdio::null()).status();
            let there = there.is_ok_and(|status| status.success());
            assert!(there, "{package} is missing: run tests/run, which installs the PyPI package {package}");
        }
        let mut process = Command::new(python)
            .arg("-B")
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/django/serve.py"))
            .arg(folder.path().join("shop.db"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut said).unwrap();
        let (port, token) = said.trim().split_once(' ').unwrap_or_else(|| panic!("Django does not start: {said}"));
        let endpoint = Url::parse(&format!("http://127.0.0.1:{port}")).unwrap();
        Self { endpoint, token: token.to_owned(), process, folder }
    }

    /// Its database, for readers that know nothing of this program.
    pub(crate) fn database(&self) -> PathBuf {
        self.folder.path().join("shop.db")
    }

    pub(crate) fn token(&self, scheme: &str) -> Auth {
        Auth::Token { scheme: scheme.to_owned(), token: self.token.clone().into() }
    }

    pub(crate) fn header(&self) -> Auth {
        Auth::Header { name: "X-Api-Key".to_owned(), token: self.token.clone().into() }
    }

    pub(crate) fn basic(password: &str) -> Auth {
        Auth::Basic { user: "admin".to_owned(), password: password.to_owned().into() }
    }
}

impl Drop for Django {
    fn drop(&mut self) {
        let _ended = self.process.kill();
        let _reaped = self.process.wait();
    }
}

/// The password of `admin`.
pub(crate) const PASSWORD: &str = "pass:word, with signs";
/// Rows of each set.
pub(crate) const MEMBERS: i64 = 230;
pub(crate) const FILES: i64 = 310;
pub(crate) const FILTERS: i64 = 120;
