//! Load: so many connections, each of which asks again when it has its answer.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::report::Round;

/// Makes the request of a number; each number is asked for once.
pub(super) type Ask = Arc<dyn Fn(u64) -> Request<Full<Bytes>> + Send + Sync>;

/// Where, how wide, for how long.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    pub(super) address: SocketAddr,
    pub(super) connections: usize,
    pub(super) length: Duration,
}

impl Load {
    /// Asks until the time is up, from this number on. Every answer must be a success that has this
    /// text in it.
    pub(super) async fn run(
        self,
        ask: Ask,
        numbers: Arc<AtomicU64>,
        expects: &'static str,
    ) -> Result<Round> {
        let mut connections = Vec::new();
        for _ in 0..self.connections {
            connections.push(connect(self.address).await?);
        }
        let started = Instant::now();
        let until = started + self.length;
        let mut tasks = JoinSet::new();
        for connection in connections {
            tasks.spawn(busy(
                connection,
                ask.clone(),
                numbers.clone(),
                until,
                expects,
            ));
        }
        let mut latencies = Vec::new();
        while let Some(ended) = tasks.join_next().await {
            latencies.extend(ended.context("a connection panicked")??);
        }
        Ok(Round {
            done: latencies.len(),
            took: Some(started.elapsed()),
            latencies,
        })
    }
}

async fn connect(address: SocketAddr) -> Result<SendRequest<Full<Bytes>>> {
    let stream = TcpStream::connect(address)
        .await
        .context("the service has no connection to give")?;
    stream.set_nodelay(true)?;
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // It ends with its sender.
    tokio::spawn(connection);
    Ok(sender)
}

async fn busy(
    mut connection: SendRequest<Full<Bytes>>,
    ask: Ask,
    numbers: Arc<AtomicU64>,
    until: Instant,
    expects: &'static str,
) -> Result<Vec<Duration>> {
    let mut latencies = Vec::new();
    loop {
        let started = Instant::now();
        if started >= until {
            return Ok(latencies);
        }
        let number = numbers.fetch_add(1, Ordering::Relaxed);
        connection.ready().await?;
        let answer = connection.send_request(ask(number)).await?;
        let status = answer.status();
        let body = answer.into_body().collect().await?.to_bytes();
        latencies.push(started.elapsed());
        let is_right = body
            .windows(expects.len())
            .any(|part| part == expects.as_bytes());
        if !status.is_success() || !is_right {
            let body = String::from_utf8_lossy(&body);
            bail!("request {number} was answered with {status}: {body}");
        }
    }
}
