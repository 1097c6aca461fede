//! The listeners of a process: bound first of all, and closed last.
//!
//! They answer before there is anything behind them ([`Door`]), so that a process that waits for
//! its database can be told from one that hangs.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use poem::Server;
use poem::endpoint::BoxEndpoint;
use poem::listener::{Acceptor, Listener as _, TcpAcceptor, TcpListener};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use crate::app::StartError;
use crate::clock::Clock;
use crate::config::{Listener, Settings};
use crate::http::Door;
use crate::http::admission::Admission;
use crate::http::auth::Access;
use crate::http::limits::Limits;
use crate::http::listener::{ConnectionLimits, limited};
use crate::http::rates::Rates;
use crate::http::shell::Shell;
use crate::ids::Ids;
use crate::service::{Role, Roles};
use crate::traces::Traces;

/// Connections that say nothing are closed after this.
const IDLE_CONNECTION: Duration = Duration::from_secs(75);

/// The listeners of a process that begins to start.
pub(crate) struct Front {
    /// The API, if this process has one.
    pub(crate) public: Option<Listening>,
    /// The board, if this process has one.
    pub(crate) admin: Option<Listening>,
    /// Metrics alone, if the settings want that.
    pub(crate) metrics: Option<Listening>,
    /// What serves them.
    pub(crate) parts: JoinSet<()>,
    /// Fires when the process shuts down.
    pub(crate) stop: CancellationToken,
}

/// A listener that answers; what it answers, its door decides.
pub(crate) struct Listening {
    address: SocketAddr,
    door: Door,
}

impl Front {
    /// Listens on what these roles and the settings need; on all of it or on nothing.
    pub(crate) async fn open(settings: &Settings, roles: &Roles) -> Result<Self> {
        let is_front = roles.has(Role::Api);
        let public = bind(Some(&settings.public).filter(|_| is_front), "").await?;
        let admin = bind(Some(&settings.admin).filter(|_| is_front), "ADMIN_").await?;
        let metrics = bind(settings.metrics.as_ref(), "METRICS_").await?;
        let mut front = Self {
            public: None,
            admin: None,
            metrics: None,
            parts: JoinSet::new(),
            stop: CancellationToken::new(),
        };
        if let Some(acceptor) = public {
            let public = front.serve(acceptor, &settings.public, settings)?;
            let address = public.address;
            info!(event = "listening", listener = "public", %address, "the API is at http://{address}/docs");
            front.public = Some(public);
        }
        if let Some(acceptor) = admin {
            let admin = front.serve(acceptor, &settings.admin, settings)?;
            let address = admin.address;
            info!(event = "listening", listener = "admin", %address, "the board is at http://{address}/");
            front.admin = Some(admin);
        }
        if let Some((acceptor, listener)) = metrics.zip(settings.metrics.as_ref()) {
            let metrics = front.serve(acceptor, listener, settings)?;
            let address = metrics.address;
            info!(event = "listening", listener = "metrics", %address, "metrics are at http://{address}/metrics");
            front.metrics = Some(metrics);
        }
        Ok(front)
    }

    /// Where the API is.
    pub(crate) fn public_address(&self) -> Option<SocketAddr> {
        self.public.as_ref().map(Listening::address)
    }

    /// Serves until the process stops, then as long as the settings say for requests under way.
    fn serve(
        &mut self,
        acceptor: TcpAcceptor,
        listener: &Listener,
        settings: &Settings,
    ) -> Result<Listening> {
        let address = address_of(&acceptor)?;
        let patience = settings.shutdown_timeout;
        let limits = ConnectionLimits::of(
            settings.max_connections,
            settings.connections_per_address(listener),
        );
        let proxies = settings.rates.proxies.clone();
        let (acceptor, connections) = limited(acceptor, limits, proxies);
        let door = Door::closed(shell());
        let stop = self.stop.clone();
        let endpoint = connections.watch(door.clone());
        self.parts.spawn(async move {
            let server = Server::new_with_acceptor(acceptor).idle_timeout(IDLE_CONNECTION);
            let stopped = stop.cancelled_owned();
            if let Err(error) = server
                .run_with_graceful_shutdown(endpoint, stopped, Some(patience))
                .await
            {
                error!(event = "listener_failed", %error, "a listener ended");
            }
        });
        Ok(Listening { address, door })
    }
}

impl Listening {
    /// Where it is.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Lets requests in.
    pub(crate) fn open(self, service: BoxEndpoint<'static>) {
        self.door.open(service);
    }
}

/// What surrounds requests while there is no service yet.
fn shell() -> Shell {
    let (ids, clock) = (Ids::system(), Clock::system());
    Shell {
        new_id: Arc::new(move || ids.new_id(clock.now())),
        access: Access::anonymous(),
        limits: Limits::default(),
        observer: None,
        rates: Rates::unlimited(),
        admission: Admission::unlimited(),
        traces: Traces::default(),
    }
}

/// Listens where the settings `{prefix}HOST` and `{prefix}PORT` say, if at all.
async fn bind(listener: Option<&Listener>, prefix: &str) -> Result<Option<TcpAcceptor>> {
    let Some(listener) = listener else {
        return Ok(None);
    };
    let address = listener
        .address()
        .map_err(|error| StartError::Host(format!("`{prefix}HOST`: {error}")))?;
    let acceptor = TcpListener::bind(address).into_acceptor().await;
    acceptor
        .map(Some)
        .map_err(|error| anyhow!("cannot listen on {address}: {error} (see `{prefix}PORT`)"))
}

fn address_of(acceptor: &TcpAcceptor) -> Result<SocketAddr> {
    let addresses = acceptor.local_addr();
    let address = addresses
        .first()
        .and_then(|address| address.as_socket_addr());
    address.copied().context("a TCP listener has an address")
}
