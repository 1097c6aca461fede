//! A webhook receiver: keeps what it is sent, to the byte.

use std::sync::{Arc, Mutex};

use poem::endpoint::make;
use poem::http::{HeaderMap, StatusCode, header};
use poem::{Request, Response};

use super::server::TestServer;

/// What came.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Received {
    /// A header that there must be.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().unwrap()
    }
}

/// Listens until it is dropped.
pub(crate) struct Receiver {
    server: TestServer,
    received: Arc<Mutex<Vec<Received>>>,
}

impl Receiver {
    /// One that answers 200.
    pub(crate) async fn start() -> Self {
        Self::answering(|| Response::builder().status(StatusCode::OK).finish()).await
    }

    /// One that sends everybody elsewhere.
    pub(crate) async fn redirecting(status: StatusCode, to: String) -> Self {
        let answer = move || {
            Response::builder()
                .status(status)
                .header(header::LOCATION, &to)
        };
        Self::answering(move || answer().finish()).await
    }

    /// One that answers so.
    pub(crate) async fn answering(answer: impl Fn() -> Response + Send + Sync + 'static) -> Self {
        let received = Arc::new(Mutex::new(Vec::new()));
        let kept = received.clone();
        let answer = Arc::new(answer);
        let endpoint = make(move |request: Request| {
            let (kept, answer) = (kept.clone(), answer.clone());
            async move {
                let headers = request.headers().clone();
                let body = request.into_body().into_vec().await?;
                kept.lock().unwrap().push(Received { headers, body });
                Ok::<_, poem::Error>(answer())
            }
        });
        let server = TestServer::start(endpoint).await;
        Self { server, received }
    }

    /// Where it is.
    pub(crate) fn url(&self) -> String {
        self.server.url("/webhook").to_string()
    }

    /// What came so far.
    pub(crate) fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }
}
