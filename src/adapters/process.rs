//! Programs that end: run with a time limit, in a process group of their own, with a bounded part of their output kept.
//!
//! Neighbours: the command switch and the command probe.
//! Must never enter: a shell. The plan's words are the program's arguments, one by one.

use crate::{
    error::{Fault, FaultKind, Result},
    model::text,
};
use std::{
    collections::BTreeMap,
    io,
    process::{ExitStatus, Stdio},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    process::{Child, Command},
    time::timeout,
};

/// How much of each output is kept.
const KEPT: usize = 64 * 1024;
/// How long a grandchild that still holds the output open is waited for after the program itself has ended.
const GRACE: Duration = Duration::from_millis(200);

/// What a program left behind.
#[derive(Debug)]
pub(crate) struct Ended {
    /// How it ended.
    pub(crate) status: ExitStatus,
    /// Its standard output, trimmed; at most 64 KiB.
    pub(crate) output: String,
    /// Its standard error, cleaned for a detail.
    pub(crate) errors: String,
}

impl Ended {
    /// How it ended, in words.
    pub(crate) fn how(&self) -> String {
        self.status.code().map_or_else(|| "killed by a signal".to_owned(), |code| format!("exit code {code}"))
    }
}

/// Kills the program's whole group when dropped, so that neither a timeout nor an emergency stop leaves one running.
struct Group(Option<rustix::process::Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0.take() {
            // A group that is gone already is what was wanted.
            let _gone = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
    }
}

/// Runs `words[0]` with the other words as arguments and `vars` as additional environment.
pub(crate) async fn run(
    doing: &str,
    words: &[String],
    vars: &BTreeMap<String, String>,
    limit: Duration,
) -> Result<Ended> {
    let [program, arguments @ ..] = words else {
        return Err(Fault::new(FaultKind::Plan, doing).detail("no program is named"));
    };
    let mut child = Command::new(program)
        .args(arguments)
        .envs(vars.iter().map(|(name, value)| (format!("CUTOVER_{}", name.to_uppercase()), value)))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| start_fault(doing, program, error))?;
    let id = child.id().and_then(|id| i32::try_from(id).ok()).and_then(rustix::process::Pid::from_raw);
    let mut group = Group(id);
    let ended = timeout(limit, finish(&mut child)).await;
    match ended {
        Ok(Ok(ended)) => {
            // It ended by itself: what it started on purpose in the background may go on.
            group.0 = None;
            Ok(ended)
        }
        Ok(Err(error)) => {
            Err(Fault::new(FaultKind::Internal, doing).detail(format!("wait for {program}")).source(error))
        }
        Err(_) => Err(Fault::new(FaultKind::Timeout, doing).detail(format!("{program} was killed after {limit:?}"))),
    }
}

async fn finish(child: &mut Child) -> io::Result<Ended> {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let status = {
        let read = async { tokio::join!(drain(stdout, &mut out), drain(stderr, &mut err)) };
        tokio::pin!(read);
        tokio::select! {
            // Both outputs are closed: the program has ended or is about to.
            _ = &mut read => child.wait().await?,
            status = child.wait() => {
                let status = status?;
                // Elapsed means that somebody else still holds the output: what came so far is the answer.
                let _held_open = timeout(GRACE, &mut read).await;
                status
            }
        }
    };
    Ok(Ended {
        status,
        output: String::from_utf8_lossy(&out).trim().to_owned(),
        errors: text::clean(String::from_utf8_lossy(&err).trim(), 200),
    })
}

/// Reads to the end so that the program never blocks on a full pipe, and keeps the first part.
async fn drain(from: Option<impl AsyncRead + Unpin>, kept: &mut Vec<u8>) {
    let Some(mut from) = from else { return };
    let mut chunk = vec![0; 8 * 1024];
    // A pipe that breaks ends the output like a pipe that closes.
    while let Ok(read @ 1..) = from.read(&mut chunk).await {
        let room = KEPT.saturating_sub(kept.len());
        kept.extend_from_slice(&chunk[..read.min(room)]);
    }
}

fn start_fault(doing: &str, program: &str, error: io::Error) -> Fault {
    let kind = match error.kind() {
        io::ErrorKind::NotFound => FaultKind::NotFound,
        io::ErrorKind::PermissionDenied => FaultKind::Permission,
        _ => FaultKind::Internal,
    };
    Fault::new(kind, doing).detail(format!("start {program}")).source(error)
}
