//! Who receives the events of a measurement: one endpoint that works, one that works and looks at
//! the time of each event, one that never answers, one that always fails.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use chrono::{DateTime, Utc};
use jobs::OutboxId;
use poem::http::StatusCode;
use poem::listener::{Acceptor, Listener, TcpListener};
use poem::{Request, Route, Server, endpoint::make, post};
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::clock::Clock;

/// An event that is not there by then is not coming.
const PATIENCE: Duration = Duration::from_mins(2);

/// When something was done, and how long it took.
pub(super) type Timed = (Instant, Duration);

/// Listens on the loopback interface until it is dropped.
pub(super) struct Receiver {
    address: SocketAddr,
    arrivals: Arc<Arrivals>,
    times: Arc<Mutex<Vec<Timed>>>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Arrivals {
    first: Mutex<HashMap<OutboxId, Instant>>,
    changed: watch::Sender<()>,
}

impl Arrivals {
    fn note(&self, request: &Request) {
        let now = Instant::now();
        let id = request.header("webhook-id").and_then(|id| id.parse().ok());
        if let Some(id) = id {
            lock(&self.first).entry(id).or_insert(now);
        }
        self.changed.send_replace(());
    }

    fn count(&self) -> usize {
        lock(&self.first).len()
    }

    fn of(&self, id: OutboxId) -> Option<Instant> {
        lock(&self.first).get(&id).copied()
    }
}

impl Receiver {
    pub(super) async fn start() -> Result<Self> {
        let acceptor = TcpListener::bind("127.0.0.1:0")
            .into_acceptor()
            .await
            .context("the receiver cannot listen")?;
        let bound = acceptor.local_addr();
        let address = bound.first().and_then(|bound| bound.as_socket_addr());
        let address = *address.context("a TCP listener has an address")?;
        let arrivals = Arc::<Arrivals>::default();
        let noted = arrivals.clone();
        let works = make(move |request: Request| {
            noted.note(&request);
            async { Ok::<_, poem::Error>(StatusCode::OK) }
        });
        let times = Arc::<Mutex<Vec<Timed>>>::default();
        let (kept, clock) = (times.clone(), Clock::system());
        let looks = make(move |request| {
            let (times, clock) = (kept.clone(), clock.clone());
            async move {
                let took = age(&clock, request).await;
                lock(&times).extend(took.map(|took| (Instant::now(), took)));
                Ok::<_, poem::Error>(StatusCode::OK)
            }
        });
        let hangs = make(|_| async {
            std::future::pending::<()>().await;
            Ok::<_, poem::Error>(StatusCode::OK)
        });
        let fails = make(|_| async { Ok::<_, poem::Error>(StatusCode::INTERNAL_SERVER_ERROR) });
        let routes = Route::new()
            .at("/works", post(works))
            .at("/timed", post(looks))
            .at("/hangs", post(hangs))
            .at("/fails", post(fails));
        let task = tokio::spawn(async move {
            // Nothing but the end of the measurement ends it.
            let _ = Server::new_with_acceptor(acceptor).run(routes).await;
        });
        Ok(Self {
            address,
            arrivals,
            times,
            task,
        })
    }

    /// Where a path is: `works`, `timed`, `hangs` or `fails`.
    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.address)
    }

    /// From each event so far to its request at the endpoint that looks at the time.
    pub(super) fn times(&self) -> Vec<Timed> {
        lock(&self.times).clone()
    }

    /// How many those are.
    pub(super) fn timed(&self) -> usize {
        lock(&self.times).len()
    }

    pub(super) fn forget_times(&self) {
        lock(&self.times).clear();
    }

    /// How many events arrived so far.
    pub(super) fn count(&self) -> usize {
        self.arrivals.count()
    }

    /// When the first event arrived that came after an instant.
    pub(super) fn first_since(&self, instant: Instant) -> Option<Instant> {
        let first = lock(&self.arrivals.first);
        first.values().copied().filter(|it| *it >= instant).min()
    }

    /// Waits until so many have arrived.
    pub(super) async fn has_received(&self, count: usize) -> Result<()> {
        let mut changes = self.arrivals.changed.subscribe();
        let all = async { while self.count() < count && changes.changed().await.is_ok() {} };
        let ended = timeout(PATIENCE, all).await;
        ended.with_context(|| format!("only {} of {count} events arrived", self.count()))
    }

    /// When an event came to the endpoint that works, for the first time.
    pub(super) async fn arrival(&self, id: OutboxId) -> Result<Instant> {
        let mut changed = self.arrivals.changed.subscribe();
        let came = changed.wait_for(|()| self.arrivals.of(id).is_some());
        let came = timeout(PATIENCE, came).await;
        // It fails only when the sender is gone, and `self` has it.
        let _ = came.with_context(|| format!("event {id} did not come"))?;
        self.arrivals.of(id).context("it came")
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// How long ago the event was recorded that a request is about.
async fn age(clock: &Clock, mut request: Request) -> Option<Duration> {
    let event: Value = request.take_body().into_json().await.ok()?;
    let recorded: DateTime<Utc> = event["timestamp"].as_str()?.parse().ok()?;
    Some((clock.now() - recorded).to_std().unwrap_or_default())
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
