//! What came back, and which fault it is if it is not what was wanted.

use crate::{
    error::{Fault, FaultKind, Result},
    model::{Timestamp, text},
};
use bytes::Bytes;
use reqwest::{
    StatusCode,
    header::{DATE, HeaderMap, RETRY_AFTER},
};
use secrecy::{ExposeSecret, SecretString};
use std::time::Duration;

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// From the first byte sent to the last byte read.
    pub(crate) took: Duration,
    pub(super) secrets: Vec<SecretString>,
}

/// What is kept of an answer for the time when the server says that it still holds.
#[derive(Debug, Clone)]
pub(crate) struct Kept {
    headers: HeaderMap,
    body: Bytes,
}

impl Kept {
    /// Bytes that it takes.
    pub(crate) fn len(&self) -> usize {
        let headers = self.headers.iter().map(|(name, value)| name.as_str().len() + value.len());
        self.body.len() + headers.sum::<usize>()
    }

    /// One with this body.
    #[cfg(test)]
    pub(crate) fn of(body: Vec<u8>) -> Self {
        Self { headers: HeaderMap::new(), body: body.into() }
    }
}

impl Answer {
    /// What is to be kept of it.
    pub(crate) fn keep(&self) -> Kept {
        Kept { headers: self.headers.clone(), body: self.body.clone() }
    }

    /// The answer that was kept, which this one says still holds. What this one does not repeat is as it was: a server
    /// leaves out most headers then, the way to the next page among them.
    pub(crate) fn renew(mut self, kept: Kept) -> Self {
        for name in kept.headers.keys() {
            if !self.headers.contains_key(name) {
                for value in kept.headers.get_all(name) {
                    self.headers.append(name.clone(), value.clone());
                }
            }
        }
        Self { status: StatusCode::OK, body: kept.body, ..self }
    }

    /// The answer itself if its status is 2xx.
    pub(crate) fn success(self, doing: &str) -> Result<Self> {
        if self.status.is_success() { Ok(self) } else { Err(self.refusal(doing)) }
    }

    /// The answer as a JSON document.
    pub(crate) fn json(&self, doing: &str) -> Result<serde_json::Value> {
        serde_json::from_slice(&self.body).map_err(|error| {
            Fault::new(FaultKind::Garbage, doing).detail(format!("no JSON ({error}) but: {}", self.excerpt()))
        })
    }

    /// The fault that this status stands for.
    pub(crate) fn refusal(&self, doing: &str) -> Fault {
        let wait = self.retry_after();
        let kind = match self.status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => FaultKind::Unauthorized,
            StatusCode::NOT_FOUND | StatusCode::GONE => FaultKind::NotFound,
            StatusCode::REQUEST_TIMEOUT => FaultKind::Timeout,
            StatusCode::TOO_MANY_REQUESTS => FaultKind::Throttled,
            StatusCode::SERVICE_UNAVAILABLE if wait.is_some() => FaultKind::Throttled,
            status if status.is_server_error() => FaultKind::Server,
            _ => FaultKind::Refused,
        };
        Fault::new(kind, doing).detail(format!("HTTP {}: {}", self.status.as_u16(), self.excerpt())).retry_after(wait)
    }

    /// The beginning of the body as it may be shown: cleaned, and without the credentials that went with the request.
    pub(crate) fn excerpt(&self) -> String {
        let start = &self.body[..self.body.len().min(4096)];
        self.scrub(&text::clean(&String::from_utf8_lossy(start), 4096))
    }

    /// The text without the credentials that went with the request.
    pub(crate) fn scrub(&self, text: &str) -> String {
        self.secrets.iter().map(ExposeSecret::expose_secret).filter(|secret| !secret.is_empty()).fold(
            text.to_owned(),
            |text, secret| if text.contains(secret) { text.replace(secret, "***") } else { text },
        )
    }

    /// The texts of a header, in their order.
    pub(crate) fn headers(&self, name: &str) -> impl Iterator<Item = &str> {
        self.headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok())
    }

    /// The server's clock when it answered.
    pub(crate) fn date(&self) -> Option<Timestamp> {
        http_date(self.headers.get(DATE)?.to_str().ok()?)
    }

    fn retry_after(&self) -> Option<Duration> {
        let text = self.headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
        if let Ok(seconds) = text.parse() {
            return Some(Duration::from_secs(seconds));
        }
        // The server's own clock, where it tells it, says better how long that is than ours.
        let now = self.date().unwrap_or_else(Timestamp::now);
        Some(Duration::try_from(http_date(text)?.duration_since(now)).unwrap_or_default())
    }
}

/// An HTTP date (`Sat, 21 Nov 2026 01:00:00 GMT`).
fn http_date(text: &str) -> Option<Timestamp> {
    jiff::fmt::rfc2822::DateTimeParser::new().relaxed_weekday(true).parse_timestamp(text).ok()
}
