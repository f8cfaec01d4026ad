//! A server whose every answer a test makes, and which keeps what it was asked.

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, Method, Uri},
    response::Response,
};
use std::sync::{Arc, Mutex};
use tokio::net::TcpListener;
use url::Url;

/// A request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    /// How many came before it.
    pub(crate) number: usize,
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) query: Vec<(String, String)>,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Asked {
    pub(crate) fn parameter(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(of, _)| of == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn number_in(&self, name: &str, or: usize) -> usize {
        self.parameter(name).map_or(or, |text| text.parse().unwrap())
    }
}

type Answer = Arc<dyn Fn(&Asked) -> Response + Send + Sync>;

#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) endpoint: Url,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Server {
    /// A server that answers so, until the test's runtime ends.
    pub(crate) async fn that(answer: impl Fn(&Asked) -> Response + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = Url::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
        let server = Self { endpoint, asked: Arc::default() };
        let state: (Arc<Mutex<Vec<Asked>>>, Answer) = (Arc::clone(&server.asked), Arc::new(answer));
        let router = Router::new().fallback(handle).with_state(state);
        tokio::spawn(async move { axum::serve(listener, router).await });
        server
    }

    /// Everything that was asked until now.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

async fn handle(
    State((list, answer)): State<(Arc<Mutex<Vec<Asked>>>, Answer)>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let query = url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()).into_owned().collect();
    let asked = {
        let mut list = list.lock().unwrap();
        let asked = Asked { number: list.len(), method, path: uri.path().to_owned(), query, headers, body };
        list.push(asked.clone());
        asked
    };
    answer(&asked)
}
