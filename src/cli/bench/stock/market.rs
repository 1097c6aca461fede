//! A Trendyol that takes everything, five milliseconds after it was asked, and says so when it is
//! asked for results.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use hyper::body::Bytes;
use hyper::{Method, Request, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::RawValue;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};

use super::super::loopback::{Answer, Loopback};

/// How long an answer takes.
pub(super) const LATENCY: Duration = Duration::from_millis(5);
/// No request is waited for longer.
const PATIENCE: Duration = Duration::from_secs(30);

/// Listens on the loopback interface until it is dropped.
pub(super) struct Market {
    loopback: Loopback,
    books: Arc<Books>,
}

/// What a seller has told.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Told {
    pub(super) requests: u64,
    pub(super) items: usize,
    /// When the last request came.
    last: Option<Instant>,
}

#[derive(Default)]
struct Books {
    sellers: Mutex<HashMap<String, Told>>,
    /// What was taken and not asked for yet.
    batches: Mutex<HashMap<String, Bytes>>,
    arrived: Notify,
}

/// What is told.
#[derive(Deserialize)]
struct Inventory<'a> {
    #[serde(borrow)]
    items: Vec<&'a RawValue>,
}

/// What became of it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Results<'a> {
    item_count: usize,
    failed_item_count: usize,
    items: Vec<ItemResult<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ItemResult<'a> {
    request_item: &'a RawValue,
    status: &'static str,
    failure_reasons: [&'static str; 0],
}

impl Market {
    pub(super) async fn start() -> Result<Self> {
        let books = Arc::<Books>::default();
        let kept = books.clone();
        let loopback = Loopback::serve(move |request, body| answer(request, body, kept.clone()));
        Ok(Self {
            loopback: loopback.await?,
            books,
        })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.loopback.address
    }

    /// As a setting.
    pub(super) fn base_url(&self) -> String {
        format!("http://{}", self.address())
    }

    /// What a seller has told so far.
    pub(super) fn told_by(&self, seller: &str) -> Told {
        locked(&self.books.sellers)
            .get(seller)
            .copied()
            .unwrap_or_default()
    }

    /// Waits until a seller has made more than so many requests; tells when the last came.
    pub(super) async fn request_behind(&self, seller: &str, requests: u64) -> Result<Instant> {
        let come = async {
            loop {
                let arrived = self.books.arrived.notified();
                let told = self.told_by(seller);
                if let (true, Some(last)) = (told.requests > requests, told.last) {
                    return last;
                }
                arrived.await;
            }
        };
        let come = timeout(PATIENCE, come).await;
        come.with_context(|| format!("the marketplace was not told anything by {seller}"))
    }
}

impl Books {
    /// Takes what a seller tells; gives the name of the batch.
    fn take(&self, seller: &str, body: Bytes) -> Result<String, serde_json::Error> {
        let now = Instant::now();
        let items = serde_json::from_slice::<Inventory<'_>>(&body)?.items.len();
        let mut sellers = locked(&self.sellers);
        let told = sellers.entry(seller.to_owned()).or_default();
        told.requests += 1;
        told.items += items;
        told.last = Some(now);
        let id = format!("{seller}-{}", told.requests);
        drop(sellers);
        locked(&self.batches).insert(id.clone(), body);
        self.arrived.notify_waiters();
        Ok(id)
    }

    /// What became of a batch; it needs no room any more.
    fn results(&self, batch: &str) -> Option<Bytes> {
        let body = locked(&self.batches).remove(batch)?;
        let told: Inventory<'_> = serde_json::from_slice(&body).ok()?;
        let result = |item| ItemResult {
            request_item: item,
            status: "SUCCESS",
            failure_reasons: [],
        };
        let results = Results {
            item_count: told.items.len(),
            failed_item_count: 0,
            items: told.items.into_iter().map(result).collect(),
        };
        serde_json::to_vec(&results).ok().map(Bytes::from)
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn answer(request: Request<()>, body: Bytes, books: Arc<Books>) -> Answer {
    let is_told = request.method() == Method::POST;
    let path = request.uri().path();
    // /integration/{service}/sellers/{seller}/products/…
    let seller = path.split('/').nth(4).unwrap_or_default();
    let told = is_told.then(|| books.take(seller, body));
    sleep(LATENCY).await;
    let answer = match told {
        Some(Ok(id)) => Some(Bytes::from(json!({ "batchRequestId": id }).to_string())),
        Some(Err(_)) => None,
        None => path
            .rsplit('/')
            .next()
            .and_then(|batch| books.results(batch)),
    };
    match answer {
        Some(answer) => (StatusCode::OK, answer),
        None => (StatusCode::NOT_FOUND, Bytes::new()),
    }
}
