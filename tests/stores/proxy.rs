//! Stands between a client and a server: counts what the client says, and cuts the connection when a test wants it.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::watch,
};

/// What to do once a client says this word.
#[derive(Clone, Copy)]
pub(crate) enum Trouble {
    /// The connection is cut before the server hears of it.
    Before(&'static str),
    /// The server does it, and its answer is lost with the connection.
    After(&'static str),
    /// The same with the second word, once the first one was said on that connection.
    AfterBoth(&'static str, &'static str),
}

impl Trouble {
    /// Whether its time has come; `begun`: the first of two words was said.
    fn is_called(self, begun: &mut bool, heard: impl Fn(&str) -> bool) -> bool {
        match self {
            Self::Before(word) | Self::After(word) => heard(word),
            Self::AfterBoth(first, then) => {
                *begun |= heard(first);
                *begun && heard(then)
            }
        }
    }
}

/// How many times clients have said something, over any number of wires.
#[derive(Clone)]
pub(crate) struct Count(Arc<watch::Sender<u64>>);

impl Count {
    pub(crate) fn new() -> Self {
        Self(Arc::new(watch::channel(0).0))
    }

    pub(crate) fn now(&self) -> u64 {
        *self.0.borrow()
    }

    /// Returns once clients have said something so many times.
    pub(crate) async fn reaches(&self, count: u64) {
        self.0.subscribe().wait_for(|now| *now >= count).await.unwrap();
    }

    fn up(&self) {
        self.0.send_modify(|now| *now += 1);
    }
}

/// The place in front of a server.
pub(crate) struct Wire {
    pub(crate) at: SocketAddr,
    trouble: Arc<Mutex<Vec<Trouble>>>,
}

impl Wire {
    pub(crate) async fn to(server: SocketAddr, count: &Count) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let trouble: Arc<Mutex<Vec<Trouble>>> = Arc::default();
        let (shared, count) = (Arc::clone(&trouble), count.clone());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if let Ok(server) = TcpStream::connect(server).await {
                    // Neither side of a conversation waits for the other's acknowledgements.
                    let _faster = (client.set_nodelay(true), server.set_nodelay(true));
                    tokio::spawn(carry(client, server, Arc::clone(&shared), count.clone()));
                }
            }
        });
        Self { at, trouble }
    }

    /// In front of the server of this address; and the address with the wire in it.
    pub(crate) async fn before(url: &str, count: &Count) -> (Self, String) {
        let parsed: url::Url = url.parse().unwrap();
        let server: SocketAddr = format!("127.0.0.1:{}", parsed.port().unwrap()).parse().unwrap();
        let wire = Self::to(server, count).await;
        let url = url.replace(&server.to_string(), &wire.at.to_string());
        (wire, url)
    }

    /// This happens next, after what was ordered before.
    pub(crate) fn next(&self, trouble: Trouble) {
        self.trouble.lock().unwrap().push(trouble);
    }

    /// Orders that nothing has called for yet.
    pub(crate) fn waiting(&self) -> usize {
        self.trouble.lock().unwrap().len()
    }
}

/// Carries both ways until one side ends, or the trouble comes.
async fn carry(mut client: TcpStream, mut server: TcpStream, trouble: Arc<Mutex<Vec<Trouble>>>, count: Count) {
    let (mut said, mut answered, mut begun) = (vec![0; 1 << 16], vec![0; 1 << 16], false);
    loop {
        tokio::select! {
            came = client.read(&mut said) => {
                let Ok(length @ 1..) = came else { return };
                let heard = |word: &str| said[..length].windows(word.len()).any(|part| part == word.as_bytes());
                let now = {
                    let mut orders = trouble.lock().unwrap();
                    let called = orders.first().is_some_and(|order| order.is_called(&mut begun, heard));
                    called.then(|| orders.remove(0))
                };
                if let Some(Trouble::Before(_)) = now {
                    return;
                }
                if server.write_all(&said[..length]).await.is_err() {
                    return;
                }
                count.up();
                if now.is_some() {
                    let _lost = server.read(&mut answered).await;
                    return;
                }
            }
            came = server.read(&mut answered) => {
                let Ok(length @ 1..) = came else { return };
                if client.write_all(&answered[..length]).await.is_err() {
                    return;
                }
            }
        }
    }
}
