//! The marketplace that the service asks, and the receiver of its events, on one listener.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use chrono::{DateTime, Utc};
use poem::endpoint::make;
use poem::http::StatusCode;
use poem::listener::{Acceptor, Listener, TcpListener};
use poem::{Request, Response, Route, Server};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::clock::Clock;

/// When something was done, and how long it took.
pub(super) type Latency = (Instant, Duration);

/// The marketplace does not know an order with this mark yet when it is asked for the first time.
pub(super) const LATE: &str = "late-";

/// Listens on the loopback interface until it is dropped.
pub(super) struct World {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct State {
    /// Late orders that were asked for once.
    asked: HashSet<String>,
    latencies: Vec<Latency>,
}

impl World {
    pub(super) async fn start() -> Result<Self> {
        let acceptor = TcpListener::bind("127.0.0.1:0")
            .into_acceptor()
            .await
            .context("the marketplace cannot listen")?;
        let bound = acceptor.local_addr();
        let address = bound.first().and_then(|bound| bound.as_socket_addr());
        let address = *address.context("a TCP listener has an address")?;
        let state = Arc::<Mutex<State>>::default();
        let (selling, hearing) = (state.clone(), state.clone());
        let marketplace = make(move |request| {
            let state = selling.clone();
            async move { Ok::<_, poem::Error>(sell(&state, request).await) }
        });
        let clock = Clock::system();
        let receiver = make(move |request| {
            let (state, clock) = (hearing.clone(), clock.clone());
            async move { Ok::<_, poem::Error>(hear(&state, &clock, request).await) }
        });
        let routes = Route::new().at("/hook", receiver).nest("/", marketplace);
        let task = tokio::spawn(async move {
            // Nothing but the end of the measurement ends it.
            let _ = Server::new_with_acceptor(acceptor).run(routes).await;
        });
        Ok(Self {
            address,
            state,
            task,
        })
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// From each event so far to its request.
    pub(super) fn latencies(&self) -> Vec<Latency> {
        lock(&self.state).latencies.clone()
    }

    /// How many events came.
    pub(super) fn heard(&self) -> usize {
        lock(&self.state).latencies.len()
    }

    pub(super) fn forget_latencies(&self) {
        lock(&self.state).latencies.clear();
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn sell(state: &Mutex<State>, mut request: Request) -> Response {
    let body: Value = request.take_body().into_json().await.unwrap_or_default();
    let receipt = body["receipt"].as_str().unwrap_or_default();
    if receipt.starts_with(LATE) {
        let mut state = lock(state);
        // Asked for twice, it needs no room any more.
        if !state.asked.remove(receipt) {
            state.asked.insert(receipt.to_owned());
            return StatusCode::INTERNAL_SERVER_ERROR.into();
        }
    }
    let order = json!({
        "status": true,
        "orderId": format!("order-of-{receipt}"),
        "amount": 10,
        "currency": "USD",
        "importedAtUTC": "2024-01-01T12:00:00Z",
    });
    Response::builder()
        .content_type("application/json")
        .body(order.to_string())
}

async fn hear(state: &Mutex<State>, clock: &Clock, mut request: Request) -> StatusCode {
    let body: Value = request.take_body().into_json().await.unwrap_or_default();
    let recorded = body["timestamp"].as_str();
    let recorded = recorded.and_then(|text| text.parse::<DateTime<Utc>>().ok());
    if let Some(recorded) = recorded {
        let took = (clock.now() - recorded).to_std().unwrap_or_default();
        lock(state).latencies.push((Instant::now(), took));
    }
    StatusCode::OK
}
