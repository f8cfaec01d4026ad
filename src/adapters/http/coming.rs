//! An answer whose headers are there and whose body is still to be read, piece by piece.

use super::{Answer, Call, transport};
use crate::error::{Fault, FaultKind, Result};
use bytes::Bytes;
use reqwest::{Response, StatusCode, header::HeaderMap};
use secrecy::SecretString;
use std::time::Duration;

/// Bytes of a refusal that are read.
const EXCERPT: usize = 4096;

/// An answer on its way. Dropping it closes the connection unless the body was read to its end.
#[derive(Debug)]
pub(crate) struct Coming {
    response: Response,
    secrets: Vec<SecretString>,
    timeout: Duration,
}

impl Coming {
    pub(super) fn new(response: Response, call: &Call, timeout: Duration) -> Self {
        Self { response, secrets: call.secrets.clone(), timeout }
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.response.status()
    }

    /// The text of a header; `None` if it is not there, or no text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers().get(name)?.to_str().ok()
    }

    pub(crate) fn headers(&self) -> &HeaderMap {
        self.response.headers()
    }

    /// The next bytes of the body; `None` at its end. Waits for them as long as for an answer.
    pub(crate) async fn piece(&mut self, doing: &str) -> Result<Option<Bytes>> {
        match tokio::time::timeout(self.timeout, self.response.chunk()).await {
            Ok(piece) => piece.map_err(|error| transport(doing, error)),
            Err(_) => Err(Fault::new(FaultKind::Timeout, doing).detail(format!("no byte within {:?}", self.timeout))),
        }
    }

    /// The fault that this status stands for, with what the body says of it as far as it comes.
    pub(crate) async fn refusal(mut self, doing: &str) -> Fault {
        if let Some(host) = self.elsewhere() {
            let detail =
                format!("HTTP {} leads to another server, {host}, which is not followed", self.status().as_u16());
            return Fault::new(FaultKind::Refused, doing).detail(detail);
        }
        let mut body = Vec::new();
        while body.len() < EXCERPT
            && let Ok(Some(piece)) = self.piece(doing).await
        {
            body.extend_from_slice(&piece);
        }
        self.answer(body).refusal(doing)
    }

    /// The other server that a redirect leads to.
    fn elsewhere(&self) -> Option<String> {
        let to = self.header("location").filter(|_| self.status().is_redirection())?;
        let to = self.response.url().join(to).ok()?;
        (to.origin() != self.response.url().origin()).then(|| to.origin().ascii_serialization())
    }

    /// The whole answer; `None` if its body is longer than this.
    pub(super) async fn whole(mut self, doing: &str, longest: usize) -> Result<Option<Answer>> {
        let mut body = Vec::new();
        while let Some(piece) = self.response.chunk().await.map_err(|error| transport(doing, error))? {
            if body.len() + piece.len() > longest {
                return Ok(None);
            }
            body.extend_from_slice(&piece);
        }
        Ok(Some(self.answer(body)))
    }

    fn answer(self, body: Vec<u8>) -> Answer {
        let (status, headers) = (self.response.status(), self.response.headers().clone());
        Answer { status, headers, body: body.into(), took: Duration::ZERO, secrets: self.secrets }
    }
}
