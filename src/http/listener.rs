//! What connections may cost, before there is a request that the shell could look at: how many
//! there are, in all and of one address ([`shares`](super::shares)), and how long each may take
//! ([`connection`](super::connection)).

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use poem::http::uri::Scheme;
use poem::listener::{Acceptor, TcpAcceptor};
use poem::web::{LocalAddr, RemoteAddr};
use tokio::sync::Semaphore;
use tokio::time::sleep;
use tracing::warn;

use super::client::TrustedProxies;
use super::connection::{Connection, Connections, Place};
use super::shares::Shares;

/// How long nothing is accepted after that failed: most often there are too many open files.
const AFTER_FAILURE: Duration = Duration::from_secs(1);

/// The limits of the connections of one listener.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionLimits {
    /// So many at a time; others wait until one ends.
    pub connections: usize,
    /// So many of one address, unless it is a trusted proxy; more are closed. Zero: no bound.
    pub per_address: usize,
    /// From the first byte of a request, or from the beginning of the connection, to the end of
    /// the head.
    pub head_time: Duration,
    /// How long a client may take nothing of an answer.
    pub write_time: Duration,
}

impl ConnectionLimits {
    /// The usual times.
    pub fn of(connections: usize, per_address: usize) -> Self {
        Self {
            connections,
            per_address,
            head_time: Duration::from_secs(10),
            write_time: Duration::from_secs(30),
        }
    }
}

/// An acceptor whose connections have limits, and those connections.
pub fn limited(
    acceptor: TcpAcceptor,
    limits: ConnectionLimits,
    proxies: TrustedProxies,
) -> (LimitedAcceptor, Connections) {
    let connections = Connections::default();
    let limited = LimitedAcceptor {
        acceptor,
        limits,
        places: Arc::new(Semaphore::new(limits.connections)),
        shares: Shares::new(limits.per_address, proxies),
        connections: connections.clone(),
    };
    (limited, connections)
}

/// Accepts connections that have limits.
pub struct LimitedAcceptor {
    acceptor: TcpAcceptor,
    limits: ConnectionLimits,
    places: Arc<Semaphore>,
    shares: Shares,
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
            let address = remote.as_socket_addr().copied();
            let Some(share) = self.shares.take(address.as_ref().map(SocketAddr::ip)) else {
                continue;
            };
            // An answer is written whole; waiting to send its rest would only make it late.
            stream.set_nodelay(true).ok();
            let place = Place::new(place, share);
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
