//! Requests to one endpoint: its address and credential, packed bodies, and answers that are known by their `ETag`.
//! Must never enter: what an answer means.

use crate::{
    adapters::http::{Answer, Call, Client, Kept, Payload},
    error::{Fault, FaultKind, Result},
    model::Digest,
    plan::{Compression, HttpPlan},
};
use bytes::Bytes;
use reqwest::{
    Method, StatusCode,
    header::{CONTENT_ENCODING, HeaderName, HeaderValue, IF_NONE_MATCH},
};
use std::{
    collections::VecDeque,
    io::Write as _,
    sync::{Mutex, PoisonError},
};
use url::Url;
use uuid::Uuid;

/// An endpoint.
#[derive(Debug)]
pub(super) struct Wire {
    plan: HttpPlan,
    client: Client,
    known: Mutex<Known>,
}

impl Wire {
    pub(super) fn new(plan: HttpPlan) -> Result<Self> {
        let client = Client::new(plan.timeout, None)?.at_most(plan.max_answer);
        let most = usize::try_from(plan.cache).unwrap_or(usize::MAX);
        Ok(Self { client, known: Mutex::new(Known { most, ..Known::default() }), plan })
    }

    pub(super) const fn plan(&self) -> &HttpPlan {
        &self.plan
    }

    /// The address of this path below the endpoint.
    pub(super) fn url(&self, doing: &str, path: &str) -> Result<Url> {
        let base = self.plan.endpoint.as_str().trim_end_matches('/');
        Url::parse(&format!("{base}/{}", path.trim_start_matches('/')))
            .map_err(|error| Fault::new(FaultKind::Plan, doing).source(error))
    }

    /// The whole answer to a read, whatever its status; `None` if it is longer than the plan allows.
    pub(super) async fn get(&self, doing: &str, url: &Url) -> Result<Option<Answer>> {
        let mut call = Call::new(Method::GET, url.clone()).auth(doing, &self.plan.auth)?;
        let known = self.known().of(url);
        if let Some((tag, _)) = &known {
            call = call.named_header(IF_NONE_MATCH, tag.clone());
        }
        let Some(mut answer) = self.client.send_within(doing, call).await? else { return Ok(None) };
        match known {
            Some((_, kept)) if answer.status == StatusCode::NOT_MODIFIED => answer = answer.renew(kept),
            _ => {
                let tag = answer.headers("etag").next().and_then(|tag| HeaderValue::from_str(tag).ok());
                if let Some(tag) = tag.filter(|_| answer.status == StatusCode::OK) {
                    self.known().keep(url, tag, answer.keep());
                }
            }
        }
        Ok(Some(answer))
    }

    /// The answer to a change, which must be a success. The idempotency header protects one request from being performed
    /// twice on its way: the body's SHA-256 with something new behind it. The hash alone would let a server answer a
    /// later, equal write from its memory, although the rows were changed or deleted in between. Repeating a write is
    /// harmless anyway, since it is an upsert.
    pub(super) async fn send(
        &self,
        doing: &str,
        method: &str,
        path: &str,
        body: Vec<u8>,
        idempotency: &str,
    ) -> Result<Answer> {
        let wrong = |error| Fault::new(FaultKind::Internal, doing).source(error);
        let method = Method::from_bytes(method.as_bytes()).map_err(|error| wrong(error.to_string()))?;
        let mut call = Call::new(method, self.url(doing, path)?).auth(doing, &self.plan.auth)?;
        if !idempotency.is_empty() {
            let name = HeaderName::from_bytes(idempotency.as_bytes()).map_err(|error| wrong(error.to_string()))?;
            let value = HeaderValue::from_str(&format!("{}-{}", Digest::of(&body), Uuid::new_v4().simple()));
            call = call.named_header(name, value.map_err(|error| wrong(error.to_string()))?);
        }
        let how = self.plan.compress;
        let packed = match how {
            Compression::None => Ok(body),
            // Long bodies take a while; nobody waits for them in the meantime.
            _ => {
                tokio::task::spawn_blocking(move || pack(how, &body)).await.map_err(|error| wrong(error.to_string()))?
            }
        };
        let packed = packed.map_err(|error| wrong(error.to_string()))?;
        match how {
            Compression::None => {}
            Compression::Gzip => call = call.named_header(CONTENT_ENCODING, HeaderValue::from_static("gzip")),
            Compression::Zstd => call = call.named_header(CONTENT_ENCODING, HeaderValue::from_static("zstd")),
        }
        self.client.send(doing, call.payload(Payload::Json(Bytes::from(packed)))).await?.success(doing)
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        // Whoever panicked here left whole entries behind.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn pack(how: Compression, body: &[u8]) -> std::io::Result<Vec<u8>> {
    match how {
        Compression::None => Ok(body.to_vec()),
        Compression::Gzip => {
            let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            packer.write_all(body)?;
            packer.finish()
        }
        Compression::Zstd => zstd::encode_all(body, 1),
    }
}

/// Answers by address, the one used longest ago first, in bounded memory.
#[derive(Debug, Default)]
struct Known {
    most: usize,
    held: usize,
    answers: VecDeque<(Url, HeaderValue, Kept)>,
}

impl Known {
    /// The answer of this address, and its tag.
    fn of(&mut self, url: &Url) -> Option<(HeaderValue, Kept)> {
        let place = self.answers.iter().position(|(of, ..)| of == url)?;
        let entry = self.answers.remove(place)?;
        let found = (entry.1.clone(), entry.2.clone());
        self.answers.push_back(entry);
        Some(found)
    }

    /// Keeps this answer, if it does not take the room of many others.
    fn keep(&mut self, url: &Url, tag: HeaderValue, answer: Kept) {
        if let Some(place) = self.answers.iter().position(|(of, ..)| of == url) {
            self.forget(place);
        }
        let size = size(url, &answer);
        if size > self.most / 4 {
            return;
        }
        while self.held + size > self.most {
            self.forget(0);
        }
        self.held += size;
        self.answers.push_back((url.clone(), tag, answer));
    }

    fn forget(&mut self, place: usize) {
        if let Some((url, _, answer)) = self.answers.remove(place) {
            self.held -= size(&url, &answer);
        }
    }
}

/// Bytes that an answer takes, with something for the tag and the entry.
fn size(url: &Url, answer: &Kept) -> usize {
    answer.len() + url.as_str().len() + 256
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;

    #[test]
    fn known_answers_take_no_more_than_their_room() {
        let mut known = Known { most: 8000, ..Known::default() };
        let url = |name: usize| Url::parse(&format!("http://h/{name}")).unwrap();
        let tag = HeaderValue::from_static("\"x\"");
        for name in 0..100 {
            known.keep(&url(name), tag.clone(), Kept::of(vec![0; 1000]));
            assert!(known.held <= 8000);
            assert!(known.of(&url(0)).is_some(), "what is used stays");
        }
        assert!(known.of(&url(1)).is_none() && known.of(&url(99)).is_some());
        known.keep(&url(0), tag.clone(), Kept::of(vec![0; 4000]));
        assert!(known.of(&url(0)).is_none(), "too long to be kept, and the old one is not it any more");
        let held: usize = known.answers.iter().map(|(url, _, answer)| size(url, answer)).sum();
        assert_eq!(known.held, held);
        let mut none = Known::default();
        none.keep(&url(1), tag, Kept::of(Vec::new()));
        assert!(none.of(&url(1)).is_none());
    }

    #[test]
    fn packed_bodies_unpack() {
        let body = b"records ".repeat(1000);
        let mut plain = Vec::new();
        flate2::read::GzDecoder::new(&pack(Compression::Gzip, &body).unwrap()[..]).read_to_end(&mut plain).unwrap();
        assert_eq!(plain, body);
        assert_eq!(zstd::decode_all(&pack(Compression::Zstd, &body).unwrap()[..]).unwrap(), body);
    }
}
