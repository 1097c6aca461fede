//! A TCP line between a process and what it talks to, that can be cut, stalled, slowed down, and
//! lose its connections.

use std::future::pending;
use std::net::SocketAddr;
use std::time::Duration;

use reqwest::Url;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::sleep;

/// Listens until it is dropped; mended unless told otherwise.
pub(crate) struct FaultyLine {
    address: SocketAddr,
    state: watch::Sender<State>,
    task: JoinHandle<()>,
}

#[derive(Clone, Copy, Debug, Default)]
struct State {
    weather: Weather,
    /// Connections that were there at the last reset are gone.
    resets: u32,
    /// Connections that were there at the last freeze never carry anything again.
    freezes: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Weather {
    #[default]
    Fine,
    Slow(Duration),
    Stalled,
    Cut,
}

impl FaultyLine {
    /// A line to an address.
    pub(crate) async fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = watch::Sender::new(State::default());
        let seen = state.subscribe();
        let task = tokio::spawn(async move {
            // Dropped with this task, which ends the connections.
            let mut connections = JoinSet::new();
            loop {
                let (client, _) = listener.accept().await.unwrap();
                connections.spawn(carry(client, target, seen.clone()));
                while connections.try_join_next().is_some() {}
            }
        });
        Self {
            address,
            state,
            task,
        }
    }

    /// A line to where a URL leads.
    pub(crate) async fn to_url(url: &str) -> Self {
        let url: Url = url.parse().unwrap();
        let host = url.host_str().unwrap();
        let port = url.port_or_known_default().or(match url.scheme() {
            "redis" => Some(6379),
            "postgres" => Some(5432),
            _ => None,
        });
        let mut addresses = tokio::net::lookup_host((host, port.unwrap()))
            .await
            .unwrap();
        Self::to(addresses.next().unwrap()).await
    }

    /// The same URL by this line.
    pub(crate) fn url(&self, url: &str) -> String {
        let mut url: Url = url.parse().unwrap();
        url.set_host(Some("127.0.0.1")).unwrap();
        url.set_port(Some(self.address.port())).unwrap();
        url.into()
    }

    /// Everything passes.
    pub(crate) fn mend(&self) {
        self.weather(Weather::Fine);
    }

    /// All connections are reset, and new ones, too.
    pub(crate) fn cut(&self) {
        self.weather(Weather::Cut);
    }

    /// Nothing gets through, and nobody is told; it goes on when it is mended.
    pub(crate) fn stall(&self) {
        self.weather(Weather::Stalled);
    }

    /// Every piece takes so much longer, each way.
    pub(crate) fn slow_down(&self, delay: Duration) {
        self.weather(Weather::Slow(delay));
    }

    /// All connections are reset; new ones pass.
    pub(crate) fn reset(&self) {
        self.state.send_modify(|state| state.resets += 1);
    }

    /// Connections die unheard: they stay open and carry nothing any more, not even their end; new
    /// ones pass.
    pub(crate) fn freeze(&self) {
        self.state.send_modify(|state| state.freezes += 1);
    }

    fn weather(&self, weather: Weather) {
        self.state.send_modify(|state| state.weather = weather);
    }
}

impl Drop for FaultyLine {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn carry(mut client: TcpStream, target: SocketAddr, state: watch::Receiver<State>) {
    let born = *state.borrow();
    let server = match born.weather {
        Weather::Cut => None,
        _ => TcpStream::connect(target).await.ok(),
    };
    let Some(mut server) = server else {
        client.set_zero_linger().ok();
        return;
    };
    client.set_nodelay(true).ok();
    server.set_nodelay(true).ok();
    let is_broken = {
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        let mut fate = state.clone();
        let breaks = fate.wait_for(|now| now.weather == Weather::Cut || now.resets != born.resets);
        let there = pump(from_client, to_server, state.clone(), born);
        let back = pump(from_server, to_client, state, born);
        tokio::select! {
            _ = async { tokio::join!(there, back) } => false,
            _ = breaks => true,
        }
    };
    if is_broken {
        // The end is a reset then.
        client.set_zero_linger().ok();
        server.set_zero_linger().ok();
    }
}

async fn pump(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    mut state: watch::Receiver<State>,
    born: State,
) {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let read = from.read(&mut buffer).await.unwrap_or(0);
        passage(&mut state, born).await;
        if read == 0 || to.write_all(&buffer[..read]).await.is_err() {
            to.shutdown().await.ok();
            return;
        }
    }
}

/// Waits until a piece may go on.
async fn passage(state: &mut watch::Receiver<State>, born: State) {
    loop {
        let now = *state.borrow_and_update();
        if now.freezes != born.freezes {
            pending::<()>().await;
        }
        match now.weather {
            Weather::Fine => return,
            Weather::Slow(delay) => return sleep(delay).await,
            Weather::Stalled | Weather::Cut => {
                if state.changed().await.is_err() {
                    pending::<()>().await;
                }
            }
        }
    }
}
