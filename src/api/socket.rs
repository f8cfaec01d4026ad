//! The engine's side of the control socket: a Unix socket in the plan's folder, for this user only.
//!
//! A client can at worst waste its own connection: lines are bounded, each wait has an end, there are only so many
//! connections, and a reader that is too slow loses events rather than holding anybody up.

use super::wire::{Answer, Ask, LONGEST_REQUEST, Nothing, PATIENCE, Request, Response, VERSION, line, short};
use crate::{
    command::Order,
    engine::Handle,
    error::{Fault, FaultKind, Result},
    model::{Actor, Via, text},
};
use futures::{SinkExt as _, StreamExt as _};
use std::{
    fs, io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::{
    net::{UnixListener, UnixStream},
    sync::{Semaphore, broadcast},
    task::JoinHandle,
};
use tokio_util::{
    codec::{Framed, LinesCodec},
    sync::CancellationToken,
    task::TaskTracker,
};

/// The socket's file in the plan's folder.
pub const FILE: &str = "control.sock";

/// Connections at the same time.
const CONNECTIONS: usize = 32;
/// A connection that asks nothing for this long is closed.
const IDLE: Duration = Duration::from_mins(5);
/// Longest wait for the engine to take an order.
const ENGINE: Duration = Duration::from_secs(30);

type Lines = Framed<UnixStream, LinesCodec>;

/// Listens at `path` until `stop`; the task ends once the last connection has been told so, and takes the socket with
/// it. **Only to be called by who holds the plan's lock**: a socket that stands there was left by a process that died,
/// and is replaced.
///
/// # Errors
/// `Disk` or `Permission` if the socket cannot be made.
pub fn serve(path: &Path, handle: Handle, stop: CancellationToken) -> Result<JoinHandle<()>> {
    let fault = |error: io::Error| {
        let kind = match error.kind() {
            io::ErrorKind::PermissionDenied => FaultKind::Permission,
            _ => FaultKind::Disk,
        };
        Fault::new(kind, format!("open the control socket {}", path.display())).detail(error.to_string())
    };
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(fault(error)),
        _ => {}
    }
    let (bindable, _folder) = short(path)?;
    let listener = UnixListener::bind(&bindable).map_err(fault)?;
    // The folder is 0700 already, so nobody could connect between these two lines.
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).map_err(fault)?;
    let server = Server { handle, stop, places: Arc::new(Semaphore::new(CONNECTIONS)), tasks: TaskTracker::new() };
    Ok(tokio::spawn(server.run(listener, path.to_path_buf())))
}

#[derive(Clone)]
struct Server {
    handle: Handle,
    stop: CancellationToken,
    places: Arc<Semaphore>,
    tasks: TaskTracker,
}

impl Server {
    async fn run(self, listener: UnixListener, path: PathBuf) {
        loop {
            let accepted = tokio::select! {
                () = self.stop.cancelled() => break,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, _)) => self.admit(stream),
                Err(error) => {
                    // Out of file descriptors, as a rule: taking a breath keeps the loop from spinning.
                    tracing::warn!("the control socket could not accept: {error}");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
        drop(listener);
        if let Err(error) = fs::remove_file(&path) {
            tracing::debug!("the control socket was gone already: {error}");
        }
        self.tasks.close();
        self.tasks.wait().await;
    }

    fn admit(&self, stream: UnixStream) {
        let server = self.clone();
        let place = self.places.clone().try_acquire_owned();
        self.tasks.spawn(async move {
            let mut lines = Framed::new(stream, LinesCodec::new_with_max_length(LONGEST_REQUEST));
            let ended = match place {
                Ok(_place) => server.talk(&mut lines).await,
                Err(_) => say(&mut lines, Answer::Error("too many connections".into())).await,
            };
            if let Err(reason) = ended {
                tracing::debug!("a control connection ended: {reason}");
            }
        });
    }

    async fn talk(&self, lines: &mut Lines) -> Result<(), String> {
        loop {
            let next = tokio::select! {
                () = self.stop.cancelled() => return say(lines, Answer::End(Nothing {})).await,
                next = tokio::time::timeout(IDLE, lines.next()) => next.map_err(|_| "idle".to_owned())?,
            };
            let request = match next {
                None => return Ok(()),
                Some(Ok(request)) => request,
                Some(Err(error)) => {
                    // Too long, or not UTF-8: what follows cannot be told from the rest of it.
                    return say(lines, Answer::Error(format!("unreadable line: {error}"))).await;
                }
            };
            match serde_json::from_str::<Request>(&request) {
                Ok(Request { v, .. }) if v != VERSION => {
                    say(lines, Answer::Error(format!("version {v} is not spoken here, {VERSION} is"))).await?;
                }
                Ok(Request { ask: Ask::Order(order), .. }) => {
                    let answer = self.order(order).await;
                    say(lines, answer).await?;
                }
                Ok(Request { ask: Ask::View(_), .. }) => say(lines, Answer::View(self.handle.view())).await?,
                Ok(Request { ask: Ask::Watch(_), .. }) => return self.watch(lines).await,
                Err(error) => {
                    let error = text::clean(&error.to_string(), 200);
                    say(lines, Answer::Error(format!("not a request: {error}"))).await?;
                }
            }
        }
    }

    async fn order(&self, order: Order) -> Answer {
        // Whatever the client says of itself: it came through this door.
        let by = Actor { name: text::clean(&order.by.name, 60), via: Via::Cli };
        match tokio::time::timeout(ENGINE, self.handle.order(by, order.command)).await {
            Ok(Ok(receipt)) => Answer::Receipt { id: receipt.id },
            Ok(Err(refusal)) => Answer::Refused(refusal),
            Err(_) => Answer::Error(format!("the engine did not answer in {} s", ENGINE.as_secs())),
        }
    }

    async fn watch(&self, lines: &mut Lines) -> Result<(), String> {
        // First subscribed, then looked: nothing falls between.
        let mut events = self.handle.subscribe();
        say(lines, Answer::View(self.handle.view())).await?;
        loop {
            let next = tokio::select! {
                biased;
                next = events.recv() => next,
                () = self.stop.cancelled() => Err(broadcast::error::RecvError::Closed),
                // A watcher has nothing to say; what ends is the connection.
                said = lines.next() => match said {
                    None | Some(Err(_)) => return Ok(()),
                    Some(Ok(_)) => continue,
                },
            };
            match next {
                Ok(event) => say(lines, Answer::Event(event)).await?,
                Err(broadcast::error::RecvError::Lagged(lost)) => say(lines, Answer::Lost(lost)).await?,
                Err(broadcast::error::RecvError::Closed) => return say(lines, Answer::End(Nothing {})).await,
            }
        }
    }
}

async fn say(lines: &mut Lines, answer: Answer) -> Result<(), String> {
    let text = line(&Response { v: VERSION, answer }).map_err(|fault| fault.chain())?;
    match tokio::time::timeout(PATIENCE, lines.send(text)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("the client does not read".into()),
    }
}
