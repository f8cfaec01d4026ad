//! The other terminal's side of the control socket.

use super::wire::{Answer, Ask, LONGEST_ANSWER, Nothing, PATIENCE, Request, Response, VERSION, line, short};
use crate::{
    command::{Command, Order, Refusal},
    engine::{Receipt, view::RunView},
    error::{Fault, FaultKind, Result},
    event::Event,
    model::Actor,
};
use futures::{SinkExt as _, StreamExt as _};
use std::{path::Path, sync::Arc, time::Duration};
use tokio::net::UnixStream;
use tokio_util::codec::{Framed, LinesCodec};

/// Longest wait for the answer to an order: longer than the server waits for the engine.
const ANSWER: Duration = Duration::from_secs(40);

/// A connection to a running engine.
pub struct Client {
    lines: Framed<UnixStream, LinesCodec>,
    at: String,
}

/// What a watcher hears.
#[derive(Debug)]
pub enum Watched {
    /// The run as it was when the watch began.
    View(Arc<RunView>),
    /// An event since then.
    Event(Arc<Event>),
    /// So many events came too fast and were lost.
    Lost(u64),
    /// The engine has ended.
    End,
}

impl Client {
    /// Connects to the engine that listens at `path`.
    ///
    /// # Errors
    /// `NotFound` if no engine listens there; `Permission` if it is another user's.
    pub async fn connect(path: &Path) -> Result<Self> {
        let at = path.display().to_string();
        let fault = |kind, detail: String| Fault::new(kind, format!("reach the engine at {at}")).detail(detail);
        let (short, _folder) = short(path)?;
        let stream = match tokio::time::timeout(PATIENCE, UnixStream::connect(short)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                let kind = match error.kind() {
                    std::io::ErrorKind::PermissionDenied => FaultKind::Permission,
                    _ => FaultKind::NotFound,
                };
                return Err(fault(kind, error.to_string()));
            }
            Err(_) => return Err(fault(FaultKind::Timeout, String::new())),
        };
        Ok(Self { lines: Framed::new(stream, LinesCodec::new_with_max_length(LONGEST_ANSWER)), at })
    }

    /// Gives an order; the inner result is the engine's word on it.
    ///
    /// # Errors
    /// If the engine cannot be talked to.
    pub async fn order(&mut self, by: Actor, command: Command) -> Result<Result<Receipt, Refusal>> {
        self.ask(Ask::Order(Order { by, command })).await?;
        match self.answer(ANSWER).await? {
            Answer::Receipt { id } => Ok(Ok(Receipt { id })),
            Answer::Refused(refusal) => Ok(Err(refusal)),
            other => Err(self.odd(&other)),
        }
    }

    /// The run as it is now.
    ///
    /// # Errors
    /// If the engine cannot be talked to.
    pub async fn view(&mut self) -> Result<Arc<RunView>> {
        self.ask(Ask::View(Nothing {})).await?;
        match self.answer(ANSWER).await? {
            Answer::View(view) => Ok(view),
            other => Err(self.odd(&other)),
        }
    }

    /// Begins to watch; [`Client::next`] gives what is heard.
    ///
    /// # Errors
    /// If the engine cannot be talked to.
    pub async fn watch(&mut self) -> Result<()> {
        self.ask(Ask::Watch(Nothing {})).await
    }

    /// What a watcher hears next; waits for it as long as it takes.
    ///
    /// # Errors
    /// If the engine cannot be talked to any more.
    pub async fn next(&mut self) -> Result<Watched> {
        match self.answer(Duration::MAX).await? {
            Answer::View(view) => Ok(Watched::View(view)),
            Answer::Event(event) => Ok(Watched::Event(event)),
            Answer::Lost(lost) => Ok(Watched::Lost(lost)),
            Answer::End(_) => Ok(Watched::End),
            other => Err(self.odd(&other)),
        }
    }

    async fn ask(&mut self, ask: Ask) -> Result<()> {
        let text = line(&Request { v: VERSION, ask })?;
        match tokio::time::timeout(PATIENCE, self.lines.send(text)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(self.fault(FaultKind::Unreachable, error.to_string())),
            Err(_) => Err(self.fault(FaultKind::Timeout, String::new())),
        }
    }

    async fn answer(&mut self, patience: Duration) -> Result<Answer> {
        let next = tokio::time::timeout(patience, self.lines.next())
            .await
            .map_err(|_| self.fault(FaultKind::Timeout, String::new()))?;
        let text = match next {
            Some(Ok(text)) => text,
            Some(Err(error)) => return Err(self.fault(FaultKind::Garbage, error.to_string())),
            None => return Err(self.fault(FaultKind::Unreachable, "it hung up".into())),
        };
        let response: Response =
            serde_json::from_str(&text).map_err(|error| self.fault(FaultKind::Garbage, error.to_string()))?;
        match response.answer {
            Answer::Error(error) => Err(self.fault(FaultKind::Refused, error)),
            answer => Ok(answer),
        }
    }

    fn odd(&self, answer: &Answer) -> Fault {
        match answer {
            Answer::End(_) => self.fault(FaultKind::Unreachable, "it is ending".into()),
            _ => self.fault(FaultKind::Garbage, "an answer to another question".into()),
        }
    }

    fn fault(&self, kind: FaultKind, detail: String) -> Fault {
        Fault::new(kind, format!("talk to the engine at {}", self.at)).detail(detail)
    }
}
