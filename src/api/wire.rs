//! What goes over the control socket: one JSON document per line, in both directions.
//!
//! `{"v":1,"order":{"by":{…},"command":"pause",…}}` → `{"v":1,"receipt":{"id":7}}` or `{"v":1,"refused":{…}}`
//! `{"v":1,"view":{}}` → `{"v":1,"view":{…}}`
//! `{"v":1,"watch":{}}` → `{"v":1,"view":{…}}`, then `{"v":1,"event":{…}}` for each event (and `{"v":1,"lost":n}` where a
//! slow reader missed some), then `{"v":1,"end":{}}`
//! Anything that is none of these → `{"v":1,"error":"…"}`.

use crate::{
    command::{Order, Refusal},
    engine::view::RunView,
    error::{Fault, FaultKind, Result},
    event::Event,
    model::CommandId,
};
use serde::{Deserialize, Serialize};
use std::{
    fs::File,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

/// The version this program speaks.
pub(super) const VERSION: u32 = 1;
/// Longest request: an order with a long reason.
pub(super) const LONGEST_REQUEST: usize = 64 * 1024;
/// Longest answer: a view with tens of thousands of batches.
pub(super) const LONGEST_ANSWER: usize = 64 * 1024 * 1024;
/// Longest wait for a peer to take or give a line it has begun or owes.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// A line from the client.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Request {
    #[serde(default = "first")]
    pub(super) v: u32,
    #[serde(flatten)]
    pub(super) ask: Ask,
}

const fn first() -> u32 {
    1
}

/// Nothing to say beside the word itself.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Nothing {}

/// What the client asks.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Ask {
    Order(Order),
    View(Nothing),
    Watch(Nothing),
}

/// A line from the server.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Response {
    pub(super) v: u32,
    #[serde(flatten)]
    pub(super) answer: Answer,
}

/// What the server says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Answer {
    Receipt { id: CommandId },
    Refused(Refusal),
    View(Arc<RunView>),
    Event(Arc<Event>),
    Lost(u64),
    End(Nothing),
    Error(String),
}

/// One line without its end.
pub(super) fn line<T: Serialize>(value: &T) -> Result<String> {
    serde_json::to_string(value).map_err(|error| {
        Fault::new(FaultKind::Internal, "write a line to the control socket").detail(error.to_string())
    })
}

/// Longest socket path that every system takes.
const LONGEST_PATH: usize = 100;

/// A path of the socket that is short enough for the system, and the folder that must stay open while it is used.
pub(super) fn short(path: &Path) -> Result<(PathBuf, Option<File>)> {
    use std::os::fd::AsRawFd as _;
    if path.as_os_str().len() <= LONGEST_PATH {
        return Ok((path.to_path_buf(), None));
    }
    let fault = |detail: String| {
        Fault::new(FaultKind::Refused, format!("use the control socket {}", path.display())).detail(detail)
    };
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(fault("its path has no folder".into()));
    };
    let folder = File::open(folder).map_err(|error| fault(error.to_string()))?;
    let through = PathBuf::from(format!("/proc/self/fd/{}", folder.as_raw_fd()));
    if !through.exists() {
        return Err(fault(format!("its path is longer than {LONGEST_PATH} bytes: choose a shorter --data-dir")));
    }
    Ok((through.join(name), Some(folder)))
}
