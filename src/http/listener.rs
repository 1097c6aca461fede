//! What a connection may cost, before there is a request that the shell could look at: how many
//! there are, how long the head of a request may take, how long a client may leave an answer in
//! its buffers.
//!
//! poem knows a time-out of idle connections only, which whoever sends a byte now and then never
//! meets. Bytes alone do not tell where a head ends, so the endpoint does: [`Connections::watch`]
//! says of each request to the connection it came by that its head is there.
//!
//! An HTTP/2 connection has to bring its first request in time and is bound by the number of
//! connections after that: what it sends between requests is no head.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use poem::http::uri::Scheme;
use poem::listener::{Acceptor, TcpAcceptor};
use poem::web::{LocalAddr, RemoteAddr};
use poem::{Endpoint, Request};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Sleep, sleep};
use tracing::warn;

/// How long nothing is accepted after that failed: most often there are too many open files.
const AFTER_FAILURE: Duration = Duration::from_secs(1);

/// The limits of the connections of one listener.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionLimits {
    /// So many at a time; others wait until one ends.
    pub connections: usize,
    /// From the first byte of a request, or from the beginning of the connection, to the end of
    /// the head.
    pub head_time: Duration,
    /// How long a client may take nothing of an answer.
    pub write_time: Duration,
}

impl ConnectionLimits {
    /// The usual times.
    pub fn of(connections: usize) -> Self {
        Self {
            connections,
            head_time: Duration::from_secs(10),
            write_time: Duration::from_secs(30),
        }
    }
}

/// An acceptor whose connections have limits, and those connections.
pub fn limited(acceptor: TcpAcceptor, limits: ConnectionLimits) -> (LimitedAcceptor, Connections) {
    let connections = Connections::default();
    let limited = LimitedAcceptor {
        acceptor,
        limits,
        places: Arc::new(Semaphore::new(limits.connections)),
        connections: connections.clone(),
    };
    (limited, connections)
}

/// Accepts connections that have limits.
pub struct LimitedAcceptor {
    acceptor: TcpAcceptor,
    limits: ConnectionLimits,
    places: Arc<Semaphore>,
    connections: Connections,
}

impl Acceptor for LimitedAcceptor {
    type Io = Connection;

    fn local_addr(&self) -> Vec<LocalAddr> {
        self.acceptor.local_addr()
    }

    async fn accept(&mut self) -> io::Result<(Connection, LocalAddr, RemoteAddr, Scheme)> {
        let places = self.places.clone();
        let place = places.acquire_owned().await.map_err(io::Error::other)?;
        loop {
            // An error would be asked about again at once, and again.
            let (stream, local, remote, scheme) = match self.acceptor.accept().await {
                Ok(accepted) => accepted,
                Err(error) if is_of_one_connection(&error) => continue,
                Err(error) => {
                    warn!(event = "accept_failed", %error, "failed to accept a connection: {error}");
                    sleep(AFTER_FAILURE).await;
                    continue;
                }
            };
            // An answer is written whole; waiting to send its rest would only make it late.
            stream.set_nodelay(true).ok();
            let address = remote.as_socket_addr().copied();
            let connection =
                Connection::new(stream, self.limits, address, &self.connections, place);
            return Ok((connection, local, remote, scheme));
        }
    }
}

/// The client was gone before it was accepted.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset
    )
}

/// The open connections of a listener.
#[derive(Clone, Default)]
pub struct Connections(Arc<Mutex<HashMap<SocketAddr, Arc<Requests>>>>);

/// The requests of a connection.
#[derive(Default)]
struct Requests {
    begun: AtomicUsize,
    running: AtomicUsize,
}

impl Connections {
    /// An endpoint that tells a connection of its requests.
    pub fn watch<E: Endpoint>(&self, endpoint: E) -> Watched<E> {
        let connections = self.clone();
        Watched {
            endpoint,
            connections,
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SocketAddr, Arc<Requests>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn requests_of(&self, remote: &RemoteAddr) -> Option<Arc<Requests>> {
        self.lock().get(remote.as_socket_addr()?).cloned()
    }
}

/// An endpoint whose connections know that the head of a request is there.
pub struct Watched<E> {
    endpoint: E,
    connections: Connections,
}

impl<E: Endpoint> Endpoint for Watched<E> {
    type Output = E::Output;

    async fn call(&self, request: Request) -> poem::Result<E::Output> {
        let requests = self.connections.requests_of(request.remote_addr());
        let _running = requests.map(Running::begin);
        self.endpoint.call(request).await
    }
}

/// A request that runs until this is dropped.
struct Running(Arc<Requests>);

impl Running {
    fn begin(requests: Arc<Requests>) -> Self {
        requests.running.fetch_add(1, Ordering::Relaxed);
        requests.begun.fetch_add(1, Ordering::Relaxed);
        Self(requests)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A connection that has limits.
pub struct Connection {
    stream: TcpStream,
    limits: ConnectionLimits,
    requests: Arc<Requests>,
    /// How many requests had begun when that was looked at last.
    begun: usize,
    /// Until when the head that comes has to be there.
    head: Option<Pin<Box<Sleep>>>,
    /// Until when something of the answer has to be taken.
    write: Option<Pin<Box<Sleep>>>,
    protocol: Protocol,
    address: Option<SocketAddr>,
    connections: Connections,
    _place: OwnedSemaphorePermit,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Protocol {
    Unknown,
    Http1,
    Http2,
}

impl Connection {
    fn new(
        stream: TcpStream,
        limits: ConnectionLimits,
        address: Option<SocketAddr>,
        connections: &Connections,
        place: OwnedSemaphorePermit,
    ) -> Self {
        let requests = Arc::new(Requests::default());
        if let Some(address) = address {
            connections.lock().insert(address, requests.clone());
        }
        Self {
            stream,
            limits,
            requests,
            begun: 0,
            head: Some(Box::pin(sleep(limits.head_time))),
            write: None,
            protocol: Protocol::Unknown,
            address,
            connections: connections.clone(),
            _place: place,
        }
    }

    /// Ready when the head takes too long.
    fn poll_head(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let begun = self.requests.begun.load(Ordering::Relaxed);
        if begun != self.begun {
            self.begun = begun;
            self.head = None;
        }
        match &mut self.head {
            Some(head) => head.as_mut().poll(context),
            None => Poll::Pending,
        }
    }

    fn has_read(&mut self, bytes: &[u8]) {
        if self.protocol == Protocol::Unknown {
            let is_http2 = bytes.starts_with(b"PRI * HTTP/2");
            self.protocol = if is_http2 {
                Protocol::Http2
            } else {
                Protocol::Http1
            };
        }
        let is_of_body = self.requests.running.load(Ordering::Relaxed) > 0;
        let may_be_head = self.protocol == Protocol::Http1 && !is_of_body;
        if may_be_head && self.head.is_none() {
            self.head = Some(Box::pin(sleep(self.limits.head_time)));
        }
    }

    /// An error when the client takes nothing for too long.
    fn patient<T>(
        &mut self,
        outcome: Poll<io::Result<T>>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        if outcome.is_ready() {
            self.write = None;
            return outcome;
        }
        let limit = self.limits.write_time;
        let write = self.write.get_or_insert_with(|| Box::pin(sleep(limit)));
        ready!(write.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let Some(address) = self.address else { return };
        let mut open = self.connections.lock();
        // A client may have come again from the same port already.
        if open
            .get(&address)
            .is_some_and(|requests| Arc::ptr_eq(requests, &self.requests))
        {
            open.remove(&address);
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.poll_head(context).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        let bytes = &buffer.filled()[before..];
        if !bytes.is_empty() {
            self.has_read(bytes);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.patient(outcome, context)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.stream).poll_flush(context);
        self.patient(outcome, context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
