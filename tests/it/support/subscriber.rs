//! Subscribers of events: a real HTTP server whose answers are scripted by path, that keeps all
//! it is sent, to the byte, and can hold requests in flight.
//!
//! It speaks HTTP/1.1 over bare sockets, because a server that hangs, breaks off or answers
//! nonsense is no use of a well-behaved one.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::queues::PATIENCE;

/// What a request gets.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// A status and no body.
    Status(u16),
    /// A status, further header lines and a body.
    Full(u16, &'static str, Vec<u8>),
    /// A status and the beginning of a body that never ends.
    Endless(u16),
    /// Nothing, for ever.
    Hang,
    /// The end of the connection.
    Close,
    /// Something that is not HTTP.
    Nonsense,
}

/// What came.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub(crate) path: String,
    headers: HashMap<String, String>,
    pub(crate) body: Vec<u8>,
}

impl Received {
    /// A header that there must be.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.find(name).unwrap_or_else(|| panic!("no {name}"))
    }

    /// A header.
    pub(crate) fn find(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// The event it is.
    pub(crate) fn event_id(&self) -> &str {
        self.header("webhook-id")
    }

    /// The body.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// Listens until it is dropped; answers 200 unless told otherwise.
pub(crate) struct Subscriber {
    address: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

struct Shared {
    script: Mutex<Script>,
    /// Changes with every request that comes, and every one that is answered.
    changed: watch::Sender<()>,
    held: watch::Sender<Vec<String>>,
}

#[derive(Default)]
struct Script {
    answers: HashMap<String, VecDeque<Answer>>,
    received: Vec<Received>,
    is_deaf: bool,
    unheard: usize,
    in_flight: HashMap<String, usize>,
    most_in_flight: HashMap<String, usize>,
}

impl Subscriber {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            script: Mutex::default(),
            changed: watch::Sender::new(()),
            held: watch::Sender::default(),
        });
        let serving = shared.clone();
        let task = tokio::spawn(async move {
            // Dropped with this task, which ends the connections.
            let mut connections = tokio::task::JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let shared = serving.clone();
                connections.spawn(async move { shared.serve(stream).await });
            }
        });
        Self {
            address,
            shared,
            task,
        }
    }

    /// The address of a path on it.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// The requests to a path get these answers one after another, then the last one again.
    pub(crate) fn answer(&self, path: &str, answers: impl IntoIterator<Item = Answer>) {
        let answers = answers.into_iter().collect();
        self.script(|script| script.answers.insert(path.into(), answers));
    }

    /// From now on requests to a path stay in flight until [`Subscriber::release`].
    pub(crate) fn hold(&self, path: &str) {
        self.shared.held.send_modify(|held| held.push(path.into()));
    }

    /// Lets go of the held requests to a path, and of all that come later.
    pub(crate) fn release(&self, path: &str) {
        self.shared
            .held
            .send_modify(|held| held.retain(|it| it != path));
    }

    /// From now on requests get lost on their way here, or come again.
    pub(crate) fn deafen(&self, is_deaf: bool) {
        self.script(|script| {
            script.is_deaf = is_deaf;
            script.unheard = 0;
        });
    }

    /// Waits until a request was lost on its way here.
    pub(crate) async fn has_missed_one(&self) {
        self.until(|script| script.unheard > 0).await;
    }

    /// Waits until a request to a path is in flight, or none.
    pub(crate) async fn is_busy(&self, path: &str, is_busy: bool) {
        self.until(|script| script.in_flight.get(path).is_some_and(|now| *now > 0) == is_busy)
            .await;
    }

    async fn until(&self, is_so: impl Fn(&Script) -> bool) {
        let mut changed = self.shared.changed.subscribe();
        let wait = changed.wait_for(|()| self.script(|script| is_so(script)));
        timeout(PATIENCE, wait)
            .await
            .expect("it never was so")
            .unwrap();
    }

    /// All requests to a path, in the order they came.
    pub(crate) fn received(&self, path: &str) -> Vec<Received> {
        self.script(|script| {
            let received = script.received.iter();
            received.filter(|it| it.path == path).cloned().collect()
        })
    }

    /// The events that came to a path, in the order they came.
    pub(crate) fn events(&self, path: &str) -> Vec<String> {
        let received = self.received(path);
        received.iter().map(|it| it.event_id().to_owned()).collect()
    }

    /// How many requests came to a path.
    pub(crate) fn count(&self, path: &str) -> usize {
        self.received(path).len()
    }

    /// How many requests came in all.
    pub(crate) fn total(&self) -> usize {
        self.script(|script| script.received.len())
    }

    /// Waits until so many requests have come to a path.
    pub(crate) async fn has_received(&self, path: &str, requests: usize) {
        let mut changed = self.shared.changed.subscribe();
        let wait = changed.wait_for(|()| self.count(path) >= requests);
        let outcome = timeout(PATIENCE, wait).await;
        assert!(outcome.is_ok(), "{} of {requests} came", self.count(path));
    }

    /// The most requests to a path that were in flight at the same time.
    pub(crate) fn most_in_flight(&self, path: &str) -> usize {
        self.script(|script| script.most_in_flight.get(path).copied().unwrap_or_default())
    }

    fn script<T>(&self, change: impl FnOnce(&mut Script) -> T) -> T {
        change(&mut self.shared.script.lock().unwrap())
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shared {
    async fn serve(&self, stream: TcpStream) {
        stream.set_nodelay(true).unwrap();
        let mut stream = BufReader::new(stream);
        while let Some(request) = read(&mut stream).await {
            if self.is_lost() {
                let _ = stream.read_u8().await;
                return;
            }
            let _flight = self.take_off(&request);
            let path = request.path.clone();
            let mut held = self.held.subscribe();
            held.wait_for(|held| !held.contains(&path)).await.unwrap();
            let (top, body) = match self.next_answer(&path) {
                Answer::Status(status) => (head(status, "", 0), Vec::new()),
                Answer::Full(status, lines, body) => (head(status, lines, body.len()), body),
                Answer::Endless(status) => (head(status, "", 1_000_000), b"and so on".to_vec()),
                Answer::Hang => {
                    // Until the other side has had enough.
                    let _ = stream.read_u8().await;
                    return;
                }
                Answer::Close => return,
                Answer::Nonsense => ("It is raining.\r\n\r\n".to_owned(), Vec::new()),
            };
            if stream.write_all(top.as_bytes()).await.is_err()
                || stream.write_all(&body).await.is_err()
                || stream.flush().await.is_err()
            {
                return;
            }
        }
    }

    /// Whether a request is not heard.
    fn is_lost(&self) -> bool {
        let mut script = self.script.lock().unwrap();
        script.unheard += usize::from(script.is_deaf);
        let is_lost = script.is_deaf;
        drop(script);
        self.changed.send_replace(());
        is_lost
    }

    fn next_answer(&self, path: &str) -> Answer {
        let mut script = self.script.lock().unwrap();
        let answers = script.answers.get_mut(path);
        let answer = answers.and_then(|answers| match answers.len() {
            1 => answers.front().cloned(),
            _ => answers.pop_front(),
        });
        answer.unwrap_or(Answer::Status(200))
    }

    fn take_off(&self, request: &Received) -> Flight<'_> {
        let path = request.path.clone();
        let mut script = self.script.lock().unwrap();
        script.received.push(request.clone());
        let now = script.in_flight.entry(path.clone()).or_default();
        *now += 1;
        let now = *now;
        let most = script.most_in_flight.entry(path.clone()).or_default();
        *most = now.max(*most);
        drop(script);
        self.changed.send_replace(());
        Flight { shared: self, path }
    }
}

/// Ends a flight also when the connection is dropped.
struct Flight<'a> {
    shared: &'a Shared,
    path: String,
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        let mut script = self.shared.script.lock().unwrap();
        if let Some(now) = script.in_flight.get_mut(&self.path) {
            *now -= 1;
        }
        drop(script);
        self.shared.changed.send_replace(());
    }
}

fn head(status: u16, lines: &str, length: usize) -> String {
    format!("HTTP/1.1 {status} Scripted\r\ncontent-length: {length}\r\n{lines}\r\n")
}

/// The next request of a connection.
async fn read(stream: &mut BufReader<TcpStream>) -> Option<Received> {
    let mut line = String::new();
    stream.read_line(&mut line).await.ok()?;
    let path = line.split_whitespace().nth(1)?.to_owned();
    assert!(line.starts_with("POST "), "{line}");
    let mut headers = HashMap::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await.ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else {
            break;
        };
        headers.insert(name.to_ascii_lowercase(), value.to_owned());
    }
    let length = headers.get("content-length")?.parse().unwrap();
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    Some(Received {
        path,
        headers,
        body,
    })
}
