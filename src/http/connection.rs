//! How long a connection may take: for the head of a request, and for taking an answer.
//!
//! poem knows a time-out of idle connections only, which whoever sends a byte now and then never
//! meets. Bytes alone do not tell where a head ends, so the endpoint does: [`Connections::watch`]
//! says of each request to the connection it came by that its head is there.
//!
//! HTTP/2 is refused. There is no TLS here, so browsers do not speak it, and the proxies in front
//! need not; and what it sends between requests is no head, so that a connection could stay for
//! ever by a ping now and then, or by saying nothing when it is asked to leave.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use poem::web::RemoteAddr;
use poem::{Endpoint, Request};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Sleep, sleep};

use super::listener::ConnectionLimits;
use super::shares::Share;

/// What a connection of HTTP/2 begins with, and no request of HTTP/1 does.
const PREFACE: &[u8] = b"PRI * HTTP/2.0";
/// In HTTP/2: no settings, and `GOAWAY` with `HTTP_1_1_REQUIRED`.
const HTTP_1_1_REQUIRED: &[u8] = b"\0\0\0\x04\0\0\0\0\0\
    \0\0\x08\x07\0\0\0\0\0\0\0\0\0\0\0\0\x0d";

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
    /// How much of the beginning of HTTP/2 came; none when something else did.
    preface: Option<usize>,
    address: Option<SocketAddr>,
    connections: Connections,
    _place: Place,
}

/// What a connection takes of what is limited, until it is dropped.
pub(super) struct Place {
    _permit: OwnedSemaphorePermit,
    _share: Share,
}

impl Place {
    pub(super) fn new(permit: OwnedSemaphorePermit, share: Share) -> Self {
        Self {
            _permit: permit,
            _share: share,
        }
    }
}

impl Connection {
    pub(super) fn new(
        stream: TcpStream,
        limits: ConnectionLimits,
        address: Option<SocketAddr>,
        connections: &Connections,
        place: Place,
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
            preface: Some(0),
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

    fn has_read(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.look_for_http2(bytes)?;
        let is_of_body = self.requests.running.load(Ordering::Relaxed) > 0;
        if !is_of_body && self.head.is_none() {
            self.head = Some(Box::pin(sleep(self.limits.head_time)));
        }
        Ok(())
    }

    /// An error when the connection begins as one of HTTP/2, in however small parts.
    fn look_for_http2(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Some(seen) = self.preface else {
            return Ok(());
        };
        let expected = &PREFACE[seen..];
        let size = bytes.len().min(expected.len());
        self.preface = (bytes[..size] == expected[..size]).then_some(seen + size);
        if self.preface != Some(PREFACE.len()) {
            return Ok(());
        }
        // What came with it, or closing would take the answer away again.
        self.stream.try_read(&mut [0; 1024]).ok();
        self.stream.try_write(HTTP_1_1_REQUIRED).ok();
        Err(io::ErrorKind::Unsupported.into())
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
            self.has_read(bytes)?;
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
