//! A marketplace in front of other processes: counts every call over HTTP, answers as slowly as
//! it is told to, and can hold calls or be out of order.
//!
//! Receipts are named `{store}-{number}`, so it knows which store a call is about. Each process
//! signs in as a user of its own, so it knows whose call it is.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::{Engine, engine::general_purpose::STANDARD};
use poem::endpoint::make;
use poem::http::{StatusCode, header};
use poem::{Request, Response};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::server::TestServer;

/// Counts while it stands; clones share everything.
#[derive(Clone)]
pub(crate) struct CountingMarketplace {
    shared: Arc<Shared>,
    server: Arc<TestServer>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// While it is true, calls stay in flight.
    held: watch::Sender<bool>,
    calls: watch::Sender<usize>,
}

#[derive(Default)]
struct State {
    delay: Duration,
    is_out_of_order: bool,
    fails_first: bool,
    sold: usize,
    calls: HashMap<String, u32>,
    last_call: Option<Instant>,
    in_flight: HashMap<String, Vec<String>>,
    most_in_flight: usize,
    shared_stores: HashSet<String>,
    receipts_in_flight: HashSet<String>,
    shared_receipts: HashSet<String>,
}

impl CountingMarketplace {
    pub(crate) async fn start() -> Self {
        let shared = Arc::<Shared>::default();
        let answering = shared.clone();
        let server = TestServer::start(make(move |request: Request| {
            let shared = answering.clone();
            async move { Ok::<_, poem::Error>(shared.answer(request).await) }
        }))
        .await;
        Self {
            shared,
            server: Arc::new(server),
        }
    }

    /// For `MOCK_API_BASE_URL`.
    pub(crate) fn url(&self) -> String {
        self.server.base_url().to_string()
    }

    /// Every answer takes so long from now on.
    pub(crate) fn delay(&self, delay: Duration) {
        self.state(|state| state.delay = delay);
    }

    /// Answers 500 from now on, or works again.
    pub(crate) fn out_of_order(&self, is_out_of_order: bool) {
        self.state(|state| state.is_out_of_order = is_out_of_order);
    }

    /// From now on the first call about each receipt is answered 500.
    pub(crate) fn fail_first(&self) {
        self.state(|state| state.fails_first = true);
    }

    /// From now on calls stay in flight, or go on.
    pub(crate) fn hold(&self, is_held: bool) {
        self.shared.held.send_replace(is_held);
    }

    /// Waits until there were so many calls.
    pub(crate) async fn called(&self, times: usize) {
        let mut calls = self.shared.calls.subscribe();
        let called = calls.wait_for(|calls| *calls >= times);
        tokio::time::timeout(Duration::from_mins(1), called)
            .await
            .unwrap()
            .unwrap();
    }

    /// How often each receipt was asked about.
    pub(crate) fn calls(&self) -> HashMap<String, u32> {
        self.state(|state| state.calls.clone())
    }

    /// When the last call came.
    pub(crate) fn last_call(&self) -> Option<Instant> {
        self.state(|state| state.last_call)
    }

    /// The most calls about one store that were in flight at a time.
    pub(crate) fn most_in_flight(&self) -> usize {
        self.state(|state| state.most_in_flight)
    }

    /// Stores that two processes asked about at the same time.
    pub(crate) fn stores_of_two(&self) -> HashSet<String> {
        self.state(|state| state.shared_stores.clone())
    }

    /// Receipts that were asked about while somebody else was asking.
    pub(crate) fn receipts_of_two(&self) -> HashSet<String> {
        self.state(|state| state.shared_receipts.clone())
    }

    /// How many calls were answered with an order.
    pub(crate) fn sold(&self) -> usize {
        self.state(|state| state.sold)
    }

    fn state<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        look(&mut self.shared.state.lock().unwrap())
    }
}

impl Shared {
    async fn answer(self: Arc<Self>, mut request: Request) -> Response {
        let caller = user(&request);
        let Ok(body) = request.take_body().into_vec().await else {
            return StatusCode::BAD_REQUEST.into();
        };
        let body: Value = serde_json::from_slice(&body).unwrap();
        let receipt = body["receipt"].as_str().unwrap();
        let store = receipt.rsplit_once('-').unwrap().0;
        let _flight = self.take_off(store, receipt, &caller);
        let (delay, fails) = {
            let state = self.state.lock().unwrap();
            let is_first = state.fails_first && state.calls[receipt] == 1;
            (state.delay, state.is_out_of_order || is_first)
        };
        if !delay.is_zero() {
            sleep(delay).await;
        }
        self.held.subscribe().wait_for(|held| !held).await.unwrap();
        if fails {
            return StatusCode::INTERNAL_SERVER_ERROR.into();
        }
        self.state.lock().unwrap().sold += 1;
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

    fn take_off(self: &Arc<Self>, store: &str, receipt: &str, caller: &str) -> Flight {
        {
            let state = &mut *self.state.lock().unwrap();
            *state.calls.entry(receipt.to_owned()).or_default() += 1;
            state.last_call = Some(Instant::now());
            if !state.receipts_in_flight.insert(receipt.to_owned()) {
                state.shared_receipts.insert(receipt.to_owned());
            }
            let callers = state.in_flight.entry(store.to_owned()).or_default();
            if callers.iter().any(|other| other != caller) {
                state.shared_stores.insert(store.to_owned());
            }
            callers.push(caller.to_owned());
            state.most_in_flight = state.most_in_flight.max(callers.len());
        }
        self.calls.send_modify(|calls| *calls += 1);
        Flight {
            shared: self.clone(),
            store: store.to_owned(),
            receipt: receipt.to_owned(),
            caller: caller.to_owned(),
        }
    }
}

/// Lands also when the caller goes away.
struct Flight {
    shared: Arc<Shared>,
    store: String,
    receipt: String,
    caller: String,
}

impl Drop for Flight {
    fn drop(&mut self) {
        let state = &mut *self.shared.state.lock().unwrap();
        let callers = state.in_flight.get_mut(&self.store).unwrap();
        let own = callers
            .iter()
            .position(|caller| *caller == self.caller)
            .unwrap();
        callers.swap_remove(own);
        state.receipts_in_flight.remove(&self.receipt);
    }
}

/// The user of the Basic credentials.
fn user(request: &Request) -> String {
    let header = request.header(header::AUTHORIZATION).unwrap();
    let pair = STANDARD
        .decode(header.strip_prefix("Basic ").unwrap())
        .unwrap();
    let pair = String::from_utf8(pair).unwrap();
    pair.split(':').next().unwrap().to_owned()
}
