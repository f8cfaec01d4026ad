//! A web server with files that does exactly what a test wants, bad manners and all.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    sync::{Arc, Mutex},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
};
use url::Url;

/// A request as it came.
#[derive(Debug, Clone, Default)]
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) headers: BTreeMap<String, String>,
    /// What came of the body; whole only if it is as long as announced.
    pub(crate) body: Vec<u8>,
}

impl Asked {
    /// A header, or nothing.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    /// The byte that a range begins with.
    pub(crate) fn from(&self) -> Option<usize> {
        self.header("range").strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok()
    }
}

/// What is sent back.
#[derive(Clone)]
pub(crate) struct Said {
    head: String,
    body: Vec<u8>,
    /// Nothing more comes, and the connection stays open.
    pub(crate) hangs: bool,
}

/// An answer of this status with these headers.
pub(crate) fn say(status: &str, headers: &[(&str, &str)]) -> Said {
    let mut head = format!("HTTP/1.1 {status}\r\nconnection: close\r\n");
    for (name, value) in headers {
        write!(head, "{name}: {value}\r\n").unwrap();
    }
    Said { head, body: Vec::new(), hangs: false }
}

impl Said {
    /// With this body and its length.
    pub(crate) fn body(self, body: &[u8]) -> Self {
        self.sized(body.len()).only(body)
    }

    /// With this length, whatever comes.
    pub(crate) fn sized(mut self, length: usize) -> Self {
        write!(self.head, "content-length: {length}\r\n").unwrap();
        self
    }

    /// With this body, whatever was announced.
    pub(crate) fn only(mut self, body: &[u8]) -> Self {
        body.clone_into(&mut self.body);
        self
    }

    /// And then nothing more, with the connection left open.
    pub(crate) fn hangs(mut self) -> Self {
        self.hangs = true;
        self
    }
}

/// The server.
pub(crate) struct Media {
    pub(crate) endpoint: Url,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Media {
    /// One that answers the n-th request, from 0, like this. `HEAD` gets the headers only.
    pub(crate) async fn start(answer: impl Fn(&Asked, usize) -> Said + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = Url::parse(&format!("http://{}/media/", listener.local_addr().unwrap())).unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (answer, told) = (Arc::new(answer), Arc::clone(&asked));
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let (answer, told) = (Arc::clone(&answer), Arc::clone(&told));
                tokio::spawn(async move {
                    let mut socket = BufReader::new(socket);
                    let Some(request) = receive(&mut socket).await else { return };
                    let number = {
                        let mut told = told.lock().unwrap();
                        told.push(request.clone());
                        told.len() - 1
                    };
                    let said = answer(&request, number);
                    let body = if request.method == "HEAD" { &[][..] } else { &said.body };
                    let _gone = socket.write_all(&[said.head.as_bytes(), b"\r\n", body].concat()).await;
                    let _gone = socket.flush().await;
                    if said.hangs {
                        std::future::pending::<()>().await;
                    }
                    let _gone = socket.shutdown().await;
                });
            }
        });
        Self { endpoint, asked }
    }

    /// Every request so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

async fn receive(socket: &mut BufReader<TcpStream>) -> Option<Asked> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(socket.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).unwrap();
    let mut lines = head.lines();
    let mut words = lines.next()?.split(' ').map(ToOwned::to_owned);
    let mut asked = Asked { method: words.next()?, path: words.next()?, ..Asked::default() };
    asked.headers =
        lines.filter_map(|line| line.split_once(": ")).map(|(name, value)| (name.into(), value.into())).collect();
    let length = asked.header("content-length").parse().unwrap_or(0);
    let mut body = socket.take(length);
    let _cut = body.read_to_end(&mut asked.body).await;
    Some(asked)
}
