//! Reads a blob, and where the connection was cut reads on, as long as it is still the same blob.

use super::{
    facts::{Facts, takes_ranges},
    refusal,
};
use crate::{
    adapters::http::{Call, Client, Coming},
    error::{Fault, FaultKind, Result},
    ports::BlobBody,
};
use bytes::Bytes;
use futures::{StreamExt, stream};
use reqwest::{StatusCode, header::HeaderValue};
use std::{sync::Arc, time::Duration};

/// How often a body is read on before whoever reads it is told.
const RESUMES: u32 = 3;
/// Wait before the second of them; before the third it is twice that.
const PAUSE: Duration = Duration::from_millis(200);

/// Who is asked for a blob, and how.
pub(super) struct Source {
    client: Arc<Client>,
    call: Call,
    doing: String,
}

/// A blob that is being read.
struct Reading {
    source: Source,
    coming: Coming,
    facts: Facts,
    /// The server can begin in the middle.
    ranges: bool,
    /// The first byte that is wanted.
    from: u64,
    /// The byte that comes next.
    at: u64,
    resumes: u32,
}

impl Source {
    pub(super) fn new(client: &Arc<Client>, call: Call, doing: &str) -> Self {
        Self { client: Arc::clone(client), call, doing: doing.to_owned() }
    }

    /// Asks for the blob from this byte on; with a validator only if it is still the one that this was given for.
    pub(super) async fn ask(&self, from: u64, validator: Option<&HeaderValue>) -> Result<Coming> {
        let mut call = self.call.clone();
        if from > 0 || validator.is_some() {
            let range = HeaderValue::from_str(&format!("bytes={from}-"))
                .map_err(|error| Fault::new(FaultKind::Internal, &*self.doing).source(error))?;
            call = call.header("range", range);
        }
        if let Some(validator) = validator {
            call = call.header("if-range", validator.clone());
        }
        self.client.begin(&self.doing, call).await
    }
}

/// The body of this answer from byte `from` on.
pub(super) async fn read(source: Source, coming: Coming, from: u64) -> Result<BlobBody> {
    let doing = &*source.doing;
    let (at, facts) = match coming.status() {
        StatusCode::OK => (0, Facts::whole(doing, coming.headers())?),
        StatusCode::PARTIAL_CONTENT => Facts::part(doing, coming.headers())?,
        _ => return Err(refusal(coming, doing).await),
    };
    if at > from {
        let detail = format!("it begins at byte {at}, and byte {from} was asked for");
        return Err(Fault::new(FaultKind::Garbage, doing).detail(detail));
    }
    if from > facts.size {
        let detail = format!("byte {from} of a file of {} bytes was asked for", facts.size);
        return Err(Fault::new(FaultKind::Refused, doing).detail(detail));
    }
    let ranges = coming.status() == StatusCode::PARTIAL_CONTENT || takes_ranges(coming.headers());
    let (size, version, meta) = (facts.size, facts.version.clone(), facts.meta.clone());
    let reading = Reading { source, coming, facts, ranges, from, at, resumes: 0 };
    let bytes = stream::try_unfold(reading, |mut reading| async {
        let piece = reading.piece().await?;
        Ok(piece.map(|piece| (piece, reading)))
    });
    Ok(BlobBody { size, version, meta, bytes: bytes.boxed() })
}

impl Reading {
    async fn piece(&mut self) -> Result<Option<Bytes>> {
        while self.at < self.facts.size {
            match self.coming.piece(&self.source.doing).await {
                Ok(Some(piece)) => {
                    if let Some(wanted) = self.take(piece)? {
                        return Ok(Some(wanted));
                    }
                }
                Ok(None) => self.resume(Fault::new(FaultKind::Garbage, &*self.source.doing)).await?,
                Err(fault) => self.resume(fault).await?,
            }
        }
        Ok(None)
    }

    /// Counts a piece and cuts off what was not asked for.
    fn take(&mut self, mut piece: Bytes) -> Result<Option<Bytes>> {
        let length = u64::try_from(piece.len()).unwrap_or(u64::MAX);
        if length > self.facts.size - self.at {
            let detail = format!("more than the announced {} bytes came", self.facts.size);
            return Err(Fault::new(FaultKind::Garbage, &*self.source.doing).detail(detail));
        }
        let early = self.from.saturating_sub(self.at).min(length);
        self.at += length;
        let wanted = piece.split_off(usize::try_from(early).unwrap_or(usize::MAX));
        Ok((!wanted.is_empty()).then_some(wanted))
    }

    /// Goes on where the body was cut. `why` it was is the fault if that is impossible.
    async fn resume(&mut self, mut why: Fault) -> Result<()> {
        if why.detail.is_empty() {
            why = why.detail(format!("cut short after {} of {} bytes", self.at, self.facts.size));
        }
        let Some(validator) = self.facts.validator.clone().filter(|_| self.ranges) else { return Err(why) };
        while self.resumes < RESUMES && why.kind.is_retryable() && why.kind != FaultKind::Throttled {
            tokio::time::sleep(PAUSE * self.resumes).await;
            self.resumes += 1;
            match self.source.ask(self.at, Some(&validator)).await {
                Err(fault) => why = fault,
                Ok(coming) if self.goes_on(&coming)? => {
                    self.coming = coming;
                    return Ok(());
                }
                Ok(coming) => why = refusal(coming, &self.source.doing).await,
            }
        }
        Err(why)
    }

    /// Whether this answer brings the rest of the same blob; a fault if it tells that there is no such rest.
    fn goes_on(&self, coming: &Coming) -> Result<bool> {
        let doing = &*self.source.doing;
        let changed = |how: &str| Fault::new(FaultKind::Changed, doing).detail(format!("the file was {how} meanwhile"));
        match coming.status() {
            StatusCode::PARTIAL_CONTENT => {
                let (at, facts) = Facts::part(doing, coming.headers())?;
                // An answer that says less than the first one is no other blob.
                let same = facts.version.is_none() || facts.version == self.facts.version;
                if facts.size != self.facts.size || !same {
                    return Err(changed("written"));
                }
                if at == self.at {
                    return Ok(true);
                }
                let detail = format!("it goes on at byte {at}, and byte {} was asked for", self.at);
                Err(Fault::new(FaultKind::Garbage, doing).detail(detail))
            }
            StatusCode::OK => match Facts::whole(doing, coming.headers()) {
                Ok(facts) if facts.size == self.facts.size && facts.version == self.facts.version => {
                    let detail = format!(
                        "cut short after {} of {} bytes, and the server does not go on from there",
                        self.at, self.facts.size
                    );
                    Err(Fault::new(FaultKind::Garbage, doing).detail(detail))
                }
                _ => Err(changed("written")),
            },
            StatusCode::NOT_FOUND | StatusCode::GONE => Err(changed("removed")),
            StatusCode::RANGE_NOT_SATISFIABLE => Err(changed("cut")),
            _ => Ok(false),
        }
    }
}
