//! A marketplace that answers at once: every receipt is an order, one that is late ([`LATE`]) when
//! it is asked about for the second time.

use std::collections::HashSet;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use http_body_util::{BodyExt, Collected, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// Its credentials.
pub(super) const USER: &str = "bench";
/// Its credentials.
pub(super) const PASSWORD: &str = "bench";

/// Every order is this one but for its id.
const ANSWER: &str = r#"{"status":true,"amount":42,"currency":"USD","importedAtUTC":"2026-01-01T00:00:00.000Z","orderId":""#;

/// How receipts begin whose orders the marketplace does not know yet when it is asked about them
/// for the first time.
pub(super) const LATE: &str = "late-";

/// Listens on the loopback interface until it is dropped.
pub(super) struct Marketplace {
    address: SocketAddr,
    sales: Arc<Sales>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Sales {
    answered: AtomicU64,
    /// Questions about late receipts that were asked once.
    asked: Mutex<HashSet<Bytes>>,
}

impl Marketplace {
    pub(super) async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await;
        let listener = listener.context("the marketplace cannot listen")?;
        let address = listener.local_addr()?;
        let sales = Arc::<Sales>::default();
        let kept = sales.clone();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                stream.set_nodelay(true).ok();
                let sales = sales.clone();
                let service = service_fn(move |request| answer(request, sales.clone()));
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        Ok(Self {
            address,
            sales: kept,
            task,
        })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many receipts it was asked about.
    pub(super) fn answered(&self) -> u64 {
        self.sales.answered.load(Ordering::Relaxed)
    }
}

impl Drop for Marketplace {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Sales {
    /// Whether a question is about a receipt that is late, and the first one.
    fn is_early(&self, question: &Bytes) -> bool {
        let is_late = question
            .windows(LATE.len())
            .any(|letters| letters == LATE.as_bytes());
        if !is_late {
            return false;
        }
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        // Asked about twice, it needs no room any more.
        !asked.remove(question) && asked.insert(question.clone())
    }
}

async fn answer(
    request: Request<Incoming>,
    sales: Arc<Sales>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    // To its end, or the connection is not used again.
    let question = request.into_body().collect().await;
    let question = question.map(Collected::to_bytes).unwrap_or_default();
    if sales.is_early(&question) {
        let mut response = Response::new(Full::default());
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        return Ok(response);
    }
    let order = sales.answered.fetch_add(1, Ordering::Relaxed);
    let body = format!("{ANSWER}order-{order}\"}}");
    let mut response = Response::new(Full::new(Bytes::from(body)));
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    Ok(response)
}
