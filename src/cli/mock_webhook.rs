//! `mock-webhook`: a receiver of events, to try deliveries with.
//!
//! It keeps everything it gets (`GET /received`), fails when it is told to, and refuses what is
//! not signed when it knows what it should be signed with. The demo, the smoke test and the tests
//! run it in their own process ([`Receiver`]).

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result};
use chrono::{DateTime, TimeDelta, Utc};
use clap::Args;
use jobs::OutboxId;
use poem::http::{HeaderMap, StatusCode, Uri};
use poem::listener::{Acceptor, Listener, TcpListener};
use poem::web::Json;
use poem::{Body, Endpoint, IntoResponse, Response, Route, Server, get, post};
use secrecy::SecretString;
use serde::Serialize;
use serde_json::{Value, json};
use subtle::ConstantTimeEq;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tracing::info;

use crate::clock::Clock;
use crate::service::signal;
use crate::timestamp::Timestamp;
use crate::webhooks::sign::{SigningSecret, reference_headers, standard_headers};

/// The largest body that is read.
const BODY_BYTES: usize = 1 << 20;
/// Standard Webhooks: a signature of another time is somebody's recording.
const TOLERANCE: TimeDelta = TimeDelta::minutes(5);

/// Receive events and show them, for trying deliveries.
#[derive(Debug, Args)]
pub(super) struct MockWebhook {
    /// Listens on this port of the loopback interface; 0 takes a free one.
    #[arg(long, default_value_t = 4000)]
    port: u16,
    /// Answers 500 to the first so many requests of each event.
    #[arg(long, value_name = "N", default_value_t = 0)]
    fail_first: u32,
    /// Refuses what `WEBHOOK_SECRET` with this value has not signed.
    #[arg(long, value_name = "SECRET")]
    secret: Option<SecretString>,
}

impl MockWebhook {
    pub(super) async fn run(self) -> Result<ExitCode> {
        let rules = Rules {
            fail_first: self.fail_first,
            secret: self.secret,
        };
        let receiver = Receiver::new(rules, Clock::system());
        let running = receiver.serve(self.port).await?;
        info!(event = "listening", listener = "webhook", address = %running.address, "receiving at {}", running.url());
        signal().await;
        Ok(ExitCode::SUCCESS)
    }
}

/// How a receiver behaves.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// Answers 500 to the first so many requests of each event.
    pub fail_first: u32,
    /// Refuses what is not signed with it, in the headers of the reference.
    pub secret: Option<SecretString>,
}

/// Whether a request was signed as it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Signature {
    /// Nobody said what with.
    Unchecked,
    /// It was.
    Verified,
    /// It was not, or not at all.
    Refused,
}

/// A request, as it came, and what it was answered.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Received {
    /// When it came.
    pub received_at: Timestamp,
    /// The id of the event, from its header, else from the body.
    pub event_id: Option<String>,
    /// Whether it was signed.
    pub signature: Signature,
    /// What it was answered.
    pub status: u16,
    /// All headers.
    pub headers: BTreeMap<String, String>,
    /// The body; a string if it was not JSON.
    pub body: Value,
}

/// Receives events and remembers them. Clones share everything.
#[derive(Clone, Debug)]
pub struct Receiver {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    rules: Rules,
    clock: Clock,
    state: Mutex<State>,
    count: watch::Sender<usize>,
}

#[derive(Debug, Default)]
struct State {
    received: Vec<Received>,
    requests: HashMap<String, u32>,
    trusted: Vec<SigningSecret>,
}

/// A receiver that listens, until it is dropped.
#[derive(Debug)]
pub struct Running {
    /// Where.
    pub address: SocketAddr,
    task: JoinHandle<()>,
}

impl Running {
    /// What to register.
    pub fn url(&self) -> String {
        format!("http://{}/webhook", self.address)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Receiver {
    /// One that has received nothing yet.
    pub fn new(rules: Rules, clock: Clock) -> Self {
        Self {
            shared: Arc::new(Shared {
                rules,
                clock,
                state: Mutex::default(),
                count: watch::Sender::new(0),
            }),
        }
    }

    /// From now on refuses what is not signed, by Standard Webhooks, with one of the secrets that
    /// it was told.
    pub fn trust(&self, secret: SigningSecret) {
        self.state().trusted.push(secret);
    }

    /// All that was received, in the order it came.
    pub fn received(&self) -> Vec<Received> {
        self.state().received.clone()
    }

    /// Waits until what was received is enough.
    pub async fn wait_until(&self, is_enough: impl Fn(&[Received]) -> bool) {
        let mut count = self.shared.count.subscribe();
        let is_enough = |_: &usize| is_enough(&self.state().received);
        // It fails only when the sender is gone, and `self` has it.
        let _ = count.wait_for(is_enough).await;
    }

    /// Serves on a port of the loopback interface.
    pub async fn serve(&self, port: u16) -> Result<Running> {
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let acceptor = TcpListener::bind(address)
            .into_acceptor()
            .await
            .with_context(|| format!("cannot listen on {address} (see `--port`)"))?;
        let bound = acceptor.local_addr();
        let bound = bound.first().and_then(|bound| bound.as_socket_addr());
        let address = *bound.context("a TCP listener has an address")?;
        let endpoint = self.endpoint();
        let task = tokio::spawn(async move {
            // Nothing but the end of the process, or of this task, ends it.
            let _ = Server::new_with_acceptor(acceptor).run(endpoint).await;
        });
        Ok(Running { address, task })
    }

    /// `POST /webhook` and `GET /received`.
    pub fn endpoint(&self) -> impl Endpoint<Output = Response> + use<> {
        let (receive, list) = (self.clone(), self.clone());
        let receive = poem::endpoint::make(move |request: poem::Request| {
            let receiver = receive.clone();
            async move {
                let (parts, body) = request.into_parts();
                receiver.receive(&parts.uri, &parts.headers, body).await
            }
        });
        let list = poem::endpoint::make_sync(move |_| Json(list.received()).into_response());
        Route::new()
            .at("/webhook", post(receive))
            .at("/received", get(list))
    }

    async fn receive(&self, uri: &Uri, headers: &HeaderMap, body: Body) -> poem::Result<Response> {
        let bytes = body.into_bytes_limit(BODY_BYTES).await?;
        let body: Value = serde_json::from_slice(&bytes)
            .unwrap_or_else(|_| String::from_utf8_lossy(&bytes).into());
        let event_id = header(headers, "x-event-id")
            .or(body["eventId"].as_str())
            .map(str::to_owned);
        let signature = self.signature(headers, &bytes, &body);
        let status = self.answer(uri, headers, &body, event_id.as_deref(), signature);
        info!(
            event = "webhook_received",
            "x-event-id" = header(headers, "x-event-id"),
            "x-webhook-signature" = header(headers, "x-webhook-signature"),
            ?signature,
            status = status.as_u16(),
            %body,
            "received an event and answered {status}"
        );
        let headers = headers.iter().map(|(name, value)| {
            let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
            (name.to_string(), value)
        });
        self.state().received.push(Received {
            received_at: self.shared.clock.now().into(),
            event_id,
            signature,
            status: status.as_u16(),
            headers: headers.collect(),
            body,
        });
        self.shared.count.send_modify(|count| *count += 1);
        let answer = Json(json!({ "ok": status.is_success() }));
        Ok(answer.with_status(status).into_response())
    }

    fn answer(
        &self,
        uri: &Uri,
        headers: &HeaderMap,
        body: &Value,
        event_id: Option<&str>,
        signature: Signature,
    ) -> StatusCode {
        if signature == Signature::Refused {
            return StatusCode::UNAUTHORIZED;
        }
        let requests = {
            let mut state = self.state();
            let key = event_id.unwrap_or_default().to_owned();
            let requests = state.requests.entry(key).or_default();
            *requests += 1;
            *requests
        };
        let is_told_to_fail = header(headers, "x-fail") == Some("true")
            || uri
                .query()
                .is_some_and(|query| query.split('&').any(|pair| pair == "fail=true"));
        let receipt = [&body["receipt"], &body["data"]["receipt"]];
        let ends_in_five = receipt
            .into_iter()
            .any(|receipt| receipt.as_str().is_some_and(|text| text.ends_with('5')));
        if is_told_to_fail || ends_in_five || requests <= self.shared.rules.fail_first {
            StatusCode::INTERNAL_SERVER_ERROR
        } else {
            StatusCode::OK
        }
    }

    /// Every signature that can be checked must be right.
    fn signature(&self, headers: &HeaderMap, bytes: &[u8], body: &Value) -> Signature {
        let trusted = self.state().trusted.clone();
        let mut checks = Vec::new();
        if let Some(secret) = &self.shared.rules.secret {
            checks.push(has_reference_signature(headers, bytes, body, secret));
        }
        if !trusted.is_empty() {
            let now = self.shared.clock.now();
            checks.push(has_standard_signature(headers, bytes, &trusted, now));
        }
        match checks[..] {
            [] => Signature::Unchecked,
            _ if checks.iter().all(|check| *check) => Signature::Verified,
            _ => Signature::Refused,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        let state = self.shared.state.lock();
        state.unwrap_or_else(PoisonError::into_inner)
    }
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// Signs as the sender should have, and compares.
fn has_reference_signature(
    headers: &HeaderMap,
    bytes: &[u8],
    body: &Value,
    secret: &SecretString,
) -> bool {
    let timestamp: Option<Timestamp> = serde_json::from_value(body["timestamp"].clone()).ok();
    let id = header(headers, "x-event-id").and_then(|id| id.parse::<OutboxId>().ok());
    let (Some(timestamp), Some(id)) = (timestamp, id) else {
        return false;
    };
    reference_headers(id, timestamp, bytes, Some(secret))
        .iter()
        .all(|(name, expected)| is_equal(header(headers, name).unwrap_or_default(), expected))
}

fn has_standard_signature(
    headers: &HeaderMap,
    bytes: &[u8],
    trusted: &[SigningSecret],
    now: DateTime<Utc>,
) -> bool {
    let id = header(headers, "webhook-id").and_then(|id| id.parse::<OutboxId>().ok());
    let sent_at = header(headers, "webhook-timestamp")
        .and_then(|seconds| seconds.parse().ok())
        .and_then(|seconds| DateTime::from_timestamp(seconds, 0))
        .filter(|sent_at| (now - sent_at).abs() <= TOLERANCE);
    let signatures = header(headers, "webhook-signature");
    let (Some(id), Some(sent_at), Some(signatures)) = (id, sent_at, signatures) else {
        return false;
    };
    let [_, _, (_, expected)] = standard_headers(id, sent_at, bytes, trusted);
    signatures.split(' ').any(|given| {
        expected
            .split(' ')
            .any(|expected| is_equal(given, expected))
    })
}

fn is_equal(given: &str, expected: &str) -> bool {
    given.as_bytes().ct_eq(expected.as_bytes()).into()
}
