//! Serves a mock marketplace, and lets the process that serves it look into it.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::TimeDelta;
use futures::stream;
use poem::http::StatusCode;
use poem::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use poem::listener::{Acceptor, Listener, TcpListener};
use poem::{Body, Endpoint, Request, Response, Server};
use reqwest::Url;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::clock::MockClock;
use super::control;
use super::faults::{Fault, FaultKind};
use super::protocol::{Answer, Incoming, Protocol, Route};
use super::state::{Catalogue, Received, World};
use crate::clock::Clock;

/// The largest body that is read.
const BODY_BYTES: usize = 16 << 20;

/// How a mock marketplace is set up.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Which items it knows.
    pub catalogue: Catalogue,
    /// How long every answer takes.
    pub latency: Duration,
    /// The dice of its faults.
    pub seed: u64,
}

/// A mock marketplace. Clones share everything.
#[derive(Clone, Debug)]
pub struct MockMarketplace {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    protocol: Box<dyn Protocol>,
    options: Options,
    clock: MockClock,
    world: Mutex<World>,
    changes: watch::Sender<u64>,
}

/// A mock marketplace that listens, until it is dropped.
#[derive(Debug)]
pub struct Running {
    /// Where.
    pub address: SocketAddr,
    task: JoinHandle<()>,
}

impl Running {
    /// What to set as the address of the marketplace.
    ///
    /// # Panics
    /// Never: every address makes a URL.
    pub fn base_url(&self) -> Url {
        let url = format!("http://{}", self.address);
        Url::parse(&url).expect("an address makes a URL")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What becomes of a request.
enum Fate {
    Answered(Answer),
    /// Answered with half of it.
    Halved(Answer),
    /// Answered with so many bytes.
    Flooded(usize),
    Dropped,
}

impl MockMarketplace {
    /// One that was not asked anything yet.
    pub fn new(protocol: impl Protocol, options: Options, clock: Clock) -> Self {
        let world = World::new(options.catalogue.clone(), options.seed);
        Self {
            shared: Arc::new(Shared {
                protocol: Box::new(protocol),
                options,
                clock: MockClock::new(clock),
                world: Mutex::new(world),
                changes: watch::Sender::new(0),
            }),
        }
    }

    /// Serves on a port of the loopback interface; 0 takes a free one.
    pub async fn serve(&self, port: u16) -> io::Result<Running> {
        let acceptor = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], port)))
            .into_acceptor()
            .await?;
        let bound = acceptor.local_addr();
        let bound = bound.first().and_then(|bound| bound.as_socket_addr());
        let address = *bound.ok_or_else(|| io::Error::other("the listener has no address"))?;
        let endpoint = self.endpoint();
        let task = tokio::spawn(async move {
            // Nothing but the end of the process, or of this task, ends it.
            let _ = Server::new_with_acceptor(acceptor).run(endpoint).await;
        });
        Ok(Running { address, task })
    }

    /// All of its routes.
    pub fn endpoint(&self) -> impl Endpoint<Output = Response> + use<> {
        let mock = self.clone();
        poem::endpoint::make(move |request: Request| {
            let mock = mock.clone();
            async move { Ok::<_, poem::Error>(mock.handle(request).await) }
        })
    }

    /// Looks at what it remembers.
    pub fn look<T>(&self, look: impl FnOnce(&World) -> T) -> T {
        look(&self.world())
    }

    /// How many of an item it shows.
    pub fn quantity(&self, seller: &str, identifier: &str) -> Option<i64> {
        self.look(|world| world.quantity(seller, identifier))
    }

    /// All requests, in the order they came.
    pub fn requests(&self) -> Vec<Received> {
        self.look(|world| world.requests.clone())
    }

    /// Lets something go wrong.
    pub fn fault(&self, fault: Fault) {
        self.change(|world| world.faults.add(fault));
    }

    /// Lets nothing go wrong any more.
    pub fn clear_faults(&self) {
        self.change(|world| world.faults.clear());
    }

    /// Goes ahead in time.
    pub fn advance(&self, by: TimeDelta) {
        self.shared.clock.advance(by);
        self.change(|_| ());
    }

    /// An order that only the marketplace knows: it shows less of an item, and tells how many.
    pub fn sell(&self, seller: &str, identifier: &str, quantity: i64) -> Option<i64> {
        self.change(|world| {
            let left = (world.quantity(seller, identifier)? - quantity).max(0);
            world.store(seller, identifier, left);
            Some(left)
        })
    }

    /// Forgets everything but what it was started with.
    pub fn reset(&self) {
        self.shared.clock.reset();
        let options = &self.shared.options;
        self.change(|world| *world = World::new(options.catalogue.clone(), options.seed));
    }

    /// Waits until what it remembers is enough. Whoever sets its clock by hand has to ask it
    /// something, or to advance it, before it notices.
    pub async fn wait_until(&self, is_enough: impl Fn(&World) -> bool) {
        let mut changes = self.shared.changes.subscribe();
        loop {
            let due = {
                let world = self.world();
                if is_enough(&world) {
                    return;
                }
                world.next_due()
            };
            let now = self.shared.clock.now();
            let next = due
                .and_then(|due| (due - now).to_std().ok())
                .unwrap_or(Duration::from_secs(1));
            // Something comes, or becomes due.
            let _ = timeout(next.max(Duration::from_millis(1)), changes.changed()).await;
        }
    }

    /// What it remembers, as of now.
    fn world(&self) -> MutexGuard<'_, World> {
        let world = self.shared.world.lock();
        let mut world = world.unwrap_or_else(PoisonError::into_inner);
        world.settle(self.shared.clock.now());
        world
    }

    fn change<T>(&self, change: impl FnOnce(&mut World) -> T) -> T {
        let changed = change(&mut self.world());
        self.shared.changes.send_modify(|count| *count += 1);
        changed
    }

    async fn handle(&self, request: Request) -> Response {
        let (parts, body) = request.into_parts();
        let Ok(body) = body.into_bytes_limit(BODY_BYTES).await else {
            return response(&Answer::new(StatusCode::PAYLOAD_TOO_LARGE, Value::Null));
        };
        let path: Vec<String> = parts.uri.path().split('/').skip(1).map(decoded).collect();
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        if let ["__mock", rest @ ..] = &path[..] {
            let query = parts.uri.query().unwrap_or_default();
            return response(&control::answer(
                self,
                &parts.method,
                rest,
                &pairs(query),
                &body,
            ));
        }
        let route = self.shared.protocol.route(&parts.method, &path);
        let number = self.receive(&parts, &body, route.as_ref());
        let operation = route.as_ref().map(|route| route.operation);
        let is_slow = |kind: &FaultKind| matches!(kind, FaultKind::Slow { .. });
        let slow = self.change(|world| world.faults.take(operation, is_slow));
        let more = match slow {
            Some(FaultKind::Slow { delay_ms }) => Duration::from_millis(delay_ms),
            _ => Duration::ZERO,
        };
        let delay = self.shared.options.latency + more;
        if !delay.is_zero() {
            sleep(delay).await;
        }
        let fate = match route {
            Some(route) => self.decide(number, route, &parts, &body),
            None => Fate::Answered(Answer::new(
                StatusCode::NOT_FOUND,
                json!({ "message": "no such route" }),
            )),
        };
        let (status, response) = match fate {
            Fate::Dropped => (None, dropped()),
            Fate::Answered(answer) => (Some(answer.status), response(&answer)),
            Fate::Halved(answer) => (Some(answer.status), halved(&answer)),
            Fate::Flooded(bytes) => (
                Some(StatusCode::OK),
                Response::builder().body("x".repeat(bytes)),
            ),
        };
        let status = status.map(|status| status.as_u16());
        self.change(|world| world.requests[number - 1].status = status);
        response
    }

    /// Remembers a request, and tells its number.
    fn receive(&self, parts: &poem::RequestParts, body: &[u8], route: Option<&Route>) -> usize {
        let headers = parts
            .headers
            .iter()
            .filter(|(name, _)| !control::is_secret(name.as_str()))
            .map(|(name, value)| {
                (
                    name.to_string(),
                    String::from_utf8_lossy(value.as_bytes()).into_owned(),
                )
            });
        let path = parts
            .uri
            .path_and_query()
            .map(ToString::to_string)
            .unwrap_or_default();
        let now = self.shared.clock.now();
        self.change(|world| {
            let number = world.requests.len() + 1;
            world.requests.push(Received {
                number,
                received_at: now.into(),
                operation: route.map(|route| route.operation),
                seller: route.map(|route| route.seller.clone()),
                method: parts.method.clone(),
                path,
                headers: headers.collect(),
                body: String::from_utf8_lossy(body).into_owned(),
                status: None,
            });
            number
        })
    }

    /// Does what was asked, and what goes wrong with it.
    fn decide(&self, number: usize, route: Route, parts: &poem::RequestParts, body: &[u8]) -> Fate {
        let protocol = &self.shared.protocol;
        let now = self.shared.clock.now();
        self.change(|world| {
            let operation = Some(route.operation);
            let before = world.faults.take(operation, |kind| match kind {
                FaultKind::DropBefore | FaultKind::RateLimit { .. } => true,
                FaultKind::Status { applied, .. } => !applied,
                _ => false,
            });
            match before {
                Some(FaultKind::DropBefore) => return Fate::Dropped,
                Some(FaultKind::RateLimit {
                    retry_after_seconds,
                }) => {
                    let mut answer = protocol.too_many();
                    let seconds =
                        retry_after_seconds.map(|seconds| ("retry-after", seconds.to_string()));
                    answer.headers.extend(seconds);
                    return Fate::Answered(answer);
                }
                Some(FaultKind::Status { status, body, .. }) => {
                    return Fate::Answered(other(status, body));
                }
                _ => {}
            }
            let query = pairs(parts.uri.query().unwrap_or_default());
            let incoming = Incoming {
                number,
                now,
                route,
                headers: &parts.headers,
                query,
                body,
            };
            let answer = protocol.answer(&incoming, world);
            world.settle(now);
            let after = world.faults.take(operation, |kind| match kind {
                FaultKind::DropAfter | FaultKind::MalformedJson | FaultKind::Oversized { .. } => {
                    true
                }
                FaultKind::Status { applied, .. } => *applied,
                _ => false,
            });
            match after {
                Some(FaultKind::DropAfter) => Fate::Dropped,
                Some(FaultKind::MalformedJson) => Fate::Halved(answer),
                Some(FaultKind::Oversized { bytes }) => Fate::Flooded(bytes),
                Some(FaultKind::Status { status, body, .. }) => Fate::Answered(other(status, body)),
                _ => Fate::Answered(answer),
            }
        })
    }

    pub(super) fn clock(&self) -> &MockClock {
        &self.shared.clock
    }
}

fn other(status: u16, body: Option<Value>) -> Answer {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    Answer::new(status, body.unwrap_or(Value::Null))
}

fn text(body: &Value) -> String {
    match body {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        body => body.to_string(),
    }
}

fn response(answer: &Answer) -> Response {
    let mut response = Response::builder()
        .status(answer.status)
        .header(CONTENT_TYPE, "application/json");
    for (name, value) in &answer.headers {
        response = response.header(*name, value);
    }
    response.body(text(&answer.body))
}

fn halved(answer: &Answer) -> Response {
    let body = text(&answer.body);
    let half = body
        .chars()
        .take(body.chars().count() / 2)
        .collect::<String>();
    response(&Answer {
        body: half.into(),
        ..answer.clone()
    })
}

/// An answer that fails before its first byte is written, which ends the connection.
fn dropped() -> Response {
    let lost = stream::iter([Err::<Vec<u8>, _>(io::Error::other(
        "the connection is dropped",
    ))]);
    Response::builder()
        .header(CONTENT_LENGTH, 1)
        .body(Body::from_bytes_stream(lost))
}

/// The pairs of a query.
fn pairs(query: &str) -> Vec<(String, String)> {
    let url = Url::parse(&format!("http://localhost/?{query}"));
    url.map(|url| url.query_pairs().into_owned().collect())
        .unwrap_or_default()
}

/// A step of a path, without its escapes.
fn decoded(step: &str) -> String {
    let pairs = pairs(&format!(
        "step={}",
        step.replace('+', "%2B").replace('&', "%26")
    ));
    pairs
        .into_iter()
        .next()
        .map(|(_, value)| value)
        .unwrap_or_default()
}
