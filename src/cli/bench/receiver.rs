//! Who receives the events of a measurement: one endpoint that works, one that never answers, one
//! that always fails.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use jobs::OutboxId;
use poem::http::StatusCode;
use poem::listener::{Acceptor, Listener, TcpListener};
use poem::{Request, Route, Server, endpoint::make, post};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// An event that is not there by then is not coming.
const PATIENCE: Duration = Duration::from_mins(2);

/// Listens on the loopback interface until it is dropped.
pub(super) struct Receiver {
    address: SocketAddr,
    arrivals: Arc<Arrivals>,
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
            let mut first = self.first.lock().unwrap_or_else(PoisonError::into_inner);
            first.entry(id).or_insert(now);
        }
        self.changed.send_replace(());
    }

    fn of(&self, id: OutboxId) -> Option<Instant> {
        let first = self.first.lock().unwrap_or_else(PoisonError::into_inner);
        first.get(&id).copied()
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
        let hangs = make(|_| async {
            std::future::pending::<()>().await;
            Ok::<_, poem::Error>(StatusCode::OK)
        });
        let fails = make(|_| async { Ok::<_, poem::Error>(StatusCode::INTERNAL_SERVER_ERROR) });
        let routes = Route::new()
            .at("/works", post(works))
            .at("/hangs", post(hangs))
            .at("/fails", post(fails));
        let task = tokio::spawn(async move {
            // Nothing but the end of the measurement ends it.
            let _ = Server::new_with_acceptor(acceptor).run(routes).await;
        });
        Ok(Self {
            address,
            arrivals,
            task,
        })
    }

    /// Where a path is: `works`, `hangs` or `fails`.
    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.address)
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
