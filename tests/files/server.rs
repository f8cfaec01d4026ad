//! An S3 server over a folder: s3s-fs, with what a real one does besides, and with bad manners on demand.
//!
//! A request that has come whole is carried out, whether or not the caller still waits. Unfinished uploads can be
//! listed, which s3s-fs refuses: it keeps a file for each, whose name says of which key it is. And of an upload that is
//! not there it is said so, where s3s-fs says that it is forbidden.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use futures::{StreamExt as _, stream};
use http_body_util::{BodyExt as _, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    Method, Request, Response,
    body::{Frame, Incoming},
    service::service_fn,
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto::Builder,
};
use s3s::{
    auth::SimpleAuth,
    service::{S3Service, S3ServiceBuilder},
};
use s3s_fs::FileSystem;
use std::{
    fmt::Write as _,
    fs, io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};
use tempfile::TempDir;
use tokio::{net::TcpListener, sync::watch};

type Body = UnsyncBoxBody<Bytes, io::Error>;

/// What happens to one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mishap {
    /// This status, this code in the body, and, if so, a wish to come back after so many seconds.
    Says(u16, &'static str, Option<u64>),
    /// A part of the body is read, then the connection is cut.
    CutsAsking,
    /// A part of the answer is sent, then the connection is cut.
    CutsAnswer,
    /// Nothing, for ever.
    Stalls,
    /// Done, and no answer.
    LosesAnswer,
}

/// What a rule may look at.
pub(crate) struct Asked<'a> {
    /// From 1.
    pub(crate) number: u64,
    pub(crate) method: &'a Method,
    pub(crate) query: &'a str,
}

impl Asked<'_> {
    /// Puts parts together.
    pub(crate) fn is_finish(&self) -> bool {
        *self.method == Method::POST && self.query.contains("uploadId=")
    }

    /// Brings bytes.
    pub(crate) fn is_put(&self) -> bool {
        *self.method == Method::PUT
    }
}

type Rule = dyn Fn(&Asked<'_>) -> Option<Mishap> + Send + Sync;

pub(crate) struct Server {
    pub(crate) endpoint: String,
    folder: TempDir,
    /// Requests that have come so far.
    asked: watch::Receiver<u64>,
    /// Requests that are being carried out.
    busy: watch::Receiver<u64>,
}

#[derive(Clone)]
struct Shared {
    service: S3Service,
    root: Arc<Path>,
    rule: Arc<Rule>,
    count: Arc<AtomicU64>,
    told: Arc<watch::Sender<u64>>,
    busy: Arc<watch::Sender<u64>>,
}

/// One request being carried out.
struct Busy(Arc<watch::Sender<u64>>);

impl Busy {
    fn new(busy: &Arc<watch::Sender<u64>>) -> Self {
        busy.send_modify(|busy| *busy += 1);
        Self(Arc::clone(busy))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.send_modify(|busy| *busy -= 1);
    }
}

impl Server {
    pub(crate) const BUCKET: &str = "list-cutter";
    pub(crate) const ACCESS: &str = "access";
    pub(crate) const SECRET: &str = "topsecretkey";

    /// One that behaves.
    pub(crate) async fn start() -> Self {
        Self::that(|_| None).await
    }

    /// One that does to each request what the rule says.
    pub(crate) async fn that(rule: impl Fn(&Asked<'_>) -> Option<Mishap> + Send + Sync + 'static) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join(Self::BUCKET)).unwrap();
        let mut builder = S3ServiceBuilder::new(FileSystem::new(folder.path()).unwrap());
        builder.set_auth(SimpleAuth::from_single(Self::ACCESS, Self::SECRET));
        let ((told, asked), (working, busy)) = (watch::channel(0), watch::channel(0));
        let shared = Shared {
            service: builder.build(),
            root: folder.path().into(),
            rule: Arc::new(rule),
            count: Arc::default(),
            told: Arc::new(told),
            busy: Arc::new(working),
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let shared = shared.clone();
                tokio::spawn(async move {
                    let answer = service_fn(move |request| shared.clone().answer(request));
                    let _ended =
                        Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(socket), answer).await;
                });
            }
        });
        Self { endpoint, folder, asked, busy }
    }

    /// Where the objects are.
    pub(crate) fn bucket(&self) -> PathBuf {
        self.folder.path().join(Self::BUCKET)
    }

    /// What the server keeps of an object besides its bytes: what travels with it, as JSON.
    pub(crate) fn kept(&self, key: &str) -> serde_json::Value {
        let encode = |text: &str| URL_SAFE_NO_PAD.encode(text);
        let name = format!(".bucket-{}.object-{}.metadata.json", encode(Self::BUCKET), encode(key));
        serde_json::from_slice(&fs::read(self.folder.path().join(name)).unwrap()).unwrap()
    }

    /// The files of unfinished uploads and their parts.
    pub(crate) fn leftovers(&self) -> Vec<String> {
        let names = fs::read_dir(self.folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
        let names = names.map(|name| name.to_string_lossy().into_owned());
        names.filter(|name| name.contains(".upload") || name.ends_with(".internal.part")).collect()
    }

    /// Forgets every object.
    pub(crate) fn empty(&self) {
        for entry in fs::read_dir(self.folder.path()).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.is_dir() { fs::remove_dir_all(entry).unwrap() } else { fs::remove_file(entry).unwrap() }
        }
        fs::create_dir(self.bucket()).unwrap();
    }

    /// Waits until nothing is carried out any more: what a caller that was killed had sent whole, or broken off.
    pub(crate) async fn quiet(&self) {
        self.busy.clone().wait_for(|busy| *busy == 0).await.unwrap();
    }

    /// How many requests have come, now and later.
    pub(crate) fn asked(&self) -> watch::Receiver<u64> {
        self.asked.clone()
    }
}

impl Shared {
    async fn answer(self, request: Request<Incoming>) -> io::Result<Response<Body>> {
        let number = self.count.fetch_add(1, Ordering::Relaxed) + 1;
        let uri = request.uri().clone();
        let query = uri.query().unwrap_or_default();
        let mishap = (self.rule)(&Asked { number, method: request.method(), query });
        self.told.send_replace(number);
        match mishap {
            None => {}
            Some(Mishap::Says(status, code, wait)) => {
                // A server that refuses at once still takes the body, or its answer would be lost.
                let _all = request.into_body().collect().await;
                return Ok(says(status, code, wait));
            }
            Some(Mishap::CutsAsking) => {
                let _some = request.into_body().frame().await;
                return Err(io::ErrorKind::ConnectionReset.into());
            }
            Some(Mishap::CutsAnswer) => return self.carry_out(request).await.map(|answer| answer.map(cut)),
            Some(Mishap::Stalls) => std::future::pending().await,
            Some(Mishap::LosesAnswer) => {
                self.carry_out(request).await?;
                return Err(io::ErrorKind::ConnectionReset.into());
            }
        }
        self.carry_out(request).await
    }

    /// To the end, even if the caller goes away.
    async fn carry_out(self, request: Request<Incoming>) -> io::Result<Response<Body>> {
        let query = request.uri().query().unwrap_or_default();
        if *request.method() == Method::GET && query.split('&').any(|pair| pair == "uploads" || pair == "uploads=") {
            return Ok(xml(200, self.unfinished()));
        }
        if query.split('&').filter_map(|pair| pair.strip_prefix("uploadId=")).any(|upload| !self.knows(upload)) {
            return Ok(says(404, "NoSuchUpload", None));
        }
        let busy = Busy::new(&self.busy);
        let carried = tokio::spawn(async move {
            let _busy = busy;
            self.service.call(request.map(s3s::Body::from)).await
        });
        let done = carried.await.map_err(io::Error::other)?;
        let answer = done.map_err(io::Error::other)?;
        Ok(answer.map(|body| body.map_err(io::Error::other).boxed_unsync()))
    }

    fn knows(&self, upload: &str) -> bool {
        self.root.join(format!(".upload-{upload}.json")).exists()
    }

    fn unfinished(&self) -> String {
        let mut said = String::from("<ListMultipartUploadsResult><IsTruncated>false</IsTruncated>");
        for entry in fs::read_dir(&self.root).unwrap() {
            let name = entry.unwrap().file_name().to_string_lossy().into_owned();
            let Some((key, upload)) = name
                .split_once(".object-")
                .and_then(|(_, rest)| rest.strip_suffix(".metadata.json")?.split_once(".upload-"))
            else {
                continue;
            };
            let key = String::from_utf8(URL_SAFE_NO_PAD.decode(key).unwrap()).unwrap();
            let key = key.replace('&', "&amp;").replace('<', "&lt;");
            write!(said, "<Upload><Key>{key}</Key><UploadId>{upload}</UploadId></Upload>").unwrap();
        }
        said + "</ListMultipartUploadsResult>"
    }
}

fn says(status: u16, code: &str, wait: Option<u64>) -> Response<Body> {
    let mut answer = xml(status, format!("<Error><Code>{code}</Code><Message>as told</Message></Error>"));
    if let Some(wait) = wait {
        answer.headers_mut().insert("retry-after", wait.into());
    }
    answer
}

fn xml(status: u16, body: String) -> Response<Body> {
    let body = Full::from(body).map_err(|never| match never {}).boxed_unsync();
    Response::builder().status(status).header("content-type", "application/xml").body(body).unwrap()
}

/// The same body, which breaks off after half of its first piece.
fn cut(mut body: Body) -> Body {
    let pieces = stream::once(async move {
        let first =
            body.frame().await.and_then(Result::ok).and_then(|frame| frame.into_data().ok()).unwrap_or_default();
        vec![Ok(Frame::data(first.slice(..first.len() / 2))), Err(io::Error::from(io::ErrorKind::ConnectionReset))]
    });
    let pieces = pieces.flat_map(stream::iter);
    StreamBody::new(pieces).boxed_unsync()
}
