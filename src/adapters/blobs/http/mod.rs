//! Blobs behind an HTTP server: a legacy application's media, at one address per file.
//!
//! A key is a path below the endpoint. Such a server cannot be listed, so what is there has to come from elsewhere (the
//! records). It is only written to if the plan says so, and then by plain `PUT` and `DELETE`. `body` reads, and reads on
//! where it was cut; `upload` writes; `facts` is what an answer's headers say. Bytes are taken as they are stored: no
//! compression is asked for and none is undone. Must never enter: retries beyond reading on, and who needs which blob.

mod body;
mod facts;
mod upload;

use super::check_key;
use crate::{
    adapters::http::{Call, Client, Coming},
    error::{Fault, FaultKind, Result},
    plan::Auth,
    ports::{BlobBody, BlobInfo, BlobMeta, BlobPage, BlobStore, Found, Put},
};
use async_trait::async_trait;
use body::Source;
use facts::Facts;
use futures::{StreamExt, future, stream, stream::BoxStream};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::{Method, StatusCode, header::HeaderValue};
use std::{sync::Arc, time::Duration};
use url::Url;

/// Everything but what an address never gives a meaning of its own (RFC 3986, "unreserved").
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// An HTTP server with files.
#[derive(Debug)]
pub struct HttpBucket {
    name: String,
    endpoint: Url,
    auth: Auth,
    client: Arc<Client>,
    writable: bool,
}

impl HttpBucket {
    /// The bucket of this name in the plan. `timeout` is the longest wait for an answer, and for each piece of a body.
    ///
    /// # Errors
    /// `Internal` if this machine cannot make an HTTP client.
    pub fn new(name: &str, endpoint: Url, auth: Auth, timeout: Duration, writable: bool) -> Result<Self> {
        Ok(Self { name: name.to_owned(), endpoint, auth, client: Arc::new(Client::verbatim(timeout)?), writable })
    }

    fn doing(&self, verb: &str, key: &str) -> Result<String> {
        let doing = format!("{verb} {} in {}", crate::model::text::clean(key, 200), self.name);
        check_key(&doing, key)?;
        Ok(doing)
    }

    fn may_write(&self, doing: &str) -> Result<()> {
        if self.writable {
            return Ok(());
        }
        let detail = "this bucket is only read: the plan does not say `writable = true` for it";
        Err(Fault::new(FaultKind::Refused, doing).detail(detail))
    }

    fn unlisted(&self, verb: &str) -> Fault {
        Fault::new(FaultKind::Refused, format!("{verb} {}", self.name)).detail("an HTTP server cannot be listed")
    }

    fn call(&self, doing: &str, method: Method, key: &str) -> Result<Call> {
        let mut url = self.endpoint.clone();
        let parts: Vec<String> = key.split('/').map(|part| utf8_percent_encode(part, ENCODED).to_string()).collect();
        url.set_path(&format!("{}/{}", url.path().trim_end_matches('/'), parts.join("/")));
        let call = Call::new(method, url).auth(doing, &self.auth)?;
        Ok(call.header("accept-encoding", HeaderValue::from_static("identity")))
    }

    /// What the server says of a blob; `None` if it is not there. Some servers say it only of a `GET`, which is then cut
    /// off after the headers.
    async fn look(&self, doing: &str, key: &str) -> Result<Option<Facts>> {
        for method in [Method::HEAD, Method::GET] {
            let last = method == Method::GET;
            let coming = self.client.begin(doing, self.call(doing, method, key)?).await?;
            match coming.status() {
                StatusCode::NOT_FOUND | StatusCode::GONE => return Ok(None),
                StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED if !last => {}
                StatusCode::OK => match Facts::whole(doing, coming.headers()) {
                    Err(_) if !last => {}
                    facts => return facts.map(Some),
                },
                _ => return Err(refusal(coming, doing).await),
            }
        }
        Err(Fault::new(FaultKind::Internal, doing).detail("neither HEAD nor GET was asked"))
    }
}

/// The fault that an answer stands for that is not what was asked for.
async fn refusal(coming: Coming, doing: &str) -> Fault {
    if coming.status().is_success() {
        let detail = format!("HTTP {} is no answer to that", coming.status().as_u16());
        return Fault::new(FaultKind::Garbage, doing).detail(detail);
    }
    coming.refusal(doing).await
}

#[async_trait]
impl BlobStore for HttpBucket {
    async fn list(&self, _prefix: &str, _from: Option<&str>, _limit: u32) -> Result<BlobPage> {
        Err(self.unlisted("list"))
    }

    fn scan(self: Arc<Self>, _prefix: &str) -> BoxStream<'static, Result<Vec<Found>>> {
        stream::once(future::ready(Err(self.unlisted("scan")))).boxed()
    }

    /// Asks for the endpoint itself. What it says of that is its own affair (many refuse to show a folder), as long as it
    /// is up and takes the credential.
    async fn reach(&self) -> Result<Option<bool>> {
        let doing = format!("reach {}", self.name);
        let call = Call::new(Method::HEAD, self.endpoint.clone()).auth(&doing, &self.auth)?;
        let coming = self.client.begin(&doing, call).await?;
        let status = coming.status();
        let bad = status == StatusCode::UNAUTHORIZED
            || status == StatusCode::TOO_MANY_REQUESTS
            || (status.is_server_error() && status != StatusCode::NOT_IMPLEMENTED);
        if bad { Err(coming.refusal(&doing).await) } else { Ok(None) }
    }

    async fn open(&self, key: &str, from: u64) -> Result<BlobBody> {
        let doing = self.doing("read", key)?;
        let source = Source::new(&self.client, self.call(&doing, Method::GET, key)?, &doing);
        let coming = source.ask(from, None).await?;
        if from == 0 || coming.status() != StatusCode::RANGE_NOT_SATISFIABLE {
            return body::read(source, coming, from).await;
        }
        let missing = || Fault::new(FaultKind::NotFound, &*doing);
        let facts = self.look(&doing, key).await?.ok_or_else(missing)?;
        if from != facts.size {
            let detail = format!("byte {from} of a file of {} bytes was asked for", facts.size);
            return Err(Fault::new(FaultKind::Refused, doing).detail(detail));
        }
        Ok(BlobBody { size: facts.size, version: facts.version, meta: facts.meta, bytes: stream::empty().boxed() })
    }

    /// Sends a `PUT`. Nothing is kept of a blob's user pairs; the other things that travel with it go as headers, and
    /// what the server does with them is its own affair.
    async fn put(&self, key: &str, body: BlobBody, put: &Put) -> Result<BlobInfo> {
        let doing = self.doing("write", key)?;
        self.may_write(&doing)?;
        upload::put(&self.client, self.call(&doing, Method::PUT, key)?, &doing, key, body, put).await
    }

    async fn head(&self, key: &str) -> Result<Option<BlobInfo>> {
        let facts = self.look(&self.doing("look at", key)?, key).await?;
        Ok(facts.map(|Facts { size, version, .. }| BlobInfo {
            key: key.to_owned(),
            size,
            version,
            ..BlobInfo::default()
        }))
    }

    async fn meta(&self, key: &str) -> Result<Option<BlobMeta>> {
        Ok(self.look(&self.doing("look at", key)?, key).await?.map(|facts| facts.meta))
    }

    async fn delete(&self, key: &str) -> Result<()> {
        let doing = self.doing("delete", key)?;
        self.may_write(&doing)?;
        let answer = self.client.send(&doing, self.call(&doing, Method::DELETE, key)?).await?;
        match answer.status {
            StatusCode::NOT_FOUND | StatusCode::GONE => Ok(()),
            _ => answer.success(&doing).map(drop),
        }
    }

    async fn guards_new(&self, _key: &str) -> Result<bool> {
        Ok(false)
    }
}
